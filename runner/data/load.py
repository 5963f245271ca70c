"""Loads data: fits the feature columns on the training split, encodes all rows, and keeps the results in a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np

from components.types import (
    TRAINING_ROWS,
    Column,
    Constants,
    CountsRows,
    DataError,
    DecodesRows,
    DrawsExamples,
    Encoded,
    FindsBadRows,
    FindsExamples,
    Foldable,
    FoundExamples,
    HasClasses,
    HasFeatures,
    HasFiles,
    HasNotes,
    HasSources,
    InfersTypes,
    JoinsRows,
    KeyTypes,
    LeavesOut,
    LocalVersion,
    OperationsSummary,
    Range,
    ReadsFiles,
    RepeatsRows,
    RowNumbers,
    SkipsRows,
    Source,
    SummarizesOperations,
    Target,
    TargetSpec,
    UserError,
    as_index,
    compact_rows,
)
from runner.data.duplicates import describe_duplicates
from runner.data.encode import (
    EXAMPLES,
    ROW,
    TARGET,
    WEIGHT,
    blocks_with_offsets,
    check_keys,
    config_key,
    decode_lazily,
    encode_pieces,
    encoding_order,
    first_block,
    is_input_column,
    parent_keys,
    raw_keys,
    target_column,
)
from runner.data.encoded_cache import EncodedCache
from runner.data.equal_columns import find_equal_columns
from runner.data.given_parts import describe_given_parts, given_columns
from runner.data.known_files import KnownFiles
from runner.data.order import shuffle_rows
from runner.data.row_hashes import Hashes, RowCheck, RowHashes
from runner.data.statistics import StatisticsRequest, compute_statistics, group_by_pass, has_statistics
from runner.data.used_rows import find_used_rows, select_used
from runner.data.windows import Found, draw_examples, find_examples, view_examples
from runner.data.workers import Workers
from runner.errors import LocatedError, column_location, error_location
from runner.override_text import locate_settings
from runner.signature.build import build
from runner.signature.schema import COLUMN, SCHEMA
from runner.signature.schema import TARGET as TARGET_HINT

VERSION = 9  # of the cache; raise it when the same configuration and rows are encoded in another way
EXAMPLE_WEIGHT = "components.feature.ExampleWeight"  # the part that `feature.weight: KEY` stands for
ALL_COLUMNS = "columns"  # the name of the statistics of all columns but the target


@dataclass(frozen=True)
class Features:
    """The targets, the columns, and the columns of each input.

    Attributes:
        targets: the columns to predict, by name; a single one is called `target`. Empty: there is nothing to predict.
        columns: the other columns, by name.
        inputs: the names of the columns of each input.
        weight: the column with the weights of examples. None: all examples have the same weight.
        sample: the number of random rows of the training split that the columns are fitted on. None: all rows. The
            targets are always fitted on all rows.
        examples: says which rows make an example. None: each row is one.
        views: repeats the inputs of each row, for augmentations that change each copy by itself. None: they come once.
    """

    targets: Mapping[str, Target]
    columns: Mapping[str, Column]
    inputs: Mapping[str, tuple[str, ...]]
    weight: Column | None = None
    sample: Annotated[int, Range(1)] | None = None
    examples: JoinsRows | None = None
    views: RepeatsRows | None = None

    @classmethod
    def from_config(cls, feature: Mapping[str, Any], examples: Mapping[str, Any] | None = None) -> Features:
        """Builds the parts of the configurations `feature` and `examples`. Errors name the column."""
        targets = {}
        for name, node in target_nodes(feature).items():
            with column_location(config_key(target_column(name))):
                targets[name] = build(node, {}, TARGET_HINT)
        columns = {}
        for name, node in feature["columns"].items():
            with column_location(config_key(name)):
                columns[name] = build(node, {}, COLUMN)
        weight = None
        if feature.get("weight") is not None:
            with column_location(config_key(WEIGHT)):
                node = feature["weight"]
                weight = build({"_target_": EXAMPLE_WEIGHT, "key": node} if isinstance(node, str) else node, {}, COLUMN)
        inputs = {name: tuple(names) for name, names in feature["inputs"].items()}
        with error_location("examples"):
            part = None if examples is None else build(examples, {}, SCHEMA["examples"])
        rows, views = (None, part) if isinstance(part, RepeatsRows) else (part, None)
        features = cls(targets, columns, inputs, weight, feature.get("sample"), rows, views)
        features._check_past_inputs()
        return features

    def _check_past_inputs(self) -> None:
        """Raises LocatedError if inputs have the values to forecast."""
        if not isinstance(self.examples, FindsExamples) or (targets := self.examples.target_steps) is None:
            return
        keys = {key for target in self.targets.values() for key in target.keys}
        for name in self.columns:
            order = encoding_order(self.columns, {"": (name,)})
            read = keys & raw_keys({each: self.columns[each] for each in order})
            if read and self.examples.input_steps(name)[-1] >= targets[0]:
                text = f"the column {name} reads `{min(read)}`, and so does the target, which isn't known ahead. "
                raise LocatedError("examples.known_ahead", text + "Leave it out, so that the inputs have its past.")

    @property
    def program_only(self) -> dict[str, Column]:
        """The targets and the weights, by their names among the encoded columns."""
        targets: dict[str, Column] = {target_column(name): target for name, target in self.targets.items()}
        return targets | ({} if self.weight is None else {WEIGHT: self.weight})

    def bind_targets(self, constants: Mapping[str, Constants]) -> dict[str, TargetSpec]:
        """What losses and metrics need to know about each target, from the constants of the encoded columns."""
        specs = {name: target.bind(constants[target_column(name)]) for name, target in self.targets.items()}
        with error_location("examples"):
            part = self.examples or self.views
            return specs if part is None else {name: part.bind(spec) for name, spec in specs.items()}

    @property
    def join_targets(self) -> Callable[[Any], Any] | None:
        """Joins the targets of the rows of an example. None: each row is one."""
        return None if self.examples is None else self.examples.join_targets

    @property
    def augments_rows(self) -> bool:
        """Whether augmentations change each row of an example by itself, as of pairs, which are no sequences."""
        return self.views is not None or isinstance(self.examples, DrawsExamples)

    @property
    def example_keys(self) -> tuple[str, ...]:
        """The raw columns that say which rows make an example."""
        return () if self.examples is None else self.examples.keys

    @property
    def example_columns(self) -> dict[str, Column]:
        """The same, as the keys of a column that is neither fitted nor encoded."""
        return {} if self.examples is None else {EXAMPLES: cast(Column, self.examples)}


def target_nodes(feature: Mapping[str, Any]) -> dict[str, Any]:
    """The targets of a `feature` configuration by name: those of `targets`, or the one of `target`."""
    single = feature.get("target")
    return dict(feature.get("targets") or {}) if single is None else {TARGET: single}


class RawColumns(NamedTuple):
    """The raw columns that a run reads, as `SkipsRows.with_used_columns` takes them.

    Attributes:
        names: all of them.
        targets: those that targets read. Images among them may be masks.
        class_separators: the columns of classes, each with the text between several classes of a row, or None.
    """

    names: frozenset[str]
    targets: frozenset[str] = frozenset()
    class_separators: Mapping[str, str | None] = MappingProxyType({})


@dataclass(frozen=True)
class Data:
    """Encoded rows, by column. A single target is the column `target`.

    Attributes:
        encoded: the arrays of the targets, the weights and the columns of inputs, for all rows of the source. Columns
            that encode rows equally share their arrays. Large
            arrays from the cache are `CachedArray`: read-only, on the disk, and indexed like NumPy arrays.
        splits: the row numbers of `train`, `valid` and `test`, sorted: a RowRange if they follow one another. An
            example of several rows has the number of the row by which it is known.
        constants: the constants of the targets, the weights and all columns, also of columns that only others read.
        fingerprint: 32 characters that change when the rows or the splits change.
        warnings: sentences for the user.
        source_options: the options of the source that it inferred, and with which it reads new rows in the same way.
        encoding_id: identifies `encoded`, whatever the splits are. "": nothing identifies it.
        left_out: sentences about rows that the source leaves out.
        notes: sentences about what the operations do.
        skipped_rows: the number of rows that the source leaves out because they can't be read. None: it leaves out none
            of these.
        row_numbers: the number in the data, from 0, of each row, if the source leaves out others. None: row i is row i.
        used_rows: the rows of the source that are encoded, if some are in no split. None: all.
        file_sizes: the number of rows of each file, also of those that are left out. None: they weren't needed, or the
            rows don't come from files.
        source_sizes: the number of rows of each of several sources. None: they weren't needed, or there is one source.
        operations: what the operations on rows did. None: there are none.
        source: the source, which leaves out the same rows. None: it isn't kept, because it may hold a whole table.
        draws: the number of examples that each training row is known for, of which an epoch has one: row i is also the
            examples i + rows, i + 2 * rows and so on of `encoded`.
        network: a digest of the network whose features the rows have (data=features). None: they have none.
    """

    encoded: Mapping[str, Mapping[str, Encoded]]
    splits: Mapping[str, RowNumbers]
    constants: Mapping[str, Constants]
    fingerprint: str
    warnings: tuple[str, ...]
    source_options: Mapping[str, Any] = field(default_factory=dict)
    encoding_id: str = ""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped_rows: int | None = None
    row_numbers: np.ndarray | None = None
    used_rows: np.ndarray | None = None
    file_sizes: np.ndarray | None = None
    source_sizes: Mapping[str, int] | None = None
    operations: OperationsSummary | None = None
    source: Source | None = None
    draws: int = 1
    network: str | None = None

    @property
    def messages(self) -> tuple[str, ...]:
        """The notes and the warnings, as they are printed."""
        return (*(f"note: {each}" for each in self.notes), *(f"warning: {each}" for each in self.warnings))

    def number_rows(self, split: str) -> np.ndarray:
        """The numbers of a split's rows for the user, which count the rows that the source leaves out, int64."""
        rows = self.splits[split]
        return rows.astype(np.int64) if self.row_numbers is None else self.row_numbers[as_index(rows)]

    def source_rows(self, rows: RowNumbers) -> np.ndarray:
        """The rows of the source that are encoded as some rows."""
        return np.asarray(rows) if self.used_rows is None else self.used_rows[as_index(rows)]

    def find_rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows with some numbers, as `number_rows` returns them: all of a number, if it is of several rows."""
        if self.row_numbers is None:
            return numbers
        order = np.argsort(self.row_numbers, kind="stable")  # an operation may have sorted the rows
        first = np.searchsorted(self.row_numbers, numbers, sorter=order)
        own_order, occurrence = np.argsort(numbers, kind="stable"), np.empty(len(numbers), np.int64)
        ascending = numbers[own_order]
        occurrence[own_order] = np.arange(len(numbers)) - np.searchsorted(ascending, ascending)
        rows: np.ndarray = order[first + occurrence]
        return rows


def load_encoded(
    source: Source,
    features: Features,
    *,
    identity: str,
    cache: Path | None,
    fold: tuple[int, int] | None = None,
    constants: Mapping[str, Constants] | None = None,
    needs_files: bool = False,
    needs_sources: bool = False,
    keeps_columns: bool = False,
) -> Data:
    """Encodes the rows of a source, or takes them from the cache.

    Args:
        source: the rows.
        features: the columns. A column that no input uses is not encoded.
        identity: the configuration of the source and the columns, as text. "": nothing identifies the source.
        cache: the folder of all caches. A damaged entry is replaced, if reading it shows the damage. None: no cache.
        fold: (folds, fold) of a cross-validation. None: the splits of the source.
        constants: the constants of the columns and targets, as those of a finished run. None: they are fitted.
        needs_files: whether the number of rows of each file is needed.
        needs_sources: whether the number of rows of each source is needed that the source mixes.
        keeps_columns: whether the rows of `Data.source` have all columns, also those that the features don't read.

    Raises:
        UserError: the columns don't fit together, or don't fit the source.
        DataError: rows are wrong, or a split is empty.
    """
    columns = used_columns(features)
    selects = isinstance(source, SkipsRows) and (source.on_bad_row == "skip" or source.reads_used_columns)
    if selects and not keeps_columns:
        source = cast(SkipsRows, source).with_used_columns(*find_raw_columns(features))
    entries = EncodedCache(cache, lambda: _describe_rows(source))
    content = source.fingerprint() + "".join(_file_fingerprints(columns))
    rows_id = _identify_rows(source, content, identity)
    known_files = KnownFiles(source, entries)
    source = _leave_out_bad_rows(source, entries, rows_id)
    source = _count_rows(source, entries, rows_id)
    hashes = _choose_hashes(source, features)

    with Workers() as workers:

        def fit() -> dict[str, Any]:
            return _fit_columns(source, features, _split_rows(source, fold), hashes, workers)

        fitted = entries.load_or_fit(_digest(f"{rows_id}\n{fold}"), fit)
        if constants is None:
            constants = {name: Constants(**fields) for name, fields in fitted["constants"].items()}
            _check_image_targets(features, columns, constants)
        used_rows = fitted.get("used_rows")
        encoding_id = _identify_encoding(rows_id, columns, constants, used_rows)
        check = RowCheck(hashes, fitted["row_hashes"]) if "row_hashes" in fitted else None
        equal = find_equal_columns(columns, constants, program_column_names(features))
        names = [*dict.fromkeys(equal.values())]
        encode = partial(_encode, source, features, constants, names, used_rows=used_rows, check=check, workers=workers)
        rows = sum(source.sizes().values()) if used_rows is None else len(used_rows)
        arrays = entries.load_or_encode(encoding_id, encode, rows)
        encoded = decode_lazily({name: arrays[first] for name, first in equal.items()}, columns, constants)
    sizes = _count_divisions(source, entries, rows_id, needs_files=needs_files, needs_sources=needs_sources)
    known_files.save()
    entries.remove_least_used()
    data = Data(
        encoded=encoded,
        splits=fitted["splits"],
        constants=constants,
        fingerprint=_digest(content + (f" fold {fold}" if fold else "")),
        warnings=tuple(dict.fromkeys((*fitted["left_out"], *fitted["warnings"], *entries.warnings))),
        source_options=fitted["source_options"],
        encoding_id=encoding_id if identity else "",
        left_out=tuple(fitted["left_out"]),
        notes=tuple(fitted["notes"]),
        skipped_rows=fitted.get("skipped_rows"),
        row_numbers=fitted.get("row_numbers"),
        used_rows=used_rows,
        operations=None if (fields := fitted.get("operations")) is None else OperationsSummary.from_plain(fields),
        **sizes,
        source=source,
        network=source.network if isinstance(source, HasFeatures) else None,
    )
    return data if features.examples is None else _make_examples(data, features, entries, f"{rows_id}\n{fold}")


def _make_examples(data: Data, features: Features, entries: EncodedCache, rows_id: str) -> Data:
    """The data whose examples have several rows. Which rows they are is in the cache."""
    examples = features.examples
    assert examples is not None
    with error_location("examples"):

        def find() -> dict[str, Any]:
            assert data.source is not None
            if isinstance(examples, FindsExamples):
                found = find_examples(data.source, examples, data.splits, data.used_rows)
            else:
                drawing = cast(DrawsExamples, examples)
                found = draw_examples(drawing, features.targets, data.constants, data.encoded, data.splits)
            return {"examples": found.examples._asdict(), "numbers": dict(found.numbers)}

        known = entries.load_or_fit(_digest(f"{rows_id}\n{examples!r}"), find, "examples")
        return apply_examples(data, examples, Found(FoundExamples(**known["examples"]), known["numbers"]))


def apply_examples(data: Data, examples: JoinsRows, found: Found) -> Data:
    """The data whose examples have several rows, in place of data in which each row is an example.

    Raises:
        UserError: a split has no example, or an input has lists or files.
    """
    splits = {name: found.examples.rows[number] for name, number in found.numbers.items()}
    for name, rows in splits.items():
        if not len(rows) and isinstance(examples, FindsExamples):
            raise DataError(examples.explain_none(found.examples, found.numbers[name], name))
    left_out = found.describe_left_out(examples)
    digest = hashlib.blake2b(f"{data.encoding_id} {examples!r}".encode(), digest_size=16)
    if found.examples.order is not None:
        digest.update(found.examples.order.tobytes())
    return replace(
        data,
        encoded=view_examples(data.encoded, examples, found.examples),
        splits=splits,
        warnings=(*data.warnings, *left_out),
        left_out=(*data.left_out, *left_out),
        encoding_id=digest.hexdigest() if data.encoding_id else "",
        draws=examples.draws if isinstance(examples, DrawsExamples) else 1,
    )


def _identify_rows(source: Source, content: str, identity: str) -> str:
    """What identifies the rows and how they are encoded, as text.

    Args:
        source: the rows.
        content: the fingerprints of the rows and of the files that columns read.
        identity: the configuration of the source and the columns, as text.
    """
    local_version = source.local_version() if isinstance(source, LocalVersion) else ""
    return f"{VERSION}\n{_digest(content + local_version)}\n{identity}"


def _identify_encoding(
    rows_id: str, columns: Mapping[str, Column], constants: Mapping[str, Constants], used_rows: np.ndarray | None
) -> str:
    """The name of the encoded rows in the cache. Folds with equal constants share it."""
    used_id = "" if used_rows is None else hashlib.blake2b(used_rows.tobytes(), digest_size=16).hexdigest()
    return _digest(f"{rows_id}\n{_digest_constants(columns, constants)}{used_id}")


def _leave_out_bad_rows(source: Source, entries: EncodedCache, rows_id: str) -> Source:
    """The source without the rows that can't be read, if it leaves them out."""
    if not (isinstance(source, FindsBadRows) and source.on_bad_row == "skip"):
        return source
    found = entries.load_or_fit(
        _digest(f"{rows_id}\nbad rows"), lambda: dict(source.find_bad_rows()), "rows that can't be read"
    )
    return source.with_bad_rows(found)


