"""`mode=look`: shows the data as the model gets it or, with `run`, the worst mistakes of that run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from runner.config.config import Config
from runner.display.progress import make_progress
from runner.display.report import record_lines
from runner.display.tables import print_tables
from runner.errors import RunError
from runner.modes.look.data import look_at_data
from runner.modes.look.mistakes import look_at_mistakes
from runner.platform import cache_folder, start_jax
from runner.tracking import describe_view


def command(config: Config) -> int:
    """Prints the tables, the folder of the figures and where MLflow shows them. Returns the exit code."""
    quiet, run = config.values["quiet"], config.values["run"]
    start_jax(cache_folder())
    with (
        _as_disk_error(),
        contextlib.closing(make_progress(quiet=quiet)) as progress,
        (look_at_mistakes if run else look_at_data)(config, progress) as look,
    ):
        progress.close()  # removes the live line; sending the record may take some seconds after the tables
        if not quiet:
            figures = look.folder / "figures"
            files = [("", path.name) for path in sorted(figures.glob("*.png"))]
            print_tables(
                look.sections,
                [("figures", str(figures)), *files, *record_lines(describe_view(look.folder, look.tracking))],
            )
    return 0


@contextlib.contextmanager
def _as_disk_error() -> Iterator[None]:
    """Converts an OSError, such as that of a full disk, to a RunError that names the file."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{error.filename or 'the figures'}: {error.strerror or error}") from error
