"""The teacher of a run: a finished run, whose logits the loss reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from components.closest import join_names
from components.types import Constants, UserError
from runner.config.config import Config
from runner.data.load import Data, Features
from runner.errors import LocatedError, error_location
from runner.execution.finished_run import FinishedRun, find_finished_run
from runner.program.parts import TeacherInputs
from runner.program.program import Program


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A finished run as the teacher.

    Attributes:
        run: a run folder, its name below `folder`, or an MLflow run id.
    """

    run: str


class LoadedTeacher(NamedTuple):
    """A teacher that is ready to be asked.

    Attributes:
        program: its program.
        inputs: its numbers and weights, on the device.
        data_fingerprint: the fingerprint of the data that it was trained on, and of its splits.
    """

    program: Program
    inputs: TeacherInputs
    data_fingerprint: str

    def check_splits(self, data: Data) -> None:
        """Raises UserError unless the teacher was trained on the training split of a run's data."""
        if self.data_fingerprint != data.fingerprint:
            raise LocatedError(
                "teacher.run",
                "it was trained on other data, or on another split, so it may have learned examples that this run "
                "holds out. Train the teacher with the same data, data.seed, folds and fold.",
            )


def load_teacher(
    config: Config, data: Data, features: Features, on_warning: Callable[[str], None]
) -> LoadedTeacher | None:
    """Loads the teacher of a configuration; None: it has none.

    Args:
        config: a checked configuration.
        data: the encoded data of the student.
        features: the columns and the targets of the student.
        on_warning: called with each warning, such as a damaged checkpoint.

    Raises:
        UserError: there is no such run, or its targets or columns are not those of the student.
    """
    node = config.values.get("teacher")
    if node is None:
        return None
    with error_location("teacher.run"):
        run = find_finished_run(config, node["run"], "teacher.run", on_warning)
        _check_same_targets(run, data, features)
        _check_same_columns(run, data, features)
    variables = {"params": run.weights.parameters, **run.weights.model_state}
    inputs = TeacherInputs(run.program_inputs.numbers, variables)
    return LoadedTeacher(run.program, inputs, run.record["datasets"][0]["digest"])


def teacher_fingerprint(teacher: TeacherInputs | None) -> str:
    """A digest of the teacher's weights; "" if there is no teacher."""
    if teacher is None:
        return ""
    content = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(teacher.variables):
        content.update(np.asarray(leaf).tobytes())
    return content.hexdigest()


def _check_same_targets(run: FinishedRun, data: Data, features: Features) -> None:
    """Raises UserError unless a run predicts the same targets, of the same kind and with the same classes in order."""
    own, other = features.bind_targets(data.constants), run.transform.features.bind_targets(run.transform.constants)
    if own.keys() != other.keys():
        raise UserError(f"it predicts {join_names(other)}, and this run {join_names(own)}. Choose another teacher.")
    for name, spec in own.items():
        if spec.kind != other[name].kind:
            kinds = f"has the kind {other[name].kind}, and that of this run {spec.kind}"
            raise UserError(f"its {name} {kinds}. Choose another teacher.")
        if spec.classes != other[name].classes:
            classes = [join_names(each.classes) if each.classes else "numbers" for each in (other[name], spec)]
            raise UserError(f"its {name} is {classes[0]}, and that of this run {classes[1]}. Choose another teacher.")


def _check_same_columns(run: FinishedRun, data: Data, features: Features) -> None:
    """Raises UserError unless the columns of a run encode rows as those of the student do."""
    for name in features.columns:
        constants = run.transform.constants.get(name)
        if constants is None or not have_same_values(constants, data.constants[name]):
            raise UserError(
                f"its column {name} was fitted to other training data, or by another version of Titrate. Train the "
                "teacher on the training split of this run."
            )


def have_same_values(first: Constants, second: Constants) -> bool:
    """Whether two columns have the same fitted values."""

    def has_same_arrays(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
        return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)

    return (
        first.static == second.static  # without order: its values are read by their names
        and has_same_arrays(first.host, second.host)
        and has_same_arrays(first.device, second.device)
    )
