"""Embeddings as TensorFlow combines them, shared and as sequences, from files of vectors, frozen and in training."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from components.data import Arrays
from components.feature import Numeric
from components.feature.crossed import Crossed
from components.feature.embedding import Embedding
from components.feature.identity import Identity
from components.feature.text.string_ops import to_strings
from components.feature.vocabulary import Vocabulary
from components.feature.weighted import Weighted
from components.layer import Normal, TruncatedNormal
from components.types import Block, Constants, DataError, Padded, Ragged, UserError
from runner.data.batches import gather_rows
from runner.data.load import Features, load_encoded
from runner.program.parts import ProgramInputs, numbers_to_arrays
from runner.program.program import Program
from runner.program.state import RateInputs
from runner.signature.build import ScalarSlot

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "embedding.json").read_text())
TF = GOLDEN["fc_embedding"]


def ragged(rows: list[list[Any]], dtype: Any = np.int64) -> Ragged:
    return Ragged(np.array([value for row in rows for value in row], dtype), np.cumsum([0, *map(len, rows)]))


def looked_up(table: Any, column: Embedding, parents: dict[str, Any], **data: Any) -> Any:
    """What the embedding of columns that learn nothing gives on the device, with that table."""
    constants: dict[str, Constants] = {}
    done: dict[str, Any] = {}
    for key, parent in parents.items():
        constants[key] = parent.fit({}, constants)
        done[key] = parent.encode(Block(data), done, constants[key])
    static = column.fit({}, constants).static
    first: Any = next(iter(data.values()))
    rows = np.arange(len(first.offsets) - 1 if isinstance(first, Ragged) else len(first))
    encoded = gather_rows({"it": column.encode(Block(data), done, Constants())}, rows)
    layer = column.layer(static)
    return jax.jit(layer.apply)({"params": {"embedding": np.array(table, np.float32)}}, encoded["it"], {})


@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("case", ["", "_weighted", "_max_norm1"])
def test_combined_as_in_tensorflow(case: str, combiner: Any) -> None:
    parents: dict[str, Any] = {"id": Identity(key="raw", buckets=4)}
    if case == "_weighted":
        parents["weighted"] = Weighted(key="id", weight="weight")
    longest = 1.0 if case == "_max_norm1" else None
    column = Embedding(key=list(parents)[-1], dimension=2, combiner=combiner, max_norm=longest)
    raw = {"raw": ragged(TF["ids"]), "weight": ragged(TF["weights"], np.float64)}
    np.testing.assert_allclose(
        looked_up(TF["table"], column, parents, **raw), TF[combiner + case], rtol=1e-5, atol=1e-6
    )


def test_rows_of_as_many_cells_each_are_the_same() -> None:
    parents: dict[str, Any] = {"id": Identity(key="raw", buckets=4), "weighted": Weighted(key="id", weight="weight")}
    raw = {
        name: np.array([row + [filler] * (3 - len(row)) for row in TF[given]])
        for name, given, filler in (("raw", "ids", -1), ("weight", "weights", 0.0))
    }
    found = looked_up(TF["table"], Embedding(key="weighted", dimension=2), parents, **raw)
    np.testing.assert_allclose(found, TF["mean_weighted"], rtol=1e-5)


def test_ids_out_of_range_add_nothing() -> None:
    column = Embedding(key="id", dimension=2)
    found = looked_up(
        TF["table"], column, {"id": Identity(key="id", buckets=4, check=False)}, id=np.array([0, -1, 4, -7])
    )
    np.testing.assert_array_equal(found, [[1, 2], [0, 0], [0, 0], [0, 0]])


def test_shared_vectors_stand_side_by_side_in_the_order_of_the_keys() -> None:
    shared = GOLDEN["fc_shared"]
    parents = {key: Identity(key=f"raw_{key}", buckets=3) for key in ("a", "b")}
    raw = {"raw_a": np.array(shared["a"]), "raw_b": np.array(shared["b"])}
    found = looked_up(shared["table"], Embedding(key=("a", "b"), dimension=2), parents, **raw)
    np.testing.assert_array_equal(found, shared["dense"])
    found = looked_up(shared["table"], Embedding(key=("b", "a"), dimension=2), parents, **raw)
    np.testing.assert_array_equal(found, np.array(shared["dense"])[:, [2, 3, 0, 1]])


def test_without_a_combiner_it_is_a_sequence_with_a_mask() -> None:
    golden, column = GOLDEN["fc_sequence"], Embedding(key="id", dimension=2, combiner=None)
    table = [[1, 2], [3, 4], [5, 6]]
    found = looked_up(table, column, {"id": Identity(key="id", buckets=3)}, id=ragged([[0, 1], [2]]))
    assert isinstance(found, Padded)
    np.testing.assert_array_equal(np.asarray(found.values)[:, :2], golden["embedding"])
    np.testing.assert_array_equal(found.values[:, 2:], 0)
    np.testing.assert_array_equal(found.mask.sum(1), golden["embedding_lengths"])
    found = looked_up(table, column, {"id": Identity(key="id", buckets=3)}, id=np.array([[0, -1, 1], [2, -1, -1]]))
    np.testing.assert_array_equal(found.mask, [[True, False, True], [True, False, False]])
    np.testing.assert_array_equal(found.values[0], [[1, 2], [0, 0], [3, 4]])
    unknown = {"id": Vocabulary(key="word", values=("a", "b", "c"))}
    found = looked_up(table, column, unknown, word=np.array([["c", "other", ""]]))
    np.testing.assert_array_equal(found.mask, [[True, True, False]])  # a gap alone has no place in a sequence
    np.testing.assert_array_equal(found.values, [[[5, 6], [0, 0], [0, 0]]])


def test_initial_vectors_have_the_distribution_of_tensorflow() -> None:
    golden = TF["default_initializer"]
    assert golden["class"] == "TruncatedNormal"
    assert Embedding(key="id", dimension=16).layer({"buckets": 5}).initializer == TruncatedNormal(golden["stddev"])


def test_a_vector_of_zeros_has_a_slope_under_max_norm() -> None:
    layer = Embedding(key="id", dimension=2, max_norm=1.0).layer({"buckets": 2})
    encoded = {"ids": np.array([0, 1], np.int32)}
    slope = jax.jit(jax.grad(lambda table: layer.apply({"params": {"embedding": table}}, encoded, {}).sum()))
    np.testing.assert_allclose(slope(np.array([[0, 0], [0, 2]], np.float32)), [[1, 1], [0.5, 0]], atol=1e-6)


@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("size", [4, 50])
def test_gradients_go_through_the_cut_as_in_tensorflow(size: int, combiner: Any) -> None:
    """Of a vector v that is cut to length 1, (I - v v'/|v|^2) / |v|; a table much larger than the ids is cut there."""
    random = np.random.default_rng(0)
    table = random.normal(size=(size, 3)) * np.where(np.arange(size) % 2, 0.1, 2)[:, None]
    ids, weights = np.array([[0, 1, 1], [3, -1, 9999]]), np.array([[0.5, 2, 1], [3, 5, 7.0]])
    length = np.linalg.norm(table, axis=1)
    share = np.where(length > 1, 1 / length, 1)
    kept = np.where((ids >= 0) & (ids < size), weights, 0)
    divisors = {"mean": kept.sum(1), "sum": np.ones(2), "sqrtn": np.sqrt(np.square(kept).sum(1))}
    kept = kept / divisors[combiner][:, None]
    slopes = random.normal(size=(2, 3))
    of_cut, combined = np.zeros((size, 3)), np.zeros((2, 3))
    for row, cell in np.argwhere(kept):
        of_cut[ids[row, cell]] += kept[row, cell] * slopes[row]
        combined[row] += kept[row, cell] * (table * share[:, None])[ids[row, cell]]
    along = (of_cut * table).sum(1, keepdims=True) * table / length[:, None] ** 2
    expected = share[:, None] * np.where(length[:, None] > 1, of_cut - along, of_cut)

    layer = Embedding(key="id", dimension=3, combiner=combiner, max_norm=1.0).layer({"buckets": size})
    encoded = {"ids": ids.astype(np.int32), "weights": weights.astype(np.float32)}
    found, back = jax.vjp(
        lambda table: layer.apply({"params": {"embedding": table}}, encoded, {}), np.array(table, np.float32)
    )
    np.testing.assert_allclose(found, combined, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(back(np.array(slopes, np.float32))[0], expected, rtol=1e-4, atol=1e-6)


def words(*texts: str) -> Constants:
    """What a vocabulary with one id before its list has learned."""
    listed = to_strings(list(texts))
    host = {"data": listed.data, "offsets": listed.offsets, "ids": np.arange(len(texts)) + 1}
    return Constants(host=host, static={"buckets": len(texts) + 1})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path))
    return tmp_path / "vectors.txt"


