"""Run folders: created atomically, locked, and found by their digest or name."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from components.types import UserError
from runner.run_folder import create_folder, find_interrupted, find_run, list_runs, lock_folder, run_digest

FILES = {"record.json": "{}"}


def start(root: Path) -> str:
    return create_folder(root, "digits", "abc", FILES).path.name


def record(kind: str, created: int) -> str:
    """The text of a `record.json`."""
    fields = {"tags": {}, "parameters": {}, "datasets": [], "tracking": {}}
    return json.dumps({"kind": kind, "created": created, "name": "digits", "digest": "abc", **fields})


def test_folders_made_at_once_all_differ_and_keep_the_digest_last(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as pool:
        names = list(pool.map(start, [tmp_path] * 8))
    assert len(set(names)) == 8
    assert all(name.endswith("_abc") for name in names)
    assert not list(tmp_path.glob(".new_*"))


@pytest.mark.parametrize("name", ["x" * 230, "日" * 80, "é" * 105 + "\n"])
def test_a_long_name_is_cut_and_told_apart_by_a_digest(tmp_path: Path, name: str) -> None:
    made = [create_folder(tmp_path, f"{name}{end}", "abc", FILES).path.name for end in "ab"]
    assert all(len(one.encode()) <= 255 and one.endswith("_abc") for one in made)
    assert all(one[20:80] == name[:60] for one in made)
    assert made[0] != made[1].replace("_2_", "_")


def test_an_interrupted_folder_is_found_only_while_no_process_has_its_lock(tmp_path: Path) -> None:
    first = create_folder(tmp_path, "digits", "abc", FILES)
    assert find_interrupted(tmp_path, "abc") is None
    first.close()
    found = find_interrupted(tmp_path, "abc")
    assert found is not None
    assert found.path == first.path
    assert find_interrupted(tmp_path, "abc") is None
    assert find_interrupted(tmp_path, "other") is None


@pytest.mark.parametrize(
    ("status", "again"), [("finished", False), ("failed", False), ("diverged", False), ("interrupted", True)]
)
def test_only_an_interrupted_run_is_resumed(tmp_path: Path, status: str, again: bool) -> None:
    made = create_folder(tmp_path, "digits", "abc", FILES)
    made.close()
    (made.path / "summary.json").write_text(json.dumps({"status": status}))
    assert (find_interrupted(tmp_path, "abc") is not None) == again


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file stands in the way")
    with pytest.raises(UserError, match=r"folder=.*outputs.*set another"):
        create_folder(tmp_path / "outputs", "digits", "abc", FILES)


def test_a_run_is_found_by_path_name_and_run_id(tmp_path: Path) -> None:
    made = create_folder(tmp_path, "digits", "abc", FILES)
    (made.path / "delivered.json").write_text(json.dumps({"run_id": "0123"}))
    for name in (str(made.path), made.path.name, "0123"):
        assert find_run(tmp_path, name) == made.path
    with pytest.raises(UserError, match=f"no such run.*{made.path.name}"):
        find_run(tmp_path, made.path.name[:-1] + "x")
    with pytest.raises(UserError, match="another process is running it"):
        lock_folder(made.path)


def test_the_digest_ignores_what_changes_no_result() -> None:
    values = {"seed": 1, "training": {"epochs": 2}, "quiet": False, "folder": "a", "tracking": {"uri": None}}
    same = values | {"quiet": True, "folder": "b", "tracking": {"uri": "x"}}
    assert run_digest(values, "data") == run_digest(same, "data")
    assert run_digest(values, "data") != run_digest(values | {"seed": 2}, "data")
    assert run_digest(values, "data") != run_digest(values, "other data")


def test_the_last_run_is_neither_a_sweep_nor_damaged(tmp_path: Path) -> None:
    def make(name: str, text: str) -> None:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.json").write_text(text)

    with pytest.raises(UserError, match="run=last: there is no such run"):
        find_run(tmp_path, "last", "run")
    make("a", record("run", 3))
    make("b", record("run", 1))
    make("sweep", record("sweep", 9))
    make("sweep/c", record("run", 5))
    make("damaged", '{"kind": "run", "cre')
    make(".old_x/d", record("run", 99))
    assert find_run(tmp_path, "last", "run") == tmp_path / "sweep" / "c"
    assert find_run(tmp_path, "c", "run") == tmp_path / "sweep" / "c"


def test_the_newest_interrupted_folder_of_a_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for stamp in ("2026-01-02_03-04-05", "2026-01-02_03-04-06", "2026-01-01_23-59-59"):
        monkeypatch.setattr("time.strftime", lambda form, stamp=stamp: stamp)
        made.append(create_folder(tmp_path, "digits", "abc", FILES))
        made[-1].close()
    only = find_interrupted(tmp_path, "abc", lambda path: path == made[2].path)
    assert only is not None
    assert only.path == made[2].path  # the only one whose configuration is the same
    for expected in (made[1], made[0]):  # what was found before is held
        found = find_interrupted(tmp_path, "abc")
        assert found is not None
        assert found.path == expected.path


def test_the_last_run_is_the_one_that_started_last_whatever_its_folder_is_called(tmp_path: Path) -> None:
    for name, created in (("2026-01-01_a", 30), ("2026-01-02_b", 10), ("2025-12-31_sweep/03_c", 20)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.json").write_text(record("run", created))
    assert find_run(tmp_path, "last") == tmp_path / "2026-01-01_a"


@pytest.mark.parametrize("digest", ["0abc", "9abc"])
def test_of_eleven_folders_of_one_second_the_last_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str
) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "2026-01-02_03-04-05")
    monkeypatch.setattr("time.time", lambda: 1)  # the same millisecond too
    for one in (
        made := [
            create_folder(tmp_path, "digits", digest, FILES | {"record.json": record("run", 1)}) for _ in range(11)
        ]
    ):
        one.close()
    assert list_runs(tmp_path) == [one.path for one in made]
    assert find_run(tmp_path, "last") == made[-1].path
    found = find_interrupted(tmp_path, digest)
    assert found is not None
    assert found.path == made[-1].path
