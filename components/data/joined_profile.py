"""The profile of several sources as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from components.closest import format_name
from components.columns import READING_OPTIONS
from components.data.key_column import join_parts
from components.data.profile import Profile
from components.data.same_types import NUMBERS, check_names
from components.types import DataError, ImageProfile, Reading, TableProfile


@dataclass(frozen=True, eq=False)
class JoinedProfile(Profile):
    """The profile of a column of several sources.

    Attributes:
        sources: the profile of the column in each source.
    """

    sources: Sequence[Profile] = ()

    @property
    def counts_rows(self) -> bool:
        return super().counts_rows or all(source.counts_rows for source in self.sources)


def join_profiles(profiles: Mapping[str, TableProfile]) -> TableProfile:
    """The facts about the columns of several sources.

    Args:
        profiles: the profiles of the sources by name.

    Raises:
        DataError: the sources have different columns or targets.
    """
    (first, one), *others = profiles.items()
    for name, profile in others:
        check_names(first, _list_names(one), name, _list_names(profile))
        if profile.target != one.target:
            raise DataError(
                f"the target is {_format_target(profile)} in the source {name}, but {_format_target(one)} in the "
                f"source {first}. Set `target` for all sources."
            )
    columns = {name: {column.name: cast(Profile, column) for column in each.columns} for name, each in profiles.items()}
    images = [{image.name: image for image in each.images} for each in profiles.values()]
    by_name = {each.origin: None for each in profiles.values()}
    return TableProfile(
        ", ".join(by_name) if len(by_name) <= 3 else f"{len(profiles)} sources",
        tuple(_join_columns({source: columns[source][name] for source in profiles}) for name in columns[first]),
        one.target,
        {name: value for name, value in one.options.items() if name in READING_OPTIONS and _is_common(profiles, name)},
        tuple(_join_notes({name: profile.notes for name, profile in profiles.items()})),
        tuple(_join_images([each[name] for each in images]) for name in images[0]),
    )


def _list_names(profile: TableProfile) -> list[str]:
    return [*(column.name for column in profile.columns), *(image.name for image in profile.images)]


def _format_target(profile: TableProfile) -> str:
    names = profile.target if isinstance(profile.target, tuple) else (profile.target,)
    return ", ".join(format_name(name) if name else "missing" for name in names)


def _join_notes(notes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The notes of all sources. One that not all sources have starts with the name of the source."""
    common = set.intersection(*map(set, notes.values()))
    yield from dict.fromkeys(note for own in notes.values() for note in own if note in common)
    yield from (f"{name}: {note}" for name, own in notes.items() for note in own if note not in common)


def _is_common(profiles: Mapping[str, TableProfile], option: str) -> bool:
    """Whether an option was inferred alike for all sources."""
    values = [profile.options.get(option) for profile in profiles.values()]
    return all(value == values[0] for value in values)


def _join_images(images: Sequence[ImageProfile]) -> ImageProfile:
    shapes = sum((Counter(image.shapes) for image in images), Counter[Any]())
    classes = {value for image in images for value in image.classes}
    masks, missing = (sum(getattr(image, name) for image in images) for name in ("masks", "missing_count"))
    return ImageProfile(images[0].name, dict(shapes), masks, tuple(sorted(classes)), missing)


def _join_columns(by_source: Mapping[str, Profile]) -> Profile:
    """The profile of a column of all sources, whose types are equal."""
    columns = [*by_source.values()]
    name, ends = columns[0].name, np.cumsum([column.rows for column in columns])
    masks = [np.ones(column.rows, bool) if column.valid is None else column.valid for column in columns]
    key = join_parts("columns", name, [(column.values, mask) for column, mask in zip(columns, masks, strict=True)])
    valid = np.concatenate(masks)
    numbers = [np.arange(column.rows) if column.row_numbers is None else column.row_numbers for column in columns]
    starts = np.cumsum([0, *(each[-1] + 1 if len(each) else 0 for each in numbers)])
    return JoinedProfile(
        name,
        "float" if {column.kind for column in columns} == NUMBERS else columns[0].kind,
        all(column.is_type_declared for column in columns),
        key.values,
        None if valid.all() else valid,
        partial(_locate, by_source),
        lambda: {name: sum((Counter(column.missing_spellings) for column in columns), Counter[str]())},
        _join_readings({source: column.reading for source, column in by_source.items()}),
        next((column.problem for column in columns if column.problem is not None), None),
        partial(_list_spellings, columns, ends) if any(column.list_spellings for column in columns) else None,
        np.concatenate([own + start for own, start in zip(numbers, starts, strict=False)]),
        columns,
    )


def _join_readings(readings: Mapping[str, Reading | None]) -> Reading | None:
    """How the texts of a column were read in any of the sources."""
    by_source = {source: reading for source, reading in readings.items() if reading is not None}
    if not by_source:
        return None
    found = [*by_source.values()]
    options = {option: value for reading in reversed(found) for option, value in reading.options.items()}
    unusual = "; ".join(f"in {source}, {reading.unusual}" for source, reading in by_source.items() if reading.unusual)
    described = next((reading for reading in found if reading.description), found[0])
    return described._replace(
        options=options, gaps=tuple(gap for reading in found for gap in reading.gaps), unusual=unusual
    )


def _locate(columns: Mapping[str, Profile], row: int) -> str:
    """The location of a row, counted over the rows of all sources that have a profile."""
    for source, column in columns.items():
        if row < column.rows:
            return f"{source}: {column.locate(row)}"
        row -= column.rows
    raise IndexError(row)


def _list_spellings(columns: Sequence[Profile], ends: np.ndarray, rows: np.ndarray) -> tuple[str, ...]:
    """The distinct spellings of the values in some rows, counted over all sources."""
    spellings = dict[str, None]()
    for column, end in zip(columns, ends.tolist(), strict=True):
        own = rows[(rows >= end - column.rows) & (rows < end)] - (end - column.rows)
        if len(own):
            spellings |= dict.fromkeys((column.list_spellings or column._list_values)(own))
    return tuple(spellings)
