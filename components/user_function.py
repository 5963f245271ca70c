"""Functions of the user in messages: their names, their files, and the errors that they raise."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


def unwrap_partial(function: Any) -> Any:
    """The function that a partial calls, or the function itself."""
    return function.func if isinstance(function, partial) else function


def name_function(function: Callable[..., Any]) -> str:
    """The dotted name of a function, or of the class of an object that is called."""
    function = unwrap_partial(function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def find_source_file(function: Callable[..., Any]) -> str | None:
    """The name of the source file of a function, or of the class of an object. None: it has none.

    The cells of a notebook have names too, without files.
    """
    is_code = inspect.isroutine(function) or isinstance(function, type)
    try:
        return inspect.getsourcefile(function if is_code else type(function))
    except (TypeError, OSError):
        return None


def describe_exception(error: Exception, function: Callable[..., Any]) -> str:
    """What a function raised, with the last of its lines: `ValueError: no city, at my_rows.py:3: raise ValueError`."""
    file = find_source_file(inspect.unwrap(unwrap_partial(function)))
    frames = traceback.extract_tb(error.__traceback__)
    frame = ([frame for frame in frames if frame.filename == file] or frames)[-1]
    return f"{type(error).__name__}: {error}, at {Path(frame.filename).name}:{frame.lineno}: {frame.line}"
