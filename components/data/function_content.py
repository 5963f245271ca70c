"""Texts that change with the content of Python values: with what a function is called, and with what it holds."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Set
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    EllipsisType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    NoneType,
    WrapperDescriptorType,
)
from typing import Any
from uuid import UUID

import numpy as np

from components.arrow import to_arrow
from components.columns import PANDAS_MISSING_TYPES, as_column, is_table
from components.data.arrays import list_arrays
from components.types import OpensSource, Ragged, Strings
from components.user_function import find_source_file

# Their `repr` has all of their content. That of other classes may round numbers or leave out the middle.
PLAIN: tuple[type, ...] = (NoneType, bool, int, float, complex, str, bytes, bytearray, range, slice, EllipsisType)
PLAIN += (date, time, timedelta, tzinfo, Decimal, Fraction, UUID, PurePath, np.generic, np.dtype)
NAMED = (type(np.mean), MethodDescriptorType, WrapperDescriptorType)  # functions without a source file
UFUNC_MODULES = ("numpy", "scipy.special")  # other ufuncs may be of Python functions, without a name of their own
TABLE_LIBRARIES = ("pandas", "polars", "pyarrow")
ARRAY_LIBRARIES = ("jax", "jaxlib")


class UnknownContentError(Exception):
    """A value has an object whose content isn't known.

    Attributes:
        value: the object.
    """

    def __init__(self, value: object) -> None:
        super().__init__(f"the content of an object of {type(value)} isn't known")
        self.value = value


def describe_content(value: object) -> str:
    """A text that is equal for values with equal content, in any process.

    It has the content of plain values, arrays, data frames, containers, dataclasses, and functions with a source file,
    with what these hold, also in attributes; and the names of classes, modules and other functions. A value that holds
    itself is cut there.

    Raises:
        UnknownContentError: the value is, or has, an object of another class.
    """
    try:
        return _describe(value, ())
    except RecursionError:
        raise UnknownContentError(value) from None


def list_held_values(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Yields what a callable holds beside its code: a description, as the start of a sentence, and the value."""
    if isinstance(function, MethodType):
        yield "the object", function.__self__
        if isinstance(function.__self__, type):
            for name, value in _list_class_attributes(function.__self__).items():
                yield f"the attribute `{name}` of the class", value
        function = function.__func__
    if isinstance(function, FunctionType):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                yield f"the variable `{name}` in the closure", cell.cell_contents
            except ValueError:  # it isn't set yet
                continue
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        defaults = function.__defaults__ or ()
        named = [*zip(names[len(names) - len(defaults) :], defaults, strict=True)]
        for name, value in [*named, *(function.__kwdefaults__ or {}).items()]:
            yield f"the default of the parameter `{name}`", value
        for name, value in sorted(vars(function).items()):
            yield f"the attribute `{name}`", value
    elif isinstance(function, BuiltinFunctionType):
        if function.__self__ is not None:
            yield "the object", function.__self__
    elif not isinstance(function, type):
        yield "the object", function


def hash_source_file(function: Callable[..., Any]) -> str | None:
    """A digest of the source file of a function, or of the class of an object. None: there is no such file."""
    file = find_source_file(function)
    if file is None or not Path(file).is_file():
        return None
    return hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()


def _describe(value: Any, parents: tuple[int, ...]) -> str:
    if id(value) in parents:
        return "…"
    parents = (*parents, id(value))

    def describe_all(values: Any) -> list[str]:
        return [_describe(each, parents) for each in values]

    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    kind = type(value).__qualname__
    if isinstance(value, Enum):  # combined flags may have no name
        return f"{type(value).__module__}.{kind}.{value.value if isinstance(value, Flag) else value.name}"
    if isinstance(value, np.void):
        return f"{kind} {_describe_array(np.asarray(value), parents)}"
    if isinstance(value, datetime | time) and value.tzinfo is not None:
        return f"{value.replace(tzinfo=None)!r} {_describe(value.tzinfo, parents)}"
    if isinstance(value, PLAIN) or type(value).__name__ in PANDAS_MISSING_TYPES:
        if type(value).__repr__ is object.__repr__:  # of a class of one's own
            raise UnknownContentError(value)
        return repr(value)
    if isinstance(value, type):
        return name
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, np.ndarray):
        return _describe_array(value, parents)
    if isinstance(value, Strings | Ragged):
        return f"{kind}{describe_all(list_arrays(value))}"
    if isinstance(value, defaultdict):
        return f"{kind} {describe_all([value.default_factory, dict(value)])}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(describe_all(item for pair in value.items() for item in pair))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(describe_all(value))}]"
    if isinstance(value, deque):
        return f"{kind} {describe_all(value)}"
    if isinstance(value, Set):
        return f"{kind} {sorted(describe_all(value))}"
    if isinstance(value, re.Pattern):
        return f"{kind} {value.pattern!r} {value.flags}"
    if isinstance(value, OpensSource) or all(hasattr(value, name) for name in ("fingerprint", "blocks", "splits")):
        source = value.open() if isinstance(value, OpensSource) else value
        return f"{type(source).__module__}.{type(source).__qualname__} {source.fingerprint()}"
    if dataclasses.is_dataclass(value):
        return f"{type(value).__module__}.{kind} {_describe(_list_attributes(value), parents)}"
    if isinstance(value, functools.partial):
        return f"{kind} {describe_all([value.func, value.args, value.keywords])}"
    if isinstance(value, NAMED) or (isinstance(value, np.ufunc) and _is_named(value)):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}"
    if isinstance(value, MethodType | BuiltinFunctionType):
        return f"{name} {describe_all(held for _, held in list_held_values(value))}"
    if isinstance(value, FunctionType):
        if (source := hash_source_file(value)) is None:
            raise UnknownContentError(value)
        code = _describe_code(value.__code__) if "<" in value.__qualname__ else ""  # others may have the same name
        return f"{name} {source} {code} {describe_all(held for _, held in list_held_values(value))}"
    return _describe_table(value, parents)


