"""The source of new rows for a run that was trained on several sources."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from components.columns import READING_OPTIONS
from components.types import UserError
from components.types.splits import SPLIT_OPTIONS
from runner.config.catalog import TABLE_FILE
from runner.signature.parameters import read_parameter_hints

CSV = "components.data.Csv"
OF_RUNS = ("path", "query", "function", "valid", "test", "stratify", "seed", "valid_from", *SPLIT_OPTIONS)


def make_source_of_new_rows(data: Mapping[str, Any], command: Collection[str]) -> dict[str, Any]:
    """The configuration of a source that reads new rows as the sources of a run.

    Args:
        data: the run's several sources, with the options that are set for all.
        command: the names of the options of `data` that the command sets.

    Raises:
        UserError: the sources have different kinds, or an option has other values in one of them than in the others.
    """
    sources: dict[str, Any] = data["sources"]
    shared = {name: value for name, value in data.items() if name not in ("_target_", "sources", "source_column")}
    targets = {source["_target_"] for source in sources.values()}
    if targets == {CSV, TABLE_FILE}:
        targets = {TABLE_FILE}
    if len(targets) > 1:
        kinds = ", ".join(f"{name}: {source['_target_']}" for name, source in sources.items())
        raise UserError(
            f"data: new rows are read as those of the run, whose sources have different kinds ({kinds}). Load the run "
            "by runner.load, and pass the rows to its `predict`."
        )
    (target,) = targets
    names = dict.fromkeys(name for source in sources.values() for name in source if name not in ("_target_", *OF_RUNS))
    known = read_parameter_hints(target)
    node = {name: value for name, value in shared.items() if name in known and name not in OF_RUNS}
    for name in names:
        values = {source: each.get(name, shared.get(name)) for source, each in sources.items()}
        first, *others = values.values()
        if all(value == first for value in others):
            node[name] = first
        elif name not in command and name not in READING_OPTIONS:
            listed = ", ".join(f"{source}: {'default' if value is None else value}" for source, value in values.items())
            raise UserError(
                f"data.{name}: the sources of the run have different values ({listed}). Set data.{name} for the new "
                "rows."
            )
        elif name in READING_OPTIONS:
            node.pop(name, None)
    return {"_target_": target, **node}
