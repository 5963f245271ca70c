"""Parses and writes TensorFlow's `TensorProto` messages, the result of `tf.io.serialize_tensor`, with NumPy.

The fields that are read, in the wire format of Protocol Buffers:

    TensorProto       dtype = 1, tensor_shape = 2, tensor_content = 4, or one list of values, whose number is the type's
    TensorShapeProto  dim = 2, unknown_rank = 3
    Dim               size = 1

A list may have fewer values than the tensor: the last one stands for all that follow, and an empty list for zeros.
`tensor_content` has all numbers as little-endian bytes; of texts, the lengths of all, and then their bytes.

References:
    https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/tensor.proto
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.data.tfrecord.wire import (
    FIXED32,
    FIXED64,
    LENGTH,
    VARINT,
    as_signed,
    read_fields,
    read_number,
    write_field,
    write_header,
)
from components.types import Strings

Shape = tuple[int, ...]


class _Type(NamedTuple):
    """A type of numbers or texts.

    Attributes:
        name: TensorFlow's name.
        dtype: the type of the array.
        field: the field of TensorProto that lists the values.
        wire_type: that of a value in this list.
    """

    name: str
    dtype: str
    field: int
    wire_type: int


STRING = 7
TYPES = {
    1: _Type("float32", "<f4", 5, FIXED32),
    2: _Type("float64", "<f8", 6, FIXED64),
    3: _Type("int32", "<i4", 7, VARINT),
    4: _Type("uint8", "u1", 7, VARINT),
    5: _Type("int16", "<i2", 7, VARINT),
    6: _Type("int8", "i1", 7, VARINT),
    STRING: _Type("string", "S", 8, LENGTH),
    9: _Type("int64", "<i8", 10, VARINT),
    10: _Type("bool", "?", 11, VARINT),
    14: _Type("bfloat16", "<u2", 13, VARINT),
    17: _Type("uint16", "<u2", 7, VARINT),
    19: _Type("float16", "<f2", 13, VARINT),
    22: _Type("uint32", "<u4", 16, VARINT),
    23: _Type("uint64", "<u8", 17, VARINT),
}
"""The types that are read, by the number that TensorFlow gives them."""
NUMBERS = {np.dtype(type.dtype): number for number, type in TYPES.items() if type.name != "bfloat16"}
OTHER_NAMES = {8: "complex64", 18: "complex128", 20: "resource", 21: "variant"}
DTYPE, SHAPE, CONTENT = 1, 2, 4  # fields of TensorProto
DIM, UNKNOWN_RANK, SIZE = 2, 3, 1  # fields of its shape
MAX_REPEATED = 1 << 24  # values of a tensor whose message has fewer, so that a damaged one takes no memory


class Tensors(NamedTuple):
    """Tensors of one type.

    Attributes:
        values: the values of all, one tensor after the other: an array, or `Strings` of bytes.
        shapes: the shape of each.
        type: TensorFlow's name of the type.
    """

    values: np.ndarray | Strings
    shapes: Sequence[Shape]
    type: str


def parse_tensors(messages: Strings, locate: Callable[[int], str]) -> Tensors:
    """Parses messages.

    Args:
        messages: the messages.
        locate: describes the location of a message, for errors.

    Raises:
        ValueError: a message is no tensor, or tensors have different types, with the location.
    """
    if (found := _parse_equal(messages)) is not None:
        return found
    values, shapes = list[Any](), list[Shape]()
    first = None
    for row, message in enumerate(messages.iterate_bytes()):
        try:
            type, shape, array = parse_tensor(message)
        except ValueError as error:
            raise ValueError(f"{locate(row)} is no serialized tensor: {error}") from None
        first = first or type
        if type != first:
            raise ValueError(f"{locate(row)} is a tensor of {type.name}, but those before are of {first.name}")
        values.append(array)
        shapes.append(shape)
    if first is None:
        return Tensors(np.empty(0, np.float32), [], "float32")
    if first.dtype == "S":
        return Tensors(Strings.from_bytes([text for texts in values for text in texts]), shapes, first.name)
    return Tensors(np.concatenate(values), shapes, first.name)


def _parse_equal(messages: Strings) -> Tensors | None:
    """Tensors of numbers that have one type and shape, as those of most files. None: they may be others."""
    bounds = messages.offsets
    lengths = np.diff(bounds)
    if not len(lengths) or messages.indices is not None or not (lengths == lengths[0]).all():
        return None
    first = messages.data[bounds[0] : bounds[1]].tobytes()
    try:
        type, shape, array = parse_tensor(first)
    except ValueError:
        return None
    *_, last = read_fields(first)
    if last[0] != CONTENT or type.dtype == "S" or len(last[2]) != len(array) * np.dtype(type.dtype).itemsize:
        return None
    start = len(first) - len(last[2])
    table = messages.data[bounds[0] : bounds[-1]].reshape(len(lengths), len(first))
    if (table[:, :start] != table[0, :start]).any():
        return None
    numbers = np.ascontiguousarray(table[:, start:]).reshape(-1).view(type.dtype)
    if type.dtype == "?" and (numbers.view(np.uint8) > 1).any():
        return None
    return Tensors(_widen(type, numbers), [shape] * len(lengths), type.name)


def parse_tensor(message: bytes) -> tuple[_Type, Shape, Any]:
    """The type, the shape and the values of a tensor: a flat array, or a list of bytes. Raises ValueError."""
    number, sizes, content, lists = 0, list[int](), b"", dict[int, list[tuple[int, Any]]]()
    for field, wire_type, value in read_fields(message):
        if (field, wire_type) == (DTYPE, VARINT):
            number = value
        elif (field, wire_type) == (SHAPE, LENGTH):
            sizes += _read_shape(value)
        elif (field, wire_type) == (CONTENT, LENGTH):
            content = value
        else:
            lists.setdefault(field, []).append((wire_type, value))
    if (type := TYPES.get(number)) is None:
        found = f"the type {OTHER_NAMES.get(number, number)}" if number else "no type"
        raise ValueError(f"it has {found}, and the types are {', '.join(sorted(each.name for each in TYPES.values()))}")
    shape, count = tuple(sizes), math.prod(sizes)
    if type.dtype == "S":
        texts = (
            [*_split_texts(content, count)]
            if content
            else [value for kind, value in lists.get(type.field, ()) if kind == LENGTH]
        )
        return type, shape, texts if content else _repeat(texts, count, b"")
    if content:
        size = count * np.dtype(type.dtype).itemsize
        if len(content) != size:
            raise ValueError(f"its shape {sizes} needs {size:,} bytes, and it has {len(content):,}")
        return type, shape, _widen(type, np.frombuffer(content, type.dtype))
    numbers = np.concatenate([np.empty(0, _list_dtype(type)), *_read_lists(type, lists.get(type.field, ()))])
    return type, shape, _widen(type, _repeat(_narrow(type, numbers), count, 0))


def _read_shape(message: bytes) -> Iterator[int]:
    """The lengths of the axes. Raises ValueError if they aren't known."""
    axis = 0
    for field, wire_type, value in read_fields(message):
        if (field, wire_type) == (UNKNOWN_RANK, VARINT) and value:
            raise ValueError("the number of its axes is unknown")
        if (field, wire_type) == (DIM, LENGTH):
            found = [as_signed(size) for key, kind, size in read_fields(value) if (key, kind) == (SIZE, VARINT)]
            size, axis = found[-1] if found else 0, axis + 1
            if size < 0:
                raise ValueError(f"the length of its axis {axis - 1} is {size}")
            yield size


