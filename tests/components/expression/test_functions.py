"""Functions of texts, times and missing values, the types of expressions, and integers beyond float64."""

import math
import subprocess
import sys
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from components.expression.expression import Expression
from components.expression.operands import Kind
from components.types import Block, DataError, Strings

TEXTS = ["2021-03-04", "", None, "1999-12-31T23:59:58Z", "2024-02-29 06:07"]
TIMES = ["2021-03-04T05:06:07", "1969-12-31T23:59:59.5", "NaT", "2024-12-31", "0001-01-01"]
BLOCK = Block(
    {
        "when": Strings.from_bytes([(text or "").encode() for text in TEXTS]),
        "time": np.array(TIMES, "datetime64[us]"),
        "day": np.array(TIMES, "datetime64[D]"),
        "amount": Strings.from_bytes([b" 1e3", b"-.5", b"nan", b"12,5", b"+7."]),
        "big": np.array([2**63 - 1, -(2**63), 2**53 + 1, 0, 3]),
        "price": np.array([1.5, math.inf, math.nan, -2.5, 0.0]),
        "is new": np.array([True, False, True, False, True]),
        "word": np.array(["Ab", None, "ÀÉ", "x|y|z", "ab"], object),
    },
    {"when": np.array([text is not None for text in TEXTS])},
)


def evaluate(text: str, block: Block = BLOCK) -> list[Any]:
    _, result = Expression(text).evaluate(block)
    values = result.values.tolist()
    valid = [True] * len(values) if result.valid_mask is None else result.valid_mask.tolist()
    return [value if is_valid else None for value, is_valid in zip(values, valid, strict=True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("year(time)", [2021, 1969, None, 2024, 1]),
        ("month(day) * 100 + day(time)", [304, 1231, None, 1231, 101]),
        ("hour(time) * 10000 + minute(time) * 100 + second(time)", [50607, 235959, None, 0, 0]),
        ("weekday(when)", [3, None, None, 4, 3]),
        ("day_of_year(when)", [63, None, None, 365, 60]),
        ("second(to_time(when))", [0, None, None, 58, 0]),
        ("time >= date('1970-01-01')", [True, False, None, True, False]),
        ("date(time) == day", [True, True, None, True, True]),
        ("day in [date('2021-03-04'), to_time('0001-01-01')]", [True, False, None, False, True]),
        ("days_between(day, '2021-03-05T12:00')", [1.5, 18692.5, None, -1396.5, 737853.5]),
        ("seconds_between(day, time)", [18367.0, 86399.5, None, 0, 0]),
        ("coalesce(when, 'none') == 'none'", [False, False, True, False, False]),
        ("is_null(to_time(when))", [False, True, True, False, False]),
        ("time < date('2021-06-01') < to_time(when)", [False, None, None, False, True]),
        ("day < to_time('2021-03-04T12:00')", [True, True, None, False, True]),
        ("to_time('2021-03-04T12:00') <= day", [False, False, None, True, False]),
        ("cos(2 * pi() * (month(time) - 3) / 12)", [1, pytest.approx(0), None, pytest.approx(0), pytest.approx(0.5)]),
    ],
)
def test_functions_of_times(text: str, expected: list[Any]) -> None:
    assert evaluate(text) == expected


PARTS = ("year", "month", "day", "hour", "minute", "second")


@pytest.mark.parametrize(("unit", "step"), [("h", 3600e6), ("s", 1e6), ("ms", 1e3), ("us", 1), ("ns", 1)])
def test_times_of_any_unit(unit: str, step: float) -> None:
    microseconds = np.random.default_rng(0).integers(-(10**9), 8 * 10**9, 200) * 1_000_001 // int(step) * int(step)
    expected = [datetime(1970, 1, 1) + timedelta(microseconds=int(each)) for each in microseconds]
    block = Block({"time": microseconds.view("M8[us]").astype(f"M8[{unit}]")})
    for part in PARTS:
        assert evaluate(f"{part}(time)", block) == [getattr(time, part) for time in expected]
    assert evaluate("weekday(time)", block) == [time.weekday() for time in expected]
    assert evaluate("day_of_year(time)", block) == [time.timetuple().tm_yday for time in expected]
    start = datetime(2000, 1, 1, 0, 0, 0, 500_000)
    seconds = [(time - start).total_seconds() for time in expected]
    assert evaluate(f"seconds_between('{start}', time)", block) == pytest.approx(seconds, rel=1e-15)
    assert evaluate("days_between(time, time)", block) == [0] * 200


