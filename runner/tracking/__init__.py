"""The record of a run outside its folder. Importing this imports no MLflow: a child process does that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runner import store_uri
from runner.credentials import URI_VARIABLE, mask_uri
from runner.files import open_to_append
from runner.log import LOG
from runner.run_folder import digest_summary, list_runs
from runner.tracking import address
from runner.tracking.identity import claim_folder, join_active_run, redirect_record
from runner.tracking.state import DeliveryState, describe_missing

DELIVERY_SECONDS = 2.0  # how long the end of a run waits for its record
LOOK_SECONDS = 0.02  # between two looks at how far the child has come
LATER = "`titrate mode=deliver` sends what is missing"
AGAIN = "again"  # the word for the child that delivers a folder once more


class Delivery(Protocol):
    """The way of a run's record out of its folder; nothing about it ever stops or slows the run."""

    def notify(self) -> None:
        """Says that a checkpoint covers more points; never waits or fails."""

    def child(self, folder: Path) -> Delivery:
        """The way of a run of this sweep; it ends with the sweep's at the latest."""

    def close(self, seconds: float) -> str | None:
        """Says that the run is over, and waits so long at most; the MLflow run's id, where it is known."""

    def note(self) -> str | None:
        """After `close`: what MLflow lacks, why, and what to do, or what it still gets; None where it has all."""


class Tracking(Protocol):
    """Where the records of runs go."""

    def start(self, folder: Path) -> Delivery:
        """Starts the delivery of a run's or a sweep's folder, which holds its `record.json` already."""

    def describe(self) -> Mapping[str, Any]:
        """Where the record goes, for `record.json`; raises UserError where it can't."""


