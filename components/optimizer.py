"""Optimizers that Optax doesn't have, or that need more than it knows of a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from components.paths import EMBEDDINGS, WEIGHTS, check_patterns, leaves_with_paths, matches_any
from components.types import Range, Scalar

__all__ = ["adabound", "ftrl", "lars", "muon", "sophia"]

HEAD = "architecture/head"


class AdaBoundState(NamedTuple):
    """The state of `adabound`: a counter, and trees with the structure of the parameters.

    Attributes:
        steps: their number, int32 ().
        mu: m, the first moment.
        nu: v, the second moment.
        nu_max: the largest second moment so far. None: it isn't needed.
    """

    steps: jax.Array
    mu: Any
    nu: Any
    nu_max: Any


def adabound(
    learning_rate: Annotated[Scalar, Range(0)],
    b1: Annotated[Scalar, Range(0, 1, "[)")] = 0.9,
    b2: Annotated[Scalar, Range(0, 1, "[)")] = 0.999,
    eps: Annotated[Scalar, Range(0)] = 1e-8,
    final_factor: Annotated[Scalar, Range(0)] = 100.0,
    gamma: Annotated[Scalar, Range(0, math.inf, "()")] = 1e-3,
    amsbound: bool = False,
) -> optax.GradientTransformation:
    """AdaBound: Adam whose rates are clipped to bounds that meet at the rate of SGD.

    With gradient g, parameter w and the step t = 1, 2, …, as in the authors' code:
        m' = b1 m + (1 - b1) g
        v' = b2 v + (1 - b2) g²
        rate = learning_rate sqrt(1 - b2^t) / (1 - b1^t) / (sqrt(v') + eps)
        final = final_factor * learning_rate
        w' = w - clip(rate, final (1 - 1 / (gamma t + 1)), final (1 + 1 / (gamma t))) m'

    Args:
        learning_rate: the rate of Adam at the start, 0 or more.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        final_factor: the rate of SGD at the end, as a multiple of learning_rate. In the paper, 0.1 is 100 times 0.001.
        gamma: how fast the bounds meet, above 0: after 1 / gamma steps, the lower one is half of `final`.
        amsbound: whether v' is the largest one so far, as in AMSGrad.

    References:
        Luo et al., 2019: Adaptive gradient methods with dynamic bound of learning rate.
    """

    def init(parameters: Any) -> AdaBoundState:
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        return AdaBoundState(jnp.zeros((), jnp.int32), zeros, zeros, zeros if amsbound else None)

    def update(gradients: Any, state: AdaBoundState, parameters: Any = None) -> tuple[Any, AdaBoundState]:
        count = optax.safe_increment(state.steps)
        mu = optax.tree.update_moment(gradients, state.mu, b1, 1)
        nu = optax.tree.update_moment(gradients, state.nu, b2, 2)
        nu_max = jax.tree.map(jnp.maximum, state.nu_max, nu) if amsbound else None

        def change(m: jax.Array, v: jax.Array) -> jax.Array:
            t = count.astype(m.dtype)
            rate = learning_rate * jnp.sqrt(1 - b2**t) / (1 - b1**t) / (jnp.sqrt(v) + eps)
            final = final_factor * learning_rate
            return -jnp.clip(rate, final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t))) * m

        return jax.tree.map(change, mu, nu_max if amsbound else nu), AdaBoundState(count, mu, nu, nu_max)

    return optax.GradientTransformation(init, update)


class FtrlState(NamedTuple):
    """The state of `ftrl`: trees with the structure of the parameters.

    Attributes:
        accumulator: n, the sum of the squared gradients.
        linear: z, the linear term of the objective.
    """

    accumulator: Any
    linear: Any


def ftrl(
    learning_rate: Annotated[Scalar, Range(0)],
    l1: Annotated[Scalar, Range(0)] = 0.0,
    l2: Annotated[Scalar, Range(0)] = 0.0,
    l2_shrinkage: Annotated[Scalar, Range(0)] = 0.0,
    beta: Annotated[Scalar, Range(0)] = 0.0,
    initial_accumulator: Annotated[Scalar, Range(0, math.inf, "()")] = 0.1,
    learning_rate_power: Annotated[Scalar, Range(-math.inf, 0)] = -0.5,
) -> optax.GradientTransformation:
    """Follow-the-regularized-leader (FTRL-Proximal), as in TensorFlow and Keras.

    With p = -learning_rate_power, gradient g and parameter w:
        n' = n + g²
        z' = z + g + 2 l2_shrinkage w - (n'^p - n^p) / learning_rate * w
        w' = (clip(z', -l1, l1) - z') / ((n'^p + beta) / learning_rate + 2 l2)
    The parameter enters z in proportion to the growth of n^p, so the first step forgets most of its initial value.
    A step with the learning rate 0 changes nothing.

    Args:
        learning_rate: 0 or more.
        l1: strength of the L1 penalty. It sets parameters to exactly 0.
        l2: strength of the L2 penalty.
        l2_shrinkage: strength of an L2 penalty that is added to the gradient in z only, not in n.
        beta: added to n'^p. A larger one lowers the rate of the first steps.
        initial_accumulator: the initial n, above 0.
        learning_rate_power: the exponent of n in the learning rate, 0 or less. 0: the rate doesn't decrease with n.

    References:
        McMahan et al., 2013: Ad click prediction: a view from the trenches.
    """

    def init(parameters: Any) -> FtrlState:
        accumulator = jax.tree.map(lambda leaf: jnp.full_like(leaf, initial_accumulator), parameters)
        return FtrlState(accumulator, jax.tree.map(jnp.zeros_like, parameters))

    def update(gradients: Any, state: FtrlState, parameters: Any = None) -> tuple[Any, FtrlState]:
        if parameters is None:
            raise ValueError(optax.NO_PARAMS_MSG)
        rate, power = jnp.asarray(learning_rate, jnp.float32), -jnp.asarray(learning_rate_power, jnp.float32)
        is_moving = rate > 0
        divisor = jnp.where(is_moving, rate, jnp.float32(1))

        def step(g: jax.Array, n: jax.Array, z: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            new_n = n + jnp.square(g)
            new_z = z + g + 2 * l2_shrinkage * w - (new_n**power - n**power) / divisor * w
            curvature = (new_n**power + beta) / divisor + 2 * l2
            new_w = (jnp.clip(new_z, -l1, l1) - new_z) / curvature
            change = jnp.where(is_moving, new_w - w, jnp.zeros_like(w))
            return change, jnp.where(is_moving, new_n, n), jnp.where(is_moving, new_z, z)

        steps = jax.tree.map(step, gradients, state.accumulator, state.linear, parameters)
        outer, inner = jax.tree.structure(gradients), jax.tree.structure((0, 0, 0))
        changes, accumulator, linear = jax.tree.transpose(outer, inner, steps)
        return changes, FtrlState(accumulator, linear)

    return optax.GradientTransformation(init, update)


def lars(
    learning_rate: Annotated[Scalar, Range(0)],
    weight_decay: Annotated[Scalar, Range(0)] = 0.0,
    trust_coefficient: Annotated[Scalar, Range(0, math.inf, "()")] = 0.001,
    eps: Annotated[Scalar, Range(0)] = 0.0,
    momentum: Annotated[Scalar, Range(0, 1, "[)")] = 0.9,
    nesterov: bool = False,
    mask: Any = None,
) -> optax.GradientTransformation:
    """LARS: momentum with a rate for each kernel and embedding, in proportion to its norm.

    With gradient g, parameter w and its velocity v, where |w| and |g + weight_decay w| are not 0:
        ratio = trust_coefficient |w| / (|g + weight_decay w| + eps)     of a kernel or an embedding; else 1
        v' = momentum v + learning_rate ratio (g + weight_decay w)
        w' = w - v'
    Biases and the scales of normalizations have the ratio 1, as in the code of SimCLR, MLPerf and timm, unlike in
    `optax.lars`: their norm, often 0 at first, tells nothing about the size of a step.

    Args:
        learning_rate: 0 or more.
        weight_decay: strength of the weight decay, which is added to the gradient.
        trust_coefficient: factor of the ratio, above 0.
        eps: added to the norm of the gradient.
        momentum: decay of the velocity.
        nesterov: whether to use Nesterov momentum.
        mask: a function of the parameters that returns which of them decay. None: all.

    References:
        You et al., 2017: Large batch training of convolutional networks.
    """
    return optax.lars(
        learning_rate,
        weight_decay=weight_decay,
        weight_decay_mask=True if mask is None else mask,
        trust_coefficient=trust_coefficient,
        eps=eps,
        trust_ratio_mask=_find_weights,
        momentum=momentum,
        nesterov=nesterov,
    )


def _find_weights(parameters: Any) -> Any:
    """A tree that tells which parameters are kernels and embeddings."""
    return jax.tree_util.tree_map_with_path(
        lambda keys, _: matches_any(WEIGHTS, jax.tree_util.keystr(keys, simple=True, separator="/")), parameters
    )


def muon(
    learning_rate: Annotated[Scalar, Range(0)],
    beta: Annotated[Scalar, Range(0, 1, "[)")] = 0.95,
    eps: Annotated[Scalar, Range(0)] = 1e-8,
    weight_decay: Annotated[Scalar, Range(0)] = 0.0,
    consistent_rms: Annotated[Scalar, Range(0, math.inf, "()")] | None = None,
    adam_factor: Annotated[Scalar, Range(0)] = 1.0,
    adam_b1: Annotated[Scalar, Range(0, 1, "[)")] = 0.9,
    adam_b2: Annotated[Scalar, Range(0, 1, "[)")] = 0.999,
    adam_paths: tuple[str, ...] | None = None,
    ns_steps: Annotated[int, Range(1, 100)] = 5,
    nesterov: bool = True,
    mask: Any = None,
) -> optax.GradientTransformation:
    """Muon for the hidden kernels, and Adam for all other parameters.

    The momentum of a kernel is made nearly orthogonal by Newton-Schulz iterations. That of a convolution is a matrix
    with a column for each output channel, unlike in `optax.contrib.muon`, where Adam trains convolutions.

    Args:
        learning_rate: 0 or more.
        beta: decay of the momentum.
        eps: added to the norm of the momentum, and to Adam's denominator.
        weight_decay: strength of the decoupled weight decay, times learning_rate.
        consistent_rms: if given, steps have the root mean square of this number, such as 0.2, which is about Adam's.
            None: they are scaled by sqrt(max(1, outputs / inputs)).
        adam_factor: Adam's learning rate as a multiple of learning_rate.
        adam_b1: decay of Adam's first moment.
        adam_b2: decay of Adam's second moment.
        adam_paths: patterns of kernels that Adam trains. None: embeddings and the head.
        ns_steps: the number of Newton-Schulz iterations.
        nesterov: whether both use Nesterov momentum.
        mask: a function of the parameters that returns which of them decay. None: all.

    References:
        Jordan et al., 2024: Muon: an optimizer for hidden layers in neural networks.
        Liu et al., 2025: Muon is scalable for LLM training.
    """
    rate = jnp.asarray(learning_rate, jnp.float32)
    optimizer = contrib.muon(
        learning_rate,
        ns_steps=ns_steps,
        beta=beta,
        eps=eps,
        nesterov=nesterov,
        adam_b1=adam_b1,
        adam_b2=adam_b2,
        adam_learning_rate=adam_factor * rate,
        muon_weight_dimension_numbers=lambda tree: _find_matrices(tree, adam_paths),
        consistent_rms=consistent_rms,
    )
    chain = optax.chain(optimizer, optax.add_decayed_weights(-rate * weight_decay, mask))

    def init(parameters: Any) -> optax.OptState:
        if adam_paths is not None:  # `_find_matrices` also gets parts of the tree
            check_patterns(adam_paths, [path for path, _ in leaves_with_paths(parameters)], "adam_paths")
        return chain.init(parameters)

    return optax.GradientTransformation(init, chain.update)


def _find_matrices(parameters: Any, adam_paths: tuple[str, ...] | None) -> Any:
    """A tree with the axes of each kernel that Muon trains, and None for all other parameters."""
    others = (*EMBEDDINGS, HEAD) if adam_paths is None else adam_paths
    kinds = {
        path: matches_any(WEIGHTS, path) and not matches_any(others, path) for path, _ in leaves_with_paths(parameters)
    }

    def find_axes(keys: Any, leaf: jax.Array) -> Any:
        is_matrix = leaf.ndim > 1 and kinds[jax.tree_util.keystr(keys, simple=True, separator="/")]
        return contrib.MuonDimensionNumbers((*range(leaf.ndim - 1),), leaf.ndim - 1) if is_matrix else None

    return jax.tree_util.tree_map_with_path(find_axes, parameters)


def sophia(
    learning_rate: Annotated[Scalar, Range(0)],
    b1: Annotated[Scalar, Range(0, 1, "[)")] = 0.965,
    b2: Annotated[Scalar, Range(0, 1, "[)")] = 0.99,
    eps: Annotated[Scalar, Range(0, math.inf, "()")] = 1e-8,
    gamma: Annotated[Scalar, Range(0)] = 0.01,
    clip_threshold: Annotated[Scalar, Range(0, math.inf, "()")] = 1.0,
    weight_decay: Annotated[Scalar, Range(0)] = 1e-4,
    update_interval: Annotated[int, Range(1, 2**31 - 1)] = 10,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Sophia: a momentum over a diagonal of the Hessian, which Hutchinson's estimator finds every few steps.

    With gradient g, parameter w, the diagonal h of the Hessian and the step t = 1, 2, …:
        m' = b1 m + (1 - b1) g
        w' = w - learning_rate (clip(m' / (1 - b1^t) / max(gamma h, eps), -clip_threshold, clip_threshold)
                                + weight_decay w)
        h' = b2 h + (1 - b2) u * Hu     with random signs u, in the first step and then every `update_interval` steps
    This is `optax.contrib.sophia`, with products Hu that need no derivatives in forward mode.

    Args:
        learning_rate: 0 or more.
        b1: decay of the momentum.
        b2: decay of the diagonal.
        eps: the smallest value of gamma h, above 0.
        gamma: factor of the diagonal. A larger one clips fewer steps.
        clip_threshold: the largest step of a parameter, as a multiple of learning_rate.
        weight_decay: strength of the decoupled weight decay.
        update_interval: the number of steps between two estimates of the Hessian.
        mask: a function of the parameters that returns which of them decay. None: all.

    References:
        Liu et al., 2023: Sophia: a scalable stochastic second-order optimizer for language model pre-training.
    """
    return contrib.sophia(
        learning_rate,
        b1=b1,
        b2=b2,
        eps=eps,
        weight_decay=weight_decay,
        weight_decay_mask=mask,
        gamma=gamma,
        clip_threshold=clip_threshold,
        update_interval=update_interval,
        hessian_diagonal_fn=_estimate_hessian_diagonal(),
    )


def _estimate_hessian_diagonal() -> optax.GradientTransformationExtraArgs:
    """Hutchinson's estimator u * Hu of the diagonal of the Hessian. Its state counts the estimates."""

    def init(parameters: Any) -> jax.Array:
        return jnp.zeros((), jnp.int32)

    def update(
        gradients: Any, count: jax.Array, params: Any = None, *, value_fn: Callable[[Any], jax.Array], **_: Any
    ) -> tuple[Any, jax.Array]:
        key = jax.random.fold_in(jax.random.key(0), count)
        signs = optax.tree.random_like(key, params, jax.random.rademacher, dtype=jnp.float32)
        products = jax.grad(lambda tree: optax.tree.vdot(jax.grad(value_fn)(tree), signs))(params)
        return jax.tree.map(jnp.multiply, products, signs), count + 1

    return optax.GradientTransformationExtraArgs(init, update)
