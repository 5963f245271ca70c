"""`mode=runs`: prints the runs below a folder as a table, with their metrics and the parameters that differ."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.display.numbers import format_number
from runner.display.run_length import format_epochs
from runner.display.tables import (
    Section,
    describe_left_out,
    fit_to_terminal,
    print_tables,
    table_width,
    terminal_width,
)
from runner.modes.listing import RunInfo, read_runs
from runner.modes.selection import format_field, parse_conditions, resolve_field, select_runs
from runner.record.naming import REPEAT_KEYS, SEPARATOR
from runner.run_folder import find_starts
from runner.terminal import on_terminal, write_line

if TYPE_CHECKING:
    from runner.config.config import Config

MAX_PARAMETER_COLUMNS = 4  # parameters that differ and matter more than whole names; others are shown if there is room
NAME_WIDTH = 36  # characters of a name that matter more than some columns
MIN_NAME_WIDTH = 20  # characters of a name that a narrow terminal shows
CHOOSE_COLUMNS = "runs.columns=[name,status] chooses the columns"
IRRELEVANT = ("tracking", "sweep")  # parameters that don't affect the results
ALWAYS_SHOWN = ("folder", "size")
REMOVED_FIRST = ("seconds", "kind", "epochs", "created")  # columns that are left out first on a narrow terminal


class _Table(NamedTuple):
    """A table of runs.

    Attributes:
        rows: the rows, with a heading.
        left_out: the columns for which the terminal has no room.
        is_essential: whether it has all columns that matter more than whole names.
    """

    rows: list[list[str]]
    left_out: list[str]
    is_essential: bool


def command(config: Config) -> int:
    """Prints the first `runs.last` runs that `runs.where` selects, sorted by `runs.sort`. Returns the exit code."""
    root, settings = Path(config.values["folder"]), config.values["runs"]
    runs = read_runs(root)
    selected = select_runs(runs, settings["where"], settings["sort"])
    shown = selected[: settings["last"]]
    if not shown:
        write_line(describe_no_runs(root, runs, settings["where"]))
        return 0
    chosen, requested = find_named_fields(settings, runs)
    if chosen:
        columns = list(dict.fromkeys([*chosen, "folder"]))
    else:
        columns = _choose_columns(shown, requested, _find_differing(shown))
    left_out = print_runs(shown, columns, requested, runs, is_chosen=bool(chosen))
    if left_out:
        write_line(describe_left_out(left_out, f"{CHOOSE_COLUMNS}, and `| cat` shows all"))
    if len(shown) < len(selected):
        write_line(f"{len(shown)} of {len(selected)} runs below {root}; runs.last=null lists all")
    return 0


def find_named_fields(settings: Mapping[str, Any], runs: Sequence[RunInfo]) -> tuple[list[str], list[str]]:
    """The fields of `runs.columns`, and those of `runs.where` and `runs.sort` that need a column of their own.

    Args:
        settings: the values below `runs`.
        runs: all runs.
    """
    chosen = [resolve_field(name, runs, "columns") for name in settings["columns"] or ()]
    names = [condition.field for condition in parse_conditions(settings["where"] or "")]
    names.append(settings["sort"].removeprefix("-"))
    fields = dict.fromkeys(resolve_field(name, runs, "where") for name in names)
    return chosen, [field for field in fields if field not in ("age", "created", "folder")]


def print_runs(
    shown: Sequence[RunInfo],
    columns: list[str],
    requested: Sequence[str],
    runs: Sequence[RunInfo],
    *,
    is_chosen: bool,
) -> list[str]:
    """Prints a table of runs, with the columns for which the terminal has room.

    Args:
        shown: the runs of the table.
        columns: the fields.
        requested: those that `runs.where` and `runs.sort` name.
        runs: all runs, whose folders the shown ones are told apart from.
        is_chosen: whether `runs.columns` chose the columns, the most important one first.

    Returns:
        The columns that are left out.
    """
    starts = find_starts([run.path.name for run in runs])
    for folders, name_width in itertools.product((None, starts), (NAME_WIDTH, MIN_NAME_WIDTH)):
        table = _fit_to_terminal(columns, requested, shown, name_width, folders, is_chosen=is_chosen)
        if table.is_essential:
            break
    print_tables([Section("", table.rows)])
    return table.left_out


def describe_no_runs(root: Path, runs: Sequence[RunInfo], where: str | None) -> str:
    """Why no run is selected: there are none, or none meets the conditions."""
    return f"no run below {root} meets runs.where={where}" if runs else f"no runs below {root}"


def _choose_columns(runs: Sequence[RunInfo], requested: Iterable[str], differing: Iterable[str]) -> list[str]:
    """The fields to show.

    Args:
        runs: the runs of the table.
        requested: the fields that `runs.where` and `runs.sort` name.
        differing: the parameters that distinguish the runs.
    """
    kinds = ["kind"] if {run.facts.get("kind", "run") for run in runs} != {"run"} else []
    monitors = Counter(f"best/{run.parameters.get('training.monitor')}" for run in runs)
    monitored = [name for name, _ in monitors.most_common()]
    tested = [name for run in runs for name in run.metrics if name.startswith("test/")]
    known = {name for run in runs for name in run.metrics}
    metrics = [name for name in (*monitored, *tested) if name in known]
    facts = ["created", "name", *requested, *kinds, "status", "epochs", "seconds"]
    return list(dict.fromkeys([*facts, *metrics, *differing, "folder"]))


def _find_differing(runs: Sequence[RunInfo]) -> list[str]:
    """The parameters that distinguish the runs.

    First come those that a sweep varies, of these the repetitions last, then others that a command line set, then the
    rest. Of each, the first is the one in which most runs differ from the value that most of them have.
    A parameter is left out if it distinguishes no more runs than their names and the parameters before it. One that a
    command line set is listed nevertheless, unless a parameter before it has the same values.
    """
    readable = [run for run in runs if run.parameters]
    epochs = tuple(format_cell(run, "epochs") for run in readable)
    names = dict.fromkeys(name for run in readable for name in run.parameters if name not in IRRELEVANT)
    overridden = {key for run in readable for key in run.overridden}
    columns: dict[str, tuple[str, ...]] = {"name": tuple(format_cell(run, "name") for run in readable)}
    cells = {name: tuple(format_cell(run, name) for run in readable) for name in names}
    most_common = {name: max(Counter(values).values()) for name, values in cells.items()}
    swept = {name for name in overridden & names.keys() if _is_swept(name, readable)}

    def rank(name: str) -> tuple[bool | int, ...]:
        return name not in swept, name in REPEAT_KEYS, name not in overridden, most_common[name]

    for name in sorted(names, key=rank):
        values = cells[name]
        if len({value for run, value in zip(readable, values, strict=True) if name in run.fields}) < 2:
            continue  # other runs lack it, such as a sweep, which has no seed
        if name == "training.epochs" and all(len({*pair} - {""}) < 2 for pair in zip(epochs, values, strict=True)):
            continue  # the column `epochs` has it
        distinguished = len(set(zip(*columns.values(), strict=True)))
        distinguishes_more = len(set(zip(*columns.values(), values, strict=True))) > distinguished
        is_new_override = name in overridden and values not in columns.values()
        if distinguishes_more or is_new_override:
            columns[name] = values
    return [name for name in columns if name != "name"]


def _is_swept(name: str, runs: Iterable[RunInfo]) -> bool:
    """Whether runs of one sweep differ in a parameter."""
    values: dict[str, set[str]] = {}
    for run in runs:
        sweep = run.facts["folder"].rpartition("/")[0]
        if sweep and name in run.fields:
            values.setdefault(sweep, set()).add(format_cell(run, name))
    return any(len(found) > 1 for found in values.values())


def _fit_to_terminal(
    columns: list[str],
    requested: Sequence[str],
    runs: Sequence[RunInfo],
    name_width: int,
    starts: Mapping[str, str] | None,
    *,
    is_chosen: bool,
) -> _Table:
    """The table with the columns for which the terminal has room. If the output is not a terminal, all have room.

    Names are cut first, to `name_width`, and get what is left of the line. The monitored metrics, the first parameters
    that differ and the name are left out last, and of chosen columns the first; before these, the columns that
    `runs.where` and `runs.sort` name. `starts` has the texts that stand for folders; None: their names.
    """
    if not on_terminal():
        return _Table([_headings(columns), *_rows(runs, columns)], [], is_essential=True)
    headings = dict(zip(_headings(columns), columns, strict=True))
    # Plain runs, folds and the runs of a sweep differ in other parameters each, but all in their names.
    by_name = "kind" in columns and starts is not None
    order = _order_by_importance(columns, requested, runs, by_name=by_name)
    minor, major = ([], [*reversed(columns)]) if is_chosen else order
    removable = [
        heading
        for name in (*minor, *major)
        for heading, column in headings.items()
        if column == name and name not in ALWAYS_SHOWN
    ]
    cut = [[*headings], *_rows(runs, columns, name_width, starts)]
    fitting, removed = fit_to_terminal(cut, removable)
    kept, left_out = [headings[name] for name in fitting[0]], [headings[name] for name in removed]
    if "name" in kept:  # gets what is left
        spare = max(0, terminal_width() - table_width(fitting, breaks_heading=True))
        width = max(len(row[kept.index("name")]) for row in fitting) + spare
        fitting = [fitting[0], *_rows(runs, kept, width, starts)]
    return _Table(fitting, left_out, is_essential={*left_out} <= {*minor})


def _order_by_importance(
    columns: Sequence[str], requested: Sequence[str], runs: Sequence[RunInfo], *, by_name: bool
) -> tuple[list[str], list[str]]:
    """The columns that matter less than whole names, and the others. Both have the least important first.

    Args:
        columns: the columns.
        requested: those that `runs.where` and `runs.sort` name.
        runs: the runs of the table.
        by_name: whether the names tell the runs apart better than the parameters.
    """
    tested = [name for name in columns if name.startswith("test/")]
    tested.sort(key=lambda name: name.endswith("/loss"))  # a metric says more beside the monitored loss
    monitored = [name for name in columns if name.startswith("best/")]
    finished = ["status"] if {run.facts["status"] for run in runs} == {"finished"} else []
    first = [*REMOVED_FIRST, *finished, *reversed(tested[1:]), *reversed(monitored[1:])]
    shown = {*first, *tested, *monitored, "name", "status", *requested, *ALWAYS_SHOWN}
    parameters = [name for name in columns if name not in shown]
    first = [*reversed(parameters[MAX_PARAMETER_COLUMNS:]), *first]
    others = [name for name in columns if name not in (*first, *tested, *monitored, "name", "status")]
    if by_name:
        first = [*first, *reversed(others)]
    order = [*first, "status", "name", *reversed(others[1:]), *tested[:1], *others[:1], *monitored[:1]]
    known = [name for name in dict.fromkeys(order) if name in columns]
    minor = [name for name in known if name in first and name not in requested]
    return minor, sorted((name for name in known if name not in minor), key=lambda name: name in requested)


def _headings(columns: Sequence[str]) -> list[str]:
    """The last part of each parameter's name, or the full name if two columns have the same last part."""
    last_parts = [name.rpartition(".")[2] for name in columns]
    return [last if last_parts.count(last) == 1 else name for name, last in zip(columns, last_parts, strict=True)]


