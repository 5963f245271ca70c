"""Sums of losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Required, TypedDict

import jax
import jax.numpy as jnp

from components.types import Batch, FieldError, Loss, Output, Range, Scalar, TargetSpec, apply_loss, error_field


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

    def __post_init__(self) -> None:
        if not self.terms:
            raise FieldError("terms", "is empty. Name a term and its loss: {NAME: {loss: OPTION}}")

    def outputs(self, target: TargetSpec) -> int:
        """The number of logits of all losses.

        Raises:
            FieldError: a loss doesn't take the target, the losses need different numbers of logits, or one changes
                them (`link` or `head`).
        """
        counts = {}
        for name, term in self.terms.items():
            with error_field(f"terms.{name}.loss"):
                counts[name] = term["loss"].outputs(target)
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise FieldError("terms", f"need different numbers of logits: {listed}. Choose losses of the same logits.")
        losses = {name: term["loss"] for name, term in self.terms.items()}
        if linked := [name for name, loss in losses.items() if hasattr(loss, "link") or hasattr(loss, "head")]:
            raise FieldError(
                f"terms.{linked[0]}.loss",
                "has predictions of its own, which other losses don't share. Give the data a second target of "
                "the same column.",
            )
        return next(iter(counts.values()))

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        terms = []
        for name, term in self.terms.items():
            with error_field(f"terms.{name}.loss"):
                loss = apply_loss(term["loss"], output, batch)
            terms.append(jnp.asarray(term.get("weight", 1.0), jnp.float32) * loss)
        return sum(terms[1:], terms[0])
