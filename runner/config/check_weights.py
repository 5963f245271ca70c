"""Checks the runs whose weights or features another run reads, before JAX is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.types import UserError
from runner.config.catalog import RUN_FEATURES
from runner.config.check_targets import target_of
from runner.config.modes import RUN_MODES
from runner.run_folder import LAST_RUN, find_run
from runner.signature.type_hints import Problem

RUN_READERS = ("components.pretrained.Run", RUN_FEATURES)
JOINED_WEIGHTS = "components.pretrained.Joined"


def find_run_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds runs of `weights` or `data` that don't exist. A run that goes on from its checkpoint needs no weights."""
    root = values.get("folder")
    if values.get("mode") in RUN_MODES or not isinstance(root, str):
        return
    nodes = [("data", values.get("data"))]
    if not values.get("resume"):
        nodes += _iterate_sources("weights", values.get("weights"))
    for key, node in nodes:
        run = node.get("run") if isinstance(node, Mapping) and target_of(node) in RUN_READERS else None
        if not isinstance(run, str) or run == "???":
            continue
        if run == LAST_RUN:
            yield Problem(f"{key}.run", "last is another run after each command. Name the run; mode=runs lists them.")
            continue
        try:
            find_run(Path(root), os.path.expanduser(run), "run")
        except UserError as error:
            yield Problem(f"{key}.run", str(error).removeprefix("run="))


def _iterate_sources(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    """Yields a source of weights with its key, or, of joined ones, each of them."""
    sources = node.get("sources") if isinstance(node, Mapping) and target_of(node) == JOINED_WEIGHTS else None
    if not isinstance(sources, Mapping):
        yield key, node
        return
    for name, source in sources.items():
        yield from _iterate_sources(f"{key}.sources.{name}", source)
