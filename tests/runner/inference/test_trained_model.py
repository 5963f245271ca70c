"""A trained model: reproduces the metrics of its run, predicts splits and new rows, and writes files."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas
import pyarrow
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv, parquet

import runner
from components.data import Arrays
from components.types import UserError
from runner import npz
from runner.__main__ import main
from runner.execution.execute import Result
from runner.inference import image_output, output
from runner.inference.load_model import load_model
from runner.inference.trained_model import TrainedModel
from runner.record.predictions import load_predictions

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK = ("training.epochs=2", "tracking=none", "quiet=true", "architecture.widths=[8]")
ROWS = 60


def columns() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (ROWS, 8, 8, 1), np.uint8),
        "x": random.normal(5, 3, ROWS),
        "y": random.normal(-2, 9, (ROWS, 2)),
        "text": np.array(["ab" * (row % 7) for row in range(ROWS)]),
        "label": np.array(["cat", "dog", "eel"])[np.arange(ROWS) % 3],
    }


def source(**changed: Any) -> Arrays:
    return Arrays(columns=columns() | changed, valid=12, test=12, seed=0)


def train(*overrides: str, **changed: Any) -> Result:
    return runner.run(*QUICK, *overrides, source=source(**changed))


def option(group: str, name: str, content: Mapping[str, Any]) -> str:
    """Writes an option into the user's own `conf/`. Returns the override that chooses it."""
    path = Path("conf", group, f"{name}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(content)))
    return f"{group}={name}"


def table(target: str) -> str:
    """Writes a feature file with one column and a real-valued target. Returns the override that chooses it."""
    numeric = "components.feature.Numeric"
    return option(
        "feature",
        f"of_{target}",
        {
            "target": {"_target_": numeric, "key": target, "normalize": "z_score"},
            "columns": {"x": {"_target_": numeric, "key": "x", "normalize": "z_score"}},
            "inputs": {"x": ["x"]},
        },
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on images."""
    with jax.numpy_dtype_promotion("standard"):
        return train(f"folder={tmp_path_factory.mktemp('runs')}").folder


@pytest.fixture(scope="module")
def fitted(folder: Path) -> TrainedModel:
    return load_model(folder, source=source())


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of the run folder, which a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "outputs" / folder.name))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run for the command line."""
    with jax.numpy_dtype_promotion("standard"):
        return runner.run(*QUICK, f"folder={tmp_path_factory.mktemp('digits')}").folder


def test_evaluate_reproduces_the_metrics_of_the_run_exactly(folder: Path, fitted: TrainedModel) -> None:
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    for split in ("test", "valid"):
        prefix = "best/valid/" if split == "valid" else "test/"
        expected = {f"{split}/{name}": metrics[f"{prefix}{name}"] for name in ("loss", "accuracy")}
        assert fitted.evaluate(split) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("training.precision=bfloat16", "feature.target.weight=balanced"),
        ("training.batch_size=7", "metric=[accuracy,top_k]", "metric.top_k.k=2"),
        ("folds=3", "fold=1", "training.evaluation_batch_size=5", "learning_rate=1"),
        ("feature.columns.image.normalize=standardize", "schedule=cosine", "architecture.dropout=0.3"),
    ],
    ids=lambda overrides: overrides[0].partition("=")[0],
)
def test_the_metrics_of_other_kinds_of_runs_are_reproduced_too(overrides: tuple[str, ...]) -> None:
    result = train(*overrides)
    expected = {name: value for name, value in result.metrics.items() if name.startswith("test/")}
    assert load_model(result.folder, source=source()).evaluate() == expected != {}


@pytest.mark.slow
def test_a_run_with_limit_batches_is_evaluated_on_whole_splits() -> None:
    fitted = load_model(train("training.limit_batches=1", "training.batch_size=7").folder, source=source())
    assert len(fitted.predict_with_losses("train")[0].row) > 7


def test_rows_without_column_names_are_an_error(fitted: TrainedModel) -> None:
    with pytest.raises(
        UserError,
        match=r"type ndarray\. Pass the name of a split, or new rows as a data frame, .*: \{'image': \[…\]\}",
    ):
        fitted.predict(np.zeros((2, 8, 8, 1)))  # type: ignore[arg-type]


