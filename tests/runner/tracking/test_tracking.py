"""Every part of a record reaches MLflow once, after kills and failures too, and no run waits for it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from delivery import make_run_folder, write_points, write_summary

from components.types import UserError
from runner import figures
from runner.record.outbox import Outbox, write_checkpointed_size
from runner.run_folder import find_run, read_record
from runner.tracking import MLflow, Nothing, deliver, describe_view, store
from runner.tracking.folder_delivery import FolderDelivery
from runner.tracking.log_items import select_parameters
from runner.tracking.names import name_final_metric
from runner.tracking.state import DeliveryState

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own

ROOT = Path(__file__).parents[3]


@pytest.fixture
def client(database: Path) -> Any:
    return store.connect(f"sqlite:///{database}")


@pytest.fixture
def folder(tmp_path: Path, database: Path) -> Path:
    return make_run_folder(tmp_path / "outputs" / "run", f"sqlite:///{database}")


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "draw", lambda folder: [])


def only_run(client: Any) -> Any:
    """The only run in the store."""
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len(runs) == 1
    return runs[0]


def list_steps(client: Any, key: str = "train/loss") -> list[int]:
    """The steps of a metric of the only run."""
    return [metric.step for metric in client.get_metric_history(only_run(client).info.run_id, key)]


# ------------------------------------------------------------------------------------------ what is delivered


def test_all_parts_of_a_record_are_delivered(folder: Path, client: Any) -> None:
    write_points(folder, 3)
    write_summary(folder)
    for name in "ab":
        (folder / "observers" / name).mkdir(parents=True)
        (folder / "observers" / name / "parameter_norms.csv").write_text("step\n")
    state = deliver.deliver(folder)
    run = only_run(client)
    assert run.info.run_id == state.run_id
    assert (run.info.run_name, run.info.status, run.info.start_time) == (
        "digits_cnn",
        "FINISHED",
        1_700_000_000_000,
    )
    assert run.data.tags.items() >= {"seed": "0", "status": "finished"}.items()
    assert run.data.params == {"seed": "0"}
    assert run.data.metrics["test_accuracy"] == 0.9
    assert {(i.dataset.name, i.tags[0].value) for i in run.inputs.dataset_inputs} == {
        ("digits/train", "train"),
        ("digits/test", "test"),
    }
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "config.yaml",
        "overrides.yaml",
        "record.json",
        "figures",
        "observers",
    }
    for name in "ab":
        (file,) = client.list_artifacts(run.info.run_id, f"observers/{name}")
        assert file.path == f"observers/{name}/parameter_norms.csv"
    assert (folder / "figures" / "learning_curves.png").stat().st_size > 1000


def test_the_parameters_of_many_columns_are_left_out_but_for_those_that_the_command_sets() -> None:
    few = {f"feature.columns.c{number}.{key}": "x" for number in range(10) for key in ("key", "normalize")}
    few["feature.columns.c1.key"] = "c1"
    parameters = {"seed": 0, "data.path": "a.csv", **few}
    assert select_parameters(parameters, []).keys() == parameters.keys() - {"feature.columns.c1.key"}
    empty = {"training.steps": None, "regularizer": "", "loss_weights": {}, "teacher": "null", "tracking": "mlflow"}
    assert select_parameters(parameters | empty, ["teacher"]).keys() == {*parameters, "teacher"} - {
        "feature.columns.c1.key"
    }
    chosen = {"data": "csv", "feature": "houses", **parameters}
    assert select_parameters(
        chosen | {f"data.types.c{number}": "int" for number in range(50)}, ["data", "feature"]
    ).keys() == {
        "data",
        "feature",
        "seed",
        "data.path",
    }
    many = parameters | {f"data.types.c{number}": "int" for number in range(50)}
    overridden = ["feature.columns.c2", "data.types.c7"]
    assert select_parameters(many, []).keys() == {"seed", "data.path"}
    assert select_parameters(many, overridden).keys() == {
        "seed",
        "data.path",
        "feature.columns.c2.key",
        "feature.columns.c2.normalize",
        "data.types.c7",
    }


def test_figures_of_the_end_have_names_that_come_after_the_curves() -> None:
    names = ["test/loss", "best/valid/price/rmse", "epochs", "compile_seconds", "runs"]
    assert [name_final_metric(name) for name in names] == [
        "test_loss",
        "best_valid_price_rmse",
        "system/epochs",
        "system/compile_seconds",
        "runs",
    ]


@pytest.mark.parametrize("is_wanted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_system_metrics_are_recorded_while_the_run_lasts(
    folder: Path, client: Any, monkeypatch: pytest.MonkeyPatch, is_wanted: bool
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    delivery = MLflow(uri=read_record(folder)["tracking"]["uri"], system_metrics=is_wanted).start(folder)
    for _ in range(600):
        run_id = DeliveryState.load(folder).run_id
        if run_id and (not is_wanted or "system/cpu_utilization_percentage" in client.get_run(run_id).data.metrics):
            break
        time.sleep(0.1)
    write_summary(folder)
    assert delivery.close(60) == run_id
    names = {name for name in client.get_run(run_id).data.metrics if name.startswith("system/")}
    assert ("system/cpu_utilization_percentage" in names) == is_wanted


@pytest.mark.slow
def test_curves_are_drawn_for_one_epoch_and_for_values_that_are_not_finite(folder: Path) -> None:
    assert figures.draw(folder) == []
    with closing(Outbox(folder)) as box:
        box.add(100, {"epoch": 1, "train/loss": float("nan"), "valid/accuracy": 0.5, "learning_rate": 1e-3})
        write_checkpointed_size(folder, box.flush())
    assert [path.name for path in figures.draw(folder)] == ["learning_curves.png"]


def test_points_keep_their_steps_times_and_values(folder: Path, client: Any, no_figures: None) -> None:
    write_points(folder, 3)
    deliver.deliver(folder)
    points = [json.loads(line) for line in (folder / "points.jsonl").read_text().splitlines()]
    history = client.get_metric_history(only_run(client).info.run_id, "valid/loss")
    assert [(m.step, m.timestamp, m.value) for m in history] == [
        (point["step"], point["timestamp"], pytest.approx(point["values"]["valid/loss"], abs=1e-12)) for point in points
    ]


def test_only_what_a_checkpoint_covers_is_delivered(folder: Path, client: Any, no_figures: None) -> None:
    offsets = write_points(folder, 3)
    write_checkpointed_size(folder, offsets[1])
    deliver.deliver(folder)
    assert list_steps(client) == [100, 200]


def test_many_and_long_parameters_and_points_are_delivered(
    tmp_path: Path, database: Path, client: Any, no_figures: None
) -> None:
    parameters = {f"p.{i}": i for i in range(250)} | {
        "widths": [64, 64],
        "none": None,  # is left out
        "text": "x",
        "long": "x" * 6001,
    }
    folder = make_run_folder(tmp_path / "run", f"sqlite:///{database}", parameters=parameters)
    write_points(folder, 600)
    deliver.deliver(folder)
    found = only_run(client).data.params
    assert len(found) == len(parameters) - 1
    assert (found["p.249"], found["widths"], found["text"]) == ("249", "[64, 64]", "x")
    assert found["long"].startswith("sha256:")
    assert list_steps(client) == [100 * epoch for epoch in range(1, 601)]


@pytest.mark.parametrize(
    ("summary", "status"),
    [
        ({"status": "failed"}, "FAILED"),
        ({"status": "diverged"}, "FAILED"),
        ({"status": "interrupted", "stopped_by": "SIGTERM"}, "KILLED"),
        (None, "KILLED"),  # killed before it wrote one
    ],
)
def test_the_status_in_mlflow_says_how_the_run_ended(
    folder: Path, client: Any, no_figures: None, summary: Mapping[str, str] | None, status: str
) -> None:
    if summary is not None:
        write_summary(folder, **summary)
    deliver.deliver(folder)
    assert only_run(client).info.status == status
    assert only_run(client).data.tags["status"] == (summary or {"status": "killed"})["status"]


# ------------------------------------------------------------------------------- repeated, and after kills


@pytest.mark.parametrize("damage", [None, "", '{"run_id": ', "[1]", '{"another": 1}', "null"])
def test_a_repeated_delivery_changes_nothing(folder: Path, client: Any, no_figures: None, damage: str | None) -> None:
    write_points(folder, 3)
    write_summary(folder)
    deliver.deliver(folder)
    state = folder / "delivered.json"  # all that the folder knows about its delivery
    state.unlink() if damage is None else state.write_text(damage)
    assert deliver.is_pending(folder)
    assert find_run(folder.parent, folder.name) == folder
    deliver.deliver(folder)
    assert list_steps(client) == [100, 200, 300]
    assert len(client.get_metric_history(only_run(client).info.run_id, "test_accuracy")) == 1


class Killed(BaseException):
    """Stands for SIGKILL: no `except Exception` catches it."""


def killed_after(client: Any, calls: int) -> Any:
    """A client that raises Killed after some calls, once the store has done the last one."""
    remaining = iter(range(calls))

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            result = method(*arguments, **keywords)
            if next(remaining, None) is None:
                raise Killed
            return result

        return call

    methods = {
        name: wrap(getattr(client, name)) for name in dir(client) if not name.startswith("_") and name != "tracking_uri"
    }
    return SimpleNamespace(tracking_uri=client.tracking_uri, **methods)


@pytest.mark.slow
def test_after_a_kill_at_any_moment_every_point_is_there_once(
    tmp_path: Path, database: Path, client: Any, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in range(100):
        folder = make_run_folder(
            tmp_path / f"run{moment}",
            f"sqlite:///{database}",
            tracking={"uri": f"sqlite:///{database}", "experiment": str(moment)},
        )
        write_points(folder, 3)
        write_summary(folder)
        monkeypatch.setattr(store, "connect", lambda uri: killed_after(client, moment))  # noqa: B023
        try:
            deliver.deliver(folder)
            break  # the delivery takes fewer calls
        except Killed:
            pass
        monkeypatch.setattr(store, "connect", lambda uri: client)
        run_id = deliver.deliver(folder).run_id
        experiment = client.get_experiment_by_name(str(moment))
        assert [run.info.run_id for run in client.search_runs([experiment.experiment_id])] == [run_id]
        run = client.get_run(run_id)
        assert (run.info.status, run.data.params, len(run.inputs.dataset_inputs)) == (
            "FINISHED",
            {"seed": "0"},
            2,
        )
        for key, count in {"train/loss": 3, "learning_rate": 3, "test_accuracy": 1}.items():
            assert len(client.get_metric_history(run_id, key)) == count
        assert len(client.list_artifacts(run_id)) == 3
    assert moment > 10


def test_final_metrics_are_logged_at_the_last_step(folder: Path, client: Any, no_figures: None) -> None:
    write_points(folder, 3)
    write_summary(folder)
    run_id = deliver.deliver(folder).run_id
    last = client.get_metric_history(run_id, "train/loss")[-1]
    (final,) = client.get_metric_history(run_id, "test_accuracy")
    assert (final.step, final.timestamp) == (last.step, last.timestamp) == (300, last.timestamp)


def test_a_resumed_run_keeps_its_mlflow_run(folder: Path, client: Any, no_figures: None) -> None:
    offsets = write_points(folder, 2)
    write_summary(folder, status="interrupted", stopped_by="SIGINT", metrics={})
    deliver.deliver(folder)
    (folder / "summary.json").unlink()
    deliver.deliver(folder, run_ended=False)
    assert only_run(client).info.status == "RUNNING"
    write_points(folder, 2, first=3, covered=offsets[-1])
    write_summary(folder)
    deliver.deliver(folder)
    assert only_run(client).info.status == "FINISHED"
    assert list_steps(client) == [100, 200, 300, 400]


@pytest.mark.parametrize("renamed", [False, True])
def test_the_mlflow_run_follows_the_title_of_its_record_unless_a_user_renamed_it(
    folder: Path, client: Any, no_figures: None, renamed: bool
) -> None:
    def set_title(title: str) -> None:
        record = json.loads((folder / "record.json").read_text())
        (folder / "record.json").write_text(json.dumps(record | {"title": title}))

    set_title("epochs 6 · digits")
    write_points(folder, 2)
    write_summary(folder)
    run_id = deliver.deliver(folder).run_id
    if renamed:
        client.update_run(run_id, name="my best run")
    set_title("epochs 30 · digits")
    deliver.deliver(folder, run_ended=False)
    assert only_run(client).info.run_name == ("my best run" if renamed else "epochs 30 · digits")
    assert only_run(client).info.status == "RUNNING"


@pytest.mark.parametrize("replayed", [1, 2, 4])
def test_resuming_from_an_older_checkpoint_repeats_no_point(
    folder: Path, client: Any, no_figures: None, replayed: int
) -> None:
    offsets = write_points(folder, 3)
    deliver.deliver(folder, run_ended=False)
    time.sleep(0.01)
    write_points(folder, replayed, first=2, covered=offsets[0])
    deliver.deliver(folder)
    assert list_steps(client) == [100 * epoch for epoch in range(1, max(3, 1 + replayed) + 1)]


def test_points_that_differ_after_a_resume_are_all_delivered(folder: Path, client: Any, no_figures: None) -> None:
    offsets = write_points(folder, 3)
    deliver.deliver(folder, run_ended=False)
    with closing(Outbox(folder, checkpointed_size=offsets[0])) as box:
        for step in (200, 250, 300, 350):
            box.add(step, {"train/loss": 0.123456789})
        write_checkpointed_size(folder, box.flush())
    deliver.deliver(folder)
    assert set(list_steps(client)) == {100, 200, 250, 300, 350}


def test_a_new_store_gets_all_points_again(tmp_path: Path, folder: Path, empty_store: Path, no_figures: None) -> None:
    write_points(folder, 3)
    deliver.deliver(folder)
    other = Path(shutil.copy(empty_store, tmp_path / "other.db"))
    record = json.loads((folder / "record.json").read_text())
    record["tracking"]["uri"] = f"sqlite:///{other}"
    (folder / "record.json").write_text(json.dumps(record))
    deliver.deliver(folder)
    assert list_steps(store.connect(f"sqlite:///{other}")) == [100, 200, 300]


# ------------------------------------------------------------------------------------------- stores that fail


@pytest.fixture
def unlock(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    monkeypatch.setattr("runner.tracking.sqlite_store.LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield lambda: holder.execute("ROLLBACK") and None


def test_a_locked_store_gets_the_record_later(
    folder: Path, client: Any, unlock: Callable[[], None], no_figures: None
) -> None:
    write_points(folder, 3)
    write_summary(folder)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"1 of 1 records.*\n.*outputs/run: sqlite:.*database is locked"):
        deliver.deliver_all(folder.parent)
    assert time.monotonic() - start < 15  # MLflow alone waits for 20
    unlock()
    assert [outcome.note for outcome in deliver.deliver_all(folder.parent)] == ["delivered"]
    assert list_steps(client) == [100, 200, 300]
    write_summary(folder, run_id="noted when the delivery was over")
    assert deliver.deliver_all(folder.parent) == []


def test_a_read_only_store_gets_the_record_later(folder: Path, database: Path, no_figures: None) -> None:
    write_points(folder, 3)
    header = bytearray(database.read_bytes())
    version, header[18] = header[18], 3  # a version of the format that may be read only, even by root
    database.write_bytes(header)
    with pytest.raises(UserError, match="readonly database"):
        deliver.deliver_all(folder.parent)
    header[18] = version
    database.write_bytes(header)
    deliver.deliver_all(folder.parent)
    assert list_steps(store.connect(f"sqlite:///{database}")) == [100, 200, 300]


def test_an_unreachable_server_is_tried_once_for_all_folders(
    tmp_path: Path, database: Path, client: Any, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    unreachable = [make_run_folder(tmp_path / "outputs" / name, "http://127.0.0.1:9") for name in ("a", "c")]
    write_points(make_run_folder(tmp_path / "outputs" / "b", f"sqlite:///{database}"), 3)
    connected: list[str] = []
    connect = store.connect
    monkeypatch.setattr(store, "connect", lambda uri: connected.append(uri) or connect(uri))
    with pytest.raises(UserError, match="2 of 3 records") as failure:
        deliver.deliver_all(tmp_path / "outputs", user_uri="http://127.0.0.1:9")
    assert all(str(folder) in str(failure.value) for folder in unreachable)
    assert "Connection refused" in str(failure.value)
    assert connected.count("http://127.0.0.1:9") == 1
    assert list_steps(client) == [100, 200, 300]  # the other folder was delivered


def test_the_error_names_the_missing_folder_of_a_store(tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path / "outputs" / "run", f"sqlite:///{tmp_path}/missing/mlflow.db")
    with pytest.raises(UserError, match=r"there is no folder .*/missing"):
        deliver.deliver_all(folder.parent)
    assert not (tmp_path / "missing").exists()


def test_points_are_delivered_even_if_files_cannot_be(folder: Path, client: Any) -> None:
    write_points(folder, 3)
    write_summary(folder)
    (folder.parents[1] / "mlruns").touch()  # where the files should go
    with pytest.raises(UserError, match="mlruns"):
        deliver.deliver_all(folder.parent)
    assert list_steps(client) == [100, 200, 300]
    assert only_run(client).info.status == "FINISHED"
    (folder.parents[1] / "mlruns").unlink()
    deliver.deliver_all(folder.parent)
    assert len(client.list_artifacts(only_run(client).info.run_id)) == 4


def test_a_run_without_tracking_has_nothing_to_deliver(tmp_path: Path) -> None:
    make_run_folder(tmp_path / "run", "", tracking={})
    assert deliver.deliver_all(tmp_path) == []


# ------------------------------------------------------------------------------------------ the address of a record


def test_the_default_store_is_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert MLflow().describe() == {"uri": f"sqlite:///{tmp_path}/mlflow.db"}
    assert MLflow(uri="sqlite:///a.db").describe()["uri"] == f"sqlite:///{tmp_path}/a.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert MLflow().describe()["uri"] == "http://localhost:5000"
    assert MLflow(uri="http://other").describe()["uri"] == "http://other"


def test_a_folder_that_allows_no_file_is_an_error_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access  # the permissions of a folder don't bind root
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path and access(path, mode))
    with pytest.raises(UserError, match=r"allows no new file; allow it, or set tracking.uri=.*, or tracking=none"):
        MLflow(uri=f"sqlite:///{tmp_path}/mlflow.db").describe()


def test_a_missing_folder_is_an_error_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tracking.uri: sqlite:.*: there is no folder .*/missing"):
        MLflow(uri=f"sqlite:///{tmp_path}/missing/mlflow.db").describe()


def make_sweep(tmp_path: Path, uri: str) -> tuple[Path, list[Path]]:
    """The folder of a finished sweep, and those of its two finished runs."""
    sweep = make_run_folder(tmp_path / "outputs" / "sweep", uri, kind="sweep")
    members = [
        make_run_folder(sweep / name, uri, name=name, created=number, in_sweep=True) for number, name in enumerate("ab")
    ]
    for folder in members:
        write_points(folder, 1)
    for folder in (sweep, *members):
        write_summary(folder)
    return sweep, members


def test_the_runs_of_a_sweep_are_children_of_its_run(
    tmp_path: Path, database: Path, client: Any, no_figures: None
) -> None:
    sweep, members = make_sweep(tmp_path, f"sqlite:///{database}")
    outcomes = deliver.deliver_all(tmp_path / "outputs")
    assert [outcome.folder for outcome in outcomes] == [sweep, *members]
    parent, *children = [client.get_run(outcome.run_id) for outcome in outcomes]
    assert "mlflow.parentRunId" not in parent.data.tags
    assert [child.data.tags["mlflow.parentRunId"] for child in children] == [parent.info.run_id] * 2


def test_a_child_process_delivers_all_runs_in_a_sweep_s_folder_without_notifications(
    tmp_path: Path, database: Path, client: Any, no_figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, members = make_sweep(tmp_path, f"sqlite:///{database}")
    (sweep / "broken").mkdir()
    (sweep / "broken" / "record.json").write_text("{")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: 0))
    monkeypatch.setattr(os, "read", lambda *arguments: b"")  # standard input is closed
    monkeypatch.setattr(os, "nice", lambda level: None)
    assert deliver.main(sweep) == 1  # because of the damaged folder
    for folder in (sweep, *members):
        assert client.get_run(DeliveryState.load(folder).run_id).info.status == "FINISHED"
    assert not (sweep / "broken" / "delivered.json").exists()


def test_an_unreachable_store_is_not_tried_for_each_run_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("runner.figures.draw", drawn.append)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    sweep, members = make_sweep(tmp_path, "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    connected: list[str] = []
    connect = store.connect
    monkeypatch.setattr(store, "connect", lambda uri: connected.append(uri) or connect(uri))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: 0))
    monkeypatch.setattr(os, "read", lambda *arguments: b"")  # standard input is closed
    monkeypatch.setattr(os, "nice", lambda level: None)
    assert deliver.main(sweep) == 1
    assert len(connected) == 3  # at the start, once more without retries, and once at the end
    assert drawn == [*members, sweep]
    assert all("Connection refused" in str(DeliveryState.load(folder).error) for folder in (sweep, *members))


def test_a_sweep_that_is_resumed_with_another_address_is_delivered_there_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, members = make_sweep(tmp_path, "sqlite:////somewhere.db")
    for folder in (sweep, *members):
        DeliveryState(run_id="there").save(folder)
    monkeypatch.setattr("runner.tracking._start_child", lambda folder, uri: None)
    monkeypatch.chdir(tmp_path)
    MLflow(experiment="another").start(sweep)
    for folder in (sweep, *members):
        assert json.loads((folder / "record.json").read_text())["tracking"]["experiment"] == "another"
        assert DeliveryState.load(folder).run_id is None
    alone = members[0]  # resumed on its own, with another address
    MLflow(experiment="third").start(alone)
    delivery = FolderDelivery(alone, json.loads((alone / "record.json").read_text()), None)  # type: ignore[arg-type]
    assert delivery._find_parent_run() is None


def test_a_password_is_never_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "postgresql://me:secret@host/db"
    assert MLflow(uri=uri).describe()["uri"] == "postgresql://***@host/db"
    make_run_folder(tmp_path / "run", "postgresql://***@host/db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"Give the whole URI by MLFLOW_TRACKING_URI or tracking\.uri"):
        deliver.deliver_all(tmp_path)


def test_nothing_delivers_nothing(tmp_path: Path) -> None:
    delivery = Nothing().start(make_run_folder(tmp_path / "run", ""))
    delivery.notify()
    assert (Nothing().describe(), delivery.close(1.0), delivery.describe_missing()) == ({}, None, None)


def test_the_process_of_a_run_never_imports_mlflow() -> None:
    heavy = "{'mlflow', 'matplotlib', 'jax', 'sqlalchemy'}"
    code = f"import sys, runner.tracking as t; t.MLflow().describe(); print({heavy} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"


# ----------------------------------------------------------------------------------------- the child process


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_may_create_a_store_at_the_same_time(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with ThreadPoolExecutor(2) as pool:  # each with a lock of its own, as processes have
        for client in pool.map(store.connect, [uri, uri]):
            assert client.get_experiment_by_name("Default") is not None
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert {path.name for path in tmp_path.iterdir()} <= {
        "mlflow.db",
        "mlflow.db.lock",
        "mlflow.db-wal",
        "mlflow.db-shm",
    }


@pytest.mark.slow
def test_a_killed_child_process_loses_nothing(tmp_path: Path, database: Path, client: Any) -> None:
    folder = make_run_folder(tmp_path / "outputs" / "run", "")
    delivery = MLflow(uri=f"sqlite:///{database}").start(folder)
    write_points(folder, 2)
    delivery.notify()
    wait_for(lambda: DeliveryState.load(folder).offset)
    kill(delivery)
    write_points(folder, 1, first=3, covered=(folder / "points.jsonl").stat().st_size)
    delivery.notify()  # no process reads it, which is not an error
    write_summary(folder)
    run_id = delivery.close(60)
    assert "titrate mode=deliver" in str(delivery.describe_missing())
    assert [outcome.run_id for outcome in deliver.deliver_all(tmp_path / "outputs")] == [run_id]
    assert only_run(client).info.run_id == run_id
    assert only_run(client).info.status == "FINISHED"
    assert list_steps(client) == [100, 200, 300]


RUN = """
import os, signal, sys
from pathlib import Path
from runner.tracking import MLflow
sys.path.insert(0, "tests/helpers")
from delivery import write_points
delivery = MLflow(uri=sys.argv[2]).start(Path(sys.argv[1]))
write_points(Path(sys.argv[1]), 3)
os.killpg(0, signal.SIGKILL)
"""


@pytest.mark.slow
def test_the_child_process_survives_a_kill_of_the_run_s_process_group(
    folder: Path, database: Path, client: Any
) -> None:
    run = [sys.executable, "-c", RUN, str(folder), f"sqlite:///{database}"]
    assert subprocess.run(run, cwd=ROOT, start_new_session=True, check=False).returncode == -signal.SIGKILL
    wait_for(lambda: DeliveryState.load(folder).drawn_digest)
    assert list_steps(client) == [100, 200, 300]
    assert only_run(client).info.status == "KILLED"
    assert (folder / "delivery.log").read_text() == ""


def test_a_child_process_that_cannot_deliver_never_delays_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = make_run_folder(tmp_path / "run", "")
    start = time.monotonic()
    delivery = MLflow(uri="http://127.0.0.1:9").start(folder)
    for _ in range(100_000):  # more than a pipe holds
        delivery.notify()
    assert delivery.close(0.1) is None
    assert "in the background" in str(delivery.describe_missing())
    assert time.monotonic() - start < 15  # creating a store may take 20
    kill(delivery)
    with pytest.raises(Exception, match="Connection refused"):
        deliver.deliver(folder, user_uri="http://127.0.0.1:9")  # as the child process would
    assert "http://127.0.0.1:9: " in str(delivery.describe_missing())
    assert "Connection refused" in str(delivery.describe_missing())


@pytest.mark.slow
def test_the_first_run_of_a_new_store_waits_for_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.tracking.CREATION_SECONDS", 600.0)  # a busy machine creates the tables late
    folder, uri = make_run_folder(tmp_path / "run", ""), f"sqlite:///{tmp_path}/mlflow.db"
    delivery = MLflow(uri=uri).start(folder)
    write_summary(folder)
    run_id = delivery.close(0.0)
    assert run_id is not None
    assert run_id in str(describe_view(folder, {"uri": uri}))
    kill(delivery)


def kill(delivery: Any) -> None:
    os.kill(delivery._process.pid, signal.SIGKILL)
    delivery._process.wait()


# ------------------------------------------------------------------------------------------ how a record is opened

RUN_PAGE = "#/experiments/7/runs/abc?workflowType=machine_learning"


@pytest.mark.parametrize(
    ("uri", "lines"),
    [
        ("sqlite:///{here}/mlflow.db", ["mlflow ui", f"http://127.0.0.1:5000/{RUN_PAGE}"]),
        (
            "sqlite:////a b/mlflow.db",
            ["mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'", f"http://127.0.0.1:5000/{RUN_PAGE}"],
        ),
        (
            "postgresql://host/db",
            ["mlflow ui --backend-store-uri postgresql://host/db", f"http://127.0.0.1:5000/{RUN_PAGE}"],
        ),
        ("https://host/mlflow/", [f"https://host/mlflow/{RUN_PAGE}"]),
        ("https://***@host:8080", [f"https://host:8080/{RUN_PAGE}"]),
        ("databricks://profile", ["databricks://profile"]),
    ],
)
def test_a_run_prints_the_command_and_the_link_that_open_it(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, uri: str, lines: list[str]
) -> None:
    monkeypatch.delenv("MLFLOW_PORT", raising=False)
    folder, uri = in_empty_folder / "run", uri.format(here=in_empty_folder)
    folder.mkdir()
    first = describe_view(folder, {"uri": uri})  # MLflow has no run yet
    assert RUN_PAGE not in first
    DeliveryState(run_id="abc", experiment_id="7").save(folder)
    assert describe_view(folder, {"uri": uri}).splitlines() == lines
    monkeypatch.setenv("MLFLOW_PORT", "5001")  # which `mlflow ui` reads too
    moved = describe_view(folder, {"uri": uri})
    assert moved is not None
    assert moved.splitlines() == [line.replace("127.0.0.1:5000", "127.0.0.1:5001") for line in lines]
