"""Every parameter of every part changes something: the traced program, what the part computes, or an error.

The parameters are found in the signatures of the options of `conf/` and of the layers, so that a new one needs no
change here. Each gets other values that its type hint allows, until one changes what is observed of the part. `CONTEXT`
has what a parameter needs to have an effect. Parts are traced at tiny shapes, and nothing is compiled.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import options, replace_rate
from parameter_effects import TEXTS, USER_ERROR, describe, find_effect

import components.architecture
import components.layer
from components.types import (
    AveragesSets,
    Batch,
    BindsTargets,
    Clock,
    DecayingRates,
    FreezesInTurns,
    Output,
    PixelRange,
    TargetSpec,
    UserError,
)
from runner.signature.build import ScalarSlot, build
from runner.signature.parameters import REST, Parameter, read_signature
from runner.signature.schema import FILLED_IN, SCHEMA
from runner.signature.type_hints import find_problems, takes_scalar

KERNEL = jnp.linspace(-2.0, 3.0, 12).reshape(3, 4)
PARAMETERS = {"architecture": {"dense_0": {"kernel": KERNEL, "bias": KERNEL[0]}, "head": {"kernel": KERNEL.T}}}
PATHS = ("architecture/dense_0/kernel", "architecture/dense_0/bias", "architecture/head/kernel")
CLOCKS = [Clock(step, 40, 10) for step in (0, 1, 7, 25, 39)]
SPECS = (
    TargetSpec("classes", (), ("a", "b", "c"), lambda values: values),
    TargetSpec("real", (3,), None, lambda values: 2 * values),
    TargetSpec("classes", (), ("a", "b"), lambda values: values),
    TargetSpec("multilabel", (3,), ("a", "b", "c"), lambda values: values),
)
IMAGES = jax.random.uniform(jax.random.key(0), (4, 6, 6, 3))


def observe(kind: str, node: Mapping[str, Any]) -> Iterator[str]:
    """What is observed of a part, one description after another, from the cheapest to the dearest."""
    hint = SCHEMA["optimizer"] if kind == "optimizer" else Any  # an optimizer is built by its call
    try:
        part = build(dict(node), {}, hint, **({"outputs": 10} if kind == "architecture" else {}))
    except UserError as error:
        yield f"{USER_ERROR}{error}"
        return
    yield from OBSERVERS[kind](part)


def observe_module(part: nn.Module) -> Iterator[str]:
    inputs = INPUTS.get(type(part).__name__, (IMAGES,))

    def run(*inputs: Any, train: bool) -> Any:
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return part.init_with_output(keys, *inputs, train=train)

    yield describe(lambda *inputs: run(*inputs, train=False), *inputs)
    yield describe(lambda *inputs: run(*inputs, train=True), *inputs)
    try:
        variables = jax.eval_shape(lambda *inputs: run(*inputs, train=True)[1], *inputs)
    except UserError:
        return
    yield describe(
        lambda variables, *inputs: part.apply(
            variables, *inputs, train=True, mutable=["batch_stats"], rngs={"dropout": jax.random.key(1)}
        ),
        variables,
        *inputs,
    )


def make_batches() -> Iterator[tuple[TargetSpec, Output, Batch]]:
    """A batch and the output of a network for each kind of target."""
    for spec in SPECS:
        logits = jax.random.normal(jax.random.key(1), (4, 1 if spec.classes == ("a", "b") else 3))
        target = jnp.array([[1, 0, 1], [0, 1, 1], [0, 0, 0], [1, 1, 1]])
        if spec.kind != "multilabel":
            target = logits + 1 if spec.kind == "real" else jnp.array([0, 1, 1, spec.outputs - 1])
        batch = Batch(
            {"image": IMAGES}, {"target": target}, {}, None, jnp.ones(4, bool), teacher={"target": 2 * logits}
        )
        names = ["reconstruction_error", "first", "second", *TEXTS]
        features = {name: jnp.arange(4.0) * (1 + index) for index, name in enumerate(names)}
        yield spec, Output(logits, features=features), batch


def observe_loss(part: Any) -> Iterator[str]:
    for spec, output, batch in make_batches():
        try:
            part.outputs(spec)
        except UserError:
            continue
        takes_output = "output" in inspect.signature(part).parameters
        yield describe(part, *((output, batch) if takes_output else (output.logits, batch.target)))


def observe_metric(part: Any) -> Iterator[str]:
    for spec, output, batch in make_batches():
        try:
            bound = part.bind(spec)
        except UserError as error:
            yield f"{USER_ERROR}{error}"
            continue
        yield describe(bound.measure, output, batch)
        yield str(bound.result({name: np.asarray(value) for name, value in bound.measure(output, batch).items()}))


def observe_optimizer(part: Any) -> Iterator[str]:
    import optax

    optimizer = optax.with_extra_args_support(part(learning_rate=0.1))

    def objective(tree: Any) -> jax.Array:
        return sum(jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves(tree))

    def step(tree: Any) -> Any:
        extra = {"value": objective(tree), "grad": tree, "value_fn": objective}
        return optimizer.update(tree, optimizer.init(tree), tree, **extra)

    with jax.numpy_dtype_promotion("standard"):  # numbers of the configuration are arrays in the program
        yield describe(step, PARAMETERS)


def observe_schedule(part: Any) -> Iterator[str]:
    yield repr(part.plateau)
    yield str([{name: float(number) for name, number in part.at(clock).items()} for clock in CLOCKS])


def observe_step(part: Any) -> Iterator[str]:
    yield describe(
        lambda tree: part(lambda p: (jnp.square(p["architecture"]["head"]["kernel"]).sum(), 0), tree), PARAMETERS
    )


def observe_augmentation(part: Any) -> Iterator[str]:
    spec, _, batch = next(make_batches())
    pixels = {"image": PixelRange(jnp.zeros(1), jnp.ones(1), jnp.ones(3) / 3)}
    pictures = {} if getattr(part, "keeps_targets", False) else {"picture": IMAGES}
    batch = batch._replace(targets={**batch.targets, **pictures}, pixels=pixels)
    bound = part.bind({"target": spec})[0] if isinstance(part, BindsTargets) else part
    yield repr(getattr(part, "evaluates", None))
    yield describe(lambda images: bound(jax.random.key(0), batch._replace(inputs={"image": images})), IMAGES)


def observe_update(part: Any) -> Iterator[str]:
    variables = {"params": PARAMETERS}
    for method in ("freezes", "decays", "assign"):
        if hasattr(part, method):
            try:
                yield repr(sorted(getattr(part, method)(PATHS)))
            except UserError as error:
                yield f"{USER_ERROR}{error}"
    if hasattr(part, "before"):
        import optax

        yield describe(lambda tree: (chain := part.before(optax.sgd(0.1))).update(tree, chain.init(tree)), PARAMETERS)
    if hasattr(part, "before_evaluation"):
        yield describe(lambda tree: part.before_evaluation({"params": tree}), PARAMETERS)
    if isinstance(part, AveragesSets):
        yield str([[float(number) for number in part.due_steps(clock)] for clock in CLOCKS])
        yield repr(part.batches)
    elif hasattr(part, "after"):
        yield describe(lambda tree: part.after({"params": tree}, variables, jnp.int32(3)), PARAMETERS)
    if isinstance(part, DecayingRates):
        yield str([float(part.factor(depth)) for depth in part.depths(PATHS).values()])
    if isinstance(part, FreezesInTurns):
        yield repr(sorted(part.assign_turns(PATHS).items()))
    yield repr(getattr(part, "until", None))


OBSERVERS: dict[str, Any] = {
    "loss": observe_loss,
    "metric": observe_metric,
    "optimizer": observe_optimizer,
    "schedule": observe_schedule,
    "step": observe_step,
    "augmentation": observe_augmentation,
    "update": observe_update,
    "regularizer": lambda part: iter([describe(part, PARAMETERS)]),
    "constraint": lambda part: iter([describe(part, PARAMETERS)]),
    "layer": observe_module,
    "architecture": observe_module,
}


def layer(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"components.layer.{name}", **arguments}


MSE = {"_target_": "components.loss.MSE"}
STAGE = "components.architecture.block.inverted_residual.MobileStage"
STAGES = [{"_target_": STAGE, "channels": 8, "expansions": [1, 2], "excite": True, "stride": 2}]
CONV = layer("Conv", features=2, kernel=3)
BASES: dict[str, dict[str, Any]] = {
    "weighted_sum": {"terms": {"mse": {"loss": MSE}}},
    **{name: {"k": 1} for name in ("top_k", "top_k_error")},
    **{name: {"target_fill": 0.3} for name in ("affine", "crop", "elastic")},
    "AlphaDropout": {"rate": 0.5},
    "Activation": {"function": "relu"},
    "AveragePool": {"window": 3},
    "Branches": {"branches": [[CONV], [CONV]]},
    "Conv": {"features": 4, "kernel": 3},
    "Conv1D": {"features": 4, "kernel": 3},
    "ConvNorm": {"features": 4, "kernel": 3},
    "Dense": {"features": 4},
    "DepthwiseConv": {"kernel": 3},
    "DepthwiseMaxPool": {"window": 1},
    "Dropout": {"rate": 0.5},
    "GaussianDropout": {"rate": 0.5},
    "GaussianNoise": {"std": 0.5},
    "GroupNorm": {"groups": 3},
    "Inception": {"one": 2, "three_reduce": 2, "three": 4, "five_reduce": 2, "five": 2, "pool": 2},
    "MaxPool": {"window": 3},
    "Repeat": {"layers": [CONV], "times": 2},
    "Residual": {"layers": [CONV]},
    "SeparableConv": {"features": 4, "kernel": 3},
    "StochasticDepth": {"rate": 0.5},
    "AlexNet": {"convolutions": [4, 8, 4, 4, 4], "dense": [6]},
    "ConvNeXt": {"depths": [1, 1], "widths": [4, 8], "stochastic_depth": 0.1},
    "DenseNet": {"depths": [1, 1], "growth": 2},
    "FashionCNN": {"width": 0.1},
    "GoogLeNet": {"width": 0.1},
    "ImageColumns": {"widths": [4]},
    "InceptionResNet": {"version": "v1", "depths": [1, 1, 1], "width": 0.1},
    "InceptionV3": {"width": 0.1},
    "InceptionV4": {"depths": [1, 1, 1], "width": 0.1},
    "MLP": {"widths": [4]},
    "MobileNet": {"stages": STAGES, "stem": 8, "top": 8, "dense": 8},
    "ReconstructingRegressor": {"widths": [4]},
    "ResNet": {"block": "bottleneck", "depths": [1, 2], "widths": [4, 8], "stem": [4]},
    "Sequential": {"layers": [CONV, layer("Flatten")]},
    "Siamese": {"tower": {"_target_": "components.architecture.MLP", "widths": [4]}, "widths": [3]},
    "VGG": {"depths": [1, 1], "widths": [4, 8], "dense": [6]},
    "WeightNorm": {"layer": CONV},
    "WideDeep": {"widths": [4]},
    "WideSequential": {"layers": [layer("Dense", features=4)]},
    "Xception": {"width": 0.1, "depth": 1},
}
"""The arguments of the parts that need some, or that are small with them."""
BATCH_NORM_NAMES = ("GoogLeNet", "Inception", "VGG")
CONTEXT: dict[str, dict[str, Any]] = {
    "adafactor.dtype_momentum": {"momentum": 0.9},
    "adafactor.factored": {"min_dim_size_to_factor": 2},
    "adafactor.weight_decay_mask": {"weight_decay_rate": 0.1},
    "lars.mask": {"weight_decay": 0.1},
    "exponential.staircase": {"decay_steps": 0.1},
    **{key: {"momentum": 0.9} for key in ("sgd.nesterov", "sgd.accumulator_dtype", "rmsprop.nesterov")},
    **{key: {"features": 6} for key in ("Conv.groups", "ConvNorm.groups")},
    **{f"{name}.{key}": {"batch_norm": True} for name in BATCH_NORM_NAMES for key in ("momentum", "epsilon")},
    "piecewise_constant.values": {"learning_rate": None, "values": [1.0, 0.1, 0.01]},
    "piecewise_constant.factors": {"factors": [1.0, 0.1, 0.01]},
    "MobileNet.narrow": {"width": 0.5, "dense": 32},
    **{key: {"stride": 2} for key in ("AveragePool.ceil_mode", "MaxPool.ceil_mode")},
}
"""The arguments with which a parameter has an effect, if it has none with the others of its part."""
ERRORS = {"Sequential.head"}  # the other values need other layers, which an error says
VALUES: dict[str, list[Any]] = {
    "lbfgs.linesearch": [None],
    "muon.adam_paths": [["**"]],
    **{key: ["bfloat16"] for key in ("adam.mu_dtype", "adamw.mu_dtype", "nadam.mu_dtype", "sgd.accumulator_dtype")},
    "adamw.mask": [False],
    "lars.mask": [False],
    **{f"{name}.positive": ["a"] for name in options("metric")},
    **{f"{name}.axis": [[0, 1]] for name in ("max_norm", "min_max_norm", "unit_norm")},
    "GroupNorm.groups": [1],
    "freeze.turns": [{"top": {"paths": ["**/bias"], "until": "1ep"}}],
    "weighted_sum.terms": [{"mse": {"loss": MSE, "weight": 0.5}}],
    "Siamese.tower": [{"_target_": "components.architecture.MLP", "widths": [5]}],
    "join.schedules": [[{"_target_": "components.schedule.constant", "learning_rate": rate} for rate in (0.1, 0.2)]],
    "WeightNorm.layer": [layer("Conv", features=3, kernel=1)],
    "Residual.shortcut": [[layer("Conv", features=2, kernel=1)]],
}
"""Values of the parameters whose type hints don't say which are allowed."""
INPUTS: dict[str, Any] = {
    "Dense": (jnp.ones((2, 4)),),
    "Conv1D": (jnp.ones((2, 9, 4)),),
    "AlexNet": (jnp.ones((2, 72, 72, 3)),),
    "InceptionResNet": (jnp.ones((2, 75, 75, 3)),),
    "InceptionV3": (jnp.ones((2, 299, 299, 3)),),
    "InceptionV4": (jnp.ones((2, 75, 75, 3)),),
    "GoogLeNet": (jnp.ones((2, 65, 65, 3)),),
    "ImageColumns": (jnp.ones((2, 9, 9, 3)), jnp.ones((2, 4))),
    "Siamese": (jnp.ones((2, 2, 5)),),
    **dict.fromkeys(["WideDeep", "WideSequential"], (jnp.ones((2, 4)), jnp.ones((2, 4)))),
    **dict.fromkeys(["ConvNeXt", "DenseNet", "FashionCNN", "Sequential", "VGG"], (jnp.ones((2, 9, 9, 3)),)),
    **dict.fromkeys(["MobileNet", "ResNet", "Xception"], (jnp.ones((2, 16, 16, 3)),)),
}


