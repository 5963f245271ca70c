"""Rows that can't be read and are skipped: the encoded data, the cache, the record, and new rows."""

import io
import json
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import runner
from components.data import Csv, Frame, Generator, ImageFolders, ImageTable
from components.feature import Image, Label, Labels, Mask, Numeric, Vocabulary
from components.types import DataError, Source, Target
from runner.__main__ import main
from runner.data.copied_columns import copy_columns
from runner.data.load import Data, Features, load_encoded
from runner.override_text import locate_settings
from runner.run_folder import read_record
from runner.tracking.names import name_final_metric

LINE = ("data=csv", "data.path=mixed.csv", "data.target=y")
QUICK = ("training.epochs=1", "training.batch_size=8", "architecture.widths=[4]", "tracking=none", "quiet=true")
SKIP = "data.on_bad_row=skip"
ROWS = [f"{n * 37 % 101 + 0.5},{'ab'[n % 2]},{n % 4 + 0.25}" for n in range(60)]
BAD_ROWS = {3: "1o.5,a,1.5", 17: "5.5,a", 40: "2.5,b,x"}
MESSAGES = (
    "mixed.csv, line 5: column `x` is '1o.5', not a number; mixed.csv, line 19: the number of fields is 2, not 3; "
    "mixed.csv, line 42: column `y` is 'x', not a number"
)
SENTENCE = f"3 of 63 rows are skipped: {MESSAGES}"


