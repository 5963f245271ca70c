"""Errors in new rows: the columns of a finished run are fixed, so some remedies for the rows of a run don't help."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import get_args

from components.closest import suggest_name
from components.columns import is_table
from components.types import Change, DataError, LeavesOut, Remedy, UserError
from runner.data.transform import OnMissing

FILL = Remedy('set on_missing="fill"', "gaps")
PREDICT = Remedy("use predict (mode=predict)", "predicting", "to predict images without classes")


class MissingTargetError(DataError):
    """A row to evaluate has no target."""


@contextmanager
def keep_possible_remedies(rows: object = None, targets: Collection[str] | None = None) -> Iterator[None]:
    """Leaves out the remedies of a DataError that new rows don't allow: the columns of their run are fixed.

    Args:
        rows: the new rows. How a table from Python is read is fixed too.
        targets: the raw columns of targets, if the rows are evaluated: `on_missing` doesn't fill their gaps. None: the
            rows are predicted, so none is skipped.
    """
    try:
        yield
    except DataError as error:
        impossible: set[Change] = {"columns", "leaving_out"}
        if is_table(rows):
            impossible |= {"reading", "skipping"}
        if targets is None:
            impossible |= {"skipping"}
        is_target = error.missing is not None and error.missing in (targets or ())
        if is_target:
            impossible |= {"gaps"}
        own: dict[Change, Remedy] = {"gaps": FILL, "predicting": PREDICT}
        remedies = [own.get(each.changes, each) for each in error.remedies if each.changes not in impossible]
        if error.remedies and not remedies:
            remedies = [Remedy("correct the values")]
        if is_target:
            fault = f"{error.fault}, and an evaluation needs the target"
            raise MissingTargetError(fault, *remedies, missing=error.missing) from error
        error.replace_remedies(remedies)
        raise


def check_none_skipped(rows: object) -> None:
    """Raises DataError if a source skips some of the rows to predict: each needs a prediction."""
    if isinstance(rows, LeavesOut) and rows.skipped_rows():
        raise DataError(
            "Rows to predict can't be skipped (`on_bad_row`), because each of them needs a prediction. "
            f"{'; '.join(rows.left_out())}.",
            "correct these rows",
            "remove them",
        )


def check_on_missing(value: str, rows: object) -> None:
    """Raises UserError unless a value is one of `OnMissing`, and is for new rows."""
    allowed = get_args(OnMissing)
    if value not in allowed:
        raise UserError(f"on_missing={value!r} is not allowed. {suggest_name(value, allowed)}")
    if value != "error" and isinstance(rows, str):
        raise UserError(f'on_missing="fill" is for new rows, not for the split {rows}. Leave it out.')
