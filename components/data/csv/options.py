"""Checks of the options with which texts are read."""

from __future__ import annotations

from collections.abc import Mapping
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


def check_dates(option: str, dates: str, allowed: tuple[str, ...]) -> None:
    """Raises DataError for an unknown way to write times."""
    if "%" in dates and allowed is READINGS:
        if fault := find_fault(dates):
            raise DataError(f"`{option}` (={dates}) {fault}")
    elif dates not in allowed:
        formats = ", or a format such as %d/%m/%Y" if allowed is READINGS else ""
        hint = suggest_name(dates, allowed)
        raise DataError(f"`{option}` (={dates}) must be one of {', '.join(allowed)}{formats}. {hint}")