def _is_named(function: np.ufunc) -> bool:
    modules = [sys.modules[name] for name in UFUNC_MODULES if name in sys.modules]
    return any(getattr(module, function.__name__, None) is function for module in modules)


def _list_class_attributes(kind: type) -> dict[str, Any]:
    """The attributes of a class and its bases by name, without methods, properties and those that Python adds."""
    attributes = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    return {
        name: value
        for name, value in sorted(attributes.items())
        if not (name.startswith("__") and name.endswith("__")) and name != "_abc_impl"
        if not (callable(value) or hasattr(type(value), "__get__"))
    }


def _list_attributes(value: Any) -> dict[str, Any]:
    """The attributes of a dataclass by name, also those that are no fields."""
    kind = type(value)
    own = {
        name: each
        for name, each in sorted(getattr(value, "__dict__", {}).items())
        if not isinstance(getattr(kind, name, None), functools.cached_property)  # is there only after it was used
    }
    fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return _list_class_attributes(kind) | own | fields


def _describe_code(code: CodeType) -> str:
    """The code of a function that has no name of its own."""
    inner = [_describe_code(each) if isinstance(each, CodeType) else _describe(each, ()) for each in code.co_consts]
    content = f"{code.co_firstlineno} {code.co_code.hex()} {code.co_names} {inner}"
    return hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _describe_array(array: np.ndarray, parents: tuple[int, ...]) -> str:
    if isinstance(array, np.ma.MaskedArray):
        return f"masked {_describe(np.ma.getmaskarray(array), parents)} {_describe(array.filled(), parents)}"
    if array.dtype.hasobject:
        return f"{array.dtype} {array.shape} {_describe(array.tolist(), parents)}"
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return f"{array.dtype} {array.shape} {hashlib.blake2b(content.data, digest_size=16).hexdigest()}"


def _describe_table(value: Any, parents: tuple[int, ...]) -> str:
    """The content of a data frame, of a column of one, or of an array of another library."""
    library = type(value).__module__.partition(".")[0]
    if library in ARRAY_LIBRARIES and hasattr(value, "__array__"):
        try:
            array = np.asarray(value)
        except TypeError:  # of random keys
            raise UnknownContentError(value) from None
        return _describe(array, parents)
    if library not in TABLE_LIBRARIES:
        raise UnknownContentError(value)
    try:
        if is_table(value):
            labels = value.column_names if hasattr(value, "column_names") else value.columns
            content = [*labels, *(_list_column(value[label]) for label in labels)]
        else:
            content = _list_column(value)
        index = [value.index] if library == "pandas" and hasattr(value, "index") else []
    except Exception:  # these libraries have many other classes than tables and columns
        raise UnknownContentError(value) from None
    return f"{type(value).__qualname__} {_describe([content, index], parents)}"


def _list_column(column: Any) -> list[Any]:
    """The names, the type and the values of a column of a data frame."""
    dtype = getattr(column, "dtype", getattr(column, "type", None))
    categories: Any = getattr(dtype, "categories", None)
    facts = [
        getattr(column, "names", getattr(column, "name", None)),  # of an index, of another column
        str(dtype),
        getattr(dtype, "ordered", None),
        [*map(repr, categories.to_list())] if hasattr(categories, "to_list") else None,
    ]
    if "decimal" in str(dtype).lower():  # float64 has 17 of their digits
        return [*facts, to_arrow("values", column).to_pylist()]
    if str(dtype) == "object" and not {*map(type, values := list(column))} <= {str, NoneType}:
        return [*facts, values]
    return [*facts, *as_column("values", column)]
