"""YAML: files are read within bounds, whoever wrote them; plain values are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.types import UserError
from runner.files import read_bytes

MOST_VALUES = 100_000  # that the anchors of a file may stand for
LINE_BREAKS = "\x85\u2028\u2029"  # of YAML and no other: outside double quotes PyYAML folds or drops them
FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser, where PyYAML was built with it


class Limits(NamedTuple):
    """What a file may hold at most."""

    size: int  # bytes
    depth: int  # lists and mappings within one another


OPTION = Limits(1 << 20, 50)  # a file that a user wrote
CONFIGURATION = Limits(1 << 22, 100)  # what became of several of them and of a command's words


class _Dumper(yaml.SafeDumper):
    """PyYAML's, which writes every text so that it reads the same again."""


def _represent_text(dumper: _Dumper, text: str) -> Any:
    quoted = any(character in text for character in LINE_BREAKS)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_text)


def dump(values: Any) -> str:
    """Plain values as YAML, in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse(text: str) -> Any:
    """Plain values from what `dump` wrote."""
    return yaml.safe_load(text)


def read(path: Path, name: str, limits: Limits, load: Callable[[str], Any] = parse) -> Any:
    """What a file holds, as `load` makes it of its text; raises UserError that names it where it is damaged or too big.

    Lists and mappings may be nested, and anchors stand for others, so that a few lines are millions of values.
    """
    content = read_bytes(path, limits.size + 1)
    if len(content) > limits.size:
        raise UserError(f"{name}: a configuration of more than {limits.size:,} bytes is refused")
    try:
        text = content.decode()
        if _aliased(text, limits.depth) > MOST_VALUES:
            raise UserError(f"{name}: its anchors stand for more than {MOST_VALUES:,} values")
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
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:  # of a tag that doesn't fit
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{name}: can't be read: {reason}") from error


def _aliased(text: str, depth: int) -> int:
    """How many values the aliases of a text stand for; raises RecursionError where it is deeper than `depth`."""
    try:
        return _count(yaml.parse(text, FAST), depth)
    except yaml.YAMLError:  # which PyYAML's own parser says better, or, as with a lone surrogate, takes
        return _count(yaml.parse(text, yaml.SafeLoader), depth)


def _count(events: Iterator[Any], depth: int) -> int:
    """The values that aliases stand for, counted without memory or recursion before anything is made of them."""
    sizes: dict[str, int] = {}  # what anchors stand for
    opened: list[tuple[str | None, int]] = []  # collections: the anchor, and the number of values before
    count = aliased = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, count))
            count += 1
            if event.anchor:
                sizes[event.anchor] = MOST_VALUES + 1  # within itself it has no end
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            size = sizes.get(str(event.anchor), 0)  # of one that stands for nothing the loader tells
            count, aliased = count + size, aliased + size
        if len(opened) > depth:
            raise RecursionError
        if aliased > MOST_VALUES:
            break
    return aliased
