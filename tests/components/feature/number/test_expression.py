"""Numbers of expressions: their values in float64, and the errors about what is missing, too large, or no number."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.number.expression import NumericExpression
from components.feature.numeric import Numeric
from components.types import Block, Constants, DataError, Strings, UserError

ROWS = Block(
    {
        "a": np.array([1, 2, 3]),
        "b": np.array([4.0, 5.0, 0.5]),
        "odd name": np.array([[1.0], [2.0], [4.0]]),
        "v": np.ones((3, 2)),
    },
    origin="somewhere",
    first_row=7,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a / b", [0.25, 0.4, 6]),
        ("(a + 2) * b", [12, 20, 2.5]),
        ("-a ** 2 - +1", [-2, -5, -10]),
        ("2 ** -a", [0.5, 0.25, 0.125]),
        ("max(a, b, 4) + min(a, b)", [5, 7, 4.5]),
        ("log(exp(a)) + log1p(0 * b) + sqrt(a * a) + abs(-a)", [3, 6, 9]),
        ("`odd name` + a * `b`", [5, 12, 5.5]),
        ("1 / a\n + 0.5", [1.5, 1, 1 / 3 + 0.5]),
    ],
)
def test_it_is_arithmetic(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(NumericExpression(text)(ROWS)[:, 0], expected, rtol=1e-15)


LEAVES = st.sampled_from(["a", "b", "2", "0.5", "(-3)"])
TREES = st.recursive(LEAVES, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner))


@settings(max_examples=25)
@given(TREES.filter(lambda text: "a" in text or "b" in text))
def test_an_expression_equals_python_in_each_row(text: str) -> None:
    expected = [
        eval(text, {"a": float(a), "b": float(b)}) for a, b in zip(ROWS.columns["a"], ROWS.columns["b"], strict=True)
    ]
    np.testing.assert_array_equal(NumericExpression(text)(ROWS)[:, 0], expected)


def test_the_columns_that_it_names_are_its_keys() -> None:
    column = Numeric(expression="`odd name` / (a + `odd name`) + log(b)")
    assert column.keys == ("odd name", "a", "b")
    assert not column.statistics()


def test_a_column_of_it_needs_no_fit_of_the_data_and_may_read_other_columns() -> None:
    column = Numeric(expression="ratio * 2")
    constants = column.fit({}, {})
    parent = {"ratio": {"values": np.array([[0.5], [1.5]], np.float32)}}
    encoded = column.encode(Block({"ratio": np.array([9, 9])}, {"ratio": np.array([True, False])}), parent, constants)
    assert np.asarray(column.layer(constants.static)(encoded, constants.device)).tolist() == [[1], [3]]
    assert column.bind(constants).outputs == 1


def test_a_missing_operand_makes_the_value_missing() -> None:
    rows = Block({"a": np.array([1.0, 2.0, np.nan]), "b": np.ones(3)}, {"b": np.array([True, False, True])})
    np.testing.assert_array_equal(
        NumericExpression("b ** 0 + min(a, 5)")(rows, allow_missing=True)[:, 0], [2, np.nan, np.nan]
    )
    with pytest.raises(DataError, match="row 1 of data: column `b` has no value"):
        NumericExpression("b + a")(Block({"a": np.ones(3), "b": np.ones(3)}, rows.valid))


MIXED = Block(
    {
        "s": Strings.from_bytes([b"Rome", b"", b"2024-02-03"]),
        "o": np.array(["x", None, "yy"], object),
        "f": np.array([True, True, False]),
        "i": np.array([2**53 + 1, 2, 3]),
        "u": np.array([2**64 - 1, 0, 1], np.uint64),
        "x": np.array([1.0, np.nan, 3.0], np.float32),
        "t": np.array(["2024-02-03", "NaT", "2025-12-31"], "M8[D]"),
    },
    {"s": np.array([True, False, True]), "f": np.array([True, False, True])},
    first_row=4,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("coalesce(x, -1)", [1, -1, 3]),
        ("is_null(x) or is_null(s)", [0, 1, 0]),
        ("f or x > 2", [1, None, 1]),
        ("length(s) + length(o)", [5, None, 12]),
        ("coalesce(year(s if length(s) > 5 else null), 0) + month(t)", [2, None, 2036]),
        ("i == 9007199254740993", [1, 0, 0]),
        ("i * 1 - 9007199254740992", [0, 2 - 2.0**53, 3 - 2.0**53]),
        ("u / 2", [2.0**63, 0, 0.5]),
        ("7 // i + 10 ** 30 * 0", [0, 3, 2]),
    ],
)
def test_columns_of_all_types_become_numbers(text: str, expected: list[Any]) -> None:
    values = NumericExpression(text)(MIXED, allow_missing=True)
    np.testing.assert_array_equal(values[:, 0], np.array(expected, np.float64))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x + 1", r"row 5 of data: column `x` is nan; a finite number"),
        ("length(s)", "row 5 of data: column `s` has no value; fill it in, remove the row, or set `missing`"),
        ("f and x > 2", "row 5 of data: column `f` has no value"),
        ("length(o)", "row 5 of data: column `o` has no value"),
        ("i if i > 2 else null", "row 5 of data: `i if i > 2 else null` has no value, where i is 2; set `missing`"),
        ("year(s)", "row 4 of data: in `year.*`, `s` reads 'Rome'"),
        ("0 < 1 / u", r"row 5 of data: in `0 < 1 / u`, `1 / u` is inf, where u is 0"),
        ("s + i > 'a'", "data: the expression .* applies `[+]` to texts"),
        ("missing_one", "no column `missing_one` in data"),
        ("s", "the expression 's' gives texts; numbers or booleans are needed"),
        ("t", "the expression 't' gives times; numbers or booleans are needed"),
    ],
)
def test_a_missing_value_or_another_type_is_an_error(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        NumericExpression(text)(MIXED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a / (b - 5)", r"row 8 of somewhere: `a / \(b - 5\)` is inf, where a is 2 and b is 5\.0; a finite number"),
        ("log(1 - a)", r"row 7 of somewhere: `log\(1 - a\)` is -inf, where a is 1;"),
        ("(b - 1) ** 0.5 * 1", r"row 9 of somewhere: .* is nan, where b is 0\.5"),
        ("exp(a * 300)", "row 9 of somewhere"),
        ("a + v", r"column `v` of somewhere has rows of shape \(2,\); expressions need single numbers"),
        ("a + odd_name", "no column `odd_name` in somewhere. Did you mean odd name?"),
    ],
)
def test_a_value_that_is_not_finite_raises_an_error_with_its_operands(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Numeric(expression=text, missing=0.0).encode(ROWS, {}, Constants())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a +", "is no valid expression: "),
        ("`a", "is no valid expression: "),
        ("a b", "is no valid expression: "),
        ("1 + 2", "has no column"),
        ("a + '1'", "gives texts"),
        ("lower(a)", "gives texts; numbers or booleans are needed"),
        ("date(a)", "gives times; numbers or booleans are needed"),
        ("a # b", "contains #"),
        ("a\0", "is no valid expression: "),
        ("+".join(["a"] * 200), "is too long"),
        ("log10(a)", "unknown function 'log10'. Did you mean log1p?"),
        ("log(a, 2)", "calls log with 2 values instead of one"),
        ("max(a)", "calls max with 1 values instead of two or more"),
        ("+".join(["a"] * 5000), "is too long"),
    ],
)
def test_other_syntax_raises_an_error(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Numeric(expression=text)
    assert len(str(error.value)) < 400


def test_equal_expressions_are_one() -> None:
    columns: Any = {Numeric(expression="a / b"), Numeric(expression="a / b"), Numeric(expression="a/b")}
    assert len(columns) == 2