def _list_dtype(type: _Type) -> str:
    return type.dtype if type.wire_type != VARINT else "<u8" if type.name == "uint64" else "<i8"


def _read_lists(type: _Type, fields: Sequence[tuple[int, Any]]) -> Iterator[np.ndarray]:
    """The numbers of the fields that list values: one number each, or several that are packed."""
    for wire_type, value in fields:
        if type.wire_type != VARINT:
            size = np.dtype(type.dtype).itemsize
            if wire_type not in (type.wire_type, LENGTH) or len(value) % size:
                raise ValueError(f"field {type.field} has no numbers of {size} bytes")
            yield np.frombuffer(value, type.dtype)
        elif wire_type in (VARINT, LENGTH):
            numbers = [value] if wire_type == VARINT else [*_read_numbers(value)]
            signed = numbers if type.name == "uint64" else [*map(as_signed, numbers)]
            yield np.array(signed, _list_dtype(type))
        else:
            raise ValueError(f"field {type.field} has the wire type {wire_type}")


def _read_numbers(packed: bytes) -> Iterator[int]:
    position = 0
    while position < len(packed):
        number, position = read_number(packed, position)
        yield number


def _narrow(type: _Type, numbers: np.ndarray) -> np.ndarray:
    """Listed numbers in the type of the array. Raises ValueError for one that isn't of this type."""
    if type.wire_type != VARINT:
        return numbers
    is_half = type.name in ("float16", "bfloat16")  # their bits are listed
    dtype = np.dtype("<u2" if is_half else type.dtype)
    narrowed = numbers.astype(dtype)
    if (wrong := narrowed.astype(numbers.dtype) != numbers).any():
        raise ValueError(f"it has the value {numbers[wrong][0]}, which is no {type.name}")
    return narrowed.view(type.dtype)


