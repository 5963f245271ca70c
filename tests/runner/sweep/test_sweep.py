"""Sweeps: the grammar of their overrides, their runs, and the files and MLflow runs at the end."""

import csv
import errno
import json
import math
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signal_handlers import returning_handlers

import runner
from components.data import Arrays
from components.types import UserError
from runner.__main__ import main
from runner.config.catalog import find_options
from runner.display.progress import QuietProgress
from runner.errors import ConfigError
from runner.execution.programs import _PROGRAMS
from runner.sweep import launch
from runner.sweep.grid import list_combinations, parse_axes
from runner.sweep.manifest import Manifest, SweepRun, create_manifest
from runner.sweep.plan import Plan, explain_incomparable, make_plan
from runner.sweep.ranking import Candidate, format_table, rank, save_ranking
from runner.sweep.report import format_candidate_command

QUICK = ("architecture.widths=[8]", "training.epochs=2", "training.batch_size=16", "tracking=none", "quiet=true")


def source(rows: int = 60) -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (rows, 4, 4, 1), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(rows) % 3}, valid=15, test=15, stratify="label")


def plan_runs(*overrides: str) -> list[tuple[str, ...]]:
    """The overrides of each run of a sweep."""
    return [run.overrides for run in make_plan(overrides, multirun=True).runs]


OVER = """
# Question: which?
sweep: {over: {optimizer: [sgd, {option: sgd, momentum: 0.9}], seed: "range(1, 3)"}}
"""
SGD, MOMENTUM = "optimizer=sgd", "optimizer={option:sgd,momentum:0.9}"


@pytest.fixture
def own_sweep(in_empty_folder: Path) -> None:
    """An experiment that holds a sweep."""
    Path("experiments").mkdir()
    Path("experiments/own.yaml").write_text(OVER)


@pytest.mark.usefixtures("own_sweep")
@pytest.mark.parametrize(
    ("words", "varied"),
    [
        ([], [(SGD, "seed=1"), (SGD, "seed=2"), (MOMENTUM, "seed=1"), (MOMENTUM, "seed=2")]),
        (["seed=7"], [(SGD,), (MOMENTUM,)]),
        (["optimizer=adam", "training.epochs=2"], [("seed=1",), ("seed=2",)]),
        (["seed=1", "sweep.over.learning_rate=[0.1,1]"], [(SGD, 0.1), (MOMENTUM, 0.1), (SGD, 1), (MOMENTUM, 1)]),
    ],
)
def test_an_experiment_holds_a_sweep(words: list[str], varied: list[tuple[Any, ...]]) -> None:
    plan = make_plan(["experiment=own", *words], multirun=False)
    assert isinstance(plan, Plan)
    expected = [tuple(each if isinstance(each, str) else f"learning_rate={each}" for each in run) for run in varied]
    assert sorted(run.overrides for run in plan.runs) == sorted(expected)
    assert make_plan(["experiment=own", *words], multirun=True) == plan


@pytest.mark.usefixtures("own_sweep")
def test_a_swept_key_of_the_command_line_replaces_that_of_the_experiment() -> None:
    plan = make_plan(["experiment=own", "optimizer=adam,nadam", "seed=3"], multirun=True)
    assert isinstance(plan, Plan)
    assert [run.overrides for run in plan.runs] == [("optimizer=adam",), ("optimizer=nadam",)]


@pytest.mark.usefixtures("own_sweep")
@pytest.mark.parametrize("words", [["sweep.over=null"], ["sweep.over={}"], ["mode=look"], ["optimizer=adam", "seed=5"]])
def test_a_command_runs_one_setting_of_an_experiment_with_a_sweep(words: list[str]) -> None:
    assert not isinstance(make_plan(["experiment=own", *words], multirun=False), Plan)


