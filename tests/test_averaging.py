"""Runs with `update=[swa]`: they evaluate, save and hand on the mean, and are resumed exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from killing import killed_after

import runner
from components.data import Arrays
from runner import run_folder
from runner.config.compose import configure
from runner.display.progress import make_progress
from runner.execution.execute import Result, execute
from runner.execution.prepare import make_trainer
from runner.training.signals import Signals

WORDS = (
    *("architecture.widths=[6]", "architecture.batch_norm=true", "training.batch_size=8", "learning_rate=0.05"),
    *("update=[swa]", "update.swa.every=2st", "update.swa.start=0.4", "tracking=none", "quiet=true"),
    *("training.epochs=null", "training.steps=13", "training.evaluate_steps=3", "training.checkpoint_minutes=1e-9"),
    *("training.log_steps=4", "training.schedule_length=6st"),  # of the schedule alone: the start is step 5 of 13
    *("training.monitor=train/loss", "optimizer=sgd", "optimizer.momentum=0.9"),
)


def source() -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(60) % 3}, valid=12, test=12)


def arrays(folder: Path, pattern: str) -> dict[str, np.ndarray]:
    """The arrays of the last checkpoint."""
    with np.load(max((folder / "checkpoints").glob(pattern))) as archive:
        return {name: archive[name] for name in archive.files if name != "meta"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run whose best weights are the mean."""
    return runner.run(*WORDS, f"folder={tmp_path_factory.mktemp('whole')}", source=source())


def evaluated(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The mean of the last checkpoint, `params`, or its moments, `batch_stats`, by path."""
    prefix = f"leaf.update_state['swa']['{name}']"
    found = {key.removeprefix(prefix): leaf for key, leaf in arrays(folder, "step_*").items() if key.startswith(prefix)}
    assert found
    return found


def leaves(tree: Any) -> dict[str, np.ndarray]:
    return {jax.tree_util.keystr(keys): np.asarray(leaf) for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_the_mean_with_its_moments_is_evaluated_and_saved_as_the_best(whole: Result) -> None:
    assert [record["averaged_weights"] for record in whole.records] == [0, 1, 2, 4, 4]
    summary = json.loads((whole.folder / "summary.json").read_text())
    note = "update.swa: the best weights, of step 13, are the mean of 4 sets of weights"
    assert note in summary["notes"]
    model = runner.load(whole.folder, data=source())
    np.testing.assert_equal(leaves(model.weights.parameters), evaluated(whole.folder, "params"))
    np.testing.assert_equal(leaves(model.weights.model_state["batch_stats"]), evaluated(whole.folder, "batch_stats"))
    assert model.evaluate("valid")["valid/loss"] == pytest.approx(whole.records[-1]["valid/loss"], rel=1e-6)
    plain = arrays(whole.folder, "step_*")
    for name, moments in evaluated(whole.folder, "batch_stats").items():
        assert not np.allclose(moments, plain[f"leaf.model_state['batch_stats']{name}"], rtol=0.01)


def test_averaging_changes_no_step_and_no_evaluation_before_it(whole: Result, in_empty_folder: Path) -> None:
    plain = runner.run(*WORDS, "update=[]", "~update.swa", source=source())
    names = [name for name in plain.records[0] if name.startswith("train/")]
    for record, other in zip(whole.records, plain.records, strict=True):
        assert [record[name] for name in names] == [other[name] for name in names]
        is_plain = record["averaged_weights"] == 0
        assert (record["valid/loss"] == other["valid/loss"]) == is_plain


@pytest.mark.parametrize("stop", [8, 9])
def test_a_run_is_resumed_exactly_within_the_averaging(stop: int, whole: Result, in_empty_folder: Path) -> None:
    """Step 9 is an evaluation. Step 8 lies between two, and a point of the record ends its dispatch."""
    config = configure([*WORDS])
    with killed_after(stop):
        execute(config, source=source())
    (folder,) = run_folder.list_runs(Path("outputs"))
    resumed = execute(config, source=source())
    assert f"resuming from step {stop} " in (folder / "log.txt").read_text()
    assert resumed.records == whole.records
    for pattern in ("step_*", "best_*"):
        np.testing.assert_equal(arrays(folder, pattern), arrays(whole.folder, pattern))


def test_a_run_that_starts_from_the_weights_and_its_teacher_get_the_mean(whole: Result) -> None:
    words = [word for word in WORDS if "swa" not in word]
    words += [f"weights.run={whole.folder}", "weights=run", "loss=distillation", "teacher=run"]
    config = configure([*words, f"teacher.run={whole.folder}"])
    with Signals() as signals:
        trainer = make_trainer(config, source(), make_progress(quiet=True), signals)
    parameters, moments = evaluated(whole.folder, "params"), evaluated(whole.folder, "batch_stats")
    state, teacher = trainer.initial_state().train_state, trainer.program_inputs.teacher
    assert teacher is not None
    for variables in ({"params": state.parameters, **state.model_state}, teacher.variables):
        np.testing.assert_equal(leaves(variables["params"]), parameters)
        np.testing.assert_equal(leaves(variables["batch_stats"]), moments)


def test_an_extended_run_averages_again(in_empty_folder: Path) -> None:
    words = [word for word in WORDS if "steps=" not in word]
    short = runner.run(*words, "training.steps=6", "training.evaluate_steps=2", source=source())
    assert [record["averaged_weights"] for record in short.records] == [0, 1, 2]
    longer = runner.run(f"resume={short.folder.name}", "training.steps=12", source=source())
    assert [record["averaged_weights"] for record in longer.records[3:]] == [1, 2, 3]  # after step 5 of 12


def test_a_run_that_stops_before_the_averaging_says_so(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for word in WORDS if word not in ("update.swa.start=0.4", "quiet=true")]
    words += ["update.swa.last=4st", "training.patience=1", "training.min_delta=100", "intervals=null"]
    result = runner.run(*words, source=source())
    assert [record["averaged_weights"] for record in result.records] == [0, 0]
    shown = capsys.readouterr().out
    assert "are not averaged: no weights were taken; the run ended at step 6 of 13" in " ".join(shown.split())
