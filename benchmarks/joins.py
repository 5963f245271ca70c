"""Rows a second of row operations, beside pandas.

    python benchmarks/joins.py [rows [rounds]]
    smallest: 2000 1

A table in memory of 1,000,000 rows by default is joined with a table of 10,000 rows, and aggregated to 100,000 groups,
by keys of whole numbers and of texts. pandas does the same by `merge` and `groupby`. Prints millions of rows a second,
and the ratio of the medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from timing import format_rates, parse_arguments, time_variants

from components.data import Arrays, OperatedSource
from components.operation import Aggregate, Join
from components.types import RowOperation, Strings

COLUMNS = {"rows": "count()", "sum": "sum(price)", "mean": "mean(price)", "highest": "max(price)"}
STORES, CUSTOMERS = 10_000, 100_000  # for a million rows


def main() -> None:
    given = parse_arguments(int, int)
    rows, rounds = [*given, *(1_000_000, 3)[len(given) :]]
    sales, stores = make_tables(rows)
    for name, variants in list_variants(sales, stores).items():
        seconds = time_variants(variants, rounds)
        ratio = statistics.median(seconds["pandas"]) / statistics.median(seconds["titrate"])
        print(name)
        for variant, durations in seconds.items():
            print(f"  {variant:8} {format_rates(rows, durations)} million rows/s")
        print(f"  ratio    {ratio:.2f}")


def make_tables(rows: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A table of sales and one of stores. A store and a customer have a number, and a text."""
    random = np.random.default_rng(0)
    stores, customers = (max(count * rows // 1_000_000, 1) for count in (STORES, CUSTOMERS))
    store, customer = random.integers(stores, size=rows), random.integers(customers, size=rows)
    sales = {
        "store": store,
        "store_name": name_numbers("store", store),
        "customer": customer,
        "customer_name": name_numbers("customer", customer),
        "price": random.random(rows),
    }
    numbers = random.permutation(stores)
    others = {"store": numbers, "store_name": name_numbers("store", numbers), "size": random.random(stores)}
    return sales, others


def name_numbers(prefix: str, numbers: np.ndarray) -> Strings:
    return Strings.from_bytes([f"{prefix} {number}".encode() for number in numbers.tolist()])


def list_variants(sales: Mapping[str, Any], stores: Mapping[str, Any]) -> dict[str, dict[str, Callable[[], Any]]]:
    """What is measured, by name: each by Titrate, and by pandas."""
    table, other = Arrays(columns=sales), Arrays(columns=stores)
    frame, other_frame = (
        pd.DataFrame({name: each.tolist() if isinstance(each, Strings) else each for name, each in columns.items()})
        for columns in (sales, stores)
    )
    variants: dict[str, dict[str, Callable[[], Any]]] = {}
    for kind, suffix in (("numbers", ""), ("texts", "_name")):
        variants[f"join by {kind}"] = {
            "titrate": lambda key=f"store{suffix}": operate(table, Join(other=other, by=key, columns="size")),
            "pandas": lambda key=f"store{suffix}": frame.merge(other_frame[[key, "size"]], on=key, how="left"),
        }
        variants[f"aggregate by {kind}"] = {
            "titrate": lambda key=f"customer{suffix}": operate(table, Aggregate(by=key, columns=COLUMNS)),
            "pandas": lambda key=f"customer{suffix}": frame.groupby(key, sort=False)["price"].agg(
                ["size", "sum", "mean", "max"]
            ),
        }
    return variants


def operate(source: Arrays, operation: RowOperation) -> int:
    """The number of rows after an operation."""
    return sum(OperatedSource(source=source, operations=(operation,)).sizes().values())


if __name__ == "__main__":
    main()