def list_parts() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The kind, the name and the arguments of each part: of layers and architectures each class, else each option."""
    for name, part in vars(components.layer).items():
        if isinstance(part, type) and issubclass(part, nn.Module):
            yield "layer", name, layer(name)
    for kind in sorted(OBSERVERS.keys() - {"layer", "architecture"}):
        for option, node in options(kind).items():
            yield kind, option, replace_rate(node, 0.3)
    names = {name for name, part in vars(components.architecture).items() if isinstance(part, type)}
    for name in sorted(names - {"HiddenLayers"}):
        if "outputs" in (read_signature(f"components.architecture.{name}") or {}):
            yield "architecture", name, {"_target_": f"components.architecture.{name}"}


def list_parameters() -> Iterator[Any]:
    for kind, name, node in list_parts():
        for key, parameter in (read_signature(node["_target_"]) or {}).items():
            if key != REST and key not in FILLED_IN.get(kind, {}):
                slow = [pytest.mark.slow] * (kind == "architecture")  # they take 100 seconds in all
                yield pytest.param(kind, name, node, key, parameter, id=f"{kind}-{name}.{key}", marks=slow)


@functools.cache
def observe_base(kind: str, node: str) -> list[str]:
    found = list(observe(kind, json.loads(node)))
    assert found, node
    assert not all(description.startswith(USER_ERROR) for description in found), found
    return found


def list_numbers(node: dict[str, Any]) -> dict[str, float]:
    """A value of each parameter of a part that is a `Scalar`."""
    parameters = {key: each.hint for key, each in (read_signature(node["_target_"]) or {}).items()}
    scalars = {key: hint for key, hint in parameters.items() if takes_scalar(hint)}
    return {
        key: next(guess for guess in (0.3, -0.3) if not find_problems(guess, hint, key))
        for key, hint in scalars.items()
    }


MODULES = [
    pytest.param(name, node, id=f"{kind}-{name}", marks=[pytest.mark.slow] * (kind == "architecture"))
    for kind, name, node in list_parts()
    if kind in ("layer", "architecture") and list_numbers(node)
]


@pytest.mark.parametrize(("name", "node"), MODULES)
def test_a_changed_number_of_a_layer_or_network_recompiles_nothing(name: str, node: dict[str, Any]) -> None:
    values = list_numbers(node)
    arguments = node | BASES.get(name, {}) | {key: ScalarSlot(key) for key in values}
    outputs = {"outputs": 10} if name in vars(components.architecture) else {}
    inputs, traces = INPUTS.get(name, (IMAGES,)), []

    @jax.jit
    def run(numbers: Any) -> Any:
        traces.append(numbers)
        part = build(arguments, numbers, **outputs)
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return [part.init_with_output(keys, *inputs, train=train)[1] for train in (True, False)]

    for factor in (1, 0.5):
        jax.eval_shape(run, {key: jnp.float32(factor * value) for key, value in values.items()})
    assert len(traces) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "node"),
    [pytest.param(*part, id="-".join(part[:2])) for part in list_parts()],
)
def test_what_is_observed_is_always_the_same(kind: str, name: str, node: dict[str, Any]) -> None:
    base = node | BASES.get(name, {})
    assert list(observe(kind, base)) == observe_base(kind, json.dumps(base))


PARAMETERS_OF_PARTS = list(list_parameters())


@pytest.mark.parametrize(("kind", "name", "node", "key", "parameter"), PARAMETERS_OF_PARTS)
def test_a_parameter_has_an_effect(kind: str, name: str, node: dict[str, Any], key: str, parameter: Parameter) -> None:
    base = node | BASES.get(name, {}) | CONTEXT.get(f"{name}.{key}", {})
    before = observe_base(kind, json.dumps(base))
    values = VALUES.get(f"{name}.{key}")
    errors = find_effect(functools.partial(observe, kind), base, before, key, parameter, values)
    assert errors is None or (errors and f"{name}.{key}" in ERRORS), f"{name} ignores {key}, or has no values. {errors}"
