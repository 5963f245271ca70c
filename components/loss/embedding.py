"""Losses of embeddings, which compare the examples of a batch: Output and Batch -> (B,).

An embedding is an entry of `Output.features`, such as the output of the last hidden layer. These losses don't read the
logits: alone, they leave the head untrained. `weighted_sum` adds them to a loss of the logits. Their value depends on
the size of the batches. Examples whose mask is false are compared with none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from components.closest import suggest_name
from components.loss.base import TargetedLoss
from components.loss.regression import normalize
from components.types import Batch, FieldError, Output, Range, Scalar, TargetSpec, UserError

FAR = -1e9  # the similarity with examples that don't count


@dataclass(frozen=True, kw_only=True)
class EmbeddingLoss(TargetedLoss):
    """Base class of losses of embeddings.

    Attributes:
        stage: the name of the embedding in `Output.features`; mode=dry_run lists the layers. None: the last one.
    """

    stage: str | None = None
    ignores_logits = True

    def embed(self, output: Output, batch: Batch, stage: str | None, field: str = "stage") -> jax.Array:
        """The embeddings of the examples, flattened: float32 (B, D). `field`: the parameter that names the stage.

        Raises:
            UserError: the architecture returns none of this name, or the examples are mixed.
        """
        if batch.soft:
            raise UserError(
                f"{self.option} compares classes, and an augmentation has mixed them. Leave out the mixing."
            )
        features = dict(output.features)
        name = next(reversed(features), None) if stage is None else stage
        if name is None:
            raise UserError(
                f"{self.option} needs `Output.features`, and the architecture returns none. Choose another."
            )
        if name not in features:
            hint = suggest_name(name, features, title="Features")
            if name in ("first", "second"):
                hint = f"architecture=siamese returns first and second. Choose it, or a field of another one. {hint}"
            raise FieldError(field, f"the architecture returns no features {name}. {hint}")
        return features[name].reshape(len(features[name]), -1).astype(jnp.float32)


@dataclass(frozen=True, kw_only=True)
class Triplet(EmbeddingLoss):
    """Triplet loss: the embeddings of a class are nearer to each other than to those of other classes, by a margin.

    loss = max(0, margin + distance to a positive - distance to a negative). The positives of an example are the others
    of its class in the batch, the negatives are the examples of other classes. The loss of an example without positives
    or negatives is 0.

    Attributes:
        stage: the embedding in `Output.features`. None: the last one.
        margin: 0 or more. None: log(1 + exp(difference of the distances)) in place of the hinge.
        mining: `hard`: the farthest positive and the nearest negative. `semi_hard`: the mean over all positives, each
            with the nearest negative that is farther than the positive, or else with the farthest one.
        normalize: whether embeddings have length 1.
        distance: of two embeddings.

    References:
        Schroff et al., 2015: FaceNet (`semi_hard`, with `squared_euclidean`).
        Hermans et al., 2017: In defense of the triplet loss for person re-identification (`hard`).
    """

    margin: Annotated[Scalar, Range(0)] | None = 0.2
    mining: Literal["hard", "semi_hard"] = "hard"
    normalize: bool = True
    distance: Literal["euclidean", "squared_euclidean"] = "euclidean"
    option = "triplet"
    target_kinds = ("classes",)

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        embeddings = self.embed(output, batch, self.stage)
        distances = _squared_distances(normalize(embeddings) if self.normalize else embeddings)
        if self.distance == "euclidean":
            distances = _square_root(distances)
        positives, negatives = _find_pairs(batch)
        has_both = positives.any(1) & negatives.any(1)
        if self.mining == "hard":
            positive = jnp.where(positives, distances, -jnp.inf).max(1)
            negative = jnp.where(negatives, distances, jnp.inf).min(1)
            return self._compare(jnp.where(has_both, positive - negative, 0), has_both)
        pairs = positives & has_both[:, None]
        differences = jnp.where(pairs, distances - _find_semi_hard(distances, negatives), 0)
        return self._compare(differences, pairs).sum(1) / jnp.maximum(pairs.sum(1), 1).astype(jnp.float32)

    def _compare(self, differences: jax.Array, counts: jax.Array) -> jax.Array:
        """The loss of differences of distances; 0 where they don't count."""
        if self.margin is None:
            losses = jax.nn.softplus(differences)
        else:
            losses = jax.nn.relu(differences + jnp.asarray(self.margin, jnp.float32))
        return jnp.where(counts, losses, 0)


