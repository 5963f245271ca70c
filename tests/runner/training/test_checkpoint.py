"""Checkpoint files are written atomically, the last two and the best weights are kept, and damaged ones are skipped."""

import errno
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.types import UserError
from runner import memory, npz
from runner.errors import RunError
from runner.npz import read
from runner.training.checkpoint import CheckpointFiles, load_newest_checkpoint, to_tree, write_tree
from runner.training.monitor import initial_monitor
from runner.training.trainer_state import TrainerState


def tree(value: float) -> dict[str, Any]:
    return {"kernel": np.full((3, 2), value, np.float32), "count": (np.int32(value), np.array([], np.uint8))}


def save(checkpoints: CheckpointFiles, step: int, best_step: int | None) -> None:
    best = {"w": np.full(2, step, np.float32)} if best_step == step else None
    checkpoints.save(tree(step), best, {"step": step, "best_step": best_step}, on_saved=lambda: None)
    checkpoints.wait()


BEST = {"w": np.zeros(2, np.float32)}


def test_a_tree_is_read_bit_for_bit_as_it_was_written(tmp_path: Path) -> None:
    values = {
        "x": np.array([np.nan, -0.0, 1e-45, np.inf], np.float32),
        "y": {"z": np.arange(3, dtype=np.int32)},
    }
    write_tree(tmp_path / "a.npz", values, {"history": [{"loss": 0.1}]})
    meta, arrays, _ = read(tmp_path / "a.npz")
    found = to_tree(arrays, values, tmp_path)
    assert meta == {"history": [{"loss": 0.1}]}
    assert found["x"].tobytes() == values["x"].tobytes()
    np.testing.assert_array_equal(found["y"]["z"], values["y"]["z"])


@pytest.mark.parametrize(("free", "written"), [(0, [1]), (10**6, [])])
def test_with_little_memory_one_copy_is_held_at_a_time(
    free: int, written: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "measure_free_host_memory", lambda: memory.FreeMemory(free, "in this test"))
    checkpoints, saved = CheckpointFiles(tmp_path / "c"), []
    release = threading.Event()
    threading.Timer(0.2, release.set).start()
    for step in (1, 2):
        on_saved = (lambda: saved.append(release.wait())) if step == 1 else (lambda: None)
        checkpoints.save(tree(step), None, {"step": step, "best_step": None}, on_saved=on_saved)
    assert [1] * len(saved) == written
    checkpoints.wait()


def test_the_last_two_checkpoints_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)):
        save(checkpoints, step, best)
        best_steps = {1: [1], 2: [1, 2]}.get(step, [2])  # step 1 and its best weights are kept until step 3 is saved
        found = sorted(path.name for path in (tmp_path / "c").glob("best_*"))
        assert found == [f"best_{best_step:010d}.npz" for best_step in best_steps]
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "best_0000000002.npz",
        "step_0000000004.npz",
        "step_0000000005.npz",
    ]
    (state, best, meta), damaged = checkpoints.load(tree(0), BEST)
    assert (meta["step"], damaged, best["w"].tolist()) == (5, [], [2, 2])
    np.testing.assert_array_equal(state["kernel"], tree(5)["kernel"])


def test_the_best_weights_of_each_kept_checkpoint_are_kept(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, 1)
    save(checkpoints, 2, 2)
    (tmp_path / "c" / "step_0000000002.npz").write_bytes(b"")
    (_, best, meta), _ = checkpoints.load(tree(0), BEST)
    assert (meta["step"], best["w"].tolist()) == (1, [1, 1])


def damage(path: Path, how: str) -> None:
    """Damages the file of step 2, beside which there is one of step 1."""
    content = path.read_bytes()
    middle = len(content) // 2
    match how:
        case "truncated":
            path.write_bytes(content[:middle])
        case "empty":
            path.write_bytes(b"")
        case "flipped":
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        case "lost":
            path.write_bytes(content[: middle - 50] + content[middle + 50 :])
        case "swapped":
            path.write_bytes(content[:64] + content[128:192] + content[64:128] + content[192:])
        case "of another step":
            path.write_bytes(path.with_name(path.name.replace("2", "1")).read_bytes())
        case "of another kind":
            other = "best" if path.name.startswith("step") else "step"
            path.write_bytes(path.with_name(f"{other}{path.name[4:]}").read_bytes())
        case "a folder":
            path.unlink()
            (path / "within").mkdir(parents=True)
        case "a pipe":
            path.unlink()
            os.mkfifo(path)
        case "gone":
            path.unlink()


