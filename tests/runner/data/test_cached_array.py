"""Arrays of the cache: indexed like NumPy arrays, and no byte is used before it is checked."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.types import Ragged
from runner.data.batches import Batches, gather_rows
from runner.data.cache import load_tree, save_tree
from runner.data.cached_array import CachedArray
from runner.data.encode import join_pieces
from runner.data.load import Data
from runner.errors import RunError

NAME, ROWS, CHUNK = "0123456789abcdef" * 2, 50, 16
VALUES = np.random.default_rng(0).integers(0, 2**16, (ROWS, 3)).astype(np.uint16)  # 6 bytes a row


@pytest.fixture(scope="module", autouse=True)
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("runner.data.cached_array.CHUNK_BYTES", CHUNK)
        patched.setattr("runner.data.cached_array.MIN_MAPPED_BYTES", 1)
        patched.setattr("runner.data.cache._BUFFER_BYTES", 20)
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cache") / NAME
    save_tree(path, [{"x": VALUES}])
    return path


def load(path: Path) -> CachedArray:
    array = load_tree(path)["x"]
    assert isinstance(array, CachedArray)
    return array


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 4
    file.write_bytes(content)


def test_of_many_large_arrays_only_some_are_open_files(tmp_path: Path) -> None:
    arrays = {str(number): np.arange(number + 1.0) for number in range(300)}
    save_tree(tmp_path / NAME, [arrays])
    tree = load_tree(tmp_path / NAME)
    assert sum(isinstance(array, CachedArray) for array in tree.values()) == 256
    for name, array in arrays.items():
        np.testing.assert_array_equal(tree[name], array)


@given(st.data())
def test_pieces_are_read_as_the_whole_that_they_are_pieces_of(data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from("abcd"), min_size=1))
    kinds = {name: data.draw(st.tuples(st.sampled_from(["u1", "<f4", "<f8", "?"]), st.booleans())) for name in names}
    width = data.draw(st.integers(0, 3))
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    pieces = []
    for rows in data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5)):
        piece: dict[str, Any] = {}
        for name, (dtype, is_ragged) in kinds.items():
            offsets = np.cumsum([0, *random.integers(0, 4, rows)])
            shape = (int(offsets[-1]) if is_ragged else rows, width)
            values = random.integers(0, 2, shape).astype(dtype)
            piece[name] = {"values": Ragged(values, offsets) if is_ragged else values}
        pieces.append(piece)
    with tempfile.TemporaryDirectory() as folder:
        save_tree(Path(folder, NAME), iter(pieces))
        found, whole = load_tree(Path(folder, NAME)), load_tree(Path(folder, NAME), whole=True)
    expected = join_pieces(pieces)
    for tree in (found, whole):
        jax.tree.map(np.testing.assert_array_equal, tree, expected)
        assert jax.tree.map(lambda array: array.dtype, tree) == jax.tree.map(lambda array: array.dtype, expected)


rows = st.integers(-ROWS, ROWS - 1)
slices = st.slices(ROWS)
row_arrays = st.lists(rows, max_size=8).map(lambda found: np.array(found, np.int32))
masks = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS).map(np.array)
row_indices = rows | slices | row_arrays | masks
indices = row_indices | st.tuples(row_indices, st.integers(0, 2)) | st.just(...) | st.just(())


@given(indices)
def test_an_index_gives_the_rows_that_it_gives_of_a_numpy_array(saved: Path, index: Any) -> None:
    array = load(saved)
    for _ in range(2):  # before and after the rows are checked
        np.testing.assert_array_equal(array[index], VALUES[index])


@given(indices, st.integers(0, VALUES.nbytes - 1))
def test_a_changed_byte_is_never_read(saved: Path, index: Any, position: int) -> None:
    path = saved.with_name("f" * 32)
    save_tree(path, [{"x": VALUES}])
    array = load(path)
    flip(path / "0.bin", position)
    try:
        np.testing.assert_array_equal(array[index], VALUES[index])
    except RunError:
        assert not path.exists()
    with pytest.raises(RunError, match="some of its bytes"):
        np.asarray(array)


@pytest.mark.parametrize("width", [3, 25])  # a row lies in one or two chunks, or in up to five
def test_all_chunks_of_a_row_are_checked(tmp_path: Path, width: int) -> None:
    values = VALUES.reshape(-1, width)
    for row in range(len(values)):
        for position in (row * width * 2, (row + 1) * width * 2 - 1):  # its first and its last byte
            for index in (np.array([row]), slice(row, row + 1), np.array([[row, 0]])):
                save_tree(tmp_path / NAME, [{"x": values}])
                array = load(tmp_path / NAME)
                flip(tmp_path / NAME / "0.bin", position)
                with pytest.raises(RunError):
                    array[index]


def test_a_row_outside_of_the_array_is_an_error(saved: Path) -> None:
    for index in (ROWS, np.array([0, ROWS]), np.array([-ROWS - 1])):
        with pytest.raises(IndexError):
            load(saved)[index]


def test_only_the_chunks_of_the_rows_are_checked(saved: Path, tmp_path: Path) -> None:
    save_tree(tmp_path / NAME, [{"x": VALUES}])
    array = load(tmp_path / NAME)
    flip(tmp_path / NAME / "0.bin", CHUNK * 3)  # rows 8 to 10
    np.testing.assert_array_equal(array[np.array([0, 40])], VALUES[[0, 40]])
    np.testing.assert_array_equal(array[:8], VALUES[:8])
    with pytest.raises(RunError, match=r"0\.bin is damaged: some of its bytes from 48 on have changed\. The same com"):
        array[np.array([0, 9])]


def test_an_array_works_with_the_functions_of_numpy(saved: Path) -> None:
    array = load(saved)
    assert (len(array), array.shape, array.ndim, array.size) == (ROWS, VALUES.shape, 2, VALUES.size)
    assert (array.dtype, array.nbytes) == (VALUES.dtype, VALUES.nbytes)
    np.testing.assert_array_equal(np.add(array, 1), VALUES + 1)
    np.testing.assert_array_equal(np.concatenate([array, array]), np.concatenate([VALUES, VALUES]))
    assert np.array(array, np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(array)[0] = 0


@pytest.mark.parametrize("size", [0, VALUES.nbytes - 1])
def test_a_file_that_is_cut_while_it_is_open_is_an_error(tmp_path: Path, size: int) -> None:
    save_tree(tmp_path / NAME, [{"x": VALUES}])
    array = load(tmp_path / NAME)
    np.testing.assert_array_equal(array, VALUES)
    os.truncate(tmp_path / NAME / "0.bin", size)
    for read in (lambda: array[0], lambda: np.asarray(array)):
        with pytest.raises(RunError, match=f"it has {size} bytes instead of 300"):
            read()


def test_an_entry_that_is_deleted_or_replaced_while_it_is_open_can_be_read(tmp_path: Path) -> None:
    save_tree(tmp_path / NAME, [{"x": VALUES}])
    array, damaged = load(tmp_path / NAME), load(tmp_path / NAME)
    damaged._checksums[0] += 1
    for file in (tmp_path / NAME).iterdir():
        file.unlink()
    np.testing.assert_array_equal(array, VALUES)
    save_tree(tmp_path / NAME, [{"x": VALUES}])
    with pytest.raises(RunError, match="damaged"):
        np.asarray(damaged)
    np.testing.assert_array_equal(load(tmp_path / NAME), VALUES)  # the damage of another file doesn't remove this one


def test_several_threads_may_check_the_same_chunks(saved: Path) -> None:
    array = load(saved)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda number: array[np.arange(number % 5, ROWS, 5)], range(40)):
            assert len(found) == 10
    assert not array._unchecked.any()


@pytest.mark.parametrize("way", ["device", "gather"])
def test_damaged_data_of_a_run_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    ragged = Ragged(VALUES.reshape(-1), np.arange(0, VALUES.size + 1, 3))
    tree = {"x": {"values": VALUES}} | ({"text": {"ids": ragged}} if way == "gather" else {})
    save_tree(tmp_path / NAME, [tree])
    for file in sorted((tmp_path / NAME).glob("[0-9]*.bin")):
        save_tree(tmp_path / NAME, [tree])
        data = Data(load_tree(tmp_path / NAME), {"train": np.arange(ROWS)}, {}, "", ())
        flip(file, 5)
        with pytest.raises(RunError, match=f"{file.name} is damaged"):
            next(iter(Batches(data).chunks(np.arange(ROWS), 5, 2)))
        assert not (tmp_path / NAME).exists()


def test_rows_are_gathered_from_the_disk_as_from_memory(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(0, 9, ROWS)
    offsets = np.cumsum([0, *lengths])
    tree = {"x": {"values": VALUES}, "text": {"ids": Ragged(np.arange(offsets[-1]), offsets)}}
    save_tree(tmp_path / NAME, [tree])
    chosen = np.random.default_rng(1).permutation(ROWS).astype(np.int32)
    found, expected = (gather_rows(encoded, chosen) for encoded in (load_tree(tmp_path / NAME), tree))
    np.testing.assert_array_equal(found["x"]["values"], expected["x"]["values"])
    for part in range(2):
        np.testing.assert_array_equal(found["text"]["ids"][part], expected["text"]["ids"][part])
