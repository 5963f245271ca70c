"""`mode=look` shows the data as the model gets it, and the worst mistakes of a run, with the right numbers."""

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from nested_lists import to_ragged
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits

import runner
from components.data import Arrays, ScikitLearn
from components.types import TargetSpec
from runner.__main__ import main
from runner.data.batches import gather_rows
from runner.modes.look.image_mistakes import ImageMistakes, WorstImages, draw, make_sections
from runner.modes.look.tables import batch_table, examples_table, lengths_table
from runner.modes.look.view import Examples, View
from runner.record.predictions import load_predictions
from runner.tracking import ChildDelivery

pytestmark = [
    pytest.mark.optax,
    pytest.mark.usefixtures("in_empty_folder"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
]

HELPERS = Path(__file__).parents[2] / "helpers"
QUICK = ("training.epochs=1", "quiet=true", "architecture.widths=[8]", "training.batch_size=128")
TEXTS = """
_target_: components.data.Arrays
columns:
  text: [a, bcd, ef, ghij, k, lm, nop, q, rs, tuvw]
  size: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
  label: [x, "[y]", x, "[y]", x, "[y]", x, "[y]", x, "[y]"]
valid: 2
test: 2
stratify: label
"""
FEATURE = """
target: {_target_: components.feature.Label, key: label}
columns:
  text: {_target_: parts.Tokens, key: text}
  number: {_target_: components.feature.Numeric, key: size}
  digit: {_target_: components.feature.Identity, key: size, buckets: 10}
inputs: {wide: [number, digit], deep: [text]}
"""


def look(capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, list[list[str]]]:
    """Runs `mode=look`. Returns the printed tables by title, as rows of cells with the heading first."""
    capsys.readouterr()
    assert main(["mode=look", *overrides]) == 0
    tables: dict[str, list[list[str]]] = {}
    title = ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  "):
            tables[title].append([cell.strip() for cell in line.split("  ") if cell.strip()])
        elif line:
            title = line
            tables[title] = []
    return tables


def find_table(tables: dict[str, list[list[str]]], start: str) -> list[list[str]]:
    """The only table whose title starts with a text."""
    [table] = [rows for title, rows in tables.items() if title.startswith(start)]
    return table


def find_folder(name: str) -> Path:
    [folder] = Path("outputs").glob(f"????-??-??_??-??-??_{name}_*")
    return folder


def image_names(folder: Path) -> set[str]:
    """The names of the PNG files of a folder, all of which can be read."""
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
    return {path.name for path in folder.glob("*.png")}


def read_counts(path: Path) -> dict[str, list[int]]:
    with path.open(newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["class", "train", "valid", "test"]
    return {name: [int(count) for count in row] for name, *row in rows}


# ---------------------------------------------------------------------------------------------------- the data


def test_numbers_without_a_target_are_shown_in_tables_only(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("feature.target=null", "architecture=reconstructing_regressor", "loss=null", "metric=[]", "tracking=none")
    tables = look(capsys, "data=diabetes", "feature=diabetes", "training.batch_size=64", *words)
    assert find_table(tables, "first training batch, 64 examples")[1][:3] == ["measurements", "64 x 10", "float32"]
    [folder] = Path("outputs").glob("*_look_*")
    assert [path.name for path in (folder / "figures").iterdir()] == ["look.txt"]
    assert (folder / "figures" / "look.txt").read_text().startswith("splits")


def test_digits_are_shown_as_the_model_gets_them(capsys: pytest.CaptureFixture[str]) -> None:
    tables = look(capsys, "tracking=none", "training.batch_size=1168")
    assert find_table(tables, "splits")[1:] == [
        ["train", "1,168 (65.0%)"],
        ["valid", "270 (15.0%)"],
        ["test", "359 (20.0%)"],
    ]
    figures = find_folder("look_digits_mlp") / "figures"
    assert image_names(figures) == {"class_balance.png", "classes_image.png", "examples_image.png"}
    assert {name for (name,) in find_table(tables, f"figures  {figures}")} == image_names(figures)
    labels, splits = load_digits().target, ScikitLearn(name="digits", valid=0.15, test=0.2, stratify="label").splits()
    expected = np.stack([np.bincount(labels[rows]) for rows in splits.values()], axis=1)
    assert read_counts(figures / "class_balance.csv") == {
        str(digit): row.tolist() for digit, row in enumerate(expected)
    }
    assert find_table(tables, "rows of each class")[1][:2] == ["0", "115 (9.8%)"]
    pixels = load_digits().images[splits["train"]]
    values = np.round(pixels * 255 / 16) / 255
    image = find_table(tables, "first training batch, 1,168 examples")[1]
    assert image[:3] == ["image", "1168 x 8 x 8 x 1", "float32"]
    assert [float(cell) for cell in image[3:6]] == pytest.approx([0, values.mean(), 1], abs=1e-3)
    assert image[6:] == [f"{(values == 0).mean():.1%}", "0"]
    rows, targets, *images = find_table(tables, "first examples of the first training batch")
    assert not images, "all of them go from 0 to 1"
    assert targets[0] == "target"
    assert [labels[int(row.replace(",", ""))] for row in rows[1:]] == [int(target) for target in targets[1:]]


@pytest.mark.slow
def test_the_batch_is_that_of_the_first_training_step(capsys: pytest.CaptureFixture[str]) -> None:
    title = "first examples of the first training batch"
    first = find_table(look(capsys, "tracking=none"), title)[0]
    again = find_table(look(capsys, "tracking=none", "architecture.widths=[3]"), title)[0]
    other = find_table(look(capsys, "tracking=none", "seed=1"), title)[0]
    assert first == again != other


def test_a_real_target_has_a_table_of_quartiles(capsys: pytest.CaptureFixture[str]) -> None:
    tables = look(capsys, "experiment=diabetes_mlp", "tracking=none")
    progression = load_diabetes().target
    for row in find_table(tables, "target")[1:]:
        values = progression[ScikitLearn(name="diabetes", valid=0.15, test=0.2).splits()[row[0]]]
        expected = [*np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), values.mean()]
        assert [float(cell) for cell in row[1:]] == pytest.approx(expected, rel=1e-5)
    assert image_names(find_folder("look_diabetes_mlp") / "figures") == {"target.png"}
    rows, targets, *columns = find_table(tables, "first examples of the first training batch")
    assert targets[0] == "target, in its own unit"
    assert [progression[int(row)] for row in rows[1:]] == [float(target) for target in targets[1:]]
    assert [name for name, *_ in columns] == ["age", "sex", "bmi", "bp", "serum"]


def test_targets_far_from_0_are_shown_with_enough_digits(
    capsys: pytest.CaptureFixture[str], in_empty_folder: Path
) -> None:
    seconds = 1_600_000_000 + np.arange(60) ** 2
    (in_empty_folder / "times.csv").write_text("x,y\n" + "\n".join(f"{n % 7}.5,{y}" for n, y in enumerate(seconds)))
    tables = look(capsys, "data=csv", "data.path=times.csv", "data.target=y", "tracking=none")
    for row in find_table(tables, "target")[1:]:
        low, *_, high, mean = map(float, row[1:])
        assert low in seconds
        assert high in seconds
        assert low < mean < high
    rows, targets, *_ = find_table(tables, "first examples of the first training batch")
    assert [seconds[int(row)] for row in rows[1:]] == [float(target) for target in targets[1:]]


def test_padded_inputs_have_a_table_of_lengths(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, in_empty_folder: Path
) -> None:
    monkeypatch.syspath_prepend(HELPERS)
    architecture = "_target_: parts.WideDeep"  # any architecture with these inputs, since a look builds none
    for group, content in (("data", TEXTS), ("feature", FEATURE), ("architecture", architecture)):
        path = in_empty_folder / "conf" / group / "texts.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    options = ("data=texts", "feature=texts", "architecture=texts")
    tables = look(capsys, "--allow", "parts", *options, "tracking=none")
    source = Arrays(columns={"label": np.array(["x", "y"] * 5)}, valid=2, test=2, stratify="label")
    texts = ["a", "bcd", "ef", "ghij", "k", "lm", "nop", "q", "rs", "tuvw"]
    train = [texts[row] for row in source.splits()["train"]]
    lengths = list(map(len, train))
    found = find_table(tables, "lengths in the first training batch")[1]
    mean = sum(lengths) / len(lengths)
    assert found == ["deep", f"{min(lengths)}", f"{mean:.4g}", f"{max(lengths)}", "8", f"{1 - mean / 8:.1%}"]
    batch = {row[0]: row[1:] for row in find_table(tables, "first training batch, 6 examples")}
    codes = [ord(letter) for text in train for letter in text]
    assert batch["deep"][:2] == ["6 x 8", "int32"]
    assert [float(cell) for cell in batch["deep"][2:5]] == pytest.approx(
        [min(codes), np.mean(codes), max(codes)], rel=1e-3
    )
    assert batch["wide"][0] == "6 x 11"
    shown = {row[0]: row[1:] for row in find_table(tables, "first examples of the first training batch")}
    assert shown["digit"] == [f"id {size}" for size in shown["number"]]
    assert [row[0] for row in find_table(tables, "rows of each class")[1:]] == ["[y]", "x"]


def test_sequences_of_sequences_have_lengths_of_each_level() -> None:
    rows = [[[1.0, 2.0], [], [4.0]], [], [[0.5]]]
    encoded = {"x": {"values": to_ragged([[[[n] for n in step] for step in row] for row in rows], 2, np.float32)}}
    value = gather_rows(encoded, np.arange(3))["x"]["values"]
    examples = Examples(np.arange(3), {"x": value}, {"x": value}, {}, {})
    lengths = lengths_table(examples)
    assert lengths is not None
    assert lengths.rows[1:] == [
        ["x", "0", "1.333", "3", "8", "83.3%"],
        ["x, within a step", "0", "1", "2", "8", "87.5%"],
    ]
    assert batch_table(examples).rows[1][:6] == ["x", "3 x 8 x 8 x 1", "float32", "0.5", "1.875", "4"]
    assert examples_table(examples, {}, "").rows[1] == ["x", "3 steps", "no step", "1 step"]


def test_the_values_of_ids_are_shown(capsys: pytest.CaptureFixture[str], in_empty_folder: Path) -> None:
    cities = [("Oslo", "Rome")[n % 3 == 0] for n in range(60)]
    lines = [f"{city},{n % 5},{n}" for n, city in enumerate(cities)]
    (in_empty_folder / "homes.csv").write_text("city,rooms,price\n" + "\n".join(lines))
    words = ["data=csv", "data.path=homes.csv", "data.target=price", "data.types.rooms=int", "tracking=none"]
    rows, _, *columns = find_table(look(capsys, *words), "first examples of the first training batch")
    (shown,) = [column[1:] for column in columns if column[0] == "city"]
    assert shown == [cities[int(row)] for row in rows[1:]]


@pytest.mark.slow
def test_no_run_resumes_in_the_folder_of_a_look(capsys: pytest.CaptureFixture[str]) -> None:
    look(capsys, "tracking=none", *QUICK)
    folder = find_folder("look_digits_mlp")
    assert json.loads((folder / "summary.json").read_text())["metrics"] == {
        "train/rows": 1168,
        "valid/rows": 270,
        "test/rows": 359,
    }
    assert json.loads((folder / "record.json").read_text())["kind"] == "look"
    (folder / "summary.json").unlink()  # as after a kill
    assert main(["tracking=none", *QUICK]) == 0
    assert len(list(Path("outputs").iterdir())) == 2


def test_a_quiet_look_prints_nothing_but_draws(capsys: pytest.CaptureFixture[str]) -> None:
    assert look(capsys, "tracking=none", "quiet=true") == {}
    folder = find_folder("look_digits_mlp")
    assert image_names(folder / "figures")
    assert (folder / "figures" / "look.txt").read_text().startswith("splits\n")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data.split=valid",), "data.split: is the split of a finished run. Set run, too."),
        (("run=nothing",), "run=nothing: there is no such run below outputs"),
        (("run=best",), "mode=runs runs.sort=best/valid/loss lists the lowest first"),
        (("feature.columns.image.key=imag",), "there is no column `imag` in digits. Did you mean image?"),
        (("data.test=0.9",), "hold out"),
    ],
)
def test_an_error_of_the_user_leaves_no_folder(
    capsys: pytest.CaptureFixture[str], overrides: Sequence[str], message: str
) -> None:
    assert main(["mode=look", "tracking=none", *overrides]) == 2
    assert message in capsys.readouterr().err
    assert not Path("outputs").exists()


