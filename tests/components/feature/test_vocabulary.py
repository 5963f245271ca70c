"""Ids by a list: those of TensorFlow and Keras, given, from a file, learned."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.base.values import NO_ID
from components.feature.text.string_ops import to_strings
from components.feature.vocabulary import Vocabulary
from components.types import Block, Constants, DataError, Ragged, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "categorical.json").read_text())
LIST, LOOKUP = GOLDEN["fc_vocab_list"], GOLDEN["keras_lookup"]
OCEAN = tuple(LIST["vocab"])
KERAS: dict[str, Any] = {"oov_first": True, "oov": 1, "missing": ""}


def fitted(column: Vocabulary, values: Any = None) -> Constants:
    """Learned from values, if it learns."""
    block = Block({"x": values})
    return column.fit({name: one.result(one.summarize(block)) for name, one in column.statistics().items()}, {})


def encoded(column: Vocabulary, values: Any, constants: Constants | None = None) -> Any:
    block = Block({"x": values}, origin="somewhere", first_row=10)
    return column.encode(block, {}, fitted(column) if constants is None else constants)["ids"]


def ids(data: Any, **options: Any) -> Any:
    found = encoded(Vocabulary(key="x", **options), data)
    assert found.dtype == np.int32
    return found.tolist()


def tokens(constants: Constants) -> list[Any]:
    host = constants.host
    if "values" in host:
        return host["values"].tolist()
    return [
        host["data"][start:stop].tobytes().decode()
        for start, stop in zip(host["offsets"][:-1], host["offsets"][1:], strict=True)
    ]


def indicator(column: Vocabulary, values: Any) -> list[list[float]]:
    constants = fitted(column)
    found, size = encoded(column, values, constants), constants.static["buckets"]
    return [[float((row == place).sum()) for place in range(size)] for row in found]


# ------------------------------------------------------------------------------------------------------- TensorFlow


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("default-1", {}),
        ("default=0", {"default": 0}),
        ("oov1", {"oov": 1}),
        ("oov2", {"oov": 2}),
        ("oov5", {"oov": 5}),
    ],
)
def test_a_list_gives_the_ids_of_tensorflow(name: str, options: dict[str, Any]) -> None:
    column, golden = Vocabulary(key="x", values=OCEAN, **options), LIST[name]
    single, multi = np.array(LIST["single"]["s"]), np.array(LIST["multi"]["s"])
    found = encoded(column, single)
    assert found[found != NO_ID].tolist() == golden["ids"]["values"]
    assert np.argwhere(found != NO_ID).tolist() == golden["ids"]["indices"]
    assert fitted(column).static == {"buckets": golden["num_buckets"]}
    assert indicator(column, single) == golden["single"]
    assert indicator(column, multi) == golden["multi"]


def test_integers_out_of_a_list_are_hashed_by_their_digits() -> None:
    column = Vocabulary(key="x", values=(10, 20, 30), oov=3)
    values = np.array([[10], [30], [7], [-1], [99], [1000]])
    assert indicator(column, values) == LIST["int_vocab_10_20_30_oov3_inputs_10_30_7_-1_99_1000"]


@pytest.mark.parametrize(
    ("name", "options"),
    [("all", {}), ("size2", {"size": 2}), ("size2_oov2", {"size": 2, "oov": 2}), ("default0", {"default": 0})],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_a_file_gives_the_ids_of_tensorflow(
    name: str, options: dict[str, Any], ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = GOLDEN["fc_vocab_file"]
    (tmp_path / "colors.txt").write_bytes((ending or "\n").join(golden["file"]).encode() + ending.encode())
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path))
    column = Vocabulary(key="x", path="colors.txt", **options)
    assert indicator(column, np.array(golden["inputs"]["s"])) == golden[name]["indicator"]
    assert fitted(column).static == {"buckets": golden[name]["num_buckets"]}
    before = column.fingerprint()
    (tmp_path / "colors.txt").write_text("red")
    assert before != column.fingerprint() != Vocabulary(key="x").fingerprint() == ""


def test_a_file_of_whole_numbers_serves_strings_and_integers(tmp_path: Path) -> None:
    file = tmp_path / "numbers.txt"
    file.write_text("10\n-2\n0\n")
    for values in (np.array([0, 10, 7, -2]), np.array(["0", "10", "7", "-2"])):
        assert ids(values, path=str(file)) == [2, 0, -1, 1]
    file.write_text("10\n02\n")
    with pytest.raises(DataError, match=r"column `x` of somewhere has whole numbers \(3\), unlike its vocabulary"):
        ids(np.array([3]), path=str(file))


# ------------------------------------------------------------------------------------------------------------ Keras


@pytest.mark.parametrize(
    ("name", "values", "given", "options"),
    [
        ("default (0=OOV)", [["a", "c", "d"], ["d", "z", "b"]], "abcd", {}),
        ("mask '' + oov", [["a", "", "zzz"]], "ab", {"mask": "", "missing": None}),
        ("int default", [[12, 1138, 42], [42, 1000, 36]], (12, 36, 1138, 42), {"missing": None}),
        ("int oov2 (floormod)", [[12, 37, 1000, -3]], (12, 36, 1138, 42), {"oov": 2, "missing": None}),
    ],
)
def test_lookups_equal_those_of_keras(name: str, values: list[list[Any]], given: Any, options: dict[str, Any]) -> None:
    settings: dict[str, Any] = {**KERAS, "values": tuple(given), "oov_method": "floormod", **options}
    assert ids(np.array(values), **settings) == LOOKUP[name]


def test_integers_are_hashed_as_keras_can_too() -> None:
    found = ids(np.array([[12, 37, 1000, -3]]), values=(12, 36, 1138, 42), oov=3, oov_first=True)
    assert found == LOOKUP["int oov3 farmhash"]["value"]


def test_without_ids_for_unknown_values_they_raise_an_error_on_request() -> None:
    assert "error" in LOOKUP["num_oov0_unseen"]
    message = "row 11 of somewhere: column `x` is 'INLAN', which isn't in its vocabulary. Did you mean 'INLAND'"
    with pytest.raises(DataError, match=message):
        ids(np.array(["", "INLAN"]), values=OCEAN, check=True)
    with pytest.raises(
        DataError, match=r"row 12 of somewhere: column `x` is 7, which isn't in its vocabulary. Set `oov`"
    ):
        ids(Ragged(np.array([1, 2, 7]), np.array([0, 1, 1, 3])), values=(1, 2), check=True)
    assert ids(np.array(["", "INLAND"]), values=OCEAN, check=True) == [NO_ID, 2]


# ---------------------------------------------------------------------------------------------------------- learned


def test_a_list_is_learned_in_the_order_of_keras() -> None:
    values = np.array(["b", "a", "b", "c", "a", "d", ""])
    column = Vocabulary(key="x", **KERAS)
    constants = fitted(column, values)
    assert ["[UNK]", *tokens(constants)] == LOOKUP["adapt b,a,b,c,a,d,'' vocabulary (ties: reverse lexicographic)"]
    assert encoded(column, values, constants).tolist() == [1, 2, 1, 4, 2, 3, 5]
    assert constants.host["documents"].tolist() == [0, 2, 2, 1, 1, 1]
    assert constants.host["rows"] == 7
    assert constants.host["ids"].tolist() == [1, 2, 3, 4, 5]
    expected = LOOKUP["adapt max_tokens3 (incl. OOV)"][1:]
    for more in ({"top": 2}, {"min_count": 2}, {"top": 2, "mask": "zzz"}, {"top": 2, "missing": None}):
        found = tokens(fitted(Vocabulary(key="x", **{**KERAS, **more}), values))
        assert [one for one in found if one != "zzz"] == expected


@pytest.mark.parametrize(("top", "expected"), [(1, ["b"]), (2, ["b", "d"]), (3, ["b", "d", "c"]), (9, [*"bdca"])])
def test_of_values_as_frequent_as_the_last_that_fits_the_greatest_are_learned(top: int, expected: list[str]) -> None:
    assert tokens(fitted(Vocabulary(key="x", top=top), np.array([*"abcdb"]))) == expected


def test_integers_are_learned_in_the_order_of_keras() -> None:
    values = np.array([5, 3, 5, 9, 3, -1])
    expected = LOOKUP["int adapt 5,3,5,9,3,-1"]
    assert [-1, *tokens(fitted(Vocabulary(key="x", oov=1, oov_first=True), values))] == expected


def test_what_stands_for_unknown_values_in_keras_is_not_learned() -> None:
    """The lists and ids are those of an adapted StringLookup, with max_tokens of 3 too, and IntegerLookup."""
    texts, numbers = np.array(["b", "[UNK]", "[UNK]", "a", "b", "z", "[UNK]"]), np.array([5, -1, -1, 3, 5, -1])
    for top, listed in ((None, ["b", "z", "a"]), (2, ["b", "z"])):
        column = Vocabulary(key="x", top=top, **KERAS)
        constants = fitted(column, texts)
        assert tokens(constants) == listed
        assert encoded(column, np.array(["b", "[UNK]", "q"]), constants).tolist() == [1, 0, 0]
    column = Vocabulary(key="x", **{**KERAS, "oov": 3, "missing": -1})
    constants = fitted(column, numbers)
    assert tokens(constants) == [5, 3]
    assert encoded(column, np.array([5, -1, 3, 9]), constants).tolist() == [3, 0, 4, 2]
    assert tokens(fitted(Vocabulary(key="x"), texts))[0] == "[UNK]"


def test_a_mask_is_not_learned_and_has_id_0() -> None:
    values = Ragged(to_strings(["a", "", "", "b", "a", "a"]), np.array([0, 2, 3, 6]))
    column = Vocabulary(key="x", mask="", oov=2, top=1)
    constants = fitted(column, values)
    assert tokens(constants) == ["", "a"]
    assert constants.static == {"buckets": 4}
    assert constants.host["documents"].tolist() == [0, 2, 0, 0]
    assert constants.host["ids"].tolist() == [0, 1]
    found = encoded(column, values, constants)
    assert found.offsets.tolist() == [0, 2, 3, 6]
    assert found.values.tolist()[:3] == [1, 0, 0]
    assert set(found.values.tolist()[3:4]) <= {2, 3}


def test_a_value_stands_in_for_missing_values_when_learning_and_after() -> None:
    column = Vocabulary(key="x", missing="none")
    constants = fitted(column, np.array(["a", None, "", "a", None], object))
    assert tokens(constants) == ["none", "a"]
    assert encoded(column, np.array(["a", None], object), constants).tolist() == [1, 0]
    assert encoded(column, np.array([None, None], object), constants).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (
            ["a", "b", "a"],
            {"min_count": 3},
            "no value occurs min_count=3 times; the most frequent value occurs 2 times",
        ),
        (
            ["", "", "", "a", "b", "a"],
            {"min_count": 3, "mask": "", "missing": ""},
            "no value occurs min_count=3 times; the most frequent value occurs 2 times",
        ),
        (["", ""], {}, "column `x` has no values to learn in the training split; set `values`, or leave it out"),
        (["", ""], {"mask": "", "missing": ""}, "column `x` has no values to learn in the training split"),
    ],
)
def test_nothing_to_learn_is_an_error(values: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fitted(Vocabulary(key="x", **options), np.array(values))


def test_a_mask_is_of_the_kind_of_what_is_learned() -> None:
    with pytest.raises(UserError, match=r"`mask` \(='none'\) must have the type of the values, whole numbers"):
        fitted(Vocabulary(key="x", mask="none"), np.array([1, 2]))


def test_values_of_another_kind_than_learned_raise_an_error() -> None:
    column = Vocabulary(key="x")
    constants = fitted(column, np.array([1, 2]))
    with pytest.raises(DataError, match=r"has text \('a'\), unlike its vocabulary"):
        encoded(column, np.array(["a"]), constants)
    assert encoded(column, np.array(["", None], object), constants).tolist() == [NO_ID, NO_ID]


# --------------------------------------------------------------------------------------------------------- anything


@settings(max_examples=30)
@given(st.lists(st.text(max_size=4) | st.none(), min_size=1, max_size=15), st.integers(0, 15), st.integers(0, 3))
def test_a_row_is_encoded_by_itself_however_it_is_stored(rows: list[str | None], cut: int, oov: int) -> None:
    listed = sorted({row for row in rows[::2] if row} | {"a"})
    column, objects = Vocabulary(key="x", values=tuple(listed), oov=oov), np.array(rows, object)
    constants = fitted(column)
    whole = encoded(column, objects, constants).tolist()
    for row, found in zip(rows, whole, strict=True):
        known = not row or row in listed
        assert (
            found == (listed.index(row) if row in listed else NO_ID) if known else found in (range(-1, 99)[oov > 0 :])
        )
    parts = [part for part in (objects[:cut], objects[cut:]) if len(part)]
    assert whole == [one for part in parts for one in encoded(column, part, constants).tolist()]
    distinct = sorted({row or "" for row in rows})
    places = np.array([distinct.index(row or "") for row in rows])
    assert whole == encoded(column, to_strings(distinct)._replace(indices=places), constants).tolist()


def test_a_wrong_fingerprint_is_not_taken_for_a_value() -> None:
    """The list as if one of its strings had the fingerprint of another."""
    column = Vocabulary(key="x", values=("ab", "abc"))
    host = fitted(column).host
    forged = Constants(host={**host, "data": np.frombuffer(b"xyabc", np.uint8)}, static={"buckets": 2})
    assert encoded(column, np.array(["ab", "abc"]), forged).tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": ("a",), "oov": 1, "default": 0}, "only one of `oov`, `default` and `check` can be set"),
        ({"values": ("a", "b", "a")}, "number 3 of `values`, 'a', is the same as number 1; remove one"),
        ({"values": ("a", "\ud800")}, r"number 2 of `values`, '\\ud800', can't be encoded in UTF-8; correct it"),
        ({"values": ("a",), "mask": "\ud800"}, r"the mask, '\\ud800', can't be encoded in UTF-8; correct it"),
        ({"values": ("a", "b"), "mask": "b"}, "number 2 of `values`, 'b', is the same as the mask"),
        ({"values": ("a", 1)}, "`values` and `mask` must be all text or all whole numbers"),
        ({"values": ("a",), "mask": 0}, "`values` and `mask` must be all text or all whole numbers"),
        ({"values": ()}, "`values` is empty; leave it out to learn the list"),
        ({"values": ("a",), "path": "b"}, "`values` and `path` can't both be set"),
        ({"values": ("a",), "top": 3}, "`top` and `min_count` are only for a learned list"),
        ({"size": 3}, "`size` is the number of lines to read from `path`"),
        ({"oov": -1}, "oov=-1 must be at least 0"),
    ],
)
def test_wrong_settings_raise_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Vocabulary(key="x", **options)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"a\nb\na\n", {}, r"line 3 of .*colors\.txt is 'a', the same as line 1; remove one"),
        (b"a\nb\n", {"size": 3}, r"colors\.txt has only 2 lines, but `size` is 3"),
        (b"", {}, "is empty; one value per line is needed"),
        (b"a\n\xff", {}, "isn't UTF-8: byte 2 is 0xff"),
        ("a\nb".encode("utf-16"), {}, "is no text in UTF-8: byte 3 is 0x00, as in UTF-16; convert it"),
        (b"a\nb\n", {"default": 2}, "vocabulary of column `x`: default=2 must be an id, 0 to 1, or -1"),
        (None, {}, r"there is no file .*colors\.txt"),
    ],
)
def test_wrong_files_raise_an_error(
    content: bytes | None, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "colors.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        fitted(Vocabulary(key="x", path=str(path), **options))


def test_a_mark_of_the_encoding_is_no_part_of_the_first_value(tmp_path: Path) -> None:
    (tmp_path / "colors.txt").write_bytes(b"\xef\xbb\xbfred\r\nblue\n")
    assert fitted(Vocabulary(key="x", path=str(tmp_path / "colors.txt"))).host["data"].tobytes() == b"redblue"


def test_values_of_another_kind_raise_an_error() -> None:
    with pytest.raises(DataError, match=r"has text \('a'\), unlike its vocabulary"):
        ids(np.array(["a"]), values=(1, 2))
    with pytest.raises(DataError, match=r"row 10 of somewhere: column `x` is 0\.5"):
        ids(np.array([0.5]), values=(1, 2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"oov": 2}, ["2 of 3 values of column `x` aren't in its vocabulary, the first in row 1, counted from 0"]),
        (
            {"oov": 2, "oov_first": True},
            ["2 of 3 values of column `x` aren't in its vocabulary, the first in row 1, counted from 0"],
        ),
        ({}, ["2 of 3 values of column `x` aren't in its vocabulary, the first in row 1, counted from 0"]),
        ({"default": 0}, []),
        (
            {"oov": 1, "missing": "a"},
            ["2 of 4 values of column `x` aren't in its vocabulary, the first in row 1, counted from 0"],
        ),
    ],
)
def test_unknown_values_are_warned_of(options: dict[str, Any], expected: list[str]) -> None:
    column = Vocabulary(key="x", **options)
    constants = fitted(column, np.array(["a", "b", "b"]))
    found = encoded(column, np.array(["a", "c", "", "d"]), constants)
    warnings = list(column.warnings({"ids": found}, constants))
    assert warnings[: len(expected)] == expected
    missing = "column `x` has 1 missing value, the first in row 2, counted from 0; in training it had none"
    assert warnings[len(expected) :] == ([] if "missing" in options else [missing])
    assert column.warnings({"ids": encoded(column, np.array(["b", "a"]), constants)}, constants) == ()


@pytest.mark.parametrize("oov_first", [False, True])
def test_masked_values_are_no_unknown_values(oov_first: bool) -> None:
    column = Vocabulary(key="x", values=("a", "b"), mask="pad", oov=2, oov_first=oov_first)
    constants = fitted(column)
    found = encoded(column, np.array(["pad", "a", "c", "pad"]), constants)
    warnings = ("1 of 4 values of column `x` aren't in its vocabulary, the first in row 2, counted from 0",)
    assert column.warnings({"ids": found}, constants) == warnings
    assert column.warnings({"ids": found[:2]}, constants) == ()


def test_unknown_values_in_rows_of_several_values_are_warned_of_without_a_row() -> None:
    column = Vocabulary(key="x", values=("a", "b"))
    ragged = Ragged(np.array([0, -1, 1], np.int32), np.array([0, 2, 3]))
    assert column.warnings({"ids": ragged}, fitted(column)) == ("1 of 3 values of column `x` aren't in its vocabulary",)


def test_a_nul_at_the_end_makes_another_word() -> None:
    column = Vocabulary(key="word", values=("a", "a\0"))
    constants = column.fit({}, {})
    for values in (to_strings(["a", "a\0", "a"]), np.array(["a", "a\0", "a"], object)):
        encoded = column.encode(Block({"word": values}), {}, constants)
        ids = np.asarray(next(iter(encoded.values()))).reshape(-1)
        assert ids[0] == ids[2] != ids[1]
