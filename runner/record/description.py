"""The record of a run or sweep from its start: name, tags, parameters, data sets."""

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

GIT = ("git", "--no-optional-locks", "-c", "protocol.allow=never")  # fetches nothing from other machines
PACKAGES = ("titrate", "jax", "jaxlib", "flax", "optax", "numpy")

MANIFEST, RANKING = "sweep.json", "ranking.csv"  # files in a sweep's folder
REPEATS = ("seed", "fold", "data.seed")  # keys whose values repeat a setting of a sweep


def describe_run(config: Config, data: Data, digest: str, tracking: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run that starts now, as plain values.

    Args:
        config: the configuration.
        data: the data, with the fingerprint and the sizes of the splits.
        digest: the digest that identifies the run.
        tracking: where the record is delivered, without credentials; empty: nowhere.
    """
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
    """The record of a sweep that starts now, as plain values.

    Args:
        config: the configuration of its first run.
        words: the words of the command.
        values: the values of the configuration, by dotted key, that all runs have in common.
        digest: the digest that identifies the sweep.
        tracking: where the record is delivered, without credentials; empty: nowhere.
    """
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
    """The name of a run: its experiment, or its data and architecture."""
    chosen = config.values["experiment"]
    parts = [str(config.choices[group]) for group in ("data", "architecture") if group in config.choices]
    return chosen or "_".join(parts) or "runs"


def run_tags(config: Config) -> dict[str, str]:
    """The tags of a run: environment, host, seed, overrides and commit."""
    return describe_environment(config) | {
        "host": platform.node(),
        "seed": str(config.values["seed"]),
        "overrides": " ".join(config.overrides),
        **_git_tags(),
    }


def code_versions(config: Config) -> dict[str, str]:
    """The versions of packages and the digest of the code that a configuration runs now."""
    packages = {package: package_version(package) for package in PACKAGES}
    used = digest_code({"runner", *part_packages(config.values)})
    return packages | {"python": platform.python_version(), "code": used}


def describe_environment(config: Config) -> dict[str, str]:
    """All that the bits of a result depend on, in addition to the configuration and the data."""
    return code_versions(config) | hardware_settings()


def list_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The tags that changed since a run started, a line each. A tag that the run did not record is skipped."""
    return [f"{key} was {before[key]}, is {value}" for key, value in now.items() if before.get(key, value) != value]


def run_parameters(config: Config) -> Iterator[tuple[str, Any]]:
    """The parameters of a run: the option of each group, and the leaves that affect the result, by dotted name."""
    chosen = {group: option for group, option in config.choices.items() if group != "experiment"}
    for group, option in chosen.items():
        yield group, ",".join(option) if isinstance(option, list | tuple) else option
    yield from (
        (key, value)
        for key, value in dotted_leaves(select_run_settings(config.values))
        if not key.endswith("_target_") and key not in chosen
    )


def dotted_leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a tree of plain values, by dotted name. A list without lists and mappings is one leaf."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from dotted_leaves(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(node, list) and any(isinstance(value, Mapping | list) for value in node):
        for index, value in enumerate(node):
            yield from dotted_leaves(value, f"{prefix}.{index}")
    elif prefix:
        yield prefix, node


def _git_tags() -> dict[str, str]:
    """The commit of the working folder's repository, and whether it has uncommitted changes.

    An untrusted repository must run nothing: its configuration could name programs that `git status` calls. In a
    repository with filters of its own, changes are therefore not looked for.
    """
    commit = _run_command(*GIT, "rev-parse", "HEAD")
    if commit is None:
        return {}
    filters = _run_command(*GIT, "config", "--show-scope", "--get-regexp", r"^filter\..*\.(clean|process)$") or ""
    if any(line.startswith(("local", "worktree")) for line in filters.splitlines()):
        return {"git.commit": commit}
    status = _run_command(
        *GIT, "-c", "core.fsmonitor=false", "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"
    )
    return {"git.commit": commit, "git.dirty": str(bool(status)).lower()}


def _run_command(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=Path.cwd(), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
