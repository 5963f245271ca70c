"""What other columns read of a column is its output: normalized and filled, in float64."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import components.feature
from components.data import Arrays
from components.feature import (
    Bucketized,
    Crossed,
    Embedding,
    ExampleWeight,
    Hashed,
    Image,
    Indicator,
    Numeric,
    PrincipalComponents,
    Time,
    Vocabulary,
    Weighted,
    WordCount,
)
from components.feature.base.column import Categorical
from components.feature.base.values import NO_ID
from components.feature.normalizer import Clip
from components.feature.tokens import Tokens
from components.feature.truncated import Truncated
from components.types import Block, Constants, DataError, HostOutput, Ragged, UserError
from runner.data.encode import encode_block
from runner.data.load import Data, Features, load_encoded, used_columns

ROWS = 200
RANDOM = np.random.default_rng(0)
GAPS = np.arange(ROWS) % 7 == 3
COLUMNS: dict[str, Any] = {
    "small": RANDOM.normal(3, 1e-4, ROWS),
    "large": RANDOM.normal(-5, 1e6, ROWS),
    "skewed": RANDOM.lognormal(2, 2, ROWS),
    "gaps": np.where(GAPS, np.nan, RANDOM.normal(50, 20, ROWS)),
    "seconds": 1.6e9 + RANDOM.normal(size=ROWS),
    "vector": RANDOM.normal(size=(ROWS, 2)) * [1, 1000],
    "city": RANDOM.choice(["Oslo", "Rome"], ROWS),
    "kind": np.where(GAPS, "", RANDOM.choice(["a", "b"], ROWS)),
    "time": np.datetime64("2020-01-01") + RANDOM.integers(0, 10**6, ROWS).astype("m8[m]"),
    "text": np.array(["a b c"[: 2 * (row % 3) + 1] for row in range(ROWS)]),
    "image": RANDOM.integers(0, 256, (ROWS, 2, 2, 3), np.uint8),
    "y": np.arange(ROWS) * 1.0,
}
Z = {"normalize": "z_score"}


def load(columns: Mapping[str, Any], *inputs: str, **changes: Any) -> Data:
    features = Features({"target": Numeric(key="y")}, columns, {"x": inputs or (next(reversed(columns)),)}, **changes)
    return load_encoded(Arrays(columns=COLUMNS, valid=40, test=40, seed=0), features, identity="", cache=None)


def output(columns: Mapping[str, Any], name: str, data: Data) -> Any:
    """What other columns read of a column."""
    block = Block({key: np.asarray(values) for key, values in COLUMNS.items()})
    used = used_columns(Features({}, columns, {"x": (name,)}))
    read = encode_block(block, used, data.constants, read=[name]).read[name]
    return next(iter(read.values()))


def z_score(values: np.ndarray, data: Data) -> np.ndarray:
    train = values[data.splits["train"]]
    return (values - train.mean(axis=0)) / train.std(axis=0)


def device(columns: Mapping[str, Any], name: str, data: Data) -> np.ndarray:
    constants = data.constants[name]
    return np.asarray(columns[name].layer(constants.static)(data.encoded[name], constants.device))


# ------------------------------------------------------------------------------------------------------ known cases


def test_principal_components_of_normalized_columns_are_those_of_the_normalized_numbers() -> None:
    columns = {
        "a": Numeric(key="small", **Z),
        "b": Numeric(key="large", **Z),
        "axes": PrincipalComponents(key=("a", "b"), components=2),
    }
    data = load(columns)
    numbers = np.stack([z_score(COLUMNS["small"], data), z_score(COLUMNS["large"], data)], axis=1)
    _, vectors = np.linalg.eigh(np.cov(numbers[data.splits["train"]].T, bias=True))
    directions = vectors[:, ::-1]
    directions = directions * np.sign(directions[0])  # the elements of a direction have the same size
    np.testing.assert_allclose(output(columns, "axes", data), numbers @ directions, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(device(columns, "axes", data), numbers @ directions, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("missing", ["median", "mean", 40.0])
@pytest.mark.parametrize("options", [{"boundaries": (30.0, 50.0, 70.0)}, {"quantiles": 3}, {"equal_width": 4}])
def test_buckets_of_a_filled_column_have_no_gaps(missing: Any, options: dict[str, Any]) -> None:
    columns = {
        "filled": Numeric(key="gaps", missing=missing, indicate_missing=True),
        "bucket": Bucketized(key="filled", **options),
    }
    data = load(columns)
    present = COLUMNS["gaps"][data.splits["train"]]
    present = present[~np.isnan(present)]
    fill = {"median": np.median(present), "mean": present.mean()}.get(missing, missing)
    filled = np.where(GAPS, fill, COLUMNS["gaps"])
    boundaries = data.constants["bucket"].host["boundaries"][:, 0]
    ids = data.encoded["bucket"]["ids"]
    np.testing.assert_array_equal(ids, np.searchsorted(boundaries, filled, side="right"))
    if "quantiles" in options:
        np.testing.assert_allclose(boundaries, np.quantile(filled[data.splits["train"]], [1 / 3, 2 / 3]))


def test_a_cross_of_a_bucket_of_a_filled_column_has_no_gaps() -> None:
    columns = {
        "filled": Numeric(key="gaps", missing="median", **Z),
        "bucket": Bucketized(key="filled", boundaries=(-1.0, 0.0, 1.0)),
        "cross": Crossed(keys=("bucket", "city"), buckets=100),
    }
    assert (load(columns).encoded["cross"]["ids"] != NO_ID).all()


# ------------------------------------------------------------------------------------------ each column that is read


@pytest.mark.parametrize(
    ("options", "formula"),
    [
        ({}, lambda x: x),
        ({"scale": 3.0}, lambda x: 3 * x),
        ({"normalize": "log1p", "scale": 0.5}, lambda x: np.log1p(x / 2)),
        ({"normalize": ("log", "z_score", Clip(high=1.0))}, None),
        ({"normalize": "z_score", "per": "city"}, None),
    ],
)
def test_a_numeric_column_is_read_as_it_is_normalized(options: dict[str, Any], formula: Any) -> None:
    columns = {"a": Numeric(key="skewed", **options), "b": Numeric(key="a"), "c": Numeric(key="a", **Z)}
    data = load(columns, "a", "b", "c")
    x, train = COLUMNS["skewed"], data.splits["train"]
    if formula is not None:
        expected = formula(x)
    elif "per" in options:
        expected = np.empty(ROWS)
        for city in ("Oslo", "Rome"):
            own = COLUMNS["city"] == city
            rows = x[train][own[train]]
            expected[own] = (x[own] - rows.mean()) / rows.std()
    else:
        expected = np.minimum(z_score(np.log(x), data), 1)
    np.testing.assert_allclose(output(columns, "a", data)[:, 0], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(device(columns, "a", data)[:, 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(device(columns, "b", data)[:, 0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(device(columns, "c", data)[:, 0], z_score(expected, data), rtol=1e-5, atol=1e-5)


def test_numbers_far_from_0_are_read_in_float64() -> None:
    columns = {"a": Numeric(key="seconds"), "b": Numeric(expression="a - 1600000000"), "c": Numeric(key="a", **Z)}
    data = load(columns, "b", "c")
    np.testing.assert_allclose(device(columns, "b", data)[:, 0], COLUMNS["seconds"] - 1.6e9, rtol=1e-6)
    np.testing.assert_allclose(device(columns, "c", data)[:, 0], z_score(COLUMNS["seconds"], data), atol=1e-5)


def test_expressions_weights_and_vectors_read_the_output() -> None:
    columns = {
        "v": Numeric(key="vector", **Z),
        "s": Numeric(key="skewed", scale=2.0),
        "g": Numeric(key="gaps", missing=0.0),
        "sum": Numeric(expression="s + g"),
        "ids": Vocabulary(key="city"),
        "weighted": Weighted(key="ids", weight="s"),
        "bucket": Bucketized(key="v", boundaries=(0.0,), size=2),
    }
    data = load(columns, "sum", "weighted", "bucket")
    filled = np.where(GAPS, 0, COLUMNS["gaps"])
    np.testing.assert_allclose(data.encoded["sum"]["values"][:, 0], 2 * COLUMNS["skewed"] + filled, rtol=1e-6)
    np.testing.assert_allclose(data.encoded["weighted"]["weights"], 2 * COLUMNS["skewed"], rtol=1e-6)
    expected = (z_score(COLUMNS["vector"], data) >= 0) + [0, 2]
    np.testing.assert_array_equal(data.encoded["bucket"]["ids"], expected)


def test_times_components_images_and_counts_are_read_as_their_output() -> None:
    columns = {
        "hour": Time(key="time", parts=("hour", "weekday"), encoding="cyclic"),
        "axes": PrincipalComponents(key=("skewed", "seconds"), components=2, whiten=True),
        "words": Tokens(key="text"),
        "count": WordCount(key="words"),
        "image": Image(key="image", normalize="standardize", order="bgr"),
        "all": Numeric(key=("hour", "axes", "count")),
    }
    data = load(columns, "all", "hour", "axes", "image")
    expected = np.concatenate([device(columns, "hour", data), device(columns, "axes", data)], axis=1)
    np.testing.assert_allclose(data.encoded["all"]["values"][:, :-1], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(data.encoded["all"]["values"][:, -1], np.arange(ROWS) % 3 + 1)
    np.testing.assert_allclose(output(columns, "image", data), device(columns, "image", data), atol=1e-5)


def test_a_number_of_a_feature_column_that_float32_cannot_hold_raises_an_error() -> None:
    columns = {"a": Numeric(key="large", scale=1e35), "b": Numeric(key=("small", "a"))}
    with pytest.raises(
        DataError, match=r"row \d+ of the arrays: column `a` is .*, which is beyond the range of float32"
    ):
        load(columns)


def test_sequences_are_read_normalized() -> None:
    rows = Ragged(np.array([1.0, 3.0, np.nan, 5.0]), np.array([0, 2, 2, 4]))
    column = Numeric(key="x", sequence=True, missing="median", **Z)
    statistics = column.statistics()
    block = Block({"x": rows})
    constants = column.fit({name: each.result(each.summarize(block)) for name, each in statistics.items()}, {})
    found = column.host_output(block, {}, constants)
    assert isinstance(found, Ragged)
    np.testing.assert_allclose(found.values[:, 0], (np.array([1, 3, 3, 5]) - 3) / np.std([1, 3, 5]), atol=1e-12)
    assert found.offsets.tolist() == [0, 2, 2, 4]


def test_a_missing_id_is_a_missing_number() -> None:
    ids = {"kind": Vocabulary(key="kind", values=("a", "b"))}
    data = load({**ids, "number": Numeric(key="kind", missing=9.0)})
    expected = np.where(GAPS, 9, COLUMNS["kind"] == "b")
    np.testing.assert_array_equal(device({"number": Numeric(key="kind", missing=9.0)}, "number", data)[:, 0], expected)
    with pytest.raises(
        DataError, match=r"row .* column `kind` has no value. `kind` is the feature column of this name; fill it in"
    ):
        load({**ids, "number": Numeric(key="kind")})


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (Embedding(key="ids", dimension=2), "embedding of `ids`: another column can't read it, .*; read `ids`"),
        (Indicator(key="ids"), "indicator of `ids`: another column can't read it, .*; read `ids`"),
    ],
)
def test_a_column_whose_vectors_exist_only_in_the_model_cannot_be_read(reader: Any, message: str) -> None:
    columns = {"ids": Hashed(key="city", buckets=5), "vectors": reader}
    with pytest.raises(UserError, match=rf"^feature\.columns\.vectors: {message}"):
        load({**columns, "cross": Crossed(keys=("vectors", "kind"), buckets=7)})


def test_every_column_of_numbers_has_an_output_that_others_can_read() -> None:
    """A new column of numbers must not hand on what `encode` prepares for the device."""
    read_as_encoded = (Categorical, Tokens, Truncated, WordCount)
    parts = [part for part in vars(components.feature).values() if isinstance(part, type) and hasattr(part, "encode")]
    assert len(parts) > 15
    for part in parts:
        is_read = not hasattr(part, "bind") and part is not ExampleWeight
        if is_read and not issubclass(part, read_as_encoded):
            assert hasattr(part, "host_output"), part


# ---------------------------------------------------------------------------------------------- memory, folds, sample


def test_a_column_that_is_only_read_is_not_encoded_for_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    encode = Numeric.encode
    monkeypatch.setattr(Numeric, "encode", lambda self, *rest: (calls.append(self.key), encode(self, *rest))[1])
    columns = {"a": Numeric(key="small", **Z), "bucket": Bucketized(key="a", quantiles=3)}
    assert set(load(columns, "bucket").encoded) == {"bucket", "target"}
    assert set(calls) == {"y"}
    assert isinstance(columns["a"], HostOutput)
    assert set(load(columns, "bucket", "a").encoded) == {"bucket", "a", "target"}
    assert set(calls) == {"y", "small"}


@pytest.mark.parametrize(
    ("columns", "count"),
    [
        ({"a": Numeric(key="seconds", missing="mean", **Z)}, 1),
        ({"a": Numeric(key="gaps", missing="median", normalize="robust")}, 1),
        ({"a": PrincipalComponents(key=("seconds", "small"), components=1)}, 1),
        ({"a": Numeric(key="seconds", **Z), "b": Bucketized(key="a", boundaries=(0.0,))}, 3),
    ],
)
def test_folds_share_encoded_rows_unless_columns_read_fitted_columns(
    columns: dict[str, Any], count: int, tmp_path: Path
) -> None:
    features = Features({"target": Numeric(key="y")}, columns, {"x": (next(reversed(columns)),)})
    source = Arrays(columns=COLUMNS, valid=40, test=40, seed=0)
    folds = [load_encoded(source, features, identity="x", cache=tmp_path, fold=(3, fold)) for fold in range(3)]
    assert len({data.encoding_id for data in folds}) == count


def test_a_later_pass_uses_the_same_sample() -> None:
    columns = {"a": Numeric(key="large", **Z), "b": Numeric(key="a", **Z)}
    for sample in (50, None):
        data = load(columns, sample=sample)
        np.testing.assert_allclose(data.constants["b"].device["offset"], 0, atol=1e-9)
        np.testing.assert_allclose(data.constants["b"].device["divisor"], 1, rtol=1e-9)


def test_columns_may_be_read_as_the_numbers_in_the_data() -> None:
    columns = {"a": Numeric(key="gaps", missing="median", read_as="data", **Z), "b": Numeric(key="a", missing="mask")}
    found = load(columns, "a", "b").encoded["b"]["values"][:, 0]
    np.testing.assert_array_equal(found, COLUMNS["gaps"].astype(np.float32))


# ------------------------------------------------------------------------------------------------------- properties


@settings(max_examples=40, deadline=None)
@given(
    magnitude=st.integers(-200, 200),
    distance=st.sampled_from([0.0, 10.0, 1e6]),
    normalize=st.sampled_from([None, "z_score", "min_max", "robust"]),
    missing=st.sampled_from(["median", "mean"]),
    scale=st.sampled_from([1.0, 0.125]),
    seed=st.integers(0, 99),
)
def test_what_is_read_equals_numpy_in_float64(
    magnitude: int, distance: float, normalize: Any, missing: Any, scale: float, seed: int
) -> None:
    digits = np.random.default_rng(seed).normal(size=60) + distance
    is_missing = np.arange(60) % 5 == 0
    values = np.where(is_missing, np.nan, digits * 10.0**magnitude)
    column = Numeric(key="x", normalize=normalize, missing=missing, scale=scale)
    block = Block({"x": values})
    results = {name: each.result(each.summarize(block)) for name, each in column.statistics().items()}
    constants = column.fit(results, {}) if normalize or abs(magnitude) < 30 else None
    if constants is None:
        return
    present = digits[~is_missing]
    filled = np.where(is_missing, np.median(present) if missing == "median" else present.mean(), digits)
    low, middle, high = np.quantile(present, [0.25, 0.5, 0.75])
    center, width = {
        None: (0.0, 10.0**-magnitude / scale),
        "z_score": (present.mean(), present.std()),
        "min_max": (present.min(), np.ptp(present)),
        "robust": (middle, high - low),
    }[normalize]
    expected = (filled - center) / width
    found = column.host_output(block, {}, constants)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-8, atol=1e-8 if normalize else 0)
    assert column.host_output(Block({"x": values[:0]}), {}, Constants(*constants)).shape == (0, 1)
