"""`mode=predict`: what a run's best weights predict for a split of its data, or for new rows, as a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.types import DataError, UserError
from runner.display.progress import make_progress
from runner.errors import error_location
from runner.inference import output
from runner.signature.build import build
from runner.signature.schema import SCHEMA

if TYPE_CHECKING:
    from components.types import Source
    from runner.config.config import Config


def command(config: Config) -> int:
    """Writes predictions into `output`, in the order of the rows; returns the exit code.

    They are those for all rows of `data.path` where that is given, which need no target; else, or with `data.split`,
    for that split of the run's own data, by default what was held out.
    """
    path = Path(config.values["output"])
    output.check_output_path(path)  # before JAX is imported
    rows = new_rows(config)
    from runner.inference.trained_model import open_model

    with closing(make_progress(quiet=config.values["quiet"], epochs=config.values["training"]["epochs"])) as shown:
        fitted = open_model(config, shown)
        split = config.split or fitted.default_split if rows is None else None
        with new_rows_error_location(config) if rows is not None else nullcontext():
            columns = fitted.predict(rows if rows is not None else str(split), on_warning=shown.note).columns()
        output.write_table(path, columns)
    if not config.values["quiet"]:
        which = f"the {split} split" if split else f"the rows of {config.values['data']['path']}"
        print(f"{len(columns['row']):,} predictions for {which} are in {path}")
    return 0


def new_rows(config: Config, *, labelled: bool = False) -> Source | None:
    """The rows that the words name; None where they name a split of the run's own. If `labelled`, with the target."""
    if not config.other_data or config.split is not None:
        return None
    if "_target_" not in config.values["data"]:
        run = config.values["run"]
        raise UserError(
            f"run={run}: its data was given from Python, so there is nothing that reads data.path="
            f"{config.values['data']['path']}; runner.load({run!r}).predict(columns) takes new rows"
        )
    with error_location("data"):
        data = config.values["data"] if labelled else _without_target(config.values)
        source: Source = build(data, {}, SCHEMA["data"])
        source.fingerprint()  # whether there is such a file, and what is wrong with it, is found now
        with new_rows_error_location(config):
            source.sizes()
    return source


def _without_target(values: Mapping[str, Any]) -> dict[str, Any]:
    """What reads the rows, whatever the type of the target in them, unless an input reads it too."""
    data, feature = values["data"], values["feature"]
    target = feature["target"].get("key")
    types = data.get("types")
    if not isinstance(types, dict) or any(part.get("key") == target for part in feature["columns"].values()):
        return dict(data)
    return {**data, "types": {name: kind for name, kind in types.items() if name != target}}


@contextmanager
def new_rows_error_location(config: Config) -> Iterator[None]:
    """Says of a wrong row what can be done about it once a run is trained."""
    try:
        yield
    except DataError as error:
        run = Path(str(config.values["run"])).name
        raise DataError(
            f"{error}\n(run={run} stands as it was trained: correct {config.values['data']['path']}, or say by words "
            "of `data` how it is read; types and columns can be changed for another run)"
        ) from error