def _repeat(values: Any, count: int, missing: Any) -> Any:
    """As many values as the tensor has, of which the last one stands for those that aren't listed."""
    if len(values) > count:
        raise ValueError(f"its shape has {count:,} values, and it lists {len(values):,}")
    if len(values) < count > MAX_REPEATED:
        raise ValueError(f"its shape has {count:,} values, and it lists {len(values):,} instead of all")
    last = values[-1] if len(values) else missing
    if isinstance(values, list):
        return [*values, *[last] * (count - len(values))]
    return np.concatenate([values, np.full(count - len(values), last, values.dtype)])


def _widen(type: _Type, numbers: np.ndarray) -> np.ndarray:
    """The numbers in NumPy's types, without checks but that of booleans: NumPy has no bfloat16."""
    if type.name == "bfloat16":
        return (numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if type.name == "bool" and (numbers.view(np.uint8) > 1).any():
        raise ValueError("it has a boolean that is neither 0 nor 1")
    return numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _split_texts(content: bytes, count: int) -> Iterator[bytes]:
    """The texts of `tensor_content`: the lengths of all, then their bytes."""
    position, lengths = 0, []
    for _ in range(count):
        length, position = read_number(content, position)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError(f"its texts need {position + sum(lengths):,} bytes, and it has {len(content):,}")
    for length in lengths:
        yield content[position : position + length]
        position += length


def serialize_tensors(values: np.ndarray | Strings, shape: Shape, rows: int) -> Strings:
    """Serializes tensors of one shape.

    Args:
        values: the numbers or bytes of all tensors, one after the other.
        shape: the shape of each.
        rows: the number of tensors.

    Returns:
        The messages, as `tf.io.serialize_tensor` writes them.
    """
    dims = b"".join(write_field(DIM, write_field(SIZE, size) if size else b"") for size in shape)
    if isinstance(values, Strings):
        head, count = write_field(DTYPE, STRING) + write_field(SHAPE, dims), math.prod(shape)
        texts = [write_field(TYPES[STRING].field, text) for text in values.iterate_bytes()]
        return Strings.from_bytes([head + b"".join(texts[row * count : (row + 1) * count]) for row in range(rows)])
    numbers = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    size = math.prod(shape) * numbers.dtype.itemsize
    head = write_field(DTYPE, NUMBERS[numbers.dtype]) + write_field(SHAPE, dims)
    head += write_header(CONTENT, size) if size else b""
    table = np.empty((rows, len(head) + size), np.uint8)
    table[:, : len(head)] = np.frombuffer(head, np.uint8)
    table[:, len(head) :] = numbers.view(np.uint8).reshape(rows, size)
    return Strings(table.reshape(-1), np.arange(rows + 1, dtype=np.int64) * table.shape[1])
