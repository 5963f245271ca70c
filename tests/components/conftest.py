"""What the tests of several parts share."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture
def check_traced() -> Callable[..., None]:
    """A check of traced numbers: several settings go through one trace, and answer as floats do."""

    def check(part: Callable[..., Any], *settings: Mapping[str, float]) -> None:
        traces = 0

        def counted(numbers: Mapping[str, jax.Array]) -> Any:
            nonlocal traces
            traces += 1
            return part(**numbers)

        compiled, answers = jax.jit(counted), []
        for numbers in settings:
            answer = compiled({name: jnp.float32(number) for name, number in numbers.items()})
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), answer, part(**numbers))
            answers.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(answer)]))
        assert traces == 1
        assert len(settings) > 1
        assert all((answer != answers[0]).any() for answer in answers[1:]), "the numbers don't matter"

    return check
