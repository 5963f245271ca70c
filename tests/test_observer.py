"""Observers see every evaluation and the end of a run, change nothing, and stop the run if they fail."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from disk import Killed
from two_steps import interrupted_once

import runner
from components.paths import leaves_with_paths
from components.types import UserError, Variables
from runner.__main__ import main
from runner.config.compose import configure
from runner.execution import prepare
from runner.execution.execute import Result
from runner.record.description import code_versions
from runner.training.checkpoint_manager import CheckpointManager

pytestmark = pytest.mark.optax

MODULE = """
from components.types import UserError

CALLS = []

class Recorder:
    def __call__(self, event, record, variables):
        CALLS.append((event, record, variables))

class Altering:
    def __call__(self, event, record, variables):
        variables["params"]["architecture"].clear()
        del variables["params"]

class Forger:
    def __call__(self, event, record, variables):
        record["valid/loss"] = 0.0

class Failing:
    def __call__(self, event, record, variables):
        if event.name == "end":
            raise ValueError("it ends")

class Strict:
    def __init__(self, limit): self.limit = limit

    def __call__(self, event, record, variables):
        if event.epoch > self.limit:
            raise UserError(f"too long: {event.epoch} epochs. Choose at most {self.limit}.")

class Unbuilt:
    def __init__(self): raise ValueError("no file")

class WithoutRecord:
    def __call__(self, event): pass
