"""Labels: any number of classes for each example, from texts, lists and vectors."""

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data import Arrays
from components.feature import Labels
from components.feature.text.string_ops import to_strings
from components.types import Block, Constants, DataError, Ragged, Target, UserError, Values


def lists(rows: list[list[Any]]) -> Ragged:
    """Rows of lists as a source has them."""
    values = [value for row in rows for value in row]
    is_text = any(isinstance(value, str) for value in values)
    return Ragged(to_strings(values) if is_text else np.array(values), np.cumsum([0, *map(len, rows)], dtype=np.int64))


def count(column: Labels, values: Values, **fields: Any) -> Any:
    block = Block({"tags": values}, origin="somewhere", **fields)
    (statistic,) = column.statistics().values()
    return statistic.result(statistic.summarize(block))


def fitted(column: Labels, values: Values, **fields: Any) -> Constants:
    return column.fit({"rows": count(column, values, **fields)}, {})


def encoded(column: Labels, constants: Constants, values: Values, **fields: Any) -> list[list[int]]:
    arrays = column.encode(Block({"tags": values}, origin="somewhere", first_row=10, **fields), {}, constants)
    assert arrays["labels"].dtype == np.int8
    labels = jax.jit(column.layer(constants.static))(arrays, constants.device)
    assert labels.dtype == np.int32
    return labels.tolist()


TEXTS = ["b|a", "", "c|b|b"]
HOT = [[1, 1, 0], [0, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (to_strings(TEXTS), "abc"),
        (to_strings(["x|y", *TEXTS])._replace(indices=np.array([1, 2, 3])), "abc"),  # no row has the first string
        (to_strings(["", "c|b|b", "b|a"])._replace(indices=np.array([2, 0, 1])), "abc"),
        (np.array(TEXTS, object), "abc"),
        (np.array(TEXTS), "abc"),
        (lists([["b", "a"], [], ["c", "b", "b"]]), "abc"),
        (lists([[7, 3], [], [12, 7]]), ("3", "7", "12")),
        (np.array(HOT), "012"),
        (np.array(HOT, bool), "012"),
        (np.array(HOT, np.float32), "012"),
    ],
)
def test_labels_become_0_and_1_for_each_class_in_order(values: Values, classes: Any) -> None:
    column = Labels(key="tags")
    assert isinstance(column, Target)
    constants = fitted(column, values)
    spec = column.bind(constants)
    assert (spec.kind, spec.classes, spec.shape, spec.outputs) == ("multilabel", tuple(classes), (3,), 3)
    assert encoded(column, constants, values) == HOT


def test_a_row_counts_once_for_each_of_its_labels() -> None:
    assert count(Labels(key="tags"), to_strings(["b|a|b", "b", ""])) == {"a": 1, "b": 2}


@given(st.lists(st.sets(st.sampled_from(["a", "é", "b c", "d;e", "0"])), min_size=1), st.sampled_from(["|", ", "]))
def test_texts_and_lists_give_the_labels_that_decode_to_them(rows: list[set[str]], separator: str) -> None:
    rows = [{"a", "é", "b c", "d;e", "0"}, *rows]  # each class occurs
    column = Labels(key="tags", separator=separator)
    for values in (to_strings([separator.join(row) for row in rows]), lists([sorted(row) for row in rows])):
        constants = fitted(column, values)
        names = np.array(column.bind(constants).classes)
        assert [set(names[np.array(row, bool)]) for row in encoded(column, constants, values)] == rows


@pytest.mark.parametrize("separator", ["|", "é", "  "])
def test_spaces_around_labels_do_not_count(separator: str) -> None:
    texts = ["b c|a", " a | b c ", "a  |b c", "", "  ", "a||", "d"]
    rows = to_strings([text.replace("|", separator) for text in texts])
    assert count(Labels(key="tags", separator=separator), rows) == {"a": 4, "b c": 3, "d": 1}


@pytest.mark.parametrize(
    "values", [to_strings(["bag|shirt", "boot"]), lists([[1, 0], [2]]), np.array([[1, 1, 0], [0, 0, 1]])]
)
def test_names_give_the_classes_their_order(values: Values) -> None:
    column = Labels(key="tags", names=("shirt", "bag", "boot"))
    constants = fitted(column, values)
    assert column.bind(constants).values == ("shirt", "bag", "boot")
    assert encoded(column, constants, values) == [[1, 1, 0], [0, 0, 1]]


def test_predictions_have_the_type_of_the_labels_in_the_data() -> None:
    column = Labels(key="tags")
    assert column.bind(fitted(column, lists([[7, 3], []]))).values == (3, 7)


