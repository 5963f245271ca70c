"""`mode=predict`: what a run's best weights predict for a split of its data, as a file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from runner import output
from runner.progress import progress

if TYPE_CHECKING:
    from runner.compose import Config


def command(config: Config) -> int:
    """Writes the predictions for `data.split` (else for what was held out) into `output`; returns the exit code."""
    path = Path(config.values["output"])
    output.check(path)  # before JAX is imported
    from runner.fitted import opened

    with closing(progress(quiet=config.values["quiet"], epochs=config.values["training"]["epochs"])) as shown:
        fitted = opened(config, shown)
        split = config.split or fitted.held_out
        columns = fitted.predict(split).columns()
        output.write(path, columns)
    if not config.values["quiet"]:
        print(f"{len(columns['row']):,} predictions for the {split} split are in {path}")
    return 0
