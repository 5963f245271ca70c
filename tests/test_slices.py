"""Metrics of slices: of the rows with each value of a column."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

import runner
from components.data import Arrays
from components.types import UserError
from runner import figures
from runner.__main__ import main
from runner.data.slices import MISSING
from runner.inference import trained_model
from runner.tracking.names import name_final_metric, name_slices
from runner.training import example_sums
from runner.training.evaluator import Evaluator

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

ROWS = 40  # of each held-out split
CITIES = ("Rome", "Oslo", "A/B")
FEATURE = """
columns:
  x: {_target_: components.feature.Numeric, key: x}
  age_bucket: {_target_: components.feature.Bucketized, key: age, boundaries: [20, 40]}
  unused: {_target_: components.feature.Bucketized, key: age, boundaries: [30]}
inputs: {inputs: [x, age_bucket]}
target: {_target_: components.feature.Label, key: kind, missing: mask}
weight: w
"""
WORDS = (
    *("feature=mine", "architecture=mlp", "architecture.widths=[4]", "training.epochs=1", "training.batch_size=16"),
    *("optimizer=sgd", "tracking=none", "metric=[accuracy,auc]", "intervals=null", "training.monitor=valid/accuracy"),
)
SLICES = "metric_slices=[city,age_bucket]"


@pytest.fixture(autouse=True)
def feature(in_empty_folder: Path) -> None:
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/mine.yaml").write_text(FEATURE)


def columns() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(3 * ROWS, 2)).astype(np.float32)
    kind = np.where(x[:, 0] + random.normal(size=len(x)) > 0, "yes", "no").astype(object)
    city = random.choice([*CITIES, None], len(x), p=[0.4, 0.3, 0.2, 0.1])
    kind[city == "Oslo"] = "no"  # so its AUC is undefined
    kind[::7] = None
    age = random.choice([5.0, 20.0, 39.5, 60.0], len(x))
    age[::11] = np.nan
    weight = random.integers(0, 4, len(x)).astype(np.float32)
    return {"x": x, "kind": kind, "city": city, "age": age, "w": weight, "id": np.arange(len(x))}


def source() -> Arrays:
    return Arrays(columns=columns(), valid=ROWS, test=ROWS)


def by_value(slices: Any, column: str) -> dict[str, Mapping[str, Any]]:
    return {each["value"]: each for each in slices if each["column"] == column}


def test_the_metrics_of_slices_are_those_of_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    result = runner.run(*WORDS, SLICES, source=source())
    printed = capsys.readouterr().out.splitlines()
    assert list(result.slices) == ["test", "valid"]
    model, data = runner.load(result.folder, source=source()), columns()
    for split, slices in result.slices.items():
        rows = source().splits()[split]
        probability = np.asarray(model.predict(split).probabilities)[:, 1]
        cities = by_value(slices, "city")
        assert list(cities) == [*sorted(CITIES), MISSING]
        for value, own in cities.items():
            is_in = np.array([(each or MISSING) == value for each in data["city"][rows]])
            check_slice(own, data, rows[is_in], probability[is_in])
        buckets = {"below 20": [5], "20 to 40": [20, 39.5], "40 or more": [60]}
        for value, ages in buckets.items():
            own = by_value(slices, "age_bucket")[value]
            is_in = np.isin(data["age"][rows], ages) if value != "40 or more" else ~(data["age"][rows] < 40)
            check_slice(own, data, rows[is_in], probability[is_in])
        assert json.dumps([each.to_plain() for each in model.evaluate_slices(split)]) == json.dumps([*slices])
        assert sum(each["rows"] for each in cities.values()) == ROWS
    check_report(printed, by_value(result.slices["test"], "city"))
    check_files(result)


def check_slice(own: Mapping[str, Any], data: Mapping[str, Any], rows: np.ndarray, probability: np.ndarray) -> None:
    assert own["rows"] == len(rows)
    known = np.array([each is not None for each in data["kind"][rows]])
    is_yes, probability, weight = data["kind"][rows][known] == "yes", probability[known], data["w"][rows][known]
    for prefix, weights in (("", None), ("weighted/", weight)):
        accuracy = sklearn.metrics.accuracy_score(is_yes, probability > 0.5, sample_weight=weights)
        assert own["metrics"][f"{prefix}accuracy"] == pytest.approx(accuracy)
        counts = np.ones(len(is_yes), bool) if weights is None else weights > 0
        if len(np.unique(is_yes[counts])) == 1:
            assert math.isnan(own["metrics"][f"{prefix}auc"])
            assert own["undefined"][f"{prefix}auc"] == f"only the class {'yes' if is_yes[counts][0] else 'no'}"
        else:
            auc = sklearn.metrics.roc_auc_score(is_yes, probability, sample_weight=weights)
            assert own["metrics"][f"{prefix}auc"] == pytest.approx(auc)


def check_report(printed: list[str], cities: Mapping[str, Mapping[str, Any]]) -> None:
    """The worst city is the first, and an undefined metric says why."""
    start = printed.index("test by city, the worst accuracy first")
    heading, *lines = printed[start + 1 : start + 6]
    assert heading.split() == ["city", "rows", *cities["Rome"]["metrics"]]
    shown = [next(value for value in cities if line.split()[0] == value) for line in lines[: len(cities)]]
    accuracies = [cities[value]["metrics"]["accuracy"] for value in shown]
    assert accuracies == sorted(accuracies)
    assert len(shown) == len(cities)
    assert "—" in next(line for line in lines if line.split()[0] == "Oslo").split()
    reasons = [line.partition("auc, weighted/auc of ")[2] for line in printed if line.startswith("—")]
    assert "city=Oslo: the rows have only the class no" in reasons


def check_files(result: runner.Result) -> None:
    """The summary has the slices, MLflow gets those that are defined apart from the curves, and there is a figure."""
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["slices"]["test"][0]["column"] == "city"
    names = name_slices(summary["slices"])
    assert names["slices/test/city/A_B/rows"] == by_value(result.slices["test"], "city")["A/B"]["rows"]
    assert "slices/test/city/Oslo/accuracy" in names
    assert "slices/test/city/Oslo/auc" not in names
    assert all(name_final_metric(name) == f"system/{name}" for name in names)
    assert not any(name.startswith("slices") for name in result.metrics)
    assert {path.name for path in figures.draw(result.folder)} > {"slices_test.png", "slices_valid.png"}


def test_slices_do_not_change_which_run_a_command_is_and_new_rows_have_them_too() -> None:
    result = runner.run(*WORDS, source=source())
    assert not result.slices
    assert runner.run(*WORDS, SLICES, "fresh=true", source=source()).folder.name[-10:] == result.folder.name[-10:]
    model, data = runner.load(result.folder, source=source()), columns()
    rows = source().splits()["test"]
    of_split = model.evaluate_slices("test", ["city", "age_bucket"])
    new = model.evaluate_slices({name: values[rows] for name, values in data.items()}, ["city", "age_bucket"])
    assert [each.value for each in new] == [each.value for each in of_split]
    for ours, other in zip(new, of_split, strict=True):
        assert ours.metrics == pytest.approx(other.metrics, nan_ok=True)
    assert model.evaluate_slices("test") == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["citi"], r"metric_slices: there is no column `citi`\. Did you mean city\? Columns: age, city, id, kind, w\."),
        (
            ["id"],
            r"`id` has 80 values in the evaluated rows, and at most 50 slices .* Bucketized, .*id_group: id // 10",
        ),
        (["x"], r"each value of `x` is an array\. .*single values: age, city, id"),
        (["unused"], r"the feature column `unused` has no buckets that an input lists\. Choose a column of the data"),
    ],
)
def test_a_column_that_makes_no_slices_is_an_error_before_the_run(names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        runner.run(*WORDS, f"metric_slices=[{','.join(names)}]", source=source())
    assert not Path("outputs").exists()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that take long, as they are called."""
    called: list[str] = []
    functions = (
        *((Evaluator, "_evaluate_batches"), (trained_model, "encode_labeled")),
        *((example_sums, "_sum_losses"), (example_sums, "_sum_metrics")),
    )
    for owner, name in functions:
        function = getattr(owner, name)

        def call(*given: Any, name: str = name, function: Any = function, **options: Any) -> Any:
            called.append(name.removeprefix("_"))
            return function(*given, **options)

        monkeypatch.setattr(owner, name, call)
    return called


