"""The forward pass: from encoded examples to a batch and the output of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp

from components.types import Batch, Constants, Output, UserError
from runner.data.encode import TARGET, WEIGHT, is_input_column, target_column
from runner.data.load import Features
from runner.data.stacked_columns import StackedColumns
from runner.data.steps import flatten_steps
from runner.errors import error_location
from runner.program.model import Augment, Model, list_inputs
from runner.program.monte_carlo import make_streams
from runner.program.objective import augment, make_targets
from runner.program.parts import BuiltParts, ProgramInputs
from runner.program.samples import Samples

STREAMS = {
    "init": 0,
    "train": 1,
    "augment": 2,
    "evaluate": 3,
    "mc": 4,
}  # each use of randomness has its own stream of keys


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
        self._join_targets = features.join_targets
        self._build_teacher, self._weighs_training = build_teacher, weighs_training

    def __call__(
        self,
        parts: BuiltParts,
        program_inputs: ProgramInputs,
        variables: Any,
        encoded: Any,
        *,
        step: jax.Array | None,
        part: Any | None = None,
        present: jax.Array | None = None,
        mc_key: jax.Array | None = None,
        changes_parameters: bool = False,
    ) -> tuple[Batch, Output, Any]:
        """The batch, the model's output for it, and the model's new state.

        Args:
            parts: the parts of the experiment.
            program_inputs: numbers and constants.
            variables: the Flax variables of the model.
            encoded: the encoded columns of the examples, with the targets.
            step: the training step. None: an evaluation.
            part: the number of the part of a training batch, or of the batch in an evaluation, which gets random keys
                of its own. None: there is one.
            present: bool (B,), false for padding. None: no example is padding.
            mc_key: the random key of a sample of Monte Carlo dropout, in an evaluation. None: dropout is off there.
            changes_parameters: whether modules may change their parameters, which the new state then holds as `params`.
        """
        batch = self._make_batch(parts, program_inputs, encoded, is_training=step is not None, present=present)
        augment = self._make_augment(parts, program_inputs, step, part)
        arguments: dict[str, Any] = {"train": False, "mutable": [], "augment": augment}
        if step is not None:
            key = _random_key_of_part(program_inputs, "train", step, part)
            mutable = [name for name in variables if name != "params" or changes_parameters]
            arguments |= {"train": True, "mutable": mutable, "rngs": {"dropout": key}}
        elif mc_key is not None:
            arguments["rngs"] = make_streams(mc_key)
        with error_location("architecture"):
            # The model applies the augmentation, because augmentations change what the layers of the columns return.
            (augmented, output), model_state = parts.model.apply(
                variables, select_inputs(encoded), program_inputs.constants, batch, **arguments
            )
        logits = self._apply_teacher(parts, program_inputs, encoded, batch, augment)
        return augmented._replace(teacher=logits), output, model_state

    def init(self, parts: BuiltParts, program_inputs: ProgramInputs, encoded: Any) -> Any:
        """The initial variables of the model. Of the encoded examples only the shapes matter."""
        keys = jax.random.split(random_key(program_inputs, "init", 0), 2)
        streams, constants = {"params": keys[0], "dropout": keys[1]}, program_inputs.constants
        batch, augment = None, None
        if any(augmentation.adds_inputs for augmentation in parts.augmentations.values()):
            batch = self._make_batch(parts, program_inputs, encoded, is_training=True)
            augment = self._make_augment(parts, program_inputs, jnp.int32(0), None)
        with error_location("architecture"):
            return parts.model.init(streams, select_inputs(encoded), constants, batch, train=True, augment=augment)

    def _make_batch(
        self,
        parts: BuiltParts,
        program_inputs: ProgramInputs,
        encoded: Any,
        *,
        is_training: bool,
        present: jax.Array | None = None,
    ) -> Batch:
        """The batch before it has inputs: targets, masks and weights."""
        if present is None:
            present = jnp.ones(len(jax.tree.leaves(encoded)[0]), bool)
        columns = self.apply_layers(program_inputs, encoded)
        targets = {name: columns[target_column(name)] for name in parts.data_targets}
        is_weighted = WEIGHT in columns and (self._weighs_training or not is_training)
        return make_targets(parts.data_targets, targets, present, columns[WEIGHT][:, 0] if is_weighted else None)

    def _make_augment(
        self, parts: BuiltParts, program_inputs: ProgramInputs, step: jax.Array | None, part: Any | None
    ) -> Augment | None:
        """The function that augments a batch, with its random key. The arguments are those of a call."""
        augmentations = parts.augmentations
        if step is None:
            augmentations = {name: each for name, each in augmentations.items() if each.evaluates}
        if not augmentations:
            return None
        if step is None:
            key = _random_key_of_part(program_inputs, "evaluate", 0, part)
        else:
            key = _random_key_of_part(program_inputs, "augment", step, part)
        return partial(augment, augmentations, key)

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
            augment_own = None if augment is None else _augment_teacher(augment, teacher.model, parts.model)
            (_, output), _ = teacher.model.apply(
                variables, inputs, constants, batch, train=False, mutable=[], augment=augment_own
            )
        return cast("Mapping[str, jax.Array]", output.outputs)

    def check_teacher(self, parts: BuiltParts, program_inputs: ProgramInputs) -> None:
        """Raises UserError unless the teacher, if there is one, has as many logits as the losses of this run compare.

        Args:
            parts: the parts of the experiment.
            program_inputs: as in a call.
        """
        if self._build_teacher is None or program_inputs.teacher is None:
            return
        teacher = self._build_teacher(ProgramInputs(program_inputs.teacher.numbers, program_inputs.constants))
        for name, own in parts.targets.items():
            other = teacher.targets[name]
            if other.head == own.head:
                continue
            with error_location("teacher.run"):
                example = ", such as softmax_cross_entropy" if own.head[-1:] == (own.spec.outputs,) else ""
                raise UserError(
                    f"for {name}, the network of its loss {other.loss_name} has {_describe_head(other.head)}, and that "
                    f"of this run's {own.loss_name} {_describe_head(own.head)}. Choose a teacher that was trained with "
                    f"a loss of as many logits{example}."
                )

    def apply_layers(self, program_inputs: ProgramInputs, encoded: Mapping[str, Any]) -> dict[str, Any]:
        """The targets and the weights of examples, from the encoded columns among `encoded` that hold them."""
        layers = {name: layer for name, layer in self._layers.items() if name in encoded}
        constants = program_inputs.constants
        join = self._join_targets
        return {name: apply_target_layer(layer, encoded[name], constants[name], join) for name, layer in layers.items()}


def apply_target_layer(
    layer: Callable[..., Any],
    encoded: Mapping[str, Any],
    constants: Mapping[str, Any],
    join: Callable[[Any], Any] | None,
) -> Any:
    """What the layer of a target or of the weights returns. `join` makes the target of an example of several rows."""
    rows, steps = flatten_steps({TARGET: encoded})
    values = layer(rows[TARGET], constants)
    return values if steps is None or join is None else join(values.reshape(-1, steps, *values.shape[1:]))


def _describe_head(shape: tuple[int, ...]) -> str:
    """The logits of an example, as in "4 logits"."""
    text = " x ".join(map(str, shape))
    return f"{text} logit{'' if shape == (1,) else 's'}"


def _augment_teacher(augment: Augment, teacher: Model, student: Model) -> Augment:
    """The function that augments the inputs of a teacher as those of the student.

    The augmentation gets them by the names and in the order that the student has for inputs of the same columns, since
    its random numbers may depend on both. Added inputs that the teacher doesn't take are left out.

    Raises:
        UserError: the inputs of the teacher join other columns than those of the student.
    """
    names: dict[str, str] = {}  # of the teacher's inputs, by those of the student
    for name, columns in student.input_columns.items():
        same = [own for own, others in teacher.input_columns.items() if others == columns and own not in names.values()]
        if same:
            names[name] = name if name in same else same[0]
    if len(names) < max(len(student.input_columns), len(teacher.input_columns)):
        own, other = (
            ", ".join(f"{name} [{', '.join(columns)}]" for name, columns in model.input_columns.items())
            for model in (teacher, student)
        )
        raise UserError(
            f"it has the inputs {own}, and this run {other}, which augmentations would change in other ways. Give both "
            "the same columns in the same order, or leave out the augmentations."
        )

    def augment_own(batch: Batch) -> Batch:
        changed = augment(batch._replace(inputs={name: batch.inputs[own] for name, own in names.items()}))
        inputs = {names.get(name, name): each for name, each in changed.inputs.items()}
        taken = {*batch.inputs, *list_inputs(teacher.architecture)}
        return changed._replace(inputs={name: each for name, each in inputs.items() if name in taken})

    return augment_own


def random_key(program_inputs: ProgramInputs, stream: str, step: jax.Array | int) -> jax.Array:
    """The random key of a stream at a step."""
    seed_key = jax.random.key(program_inputs.numbers["seed"])
    return jax.random.fold_in(jax.random.fold_in(seed_key, STREAMS[stream]), step)


def draw_samples(
    sample: Callable[..., dict[str, Samples]],
    samples: dict[str, Samples],
    count: int | None,
    number: int,
    program_inputs: ProgramInputs,
    *inputs: Any,
) -> dict[str, Samples]:
    """Adds samples of Monte Carlo dropout for a batch to `samples`, or the output without dropout.

    Args:
        sample: (samples, random key, program inputs, *inputs) -> the samples with one more.
        samples: the samples before.
        count: how many are added. None: one, without dropout.
        number: the number of the batch, which has random keys of its own.
        program_inputs: numbers and constants.
        inputs: the other arguments of `sample`.
    """
    key = None if count is None else random_key(program_inputs, "mc", number)
    for _ in range(count or 1):
        samples = sample(samples, key, program_inputs, *inputs)
    return samples


def _random_key_of_part(
    program_inputs: ProgramInputs, stream: str, step: jax.Array | int, part: Any | None
) -> jax.Array:
    """The random key of a part of a batch, or of the whole batch."""
    key = random_key(program_inputs, stream, step)
    return key if part is None else jax.random.fold_in(key, part)


def select_inputs(encoded: Mapping[str, Any]) -> Mapping[str, Any]:
    """The encoded columns that the model gets: all but the targets and the weights."""
    if isinstance(encoded, StackedColumns):
        return encoded.select(is_input_column)
    return {name: arrays for name, arrays in encoded.items() if is_input_column(name)}
