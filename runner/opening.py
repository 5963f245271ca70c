"""Which folder a run happens in: a new one, the one that it was interrupted in, or one that `resume` names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.types import UserError
from runner import folder as folders
from runner import record
from runner.check import check
from runner.compose import Config, compose, from_yaml, to_yaml
from runner.data import Data
from runner.folder import Folder


def open_folder(config: Config, data: Data, tracking: Any) -> tuple[Folder, bool]:
    """The run's folder, locked: the one to go on in, or a new one; and whether it is resumed."""
    root = Path(config.values["folder"])
    if config.values["resume"]:
        return _named(config, root, data), True
    mark = folders.digest(config.values, data.fingerprint)
    if not config.values["fresh"] and (found := folders.interrupted(root, mark)) is not None:
        return found, True
    made = record.record(config, data, mark, tracking.describe())
    files = {
        "config.yaml": to_yaml(config.values),
        "overrides.yaml": to_yaml(list(config.overrides)),
        "record.json": json.dumps(made, indent=1),
    }
    return folders.create(root, made["name"], mark, files), False


def _named(config: Config, root: Path, data: Data) -> Folder:
    """The folder that `resume` names, its configuration and data compared with these: only the epochs may grow."""
    path = folders.find(root, config.values["resume"])
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
    status = folders.summary(path).get("status")
    if status in ("finished", "diverged") and not grown:
        raise UserError(
            f"resume={config.values['resume']}: that run has {status}; a larger training.epochs would go on from it"
        )
    folder = folders.hold(path)
    folders.write_atomically(path / "config.yaml", to_yaml(config.values))
    return folder


def as_then(config: Config) -> Config:
    """The configuration of the run that `resume` names, as its overrides make it today, with the ones given now."""
    path = folders.find(Path(config.values["folder"]), config.values["resume"])
    then = from_yaml((path / "overrides.yaml").read_text())
    again = compose([*then, *config.overrides])
    check(again)
    return again
