"""Statistics are the same however rows are cut into blocks, and whatever tree the blocks are merged in."""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.data import Arrays
from components.feature.statistic import (
    ByClass,
    Covariance,
    Distinct,
    Extremes,
    Histogram,
    Moments,
    Quantiles,
    Summary,
    find_principal_components,
)
from components.feature.text.string_ops import to_strings
from components.types import Block, DataError, UserError
from runner.data.statistics import StatisticsRequest, compute_statistics
from runner.data.workers import Workers

NUMBERS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(2, 40), st.integers(1, 3)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False),
)


@dataclass(frozen=True)
class Gappy:
    """What a feature column gives a statistic: the numbers of `x`, with gaps."""

    def __call__(self, block: Block) -> np.ndarray:
        values = np.asarray(block.columns["x"])
        return values.reshape(len(values), -1)


def summary(statistic: Any, values: np.ndarray, data: st.DataObject, **others: np.ndarray) -> Any:
    """The result over blocks cut and merged at random."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(values) - 1), max_size=6)))
    columns = {"x": values, **others}
    blocks = zip(*(np.split(column, cuts) for column in columns.values()), strict=True)
    states = [statistic.summarize(Block(dict(zip(columns, parts, strict=True)))) for parts in blocks]
    while len(states) > 1:
        place = data.draw(st.integers(0, len(states) - 2))
        states[place : place + 2] = [statistic.merge(states[place], states[place + 1])]
    return statistic.result(states[0])


def exact_std(values: np.ndarray) -> np.ndarray:
    """NumPy's standard deviation, of numbers whose squares may be below the range of float64."""
    _, exponent = np.frexp(np.abs(values).max())
    return np.ldexp(np.ldexp(values, -exponent).std(axis=0), exponent)


@settings(max_examples=40)
@given(values=NUMBERS, data=st.data())
def test_moments_do_not_depend_on_blocks_or_merges(values: np.ndarray, data: st.DataObject) -> None:
    result = summary(Moments("x"), values, data)
    size = np.abs(values).max()
    np.testing.assert_allclose(result.offset, values.mean(axis=0), rtol=1e-12, atol=1e-12 * size)
    np.testing.assert_allclose(result.scale, exact_std(values), rtol=1e-12, atol=1e-7 * size)


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e-46, 1e170, 1e306])
def test_moments_do_not_exceed_the_range_of_float64(size: float) -> None:
    values = np.concatenate([np.linspace(-9, 3, 1000), np.full(1000, 5.0)])[:, None] * size
    statistic = Moments("x")
    states = [statistic.summarize(Block({"x": block})) for block in np.split(values, 10)]
    total = states[0]
    for state in states[1:]:
        total = statistic.merge(total, state)
    result = statistic.result(total)
    scaled = values / size
    rounding = 1e-12 if size > 1e-300 else 1e-3
    np.testing.assert_allclose(result.offset / size, scaled.mean(axis=0), rtol=rounding)
    np.testing.assert_allclose(result.scale / size, scaled.std(axis=0), rtol=rounding)
    joint = Covariance("x")
    covariance = joint.result(joint.merge(*(joint.summarize(Block({"x": half})) for half in np.split(values, 2))))
    np.testing.assert_allclose(
        np.ldexp(np.sqrt(covariance.covariance), covariance.exponent) / size, [scaled.std(axis=0)], rtol=rounding
    )


def test_moments_of_vectors_far_from_0_are_precise() -> None:
    """A plain sum of the rows is 250 too large."""
    digits = np.random.default_rng(0).random((4096, 2)) * 1000
    values = 2.0**52 + digits
    digits = values - 2.0**52
    for block in (values, np.where(np.arange(4096)[:, None] % 9 == 0, np.nan, values)):
        present = digits[~np.isnan(block[:, 0])]
        moments = Moments(Gappy())
        result = moments.result(moments.summarize(Block({"x": block})))
        np.testing.assert_allclose(result.offset - 2.0**52, present.mean(axis=0), atol=1)
        np.testing.assert_allclose(result.scale, present.std(axis=0), rtol=1e-4)
    joint = Covariance("x").summarize(Block({"x": values}))
    covariance = Covariance("x").result(joint).covariance
    np.testing.assert_allclose(covariance, np.cov(digits.T, bias=True), rtol=1e-4, atol=10)


@settings(max_examples=40)
@given(values=hnp.arrays(np.float64, 30, elements=st.floats(1, 2)), data=st.data())
def test_moments_of_numbers_that_do_not_cancel_are_exact_to_12_digits(values: np.ndarray, data: st.DataObject) -> None:
    values[0], values[-1] = 0, 3
    result = summary(Moments("x"), values, data)
    np.testing.assert_allclose(result.offset, [values.mean()], rtol=1e-12)
    np.testing.assert_allclose(result.scale, [values.std()], rtol=1e-12)


