"""`mode=dry_run`: prints the values, layers, memory and time of a run, without training or a folder."""

from __future__ import annotations

from runner.config.config import Config
from runner.display.tables import Section, write_tables
from runner.modes.help import value_origins


def command(config: Config) -> int:
    """Prints the sections of a dry run, each as soon as it is known.

    Returns:
        The exit code 0: the device has enough memory.

    Raises:
        UserError: the run itself would raise this error.
        RunError: the device has too little memory.
    """
    if not config.values["quiet"]:
        write_tables([Section("values", list(value_origins(config).items()), has_heading=False)])
    from runner.modes.dry_run.report import print_dry_run  # imports JAX

    print_dry_run(config)
    return 0
