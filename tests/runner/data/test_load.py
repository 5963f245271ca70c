"""Loading data: statistics of the training split, columns that read columns, the cache, and errors."""

import errno
import os
import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parts import Tokens

import components.cache_folder
from components import feature
from components.data import Arrays, Generator
from components.feature import Bucketized, Distinct, ExampleWeight, Label, Moments, Numeric, Time, Vocabulary
from components.feature.normalizer import Clip
from components.types import Block, Constants, DataError, Encoded, Ragged, UserError
from runner.data import encoded_cache
from runner.data.cache_entries import list_entries, remove_entry
from runner.data.load import Data, Features, load_encoded
from runner.errors import RunError
from runner.override_text import locate_settings
from runner.platform import cache_folder

ROWS, BLOCK = 5000, 4096


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.data.table.BLOCK_ROWS", BLOCK)


@dataclass(frozen=True)
class Ids:
    """A test's own column: the number of a string among those of the training split."""

    key: str

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Any]:
        return {"rows": Distinct(self.key)}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(host={"values": np.array(list(results["rows"]))}, static={"size": len(results["rows"])})

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
        values = block.columns[self.key]
        assert isinstance(values, np.ndarray)
        return {"ids": np.searchsorted(constants.host["values"], values).astype(np.int32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        return lambda encoded, constants: encoded["ids"]


@dataclass(frozen=True)
class Cross:
    """A test's own column: two columns of ids as one."""

    keys: tuple[str, str]
    base: int = 10

    def statistics(self) -> Mapping[str, Any]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(device={"base": np.array(self.base, np.int32)})

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
        first, second = (parents[key]["ids"] for key in self.keys)
        return {"ids": first * self.base + second}

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        return lambda encoded, constants: encoded["ids"]


@dataclass(frozen=True, kw_only=True)
class Text(Tokens):
    """A test's own column: the bytes of a text of any length."""

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(static={"vocabulary": ("bytes", 256)})

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
        texts = [text.encode() for text in block.columns[self.key]]
        offsets = np.cumsum([0, *map(len, texts)])
        return {"ids": Ragged(np.frombuffer(b"".join(texts), np.uint8), offsets)}


def columns() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "x": random.normal(size=ROWS),
        "city": random.choice(["Oslo", "Rome", "Kyiv"], ROWS),
        "day": random.choice(["Mon", "Tue"], ROWS),
        "text": np.array(["é" * (row % 4) for row in range(ROWS)]),
        "label": np.arange(ROWS) % 3,
    }


def source(**changes: Any) -> Arrays:
    return Arrays(**{"columns": columns(), "valid": 0.2, "test": 0.1, "stratify": "label", **changes})


def features(columns: Mapping[str, Any] | None = None, *inputs: str, target: Any = None) -> Features:
    columns = columns or {"x": Numeric(key="x", normalize="z_score")}
    target = target or Label(key="label", weight="balanced")
    return Features({"target": target}, columns, {"input": inputs or tuple(columns)})


def everything() -> Features:
    parts = {"cross": Cross(("city", "day")), "city": Ids("city"), "day": Ids("day"), "text": Text(key="text")}
    return Features(
        {"target": Label(key="label", weight="balanced")},
        {**parts, "x": Numeric(key="x", normalize="z_score")},
        {"wide": ("cross",), "deep": ("x",), "words": ("text",)},
    )


def prepared(source: Any, features: Features, cache: Path | None = None, identity: str = "") -> Data:
    return load_encoded(source, features, identity=identity, cache=cache)


def texts(ragged: Encoded) -> list[str]:
    assert isinstance(ragged, Ragged)
    pairs = zip(ragged.offsets[:-1], ragged.offsets[1:], strict=True)
    return [ragged.values[start:stop].tobytes().decode() for start, stop in pairs]


def flat(data: Data) -> Iterator[tuple[str, np.ndarray]]:
    for name, arrays in data.encoded.items():
        for key, array in arrays.items():
            for number, part in enumerate(array if isinstance(array, Ragged) else (array,)):
                yield f"{name}/{key}/{number}", part
    yield from data.splits.items()
    for name, constants in data.constants.items():
        for kind in ("host", "device"):
            yield from ((f"{name}/{kind}/{key}", array) for key, array in getattr(constants, kind).items())


def assert_equal(found: Data, expected: Data) -> None:
    found_arrays, expected_arrays = dict(flat(found)), dict(flat(expected))
    assert found_arrays.keys() == expected_arrays.keys()
    for key, array in found_arrays.items():
        assert array.dtype == expected_arrays[key].dtype
        np.testing.assert_array_equal(array, expected_arrays[key])
    for name, constants in expected.constants.items():
        assert found.constants[name].static == constants.static
    assert found.constants.keys() == expected.constants.keys()
    assert (found.fingerprint, found.warnings) == (expected.fingerprint, expected.warnings)


# ---------------------------------------------------------------------------------------------------- the passes


def test_columns_are_fitted_on_the_training_split_and_encode_all_rows() -> None:
    given, data = columns(), prepared(source(), features())
    rows = data.splits["train"]
    np.testing.assert_allclose(data.constants["x"].device["offset"], [given["x"][rows].mean()], rtol=1e-6)
    np.testing.assert_allclose(data.constants["x"].device["divisor"], [given["x"][rows].std()], rtol=1e-6)
    np.testing.assert_array_equal(data.encoded["x"]["values"][:, 0], given["x"].astype(np.float32))
    np.testing.assert_array_equal(data.encoded["target"]["ids"], given["label"])
    assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 3500, "valid": 1000, "test": 500}


