"""Serialized tensors: what TensorFlow wrote has its values, and the same bytes are written."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.tfrecord.tensor import parse_tensor, parse_tensors, serialize_tensors
from components.types import Strings

SERIALIZED = {
    "08011208120208021202080222100000c03f000000c00000404000008040": [[1.5, -2.0], [3.0, 4.0]],
    "08021204120208012208555555555555d53f": [0.3333333333333333],
    "08131204120208022204003e00c0": [1.5, -2.0],
    "080e1204120208022204c03f10c0": [1.5, -2.25],
    "0804120c120208011202080212020801220201ff": [[[1], [255]]],
    "08061204120208022202ff02": [-1, 2],
    "08051204120208012202d4fe": [-300],
    "08111204120208012202ffff": [65535],
    "08031204120208022208fbffffff07000000": [-5, 7],
    "0809120022080000000000000080": -9223372036854775808,
    "08161204120208012204ffffffff": [4294967295],
    "08171204120208012208ffffffffffffffff": [18446744073709551615],
    "080a12041202080222020100": [True, False],
    "0807120812020802120208024201614202626342004202c3a9": [[b"a", b"bc"], [b"", b"\xc3\xa9"]],
    "08071200420568656c6c6f": b"hello",
    "08011206120012020803": [],
}
"""What `tf.io.serialize_tensor` of TensorFlow 2.21 wrote, and the values of the tensors."""
LISTED = {
    "0801120412020803220c0000c03f0000c03f0000c03f": [1.5, 1.5, 1.5],
    "080312003a0103": 3,
    "0803120812020802120208023a0107": [[7, 7], [7, 7]],
    "08091204120208022210ffffffffffffffff0000000000000040": [-1, 4611686018427387904],
    "08041204120208033a02c801": [200, 200, 200],
    "08131204120208026a02807c": [1.5, 1.5],
    "080a1204120208025a0101": [True, True],
    "08071204120208024201784202797a": [b"x", b"yz"],
    "080212003208000000000000e03f": 0.5,
    "081712008a010affffffffffffffffff01": 18446744073709551615,
    "080612003a0afdffffffffffffffff01": -3,
    "08161200820105ffffffff0f": 4294967295,
    "080e12006a02c07f": 1.5,
    "08031204120208033a0b04fbffffffffffffffff01": [4, -5, -5],
    "0801120412020802": [0.0, 0.0],
    "0807120412020803420161420162": [b"a", b"b", b"b"],
    "080712041202080222050102616263": [b"a", b"bc"],
    "080e1204120208026a02c07f": [1.5, 1.5],
}
"""Other messages, mostly of `tf.make_tensor_proto`, and what `tf.io.parse_tensor` read in them."""


def read(message: bytes) -> Any:
    _, shape, values = parse_tensor(message)
    return np.array(values, object if isinstance(values, list) else None).reshape(shape).tolist()


@pytest.mark.parametrize(("message", "values"), [*SERIALIZED.items(), *LISTED.items()])
def test_messages_have_the_values_that_tensorflow_reads(message: str, values: Any) -> None:
    assert read(bytes.fromhex(message)) == values
    assert repr(read(bytes.fromhex(message))) == repr(values)


@pytest.mark.parametrize("message", [*SERIALIZED])
def test_the_bytes_are_those_of_tensorflow(message: str) -> None:
    type, shape, values = parse_tensor(bytes.fromhex(message))
    if type.name == "bfloat16":  # is read as float32
        return
    both = Strings.from_bytes(values * 2) if isinstance(values, list) else np.concatenate([values, values])
    assert [each.hex() for each in serialize_tensors(both, shape, 2).iterate_bytes()] == [message] * 2


@pytest.mark.parametrize("message", [*SERIALIZED])
def test_many_messages_are_read_at_once_with_the_values_of_each(message: str) -> None:
    content = bytes.fromhex(message)
    found = parse_tensors(Strings.from_bytes([content] * 3), str)
    _, shape, values = parse_tensor(content)
    assert found.shapes == [shape] * 3
    read_values = [*found.values.iterate_bytes()] if isinstance(found.values, Strings) else found.values.tolist()
    assert read_values == [*values] * 3


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("0801120412020802220400000000", "its shape [2] needs 8 bytes, and it has 4"),
        ("0801120218012a040000803f", "the number of its axes is unknown"),
        ("0801120d120b08ffffffffffffffffff012a040000803f", "the length of its axis 0 is -1"),
        ("08041204120208013a02ac02", "it has the value 300, which is no uint8"),
        ("08031204120208013a0b04fbffffffffffffffff01", "its shape has 1 values, and it lists 2"),
        (
            "080812041202080122080000803f00000040",
            "it has the type complex64, and the types are bfloat16, bool",
        ),
        ("1204120208012204ffffffff", "it has no type"),
        ("080a12041202080222020102", "it has a boolean that is neither 0 nor 1"),
        ("0801120812060880808080102a040000803f", "its shape has 4,294,967,296 values, and it lists 1 instead of all"),
        ("08071204120208022206010261626364", "its texts need 5 bytes, and it has 6"),
        ("080", "field 1"),
        ("ff", "a number is cut off"),
    ],
)
def test_other_messages_are_errors(message: str, fault: str) -> None:
    content = bytes.fromhex(message) if len(message) % 2 == 0 else b"\x0a\x05"
    with pytest.raises(ValueError, match=re.escape(f"record 0 is no serialized tensor: {fault}")):
        parse_tensors(Strings.from_bytes([content]), "record {}".format)


@given(st.data())
def test_changed_messages_are_errors_or_tensors(data: st.DataObject) -> None:
    content = bytearray.fromhex(data.draw(st.sampled_from([*SERIALIZED, *LISTED])))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    try:
        type, shape, values = parse_tensor(bytes(content))
    except ValueError:
        return
    assert len(values) == np.prod(shape)
    assert isinstance(values, list) == (type.name == "string")
