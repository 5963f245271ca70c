"""Remedies of errors in the data: a training run offers all of them, new rows only those that they allow."""

import ast
import pickle
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import components.feature
from components.data import Csv, ImageFolders, TextFolders
from components.data.bad_rows import BadRowsError
from components.feature import (
    Hashed,
    Identity,
    Image,
    Label,
    Labels,
    Mask,
    Numeric,
    Time,
    Vocabulary,
)
from components.feature.normalizer import Log
from components.image_files import encode_png
from components.types import TRAINING_ROWS, Block, DataError, Ragged, Remedy, Strings
from runner.errors import located_settings
from runner.inference.new_rows import keep_possible_remedies

pytestmark = pytest.mark.usefixtures("in_empty_folder")

RGB, GREY = np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 4, 8, 1), np.uint8)
FILLED = 'fill it in, remove the row, or set on_missing="fill"'
SETTING = re.compile(r"\b(?:[Ss]et|[Ii]ncrease|or|and|by|with) `([a-z]\w*)")


def png(*images: np.ndarray) -> Strings:
    return Strings.from_bytes([encode_png(image) for image in images])


def encode(column: Any, training: Any, rows: Any, *, valid: bool = True) -> Callable[[], object]:
    """Encodes a row of the column `x` after a fit to others. `valid`: whether it has a value."""

    def encode_row() -> None:
        first = Block({"x": training})
        results = {name: each.result(each.summarize(first)) for name, each in column.statistics().items()}
        constants = column.fit(results | {TRAINING_ROWS: 1}, {})
        count = rows.rows if isinstance(rows, Strings) else len(rows)
        block = Block({"x": rows}, {} if valid else {"x": np.zeros(count, bool)}, offers_skipping=True)
        column.encode(block, {}, constants)

    return encode_row


def read(text: str, **options: Any) -> Callable[[], object]:
    def read_file() -> None:
        Path("new.csv").write_text(text)
        Csv(path="new.csv", **options).sizes()

    return read_file


def open_folder(*names: str, **options: Any) -> Callable[[], object]:
    def open_images() -> None:
        for name in names:
            Path("images", name).parent.mkdir(parents=True, exist_ok=True)
            Path("images", name).write_bytes(encode_png(RGB[0]))
        ImageFolders(path="images", **options).sizes()

    return open_images


def open_texts() -> None:
    for name, content in {"a/1.txt": b"a", "a/2.txt": b"b", "b/1.txt": b"\xff", "b/2.txt": b"c"}.items():
        Path("texts/train", name).parent.mkdir(parents=True, exist_ok=True)
        Path("texts/train", name).write_bytes(content)
    TextFolders(path="texts", test=1).sizes()


