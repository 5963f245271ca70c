"""Arrays of many columns as one, so that a wide table has few arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from runner.data.steps import Steps, WindowedRows

Arrays = Mapping[str, Any]
MAX_AXES = 2  # of arrays that are stacked: a stack is a copy, and images are large


@jax.tree_util.register_pytree_with_keys_class
class StackedColumns(Mapping[str, Arrays]):
    """Arrays by column and name. Columns whose arrays have the same names, types and shapes are kept as one array.

    For JAX, it is a pytree of these arrays. A program then has an input for each of them, and not for each column.

    Args:
        stacks: arrays by name, by the names of their columns. Those of several columns have an axis for the columns.
        axis: the axis for the columns.
        numbers: the numbers 0, 1, … as arrays, if the program needs some of them as inputs.
    """

    def __init__(self, stacks: Mapping[tuple[str, ...], Arrays], axis: int, numbers: tuple[Any, ...] = ()) -> None:
        self.stacks, self.axis, self.numbers = stacks, axis, numbers

    @functools.cached_property
    def _places(self) -> dict[str, tuple[tuple[str, ...], int]]:
        """The names of the columns of each column's stack, and its position among them."""
        return {name: (names, number) for names in self.stacks for number, name in enumerate(names)}

    def __getitem__(self, name: str) -> dict[str, Any]:
        names, number = self._places[name]
        arrays = self.stacks[names]
        return dict(arrays) if len(names) == 1 else {key: self._take(array, number) for key, array in arrays.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def select(self, is_selected: Callable[[str], bool]) -> StackedColumns:
        """The columns whose names are selected: all of a stack, or none."""
        return StackedColumns({names: each for names, each in self.stacks.items() if is_selected(names[0])}, self.axis)

    def layout(self, name: str) -> Any:
        """As `layout_of`."""
        names, _ = self._places[name]
        return id(names) if len(names) > 1 else describe_arrays(self.stacks[names])

    def stack(self, names: Sequence[str]) -> Arrays | None:
        """The arrays of columns of one stack, with an axis for them. None: they are in several stacks."""
        found = self._places[names[0]][0]
        if len(found) == 1 or any(self._places[name][0] is not found for name in names):
            return None
        if len(names) == len(found) and tuple(names) == found:
            return self.stacks[found]
        numbers = np.array([self._places[name][1] for name in names])
        return {key: self._take(array, numbers) for key, array in self.stacks[found].items()}

    def _take(self, array: Any, numbers: int | np.ndarray) -> Any:
        """The arrays of one column, or of several."""
        if isinstance(array, jax.ShapeDtypeStruct):
            return jax.eval_shape(lambda values: self._take(values, numbers), array)
        steps = np.unique(np.diff(numbers)) if isinstance(numbers, np.ndarray) else np.array([])
        index: Any = numbers
        if len(steps) == 1 and steps[0] > 0:  # a slice is faster
            first, last = np.asarray(numbers)[[0, -1]].tolist()
            index = slice(first, last + 1, int(steps[0]))
        return array[(*[slice(None)] * self.axis, index)]

    def tree_flatten_with_keys(self) -> tuple[tuple[Any, ...], tuple[tuple[tuple[str, ...], ...], int]]:
        keys = [f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0] for names in self.stacks]
        children, static = self.tree_flatten()
        return tuple(zip(map(jax.tree_util.DictKey, [*keys, "numbers"]), children, strict=True)), static

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[tuple[tuple[str, ...], ...], int]]:
        return (*self.stacks.values(), self.numbers), (tuple(self.stacks), self.axis)

    @classmethod
    def tree_unflatten(cls, static: tuple[tuple[tuple[str, ...], ...], int], children: Iterable[Any]) -> StackedColumns:
        names, axis = static
        *stacks, numbers = children
        return cls(dict(zip(names, stacks, strict=True)), axis, numbers)


def stack_columns(
    columns: Mapping[str, Arrays], axis: int, kinds: Mapping[str, Any], numbers: tuple[Any, ...] = ()
) -> StackedColumns:
    """Stacks the arrays of columns of one kind with equal names, types and shapes.

    Args:
        columns: arrays by column and name.
        axis: the axis for the columns: 1 for arrays with rows, 0 for others.
        kinds: the kinds of columns, which the program computes as one. The arrays of others are not stacked.
        numbers: as in `StackedColumns`.
    """
    groups: dict[Any, list[str]] = {}
    for name, arrays in columns.items():
        layout = describe_arrays(arrays) if name in kinds else None
        groups.setdefault(name if layout is None else (kinds[name], layout), []).append(name)
    return StackedColumns(
        {tuple(names): stack_arrays(columns, names, axis) for names in groups.values()}, axis, numbers
    )


def stack_arrays(columns: Mapping[str, Arrays], names: Sequence[str], axis: int) -> Arrays:
    """The arrays of columns with equal layouts, with an axis for the columns unless there is only one."""
    if len(names) == 1:
        return columns[names[0]]
    if isinstance(columns, StackedColumns) and (stacked := columns.stack(names)) is not None:
        return stacked
    arrays = [columns[name] for name in names]
    stacked = {}
    for key, first in arrays[0].items():
        stack = jnp.stack if isinstance(first, jax.Array) else np.stack
        stacked[key] = stack([np.asarray(each[key]) if stack is np.stack else each[key] for each in arrays], axis)
    return stacked


def layout_of(columns: Mapping[str, Arrays], name: str) -> Any:
    """A value that two columns share if `stack_arrays` can stack them. None: the column can't be stacked."""
    return columns.layout(name) if isinstance(columns, StackedColumns) else describe_arrays(columns[name])


def describe_arrays(arrays: Arrays) -> tuple[Any, ...] | None:
    """The names, types and shapes of a column's arrays.

    None: they aren't stacked: ragged ones, files, images, and examples of several rows.
    """
    views = (WindowedRows, Steps)
    is_plain = (
        hasattr(array, "shape") and not hasattr(array, "draws") and not isinstance(array, views)
        for array in arrays.values()
    )
    if not all(is_plain) or any(len(array.shape) > MAX_AXES for array in arrays.values()):
        return None
    return tuple(sorted((key, str(array.dtype), tuple(array.shape)) for key, array in arrays.items()))
