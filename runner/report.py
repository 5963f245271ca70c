"""What a run prints when it is over: its figures, and where everything is."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

SPLITS = (
    ("test", "test/"),
    ("valid", "best/valid/"),
    ("train", "best/train/"),
)  # and how their metrics begin


def table(summary: Mapping[str, Any], folder: Path, tracking: Mapping[str, Any], quiet: bool) -> None:
    """Prints the metrics of each split, how the run ended, where its folder is and how to open its record."""
    if quiet:
        return
    rows = list(_figures(summary.get("metrics", {})))
    facts = list(_facts(summary, folder, tracking))
    show(rows, facts)


def show(rows: Sequence[Sequence[str]], facts: Sequence[Sequence[str]]) -> None:
    """Prints a table, its heading first, and pairs of facts; either may be empty."""
    with suppress(OSError):  # whoever read the pipe is gone
        if sys.stdout.isatty():
            _print_rich(rows, facts)
        else:
            print("\n".join([*aligned(rows), *aligned(facts)]), flush=True)


def _figures(metrics: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    """A heading and a row for each split that has metrics; nothing where none has."""
    found = {split: _of(prefix, metrics) for split, prefix in SPLITS}
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    if not names:
        return
    yield "split", *names
    for split, values in found.items():
        if values:
            yield split, *(f"{values[name]:.5g}" if name in values else "" for name in names)


def _of(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}


def _facts(summary: Mapping[str, Any], folder: Path, tracking: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What else there is to say, as pairs."""
    yield "status", _status(summary)
    if summary.get("best_epoch") is not None:
        yield "best epoch", f"{summary['best_epoch']} of {summary['epochs']}"
    if (seconds := summary.get("seconds")) is not None:
        pace = summary.get("metrics", {}).get("steps_per_second")
        yield "time", f"{seconds:.1f} s" + (f", {pace:,.4g} steps/s" if pace else "")
    yield "folder", str(folder)
    if tracking:
        yield "record", opening(tracking["uri"])


def _status(summary: Mapping[str, Any]) -> str:
    status = summary["status"]
    if status == "interrupted":
        by = f" by {summary['stopped_by']}" if summary.get("stopped_by") else ""
        return f"interrupted{by}; the same command (without fresh=true) goes on from here"
    return f"{status}: {summary['error']}" if summary.get("error") else status


def opening(uri: str) -> str:
    """How to look at a store: a database through MLflow's own server, a server at its address."""
    if "sql" not in uri.partition(":")[0]:
        return uri
    if uri == f"sqlite:///{Path.cwd() / 'mlflow.db'}":
        return "mlflow ui"
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _print_rich(rows: Sequence[Sequence[str]], facts: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if rows:
        heading, *body = rows
        figures = Table(*heading)
        for row in body:
            figures.add_row(*row)
        console.print(figures)
    for line in aligned(facts):
        console.print(Text(line), soft_wrap=True)
