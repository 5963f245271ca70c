"""Runs with an update set: they are killed and resumed, predict with the average, and report wrong members."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slow import slow_but
from two_steps import interrupted_once, take_two_steps

import runner
from components.data import Arrays
from components.paths import leaves_with_paths
from components.types import UserError
from runner.__main__ import main
from runner.config.check_update import UNMASKED_DECAYS, find_decay_masks
from runner.signature.allowed_parts import is_allowed_part
from runner.signature.parameters import read_signature
from runner.signature.source import find_module, list_public_names

WORDS = ("tracking=none", "optimizer=adamw", "architecture.widths=[4]", "training.batch_size=16")
ALL = (
    "update=[clip_value,clip_norm,groups,freeze,lookahead,ema,skip_nonfinite,decay]",
    "update.groups.wide={paths: [architecture/dense_0], optimizer: {_target_: components.optimizer.ftrl}}",
    "update.lookahead.steps=2",
    "update.freeze.until=1ep",
    "constraint=[max_norm]",
)


def arrays_of(result: runner.Result, step: int) -> dict[str, np.ndarray]:
    with np.load(result.folder / "checkpoints" / f"step_{step:010d}.npz") as archive:
        return {name: archive[name] for name in archive.files if name.startswith("leaf")}


@pytest.mark.optax
@pytest.mark.slow
def test_a_run_with_all_members_is_resumed_exactly_across_the_unfreezing(in_empty_folder: Path) -> None:
    """The interruption comes between the last frozen step and the first one that trains all parameters."""
    words = ("experiment=digits_mlp", *WORDS, "training.keep_checkpoints=2", *ALL)
    resumed = take_two_steps(*words)
    whole = runner.run(*words, "training.epochs=2", "training.limit_batches=1", "quiet=true", "fresh=true")
    assert resumed.records == whole.records
    for step in (1, 2):
        found, expected = arrays_of(resumed, step), arrays_of(whole, step)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    moments = [name for name in arrays_of(whole, 2) if "optimizer_state" in name and "dense_0" in name]
    assert moments
    assert not set(moments) & arrays_of(whole, 1).keys()


@pytest.mark.optax
@pytest.mark.parametrize(("until", "step"), slow_but([("1.25ep", 5)], [("3st", 3), ("0.5", 4), ("1.25ep", 5)]))
def test_a_run_is_unfrozen_within_an_epoch(until: str, step: int, in_empty_folder: Path) -> None:
    """Two epochs of four steps. A step with the rate 0 would show no change, so the schedule is constant."""
    words = ("experiment=digits_mlp", *WORDS, "schedule=constant", "update=[freeze]", f"update.freeze.until={until}")
    words = (*words, "training.limit_batches=4", "training.epochs=2", "quiet=true", "training.evaluate_steps=1")
    result = runner.run(*words, "training.keep_checkpoints=8")
    kernels = [
        arrays_of(result, number)["leaf.parameters['architecture']['dense_0']['kernel']"] for number in range(1, 9)
    ]
    is_changed = [bool((before != after).any()) for before, after in itertools.pairwise(kernels)]
    assert is_changed == [number >= step for number in range(1, 8)]


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_a_freeze_of_no_step_is_an_error() -> None:
    words = ("update=[freeze]", "update.freeze.until=0.001", "training.limit_batches=4", "training.epochs=2", *WORDS)
    with pytest.raises(UserError, match=r"update.freeze.until: 0.001 is 0 of 8 steps, so nothing is frozen"):
        runner.run("experiment=digits_mlp", *words)


@pytest.mark.optax
def test_a_longer_run_keeps_the_step_at_which_it_was_unfrozen(in_empty_folder: Path) -> None:
    """Half of two epochs is one epoch. Extended to eight, the run does not freeze again until the fourth."""
    words = ("experiment=digits_mlp", *WORDS, "update=[freeze]", "update.freeze.until=0.5", "training.limit_batches=2")
    short = runner.run(*words, "training.epochs=2", "quiet=true")
    before = arrays_of(short, 4)
    longer = runner.run(f"resume={short.folder}", "training.epochs=8", "quiet=true")
    assert longer.status == "finished"
    assert before.keys() == arrays_of(longer, 16).keys()


@pytest.mark.optax
def test_evaluation_and_predictions_use_the_average(in_empty_folder: Path) -> None:
    words = ("experiment=digits_mlp", *WORDS, "update=[ema]", "learning_rate=0.05", "training.epochs=1", "quiet=true")
    result = runner.run(*words)
    arrays = arrays_of(result, result.records[0]["step"])
    model = runner.load(result.folder)
    kernel = np.asarray(model.weights.parameters["architecture"]["head"]["kernel"])
    name = "['params']['architecture']['head']['kernel']"
    np.testing.assert_array_equal(kernel, arrays[f"leaf.update_state['ema']{name}"])
    assert (
        np.abs(kernel - arrays[f"leaf.parameters{name.removeprefix(chr(91) + repr('params') + chr(93))}"]).max() > 1e-3
    )
    assert model.evaluate("valid")["valid/loss"] == pytest.approx(result.records[0]["valid/loss"], rel=1e-6)
    assert (
        json.loads((result.folder / "summary.json").read_text())["metrics"]["best/valid/loss"]
        == (result.records[0]["valid/loss"])
    )


@pytest.mark.optax
def test_small_weights_are_pruned_where_they_are_evaluated_and_kept_in_training(in_empty_folder: Path) -> None:
    words = ("experiment=digits_mlp", *WORDS, "training.epochs=1", "quiet=true")
    pruned = runner.run(*words, "update=[prune,ema]", "update.prune.threshold=0.1")
    step = pruned.records[0]["step"]
    found = dict(leaves_with_paths(runner.load(pruned.folder).weights.parameters))
    small = zeros = size = 0
    for path, leaf in found.items():
        name = "".join(f"[{part!r}]" for part in path.split("/"))
        average = arrays_of(pruned, step)[f"leaf.update_state['ema']['params']{name}"]
        limit = 0.1 if path.endswith("kernel") else 0
        np.testing.assert_array_equal(leaf, np.where(np.abs(average) < limit, 0, average))
        small += (np.abs(average) < limit).sum()
        if path.endswith("kernel"):
            zeros, size = zeros + (leaf == 0).sum(), size + leaf.size
    assert zeros == small > 0
    assert pruned.metrics["sparsity"] == pytest.approx(zeros / size)


NETWORK = """
from typing import Any
import flax.linen as nn
import jax.numpy as jnp
from components.layer import BatchNorm, Dense, Dropout
from components.types import Output

