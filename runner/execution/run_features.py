"""The features of a finished run: what a stage of its network computes for rows, computed once and cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
from components.types import ComputedFeatures, FieldError, ReadsFiles, UserError, row_count
from runner.config.config import Config
from runner.data.batches import gather_rows
from runner.data.encoded_cache import EncodedCache
from runner.data.load import Data
from runner.data.stacked_columns import stack_columns
from runner.data.transform import Rows
from runner.data.used_rows import select_used
from runner.execution.finished_run import FinishedRun, find_finished_run
from runner.log import LOG
from runner.platform import cache_folder
from runner.signature.code import digest_code, part_packages
from runner.signature.operations import build_operation

VERSION = 1  # of the cached features; raise it when the same run computes others
EVALUATED = "evaluates"  # the attribute of augmentations that change evaluations


def load_run(config: Config, name: str, on_warning: Callable[[str], None]) -> FinishedRun:
    """Loads the run whose features are computed.

    Raises:
        UserError: there is no such run, or a row of it has no fixed features.
    """
    run = find_finished_run(config, name, "data.run", on_warning)
    if run.config.values["examples"] is not None:
        raise UserError("an example of the run has several rows, so a row has no features. Choose another run.")
    parts = run.program.build_parts(run.program_inputs)
    if changing := [name for name, each in parts.augmentations.items() if getattr(each, EVALUATED, False)]:
        raise UserError(
            f"its augmentation {changing[0]} also changes evaluations, so a row has no fixed features. Choose another "
            "run."
        )
    return run


def configure_rows(config: Config, run: Config) -> Config:
    """The configuration of the rows, which are encoded as the inputs of a run.

    The rows of the run pass through its operations, and other rows through those that new rows pass through. The
    operations of the command follow. They don't see the features.

    Args:
        config: the configuration of the command.
        run: the configuration of the run.

    Raises:
        UserError: the data of the run came from Python.
    """
    of_run, other_rows = run.values, config.values["data"].get("rows")
    if other_rows is None and "_target_" not in of_run["data"]:
        raise UserError("its data came from Python. Name a source of rows, such as data.rows.option=npz.")
    operations = of_run["operations"]
    if other_rows is not None:
        operations = [node for n, node in enumerate(operations) if build_operation(node, n).applies_to_new_rows]
    values = config.values | {
        "data": of_run["data"] if other_rows is None else other_rows,
        "feature": of_run["feature"] | {"target": None, "targets": {}, "weight": None},
        "operations": [*operations, *config.values["operations"]],
        "examples": None,
        "folds": of_run["folds"] if other_rows is None else None,
        "fold": of_run["fold"] if other_rows is None else None,
    }
    return replace(config, values=values, raw=values, suggestion=None)


def check_same_rows(run: FinishedRun, data: Data) -> None:
    """Raises UserError if the data of a run, or its splits, have changed since it was trained."""
    if any(isinstance(target, ReadsFiles) for target in run.transform.features.targets.values()):
        return  # their files count in the run's digest, and aren't read here
    if any(dataset["digest"] != data.fingerprint for dataset in run.record["datasets"]):
        raise UserError(
            "its data, or how it is split, has changed since it was trained, so its features may come from rows that "
            "are held out now. Undo the change, or train it again."
        )


def compute_features(run: FinishedRun, data: Data, stage: str | None) -> ComputedFeatures:
    """Computes the features of encoded rows, or takes them from the cache.

    Args:
        run: the run.
        data: the rows, encoded as its inputs, and their source with all columns.
        stage: the stage of its network. None: the last one.

    Raises:
        UserError: the network has no such stage, or a row of it no array of numbers.
    """
    computation = StageOutputs(run, data.encoded, stage)
    assert data.source is not None
    rows = select_used(data.source, data.used_rows)
    about = f"{computation.stage} of {run.folder.name}"
    entries = EncodedCache(cache_folder() if data.encoding_id else None, lambda: about)
    code = digest_code(part_packages([run.config.values["architecture"]]))
    digest = hashlib.blake2b(f"{VERSION} {data.encoding_id} {computation.identity} {code}".encode(), digest_size=16)
    encoded = entries.load_or_encode(
        digest.hexdigest(), lambda: _as_column(computation.batches([data.encoded])), _count_rows(data.encoded)
    )
    LOG.info("the features are ready: %s", about)
    return ComputedFeatures(
        rows,
        cast(np.ndarray, encoded["features"]["values"]),
        data.splits,
        f"{data.fingerprint} {computation.identity}",
        (*data.left_out, *entries.warnings),
        data.row_numbers,
        data.skipped_rows,
        data.notes,
        computation.network,
    )


def _as_column(batches: Iterator[np.ndarray]) -> Iterator[dict[str, dict[str, Any]]]:
    """Consecutive features as pieces of an encoded column."""
    return ({"features": {"values": values}} for values in batches)


def _count_rows(encoded: Rows) -> int:
    return row_count(next(iter(next(iter(encoded.values())).values())))


class StageOutputs:
    """The outputs of a stage of the network of a finished run for encoded rows, in batches.

    Args:
        run: the run.
        encoded: rows, encoded as its inputs.
        stage: the stage of its network. None: the last one.

    Attributes:
        stage: the name of the stage.

    Raises:
        FieldError: the network has no such stage, or no stage with a row for each row.
    """

    def __init__(self, run: FinishedRun, encoded: Rows, stage: str | None) -> None:
        self._run = run
        self._size = min(run.training.evaluation_batch_size, _count_rows(encoded))
        self.stage = self._choose_stage(encoded, stage)
        self._apply = jax.jit(self._compute_stage) if run.program.is_compiled else self._compute_stage

    @property
    def identity(self) -> str:
        """What the features depend on beside the rows: the network and its weights, as text."""
        weights = hashlib.blake2b(digest_size=16)
        variables = {"params": self._run.weights.parameters, **self._run.weights.model_state}
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
            weights.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
            weights.update(np.asarray(leaf).tobytes())
        network = [self._run.config.values[name] for name in ("architecture", "feature")]
        precision = self._run.config.values["training"]["precision"]
        return json.dumps([self.stage, weights.hexdigest(), network, precision], sort_keys=True)

    @property
    def network(self) -> str:
        """A digest of the identity."""
        return hashlib.blake2b(self.identity.encode(), digest_size=16).hexdigest()

    def batches(self, pieces: Iterable[Rows]) -> Iterator[np.ndarray]:
        """Yields the features of consecutive rows, float32 (B, …).

        Args:
            pieces: the rows, encoded piece by piece.

        Raises:
            FieldError: the features have several shapes.
        """
        shape: tuple[int, ...] | None = None
        for values in (values for encoded in pieces for values in self._apply_to(encoded)):
            if shape not in (None, values.shape[1:]):
                raise FieldError(
                    "stage",
                    f"{self.stage} has the shape {shape} for some rows and {values.shape[1:]} for others, because the "
                    "lists of rows have different lengths. Choose a stage with one shape.",
                )
            shape = values.shape[1:]
            yield values

    def _apply_to(self, encoded: Rows) -> Iterator[np.ndarray]:
        """Yields the features of rows, in batches of one size but for the last one."""
        rows = _count_rows(encoded)
        for first in range(0, rows, self._size):
            yield np.asarray(self._apply(*self._arguments(encoded, first)))[: rows - first]

    def _choose_stage(self, encoded: Rows, stage: str | None) -> str:
        """The name of the stage. Raises FieldError if there is none of this name, or it has no row for each row."""
        order: list[str] = []  # JAX sorts the keys of what a traced function returns

        def trace(*arguments: Any) -> dict[str, jax.Array]:
            computed = self._compute(*arguments)
            order.extend(computed)
            return computed

        found: Mapping[str, Any] = jax.eval_shape(trace, *self._arguments(encoded, 0))
        usable = [name for name in order if found[name].shape[:1] == (self._size,)]
        if not usable:
            raise FieldError(
                "run",
                f"the network of {self._run.folder.name} has no features, because it has no layer before its outputs. "
                "Choose another run.",
            )
        if stage is not None and stage not in usable:
            raise FieldError(
                "stage", f"the network has no stage {stage}. {suggest_name(stage, usable, title='Stages')}"
            )
        return usable[-1] if stage is None else stage

    def _arguments(self, encoded: Rows, first: int) -> tuple[Any, ...]:
        """The arguments of `_compute` for the batch of rows from `first` on. The last row fills the last batch."""
        rows = np.arange(first, first + self._size).clip(max=_count_rows(encoded) - 1)
        batch = stack_columns(gather_rows(encoded, rows), 1, self._run.program.column_kinds)
        variables = {"params": self._run.weights.parameters, **self._run.weights.model_state}
        return self._run.program_inputs, variables, batch

    def _compute_stage(self, *arguments: Any) -> jax.Array:
        return self._compute(*arguments)[self.stage]

    def _compute(self, program_inputs: Any, variables: Any, encoded: Any) -> dict[str, jax.Array]:
        """The features by stage, float32 (B, …)."""
        model: Any = self._run.program.build_parts(program_inputs).model
        _, output = model.apply(variables, encoded, program_inputs.constants, train=False)
        return {
            name: jnp.asarray(values, jnp.float32)
            for name, values in (output.features or {}).items()
            if hasattr(values, "dtype")
        }
