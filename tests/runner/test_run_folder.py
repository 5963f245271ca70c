"""Run folders: created atomically, locked, and found by their digest or name."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from components.types import UserError
from runner.config.compose import configure
from runner.run_folder import (
    create_folder,
    find_folder,
    find_interrupted,
    find_run,
    find_starts,
    list_runs,
    lock_folder,
    run_digest,
)

FILES = {"record.json": "{}"}


def create_and_return_name(root: Path) -> str:
    return create_folder(root, "digits", "abc", FILES).path.name


def format_record(kind: str, created: int) -> str:
    """The text of a `record.json`."""
    fields = {"tags": {}, "parameters": {}, "datasets": [], "tracking": {}}
    return json.dumps({"kind": kind, "created": created, "name": "digits", "digest": "abc", **fields})


@pytest.mark.slow
def test_folders_created_at_once_have_different_names_that_end_with_the_digest(tmp_path: Path) -> None:
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("spawn")) as pool:
        names = list(pool.map(create_and_return_name, [tmp_path] * 8))
    assert len(set(names)) == 8
    assert all(name.endswith("_abc") for name in names)
    assert not list(tmp_path.glob(".new_*"))


@pytest.mark.parametrize("name", ["x" * 230, "日" * 80, "é" * 105 + "\n"])
def test_a_long_name_is_shortened_and_has_a_digest(tmp_path: Path, name: str) -> None:
    created = [create_folder(tmp_path, f"{name}{end}", "abc", FILES).path.name for end in "ab"]
    assert all(len(folder.encode()) <= 255 and folder.endswith("_abc") for folder in created)
    assert all(folder[20:80] == name[:60] for folder in created)
    assert created[0] != created[1].replace("_2_", "_")


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
    ("status", "is_resumed"), [("finished", False), ("failed", False), ("diverged", False), ("interrupted", True)]
)
def test_only_an_interrupted_run_is_resumed(tmp_path: Path, status: str, is_resumed: bool) -> None:
    created = create_folder(tmp_path, "digits", "abc", FILES)
    created.close()
    (created.path / "summary.json").write_text(json.dumps({"status": status}))
    assert (find_interrupted(tmp_path, "abc") is not None) == is_resumed


def test_a_folder_that_can_t_be_created_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file stands in the way")
    with pytest.raises(UserError, match=r"folder=.*outputs.*set another"):
        create_folder(tmp_path / "outputs", "digits", "abc", FILES)


def test_a_run_is_found_by_path_name_and_run_id(tmp_path: Path) -> None:
    created = create_folder(tmp_path, "digits", "abc", FILES)
    (created.path / "delivered.json").write_text(json.dumps({"run_id": "0123"}))
    for name in (str(created.path), created.path.name, "0123"):
        assert find_run(tmp_path, name) == created.path
    with pytest.raises(UserError, match=f"no such run.*{created.path.name}"):
        find_run(tmp_path, created.path.name[:-1] + "x")
    with pytest.raises(UserError, match="another process is running it"):
        lock_folder(created.path)


def test_the_runs_whose_names_contain_a_wrong_name_are_the_nearest(tmp_path: Path) -> None:
    names = ["digits_mlp", "digits_cnn", "digits_mlp_wide", "digits_mlq"]
    folders = [create_folder(tmp_path, name, digest, FILES) for digest, name in zip("abcd", names, strict=True)]
    for folder in folders:
        folder.close()
    nearest = ", ".join(sorted(folder.path.name for folder in folders if "digits_mlp" in folder.path.name))
    with pytest.raises(UserError, match=f"Nearest runs: {nearest}.$"):
        find_run(tmp_path, "digits_mlp", "teacher.run")
    look = create_folder(tmp_path, "look_digits_mlp", "e", FILES)
    look.close()
    (look.path / "record.json").write_text(json.dumps({"kind": "look"}))
    with pytest.raises(UserError, match=f"Nearest runs: {nearest}.$"):
        find_run(tmp_path, "digits_mlp")
    with pytest.raises(UserError, match=r"is a folder of mode=look, which trains nothing\. Name a run"):
        find_run(tmp_path, look.path.name)
    with pytest.raises(UserError, match=f"resume={look.path.name} is a folder of mode=look, which trains nothing"):
        configure([f"folder={tmp_path}", f"resume={look.path.name}"])
    with pytest.raises(UserError, match=r"Nearest runs: last\.$"):
        find_run(tmp_path, "lst")
    sweep = create_folder(tmp_path, "digits_mlp", "f", FILES)
    sweep.close()
    (sweep.path / "record.json").write_text(json.dumps({"kind": "sweep"}))
    with pytest.raises(UserError, match=f"Nearest runs: {nearest}.$"):
        find_run(tmp_path, "digits_mlp")
    with pytest.raises(UserError, match=f"Nearest runs: .*{sweep.path.name}"):
        find_folder(tmp_path, "digits_mlp")
    newest = [path.name for path in list_runs(tmp_path) if path not in (look.path, sweep.path)][-3:]
    with pytest.raises(UserError, match=f"no such run below {tmp_path}. The newest runs: {', '.join(newest)}.$"):
        find_run(tmp_path, "nosuch")


def test_a_run_is_found_by_the_start_of_its_name_that_no_other_has(tmp_path: Path) -> None:
    names = [f"2026-11-20_12-00-0{end}" for end in ("0_digits_abc", "1_digits_abc", "1_2_digits_abc", "1_2_mlp_abc")]
    for name in (*names, "my_run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text("{}")
    starts = find_starts([*names, "my_run"])
    assert [start[17:] for start in starts.values()] == ["00", "01_digits", "01_2_digits", "01_2_mlp", ""]
    for name, start in starts.items():
        assert find_run(tmp_path, start) == tmp_path / name
    with pytest.raises(UserError, match="there is no such run"):
        find_run(tmp_path, "my_r")  # without the time
    for start, count in (("2026-11-20_12-00-01", "3 folders"), ("2026-11-20_12-00-0", r"4 folders.*, … \(1 more\)")):
        with pytest.raises(UserError, match=f"{count}.*Write more of the name"):
            find_run(tmp_path, start)
    assert find_starts(["2026-11-20_12-00-00_a", "2026-11-20_12-00-00_a"]) == {
        "2026-11-20_12-00-00_a": "2026-11-20_12-00-00_a"
    }


def test_the_digest_ignores_keys_that_change_no_result() -> None:
    values = {"seed": 1, "training": {"epochs": 2}, "quiet": False, "folder": "a", "tracking": {"uri": None}}
    same = values | {"quiet": True, "folder": "b", "tracking": {"uri": "x"}}
    assert run_digest(values, "data") == run_digest(same, "data")
    assert run_digest(values, "data") != run_digest(values | {"seed": 2}, "data")
    assert run_digest(values, "data") != run_digest(values, "other data")


@pytest.mark.parametrize(("group", "key"), [("update", "groups"), ("update", "parts"), ("feature", "targets")])
def test_the_digest_has_the_order_where_it_counts(group: str, key: str) -> None:
    def digest(names: str, **others: Any) -> str:
        return run_digest(
            {group: {key: {"_target_": "own.Part"} | {name: {"rate": 1} for name in names}, **others}}, "data"
        )

    assert digest("ab") != digest("ba")
    assert digest("ba", a=1, b=2) == digest("ba", b=2, a=1)


def test_the_last_run_is_neither_a_sweep_nor_damaged(tmp_path: Path) -> None:
    def write_record(name: str, text: str) -> None:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.json").write_text(text)

    with pytest.raises(UserError, match="run=last: there is no such run"):
        find_run(tmp_path, "last", "run")
    write_record("a", format_record("run", 3))
    write_record("b", format_record("run", 1))
    write_record("sweep", format_record("sweep", 9))
    write_record("sweep/c", format_record("run", 5))
    write_record("damaged", '{"kind": "run", "cre')
    write_record(".old_x/d", format_record("run", 99))
    assert find_run(tmp_path, "last", "run") == tmp_path / "sweep" / "c"
    assert find_run(tmp_path, "c", "run") == tmp_path / "sweep" / "c"


def test_the_newest_interrupted_folder_of_a_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = []
    for stamp in ("2026-01-02_03-04-05", "2026-01-02_03-04-06", "2026-01-01_23-59-59"):
        monkeypatch.setattr("time.strftime", lambda form, stamp=stamp: stamp)
        created.append(create_folder(tmp_path, "digits", "abc", FILES))
        created[-1].close()
    resumed = find_interrupted(tmp_path, "abc", lambda path: path == created[2].path)
    assert resumed is not None
    assert resumed.path == created[2].path  # the only one whose configuration has the digest
    for expected in (created[1], created[0]):  # the folders that were found before are locked
        found = find_interrupted(tmp_path, "abc")
        assert found is not None
        assert found.path == expected.path


def test_the_last_run_is_the_run_with_the_latest_start_time(tmp_path: Path) -> None:
    for name, created in (("2026-01-01_a", 30), ("2026-01-02_b", 10), ("2025-12-31_sweep/03_c", 20)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.json").write_text(format_record("run", created))
    assert find_run(tmp_path, "last") == tmp_path / "2026-01-01_a"


@pytest.mark.parametrize("digest", ["0abc", "9abc"])
def test_the_last_of_eleven_folders_of_the_same_second_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str
) -> None:
    monkeypatch.setattr("time.strftime", lambda form: "2026-01-02_03-04-05")
    monkeypatch.setattr("time.time", lambda: 1)  # the same millisecond, too
    for folder in (
        created := [
            create_folder(tmp_path, "digits", digest, FILES | {"record.json": format_record("run", 1)})
            for _ in range(11)
        ]
    ):
        folder.close()
    assert list_runs(tmp_path) == [folder.path for folder in created]
    assert find_run(tmp_path, "last") == created[-1].path
    found = find_interrupted(tmp_path, digest)
    assert found is not None
    assert found.path == created[-1].path
