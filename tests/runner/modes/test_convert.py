"""`mode=convert` writes any source into files that are read with the same values, atomically and resumably."""

import errno
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pyarrow import parquet

from components.data import Csv, Idx, write_idx
from components.data.writing import formats
from components.feature import Image, Label
from components.types import Strings
from runner.__main__ import main
from runner.config.compose import compose
from runner.data.load import Features, load_encoded
from runner.modes.convert import writing
from runner.signature.build import build_source

CSV = "id,code,price,when,kind,new\n" + "".join(
    f"{row},{row:03},{row / 4},2024-01-{row + 1:02}T00:00:00Z,{'ab'[row % 2]},{'true' if row % 3 else 'false'}\n"
    if row % 5
    else f"{row},,,,,\n"
    for row in range(20)
)
WORDS = ("data=csv", "data.path=table.csv", "mode=convert", "quiet=true")


@pytest.fixture(autouse=True)
def table(in_empty_folder: Path) -> None:
    Path("table.csv").write_text(CSV)


def convert(*words: str) -> int:
    return main([*WORDS, *words])


def read_back(output: str) -> Any:
    """The source that the last line of the output describes."""
    (line,) = re.findall(r"Read it with: titrate (.*)", output)
    return build_source(compose([*shlex.split(line), "feature=image"]).values["data"])


def read_files(folder: str) -> dict[str, bytes]:
    """The files of a folder without the manifest."""
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if not path.name.startswith(".")}


def read_ids(folder: str) -> list[int]:
    source: Any = build_source({"_target_": "components.data.TableFile", "path": folder})
    return [*source.table.values["id"].tolist()]