@pytest.mark.usefixtures("own_sweep")
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sweep.over.seed=[]", "sweep.over.seed: the list of values is empty"),
        ("sweep.over.seed=[1,1]", "sweep.over.seed: a value is repeated"),
        ('sweep.over.seed="interval(1,2)"', "an interval has no list of values"),
        ("sweep.over.sed=[1,2]", "sed: unknown key. Did you mean seed?"),
        ("sweep.over.seed=3", "sweep.over.seed: 3 is not"),
    ],
)
def test_a_wrong_sweep_of_an_experiment_is_an_error(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_plan(["experiment=own", word], multirun=False)


@pytest.mark.usefixtures("own_sweep")
def test_an_override_replaces_the_sweep_of_an_experiment() -> None:
    assert plan_runs("experiment=own", "sweep.over={seed: [4, 5]}") == [("seed=4",), ("seed=5",)]


@pytest.mark.parametrize(
    ("over", "problems"),
    [
        (
            "{sed: [1, 2], learning_rate: [-1, -2, 1]}",
            [
                "sed: unknown key. Did you mean seed? [set by experiments/wrong.yaml (sweep.over.sed)]",
                "learning_rate: -1 is not a number in [0, inf) "
                "[set by experiments/wrong.yaml (sweep.over.learning_rate)]",
                "learning_rate: -2 is not a number in [0, inf) "
                "[set by experiments/wrong.yaml (sweep.over.learning_rate)]",
            ],
        ),
        (
            "{optimizer: [sgd, adm]}",
            [
                "optimizer: unknown option adm. Did you mean adam? "
                "[set by experiments/wrong.yaml (sweep.over.optimizer)]"
            ],
        ),
        (
            "{seed: [1, 1]}",
            ["sweep.over.seed: a value is repeated. Leave it out. [set by experiments/wrong.yaml]"],
        ),
        (
            "{seed: range(3}",
            [
                "sweep.over.seed: seed=range(3: not a valid override. Write 'seed=\"range(3\"' "
                "[set by experiments/wrong.yaml]"
            ],
        ),
    ],
)
def test_an_error_in_the_sweep_of_an_experiment_names_its_file_once(
    over: str, problems: list[str], in_empty_folder: Path
) -> None:
    Path("experiments").mkdir()
    Path("experiments/wrong.yaml").write_text(f"# Question: which?\nsweep:\n  over: {over}\n")
    for multirun in (False, True):
        with pytest.raises(ConfigError) as raised:
            make_plan(["experiment=wrong", "training.epochs=2"], multirun=multirun)
        assert list(raised.value.problems) == problems


@pytest.mark.usefixtures("own_sweep")
def test_the_command_of_the_best_candidate_is_one_run() -> None:
    """It has no seeds of the experiment, nor its folds."""
    Path("experiments/folds.yaml").write_text(OVER + "folds: 3\n")
    for words in (
        ["experiment=own"],
        ["experiment=own", "seed=1"],
        ["experiment=folds"],
        ["experiment=own", "folds=2"],
    ):
        plan = make_plan(words, multirun=True)
        assert isinstance(plan, Plan)
        command = format_candidate_command(plan, Candidate((SGD,), {}, (), 1, {}))
        again = make_plan(shlex.split(command)[1:], multirun=False)
        assert not isinstance(again, Plan), command
        assert again.choices["optimizer"] == "sgd"


@pytest.mark.usefixtures("own_sweep")
@pytest.mark.parametrize(
    ("words", "shown"),
    [(["experiment=own"], ["sgd", "{option:sgd,momentum:0.9}"]), (["regularizer=[],[l2]"], ["['l2']", "[]"])],
)
def test_the_ranking_shows_the_fields_of_an_option(words: list[str], shown: list[str]) -> None:
    plan = make_plan(words, multirun=True)
    assert isinstance(plan, Plan)
    manifest = create_manifest(plan)
    _, *rows = format_table(manifest, rank(manifest))
    assert sorted(row[1] for row in rows) == shown


@pytest.mark.usefixtures("own_sweep")
def test_an_experiment_with_a_sweep_is_several_runs_from_python() -> None:
    with pytest.raises(UserError, match=r"sweep\.over makes several runs\. Use runner\.multirun .*sweep\.over=null"):
        runner.run("experiment=own")


@pytest.mark.parametrize(
    ("words", "varied"),
    [
        (["seed=1,2"], [("seed=1",), ("seed=2",)]),
        (["seed=choice(1,2)"], [("seed=1",), ("seed=2",)]),
        (["seed=range(0,6,3)"], [("seed=0",), ("seed=3",)]),
        (["seed=1", "learning_rate=1e-3,1e-2"], [("learning_rate=0.001",), ("learning_rate=0.01",)]),
        (["optimizer=glob(adam*)"], [("optimizer=adam",), ("optimizer=adamax",), ("optimizer=adamw",)]),
        (["metric=[accuracy],[accuracy,top_k]"], [("metric=[accuracy]",), ("metric=[accuracy,top_k]",)]),
        (["architecture.widths=[8],[8,8]"], [("architecture.widths=[8]",), ("architecture.widths=[8,8]",)]),
        (
            ["folds=2", "seed=1,2"],
            [("seed=1", "fold=0"), ("seed=1", "fold=1"), ("seed=2", "fold=0"), ("seed=2", "fold=1")],
        ),
        (["folds=3", "fold=0,2"], [("fold=0",), ("fold=2",)]),
        (["seed=4"], [()]),
    ],
)
def test_overrides_have_the_grammar_of_hydra(words: list[str], varied: list[tuple[str, ...]]) -> None:
    assert plan_runs(*words) == varied


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_every_combination_is_listed_once_and_the_last_override_varies_fastest(sizes: list[int]) -> None:
    words = [f"k{index}={','.join(map(str, range(size)))}" for index, size in enumerate(sizes)]
    combinations = list_combinations(parse_axes(words, {}))
    assert len(set(combinations)) == len(combinations) == math.prod(sizes)
    numbers = [[int(word.partition("=")[2]) for word in words] for words in combinations]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainig.epochs=1,2", "seed=1,2"], "trainig: unknown key. Did you mean training?"),
        (["training.epochs=1,x"], 'training.epochs: "x" is not a whole number'),
        (["optimizer=glob(q*)"], r"optimizer=glob\(q\*\): no option of optimizer matches; there are adabound,"),
        (["optimzer=glob(*)"], r"glob\(\) is for the options of a group. Did you mean optimizer\?"),
        (["learning_rate=interval(0,1)"], r"an interval has no list of values; write learning_rate=1,2,3"),
        (["seed=1,1"], "a value is repeated"),
        (["learning_rate=1,1.0"], "learning_rate=1 and learning_rate=1.0 are the same run"),
        (["seed=range(3,3)"], "the list of values is empty"),
        (["seed=range(10000)"], r"these are 10,000 runs, more than sweep.limit=100; set sweep.confirm=true"),
        (["seed=range(30)", "folds=5"], "these are 150 runs"),
        (["seed=range(5)", "sweep.limit=4"], "these are 5 runs, more than sweep.limit=4"),
        (["seed=1,2", "mode=clean"], "mode=clean: this mode takes one run, not a sweep"),
        (["seed=1,2", "mode=runs"], "mode=runs: this mode takes one run, not a sweep"),
        (["folds=5", "fold=5"], "fold: 5 is not below folds=5. Folds count from 0."),
        (["fold=1"], "fold: 1 is set without folds"),
        (["folds=1"], r"folds: 1 is not a whole number in \[2, inf\)"),
    ],
)
def test_problems_are_printed_before_anything_runs(
    words: list[str], message: str, in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", *words]) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err)
    assert printed.out == ""
    assert not Path("outputs").exists()


def test_several_values_need_the_multirun_option() -> None:
    with pytest.raises(ConfigError, match=r"seed=1,2: several values need a sweep. Write -m before the overrides"):
        make_plan(["seed=1,2"], multirun=False)


def test_a_setting_of_swept_options_needs_to_suit_these_only(in_empty_folder: Path) -> None:
    words = ["sweep.over={optimizer: [sgd, nesterov]}", "optimizer.momentum=0.5"]
    plan = make_plan(words, multirun=False)  # the default optimizer has no momentum
    assert isinstance(plan, Plan)
    assert [run.config.values["optimizer"]["momentum"] for run in plan.runs] == [0.5, 0.5]
    with pytest.raises(ConfigError) as raised:
        make_plan([*words, "optimizer.momentm=1"], multirun=False)
    assert not any("nadam" in problem for problem in raised.value.problems)


def test_all_problems_of_all_runs_are_raised_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        make_plan(["training.epochs=1,-1,x", "seed=1,2", "trainig=3"], multirun=True)
    assert len(raised.value.problems) == 3


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_runs_that_differ_in_numbers_compile_once_and_the_best_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _PROGRAMS.clear()
    result = runner.multirun(*QUICK, "learning_rate=1e-5,1e-2", "seed=1,2", source=source())
    (program,) = _PROGRAMS.values()
    assert program.train._cache_size() == 2  # a step of 64, and one of the remainder
    assert result.status == "finished"
    assert result.candidates[0].overrides == ("learning_rate=0.01",)
    best = result.candidates[0]
    losses = [run.metrics["best/valid/loss"] for run in best.runs]
    assert best.metrics["best/valid/loss"].mean == pytest.approx(np.mean(losses))
    assert best.metrics["best/valid/loss"].deviation == pytest.approx(np.std(losses, ddof=1))
    alone = runner.run(*QUICK, "learning_rate=1e-2", "seed=2", source=source())
    assert alone.metrics["best/valid/loss"] in losses  # a run is the same, alone or in a sweep


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_folds_share_one_program_and_are_one_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    _PROGRAMS.clear()
    events = list[str]()
    monkeypatch.setattr(QuietProgress, "close", lambda self: events.append("close the live line"))
    monkeypatch.setattr(launch, "print_end", lambda *arguments: events.append("print the paths"))
    result = runner.multirun(*QUICK, "folds=3", source=source(63))
    assert events[-3:] == ["close the live line", "print the paths", "close the live line"], "a live line wraps paths"
    assert len(_PROGRAMS) == 1
    assert [run.overrides for run in result.runs] == [["fold=0"], ["fold=1"], ["fold=2"]]
    (candidate,) = result.candidates
    assert len(candidate.runs) == 3
    assert candidate.metrics["best/valid/loss"].deviation is not None
    summary = json.loads((result.folder / "summary.json").read_text())
    assert summary["metrics"]["deviation/best/valid/loss"] == candidate.metrics["best/valid/loss"].deviation
    with pytest.raises(UserError, match=r"Use runner\.multirun"):
        runner.run(*QUICK, "folds=3", source=source())


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_a_failed_run_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data=digits", "tracking=none", "training.epochs=1", "training.limit_batches=2"]
    words += ["training.batch_size=16,100000", "seed=1,2"]
    assert main(["-m", *words]) == 1
    printed = capsys.readouterr().out
    assert "4 runs of data=digits" in printed
    assert re.search(r"training.batch_size=100000 seed=1 +training\.batch_size=100000 is larger than", printed)
    assert "status    failed: 2 of 4 runs failed" in printed
    assert f"best      titrate {' '.join(words[:4])} training.batch_size=16\n" in printed
    (sweep,) = Path("outputs").iterdir()
    rows = list(csv.DictReader((sweep / "ranking.csv").read_text().splitlines()))
    assert [row["training.batch_size"] for row in rows] == ["16", "100000"]
    assert [row["runs"] for row in rows] == ["2", "0"]
    best = sweep / rows[0]["folder"]
    assert f"best run  {best}\n" in printed
    assert rows[1]["folder"] == ""
    assert main(["mode=look", f"run={sweep}"]) == 2
    expected = f"run={sweep} is a sweep. Name one of its runs, such as its best: {best}\n"
    assert capsys.readouterr().err == expected
    assert main(["mode=evaluate", f"run={sweep}"]) == 0
    assert f"2 of 4 runs of {sweep} have not finished, and are left out" in capsys.readouterr().err
    for flag in ([], ["-m"]):
        assert main([*flag, f"resume={sweep}"]) == 2
        command = f"titrate -m {' '.join(words)}"
        expected = f"resume={sweep} is a sweep. The command that started it resumes it: {command}\n"
        assert capsys.readouterr().err == expected


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_an_interrupted_sweep_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    import runner.execution.execute
    from runner.training.trainer import Trainer

    words = (*QUICK, "seed=1,2,3")
    fit = Trainer.fit

    def interrupt_second(self: Trainer, *arguments: Any) -> bool:
        if self.seed == 2:
            self.signals.received = signal.SIGINT
        return fit(self, *arguments)

    with monkeypatch.context() as patched, returning_handlers() as received:
        patched.setattr(Trainer, "fit", interrupt_second)
        first = runner.multirun(*words, source=source())
    assert (first.status, first.signal, received) == ("interrupted", signal.SIGINT, [signal.SIGINT])
    assert [run.status for run in first.runs] == ["finished", "interrupted", None]
    started = []
    execute = runner.execution.execute.execute_with_signals
    monkeypatch.setattr(
        "runner.sweep.launch.execute_with_signals",
        lambda config, *a, **k: (started.append(config.values["seed"]), execute(config, *a, **k))[1],
    )
    again = runner.multirun(*words, source=source())
    assert started == [2, 3]
    assert again.folder == first.folder
    assert again.status == "finished"
    assert again.runs[1].folder == first.runs[1].folder
    third = runner.multirun(*words, source=source())
    assert third.folder != first.folder  # a finished sweep is not resumed


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_edits_of_files_during_a_sweep_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("conf/architecture").mkdir(parents=True)
    Path("experiments").mkdir()
    experiment = Path("experiments/mine.yaml")
    experiment.write_text("defaults:\n  - override /architecture: mlp\narchitecture: {widths: [8]}\n")
    import runner.execution.execute

    execute, widths = runner.execution.execute.execute_with_signals, []

    def edit_and_execute(config: Any, *arguments: Any, **options: Any) -> Any:
        experiment.write_text("architecture: {widths: [9]}\nnonsense: 1\n")
        widths.append(config.values["architecture"]["widths"])
        return execute(config, *arguments, **options)

    monkeypatch.setattr("runner.sweep.launch.execute_with_signals", edit_and_execute)
    words = [word for word in QUICK if not word.startswith("architecture")]
    result = runner.multirun("experiment=mine", *words, "seed=1,2", source=source())
    assert result.status == "finished"
    assert widths == [[8], [8]]


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_a_sweep_on_other_data_is_not_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*QUICK, "seed=1,2")
    with monkeypatch.context() as patched:
        patched.setattr("runner.sweep.launch._run_all", lambda *arguments: None)  # as if it were killed at once
        first = runner.multirun(*words, source=source())
    assert first.status == "interrupted"
    other = runner.multirun(*words, source=source(63))
    assert other.folder != first.folder
    assert runner.multirun(*words, source=source()).folder == first.folder


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_a_sweep_with_another_joined_table_is_not_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    join = "{option: join, other: {option: csv, path: more.csv}, by: label, columns: size}"
    monkeypatch.setattr("runner.sweep.launch._run_all", lambda *arguments: None)  # as if it were killed at once
    folders = []
    for size in (1, 1, 2):
        Path("more.csv").write_text("label,size\n" + "".join(f"{label},{size}\n" for label in range(10)))
        folders.append(runner.multirun(*QUICK, "seed=1,2", f"operations=[{join}]", source=source()).folder)
    assert folders[0] == folders[1] != folders[2]


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_a_warning_about_the_data_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    equal = Arrays(columns={"image": np.zeros((60, 4, 4, 1), np.uint8), "label": np.arange(60) % 3}, valid=15, test=15)
    result = runner.multirun(*QUICK, "seed=1,2", source=equal)
    warning = "15 of 15 rows of the test split equal rows of the training split"
    assert capsys.readouterr().err.count(warning) == 1
    assert [warning in path.read_text() for path in result.folder.glob("*/log.txt")] == [True, True]


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_runs_that_ended_before_a_kill_are_not_repeated() -> None:
    words = (*QUICK, "seed=1,2", "training.batch_size=16,1000")
    words = tuple(word for word in words if word != "training.batch_size=16")
    first = runner.multirun(*words, source=source())
    assert [run.status for run in first.runs] == ["finished", "failed", "finished", "failed"]
    manifest = json.loads((first.folder / "sweep.json").read_text())
    manifest["runs"][2] |= {"status": None, "metrics": {}, "folder": None}
    (first.folder / "sweep.json").write_text(json.dumps(manifest))
    (first.folder / "summary.json").unlink()
    records = sorted(first.folder.glob("*/record.json"))
    again = runner.multirun(*words, source=source())
    assert again.folder == first.folder
    assert [run.status for run in again.runs] == [run.status for run in first.runs]
    assert again.runs[2].metrics == first.runs[2].metrics
    assert sorted(first.folder.glob("*/record.json")) == records


