"""Words of a call from Python are overrides of the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.types import UserError
from runner.config.compose import compose
from runner.config.overrides import parse_override
from runner.config.python_words import as_overrides

NAMES = st.from_regex(r"\A[a-z_][a-z0-9_]{0,5}\Z")
LEAVES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=5
)


@settings(max_examples=200, deadline=None)
@given(LEAVES | st.lists(VALUES, max_size=3))
def test_a_value_is_the_same_in_the_grammar_of_the_command_line(value: Any) -> None:
    (text,) = as_overrides([{"training.key": value}])
    override = parse_override(text)
    assert override.key_or_group == "training.key"
    assert override.value() == value
    assert type(override.value()) is type(value)


def test_mappings_may_be_dotted_or_nested_or_both() -> None:
    words = [
        "seed=3",
        {"training": {"epochs": 3, "patience": None}, "data.types": {"size (m²)": "string"}, "metric": ("mae",)},
    ]
    assert as_overrides(words) == [
        "seed=3",
        "training.epochs=3",
        "training.patience=null",
        'data.types."size (m²)"=string',
        "metric=[mae]",
    ]
    assert parse_override('data.types."size (m²)"=string').value() == {"size (m²)": "string"}


def test_numbers_of_numpy_and_paths_are_values() -> None:
    words = {"learning_rate": np.float64(0.5), "seed": np.int32(4), "folder": Path("a b")}
    assert as_overrides([words]) == ["learning_rate=0.5", "seed=4", 'folder="a b"']


def test_options_inside_mappings_are_those_of_the_command_line() -> None:
    words = [
        {"optimizer": {"option": "adamw", "weight_decay": 0.01}, "metric": ["accuracy", {"option": "top_k", "k": 3}]}
    ]
    from_command = compose(["optimizer={option: adamw, weight_decay: 0.01}", "metric=[accuracy,{option: top_k, k: 3}]"])
    assert compose(as_overrides(words)).values == from_command.values


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (3, "3 is of the type int. Write overrides as texts, such as"),
        ({3: 4}, "3 is not a key"),
        ({"": 4}, "'' is not a key"),
        ({"seed": object()}, "seed: a value is of the type object. Allowed: numbers, texts"),
        ({"seed": b"3"}, "seed: a value is of the type bytes"),
        ({"layers": [{"a b": 1}]}, "layers: the name 'a b' can't stand inside a list"),
        ({"data": {"types": {"a b": {"c d": 1}}}}, "the name 'c d' can't be part of a key"),
    ],
)
def test_other_words_are_errors(word: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        as_overrides([word])