@dataclass(frozen=True, kw_only=True)
class SupervisedContrastive(EmbeddingLoss):
    """Supervised contrastive loss: the embeddings of a class are more similar to each other than to all others.

    loss = -mean over positives j of log(exp(s_j / t) / sum over others k of exp(s_k / t)), with the cosines s. The
    positives of an example are the others of its class in the batch. Without any, its loss is 0. If each class has two
    examples, it is the loss NT-Xent.

    Attributes:
        stage: the embedding in `Output.features`. None: the last one.
        temperature: t, above 0.

    References:
        Khosla et al., 2020: Supervised contrastive learning, equation 2.
        Chen et al., 2020: A simple framework for contrastive learning of visual representations (NT-Xent).
    """

    temperature: Annotated[Scalar, Range(0, math.inf, "()")] = 0.1
    option = "supervised_contrastive"
    target_kinds = ("classes",)

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        embeddings = normalize(self.embed(output, batch, self.stage))
        positives, negatives = _find_pairs(batch)
        similarities = embeddings @ embeddings.T / jnp.asarray(self.temperature, jnp.float32)
        others = jnp.where(positives | negatives, similarities, FAR)
        log_shares = similarities - jax.nn.logsumexp(others, axis=1, keepdims=True)
        losses = -jnp.where(positives, log_shares, 0).sum(1)
        return losses / jnp.maximum(positives.sum(1), 1).astype(jnp.float32)


@dataclass(frozen=True, kw_only=True)
class Contrastive(EmbeddingLoss):
    """Contrastive loss of pairs: those of one class are near, those of different classes at least a margin apart.

    loss = d² for pairs of the second class, `same`, and max(0, margin - d)² for the first one, `different`, with the
    Euclidean distance d. `examples=pairs` makes the pairs, and `architecture=siamese` the embeddings.

    Attributes:
        stage: the embedding of the first row. None: `first`.
        partner: the embedding of the second row.
        margin: above 0.
        normalize: whether embeddings have length 1.

    References:
        Hadsell et al., 2006: Dimensionality reduction by learning an invariant mapping.
    """

    partner: str = "second"
    margin: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0
    normalize: bool = False
    option = "contrastive"
    target_kinds = ("classes",)
    is_binary = True

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        first = self.embed(output, batch, "first" if self.stage is None else self.stage)
        second = self.embed(output, batch, self.partner, "partner")
        if self.normalize:
            first, second = normalize(first), normalize(second)
        distances = _square_root(jnp.square(first - second).sum(1))
        apart = jax.nn.relu(jnp.asarray(self.margin, jnp.float32) - distances)
        return jnp.where(batch.target == 1, jnp.square(distances), jnp.square(apart))


@dataclass(frozen=True, kw_only=True)
class NTXent(EmbeddingLoss):
    """NT-Xent, for two views of each example: they are more similar to each other than to the views of all others.

    loss = -log(exp(s_p / t) / sum over others k of exp(s_k / t)), with the cosines s: p is the other view of the
    example, and the others are all other views in the batch. The loss of an example is the mean of that of both views.
    `examples=views` makes the views, and `architecture=siamese` the embeddings. A target is not read.

    Attributes:
        stage: the embedding of the first view. None: `first`.
        partner: the embedding of the second view.
        temperature: t, above 0.

    References:
        Chen et al., 2020: A simple framework for contrastive learning of visual representations (SimCLR), equation 1.
    """

    partner: str = "second"
    temperature: Annotated[Scalar, Range(0, math.inf, "()")] = 0.1
    option = "nt_xent"
    needs_target = False

    def outputs(self, target: TargetSpec) -> int:
        return target.outputs

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        names = ("first" if self.stage is None else self.stage, self.partner)
        views = normalize(jnp.concatenate([self.embed(output, batch, name) for name in names]))
        temperature, count = jnp.asarray(self.temperature, jnp.float32), len(batch.present)
        is_negative = jnp.tile(batch.present, 2)[None] & ~jnp.tile(jnp.eye(count, dtype=bool), (2, 2))
        negatives = jnp.where(is_negative, views @ views.T / temperature, FAR)
        positives = (views * jnp.roll(views, count, axis=0)).sum(1) / temperature
        # The loss is also log(1 + sum over the negatives of exp(s_k - s_p)), which stays precise near 0.
        return jax.nn.softplus(jax.nn.logsumexp(negatives, axis=1) - positives).reshape(2, count).mean(0)


def _find_pairs(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Whether a pair of different examples is of one class, and whether it is of two: bool (B, B), (B, B)."""
    counts = batch.mask[:, None] & batch.mask[None, :] & ~jnp.eye(len(batch.mask), dtype=bool)
    same = batch.target[:, None] == batch.target[None, :]
    return counts & same, counts & ~same


def _find_semi_hard(distances: jax.Array, negatives: jax.Array) -> jax.Array:
    """The distance of the negative of each pair of `Triplet`, (B, B)."""
    ordered = jnp.sort(jnp.where(negatives, distances, jnp.inf), axis=1)
    farther = jax.vmap(partial(jnp.searchsorted, side="right"))(ordered, distances)
    last = jnp.maximum(negatives.sum(1, keepdims=True) - 1, 0)
    return jnp.take_along_axis(ordered, jnp.minimum(farther, last), axis=1)


def _squared_distances(embeddings: jax.Array) -> jax.Array:
    """The squared Euclidean distances of all pairs: (B, D) -> (B, B)."""
    squares = jnp.square(embeddings).sum(1)
    return jnp.maximum(squares[:, None] + squares[None, :] - 2 * embeddings @ embeddings.T, 0)


def _square_root(squares: jax.Array) -> jax.Array:
    """The square root, with the derivative 0 at 0, where it is infinite."""
    is_positive = squares > 0
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, squares, 1)), 0)
