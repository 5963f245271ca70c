"""Makes a suggestion from the profile of a table: the target, the feature columns, the options and the sizes.

A suggestion is a dictionary of plain values with the keys of `Suggestion`, since it is cached as JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from components.closest import closest_name, format_name, join_names
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
from runner.suggest.column_plan import ColumnPlan, is_allowed_name, make_feature_column, plan_column
from runner.suggest.images import plan_image, plan_mask, suggest_network
from runner.suggest.messages import (
    describe_infinite_numbers,
    describe_problem,
    describe_reading,
    describe_rounding,
    describe_sentinel,
    format_name_override,
    format_row_count,
    format_target_override,
    format_type_override,
)
from runner.suggest.summary import is_unusual, summarize_kinds

MAX_CLASSES = 20  # a target of more distinct whole numbers is a number, not a class
MAX_DECLARED_CLASSES = 100  # up to so many distinct numbers, a hint says how to declare them as classes
MIN_ROWS_PER_CLASS = 5  # rows per distinct value, on average; with fewer, the values are no classes
MAX_COLUMNS = 10_000
MAX_SEPARATE_COLUMNS = 100  # with more feature columns, those of numbers with the same parameters are one
MAX_FEATURE_COLUMNS = 2_000
COMPILE_SECONDS = 0.07  # for a feature column of categories, in all programs of a run, on a CPU
MIN_NOTED_SECONDS = 20
SPLIT_COUNT = 3
RARE = 0.4  # of the rows that each class would have if all had as many: for two classes, 20 % of all rows. Below it,
# predicting the other class is right in more than 80 % of the rows, so accuracy alone tells little.
TRAINING_STEPS = 10_000  # the approximate length of the suggested training
RARE_CLASS_METRICS = ("average_precision", "f1")
SPLIT_KEYS = ("split_column", "split_hash", "group")  # options of columns that aren't features, but keys
RESERVED_NAMES = ("target", "weighted")  # of targets
HEADING = ("column", "type", "missing", "distinct", "becomes")


def suggest(source: Any, folds: int | None = None) -> dict[str, Any]:
    """Makes the suggestion for a source that is a table.

    Args:
        source: the table.
        folds: the number of folds of a cross-validation. None: there is none.

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
    targets = _find_targets(table, [*columns, *images])
    if problems := [describe_problem(column) for column in table.columns if column.problem is not None]:
        raise DataError("\n".join([f"{table.origin}: decide how these columns are read.", *problems]))
    image = next((image for name, image in images.items() if name not in targets), None)
    target_plans, options = _plan_targets(targets, columns, images, image, table.origin)
    has_masks = not columns.keys() >= {*targets}
    if (deciding := _find_split_option(source)) is not None:
        if options["values"].pop("data", None):
            options["notes"].append(f"{deciding}, so the splits aren't stratified.")
    elif (time := _find_time(columns.values(), targets)) and not isinstance(getattr(source, "test", None), str):
        options["notes"].append(
            f"{format_name(time)} has dates, and the rows are split at random. To test on the latest rows, set "
            f"{format_name_override('data.split_by', time)}"
        )
    rows = sum(source.sizes().values())
    keys = {getattr(source, option, None): option for option in SPLIT_KEYS}
    others = {name: _plan_other(column, keys) for name, column in columns.items() if name not in targets}
    used = {name: plan for name, plan in others.items() if plan.feature_columns}
    if not used and image is None:  # a number of the row is better than nothing
        others = {name: _plan_other(columns[name], keys, keep_counter=bool(name.strip())) for name in others}
        used = {name: plan for name, plan in others.items() if plan.feature_columns}
    readings = [describe_reading(column) for column in table.columns if column.reading and column.reading.description]
    if not used and image is None:
        reasons = "; ".join([*(f"{name}: {plan.description}" for name, plan in others.items()), *readings])
        raise DataError(f"{table.origin} has no feature column for the target {_list_quoted(targets)}: {reasons}")
    if has_masks:
        others = {name: _leave_out_beside_masks(plan) for name, plan in others.items()}
        used = {}
    plans = {name: target_plans[name] if name in targets else others[name] for name in columns}
    raw = columns.keys() | images.keys()
    image_plans = {name: _plan_image(each, image, target_plans, raw) for name, each in images.items()}
    types = {name: plan.kind or columns[name].kind for name, plan in plans.items() if plan.feature_columns}
    train_rows = _count_training_rows(source, table.origin, rows, folds)
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
        first_notes, notes = [f"{rows:,} images{classes}"], [*notes, note]
        if used:
            notes.append(
                "The network sees the images and the other columns. To leave columns out, list them in data.drop"
            )
        used = {image.name: image_plans[image.name]} | used
    values = options["values"] | values
    if isinstance(source, InfersTypes):
        values["data"] = values.get("data", {}) | {"types": types} | _collect_options(table, plans)
    feature_columns = {name: plan.feature_columns for name, plan in used.items()}
    feature = _name_feature_columns(feature_columns, raw, () if image is None else (image.name,))
    if (count := len(feature["columns"])) > MAX_FEATURE_COLUMNS:
        raise DataError(
            f"{table.origin} gives {count:,} feature columns, such as categories and times, too many to compile the "
            f"program for them. At most {MAX_FEATURE_COLUMNS:,} are allowed; numbers scaled alike count as one. "
            "Leave columns out by data.drop=[…], or write a feature file with the columns to use, and choose it by "
            "feature=…"
        )
    if (seconds := count * COMPILE_SECONDS) > MIN_NOTED_SECONDS:
        notes.append(
            f"{count:,} feature columns, such as categories and times: compiling the program takes about "
            f"{seconds:.0f} s. data.drop leaves columns out"
        )
    return {
        "origin": table.origin,
        "choices": options["choices"] | choices,
        "feature": {
            **_name_targets(target_plans, raw),
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
            *((format_name(name), "image", "", "", _describe_plan(plan)) for name, plan in image_plans.items()),
            *(_describe_column(columns[name], plan, types) for name, plan in plans.items()),
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
    name = _make_identifier(column.name, (raw - {column.name}) | {"target"})
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
    return next(
        (f"data.{name}={value} decides where rows go" for name, value in options.items() if value is not None), None
    )


def _find_time(columns: Iterable[ColumnProfile], targets: Collection[str]) -> str | None:
    """The first column by which the rows can be split by time: one of several dates, without gaps."""
    times = (column for column in columns if column.kind == "timestamp" and column.name not in targets)
    # The times of a single day are often those of any day, such as 10:30 AM.
    dates = (column for column in times if not column.missing_count and {*column.time_parts} - {"hour"})
    return next((column.name for column in dates), None)


def _plan_other(column: ColumnProfile, keys: Mapping[str | None, str], *, keep_counter: bool = False) -> ColumnPlan:
    """Plans a column that is not the target. Those of `keys` only decide how rows are split."""
    if column.name in keys:
        return ColumnPlan(f"left out: data.{keys[column.name]} names it")
    return plan_column(column, keep_counter=keep_counter)


def _collect_options(table: TableProfile, plans: Mapping[str, ColumnPlan]) -> dict[str, Any]:
    """The options of the source that were inferred, so that it reads other rows in the same way."""
    options: dict[str, Any] = dict(table.options)
    for column in table.columns:
        if column.reading is not None and plans[column.name].feature_columns:
            for option, value in column.reading.options.items():
                options.setdefault(option, {})[column.name] = value
    return options


def _find_targets(table: TableProfile, columns: Collection[str]) -> tuple[str, ...]:
    """The columns of the targets. Raises DataError if there is none, or one is no column or is listed twice."""
    listed = table.target if isinstance(table.target, tuple) else (table.target,)
    targets = [_find_target(target, table, columns) for target in listed or (None,)]
    if twice := next((target for target in targets if targets.count(target) > 1), None):
        raise DataError(f"data.target=[{','.join(targets)}] lists {format_name(twice)} twice. Leave one out.")
    return tuple(targets)


def _find_target(target: str | None, table: TableProfile, columns: Collection[str]) -> str:
    """The column of a target. Raises DataError if it is missing or is not a column."""
    origin = table.origin
    if len(columns) < 2 and not table.images:
        raise DataError(
            f"{origin} has one column only: {join_names(columns)}. It needs a target and at least one other column."
        )
    if target is None:
        raise DataError(
            f"data.target is missing. Set it to the column to predict. Columns of {origin}: {join_names(columns)}."
        )
    if target not in columns:
        nearest = closest_name(target, columns)
        hint = ""
        if all(map(_is_number, columns)):
            hint = "All names of columns are numbers, so the line with the names may be missing. "
        elif nearest is not None:
            override = format_target_override(nearest)
            is_plain = override == f"data.target={nearest}"
            hint = f"Did you mean {format_name(nearest)}? " + ("" if is_plain else f"Write {override}. ")
        raise DataError(f"data.target={target} is not a column of {origin}. {hint}Columns: {join_names(columns)}.")
    return target


def _list_quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _plan_targets(
    targets: Sequence[str],
    columns: Mapping[str, ColumnProfile],
    images: Mapping[str, ImageProfile],
    image: ImageProfile | None,
    origin: str,
) -> tuple[dict[str, ColumnPlan], dict[str, Any]]:
    """Plans the targets. Returns their plans by column, and the choices, values and notes that go with them.

    Args:
        targets: their columns.
        columns: the profiles of all columns that are no images.
        images: those of all that are.
        image: the images that are an input. None: there are none.
        origin: the name of the table, for messages.
    """
    masks = [target for target in targets if target in images]
    if masks and image is None:
        raise DataError(f"{origin} has no column of images but the target, `{masks[0]}`. Set data.images.")
    if masks and len(targets) > 1:
        raise DataError(
            f"data.target=[{','.join(targets)}] lists {masks[0]}, masks of {origin}, beside other columns. For such "
            "targets, write a feature file with `targets:`, and choose it by feature=… (see docs/training.md)"
        )
    if masks and image is not None:
        options = _make_options("softmax_cross_entropy", ["accuracy", "mean_iou"])
        return {masks[0]: plan_mask(images[masks[0]], image)}, options
    planned = {target: _plan_target(columns[target], origin, is_only=len(targets) == 1) for target in targets}
    plans = {target: plan for target, (plan, _) in planned.items()}
    if len(targets) == 1:
        return plans, planned[targets[0]][1]
    joined: dict[str, Any] = {"choices": {}, "values": {}, "notes": []}
    for name, (_, options) in zip(_list_names(targets, columns.keys() | images.keys()), planned.values(), strict=True):
        joined["choices"] |= {f"{group}.{name}": option for group, option in options["choices"].items()}
        joined["notes"] += options["notes"]
        if "metric" in options["values"]:
            joined["values"].setdefault("metric", {})[name] = options["values"]["metric"]
        if "data" in options["values"]:  # rows are stratified by the first target of classes
            joined["values"].setdefault("data", options["values"]["data"])
    return plans, joined


def _list_names(targets: Iterable[str], raw: Collection[str]) -> list[str]:
    """The names of several targets. One that can be no name of a key gets another name than all raw columns."""
    names = list[str]()
    for target in targets:
        names.append(_make_identifier(target, ({*raw} - {target}) | {*names, *RESERVED_NAMES}))
    return names


def _name_targets(plans: Mapping[str, ColumnPlan], raw: Collection[str]) -> dict[str, Any]:
    """The only target, or several by name, in a feature file."""
    parts = [plan.feature_columns[0] for plan in plans.values()]
    if len(parts) == 1:
        return {"target": parts[0]}
    return {"target": None, "targets": dict(zip(_list_names(plans, raw), parts, strict=True))}


def _plan_target(column: ColumnProfile, origin: str, *, is_only: bool = True) -> tuple[ColumnPlan, dict[str, Any]]:
    """Plans a target. Returns the plan, and the choices, values and notes that go with it.

    Missing values of one of several targets don't count for it. Those of the only one are an error.
    """
    _check_target(column, origin, is_only=is_only)
    plan, options = _plan_kind(column)
    if not column.missing_count:
        return plan, options
    (part,) = plan.feature_columns
    note = f"has no value in {format_row_count(column.missing_count)}, which don't count for this target"
    return plan._replace(feature_columns=({**part, "missing": "mask"},), notes=(*plan.notes, note)), options


def _plan_kind(column: ColumnProfile) -> tuple[ColumnPlan, dict[str, Any]]:
    """Plans a target of tags, numbers or classes, as `_plan_target` does."""
    if _has_tags(column):
        return _plan_tags(column)
    if _is_number_target(column):
        distinct_count = column.distinct_count
        may_be_classes = distinct_count and distinct_count <= min(MAX_DECLARED_CLASSES, column.rows / 2)
        hint = f"; for classes, set {format_type_override(column.name, 'string')}" if may_be_classes else ""
        number = make_feature_column("Numeric", key=column.name, normalize="z_score")
        # Other numbers may not be whole.
        kind: ColumnType | None = "float" if column.kind == "int" and not column.is_type_declared else None
        notes = tuple(describe_sentinel(column, sentinel) for sentinel in column.sentinels)
        plan = ColumnPlan(f"target: a number, z-score{hint}", (number,), kind, notes)
        return plan, _make_options("mse", ["rmse", "mae", "r2"])
    return _plan_classes(column)


def _is_number_target(column: ColumnProfile) -> bool:
    """Whether a target is a number rather than a class."""
    if column.kind not in ("int", "float"):
        return False
    distinct_count = column.distinct_count
    has_many_values = distinct_count is None or distinct_count > min(MAX_CLASSES, column.rows / MIN_ROWS_PER_CLASS)
    is_amount = column.reading is not None and column.reading.options.get("marks", "ordinal") != "ordinal"
    return has_many_values or is_amount or (column.kind == "float" and column.is_type_declared)


def _plan_classes(column: ColumnProfile) -> tuple[ColumnPlan, dict[str, Any]]:
    """Plans a target of classes, as `_plan_target` does."""
    value, rows = column.rarest_value
    loss = "binary_cross_entropy" if column.distinct_count == 2 else "softmax_cross_entropy"
    metrics, rare_class = _choose_metrics(column, value, rows)
    options = _make_options(loss, metrics)
    if rare_class is not None:
        options["values"]["metric"] = {metric: {"positive": rare_class} for metric in RARE_CLASS_METRICS}
    if rows >= SPLIT_COUNT:
        options["values"]["data"] = {"stratify": column.name}
    else:
        options["notes"].append(
            f"class {value!r} of {format_name(column.name)} has {format_row_count(rows)}, too few for {SPLIT_COUNT} "
            "splits, so a run may fail. Add rows of this class, or leave it out."
        )
    rare = "" if rare_class is None else f"; metrics of the rare class {format_name(rare_class)}"
    is_number = column.kind in ("int", "float")
    hint = f"; for a number, set {format_type_override(column.name, 'float')}" if is_number else ""
    label = make_feature_column("Label", key=column.name)
    description = f"target: one of {column.distinct_count} classes{rare}{hint}"
    return ColumnPlan(description, (label,), "int" if column.kind == "float" else None), options


def _has_tags(column: ColumnProfile) -> bool:
    return column.tag_separator is not None and not column.is_type_declared


def _plan_tags(column: ColumnProfile) -> tuple[ColumnPlan, dict[str, Any]]:
    """Plans a target of any number of labels, as `_plan_target` does."""
    separator = column.tag_separator
    labels = make_feature_column("Labels", key=column.name, separator=separator)
    hint = f"for one class, set {format_type_override(column.name, 'string')}"
    description = f"target: any number of labels, between {separator!r}; {hint}"
    return ColumnPlan(description, (labels,)), _make_options("binary_cross_entropy", ["accuracy", "f1"])


def _check_target(column: ColumnProfile, origin: str, *, is_only: bool) -> None:
    """Raises DataError for a target that can't be predicted, or an only one with missing values."""
    name, distinct_count = f"column `{column.name}` (data.target) of {origin}", column.distinct_count
    if not is_allowed_name(column.name):
        raise DataError(f"{name} has a name that is not allowed in a configuration. Rename it.")
    if column.missing_count == column.rows:
        raise DataError(f"{name} has no values, so there is nothing to predict")
    if column.is_constant:
        raise DataError(f"{name} has one value only, so there is nothing to predict")
    if column.missing_count and is_only:
        spellings = _list_spellings(column)
        keep = "To keep these texts as values, set 'data.nulls=[\"\"]'. "
        hint = f"Read as missing: {spellings}. {keep}" if spellings else ""
        rows = f"no value in {format_row_count(column.missing_count)}"
        remedy = "To leave these rows out, set data.on_missing_target=drop"
        raise DataError(f"{name} has {rows}, the first is {column.first_missing_location}. {hint}{remedy}")
    if column.kind == "timestamp":
        raise DataError(f"{name} has times. It must have numbers or classes.")
    if column.infinite_count:
        raise DataError(f"{name} {describe_infinite_numbers(column)}. Correct these rows, or leave them out.")
    are_declared_classes = column.is_type_declared and distinct_count != column.rows
    max_classes = max(2, column.rows / MIN_ROWS_PER_CLASS)
    if _is_number_target(column) and column.is_rounded_in_float:
        as_float, as_text = (format_type_override(column.name, kind) for kind in ("float", "string"))
        raise DataError(
            f"{name} {describe_rounding()}, so that some become equal. Subtract a constant from them. Or for rounded "
            f"numbers, set {as_float}; for classes, set {as_text}"
        )
    if _has_tags(column) or are_declared_classes:
        return
    if column.kind == "string" and distinct_count and distinct_count > max_classes:
        to_classes = f". To read them as classes, set {format_type_override(column.name, 'string')}"
        remedy = to_classes if distinct_count < column.rows else ""
        raise DataError(
            f"{name} has {distinct_count:,} different texts in {column.rows:,} rows: too many for classes{remedy}"
        )


def _choose_metrics(column: ColumnProfile, rarest: str, rows: int) -> tuple[list[str], str | None]:
    """The metrics for a target of classes, and the rare class that some of them are about, if it has only two.

    Args:
        column: the target.
        rarest: its rarest value.
        rows: the number of rows of this value.
    """
    count = column.distinct_count or 0
    if rows * count >= RARE * column.rows:
        return ["accuracy"], None
    if count > 2:
        return ["accuracy", "balanced_accuracy", "f1"], None
    name = str(int(float(rarest))) if column.kind == "float" else rarest
    if not is_allowed_name(name):
        return ["accuracy", "auc"], None
    return ["accuracy", "auc", *RARE_CLASS_METRICS], name


def _make_options(loss: str, metrics: list[str]) -> dict[str, Any]:
    return {"choices": {"loss": loss, "metric": metrics}, "values": {}, "notes": []}


def _count_training_rows(source: Source, origin: str, rows: int, folds: int | None) -> int:
    """The number of rows of the training split, or of the smallest one of a cross-validation."""
    try:
        count = len(source.splits()["train"])
    except DataError as error:
        if any(getattr(source, option, None) is not None for option in ("stratify", *SPLIT_OPTIONS)):
            raise  # the options may be wrong, and not the number of rows
        hint = "" if rows < SPLIT_COUNT else ", or set data.valid=1 data.test=1"
        raise DataError(f"{origin} has {rows} rows: {error}. Add rows{hint}") from error
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
        base = name = _make_identifier(raw_name, taken)
        taken |= {raw_name, name}
        columns[name] = first
        for column in others:
            suffix = "embedding" if column["_target_"] == "components.feature.Embedding" else "ids"
            key, name = name, _make_identifier(f"{base}_{suffix}", taken)
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

    Each column has arrays of its own in the compiled program, and XLA takes about 0.03 s to compile the code for one.

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
            name = _make_identifier("numbers", taken)
            taken.add(name)
            joined[name] = {**columns[group[0]], "key": keys}
            group = [name]
        inputs += group
    return joined, inputs


def _make_identifier(name: str, taken: Collection[str]) -> str:
    """Turns a column's name into a name of letters, digits and underscores that is not taken."""
    base = identifier = re.sub(r"\W+", "_", name).strip("_") or "column"
    number = 1
    while identifier in taken:
        number += 1
        identifier = f"{base}_{number}"
    return identifier


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


def _describe_column(column: ColumnProfile, plan: ColumnPlan, types: Mapping[str, str]) -> tuple[str, ...]:
    """A row of the suggestion's table. The reason why a column is left out is in the notes."""
    distinct = "" if column.distinct_count is None else f"{column.distinct_count:,}"
    missing = f"{column.missing_count:,}" if column.missing_count else ""
    if column.missing_spellings:
        is_complete = sum(column.missing_spellings.values()) == column.missing_count
        missing = _list_spellings(column) if is_complete else f"{missing} ({_list_spellings(column)})"
    return format_name(column.name), types.get(column.name, column.kind), missing, distinct, _describe_plan(plan)


def _describe_plan(plan: ColumnPlan) -> str:
    return plan.description if plan.feature_columns else "left out"


def _list_spellings(column: ColumnProfile) -> str:
    """Lists the texts of missing values with their counts: `30 as NA, 2 as null`."""
    return ", ".join(f"{count:,} as {text}" for text, count in column.missing_spellings.items())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text
    return True
