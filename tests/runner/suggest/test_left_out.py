"""Rows without a target and columns that the user drops: left out, counted, printed and recorded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from components.data import Csv
from components.types import DataError
from runner.__main__ import main
from runner.config.check_data import find_drop_problems
from runner.errors import ConfigError
from runner.run_folder import read_record
from runner.suggest.suggest import suggest
from runner.suggest.suggestions import COLUMNS_FILE

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

LINE = ("data=csv", "data.path=houses.csv", "data.target=price")
QUICK = ("training.epochs=1", "architecture.widths=[4]", "tracking=none", "quiet=true")
DROP = "data.on_missing_target=drop"
ROWS = [f"{n % 7},{n * 37 % 101 + 0.5},{'' if n % 8 == 3 else n % 4 + 0.5},{'ab'[n % 2]}" for n in range(80)]
"""80 rows, the first of 10 without a price in line 5."""
FEATURE = """
target: {_target_: components.feature.Numeric, key: price}
columns: {area: {_target_: components.feature.Numeric, key: area, normalize: z_score}}
inputs: {columns: [area]}
"""
TWO_TARGETS = """
targets:
  price: {_target_: components.feature.Numeric, key: price, missing: mask}
  kind: {_target_: components.feature.Label, key: kind}
columns: {area: {_target_: components.feature.Numeric, key: area, normalize: z_score}}
inputs: {columns: [area]}
"""


@pytest.fixture(autouse=True)
def houses(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    Path("houses.csv").write_text("\n".join(["rooms,area,price,kind", *ROWS]) + "\n")
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/mine.yaml").write_text(FEATURE)


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 2
    return capsys.readouterr().err


def test_rows_without_a_target_are_left_out_counted_said_and_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    said = "10 of 80 rows have no value of price and are left out"
    assert main([*LINE, *QUICK[:-1], DROP]) == 0
    printed = capsys.readouterr()
    assert f"warning: {said}" in printed.out + printed.err
    assert (printed.out + printed.err).count(said) == 1
    (folder,) = Path("outputs").iterdir()
    record = read_record(folder)
    assert record["tags"]["left_out"] == said
    assert sum(dataset["rows"] for dataset in record["datasets"]) == 70
    assert f"warning: {said}" in (folder / "log.txt").read_text()


def test_without_the_word_the_error_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    remedy = "set data.on_missing_target=drop"
    assert f"has no value in 10 rows, the first is houses.csv, line 5. To leave these rows out, {remedy}" in fail(
        capsys, *LINE
    )
    explicit = ("data=csv", "data.path=houses.csv", "feature=mine", "loss=mse", "metric=[rmse]", *QUICK)
    found = fail(capsys, *explicit)
    assert "houses.csv, line 5: column `price` has no value, as in 10 rows, and feature.target needs one" in found
    assert "set data.target=price data.on_missing_target=drop" in found
    assert "`on_missing_target` (=drop) needs `target`" in fail(capsys, *explicit, DROP)
    assert main([*explicit, "data.target=price", DROP]) == 0


@pytest.mark.parametrize("words", [("data.stratify=kind",), ("data.stratify=kind", "folds=2", "fold=1")])
def test_splits_are_made_of_the_remaining_rows(words: tuple[str, ...]) -> None:
    words = (*words, "data.test=20", "data.valid=10", "training.batch_size=8")
    folder = runner.run(*LINE, *QUICK, DROP, *words).folder
    kept = [row for row in ROWS if row.split(",")[2]]
    Path("houses.csv").write_text("\n".join(["rooms,area,price,kind", *kept]) + "\n")
    same = runner.run(*LINE, *QUICK, *words).folder
    assert [dataset["rows"] for dataset in read_record(folder)["datasets"]] == [
        dataset["rows"] for dataset in read_record(same)["datasets"]
    ]
    summaries = [json.loads((path / "summary.json").read_text())["metrics"] for path in (folder, same)]
    assert summaries[0]["test/loss"] == summaries[1]["test/loss"], "the same rows in the same splits"


def test_messages_name_the_lines_of_the_file() -> None:
    source = Csv(path="houses.csv", target="price", on_missing_target="drop", types={"price": "float"})
    assert source.sizes() == {"all": 70}
    (block,) = source.blocks("all")
    assert block.locate(3) == "houses.csv, line 6", "line 5 is left out"
    lines = [*ROWS[:6], "4,5.5,1.5,a", "x,1.5,2.5,b"]
    Path("houses.csv").write_text("\n".join(["rooms,area,price,kind", *lines]) + "\n")
    with pytest.raises(DataError, match=r"line 9: column `rooms` is 'x'"):
        Csv(path="houses.csv", target="price", on_missing_target="drop", types={"rooms": "float"}).sizes()
    lines[-1] = "0.5,1.5,2.5,b"
    Path("houses.csv").write_text("\n".join(["rooms,area,price,kind", *lines]) + "\n")
    with pytest.raises(DataError, match=r"line 9: column `rooms` is 0.5, not of type int"):
        Csv(path="houses.csv", target="price", on_missing_target="drop", types={"rooms": "int"}).sizes()
    Path("houses.csv").write_text("x,price\n1,\n2,NA\n")
    with pytest.raises(DataError, match=r"houses.csv has no row with a value of price"):
        Csv(path="houses.csv", target="price", on_missing_target="drop").sizes()


def test_columns_of_any_type_keep_their_values_and_gaps() -> None:
    rows = [f"{n},{n + 0.5},2024-01-{n + 1:02},name {n % 3},text {n}," for n in range(12)]
    rows = [row + str(n) if n % 3 else row for n, row in enumerate(rows)]
    rows[4] = ",,,,,4"
    Path("houses.csv").write_text("\n".join(["i,f,t,s,d,price", *rows]) + "\n")
    source = Csv(path="houses.csv", target="price", on_missing_target="drop")
    values, valid = source.table.values, source.table.valid
    kept = [n for n in range(12) if n % 3]
    assert source.row_numbers().tolist() == kept  # type: ignore[union-attr]
    for name, expected in {"s": [f"name {n % 3}" for n in kept], "d": [f"text {n}" for n in kept]}.items():
        expected[2] = ""
        assert values[name].tolist() == expected  # type: ignore[union-attr]
    assert valid.keys() == {"i", "f", "t", "s", "d"}, "no gap of the target is left"
    assert all(np.flatnonzero(~mask).tolist() == [2] for mask in valid.values())
    assert values["price"].tolist() == kept  # type: ignore[union-attr]
    profiles = {column.name: column for column in source.profile().columns}
    assert (profiles["s"].distinct_count, profiles["d"].distinct_count) == (2, 7)


def test_new_rows_are_predicted_without_a_target_and_evaluated_where_they_have_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = runner.run(*LINE, *QUICK, DROP, "data.drop=[kind]").folder
    table = (folder / COLUMNS_FILE).read_text().splitlines()
    assert [line.split()[0] for line in table[:5]] == ["inferred", "column", "rooms", "area", "price"]
    new = ["area,rooms,price", "1,2,3.5", "2,3,", "3,4,1.5"]  # `kind` is not needed
    Path("new.csv").write_text("\n".join(new) + "\n")
    assert len(runner.load(folder).predict(Csv(path="new.csv")).prediction) == 3
    words = [f"run={folder}", "data.path=new.csv"]
    assert main(["mode=predict", *words, "output=found.csv"]) == 0
    assert "3 predictions for the rows of new.csv" in capsys.readouterr().out
    assert main(["mode=evaluate", *words]) == 0
    printed = capsys.readouterr()
    assert "1 of 3 rows has no value of price and is left out" in printed.out + printed.err


def test_predictions_of_a_split_have_the_numbers_of_the_file_s_rows(capsys: pytest.CaptureFixture[str]) -> None:
    folder = runner.run(*LINE, *QUICK, DROP).folder
    predictions = runner.load(folder).predict("test")
    assert all(ROWS[row].split(",")[2] for row in predictions.row)
    prices = [float(ROWS[row].split(",")[2]) for row in predictions.row]
    np.testing.assert_allclose(predictions.target, prices, rtol=1e-5)
    assert main(["mode=look", f"run={folder}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    largest = next(index for index, line in enumerate(lines) if line[:2] == ["row", "target"])
    assert all(ROWS[int(line[0])].split(",")[2] == line[1] for line in lines[largest + 1 : largest + 9])
    numbers, areas = ([line[1:] for line in lines if line[:1] == [name]][-1] for name in ("row", "area"))
    expected = [float(ROWS[int(number)].split(",")[1]) for number in numbers]
    assert np.corrcoef(expected, [float(value) for value in areas])[0, 1] > 0.999, "these are the z-scores"


def test_of_several_targets_a_row_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("conf/feature/two.yaml").write_text(TWO_TARGETS)
    rows = [row.rpartition(",")[0] + "," if n % 16 == 3 else row for n, row in enumerate(ROWS)]  # 5 have neither
    Path("houses.csv").write_text("\n".join(["rooms,area,price,kind", *rows]) + "\n")
    words = ["data=csv", "data.path=houses.csv", "feature=two", *QUICK]
    words += ["loss={price: mse, kind: softmax_cross_entropy}", "metric={price: [rmse], kind: [accuracy]}"]
    assert "line 5: column `kind` has no value, as in 5 rows, and feature.targets.kind needs one" in fail(
        capsys, *words
    )
    result = runner.run(*words, "data.target=[price,kind]", DROP)
    assert (
        read_record(result.folder)["tags"]["left_out"] == "5 of 80 rows have no value of price or kind and are left out"
    )
    assert np.isfinite(result.metrics["test/price/loss"])


def test_dropped_columns_are_left_out_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, *QUICK[:-1], DROP, "data.drop=[kind,area]"]) == 0
    assert "left out by `drop`: kind, area" in capsys.readouterr().out
    source = Csv(path="houses.csv", drop=("kind",), types={"kind": "string"})
    assert list(source.table.values) == ["rooms", "area", "price"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("data.drop=[aera]",),
            "houses.csv has no column `aera`, which `drop` lists. Did you mean area? Allowed: area, kind",
        ),
        (("data.drop=[price]",), "data.drop: `price` is the target (data.target). Take it out of the list."),
        (
            ("data.drop=[area]", "feature=mine"),
            "data.drop: `area` can't be dropped, because feature.columns.area reads it.",
        ),
        (
            (
                "data.drop=[rooms]",
                "feature=mine",
                "feature.columns.area={_target_: components.feature.Numeric, expression: 'log(1 + area) / rooms'}",
            ),
            "data.drop: `rooms` can't be dropped, because feature.columns.area reads it.",
        ),
        (("data.drop=[kind]", "data.stratify=kind"), "`stratify` (=kind) is no column."),
        (("data.on_missing_target=skip",), 'data.on_missing_target: "skip" is not'),
    ],
)
def test_wrong_words_are_errors(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in fail(capsys, *LINE, DROP, "loss=mse", "metric=[rmse]", *words)


@pytest.mark.parametrize(
    ("part", "dropped"),
    [
        ({"key": "a"}, ["a"]),
        ({"key": ["b", "a"], "per": "c"}, ["a", "b", "c"]),
        ({"keys": ["a", "b"]}, ["a", "b"]),
        ({"expression": "log(a) + `a b` / max(b, 2)"}, ["a", "a b", "b"]),
        ({"expression": "x == 'a' and not is_null(`b`) or true"}, ["b"]),
        ({"expression": "a +"}, []),
        ({"key": "other"}, []),
    ],
)
def test_the_columns_that_a_part_reads_are_found(part: dict[str, Any], dropped: list[str]) -> None:
    names = ["a", "b", "c", "a b", "log", "max", "and", "true"]
    feature = {"target": None, "columns": {"x": part}, "inputs": {"columns": ["x"]}}
    found = find_drop_problems({"data": {"drop": names}, "feature": feature})
    assert sorted(problem.split("`")[1] for _, problem in found) == dropped


def test_a_column_may_be_dropped_that_only_shares_its_name_with_a_feature_column() -> None:
    text = FEATURE.replace("columns: {area:", "columns: {kind:").replace("[area]", "[double]")
    text = text.replace("z_score}}", "z_score}, double: {_target_: components.feature.Numeric, key: kind}}")
    Path("conf/feature/mine.yaml").write_text(text)
    words = [*LINE, DROP, "feature=mine", "loss=mse", "metric=[rmse]", *QUICK]
    try:
        runner.run(*words, "data.drop=[kind]")
    except ConfigError as error:
        pytest.fail(str(error))


# ------------------------------------------------------------------------------------------------- the remaining rows


@pytest.mark.parametrize("name", ["", "id"])
@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_counts_the_rows_of_the_file_is_left_out(name: str, start: int) -> None:
    lines = [f"{n},{row}" for n, row in enumerate(ROWS, start)]
    Path("houses.csv").write_text("\n".join([f"{name},rooms,area,price,kind", *lines]) + "\n")
    found = suggest(Csv(path="houses.csv", target="price", on_missing_target="drop"))
    assert found["feature"]["columns"].keys() == {"rooms", "area", "kind"}
    assert any("it numbers the rows" in note for note in found["notes"])


@pytest.mark.parametrize("name", ["", "id"])
def test_a_column_that_counts_only_the_remaining_rows_is_none(name: str) -> None:
    kept = iter(range(80))
    lines = [f"{next(kept) if row.split(',')[2] else 500},{row}" for row in ROWS]
    Path("houses.csv").write_text("\n".join([f"{name},rooms,area,price,kind", *lines]) + "\n")
    source = Csv(path="houses.csv", target="price", on_missing_target="drop")
    if name:
        assert "id" in suggest(source)["feature"]["columns"]
    else:
        with pytest.raises(DataError, match=r"column 1 of houses.csv has no name, but values"):
            suggest(source)


def test_the_counts_of_a_suggestion_are_those_of_the_remaining_rows() -> None:
    gaps = ["?" if n % 8 == 3 or n % 20 == 0 else "-" if n == 11 else f"{n + 0.5}" for n in range(80)]
    words = ["NA" if n in (3, 4) else "xyz"[n % 3] for n in range(80)]
    lines = [",".join(fields) for fields in zip(ROWS, gaps, words, strict=True)]
    Path("houses.csv").write_text("\n".join(["rooms,area,price,kind,gap,word", *lines]) + "\n")
    found = suggest(Csv(path="houses.csv", target="price", on_missing_target="drop"))
    table = {row[0]: " ".join(row) for row in found["table"]}
    assert "4 as ?" in table["gap"]
    assert "1 as NA" in table["word"]
    notes = "\n".join(found["notes"])
    assert "missing: '?' in 4 rows (first: line 2)" in notes
    assert "'-'" not in notes, "this row is left out"


@pytest.mark.parametrize("values", [("foo", "bar"), ("1.5", "2.5"), ("2024-01-02", "2024-03-05")])
def test_a_column_without_a_value_in_the_training_split_can_be_dropped(
    capsys: pytest.CaptureFixture[str], values: tuple[str, str]
) -> None:
    rows = [f"{n * 37 % 101 + 0.5},{values[n - 78] if n >= 78 else ''},{n % 4 + 0.5}" for n in range(80)]
    Path("houses.csv").write_text("\n".join(["area,rare,price", *rows]) + "\n")
    words = (*LINE, *QUICK, "data.seed=null")  # the last rows are held out
    message = fail(capsys, *words)
    assert "column `rare` has no" in message
    assert message.endswith("leave it out: set 'data.drop=[rare]'\n")
    assert main([*words, "data.drop=[rare]"]) == 0
    assert "set 'data.drop=[area,rare]'" in fail(capsys, *words, "data.drop=[area]")
