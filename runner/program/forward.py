"""The forward pass: from encoded examples to a batch and the output of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp

from components.types import Batch, Constants, Output, UserError
from runner.data.encode import WEIGHT, is_input_column, target_column
from runner.data.load import Features
from runner.errors import error_location
from runner.program.model import Augment
from runner.program.objective import augment, make_targets
from runner.program.parts import BuiltParts, ProgramInputs

STREAMS = {"init": 0, "train": 1, "augment": 2}  # each use of randomness has its own stream of keys


class ForwardPass:
    """The forward pass of a model, and of its teacher.

    Args:
        features: the targets and the columns.
        constants: the values fitted on the training split, of the targets and of each column.
        build_teacher: (program inputs) -> the parts of the teacher. None: there is no teacher.
        weighs_training: whether the training objective is weighted, if examples have weights. False: they are drawn in
            proportion to their weights.
    """

    def __init__(
        self,
        features: Features,
        constants: Mapping[str, Constants],
        build_teacher: Callable[[ProgramInputs], BuiltParts] | None,
        *,
        weighs_training: bool,
    ) -> None:
        self._layers = {name: column.layer(constants[name].static) for name, column in features.program_only.items()}
        self._build_teacher, self._weighs_training = build_teacher, weighs_training

    def __call__(
        self,
        parts: BuiltParts,
        program_inputs: ProgramInputs,
        variables: Any,
        encoded: Any,
        *,
        step: jax.Array | None,
        microbatch: Any | None = None,
        present: jax.Array | None = None,
    ) -> tuple[Batch, Output, Any]:
        """The batch, the model's output for it, and the model's new state.

        Args:
            parts: the parts of the experiment.
            program_inputs: numbers and constants.
            variables: the Flax variables of the model.
            encoded: the encoded columns of the examples, with the targets.
            step: the training step. None: inference.
            microbatch: the number of the part of the batch, which gets random keys of its own. None: the whole batch.
            present: bool (B,), false for padding. None: no example is padding.
        """
        if present is None:
            present = jnp.ones(len(jax.tree.leaves(encoded)[0]), bool)
        columns = self.apply_layers(program_inputs, encoded)
        specs = {name: target.spec for name, target in parts.targets.items()}
        targets = {name: columns[target_column(name)] for name in specs}
        is_weighted = WEIGHT in columns and (step is None or self._weighs_training)
        weight = columns[WEIGHT][:, 0] if is_weighted else None
        batch = make_targets(specs, targets, present, weight)
        arguments: dict[str, Any] = {"train": False, "mutable": []}
        if step is not None:
            keys = [random_key(program_inputs, stream, step) for stream in ("augment", "train")]
            if microbatch is not None:
                keys = [jax.random.fold_in(key, microbatch) for key in keys]
            arguments = {
                "train": True,
                "augment": partial(augment, parts.augmentations, keys[0]) if parts.augmentations else None,
                "mutable": [name for name in variables if name != "params"],
                "rngs": {"dropout": keys[1]},
            }
        with error_location("architecture"):
            # The model applies the augmentation, because augmentations change what the layers of the columns return.
            (augmented, output), model_state = parts.model.apply(
                variables, select_inputs(encoded), program_inputs.constants, batch, **arguments
            )
        logits = self._apply_teacher(parts, program_inputs, encoded, batch, arguments.get("augment"))
        return augmented._replace(teacher=logits), output, model_state

    def _apply_teacher(
        self, parts: BuiltParts, program_inputs: ProgramInputs, encoded: Any, batch: Batch, augment: Augment | None
    ) -> Mapping[str, jax.Array]:
        """The teacher's logits by target, for the inputs that the student gets. Without a teacher, there are none.

        The inputs are augmented twice in the same way, which XLA computes once.

        Args:
            parts: the parts of the experiment.
            program_inputs: numbers and constants, and the inputs of the teacher.
            encoded: the encoded columns of the examples.
            batch: the targets, masks and weights, without inputs.
            augment: changes the batch.
        """
        if self._build_teacher is None or program_inputs.teacher is None:
            return {}
        numbers, variables = program_inputs.teacher
        constants, inputs = program_inputs.constants, select_inputs(encoded)
        with error_location("teacher"):
            teacher = self._build_teacher(ProgramInputs(numbers, constants))
            given, needed = ({name: target.head for name, target in each.targets.items()} for each in (teacher, parts))
            if given != needed:
                raise UserError(
                    f"its logits have the shapes {given}, and the losses of this run need {needed}. Choose another "
                    "teacher, or the loss that it was trained with."
                )
            (_, output), _ = teacher.model.apply(
                variables, inputs, constants, batch, train=False, mutable=[], augment=augment
            )
        return cast("Mapping[str, jax.Array]", output.outputs)

    def apply_layers(self, program_inputs: ProgramInputs, encoded: Mapping[str, Any]) -> dict[str, Any]:
        """The targets and the weights of examples, from the encoded columns among `encoded` that hold them."""
        layers = {name: layer for name, layer in self._layers.items() if name in encoded}
        return {name: layer(encoded[name], program_inputs.constants[name]) for name, layer in layers.items()}


def random_key(program_inputs: ProgramInputs, stream: str, step: jax.Array | int) -> jax.Array:
    """The random key of a stream at a step."""
    seed_key = jax.random.key(program_inputs.numbers["seed"])
    return jax.random.fold_in(jax.random.fold_in(seed_key, STREAMS[stream]), step)


def select_inputs(encoded: Mapping[str, Any]) -> dict[str, Any]:
    """The encoded columns that the model gets: all but the targets and the weights."""
    return {name: arrays for name, arrays in encoded.items() if is_input_column(name)}
