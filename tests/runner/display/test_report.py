"""The reports at the end of a run and of a sweep: status, metrics, failures and places."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.display.report import print_report
from runner.sweep.manifest import Manifest, SweepRun
from runner.sweep.plan import Plan, make_plan
from runner.sweep.ranking import rank
from runner.sweep.report import format_candidate_command, print_end, print_plan, print_run

SUMMARY = {
    "status": "finished",
    "epochs": 10,
    "best_epoch": 7,
    "seconds": 12.34,
    "metrics": {
        "best/train/loss": 0.1,
        "best/valid/loss": 0.2,
        "best/valid/accuracy": 0.91,
        "test/loss": 0.25,
        "test/accuracy": 0.9117,
        "steps_per_second": 1234.5,
    },
}
RECORD = "mlflow ui\nhttp://127.0.0.1:5000/#/experiments/1/runs/a"


def report_lines(capsys: pytest.CaptureFixture[str], record: str | None = RECORD, **summary: Any) -> list[str]:
    print_report(SUMMARY | summary, Path("outputs/run"), record, quiet=False)
    return capsys.readouterr().out.splitlines()


def test_a_finished_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_lines(capsys) == [
        "split  loss  accuracy",
        "test   0.25  0.9117",
        "valid  0.2   0.91",
        "train  0.1",
        "status      finished",
        "best epoch  7 of 10",
        "time        12.3 s, 1,234 steps/s",
        "folder      outputs/run",
        "record      mlflow ui",
        "            http://127.0.0.1:5000/#/experiments/1/runs/a",
    ]


def test_a_run_that_is_evaluated_within_epochs_has_a_best_step(capsys: pytest.CaptureFixture[str]) -> None:
    history = [
        {"epoch": epoch, "step": step} for epoch, step in ((13 / 37, 13), (1, 37), (1300 / 37, 1300), (40, 1480))
    ]
    lines = report_lines(capsys, history=history, best_epoch=1300 / 37, epochs=40)
    assert "best step  1300 of 1480" in lines


@pytest.mark.parametrize(("pace", "text"), [(0.01234, "0.01234"), (216.94, "216.9"), (11264.4, "11,264")])
def test_a_pace_has_no_exponent(pace: float, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = report_lines(capsys, metrics={"steps_per_second": pace})
    assert f"time        12.3 s, {text} steps/s" in lines


def test_an_interrupted_run_says_how_to_resume_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = report_lines(capsys, None, status="interrupted", stopped_by="SIGTERM", metrics={}, best_epoch=None)
    assert lines == [
        "status  interrupted by SIGTERM; the same command (without fresh=true) resumes the run, or resume=run",
        "time    12.3 s",
        "folder  outputs/run",
    ]


def test_a_diverged_run_says_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    lines = report_lines(
        capsys, status="diverged", metrics={}, error="not finite at step 3. Try a smaller learning_rate"
    )
    assert "status      diverged: not finite at step 3. Try a smaller learning_rate" in lines


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out = "\n".join(report_lines(capsys))
    assert "test   0.25  0.9117\n" in out
    assert "folder      outputs/run" in out


def test_brackets_in_names_are_not_markup(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = report_lines(capsys, None, status="failed", error="[/x]", metrics={"test/loss[0]": 0.5, "test/[/dim]": 1.0})
    assert any("loss[0]" in line and "[/dim]" in line for line in lines)
    assert "status      failed: [/x]" in lines


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(SUMMARY, Path("outputs/run"), RECORD, quiet=True)
    assert capsys.readouterr() == ("", "")


def end_sweep(runs: list[SweepRun], monitor: str | None, *, quiet: bool) -> None:
    """Prints the end of a sweep over the key `a`."""
    manifest = Manifest(["a"], runs, monitor)
    summary = {"status": "failed", "error": "some failed", "best": "titrate a=1", "best_folder": "0", "seconds": 3.0}
    print_end(manifest, rank(manifest), summary, Path("out"), None, quiet)


RUNS = [
    SweepRun(["a=[/b]"], {"a": "[/b]"}, "finished", "0", {"best/valid/loss": 0.5}),
    SweepRun(["a=2"], {"a": 2}, "failed", "1", error="[/x] is wrong\nand more"),
    SweepRun(["a=3"], {"a": 3}, "diverged", "2"),
    SweepRun(["a=4"], {"a": 4}),
]


def test_a_sweep_prints_its_ranking_and_its_failures(capsys: pytest.CaptureFixture[str]) -> None:
    end_sweep(RUNS, "valid/loss", quiet=False)
    assert capsys.readouterr().out.splitlines() == [
        "rank  a     runs    valid/loss",
        "1     [/b]  1       0.5",
        "      2     0 of 1",
        "      3     0 of 1",
        "      4     0 of 1",
        "",
        "failed  why            folder",
        "a=2     [/x] is wrong  1",
        "a=3     diverged       2",
        "",
        "status    failed: some failed",
        "best      titrate a=1",
        "best run  out/0",
        "time      3.0 s",
        "folder    out",
    ]


def test_a_terminal_gets_tables_of_a_sweep(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    end_sweep(RUNS, "valid/loss", quiet=False)
    out = capsys.readouterr().out
    assert "1     [/b]  1       0.5\n" in out
    assert "a=2     [/x] is wrong  1\n" in out


def test_the_table_of_a_sweep_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = {"best/valid/loss": 0.5} | {f"test/metric_{number}": 0.25 for number in range(20)}
    runs = [SweepRun([f"a={number}"], {"a": number}, "finished", "0", metrics) for number in (1, 2)]
    end_sweep(runs, "valid/loss", quiet=False)
    assert capsys.readouterr().out.splitlines()[0].split()[-1] == "test/metric_19"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "110")
    end_sweep(runs, "valid/loss", quiet=False)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    heading = next(line for line in lines if "rank" in line)
    assert re.findall(r"\S*/\S*", heading) == ["valid/", *["test/"] * 9]
    assert max(map(len, lines)) <= 110
    note = r"11 columns don't fit the terminal: test/metric_19, .* \(1 more\); out/ranking.csv has all"
    assert re.search(note, " ".join(lines))


@pytest.mark.parametrize(("columns", "metrics"), [(80, "valid/loss 0.5  test/b 0.25"), (51, "valid/loss 0.5  …")])
def test_the_line_of_a_run_of_a_sweep_is_shortened_to_the_terminal(
    columns: int, metrics: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    metrics_of_run = {"best/valid/loss": 0.5, "test/b": 0.25}
    run = SweepRun(["learning_rate=0.1"], {}, "finished", "0", metrics_of_run, seconds=1.2)
    print_run(3, 12, run, Manifest(["learning_rate"], [run], "valid/loss"), ended_before=False)
    assert capsys.readouterr().out == f" 3/12  learning_rate=0.1  {metrics}  1.2 s\n"


@pytest.mark.usefixtures("in_empty_folder")
def test_a_sweep_without_lists_says_that_it_is_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["seed=1"], ["seed=1,2"], ["folds=2"]):
        plan = make_plan(words, multirun=True)
        assert isinstance(plan, Plan)
        print_plan(plan)
        notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: -m has no list")]
        assert len(notes) == (words == ["seed=1"])


def test_a_quiet_sweep_prints_its_failures_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    end_sweep([*RUNS, SweepRun([], {}, "failed", error="alone")], None, quiet=True)
    assert capsys.readouterr() == ("", "a=2: [/x] is wrong\na=3: diverged\nthe run: alone\n")


@pytest.mark.usefixtures("in_empty_folder")
def test_the_command_of_the_best_candidate_runs_one_run() -> None:
    plan = make_plan(["folds=3", "fold=1", "seed=4", "learning_rate=0.1,0.2"], multirun=True)
    assert isinstance(plan, Plan)
    manifest = Manifest(["learning_rate"], [SweepRun(list(run.overrides), {}) for run in plan.runs])
    command = format_candidate_command(plan, rank(manifest)[0])
    assert command == "titrate seed=4 learning_rate=0.1"
    make_plan(command.split()[1:], multirun=False)  # it is valid
