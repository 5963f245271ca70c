"""A run goes on: wherever it is killed or its disk is full, the same command brings it to the same end."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from disk import Killed, stopping

import runner
from components.data import Arrays
from components.types import UserError
from runner import run_folder as folders
from runner.__main__ import main
from runner.config.compose import configure
from runner.config.config import Config
from runner.errors import DiskError
from runner.execution import execute as execution
from runner.execution.execute import Result, execute
from runner.sweep.launch import SweepResult
from runner.training.trainer import Trainer

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

WORDS = ("tracking=none", "quiet=true", "architecture.widths=[8]", "learning_rate=0.01", "training.patience=50")


def source() -> Arrays:
    random = np.random.default_rng(0)
    columns = {"image": random.integers(0, 256, (60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    return Arrays(columns=columns, valid=12, test=12, seed=0)


def run(*words: str) -> Result:
    return runner.run(*WORDS, *words, source=source())


def state(folder: Path) -> dict[str, Any]:
    """All that a run's folder holds of the run, without times and what it logs."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".npz":
            with np.load(path) as archive:
                found[name] = {key: archive[key].tobytes() for key in archive.files if key != "meta"}
        elif path.suffix == ".json":
            found[name] = json.loads(path.read_text())
        elif path.suffix == ".yaml":
            found[name] = yaml.safe_load(path.read_text())
        elif path.suffix == ".jsonl":
            found[name] = [json.loads(line) | {"timestamp": 0} for line in path.read_text().splitlines()]
        elif name not in ("log.txt", "points.cut", "points.covered", "lock"):
            found[name] = path.read_bytes()
    summary = found.setdefault("summary.json", {})
    metrics = summary.get("metrics", {})
    summary["metrics"] = {key: value for key, value in metrics.items() if key.startswith(("best/", "test/", "epochs"))}
    summary["seconds"] = found["record.json"]["created"] = 0
    for key in ("id", "path"):  # of every folder its own
        found["record.json"].pop(key, None)
    return found


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that a killed process was making goes at the next start, not only after a minute."""
    monkeypatch.setattr(folders, "ABANDONED_SECONDS", -1)


def only_run() -> Path:
    (folder,) = Path("outputs").iterdir()
    return folder


def prolonging(folder: Path) -> Config:
    return configure([*WORDS, "training.epochs=3", f"resume={folder.name}"])


def execute_until(command: Config) -> str | None:
    """What ends the run before its end; None: nothing does, or nothing that it needs."""
    try:
        execute(command, source=source())
    except (Killed, UserError, DiskError) as error:
        return str(error)
    return None


EVERY = pytest.param(range(1000), marks=pytest.mark.slow, id="every")


@pytest.mark.parametrize("stops", [pytest.param((1, 4, 7, 10, 20), id="some"), EVERY])
def test_a_prolonged_run_goes_on_wherever_it_is_killed(stops: Iterable[int], tmp_path: Path) -> None:
    folder = run("training.epochs=2").folder
    shutil.copytree(folder, tmp_path / "finished")
    command = prolonging(folder)
    result = execute(command, source=source())
    wanted = state(folder)
    assert (result.status, len(result.history)) == ("finished", 3)
    assert wanted["record.json"]["parameters"]["training.epochs"] == 3
    assert wanted["config.yaml"]["training"]["epochs"] == 3
    assert wanted["record.json"]["tags"]["prolonged"] == "2 → 3 epochs"
    for stop in stops:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "finished", folder)
        with stopping(tmp_path / "outputs", Killed(), stop) as disk, suppress(Killed):
            execute(command, source=source())
        if disk.stopped_at is None:
            assert stop > 40
            break
        over = (folder / "summary.json").exists() and state(folder)["summary.json"]["epochs"] == 3
        with pytest.raises(UserError, match="that run has finished") if over else nullcontext():
            execute(prolonging(folder) if "config" in disk.stopped_at else command, source=source())
        assert state(folder) == wanted, disk.stopped_at


@pytest.mark.parametrize("lost", [1, 2])
def test_a_prolonged_run_that_loses_checkpoints_repeats_its_steps_as_they_were(lost: int, tmp_path: Path) -> None:
    words = ("schedule=cosine", "training.batch_size=12", "training.keep_checkpoints=2")
    folder = run("training.epochs=2", *words).folder
    shutil.copytree(folder, tmp_path / "finished")
    run("training.epochs=4", *words, f"resume={folder.name}")
    wanted = state(folder)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "finished", folder)
    for path in sorted((folder / "checkpoints").glob("step_*.npz"))[-lost:]:
        path.write_bytes(path.read_bytes()[:-100])
    run("training.epochs=4", *words, f"resume={folder.name}")
    assert "is skipped" in (folder / "log.txt").read_text()
    found = state(folder)
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize("stops", [pytest.param((2, 5, 16, 30), id="some"), EVERY])
@pytest.mark.parametrize("trouble", ["killed", "full"])
def test_the_same_command_goes_on_wherever_a_run_is_stopped(trouble: str, stops: Iterable[int], tmp_path: Path) -> None:
    error = Killed() if trouble == "killed" else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    command = configure([*WORDS, "training.epochs=2"])
    execute(command, source=source())
    wanted = state(only_run())
    for stop in stops:
        shutil.rmtree("outputs")
        with stopping(tmp_path / "outputs", error, stop) as disk:
            told = execute_until(command)
        if disk.stopped_at is None:
            assert stop > 40
            break
        if trouble == "full":  # what is no matter of the run, such as a look at an older folder, ends nothing
            assert re.fullmatch(".*No space left on device.*", told or "No space left on device"), disk.stopped_at
        over = any(state(path)["summary.json"].get("status") == "finished" for path in Path("outputs").glob("2*"))
        execute(command, source=source())  # a new run where that one was over
        first, *others = folders.list_runs(Path("outputs"))
        assert state(first) == wanted, disk.stopped_at
        assert len(others) == over


def test_what_a_kill_left_in_a_finished_run_goes_at_the_next_start() -> None:
    folder = run("training.epochs=1").folder
    (folder / "summary.tmp").write_text("{")
    assert run("training.epochs=1").folder != folder
    assert not (folder / "summary.tmp").exists()


def test_no_run_goes_on_through_a_link(tmp_path: Path) -> None:
    folder = run("training.epochs=1").folder
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "mine").write_text("mine")
    (folder / "summary.json").unlink()
    for name in (*folders.FILES, *folders.FOLDERS, "figures/a.png", "profile/a"):
        link, kept = folder / name, tmp_path / "kept"
        link.parent.mkdir(exist_ok=True)
        if link.exists():
            link.rename(kept)
        link.symlink_to(elsewhere if name in folders.FOLDERS else elsewhere / "mine")
        with pytest.raises(UserError, match=f"{name} is a link"):
            run("training.epochs=2", f"resume={folder.name}")
        if name in ("log.txt", "lock", "checkpoints"):  # the command that began it, which reads the data first
            with pytest.raises(UserError, match=f"{name} is a link"):
                run("training.epochs=1")
        link.unlink()
        if kept.exists():
            kept.rename(link)
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {"mine": "mine"}
    assert run("training.epochs=1").folder == folder


def test_what_a_run_replaces_may_be_a_link(tmp_path: Path) -> None:
    folder = run("training.epochs=1").folder
    for name in ("summary.json", "config.yaml", "overrides.yaml", "record.json", "answers.npz", "transform.npz"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert run("training.epochs=2", f"resume={folder.name}").status == "finished"
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_a_sweep_whose_disk_is_full_goes_on_by_the_same_command(tmp_path: Path) -> None:
    def sweep() -> SweepResult:
        return runner.multirun(*WORDS, "training.epochs=1", "seed=1,2", source=source())

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        stopping(tmp_path / "outputs", full, 40) as disk,
        pytest.raises(
            DiskError, match=r"No space left on device. Fix this, then resume the run with the same command."
        ),
    ):
        sweep()
    assert re.search(r"_[12]_\w{10}/", str(disk.stopped_at))
    result = sweep()
    assert (result.status, [one.status for one in result.runs]) == ("finished", ["finished", "finished"])
    assert result.folder.resolve() == only_run().resolve()
    assert len(list(result.folder.glob("2*"))) == 2


def test_a_connection_that_is_refused_is_no_fault_of_the_disk_and_ends_no_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluate = Trainer.evaluate

    def refused(trainer: Trainer, *arguments: Any) -> dict[str, float]:
        if trainer.seed == 1:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return evaluate(trainer, *arguments)

    monkeypatch.setattr(Trainer, "evaluate", refused)
    with pytest.raises(ConnectionRefusedError):
        run("seed=1", "training.epochs=1")
    result = runner.multirun(*WORDS, "training.epochs=1", "seed=1,2", source=source())
    assert [one.status for one in result.runs] == ["failed", "finished"]
    assert "Connection refused" in str(result.runs[0].error)


def test_a_disk_that_fails_elsewhere_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "outputs/x")

    monkeypatch.setattr(execution, "prepare_run", full)
    assert main([*WORDS, "training.epochs=1"]) == 1
    assert capsys.readouterr().err == (
        "outputs/x: No space left on device. Fix this, then resume the run with the same command.\n"
    )