def _count_rows(source: Source, entries: EncodedCache, rows_id: str) -> Source:
    """The source with the number of its rows, if it has to read them to count them."""
    if not isinstance(source, CountsRows):
        return source
    counted = entries.load_or_fit(
        _digest(f"{rows_id}\nsizes"), lambda: {"sizes": dict(source.sizes())}, "number of rows"
    )
    return source.with_sizes(counted["sizes"])


def _encode(
    source: Source,
    features: Features,
    constants: Mapping[str, Constants],
    names: Sequence[str],
    *,
    used_rows: np.ndarray | None,
    check: RowCheck | None,
    workers: Workers,
) -> Iterator[dict[str, dict[str, Encoded]]]:
    """Encodes the rows that are in a split, some rows at a time. Columns that aren't among `names` aren't returned."""
    used, columns = select_used(source, used_rows), used_columns(features)
    given = given_columns(used, columns, constants)
    return encode_pieces(used, columns, constants, names, given=given, check=check, workers=workers)


def _count_divisions(
    source: Source, entries: EncodedCache, rows_id: str, *, needs_files: bool, needs_sources: bool
) -> dict[str, Any]:
    """The number of rows of each file and of each source of mixed ones, where they are needed and known."""
    sizes: dict[str, Any] = {}
    if needs_files and isinstance(source, HasFiles):
        files = source
        sizes |= entries.load_or_fit(
            _digest(f"{rows_id}\nfiles"),
            lambda: {"file_sizes": np.array(files.file_sizes(), np.int64)},
            "number of rows of each file",
        )
    if needs_sources and isinstance(source, HasSources):
        mixed = source
        sizes |= entries.load_or_fit(
            _digest(f"{rows_id}\nsources"),
            lambda: {"source_sizes": dict(mixed.source_sizes())},
            "number of rows of each source",
        )
    return sizes


