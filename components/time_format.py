"""Formats of times, as in Python's strptime."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

# Two times that differ in the day of the week, in the week, or in the half of the day
EXAMPLE = datetime(2021, 11, 25, 10, 47, 58, 123456, UTC)
DISTANCES = (timedelta(days=1), timedelta(days=7), timedelta(hours=12))
DIRECTIVE = re.compile("%.", re.DOTALL)
WEEKDAYS = ("%a", "%A", "%w", "%u")
NEEDED = {
    "%p": "%I, the hour from 1 to 12",
    **dict.fromkeys(("%W", "%U"), "a day of the week, such as %w or %a"),
    **dict.fromkeys(WEEKDAYS, "a date, or a week such as %W"),
}
"""What the directives need that strptime reads and then ignores without it."""


def find_fault(format: str) -> str:
    """Why a format can't read times; "": it can.

    A format may lack a date, as %H:%M does. But strptime must not ignore a directive that tells times apart, as it does
    with the week in %Y-W%W, which would give the first of January.
    """
    directives = DIRECTIVE.findall(format.replace("%%", ""))
    if not directives:
        return "has no directive, such as %Y"
    if "%p" in directives and "%I" not in directives:
        return _describe_ignored("%p")
    if "%Z" in directives:  # it accepts UTC, GMT and the names of this machine's zone, and converts nothing
        return "has %Z, which Python's strptime ignores. Use %z for offsets such as +0100, or write a name such as UTC"
    try:
        for distance in DISTANCES:
            texts = [example.strftime(format) for example in (EXAMPLE, EXAMPLE + distance)]
            first, second = (datetime.strptime(text, format) for text in texts)
            if first == second and texts[0] != texts[1]:
                changed = [each for each in directives if EXAMPLE.strftime(each) != (EXAMPLE + distance).strftime(each)]
                return _describe_ignored(next((each for each in NEEDED if each in changed), changed[0]))
    except ValueError as error:
        return f"is not a format of Python's strptime: {error}"
    return ""


def parse_time(text: str, format: str) -> datetime | None:
    """Parses a time, and converts it to UTC if it has a zone. None: the text is no time in this format.

    `datetime.strptime` ignores the day of the week if there is a date, even if it is another day.
    """
    try:
        parsed = datetime.strptime(text, format)
        if any(each in format for each in WEEKDAYS) and time.strptime(text, format).tm_wday != parsed.weekday():
            return None
        return convert_to_utc(parsed)
    except (ValueError, TypeError, OverflowError):
        return None


def convert_to_utc(moment: datetime) -> datetime:
    """Converts a time with a zone to one without. Raises OverflowError if its year isn't 1 to 9999 then."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _describe_ignored(directive: str) -> str:
    needed = NEEDED.get(directive, "other directives")
    return f"loses {directive}, which Python's strptime uses only with {needed}"
