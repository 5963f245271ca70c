"""Losses with a teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from components.loss.base import TargetedLoss, require_ids
from components.loss.classification import SoftmaxCrossEntropy
from components.types import Batch, Output, Range, Scalar, UserError, get_only


@dataclass(frozen=True, kw_only=True)
class Distillation(TargetedLoss):
    """Distillation of a teacher: logits (B, …, classes), target (B, …) int32 -> (B, …).

    loss = (1 - share) * cross-entropy(q, p(logits)) + share * T^2 * KL(p(teacher / T) || p(logits / T))

    p is the softmax. q is 1 for the true class and 0 for all others, or the probability of each class where an
    augmentation has mixed examples. The factor T^2 makes the gradient's size independent of T.

    Attributes:
        share: the share of the teacher's term, in [0, 1]. With 0, the teacher has no influence.
        temperature: T, above 0. A higher one shows more of how the teacher ranks the wrong classes.

    References:
        Hinton et al., 2015: Distilling the knowledge in a neural network.
    """

    share: Annotated[Scalar, Range(0, 1)] = 0.5
    temperature: Annotated[Scalar, Range(0, math.inf, "()")] = 4.0
    needs_teacher = True
    option = "distillation"
    target_kinds = ("classes", "pixels")

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        if not batch.teacher:
            raise UserError("distillation needs the logits of a teacher, got none. Choose teacher=run.")
        if output.logits is None:
            raise UserError("distillation needs logits, but the architecture returns none. Choose one with a head.")
        teacher_logits = get_only(batch.teacher, "teacher", "Batch.teacher")
        require_ids("distillation", output.logits, batch.target)
        if teacher_logits.shape != output.logits.shape:
            raise UserError(
                f"distillation needs logits of the teacher {output.logits.shape}, as of the student, got "
                f"{teacher_logits.shape}. Choose a teacher with the same classes."
            )
        logits, soft = output.logits.astype(jnp.float32), next(iter(batch.soft.values()), None)
        temperature, share = (jnp.asarray(number, jnp.float32) for number in (self.temperature, self.share))
        of_target = SoftmaxCrossEntropy()(logits, batch.target, soft)
        teacher = jax.nn.log_softmax(teacher_logits.astype(jnp.float32) / temperature)
        student = jax.nn.log_softmax(logits / temperature)
        divergence = (jnp.exp(teacher) * (teacher - student)).sum(-1)
        return (1 - share) * of_target + share * jnp.square(temperature) * divergence
