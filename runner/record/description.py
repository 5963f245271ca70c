"""Describes a run or a sweep at its start for `record.json`: name, tags, parameters, data sets."""

from __future__ import annotations

import getpass
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.closest import join_names
from runner.config.catalog import EXPERIMENT, find_options, read_title
from runner.config.config import Config
from runner.config.overrides import format_command
from runner.config.provenance import signature_defaults
from runner.credentials import scrub
from runner.data.load import Data
from runner.log import LOG
from runner.platform import hardware_settings
from runner.record.naming import data_name, default_experiment, title_run, varied_groups
from runner.run_folder import select_run_settings
from runner.signature.code import digest_code, digest_files, package_version, part_packages
from runner.tree import dotted_leaves, is_reference

GIT = ("git", "--no-optional-locks", "-c", "protocol.allow=never")  # fetches nothing from other machines
COMMIT_TAG = "mlflow.source.git.commit"
NO_MONITOR = ("-c", "core.fsmonitor=false")
# The user's settings change no line of the text, and run no programs.
DIFF_FLAGS = (
    *("--no-ext-diff", "--no-textconv", "--ignore-submodules=all", "--no-color", "--no-relative"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
MAX_DIFF_BYTES = 1_000_000
GROUPS_WITH_DEFAULTS = (
    *("architecture", "loss", "metric", "optimizer", "schedule", "step"),
    *("regularizer", "update", "constraint", "augmentation"),
)
PACKAGES = ("titrate", "jax", "jaxlib", "flax", "optax", "numpy")

DIFF_FILE = "code.diff"  # the uncommitted changes of the user's code
RANKING = "ranking.csv"  # in a sweep's folder


def describe_run(config: Config, data: Data, digest: str, tracking: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a run that starts now, as plain values.

    Args:
        config: the configuration.
        data: the data, with the fingerprint and the sizes of the splits.
        digest: the digest that identifies the run.
        tracking: where the record is delivered, without credentials; empty: nowhere.
    """
    return {
        "kind": "run",
        "id": uuid.uuid4().hex,
        "name": run_name(config),
        **describe_command(config),
        "digest": digest,
        "created": int(time.time() * 1000),
        "code": digest_files(_code_packages(config)),
        "tags": run_tags(config)
        | {"digest": digest}
        | ({"left_out": "; ".join((*data.left_out, *data.notes))} if data.left_out or data.notes else {}),
        "parameters": dict(run_parameters(config)),
        "datasets": [
            {"name": data_name(config), "digest": data.fingerprint, "split": split, "rows": len(rows)}
            for split, rows in data.splits.items()
        ],
        **_describe_tracking(tracking, default_experiment(config)),
    }


def describe_command(config: Config) -> dict[str, str]:
    """The title and the description of a run, which follow its command."""
    return {"title": title_run(config), "description": describe_purpose(config, config.overrides)}


def describe_sweep(
    config: Config,
    overrides: Sequence[str],
    title: str,
    varied: Sequence[str],
    values: Mapping[str, Any],
    digest: str,
    tracking: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a sweep that starts now, as plain values.

    Args:
        config: the configuration of its first run.
        overrides: the overrides of the command line.
        title: the title of the sweep.
        varied: the keys that differ between its runs.
        values: the values that all runs share, by dotted key.
        digest: the digest that identifies the sweep.
        tracking: where the record is delivered, without credentials; empty: nowhere.
    """
    tags = run_tags(config) | {"digest": digest, "overrides": " ".join(overrides)}
    for name in {"seed"} - values.keys() | varied_groups(varied):  # the runs have different ones
        tags.pop(name, None)
    return {
        "kind": "sweep",
        "id": uuid.uuid4().hex,
        "name": f"{run_name(config)}_sweep",
        "title": title,
        "description": describe_purpose(config, overrides, "-m"),
        "digest": digest,
        "created": int(time.time() * 1000),
        "tags": tags,
        "parameters": {key: value for key, value in run_parameters(config) if key in values},
        "datasets": [],
        **_describe_tracking(tracking, default_experiment(config, varied)),
    }


def _describe_tracking(tracking: Mapping[str, Any], experiment: str) -> dict[str, Any]:
    """Where the record is delivered, and its experiment if neither the configuration nor the environment names one."""
    return {"experiment": experiment, "tracking": {"experiment": experiment, **tracking} if tracking else {}}


def run_name(config: Config) -> str:
    """The name of a run: its experiment, or its data and architecture."""
    options = [str(config.choices[group]) for group in ("data", "architecture") if group in config.choices]
    return config.values["experiment"] or "_".join(options) or "runs"


def describe_purpose(config: Config, overrides: Sequence[str], *flags: str) -> str:
    """The description of a run in Markdown: the user's note, the question of its experiment, and its command.

    Args:
        config: the configuration.
        overrides: the overrides of the command line.
        flags: the flags of the command, such as `-m`.
    """
    experiment = find_options().files[EXPERIMENT].get(config.values["experiment"] or "")
    command = f"```\n{format_command(overrides, *flags)}\n```"
    texts = [config.values["note"], experiment and read_title(experiment), command]
    return "\n\n".join(filter(None, texts))


def run_tags(config: Config) -> dict[str, str]:
    """The tags of a run: its experiment, data and architecture, environment, host, seed, overrides, user and commit."""
    choices = {"experiment": config.values["experiment"], "architecture": config.choices.get("architecture")}
    return (
        {name: str(choice) for name, choice in choices.items() if choice}
        | {"data": data_name(config), "mode": config.values["mode"]}
        | describe_environment(config)
        | {"host": platform.node(), "seed": str(config.values["seed"]), "overrides": " ".join(config.overrides)}
        | _source_tags()
        | _git_tags()
        | {name: str(value) for name, value in (config.values["tracking"].get("tags") or {}).items()}
    )


def _source_tags() -> dict[str, str]:
    """The tags of MLflow for the user and the program, which its list of runs shows."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "titrate")
    tags = {"mlflow.source.name": program or "python", "mlflow.source.type": "LOCAL"}
    with suppress(OSError, KeyError):  # the user id has no name, as in some containers
        tags["mlflow.user"] = getpass.getuser()
    return tags


def code_versions(config: Config) -> dict[str, str]:
    """The versions of packages and the digest of the code that a configuration runs now."""
    packages = {package: package_version(package) for package in PACKAGES}
    code = digest_code(_code_packages(config))
    return packages | {"python": platform.python_version(), "code": code}


def _code_packages(config: Config) -> set[str]:
    """The packages whose code a configuration runs, without libraries."""
    return {"runner", *part_packages(select_run_settings(config.values))}


def describe_environment(config: Config) -> dict[str, str]:
    """The versions and the hardware on which the bits of a result depend, beside the configuration and the data."""
    return code_versions(config) | hardware_settings()


def list_changes(record: Mapping[str, Any], config: Config, now: Mapping[str, str]) -> list[str]:
    """A line for each tag that changed since a run started. A tag that the run did not record is skipped.

    Args:
        record: the record of the run.
        config: its configuration, whose code may have changed.
        now: the tags of today.
    """
    before = record["tags"]
    changes = {key: f"{key} was {before[key]}, is {now[key]}" for key in now if before.get(key, now[key]) != now[key]}
    recorded = record.get("code")  # records of earlier versions have none
    if "code" in changes and recorded:
        files = digest_files(_code_packages(config))
        changed = [name for name in recorded.keys() | files.keys() if recorded.get(name) != files.get(name)]
        changes["code"] = f"the code of {join_names(changed)} has changed" if changed else changes["code"]
    return [*changes.values()]


def run_parameters(config: Config) -> Iterator[tuple[str, Any]]:
    """The parameters of a run for MLflow, by key.

    They are the option of each group, the values that affect the result, and the defaults of signatures. Of these, null
    and the defaults of the data, the feature columns and the parts within an architecture are left out: they are many.
    """
    options = {group: option for group, option in config.choices.items() if group != "experiment"}
    for group, option in options.items():
        yield group, ",".join(option) if isinstance(option, list | tuple) else option
    raw = dict(dotted_leaves(config.raw))
    for key, value in dotted_leaves(select_run_settings(config.values)):
        # A reference has the value of another parameter: MLflow would list both where the runs of a sweep differ.
        if not key.endswith("_target_") and key not in options and not is_reference(raw.get(key)):
            yield key, value
    with_defaults = {group: config.values.get(group) for group in GROUPS_WITH_DEFAULTS}
    for key, (default, _) in signature_defaults(with_defaults).items():
        is_within_architecture = key.startswith("architecture.") and key.count(".") > 1
        if default is not None and not is_within_architecture:
            yield key, default


def describe_changes() -> str | None:
    """The uncommitted changes of the working folder's repository, as `git diff` prints them, without credentials.

    Returns:
        The text; None: there are none, they exceed MAX_DIFF_BYTES, or the repository has filters.
    """
    if _run_command(*GIT, "rev-parse", "HEAD") is None or _has_filters():
        return None
    diff = _read_output(*GIT, *NO_MONITOR, "diff", "HEAD", *DIFF_FLAGS)
    if diff and len(diff) > MAX_DIFF_BYTES:
        LOG.info("the uncommitted changes of the repository exceed 1 MB, and are not recorded")
        return None
    return scrub(diff.decode(errors="replace")) if diff else None


def _git_tags() -> dict[str, str]:
    """The commit of the working folder's repository, and whether it has uncommitted changes."""
    commit = _run_command(*GIT, "rev-parse", "HEAD")
    if commit is None:
        return {}
    if _has_filters():
        return {COMMIT_TAG: commit}
    status = _run_command(*GIT, *NO_MONITOR, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
    return {COMMIT_TAG: commit, "git.dirty": str(bool(status)).lower()}


def _has_filters() -> bool:
    """Whether the repository's configuration has filters.

    The repository may be untrusted, and its configuration may name programs that `git status` and `git diff` would run:
    a file system monitor, which is switched off, and filters.
    """
    filters = _run_command(*GIT, "config", "--show-scope", "--get-regexp", r"^filter\..*\.(clean|process)$") or ""
    return any(line.startswith(("local", "worktree")) for line in filters.splitlines())


def _run_command(*command: str) -> str | None:
    """The output of a command, without the last line break; None: it fails, is missing, or takes too long."""
    output = _read_output(*command)
    return None if output is None else output.decode(errors="replace").strip()


def _read_output(*command: str) -> bytes | None:
    try:
        process = subprocess.run(command, capture_output=True, timeout=10, cwd=Path.cwd(), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout if process.returncode == 0 else None
