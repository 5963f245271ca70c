"""Errors in new rows: the columns of a finished run are fixed, so some remedies for the rows of a run don't help."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import get_args

from components.closest import suggest_name
from components.columns import READING_OPTIONS, is_table
from components.types import DataError, LeavesOut, UserError
from runner.data.transform import OnMissing

FILL = 'on_missing="fill"'
UNREADABLE = re.compile(r"\b(rows?) (?:is|are) skipped")
TRAINING_REMEDIES = (  # in errors about a value; new rows are read with the columns and types of training
    (re.compile(r"; to skip (such|these) rows, set `?(data\.)?on_bad_row=skip`?( of the data)?"), ""),
    (
        re.compile(r"(fill it in), (?:remove the row, )?or set [^;\n]*\bmissing\b[^;\n]*"),
        rf"\1, remove the row, or set {FILL}",
    ),
    (re.compile(r"(, remove the row)?, or set [^;\n]*\bnormalize=[^;\n]*, for example"), ", or remove the row"),
    (re.compile(r"(, increase [^;\n]*\bbuckets`?)?, or set [^;\n]*\bdefault`? to the id of other numbers"), ""),
    (re.compile(r"(, or set|; to read all values as text, set| or) `types\.[^`\n]*=string`"), ""),
    (re.compile(r"; use Bucketized for other numbers"), ""),
    (
        re.compile(r"Move or remove it\. Images without classes are predicted by a finished run; to train [^;\n]*"),
        "An evaluation needs the class of each image; to predict images without it, use predict (mode=predict)",
    ),
    (re.compile(r"(, remove the row), or use Log with a larger `offset`"), ", or remove the row"),
)
READING_SETTING = rf"`(?:{'|'.join(READING_OPTIONS)})\b[^`]*`"
READING_REMEDIES = (  # a call from Python can't set how columns are read
    (re.compile(rf", or set {READING_SETTING}(?: or {READING_SETTING})*$"), ""),
    (re.compile(rf"(?:; [^;\n]*, set {READING_SETTING})+$"), "; correct the values"),
)
COLORS = {"1": "grey", "3": "RGB"}  # by the number of channels
OTHER_SHAPE = "where the training split has"  # in errors about images of another size, or other channels
IMAGE_SHAPE = re.compile(
    rf"{OTHER_SHAPE} (?P<height>\d+) x (?P<width>\d+) pixels and (?P<channels>\d+) channels?; "
    r"(?P<remedy>set [^;\n]*\b(size|channels)=[^;\n]*)"
)
MISSING_VALUE = re.compile(r"column `(?P<key>[^`]*)` has no value; [^\n]*")
MISSING_TARGET = "has no value, and an evaluation needs the target; fill it in, or remove the row"


@contextmanager
def replace_training_remedies(rows: object = None, targets: Collection[str] = ()) -> Iterator[None]:
    """Replaces in a DataError the remedies that would change the columns of the run.

    Args:
        rows: the new rows. For a table from Python, remedies that change how it is read are replaced too.
        targets: the raw columns of targets that are evaluated: `on_missing` doesn't fill their gaps.
    """
    try:
        yield
    except DataError as error:
        message = str(error)
        if (match := MISSING_VALUE.search(message)) and match["key"] in targets:
            message = f"{message[: match.start()]}column `{match['key']}` {MISSING_TARGET}{message[match.end() :]}"
        if match := IMAGE_SHAPE.search(message):
            arrays = "; arrays are (rows, height, width, channels)" if is_table(rows) else ""
            message = f"{message[: match.start('remedy')]}{_describe_conversion(match)}{arrays}{message[match.end() :]}"
        for remedy, replacement in (*TRAINING_REMEDIES, *(READING_REMEDIES if is_table(rows) else ())):
            message = remedy.sub(replacement, message)
        if message == str(error):
            raise
        raise DataError(message) from error


def _describe_conversion(match: re.Match[str]) -> str:
    """How an image of another shape becomes one of the shape of the training split."""
    words, channels = [], match["channels"]
    if "size=" in match["remedy"]:
        words.append(f"resize it to {match['height']} x {match['width']} pixels")
    if "channels=" in match["remedy"]:
        words.append(f"convert it to {COLORS.get(channels, f'{channels} channels')}")
    return ", and ".join(words)


def check_none_skipped(rows: object) -> None:
    """Raises DataError if a source skips some of the rows to predict: each needs a prediction."""
    if isinstance(rows, LeavesOut) and rows.skipped_rows():
        sentences = UNREADABLE.sub(r"\1 can't be read", "; ".join(rows.left_out()))
        raise DataError(
            f"{sentences}. Rows to predict can't be skipped (`on_bad_row`), because each of them "
            "needs a prediction. Correct these rows, or remove them."
        )


def check_on_missing(value: str, rows: object) -> None:
    """Raises UserError unless a value is one of `OnMissing`, and is for new rows."""
    allowed = get_args(OnMissing)
    if value not in allowed:
        raise UserError(f"on_missing={value!r} is not allowed. {suggest_name(value, allowed)}")
    if value != "error" and isinstance(rows, str):
        raise UserError(f"{FILL} is for new rows, not for the split {rows}. Leave it out.")
