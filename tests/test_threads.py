"""Runs in several threads at the same time, in a Hydra application and in an event loop."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hydra
import jax
import pytest

import runner
from runner.execution.execute import Result
from runner.modes.completion import VERSION_BASE

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK_RUN = ("experiment=digits_mlp", "training.epochs=1", "training.limit_batches=2", "tracking=none", "quiet=true")


def run_quickly(*overrides: str) -> Result:
    with jax.numpy_dtype_promotion("standard"):  # JAX keeps this setting per thread, so the fixture's does not apply
        return runner.run(*QUICK_RUN, *overrides)


@pytest.mark.slow
def test_runs_in_threads_equal_a_run_alone() -> None:
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(run_quickly, ("seed=1", "seed=1", "seed=2")))
    assert len({result.folder for result in results}) == 3
    assert results[0].records == results[1].records == run_quickly("seed=1", "fresh=true").records
    assert results[2].records != results[0].records
    for result in results:
        log = (result.folder / "log.txt").read_text()
        assert log.count("the folder is ") == len(re.findall(r"INFO step \d+:", log)) == 1


@pytest.mark.slow
def test_a_run_in_a_hydra_application_and_in_a_running_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("conf").mkdir()
    Path("conf/app.yaml").write_text("hydra: {run: {dir: app}}\n")
    monkeypatch.setattr("sys.argv", ["app"])
    results = []

    @hydra.main(config_path=str(Path("conf").absolute()), config_name="app", **VERSION_BASE)
    def app(config: object) -> None:
        results.append(run_quickly("seed=3"))

    async def run_in_loop() -> None:
        results.append(run_quickly("seed=4"))

    app()
    asyncio.run(run_in_loop())
    assert [result.status for result in results] == ["finished", "finished"]