@pytest.fixture(autouse=True)
def files(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    mixed = [*ROWS]
    for number, row in BAD_ROWS.items():
        mixed.insert(number, row)
    for name, rows in {"mixed.csv": mixed, "good.csv": ROWS}.items():
        Path(name).write_text("\n".join(["x,word,y", *rows, ""]))


def load(source: Source, columns: dict[str, Any], target: Any, cache: Path | None = None, **options: Any) -> Data:
    features = Features({"target": target}, columns, {"columns": tuple(columns)})
    return load_encoded(source, features, identity="" if cache is None else "test", cache=cache, **options)


def bytes_of(data: Data) -> Any:
    """All that training depends on, but for fingerprints."""
    arrays = {(name, key): np.asarray(array) for name, arrays in data.encoded.items() for key, array in arrays.items()}
    splits = {name: rows.tolist() for name, rows in data.splits.items()}
    constants = {name: repr(constant) for name, constant in data.constants.items()}
    return {key: (array.dtype, array.shape, array.tobytes()) for key, array in arrays.items()}, splits, constants


@pytest.mark.parametrize("options", [{}, {"fold": (3, 1)}])
def test_the_encoded_data_is_that_of_a_file_without_the_skipped_rows(options: dict[str, Any]) -> None:
    columns = {"x": Numeric(key="x", normalize="z_score"), "word": Vocabulary(key="word")}
    target = Numeric(key="y")
    mixed = load(Csv(path="mixed.csv", on_bad_row="skip", stratify="word"), columns, target, **options)
    good = load(Csv(path="good.csv", stratify="word"), columns, target, **options)
    assert bytes_of(mixed) == bytes_of(good)
    assert mixed.fingerprint != good.fingerprint
    assert (mixed.skipped_rows, good.skipped_rows) == (3, None)
    assert mixed.left_out == (SENTENCE,)
    assert [warning for warning in mixed.warnings if warning not in mixed.left_out] == [*good.warnings]
    kept = [number for number in range(63) if number not in BAD_ROWS]
    assert mixed.number_rows("test").tolist() == [kept[row] for row in good.splits["test"]]


THREE = [f"{n},{n % 3}" for n in range(30)]
LETTERS = [f"{n},{'ab'[n % 2]}" for n in range(20)]
BOOLEANS = [f"{n},{'true' if n else 'yes'}" for n in range(9)]
LOST = [  # the rows of a CSV file, options, the target, and the error
    ([*THREE, "bad,7", "b,7"], {}, Label(key="y"), "all 2 rows of the class 7 .*The first is .*line 32: column `x`"),
    ([*THREE, "bad,7.0"], {"valid": "other.csv"}, Label(key="y"), "the only row of the class 7 "),
    ([*THREE, "bad,7", "worse,7"], {}, Numeric(key="y"), ""),
    ([*THREE, "bad,seven"], {}, Label(key="y"), ""),
    ([*THREE, "bad,7"], {"classes": (0, 1, 2)}, Label(key="y"), ""),
    ([*BOOLEANS, "bad,no"], {"types": {"y": "bool"}}, Label(key="y"), "the only row of the class false"),
    (
        [*LETTERS, "1,c,3", "2,c,4"],
        {},
        Label(key="y"),
        "all 2 rows of the class c .*line 22: the number of fields is 3",
    ),
    ([*LETTERS, "1,c,3", "2,b,4", "3", "5,6,b"], {}, Label(key="y"), ""),
    ([*LETTERS, "1, first,c", "2, second,c"], {}, Label(key="y"), "all 2 rows of the class c "),
    ([*LETTERS, "1,1,c", "2,1,c"], {}, Label(key="y"), "all 2 rows of the class c "),
    ([*[f"{n},{n % 2 + 1}{('st', 'nd')[n % 2]}" for n in range(20)], "bad,3rd"], {}, Label(key="y"), "of the class 3 "),
    ([*[f"{n},{n % 2 + 1}k" for n in range(20)], "bad,3k"], {}, Label(key="y"), "of the class 3000 "),
    ([*[f"{n},{n % 2 + 1} kg" for n in range(20)], "bad,3 cm"], {}, Label(key="y"), ""),
    ([*[f'{n},"{n % 2 + 1},000,000"' for n in range(20)], 'bad,"3,000"'], {}, Label(key="y"), "of the class 3000 "),
    ([*THREE, "bad,-1.0"], {"nulls": (-1,)}, Label(key="y"), ""),
    (
        [*[f'{n},"{n % 2 + 1},0"' for n in range(20)], 'bad,"3,0"'],
        {"decimal": "comma", "types": {"y": "int"}},
        Label(key="y"),
        "of the class 3 ",
    ),
    ([*LETTERS[:9], "x,y", *LETTERS[9:]], {}, Label(key="y"), ""),
    ([*LETTERS, "bad,a|b"], {}, Labels(key="y"), ""),
    ([*LETTERS, "bad,a|c"], {}, Labels(key="y"), "the only row of the class c"),
    (LETTERS, {"valid": "bad.csv"}, Label(key="y"), ""),
]


@pytest.mark.parametrize(
    ("rows", "options", "target", "message", "is_frame"),
    [
        (*case, is_frame)
        for case in LOST
        for is_frame in (False, True)
        if not is_frame or ("valid" not in case[1] and {row.count(",") for row in case[0]} == {1})
    ],
)
def test_no_class_is_skipped(
    rows: list[str], options: dict[str, Any], target: Target, message: str, is_frame: bool
) -> None:
    for name, lines in {"table.csv": rows, "bad.csv": ["1,a", "bad,b"], "other.csv": THREE}.items():
        Path(name).write_text("\n".join(["x,y", *lines, ""]))
    source: Any = Csv(path="table.csv", on_bad_row="skip", target="y", **options)
    if is_frame:
        texts = zip(*(row.split(",") for row in rows), strict=True)
        columns: dict[str, Any] = dict(zip("xy", texts, strict=True))
        if all(text.isdigit() for text in columns["y"]):
            columns["y"] = [*map(int, columns["y"])]
        message = message.replace("line 32", "row 30")
        source = Frame(columns=columns, on_bad_row="skip", target="y", **options)
    with pytest.raises(DataError, match=message) if message else nullcontext():
        load(source, {"x": Numeric(key="x")}, target)


def test_a_text_in_a_column_that_is_not_read_skips_no_row() -> None:
    lines = [f"{n},{n if n < 50 else 'text'},{'bad' if n == 5 else n % 2}" for n in range(60)]
    Path("table.csv").write_text("\n".join(["x,note,y", *lines, ""]))
    source = Csv(path="table.csv", on_bad_row="skip", split_by="x")
    data = load(source, {"y": Numeric(key="y")}, Numeric(key="y"))
    assert data.skipped_rows == 1
    assert data.source is not None
    assert copy_columns(data.source, ["note"])["note"][50:].tolist() == ["text"] * 9, "as it is written"
    data = load(Csv(path="table.csv", on_bad_row="skip", split_by="note"), {"y": Numeric(key="y")}, Numeric(key="y"))
    assert data.skipped_rows == 11, "it decides about the splits"


@pytest.mark.parametrize("label", [7, "c", True])
def test_a_function_whose_rows_of_a_class_are_all_bad_is_an_error(label: Any) -> None:
    first = {7: 0, "c": "a", True: False}[label]
    others = [first] if label is True else [first, {7: 1, "c": "b"}[label]]

    def make_rows(last: Any) -> Iterator[dict[str, Any]]:
        yield from ({"x": n, "y": others[n % len(others)]} for n in range(20))
        yield {"x": "bad", "y": last}

    def load_rows(last: Any) -> Data:
        source = Generator(function=partial(make_rows, last), version="1", on_bad_row="skip")
        return load(source, {"x": Numeric(key="x")}, Label(key="y"))

    with pytest.raises(DataError, match=f"the only row of the class {str(label).lower()} can't .* row 20 of .* `x`"):
        load_rows(label)
    if label is not True:
        assert load_rows(first).skipped_rows == 1


def write_png(path: str | Path, shape: tuple[int, ...] = (2, 3), number: int = 0) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.resize(np.array([number, number + 1], np.uint8), shape)).save(file, "PNG")


