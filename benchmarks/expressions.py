"""How long expressions take, as ratios to NumPy and Arrow, which don't check what is missing, infinite or too large.

    python benchmarks/expressions.py [rows] [rounds]
    smallest: 1000 1

Prints for each expression the microseconds of a block, those of the same operations of NumPy or Arrow, and the ratio.
The columns are made up: `a` and `b` are floats, `m` has gaps, `i` and `j` are whole numbers, `p` and `q` are booleans,
`t` and `u` are times, `s` are different texts, and `n` are texts of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute as compute

from benchmarks.timing import parse_arguments, time_variants
from components.arrow import strings_to_arrow
from components.expression.expression import Expression
from components.feature.text.string_ops import to_strings
from components.types import Block, Strings

REFERENCES: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "a / b": lambda c: c["a"] / c["b"],
    "a + b * 2 - 1": lambda c: c["a"] + c["b"] * 2 - 1,
    "m + 1": lambda c: c["m"] + 1,
    "i + j": lambda c: c["i"] + c["j"],
    "i // j": lambda c: c["i"] // c["j"],
    "a < b": lambda c: c["a"] < c["b"],
    "i in [1, 2, 3]": lambda c: np.isin(c["i"], [1, 2, 3]),
    "p and q": lambda c: c["p"] & c["q"],
    "is_null(m)": lambda c: np.isnan(c["m"]),
    "coalesce(m, a)": lambda c: np.where(np.isnan(c["m"]), c["a"], c["m"]),
    "a / b if b != 0 else 0": lambda c: np.where(c["b"] != 0, c["a"] / c["b"], 0.0),
    "log1p(a)": lambda c: np.log1p(c["a"]),
    "lower(s)": lambda c: compute.utf8_lower(c["s"]),
    "contains(s, '7')": lambda c: compute.match_substring(c["s"], pattern="7"),
    "to_number(n)": lambda c: c["n"].cast(pyarrow.float64()),
    "year(t)": lambda c: c["t"].astype("M8[Y]").astype(np.int64) + 1970,
    "month(t)": lambda c: c["t"].astype("M8[M]").astype(np.int64) % 12 + 1,
    "hour(t)": lambda c: c["t"].astype(np.int64) // 3600 % 24,
    "weekday(t)": lambda c: (c["t"].astype("M8[D]").astype(np.int64) + 3) % 7,
    "days_between(t, u)": lambda c: (c["u"] - c["t"]) / np.timedelta64(1, "D"),
    "t < to_time('2021-05-01')": lambda c: c["t"] < np.datetime64("2021-05-01"),
}


def make_columns(rows: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {name: random.lognormal(size=rows) for name in "abm"}
    columns["m"][random.random(rows) < 0.1] = np.nan
    columns |= {name: random.integers(1, 1000, rows) for name in "ij"}
    columns |= {name: random.random(rows) < 0.5 for name in "pq"}
    columns |= {name: np.datetime64("2020-01-01", "s") + random.integers(0, 10**8, rows) for name in "tu"}
    columns["s"] = to_strings([f"Street {number}" for number in random.integers(0, 10**6, rows)])
    columns["n"] = to_strings([f"{number:.3f}" for number in columns["a"]])
    return columns


def main(rows: int = 65_536, rounds: int = 100) -> None:
    columns = make_columns(rows)
    block = Block(columns)
    plain = {name: strings_to_arrow(each) if isinstance(each, Strings) else each for name, each in columns.items()}
    print(f"{'microseconds':28} {'expression':>10} {'plain':>8} {'ratio':>6}")
    for text, reference in REFERENCES.items():
        expression = Expression(text)
        variants: dict[str, Callable[[], Any]] = {
            "expression": lambda expression=expression: expression.evaluate(block),
            "plain": lambda reference=reference: reference(plain),
        }
        seconds = time_variants(variants, rounds)
        own, other = (1e6 * min(seconds[name]) for name in variants)
        print(f"{text:28} {own:10,.0f} {other:8,.0f} {own / other:6.2f}", flush=True)


if __name__ == "__main__":
    main(*parse_arguments(int, int))