ONES, GAP = np.ones(3), np.array([np.nan])
CASES: dict[str, tuple[Callable[[], object], str, str]] = {
    # what raises the error, the remedies of a training run, and those of rows to predict
    "gap": (
        encode(Numeric(key="x"), ONES, np.ones(1), valid=False),
        "fill it in, remove the row, or set `missing` to replace missing values of a feature",
        FILLED,
    ),
    "range": (
        encode(Numeric(key="x"), ONES, np.array([1e200])),
        "correct it, remove the row, or set `normalize=z_score`, for example",
        "correct it, or remove the row",
    ),
    "nan": (encode(Numeric(key="x"), ONES, GAP), "correct it, or remove the row", "correct it, or remove the row"),
    "log": (
        encode(Numeric(key="x", normalize=Log(offset=0.0)), ONES, np.zeros(1)),
        "correct the value, remove the row, or use Log with a larger `offset`",
        "correct the value, or remove the row",
    ),
    "expression": (
        encode(Numeric(expression="1 / x"), ONES, np.zeros(1)),
        "correct it, remove the row, or limit an operand, as in `rooms / max(households, 1)`",
        "correct it, or remove the row",
    ),
    "sequence": (
        encode(Numeric(key="x", sequence=False), ONES, Ragged(np.ones(2), np.array([0, 2]))),
        "for vectors of this length, set `size=2`; for sequences, set `sequence=true`",
        "correct the values",
    ),
    "id": (
        encode(Identity(key="x", buckets=2), np.arange(2), np.array([9])),
        "correct it, increase `buckets`, or set `default` to the id of other numbers",
        "correct it",
    ),
    "id of text": (
        encode(Identity(key="x", buckets=2), np.arange(2), np.array(["a"], object)),
        "use Vocabulary or Hashed",
        "correct the values",
    ),
    "unknown": (
        encode(Vocabulary(key="x", check=True), np.array(["a"], object), np.array(["b"], object)),
        "Set `oov`, or set `default`, to give unknown values an id.",
        "Correct the values.",
    ),
    "category": (
        encode(Hashed(key="x", buckets=2), np.arange(2), np.array([0.5])),
        "use Bucketized for other numbers",
        "correct the values",
    ),
    "time": (
        encode(Time(key="x", parts=("year",)), np.array(["2024-01-02"], object), np.array(["tomorrow"], object)),
        "set `format` for other texts",
        "correct the values",
    ),
    "no time": (
        encode(Time(key="x", parts=("year",)), np.array(["2024-01-02"], object), np.array([None], object)),
        "fill it in, remove the row, or set `missing`",
        FILLED,
    ),
    "no label": (
        encode(Labels(key="x"), np.array(["a"], object), np.array([None], object), valid=False),
        "fill it in, remove the row, or set `missing=empty` (rows without labels) or `missing=mask` (rows with unknown "
        "labels)",
        FILLED,
    ),
    "no class": (
        encode(Label(key="x"), np.arange(2), np.arange(1), valid=False),
        "fill it in, or remove the row",
        "fill it in, or remove the row",
    ),
    "shape": (
        encode(Image(key="x"), png(RGB[0]), png(GREY[0])),
        "resize it to 8 x 8 pixels, and convert it to RGB, or set `size=[8,8]` and `channels=3`",
        "resize it to 8 x 8 pixels, and convert it to RGB",
    ),
    "shape of an array": (
        encode(Image(key="x"), RGB, RGB[:, :4]),
        "arrays are (rows, height, width, channels); resize it to 8 x 8 pixels, or set `size=[8,8]`",
        "arrays are (rows, height, width, channels); resize it to 8 x 8 pixels",
    ),
    "file": (
        encode(Image(key="x"), png(RGB[0]), Strings.from_bytes([b"no image"])),
        "replace the file, or remove it; to skip such rows, set `on_bad_row=skip` of the data",
        "replace the file, or remove it",
    ),
    "channels": (
        encode(Image(key="x", decode="step"), RGB[..., :2], RGB[..., :2]),
        "set `decode=once`, and leave out `crop_area`",
        "correct the values",
    ),
    "mask": (
        encode(Mask(key="x"), png(GREY[0]), Strings.from_bytes([b""]), valid=False),
        "add the mask, remove the row, or set `missing=mask`",
        'add the mask, remove the row, or set on_missing="fill"',
    ),
    "type": (
        read("x\n1\n2\na\n", types={"x": "float"}),
        "correct the value, or set `types.x=string`; to skip such rows, set `on_bad_row=skip`",
        "correct the value",
    ),
    "mark": (
        read("x\n1\n2\n3 kg\n", types={"x": "float"}),
        "correct the value, set `marks.x=kg`, or set `types.x=string`; to skip such rows, set `on_bad_row=skip`",
        "correct the value, or set `marks.x=kg`",
    ),
    "separator": (
        read('x\n"1,5"\n"2,5"\n', types={"x": "float"}, decimal="point"),
        "to read a decimal comma in this column, set `decimal.x=comma`; to read all values as text, set "
        "`types.x=string`",
        "to read a decimal comma in this column, set `decimal.x=comma`",
    ),
    "fields": (
        read("x,y\n1,2\n1\n1,2\n1,2\n"),
        "an empty field needs its ',', and a field with a line break needs quotes; to skip such rows, set "
        "`on_bad_row=skip`",
        "an empty field needs its ',', and a field with a line break needs quotes",
    ),
    "stray": (
        open_folder("a/1.png", "b/2.png", "b/notes.csv"),
        "remove it, or set `suffix` to the ends of the names to read, such as .jpg; to skip such rows, set "
        "`on_bad_row=skip`; if it is a table that lists images, choose data=image_table, and set "
        "`path=images/b/notes.csv`",
        "remove it, or set `suffix` to the ends of the names to read, such as .jpg",
    ),
    "class folder": (
        open_folder("a/1.png", "2.png", labels=True),
        "Move or remove it; to predict images without classes, use a finished run; to train on them, set "
        "`labels=false` and choose a feature file.",
        "Move or remove it; to predict images without classes, use predict (mode=predict).",
    ),
    "text": (open_texts, "convert it; to skip such rows, set `on_bad_row=skip`", "convert it"),
}
IN_SOURCES = ("decimal", "marks", "suffix")  # what a command may set for the file of new rows