DAMAGES = [
    "truncated",
    "empty",
    "flipped",
    "lost",
    "swapped",
    "of another step",
    "of another kind",
    "a folder",
    "a pipe",
]


@pytest.mark.parametrize(
    ("name", "how"), [*(("step", how) for how in DAMAGES), *(("best", how) for how in (*DAMAGES, "gone"))]
)
def test_a_damaged_checkpoint_is_skipped_and_named(tmp_path: Path, name: str, how: str) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, 1)
    save(checkpoints, 2, 2)
    path = tmp_path / "c" / f"{name}_0000000002.npz"
    damage(path, how)
    found, warnings = load_newest_checkpoint(tmp_path / "c", tree(0), BEST)
    assert (found[2]["step"], len(warnings)) == (1, 1)
    checkpoints = CheckpointFiles(tmp_path / "c")
    (state, best, meta), warnings = checkpoints.load(tree(0), BEST)
    assert (meta["step"], best["w"].tolist()) == (1, [1, 1])
    assert state["kernel"][0, 0] == 1
    assert len(warnings) == 1
    assert warnings[0].startswith("checkpoint step_0000000002.npz is skipped: ")
    assert str(path) in warnings[0]
    save(checkpoints, 2, 2)
    (_, best, meta), warnings = checkpoints.load(tree(0), BEST)
    assert (meta["step"], best["w"].tolist(), warnings) == (2, [2, 2], [])


def test_best_weights_that_two_checkpoints_share_are_kept_for_the_undamaged_one(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, 1)
    save(checkpoints, 2, 1)
    metadata, arrays, _ = read(tmp_path / "c" / "step_0000000002.npz")
    npz.write(tmp_path / "c" / "step_0000000002.npz", arrays, metadata | {"best_digest": "0" * 64})
    (_, best, meta), warnings = CheckpointFiles(tmp_path / "c").load(tree(0), BEST)
    assert (meta["step"], best["w"].tolist()) == (1, [1, 1])
    assert "holds other weights than the checkpoint was saved with" in warnings[0]
    assert (tmp_path / "c" / "best_0000000001.npz").exists()


def test_best_weights_with_another_digest_are_not_used(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, 1)
    write_tree(tmp_path / "c" / "best_0000000001.npz", {"w": np.full(2, 9, np.float32)}, {"step": 1})
    found, warnings = checkpoints.load(tree(0), BEST)
    assert found is None
    assert "holds other weights than the checkpoint was saved with" in warnings[0]


def test_a_checkpoint_of_an_earlier_version_is_read_with_a_warning(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, 1)
    for path in sorted((tmp_path / "c").iterdir()):
        meta, arrays, _ = read(path)
        meta.pop("best_digest", None)
        np.savez(path, allow_pickle=False, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    (_, best, meta), warnings = checkpoints.load(tree(0), BEST)
    assert (meta["step"], best["w"].tolist()) == (1, [1, 1])
    assert warnings == [f"{tmp_path / 'c' / 'step_0000000001.npz'} has no digest: an earlier Titrate wrote it"]
    save(checkpoints, 2, 1)
    assert CheckpointFiles(tmp_path / "c").load(tree(0), BEST)[0][2]["step"] == 2


def test_damage_to_an_earlier_checkpoint_does_not_stop_the_next_one(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, 1)
    (tmp_path / "c" / "step_0000000001.npz").write_bytes(b"")
    save(checkpoints, 2, 2)
    assert checkpoints.load(tree(0), BEST)[0][2]["step"] == 2


def test_if_all_checkpoints_are_damaged_none_is_loaded(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, None)
    (tmp_path / "c" / "step_0000000001.npz").write_bytes(b"")
    found, damaged = checkpoints.load(tree(0), BEST)
    assert found is None
    assert "checkpoint step_0000000001.npz is skipped: " in damaged[0]


def test_without_a_checkpoint_none_is_loaded(tmp_path: Path) -> None:
    assert CheckpointFiles(tmp_path / "c").load(tree(0), BEST) == (None, [])


def test_another_shape_or_name_is_an_error(tmp_path: Path) -> None:
    write_tree(tmp_path / "a.npz", {"w": np.zeros(3, np.float32)}, {})
    with pytest.raises(UserError, match=r"another model than the code builds now: \['w'\] differs.*fresh=true"):
        to_tree(read(tmp_path / "a.npz").arrays, BEST, tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"\['v'\] differs"):
        to_tree(read(tmp_path / "a.npz").arrays, {"w": np.zeros(3, np.float32), "v": np.zeros(3)}, tmp_path / "a.npz")


def test_a_full_disk_is_an_error_and_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, None)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        saved: list[int] = []
        checkpoints.save(tree(2), None, {"step": 2, "best_step": None}, on_saved=lambda: saved.append(2))
        with pytest.raises(RunError, match=r"saving to .*No space left.*the same command"):
            checkpoints.wait()
    assert saved == []
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["step_0000000001.npz"]


