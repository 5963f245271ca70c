"""New rows: gaps that training didn't have, images of floats, and the columns beside the predictions."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from pyarrow import csv, parquet

import runner
from components.data import Arrays
from components.feature import Image
from components.types import DataError, UserError
from runner.__main__ import main
from runner.inference.trained_model import TrainedModel

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK = ("training.epochs=1", "training.batch_size=8", "tracking=none", "quiet=true", "architecture.widths=[4]")
HEADER = "id,area,when,where,price"
LINES = [f"a{n:03},{n % 9 + 1},2024-01-{n % 28 + 1:02},{('north', 'south')[n % 2]},{n * 3}.5" for n in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run on a file without gaps."""
    here = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patched, jax.numpy_dtype_promotion("standard"):
        patched.chdir(here)
        Path("homes.csv").write_text("\n".join([HEADER, *LINES]) + "\n")
        yield runner.run(*QUICK, f"data.path={here}/homes.csv", "data=csv", "data.target=price").folder


@pytest.fixture(scope="module")
def model(folder: Path) -> TrainedModel:
    return runner.load(folder)


def command(folder: Path, *words: str) -> int:
    return main(["mode=predict", f"run={folder}", "quiet=true", *words])


# --------------------------------------------------------------------------------------------------------------- gaps


@pytest.mark.parametrize("key", ["area", "when", "where"])
def test_a_gap_is_the_mean_or_unknown_if_a_word_allows_it(model: TrainedModel, key: str) -> None:
    rows: dict[str, list[Any]] = {"area": [2.0, 3.0], "when": ["2024-01-02", "2024-01-05"], "where": ["north", "south"]}
    gaps = rows | {key: [None, rows[key][1]]}
    if key != "where":  # categories without a value have always been allowed
        with pytest.raises(DataError, match=rf'column `{key}` has no value; .*, or set on_missing="fill"'):
            model.predict(gaps)
    warnings: list[str] = []
    found = model.predict(gaps, on_missing="fill", on_warning=warnings.append)
    value = "an unknown value" if key == "where" else "the mean of the training split"
    assert warnings == [f"column `{key}` has no value in 1 of 2 rows; {value} stands for it"], "the gap counts once"
    train = np.array([line.split(",") for line in LINES])[model.data.splits["train"]]
    filled = {"area": [train[:, 1].astype(float).mean()], "where": ["west"]}.get(key)
    if filled is not None:
        expected = model.predict(gaps | {key: [*filled, rows[key][1]]})
        np.testing.assert_allclose(found.prediction, expected.prediction, rtol=1e-5)
    assert model.evaluate(gaps | {"price": [1.0, 2.0]}, on_missing="fill")["new/loss"] > 0
    encoded = runner.load_transform(model.folder)(gaps, on_missing="fill")
    assert all(np.isfinite(array).all() for arrays in encoded.values() for array in arrays.values())


def test_rows_without_gaps_are_encoded_alike_with_the_word(model: TrainedModel) -> None:
    transform = runner.load_transform(model.folder)
    rows = {"area": [2, 3], "when": ["2024-01-02", "2024-01-05"], "where": ["north", "west"]}
    plain, filled = transform(rows), transform(rows, on_missing="fill")
    for name, arrays in plain.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(filled[name][key], array)


@pytest.mark.slow
def test_the_mean_of_skewed_numbers_is_that_of_the_data() -> None:
    numeric = {"_target_": "components.feature.Numeric", "key": "x", "normalize": ["log1p", "z_score"], "scale": 2.0}
    feature = {
        "target": {"_target_": "components.feature.Numeric", "key": "y"},
        "columns": {"x": numeric, "sum": numeric | {"key": None, "expression": "x + 1", "normalize": "min_max"}},
        "inputs": {"x": ["x", "sum"]},
    }
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/own.yaml").write_text(yaml.safe_dump(feature))
    data = Arrays(columns={"x": np.exp(np.arange(40) / 5), "y": np.arange(40.0)}, valid=8, test=8)
    result = runner.run(*QUICK, "feature=own", "loss=mse", "metric=[]", data=data)
    transform, train = runner.load_transform(result.folder), data.splits()["train"]
    mean = float(data.columns["x"][train].mean())
    found = transform({"x": [None, 1.0]}, on_missing="fill")
    expected = transform({"x": [mean, 1.0]})
    for name in ("x", "sum"):
        np.testing.assert_allclose(found[name]["values"], expected[name]["values"], rtol=1e-5)


