"""How a run happens. From Python: `runner.run("experiment=digits_cnn", "seed=3")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.types import Source
    from runner.execution import Result


def run(*overrides: str, source: Source | None = None) -> Result:
    """Trains what the overrides of the command line say; `source` takes the place of the one that `data` names.

    Ctrl-C saves and returns, with the status `interrupted`; the same call goes on from there.
    Raises UserError for what the caller can mend; any other failure of the run is raised once it is recorded.
    """
    from components.types import UserError
    from runner.compose import configure
    from runner.execution import execute

    config = configure(overrides)
    if config.values["mode"] != "train":
        raise UserError(f"mode={config.values['mode']} is for the command line; from Python, runs are trained")
    return execute(config, source=source)
