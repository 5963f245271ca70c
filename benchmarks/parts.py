"""Losses, optimizers, schedules, layers and metrics against those of Optax and Flax that compute the same.

    python benchmarks/parts.py [rounds] [part of a case's name ...]
    smallest: 1 mse one_cycle RMSNorm muon accuracy

Each case has two functions of the same arguments: a part of ours, and its counterpart. A loss and a layer are measured
with their gradients, an optimizer by its update, a schedule at one step. Before they are timed, their results
are compared. Options of `optimizer` that name a function of Optax itself are not listed: nothing of ours is in them.

Prints for each case a line of JSON: `flops` and `bytes`, by XLA's cost analysis those of ours divided by those of the
reference, and `speed`, the median over the rounds of the reference's time divided by ours. Both alternate, so that a
busy machine slows both.
A line ends with `"more": true` if ours needs more operations or bytes, and with `"slower": true` if it is not 0.95
times as fast. A schedule computes one number in a step, so only its time counts. Normalizations of Flax compute the
variance as ours do (`use_fast_variance=False`): its default subtracts two large numbers if the mean is large.
On a busy machine, `chrt -f 50 python benchmarks/parts.py` keeps other processes away from the measurement.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.timing import parse_arguments, time_variants
from components import layer, loss, metric, optimizer, schedule
from components.types import Batch, Clock, Duration, Output, TargetSpec

ROWS, CLASSES, WIDTH, STEPS = 4096, 32, 256, 50_000
MIN_SECONDS = 0.01  # of a sample, which is many calls of a fast function
MIN_SPEED, MAX_COST, TOLERANCE = 0.95, 1.02, 1e-4
KEY = jax.random.key(0)


class Case(NamedTuple):
    """A part of ours and its counterpart.

    Attributes:
        name: their name.
        ours: a function.
        reference: a function of the same arguments, with the same results.
        arguments: the arguments.
    """

    name: str
    ours: Callable[..., Any]
    reference: Callable[..., Any]
    arguments: tuple[Any, ...]


def main() -> None:
    rounds, *names = parse_arguments(int) or [20]
    for case in list_cases():
        if not names or any(name in case.name for name in names):
            print(json.dumps(compare(case, rounds)), flush=True)


def compare(case: Case, rounds: int) -> dict[str, Any]:
    """The figures of a case. Raises AssertionError if the results differ."""
    compiled = [jax.jit(function).lower(*case.arguments).compile() for function in (case.ours, case.reference)]
    results = [jax.tree.leaves(function(*case.arguments)) for function in compiled]
    for ours, reference in zip(*results, strict=True):
        atol = TOLERANCE * float(jnp.abs(reference).max()) + 1e-12
        np.testing.assert_allclose(ours, reference, rtol=0, atol=atol, err_msg=case.name)
    costs = [function.cost_analysis() or {} for function in compiled]
    flops, size = (_divide(*(cost.get(key, 0.0) for cost in costs)) for key in ("flops", "bytes accessed"))
    calls = _count_calls(partial(compiled[1], *case.arguments))
    variants = {index: partial(_repeat, function, case.arguments, calls) for index, function in enumerate(compiled)}
    seconds = time_variants(variants, rounds)
    speed = statistics.median(reference / ours for ours, reference in zip(seconds[0], seconds[1], strict=True))
    flags = {"more": max(flops, size) > MAX_COST and "schedule" not in case.name, "slower": speed < MIN_SPEED}
    figures = {"flops": round(flops, 3), "bytes": round(size, 3), "speed": round(speed, 3)}
    milliseconds = round(1000 * statistics.median(seconds[0]) / calls, 4)
    return {"case": case.name, **figures, "milliseconds": milliseconds} | {
        flag: True for flag, is_set in flags.items() if is_set
    }


def _divide(ours: float, reference: float) -> float:
    return ours / reference if reference else float(ours > 0) + 1


def _repeat(function: Callable[..., Any], arguments: tuple[Any, ...], calls: int) -> None:
    result = None
    for _ in range(calls):
        result = function(*arguments)
    jax.block_until_ready(result)


def _count_calls(call: Callable[[], Any]) -> int:
    """The number of calls that take about `MIN_SECONDS`."""
    seconds = time_variants({0: lambda: jax.block_until_ready(call())}, 3)[0]
    return max(1, round(MIN_SECONDS / min(seconds)))


def list_cases() -> Iterator[Case]:
    for name, ours, reference in list_losses():
        logits, target = make_examples(name)
        yield Case(f"loss {name}", *(_with_gradient(function) for function in (ours, reference)), (logits, target))
    yield from list_optimizers()
    for name, ours, reference in list_schedules():
        yield Case(f"schedule {name}", _rate_at(ours), reference, (jnp.int32(STEPS // 3),))
    for name, (ours, reference), shape in list_layers():
        yield make_layer_case(f"layer {name}", ours, reference, shape)
    yield from list_metrics()


def make_examples(name: str) -> tuple[jax.Array, jax.Array]:
    """Logits and targets for a loss: of one class, of two classes (`binary …`), or of numbers (`numbers …`)."""
    kind = name.partition(" ")[0]
    logits = jax.random.normal(KEY, (ROWS, 1 if kind == "binary" else CLASSES))
    if kind == "numbers":
        return logits, jax.random.normal(jax.random.key(1), logits.shape)
    return logits, jax.random.randint(jax.random.key(1), (ROWS,), 0, 2 if kind == "binary" else CLASSES)


def _with_gradient(function: Callable[..., jax.Array]) -> Callable[..., Any]:
    """The losses, and the gradient of their mean with respect to the logits."""

    def call(logits: jax.Array, target: jax.Array) -> Any:
        def mean(logits: jax.Array) -> Any:
            losses = function(logits, target)
            return losses.mean(), losses

        (_, losses), gradient = jax.value_and_grad(mean, has_aux=True)(logits)
        return losses, gradient

    return call


def list_losses() -> Iterator[tuple[str, Any, Any]]:
    def one_hot(target: jax.Array) -> jax.Array:
        return jax.nn.one_hot(target, CLASSES)

    def of_binary(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        return lambda logits, target: function(logits[:, 0], target.astype(jnp.float32))

    def of_numbers(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        return lambda logits, target: function(logits, target).mean(-1)

    smoothing = loss.SoftmaxCrossEntropy(label_smoothing=0.1)
    yield "softmax_cross_entropy", loss.SoftmaxCrossEntropy(), optax.softmax_cross_entropy_with_integer_labels
    yield (
        "softmax_cross_entropy, smoothed",
        smoothing,
        lambda x, y: optax.softmax_cross_entropy(x, optax.smooth_labels(one_hot(y), 0.1)),
    )
    yield "kl_divergence", loss.KLDivergence(), lambda x, y: optax.kl_divergence(jax.nn.log_softmax(x), one_hot(y))
    yield "categorical_hinge", loss.CategoricalHinge(), jax.vmap(optax.losses.multiclass_hinge_loss)
    yield "binary cross_entropy", loss.BinaryCrossEntropy(), of_binary(optax.sigmoid_binary_cross_entropy)
    yield "binary focal", loss.BinaryFocal(alpha=0.25), of_binary(partial(optax.sigmoid_focal_loss, alpha=0.25))
    yield "binary hinge", loss.Hinge(), of_binary(lambda x, y: optax.hinge_loss(x, 2 * y - 1))
    yield "numbers mse", loss.MSE(), of_numbers(optax.squared_error)
    yield "numbers huber", loss.Huber(), of_numbers(optax.huber_loss)
    yield "numbers log_cosh", loss.LogCosh(), of_numbers(optax.log_cosh)
    yield (
        "numbers cosine_similarity",
        loss.CosineSimilarity(),
        lambda x, y: -optax.cosine_similarity(x, y, epsilon=1e-6),
    )


def list_optimizers() -> Iterator[Case]:
    shapes = {"dense_0": (WIDTH, WIDTH), "dense_1": (WIDTH, 2 * WIDTH)}
    tree = {
        "architecture": {
            name: {"kernel": jax.random.normal(KEY, shape), "bias": jnp.zeros(shape[1:])}
            for name, shape in shapes.items()
        }
    }
    pairs = {"muon": (optimizer.muon(0.02), optax.contrib.muon(0.02))}
    for name, transformations in pairs.items():
        states = [transformation.init(tree) for transformation in transformations]

        def update(gradients: Any, parameters: Any, states: Any, number: int, both: Any = transformations) -> Any:
            return both[number].update(gradients, states[number], parameters)[0]

        ours, reference = (partial(update, number=number) for number in (0, 1))
        yield Case(f"optimizer {name}", ours, reference, (tree, tree, states))


def _rate_at(ours: Any) -> Callable[[jax.Array], jax.Array]:
    """The rate of a schedule of ours at a step of a run of `STEPS`."""

    def rate(step: jax.Array) -> jax.Array:
        return ours.at(Clock(step, jnp.int32(STEPS), jnp.int32(STEPS)))["learning_rate"]

    return rate


def list_schedules() -> Iterator[tuple[str, Any, Any]]:
    yield "constant", schedule.constant(0.1), optax.constant_schedule(jnp.float32(0.1))
    yield (
        "exponential",
        schedule.exponential(0.1, 0.5, decay_steps=Duration(1000, "step")),
        optax.exponential_decay(0.1, 1000, 0.5),
    )
    yield "linear", schedule.linear(0.1, initial=1.0, final=0.1), optax.linear_schedule(0.1, 0.01, STEPS)
    yield "polynomial", schedule.polynomial(0.1, power=2.0), optax.polynomial_schedule(0.1, 0.0, 2, STEPS)
    yield "cosine", schedule.cosine(0.1, warmup=Duration(0, "step")), optax.cosine_decay_schedule(0.1, STEPS)
    yield (
        "piecewise_constant",
        schedule.piecewise_constant(
            0.1, boundaries=(Duration(1000, "step"), Duration(2000, "step")), factors=(1.0, 0.5, 0.1)
        ),
        optax.piecewise_constant_schedule(0.1, {999: 0.5, 1999: 0.2}),
    )
    yield "one_cycle", schedule.one_cycle(0.1, momentum=None), optax.cosine_onecycle_schedule(STEPS, 0.1, 0.3, 25, 1e4)


def list_layers() -> Iterator[tuple[str, tuple[Any, Any], tuple[int, ...]]]:
    vectors, images, sequences = (512, WIDTH), (32, 16, 16, 64), (64, 128, 32)
    yield "Dense", (layer.Dense(WIDTH), nn.Dense(WIDTH)), vectors
    yield "Dense of sequences", (layer.Dense(64), nn.Dense(64)), sequences
    yield "Conv", (layer.Conv(64, 3), nn.Conv(64, (3, 3))), images
    yield "Conv 1 x 1", (layer.Conv(64, 1), nn.Conv(64, (1, 1))), images
    yield "Conv, stride 2", (layer.Conv(64, 3, 2), nn.Conv(64, (3, 3), 2)), images
    yield "Conv, 4 groups", (layer.Conv(64, 3, groups=4), nn.Conv(64, (3, 3), feature_group_count=4)), images
    yield "DepthwiseConv", (layer.DepthwiseConv(3), nn.Conv(64, (3, 3), feature_group_count=64)), images
    yield "Conv1D", (layer.Conv1D(64, 3), nn.Conv(64, (3,))), sequences
    yield "BatchNorm", (layer.BatchNorm(), nn.BatchNorm(epsilon=1e-3, use_fast_variance=False)), images
    yield "LayerNorm", (layer.LayerNorm(), nn.LayerNorm(use_fast_variance=False)), vectors
    yield "GroupNorm", (layer.GroupNorm(8), nn.GroupNorm(8, epsilon=1e-5, use_fast_variance=False)), images
    yield "RMSNorm", (layer.RMSNorm(), nn.RMSNorm()), vectors
    yield "MaxPool", (layer.MaxPool(2), partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))), images
    yield "AveragePool", (layer.AveragePool(2), partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2))), images


def make_layer_case(name: str, ours: nn.Module, reference: Any, shape: tuple[int, ...]) -> Case:
    """The outputs of a layer in training, its new statistics, and its gradients."""
    x = jax.random.normal(KEY, shape) * 2 + 1
    variables = jax.jit(partial(ours.init, train=True))(KEY, x)
    parameters = variables.get("params", {})
    statistics = jax.tree.map(jnp.copy, variables.get("batch_stats", {}))

    def run_ours(parameters: Any, statistics: Any, x: jax.Array) -> Any:
        given = {"params": parameters, "batch_stats": statistics}
        y, changed = ours.apply(given, x, train=True, mutable=["batch_stats"])
        return y, [changed.get("batch_stats", {}).get(key, 0) for key in ("mean", "variance")]

    def run_theirs(parameters: Any, statistics: Any, x: jax.Array) -> Any:
        if not isinstance(reference, nn.Module):
            return reference(x), [0, 0]
        own = {"mean": statistics["mean"], "var": statistics["variance"]} if statistics else {}
        options = {"use_running_average": False} if isinstance(reference, nn.BatchNorm) else {}
        y, changed = reference.apply({"params": parameters, "batch_stats": own}, x, mutable=["batch_stats"], **options)
        return y, [changed.get("batch_stats", {}).get(key, 0) for key in ("mean", "var")]

    def with_gradients(run: Callable[..., Any]) -> Callable[..., Any]:
        def objective(parameters: Any, statistics: Any, x: jax.Array) -> Any:
            y, changed = run(parameters, statistics, x)
            return jnp.sin(y).sum(), (y, changed)

        return jax.value_and_grad(objective, argnums=(0, 2), has_aux=True)

    return Case(name, with_gradients(run_ours), with_gradients(run_theirs), (parameters, statistics, x))


def list_metrics() -> Iterator[Case]:
    """Accuracy and the squared error against those of Flax NNX; Optax has no metrics."""
    classes = TargetSpec("classes", (), tuple(map(str, range(CLASSES))), lambda values: values)
    accuracy = metric.Accuracy().bind(classes)

    def ours(logits: jax.Array, target: jax.Array) -> Any:
        batch = Batch({}, {"target": target}, {}, None, jnp.ones(ROWS, bool))
        sums = accuracy.measure(Output(logits), batch)
        return sums["hits"] / sums["examples"]

    def reference(logits: jax.Array, target: jax.Array) -> Any:
        counted = nnx.metrics.Accuracy()
        counted.update(logits=logits, labels=target)
        return counted.compute()

    yield Case("metric accuracy", ours, reference, make_examples("softmax"))


if __name__ == "__main__":
    main()