def find_raw_columns(features: Features) -> RawColumns:
    """The raw columns that a run reads."""
    classified = [target for target in features.targets.values() if isinstance(target, HasClasses)]
    separators = {key: separator for target in classified for key, separator in target.class_separators.items()}
    targets = {target.keys[0] for target in features.targets.values() if target.keys}  # others are beside a mask
    names = raw_keys(used_columns(features) | features.example_columns)
    return RawColumns(frozenset(names), frozenset(targets), separators)


def used_columns(features: Features) -> dict[str, Column]:
    """The columns that the inputs use, directly or not, each after the columns that it reads; then targets, weights."""
    order = encoding_order(features.columns, features.inputs)
    return {name: features.columns[name] for name in order} | features.program_only


def program_column_names(features: Features) -> list[str]:
    """The names of the columns that the program takes: those that the inputs list, the targets, and the weights."""
    names = {name for names in features.inputs.values() for name in names} | features.program_only.keys()
    return [name for name in used_columns(features) if name in names]


def _file_fingerprints(columns: Mapping[str, Column]) -> Iterator[str]:
    """The fingerprints of the files that columns read, such as vocabularies."""
    for name, column in columns.items():
        with column_location(config_key(name)):
            fingerprint = column.fingerprint() if isinstance(column, ReadsFiles) else ""
        if fingerprint:
            yield f" {name} {fingerprint}"


