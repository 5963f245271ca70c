"""Checks the run whose weights another run starts from, before JAX is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.types import UserError
from runner.config.check_targets import target_of
from runner.config.modes import RUN_MODES
from runner.run_folder import LAST_RUN, find_run
from runner.signature.type_hints import Problem

RUN_WEIGHTS = "components.pretrained.Run"


def find_weights_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a run of `weights` that doesn't exist."""
    node, root = values.get("weights"), values.get("folder")
    if target_of(node) != RUN_WEIGHTS or not isinstance(node, Mapping) or values.get("mode") in RUN_MODES:
        return
    run = node.get("run")
    if run == LAST_RUN:
        text = "last is another run after each command. Name the run; mode=runs lists them."
        yield Problem("weights.run", text)
    elif isinstance(run, str) and run != "???" and isinstance(root, str):
        try:
            find_run(Path(root), os.path.expanduser(run), "weights.run")
        except UserError as error:
            yield Problem("weights.run", str(error).removeprefix("weights.run="))