@pytest.mark.slow
def test_a_killed_sweep_is_resumed(in_empty_folder: Path) -> None:
    words = ["-m", "architecture.widths=[8]", "training.epochs=100", "tracking=none", "quiet=true", "seed=1,2"]
    command = [sys.executable, "-m", "runner", *words]
    process = subprocess.Popen(command)
    began = time.monotonic()
    while not any(list_checkpoints("2_")):
        assert process.poll() is None
        assert time.monotonic() - began < 120
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert subprocess.run(command, check=False).returncode == 0
    (folder,) = Path("outputs").iterdir()
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    runs = [json.loads(path.read_text()) for path in folder.glob("*/summary.json")]
    assert [run["status"] for run in runs] == ["finished"] * 2
    assert [run["epochs"] for run in runs] == [100] * 2


def list_checkpoints(label: str) -> Iterator[Path]:
    """The checkpoints of the run with a label."""
    return Path("outputs").glob(f"*/*_{label}*/checkpoints/step_*.npz")


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_a_full_disk_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("runner.sweep.manifest.Manifest.save", fail)
    words = ["architecture.widths=[8]", "training.epochs=1", "training.limit_batches=1", "tracking=none", "quiet=true"]
    assert main(["-m", *words, "seed=1,2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"outputs/\S+: No space left on device. Fix this, then resume the run with the same command.", line)


def test_a_metric_of_one_run_has_no_deviation_and_failed_candidates_are_last() -> None:
    def make_run(value: float, seed: int, accuracy: float | None) -> SweepRun:
        status = "failed" if accuracy is None else "finished"
        metrics = {} if accuracy is None else {"best/valid/accuracy": accuracy, "test/accuracy": accuracy / 2}
        return SweepRun([f"a={value}", f"seed={seed}"], {"a": value, "seed": seed}, status, f"{value}{seed}", metrics)

    accuracies = {(1, 0): None, (2, 0): 0.5, (2, 1): 0.7, (3, 0): 0.9, (3, 1): None, (4, 0): float("nan")}
    runs = [make_run(value, seed, accuracy) for (value, seed), accuracy in accuracies.items()]
    manifest = Manifest(["a", "seed"], runs, "valid/accuracy", higher_is_better=True)
    candidates = rank(manifest)
    assert [candidate.values["a"] for candidate in candidates] == [3, 2, 1, 4]
    assert [candidate.folder for candidate in candidates] == ["30", "21", None, "40"], "each the best of its seeds"
    table = format_table(manifest, candidates)
    assert table[0] == ["rank", "a", "runs", "valid/accuracy", "test/accuracy"]
    assert table[1] == ["1", "3", "1 of 2", "0.9", "0.45"]
    assert table[2] == ["2", "2", "2", "0.6 ± 0.14", "0.3 ± 0.071"]
    assert table[3] == ["", "1", "0 of 1", "", ""], "it is not ranked before a run has finished"
    assert table[4][0] == "3"


@pytest.mark.parametrize(("incomparable", "ranks"), [(None, ["1", "2"]), ("the data differ", ["", ""])])
def test_the_table_and_the_file_have_ranks_only_if_runs_are_comparable(
    tmp_path: Path, incomparable: str | None, ranks: list[str]
) -> None:
    runs = [SweepRun([f"a={value}"], {"a": value}, "finished", "f", {"best/valid/loss": value}) for value in (1, 2)]
    manifest = Manifest(["a"], runs, "valid/loss", incomparable=incomparable)
    candidates = rank(manifest)
    save_ranking(tmp_path, manifest, candidates)
    saved = list(csv.DictReader((tmp_path / "ranking.csv").read_text().splitlines()))
    assert [row["rank"] for row in saved] == ranks
    assert [row["a"] for row in saved] == ["1", "2"]
    assert "best/valid/loss deviation" not in saved[0]  # each candidate has one run
    assert [row[0] for row in format_table(manifest, candidates)[1:]] == ranks


def test_a_glob_matches_all_options() -> None:
    assert [word for (word,) in plan_runs("optimizer=glob(*)")] == [
        f"optimizer={name}" for name in find_options().files["optimizer"]
    ]


def wait_for(condition: Any) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < 120
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.optax
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
def test_mlflow_has_a_parent_run_with_a_child_for_each_run(
    database: Path, in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.tracking import store

    monkeypatch.setattr("runner.sweep.launch.DELIVERY_SECONDS", 60)
    uri = f"sqlite:///{database}"
    words = [word for word in QUICK if word != "tracking=none"]
    result = runner.multirun(*words, f"tracking.uri={uri}", "seed=1,2", source=source())
    client = store.connect(uri)
    assert result.run_id is not None
    wait_for(lambda: client.list_artifacts(result.run_id, "figures"))  # which follow the end of the run
    parent = client.get_run(result.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["runs"] == 2
    assert parent.data.metrics["test_accuracy"] == result.candidates[0].metrics["test/accuracy"].mean
    assert parent.data.tags["best"].startswith("titrate ")
    assert parent.data.tags["best_folder"] == result.candidates[0].folder
    assert "seed" not in parent.data.params
    artifacts = {artifact.path for artifact in client.list_artifacts(result.run_id)}
    assert {"sweep.json", "ranking.csv", "overrides.yaml", "config.yaml", "figures"} <= artifacts
    children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{result.run_id}'")
    assert {child.info.run_name for child in children} == {
        f"seed {seed} · widths [8] · epochs 2 · batch 16 · Arrays · mlp" for seed in (1, 2)
    }
    for child in children:
        assert child.info.status == "FINISHED"
        assert len(client.get_metric_history(child.info.run_id, "valid/loss")) == 2
        names = {artifact.path for artifact in client.list_artifacts(child.info.run_id, "figures")}
        assert "figures/learning_curves.png" in names


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["loss=mse,mae"], "valid/loss can't be compared between losses; set training.monitor to a metric"),
        (
            ["loss=huber", "loss.delta=1.0,2.0"],
            "valid/loss can't be compared between losses; set training.monitor to a metric",
        ),
        (["loss=mse,mae", "training.monitor=valid/rmse"], None),
        (["feature.target.normalize=z_score,min_max"], "runs with different targets are not ranked"),
        (["seed=1,2", "learning_rate=0.1,0.2"], None),
        (["data.valid=0.1,0.2"], None),
    ],
)
def test_runs_are_ranked_if_their_metrics_can_be_compared(words: list[str], why: str | None) -> None:
    plan = make_plan(["experiment=diabetes_mlp", *words], multirun=True)
    assert isinstance(plan, Plan)
    assert explain_incomparable(plan.runs) == why


@pytest.mark.parametrize(
    ("monitor", "why"),
    [
        (
            "valid/top_k",
            "valid/top_k can't be compared between parameters of the metric; set training.monitor to another",
        ),
        (
            "train/top_k",
            "train/top_k can't be compared between parameters of the metric; set training.monitor to another",
        ),
        ("valid/accuracy", None),
        ("valid/loss", None),
    ],
)
def test_values_of_a_metric_with_other_parameters_are_not_ranked(monitor: str, why: str | None) -> None:
    words = ["experiment=digits_mlp", "metric=[accuracy,top_k]", "metric.top_k.k=1,3", f"training.monitor={monitor}"]
    plan = make_plan(words, multirun=True)
    assert isinstance(plan, Plan)
    assert explain_incomparable(plan.runs) == (why and f"{why} metric")


SEVERAL = """
target: null
targets:
  PRICE: {_target_: components.feature.Numeric, key: median_house_value, scale: 1e-5}
  AGE: {_target_: components.feature.Numeric, key: housing_median_age, missing: mask}
columns: {income: {_target_: components.feature.Numeric, key: median_income}}
inputs: {numbers: [income]}
weight: population
"""
LOSSES = "can't be compared between losses; set training.monitor to a metric"
FACTORS = "can't be compared between weights of losses; set training.monitor to a metric"
EXAMPLES = "can't be compared between weights of examples; set training.monitor to an unweighted metric"
METRICS = "can't be compared between parameters of the metric; set training.monitor to another metric"
TARGETS = "runs with different targets are not ranked"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("swept", "reasons"),
    [
        (
            "loss_weights.AGE=0.1,1",
            {
                **{f"{monitor}/loss": f"{monitor}/loss {FACTORS}" for monitor in ("valid", "valid/weighted", "train")},
                **dict.fromkeys(["valid/PRICE/loss", "valid/AGE/loss", "train/AGE/loss", "valid/weighted/AGE/mae"]),
            },
        ),
        (
            "loss.AGE.delta=1,2",
            {
                **{name: f"{name} {LOSSES}" for name in ("valid/loss", "valid/AGE/loss", "valid/weighted/AGE/loss")},
                **dict.fromkeys(["valid/PRICE/loss", "valid/AGE/mae"]),
            },
        ),
        (
            "feature.weight=population,households",
            {
                **{name: f"{name} {EXAMPLES}" for name in ("valid/weighted/loss", "valid/weighted/AGE/mae")},
                **{name: f"{name} {EXAMPLES}" for name in ("train/loss", "train/AGE/loss")},
                **dict.fromkeys(["valid/loss", "valid/AGE/loss", "valid/AGE/mae", "train/AGE/mae"]),
            },
        ),
        ("feature.targets.PRICE.scale=1e-5,1e-3", dict.fromkeys(["valid/loss", "valid/PRICE/rmse"], TARGETS)),
        ("feature.targets.AGE.missing=mask,mean", dict.fromkeys(["valid/loss", "valid/AGE/mae"], TARGETS)),
        (
            "metric.AGE.mae._target_=components.metric.MAE,components.metric.RMSE",
            {
                **{name: f"{name} {METRICS}" for name in ("valid/AGE/mae", "valid/weighted/AGE/mae")},
                **dict.fromkeys(["valid/PRICE/rmse", "valid/loss"]),
            },
        ),
        ("learning_rate=0.1,0.2", dict.fromkeys(["valid/loss", "valid/weighted/loss", "train/loss", "valid/AGE/mae"])),
    ],
)
def test_runs_of_several_targets_are_ranked_if_the_monitored_metric_can_be_compared(
    in_empty_folder: Path, swept: str, reasons: dict[str, str | None]
) -> None:
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/several.yaml").write_text(SEVERAL)
    words = ["data=california_housing", "feature=several", "architecture=mlp", "metric={PRICE: [rmse], AGE: [mae]}"]
    words += ["loss={PRICE: mse, AGE: {option: huber, delta: 0.5}}", swept]
    for monitor, why in reasons.items():
        plan = make_plan([*words, f"training.monitor={monitor}"], multirun=True)
        assert isinstance(plan, Plan)
        assert explain_incomparable(plan.runs) == why


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=diabetes_mlp", "loss_weights.target=0.1,1"],  # the recorded loss has no factor
        [
            "experiment=reconstructing_regressor",
            *("feature.target=null", "loss=null", "metric=[]", "optimizer=sgd,adam"),  # an internal loss
        ],
    ],
)
def test_the_loss_of_one_target_or_none_is_ranked(words: list[str]) -> None:
    plan = make_plan(words, multirun=True)
    assert isinstance(plan, Plan)
    assert explain_incomparable(plan.runs) is None


