"""How the values of a feature become a column: of numbers, texts, bytes, arrays or lists."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np

from components.arrow import array_to_arrow, mask_column, strings_to_arrow
from components.data.tfrecord.batch import Kind
from components.data.tfrecord.parts import Part
from components.data.tfrecord.tensor import parse_tensors
from components.types import DataError, Strings

if TYPE_CHECKING:
    import pyarrow

Shape = tuple[int | None, ...]
"""The shape of the values of a record. The first length may be None: records have different numbers of values."""
BytesAs = Literal["text", "bytes", "tensor"]
"""What the bytes of a feature are. A tensor is the result of `tf.io.serialize_tensor`."""
Locate = Callable[[int], str]
MAX_BYTES = 16  # in a message
INVALID_TEXT = re.compile(r"Invalid UTF8 sequence at string index (\d+)")


class Layout(NamedTuple):
    """How the values of a record are kept.

    Attributes:
        shape: their shape. None: the one that all records show.
        bytes_as: what bytes are. None: texts, if all are UTF-8 without a NUL.
    """

    shape: Shape | None = None
    bytes_as: BytesAs | None = None


def find_layout(kind: pyarrow.DataType, declared: Layout) -> Layout:
    """The layout of a column of a type, whose features had a layout."""
    import pyarrow

    shape: list[int | None] = []
    types = pyarrow.types
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        shape.append(kind.list_size if types.is_fixed_size_list(kind) else None)
        kind = kind.value_type
    is_text = types.is_string(kind) or types.is_large_string(kind)
    is_bytes = types.is_binary(kind) or types.is_large_binary(kind)
    found: BytesAs | None = "bytes" if is_bytes else "text" if is_text else None
    return Layout(tuple(shape), "tensor" if declared.bytes_as == "tensor" else found)


def to_column(kind: Kind, part: Part, layout: Layout, locate: Locate) -> pyarrow.ChunkedArray:
    """Converts the values of a feature.

    Args:
        kind: their type.
        part: the values of all records.
        layout: how the values of a record are kept.
        locate: describes the location of a row, and the feature.

    Raises:
        DataError: the values don't have the layout.
    """
    if layout.bytes_as is not None and kind != "bytes":
        raise DataError(f"{locate(0)} has values of the type {kind}, and `bytes_as` (={layout.bytes_as}) is for bytes")
    if None in (layout.shape or ())[1:] and not part.levels[0].any():  # no record has the list of features
        part = part._replace(levels=(part.levels[0], np.zeros(1, np.int64)))
    if layout.bytes_as == "tensor":
        return _convert_tensors(part, layout.shape, locate)
    owners = _find_owners(part)
    values = _values_to_arrow(part.values, layout.bytes_as, lambda item: locate(int(owners[item])))
    if len(part.levels) > 1:
        return _make_nested_lists(values, part, layout.shape, locate)
    offsets = part.levels[0]
    return _make_column(
        values, offsets, _infer_shape(np.diff(offsets)) if layout.shape is None else layout.shape, locate
    )


def _find_owners(part: Part) -> np.ndarray:
    """The row of each value."""
    offsets = part.levels[0] if len(part.levels) == 1 else part.levels[1][part.levels[0]]
    return np.repeat(np.arange(part.rows), np.diff(offsets))


def _infer_shape(counts: np.ndarray) -> Shape:
    """The shape of values of which each record has some number."""
    if counts.max(initial=0) <= 1:
        return ()
    return (int(counts[0]),) if (counts == counts[0]).all() else (None,)


def _make_nested_lists(values: pyarrow.Array, part: Part, shape: Shape | None, locate: Locate) -> pyarrow.ChunkedArray:
    """A column of lists of features. A list whose features have one value each is a list of values."""
    import pyarrow

    outer, steps = part.levels
    counts = np.diff(steps)
    shape = _infer_list_shape(counts) if shape is None else shape
    if shape[:1] != (None,) or None in shape[2:]:
        raise DataError(
            f"{locate(0)} is a list of features. Its shape is [null], [null,null] or, with a length, [null,2], and not "
            f"{format_shape(shape)}"
        )
    is_varying = None in shape[1:]
    lengths = cast("tuple[int, ...]", shape[2:] if is_varying else shape[1:])
    size = math.prod(lengths)
    wrong = counts % size != 0 if is_varying else counts != size
    if wrong.any():
        step = int(wrong.argmax())
        row = int(np.searchsorted(outer, step, side="right")) - 1
        raise DataError(
            f"{locate(row)} has {counts[step]:,} values in step {step - int(outer[row])} of its list, not "
            f"{'a multiple of ' if is_varying else ''}{_describe(shape, size)}"
        )
    inner = _make_arrays(values, lengths)
    if is_varying:
        inner = pyarrow.LargeListArray.from_arrays(array_to_arrow(steps // size), inner)
    return _chunk(pyarrow.LargeListArray.from_arrays(array_to_arrow(outer), inner))


def _infer_list_shape(counts: np.ndarray) -> Shape:
    """The shape of a list of features, of which each has some number of values."""
    if not len(counts):
        return (None,)
    is_equal = counts[0] > 0 and bool((counts == counts[0]).all())
    return (None, None) if not is_equal else (None,) if counts[0] == 1 else (None, int(counts[0]))


def _make_column(values: pyarrow.Array, offsets: np.ndarray, shape: Shape, locate: Locate) -> pyarrow.ChunkedArray:
    """A column whose rows have the values between the offsets, in some shape."""
    import pyarrow

    if None in shape[1:]:
        raise DataError(
            f"{locate(0)} is no list of features, so only the first length of its shape may be null, not "
            f"{format_shape(shape)}"
        )
    counts, lengths = np.diff(offsets), cast("tuple[int, ...]", shape[1:] if None in shape else shape)
    size = math.prod(lengths)
    if None in shape:
        if (wrong := counts % size != 0).any():
            row = int(wrong.argmax())
            raise DataError(f"{locate(row)} has {counts[row]:,} values, not a multiple of {_describe(shape, size)}")
        inner = _make_arrays(values, lengths)
        return _chunk(pyarrow.LargeListArray.from_arrays(array_to_arrow(offsets // size), inner))
    allowed = (counts == size) | ((counts == 0) & (shape == ()))
    if not allowed.all():
        row = int((~allowed).argmax())
        count = "1 value" if counts[row] == 1 else f"{counts[row]:,} values"
        raise DataError(f"{locate(row)} has {count}, not {_describe(shape, size)}")
    if shape != ():
        return _chunk(_make_arrays(values, lengths))
    if (counts == 1).all():
        return _chunk(values)
    if not len(values):
        return _chunk(pyarrow.nulls(len(counts), values.type))
    taken = values.take(array_to_arrow(np.minimum(offsets[:-1], len(values) - 1)))
    return mask_column(_chunk(taken), counts == 1)


def _describe(shape: Shape, size: int) -> str:
    """The number of values that a shape needs, and the shape."""
    return f"{'at most one' if shape == () else f'{size:,}'}, for the shape {format_shape(shape)}"


def format_shape(shape: Sequence[int | None]) -> str:
    """A shape as `shapes` has it."""
    return f"[{','.join('null' if length is None else str(length) for length in shape)}]"


def _convert_tensors(part: Part, shape: Shape | None, locate: Locate) -> pyarrow.ChunkedArray:
    """Converts serialized tensors: one in each record, or several of one shape."""
    owners = _find_owners(part)
    try:
        tensors = parse_tensors(part.values, lambda item: locate(int(owners[item])))
    except ValueError as error:
        raise DataError(f"{error}") from None
    counts = np.bincount(owners, minlength=part.rows)
    if len(part.levels) > 1 or counts.max(initial=0) > 1:
        row_shapes = _stack_shapes(tensors.shapes, owners, counts, locate)
        shape = (None, *row_shapes[0][1:]) if shape is None and len(part.levels) > 1 and row_shapes else shape
    else:
        found = iter(tensors.shapes)
        row_shapes = [next(found) if count else () for count in counts.tolist()]
    filled = np.flatnonzero(counts)
    shape = _join_shapes(row_shapes, filled, locate, has_gaps=len(filled) < part.rows) if shape is None else shape
    sizes = np.zeros(part.rows, np.int64)
    for row in filled.tolist():
        _check_shape(row_shapes[row], shape, row, locate)
        sizes[row] = math.prod(row_shapes[row])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    values = _values_to_arrow(tensors.values, None, locate)
    return _make_column(values, offsets, shape, locate)


def _stack_shapes(
    shapes: Sequence[tuple[int, ...]], owners: np.ndarray, counts: np.ndarray, locate: Locate
) -> list[tuple[int, ...]]:
    """The shape of the tensors of each row, stacked. Raises DataError if their shapes differ."""
    for item, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise DataError(
                f"{locate(int(owners[item]))} has a tensor of the shape {format_shape(shape)}, and one before has "
                f"{format_shape(shapes[0])}. Tensors of which a record has several need one shape."
            )
    return [(count, *shapes[0]) for count in counts.tolist()] if shapes else []


def _join_shapes(shapes: Sequence[tuple[int, ...]], filled: np.ndarray, locate: Locate, *, has_gaps: bool) -> Shape:
    """The shape of the tensors of all rows, whose first lengths may differ."""
    if not len(filled):
        return ()
    first = shapes[int(filled[0])]
    is_list = bool(first) and (has_gaps or any(shapes[row] != first for row in filled.tolist()) or first[0] == 0)
    return (None, *first[1:]) if is_list else first


def _check_shape(found: tuple[int, ...], shape: Shape, row: int, locate: Locate) -> None:
    """Raises DataError if a tensor has another shape."""
    pairs = zip(found, shape, strict=False)
    if len(found) != len(shape) or any(length not in (None, own) for own, length in pairs):
        raise DataError(
            f"{locate(row)} is a tensor of the shape {format_shape(found)}, and the column has {format_shape(shape)}"
        )
    if 0 in found[1:]:
        raise DataError(f"{locate(row)} is a tensor without values, of the shape {format_shape(found)}. Leave it out.")


def _make_arrays(values: pyarrow.Array, shape: tuple[int, ...]) -> pyarrow.Array:
    """Arrays of a shape, one after the other."""
    for length in reversed(shape):
        values = _make_fixed(values, length)
    return values


def _make_fixed(values: pyarrow.Array, length: int) -> pyarrow.Array:
    import pyarrow

    return pyarrow.FixedSizeListArray.from_arrays(values, length)


def _chunk(array: pyarrow.Array) -> pyarrow.ChunkedArray:
    import pyarrow

    return pyarrow.chunked_array([array])


def _values_to_arrow(values: np.ndarray | Strings, bytes_as: BytesAs | None, locate: Locate) -> pyarrow.Array:
    """The values as numbers, texts or bytes. `locate` describes the location of a value."""
    import pyarrow

    if not isinstance(values, Strings):
        is_bool = values.dtype == bool
        array = array_to_arrow(values.view(np.uint8) if is_bool else values)
        return array.cast(pyarrow.bool_()) if is_bool else array
    texts = strings_to_arrow(values)
    if bytes_as == "bytes":
        return texts.view(pyarrow.large_binary())
    wrong = _find_no_text(values, texts)
    if wrong is not None and bytes_as == "text":
        content = texts.view(pyarrow.large_binary())[wrong].as_py()
        raise DataError(f"{locate(wrong)} has {_shorten(content)}, which is no text in UTF-8 without a NUL")
    return texts if wrong is None else texts.view(pyarrow.large_binary())


def _shorten(content: bytes) -> str:
    return repr(content) if len(content) <= MAX_BYTES else f"{content[:MAX_BYTES]!r}…"


def _find_no_text(values: Strings, texts: pyarrow.Array) -> int | None:
    """The first value that isn't UTF-8, or has a NUL, which no text has. None: all are texts."""
    import pyarrow

    nuls = np.flatnonzero(values.data == 0)
    if len(nuls):
        return int(np.searchsorted(values.offsets, nuls[0], side="right")) - 1
    try:
        texts.validate(full=True)
    except pyarrow.ArrowInvalid as error:
        index = INVALID_TEXT.search(str(error))
        return int(index[1]) if index else 0
    return None
