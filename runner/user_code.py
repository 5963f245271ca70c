"""The user's own packages, whose parts a configuration may name too, and their frames in a traceback."""

from __future__ import annotations

import contextlib
import linecache
import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

VARIABLE = "TITRATE_ALLOW"
OURS = ("components", "runner")
LIBRARIES = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def added_packages() -> tuple[str, ...]:
    """The packages that the user adds by TITRATE_ALLOW=name,name or --allow: all that they define may be named."""
    return tuple(filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))))


ALLOWED: list[str] = []  # by the command line


def allow_package(name: str) -> None:
    """Adds a package, in this process and those that it starts."""
    ALLOWED.append(name)
    os.environ[VARIABLE] = ",".join(filter(None, [os.environ.get(VARIABLE, ""), name]))


@contextlib.contextmanager
def forget_added_packages() -> Iterator[None]:
    """What a command allows ends with it: a later call in the same process allows no more than its own user does."""
    before = os.environ.get(VARIABLE)
    try:
        yield
    finally:
        ALLOWED.clear()
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def is_user_code(name: str) -> bool:
    """Whether a dotted path is below a package that the user adds."""
    return is_below(name, added_packages())


def is_below(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a dotted path is below one of some packages."""
    return any(name.startswith(f"{package}.") for package in packages)


class UserFrame(NamedTuple):
    """A place in the user's code."""

    name: str  # dotted, of the function: `my_parts.Loss.__call__`
    place: str  # file:line, from the working folder
    text: str  # that line of the source


def user_frames(error: BaseException) -> tuple[UserFrame, ...]:
    """The user's frames that an exception came from, outermost first; none where no package of parts raised it.

    Libraries that the user's code called are left out, and a line that calls itself is there once.
    """
    found: list[UserFrame] = []
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        if _module(frame).partition(".")[0] in OURS:
            break
        if _is_users(frame):
            found.append(_described(frame, line))
    return tuple(dict.fromkeys(reversed(found))) if any(is_user_code(frame.name) for frame in found) else ()


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_users(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return is_user_code(f"{_module(frame)}.") or not file.startswith(("<", *LIBRARIES))


def _described(frame: FrameType, line: int) -> UserFrame:
    path = shown = Path(frame.f_code.co_filename)
    with suppress(OSError, ValueError):  # the working folder may be gone, or the file elsewhere
        shown = path.relative_to(Path.cwd())
    text = linecache.getline(str(path), line).strip()
    return UserFrame(f"{_module(frame)}.{frame.f_code.co_qualname}", f"{shown}:{line}", text)
