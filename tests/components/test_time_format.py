"""Formats of times, and those in which strptime would read different times as the same."""

from datetime import UTC, datetime

import pytest

from components.time_format import find_fault, parse_time

TIME = datetime(2021, 2, 7, 13, 30, 5, 6, UTC)


@pytest.mark.parametrize(
    ("format", "fault"),
    [
        ("%Y-W%W", "loses %W, which Python's strptime uses only with a day of the week"),
        ("%Y-W%U", "loses %U"),
        ("%H:%M %p", "loses %p, which Python's strptime uses only with %I"),
        ("%p", "loses %p"),
        ("%A", "loses %A, which Python's strptime uses only with a date"),
        ("%a %H:%M", "loses %a"),
        ("%Q", "is not a format of Python's strptime: 'Q' is a bad directive"),
        ("%Y%", "is not a format of Python's strptime: stray %"),
        ("%G-W%V", "is not a format of Python's strptime: ISO year directive '%G' must be used with"),
        ("%Y %H:%M %Z", "has %Z, which Python's strptime ignores. Use %z for offsets such as +0100, or write a name"),
        ("%%Y", "has no directive, such as %Y"),
    ],
)
def test_a_format_that_loses_times_has_a_fault(format: str, fault: str) -> None:
    assert find_fault(format).startswith(fault)


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("%Y-W%W-%w", datetime(2021, 2, 7)),
        ("%G-W%V-%u", datetime(2021, 2, 7)),
        ("%a, %d %b %Y", datetime(2021, 2, 7)),
        ("%I:%M %p, %d.%m.%y", datetime(2021, 2, 7, 13, 30)),
        ("%d/%m/%Y %H:%M:%S %z", datetime(2021, 2, 7, 13, 30, 5)),
        ("%d/%m/%Y %H:%M:%S UTC", datetime(2021, 2, 7, 13, 30, 5)),
        ("%Y-%j %H:%M:%S.%f", datetime(2021, 2, 7, 13, 30, 5, 6)),
        ("100%% %Y", datetime(2021, 1, 1)),
        ("%H:%M", datetime(1900, 1, 1, 13, 30)),
    ],
)
def test_a_format_reads_what_it_writes(format: str, expected: datetime) -> None:
    assert find_fault(format) == ""
    assert parse_time(TIME.strftime(format), format) == expected
    assert parse_time("nothing", format) is None


def test_a_time_with_a_zone_is_converted_to_utc() -> None:
    assert parse_time("2021-02-07 01:30 +0200", "%Y-%m-%d %H:%M %z") == datetime(2021, 2, 6, 23, 30)
    assert parse_time("0001-01-01 01:30 +0200", "%Y-%m-%d %H:%M %z") is None
