"""`mode=look` shows the data as the model gets it, and what a run got most wrong; its numbers are right."""

import csv
import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_diabetes, load_digits

import runner
from components.data import Arrays, ScikitLearn
from runner.__main__ import main
from runner.record import predictions as answers
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


def look(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, list[list[str]]]:
    """The tables that a look prints, by the line above each: rows of cells, the heading first."""
    capsys.readouterr()
    assert main(["mode=look", *words]) == 0
    tables: dict[str, list[list[str]]] = {}
    title = ""
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  "):
            tables[title].append([cell.strip() for cell in line.split("  ") if cell.strip()])
        elif line:
            title = line
            tables[title] = []
    return tables


def of(tables: dict[str, list[list[str]]], begin: str) -> list[list[str]]:
    """The table under the only line that begins so."""
    [found] = [rows for title, rows in tables.items() if title.startswith(begin)]
    return found


def the_folder(name: str) -> Path:
    [found] = Path("outputs").glob(f"????-??-??_??-??-??_{name}_*")
    return found


def images(folder: Path) -> set[str]:
    """The names of the PNG files of a folder, each of them whole."""
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
    return {path.name for path in folder.glob("*.png")}


def counts(path: Path) -> dict[str, list[int]]:
    with path.open(newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["class", "train", "valid", "test"]
    return {name: [int(count) for count in row] for name, *row in rows}


# ---------------------------------------------------------------------------------------------------- the data


def test_digits_are_shown_as_the_model_gets_them(capsys: pytest.CaptureFixture[str]) -> None:
    tables = look(capsys, "tracking=none", "training.batch_size=1168")
    assert of(tables, "the splits")[1:] == [
        ["train", "1,168 (65.0%)"],
        ["valid", "270 (15.0%)"],
        ["test", "359 (20.0%)"],
    ]
    figures = the_folder("look_digits_mlp") / "figures"
    assert images(figures) == {"class_balance.png", "examples_image.png"}
    labels, splits = load_digits().target, ScikitLearn(name="digits", valid=0.15, test=0.2, stratify="label").splits()
    expected = np.stack([np.bincount(labels[rows]) for rows in splits.values()], axis=1)
    assert counts(figures / "class_balance.csv") == {str(digit): row.tolist() for digit, row in enumerate(expected)}
    assert of(tables, "the classes")[1][:2] == ["0", "115 (9.8%)"]
    pixels = load_digits().images[splits["train"]]
    values = np.round(pixels * 255 / 16) / 255
    image = of(tables, "the first batch of training, 1,168 examples")[1]
    assert image[:3] == ["image", "1168 x 8 x 8 x 1", "float32"]
    assert [float(cell) for cell in image[3:6]] == pytest.approx([0, values.mean(), 1], abs=1e-3)
    assert image[6:] == [f"{(values == 0).mean():.1%}", "0"]
    rows, targets, *_ = of(tables, "its first examples")
    assert [labels[int(row.replace(",", ""))] for row in rows[1:]] == [int(target) for target in targets[1:]]


def test_the_batch_is_that_of_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    first = of(look(capsys, "tracking=none"), "its first examples")[0]
    again = of(look(capsys, "tracking=none", "architecture.widths=[3]"), "its first examples")[0]
    other = of(look(capsys, "tracking=none", "seed=1"), "its first examples")[0]
    assert first == again != other


def test_a_target_of_numbers_is_shown_by_its_quartiles(capsys: pytest.CaptureFixture[str]) -> None:
    tables = look(capsys, "experiment=diabetes_mlp", "tracking=none")
    progression = load_diabetes().target
    for row in of(tables, "the target")[1:]:
        values = progression[ScikitLearn(name="diabetes", valid=0.15, test=0.2).splits()[row[0]]]
        expected = [*np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), values.mean()]
        assert [float(cell) for cell in row[2:]] == pytest.approx(expected, rel=1e-3)
    assert images(the_folder("look_diabetes_mlp") / "figures") == {"target.png"}
    rows, targets, *columns = of(tables, "its first examples")
    assert [progression[int(row)] for row in rows[1:]] == [float(target) for target in targets[1:]]
    assert [name for name, *_ in columns] == ["age", "sex", "bmi", "bp", "serum"]


