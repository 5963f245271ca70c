"""Feature columns of lists of lists: the innermost lists are what the rows of lists are."""

from typing import Any

import jax
import numpy as np
import pytest
from nested_lists import to_lists, to_ragged, unpad

from components.feature import (
    Bucketized,
    Crossed,
    Embedding,
    Hashed,
    Identity,
    Indicator,
    Label,
    Labels,
    MissingIndicator,
    Moments,
    Numeric,
    PrincipalComponents,
    Tokens,
    Truncated,
    Vocabulary,
    Weighted,
    WordCount,
)
from components.layer import GlobalAveragePool
from components.types import Block, Constants, DataError, Padded, UserError, row_count
from runner.data.batches import gather_rows

BASKETS = [[["b", "a"], [], ["b"]], [], [["c"]]]
IDS = [[[0, 1], [], [0]], [], [[2]]]
SIZES = [[[1.0, 2.0], [], [4.0]], [], [[0.5]]]
BLOCK = Block(
    {
        "baskets": to_ragged(BASKETS, 2, str),
        "ids": to_ragged(IDS, 2),
        "sizes": to_ragged(SIZES, 2, np.float64),
        "pairs": to_ragged([[[0, 1], [0, 0]], [], [[2, 1]]], 1),
        "single": np.array([0, 1, 2]),
    }
)
TABLE = np.array([[1, 0], [3, 5], [2, 2], [0, 0]], np.float32)


def encode(columns: dict[str, Any], block: Block = BLOCK) -> tuple[dict[str, Any], dict[str, Constants]]:
    """The arrays of columns, parents first, and their constants."""
    constants: dict[str, Constants] = {}
    encoded: dict[str, Any] = {}
    for name, column in columns.items():
        parents = {key: next(iter(encoded[key].values())) for key in column.keys if key in encoded}
        seen = Block({**block.columns, **parents}, block.valid, ids=frozenset(parents))
        results = {key: each.result(each.summarize(seen)) for key, each in column.statistics().items()}
        constants[name] = column.fit(results, constants)
        encoded[name] = column.encode(block, encoded, constants[name])
    return encoded, constants


def compute(columns: dict[str, Any], block: Block = BLOCK) -> Any:
    """What the layer of the last column returns."""
    encoded, constants = encode(columns, block)
    name, column = [*columns.items()][-1]
    rows = np.arange(row_count(next(iter(encoded[name].values()))))
    arrays = gather_rows({name: encoded[name]}, rows)[name]
    layer: Any = column.layer(constants[name].static)
    if isinstance(column, Embedding):
        return jax.jit(layer.apply)({"params": {"embedding": TABLE}}, arrays, constants[name].device)
    return jax.jit(layer)(arrays, constants[name].device)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Vocabulary(key="baskets", values=("a", "b")), [[[1, 0], [], [1]], [], [[-1]]]),
        (Vocabulary(key="baskets", top=1, oov=1), [[[0, 1], [], [0]], [], [[1]]]),
        (Hashed(key="ids", buckets=1), [[[0, 0], [], [0]], [], [[0]]]),
        (Identity(key="ids", buckets=3), IDS),
        (Bucketized(key="sizes", boundaries=(1, 3)), [[[1, 1], [], [2]], [], [[0]]]),
        (Identity(key="pairs", buckets=3), [[[0, 1], [0, 0]], [], [[2, 1]]]),
    ],
)
def test_ids_have_the_lists_of_the_column(column: Any, expected: list[Any]) -> None:
    encoded, constants = encode({"column": column})
    assert to_lists(encoded["column"]["ids"]) == expected
    buckets = constants["column"].static["buckets"]
    counts = [
        [np.bincount([i for i in step if i >= 0], minlength=buckets).tolist() for step in row] for row in expected
    ]
    assert unpad(compute({"column": column})) == counts