def _rows(
    runs: Sequence[RunInfo],
    columns: Sequence[str],
    name_width: int | None = None,
    starts: Mapping[str, str] | None = None,
) -> Iterator[list[str]]:
    names = {format_cell(run, "name") for run in runs}
    cut = {name: name for name in names} if name_width is None else _cut_names(names, name_width)
    for run in runs:
        cells = {name: format_cell(run, name) for name in columns}
        if "name" in cells:
            cells["name"] = cut[cells["name"]]
        if "folder" in cells and starts is not None:
            cells["folder"] = starts[run.path.name]
        yield [*cells.values()]


def _cut_names(names: Collection[str], width: int) -> dict[str, str]:
    """Cuts names to a width: first the parts that names with the same start share, then the end."""
    cut: dict[str, str] = {}
    starts: dict[str, list[str]] = {}
    for name in names:
        starts.setdefault(_cut_end(name, width), []).append(name)
    for same in starts.values():
        parts = {name: name.split(SEPARATOR) for name in same}
        shared = set.intersection(*map(set, parts.values())) if len(same) > 1 else set()
        for name in same:
            rest = SEPARATOR.join(part for part in parts[name] if part not in shared)
            cut[name] = _cut_end(f"… {rest}" if shared and rest else name, width)
    return cut


def _cut_end(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def format_cell(run: RunInfo, name: str) -> str:
    """A field as text; "" if the run lacks it."""
    value: Any = run.fields.get(name, "")
    if name == "folder" and on_terminal():  # without the folder of its sweep, which `run=` doesn't need
        return run.path.name
    if name == "epochs" and isinstance(value, int | float):
        return format_epochs(value)
    if name == "seconds" and value != "":
        return f"{value:.1f}"
    if name in run.metrics and name not in run.facts:
        return format_number(value)
    return format_field(value)
