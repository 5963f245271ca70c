"""Runs from Python beside each other, and within what else a program does."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hydra
import jax
import pytest

import runner
from runner.execution.execute import Result
from runner.modes.completion import VERSION_BASE

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK = ("experiment=digits_mlp", "training.epochs=1", "training.limit_batches=2", "tracking=none", "quiet=true")


def run(*words: str) -> Result:
    with jax.numpy_dtype_promotion("standard"):  # a setting of the thread's own
        return runner.run(*QUICK, *words)


def test_runs_in_threads_are_those_that_they_would_be_alone() -> None:
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(run, ("seed=1", "seed=1", "seed=2")))
    assert len({result.folder for result in together}) == 3
    assert together[0].history == together[1].history == run("seed=1", "fresh=true").history
    assert together[2].history != together[0].history
    for result in together:
        log = (result.folder / "log.txt").read_text()
        assert log.count("the folder is ") == log.count("epoch 1:") == 1


def test_a_run_in_a_hydra_app_and_in_a_running_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("conf").mkdir()
    Path("conf/app.yaml").write_text("hydra: {run: {dir: app}}\n")
    monkeypatch.setattr("sys.argv", ["app"])
    found = []

    @hydra.main(config_path=str(Path("conf").absolute()), config_name="app", **VERSION_BASE)
    def app(config: object) -> None:
        found.append(run("seed=3"))

    async def loop() -> None:
        found.append(run("seed=4"))

    app()
    asyncio.run(loop())
    assert [result.status for result in found] == ["finished", "finished"]
