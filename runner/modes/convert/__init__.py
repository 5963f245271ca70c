"""`mode=convert`: writes the rows of any source as CSV, Parquet or TFRecord files, or as folders of images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from components.closest import join_names, suggest_name
from components.data.writing.reading import (
    EMPTY,
    GAP,
    IMAGE,
    SOME,
    find_reading_options,
    is_float64,
    list_folder_columns,
)
from components.data.writing.rows import list_columns
from components.types import CountsRows, FindsBadRows, HasNotes, LeavesOut, SkipsRows, Source, UserError
from runner.config.provenance import Problems
from runner.data.encode import first_block
from runner.display.work import show_work
from runner.errors import error_location, located_settings
from runner.modes.convert.manifest import Manifest, Written, lock_folder, open_manifest
from runner.modes.convert.plan import Plan, check_not_its_own_data, make_plan
from runner.modes.convert.writing import Conversion, describe, merge_flags
from runner.override_text import format_override, quote_for_shell, quote_name
from runner.signature.build import build_source
from runner.signature.operations import build_operations, explain_computed_columns, operate, separate_options
from runner.terminal import print_line

if TYPE_CHECKING:
    import pyarrow

    from runner.config.config import Config

PLAIN_PATH = re.compile(r"[\w./-]+")
DEFAULT_KEYS = (("feature.columns.image.key", "image"), ("feature.target.key", "label"))  # of feature=image


def command(config: Config) -> int:
    """Writes the rows, and prints what was written and how it is read. Returns the exit code.

    Raises:
        UserError: the settings contradict each other, there are other files, or the format can't hold a column.
        RunError: the disk is full.
    """
    plan: Plan | None = None
    source: Source | None = None
    problems = Problems(config)
    with problems.collect():
        plan = make_plan(config.values["output"], config.values["convert"])
    with problems.collect(), error_location("data"):
        columns = config.values["output"]["columns"]
        operations = build_operations(config.values["operations"])
        node, options = separate_options(config.values["data"], operations)
        opened = _open_source(node, None if operations else columns)
        source = operate(opened, operations, **options)
        if columns is not None and operations and isinstance(source, SkipsRows):
            source = source.with_used_columns(columns)
        source.fingerprint()  # raises for a missing file
    problems.raise_all()
    assert plan is not None
    assert source is not None
    quiet = config.values["quiet"]
    with located_settings("data"), explain_computed_columns(config.values["data"], operations):
        check_not_its_own_data(plan.path, opened)
        _check_columns(source, plan.columns or ())
        rows = _select_rows(source, plan)
        computed = {name for operation in operations for name in operation.columns_computed or ()}
        zoned = {*opened.times_with_zone()} - computed if hasattr(opened, "times_with_zone") else ()
    order = np.random.default_rng(config.values["seed"]).permutation(len(rows)) if plan.shuffle else None
    name = str(config.values["output"]["path"])
    conversion = Conversion(source, rows, order, zoned, plan)
    work = show_work(name, len(rows), unit="rows", quiet=quiet)
    with _explain_stop(conversion, name), located_settings("convert"), work as conversion.report:
        _check_folders(conversion, name)
        written = _write(conversion, config)
    if not quiet:
        left_out = source.left_out() if isinstance(source, LeavesOut) else ()
        notes = source.notes() if isinstance(source, HasNotes) else ()
        for note in (*left_out, *notes, *_list_notes(conversion, written)):
            print_line(f"note: {note}")
        print_line(f"{name}: {describe(written)}")
        print_line(f"Read it with: {' '.join(_list_words(conversion, written, config))}")
    return 0


@contextmanager
def _explain_stop(conversion: Conversion, name: str) -> Iterator[None]:
    """Says what is there when the user stops the command."""
    try:
        yield
    except KeyboardInterrupt:
        kept, aim = "no rows are kept", "start from the first row"
        if conversion.rows_kept:
            kept = f"{conversion.rows_kept:,} of {len(conversion.rows):,} rows are kept, in complete files"
            aim = "continue with the missing files"
        print_line(f"{name}: stopped; {kept}. Write the same command again to {aim}.", error=True)
        raise


def _open_source(data: Mapping[str, Any], columns: Sequence[str] | None) -> Source:
    """The source, without rows that can't be read, if they are skipped. Other columns than the given make none bad."""
    source: Source = build_source(data)
    if columns is not None and isinstance(source, SkipsRows):
        source = source.with_used_columns(columns)
    if isinstance(source, FindsBadRows) and source.on_bad_row == "skip":
        source = source.with_bad_rows(dict(source.find_bad_rows()))
    if isinstance(source, CountsRows):
        source = source.with_sizes(dict(source.sizes()))
    return source


