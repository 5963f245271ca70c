"""How MLflow's user interface shows the records: pictures of its pages, taken with Chromium.

    python benchmarks/mlflow_ui.py [folder]
    smallest: pictures

Makes a store with a plain run, a table's run, a sweep, folds, a failed run and a resumed one, starts `mlflow ui` on it,
and takes a picture of the list of experiments, of a list of runs, of a run's page, its charts and its files, and of the
comparison of a sweep's runs. Prints the pictures, which are PNG files in the folder, by default `mlflow_ui`. Without
Chromium, prints that it is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# The first six keep Chromium from using a display, a sandbox, which root has not, and servers of its maker.
CHROMIUM_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--hide-scrollbars"),
)
PAGE_MILLISECONDS = 60_000  # of the page's own clock, after which its scripts have loaded everything
SECONDS = 120  # time limit of the start of the server, and of a page
SHORT = ("experiment=digits_mlp", "training.epochs=5")
RUNS = {
    "plain": [("experiment=digits_cnn", "training.epochs=5", "note=the first try", "tracking.tags={stage: trial}")],
    "table": [("data=csv", "data.path=shop.csv", "data.target=bought", "training.epochs=5")],
    "sweep": [("-m", *SHORT, "learning_rate=1e-3,1e-2", "seed=1,2")],
    "folds": [("experiment=breast_cancer_mlp", "training.epochs=5", "folds=3")],
    "failed": [(*SHORT, "optimizer=sgd", "learning_rate=1e6")],
    "resumed": [(*SHORT, "seed=5"), ("experiment=digits_mlp", "training.epochs=9", "seed=5", "resume=last")],
}
"""The commands of each run or sweep of the store. The last command of a failed run has the exit code 1."""


class Run(NamedTuple):
    """The MLflow ids of a run, and those of its children if it is a sweep."""

    experiment: str
    run: str
    children: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """The address of the run's page, without the server."""
        return f"#/experiments/{self.experiment}/runs/{self.run}"


def find_chromium() -> str | None:
    """The path of Chromium; None: it is not installed."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def make_store(folder: Path) -> dict[str, Run]:
    """Makes the runs in a folder, and the store `mlflow.db` there. Returns the runs by the names of RUNS."""
    shop = [
        f"{n % 60 + 18},{'north' if n % 3 else 'south'},{n * 7 % 31},{'yes' if n % 9 < 2 else 'no'}" for n in range(400)
    ]
    (folder / "shop.csv").write_text("\n".join(["age,region,visits,bought", *shop]))
    for name, commands in RUNS.items():
        for words in commands:
            command = [sys.executable, "-m", "runner", *words, f"folder={name}"]
            process = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True)
            if process.returncode != (name == "failed"):
                raise SystemExit(f"{' '.join(words)}: {process.stderr}")
        deliver = [sys.executable, "-m", "runner", "mode=deliver", f"folder={name}"]
        subprocess.run(deliver, cwd=folder, env=_environment(), check=True, capture_output=True)
    return {name: _read_run(folder / name) for name in RUNS}


def _read_run(root: Path) -> Run:
    (folder,) = (path.parent for path in root.glob("*/delivered.json"))
    state = json.loads((folder / "delivered.json").read_text())
    children = [json.loads(path.read_text())["run_id"] for path in sorted(folder.glob("*/delivered.json"))]
    return Run(state["experiment_id"], state["run_id"], tuple(children))


def _environment() -> dict[str, str]:
    """The environment of processes that find Titrate, and start no jobs of MLflow."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Runs `mlflow ui` in a folder. Yields its address, which ends with a slash."""
    with socket.create_server(("127.0.0.1", 0)) as free_socket:
        port = free_socket.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for_answer(process, f"http://127.0.0.1:{port}/health", folder / "server.log")
        yield f"http://127.0.0.1:{port}/"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_for_answer(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    start = time.monotonic()
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=SECONDS):
            return
        if process.poll() is not None or time.monotonic() - start > SECONDS:
            raise SystemExit(log.read_text())
        time.sleep(0.2)


def list_pages(runs: dict[str, Run]) -> dict[str, str]:
    """The address of each page, without the server, by the name of its picture."""
    listed = "?workflowType=machine_learning"
    pages = {"experiments": f"#/experiments{listed}"}
    for name in ("table", "sweep", "folds"):
        pages[f"list_{name}"] = f"#/experiments/{runs[name].experiment}/runs{listed}"
    for name, run in runs.items():
        pages[f"run_{name}"] = f"{run.page}{listed}"
    for name in ("plain", "table"):
        pages[f"charts_{name}"] = f"{runs[name].page}/model-metrics{listed}"
        pages[f"files_{name}"] = f"{runs[name].page}/artifacts{listed}"
    pages["system_plain"] = f"{runs['plain'].page}/system-metrics{listed}"
    sweep = runs["sweep"]
    ids, experiments = json.dumps(sweep.children), json.dumps([sweep.experiment])
    pages["compare"] = (
        f"#/compare-runs?runs={quote(ids)}&experiments={quote(experiments)}&workflowType=machine_learning"
    )
    return pages


def open_page(address: str, *arguments: str) -> str:
    """Opens a page in Chromium, waits until it has loaded everything, and returns what Chromium prints."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            find_chromium(),
            *CHROMIUM_FLAGS,
            f"--user-data-dir={profile}",
            f"--virtual-time-budget={PAGE_MILLISECONDS}",
        ]
        process = subprocess.run([*command, *arguments, address], capture_output=True, text=True, timeout=SECONDS)
    return process.stdout


def read_text(address: str) -> str:
    """The text of a page, with a space between two elements."""
    html = open_page(address, "--dump-dom")
    html = re.sub(r"<(script|style)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def main() -> None:
    arguments = sys.argv[1:]
    target = Path(arguments[0] if arguments else "mlflow_ui").absolute()
    if find_chromium() is None:
        print(
            f"Chromium is missing. Install it, for example by `apt install chromium`, so that {CHROMIUM_NAMES[0]} runs."
        )
        return
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = make_store(Path(folder))
        with serve(Path(folder)) as server:
            for name, page in list_pages(runs).items():
                picture = target / f"{name}.png"
                open_page(f"{server}{page}", f"--screenshot={picture}", "--window-size=1500,1800")
                print(picture)


if __name__ == "__main__":
    main()
