"""Figures are drawn of whatever a run leaves, and their numbers are right."""

import csv
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner import figures
from runner.figures import images
from runner.figures.classes import confusion, per_class
from runner.record.outbox import Outbox, write_covered_size
from runner.record.predictions import RecordedPredictions, make_recorded_predictions, save_predictions

OF_CLASSES = {"per_class.csv", "per_class.png", "predictions.png", "confusion.png"}
OF_VALUES = {"residuals.png", "predictions.png"}


def of_classes(target: Any, prediction: Any, names: tuple[str, ...], **other: Any) -> RecordedPredictions:
    rows = len(target)
    given: dict[str, Any] = {
        "split": "test",
        "classes": names,
        "row": np.arange(rows),
        "target": np.asarray(target, np.int32),
        "prediction": np.asarray(prediction, np.int32),
        "probability": np.linspace(0, 1, rows, dtype=np.float32),
        "loss": np.ones(rows, np.float32),
    }
    return RecordedPredictions(**given | other)


def of_values(target: Any, prediction: Any) -> RecordedPredictions:
    right, said = np.asarray(target, np.float32), np.asarray(prediction, np.float32)
    return make_recorded_predictions("valid", None, np.arange(len(right)), right, said, np.ones(len(right), np.float32))


def drawn(folder: Path, found: RecordedPredictions) -> set[str]:
    """The names of what is drawn; each is a whole file."""
    save_predictions(folder, found)
    paths = figures.draw(folder)
    for path in paths:
        assert path.parent == folder / "figures"
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                assert min(image.size) > 100
    return {path.name for path in paths}


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "figures" / "per_class.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_empty_folder_has_no_figures(tmp_path: Path) -> None:
    assert figures.draw(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_importing_them_imports_no_jax() -> None:
    code = "import sys, runner.figures; sys.exit(bool({'jax', 'mlflow', 'matplotlib.pyplot'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_curves_are_drawn_of_one_epoch_too_and_of_values_that_are_not_finite(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path)) as box:
        box.add(100, {"epoch": 1, "train/loss": float("nan"), "valid/accuracy": 0.5, "learning_rate": 1e-3})
        write_covered_size(tmp_path, box.flush())
    assert [path.name for path in figures.draw(tmp_path)] == ["learning_curves.png"]


def test_the_table_of_classes_is_that_counted_by_hand(tmp_path: Path) -> None:
    # a: 4 rows, 3 right; b: 2 rows, 1 right; c: never right; d: never occurs and is never said.
    found = of_classes([0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 0, 1], ("a", "b", "c", "d"))
    assert drawn(tmp_path, found) == OF_CLASSES
    assert confusion(found).tolist() == [[3, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert [list(row.values()) for row in table(tmp_path)] == [
        ["a", "4", "4", "0.750000", "0.750000", "0.750000"],
        ["b", "2", "3", "0.333333", "0.500000", "0.400000"],
        ["c", "1", "0", "", "0.000000", "0.000000"],
        ["d", "0", "0", "", "", ""],
    ]
    assert list(table(tmp_path)[0]) == ["class", "rows", "predicted", "precision", "recall", "f1"]


def test_the_confusion_matrix_adds_up(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    target, prediction = random.integers(0, 7, (2, 500))
    found = of_classes(target, prediction, tuple("abcdefg"))
    counts, each = confusion(found), per_class(found)
    assert counts.sum() == 500
    np.testing.assert_array_equal(counts.sum(axis=1), each.rows)
    np.testing.assert_array_equal(counts.sum(axis=0), each.predicted)
    np.testing.assert_allclose(np.diag(counts) / counts.sum(axis=1), each.recall)


@pytest.mark.parametrize("classes", [16, 31])
def test_any_number_of_classes_is_drawn(tmp_path: Path, classes: int) -> None:
    target = np.arange(2 * classes) % classes
    found = of_classes(target, np.roll(target, 1), tuple(f"class {number}" for number in range(classes)))
    assert drawn(tmp_path, found) == OF_CLASSES
    assert len(table(tmp_path)) == classes


def test_of_very_many_classes_there_is_no_matrix(tmp_path: Path) -> None:
    target = np.arange(100_000)
    found = of_classes(target, target, tuple(map(str, target)))
    assert drawn(tmp_path, found) == OF_CLASSES - {"confusion.png"}


def test_names_of_any_kind_do_no_harm(tmp_path: Path) -> None:
    names = ("$x^", "a $ b $", "two\nlines", "数字", "long " * 40, "", "\x1b[31m")
    assert drawn(tmp_path, of_classes(range(7), [0] * 7, names)) == OF_CLASSES
    assert tuple(row["class"] for row in table(tmp_path)) == names


def test_probabilities_that_are_not_finite_and_a_single_row(tmp_path: Path) -> None:
    unknown = np.array([np.nan, np.inf, -np.inf], np.float32)
    loss = np.array([np.nan, np.inf, 1], np.float32)
    assert drawn(tmp_path, of_classes([0, 1, 1], [1, 1, 0], ("a", "b"), probability=unknown, loss=loss)) == OF_CLASSES
    assert drawn(tmp_path, of_classes([0], [0], ("a", "b"))) == OF_CLASSES


def test_without_rows_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert drawn(tmp_path, of_classes([], [], ("a", "b"))) == set()


@pytest.mark.parametrize("outputs", [1, 12])
def test_numbers_have_residuals_and_histograms(tmp_path: Path, outputs: int) -> None:
    target = np.random.default_rng(0).normal(size=(40, outputs))
    assert drawn(tmp_path, of_values(target, target + 1)) == OF_VALUES


@pytest.mark.parametrize(
    "prediction",
    [
        [[np.nan], [np.inf], [-np.inf]],
        [[np.nan], [3e38], [-3e38]],
        [[5.0], [5.0], [5.0]],
        [[1e-40], [0.0], [1.0]],
    ],
)
def test_numbers_of_any_kind_do_no_harm(tmp_path: Path, prediction: list[list[float]]) -> None:
    assert drawn(tmp_path, of_values([[5.0], [5.0], [5.0]], prediction)) == OF_VALUES


def test_many_rows_are_drawn_as_a_density(tmp_path: Path) -> None:
    target = np.random.default_rng(0).normal(size=(20_000, 1))
    assert drawn(tmp_path, of_values(target, np.full_like(target, 2.0))) == OF_VALUES


def test_answers_in_another_form_than_the_target_have_no_residuals(tmp_path: Path) -> None:
    assert drawn(tmp_path, of_values(np.ones((4, 2)), np.ones((4, 0)))) == set()


def test_images_are_shown_by_what_their_values_are() -> None:
    unit, bytes_ = np.full((1, 2, 2, 1), 0.25), np.full((1, 2, 2, 3), 51.0)
    assert (images.visible(unit) == 0.25).all()
    assert images.visible(unit).shape == (1, 2, 2)
    assert (images.visible(bytes_) == 0.2).all()
    assert images.visible(bytes_).shape == (1, 2, 2, 3)
    standard = np.stack([np.linspace(-2, 2, 4), np.linspace(-1, 3, 4), np.zeros(4)], axis=-1).reshape(1, 2, 2, 3)
    shown = images.visible(standard)
    np.testing.assert_allclose(shown[..., 0].ravel(), [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(shown[..., 1], shown[..., 0])
    assert (images.visible(np.full((1, 2, 2, 1), np.nan)) == 0).all()
    assert images.visible(np.ones((1, 2, 2, 5))).shape == (1, 2, 2)


@pytest.mark.parametrize("shape", [(1, 4, 4, 1), (9, 3, 12, 3), (32, 12, 3, 2)])
def test_a_grid_of_images_is_a_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape)
    path = images.draw(values, ["a $\nb"] * shape[0], "some $ images", tmp_path / "g.png")
    with Image.open(path) as image:
        assert np.asarray(image).std() > 0
