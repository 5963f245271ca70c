"""The options of `conf/`, read from their files, so that tests cover a new option without a change."""

import copy
import functools
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runner.config.catalog import INSTALL_FOLDER
from runner.signature.build import build


def options(group: str) -> dict[str, dict[str, Any]]:
    """The part in each file of a group, by option."""
    return {path.stem: read_part(path) for path in sorted((INSTALL_FOLDER / "conf" / group).glob("*.yaml"))}


def built(group: str, option: str, **arguments: Any) -> Any:
    """Builds the part of an option, with some arguments replaced."""
    return build(read_part(INSTALL_FOLDER / "conf" / group / f"{option}.yaml") | arguments, {})


def read_part(path: Path) -> dict[str, Any]:
    """The part in the file of an option."""
    return copy.deepcopy(_read_part(path))


@functools.cache
def _read_part(path: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    part: dict[str, Any] = content if "_target_" in content else content.get(path.stem, content)
    return part


def replace_rate(node: Any, learning_rate: float) -> Any:
    """A tree with a learning rate in place of each `${learning_rate}`."""
    if isinstance(node, dict):
        return {key: replace_rate(value, learning_rate) for key, value in node.items()}
    if isinstance(node, list):
        return [replace_rate(value, learning_rate) for value in node]
    return learning_rate if node == "${learning_rate}" else node


def write_option(module: str, key: str, name: str) -> list[str]:
    """Writes an option for a part of the user's module, and returns the overrides that train with it.

    Args:
        module: the module.
        key: the group, or `group.mine` in a group that allows several options.
        name: the name of the part.
    """
    group, _, allows_several = key.partition(".")
    Path("conf", group).mkdir(parents=True)
    node = f"_target_: {module}.{name}\n" + ("learning_rate: 0.1\n" if group == "schedule" else "")
    Path("conf", group, "mine.yaml").write_text(f"mine: {{{node.strip()}}}\n" if allows_several else node)
    choice = f"{group}=[mine]" if allows_several else f"{group}=mine"
    return [choice, "tracking=none", "quiet=true", "training.epochs=1", "training.limit_batches=1"]
