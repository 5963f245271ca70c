"""`mode=runs`: the runs below a folder as a table, with what they came to and what tells them apart."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.display.tables import Section, print_tables
from runner.modes.listing import Entry, entries
from runner.modes.selection import named, parse, select, spelt
from runner.terminal import on_terminal

if TYPE_CHECKING:
    from runner.config.config import Config

MOST, NAMED = 4, 10  # parameters that are shown because they differ, and of the others those that are named
UNTOLD = ("tracking", "sweep")  # parameters that change no result
FRAME = 3  # what a terminal's table needs for a column beside its text
ALWAYS = ("status", "folder")  # columns that are left out nowhere
FIRST = ("created", "seconds", "kind", "epochs")  # those that a narrow terminal lacks first: most stands in `folder`
FOLDED = 22  # characters of a folder's name in a line at least, where it is broken into several


def command(config: Config) -> int:
    """Prints the runs that `runs.where` names, by `runs.sort`, at most the first `runs.last` of them."""
    root, wanted = Path(config.values["folder"]), config.values["runs"]
    found = entries(root)
    chosen = select(found, wanted["where"], wanted["sort"])
    shown = chosen[: wanted["last"]]
    if not shown:
        print(nothing(root, found, wanted["where"]))
        return 0
    asked = [one.field for one in parse(wanted["where"] or "")] + [wanted["sort"].removeprefix("-")]
    fields, differing = [named(name, found, "where") for name in asked], _distinguishing(shown)
    names, left_out = _fitting(_columns(shown, fields, differing[:MOST]), shown)
    print_tables([Section("", [_headings(names), *_rows(shown, names)])])
    if more := [name for name in differing[MOST:] if name not in names]:
        rest = f" … ({len(more) - NAMED} more)" if len(more) > NAMED else ""
        print(f"they also differ in {', '.join(more[:NAMED])}{rest}; runs.where and runs.sort show what they name")
    for line in _remarks(root, len(shown), len(chosen), left_out):
        print(line)
    return 0


def nothing(root: Path, found: Sequence[Entry], where: str | None) -> str:
    """What to say where no run is meant."""
    return f"none of the {len(found)} runs below {root} meets runs.where={where}" if found else f"no runs below {root}"


def _columns(shown: Sequence[Entry], asked: Iterable[str], distinguishing: Sequence[str]) -> list[str]:
    """The fields to show: what is always asked, the monitored figure, those of the test, what tells runs apart."""
    kinds = ["kind"] if {entry.facts.get("kind", "run") for entry in shown} != {"run"} else []
    monitors = [f"best/{entry.parameters.get('training.monitor')}" for entry in shown]
    tests = [name for entry in shown for name in entry.metrics if name.startswith("test/")]
    known = {name for entry in shown for name in entry.metrics}
    figures = [name for name in (*monitors, *tests) if name in known]
    told = [*(name for name in asked if name not in ("age", "folder")), *distinguishing]
    return list(dict.fromkeys(["created", "name", *kinds, "status", "epochs", "seconds", *figures, *told, "folder"]))


def _distinguishing(shown: Sequence[Entry]) -> list[str]:
    """The parameters that differ: those that a command line set, then others as far as they tell more runs apart."""
    described = [entry for entry in shown if entry.parameters]
    names = dict.fromkeys(name for entry in described for name in entry.parameters if name not in UNTOLD)
    words = {word for entry in described for word in entry.words}
    told: dict[str, tuple[str, ...]] = {"name": tuple(_cell(entry, "name") for entry in described)}
    for name in sorted(names, key=lambda name: name not in words):
        values = tuple(_cell(entry, name) for entry in described)
        known = len(set(zip(*told.values(), strict=True)))
        more = len(set(zip(*told.values(), values, strict=True))) > known
        if len(set(values)) > 1 and (more or (name in words and values not in told.values())):
            told[name] = values
    return list(told)[1:]


def _fitting(columns: list[str], shown: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """The columns that a terminal has room for, and those that it hasn't; elsewhere there is room for all."""
    left_out: list[str] = []
    room = shutil.get_terminal_size().columns
    while on_terminal() and len(columns) > len(ALWAYS) and _width(columns, shown) > room:
        tests = [name for name in reversed(columns) if name.startswith("test/")]  # the monitored figure stays
        others = [name for name in reversed(columns) if name not in (*FIRST, *tests, "name", *ALWAYS)]
        spare = [*FIRST, *tests, *others, "name"]  # what tells runs apart goes last
        left_out.append(next(name for name in spare if name in columns))
        columns = [name for name in columns if name != left_out[-1]]
    return columns, left_out


def _width(columns: Sequence[str], shown: Sequence[Entry]) -> int:
    rows = [_headings(columns), *_rows(shown, columns)]
    widths = dict(zip(columns, (max(map(len, column)) for column in zip(*rows, strict=True)), strict=True))
    folder = widths.pop("folder")
    least = max(FOLDED, *widths.values())  # it is the widest column that a terminal's table breaks
    return sum(widths.values()) + min(folder, least) + FRAME * len(columns) + 1


def _headings(columns: Sequence[str]) -> list[str]:
    """Parameters by the last part of their name, where no other column has the same."""
    short = [name.rpartition(".")[2] for name in columns]
    return [last if short.count(last) == 1 else name for name, last in zip(columns, short, strict=True)]


def _rows(shown: Sequence[Entry], columns: Sequence[str]) -> Iterator[list[str]]:
    for entry in shown:
        yield [_cell(entry, name) for name in columns]


def _cell(entry: Entry, name: str) -> str:
    """A field as text; empty where the run lacks it."""
    value: Any = entry.fields.get(name, "")
    if name == "seconds" and value != "":
        return f"{value:.1f}"
    if name in entry.metrics and name not in entry.facts:
        return f"{value:.5g}"
    return spelt(value)


def _remarks(root: Path, shown: int, chosen: int, left_out: Sequence[str]) -> Iterator[str]:
    if left_out:
        yield f"the terminal is too narrow for {', '.join(left_out)}; `| cat` shows all"
    if shown < chosen:
        yield f"{shown} of {chosen} runs below {root}; runs.last=null lists all"
