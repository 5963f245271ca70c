"""`mode=predict`: what a run's best weights predict for a split of its data, or for new rows, as a file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from components.types import UserError
from runner import output
from runner.build import build
from runner.errors import at
from runner.progress import progress

if TYPE_CHECKING:
    from components.types import Source
    from runner.compose import Config


def command(config: Config) -> int:
    """Writes predictions into `output`, in the order of the rows; returns the exit code.

    They are those for all rows of `data.path` where that is given, which need no target; else, or with `data.split`,
    for that split of the run's own data, by default what was held out.
    """
    path = Path(config.values["output"])
    output.check(path)  # before JAX is imported
    rows = _new_rows(config)
    from runner.fitted import opened

    with closing(progress(quiet=config.values["quiet"], epochs=config.values["training"]["epochs"])) as shown:
        fitted = opened(config, shown)
        split = config.split or fitted.held_out if rows is None else None
        columns = fitted.predict(rows if rows is not None else str(split)).columns()
        output.write(path, columns)
    if not config.values["quiet"]:
        which = f"the {split} split" if split else f"the rows of {config.values['data']['path']}"
        print(f"{len(columns['row']):,} predictions for {which} are in {path}")
    return 0


def _new_rows(config: Config) -> Source | None:
    """The rows that the words name; None where they name a split of the run's own."""
    if not config.other_data or config.split is not None:
        return None
    if "_target_" not in config.values["data"]:
        run = config.values["run"]
        raise UserError(
            f"run={run}: its data was given from Python, so there is nothing that reads data.path="
            f"{config.values['data']['path']}; runner.load({run!r}).predict(columns) takes new rows"
        )
    with at("data"):
        source: Source = build(config.values["data"], {})
        source.sizes()  # what is wrong with a file is found now
    return source
