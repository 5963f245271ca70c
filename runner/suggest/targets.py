"""Plans the targets of a table: what each is, its loss and metrics, and what can't be predicted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.closest import MAX_LISTED, closest_name, format_name, join_names
from components.types import ColumnProfile, ColumnType, DataError, ImageProfile, TableProfile
from runner.suggest.column_plan import ColumnPlan, is_allowed_name, make_feature_column, make_identifier
from runner.suggest.images import plan_mask
from runner.suggest.messages import (
    describe_infinite_numbers,
    describe_likely_tags,
    describe_rounding,
    describe_sentinel,
    format_name_override,
    format_row_count,
    format_target_override,
    format_type_override,
    list_spellings,
)

MAX_CLASSES = 20  # a target of more distinct whole numbers is a number, not a class
MAX_DECLARED_CLASSES = 100  # up to so many distinct numbers, a hint says how to declare them as classes
MIN_ROWS_PER_CLASS = 5  # rows per distinct value, on average; with fewer, the values are no classes
SPLIT_COUNT = 3
RARE = 0.4  # of the rows that each class would have if all had as many: for two classes, 20 % of all rows. Below it,
# predicting the other class is right in more than 80 % of the rows, so accuracy alone tells little.
RARE_CLASS_METRICS = ("average_precision", "f1")
RESERVED_NAMES = ("target", "weighted")  # of targets


def find_targets(table: TableProfile, columns: Collection[str]) -> tuple[str, ...]:
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
        if table.notes:
            only = f" but {join_names(columns)}" if columns else ""
            unread = describe_unread(table, target or next(iter(columns), "CLASS"))
            raise DataError("\n".join([f"{origin}: nothing is inferred for any column{only}.", *unread]))
        found = f"one column only: {join_names(columns)}" if columns else "no column"
        raise DataError(f"{origin} has {found}. It needs a target and at least one other column.")
    if target is None:
        raise DataError(
            f"data.target is missing. Set it to the column to predict. Columns of {origin}: {join_names(columns)}."
        )
    if target not in columns:
        nearest = closest_name(target, columns)
        hint = ""
        if 2 * len(numbers := [name for name in columns if _is_number(name)]) > len(columns):
            share = "All" if len(numbers) == len(columns) else "Most"
            hint = f"{share} names of columns are numbers, so the line with the names may be missing. "
        elif nearest is not None:
            override = format_target_override(nearest)
            is_plain = override == f"data.target={nearest}"
            hint = f"Did you mean {format_name(nearest)}? " + ("" if is_plain else f"Write {override}. ")
        raise DataError(f"data.target={target} is not a column of {origin}. {hint}Columns: {join_names(columns)}.")
    return target


def describe_unread(table: TableProfile, target: str) -> list[str]:
    """Lines: what the source left out, and how other columns can be read."""
    more = [f"… ({len(table.notes) - MAX_LISTED:,} more)"] if len(table.notes) > MAX_LISTED else []
    remedy = "To read other columns, write a feature file, conf/feature/NAME.yaml, and add feature=NAME"
    images = _describe_image_feature(table, target)
    return [*table.notes[:MAX_LISTED], *more, remedy, *images] if table.notes else []


def _describe_image_feature(table: TableProfile, target: str) -> Iterator[str]:
    """A line about what reads the only column of bytes, if it has images."""
    if len(table.bytes_columns) == 1:
        (name,) = table.bytes_columns
        keys = {"feature.columns.image.key": name, "feature.target.key": target}
        words = " ".join(format_name_override(key, value) for key, value in keys.items())
        yield f"If {format_name(name)} has images and {format_name(target)} their classes, add feature=image {words}"


def list_quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def plan_targets(
    targets: Sequence[str],
    columns: Mapping[str, ColumnProfile],
    images: Mapping[str, ImageProfile],
    image: ImageProfile | None,
    origin: str,
    missing: Mapping[str, str],
    *,
    nulls: object = None,
    computed: Collection[str] = (),
) -> tuple[dict[str, ColumnPlan], dict[str, Any]]:
    """Plans the targets. Returns their plans by column, and the choices, values and notes that go with them.

    Args:
        targets: their columns.
        columns: the profiles of all columns that are no images.
        images: those of all that are.
        image: the images that are an input. None: there are none.
        origin: the name of the table, for messages.
        missing: `missing` of the targets, as far as the user sets it, by name; that of the only target is `target`.
        nulls: the user's setting of the texts that stand for missing values. None: there is none.
        computed: the columns that operations compute.
    """
    masks = [target for target in targets if target in images]
    if masks and image is None:
        raise DataError(f"{origin} has no column of images but the target, `{masks[0]}`. Set data.images.")
    if masks and len(targets) > 1:
        raise DataError(
            f"data.target=[{','.join(targets)}] lists {masks[0]}, masks of {origin}, beside other columns. For such "
            "targets, write a feature file with `targets:`, and choose it by feature=… (see docs/losses_and_metrics.md)"
        )
    if masks and image is not None:
        options = _make_options("softmax_cross_entropy", ["accuracy", "mean_iou"])
        return {masks[0]: plan_mask(images[masks[0]], image)}, options
    # A missing value of one of several targets doesn't count for it, unless the user sets something else.
    names = _list_names(targets, columns.keys() | images.keys())
    if len(targets) == 1:
        by_target = {targets[0]: missing.get("target")}
    else:
        by_target = {target: missing.get(name, "mask") for target, name in zip(targets, names, strict=True)}
    for target in targets:
        _check_target(columns[target], origin, nulls, by_target[target], is_computed=target in computed)
    planned = {target: _plan_target(columns[target], by_target[target]) for target in targets}
    plans = {target: plan for target, (plan, _) in planned.items()}
    if len(targets) == 1:
        return plans, planned[targets[0]][1]
    joined: dict[str, Any] = {"choices": {}, "values": {}, "notes": []}
    for name, (_, options) in zip(names, planned.values(), strict=True):
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
        names.append(make_identifier(target, ({*raw} - {target}) | {*names, *RESERVED_NAMES}))
    return names


def name_targets(plans: Mapping[str, ColumnPlan], raw: Collection[str]) -> dict[str, Any]:
    """The only target, or several by name, in a feature file."""
    parts = [plan.feature_columns[0] for plan in plans.values()]
    if len(parts) == 1:
        return {"target": parts[0]}
    return {"target": None, "targets": dict(zip(_list_names(plans, raw), parts, strict=True))}


def _plan_target(column: ColumnProfile, missing: str | None) -> tuple[ColumnPlan, dict[str, Any]]:
    """Plans a target. Returns the plan, and the choices, values and notes that go with it.

    Args:
        column: its column.
        missing: what becomes of rows without a value: they don't count for the target (`mask`), or have no label
            (`empty`). None: there are no such rows.
    """
    plan, options = _plan_kind(column)
    if not column.missing_count:
        return plan, options
    (part,) = plan.feature_columns
    effect = "are examples without labels" if missing == "empty" else "don't count for this target"
    note = f"has no value in {format_row_count(column.missing_count)}, which {effect}"
    return plan._replace(feature_columns=({**part, "missing": missing},), notes=(*plan.notes, note)), options


def _plan_kind(column: ColumnProfile) -> tuple[ColumnPlan, dict[str, Any]]:
    """Plans a target of tags, numbers or classes, as `_plan_target` does."""
    if _has_tags(column):
        return _plan_tags(column)
    if _is_number_target(column):
        distinct_count = column.distinct_count
        may_be_classes = distinct_count and distinct_count <= min(MAX_DECLARED_CLASSES, _count_known(column) / 2)
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
    most = min(MAX_CLASSES, _count_known(column) / MIN_ROWS_PER_CLASS)  # classes
    has_many_values = distinct_count is None or distinct_count > most
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
    if rows < SPLIT_COUNT:
        options["notes"].append(
            f"class {value!r} of {format_name(column.name)} has {format_row_count(rows)}, too few for {SPLIT_COUNT} "
            "splits, so a run may fail. Add rows of this class, or leave it out."
        )
    elif 0 < column.missing_count < SPLIT_COUNT:  # rows without a class are stratified too
        gaps = "1 row has" if column.missing_count == 1 else f"only {column.missing_count} rows have"
        options["notes"].append(f"the splits aren't stratified by {format_name(column.name)}, because {gaps} no value")
    else:
        options["values"]["data"] = {"stratify": column.name}
    rare = "" if rare_class is None else f"; metrics of the rare class {format_name(rare_class)}"
    is_number = column.kind in ("int", "float")
    hint = f"; for a number, set {format_type_override(column.name, 'float')}" if is_number else ""
    label = make_feature_column("Label", key=column.name)
    description = f"target: one of {column.distinct_count} classes{rare}{hint}"
    notes = describe_likely_tags(column, "Labels")
    return ColumnPlan(description, (label,), "int" if column.kind == "float" else None, notes), options


def _count_known(column: ColumnProfile) -> int:
    """The number of rows with a value."""
    return column.rows - column.missing_count


def _has_tags(column: ColumnProfile) -> bool:
    return column.tag_separator is not None and not column.is_type_declared


def _plan_tags(column: ColumnProfile) -> tuple[ColumnPlan, dict[str, Any]]:
    """Plans a target of any number of labels, as `_plan_target` does."""
    separator = column.tag_separator
    labels = make_feature_column("Labels", key=column.name, separator=separator)
    hint = f"for one class, set {format_type_override(column.name, 'string')}"
    description = f"target: any number of labels, between {separator!r}; {hint}"
    return ColumnPlan(description, (labels,)), _make_options("binary_cross_entropy", ["accuracy", "f1"])


def _check_target(column: ColumnProfile, origin: str, nulls: object, missing: str | None, *, is_computed: bool) -> None:
    """Raises DataError for a target that can't be predicted, or with missing values where `missing` is None."""
    name, distinct_count = f"column `{column.name}` (data.target) of {origin}", column.distinct_count
    known = _count_known(column)
    if not is_allowed_name(column.name):
        raise DataError(f"{name} has a name that is not allowed in a configuration. Rename it.")
    if column.missing_count == column.rows:
        raise DataError(f"{name} has no values, so there is nothing to predict")
    if column.is_constant:
        raise DataError(f"{name} has one value only, so there is nothing to predict")
    if column.missing_count and missing is None:
        spellings = list_spellings(column)
        keep = "" if nulls is not None else "To keep these texts as values, set 'data.nulls=[\"\"]'. "
        hint = f"Read as missing: {spellings}. {keep}" if spellings else ""
        rows = f"no value in {format_row_count(column.missing_count)}"
        remedy = "To leave these rows out, set data.on_missing_target=drop"
        if is_computed:
            remedy = (
                f'To leave these rows out, add the operation {{option: filter, where: "not is_null({column.name})"}}'
            )
        if _has_tags(column):
            remedy += ". To read them as examples without labels, set feature.target.missing=empty"
        raise DataError(f"{name} has {rows}, the first is {column.first_missing_location}. {hint}{remedy}")
    if column.kind == "timestamp":
        raise DataError(f"{name} has times. It must have numbers or classes.")
    if column.infinite_count:
        raise DataError(f"{name} {describe_infinite_numbers(column)}. Correct these rows, or leave them out.")
    are_declared_classes = column.is_type_declared and distinct_count != known
    max_classes = max(2, known / MIN_ROWS_PER_CLASS)
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
        to_labels = ". If each text has several labels, write a feature file with components.feature.Labels"
        remedy = f"{to_classes}{to_labels}" if distinct_count < known else ""
        raise DataError(
            f"{name} has {distinct_count:,} different texts in {known:,} rows: too many for classes{remedy}"
        )


def _choose_metrics(column: ColumnProfile, rarest: str, rows: int) -> tuple[list[str], str | None]:
    """The metrics for a target of classes, and the rare class that some of them are about, if it has only two.

    Args:
        column: the target.
        rarest: its rarest value.
        rows: the number of rows of this value.
    """
    count = column.distinct_count or 0
    if rows * count >= RARE * _count_known(column):
        return ["accuracy"], None
    if count > 2:
        return ["accuracy", "balanced_accuracy", "f1"], None
    name = str(int(float(rarest))) if column.kind == "float" else rarest
    if not is_allowed_name(name):
        return ["accuracy", "auc"], None
    return ["accuracy", "auc", *RARE_CLASS_METRICS], name


def _make_options(loss: str, metrics: list[str]) -> dict[str, Any]:
    return {"choices": {"loss": loss, "metric": metrics}, "values": {}, "notes": []}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text
    return True
