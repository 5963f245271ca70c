"""Delivers the records of runs from their folders to MLflow. A child process imports MLflow; this module doesn't."""

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
from typing import TYPE_CHECKING, Any, Protocol

from components.uri_mask import mask_uri
from runner import store_uri
from runner.credentials import URI_VARIABLE
from runner.files import open_to_append
from runner.log import LOG
from runner.run_folder import digest_summary, list_runs, read_record
from runner.tracking import address
from runner.tracking.identity import claim_folder, join_active_run, redirect_record
from runner.tracking.state import DeliveryState, describe_unsent

if TYPE_CHECKING:
    from runner.display.progress import Progress

DELIVERY_SECONDS = 2.0  # the end of a run waits at most this long for its delivery
CREATION_SECONDS = 20.0  # and this long for its link if MLflow first creates the tables of a SQLite file
POLL_SECONDS = 0.02  # between two checks whether the child process is done
REMEDY = "run `titrate mode=deliver` to send the rest"
REDELIVER = "redeliver"  # argument of the child process that delivers an ended run once more


class Delivery(Protocol):
    """The delivery of a folder's record during its run. It never stops or slows the run."""

    def notify(self) -> None:
        """Reports that a checkpoint covers more points. Never waits, and never raises."""

    def add_run(self, folder: Path) -> Delivery:
        """Adds the folder of a run to the delivery of its sweep. Returns the delivery of that run."""

    def close(self, seconds: float) -> str | None:
        """Reports that the run has ended, and waits for the delivery.

        Args:
            seconds: the longest wait. For the id of the first run in a new SQLite file it is CREATION_SECONDS.

        Returns:
            The id of the MLflow run; None: it is not known yet.
        """

    def describe_missing(self) -> str | None:
        """After `close`: a line about the part of the record that MLflow lacks, and what to do; None: it has all."""


def note_missing(note: str, progress: Progress, *, quiet: bool) -> None:
    """Shows what `Delivery.describe_missing` returned; if `quiet`, only a warning."""
    if not quiet or note.startswith("warning"):
        progress.note(note)


class Tracking(Protocol):
    """Where the records of runs are delivered."""

    def start(self, folder: Path) -> Delivery:
        """Starts the delivery of a run's or a sweep's folder, which holds its `record.json` already."""

    def describe(self) -> Mapping[str, Any]:
        """The address of the record, for `record.json`. Raises UserError if no record can be delivered there."""


class NoDelivery:
    """The delivery of a run that is recorded in its folder only: at the end, a child process draws its figures."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def notify(self) -> None: ...

    def add_run(self, folder: Path) -> Delivery:
        claim_folder(folder)
        return _MemberDelivery(self, folder)

    def close(self, seconds: float) -> None:
        draw_in_background(self._folder)

    def describe_missing(self) -> None: ...


class ChildDelivery:
    """A delivery by a child process. The delivery of a sweep also delivers all runs in the sweep's folder.

    The child process may outlive this one if the store is slow. This process writes a byte to the pipe for each
    notification, and closes the pipe at the end of the run; a kill closes it too.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder = folder
        database = store_uri.find_sqlite_file(uri)
        self._creates_store = database is not None and not database.exists()
        self._process = _start_child(folder, uri)

    def notify(self) -> None:
        assert self._process.stdin is not None
        # A full pipe holds bytes that the child has yet to read, so another byte isn't needed. A broken or closed
        # pipe means that no child reads it.
        with suppress(OSError, ValueError):
            self._process.stdin.write(b"\n")

    def add_run(self, folder: Path) -> Delivery:
        claim_folder(folder)
        self.notify()
        return _MemberDelivery(self, folder)

    def close(self, seconds: float) -> str | None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        _wait_for(self._process, seconds, self._is_end_delivered)
        if self._creates_store:  # usually the first run in a folder, whose user looks for the link
            _wait_for(self._process, CREATION_SECONDS, lambda: DeliveryState.load(self._folder).run_id is not None)
        return DeliveryState.load(self._folder).run_id

    def _is_end_delivered(self) -> bool:
        """Whether MLflow has the end of the run. The figures, which are sent later, don't count."""
        return DeliveryState.load(self._folder).ended_digest == digest_summary(self._folder)

    def describe_missing(self) -> str | None:
        states = [DeliveryState.load(folder) for folder in (self._folder, *list_runs(self._folder))]
        for state in states:
            if state.error is not None:
                return f"warning: MLflow lacks a part of the record: {state.error}; {REMEDY}"
        is_running = self._process.poll() is None
        log = self._folder / "delivery.log"
        if is_running and not self._is_end_delivered():
            return f"MLflow: a process in the background delivers the rest (log: {log})"
        if unsent := next(filter(None, map(describe_unsent, states)), None):
            return f"warning: {unsent}; the run's folder has it"
        if is_running or self._process.returncode == 0:
            return None
        return f"warning: the delivery to MLflow failed, see {log}; {REMEDY}"


class RepeatedDelivery(ChildDelivery):
    """The delivery of an ended run that has new files. The child process delivers after `close`.

    Args:
        folder: the run's folder.
        user_uri: `tracking.uri` of the user's command. Nothing is sent to a server that only the record names.
    """

    def __init__(self, folder: Path, user_uri: str | None) -> None:
        self._folder, self._creates_store = folder, False
        self._process = _start_child(folder, store_uri.resolve_store_uri(user_uri), REDELIVER)

    def _is_end_delivered(self) -> bool:
        return False  # MLflow has the end of such a run, but not its new files


