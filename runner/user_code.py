"""The packages that the user adds to the allowed packages, and the frames of the user's code in a traceback."""

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

ALLOW_VARIABLE = "TITRATE_ALLOW"
OUR_PACKAGES = ("components", "runner")
INSTALL_FOLDER = Path(__file__).resolve().parents[1]  # the folder of our packages
LIBRARY_FOLDERS = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def added_packages() -> tuple[str, ...]:
    """The packages that the user adds by `TITRATE_ALLOW=name,name` or `--allow name`."""
    return tuple(filter(None, map(str.strip, os.environ.get(ALLOW_VARIABLE, "").split(","))))


_packages_of_allow_option: list[str] = []


def packages_of_allow_option() -> tuple[str, ...]:
    """The packages that `--allow` adds."""
    return tuple(_packages_of_allow_option)


def allow_package(name: str) -> None:
    """Adds a package in this process and in its child processes."""
    _packages_of_allow_option.append(name)
    os.environ[ALLOW_VARIABLE] = ",".join(filter(None, [os.environ.get(ALLOW_VARIABLE, ""), name]))


@contextlib.contextmanager
def forget_added_packages() -> Iterator[None]:
    """Restores the packages at the end of the context, so that `--allow` holds for one command only."""
    before = os.environ.get(ALLOW_VARIABLE)
    try:
        yield
    finally:
        _packages_of_allow_option.clear()
        os.environ.pop(ALLOW_VARIABLE, None)
        if before is not None:
            os.environ[ALLOW_VARIABLE] = before


def describe_file_in_the_way(name: str) -> str:
    """Says which file of the working folder a dotted name may mean, although Titrate has a package of that name.

    Returns:
        A sentence after a blank; "": there is no such file.
    """
    package, *inner = name.split(".")
    with suppress(OSError):  # the working folder was deleted
        folder = Path.cwd().resolve()
        if package in OUR_PACKAGES and folder != INSTALL_FOLDER:
            for depth in range(len(inner), -1, -1):
                path = folder.joinpath(package, *inner[:depth])
                for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
                    if file.is_file():
                        shown = file.relative_to(folder)
                        return f" {shown} is in the way: Titrate has a package `{package}`. Rename yours."
    return ""


def is_user_code(name: str) -> bool:
    """Whether a dotted name is in a package that the user adds."""
    return is_in_packages(name, added_packages())


def is_in_packages(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a dotted name is in one of some packages."""
    return any(name.startswith(f"{package}.") for package in packages)


class UserFrame(NamedTuple):
    """A frame of the user's code.

    Attributes:
        name: the dotted name of the function, such as `my_parts.Loss.__call__`.
        location: `file:line`, relative to the working folder.
        text: the line of the source.
    """

    name: str
    location: str
    text: str


def user_frames(error: BaseException) -> tuple[UserFrame, ...]:
    """The frames of the user's code that raised an exception, outermost first.

    Frames of libraries are left out, and repeated frames of a recursion are listed once.

    Returns:
        The frames; empty if none is in a package that the user adds.
    """
    frames: list[UserFrame] = []
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        if _module_name(frame).partition(".")[0] in OUR_PACKAGES:
            if frames:  # this code called the user's
                break
            continue  # the user's code may have called this code, such as a loss, with wrong arguments
        if _is_user_frame(frame):
            frames.append(_describe_frame(frame, line))
    if not any(is_user_code(frame.name) for frame in frames):
        return ()
    return tuple(dict.fromkeys(reversed(frames)))


def _module_name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_user_frame(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return is_user_code(f"{_module_name(frame)}.") or not file.startswith(("<", *LIBRARY_FOLDERS))


def _describe_frame(frame: FrameType, line: int) -> UserFrame:
    path = shown_path = Path(frame.f_code.co_filename)
    with suppress(OSError, ValueError):  # the working folder was deleted, or the file is outside it
        shown_path = path.relative_to(Path.cwd())
    text = linecache.getline(str(path), line).strip()
    return UserFrame(f"{_module_name(frame)}.{frame.f_code.co_qualname}", f"{shown_path}:{line}", text)
