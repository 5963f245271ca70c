"""Fixtures that the tests of several parts share."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import MaxPool


@pytest.fixture(autouse=True)
def trains_as_the_whole() -> Iterator[None]:
    """Checks, in every call of a test, that all inner modules have the `train` of the outer module."""
    around: list[bool] = []

    def called(call: Callable[..., Any], args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if (
            context.method_name != "__call__" or "train" not in kwargs or isinstance(module, MaxPool)
        ):  # its output does not depend on `train`
            return call(*args, **kwargs)
        train = kwargs["train"]
        assert not around or train == around[-1], f"{type(module).__name__} {'/'.join(module.path)}: train={train}"
        around.append(train)
        try:
            return call(*args, **kwargs)
        finally:
            around.pop()

    with nn.intercept_methods(called):
        yield


@pytest.fixture
def check_traced() -> Callable[..., None]:
    """Returns a check that a part with traced numbers is traced once and equals the part with floats."""

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
        assert all((answer != answers[0]).any() for answer in answers[1:]), "the numbers have no effect"

    return check