def _check_columns(source: Source, names: Sequence[str]) -> None:
    """Raises UserError if the data has no column of a name."""
    block = first_block(source) if names else None
    columns = [] if block is None else [*block.columns]
    if block is not None and (unknown := [name for name in names if name not in columns]):
        raise UserError(f"output.columns: there is no column `{unknown[0]}`. {suggest_name(unknown[0], columns)}")


def _select_rows(source: Source, plan: Plan) -> np.ndarray:
    """The numbers of the rows to write. Raises UserError if there are none, or fewer than files."""
    if plan.splits is None:
        rows = np.arange(sum(source.sizes().values()))
    else:
        splits = source.splits()
        rows = np.sort(np.concatenate([splits[name] for name in dict.fromkeys(plan.splits)]))
    if not len(rows):
        raise UserError(f"convert.split={','.join(plan.splits or ())}: there are no rows. Choose other rows.")
    if plan.shards is not None and plan.shards > len(rows):
        raise UserError(f"convert.shards={plan.shards} is more than the {len(rows):,} rows. Choose fewer.")
    return rows


def _check_folders(conversion: Conversion, name: str) -> None:
    """Raises UserError if a folder of the output names a column of the rows, so that no table could be read there."""
    plan = conversion.plan
    path = plan.path.absolute()
    folders = list_folder_columns(path if plan.shards is None else path / "shard")
    if plan.kind != "images" and (both := [each for each in folders if each in conversion.read_schema().names]):
        raise UserError(
            f"output={name} is in a folder named {both[0]}=…, which would be a column, and the rows have a column "
            f"{both[0]}. Choose another folder, or set output.columns to the other columns."
        )


def _write(conversion: Conversion, config: Config) -> dict[str, Written]:
    """Writes the files. Returns what was written, by name."""
    plan, name = conversion.plan, str(config.values["output"]["path"])
    if plan.kind == "images":
        if plan.path.is_dir() and any(plan.path.iterdir()):
            raise UserError(f"output={name} exists already. Choose another name, or remove the folder.")
        image, label = _find_image_columns(conversion, config)
        return {plan.path.name: conversion.write_images(image, label)}
    if plan.shards is None:
        return {plan.path.name: conversion.write_file()}
    settings = {
        "data": conversion.source.fingerprint(),
        "convert.format": plan.kind,
        "convert.shards": plan.shards,
        "convert.compression": plan.compression,
        "convert.float64": plan.options.float64,
        "convert.tensors": plan.options.tensors,
        "convert.records": "raw" if plan.options.raw else "example",
        "convert.split": None if plan.splits is None else [*plan.splits],
        "convert.shuffle": plan.shuffle,
        **({} if plan.columns is None else {"output.columns": [*plan.columns]}),
        **({"seed": config.values["seed"]} if plan.shuffle else {}),
    }
    with lock_folder(plan.path, name):
        new = Manifest(settings, len(conversion.rows))
        manifest = open_manifest(plan.path, name, new, overwrite=plan.overwrite)
        if (count := len(manifest.shards)) and not config.values["quiet"]:
            print_line(f"{name}: {count} of {plan.shards} files are there already")
        conversion.write_shards(manifest)
    return {shard: manifest.shards[shard] for shard in sorted(manifest.shards)}


def _find_image_columns(conversion: Conversion, config: Config) -> tuple[str, str]:
    """The columns of images and of classes. Raises UserError if they aren't clear."""
    schema = conversion.read_schema()
    images = list_columns(schema)
    if len(images) != 1:
        found = "no column of images" if not images else f"several columns of images: {', '.join(images)}"
        remedy = "Choose another convert.format." if not images else "Set output.columns to one of them and the class."
        raise UserError(f"convert.format=images: the data has {found}. {remedy}")
    others = [name for name in schema.names if name not in images]
    feature = config.values["feature"].get("target")
    key = feature.get("key") if isinstance(feature, dict) else None
    target = config.values["data"].get("target") or (key if key in others or len(others) != 1 else others[0])
    if isinstance(target, str) and target in others:
        return images[0], target
    if others and target in (None, key):
        listed = f"[{images[0]},CLASS]"
        raise UserError(
            f"convert.format=images needs a column of classes, which isn't clear. Set output.columns={listed}, where "
            f"CLASS is one of {join_names(others)}."
        )
    hint = suggest_name(str(target), others) if others else "The data has no other column."
    raise UserError(f"convert.format=images needs a column of classes, and {target} is none. {hint}")


