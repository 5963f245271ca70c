"""The programs of this process. Runs that differ only in their numbers share one."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from components.types import Constants
from runner.config.config import Config
from runner.config.scalars import split_scalars
from runner.data.load import Features
from runner.program.parts import numbers_to_arrays
from runner.program.program import Program
from runner.signature.schema import list_architectures

MAX_PROGRAMS = 16  # compiled programs that are kept for later runs
PROGRAM_KEYS = (
    "feature",
    "examples",
    "architecture",
    "loss",
    "loss_weights",
    "metric",
    "optimizer",
    "schedule",
    "step",
    "regularizer",
    "update",
    "constraint",
    "augmentation",
    "calibrate",
)
"""The keys whose parts and numbers are compiled into a program."""


def make_program(
    config: Config, features: Features, constants: Mapping[str, Constants], teacher: Program | None = None
) -> tuple[Program, dict[str, np.ndarray]]:
    """The program of a configuration, and the numbers of its inputs, with the seed.

    Args:
        config: a checked configuration.
        features: the target and the columns.
        constants: the constants of the target and the columns.
        teacher: the program of the teacher. None: there is none.
    """
    static, numbers = split_scalars(config)
    training = config.values["training"]
    if training["precision"] != "float32":
        for node in list_architectures(static["architecture"]):
            node["dtype"] = training["precision"]
    program = get_program(static, features, constants, teacher, compiled=training["compile"])
    return program, numbers_to_arrays(numbers, config.values["seed"])


_PROGRAMS: dict[str, Program] = {}


def get_program(
    static: Mapping[str, Any],
    features: Features,
    constants: Mapping[str, Constants],
    teacher: Program | None = None,
    *,
    compiled: bool = True,
) -> Program:
    """The program of a configuration. Runs that differ only in their numbers share a program.

    Args:
        static: the configuration, with a `ScalarSlot` in place of each number.
        features: the target and the columns.
        constants: the constants of the target and the columns.
        teacher: the program of the teacher, one of this function's. None: there is none.
        compiled: whether its functions are compiled.
    """
    static_constants = {name: sorted(constant.static.items()) for name, constant in constants.items()}
    nodes = [static.get(name) for name in PROGRAM_KEYS]
    training = [static["training"].get(name) for name in ("microbatches", "sampling")]
    key = repr((nodes, training, static_constants, teacher and id(teacher), compiled))
    if key not in _PROGRAMS:
        if len(_PROGRAMS) >= MAX_PROGRAMS:
            _forget_programs()
        _PROGRAMS[key] = Program(static, features, constants, teacher, compiled=compiled)
    return _PROGRAMS[key]


def _forget_programs() -> None:
    """Frees all programs. JAX's own caches would keep the compiled functions, and fill the memory in a long sweep."""
    _PROGRAMS.clear()
    jax.clear_caches()
    gc.collect()