def test_a_text_is_shown_with_its_lengths(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, in_empty_folder: Path
) -> None:
    monkeypatch.syspath_prepend(HELPERS)
    architecture = "_target_: parts.WideDeep"  # any with these inputs: a look builds none
    for group, content in (("data", TEXTS), ("feature", FEATURE), ("architecture", architecture)):
        path = in_empty_folder / "conf" / group / "texts.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    chosen = ("data=texts", "feature=texts", "architecture=texts")
    tables = look(capsys, "--allow", "parts", *chosen, "tracking=none")
    source = Arrays(columns={"label": np.array(["x", "y"] * 5)}, valid=2, test=2, stratify="label")
    texts = ["a", "bcd", "ef", "ghij", "k", "lm", "nop", "q", "rs", "tuvw"]
    train = [texts[row] for row in source.splits()["train"]]
    lengths = list(map(len, train))
    found = of(tables, "their lengths")[1]
    mean = sum(lengths) / len(lengths)
    assert found == ["deep", f"{min(lengths)}", f"{mean:.4g}", f"{max(lengths)}", "8", f"{1 - mean / 8:.1%}"]
    batch = {row[0]: row[1:] for row in of(tables, "the first batch of training, 6 examples")}
    codes = [ord(letter) for text in train for letter in text]
    assert batch["deep"][:2] == ["6 x 8", "int32"]
    assert [float(cell) for cell in batch["deep"][2:5]] == pytest.approx(
        [min(codes), np.mean(codes), max(codes)], rel=1e-3
    )
    assert batch["wide"][0] == "6 x 11"
    shown = {row[0]: row[1:] for row in of(tables, "its first examples")}
    assert shown["digit"] == [f"id {size}" for size in shown["number"]]
    assert [row[0] for row in of(tables, "the classes")[1:]] == ["[y]", "x"]


def test_a_look_is_no_run_that_another_goes_on_with(capsys: pytest.CaptureFixture[str]) -> None:
    look(capsys, "tracking=none", *QUICK)
    folder = the_folder("look_digits_mlp")
    assert json.loads((folder / "summary.json").read_text())["metrics"] == {
        "train/rows": 1168,
        "valid/rows": 270,
        "test/rows": 359,
    }
    assert json.loads((folder / "record.json").read_text())["kind"] == "look"
    (folder / "summary.json").unlink()  # as if it had been killed
    assert main(["tracking=none", *QUICK]) == 0
    assert len(list(Path("outputs").iterdir())) == 2


def test_quiet_prints_nothing_and_draws(capsys: pytest.CaptureFixture[str]) -> None:
    assert look(capsys, "tracking=none", "quiet=true") == {}
    folder = the_folder("look_digits_mlp")
    assert images(folder / "figures")
    assert (folder / "figures" / "look.txt").read_text().startswith("the splits\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.split=valid",), "data.split: is for a run that is done; set run too"),
        (("run=nothing",), "run=nothing: no such run below outputs"),
        (("feature.columns.image.key=imag",), "there is no column `imag` in digits; did you mean image?"),
        (("data.test=0.9",), "hold out"),
    ],
)
def test_mistakes_of_the_user_are_told_and_leave_no_folder(
    capsys: pytest.CaptureFixture[str], words: Sequence[str], message: str
) -> None:
    assert main(["mode=look", "tracking=none", *words]) == 2
    assert message in capsys.readouterr().err
    assert not Path("outputs").exists()


# ------------------------------------------------------------------------------------------------------- a run


def test_the_worst_mistakes_of_a_run_come_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tracking=none", *QUICK]) == 0
    folder = the_folder("digits_mlp")
    shutil.rmtree(folder / "figures", ignore_errors=True)
    tables = look(capsys, f"run={folder.name}")
    found = answers.load_predictions(folder)
    assert found is not None
    wrong = np.flatnonzero(found.target != found.prediction)
    worst = wrong[np.argsort(-found.loss[wrong], kind="stable")]
    heading, *rows = of(tables, f"the worst of {len(wrong)} ({len(wrong) / 359:.1%}) mistakes in 359 rows of test")
    assert heading == ["row", "target", "prediction", "probability", "loss"]
    assert [int(row[0].replace(",", "")) for row in rows] == found.row[worst[:20]].tolist()
    assert [int(row[2]) for row in rows] == found.prediction[worst[:20]].tolist()
    assert [float(row[3]) for row in rows] == pytest.approx(found.probability[worst[:20]], abs=1e-3)
    assert [load_digits().target[int(row[0].replace(",", ""))] for row in rows] == [int(row[1]) for row in rows]
    confused = of(tables, "the most frequent confusions")[1:]
    for right, said, times, _ in confused:
        assert ((found.target == int(right)) & (found.prediction == int(said))).sum() == int(times)
    assert [int(row[2]) for row in confused] == sorted((int(row[2]) for row in confused), reverse=True)
    assert images(folder / "figures") == {
        *("learning_curves.png", "confusion.png", "per_class.png", "predictions.png", "worst_mistakes.png")
    }