def test_the_encoded_rows_are_those_of_all_parts_in_order() -> None:
    parts = {"train": {"x": [1.0, 2, 3], "y": [0, 1, 0]}, "test": {"x": [4.0, 5], "y": [1, 0]}}
    table = Arrays(columns=parts, valid=1, seed=None)
    data = prepared(table, features({"x": Numeric(key="x")}, target=Label(key="y")))
    assert data.encoded["x"]["values"].tolist() == [[1], [2], [3], [4], [5]]
    assert data.splits["test"].tolist() == [3, 4]


def test_a_column_may_read_columns_that_are_listed_after_it() -> None:
    given, data = columns(), prepared(source(), everything())
    cities, days = np.unique(given["city"]).tolist(), np.unique(given["day"]).tolist()
    expected = [cities.index(c) * 10 + days.index(d) for c, d in zip(given["city"], given["day"], strict=True)]
    assert data.encoded["cross"]["ids"].tolist() == expected


def test_only_the_columns_of_inputs_are_passed_to_the_program() -> None:
    data = prepared(source(), everything())
    assert set(data.encoded) == {"cross", "x", "text", "target"}
    assert set(data.constants) == {*data.encoded, "city", "day"}  # the cross reads them


def test_a_column_that_no_input_uses_is_not_fitted() -> None:
    data = prepared(source(), features({"x": Numeric(key="x"), "odd": Numeric(key="city")}, "x"))
    assert set(data.encoded) == {"x", "target"}


def test_texts_of_any_length_are_concatenated_across_blocks() -> None:
    assert texts(prepared(source(), everything()).encoded["text"]["ids"]) == columns()["text"].tolist()


def test_a_statistic_that_two_columns_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    row_counts = []
    summarize = Moments.summarize

    def counted(self: Moments, block: Block) -> Any:
        row_counts.append(len(block.columns[self.key]))
        return summarize(self, block)

    monkeypatch.setattr(Moments, "summarize", counted)
    two = {"a": Numeric(key="x", normalize="z_score"), "b": Numeric(key="x", normalize=("z_score", Clip(low=-1)))}
    data = prepared(source(), features(two))
    assert sum(row_counts) == len(data.splits["train"])


