"""Makes a suggestion from the profile of a table: the target, the feature columns, the options and the sizes.

A suggestion is a dictionary of plain values with the keys of `Suggestion`, since it is cached as JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from components.closest import format_name
from components.types import (
    ColumnProfile,
    ColumnType,
    DataError,
    Foldable,
    ImageProfile,
    InfersTypes,
    Source,
    TableProfile,
    UserError,
)
from components.types.splits import SPLIT_OPTIONS
from runner.suggest.column_plan import ColumnPlan, is_allowed_name, make_feature_column, make_identifier, plan_column
from runner.suggest.images import plan_image, suggest_network
from runner.suggest.messages import (
    describe_problem,
    describe_reading,
    format_name_override,
    format_row_count,
    list_spellings,
)
from runner.suggest.summary import is_unusual, summarize_kinds
from runner.suggest.targets import SPLIT_COUNT, describe_unread, find_targets, list_quoted, name_targets, plan_targets

MAX_COLUMNS = 10_000
MAX_SEPARATE_COLUMNS = 100  # with more feature columns, those of numbers with the same parameters are one
MAX_FEATURE_COLUMNS = 2_000
COMPILE_SECONDS = 0.07  # for an embedding, in all programs of a run, on a CPU
MIN_NOTED_SECONDS = 20
TRAINING_STEPS = 10_000  # the approximate length of the suggested training
SPLIT_KEYS = ("split_column", "split_hash", "group")  # options of columns that aren't features, but keys
HEADING = ("column", "type", "missing", "distinct", "becomes")


def suggest(
    source: Any, folds: int | None = None, missing: Mapping[str, str] | None = None, *, has_forecasts: bool = False
) -> dict[str, Any]:
    """Makes the suggestion for a source that is a table.

    Args:
        source: the table.
        folds: the number of folds of a cross-validation. None: there is none.
        missing: `missing` of the targets, as far as the user sets it, by name; that of the only target is `target`.
        has_forecasts: whether targets follow the inputs in time, so that the past of a target is an input.

    Raises:
        DataError: a target is missing or can't be predicted, or all other columns are left out.
    """
    table: TableProfile = source.profile()
    if (count := len(table.columns)) > MAX_COLUMNS:
        raise DataError(
            f"{table.origin} has {count:,} columns, too many for a suggestion. At most {MAX_COLUMNS:,} are allowed. "
            "Write a feature file with the columns to use, and choose it by feature=…"
        )
    columns = {column.name: column for column in table.columns}
    images = {image.name: image for image in table.images}
    targets = find_targets(table, [*columns, *images])
    unreadable = [column for column in table.columns if column.problem is not None]
    if problems := [describe_problem(column, is_only_target=targets == (column.name,)) for column in unreadable]:
        raise DataError("\n".join([f"{table.origin}: decide how these columns are read.", *problems]))
    image = next((image for name, image in images.items() if name not in targets), None)
    nulls = getattr(source, "nulls", None)
    target_plans, options = plan_targets(
        targets, columns, images, image, table.origin, missing or {}, nulls=nulls, computed=table.computed
    )
    has_masks = not columns.keys() >= {*targets}
    if (deciding := _find_split_option(source)) is not None:
        if options["values"].pop("data", None):
            options["notes"].append(f"{deciding}, so the splits aren't stratified.")
    elif (stratified := options["values"].get("data", {}).get("stratify")) in table.computed:
        del options["values"]["data"]
        options["notes"].append(
            f"the rows are split before an operation computes {format_name(stratified)}, so the splits aren't "
            "stratified"
        )
    elif (time := _find_time(columns.values(), {*targets, *table.computed})) and not isinstance(
        getattr(source, "test", None), str | tuple
    ):
        options["notes"].append(
            f"{format_name(time)} has dates, and the rows are split at random. To test on the latest rows, set "
            f"{format_name_override('data.split_by', time)}"
        )
    rows = sum(source.sizes().values())
    keys = {getattr(source, option, None): option for option in SPLIT_KEYS}
    remedy = _find_image_remedy(source, table)
    others = {name: _plan_other(column, keys, remedy) for name, column in columns.items() if name not in targets}
    used = {name: plan for name, plan in others.items() if plan.feature_columns}
    if has_forecasts:
        for name in filter(columns.__contains__, targets):
            if (past := plan_column(columns[name], remedy)).feature_columns:
                used[name] = past
                plan = target_plans[name]
                target_plans[name] = plan._replace(description=f"{plan.description}; its past is an input")
    if not used and image is None:  # a number of the row is better than nothing
        others = {name: _plan_other(columns[name], keys, remedy, keep_counter=bool(name.strip())) for name in others}
        used = {name: plan for name, plan in others.items() if plan.feature_columns}
    readings = [describe_reading(column) for column in table.columns if column.reading and column.reading.description]
    if not used and image is None:
        reasons = [f"{format_name(name)}: {plan.description}" for name, plan in others.items()]
        reasons = [*(reasons or ["all columns are targets; leave one out"]), *readings]
        listed = f"the target{'s' if len(targets) > 1 else ''} {list_quoted(targets)}"
        missing_columns = f"{table.origin} has no feature column for {listed}: {'; '.join(reasons)}"
        raise DataError("\n".join([missing_columns, *describe_unread(table, targets[0])]))
    if has_masks:
        others = {name: _leave_out_beside_masks(plan) for name, plan in others.items()}
        used = {}
    plans = {name: target_plans[name] if name in targets else others[name] for name in columns}
    raw = columns.keys() | images.keys()
    image_plans = {name: _plan_image(each, image, target_plans, raw) for name, each in images.items()}
    types = {name: plan.kind or columns[name].kind for name, plan in plans.items() if plan.feature_columns}
    if getattr(source, "on_bad_row", "error") == "skip":
        types |= _find_types_left_out(plans, columns)
    types = _select_declared(types, table)
    train_rows = _count_training_rows(source, table.origin, folds)
    left_out = {name: plan for name, plan in (image_plans | others).items() if not plan.feature_columns}
    notes = [f"{format_name(name)} is {plan.description}" for name, plan in left_out.items()]
    notes += [f"{format_name(name)} {note}" for name, plan in (image_plans | plans).items() for note in plan.notes]
    first_notes = list[str]()
    if image is None:
        choices = {"architecture": "mlp", "optimizer": "adamw", "schedule": "cosine"}
        values = _suggest_sizes(train_rows, has_texts=any(plan.has_tokens for plan in used.values()))
    else:
        choices, values, note = suggest_network(
            image, image_plans[image.name], train_rows, has_columns=bool(used), is_mask=has_masks
        )
        (first_target, *_), label = targets, make_feature_column("Label")["_target_"]
        is_class = len(targets) == 1 and target_plans[first_target].feature_columns[0]["_target_"] == label
        classes = f" of {columns[first_target].distinct_count} classes" if is_class else ""
        first_notes, notes = [f"{rows - image.missing_count:,} images{classes}"], [*notes, note]
        if used:
            notes.append(
                "The network sees the images and the other columns. To leave columns out, list them in data.drop"
            )
        used = {image.name: image_plans[image.name]} | used
    values = options["values"] | values
    if isinstance(source, InfersTypes):
        values["data"] = values.get("data", {}) | {"types": types} | _collect_options(table, types)
    feature_columns = {name: plan.feature_columns for name, plan in used.items()}
    feature = _name_feature_columns(feature_columns, raw, () if image is None else (image.name,))
    if (count := len(feature["columns"])) > MAX_FEATURE_COLUMNS:
        raise DataError(
            f"{table.origin} gives {count:,} feature columns, such as categories and times, too many to compile the "
            f"program for them. At most {MAX_FEATURE_COLUMNS:,} are allowed; numbers scaled alike count as one. "
            "Leave columns out by data.drop=[…], or write a feature file with the columns to use, and choose it by "
            "feature=…"
        )
    # Other columns of a kind are computed as one array, so many of them are compiled as fast as one.
    target = make_feature_column("Embedding")["_target_"]
    embeddings = sum(node["_target_"] == target for node in feature["columns"].values())
    if (seconds := embeddings * COMPILE_SECONDS) > MIN_NOTED_SECONDS:
        notes.append(
            f"{embeddings:,} embeddings of columns with many values: compiling the program takes about "
            f"{seconds:.0f} s. data.drop leaves columns out"
        )
    return {
        "origin": table.origin,
        "choices": options["choices"] | choices,
        "feature": {
            **name_targets(target_plans, raw),
            **feature,
        },
        "values": values,
        "summary": summarize_kinds({name: columns[name] for name in others}, others),
        "unusual": [
            *range(len(images)),
            *(
                position
                for position, (name, plan) in enumerate(plans.items(), len(images))
                if name in targets or is_unusual(columns[name], plan)
            ),
        ],
        "table": [
            HEADING,
            *(
                (format_name(name), "image", _format_count(images[name].missing_count), "", _describe_plan(plan))
                for name, plan in image_plans.items()
            ),
            *(_describe_column(columns[name], plan) for name, plan in plans.items()),
        ],
        "notes": [*table.notes, *first_notes, *options["notes"], *readings, *notes],
    }


def _plan_image(
    column: ImageProfile, image: ImageProfile | None, target_plans: Mapping[str, ColumnPlan], raw: set[str]
) -> ColumnPlan:
    """Plans a column of images.

    Args:
        column: its profile.
        image: the column of images that is used.
        target_plans: the plans of the targets by column.
        raw: the names of all raw columns.
    """
    if column.name in target_plans:
        return target_plans[column.name]
    if column is not image:
        return ColumnPlan("left out: one column of images is used; for several, write a feature file")
    name = make_identifier(column.name, (raw - {column.name}) | {"target"})
    has_masks = any(plan.feature_columns[0].get("image") for plan in target_plans.values())
    return plan_image(column, name, has_masks=has_masks)


def _leave_out_beside_masks(plan: ColumnPlan) -> ColumnPlan:
    reason = "left out: the network that predicts masks sees images only"
    return ColumnPlan(reason) if plan.feature_columns else plan


def _find_split_option(source: Any) -> str | None:
    """Says which option of a source decides how rows are split, so that classes can't. None: the split is random."""
    if getattr(source, "seed", 0) is None:
        return "data.seed=null holds out the last rows"
    options = {name: getattr(source, name, None) for name in (*SPLIT_KEYS, "split_by")}
    for name, value in options.items():
        if value is not None:
            return f"data.{name}={value} decides where rows go"
    sources: Mapping[str, Any] = getattr(source, "sources", {})  # each is split by its own options
    for name, each in sources.items():
        if getattr(each, "seed", 0) is None:
            return f"data.sources.{name}.seed=null holds out the last rows"
        for option in ("valid", "test", "stratify", *SPLIT_OPTIONS):
            if (value := getattr(each, option, None)) is not None:
                return f"data.sources.{name}.{option}={value} decides where rows go"
    has_own_parts = len({frozenset(each.sizes()) for each in sources.values()}) > 1
    return "the sources have different parts" if has_own_parts else None