def test_the_word_is_for_new_rows(folder: Path, model: TrainedModel, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match='on_missing="fill" is for new rows, not for the split test'):
        model.predict("test", on_missing="fill")
    with pytest.raises(UserError, match=r"on_missing='mean' is not allowed\. Allowed: error, fill"):
        model.evaluate({}, on_missing="mean")  # type: ignore[arg-type]
    assert command(folder, "data.on_missing=fill", "output=found.csv") == 2
    assert "data.on_missing=fill is for new rows. Name their file by data.path=" in capsys.readouterr().err
    assert command(folder, "data.on_missing=mean", "output=found.csv") == 2
    assert 'data.on_missing: "mean" is not an allowed value. Allowed: error, fill' in capsys.readouterr().err
    assert main(["mode=look", f"run={folder}", "data.on_missing=fill"]) == 2
    assert "data.on_missing: is allowed for mode=evaluate and mode=predict only" in capsys.readouterr().err


def test_the_command_line_has_the_word_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.csv").write_text(f"{HEADER}\nx,,2024-01-02,north,1\ny,4,2024-01-02,north,2\n")
    words = ("data.path=new.csv", "output=found.csv")
    assert command(folder, *words) == 2
    assert "new.csv, line 2: column `area` has no value; fill it in, remove the row, or set data.on_missing=fill" in (
        capsys.readouterr().err
    )
    assert command(folder, *words, "data.on_missing=fill") == 0
    assert "column `area` has no value in 1 of 2 rows; the mean of the training split stands for it" in (
        capsys.readouterr().err
    )
    words = ("mode=evaluate", f"run={folder}", "data.path=new.csv", "data.on_missing=fill")
    assert main([*words]) == 0
    assert "new.csv" in capsys.readouterr().out
    Path("new.csv").write_text(f"{HEADER}\nx,,2024-01-02,north,1\ny,4,2024-01-02,north,\n")
    assert main([*words]) == 2
    assert capsys.readouterr().err.endswith(
        "new.csv, line 3: column `price` has no value, and an evaluation needs the target; fill it in, or remove the "
        "row; to leave such rows out, set data.on_missing_target=drop\n"
    )
    assert main([*words, "data.on_missing_target=drop"]) == 0


# ------------------------------------------------------------------------------------------------- as in training


def amounts() -> dict[str, Any]:
    """Columns of texts that are read as times with a zone, numbers with a mark, and numbers with gaps."""
    number = range(60)
    return {
        "when": [f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}T10:00:00+02:00" for n in number],
        "price": [f"${n % 9}" for n in number],
        "size": [f"{n % 7}" if n % 6 else "unknown" for n in number],
        "where": ["north", "south"] * 30,
        "sold": [n % 4 < 2 for n in number],
        "more": [n % 5 + 0.5 for n in number],
    }


@pytest.fixture(scope="module")
def of_amounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedModel]:
    with jax.numpy_dtype_promotion("standard"):
        words = (*QUICK, {"folder": str(tmp_path_factory.mktemp("amounts"))})
        yield runner.load(runner.run(*words, data=amounts(), target="sold").folder)


