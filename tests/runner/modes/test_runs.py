"""The runs below a folder are listed, chosen by conditions, and cleaned without harm to what is still needed."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner import run_folder as folders
from runner.__main__ import main
from runner.record.outbox import write_covered_size

REPORT = (
    "import sys, runner.__main__; code = runner.__main__.main(sys.argv[1:]);"
    "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
)
BIG = 1_000_000  # bytes of a checkpoint

pytestmark = pytest.mark.usefixtures("in_empty_folder")


def made(name: str, *, day: int = 20, parent: str = ".", summary: dict[str, Any] | None = None, **record: Any) -> Path:
    """The folder of a run, named `2026-11-DAY_…_NAME_…`, that did what its summary says."""
    path = Path("outputs", parent, f"2026-11-{day:02d}_12-00-00_{name}_0123456789")
    path.mkdir(parents=True)
    created = time.mktime((2026, 11, day, 12, 0, 0, 0, 0, -1)) * 1000
    parameters = {"seed": 0, "learning_rate": 0.001, "training.batch_size": 32, "training.monitor": "valid/loss"}
    values = {
        "kind": record.get("kind", "run"),
        "name": name,
        "digest": "0123456789",
        "created": int(created),
        "tags": {"overrides": record.get("overrides", "")},
        "parameters": parameters | record.get("parameters", {}),
        "datasets": [],
        "tracking": record.get("tracking", {}),
    }
    (path / "record.json").write_text(json.dumps(values))
    (path / "lock").touch()
    if summary is not None:
        (path / "summary.json").write_text(json.dumps({"status": "finished", "epochs": 3, "seconds": 1.25} | summary))
    return path


def scored(name: str, accuracy: float, **more: Any) -> Path:
    return made(name, summary={"metrics": {"best/valid/loss": 1 - accuracy, "test/accuracy": accuracy}}, **more)


def checkpoints(path: Path, *names: str) -> None:
    (path / "checkpoints").mkdir()
    for name in names:
        (path / "checkpoints" / name).write_bytes(bytes(BIG))


def left(path: Path) -> list[str]:
    return sorted(one.name for one in (path / "checkpoints").iterdir())


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[list[str]]]:
    """What a command that succeeds prints, in cells."""

    def run(*words: str) -> list[list[str]]:
        assert main([*words]) == 0
        out, err = capsys.readouterr()
        assert not err
        return [line.split("  ") for line in out.splitlines()]

    return run


Printed = Callable[..., list[list[str]]]


def names(lines: list[list[str]]) -> list[str]:
    """The second column of the table."""
    return [cells[1].strip() for cells in lines[1:]]


def test_no_runs(printed: Printed) -> None:
    assert printed("mode=runs") == [["no runs below outputs"]]
    made("a")
    assert printed("mode=runs", 'runs.where="epochs > 3"') == [
        ["none of the 1 runs below outputs meets runs.where=epochs > 3"]
    ]


def test_what_a_row_says(printed: Printed) -> None:
    scored("a", 0.9, day=1, overrides="seed=1 experiment=a", parameters={"seed": 1})
    made("b", day=2, summary={"status": "diverged", "metrics": {}})
    heading, first, second = ([cell.strip() for cell in line if cell] for line in printed("mode=runs"))
    expected = ["created", "name", "status", "epochs", "seconds", "best/valid/loss", "test/accuracy", "seed", "folder"]
    assert heading == expected
    assert first == ["2026-11-02 12:00:00", "b", "diverged", "3", "1.2", "0", "2026-11-02_12-00-00_b_0123456789"]
    assert second[2:-1] == ["finished", "3", "1.2", "0.1", "0.9", "1"]


def test_status_and_epochs_of_a_run_without_an_end(printed: Printed) -> None:
    path = made("killed")
    points = [json.dumps({"step": n, "timestamp": 0, "values": {"epoch": float(n)}}) for n in (1, 2, 3)]
    (path / "points.jsonl").write_text("\n".join(points)[:-5])  # cut in the middle of a line
    alive = made("alive", day=21)
    with closing(folders.lock_folder(alive)):
        lines = printed("mode=runs")
    assert [cell.strip() for cell in lines[1] if cell][1:3] == ["alive", "running"]
    assert [cell.strip() for cell in lines[2] if cell][1:4] == ["killed", "interrupted", "2"]
    history = [{"epoch": n, "step": n, "valid/loss": loss} for n, loss in ((1, 0.75), (2, 0.5), (3, 0.625))]
    made("stopped", day=22, summary={"status": "interrupted", "metrics": {}, "best_epoch": 2, "history": history})
    assert "0.5" in [cell.strip() for cell in printed("mode=runs")[1]]


def test_what_distinguishes_runs_is_shown(printed: Printed) -> None:
    for n, rate in enumerate((0.1, 0.2)):
        scored("a", 0.5, day=n + 1, parameters={"learning_rate": rate, "schedule.learning_rate": rate, "sweep": n})
    assert [cell.strip() for cell in printed("mode=runs")[0] if cell][7:] == ["learning_rate", "folder"]
    scored("b", 0.5, day=3, parameters={"learning_rate": 0.1, "training.batch_size": 8})  # its name tells it already
    assert "batch_size" not in " ".join(printed("mode=runs")[0])


def test_what_differs_but_has_no_column_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(2):
        rates = {f"rate{k}": n for k in range(6)}
        made("a", day=n + 1, parameters=rates, overrides=" ".join(f"{name}={n}" for name in rates))
    assert main(["mode=runs"]) == 0
    assert "they also differ in" not in capsys.readouterr().out, "the same difference under other names"
    made("a", day=3, parameters=rates | {"rate4": 7}, overrides="rate4=7")
    assert main(["mode=runs"]) == 0
    assert "they also differ in" not in capsys.readouterr().out
    for n in range(6):
        made("a", day=n + 4, parameters=rates | {f"rate{n}": 8}, overrides=" ".join(f"{name}=1" for name in rates))
    assert main(["mode=runs"]) == 0
    assert "they also differ in rate4, rate5; runs.where and runs.sort show what they name" in capsys.readouterr().out


def test_the_first_of_an_order(printed: Printed) -> None:
    for name, accuracy, day in (("a", 0.7, 3), ("b", 0.9, 1), ("c", 0.8, 2)):
        scored(name, accuracy, day=day)
    made("d", day=4, summary={"metrics": {"test/accuracy": float("nan")}})
    assert names(printed("mode=runs")) == ["d", "a", "c", "b"]
    assert names(printed("mode=runs", "runs.sort=-created")) == ["b", "c", "a", "d"]
    assert names(printed("mode=runs", "runs.sort=test/accuracy")) == ["a", "c", "b", "d"]
    lines = printed("mode=runs", "runs.sort=-test/accuracy", "runs.last=2")
    assert names(lines[:-1]) == ["b", "c"]
    assert lines[-1] == ["2 of 4 runs below outputs; runs.last=null lists all"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("test/accuracy > 0.6", "bc"),
        ("test/accuracy>=0.7 and learning_rate < 1e-2", "b"),
        ("status = finished and test/accuracy <= 0.5", "a"),
        ("status != finished", "d"),
        ("optimizer ~ SG", "c"),
        ("optimizer = sgd", "c"),
        ("training.patience = null", "c"),
        ("widths = [64,64]", "c"),
        ("batch_size == 32", "abcd"),
        ("created = 2026-11-02", "b"),
        ("created >= 2026-11-03T11:30", "cd"),
        ("age > 0.5 days", "abcd"),
        ("age < 1 minute", ""),
        ('name = "a" and folder ~ "a_"', "a"),
    ],
)
def test_conditions(printed: Printed, monkeypatch: pytest.MonkeyPatch, where: str, expected: str) -> None:
    monkeypatch.setattr(time, "time", lambda: time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1)))
    scored("a", 0.5, day=1)
    scored("b", 0.7, day=2)
    parameters = {"optimizer": "sgd", "learning_rate": 0.1, "training.patience": None, "architecture.widths": [64, 64]}
    scored("c", 0.9, day=3, parameters=parameters)
    made("d", day=4, summary={"status": "failed", "metrics": {}})
    escaped = where.replace('"', r"\"")
    assert "".join(sorted(names(printed("mode=runs", f'runs.where="{escaped}"')))) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            'runs.where="test/acuracy > 0.9"',
            "runs.where: none of the runs has a field test/acuracy. Did you mean test/accuracy?",
        ),
        ("runs.sort=-acuracy", "runs.sort: none of the runs has a field acuracy. Did you mean test/accuracy?"),
        ('runs.where="accuracy"', "runs.where: 'accuracy' can't be read; write FIELD = VALUE"),
        ('runs.where="seed = 1 or seed = 2"', "runs.where: 'seed = 1 or seed = 2' can't be read"),
        ('runs.where="seed = 1 and "', "runs.where: nothing follows the last `and`"),
        ('runs.where="status > finished"', "runs.where: status > finished: after > comes a number"),
        ('runs.where="created > yesterday"', "runs.where: created > yesterday: yesterday is not a date"),
        ('runs.where="age > 3"', "runs.where: age > 3: 3 is not an age, 90 minutes or 2 days"),
        ('runs.where="rate = 3"', "runs.where: rate may be a.rate or b.rate; write the whole name"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], word: str, message: str) -> None:
    scored("a", 0.5, parameters={"a.rate": 1, "b.rate": 2})
    assert main(["mode=runs", word]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.out == ""


def test_a_broken_folder_is_shown_as_damaged(printed: Printed) -> None:
    scored("whole", 0.5, day=1)
    (scored("half", 0.5, day=2) / "record.json").write_text('{"name": "ha')
    (scored("end", 0.5, day=3) / "summary.json").write_text("[]")
    (scored("deleted", 0.5, day=4) / "record.json").unlink()
    scored("kind", 0.5, day=6, kind=["x"])
    distant = scored("distant", 0.5, day=7) / "record.json"
    distant.write_text(json.dumps(json.loads(distant.read_text()) | {"created": 10**30}))
    Path("outputs/notes").mkdir()
    lines = printed("mode=runs")
    assert sorted(names(lines)) == [*5 * [""], "whole"]
    assert len(printed("mode=runs", 'runs.where="status = damaged"')) == 1 + 5


def test_a_sweep_s_runs_are_listed_too(printed: Printed) -> None:
    parent = made("sweep", day=1, kind="sweep", summary={"metrics": {}})
    scored("00", 0.5, day=2, parent=parent.name)
    lines = printed("mode=runs")
    assert "kind" in [cell.strip() for cell in lines[0]]
    assert lines[1][-1] == f"{parent.name}/2026-11-02_12-00-00_00_0123456789"


def test_a_terminal_gets_a_table_that_fits(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, rate in enumerate((0.1, 0.2)):
        scored("digits", 0.5, day=n + 1, parameters={"learning_rate": rate})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    lines = ["  ".join(cells) for cells in printed("mode=runs")]
    assert lines[-1] == "the terminal is too narrow for created, seconds, epochs; `| cat` shows all"
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in lines) <= 100
    assert any("│ digits │ finished │ 0.5             │ 0.5           │ 0.2           │" in line for line in lines)
    monkeypatch.setenv("COLUMNS", "40")
    assert "learning_rate" in printed("mode=runs")[-1][0]
    monkeypatch.setenv("COLUMNS", "160")
    assert "learning_rate" in "  ".join(printed("mode=runs")[1])


def test_it_takes_neither_jax_nor_a_second() -> None:
    for n in range(300):
        summary = {
            "metrics": {"test/accuracy": n / 300},
            "history": [{"epoch": 1, "step": step} for step in range(100)],
        }
        made(f"run{n:03}", summary=summary, parameters={f"p{k}": k for k in range(50)} | {"seed": n})
    words = ["mode=runs", "runs.sort=-test/accuracy", 'runs.where="seed > 100"']
    done = subprocess.run([sys.executable, "-c", REPORT, *words], capture_output=True, text=True, check=True)
    *lines, imported = done.stdout.splitlines()
    assert len(lines) == 22
    assert {"jax", "mlflow", "numpy", "matplotlib"}.isdisjoint(imported.split())


def test_clean_needs_a_condition(capsys: pytest.CaptureFixture[str]) -> None:
    scored("a", 0.5)
    assert main(["mode=clean"]) == 2
    assert capsys.readouterr().err.startswith("runs.where: is missing; mode=clean deletes of the runs that it names")
    assert main(["mode=clean", 'runs.where="status = faild and seed = 7"']) == 0
    assert capsys.readouterr().out.startswith("none of the 1 runs")


def test_clean_says_what_would_go_and_deletes_it_once_confirmed(printed: Printed) -> None:
    done = scored("done", 0.5, day=1)
    checkpoints(done, "step_1.npz", "step_2.npz", "best_1.npz", "best_2.npz", "step_0.damaged")
    stopped = made("stopped", day=2, summary={"status": "interrupted", "metrics": {}})
    checkpoints(stopped, "step_1.npz", "step_2.npz", "best_1.npz")
    words = ["mode=clean", 'runs.where="epochs = 3"', "runs.last=1"]
    lines = printed(*words)
    assert lines[1:3] == [
        ["interrupted", "1.00 MB", stopped.name],
        ["finished", "", " 4.00 MB", done.name],
    ]
    assert lines[-1] == ["checkpoints of 2 runs, 5.00 MB, would go; runs.confirm=true deletes them"]
    assert len(left(done)) == 5
    assert printed(*words, "runs.confirm=true")[-1] == ["deleted checkpoints of 2 runs, 5.00 MB"]
    assert left(done) == ["best_2.npz"]
    assert left(stopped) == ["best_1.npz", "step_2.npz"]
    assert printed(*words) == [["nothing to delete"]]


def test_a_living_run_is_left_alone(printed: Printed) -> None:
    path = made("alive")
    checkpoints(path, "step_1.npz", "step_2.npz")
    for delete in ("checkpoints", "folders"):
        with closing(folders.lock_folder(path)):
            lines = printed("mode=clean", 'runs.where="name = alive"', f"runs.delete={delete}", "runs.confirm=true")
        assert lines[0] == [f"kept {path.name}: a process is running it"]
    assert left(path) == ["step_1.npz", "step_2.npz"]


def test_folders_go_with_everything_but_only_once_delivered(printed: Printed) -> None:
    path = made("a", summary={}, tracking={"uri": "sqlite:///gone.db", "experiment": "titrate"})
    (path / "points.jsonl").write_text("{}\n")
    write_covered_size(path, 3)
    (damaged := made("b")).joinpath("record.json").unlink()
    words = ["mode=clean", 'runs.where="folder ~ 2026"', "runs.delete=folders", "runs.confirm=true"]
    lines = ["  ".join(cells) for cells in printed(*words)]
    assert any(line.startswith(f"kept {path.name}: MLflow lacks some of its record") for line in lines)
    assert path.exists()
    assert not damaged.exists()
    assert printed(*words, "tracking=none")[-1][0].startswith("deleted 1 folders, ")
    assert list(Path("outputs").iterdir()) == []


def test_a_sweep_s_folder_goes_only_with_its_runs(printed: Printed) -> None:
    sweep = made("sweep", day=1, kind="sweep", summary={"metrics": {}})
    one, two = (scored(name, 0.5, day=2, parent=sweep.name) for name in ("00", "01"))
    words = ["mode=clean", "runs.delete=folders", "runs.confirm=true"]
    assert printed(*words, 'runs.where="kind = sweep"')[0][0].startswith(f"kept {sweep.name}: runs of it stay (2)")
    with closing(folders.lock_folder(sweep)):  # it is alive, and so are its runs
        printed(*words, 'runs.where="seed = 0"')
    assert one.exists()
    printed(*words, 'runs.where="name = 00"')
    assert not one.exists()
    assert two.exists()
    assert printed(*words, 'runs.where="seed = 0"')[-1][0].startswith("deleted 2 folders")
    assert not sweep.exists()


@pytest.mark.optax
def test_a_cleaned_run_is_evaluated_as_before(printed: Printed) -> None:
    words = ["optimizer=sgd", "architecture.widths=[4]", "training.epochs=3", "training.limit_batches=2"]
    assert main([*words, "tracking=none", "quiet=true"]) == 0
    (path,) = Path("outputs").iterdir()
    asked = ("mode=evaluate", f"run={path.name}", "quiet=true")  # quiet: how long compiling took is another matter
    before = printed(*asked)
    printed("mode=clean", 'runs.where="status = finished"', "runs.confirm=true")
    assert [name.partition("_")[0] for name in left(path)] == ["best"]
    assert printed(*asked) == before != []
