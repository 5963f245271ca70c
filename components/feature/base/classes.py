"""The names of a target's classes, and the check that the training split has each of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from components.closest import join_names
from components.feature.base import raw
from components.types import DataError, FieldError


def check_names(names: tuple[str, ...] | None) -> None:
    """Raises UserError for the same name twice, or a name that an array of texts would change; None: no names."""
    if names is None:
        return
    if len(set(names)) < len(names):
        raise FieldError("names", f"must have each class only once, got {', '.join(names)}")
    if wrong := [name for name in names if name.endswith("\0")]:
        raise FieldError("names", f"a class can't end with a NUL character, got {wrong[0]!r}. Remove it.")


def name_classes(key: str, names: tuple[str, ...] | None, rows: Mapping[Any, int]) -> dict[Any, str]:
    """The name of each class, by its value in the data. Raises DataError for a class that ends with NUL.

    Args:
        key: the column.
        names: the names, in order. Integers in the data are positions among them; strings are names. None: a class has
            the name of its value.
        rows: the number of rows of each class, by its value in the data.
    """
    raw.check_classes(key, rows)
    if names is None:
        return {value: str(value) for value in rows}
    values = names if any(isinstance(value, str) for value in rows) else range(len(names))
    return dict(zip(values, names, strict=True))


def validate_classes(
    key: str, names: tuple[str, ...] | None, rows: Mapping[str, Mapping[Any, int]], *, can_stratify: bool
) -> tuple[str, ...]:
    """Checks the classes of each split.

    Args:
        key: the column.
        names: as in `name_classes`.
        rows: the number of rows of each class, by split and by its value in the data.
        can_stratify: whether a source can divide each class of the column among the splits.

    Returns:
        A warning for each held-out split in which classes are missing.

    Raises:
        DataError: the training split lacks a class of another split or of `names`, or two classes look alike.
    """
    _check_normal_forms(key, {value for counts in rows.values() for value in counts})
    classes = name_classes(key, names, rows["train"])
    if names is None:
        classes |= {value: str(value) for counts in rows.values() for value in counts}
    for value, name in classes.items():
        if not rows["train"].get(value):
            rows_of_class = {split: counts.get(value, 0) for split, counts in rows.items()}
            raise DataError(_describe_absence(key, name, rows_of_class, can_stratify=can_stratify))
    warnings = []
    for split, counts in rows.items():
        if missing := [name for value, name in classes.items() if not counts.get(value)]:
            warnings.append(f"the {split} split has no example of class {join_names(missing)} of column `{key}`")
    return tuple(warnings)


def _check_normal_forms(key: str, values: Collection[Any]) -> None:
    """Raises DataError for two classes that are one text in two normal forms of Unicode, as file systems write it."""
    originals = dict[str, str]()
    for value in sorted(value for value in values if isinstance(value, str)):
        other = originals.setdefault(unicodedata.normalize("NFC", value), value)
        if other != value:
            raise DataError(
                f"column `{key}` has the classes {other!a} and {value!a}, which are one text in two normal "
                f"forms of Unicode; write it alike in all rows, and in the names of folders"
            )


def _describe_absence(key: str, name: str, rows: Mapping[str, int], *, can_stratify: bool) -> str:
    message = f"class {name} of column `{key}` is missing in the training split"
    counts = ", ".join(f"{count} in {split}" for split, count in rows.items() if count)
    if not counts:
        return f"{message}, and in all other splits; correct the data or `names`"
    if sum(rows.values()) < len(rows):
        remedy = "add rows of it, or remove the class"
        return f"{message} (rows: {counts}); the class has too few rows for {len(rows)} splits; {remedy}"
    remedy = f"set `stratify={key}` of the data to divide each class among the splits, or " if can_stratify else ""
    return (
        f"{message} (rows: {counts}). If the data has its own splits, add rows of it to the training split, or remove "
        f"it from the others; if not, {remedy}try another `seed` or a smaller `valid`"
    )
