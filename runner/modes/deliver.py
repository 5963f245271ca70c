"""`mode=deliver`: sends pending records of earlier runs to MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.run_folder import find_folder
from runner.terminal import write_line
from runner.tracking.deliver import deliver_all

if TYPE_CHECKING:
    from runner.config.config import Config


def command(config: Config) -> int:
    """Sends the pending records below `folder`, or only that of the run `resume`, and prints an outcome for each.

    Returns:
        The exit code 0.

    Raises:
        UserError: a store did not accept a record.
    """
    values = config.values
    root = Path(values["folder"])
    folder = find_folder(root, values["resume"]) if values["resume"] else None
    outcomes = deliver_all(root, folder, user_uri=values["tracking"].get("uri"))
    write_line("\n".join(map(str, outcomes)) or f"no pending records below {root}")
    return 0
