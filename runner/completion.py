"""Tab completion: Hydra's own, of groups, options and keys, for bash, zsh and fish."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import hydra

from components.types import UserError
from runner.catalog import HOUSE, catalog
from runner.choices import File, load
from runner.compose import VERSION_BASE, offer


def complete(words: Sequence[str]) -> None:
    """Answers `-sc install=bash` (a script to evaluate) and `-sc query=bash` (what the script asks)."""
    for group, options in catalog().files.items():
        for path in options.values():
            with contextlib.suppress(UserError):  # a file that can't be read is left out
                offer(File(path, group, load(path)))
    sys.argv = ["titrate", *words]
    hydra.main(config_path=str(HOUSE / "conf"), config_name="run", **VERSION_BASE)(lambda config: None)()
