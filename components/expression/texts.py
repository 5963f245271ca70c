"""Functions of texts, by Arrow. A function of one column is applied once to each string of its dictionary."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.arrow import array_to_arrow, convert_numbers, read_strings, strings_to_arrow
from components.expression.operands import is_constant, make_constant
from components.types import Strings

if TYPE_CHECKING:
    import pyarrow

NUMBER = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"


def map_texts(texts: Strings, name: str, **options: Any) -> Any:
    """Applies Arrow's function of one text.

    Returns:
        `Strings`, or an array of booleans or of whole numbers.
    """
    import pyarrow.compute as compute

    return map_array(texts, functools.partial(getattr(compute, name), **options))


def map_array(texts: Strings, function: Callable[[pyarrow.Array], pyarrow.Array]) -> Any:
    """Applies a function of an array of Arrow, as `map_texts`."""
    array, positions = split_dictionary(texts)
    result = _to_values(function(array))
    if positions is None:
        return result
    return result._replace(indices=positions) if isinstance(result, Strings) else result[positions]


def split_dictionary(texts: Strings) -> tuple[pyarrow.Array, np.ndarray | None]:
    """Strings in an array of Arrow, and the position of each row's string in it. None: row i has string i.

    A dictionary with more strings than there are rows is decoded.
    """
    if texts.indices is not None and (is_constant(texts) or len(texts.offsets) - 1 <= len(texts.indices)):
        return strings_to_arrow(texts._replace(indices=None)), texts.indices
    return strings_to_arrow(texts), None


def compare(name: str, first: Strings, second: Strings) -> Any:
    """Compares texts by their characters' code points, by Arrow's function of a name."""
    import pyarrow.compute as compute

    function = getattr(compute, name)
    if is_constant(second):
        return map_array(first, lambda texts: function(texts, _to_scalar(second)))
    if is_constant(first):
        return map_array(second, lambda texts: function(_to_scalar(first), texts))
    return _to_values(function(strings_to_arrow(first), strings_to_arrow(second)))


def is_in(texts: Strings, values: Sequence[Strings]) -> Any:
    """Whether each text is one of some constants."""
    listed = Strings.from_bytes([_read_constant(value) for value in values])
    return map_texts(texts, "is_in", value_set=strings_to_arrow(listed))


def select(condition: Any, first: Strings, second: Strings) -> Strings:
    """The texts of `first` where a condition is True, else those of `second`."""
    import pyarrow.compute as compute

    if np.ndim(condition) == 0:
        return first if condition else second
    return read_strings(compute.if_else(_to_booleans(condition), _to_operand(first), _to_operand(second)))


def concatenate(*texts: Strings) -> Strings:
    """Joins the texts of each row."""
    import pyarrow.compute as compute

    if all(map(is_constant, texts)):
        return make_constant(b"".join(map(_read_constant, texts)))
    return read_strings(compute.binary_join_element_wise(*map(_to_operand, texts), _to_scalar(make_constant(b""))))


def split_part(texts: Strings, separator: str, position: int) -> tuple[Strings, np.ndarray]:
    """The part of each text at a position, counted from 0, or backwards from -1.

    Returns:
        The parts, "" where there is none, and a mask: False where there is none.
    """
    import pyarrow.compute as compute

    array, positions = split_dictionary(texts)
    lists = compute.split_pattern(array, pattern=separator)
    offsets = convert_numbers(lists.offsets, "i4", None, 0).astype(np.int64)
    at = (offsets[:-1] if position >= 0 else offsets[1:]) + position
    has_part = (at >= offsets[:-1]) & (at < offsets[1:])
    parts = read_strings(lists.values)
    indices = np.where(has_part, at, len(parts.offsets) - 1)  # the last is the position of a string that is added, ""
    if positions is not None:
        indices, has_part = indices[positions], has_part[positions]
    return Strings(parts.data, np.append(parts.offsets, parts.offsets[-1]), indices), has_part


def parse_numbers(texts: Strings) -> tuple[Any, Any]:
    """Numbers in decimal notation, float64, and a mask: False where a text is no finite number."""
    import pyarrow.compute as compute

    array, positions = split_dictionary(texts)
    numbers, is_finite = _cast_numbers(compute.utf8_trim_whitespace(array))
    return (numbers, is_finite) if positions is None else (numbers[positions], is_finite[positions])


def _cast_numbers(array: pyarrow.Array) -> tuple[Any, Any]:
    """As `parse_numbers`, without spaces around the numbers."""
    import pyarrow
    import pyarrow.compute as compute

    try:
        numbers = convert_numbers(array.cast(pyarrow.float64()), "f8", None, 0)
        return numbers, np.isfinite(numbers)  # Arrow reads numbers, and texts of NaN and infinity
    except pyarrow.ArrowInvalid:
        is_number = compute.match_substring_regex(array, pattern=NUMBER)
        zero = _to_scalar(make_constant(b"0"))
        numbers, is_finite = _cast_numbers(compute.if_else(is_number, array, zero))
        return numbers, is_finite & _to_values(is_number)


def find_pattern_fault(pattern: str) -> str:
    """Why a regular expression isn't valid; "": it is."""
    import pyarrow

    try:
        map_texts(Strings.from_bytes([b""]), "match_substring_regex", pattern=pattern)
    except pyarrow.ArrowInvalid as error:
        return str(error).removeprefix("Invalid regular expression: ")
    return ""


def _to_values(array: pyarrow.Array) -> Any:
    import pyarrow

    if pyarrow.types.is_large_string(array.type):
        return read_strings(array)
    if pyarrow.types.is_boolean(array.type):
        return convert_numbers(array.cast(pyarrow.uint8()), "?", None, False)
    return convert_numbers(array, "i8", None, 0)


def _to_scalar(constant: Strings) -> Any:
    """Arrow's scalar of a constant, without `pyarrow.scalar`, which imports pandas."""
    return strings_to_arrow(constant._replace(indices=None))[int(constant.indices)]  # type: ignore[arg-type]


def _read_constant(constant: Strings) -> bytes:
    return next(constant._replace(indices=np.reshape(constant.indices, 1)).iterate_bytes())  # type: ignore[arg-type]


def _to_operand(texts: Strings) -> Any:
    return _to_scalar(texts) if is_constant(texts) else strings_to_arrow(texts)


def _to_booleans(values: np.ndarray) -> pyarrow.Array:
    import pyarrow

    return array_to_arrow(values.view(np.uint8)).cast(pyarrow.bool_())