def test_the_commands_of_a_table_print_slices_and_apply_the_model_once(
    capsys: pytest.CaptureFixture[str], calls: list[str]
) -> None:
    random = np.random.default_rng(0)
    lines = [f"{a:.3f},{'red' if a > 0.3 else 'blue'},{a * 2:.3f}" for a in random.normal(size=120)]
    Path("table.csv").write_text("\n".join(["a,color,price", *lines]) + "\n")
    words = [
        "data=csv",
        "data.path=table.csv",
        "data.target=price",
        "training.epochs=1",
        "tracking=none",
        "data.valid=40",
    ]
    assert main([*words, "metric_slices=[color]", "architecture.widths=[4]"]) == 0
    assert "test by color, the worst loss first" in capsys.readouterr().out
    calls.clear()
    assert main(["mode=evaluate", "run=last", "data.split=valid", "intervals=100"]) == 0
    printed = capsys.readouterr().out
    assert "valid by color, the worst loss first" in printed
    assert " to " in printed, "there are intervals"
    assert calls == ["evaluate_batches", "sum_metrics", "sum_losses"]
    calls.clear()
    assert main(["mode=evaluate", "run=last", "data.path=table.csv", "metric_slices=[color]"]) == 0
    assert "new rows by color, the worst loss first" in capsys.readouterr().out
    assert calls == ["encode_labeled", "evaluate_batches", "sum_metrics", "sum_losses"]
    assert main(["mode=evaluate", "run=last", "metric_slices=[]"]) == 0
    assert " by color" not in capsys.readouterr().out


WINDOWS = """
target: {_target_: components.feature.Numeric, key: load, normalize: z_score, missing: mask}
columns: {load: {_target_: components.feature.Numeric, key: load, normalize: z_score, missing: mean}}
inputs: {inputs: [load]}
"""


