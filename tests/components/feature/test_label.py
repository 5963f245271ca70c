"""Classes: learned or named, weighted, and compared over the splits."""

import io
from collections import Counter
from typing import Any

import jax
import numpy as np
import PIL.Image
import pytest

from components.feature.label import Label
from components.feature.mask import Mask
from components.feature.text.string_ops import to_strings
from components.image_files import encode_mask
from components.types import Block, Constants, DataError, Strings, Target, UserError


def fitted(column: Label, labels: Any) -> Constants:
    block = Block({"y": labels if isinstance(labels, Strings) else np.asarray(labels)})
    return column.fit({name: one.result(one.summarize(block)) for name, one in column.statistics().items()}, {})


def ids(column: Label, constants: Constants, labels: Any) -> list[int]:
    encoded = column.encode(Block({"y": np.asarray(labels)}, origin="somewhere", first_row=10), {}, constants)
    array = jax.jit(column.layer(constants.static))(encoded, constants.device)
    assert array.dtype == np.int32
    return array.tolist()


def review(column: Label, **splits: str) -> tuple[str, ...]:
    return column.validate_splits(
        {split: {"rows": dict(sorted(Counter(rows).items()))} for split, rows in splits.items()}
    )


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        (np.array(["b", "a", "b"], object), ("a", "b"), [1, 0, 1]),
        ([10, 9, 100], ("9", "10", "100"), [1, 0, 2]),
        (np.array([7, 3, 7], np.uint8), ("3", "7"), [1, 0, 1]),
        (np.array([1, 0, 1], object), ("0", "1"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
    ],
)
def test_classes_are_learned_in_order(labels: Any, classes: tuple[str, ...], expected: list[int]) -> None:
    column = Label(key="y")
    constants = fitted(column, labels)
    assert column.bind(constants).classes == classes
    assert ids(column, constants, labels) == expected


def test_integers_are_indices_of_the_names() -> None:
    column = Label(key="y", names=("shirt", "bag", "boot"))
    constants = fitted(column, [2, 0, 1])
    assert column.bind(constants).classes == ("shirt", "bag", "boot")
    assert ids(column, constants, [0, 2]) == [0, 2]


def test_strings_are_matched_with_the_names() -> None:
    column = Label(key="y", names=("shirt", "bag", "boot"))
    assert ids(column, fitted(column, ["boot", "bag", "shirt"]), ["boot", "shirt"]) == [2, 0]


def test_the_words_of_a_dictionary_are_matched_with_those_that_occurred() -> None:
    words = to_strings(["unused", "b", "a", "c"])
    column, rows = Label(key="y"), words._replace(indices=np.array([1, 2, 1], np.int32))
    constants = column.fit({"rows": {"a": 1, "b": 2}}, {})
    assert column.encode(Block({"y": rows}), {}, constants)["ids"].tolist() == [1, 0, 1]
    wrong = words._replace(indices=np.array([1, 3], np.int32))
    with pytest.raises(DataError, match="row 1 of data: column `y` is 'c'; allowed classes: a, b"):
        column.encode(Block({"y": wrong}), {}, constants)


