"""Logs metrics, parameters, tags and data sets to an MLflow run.

An item that MLflow refuses does not stop the others: each function returns a line for each refused item.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.tracking.names import escape_name, escape_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

# MLflow's limits of a request
METRICS_PER_BATCH = 1000
PARAMETERS_PER_BATCH = 100
TAGS_PER_BATCH = 100
# MLflow's limits, in characters
LONGEST_PARAMETER = 6000
LONGEST_TAG = 8000
LONGEST_DATASET = 500
LONGEST_DIGEST = 36
COLUMN_PARAMETER = re.compile(r"feature\.(columns|inputs)\.|data\.(types|dates|marks|nulls|decimal|drop)\b")
EMPTY_VALUES: tuple[Any, ...] = (None, "", "null", [], {})
NEUTRAL_GROUPS = {"tracking", "observer", "sweep"}  # no result depends on them
MAX_COLUMN_PARAMETERS = 40  # a table of 500 columns has over a thousand, among which nobody finds the others
REFUSAL_CODES = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # MLflow's codes for an item that it does not accept


class MetricPoint(NamedTuple):
    """One value of a metric.

    Attributes:
        key: the metric's name.
        value: its value, which may be NaN or infinite.
        timestamp: milliseconds since 1970.
        step: the step.
    """

    key: str
    value: float
    timestamp: int
    step: int


def log_record(
    client: MlflowClient,
    run_id: str,
    record: Mapping[str, Any],
    tags: Mapping[str, str],
    overridden: Iterable[str] = (),
) -> list[str]:
    """Logs the parameters and data sets of a run, and its tags with some more.

    Args:
        client: the client of the store.
        run_id: the run.
        record: the contents of `record.json`.
        tags: more tags.
        overridden: the keys that the command of the run sets.
    """
    refused = log_tags(client, run_id, record["tags"] | tags)
    refused += _log_parameters(client, run_id, select_parameters(record["parameters"], overridden))
    return refused + _log_datasets(client, run_id, record["datasets"])


def log_metrics(client: MlflowClient, run_id: str, points: Iterable[MetricPoint]) -> list[str]:
    """Logs metrics. A SQL store keeps identical points once, and stores infinity as 1.8e308."""
    from mlflow.entities import Metric

    metrics = [Metric(escape_name(point.key), point.value, point.timestamp, point.step) for point in points]
    return _log_batches(client, run_id, "metrics", metrics, METRICS_PER_BATCH)


def log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, object]) -> list[str]:
    """Sets tags."""
    from mlflow.entities import RunTag

    items = [
        RunTag(escape_name(key), escape_text(str(value), LONGEST_TAG, full_copy="record.json"))
        for key, value in tags.items()
    ]
    return _log_batches(client, run_id, "tags", items, TAGS_PER_BATCH)


def split_batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Splits items into batches of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def select_parameters(parameters: Mapping[str, Any], overridden: Iterable[str]) -> dict[str, Any]:
    """Selects the parameters that MLflow shows. All of them are in `config.yaml`.

    Left out are, unless the command sets them, the parameters of columns if they are more than MAX_COLUMN_PARAMETERS,
    and parameters that are null or empty; a column's `key` that is its name; and the groups in NEUTRAL_GROUPS.
    """
    # `feature=houses` sets the parameter `feature`, and none below it.
    overridden = {
        key for key in overridden if key not in parameters or not any(name.startswith(f"{key}.") for name in parameters)
    }
    own_keys = {key for key in parameters if key == f"feature.columns.{parameters[key]}.key"}
    of_columns = {key for key in parameters if COLUMN_PARAMETER.match(key)} - own_keys
    left_out = {key for key, value in parameters.items() if value in EMPTY_VALUES}
    left_out |= of_columns if len(of_columns) > MAX_COLUMN_PARAMETERS else set()
    left_out = {key for key in left_out if not any(f"{key}.".startswith(f"{name}.") for name in overridden)}
    left_out |= own_keys | NEUTRAL_GROUPS
    return {key: value for key, value in parameters.items() if key not in left_out}


def _log_parameters(client: MlflowClient, run_id: str, parameters: Mapping[str, Any]) -> list[str]:
    from mlflow.entities import Param

    items = [Param(escape_name(key), _format_parameter(value)) for key, value in parameters.items()]
    return _log_batches(client, run_id, "params", items, PARAMETERS_PER_BATCH)


def _format_parameter(value: Any) -> str:
    """A parameter's value as it can be typed on the command line. A value over LONGEST_PARAMETER becomes its digest."""
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= LONGEST_PARAMETER:
        return escape_text(text, LONGEST_PARAMETER, full_copy="config.yaml")  # escapes may lengthen it
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"sha256:{digest} (in full in config.yaml)"


def _log_datasets(client: MlflowClient, run_id: str, datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    inputs = [_make_dataset(**dataset) for dataset in datasets]
    refused = []
    for item in inputs:
        try:
            client.log_inputs(run_id, [item])
        except Exception as error:
            if not _is_refusal(error):
                raise
            refused.append(f"data set {item.dataset.name}: {_first_line(error)}")
    return refused


def _make_dataset(name: str, digest: str, split: str, rows: int) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow keeps one data set of the same name and digest. All splits have the same digest, so the names differ.
    dataset = Dataset(
        name=escape_name(f"{name}/{split}", LONGEST_DATASET),
        digest=digest[:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": name}),
        profile=json.dumps({"num_rows": rows}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", split)])


def _log_batches(client: MlflowClient, run_id: str, kind: str, items: Sequence[Any], size: int) -> list[str]:
    """Logs items in batches. Halves a refused batch until the refused items are alone, so all others are logged.

    Args:
        client: the client of the store.
        run_id: the run.
        kind: `metrics`, `params` or `tags`.
        items: the items.
        size: the largest size of a batch.

    Returns:
        A line for each item that the store refused.
    """
    refused: list[str] = []
    for batch in split_batches(items, size):
        try:
            client.log_batch(run_id, **{kind: batch})  # type: ignore[arg-type]  # metrics, params or tags
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(batch) == 1:
                refused.append(f"{kind.removesuffix('s')} {batch[0].key}: {_first_line(error)}")
            else:
                refused += _log_batches(client, run_id, kind, batch, math.ceil(len(batch) / 2))
    return refused


def _is_refusal(error: Exception) -> bool:
    """Whether the store works, but does not accept an item."""
    return getattr(error, "error_code", None) in REFUSAL_CODES


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
