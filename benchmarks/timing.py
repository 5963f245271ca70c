"""Timing of variants in alternating rounds. The benchmarks import this file; it measures nothing by itself."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def time_variants(
    variants: Mapping[Any, Callable[[], Any]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Any, list[float]]:
    """Calls all variants in every round, so that a busy machine slows all of them.

    Args:
        variants: the calls to time, by name.
        rounds: the number of timed rounds. One warm-up round precedes them.
        clock: a function that returns seconds.

    Returns:
        The seconds of each round, by name of the variant.
    """
    seconds: dict[Any, list[float]] = {name: [] for name in variants}
    for round_number in range(rounds + 1):
        for name, call in variants.items():
            start = clock()
            call()
            elapsed = clock() - start
            if round_number > 0:
                seconds[name].append(elapsed)
    return seconds


def format_rates(rows: int, seconds: Sequence[float], unit: float = 1e6) -> str:
    """Formats the best and the median rate, in `unit` rows per second."""
    best, median = (rows / duration / unit for duration in (min(seconds), statistics.median(seconds)))
    return f"best {best:7.2f}  median {median:7.2f}"


def parse_arguments(*types: Callable[[str], Any]) -> list[Any]:
    """Converts the first arguments of the script with these types. The others stay strings."""
    arguments = sys.argv[1:]
    converted = [convert(argument) for convert, argument in zip(types, arguments, strict=False)]
    return [*converted, *arguments[len(converted) :]]
