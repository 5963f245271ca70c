"""What a run's folder says of it from its first instant: name, tags, parameters, data sets."""

from __future__ import annotations

import platform
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.config.config import Config
from runner.data.load import Data
from runner.platform import hardware_settings
from runner.run_folder import select_run_settings
from runner.signature.code import digest_code, package_version, part_packages

GIT = ("git", "--no-optional-locks", "-c", "protocol.allow=never")  # which fetches nothing that is missing
PACKAGES = ("titrate", "jax", "jaxlib", "flax", "optax", "numpy")

MANIFEST, RANKING = "sweep.json", "ranking.csv"  # in a sweep's folder
REPEATS = ("seed", "fold", "data.seed")  # keys that repeat a setting rather than make another


def describe_run(config: Config, data: Data, digest: str, tracking: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run that begins now, as plain values."""
    source = config.choices.get("data", "data")
    return {
        "kind": "run",
        "id": uuid.uuid4().hex,
        "name": run_name(config),
        "digest": digest,
        "created": int(time.time() * 1000),
        "tags": run_tags(config) | {"digest": digest},
        "parameters": dict(run_parameters(config)),
        "datasets": [
            {"name": source, "digest": data.fingerprint, "split": split, "rows": len(rows)}
            for split, rows in data.splits.items()
        ],
        "tracking": dict(tracking),
    }


def describe_sweep(
    config: Config, words: Sequence[str], values: Mapping[str, Any], digest: str, tracking: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of a sweep that begins now; of the configuration of its first run `values` are common to all."""
    own = {key: value for key, value in run_tags(config).items() if key != "seed" or "seed" in values}
    return {
        "kind": "sweep",
        "id": uuid.uuid4().hex,
        "name": f"{run_name(config)}_sweep",
        "digest": digest,
        "created": int(time.time() * 1000),
        "tags": own | {"digest": digest, "overrides": " ".join(words)},
        "parameters": {key: value for key, value in run_parameters(config) if key in values},
        "datasets": [],
        "tracking": dict(tracking),
    }


def run_name(config: Config) -> str:
    """What the run is called: its experiment, or its data and architecture."""
    chosen = config.values["experiment"]
    parts = [str(config.choices[group]) for group in ("data", "architecture") if group in config.choices]
    return chosen or "_".join(parts) or "runs"


def run_tags(config: Config) -> dict[str, str]:
    """Where and with what the run was made."""
    return describe_environment(config) | {
        "host": platform.node(),
        "seed": str(config.values["seed"]),
        "overrides": " ".join(config.overrides),
        **_git(),
    }


def code_versions(config: Config) -> dict[str, str]:
    """With what code and which versions a configuration runs now."""
    packages = {package: package_version(package) for package in PACKAGES}
    used = digest_code({"runner", *part_packages(config.values)})
    return packages | {"python": platform.python_version(), "code": used}


def describe_environment(config: Config) -> dict[str, str]:
    """All that the bits of a result depend on beside the configuration and the data."""
    return code_versions(config) | hardware_settings()


def list_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """How what is known now differs from what a run began with, a line each; what it didn't note can't be told."""
    return [f"{key} was {before[key]}, is {value}" for key, value in now.items() if before.get(key, value) != value]


def run_parameters(config: Config) -> Iterator[tuple[str, Any]]:
    """The leaves that matter under their dotted names, and the option that each group took."""
    chosen = {group: option for group, option in config.choices.items() if group != "experiment"}
    for group, option in chosen.items():
        yield group, ",".join(option) if isinstance(option, list | tuple) else option
    yield from (
        (key, value)
        for key, value in dotted_leaves(select_run_settings(config.values))
        if not key.endswith("_target_") and key not in chosen
    )


def dotted_leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a tree of plain values under their dotted names; a list of plain values is one leaf."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from dotted_leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list) and any(isinstance(value, Mapping | list) for value in node):
        for index, value in enumerate(node):
            yield from dotted_leaves(value, f"{prefix}.{index}")
    elif prefix:
        yield prefix, node


def _git() -> dict[str, str]:
    """The commit of the working folder's repository, and whether anything there is not committed.

    A repository of a stranger's runs nothing: its configuration could name programs that `git status` calls. Where it
    has filters of its own, nobody looks for changes.
    """
    commit = _output(*GIT, "rev-parse", "HEAD")
    if commit is None:
        return {}
    filters = _output(*GIT, "config", "--show-scope", "--get-regexp", r"^filter\..*\.(clean|process)$") or ""
    if any(line.startswith(("local", "worktree")) for line in filters.splitlines()):
        return {"git.commit": commit}
    status = _output(
        *GIT, "-c", "core.fsmonitor=false", "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"
    )
    return {"git.commit": commit, "git.dirty": str(bool(status)).lower()}


def _output(*command: str) -> str | None:
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=Path.cwd(), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