def _find_time(columns: Iterable[ColumnProfile], targets: Collection[str]) -> str | None:
    """The first column by which the rows can be split by time: one of several dates, without gaps."""
    times = (column for column in columns if column.kind == "timestamp" and column.name not in targets)
    # The times of a single day are often those of any day, such as 10:30 AM.
    dates = (column for column in times if not column.missing_count and {*column.time_parts} - {"hour"})
    return next((column.name for column in dates), None)


def _plan_other(
    column: ColumnProfile, keys: Mapping[str | None, str], image_remedy: str, *, keep_counter: bool = False
) -> ColumnPlan:
    """Plans a column that is not the target. Those of `keys` only decide how rows are split."""
    if column.name in keys:
        return ColumnPlan(f"left out: data.{keys[column.name]} names it")
    return plan_column(column, image_remedy, keep_counter=keep_counter)


def _find_image_remedy(source: Any, table: TableProfile) -> str:
    """The `image_remedy` of `plan_column` for the columns of a source."""
    if table.images:
        return ""
    if isinstance(getattr(source, "path", None), str | tuple):
        return ". To use the images, write data=image_table instead of data=csv"
    return ". To use the images, write the table into a CSV file, and set data=image_table data.path=FILE"


def _find_types_left_out(
    plans: Mapping[str, ColumnPlan], columns: Mapping[str, ColumnProfile]
) -> dict[str, ColumnType]:
    """The types of columns that are left out. With them, a run skips the rows that the suggestion has skipped."""
    left_out = [name for name, plan in plans.items() if not plan.feature_columns]
    named = [name for name in left_out if name.strip() and is_allowed_name(name)]
    return {name: columns[name].kind for name in named if columns[name].kind != "string"}


