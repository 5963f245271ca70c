"""Facts about a network from a trace: parameters, multiply-adds, shapes of its stages. Nothing is computed."""

from __future__ import annotations

from typing import Any, NamedTuple
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp

from runner.modes.dry_run.multiply_adds import count_multiply_adds


class Facts(NamedTuple):
    """Facts about a network for one image, in inference; parameters include those of auxiliary classifiers."""

    parameters: int
    multiply_adds: int
    stages: dict[str, tuple[int, ...]]  # without the batch
    variables: Any  # {"params": …, "batch_stats": …} as shapes


def variables(module: nn.Module, *image: int) -> Any:
    """Returns all variables of a network in training, as shapes; `image` is (height, width, channels)."""
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda x: module.init(keys, x, train=True), jnp.zeros((1, *image)))


def facts(module: nn.Module, *image: int) -> Facts:
    """Traces a network on an image (height, width, channels), with grouped convolutions as on accelerators."""

    def infer(x: jax.Array) -> Any:
        output, known = module.init_with_output(jax.random.key(0), x, train=False)
        return output.logits, output.features, known

    with mock.patch.object(jax, "default_backend", return_value="tpu"):
        jaxpr, (_, features, known) = jax.make_jaxpr(infer, return_shape=True)(jnp.zeros((1, *image)))
    if getattr(module, "auxiliary", None) is not None:  # inference has no auxiliary classifiers
        known = variables(module, *image)
    stages = {name: feature.shape[1:] for name, feature in features.items()}
    return Facts(size(known["params"]), count_multiply_adds(jaxpr.jaxpr), stages, known)


def size(tree: Any) -> int:
    """Returns the number of elements of all arrays of a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