@dataclass(frozen=True)
class _MemberDelivery:
    """The delivery of a run in a sweep, by the process that delivers the sweep.

    Attributes:
        sweep: the delivery of the sweep.
        folder: the run's folder.
    """

    sweep: Delivery
    folder: Path

    def notify(self) -> None:
        self.sweep.notify()

    def add_run(self, folder: Path) -> Delivery:
        return self.sweep.add_run(folder)

    def close(self, seconds: float) -> str | None:
        self.sweep.notify()
        return DeliveryState.load(self.folder).run_id

    def describe_missing(self) -> None:
        """None: the delivery of the sweep describes it for all runs."""


@dataclass(frozen=True, kw_only=True)
class MLflow:
    """Delivers records to MLflow. MLFLOW_RUN_ID names an existing run that receives the record of a run or a sweep.

    Attributes:
        uri: the tracking URI; None: MLFLOW_TRACKING_URI, or else `mlflow.db`, a SQLite file in the working folder.
        experiment: the MLflow experiment; None: MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID, or else the name of the
            run's experiment, or of its data.
        tags: tags of the run, by name.
        diff: whether the uncommitted changes of the files that the working folder's Git repository tracks are recorded,
            up to 1 MB.
        system_metrics: whether MLflow's monitor records the use of processors, memory, disk and network, every ten
            seconds.
    """

    uri: str | None = None
    experiment: str | None = None
    tags: Mapping[str, str | int | float | bool] | None = None
    diff: bool = True
    system_metrics: bool = False

    def start(self, folder: Path) -> Delivery:
        """Starts the delivery of a run's or a sweep's folder, which holds its `record.json` already.

        If a run is resumed with another `uri`, all its points are delivered there, from the first one.
        """
        record = read_record(folder)
        tracking = {"experiment": record.get("experiment", address.EXPERIMENT), **self.describe()}
        for path in (folder, *list_runs(folder)):
            if claim_folder(path):
                LOG.info("%s is a copy: its record is delivered to a new MLflow run", path)
            redirect_record(path, tracking)
        join_active_run(folder)  # the runs in a sweep stay its children in MLflow
        return ChildDelivery(folder, store_uri.resolve_store_uri(self.uri))

    def describe(self) -> dict[str, Any]:
        """The address of the record, for `record.json`, without credentials.

        Raises:
            UserError: no record can be delivered there.
        """
        uri = address.check_store(self.uri)
        monitor = {"system_metrics": True} if self.system_metrics else {}
        return {"uri": mask_uri(uri), **address.choose_experiment(self.experiment, uri), **monitor}


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Records a run in its own folder only."""

    def start(self, folder: Path) -> NoDelivery:
        """Returns a delivery that sends nothing."""
        claim_folder(folder)
        return NoDelivery(folder)

    def describe(self) -> Mapping[str, Any]:
        """Empty: the record is delivered nowhere."""
        return {}


def describe_view(folder: Path, tracking: Mapping[str, Any]) -> str | None:
    """How to open the MLflow run of a folder: the command of the user interface, if the store is local, and the link.

    Args:
        folder: the folder.
        tracking: the address of the record. Empty: it is delivered nowhere, and the result is None.
    """
    if not tracking:
        return None
    state, command = DeliveryState.load(folder), store_uri.format_view_command(tracking["uri"])
    if state.run_id is None or state.experiment_id is None:  # MLflow may have the run later
        return command
    link = store_uri.format_run_link(tracking["uri"], state.experiment_id, state.run_id)
    return "\n".join(filter(None, [command if command != tracking["uri"] or link is None else None, link]))


def draw_in_background(folder: Path) -> None:
    """Draws the figures of a run, or of a sweep and its runs, in a child process. Errors go to the run's log."""
    with open_to_append(folder / "log.txt") as log:
        _reap_in_background(_start_module("runner.figures", folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log))


def _wait_for(process: subprocess.Popen[bytes], seconds: float, is_done: Callable[[], bool]) -> None:
    """Waits until a process has ended or `is_done` returns true, but not longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and not is_done() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    _reap_in_background(process)


def _reap_in_background(process: subprocess.Popen[bytes]) -> None:
    """Waits in a thread for a process to end, since it would stay as a zombie otherwise."""
    if process.poll() is None:
        threading.Thread(target=process.wait, daemon=True).start()


def _start_module(module: str, folder: Path, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a module as a process in its own session, which receives no signals from the terminal (Ctrl-C)."""
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        # -P: a module `runner` or `components` in the user's working folder doesn't shadow ours.
        [sys.executable, "-P", "-m", module, str(folder.absolute()), *arguments],
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path} | options.pop("env", {}),
        **options,
    )


def _start_child(folder: Path, uri: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts the child process that delivers a folder. A write to its standard input never blocks."""
    with open_to_append(folder / "delivery.log") as log:
        options = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log, "bufsize": 0, "env": {URI_VARIABLE: uri}}
        child = _start_module("runner.tracking.deliver", folder, *arguments, **options)
    assert child.stdin is not None
    os.set_blocking(child.stdin.fileno(), False)
    return child
