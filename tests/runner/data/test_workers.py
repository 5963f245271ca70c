"""Results of workers depend neither on their number nor on where an item is computed."""

from __future__ import annotations

import importlib
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.types import Block, DataError, LazyColumns, Strings
from runner.data.workers import Workers


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two workers, of which one is a process that runs."""
    with Workers(2, start_seconds=0) as workers:
        wait_for_process(workers)
        yield workers


def wait_for_process(workers: Workers) -> int:
    """The process's number, once it computes items."""
    for _ in range(600):
        for number in workers.map(get_process, range(4)):
            if number != os.getpid():
                return number
        time.sleep(0.05)
    raise TimeoutError


def get_process(item: Any) -> int:
    time.sleep(0.001)  # so that others take items too
    return os.getpid()


def with_process(function: Callable[[Any], Any], item: Any) -> tuple[int, Any]:
    return os.getpid(), function(item)


def compute_everywhere(workers: Workers, function: Callable[[Any], Any], item: Any) -> list[Any]:
    """The results of an item in this process and in another one."""
    wait_for_process(workers)
    found: dict[bool, Any] = {}
    for _ in range(50):
        for number, result in workers.map(partial(with_process, function), [item] * 10):
            found[number == os.getpid()] = result
        if len(found) == 2:
            break
    return [found[True], found[False]]


def describe_block(block: Block) -> list[Any]:
    strings, numbers = block.columns["text"], block.columns["number"]
    assert isinstance(strings, Strings)
    return [strings.tolist(), numbers, block.valid["number"], block.first_row, block.ids, type(block.columns)]


@pytest.mark.parametrize("indices", [None, np.array([1, 0, 1])])
def test_a_process_receives_the_columns_of_a_block(workers: Workers, indices: np.ndarray | None) -> None:
    offsets = np.array([2, 4, 4, 7] if indices is None else [2, 4, 7])
    strings = Strings(np.frombuffer(b"..hiyou??", np.uint8), offsets, indices)
    columns = {"text": strings, "number": np.array([1.0, np.nan, 3.0]), "time": np.array([1, 2, 3], "M8[s]")}
    block = Block(columns, {"number": np.array([True, False, True])}, "x.csv", 7, frozenset({"number"}))
    here, there = compute_everywhere(workers, describe_block, block)
    assert here[0] == (["hi", "", "you"] if indices is None else ["you", "hi", "you"])
    assert repr(there) == repr(here)


def locate_rows(block: Block) -> list[str]:
    return [block.locate(row) for row in range(2)]


def test_results_that_have_locations_of_rows_are_computed_where_these_are_known(workers: Workers) -> None:
    wait_for_process(workers)
    plain, located = Block({"x": np.ones(2)}, origin="x.csv", first_row=3), Located({"x": np.ones(2)})
    assert compute_everywhere(workers, locate_rows, plain) == [["row 3 of x.csv", "row 4 of x.csv"]] * 2
    assert list(workers.map(locate_rows, [located] * 30)) == [["line 100", "line 101"]] * 30
    wait_for_process(workers)  # it goes on


def double(item: np.ndarray) -> np.ndarray:
    return item * 2


def test_results_are_in_order_and_independent_of_each_other(workers: Workers) -> None:
    items = [np.full(1 + 37 * (number % 5), number) for number in range(200)]
    results = list(workers.map(double, items))
    assert all(np.array_equal(result, item * 2) for result, item in zip(results, items, strict=True))


@pytest.mark.parametrize("item", [threading.Lock(), LazyColumns({"x": np.ones(1)}, {}, np.arange(1))])
def test_what_cannot_be_pickled_is_computed_in_this_process(workers: Workers, item: Any) -> None:
    assert list(workers.map(get_process, [item] * 5)) == [os.getpid()] * 5
    assert list(workers.map(lambda number: number + os.getpid(), range(5))) == [os.getpid() + n for n in range(5)]


def test_items_that_cannot_be_sent_start_no_process() -> None:
    before = list_children()
    with Workers(2, start_seconds=0) as workers:
        list(workers.map(get_process, [threading.Lock()] * 5))
        assert list_children() == before


def list_children() -> set[str]:
    found: set[str] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            found.update((task / "children").read_text().split())
    return found


def fail_elsewhere(parent: int, item: int) -> int:
    if os.getpid() != parent:
        raise ValueError
    return item


def test_a_function_that_fails_in_a_process_only_is_computed_again() -> None:
    with Workers(2, start_seconds=0) as workers:
        wait_for_process(workers)
        assert list(workers.map(partial(fail_elsewhere, os.getpid()), range(50))) == [*range(50)]


class Located(Block):
    def locate(self, row: int) -> str:
        return f"line {100 + self.first_row + row}"


def find_wrong(block: Block) -> None:
    if block.first_row == 30:
        raise DataError(f"{block.locate(2)} is wrong")


def test_an_error_names_the_row_as_without_processes() -> None:
    blocks = [Located({"x": np.ones(10)}, first_row=first) for first in range(0, 60, 10)]
    with Workers(2, start_seconds=0) as workers:
        wait_for_process(workers)
        with pytest.raises(DataError, match=r"^line 132 is wrong$"):
            list(workers.map(find_wrong, blocks))


def test_a_process_that_is_killed_changes_no_result() -> None:
    with Workers(2, start_seconds=0) as workers:
        number = wait_for_process(workers)

        def kill_after(count: int) -> Iterator[int]:
            for item in range(50):
                if item == count:
                    os.kill(number, signal.SIGKILL)
                yield item

        assert list(workers.map(double, kill_after(20))) == [2 * item for item in range(50)]
        assert set(workers.map(get_process, range(10))) == {os.getpid()}


def test_processes_end_with_the_workers() -> None:
    before = list_children()
    with Workers(3, start_seconds=0) as workers:
        wait_for_process(workers)
        assert len(list_children() - before) == 2
    assert list_children() == before
    list(workers.map(get_process, range(50)))  # `map` ends them, where nothing else does
    assert list_children() == before


def test_calls_that_go_on_start_no_process_once_the_workers_have_ended() -> None:
    before = list_children()
    with Workers(2, start_seconds=0) as workers:
        wait_for_process(workers)
        results = workers.map(get_process, range(200))
        next(results)
    later = [(list_children(), number) for number in results][100:]
    assert later == [(before, os.getpid())] * len(later)


def test_a_process_computes_nothing_with_a_module_that_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "changing.py"
    code = "import time\n\n\ndef get(item):\n    time.sleep(0.003)\n    return 1\n"
    file.write_text(code)
    os.utime(file, (0, 0))
    with Workers(2, start_seconds=0) as others:
        wait_for_process(others)
        function = importlib.import_module("changing").get
        file.write_text(code.replace("1", "2"))
        assert set(others.map(function, range(100))) == {1}


def test_processes_that_cannot_start_leave_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no process")

    monkeypatch.setattr(subprocess, "Popen", fail)
    before = len(os.listdir("/proc/self/fd"))
    with Workers(4, start_seconds=0) as workers:
        assert set(workers.map(get_process, range(20))) == {os.getpid()}
    assert len(os.listdir("/proc/self/fd")) == before


def test_little_work_starts_no_process() -> None:
    for count, seconds in ((2, math.inf), (1, 0.0)):
        with Workers(count, start_seconds=seconds) as workers:
            before = list_children()
            assert set(workers.map(get_process, range(20))) == {os.getpid()}
            assert list_children() == before
