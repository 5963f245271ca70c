"""An untrusted run folder can't make a command send, read, write or delete files of this user."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from delivery import make_run_folder, write_points, write_summary

import runner
from components.types import UserError
from runner import figures, files, store_uri, yaml_file
from runner import run_folder as folders
from runner.__main__ import main
from runner.config.compose import configure
from runner.record.outbox import Outbox
from runner.tracking import ChildDelivery, deliver, draw_in_background, store
from runner.tracking.folder_delivery import FolderDelivery
from runner.tracking.state import DeliveryState, describe_unsent

pytestmark = pytest.mark.usefixtures("in_empty_folder")

SERVER = "http://127.0.0.1:9"


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the stores that are contacted; each of them fails."""
    found: list[str] = []

    def connect(uri: str) -> Any:
        found.append(uri)
        raise ConnectionError("nobody there")

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(store, "connect", connect)
    monkeypatch.setattr(figures, "draw", lambda folder: [])
    return found


def test_a_server_that_only_the_record_names_is_an_error(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run_folder(Path("outputs/run").absolute(), SERVER)
    assert main(["mode=deliver"]) == 2
    assert f"only the record names the store {SERVER}" in (output := capsys.readouterr().err)
    assert f"add tracking.uri={SERVER} to the command, or set MLFLOW_TRACKING_URI to it" in output
    (folder / "overrides.yaml").write_text(f"[tracking.uri={SERVER}]\n")  # the stranger's words, not this user's
    assert main(["mode=deliver", "resume=run"]) == 2
    assert main(["resume=run"]) == 2
    assert f"only the record names the store {SERVER}" in capsys.readouterr().err
    with pytest.raises(UserError, match="only the record names"):
        deliver.deliver(folder)
    assert addresses == []
    assert main(["mode=deliver", f"tracking.uri={SERVER}"]) == 2
    with pytest.raises(OSError, match="nobody there"):
        deliver.deliver(folder, user_uri=SERVER)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{SERVER}/")
    assert main(["mode=deliver"]) == 2
    assert {uri.rstrip("/") for uri in addresses} == {SERVER}
    assert "nobody there" in capsys.readouterr().err


def test_mode_look_uses_the_store_that_the_user_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = make_run_folder(Path("outputs/run"), SERVER)
    (folder / "config.yaml").write_text(f"tracking: {{_target_: runner.tracking.MLflow, uri: '{SERVER}'}}\n")
    words = ["mode=look", "run=run"]
    assert configure(words).values["tracking"].get("uri") is None
    assert configure([*words, "tracking.uri=http://mine"]).values["tracking"]["uri"] == "http://mine"


def test_a_database_that_only_the_record_names_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "other.db"
    uri = f"sqlite:///{path}"
    for content in (None, "other tables"):
        if content:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("CREATE TABLE cookies (name)")
        with pytest.raises(
            UserError, match=r"other\.db is not an MLflow store.* add tracking\.uri=sqlite:.* to the command"
        ):
            store_uri.check_recorded_uri(uri, None)
        assert store_uri.check_recorded_uri(uri, uri) == uri
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE experiments (name)")
    assert store_uri.check_recorded_uri(uri, None) == uri
    assert store_uri.check_recorded_uri(f"sqlite:///{tmp_path}/mlflow.db", None) == f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(UserError, match="is damaged"):
        store_uri.check_recorded_uri(5, None)


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/a", "file:///etc", "s3://b/a", "mlflow-artifacts:/a", "../x"])
def test_a_store_that_only_the_record_names_keeps_artifacts_next_to_it(place: str, tmp_path: Path) -> None:
    def client(place: str) -> Any:
        return SimpleNamespace(get_run=lambda run_id: SimpleNamespace(info=SimpleNamespace(artifact_uri=place)))

    uri = f"sqlite:///{tmp_path}/a b/mlflow.db"
    store.check_artifact_location(client((tmp_path / "a b" / "mlruns").as_uri()), "0", uri)
    with pytest.raises(UserError, match=f"sends a run's files to {place}; to allow it, add tracking.uri=sqlite"):
        store.check_artifact_location(client(place), "0", uri)


def test_no_link_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "key").write_text("secret")
    folder = make_run_folder(tmp_path / "outputs/run", SERVER)
    (folder / "profile").symlink_to(secrets)
    (folder / "overrides.yaml").unlink()
    (folder / "overrides.yaml").symlink_to(secrets / "key")
    (folder / "figures" / "inner").mkdir(parents=True)
    (folder / "figures" / "inner" / "a.png").touch()
    (folder / "figures" / "key").symlink_to(secrets / "key")
    (folder / "figures" / "all").symlink_to(secrets)
    sent: list[tuple[str, str | None]] = []
    client = SimpleNamespace(
        log_artifact=lambda run_id, path, place=None: sent.append((Path(path).name, place)),
        log_batch=lambda *given, **items: None,
    )
    monkeypatch.setattr(figures, "draw", lambda folder: [])
    delivery = FolderDelivery(folder, files.read_json(folder / "record.json"), client)  # type: ignore[arg-type]
    delivery._send_files("0", run_ended=True)
    assert sent == [("config.yaml", None), ("record.json", None), ("a.png", "figures/inner")]
    state = DeliveryState.load(folder)
    assert state.links == ("overrides.yaml", "profile", "figures/all", "figures/key")
    assert str(describe_unsent(state)).startswith(
        "MLflow lacks overrides.yaml: it is a link or no regular file, and isn't sent ("
    )
    (folder / "profile").unlink()
    delivery._send_files("0", run_ended=True)
    assert "profile" not in DeliveryState.load(folder).links


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    (victim := tmp_path / "victim").write_text("mine")
    folder = make_run_folder(tmp_path / "run", SERVER)
    write_points(folder, 1)
    (folder / "figures").mkdir()
    (folder / "figures" / "learning_curves.png").symlink_to(victim)
    with pytest.raises(UserError, match=r"learning_curves\.png is a link"):
        figures.draw(folder)
    shutil.rmtree(folder / "figures")
    (folder / "figures").symlink_to(tmp_path)
    with pytest.raises(UserError, match="figures is a link"):
        figures.draw(folder)
    for name in ("summary.tmp", "delivery.lock", "lock", "delivery.log", "log.txt", "points.cut"):
        (folder / name).symlink_to(victim)
    with pytest.raises(UserError, match=r"delivery\.log is a link"):
        ChildDelivery(folder, SERVER)
    with pytest.raises(UserError, match=r"log\.txt is a link"):
        draw_in_background(folder)
    with pytest.raises(UserError, match=r"points\.cut is a link"):
        Outbox(folder)
    write_summary(folder)
    assert deliver._deliver_pending(folder, lambda uri: None, None).failed
    with pytest.raises(OSError, match="lock"):
        folders.try_lock(folder)
    assert victim.read_text() == "mine"


