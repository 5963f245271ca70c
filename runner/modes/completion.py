"""Tab completion of groups, options and keys in bash, zsh and fish, by Hydra."""

from __future__ import annotations

import contextlib
import copy
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
# Hydra 1.3 warns without this argument, and Hydra 1.4 with it.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


def complete(actions: Sequence[str]) -> None:
    """Prints what a shell needs for tab completion.

    Args:
        actions: one action. `install=SHELL` prints a script to evaluate, `uninstall=SHELL` the script that undoes it,
            and `query=SHELL`, which the script calls, the completions of the line in the variable COMP_LINE.
    """
    action, _, shell = actions[0].partition("=") if len(actions) == 1 else ("", "", "")
    if action not in ("install", "uninstall", "query") or shell not in SHELLS:
        raise UserError(f"-sc: unknown action. Write -sc install=SHELL, where SHELL is one of {', '.join(SHELLS)}.")
    for group, options in find_options().files.items():
        for path in options.values():
            with contextlib.suppress(UserError):  # a file that can't be read is left out
                _register(group, path)
    sys.argv = ["titrate", "-sc", actions[0]]
    # Hydra imports every plugin on the path, also those of somebody else in the working folder.
    working_folder = os.getcwd()
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != working_folder]
    hydra.main(config_path=str(INSTALL_FOLDER / "conf"), config_name="run", **VERSION_BASE)(lambda config: None)()


def _register(group: str, path: Path) -> None:
    """Registers an option with Hydra, unless it is in our `conf/`, which Hydra reads itself."""
    if path.parent.parent != INSTALL_FOLDER / "conf":
        package = "_global_" if group == EXPERIMENT else group
        ConfigStore.instance().store(path.stem, copy.deepcopy(load_yaml(path)), group, package)
