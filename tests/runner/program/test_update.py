"""The update set: its steps equal Optax's, changed numbers compile nothing, and frozen parameters cost nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimizers import list_optimizers
from options import options
from slow import slow_but
from step_session import BATCH, ROWS, STEPS, Session, batch_rows, images

from components.data import Arrays
from components.optimizer import ftrl
from components.types import UserError
from runner.config.check_update import FORGETTING
from runner.program.optimizer import find_schedule_free, is_joint
from runner.program.trees import carry_over
from runner.signature.build import build

BODY = "paths: [architecture/dense_0]"


def iterate_objectives() -> Iterator[Callable[[Any], Any]]:
    """For each step, the objective as a function of the parameters, written by hand."""
    columns = images().columns
    for step in itertools.count():
        rows = batch_rows(step)
        image = jnp.asarray(columns["image"][rows].reshape(BATCH, -1), jnp.float32) / 255
        label = jnp.asarray(columns["label"][rows])

        def loss(parameters: Any, image: Any = image, label: Any = label) -> jax.Array:
            layers = parameters["architecture"]
            hidden = jax.nn.relu(image @ layers["dense_0"]["kernel"] + layers["dense_0"]["bias"][None])
            logits = hidden @ layers["head"]["kernel"] + layers["head"]["bias"][None]
            return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

        yield loss


def reference(parameters: Any, optimizer: Any, count: int = STEPS) -> list[Any]:
    """The parameters after each step of an Optax optimizer."""
    optimizer = optax.with_extra_args_support(optimizer)
    state, history = optimizer.init(parameters), []
    for objective, _ in zip(iterate_objectives(), range(count), strict=False):
        value, gradients = jax.value_and_grad(objective)(getattr(parameters, "fast", parameters))
        extra = {"value": value, "grad": gradients, "value_fn": objective}
        updates, state = optimizer.update(gradients, state, parameters, **extra)
        parameters = optax.apply_updates(parameters, updates)
        history.append(parameters)
    return history


def paths_of(tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(
        lambda keys, _: jax.tree_util.keystr(keys, simple=True, separator="/"), tree
    )


def labels(tree: Any) -> Any:
    """The groups of the tests: `body` for the hidden layer, else `default`."""
    return jax.tree.map(lambda path: "body" if "dense_0" in path else "default", paths_of(tree))


def kernels(tree: Any) -> Any:
    return jax.tree.map(lambda path: path.endswith("/kernel"), paths_of(tree))


def biases(tree: Any) -> Any:
    return jax.tree.map(lambda path: path.endswith("/bias"), paths_of(tree))


def assert_close(found: Any, expected: Any, **tolerance: float) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **{"rtol": 1e-6, "atol": 1e-6, **tolerance}), found, expected
    )


def groups(**optimizers: Any) -> Any:
    return optax.partition(optimizers, labels)


OPTAX: dict[str, tuple[list[str], Any]] = {  # by case, the overrides and what Optax has for them
    "nothing": (["update=[]"], optax.sgd(0.1)),
    "clip_value": (
        ["update=[clip_value]", "update.clip_value.limit=0.02"],
        optax.chain(optax.clip(0.02), optax.sgd(0.1)),
    ),
    "clip_norm": (
        ["update=[clip_norm]", "update.clip_norm.limit=0.1"],
        optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)),
    ),
    "both clips": (
        ["update=[clip_norm,clip_value]", "update.clip_norm.limit=0.05", "update.clip_value.limit=0.02"],
        optax.chain(optax.clip(0.02), optax.clip_by_global_norm(0.05), optax.sgd(0.1)),
    ),
    "clip of momentum": (
        ["update=[clip_norm]", "update.clip_norm.limit=0.1", "optimizer.momentum=0.9"],
        optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1, momentum=0.9)),
    ),
    "groups, a rate": (
        ["update=[groups]", f"update.groups.body={{{BODY}, rate: 0.1}}", "optimizer.momentum=0.9"],
        groups(body=optax.sgd(0.01, momentum=0.9), default=optax.sgd(0.1, momentum=0.9)),
    ),
    "layer_decay": (
        ["update=[layer_decay]", "update.layer_decay.rate=0.2", "optimizer.momentum=0.9"],
        groups(body=optax.sgd(0.02, momentum=0.9), default=optax.sgd(0.1, momentum=0.9)),
    ),
    "layer_decay in a group": (
        ["update=[layer_decay,groups]", f"update.groups.body={{{BODY}, optimizer: sgd, rate: 0.5}}"],
        groups(body=optax.sgd(0.04), default=optax.sgd(0.1)),
    ),
    "groups, an optimizer": (
        [
            "update=[groups]",
            f"update.groups.body={{{BODY}, optimizer: {{_target_: components.optimizer.ftrl, l1: 0.01}}}}",
        ],
        groups(body=ftrl(0.1, l1=0.01), default=optax.sgd(0.1)),
    ),
    "groups, a schedule": (
        [
            "update=[groups]",
            f"update.groups.body={{{BODY}, rate: 0.5, "
            "schedule: {_target_: components.schedule.constant, learning_rate: 0.3}}",
        ],
        groups(body=optax.sgd(0.15), default=optax.sgd(0.1)),
    ),
    "a plateau, and a group with a schedule": (
        [
            *("schedule=reduce_on_plateau", "update=[groups]"),
            f"update.groups.body={{{BODY}, schedule: {{option: constant, learning_rate: 0.3}}}}",
        ],
        groups(body=optax.sgd(0.3), default=optax.sgd(0.05)),
    ),
    "a plateau, and a group without": (
        ["schedule=reduce_on_plateau", "update=[groups]", f"update.groups.body={{{BODY}, rate: 0.5}}"],
        groups(body=optax.sgd(0.025), default=optax.sgd(0.05)),
    ),
    "freeze": (["update=[freeze]"], groups(body=optax.set_to_zero(), default=optax.sgd(0.1))),
    "decay of kernels": (
        ["optimizer=adamw", "optimizer.weight_decay=0.1"],
        optax.adamw(0.1, weight_decay=0.1, mask=kernels),
    ),
    "decay of biases": (
        ["optimizer=adamw", "optimizer.weight_decay=0.1", "update=[decay]", "update.decay.paths=['**/bias']"],
        optax.adamw(0.1, weight_decay=0.1, mask=biases),
    ),
    "decay in groups": (
        [
            "update=[groups]",
            f"update.groups.body={{{BODY}, optimizer: {{_target_: optax.adamw, weight_decay: 0.1}}}}",
        ],
        groups(body=optax.adamw(0.1, weight_decay=0.1, mask=kernels), default=optax.sgd(0.1)),
    ),
    "novograd with a decay of kernels": (
        ["optimizer={_target_: optax.novograd, weight_decay: 0.1}"],
        optax.partition({True: optax.novograd(0.1, weight_decay=0.1), False: optax.novograd(0.1)}, kernels),
    ),
    "madgrad with a decay of kernels": (
        ["optimizer={_target_: optax.contrib.madgrad, weight_decay: 0.1}"],
        optax.partition({d: optax.contrib.madgrad(0.1, weight_decay=0.1 * d) for d in (True, False)}, kernels),
    ),
    "muon with a decay of biases": (
        [
            "optimizer={_target_: optax.contrib.muon, adam_weight_decay: 0.1}",
            *("update=[decay]", "update.decay.paths=[architecture/head]"),
        ],
        optax.partition(
            {d: optax.contrib.muon(0.1, adam_weight_decay=0.1 * d) for d in (True, False)},
            lambda tree: jax.tree.map(lambda path: "head" in path, paths_of(tree)),
        ),
    ),
    "skip_nonfinite": (["update=[skip_nonfinite]"], optax.sgd(0.1)),
}


QUICK = {"novograd with a decay of kernels", "layer_decay in a group"}


@pytest.mark.optax
@pytest.mark.parametrize("case", slow_but(QUICK, OPTAX))
def test_twenty_steps_equal_optax(case: str) -> None:
    words, optimizer = OPTAX[case]
    session = Session("optimizer=sgd", *words)
    *_, expected = reference(jax.device_get(session.state.parameters), optimizer)
    tolerance = {"atol": 1e-5} if "decay" in case else {}  # Adam amplifies the rounding of gradients near zero
    assert_close(session.step(STEPS, plateau=0.5).parameters, expected, **tolerance)


@pytest.mark.optax
def test_the_depth_follows_the_order_of_the_layers_and_not_of_their_names() -> None:
    """`dense_10` comes before `dense_2` in the alphabet."""
    session = Session(
        "optimizer=sgd", "optimizer.momentum=0.9", "update=[layer_decay]", f"architecture.widths={[2] * 11}"
    )
    for depth in range(1, 12):
        names = leaf_names(session.state.optimizer_state[f"default:{depth}"])
        assert names
        assert all(f"'dense_{11 - depth}'" in name for name in names)


@pytest.mark.optax
@pytest.mark.filterwarnings("ignore:`params` has to be:UserWarning")
def test_lookahead_equals_optax() -> None:
    session = Session(
        "optimizer=sgd", "update=[lookahead]", "update.lookahead.steps=3", "update.lookahead.step_size=0.7"
    )
    parameters = optax.LookaheadParams.init_synced(jax.device_get(session.state.parameters))
    optimizer = optax.lookahead(optax.sgd(0.1), sync_period=3, slow_step_size=0.7)
    *_, expected = reference(parameters, optimizer)
    found = session.step(STEPS)
    assert_close(found.parameters, expected.fast)
    assert_close(found.update_state["lookahead"]["params"], expected.slow)


@pytest.mark.optax
@pytest.mark.parametrize("warm_up", [True, False])
def test_the_average_equals_optax(warm_up: bool) -> None:
    session = Session("optimizer=sgd", "update=[ema]", "update.ema.decay=0.6", f"update.ema.warm_up={warm_up}".lower())
    average = initial = jax.device_get(session.state.parameters)
    for t, parameters in enumerate(reference(initial, optax.sgd(0.1))):
        decay = min(0.6, (1 + t) / (10 + t)) if warm_up else (0.6 if t else 0.0)
        average = optax.incremental_update(parameters, average, 1 - decay)
    state = session.step(STEPS)
    assert_close(session.trainer.program.evaluated_weights(session.inputs, state)[0], average)
    assert (
        np.abs(state.parameters["architecture"]["head"]["kernel"] - average["architecture"]["head"]["kernel"]).max()
        > 1e-3
    )


@pytest.mark.optax
@pytest.mark.slow
def test_lbfgs_takes_the_free_parameters_or_a_group_alone() -> None:
    """The line search varies these parameters. Optax's `partition` can't do this."""
    group = f"update.groups.body={{{BODY}, optimizer: {{_target_: optax.lbfgs}}}}"
    head = Session("optimizer=lbfgs", "update=[freeze]", "learning_rate=0.5").step(3)
    body = Session("optimizer=sgd", "update=[groups]", group, "learning_rate=0.5")
    start = jax.device_get(body.state.parameters)["architecture"]
    for changed, kept, end in (("head", "dense_0", head), ("dense_0", None, body.step(3))):
        assert (end.parameters["architecture"][changed]["kernel"] != start[changed]["kernel"]).any()
        if kept:
            np.testing.assert_array_equal(end.parameters["architecture"][kept]["kernel"], start[kept]["kernel"])
    assert not [name for name in leaf_names(body.state.optimizer_state["body"]) if "head" in name]


@pytest.mark.optax
def test_the_order_of_the_words_means_nothing() -> None:
    names = [name for name in options("update") if name not in ("groups", "swa")]  # swa excludes ema
    states = [
        Session("optimizer=adamw", f"update=[{','.join(order)}]", "update.clip_norm.limit=0.1").step(2)
        for order in (names, names[::-1])
    ]
    jax.tree.map(np.testing.assert_array_equal, *states)


def leaf_names(tree: Any) -> set[str]:
    return {jax.tree_util.keystr(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.optax
def test_frozen_parameters_have_no_optimizer_state_and_do_not_change() -> None:
    session = Session("optimizer=adam", "update=[freeze,clip_norm]", "constraint=[unit_norm]")
    start = jax.device_get(session.state.parameters)
    assert not [name for name in leaf_names(session.state.optimizer_state) if "dense_0" in name]
    assert [name for name in leaf_names(session.state.optimizer_state) if "head" in name]
    end = session.step(3).parameters
    jax.tree.map(np.testing.assert_array_equal, end["architecture"]["dense_0"], start["architecture"]["dense_0"])
    kernel = end["architecture"]["head"]["kernel"]
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 1, rtol=1e-5)  # the constraint holds for the others


@pytest.mark.optax
def test_unfreezing_keeps_the_state_of_the_optimizer() -> None:
    session = Session("optimizer=sgd", "optimizer.momentum=0.9", "update=[freeze,ema]", "update.freeze.until=1ep")
    frozen = session.step(3)
    session.state = session.trainer.program.unfreeze(session.inputs, session.state, ("",))
    unfrozen = jax.device_get(session.state)
    assert jax.tree.structure(unfrozen) == jax.tree.structure(session.trainer.later_shapes[0])
    trace = unfrozen.optimizer_state[0].trace["architecture"]
    jax.tree.map(np.testing.assert_array_equal, trace["head"], frozen.optimizer_state[0].trace["architecture"]["head"])
    assert not any(leaf.any() for leaf in jax.tree.leaves(trace["dense_0"]))
    others = [state._replace(optimizer_state=()) for state in (frozen, unfrozen)]
    jax.tree.map(np.testing.assert_array_equal, *others)
    after = session.step(1, unfrozen=True)
    assert (
        after.parameters["architecture"]["dense_0"]["kernel"] != frozen.parameters["architecture"]["dense_0"]["kernel"]
    ).any()


@pytest.mark.optax
def test_lbfgs_restarts_with_other_parameters_and_goes_on_with_the_same() -> None:
    """Its memory would hold the new parameters themselves as their change in the step before."""
    head, body = {"head": jnp.ones(2)}, {"body": jnp.ones(3)}
    optimizer = optax.scale_by_lbfgs(memory_size=2)
    states = {name: optimizer.init(tree) for name, tree in (("head", head), ("all", head | body))}
    trained = states["head"]._replace(count=jnp.int32(3), weights_memory=jnp.ones(2))
    for fresh, expected in ((states["all"], states["all"]), (states["head"], trained)):
        carried = carry_over((fresh, {"step": jnp.int32(0)}), (trained, {"step": jnp.int32(7)}), is_whole=is_joint)
        jax.tree.map(np.testing.assert_array_equal, carried, (expected, {"step": jnp.int32(7)}))


UNFROZEN = ("optax.contrib.acprop", "optax.contrib.galore", "optax.optimistic_gradient_descent")


@pytest.mark.optax
@pytest.mark.parametrize("target", slow_but(UNFROZEN, list_optimizers()))
def test_freed_parameters_move_as_far_as_at_the_start_of_a_training(target: str) -> None:
    """Three steps after 300 without them. Moments of 0 with an old counter would make them many times too long."""
    optimizer = optax.with_extra_args_support(build({"_target_": target}, {}, learning_rate=jnp.float32(0.1)))
    parameters = {
        name: {"kernel": jnp.linspace(low, 1.0, 12).reshape(4, 3)} for name, low in (("head", 0), ("body", -1))
    }

    def train(start: Any, state: Any, names: Sequence[str], count: int) -> Any:
        def objective(free: Any) -> jax.Array:
            moved = start | free
            return sum(((moved[name]["kernel"] * (1 + i) - 3) ** 2).mean() for i, name in enumerate(("head", "body")))

        def step(_: int, carry: Any) -> Any:
            free, state = carry
            value, gradients = jax.value_and_grad(objective)(free)
            extra = {"value": value, "grad": gradients, "value_fn": objective}
            updates, state = optimizer.update(gradients, state, free, **extra)
            return optax.apply_updates(free, updates), state

        return jax.lax.fori_loop(0, count, step, ({name: start[name] for name in names}, state))

    @jax.jit
    def measure_moves() -> list[jax.Array]:
        head, trained = train(parameters, init({"head": parameters["head"]}), ["head"], 300)
        start = parameters | head
        fresh = init(start)
        states = [carry_over(fresh, trained, is_whole=is_joint), fresh]
        ends = [train(start, state, ["head", "body"], 3)[0]["body"]["kernel"] for state in states]
        return [jnp.linalg.norm(end - parameters["body"]["kernel"]) for end in ends]

    def init(free: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), optimizer.init(free))

    unfrozen, expected = measure_moves()
    assert expected > 0
    assert 0.5 < unfrozen / expected < 2


@pytest.mark.optax
@pytest.mark.parametrize("target", slow_but((*FORGETTING, "optax.contrib.madgrad"), list_optimizers()))
def test_the_optimizers_that_forget_a_move_of_the_parameters_are_known(target: str) -> None:
    """The share of a move, such as that of `lookahead` or a constraint, that is left after the next step.

    In step t, a schedule-free optimizer forgets 1 / t of it.
    """
    optimizer = optax.with_extra_args_support(build({"_target_": target}, {}, learning_rate=jnp.float32(0.01)))

    def objective(parameters: Any) -> jax.Array:
        return ((parameters["kernel"] - 3) ** 2).mean()

    def step(parameters: Any, state: Any) -> Any:
        value, gradients = jax.value_and_grad(objective)(parameters)
        extra = {"value": value, "grad": gradients, "value_fn": objective}
        updates, state = optimizer.update(gradients, state, parameters, **extra)
        return optax.apply_updates(parameters, updates), state

    @jax.jit
    def measure_rest() -> jax.Array:
        parameters = {"kernel": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)}
        parameters, state = step(parameters, optimizer.init(parameters))
        for _ in range(3 if "schedule_free" in target else 0):
            parameters, state = step(parameters, state)
        moved = {"kernel": parameters["kernel"] + 0.01}
        ends = [step(start, state)[0]["kernel"] for start in (moved, parameters)]
        return (ends[0] - ends[1]).mean() / 0.01

    assert (measure_rest() < 0.5) == (target in FORGETTING)


@pytest.mark.optax
def test_the_schedule_within_an_optimizer_of_your_own_goes_on_at_the_unfreezing() -> None:
    head, every = {"head": jnp.ones(2)}, {"head": jnp.ones(2), "body": jnp.ones(3)}
    optimizer = optax.inject_hyperparams(optax.adam)(lambda step: 0.1 / (1 + step))
    _, trained = optimizer.update(head, optimizer.init(head))
    carried = carry_over(optimizer.init(every), trained, is_whole=is_joint)
    assert (carried.count, carried.inner_state[0].count) == (1, 0)


@pytest.mark.optax
@pytest.mark.slow
def test_lbfgs_loses_no_step_at_the_unfreezing() -> None:
    words = ("optimizer=lbfgs", "update=[freeze]", "update.freeze.until=1ep", "learning_rate=0.5")
    session = Session(*words)
    parameters = jax.device_get(session.step(3).parameters)
    session.state = session.trainer.program.unfreeze(session.inputs, session.state, ("",))
    objective, optimizer = next(itertools.islice(iterate_objectives(), 3, None)), optax.lbfgs(0.5)
    value, gradients = jax.value_and_grad(objective)(parameters)
    extra = {"value": value, "grad": gradients, "value_fn": objective}
    updates, _ = optimizer.update(gradients, optimizer.init(parameters), parameters, **extra)
    expected = optax.apply_updates(parameters, updates)
    assert objective(expected) < value
    assert_close(session.step(1, unfrozen=True).parameters, expected, atol=1e-4)


GROUP_OF_BODY = f"update.groups.body={{{BODY}, optimizer: sgd}}"
SCHEDULE_FREE = [
    ("update=[groups]", GROUP_OF_BODY),
    pytest.param((), marks=pytest.mark.slow),
    pytest.param(("update=[freeze]",), marks=pytest.mark.slow),
]


def with_nan(rows: int) -> Arrays:
    """Numbers of which the first rows of the training split are infinite after the network squares them."""
    columns = {"x": np.where(np.arange(ROWS) < rows, 1e38, 0.5), "y": np.arange(ROWS) * 0.1}
    return Arrays(columns=columns, valid=4, test=4, seed=None)


@pytest.fixture
def numbers_words(in_empty_folder: Path) -> list[str]:
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/x.yaml").write_text(
        "# A number.\ntarget: {_target_: components.feature.Numeric, key: y}\n"
        "columns: {x: {_target_: components.feature.Numeric, key: x}}\ninputs: {inputs: [x]}\n"
    )
    return ["feature=x", "loss=mse", "optimizer=adam", "update=[ema,skip_nonfinite]"]


@pytest.mark.optax
def test_a_skipped_step_changes_nothing_but_the_counters(numbers_words: list[str]) -> None:
    session = Session(*numbers_words, source=with_nan(BATCH))
    before = jax.device_get(session.state)
    after = session.step()
    assert after.update_state["skip_nonfinite"] == {"total": 1, "in_a_row": 1}
    assert (after.step, after.first_bad) == (1, -1)
    for name in ("parameters", "model_state", "optimizer_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))
    jax.tree.map(np.testing.assert_array_equal, after.update_state["ema"], before.update_state["ema"])
    assert session.sums[0]["loss"] == {"sum": 0, "count": 0}
    assert session.sums[0]["last"]["skipped_steps"] == 1
    later = session.step()
    assert later.update_state["skip_nonfinite"] == {"total": 1, "in_a_row": 0}
    assert np.isfinite(session.sums[1]["loss"]["sum"])
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (later.parameters, after.parameters)), strict=True))


@pytest.mark.optax
def test_a_skipped_step_is_none_for_the_average(numbers_words: list[str]) -> None:
    """Without warm-up, the average starts with the first step that is taken."""
    session = Session(*numbers_words, "update.ema.warm_up=false", source=with_nan(BATCH))
    after = session.step(2)
    assert after.update_state["skip_nonfinite"]["total"] == 1
    jax.tree.map(np.testing.assert_array_equal, after.update_state["ema"]["params"], after.parameters)


@pytest.mark.optax
def test_parameters_are_constrained_once_and_averages_where_they_are_evaluated(
    write_module: Callable[[str, str], None],
) -> None:
    """A constraint that halves weights shows how often it is applied. That of the frozen layer is never applied."""
    write_module("halving", "import jax\n\ndef build():\n    return lambda tree: jax.tree.map(lambda w: w / 2, tree)\n")
    Path("conf/constraint").mkdir(parents=True)
    Path("conf/constraint/halve.yaml").write_text("halve: {_target_: halving.build}\n")
    words = ("update=[ema,freeze,lookahead]", "update.lookahead.steps=2", "update.ema.warm_up=false")
    session = Session("optimizer=sgd", "constraint=[halve]", *words, "update.ema.decay=0.9")
    layers = jax.device_get(session.state.parameters)["architecture"]
    fast = slow = average = layers["head"]
    for step, objective in enumerate(itertools.islice(iterate_objectives(), 4)):
        gradients = jax.grad(objective)({"architecture": {**layers, "head": fast}})["architecture"]["head"]
        fast = jax.tree.map(lambda w, g: (w - 0.1 * g) / 2, fast, gradients)
        if step % 2:
            slow = jax.tree.map(lambda s, f: s + 0.5 * (f - s), slow, fast)
            fast = jax.tree.map(lambda s: s / 2, slow)
        average = optax.incremental_update(fast, average, 0.1 if step else 1.0)
    state = session.step(4)
    evaluated, _ = session.trainer.program.evaluated_weights(session.inputs, session.state)
    kept = {name: averaged["params"] for name, averaged in state.update_state.items()}
    halved = jax.tree.map(lambda w: w / 2, average)
    for tree, head in zip((state.parameters, *kept.values(), evaluated), (fast, average, slow, halved), strict=True):
        assert_close(tree, {"architecture": {**layers, "head": head}})


LOOKING = """
import jax.numpy as jnp
from components.types import Schedule

