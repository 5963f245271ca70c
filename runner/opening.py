"""Which folder a run happens in: a new one, the one that it was interrupted in, or one that `resume` names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from components.types import UserError
from runner import folder as folders
from runner import record
from runner.compose import Config, from_yaml, to_yaml
from runner.data import Data
from runner.folder import Folder
from runner.tracking import Delivery


class Member(NamedTuple):
    """A run's place in a sweep."""

    folder: Path  # the sweep's
    delivery: Delivery  # the sweep's
    name: str  # what the sweep sets of it
    label: str  # for its folder: "03"
    place: str  # for the display: "3/12"


def open_folder(
    config: Config, data: Data, tracking: Any, member: Member | None = None, *, begins: str = ""
) -> tuple[Folder, bool]:
    """The run's folder, locked: the one to go on in, or a new one; and whether it is resumed.

    `begins` is the fingerprint of the weights that training begins with: with others it is another run.
    """
    root = Path(config.values["folder"]) if member is None else member.folder
    if config.values["resume"]:
        return _named(config, root, data), True
    content = data.fingerprint + begins
    mark = folders.digest(config.values, content)

    def same(path: Path) -> bool:
        return folders.digest(from_yaml((path / "config.yaml").read_text()), content) == mark

    if not config.values["fresh"] and (found := folders.interrupted(root, mark, same)) is not None:
        return found, True
    made = record.record(config, data, mark, tracking.describe())
    label = made["name"]
    if member is not None:
        made |= {"name": member.name, "in_sweep": True}
        label = member.label
    return folders.create(root, label, mark, _files(config) | {"record.json": json.dumps(made, indent=1)}), False


def _files(config: Config) -> dict[str, str]:
    """What a folder says of the configuration."""
    return {"config.yaml": to_yaml(config.values), "overrides.yaml": to_yaml(list(config.overrides))}


def _named(config: Config, root: Path, data: Data) -> Folder:
    """The folder that `resume` names, its configuration and data compared with these: only the epochs may grow."""
    path = folders.find(root, config.values["resume"])
    found = json.loads((path / "record.json").read_text())
    if found.get("kind", "run") != "run" or found.get("in_sweep"):
        which = "is of a sweep" if found.get("in_sweep") else f"is a {found['kind']}"
        raise UserError(f"resume={config.values['resume']}: {path.name} {which}; the command that began it goes on")
    before = from_yaml((path / "config.yaml").read_text())
    old, new = (dict(record.leaves(folders.of_the_run(values))) for values in (before, config.values))
    grown = new["training.epochs"] > old["training.epochs"]
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if wrong := [key for key in differing if not (key == "training.epochs" and grown)]:
        lines = [f"  {key}: was {old.get(key)}, is now {new.get(key)}" for key in wrong]
        raise UserError(
            f"resume={config.values['resume']}: its configuration was another one:\n"
            + "\n".join(lines)
            + "\nOnly training.epochs may grow; leave `resume` away to begin a new run"
        )
    if any(split["digest"] != data.fingerprint for split in json.loads((path / "record.json").read_text())["datasets"]):
        raise UserError(f"resume={config.values['resume']}: its data, or how it is split, was another one")
    finished = folders.summary(path).get("status") == "finished"
    if finished and not any((path / "checkpoints").glob("step_*.npz")):
        name = config.values["resume"]
        raise UserError(f"resume={name}: mode=clean has deleted what it would go on from; begin anew")
    if reason := _ended(folders.summary(path), old["training.epochs"], grown):
        raise UserError(f"resume={config.values['resume']}: {reason}")
    folder = folders.hold(path)
    for name, text in _files(config).items():
        folders.write_atomically(path / name, text)
    return folder


def _ended(summary: Mapping[str, Any], epochs: int, grown: bool) -> str | None:
    """Why a run can't be gone on with; None where it can."""
    if summary.get("status") == "diverged":
        return "that run has diverged, and would again; begin a new one with another learning_rate"
    if summary.get("status") == "finished" and summary["epochs"] < epochs:
        return "training.patience has ended that run; begin a new one with a larger one"
    if summary.get("status") == "finished" and not grown:
        return "that run has finished; a larger training.epochs would go on from it"
    return None
