"""Calls MLflow: connects to a store; finds or creates a run in it, logs to it, and ends it.

This is the only module that imports MLflow. It does so in its functions, because the import takes seconds.
Calling a function again with the same arguments is harmless.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import json
import logging
import os
import shlex
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from components.types import UserError
from runner.store_uri import encode_sqlite_path, find_sqlite_file, format_sqlite_uri
from runner.tracking.names import escape_file_name, escape_name, escape_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Experiment, Run

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# MLflow sends no telemetry and prints nothing, and an unreachable server costs seconds, not minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    RETRIES: "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
LOCK_SECONDS = 5.0  # the longest wait for a SQLite file that another process has locked; MLflow would wait for 20 s
FOLDER_TAG, PARENT_TAG, NOTE_TAG = "titrate.folder", "mlflow.parentRunId", "mlflow.note.content"
METRICS_PER_BATCH, TAGS_PER_BATCH = 1000, 100  # MLflow's limits; that of parameters is the same as that of tags
LONGEST_PARAMETER, LONGEST_TAG, LONGEST_DATASET, LONGEST_DIGEST = 6000, 8000, 500, 36  # MLflow's limits, in characters
LONGEST_RUN_NAME = 250  # characters of a column in PostgreSQL and MySQL
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


class DeletedError(UserError):
    """A run or an experiment was deleted in MLflow. The message has the commands that restore or replace it."""


def connect(uri: str) -> MlflowClient:
    """Connects to a store, whose SQLite file is created if it is missing.

    Raises:
        OSError, sqlite3.Error, MlflowException: the store can't be reached.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for logger in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    database = find_sqlite_file(uri)
    if database is None:
        return MlflowClient(uri)
    with _creation_lock(database):
        if not database.exists() or not database.stat().st_size:
            _create_database(database)
        _check_writable(database)
        _enable_wal(database)
        return MlflowClient(_uri_for_mlflow(uri, database))


def find_run(client: MlflowClient, record: Mapping[str, Any], folder_id: str) -> str | None:
    """Finds the MLflow run of a run folder. Creates its experiment if it is missing.

    A request whose answer got lost may have been repeated, so there may be several runs with the tag of the folder. The
    run with the most metrics is the run of the folder. The others are deleted if they have no metrics.

    Args:
        client: the client of the store.
        record: the contents of `record.json` in the folder.
        folder_id: value of the tag `titrate.folder`, which no other run folder has and which stays if it is moved.

    Returns:
        The run's id; None: there is no such run.

    Raises:
        DeletedError: the run or its experiment was deleted.
    """
    from mlflow.entities import ViewType

    experiment_id = _find_or_create_experiment(client, record["tracking"])
    runs = client.search_runs([experiment_id], f"tags.`{FOLDER_TAG}` = '{folder_id}'", ViewType.ALL)
    active = sorted((run for run in runs if run.info.lifecycle_stage == "active"), key=_count_metrics, reverse=True)
    for run in active[1:]:
        if not _count_metrics(run):
            client.delete_run(run.info.run_id)
    if runs and not active:
        raise _deleted_run_error(runs[0], record["tracking"]["uri"])
    return active[0].info.run_id if active else None


def create_run(client: MlflowClient, record: Mapping[str, Any], folder_id: str) -> str:
    """Creates the MLflow run of a run folder. Returns its id. The arguments are those of `find_run`."""
    experiment_id = _find_or_create_experiment(client, record["tracking"])
    name = escape_text(record["name"], LONGEST_RUN_NAME, full_copy="record.json")
    try:
        with without_retries():  # a repeated request would create a second run
            return client.create_run(experiment_id, record["created"], {FOLDER_TAG: folder_id}, name).info.run_id
    except Exception:
        if (run_id := find_run(client, record, folder_id)) is None:
            raise
        return run_id  # the run was created, but the answer got lost


def log_record(client: MlflowClient, run_id: str, record: Mapping[str, Any], tags: Mapping[str, str]) -> list[str]:
    """Logs the tags, parameters and data sets of a run. Returns a line for each item that the store refused."""
    from mlflow.entities import Param

    refused = log_tags(client, run_id, record["tags"] | tags)
    parameters = [Param(escape_name(key), _format_parameter(value)) for key, value in record["parameters"].items()]
    refused += _log_batches(client, run_id, "params", parameters, TAGS_PER_BATCH)
    return refused + _log_datasets(client, run_id, [_make_dataset(**dataset) for dataset in record["datasets"]])


