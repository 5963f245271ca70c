"""Statistics in one pass: bit-identical for any number of threads, also of columns that read other columns."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from components.feature.numeric import Numeric
from components.feature.statistic import Moments
from components.feature.vocabulary import Vocabulary
from components.types import Block, Constants, DataError, Ragged
from runner.data.encode import encode_source
from runner.data.load import Features, load_encoded
from runner.data.ordered_map import ordered_map
from runner.data.python_rows import open_rows
from runner.data.statistics import StatisticsRequest, compute_statistics, merge_states
from runner.data.workers import Workers, pack_message

ROWS = 1000


@dataclass(frozen=True)
class Blocks:
    """A test's own source: numbers in blocks of a few rows."""

    size: int
    rows: int = ROWS

    def fingerprint(self) -> str:
        return f"{self.size}"

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.rows}

    def blocks(self, part: str) -> Iterator[Block]:
        random = np.random.default_rng(0)
        columns = {"x": random.normal(size=self.rows) * 1e6, "y": np.arange(self.rows)}
        for first in range(0, self.rows, self.size):
            yield Block({name: values[first : first + self.size] for name, values in columns.items()}, first_row=first)

    def splits(self) -> Mapping[str, np.ndarray]:
        return {"train": np.arange(0, self.rows, 2), "valid": np.arange(1, self.rows, 2)}


@dataclass(frozen=True)
class Scaled:
    """A test's own column: a number times `by`, minus the mean if `learn` is true."""

    key: str
    by: float = 1.0
    learn: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Any]:
        return {"moments": Moments(self.key)} if self.learn else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        mean = results["moments"].offset if self.learn else np.zeros(1)
        return Constants(host={"mean": mean}, static={"read": tuple(parents)})

    def encode(self, block: Block, parents: Mapping[str, Any], constants: Constants) -> Mapping[str, Any]:
        values = parents[self.key]["values"] if self.key in parents else block.columns[self.key]
        return {"values": ((values - constants.host["mean"]) * self.by).astype(np.float32)}

    def layer(self, static: Mapping[str, Any]) -> Any:
        return lambda encoded, constants: encoded["values"]

    def validate_splits(self, results: Mapping[str, Any]) -> tuple[str, ...]:
        return ()


def features(sample: int | None = None, **columns: Any) -> Features:
    return Features({"target": Scaled("y")}, columns, {"input": tuple(columns)}, sample=sample)


def moments(source: Blocks, workers: int) -> Any:
    columns = {"a": Scaled("x", learn=True)}
    requests = {"train": StatisticsRequest(columns, source.splits()["train"])}
    return compute_statistics(source, requests, columns, workers=Workers(workers))["train"]["a"]["moments"]


@pytest.mark.parametrize("size", [1, 7, 400])
def test_statistics_are_bit_identical_for_any_number_of_threads(size: int) -> None:
    expected = moments(Blocks(size), 1)
    for workers in (2, 5):
        found = moments(Blocks(size), workers)
        assert (found.offset.tobytes(), found.scale.tobytes()) == (expected.offset.tobytes(), expected.scale.tobytes())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 9])
