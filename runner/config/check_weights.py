"""Checks the runs whose weights or features another run reads, before JAX is imported."""

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

RUN_READERS = {"weights": "components.pretrained.Run", "data": "components.data.RunFeatures"}


def find_run_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds a run of `weights` or `data` that doesn't exist."""
    root = values.get("folder")
    for group, target in RUN_READERS.items():
        node = values.get(group)
        if target_of(node) != target or not isinstance(node, Mapping) or values.get("mode") in RUN_MODES:
            continue
        run, key = node.get("run"), f"{group}.run"
        if run == LAST_RUN:
            yield Problem(key, "last is another run after each command. Name the run; mode=runs lists them.")
        elif isinstance(run, str) and run != "???" and isinstance(root, str):
            try:
                find_run(Path(root), os.path.expanduser(run), key)
            except UserError as error:
                yield Problem(key, str(error).removeprefix(f"{key}="))
