"""The bytes of Examples and SequenceExamples, written field by field."""

from __future__ import annotations

import numpy as np


def varint(number: int) -> bytes:
    number %= 2**64
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(key: bytes, feature: bytes) -> bytes:
    return field(1, field(1, key) + field(2, feature))


def example(*entries: bytes) -> bytes:
    return field(1, b"".join(entries))


def floats(*values: float) -> bytes:
    return field(2, field(1, np.array(values, "<f4").tobytes()))


def integers(*values: int) -> bytes:
    return field(3, field(1, b"".join(map(varint, values))))


def strings(*values: bytes) -> bytes:
    return field(1, b"".join(field(1, value) for value in values))


def sequence(context: bytes, **lists: list[bytes]) -> bytes:
    entries = (entry(name.encode(), b"".join(field(1, step) for step in steps)) for name, steps in lists.items())
    return context + field(2, b"".join(entries))
