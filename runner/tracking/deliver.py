"""The delivery of runs' folders to MLflow: by a child process during a run, by `mode=deliver` after it."""

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
from typing import NamedTuple, TextIO

from components.types import UserError
from runner import store_uri
from runner.credentials import URI_VARIABLE, scrub
from runner.record import outbox
from runner.run_folder import digest_summary, is_running, list_runs, open_lock, read_record
from runner.tracking import AGAIN, store
from runner.tracking.delivery import FolderDelivery, draw
from runner.tracking.state import DeliveryState, describe_missing

REST_SECONDS = 5.0  # between two deliveries, so that a run of short epochs keeps its processor


class Outcome(NamedTuple):
    """What became of the delivery of a folder."""

    folder: Path
    run_id: str | None  # None: MLflow doesn't know the run yet
    note: str
    failed: bool = False

    def __str__(self) -> str:
        run = f" (MLflow run {self.run_id})" if self.run_id else ""
        return f"{self.folder}: {self.note}{run}"


def deliver(
    folder: Path, *, over: bool = True, given: str | None = None, gone: dict[str, str] | None = None
) -> DeliveryState:
    """Delivers what a checkpoint covers, and the run's end if it is over; doing so again is harmless.

    `given` is the URI that the user's words give. `gone` holds the stores that can't be reached, and why: they aren't
    asked, and one that is found to be so is added. The caller holds the delivery lock.
    Raises whatever the store raises, having noted it, and drawn the figures.
    """
    record = read_record(folder)
    uri = record["tracking"]["uri"]
    try:
        if gone is not None and uri in gone:
            raise ConnectionError(gone[uri])
        client = store.connect(store_uri.check_recorded_uri(uri, given))
        return FolderDelivery(folder, record, client, own=store_uri.is_named_by_user(uri, given)).deliver(over=over)
    except Exception as error:
        if gone is not None and uri not in gone and (reason := _refusal(uri, given, attempts=1)):
            gone[uri] = reason
        state = replace(DeliveryState.load(folder), error=f"{uri}: {_brief(error)}")
        state.save(folder)
        if over:
            replace(state, drawn=draw(folder, state.drawn)).save(folder)
        raise


def deliver_all(root: Path, only: Path | None = None, *, given: str | None = None) -> list[Outcome]:
    """Delivers what the runs' folders below `root`, or that one folder, still hold; an outcome for each.

    `given` is the URI that the user's words give.
    Raises UserError where a store didn't take everything, after trying all.
    """
    refusal = functools.cache(functools.partial(_refusal, given=given))  # a store that is out of reach is asked once
    pending = filter(is_pending, list_runs(root) if only is None else [only])
    outcomes = [_outcome(folder, refusal, given) for folder in pending]
    failed = [str(outcome) for outcome in outcomes if outcome.failed]
    if failed:
        heading = f"MLflow didn't take {len(failed)} of {len(outcomes)} records; they stay in their folders:"
        raise UserError("\n  ".join([heading, *failed]))
    return outcomes


def main(folder: Path) -> int:
    """The child: delivers at each byte on standard input, and the end when it closes; the exit code.

    Of a sweep it delivers every run that its folder holds: what is missing is told by the folders, so no byte matters.
    """
    given = os.environ.get(URI_VARIABLE)  # once: what MLflow does may change the environment
    os.nice(19)  # the run goes first
    written = redirect_stdout(_Scrubbed(sys.stdout)), redirect_stderr(_Scrubbed(sys.stderr))
    gone: dict[str, str] = {}
    with written[0], written[1], _delivery_lock(folder, wait=True):
        _attempt(folder, given, gone, over=False)
        while os.read(sys.stdin.fileno(), 4096):
            _attempt_all(folder, given, gone, over=False)
            importlib.import_module("runner.figures")  # ahead of the end, which draws some
            _rest()
        return 0 if _attempt_all(folder, given, gone, over=True) else 1


def main_again(folder: Path) -> int:
    """The child that delivers a folder once more, with files that are new in it once standard input closes."""
    given = os.environ.get(URI_VARIABLE)
    written = redirect_stdout(_Scrubbed(sys.stdout)), redirect_stderr(_Scrubbed(sys.stderr))
    with written[0], written[1]:
        with suppress(Exception):  # it is tried below; ahead of that MLflow is imported
            store.connect(store_uri.check_recorded_uri(read_record(folder)["tracking"]["uri"], given))
        while os.read(sys.stdin.fileno(), 4096):
            pass
        with _delivery_lock(folder, wait=True):
            return 0 if _attempt(folder, given, {}, over=not is_running(folder)) else 1


