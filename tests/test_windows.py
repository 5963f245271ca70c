"""Windows of time series: their rows, a forecast of several hours, its predictions, and mistakes in the table."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import csv

import runner
from components.types import UserError
from runner.__main__ import main
from runner.data import batches
from runner.data.windowed_rows import WindowedRows
from runner.execution.execute import Result
from runner.modes.look.view import View

pytestmark = pytest.mark.optax

FEATURE = """
# The load of the next hours from the loads, hours and weather of the last ones.
target: {_target_: components.feature.Numeric, key: load, normalize: z_score, missing: mask}
columns:
  load: {_target_: components.feature.Numeric, key: load, normalize: z_score, missing: mean}
  hour: {_target_: components.feature.Time, key: hour, parts: [hour]}
  sky: {_target_: components.feature.Vocabulary, key: sky}
  sky_vector: {_target_: components.feature.Embedding, key: sky, dimension: 2}
  sky_sort: {_target_: components.feature.Indicator, key: sky}
inputs: {inputs: [load, hour, sky_vector, sky_sort]}
"""
SIZE, HORIZON, HOURS = 5, 3, 80
RUN = (
    "feature=load",
    "loss=mse",
    "metric=[rmse,mae,r2]",
    "architecture.widths=[8]",
    "data.split_by=hour",
    "data.test=20",
    "data.valid=20",
    "training.epochs=2",
    "training.batch_size=8",
    "tracking=none",
    "quiet=true",
    "intervals=null",
)
WINDOWS = (f"examples={{option: windows, size: {SIZE}, horizon: {HORIZON}, by: store, time: hour}}",)


CLASSES = ("feature=sky", "loss=softmax_cross_entropy")


def make_table() -> dict[str, Any]:
    """Two stores, whose rows take turns. The third hour of the north is missing, and so is a load."""
    random = np.random.default_rng(0)
    start = np.datetime64("2024-01-01T00", "us")
    hours = np.repeat(start + np.arange(HOURS) * np.timedelta64(1, "h"), 2)
    load = (10 + 3 * np.sin(np.arange(2 * HOURS) / 8) + random.normal(size=2 * HOURS)).round(3)
    load[-5] = np.nan
    table = {"hour": hours, "store": np.tile(["north", "south"], HOURS), "load": load, "sky": ["sun", "rain"] * HOURS}
    return {name: np.delete(np.array(values), 4) for name, values in table.items()}


TABLE = make_table()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("windows")
    (folder / "conf" / "feature").mkdir(parents=True)
    (folder / "conf" / "feature" / "load.yaml").write_text(FEATURE.lstrip())
    target = "target: {_target_: components.feature.Label, key: sky}\n"
    (folder / "conf" / "feature" / "sky.yaml").write_text(re.sub(r"target: .*\n", target, FEATURE.lstrip()))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        yield folder


def train(*words: str, table: Mapping[str, Any] = TABLE) -> Result:
    return runner.run(*RUN, *WINDOWS, *words, data=table)


@pytest.fixture(scope="module")
def trained(folder: Path) -> Result:
    return train()


@pytest.fixture
def model(trained: Result) -> Any:
    return runner.load(trained.folder, data=TABLE)


def list_windows(rows: Iterable[int], horizon: int = HORIZON) -> np.ndarray:
    """The rows of the windows in some rows of the table, in the order of their last inputs: inputs, then targets."""
    hours = (TABLE["hour"] - TABLE["hour"][0]) // np.timedelta64(1, "h")
    found, length = [], SIZE + horizon
    for store in ("north", "south"):
        own = [row for row in rows if TABLE["store"][row] == store]
        windows = [own[start : start + length] for start in range(len(own) - length + 1)]
        found += [window for window in windows if hours[window[-1]] - hours[window[0]] == length - 1]
    return np.array(sorted(found, key=lambda window: window[SIZE - 1]))


ROWS = len(TABLE["load"])
PARTS = {"train": range(ROWS - 40), "valid": range(ROWS - 40, ROWS - 20), "test": range(ROWS - 20, ROWS)}


def test_each_split_has_the_windows_of_its_rows(model: Any) -> None:
    for split, rows in PARTS.items():
        assert model.data.splits[split].tolist() == list_windows(rows)[:, SIZE - 1].tolist()
    assert model.data.left_out == ("2 windows of train cover a gap in `hour` and are left out",)


def test_the_inputs_are_those_of_each_row_of_the_window(model: Any) -> None:
    view = View(model.data, model.features)
    found = view.examples(model.data.splits["test"]).inputs["inputs"]
    encoded = {
        name: {key: getattr(array, "base", array) for key, array in arrays.items()}
        for name, arrays in model.data.encoded.items()
    }
    plain = View(replace(model.data, encoded=encoded), replace(model.features, examples=None))
    single = plain.examples(np.arange(ROWS)).inputs["inputs"]
    windows = list_windows(PARTS["test"])[:, :SIZE]
    assert found.shape == (len(windows), SIZE, 1 + 1 + 2 + 2)
    assert (found == single[windows]).all()


def test_the_rows_are_not_copied(model: Any) -> None:
    views = [array for arrays in model.data.encoded.values() for array in arrays.values()]
    assert {(type(array), len(array.base)) for array in views} == {(WindowedRows, ROWS)}


def test_predictions_of_a_split_have_its_targets_and_the_place_of_their_last_inputs(model: Any) -> None:
    windows = list_windows(PARTS["test"])
    frame = model.predict("test").frame()
    assert list(frame) == [
        "row",
        "store",
        "hour",
        *(f"{name}_{n}" for name in ("target", "prediction") for n in range(3)),
    ]
    last = windows[:, SIZE - 1]
    assert frame["row"].tolist() == last.tolist()
    assert (frame["store"] == TABLE["store"][last]).all()
    assert (frame["hour"] == TABLE["hour"][last]).all()
    np.testing.assert_allclose(model.predict("test").target, TABLE["load"][windows[:, SIZE:]], rtol=1e-6)


def test_missing_positions_of_targets_count_in_no_loss_or_metric(model: Any) -> None:
    predictions, metrics = model.predict("test"), model.evaluate("test")
    errors = predictions.prediction - predictions.target
    assert np.isnan(errors).sum() == 3  # the gap is a target of three windows
    std = np.nanstd(TABLE["load"][: ROWS - 40])
    assert metrics["test/rmse"] == pytest.approx(np.sqrt(np.nanmean(errors**2)), rel=1e-5)
    assert metrics["test/mae"] == pytest.approx(np.nanmean(abs(errors)), rel=1e-5)
    assert metrics["test/loss"] == pytest.approx(np.nanmean((errors / std) ** 2), rel=1e-4)
    targets = predictions.target
    r2 = 1 - np.nansum(errors**2, 0) / np.nansum((targets - np.nanmean(targets, 0)) ** 2, 0)
    assert metrics["test/r2"] == pytest.approx(r2.mean(), rel=1e-4)


def test_new_rows_are_predicted_as_the_split_that_has_them(model: Any) -> None:
    rows = {name: values[ROWS - 20 :] for name, values in TABLE.items()}
    known, new = model.predict("test"), model.predict(rows)
    inputs = list_windows(PARTS["test"], horizon=0)
    assert (new.row + ROWS - 20).tolist() == inputs[:, -1].tolist()
    is_known = np.isin(new.row + ROWS - 20, known.row)
    np.testing.assert_allclose(new.prediction[is_known], known.prediction, rtol=1e-6)
    assert is_known.sum() == len(new.row) - 2 * HORIZON  # forecasts beyond the last row of each store
    assert new.frame()["hour"].iloc[-1] == TABLE["hour"][-1]
    assert new.frame(columns=["row", "sky"])["sky"].tolist() == TABLE["sky"][inputs[:, -1]].tolist()
    assert model.evaluate(rows)["new/rmse"] == pytest.approx(model.evaluate("test")["test/rmse"], rel=1e-6)


def test_a_frame_of_forecasts_has_the_index_of_the_last_inputs(model: Any) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE, index=np.arange(ROWS) + 1000).iloc[-20:].drop(columns="load").assign(load=1.0)
    predicted = model.predict(frame).frame()
    assert (predicted.index == frame.index[predicted["row"]]).all()


def test_columns_known_ahead_are_those_of_the_rows_of_targets(folder: Path) -> None:
    result = train("examples.known_ahead=[sky_sort,hour]", "training.epochs=1")
    model = runner.load(result.folder, data=TABLE)
    windows = list_windows(PARTS["test"])
    view = View(model.data, model.features)
    columns = view.examples(model.data.splits["test"]).columns
    assert columns["sky_sort"].argmax(-1).tolist() == columns["sky_sort"][:, :1].argmax(-1).repeat(SIZE, 1).tolist()
    hours = TABLE["hour"].astype("M8[h]").astype(int) % 24
    np.testing.assert_array_equal(columns["hour"][..., 0], hours[windows[:, HORIZON:]])
    np.testing.assert_allclose(view.decode("target", columns["load"]), TABLE["load"][windows[:, :SIZE]], rtol=1e-6)
    rows = {name: values[ROWS - 20 :] for name, values in TABLE.items()}
    rows["load"] = np.where(np.arange(20) < 20 - 2 * HORIZON, rows["load"], np.nan)  # loads to come are unknown
    known, new = model.predict("test"), model.predict(rows)
    assert (new.row + ROWS - 20).tolist() == known.row.tolist()
    np.testing.assert_allclose(new.prediction, known.prediction, rtol=1e-5, atol=1e-5)


def test_rows_without_a_window_are_an_error(model: Any) -> None:
    rows = {name: values[-8:] for name, values in TABLE.items()}
    message = r"the new rows have no window: a window takes 5 consecutive rows of a series \(size=5\), and .* at most 4"
    with pytest.raises(UserError, match=message):
        model.predict(rows)
    with pytest.raises(UserError, match=r"takes 8 consecutive rows of a series \(size=5, horizon=3\)"):
        model.evaluate(rows)


def list_metrics(result: Result) -> dict[str, float]:
    """The metrics of the splits, without those of time and memory."""
    return {name: value for name, value in result.metrics.items() if "/" in name and not name.startswith("system/")}


def test_data_on_the_device_and_gathered_data_train_the_same(trained: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_DEVICE_BYTES", 0)
    assert list_metrics(train("fresh=true")) == list_metrics(trained)


def test_a_run_that_is_extended_has_the_result_of_one_that_was_not_stopped(trained: Result) -> None:
    started = train("training.epochs=1", "note=started")
    resumed = train("training.epochs=2", "note=started", f"resume={started.folder}")
    assert list_metrics(resumed) == list_metrics(trained)


@pytest.mark.slow
def test_windows_of_the_last_row_have_its_class(folder: Path) -> None:
    result = train(*CLASSES, "metric=[accuracy]", "examples.horizon=null", "training.epochs=1")
    predictions = runner.load(result.folder, data=TABLE).predict("test")
    last = list_windows(PARTS["test"], horizon=0)[:, -1]
    assert predictions.row.tolist() == last.tolist()
    assert predictions.target.tolist() == TABLE["sky"][last].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["examples.by=stroe"], r"^examples: there is no column `stroe` in .*Did you mean store"),
        (
            ["examples.size=20"],
            r"^examples: the valid split has no window: a window takes 23 .* at most 10\. .*data.split_by=hour, to "
            r"hold out the last ones\. \[set by",
        ),
        (["examples.by=null"], r"^examples: row 1 of .*column `hour` is .* set examples.by to the column of series"),
        (["examples.horizon=0"], r"examples\.horizon: 0 is not a whole number in \[1, inf\)"),
        (
            ["examples.horizon=null", "examples.gap=2"],
            r"^examples\.gap: 2 is before the rows of targets\. Set examples\.h",
        ),
        (
            ["examples.horizon=null", "examples.known_ahead=[hour]"],
            r"^examples\.known_ahead: columns are known up to the last row of targets\. Set examples\.horizon",
        ),
        (
            ["examples.known_ahead=[hours]"],
            r"^examples\.known_ahead: no input has .* hours\. Did you mean hour\? Columns",
        ),
        (
            ["examples.known_ahead=[load]"],
            r"^examples\.known_ahead: the column load reads `load`, and so does the target",
        ),
        (["examples.sise=3"], r"examples\.sise: unknown parameter .* Did you mean size"),
        (
            [*CLASSES, "metric=[]"],
            r"^examples\.horizon: 3 rows of targets need numbers, and feature\.target has classes\. .*horizon=null",
        ),
    ],
)
def test_mistakes_are_errors_with_a_remedy(folder: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(*words)


@pytest.mark.slow
def test_a_file_is_looked_at_trained_from_the_cache_and_predicted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["hour", "store", "load", "sky"]
    lines = [",".join(str(TABLE[name][row]).replace("nan", "") for name in names) for row in range(ROWS)]
    Path("load.csv").write_text("\n".join([",".join(names), *lines]))
    Path("new.csv").write_text("\n".join([",".join(names), *lines[-12:]]))
    words = ["data=csv", "data.path=load.csv", *(word for word in RUN if word != "quiet=true"), *WINDOWS]
    assert main([*words, "mode=look"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"the first example of each split\n +split +rows +row +store +hour\n", out)
    assert re.search(r"test +inputs +5 +139 to 147 +north +2024-01-03T22:00:00 to 2024-01-04T02:00:00", out)
    assert re.search(r"test +targets +3 +149 to 153 +north +2024-01-04T03:00:00 to 2024-01-04T05:00:00", out)
    assert main([*words, "mode=dry_run"]) == 0  # loads what the first command has put into the cache
    out = capsys.readouterr().out
    assert re.search(r"inputs +float32 \(8, 5, 6\) +load\.values float32 \(8, 5, 1\)", out)
    assert re.search(r"target +float32 \(8, 3\) +target\.values float32 \(8, 3, 1\)", out)
    assert main([*words]) == 0
    assert main(["mode=predict", "run=last", "data.path=new.csv", "output=new_predictions.csv", "quiet=true"]) == 0
    table = csv.read_csv("new_predictions.csv").to_pydict()
    assert list(table) == ["row", "store", "hour", "prediction_0", "prediction_1", "prediction_2"]
    assert table["row"] == [8, 9, 10, 11]
    assert table["store"] == ["north", "south", "north", "south"]
    assert main(["mode=predict", "run=last", "output=test_predictions.csv", "output.columns=[row,sky]"]) == 0
    table = csv.read_csv("test_predictions.csv").to_pydict()
    last = list_windows(PARTS["test"])[:, SIZE - 1]
    assert table["row"] == last.tolist()
    assert table["sky"] == TABLE["sky"][last].tolist()
