"""`mlflow ui`, started in the folder of a sweep, shows its runs and their figures."""

import json
import os
import runpy
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

SECONDS = 120  # time limit of each step, long enough for a busy machine


class Server:
    """Sends requests to MLflow's server, which runs in the working folder."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def request(self, path: str, **body: Any) -> Any:
        """Returns the response as JSON, or its bytes if it is not JSON. A request with a body is a POST."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self._url}/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            text = response.read()
        return json.loads(text) if text.startswith(b"{") else text

    def is_running(self) -> bool:
        try:
            return bool(self.request("health"))
        except OSError:
            return False


@pytest.fixture
def server(database: Path, in_empty_folder: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free_socket:
        port = free_socket.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    with open("server.log", "wb") as log:
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # starts fewer processes
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    server = Server(port)
    start = time.monotonic()
    try:
        while not server.is_running():
            assert process.poll() is None, Path("server.log").read_text()
            assert time.monotonic() - start < SECONDS, Path("server.log").read_text()
            time.sleep(0.2)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.mark.slow
@pytest.mark.optax
def test_the_ui_shows_the_parent_run_its_child_runs_and_figures(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.sweep.launch.DELIVERY_SECONDS", SECONDS)
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    source = Arrays(columns={"image": images, "label": np.arange(60) % 3}, valid=15, test=15)
    overrides = ["architecture.widths=[8]", "training.epochs=2", "training.batch_size=16", "quiet=true", "seed=1,2"]
    result = runner.multirun(*overrides, source=source)
    experiment = server.request("api/2.0/mlflow/experiments/get-by-name?experiment_name=Arrays")["experiment"]
    runs = server.request("api/2.0/mlflow/runs/search", experiment_ids=[experiment["experiment_id"]])["runs"]
    parents = {}
    for run in runs:
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        parents[run["info"]["run_id"]] = tags.get("mlflow.parentRunId")
    assert [run_id for run_id, parent in parents.items() if parent is None] == [result.run_id]
    children = [run_id for run_id, parent in parents.items() if parent == result.run_id]
    assert len(children) == 2
    for run_id, figure in [(result.run_id, "sweep.png"), *((child, "confusion.png") for child in children)]:
        while figure not in (sizes := figure_sizes(server, run_id)):  # figures are delivered after the end of a run
            time.sleep(0.1)
        assert sizes[figure] > 1000


def figure_sizes(server: Server, run_id: str | None) -> dict[str, int]:
    """Returns the sizes of a run's figures in bytes, by file name."""
    files = server.request(f"api/2.0/mlflow/artifacts/list?run_id={run_id}&path=figures").get("files", [])
    return {Path(file["path"]).name: int(file["file_size"]) for file in files}


@pytest.mark.slow
def test_pages_tell_runs_apart_and_show_learning_curves_first(in_empty_folder: Path) -> None:
    ui = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/mlflow_ui.py"))
    if ui["find_chromium"]() is None:
        pytest.skip("Chromium is not installed")
    runs = ui["make_store"](in_empty_folder)
    pages = ui["list_pages"](runs)
    with ui["serve"](in_empty_folder) as address:
        shown = {name: ui["read_text"](f"{address}{page}") for name, page in pages.items() if name in PAGE_TEXTS}
    for name, texts in PAGE_TEXTS.items():
        position = 0
        for text in texts:  # in this order
            assert text in shown[name][position:], (name, text, shown[name])
            position = shown[name].index(text, position)


PAGE_TEXTS = {
    "experiments": ["breast_cancer_mlp", "digits_mlp", "shop.csv", "digits_cnn"],
    "list_sweep": ["digits · mlp", "4 runs over lr, seed"],
    "list_table": ["shop.csv · mlp", "shop.csv/train"],
    "run_plain": [
        "epochs 5 · digits · sequential",
        "the first try",
        "How well does a small CNN",
        "titrate experiment=",
    ],
    "run_failed": ["optimizer sgd · lr 1e6", "diverged: the objective is not finite", "How well does"],
    "charts_table": ["train (", "valid (", "Model metrics ("],
    "files_table": ["figures", "config.yaml", "log.txt"],
    "compare": ["Comparing 4 Runs", "lr 0.001 · seed 1 · epochs 5 · digits · mlp", "learning_rate"],
}
"""Texts of pages of the user interface, in their order, by the names of `list_pages`."""
