"""Runs from Python: a table as data, what is inferred from it, and how results and models show themselves."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import numpy as np
import pandas
import pyarrow
import pytest
import yaml
from pyarrow import csv

import runner
from components.data import Arrays
from components.types import UserError
from runner.__main__ import main
from runner.config.compose import compose
from runner.execution.execute import Result
from runner.inference.trained_model import TrainedModel

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK = {"training": {"epochs": 2}, "tracking": "none", "quiet": True, "architecture": {"widths": [4]}}
ROWS = 60


def flats() -> pandas.DataFrame:
    """A table of flats, whose texts are numbers, dates, codes and categories."""
    number = np.arange(ROWS)
    return pandas.DataFrame(
        {
            "rent": [f"${(37 * n) % 900 + 100:,}" for n in number],
            "built": [f"{n % 28 + 1}.{n % 12 + 1}.{1950 + n}" for n in number],
            "area": (number * 37) % 101 + 0.5,
            "zip": [f"{n % 5:05}" for n in number],
            "where": pandas.Categorical(np.array(["north", "south"])[number % 2]),
            "sold": np.array(["no", "yes"])[(number // 2) % 2],
        }
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    """A run on the flats."""
    with jax.numpy_dtype_promotion("standard"):
        yield runner.run(QUICK, {"folder": tmp_path_factory.mktemp("runs")}, data=flats(), target="sold")


@pytest.fixture(scope="module")
def model(result: Result) -> TrainedModel:
    return runner.load(result.folder, data=flats())


# ------------------------------------------------------------------------------------------------------------- the run


def test_the_same_is_inferred_as_for_a_file(result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    flats().to_csv("flats.csv", index=False)
    of_file = compose(["data=csv", "data.path=flats.csv", "data.target=sold"]).values
    of_table = yaml.safe_load((result.folder / "config.yaml").read_text())
    assert of_table["feature"] == of_file["feature"]
    for group in ("architecture", "loss", "metric", "optimizer", "schedule"):
        assert (
            of_table[group]["_target_" if "_target_" in of_table[group] else "accuracy"]
            == (of_file[group]["_target_" if "_target_" in of_file[group] else "accuracy"])
        )
    for key in ("types", "marks", "dates", "stratify", "target"):
        assert of_table["data"].get(key) == of_file["data"].get(key), key
    assert of_table["data"]["_target_"] == "components.data.Frame"


def test_the_suggestion_is_printed_as_for_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    words = QUICK | {"quiet": False, "training.epochs": 1, "data.types.zip": "string"}
    runner.run(words, data=flats(), target="sold")
    printed = capsys.readouterr().out
    assert printed.startswith("inferred from the data:")
    assert "rent is read as numbers, without `$`. To keep the text, set data.types.rent=string" in printed


def test_a_model_takes_the_table_again_in_any_form(result: Result, model: TrainedModel) -> None:
    assert model.evaluate("test")["test/loss"] == result.metrics["test/loss"]
    known, table = model.predict("test"), flats()
    for rows in (table, pyarrow.table(table), {name: list(column) for name, column in table.items()}):
        np.testing.assert_array_equal(model.predict(rows).prediction[known.row], known.prediction)
        assert model.evaluate(rows)["new/accuracy"] == (model.predict(rows).prediction == table["sold"]).mean()
    encoded = runner.load_transform(result.folder)(table)
    np.testing.assert_array_equal(encoded["rent"]["values"][:2, 0], [100, 137])


def test_a_file_is_predicted_like_the_table(model: TrainedModel, capsys: pytest.CaptureFixture[str]) -> None:
    flats().drop(columns="sold").to_csv("new.csv", index=False)
    words = ["mode=predict", f"run={model.folder}", "data.path=new.csv", "output=found.csv"]
    assert main(words) == 0, capsys.readouterr().err
    assert csv.read_csv("found.csv")["prediction"].to_pylist() == model.predict(flats()).prediction.tolist()
    assert main(["mode=evaluate", f"run={model.folder}"]) == 2
    assert "came from Python, as a table. Load the run in Python with the same data" in capsys.readouterr().err
    assert main([f"resume={model.folder}", "training.epochs=3"]) == 2
    assert "The data of this run came from Python. Pass it again, as in runner.run(" in capsys.readouterr().err


@pytest.mark.slow
def test_the_run_is_resumed_with_the_same_table_only(result: Result) -> None:
    words: Any = {"resume": result.folder, "training.epochs": 3}
    changed = flats().assign(area=1.0 + np.arange(ROWS) ** 2)
    with pytest.raises(UserError, match="the data, or how it is split, has changed since that run"):
        runner.run(words, data=changed, target="sold")
    resumed = runner.run(words, data=flats(), target="sold")
    assert [record["epoch"] for record in resumed.records] == [1, 2, 3]
    assert resumed.records[:2] == result.records


def test_an_experiment_keeps_its_feature_columns_and_reads_them_in_the_table() -> None:
    images = np.random.default_rng(0).integers(0, 256, (ROWS, 8, 8, 1), np.uint8)
    data: Any = {"image": images, "label": np.arange(ROWS) % 3, "other": ["$1", "$2"] * 30}
    words = {"training.epochs": 1, "tracking": "none", "quiet": True}
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text("data: {seed: 7, stratify: nothing}\narchitecture: {widths: [4]}\n")
    result = runner.run("experiment=mine", words, data=data)
    values = yaml.safe_load((result.folder / "config.yaml").read_text())
    assert [*values["feature"]["columns"]] == ["image"]
    assert values["data"] == {"_target_": "components.data.Frame"}, "the table replaces the whole source"
    assert runner.run("experiment=mine", words, data=Arrays(columns=data, valid=9, test=9)).status == "finished"
    with pytest.raises(UserError, match="target=other: the experiment or the feature file predicts label"):
        runner.run("experiment=mine", words, data=data, target="other")


def test_a_frame_may_have_integers_as_names() -> None:
    frame = pandas.DataFrame({0: np.arange(ROWS) % 7, 1: np.arange(ROWS) % 5 + 0.5})
    result = runner.run(QUICK, data=frame, target=np.int64(1))
    assert yaml.safe_load((result.folder / "config.yaml").read_text())["feature"]["target"]["key"] == "1"
    assert len(runner.load(result.folder).predict(frame[[0]]).prediction) == ROWS
    with pytest.raises(UserError, match=r"data\.target=2 is not a column of the data"):
        runner.multirun(QUICK, data=frame, target=[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": [1, 2]}, "data is of the type list. Pass a mapping of columns, a data frame of pandas, Polars"),
        ({"data": ROWS}, "data is of the type int. Pass a mapping of columns"),
        ({"data": (ROWS, ROWS)}, 'type tuple. Put y into the table as a column, and name it by target="column". Pass'),
        *(
            (
                {"data": {"x": [1, 2]}, "target": target},
                f"^target is of the type {name}, and the name of a column is .*",
            )
            for target, name in (
                (np.zeros(2), "ndarray"),
                (pandas.Series([1, 2]), "Series"),
                ([0, 1, 1], "list"),
            )
        ),
        ({"target": "y"}, "target='y' is for a table that is passed as data. Write 'data.target=y'"),
        ({"data": "a.csv"}, r"'a.csv' is a path. .* write runner.run\('data=csv', 'data.path=a.csv', 'data.target=COL"),
        ({"data": {"x": [1], "y": [2]}, "source": Arrays(columns={}, valid=1)}, "two names of one argument"),
        ({"data": {"x": [1, 2], "y": [1, 2]}}, "data.target is missing. Set it to the column to predict"),
        ({"data": {"x": [1, 2], "y": [1, 2]}, "target": "z"}, "data.target=z is not a column of the data"),
        ({"data": {"x": [1, 2], "y": [1]}, "target": "y"}, "columns with the same number of rows, got x 2, y 1"),
        (
            {"data": {"x": np.zeros((9, 2, 2)), "y": [1] * 9}, "target": "y"},
            r"the data: nothing is inferred for any column but y\.\nx is left out: it has arrays of shape \(2, 2\) and "
            r"type float64, .*; flatten them to vectors, which .*\nTo read other columns, write a feature file",
        ),
        (
            {"data": {"x": [b"\x89PNG\r\n"] * 9, "y": [1] * 9}, "target": "y"},
            r"If x has images and y their classes, add feature=image feature.columns.image.key=x feature.target.key=y$",
        ),
        (
            {"data": {"x": [[1], [1, 2]] * 5, "t": ["a"] * 10, "y": [1, 2] * 5}, "target": "y"},
            "t: left out: it has one value only\nx is left out: it has lists",
        ),
    ],
)
def test_wrong_data_is_an_error_that_says_what_to_pass(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        runner.run(QUICK, **arguments)
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["data=csv data.path=a.csv seed=3"], {}, "Write each as a word of its own: data=csv data.path=a.csv seed=3"),
        (["note=a seed=3", "sed=1"], {}, "sed: unknown key"),
        (
            [{"learning_rate": [0.1, 0.2]}],
            {},
            "To run each of them, write 0.1,0.2 without brackets in a sweep (titrate -m, or in Python "
            'runner.multirun("…=0.1,0.2"))',
        ),
        (
            [{"note": ["a/b", "c"]}],
            {},
            """in Python runner.multirun('…="a/b","c"'))""",
        ),
        (
            ["learning_rate=1,2"],
            {},
            "several values need a sweep. Write -m before the overrides (in Python, call runner",
        ),
        ([], {"epochs": 2}, 'epochs: not an argument. Overrides are texts, as on the command line: "epochs=2"'),
    ],
)
def test_wrong_words_are_an_error_that_says_what_to_write(
    words: list[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        runner.run(*words, **settings)
    assert message in str(caught.value)


def test_a_table_and_another_source_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("data=digits", "data={option: digits}", {"data": {"option": "digits"}}):
        with pytest.raises(UserError, match=r"^data.*digits\}? chooses a source, but a table is passed as data"):
            runner.run(word, QUICK, data=flats(), target="sold")
    assert main(["data=from_python"]) == 2
    assert "data: unknown option from_python. The data of this run came from Python" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- what is shown


def test_a_result_is_one_line_a_table_and_data_frames(result: Result) -> None:
    assert repr(result).startswith("Result(finished, best/valid/loss=")
    assert f"folder={result.folder.name}" in repr(result)
    assert "\n" not in repr(result)
    html = result._repr_html_()
    assert f"<td>{result.metrics['test/accuracy']:.5g}</td>" in html
    assert isinstance(result.history, pandas.DataFrame)
    assert result.history["epoch"].tolist() == [1, 2]
    assert result.history["valid/loss"].tolist() == [record["valid/loss"] for record in result.records]
    figures = result.figures()
    assert {"learning_curves", "confusion"} <= figures.keys()
    assert all(path.is_file() for path in figures.values())
    assert figures._repr_html_().count("data:image/png;base64,") == len(figures)


def test_a_model_and_its_predictions_are_shown(model: TrainedModel) -> None:
    assert repr(model) == f"TrainedModel(sold from 5 columns, folder={model.folder.name})"
    assert "sold, one of 2 classes: no, yes" in model._repr_html_()
    found = model.predict(flats())
    assert repr(found) == "Predictions(60 rows, 2 classes: no, yes)"
    assert "… 40 more rows" in found._repr_html_()
    frame = found.frame()
    assert [*frame.columns] == ["row", "prediction", "probability_no", "probability_yes"]
    assert frame["prediction"].tolist() == found.prediction.tolist()


def test_a_frame_of_predictions_has_the_index_and_columns_of_the_new_rows(model: TrainedModel) -> None:
    rows = flats().assign(id=[f"f{number}" for number in range(ROWS)]).iloc[[30, 7, 7]]
    found = model.predict(rows)
    frame = found.frame()
    assert frame.index.tolist() == [30, 7, 7]
    assert frame["row"].tolist() == [0, 1, 2]
    frame = found.frame(columns=["id", "row", "rent"])
    assert [*frame.columns] == ["id", "row", "rent", "prediction", "probability_no", "probability_yes"]
    assert frame["id"].tolist() == ["f30", "f7", "f7"]
    assert frame["rent"].tolist() == rows["rent"].tolist()
    assert frame.index.tolist() == [30, 7, 7]
    mapping = model.predict({name: rows[name].tolist() for name in rows}).frame(["id"])
    assert mapping.index.tolist() == [0, 1, 2]
    assert mapping["id"].tolist() == ["f30", "f7", "f7"]
    with pytest.raises(UserError, match=r"columns: there is no column `ids`\. Did you mean id"):
        found.frame(["ids"])
    with pytest.raises(UserError, match=r"columns: these are predictions for a split, whose rows are not here"):
        model.predict("test").frame(["id"])


def test_a_sweep_is_one_line_a_table_and_a_ranking() -> None:
    data = flats().assign(sold=np.array(["<no>", "yes"])[np.arange(ROWS) % 2])
    sweep = runner.multirun("learning_rate=0.1,1e-9", QUICK | {"training.epochs": 1}, data=data, target="sold")
    assert repr(sweep).startswith(f"SweepResult(finished, 2 runs, best: {sweep.candidates[0].overrides[0]} best/valid/")
    assert [*sweep.ranking.columns][:3] == ["rank", "learning_rate", "runs"]
    assert sweep.ranking["rank"].tolist() == [1, 2]
    assert sweep.ranking["learning_rate"][0] == sweep.candidates[0].values["learning_rate"]
    assert "<td>1e-09</td>" in sweep._repr_html_()
    assert "sweep" in sweep.figures()
    description = json.loads((sweep.folder / "record.json").read_text())["description"]
    best = json.loads((sweep.folder / "summary.json").read_text())["best"]
    for call, text in (("multirun('learning_rate=0.1,1e-9'", description), ("run('training.epochs=2'", best)):
        assert f"runner.{call}, " in text
        assert ", 'data.target=sold'" in text
        assert "data=…)" in text, "the command line can't repeat it"
    assert sweep.best_folder == sweep.folder / sweep.ranking["folder"][0]
    model = runner.load(sweep.best_folder)
    for html in (model._repr_html_(), model.predict(data)._repr_html_()):
        assert "&lt;no&gt;" in html, "texts of the data are escaped"
        assert "<no>" not in html


def test_a_data_frame_without_pandas_is_an_error(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="a data frame needs pandas, which is not installed"):
        _ = result.history


def test_a_notebook_shows_one_output_that_is_updated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=lambda html: shown.append(html))
    package, display = ModuleType("IPython"), ModuleType("IPython.display")
    vars(package).update(get_ipython=lambda: SimpleNamespace(kernel=object()), version_info=(9, 0))
    vars(display).update(HTML=str, display=lambda html, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    runner.run(QUICK | {"quiet": False}, data=flats(), target="sold")
    assert any('<progress value="2" max="4"></progress>' in html for html in shown)
    assert "<progress" not in shown[-1]
    assert shown[-1].count("<tr>") == 3, "a heading and two evaluations"
    assert "epoch 1/2" not in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- names in the way


@pytest.mark.parametrize("file", ["components/__init__.py", "components.py"])
def test_a_module_that_is_imported_in_place_of_ours_is_an_error(file: str) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text("")
    completed = subprocess.run([sys.executable, "-c", "import runner"], capture_output=True, text=True, check=False)
    assert completed.returncode
    message = f"{Path(file).absolute()} is in the way: Titrate has a package `components`. Rename yours."
    assert completed.stderr.splitlines()[-1] == f"ImportError: {message}"


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("components/mine.py", "components.mine.Loss"),
        ("components.py", "components.Loss"),
        ("runner.py", "runner.Loss"),
        ("runner/__init__.py", "runner.Loss"),
    ],
)
def test_the_error_for_a_part_names_the_file_in_the_way(
    file: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"loss._target_={target}"]
    assert main(words) == 2
    assert "in the way" not in capsys.readouterr().err
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text("class Loss: pass\n")
    assert main(words) == 2
    package = target.partition(".")[0]
    assert f"{file} is in the way: Titrate has a package `{package}`. Rename yours." in capsys.readouterr().err


@pytest.mark.usefixtures("in_empty_folder")
def test_columns_of_one_s_own_need_a_feature_file() -> None:
    data = Arrays(columns={"x": np.arange(40.0), "y": np.arange(40) % 2})
    with pytest.raises(UserError, match=r"no columns image, label .* conf/feature/NAME\.yaml, and add feature=NAME\.$"):
        runner.run("training.epochs=1", "tracking=none", data=data)
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text("feature: {columns: {image: {key: imagee}}}\n")
    with pytest.raises(UserError, match=r"no columns imagee, label in the arrays\. Columns: x, y\.$"):
        runner.run("experiment=mine", "training.epochs=1", "tracking=none", data=data)