"""
NAMES = ("Recorder", "Altering", "Forger", "Failing", "Strict", "Unbuilt", "WithoutRecord")
WORDS = (
    "experiment=digits_mlp",
    "architecture.widths=[4]",
    "training.limit_batches=2",
    "training.batch_size=16",
    "training.epochs=2",
    "tracking=none",
    "quiet=true",
)


@pytest.fixture(autouse=True)
def own_observers(write_module: Callable[[str, str], None]) -> None:
    """An allowed module of the user, and an option for each of its observers, in lower case."""
    write_module("own_observers", MODULE)
    Path("conf/observer").mkdir(parents=True)
    for name in NAMES:
        option = name.lower()
        node = f"{{_target_: own_observers.{name}{', limit: 1' if name == 'Strict' else ''}}}"
        Path(f"conf/observer/{option}.yaml").write_text(f"{option}: {node}\n")


def run(*words: str) -> Result:
    return runner.run(*WORDS, *words)


def calls() -> list[tuple[Any, Mapping[str, float], Variables]]:
    """What the recorder was called with."""
    return importlib.import_module("own_observers").CALLS


def read_checkpoint(result: Result, step: int) -> dict[str, np.ndarray]:
    with np.load(result.folder / "checkpoints" / f"step_{step:010d}.npz") as archive:
        return {name.removeprefix("leaf."): archive[name] for name in archive.files}


def read_norms(folder: Path, observer: str = "parameter_norms") -> list[dict[str, str]]:
    with (folder / f"observers/{observer}/parameter_norms.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def list_steps(folder: Path) -> list[int]:
    return [int(row["step"]) for row in read_norms(folder)]


def kernel_of(variables: Variables) -> np.ndarray:
    return np.asarray(variables["params"]["architecture"]["head"]["kernel"])


# ------------------------------------------------------------------------------------------------ what they see


def test_events_come_in_order_with_the_records_and_the_weights_of_the_run() -> None:
    """The weights are kept until the end of the run, although training reuses the memory of its own."""
    result = run("observer=[recorder]", "training.evaluate_steps=1", "training.keep_checkpoints=4")
    *evaluations, (end, metrics, _) = calls()
    assert [event[:3] for event, _, _ in evaluations] == [
        ("evaluation", 1, 0.5),
        ("evaluation", 2, 1),
        ("evaluation", 3, 1.5),
        ("evaluation", 4, 2),
    ]
    assert [record for _, record, _ in evaluations] == list(result.records)
    assert (end[:3], metrics) == (("end", 4, 2), result.metrics)
    assert {event.folder.absolute() for event, _, _ in calls()} == {result.folder / "observers/recorder"}
    for event, _, variables in evaluations:
        saved = read_checkpoint(result, event.step)
        assert {f"parameters{name}" for name in named_leaves(variables["params"])} <= saved.keys()
        for name, leaf in named_leaves(variables["params"]).items():
            np.testing.assert_array_equal(leaf, saved[f"parameters{name}"])
        for name, leaf in named_leaves(variables["batch_stats"]).items():
            np.testing.assert_array_equal(leaf, saved[f"model_state['batch_stats']{name}"])


def named_leaves(tree: Any) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def test_at_the_end_they_get_the_best_weights() -> None:
    result = run("observer=[recorder]", "learning_rate=1", "training.evaluate_steps=1")
    best_step = min(result.records, key=lambda record: record["valid/loss"])["step"]
    *evaluations, (_, _, best) = calls()
    kernels = {event.step: kernel_of(variables) for event, _, variables in evaluations}
    assert best_step < 4
    np.testing.assert_array_equal(kernel_of(best), kernels[best_step])
    assert (kernels[4] != kernels[best_step]).any()


def test_they_get_the_average_that_is_evaluated() -> None:
    result = run("observer=[recorder]", "update=[ema]", "training.epochs=1")
    saved, path = read_checkpoint(result, 2), "['architecture']['head']['kernel']"
    for _, _, variables in calls():
        np.testing.assert_array_equal(kernel_of(variables), saved[f"update_state['ema']['params']{path}"])
        assert (kernel_of(variables) != saved[f"parameters{path}"]).any()


def test_the_norms_are_those_of_the_weights_in_the_path_order_of_the_parameters() -> None:
    result = run("observer=[parameter_norms,recorder]")
    for (event, record, variables), row in zip(calls(), read_norms(result.folder), strict=False):
        expected = {path: np.linalg.norm(leaf) for path, leaf in leaves_with_paths(variables["params"])}
        assert list(row) == ["step", "epoch", *expected]
        found = {name: float(value) for name, value in row.items()}
        assert found == pytest.approx({"step": event.step, "epoch": record["epoch"], **expected})
    assert list_steps(result.folder) == [2, 4]


def test_two_observers_of_one_class_have_files_of_their_own() -> None:
    result = run("observer={a: {option: parameter_norms}, b: {option: parameter_norms}}", "training.epochs=1")
    files = sorted(path for path in (result.folder / "observers").rglob("*") if path.is_file())
    assert files == [result.folder / f"observers/{name}/parameter_norms.csv" for name in "ab"]
    assert read_norms(result.folder, "a") == read_norms(result.folder, "b")


# -------------------------------------------------------------------------------------------- they change nothing


def test_they_change_nothing() -> None:
    """`altering` is called first, and removes all that it gets."""
    plain, observed = run(), run("observer=[recorder,parameter_norms,altering]", "fresh=true")
    assert observed.records == plain.records
    assert observed.metrics["test/loss"] == plain.metrics["test/loss"]
    assert not (plain.folder / "observers").exists()
    for step in (2, 4):
        found, expected = read_checkpoint(observed, step), read_checkpoint(plain, step)
        found.pop("meta"), expected.pop("meta")
        assert found.keys() == expected.keys()
        assert all((found[name] == expected[name]).all() for name in expected)
    assert [event.name for event, _, _ in calls()] == ["evaluation", "evaluation", "end"]
    assert all(kernel_of(variables).shape == (4, 10) for _, _, variables in calls())


def test_a_record_is_read_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "observer=[forger]"]) == 1
    message = "observer.forger: own_observers.Forger.__call__ raised TypeError: 'mappingproxy' object does not support"
    assert message.replace(".__call__", "") in capsys.readouterr().err


def test_a_run_with_other_observers_is_the_same_run() -> None:
    """The same command resumes it with other observers, which belong to neither its digest nor its code."""
    with interrupted_once():
        first = run("observer=[parameter_norms]")
    assert (first.status, list_steps(first.folder)) == ("interrupted", [2])
    resumed = run("observer=[recorder]")
    assert (resumed.status, resumed.folder) == ("finished", first.folder)
    assert [event[:2] for event, _, _ in calls()] == [("evaluation", 4), ("end", 4)]
    longer = run("training.epochs=3", f"resume={first.folder}", "observer=[parameter_norms]")
    assert (longer.status, list_steps(longer.folder)) == ("finished", [2, 6])
    log = (longer.folder / "log.txt").read_text()
    assert "resuming from step 4" in log
    assert "warning" not in log
    versions = [code_versions(configure([*WORDS, *more])) for more in ([], ["observer=[recorder]"])]
    assert versions[0] == versions[1]


def test_an_evaluation_of_the_run_needs_no_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    run("observer=[recorder]")
    monkeypatch.delenv("TITRATE_ALLOW")
    assert main(["mode=evaluate", "run=last", "quiet=true"]) == 0


# ------------------------------------------------------------------------------------- kills, sweeps and failures


def test_after_a_kill_an_event_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    save, saved = CheckpointManager.save, itertools.count()

    def kill_once(manager: CheckpointManager, *arguments: Any) -> None:
        if next(saved) == 1:
            raise Killed
        save(manager, *arguments)

    monkeypatch.setattr(CheckpointManager, "save", kill_once)
    words = ("observer=[recorder,parameter_norms]", "training.epochs=3")
    with pytest.raises(Killed):
        run(*words)
    (folder,) = Path("outputs").iterdir()
    assert list_steps(folder) == [2, 4]
    (folder / "summary.json").unlink()  # a killed process writes none
    result = run(*words)
    assert result.folder == folder.absolute()
    assert [event[:2] for event, _, _ in calls()] == [
        *(("evaluation", step) for step in (2, 4, 4, 6)),
        ("end", 6),
    ]
    assert list_steps(folder) == [2, 4, 6] == [record["step"] for record in result.records]


def test_each_run_of_a_sweep_has_its_own_files() -> None:
    sweep = runner.multirun(*WORDS, "observer=[parameter_norms]", "learning_rate=1e-3,1e-1")
    assert [member.status for member in sweep.runs] == ["finished", "finished"]
    norms = [read_norms(folder)[-1]["architecture/head/kernel"] for folder in sorted(sweep.folder.glob("2*"))]
    assert len(set(norms)) == 2


def test_a_failing_observer_stops_the_run_with_its_key_and_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "observer=[failing]"]) == 1
    first, line, last = capsys.readouterr().err.splitlines()[-3:]
    assert first == (
        "observer.failing: own_observers.Failing raised ValueError: it ends "
        "[set by conf/observer/failing.yaml, chosen by observer=[failing]]"
    )
    assert line.endswith('raise ValueError("it ends")')
    assert last.endswith("log.txt")
    (summary,) = Path("outputs").glob("*/summary.json")
    assert json.loads(summary.read_text())["status"] == "failed"


def test_an_observer_can_stop_a_run_that_is_resumed_once_the_user_has_fixed_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*WORDS, "observer=[strict]"]) == 2
    printed = capsys.readouterr()
    assert "observer.strict: too long: 2 epochs. Choose at most 1." in printed.err
    (folder,) = Path("outputs").iterdir()
    assert f"resume={folder.name} resumes the run" in printed.out + printed.err
    assert main([*WORDS, "observer=[strict]", "observer.strict.limit=0", "seed=5"]) == 2
    printed = capsys.readouterr()
    assert "ended before its first checkpoint; resume=" in printed.out + printed.err
    result = run("observer=[strict,recorder]", "observer.strict.limit=2")
    assert [event[:2] for event, _, _ in calls()] == [("evaluation", 4), ("end", 4)]
    assert [record["step"] for record in result.records] == [2, 4]


@pytest.mark.parametrize("mode", ["train", "dry_run"])
@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        ("unbuilt", 1, "observer.unbuilt: own_observers.Unbuilt raised ValueError: no file"),
        (
            "withoutrecord",
            2,
            "WithoutRecord` takes (event). To be an observer, it must take (event, record, variables).",
        ),
    ],
)
def test_an_observer_that_cannot_be_called_is_an_error_before_the_data_is_loaded(
    option: str,
    code: int,
    message: str,
    mode: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(prepare, "load_data", lambda *arguments: pytest.fail("loaded"))
    assert main([*WORDS, f"observer=[{option}]", f"mode={mode}"]) == code
    assert message in capsys.readouterr().err
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["observer=[parameter_norm]"], "observer: unknown option parameter_norm. Did you mean parameter_norms?"),
        (["observer=[strict]", "observer.strict.limits=3"], "observer.strict.limits: unknown parameter"),
        (
            ["+observer.mine={_target_: components.constraint.MaxNorm}"],
            "observer.mine._target_: components.constraint.MaxNorm is a constraint, not an observer.",
        ),
    ],
)
def test_a_wrong_observer_is_reported(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../../mine", "..", "a/b", "a\\b"])
def test_an_observer_has_the_name_of_a_folder(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text(f"observer: {{{name}: {{option: parameter_norms}}}}\n")
    assert main(["experiment=mine", *WORDS[1:], "data=digits", "feature=image", "architecture=mlp"]) == 2
    assert f"observer.{name}: the name can't be that of a folder. Choose" in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_a_damaged_file_of_norms_is_an_error() -> None:
    with interrupted_once():
        folder = run("observer=[parameter_norms]").folder
    path = folder / "observers/parameter_norms/parameter_norms.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"observer.parameter_norms: .*parameter_norms.csv is damaged. Remove it."):
        run("observer=[parameter_norms]")
    path.unlink()
    assert run("observer=[parameter_norms]").status == "finished"
    assert list_steps(folder) == [4]
