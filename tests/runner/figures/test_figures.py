"""Figures are drawn of any data without an error, and their numbers are correct."""

import csv
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from runner import figures
from runner.figures import classification, regression
from runner.figures.canvas import make_panels, set_readable_ticks
from runner.figures.classification import confusion_matrix, measure_classes, score_second_class
from runner.figures.data import draw_image_grid, paint_classes, scale_images
from runner.record.outbox import Outbox, write_checkpointed_size
from runner.record.predictions import RecordedPredictions, save_predictions

CLASSIFICATION_FILES = {"per_class.csv", "per_class.png", "predictions.png", "calibration.png", "confusion.png"}
TWO_CLASS_FILES = {"roc.png", "precision_recall.png"}
REGRESSION_FILES = {"predicted_true.png", "residuals.png", "predictions.png"}


def predict_classes(target: Any, prediction: Any, names: tuple[str, ...], **changes: Any) -> RecordedPredictions:
    """Predicted classes of the test split."""
    rows = len(target)
    fields: dict[str, Any] = {
        "split": "test",
        "classes": names,
        "row": np.arange(rows),
        "target": np.asarray(target, np.int32),
        "prediction": np.asarray(prediction, np.int32),
        "probability": np.linspace(0, 1, rows, dtype=np.float32),
        "loss": np.ones(rows, np.float32),
    }
    return RecordedPredictions(**fields | changes)


def predict_values(target: Any, prediction: Any) -> RecordedPredictions:
    """Predicted values of the valid split."""
    target, prediction = np.asarray(target, np.float32), np.asarray(prediction, np.float32)
    rows = np.arange(len(target))
    return RecordedPredictions.from_logits("valid", None, rows, target, prediction, np.ones(len(target), np.float32))


