"""`mlflow ui`, started in the folder of a sweep, serves its runs and figures."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from components.data import Arrays

SECONDS = 120  # the longest wait; a shared machine may be slow


class Server:
    """MLflow's own server in the working folder."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def request(self, path: str, **body: Any) -> Any:
        """Sends a request, as POST if it has a body. Returns the answer."""
        data = json.dumps(body).encode() if body else None
        message = urllib.request.Request(f"{self._url}/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(message, timeout=SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.request("health"))
        except OSError:
            return False


@pytest.fixture
def server(database: Path, in_empty_folder: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    with open("server.log", "wb") as log:
        environment = {
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }  # not needed here
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    server = Server(port)
    began = time.monotonic()
    try:
        while not server.is_running():
            assert process.poll() is None, Path("server.log").read_text()
            assert time.monotonic() - began < SECONDS, Path("server.log").read_text()
            time.sleep(0.2)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.mark.slow
@pytest.mark.optax
def test_the_ui_serves_a_sweep_its_runs_and_their_figures(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.sweep.launch.DELIVERY_SECONDS", SECONDS)
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    source = Arrays(columns={"image": images, "label": np.arange(60) % 3}, valid=15, test=15)
    words = ["architecture.widths=[8]", "training.epochs=2", "training.batch_size=16", "quiet=true", "seed=1,2"]
    result = runner.multirun(*words, source=source)
    experiment = server.request("api/2.0/mlflow/experiments/get-by-name?experiment_name=titrate")["experiment"]
    runs = server.request("api/2.0/mlflow/runs/search", experiment_ids=[experiment["experiment_id"]])["runs"]
    tags = {run["info"]["run_id"]: {tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs}
    parents = [run_id for run_id, tag in tags.items() if "mlflow.parentRunId" not in tag]
    assert parents == [result.run_id]
    children = [run_id for run_id, tag in tags.items() if tag.get("mlflow.parentRunId") == result.run_id]
    assert len(children) == 2
    for run_id, figure in [(result.run_id, "sweep.png"), *((child, "confusion.png") for child in children)]:
        while figure not in (files := list_figures(server, run_id)):  # they follow the end of the run
            time.sleep(0.1)
        assert files[figure] > 1000


def list_figures(server: Server, run_id: str | None) -> dict[str, int]:
    """The figures of a run with their sizes in bytes."""
    listed = server.request(f"api/2.0/mlflow/artifacts/list?run_id={run_id}&path=figures").get("files", [])
    return {Path(file["path"]).name: int(file["file_size"]) for file in listed}
