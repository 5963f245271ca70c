"""Suggestions for the questions that a command leaves open: kept for the same data, and printed."""

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
from runner.signature.build import build
from runner.signature.code import digest_code, part_packages
from runner.signature.schema import SCHEMA
from runner.signature.source import PartNotFoundError, find_definition, resolve_name
from runner.suggest.suggest import suggest

INFERRED_FEATURE = "inferred"  # the name of the feature option that a suggestion makes
GROUPS_WITHOUT_SUGGESTION = ("tracking", "sweep", "data", "experiment")  # groups that no suggestion answers
SUGGESTING_MODES = ("train", "dry_run", "look", "init")  # that begin something new


class Question(NamedTuple):
    """What a suggestion is for.

    Attributes:
        node: the source as it stands in the configuration.
        chosen: the groups that the user has chosen options of.
    """

    node: dict[str, Any]
    chosen: tuple[str, ...]


class Suggestion(NamedTuple):
    """Answers to the questions that a command leaves open.

    Attributes:
        origin: where the answers come from, for messages.
        choices: options by group.
        feature: the content of a feature file.
        values: values that are laid over those of the options.
        table: a heading and a row for each column, for people.
        notes: sentences, for people.
    """

    origin: str
    choices: Mapping[str, Any]
    feature: Mapping[str, Any]
    values: Mapping[str, Any]
    table: Sequence[Sequence[str]]
    notes: Sequence[str]


def can_suggest(target: object) -> bool:
    """Whether the class of a source defines or inherits `profile`, by its source code: it imports nothing."""
    return isinstance(target, str) and _has_profile(target, frozenset())


def _has_profile(name: str, seen: frozenset[str]) -> bool:
    try:
        found = find_definition(name) if "." in name and name not in seen else None
    except PartNotFoundError:
        return False
    if found is None or isinstance(found.node, ast.FunctionDef):
        return False
    if isinstance(found.node, ast.expr):  # another name of the class
        others = [found.node]
    elif any(isinstance(one, ast.FunctionDef) and one.name == "profile" for one in found.node.body):
        return True
    else:
        others = found.node.bases
    names = (resolve_name(found.module, one) for one in others)
    return any(_has_profile(other, seen | {name}) for other in names if other)


class Suggestions:
    """The suggestions of a command. Each question is answered once."""

    def __init__(self) -> None:
        self._found: dict[str, Suggestion | UserError] = {}

    def __contains__(self, question: Question) -> bool:
        """Whether the question was answered before."""
        return repr(question) in self._found

    def __getitem__(self, question: Question) -> Suggestion:
        """The suggestion; raises UserError where nothing can be learned from the table."""
        key = repr(question)
        if key not in self._found:
            try:
                self._found[key] = _make_suggestion(question)
            except UserError as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, UserError):
            raise found
        return found


def _make_suggestion(question: Question) -> Suggestion:
    node = question.node
    with error_location("data"):
        source = build(node, {}, SCHEMA["data"])
    packages = {*part_packages(node), "runner.suggest"}
    suggested = _read_or_suggest(source, json.dumps([node, digest_code(packages)], sort_keys=True))
    others = {*question.chosen} - {"data"}
    return Suggestion(
        origin=f"inferred from {suggested['origin']}",
        choices={group: option for group, option in suggested["choices"].items() if group not in others},
        feature=suggested["feature"],
        values={key: value for key, value in suggested["values"].items() if key not in others},
        table=suggested["table"],
        notes=suggested["notes"],
    )


def _read_or_suggest(source: Any, identity: str) -> Mapping[str, Any]:
    """The suggestion for a source; from the cache where the same code has seen the same rows before."""
    from runner.platform import cache_folder  # imports NumPy

    text = hashlib.blake2b(f"{identity}\n{source.fingerprint()}".encode(), digest_size=16).hexdigest()
    path = cache_folder() / "suggestion" / f"{text}.json"
    with contextlib.suppress(OSError, ValueError):  # missing or damaged: it is made again
        return json.loads(path.read_text())
    with memory_error_location("looking at the columns", "Free some, or let data.path be a sample of the rows."):
        suggested = suggest(source)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(suggested))
    return suggested


def print_suggestion(suggested: Suggestion) -> None:
    """Prints what each column becomes."""
    print_tables(
        [Section(f"{suggested.origin}:", suggested.table, right_columns=(2, 3))], [(note,) for note in suggested.notes]
    )