@pytest.mark.parametrize(
    ("swept", "subject"),
    [
        ("architecture.strength=0.1,0.2", None),
        ("loss_weights.target=0.1,1", "weights of losses"),
        ("regularizer.l2.strength=0.1,0.2", "regularizers"),
    ],
)
def test_the_objective_is_compared_between_runs_of_the_same_terms(swept: str, subject: str | None) -> None:
    words = ["experiment=reconstructing_regressor", "regularizer=[l2]", "training.monitor=train/objective", swept]
    plan = make_plan(words, multirun=True)
    assert isinstance(plan, Plan)
    why = f"train/objective can't be compared between {subject}; set training.monitor to a metric"
    assert explain_incomparable(plan.runs) == (subject and why)


TEACHERS = LOSSES.replace("losses", "teachers")


@pytest.mark.parametrize(
    ("loss", "reasons"),
    [
        ("distillation", {"valid/loss": TEACHERS, "valid/accuracy": None}),
        ("softmax_cross_entropy", {"valid/loss": None}),
        (
            "several",
            {"valid/loss": TEACHERS, "valid/KIND/loss": TEACHERS, "valid/PRICE/loss": None, "valid/PRICE/rmse": None},
        ),
    ],
)
def test_losses_that_read_different_teachers_are_not_ranked(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, loss: str, reasons: dict[str, str | None]
) -> None:
    monkeypatch.setattr("runner.config.check.find_teacher_problems", lambda _: [])  # there is no folder of a teacher
    words = [f"loss={loss}"]
    if loss == "several":
        Path("conf/feature").mkdir(parents=True)
        kind = "{_target_: components.feature.Label, key: households}"
        Path("conf/feature/several.yaml").write_text(SEVERAL.replace("columns:", f"  KIND: {kind}\ncolumns:"))
        words = ["data=california_housing", "feature=several", "architecture=mlp", "metric={PRICE: [rmse]}"]
        words.append("loss={PRICE: mse, AGE: mae, KIND: distillation}")
    words += ["teacher=run", "teacher.run=first,second"]
    for monitor, why in reasons.items():
        plan = make_plan([*words, f"training.monitor={monitor}"], multirun=True)
        assert isinstance(plan, Plan)
        assert explain_incomparable(plan.runs) == (why and f"{monitor} {why}")


