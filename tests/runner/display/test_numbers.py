from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.display.numbers import format_number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (106317.2, 5, "106320"),
        (-353412.7, 4, "-353400"),
        (500001.0, 4, "500001"),
        (1312.4, 2, "1300"),
        (99999.7, 5, "100000"),
        (9999999.0, 4, "9999999"),
        (9999999.4, 5, "10000000"),
        (1e7, 5, "1e+07"),
        (12345678.0, 5, "1.2346e+07"),
        (0.98765432, 5, "0.98765"),
        (1e-9, 5, "1e-09"),
        (-0.0, 5, "0"),
        (math.nan, 5, "nan"),
        (-math.inf, 5, "-inf"),
    ],
)
def test_a_number_has_significant_digits(value: float, digits: int, text: str) -> None:
    assert format_number(value, digits) == text


@given(st.floats(-1e9, 1e9), st.integers(1, 10))
def test_the_text_is_close_to_the_number_and_plain_up_to_seven_digits(value: float, digits: int) -> None:
    text = format_number(value, digits)
    assert float(text) == pytest.approx(value, rel=0.5 * 10.0 ** (1 - digits) + 1e-15, abs=0)
    assert "e+" not in text or abs(value) >= 1e7