def test_nothing_is_deleted_through_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamp = "2026-11-20_12-00-00"
    elsewhere = tmp_path / "elsewhere"
    for path in (elsewhere / f"{stamp}_a", Path("outputs") / f"{stamp}_c"):
        write_summary(make_run_folder(path, "", tracking={}))
    (elsewhere / f"{stamp}_a" / "checkpoints").mkdir()
    for name in ("step_1.npz", "best_1.npz", "step_2.npz"):
        (elsewhere / f"{stamp}_a" / "checkpoints" / name).touch()
    Path("outputs", f"{stamp}_b").symlink_to(elsewhere / f"{stamp}_a")
    Path("outputs", f"{stamp}_sweep").symlink_to(elsewhere)
    Path("outputs", f"{stamp}_c", "checkpoints").symlink_to(elsewhere / f"{stamp}_a" / "checkpoints")
    before = sorted(elsewhere.rglob("*"))
    for what in ("checkpoints", "folders"):
        words = ["mode=clean", "runs.where='status = finished'", f"runs.delete={what}", "runs.confirm=true"]
        assert main(words) == 0
        output = capsys.readouterr().out
        assert f"{stamp}_b is a link, and nothing is removed through links" in output
        assert f"{stamp}_c/checkpoints is a link" in output
    assert sorted(elsewhere.rglob("*")) == before


