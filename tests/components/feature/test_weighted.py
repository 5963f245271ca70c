"""Ids with weights."""

from typing import Any

import numpy as np
import pytest

from components.feature.base.values import NO_ID
from components.feature.identity import Identity
from components.feature.text.string_ops import to_strings
from components.feature.vocabulary import Vocabulary
from components.feature.weighted import Weighted
from components.types import Block, Constants, DataError, Padded, Ragged, UserError

OFFSETS = np.array([0, 1, 4, 4, 6])
IDS = Ragged(np.array([0, 1, 1, 2, 3, 0]), OFFSETS)
WEIGHTS = Ragged(np.array([2, 1, 1, 3, 0.5, -1]), OFFSETS)
INDICATOR = [[2, 0, 0, 0], [0, 2, 3, 0], [0, 0, 0, 0], [-1, 0, 0, 0.5]]  # TensorFlow's


def encoded(values: dict[str, Any], **options: Any) -> Any:
    column = Weighted(key="x", weight="w", **{"buckets": 4, **options})
    block = Block(values, origin="somewhere", first_row=10)
    return column.encode(block, {}, column.fit({}, {}))


def test_ids_and_weights_stand_side_by_side() -> None:
    found = encoded({"x": IDS, "w": WEIGHTS})
    assert found["ids"].values.dtype == np.int32
    assert found["weights"].values.dtype == np.float32
    assert found["ids"].values.tolist() == IDS.values.tolist()
    assert found["weights"].values.tolist() == WEIGHTS.values.tolist()
    assert found["ids"].offsets.tolist() == found["weights"].offsets.tolist() == OFFSETS.tolist()


def test_the_indicator_is_the_sum_of_weights_as_in_tensorflow() -> None:
    mask = np.arange(3) < np.diff(OFFSETS)[:, None]
    ids, weights = np.full((4, 3), 7, np.int32), np.full((4, 3), 7, np.float32)
    ids[mask], weights[mask] = IDS.values, WEIGHTS.values
    found = Weighted(key="x", weight="w", buckets=4).layer({"buckets": 4})(
        {"ids": Padded(ids, mask), "weights": Padded(weights, mask)}, {}
    )
    pairs = zip(np.asarray(found.ids), np.asarray(found.weights), strict=True)
    assert [[float(w[i == place].sum()) for place in range(4)] for i, w in pairs] == INDICATOR


def test_a_dense_cell_of_weight_0_holds_no_value() -> None:
    found = encoded({"x": np.array([[1, 2], [3, -1]]), "w": np.array([[0.5, 0], [-2, 1]])})
    assert found["ids"].tolist() == [[1, NO_ID], [3, NO_ID]]
    assert found["weights"].tolist() == [[0.5, 0], [-2, 1]]
    assert encoded({"x": np.array([1, 2]), "w": np.array([[1], [0]])})["ids"].tolist() == [1, NO_ID]


def test_a_categorical_column_is_weighed() -> None:
    words, column = Vocabulary(key="a", values=("x", "y")), Weighted(key="words", weight="w")
    constants, block = words.fit({}, {}), Block({"a": np.array(["y", "z", ""]), "w": np.array([1, 2, 3])})
    fitted = column.fit({}, {"words": constants})
    assert fitted.static == {"buckets": 2}
    found = column.encode(block, {"words": words.encode(block, {}, constants)}, fitted)
    assert found["ids"].tolist() == [1, -1, NO_ID]
    assert found["weights"].tolist() == [1, 2, 3]
    with pytest.raises(UserError, match="`words` already has weights"):
        column.encode(block, {"words": found}, fitted)


def test_a_missing_weight_of_a_ragged_row_is_an_error_where_it_has_ids() -> None:
    column, offsets = Weighted(key="x", weight="w", buckets=4), np.array([0, 2, 2])
    values = {"x": Ragged(np.array([0, 1]), offsets), "w": Ragged(np.array([0.5, 2.0]), offsets)}
    found: Any = column.encode(Block(values, {"w": np.array([True, False])}), {}, column.fit({}, {}))
    assert found["weights"].values.tolist() == [0.5, 2]
    with pytest.raises(DataError, match=r"row 0 of data: column `w` has no value; fill it in, or remove the row$"):
        column.encode(Block(values, {"w": np.array([False, True])}), {}, column.fit({}, {}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"x": IDS, "w": WEIGHTS._replace(offsets=np.array([0, 1, 3, 4, 6]))},
            "row 11 .* 2 weights for 3 ids of `x`",
        ),
        (
            {"x": np.array([1, 2]), "w": np.ones((2, 2))},
            "row 10 of somewhere: column `w` has 2 weights for 1 ids",
        ),
        (
            {"x": np.array([1, 2]), "w": np.array([1, np.nan])},
            "row 11 of somewhere: column `w` is nan; a finite",
        ),
        ({"x": IDS, "w": Ragged(np.array([1, 1, 1, np.inf, 1, 1]), OFFSETS)}, "row 11 .*column `w` is inf; a finite"),
        ({"x": IDS, "w": Ragged(to_strings(["1"] * 6), OFFSETS)}, "row 10 .*column `w` is '1'; a number is needed"),
        ({"x": IDS, "w": Ragged(np.ones((6, 2)), OFFSETS)}, "row 10 .*column `w` has 2 weights for 1 ids of `x`"),
        (
            {"x": np.array([1, 2]), "w": np.array([1, None])},
            "row 11 .* `w` has no value; fill it in, or remove the row$",
        ),
        ({"x": np.array([1, 9]), "w": np.ones(2)}, "row 11 of somewhere: column `x` is 9, but its ids are 0 to 3"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        encoded(values)


def test_the_number_of_ids_is_given_once() -> None:
    known = Identity(key="x", buckets=3).fit({}, {})
    with pytest.raises(UserError, match="`x` already has 3 ids; leave out `buckets`"):
        Weighted(key="x", weight="w", buckets=4).fit({}, {"x": known})
    with pytest.raises(UserError, match="`x` is no categorical column; set `buckets`"):
        Weighted(key="x", weight="w").fit({}, {})
    with pytest.raises(UserError, match="`x` is no categorical column; set `buckets`"):
        Weighted(key="x", weight="w").fit({}, {"x": Constants()})
