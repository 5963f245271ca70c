"""Runs with labels, from texts in a CSV file and from lists: training, predictions and figures agree."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import jax
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

import runner
from components.data import Arrays
from components.types import UserError
from runner.__main__ import main
from runner.execution.execute import Result
from runner.inference import output

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

CLASSES = ("action", "drama", "scifi")
ROWS = 200
QUICK = ("tracking=none", "quiet=true", "architecture.widths=[16]", "learning_rate=0.01")
FEATURE = """
# Films and their tags.
target: {_target_: components.feature.Labels, key: tags, missing: empty}
columns: {x: {_target_: components.feature.Numeric, key: x}, y: {_target_: components.feature.Numeric, key: y}}
inputs: {numbers: [x, y]}
"""
IMAGES = """
target: {_target_: components.feature.Labels, key: label}
columns: {image: {_target_: components.feature.Image, key: image}}
inputs: {image: [image]}
"""
TWO_TARGETS = """
target: null
targets:
  tags: {_target_: components.feature.Labels, key: tags, missing: mask, names: [action, drama, scifi]}
  size: {_target_: components.feature.Numeric, key: size}
columns: {x: {_target_: components.feature.Numeric, key: x}}
inputs: {x: [x]}
"""


def draw_films() -> tuple[np.ndarray, list[list[str]]]:
    """Numbers (rows, 2), and the tags that depend on their signs."""
    x = np.random.default_rng(0).normal(size=(ROWS, 2)).round(3)
    has_tag = np.stack([x[:, 0] > 0, x[:, 1] > 0, x.sum(1) > 1], axis=1)
    return x, [[name for name, has in zip(CLASSES, row, strict=True) if has] for row in has_tag]


def write_option(group: str, name: str, text: str, folder: Path = Path()) -> None:
    (folder / "conf" / group).mkdir(parents=True)
    (folder / "conf" / group / f"{name}.yaml").write_text(text)


def write_films(folder: Path) -> None:
    """Writes the films as a CSV file, and a feature file for it. Films without tags have an empty field."""
    x, tags = draw_films()
    write_option("feature", "films", FEATURE, folder)
    lines = [f"{a},{b},{'|'.join(names)}" for (a, b), names in zip(x, tags, strict=True)]
    (folder / "films.csv").write_text("\n".join(["x,y,tags", *lines]) + "\n")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run on the CSV file."""
    folder = tmp_path_factory.mktemp("films")
    write_films(folder)
    with pytest.MonkeyPatch.context() as patched, jax.numpy_dtype_promotion("standard"):
        patched.chdir(folder)
        data = ("data=csv", f"data.path={folder}/films.csv", "data.test=0.3", "data.seed=0")
        return runner.run(*data, "feature=films", "loss=binary_cross_entropy", "training.epochs=15", *QUICK)


def test_training_learns_the_labels(films: Result) -> None:
    losses = [record["train/loss"] for record in films.records]
    assert losses[-1] < 0.5 * losses[0]
    assert films.metrics["test/accuracy"] > 0.9


def test_the_predictions_agree_with_the_metrics_and_the_data(films: Result) -> None:
    model = runner.load(films.folder)
    predictions = model.predict("test")
    assert not isinstance(predictions, dict)
    _, tags = draw_films()
    assert model.classes == predictions.classes == CLASSES
    assert predictions.target.tolist() == [tags[row] for row in predictions.row]
    assert [] in predictions.target.tolist()
    has_label = np.array([[name in names for name in CLASSES] for names in predictions.target])
    p = predictions.probabilities.astype(np.float64)
    assert predictions.prediction.tolist() == [
        [name for name, one in zip(CLASSES, row, strict=True) if one > 0.5] for row in p
    ]
    loss = -np.where(has_label, np.log(p), np.log1p(-p)).mean()  # Keras's binary_crossentropy
    assert films.metrics["test/loss"] == pytest.approx(loss, rel=1e-5)
    assert films.metrics["test/accuracy"] == pytest.approx(((p > 0.5) == has_label).mean())
    assert model.evaluate("test") == {name: films.metrics[name] for name in ("test/loss", "test/accuracy")}
    recorded = model.predict_with_losses("test")[0]
    assert recorded.loss.mean() == pytest.approx(loss, rel=1e-5)
    assert recorded.target.tolist() == has_label.tolist()


def test_new_rows_need_no_labels(films: Result) -> None:
    model = runner.load(films.folder)
    found = model.predict({"x": [2.0, -2.0], "y": [-2.0, -2.0]})
    assert not isinstance(found, dict)
    assert found.target is None
    assert found.prediction.tolist() == [["action"], []]
    metrics = model.evaluate({"x": [2.0, -2.0], "y": [-2.0, -2.0], "tags": ["action", None]})
    assert metrics["new/accuracy"] == 1