@pytest.mark.parametrize(
    "values", [to_strings(["a|b", "", "a"]), lists([["a", "b"], [], ["a"]]), np.array([[1, 1], [0, 0], [1, 0]])]
)
def test_a_row_without_a_value_differs_from_one_without_labels(values: Values) -> None:
    valid = {"tags": np.array([True, True, False])}
    column = Labels(key="tags", missing="mask")
    constants = fitted(column, values, valid=valid)
    assert encoded(column, constants, values, valid=valid) == [[1, 1], [0, 0], [-1, -1]]
    assert column.bind(constants).can_be_missing
    column = Labels(key="tags", missing="empty")
    constants = fitted(column, values, valid=valid)
    assert encoded(column, constants, values, valid=valid)[2] == [0, 0]
    assert not column.bind(constants).can_be_missing
    with pytest.raises(DataError, match=r"row 2 of somewhere: column `tags` has no value; .* set `missing=empty`"):
        fitted(Labels(key="tags"), values, valid=valid)


def test_a_block_of_missing_values_alone_has_no_class() -> None:
    column = Labels(key="tags", missing="mask")
    (statistic,) = column.statistics().values()
    states = [
        statistic.summarize(Block({"tags": np.array(rows, object)})) for rows in (["b"], [None, None], ["a|b", None])
    ]
    merged = statistic.merge(statistic.merge(states[0], states[1]), states[2])
    assert statistic.result(merged) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (to_strings(["a", "b|z"]), "row 11 of somewhere: column `tags` has the class 'z'; allowed classes: a, b"),
        (lists([["a"], [], ["z"]]), "row 12 of somewhere: column `tags` has the class 'z'; allowed classes: a, b"),
        (np.array([["a", "b"], ["a", None]], object), "row 11 of somewhere: column `tags` has a label without a value"),
        (np.array([[1, 0], [0, 2]]), "row 11 of somewhere: column `tags` is 2 at position 1; a vector has 0 or 1 for"),
        (np.array([[1, 0], [0, np.nan]]), "row 11 of somewhere: column `tags` is nan at position 1"),
        (
            np.array([[1, 0, 0]]),
            "row 10 of somewhere: column `tags` has vectors of 3 elements, and there are 2 classes",
        ),
        (np.array([[1, 0]]), "column `tags` has the class 0; allowed classes: a, b"),
        (np.array([0.5]), r"column `tags` is 0\.5"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_place(values: Values, message: str) -> None:
    column = Labels(key="tags")
    with pytest.raises(DataError, match=message):
        encoded(column, fitted(column, to_strings(["a|b"])), values)


@pytest.mark.parametrize("values", [to_strings(["a", "b|a\0"]), lists([["a"], ["b\0"]])])
def test_a_label_does_not_end_with_a_nul(values: Values) -> None:
    with pytest.raises(DataError, match=r"column `tags` has the class '[ab]\\x00', which ends with a NUL character"):
        fitted(Labels(key="tags"), values)


@pytest.mark.parametrize("vector", [[1], [1, 0, 0]])
def test_a_vector_of_another_length_is_an_error(vector: list[int]) -> None:
    column = Labels(key="tags", names=("a", "b"))
    with pytest.raises(DataError, match=f"has vectors of {len(vector)} elements, and there are 2 classes: a, b"):
        encoded(column, fitted(column, np.array([[1, 1]])), np.array([vector]))


def review(column: Labels, **splits: dict[Any, int]) -> tuple[str, ...]:
    return column.validate_splits({split: {"rows": rows} for split, rows in splits.items()})


def test_the_training_split_needs_each_class() -> None:
    column = Labels(key="tags")
    assert review(column, train={"a": 3, "b": 1}, valid={"b": 2}) == (
        "the valid split has no example of class a of column `tags`",
    )
    with pytest.raises(DataError, match=r"class b .* missing .* \(rows: 2 in valid\)\..* if not, try another"):
        review(column, train={"a": 3}, valid={"b": 2})
    with pytest.raises(DataError, match=r"class 1 .* is missing in the training split, and in all other splits"):
        review(column, train={0: 3, 1: 0}, valid={0: 2, 1: 0})
    with pytest.raises(DataError, match="column `tags` has no labels in the training split"):
        review(column, train={}, valid={"b": 2})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"names": ("a", "b", "a")}, "names: must have each class only once"),
        ({"separator": ""}, "separator: must be"),
    ],
)
def test_wrong_parameters_are_errors(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Labels(key="tags", **fields)


def test_rows_of_a_source_are_read_block_by_block() -> None:
    rows = [["a"], ["b", "a"], [], ["c"]]
    source = Arrays(columns={"tags": lists(rows)}, valid=1, test=1, seed=None)
    (block,) = source.blocks("all")
    column = Labels(key="tags")
    constants = fitted(column, block.columns["tags"])
    assert encoded(column, constants, block.columns["tags"]) == [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]
