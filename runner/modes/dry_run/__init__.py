"""`mode=dry_run`: what would run, layer by layer, its memory and its time. It trains nothing and leaves no folder."""

from __future__ import annotations

from runner.config.config import Config
from runner.display.tables import Section, write_tables
from runner.modes.help import value_origins


def command(config: Config) -> int:
    """Prints a dry run section by section, each as soon as it is known.

    Returns:
        0: the run fits the device.

    Raises:
        UserError: for the errors that a run would raise.
        RunError: the device has too little memory.
    """
    if not config.values["quiet"]:
        write_tables([Section("values", list(value_origins(config).items()), headed=False)])
    from runner.modes.dry_run.report import print_dry_run  # imports JAX

    print_dry_run(config)
    return 0
