"""Reads YAML files within limits, and writes plain values as YAML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.types import UserError
from runner.files import read_bytes

MOST_ALIASED = 100_000  # values that the aliases of a file may expand to
LINE_BREAKS = "\x85\u2028\u2029"  # line breaks in YAML only: PyYAML folds or drops them outside double quotes
FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser, where PyYAML was built with it


class Limits(NamedTuple):
    """Limits of a file.

    Attributes:
        size: bytes.
        depth: levels of nested lists and mappings.
    """

    size: int
    depth: int


OPTION_LIMITS = Limits(1 << 20, 50)  # a file that a user wrote
CONFIGURATION_LIMITS = Limits(1 << 22, 100)  # the composed configuration of a run


class _Dumper(yaml.SafeDumper):
    """PyYAML's dumper, but every text reads back the same."""


def _represent_text(dumper: _Dumper, text: str) -> Any:
    quoted = any(character in text for character in LINE_BREAKS)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_text)


def dump(values: Any) -> str:
    """Plain values as YAML, in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse(text: str) -> Any:
    """Parses YAML into plain values."""
    return yaml.safe_load(text)


def read(path: Path, name: str, limits: Limits, load: Callable[[str], Any] = parse) -> Any:
    """Reads a file, within limits: a few lines with nested aliases can expand to millions of values.

    Args:
        path: the file.
        name: its name in messages.
        limits: its largest size and depth.
        load: turns its text into values.

    Raises:
        UserError: the file is damaged, or exceeds a limit.
    """
    content = read_bytes(path, limits.size + 1)
    if len(content) > limits.size:
        raise UserError(f"{name}: a configuration of more than {limits.size:,} bytes is refused")
    try:
        text = content.decode()
        if _count_aliased(text, limits.depth) > MOST_ALIASED:
            raise UserError(f"{name}: its anchors stand for more than {MOST_ALIASED:,} values")
        return load(text)
    except UserError:
        raise
    except RecursionError as error:
        raise UserError(f"{name}: its lists and mappings are nested more than {limits.depth} deep") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: byte {error.start} is not UTF-8; save the file in that encoding") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{name}{line}: this is not YAML: {error.problem}") from error
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:  # a value that does not match its tag
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{name}: can't be read: {reason}") from error


def _count_aliased(text: str, depth: int) -> int:
    """How many values the aliases of a text expand to. Raises RecursionError where it is nested deeper than `depth`."""
    try:
        return _count_events(yaml.parse(text, FAST), depth)
    except yaml.YAMLError:  # PyYAML's own parser has the better message, and accepts a lone surrogate
        return _count_events(yaml.parse(text, yaml.SafeLoader), depth)


def _count_events(events: Iterator[Any], depth: int) -> int:
    """Counts the values that aliases expand to, without expanding them and without recursion."""
    sizes: dict[str, int] = {}  # the number of values of each anchor
    opened: list[tuple[str | None, int]] = []  # the open collections: anchor, and the number of values before it
    count = aliased = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, count))
            count += 1
            if event.anchor:
                sizes[event.anchor] = MOST_ALIASED + 1  # an alias to it inside itself never ends
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            size = sizes.get(str(event.anchor), 0)  # the loader reports an unknown anchor
            count, aliased = count + size, aliased + size
        if len(opened) > depth:
            raise RecursionError
        if aliased > MOST_ALIASED:
            break
    return aliased
