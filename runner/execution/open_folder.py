"""Which folder a run happens in: a new one, the one that it was interrupted in, or one that `resume` names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from components.types import UserError
from runner import run_folder as folders
from runner import yaml_file
from runner.config.config import Config
from runner.config.earlier_run import add_defaults, read_config
from runner.data.load import Data
from runner.files import read_text, write_atomically
from runner.record import description as record
from runner.run_folder import RunFolder
from runner.tracking import Delivery


class SweepMember(NamedTuple):
    """A run's place in a sweep."""

    folder: Path  # the sweep's
    delivery: Delivery  # the sweep's
    name: str  # what the sweep sets of it
    label: str  # for its folder: "03"
    place: str  # for the display: "3/12"


def check_folder(config: Config) -> None:
    """Raises UserError, before the data is prepared, where there can't be a run's folder, or `resume` can't go on."""
    root, name = Path(config.values["folder"]), config.values["resume"]
    if not name:
        folders.check_root(root)
        return
    folder = _held(root, name)  # which tidies what a killed process left
    folder.close()
    if reason := _refusal(folder.path, config, None):
        raise UserError(f"resume={name}: {reason}")


def open_folder(
    config: Config, data: Data, tracking: Any, member: SweepMember | None = None, *, begins: str = ""
) -> tuple[RunFolder, bool]:
    """The run's folder, locked: the one to go on in, or a new one; and whether it is resumed.

    `begins` is the fingerprint of the weights that training begins with: with others it is another run.
    """
    root = Path(config.values["folder"]) if member is None else member.folder
    if config.values["resume"]:
        return _named(config, root, data), True
    content = data.fingerprint + begins
    mark = folders.run_digest(config.values, content)

    def same(path: Path) -> bool:
        return folders.run_digest(_configuration(path), content) == mark

    if not config.values["fresh"] and (found := folders.find_interrupted(root, mark, same)) is not None:
        _go_on(found.path, config)
        return found, True
    made = record.describe_run(config, data, mark, tracking.describe())
    label = made["name"]
    if member is not None:
        made |= {"name": member.name, "in_sweep": True}
        label = member.label
    return folders.create_folder(root, label, mark, _files(config) | {"record.json": json.dumps(made, indent=1)}), False


def _files(config: Config) -> dict[str, str]:
    """What a folder says of the configuration."""
    return {"overrides.yaml": yaml_file.dump(list(config.overrides)), "config.yaml": yaml_file.dump(config.values)}


def _configuration(path: Path) -> dict[str, Any]:
    """The configuration that a run's folder says it has."""
    try:
        return read_config(path)
    except UserError as error:
        raise UserError(f"{error}: begin a new run by fresh=true") from error


def _go_on(path: Path, config: Config) -> None:
    """Notes that a run goes on, perhaps for more epochs than it began with.

    Its summary goes first, and by that alone the run has not ended any more: wherever a kill falls, the same command
    comes here again and writes what is missing. The configuration goes last, because the command without `resume` finds
    the run by it: before, that command still goes on with the shorter run.
    """
    before, epochs = (values["training"]["epochs"] for values in (_configuration(path), config.values))
    files = _files(config)
    if before != epochs:
        made = _prolonged(folders.read_record(path), before, epochs, _reached(path))
        files = {"record.json": json.dumps(made, indent=1)} | files
    (path / "summary.json").unlink(missing_ok=True)
    for name, text in files.items():
        if not (path / name).is_file() or read_text(path / name) != text:
            write_atomically(path / name, text)


def _reached(path: Path) -> int:
    """The step that a run has reached: that of its newest checkpoint, damaged or not, or of its last epoch."""
    named = (path / "checkpoints").glob(f"step_{'[0-9]' * 10}.*")
    saved = [int(found.name[5:15]) for found in named if found.suffix in (".npz", ".damaged")]
    return max([*saved, *(epoch["step"] for epoch in folders.read_summary(path).get("history", []))], default=0)


def _prolonged(record: dict[str, Any], before: int, epochs: int, reached: int) -> dict[str, Any]:
    """The record of a run with another number of epochs, and a tag that tells all that it has had.

    Until which step it was one of `before` epochs is kept too: steps that are repeated are those of such a run.
    """
    had = record["tags"].get("prolonged", f"{before} epochs").removesuffix(" epochs").split(" → ")
    tags = record["tags"] | {"prolonged": " → ".join(dict.fromkeys([*had, str(epochs)])) + " epochs"}
    parameters = record["parameters"] | {"training.epochs": epochs}
    until = record.get("epochs_until_step", {}) | {str(before): reached}
    return record | {"tags": tags, "parameters": parameters, "epochs_until_step": until}


def _named(config: Config, root: Path, data: Data) -> RunFolder:
    """The folder that `resume` names, locked: its configuration and data are these, only the epochs may have grown."""
    name = config.values["resume"]
    folder = _held(root, name)
    try:
        if reason := _refusal(folder.path, config, data):
            raise UserError(f"resume={name}: {reason}")
        _go_on(folder.path, config)
    except BaseException:
        folder.close()
        raise
    return folder


def _held(root: Path, name: str) -> RunFolder:
    """The folder that a name stands for, locked; raises UserError where something in it leads out of it."""
    path = folders.find_run(root, name)
    return folders.lock_folder(path, to_write=True)


def _refusal(path: Path, config: Config, data: Data | None) -> str | None:
    """Why a configuration can't go on with the run of a folder; None where it can, as far as is known without data."""
    found, summary = folders.read_record(path), folders.read_summary(path)
    if found.get("kind", "run") != "run" or found.get("in_sweep"):
        which = "is of a sweep" if found.get("in_sweep") else f"is a {found['kind']}"
        return f"{path.name} {which}; the command that began it goes on"
    old, new = (
        dict(record.dotted_leaves(add_defaults(folders.select_run_settings(values))))
        for values in (_configuration(path), config.values)
    )
    grown = new["training.epochs"] > old["training.epochs"]
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if wrong := [key for key in differing if not (key == "training.epochs" and grown)]:
        lines = "\n".join(f"  {key}: was {old.get(key)}, is now {new.get(key)}" for key in wrong)
        return (
            f"its configuration was another one:\n{lines}\n"
            "Only training.epochs may grow; leave `resume` away to begin a new run"
        )
    if data is not None and any(split["digest"] != data.fingerprint for split in found["datasets"]):
        return "its data, or how it is split, was another one"
    if summary.get("status") == "finished" and not any((path / "checkpoints").glob("step_*.npz")):
        return "mode=clean has deleted what it would go on from; begin anew"
    return _ended(summary, old["training.epochs"], grown)


def _ended(summary: Mapping[str, Any], epochs: int, grown: bool) -> str | None:
    """Why a run can't be gone on with; None where it can."""
    if summary.get("status") == "diverged":
        return "that run has diverged, and would again; begin a new one with another learning_rate"
    if summary.get("status") == "finished" and summary["epochs"] < epochs:
        return "training.patience has ended that run; begin a new one with a larger one"
    if summary.get("status") == "finished" and not grown:
        return "that run has finished; a larger training.epochs would go on from it"
    return None