@settings(max_examples=40)
@given(values=NUMBERS, data=st.data())
def test_extremes_are_exact(values: np.ndarray, data: st.DataObject) -> None:
    result = summary(Extremes("x"), values, data)
    assert result.offset.tolist() == values.min(axis=0).tolist()
    assert result.scale.tolist() == (values.max(axis=0) - values.min(axis=0)).tolist()


@settings(max_examples=30)
@given(values=NUMBERS, holes=st.integers(0, 2**32), data=st.data())
def test_missing_values_are_counted_and_ignored(values: np.ndarray, holes: int, data: st.DataObject) -> None:
    values[np.random.default_rng(holes).random(values.shape) < 0.4] = np.nan
    figures = summary(Summary(Gappy()), values, data)
    std = summary(Moments(Gappy()), values, data).scale
    for element, column in enumerate(values.T):
        present = column[~np.isnan(column)]
        size = max(np.abs(present), default=0)
        assert (figures.count[element], figures.missing[element]) == (len(present), len(column) - len(present))
        if not len(present):
            assert np.isnan([figures.mean[element], figures.variance[element], figures.minimum[element]]).all()
            continue
        assert (figures.minimum[element], figures.maximum[element]) == (present.min(), present.max())
        for found, expected in (
            (figures.sum, present.sum()),
            (figures.mean, present.mean()),
            (std, exact_std(present)),
        ):
            np.testing.assert_allclose(found[element], expected, rtol=1e-12, atol=1e-7 * size)
        # Squares of numbers near 1e-160 are rounded to multiples of the smallest number, each of them and their sums.
        rounding = len(present) * np.finfo(float).smallest_subnormal
        atol = 1e-12 * size**2 + rounding
        np.testing.assert_allclose(figures.variance[element], present.var(), rtol=1e-9, atol=atol)


@settings(max_examples=30)
@given(values=NUMBERS, boundaries=st.sets(st.floats(-1e6, 1e6), max_size=5).map(sorted), data=st.data())
def test_a_number_is_in_the_bucket_of_as_many_boundaries_as_are_not_above_it(
    values: np.ndarray, boundaries: list[float], data: st.DataObject
) -> None:
    values[0, 0] = boundaries[0] if boundaries else np.nan
    counts = summary(Histogram(Gappy(), tuple(boundaries)), values, data)
    for element, column in enumerate(values.T):
        buckets = [sum(boundary <= x for boundary in boundaries) for x in column if not np.isnan(x)]
        assert counts[element].tolist() == [buckets.count(bucket) for bucket in range(len(boundaries) + 1)]


def test_boundaries_of_a_histogram_must_increase() -> None:
    with pytest.raises(UserError, match=r"`boundaries` must increase, but 1\.0 follows 1\.0"):
        Histogram("x", (0.0, 1.0, 1.0))


@settings(max_examples=30)
@given(values=NUMBERS, data=st.data())
def test_covariance_is_that_of_the_population(values: np.ndarray, data: st.DataObject) -> None:
    joint = summary(Covariance("x"), values, data)
    size = np.abs(values).max()
    assert joint.count == len(values)
    np.testing.assert_allclose(joint.mean, values.mean(axis=0), rtol=1e-12, atol=1e-12 * size)
    unit = size or 1.0
    expected = np.cov((values / unit).T, bias=True).reshape(joint.covariance.shape)
    found = np.ldexp(joint.covariance, 2 * joint.exponent)
    np.testing.assert_allclose(found, expected * unit * unit, rtol=1e-9, atol=1e-12 * size**2)


def test_rows_with_missing_values_are_left_out_of_the_covariance() -> None:
    rows = np.array([[1.0, 2.0], [np.nan, 100.0], [3.0, 6.0]])
    statistic = Covariance(Gappy())
    joint = statistic.result(statistic.summarize(Block({"x": rows})))
    assert (joint.count, joint.mean.tolist(), joint.covariance.tolist()) == (2, [2, 4], [[1, 2], [2, 4]])
    nothing = statistic.result(statistic.summarize(Block({"x": rows[1:2]})))
    assert nothing.count == 0
    assert np.isnan(nothing.mean).all()
    assert np.isnan(nothing.covariance).all()


def test_the_sign_of_a_component_does_not_depend_on_rounding() -> None:
    """Of two standardized numbers, a direction has two elements of the same size."""
    found = [
        find_principal_components(np.array([[1, -0.5], [-0.5, 1 + rounding]]), 2) for rounding in (-1e-12, 0, 1e-12)
    ]
    np.testing.assert_allclose(found, [np.array([[1, 1], [-1, 1]]) / 2**0.5] * 3, rtol=1e-9)


