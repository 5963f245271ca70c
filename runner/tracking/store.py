"""What is done to MLflow: a store is reached with care, and a run in it is found, filled and ended.

The only module that imports MLflow, and only when a store is reached: that takes seconds.
Everything here can be done again without harm.
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
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from components.types import UserError
from runner.store_uri import encode_sqlite_path, find_sqlite_file, format_sqlite_uri
from runner.tracking.names import fit, fit_file, fit_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# Nothing is sent to third parties, nothing is printed, and a server that is gone costs seconds, not minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    RETRIES: "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
LOCKED_SECONDS = 5.0  # how long another process may keep a SQLite file locked; MLflow would wait for 20 s
FOLDER_TAG, PARENT_TAG, NOTE_TAG = "titrate.folder", "mlflow.parentRunId", "mlflow.note.content"
METRICS_A_BATCH, OTHERS_A_BATCH = 1000, 100  # MLflow's limits
LONGEST_PARAMETER, LONGEST_TAG, LONGEST_DATASET, LONGEST_DIGEST = 6000, 8000, 500, 36  # MLflow's limits, in characters
LONGEST_RUN_NAME = 250  # that of a column of PostgreSQL's and MySQL's tables
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # of what was sent, by a store that is well

Figure = tuple[str, float, int, int]
"""A metric's key, its value, the time in ms since 1970, the step."""


class DeletedError(UserError):
    """A run or an experiment that was deleted in MLflow, with the commands that restore or replace it."""


def connect(uri: str) -> MlflowClient:
    """A client of the store; raises OSError, sqlite3.Error or MlflowException where it is out of reach."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for logger in ("mlflow", "alembic", "urllib3"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    database = find_sqlite_file(uri)
    if database is None:
        return MlflowClient(uri)
    with _alone(database):
        if not database.exists() or not database.stat().st_size:
            _make(database)
        _check(database)
        return MlflowClient(_as_mlflow_takes_it(uri, database))


def find(client: MlflowClient, record: Mapping[str, Any], key: str) -> str | None:
    """The id of the run whose tag `titrate.folder` is `key`; None where there is none.

    Others of that tag, which a store made whose answer got lost on a repeated request, are deleted if they are empty.
    Raises DeletedError where the run, or the experiment, was deleted.
    """
    from mlflow.entities import ViewType

    experiment_id = _experiment(client, record["tracking"])
    found = client.search_runs([experiment_id], f"tags.`{FOLDER_TAG}` = '{key}'", ViewType.ALL)
    active = sorted((run for run in found if run.info.lifecycle_stage == "active"), key=_points_of, reverse=True)
    for run in active[1:]:
        if not _points_of(run):
            client.delete_run(run.info.run_id)
    if found and not active:
        raise _deleted_run(found[0], record["tracking"]["uri"])
    return active[0].info.run_id if active else None


def create(client: MlflowClient, record: Mapping[str, Any], key: str) -> str:
    """Makes the run of a record, tagged with the folder's `key`; its id, also where the answer got lost."""
    experiment_id = _experiment(client, record["tracking"])
    name = fit_text(record["name"], LONGEST_RUN_NAME, "record.json")
    try:
        with one_attempt():  # a repeated request would make a second run
            return client.create_run(experiment_id, record["created"], {FOLDER_TAG: key}, name).info.run_id
    except Exception:
        if (run_id := find(client, record, key)) is None:
            raise
        return run_id


def fill(client: MlflowClient, run_id: str, record: Mapping[str, Any], tags: Mapping[str, str]) -> list[str]:
    """Gives a run its tags, parameters and data sets; what the store refused of them."""
    from mlflow.entities import Param

    refused = log_tags(client, run_id, record["tags"] | tags)
    parameters = [Param(fit(key), _parameter(value)) for key, value in record["parameters"].items()]
    refused += _log(client, run_id, "params", parameters, OTHERS_A_BATCH)
    return refused + _log_datasets(client, run_id, [_dataset(**dataset) for dataset in record["datasets"]])


