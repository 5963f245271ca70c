"""From a source and feature columns to encoded arrays, kept in a cache."""

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
from runner.data import cache as data_cache
from runner.data.encode import TARGET, check_keys, encode_source, encoding_order, numbered_blocks, parent_keys
from runner.data.statistics import StatisticsRequest, summarize
from runner.errors import column_location
from runner.signature.build import build
from runner.signature.schema import COLUMN, SCHEMA

_COLUMNS = "columns"  # of the statistics: those of all columns but the target
VERSION = 3  # another one whenever the same configuration and rows are encoded differently than before


@dataclass(frozen=True)
class Features:
    """What is predicted, the columns, and which of them make up each input.

    Attributes:
        sample: how many rows of the training split the columns learn from, drawn at random; None: all of them.
            The target always learns from all.
    """

    target: Target
    columns: Mapping[str, Column]
    inputs: Mapping[str, tuple[str, ...]]
    sample: Annotated[int, Range(1)] | None = None

    @classmethod
    def described(cls, feature: Mapping[str, Any]) -> Features:
        """Those that the plain values of a feature file describe; an error names the column."""
        with column_location(TARGET):
            target = build(feature["target"], {}, SCHEMA["feature.target"])
        columns = {}
        for name, node in feature["columns"].items():
            with column_location(name):
                columns[name] = build(node, {}, COLUMN)
        inputs = {name: tuple(listed) for name, listed in feature["inputs"].items()}
        return cls(target, columns, inputs, feature.get("sample"))


@dataclass(frozen=True)
class Data:
    """Encoded rows, by column; the target is the column `target`.

    Attributes:
        encoded: the arrays of the target and of the columns that the inputs list, for the rows of all parts;
            read-only, and mapped into memory where large, when they come from the cache.
        splits: row numbers of `train`, `valid` and `test`, int64, sorted.
        constants: what the columns learned from the training split; those too that only others read.
        fingerprint: changes when the rows do, or the splits; 32 characters.
        warnings: what the user should know about the data.
        encoding: what `encoded` is known by, whatever the splits; "": by nothing.
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
    """Encodes the rows of a source, or takes what was encoded before.

    Args:
        source: the rows.
        features: the columns; one that no input reaches is not encoded.
        identity: the plain configuration of both, as text.
        cache: the folder of the cache, in which a damaged entry is made anew; None: nothing is kept.
        fold: (folds, fold) of a cross-validation; None: the splits as the source has them.

    Raises:
        UserError: the columns don't fit together, or not to the source.
        DataError: rows are wrong, or a split is empty.
    """
    content = source.fingerprint() + "".join(_files(reached_columns(features)))
    rows = f"{VERSION}\n{_digest(content)}\n{identity}"
    splits = source.splits if fold is None else functools.partial(_folds, source, *fold)
    learned, trouble = _kept(cache, _digest(f"{rows}\n{fold}"), lambda: _learned(source, features, splits()))
    constants = {name: Constants(**parts) for name, parts in learned["constants"].items()}
    encoding = _digest(f"{rows}\n{_host(constants)}")  # folds that learned the same share it
    encoded, more = _kept(cache, encoding, lambda: _encoded(source, features, constants))
    return Data(
        encoded=encoded,
        splits=learned["splits"],
        constants=constants,
        fingerprint=_digest(content + (f" fold {fold}" if fold else "")),
        warnings=tuple(dict.fromkeys((*learned["warnings"], *trouble, *more))),
        encoding=encoding if identity else "",
    )


def reached_columns(features: Features) -> dict[str, Column]:
    """The columns that the inputs reach, each behind those that it reads, and the target."""
    order = encoding_order(features.columns, features.inputs)
    return {name: features.columns[name] for name in order} | {TARGET: features.target}


def program_columns(features: Features) -> list[str]:
    """The columns that the program takes: those of the inputs, and the target."""
    names = {name for names in features.inputs.values() for name in names} | {TARGET}
    return [name for name in reached_columns(features) if name in names]


def _kept(cache: Path | None, name: str, make: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """What the cache holds under a name, else what `make` gives; and a warning where that can't be kept."""
    if cache is None:
        return make(), []
    entry = cache / "data" / name
    if (found := data_cache.load_tree(entry)) is not None:
        return found, []
    made = make()
    try:
        data_cache.save_tree(entry, made)
    except OSError as error:
        return made, [f"the encoded data could not be kept in {entry.parent}: {error}"]
    return made, []


def _learned(source: Source, features: Features, splits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The splits, what the columns learn from the training split, and warnings."""
    columns = reached_columns(features)
    if empty := [name for name, rows in splits.items() if len(rows) == 0]:
        raise DataError(f"the {empty[0]} split is empty")
    check_keys(columns, next(numbered_blocks(source))[1])
    target = {TARGET: columns.pop(TARGET)}
    wanted = {split: StatisticsRequest(target, rows) for split, rows in splits.items()}
    wanted[_COLUMNS] = StatisticsRequest(columns, _sampled(splits["train"], features.sample))
    results = summarize(source, wanted, columns | target)
    warnings = features.target.review({split: results[split][TARGET] for split in splits})
    constants: dict[str, Constants] = {}
    for name, column in columns.items():
        parents = {key: constants[key] for key in parent_keys(columns, name)}
        with column_location(name):
            constants[name] = _arrays(column.fit(results[_COLUMNS][name], parents))
    constants[TARGET] = _arrays(features.target.fit(results["train"][TARGET], {}))
    learned = {name: one._asdict() for name, one in constants.items()}
    return {"splits": dict(splits), "constants": learned, "warnings": warnings}


def _arrays(constants: Constants) -> Constants:
    """Constants in which a number of NumPy's is an array without axes, so that it can be kept."""
    sides = (constants.host, constants.device, constants.initial)
    host, device, initial = ({key: np.asarray(value) for key, value in one.items()} for one in sides)
    return Constants(host, device, constants.static, initial)


def _sampled(rows: np.ndarray, sample: int | None) -> np.ndarray:
    """So many of the rows, always the same ones; None, or more than there are: all."""
    if sample is None or sample >= len(rows):
        return rows
    bits = np.random.Philox(np.random.SeedSequence(sample)).random_raw(len(rows))
    return np.sort(rows[np.argsort(bits, kind="stable")[:sample]])


def _encoded(source: Source, features: Features, constants: Mapping[str, Constants]) -> dict[str, Any]:
    return encode_source(source, reached_columns(features), constants, program_columns(features))


def _folds(source: Source, folds: int, fold: int) -> Mapping[str, np.ndarray]:
    if not isinstance(source, Foldable):
        name = type(source).__name__
        raise UserError(f"folds={folds}: {name} can't be folded; it would need `folds`, see components.types.Foldable")
    return source.folds(folds, fold)


def _files(columns: Mapping[str, Column]) -> Iterator[str]:
    """Changes with the files that columns read, a vocabulary for instance."""
    for name, column in columns.items():
        with column_location(name):
            digest = column.fingerprint() if isinstance(column, ReadsFiles) else ""
        if digest:
            yield f" {name} {digest}"


def _host(constants: Mapping[str, Constants]) -> str:
    """Changes with what rows are encoded by."""
    content = hashlib.blake2b(digest_size=16)
    for name, learned in constants.items():
        content.update(f"{name} {sorted(learned.static.items())}".encode())
        for key, array in learned.host.items():
            content.update(f"{key} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