def test_files_of_all_formats_hold_the_same_labels(films: Result) -> None:
    for suffix in ("csv", "json", "parquet"):
        assert main(["mode=predict", f"run={films.folder}", f"output=found.{suffix}", "quiet=true"]) == 0
    predictions = runner.load(films.folder).predict("test")
    assert not isinstance(predictions, dict)
    expected = {"target": predictions.target.tolist(), "prediction": predictions.prediction.tolist()}
    records = json.loads(Path("found.json").read_text())
    with Path("found.csv").open(newline="") as file:
        texts = list(csv.DictReader(file))
    table = parquet.read_table("found.parquet").to_pydict()
    for name, lists in expected.items():
        assert [record[name] for record in records] == table[name] == lists
        assert [row[name] for row in texts] == ["|".join(labels) for labels in lists]
    assert list(records[0]) == ["row", "target", "prediction", *(f"probability_{name}" for name in CLASSES)]


@pytest.mark.slow
def test_the_modes_show_the_labels(films: Result, capsys: pytest.CaptureFixture[str]) -> None:
    write_films(Path())
    data = ["data=csv", "data.path=films.csv", "feature=films", "tracking=none", "loss=binary_cross_entropy"]
    assert main([*data, "mode=look"]) == 0
    shown = capsys.readouterr().out
    _, tags = draw_films()
    assert "(target)  32 x 3  int32" in shown
    assert "no label" in shown
    heading, *rows = csv.reader(next(Path().glob("outputs/*/figures/class_balance.csv")).read_text().splitlines())
    assert {name: sum(map(int, counts)) for name, *counts in rows} == {
        name: sum(name in row for row in tags) for name in CLASSES
    }
    train_rows = next(line for line in shown.splitlines() if line.split()[:1] == ["train"]).split()[1]
    train_count = int(rows[0][1 + heading[1:].index("train")])
    assert f"{train_count} ({train_count / int(train_rows):.1%})" in shown
    assert main([*data, "mode=dry_run"]) == 0
    assert "target  int32 (32, 3)" in capsys.readouterr().out
    assert main(["mode=look", f"run={films.folder}"]) == 0
    shown = capsys.readouterr().out
    recorded = runner.load(films.folder).predict_with_losses("test")[0]
    wrong = int((recorded.target != recorded.prediction).any(1).sum())
    assert f"worst of {wrong} " in shown
    assert "confusions" not in shown
    names = {path.name for path in (films.folder / "figures").iterdir()}
    assert {"per_class.csv", "per_class.png", "predictions.png", "worst_mistakes.txt"} <= names


@pytest.mark.slow
def test_the_worst_images_are_drawn_with_their_labels() -> None:
    """A digit is an example with one label."""
    write_option("feature", "labels", IMAGES)
    words = ["data=digits", "feature=labels", "loss=binary_cross_entropy", "training.epochs=1", *QUICK]
    assert main(words) == 0
    assert main(["mode=look", *words]) == 0
    assert main(["mode=look", "run=last", "quiet=true"]) == 0
    names = {path.name for path in Path().glob("outputs/*/figures/*.png")}
    assert {"examples_image.png", "worst_mistakes.png"} <= names


@pytest.mark.slow
def test_lists_of_numbers_beside_another_target_with_gaps() -> None:
    x, names = draw_films()
    tags = [[CLASSES.index(name) for name in row] for row in names]
    tags[::5] = [None] * len(tags[::5])
    columns = {"x": x.tolist(), "size": x[:, 0] + 1, "tags": pyarrow.array(tags)}
    source = Arrays(columns=columns, valid=0.2, test=0.2, seed=0)
    write_option("feature", "two", TWO_TARGETS)
    overrides = ("feature=two", "metric={tags: [accuracy], size: [rmse]}", "augmentation=[mixup]", "training.epochs=5")
    losses = "loss={tags: binary_cross_entropy, size: mse}"
    result = runner.run(*QUICK, *overrides, losses, source=source)
    assert result.metrics["test/tags/accuracy"] > 0.6
    found = runner.load(result.folder, source=source).predict("test")
    assert isinstance(found, dict)
    expected = [None if row % 5 == 0 else names[row] for row in found["tags"].row]
    assert found["tags"].target.tolist() == expected
    assert None in expected
    assert found["tags"].probabilities.shape == (40, 3)


def test_a_class_with_the_separator_is_no_csv_file(tmp_path: Path) -> None:
    lists = np.empty(2, object)
    lists[:] = [["a|b", "c"], None]
    with pytest.raises(UserError, match=r"the class 'a\|b' has the separator of lists in CSV files, \|"):
        output.write_table(tmp_path / "table.csv", {"prediction": lists})
    output.write_table(tmp_path / "table.json", {"prediction": lists})
    assert json.loads((tmp_path / "table.json").read_text()) == [{"prediction": ["a|b", "c"]}, {"prediction": None}]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("table")] == ["table.json"]
