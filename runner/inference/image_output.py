"""Writes predictions that are images as PNG files, into a folder beside the table of the predictions."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from components.types import Column, Constants, UserError, WritesImages
from runner.data.encode import TARGET
from runner.inference.predictions import Predictions, TargetPredictions
from runner.run_folder import LOCK, is_abandoned, lock_new_folder

MARKER = ".predictions"  # a file in each folder that is written here; no other folder is ever replaced
OTHER_NAME = "Choose another name, or move what is there."
IN_PYTHON = "Predict in Python: runner.load(run).predict(rows)."


def check_image_folder(output: Path, *, overwrite: bool) -> Path:
    """The folder of the images of a table: `masks` beside `masks.csv`. Raises UserError if it can't be written."""
    folder = output.with_suffix("")
    problem = ""
    if os.path.lexists(folder) and not (folder.is_dir() and not folder.is_symlink()):
        problem = "exists already, and is no folder"
    elif folder.exists() and not (folder / MARKER).exists():
        problem = "exists already, and no prediction was written there"
    elif folder.exists() and not overwrite:
        problem = "exists already"
    elif other := next((path for path in folder.rglob("*") if not _is_ours(path)), None):
        problem = f"has another file, {other.relative_to(folder)}"
    if problem:
        is_replaceable = not overwrite and (folder / MARKER).exists()
        remedy = "Choose another name, or replace it with output.overwrite=true." if is_replaceable else OTHER_NAME
        raise UserError(f"output={output}: the images would be in {folder}, which {problem}. {remedy}")
    return folder


def write_images(
    batches: Iterable[Predictions | TargetPredictions],
    targets: Mapping[str, Column],
    constants: Mapping[str, Constants],
    folder: Path,
) -> Predictions | dict[str, Predictions]:
    """Writes the images among the predictions for consecutive rows, all or none of them.

    Args:
        batches: the predictions.
        targets: the targets that are images, by name.
        constants: their fitted values, by name.
        folder: the new folder, or one that `check_image_folder` accepts.

    Returns:
        The predictions for all rows, with the path of a file, relative to the folder around `folder`, in place of each
        image.

    Raises:
        UserError: a target's images can't be written.
    """
    if unable := [name for name, target in targets.items() if not isinstance(target, WritesImages)]:
        kind = type(targets[unable[0]]).__name__
        raise UserError(f"the target {unable[0]} is an image, and {kind} writes none (image_files). {IN_PYTHON}")
    pieces = dict[str, list[Predictions]]()
    with _new_folder(folder) as temporary:
        for batch in batches:
            for name, own in (batch if isinstance(batch, TargetPredictions) else {TARGET: batch}).items():
                written = own
                if isinstance(target := targets.get(name), WritesImages):
                    part = "" if name == TARGET else name
                    with _report_as_unwritable(folder):
                        (temporary / part).mkdir(exist_ok=True)
                        written = _write(own, target, constants[name], temporary / part, Path(folder.name, part))
                pieces.setdefault(name, []).append(written)
    joined = {name: _join(own) for name, own in pieces.items()}
    return joined.get(TARGET, joined)


def _is_ours(path: Path) -> bool:
    return path.is_dir() or path.name == MARKER or re.fullmatch(r"\d+\.png", path.name) is not None


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Creates a folder under another name, which replaces `folder` at the end of the context, or is removed."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    lock = None
    try:
        with _report_as_unwritable(folder):
            _remove_abandoned(folder)
            temporary.mkdir()
            lock = lock_new_folder(temporary)
            (temporary / MARKER).touch()
        yield temporary
        with _report_as_unwritable(folder):
            (temporary / LOCK).unlink()
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
            temporary.rename(folder)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Removes what killed processes left of the folder."""
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"):
        is_ours = path.name.removeprefix(f".{folder.name}.").removesuffix(".tmp").isdecimal()
        with suppress(OSError):  # another process renamed or removed it, or another user owns it
            if is_ours and (path / MARKER).exists() and is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _report_as_unwritable(folder: Path) -> Iterator[None]:
    """Raises UserError for an OSError in the context: a folder can't be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder} can't be written: {error.strerror or error}. Choose another output.") from error


def _write(own: Predictions, target: WritesImages, constants: Constants, folder: Path, name: Path) -> Predictions:
    """Writes the images of some rows, and returns the names of the files as predictions."""
    images = own.prediction
    if own.probabilities is not None:
        if np.isnan(own.probabilities).any():
            raise UserError("the network predicts NaN, which is no class. Train it again.")
        images = own.probabilities.argmax(-1)
    files = [f"{row:06}.png" for row in own.row.tolist()]
    for file, content in zip(files, target.image_files(images, constants), strict=True):
        (folder / file).write_bytes(content)
    paths = np.array([(name / file).as_posix() for file in files], object)
    return replace(own, classes=None, target=None, prediction=paths, probabilities=None)


def _join(pieces: list[Predictions]) -> Predictions:
    """The predictions for all rows from those for consecutive rows."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("row", "target", "prediction", "probabilities")
        if getattr(pieces[0], name) is not None
    }
    return replace(pieces[0], **arrays)
