"""Loads data: from a source and feature columns to encoded arrays, through a cache."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from components.types import (
    Column,
    Constants,
    DataError,
    Encoded,
    Foldable,
    Range,
    ReadsFiles,
    Source,
    Target,
    UserError,
)
from runner.data.cache import load_tree, save_tree
from runner.data.encode import TARGET, check_keys, encode_source, encoding_order, numbered_blocks, parent_keys
from runner.data.statistics import StatisticsRequest, summarize
from runner.errors import column_location
from runner.signature.build import build
from runner.signature.schema import COLUMN, SCHEMA

VERSION = 3  # to be raised whenever the same configuration and rows are encoded in another way
_COLUMNS = "columns"  # the key of the statistics of all columns but the target


@dataclass(frozen=True)
class Features:
    """The target, the columns, and the columns of each input.

    Attributes:
        target: the column to predict.
        columns: the other columns, by name.
        inputs: the names of the columns that make up each input.
        sample: how many rows of the training split the columns learn from, drawn at random. None: all rows. The target
            always learns from all rows.
    """

    target: Target
    columns: Mapping[str, Column]
    inputs: Mapping[str, tuple[str, ...]]
    sample: Annotated[int, Range(1)] | None = None

    @classmethod
    def described(cls, feature: Mapping[str, Any]) -> Features:
        """Builds the features from the plain values of a feature file. Errors name the column."""
        with column_location(TARGET):
            target = build(feature["target"], {}, SCHEMA["feature.target"])
        columns = {}
        for name, node in feature["columns"].items():
            with column_location(name):
                columns[name] = build(node, {}, COLUMN)
        inputs = {name: tuple(names) for name, names in feature["inputs"].items()}
        return cls(target, columns, inputs, feature.get("sample"))


@dataclass(frozen=True)
class Data:
    """Encoded rows, by column. The target is the column `target`.

    Attributes:
        encoded: the arrays of the target and of the columns of inputs, for the rows of all parts. Arrays from the
            cache are read-only, and large ones are mapped into memory.
        splits: sorted row numbers of `train`, `valid` and `test`, int64.
        constants: what the columns learned from the training split, including columns that only other columns read.
        fingerprint: 32 characters that change when the rows or the splits change.
        warnings: sentences for the user.
        encoding: identifies `encoded`, for any splits. "": nothing identifies it.
    """

    encoded: Mapping[str, Mapping[str, Encoded]]
    splits: Mapping[str, np.ndarray]
    constants: Mapping[str, Constants]
    fingerprint: str
    warnings: tuple[str, ...]
    encoding: str = ""


def load_encoded(
    source: Source, features: Features, *, identity: str, cache: Path | None, fold: tuple[int, int] | None = None
) -> Data:
    """Encodes the rows of a source, or takes them from the cache.

    Args:
        source: the rows.
        features: the columns. A column that no input reaches is not encoded.
        identity: the configuration of both, as text.
        cache: the folder of the cache, in which a damaged entry is replaced. None: nothing is kept.
        fold: (folds, fold) of a cross-validation. None: the splits of the source.

    Raises:
        UserError: the columns don't fit together, or don't fit the source.
        DataError: rows are wrong, or a split is empty.
    """
    content = source.fingerprint() + "".join(_file_fingerprints(reached_columns(features)))
    rows = f"{VERSION}\n{_digest(content)}\n{identity}"
    splits = source.splits if fold is None else functools.partial(_fold_splits, source, *fold)
    fitted, fit_warnings = _load_or_make(cache, _digest(f"{rows}\n{fold}"), lambda: _fit(source, features, splits()))
    constants = {name: Constants(**parts) for name, parts in fitted["constants"].items()}
    encoding = _digest(f"{rows}\n{_digest_host_constants(constants)}")  # equal for folds with equal constants
    encoded, encode_warnings = _load_or_make(
        cache,
        encoding,
        lambda: encode_source(source, reached_columns(features), constants, program_columns(features)),
    )
    return Data(
        encoded=encoded,
        splits=fitted["splits"],
        constants=constants,
        fingerprint=_digest(content + (f" fold {fold}" if fold else "")),
        warnings=tuple(dict.fromkeys((*fitted["warnings"], *fit_warnings, *encode_warnings))),
        encoding=encoding if identity else "",
    )


def reached_columns(features: Features) -> dict[str, Column]:
    """The columns that the inputs reach, each after the columns that it reads, and the target."""
    order = encoding_order(features.columns, features.inputs)
    return {name: features.columns[name] for name in order} | {TARGET: features.target}


def program_columns(features: Features) -> list[str]:
    """The names of the columns that the program takes: those of the inputs, and the target."""
    names = {name for names in features.inputs.values() for name in names} | {TARGET}
    return [name for name in reached_columns(features) if name in names]


def shuffle_rows(rows: np.ndarray, *seed: int) -> np.ndarray:
    """The rows in a random order that depends on the seed alone.

    It sorts raw random bits: NumPy promises that these stay the same in later versions, and nothing else.
    """
    bits = np.random.Philox(np.random.SeedSequence(seed)).random_raw(len(rows))
    return rows[np.argsort(bits, kind="stable")]


def _load_or_make(
    cache: Path | None, name: str, make: Callable[[], dict[str, Any]]
) -> tuple[dict[str, Any], list[str]]:
    """The entry of the cache, or the result of `make`; and a warning if the result can't be kept."""
    if cache is None:
        return make(), []
    entry = cache / "data" / name
    if (kept := load_tree(entry)) is not None:
        return kept, []
    made = make()
    try:
        save_tree(entry, made)
    except OSError as error:
        return made, [f"the encoded data could not be kept in {entry.parent}: {error}"]
    return made, []


