"""Lists the layers of a model by tracing a forward pass. Nothing is computed or allocated."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax

from runner.modes.dry_run.multiply_adds import equation_multiply_adds, walk_equations
from runner.program.column_groups import separate_columns

CALL_SCOPE = re.compile(r"titrate-call-(\d+)")
ELSEWHERE = "(elsewhere)"


@dataclass(frozen=True)
class LayerCall:
    """A call of a module. Parameters and multiply-adds are its own, without those of its submodules.

    Attributes:
        path: the names of the modules from the root to this one.
        method: the name of the method that is called.
        kind: the name of the module's class.
        parent: the number of the call that makes this one; None: the root.
        input_bytes: bytes of the input arrays.
        outputs: shape and dtype of each output array.
        output_bytes: bytes of the output arrays.
        parameters: the number of trainable parameters.
        multiply_adds: multiply-adds for the whole batch.
        runs: how often the call runs, such as in a loop; 0: its results are not used.
    """

    path: tuple[str, ...]
    method: str
    kind: str
    parent: int | None
    input_bytes: int = 0
    outputs: tuple[tuple[tuple[int, ...], str], ...] = ()
    output_bytes: int = 0
    parameters: int = 0
    multiply_adds: int = 0
    runs: int = 0

    @property
    def name(self) -> str:
        """The path in the tree of parameters, with the method unless that is `__call__`."""
        path = "/".join(self.path) or ELSEWHERE
        return path if self.method == "__call__" else f"{path}.{self.method}"


def trace_layers(forward: Callable[..., Any], parameters: Any, *arguments: Any) -> tuple[list[LayerCall], Any]:
    """Traces `forward(parameters, *arguments)`.

    Parameters are counted in the first call of their innermost module. Multiply-adds outside of all layers are counted
    in a row ELSEWHERE, so that the sums are those of the whole pass.

    Returns:
        The calls in order, and the shapes that `forward` returns.
    """
    calls = [LayerCall((), "__call__", "", None)]
    with _record_calls(calls), separate_columns():
        jaxpr, returned = jax.make_jaxpr(forward, return_shape=True)(parameters, *arguments)
    for execution in walk_equations(jaxpr.jaxpr):
        owner = _find_owner(calls, execution.scopes)
        work = execution.times * equation_multiply_adds(execution.equation)
        calls[owner] = replace(calls[owner], multiply_adds=calls[owner].multiply_adds + work)
        _count_runs(calls, owner, execution.times)
    calls = [replace(call, runs=0) if _is_shape_probe(calls, call) else call for call in calls]
    _assign_parameters(calls, parameters)
    return [call for number, call in enumerate(calls) if _is_shown(calls, number)], returned


@contextlib.contextmanager
def _record_calls(calls: list[LayerCall]) -> Iterator[None]:
    """Appends every call of a module. A name scope gives the call's number to the equations traced within it."""
    open_calls = [0]

    def intercept(function: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        path = tuple(context.module.path)
        # A call of another method of the same module, such as by `__call__`, belongs to the open call.
        if context.method_name == "setup" or calls[open_calls[-1]].path == path:
            return function(*args, **kwargs)
        number = len(calls)
        kind = type(context.module).__name__
        input_bytes = _count_bytes((args, kwargs))
        calls.append(LayerCall(path, context.method_name, kind, parent=open_calls[-1], input_bytes=input_bytes))
        open_calls.append(number)
        try:
            with jax.named_scope(f"titrate-call-{number}"):
                output = function(*args, **kwargs)
        finally:
            open_calls.pop()
        arrays = [leaf for leaf in jax.tree.leaves(output) if isinstance(leaf, jax.Array)]
        shapes = tuple((array.shape, str(array.dtype)) for array in arrays)
        calls[number] = replace(calls[number], outputs=shapes, output_bytes=_count_bytes(arrays))
        return output

    with nn.intercept_methods(intercept):
        yield


def _find_owner(calls: list[LayerCall], scopes: tuple[str, ...]) -> int:
    """The number of the innermost call around an equation.

    A trace that JAX reuses still has the scope of the call that it was made in. Such a scope isn't nested in the owner
    found so far, so it is skipped.
    """
    owner = 0
    for number in map(int, CALL_SCOPE.findall("/".join(scopes))):
        if owner in _enclosing_calls(calls, number):
            owner = number
    return owner


def _enclosing_calls(calls: list[LayerCall], number: int) -> Iterator[int]:
    """The numbers of the calls around a call, innermost first."""
    while (parent := calls[number].parent) is not None:
        yield parent
        number = parent


def _count_runs(calls: list[LayerCall], number: int, times: int) -> None:
    """Notes that a call runs `times` times, and the calls around it at least once."""
    calls[number] = replace(calls[number], runs=max(calls[number].runs, times))
    for outer in _enclosing_calls(calls, number):
        calls[outer] = replace(calls[outer], runs=max(calls[outer].runs, 1))


def _is_shape_probe(calls: list[LayerCall], call: LayerCall) -> bool:
    """Whether a call only determines shapes. Flax makes such a call of a layer before a loop over it."""
    same_layer = (other for other in calls if (other.path, other.method) == (call.path, call.method))
    return call.multiply_adds == 0 and any(other.runs > call.runs for other in same_layer)


def _assign_parameters(calls: list[LayerCall], parameters: Any) -> None:
    """Adds the size of each parameter to the first call of its innermost module."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        names = tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
        owners = [number for number, call in enumerate(calls) if call.runs and names[: len(call.path)] == call.path]
        owner = max(owners, key=lambda number: (len(calls[number].path), -number), default=0)
        calls[owner] = replace(calls[owner], parameters=calls[owner].parameters + leaf.size)


def _is_shown(calls: list[LayerCall], number: int) -> bool:
    """Whether the table shows a call: it has parameters or multiply-adds of its own, or runs without submodules."""
    call = calls[number]
    is_leaf = number > 0 and not any(other.parent == number for other in calls)  # 0 is the row ELSEWHERE
    return call.parameters > 0 or call.multiply_adds > 0 or (call.runs > 0 and is_leaf)


def _count_bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array))