def draw(folder: Path, predictions: RecordedPredictions) -> set[str]:
    """Draws the figures of predictions. Returns the files' names; each is a whole file."""
    save_predictions(folder, [predictions])
    paths = figures.draw(folder)
    for path in paths:
        assert path.parent == folder / "figures"
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                assert min(image.size) > 100
    return {path.name for path in paths}


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "figures" / "per_class.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_empty_folder_has_no_figures(tmp_path: Path) -> None:
    assert figures.draw(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_importing_figures_imports_no_jax() -> None:
    code = "import sys, runner.figures; sys.exit(bool({'jax', 'mlflow', 'matplotlib.pyplot'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_curves_are_drawn_for_one_epoch_and_for_values_that_are_not_finite(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path)) as box:
        box.add(100, {"epoch": 1, "train/loss": float("nan"), "valid/accuracy": 0.5, "learning_rate": 1e-3})
        write_checkpointed_size(tmp_path, box.flush())
    assert [path.name for path in figures.draw(tmp_path)] == ["learning_curves.png"]


def list_titles(monkeypatch: pytest.MonkeyPatch, folder: Path, predictions: RecordedPredictions) -> list[list[str]]:
    """The titles of each figure of predictions, and of its panels."""
    titles: list[list[str]] = []

    def record_titles(figure: Figure, path: Path) -> Path:
        found = [figure.get_suptitle(), *(axis.get_title() for axis in figure.axes)]
        titles.append([title for title in found if title])
        return path

    for module in (classification, regression):
        monkeypatch.setattr(module, "save_figure", record_titles)
    figures.draw_predictions(predictions, folder)
    return titles


def test_titles_name_one_of_several_targets_and_a_single_output_has_one_title(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = replace(predict_values(np.arange(9.0)[:, None], np.arange(9.0)[:, None]), target_name="PRICE")
    of_values = list_titles(monkeypatch, tmp_path, values)
    assert of_values[0] == ["valid, PRICE: predicted against true of 9 rows"]
    assert all(len(titles) == 1 for titles in of_values)
    classes = predict_classes([0, 1, 0, 1], [0, 1, 1, 1], ("a", "b"))
    of_classes = list_titles(monkeypatch, tmp_path, replace(classes, target_name="KIND"))
    assert all(titles[0].startswith("test, KIND: ") for titles in of_classes)
    assert all(titles[0].startswith("test: ") for titles in list_titles(monkeypatch, tmp_path, classes))


def test_the_table_of_classes_equals_counts_by_hand(tmp_path: Path) -> None:
    # a: 4 rows, 3 correct; b: 2 rows, 1 correct; c: 1 row, never predicted; d: no rows, never predicted.
    predictions = predict_classes([0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 1], ("a", "b", "c", "d"))
    assert draw(tmp_path, predictions) == CLASSIFICATION_FILES
    assert confusion_matrix(predictions).tolist() == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert [list(row.values()) for row in read_table(tmp_path)] == [
        ["a", "4", "4", "0.750000", "0.750000", "0.750000"],
        ["b", "2", "3", "0.333333", "0.500000", "0.400000"],
        ["c", "1", "0", "", "0.000000", "0.000000"],
        ["d", "0", "0", "", "", ""],
    ]
    assert list(read_table(tmp_path)[0]) == ["class", "rows", "predicted", "precision", "recall", "f1"]


def test_the_confusion_matrix_adds_up(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    target, prediction = random.integers(0, 7, (2, 500))
    predictions = predict_classes(target, prediction, tuple("abcdefg"))
    counts, metrics = confusion_matrix(predictions), measure_classes(predictions)
    assert counts.sum() == 500
    np.testing.assert_array_equal(counts.sum(axis=1), metrics.rows)
    np.testing.assert_array_equal(counts.sum(axis=0), metrics.predicted)
    np.testing.assert_allclose(np.diag(counts) / counts.sum(axis=1), metrics.recall)


def test_labels_have_the_metrics_of_scikit_learn_and_no_confusion_matrix(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    target, logits = random.integers(0, 2, (40, 3)), random.normal(size=(40, 3)).astype(np.float32)
    target[0] = -1  # is missing
    arguments = np.arange(40), target.astype(np.int32), logits, np.ones(40, np.float32)
    predictions = RecordedPredictions.from_logits("test", ("a", "b", "c"), *arguments)
    np.testing.assert_array_equal(predictions.prediction, logits[1:] > 0)
    assert predictions.probability is not None
    np.testing.assert_allclose(predictions.probability, 1 / (1 + np.exp(-np.abs(logits[1:]))), rtol=1e-6)
    metrics = measure_classes(predictions)
    precision, recall, f1, rows = precision_recall_fscore_support(target[1:], logits[1:] > 0)
    np.testing.assert_allclose([metrics.precision, metrics.recall, metrics.f1], [precision, recall, f1])
    assert metrics.rows.tolist() == list(rows)
    assert draw(tmp_path, predictions) == CLASSIFICATION_FILES - {"confusion.png"}
    assert [row["class"] for row in read_table(tmp_path)] == ["a", "b", "c"]


def test_a_row_without_one_of_its_values_is_left_out() -> None:
    assert predict_values([[1, 2], [np.nan, 2], [3, 4]], np.zeros((3, 2))).row.tolist() == [0, 2]


def test_a_model_without_logits_predicts_no_label() -> None:
    arguments = np.arange(2), np.ones((2, 3), np.int32), np.zeros((2, 0), np.float32), np.zeros(2, np.float32)
    predictions = RecordedPredictions.from_logits("test", ("a", "b", "c"), *arguments)
    assert not predictions.prediction.any()
    assert predictions.is_wrong.tolist() == [True, True]


@pytest.mark.parametrize("classes", [16, 31])
def test_any_number_of_classes_is_drawn(tmp_path: Path, classes: int) -> None:
    target = np.arange(2 * classes) % classes
    predictions = predict_classes(target, np.roll(target, 1), tuple(f"class {number}" for number in range(classes)))
    assert draw(tmp_path, predictions) == CLASSIFICATION_FILES
    assert len(read_table(tmp_path)) == classes


def test_very_many_classes_have_no_confusion_matrix(tmp_path: Path) -> None:
    target = np.arange(100_000)
    predictions = predict_classes(target, target, tuple(map(str, target)))
    assert draw(tmp_path, predictions) == CLASSIFICATION_FILES - {"confusion.png"}


def test_names_with_special_characters_are_drawn(tmp_path: Path) -> None:
    names = ("$x^", "a $ b $", "two\nlines", "数字", "long " * 40, "", "\x1b[31m")
    assert draw(tmp_path, predict_classes(range(7), [0] * 7, names)) == CLASSIFICATION_FILES
    assert tuple(row["class"] for row in read_table(tmp_path)) == names


def test_probabilities_that_are_not_finite_and_a_single_row_are_drawn(tmp_path: Path) -> None:
    not_finite = np.array([np.nan, np.inf, -np.inf], np.float32)
    loss = np.array([np.nan, np.inf, 1], np.float32)
    predictions = predict_classes([0, 1, 1], [1, 1, 0], ("a", "b"), probability=not_finite, loss=loss)
    assert draw(tmp_path, predictions) == CLASSIFICATION_FILES
    assert draw(tmp_path, predict_classes([0], [0], ("a", "b"))) == CLASSIFICATION_FILES


def test_two_classes_have_curves_of_the_second_one(tmp_path: Path) -> None:
    probability = np.array([0.9, 0.8, 0.7, 0.6], np.float32)  # of the prediction; of class b: 0.1, 0.2, 0.7, 0.6
    predictions = predict_classes([0, 1, 1, 0], [0, 0, 1, 1], ("a", "b"), probability=probability)
    assert draw(tmp_path, predictions) == CLASSIFICATION_FILES | TWO_CLASS_FILES
    scores = score_second_class(predictions)
    assert scores is not None
    np.testing.assert_allclose(scores, [0.1, 0.2, 0.7, 0.6], rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "names"), [([1, 1, 1], ("a", "b")), ([0, 1, 2], ("a", "b", "c")), ([0, 0, 0], ("a",))]
)
def test_other_numbers_of_classes_have_no_such_curves(target: list[int], names: tuple[str, ...]) -> None:
    assert score_second_class(predict_classes(target, target, names)) is None


@pytest.mark.parametrize(("largest", "labels"), [(0.5, {"0.0", "0.5"}), (300_000, {"100k", "300k"})])
def test_large_numbers_at_ticks_are_short(largest: float, labels: set[str]) -> None:
    figure, [axis] = make_panels(1)
    axis.plot([0, largest], [1, 3])
    set_readable_ticks(axis, epochs=False)
    figure.draw_without_rendering()
    assert labels <= {label.get_text() for label in axis.get_xticklabels()}


def test_ticks_of_epochs_are_whole_numbers() -> None:
    figure, [axis] = make_panels(1)
    axis.plot([1, 3], [0, 1])
    set_readable_ticks(axis, epochs=True)
    figure.draw_without_rendering()
    assert all(tick == round(tick) for tick in axis.get_xticks())


def test_predictions_without_rows_have_no_figures(tmp_path: Path) -> None:
    assert draw(tmp_path, predict_classes([], [], ("a", "b"))) == set()


@pytest.mark.parametrize("outputs", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_values_have_residuals_and_histograms(tmp_path: Path, outputs: int) -> None:
    target = np.random.default_rng(0).normal(size=(40, outputs))
    assert draw(tmp_path, predict_values(target, target + 1)) == REGRESSION_FILES


@pytest.mark.parametrize(
    "prediction",
    [
        [[np.nan], [np.inf], [-np.inf]],
        [[np.nan], [3e38], [-3e38]],
        [[5.0], [5.0], [5.0]],
        [[1e-40], [0.0], [1.0]],
    ],
)
def test_extreme_values_are_drawn(tmp_path: Path, prediction: list[list[float]]) -> None:
    assert draw(tmp_path, predict_values([[5.0], [5.0], [5.0]], prediction)) == REGRESSION_FILES


def test_many_rows_are_drawn_as_a_density(tmp_path: Path) -> None:
    target = np.random.default_rng(0).normal(size=(20_000, 1))
    assert draw(tmp_path, predict_values(target, np.full_like(target, 2.0))) == REGRESSION_FILES


def test_predictions_with_another_shape_than_the_target_have_no_residuals(tmp_path: Path) -> None:
    assert draw(tmp_path, predict_values(np.ones((4, 2)), np.ones((4, 0)))) == set()


def test_images_are_scaled_by_their_range() -> None:
    unit, eight_bit = np.full((1, 2, 2, 1), 0.25), np.full((1, 2, 2, 3), 51.0)
    assert (scale_images(unit) == 0.25).all()
    assert scale_images(unit).shape == (1, 2, 2)
    assert (scale_images(eight_bit) == 0.2).all()
    assert scale_images(eight_bit).shape == (1, 2, 2, 3)
    standardized = np.stack([np.linspace(-2, 2, 4), np.linspace(-1, 3, 4), np.zeros(4)], axis=-1).reshape(1, 2, 2, 3)
    scaled = scale_images(standardized)
    np.testing.assert_allclose(scaled[..., 0].ravel(), [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(scaled[..., 1], scaled[..., 0])
    assert (scale_images(np.full((1, 2, 2, 1), np.nan)) == 0).all()
    assert scale_images(np.ones((1, 2, 2, 5))).shape == (1, 2, 2)


@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (9, 3, 12, 3), (32, 12, 3, 2)])
def test_a_grid_of_images_is_drawn(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape)
    path = draw_image_grid(values, ["a $\nb"] * shape[0], "some $ images", tmp_path / "g.png")
    with Image.open(path) as image:
        assert np.asarray(image).std() > 0


@pytest.mark.parametrize(("beside", "count"), [(1, 2), (2, 15), (13, 30)])
def test_pictures_are_drawn_beside_images_with_a_legend(beside: int, count: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((7, 6, 9, 3))
    ids = np.random.default_rng(0).integers(-1, count, (7, 12, 10))
    painted = paint_classes(ids, count, images)
    assert painted.shape == (7, 12, 10, 3)
    first, last = (painted[ids == number] for number in (0, count - 1))
    assert np.abs(first.mean(0) - last.mean(0)).max() > 0.1, "classes have colors of their own"
    names = [f"class $ {number}" for number in range(count)]
    path = draw_image_grid(images, ["a"] * 7, "a", tmp_path / "g.png", beside=[painted] * beside, classes=names)
    with Image.open(path) as image:
        image.load()
        assert image.width >= 700