def _fit(source: Source, features: Features, splits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The splits, the constants that the columns learn from the training split, and warnings."""
    columns = reached_columns(features)
    if empty := [name for name, rows in splits.items() if len(rows) == 0]:
        raise DataError(f"the {empty[0]} split is empty")
    check_keys(columns, next(numbered_blocks(source))[1])
    target = {TARGET: columns.pop(TARGET)}
    requests = {split: StatisticsRequest(target, rows) for split, rows in splits.items()}
    requests[_COLUMNS] = StatisticsRequest(columns, _sample_rows(splits["train"], features.sample))
    results = summarize(source, requests, columns | target)
    warnings = features.target.validate_splits({split: results[split][TARGET] for split in splits})
    constants: dict[str, Constants] = {}
    for name, column in columns.items():
        parents = {key: constants[key] for key in parent_keys(columns, name)}
        with column_location(name):
            constants[name] = _with_arrays(column.fit(results[_COLUMNS][name], parents))
    constants[TARGET] = _with_arrays(features.target.fit(results["train"][TARGET], {}))
    plain = {name: one._asdict() for name, one in constants.items()}
    return {"splits": dict(splits), "constants": plain, "warnings": warnings}


def _with_arrays(constants: Constants) -> Constants:
    """Constants with arrays in place of NumPy's scalars, which the cache can't keep."""
    sides = (constants.host, constants.device, constants.init_only)
    host, device, initial = ({key: np.asarray(value) for key, value in one.items()} for one in sides)
    return Constants(host, device, constants.static, initial)


def _sample_rows(rows: np.ndarray, sample: int | None) -> np.ndarray:
    """A sample of the rows, always the same. None, or a number above theirs: all rows."""
    if sample is None or sample >= len(rows):
        return rows
    return np.sort(shuffle_rows(rows, sample)[:sample])


def _fold_splits(source: Source, folds: int, fold: int) -> Mapping[str, np.ndarray]:
    if not isinstance(source, Foldable):
        name = type(source).__name__
        raise UserError(f"folds={folds}: {name} can't be folded; it would need `folds`, see components.types.Foldable")
    return source.folds(folds, fold)


def _file_fingerprints(columns: Mapping[str, Column]) -> Iterator[str]:
    """The fingerprints of the files that columns read, such as vocabularies."""
    for name, column in columns.items():
        with column_location(name):
            digest = column.fingerprint() if isinstance(column, ReadsFiles) else ""
        if digest:
            yield f" {name} {digest}"


def _digest_host_constants(constants: Mapping[str, Constants]) -> str:
    """A digest of all constants that encoding depends on."""
    content = hashlib.blake2b(digest_size=16)
    for name, learned in constants.items():
        content.update(f"{name} {sorted(learned.static.items())}".encode())
        for key, array in learned.host.items():
            content.update(f"{key} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
