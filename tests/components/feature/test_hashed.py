"""Hash buckets: those of TensorFlow and Keras."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.base.values import NO_ID
from components.feature.hashed import Hashed
from components.feature.text.string_ops import to_strings
from components.types import Block, DataError, Ragged, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "categorical.json").read_text())


def encoded(column: Hashed, values: Any) -> Any:
    return column.encode(Block({"x": values}), {}, column.fit({}, {}))["ids"]


def ids(values: Any, **settings: Any) -> list[int]:
    found = encoded(Hashed(key="x", **settings), values)
    assert found.dtype == np.int32
    return found.tolist()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("str_ids", np.array([["a", "b"], ["", "hello"], ["café", "café"]])),
        ("int_ids", np.array(GOLDEN["fc_hash_bucket"]["int_inputs"]["i"])),
    ],
)
def test_buckets_are_tensorflows(name: str, values: np.ndarray) -> None:
    found, golden = encoded(Hashed(key="x", buckets=10), values), GOLDEN["fc_hash_bucket"][name]
    assert found[found != NO_ID].tolist() == golden["values"]
    assert np.argwhere(found != NO_ID).tolist() == golden["indices"]


def test_every_integer_is_hashed_by_its_digits() -> None:
    golden = GOLDEN["as_string_ints"]
    found = encoded(Hashed(key="x", buckets=1000), Ragged(np.array(golden["values"]), np.array([0, 6])))
    assert found.values.tolist() == golden["bucket_fast_1000"]
    assert ids(np.array(["NEAR BAY", "<1H OCEAN", "INLAND"]), buckets=1000) == [897, 469, 983]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bins3", {}),
        ("bins3_mask''", {"mask": ""}),
        ("bins3_salt133_137", {"salt": (133, 137)}),
        ("bins3_salt133", {"salt": 133}),
    ],
)
def test_bins_equal_those_of_keras(name: str, options: dict[str, Any]) -> None:
    values, golden = np.array(GOLDEN["keras_hashing"]["inputs"]), GOLDEN["keras_hashing"][name]
    assert ids(values, buckets=3, missing="", **options) == golden
    assert ids(values, buckets=3, **options)[:-1] == golden[:-1]


def test_bins_of_integers_equal_those_of_keras() -> None:
    values = np.array([0, 1, -1, 42, 7])
    expected = [one for (one,) in GOLDEN["keras_hashing"]["int_inputs_bins5 [0,1,-1,42,7]"]]
    assert ids(values, buckets=5, missing=-1) == expected
    assert ids(values, buckets=5, mask=42, missing=-1)[3] == 0


@settings(max_examples=30)
@given(st.lists(st.text(max_size=5) | st.none(), min_size=1, max_size=12), st.integers(0, 12))
def test_a_row_is_encoded_by_itself_however_it_is_stored(rows: list[str | None], cut: int) -> None:
    objects = np.array(rows, object)
    whole = ids(objects, buckets=7, mask="0", missing="none")
    parts = [part for part in (objects[:cut], objects[cut:]) if len(part)]
    assert whole == [one for part in parts for one in ids(part, buckets=7, mask="0", missing="none")]
    distinct = sorted({row or "none" for row in rows})
    strings = to_strings(distinct)._replace(indices=np.array([distinct.index(row or "none") for row in rows]))
    assert whole == ids(strings, buckets=7, mask="0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"buckets": 0}, "column `x`: buckets=0 must be from 1"),
        ({"buckets": 1, "mask": ""}, "buckets: 1 leaves no id for other values than `mask`"),
    ],
)
def test_wrong_settings_raise_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Hashed(key="x", **options)


def test_values_of_another_kind_raise_an_error() -> None:
    with pytest.raises(DataError, match="a category is text or a whole number"):
        ids(np.array([0.5]), buckets=3)
    with pytest.raises(DataError, match=r"has text \('a'\), unlike mask=3; both must be"):
        ids(np.array(["a"]), buckets=3, mask=3)