def test_the_error_for_a_bad_row_has_its_number_in_the_data() -> None:
    given = columns()
    given["x"][4321] = np.nan
    for seed in range(3):  # in the training split the first pass finds the row, in another split the second
        with pytest.raises(DataError, match="row 4321 of the arrays: column `x` is nan"):
            prepared(source(columns=given, seed=seed), features())


# -------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("columns", "inputs", "message"),
    [
        (
            {"x": Numeric(key="txt")},
            ("x",),
            r"feature\.columns\.x: there is no column `txt` in the arrays. Did you mean text\?",
        ),
        (
            {"x": Numeric(key="nothing"), "z": Numeric(key="more")},
            ("x", "z"),
            r"there are no columns more, nothing in the arrays\. Columns: .*text",
        ),
        ({"x": Numeric(key="x")}, ("y",), r"feature\.inputs\.input: no column `y`. Allowed: x"),
        (
            {"a": Cross(("a", "b")), "b": Ids("day")},
            ("a",),
            r"feature\.columns\.a: there is no column `a` in the arrays",
        ),
        (
            {"a": Cross(("b", "day")), "b": Cross(("c", "day")), "c": Cross(("a", "day"))},
            ("a",),
            r"feature\.columns: a -> b -> c -> a is a cycle",
        ),
        ({"target": Numeric(key="x")}, ("target",), r"feature\.columns\.target: the target has this name"),
    ],
)
def test_columns_that_do_not_fit_together_are_an_error(
    columns: Mapping[str, Any], inputs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepared(source(), features(columns, *inputs))


def test_an_input_without_columns_is_an_error() -> None:
    with pytest.raises(UserError, match=r"feature\.inputs\.deep lists no column"):
        prepared(source(), Features({"target": Label(key="label")}, {}, {"deep": ()}))


def test_the_error_for_an_unknown_target_suggests_the_nearest_column() -> None:
    with pytest.raises(
        UserError, match=r"feature\.target: there is no column `labels` in the arrays. Did you mean label\?"
    ):
        prepared(source(), features(target=Label(key="labels")))


def test_a_missing_class_is_an_error_in_the_training_split_and_a_warning_in_others() -> None:
    given = {"x": np.arange(10.0), "y": np.array(list("ababababac"))}
    with pytest.raises(DataError, match=r"class c of column `y` is missing .* \(rows: 1 in test\); the class has"):
        prepared(Arrays(columns=given, valid=2, test=2, seed=None), features(target=Label(key="y")))
    given["y"][[0, 9]] = "c", "b"
    data = prepared(Arrays(columns=given, valid=2, test=2, seed=None), features(target=Label(key="y")))
    assert data.warnings == (
        "the valid split has no example of class c of column `y`",
        "the test split has no example of class c of column `y`",
    )


class WithEmptySplit(Arrays):
    """A source whose validation split is empty."""

    def splits(self) -> dict[str, np.ndarray]:
        return super().splits() | {"valid": np.zeros(0, np.int64)}


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(DataError, match="the valid split is empty"):
        prepared(WithEmptySplit(columns=columns(), valid=1, test=1), features())


def test_a_source_with_fewer_rows_than_its_sizes_is_an_error() -> None:
    class Short(Arrays):
        def blocks(self, part: str) -> Iterator[Block]:
            yield next(super().blocks(part))

    with pytest.raises(DataError, match="the part all of the data has 4096 rows instead of 5000"):
        prepared(Short(columns=columns(), valid=1, test=1), features())


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (np.zeros(3, np.float32), "feature column `x`: `encode` returned 3 rows of `ids` for 4096 rows"),
        (np.zeros(4096, np.int64), "feature column `x`: `encode` returned `ids` as int64. At most 32 bits"),
        (np.full(4096, "a"), "feature column `x`: `encode` returned `ids` as <U1"),
    ],
)
def test_encoded_arrays_that_no_device_can_take_are_an_error(encoded: np.ndarray, message: str) -> None:
    class Odd(Ids):
        def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
            return {"ids": encoded}

    with pytest.raises(UserError, match=message):
        prepared(source(), features({"x": Odd("city")}))


