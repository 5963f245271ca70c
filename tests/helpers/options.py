"""The options of `conf/`, read from their files, so that tests cover a new option without a change."""

from typing import Any

from omegaconf import OmegaConf

from runner.config.catalog import INSTALL_FOLDER
from runner.signature.build import build


def options(group: str) -> dict[str, dict[str, Any]]:
    """The part in each file of a group, by option."""
    files = sorted((INSTALL_FOLDER / "conf" / group).glob("*.yaml"))
    contents: dict[str, Any] = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in files}
    return {name: content.get(name, content) for name, content in contents.items()}


def built(group: str, option: str, **arguments: Any) -> Any:
    """Builds the part of an option, with some arguments replaced."""
    return build(options(group)[option] | arguments, {})
