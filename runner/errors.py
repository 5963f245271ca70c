"""Errors of a configuration, which list all problems at once, and failures of a run."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.types import DataError, UserError
from runner.credentials import scrub
from runner.user_code import UserFrame, user_frames


class ConfigError(UserError):
    """All problems of a configuration.

    Attributes:
        problems: one line each, without repetitions.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = tuple(dict.fromkeys(problems))

    def __str__(self) -> str:
        return "\n".join(self.problems)


class LocatedError(UserError):
    """A problem of the part at a key of the configuration.

    Attributes:
        key: the dotted key.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


@contextmanager
def error_location(key: str) -> Iterator[None]:
    """Adds a key of the configuration to errors raised inside, unless they already name a key.

    Args:
        key: the dotted key of the part that is built or called.

    Raises:
        PlacedError: for an error of the user.
        PartError: for an exception in the user's own code.
    """
    try:
        yield
    except (ConfigError, LocatedError):
        raise
    except UserError as error:
        raise LocatedError(key, str(error)) from error
    except (Exception, SystemExit) as error:  # SystemExit: sys.exit in a part must not end a run with success
        if (part_error := as_part_error(error)) is None or part_error is error:
            raise
        part_error.key = key
        raise part_error from error


@contextmanager
def column_location(name: str) -> Iterator[None]:
    """Adds the key of a column to errors about its configuration. Errors in the data already name their row."""
    try:
        with error_location("feature.target" if name == "target" else f"feature.columns.{name}"):
            yield
    except LocatedError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise


class RunError(Exception):
    """A failure of a run whose message is complete, so that no traceback is shown.

    It is not a RuntimeError: contextlib drops a RuntimeError caused by a StopIteration, such as that of `next`.
    """


class PartError(RunError):
    """An exception in the user's own code.

    Attributes:
        error: the exception, which is also the cause of this one.
        frames: the frames of the user's code in its traceback.
        key: the key of the part in the configuration; "": unknown.
        target: the target of the part, or the function that raised.
        origin: the file or word that chose the part; None: unknown.
        log: the file with the whole traceback; None: there is none.
    """

    def __init__(self, error: Exception | SystemExit, frames: tuple[UserFrame, ...]) -> None:
        super().__init__()
        self.error, self.frames = error, frames
        self.key, self.target = "", frames[0].name
        self.origin: str | None = None
        self.log: Path | None = None

    def __str__(self) -> str:
        try:
            message = next(iter(str(self.error).strip().splitlines()), "")
        except Exception:  # its class is the user's own
            message = ""
        kind = type(self.error).__name__
        raised = f"{self.target} raised {f'{kind}: {message}' if message else kind}"
        return (f"{self.key}: " if self.key else "") + raised + (f" [set by {self.origin}]" if self.origin else "")

    def report(self) -> str:
        """The text for the user: the part and its exception, the user's own frames, and where all frames are."""
        whole = (
            f"{self.log} has the whole traceback" if self.log else f"{TRACEBACK_VARIABLE}=off shows the whole traceback"
        )
        return "\n".join([str(self), *(f"  {frame.place}: {frame.text}" for frame in self.frames), whole])


TRACEBACK_VARIABLE = "JAX_TRACEBACK_FILTERING"  # JAX's own variable: `off` shows tracebacks with all of their frames
DISK_ERROR_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a full or failing disk


class DiskError(RunError):
    """A file of a run can't be written. The same command resumes the run once that is fixed."""

    def __init__(self, what: object, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(f"{what}: {reason}; once that is fixed, the same command goes on")


def is_disk_error(error: OSError, folder: Path | None = None) -> bool:
    """Whether the disk is full or failed, or a file below `folder` can't be read or written."""
    if error.errno in DISK_ERROR_NUMBERS:
        return True
    return folder is not None and error.filename is not None and Path(error.filename).is_relative_to(folder)


MEMORY_MESSAGES = (  # of XLA, C++, Python's threads and the loader of shared libraries
    "RESOURCE_EXHAUSTED",
    "bad_alloc",
    "Out of memory",
    "can't start new thread",
    "failed to map segment",
    "annot allocate memory",
)


def is_memory_error(error: BaseException) -> bool:
    """Whether an exception means that the memory ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError | ImportError) and any(word in str(error) for word in MEMORY_MESSAGES)


def as_part_error(error: Exception | SystemExit) -> PartError | None:
    """Wraps an exception that the user's own code raised.

    Returns:
        The error; None for errors of ours, of the disk and of memory, and for exceptions from other code.
    """
    if isinstance(error, PartError):
        return error
    if isinstance(error, UserError | RunError) or is_memory_error(error):
        return None
    if isinstance(error, OSError) and is_disk_error(error):
        return None
    frames = user_frames(error)
    return PartError(error, frames) if frames else None


def describe_failure(error: BaseException) -> str:
    """Why a run failed, for its record, without credentials. The class is added unless the error is one of ours."""
    is_ours = isinstance(error, UserError | RunError)
    return scrub(str(error) if is_ours else f"{type(error).__name__}: {error}")
