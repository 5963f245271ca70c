"""`mode=runs` lists and selects runs; `mode=clean` removes checkpoints and folders that nothing needs any more."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.__main__ import main
from runner.data.cache import save_tree
from runner.record.outbox import write_checkpointed_size
from runner.run_folder import find_run, lock_folder

PRINT_IMPORTS = (
    "import sys, runner.__main__; code = runner.__main__.main(sys.argv[1:]);"
    "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
)
CHECKPOINT_BYTES = 1_000_000

pytestmark = pytest.mark.usefixtures("in_empty_folder")


def make_run(
    name: str, *, day: int = 20, parent: str = ".", summary: dict[str, Any] | None = None, **record: Any
) -> Path:
    """Writes the folder of a run, `2026-11-DAY_…_NAME_…`. `summary` updates a finished run's; None: it has none."""
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
    } | ({"title": record["title"]} if "title" in record else {})
    (path / "record.json").write_text(json.dumps(values))
    (path / "lock").touch()
    if summary is not None:
        (path / "summary.json").write_text(json.dumps({"status": "finished", "epochs": 3, "seconds": 1.25} | summary))
    return path


def make_scored_run(name: str, accuracy: float, **more: Any) -> Path:
    return make_run(name, summary={"metrics": {"best/valid/loss": 1 - accuracy, "test/accuracy": accuracy}}, **more)


def write_checkpoints(path: Path, *names: str) -> None:
    (path / "checkpoints").mkdir()
    for name in names:
        (path / "checkpoints" / name).write_bytes(bytes(CHECKPOINT_BYTES))


def checkpoint_names(path: Path) -> list[str]:
    return sorted(file.name for file in (path / "checkpoints").iterdir())


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[list[str]]]:
    """Runs a command, which must succeed. Returns the cells of each line that it prints."""

    def run(*arguments: str) -> list[list[str]]:
        assert main([*arguments]) == 0
        out, err = capsys.readouterr()
        assert not err
        return [line.split("  ") for line in out.splitlines()]

    return run


RunCommand = Callable[..., list[list[str]]]


def names(lines: list[list[str]]) -> list[str]:
    """The second column of the table."""
    return [cells[1].strip() for cells in lines[1:]]


def test_without_runs_a_line_says_so(run_command: RunCommand) -> None:
    assert run_command("mode=runs") == [["no runs below outputs"]]
    make_run("a")
    assert run_command("mode=runs", 'runs.where="epochs > 3"') == [["no run below outputs meets runs.where=epochs > 3"]]


def test_a_row_has_facts_metrics_and_the_parameter_that_differs(run_command: RunCommand) -> None:
    make_scored_run("a", 0.9, day=1, overrides="seed=1 experiment=a", parameters={"seed": 1})
    make_run("b", day=2, summary={"status": "diverged", "metrics": {}, "epochs": 59.2973}, title="lr 0.1 · b")
    heading, first, second = ([cell.strip() for cell in line if cell] for line in run_command("mode=runs"))
    expected = ["created", "name", "status", "epochs", "seconds", "best/valid/loss", "test/accuracy", "seed", "folder"]
    assert heading == expected
    assert first[:-2] == ["2026-11-02 12:00:00", "lr 0.1 · b", "diverged", "59.3", "1.2"]
    assert first[-2:] == ["0", "2026-11-02_12-00-00_b_0123456789"]
    assert second[2:-1] == ["finished", "3", "1.2", "0.1", "0.9", "1"]


def test_a_run_without_a_summary_has_a_status_and_epochs(run_command: RunCommand) -> None:
    path = make_run("killed")
    points = [json.dumps({"step": n, "timestamp": 0, "values": {"epoch": float(n)}}) for n in (1, 2, 3)]
    (path / "points.jsonl").write_text("\n".join(points)[:-5])  # cut in the middle of a line
    running = make_run("active", day=21)
    with closing(lock_folder(running)):
        lines = run_command("mode=runs")
    assert [cell.strip() for cell in lines[1] if cell][1:3] == ["active", "running"]
    assert [cell.strip() for cell in lines[2] if cell][1:4] == ["killed", "interrupted", "2"]
    history = [{"epoch": n, "step": n, "valid/loss": loss} for n, loss in ((1, 0.75), (2, 0.5), (3, 0.625))]
    make_run("stopped", day=22, summary={"status": "interrupted", "metrics": {}, "best_epoch": 2, "history": history})
    assert "0.5" in [cell.strip() for cell in run_command("mode=runs")[1]]