def test_another_split_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tracking=none", *QUICK]) == 0
    folder = the_folder("digits_mlp")
    tables = look(capsys, f"run={folder}", "data.split=valid")
    assert [title for title in tables if title.endswith("mistakes in 270 rows of valid")]
    assert {"confusion.png", "confusion_valid.png", "worst_mistakes_valid.png"} <= images(folder / "figures")
    capsys.readouterr()
    assert main(["mode=look", f"run={folder}", "data.split=tset"]) == 2
    assert "there is no split tset; did you mean test?" in capsys.readouterr().err
    shutil.rmtree(folder / "figures")
    (folder / "figures").touch()
    assert main(["mode=look", f"run={folder}"]) == 1
    assert capsys.readouterr().err == f"{folder / 'figures'}: File exists\n"


def test_the_largest_residuals_of_a_run_come_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=diabetes_mlp", "tracking=none", *QUICK]) == 0
    folder = the_folder("diabetes_mlp")
    tables = look(capsys, f"run={folder.name}")
    found = answers.load_predictions(folder)
    assert found is not None
    heading, *rows = of(tables, "the largest errors of 88 rows of test")
    assert heading == ["row", "target", "prediction", "target - prediction", "loss"]
    residuals = (found.target - found.prediction)[:, 0]
    worst = np.argsort(-np.abs(residuals), kind="stable")[:20]
    assert [int(row[0]) for row in rows] == found.row[worst].tolist()
    assert [float(row[3]) for row in rows] == pytest.approx(residuals[worst], rel=1e-3)
    columns = of(tables, "the first of them, as the model gets them")
    assert columns[0][1:] == [row[0] for row in rows[:6]]
    assert [row[0] for row in columns[2:]] == ["age", "sex", "bmi", "bp", "serum"]
    assert images(folder / "figures") == {"learning_curves.png", "residuals.png", "predictions.png"}


def test_a_run_whose_data_came_from_python_has_its_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {"image": random.integers(0, 256, (60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    source = Arrays(columns=columns, valid=12, test=12, seed=0)
    folder = runner.run("tracking=none", "training.epochs=1", "quiet=true", source=source).folder
    tables = look(capsys, f"run={folder}")
    assert any(title.startswith("warning: the rows can be named, not shown") for title in tables)
    assert len(of(tables, "the worst of")) > 1
    assert "worst_mistakes.png" not in images(folder / "figures")


# ---------------------------------------------------------------------------------------------------- in MLflow


def figure_folders(database: Path) -> list[Path]:
    """Where the figures of each run in a store are, or will be."""
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


def test_both_reach_mlflow(capsys: pytest.CaptureFixture[str], database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("execution.execute", "modes.look.data", "modes.look.mistakes"):
        monkeypatch.setattr(f"runner.{module}.DELIVERY_SECONDS", 60)
    look(capsys)
    main([*QUICK])
    look(capsys, f"run={the_folder('digits_mlp').name}")
    while not all(outputs.is_dir() for outputs in figure_folders(database)):  # they come a moment after the end
        time.sleep(0.1)
    found = figures_in(database)
    assert {"class_balance.csv", "class_balance.png", "examples_image.png", "look.txt"} == found["look_digits_mlp"]
    assert {"worst_mistakes.png", "worst_mistakes.txt", "learning_curves.png"} <= found["digits_mlp"]


def test_a_store_out_of_reach_is_a_warning(
    capsys: pytest.CaptureFixture[str], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.modes.look.mistakes.DELIVERY_SECONDS", 60)
    main([*QUICK])
    database.write_bytes(b"no database at all" * 100)
    tables = look(capsys, f"run={the_folder('digits_mlp').name}")
    assert any(title.startswith("warning: ") and "mlflow.db" in title for title in tables)
    assert "worst_mistakes.png" in images(the_folder("digits_mlp") / "figures")


def test_a_store_that_never_answers_holds_a_look_up_no_longer_than_a_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["tracking=none", *QUICK])
    path = the_folder("digits_mlp") / "record.json"
    tracking = {"uri": "http://127.0.0.1:9", "experiment": "titrate"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tracking": tracking}))
    slow = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)
    monkeypatch.setattr("runner.tracking._start", lambda *given: slow)
    waits: list[float] = []
    close = ChildDelivery.close
    monkeypatch.setattr(ChildDelivery, "close", lambda self, seconds: waits.append(seconds) or close(self, 0.0))
    try:
        tables = look(capsys, f"run={the_folder('digits_mlp').name}")
    finally:
        slow.kill()
        slow.wait()
    assert waits == [2.0]
    assert any("a process in the background delivers the rest" in title for title in tables)
