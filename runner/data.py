"""From a source and feature columns to encoded arrays, kept in a cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.types import Column, Constants, DataError, Encoded, Source, Target
from runner import data_cache
from runner.encode import TARGET, check_keys, encode, encoding_order, numbered_blocks, summarize

VERSION = 1  # another one whenever the same configuration and rows are encoded differently than before


@dataclass(frozen=True)
class Features:
    """What is predicted, the columns, and which of them make up each input."""

    target: Target
    columns: Mapping[str, Column]
    inputs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Data:
    """Encoded rows, by column; the target is the column `target`.

    Attributes:
        encoded: the arrays of the target and of the columns that the inputs list, for the rows of all parts;
            read-only, and mapped into memory where large, when they come from the cache.
        splits: row numbers of `train`, `valid` and `test`, int64, sorted.
        constants: what these columns learned from the training split.
        fingerprint: changes when the rows do; 32 characters.
        warnings: what the user should know about the data.
    """

    encoded: Mapping[str, Mapping[str, Encoded]]
    splits: Mapping[str, np.ndarray]
    constants: Mapping[str, Constants]
    fingerprint: str
    warnings: tuple[str, ...]


def cache_folder() -> Path:
    """Where encoded data is kept: $TITRATE_CACHE, $XDG_CACHE_HOME/titrate or ~/.cache/titrate."""
    if own := os.environ.get("TITRATE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "titrate"


def prepare(source: Source, features: Features, *, identity: str, cache: Path | None) -> Data:
    """Encodes the rows of a source, or takes what was encoded before.

    Args:
        source: the rows.
        features: the columns; one that no input reaches is not encoded.
        identity: the plain configuration of both, as text.
        cache: the folder of the cache, in which a damaged entry is made anew; None: nothing is kept.

    Raises:
        UserError: the columns don't fit together, or not to the source.
        DataError: rows are wrong, or a split is empty.
    """
    fingerprint = _digest(source.fingerprint())
    if cache is None:
        return _encoded(source, features, fingerprint)
    entry = cache / "data" / _digest(f"{VERSION}\n{fingerprint}\n{identity}")
    if (tree := data_cache.load(entry)) is not None:
        return Data(**tree | {"constants": {name: Constants(**parts) for name, parts in tree["constants"].items()}})
    data = _encoded(source, features, fingerprint)
    try:
        constants = {name: learned._asdict() for name, learned in data.constants.items()}
        data_cache.save(entry, vars(data) | {"constants": constants})
    except OSError as error:
        return replace(data, warnings=(*data.warnings, f"the encoded data could not be kept in {entry}: {error}"))
    return data


def _encoded(source: Source, features: Features, fingerprint: str) -> Data:
    order = encoding_order(features.columns, features.inputs)
    columns: dict[str, Column] = {name: features.columns[name] for name in order} | {TARGET: features.target}
    splits = source.splits()
    if empty := [name for name, rows in splits.items() if len(rows) == 0]:
        raise DataError(f"the {empty[0]} split is empty")
    check_keys(columns, next(numbered_blocks(source))[1])
    results = summarize(source, splits, columns)
    warnings = features.target.review({split: results[split][TARGET] for split in splits})
    constants = {name: column.fit(results["train"][name]) for name, column in columns.items()}
    listed = {name for names in features.inputs.values() for name in names} | {TARGET}
    kept = [name for name in columns if name in listed]
    encoded = encode(source, columns, constants, kept)
    return Data(encoded, splits, {name: constants[name] for name in kept}, fingerprint, warnings)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