@pytest.mark.parametrize(
    ("combiner", "first"), [("mean", [1.5, 0.5]), ("sum", [3, 1]), ("sqrtn", [3 / 2**0.5, 0.5**0.5])]
)
def test_an_embedding_combines_the_innermost_lists(combiner: Any, first: list[float]) -> None:
    table = np.array([[1, 0], [2, 1], [5, 5]], np.float32)
    columns = {"id": Identity(key="ids", buckets=3), "x": Embedding(key="id", dimension=2, combiner=combiner)}
    encoded, constants = encode(columns)
    arrays = gather_rows({"x": encoded["x"]}, np.arange(3))["x"]
    layer = columns["x"].layer(constants["x"].static)
    found = jax.jit(layer.apply)({"params": {"embedding": table}}, arrays, {})
    assert found.values.shape == (3, 8, 2)
    np.testing.assert_allclose(unpad(found)[0], [first, [0, 0], [1, 0]], rtol=1e-6)
    assert unpad(found)[1:] == [[], [[5, 5]]]
    assert not np.asarray(found.values)[~np.asarray(found.mask)].any(), "padding is zero"
    pooled = GlobalAveragePool()(found, train=False)
    np.testing.assert_allclose(pooled[0], np.add(first, [1, 0]) / 3, rtol=1e-6)  # an empty list is a step
    assert np.asarray(pooled)[1:].tolist() == [[0, 0], [5, 5]]


def test_without_a_combiner_the_vectors_stay_in_their_lists() -> None:
    columns = {"id": Identity(key="ids", buckets=4), "x": Embedding(key="id", dimension=2, combiner=None)}
    found = compute(columns)
    vectors = [[[TABLE[i].tolist() for i in step] for step in row] for row in IDS]
    assert unpad(found) == vectors
    steps = GlobalAveragePool()(found, train=False)
    assert unpad(steps) == [[[2, 2.5], [0, 0], [1, 0]], [], [[2, 2]]]


def test_lists_of_arrays_are_lists_of_lists_of_equal_lengths() -> None:
    columns = {"id": Identity(key="pairs", buckets=4), "x": Embedding(key="id", dimension=2)}
    found = compute(columns)
    assert unpad(found) == [[[2, 2.5], [1, 0]], [], [[2.5, 3.5]]]
    assert not np.asarray(found.values)[~np.asarray(found.mask)].any(), "padding is zero"


def test_shared_embeddings_are_joined_step_by_step() -> None:
    columns: dict[str, Any] = {"a": Identity(key="ids", buckets=4), "b": Identity(key="pairs", buckets=4)}
    columns["x"] = Embedding(key=("a", "b"), dimension=2)
    assert unpad(compute(columns))[2] == [[2, 2, 2.5, 3.5]]
    columns["b"] = Identity(key="single", buckets=4)
    with pytest.raises(UserError, match=r"only some of them have lists of lists\. Give each its own embedding"):
        compute(columns)


@pytest.mark.parametrize("mode", ["count", "multi_hot"])
def test_an_indicator_has_a_vector_for_each_innermost_list(mode: Any) -> None:
    block = Block({"ids": to_ragged([[[2, 2], [0, 1]], [[]]], 2)})
    columns = {"id": Identity(key="ids", buckets=3), "x": Indicator(key="id", mode=mode)}
    assert unpad(compute(columns, block)) == [[[0, 0, 2 if mode == "count" else 1], [1, 1, 0]], [[0, 0, 0]]]
    sequence = Indicator(key="id", mode=mode, sequence=True)
    assert unpad(compute({**columns, "x": sequence}, block)) == [[[[0, 0, 1]] * 2, [[1, 0, 0], [0, 1, 0]]], [[]]]


def test_weights_belong_to_the_ids_of_their_list() -> None:
    columns: dict[str, Any] = {"id": Identity(key="ids", buckets=4), "w": Weighted(key="id", weight="sizes")}
    assert unpad(compute(columns)) == [[[1, 2, 0, 0], [0] * 4, [4, 0, 0, 0]], [], [[0, 0, 0.5, 0]]]
    combined = compute({**columns, "x": Embedding(key="w", dimension=2)})
    np.testing.assert_allclose(unpad(combined)[0][0], (TABLE[0] + 2 * TABLE[1]) / 3, rtol=1e-6)
    scaled = Numeric(key="sizes", sequence=True, scale=2)
    doubled = {"sizes": scaled, **columns}
    assert to_lists(encode(doubled)[0]["w"]["weights"]) == [[[2, 4], [], [8]], [], [[1]]]


