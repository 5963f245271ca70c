"""How much faster two threads and two processes fit and encode columns than one, for each kind of column.

    python benchmarks/encode.py [rounds] [thousand rows] [kinds, as in numbers,times]
    smallest: 1 1

The columns are made up, in memory, in blocks of the size that tables have:

- numbers: 20 columns, half of them standardized, half of them in ten buckets with the same number of rows.
- categories: 8 columns of 2 to 40 texts, as in a census: learned vocabularies, one hashed column and a cross.
- names: a column with many different texts, hashed and as a vocabulary of the 1,000 most frequent ones.
- reviews: texts of 200 words, of which the 10,000 most frequent ones are learned (a tenth of the rows).
- pairs: words and pairs of words of the same texts, hashed (a tenth of the rows).
- times: timestamps, as points on a circle and as standardized days.
- iso times: the same as texts.
- dates: texts in a format of strptime (a tenth of the rows).

Prints for statistics and for encoding the best rate of N rounds with one thread, with two threads, and with a thread
and a process, in thousand rows per second, and the ratios to the first; after one warm-up round, in which the process
starts. The variants alternate. A machine with one free core shows a ratio of 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np

from benchmarks.timing import parse_arguments, time_variants
from components.data import Arrays
from components.feature import Bucketized, Crossed, Hashed, Indicator, Numeric, Time, TimePart, Tokens, Vocabulary
from components.feature.text.string_ops import to_strings
from components.types import Column, Constants, Source
from runner.data.encode import encode_pieces, parent_keys
from runner.data.statistics import StatisticsRequest, compute_statistics, group_by_pass
from runner.data.workers import Workers

Table = Mapping[str, Any]


def make_numbers(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    table = {f"x{number}": np.round(random.lognormal(size=rows), 3) for number in range(20)}
    columns: dict[str, Any] = {name: Numeric(key=name, normalize="z_score") for name in list(table)[:10]}
    columns |= {f"{name}_bucket": Bucketized(key=name, quantiles=10) for name in list(table)[10:]}
    return table, columns


def make_categories(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    counts = {"work": 9, "education": 16, "marital": 7, "job": 15, "relation": 6, "race": 5, "sex": 2, "country": 40}
    table = {
        name: to_strings([f"{name} {number}" for number in random.integers(0, count, rows)])
        for name, count in counts.items()
    }
    columns: dict[str, Any] = {f"{name}_id": Vocabulary(key=name) for name in counts if name != "country"}
    columns["country_id"] = Hashed(key="country", buckets=100)
    columns["job_x_sex"] = Crossed(keys=("job_id", "sex_id"), buckets=100)
    return table, columns


def make_names(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    numbers = random.zipf(1.3, rows) % 1_000_000
    table = {"name": to_strings([f"street number {number}" for number in numbers])}
    return table, {"hash": Hashed(key="name", buckets=10_000), "id": Vocabulary(key="name", top=1000, oov=1)}


def _make_reviews(random: np.random.Generator, rows: int) -> Table:
    words = np.array(["".join(map(chr, each)) for each in random.integers(97, 123, (50_000, 6))])
    numbers = random.zipf(1.2, (rows // 10 + 1, 200)) % len(words)
    return {"text": to_strings([f"{' '.join(each)}." for each in words[numbers]])}


def make_words(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    columns = {"words": Tokens(key="text"), "ids": Vocabulary(key="words", top=10_000, oov=1)}
    return _make_reviews(random, rows), columns | {"bag": Indicator(key="ids", mode="tf_idf")}


def make_pairs(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    return _make_reviews(random, rows), {
        "words": Tokens(key="text", ngrams=2),
        "ids": Hashed(key="words", buckets=1 << 20),
    }


def _make_times(random: np.random.Generator, rows: int) -> np.ndarray:
    return np.datetime64("2020-01-01", "s") + random.integers(0, 10**8, rows)


def _time_columns(**options: Any) -> dict[str, Any]:
    circle = Time(key="at", parts=("month", "weekday", "hour"), encoding="cyclic", **options)
    days = Time(key="at", parts=("elapsed",), normalize="z_score", **options)
    return {"circle": circle, "days": days, "hour": TimePart(key="at", part="hour", **options)}


def make_times(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    return {"at": _make_times(random, rows)}, _time_columns()


def make_iso_times(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    return {"at": to_strings(_make_times(random, rows).astype(str).tolist())}, _time_columns()


def make_dates(random: np.random.Generator, rows: int) -> tuple[Table, dict[str, Any]]:
    times = _make_times(random, rows // 10 + 1).tolist()
    texts = to_strings([f"{time:%d.%m.%Y %H:%M}" for time in times])
    return {"at": texts}, _time_columns(format="%d.%m.%Y %H:%M")


KINDS = {
    "numbers": make_numbers,
    "categories": make_categories,
    "names": make_names,
    "reviews": make_words,
    "pairs": make_pairs,
    "times": make_times,
    "iso times": make_iso_times,
    "dates": make_dates,
}


def fit(source: Source, columns: Mapping[str, Column], rows: np.ndarray, workers: Workers) -> dict[str, Constants]:
    constants: dict[str, Constants] = {}
    for group in group_by_pass(columns):
        requests = {"train": StatisticsRequest(group, rows)}
        results = compute_statistics(source, requests, columns, constants, workers=workers)["train"]
        for name, column in group.items():
            parents = {key: constants[key] for key in parent_keys(columns, name)}
            constants[name] = column.fit(results[name] | {"training_rows": len(rows)}, parents)
    return constants


def encode(source: Source, columns: Mapping[str, Column], constants: Mapping[str, Constants], workers: Workers) -> None:
    names = [name for name in columns if not isinstance(columns[name], Tokens)]
    for _ in encode_pieces(source, columns, constants, names, workers=workers):
        pass


def main(rounds: int = 7, thousands: float = 400, kinds: str = ",".join(KINDS)) -> None:
    print(f"{'thousand rows/s':24} {'one':>8} {'two threads':>12} {'ratio':>6} {'processes':>10} {'ratio':>6}")
    with Workers(1) as one, Workers(2, start_seconds=math.inf) as threads, Workers(2, start_seconds=0) as processes:
        for kind in kinds.split(","):
            table, columns = KINDS[kind](np.random.default_rng(0), int(1000 * thousands))
            source = cast(Source, Arrays(columns=table))
            rows = np.arange(source.sizes()["all"])
            constants = fit(source, columns, rows, one)
            work: dict[str, Callable[..., Any]] = {
                "statistics": partial(fit, source, columns, rows),
                "encoding": partial(encode, source, columns, constants),
            }
            variants = list(itertools.product(work, (one, threads, processes)))
            seconds = time_variants({(name, each): partial(work[name], each) for name, each in variants}, rounds)
            for name in work:
                rates = [len(rows) / min(seconds[name, each]) / 1000 for each in (one, threads, processes)]
                ratios = [rate / rates[0] for rate in rates]
                print(
                    f"{kind + ', ' + name:24} {rates[0]:8,.0f} {rates[1]:12,.0f} {ratios[1]:6.2f} "
                    f"{rates[2]:10,.0f} {ratios[2]:6.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main(*parse_arguments(int, float))