def test_a_damaged_folder_does_not_stop_other_deliveries(addresses: list[str]) -> None:
    damages = {"summary.json": "[", "points.covered": "x", "record.json": '{"tracking": {"uri": 5}}', "lock": None}
    for name, text in damages.items():
        folder = make_run_folder(Path("outputs", name.partition(".")[0]), SERVER)
        if text is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_text(text)
    (make_run_folder(Path("outputs/bare"), SERVER) / "record.json").write_text("{}")
    with pytest.raises(UserError, match="5 of 5 records"):
        deliver.deliver_all(Path("outputs"), user_uri=SERVER)
    assert addresses == [SERVER]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


@pytest.mark.parametrize("put", [fifo, endless, huge])
def test_a_file_that_is_too_large_or_not_regular_is_not_read(
    put: Callable[[Path], None], addresses: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("record.json", "summary.json", "config.yaml", "overrides.yaml", "delivered.json", "points.jsonl")
    for name in names:
        folder = make_run_folder(Path("outputs", f"2026-11-20_12-00-00_{name.partition('.')[0]}"), SERVER, kind="run")
        (folder / name).unlink(missing_ok=True)
        put(folder / name)
        (folder / "points.covered").write_text("10" if name == "points.jsonl" else "0")
    assert main(["mode=runs"]) == 0
    assert capsys.readouterr().out.count("damaged") == 2
    with pytest.raises(UserError, match="records were not delivered; they stay"):
        deliver.deliver_all(Path("outputs"), user_uri=SERVER)
    assert main(["mode=deliver", "resume=0123"]) == 2
    config, overrides = (f"2026-11-20_12-00-00_{name}" for name in ("config", "overrides"))
    capsys.readouterr()
    assert main(["mode=predict", f"run={config}", "output=a.csv"]) == 2
    assert "config.yaml" in capsys.readouterr().err
    assert main([f"resume={overrides}"]) == 2
    assert "overrides.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"- a", b"\xff\xfe\xff", b"a: [", b"null: 3", b"[" * 5000, None, ...])
@pytest.mark.parametrize("mode", ["evaluate", "look"])
def test_a_damaged_configuration_is_named(content: Any, mode: str) -> None:
    path = make_run_folder(Path("outputs/run"), SERVER) / "config.yaml"
    path.unlink()
    if content is ...:
        path.symlink_to(path.name)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"outputs/run/config\.yaml"):
        configure([f"mode={mode}", "run=run"])


NESTED_ALIASES = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join(10 * [f'*a{level - 1}'])}]\n" for level in range(1, 30)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NESTED_ALIASES, "its aliases expand to too many values. At most 100,000 are allowed."),
        ("a: &a [*a]", "its aliases expand to too many values. At most 100,000 are allowed."),
        ("a: &a {<<: *a}", "its aliases expand to too many values. At most 100,000 are allowed."),
        ("[" * 101 + "]" * 101, "too many nested lists and mappings. At most 100 levels are allowed."),
        ("#" * 2**22 + "\n", "the file is too large. At most 4,194,304 bytes are allowed."),
    ],
    ids=range(5),
)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config.yaml", ["mode=evaluate", "run=run"]),
        ("config.yaml", ["mode=predict", "run=run", "output=a.csv"]),
        ("config.yaml", ["resume=run", "quiet=true", "tracking=none", "data=digits"]),
        ("overrides.yaml", ["resume=run"]),
    ],
)
def test_aliases_that_expand_to_millions_of_values_are_an_error(
    name: str, words: list[str], content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run_folder(Path("outputs/run"), SERVER, tracking={})
    (folder / name).write_text(content)
    assert main(words) == 2
    assert f"outputs/run/{name}: {message}" in capsys.readouterr().err


def test_a_configuration_with_aliases_is_read() -> None:
    shared = [1, 2, 3]
    text = yaml_file.dump({"first": shared, "second": {"a": shared, "b": shared}})
    assert "*id001" in text
    Path("config.yaml").write_text(text)
    found = yaml_file.read(Path("config.yaml"), "config.yaml", yaml_file.CONFIGURATION_LIMITS)
    assert found == {"first": shared, "second": {"a": shared, "b": shared}}


def test_a_link_in_the_folder_of_a_sweep_is_not_a_run() -> None:
    sweep = make_run_folder(Path("outputs/sweep"), SERVER, kind="sweep")
    own, other = make_run_folder(sweep / "1_abc", SERVER), make_run_folder(Path("elsewhere/2_abc"), SERVER)
    for path in (own, other):
        write_summary(path, status="interrupted")
    (sweep / "2_abc").symlink_to(other.absolute())
    assert folders.list_runs(sweep) == [own]
    assert own in folders.list_runs(Path("outputs"))
    assert sweep / "2_abc" not in folders.list_runs(Path("outputs"))
    found = folders.find_interrupted(sweep, "abc")
    assert found is not None
    assert found.path == own
    found.close()
    Path("outputs/2_abc").symlink_to(other.absolute())  # the user's own
    assert Path("outputs/2_abc") in folders.list_runs(Path("outputs"))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"- ["])