def test_numbers_become_sequences_of_sequences() -> None:
    numbers = np.array([1, 2, 4, 0.5])
    found = compute({"x": Numeric(key="sizes", sequence=True, normalize="z_score")})
    expected = ((numbers - numbers.mean()) / numbers.std()).tolist()
    assert [len(row) for row in unpad(found)] == [3, 0, 1]
    flat = [number for row in unpad(found) for step in row for vector in step for number in vector]
    np.testing.assert_allclose(flat, expected, atol=1e-6)
    assert found.values.values.shape == (3, 8, 8, 1)
    assert not np.asarray(found.values.values)[~np.asarray(found.values.mask)].any(), "padding is zero"


def test_innermost_lists_are_vectors_of_a_size() -> None:
    tracks = [[[1.0, 2.0], [3.0, 4.0]], [], [[5.0, 6.0]]]
    for depth in (1, 2):  # of the second, an array holds the vectors
        block = Block({"track": to_ragged(tracks, depth, np.float64)})
        found = compute({"x": Numeric(key="track", sequence=True, size=2)}, block)
        assert found.values.shape == (3, 8, 2)
        assert unpad(found) == tracks
        ids = encode({"x": Bucketized(key="track", boundaries=(3, 5), size=2)}, block)[0]["x"]["ids"]
        assert to_lists(ids) == [[[0, 3], [1, 4]], [], [[2, 5]]]


def test_statistics_are_over_all_elements() -> None:
    column = Vocabulary(key="baskets")
    tally = column.statistics()["counts"].result(column.statistics()["counts"].summarize(BLOCK))
    assert dict(zip(tally.tokens.tolist(), tally.counts.tolist(), strict=True)) == {"a": 1, "b": 2, "c": 1}
    assert dict(zip(tally.tokens.tolist(), tally.documents.tolist(), strict=True)) == {"a": 1, "b": 1, "c": 1}
    assert tally.rows == 3
    [statistic] = list(Numeric(key="sizes", sequence=True, normalize="z_score").statistics().values())
    assert isinstance(statistic, Moments)
    assert statistic.result(statistic.summarize(BLOCK)).offset == 1.875


def test_a_missing_row_has_no_lists_and_numbers_say_so() -> None:
    block = Block(BLOCK.columns, {"baskets": np.array([True, False, True]), "sizes": np.array([True, False, True])})
    assert to_lists(encode({"x": Vocabulary(key="baskets", values=("a",))}, block)[0]["x"]["ids"])[1] == []
    assert encode({"x": MissingIndicator(key="sizes")}, block)[0]["x"]["values"].tolist() == [[0], [1], [0]]
    with pytest.raises(DataError, match="row 1 of data: column `sizes` has no value"):
        encode({"x": Numeric(key="sizes", sequence=True)}, block)