def _split_rows(source: Source, fold: tuple[int, int] | None) -> Mapping[str, RowNumbers]:
    """The row numbers of each split, in little memory: they may have the size of a column."""
    splits, total = dict(source.splits() if fold is None else _fold_splits(source, *fold)), sum(source.sizes().values())
    return {split: compact_rows(splits.pop(split), total) for split in [*splits]}


def _fold_splits(source: Source, folds: int, fold: int) -> Mapping[str, RowNumbers]:
    if not isinstance(source, Foldable):
        name = type(source).__name__
        raise UserError(
            f"folds={folds}: {name} does not support cross-validation. "
            "A source supports it with the method `folds` of components.types.Foldable."
        )
    return source.folds(folds, fold)


def _describe_rows(source: Source) -> str:
    """The name of a source and the number of its rows."""
    block = first_block(source) or first_block(getattr(source, "source", source))  # operations may leave no row
    return f"{type(source).__name__ if block is None else block.origin}, {sum(source.sizes().values()):,} rows"


def _fit_columns(
    source: Source, features: Features, splits: Mapping[str, RowNumbers], hashes: RowHashes, workers: Workers
) -> dict[str, Any]:
    """Fits the columns on the training split, and hashes the rows.

    Returns:
        The splits, the constants of the columns, the options that the source inferred, warnings, sentences about rows
        that are left out, and, if there are such rows, the numbers of the others, and those that are in a split.
    """
    columns = used_columns(features)
    if empty := [name for name, rows in splits.items() if len(rows) == 0]:
        raise DataError(f"the {empty[0]} split is empty")
    used_rows = find_used_rows(splits, sum(source.sizes().values()))
    used = select_used(source, used_rows)
    if used_rows is not None:
        total = len(used_rows)
        splits = {split: compact_rows(np.searchsorted(used_rows, rows), total) for split, rows in splits.items()}
    _, block = next(blocks_with_offsets(used))
    check_keys(columns | features.example_columns, block)
    if hasattr(source, "on_missing_target"):
        _check_targets(used, features.targets)
    others = {name: columns.pop(name) for name in features.program_only}  # never fitted on a sample
    # A target needs its statistics of every split, to warn of classes that a split lacks.
    requests = {split: StatisticsRequest(others, rows) for split, rows in splits.items()}
    requests[ALL_COLUMNS] = StatisticsRequest(columns, _sample_rows(splits["train"], features.sample))
    all_columns: dict[str, Column] = columns | others
    has_windows = isinstance(features.examples, FindsExamples)  # rows of a series are alike, its windows aren't
    compares_splits = len(splits) > 1 and not has_windows
    is_hashed = hashes.inputs and (compares_splits or hashes.remedy is not None)
    hashed = {ROW: cast(Column, hashes)} if is_hashed else {}
    warnings: list[str] = []
    constants: dict[str, Constants] = {}
    row_hashes: np.ndarray | None = None
    groups = group_by_pass(all_columns)
    # The rows are hashed in the first pass that is needed anyway.
    first_pass = next((number for number, group in enumerate(groups) if has_statistics(group)), 0)
    for number, group in enumerate(groups):
        group_requests = {name: request.select(group) for name, request in requests.items()}
        if hashed and number == first_pass:
            group_requests[ROW] = StatisticsRequest(hashed, None)
        results = compute_statistics(used, group_requests, all_columns | hashed, constants, workers=workers)
        if hashed and number == first_pass:
            found: Hashes = results.pop(ROW)[ROW]["hashes"]
            if compares_splits:
                warnings += describe_duplicates(used, splits, found)
            row_hashes = found.rows
            del found  # hashes have the size of several columns
        for name, target in features.targets.items():
            if (own_name := target_column(name)) in group:
                sentences = target.validate_splits({split: results[split][own_name] for split in splits})
                warnings += [locate_settings(sentence, config_key(own_name)) for sentence in sentences]
        for name, column in group.items():
            parents = {key: constants[key] for key in parent_keys(all_columns, name)}
            own_results = results[ALL_COLUMNS if name in columns else "train"][name]
            own_results[TRAINING_ROWS] = len(splits["train"])
            with column_location(config_key(name)):
                constants[name] = _with_arrays(column.fit(own_results, parents))
    warnings += describe_given_parts(used, columns, constants, workers)
    fields = {name: constant._asdict() for name, constant in constants.items()}
    source_options: Mapping[str, Any] = {}
    if isinstance(source, InfersTypes):
        keys = _find_key_types(all_columns | features.example_columns)
        source_options, notes = source.inferred_options(keys), source.reading_notes(keys, declared=False)
        warnings += notes
    fitted: dict[str, Any] = {
        "splits": dict(splits),
        "constants": fields,
        "source_options": dict(source_options),
        "warnings": tuple(warnings),
        "left_out": (),
        "notes": source.notes() if isinstance(source, HasNotes) else (),
        "skipped_rows": None,
    }
    if row_hashes is not None:
        fitted["row_hashes"] = row_hashes
    if isinstance(source, SummarizesOperations):
        fitted["operations"] = tuple(source.summarize_operations())
    if isinstance(source, LeavesOut):
        fitted |= {"left_out": source.left_out(), "skipped_rows": source.skipped_rows()}
        if (row_numbers := source.row_numbers()) is not None:
            fitted["row_numbers"] = row_numbers
    if used_rows is not None:
        total = sum(source.sizes().values())
        sentence = f"{total - len(used_rows):,} of {total:,} rows are in no split"
        numbers = fitted.get("row_numbers")
        fitted |= {
            "left_out": (*fitted["left_out"], sentence),
            "row_numbers": used_rows if numbers is None else numbers[used_rows],
            "used_rows": used_rows,
        }
    return fitted


