"""How many strings per second are hashed: FarmHash's Fingerprint64 and the functions around it, on one core.

    uv run --with pyfarmhash python benchmarks/fingerprint.py [million rows] [rounds]
    smallest: 0.001 1

Hashes distinct random strings in Arrow's layout. Where pyfarmhash is installed, its loop over Python's `bytes` is
measured beside ours.

Prints the best and the median of N rounds after one warm-up round, in million rows per second of processor time.
Variants alternate, so that a busy machine slows all of them.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.timing import format_rates, parse_arguments, time_variants
from components.feature.text.fingerprint import cross, fingerprint64, format_integers, to_buckets
from components.feature.text.siphash import siphash

LENGTHS = {"4-16": (4, 16), "17-32": (17, 32), "33-64": (33, 64), "200": (200, 200), "1-2000": (1, 2000)}


def make_strings(rows: int, shortest: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bytes and the offsets of random strings, whose lengths are distributed uniformly."""
    random = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(random.integers(shortest, longest, rows, endpoint=True))])
    return random.integers(0, 256, offsets[-1], np.uint8), offsets


def make_pyfarmhash_loop(data: np.ndarray, offsets: np.ndarray) -> Callable[[], Any]:
    """Returns a call of pyfarmhash for each string, whose `bytes` objects are made beforehand."""
    import farmhash

    strings = [data[start:stop].tobytes() for start, stop in pairwise(offsets.tolist())]
    return lambda: [farmhash.fingerprint64(string) for string in strings]


def make_variants(rows: int) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Returns the number of rows and the call of each variant."""
    variants: dict[str, tuple[int, Callable[[], Any]]] = {}
    for name, (shortest, longest) in LENGTHS.items():
        count = max(rows * 16 // max(longest, 16), 1)  # about the same number of bytes for all lengths
        strings = make_strings(count, shortest, longest)
        variants[f"fingerprint64 of {name} bytes"] = count, partial(fingerprint64, *strings)
        if importlib.util.find_spec("farmhash"):
            variants[f"pyfarmhash, {name} bytes"] = count, make_pyfarmhash_loop(*strings)
    strings = make_strings(rows, 4, 16)
    integers = np.random.default_rng(0).integers(-(10**9), 10**9, rows)
    hashes = fingerprint64(*strings)

    def hash_integers() -> np.ndarray:
        decimals = format_integers(integers)
        return fingerprint64(decimals.data, decimals.offsets)

    return variants | {
        "siphash of 4-16 bytes": (rows, lambda: siphash(*strings, (133, 137))),
        "decimal of up to 9 digits": (rows, lambda: format_integers(integers)),
        "fingerprint64 of integers": (rows, hash_integers),
        "cross of two": (rows, lambda: cross([hashes, hashes])),
        "buckets": (rows, lambda: to_buckets(hashes, 1000)),
    }


def main(millions: float = 1, rounds: int = 7) -> None:
    if not importlib.util.find_spec("farmhash"):
        print("pyfarmhash is missing: only our functions are measured")
    variants = make_variants(int(millions * 1e6))
    calls = {name: call for name, (_, call) in variants.items()}
    for name, seconds in time_variants(calls, rounds, time.process_time).items():
        rows, _ = variants[name]
        print(f"{name:28} {format_rates(rows, seconds)}")


if __name__ == "__main__":
    main(*parse_arguments(float, int))
