"""Suggestions for the groups that a command does not choose: made once for the same data, and printed."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.input_files import find_path
from components.read_once import hand_over, take_over
from components.remote import is_remote
from components.types import DataError, RowOperation, UserError
from runner.display.tables import MAX_ROWS, Section, print_tables
from runner.errors import error_location, located_settings
from runner.files import write_atomically
from runner.memory import memory_error_location
from runner.public_data import download_suggested
from runner.signature.build import build_source
from runner.signature.code import digest_code, part_packages
from runner.signature.operations import build_operations, explain_computed_columns, operate, separate_options
from runner.signature.source import PartNotFoundError, find_definition, resolve_name
from runner.suggest.suggest import suggest

INFERRED_FEATURE = "inferred"  # the name of the feature option of a suggestion
COLUMNS_FILE = "columns.txt"  # in the folder of a run
MAX_NAME_LENGTH = 40  # characters of a column's name in the printed table
ROWS = "rows after operations"
GROUPS_WITHOUT_SUGGESTION = ("tracking", "sweep", "data", "experiment")
SUGGESTING_MODES = ("train", "dry_run", "look", "find_lr", "init")  # the modes that start a run or a project


class Question(NamedTuple):
    """The source and the groups that a suggestion is made for.

    Attributes:
        node: the source, as plain values.
        chosen: the groups whose options the user chooses.
        folds: the number of folds of a cross-validation. None: there is none.
        missing: `missing` of the targets, as far as the user sets it, by name; that of the only target is `target`.
        operations: the operations on the rows of the source, as plain values.
        has_forecasts: whether targets follow the inputs in time, so that the past of a target is an input.
    """

    node: dict[str, Any]
    chosen: tuple[str, ...]
    folds: int | None = None
    missing: tuple[tuple[str, str], ...] = ()
    operations: tuple[dict[str, Any], ...] = ()
    has_forecasts: bool = False


class Suggestion(NamedTuple):
    """Choices and values for the groups that a command does not choose.

    Attributes:
        origin: the origin of the values in messages.
        choices: the options, by group, or by a place below it such as `loss.price`.
        feature: the content of a feature file.
        values: values that replace those of the options.
        table: a heading and a row for each column, to be printed.
        notes: sentences to be printed.
        summary: how many columns there are of each kind, without the target.
        unusual: the positions of the columns to print if there are many: the target, and those with gaps or notes.
        rows_key: identifies the rows after operations that it was made for. "": there are no operations.
    """

    origin: str
    choices: Mapping[str, Any]
    feature: Mapping[str, Any]
    values: Mapping[str, Any]
    table: Sequence[Sequence[str]]
    notes: Sequence[str]
    summary: str = ""
    unusual: Sequence[int] = ()
    rows_key: str = ""


class HandedOverRows(NamedTuple):
    """Rows after operations, which a suggestion was made for, and which the run needs.

    Attributes:
        key: that of the suggestion.
        rows: the rows.
        is_current: says whether the data is still the same.
    """

    key: str
    rows: Any
    is_current: Callable[[], bool]


def take_rows(suggestion: Suggestion | None) -> Any:
    """The rows after operations that a suggestion was made for, the first time. None: they aren't known."""
    found: HandedOverRows | None = take_over(ROWS)
    if found is None or suggestion is None or found.key != suggestion.rows_key:
        return None
    return found.rows if found.is_current() else None


def can_suggest(target: object) -> bool:
    """Whether the class of a source defines or inherits `profile`. It is read from source, without an import."""
    return isinstance(target, str) and _has_profile(target, frozenset())


def _has_profile(name: str, seen: frozenset[str]) -> bool:
    try:
        definition = find_definition(name) if "." in name and name not in seen else None
    except PartNotFoundError:
        return False
    if definition is None or isinstance(definition.node, ast.FunctionDef):
        return False
    if isinstance(definition.node, ast.expr):  # another name of the class
        expressions = [definition.node]
    elif any(isinstance(item, ast.FunctionDef) and item.name == "profile" for item in definition.node.body):
        return True
    else:
        expressions = definition.node.bases
    names = (resolve_name(definition.module, expression) for expression in expressions)
    return any(_has_profile(base, seen | {name}) for base in names if base)


class Suggestions:
    """The suggestions of a command, by question. Each one is made once.

    Args:
        table: the table that a call from Python passes, which is the source's columns. None: there is none.
    """

    def __init__(self, table: Any = None) -> None:
        self._table = table
        self._results: dict[str, Suggestion | UserError] = {}

    def __contains__(self, question: Question) -> bool:
        """Whether the suggestion has been made."""
        return repr(question) in self._results

    def __getitem__(self, question: Question) -> Suggestion:
        """Makes or returns the suggestion. Raises UserError if there is none for the table."""
        key = repr(question)
        if key not in self._results:
            try:
                self._results[key] = _make_suggestion(question, self._table)
            except UserError as error:
                self._results[key] = error
        result = self._results[key]
        if isinstance(result, UserError):
            raise result
        return result


