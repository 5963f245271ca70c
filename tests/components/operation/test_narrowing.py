"""Operations that compute only what some columns need, as for rows to predict, which have no target."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.operation import Derive, Function, Rename
from components.types import find_columns_read, narrow_operations
from tests.helpers.operations import operate

NAMES = ("a", "b", "c", "d")
expressions = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 3)).map(
    lambda chosen: "{} + {} * {}".format(*chosen)
)
derives = st.dictionaries(st.sampled_from(NAMES), expressions, min_size=1, max_size=3).map(
    lambda columns: Derive(columns=columns)
)
swaps = st.permutations(NAMES).map(lambda names: Rename(columns=dict(zip(NAMES, names, strict=True))))


@settings(max_examples=100)
@given(st.lists(derives | swaps, min_size=1, max_size=4), st.sets(st.sampled_from(NAMES), min_size=1))
def test_the_columns_that_are_needed_are_the_same(operations: list[Any], names: set[str]) -> None:
    table = [{name: float(number + 1) for number, name in enumerate(NAMES)}]
    (expected,) = operate(operations, {"all": table}, 1)["all"]
    narrowed = [*narrow_operations(operations, names).values()]
    read = find_columns_read(narrowed, names)
    assert read is not None
    given_row = {name: value for name, value in table[0].items() if name in read}  # the others aren't there
    found = operate(narrowed, {"all": [given_row]}, 1)["all"][0] if narrowed else given_row
    assert {name: found[name] for name in names} == {name: expected[name] for name in names}


def test_only_what_is_needed_is_kept() -> None:
    both = Derive(columns={"x": "a + 1", "log_price": "log(price)", "y": "x * 2"})
    renamed = Rename(columns={"price": "cost", "b": "c"})
    assert narrow_operations([both, renamed], ["y", "c"]) == {
        0: Derive(columns={"x": "a + 1", "y": "x * 2"}),
        1: Rename(columns={"b": "c"}),
    }
    assert narrow_operations([both, renamed], ["a"]) == {}
    replaced = [Derive(columns={"a": "price * 2"}), Derive(columns={"a": "b + 1"})]
    assert [*narrow_operations(replaced, ["a"])] == [1]


def test_a_function_that_may_read_and_compute_anything_is_kept_with_all_before_it() -> None:
    operations = [Derive(columns={"x": "a + 1"}), Function(function=np.copy), Derive(columns={"z": "a + 1"})]
    assert [*narrow_operations(operations, ["a"])] == [0, 1]
    some = [operations[0], Function(function=np.copy, columns=("a",))]
    assert [*narrow_operations(some, ["a"])] == [1]