def status(client: MlflowClient, run_id: str, uri: str) -> str | None:
    """A run's status; None where the store, perhaps a new one, doesn't have it.

    Raises DeletedError where it, or its experiment, was deleted.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    if run.info.lifecycle_stage != "active":
        _refuse_deleted(client.get_experiment(run.info.experiment_id), uri)
        raise _deleted_run(run, uri)
    return run.info.status


def log_figures(client: MlflowClient, run_id: str, figures: Iterable[Figure]) -> list[str]:
    """Logs metrics; what the store refused. A SQL store keeps identical ones once, and turns infinity into 1.8e308."""
    from mlflow.entities import Metric

    metrics = [Metric(fit(key), value, timestamp, step) for key, value, timestamp, step in figures]
    return _log(client, run_id, "metrics", metrics, METRICS_A_BATCH)


def log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, object]) -> list[str]:
    """Sets tags; what the store refused of them."""
    from mlflow.entities import RunTag

    fitted = [RunTag(fit(key), fit_text(str(value), LONGEST_TAG, "record.json")) for key, value in tags.items()]
    return _log(client, run_id, "tags", fitted, OTHERS_A_BATCH)


def describe(client: MlflowClient, run_id: str, text: str, *, before: str) -> None:
    """Describes a run by `text`, unless somebody described it otherwise than by `before`."""
    described = client.get_run(run_id).data.tags.get(NOTE_TAG, "")
    if described in ("", before) and described != text:
        log_tags(client, run_id, {NOTE_TAG: text})


def go_on(client: MlflowClient, run_id: str) -> None:
    """Says that a run goes on, also where it had ended."""
    client.update_run(run_id, status="RUNNING")
    log_tags(client, run_id, dict.fromkeys(("status", "stopped_by", "error"), ""))


def end(client: MlflowClient, run_id: str, status: str, tags: Mapping[str, str], timestamp: int) -> None:
    """Ends a run as FINISHED, FAILED or KILLED, at a time in ms since 1970."""
    log_tags(client, run_id, tags)
    client.set_terminated(run_id, status, timestamp)


def check_place(client: MlflowClient, run_id: str, uri: str) -> None:
    """Raises UserError where a run's files would go elsewhere than beside the SQLite file of its store.

    A store may be a stranger's, and say that they go to a server of his, or over files of this user's.
    """
    place, database = client.get_run(run_id).info.artifact_uri or "", find_sqlite_file(uri)
    scheme, _, path = place.rpartition("://") if "://" in place else ("", "", place)
    homes = [Path("mlruns"), *([] if database is None else [database.parent])]  # MLflow's own home, and ours
    beside = any(Path(unquote(path)).resolve().is_relative_to(home.resolve()) for home in homes)
    if scheme not in ("", "file") or not beside:
        raise UserError(f"the store sends a run's files to {place}; tracking.uri={uri} in the same command allows it")


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Items in groups of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _log(client: MlflowClient, run_id: str, kind: str, items: Sequence[Any], size: int) -> list[str]:
    """Logs items of a kind in batches; one that the store refuses doesn't hold the others back, and is returned."""
    refused: list[str] = []
    for batch in batches(items, size):
        try:
            client.log_batch(run_id, **{kind: batch})  # type: ignore[arg-type]  # metrics, params or tags
        except Exception as error:
            if not _is_refusal(error):
                raise
            if len(batch) > 1:
                refused += _log(client, run_id, kind, batch, -(-len(batch) // 2))
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
    """Whether a store that is well refuses what was sent, as against being out of reach."""
    return getattr(error, "error_code", None) in REFUSALS


def _experiment(client: MlflowClient, tracking: Mapping[str, Any]) -> str:
    from mlflow.exceptions import MlflowException

    name = tracking["experiment"]
    if (number := tracking.get("experiment_id")) is not None:
        return _existing_experiment(client, number, name, tracking["uri"])
    if (experiment := client.get_experiment_by_name(name)) is not None:
        _refuse_deleted(experiment, tracking["uri"])
        return experiment.experiment_id
    database = find_sqlite_file(tracking["uri"])
    # Beside a SQLite file, rather than in the working folder of whoever came first.
    artifacts = None if database is None else (database.parent / "mlruns" / fit_file(name)).as_uri()
    try:
        return client.create_experiment(name, artifacts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _experiment(client, tracking)  # another process made it in this very moment


def _existing_experiment(client: MlflowClient, number: str, name: str | None, uri: str) -> str:
    """The id that MLFLOW_EXPERIMENT_ID named when the run began."""
    from mlflow.exceptions import MlflowException

    try:
        experiment = client.get_experiment(number)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(f"MLFLOW_EXPERIMENT_ID={number}: the store has no such experiment") from error
    if name not in (None, experiment.name):
        raise UserError(f"MLFLOW_EXPERIMENT_ID={number}: that experiment is {experiment.name}, not {name}")
    _refuse_deleted(experiment, uri)
    return experiment.experiment_id


def _refuse_deleted(experiment: Any, uri: str) -> None:
    if experiment.lifecycle_stage != "active":
        number, at = experiment.experiment_id, shlex.quote(uri)
        raise DeletedError(
            f"the MLflow experiment {experiment.name} was deleted; "
            f"`MLFLOW_TRACKING_URI={at} mlflow experiments restore --experiment-id {number}` restores it, "
            f"`mlflow gc --backend-store-uri {at} --experiment-ids {number}` makes room for a new one, "
            "tracking.experiment=NAME records in another"
        )


def _deleted_run(run: Run, uri: str) -> DeletedError:
    number, at = run.info.run_id, shlex.quote(uri)
    return DeletedError(
        f"the MLflow run {number} was deleted; `MLFLOW_TRACKING_URI={at} mlflow runs restore --run-id {number}` "
        f"restores it, `mlflow gc --backend-store-uri {at} --run-ids {number}` makes room for a new one"
    )


def _points_of(run: Run) -> int:
    return len(run.data.metrics)


@contextmanager
def one_attempt() -> Iterator[None]:
    """MLflow repeats no request."""
    before = os.environ.get(RETRIES, ENVIRONMENT[RETRIES])
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[RETRIES] = before


def _parameter(value: Any) -> str:
    """A parameter's value as it can be typed on the command line."""
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) <= LONGEST_PARAMETER:
        return fit_text(text, LONGEST_PARAMETER, "config.yaml")
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"sha256:{digest} (in full in config.yaml)"


def _dataset(name: str, digest: str, split: str, rows: int) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow keeps one of the data sets of a name and a digest, so the name tells the splits apart.
    dataset = Dataset(
        name=fit(f"{name}/{split}", LONGEST_DATASET),
        digest=digest[:LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": name}),
        profile=json.dumps({"num_rows": rows}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", split)])


def _make(database: Path) -> None:
    """Makes MLflow's tables in a file beside, renamed into place: a disk that fills meanwhile leaves no half store."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    new = database.with_name(f".{database.name}.new")
    for path in (new, Path(f"{new}-journal")):
        path.unlink(missing_ok=True)  # of a process that was killed
    try:
        engine = create_sqlalchemy_engine(_as_mlflow_takes_it(format_sqlite_uri(new), new))
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
        new.replace(database)
    finally:
        new.unlink(missing_ok=True)


def _as_mlflow_takes_it(uri: str, database: Path) -> str:
    """The URI, by a link where the folder has characters that URIs encode: MLflow would make the folder they spell."""
    folder = database.parent.absolute()
    return (
        uri if encode_sqlite_path(str(folder)) == str(folder) else format_sqlite_uri(_link(folder) / database.name, uri)
    )


@functools.cache
def _link(folder: Path) -> Path:
    """A link to a folder, as long as this process lives."""
    home = Path(tempfile.mkdtemp(prefix="titrate_"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "store").symlink_to(folder)
    return home / "store"


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