def values():
    return lambda tree: tree if bool(jnp.linalg.norm(tree["architecture"]["head"]["kernel"]) > 0) else {}
def same(): return lambda tree: tree
def part(): return lambda tree: {"architecture": {"head": tree["architecture"]["head"]}}
def momentum(): return Schedule(lambda clock: {"learning_rate": jnp.float32(0.1), "momentum": jnp.float32(0.5)})
def decay(): return Schedule(lambda clock: {"learning_rate": jnp.float32(0.1), "weight_decay": jnp.float32(0.5)})
def late():
    return Schedule(lambda clock: {"learning_rate": jnp.float32(0.1 if clock.step > 2 else 0.2)})
"""


@pytest.fixture
def looking(write_module: Callable[[str, str], None]) -> None:
    """Constraints and a schedule that look at values, which arrays that are traced don't have, and other schedules."""
    write_module("looking", LOOKING)
    for group, names in (("constraint", ("values", "same", "part")), ("schedule", ("late", "momentum", "decay"))):
        Path("conf", group).mkdir(parents=True)
        for name in names:
            node = f"_target_: looking.{name}" if group == "schedule" else f"{name}: {{_target_: looking.{name}}}"
            Path("conf", group, f"{name}.yaml").write_text(f"# Looks at values.\n{node}\n")


