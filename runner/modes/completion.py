"""Tab completion: Hydra's own, of groups, options and keys, for bash, zsh and fish."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore

from components.types import UserError
from runner.config.catalog import EXPERIMENT, INSTALL_FOLDER, find_options
from runner.config.choices import load_yaml

SHELLS = ("bash", "zsh", "fish")
# Hydra 1.4 warns of the argument that 1.3 warns of the lack of.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


def complete(words: Sequence[str]) -> None:
    """Answers `install=bash` (a script to evaluate) and `query=bash` (what the script asks)."""
    action, _, shell = words[0].partition("=") if len(words) == 1 else ("", "", "")
    if action not in ("install", "uninstall", "query") or shell not in SHELLS:
        raise UserError(f"-sc: write -sc install=SHELL, SHELL one of {', '.join(SHELLS)}")
    for group, options in find_options().files.items():
        for path in options.values():
            with contextlib.suppress(UserError):  # a file that can't be read is left out
                _offer(group, path)
    sys.argv = ["titrate", "-sc", words[0]]
    here = os.getcwd()  # Hydra imports whatever plugins it finds, and a stranger's folder may hold some
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != here]
    hydra.main(config_path=str(INSTALL_FOLDER / "conf"), config_name="run", **VERSION_BASE)(lambda config: None)()


def _offer(group: str, path: Path) -> None:
    """Makes an option known to Hydra, unless it stands in our `conf/`, where Hydra finds it itself."""
    if path.parent.parent != INSTALL_FOLDER / "conf":
        package = "_global_" if group == EXPERIMENT else group
        ConfigStore.instance().store(path.stem, load_yaml(path), group, package)