@pytest.mark.parametrize("header", ["", "4 2\n"])
def test_words_of_a_file_have_its_vectors_and_the_others_are_drawn(file: Path, header: str) -> None:
    file.write_text(header + "the 1 2\ncafé -3 4.5\nNew York 5 6\nthe 9 9\n")
    column = Embedding(key="w", dimension=2, vectors="vectors.txt", initializer=Normal(0.0))
    constants = column.fit({}, {"w": words("café", "rare", "the", "New York")})
    assert constants.static == {"buckets": 5, "with_vectors": 3}
    begun = jax.jit(column.layer(constants.static).init)(
        jax.random.key(0), {"ids": np.zeros(1, np.int32)}, constants.init_only
    )
    np.testing.assert_array_equal(begun["params"]["embedding"], [[0, 0], [-3, 4.5], [0, 0], [1, 2], [5, 6]])


@pytest.mark.parametrize(
    ("lines", "vectors"),
    [
        ("3 1\na 5\nb 6\n3 7\n", {"a": 5, "b": 6, "3": 7}),  # a header, for three lines follow
        ("3 1\na 5\nb 6\n", {"3": 1, "a": 5, "b": 6}),
        ("3 2\na 5\nb 6\nc 7\n", {"3": 2, "a": 5, "c": 7}),
        ("3 1\n", {"3": 1}),
    ],
)
def test_vectors_of_one_number_may_have_a_header(file: Path, lines: str, vectors: dict[str, float]) -> None:
    file.write_text(lines)
    column = Embedding(key="w", dimension=1, vectors="vectors.txt")
    found = column.fit({}, {"w": words(*vectors)}).init_only
    np.testing.assert_array_equal(found["known"], [False, *[True] * len(vectors)])
    np.testing.assert_array_equal(found["vectors"][1:, 0], list(vectors.values()))


