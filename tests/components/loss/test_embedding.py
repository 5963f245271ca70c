"""Losses of embeddings equal their formulas over all pairs and triplets of a batch, and know what counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from components.loss import Contrastive, NTXent, SupervisedContrastive, Triplet
from components.types import Batch, Loss, Output, TargetSpec, UserError

LABELS = np.array([0, 1, 0, 2, 1, 0, 1, 0])  # 2 has one example
VECTORS = np.random.default_rng(0).normal(size=(8, 4))
LOSSES = [Triplet(), Triplet(mining="semi_hard", margin=None), SupervisedContrastive()]


def make_batch(labels: np.ndarray = LABELS, present: Any = True) -> Batch:
    counts = jnp.broadcast_to(jnp.asarray(present), len(labels))
    return Batch({}, {"target": jnp.array(labels, jnp.int32)}, {}, None, counts)


def compute(loss: Any, vectors: Any = VECTORS, batch: Batch | None = None) -> jax.Array:
    """The losses, compiled as in the program."""
    batch = make_batch() if batch is None else batch

    def apply(vectors: jax.Array) -> jax.Array:
        features = {"wide": 2 * vectors, "layers_1": vectors}
        with jax.numpy_rank_promotion("raise"):
            losses: jax.Array = loss(Output(jnp.zeros((len(vectors), 3)), features=features), batch)
            return losses

    return jax.jit(apply)(jnp.array(vectors, jnp.float32))


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def triplet(
    vectors: np.ndarray, labels: np.ndarray, *, semi_hard: bool, power: int, hinge: Callable[[float], float]
) -> list[float]:
    """The loss of each example, from the definition."""
    count, found = len(labels), []
    d = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1) ** power
    for a in range(count):
        positives = [d[a, i] for i in range(count) if i != a and labels[i] == labels[a]]
        negatives = [d[a, i] for i in range(count) if labels[i] != labels[a]]
        if not positives or not negatives:
            found.append(0.0)
        elif semi_hard:
            chosen = [min((n for n in negatives if n > p), default=max(negatives)) for p in positives]
            found.append(float(np.mean([hinge(p - n) for p, n in zip(positives, chosen, strict=True)])))
        else:
            found.append(hinge(max(positives) - min(negatives)))
    return found


@pytest.mark.parametrize("semi_hard", [False, True])
@pytest.mark.parametrize(("margin", "normalize", "power"), [(0.2, True, 1), (1.5, False, 2), (None, False, 1)])
def test_the_triplet_loss_equals_its_definition(
    semi_hard: bool, margin: float | None, normalize: bool, power: int
) -> None:
    loss = Triplet(
        margin=margin,
        mining="semi_hard" if semi_hard else "hard",
        normalize=normalize,
        distance="euclidean" if power == 1 else "squared_euclidean",
    )

    def hinge(difference: float) -> float:
        return float(np.log1p(np.exp(difference))) if margin is None else max(0.0, margin + difference)

    vectors = unit(VECTORS) if normalize else VECTORS
    expected = triplet(vectors, LABELS, semi_hard=semi_hard, power=power, hinge=hinge)
    assert expected[3] == 0 < max(expected)
    np.testing.assert_allclose(compute(loss), expected, rtol=1e-4, atol=1e-5)


def test_a_semi_hard_negative_is_farther_than_the_positive() -> None:
    """Of the negatives of the first example, one is as far as the positive, 1, and one is at 3."""
    loss = Triplet(mining="semi_hard", margin=5.0, normalize=False)
    found = compute(loss, np.array([[0.0], [1.0], [-1.0], [3.0]]), make_batch(np.array([0, 0, 1, 2])))
    np.testing.assert_allclose(found, [5 + 1 - 3, 5 + 1 - 2, 0, 0], rtol=1e-6)


def test_the_contrastive_loss_of_classes_equals_its_definition() -> None:
    similarities = unit(VECTORS) @ unit(VECTORS).T / 0.5
    expected = []
    for a in range(8):
        others = sum(np.exp(similarities[a, k]) for k in range(8) if k != a)
        positives = [i for i in range(8) if i != a and LABELS[i] == LABELS[a]]
        losses = [-np.log(np.exp(similarities[a, i]) / others) for i in positives]
        expected.append(np.mean(losses) if losses else 0.0)
    np.testing.assert_allclose(compute(SupervisedContrastive(temperature=0.5)), expected, rtol=1e-4)


def test_with_two_examples_of_each_class_it_is_nt_xent() -> None:
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    found = compute(SupervisedContrastive(temperature=0.3), batch=make_batch(labels)).mean()
    with jax.numpy_dtype_promotion("standard"):
        expected = optax.losses.ntxent(jnp.array(VECTORS, jnp.float32), jnp.array(labels), temperature=0.3)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def compute_views(first: Any, second: Any, present: Any = True, temperature: float = 0.3) -> jax.Array:
    features = {"first": jnp.array(first, jnp.float32), "second": jnp.array(second, jnp.float32)}
    batch = Batch({}, {}, {}, None, jnp.broadcast_to(jnp.asarray(present), len(first)))
    with jax.numpy_rank_promotion("raise"):
        return NTXent(temperature=temperature)(Output(None, features=features), batch)


def nt_xent(first: np.ndarray, second: np.ndarray, temperature: float = 0.3) -> np.ndarray:
    """The mean loss of both views of each example, by equation 1 of Chen et al., 2020."""
    views = unit(np.concatenate([first, second]))
    similarities, count = views @ views.T / temperature, len(first)
    losses = []
    for view in range(2 * count):
        others = [similarities[view, k] for k in range(2 * count) if k != view]
        losses.append(np.log(np.exp(others).sum()) - similarities[view, (view + count) % (2 * count)])
    return np.mean(np.reshape(losses, (2, count)), axis=0)


def test_nt_xent_and_its_derivative_equal_the_definition() -> None:
    first, second = VECTORS[:4], VECTORS[4:]
    np.testing.assert_allclose(compute_views(first, second), nt_xent(first, second), rtol=1e-5)
    found = jax.grad(lambda first: compute_views(first, second).mean())(jnp.array(first, jnp.float32))
    for place in np.ndindex(first.shape):
        step = np.zeros_like(first)
        step[place] = 1e-6
        expected = (nt_xent(first + step, second).mean() - nt_xent(first - step, second).mean()) / 2e-6
        assert float(found[place]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_views_of_padding_are_compared_with_none() -> None:
    present = np.array([True, True, True, False])
    found = compute_views(VECTORS[:4], VECTORS[4:], present)
    np.testing.assert_allclose(found[:3], nt_xent(VECTORS[:3], VECTORS[4:7]), rtol=1e-5)


@pytest.mark.parametrize("vectors", [np.zeros((4, 4)), np.ones((4, 4)), 1e4 * VECTORS[:4]])
def test_extreme_views_give_finite_losses_and_derivatives(vectors: np.ndarray) -> None:
    value, gradient = jax.value_and_grad(lambda first: compute_views(first, vectors).sum())(
        jnp.array(vectors, jnp.float32)
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_examples_that_do_not_count_are_compared_with_none(loss: Loss) -> None:
    present = np.array([True] * 6 + [False] * 2)
    found = compute(loss, VECTORS, make_batch(present=present))
    expected = compute(loss, VECTORS[:6], make_batch(LABELS[:6]))
    np.testing.assert_allclose(found[:6], expected, rtol=1e-5)
    other = np.where(present[:, None], VECTORS, 100.0)
    np.testing.assert_array_equal(compute(loss, other, make_batch(present=present))[:6], found[:6])


@pytest.mark.parametrize("loss", [*LOSSES, Triplet(normalize=False), Contrastive(stage="layers_1", partner="layers_1")])
def test_extreme_embeddings_give_finite_losses_and_derivatives(loss: Loss) -> None:
    @jax.jit
    @jax.value_and_grad
    def total(vectors: jax.Array, labels: Any) -> jax.Array:
        output = Output(jnp.zeros((8, 3)), features={"layers_1": vectors})
        return loss(output, make_batch(labels)).sum()  # type: ignore[arg-type]

    for vectors in (np.zeros((8, 4)), 1e4 * VECTORS, np.ones((8, 4))):
        for labels in (LABELS, np.zeros(8, int), np.arange(8)):
            value, gradient = total(vectors.astype(np.float32), labels.astype(np.int32))
            assert np.isfinite(value), (vectors, labels)
            assert np.isfinite(gradient).all(), (vectors, labels)


def test_the_contrastive_loss_of_pairs_equals_its_definition() -> None:
    first, second, same = VECTORS[:4], VECTORS[4:], np.array([1, 0, 0, 1])
    output = Output(jnp.zeros((4, 1)), features={"first": jnp.array(first), "second": jnp.array(second)})
    distances = np.linalg.norm(first - second, axis=1)
    expected = np.where(same, distances**2, np.maximum(0, 3.0 - distances) ** 2)
    found = Contrastive(margin=3.0)(output, make_batch(same))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    near = np.linalg.norm(unit(first) - unit(second), axis=1)
    found = Contrastive(margin=1.0, normalize=True)(output, make_batch(same))
    np.testing.assert_allclose(found, np.where(same, near**2, np.maximum(0, 1 - near) ** 2), rtol=1e-4)


def test_the_numbers_may_be_traced(check_traced: Callable[..., None]) -> None:
    for name, values, part in (
        ("margin", (0.5, 2.0), Triplet),
        ("temperature", (0.1, 1.0), SupervisedContrastive),
        ("margin", (2.5, 2.0), lambda margin: Contrastive(margin=margin, stage="wide", partner="layers_1")),
        (
            "temperature",
            (0.1, 1.0),
            lambda temperature: NTXent(temperature=temperature, stage="wide", partner="layers_1"),
        ),
    ):
        check_traced(lambda part=part, **numbers: compute(part(**numbers)), *({name: value} for value in values))


@pytest.mark.parametrize(
    ("loss", "features", "soft", "message"),
    [
        (
            Triplet(stage="dense"),
            ["layers_0"],
            {},
            r"stage: the architecture returns no features dense\. .*Features: layers_0",
        ),
        (Triplet(), [], {}, r"triplet needs `Output.features`, and the architecture returns none"),
        (Contrastive(), ["layers_0"], {}, "stage: the architecture returns no features first"),
        (
            SupervisedContrastive(),
            ["x"],
            {"target": jnp.ones((8, 3))},
            "compares classes, and .* mixed",
        ),
    ],
)
def test_wrong_embeddings_raise(loss: Any, features: list[str], soft: Any, message: str) -> None:
    output = Output(jnp.zeros((8, 3)), features=dict.fromkeys(features, jnp.zeros((8, 2))))
    with pytest.raises(UserError, match=message):
        loss(output, make_batch()._replace(soft=soft))


def test_pixels_have_no_embeddings() -> None:
    target = TargetSpec("classes", (4, 4), ("a", "b"), lambda logits: logits)
    with pytest.raises(UserError, match="triplet needs a target of classes, got a target with a class for each pixel"):
        Triplet().outputs(target)
