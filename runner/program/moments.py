"""The moments of BatchNorm over several training batches, for weights with which the model was not trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from runner.program.trees import join_keys

MOMENTS = "batch_stats"  # the collection of the running moments


@contextlib.contextmanager
def replace_moments() -> Iterator[set[str]]:
    """A context in which a forward pass in training replaces the running moments by those of its batch.

    It yields the set of the modules, as paths, whose moments were replaced: those with a `momentum` and moments of
    their own. If a module is called several times, its moments are the mean over the calls.
    """
    modules: set[str] = set()
    calls: dict[int, tuple[Any, int]] = {}  # each module, and the number of its calls, by its id

    def call(function: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        if context.method_name != "__call__" or not hasattr(module, "momentum"):
            return function(*args, **kwargs)
        _, count = calls.get(id(module), (module, 0))
        momentum = module.momentum
        object.__setattr__(module, "momentum", count / (count + 1))  # Flax's own setter refuses to change a module
        try:
            returned = function(*args, **kwargs)
        finally:
            object.__setattr__(module, "momentum", momentum)
        own = module.variables.get(MOMENTS, {})
        if any(not isinstance(leaf, Mapping) for leaf in own.values()):
            calls[id(module)] = module, count + 1  # which keeps the module, so that no other one gets its id
            modules.add("/".join(module.path))
        return returned

    with nn.intercept_methods(call):
        yield modules


def add_moments(moments: Any, new: Any, modules: set[str], count: jax.Array) -> Any:
    """The mean of moments, with those of one more batch.

    Args:
        moments: the mean over the batches before. For the first batch, its values don't matter.
        new: the moments of the batch, at other paths anything.
        modules: the paths of the modules with moments. The values of others stay.
        count: the number of batches before, int32 ().
    """

    def add(keys: Any, old: jax.Array, new: jax.Array) -> jax.Array:
        if join_keys(keys[:-1]) not in modules:
            return old
        return jnp.where(count == 0, new, old + (new - old) / (count + 1).astype(old.dtype))

    return jax.tree_util.tree_map_with_path(add, moments, new)
