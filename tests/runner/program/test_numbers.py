"""Every number of every part of the program has an effect, and a changed number recompiles nothing.

The numbers are found in the signatures of the options in `conf/`, so that a new option needs no change here. Options
that may be chosen together share a program.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from options import options
from step_session import Session, images

from components.data import Arrays
from components.types import UserError
from runner.config.catalog import read_default_options
from runner.signature.parameters import REST, read_signature
from runner.signature.type_hints import DurationHint, alternatives, element_hint, find_problems

GROUPS = ("loss", "optimizer", "schedule", "step", "regularizer", "update", "constraint", "augmentation")
GUESSES = (0.3, -0.3)  # the first value that the range of a parameter allows is tried, and its double
VALUES: dict[str, list[Any]] = {
    "augmentation.color_jitter.hue": [0.2, 0.4],
    "augmentation.erase.ratio": [1.5, 3.0],
    "hinge: loss.margin": [0.001, 5.0],  # decides which examples count
    "optimizer.betas": [[0.3, 0.4], [0.6, 0.8]],
    "optimizer.clipping_threshold": [1.0, 1.1],
    "optimizer.estim_lr_coef": [100.0, 200.0],  # large, since the estimate doesn't grow before some steps
    "schedule.boundaries": [[0.05, 0.1], [0.1, 0.2]],
    "schedule.warmup": [0.05, 0.1],  # shorter than the steps of the test
    "piecewise_constant: schedule.warmup": [0.0, 0.05],  # the boundaries come after it
    "schedule.factors": [[0.3, 0.2, 0.1], [0.6, 0.4, 0.2]],
    "join: schedule.boundaries": [[0.05], [0.1]],
    "linear: schedule.initial": [0.8, 0.5],  # other than `final`
    "schedule.first_decay_steps": [0.04, 0.05],  # so that the steps of the test see the second cycle
    "schedule.t_mul": [1.5, 3.0],
}
EXCLUDED = {"schedule.values"}  # takes the place of schedule.factors
NEEDED = {  # overrides without which numbers of a group have no effect within a few steps
    "update": [
        "update.freeze.paths=[architecture/dense_0/bias]",
        "update.ema.warm_up=false",
        "update.lookahead.steps=2",
    ],
}
OF_GROUPS = {  # a number of each part of a group of parameters, whose names the user chooses
    "update.groups.body.rate": "0.5",
    "update.groups.body.optimizer.l1": "0.01",
    "update.groups.body.schedule.learning_rate": "0.3",
}
BODY = (
    "update.groups.body={paths: [architecture/dense_0], optimizer: {_target_: components.optimizer.ftrl}, "
    "schedule: {_target_: components.schedule.constant, learning_rate: 0.1}}"
)
OF_COLORS = ("color_jitter.saturation", "color_jitter.hue", "grayscale.probability")  # the images are grey
OF_FINE_CHANGES = ("aug_mix.alpha", "blur.probability")  # equalize and posterize, which follow, leave few levels
SHOWN_ELSEWHERE = {  # numbers without an effect on these steps: test_length.py and others show their effects
    *("schedule.factor", "schedule.min_delta", "schedule.min_scale", "schedule.patience", "schedule.cooldown"),
    "optimizer.clipping_threshold",  # the steps are as long as the smallest allowed value
    "update.freeze.until",
    *("constraint.min_max_norm.low", "constraint.min_max_norm.high"),  # max_norm comes first
    "update.prune.threshold",  # the state of the training isn't pruned
    *(f"augmentation.{name}" for name in (*OF_COLORS, *OF_FINE_CHANGES)),
    *(f"augmentation.{name}.target_fill" for name in ("affine", "crop", "elastic")),
}


OWN_TESTS = {
    "contrastive",
    "distillation",
    "nt_xent",
    "swa",
    "triplet",
}  # they need pairs or views, a run, or examples far apart; swa excludes ema


def key_of(group: str, option: str) -> str:
    """The key of the parameters of an option."""
    return f"{group}.{option}" if isinstance(read_default_options()[group], list) else group


def takes_number(hint: Any) -> bool:
    """Whether a parameter, or each of its elements, is a `Scalar` or a `Duration`."""
    members = [member for one in (hint, element_hint(hint, 0)) for member, _ in alternatives(one)]
    return any(member is DurationHint or getattr(member, "__name__", "") == "ScalarHint" for member in members)


@functools.cache
def find_values(group: str, option: str) -> Mapping[str, tuple[Any, Any]]:
    """Two values of each number of an option, by key."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, parameter in (read_signature(options(group)[option]["_target_"]) or {}).items():
        key = f"{key_of(group, option)}.{name}"
        if name == REST:
            found |= {key: (value, float(value) / 2) for key, value in OF_GROUPS.items()}
        elif key not in EXCLUDED and takes_number(parameter.hint) and (name, group) != ("learning_rate", "optimizer"):
            certain = [0.99, 0.01] if name == "probability" else None  # few images, so that others may draw the same
            first, second = (
                VALUES.get(f"{option}: {key}")
                or VALUES.get(key)
                or certain
                or next([guess, 2 * guess] for guess in GUESSES if not find_problems(guess, parameter.hint, key))
            )
            found[key] = first, second
    return found


