"""Checks of the options with which texts are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

from components.closest import suggest_name
from components.data.csv.errors import name_character
from components.data.csv.times import READINGS
from components.time_format import find_fault
from components.types import DataError


def raise_contradiction(column: str, option: str, other: str) -> NoReturn:
    """Raises DataError for two options of a column that contradict each other."""
    raise DataError(f"column `{column}` has {option}, but {other}; remove one of them")


def check_different(characters: Mapping[str, str]) -> None:
    """Raises DataError if two options are the same character."""
    for name, character in characters.items():
        for other in characters:
            if other != name and characters[other] == character:
                raise DataError(f"`{name}` and `{other}` must be different, both are {name_character(character)}")


def check_names(names: object, reserved: Iterable[str]) -> tuple[str, ...]:
    """The names of the columns of a file that doesn't have them, as a tuple.

    Args:
        names: the value of the option.
        reserved: the characters with a meaning in the file, which a name can't have.

    Raises:
        DataError: it is no list of texts, a name is blank or there twice, or has such a character.
    """
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"`names` (={names}) must be a list of the names of all columns, in their order")
    reserved = frozenset(reserved) | {"\r", "\n", "\0"}
    for number, name in enumerate(names):
        if not name.strip():
            raise DataError(f"`names`: name {number + 1} is blank; name all columns of the file")
        if name in names[:number]:
            raise DataError(f"`names`: {name!r} is there twice; rename one")
        if characters := sorted(reserved & {*name}):
            raise DataError(f"`names`: {name!r} has the character {characters[0]!r}, which has a meaning in the file")
    return tuple(names)


def check_strip(characters: str, options: Mapping[str, str]) -> None:
    """Raises DataError unless some characters can be removed at the ends of fields.

    Args:
        characters: the characters.
        options: the other characters with a meaning in the file, by option.
    """
    if not characters.isascii() or set(characters) & set("\r\n\0"):
        raise DataError(f"`strip` (={characters!r}) must be ASCII characters other than line breaks")
    for option in ("quote", "escape"):
        if option in options:
            raise DataError(f"`strip` (={characters!r}) is for files without quotes and escapes; set `{option}=null`")
    for option, character in options.items():
        if character in characters:
            raise DataError(f"`strip` (={characters!r}) has the character of `{option}`, {name_character(character)}")


def check_dates(option: str, dates: str, allowed: tuple[str, ...]) -> None:
    """Raises DataError for an unknown way to write times."""
    if "%" in dates and allowed is READINGS:
        if fault := find_fault(dates):
            raise DataError(f"`{option}` (={dates}) {fault}")
    elif dates not in allowed:
        formats = ", or a format such as %d/%m/%Y" if allowed is READINGS else ""
        hint = suggest_name(dates, allowed)
        raise DataError(f"`{option}` (={dates}) must be one of {', '.join(allowed)}{formats}. {hint}")
