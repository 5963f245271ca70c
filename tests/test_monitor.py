"""`training.monitor`: its direction, and names without a value. Splits and new files in which losses are undefined."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from components.data import Csv
from components.types import UserError
from runner.__main__ import main
from runner.training.trainer import Trainer

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

ROWS, TRAIN, HELD_OUT = 60, 36, 12
KIND = "{_target_: components.feature.Label, key: kind, missing: mask}"
PRICE = "{_target_: components.feature.Numeric, key: price, missing: mask}"
FEATURES = {
    "single": f"target: {KIND}\n",
    "several": f"target: null\ntargets:\n  KIND: {KIND}\n  PRICE: {PRICE}\n",
    "none": "target: null\n",
}
COLUMNS = """
columns:
  x: {_target_: components.feature.Numeric, key: x}
  z: {_target_: components.feature.Numeric, key: z}
inputs: {x: [x, z]}
weight: w
"""
WORDS = {
    "single": ["feature=single", "architecture=mlp"],
    "several": [
        *("feature=several", "architecture=mlp", "loss={KIND: softmax_cross_entropy, PRICE: mse}"),
        "metric={KIND: [accuracy], PRICE: [rmse]}",
    ],
    "several and internal": [
        *("feature=several", "architecture=reconstructing_regressor", "metric={PRICE: [rmse]}"),
        "loss={KIND: softmax_cross_entropy, PRICE: mse}",
    ],
    "internal": ["feature=single", "architecture=reconstructing_regressor"],
    "collecting": ["feature=single", "architecture=mlp", "metric=[area]"],  # a metric of rows, without weights
    "ranking": ["feature=single", "architecture=mlp", "metric=[accuracy,auc,average_precision]"],
    "none": ["feature=none", "architecture=reconstructing_regressor", "loss=null", "metric=[]"],
}
DATA = ["data=csv", "data.path=rows.csv", "data.types={kind: string, price: float}", "data.seed=null"]
SPLITS = [f"data.valid={HELD_OUT}", f"data.test={HELD_OUT}"]
QUICK = ["architecture.widths=[4]", "training.epochs=1", "training.batch_size=12", "optimizer=sgd", "tracking=none"]


@pytest.fixture(autouse=True)
def options(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_ALLOW", "parts")
    for group in ("feature", "metric"):
        Path("conf", group).mkdir(parents=True)
    Path("conf/metric/area.yaml").write_text("area: {_target_: parts.AreaUnderCurve}\n")
    Path("conf/metric/undefined.yaml").write_text("undefined: {_target_: parts.UndefinedMetric}\n")
    for name, text in FEATURES.items():
        Path(f"conf/feature/{name}.yaml").write_text(text + COLUMNS)


def write_rows(path: str = "rows.csv", **changed: Sequence[Any]) -> None:
    """Writes a table whose class and price depend on `x` and `z`. In the order of the file, the last rows are held out.

    Args:
        path: the file.
        changed: columns to replace. "" is a missing value.
    """
    x, z = np.random.default_rng(0).normal(size=(2, ROWS)).round(3)
    columns = {
        "x": x,
        "z": z,
        "kind": np.where(x > 0, "a", "b"),
        "price": (x + z).round(3),
        "w": np.arange(ROWS) % 3 + 1,
    }
    columns |= {name: np.asarray(values) for name, values in changed.items()}
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def command(kind: str, *words: str) -> list[str]:
    return [*WORDS[kind], *DATA, *SPLITS, *QUICK, *words]


def fail(capsys: pytest.CaptureFixture[str], kind: str, *words: str) -> str:
    """The message of a command that fails before the first step, and leaves no folder."""
    assert main(command(kind, *words)) == 2
    assert not Path("outputs").exists()
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "name"),
    [("single", "weighted/accuracy"), ("several", "weighted/KIND/accuracy"), ("several", "weighted/PRICE/rmse")],
)
def test_a_weighted_metric_has_the_direction_of_the_metric(kind: str, name: str) -> None:
    write_rows()
    result = runner.run(*command(kind, f"training.monitor=valid/{name}", "training.epochs=5", "learning_rate=0.1"))
    values = [record[f"valid/{name}"] for record in result.records]
    best = max if name.endswith("accuracy") else min
    assert min(values) < max(values)
    assert result.higher_is_better == (best is max)
    assert result.metrics[f"best/valid/{name}"] == pytest.approx(best(values), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "monitor", "hint"),
    [
        ("internal", "valid/acuracy", "Did you mean valid/accuracy?"),
        ("internal", "valid/reconstuction", "Did you mean valid/reconstruction?"),
        ("internal", "valid/objective", "Did you mean train/objective?"),
        ("internal", "train/weighted/loss", "Did you mean valid/weighted/loss?"),
        ("internal", "valid/weighted/reconstuction", "Did you mean valid/weighted/reconstruction?"),
        ("several and internal", "valid/PRICE/rsme", "Did you mean valid/PRICE/rmse?"),
        ("none", "valid/los", "Did you mean valid/loss?"),
        ("single", "train/objective", "Allowed: train/accuracy, train/loss, valid/accuracy"),
        ("collecting", "train/area", "Did you mean valid/area?"),
        ("ranking", "auc", "Did you mean valid/auc or valid/weighted/auc?"),
        ("single", "valid/f1", "f1 is an option of metric: add it by 'metric=[accuracy,f1]' [set"),
        ("single", "f1_score", "add it by 'metric=[accuracy,f1]', and set training.monitor=valid/f1 [set"),
        ("collecting", "valid/weighted/area", "Allowed: train/loss, valid/area, valid/loss, valid/weighted/loss"),
    ],
)
@pytest.mark.parametrize("words", [[], ["training.compile=false"], ["mode=dry_run"]], ids=["", "uncompiled", "dry run"])
def test_a_monitor_that_is_not_recorded_is_an_error_before_the_first_step(
    kind: str,
    monitor: str,
    hint: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows()
    monkeypatch.setattr(Trainer, "fit", lambda *_: pytest.fail("it trains"))
    found = fail(capsys, kind, f"training.monitor={monitor}", *words)
    assert f"training.monitor: there is no metric {monitor}. " in found
    assert hint in found
    assert "[set by the command line" in found


@pytest.mark.parametrize(
    ("kind", "monitor"), [("internal", "valid/reconstruction"), ("internal", "train/objective"), ("none", "valid/loss")]
)
@pytest.mark.parametrize("words", [[], ["training.compile=false"]], ids=["", "uncompiled"])
def test_internal_losses_and_the_objective_can_be_monitored(kind: str, monitor: str, words: list[str]) -> None:
    write_rows()
    result = runner.run(*command(kind, f"training.monitor={monitor}", "training.limit_batches=1", *words))
    assert result.metrics[f"best/{monitor}"] == result.records[0][monitor]
    assert not result.higher_is_better


NO_PRICE = {"price": ["1.5", "2.5", "4"] * 12 + [""] * 24}
NO_KIND = {"kind": ["a", "b", "b"] * 12 + [""] * 24}
NO_WEIGHT = {"w": [1] * TRAIN + [0] * 24}
ONE_KIND = {"kind": ["a", "b", "b"] * 12 + ["a"] * 24}
ONE_KIND_BY_WEIGHT = {"kind": ["a", "b", "b"] * 20, "w": [1] * TRAIN + [1, 0, 0] * 8}


@pytest.mark.parametrize(
    ("kind", "changed", "monitor", "warning"),
    [
        (
            "several",
            NO_PRICE,
            "valid/KIND/loss",
            "the valid split has no value of column `price`, so valid/PRICE/loss, valid/PRICE/rmse and valid/loss are "
            "NaN",
        ),
        (
            "single",
            NO_KIND,
            "train/loss",
            "the valid split has no value of column `kind`, so valid/loss and valid/accuracy are NaN",
        ),
        (
            "single",
            NO_WEIGHT,
            "valid/loss",
            "all weights of the valid split are 0 (column `w`), so valid/weighted/… is NaN",
        ),
        (
            "ranking",
            ONE_KIND,
            "valid/accuracy",
            "the valid split has only the class a of column `kind`, so valid/auc and valid/average_precision are NaN",
        ),
        (
            "ranking",
            ONE_KIND_BY_WEIGHT,
            "valid/accuracy",
            "the valid split has only the class a of column `kind` where the weight is above 0, so valid/weighted/auc "
            "and valid/weighted/average_precision are NaN",
        ),
    ],
)
def test_a_split_without_a_value_gives_a_warning(
    kind: str,
    changed: dict[str, Sequence[Any]],
    monitor: str,
    warning: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows(**changed)
    assert main(command(kind, f"training.monitor={monitor}")) == 0
    printed = capsys.readouterr().out
    assert f"warning: {warning}\n" in printed
    assert f"warning: {warning.replace('valid', 'test')}\n" in printed
    (summary,) = Path("outputs").glob("*/summary.json")
    assert json.loads(summary.read_text())["best_epoch"] == 1


@pytest.mark.parametrize(
    ("kind", "changed", "monitor", "why"),
    [
        ("several", NO_PRICE, "valid/loss", "the valid split has no value of column `price`"),
        ("several", NO_PRICE, "valid/weighted/PRICE/rmse", "the valid split has no value of column `price`"),
        ("single", NO_KIND, "valid/accuracy", "the valid split has no value of column `kind`"),
        ("single", NO_WEIGHT, "valid/weighted/loss", "all weights of the valid split are 0 (column `w`)"),
        ("ranking", ONE_KIND, "valid/auc", "the valid split has only the class a of column `kind`"),
        ("ranking", ONE_KIND, "valid/weighted/auc", "the valid split has only the class a of column `kind`"),
        (
            "ranking",
            ONE_KIND_BY_WEIGHT,
            "valid/weighted/auc",
            "the valid split has only the class a of column `kind` where the weight is above 0",
        ),
    ],
)
@pytest.mark.parametrize("words", [[], ["mode=dry_run"], ["folds=5", "fold=4"]], ids=["", "dry run", "fold"])
def test_a_monitor_that_is_always_nan_is_an_error(
    kind: str,
    changed: dict[str, Sequence[Any]],
    monitor: str,
    why: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows(**changed)
    found = fail(capsys, kind, f"training.monitor={monitor}", *words)
    assert f"training.monitor: {monitor} is NaN at each evaluation: {why}. " in found


def test_noise_in_evaluations_changes_no_undefined_metric(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(**ONE_KIND)
    noise = ("augmentation=[gaussian_noise]", "augmentation.gaussian_noise.evaluates=true")
    found = fail(capsys, "ranking", "training.monitor=valid/auc", *noise)
    assert "training.monitor: valid/auc is NaN at each evaluation: the valid split has only the class a" in found


def test_a_metric_that_is_always_nan_is_reported_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows()
    words = ["metric=[undefined]", "training.monitor=valid/undefined", "training.epochs=3", "training.patience=2"]
    assert main(command("single", *words)) == 0
    warning = "warning: valid/undefined (training.monitor) is NaN or infinite at each evaluation (2), so the last"
    assert warning in capsys.readouterr().out
    (folder,) = Path("outputs").iterdir()
    assert warning in (folder / "log.txt").read_text()
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["best_epoch"], summary["ended_by"]) == (None, "training.patience")


@pytest.fixture
def folder() -> str:
    """The folder of a run with two targets and weights."""
    write_rows()
    return str(runner.run(*command("several", "quiet=true")).folder)


@pytest.mark.parametrize(
    ("changed", "warning", "names"),
    [
        (
            {"price": [""] * ROWS},
            "new.csv has no value of column `price`. Left out: PRICE/loss, PRICE/rmse, loss, weighted/PRICE/loss, "
            "weighted/PRICE/rmse, weighted/loss.",
            ["KIND/loss", "KIND/accuracy", "weighted/KIND/loss", "weighted/KIND/accuracy"],
        ),
        (
            {"w": [0] * ROWS},
            "all weights of new.csv are 0 (column `w`). Left out: weighted/KIND/accuracy, weighted/KIND/loss, "
            "weighted/PRICE/loss, weighted/PRICE/rmse, weighted/loss.",
            ["loss", "KIND/loss", "PRICE/loss", "KIND/accuracy", "PRICE/rmse"],
        ),
    ],
    ids=["target", "weight"],
)
def test_undefined_values_of_a_new_file_are_left_out(
    folder: str, changed: dict[str, Any], warning: str, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows("new.csv")
    model = runner.load(folder)
    complete = model.evaluate(Csv(path="new.csv"))
    write_rows("new.csv", **changed)
    assert main(["mode=evaluate", f"run={folder}", "data.path=new.csv"]) == 0
    printed = capsys.readouterr().out
    assert f"warning: {warning}\n" in printed
    assert "\nnote    only the splits of a run have intervals; other rows have none\n" in printed
    heading, values = (line.split() for line in printed.splitlines() if line.startswith(("rows of", "new.csv")))
    assert dict(zip(heading[2:], values[1:], strict=True)) == {name: f"{complete[f'new/{name}']:.5g}" for name in names}


def test_a_metric_that_needs_several_classes_is_left_out_for_a_new_file_of_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows()
    folder = runner.run(*command("ranking", "quiet=true")).folder
    write_rows("new.csv", kind=["a"] * ROWS)
    assert main(["mode=evaluate", f"run={folder}", "data.path=new.csv"]) == 0
    printed = capsys.readouterr().out
    left_out = "auc, average_precision, weighted/auc, weighted/average_precision"
    assert f"warning: new.csv has only the class a of column `kind`. Left out: {left_out}.\n" in printed
    heading = next(line for line in printed.splitlines() if line.startswith("rows of"))
    assert heading.split()[2:] == ["loss", "accuracy", "weighted/loss", "weighted/accuracy"]


def test_a_new_file_without_any_value_of_the_targets_is_an_error(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows("new.csv", price=[""] * ROWS, kind=[""] * ROWS)
    assert main(["mode=evaluate", f"run={folder}", "data.path=new.csv"]) == 2
    assert (
        "new.csv has no value of column `kind`; new.csv has no value of column `price`. There is nothing to"
        in capsys.readouterr().err
    )
    with pytest.raises(UserError, match="There is nothing to evaluate"):
        runner.load(folder).evaluate({"x": [1.0], "z": [2.0], "w": [1.0], "price": [np.nan], "kind": [None]})