@pytest.mark.parametrize(
    ("options", "image", "is_offered"),
    [
        ({}, {}, True),
        ({}, {"decode": "step"}, True),
        ({}, {"max_megapixels": 5e-6}, False),
        ({"on_bad_row": "skip"}, {"max_megapixels": 5e-6}, False),
    ],
)
@pytest.mark.parametrize("kind", ["folders", "table"])
def test_skipping_is_offered_for_a_file_that_would_be_skipped(
    options: dict[str, Any], image: dict[str, Any], is_offered: bool, kind: str
) -> None:
    for number in range(9):
        write_png(f"images/{'ab'[number % 2]}/{number}.png", number=number)
    bad = "bad.png" if kind == "table" else "ba\nd.png"
    content = Path("images/a/0.png").read_bytes()
    start = content.index(b"IDAT")
    chunk = b"IDAT".ljust(len(content) - 16 - start, b"\0")
    checksum = zlib.crc32(chunk).to_bytes(4, "big")
    Path(f"images/a/{bad}").write_bytes(content[:start] + chunk + checksum + content[-12:])  # only decoding shows it
    rows = [f"images/{'ab'[n % 2]}/{n}.png,{n % 2}" for n in range(9)]
    Path("images.csv").write_text("\n".join(["image,label", *rows, "images/a/bad.png,0", ""]))
    source: Source = ImageFolders(path="images", **options)
    if kind == "table":
        source = ImageTable(path="images.csv", target="label", **options)

    def decode_all() -> None:
        data = load(source, {"image": Image(key="image", **image)}, Label(key="label"))
        np.asarray(data.encoded["image"]["values"][:])

    with pytest.raises(DataError, match="replace the file, or remove it") as raised:
        decode_all()
    assert not is_offered or f"{bad} of images: " in str(raised.value) or kind == "table"
    remedy = "remove it; to skip such rows, set data.on_bad_row=skip" if is_offered else "remove it"
    assert locate_settings(str(raised.value), "data").endswith(remedy)


def test_masks_of_the_target_are_skipped_whatever_names_the_target() -> None:
    for number in range(9):
        write_png(f"{number}.png", (2, 3, 3), number)
        write_png(f"m{number}.png", (4, 3) if number == 2 else (2, 3, 3) if number == 4 else (2, 3))
    Path("unused3.png").write_bytes(b"")
    rows = [f"{n}.png,m{n}.png,{n},unused{n}.png" if n == 3 else f"{n}.png,m{n}.png,{n},0.png" for n in range(9)]
    Path("masks.csv").write_text("\n".join(["image,mask,n,other", *rows, ""]))
    columns = {"image": Image(key="image")}
    for target in (None, "mask"):
        source = ImageTable(path="masks.csv", valid=2, test=2, target=target, on_bad_row="skip")
        data = load(source, columns, Mask(key="mask", image="image"))
        assert data.skipped_rows == 2, "the column `other` isn't read"
        assert "a mask of 4 x 3 pixels" in data.left_out[0]
        assert "which has pixels of mode RGB" in data.left_out[0]
    assert load(source, columns | {"o": Image(key="other")}, Mask(key="mask")).skipped_rows == 3
    with pytest.raises(DataError, match=r"m2.png.*is a mask of 4 x 3 .*; to skip such rows, set data\.on_bad_row=skip"):
        load(ImageTable(path="masks.csv", images=("image", "mask")), columns, Mask(key="mask", image="image"))


