"""Whole runs: their files and results, what stops them early, and how they are resumed."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from delivery import InProcessChild
from signal_handlers import returning_handlers

import runner
from components.data import Arrays
from components.types import UserError
from runner import npz
from runner.__main__ import main
from runner.execution import programs, run_data
from runner.execution.execute import Result
from runner.tracking import deliver

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK = ("training.epochs=2", "tracking=none", "quiet=true", "architecture.widths=[8]")


def source(rows: int = 60, **columns: Any) -> Arrays:
    random = np.random.default_rng(0)
    defaults = {
        "image": random.integers(0, 256, (rows, 8, 8, 1), np.uint8),
        "label": np.arange(rows) % 3,
    }
    return Arrays(columns=defaults | columns, valid=12, test=12, seed=0)


def quick(*overrides: str, **columns: Any) -> Result:
    return runner.run(*QUICK, *overrides, source=source(**columns))


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def points(folder: Path) -> list[Any]:
    """The points of the outbox, without their timestamps."""
    lines = map(json.loads, (folder / "points.jsonl").read_text().splitlines())
    return [(line["step"], line["values"]) for line in lines]


def parameters(folder: Path) -> dict[str, bytes]:
    """The arrays of the last checkpoint, as bytes."""
    with sorted((folder / "checkpoints").glob("step_*.npz"))[-1].open("rb") as file, np.load(file) as archive:
        return {name: archive[name].tobytes() for name in archive.files if name != "meta"}


def test_a_run_has_a_result_and_a_folder_with_its_files() -> None:
    result = quick()
    assert result.status == summary(result.folder)["status"] == "finished"
    assert [record["epoch"] for record in result.records] == [1, 2]
    assert {"test/loss", "test/accuracy", "best/valid/loss", "best/valid/accuracy", "parameters"} <= set(result.metrics)
    assert result.metrics["parameters"] == 64 * 8 + 8 + 8 * 3 + 3
    assert result.metrics["compile_seconds"] > 0
    assert "compiled the initialization" in (result.folder / "log.txt").read_text()
    assert {path.name for path in result.folder.iterdir()} >= {
        *(
            "config.yaml",
            "overrides.yaml",
            "record.json",
            "summary.json",
            "log.txt",
            "points.jsonl",
            "checkpoints",
        ),
    }
    assert [step for step, _ in points(result.folder)] == [record["step"] for record in result.records] == [2, 4]
    assert points(result.folder)[1][1]["valid/loss"] == result.records[1]["valid/loss"]


def test_without_tracking_mlflow_is_not_imported() -> None:
    run = "runner.run('training.epochs=1', 'training.limit_batches=1', 'tracking=none', 'quiet=true')"
    no_figures = "import runner.tracking; runner.tracking.draw_in_background = id"  # in a process of their own
    code = f"import runner, sys; {no_figures}; {run}; print('mlflow' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.splitlines()[-1] == "False"


def test_parameters_are_bit_identical_for_equal_seeds_alone() -> None:
    first, again, other = (quick(f"seed={seed}", "architecture.dropout=0.3") for seed in (1, 1, 2))
    assert first.folder != again.folder
    assert parameters(first.folder) == parameters(again.folder) != parameters(other.folder)
    assert first.records == again.records != other.records


def test_the_best_weights_are_evaluated_rather_than_the_last() -> None:
    result = quick("learning_rate=0.3", "training.epochs=12", "training.monitor=valid/accuracy")
    best = max(result.records, key=lambda record: record["valid/accuracy"])
    assert result.metrics["best/valid/accuracy"] == best["valid/accuracy"] > result.records[-1]["valid/accuracy"]
    assert summary(result.folder)["best_epoch"] == best["epoch"]
    metrics = runner.load(result.folder, source=source()).evaluate("test")
    assert metrics == {name: result.metrics[name] for name in metrics}


def test_patience_stops_a_run_early() -> None:
    result = quick("learning_rate=0", "training.epochs=9", "training.patience=3")
    assert result.status == "finished"
    assert len(result.records) == 4


def test_a_plateau_lowers_the_learning_rate() -> None:
    result = quick(
        "schedule=performance",
        "schedule.patience=1",
        "schedule.factor=0.1",
        "learning_rate=1e-9",
        "training.epochs=4",
    )
    rates = [record["learning_rate"] for record in result.records]
    assert rates == pytest.approx([1e-9, 1e-9, 1e-10, 1e-11], rel=1e-5)


def test_drop_remainder_drops_the_last_partial_batch() -> None:
    assert quick("training.batch_size=20").records[0]["step"] == 2
    assert quick("training.batch_size=20", "training.drop_remainder=true").records[0]["step"] == 1


def test_an_infinite_loss_stops_the_run_with_an_error_that_suggests_remedies() -> None:
    result = quick("learning_rate=1e38", "optimizer=sgd")
    assert result.status == summary(result.folder)["status"] == "diverged"
    error = summary(result.folder)["error"]
    assert "not finite at step" in error
    assert "smaller learning_rate (it was 1e+38)" in error
    assert not list((result.folder / "checkpoints").iterdir())
    again = quick("learning_rate=1e38", "optimizer=sgd")
    assert again.folder != result.folder
    assert quick("learning_rate=1e38", "optimizer=sgd", "training.on_nan=continue").status == "finished"


def test_the_error_for_a_later_infinite_loss_names_the_last_good_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "schedule=piecewise_constant",
        "schedule.boundaries=[0.5]",
        "schedule.factors=[1.0, 1e38]",
        "optimizer=sgd",
    ]
    assert main([*QUICK, *words, "training.epochs=4"]) == 1
    (folder,) = Path("outputs").iterdir()
    steps = summary(folder)["history"][-1]["step"]
    assert len(summary(folder)["history"]) == 2
    assert f"the last good checkpoint is step {steps}" in capsys.readouterr().err
    assert (folder / "checkpoints" / f"step_{steps:010d}.npz").exists()


@pytest.mark.parametrize(
    ("rate", "factor", "message"),
    [
        # The loss of the last step of epoch 2 is finite, but the parameters after the step are not.
        (4.0, 1e38, "a parameter is not finite after 4 steps"),
        # The parameters are finite, but the loss that they give is not.
        (0.1, 1e30, "the objective is not finite at step 4"),
    ],
)
def test_a_checkpoint_that_leads_to_nan_is_removed(rate: float, factor: float, message: str) -> None:
    words = ("schedule=piecewise_constant", "schedule.boundaries=[0.375]", f"schedule.factors=[1.0, {factor}]")
    result = quick(*words, f"learning_rate={rate}", "optimizer=sgd", "training.epochs=4")
    assert result.status == "diverged"
    assert result.error is not None
    assert f"{message}; the last good checkpoint is step 2" in result.error
    assert [path.name for path in (result.folder / "checkpoints").glob("step*")] == ["step_0000000002.npz"]
    model = runner.load(result.folder, source=source())
    assert np.isfinite(model.evaluate("valid")["valid/loss"])


def test_a_batch_larger_than_the_training_split_is_an_error() -> None:
    with pytest.raises(UserError, match=r"training\.batch_size=37 is larger .*\. Choose at most 36"):
        quick("training.batch_size=37")
    assert not Path("outputs").exists()


def test_an_unwritable_folder_is_an_error() -> None:
    Path("taken").write_text("")
    with pytest.raises(UserError, match="folder=taken: no run can be saved there"):
        quick("folder=taken")


def test_a_full_disk_stops_the_run_and_the_same_command_resumes_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saves = iter([True, False])
    real_write = npz.write

    def write(path: Path, arrays: Any, meta: Any) -> str:
        if path.name.startswith("step") and not next(saves, False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(path, arrays, meta)

    with monkeypatch.context() as patched:
        patched.setattr(npz, "write", write)
        assert main([*QUICK, "training.epochs=6"]) == 1
    (folder,) = Path("outputs").iterdir()
    assert summary(folder)["status"] == "interrupted"
    assert "No space left on device" in summary(folder)["error"]
    assert len(list((folder / "checkpoints").glob("step*"))) == 1
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "then resume the run with the same command" in error
    assert "Traceback" not in error
    assert main([*QUICK, "training.epochs=6"]) == 0
    assert summary(folder)["status"] == "finished"


@contextmanager
def interrupted_at(epoch: int, number: signal.Signals = signal.SIGTERM) -> Iterator[list[int]]:
    """Sends a signal at the start of an epoch, counted from 0. The run returns its result."""
    from runner.data import order, training_order

    def epoch_order(rows: np.ndarray, seed: int, current: int, **options: Any) -> order.EpochOrder:
        if current == epoch:
            os.kill(os.getpid(), number)
        return order.epoch_order(rows, seed, current, **options)

    with pytest.MonkeyPatch.context() as patched, returning_handlers() as received:
        patched.setattr(training_order, "epoch_order", epoch_order)
        yield received


LAYERS = "[{_target_: components.layer.Conv, features: 2, kernel: 3}, {_target_: components.layer.Flatten}]"
LONG = {
    # one step in a dispatch, nine dispatches in an epoch
    "convolutions": (
        60,
        ("training.batch_size=4", "training.shuffle=11", "architecture=sequential", f"architecture.layers={LAYERS}"),
    ),
    # many steps in a dispatch, three dispatches in an epoch
    "dense": (
        324,
        (
            *("training.batch_size=2", "architecture.batch_norm=true", "architecture.dropout=0.5"),
            *("schedule=performance", "training.sampling=balanced"),
        ),
    ),
}


def long(*overrides: str, kind: str = "convolutions") -> Result:
    rows, overrides_of_kind = LONG[kind]
    return runner.run(
        "tracking=none", "quiet=true", "training.epochs=5", *overrides_of_kind, *overrides, source=source(rows)
    )


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_saves_at_a_signal_within_an_epoch_and_the_same_command_resumes_it(
    number: signal.Signals, kind: str
) -> None:
    with interrupted_at(2, number) as received:
        stopped = long(kind=kind)
    assert (stopped.status, stopped.signal, received) == ("interrupted", number, [number])
    assert summary(stopped.folder)["stopped_by"] == number.name
    step = int(sorted((stopped.folder / "checkpoints").glob("step*"))[-1].stem[5:])
    epoch = stopped.records[0]["step"]
    assert 2 * epoch < step < 3 * epoch
    resumed = long(kind=kind)
    assert resumed.folder == stopped.folder
    reference = long("fresh=true", kind=kind)
    assert reference.folder != resumed.folder
    assert resumed.records == reference.records
    assert parameters(resumed.folder) == parameters(reference.folder)
    assert f"resuming from step {step}" in (resumed.folder / "log.txt").read_text()


def exit_at_once(number: int, frame: Any) -> None:
    sys.exit(number)


@pytest.mark.parametrize(
    ("number", "handler", "raised"),
    [(signal.SIGINT, signal.default_int_handler, KeyboardInterrupt), (signal.SIGTERM, exit_at_once, SystemExit)],
)
def test_a_signal_goes_to_the_caller_of_a_run_once_it_has_saved(
    number: signal.Signals, handler: Any, raised: type[BaseException]
) -> None:
    with interrupted_at(1, number):
        signal.signal(number, handler)
        with pytest.raises(raised):
            quick()
    (folder,) = Path("outputs").iterdir()
    assert (summary(folder)["status"], summary(folder)["stopped_by"]) == ("interrupted", number.name)
    assert list((folder / "checkpoints").glob("step*"))


@pytest.mark.slow
@pytest.mark.parametrize("call", ["run", "multirun"])
def test_sigterm_ends_a_script_after_its_run_has_saved(call: str) -> None:
    """The loop doesn't go on with the next run, and what is printed is not lost in a buffer."""
    code = f"""if True:
        import os, signal, numpy, runner
        from runner.training.trainer import Trainer
        evaluate = Trainer.evaluate
        def interrupt(*given):
            os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(*given)
        Trainer.evaluate = interrupt
        data = {{"x": numpy.arange(40.0), "y": numpy.arange(40) % 3}}
        for seed in range(3):
            runner.{call}("tracking=none", "training.epochs=2", f"seed={{seed}}", data=data, target="y")
    """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGTERM, ended.stderr
    (folder,) = Path("outputs").iterdir()
    assert (summary(folder)["status"], summary(folder)["stopped_by"]) == ("interrupted", "SIGTERM")
    assert "the same command" in ended.stdout