def message_of(raise_error: Callable[[], object], *arguments: Any) -> str:
    """The message of an error. With arguments, those of `keep_possible_remedies`, it is one in new rows."""
    situation = keep_possible_remedies(*arguments) if arguments else nullcontext()
    with pytest.raises(DataError) as raised, situation:
        raise_error()
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("case", CASES)
def test_new_rows_offer_no_remedy_that_changes_the_columns_or_skips_a_row(case: str) -> None:
    raise_error, in_training, in_new_rows = CASES[case]
    fault, found, end = message_of(raise_error).rpartition(in_training)
    assert (bool(found), end) == (True, "")
    new = message_of(raise_error, object())
    assert new == f"{fault}{in_new_rows}"
    assert {*SETTING.findall(new)} <= {*IN_SOURCES}
    table = message_of(raise_error, {"x": []})
    assert SETTING.findall(table) == [], "how a table from Python is read is fixed too"
    assert table.startswith(fault)


def test_an_evaluation_skips_rows_and_fills_no_target() -> None:
    raise_error, in_training, _ = CASES["fields"]
    assert message_of(raise_error, object(), ()).endswith(in_training), "the source leaves such rows out"
    needs = ": column `x` has no value, and an evaluation needs the target; "
    for case, remedies in (("no class", "fill it in"), ("no label", "fill it in"), ("mask", "add the mask")):
        assert message_of(CASES[case][0], object(), {"x"}).endswith(f"{needs}{remedies}, or remove the row")
    assert message_of(CASES["no time"][0], object(), {"y"}).endswith(FILLED)


def test_a_remedy_is_an_override_also_after_others_are_left_out() -> None:
    with pytest.raises(DataError) as raised, keep_possible_remedies(), located_settings("data"):
        CASES["mark"][0]()
    assert str(raised.value).endswith("correct the value, or set data.marks.x=kg")
    assert isinstance(raised.value, BadRowsError)


@pytest.mark.parametrize(
    ("fault", "remedies", "message"),
    [
        ("x is 3", (), "x is 3"),
        ("x is 3", ("correct it",), "x is 3; correct it"),
        ("x is 3", ("a", Remedy("b")), "x is 3; a, or b"),
        ("x is 3", ("a", "b", "c"), "x is 3; a, b, or c"),
        ("x is 3", (Remedy("set d", purpose="to see"), "a"), "x is 3; a; to see, set d"),
        ("x is 3. Did you mean 4?", ("correct it", "b"), "x is 3. Did you mean 4? Correct it, or b."),
        ("x is 3.", (Remedy("set d", purpose="to see"),), "x is 3. To see, set d."),
    ],
)
def test_a_message_ends_with_the_remedies(fault: str, remedies: tuple[Any, ...], message: str) -> None:
    assert str(DataError(fault, *remedies)) == message


def test_no_feature_column_has_a_remedy_in_the_text_of_a_fault() -> None:
    """Otherwise new rows would offer it."""
    found = []
    for file in Path(components.feature.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("DataError", "make_value_error")):
                texts = [each for each in node.args if isinstance(each, ast.Constant | ast.JoinedStr)]
                found += [ast.unparse(each) for each in texts if re.search("([Ss]et|[Ii]ncrease) `", ast.unparse(each))]
    assert found == []
