"""Helpers for tests of delivery: run folders, a child process that runs in this one, a server of MLflow."""

import importlib
import io
import json
import os
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, redirect_stderr
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.files import write_atomically
from runner.record.outbox import Outbox, write_checkpointed_size
from runner.tracking import deliver

SUMMARY = {
    "status": "finished",
    "stopped_by": None,
    "run_id": None,
    "metrics": {"test/accuracy": 0.9, "epochs": 3},
}


def make_run_folder(folder: Path, uri: str, **record: Any) -> Path:
    """Creates the folder of a run that has just started.

    Args:
        folder: the folder.
        uri: the store of its record.
        record: changes of its `record.json`.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    (folder / "overrides.yaml").write_text("[seed=0]\n")
    values = {
        "id": uuid.uuid4().hex,
        "name": "digits_cnn",
        "digest": "0123456789",
        "created": 1_700_000_000_000,
        "tags": {"seed": "0"},
        "parameters": {"seed": 0},
        "datasets": [{"name": "digits", "digest": "d" * 64, "split": split, "rows": 9} for split in ("train", "test")],
        "tracking": {"uri": uri, "experiment": "titrate"},
    }
    (folder / "record.json").write_text(json.dumps(values | record))
    return folder


def write_points(folder: Path, epochs: int, *, first: int = 1, covered: int = 0) -> list[int]:
    """Writes a covered point for each of some epochs, as a run does that resumes at `covered` bytes of points.

    Returns:
        The size of the points in bytes after each epoch.
    """
    sizes = []
    with closing(Outbox(folder, checkpointed_size=covered)) as box:
        for epoch in range(first, first + epochs):
            box.add(
                epoch * 100,
                {"epoch": epoch, "train/loss": 1 / epoch, "valid/loss": 2 / epoch, "learning_rate": 1e-3},
            )
            sizes.append(box.flush())
            write_checkpointed_size(folder, sizes[-1])
    return sizes


def write_summary(folder: Path, **changes: Any) -> None:
    """Ends the run of a folder."""
    write_atomically(folder / "summary.json", json.dumps(SUMMARY | changes))


class InProcessChild:
    """Replaces the child process of a delivery. Closing its standard input delivers, in this process."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder, self._uri = folder, uri
        self.stdin, self.returncode = SimpleNamespace(close=self._deliver, write=lambda data: 1), None

    def poll(self) -> int | None:
        return self.returncode

    def _deliver(self) -> None:
        with pytest.MonkeyPatch.context() as patched, io.StringIO() as log:
            patched.setenv("MLFLOW_TRACKING_URI", self._uri)
            patched.setattr(os, "nice", lambda level: None)
            patched.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: 0))
            patched.setattr(os, "read", lambda *arguments: b"")  # standard input is closed
            patched.setattr("runner.figures.draw", lambda folder: [])
            with redirect_stderr(log):
                self.returncode = deliver.main(self._folder)
            (self._folder / "delivery.log").write_text(log.getvalue())


class Server:
    """MLflow's server over a SQLite file, in a thread; it records the authorizations, and can lose answers."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.authorizations: set[str | None] = set()
        self.lost: set[str] = set()  # ends of paths whose next answer is lost
        self.uri = ""

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.authorizations.add(environment.get("HTTP_AUTHORIZATION"))
        answer = list(self._application(environment, start))
        if lost := next((end for end in self.lost if environment["PATH_INFO"].endswith(end)), None):
            self.lost.remove(lost)
            start("502 Bad Gateway", [], sys.exc_info())
            return []
        return answer


@contextmanager
def serve_store(database: Path) -> Iterator[Server]:
    """Serves a store over HTTP."""
    with warnings.catch_warnings():  # from imports of MLflow's server
        warnings.simplefilter("ignore")
        importlib.import_module("mlflow.server.fastapi_app")  # otherwise the first search for runs imports it
        from mlflow.server import app, handlers
        from mlflow.tracking._tracking_service import utils
        from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *arguments: Any) -> None: ...

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{database}")
        patched.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(database.parent / "artifacts"))
        patched.setattr(handlers, "_tracking_store", None)
        # MLflow's server changes both, which would affect later tests.
        patched.setenv("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI", ""))
        patched.setattr(utils, "_tracking_uri", utils._tracking_uri)
        server = Server(app)
        serving = make_server("127.0.0.1", 0, server, threaded=True, request_handler=Quiet)
        server.uri = f"http://127.0.0.1:{serving.port}"
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            serving.shutdown()
            thread.join()
            serving.server_close()
