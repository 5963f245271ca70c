"""The options of `conf/`, built from what their files say; a test over them sees a new one by its file."""

from typing import Any

from omegaconf import OmegaConf

from runner.config.catalog import INSTALL_FOLDER
from runner.signature.build import build


def options(group: str) -> dict[str, dict[str, Any]]:
    """What each file of a group says, by its name; of groups of which several may be chosen, below its own key."""
    files = sorted((INSTALL_FOLDER / "conf" / group).glob("*.yaml"))
    contents: dict[str, Any] = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in files}
    return {name: content.get(name, content) for name, content in contents.items()}


def built(group: str, option: str, **words: Any) -> Any:
    """The part of an option, with other words for some of its own."""
    return build(options(group)[option] | words, {})