@pytest.mark.parametrize(
    "words",
    [
        ["output=t.csv"],
        ["output=t.csv.gz"],
        ["output=t.parquet"],
        ["output=t.tfrecord.gz", "convert.float64=text"],
        ["output=t/", "convert.format=tfrecord", "convert.compression=zlib", "convert.shards=3"],
        ["output=t", "convert.format=parquet", "convert.shards=7"],
        ["output=t", "convert.format=csv", "convert.compression=gzip", "convert.shards=3"],
    ],
)
def test_the_last_line_reads_the_values_of_the_source(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("quiet=false", "data.target=price", *words) == 0
    output = capsys.readouterr().out
    assert re.search(r"^t.*: 20 rows, [\d,]+ bytes, digest [0-9a-f]{32}$", output, re.MULTILINE)
    assert "data.target=price" in output
    found, source = read_back(output), Csv(path="table.csv")
    for name, values in source.table.values.items():
        assert_array_equal(found.table.valid.get(name, True), source.table.valid.get(name, True))
        assert found.table.types[name] == source.table.types[name]
        if isinstance(values, Strings):
            assert found.table.values[name].tolist() == values.tolist()
        else:
            assert_array_equal(found.table.values[name], values)
    assert found.times_with_zone() == ["when"]


@pytest.mark.parametrize("words", [["convert.tensors=true"], ["convert.records=raw"]])
def test_the_last_line_reads_tensors_and_raw_records(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {"x": np.full((4, 2), 1 / 3), "y": np.arange(4)}
    np.savez("arrays.npz", **arrays)
    Path("words.csv").write_text("word\n001\nb\n")
    is_raw = "convert.records=raw" in words
    data = ["data=csv", "data.path=words.csv"] if is_raw else ["data=npz", "data.path=arrays.npz"]
    assert main([*data, "mode=convert", "output=t.tfrecord", *words]) == 0
    found = read_back(capsys.readouterr().out)
    if is_raw:
        assert found.table.values["record"].tolist() == ["001", "b"]
    else:
        (block,) = found.blocks("all")
        assert_array_equal(block.columns["x"], arrays["x"])


def test_the_last_line_reads_converted_images_by_the_names_of_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("images.npz", x=np.zeros((12, 4, 3), np.uint8), y=np.arange(12) % 2)
    assert main(["data=npz", "data.path=images.npz", "mode=convert", "data.target=y", "output=t.parquet"]) == 0
    (line,) = re.findall(r"Read it with: titrate (.*)", capsys.readouterr().out)
    assert line == "data=table data.path=t.parquet feature=image feature.columns.image.key=x feature.target.key=y"
    config = compose([*shlex.split(line)]).values
    source: Any = build_source(config["data"])
    data = load_encoded(source, Features.from_config(config["feature"]), identity="", cache=None)
    assert {name: {*arrays} for name, arrays in data.encoded.items()} == {"image": {"values"}, "target": {"ids"}}


def test_the_last_line_has_the_length_of_lists_that_all_have_one(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"num": [row, 2.0], "items": [1] * (row % 3)} for row in range(9)]
    Path("t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["data=table", "data.path=t.jsonl", "mode=convert", "output=t.tfrecord"]) == 0
    output = capsys.readouterr().out
    assert "'data.shapes.num=[2]' 'data.shapes.items=[null]'" in output
    assert read_back(output).table.values["num"].tolist() == [row["num"] for row in rows]


def test_options_that_change_nothing_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("arrays.npz", x=np.arange(4), y=np.arange(4))
    words = ["data=npz", "data.path=arrays.npz", "mode=convert", "output=t.tfrecord"]
    assert main([*words, "convert.tensors=true", "convert.float64=round"]) == 0
    printed = capsys.readouterr().out
    assert (
        "note: convert.tensors=true changes nothing: it serializes arrays and lists as tensors, and no col" in printed
    )
    assert "note: convert.float64=round changes nothing: no column has numbers of float64" in printed


@pytest.mark.parametrize("values", [np.full(4, 1 / 3), np.full((4, 2), 1 / 3)])
def test_rounded_columns_are_noted(values: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("arrays.npz", x=values, y=np.arange(4))
    words = ["data=npz", "data.path=arrays.npz", "mode=convert", "output=t.tfrecord"]
    assert main([*words, "convert.float64=round"]) == 0
    assert "note: the numbers of x are written as float32" in capsys.readouterr().out


def test_rows_are_those_of_splits_in_order_or_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("convert.format=parquet", "convert.shards=3", "data.seed=null", "data.valid=4", "data.test=6")
    assert convert("output=all", *words) == 0
    assert read_ids("all") == [*range(20)]
    assert [*read_files("all")] == [f"part-0000{index}-of-00003.parquet" for index in range(3)]
    assert convert("output=some", "convert.split=[valid,train]", *words) == 0
    assert read_ids("some") == [*range(14)]
    assert convert("output=test", "convert.split=test", "data.drop=[code]", *words) == 0
    assert read_ids("test") == [*range(14, 20)]
    assert convert("output=shuffled", "convert.shuffle=true", "seed=3", *words) == 0
    assert read_ids("shuffled") == np.random.default_rng(3).permutation(20).tolist()
    monkeypatch.setattr(writing, "MAX_SHUFFLED_BYTES", 1)  # a pass for each file
    assert convert("output=passes", "convert.shuffle=true", "seed=3", *words) == 0
    assert read_files("passes") == read_files("shuffled")
    assert convert("output=one.parquet", "convert.shuffle=true", "seed=3", *words[2:]) == 0
    assert read_ids("one.parquet") == read_ids("shuffled")


@pytest.mark.parametrize("words", [["convert.shuffle=true"], []], ids=["shuffled", "in order"])
@pytest.mark.parametrize("kind", ["parquet", "tfrecord"])
def test_a_stopped_conversion_is_resumed_to_the_byte(
    words: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words, f"convert.format={kind}", "convert.shards=4"]
    assert convert("output=whole", *words) == 0
    with stop_after(2, KeyboardInterrupt()):
        assert convert("output=resumed", *words) == 130
    stopped = "stopped; 10 of 20 rows are kept, in complete files. Write the same command again to"
    assert f"resumed: {stopped} continue with the missing files." in capsys.readouterr().err
    with stop_after(0, KeyboardInterrupt()):
        assert convert("output=one.parquet", *words[:-2], "convert.format=null") == 130
    stopped = "one.parquet: stopped; no rows are kept. Write the same command again to start from the first row."
    assert stopped in capsys.readouterr().err
    first = read_files("resumed")
    assert len(first) == 2
    times = {name: Path("resumed", name).stat().st_mtime_ns for name in first}
    Path("resumed", ".part-00003.1.tmp").touch()  # of a killed process
    assert convert("output=resumed", "quiet=false", *words) == 0
    output = capsys.readouterr().out
    assert "resumed: 2 of 4 files are there already" in output
    assert {name: Path("resumed", name).stat().st_mtime_ns for name in first} == times
    assert read_files("resumed") == read_files("whole")
    assert json.loads(Path("resumed/.convert.json").read_text()) == json.loads(Path("whole/.convert.json").read_text())
    assert not [*Path("resumed").glob("*.tmp"), *Path("resumed").glob(".*.tmp")]
    changed = Path("resumed", "part-00001-of-00004." + kind)
    content = changed.read_bytes()
    for damage in (changed.unlink, lambda: changed.write_bytes(content[:-1] + b"!"), lambda: changed.write_bytes(b"")):
        damage()
        assert convert("output=resumed", *words) == 0
        assert read_files("resumed") == read_files("whole")


@contextmanager
def stop_after(count: int, error: BaseException) -> Iterator[None]:
    """Lets the file after `count` files fail, when a part of it was written."""
    write: Callable[..., None] = formats.write_tables
    calls = iter(range(count + 1))

    def write_some(file: Any, tables: Iterable[Any], *options: Any) -> None:
        is_last = next(calls) == count
        write(file, tables, *options)
        if is_last:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "write_tables", write_some)
        yield


def test_a_full_disk_leaves_nothing_incomplete(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    words = ("convert.format=parquet", "convert.shards=4")
    with stop_after(1, full):
        assert convert("output=t", *words) == 1
    error = capsys.readouterr().err
    assert error.startswith("t/part-00001-of-00004.parquet: No space left on device, after 10 of 20 rows. About")
    assert "more are needed for the other rows. Nothing incomplete was left." in error
    assert [*read_files("t")] == ["part-00000-of-00004.parquet"]
    assert not [*Path("t").glob(".part*")]
    assert convert("output=t", *words) == 0

    def fail(self: Any, data: bytes) -> int:
        raise full

    monkeypatch.setattr(formats.DigestFile, "write", fail)
    for output in ("x.csv", "x.csv.gz", "x.tfrecord", "x.parquet"):
        assert convert(f"output={output}", "data.drop=[price]") == 1
        assert capsys.readouterr().err.startswith(f"{output}: No space left on device, after 0 of 20 rows. Nothing")
    assert {path.name for path in Path().iterdir()} == {"table.csv", "t"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "output: is missing from the command line. Set it to the .csv, .parquet or .tfrecord file, or the folder"),
        (["output=t.xls"], "output=t.xls is no file of a known format (.xls)."),
        (["output=t"], "output=t is a folder. For a folder, set convert.format=csv, parquet, tfrecord or images."),
        (["output=t.csv", "convert.format=parquet"], "convert.format=parquet contradicts the suffix of output=t.csv."),
        (["output=t.csv", "convert.shards=2"], "convert.shards=2 needs a folder: write output=t/"),
        (["output=t/", "convert.format=csv", "convert.shards=21"], "convert.shards=21 is more than the 20 rows."),
        (["output=t/", "convert.format=images", "convert.shards=2"], "convert.shards=2 has no meaning for folders of"),
        (["output=t/", "convert.format=images"], "convert.format=images: the data has no column of images."),
        (["output=t.csv", "convert.compression=zstd"], "none of convert.format=csv. Allowed are gzip, none."),
        (["output=t.csv.gz", "convert.compression=none"], "convert.compression=none contradicts the suffix"),
        (
            ["output=t.csv", "convert.float64=text"],
            "convert.float64=text is for TFRecord files, not for csv. Leave",
        ),
        (
            ["output=t.csv", "convert.tensors=true", "convert.records=raw"],
            "convert.records=raw and convert.tensors=true are for TFRecord files, not for csv. Leave them out.",
        ),
        (["output=t.parquet", "convert.records=raw"], "convert.records=raw is for TFRecord files, not for parquet."),
        (
            ["output=t.tfrecord", "convert.records=raw", "convert.tensors=true"],
            "convert.tensors=true is for Examples, which convert.records=raw doesn't write. Leave it out.",
        ),
        (["output=t.tfrecord", "convert.records=raw"], "To write `code`, set 'output.columns=[\"code\"]'."),
        (
            ["output=t.tfrecord", "convert.records=raw", "output.columns=[id]"],
            "the only column, `id`, has values of int64. To write Examples, leave out convert.records.",
        ),
        (
            ["output=t.tfrecord", "convert.records=raw", "data=npz", "data.path=m.npz"],
            "the only column, `m`, has arrays of float64 of shape [3, 2]. To write Examples, leave out "
            "convert.records, and set convert.tensors=true to keep their type.",
        ),
        (["output=t.csv", "data=npz", "data.path=m.npz"], "leave the column out: set output.columns to the others."),
        (["output=table.csv"], "output=table.csv exists already. Remove it, choose another name, or replace it"),
        (["output=kind=1/t.csv"], "output=kind=1/t.csv is in a folder named kind=…, which would be a column, and the"),
        (["output=kind=1/", "convert.format=csv"], "output=kind=1/ is in a folder named kind=…"),
        (["output=no/t.csv"], "output=no/t.csv: there is no folder no. Create it, or choose another one."),
        (["output=table.csv/", "convert.format=csv"], "output=table.csv/ is a file, and no folder."),
        (["output=folder.csv"], "output=folder.csv is a folder. Choose another name, or write output=folder.csv/"),
        (["output=other/", "convert.format=csv"], "output=other/ exists already, with other files such as a.txt."),
        (["output=other/", "convert.format=images"], "output=other/ exists already. Choose another name, or remove"),
        (["output=t.csv", "output.columns=[idd]"], "output.columns: there is no column `idd`. Did you mean id?"),
        (["output=t.csv", "output.columns=[id,id]"], "output.columns lists id twice. Leave one out."),
        (["output=t.csv", "output.columns=[]"], "output.columns=[] is empty. List the columns to write, or leave it"),
        (["output=table.csv", "output.overwrite=true"], "output=table.csv is or has the data that is read."),
        (["output=t.tfrecord"], "set convert.float64=round; to write texts"),
        (
            ["output=t.tfrecord", "data=npz", "data.path=m.npz", "convert.float64=text"],
            "To round them, set convert.float64=round; to keep all digits of arrays and lists, set "
            "convert.tensors=true.",
        ),
        (["output=t.csv", "convert.split=tset"], "convert.split"),
        (["output=t.csv", "mode=train", "convert.shards=2"], "convert.shards: is allowed for mode=convert only."),
        (["output=t.csv", "data.path=no.csv"], "no.csv"),
    ],
)
def test_wrong_settings_are_errors_and_write_nothing(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("folder.csv", "kind=1"):
        Path(folder).mkdir()
    Path("other").mkdir()
    Path("other/a.txt").touch()
    Path("table.csv").write_text(CSV.replace("1.5", "1.1"))
    np.savez("m.npz", m=np.full((4, 3, 2), 1 / 3))
    before = {*Path().rglob("*")}
    assert convert(*words) == 2
    assert message in capsys.readouterr().err
    assert {*Path().rglob("*")} == before


def test_a_folder_of_another_conversion_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("output=t", "convert.format=parquet", "convert.shards=2")
    assert convert(*words) == 0
    assert convert(*words, "convert.shards=3", "convert.shuffle=true") == 2
    error = capsys.readouterr().err
    assert "convert.shards was 2 and is 3, convert.shuffle was False and is True, seed was None and is 0" in error
    Path("table.csv").write_text(CSV + "20,020,1.5,,b,\n")
    assert convert(*words) == 2
    assert "output=t has the files of another command: other data." in capsys.readouterr().err
    assert main(["mode=convert", "data=table", "data.path=t", *words, "output.overwrite=true"]) == 2
    assert "output=t is or has the data that is read." in capsys.readouterr().err
    assert convert(*words, "convert.shards=3", "output.overwrite=true") == 0
    assert [*read_files("t")] == [f"part-0000{index}-of-00003.parquet" for index in range(3)]
    assert len(read_ids("t")) == 21


def write_images() -> Idx:
    """Twenty images as IDX files, and their source."""
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        write_idx(f"{part}-images", random.integers(0, 256, (20, 4, 3), np.uint8))
        write_idx(f"{part}-labels", (np.arange(20) % 3).astype(np.uint8))
    return Idx(
        path=".", train=("train-images", "train-labels"), test=("test-images", "test-labels"), valid=5, seed=None
    )


def convert_images(*words: str) -> int:
    names = "data.train=[train-images,train-labels] data.test=[test-images,test-labels] data.valid=5 data.seed=null"
    return main(["mode=convert", "data=mnist", "quiet=true", "data.path=.", *names.split(), *words])


def test_images_in_tfrecord_shards_are_encoded_as_those_of_idx_files() -> None:
    source = write_images()
    words = ("convert.format=tfrecord", "convert.compression=gzip")
    assert convert_images("output=train/", "convert.split=[train,valid]", "convert.shards=3", *words) == 0
    assert convert_images("output=test/", "convert.split=test", *words) == 0
    written = build_source(
        {"_target_": "components.data.TableFile", "path": "train", "test": "test", "valid": 5, "seed": None}
    )
    features = Features({"target": Label(key="label")}, {"image": Image(key="image")}, {"image": ("image",)})
    found, expected = (load_encoded(each, features, identity="", cache=None) for each in (written, source))
    assert {name: rows.tolist() for name, rows in found.splits.items()} == {
        name: rows.tolist() for name, rows in expected.splits.items()
    }
    jax.tree.map(assert_array_equal, dict(found.encoded), dict(expected.encoded))
    constants = [{name: each._asdict() for name, each in data.constants.items()} for data in (found, expected)]
    jax.tree.map(assert_array_equal, *constants)


def test_images_are_written_into_folders(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_images()
    assert convert_images("output=images/", "convert.format=images", "convert.split=test", "quiet=false") == 0
    assert "Read it with: titrate data=images data.path=images" in capsys.readouterr().out
    assert sorted(path.name for path in Path("images").iterdir()) == ["0", "1", "2"]
    assert len([*Path("images").rglob("*.png")]) == source.sizes()["test"]
    assert convert_images("output=images/", "convert.format=images") == 2
    assert "output=images/ exists already." in capsys.readouterr().err


def test_output_columns_are_those_to_write_of_any_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("output=t.csv", "output.columns=[kind,id]", "data.target=price", "quiet=false") == 0
    printed = capsys.readouterr().out
    assert printed.endswith("Read it with: titrate data=table data.path=t.csv\n")  # the target isn't there
    assert Path("t.csv").read_text().startswith('"kind","id"\n,0\n"b",1\n')
    source = write_images()
    assert convert_images("output=raw.tfrecord", "convert.records=raw", "output.columns=[image]") == 0
    raw: Any = build_source({"_target_": "components.data.TableFile", "path": "raw.tfrecord", "records": "raw"})
    assert raw.sizes()["all"] == sum(source.sizes().values())


def test_a_folder_written_with_other_columns_is_another_conversion(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("output=t", "convert.format=csv")
    assert convert(*words, "output.columns=[id]") == 0
    assert convert(*words) == 2
    assert "of another command: output.columns was ['id'] and is None." in capsys.readouterr().err


def test_a_value_that_cant_be_read_in_another_column_is_no_matter() -> None:
    Path("bad.csv").write_text("x,y\n1,2\n2,a\n3,4\n4,5\n")
    words = ["mode=convert", "data=csv", "data.path=bad.csv", "quiet=true"]
    assert main([*words, "data.on_bad_row=skip", "output.columns=[x]", "output=t.csv"]) == 0
    assert len(Path("t.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    "words",
    [
        ["data.drop=[label]", "feature.target=null"],
        ["data.drop=[label]", "data.target=x"],
        ["feature.target=null", "training.monitor=valid/accuracy"],
        ["architecture=lenet5"],
        ["experiment=digits_cnn", "data.drop=[label]"],
    ],
)
def test_a_conversion_needs_no_features_and_no_network(words: list[str]) -> None:
    Path("lab.csv").write_text("x,label\n1,a\n2,b\n")
    assert main(["mode=convert", "data=csv", "data.path=lab.csv", "quiet=true", "output=t.csv", *words]) == 0


def test_what_the_command_sets_is_checked_in_a_conversion(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("output=t.csv", "optimizer.b1=2", "data.target=id", "data.drop=[id]") == 2
    error = capsys.readouterr().err
    assert "optimizer.b1: 2 is not a number in [0, 1)" in error
    assert "data.drop: `id` is the target (data.target)." in error


def test_the_only_other_column_is_the_class_of_images(capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    np.savez("named.npz", image=images, kind=np.arange(6) % 2, other=np.arange(6))
    words = ["mode=convert", "data=npz", "data.path=named.npz", "convert.format=images", "quiet=true"]
    assert main([*words, "output=a/"]) == 2
    assert "Set output.columns=[image,CLASS], where CLASS is one of kind, other." in capsys.readouterr().err
    assert main([*words, "output=a/", "output.columns=[image,kind]"]) == 0
    assert sorted(path.name for path in Path("a").iterdir()) == ["0", "1"]
    assert main([*words, "output=b/", "output.columns=[image]"]) == 2
    assert "The data has no other column." in capsys.readouterr().err


def test_files_that_the_manifest_lacks_are_replaced() -> None:
    assert convert("output=t", "convert.format=csv", "convert.shards=3") == 0
    Path("t/.convert.json").write_text(json.dumps(json.loads(Path("t/.convert.json").read_text()) | {"shards": {}}))
    assert convert("output=t", "convert.format=csv", "convert.shards=2", "output.overwrite=true") == 0
    assert read_ids("t") == [*range(20)]


@pytest.mark.parametrize("given", ["valid", "test"])
def test_given_files_arent_overwritten(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("given.csv").write_text(CSV)
    words = (f"data.{given}=given.csv", "output=given.csv", "output.overwrite=true")
    assert convert(*words) == 2
    assert "output=given.csv is or has the data that is read" in capsys.readouterr().err
    assert Path("given.csv").read_text() == CSV


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("", {"x": [3, 4], "t": ["b", "d"], "z": [0, 3]}),
        ("output.columns=[z,t]", {"z": [0, 3], "t": ["b", "d"]}),
    ],
)
def test_the_rows_after_the_operations_are_written(in_empty_folder: Path, columns: str, expected: Any) -> None:
    Path("a.csv").write_text("x,t\n1,a\n2,b\n,c\n3,d\n")
    operations = 'operations=[{option: filter, where: "x > 1"}, {option: derive, columns: {z: x * 3 - 6, x: x + 1}}]'
    words = ["mode=convert", "data=csv", "data.path=a.csv", "output=b.parquet", operations, "quiet=true"]
    assert main([*words, *filter(None, [columns])]) == 0
    assert parquet.read_table("b.parquet").to_pydict() == expected