class Body(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        x = Dense(8, name="dense")(x.reshape(len(x), -1), train=train)
        x = BatchNorm(name="norm")(x, train=train)
        x = nn.BatchNorm(name="flax_norm")(x, use_running_average=not train)
        x = nn.Dropout(0.5)(x, deterministic=not train)
        return Dropout(0.5)(x, train=train)

class Net(nn.Module):
    outputs: int
    dtype: Any = jnp.float32
    @nn.compact
    def __call__(self, image, *, train):
        body = Body(name="body")
        x, again = body(image, train=train), body(image, train=train)  # with other dropout
        y = Dense(self.outputs, name="head")(BatchNorm(name="norm")(x, train=train), train=train)
        return Output(y, {"difference": jnp.abs(x - again).mean(1)})
"""


@pytest.mark.optax
@pytest.mark.slow
def test_frozen_modules_run_as_in_inference(write_module: Callable[[str, str], None]) -> None:
    """Without dropout, two calls of the body agree, and the internal loss is 0."""
    write_module("net", NETWORK)
    Path("conf/architecture").mkdir(parents=True)
    Path("conf/architecture/net.yaml").write_text("# A network with a body.\n_target_: net.Net\n")
    words = ("architecture=net", "tracking=none", "quiet=true", "training.epochs=1", "training.limit_batches=2")
    trained = runner.run(*words)
    frozen = runner.run(*words, "update=[freeze]", "update.freeze.trainable=[architecture/head,architecture/norm]")
    assert trained.records[0]["train/objective"] > trained.records[0]["train/loss"] + 0.01
    assert frozen.records[0]["train/objective"] == frozen.records[0]["train/loss"]
    moments = "leaf.model_state['batch_stats']['architecture']"
    for result, is_frozen in ((trained, False), (frozen, True)):
        arrays = arrays_of(result, 2)
        for name in ("norm", "flax_norm"):
            assert arrays[f"{moments}['body']['{name}']['mean']"].any() != is_frozen
            variance = "var" if "flax" in name else "variance"
            assert (arrays[f"{moments}['body']['{name}']['{variance}']"] == 1).all() == is_frozen  # as initially
        assert arrays[f"{moments}['norm']['mean']"].any()


MEMBERS = """
from dataclasses import dataclass
import jax, optax
import jax.numpy as jnp
from components.types import Schedule, UserError

def momentum(learning_rate):
    return Schedule(lambda clock: {"learning_rate": learning_rate, "momentum": jnp.float32(0.5)})

def rate(learning_rate):
    return Schedule(lambda clock: {"learning_rate": learning_rate})

def decay(learning_rate):
    return Schedule(lambda clock: {"learning_rate": learning_rate, "weight_decay": jnp.float32(0.5)})

@dataclass(frozen=True)
class Centralize:
    def before(self, optimizer): return optax.chain(optax.centralize(), optimizer)

@dataclass(frozen=True)
class Halve:
    def around(self, optimizer): return optax.chain(optimizer, optax.scale(0.5))

@dataclass(frozen=True)
class Mean:
    evaluates = True
    def after(self, variables, averaged, step):
        return variables, jax.tree.map(lambda a, v: a + (v - a) / (step + 1), averaged, variables)

class Nothing: pass
class Both:
    def before(self, optimizer): return optimizer
    def around(self, optimizer): return optimizer
class NoOptimizer:
    def before(self, optimizer): return None
class NoAround:
    def around(self, optimizer): return 3
class OnlyVariables:
    def after(self, variables, averaged, step): return variables
class Loses:
    def after(self, variables, averaged, step): return {"params": {}}, averaged
class Skips:
    def skips(self, objective, gradients): return gradients
class Groups:
    groups = {"head": {"optimizer": optax.sgd, "rate": 0.5}}
    def assign(self, paths): return {path: "head" if "head" in path else "default" for path in paths}
class OtherKey(Groups):
    groups = {"head": {"rates": 0.5}}
class BuiltOptimizer(Groups):
    groups = {"head": {"optimizer": optax.sgd(0.1)}}
class NoSchedule(Groups):
    groups = {"head": {"schedule": 0.1}}
class ListOfGroups(Groups):
    groups = ["head"]
class Decays:
    def decays(self, paths): return "architecture/head"
class OtherPath:
    def decays(self, paths): return {"architecture/head/kernels"}
class Grows:
    def around(self, optimizer):
        def update(gradients, state, parameters=None):
            updates, state = optimizer.update(gradients, state, parameters)
            return jax.tree.map(lambda leaf: leaf[None], updates), state
        return optax.GradientTransformation(optimizer.init, update)
class GrowsInPlace:
    def after(self, variables, averaged, step):
        variables["params"]["architecture"]["head"]["kernel"] = jnp.zeros(3)
        return variables, averaged
"""
SHORT = ("tracking=none", "quiet=true", "training.epochs=1", "training.limit_batches=1", "architecture.widths=[4]")


@pytest.fixture
def own_members(write_module: Callable[[str, str], None]) -> None:
    """Options for the members above; the name of each is that of its class."""
    write_module("net", MEMBERS)
    Path("conf/optimizer").mkdir(parents=True)
    Path("conf/optimizer/mine.yaml").write_text("# Needs more than a gradient.\n_target_: optax.contrib.sophia\n")
    Path("conf/schedule").mkdir(parents=True)
    for name in ("momentum", "rate", "decay"):
        node = f"_target_: net.{name}\nlearning_rate: 0.1\n"
        Path(f"conf/schedule/{name}.yaml").write_text(f"# A schedule.\n{node}")
    Path("conf/update").mkdir(parents=True)
    for line in MEMBERS.splitlines():
        if line.startswith("class "):
            name = line.removeprefix("class ").partition(":")[0].partition("(")[0]
            Path("conf/update", f"{name}.yaml").write_text(f"# A member.\n{name}: {{_target_: net.{name}}}\n")


@pytest.mark.slow
@pytest.mark.optax
@pytest.mark.parametrize("name", slow_but({"Halve", "Groups"}, ["Centralize", "Halve", "Mean", "Groups"]))
@pytest.mark.usefixtures("own_members")
def test_a_member_of_the_user_takes_two_steps_and_is_resumed(name: str) -> None:
    words = ("experiment=digits_mlp", *WORDS, f"update=[{name},clip_norm,lookahead]")
    history = take_two_steps(*words).records
    plain = runner.run("experiment=digits_mlp", *WORDS, "update=[clip_norm,lookahead]", *SHORT, "training.epochs=2")
    assert history[-1]["valid/loss"] != plain.records[-1]["valid/loss"]


@pytest.mark.optax
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["update=[Nothing]"], "update.Nothing: `net.Nothing` has none of these methods. To be an update, it needs"),
        (["update=[Both]"], "update.Both: `net.Both` has `before` and `around`. To be an update, it needs exactly one"),
        (["update=[NoOptimizer]"], "update.NoOptimizer: NoOptimizer.before returns None. It must return an optax."),
        (["update=[NoAround]"], "update.NoAround: NoAround.around returns int32 (). It must return an optax."),
        (["update=[OnlyVariables]"], "update.OnlyVariables: OnlyVariables.after must return a pair: the variables"),
        (["update=[Loses]"], "update.Loses: Loses.after returns a mapping of `params` to a mapping of nothing. It"),
        (["update=[Skips]"], "update.Skips: Skips.skips returns a mapping of `architecture` to"),
        (["update=[OtherKey]"], "update.OtherKey: OtherKey.groups.head has the key rates. Did you mean rate?"),
        (
            ["update=[BuiltOptimizer]"],
            "BuiltOptimizer.groups.head.optimizer is a GradientTransformationExtraArgs of 2.",
        ),
        (
            ["update=[NoSchedule]"],
            "NoSchedule.groups.head.schedule is float32 (). It must be a components.types.Schedule",
        ),
        (["update=[ListOfGroups]"], "ListOfGroups.groups is a list of 1. It must be a mapping of names to groups."),
        (["update=[Decays]", "optimizer=adamw"], "update.Decays: Decays.decays returns a str. It must return a set of"),
        (
            ["update=[OtherPath]", "optimizer=adamw"],
            "update.OtherPath: OtherPath.decays returns 'architecture/head/kernels', which is no parameter. Did you",
        ),
        (["update=[Grows]"], "update.Grows: Grows.around: `update` returns `architecture/"),
        (["update=[GrowsInPlace]"], "GrowsInPlace.after returns `params/architecture/head/kernel` as float32 (3,). It"),
        (["update=[Mean,ema]"], "update: ema and Mean exclude each other. Choose one of them."),
        (
            ["update=[freeze]", "update.freeze.paths=['**/Head']"],
            "update.freeze.paths: no parameter matches the pattern **/Head. Did you mean **/head? Parameters: ",
        ),
        (
            ["update=[freeze]", "update.freeze.trainable=[architecture/hea]"],
            "update.freeze.trainable: no parameter matches the pattern architecture/hea. Did you mean architecture/he",
        ),
        (["update=[freeze]", "update.freeze.trainable=[]"], "update.freeze: the patterns ** freeze all parameters."),
        (["update=[freeze]", "update.freeze.paths=[]"], "update.freeze: Freeze.freezes chooses no parameter. Choose"),
        (
            ["update=[freeze]", "update.freeze.paths=[]", "update.freeze.trainable=[]"],
            "update.freeze.paths: the list of patterns is empty, so it would change nothing. Parameters: architecture/",
        ),
        (
            ["constraint=[max_norm]", "constraint.max_norm.paths=[]"],
            "constraint.max_norm.paths: the list of patterns is empty",
        ),
        (
            ["update=[groups]", "update.groups.a={paths: []}"],
            "update.groups.a.paths: the group has no patterns. List some",
        ),
        (
            ["update=[lookahead]", "update.lookahead.steps=3000000000"],
            "update.lookahead.steps: 3000000000 is not a whole number in [1, 2147483647]",
        ),
        (
            ["augmentation=[crop]", "augmentation.crop.padding=99999999999999999999"],
            "augmentation.crop.padding: 99999999999999999999 is not a whole number in [1, 65536]",
        ),
        (
            ["optimizer=adamw", "optimizer.mask=null", "update=[decay]"],
            "update.decay: optimizer.mask chooses the parameters that decay. Leave it or decay out.",
        ),
        (
            ["optimizer=sgd", "optimizer.momentum=0.9", "schedule=momentum"],
            "optimizer.momentum: is set by the schedule. Leave it out, or choose a schedule that doesn't set it.",
        ),
        (
            [
                *("optimizer=sgd", "schedule=momentum", "update=[groups]"),
                "update.groups.a={paths: ['**'], optimizer: {_target_: optax.sgd, momentum: 0.9}}",
            ],
            "update.groups.a.optimizer.momentum: is set by the schedule.",
        ),
        (
            [
                *("schedule=piecewise_constant", "schedule.boundaries=[1ep,1st]", "schedule.factors=[1,0.1,0.01]"),
                "training.limit_batches=2",
            ],
            "schedule.boundaries: 1ep is step 2 of this run, and the next one,",
        ),
        (
            ["update=[decay]", "update.decay.paths=[head]"],
            "update.decay.paths: no parameter matches the pattern head. Did you mean architecture/head? Parameters: ",
        ),
        (
            ["update=[groups]", "update.groups.a={paths: ['x/*']}"],
            "update.groups.a.paths: no parameter matches the pattern x/*. Parameters: ",
        ),
        (
            ["update=[groups]", "update.groups.a={paths: ['**']}", "update.groups.b={paths: ['**/bias']}"],
            "update.groups.b: the group has no parameter, because the groups before it have them all.",
        ),
        (
            ["update=[groups]", "update.groups.default={paths: ['**']}"],
            "update.groups.default: this group holds the parameters of no",
        ),
        (
            ["metric=[top_k]", "metric.top_k.k=19"],
            "metric.top_k.k: 19 is above the number of classes. Choose one from 1 to 10. "
            "[set by the command line (metric.top_k.k=19)]",
        ),
        (
            ["constraint=[min_max_norm]", "constraint.min_max_norm.low=5"],
            "constraint.min_max_norm.low: 5.0 is above `high`, 2.0. Choose a smaller one. [set by the command line",
        ),
        (
            [
                *("schedule=join", "schedule.boundaries=[0.5]"),
                "schedule.schedules=[constant,{option: piecewise_constant, boundaries: [3ep, 2ep]}]",
            ],
            "schedule.schedules.1.boundaries: 2ep follows 3ep. List them in increasing order. [set by the command line",
        ),
        (["feature.target.weight={}"], "feature.target.weight: is empty. Name a class and its weight, such as {NAME"),
        (["update=[clip_norm]", "update.clip_norm.limit=0"], "update.clip_norm.limit: 0 is not a number in (0, inf)"),
        (["update=[clip_value]", "update.clip_value.limit=-1"], "update.clip_value.limit: -1 is not a number in (0,"),
        (
            ["update=[freeze]", "update.freeze.until=0ep"],
            'until: "0ep" is not a duration (0.3 of the run, 5ep, 2000st) in (0, inf) or null [set by the command line',
        ),
        (
            ["architecture=sequential", "architecture.layers=[]"],
            "architecture.batch_norm: unknown parameter of components.architecture.Sequential. ",
        ),
        (
            ["architecture=sequential", "architecture.layers=[]"],
            "To leave it out, add '~architecture.batch_norm' to the command. [set by experiments/digits_mlp.yaml]",
        ),
        (
            ["update=[decay]", "optimizer=nadam"],
            "update.decay: optax.nadam has no weight decay of chosen parameters. Choose optimizer=adamw",
        ),
        (
            ["update=[decay]", "optimizer=mine", "optimizer._target_=optax.lamb"],
            "update.decay: the weight decay of optax.lamb isn't set. Set it, or leave decay out.",
        ),
        (
            [
                *("optimizer=sgd", "update=[decay,groups]"),
                "update.groups.a={paths: ['**'], optimizer: {_target_: optax.lamb}}",
            ],
            "update.decay: the weight decay of optax.lamb isn't set. Set it, or leave decay out.",
        ),
        (
            ["update=[decay]", "optimizer=mine", "optimizer._target_=optax.lamb", "schedule=rate"],
            "update.decay: the weight decay of optax.lamb isn't set. Set it, or leave decay out.",
        ),
        (
            ["optimizer=sgd", "optimizer.nesterov=true", "schedule=rate"],
            "optimizer.nesterov: true changes nothing without optimizer.momentum. Set it, such as to 0.9.",
        ),
        (
            ["optimizer=mine", "optimizer._target_=optax.contrib.momo", "schedule=decay"],
            "optimizer.weight_decay: is set by the schedule, and would also apply to biases and the scales of ",
        ),
        (
            ["update=[decay]", "optimizer=mine", "optimizer._target_=mine.Own"],
            "optimizer._target_: mine.Own is not in an allowed package. ",
        ),
        (
            ["optimizer=mine", "optimizer._target_=optax.contrib.momo", "optimizer.weight_decay=0.1"],
            "optimizer.weight_decay: 0.1 would also apply to biases and the scales of normalizations. Leave it out, ",
        ),
        (
            ["optimizer=adamw", "optimizer.mask=kernel"],
            'optimizer.mask: "kernel" is no function of the parameters. For patterns, choose update=[decay] and set ',
        ),
        (
            ["update=[groups]", "update.groups.a={paths: ['**'], optimizer: {option: adamw, mask: ['**/kernel']}}"],
            'update.groups.a.optimizer.mask: ["**/kernel"] is no function of the parameters',
        ),
        (
            ["optimizer=sgd", "optimizer.nesterov=true"],
            "optimizer.nesterov: true changes nothing without optimizer.momentum. Set it, such as to 0.9.",
        ),
        (["update=[ema]", "update.ema.decay=1"], "update.ema.decay: 1 is not a number in [0, 1)"),
        (
            ["update=[groups]", "update.groups.a={paths: ['**'], rate: -1, optimiser: 1}"],
            "update.groups.a.optimiser: unknown key. Did you mean optimizer?",
        ),
        (
            [
                "update=[groups]",
                "update.groups.a={paths: ['**'], optimizer: {_target_: components.optimizer.ftrl, l1: a}}",
            ],
            'update.groups.a.optimizer.l1: "a" is not a number in [0, inf)',
        ),
        (
            ["update=[groups]", "update.groups.a={paths: ['**'], optimizer: {_target_: optax.adam, learning_rate: 1}}"],
            "update.groups.a.optimizer.learning_rate: is set by the schedule. Set learning_rate instead.",
        ),
        (
            ["update=[groups]", "update.groups.a={paths: ['**'], optimizer: {_target_: optax.scale_by_adam}}"],
            "update.groups.a.optimizer._target_: optax.scale_by_adam has no parameter `learning_rate`",
        ),
        (
            ["update=[groups]", "update.groups.a={paths: ['**'], optimizer: {_target_: optax.contrib.sophia}}"],
            "update.groups.a.optimizer: Optax can't take a step: obj_fn must be provided to hutchinson",
        ),
        (["optimizer=mine"], "optimizer: Optax can't take a step: obj_fn must be provided"),
        (
            [
                "update=[groups]",
                "update.groups.a={paths: ['**'], schedule: {_target_: components.schedule.reduce_on_plateau, "
                "learning_rate: 1, factor: 0.5, patience: 1}}",
            ],
            "update.groups.a: the schedule reacts to a plateau, which only the schedule of the run can do.",
        ),
    ],
    ids=lambda value: " ".join(value)[7:60] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("own_members")
def test_a_wrong_update_is_reported(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=digits_mlp", *SHORT, *words]) == 2
    assert message in capsys.readouterr().err
    assert not Path("outputs").exists()


@pytest.mark.optax
@pytest.mark.parametrize("stop", [True, False])
def test_a_run_that_skips_ten_steps_in_a_row_diverges(
    stop: bool, in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {"image": np.zeros((40, 4, 4, 1), np.uint8), "label": np.arange(40) % 2}
    words = (
        "feature=image",
        "metric=[accuracy]",
        "training.batch_size=2",
        *WORDS[:1],
        "quiet=true",
        "training.epochs=1",
    )
    result = runner.run(
        *words,
        "architecture.widths=[4]",
        "update=[skip_nonfinite]",
        "loss.label_smoothing=0.1",
        "regularizer=[l2]",
        "regularizer.l2.strength=3e38",
        f"training.on_nan={'stop' if stop else 'continue'}",
        source=Arrays(columns=columns, valid=8, test=8, seed=None),
    )
    if stop:
        assert result.status == "diverged"
        assert "10 steps in a row were skipped, the last of them step 9" in str(result.error)
    else:
        assert result.status == "finished"
        assert result.records[0]["skipped_steps"] == 12
        assert "warning: 12 of the 12 steps were skipped" in capsys.readouterr().err
        assert np.isnan(result.records[0]["train/loss"])
        assert np.isnan(result.records[0]["train/accuracy"])


def decaying_optimizers() -> list[str]:
    """The optimizers with a mask for their weight decay, by their signatures."""
    modules = {package: find_module(package) for package in ("components.optimizer", "optax", "optax.contrib")}
    targets = [
        f"{package}.{name}" for package, module in modules.items() if module for name in list_public_names(module)
    ]
    optimizers = [target for target in targets if is_allowed_part(target, ["optimizer"])]
    return [
        target
        for target in optimizers
        if "learning_rate" in (read_signature(target) or {}) and find_decay_masks({"_target_": target})
    ]


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.filterwarnings("ignore:Specifying a key will be required:UserWarning")  # of Optax
@pytest.mark.slow
def test_the_random_keys_of_an_optimizer_are_saved() -> None:
    words = ("experiment=digits_mlp", "optimizer=sgd", "optimizer._target_=optax.noisy_sgd", *SHORT)
    whole = runner.run(*words, "training.epochs=2")
    with interrupted_once():
        runner.run(*words, "training.epochs=2", "fresh=true")
    resumed = runner.run(*words, "training.epochs=2")
    assert resumed.records == whole.records
    assert runner.load(resumed.folder).weights.epochs == 2


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize(
    "target",
    slow_but(
        {"optax.contrib.prodigy"},  # without a mask
        dict.fromkeys(one for one in [*decaying_optimizers(), *UNMASKED_DECAYS] if one != "optax.contrib.sophia"),
    ),
)
def test_biases_do_not_decay_whatever_the_optimizer(target: str) -> None:
    """Without decay, the bias of the head takes the same first step; its kernel takes another."""
    Path("conf/optimizer").mkdir(parents=True)
    Path("conf/optimizer/mine.yaml").write_text(f"# An optimizer.\n_target_: {target}\n")
    decay = "weight_decay_rate" if target == "optax.adafactor" else "weight_decay"
    states = []
    for number in (1e-20, 0.5):
        words = (f"optimizer.{decay}={number}", "schedule=constant", *SHORT)
        if "estim_lr0" in (read_signature(target) or {}):
            words = (*words, "optimizer.estim_lr0=1")  # by default, the first step is too short to see
        states.append(arrays_of(runner.run("experiment=digits_mlp", "optimizer=mine", *words), 1))
    head = "leaf.parameters['architecture']['head']"
    np.testing.assert_array_equal(*(state[f"{head}['bias']"] for state in states))
    assert (states[0][f"{head}['kernel']"] != states[1][f"{head}['kernel']"]).any()


def test_the_optimizers_with_a_mask_are_found() -> None:
    found = decaying_optimizers()
    assert {
        "optax.adamw",
        "optax.lion",
        "optax.lamb",
        "components.optimizer.lars",
        "optax.adafactor",
        "optax.contrib.muon",
    } <= {*found}
    assert not {"optax.sgd", "optax.adam", "optax.rmsprop", "optax.novograd"} & {*found}
    assert find_decay_masks({"_target_": "optax.adamw", "mask": None}) == []


TURNS = (
    *("update=[freeze]", "update.freeze.paths=[architecture/dense_*]", "update.freeze.trainable=[]"),
    "update.freeze.turns={top: {paths: [architecture/dense_2], until: 1st}}",
    "update.freeze.until=2st",
)


@pytest.mark.optax
@pytest.mark.slow
def test_parameters_are_unfrozen_in_turns_and_a_run_is_resumed_exactly_across_them(in_empty_folder: Path) -> None:
    words = ("experiment=digits_mlp", *WORDS, "schedule=constant", "optimizer=sgd", "optimizer.momentum=0.9", *TURNS)
    words = (*words, "architecture.widths=[5,5,5]", "training.limit_batches=3", "training.evaluate_steps=1")
    words = (*words, "training.epochs=null", "training.keep_checkpoints=9", "quiet=true")
    whole = runner.run(*words, "training.steps=3")
    resumed = runner.run(*words, "training.steps=1", "folder=resumed")
    for steps in (2, 3):
        resumed = runner.run(f"resume={resumed.folder}", f"training.steps={steps}", "folder=resumed", "quiet=true")
    kernels = {}
    for step in (1, 2, 3):
        found, expected = arrays_of(resumed, step), arrays_of(whole, step)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=f"{name} at step {step}")
        layers = ("dense_0", "dense_1", "dense_2", "head")
        kernels[step] = [expected[f"leaf.parameters['architecture']['{layer}']['kernel']"] for layer in layers]
    changes = [[bool((a != b).any()) for a, b in zip(kernels[n], kernels[n + 1], strict=True)] for n in (1, 2)]
    assert changes == [[False, False, True, True], [True, True, True, True]]
    model = runner.load(whole.folder)
    assert model.evaluate("valid")["valid/loss"] > 0


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        (
            ["architecture/hea"],
            "update.freeze.turns.top.paths: no frozen parameter matches the pattern architecture/hea.",
        ),
        (
            ["architecture/head"],
            "update.freeze.turns.top.paths: no frozen parameter matches the pattern architecture/head.",
        ),
    ],
)
def test_a_turn_without_frozen_parameters_is_an_error(turn: list[str], message: str, in_empty_folder: Path) -> None:
    words = ("update=[freeze]", f"update.freeze.turns={{top: {{paths: {turn}, until: 1ep}}}}", *WORDS)
    with pytest.raises(UserError) as raised:
        runner.run("experiment=digits_mlp", *words, "quiet=true")
    assert message in str(raised.value)