def test_it_is_said_how_new_rows_from_python_were_read(
    of_amounts: TrainedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"when": ["2024-01-01T10:00:00"], "price": ["5"], "size": ["unknown"], "where": ["west"], "more": [1.0]}
    notes = [
        "the new rows: column `when`: 1 of 1 times have no zone and are taken as UTC",
        "the new rows: column `price`: 1 of 1 values have no `$`",
        "the new rows: column `size`: missing: 'unknown' in 1 row (first: row 0)",
        "1 of 1 values of column `where` aren't in its vocabulary, the first in row 0 of the new rows: 'west'",
    ]
    found: list[str] = []
    predictions = of_amounts.predict(rows, on_warning=found.append)
    assert found == notes
    assert [*predictions.frame().columns] == ["row", "prediction", "probability_false", "probability_true"]
    capsys.readouterr()
    of_amounts.predict(rows)
    assert capsys.readouterr().err.splitlines() == [f"note: {note}" for note in notes]
    of_amounts.evaluate(rows | {"sold": [True]})
    assert capsys.readouterr().err.splitlines() == [f"note: {note}" for note in notes]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": ["EUR 5"]}, r"row 0: column `price` is 'EUR 5', not a number with `\$`; correct the value$"),
        ({"price": ["5,0"]}, r"'5,0', have a decimal comma; correct the values$"),
        ({"when": ["2024"]}, r"column `when` is .*2024.*, not of type timestamp; correct the value$"),
        ({"size": ["x"]}, r"column `size` is 'x', not of type float; correct the value$"),
    ],
)
def test_an_error_in_new_rows_from_python_offers_nothing_that_they_cannot_set(
    of_amounts: TrainedModel, change: dict[str, Any], message: str
) -> None:
    rows = {name: values[:1] for name, values in amounts().items()} | change
    for method in (of_amounts.predict, of_amounts.evaluate):
        with pytest.raises(DataError, match=message):
            method(rows)


@pytest.mark.slow
def test_texts_listed_as_missing_are_missing_in_new_rows_too() -> None:
    lines = [f"{('?' if n % 6 == 0 else n % 5)},{n % 7 if n % 5 else -999},{n % 9}.5" for n in range(60)]
    Path("table.csv").write_text("\n".join(["a,b,price", *lines]) + "\n")
    Path("new.csv").write_text("a,b\n?,-999\n2,3\n")
    result = runner.run(*QUICK, "data=csv", "data.path=table.csv", "data.target=price", "data.nulls=[?,-999]")
    assert command(result.folder, "data.path=new.csv", "output=found.csv") == 0
    expected = runner.load(result.folder).predict({"a": [None, 2], "b": [None, 3]}).prediction
    np.testing.assert_allclose(csv.read_csv("found.csv")["prediction"].to_pylist(), expected, rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------- images


def test_images_are_the_same_as_bytes_floats_and_integers() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    column = Image(key="image")
    for dtype in (np.float32, np.float64):
        for values, scale in ((pixels / 255, "0 to 1"), (pixels, "0 to 255")):
            converted, note = column.convert_rows(values.astype(dtype))
            np.testing.assert_array_equal(converted, pixels)
            assert converted.dtype == np.uint8
            assert note == f"column `image`: floats are read as {scale}"
    np.testing.assert_array_equal(column.convert_rows(pixels.astype(np.int64))[0], pixels)
    assert column.convert_rows(pixels)[0] is pixels
    resized = np.array([0.0, 0.499, 0.999]).reshape(1, 1, 3, 1)
    assert column.convert_rows(resized)[0].ravel().tolist() == [0, 127, 255]
    found, note = column.convert_rows(resized * 255)
    assert found.ravel().tolist() == [0, 127, 255]
    assert note.endswith("0 to 255, and rounded")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        ([0.0, 256.0], "has pixels from 0 to 256; pixels are numbers from 0 to 255, or floats from 0 to 1"),
        ([-0.5, 1.0], "has pixels from -0.5 to 1"),
        ([np.nan, 1.0], "has pixels from nan to nan"),
        ([0, 300], "has pixels from 0 to 300"),
        ([0.0, 1.0], "has floats up to 1, which may be from 0 to 1 or from 0 to 255"),
        ([0.5, 1.5], "has floats up to 1.5, which may be from 0 to 1 or from 0 to 255"),
    ],
)
def test_other_pixels_are_an_error(pixels: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Image(key="image").convert_rows(np.array(pixels).reshape(1, 1, 2, 1))


def test_a_model_of_images_predicts_floats_and_lists() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 1), np.uint8)
    result = runner.run(*QUICK, data=Arrays(columns={"image": images, "label": np.arange(30) % 2}, valid=6, test=6))
    model, warnings = runner.load(result.folder), []
    expected = model.predict({"image": images}).probabilities
    for rows in (images / 255, images.astype(np.float32), images.tolist(), (images / 255).tolist()):
        found = model.predict({"image": rows}, on_warning=warnings.append)
        np.testing.assert_array_equal(found.probabilities, expected)
    assert warnings == [f"column `image`: floats are read as 0 to {limit}" for limit in (1, 255, 1)]