# ------------------------------------------------------------------------------------------------------- the cache


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """Fills a cache with one data set. Returns the folder of its encoded rows, not that of its constants."""
    prepared(source(), everything(), tmp_path)
    return max((tmp_path / "data").iterdir(), key=lambda folder: sum(f.stat().st_size for f in folder.iterdir()))


def forbid_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*args: Any) -> None:
        raise AssertionError("the rows were encoded again")

    monkeypatch.setattr("runner.data.load.encode_pieces", encode)


def test_encoded_data_is_read_from_the_cache_as_it_was_written(
    tmp_path: Path, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = prepared(source(), everything())
    forbid_encoding(monkeypatch)
    data = prepared(source(), everything(), tmp_path)
    assert_equal(data, expected)
    assert texts(data.encoded["text"]["ids"]) == columns()["text"].tolist()
    assert data.constants["text"].static == {"vocabulary": ("bytes", 256)}


def test_the_cache_keeps_warnings(tmp_path: Path) -> None:
    table = Arrays(columns={"x": [1.0, 2, 3, 4], "y": [0, 1, 0, 1]}, valid=1, test=1, seed=None)
    for _ in range(2):
        data = prepared(table, features({"x": Numeric(key="x")}, target=Label(key="y")), tmp_path)
        assert len(data.warnings) == 2


def test_a_damaged_entry_of_the_cache_is_encoded_again_and_replaced(
    tmp_path: Path, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (entry / "shared.bin").write_bytes(b"")
    expected = prepared(source(), everything())
    assert_equal(prepared(source(), everything(), tmp_path), expected)
    forbid_encoding(monkeypatch)
    assert_equal(prepared(source(), everything(), tmp_path), expected)


def test_another_configuration_source_or_split_makes_another_entry_of_the_cache(tmp_path: Path, entry: Path) -> None:
    prepared(source(), everything(), tmp_path, identity="another")
    prepared(source(seed=1), everything(), tmp_path)
    given = columns()
    given["x"][0] += 1
    prepared(source(columns=given), everything(), tmp_path)
    # Each of the four data sets has an entry for its constants and one for its encoded rows.
    assert len(list((tmp_path / "data").iterdir())) == 8


def test_rows_of_an_unknown_number_are_counted_once_and_the_count_is_kept(tmp_path: Path) -> None:
    starts: list[int] = []
    count = 9

    def rows() -> Iterator[dict[str, float]]:
        starts.append(count)
        yield from ({"x": float(number), "y": number % 2} for number in range(count))

    def load() -> Data:
        source = Generator(function=rows, version="1", seed=None, valid=2, test=2)
        features = Features({"target": Label(key="y")}, {"x": Numeric(key="x")}, {"x": ("x",)})
        return load_encoded(source, features, identity="a", cache=tmp_path)

    data = load()
    passes = len(starts)
    assert [len(data.splits[name]) for name in ("train", "valid", "test")] == [5, 2, 2]
    np.testing.assert_array_equal(load().encoded["x"]["values"], data.encoded["x"]["values"])
    assert len(starts) == passes
    for entry in list_entries(tmp_path / "data"):
        if not entry.about.startswith("number of rows"):
            remove_entry(entry.path)
    count = 8
    with pytest.raises(DataError, match=r"yielded 8 rows, and 9 before.*set `version` to another"):
        load()


@pytest.mark.parametrize("changed", ["x", "y", "w", "another", ""])
@pytest.mark.parametrize("options", [{}, {"stratify": "label", "per_class": 5}])
def test_rows_with_other_values_in_a_later_pass_are_an_error(
    options: dict[str, Any], changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only some rows are in a split, and if an earlier run has fitted the columns."""
    monkeypatch.setattr("components.data.generator.BLOCK_ROWS", 5)
    passes: list[int] = []
    is_kept = False

    def rows() -> Iterator[dict[str, Any]]:
        passes.append(0)
        for number in range(12):
            row: dict[str, Any] = {"x": number / 2, "y": number % 2, "w": 1.0, "another": 0, "label": number % 2}
            later = 0 if is_kept or number < 6 else 2 * len(passes)
            yield row | ({changed: row[changed] + later} if changed else {})

    def load(**more: Any) -> Data:
        source = Generator(function=rows, version="1", valid=2, test=2, **options)
        parts = Features({"target": Numeric(key="y")}, {"x": Numeric(key="x")}, {"x": ("x",)}, ExampleWeight(key="w"))
        return load_encoded(source, parts, identity="a", **{"cache": None, **more})

    if changed in ("another", ""):
        load()
        return
    with pytest.raises(DataError, match=r"^row [67] of .*rows has other values than when it was read before. The"):
        load()
    is_kept = True
    load(cache=tmp_path)
    for entry in list_entries(tmp_path / "data"):
        if entry.about.startswith("encoded rows"):
            remove_entry(entry.path)
    is_kept = False
    with pytest.raises(DataError, match=r"^row [67] of .*rows has other values") as raised:
        load(cache=tmp_path)
    assert locate_settings(str(raised.value), "data").endswith("changed, set data.version to another text")


def test_a_changed_file_of_a_column_is_read_again(tmp_path: Path) -> None:
    parts = features({"city": Vocabulary(key="city", path=str(tmp_path / "cities.txt"))})
    for cities in (["Oslo", "Rome", "Kyiv"], ["Kyiv", "Oslo", "Rome"]):
        (tmp_path / "cities.txt").write_text("\n".join(cities))
        data = prepared(source(), parts, tmp_path, identity="the same")
        assert data.encoded["city"]["ids"].tolist() == [cities.index(city) for city in columns()["city"]]


def test_data_without_an_identity_has_no_encoding_id() -> None:
    assert prepared(source(), features()).encoding_id == ""
    assert prepared(source(), features(), identity="some").encoding_id != ""


def test_folds_with_equal_host_constants_share_the_encoded_rows(tmp_path: Path) -> None:
    labels = features({"x": Numeric(key="x", normalize="z_score")})
    folds = [load_encoded(source(), labels, identity="folds", cache=tmp_path, fold=(5, fold)) for fold in range(5)]
    assert len({data.encoding_id for data in folds}) == 1
    assert len({data.fingerprint for data in folds}) == 5
    assert len({data.constants["x"].device["offset"].item() for data in folds}) == 5
    held_out = np.concatenate([data.splits["valid"] for data in folds])
    assert sorted([*held_out, *folds[0].splits["test"]]) == list(range(ROWS))
    assert len(list((tmp_path / "data").iterdir())) == 6


@dataclass(frozen=True)
class Largest(Ids):
    """A test's own column: whether a number is at least the largest of the training split, a static constant."""

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants(static={"largest": max(results["rows"])})

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
        return {"ids": (block.columns[self.key] >= constants.static["largest"]).astype(np.int32)}


def test_folds_with_different_static_constants_do_not_share_the_encoded_rows(tmp_path: Path) -> None:
    given = Arrays(columns={"x": np.arange(12), "label": np.arange(12) % 2}, valid=1, test=2, seed=None)
    parts = features({"x": Largest("x")}, target=Label(key="label"))
    for fold, largest in ((0, 9), (4, 7), (0, 9)):
        data = load_encoded(given, parts, identity="folds", cache=tmp_path, fold=(5, fold))
        assert data.encoded["x"]["ids"].tolist() == (np.arange(12) >= largest).astype(int).tolist()


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    data = prepared(source(), everything(), tmp_path / "file")
    assert data.encoded["x"]["values"].shape == (ROWS, 1)
    (warning,) = data.warnings
    assert warning.startswith(
        f"splits and fitted values, encoded rows could not be saved in {tmp_path / 'file' / 'data'}"
    )


def test_a_repeated_run_does_not_import_scikit_learn(tmp_path: Path) -> None:
    program = """
import sys
import tempfile
from pathlib import Path
from components.data import ScikitLearn
from components.feature import Image, Label
from runner.data.cache_entries import list_entries, remove_entry
from runner.data.load import Features, load_encoded
features = Features({"target": Label(key="label")}, {"image": Image(key="image")}, {"image": ("image",)})
source = ScikitLearn(name="digits", valid=0.15, test=0.2, stratify="label")
data = load_encoded(source, features, identity="", cache=Path(folder))
assert data.encoded["image"]["values"].shape == (1797, 8, 8, 1)
assert data.warnings == ()
"""
    exec(program, {"folder": tmp_path})
    repeated = f"folder = {str(tmp_path)!r}{program}assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", repeated], check=True)


def test_after_damage_the_same_command_encodes_the_data_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.data.cached_array.MIN_MAPPED_BYTES", 1)  # as if all arrays were large
    expected = prepared(source(), everything())
    prepared(source(), everything(), tmp_path)
    failures = 0
    for file in sorted((tmp_path / "data").glob("*/[0-9]*.bin")):
        prepared(source(), everything(), tmp_path)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        try:
            assert_equal(prepared(source(), everything(), tmp_path), expected)
        except RunError as error:  # encoded rows are checked when they are used, fitted values when they are loaded
            failures += 1
            assert_equal(prepared(source(), everything(), tmp_path), expected)
            assert str(file) in str(error)  # noqa: PT017
    assert failures == 5  # the arrays of encoded rows


def test_without_room_on_the_disk_the_data_is_encoded_in_memory(tmp_path: Path) -> None:
    expected = prepared(source(), everything())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # bytes of a file
    try:
        data = prepared(source(), everything(), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    what, place = "splits and fitted values, encoded rows", tmp_path / "data"
    assert data.warnings == (
        f"{what} could not be saved in {place}: File too large. The next run computes them again. The encoded rows are "
        "kept in memory. Free some space there, or set TITRATE_CACHE to another folder.",
    )
    assert_equal(replace(data, warnings=()), expected)
    assert list((tmp_path / "data").iterdir()) == []


def test_entries_of_other_runs_make_room_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(folder: Path, *content: Any) -> None:
        if any(name not in own for name in os.listdir(folder.parent)):
            raise OSError(errno.ENOSPC, "No space left on device")
        own.add(folder.name)
        save_tree(folder, *content)

    own: set[str] = set()
    prepared(source(), everything(), tmp_path)
    save_tree = encoded_cache.save_tree
    monkeypatch.setattr(encoded_cache, "save_tree", save)
    changed = source(seed=1)
    data = prepared(changed, everything(), tmp_path)
    assert data.warnings == ()
    assert {path.name for path in (tmp_path / "data").iterdir()} == own
    assert len(own) == 2


def test_the_cache_keeps_to_its_size_and_removes_what_was_not_used_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count() -> int:
        return len(list((tmp_path / "data").iterdir()))

    for seed in range(3):
        prepared(source(seed=seed), features(), tmp_path)
    assert count() == 6
    for number, file in enumerate(sorted((tmp_path / "data").glob("*/index.json"))):
        os.utime(file, (number, number))
    prepared(source(seed=0), features(), tmp_path)  # is used now
    size = sum(file.stat().st_size for file in (tmp_path / "data").glob("*/*"))
    monkeypatch.setenv("TITRATE_CACHE_GB", str(size / 1e9))
    prepared(source(seed=3), features(), tmp_path)
    assert 3 < count() <= 6
    with monkeypatch.context() as patched:
        forbid_encoding(patched)
        for seed in (0, 3):
            prepared(source(seed=seed), features(), tmp_path)
    monkeypatch.setenv("TITRATE_CACHE_GB", "0")
    prepared(source(seed=4), features(), tmp_path)
    assert count() == 2  # those of the run itself


@pytest.mark.parametrize("value", ["-1", "nan", "20 GB"])
def test_a_size_of_the_cache_that_is_no_number_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE_GB", value)
    with pytest.raises(UserError, match=f"TITRATE_CACHE_GB: is not a size in gigabytes, got {value}"):
        prepared(source(), features())


def test_the_number_of_threads_changes_no_bit_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    words = np.array([f"word {number}" for number in range(500)])
    table = {
        "x": random.lognormal(size=ROWS),
        "text": np.array([" ".join(each) for each in words[random.zipf(1.3, (ROWS, 3)) % 500]]),
        "at": (np.datetime64("2020-01-01", "s") + random.integers(0, 10**8, ROWS)).astype(str),
        "y": random.integers(0, 3, ROWS),
    }
    columns = {
        "x": Numeric(key="x", normalize="z_score"),
        "bucket": Bucketized(key="x", quantiles=10),
        "words": feature.Tokens(key="text"),
        "ids": Vocabulary(key="words", top=100, oov=1),
        "days": Time(key="at", parts=("elapsed",), normalize="z_score"),
    }
    features = Features({"target": Label(key="y")}, columns, {"input": ("x", "bucket", "ids", "days")})
    monkeypatch.setattr("components.data.table.BLOCK_ROWS", 700)

    def load(workers: int, **changed: np.ndarray) -> bytes:
        monkeypatch.setenv("TITRATE_WORKERS", str(workers))
        data = load_encoded(Arrays(columns=table | changed), features, identity="", cache=None)
        return pickle.dumps((data.encoded, data.constants, data.splits, data.warnings))

    assert load(1) == load(2) == load(3)
    wrong = np.where(np.arange(ROWS) % 1000 == 999, "no time", table["at"])
    for workers in (1, 2, 3):
        with pytest.raises(DataError, match=r"row 999 of the arrays: column `at` is 'no time'"):
            load(workers, at=wrong)


def test_a_column_must_return_one_type_for_all_rows() -> None:
    class Mixed(Ids):
        def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Encoded]:
            ids = super().encode(block, parents, constants)["ids"]
            assert isinstance(ids, np.ndarray)
            return {"ids": ids.astype(np.int8 if block.first_row == 0 else np.int16)}

    message = r"`city`: `encode` returned `ids` as single whole numbers \(int16\) for some rows, and as .* \(int8\) for"
    with pytest.raises(UserError, match=message):
        prepared(source(), features({"city": Mixed("city")}))


def test_environment_variables_choose_the_folder_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("TITRATE_CACHE", raising=False)
    assert cache_folder() == Path("/home/ada/.cache/titrate")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/titrate")
    monkeypatch.setenv("TITRATE_CACHE", "~/own")
    assert cache_folder() == Path("/home/ada/own")


def test_a_user_without_a_home_folder_has_a_private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TITRATE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # there is no home
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    components.cache_folder._temporary_cache.cache_clear()
    private = tmp_path / f"cache-{os.getuid()}"
    assert cache_folder() == private / "titrate"
    assert private.stat().st_mode & 0o077 == 0
    private.chmod(0o777)  # as another user might have created it
    components.cache_folder._temporary_cache.cache_clear()
    assert cache_folder().parent.parent == tmp_path
    assert cache_folder().parent != private
    assert cache_folder() == cache_folder()
    components.cache_folder._temporary_cache.cache_clear()


def test_the_fingerprint_depends_on_rows_and_splits_alone_and_has_32_characters() -> None:
    fingerprint = prepared(source(), features()).fingerprint
    assert prepared(source(), everything()).fingerprint == fingerprint
    assert len(fingerprint) == 32
    assert prepared(source(seed=3), features()).fingerprint != fingerprint