def test_slices_and_intervals_of_windows_count_the_positions_that_are_known() -> None:
    random, hours = np.random.default_rng(0), np.repeat(np.arange(100), 2)
    load = random.normal(size=200).round(3)
    load[-5] = np.nan
    table = {"hour": hours, "store": np.tile(["north", "south"], 100), "load": load}
    Path("conf/feature/windows.yaml").write_text(WINDOWS)
    words = [word for word in WORDS if not word.startswith(("feature", "metric", "intervals", "training.monitor"))]
    words += ["feature=windows", "loss=mse", "metric=[rmse,r2]", "data.split_by=hour", "data.test=90", "data.valid=40"]
    words += ["intervals=100", "quiet=true", "metric_slices=[store]"]
    examples = "examples={option: windows, size: 5, horizon: 3, by: store, time: hour}"
    result = runner.run(*words, examples, data=table)
    predicted = runner.load(result.folder, data=table).predict("test").columns()
    error, target = (np.stack([predicted[f"{name}_{k}"] for k in range(3)], 1) for name in ("prediction", "target"))
    error -= target
    assert np.isnan(error).sum() == 3, "one number is in three windows"
    scale = np.nanstd(load[:70])
    for value, own in by_value(result.slices["test"], "store").items():
        squares = np.square(error[predicted["store"] == value])
        assert own["metrics"]["rmse"] == pytest.approx(np.sqrt(np.nanmean(squares)), rel=1e-4)
        assert own["metrics"]["loss"] == pytest.approx(np.nanmean(squares) / scale**2, rel=1e-3)
    low, high = result.intervals["test/loss"]
    assert low < result.metrics["test/loss"] < high


@pytest.mark.slow
def test_slices_reach_mlflow(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.execution.execute.DELIVERY_SECONDS", 60)
    uri = f"sqlite:///{database}"
    result = runner.run(*WORDS, SLICES, "tracking=mlflow", f"tracking.uri={uri}", "quiet=true", source=source())
    with closing(sqlite3.connect(database)) as connection:
        metrics = dict(connection.execute("SELECT key, value FROM latest_metrics"))
    for value, own in by_value(result.slices["test"], "city").items():
        if value in ("Rome", "Oslo"):
            assert metrics[f"system/slices/test/city/{value}/accuracy"] == own["metrics"]["accuracy"]


IMAGES = ("architecture.widths=[4]", "tracking=none", "quiet=true", "intervals=null", "training.epochs=1")


def write_images() -> None:
    """A folder of each class, and a table of the same images with the camera of each."""
    random, lines = np.random.default_rng(0), ["file,kind,camera"]
    for number in range(60):
        path = Path("images", "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (4, 4), dtype=np.uint8)).save(path)
        lines.append(f"images/{path.parent.name}/{path.name},{path.parent.name},{'xyz'[number % 3]}")
    Path("table.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("words", "column", "values"),
    [
        (("data=images", "data.path=images"), "label", {"a", "b"}),
        (
            ("data=image_table", "data.path=table.csv", "data.target=kind", "feature=pictures"),
            "camera",
            {"x", "y", "z"},
        ),
    ],
)
def test_images_have_slices_by_class_or_by_a_column_of_their_table(
    words: tuple[str, ...], column: str, values: set[str]
) -> None:
    write_images()
    Path("conf/feature/pictures.yaml").write_text(
        "target: {_target_: components.feature.Label, key: kind}\n"
        "columns: {file: {_target_: components.feature.Image, key: file}}\ninputs: {inputs: [file]}\n"
    )
    words = (*words, "architecture=mlp", *IMAGES, f"metric_slices=[{column}]")
    result = runner.run(*words)
    slices = by_value(result.slices["test"], column)
    assert slices.keys() == values
    rows, mean = (
        sum(each["rows"] * (each["metrics"]["loss"] if weigh else 1) for each in slices.values()) for weigh in (0, 1)
    )
    assert mean / rows == pytest.approx(result.metrics["test/loss"], rel=1e-5)


def test_a_column_that_the_data_leaves_out_has_no_slices() -> None:
    write_images()
    words = ("data=image_table", "data.path=table.csv", "data.target=kind", "data.drop=[camera]", "architecture=mlp")
    with pytest.raises(UserError, match=r"metric_slices: `camera` is in data\.drop, so it is not read\. Take it out"):
        runner.run(*words, *IMAGES, "metric_slices=[camera]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [
                "feature.target={_target_: components.feature.ImageTarget, key: image}",
                "architecture={option: sequential, layers: [], head: conv}",
                "loss=mse",
                "metric=[]",
            ],
            "the target is an image",
        ),
        (["feature.target=null", "examples=views", "architecture=siamese", "loss=nt_xent"], "there is no target"),
    ],
)
def test_a_run_whose_rows_have_no_loss_of_their_own_has_no_slices(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"metric_slices: slices need the loss of each row, and {message}"):
        runner.run("feature=image", *words, *IMAGES[1:], "metric_slices=[label]")
