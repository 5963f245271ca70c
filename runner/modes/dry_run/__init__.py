"""`mode=dry_run`: what would run, layer by layer, its memory and its time. It trains nothing and leaves no folder."""

from __future__ import annotations

from runner.config.config import Config
from runner.modes.dry_run.page import Page
from runner.modes.help import values


def command(config: Config) -> int:
    """Prints a dry run, each part as soon as it is known; 0: it would fit the device.

    Raises UserError as a run would, and RunError where the device has too little memory.
    """
    page = Page(quiet=config.values["quiet"])
    page.section("values", list(values(config).items()))
    from runner.modes.dry_run.report import tell  # imports JAX

    tell(config, page)
    return 0