def test_balanced_weights_equal_those_of_scikit_learn() -> None:
    """sklearn.utils.class_weight.compute_class_weight("balanced", …) of 6, 3 and 1 rows."""
    column = Label(key="y", weight="balanced")
    constants = fitted(column, [0] * 6 + [1] * 3 + [2])
    weights = column.bind(constants).class_weights
    assert weights is not None
    np.testing.assert_allclose(weights, [5 / 9, 10 / 9, 10 / 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("weight", "beta", "expected"),
    [
        ({"c": 3.0, "a": 0.0}, None, [0, 1, 3]),
        ("effective_number", 0.9, [0.4046, 0.6996, 1.8958]),
        ("effective_number", 1e-9, [1, 1, 1]),
    ],
)
def test_given_weights_and_those_of_effective_numbers(weight: Any, beta: float | None, expected: list[float]) -> None:
    """Cui et al., 2019, equation 2, in which the weights add up to the number of classes."""
    column = Label(key="y", weight=weight, beta=beta)
    weights = column.bind(fitted(column, ["a"] * 6 + ["b"] * 3 + ["c"])).class_weights
    if beta == 0.9:
        numbers = (1 - 0.9 ** np.array([6, 3, 1])) / (1 - 0.9)
        np.testing.assert_allclose(expected, 3 / numbers / (1 / numbers).sum(), rtol=1e-3)
    np.testing.assert_allclose(np.asarray(weights), expected, rtol=1e-4)


def test_effective_numbers_near_one_are_balanced_weights() -> None:
    column, labels = Label(key="y", weight="effective_number", beta=1 - 1e-9), ["a"] * 6 + ["b"] * 3 + ["c"]
    weights = column.bind(fitted(column, labels)).class_weights
    np.testing.assert_allclose(np.asarray(weights), np.array([1 / 6, 1 / 3, 1]) / 0.5, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": {"d": 2.0}}, r"d is no class of the target\. .*a, b, c"),
        (
            {"weight": {"bat": 2.0}, "names": ("bag", "boot", "cap")},
            r"bat is no class of the target\. Did you mean",
        ),
        ({"weight": "effective_number"}, r"`weight: effective_number` needs it, such as 0\.999"),
        ({"weight": "balanced", "beta": 0.9}, r"is for `weight: effective_number`, got 0\.9\."),
    ],
)
def test_wrong_weights_of_classes_raise(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(Label(key="y", **arguments), ["a", "b", "c"])


def test_without_weight_all_examples_weigh_the_same_and_logits_do_not_change() -> None:
    column = Label(key="y")
    bound = column.bind(fitted(column, [0, 1]))
    logits = np.ones((2, 2), np.float32)
    assert bound.class_weights is None
    assert bound.decode(logits) is logits


def test_it_is_a_target() -> None:
    assert isinstance(Label(key="y"), Target)


@pytest.mark.parametrize(
    ("names", "training", "labels", "message"),
    [
        (None, ["a", "b"], ["a", "c"], "row 11 of somewhere: column `y` is 'c'; allowed classes: a, b"),
        (("no", "yes"), [0, 1], [0, 2], "row 11 of somewhere: column `y` is 2; allowed classes: no, yes"),
        (
            ("no", "yes"),
            [0, 1],
            [-1, 1],
            "row 10 of somewhere: column `y` is -1; allowed classes: no, yes",
        ),
        (None, [0, 1], ["0", "1"], "row 10 of somewhere: column `y` is '0'; allowed classes: 0, 1"),
        (
            None,
            [0, 1],
            [0.0, 1.0],
            "row 10 of somewhere: column `y` is 0.0; a class is an integer, a string",
        ),
        (None, [0, 1], np.array(["a", None], object), "row 11 of somewhere: column `y` has no value; fill it in"),
        (None, [0, 1], [[0], [1]], r"column `y` of somewhere has rows of shape \(1,\); a class is"),
    ],
)
def test_a_label_without_a_class_raises_an_error_with_its_place(
    names: tuple[str, ...] | None, training: Any, labels: Any, message: str
) -> None:
    column = Label(key="y", names=names)
    with pytest.raises(DataError, match=message):
        ids(column, fitted(column, training), labels)


def test_a_class_in_two_normal_forms_is_an_error() -> None:
    column = Label(key="y")
    rows = {"train": {"caf\u00e9": 1}, "valid": {"caf\u00e9": 1, "cafe\u0301": 2}}
    with pytest.raises(DataError, match=r"`y` has the classes 'cafe\\u0301' and 'caf\\xe9', which are one text in two"):
        column.validate_splits({split: {"rows": counts} for split, counts in rows.items()})


def test_a_class_that_only_held_out_rows_have_raises_an_error_with_the_remedy() -> None:
    expected = (
        "class c of column `y` is missing in the training split (rows: 1 in valid, 2 in test). "
        "If the data has its own splits, add rows of it to the training split, or remove it from the others; if not, "
        "set `stratify=y` of the data to divide each class among the splits, "
        "or try another `seed` or a smaller `valid`"
    )
    with pytest.raises(DataError) as caught:
        review(Label(key="y"), train="aabb", valid="abc", test="abcc")
    assert str(caught.value) == expected


def test_a_named_class_without_an_example_raises_an_error() -> None:
    with pytest.raises(
        DataError, match="class c of column `y` is missing in the training split, and in all other splits"
    ):
        review(Label(key="y", names=("a", "b", "c")), train="ab", valid="ab")


def test_a_single_class_is_nothing_to_learn() -> None:
    with pytest.raises(DataError, match="column `y` has only one class, a"):
        review(Label(key="y"), train="aa", valid="a")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (Label(key="y", missing="mask"), [None, None], "column `y` has no value in any row of the training split"),
        (Label(key="y", names=("a", "b"), missing="mask"), [None], "column `y` has no value in any row"),
        (
            Label(key="y", ignore=255),
            [255, 255],
            "has no value in any row of the training split but 255, which `ignore`",
        ),
    ],
)
def test_a_training_split_without_a_class_is_an_error(column: Label, values: list[Any], message: str) -> None:
    rows = Counter(value for value in values if value is not None)
    with pytest.raises(DataError, match=message):
        column.validate_splits({"train": {"rows": rows}, "valid": {"rows": {"a": 2, "b": 1}}})


def test_a_held_out_split_that_lacks_classes_is_worth_a_warning() -> None:
    assert review(Label(key="y"), train="abc", valid="b", test="abc") == (
        "the valid split has no example of class a, c of column `y`",
    )


@pytest.mark.parametrize("labels", [to_strings(["b", "a", "a\0"]), np.array(["b", "a", "a\0"], object)])
@pytest.mark.parametrize("missing", [None, "mask"])
def test_a_class_does_not_end_with_a_nul(labels: Any, missing: Any) -> None:
    """An array of texts drops it, so the classes would be merged."""
    with pytest.raises(DataError, match=r"column `y` has the class 'a\\x00', which ends with a NUL character; remove"):
        fitted(Label(key="y", missing=missing), labels)