def test_the_predictions_of_a_split_agree_with_its_metrics(fitted: TrainedModel) -> None:
    found, (recorded,) = fitted.predict("test"), fitted.predict_with_losses("test")
    assert found.target is not None
    assert found.probabilities is not None
    assert (found.prediction == found.target).mean() == pytest.approx(fitted.evaluate()["test/accuracy"])
    assert recorded.loss.mean() == pytest.approx(fitted.evaluate()["test/loss"])
    np.testing.assert_array_equal(found.target, columns()["label"][found.row])
    np.testing.assert_array_equal(recorded.row, found.row)
    np.testing.assert_array_equal(np.array(recorded.classes)[recorded.prediction], found.prediction)
    np.testing.assert_array_equal(recorded.probability.astype(np.float32), found.probabilities.max(1))
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-6)
    assert list(found.columns()) == [
        *("row", "target", "prediction"),
        *("probability_cat", "probability_dog", "probability_eel"),
    ]


def test_predict_with_losses_returns_the_predictions_that_the_run_recorded(folder: Path, fitted: TrainedModel) -> None:
    (recorded,), (found,) = load_predictions(folder), fitted.predict_with_losses("test")
    for name, value in vars(found).items():
        np.testing.assert_array_equal(value, getattr(recorded, name), err_msg=name)


@pytest.fixture(scope="module")
def probabilities(fitted: TrainedModel) -> np.ndarray:
    """The predicted probabilities of all rows."""
    found = fitted.predict({"image": columns()["image"]}).probabilities
    assert found is not None
    return found


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_the_prediction_of_a_row_does_not_depend_on_the_other_rows(
    folder: Path, probabilities: np.ndarray, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=40))
    batch_size = data.draw(st.sampled_from([1, 3, 256]))
    found = with_batch_size(folder, batch_size).predict({"image": columns()["image"][rows]})
    assert found.target is None
    assert found.row.tolist() == list(range(len(rows)))
    np.testing.assert_allclose(found.probabilities, probabilities[rows], rtol=1e-5, atol=1e-6)


MODELS_BY_BATCH_SIZE: dict[int, TrainedModel] = {}


