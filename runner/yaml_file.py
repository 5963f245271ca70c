"""Reads YAML files within limits of size and depth, and writes plain values as YAML."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.types import UserError
from runner.files import read_bytes

MAX_ALIASED = 100_000  # values that the aliases of a file may expand to
LINE_BREAKS = "\n\r\x85\u2028\u2029"  # PyYAML folds or drops them outside double quotes
# Numbers for OmegaConf, which reads the files of options, but texts for PyYAML
FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?$")
MAX_SIMPLE_KEY = 1000  # characters; YAML allows 1024 for a key without a question mark
FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml


class Limits(NamedTuple):
    """The limits of a file.

    Attributes:
        size: the maximum number of bytes.
        depth: the maximum number of levels of nested lists and mappings.
    """

    size: int
    depth: int


OPTION_LIMITS = Limits(1 << 20, 50)  # of a file that a user writes
CONFIGURATION_LIMITS = Limits(1 << 22, 100)  # of the composed configuration of a run


class _Dumper(yaml.SafeDumper):
    """PyYAML's dumper, changed so that every text is read back unchanged."""


def _represent_text(dumper: _Dumper, text: str) -> Any:
    quoted = any(character in text for character in LINE_BREAKS)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def dump_line(value: Any) -> str:
    """Formats a plain value as YAML in one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=sys.maxsize
    )
    return text.removesuffix("...\n").strip()


def dump_entry(key: str, value: Any) -> str:
    """Formats a key and its value as YAML: in one line, or in two if the key is long."""
    key_text, value_text = dump_line(key), dump_line(value)
    is_simple = len(key_text) <= MAX_SIMPLE_KEY
    return f"{key_text}: {value_text}" if is_simple else f"? {key_text}\n: {value_text}"


def dump(values: Any) -> str:
    """Formats plain values as YAML, without sorting keys."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse(text: str) -> Any:
    """Parses YAML into plain values."""
    try:
        return yaml.load(text, FAST_LOADER)
    except yaml.YAMLError:  # PyYAML's own parser has better messages, and accepts lone surrogates
        return yaml.safe_load(text)


def read(path: Path, name: str, limits: Limits, load: Callable[[str], Any] = parse) -> Any:
    """Reads a YAML file.

    Args:
        path: the file.
        name: its name in messages.
        limits: the limits of its size and depth.
        load: the function that parses its text.

    Raises:
        UserError: the file is damaged or exceeds a limit. One limit is that of its aliases, because a few lines with
            nested aliases can expand to millions of values.
    """
    content = read_bytes(path, limits.size + 1)
    if len(content) > limits.size:
        raise UserError(f"{name}: the file is too large. At most {limits.size:,} bytes are allowed.")
    try:
        text = content.decode()
        if _count_aliased(text, limits.depth) > MAX_ALIASED:
            raise UserError(f"{name}: its aliases expand to too many values. At most {MAX_ALIASED:,} are allowed.")
        return load(text)
    except UserError:
        raise
    except RecursionError as error:
        raise UserError(
            f"{name}: too many nested lists and mappings. At most {limits.depth} levels are allowed."
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: byte {error.start} is not UTF-8. Save the file in UTF-8.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{name}{line}: not valid YAML: {error.problem}") from error
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:  # a value that does not match its tag
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{name}: can't be read: {reason}") from error


@functools.lru_cache(maxsize=256)
def _count_aliased(text: str, depth: int) -> int:
    """The number of values that the aliases of a text expand to. Raises RecursionError if it exceeds `depth` levels."""
    try:
        return _count_events(yaml.parse(text, FAST_LOADER), depth)
    except yaml.YAMLError:  # PyYAML's own parser has better messages, and accepts lone surrogates
        return _count_events(yaml.parse(text, yaml.SafeLoader), depth)


def _count_events(events: Iterator[Any], depth: int) -> int:
    """Counts the values that aliases expand to. It neither expands them nor recurses."""
    sizes: dict[str, int] = {}  # the number of values of each anchor
    opened: list[tuple[str | None, int]] = []  # (anchor, number of values before it) of each open collection
    count = aliased = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, count))
            count += 1
            if event.anchor:
                sizes[event.anchor] = MAX_ALIASED + 1  # until it is closed, an alias to it is a cycle
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            size = sizes.get(str(event.anchor), 0)  # the loader raises for an unknown anchor
            count, aliased = count + size, aliased + size
        if len(opened) > depth:
            raise RecursionError
        if aliased > MAX_ALIASED:
            break
    return aliased
