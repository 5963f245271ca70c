"""Delivery to all kinds of stores: special names, lost answers, full disks, deleted runs, copied folders."""

import json
import posixpath
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from delivery import InProcessChild, make_run_folder, serve_store, write_points, write_summary
from hypothesis import given
from hypothesis import strategies as st

from components.types import UserError
from runner import store_uri
from runner.__main__ import main
from runner.run_folder import read_record
from runner.tracking import ChildDelivery, MLflow, Nothing, deliver, store
from runner.tracking.log_items import select_parameters
from runner.tracking.names import LONGEST_NAME, escape_file_name, escape_name, escape_text
from runner.tracking.state import DeliveryState

pytestmark = [
    pytest.mark.optax,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unsets MLflow's variables, and draws no figures, which would take time."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("runner.figures.draw", lambda folder: [])


@pytest.fixture
def client(database: Path) -> Any:
    return store.connect(f"sqlite:///{database}")


def make_finished_run(tmp_path: Path, uri: str, name: str = "run", **record: Any) -> Path:
    """The folder of a finished run."""
    folder = make_run_folder(tmp_path / "outputs" / name, uri, **record)
    write_points(folder, 2)
    write_summary(folder)
    return folder


def list_mlflow_runs(client: Any) -> list[Any]:
    """All runs of all experiments."""
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


# ------------------------------------------------------------------------------------------------ names and values


def is_valid(name: str) -> bool:
    """Whether MLflow accepts a name, by the rules of its validation."""
    path = posixpath.normpath(name)
    is_other_path = path != name or path == "." or path.startswith(("..", "/"))
    return re.fullmatch(r"[/\w.\- :]*", name) is not None and not is_other_path and len(name) <= LONGEST_NAME


def unescape(name: str) -> str:
    """The original of an escaped name that was not cut."""
    escape = r"_x([0-9A-F]{8}|[0-9A-F]{4})_"
    return "" if name == "_x00000000_" else re.sub(escape, lambda match: chr(int(match[1], 16)), name)


NAMES = st.text(st.sampled_from("ab/._x0028AFD\ud800:(% \n-é☃\U0001f600\0") | st.characters(), max_size=12)


@given(NAMES, NAMES)
def test_every_name_becomes_a_valid_one_and_different_names_stay_different(one: str, other: str) -> None:
    assert is_valid(escape_name(one))
    assert unescape(escape_name(one)) == one
    assert (escape_name(one) == escape_name(other)) == (one == other)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("valid/loss", "valid/loss"),
        ("architecture.größe", "architecture.größe"),
        ("sepal length (cm)", "sepal length _x0028_cm_x0029_"),
        ("_x0028_", "_x005F_x0028_"),
        ("a//b", "a_x002F__x002F_b"),
        ("..", "_x002E__x002E_"),
        ("", "_x00000000_"),
    ],
)
def test_only_names_that_mlflow_refuses_are_escaped(name: str, escaped: str) -> None:
    assert (escape_name(name), unescape(escaped)) == (escaped, name)


def test_long_names_are_cut_and_stay_different() -> None:
    one, other = escape_name("(" * 300 + "a"), escape_name("(" * 300 + "b")
    assert one != other
    assert is_valid(one)
    assert len(one) == LONGEST_NAME
    assert len(escape_file_name("../" * 400)) <= 255
    assert "/" not in escape_file_name("../../../escape")


def test_long_texts_are_cut_and_name_the_file_with_the_full_text() -> None:
    assert escape_text("a\ud800\0", 80, full_copy="config.yaml") == "a\\ud800\\x00"
    cut = escape_text("x" * 9000, 8000, full_copy="record.json")
    assert len(cut) == 8000
    assert cut.endswith("x … (9,000 characters, in full in record.json)")


TABLE = """size (sqft),price [EUR],rate %,größe,a=b,y
500,0,0.94,klein,0,0.0
501,9,0.41,groß,1,0.7
502,18,0.81,klein,2,1.4
503,27,0.51,klein,0,2.1
"""