def read_status(client: MlflowClient, run_id: str, uri: str) -> str | None:
    """The status of a run; None: the store doesn't have the run, perhaps because the store is new.

    Raises:
        DeletedError: the run or its experiment was deleted.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    if run.info.lifecycle_stage != "active":
        _check_not_deleted(client.get_experiment(run.info.experiment_id), uri)
        raise _deleted_run_error(run, uri)
    return run.info.status


def log_metrics(client: MlflowClient, run_id: str, points: Iterable[MetricPoint]) -> list[str]:
    """Logs metrics. Returns a line for each that the store refused.

    A SQL store keeps identical points once, and stores infinity as 1.8e308.
    """
    from mlflow.entities import Metric

    metrics = [Metric(escape_name(point.key), point.value, point.timestamp, point.step) for point in points]
    return _log_batches(client, run_id, "metrics", metrics, METRICS_PER_BATCH)


def log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, object]) -> list[str]:
    """Sets tags. Returns a line for each that the store refused."""
    from mlflow.entities import RunTag

    items = [
        RunTag(escape_name(key), escape_text(str(value), LONGEST_TAG, full_copy="record.json"))
        for key, value in tags.items()
    ]
    return _log_batches(client, run_id, "tags", items, TAGS_PER_BATCH)


def set_description(client: MlflowClient, run_id: str, text: str, *, previous: str) -> None:
    """Sets a run's description, unless somebody changed it since it was set to `previous`."""
    described = client.get_run(run_id).data.tags.get(NOTE_TAG, "")
    if described in ("", previous) and described != text:
        log_tags(client, run_id, {NOTE_TAG: text})


def resume_run(client: MlflowClient, run_id: str) -> None:
    """Marks a run as running, also if it had ended, and clears the tags of its end."""
    client.update_run(run_id, status="RUNNING")
    log_tags(client, run_id, dict.fromkeys(("status", "ended_by", "stopped_by", "error"), ""))


def end_run(client: MlflowClient, run_id: str, status: str, tags: Mapping[str, str], timestamp: int) -> None:
    """Ends a run.

    Args:
        client: the client of the store.
        run_id: the run.
        status: FINISHED, FAILED or KILLED.
        tags: the tags of the end.
        timestamp: when it ended, in milliseconds since 1970.
    """
    log_tags(client, run_id, tags)
    client.set_terminated(run_id, status, timestamp)


def check_artifact_location(client: MlflowClient, run_id: str, uri: str) -> None:
    """Raises UserError if MLflow would write the files of a run elsewhere than beside the SQLite file of the store.

    The location is in the store, so a downloaded store could send files to a stranger's server or overwrite the user's.
    Don't call this for a URI that the user named.
    """
    location, database = client.get_run(run_id).info.artifact_uri or "", find_sqlite_file(uri)
    scheme, _, path = location.rpartition("://")
    allowed = [Path("mlruns"), *([] if database is None else [database.parent])]  # MLflow's default, and ours
    is_allowed = any(Path(unquote(path)).resolve().is_relative_to(folder.resolve()) for folder in allowed)
    if scheme not in ("", "file") or not is_allowed:
        raise UserError(f"the store sends a run's files to {location}; to allow it, add tracking.uri={uri}")


