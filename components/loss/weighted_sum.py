"""Sums of losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Required, TypedDict

import jax
import jax.numpy as jnp

from components.types import Batch, Loss, Output, Range, Scalar, TargetSpec, UserError, apply_loss


class Term(TypedDict, total=False):
    """A term of `WeightedSum`.

    Attributes:
        loss: its loss.
        weight: its factor, 0 or more. The default is 1.
    """

    loss: Required[Loss]
    weight: Annotated[Scalar, Range(0)]


@dataclass(frozen=True, kw_only=True)
class WeightedSum:
    """Weighted sum of losses of one target: Output and Batch -> (B, …).

    Attributes:
        terms: the losses and their weights, by names of your choice.
    """

    terms: Mapping[str, Term]
    shares_target = True  # all terms get the target and the logits as they are

    def outputs(self, target: TargetSpec) -> int:
        """The number of logits of all losses.

        Raises:
            UserError: there is no loss, the losses need different numbers of logits, or change them (`link`).
        """
        counts = {name: term["loss"].outputs(target) for name, term in self.terms.items()}
        listed = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
        if len(set(counts.values())) != 1:
            raise UserError(f"weighted_sum needs losses of the same logits, got numbers of logits: {listed}.")
        losses = {name: term["loss"] for name, term in self.terms.items()}
        if linked := [name for name, loss in losses.items() if hasattr(loss, "link") or hasattr(loss, "head")]:
            raise UserError(
                f"weighted_sum: {linked[0]} has predictions of its own, which other losses don't share. "
                "Give the data a second target of the same column."
            )
        return next(iter(counts.values()))

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        terms = [
            jnp.asarray(term.get("weight", 1.0), jnp.float32) * apply_loss(term["loss"], output, batch)
            for term in self.terms.values()
        ]
        return sum(terms[1:], terms[0])
