"""`mode=deliver`: sends to MLflow the records that earlier runs could not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.run_folder import find_run
from runner.tracking.deliver import deliver_all

if TYPE_CHECKING:
    from runner.config.config import Config


def command(config: Config) -> int:
    """Delivers the pending records below `folder`, or that of the run that `resume` names, and prints the outcomes.

    Returns:
        0: all are delivered.

    Raises:
        UserError: a store didn't take everything.
    """
    values = config.values
    root = Path(values["folder"])
    only = find_run(root, values["resume"]) if values["resume"] else None
    outcomes = deliver_all(root, only, user_uri=values["tracking"].get("uri"))
    print("\n".join(map(str, outcomes)) or f"nothing waits to be delivered below {root}")
    return 0
