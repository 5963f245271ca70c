"""How many strings a second get their Fingerprint64, on one core; and what lies about it.

    uv run --with pyfarmhash python benchmarks/fingerprint.py [million rows] [rounds]
    smallest: 0.001 1

Distinct random strings, in the layout of Arrow. Prints, for each kind, the best and the median of the rounds in
million rows a second of processor time, after one that isn't counted. The rounds of all kinds take turns, so that a
busy machine slows all alike. The scalar loop of pyfarmhash stands beside ours where it is installed.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from components.feature.text.fingerprint import cross, fingerprint64, format_integers, to_buckets
from components.feature.text.siphash import siphash

LENGTHS = {"4-16": (4, 16), "17-32": (17, 32), "33-64": (33, 64), "200": (200, 200), "1-2000": (1, 2000)}


def strings(rows: int, shortest: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Random bytes of lengths spread evenly."""
    random = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(random.integers(shortest, longest, rows, endpoint=True))])
    return random.integers(0, 256, offsets[-1], np.uint8), offsets


def farmhash(values: np.ndarray, offsets: np.ndarray) -> Callable[[], Any]:
    """pyfarmhash over Python's own bytes, which are made beforehand."""
    from farmhash import fingerprint64 as scalar

    bounds = offsets.tolist()
    rows = [values[first:last].tobytes() for first, last in pairwise(bounds)]
    return lambda: [scalar(row) for row in rows]


def tasks(rows: int) -> dict[str, tuple[int, Callable[[], Any]]]:
    """What is timed: the rows it is over, and the call."""
    found: dict[str, tuple[int, Callable[[], Any]]] = {}
    for name, (shortest, longest) in LENGTHS.items():
        count = max(rows * 16 // max(longest, 16), 1)  # so that the bytes are about as many
        given = strings(count, shortest, longest)
        found[f"fingerprint64 of {name} bytes"] = count, lambda given=given: fingerprint64(*given)
        if importlib.util.find_spec("farmhash"):
            found[f"pyfarmhash, {name} bytes"] = count, farmhash(*given)
    given = strings(rows, 4, 16)
    integers = np.random.default_rng(0).integers(-(10**9), 10**9, rows)
    hashes = fingerprint64(*given)
    return found | {
        "siphash of 4-16 bytes": (rows, lambda: siphash(*given, (133, 137))),
        "decimal of up to 9 digits": (rows, lambda: format_integers(integers)),
        "fingerprint64 of integers": (rows, lambda: fingerprint64(*format_integers(integers))),
        "cross of two": (rows, lambda: cross([hashes, hashes])),
        "buckets": (rows, lambda: to_buckets(hashes, 1000)),
    }


def main(millions: float = 1, rounds: int = 7) -> None:
    if not importlib.util.find_spec("farmhash"):
        print("pyfarmhash is missing: ours stands alone")
    timed = tasks(int(millions * 1e6))
    rates: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, (rows, call) in timed.items():
            begun = time.process_time()
            call()
            if number:
                rates[name].append(rows / (time.process_time() - begun) / 1e6)
    for name, of in rates.items():
        print(f"{name:28} best {max(of):6.1f}  median {statistics.median(of):6.1f}")


if __name__ == "__main__":
    main(*(float(word) for word in sys.argv[1:2]), *(int(word) for word in sys.argv[2:3]))
