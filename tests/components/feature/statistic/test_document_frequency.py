"""Documents counted: however rows are cut into blocks, and as the formulas of Keras and TensorFlow Transform say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.statistic.document_frequency import DocumentFrequency, inverse_document_frequency
from components.types import Block, DataError, Ragged

LISTS = st.lists(st.lists(st.integers(-2, 6), max_size=5), min_size=2, max_size=8)


def block(rows: list[list[int]]) -> Block:
    ids = np.array([value for row in rows for value in row], np.int32)
    return Block({"id": Ragged(ids, np.cumsum([0, *map(len, rows)]))})


@settings(max_examples=30)
@given(LISTS, st.data())
def test_any_cut_into_blocks_counts_the_rows_of_each_id(rows: list[list[int]], data: st.DataObject) -> None:
    statistic, cut = DocumentFrequency("id"), data.draw(st.integers(1, len(rows) - 1))
    states = [statistic.summarize(block(part)) for part in (rows[:cut], rows[cut:])]
    found = statistic.result(statistic.merge(*states))
    expected = {i: sum(i in row for row in rows) for i in range(7) if any(i in row for row in rows)}
    assert found.rows == len(rows)
    assert dict(zip(found.ids.tolist(), found.documents.tolist(), strict=True)) == expected


def test_rows_with_one_value_and_with_a_fixed_number_of_values() -> None:
    statistic = DocumentFrequency("id")
    found = statistic.summarize(Block({"id": np.array([3, 3, -1], np.int32)}))
    np.testing.assert_array_equal([found.ids, found.documents], [[3], [2]])
    found = statistic.summarize(Block({"id": np.array([[3, 3], [1, 3]], np.int32)}))
    np.testing.assert_array_equal([found.ids, found.documents], [[1, 3], [1, 2]])


@pytest.mark.parametrize("values", [np.array([0.5]), Ragged(np.array([0.5]), np.array([0, 1]))])
def test_other_values_than_ids_raise_an_error(values: Any) -> None:
    with pytest.raises(DataError, match="column `id` of data has no ids to count"):
        DocumentFrequency("id").summarize(Block({"id": values}))


def test_the_formulas() -> None:
    documents = np.array([0, 1, 4])
    np.testing.assert_allclose(inverse_document_frequency(documents, 4, "keras"), np.log([5, 3, 1.8]))
    np.testing.assert_allclose(inverse_document_frequency(documents, 4, "tft"), 1 + np.log([5, 2.5, 1]))
    np.testing.assert_allclose(inverse_document_frequency(documents, 4, "tft_unsmoothed"), 1 + np.log([4, 4, 1]))