def _choose_hashes(source: Source, features: Features) -> RowHashes:
    """The hashes that compare rows of two splits, and, if a later pass may yield others, those of two passes."""
    columns = {name: column for name, column in used_columns(features).items() if is_input_column(name)}
    inputs = raw_keys(columns)
    targets = raw_keys({target_column(name): target for name, target in features.targets.items()}) - inputs
    remedy = source.changed_rows_remedy if isinstance(source, CountsRows) else None
    weights = set[str]() if remedy is None else raw_keys(features.program_only) - inputs - targets
    return RowHashes(tuple(sorted(inputs)), tuple(sorted(targets)), tuple(sorted(weights)), remedy)


def _find_key_types(columns: Mapping[str, Column]) -> dict[str, Literal["int", "float"] | None]:
    """The raw columns that columns read, and as what: numbers (float), or categories (int). None: it isn't known."""
    found: dict[str, set[Literal["int", "float"] | None]] = {}
    for name, column in columns.items():
        parents = parent_keys(columns, name)
        types = column.key_types if isinstance(column, KeyTypes) else {}
        for key in column.keys:
            found.setdefault(key, set()).update([] if key in parents else [types.get(key)])
    return {
        key: None if None in types else "int" if "int" in types else next(iter(types), None)
        for key, types in found.items()
    }