def with_batch_size(folder: Path, size: int) -> TrainedModel:
    """The same model with another batch size."""
    if size not in MODELS_BY_BATCH_SIZE:
        copy = Path(shutil.copytree(folder, folder.parent / f"batches_of_{size}"))
        change_config(copy, lambda values: values["training"].update(evaluation_batch_size=size))
        MODELS_BY_BATCH_SIZE[size] = load_model(copy)
    return MODELS_BY_BATCH_SIZE[size]


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Changes the configuration in a run folder."""
    values = yaml.safe_load((folder / "config.yaml").read_text())
    change(values)
    (folder / "config.yaml").write_text(yaml.safe_dump(values))


def test_new_rows_get_the_same_predictions_as_the_same_rows_of_a_split(folder: Path, fitted: TrainedModel) -> None:
    known = fitted.predict("test")
    assert known.probabilities is not None
    found = load_model(folder).predict({"image": columns()["image"][known.row], "not read": [0] * len(known.row)})
    np.testing.assert_array_equal(found.prediction, known.prediction)
    np.testing.assert_allclose(found.probabilities, known.probabilities, rtol=1e-6)


def test_a_second_call_of_predict_compiles_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, image = load_model(folder, source=source()), columns()["image"]
    model.predict({"image": image[:3]})
    model.evaluate("test")
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.DEBUG):
        model.predict({"image": image[5:16]})
        model.evaluate("valid")
    assert not [record.message for record in caplog.records if "ompil" in record.message]


@pytest.mark.slow
def test_predicted_classes_have_the_type_of_the_classes_in_the_data(tmp_path: Path) -> None:
    labels = np.array([3, 10, 7])[np.arange(ROWS) % 3]
    result = train("training.epochs=1", label=labels)
    model = load_model(result.folder, source=source(label=labels))
    found = model.predict("test")
    assert model.classes == found.classes == (3, 7, 10)
    assert found.target is not None
    np.testing.assert_array_equal(found.target, labels[found.row])
    assert {*found.prediction.tolist()} <= {3, 7, 10}
    assert model.predict_with_losses("test")[0].classes == ("3", "7", "10"), (
        "recorded predictions have names of classes"
    )
    output.write_table(tmp_path / "found.parquet", found.columns())
    assert str(parquet.read_table(tmp_path / "found.parquet")["prediction"].type) == "int64"


def test_data_frames_with_missing_values_are_predicted() -> None:
    filled = {"_target_": "components.feature.Numeric", "key": "x", "normalize": "z_score", "missing": "mean"}
    feature = {
        "target": {"_target_": "components.feature.Label", "key": "label"},
        "columns": {"x": filled},
        "inputs": {"x": ["x"]},
    }
    frame = pandas.DataFrame({"x": columns()["x"], "label": columns()["label"]})
    frame.loc[3, "x"] = np.nan
    frame["whole"] = pandas.array([1, None] * (ROWS // 2), "Int64")
    whole = Arrays(columns=frame, valid=12, test=12, seed=0)
    result = runner.run(*QUICK, option("feature", "filled", feature), source=whole)
    model = load_model(result.folder, source=whole)
    assert model.evaluate()["test/loss"] == result.metrics["test/loss"]
    known = model.predict("test")
    for rows in (frame.iloc[known.row], pyarrow.table(frame.iloc[known.row]), dict(frame.iloc[known.row].items())):
        np.testing.assert_array_equal(model.predict(rows).prediction, known.prediction)
        assert model.evaluate(rows)["new/loss"] == pytest.approx(result.metrics["test/loss"], rel=1e-5)
    missing = [[None, 1.0], [pandas.NA, Decimal(1)], pandas.Series([None, 1], dtype="Int64"), np.array([np.nan, 1.0])]
    first, *others = [model.predict({"x": values}).probabilities for values in missing]
    for other in others:
        np.testing.assert_array_equal(other, first)
    transform = runner.load_transform(result.folder)
    for key, array in transform({"x": frame["x"].to_numpy()})["x"].items():
        np.testing.assert_array_equal(transform(frame)["x"][key], array)
    with pytest.raises(UserError, match="row 0 of the new rows: column `label` has no value"):
        model.evaluate(pandas.DataFrame({"x": [1.0], "label": [None]}))


def test_the_folder_of_a_result_does_not_depend_on_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    result = train("folder=here", "training.epochs=1")
    model = load_model(Path("here", result.folder.name))
    monkeypatch.chdir("/")
    assert result.folder.is_absolute()
    assert model.folder == result.folder


def test_the_evaluation_batch_size_is_at_most_the_largest_evaluated_split(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folder, folder.parent / "large_batches"))
    change_config(copy, lambda values: values["training"].update(evaluation_batch_size=10**9))
    model = load_model(copy, source=source())
    assert model.evaluate()["test/loss"] == pytest.approx(load_model(folder, source=source()).evaluate()["test/loss"])
    assert model.evaluator.evaluation_batch_size == 12


def test_new_rows_are_encoded_with_the_constants_of_the_training_split() -> None:
    result = train(table("y"), "loss=mse", "metric=[rmse]")
    model, rows = load_model(result.folder, source=source()), columns()
    known = model.predict("test")
    single = load_model(result.folder).predict({"x": [rows["x"][7]]})
    all_rows = load_model(result.folder).predict({"x": rows["x"]})
    assert model.classes is known.probabilities is None
    assert known.prediction.shape == (12, 2)
    assert known.prediction.dtype == np.float64
    np.testing.assert_allclose(known.target, rows["y"][known.row], rtol=1e-5)
    np.testing.assert_allclose(known.prediction, all_rows.prediction[known.row], rtol=1e-5)
    np.testing.assert_allclose(single.prediction, all_rows.prediction[7:8], rtol=1e-5)
    error = np.sqrt(np.square(known.prediction - rows["y"][known.row]).mean())
    assert model.evaluate()["test/rmse"] == pytest.approx(error, rel=1e-5)
    assert list(known.columns()) == ["row", "target_0", "target_1", "prediction_0", "prediction_1"]


@pytest.mark.parametrize("normalize", ["z_score", pytest.param(["log", "z_score"], marks=pytest.mark.slow)])
def test_predictions_and_errors_far_from_0_are_precise(normalize: Any) -> None:
    """float32 has a spacing of 128 near 1.6e9."""
    numeric = {"_target_": "components.feature.Numeric", "normalize": "z_score"}
    feature = {
        "target": numeric | {"key": "seconds", "normalize": normalize},
        "columns": {"x": numeric | {"key": "x"}},
        "inputs": {"x": ["x"]},
    }
    x = columns()["x"]
    seconds = 1.6e9 + 100 * np.sin(x)
    overrides = (option("feature", "seconds", feature), "loss=mse", "metric=[rmse,mae]", "learning_rate=0.01")
    result = train(*overrides, "training.epochs=20", seconds=seconds)
    model = load_model(result.folder, source=source(seconds=seconds))
    known, new = model.predict("test"), model.predict({"x": x})
    np.testing.assert_allclose(known.target, seconds[known.row], rtol=0, atol=1e-3)
    np.testing.assert_allclose(known.prediction, new.prediction[known.row], rtol=0, atol=1e-3)
    errors = known.prediction - seconds[known.row]
    assert len(np.unique(known.prediction)) > 10
    assert result.metrics["test/rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-4)
    assert result.metrics["test/mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)
    assert 1 < result.metrics["test/rmse"] < 150
    (recorded,) = load_predictions(result.folder)[:1]
    np.testing.assert_allclose(recorded.target[:, 0], seconds[recorded.row], rtol=0, atol=1e-3)


def test_the_data_of_a_run_are_encoded_with_its_own_constants() -> None:
    """Rounded otherwise, as on another machine, the mean may lead to another encoding of the same numbers."""
    folder = train(table("y"), "loss=mse", "metric=[rmse]").folder
    expected = load_model(folder, source=source()).evaluate()
    meta, arrays, _ = npz.read(folder / "transform.npz")
    for name in ("x", "target"):
        assert not arrays[f"{name}/host/shift"].any()
        arrays[f"{name}/host/shift"] += 64
        arrays[f"{name}/device/data_offset"] = np.float32(arrays[f"{name}/device/offset"])
        arrays[f"{name}/device/data_divisor"] = np.float32(arrays[f"{name}/device/divisor"])
        arrays[f"{name}/device/offset"] -= 64
    npz.write(folder / "transform.npz", arrays, meta)
    assert load_model(folder, source=source()).evaluate() == pytest.approx(expected, rel=1e-4)


def test_folds_with_one_program_decode_with_their_own_constants() -> None:
    """The folds' numbers are encoded differently, because one fold lacks the outlier."""
    y = 1e6 + np.arange(ROWS) % 7
    y[source().folds(2, 0)["valid"][0]] = 1e9
    for fold in (0, 1):
        result = train(table("y"), "loss=mse", "metric=[mae]", "folds=2", f"fold={fold}", "training.batch_size=8", y=y)
        (recorded,) = [each for each in load_predictions(result.folder) if each.split == "test"]
        np.testing.assert_allclose(recorded.target[:, 0], y[recorded.row], rtol=1e-5)
        errors = np.abs(recorded.prediction - recorded.target)
        assert result.metrics["test/mae"] == pytest.approx(errors.mean(), rel=1e-4)


