"""What is done to MLflow: a store is reached with care, and a run in it is found, filled and ended.

The only module that imports MLflow, and only when a store is reached: that takes seconds.
Everything here can be done again without harm.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

# Nothing is sent to third parties, nothing is printed, and a server that is gone costs seconds, not minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
LOCKED_SECONDS = 5.0  # how long another process may keep a SQLite file locked; MLflow would wait for 20 s
FOLDER_TAG, PARENT_TAG = "titrate.folder", "mlflow.parentRunId"
POINTS_A_BATCH, PARAMETERS_A_BATCH = 1000, 100  # MLflow's limits
LONGEST_PARAMETER, LONGEST_TAG, LONGEST_DIGEST = 6000, 8000, 36  # MLflow's limits, in characters

Figure = tuple[str, float, int, int]
"""A metric's key, its value, the time in ms since 1970, the step."""


def connect(uri: str) -> MlflowClient:
    """A client of the store; raises OSError, sqlite3.Error or MlflowException where it is out of reach."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for logger in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    database = sqlite_file(uri)
    if database is None:
        return MlflowClient(uri)
    with _alone(database):
        _check(database)
        return MlflowClient(uri)


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for other stores."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri or path.startswith(("file:", ":memory:")) else Path(path)


def find_or_create(client: MlflowClient, record: Mapping[str, Any], key: str, parent: str | None = None) -> str:
    """The id of the one run whose tag `titrate.folder` is `key`, with its tags, parameters and data sets.

    `parent` is the id of the run that it is shown below, that of its sweep.
    """
    from mlflow.entities import Param

    experiment_id = _experiment(client, record["tracking"]["experiment"])
    found = client.search_runs([experiment_id], f"tags.`{FOLDER_TAG}` = '{key}'", max_results=1)
    tags = _tags(record["tags"]) | {FOLDER_TAG: key}
    tags |= {PARENT_TAG: parent} if parent else {}
    run = found[0] if found else client.create_run(experiment_id, record["created"], tags, record["name"])
    parameters = [Param(key, _parameter(value)) for key, value in record["parameters"].items()]
    for batch in batches(parameters, PARAMETERS_A_BATCH):
        client.log_batch(run.info.run_id, params=batch)
    client.log_inputs(run.info.run_id, [_dataset(**dataset) for dataset in record["datasets"]])
    return run.info.run_id


def tag(client: MlflowClient, run_id: str, tags: Mapping[str, Any]) -> None:
    """Sets a run's tags, in place of those of the same names."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(*one) for one in _tags(tags).items()])


def status(client: MlflowClient, run_id: str) -> str | None:
    """A run's status; None where the store, perhaps a new one, doesn't have it."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(run_id).info.status
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def log_figures(client: MlflowClient, run_id: str, figures: Iterable[Figure]) -> None:
    """Logs metrics. A SQL store keeps one of identical ones, and turns infinity into 1.797e308."""
    from mlflow.entities import Metric

    for batch in batches([Metric(*figure) for figure in figures], POINTS_A_BATCH):
        client.log_batch(run_id, metrics=batch)


def go_on(client: MlflowClient, run_id: str) -> None:
    """Says that a run goes on, also where it had ended."""
    client.update_run(run_id, status="RUNNING")
    for tag in ("status", "stopped_by"):
        client.set_tag(run_id, tag, "")


def end(client: MlflowClient, run_id: str, status: str, tags: Mapping[str, str], timestamp: int) -> None:
    """Ends a run as FINISHED, FAILED or KILLED, at a time in ms since 1970."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(*tag) for tag in tags.items()])
    client.set_terminated(run_id, status, timestamp)


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Items in groups of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    if (experiment := client.get_experiment_by_name(name)) is not None:
        return experiment.experiment_id
    database = sqlite_file(client.tracking_uri)
    # Beside a SQLite file, rather than in the working folder of whoever came first.
    artifacts = None if database is None else (database.parent / "mlruns" / name).as_uri()
    try:
        return client.create_experiment(name, artifacts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _experiment(client, name)  # another process made it in this very moment


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value)[:LONGEST_TAG] for name, value in tags.items()}


def _parameter(value: Any) -> str:
    """A parameter's value as it can be typed on the command line."""
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= LONGEST_PARAMETER:
        return text
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()} (in full in config.yaml)"


def _dataset(name: str, digest: str, split: str, rows: int) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow keeps one of the data sets of a name and a digest, so the name tells the splits apart.
    dataset = Dataset(
        name=f"{name}/{split}",
        digest=digest[:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": name}),
        profile=json.dumps({"num_rows": rows}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", split)])


def _check(database: Path) -> None:
    """Fails at once, and in few words, where MLflow would wait and print a hundred lines."""
    with closing(sqlite3.connect(database, timeout=LOCKED_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        with suppress(sqlite3.OperationalError):  # others may read while one writes; it lasts, and can wait
            connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """One process at a time: two that make MLflow's tables at once crash."""
    if not database.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {database.parent}")
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
