"""The options of `conf/`, read from their files, so that tests cover a new option without a change."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runner.config.catalog import INSTALL_FOLDER
from runner.signature.build import build


def options(group: str) -> dict[str, dict[str, Any]]:
    """The part in each file of a group, by option."""
    files = sorted((INSTALL_FOLDER / "conf" / group).glob("*.yaml"))
    contents: dict[str, Any] = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in files}
    return {
        name: content if "_target_" in content else content.get(name, content) for name, content in contents.items()
    }


def built(group: str, option: str, **arguments: Any) -> Any:
    """Builds the part of an option, with some arguments replaced."""
    return build(options(group)[option] | arguments, {})


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
