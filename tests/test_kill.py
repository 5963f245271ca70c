"""A run that is killed at any instant is resumed by the same command, with a bit-identical result.

The same holds for an extended run. TITRATE_KILLS sets the number of kills in each test, by default 2.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KILLS = int(os.environ.get("TITRATE_KILLS", "2"))
EPOCHS, EXTENDED_EPOCHS = 30, 45
COMMAND = [
    *(sys.executable, "-m", "runner", "architecture=sequential", f"training.epochs={EPOCHS}", "seed=3"),
    *(
        "data.valid=0.1",
        "training.batch_size=64",
        "training.patience=90",
        "training.evaluate_steps=13",
        "update=[ema,groups]",
        "update.groups.body={paths: ['architecture/layers_*'], optimizer: {_target_: optax.adam}, rate: 0.5}",
        "schedule=performance",
        "schedule.patience=2",
        "training.checkpoint_minutes=0.005",
    ),
]


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Starts the command in a working folder. Its output is appended to the file `log`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*COMMAND, *words], cwd=folder, stdout=log, stderr=log)


def finish(folder: Path, *words: str, epochs: int = EPOCHS) -> Path:
    """Runs the command to its end. Returns the run folder."""
    process = start(folder, *words)
    assert process.wait(300) == 0, (folder / "log").read_text()
    (run,) = finished_runs(folder, epochs)
    return run


def finished_runs(folder: Path, epochs: int = EPOCHS) -> list[Path]:
    """The folders of the finished runs."""
    summaries = {path.parent: json.loads(path.read_text()) for path in folder.glob("outputs/*/summary.json")}
    return [
        run for run, summary in summaries.items() if summary["status"] == "finished" and summary["epochs"] == epochs
    ]


def kill_at_random(folder: Path, max_seconds: float, generator: random.Random, *words: str) -> bool:
    """Starts the command, and kills it after a random time. Returns False if it ended before."""
    process = start(folder, *words)
    try:
        process.wait(generator.uniform(0.2, max_seconds))
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def arrays(run: Path) -> dict[str, bytes]:
    """All arrays of the last checkpoint and of the best weights, as bytes."""
    checkpoints = (
        sorted((run / "checkpoints").glob("step_*.npz"))[-1],
        *(run / "checkpoints").glob("best_*.npz"),
    )
    found = {}
    for path in checkpoints:
        with path.open("rb") as file, np.load(file) as archive:
            found |= {f"{path.name} {name}": archive[name].tobytes() for name in archive.files if name != "meta"}
    return found


def results(run: Path) -> dict[str, Any]:
    """The results in the summary, without times."""
    summary = json.loads((run / "summary.json").read_text())
    metrics = {name: value for name, value in summary["metrics"].items() if name.startswith(("test/", "best/"))}
    return {"history": summary["history"], "metrics": metrics, "best_epoch": summary["best_epoch"]}


def record(run: Path) -> dict[str, Any]:
    """The record of a run, without the keys that differ between copies of its folder."""
    values = json.loads((run / "record.json").read_text())
    return {key: value for key, value in values.items() if key not in ("id", "path", "copied_from", "joins")}


def delivered(folder: Path, run: Path) -> tuple[Counter[Any], str]:
    """How often MLflow has each point of the run, and the status of the run in MLflow."""
    # The summary of a run that was killed late has no run id, so it is read here.
    run_id = json.loads((run / "delivered.json").read_text())["run_id"]
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        points = store.execute("select key, step, value from metrics where run_uuid = ?", (run_id,)).fetchall()
        ((status,),) = store.execute("select status from runs where run_uuid = ?", (run_id,)).fetchall()
    return Counter(point for point in points if point[0].startswith(("train/", "valid/", "learning_rate"))), status


def is_registered(run: Path) -> bool:
    """Whether MLflow has the run. The child that registers it may still import MLflow when the run has ended."""
    path = run / "delivered.json"
    return path.exists() and json.loads(path.read_text())["run_id"] is not None


def wait_for_record(folder: Path, run: Path) -> None:
    """Waits for the child that delivers the record. It ends by itself, soon after the run."""
    deadline = time.monotonic() + 60
    while not is_registered(run) or delivered(folder, run)[1] != "FINISHED":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def count_resumptions(run: Path) -> int:
    """How often a run was resumed from a checkpoint."""
    log = (run / "log.txt").read_text()
    return log.count("resuming from step ") - log.count("resuming from step 0 ")


def random_generator() -> random.Random:
    return random.Random(os.environ.get("TITRATE_KILLS_SEED", "titrate"))


def wait_for_temporary_files(folder: Path) -> None:
    """Waits until there is no temporary file: a process in the background may still draw a figure."""
    deadline = time.monotonic() + 30
    while (files := list(folder.rglob("*.tmp"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not files


@pytest.mark.slow
def test_kills_do_not_change_the_result(tmp_path: Path, empty_store: Path) -> None:
    def folder_with_store(name: str) -> Path:
        (tmp_path / name).mkdir()
        shutil.copy(empty_store, tmp_path / name / "mlflow.db")
        return tmp_path / name

    start_time = time.monotonic()
    reference = finish(folder_with_store("reference"))
    max_seconds = 0.6 * (time.monotonic() - start_time)  # afterwards, a run only waits for its delivery
    generator = random_generator()
    kills = runs = resumptions = 0
    while kills < KILLS:
        runs += 1
        folder = folder_with_store(f"killed_{runs}")
        max_kills = min(KILLS, kills + 8)
        while kills < max_kills and not finished_runs(folder):
            kills += kill_at_random(folder, max_seconds, generator)
        run = finished_runs(folder)[0] if finished_runs(folder) else finish(folder)
        resumptions += count_resumptions(run)
        wait_for_record(folder, run)
        wait_for_record(tmp_path / "reference", reference)
        assert len(list(folder.glob("outputs/2*"))) == 1
        assert results(run) == results(reference)
        assert arrays(run) == arrays(reference)
        assert delivered(folder, run) == delivered(tmp_path / "reference", reference)
        assert set(delivered(folder, run)[0].values()) == {1}
        wait_for_temporary_files(folder)
    print(f"{kills} kills of {runs} runs; {resumptions} resumptions from a checkpoint")
    assert resumptions >= KILLS // 5


@pytest.mark.slow
def test_kills_of_an_extended_run_do_not_change_the_result(tmp_path: Path) -> None:
    finished = tmp_path / "finished"
    finished.mkdir()
    name = finish(finished, "tracking=none").name
    words = ("tracking=none", f"resume={name}", f"training.epochs={EXTENDED_EPOCHS}")
    shutil.copytree(finished, tmp_path / "reference")
    start_time = time.monotonic()
    reference = finish(tmp_path / "reference", *words, epochs=EXTENDED_EPOCHS)
    max_seconds = 1.1 * (time.monotonic() - start_time)
    generator = random_generator()
    kills = runs = resumptions = 0
    while kills < KILLS:
        runs += 1
        folder = tmp_path / f"killed_{runs}"
        shutil.copytree(finished, folder)
        max_kills = min(KILLS, kills + 8)
        while kills < max_kills and not finished_runs(folder, EXTENDED_EPOCHS):
            kills += kill_at_random(folder, max_seconds, generator, *words)
        run = (
            finished_runs(folder, EXTENDED_EPOCHS)[0]
            if finished_runs(folder, EXTENDED_EPOCHS)
            else finish(folder, *words, epochs=EXTENDED_EPOCHS)
        )
        resumptions += count_resumptions(run)
        assert results(run) == results(reference)
        assert arrays(run) == arrays(reference)
        assert record(run) == record(reference)
        for file in ("config.yaml", "overrides.yaml", "transform.npz", "answers.npz"):
            assert (run / file).read_bytes() == (reference / file).read_bytes()
        wait_for_temporary_files(folder)
    print(f"{kills} kills of {runs} extended runs; {resumptions} resumptions from a checkpoint")
    assert resumptions > KILLS // 5