class _Scrubbed(io.TextIOBase):
    """A standard stream, which goes to `delivery.log`, without the credentials that a library may write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(scrub(text))

    def flush(self) -> None:
        if not self._stream.closed:  # which the end of the process may have done
            self._stream.flush()


def _attempt_all(folder: Path, given: str | None, gone: dict[str, str], *, over: bool) -> bool:
    """Delivers what a folder, and of a sweep the runs in it, still hold; whether all went well.

    A store that was out of reach is asked once whether it still is, and for none of the runs where that is so.
    """
    for uri in [uri for uri in gone if _refusal(uri, given, attempts=1) is None]:
        del gone[uri]
    went = []
    for member in list_runs(folder):
        with suppress(OSError), _delivery_lock(member, wait=True):  # it may be deleted meanwhile
            went.append(not is_pending(member) or _attempt(member, given, gone, over=not is_running(member)))
    return _attempt(folder, given, gone, over=over) and all(went)


def _attempt(folder: Path, given: str | None, gone: dict[str, str], *, over: bool) -> bool:
    try:
        deliver(folder, over=over, given=given, gone=gone)
    except Exception:  # whatever a store raises: the next byte is the next attempt
        with suppress(OSError):  # the disk may be full
            sys.stderr.write(traceback.format_exc(limit=-4, chain=False))  # at once, so that no secret is split
        return False
    return True


def _rest() -> None:
    """Sleeps; the end of the run interrupts it."""
    poll = select.poll()
    poll.register(sys.stdin, select.POLLHUP)
    poll.poll(REST_SECONDS * 1000)


def _outcome(folder: Path, refusal: Callable[[str], str | None], given: str | None) -> Outcome:
    try:
        run_id, uri = DeliveryState.load(folder).run_id, read_record(folder)["tracking"]["uri"]
    except UserError as error:
        return Outcome(folder, None, str(error), failed=True)
    if reason := refusal(uri):
        return Outcome(folder, run_id, f"{uri}: {reason}", failed=True)
    try:
        with _delivery_lock(folder, wait=False) as free:
            if not free:
                return Outcome(folder, run_id, "is being delivered by another process")
            state = deliver(folder, over=not is_running(folder), given=given)
            return Outcome(folder, state.run_id, "; ".join(filter(None, ["delivered", describe_missing(state)])))
    except Exception as error:  # whatever a store or a damaged file raises: the other folders have their turn
        return Outcome(folder, run_id, f"{uri}: {_brief(error)}", failed=True)


def _refusal(uri: str, given: str | None, *, attempts: int | None = None) -> str | None:
    """Why a store can't be reached; None where it can. With one of `attempts`, a request isn't repeated."""
    try:
        with store.one_attempt() if attempts == 1 else nullcontext():
            store.connect(store_uri.check_recorded_uri(uri, given)).search_experiments(max_results=1)
    except Exception as error:  # whatever a store raises
        return _brief(error)
    return None


@contextmanager
def _delivery_lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lets one process at a time deliver a folder; gives False where it is another one's turn."""
    with os.fdopen(open_lock(folder / "delivery.lock"), "rb+", buffering=0) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            (folder / "delivered.tmp").unlink(missing_ok=True)  # of a process that was killed as it wrote
            yield True


def is_pending(folder: Path) -> bool:
    """Whether MLflow lacks something of a folder; of a damaged one it does."""
    try:
        if not read_record(folder)["tracking"]:
            return False
        state = DeliveryState.load(folder)
        return (
            state.offset != outbox.covered(folder) or state.ended != digest_summary(folder) or state.error is not None
        )
    except ValueError:
        return True


def _brief(error: Exception) -> str:
    """An error's first line, without the middle where it is long; all that an error of ours says."""
    if isinstance(error, UserError):
        return scrub(str(error))
    line = scrub((str(error).splitlines() or [""])[0] or type(error).__name__)
    return line if len(line) <= 200 else f"{line[:80]} … {line[-110:]}"


if __name__ == "__main__":
    sys.exit((main_again if AGAIN in sys.argv[2:] else main)(Path(sys.argv[1])))