def _check_targets(source: Source, targets: Mapping[str, Target]) -> None:
    """Raises DataError for rows without a target, unless the target allows them. Says how to leave them out."""
    for name, target in targets.items():
        if getattr(target, "missing", None) is not None:
            continue
        for key in target.keys:
            masks = [(block, block.valid[key]) for _, block in blocks_with_offsets(source) if key in block.valid]
            count = sum(int((~mask).sum()) for _, mask in masks)
            if count:
                block, mask = next((block, mask) for block, mask in masks if not mask.all())
                location = f"{block.locate(int(np.argmin(mask)))}: column `{key}`"
                rows = "1 row" if count == 1 else f"{count:,} rows"
                raise DataError(
                    f"{location} has no value, as in {rows}, and {config_key(target_column(name))} needs one. To leave "
                    f"these rows out, set data.target={key} data.on_missing_target=drop. To keep them for other "
                    "targets, set `missing: mask` of this one"
                )


def _check_image_targets(features: Features, columns: Mapping[str, Column], constants: Mapping[str, Constants]) -> None:
    """Raises UserError if inputs are cropped at random beside a target of pixels, which isn't cropped with them."""
    cropped = [name for name, column in columns.items() if isinstance(column, DecodesRows) and column.is_random]
    if not cropped:
        return
    if images := [name for name, spec in features.bind_targets(constants).items() if spec.is_image]:
        raise UserError(
            f"{config_key(cropped[0])}: `crop_area` crops the image at random, but not the "
            f"{config_key(target_column(images[0]))}, which is an image too. Set `crop_area` to null; "
            "augmentation=[crop,flip] changes both"
        )


def _sample_rows(rows: RowNumbers, count: int | None) -> RowNumbers:
    """A random sample of the rows, which is always the same. None, or more than there are: all rows."""
    if count is None or count >= len(rows):
        return rows
    return np.sort(shuffle_rows(np.asarray(rows), count)[:count])


def _with_arrays(constants: Constants) -> Constants:
    """Constants with arrays in place of NumPy's scalars, which the cache can't save."""
    host, device, init_only, new_rows = (
        {key: np.asarray(value) for key, value in values.items()}
        for values in (constants.host, constants.device, constants.init_only, constants.new_rows)
    )
    return Constants(host, device, constants.static, init_only, new_rows)


def _digest_constants(columns: Mapping[str, Column], constants: Mapping[str, Constants]) -> str:
    """A digest of all constants that encoding depends on."""
    digest = hashlib.blake2b(digest_size=16)
    read = {parent for name in columns for parent in parent_keys(columns, name)}
    for name, constant in constants.items():
        digest.update(f"{name} {sorted(constant.static.items())}".encode())
        # What other columns read of a column depends on all of its constants.
        for key, array in {**constant.host, **(constant.device if name in read else {})}.items():
            digest.update(f"{key} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
