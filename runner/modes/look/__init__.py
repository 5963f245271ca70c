"""`mode=look`: the data as the model gets it or, with a run, the examples that it got most wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from runner import platform
from runner.config.config import Config
from runner.display.progress import make_progress
from runner.display.tables import print_tables
from runner.errors import RunError
from runner.modes.look import data, mistakes
from runner.platform import cache_folder
from runner.store_uri import viewing_command


def command(config: Config) -> int:
    """Prints the tables of a look and the folder of its figures."""
    quiet, run = config.values["quiet"], config.values["run"]
    platform.start_jax(cache_folder())
    with (
        _as_disk_error(),
        contextlib.closing(make_progress(quiet=quiet, epochs=1)) as shown,
        (mistakes if run else data).look(config, shown) as found,
    ):
        shown.close()  # the live line; the record may take some seconds more
        if not quiet:
            record = [("record", viewing_command(found.tracking["uri"]))] if found.tracking else []
            print_tables(found.sections, [("figures", str(found.folder / "figures")), *record])
    return 0


@contextlib.contextmanager
def _as_disk_error() -> Iterator[None]:
    """Raises RunError where the disk fails."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{error.filename or 'the figures'}: {error.strerror or error}") from error
