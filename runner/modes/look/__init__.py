"""`mode=look`: the data as the model gets it; or, with a run, what that got most wrong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from runner import platform
from runner.config.config import Config
from runner.display.progress import make_progress
from runner.display.tables import print_tables
from runner.errors import RunError
from runner.modes.look import data, mistakes
from runner.modes.look.text import facts
from runner.platform import cache_folder


def command(config: Config) -> int:
    """Looks, prints what there is to see, and says where the figures are."""
    quiet, run = config.values["quiet"], config.values["run"]
    platform.start_jax(cache_folder())
    with (
        _disk(),
        contextlib.closing(make_progress(quiet=quiet, epochs=1)) as shown,
        (mistakes if run else data).look(config, shown) as found,
    ):
        shown.close()  # the live line; the record may take some seconds more
        if not quiet:
            print_tables(found.sections, facts(found.folder, found.tracking))
    return 0


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    """Tells a failure of the disk in a line."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{error.filename or 'the figures'}: {error.strerror or error}") from error
