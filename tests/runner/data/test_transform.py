"""The transform of a run encodes new rows as in training, and needs neither the data nor most libraries."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfrecord_files import pack

from components.data import Arrays, TableFile
from components.image_files import encode_png
from components.types import DataError, Ragged, Strings, UserError
from runner import npz
from runner.data import transform
from runner.data.load import Data, Features, load_encoded

PART = "components.feature."
ROWS = 60
FEATURE: dict[str, Any] = {
    "target": {"_target_": PART + "Label", "key": "kind"},
    "columns": {
        "size": {"_target_": PART + "Numeric", "key": "area", "normalize": ["log1p", "z_score"], "missing": "median"},
        "robust": {"_target_": PART + "Numeric", "key": "area", "normalize": "robust", "per": "city", "missing": 0},
        "step": {"_target_": PART + "Bucketized", "key": "area", "quantiles": 4, "missing": 1},
        "city_id": {"_target_": PART + "Vocabulary", "key": "city", "min_count": 2, "oov": 2},
        "city_vector": {"_target_": PART + "Embedding", "key": "city_id", "dimension": 3},
        "hashed": {"_target_": PART + "Hashed", "key": "city", "buckets": 7, "salt": [1, 2]},
        "cross": {"_target_": PART + "Crossed", "keys": ["step", "city_id"], "buckets": 11},
        "axes": {"_target_": PART + "PrincipalComponents", "key": ["x", "y"], "components": 1},
        "hour": {"_target_": PART + "Time", "key": "time", "parts": ["hour"], "encoding": "cyclic"},
        "words": {"_target_": PART + "Tokens", "key": "text", "ngrams": 2},
        "word_ids": {"_target_": PART + "Vocabulary", "key": "words", "top": 5, "oov": 3},
        "bag": {"_target_": PART + "Indicator", "key": "word_ids", "mode": "tf_idf"},
    },
    "inputs": {
        "wide": ["cross", "hashed", "city_id"],
        "deep": ["size", "robust", "city_vector", "axes", "hour"],
        "text": ["bag"],
    },
}


def raw(rows: int = ROWS, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    times = np.datetime64("2020-01-01") + random.integers(0, 10**6, rows).astype("m8[s]")
    texts = [" ".join(random.choice(["Ä", "red", "blue", "日本", "a"], random.integers(0, 5))) for _ in range(rows)]
    return {
        "area": np.where(random.random(rows) < 0.1, np.nan, random.lognormal(3, 1, rows)),
        "city": random.choice(["Oslo", "Rome", "Kyiv", "東京"], rows),
        "x": random.normal(size=rows),
        "y": random.normal(size=rows),
        "time": times,
        "text": np.array(texts, object),
        "kind": np.arange(rows) % 2,
    }


@pytest.fixture(scope="module")
def data() -> Data:
    source = Arrays(columns=raw(), valid=10, test=10, stratify="kind")
    return load_encoded(source, Features.from_config(FEATURE), identity="", cache=None)


@pytest.fixture(scope="module")
def folder(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    transform.save_transform(path, FEATURE, data)
    return path


def leaves(arrays: Any) -> list[tuple[str, Any]]:
    return [
        (f"{name}/{key}", part)
        for name, parts in arrays.items()
        for key, array in parts.items()
        for part in (array if isinstance(array, Ragged) else (array,))
    ]


def test_a_saved_transform_encodes_rows_as_in_training(data: Data, folder: Path) -> None:
    found = transform.load_transform(folder)(raw())
    expected = {name: arrays for name, arrays in data.encoded.items() if name != "target"}
    assert list(found) == list(expected)
    for (name, array), (_, expected_array) in zip(leaves(found), leaves(expected), strict=True):
        assert array.dtype == expected_array.dtype, name
        np.testing.assert_array_equal(array, expected_array, err_msg=name)


def test_new_images_that_are_decoded_for_each_step_are_encoded_as_in_training(tmp_path: Path) -> None:
    image = {"_target_": PART + "Image", "key": "photo", "size": [2, 2], "decode": "step"}
    feature = {"target": FEATURE["target"], "columns": {"image": image}, "inputs": {"inputs": ["image"]}}
    photos = Strings.from_bytes([encode_png(np.full((2, 2, 3), number, np.uint8)) for number in range(10)])
    source = Arrays(columns={"photo": photos, "kind": np.arange(10) % 2}, valid=2, test=2)
    data = load_encoded(source, Features.from_config(feature), identity="", cache=None)
    transform.save_transform(tmp_path, feature, data)
    found = transform.load_transform(tmp_path)({"photo": photos})
    assert found["image"]["values"].shape == data.encoded["image"]["values"].shape == (10, 2, 2, 3)


def test_records_without_an_optional_feature_have_gaps(tmp_path: Path) -> None:
    columns = {
        "size": {"_target_": PART + "Numeric", "key": "size", "missing": "median"},
        "name": {"_target_": PART + "Vocabulary", "key": "name"},
        "x": {"_target_": PART + "Numeric", "key": "x"},
    }
    feature = {"target": {"_target_": PART + "Label", "key": "kind"}, "columns": columns, "inputs": {"a": [*columns]}}
    names = [[b"a"], [], [b"b"], [b"b"]] * 3
    sizes = [[1.0], [2.0], [], [5.0]] * 3
    kinds = ("int64", [[0], [1]] * 6)
    (tmp_path / "t").write_bytes(
        pack({"name": ("bytes", names), "size": ("float", sizes), "x": ("float", [[0.5]] * 12), "kind": kinds})
    )
    source: Any = TableFile(path=str(tmp_path / "t"), valid=3, test=3).open()
    transform.save_transform(
        tmp_path, feature, load_encoded(source, Features.from_config(feature), identity="", cache=None)
    )
    loaded = transform.load_transform(tmp_path)
    expected = loaded({"name": ["", ""], "size": [np.nan, np.nan], "x": [7.0, 8.0]})
    (tmp_path / "new").write_bytes(pack({"x": ("float", [[7.0], [8.0]])}))
    found = loaded(TableFile(path=str(tmp_path / "new")).open())
    for (name, array), (_, expected_array) in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_array_equal(array, expected_array, err_msg=name)
    (tmp_path / "new").write_bytes(pack({"size": ("float", [[7.0]])}))
    with pytest.raises(DataError, match="record 0: column `x` has no value"):
        loaded(TableFile(path=str(tmp_path / "new")).open())


def test_the_constants_of_a_transform_find_the_encoded_rows_in_the_cache(data: Data, folder: Path) -> None:
    source, features = Arrays(columns=raw(), valid=10, test=10, stratify="kind"), Features.from_config(FEATURE)
    constants = [None, data.constants, transform.load_transform(folder).constants]
    found = [load_encoded(source, features, identity="x", cache=None, constants=each).encoding_id for each in constants]
    assert len(set(found)) == 1


def test_rows_are_encoded_the_same_in_one_call_or_in_several(folder: Path) -> None:
    loaded, rows = transform.load_transform(folder), raw(40, seed=1)
    whole = dict(leaves(loaded(rows)))
    parts = [
        dict(leaves(loaded({key: values[cut] for key, values in rows.items()}))) for cut in (slice(7), slice(7, 40))
    ]
    for name in ("size/values", "cross/ids", "hashed/ids", "city_vector/ids", "axes/values"):
        matching = [key for key in whole if key.startswith(name.partition("/")[0])]
        for key in matching:
            np.testing.assert_array_equal(np.concatenate([part[key] for part in parts]), whole[key])


def test_a_transform_needs_neither_hydra_nor_mlflow_nor_arrow(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text(
        "import sys, json\n"
        "for name in ('hydra', 'omegaconf', 'mlflow', 'pyarrow', 'pandas', 'sklearn', 'optax', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import runner\n"
        f"transform = runner.load_transform({str(folder)!r})\n"
        "found = transform({'area': [1.0, 2.0], 'city': ['Oslo', 'x'], 'x': [0.0, 1.0], 'y': [0.0, 1.0],\n"
        "    'time': ['2020-01-01T10:00', '2020-01-01'], 'text': ['red A', '']})\n"
        "print(json.dumps({name: {key: getattr(array, 'values', array).tolist() for key, array in arrays.items()}\n"
        "    for name, arrays in found.items()}))\n"
    )
    completed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(completed.stdout)
    np.testing.assert_allclose(found["size"]["values"], np.log1p([[1.0], [2.0]]), rtol=1e-6)
    assert set(found) == {name for names in FEATURE["inputs"].values() for name in names}


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"city": None}, UserError, r"there is no column `city` in the new rows"),
        ({"x": np.array(["a"] * 3)}, DataError, r"row 0 of the new rows: column `x` is 'a'; a number is needed"),
        ({"city": np.arange(3)}, DataError, r"column `city` of the new rows has whole numbers"),
        ({"x": np.zeros((3, 2))}, DataError, "x, y of the new rows: .* 3 numbers in each row; in training .* were 2"),
        ({"area": np.zeros((3, 2))}, DataError, "`area` of the new rows has 2 numbers in each row, not"),
    ],
)
def test_wrong_rows_are_an_error(folder: Path, changes: dict[str, Any], kind: type, message: str) -> None:
    rows = {key: values for key, values in (raw(3) | changes).items() if values is not None}
    with pytest.raises(kind, match=message):
        transform.load_transform(folder)(rows)


def test_a_missing_file_or_another_version_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no"):
        transform.load_transform(tmp_path)
    meta, arrays, _ = npz.read(folder / transform.FILE)
    npz.write(tmp_path / transform.FILE, arrays, meta | {"version": 1})
    with pytest.raises(UserError, match=r"has version 1\. This Titrate reads versions 2 and 3"):
        transform.load_transform(tmp_path)


def change_contents(meta: dict[str, Any], arrays: dict[str, Any], change: str) -> None:
    """Changes the contents of a transform, which is then saved with a digest that fits them."""
    match change:
        case "a list of columns":
            meta["columns"] = []
        case "no features":
            del meta["feature"]
        case "a number of features":
            meta["feature"] = 3
        case "a layout with an unknown dtype":
            next(iter(meta["forms"].values()))["ids"] = ["float33", [], False]
        case "a third side":
            arrays["size/sideways/mean"] = np.zeros(1)
        case "an array of an unknown column":
            arrays["nobody/host/mean"] = np.zeros(1)
        case "a missing column":
            del meta["columns"]["hour"]


@pytest.mark.parametrize(
    "change",
    [
        *("a list of columns", "no features", "a number of features", "a layout with an unknown dtype", "a third side"),
        *("an array of an unknown column", "a missing column"),
    ],
)
def test_a_file_with_the_contents_of_no_transform_is_an_error(folder: Path, tmp_path: Path, change: str) -> None:
    meta, arrays, _ = npz.read(folder / transform.FILE)
    change_contents(meta, arrays, change)
    npz.write(tmp_path / transform.FILE, arrays, meta)
    with pytest.raises(UserError, match=r"transform\.npz is not a transform"):
        transform.load_transform(tmp_path)


def test_the_error_for_a_damaged_file_describes_the_damage(folder: Path, tmp_path: Path) -> None:
    (tmp_path / transform.FILE).write_bytes((folder / transform.FILE).read_bytes()[:1000])
    with pytest.raises(UserError, match=r"transform\.npz can't be read: it is not an npz file, or its end is missing"):
        transform.load_transform(tmp_path)