# ------------------------------------------------------------------------------------------------------------- columns


def test_columns_of_the_data_are_copied_beside_the_predictions(folder: Path, model: TrainedModel) -> None:
    rows = model.data.splits["test"].tolist()
    assert command(folder, "output.path=found.csv", "output.columns=[id,row,when]") == 0
    found = csv.read_csv("found.csv")
    assert found.column_names == ["id", "row", "when", "prediction"]
    assert found["id"].to_pylist() == [f"a{row:03}" for row in rows]
    assert found["row"].to_pylist() == rows
    assert command(folder, "output=found.json", "output.columns=[when,area]", "data.split=train") == 0
    first = json.loads(Path("found.json").read_text())[0]
    row = int(model.data.splits["train"][0])
    assert (first["when"][:10], first["area"]) == (f"2024-01-{row % 28 + 1:02}", row % 9 + 1)


def test_new_rows_have_their_number_and_the_target_if_it_is_there(folder: Path) -> None:
    Path("new.csv").write_text(f"{HEADER}\nx,1,2024-01-02,north,7.5\ny,4,2024-01-02,north,\n")
    assert command(folder, "data.path=new.csv", "output=found.parquet") == 0
    found = parquet.read_table("found.parquet")
    assert found.column_names == ["row", "target", "prediction"]
    assert str(found["target"].to_pylist()) == "[7.5, nan]"
    Path("new.csv").write_text("id,area,when,where\nx,1,2024-01-02,north\n,4,2024-01-02,north\n")
    words = ("data.path=new.csv", "output=found.parquet", "output.overwrite=true")
    assert command(folder, *words) == 0
    assert parquet.read_table("found.parquet").column_names == ["row", "prediction"]
    assert command(folder, *words, "output.columns=[id]") == 0
    assert parquet.read_table("found.parquet")["id"].to_pylist() == ["x", None]


