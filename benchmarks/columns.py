"""How many rows per second become arrays for the training step: the columns of California housing.

    python benchmarks/columns.py [rounds] [path of housing.csv]
    smallest: 1

By default, the file is $TITRATE_DATA/california_housing/housing.csv. The columns are those of tf.feature_column's
benchmark: a standardized income, six buckets of age, the vocabulary of ocean_proximity, age x ocean in 100 buckets,
and latitude x longitude, 20 buckets each, in 1,000 buckets.

Prints the best and the median of N rounds after one warm-up round, in million rows per second. Variants alternate, so
that a busy machine slows all of them. `x 10` is ten copies of the file's rows. Strings are encoded faster where Arrow
has dictionary-encoded them.
"""

from __future__ import annotations

import itertools
from functools import partial

from benchmarks.housing import COLUMNS, HousingSource, read_housing
from benchmarks.timing import format_rates, parse_arguments, time_variants
from components.feature import Label
from runner.data.encode import encode_source
from runner.data.load import Features, load_encoded

OUTPUTS = ("income", "age_bucket", "kind", "age_x_ocean", "place")  # the columns that the step takes
SIZES = ((8192, 10), (8192, 1), (32, 1))  # rows of a block, copies of the file


def main(rounds: int = 9, path: str | None = None) -> None:
    features = Features({"target": Label(key="label")}, COLUMNS, {"inputs": OUTPUTS})
    sources, variants = {}, {}
    for (block_rows, copies), dictionary, workers in itertools.product(SIZES, (True, False), (1, 2)):
        source = HousingSource(read_housing(copies, path, dictionary=dictionary), block_rows)
        constants = load_encoded(source, features, identity="", cache=None).constants
        strings = "dictionary" if dictionary else "plain"
        name = f"blocks of {block_rows:4}, {strings:10} x {copies:<2}, {workers} threads"
        sources[name] = source
        variants[name] = partial(encode_source, source, COLUMNS, constants, OUTPUTS, workers=workers)
    for name, seconds in time_variants(variants, rounds).items():
        print(f"{name}: {format_rates(sources[name].rows, seconds)}")


if __name__ == "__main__":
    main(*parse_arguments(int))