@pytest.mark.optax
@pytest.mark.usefixtures("looking")
@pytest.mark.parametrize(
    "words",
    [
        ("training.compile=false", "update=[freeze]", "constraint=[values]"),
        ("training.compile=false", "update=[freeze]", "update.freeze.until=1ep", "schedule=late"),
        ("update=[freeze]", "constraint=[same]"),
    ],
)
def test_frozen_parameters_need_no_tracing_of_an_uncompiled_run(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A constraint that returns its argument changes nothing, but not because parameters are frozen."""
    Session("optimizer=sgd", *words)
    assert "note:" not in capsys.readouterr().err


GROUP = f"update.groups.body={{{BODY}, optimizer: {{_target_: optax.sgd, nesterov: true}}}}"


@pytest.mark.optax
@pytest.mark.usefixtures("looking")
@pytest.mark.parametrize(
    "words",
    [
        ("optimizer=sgd", "optimizer.nesterov=true", "schedule=momentum"),
        ("optimizer=sgd", "schedule=momentum", "update=[groups]", GROUP),
        ("optimizer={_target_: optax.lamb}", "update=[decay]", "schedule=decay"),
    ],
)
def test_the_numbers_of_a_schedule_count_as_set(words: Sequence[str]) -> None:
    start = Session(*words)
    before = jax.device_get(start.state.parameters)["architecture"]["head"]["kernel"]
    assert (start.step().parameters["architecture"]["head"]["kernel"] != before).any()


@pytest.mark.optax
@pytest.mark.usefixtures("looking")
def test_a_constraint_that_loses_parameters_is_an_error_beside_frozen_ones() -> None:
    with pytest.raises(UserError, match="must return a tree of the structure that it got"):
        Session("optimizer=sgd", "training.compile=false", "update=[freeze]", "constraint=[part]").step()


@pytest.mark.optax
@pytest.mark.parametrize("words", SCHEDULE_FREE)
def test_a_schedule_free_optimizer_is_evaluated_at_its_average(words: Sequence[str]) -> None:
    """The average of Optax, of the parameters that the optimizer trains. All others are evaluated as they are."""
    session = Session("optimizer=schedule_free_adamw", "optimizer.weight_decay=0.0", *words)
    layers = session.step(3).parameters["architecture"]
    evaluated = jax.device_get(session.trainer.program.evaluated_weights(session.inputs, session.state)[0])
    for name in ("dense_0", "head"):
        trained = {"kernel": layers[name]["kernel"]}
        own = evaluated["architecture"][name]["kernel"]
        node = next(iter(find_schedule_free(session.state.optimizer_state)))
        if name not in node.z["architecture"]:
            np.testing.assert_array_equal(own, trained["kernel"])
            continue
        z = jax.device_get(node.z["architecture"][name]["kernel"])
        assert (own != trained["kernel"]).any()
        np.testing.assert_allclose(0.1 * z + 0.9 * own, trained["kernel"], rtol=1e-5, atol=1e-6)


@pytest.mark.optax
def test_two_averages_are_an_error() -> None:
    with pytest.raises(UserError, match=r"update\.ema: the optimizer is schedule-free"):
        Session("optimizer=schedule_free_adamw", "update=[ema]")


@pytest.mark.optax
def test_the_tenth_skipped_step_in_a_row_is_bad(numbers_words: list[str]) -> None:
    session = Session(*numbers_words, source=with_nan(ROWS))
    assert session.step(9).first_bad == -1
    assert session.step(2).first_bad == 9