def test_a_new_run_says_which_interrupted_run_differs_only_in_its_length(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with interrupted_at(1):
        stopped = long()
    hint = f"differs only in training.max_minutes: resume={stopped.folder.name} continues it"
    long("training.max_minutes=0.001", "quiet=false")
    assert f"an interrupted run {hint}" in capsys.readouterr().out
    long("training.max_minutes=0.002", "learning_rate=0.5", "quiet=false")
    assert hint not in capsys.readouterr().out


def test_resuming_with_other_code_or_versions_is_a_warning() -> None:
    with interrupted_at(1):
        stopped = long()
    path = stopped.folder / "record.json"
    record = json.loads(path.read_text())
    changes = {"jax": "0.1", "cores": "99", "x64": "true", "xla_flags": "--xla_faster", "cpu": "abacus"}
    assert changes.keys() <= record["tags"].keys()
    record["tags"] |= changes
    del record["tags"]["flax"]  # an earlier version didn't record it
    path.write_text(json.dumps(record))
    log = (long().folder / "log.txt").read_text()
    for key, value in changes.items():
        assert f"warning: {key} was {value}, is " in log
    assert "flax was" not in log


def test_a_run_with_a_damaged_last_checkpoint_is_resumed_from_the_previous_one() -> None:
    with interrupted_at(3):
        stopped = long()
    last = sorted((stopped.folder / "checkpoints").glob("step*"))[-1]
    last.write_bytes(last.read_bytes()[:-100])
    resumed = long()
    assert resumed.folder == stopped.folder
    assert f"checkpoint {last.name} is skipped: " in (resumed.folder / "log.txt").read_text()
    reference = long("fresh=true")
    assert (resumed.records, parameters(resumed.folder)) == (reference.records, parameters(reference.folder))
    assert points(resumed.folder) == points(reference.folder)


def test_resume_by_name_allows_more_epochs_but_no_other_configuration() -> None:
    with interrupted_at(1):
        stopped = long()
    with pytest.raises(UserError, match=r"its configuration differs:\n  learning_rate: was 0.001, is now 0.01"):
        long(f"resume={stopped.folder.name}", "learning_rate=0.01")
    with pytest.raises(UserError, match=r"no such run below outputs. The newest runs: .*sequential"):
        long("resume=nothing")
    longer = long(f"resume={stopped.folder.name}", "training.epochs=7")
    assert longer.folder == stopped.folder
    assert len(longer.records) == 7
    record = json.loads((longer.folder / "record.json").read_text())
    assert "epochs 7" in record["title"]
    assert "training.epochs=7" in record["description"]
    assert "resume=" not in record["description"], "it is the command of the whole run"
    with pytest.raises(UserError, match=r"that run has finished\. To extend it, set a larger training\.epochs"):
        long(f"resume={stopped.folder.name}", "training.epochs=7")


def test_a_command_does_not_resume_a_run_that_was_extended() -> None:
    finished = long()
    with interrupted_at(6):
        assert long(f"resume={finished.folder.name}", "training.epochs=8").status == "interrupted"
    again = long()
    assert again.folder != finished.folder
    assert len(again.records) == 5
    resumed = long(f"resume={finished.folder.name}", "training.epochs=8")
    assert (resumed.folder, len(resumed.records)) == (finished.folder, 8)


def test_a_run_that_stopped_early_cannot_be_extended() -> None:
    stopped = quick("learning_rate=0", "training.epochs=9", "training.patience=3")
    with pytest.raises(UserError, match=r"training\.patience has stopped that run"):
        quick("learning_rate=0", "training.patience=3", f"resume={stopped.folder.name}", "training.epochs=20")


def test_1_and_1_0_make_the_same_digest() -> None:
    assert quick("learning_rate=1").folder.name[-10:] == quick("learning_rate=1.0").folder.name[-10:]


def test_more_steps_than_an_int32_counts_are_an_error() -> None:
    with pytest.raises(UserError, match=r"makes [\d,]+ steps"):
        quick("training.epochs=2000000000")


def test_resuming_with_changed_code_of_the_model_is_an_error_and_keeps_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with interrupted_at(1):
        stopped = long()
    from components.layer import Conv

    with monkeypatch.context() as patched:
        patched.setattr(Conv, "__call__", lambda self, x, *, train: x)
        programs._PROGRAMS.clear()
        with pytest.raises(UserError, match=r"another model than the code builds now.*fresh=true"):
            long()
    programs._PROGRAMS.clear()
    assert long().folder == stopped.folder


def test_runs_that_differ_only_in_numbers_compile_once() -> None:
    quick()
    (program,) = list(programs._PROGRAMS.values())[-1:]
    traces = program.train._cache_size()
    for overrides in (["learning_rate=0.5"], ["seed=7"], ["learning_rate=1", "seed=9"]):
        quick(*overrides)
    assert list(programs._PROGRAMS.values())[-1] is program
    assert program.train._cache_size() == traces


@pytest.mark.slow
def test_two_simultaneous_runs_of_one_command_have_separate_folders() -> None:
    command = [sys.executable, "-m", "runner", "training.epochs=3", "tracking=none", "quiet=true"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    folders = list(Path("outputs").iterdir())
    assert len(folders) == 2
    assert parameters(folders[0]) == parameters(folders[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "store"), [(signal.SIGINT, "none"), pytest.param(signal.SIGTERM, "mlflow", marks=pytest.mark.slow)]
)
def test_the_exit_code_of_a_command_tells_its_signal(number: signal.Signals, store: str, database: Path) -> None:
    command = [sys.executable, "-m", "runner", "training.epochs=100000", f"tracking={store}"]
    with open("log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not list(Path().glob("outputs/*/checkpoints/step*")):
        assert time.monotonic() < deadline, Path("log").read_text()
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    (folder,) = Path("outputs").iterdir()
    assert summary(folder)["status"] == "interrupted"
    assert summary(folder)["stopped_by"] == number.name
    assert "Traceback" not in Path("log").read_text()
    while store != "none" and deliver.is_pending(folder):  # in the background
        assert time.monotonic() < deadline, (folder / "delivery.log").read_text()
        time.sleep(0.1)
    with closing(sqlite3.connect(database)) as records:
        assert records.execute("select status from runs").fetchall() == [("KILLED",)] * (store != "none")


def write_byte(path: Path, offset: int, value: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] = value
    path.write_bytes(data)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own
@pytest.mark.parametrize("problem", ["gone", "locked", "read-only"])
def test_a_run_finishes_without_its_store_and_the_record_is_delivered_later(
    problem: str, database: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.tracking._start_child", InProcessChild)  # a process takes seconds to import MLflow
    monkeypatch.setattr("runner.tracking.sqlite_store.LOCK_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    good = f"sqlite:///{database}"
    uri = "http://127.0.0.1:9" if problem == "gone" else good
    connection = sqlite3.connect(database, isolation_level=None)
    if problem == "locked":
        connection.execute("BEGIN EXCLUSIVE")
    if problem == "read-only":  # a file format that SQLite reads but doesn't write; root may write a read-only file
        write_byte(database, 18, 3)
    result = quick("tracking=mlflow", f"tracking.uri={uri}")
    assert "mode=deliver" in capsys.readouterr().err
    assert (summary(result.folder)["status"], summary(result.folder)["run_id"]) == ("finished", None)
    if problem == "gone":
        record = json.loads((result.folder / "record.json").read_text())
        record["tracking"]["uri"] = good
        (result.folder / "record.json").write_text(json.dumps(record))
    if problem == "read-only":
        write_byte(database, 18, 2)
    connection.close()
    for line in (": delivered", "no pending records"):
        assert main(["mode=deliver"]) == 0
        assert line in capsys.readouterr().out
    with closing(sqlite3.connect(database)) as opened:
        points = opened.execute("select step, value from metrics where key = 'valid/loss' order by step").fetchall()
    assert points == [(record["step"], record["valid/loss"]) for record in summary(result.folder)["history"]]


@pytest.mark.parametrize("mode", ["train", "look"])
@pytest.mark.parametrize("folder", ["/proc/nope", "/dev/null/x", "file", "file/x/y"])
def test_an_impossible_folder_is_an_error_before_the_data_is_prepared(
    folder: str, mode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_data, "load_encoded", lambda *arguments, **options: pytest.fail("the data is prepared"))
    Path("file").touch()
    assert main([f"mode={mode}", f"folder={folder}", "tracking=none", "quiet=true"]) == 2
    assert f"folder={folder}: no run can be saved there: " in capsys.readouterr().err
    assert [*map(str, Path().iterdir())] == ["file"]


def test_resuming_a_finished_run_is_an_error_before_the_data_is_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    quick("training.epochs=1")
    monkeypatch.setattr(run_data, "load_encoded", lambda *arguments, **options: pytest.fail("the data is prepared"))
    with pytest.raises(UserError, match=r"resume=last: that run has finished"):
        quick("training.epochs=1", "resume=last")


def test_missing_data_is_an_error_of_one_line_and_leaves_no_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TITRATE_DATA", raising=False)
    assert main(["experiment=fashion_mnist_cnn", "quiet=true"]) == 2
    error = capsys.readouterr().err
    assert "set TITRATE_DATA" in error
    assert "Fetch the data with titrate mode=download data=fashion_mnist" in error
    assert len(error.splitlines()) == 1
    assert not Path("outputs").exists()
