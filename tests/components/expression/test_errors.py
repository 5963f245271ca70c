"""Errors of expressions: before data is read, of types, of rows; and that no text reaches Python."""

import ast
import re
from typing import Any

import numpy as np
import pytest

from components.expression.expression import Expression
from components.expression.parser import MAX_DEPTH, MAX_NODES, MAX_SHOWN
from components.types import Block, DataError, Ragged, Strings, UserError

BLOCK = Block(
    {
        "price": np.array([1.0, 0.0, 1e200]),
        "count": np.array([3, 0, 2**62]),
        "is_new": np.array([True, False, True]),
        "city": Strings.from_bytes([b"Rome", b"12", b"2020-01-01"]),
        "sold": np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]"),
        "delay": np.zeros(3, "m8[s]"),
        "image": np.array([b"a", b"b", b"c"], object),
        "file": Strings.from_bytes([b"a", b"b", b"c"]),
        "list": Ragged(np.zeros(3), np.arange(4)),
        "pair": np.zeros((3, 2)),
        "state": Strings.from_bytes([b"2", b"unknown"])._replace(indices=np.array([0, 1, 0])),
        "mixed": np.array(["a", 1, 2.0], object),
        "huge": np.array([0, 2**63, 1], np.uint64),
    },
    origin="homes.csv",
    first_row=10,
    files=frozenset({"file"}),
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price >", "is no valid expression: "),
        ("price = 3", "is no valid expression: "),
        ("", "is no valid expression: "),
        ("'a", "is no valid expression: "),
        ("1 < 2", "has no column"),
        ("pi()", "has no column"),
        ("__import__('os').system('id')", r"contains `__import__\('os'\).system\('id'\)`; allowed: columns, "),
        ("open('id')", "calls the unknown function 'open'. Allowed: "),
        ("price # 3", "contains #"),
        ("price is None", r"contains `price is None`; write is_null\(x\)"),
        ("price == null", r"compares with null in `price == null`, which is always missing; write is_null\(x\)"),
        ("price in [1, null]", r"compares with null in `price in \[1, null\]`"),
        ("price in other", r"needs a list of constants after `in`, such as \[1, 2\], got `other`"),
        ("price in [1, other]", "needs constants in the list after `in`, got `other`"),
        ("count in [1 // 0]", "needs constants in the list after `in`, but `1 // 0` divides by 0"),
        ("price in [1 / 0]", "needs constants in the list after `in`, but `1 / 0` is inf"),
        ("sold in [date('')]", r"needs constants in the list after `in`, but `date\(''\)` is missing"),
        (r"contains(city, '\ud800')", r"calls contains with `'\\ud800'` instead of a text in quotes"),
        ("price in ['a', 1]", r"applies `in` to values \(`price`\) and texts \(`'a'`\) and whole numbers \(`1`\)"),
        ("lowr(city)", "calls the unknown function 'lowr'. Did you mean lower?"),
        ("log10(price)", "calls the unknown function 'log10'. Did you mean log1p?"),
        ("log(price, 2)", "calls log with 2 values instead of one"),
        ("max(price)", "calls max with 1 values instead of two or more"),
        ("substring(city)", "calls substring with 1 values instead of two or three"),
        ("pi(price)", "calls pi with 1 values instead of no"),
        ("contains(city, price)", "calls contains with `price` instead of a text in quotes"),
        ("substring(city, 0.5)", "calls substring with `0.5` instead of a whole number"),
        ("substring(city, 9999999999)", "calls substring with a number beyond 32 bits"),
        ("split_part(city, '', 0)", "calls split_part with an empty text, which is everywhere"),
        ("matches(city, '(')", r"has the regular expression '\(', which isn't valid: missing \)"),
        (r"matches(city, '\d')", r"contains a text with \\d. Write r'\\d' to keep backslashes"),
        (r"price > 1 or'\d' == city", r"contains a text with \\d. Write "),
        (r"matches(city, '\bab')", r"contains a text with \\b. Write r'\\bab'"),
        (r"city == '\ud800'", r"contains `'\\ud800'`; allowed: "),
        ("sold > date('2020-02-30')", "reads '2020-02-30', which is no time of ISO 8601, such as 2026-10-25"),
        ("price + 1e999", "contains `1e999`; allowed: "),
        ("price + 2j", "contains `2j`; allowed: "),
        ("city == b'a'", "contains `b'a'`; allowed: "),
        (
            "lower(1 + 2) == city",
            r"applies `lower` to whole numbers \(`1 \+ 2`\), in `lower\(1 \+ 2\)`. It needs texts",
        ),
        (
            "not (1 < 2) and 3 or price > 1",
            r"applies `and` to whole numbers \(`3`\), in .*. It needs booleans. Compare",
        ),
        ("1 if 'a' else price", r"applies `if` to texts \(`'a'`\). It needs booleans"),
        ("-'a' + price", r"applies `-` to texts \(`'a'`\), in `-'a'`. It needs whole numbers or numbers or booleans"),
        (
            "'a' - price",
            r"applies `-` to texts \(`'a'`\) and values \(`price`\). to_number\(x\) is the number in a text",
        ),
        ("+".join(["price"] * 200), "is too long"),
        ("-" * 5000 + "price", "is too long"),
        ("(" * 5000 + "price" + ")" * 5000, "is no valid expression|is too long"),
        (f"price in [{', '.join(['1'] * 6000)}]", "is too long"),
        ("price == '" + "a" * 100_001 + "'", "is too long"),
    ],
)
def test_an_error_is_found_before_data_is_read(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Expression(text)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('ls') + price",
        "price.__class__",
        "price.real",
        "city.upper()",
        "price[0]",
        "price[0:1]",
        "(lambda: price)()",
        "[price for price in [1]]",
        "{price}",
        "{'a': price}",
        "[price]",
        "(price, 1)",
        "(price := 1)",
        "f'{price}'",
        "f'{price.__class__}' == city",
        "lower(*[city])",
        "lower(text=city)",
        "lower(city)(price)",
        "eval('price')",
        "exec('price')",
        "open('x') == price",
        "getattr(price, 'real')",
        "globals()['price']",
        "`lower`(city)",
        "price @ 2",
        "price & 1",
        "price | 1",
        "price << 1",
        "~price",
        "...",
        "await price",
        "yield price",
        "price; import os",
        "import os",
        "price if True",
        "price\0",
    ],
)
def test_nothing_else_of_python_is_allowed(text: str) -> None:
    with pytest.raises(UserError):
        Expression(text)


