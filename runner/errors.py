"""What is wrong with a configuration, said all at once; and failures of a run."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.types import DataError, UserError
from runner.credentials import scrub

FEW = 20  # names that a message lists


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
def at(key: str) -> Iterator[None]:
    """Names the key in the errors of what is built or asked within; one that names a key already stays."""
    try:
        yield
    except (ConfigError, PlacedError):
        raise
    except UserError as error:
        raise PlacedError(key, str(error)) from error


@contextmanager
def at_column(name: str) -> Iterator[None]:
    """Names the column in errors that are about how it is configured; those about a row name that themselves."""
    try:
        with at("feature.target" if name == "target" else f"feature.columns.{name}"):
            yield
    except PlacedError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise


class RunError(RuntimeError):
    """A failure of a run whose message says all there is to say."""


DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # a disk that is full, or fails


class DiskError(RunError):
    """A file couldn't be written: once that is fixed, the same command goes on with the run."""

    def __init__(self, what: object, error: OSError) -> None:
        reason = error.strerror or str(error)
        super().__init__(f"{what}: {reason}; once that is fixed, the same command goes on")


def is_of_disk(error: OSError, folder: Path | None = None) -> bool:
    """Whether it is the disk that failed, or something below a folder that can't be read or written."""
    if error.errno in DISK:
        return True
    return folder is not None and error.filename is not None and Path(error.filename).is_relative_to(folder)


MEMORY = (  # what is said where memory gives out: by XLA, by C++, by Python of a thread, and by the loader of libraries
    "RESOURCE_EXHAUSTED",
    "bad_alloc",
    "Out of memory",
    "can't start new thread",
    "failed to map segment",
    "annot allocate memory",
)


def is_of_memory(error: BaseException) -> bool:
    """Whether it is memory that gave out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    kind = isinstance(error, RuntimeError | ImportError) and not isinstance(error, RunError)
    return kind and any(word in str(error) for word in MEMORY)


def reason(error: BaseException) -> str:
    """Why a run failed, for its record: the message of an error of ours, of others the kind too; no credentials."""
    own = isinstance(error, UserError | RunError)  # whose message says all there is to say
    return scrub(str(error) if own else f"{type(error).__name__}: {error}")


def suggestion(name: object, allowed: Iterable[str]) -> str:
    """The nearest of the allowed names, and all where they are few: `did you mean nadam? (adam, nadam)`."""
    names = list(dict.fromkeys(allowed))
    nearest = difflib.get_close_matches(str(name), names, n=1)
    listed = (", ".join(names) or "none") if len(names) <= FEW else ""
    if nearest:
        return f"did you mean {nearest[0]}?" + (f" ({listed})" if listed else "")
    return f"allowed: {listed or f'{len(names)} others'}"
