"""NumPy's files: types, orders and parts there and back, block by block, and every way in which a file can be wrong."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.data import NumpyFiles
from components.data import table as table_module
from components.types import DataError

RNG = np.random.default_rng(0)
X, Y = RNG.random((7, 3), np.float32), np.arange(7) % 2


def read(source: NumpyFiles, part: str = "all") -> dict[str, np.ndarray]:
    """All rows of a part."""
    blocks: list[Any] = [block.columns for block in source.blocks(part)]
    assert all(column.dtype.isnative for block in blocks for column in block.values())
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def open_npz(path: Path, options: dict[str, Any] | None = None, **arrays: Any) -> NumpyFiles:
    np.savez(path, **arrays)
    return NumpyFiles(path=str(path), valid=1, test=1, **(options or {}))


DTYPES = ["?", "i1", "<u2", ">i4", "<i8", "f2", ">f4", "<f8", "<U3", ">U2", "M8[D]", ">M8[ns]"]


@pytest.mark.parametrize("save", ["npy", "savez", "savez_compressed"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), dtype=st.sampled_from(DTYPES), block_bytes=st.integers(1, 64))
def test_any_array_comes_back_in_native_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: str, data: st.DataObject, dtype: str, block_bytes: int
) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))
    array = data.draw(hnp.arrays(np.dtype(dtype), shape))
    array = np.asarray(array, order=data.draw(st.sampled_from("CF")))
    path = tmp_path / ("a.npy" if save == "npy" else "a.npz")
    np.save(path, array) if save == "npy" else getattr(np, save)(path, a=array)
    for module in (table_module, sys.modules["components.data.numpy_files"]):
        monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    source = NumpyFiles(path=str(path))
    for _ in range(2):  # the second pass starts at the first row again
        found = read(source)["a"]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")
    if array.ndim == 1:
        np.testing.assert_array_equal(np.asarray(next(source.key_columns())[0]["a"]), array)


def test_texts_of_bytes_are_decoded(tmp_path: Path) -> None:
    source = open_npz(tmp_path / "a.npz", a=np.array(["é".encode(), b"b"]), y=[1, 2])
    assert read(source)["a"].tolist() == ["é", "b"]
    with pytest.raises(DataError, match=r"row 1 of a.npy of .*a.npz is no text in UTF-8: .*b'\\xe9'"):
        read(open_npz(tmp_path / "a.npz", a=np.array([b"a", "é".encode("latin1")])))


def test_a_structured_array_has_a_column_for_each_field(tmp_path: Path) -> None:
    rows = np.array([(1, 2.5, (1, 2)), (3, 4.5, (3, 4))], [("id", ">i4"), ("x", "f8"), ("pair", "u1", 2)])
    np.save(tmp_path / "rows.npy", rows)
    found = read(NumpyFiles(path=str(tmp_path / "rows.npy")))
    assert {name: column.tolist() for name, column in found.items()} == {
        "id": [1, 3],
        "x": [2.5, 4.5],
        "pair": [[1, 2], [3, 4]],
    }


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("x_train", "y_train", "x_test", "y_test"), {"train": ("x", "y"), "test": ("x", "y")}),
        (
            ("train_images", "val_images", "test_images"),
            {"train": ("images",), "valid": ("images",), "test": ("images",)},
        ),
        (("x", "is_test"), {"all": ("x", "is_test")}),
    ],
)
def test_names_are_parts(tmp_path: Path, names: tuple[str, ...], parts: dict[str, tuple[str, ...]]) -> None:
    source = open_npz(tmp_path / "a.npz", **{name: np.full(2, number) for number, name in enumerate(names)})
    assert {part: tuple(columns) for part, columns in source.columns_by_part.items()} == parts
    assert source.sizes() == dict.fromkeys(parts, 2)


def test_a_folder_and_a_mapping_of_files_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    (tmp_path / "readme.txt").touch()
    mapping = {"x": str(tmp_path / "x.npy"), "y": str(tmp_path / "y.npy")}
    for path in (str(tmp_path), mapping):
        found = read(NumpyFiles(path=path))
        np.testing.assert_array_equal(found["x"], X)
        np.testing.assert_array_equal(found["y"], Y)
    sources = [NumpyFiles(path=path, stratify="y", seed=0) for path in (str(tmp_path), mapping)]
    assert sources[0].fingerprint() == sources[1].fingerprint()
    assert sources[0].splits()["train"].tolist() == sources[1].splits()["train"].tolist()


def test_columns_that_decide_about_splits_are_read_whole(tmp_path: Path) -> None:
    source = open_npz(tmp_path / "a.npz", {"classes": (1,), "target": "y"}, x=X, y=Y)
    assert sorted(np.concatenate([*source.splits().values()])) == [1, 3, 5]
    with pytest.raises(DataError, match=r"`group` \(=x\) must be a column with one value in each row"):
        open_npz(tmp_path / "a.npz", {"group": "x"}, x=X, y=Y).splits()


OBJECTS = np.array([1, "a"], object)
BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "objects": ({"a": OBJECTS}, r"`a` in a.npy of .* has Python objects.*array.astype\(str\)"),
    "objects in a field": ({"a": np.zeros(2, [("x", "f4"), ("o", "O")])}, "`x` in a.npy of .* has Python objects"),
    "a single value": (
        {"x": X, "a": np.array(3)},
        "`a` in .* is a single value, not an array of rows. Set `columns` to leave it out",
    ),
    "complex": ({"a": np.zeros(2, complex)}, "`a` in .* has values of the type complex128. Allowed are bool"),
    "long floats": ({"a": np.zeros(2, np.longdouble)}, "has values of the type float128. Allowed are bool"),
    "time differences": ({"a": np.zeros(2, "m8[s]")}, "has values of the type timedelta64"),
    "nested": ({"a": np.zeros(2, [("x", [("y", "f4")])])}, "`x` in a.npy of .* has fields within a field"),
    "lengths": (
        {"x": X, "y": Y[:5]},
        "must have the same number of rows, got x 7, y 5. Set `columns` to choose arrays",
    ),
    "a field twice": (
        {"x": X, "a": np.zeros(7, [("x", "f4")])},
        "has two columns x: an array, and a field. Rename one",
    ),
    "no part": ({"x_train": X, "z": X}, "has `x_train` of the part train, but `z` of no part. Rename it to z_train"),
    "a part twice": ({"x_train": X, "train_x": X}, "has two columns x in the part train; rename one"),
    "a part without": ({"x_train": X, "y_train": Y, "x_test": X}, "has no `y` in the part test, only x. Add it"),
    "other shapes": (
        {"x_train": X, "x_test": Y},
        "`x` of .* must have rows of one kind in all parts, got train float32",
    ),
    "other scales": (
        {"x_train": np.zeros((3, 3), np.uint8), "x_test": X},
        "`x` of .* has unsigned integers in one part and floats in another, got train uint8, test float32",
    ),
    "nothing": ({}, "a.npz has no arrays"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_wrong_array_is_an_error(tmp_path: Path, name: str) -> None:
    arrays, message = BAD_ARRAYS[name]
    with pytest.raises(DataError, match=message):
        open_npz(tmp_path / "a.npz", **arrays).sizes()


def test_columns_are_chosen(tmp_path: Path) -> None:
    arrays = {"x_train": X, "x_test": X, "extra": np.array(3), "o": OBJECTS}
    assert open_npz(tmp_path / "a.npz", {"columns": ("x",)}, **arrays).sizes() == {"train": 7, "test": 7}
    with pytest.raises(DataError, match=r"`columns` lists extr, but .* has no such array. Did you mean `?extra"):
        open_npz(tmp_path / "a.npz", {"columns": ("extr",)}, **arrays).sizes()


def cut(path: Path, content: bytes) -> None:
    path.write_bytes(content[:-3])


def damage_header(path: Path, content: bytes) -> None:
    path.write_bytes(content.replace(b"'shape'", b"'shame'"))


def append(path: Path, content: bytes) -> None:
    path.write_bytes(content + b"!")


def replace_by_text(path: Path, content: bytes) -> None:
    path.write_text("a,b\n1,2\n")


def huge(path: Path, content: bytes) -> None:
    path.write_bytes(content.replace(b"(7,)", b"(7000000000,)", 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"y.npy is truncated after 53 bytes of data, where its header specifies 56, int64 \(7,\); copy or save"),
        (append, r"y.npy has 57 bytes of data, where its header specifies 56, int64 \(7,\); a file may hold one array"),
        (damage_header, "y.npy can't be read: .*shame"),
        (replace_by_text, "y.npy is no file of NumPy: it starts with 61 2c 62 .*np.save or np.savez"),
        (huge, "y.npy (is truncated|can't be read)"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, damage: Callable[[Path, bytes], None], message: str) -> None:
    np.save(tmp_path / "y.npy", Y)
    damage(tmp_path / "y.npy", (tmp_path / "y.npy").read_bytes())
    with pytest.raises(DataError, match=message):
        read(NumpyFiles(path=str(tmp_path / "y.npy")))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_byte_of_an_archive_is_an_error_or_changes_nothing(
    tmp_path: Path, save: Callable[..., None], data: st.DataObject
) -> None:
    save(tmp_path / "a.npz", x=X, f=np.asfortranarray(X))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "b.npz").write_bytes(content)
    try:
        found = read(NumpyFiles(path=str(tmp_path / "b.npz")))
    except DataError:
        return
    for array in found.values():  # names and dates may differ
        np.testing.assert_array_equal(array, X)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_changed_number_of_an_archive_does_not_match_its_checksum(
    tmp_path: Path, save: Callable[..., None], order: Any
) -> None:
    save(tmp_path / "a.npz", x=np.asarray(X, order=order))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\1\2") - 12] ^= 1  # near the end of the numbers
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x.npy of .*a.npz can't be read: .*(CRC|decompressing)"):
        read(NumpyFiles(path=str(tmp_path / "a.npz")))


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "y.npy", Y)
    source = NumpyFiles(path=str(tmp_path / "y.npy"))
    assert source.sizes() == {"all": 7}
    np.save(tmp_path / "y.npy", Y[:5])
    with pytest.raises(
        DataError, match=r"y.npy can't be read: it was changed since the data was first read; run again"
    ):
        read(source)


def test_other_archives_and_empty_folders_are_errors(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("table.csv", "a,b")
    with pytest.raises(DataError, match=r"a.npz has the file 'table.csv', which is no array; save arrays by np.savez"):
        NumpyFiles(path=str(tmp_path / "a.npz")).sizes()
    with pytest.raises(DataError, match=r"has no .npy file. Set `path` to one of its files, such as .*/a.npz"):
        NumpyFiles(path=str(tmp_path)).sizes()
    with pytest.raises(DataError, match="`path` is an empty mapping"):
        NumpyFiles(path={}).sizes()


def test_an_array_in_fortran_order_is_limited(tmp_path: Path) -> None:
    source = open_npz(tmp_path / "a.npz", {"max_unpacked_gb": 1e-9}, a=np.asfortranarray(X))
    with pytest.raises(DataError, match=r"a.npy of .* in Fortran order .* `max_unpacked_gb` \(=1e-09\)"):
        read(source)


def test_images_and_labels_have_a_profile(tmp_path: Path) -> None:
    images = np.zeros((7, 4, 5), np.uint8)
    parts = {"x_train": images, "y_train": Y, "x_test": images[:2], "y_test": Y[:2]}
    source = open_npz(tmp_path / "a.npz", **parts)
    profile = source.profile()
    assert profile.target == "y"
    assert profile.images[0].shapes == {(4, 5, 1): 7}
    assert (profile.columns[0].kind, profile.columns[0].distinct_count) == ("string", 2)
    with pytest.raises(DataError, match=r"nothing is inferred from .*, which has x float32 \(7, 3\), y int64 \(7,\)"):
        open_npz(tmp_path / "a.npz", x=X, y=Y).profile()
    examples = {
        "Label, key: y}": {"x": X, "y": Y},
        "Numeric, key: y, normalize: z_score}": {"x": X, "y": Y * 0.5},
        "If y is one-hot, save the numbers of the classes instead, y.argmax": {"x": X, "y": np.eye(7, dtype="f4")},
        "save x.reshape": {"x": images / 2, "y": Y},
        "{x: {_target_: components.feature.Image, key: x}}": {"x": images, "y": Y * 0.5},
    }
    for example, arrays in examples.items():
        with pytest.raises(DataError, match=re.escape(example)):
            open_npz(tmp_path / "a.npz", **arrays).profile()
    for other in (Y * 0.5, np.arange(7)):
        with pytest.raises(DataError, match=r"nothing is inferred from .*images.*and the class of each"):
            open_npz(tmp_path / "a.npz", x=images, y=other).profile()
    with pytest.raises(DataError, match=r"`target` is missing. Set it to the column to predict. .*: a, b"):
        open_npz(tmp_path / "a.npz", a=X, b=Y).profile()


PEAK = """
import resource, sys
from components.data import NumpyFiles
source = NumpyFiles(path=sys.argv[1])
source.sizes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(len(block.columns["x"]) for block in source.blocks("all"))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_an_array_larger_than_the_memory_is_read_block_by_block(tmp_path: Path, name: str) -> None:
    rows, path = 400_000, tmp_path / name
    if name == "x.npy":  # a sparse file of 4 GB
        np.lib.format.open_memmap(path, "w+", np.float32, (rows, 2500)).flush()
    else:  # 0.4 GB
        rows //= 10
        np.savez_compressed(path, x=np.zeros((rows, 2500), np.float32))
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    found, peak = map(int, done.stdout.split())
    assert found == rows
    assert peak < 60_000  # KB


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    first = open_npz(tmp_path / "a.npz", x=X).fingerprint()
    assert open_npz(tmp_path / "b.npz", x=X).fingerprint() == first
    assert open_npz(tmp_path / "a.npz", x=X + 1).fingerprint() != first
    assert re.match(r"[0-9a-f]{32}, ", first)