class NoDelivery:
    """Of a run that is recorded in its folder only; a child process draws its figures when it is over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def notify(self) -> None: ...

    def child(self, folder: Path) -> Delivery:
        claim_folder(folder)
        return _Share(self, folder)

    def close(self, seconds: float) -> None:
        draw_in_background(self._folder)

    def note(self) -> None: ...


class ChildDelivery:
    """By a child process, which ends in the background where it is slow; a sweep's serves all runs in its folder."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder = folder
        self._process = _start(folder, uri)

    def notify(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # the pipe is full (so the child will look anyway), broken or closed
            self._process.stdin.write(b"\n")

    def child(self, folder: Path) -> Delivery:
        claim_folder(folder)
        self.notify()
        return _Share(self, folder)

    def close(self, seconds: float) -> str | None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        _wait(self._process, seconds, self._has_ended)
        return DeliveryState.load(self._folder).run_id

    def _has_ended(self) -> bool:
        """Whether MLflow has the end; figures may still be on their way, and nobody waits for those."""
        return DeliveryState.load(self._folder).ended == digest_summary(self._folder)

    def note(self) -> str | None:
        states = [DeliveryState.load(folder) for folder in (self._folder, *list_runs(self._folder))]
        for state in states:
            if state.error is not None:
                return f"warning: MLflow lacks a part of the record: {state.error}; {LATER}"
        if self._process.poll() is None and not self._has_ended():
            return f"MLflow: a process in the background delivers the rest (log: {self._folder / 'delivery.log'})"
        if lacking := next(filter(None, map(describe_missing, states)), None):
            return f"warning: {lacking}; the run's folder has it"
        if self._process.poll() is None:
            return None
        if self._process.returncode != 0:
            return f"warning: the delivery to MLflow broke off, see {self._folder / 'delivery.log'}; {LATER}"
        return None


class RepeatedDelivery(ChildDelivery):
    """Of a run that was delivered before and has new files, by a child process that waits for `close`."""

    def __init__(self, folder: Path, given: str | None) -> None:
        """`given` is the URI that the user's words give: the record alone names no server."""
        self._folder = folder
        self._process = _start(folder, store_uri.resolve_store_uri(given), AGAIN)

    def _has_ended(self) -> bool:
        return False


@dataclass(frozen=True)
class _Share:
    """What a run of a sweep has of the sweep's delivery."""

    whole: Delivery
    folder: Path

    def notify(self) -> None:
        self.whole.notify()

    def child(self, folder: Path) -> Delivery:
        return self.whole.child(folder)

    def close(self, seconds: float) -> str | None:
        self.whole.notify()
        return DeliveryState.load(self.folder).run_id

    def note(self) -> None:
        """The sweep tells it for all."""


@dataclass(frozen=True, kw_only=True)
class MLflow:
    """A record in MLflow.

    `uri` is the tracking URI; None: that of MLFLOW_TRACKING_URI, or else `mlflow.db`, a SQLite file in the
    working folder. `experiment` is the name of the MLflow experiment; None: that of MLFLOW_EXPERIMENT_NAME or
    MLFLOW_EXPERIMENT_ID, or else `titrate`. With MLFLOW_RUN_ID the record of a run or a sweep goes to that run.
    """

    uri: str | None = None
    experiment: str | None = None

    def start(self, folder: Path) -> Delivery:
        """Starts the delivery of a run's or a sweep's folder, which holds its `record.json` already.

        What is resumed with another `uri` than it began with goes there, as a whole.
        """
        tracking = self.describe()
        for path in (folder, *list_runs(folder)):
            if claim_folder(path):
                LOG.info("%s is a copy: its record goes to an MLflow run of its own", path)
            redirect_record(path, tracking)
        join_active_run(folder)  # of a sweep, whose runs stand below that run
        return ChildDelivery(folder, store_uri.resolve_store_uri(self.uri))

    def describe(self) -> dict[str, Any]:
        """Where the record goes, for `record.json`, without credentials.

        Raises UserError where it can be known that it can't go there.
        """
        uri = address.check_store(self.uri)
        return {"uri": mask_uri(uri), **address.choose_experiment(self.experiment, uri)}


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No record but the run's own folder."""

    def start(self, folder: Path) -> NoDelivery:
        """Nothing to deliver."""
        claim_folder(folder)
        return NoDelivery(folder)

    def describe(self) -> Mapping[str, Any]:
        """Empty: the record goes nowhere."""
        return {}


def draw_in_background(folder: Path) -> None:
    """Draws the figures of a run, or of a sweep and its runs, in a child process; its errors go to the run's log."""
    with open_to_append(folder / "log.txt") as log:
        _forget(_spawn("runner.figures", folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log))


def _wait(process: subprocess.Popen[bytes], seconds: float, done: Callable[[], bool] = lambda: False) -> None:
    """Waits so long at most until a process has ended, or is `done`, and lets it end when it will."""
    over = time.monotonic() + seconds
    while process.poll() is None and not done() and time.monotonic() < over:
        time.sleep(LOOK_SECONDS)
    _forget(process)


def _forget(process: subprocess.Popen[bytes]) -> None:
    """Lets a process end when it will, and leaves no zombie."""
    if process.poll() is None:
        threading.Thread(target=process.wait, daemon=True).start()


def _spawn(module: str, folder: Path, *words: str, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a module of ours in a session of its own, so that what a terminal sends (Ctrl-C) passes it by."""
    house = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [house, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        # -P: a user's own `runner` or `components` in the working folder doesn't take the place of ours.
        [sys.executable, "-P", "-m", module, str(folder.absolute()), *words],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path} | options.pop("env", {}),
        **options,
    )


def _start(folder: Path, uri: str, *words: str) -> subprocess.Popen[bytes]:
    """Starts the child that delivers; the pipe to it never blocks."""
    with open_to_append(folder / "delivery.log") as log:
        options = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log, "bufsize": 0, "env": {URI_VARIABLE: uri}}
        child = _spawn("runner.tracking.deliver", folder, *words, **options)
    assert child.stdin is not None
    os.set_blocking(child.stdin.fileno(), False)
    return child