def split_batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Splits items into batches of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _log_batches(client: MlflowClient, run_id: str, kind: str, items: Sequence[Any], size: int) -> list[str]:
    """Logs items in batches. A refused batch is halved until the refused items are alone, so all others are logged.

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
            if len(batch) > 1:
                refused += _log_batches(client, run_id, kind, batch, -(-len(batch) // 2))
            else:
                refused.append(f"{kind.removesuffix('s')} {batch[0].key}: {str(error).splitlines()[0]}")
    return refused


def _log_datasets(client: MlflowClient, run_id: str, datasets: Sequence[DatasetInput]) -> list[str]:
    refused = []
    for dataset in datasets:
        try:
            client.log_inputs(run_id, [dataset])
        except Exception as error:
            if not _is_refusal(error):
                raise
            refused.append(f"data set {dataset.dataset.name}: {str(error).splitlines()[0]}")
    return refused


def _is_refusal(error: Exception) -> bool:
    """Whether the store works, but does not accept an item."""
    return getattr(error, "error_code", None) in REFUSAL_CODES


def _find_or_create_experiment(client: MlflowClient, tracking: Mapping[str, Any]) -> str:
    from mlflow.exceptions import MlflowException

    name = tracking["experiment"]
    if (experiment_id := tracking.get("experiment_id")) is not None:
        return _check_experiment(client, experiment_id, name, tracking["uri"])
    if (experiment := client.get_experiment_by_name(name)) is not None:
        _check_not_deleted(experiment, tracking["uri"])
        return experiment.experiment_id
    database = find_sqlite_file(tracking["uri"])
    # The artifacts of a SQLite store are beside its file. MLflow's default is this process's working folder.
    artifacts = None if database is None else (database.parent / "mlruns" / escape_file_name(name)).as_uri()
    try:
        return client.create_experiment(name, artifacts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _find_or_create_experiment(client, tracking)  # another process created it in the meantime


def _check_experiment(client: MlflowClient, experiment_id: str, name: str | None, uri: str) -> str:
    """Checks and returns the id that MLFLOW_EXPERIMENT_ID named when the run started."""
    from mlflow.exceptions import MlflowException

    try:
        experiment = client.get_experiment(experiment_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(f"MLFLOW_EXPERIMENT_ID={experiment_id}: the store has no such experiment") from error
    if name not in (None, experiment.name):
        raise UserError(f"MLFLOW_EXPERIMENT_ID={experiment_id}: that experiment is {experiment.name}, not {name}")
    _check_not_deleted(experiment, uri)
    return experiment.experiment_id


def _check_not_deleted(experiment: Experiment, uri: str) -> None:
    if experiment.lifecycle_stage != "active":
        number, quoted_uri = experiment.experiment_id, shlex.quote(uri)
        raise DeletedError(
            f"the MLflow experiment {experiment.name} was deleted; "
            f"`MLFLOW_TRACKING_URI={quoted_uri} mlflow experiments restore --experiment-id {number}` restores it, "
            f"`mlflow gc --backend-store-uri {quoted_uri} --experiment-ids {number}` makes room for a new one, "
            "tracking.experiment=NAME records in another"
        )


def _deleted_run_error(run: Run, uri: str) -> DeletedError:
    run_id, quoted_uri = run.info.run_id, shlex.quote(uri)
    return DeletedError(
        f"the MLflow run {run_id} was deleted; "
        f"`MLFLOW_TRACKING_URI={quoted_uri} mlflow runs restore --run-id {run_id}` restores it, "
        f"`mlflow gc --backend-store-uri {quoted_uri} --run-ids {run_id}` makes room for a new one"
    )


def _count_metrics(run: Run) -> int:
    return len(run.data.metrics)


@contextmanager
def without_retries() -> Iterator[None]:
    """MLflow repeats no request that fails."""
    before = os.environ.get(RETRIES, ENVIRONMENT[RETRIES])
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[RETRIES] = before


def _format_parameter(value: Any) -> str:
    """A parameter's value as it can be typed on the command line. A value over LONGEST_PARAMETER becomes its digest."""
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= LONGEST_PARAMETER:
        return escape_text(text, LONGEST_PARAMETER, full_copy="config.yaml")  # escapes may lengthen it
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"sha256:{digest} (in full in config.yaml)"


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


def _create_database(database: Path) -> None:
    """Creates MLflow's tables in a temporary file, then renames it, so that a full disk leaves no damaged store."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    temporary = database.with_name(f".{database.name}.new")
    for path in (temporary, Path(f"{temporary}-journal")):
        path.unlink(missing_ok=True)  # of a process that was killed
    try:
        engine = create_sqlalchemy_engine(_uri_for_mlflow(format_sqlite_uri(temporary), temporary))
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
        temporary.replace(database)
    finally:
        temporary.unlink(missing_ok=True)


def _uri_for_mlflow(uri: str, database: Path) -> str:
    """The URI of a database as MLflow can read it.

    MLflow does not decode the path of a SQLite URI: for `/a%3Fb` it would create a folder of that name. So if the
    path has characters that a URI encodes, the URI goes through a link to the folder.
    """
    folder = database.parent.absolute()
    if encode_sqlite_path(str(folder)) == str(folder):
        return uri
    return format_sqlite_uri(_link_to(folder) / database.name, template=uri)


@functools.cache
def _link_to(folder: Path) -> Path:
    """A link to a folder, which is removed when this process ends."""
    home = Path(tempfile.mkdtemp(prefix="titrate_"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "store").symlink_to(folder)
    return home / "store"


def _check_writable(database: Path) -> None:
    """Raises a one-line error for a locked or read-only file. MLflow would wait, then print a hundred lines."""
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _enable_wal(database: Path) -> None:
    """Switches to WAL mode, in which processes may read while another one writes, unless the file is in use.

    The file stores the mode, so one success suffices.
    """
    connection = sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)
    with closing(connection), suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def _creation_lock(database: Path) -> Iterator[None]:
    """Locks a database while it is created: MLflow fails if two processes create its tables at the same time."""
    if not database.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {database.parent}")
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