@pytest.mark.slow
def test_a_single_output_is_one_column() -> None:
    result = train(table("y"), "loss=mse", "metric=[]", y=np.arange(ROWS))
    found = load_model(result.folder).predict({"x": range(3)})
    assert {name: values.shape for name, values in found.columns().items()} == {"row": (3,), "prediction": (3,)}


@pytest.mark.slow
def test_a_model_with_ragged_columns_and_the_users_own_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "titrate")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "helpers"))
    monkeypatch.setenv("TITRATE_ALLOW", "parts")
    feature = {
        "target": {"_target_": "components.feature.Label", "key": "label"},
        "columns": {"text": {"_target_": "parts.Tokens", "key": "text"}},
        "inputs": {"tokens": ["text"]},
    }
    words = (option("feature", "text", feature), option("architecture", "mean", {"_target_": "parts.MeanEmbedding"}))
    result = runner.run(*QUICK[:3], *words, source=source())
    model = load_model(result.folder, source=source())
    known = model.predict("test")
    assert known.probabilities is not None
    assert model.evaluate()["test/loss"] == result.metrics["test/loss"]
    found = load_model(result.folder).predict({"text": columns()["text"][known.row]})
    np.testing.assert_allclose(found.probabilities, known.probabilities, rtol=1e-5)
    assert load_model(result.folder).predict({"text": ["a" * 999]}).prediction.shape == (1,)
    model.evaluate({"text": ["a" * 99] * 12, "label": ["cat", "dog", "eel"] * 4})
    assert "compiled the evaluation for 12 examples (text padded to 128 values)" in caplog.messages, "the second time"
    monkeypatch.delenv("TITRATE_ALLOW")
    with pytest.raises(UserError, match=r"parts\.Tokens is not in an allowed package.*--allow"):
        load_model(result.folder)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "there are no rows"),
        ({"image": np.zeros((0, 8, 8, 1), np.uint8)}, "there are no rows"),
        ({"imgae": [0]}, r"no column `image` in the new rows. Did you mean imgae\?"),
        (
            {"image": np.ones((2, 8, 8, 1))},
            "has floats up to 1, which may be from 0 to 1 or from 0 to 255",
        ),
        (
            {"image": np.zeros((2, 8))},
            r"column `image` of the new rows has arrays of whole numbers of shape \(8,\) \(uint8\)",
        ),
        (
            {"image": np.zeros((2, 8, 7, 1), np.uint8)},
            r"has 8 x 7 pixels and 1 channel, where the training split has 8 x 8 pixels and 1 channel; "
            r"arrays are \(rows, height, width, channels\); resize it to 8 x 8 pixels$",
        ),
        ({"image": [[0], [0, 1]]}, "column `image` of the new rows has rows of different lengths"),
        ({"image": 3}, "column `image` is 3, not an array"),
        ({"image": np.zeros((2, 8, 8, 1), np.uint8), "x": [1]}, "the same number of rows, got image 2, x 1"),
        ("tset", r"there is no split tset. Did you mean test\? Allowed: test, train, valid\."),
    ],
)
def test_wrong_rows_are_an_error(fitted: TrainedModel, rows: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted.predict(rows)


def test_a_number_is_not_broadcast_to_a_vector() -> None:
    numeric = "components.feature.Numeric"
    feature = {
        "target": {"_target_": numeric, "key": "x"},
        "columns": {"y": {"_target_": numeric, "key": "y", "normalize": "z_score"}},
        "inputs": {"y": ["y"]},
    }
    model = load_model(train(option("feature", "vector", feature), "loss=mse", "metric=[]").folder)
    message = "column `y` of the new rows has 1 numbers in each row; in training there were 2"
    with pytest.raises(UserError, match=message):
        model.predict({"y": [1.0, 2.0]})


def test_the_error_for_a_wrong_value_names_its_row_and_column() -> None:
    model = load_model(train(table("y"), "loss=mse", "metric=[]").folder)
    wrong_values = (("old", "is 'old'; a number is needed"), (None, "has no value"), (np.nan, "is nan; a finite"))
    for value, message in wrong_values:
        with pytest.raises(UserError, match=f"row 2 of the new rows: column `x` {message}"):
            model.predict({"x": [1.0, 2.0, value]})


def test_a_run_is_found_by_its_path_its_name_or_its_mlflow_run_id(copied: Path) -> None:
    (copied / "delivered.json").write_text(json.dumps({"run_id": "abcdef"}))
    for name in (copied, copied.name, "abcdef"):
        assert load_model(name).folder.resolve() == copied.resolve()
    assert load_model(copied.name, root=copied.parent).classes == ("cat", "dog", "eel")
    with pytest.raises(
        UserError, match=f"run=abcdeg: there is no such run below outputs. The newest runs: {copied.name}"
    ):
        load_model("abcdeg")


def test_other_data_is_an_error(folder: Path) -> None:
    other = load_model(folder, source=source(label=np.roll(columns()["label"], 1)))
    with pytest.raises(UserError, match="the data, or how it is split, has changed since the run was trained"):
        other.evaluate()


def test_a_folder_without_weights_is_an_error(copied: Path) -> None:
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(
        UserError,
        match="the run has no checkpoint that can be read: it was interrupted before the first one, or they were rem",
    ):
        load_model(copied)


def test_a_folder_that_is_not_a_run_is_an_error(copied: Path) -> None:
    record = json.loads((copied / "record.json").read_text())
    (copied / "record.json").write_text(json.dumps(record | {"kind": "sweep"}))
    with pytest.raises(UserError, match=r"is a sweep of which no runs have finished"):
        load_model(copied)


def test_a_run_of_an_earlier_version_gets_the_defaults_of_new_keys(copied: Path, fitted: TrainedModel) -> None:
    change_config(copied, lambda values: [values.pop("fold"), values["training"].pop("profile")])
    assert load_model(copied, source=source()).evaluate() == fitted.evaluate()


def test_the_command_cannot_use_data_from_python(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=evaluate", f"run={copied.name}"]) == 2
    assert (
        "the data of this run came from Python, as Arrays. Load the run in Python with the same data: runner.load("
        in capsys.readouterr().err
    )


def test_evaluate_prints_the_metrics_of_a_split(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads((digits / "summary.json").read_text())["metrics"]
    for words, split, prefix in ((["quiet=true"], "test", "test/"), (["data.split=valid"], "valid", "best/valid/")):
        assert main(["mode=evaluate", f"run={digits}", *words]) == 0
        printed = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["split", "loss", "accuracy"] in printed
        assert [split, *(f"{metrics[prefix + name]:.5g}" for name in ("loss", "accuracy"))] in printed
        assert ["status", "finished"] in printed
        assert ["95", "%"] in [line[:2] for line in printed]
    assert main(["mode=evaluate", f"run={digits}", "intervals=null"]) == 0
    assert "95 %" not in capsys.readouterr().out
    assert main(["mode=evaluate", f"run={digits}", "data.split=tets"]) == 2
    assert "no split tets. Did you mean test?" in capsys.readouterr().err


def test_predict_writes_a_new_file_only(
    digits: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_model(digits).predict("valid").columns()
    monkeypatch.setenv("HOME", str(Path().absolute()))
    paths = [f"run=~/{os.path.relpath(digits)}", "folder=~/runs", "output=~/found.parquet"]
    words = ["mode=predict", f"run={digits}", "data.split=valid", "output=found.parquet"]
    assert main([*words[:3:2], *paths]) == 0
    assert f"270 predictions for the valid split are in {Path('found.parquet').absolute()}" in capsys.readouterr().out
    found = parquet.read_table("found.parquet")
    assert found.column_names == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name].to_numpy(), values)
    assert main(words) == 2
    assert "output=found.parquet exists already. Remove it" in capsys.readouterr().err
    assert main([*words[:2], "output=found.csv", "quiet=true"]) == 0
    assert capsys.readouterr() == ("", "")
    assert csv.read_csv("found.csv").num_rows == 359


def test_predict_writes_targets_as_the_data_has_them(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices = np.random.default_rng(0).integers(100_000, 400_000, 80)
    Path("homes.csv").write_text("x,price\n" + "".join(f"{index},{price}\n" for index, price in enumerate(prices)))
    words = ["data=csv", "data.path=homes.csv", "architecture=mlp", "loss=mse", "metric=[mae]", "training.epochs=1"]
    assert main([*words, "tracking=none", "quiet=true", "data.target=price"]) == 0
    capsys.readouterr()
    assert main(["mode=predict", "run=last", "output=found.csv"]) == 0
    (run,) = Path("outputs").glob("2*")
    assert f"run=last is {run}" in capsys.readouterr().out
    found = csv.read_csv("found.csv").to_pydict()
    assert found["target"] == prices[found["row"]].tolist()
    assert list(found) == ["row", "target", "prediction"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("found.txt", ".txt is no format. Allowed: .csv, .json, .parquet"),
        ("found.parqet", "Did you mean .parquet?"),
        ("found", "the name must end with the format. Allowed: .csv"),
        ("lacking/found.csv", "there is no folder lacking. Create it"),
        ("file/found.csv", "file is no folder. Create it"),
    ],
)
def test_a_wrong_output_path_is_an_error_before_the_model_is_loaded(
    copied: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    Path("file").touch()
    shutil.rmtree(copied / "checkpoints")  # so that loading the model would be another error
    assert main(["mode=predict", f"run={copied}", f"output={name}"]) == 2
    assert message in capsys.readouterr().err


def test_an_output_in_a_folder_that_allows_no_file_is_an_error_before_the_model_is_loaded(
    copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copied / "checkpoints")
    Path("closed").mkdir()
    access = os.access  # the permissions of a folder don't bind root
    monkeypatch.setattr("os.access", lambda path, mode: str(path) != "closed" and access(path, mode))
    assert main(["mode=predict", f"run={copied}", "output=closed/found.csv"]) == 2
    assert "output=closed/found.csv can't be written: the folder closed allows no new file" in capsys.readouterr().err


NO_OUTPUTS = """
import flax.linen as nn
import jax
from components.types import Output

class Encoder(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        return Output(None, {"size": (nn.Dense(2, name="dense")(inputs) ** 2).mean(1)})
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("feature.target=null", "loss=null"), "has no target, so it has no outputs to predict. mode=evaluate shows"),
        (("loss=mse",), "the architecture returns no logits, so the run has no outputs to predict"),
    ],
)
def test_a_run_without_outputs_predicts_nothing(
    write_module: Callable[[str, str], None], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    write_module("own", NO_OUTPUTS)
    encoder = option("architecture", "encoder", {"_target_": "own.Encoder"})
    words = ("data=diabetes", "feature=diabetes", encoder, "metric=[]", "training.limit_batches=1", *words)
    folder = runner.run(*words, *(word for word in QUICK if not word.startswith("architecture"))).folder
    model = load_model(folder)
    table = {name: np.zeros(2) for column in model.features.columns.values() for name in column.keys}
    for rows in ("test", table):
        with pytest.raises(UserError, match=message):
            model.predict(rows)
    assert model.evaluate("test")["test/size"] > 0
    files = set(Path().iterdir())
    capsys.readouterr()
    assert main(["mode=predict", f"run={folder}", "output=found.csv", "quiet=true"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert set(Path().iterdir()) == files


def test_files_of_all_formats_hold_the_same_values(tmp_path: Path) -> None:
    columns = {
        "row": np.arange(4),
        "prediction": np.array(['a "b", c', "d\ne", "é", "1"]),
        "share": np.array([0.1, 1e-30, np.nan, np.inf], np.float32),
    }
    for suffix in output.WRITERS:
        output.write_table(tmp_path / f"table{suffix}", columns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.json", "table.parquet"]
    options = csv.ParseOptions(newlines_in_values=True)
    from_csv = csv.read_csv(tmp_path / "table.csv", parse_options=options).to_pydict()
    from_parquet = parquet.read_table(tmp_path / "table.parquet").to_pydict()
    text = (tmp_path / "table.json").read_text()
    from_json = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    for found in (from_csv, from_parquet, {name: [record[name] for record in from_json] for name in columns}):
        assert found["row"] == [0, 1, 2, 3]
        assert found["prediction"] == columns["prediction"].tolist()
        assert np.array(found["share"][:2], np.float32).tolist() == columns["share"][:2].tolist()
    assert [record["share"] for record in from_json] == [0.1, 1e-30, None, None]


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(columns: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(output.WRITERS, ".csv", fail)
    with pytest.raises(UserError, match=r"table.csv can't be written: No space left on device"):
        output.write_table(tmp_path / "table.csv", {"row": np.arange(2)})
    assert list(tmp_path.iterdir()) == []

    def read() -> Iterator[Any]:
        yield from ()
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):  # it isn't said to be of the folder
        image_output.write_images(read(), {}, {}, tmp_path / "images")
    with pytest.raises(UserError, match="images can't be written: No such file or directory"):
        image_output.write_images(read(), {}, {}, tmp_path / "none" / "images")
    assert list(tmp_path.iterdir()) == []


def test_overrides_must_fit_the_run(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=evaluate", f"run={digits}", "data.sed=1"]) == 2
    assert "data.sed: unknown parameter of components.data.ScikitLearn. Did you mean seed?" in capsys.readouterr().err
    assert main(["mode=evaluate", f"run={digits}", "data.valid=0.3"]) == 2
    assert "the data, or how it is split, has changed since the run was trained" in capsys.readouterr().err
    assert main(["mode=evaluate", f"run={digits}", "optimizer=sgd", "seed=3"]) == 2
    assert "optimizer=sgd, seed=3: not allowed for the finished run" in capsys.readouterr().err
    assert main(["mode=evaluate", f"run={digits}", "tracking=bogus"]) == 2
    assert "tracking: unknown option bogus. " in capsys.readouterr().err


def test_a_change_of_the_code_is_a_warning(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads((digits / "record.json").read_text())
    before = record["tags"]["code"]
    (digits / "record.json").write_text(json.dumps(record | {"tags": record["tags"] | {"code": "another"}}))
    assert main(["mode=evaluate", f"run={digits}"]) == 0
    assert (
        f"warning: code was another, is {before}: results may differ from those of the run" in capsys.readouterr().out
    )
    (digits / "record.json").write_text(json.dumps(record))
