"""The words of a call from Python: texts and mappings, as overrides in the grammar of the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.types import UserError
from runner.config.overrides import quote_text

PLAIN_TEXT = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)  # a value that needs no quotes
NO_TEXTS = ("null", "true", "false", "inf", "nan")  # are no texts without quotes
PLAIN_NAME = re.compile(r"[A-Za-z_]\w*|[0-9]+", re.ASCII)  # a name that needs no quotes in a key


def as_overrides(words: Iterable[str | Mapping[str, Any]]) -> list[str]:
    """The overrides of a call.

    ["seed=3", {"training.epochs": 3, "optimizer": {"option": "adamw", "b1": 0.8}}]
    -> ["seed=3", "training.epochs=3", "optimizer.option=adamw", "optimizer.b1=0.8"]

    Args:
        words: overrides such as `training.epochs=3`, and mappings of values by dotted key. A value may be a mapping.

    Raises:
        UserError: a word is neither, or a value can't stand in a configuration.
    """
    overrides: list[str] = []
    for word in words:
        if isinstance(word, str):
            overrides.append(word)
        elif isinstance(word, Mapping):
            overrides += [text for key, value in word.items() for text in _format_overrides(key, value)]
        else:
            raise UserError(
                f"{word!r} is of the type {type(word).__name__}. Write overrides as texts, such as "
                '"training.epochs=3", or as a mapping, such as {"training.epochs": 3}.'
            )
    return overrides


def format_override(key: str, value: Any) -> str:
    """An override that sets a key to one value."""
    return f"{key}={_format_value(key, value)}"


def _format_overrides(key: Any, value: Any) -> Iterator[str]:
    """The overrides that set a key, or each key below it."""
    if not isinstance(key, str) or not key:
        raise UserError(f"{key!r} is not a key. Write a text such as training.epochs.")
    if not isinstance(value, Mapping) or not value:
        yield format_override(key, value)
        return
    for name, item in value.items():
        text = str(name)
        is_plain = PLAIN_NAME.fullmatch(text) is not None
        if not is_plain and ('"' in text or '"' in key):
            raise UserError(f"{key}: the name {text!r} can't be part of a key. Write this value into an experiment.")
        yield from _format_overrides(f"{key}.{text}" if is_plain else f'{key}."{text}"', item)


def _format_value(key: str, value: Any) -> str:
    """A value in the grammar of the command line."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of NumPy or JAX
        value = value.item()
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        is_plain = PLAIN_TEXT.fullmatch(value) and value.lower() not in NO_TEXTS
        return value if is_plain else quote_text(value)
    if isinstance(value, Mapping):
        items = (f"{_format_name(key, name)}:{_format_value(key, item)}" for name, item in value.items())
        return "{" + ",".join(items) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(_format_value(key, item) for item in value) + "]"
    raise UserError(
        f"{key}: a value is of the type {type(value).__name__}. Allowed: numbers, texts, booleans, None, and lists and "
        "mappings of these."
    )


def _format_name(key: str, name: Any) -> str:
    if PLAIN_NAME.fullmatch(str(name)) is None:
        raise UserError(f"{key}: the name {name!r} can't stand inside a list. Write this value into an experiment.")
    return str(name)
