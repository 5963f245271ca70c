"""Wherever a run is killed or its disk fills up, the same command resumes it, with the same result."""

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
from runner import run_folder
from runner.__main__ import main
from runner.config.compose import configure
from runner.config.config import Config
from runner.errors import DiskError
from runner.execution import execute as execute_module
from runner.execution.execute import Result, execute
from runner.sweep.launch import SweepResult
from runner.training.trainer import Trainer

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

WORDS = (
    "tracking=none",
    "quiet=true",
    "architecture.widths=[8]",
    "learning_rate=0.01",
    "training.patience=50",
    "observer=[parameter_norms]",
)


def source() -> Arrays:
    random = np.random.default_rng(0)
    columns = {"image": random.integers(0, 256, (60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    return Arrays(columns=columns, valid=12, test=12, seed=0)


def run(*words: str) -> Result:
    return runner.run(*WORDS, *words, source=source())


def read_contents(folder: Path) -> dict[str, Any]:
    """The contents of a run folder by file name, without times, logs, and values that differ between folders."""
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
    for key in ("id", "path"):  # they differ between folders
        found["record.json"].pop(key, None)
    return found


@pytest.fixture(autouse=True)
def remove_temporary_folders_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the temporary folder of a killed process at the next start, rather than after a minute."""
    monkeypatch.setattr(run_folder, "ABANDONED_SECONDS", -1)


def only_run() -> Path:
    (folder,) = Path("outputs").iterdir()
    return folder


def extending_command(folder: Path) -> Config:
    return configure([*WORDS, "training.epochs=3", f"resume={folder.name}"])


def execute_and_catch(command: Config) -> str | None:
    """Executes a run. Returns the error that stopped it, or None."""
    try:
        execute(command, source=source())
    except (Killed, UserError, DiskError) as error:
        return str(error)
    return None


EVERY = pytest.param(range(1000), marks=pytest.mark.slow, id="every")


@pytest.mark.parametrize("stops", [pytest.param((1, 4, 7, 10, 20), id="some"), EVERY])
def test_an_extended_run_can_be_resumed_wherever_it_is_killed(stops: Iterable[int], tmp_path: Path) -> None:
    folder = run("training.epochs=2").folder
    shutil.copytree(folder, tmp_path / "finished")
    command = extending_command(folder)
    result = execute(command, source=source())
    expected = read_contents(folder)
    assert (result.status, len(result.records)) == ("finished", 3)
    assert expected["record.json"]["parameters"]["training.epochs"] == 3
    assert expected["config.yaml"]["training"]["epochs"] == 3
    assert expected["record.json"]["tags"]["prolonged"] == "2 → 3 epochs"
    for stop in stops:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "finished", folder)
        with stopping(tmp_path / "outputs", Killed(), stop) as disk, suppress(Killed):
            execute(command, source=source())
        if disk.stopped_at is None:
            assert stop > 40
            break
        is_finished = (folder / "summary.json").exists() and read_contents(folder)["summary.json"]["epochs"] == 3
        with pytest.raises(UserError, match="that run has finished") if is_finished else nullcontext():
            execute(extending_command(folder) if "config" in disk.stopped_at else command, source=source())
        assert read_contents(folder) == expected, disk.stopped_at


@pytest.mark.parametrize("lost", [1, 2])
def test_an_extended_run_that_lost_checkpoints_repeats_its_steps_exactly(lost: int, tmp_path: Path) -> None:
    words = ("schedule=cosine", "training.batch_size=12", "training.keep_checkpoints=2")
    folder = run("training.epochs=2", *words).folder
    shutil.copytree(folder, tmp_path / "finished")
    run("training.epochs=4", *words, f"resume={folder.name}")
    expected = read_contents(folder)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "finished", folder)
    for path in sorted((folder / "checkpoints").glob("step_*.npz"))[-lost:]:
        path.write_bytes(path.read_bytes()[:-100])
    run("training.epochs=4", *words, f"resume={folder.name}")
    assert "is skipped" in (folder / "log.txt").read_text()
    found = read_contents(folder)
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("stops", [pytest.param((2, 5, 16, 30), id="some"), EVERY])
@pytest.mark.parametrize("problem", ["killed", "full"])
def test_the_same_command_resumes_a_run_wherever_it_is_stopped(
    problem: str, stops: Iterable[int], tmp_path: Path
) -> None:
    error = Killed() if problem == "killed" else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    command = configure([*WORDS, "training.epochs=2"])
    execute(command, source=source())
    expected = read_contents(only_run())
    for stop in stops:
        shutil.rmtree("outputs")
        with stopping(tmp_path / "outputs", error, stop) as disk:
            message = execute_and_catch(command)
        if disk.stopped_at is None:
            assert stop > 40
            break
        if problem == "full":  # an error that the run can ignore, as in an older folder, stops nothing
            assert re.fullmatch(".*No space left on device.*", message or "No space left on device"), disk.stopped_at
        is_finished = any(
            read_contents(path)["summary.json"].get("status") == "finished" for path in Path("outputs").glob("2*")
        )
        execute(command, source=source())  # a new run if the first one is finished
        first, *others = run_folder.list_runs(Path("outputs"))
        assert read_contents(first) == expected, disk.stopped_at
        assert len(others) == is_finished


def test_temporary_files_in_a_finished_run_are_removed_at_the_next_start() -> None:
    folder = run("training.epochs=1").folder
    (folder / "summary.tmp").write_text("{")
    assert run("training.epochs=1").folder != folder
    assert not (folder / "summary.tmp").exists()


def test_a_run_with_a_link_in_place_of_a_file_is_not_resumed(tmp_path: Path) -> None:
    folder = run("training.epochs=1").folder
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "mine").write_text("mine")
    (folder / "summary.json").unlink()
    for name in (*run_folder.FILES, *run_folder.FOLDERS, "figures/a.png", "profile/a"):
        link, kept = folder / name, tmp_path / "kept"
        link.parent.mkdir(exist_ok=True)
        if link.exists():
            link.rename(kept)
        link.symlink_to(elsewhere if name in run_folder.FOLDERS else elsewhere / "mine")
        with pytest.raises(UserError, match=f"{name} is a link"):
            run("training.epochs=2", f"resume={folder.name}")
        if name in ("log.txt", "lock", "checkpoints"):  # the first command raises this error too
            with pytest.raises(UserError, match=f"{name} is a link"):
                run("training.epochs=1")
        link.unlink()
        if kept.exists():
            kept.rename(link)
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == {"mine": "mine"}
    assert run("training.epochs=1").folder == folder


def test_a_file_that_the_run_replaces_may_be_a_link(tmp_path: Path) -> None:
    folder = run("training.epochs=1").folder
    for name in ("summary.json", "config.yaml", "overrides.yaml", "record.json", "answers.npz", "transform.npz"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert run("training.epochs=2", f"resume={folder.name}").status == "finished"
    assert {path: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_the_same_command_resumes_a_sweep_whose_disk_was_full(tmp_path: Path) -> None:
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
    assert (result.status, [member.status for member in result.runs]) == ("finished", ["finished", "finished"])
    assert result.folder.resolve() == only_run().resolve()
    assert len(list(result.folder.glob("2*"))) == 2


def test_a_refused_connection_is_no_disk_error_and_does_not_stop_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = Trainer.evaluate

    def refuse(trainer: Trainer, *arguments: Any) -> dict[str, float]:
        if trainer.seed == 1:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return evaluate(trainer, *arguments)

    monkeypatch.setattr(Trainer, "evaluate", refuse)
    with pytest.raises(ConnectionRefusedError):
        run("seed=1", "training.epochs=1")
    result = runner.multirun(*WORDS, "training.epochs=1", "seed=1,2", source=source())
    assert [member.status for member in result.runs] == ["failed", "finished"]
    assert "Connection refused" in str(result.runs[0].error)


def test_a_full_disk_before_the_run_folder_exists_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "outputs/x")

    monkeypatch.setattr(execute_module, "prepare_run", fail)
    assert main([*WORDS, "training.epochs=1"]) == 1
    assert capsys.readouterr().err == (
        "outputs/x: No space left on device. Fix this, then resume the run with the same command.\n"
    )
