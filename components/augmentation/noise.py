"""Noise on the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from components.augmentation.images import describe, is_float
from components.types import Batch, Range, Scalar, UserError


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Adds normally distributed noise to inputs of floats. The target keeps its values, as denoising needs.

    Attributes:
        std: standard deviation of the noise, in the unit of the input, 0 or more.
        inputs: names of the inputs; None: all inputs of floats.
        evaluates: whether evaluations add noise, too, so that the loss of a held-out split is that of noisy inputs.
    """

    std: Annotated[Scalar, Range(0)] = 0.1
    inputs: tuple[str, ...] | None = None
    evaluates: bool = False
    keeps_targets = True

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        floats = [name for name, value in batch.inputs.items() if is_float(value)]
        if not floats:
            kinds = ", ".join(f"{name} {describe(value)}" for name, value in batch.inputs.items())
            raise UserError(f"gaussian_noise needs an input of floats, got {kinds}. Remove the augmentation.")
        if self.inputs == ():
            raise UserError("gaussian_noise: `inputs` is empty, so no input gets noise. Leave it out, or list inputs.")
        for name in self.inputs or ():
            if name not in floats:
                allowed = ", ".join(floats) or "none"
                raise UserError(f"gaussian_noise: no input of floats is called {name}. Inputs of floats: {allowed}.")
        inputs = dict(batch.inputs)
        for number, name in enumerate(floats if self.inputs is None else self.inputs):
            noise = jax.random.normal(jax.random.fold_in(key, number), inputs[name].shape, inputs[name].dtype)
            inputs[name] += jnp.asarray(self.std, inputs[name].dtype) * noise
        return batch._replace(inputs=inputs)
