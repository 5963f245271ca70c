"""Times with and without a time zone in one column."""

from __future__ import annotations

from components.data.csv.errors import AS_TEXT
from components.data.csv.times import ASSUME_UTC, NO_ZONE
from components.types import Problem, Setting


def find_zone_problem(with_zone: int, without_zone: int, zone: str | None) -> Problem | None:
    """The problem if times have a zone and must not, or if only some of them have one.

    Args:
        with_zone: the number of times with a zone.
        without_zone: the number of times without one.
        zone: what `dates` tells about the zone: ASSUME_UTC or NO_ZONE. None: nothing.
    """
    total = with_zone + without_zone
    if with_zone and zone == NO_ZONE:
        fault = f"{with_zone:,} of {total:,} times have a time zone, although `dates` is {NO_ZONE}"
        return Problem(fault, (Setting("to convert them to UTC", "dates", ASSUME_UTC), AS_TEXT))
    if with_zone and without_zone and zone != ASSUME_UTC:
        fault = f"{without_zone:,} of {total:,} times have no time zone, and the others have one"
        return Problem(fault, (Setting("to read them as UTC", "dates", ASSUME_UTC), AS_TEXT))
    return None


def describe_assumed_zone(without_zone: int, total: int) -> str:
    """Describes times that are taken as UTC."""
    return f"{without_zone:,} of {total:,} times have no zone and are taken as UTC"
