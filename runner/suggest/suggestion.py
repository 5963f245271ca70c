"""What a source suggests where nobody chose: of a table, what to learn from it and how."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from components.types import UserError
from runner.display.tables import Section, print_tables
from runner.errors import error_location
from runner.files import write_atomically
from runner.memory import memory_error_location
from runner.signature import code
from runner.signature.build import build
from runner.signature.places import SCHEMA
from runner.signature.source import TargetError, find_definition, full_name

FEATURE = "inferred"  # the name of the feature option that a suggestion makes
UNANSWERED = ("tracking", "sweep", "data", "experiment")  # groups that no suggestion answers
MODES = ("train", "dry_run", "look", "init")  # that begin something new


class Question(NamedTuple):
    """What a source is asked for."""

    node: dict[str, Any]  # what a configuration's `data` says of it
    chosen: tuple[str, ...]  # groups that are answered


class Suggestion(NamedTuple):
    """Answers to the questions that a command leaves open."""

    origin: str  # who set them, for messages
    choices: Mapping[str, Any]  # options by group
    feature: Mapping[str, Any]  # the content of a feature file
    values: Mapping[str, Any]  # laid over what the options say
    table: Sequence[Sequence[str]]  # for people: a heading and a line a column
    notes: Sequence[str]


def can_suggest(target: object) -> bool:
    """Whether the class of a source has `suggest`, or inherits it, by their sources: nothing is imported."""
    return isinstance(target, str) and _has_suggest(target, frozenset())


def _has_suggest(name: str, seen: frozenset[str]) -> bool:
    try:
        found = find_definition(name) if "." in name and name not in seen else None
    except TargetError:
        return False
    if found is None or isinstance(found.node, ast.FunctionDef):
        return False
    if isinstance(found.node, ast.expr):  # another name of it
        others = [found.node]
    elif any(isinstance(one, ast.FunctionDef) and one.name == "suggest" for one in found.node.body):
        return True
    else:
        others = found.node.bases
    names = (full_name(found.module, one) for one in others)
    return any(_has_suggest(other, seen | {name}) for other in names if other)


class Suggestions:
    """What sources answered; each question is asked once."""

    def __init__(self) -> None:
        self._found: dict[str, Suggestion | UserError] = {}

    def __contains__(self, question: Question) -> bool:
        """Whether it was asked."""
        return repr(question) in self._found

    def __getitem__(self, question: Question) -> Suggestion:
        """The answer; raises UserError where the source finds that there is nothing to learn."""
        key = repr(question)
        if key not in self._found:
            try:
                self._found[key] = _suggestion(question)
            except UserError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, UserError):
            raise found
        return found


def _suggestion(question: Question) -> Suggestion:
    node = question.node
    with error_location("data"):
        source = build(node, {}, SCHEMA["data"])
    suggested = _kept(source, json.dumps([node, code.digest(code.packages(node))], sort_keys=True))
    others = {*question.chosen} - {"data"}
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
    from runner.platform import cache_folder  # imports NumPy

    text = hashlib.blake2b(f"{identity}\n{source.fingerprint()}".encode(), digest_size=16).hexdigest()
    path = cache_folder() / "suggestion" / f"{text}.json"
    with contextlib.suppress(OSError, ValueError):  # not there, or damaged: it is found again
        return json.loads(path.read_text())
    with memory_error_location("looking at the columns", "Free some, or let data.path be a sample of the rows."):
        suggested: Mapping[str, Any] = source.suggest()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(suggested))
    return suggested


def tell(suggested: Suggestion) -> None:
    """Prints what was inferred, column by column."""
    print_tables(
        [Section(f"{suggested.origin}:", suggested.table, right=(2, 3))], [(note,) for note in suggested.notes]
    )