def test_a_name_does_not_end_with_a_nul() -> None:
    with pytest.raises(UserError, match=r"names: a class can't end with a NUL character, got 'a\\x00'"):
        Label(key="y", names=("a", "a\0"))


def test_names_must_differ() -> None:
    with pytest.raises(UserError, match="names: must have each class only once, got a, b, a"):
        Label(key="y", names=("a", "b", "a"))


@pytest.mark.parametrize(
    ("names", "labels", "values"),
    [
        (None, [10, 9, 10], (9, 10)),
        (None, [True, False], (False, True)),
        (None, ["b", "a"], ("a", "b")),
        (("cat", "dog"), [1, 0], ("cat", "dog")),
    ],
)
def test_predictions_are_given_in_the_type_of_the_labels(names: Any, labels: Any, values: tuple[Any, ...]) -> None:
    column = Label(key="y", names=names)
    found = column.bind(fitted(column, labels)).values
    assert found is not None
    assert [(type(one), one) for one in found] == [(type(one), one) for one in values]


@pytest.mark.parametrize(
    ("masks", "options", "mode", "pixels"),
    [
        (np.array([[[7, 3, 255]]], np.uint8), {}, "P", [[[7, 3, 255]]]),
        (np.array([[[7, 3, 255]]], np.uint8), {"ignore": 255}, "P", None),
        (np.array([[[0, 256, 65535]]]), {}, "I;16", [[[0, 256, 65535]]]),
        (np.array([[[1, 0, 2]]]), {"names": ("road", "sky", "tree")}, "P", [[[1, 0, 2]]]),
        (np.array([[["sky", "road", "tree"]]]), {"names": ("road", "sky", "tree")}, "P", [[[1, 0, 2]]]),
        (np.array([[[True, False, True]]]), {}, "P", [[[1, 0, 1]]]),
    ],
)
def test_predicted_classes_become_files_of_the_classes_of_the_data(
    masks: np.ndarray, options: dict[str, Any], mode: str, pixels: Any
) -> None:
    column = Label(key="y", **options)
    constants = fitted(column, masks)
    predictions = np.array(ids(column, constants, masks))
    if pixels is None:  # the ignored pixel is predicted, too
        pixels, predictions = np.where(masks == 255, 3, masks), np.maximum(predictions, 0)
    [file] = column.image_files(predictions, constants)
    image = PIL.Image.open(io.BytesIO(file))
    assert image.mode == mode
    np.testing.assert_array_equal(image, pixels[0])
    palette = np.array(image.getpalette() or [0] * 768).reshape(-1, 3)
    assert palette[[0, 1, 2, 15, 255]].tolist() == (
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]] if mode == "P" else [[0, 0, 0]] * 5
    ), "the colors of Pascal VOC"


@pytest.mark.parametrize("wrong", [-1, 65536])
def test_predicted_classes_that_no_file_holds_are_an_error(wrong: int) -> None:
    masks = np.array([[[0, wrong]]])
    column = Label(key="y")
    with pytest.raises(UserError, match=r"has classes from .*; the pixels of a PNG file are numbers from 0 to 65535"):
        column.image_files(np.zeros((1, 1, 2), int), fitted(column, masks))


@pytest.mark.parametrize(
    ("values", "options", "is_void"),
    [
        ([0, 1, 255], {}, True),
        ([0, 5, 12, 15, 255], {}, True),
        ([*range(150), 255], {}, True),
        ([0, 1, 255], {"ignore": 255}, False),
        ([0, 255], {}, False),
        ([0, 128, 255], {}, False),
        ([*range(0, 256, 5)], {}, False),
        ([0, 1, 254], {}, False),
        (["0", "1", "255"], {}, False),
        ([-1, 0, 1, 255], {}, False),
    ],
)
@pytest.mark.parametrize("shape", [(), (7,), (1, 7)])
def test_a_class_of_255_beside_small_ones_is_pointed_out_in_masks(
    values: list[Any], options: dict[str, Any], is_void: bool, shape: tuple[int, ...]
) -> None:
    column = Label(key="y", **options)
    array = np.resize(values, (len(values), *shape))
    results = {name: one.result(one.summarize(Block({"y": array}))) for name, one in column.statistics().items()}
    count = len(values) - 1
    expected = (
        f"column `y` has the class 255 beside {count} classes up to {values[-2]}. It often marks pixels of no class; "
        "to leave them out of losses and metrics, set `ignore=255`"
    )
    assert column.validate_splits({"train": results}) == ((expected,) if is_void and len(shape) == 2 else ())


def test_a_class_of_255_is_pointed_out_in_files_of_masks() -> None:
    column, file = Mask(key="y"), encode_mask(np.array([[0, 1, 255]], np.uint8))
    block = Block({"y": Strings.from_bytes([file])})
    results = {name: one.result(one.summarize(block)) for name, one in column.statistics().items()}
    [warning] = column.validate_splits({"train": results})
    assert "set `ignore=255`" in warning
