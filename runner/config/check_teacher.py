"""Checks that the teacher of a run is a run of the same columns, and that a loss reads it, before JAX is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.closest import join_names
from components.types import UserError
from runner.config.check_targets import has_member, target_of
from runner.config.losses import inner_losses, losses_by_key, may_read_teacher
from runner.config.modes import RUN_MODES
from runner.config.option_parts import list_options_of
from runner.config.recorded_config import add_defaults, read_config
from runner.run_folder import LAST_RUN, find_run
from runner.signature.type_hints import Problem


def find_teacher_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a loss without the teacher that it needs, a teacher that no loss reads, and a run that can't be one."""
    losses, node = dict(losses_by_key(values.get("loss"))), values.get("teacher")
    unvisited = list(losses.items())
    while unvisited:  # also losses that are parameters of others
        key, loss = unvisited.pop()
        losses |= (inner := inner_losses(loss, key))
        unvisited += inner.items()
    if not isinstance(node, Mapping):
        for key, loss in losses.items():
            if has_member(loss, "needs_teacher"):
                yield Problem(
                    key,
                    f"{loss['_target_']} needs a teacher. Add teacher=run teacher.run=RUN with the folder, the name or "
                    "the MLflow id of a finished run; mode=runs lists them.",
                )
        return
    if losses and not any(map(may_read_teacher, losses.values())):
        yield Problem("teacher", "no loss reads it. Choose loss=distillation, or leave the teacher out.")
    run = node.get("run")
    if isinstance(run, str) and run != "???" and values.get("mode") not in RUN_MODES:
        for problem in _find_run_problems(run, values):
            yield Problem("teacher.run", problem)


def _find_run_problems(run: str, values: Mapping[str, Any]) -> Iterator[str]:
    if run == LAST_RUN:
        yield "last is another run after each command. Name the run; mode=runs lists them."
        return
    feature, root = values.get("feature"), values.get("folder")
    if not isinstance(feature, Mapping) or not isinstance(root, str):
        return
    try:
        recorded = read_config(find_run(Path(root), os.path.expanduser(run), "teacher.run"))
    except UserError as error:
        yield str(error).removeprefix("teacher.run=")
        return
    of_teacher = recorded.get("feature")
    if not isinstance(of_teacher, Mapping):
        yield f"{run} has no columns. Choose a run, not a sweep."
        return
    other, own = (_name_examples(each.get("examples")) for each in (recorded, values))
    if other != own:
        yield f"{run} has examples={other}, and this run examples={own}. Choose another teacher."
    columns, others = (add_defaults(dict(each)).get("columns") or {} for each in (feature, of_teacher))
    if added := sorted(others.keys() - columns.keys()):
        yield f"{run} reads the columns {join_names(added)}, which this run doesn't read. Choose another teacher."
    for name, column in columns.items():
        if name not in others:
            yield f"{run} doesn't read the column {name}. Choose another teacher."
        elif column != others[name]:
            yield f"{run} encodes the column {name} in another way. Its configuration there is {others[name]}."


def _name_examples(node: Any) -> str:
    """The option of a choice of examples, or its `_target_`."""
    target = target_of(node)
    return "null" if target is None else next(iter(list_options_of("examples", target)), target)