EVALUATING = (
    "can't be compared between augmentations that change evaluations; set training.monitor to a loss or metric of train"
)
MIXING = "can't be compared between augmentations that mix examples; set training.monitor to a loss or metric of valid"


@pytest.mark.parametrize(
    ("swept", "reasons"),
    [
        (
            "augmentation=[mixup],[]",
            {"train/loss": MIXING, "train/accuracy": MIXING, "valid/loss": None, "valid/accuracy": None},
        ),
        ("augmentation=[flip,mixup],[crop,cutmix]", {"train/loss": MIXING}),
        ("augmentation=[flip,mixup],[mixup]", {"train/loss": None}),
        ("augmentation=[flip],[]", {"train/loss": None}),
        ("augmentation=[gaussian_noise] augmentation.gaussian_noise.evaluates=true,false", {"valid/loss": EVALUATING}),
        ("augmentation=[gaussian_noise] augmentation.gaussian_noise.std=0.1,0.2", {"valid/loss": None}),
    ],
)
def test_metrics_of_mixed_or_changed_examples_are_not_ranked(swept: str, reasons: dict[str, str | None]) -> None:
    for monitor, why in reasons.items():
        plan = make_plan(["experiment=digits_cnn", *swept.split(), f"training.monitor={monitor}"], multirun=True)
        assert isinstance(plan, Plan)
        assert explain_incomparable(plan.runs) == (why and f"{monitor} {why}")
