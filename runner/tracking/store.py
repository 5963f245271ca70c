"""Connects to an MLflow store. Finds or creates the MLflow run of a run folder, and starts and ends it.

MLflow is imported in functions, because the import takes seconds. Calling a function again with the same arguments is
harmless.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from components.types import UserError
from runner.store_uri import find_sqlite_file
from runner.tracking.log_items import log_tags
from runner.tracking.names import escape_file_name, escape_text
from runner.tracking.sqlite_store import prepared_database

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# MLflow sends no telemetry and prints nothing, and an unreachable server costs seconds, not minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    RETRIES: "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
FOLDER_TAG = "titrate.folder"  # identifies the run folder
PARENT_TAG = "mlflow.parentRunId"
DESCRIPTION_TAG = "mlflow.note.content"
END_TAGS = ("status", "ended_by", "stopped_by", "error", "best", "best_folder")  # only a sweep has the last two
LONGEST_RUN_NAME = 250  # characters of a column in PostgreSQL and MySQL


class DeletedError(UserError):
    """A run or an experiment was deleted in MLflow. The message has the commands that restore or replace it."""


def connect(uri: str) -> MlflowClient:
    """Connects to a store. Creates its SQLite file if it is missing.

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
    with prepared_database(uri, database) as mlflow_uri:
        return MlflowClient(mlflow_uri)


@contextmanager
def without_retries() -> Iterator[None]:
    """Inside the context, MLflow repeats no request that fails."""
    before = os.environ.get(RETRIES, ENVIRONMENT[RETRIES])
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[RETRIES] = before


def find_run(client: MlflowClient, record: Mapping[str, Any], folder_id: str) -> str | None:
    """Finds the MLflow run of a run folder, by its tag. Creates the experiment if it is missing.

    There may be several runs with the tag, if the answer to `create_run` got lost. The run with the most metrics is
    the run of the folder. The others are deleted if they have no metrics.

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
    active = [run for run in runs if run.info.lifecycle_stage == "active"]
    if not active:
        if runs:
            raise _make_deleted_run_error(runs[0], record["tracking"]["uri"])
        return None
    run_of_folder, *duplicates = sorted(active, key=_count_metrics, reverse=True)
    for duplicate in duplicates:
        if not _count_metrics(duplicate):
            client.delete_run(duplicate.info.run_id)
    return run_of_folder.info.run_id


def create_run(client: MlflowClient, record: Mapping[str, Any], folder_id: str) -> str:
    """Creates the MLflow run of a run folder. Returns its id. The arguments are those of `find_run`."""
    experiment_id = _find_or_create_experiment(client, record["tracking"])
    name = run_name(record)
    try:
        with without_retries():  # a repeated request would create a second run
            run = client.create_run(experiment_id, record["created"], {FOLDER_TAG: folder_id}, name)
    except Exception:
        run_id = find_run(client, record, folder_id)
        if run_id is None:
            raise
        return run_id  # the run was created, but the answer got lost
    return run.info.run_id


def run_name(record: Mapping[str, Any]) -> str:
    """The name of the MLflow run that has a record."""
    return escape_text(record.get("title") or record["name"], LONGEST_RUN_NAME, full_copy="record.json")


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
        raise _make_deleted_run_error(run, uri)
    return run.info.status


def set_description(client: MlflowClient, run_id: str, text: str, *, previous: str) -> None:
    """Sets a run's description, unless somebody changed it since it was set to `previous`."""
    current = client.get_run(run_id).data.tags.get(DESCRIPTION_TAG, "")
    if current in ("", previous) and current != text:
        log_tags(client, run_id, {DESCRIPTION_TAG: text})


def rename_run(client: MlflowClient, run_id: str, name: str, *, previous: str) -> None:
    """Names a run, if it still has the name `previous`: the user may have given it another."""
    if client.get_run(run_id).info.run_name == previous != name:
        client.update_run(run_id, name=name)


def resume_run(client: MlflowClient, run_id: str) -> None:
    """Marks a run as running, also if it had ended, and clears the tags of its end."""
    client.update_run(run_id, status="RUNNING")
    _replace_tags(client, run_id, dict.fromkeys(END_TAGS, ""))