def test_a_second_run_needs_no_pass_over_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        PIL.Image.fromarray(np.full((2, 2), number, np.uint8)).save(file, "PNG")
        path.write_bytes(file.getvalue()[:-20] if number == 7 else file.getvalue())

    def load_images(**options: Any) -> Data:
        columns = {"image": Image(key="image")}
        source = ImageFolders(path=str(tmp_path / "images"), on_bad_row="skip", valid=2, test=2)
        return load(source, columns, Label(key="label"), tmp_path / "cache", **options)

    first = load_images()
    assert (first.skipped_rows, sum(map(len, first.splits.values()))) == (1, 11)
    monkeypatch.setattr("components.data.image_folders.verify_files", None)
    assert bytes_of(load_images()) == bytes_of(first)
    assert load_images(fold=(2, 0)).left_out == first.left_out, "the folds of a run share the pass"


@pytest.mark.slow
@pytest.mark.optax
def test_a_run_counts_prints_and_records_the_rows_that_it_skips(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, *QUICK]) == 2
    error = capsys.readouterr().err
    assert "mixed.csv, line 19: the number of fields is 2, not 3" in error
    assert "on_bad_row=skip" in error
    Path("number.csv").write_text("\n".join(["x,word,y", *ROWS, BAD_ROWS[3], ""]))
    assert main(["data=csv", "data.path=number.csv", "data.target=y", *QUICK]) == 2
    assert "to skip these rows, set data.on_bad_row=skip" in capsys.readouterr().err
    sentence, messages = (
        text.replace("not a number", "not of type float") for text in (SENTENCE, MESSAGES)
    )  # a suggestion declares the types
    assert main([*LINE, *QUICK[:-1], SKIP]) == 0
    printed = capsys.readouterr()
    assert f"warning: {sentence}" in printed.out + printed.err
    assert (printed.out + printed.err).count(messages) == 1, "printed once"
    (folder,) = Path("outputs").iterdir()
    assert read_record(folder)["tags"]["left_out"] == sentence
    assert f"warning: {sentence}" in (folder / "log.txt").read_text()
    metrics = json.loads((folder / "summary.json").read_text())["metrics"]
    assert metrics["skipped_rows"] == 3
    assert name_final_metric("skipped_rows") == "system/skipped_rows"
    words = [word.replace("mixed.csv", "good.csv") for word in LINE]
    same = runner.run(*words, *QUICK).metrics
    assert same["test/loss"] == metrics["test/loss"]
    assert "skipped_rows" not in same

    # New rows: each needs a prediction; an evaluation skips as training does.
    Path("new.csv").write_text("x,word,y\n1.5,a,1\nbad,b,2\n2.5,b,3\nworse,a,1\n")
    new = [f"run={folder}", "data.path=new.csv"]
    assert main(["mode=predict", *new, "output=found.csv"]) == 2
    error = capsys.readouterr().err
    assert "new.csv, line 3: column `x` is 'bad', not of type float (2 of 4 values aren't); correct the value" in error
    assert "to skip such rows" not in error
    assert main(["mode=predict", *new, "output=found.csv", SKIP]) == 2
    assert f"{SKIP}: rows to predict can't be skipped, because each of them needs a pr" in capsys.readouterr().err
    Path("other.csv").write_text("x,word,other\n" + "1.5,a,1\n" * 8 + "2.5,b,text\n")
    words = ["mode=predict", f"run={folder}", "data.path=other.csv", "output=other_found.csv"]
    assert main(words) == 0, f"the run doesn't read `other`: {capsys.readouterr().err}"
    capsys.readouterr()
    assert main(["mode=evaluate", *new]) == 0
    printed = capsys.readouterr()
    assert "warning: 2 of 4 rows are skipped: new.csv, line 3" in printed.out + printed.err
    assert main(["mode=evaluate", *new, "data.on_bad_row=error"]) == 2
    assert "correct the value; to skip such rows, set data.on_bad_row=skip\n" in capsys.readouterr().err
    with pytest.raises(DataError, match="Rows to predict can't be skipped"):
        runner.load(folder).predict(Csv(path="new.csv", on_bad_row="skip", types={"x": "float"}))
