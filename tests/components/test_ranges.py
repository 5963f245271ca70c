"""Parts that are built in Python check the ranges of their parameters, as the configuration does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from components.examples import Windows
from components.feature import Truncated
from components.metric import TopK
from components.types import FieldError


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Truncated(key="x", max_length=-1), "max_length: -1 is not in [1, inf). Choose a number in it."),
        (lambda: Truncated(key="x", max_length=(5, 0)), "max_length: (5, 0) is not in [1, inf)"),
        (lambda: Truncated(key="x", max_length=True), "max_length: True is not in [1, inf)"),
        (lambda: TopK(0), "k: 0 is not in [1, inf)"),
        (lambda: Windows(size=0), "size: 0 is not in [1, inf)"),
        (lambda: Windows(size=2, horizon=0), "horizon: 0 is not in [1, inf)"),
        (lambda: Windows(size=2, horizon=1, gap=-1), "gap: -1 is not in [0, inf)"),
        (lambda: Windows(size=2, stride=1.5), "stride: 1.5 is not in [1, inf)"),  # type: ignore[arg-type]
    ],
)
def test_a_number_beyond_its_range_is_an_error(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(FieldError) as raised:
        build()
    assert str(raised.value).startswith(message)


def test_numbers_in_their_ranges_are_no_error() -> None:
    Truncated(key="x", max_length=(5, None))
    Windows(size=int(np.int64(3)), horizon=None, gap=0)
    TopK(np.int64(2))  # type: ignore[arg-type]