@pytest.mark.parametrize("name", ["__class__", "__builtins__", "eval", "lower", "None_", "self"])
def test_any_name_is_only_that_of_a_column(name: str) -> None:
    assert Expression(f"{name} + 1").columns == (name,)
    with pytest.raises(DataError, match=f"there is no column `{name}` in homes.csv"):
        Expression(f"{name} + 1").evaluate(BLOCK)


@pytest.mark.parametrize("name", ["true", "and", "a b", "2", "x.y", "_0", "'", "# 1", "é", "a\\b"])
def test_names_in_backticks_are_columns(name: str) -> None:
    expression = Expression(f"2*`{name}`+`{name}`/`x` if`x`>0 else`{name}`")
    assert expression.columns == (name, "x") or expression.columns == ("x", name)
    _, result = expression.evaluate(Block({name: np.array([1.0, 3.0]), "x": np.array([2, -1])}))
    assert result.values.tolist() == [2.5, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prise + 1", r"there is no column `prise` in homes.csv. Did you mean price\?"),
        (
            "city < 3",
            r"homes.csv: the expression 'city < 3' compares texts \(`city`\) with whole numbers \(`3`\). to_num",
        ),
        ("sold > '2020-01-01'", r"compares times \(`sold`\) with texts \(.*\). to_time\('2020-01-01'\) is the time"),
        ("sold == price", r"compares times \(`sold`\) with numbers \(`price`\). They must be of one type"),
        (
            "sold - sold",
            r"applies `-` to times \(`sold`\) and times \(`sold`\). days_between\(start, stop\) and seconds",
        ),
        ("city + price", r"applies `\+` to texts \(`city`\) and numbers \(`price`\). Texts are joined with texts"),
        ("city * 2", r"applies `\*` to texts \(`city`\) and whole numbers \(`2`\). to_number\(x\) is the number"),
        (
            "is_new and count",
            r"applies `and` to whole numbers \(`count`\). It needs booleans. Compare it, as in `x != 0`",
        ),
        (
            "price > 0 and lower(price) == 'a'",
            r"applies `lower` to numbers \(`price`\), in `lower\(price\)`. It needs te",
        ),
        ("city if is_new else 0", r"applies `if` to texts \(`city`\) and whole numbers \(`0`\)"),
        ("coalesce(sold, city)", r"applies `coalesce` to times \(`sold`\) and texts \(`city`\)"),
        ("month(price)", r"applies `month` to numbers \(`price`\). It needs texts or times"),
        ("delay > 0", "column `delay` of homes.csv has durations, which expressions can't use"),
        ("is_null(image)", "column `image` of homes.csv has bytes, which expressions can't use"),
        ("file == 'a'", "column `file` of homes.csv has files, which expressions can't use"),
        ("list > 0", "column `list` of homes.csv has rows of different lengths; expressions need one value"),
        ("pair > 0", r"column `pair` of homes.csv has rows of shape \(2,\); expressions need single values"),
        ("mixed == 'a'", "column `mixed` doesn't have values of one type"),
        (
            "huge > 0",
            "row 11 of homes.csv: column `huge` is 9223372036854775808, and whole numbers are at most 92233720",
        ),
    ],
)
def test_errors_of_columns_and_types(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Expression(text).evaluate(BLOCK)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1 / price",
            r"row 11 of homes.csv: `1 / price` is inf, where price is 0.0; correct it, remove the row, or test",
        ),
        ("price * price", r"row 12 of homes.csv: `price \* price` is inf, where price is 1e\+200"),
        ("0 < 1 / price < 2", r"row 11 of homes.csv: in `0 < 1 / price < 2`, `1 / price` is inf, where price is 0.0"),
        ("is_null(log(price - 1))", r"row 10 of homes.csv: in .*, `log\(price - 1\)` is -inf"),
        ("coalesce(1 / price, 0)", r"row 11 of homes.csv: in .*, `1 / price` is inf"),
        ("sqrt(-price)", r"row 10 of homes.csv: `sqrt\(-price\)` is nan, where price is 1.0"),
        ("1 / price if is_new else 1 / price", "row 11 of homes.csv: "),
        ("7 // count", "row 11 of homes.csv: `7 // count` divides by 0, where count is 0; correct it"),
        ("price > 0 and 7 % count > 1 or 7 % count > 1", r"row 11 of homes.csv: in .*, `7 % count` divides by 0"),
        (
            "count + count",
            r"row 12 of homes.csv: `count \+ count` exceeds 64 bits, where count is 4611686018427387904; .*",
        ),
        ("count * 4", r"row 12 of homes.csv: `count \* 4` exceeds 64 bits"),
        ("-count - count - 1", r"row 12 .* exceeds 64 bits"),
        ("abs(-count * 2) + 0", r"row 12 of homes.csv: in .*, `abs\(-count \* 2\)` exceeds 64 bits"),
        ("-(-count * 2)", r"row 12 of homes.csv: `-\(-count \* 2\)` exceeds 64 bits"),
        ("-count * 2 // -1", r"row 12 of homes.csv: `-count \* 2 // -1` exceeds 64 bits"),
        (
            "to_number(city)",
            "row 10 of homes.csv: `to_number.*` reads 'Rome', which is no finite number, where city is 'R",
        ),
        ("-1 * (count * 0 - 9223372036854775807 - 1)", r"row 10 of homes.csv: .* exceeds 64 bits"),
        ("to_number(state)", "row 11 of homes.csv: .* reads 'unknown', which .*, where state is 'unknown'"),
        ("year(city)", r"row 10 of homes.csv: in `year\(city\)`, `city` reads 'Rome', which is no time of ISO 8601"),
    ],
)
def test_a_row_without_a_value_is_an_error_with_its_operands(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Expression(text).evaluate(BLOCK)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 / price if price != 0 else -1", [1, -1, 1e-200]),
        ("price != 0 and 1 / price > 0.5", [True, False, False]),
        ("count == 0 or 6 // count > 1", [True, True, False]),
        ("to_number(city) if city == '12' else year(city) if starts_with(city, '20') else 0", [0, 12, 2020]),
        ("count + count if count < 5 else count - 1 + 1", [6, 0, 2**62]),
        ("coalesce(price, 1 // count)", [1, 0, 1e200]),
        ("false and 1 // count > 0", [False] * 3),
    ],
)
def test_what_a_row_does_not_need_is_no_error(text: str, expected: list[Any]) -> None:
    assert Expression(text).evaluate(BLOCK)[1].values.tolist() == expected