# ------------------------------------------------------------------------------------------------------- a run


@pytest.mark.slow
def test_the_worst_mistakes_of_a_run_are_sorted_by_loss(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["tracking=none", *QUICK]) == 0
    folder = find_folder("digits_mlp")
    shutil.rmtree(folder / "figures", ignore_errors=True)
    tables = look(capsys, f"run={folder.name}")
    (predictions,) = load_predictions(folder)
    assert predictions is not None
    wrong = np.flatnonzero(predictions.target != predictions.prediction)
    worst = wrong[np.argsort(-predictions.loss[wrong], kind="stable")]
    heading, *rows = find_table(tables, f"worst of {len(wrong)} ({len(wrong) / 359:.1%}) mistakes in 359 rows of test")
    assert heading == ["row", "target", "prediction", "probability", "loss"]
    assert [int(row[0].replace(",", "")) for row in rows] == predictions.row[worst[:20]].tolist()
    assert [int(row[2]) for row in rows] == predictions.prediction[worst[:20]].tolist()
    assert [float(row[3]) for row in rows] == pytest.approx(predictions.probability[worst[:20]], abs=1e-3)
    assert [load_digits().target[int(row[0].replace(",", ""))] for row in rows] == [int(row[1]) for row in rows]
    confused = find_table(tables, "most frequent confusions")[1:]
    for target, prediction, count, _ in confused:
        assert ((predictions.target == int(target)) & (predictions.prediction == int(prediction))).sum() == int(count)
    assert [int(row[2]) for row in confused] == sorted((int(row[2]) for row in confused), reverse=True)
    assert image_names(folder / "figures") == {
        *(
            "learning_curves.png",
            "calibration.png",
            "confusion.png",
            "per_class.png",
            "predictions.png",
            "worst_mistakes.png",
        )
    }
    shutil.rmtree(folder / "figures")
    access = os.access  # the permissions of a folder don't bind root
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != folder.name and access(path, mode))
    monkeypatch.setattr("tempfile.tempdir", str(Path.cwd()))
    *same, figures = look(capsys, f"run={folder.name}")
    (other,) = Path.cwd().glob("titrate_look_*")
    assert [title for title in same if "took" not in title] == [
        f"warning: {folder} can't be written; the figures are in {other}",
        *[title for title in tables if "took" not in title][:-1],
    ]
    assert figures == f"figures  {other / 'figures'}"
    assert image_names(other / "figures") == {"worst_mistakes.png"}
    assert not (folder / "figures").exists()


