"""The section on metrics in the guide to losses and metrics is current: its table lists all options.

`PYTHONPATH=tests/helpers uv run python tests/test_metrics_guide.py` updates the table. Its command runs with those of
the section before it, in `test_targets_guide.py`.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from options import built, options

from components.types import TargetSpec, UserError
from runner.config.catalog import find_options
from runner.signature.parameters import read_signature

PATH = Path(__file__).parent.parent / "docs/losses_and_metrics.md"
TABLE = re.compile(r"(<!-- metrics.*? -->\n).*?(<!-- end of metrics -->)", re.DOTALL)
NAMES = tuple("abcdef")
TARGETS = {
    "classes": TargetSpec("classes", (), NAMES, lambda values: values),
    "labels": TargetSpec("multilabel", (6,), NAMES, lambda values: values),
    "pixels": TargetSpec("classes", (4, 4), NAMES, lambda values: values),
    "numbers": TargetSpec("real", (2,), None, lambda values: values),
    "images": TargetSpec("real", (4, 4, 3), None, lambda values: values),
}


def list_targets(metric: Any) -> list[str]:
    """The kinds of targets that a metric supports."""
    supported = []
    for name, spec in TARGETS.items():
        with contextlib.suppress(UserError):
            metric.bind(spec)
            supported.append(name)
    return supported


def metrics_table() -> str:
    lines = ["| metric | what it is | better | targets | parameters | in training |", "|---|---|---|---|---|---|"]
    for option, path in sorted(find_options().files["metric"].items()):
        metric = built("metric", option)
        title = path.read_text().splitlines()[0].removeprefix("# ").removesuffix(".")
        parameters = ", ".join(f"`{name}`" for name in read_signature(options("metric")[option]["_target_"]) or ())
        better = "higher" if metric.higher_is_better else "lower"
        cells = [
            f"`{option}`",
            title,
            better,
            ", ".join(list_targets(metric)) if getattr(metric, "needs_target", True) else "any, or none",
            parameters,
            "" if metric.collects else "yes",
        ]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def write_table(text: str) -> str:
    return TABLE.sub(lambda match: f"{match[1]}{metrics_table()}{match[2]}", text)


def test_the_table_of_metrics_is_current() -> None:
    text = PATH.read_text()
    assert write_table(text) == text
    assert metrics_table() in text


if __name__ == "__main__":
    PATH.write_text(write_table(PATH.read_text()))