def _list_notes(conversion: Conversion, written: Mapping[str, Written]) -> Iterator[str]:
    """Sentences about what the files don't have."""
    import pyarrow

    schema, kind, flags = conversion.read_schema(), conversion.plan.kind, merge_flags(written)
    if kind == "images":
        return
    if kind == "tfrecord" and conversion.plan.options.raw:
        reader = "Image" if pyarrow.types.is_large_binary(schema.field(0).type) else "Vocabulary or Tokens"
        yield (
            f"the records are the values of {schema.names[0]}. They are the column record, which a feature file reads, "
            f"such as by components.feature.{reader}: add feature=NAME to the printed command"
        )
        return
    options = conversion.plan.options
    doubles = [
        field.name
        for field in schema
        if is_float64(field.type) and not (pyarrow.types.is_nested(field.type) and options.tensors)
    ]
    if (rounding := options.float64) and not doubles:
        yield f"convert.float64={rounding} changes nothing: no column has numbers of float64"
    if options.tensors and not any(pyarrow.types.is_nested(field.type) for field in schema):
        yield "convert.tensors=true changes nothing: it serializes arrays and lists as tensors, and no column has any"
    if doubles and rounding == "round":
        yield f"the numbers of {', '.join(doubles)} are written as float32"
    both = [name for name, own in flags.items() if {EMPTY, GAP} <= own]
    if kind == "csv" and both:
        yield f"empty texts and gaps of {', '.join(both)} are the same in CSV files, empty fields"
    if kind == "tfrecord" and (empty := [name for name in schema.names if SOME not in flags.get(name, ())]):
        yield f"no row has a value of {', '.join(empty)}, so that TFRecord files don't have it"


def _find_image_keys(schema: pyarrow.Schema, flags: Mapping[str, Collection[str]], target: Any) -> dict[str, str]:
    """The keys of `feature=image` with the columns of images and of their classes, if there is nothing else to read."""
    import pyarrow

    images = [name for name in list_columns(schema) if IMAGE in flags.get(name, ())]
    others = [name for name in schema.names if name not in images]
    if len(images) != 1 or (len(others) > 1 and (target or images != ["image"])):
        return {}
    target = target or ("label" if "label" in others else others[0] if len(others) == 1 else None)
    is_class = target in others and not pyarrow.types.is_floating(schema.field(target).type)
    return {"feature.columns.image.key": images[0], "feature.target.key": target} if is_class else {}


def _list_words(conversion: Conversion, written: Mapping[str, Written], config: Config) -> Iterator[str]:
    """The words of a command that reads the files."""
    plan = conversion.plan
    yield "titrate"
    yield "data=images" if plan.kind == "images" else "data=table"
    path = str(plan.path)
    yield f"data.path={path}" if PLAIN_PATH.fullmatch(path) else format_override("data.path", path)
    if plan.kind == "images":
        return
    schema, target = conversion.read_schema(), config.values["data"].get("target")
    if isinstance(target, list | tuple):
        target = [str(name) for name in target if str(name) in schema.names]
    elif target is not None:
        target = str(target) if str(target) in schema.names else None
    flags = merge_flags(written)
    if (keys := _find_image_keys(schema, flags, target)) and not plan.options.raw:
        yield "feature=image"
        yield from (format_override(key, name) for key, name in keys.items() if (key, name) not in DEFAULT_KEYS)
    elif target and not plan.options.raw:
        yield format_override("data.target", target)
    options = find_reading_options(schema, flags, plan.kind, plan.options)
    for option, value in options.items():
        if not isinstance(value, dict):
            yield format_override(f"data.{option}", value)
            continue
        for column, item in value.items():
            if (quoted := quote_name(column)) is None:
                continue
            key = f"data.{option}.{quoted}"
            if isinstance(item, str):
                yield format_override(key, item)
            elif option == "shapes":
                yield quote_for_shell(f"{key}=[{','.join('null' if each is None else str(each) for each in item)}]")
            else:
                yield format_override(key, item)