def test_vectors_are_found_by_the_words_of_the_vocabulary(file: Path) -> None:
    file.write_text("b 1 2\na 3 4\n")
    parent = Vocabulary(key="raw", values=("a", "b"), oov=1, oov_first=True).fit({}, {})
    found = Embedding(key="v", dimension=2, vectors="vectors.txt").fit({}, {"v": parent})
    np.testing.assert_array_equal(found.init_only["vectors"], [[0, 0], [3, 4], [1, 2]])
    parent = Vocabulary(key="raw", values=(7, 8)).fit({}, {})
    file.write_text("8 1 2\n")
    found = Embedding(key="v", dimension=2, vectors="vectors.txt").fit({}, {"v": parent})
    np.testing.assert_array_equal(found.init_only["known"], [False, True])


def test_a_file_of_arrays_has_a_row_for_each_id(file: Path) -> None:
    array = np.arange(6.0).reshape(3, 2)
    np.save(file.with_suffix(".npy"), array)
    column = Embedding(key="h", dimension=2, vectors="vectors.npy")
    before = column.fingerprint()
    constants = column.fit({}, {"h": Constants(static={"buckets": 3})})
    np.testing.assert_array_equal(constants.init_only["vectors"], array)
    with pytest.raises(
        DataError, match=r"has float64 \(3, 2\); floats of shape \(4, 2\), \(ids, dimension\), are needed"
    ):
        column.fit({}, {"h": Constants(static={"buckets": 4})})
    np.save(file.with_suffix(".npy"), array + 1)
    assert column.fingerprint() != before
    np.save(file.with_suffix(".npy"), np.where(array == 3, np.nan, array))
    with pytest.raises(DataError, match=r"row 1 of .* has nan; the numbers must be finite"):
        column.fit({}, {"h": Constants(static={"buckets": 3})})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("the 1 2 3\n", "line 1 of .*vectors.txt has 3 numbers, not dimension=2"),
        ("1 3\nthe 1 2 3\n", "line 1 of .*vectors.txt announces vectors of 3 numbers, not dimension=2"),
        ("1 2\nthe 1 2 3\n", "line 2 of .*vectors.txt has 3 numbers, not dimension=2"),
        ("3 2\nthe 1 2\na 3 4\n", "line 1 of .*vectors.txt announces 3 words, and 2 lines follow. The file is inc"),
        ("1 2\nthe 1 2\na 3 4\n", "line 1 of .*vectors.txt announces 1 words, and 2 lines follow"),
        ("5 2\n", "line 1 of .*vectors.txt announces 5 words, and 0 lines follow"),
        ("the 1 2\na 1\n", "line 2 of .*vectors.txt has 1 numbers, not dimension=2"),
        ("the 1 x\n", "line 1 of .*vectors.txt: could not convert string to float"),
        ("the 1 nan\n", "line 1 of .*vectors.txt has nan; the numbers must be finite"),
        ("the 1 1e39\n", "line 1 of .*vectors.txt has inf; the numbers must be finite"),
        ("the 1  \n", "line 1 of .*vectors.txt has 1 numbers, not dimension=2"),
        ("the 1 2\t3\n", "line 1 of .*vectors.txt has 3 numbers, not dimension=2"),
        ("the 1 \0\n", "line 1 of .*vectors.txt: could not convert string to float"),
        ("the " + "1" * 20_000_000, "line 1 of .*vectors.txt is longer than 16 MiB"),
        ("a 1 2\n", r"none of the 1 words of column `w` \('the', …\) has a vector in .*vectors.txt"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        Embedding(key="w", dimension=2, vectors="vectors.txt").fit({}, {"w": words("the")})


def saved(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


SAVED = saved(np.arange(6.0).reshape(3, 2))
ZIPPED = io.BytesIO()
np.savez(ZIPPED, x=np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no array in NumPy's format"),
        (SAVED[:-1], "is truncated after 47 of the 48 bytes of its array"),
        (SAVED + b"1", "has more than the 48 bytes of its array"),
        (pickle.dumps(np.zeros((3, 2))), "is no array in NumPy's format"),
        (ZIPPED.getvalue(), "is no array in NumPy's format"),
        (
            saved(np.full((3, 2), None), allow_pickle=True),
            r"has object \(3, 2\); floats of shape \(3, 2\), .* are needed",
        ),
        (saved(np.zeros((3, 2), "c16")), r"has complex128 \(3, 2\); floats"),
        (saved(np.full((3, 2), 1e39)), r"row 0 of .* has 1e\+39; the numbers must be finite in float32"),
        (SAVED.replace(b"(3, 2), }", b"(3<<60,)}"), "is no array in NumPy's format"),
        (SAVED.replace(b"(3, 2), }", b"(3,2)*9,}"), "is no array in NumPy's format"),
        (SAVED.replace(b"(3, 2), }        ", b"(3, 9" + b"0" * 9 + b"),}"), r"has float64 \(3, 9000000000\); floats"),
        (SAVED.replace(b"'<f8'", b"((('<"), "is no array in NumPy's format"),
        (SAVED[:6] + b"\7" + SAVED[7:], "is no array in NumPy's format"),
    ],
)
def test_a_damaged_or_hostile_file_of_arrays_raises_an_error(file: Path, content: bytes, message: str) -> None:
    file.with_suffix(".npy").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Embedding(key="h", dimension=2, vectors="vectors.npy").fit({}, {"h": Constants(static={"buckets": 3})})
    assert "vectors.npy" in str(caught.value)


def test_an_array_may_lie_in_columns_or_in_another_order_of_bytes(file: Path) -> None:
    for array in (np.asfortranarray(np.arange(6.0).reshape(3, 2)), np.arange(6).reshape(3, 2).astype(">f4")):
        np.save(file.with_suffix(".npy"), array)
        column = Embedding(key="h", dimension=2, vectors="vectors.npy")
        found = column.fit({}, {"h": Constants(static={"buckets": 3})}).init_only["vectors"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == np.float32


def test_a_column_without_words_needs_a_npy_file(file: Path) -> None:
    file.write_text("a 1 2\n")
    with pytest.raises(DataError, match=r"column `h` has no list of words to look up in .*; use a \.npy"):
        Embedding(key="h", dimension=2, vectors="vectors.txt").fit({}, {"h": Constants(static={"buckets": 3})})


@pytest.mark.parametrize(
    ("options", "parents", "message"),
    [
        (
            {"key": "raw"},
            {},
            "embedding of `raw`: `raw` is a raw column; use the name of a feature column with ids",
        ),
        ({"key": "x"}, {"x": Constants()}, "`x` is no categorical column"),
        (
            {"key": ("a", "b")},
            {"a": Constants(static={"buckets": 3}), "b": Constants(static={"buckets": 4})},
            "`a` has 3 ids, but `b` has 4; columns that share vectors must have the same ids",
        ),
        (
            {"key": ("a", "b")},
            {"a": words("x", "y"), "b": words("y", "x")},
            "`a` and `b` have different values for the same id; set the same `values` or `path` for both",
        ),
        ({"key": ("a", "b"), "combiner": None}, {}, "without a combiner there must be only one column"),
        ({"key": ("a", "a")}, {}, "`key` must be one column, or several different columns"),
        ({"key": "a", "dimension": 0}, {}, "dimension=0 must be at least 1"),
    ],
)
def test_inconsistent_columns_and_options_raise_an_error(options: Any, parents: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Embedding(**{"dimension": 2, **options}).fit({}, parents)


def test_frozen_vectors_are_no_parameters(file: Path) -> None:
    """So no optimizer and no penalty touches them."""
    np.save(file.with_suffix(".npy"), np.full((3, 2), 0.5))
    columns = {
        "a": Identity(key="x", buckets=3),
        "ab": Crossed(keys=("a", "x"), buckets=7),
        "frozen": Embedding(key="a", dimension=2, trainable=False, vectors="vectors.npy"),
        "learned": Embedding(key="a", dimension=2, vectors="vectors.npy"),
    }
    features = Features({"target": Numeric(key="y")}, columns, {"wide": ("a", "ab"), "deep": ("frozen", "learned")})
    source = Arrays(columns={"x": np.arange(12) % 3, "y": np.arange(12.0)}, valid=2, test=2, seed=None)
    data = load_encoded(source, features, identity="", cache=None)
    static = {
        "architecture": {"_target_": "components.architecture.wide_deep.WideDeep", "widths": (3,), "activation": "elu"},
        "loss": {"_target_": "components.loss.MSE"},
        "metric": {},
        "optimizer": {"_target_": "optax.sgd"},
        "schedule": {"_target_": "components.schedule.constant", "learning_rate": ScalarSlot("learning_rate")},
        "regularizer": {},
        "loss_weights": {},
        "update": {},
        "step": {"_target_": "components.step.Supervised"},
        "constraint": {},
        "augmentation": {},
    }
    program = Program(static, features, data.constants)
    given = ProgramInputs(
        numbers_to_arrays({"learning_rate": 0.1}, 0), {name: dict(one.device) for name, one in data.constants.items()}
    )
    rows = np.arange(4, dtype=np.int32)
    state = program.init.eval_shape(given, data.encoded, rows)
    trained, _ = program.train.eval_shape(given, state, data.encoded, rows[None], np.int32(1), RateInputs(4, 2, 1.0))
    assert jax.tree.structure(trained) == jax.tree.structure(state)
    assert set(trained.parameters) == {"architecture", "columns_learned"}
    assert trained.model_state["frozen"]["columns_frozen"]["embedding"].shape == (3, 2)