def _select_declared(types: Mapping[str, ColumnType], table: TableProfile) -> dict[str, ColumnType]:
    """The types of the columns of the source, which operations read as they are. Whole numbers stay whole for them."""
    kinds = {column.name: column.kind for column in table.columns}
    read = {name: kinds[name] for name in types if name in table.operands}
    declared = {**types, **read}
    return {
        name: kind
        for name, kind in declared.items()
        if name not in table.computed and not (name in read and kind == "int")
    }


def _collect_options(table: TableProfile, declared: Collection[str]) -> dict[str, Any]:
    """The options of the source that were inferred, so that it reads other rows in the same way.

    Args:
        table: the table.
        declared: the columns whose types are declared.
    """
    options: dict[str, Any] = dict(table.options)
    for column in table.columns:
        if column.reading is not None and column.name in declared:
            for option, value in column.reading.options.items():
                options.setdefault(option, {})[column.name] = value
    return options


def _count_training_rows(source: Source, origin: str, folds: int | None) -> int:
    """The number of rows of the training split, or of the smallest one of a cross-validation."""
    try:
        count = len(source.splits()["train"])
    except DataError as error:
        if any(getattr(source, option, None) is not None for option in ("stratify", *SPLIT_OPTIONS)):
            raise  # the options may be wrong, and not the number of rows
        rows = next(iter(source.sizes().values()))  # of the table; the files of other splits follow
        sizes = [size for part in ("valid", "test") if isinstance(size := getattr(source, part, None), int | float)]
        if sizes and (max(sizes) >= 1 or sum(sizes) >= 1):  # they are too large for any table, or for this one
            raise DataError(f"{origin} has {format_row_count(rows)}: {error}") from error
        hint = "" if rows < SPLIT_COUNT else ", or set data.valid=1 data.test=1"
        raise DataError(f"{origin} has {format_row_count(rows)}: {error}. Add rows{hint}") from error
    if folds is None or not isinstance(source, Foldable):
        return count
    try:
        return min(len(source.folds(folds, fold)["train"]) for fold in range(folds))
    except UserError:  # a run reports it
        return count