def test_a_damaged_overrides_file_of_a_resumed_run_is_reported(content: bytes) -> None:
    (make_run_folder(Path("outputs/run"), SERVER) / "overrides.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"outputs/run/overrides\.yaml"):
        configure(["resume=run"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has finished."""
    words = ("training.epochs=1", "training.limit_batches=1", "tracking=none", "quiet=true")
    return runner.run(*words, f"folder={tmp_path_factory.mktemp('outputs')}").folder


@pytest.mark.optax
def test_a_copied_folder_is_resumed_by_its_own_name(finished: Path) -> None:
    copy = Path("outputs", finished.name)
    shutil.copytree(finished, copy)
    assert main([f"resume={copy.name}", "training.epochs=2"]) == 0
    assert [folders.read_summary(folder)["epochs"] for folder in (finished, copy)] == [1, 2]


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda found: {name: value for name, value in found.items() if name != key}


DAMAGES: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    *(("record.json", without(key), f"{key} is missing") for key in folders.RECORD_FIELDS),
    ("record.json", lambda found: found | {"kind": []}, "kind is [], not text"),
    ("record.json", lambda found: found | {"tags": []}, "tags is [], not an object"),
    ("record.json", lambda found: found | {"tags": {"seed": 3}}, "tags.seed is 3, not text"),
    ("record.json", lambda found: found | {"datasets": [{}]}, "datasets.0.name is missing"),
    ("record.json", lambda found: found | {"datasets": [3]}, "datasets.0 is 3, not an object"),
    ("record.json", lambda found: found | {"tracking": {"uri": 5}}, "tracking.uri is 5, not text"),
    ("summary.json", lambda found: found | {"status": None}, "status is null, not text"),
    ("summary.json", lambda found: found | {"history": {}}, "history is {}, not a list"),
    ("summary.json", lambda found: found | {"history": [{"epoch": 1}]}, "history.0.step is missing"),
]


@pytest.mark.optax
@pytest.mark.parametrize(("name", "damage", "fault"), DAMAGES, ids=[fault for _, _, fault in DAMAGES])
def test_a_damaged_record_is_named(
    name: str,
    damage: Callable[[dict[str, Any]], Any],
    fault: str,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path("outputs", finished.name)
    shutil.copytree(finished, folder)
    (folder / name).write_text(json.dumps(damage(json.loads((folder / name).read_text()))))
    looking = [["mode=look", "run="]] if name == "record.json" else []
    for words in (["mode=evaluate", "run="], ["training.epochs=2", "quiet=true", "resume="], *looking):
        assert main([*words[:-1], f"{words[-1]}{folder.name}"]) == 2
        assert f"{name} is damaged: {fault}" in capsys.readouterr().err
    assert main(["mode=runs"]) == 0


def test_a_problem_of_a_finished_run_names_its_own_file(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("outputs", finished.name)
    shutil.copytree(finished, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("components.loss.SoftmaxCrossEntropy", "stranger.Loss"))
    assert main(["mode=evaluate", f"run={folder.name}"]) == 2
    error = capsys.readouterr().err
    assert "loss" in error
    assert f"[set by {config}]" in error
    assert "conf/" not in error


@pytest.mark.optax
@pytest.mark.parametrize(("of_a_sweep", "remedy"), [(False, "resume="), (True, "the command that started its sweep")])
def test_the_command_that_resumes_an_interrupted_run_is_shown(
    of_a_sweep: bool, remedy: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("outputs", finished.name)
    shutil.copytree(finished, folder)
    (folder / "summary.json").unlink()
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | {"in_sweep": of_a_sweep}))
    assert main(["mode=evaluate", f"run={folder.name}"]) == 0
    assert f"interrupted; {remedy}" in capsys.readouterr().out