TAKEN = "output=taken.csv exists already. Remove it, choose another name, or replace it with output.overwrite=true."


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["output.columns=[ida]"], ["output.columns: there is no column `ida`. Did you mean id?"]),
        (["output.columns=id"], ['output.columns: "id" is not a list or null']),
        (["output.overwrite=yes"], ['output.overwrite: "yes" is not true or false']),
        (["output.column=[id]"], ["output.column: unknown key. Did you mean columns?"]),
        (["output=folder.csv", "output.overwrite=true"], ["output=folder.csv is a folder"]),
        (["output={path: found.csv, columns: 3}"], ["output.columns: 3 is not a list"]),
        # All at once:
        (["output=taken.csv", "output.columns=[ida]"], [TAKEN, "no column `ida`"]),
        (["output=taken.csv", "data.split=tset"], [TAKEN, "no split tset. Did you mean test?"]),
        (
            ["output=taken.csv", "data.path=lacking.csv"],
            [TAKEN, "data.path: there is no file ", "[set by the command line (data.path=lacking.csv)]"],
        ),
        (
            ["output=taken.csv", "data.path=lacking.csv", "data.delimitr=x", "data.split=1"],
            [TAKEN, "data.path: there is no ", "data.delimitr: unknown parameter", "data.split: 1 is no"],
        ),
        (
            ["output=taken.csv", "data.on_missing=fil", "loss=mae", "epochs=2", "data.delimiter=comma)"],
            [TAKEN, 'data.on_missing: "fil" is', "loss=mae, epochs=2: not allowed for the finished run", "comma): not"],
        ),
        (
            ["data.path=new.csv", "data.split=test"],
            ["data.split: test is a split of the run's own data, and the command names other rows. Leave one of them"],
        ),
    ],
)
def test_wrong_words_about_the_output_are_errors(
    folder: Path, words: list[str], messages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken.csv").touch()
    Path("folder.csv").mkdir()
    files = {*Path().iterdir()}
    assert command(folder, "output=found.csv", *words) == 2
    error = capsys.readouterr().err
    assert [message for message in messages if message not in error] == []
    assert {*Path().iterdir()} == files


@pytest.mark.parametrize("run", [[], ["run=lacking"]])
def test_the_command_for_an_unknown_run_reports_its_other_mistakes_too(
    in_empty_folder: Path, run: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken.csv").touch()
    words = ["data=csv", "data.path=lacking.csv", "output=taken.csv", "output.columns=id"]
    assert main(["mode=predict", *run, *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    run_line = "run=lacking: there is no such run below outputs. It has no runs."
    if not run:
        example = "titrate mode=predict run=last data.path=new.csv output=predictions.csv"
        run_line = "run: is missing from the command line. Set it to a run's folder or MLflow id, or to last (see "
        run_line += f"mode=runs): {example}"
    which = "the finished run lacking" if run else "a finished run, which mode=predict reads"
    forbidden = f"data=csv: not allowed for {which}. Leave this out."
    expected = [forbidden, run_line] if not run else [run_line, forbidden]
    expected += ['output.columns: "id" is not a list', TAKEN, "data.path: there is no "]
    assert len(lines) == len(expected)
    assert [line for line, start in zip(lines, expected, strict=True) if not line.startswith(start)] == []


def test_a_copied_column_can_t_have_the_name_of_a_prediction(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.csv").write_text("prediction,area,when,where\nx,1,2024-01-02,north\n")
    words = ("data.path=new.csv", "output=found.csv", "output.columns=[prediction]")
    assert command(folder, *words) == 2
    assert "`prediction` is the name of a column of the predictions too. Rename it in the data" in (
        capsys.readouterr().err
    )


def test_the_output_is_for_predictions_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["output=found.csv"]) == 2
    assert "output.path: is allowed for mode=predict and mode=convert only" in capsys.readouterr().err
    assert main(["mode=train", "output.columns=[id]"]) == 2
    assert "output.columns: is allowed for mode=predict and mode=convert only" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ rows of a function

MODULE = """
def rows(count, first=0):
    for row in range(first, first + count):
        yield {"x": row % 7 - 3.5, "label": row % 2}
"""
FEATURE = """
# A number and a class.
target: {_target_: components.feature.Label, key: label}
columns: {x: {_target_: components.feature.Numeric, key: x}}
inputs: {x: [x]}
"""


def test_rows_of_a_function_with_other_arguments_are_new_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(Path.cwd())
    Path("yields_rows.py").write_text(MODULE)
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/mine.yaml").write_text(FEATURE)
    allow = ("--allow", "yields_rows")
    function = "data.function={_target_: yields_rows.rows, count: 40}"
    words = ("architecture=mlp", "feature=mine", "data=generator", function, *QUICK, *allow)
    assert main([*words]) == 0
    new = ("run=last", "data.function.count=5", "data.function.first=3", *allow)
    assert main(["mode=predict", "output=found.csv", *new]) == 0
    found = csv.read_csv("found.csv").to_pydict()
    assert found["row"] == [*range(5)]
    assert found["target"] == [1, 0, 1, 0, 1]
    assert main(["mode=evaluate", *new]) == 0
    out = capsys.readouterr().out
    assert main(["mode=predict", "output=none.csv", *new, "data.function.count=0"]) == 2
    assert "data.function: yields_rows.rows yielded no row" in capsys.readouterr().err
    assert "5 predictions for the rows of yields_rows.rows are in found.csv" in out
    assert re.search(r"rows of +loss.*\nyields_rows\.rows ", out)
