"""What is wrong with a configuration, said all at once; and failures of a run."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.types import DataError, UserError
from runner.credentials import scrub
from runner.user_code import UserFrame, user_frames


class ConfigError(UserError):
    """Everything that is wrong with a configuration, a line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = tuple(dict.fromkeys(problems))

    def __str__(self) -> str:
        return "\n".join(self.problems)


class PlacedError(UserError):
    """Something wrong with the part that stands at a key of the configuration."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


@contextmanager
def error_location(key: str) -> Iterator[None]:
    """Names the key in the errors of what is built or asked within; one that names a key already stays."""
    try:
        yield
    except (ConfigError, PlacedError):
        raise
    except UserError as error:
        raise PlacedError(key, str(error)) from error
    except (Exception, SystemExit) as error:  # sys.exit in a part ends no run as if it were well
        if (found := as_part_error(error)) is None or found is error:
            raise
        found.key = key
        raise found from error


@contextmanager
def column_location(name: str) -> Iterator[None]:
    """Names the column in errors that are about how it is configured; those about a row name that themselves."""
    try:
        with error_location("feature.target" if name == "target" else f"feature.columns.{name}"):
            yield
    except PlacedError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise


class RunError(Exception):
    """A failure of a run whose message says all there is to say.

    It is no RuntimeError: contextlib drops one whose cause is a StopIteration, such as that of `next` in a part.
    """


class PartError(RunError):
    """The user's own part raised an exception, which is the cause of this one.

    Attributes:
        error: that exception.
        frames: where in the user's code it came from.
        key: that of the part in the configuration; "": unknown.
        target: that of the part, or the function that was called.
        origin: who chose the part.
        log: the file that has the whole traceback.
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
        """What is shown of it: the part and what it raised, the user's own frames, and where all frames are."""
        whole = f"{self.log} has the whole traceback" if self.log else f"{FILTERING}=off shows the whole traceback"
        return "\n".join([str(self), *(f"  {frame.place}: {frame.text}" for frame in self.frames), whole])


FILTERING = "JAX_TRACEBACK_FILTERING"  # JAX's own variable: `off` shows tracebacks with all of their frames
DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a disk that is full, or fails


class DiskError(RunError):
    """A file couldn't be written: once that is fixed, the same command goes on with the run."""

    def __init__(self, what: object, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(f"{what}: {reason}; once that is fixed, the same command goes on")


def is_disk_error(error: OSError, folder: Path | None = None) -> bool:
    """Whether it is the disk that failed, or something below a folder that can't be read or written."""
    if error.errno in DISK_ERRNOS:
        return True
    return folder is not None and error.filename is not None and Path(error.filename).is_relative_to(folder)


MEMORY_MESSAGES = (  # of XLA, of C++, of Python where it starts a thread, and of the loader of libraries
    "RESOURCE_EXHAUSTED",
    "bad_alloc",
    "Out of memory",
    "can't start new thread",
    "failed to map segment",
    "annot allocate memory",
)


def is_memory_error(error: BaseException) -> bool:
    """Whether it is memory that gave out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError | ImportError) and any(word in str(error) for word in MEMORY_MESSAGES)


def as_part_error(error: Exception | SystemExit) -> PartError | None:
    """The error of a part for an exception that the user's own code raised; None for any other, and for the disk's."""
    if isinstance(error, PartError):
        return error
    if isinstance(error, UserError | RunError) or is_memory_error(error):
        return None
    if isinstance(error, OSError) and is_disk_error(error):
        return None
    frames = user_frames(error)
    return PartError(error, frames) if frames else None


def describe_failure(error: BaseException) -> str:
    """Why a run failed, for its record: the message of an error of ours, of others the kind too; no credentials."""
    own = isinstance(error, UserError | RunError)  # whose message says all there is to say
    return scrub(str(error) if own else f"{type(error).__name__}: {error}")
