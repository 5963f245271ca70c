"""Errors of a configuration, and failures of a run."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.types import DataError, FieldError, UserError
from runner.credentials import scrub
from runner.override_text import locate_settings
from runner.user_code import UserFrame, user_frames


class ConfigError(UserError):
    """All problems of a configuration.

    Attributes:
        problems: one line for each problem, without repetitions.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = tuple(dict.fromkeys(problems))

    def __str__(self) -> str:
        return "\n".join(self.problems)


class LocatedError(UserError):
    """A problem of the part at a known key of the configuration.

    Attributes:
        key: the dotted key.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


@contextmanager
def error_location(key: str) -> Iterator[None]:
    """Adds a key of the configuration to errors raised inside, unless they already have a key.

    Args:
        key: the dotted key of the part that is built or called.

    Raises:
        LocatedError: a UserError was raised.
        PartError: an exception was raised in the user's code.
    """
    try:
        yield
    except (ConfigError, LocatedError):
        raise
    except UserError as error:
        if not isinstance(error, FieldError):
            raise LocatedError(key, locate_settings(str(error), key)) from error
        part = f"{key}.{error.part}" if error.part else key
        raise LocatedError(f"{key}.{error.field}", locate_settings(error.message, part)) from error
    except (Exception, SystemExit) as error:  # SystemExit: `sys.exit` in a part must not end a run with success
        if (part_error := as_part_error(error)) is None or part_error is error:
            raise
        part_error.key = key
        raise part_error from error


@contextmanager
def located_settings(key: str) -> Iterator[None]:
    """Writes the remedies of errors in the data as overrides of the part at a key. They already name a row."""
    try:
        yield
    except (ConfigError, LocatedError):
        raise
    except DataError as error:
        remedies = (each._replace(action=locate_settings(each.action, key)) for each in error.remedies)
        error.replace_remedies(remedies, locate_settings(error.fault, key))
        raise


@contextmanager
def column_location(key: str) -> Iterator[None]:
    """Adds the key of a feature column or target to errors raised inside. Errors in the data already name a row."""
    try:
        with error_location(key):
            yield
    except LocatedError as error:
        if isinstance(error.__cause__, DataError):
            with located_settings(key):
                raise error.__cause__ from None
        raise


class RunError(Exception):
    """A failure of a run with a complete message, so that no traceback is printed.

    It is not a RuntimeError, because contextlib drops a RuntimeError that is caused by a StopIteration.
    """


class PartError(RunError):
    """An exception in the user's code.

    Attributes:
        error: the original exception.
        frames: the frames of the user's code in its traceback.
        key: the key of the part in the configuration; "": unknown.
        target: the target of the part, or the function that raised.
        origin: the file or override that chose the part; None: unknown.
        log: the file with the whole traceback; None: there is no file.
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
        except Exception:  # raised by `__str__` of the user's exception
            message = ""
        name = type(self.error).__name__
        text = f"{self.target} raised {f'{name}: {message}' if message else name}"
        if self.key:
            text = f"{self.key}: {text}"
        return f"{text} [set by {self.origin}]" if self.origin else text

    def report(self) -> str:
        """The text for the user: the part and its exception, the frames of the user's code, and the way to see all."""
        see_all = f"Set {TRACEBACK_VARIABLE}=off to see the whole traceback."
        if self.log:
            see_all = f"The whole traceback is in {self.log}"
        return "\n".join([str(self), *(f"  {frame.location}: {frame.text}" for frame in self.frames), see_all])


TRACEBACK_VARIABLE = "JAX_TRACEBACK_FILTERING"  # a variable of JAX: with `off`, tracebacks have all frames
DISK_ERROR_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a full or failing disk


class DiskError(RunError):
    """A file of a run can't be written. The same command resumes the run."""

    def __init__(self, file: object, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(f"{file}: {reason}. Fix this, then resume the run with the same command.")


def is_disk_error(error: OSError, folder: Path | None = None) -> bool:
    """Whether the disk is full or failed, or a file below `folder` can't be read or written."""
    if error.errno in DISK_ERROR_NUMBERS:
        return True
    return folder is not None and error.filename is not None and Path(error.filename).is_relative_to(folder)


OUT_OF_MEMORY_MESSAGES = (  # of XLA, C++, Python's threads and the loader of shared libraries
    "RESOURCE_EXHAUSTED",
    "bad_alloc",
    "Out of memory",
    "can't start new thread",
    "failed to map segment",
    "annot allocate memory",
)


def is_memory_error(error: BaseException) -> bool:
    """Whether an exception means that no memory was left."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError | ImportError) and any(text in str(error) for text in OUT_OF_MEMORY_MESSAGES)


def as_part_error(error: Exception | SystemExit) -> PartError | None:
    """Wraps an exception that the user's code raised.

    Returns:
        The wrapped exception; None for Titrate's own errors, for errors of the disk and of memory, and for exceptions
        from other code.
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
    """The reason of a failure for the record of the run, without credentials."""
    has_complete_message = isinstance(error, UserError | RunError)
    return scrub(str(error) if has_complete_message else f"{type(error).__name__}: {error}")