@pytest.mark.slow
def test_a_run_without_a_target_has_learning_curves_only(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("feature.target=null", "architecture=reconstructing_regressor", "loss=null", "metric=[]", "tracking=none")
    run = runner.run("data=diabetes", "feature=diabetes", *words, "training.epochs=1", "quiet=true").folder
    assert list(look(capsys, f"run={run}"))[-1] == f"figures  {run / 'figures'}"
    assert image_names(run / "figures") == {"learning_curves.png"}
    assert main(["mode=look", f"run={run}", "data.split=nosuch"]) == 2
    assert "there is no split nosuch. Allowed: test, train, valid" in capsys.readouterr().err


@pytest.mark.slow
def test_another_split_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tracking=none", *QUICK]) == 0
    folder = find_folder("digits_mlp")
    tables = look(capsys, f"run={folder}", "data.split=valid")
    assert [title for title in tables if title.endswith("mistakes in 270 rows of valid")]
    assert {"calibration.png", "confusion.png", "confusion_valid.png", "worst_mistakes_valid.png"} <= image_names(
        folder / "figures"
    )
    capsys.readouterr()
    assert main(["mode=look", f"run={folder}", "data.split=tset"]) == 2
    assert "there is no split tset. Did you mean test?" in capsys.readouterr().err
    shutil.rmtree(folder / "figures")
    (folder / "figures").touch()
    assert main(["mode=look", f"run={folder}"]) == 1
    assert capsys.readouterr().err == f"{folder / 'figures'}: File exists\n"


@pytest.mark.slow
def test_the_largest_errors_of_a_run_are_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=diabetes_mlp", "tracking=none", *QUICK]) == 0
    folder = find_folder("diabetes_mlp")
    tables = look(capsys, f"run={folder.name}")
    (predictions,) = load_predictions(folder)
    assert predictions is not None
    heading, *rows = find_table(tables, "largest errors in 88 rows of test")
    assert heading == ["row", "target", "prediction", "target - prediction", "loss"]
    residuals = (predictions.target - predictions.prediction)[:, 0]
    worst = np.argsort(-np.abs(residuals), kind="stable")[:20]
    assert [int(row[0]) for row in rows] == predictions.row[worst].tolist()
    assert [float(row[3]) for row in rows] == pytest.approx(residuals[worst], rel=1e-3)
    raw = find_table(tables, "the first of them, as they are in the data")
    assert raw[0] == ["row", *(row[0] for row in rows[:6])]
    values = {name: cells for name, *cells in raw}
    assert {"age", "sex", "bmi", "bp"} <= values.keys()
    assert all(value.isdecimal() for value in values["age"]), "whole numbers of a column of floats"
    assert [float(value) for value in values["progression"]] == [float(row[1]) for row in rows[:6]]
    columns = find_table(tables, "the first of them, as the model gets them")
    assert columns[0][1:] == [row[0] for row in rows[:6]]
    assert [row[0] for row in columns[2:]] == ["age", "sex", "bmi", "bp", "serum"]
    assert image_names(folder / "figures") == {
        "learning_curves.png",
        "predicted_true.png",
        "residuals.png",
        "predictions.png",
    }


@pytest.mark.slow
def test_a_run_on_data_from_python_has_no_images(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {"image": random.integers(0, 256, (60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    source = Arrays(columns=columns, valid=12, test=12, seed=0)
    folder = runner.run("tracking=none", "training.epochs=1", "quiet=true", source=source).folder
    tables = look(capsys, f"run={folder}")
    assert any(title.startswith("warning: only the numbers of the rows are shown") for title in tables)
    assert len(find_table(tables, "worst of")) > 1
    assert "worst_mistakes.png" not in image_names(folder / "figures")


# ---------------------------------------------------------------------------------------------------- in MLflow


def figure_folders(database: Path) -> list[Path]:
    """The folders for the figures of each run in a store. They may not exist yet."""
    with closing(sqlite3.connect(database)) as connection:
        uris = connection.execute("SELECT artifact_uri FROM runs").fetchall()
    return [Path(uri.removeprefix("file://"), "figures") for (uri,) in uris]


def figures_in(database: Path) -> dict[str, set[str]]:
    """The names of the figures of each run in a store, by the run's name."""
    with closing(sqlite3.connect(database)) as connection:
        runs = connection.execute("SELECT name, artifact_uri, status FROM runs").fetchall()
    assert {status for _, _, status in runs} == {"FINISHED"}
    return {
        name: {path.name for path in Path(uri.removeprefix("file://"), "figures").iterdir()} for name, uri, _ in runs
    }


@pytest.mark.slow
def test_the_figures_of_a_run_reach_mlflow_and_those_of_data_make_no_run(
    capsys: pytest.CaptureFixture[str], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("execution.execute", "modes.look.mistakes"):
        monkeypatch.setattr(f"runner.{module}.DELIVERY_SECONDS", 60)
    look(capsys)
    main([*QUICK])
    look(capsys, f"run={find_folder('digits_mlp').name}")
    while not all(outputs.is_dir() for outputs in figure_folders(database)):  # a moment after the end of the command
        time.sleep(0.1)
    (found,) = figures_in(database).values()
    assert {"worst_mistakes.png", "worst_mistakes.txt", "learning_curves.png"} <= found
    assert {"class_balance.csv", "class_balance.png", "classes_image.png", "examples_image.png", "look.txt"} == {
        path.name for path in (find_folder("look_digits_mlp") / "figures").iterdir()
    }


@pytest.mark.slow
def test_a_store_that_cannot_be_read_is_a_warning(
    capsys: pytest.CaptureFixture[str], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.modes.look.mistakes.DELIVERY_SECONDS", 60)
    main([*QUICK])
    database.write_bytes(b"no database at all" * 100)
    tables = look(capsys, f"run={find_folder('digits_mlp').name}")
    assert any(title.startswith("warning: ") and "mlflow.db" in title for title in tables)
    assert "worst_mistakes.png" in image_names(find_folder("digits_mlp") / "figures")


@pytest.mark.slow
def test_a_look_waits_for_a_slow_store_no_longer_than_a_run_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["tracking=none", *QUICK])
    path = find_folder("digits_mlp") / "record.json"
    tracking = {"uri": "http://127.0.0.1:9", "experiment": "titrate"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tracking": tracking}))
    slow = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)
    monkeypatch.setattr("runner.tracking._start_child", lambda *given: slow)
    waits: list[float] = []
    close = ChildDelivery.close
    monkeypatch.setattr(ChildDelivery, "close", lambda self, seconds: waits.append(seconds) or close(self, 0.0))
    try:
        tables = look(capsys, f"run={find_folder('digits_mlp').name}")
    finally:
        slow.kill()
        slow.wait()
    assert waits == [2.0]
    assert any("a process in the background delivers the rest" in title for title in tables)


def test_no_image_is_drawn_if_no_pixel_of_a_split_counts(tmp_path: Path) -> None:
    spec, none = TargetSpec("classes", (2, 2), ("a", "b"), lambda values: values), np.zeros((0, 2, 2), np.int32)
    worst = WorstImages(none[:, 0, 0], np.zeros(0), np.zeros(0), {"image": none}, none, none)
    [section] = make_sections(ImageMistakes(worst, np.zeros((2, 2), np.int64)), spec, "largest losses in 3 rows", {})
    assert "no pixel counts" in str(section)
    draw(worst, "mask", cast(View, None), "largest", tmp_path, "")
    assert not [*tmp_path.iterdir()]