def _make_suggestion(question: Question, table: Any) -> Suggestion:
    nodes = [question.node, *question.operations]
    operations = build_operations(question.operations)
    source = _open_source(question, operations, table)
    packages = {*part_packages(nodes), "runner.suggest"}
    identity = json.dumps(
        [nodes, digest_code(packages), question.folds, question.missing, question.has_forecasts], sort_keys=True
    )
    with located_settings("data"), download_suggested(), explain_computed_columns(question.node, operations):
        fingerprint = source.fingerprint()
        digest = hashlib.blake2b(f"{identity}\n{fingerprint}".encode(), digest_size=16).hexdigest()
        suggested = _read_or_suggest(source, digest, question)
    if operations and (rows := source.release_rows()) is not None:

        def is_current() -> bool:
            return bool(_open_source(question, operations, table).fingerprint() == fingerprint)

        hand_over(ROWS, HandedOverRows(digest, rows, is_current))
    node = question.node
    chosen = {*question.chosen} - {"data"}  # the values of the source are suggested although it is chosen
    return Suggestion(
        origin=f"inferred from {_locate(str(suggested['origin']), node.get('path'))}",
        choices={
            place: option for place, option in suggested["choices"].items() if place.partition(".")[0] not in chosen
        },
        feature=suggested["feature"],
        values={key: value for key, value in suggested["values"].items() if key not in chosen},
        table=suggested["table"],
        notes=suggested["notes"],
        summary=suggested["summary"],
        unusual=suggested["unusual"],
        rows_key=digest if operations else "",
    )


def _open_source(question: Question, operations: Sequence[RowOperation], table: Any) -> Any:
    """The source of a question, whose rows pass through operations. `table`: the columns from Python, if there are."""
    with error_location("data"), download_suggested():
        node, options = separate_options(question.node, operations)
        source = build_source(node, **({} if table is None else {"columns": table}))
        return operate(source, operations, **options)


def _locate(origin: str, path: object) -> str:
    """The origin with the whole path, where $TITRATE_DATA or another folder has the data and not the working folder."""
    if not isinstance(path, str) or is_remote(path):
        return origin
    try:
        found = find_path(path)
    except DataError:
        return origin
    is_here = found.resolve().is_relative_to(Path.cwd().resolve())
    is_short = origin == path or origin.startswith(f"{path} ")
    return f"{found.absolute()}{origin.removeprefix(path)}" if is_short and not is_here else origin


def _read_or_suggest(source: Any, digest: str, question: Question) -> Mapping[str, Any]:
    """Makes the suggestion for a source, or reads it from the cache if the same code has made it for the same rows.

    Args:
        source: the source.
        digest: identifies the code and the rows.
        question: the question.
    """
    from runner.platform import cache_folder  # imports NumPy

    path = cache_folder() / "suggestion" / f"{digest}.json"
    with contextlib.suppress(OSError, ValueError):  # the file is missing or damaged
        return json.loads(path.read_text())
    with memory_error_location("profiling the columns", "Free some memory, or set data.path to a sample of the rows."):
        suggested = suggest(source, question.folds, dict(question.missing), has_forecasts=question.has_forecasts)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(suggested))
    return suggested


def print_suggestion(
    suggested: Suggestion, settings: Sequence[str], changes: Sequence[str] = (), *, whole: bool
) -> None:
    """Prints the plan for each column, and the notes. Long names are cut, so that the table stays readable.

    Args:
        suggested: the suggestion.
        settings: the other suggested options and values, as overrides.
        changes: what is set in the feature columns in place of what the table shows, as overrides.
        whole: whether all columns of a long table are printed, and all notes. Otherwise a summary and the unusual
            columns are printed, and the others are in the file `COLUMNS_FILE` of the run's folder.
    """
    heading, *rows = [(_cut(name), *cells) for name, *cells in suggested.table]
    title = f"{suggested.origin}:"
    notes: list[tuple[str, ...]] = [(note,) for note in suggested.notes]
    if not whole and len(rows) > MAX_ROWS:
        title = f"{suggested.origin}: {len(rows):,} columns: the target, {suggested.summary}. Of these:"
        rows = _shorten([rows[position] for position in suggested.unusual])
        rest = f"All columns are in {COLUMNS_FILE} of the run's folder. mode=look and mode=init print them."
        notes = [*_shorten(notes), (rest,)]
    if changes:
        notes += [("set, and not shown in the table:",), (f"  {' '.join(changes)}",)]
    if settings:
        notes += [("also inferred (to change one, set it on the command line):",), (f"  {' '.join(settings)}",)]
    print_tables([Section(title, [heading, *rows], right_columns=(2, 3))], notes)


def format_suggestion(suggested: Suggestion) -> str:
    """The plan for each column and the notes as text, for a file."""
    table = Section(f"{suggested.origin}:", suggested.table, right_columns=(2, 3))
    return "\n".join([str(table), *suggested.notes, ""])


def _shorten(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The first rows, and a row that counts the others."""
    if len(rows) <= MAX_ROWS:
        return rows
    return [*rows[:MAX_ROWS], (f"… {len(rows) - MAX_ROWS:,} more", *[""] * (len(rows[0]) - 1))]


def _cut(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…"