def test_texts_of_numbers_that_are_not_finite_are_no_numbers() -> None:
    block = Block({"text": Strings.from_bytes([b"nan", b" inf", b"1e400", b"-Infinity", b"+.5", b"-1e2 "])})
    assert evaluate("try_number(text)", block) == [None, None, None, None, 0.5, -100]
    with pytest.raises(DataError, match="reads 'nan', which is no finite number"):
        evaluate("to_number(text)", block)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("try_number(amount)", [1000, -0.5, None, None, 7]),
        ("to_number(replace(amount, ',', '.')) if amount != 'nan' else 0", [1000, -0.5, 0, 12.5, 7]),
        (r"matches(word, r'^\w{2}$')", [True, None, False, False, True]),
        (r"matches(word, '^[ÀÉ]+$') or starts_with(word, 'x|')", [False, None, True, True, False]),
        ("coalesce('a', word)", ["a"] * 5),
        ("lower(word)", ["ab", None, "àé", "x|y|z", "ab"]),
        ("split_part(word, '|', -1)", ["Ab", None, "ÀÉ", "z", "ab"]),
        ("split_part(word, '|', 1)", [None, None, None, "y", None]),
        ("substring(word, -1)", ["b", None, "É", "z", "b"]),
        ("length(word)", [2, None, 2, 5, 2]),
        ("word > 'a' and word < 'b'", [False, None, False, False, True]),
        ("'a' if `is new` else 'b'", ["a", "b", "a", "b", "a"]),
        ("word not in []", [True, None, True, True, True]),
        ("concat('a', 'b') in ['ab'] and `is new`", [True, False, True, False, True]),
        ("'\\t' + word + \"'\"", ["\tAb'", None, "\tÀÉ'", "\tx|y|z'", "\tab'"]),
    ],
)
def test_functions_of_texts(text: str, expected: list[Any]) -> None:
    assert evaluate(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("big == 9007199254740993", [False, False, True, False, False]),
        ("big - 1 if big > 0 else big + 1", [2**63 - 2, -(2**63) + 1, 2**53, 1, 2]),
        ("big // 2 * 2 + big % 2", [2**63 - 1, -(2**63), 2**53 + 1, 0, 3]),
        ("-big if big > -2**63 else null", [-(2**63) + 1, None, -(2**53) - 1, 0, -3]),
        ("price", [1.5, math.inf, None, -2.5, 0]),
        ("is_finite(price)", [True, False, None, True, True]),
        ("is_finite(1 / price)", [True, True, None, True, False]),
        ("price > 1e300 or `is new`", [True, True, True, False, True]),
        ("round(price) if is_finite(price) else 0", [2, 0, None, -2, 0]),
        ("true + `is new` * 2", [3, 1, 3, 1, 3]),
        ("coalesce(null, price, 1)", [1.5, math.inf, 1, -2.5, 0]),
        ("price in []", [False, False, None, False, False]),
    ],
)
def test_integers_are_exact_and_a_number_that_is_infinite_in_the_data_stays_so(text: str, expected: list[Any]) -> None:
    assert evaluate(text) == expected


TYPES: dict[str, Kind] = {"i": "integer", "x": "number", "b": "boolean", "s": "text", "t": "time"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("i * 2 // i", "integer"),
        ("i / 2", "number"),
        ("i ** 2", "number"),
        ("i + x", "number"),
        ("max(i, b)", "integer"),
        ("b if i > 1 else null", "boolean"),
        ("1 if b else 0.5", "number"),
        ("s + lower(s)", "text"),
        ("s in ['a']", "boolean"),
        ("date(s)", "time"),
        ("month(t)", "integer"),
        ("null if b else null", "missing"),
        ("unknown_column", "unknown"),
        ("unknown_column + 's'", "text"),
        ("unknown_column * 2", "number"),
    ],
)
def test_the_type_is_known_from_those_of_columns(text: str, kind: Kind) -> None:
    assert Expression(text).find_type(TYPES) == kind


def test_values_of_other_types_of_arrays() -> None:
    columns = {
        "dates": np.array([date(2020, 1, 1), None], object),
        "moments": np.array([datetime(2020, 1, 1, 12), None], object),
        "texts": np.array(["a", "b"]),
        "narrow": np.array([[127], [-128]], np.int8),
        "large": np.array([1, 2], np.uint64),
        "empty": Strings(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(2, np.int32)),
    }
    block = Block(columns, {"empty": np.zeros(2, bool)})
    texts = [
        "month(dates) + hour(moments)",
        "texts + '!'",
        "narrow + narrow + large",
    ]
    results = [Expression(text).evaluate(block)[1] for text in texts]
    assert [result.values.tolist() for result in results] == [[13, 0], ["a!", "b!"], [255, -254]]
    assert np.array_equal(results[0].valid_mask, [True, False])
    _, filled = Expression("coalesce(upper(empty), texts)").evaluate(block)
    assert filled.values.tolist() == ["a", "b"]
    _, missing = Expression("year(empty)").evaluate(block)
    assert np.array_equal(missing.valid_mask, [False, False])


def test_a_block_without_rows() -> None:
    block = Block({"s": Strings.from_bytes([]), "i": np.zeros(0, np.int64), "x": np.zeros(0)})
    for text in ("lower(s) + 'a'", "split_part(s, ',', 0)", "i * i // 2", "x / i > 0", "month(s)", "s in ['a']"):
        _, result = Expression(text).evaluate(block)
        assert not len(result.values.tolist())


def test_pandas_and_jax_are_not_imported() -> None:
    code = """
import sys
import numpy as np
from components.expression.expression import Expression
from components.types import Block, DataError, Strings
block = Block({"s": Strings.from_bytes([b"2020-01-01", b"b"]), "x": np.arange(2)})
Expression("upper(s) + 'a' if x > 0 and s in ['b'] and matches(s, 'b') else split_part(s, 'b', 0)").evaluate(block)
Expression("coalesce(try_number(s), month(s if x == 0 else null), x)").evaluate(block)
print(sorted({"pandas", "jax"} & sys.modules.keys()))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
