"""A run that is killed at any instant goes on by the same command, to the same result to the last bit.

So does one that is prolonged. TITRATE_KILLS sets how many kills there are of each (by default 2).
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
EPOCHS, PROLONGED = 30, 45
COMMAND = [
    *(sys.executable, "-m", "runner", "architecture=sequential", f"training.epochs={EPOCHS}", "seed=3"),
    *(
        "data.valid=0.1",
        "training.batch_size=64",
        "training.patience=50",
        "schedule=performance",
        "schedule.patience=2",
        "training.checkpoint_minutes=0.005",
    ),
]


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """The command in a working folder of its own, with all it says in its log."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*COMMAND, *words], cwd=folder, stdout=log, stderr=log)


def finish(folder: Path, *words: str, epochs: int = EPOCHS) -> Path:
    """Runs the command to its end; the run's folder."""
    process = start(folder, *words)
    assert process.wait(300) == 0, (folder / "log").read_text()
    (run,) = done(folder, epochs)
    return run


def done(folder: Path, epochs: int = EPOCHS) -> list[Path]:
    """The folders of the runs that have come to their end."""
    summaries = {path.parent: json.loads(path.read_text()) for path in folder.glob("outputs/*/summary.json")}
    return [run for run, end in summaries.items() if end["status"] == "finished" and end["epochs"] == epochs]


def kill_at_random(folder: Path, longest: float, dice: random.Random, *words: str) -> bool:
    """Starts the command and kills it after a random time; False where it ended before."""
    process = start(folder, *words)
    try:
        process.wait(dice.uniform(0.2, longest))
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def arrays(run: Path) -> dict[str, bytes]:
    """Every array of the last checkpoint and of the best weights, as bytes."""
    checkpoints = (
        sorted((run / "checkpoints").glob("step_*.npz"))[-1],
        *(run / "checkpoints").glob("best_*.npz"),
    )
    found = {}
    for path in checkpoints:
        with path.open("rb") as file, np.load(file) as archive:
            found |= {f"{path.name} {name}": archive[name].tobytes() for name in archive.files if name != "meta"}
    return found


def figures(run: Path) -> dict[str, Any]:
    """What the summary says of the result, without times."""
    summary = json.loads((run / "summary.json").read_text())
    measured = {name: value for name, value in summary["metrics"].items() if name.startswith(("test/", "best/"))}
    return {"history": summary["history"], "metrics": measured, "best_epoch": summary["best_epoch"]}


def record(run: Path) -> dict[str, Any]:
    """What a folder says of its run, but for what tells a folder from its copies."""
    found = json.loads((run / "record.json").read_text())
    return {key: value for key, value in found.items() if key not in ("id", "path", "copied_from", "joins")}


def recorded(folder: Path, run: Path) -> tuple[Counter[Any], str]:
    """The points of each epoch that MLflow holds, counted, and the status of the run that holds them."""
    run_id = json.loads((run / "delivered.json").read_text())["run_id"]  # killed late, the summary lacks it
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        points = store.execute("select key, step, value from metrics where run_uuid = ?", (run_id,)).fetchall()
        ((status,),) = store.execute("select status from runs where run_uuid = ?", (run_id,)).fetchall()
    return Counter(point for point in points if point[0].startswith(("train/", "valid/", "learning_rate"))), status


def registered(run: Path) -> bool:
    """Whether MLflow has the run: its child may still be importing when the run itself is over."""
    path = run / "delivered.json"
    return path.exists() and json.loads(path.read_text())["run_id"] is not None


def wait_for_record(folder: Path, run: Path) -> None:
    """The children that record runs end by themselves, soon after a run does."""
    deadline = time.monotonic() + 60
    while not registered(run) or recorded(folder, run)[1] != "FINISHED":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def resumed_from_a_checkpoint(run: Path) -> int:
    """How many times a run went on from a checkpoint."""
    log = (run / "log.txt").read_text()
    return log.count("resuming from step ") - log.count("resuming from step 0 ")


def dice() -> random.Random:
    return random.Random(os.environ.get("TITRATE_KILLS_SEED", "titrate"))


@pytest.mark.slow
def test_kills_change_nothing(tmp_path: Path, empty_store: Path) -> None:
    def folder_with_store(name: str) -> Path:
        (tmp_path / name).mkdir()
        shutil.copy(empty_store, tmp_path / name / "mlflow.db")
        return tmp_path / name

    began = time.monotonic()
    reference = finish(folder_with_store("reference"))
    longest = 0.6 * (time.monotonic() - began)  # later, a run is mostly waiting for the last of its record
    thrown = dice()
    killed = runs = resumed = 0
    while killed < KILLS:
        runs += 1
        folder = folder_with_store(f"killed_{runs}")
        before = killed
        while killed < min(KILLS, before + 8) and not done(folder):
            killed += kill_at_random(folder, longest, thrown)
        run = done(folder)[0] if done(folder) else finish(folder)
        resumed += resumed_from_a_checkpoint(run)
        wait_for_record(folder, run)
        wait_for_record(tmp_path / "reference", reference)
        assert len(list(folder.glob("outputs/2*"))) == 1
        assert figures(run) == figures(reference)
        assert arrays(run) == arrays(reference)
        assert recorded(folder, run) == recorded(tmp_path / "reference", reference)
        assert set(recorded(folder, run)[0].values()) == {1}
        assert not list(folder.rglob("*.tmp"))
    print(f"{killed} kills of {runs} runs; {resumed} times a checkpoint was gone on from")
    assert resumed >= KILLS // 5


@pytest.mark.slow
def test_kills_of_a_prolonged_run_change_nothing(tmp_path: Path) -> None:
    finished = tmp_path / "finished"
    finished.mkdir()
    name = finish(finished, "tracking=none").name
    words = ("tracking=none", f"resume={name}", f"training.epochs={PROLONGED}")
    shutil.copytree(finished, tmp_path / "reference")
    began = time.monotonic()
    reference = finish(tmp_path / "reference", *words, epochs=PROLONGED)
    longest = 1.1 * (time.monotonic() - began)
    thrown = dice()
    killed = runs = resumed = 0
    while killed < KILLS:
        runs += 1
        folder = tmp_path / f"killed_{runs}"
        shutil.copytree(finished, folder)
        before = killed
        while killed < min(KILLS, before + 8) and not done(folder, PROLONGED):
            killed += kill_at_random(folder, longest, thrown, *words)
        run = done(folder, PROLONGED)[0] if done(folder, PROLONGED) else finish(folder, *words, epochs=PROLONGED)
        resumed += resumed_from_a_checkpoint(run)
        assert figures(run) == figures(reference)
        assert arrays(run) == arrays(reference)
        assert record(run) == record(reference)
        for file in ("config.yaml", "overrides.yaml", "transform.npz", "answers.npz"):
            assert (run / file).read_bytes() == (reference / file).read_bytes()
        assert not list(folder.rglob("*.tmp"))
    print(f"{killed} kills of {runs} prolonged runs; {resumed} times a checkpoint was gone on from")
    assert resumed > KILLS // 5
