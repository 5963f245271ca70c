"""Ids that the data has."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.feature.base.values import NO_ID
from components.feature.identity import Identity
from components.types import Block, DataError, MultiHot, Padded, Ragged, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "categorical.json").read_text())["fc_identity"]


def encoded(column: Identity, values: Any) -> Any:
    block = Block({"x": values}, origin="somewhere", first_row=10)
    return column.encode(block, {}, column.fit({}, {}))["ids"]


def counts(found: MultiHot) -> list[list[float]]:
    ids, weights = np.asarray(found.ids), np.asarray(found.weights)
    return [[float(w[i == place].sum()) for place in range(found.size)] for i, w in zip(ids, weights, strict=True)]


def indicator(column: Identity, ids: Any) -> list[list[float]]:
    return counts(column.layer(column.fit({}, {}).static)({"ids": ids}, {}))


@pytest.mark.parametrize(
    ("column", "name"),
    [(Identity(key="x", buckets=4, check=False), "no_default"), (Identity(key="x", buckets=4, default=0), "default0")],
)
def test_ids_and_indicators_are_tensorflows(column: Identity, name: str) -> None:
    ids = encoded(column, np.array([[0], [3], [-1], [7], [-5]]))
    assert ids.dtype == np.int32
    golden = GOLDEN[f"{name}_ids"]["value"]
    assert ids[ids != NO_ID].tolist() == golden["values"]
    assert np.argwhere(ids != NO_ID).tolist() == golden["indices"]
    assert indicator(column, ids) == GOLDEN[f"{name}_indicator"]["value"]


def test_ids_of_one_row_are_counted() -> None:
    column = Identity(key="x", buckets=4)
    for ids in (np.array([[0, 3], [2, -1], [1, 1]], np.int32), np.array([[0, 3], [2, NO_ID], [1, 1]], np.int32)):
        assert indicator(column, ids) == GOLDEN["multihot_counts"]
    padded = Padded(np.array([[0, 3], [2, 1], [1, 1]]), np.array([[True, True], [True, False], [True, True]]))
    assert indicator(column, padded) == GOLDEN["multihot_counts"]
    assert indicator(column, np.array([2, 0])) == [[0, 0, 1, 0], [1, 0, 0, 0]]
    weights = Padded(np.array([[1, 0.5], [2, 9]], np.float32), np.array([[True, True], [True, False]]))
    found = column.layer({"buckets": 4})(
        {"ids": padded._replace(values=padded.values[:2], mask=weights.mask), "weights": weights}, {}
    )
    assert counts(found) == [[1, 0, 0, 0.5], [0, 0, 2, 0]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.array([0, 4]),
            "row 11 of somewhere: column `x` is 4, but its ids are 0 to 3; correct it, increase `buckets`, or set",
        ),
        (
            Ragged(np.array([0, 1, -1]), np.array([0, 1, 1, 3])),
            "row 12 of somewhere: column `x` is -1, but its ids are",
        ),
        (
            np.array(["a", "b"]),
            r"column `x` of somewhere has text \('a', 'b'\), but Identity needs whole numbers; use Vocabul",
        ),
        (np.array([None, "a"], object), r"column `x` of somewhere has text \('a'\), but Identity needs whole numbers"),
        (np.array([NO_ID], np.int32), "row 10 of somewhere: column `x` is -2147483648, but its ids are 0 to 3"),
        (np.array([0.5]), "row 10 of somewhere: column `x` is 0.5"),
    ],
)
def test_what_is_no_id_is_named(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encoded(Identity(key="x", buckets=4), values)


def test_what_an_id_of_32_bits_can_not_be_raises_an_error() -> None:
    with pytest.raises(DataError, match="column `x` is 2147483648"):
        encoded(Identity(key="x", buckets=4, check=False), np.array([1 << 31]))
    assert encoded(Identity(key="x", buckets=4, default=2), np.array([1 << 40, -1, 3])).tolist() == [2, NO_ID, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"buckets": 0}, "column `x`: buckets=0 must be from 1"),
        ({"buckets": 4, "default": 4}, "default: 4 must be an id, 0 to 3"),
    ],
)
def test_wrong_settings_raise_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Identity(key="x", **settings)
