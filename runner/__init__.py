"""How a run happens. From Python: `runner.run("experiment=digits_cnn", "seed=3")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.types import Source
    from runner.execution import Result


def run(*overrides: str, source: Source | None = None) -> Result:
    """Runs what the overrides of the command line say; `source` takes the place of the one that `data` names.

    Raises UserError for what the caller can mend; any other failure of the run is raised once it is recorded.
    """
    from runner.check import check
    from runner.compose import compose
    from runner.execution import execute

    config = compose(overrides)
    check(config)
    return execute(config, source=source)