def list_choices() -> Iterator[tuple[str, list[str]]]:
    """The options with numbers: each alone, or all of a group that allows several."""
    for group, default in read_default_options().items():
        if group in GROUPS:
            chosen = [option for option in options(group) if option not in OWN_TESTS and find_values(group, option)]
            yield from [(group, chosen)] if isinstance(default, list) else ((group, [option]) for option in chosen)


FAST = {  # the choices of groups that are run here; `pytest -m slow` runs the others
    "augmentation": (),
    "loss": ("huber",),
    "optimizer": ("adam", "ftrl", "muon", "prodigy"),  # the last has a list of numbers
    "schedule": ("performance", "piecewise_constant", "reduce_on_plateau"),
}


def is_slow(group: str, chosen: list[str]) -> bool:
    return group in FAST and chosen[0] not in FAST[group]


CHOICES = [
    pytest.param(group, chosen, id=f"{group}={','.join(chosen)}", marks=[pytest.mark.slow] * is_slow(group, chosen))
    for group, chosen in list_choices()
]


def numbers_source() -> Arrays:
    columns = {"x": np.random.default_rng(0).normal(size=24), "y": np.arange(24) * 0.1}
    return Arrays(columns=columns, valid=4, test=4, seed=None)


@pytest.fixture(autouse=True)
def feature_of_numbers(in_empty_folder: Path) -> None:
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/x.yaml").write_text(
        "# A number.\ntarget: {_target_: components.feature.Numeric, key: y}\n"
        "columns: {x: {_target_: components.feature.Numeric, key: x}}\ninputs: {inputs: [x]}\n"
    )


def start(*words: str) -> Session:
    """A session with images of classes, or, for losses that don't take these, of two classes, or with numbers."""
    others = [((), images(classes=2)), (("feature=x",), numbers_source())] if words[0].startswith("loss=") else []
    errors = []
    for more, source in [((), images()), *others]:
        try:
            return Session(*more, *words, source=source)
        except UserError as error:
            errors.append(error)
    raise errors[0]


@pytest.mark.optax
@pytest.mark.parametrize(("group", "chosen"), CHOICES)
def test_a_changed_number_has_an_effect_and_recompiles_nothing(group: str, chosen: list[str]) -> None:
    values = {key: pair for option in chosen for key, pair in find_values(group, option).items()}
    words = [f"{group}=[{','.join(chosen)}]" if key_of(group, "") != group else f"{group}={chosen[0]}"]
    words += [*([BODY] if "groups" in chosen else []), *NEEDED.get(group, [])]
    first, second = (start(*words, *(f"{key}={pair[side]}" for key, pair in values.items())) for side in (0, 1))
    program = first.trainer.program
    assert second.trainer.program is program
    numbers = {name: float(second.inputs.numbers[name]) for name in find_numbers(first, values)}
    before, inputs = first.step(3), first.inputs
    second.step(3)
    for name, number in numbers.items():
        first.inputs = inputs
        first.change(name, number)
        first.restart()
        assert differ(before, first.step(3)) != (name in SHOWN_ELSEWHERE), name
    assert program.train._cache_size() == program.init._cache_size() == 1


def find_numbers(session: Session, values: Mapping[str, Any]) -> list[str]:
    """The names of the numbers of an option in the program: one for each key, or for each element of a list."""
    found = []
    for key, (value, _) in values.items():
        names = [f"{key}.{index}" for index in range(len(value))] if isinstance(value, list) else [key]
        assert {*names} <= session.inputs.numbers.keys(), f"{key} is compiled in"
        found += names
    return found


def differ(one: Any, other: Any) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return any((left != right).any() for left, right in leaves)


def test_the_numbers_are_found() -> None:
    assert {*find_values("optimizer", "adam")} == {f"optimizer.{name}" for name in ("b1", "b2", "eps", "eps_root")}
    assert {*find_values("schedule", "cosine")} == {f"schedule.{name}" for name in ("learning_rate", "warmup", "final")}
    assert {*find_values("update", "groups")} == {*OF_GROUPS}
    assert not find_values("constraint", "non_negative")
    assert {group for group, _ in list_choices()} == {*GROUPS}