def end_run(client: MlflowClient, run_id: str, status: str, tags: Mapping[str, str], timestamp: int) -> None:
    """Ends a run.

    Args:
        client: the client of the store.
        run_id: the run.
        status: FINISHED, FAILED or KILLED.
        tags: the tags of the end. An empty one is removed.
        timestamp: when it ended, in milliseconds since 1970.
    """
    _replace_tags(client, run_id, tags)
    client.set_terminated(run_id, status, timestamp)


def _replace_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Sets tags, and removes those whose new value is empty."""
    log_tags(client, run_id, {name: value for name, value in tags.items() if value})
    for name in client.get_run(run_id).data.tags.keys() & {name for name, value in tags.items() if not value}:
        client.delete_tag(run_id, name)


def check_artifact_location(client: MlflowClient, run_id: str, uri: str) -> None:
    """Raises UserError if MLflow would write the files of a run elsewhere than beside the SQLite file of the store.

    The location is in the store, so a downloaded store could send files to a stranger's server or overwrite the user's.
    Don't call this for a URI that the user named.
    """
    database = find_sqlite_file(uri)
    allowed = [Path("mlruns")]  # MLflow's default
    if database is not None:
        allowed.append(database.parent)  # Titrate's default
    location = client.get_run(run_id).info.artifact_uri or ""
    scheme, _, path = location.rpartition("://")
    folder = Path(unquote(path)).resolve()
    is_allowed = any(folder.is_relative_to(parent.resolve()) for parent in allowed)
    if scheme not in ("", "file") or not is_allowed:
        raise UserError(f"the store sends a run's files to {location}; to allow it, add tracking.uri={uri}")


def _find_or_create_experiment(client: MlflowClient, tracking: Mapping[str, Any]) -> str:
    """The id of the experiment that a record names by its id or its name. Only a name is created if it is missing."""
    from mlflow.exceptions import MlflowException

    name, experiment_id, uri = tracking["experiment"], tracking.get("experiment_id"), tracking["uri"]
    if experiment_id is not None:
        return _find_experiment(client, experiment_id, name, uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        _check_not_deleted(experiment, uri)
        return experiment.experiment_id
    try:
        return client.create_experiment(name, _choose_artifact_location(name, uri))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return _find_or_create_experiment(client, tracking)  # another process created it in the meantime


def _choose_artifact_location(experiment: str, uri: str) -> str | None:
    """The folder beside the SQLite file of a store; None: the server's.

    MLflow's default for a SQLite store is the working folder of this process.
    """
    database = find_sqlite_file(uri)
    return None if database is None else (database.parent / "mlruns" / escape_file_name(experiment)).as_uri()


def _find_experiment(client: MlflowClient, experiment_id: str, name: str | None, uri: str) -> str:
    """Checks the experiment that MLFLOW_EXPERIMENT_ID named when the run started. Returns its id."""
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
    if experiment.lifecycle_stage == "active":
        return
    number, quoted_uri = experiment.experiment_id, shlex.quote(uri)
    raise DeletedError(
        f"the MLflow experiment {experiment.name} was deleted; "
        f"`MLFLOW_TRACKING_URI={quoted_uri} mlflow experiments restore --experiment-id {number}` restores it, "
        f"`mlflow gc --backend-store-uri {quoted_uri} --experiment-ids {number}` makes room for a new one, "
        "tracking.experiment=NAME records in another"
    )


def _make_deleted_run_error(run: Run, uri: str) -> DeletedError:
    run_id, quoted_uri = run.info.run_id, shlex.quote(uri)
    return DeletedError(
        f"the MLflow run {run_id} was deleted; "
        f"`MLFLOW_TRACKING_URI={quoted_uri} mlflow runs restore --run-id {run_id}` restores it, "
        f"`mlflow gc --backend-store-uri {quoted_uri} --run-ids {run_id}` makes room for a new one"
    )


def _count_metrics(run: Run) -> int:
    return len(run.data.metrics)
