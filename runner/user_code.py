"""The frames of a traceback that are the user's own code, neither Titrate's nor a library's."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

OURS = ("components", "runner")
LIBRARIES = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Frame(NamedTuple):
    """A place in the user's code."""

    name: str  # dotted, of the function: `my_parts.Loss.__call__`
    place: str  # file:line, from the working folder
    text: str  # that line of the source


def user_frames(error: BaseException) -> tuple[Frame, ...]:
    """The user's frames that an exception came from, outermost first; none where no package of parts raised it.

    Libraries that the user's code called are left out, and a line that calls itself is there once.
    """
    from runner.allow import is_added  # which imports what raises our errors

    found: list[Frame] = []
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        if _module(frame).partition(".")[0] in OURS:
            break
        if _is_users(frame):
            found.append(_described(frame, line))
    return tuple(dict.fromkeys(reversed(found))) if any(is_added(frame.name) for frame in found) else ()


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_users(frame: FrameType) -> bool:
    from runner.allow import is_added

    file = frame.f_code.co_filename
    return is_added(f"{_module(frame)}.") or not file.startswith(("<", *LIBRARIES))


def _described(frame: FrameType, line: int) -> Frame:
    path = shown = Path(frame.f_code.co_filename)
    with suppress(OSError, ValueError):  # the working folder may be gone, or the file elsewhere
        shown = path.relative_to(Path.cwd())
    text = linecache.getline(str(path), line).strip()
    return Frame(f"{_module(frame)}.{frame.f_code.co_qualname}", f"{shown}:{line}", text)