def test_save_copies_the_arrays(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    state = tree(1)
    checkpoints.save(state, None, {"step": 1, "best_step": None}, on_saved=lambda: None)
    state["kernel"][:] = 9
    checkpoints.wait()
    assert checkpoints.load(tree(0), BEST)[0][0]["kernel"][0, 0] == 1


def test_metadata_keep_every_bit_of_a_number(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    write_tree(tmp_path / "a.npz", {}, {"value": value, "bad": float("inf")})
    assert read(tmp_path / "a.npz").meta == {"value": value, "bad": float("inf")}
    assert json.loads(json.dumps(value)) == value


def test_a_checkpoint_of_another_model_is_an_error_and_is_kept(tmp_path: Path) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, None)
    with pytest.raises(UserError, match="another model"):
        checkpoints.load({"kernel": np.zeros(5, np.float32)}, BEST)
    assert checkpoints.load(tree(0), BEST)[0][2]["step"] == 1


def test_temporary_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "step_0000000009.tmp").write_bytes(b"half")
    CheckpointFiles(tmp_path / "c")
    assert not list((tmp_path / "c").iterdir())


def test_metadata_that_are_being_written_do_not_change_while_training_goes_on() -> None:
    trainer_state = TrainerState(train_state=None, monitor=initial_monitor(False), history=[{"epoch": 1}])  # type: ignore[arg-type]
    metadata = trainer_state.metadata()
    trainer_state.history.append({"epoch": 2})
    assert metadata["history"] == [{"epoch": 1}]


def test_a_disk_that_fills_between_two_files_leaves_no_checkpoint_without_its_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = CheckpointFiles(tmp_path / "c")
    save(checkpoints, 1, 1)
    written: list[Path] = []
    real_write = npz.write

    def full(path: Path, *content: Any) -> None:
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        real_write(path, *content)

    with monkeypatch.context() as patched:
        patched.setattr(npz, "write", full)
        with pytest.raises(RunError, match="No space left"):
            save(checkpoints, 2, 2)
    assert len(written) == 1
    (_, best, meta), damaged = checkpoints.load(tree(0), BEST)
    assert (meta["step"], best["w"].tolist(), damaged) == (1, [1, 1], [])


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, bool]] = []  # whether the folder was synced, and whether the file had its name by then
    sync, path = os.fsync, tmp_path / "a.npz"

    def record_sync(descriptor: int) -> None:
        sync(descriptor)
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(os, "fsync", record_sync)
    write_tree(path, {"w": np.zeros(2)}, {})
    assert synced == [(False, False), (True, True)]


def test_after_mode_clean_the_newest_best_weights_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for step in (1, 2):
        write_tree(tmp_path / "c" / f"best_{step:010d}.npz", {"w": np.full(2, step, np.float32)}, {"step": step})
    found, warnings = load_newest_checkpoint(tmp_path / "c", tree(0), BEST)
    assert found is not None
    state, best, meta = found
    assert (state, best["w"].tolist(), meta["best_step"], warnings) == (None, [2, 2], 2, [])
