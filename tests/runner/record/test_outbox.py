"""The outbox keeps every point once, with its first timestamp, after a kill at any moment."""

import itertools
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.record import outbox
from runner.record.outbox import Outbox, read_checkpointed_size, write_checkpointed_size


@pytest.fixture(autouse=True)
def advancing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances by a millisecond at each call."""
    clock = itertools.count(1)
    monkeypatch.setattr("time.time_ns", lambda: next(clock) * 1_000_000)


def read_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "points.jsonl").read_text().splitlines()]


def read_covered(folder: Path) -> list[outbox.Point]:
    return list(outbox.parse_points(outbox.read_checkpointed_points(folder).splitlines()))


def test_only_covered_points_are_read(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.add(10, {"train/loss": 0.5, "learning_rate": 1e-3})
    offset = box.flush()
    box.add(20, {"train/loss": 0.25})
    box.flush()
    assert read_covered(tmp_path) == []
    write_checkpointed_size(tmp_path, offset)
    assert read_covered(tmp_path) == [(10, 1, {"train/loss": 0.5, "learning_rate": 1e-3})]
    box.close()


def test_values_may_be_not_finite_and_keep_every_bit(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.add(1, {"a": math.inf, "b": -math.inf, "c": math.nan, "d": 0.1 + 0.2})
    write_checkpointed_size(tmp_path, box.flush())
    box.close()
    values = read_covered(tmp_path)[0].values
    assert (values["a"], values["b"], values["d"]) == (math.inf, -math.inf, 0.1 + 0.2)
    assert math.isnan(values["c"])


def test_flush_returns_the_size_on_the_disk(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.add(1, {"a": 1.0})
    assert box.flush() == (tmp_path / "points.jsonl").stat().st_size > 0
    box.close()


def test_nothing_is_covered_at_first(tmp_path: Path) -> None:
    assert read_checkpointed_size(tmp_path) == 0
    assert outbox.read_checkpointed_points(tmp_path) == b""


def test_uncovered_points_are_removed_and_get_the_same_timestamps_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.add(1, {"a": 1.0})
    offset = box.flush()
    box.add(2, {"a": 2.0})
    box.add(2, {"b": 2.0})
    box.close()
    with (tmp_path / "points.jsonl").open("a") as file:
        file.write('{"step": 3, "timest')  # as if it were killed while it wrote
    box = Outbox(tmp_path, checkpointed_size=offset)
    assert [line["step"] for line in read_lines(tmp_path)] == [1]
    box.add(2, {"b": 2.0})
    box.add(3, {"a": 3.0})
    box.add(2, {"a": 2.0})
    box.close()
    assert [(line["step"], line["timestamp"]) for line in read_lines(tmp_path)] == [(1, 1), (2, 3), (3, 5), (2, 2)]


def test_resuming_from_an_older_checkpoint_covers_fewer_points(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.add(1, {"a": 1.0})
    older = box.flush()
    box.add(2, {"a": 2.0})
    write_checkpointed_size(tmp_path, box.flush())
    box.close()
    Outbox(tmp_path, checkpointed_size=older).close()
    assert read_checkpointed_size(tmp_path) == older
    assert [point.step for point in read_covered(tmp_path)] == [1]


def test_the_size_in_a_checkpoint_counts_if_a_kill_left_none_in_the_file(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.add(1, {"a": 1.0})
    offset = box.flush()
    box.close()
    Outbox(tmp_path, checkpointed_size=offset).close()
    assert [point.step for point in read_covered(tmp_path)] == [1]


@settings(deadline=None, max_examples=50)  # each waits for the disk
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), max_size=6))
def test_after_any_number_of_kills_every_point_is_there_once_with_its_first_timestamp(
    tmp_path_factory: pytest.TempPathFactory, processes: list[tuple[int, bool, int]]
) -> None:
    """Each process resumes from a checkpoint, adds points, may save a checkpoint, and is killed.

    An entry of `processes` is: how many points it adds, whether it saves, and how many checkpoints back it starts.
    """
    folder, checkpoints, first_timestamps = tmp_path_factory.mktemp("run"), [(0, 0)], {}
    for added, saves, back in [*processes, (5, True, 0)]:
        step, offset = checkpoints[max(len(checkpoints) - 1 - back, 0)]
        del checkpoints[max(len(checkpoints) - back, 1) :]
        box = Outbox(folder, checkpointed_size=offset)
        for _ in range(added):
            step += 1
            box.add(step, {"a": float(step)})
        if saves:
            checkpoints.append((step, box.flush()))
        box.close()
        for line in read_lines(folder):
            assert first_timestamps.setdefault(line["step"], line["timestamp"]) == line["timestamp"]
    assert [line["step"] for line in read_lines(folder)] == list(range(1, step + 1))


def test_a_flush_returns_once_all_points_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box, synced = Outbox(tmp_path), []
    sync = os.fsync

    def sync_and_note(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", sync_and_note)
    box.add(1, {"a": 1.0})
    assert [box.flush()] == synced
    box.close()


def test_a_kill_between_appending_and_truncating_loses_no_timestamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Outbox(tmp_path)
    box.add(1, {"a": 1.0})
    box.close()
    first = read_lines(tmp_path)

    def kill(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "_append_to_disk", kill)
        with pytest.raises(KeyboardInterrupt):
            Outbox(tmp_path)
    assert read_lines(tmp_path) == first, "the points were removed before they were in points.cut"
    box = Outbox(tmp_path)
    box.add(1, {"a": 2.0})
    box.close()
    assert [point["timestamp"] for point in read_lines(tmp_path)] == [point["timestamp"] for point in first]
