"""Opens the folder of a run.

It is the folder that `resume` names, or the folder of an interrupted run with the same configuration and data, or a
new folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from components.types import Duration, UserError
from runner import yaml_file
from runner.config.config import Config
from runner.config.legacy import fill_shares
from runner.config.recorded_config import add_defaults, add_missing_keys, read_config
from runner.config.settings import AUTO, Training
from runner.data.load import Data
from runner.files import read_text, write_atomically
from runner.record.description import DIFF_FILE, describe_changes, describe_command, describe_run
from runner.run_folder import (
    RunFolder,
    can_resume,
    check_root,
    create_folder,
    find_interrupted,
    find_run,
    has_checkpoint,
    list_orders,
    list_runs,
    lock_folder,
    read_record,
    read_summary,
    run_digest,
    select_run_settings,
)
from runner.suggest.suggestions import COLUMNS_FILE, format_suggestion
from runner.tracking import Delivery
from runner.training.step_plan import Extension
from runner.tree import dotted_leaves

RECENT_RUNS = 20  # whose files are read when a run starts, which takes milliseconds
LIMITS = ("epochs", "steps", "max_minutes")  # below `training`; the first that is reached ends the run
LENGTHS = (*LIMITS, "schedule_length")  # what may change when a run is extended


class SweepMember(NamedTuple):
    """A run as a member of a sweep.

    Attributes:
        folder: the folder of the sweep.
        delivery: the delivery of the sweep's record.
        name: the values that the sweep sets, as the name of the run.
        title: the title of the run, which MLflow shows.
        label: the number of the run in its folder's name, "03".
        position: the number of the run on the display, "3/12".
        printed_messages: the notes and warnings about the data that a run of the sweep has printed.
    """

    folder: Path
    delivery: Delivery
    name: str
    title: str
    label: str
    position: str
    printed_messages: set[str]


def check_folder(config: Config) -> None:
    """Checks, before the data is loaded, that the run can have its folder.

    Raises:
        UserError: no folder can be created, or the run that `resume` names can't be resumed.
    """
    root, name = Path(config.values["folder"]), config.values["resume"]
    if not name:
        check_root(root)
        return
    folder = _lock_named(root, name)  # also removes the temporary files of a killed process
    folder.close()
    if problem := _find_resume_problem(folder.path, config, None):
        raise UserError(f"resume={name}: {problem}")


def open_folder(
    config: Config,
    data: Data,
    weights_fingerprint: str,
    tracking: Any,
    member: SweepMember | None = None,
    *,
    batch_size: int,
) -> tuple[RunFolder, bool]:
    """Opens and locks the folder of a run.

    Args:
        config: the configuration of the run.
        data: the encoded data of the run.
        weights_fingerprint: the fingerprint of the initial weights and of the teacher's weights. A run with others is
            another run.
        tracking: the part that records the run.
        member: the run as a member of a sweep. None: it runs alone.
        batch_size: the number that `training.batch_size=auto` is in a new run.

    Returns:
        The folder, and whether it holds a run to resume.
    """
    root = Path(config.values["folder"]) if member is None else member.folder
    if config.values["resume"]:
        return _open_named(config, root, data), True
    fingerprint = data.fingerprint + weights_fingerprint
    digest, training = run_digest(config.values, fingerprint), config.values["training"]
    chosen = {"batch_size": AUTO} if training["batch_size"] == AUTO else {}

    def has_same_config(path: Path) -> bool:  # the folder records the number that `auto` was
        values = _read_config(path)
        return run_digest(values | {"training": values["training"] | chosen}, fingerprint) == digest

    if not config.values["fresh"]:
        interrupted = find_interrupted(root, digest, has_same_config)
        if interrupted is not None:
            _update_config_files(interrupted.path, with_recorded_batch_size(config, interrupted.path))
            return interrupted, True
    config = config.with_batch_size(batch_size)
    record = describe_run(config, data, digest, tracking.describe())
    label = record["name"]
    if member is not None:
        sweep = read_record(member.folder)  # MLflow shows a run below its sweep in the same experiment only
        record |= {name: sweep[name] for name in ("experiment", "tracking") if name in sweep}
        record |= {"name": member.name, "title": member.title, "in_sweep": True}
        label = member.label
    files = _config_files(config) | {"record.json": json.dumps(record, indent=1)}
    if member is None:  # otherwise the sweep's folder has it
        files |= diff_files(tracking)
    return create_folder(root, label, digest, files), False


def with_recorded_batch_size(config: Config, path: Path) -> Config:
    """The configuration with the batch size of the run in a folder, in place of `auto`."""
    if config.values["training"]["batch_size"] != AUTO:
        return config
    return config.with_batch_size(_read_config(path)["training"]["batch_size"])


def create_mode_folder(
    config: Config, data: Data, kind: str, tracking: Mapping[str, Any] = MappingProxyType({})
) -> RunFolder:
    """Creates a folder for a mode that trains nothing. Its digest is that of no run, so that no run resumes in it.

    Args:
        config: the configuration.
        data: the encoded data.
        kind: the kind of the folder, which its name starts with.
        tracking: describes where the record goes. Empty: nowhere.
    """
    digest = run_digest(config.values | {"kind": kind}, data.fingerprint)
    record = describe_run(config, data, digest, tracking)
    record |= {"kind": kind, "name": f"{kind}_{record['name']}", "title": f"{kind} · {record['title']}"}
    files = _config_files(replace(config, suggestion=None)) | {"record.json": json.dumps(record, indent=1)}
    return create_folder(Path(config.values["folder"]), record["name"], digest, files)


def find_other_length(config: Config, data: Data, weights_fingerprint: str) -> str | None:
    """A sentence about a recent interrupted run that differs from a new one only in its length; None: there is none.

    Args:
        config: the configuration of the new run, which names no run to resume.
        data: the encoded data of the new run.
        weights_fingerprint: as for `open_folder`.
    """
    limits, fingerprint = _read_limits(config.values), data.fingerprint + weights_fingerprint
    for path in reversed(list_runs(Path(config.values["folder"]))[-RECENT_RUNS:]):
        with suppress(UserError, OSError, ValueError, LookupError, TypeError):  # a folder of another version or user
            other = _read_limits(_read_config(path)) if can_resume(path) else limits
            values = config.values | {"training": {**config.values["training"], **other}}
            if other != limits and path.name.endswith(run_digest(values, fingerprint)):
                changed = ", ".join(f"training.{name}" for name in LIMITS if other[name] != limits[name])
                return f"an interrupted run differs only in {changed}: resume={path.name} continues it"
    return None


def diff_files(tracking: Any) -> dict[str, str]:
    """The file with the uncommitted changes of the user's code, if the part that records the run asks for it."""
    diff = describe_changes() if getattr(tracking, "diff", False) else None
    return {DIFF_FILE: diff} if diff else {}


