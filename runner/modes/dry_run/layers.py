"""The layers of a model, from one abstract pass: nothing is allocated and nothing computed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax

from runner.modes.dry_run.work import equations, of_equation

MARK = re.compile(r"titrate-call-(\d+)")
ELSEWHERE = "(elsewhere)"


@dataclass(frozen=True)
class Layer:
    """A call of a module: what it says, and the work that is its own rather than its submodules'."""

    path: tuple[str, ...]
    method: str
    kind: str
    parent: int | None  # the call within which it is made
    taken: int = 0  # bytes of the arrays it gets
    given: tuple[tuple[tuple[int, ...], str], ...] = ()  # shapes and dtypes of the arrays it gives
    written: int = 0  # their bytes
    parameters: int = 0
    multiply_adds: int = 0  # of the whole batch
    runs: int = 0  # how many times; 0: never, nothing that it computes is used

    @property
    def name(self) -> str:
        """Its place in the tree of parameters, with its method where that isn't the usual one."""
        path = "/".join(self.path) or ELSEWHERE
        return path if self.method == "__call__" else f"{path}.{self.method}"


def layers(forward: Callable[..., Any], parameters: Any, *arguments: Any) -> tuple[list[Layer], Any]:
    """The layers that `forward(parameters, …)` goes through, in order, and the shapes that it gives.

    Each has its own parameters (the first call of a module, where it has several) and multiply-adds, and ELSEWHERE has
    those that no layer owns: the sums are those of the whole pass.
    """
    calls = [Layer((), "__call__", "", None)]
    with _recorded(calls):
        jaxpr, given = jax.make_jaxpr(forward, return_shape=True)(parameters, *arguments)
    for done in equations(jaxpr.jaxpr):
        owner = _owner(calls, done.scopes)
        calls[owner] = replace(
            calls[owner], multiply_adds=calls[owner].multiply_adds + done.times * of_equation(done.equation)
        )
        _ran(calls, owner, done.times)
    kept = [replace(call, runs=0) if _is_draft(calls, call) else call for call in calls]
    _share(kept, parameters)
    return [call for n, call in enumerate(kept) if _is_shown(kept, n)], given


@contextlib.contextmanager
def _recorded(calls: list[Layer]) -> Iterator[None]:
    """Notes every call of a module, and marks what is traced within by its number."""
    opened = [0]

    def intercept(function: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        path = tuple(context.module.path)
        if context.method_name == "setup" or calls[opened[-1]].path == path:
            return function(*args, **kwargs)
        number = len(calls)
        kind = type(context.module).__name__
        calls.append(Layer(path, context.method_name, kind, opened[-1], taken=_bytes((args, kwargs))))
        opened.append(number)
        try:
            with jax.named_scope(f"titrate-call-{number}"):
                output = function(*args, **kwargs)
        finally:
            opened.pop()
        arrays = [leaf for leaf in jax.tree.leaves(output) if isinstance(leaf, jax.Array)]
        shapes = tuple((array.shape, str(array.dtype)) for array in arrays)
        calls[number] = replace(calls[number], given=shapes, written=_bytes(arrays))
        return output

    with nn.intercept_methods(intercept):
        yield


def _owner(calls: list[Layer], scopes: tuple[str, ...]) -> int:
    """The innermost call around an equation; a mark that JAX kept from the trace of another one's doesn't count."""
    owner = 0
    for mark in map(int, MARK.findall("/".join(scopes))):
        if owner in _around(calls, mark):
            owner = mark
    return owner


def _around(calls: list[Layer], call: int) -> Iterator[int]:
    """The calls that a call is made within, innermost first."""
    while (parent := calls[call].parent) is not None:
        yield parent
        call = parent


def _ran(calls: list[Layer], call: int, times: int) -> None:
    for one in (call, *_around(calls, call)):
        calls[one] = replace(calls[one], runs=max(calls[one].runs, times if one == call else 1))


def _is_draft(calls: list[Layer], call: Layer) -> bool:
    """Whether it only looked ahead for shapes, as a loop over layers does before it runs the same call."""
    same = (other for other in calls if (other.path, other.method) == (call.path, call.method))
    return call.multiply_adds == 0 and any(other.runs > call.runs for other in same)


def _share(calls: list[Layer], parameters: Any) -> None:
    """Gives each parameter to the first call of the innermost module that it is in."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        names = tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
        owners = [n for n, call in enumerate(calls) if call.runs and names[: len(call.path)] == call.path]
        owner = max(owners, key=lambda n: (len(calls[n].path), -n), default=0)
        calls[owner] = replace(calls[owner], parameters=calls[owner].parameters + leaf.size)


def _is_shown(calls: list[Layer], call: int) -> bool:
    """Whether it has parameters or work of its own, or an output that no submodule makes."""
    one = calls[call]
    outer = call == 0 or any(other.parent == call for other in calls)
    return one.parameters > 0 or one.multiply_adds > 0 or (one.runs > 0 and not outer)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array))