def test_workers_merge_pairs_of_blocks_as_single_blocks_are_merged(count: int) -> None:
    statistic, rows = Moments("x"), {"train": np.arange(ROWS), "last": np.arange(ROWS - 1, ROWS)}
    blocks = list(Blocks(-(-ROWS // count)).blocks("all"))
    states = {"train": [statistic.summarize(block) for block in blocks]}
    states["last"] = [statistic.summarize(Block({"x": blocks[-1].columns["x"][-1:]}))]
    requests = {name: StatisticsRequest({"a": Scaled("x", learn=True)}, rows[name]) for name in rows}
    found = compute_statistics(Blocks(-(-ROWS // count)), requests, {"a": Scaled("x", learn=True)}, workers=Workers(1))
    assert len(blocks) == count
    for name, parts in states.items():
        key = (statistic, ())
        total = merge_states([{name: {key: state}} for state in parts], {name: {key: "a"}})[name][key]
        for result, expected in zip(found[name]["a"]["moments"], statistic.result(total), strict=True):
            assert result.tobytes() == expected.tobytes()


class EqualToItself:
    """A statistic without a comparison of its own: a copy differs from it."""

    def __init__(self) -> None:
        self.copied = Moments("x")

    def summarize(self, block: Block) -> Any:
        return self.copied.summarize(block)

    def merge(self, state: Any, other: Any) -> Any:
        return self.copied.merge(state, other)

    def result(self, state: Any) -> Any:
        return self.copied.result(state)


@dataclass(frozen=True)
class KeepsStatistic(Scaled):
    statistic: EqualToItself = field(default_factory=EqualToItself)

    def statistics(self) -> Mapping[str, Any]:
        return {"moments": self.statistic}


class CopyingWorkers(Workers):
    """They call a copy of the function, as other processes do."""

    def map(self, function: Any, items: Any) -> Any:
        message = pack_message(function)
        copied = pickle.loads(message.data, buffers=message.buffers)
        return map(copied, items)


def test_a_statistic_may_be_equal_to_itself_only() -> None:
    columns = {"a": KeepsStatistic("x")}
    requests = {"train": StatisticsRequest(columns, Blocks(7).splits()["train"])}
    found = compute_statistics(Blocks(7), requests, columns, workers=CopyingWorkers(1))["train"]["a"]["moments"]
    assert found.offset == moments(Blocks(7), 1).offset


def test_encoding_depends_neither_on_threads_nor_on_blocks() -> None:
    columns, constants = {"a": Scaled("x", by=3.0)}, {"a": Constants(host={"mean": np.ones(1)})}
    found = [
        encode_source(Blocks(size), columns, constants, ["a"], workers=Workers(n))["a"]["values"]
        for size in (3, 400)
        for n in (1, 3)
    ]
    assert all(np.array_equal(values, found[0]) for values in found)


@dataclass(frozen=True)
class Lists(Blocks):
    """Lists of two numbers."""

    def blocks(self, part: str) -> Iterator[Block]:
        for block in super().blocks(part):
            pairs = Ragged(np.repeat(block.columns["x"], 2), np.arange(self.size + 1) * 2)
            yield replace(block, columns={**block.columns, "x": pairs})


def test_an_error_of_a_statistic_has_the_remedies_of_its_column() -> None:
    with pytest.raises(DataError, match=r"set feature.columns.a.size=2; .* set feature.columns.a.sequence=true$"):
        load_encoded(Lists(50), features(a=Numeric(key="x"), b=Numeric(key="x")), identity="", cache=None)


@pytest.mark.parametrize("count", range(1, 20))
def test_states_are_merged_in_order_and_pairwise(count: int) -> None:
    class Joined:
        def merge(self, left: str, right: str) -> str:
            return f"({left}{right})"

    key: Any = (Joined(), ())
    key = (key[0], ())
    states = [{"train": {key: chr(ord("a") + n)}} for n in range(count)]
    whole = merge_states(states, {"train": {key: "a"}})["train"][key]
    assert whole.replace("(", "").replace(")", "") == "".join(chr(ord("a") + n) for n in range(count))
    assert max(sum(1 if c == "(" else -1 for c in whole[:n] if c in "()") for n in range(len(whole) + 1)) <= 5


def test_a_column_can_read_a_column_without_statistics() -> None:
    data = load_encoded(Blocks(50), features(b=Scaled("a", learn=True), a=Scaled("x", by=2.0)), identity="", cache=None)
    rows = next(Blocks(ROWS).blocks("all")).columns["x"][::2]
    np.testing.assert_allclose(data.constants["b"].host["mean"], [(rows * 2).astype(np.float32).mean()], rtol=1e-4)
    assert data.constants["b"].static == {"read": ("a",)}


class Counted(Blocks):
    """The same numbers. It counts the passes over them."""

    passes = 0

    def blocks(self, part: str) -> Iterator[Block]:
        Counted.passes += 1
        yield from super().blocks(part)


@pytest.mark.parametrize(
    ("columns", "passes"),
    [
        ({"a": Scaled("x"), "b": Scaled("a")}, 1),
        ({"a": Scaled("x"), "b": Scaled("a", learn=True), "c": Scaled("x", learn=True)}, 1),
        ({"c": Scaled("b", learn=True), "b": Scaled("a", learn=True), "a": Scaled("x", learn=True)}, 3),
        ({"d": Scaled("c"), "c": Scaled("b", learn=True), "b": Scaled("a"), "a": Scaled("x", learn=True)}, 2),
    ],
)
def test_a_column_that_reads_a_fitted_column_is_fitted_in_a_later_pass(columns: Mapping[str, Any], passes: int) -> None:
    """Two passes more: one finds the first block, and one encodes. Rows are hashed in the first pass."""
    Counted.passes = 0
    data = load_encoded(Counted(50), features(**columns), identity="", cache=None)
    assert Counted.passes == passes + 2
    rows = next(Blocks(ROWS).blocks("all")).columns["x"]
    learns = any(column.learn for column in columns.values())
    expected = (rows - rows[::2].mean()) if learns else rows
    for name, column in columns.items():
        wanted = expected if column.learn or column.key != "x" else rows
        np.testing.assert_allclose(data.encoded[name]["values"], wanted, rtol=1e-5, atol=1)


def test_a_column_is_fitted_to_the_output_of_the_column_that_it_reads() -> None:
    columns = features(x=Numeric(key="x", normalize="z_score"), b=Numeric(key="x", normalize="min_max"))
    data = load_encoded(Blocks(50), columns, identity="", cache=None)
    rows = next(Blocks(ROWS).blocks("all")).columns["x"][::2]
    normalized = (rows - rows.mean()) / rows.std()
    np.testing.assert_allclose(data.constants["b"].device["offset"], [normalized.min()], rtol=1e-12)
    np.testing.assert_allclose(data.constants["b"].device["divisor"], [np.ptp(normalized)], rtol=1e-12)


def test_statistics_of_ids_read_the_encoded_ids() -> None:
    """-1 is an ordinary id (of unknown values), and so not missing."""
    columns = {"i": Vocabulary(key="x", values=("p", "r")), "v": Vocabulary(key="i", missing=7)}
    source = open_rows({"x": ["p", "q", "q", "r", "r", None]}, {}).source
    constants = {"i": columns["i"].fit({}, {})}
    results = compute_statistics(source, {"train": StatisticsRequest(columns, np.arange(6))}, columns, constants)
    counted = results["train"]["v"]["counts"]
    assert dict(zip(counted.tokens.tolist(), counted.counts.tolist(), strict=True)) == {-1: 2, 0: 1, 1: 2, 7: 1}


def test_equal_statistics_of_a_raw_and_a_feature_column_of_one_name_are_not_shared() -> None:
    columns = features(x=Scaled("x", by=2.0), b=Scaled("x", learn=True), y=Scaled("y", learn=True))
    data = load_encoded(Blocks(50), columns, identity="", cache=None)
    rows = next(Blocks(ROWS).blocks("all")).columns["x"][::2]
    np.testing.assert_allclose(data.constants["b"].host["mean"], [2 * rows.mean()], rtol=1e-4)


def test_a_sample_is_always_the_same_rows() -> None:
    means = [
        load_encoded(Blocks(size), features(sample, a=Scaled("y", learn=True)), identity="", cache=None)
        .constants["a"]
        .host["mean"][0]
        for size, sample in ((50, None), (50, ROWS), (50, 20), (7, 20))
    ]
    assert means[0] == means[1] == np.arange(0, ROWS, 2).mean()
    assert means[2] != means[0]
    np.testing.assert_allclose(means[3], means[2], rtol=1e-12)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_and_the_first_error_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(ordered_map(lambda n: n * n, range(20), workers)) == [n * n for n in range(20)]

    def fail(number: int) -> int:
        if number >= 3:
            raise DataError(f"row {number}")
        return number

    with pytest.raises(DataError, match="row 3"):
        list(ordered_map(fail, range(20), workers))


class WithMissing(Blocks):
    """The same numbers, but every third is missing, and has 1e9 in its place."""

    def blocks(self, part: str) -> Iterator[Block]:
        for block in super().blocks(part):
            valid = np.asarray(block.columns["y"]) % 3 > 0
            values = np.where(valid, block.columns["x"], 1e9)
            yield replace(block, columns={**block.columns, "x": values}, valid={"x": valid})


def test_statistics_skip_missing_values_of_scattered_rows() -> None:
    source = WithMissing(64)
    data = load_encoded(
        source, features(x=Numeric(key="x", normalize="z_score", missing="mean")), identity="", cache=None
    )
    rows = source.splits()["train"]
    values = np.concatenate([block.columns["x"] for block in Blocks(64).blocks("all")])[rows[rows % 3 > 0]]
    for name, expected in (("offset", values.mean()), ("divisor", values.std()), ("missing", values.mean())):
        np.testing.assert_allclose(data.constants["x"].device[name], [expected], rtol=1e-6)


def test_the_target_reads_the_raw_column_even_if_a_feature_column_has_its_name() -> None:
    columns = {"y": Scaled("x", by=2.0)}
    data = load_encoded(
        Blocks(64), Features({"target": Scaled("y", learn=True)}, columns, {"input": ("y",)}), identity="", cache=None
    )
    rows = np.arange(ROWS)
    expected = rows - rows[::2].mean()
    np.testing.assert_allclose(data.encoded["target"]["values"], expected, rtol=1e-6)


def test_missing_values_of_a_raw_column_do_not_affect_the_feature_column_of_its_name() -> None:
    columns = features(x=Scaled("x", by=2.0), b=Numeric(key="x", normalize="z_score"))
    source = WithMissing(64)
    data = load_encoded(source, columns, identity="", cache=None)
    stored = np.concatenate([block.columns["x"] for block in source.blocks("all")])[source.splits()["train"]]
    np.testing.assert_allclose(data.constants["b"].device["offset"], [2 * stored.mean()], rtol=1e-5)