def _name_feature_columns(
    plans: Mapping[str, tuple[dict[str, Any], ...]], raw: set[str], images: Collection[str] = ()
) -> dict[str, Any]:
    """Names the feature columns, and lists the last one of each raw column in an input.

    Args:
        plans: the feature columns of each raw column. Each one reads the one before it.
        raw: the names of all raw columns. A feature column may only have the name of the raw column that it reads.
        images: the raw columns of the input `image`; the others are in the input `columns`.
    """
    columns: dict[str, dict[str, Any]] = {}
    taken, inputs = raw | {"target"}, dict[str, list[str]]()
    for raw_name, (first, *others) in plans.items():
        taken -= {raw_name} - {"target"}  # its own feature column may have its name
        base = name = make_identifier(raw_name, taken)
        taken |= {raw_name, name}
        columns[name] = first
        for column in others:
            suffix = "embedding" if column["_target_"] == "components.feature.Embedding" else "ids"
            key, name = name, make_identifier(f"{base}_{suffix}", taken)
            taken.add(name)
            columns[name] = {"_target_": column["_target_"], "key": key, **column}
        inputs.setdefault("image" if raw_name in images else "columns", []).append(name)
    if len(columns) > MAX_SEPARATE_COLUMNS:
        columns, inputs["columns"] = _join_numbers(columns, inputs["columns"], taken)
    return {"columns": columns, "inputs": inputs}


def _join_numbers(
    columns: Mapping[str, dict[str, Any]], names: Iterable[str], taken: Collection[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Joins columns of numbers with the same parameters, whose `key` then lists the raw columns.

    The feature file is shorter then, and the numbers are fitted and encoded faster.

    Args:
        columns: the feature columns.
        names: the names of those of the input.
        taken: names that are taken.

    Returns:
        The feature columns, and the names of those of the input.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        column = columns[name]
        is_number = column["_target_"] == make_feature_column("Numeric")["_target_"]
        parameters = {key: value for key, value in column.items() if key != "key"}
        groups.setdefault(json.dumps(parameters, sort_keys=True) if is_number else name, []).append(name)
    joined, inputs, taken = dict(columns), list[str](), set(taken)
    for group in groups.values():
        if len(group) > 1:
            keys = [joined.pop(name)["key"] for name in group]
            name = make_identifier("numbers", taken)
            taken.add(name)
            joined[name] = {**columns[group[0]], "key": keys}
            group = [name]
        inputs += group
    return joined, inputs


def _suggest_sizes(train_rows: int, *, has_texts: bool) -> dict[str, Any]:
    """Suggests the learning rate, widths, batch size and epochs.

    Args:
        train_rows: the number of training rows.
        has_texts: whether words of texts are embedded. These models overfit sooner.
    """
    batch = min(32, max(train_rows, 1)) if train_rows < 3200 else min(512, 2 ** round(math.log2(train_rows / 100)))
    epochs = min(60, max(5, round(TRAINING_STEPS * batch / max(train_rows, 1))))
    widths = [32, 32] if train_rows < 1000 else [64, 64] if train_rows < 100_000 else [128, 64]
    return {
        "learning_rate": 1e-3 if has_texts else 3e-3,
        "architecture": {"widths": widths},
        "training": {"epochs": epochs, "batch_size": batch, "patience": 10},
    }


def _format_count(count: int) -> str:
    return f"{count:,}" if count else ""


def _describe_column(column: ColumnProfile, plan: ColumnPlan) -> tuple[str, ...]:
    """A row of the suggestion's table. The reason why a column is left out is in the notes."""
    distinct = "" if column.distinct_count is None else f"{column.distinct_count:,}"
    missing = _format_count(column.missing_count)
    if column.missing_spellings:
        is_complete = sum(column.missing_spellings.values()) == column.missing_count
        missing = list_spellings(column) if is_complete else f"{missing} ({list_spellings(column)})"
    return format_name(column.name), column.kind, missing, distinct, _describe_plan(plan)


def _describe_plan(plan: ColumnPlan) -> str:
    return plan.description if plan.feature_columns else "left out"
