"""Loads the weights of finished runs as initial weights of another run, whose columns may be fitted to other rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from components.closest import join_names
from components.types import Constants, MatchesRows, ParameterRows, UnusableArray, UserError
from runner.config.config import Config
from runner.config.recorded_config import add_defaults
from runner.data.encode import encoding_order, parent_keys
from runner.data.load import Data, Features
from runner.data.python_rows import PythonData
from runner.display.progress import Progress
from runner.execution.finished_run import FinishedRun, find_finished_run
from runner.execution.run_data import load_data
from runner.execution.teacher import have_same_values
from runner.execution.trained_rows import warn_of_trained_rows
from runner.program.initial_weights import ARCHITECTURE, list_variables
from runner.program.trees import list_paths
from runner.run_folder import read_summary

COLUMN_PREFIX = "columns_"  # of the names of the columns' modules within `Model`
COUNTS = ("documents", "rows")  # constants that count training rows. They don't change what an id stands for
HEAD = f"{ARCHITECTURE}/head"  # the layer that computes the logits


class RunLoader:
    """Loads the variables of finished runs by their names, and notes what differs there.

    Args:
        config: the configuration of the run that starts from them.
        features: its targets and columns.
        data: its encoded data.
        source: replaces the source that its `data` names. None: that source.
        progress: shows warnings, such as about a damaged checkpoint.
    """

    def __init__(
        self, config: Config, features: Features, data: Data, source: PythonData | None, progress: Progress
    ) -> None:
        self._config, self._features, self._constants, self._progress = config, features, data.constants, progress
        self._data, self._source = data, source
        self._nodes = _list_column_nodes(config)
        self._notes: list[tuple[str, str]] = []  # each with the start of the paths that it is about

    def __call__(self, name: str) -> dict[str, Any]:
        """The variables of a run's model on the host, as `ModelWeights.bind` needs them."""
        try:
            run = find_finished_run(self._config, name, "run", self._progress.note)
        except UserError as error:
            raise UserError(str(error).removeprefix("run=")) from error
        self._note_status(run)
        self._warn_of_trained_rows(run)
        self._note_targets(run)
        changes = self._list_changes(run)
        self._note_columns(run, changes)
        variables = jax.device_get(list_variables(run.weights.parameters, run.weights.model_state))
        return {
            collection: {module: self._adapt(module, branch, run, changes) for module, branch in tree.items()}
            for collection, tree in variables.items()
        }

    def list_notes(self, arrays: Mapping[str, Any]) -> Iterator[str]:
        """Yields what the user should know about the weights that are taken.

        Args:
            arrays: the initial weights, a subtree of the variables of the model.
        """
        paths = [path for tree in arrays.values() for path in list_paths(tree)]
        for start, text in dict.fromkeys(self._notes):
            if any(path.startswith(start) for path in paths):
                yield text
        for tree in arrays.values():
            for path, leaf in zip(list_paths(tree), jax.tree.leaves(tree), strict=True):
                if isinstance(leaf, ParameterRows):
                    yield (
                        f"note: {path}: {len(leaf.rows):,} of {leaf.row_count:,} rows are of the run, and the others "
                        "stay random, because their values aren't in its vocabulary"
                    )

    def _note_status(self, run: FinishedRun) -> None:
        status, epoch = read_summary(run.folder).get("status", "interrupted"), run.weights.epoch
        if status != "finished":
            reached = "its latest weights" if epoch is None else f"its best weights so far, of epoch {epoch:g},"
            self._notes.append(("", f"warning: the run {run.folder.name} is {status}; {reached} are taken"))

    def _warn_of_trained_rows(self, run: FinishedRun) -> None:
        """Notes held-out rows that the run was trained on, which another way to split the same data hides."""
        if self._source is None and "_target_" not in run.config.values["data"]:
            return  # its data came from Python, and isn't there

        def load(config: Config, constants: Mapping[str, Constants]) -> Data:
            return load_data(config, self._source, self._progress, constants)[0]

        if text := warn_of_trained_rows(run, self._config, self._data, load):
            self._notes.append(("", text))

    def _note_targets(self, run: FinishedRun) -> None:
        """Notes classes that differ, which a head of the same size would hide."""
        own = self._features.bind_targets(self._constants)
        other = run.transform.features.bind_targets(run.transform.constants)
        for name in own.keys() & other.keys():
            classes = [each[name].classes for each in (other, own)]
            if all(classes) and classes[0] != classes[1]:
                lists = [join_names([str(each) for each in one or ()]) for one in classes]
                text = f"note: the head is of the classes {lists[0]} in {run.folder.name}, and here of {lists[1]}. "
                self._notes.append((HEAD, f"{text}To train a new one, set weights.skip=[head]"))

    def _note_columns(self, run: FinishedRun, changes: Mapping[str, str]) -> None:
        """Notes columns that encode rows in another way than the run, so that the network gets other inputs."""
        columns, inputs = self._features.columns, self._features.inputs.values()
        plain = (name for names in inputs for name in names if not isinstance(columns[name], MatchesRows))
        read = encoding_order(columns, {"": tuple(plain)})
        if names := [name for name in read if name in changes and name in run.transform.constants]:
            text = (
                f"note: {run.folder.name} encodes {join_names(names)} in another way, because it was fitted to other "
            )
            text += "rows, or is defined otherwise, so the network gets other inputs than there"
            self._notes.append((f"{ARCHITECTURE}/", text))

    def _adapt(self, module: str, branch: Any, run: FinishedRun, changes: Mapping[str, str]) -> Any:
        """The parameters of a module of the run's model, with those of a column for the ids of this run."""
        name, columns, others = module.removeprefix(COLUMN_PREFIX), self._features.columns, run.transform
        if not module.startswith(COLUMN_PREFIX) or name not in columns or name not in others.constants:
            return branch
        column, other = columns[name], others.features.columns[name]
        if isinstance(column, MatchesRows) and type(column) is type(other):
            own_parents = [self._constants[key] for key in parent_keys(columns, name)]
            parents = [others.constants[key] for key in parent_keys(others.features.columns, name)]
            rows = column.match_rows(own_parents, parents)
            if rows is not None:
                return jax.tree.map(lambda array: _take_rows(array, rows), branch)
        reasons = [changes[each] for each in self._list_read(name) if each in changes]
        if not reasons:
            return branch
        return jax.tree.map(lambda _: UnusableArray(f"{reasons[0]}, so its rows mean something else."), branch)

    def _list_read(self, name: str) -> list[str]:
        """The columns that a column reads, directly or not."""
        return encoding_order(self._features.columns, {"": tuple(parent_keys(self._features.columns, name))})

    def _list_changes(self, run: FinishedRun) -> dict[str, str]:
        """How columns differ from those of a run, by name. The other ones encode rows as there."""
        others, constants = _list_column_nodes(run.config), run.transform.constants
        changes = {}
        for name, node in self._nodes.items():
            if name not in others:
                changes[name] = f"the run has no column {name}"
            elif node != others[name]:
                changes[name] = f"the column {name} is defined otherwise in the run"
            elif name in self._constants.keys() & constants.keys() and not have_same_values(
                _without_counts(self._constants[name]), _without_counts(constants[name])
            ):
                changes[name] = f"the column {name} was fitted to other rows in the run"
        return changes


def _list_column_nodes(config: Config) -> dict[str, Any]:
    """The configurations of the columns by name, with the defaults of their parameters."""
    columns: dict[str, Any] = add_defaults(dict(config.values["feature"]))["columns"]
    return columns


def _without_counts(constants: Constants) -> Constants:
    return constants._replace(host={name: array for name, array in constants.host.items() if name not in COUNTS})


def _take_rows(array: np.ndarray, rows: np.ndarray) -> Any:
    """The rows of a parameter, where -1 is none; the parameter itself if that changes nothing."""
    if np.array_equal(rows, np.arange(len(array))):
        return array
    known = np.flatnonzero(rows >= 0)
    taken = array[rows[known]]
    return taken if len(known) == len(rows) else ParameterRows(known, taken, len(rows))
