"""Delivers run folders to MLflow: in a child process during a run, or later, by `mode=deliver`.

Every file has one writer, so a run and its delivery don't wait for each other:

- The run holds `lock` while it runs. It appends points to `points.jsonl`, each with a timestamp that never changes.
  After each checkpoint it writes to `points.covered` how many bytes of points the checkpoint covers. At its end it
  writes `summary.json`. If `lock` is free and there is no `summary.json`, the run was killed.
- The delivery holds `delivery.lock`, so only one process delivers a folder at a time. It sends the covered points, then
  writes to `delivered.json` how many bytes MLflow has. It finds the MLflow run by a tag before it creates one.

Each point arrives exactly once. No point gets lost, because `delivered.json` is written after MLflow has the points: a
kill in between sends them again. No point arrives twice, because a point that is sent again has the same key, value,
timestamp and step, and a SQL store keeps identical points once. A point that no checkpoint covers is not sent, because
a resumed run measures it again.
"""

from __future__ import annotations

import fcntl
import functools
import importlib
import io
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from components.types import UserError
from runner import store_uri
from runner.credentials import URI_VARIABLE, scrub
from runner.garbage import collect_garbage_rarely
from runner.record import outbox
from runner.run_folder import digest_summary, is_running, list_runs, open_lock, read_record
from runner.tracking import REDELIVER, store
from runner.tracking.folder_delivery import FolderDelivery, draw_new_figures
from runner.tracking.state import DeliveryState, describe_unsent

PAUSE_SECONDS = 5.0  # between two deliveries, so that a run of short epochs keeps its processor


class DeliveryOutcome(NamedTuple):
    """The outcome of the delivery of a folder.

    Attributes:
        folder: the folder.
        run_id: the MLflow run; None: MLflow has none yet.
        note: what was delivered, or why not.
        failed: whether the record, or a part of it, was not delivered.
    """

    folder: Path
    run_id: str | None
    note: str
    failed: bool = False

    def __str__(self) -> str:
        run = f" (MLflow run {self.run_id})" if self.run_id else ""
        return f"{self.folder}: {self.note}{run}"


def deliver(
    folder: Path, *, run_ended: bool = True, user_uri: str | None = None, unreachable: dict[str, str] | None = None
) -> DeliveryState:
    """Delivers the covered points of a folder and, if its run has ended, the end. The caller holds `delivery.lock`.

    Args:
        folder: the folder.
        run_ended: whether the run has ended.
        user_uri: `tracking.uri` of the user's command; None: the environment's.
        unreachable: the stores that can't be reached, with the reason; none of these is tried. A store that turns out
            to be unreachable is added.

    Raises:
        Exception: any error of the store; `delivered.json` holds its message, and the figures are drawn.
    """
    record = read_record(folder)
    uri = record["tracking"]["uri"]
    try:
        if unreachable is not None and uri in unreachable:
            raise ConnectionError(unreachable[uri])
        client = store.connect(store_uri.check_recorded_uri(uri, user_uri))
        is_store_trusted = store_uri.is_named_by_user(uri, user_uri)
        return FolderDelivery(folder, record, client, is_store_trusted=is_store_trusted).deliver(run_ended=run_ended)
    except Exception as error:
        if unreachable is not None and uri not in unreachable:
            reason = _find_connection_error(uri, user_uri, retry=False)
            if reason is not None:
                unreachable[uri] = reason
        state = replace(DeliveryState.load(folder), error=f"{uri}: {_summarize(error)}")
        state.save(folder)
        if run_ended:
            replace(state, drawn_digest=draw_new_figures(folder, state.drawn_digest)).save(folder)
        raise


