"""Opens the folder of a run: a new one, that of the interrupted run, or the one that `resume` names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from components.types import UserError
from runner import yaml_file
from runner.config.config import Config
from runner.config.earlier_run import add_defaults, read_config
from runner.data.load import Data
from runner.files import read_text, write_atomically
from runner.record.description import describe_run, dotted_leaves
from runner.run_folder import (
    RunFolder,
    check_root,
    create_folder,
    find_interrupted,
    find_run,
    lock_folder,
    read_record,
    read_summary,
    run_digest,
    select_run_settings,
)
from runner.tracking import Delivery


class SweepMember(NamedTuple):
    """A run as a member of a sweep.

    Attributes:
        folder: the folder of the sweep.
        delivery: the delivery of the sweep's record.
        name: the values that the sweep sets, as the name of the run.
        label: the number of the run in its folder's name, "03".
        position: the number of the run on the display, "3/12".
    """

    folder: Path
    delivery: Delivery
    name: str
    label: str
    position: str


def check_folder(config: Config) -> None:
    """Raises UserError, before the data is loaded, if no folder can be made, or `resume` can't go on."""
    root, name = Path(config.values["folder"]), config.values["resume"]
    if not name:
        check_root(root)
        return
    folder = _lock_named(root, name)  # removes what a killed process left
    folder.close()
    if reason := _find_refusal(folder.path, config, None):
        raise UserError(f"resume={name}: {reason}")


def open_folder(
    config: Config, data: Data, tracking: Any, member: SweepMember | None = None, *, begins: str = ""
) -> tuple[RunFolder, bool]:
    """Opens and locks the folder of a run.

    Args:
        config: the configuration of the run.
        data: its data.
        tracking: where its record goes.
        member: the sweep that the run is a member of.
        begins: the fingerprint of the weights that training begins with. With other weights it is another run.

    Returns the folder, and whether it holds a run that goes on.
    """
    root = Path(config.values["folder"]) if member is None else member.folder
    if config.values["resume"]:
        return _open_named(config, root, data), True
    content = data.fingerprint + begins
    digest = run_digest(config.values, content)

    def has_same_config(path: Path) -> bool:
        return run_digest(_read_config(path), content) == digest

    if not config.values["fresh"]:
        interrupted = find_interrupted(root, digest, has_same_config)
        if interrupted is not None:
            _update_files(interrupted.path, config)
            return interrupted, True
    record = describe_run(config, data, digest, tracking.describe())
    label = record["name"]
    if member is not None:
        record |= {"name": member.name, "in_sweep": True}
        label = member.label
    files = _config_files(config) | {"record.json": json.dumps(record, indent=1)}
    return create_folder(root, label, digest, files), False


def _config_files(config: Config) -> dict[str, str]:
    """The files of a run folder that hold the configuration, by name."""
    return {"overrides.yaml": yaml_file.dump(list(config.overrides)), "config.yaml": yaml_file.dump(config.values)}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return read_config(path)
    except UserError as error:
        raise UserError(f"{error}: begin a new run by fresh=true") from error


def _update_files(path: Path, config: Config) -> None:
    """Writes the configuration of a run that goes on, perhaps for more epochs than it had.

    The summary is removed first, and with it the run counts as interrupted: after a kill at any point, the same command
    comes here again and writes the rest. `config.yaml` is written last, because the command without `resume` finds the
    run by it: before, that command still goes on with the shorter run.
    """
    before, epochs = (values["training"]["epochs"] for values in (_read_config(path), config.values))
    files = _config_files(config)
    if before != epochs:
        record = _prolong(read_record(path), before, epochs, _last_step(path))
        files = {"record.json": json.dumps(record, indent=1)} | files
    (path / "summary.json").unlink(missing_ok=True)
    for name, text in files.items():
        if not (path / name).is_file() or read_text(path / name) != text:
            write_atomically(path / name, text)


def _last_step(path: Path) -> int:
    """The step that a run has reached: of its newest checkpoint, damaged or not, or of its last epoch."""
    files = (path / "checkpoints").glob(f"step_{'[0-9]' * 10}.*")
    saved = [int(file.name[5:15]) for file in files if file.suffix in (".npz", ".damaged")]
    return max([*saved, *(epoch["step"] for epoch in read_summary(path).get("history", []))], default=0)


def _prolong(record: dict[str, Any], before: int, epochs: int, last_step: int) -> dict[str, Any]:
    """The record of a run with another number of epochs.

    A tag holds all numbers of epochs that it has had. `epochs_until_step` holds up to which step each of them counted:
    a step that is repeated belongs to a run of so many epochs.
    """
    had = record["tags"].get("prolonged", f"{before} epochs").removesuffix(" epochs").split(" → ")
    tags = record["tags"] | {"prolonged": " → ".join(dict.fromkeys([*had, str(epochs)])) + " epochs"}
    parameters = record["parameters"] | {"training.epochs": epochs}
    until = record.get("epochs_until_step", {}) | {str(before): last_step}
    return record | {"tags": tags, "parameters": parameters, "epochs_until_step": until}


def _open_named(config: Config, root: Path, data: Data) -> RunFolder:
    """The folder that `resume` names, locked. Its configuration and data must be equal; only the epochs may grow."""
    name = config.values["resume"]
    folder = _lock_named(root, name)
    try:
        if reason := _find_refusal(folder.path, config, data):
            raise UserError(f"resume={name}: {reason}")
        _update_files(folder.path, config)
    except BaseException:
        folder.close()
        raise
    return folder


def _lock_named(root: Path, name: str) -> RunFolder:
    """The folder of a name, locked. Raises UserError if a link in it leads out of it."""
    return lock_folder(find_run(root, name), to_write=True)


def _find_refusal(path: Path, config: Config, data: Data | None) -> str | None:
    """Why a configuration can't go on with the run of a folder, or None. Without `data`, the data is not compared."""
    record, summary = read_record(path), read_summary(path)
    if record.get("kind", "run") != "run" or record.get("in_sweep"):
        which = "belongs to a sweep" if record.get("in_sweep") else f"is a {record['kind']}"
        return f"{path.name} {which}; the command that began it goes on"
    old, new = (
        dict(dotted_leaves(add_defaults(select_run_settings(values)))) for values in (_read_config(path), config.values)
    )
    has_grown = new["training.epochs"] > old["training.epochs"]
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if wrong := [key for key in changed if not (key == "training.epochs" and has_grown)]:
        lines = "\n".join(f"  {key}: was {old.get(key)}, is now {new.get(key)}" for key in wrong)
        return (
            f"its configuration was another one:\n{lines}\n"
            "Only training.epochs may grow; leave `resume` away to begin a new run"
        )
    if data is not None and any(split["digest"] != data.fingerprint for split in record["datasets"]):
        return "its data, or how it is split, was another one"
    if summary.get("status") == "finished" and not any((path / "checkpoints").glob("step_*.npz")):
        return "mode=clean has deleted its checkpoints; begin a new run"
    return _find_end(summary, old["training.epochs"], has_grown)


def _find_end(summary: Mapping[str, Any], epochs: int, has_grown: bool) -> str | None:
    """Why a run that has ended can't go on, or None."""
    if summary.get("status") == "diverged":
        return "that run has diverged, and would again; begin a new one with another learning_rate"
    if summary.get("status") == "finished" and summary["epochs"] < epochs:
        return "training.patience has ended that run; begin a new one with a larger one"
    if summary.get("status") == "finished" and not has_grown:
        return "that run has finished; a larger training.epochs would go on from it"
    return None