OTHERS: Any = to_ragged([[[1.0], [2.0], [4.0]], [], [[0.5]]], 2, np.float64)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": Numeric(key="sizes")}, r"`sizes` of data has lists of lists in its rows; set `sequence=true`"),
        ({"x": Numeric(key="sizes", sequence=True, size=2)}, r"row 0 .* has a list of 0 numbers, not of `size` \(=2\)"),
        ({"x": Label(key="ids")}, r"`ids` of data has lists of lists in its rows"),
        ({"x": Labels(key="ids")}, r"`ids` of data has lists of lists in its rows, but labels are lists"),
        ({"x": Crossed(keys=("ids", "single"), buckets=9)}, r"a cross of `ids`: its rows have lists of lists, but"),
        ({"x": Tokens(key="baskets")}, r"one string in each row, but its rows have lists of lists"),
        (
            {"x": WordCount(key="baskets")},
            r"`baskets` has lists of lists in its rows; `key` must be a column of Tokens",
        ),
        ({"x": PrincipalComponents(key=("sizes",), components=1)}, r"`sizes` of data has lists of lists in its rows"),
        (
            {"id": Identity(key="ids", buckets=3), "x": Indicator(key="id", mode="tf_idf", documents="counted")},
            r"`id` of data has lists of lists in its rows, but a row with a list is a document",
        ),
        (
            {"id": Vocabulary(key="ids"), "x": Indicator(key="id", mode="tf_idf")},
            r"indicator of `id`: rows have lists of lists, but `mode` \(=tf_idf\) needs lists",
        ),
        (
            {"x": Truncated(key="baskets", max_length=2)},
            r"`baskets` of data has lists of lists of texts in its rows, but `max_length` has 1; write 2 maxima",
        ),
        (
            {"x": Truncated(key="single", max_length=2)},
            r"`single` of data has single whole numbers in its rows, but `max_length` has 1; leave this column out",
        ),
        (
            {"id": Identity(key="ids", buckets=3), "x": Truncated(key="id", max_length=2)},
            "`id` has ids; truncate the column that it reads",
        ),
        ({"x": Truncated(key="idz", max_length=2)}, "there is no column `idz` in data. Did you mean ids?"),
        (
            {"w": Weighted(key="ids", weight="single", buckets=3)},
            r"row 0 of data: column `single` has 1 weights for 3 ids of `ids`",
        ),
        (
            {"w": Weighted(key="ids", weight="others", buckets=3)},
            r"row 0 of data: the lists of column `others` have other lengths than those of `ids`",
        ),
        (
            {"w": Weighted(key="ids", weight="flat", buckets=3)},
            r"`flat` of data has lists in its rows, and `ids` has lists of lists",
        ),
    ],
)
def test_a_column_that_takes_no_lists_of_lists_is_an_error(columns: dict[str, Any], message: str) -> None:
    flat = to_ragged([[1.0, 2.0, 4.0], [], [0.5]], 1, np.float64)
    with pytest.raises((DataError, UserError), match=message):
        encode(columns, Block({**BLOCK.columns, "others": OTHERS, "flat": flat}))


def test_deeper_lists_are_one_sequence_more() -> None:
    block = Block({"ids": to_ragged([[[[0, 1], []], []], []], 3)})
    columns = {"id": Identity(key="ids", buckets=4), "x": Embedding(key="id", dimension=2)}
    found = compute(columns, block)
    assert isinstance(found.values, Padded)
    assert unpad(found) == [[[[2, 2.5], [0, 0]], []], []]


@pytest.mark.parametrize(
    ("column", "lists"),
    [
        (Truncated(key="baskets", max_length=(2, 1)), [[["b"], []], [], [["c"]]]),
        (Truncated(key="baskets", max_length=(None, 1), keep="last"), [[["a"], [], ["b"]], [], [["c"]]]),
        (Truncated(key="sizes", max_length=(1, None), keep="last"), [[[4.0]], [], [[0.5]]]),
        (Truncated(key="pairs", max_length=1), [[[0, 1]], [], [[2, 1]]]),
    ],
)
def test_other_columns_read_truncated_lists(column: Truncated, lists: Any) -> None:
    reader: Any = Vocabulary(key="x", values=("a", "b", "c"))
    if column.key != "baskets":
        reader = Numeric(key="x", sequence=True) if column.key == "sizes" else Identity(key="x", buckets=3)
    encoded, _ = encode({"x": column, "reader": reader})
    assert to_lists(encoded["x"]["lists"]) == lists
    raw = Block({"x": encoded["x"]["lists"]})
    (found, expected) = (next(iter(each["reader"].values())) for each in (encoded, encode({"reader": reader}, raw)[0]))
    assert to_lists(found) == to_lists(expected)


def test_a_missing_list_is_truncated_to_an_empty_one_or_an_error() -> None:
    block = Block(BLOCK.columns, {"sizes": np.array([True, False, True])})
    with pytest.raises(DataError, match=r"row 1 of data: column `sizes` has no value.*, or set `missing=empty`"):
        encode({"x": Truncated(key="sizes", max_length=(1, 1))}, block)
    found = encode({"x": Truncated(key="sizes", max_length=(1, 1), missing="empty")}, block)[0]["x"]["lists"]
    assert to_lists(found) == [[[1.0]], [], [[0.5]]]