def test_principal_components_go_from_the_largest_variance_down() -> None:
    random = np.random.default_rng(0)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    block = Block({"x": random.normal(size=(500, 3)) * [1, 5, 2] @ turn, "y": random.normal(size=500)})
    statistic = Covariance(("x", "y"))
    covariance = statistic.result(statistic.summarize(block)).covariance
    vectors = find_principal_components(covariance, 3)
    assert vectors.shape == (4, 3)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
    variances = np.diag(vectors.T @ covariance @ vectors)
    np.testing.assert_allclose(variances, np.sort(np.linalg.eigvalsh(covariance))[:0:-1], rtol=1e-9)
    assert (vectors.max(axis=0) == np.abs(vectors).max(axis=0)).all()
    with pytest.raises(UserError, match=r"`components` \(=5\) must be from 1 to 4, the elements of a row"):
        find_principal_components(covariance, 5)


KINDS = st.lists(st.sampled_from(["a", "b", "ä", ""]), min_size=2, max_size=40)


@settings(max_examples=30)
@given(kinds=KINDS, data=st.data())
def test_each_class_has_a_result_of_its_own(kinds: list[str], data: st.DataObject) -> None:
    values = np.arange(2.0 * len(kinds)).reshape(-1, 2)
    values[0, 1] = np.nan
    result = summary(ByClass(Summary(Gappy()), "kind"), values, data, kind=np.array(kinds))
    assert list(result) == sorted(set(kinds))
    for kind, figures in result.items():
        rows = values[np.array(kinds) == kind]
        assert figures.count.tolist() == (~np.isnan(rows)).sum(axis=0).tolist()
        assert figures.sum.tolist() == np.nansum(rows, axis=0).tolist()


def test_classes_of_images_have_no_results_of_their_own() -> None:
    block = Block({"x": np.zeros((2, 4, 4, 1), np.uint8), "kind": np.array([0, 1])})
    with pytest.raises(DataError, match="column `x` of data must have one vector in each row to be grouped by `kind`"):
        ByClass(Moments("x"), "kind").summarize(block)


@settings(max_examples=40)
@given(values=KINDS, data=st.data())
def test_counts_are_exact_and_sorted(values: list[str], data: st.DataObject) -> None:
    result = summary(Distinct("x"), np.array(values), data)
    assert result == {value: values.count(value) for value in values}
    assert list(result) == sorted(set(values))


@pytest.mark.parametrize(
    "dictionary", [["b", "", "a\0", "never", "b"], ["c", "b", "", "a\0", "never", "b", "d", "e", "f"]]
)
def test_strings_are_counted_by_their_dictionary(dictionary: list[str]) -> None:
    rows = np.array(
        [dictionary.index(text) for text in ("a\0", "b", "", "b", "a\0")]
        + [len(dictionary) - 1 - dictionary[::-1].index("b")]
    )
    coded = Block({"x": to_strings(dictionary)._replace(indices=rows)})
    plain = Block({"x": to_strings([dictionary[row] for row in rows])})
    for block in (coded, plain):
        assert dict(Distinct("x").summarize(block)) == {"b": 3, "": 1, "a\0": 2}
    with pytest.raises(DataError, match="row 1 of data: column `x` has no value"):
        Distinct("x").summarize(Block(coded.columns, {"x": np.arange(len(rows)) != 1}))


def test_an_image_is_summarized_by_channel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    statistic = Moments("x")
    result = statistic.result(statistic.summarize(Block({"x": images})))
    np.testing.assert_allclose(result.offset, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(result.scale, images.std(axis=(0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("kind", [Moments, Extremes, Distinct, Summary, Quantiles, Covariance])
def test_equal_statistics_are_one(kind: type) -> None:
    assert len({kind("x"), kind("x"), kind("y")}) == 2


class Everything:
    """A column that wants all there is to know."""

    keys = ("x", "kind")

    def statistics(self) -> dict[str, Any]:
        kinds = (Moments, Extremes, Summary, Quantiles, Covariance)
        found = {kind.__name__: kind("x") for kind in kinds}
        by_class = ByClass(Quantiles("x", capacity=64), "kind")
        return {**found, "histogram": Histogram("x", (0.0, 1.0)), "kinds": Distinct("kind"), "by_class": by_class}


def test_any_number_of_threads_gives_the_same_to_the_bit() -> None:
    random = np.random.default_rng(0)
    columns = {"x": random.normal(size=(19_000, 3)), "kind": random.choice(["a", "b"], 19_000)}
    source = Arrays(columns=columns, valid=0.2)
    wanted = {"train": StatisticsRequest({"all": Everything()}, np.flatnonzero(columns["x"][:, 0] < 1))}
    results = [
        pickle.dumps(compute_statistics(source, wanted, {"all": Everything()}, workers=Workers(workers)))
        for workers in (1, 2, 3)
    ]
    assert results[0] == results[1] == results[2]
