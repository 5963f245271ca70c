"""Applies the layers of feature columns. Equal layers are computed as one, so that wide tables have small programs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import config as flax_config
from flax.core.scope import LazyRng
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from components.types import MultiHot, StackableLayer, register_pytrees
from runner.data.encode import config_key
from runner.data.stacked_columns import Arrays, StackedColumns, layout_of, stack_arrays
from runner.errors import error_location

register_pytrees()
_SEPARATE = ContextVar("_SEPARATE", default=False)


class ColumnGroup(NamedTuple):
    """What the layers of some columns return.

    Attributes:
        names: the columns.
        value: an array (B, columns, D), or MultiHot with ids (B, columns, K). For one column what its layer returns.
    """

    names: tuple[str, ...]
    value: Any

    def select(self, wanted: Collection[str]) -> ColumnGroup | None:
        """The wanted ones among the columns. None: it has none of them."""
        numbers = [number for number, name in enumerate(self.names) if name in wanted]
        if len(numbers) in (0, len(self.names)):
            return self if numbers else None
        index: Any = numbers[0] if len(numbers) == 1 else np.array(numbers)
        names = tuple(self.names[number] for number in numbers)
        return ColumnGroup(names, jax.tree.map(lambda leaf: leaf[:, index], self.value))


@contextlib.contextmanager
def separate_columns() -> Iterator[None]:
    """A context in which each layer is computed by itself."""
    token = _SEPARATE.set(True)
    try:
        yield
    finally:
        _SEPARATE.reset(token)


def apply_layers(
    layers: Mapping[str, Callable[..., Any]], encoded: Mapping[str, Arrays], constants: Mapping[str, Arrays]
) -> list[ColumnGroup]:
    """Applies the layers of columns. Equal layers of arrays with equal shapes are computed as one, by `jax.vmap`.

    Grouped are pure functions and `StackableLayer`. In an uncompiled program nothing is: layers may print values.
    """
    is_separate = _SEPARATE.get() or jax.config.jax_disable_jit  # type: ignore[attr-defined]
    kinds = {} if is_separate else find_kinds(layers)
    grouped: dict[Any, list[str]] = {}
    for name in layers:
        layout = (layout_of(encoded, name), layout_of(constants, name)) if name in kinds else (None,)
        grouped.setdefault(name if None in layout else (kinds[name], *layout), []).append(name)
    groups: list[ColumnGroup] = []
    for names in grouped.values():
        with error_location(config_key(names[0])):
            if len(names) == 1:
                layer = layers[names[0]]
                groups.append(ColumnGroup(tuple(names), layer(encoded[names[0]], constants[names[0]])))
                continue
            group = ColumnGroup(tuple(names), _apply_equal([layers[name] for name in names], encoded, constants, names))
        values = group.value.ids if isinstance(group.value, MultiHot) else group.value
        is_vector = hasattr(values, "ndim") and values.ndim == 3
        groups += [group] if is_vector else filter(None, (group.select([name]) for name in names))
    return groups


def find_kinds(layers: Mapping[str, Any]) -> dict[str, Any]:
    """A value for each column that it shares with those whose layers are equal. Others are computed by themselves."""
    found = {name: _identify(layer) for name, layer in layers.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def list_numbers(layers: Mapping[str, Any]) -> tuple[np.int32, ...]:
    """The numbers that a program with these layers needs as inputs: see `_unstack`."""
    kinds = Counter(kind for name, kind in find_kinds(layers).items() if isinstance(layers[name], StackableLayer))
    count = max(kinds.values(), default=0)
    return tuple(map(np.int32, range(count))) if count > 1 else ()


def _identify(layer: Any) -> Any:
    """A value that equal layers share. None: the layer is computed by itself."""
    found: Any = layer
    if isinstance(layer, nn.Module):
        fields = [field.name for field in dataclasses.fields(layer) if field.name not in ("parent", "name")]
        is_stackable = isinstance(layer, StackableLayer) and layer.is_stackable
        found = (type(layer), *(getattr(layer, name) for name in fields)) if is_stackable else None
    elif isinstance(layer, functools.partial):
        found = (layer.func, layer.args, tuple(sorted(layer.keywords.items())))
    try:
        hash(found)
    except TypeError:
        return None
    return found


def _apply_equal(
    layers: Sequence[Any], encoded: Mapping[str, Arrays], constants: Mapping[str, Arrays], names: Sequence[str]
) -> Any:
    """What equal layers return, with an axis 1 for the columns."""
    arrays, own = stack_arrays(encoded, names, 1), stack_arrays(constants, names, 0)
    first = layers[0]
    if not isinstance(first, nn.Module):
        return jax.vmap(first, (1, 0), 1)(arrays, own)
    numbers = constants.numbers[: len(names)] if isinstance(constants, StackedColumns) else ()
    if first.is_initializing():
        _initialize(layers, own, numbers)
    variables = jax.tree.map(lambda *leaves: _stack(leaves, numbers), *(layer.variables for layer in layers))
    unbound = first.clone(parent=None, name=None)
    return jax.vmap(unbound.apply, (0, 1, 0), 1)(variables, arrays, own)


def _initialize(layers: Sequence[Any], constants: Arrays, numbers: Sequence[Any]) -> None:
    """Sets the initial variables of equal layers, which are those that each would draw by itself."""
    rngs = [LazyRng.create(layer.scope.rngs["params"], 1) for layer in layers]  # the first key that a layer draws
    hashes = jnp.array([_hash_path(rng.suffix) for rng in rngs], jnp.uint32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rngs[0].rng, hashes)
    draw = layers[0].clone(parent=None, name=None).draw_variables
    # A loop, because XLA would repeat the operations of `jax.vmap` for each array that is taken out of the result.
    drawn = jax.lax.map(lambda own: draw(*own), (keys, constants))
    for collection, variables in drawn.items():
        for name, stacked in variables.items():
            for layer, value in zip(layers, _unstack(stacked, numbers), strict=True):
                layer.scope.put_variable(collection, name, value)


def _hash_path(path: Sequence[str | int]) -> int:
    """The number that Flax folds into the random key for the names of modules, and the count of keys drawn there."""
    digest = hashlib.sha1(usedforsecurity=False)
    for part in path:
        if flax_config.flax_fix_rng_separator:
            digest.update(b"\00")
        size = part.bit_length() + 7 if isinstance(part, int) else 0
        digest.update(part.to_bytes(size // 8, "big") if isinstance(part, int) else part.encode())
    return int.from_bytes(digest.digest()[:4], "big")


def _stack(leaves: Sequence[jax.Array], numbers: Sequence[jax.Array]) -> jax.Array:
    """Stacks arrays. The gradient of each is taken out of that of the stack as `_unstack` does."""
    return _stack_p.bind(*leaves, *numbers) if numbers else jnp.stack(leaves)


# A primitive of its own, because no function with an own transpose (`custom_vjp`, `linear_call`) has derivatives in
# forward mode and can be vectorized, too. Its arguments are the arrays, then as many numbers.
_stack_p = Primitive("stack_columns")


def _stack_impl(*arguments: jax.Array) -> jax.Array:
    return jnp.stack(arguments[: len(arguments) // 2])


def _stack_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[jax.Array, jax.Array]:
    count = len(primals) // 2
    return _stack_p.bind(*primals), _stack_p.bind(*map(ad.instantiate_zeros, tangents[:count]), *primals[count:])


def _transpose_stack(cotangent: Any, *arguments: Any) -> list[Any]:
    leaves, numbers = arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]
    taken = [None] * len(leaves) if isinstance(cotangent, ad.Zero) else _unstack(cotangent, numbers)
    is_linear = [ad.is_undefined_primal(leaf) for leaf in leaves]
    return [*(own if linear else None for own, linear in zip(taken, is_linear, strict=True)), *([None] * len(numbers))]


def _stack_batched(arguments: Sequence[jax.Array], axes: Sequence[int | None]) -> tuple[jax.Array, int]:
    count = len(arguments) // 2
    size = next(each.shape[axis] for each, axis in zip(arguments, axes, strict=True) if axis is not None)
    leaves = [
        jnp.broadcast_to(each, (size, *each.shape)) if axis is None else jnp.moveaxis(each, axis, 0)
        for each, axis in zip(arguments[:count], axes[:count], strict=True)
    ]
    are_numbers_shared = all(axis is None for axis in axes[count:])
    return _stack(leaves, arguments[count:] if are_numbers_shared else ()), 1


_stack_p.def_impl(_stack_impl)
_stack_p.def_abstract_eval(lambda first, *others: ShapedArray((len(others) // 2 + 1, *first.shape), first.dtype))
mlir.register_lowering(_stack_p, mlir.lower_fun(_stack_impl, multiple_results=False))
ad.primitive_jvps[_stack_p] = _stack_jvp
ad.primitive_transposes[_stack_p] = _transpose_stack
batching.primitive_batchers[_stack_p] = _stack_batched


def _unstack(stacked: jax.Array, numbers: Sequence[jax.Array]) -> list[jax.Array]:
    """The arrays of a stack.

    XLA compiles code for each of them if their numbers are known, but once for all of them if `numbers`, 0, 1, …, are
    inputs of the program: for 1,000 arrays this is 0.7 s instead of 14 s.
    """
    if not numbers:
        return [*stacked]
    return [jax.lax.dynamic_index_in_dim(stacked, number, keepdims=False) for number in numbers]
