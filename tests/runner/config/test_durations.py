"""Durations in a configuration: how they are written, their errors, and that a changed number recompiles nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from components.types import Clock, Duration
from runner.config.compose import compose, configure
from runner.config.recorded_config import add_defaults, add_missing_keys, read_config
from runner.config.scalars import split_scalars
from runner.config.settings import Training
from runner.errors import ConfigError
from runner.signature.build import ScalarSlot
from runner.signature.parameters import read_signature
from runner.yaml_file import dump

COSINE = "schedule=cosine"


def problem(*words: str) -> str:
    """The only problem of a configuration."""
    with pytest.raises(ConfigError) as raised:
        configure(words)
    (message,) = raised.value.problems
    return message


@pytest.mark.parametrize(
    ("written", "duration"),
    [
        ("0.3", Duration(0.3)),
        ("0", Duration(0.0)),
        ("1", Duration(1.0)),
        ("5ep", Duration(5.0, "epoch")),
        ("0.5ep", Duration(0.5, "epoch")),
        (".5ep", Duration(0.5, "epoch")),
        ("2000st", Duration(2000.0, "step")),
        ("2e3st", Duration(2000.0, "step")),
    ],
)
def test_a_duration_is_a_share_or_a_number_with_a_unit(written: str, duration: Duration) -> None:
    static, numbers = split_scalars(configure([COSINE, f"schedule.warmup={written}"]))
    assert static["schedule"]["warmup"] == ScalarSlot("schedule.warmup", duration.unit)
    assert numbers["schedule.warmup"] == duration.value
    assert Duration.parse(duration.written()) == duration


@pytest.mark.parametrize("number", [np.float32, jnp.float32])
@pytest.mark.parametrize("written", ["12345678st", "16777216st", "0.1ep", "2.5ep", "1e+16st"])
def test_a_duration_in_float32_is_written_with_its_digits(written: str, number: Callable[[float], Any]) -> None:
    duration = Duration.parse(written)
    assert Duration(number(duration.value), duration.unit).written() == written


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("schedule.warmup=1000", "1000 is not a duration (0.3 of the run, 5ep, 2000st). Write 1000ep for epochs, or"),
        ("schedule.warmup=1.5", "Write 1.5ep for epochs, or 1.5st for steps."),
        ("schedule.warmup=5epochs", '"5epochs" is not a duration (0.3 of the run, 5ep, 2000st). Write 5ep for epochs'),
        ("schedule.warmup='5 ep'", '"5 ep" is not a duration (0.3 of the run, 5ep, 2000st). Write 5ep for epochs'),
        ("schedule.warmup=-0.1", "-0.1 is not a duration (0.3 of the run, 5ep, 2000st) [set by"),
        ("schedule.warmup=-5ep", '"-5ep" is not a duration (0.3 of the run, 5ep, 2000st) [set by'),
        ("schedule.warmup=1e99st", '"1e99st" is not a duration'),
        ("schedule.warmup=soon", '"soon" is not a duration (0.3 of the run, 5ep, 2000st) [set by'),
        ("schedule.warmup=true", "true is not a duration"),
        ("schedule.warmup=null", "null is not a duration"),
        ("training.patience=0", "0 is not a whole number in [1, inf) or a duration (0.3 of the run, 5ep, 2000st) in ("),
        ("training.patience=0st", "is not a whole number in [1, inf) or a duration"),
        ("training.patience=2.5", "Write 2.5ep for epochs, or 2.5st for steps."),
    ],
)
def test_another_value_is_an_error_that_offers_the_spellings(setting: str, message: str) -> None:
    found = problem(COSINE, setting)
    assert message in found
    assert found.startswith(setting.partition("=")[0])
    assert found.endswith(f"[set by the command line ({setting})]")


def test_a_boundary_is_a_duration_above_0() -> None:
    words = ("schedule=piecewise_constant", "schedule.boundaries=[0ep,100]", "schedule.factors=[1,1,1]")
    with pytest.raises(ConfigError) as raised:
        configure(words)
    first, second = raised.value.problems
    assert first.startswith('schedule.boundaries.0: "0ep" is not a duration (0.3 of the run, 5ep, 2000st) in (0, inf)')
    assert second.startswith("schedule.boundaries.1: 100 is not a duration")


@pytest.mark.parametrize(
    ("first", "second", "other"), [("5ep", "6ep", "5st"), ("0.1", "1", "0.1ep"), ("10st", "0.5st", "0.5")]
)
def test_only_the_unit_is_static(first: str, second: str, other: str) -> None:
    static = [split_scalars(configure([COSINE, f"schedule.warmup={written}"]))[0] for written in (first, second)]
    assert static[0] == static[1]
    assert static[0] != split_scalars(configure([COSINE, f"schedule.warmup={other}"]))[0]


def test_numbers_in_lists_of_durations_are_numbers_of_the_program() -> None:
    words = ("schedule=piecewise_constant", "schedule.boundaries=[2ep,0.5]", "schedule.factors=[1,0.5,0.1]")
    static, numbers = split_scalars(configure(words))
    slots = [ScalarSlot("schedule.boundaries.0", "epoch"), ScalarSlot("schedule.boundaries.1", "run")]
    assert static["schedule"]["boundaries"] == slots
    assert [numbers[f"schedule.{name}"] for name in ("boundaries.0", "boundaries.1", "factors.2")] == [2.0, 0.5, 0.1]


@pytest.mark.parametrize(("first", "second"), [("5ep", "5.0ep"), ("1", "1.0"), ("2000st", "2e3st")])
def test_two_spellings_of_a_duration_are_the_same_run(first: str, second: str) -> None:
    configs = [configure([COSINE, f"schedule.warmup={written}"]).values for written in (first, second)]
    assert configs[0] == configs[1]


def test_the_default_of_a_duration_is_its_plain_value() -> None:
    parameters = read_signature("components.schedule.cosine")
    assert parameters is not None
    assert (parameters["warmup"].required, parameters["warmup"].default) == (False, 0.05)
    node = {"_target_": "components.schedule.cosine", "learning_rate": 0.1}
    assert add_defaults({"schedule": node}) == add_defaults({"schedule": node | {"warmup": 0.05}})


@pytest.mark.parametrize(
    ("written", "patience"),
    [("3", 3), ("null", None), ("0.1", Duration(0.1)), ("5ep", Duration(5.0, "epoch")), ("9st", Duration(9.0, "step"))],
)
def test_a_patience_is_a_number_of_evaluations_or_a_duration(written: str, patience: int | Duration | None) -> None:
    values = configure([f"training.patience={written}"]).values["training"]
    assert Training.from_config(values).patience == patience
    words = ("schedule=reduce_on_plateau", f"schedule.patience={written}")
    if patience is not None:
        static, _ = split_scalars(configure(words))
        expected = patience if isinstance(patience, int) else ScalarSlot("schedule.patience", patience.unit)
        assert static["schedule"]["patience"] == expected


def test_a_length_needs_a_number_of_epochs_or_of_steps() -> None:
    message = problem("training.epochs=null", "training.max_minutes=5")
    assert message.startswith("training.epochs: is null, and so is training.steps. Set one of them, or both.")
    configure(["training.epochs=null", "training.steps=5"])
    for word in ("training.steps=0", "training.max_minutes=0", "training.evaluate_steps=0", "training.steps=1.5"):
        assert problem(word).startswith(word.partition("=")[0])


@pytest.mark.parametrize(
    ("epochs", "steps", "drop_remainder", "total"),
    [(2, None, False, 8), (2, None, True, 6), (None, 5, False, 5), (2, 5, False, 5), (2, 99, False, 8)],
)
def test_epochs_and_steps_whichever_ends_first(
    epochs: int | None, steps: int | None, drop_remainder: bool, total: int
) -> None:
    words = [f"training.{name}={value}" for name, value in (("epochs", epochs), ("steps", steps)) if value is not None]
    words += ["training.epochs=null"] if epochs is None else []
    words += ["training.batch_size=3", f"training.drop_remainder={str(drop_remainder).lower()}"]
    assert Training.from_config(configure(words).values["training"]).total_steps(rows=10) == total


def test_a_folder_of_an_earlier_version_has_numbers_of_steps(tmp_path: Path) -> None:
    values = compose(["schedule=exponential"]).values
    earlier = values["training"].copy()
    for name in ("steps", "max_minutes", "evaluate_steps"):
        del earlier[name]
    schedule = values["schedule"] | {"decay_steps": 0.5}
    for training, expected in ((earlier, "0.5st"), (values["training"], 0.5)):
        (tmp_path / "config.yaml").write_text(dump(values | {"training": training, "schedule": schedule}))
        found = add_missing_keys(read_config(tmp_path))
        assert found["schedule"]["decay_steps"] == expected
        assert found["training"] == values["training"]


def test_steps_of_each_unit() -> None:
    clock = Clock(0, 200, 50)
    durations = [Duration(0.25), Duration(0.5, "epoch"), Duration(7, "step")]
    assert [duration.steps(clock).item() for duration in durations] == [50, 25, 7]
    assert {duration.steps(clock).dtype.name for duration in durations} == {"float32"}