def _config_files(config: Config) -> dict[str, str]:
    """The files of a run folder that hold the configuration, and where it comes from: their texts by name."""
    columns = {} if config.suggestion is None else {COLUMNS_FILE: format_suggestion(config.suggestion)}
    return columns | {
        "overrides.yaml": yaml_file.dump(list(config.overrides)),
        "config.yaml": yaml_file.dump(config.values),
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return add_missing_keys(read_config(path))
    except UserError as error:
        raise UserError(f"{error}. Start a new run with fresh=true.") from error


def _update_config_files(path: Path, config: Config) -> None:
    """Writes the configuration of a resumed run, which may be extended to more epochs, steps or minutes.

    A kill between two of these writes must not lose the run. The record is written first, while the summary says
    whether the run has finished. Then the summary is removed: without it, the run counts as interrupted, and the same
    command comes here again and writes the rest. `config.yaml` is written last, because a command without `resume`
    finds the run by this file. Until then, it resumes the shorter run.
    """
    old, new = (_read_limits(values) for values in (_read_config(path), config.values))
    if old != new:
        is_evaluated = read_summary(path).get("status") == "finished"
        record = _extend_record(read_record(path), old | {"step": _last_step(path), "is_evaluated": is_evaluated}, new)
        record["tags"]["overrides"] = " ".join(config.overrides)
        write_atomically(path / "record.json", json.dumps(record | describe_command(config), indent=1))
    (path / "summary.json").unlink(missing_ok=True)
    for name, text in _config_files(config).items():
        if not (path / name).is_file() or read_text(path / name) != text:
            write_atomically(path / name, text)


def _last_step(path: Path) -> int:
    """The last step of a run: the step of its newest checkpoint, damaged or not, or of its last epoch."""
    files = (path / "checkpoints").glob(f"step_{'[0-9]' * 10}.*")
    saved = [int(file.name[5:15]) for file in files if file.suffix in (".npz", ".damaged")]
    return max([*saved, *(epoch["step"] for epoch in read_summary(path).get("history", []))], default=0)


def _read_limits(values: Mapping[str, Any]) -> dict[str, Any]:
    """The lengths of a run: {"epochs": …, "steps": …, "max_minutes": …, "schedule_length": …}."""
    return {name: values["training"][name] for name in LENGTHS}


def _extend_record(record: dict[str, Any], end: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that is extended.

    The tag `prolonged` lists all limits that the run has had.

    Args:
        record: the record until now.
        end: the limits until now, the step at which the run is extended, and whether it is evaluated there.
        limits: the limits from now on.
    """
    ends = _list_ends(record)
    if not any(earlier | {"is_evaluated": True} == end | {"is_evaluated": True} for earlier in ends):
        # A command that was killed here may have written the same limits, before the run went on with them.
        ends = [*(earlier for earlier in ends if any(earlier.get(name) != end[name] for name in LENGTHS)), end]
    chains = {name: list(dict.fromkeys(entry.get(name) for entry in (*ends, limits))) for name in LENGTHS}
    texts = [
        f"{' → '.join(map(str, chain))} {name.removeprefix('max_')}" for name, chain in chains.items() if len(chain) > 1
    ]
    record = {key: value for key, value in record.items() if key != "epochs_until_step"}
    return record | {
        "tags": record["tags"] | {"prolonged": ", ".join(texts)},
        "parameters": record["parameters"] | {f"training.{name}": value for name, value in limits.items()},
        "extended": ends,
    }


def _list_ends(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The earlier ends of a run in its record. In earlier versions, a run could only have more epochs."""
    of_epochs = record.get("epochs_until_step", {}).items()
    return record.get("extended", [{"epochs": int(epochs), "step": step} for epochs, step in of_epochs])


def read_extensions(record: Mapping[str, Any], training: Training, rows: int) -> list[Extension]:
    """The earlier ends of an extended run.

    Args:
        record: the record of the run.
        training: the settings below `training`.
        rows: the number of training examples.
    """
    extensions = []
    for end in _list_ends(record):
        earlier = replace(training, epochs=end["epochs"], steps=end.get("steps"))
        written = end.get("schedule_length")
        length = None if written is None else Duration.parse(written)
        extensions.append(Extension(earlier.total_steps(rows), end["step"], end.get("is_evaluated", False), length))
    return extensions


def _open_named(config: Config, root: Path, data: Data) -> RunFolder:
    """The folder that `resume` names, locked.

    Raises:
        UserError: the configuration or the data has changed. Only the limits of its length may grow.
    """
    name = config.values["resume"]
    folder = _lock_named(root, name)
    try:
        if problem := _find_resume_problem(folder.path, config, data):
            raise UserError(f"resume={name}: {problem}")
        _update_config_files(folder.path, config)
    except BaseException:
        folder.close()
        raise
    return folder


def _lock_named(root: Path, name: str) -> RunFolder:
    """Locks the folder of a name. Raises UserError if a link in it leads out of it."""
    return lock_folder(find_run(root, name, "resume"), to_write=True)


def _find_resume_problem(path: Path, config: Config, data: Data | None) -> str | None:
    """Why a configuration can't resume or extend the run in a folder.

    Args:
        path: the folder.
        config: the configuration.
        data: the encoded data. None: it is not compared.

    Returns:
        The problem; None: there is none.
    """
    record, summary = read_record(path), read_summary(path)
    if record.get("in_sweep"):
        return f"{path.name} belongs to a sweep. Resume it with the command that started the sweep."
    old, new = (
        dict(dotted_leaves(fill_shares(add_defaults(select_run_settings(values))))) | list_orders(values)
        for values in (_read_config(path), config.values)
    )
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    longer = [f"training.{name}" for name in LIMITS if _is_longer(old[f"training.{name}"], new[f"training.{name}"])]
    if wrong := [key for key in changed if key not in (*longer, "training.schedule_length")]:
        lines = "\n".join(f"  {key}: was {old.get(key)}, is now {new.get(key)}" for key in wrong)
        return (
            f"its configuration differs:\n{lines}\n"
            "Only training.epochs, training.steps and training.max_minutes may change, to larger numbers, and "
            "training.schedule_length. "
            "To start a new run, omit `resume`."
        )
    if data is not None and any(split["digest"] != data.fingerprint for split in record["datasets"]):
        return "the data, or how it is split, has changed since that run"
    status = summary.get("status")
    if status == "finished" and not has_checkpoint(path):
        return "mode=clean has removed its checkpoints. Start a new run."
    if status == "diverged":
        return "that run has diverged, and would diverge again. Start a new run with another learning_rate."
    if status != "finished":
        return None
    # An earlier version did not say what ended the run.
    is_short = "ended_by" not in summary and summary["epochs"] < old["training.epochs"]
    ended_by = "training.patience" if is_short else summary.get("ended_by", "training.epochs")
    if ended_by == "training.patience":
        return "training.patience has stopped that run. Start a new run with a larger training.patience."
    if ended_by not in longer:
        return f"that run has finished. To extend it, set a larger {ended_by}."
    return None


def _is_longer(old: float | None, new: float | None) -> bool:
    """Whether a limit grows. None is no limit."""
    return old is not None and (new is None or new > old)