def deliver_all(root: Path, only: Path | None = None, *, user_uri: str | None = None) -> list[DeliveryOutcome]:
    """Delivers every folder whose record, or a part of it, is missing in MLflow.

    Args:
        root: the folder of all runs.
        only: the only folder to deliver; None: all below `root`.
        user_uri: `tracking.uri` of the user's command; None: the environment's.

    Raises:
        UserError: some folders could not be delivered. All others are delivered first.
    """
    # With the cache, an unreachable store is tried once for all folders.
    connection_error = functools.cache(functools.partial(_find_connection_error, user_uri=user_uri))
    pending = filter(is_pending, list_runs(root) if only is None else [only])
    outcomes = [_deliver_pending(folder, connection_error, user_uri) for folder in pending]
    failed = [str(outcome) for outcome in outcomes if outcome.failed]
    if failed:
        heading = f"{len(failed)} of {len(outcomes)} records were not delivered; they stay in their folders:"
        raise UserError("\n  ".join([heading, *failed]))
    return outcomes


def main(folder: Path) -> int:
    """The child process of a run or a sweep. Delivers after each byte on standard input, and the end when it closes.

    Returns:
        The exit code.
    """
    user_uri = os.environ.get(URI_VARIABLE)  # read before MLflow, which may change the environment
    os.nice(19)  # the run has priority
    unreachable: dict[str, str] = {}
    with _scrubbed_output(), _delivery_lock(folder, wait=True):
        _try_delivery(folder, user_uri, unreachable, run_ended=False)
        with _system_monitor(folder, user_uri):
            while os.read(sys.stdin.fileno(), 4096):  # all bytes at once: the files show what to deliver
                _try_all_deliveries(folder, user_uri, unreachable, run_ended=False)
                importlib.import_module("runner.figures")  # before the end of the run, which waits for its figures
                _pause()
        return 0 if _try_all_deliveries(folder, user_uri, unreachable, run_ended=True) else 1


def main_redeliver(folder: Path) -> int:
    """The child process of an ended run that gets new files. Delivers these once standard input closes."""
    user_uri = os.environ.get(URI_VARIABLE)
    with _scrubbed_output():
        with suppress(Exception):  # imports MLflow while the files are written; the delivery below reports any error
            store.connect(store_uri.check_recorded_uri(read_record(folder)["tracking"]["uri"], user_uri))
        while os.read(sys.stdin.fileno(), 4096):
            pass
        with _delivery_lock(folder, wait=True):
            return 0 if _try_delivery(folder, user_uri, {}, run_ended=not is_running(folder)) else 1


@contextmanager
def _system_monitor(folder: Path, user_uri: str | None) -> Iterator[None]:
    """Records the use of the machine in the context, if `tracking.system_metrics` is true and MLflow has the run.

    The store must have been reached: the monitor would create a new one in its place. An error of the monitor is
    written to the log, and stops no delivery.
    """
    tracking, state, monitor = read_record(folder)["tracking"], DeliveryState.load(folder), None
    if tracking.get("system_metrics") and state.run_id is not None and state.error is None:
        try:
            monitor = _start_system_monitor(state.run_id, store_uri.check_recorded_uri(tracking["uri"], user_uri))
        except Exception:
            sys.stderr.write(traceback.format_exc(limit=-4, chain=False))
    try:
        yield
    finally:
        if monitor is not None:
            monitor.finish()


def _start_system_monitor(run_id: str, uri: str) -> Any:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=store.connect(uri).tracking_uri)
    monitor.start()
    return monitor


@contextmanager
def _scrubbed_output() -> Iterator[None]:
    """Removes credentials, which a library may print, from the standard streams: both go to `delivery.log`."""
    with redirect_stdout(_ScrubbedStream(sys.stdout)), redirect_stderr(_ScrubbedStream(sys.stderr)):
        yield


class _ScrubbedStream(io.TextIOBase):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(scrub(text))

    def flush(self) -> None:
        if not self._stream.closed:  # the interpreter may have closed it at its exit
            self._stream.flush()


def _try_all_deliveries(folder: Path, user_uri: str | None, unreachable: dict[str, str], *, run_ended: bool) -> bool:
    """Delivers a folder and, of a sweep, the runs in it. Returns whether all succeeded.

    Each unreachable store is tried once; while it stays unreachable, it is not tried for each run.
    """
    for uri in [uri for uri in unreachable if _find_connection_error(uri, user_uri, retry=False) is None]:
        del unreachable[uri]
    succeeded = []
    for run in list_runs(folder):
        with suppress(OSError), _delivery_lock(run, wait=True):  # OSError: the folder was removed meanwhile
            if is_pending(run):
                succeeded.append(_try_delivery(run, user_uri, unreachable, run_ended=not is_running(run)))
    return _try_delivery(folder, user_uri, unreachable, run_ended=run_ended) and all(succeeded)