def test_the_deepest_and_longest_expressions_that_are_allowed() -> None:
    depth = MAX_DEPTH - 3
    _, result = Expression("+".join(["count"] * depth)).evaluate(Block({"count": np.array([1])}))
    assert result.values.tolist() == [depth]
    _, result = Expression("+".join(["city"] * depth)).evaluate(BLOCK)
    assert result.values.tolist()[1] == "12" * depth
    _, result = Expression("not " * depth + "is_new").evaluate(BLOCK)
    assert result.values.tolist() == [False, True, False] if depth % 2 else [True, False, True]
    _, result = Expression(f"count in [{', '.join(map(str, range(2000)))}]").evaluate(BLOCK)
    assert result.values.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "max({}, 0)",
        "floor({})",
        "abs({})",
        "coalesce({}, 0)",
        "-({})",
        "{} if is_new else 0.0",
        "sqrt({})",
        "max(0, 1, {})",
    ],
)
def test_no_function_hides_a_result_that_is_infinite(text: str) -> None:
    with pytest.raises(
        DataError, match=r"row 12 of homes\.csv: .*price \* price.*` is -?inf, where .*price is 1e\+200"
    ):
        Expression(text.format("price * price")).evaluate(BLOCK)
    _, result = Expression("min(price * price, 2)").evaluate(BLOCK)
    assert result.values.tolist() == [1, 0, 2]


def test_the_largest_tree_that_is_allowed() -> None:
    def make(elements: int) -> Expression:
        return Expression(f"count in [{', '.join(map(str, range(elements)))}]")

    others = sum(1 for _ in ast.walk(ast.parse("count in []", mode="eval").body))
    make(MAX_NODES - others)
    with pytest.raises(UserError, match="is too long; split it"):
        make(MAX_NODES - others + 1)


def test_long_expressions_and_values_are_cut_in_messages() -> None:
    for length in (MAX_SHOWN, MAX_SHOWN + 1):
        text = f"1 + {'1' * (length - 4)}"
        shown = text if length == MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
        with pytest.raises(UserError, match=rf"the expression '{re.escape(shown)}' has no column"):
            Expression(text)
    for length in (98, 99):  # and two quotes
        word = "a" * length
        block = Block({"word": Strings.from_bytes([word.encode()])})
        with pytest.raises(DataError, match=f"word is '{word}" + ("'; " if length == 98 else r"\.\.\.")):
            Expression("to_number(word)").evaluate(block)