def test_a_table_with_special_column_names_is_delivered(
    in_empty_folder: Path, database: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *rows = TABLE.splitlines()
    Path("t.csv").write_text("\n".join([header, *rows * 15]))
    monkeypatch.setattr("runner.tracking._start_child", InProcessChild)
    words = ["data=csv", "data.path=t.csv", "data.target=y", "architecture.widths=[2]", "training.epochs=1"]
    assert main([*words, "training.batch_size=42", "quiet=true"]) == 0
    (run,) = list_mlflow_runs(client)
    (folder,) = Path("outputs").iterdir()
    assert run.info.status == "FINISHED"
    assert DeliveryState.load(folder).refused == ()
    parameters = select_parameters(read_record(folder)["parameters"], [])
    assert {unescape(name) for name in run.data.params} == set(parameters)
    assert any("size _x0028_sqft_x0029_" in name for name in run.data.params)
    names = json.loads(Path(client.download_artifacts(run.info.run_id, "names.json")).read_text())
    assert names == {escape_name(name): name for name in parameters if escape_name(name) != name}


def test_special_names_and_long_values_of_all_items_are_delivered(tmp_path: Path, database: Path, client: Any) -> None:
    folder = make_finished_run(
        tmp_path,
        f"sqlite:///{database}",
        name="a 'b' \"c\"",
        parameters={"p (x)": "\udcff\0", "": 1, "p" * 300: "long", "q": "v" * 7000},
        tags={"t [y]": "z" * 9000, "seed": "0"},
        datasets=[{"name": "d" * 600 + "(é)", "digest": "0", "split": "train", "rows": 1}],
    )
    record = read_record(folder)
    (folder / "record.json").write_text(json.dumps(record | {"name": "n" * 400}))
    write_summary(folder, metrics={"f (x)": float("nan"), "g": float("inf"), "h//i": 1.0})
    deliver.deliver(folder)
    (run,) = list_mlflow_runs(client)
    assert DeliveryState.load(folder).refused == ()
    assert run.data.params["p _x0028_x_x0029_"] == "\\udcff\\x00"
    assert len(run.data.params) == 4
    assert len(run.info.run_name) == 250
    assert run.data.tags["t _x005B_y_x005D_"].endswith("in full in record.json)")
    assert run.data.metrics["h__i"] == 1.0
    assert str(run.data.metrics["f _x0028_x_x0029_"]) == "nan"
    assert len(run.inputs.dataset_inputs) == 1
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2


def test_an_item_that_the_store_refuses_does_not_stop_the_others(
    tmp_path: Path, database: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    make_finished_run(tmp_path, f"sqlite:///{database}", parameters={f"p{i}": i for i in range(9)})
    log_batch = client.log_batch

    def refuse_some(run_id: str, **batches: Any) -> None:
        if any(item.key in ("p5", "valid/loss") for items in batches.values() for item in items):
            raise MlflowException.invalid_parameter_value("odd\nkey")
        log_batch(run_id, **batches)

    monkeypatch.setattr(client, "log_batch", refuse_some)
    monkeypatch.setattr(store, "connect", lambda uri: client)
    (outcome,) = deliver.deliver_all(tmp_path)
    assert outcome.note == "delivered; MLflow lacks param p5: odd (and 1 more)"
    (run,) = list_mlflow_runs(client)
    assert sorted(run.data.params) == ["p0", "p1", "p2", "p3", "p4", "p6", "p7", "p8"]
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 2
    assert deliver.deliver_all(tmp_path) == []


# ---------------------------------------------------------------------------------------- one MLflow run per folder


def test_a_lost_answer_creates_no_second_run(tmp_path: Path, database: Path, client: Any) -> None:
    with serve_store(database) as server:
        folder = make_finished_run(tmp_path, server.uri)
        server.lost |= {"runs/create", "experiments/create", "runs/log-batch", "runs/update"}
        deliver.deliver(folder, user_uri=server.uri)
        assert server.lost == set()
        (run,) = list_mlflow_runs(client)
        assert (run.info.run_id, run.info.status) == (DeliveryState.load(folder).run_id, "FINISHED")
        assert run.data.params == {"seed": "0"}


def test_an_empty_run_of_the_same_folder_is_deleted(tmp_path: Path, database: Path, client: Any) -> None:
    folder = make_finished_run(tmp_path, f"sqlite:///{database}")
    experiment = client.create_experiment("titrate")
    tags = {"titrate.folder": read_record(folder)["id"]}
    full, empty = (client.create_run(experiment, tags=tags).info.run_id for _ in range(2))
    client.log_metric(full, "train/loss", 1.0)
    assert deliver.deliver(folder).run_id == full
    assert [run.info.run_id for run in list_mlflow_runs(client)] == [full]
    assert client.get_run(empty).info.lifecycle_stage == "deleted"


def test_the_error_for_a_deleted_run_has_the_commands_that_restore_it(
    tmp_path: Path, database: Path, client: Any
) -> None:
    folder = make_finished_run(tmp_path, f"sqlite:///{database}")
    run_id = deliver.deliver(folder).run_id
    client.delete_run(run_id)
    for name in ("nothing", "delivered.json"):  # without delivered.json, the run is found by its tag
        write_summary(folder, metrics={"test/loss": 1.0, "test/other": len(name)})
        (folder / name).unlink(missing_ok=True)
        with pytest.raises(UserError, match=f"the MLflow run {run_id} was deleted; .* mlflow runs restore --run-id"):
            deliver.deliver_all(tmp_path)
    client.restore_run(run_id)
    deliver.deliver_all(tmp_path)
    assert client.get_run(run_id).data.metrics["test_loss"] == 1.0


def test_the_error_for_a_deleted_experiment_has_the_commands_that_restore_it(
    tmp_path: Path, database: Path, client: Any
) -> None:
    uri = f"sqlite:///{database}"
    folder = make_finished_run(tmp_path, uri)
    deliver.deliver(folder)
    number = client.get_experiment_by_name("titrate").experiment_id
    client.delete_experiment(number)
    write_summary(folder, metrics={"test/loss": 1.0})
    other = make_finished_run(tmp_path, uri, "other")
    with pytest.raises(UserError) as failure:
        deliver.deliver_all(tmp_path)
    for one in (folder, other):
        assert f"{one}: {uri}: the MLflow experiment titrate was deleted" in str(failure.value)
    assert f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {number}" in str(failure.value)
    assert f"mlflow gc --backend-store-uri {uri} --experiment-ids {number}" in str(failure.value)
    client.restore_experiment(number)
    deliver.deliver_all(tmp_path)
    assert {run.info.status for run in list_mlflow_runs(client)} == {"FINISHED"}


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.tracking._start_child", InProcessChild)


def resume(folder: Path, uri: str) -> str | None:
    """Resumes the run of a folder, and ends it. Returns its id in MLflow."""
    return MLflow(uri=uri).start(folder).close(60)


@pytest.mark.usefixtures("in_process")
def test_a_copied_folder_gets_a_new_run_and_a_moved_folder_keeps_its_run(
    tmp_path: Path, database: Path, client: Any
) -> None:
    uri = f"sqlite:///{database}"
    folder = make_finished_run(tmp_path, uri)
    first = resume(folder, uri)
    copy = Path(shutil.copytree(folder, tmp_path / "outputs" / "copy"))
    second = resume(copy, uri)
    assert second != first
    assert resume(folder, uri) == first
    assert resume(copy, uri) == second
    assert client.get_run(second).data.tags["titrate.copied_from"] == str(folder)
    moved = folder.rename(tmp_path / "outputs" / "moved")
    (moved / "delivered.json").unlink()  # so the run is found by its tag
    assert resume(moved, uri) == first
    assert {run.info.run_id for run in list_mlflow_runs(client)} == {first, second}
    for run_id in (first, second):
        assert len(client.get_metric_history(run_id, "train/loss")) == 2


@pytest.mark.usefixtures("in_process")
def test_a_copy_of_a_run_without_mlflow_gets_a_new_run_too(tmp_path: Path, database: Path) -> None:
    folder = make_finished_run(tmp_path, "")
    Nothing().start(folder).close(1)
    copy = Path(shutil.copytree(folder, tmp_path / "outputs" / "copy"))
    assert resume(copy, f"sqlite:///{database}") != resume(folder, f"sqlite:///{database}")


# ------------------------------------------------------------------------------------------- where the record goes


@pytest.mark.parametrize("name", ["a?b", "50%25 c#ü", "x%3Fy"])
def test_a_working_folder_with_a_special_name_holds_the_store(
    name: str, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / name
    home.mkdir()
    monkeypatch.chdir(home)
    shutil.copy(empty_store, "mlflow.db")
    folder = make_finished_run(Path(), MLflow().describe()["uri"])
    run_id = deliver.deliver(folder).run_id
    with closing(sqlite3.connect("mlflow.db")) as connection:
        assert connection.execute("SELECT run_uuid FROM runs").fetchall() == [(run_id,)]
    assert Path(f"mlruns/titrate/{run_id}/artifacts/config.yaml").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_query_of_a_uri_is_not_part_of_its_path(tmp_path: Path, database: Path) -> None:
    uri = f"sqlite:///{database}?timeout=30"
    assert store_uri.find_sqlite_file(uri) == database
    assert MLflow(uri=uri).describe()["uri"] == uri
    deliver.deliver(make_finished_run(tmp_path, uri))
    assert {path.name for path in tmp_path.iterdir()} >= {"mlflow.db", "mlflow.db.lock", "mlruns"}
    assert not [path for path in tmp_path.iterdir() if "?" in path.name]


def test_the_files_of_an_experiment_stay_in_the_store_s_folder(tmp_path: Path, database: Path, client: Any) -> None:
    uri, name = f"sqlite:///{database}", "../escape"
    run_id = deliver.deliver(make_finished_run(tmp_path, uri, tracking={"uri": uri, "experiment": name})).run_id
    place = client.get_run(run_id).info.artifact_uri
    assert Path(place.removeprefix("file://")).resolve().is_relative_to(tmp_path / "mlruns")
    assert client.get_experiment_by_name(name) is not None
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"uri": "http://host\n:5000"}, r"^tracking.uri: 'http://host\\n:5000': a URI can't hold line breaks"),
        ({"uri": " http://host"}, "spaces at its ends"),
        ({"uri": "sqlite:///:memory:"}, "write sqlite:///FILE"),
        ({"uri": "sqlite:///"}, "write sqlite:///FILE"),
        ({"uri": "sqlite:///."}, "is a folder"),
        ({"uri": "mlruns"}, "no records in plain folders"),
        ({"uri": "file:///tmp/mlruns"}, "no records in plain folders"),
        ({"uri": "http://"}, "write http://HOST"),
        ({"uri": "http:host"}, "write http://HOST"),
        ({"uri": "http://host:port"}, "can't be read"),
        ({"uri": "redis://host"}, "MLflow has no such store; allowed: http"),
        ({"experiment": ""}, "^tracking.experiment: '': choose a name"),
        ({"experiment": "a\nb"}, "choose a name of 1 to 500 printable characters"),
        ({"experiment": "x" * 501}, "choose a name"),
    ],
)
def test_an_impossible_address_is_an_error_before_the_run(words: dict[str, str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        MLflow(**words).describe()


def test_an_error_in_the_environment_names_the_variable(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "redis://host")
    assert main(["data=digits"]) == 2
    assert capsys.readouterr().err.startswith("MLFLOW_TRACKING_URI: redis://host: MLflow has no such store")
    assert not Path("outputs").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "a\tb")
    assert main(["mode=dry_run", "data=digits"]) == 2
    assert capsys.readouterr().err.startswith("MLFLOW_EXPERIMENT_NAME: 'a\\tb': choose a name")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert MLflow(uri="mlruns", experiment="e").describe()["uri"] == "mlruns"


def test_a_disk_that_fills_while_tables_are_created_leaves_no_damaged_store(tmp_path: Path) -> None:
    database = tmp_path / "new.db"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(Exception, match="disk"):
            store.connect(f"sqlite:///{database}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["new.db.lock"]


# ---------------------------------------------------------------------------------------- MLflow's own variables


def test_the_experiment_of_the_configuration_overrides_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "experiment" not in MLflow().describe()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert MLflow().describe()["experiment"] == "mine"
    assert MLflow(experiment="yours").describe()["experiment"] == "yours"


@pytest.mark.usefixtures("in_process")
def test_a_run_is_recorded_in_the_experiment_whose_id_the_environment_names(
    tmp_path: Path, database: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{database}"
    number = client.create_experiment("theirs")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", number)
    tracking = MLflow(uri=uri).describe()
    assert tracking["experiment"] == "theirs"
    assert MLflow(uri=uri, experiment="yours").describe() == {"uri": uri, "experiment": "yours"}
    folder = make_finished_run(tmp_path, uri, tracking=tracking)
    assert client.get_run(resume(folder, uri)).info.experiment_id == number
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    assert MLflow(uri=uri).describe() == tracking
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "others")
    with pytest.raises(UserError, match=f"MLFLOW_EXPERIMENT_ID={number}: that experiment is theirs, but MLFLOW_EXPERI"):
        MLflow(uri=uri).describe()


def test_a_missing_experiment_is_an_error_before_the_run_or_at_the_delivery(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    with pytest.raises(UserError, match=r"MLFLOW_EXPERIMENT_ID=77: sqlite.* has no such experiment"):
        MLflow(uri=f"sqlite:///{database}").describe()
    with pytest.raises(UserError, match=r"MLFLOW_EXPERIMENT_ID=77: sqlite.* has no such experiment"):
        MLflow(uri=f"sqlite:///{database}.new").describe()
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_EXPERIMENT_ID", "0")  # which every new store has
        assert MLflow(uri=f"sqlite:///{database}.new").describe()["experiment"] == "Default"
        patched.setenv("MLFLOW_EXPERIMENT_NAME", "others")
        with pytest.raises(UserError, match="EXPERIMENT_ID=0: that experiment is Default, but MLFLOW_EXPERIMENT_N"):
            MLflow(uri=f"sqlite:///{database}.new").describe()
    with serve_store(database) as server:
        make_finished_run(tmp_path, server.uri, tracking=MLflow(uri=server.uri).describe())
        with pytest.raises(UserError, match=r"MLFLOW_EXPERIMENT_ID=77: the store has no such experiment"):
            deliver.deliver_all(tmp_path, user_uri=server.uri)


@pytest.mark.usefixtures("in_process")
def test_a_run_joins_the_run_that_the_environment_names(
    tmp_path: Path, database: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{database}"
    joined = client.create_run(client.create_experiment("theirs"), run_name="given").info.run_id
    client.log_param(joined, "seed", "theirs")
    folder = make_finished_run(tmp_path, uri, parameters={"seed": 0, "width": 3})
    monkeypatch.setenv("MLFLOW_RUN_ID", joined)
    assert resume(folder, uri) == joined
    monkeypatch.delenv("MLFLOW_RUN_ID")
    (folder / "delivered.json").unlink()
    assert resume(folder, uri) == joined  # also when it is resumed without the variable
    run = client.get_run(joined)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "given")
    assert run.data.params == {"seed": "theirs", "width": "3"}
    assert DeliveryState.load(folder).refused[0].startswith("param seed: ")
    assert client.get_experiment_by_name("titrate") is None


@pytest.mark.usefixtures("in_process")
def test_the_runs_of_a_sweep_are_children_of_the_run_that_the_environment_names(
    tmp_path: Path, database: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{database}"
    joined = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", joined)
    sweep = make_finished_run(tmp_path, uri, "sweep", kind="sweep")
    make_finished_run(sweep.parent / "sweep", uri, "x", in_sweep=True)
    (sweep / "outputs" / "x").rename(sweep / "x")
    assert resume(sweep, uri) == joined
    (child,) = [run for run in list_mlflow_runs(client) if run.info.run_id != joined]
    assert child.data.tags["mlflow.parentRunId"] == joined


def test_a_missing_run_is_an_error_before_the_run_or_at_the_delivery(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(UserError, match=r"MLFLOW_RUN_ID=0*: sqlite.* has no such run"):
        MLflow(uri=f"sqlite:///{database}").describe()
    with serve_store(database) as server:
        assert MLflow(uri=server.uri).describe()["uri"] == server.uri
        make_finished_run(tmp_path, server.uri, joins="0" * 32)
        with pytest.raises(UserError, match=r"MLFLOW_RUN_ID=0*: the store has no such run"):
            deliver.deliver_all(tmp_path, user_uri=server.uri)


# --------------------------------------------------------------------------------------------------- how a run ends


@pytest.mark.usefixtures("in_process")
def test_the_reason_of_a_failure_is_in_the_log_in_mlflow_and_on_the_terminal(
    in_empty_folder: Path,
    database: Path,
    client: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fit(*arguments: Any) -> None:
        raise ArithmeticError("the second moon is missing")

    monkeypatch.setattr("runner.training.trainer.Trainer.fit", fit)
    Path("t.csv").write_text("\n".join(["size,y", *(f"{number % 7},{number % 5 / 4}" for number in range(60))]))
    words = ["data=csv", "data.path=t.csv", "data.target=y", "architecture.widths=[2]", "training.batch_size=42"]
    assert main([*words, "quiet=true"]) == 1
    reason = "ArithmeticError: the second moon is missing"
    assert reason in capsys.readouterr().err
    (folder,) = Path("outputs").iterdir()
    assert reason in (folder / "log.txt").read_text()
    (run,) = list_mlflow_runs(client)
    assert (run.info.status, run.data.tags["status"], run.data.tags["error"]) == ("FAILED", "failed", reason)
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith(f"failed: {reason}\n\n```\ntitrate data=csv data.path=t.csv ")


def test_a_resumed_run_loses_its_reason_but_not_the_user_s_description(
    tmp_path: Path, database: Path, client: Any
) -> None:
    folder = make_run_folder(tmp_path / "run", f"sqlite:///{database}")
    read_note = lambda: list_mlflow_runs(client)[0].data.tags.get("mlflow.note.content")  # noqa: E731
    deliver.deliver(folder)
    assert read_note().startswith("killed: the process ended without a summary")
    deliver.deliver(folder, run_ended=False)
    assert read_note() == ""
    assert "error" not in list_mlflow_runs(client)[0].data.tags
    client.set_tag(list_mlflow_runs(client)[0].info.run_id, "mlflow.note.content", "mine")
    write_summary(folder, status="diverged", error="NaN")
    deliver.deliver(folder)
    assert (read_note(), list_mlflow_runs(client)[0].data.tags["error"]) == ("mine", "NaN")


@pytest.mark.usefixtures("in_empty_folder")
def test_the_end_of_a_run_waits_two_seconds_at_most_and_names_the_process_in_the_background(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = [subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)]
    monkeypatch.setattr("runner.tracking._start_child", lambda folder, uri: slow[0])
    monkeypatch.setattr("runner.tracking.CREATION_SECONDS", 0.0)
    waits: list[float] = []
    close = ChildDelivery.close
    monkeypatch.setattr(ChildDelivery, "close", lambda self, seconds: waits.append(seconds) or close(self, 0.0))
    Path("t.csv").write_text("\n".join(["size,y", *(f"{number % 7},{number % 5 / 4}" for number in range(60))]))
    words = ["data=csv", "data.path=t.csv", "data.target=y", "architecture.widths=[2]", "training.epochs=1"]
    try:
        assert main([*words, "training.batch_size=42"]) == 0
    finally:
        slow[0].kill()
        slow[0].wait()
    assert waits == [2.0]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "MLflow" in line and "record to" not in line]
    assert line.startswith("MLflow: a process in the background delivers the rest (log: outputs/")


def test_a_sweep_without_mlflow_draws_the_figures_of_all_its_runs(tmp_path: Path, draws_in_background: None) -> None:
    sweep = make_run_folder(tmp_path / "sweep", "", tracking={}, kind="sweep")
    delivery = Nothing().start(sweep)
    member = make_run_folder(sweep / "a", "", tracking={}, in_sweep=True)
    write_points(member, 2)
    delivery.add_run(member).close(1)
    delivery.close(1)
    figure = member / "figures" / "learning_curves.png"
    deadline = time.monotonic() + 60
    while not figure.exists() or figure.stat().st_size < 1000:
        assert time.monotonic() < deadline, (sweep / "log.txt").read_text()
        time.sleep(0.05)


def test_figures_are_drawn_once_for_each_end_even_if_the_store_is_unreachable(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("runner.figures.draw", drawn.append)
    folder = make_finished_run(tmp_path, "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Exception, match="Connection refused"):
        deliver.deliver(folder, user_uri="http://127.0.0.1:9")
    assert drawn == [folder]
    tracking = {"uri": f"sqlite:///{database}", "experiment": "titrate"}
    (folder / "record.json").write_text(json.dumps(read_record(folder) | {"tracking": tracking}))
    deliver.deliver(folder)
    deliver.deliver(folder)
    assert drawn == [folder]
    write_summary(folder, epochs=30)
    deliver.deliver(folder)
    assert drawn == [folder, folder]
