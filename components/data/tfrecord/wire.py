"""Reads and writes single messages in the wire format of Protocol Buffers, field by field.

References:
    https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types
MAX_VARINT_BYTES = 10


def as_signed(value: int) -> int:
    """The signed number of 64 bits that an unsigned one stands for."""
    return value - 2**64 if value >= 2**63 else value


def read_messages(data: bytes, field: int) -> Iterator[bytes]:
    """The contents of a field that is a message or bytes."""
    for number, wire_type, content in read_fields(data):
        if number == field and wire_type == LENGTH:
            yield content


def read_fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """The number, the wire type and the content of each field of a message. Raises ValueError for a damaged message."""
    position = 0
    while position < len(data):
        tag, position = read_number(data, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if wire_type == VARINT:
            content, position = read_number(data, position)
            yield number, wire_type, content
            continue
        if wire_type == LENGTH:
            size, position = read_number(data, position)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"field {number} has the wire type {wire_type}")
        if position + size > len(data):
            raise ValueError(f"field {number} needs {size:,} bytes, and {len(data) - position:,} are left")
        yield number, wire_type, data[position : position + size]
        position += size


def read_number(data: bytes, position: int) -> tuple[int, int]:
    """The varint at a position, and the position after it. Raises ValueError if it is cut off or too long."""
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if position + index >= len(data):
            raise ValueError("a number is cut off")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), position + index + 1
    raise ValueError(f"a number has more than {MAX_VARINT_BYTES} bytes")


def write_field(number: int, value: int | bytes) -> bytes:
    """A field that is a number or has bytes."""
    if isinstance(value, int):
        return write_varint(number << 3 | VARINT) + write_varint(value)
    return write_header(number, len(value)) + value


def write_header(number: int, size: int) -> bytes:
    """The start of a field of some bytes."""
    return write_varint(number << 3 | LENGTH) + write_varint(size)


def write_varint(number: int) -> bytes:
    """A number, not negative, as a varint."""
    parts = []
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