def test_a_parameter_that_distinguishes_runs_has_a_column(run_command: RunCommand) -> None:
    for n, rate in enumerate((0.1, 0.2)):
        make_scored_run(
            "a", 0.5, day=n + 1, parameters={"learning_rate": rate, "schedule.learning_rate": rate, "sweep": n}
        )
    assert [cell.strip() for cell in run_command("mode=runs")[0] if cell][7:] == ["learning_rate", "folder"]
    lines = run_command("mode=runs", "runs.columns=[learning_rate,test/accuracy,folder,status]")
    assert [cell.strip() for cell in lines[0] if cell] == ["learning_rate", "test/accuracy", "folder", "status"]
    # This run is distinguished by its name already.
    make_scored_run("b", 0.5, day=3, parameters={"learning_rate": 0.1, "training.batch_size": 8})
    assert "batch_size" not in " ".join(run_command("mode=runs")[0])
    # The column `epochs` has it. A sweep has no seed, which is no difference between runs.
    make_run("c", day=4, parameters={"training.epochs": 3}, overrides="training.epochs=3", summary={"metrics": {}})
    make_run("d", day=5, parameters={"training.epochs": 4}, overrides="training.epochs=4", summary={"epochs": 4})
    sweep = make_run("sweep", day=6, kind="sweep", overrides="seed=1,2")
    record = json.loads((sweep / "record.json").read_text())
    del record["parameters"]["seed"]
    (sweep / "record.json").write_text(json.dumps(record))
    heading = [cell.strip() for cell in run_command("mode=runs")[0] if cell]
    assert heading.count("epochs") == 1
    assert {"training.epochs", "seed"}.isdisjoint(heading)