def _try_delivery(folder: Path, user_uri: str | None, unreachable: dict[str, str], *, run_ended: bool) -> bool:
    try:
        deliver(folder, run_ended=run_ended, user_uri=user_uri, unreachable=unreachable)
    except Exception:  # a store may raise anything; the next byte tries again
        with suppress(OSError):  # the disk may be full
            # In one write, because a secret that is split over two writes is not recognized.
            sys.stderr.write(traceback.format_exc(limit=-4, chain=False))
        return False
    return True


def _pause() -> None:
    """Sleeps for PAUSE_SECONDS, or until the run ends."""
    poll = select.poll()
    poll.register(sys.stdin, select.POLLHUP)
    poll.poll(PAUSE_SECONDS * 1000)


def _deliver_pending(
    folder: Path, connection_error: Callable[[str], str | None], user_uri: str | None
) -> DeliveryOutcome:
    try:
        run_id, uri = DeliveryState.load(folder).run_id, read_record(folder)["tracking"]["uri"]
    except UserError as error:
        return DeliveryOutcome(folder, None, str(error), failed=True)
    if reason := connection_error(uri):
        return DeliveryOutcome(folder, run_id, f"{uri}: {reason}", failed=True)
    try:
        with _delivery_lock(folder, wait=False) as is_locked:
            if not is_locked:
                return DeliveryOutcome(folder, run_id, "is being delivered by another process")
            state = deliver(folder, run_ended=not is_running(folder), user_uri=user_uri)
            note = "; ".join(filter(None, ["delivered", describe_unsent(state)]))
            return DeliveryOutcome(folder, state.run_id, note)
    except Exception as error:  # a store or a damaged file may raise anything; the other folders are delivered still
        return DeliveryOutcome(folder, run_id, f"{uri}: {_summarize(error)}", failed=True)


def _find_connection_error(uri: str, user_uri: str | None, *, retry: bool = True) -> str | None:
    """Connects to a store. Returns why that fails; None: it succeeds.

    Args:
        uri: the store's URI in the record.
        user_uri: `tracking.uri` of the user's command; None: the environment's.
        retry: whether MLflow repeats a failed request.
    """
    try:
        with nullcontext() if retry else store.without_retries():
            store.connect(store_uri.check_recorded_uri(uri, user_uri)).search_experiments(max_results=1)
    except Exception as error:  # a store may raise anything
        return _summarize(error)
    return None


@contextmanager
def _delivery_lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Locks `delivery.lock`, so that one process at a time delivers a folder.

    Args:
        folder: the folder.
        wait: whether to wait while another process has the lock.

    Yields:
        Whether this process has the lock.
    """
    with os.fdopen(open_lock(folder / "delivery.lock"), "rb+", buffering=0) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            (folder / "delivered.tmp").unlink(missing_ok=True)  # of a process that was killed while it wrote
            yield True


def is_pending(folder: Path) -> bool:
    """Whether MLflow lacks a part of a folder's record. True for a damaged folder."""
    try:
        if not read_record(folder)["tracking"]:
            return False
        state = DeliveryState.load(folder)
        is_delivered = state.offset == outbox.read_checkpointed_size(folder) and state.ended_digest == digest_summary(
            folder
        )
        return not is_delivered or state.error is not None
    except ValueError:
        return True


def _summarize(error: Exception) -> str:
    """The first line of an error, without its middle if it is long. A UserError is short, and is returned whole."""
    if isinstance(error, UserError):
        return scrub(str(error))
    line = scrub((str(error).splitlines() or [""])[0] or type(error).__name__)
    return line if len(line) <= 200 else f"{line[:80]} … {line[-110:]}"


if __name__ == "__main__":
    collect_garbage_rarely()
    sys.exit((main_redeliver if REDELIVER in sys.argv[2:] else main)(Path(sys.argv[1])))
