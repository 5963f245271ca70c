"""`mode=dry_run`: prints the layers, memory, time and values of a run, without training or a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.config.config import Config
from runner.display.tables import Row, Section, write_tables
from runner.modes.help import value_origins

MAX_LISTED = 100  # values of one mapping, such as feature.columns, with the same origin; more are only counted


def command(config: Config) -> int:
    """Prints the sections of a dry run, each as soon as it is known.

    Returns:
        The exit code 0: the device has enough memory.

    Raises:
        UserError: the run itself would raise this error.
        RunError: the device has too little memory.
    """
    from runner.modes.dry_run.report import print_dry_run  # imports JAX

    config = print_dry_run(config)
    if not config.values["quiet"]:  # last, as they are many
        write_tables([Section("values", list(_value_rows(value_origins(config))), has_heading=False)])
    return 0


def _value_rows(origins: Mapping[str, str]) -> Iterator[Row]:
    """A row for each value with its origin. Many values of one mapping with the same origin share a row."""
    owners = {value: (".".join(value.partition("=")[0].split(".")[:2]), origin) for value, origin in origins.items()}
    members: dict[tuple[str, str], list[str]] = {}
    for value, owner in owners.items():
        members.setdefault(owner, []).append(value)
    for value, origin in origins.items():
        key, count = owners[value][0], len(members[owners[value]])
        if count <= MAX_LISTED:
            yield value, origin
        elif value == members[owners[value]][0]:
            yield f"{key}: {count:,} values, which --info lists", origin