def test_what_a_sweep_varies_comes_first_and_no_parameter_that_differs_is_left_out(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_heading() -> str:
        return re.sub(r"\x1b\[[\d;]*m", "", "  ".join(run_command("mode=runs")[0]))

    for n in range(2):
        rates = {f"rate{k}": n for k in range(6)}
        make_run("a", day=n + 1, parameters=rates, overrides=" ".join(f"{name}={n}" for name in rates))
    assert re.search("rate0 +folder", read_heading()), "the same difference under other names"
    for n in range(6):
        make_run("a", day=n + 4, parameters=rates | {f"rate{n}": 8}, overrides=" ".join(f"{name}=1" for name in rates))
    rates = [f"rate{n}" for n in range(6)]
    assert re.search(" +".join([*rates, "folder"]), read_heading())
    sweep = make_run("sweep", day=11, kind="sweep", parameters=dict.fromkeys([*rates, "schedule"], 1))
    for n, schedule in enumerate(("constant", "cosine")):
        overrides = f"schedule={schedule} seed={n}"
        parameters = dict.fromkeys(rates, 1) | {"schedule": schedule, "seed": n}
        make_run("b", day=12 + n, parent=sweep.name, overrides=overrides, parameters=parameters)
    assert re.search(" +".join(["schedule", "seed", *rates, "folder"]), read_heading())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    assert re.search("created +name .*" + " +".join(["schedule", "seed", *rates, "folder"]), read_heading())
    monkeypatch.setenv("COLUMNS", "100")
    assert re.search("name +.*schedule +seed +rate0 +rate1 +folder", read_heading()), "names matter more than others"


def test_runs_are_sorted_and_the_first_listed(run_command: RunCommand) -> None:
    for name, accuracy, day in (("a", 0.7, 3), ("b", 0.9, 1), ("c", 0.8, 2)):
        make_scored_run(name, accuracy, day=day)
    make_run("d", day=4, summary={"metrics": {"test/accuracy": float("nan")}})
    assert names(run_command("mode=runs")) == ["d", "a", "c", "b"]
    assert names(run_command("mode=runs", "runs.sort=-created")) == ["b", "c", "a", "d"]
    assert names(run_command("mode=runs", "runs.sort=test/accuracy")) == ["a", "c", "b", "d"]
    lines = run_command("mode=runs", "runs.sort=-test/accuracy", "runs.last=2")
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
def test_conditions_select_runs(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, where: str, expected: str
) -> None:
    monkeypatch.setattr(time, "time", lambda: time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1)))
    make_scored_run("a", 0.5, day=1)
    make_scored_run("b", 0.7, day=2)
    parameters = {"optimizer": "sgd", "learning_rate": 0.1, "training.patience": None, "architecture.widths": [64, 64]}
    make_scored_run("c", 0.9, day=3, parameters=parameters)
    make_run("d", day=4, summary={"status": "failed", "metrics": {}})
    escaped = where.replace('"', r"\"")
    assert "".join(sorted(names(run_command("mode=runs", f'runs.where="{escaped}"')))) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            'runs.where="test/acuracy > 0.9"',
            "runs.where: no run has a field test/acuracy. Did you mean test/accuracy?",
        ),
        ("runs.sort=-acuracy", "runs.sort: no run has a field acuracy. Did you mean test/accuracy?"),
        ('runs.where="accuracy"', "runs.where: 'accuracy' is not a condition. Write FIELD = VALUE"),
        ('runs.where="seed = 1 or seed = 2"', "runs.where: 'seed = 1 or seed = 2' is not a condition"),
        ('runs.where="seed = 1 and "', "runs.where: no condition follows the last `and`"),
        ('runs.where="status > finished"', "runs.where: status > finished: status is no number in any run, but"),
        ('runs.where="epochs > many"', "runs.where: epochs > many: > needs a number"),
        (
            'runs.where="loss < 0.9"',
            "runs.where: loss < 0.9: loss is no number in any run, but for example mse. Did you mean best/valid/loss?",
        ),
        (
            'runs.where="created > yesterday"',
            "runs.where: created > yesterday: yesterday is not a date. Write",
        ),
        ("runs.columns=[name,acuracy]", "runs.columns: no run has a field acuracy. Did you mean test/accuracy?"),
        ('runs.where="age > 3"', "runs.where: age > 3: 3 is not an age. Write 90 minutes or 2 days"),
        ('runs.where="rate = 3"', "runs.where: rate matches a.rate and b.rate. Write the full name"),
    ],
)
def test_a_wrong_condition_or_field_is_an_error(
    capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    make_scored_run("a", 0.5, parameters={"a.rate": 1, "b.rate": 2, "loss": "mse"})
    assert main(["mode=runs", override]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.out == ""


def test_a_folder_that_cannot_be_read_is_listed_as_damaged(run_command: RunCommand) -> None:
    make_scored_run("whole", 0.5, day=1)
    (make_scored_run("half", 0.5, day=2) / "record.json").write_text('{"name": "ha')
    (make_scored_run("end", 0.5, day=3) / "summary.json").write_text("[]")
    (make_scored_run("deleted", 0.5, day=4) / "record.json").unlink()
    make_scored_run("kind", 0.5, day=6, kind=["x"])
    distant = make_scored_run("distant", 0.5, day=7) / "record.json"
    distant.write_text(json.dumps(json.loads(distant.read_text()) | {"created": 10**30}))
    Path("outputs/notes").mkdir()
    lines = run_command("mode=runs")
    assert sorted(names(lines)) == [*5 * [""], "whole"]
    assert len(run_command("mode=runs", 'runs.where="status = damaged"')) == 1 + 5


def test_the_runs_of_a_sweep_are_listed(run_command: RunCommand) -> None:
    parent = make_run("sweep", day=1, kind="sweep", summary={"metrics": {}})
    make_scored_run("00", 0.5, day=2, parent=parent.name)
    lines = run_command("mode=runs")
    assert "kind" in [cell.strip() for cell in lines[0]]
    assert lines[1][-1] == f"{parent.name}/2026-11-02_12-00-00_00_0123456789"


def test_the_table_fits_the_width_of_the_terminal(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    long_name = "epochs 2 · houses.csv · mlp · target median_house_value" * 2
    for n, rate in enumerate((0.1, 0.2)):
        make_scored_run("digits", 0.5, day=n + 1, parameters={"learning_rate": rate}, title=long_name)
    sweep = make_run("sweep", day=3, kind="sweep", summary={"metrics": {}})
    run = make_scored_run("00", 0.25, day=4, parent=sweep.name)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    def read_lines(width: int, *arguments: str) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        lines = ["  ".join(cells) for cells in run_command("mode=runs", *arguments)]
        assert max(len(re.sub(r"\x1b\[\d*m", "", line).rstrip()) for line in lines) <= width
        ends = f"{run.name[:19]}({run.name[19:]})?"  # both are what `run=` takes
        assert any(re.search(rf"(^| ){ends}$", line.rstrip()) for line in lines), "it can be copied"
        return lines

    lines = read_lines(112)
    remedy = "; runs.columns=[name,status] chooses the columns, and `| cat` shows all"
    note = f"4 columns don't fit the terminal: seconds, kind, created, status{remedy}"
    assert " ".join(lines).endswith(note), "it is broken at spaces"
    assert re.search("name.*best/.*test/.*learning_.*folder", "\n".join(lines))
    assert [line for line in lines if re.search("epochs 2 · houses.*…", line)], "names are cut first"
    assert "best/" in read_lines(50)[0], "which run is better matters most"
    assert re.search(r"best/ +test/ +folder", read_lines(43)[0])
    assert "learning_" in "".join(read_lines(160)[:2])
    narrow = read_lines(76, "runs.where=seconds > 1 and batch_size = 32", "runs.sort=test/accuracy")
    assert re.search("seconds.*batch_.*test/.*folder", "".join(narrow[:2])), "the command names these"
    assert "status" not in read_lines(52)[0]
    assert "status" in read_lines(52, "runs.sort=status")[0]
    chosen = read_lines(59, "runs.columns=[learning_rate,status,name,seconds]")
    assert re.search(r"learning_\w* +status +seconds +folder", chosen[0]), "the first of the chosen columns stay"
    assert "1 column doesn't fit the terminal: name; " in " ".join(chosen)
    assert long_name in "".join(read_lines(300))
    lines = ["  ".join(cells) for cells in run_command("mode=clean", "runs.where=name = 00", "runs.delete=folders")]
    (row,) = [line for line in lines if run.name in line]
    assert sweep.name not in row, "the same name as in the list of runs"
    for step in ("Jit", "Vmap"):
        make_scored_run(step, 0.5, day=5 + len(step), title=f"epochs 1 · limit_batches 2 · aug2.{step} · digits")
    lines = read_lines(72)
    assert re.search(r"… aug2\.Vmap .*… aug2\.Jit ", "".join(lines)), "what names share is cut first"


def test_a_narrow_terminal_has_what_a_sweep_is_about(run_command: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"best/valid/loss": 0.041665, "test/loss": 0.05192, "test/accuracy": 0.98607, "test/top_k": 1.0}
    first = {"data": "digits", "architecture": "cnn", "training.monitor": "train/loss"}
    make_run("digits", day=1, summary={"metrics": metrics | {"best/train/loss": 0.5}}, parameters=first)
    own = {"data": "csv", "architecture": "mlp"}
    for n, (rate, optimizer) in enumerate(((0.1, "adamw"), (0.01, "adamax"), (0.001, "adabelief"))):
        parameters = own | {"learning_rate": rate, "optimizer": optimizer}
        overrides = f"data=csv architecture=mlp learning_rate={rate} optimizer={optimizer}"
        title = f"fold {n} · epochs 1 · limit_batches 20 · houses.csv"
        path = make_run(
            "digits_cnn",
            day=n + 2,
            summary={"metrics": metrics},
            parameters=parameters,
            overrides=overrides,
            title=title,
        )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    def read_lines(width: int, *arguments: str) -> tuple[str, list[str]]:
        monkeypatch.setenv("COLUMNS", str(width))
        text = "\n".join("  ".join(cells) for cells in run_command(*(arguments or ["mode=runs"])))
        return text, re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()

    _, lines = read_lines(80)
    assert max(map(len, lines)) <= 80
    assert re.match(r"best/ +best/ +test/ +optimizer +learning_ +data +folder", lines[0]), "of the sweep before others"
    assert re.search(r"test/loss, test/top_k.*architecture", " ".join(lines)), (
        "a metric says more beside the monitored loss"
    )
    _, lines = read_lines(64)
    assert re.match(r"best/ +test/ +optimizer +learning_ +folder", lines[0]), "of what most runs monitored"
    (start,) = [line.split()[-1] for line in lines if "adabelief" in line]
    assert re.match(r"best/\S* +optimizer +folder", read_lines(45)[1][0]), "what differs stays last"
    assert path.name.startswith(start)
    assert len(start) < len(path.name)
    assert find_run(Path("outputs"), start) == path
    _, lines = read_lines(160)
    assert "limit_batches 20" in "".join(lines), "names get what is left"
    assert max(map(len, lines)) <= 160
    _, lines = read_lines(60, "mode=clean", "runs.where=test/accuracy > 0.9", "runs.delete=folders")
    assert re.search("test/ +size +folder *accuracy", "".join(lines[:2]))


def test_a_narrow_terminal_tells_runs_of_several_kinds_apart(
    run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scored_run("digits_cnn", 0.5, day=1, title="digits · cnn")
    for day, key, values in ((2, "fold", (0, 1)), (3, "learning_rate", (0.1, 0.01))):
        sweep = make_run("digits_cnn_sweep", day=day, kind="sweep", summary={"metrics": {}}, title=f"2 {key}s")
        for value in values:
            words = {
                "title": f"{key} {value} · digits · cnn",
                "overrides": f"{key}={value}",
                "parameters": {key: value},
            }
            make_scored_run(f"{value}", 0.5, day=day, parent=sweep.name, **words)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    text = "\n".join("  ".join(cells) for cells in run_command("mode=runs"))
    titles = [
        "digits · cnn",
        "2 folds",
        "2 learning_rates",
        "fold 1 · digits · cnn",
        "learning_rate 0.01 · digits · cnn",
    ]
    assert all(re.search(rf"^{title}  ", text, re.MULTILINE) for title in titles)
    assert re.search(r"name +best/ +test/ +folder", text)


def test_listing_does_not_import_jax() -> None:
    for n in range(300):
        summary = {
            "metrics": {"test/accuracy": n / 300},
            "history": [{"epoch": 1, "step": step} for step in range(100)],
        }
        make_run(f"run{n:03}", summary=summary, parameters={f"p{k}": k for k in range(50)} | {"seed": n})
    arguments = ["mode=runs", "runs.sort=-test/accuracy", 'runs.where="seed > 100"']
    done = subprocess.run([sys.executable, "-c", PRINT_IMPORTS, *arguments], capture_output=True, text=True, check=True)
    *lines, imported = done.stdout.splitlines()
    assert len(lines) == 22
    assert {"jax", "mlflow", "numpy", "matplotlib"}.isdisjoint(imported.split())


@pytest.mark.parametrize(
    ("mode", "setting", "modes"),
    [
        ("runs", "runs.delete=folders", "mode=clean"),
        ("clean", "runs.last=1", "mode=runs"),
        ("deliver", "runs.where=seed = 1", "mode=runs and mode=clean"),
    ],
)
def test_a_key_that_the_mode_ignores_is_an_error(
    capsys: pytest.CaptureFixture[str], mode: str, setting: str, modes: str
) -> None:
    assert main([f"mode={mode}", setting]) == 2
    key = setting.partition("=")[0]
    assert capsys.readouterr().err.startswith(f"{key}: is allowed for {modes} only. Leave it out.")


def test_clean_needs_a_condition(capsys: pytest.CaptureFixture[str]) -> None:
    make_scored_run("a", 0.5)
    assert main(["mode=clean"]) == 2
    assert capsys.readouterr().err.startswith("runs.where: is missing. mode=clean needs a condition")
    assert main(["mode=clean", 'runs.where="status = faild and seed = 7"']) == 0
    assert capsys.readouterr().out.startswith("no run below outputs meets")


def test_clean_lists_the_checkpoints_and_removes_them_once_confirmed(run_command: RunCommand) -> None:
    done = make_scored_run("done", 0.5, day=1)
    write_checkpoints(done, "step_1.npz", "step_2.npz", "best_1.npz", "best_2.npz", "step_0.damaged")
    stopped = make_run("stopped", day=2, summary={"status": "interrupted", "metrics": {}})
    write_checkpoints(stopped, "step_1.npz", "step_2.npz", "best_1.npz")
    arguments = ["mode=clean", 'runs.where="epochs = 3"']
    lines = run_command(*arguments)
    assert [[cell.strip() for cell in line if cell] for line in lines[:3]] == [
        ["epochs", "status", "size", "folder"],
        ["3", "interrupted", "1.00 MB", stopped.name],
        ["3", "finished", "4.00 MB", done.name],
    ]
    for more, fields in (
        (["runs.sort=-test/accuracy"], ["epochs", "test/accuracy", "status"]),
        (["runs.columns=[name,learning_rate]"], ["name", "learning_rate"]),
    ):
        heading = [cell.strip() for cell in run_command(*arguments, *more)[0] if cell]
        assert heading == [*fields, "size", "folder"]
    assert lines[-1] == ["would remove the checkpoints of 2 runs, 5.00 MB; add runs.confirm=true to remove them"]
    assert len(checkpoint_names(done)) == 5
    assert run_command(*arguments, "runs.confirm=true")[-1] == ["removed the checkpoints of 2 runs, 5.00 MB"]
    assert checkpoint_names(done) == ["best_2.npz"]
    assert checkpoint_names(stopped) == ["best_1.npz", "step_2.npz"]
    assert run_command(*arguments) == [["nothing to remove"]]


def test_clean_keeps_a_run_that_a_process_is_running(run_command: RunCommand) -> None:
    path = make_run("running")
    write_checkpoints(path, "step_1.npz", "step_2.npz")
    for delete in ("checkpoints", "folders"):
        with closing(lock_folder(path)):
            lines = run_command(
                "mode=clean", 'runs.where="name = running"', f"runs.delete={delete}", "runs.confirm=true"
            )
        assert lines[0] == [f"kept {path.name}: a process is running it"]
    assert checkpoint_names(path) == ["step_1.npz", "step_2.npz"]


def test_clean_removes_a_folder_only_once_its_record_is_delivered(run_command: RunCommand) -> None:
    path = make_run("a", summary={}, tracking={"uri": "sqlite:///gone.db", "experiment": "titrate"})
    (path / "points.jsonl").write_text("{}\n")
    write_checkpointed_size(path, 3)
    (damaged := make_run("b")).joinpath("record.json").unlink()
    arguments = ["mode=clean", 'runs.where="folder ~ 2026"', "runs.delete=folders", "runs.confirm=true"]
    lines = ["  ".join(cells) for cells in run_command(*arguments)]
    assert any(line.startswith(f"kept {path.name}: part of its record is not in MLflow") for line in lines)
    assert path.exists()
    assert not damaged.exists()
    assert run_command(*arguments, "tracking=none")[-1][0].startswith("removed 1 folder, ")
    assert list(Path("outputs").iterdir()) == []


def test_clean_removes_the_folder_of_a_sweep_only_with_its_runs(run_command: RunCommand) -> None:
    sweep = make_run("sweep", day=1, kind="sweep", summary={"metrics": {}})
    one, two = (make_scored_run(name, 0.5, day=2, parent=sweep.name) for name in ("00", "01"))
    arguments = ["mode=clean", "runs.delete=folders", "runs.confirm=true"]
    assert run_command(*arguments, 'runs.where="kind = sweep"')[0][0].startswith(
        f"kept {sweep.name}: it holds 2 runs that are kept"
    )
    with closing(lock_folder(sweep)):  # a process is running the sweep, and with it the runs
        run_command(*arguments, 'runs.where="seed = 0"')
    assert one.exists()
    run_command(*arguments, 'runs.where="name = 00"')
    assert not one.exists()
    assert two.exists()
    assert run_command(*arguments, 'runs.where="seed = 0"')[-1][0].startswith("removed 2 folders")
    assert not sweep.exists()


def test_the_cache_names_data_of_which_operations_leave_no_row(
    run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{n / 8},{n / 4}\n" for n in range(20)))
    numeric = "_target_: components.feature.Numeric"
    feature = f"target: {{{numeric}, key: y}}\ncolumns: {{x: {{{numeric}, key: x}}}}\ninputs: {{x: [x]}}\n"
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/x.yaml").write_text(feature)
    words = ["data=csv", f"data.path={tmp_path / 't.csv'}", "feature=x", "loss=mse", "metric=[mae]"]
    assert main([*words, "operations=[{option: filter, where: 'x > 9'}]"]) == 2
    capsys.readouterr()
    assert run_command("mode=clean", "runs.delete=cache")[1][-1] == f"number of rows of {tmp_path / 't.csv'}, 0 rows"


def test_clean_lists_the_cache_and_empties_it_once_confirmed(
    run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "data"
    arguments = ["mode=clean", "runs.delete=cache"]
    assert run_command(*arguments) == [[f"nothing to remove: the cache, {folder.parent}, is empty"]]
    for number in range(2):
        save_tree(folder / (str(number) * 32), [{"x": np.zeros(125_000)}], f"encoded rows of table {number}")
        os.utime(folder / (str(number) * 32) / "index.json", (number, number))
    lines = run_command(*arguments)
    assert [row[-2:] for row in lines[1:3]] == [["1.00 MB", f"encoded rows of table {number}"] for number in (1, 0)]
    assert lines[-1] == [f"would remove 2 entries of {folder}, 2.00 MB; add runs.confirm=true to remove them"]
    save_tree(folder / ("2" * 32), [{"x": np.zeros(125_000)}], "encoded rows of table 0")
    os.utime(folder / ("2" * 32) / "index.json", (2, 2))
    assert [row[-2:] for row in run_command(*arguments)[1:3]] == [
        ["2.00 MB", "2 × encoded rows of table 0"],
        ["1.00 MB", "encoded rows of table 1"],
    ]
    shutil.rmtree(folder / ("2" * 32))
    assert len(list(folder.iterdir())) == 2
    assert run_command(*arguments, "runs.confirm=true")[-1] == [f"removed 2 entries of {folder}, 2.00 MB"]
    assert list(folder.iterdir()) == []
    fetched = folder.parent / "remote" / ("3" * 32) / "s3" / "bucket"
    fetched.mkdir(parents=True)
    (fetched / "t.csv").write_bytes(bytes(1_000_000))
    assert run_command(*arguments)[1][-2:] == ["1.00 MB", "s3://bucket/t.csv"]
    removed = [f"removed 1 entry of {folder.parent / 'remote'}, 1.00 MB"]
    assert run_command(*arguments, "runs.confirm=true")[-1] == removed
    assert list((folder.parent / "remote").iterdir()) == []
    for name in "01":  # "0" is left by a killed process
        (folder / f".{name * 32}.abcdefgh").mkdir()
        (folder / f".{name * 32}.abcdefgh" / "0.bin").write_bytes(bytes(1_000_000))
    os.utime(folder / f".{'0' * 32}.abcdefgh", (0, 0))
    lines = run_command(*arguments)
    assert [row[-2:] for row in lines[1:3]] == [
        ["1.00 MB", "another process is writing it"],
        ["1.00 MB", "left by a process that was killed"],
    ]
    assert lines[-1] == [f"would remove 1 entry of {folder}, 1.00 MB; add runs.confirm=true to remove them"]
    assert run_command(*arguments, "runs.confirm=true")[-1] == [f"removed 1 entry of {folder}, 1.00 MB"]
    assert [path.name for path in folder.iterdir()] == [f".{'1' * 32}.abcdefgh"]
    assert main([*arguments, "runs.where=seed = 1"]) == 2
    assert "runs.where: selects runs, and runs.delete=cache removes data" in capsys.readouterr().err


@pytest.mark.optax
def test_clean_does_not_change_an_evaluation(run_command: RunCommand) -> None:
    arguments = ["optimizer=sgd", "architecture.widths=[4]", "training.epochs=3", "training.limit_batches=2"]
    assert main([*arguments, "tracking=none", "quiet=true"]) == 0
    (path,) = Path("outputs").iterdir()
    evaluate = ("mode=evaluate", f"run={path.name}", "quiet=true")  # quiet: the seconds of compiling would differ
    before = run_command(*evaluate)
    run_command("mode=clean", 'runs.where="status = finished"', "runs.confirm=true")
    assert [name.partition("_")[0] for name in checkpoint_names(path)] == ["best"]
    assert run_command(*evaluate) == before != []
