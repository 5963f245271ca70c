"""Monte Carlo dropout: samples of the outputs of a model whose dropout stays on.

They are drawn one by one, because on the CPU convolutions are slow inside a compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

import jax
import jax.numpy as jnp

from components.types import Output, UserError
from runner.errors import LocatedError
from runner.program.parts import BuiltParts
from runner.program.samples import Samples, empty_samples, make_sample, merge_samples

NO_LOGITS = "the architecture returns no logits, so the run has no outputs to predict"

Draw: TypeAlias = Callable[[jax.Array | None], Output]
"""(random key) -> the output of the model with the stream `mc`. Without a key, dropout is off."""


def make_streams(key: jax.Array) -> dict[str, jax.Array]:
    """The streams of random keys of a sample. The layers of Flax draw from `dropout`."""
    return {"mc": key, "dropout": key}


def start_samples(parts: BuiltParts, draw: Draw, *, drops: bool) -> dict[str, Samples]:
    """No samples, in the shapes of those to come.

    Args:
        parts: the parts of the experiment.
        draw: draws a sample.
        drops: whether dropout is on.

    Raises:
        UserError: the output doesn't depend on the random key, with which dropout is on.
    """

    def make_first(key: jax.Array) -> dict[str, Samples]:
        return _make_samples(parts, draw(key if drops else None))

    closed, shapes = jax.make_jaxpr(make_first, return_shape=True)(jax.random.key(0))
    key = closed.jaxpr.invars[0]
    if drops and not any(key in equation.invars for equation in closed.jaxpr.eqns):
        raise LocatedError(
            "architecture",
            "the network draws no random numbers, so all samples would be equal. Monte Carlo dropout needs a network "
            "that was trained with dropout, as by architecture.dropout=0.2 or a layer Dropout.",
        )

    def fill(value: jax.Array, shape: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.full(shape.shape, value, shape.dtype)

    return {name: jax.tree.map(fill, empty_samples(parts.targets[name].spec), own) for name, own in shapes.items()}


def add_sample(
    parts: BuiltParts, samples: Mapping[str, Samples], draw: Draw, key: jax.Array | None
) -> dict[str, Samples]:
    """The samples with one more. The key is the same for all samples of some examples."""
    number = next(iter(samples.values())).number
    output = draw(None if key is None else jax.random.fold_in(key, number.astype(jnp.int32)))
    return {
        name: merge_samples(parts.targets[name].spec, samples[name], each)
        for name, each in _make_samples(parts, output).items()
    }


def _make_samples(parts: BuiltParts, output: Output) -> dict[str, Samples]:
    """An output as a single sample of each target. Raises UserError if there is nothing to average."""
    if not parts.targets:
        raise UserError("the run has no target, so it has no predictions to average.")
    if output.outputs is None:
        raise UserError(f"{NO_LOGITS}.")
    logits = cast("Mapping[str, jax.Array]", output.outputs)
    return {name: make_sample(parts.targets[name].spec, each) for name, each in logits.items()}
