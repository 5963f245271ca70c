"""What loading does with splits: equal rows in two of them, given parts with gaps, rows in none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data import Arrays, Csv
from components.feature import ExampleWeight, Image, Label, Numeric, Tokens, Vocabulary
from components.types import DataError, Strings
from runner.data.load import Data, Features, load_encoded

ROWS = 40
LONG = [f"{'long ' * 100}{n}".encode() for n in range(2 * ROWS)]
SHORT = Strings.from_bytes([f"word{n}".encode() for n in range(2 * ROWS)])


def load(source: Any, cache: Path | None = None, fold: tuple[int, int] | None = None, **columns: Any) -> Data:
    listed = columns or {"x": Numeric(key="x")}
    inputs = tuple(name for name in listed if name != "words")
    features = Features({"target": Label(key="y")}, listed, {"input": inputs}, ExampleWeight(key="weight"))
    return load_encoded(source, features, identity="splits", cache=cache, fold=fold)


def rows(**changes: Any) -> dict[str, Any]:
    return {"x": np.arange(ROWS) * 0.5, "y": np.arange(ROWS) % 2, "weight": np.arange(ROWS) + 1.0, **changes}


def parts(**tables: Mapping[str, Any]) -> Arrays:
    return Arrays(columns=tables)


def test_rows_that_stand_in_two_splits_are_counted() -> None:
    valid, test = rows(x=np.arange(ROWS) + 100.0), rows(x=np.arange(ROWS) + 200.0)
    test["x"][[3, 4]] = 1.0  # as in row 2 of the training arrays, but row 3 has another class
    test["x"][7] = valid["x"][9]
    ending = "If they are copies, the metrics are"
    of_valid = (
        "1 of 40 rows of the test split equals a row of the valid split in all columns that are read: "
        f"row 7 of the test arrays is row 9 of the valid arrays. {ending} too good: remove the copies"
    )
    assert load(parts(train=rows(), valid=valid, test=test)).warnings == (
        "2 of 40 rows of the test split equal rows of the training split in all columns that inputs read, 1 of them "
        f"with another target: row 3 of the test arrays is row 2 of the train arrays. {ending} wrong: correct the "
        "targets, or remove the copies",
        of_valid,
    )
    train = rows()
    train["x"][3] = 1.0  # the training split has both classes for these inputs
    first, *others = load(parts(train=train, valid=valid, test=test)).warnings
    assert first.startswith("2 of 40 rows of the test split equal rows of the training split in all columns that are")
    train["x"][2] = 0.25  # so only row 3 of the test split is equal, and row 4 has another class
    first, *others = load(parts(train=train, valid=valid, test=test)).warnings
    assert "2 of 40 rows of the test split equal rows of the training split in all columns that inputs read, 1" in first
    assert others == [of_valid]


def test_equal_rows_of_a_random_split_can_be_grouped() -> None:
    pair = np.repeat(np.arange(ROWS // 2), 2)
    columns = rows(x=pair, y=pair % 2, pair=pair)
    (warning, *_) = load(Arrays(columns=columns)).warnings
    assert "remove the copies, or keep them in one split with data.group=COLUMN" in warning
    assert load(Arrays(columns=columns, group="pair")).warnings == ()


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        (np.random.default_rng(0).integers(0, 256, (2 * ROWS, 2, 2, 3), np.uint8), {"image": Image(key="v")}),
        (Strings.from_bytes(LONG), {"words": Tokens(key="v"), "ids": Vocabulary(key="words", oov=1)}),
        (SHORT._replace(indices=np.arange(2 * ROWS)), {"ids": Vocabulary(key="v", oov=1)}),
    ],
)
def test_columns_of_any_kind_are_compared(values: Any, columns: dict[str, Any]) -> None:
    def take(*chosen: int) -> Any:
        index = np.array(chosen)
        if isinstance(values, np.ndarray):
            return values[index]
        texts = np.array(values.tolist(), object)[index]
        return Strings.from_bytes([text.encode() for text in texts])

    train = rows(v=take(*range(ROWS)), y=np.arange(ROWS) % 2)
    test = rows(v=take(*range(ROWS, 2 * ROWS - 2), 5, 6), y=np.arange(ROWS) % 2)
    test["y"][-2:] = [1, 1]  # that of row 5, but not that of row 6
    found = load(Arrays(columns={"train": train, "test": test}, seed=None, valid=1), **columns).warnings
    (text,) = [text for text in found if "equal" in text]
    assert text.startswith("2 of 40 rows of the test split equal rows of the training split in all columns that inputs")
    assert "1 of them with another target: row 39 of the test arrays is row 6 of the train arrays" in text


def test_missing_values_are_equal_to_each_other_only() -> None:
    numbers = np.array([*range(ROWS - 2), 0, 0], float)
    valid = np.arange(ROWS) < ROWS - 2
    masked = np.ma.MaskedArray(numbers, ~valid)
    columns = {"x": Numeric(key="x", missing=5.0)}
    train, test = rows(x=masked), rows(x=np.ma.MaskedArray(numbers + 100, ~valid))
    found = load(Arrays(columns={"train": train, "test": test}, seed=None, valid=1), **columns).warnings
    assert [text.partition(" in all")[0] for text in found if "equal" in text] == [
        "1 of 1 rows of the valid split equals a row of the training split",
        "2 of 40 rows of the test split equal rows of the training split",
        "2 of 40 rows of the test split equal rows of the valid split",
    ]
    assert "in all columns that inputs read, but with another target: row 3" in found[0]


def test_gaps_and_unknown_values_of_given_parts_are_allowed_and_counted(tmp_path: Path) -> None:
    table = ["x,word,y,weight", *(f"{n},{'ab'[n // 2 % 2]},{n % 2},1" for n in range(20))]
    (tmp_path / "train.csv").write_text("\n".join(table))
    (tmp_path / "test.csv").write_text("x,word,y,weight\n,,0,1\n101.5,new,1,1\n102,a,1,1\n")
    options = {"path": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    columns = {"x": Numeric(key="x", normalize="z_score"), "word": Vocabulary(key="word", oov=1)}
    data = load(Csv(**options), **columns)
    assert data.warnings == (
        "the given test split: column `x` has no value in 1 of 3 rows; the mean of the training split stands for it",
        "the given test split: column `word` has no value in 1 of 3 rows; an unknown value stands for it",
        "the given test split: 1 of 2 values of column `word` aren't in its vocabulary, the first in "
        f"{tmp_path}/test.csv, line 3: 'new'",
    )
    assert data.splits["test"].tolist() == [20, 21, 22]
    numbers = np.asarray(data.encoded["x"]["values"])
    assert 5 < numbers[20] < 15  # the mean of the training rows
    assert numbers[21] == 101.5
    (tmp_path / "train.csv").write_text("\n".join([*table, ",a,0,1"]))
    with pytest.raises(DataError, match=r"train\.csv, line 22: column `x`"):
        load(Csv(**options, seed=None), **columns)


def test_rows_in_no_split_are_not_encoded_and_counted(tmp_path: Path) -> None:
    """Rows of another class, and training rows beyond the limit, may have wrong values."""
    columns = rows(y=np.arange(ROWS) % 4, x=np.where(np.arange(ROWS) % 4 == 3, np.nan, np.arange(ROWS)))
    source = Arrays(columns=columns, classes=(0, 1), stratify="y", per_class=3)
    for _ in range(2):  # the second time, from the cache
        data = load(source, cache=tmp_path)
        assert data.left_out == ("28 of 40 rows are in no split",)
        assert data.left_out[0] in data.warnings
        assert {name: len(rows) for name, rows in data.splits.items()} == {"train": 6, "valid": 3, "test": 3}
        assert len(data.encoded["x"]["values"]) == 12
        for split, numbers in source.splits().items():
            assert data.source_rows(data.splits[split]).tolist() == data.number_rows(split).tolist() == numbers.tolist()
            assert np.asarray(data.encoded["x"]["values"])[data.splits[split], 0].tolist() == numbers.tolist()
    other = load(Arrays(columns=columns, classes=(0, 1), stratify="y", per_class=4), cache=tmp_path)
    assert len(other.encoded["x"]["values"]) == 14


def test_the_rows_after_a_fold_of_time_are_in_no_split(tmp_path: Path) -> None:
    source = Arrays(columns=rows(), split_by="x")
    later = load(source, cache=tmp_path, fold=(3, 1))
    assert len(later.encoded["x"]["values"]) == 32
    data = load(source, cache=tmp_path, fold=(3, 0))
    assert len(data.encoded["x"]["values"]) == 24  # although the constants are those of the other fold
    assert data.left_out == ("16 of 40 rows are in no split",)
    assert {split: data.number_rows(split).tolist() for split in data.splits} == {
        "train": [*range(8)],
        "valid": [*range(8, 16)],
        "test": [*range(32, 40)],
    }


def test_numbers_of_rows_count_those_that_the_source_leaves_out(tmp_path: Path) -> None:
    lines = ["x,y,weight", *(f"{n},{'' if n < 3 else n % 2},1" for n in range(20))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    source = Csv(path=str(tmp_path / "t.csv"), target="y", on_missing_target="drop", per_class=2, seed=None)
    data = load(source)
    assert data.number_rows("train").tolist() == [3, 4, 5, 6]
    assert data.source_rows(data.splits["train"]).tolist() == [0, 1, 2, 3]
    assert data.left_out == ("3 of 20 rows have no value of y and are left out", "7 of 17 rows are in no split")
