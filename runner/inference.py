"""What a source suggests where nobody chose: of a table, what to learn from it and how."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner import code
from runner.build import build
from runner.errors import at
from runner.folder import write_atomically
from runner.source import TargetError, locate
from runner.tables import Section, show

FEATURE = "inferred"  # the name of the feature option that a suggestion makes
MODES = ("train", "dry_run", "look", "init")  # that begin something new


class Suggestion(NamedTuple):
    """Answers to the questions that a command leaves open."""

    origin: str  # who set them, for messages
    choices: Mapping[str, Any]  # options by group
    feature: Mapping[str, Any]  # the content of a feature file
    values: Mapping[str, Any]  # laid over what the options say
    table: Sequence[Sequence[str]]  # for people: a heading and a line a column
    notes: Sequence[str]


def can_suggest(target: object) -> bool:
    """Whether the class of a source has `suggest`, by its source: nothing is imported."""
    try:
        found = locate(target) if isinstance(target, str) else None
    except TargetError:
        return False
    body = found.node.body if found is not None and isinstance(found.node, ast.ClassDef) else ()
    return any(isinstance(one, ast.FunctionDef) and one.name == "suggest" for one in body)


def suggestion(node: Mapping[str, Any], chosen: Sequence[str]) -> Suggestion:
    """What the source that a configuration's `data` describes suggests; nothing about groups that were chosen.

    Raises UserError where the source finds that there is nothing to learn.
    """
    with at("data"):
        source = build(node, {})
    suggested = _kept(source, json.dumps([node, code.digest(code.packages(node))], sort_keys=True))
    others = set(chosen) - {"data"}
    return Suggestion(
        origin=f"inferred from {suggested['origin']}",
        choices={group: option for group, option in suggested["choices"].items() if group not in others},
        feature=suggested["feature"],
        values={key: value for key, value in suggested["values"].items() if key not in others},
        table=suggested["table"],
        notes=suggested["notes"],
    )


def _kept(source: Any, identity: str) -> Mapping[str, Any]:
    """What the source suggests, from the cache where the same rows were looked at before by the same code."""
    from runner.data import cache_folder  # imports NumPy

    text = hashlib.blake2b(f"{identity}\n{source.fingerprint()}".encode(), digest_size=16).hexdigest()
    path = cache_folder() / "suggestion" / f"{text}.json"
    with contextlib.suppress(OSError, ValueError):  # not there, or damaged: it is found again
        return json.loads(path.read_text())
    suggested: Mapping[str, Any] = source.suggest()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(suggested))
    return suggested


def tell(suggested: Suggestion) -> None:
    """Prints what was inferred, column by column."""
    show([Section(f"{suggested.origin}:", suggested.table, right=(2, 3))], [(note,) for note in suggested.notes])
