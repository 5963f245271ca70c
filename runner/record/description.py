"""Describes a run or a sweep at its start for `record.json`: name, tags, parameters, data sets."""

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
REPEAT_KEYS = ("seed", "fold", "data.seed")  # runs of a sweep that differ only in these keys are repetitions


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
        "tags": run_tags(config)
        | {"digest": digest}
        | ({"left_out": "; ".join(data.left_out)} if data.left_out else {}),
        "parameters": dict(run_parameters(config)),
        "datasets": [
            {"name": source, "digest": data.fingerprint, "split": split, "rows": len(rows)}
            for split, rows in data.splits.items()
        ],
        "tracking": dict(tracking),
    }


def describe_sweep(
    config: Config, overrides: Sequence[str], values: Mapping[str, Any], digest: str, tracking: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of a sweep that starts now, as plain values.

    Args:
        config: the configuration of its first run.
        overrides: the overrides of the command line.
        values: the values that all runs share, by dotted key.
        digest: the digest that identifies the sweep.
        tracking: where the record is delivered, without credentials; empty: nowhere.
    """
    tags = run_tags(config) | {"digest": digest, "overrides": " ".join(overrides)}
    if "seed" not in values:
        del tags["seed"]  # the runs have different seeds
    return {
        "kind": "sweep",
        "id": uuid.uuid4().hex,
        "name": f"{run_name(config)}_sweep",
        "digest": digest,
        "created": int(time.time() * 1000),
        "tags": tags,
        "parameters": {key: value for key, value in run_parameters(config) if key in values},
        "datasets": [],
        "tracking": dict(tracking),
    }


def run_name(config: Config) -> str:
    """The name of a run: its experiment, or its data and architecture."""
    options = [str(config.choices[group]) for group in ("data", "architecture") if group in config.choices]
    return config.values["experiment"] or "_".join(options) or "runs"


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
    code = digest_code({"runner", *part_packages(select_run_settings(config.values))})
    return packages | {"python": platform.python_version(), "code": code}


def describe_environment(config: Config) -> dict[str, str]:
    """The versions and the hardware on which the bits of a result depend, beside the configuration and the data."""
    return code_versions(config) | hardware_settings()


def list_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each tag that changed since a run started. A tag that the run did not record is skipped."""
    return [f"{key} was {before[key]}, is {value}" for key, value in now.items() if before.get(key, value) != value]


def run_parameters(config: Config) -> Iterator[tuple[str, Any]]:
    """The parameters of a run for MLflow: the option of each group, and the values that affect the result, by key."""
    options = {group: option for group, option in config.choices.items() if group != "experiment"}
    for group, option in options.items():
        yield group, ",".join(option) if isinstance(option, list | tuple) else option
    for key, value in dotted_leaves(select_run_settings(config.values)):
        if not key.endswith("_target_") and key not in options:
            yield key, value


def dotted_leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a tree of plain values, by dotted key. A list without lists and mappings in it is one leaf.

    Args:
        node: the tree.
        prefix: the dotted key of its root.
    """
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

    The repository may be untrusted, and its configuration may name programs that `git status` would run: a file system
    monitor, which is switched off, and filters. If it has filters, `git status` is not called.
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
    """The output of a command; None: it fails, is missing, or takes too long."""
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=10, cwd=Path.cwd(), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 else None
