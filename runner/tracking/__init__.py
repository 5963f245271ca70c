"""The record of a run outside its folder. Importing this imports no MLflow: a child process does that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from components.types import UserError
from runner.folder import end_digest, runs, write_atomically
from runner.tracking.state import State, masked
from runner.tracking.store import sqlite_file

DELIVERY_SECONDS = 10.0  # how long the end of a run waits for its record
LOOK_SECONDS = 0.02  # between two looks at how far the child has come
LATER = "`titrate mode=deliver` sends what is missing"


class Delivery(Protocol):
    """The way of a run's record out of its folder; nothing about it ever stops or slows the run."""

    def poke(self) -> None:
        """Says that a checkpoint covers more points; never waits or fails."""

    def child(self, folder: Path) -> Delivery:
        """The way of a run of this sweep; it ends with the sweep's at the latest."""

    def close(self, seconds: float) -> str | None:
        """Says that the run is over, and waits so long at most; the MLflow run's id, where it is known."""

    def warning(self) -> str | None:
        """After `close`: what MLflow lacks, why, and what to do; None where it lacks nothing."""


class Tracking(Protocol):
    """Where the records of runs go."""

    def start(self, folder: Path) -> Delivery:
        """Starts the delivery of a run's or a sweep's folder, which holds its `record.json` already."""

    def describe(self) -> Mapping[str, Any]:
        """Where the record goes, for `record.json`; raises UserError where it can't."""


class NoDelivery:
    """Of a run that is recorded in its folder only."""

    def poke(self) -> None: ...

    def child(self, folder: Path) -> NoDelivery:
        return self

    def close(self, seconds: float) -> None: ...

    def warning(self) -> None: ...


class ChildDelivery:
    """By a child process, which ends in the background where it is slow; a sweep's serves all runs in its folder."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder = folder
        self._process = _start(folder, uri)

    def poke(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # the pipe is full (so the child will look anyway), broken or closed
            self._process.stdin.write(b"\n")

    def child(self, folder: Path) -> Delivery:
        self.poke()
        return _Share(self, folder)

    def close(self, seconds: float) -> str | None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        over = time.monotonic() + seconds
        while self._process.poll() is None and not self._has_ended() and time.monotonic() < over:
            time.sleep(LOOK_SECONDS)
        if self._process.returncode is None:
            threading.Thread(target=self._process.wait, daemon=True).start()  # leaves no zombie
        return State.load(self._folder).run_id

    def _has_ended(self) -> bool:
        """Whether MLflow has the end; figures may still be on their way, and nobody waits for those."""
        return State.load(self._folder).ended == end_digest(self._folder)

    def warning(self) -> str | None:
        for folder in (self._folder, *runs(self._folder)):
            if (error := State.load(folder).error) is not None:
                return f"MLflow lacks a part of the record: {error}; {LATER}"
        if self._process.poll() is None:
            if self._has_ended():
                return None
            return f"MLflow takes its time: the record goes there in the background; should that break off, {LATER}"
        if self._process.returncode != 0:
            return f"the delivery to MLflow broke off, see {self._folder / 'delivery.log'}; {LATER}"
        return None


@dataclass(frozen=True)
class _Share:
    """What a run of a sweep has of the sweep's delivery."""

    whole: ChildDelivery
    folder: Path

    def poke(self) -> None:
        self.whole.poke()

    def child(self, folder: Path) -> Delivery:
        return self.whole.child(folder)

    def close(self, seconds: float) -> str | None:
        self.whole.poke()
        return State.load(self.folder).run_id

    def warning(self) -> None:
        """The sweep tells it for all."""


@dataclass(frozen=True, kw_only=True)
class MLflow:
    """A record in MLflow.

    `uri` is the tracking URI; None: that of MLFLOW_TRACKING_URI, or else `mlflow.db`, a SQLite file in the
    working folder. `experiment` is the name of the MLflow experiment.
    """

    uri: str | None = None
    experiment: str = "titrate"

    def start(self, folder: Path) -> Delivery:
        """Starts the delivery of a run's or a sweep's folder, which holds its `record.json` already.

        What is resumed with another `uri` than it began with goes there, as a whole.
        """
        for path in (folder, *runs(folder)):
            _redirect(path, self.describe())
        return ChildDelivery(folder, self._resolved())

    def describe(self) -> dict[str, Any]:
        """Where the record goes, for `record.json`; a password in the URI is left out.

        Raises UserError where the folder of a SQLite file is missing.
        """
        uri = self._resolved()
        database = sqlite_file(uri)
        if database is not None and not database.parent.is_dir():
            raise UserError(
                f"tracking.uri={uri}: there is no folder {database.parent}; make it, or choose another `tracking.uri`"
            )
        return {"uri": masked(uri), "experiment": self.experiment}

    def _resolved(self) -> str:
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
        database = sqlite_file(uri)
        return uri if database is None else f"sqlite:///{database.absolute()}"


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No record but the run's own folder."""

    def start(self, folder: Path) -> NoDelivery:
        """Nothing to deliver."""
        return NoDelivery()

    def describe(self) -> Mapping[str, Any]:
        """Empty: the record goes nowhere."""
        return {}


def _redirect(folder: Path, tracking: Mapping[str, Any]) -> None:
    values = json.loads((folder / "record.json").read_text())
    if values["tracking"] != tracking:
        write_atomically(folder / "record.json", json.dumps({**values, "tracking": tracking}, indent=2))
        (folder / "delivered.json").unlink(missing_ok=True)  # which tells of another store


def _start(folder: Path, uri: str) -> subprocess.Popen[bytes]:
    """Starts the child in a session of its own, so that what a terminal sends (Ctrl-C) passes it by."""
    house = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [house, os.environ.get("PYTHONPATH")]))
    with (folder / "delivery.log").open("ab") as log:
        child = subprocess.Popen(
            # -P: a user's own `runner` or `components` in the working folder doesn't take the place of ours.
            [sys.executable, "-P", "-m", "runner.tracking.deliver", str(folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "MLFLOW_TRACKING_URI": uri},
        )
    assert child.stdin is not None
    os.set_blocking(child.stdin.fileno(), False)
    return child
