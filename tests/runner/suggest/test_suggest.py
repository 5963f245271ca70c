"""Suggestions for tables: what is predicted, from which columns, and how."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.data import Csv, Frame
from components.types import DataError
from runner.suggest.suggest import suggest


def write(path: Path, text: str) -> Csv:
    path.write_text(text)
    return Csv(path=str(path))


def make_suggestion(tmp_path: Path, data: dict[str, list[Any]], **options: Any) -> dict[str, Any]:
    return suggest(Csv(path=write(tmp_path / "table.csv", rows_of(data)).path, **options))


def rows_of(data: dict[str, list[Any]]) -> str:
    lines = [",".join(data), *(",".join(map(str, row)) for row in zip(*data.values(), strict=True))]
    return "\n".join(lines)


def repeat(*values: Any, rows: int = 120) -> list[Any]:
    return (list(values) * rows)[:rows]


RARE_METRICS = ["accuracy", "auc", "average_precision", "f1"]
NUMBERS = [n * 0.5 for n in range(120)]


@pytest.mark.parametrize(
    ("target", "part", "loss", "metrics"),
    [
        (NUMBERS, "Numeric", "mse", ["rmse", "mae", "r2"]),
        (list(range(120)), "Numeric", "mse", ["rmse", "mae", "r2"]),
        (repeat(3, 4, 5), "Label", "softmax_cross_entropy", ["accuracy"]),
        (repeat("yes", "no"), "Label", "binary_cross_entropy", ["accuracy"]),
        (repeat("true", "false"), "Label", "binary_cross_entropy", ["accuracy"]),
    ],
)
def test_the_target_decides_loss_and_metrics(
    tmp_path: Path, target: list[Any], part: str, loss: str, metrics: list[str]
) -> None:
    found = make_suggestion(tmp_path, {"y": target, "x": NUMBERS}, target="y")
    assert found["feature"]["target"]["_target_"] == f"components.feature.{part}"
    assert (found["choices"]["loss"], found["choices"]["metric"]) == (loss, metrics)
    assert found["values"]["data"].get("stratify") == ("y" if part == "Label" else None)


@pytest.mark.parametrize(
    ("target", "metrics", "positive"),
    [
        (repeat("yes", *["no"] * 4), ["accuracy"], None),
        (repeat("yes", *["no"] * 5), RARE_METRICS, "yes"),
        (repeat("aye", *["no"] * 5), RARE_METRICS, "aye"),
        (repeat(0, *[1] * 9), RARE_METRICS, "0"),
        (repeat("0.0", *["1.0"] * 9), RARE_METRICS, "0"),
        (repeat("false", *["true"] * 9), RARE_METRICS, "False"),
        (repeat("${x}", *["no"] * 9), ["accuracy", "auc"], None),
        (repeat("a", "a", "b", "b", "c"), ["accuracy"], None),
        (repeat("a", "a", "a", "a", "b", "b", "b", "b", "c"), ["accuracy", "balanced_accuracy", "f1"], None),
    ],
)
def test_a_rare_class_has_metrics_of_its_own(
    tmp_path: Path, target: list[Any], metrics: list[str], positive: str | None
) -> None:
    found = make_suggestion(tmp_path, {"y": target, "x": NUMBERS}, target="y")
    assert found["choices"]["metric"] == metrics
    parameters = {name: {"positive": positive} for name in ("average_precision", "f1")}
    assert found["values"].get("metric") == (parameters if positive else None)
    plan = {row[0]: row[4] for row in found["table"]}["y"]
    assert (f"; metrics of the rare class {positive}" in plan) == (positive is not None)


def test_each_column_becomes_a_feature_or_a_note_says_why_it_is_left_out(tmp_path: Path) -> None:
    found = make_suggestion(
        tmp_path,
        {
            "": list(range(1, 121)),
            "y": NUMBERS,
            "a b": repeat(1, 2, ""),
            "a_b": repeat(3, 4),
            "tail": repeat(*[0] * 30, 1000),
            "place": repeat("here", "", "there"),
            "city": [f"city {n // 3}" for n in range(120)],
            "who": [f"name {n}" for n in range(120)],
            "price": [f"${n}.50" for n in range(120)],
            "seats": repeat(2, 4, "?"),
            "same": repeat(1),
            "none": repeat(""),
            "on": repeat("true", "false"),
            "day": repeat("2020-01-01", "2021-05-05"),
            "at": repeat("2020-01-01 10:00:00", "", "2020-02-01 11:00:00"),
            "target": NUMBERS,
        },
        target="y",
    )
    feature = "components.feature."

    def numeric(key: str) -> dict[str, Any]:
        return {"_target_": f"{feature}Numeric", "key": key, "normalize": "z_score"}

    def time(key: str, *parts: str) -> dict[str, Any]:
        options = {"normalize": "z_score", "encoding": "cyclic"}
        return {"_target_": f"{feature}Time", "key": key, "parts": list(parts), **options}

    assert found["feature"]["columns"] == {
        "a_b_2": numeric("a b") | {"missing": "median", "indicate_missing": True},
        "a_b": numeric("a_b"),
        "tail": numeric("tail") | {"normalize": ["log1p", "z_score"]},
        "place": {"_target_": f"{feature}Vocabulary", "key": "place", "oov": 1, "mask": "", "missing": ""},
        "city": {"_target_": f"{feature}Vocabulary", "key": "city", "oov": 1, "min_count": 2},
        "city_embedding": {"_target_": f"{feature}Embedding", "key": "city", "dimension": 13},
        "price": numeric("price"),
        "seats": numeric("seats") | {"missing": "median", "indicate_missing": True},
        "on": numeric("on"),
        "day": time("day", "elapsed", "year", "month"),
        "at": time("at", "elapsed", "month", "weekday", "hour") | {"missing": 0.0, "indicate_missing": True},
        "target_2": numeric("target"),
    }
    listed = ["a_b_2", "a_b", "tail", "place", "city_embedding", "price", "seats", "on", "day", "at", "target_2"]
    assert found["feature"]["inputs"] == {"columns": listed}
    assert found["notes"] == [
        "day has dates, and the rows are split at random. To test on the latest rows, set data.split_by=day",
        "price is read as numbers, without `$`. To keep the text, set data.types.price=string",
        "seats is read as numbers; missing: '?' in 40 rows (first: line 4). To keep the text, set "
        "data.types.seats=string",
        "'' is left out: it numbers the rows",
        "who is left out: it has 120 different values in 120 rows. "
        "To use them as categories, set data.types.who=string",
        "same is left out: it has one value only",
        "none is left out: it has no values",
    ]
    table = {row[0]: row[1:] for row in found["table"]}
    assert table["column"] == ("type", "missing", "distinct", "becomes")
    assert table["place"] == ("string", "40", "2", "one of 2 values")
    assert found["values"]["data"]["types"]["a_b"] == "float", "whole by chance"
    assert table["a_b"][0] == "int", "as in the file, like a column that is left out"
    assert "who" not in found["values"]["data"]["types"]
    assert found["values"]["data"]["marks"] == {"price": "$"}


@pytest.mark.parametrize(("low", "steps"), [(0, ["log1p", "z_score"]), (-1, "z_score"), (-0.5, "z_score")])
def test_skewed_numbers_below_0_get_no_logarithm(tmp_path: Path, low: float, steps: Any) -> None:
    expected, part = plan_of(tmp_path, [low, *repeat(*[0] * 30, 1000)])
    assert part is not None
    assert part["normalize"] == steps
    assert ("logarithm" in expected) == (low == 0)


def test_many_different_texts_are_hashed(tmp_path: Path) -> None:
    rows = 60_000
    found = make_suggestion(
        tmp_path, {"y": list(range(rows)), "x": [f"u{n % 25_000}" for n in range(rows)]}, target="y"
    )
    assert found["feature"]["columns"]["x"]["_target_"] == "components.feature.Hashed"
    assert found["values"]["training"]["batch_size"] == 512


def test_a_suggestion_leaves_nothing_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", "zip,y\n1000,1\n2000,2\n1000,3\n2000,4\n").path
    types: Any = {"zip": "string"}
    suggest(Csv(path=path, types=types, target="y"))
    assert Csv(path=path).table.types == {"zip": "int", "y": "int"}


def suggest_for(tmp_path: Path, values: list[Any], **options: Any) -> dict[str, Any]:
    """The suggestion for a table with a column `x`."""
    data = {"y": [n * 0.5 for n in range(len(values))], "x": values, "z": repeat(0.5, 1, rows=len(values))}
    return make_suggestion(tmp_path, data, target="y", **options)


def plan_of(tmp_path: Path, values: list[Any], **options: Any) -> tuple[str, dict[str, Any] | None]:
    """The text of the plan of a column `x`, and its first feature column."""
    found = suggest_for(tmp_path, values, **options)
    part = found["feature"]["columns"].get("x")
    return {row[0]: row[4] for row in found["table"]}["x"] if part else found["notes"][0].removeprefix("x is "), part


def notes_of(tmp_path: Path, values: list[Any], **options: Any) -> list[str]:
    """The notes on a column `x` that is not left out."""
    notes = [note.removeprefix("x ") for note in suggest_for(tmp_path, values, **options)["notes"]]
    return [note for note in notes if not note.startswith("is left out")]


NOTED = "has 200 different numbers in as many rows. If they only name the rows, set 'data.drop=[x]'"


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        (range(200), "left out: it numbers the rows. To keep it, set data.types.x=float", ""),
        ([f"{n}.0" for n in range(1, 201)], "left out: it numbers the rows. To keep it, set data.types.x=float", ""),
        (range(1800, 2000), "z-score", NOTED),
        (range(200, 0, -1), "z-score", NOTED),
        ([n * 7 % 200 for n in range(200)], "z-score", NOTED),
        ([(n * 77 % 211) * 3 for n in range(200)], "z-score", NOTED),
        ([1, *range(1, 200)], "z-score", ""),
        ([n * n for n in range(200)], "z-score", ""),
        ([10**17 + 10**15 * (n % 7) + 1 for n in range(200)], "one of 7 values", ""),
        (
            [10**17 + 10**15 * n for n in range(200)],
            "left out: it has 200 different values in 200 rows. To use them as categories, set data.types.x=string",
            "",
        ),
    ],
)
def test_only_numbers_that_count_the_rows_are_left_out(tmp_path: Path, values: Any, expected: str, note: str) -> None:
    text, part = plan_of(tmp_path, list(values))
    assert text == expected
    assert (part is None) == text.startswith("left out")
    assert notes_of(tmp_path, list(values)) == ([note] if note else [])
    for kind in ("float", "int"):
        assert plan_of(tmp_path, list(values), types={"x": kind})[1] is not None
        assert notes_of(tmp_path, list(values), types={"x": kind}) == []


def test_a_column_that_counts_the_rows_is_used_where_there_is_no_other(tmp_path: Path) -> None:
    found = make_suggestion(tmp_path, {"x": list(range(120)), "y": NUMBERS, "z": repeat(1)}, target="y")
    assert found["feature"]["inputs"] == {"columns": ["x"]}


@pytest.mark.parametrize("start", [1_700_000_000, -1_700_000_000, 1_700_000_000 * 10**9])
def test_numbers_far_from_0_are_numbers_without_a_logarithm(tmp_path: Path, start: int) -> None:
    seconds = [start + 60 * (n % 50) ** 4 for n in range(200)]  # skewed
    text, part = plan_of(tmp_path, seconds)
    assert text == "z-score"
    assert part is not None
    assert (part["key"], part["normalize"]) == ("x", "z_score")


def test_whole_numbers_that_float64_does_not_tell_apart_are_no_numbers_unless_that_is_set(tmp_path: Path) -> None:
    start, rows = 2**60, range(120)
    data = {"y": NUMBERS, "ids": [start + 10 * n for n in rows], "few": [start + n % 4 for n in rows]}
    rounded = "has whole numbers beyond 2^53, which float64 rounds. For rounded numbers, set data.types."
    found = make_suggestion(tmp_path, data, target="y")
    assert [*found["feature"]["columns"]] == ["few"]
    assert found["values"]["data"]["types"]["few"] == "string"
    assert any(
        note.startswith("ids is left out") and note.endswith(f"It {rounded}ids=float") for note in found["notes"]
    )
    assert f"few {rounded}few=float" in found["notes"]
    nanoseconds = data | {"ids": [start + 1000 * n for n in rows]}
    assert "ids" in make_suggestion(tmp_path, nanoseconds, target="y")["feature"]["columns"]
    assert "ids" in make_suggestion(tmp_path, data, target="y", types={"ids": "float"})["feature"]["columns"]
    declared = make_suggestion(tmp_path, data, target="y", types={"ids": "int"})
    assert "ids has whole numbers beyond 2^53, which float64 rounds" in declared["notes"]
    target = data | {"y": [start + n for n in rows], "x": NUMBERS}
    with pytest.raises(DataError, match=r"set data\.types\.y=float; for classes, set data\.types\.y=string"):
        make_suggestion(tmp_path, target, target="y")
    labels = make_suggestion(tmp_path, target | {"y": data["few"]}, target="y")
    assert labels["feature"]["target"]["_target_"] == "components.feature.Label"


def test_infinite_numbers_are_reported_without_a_warning_of_numpy(tmp_path: Path) -> None:
    text, _ = plan_of(tmp_path, [*NUMBERS, "inf"])
    assert text.startswith("z-score, but is inf or NaN in 1 row, the first is inf (")
    assert text.endswith("table.csv, line 122), which a run does not allow")
    assert plan_of(tmp_path, [*NUMBERS, "1e300"])[0] == "z-score"
    for text, shown in (("inf", "inf"), ("1e400", "1e400"), ("9" * 400 + ".5", "9" * 40 + "…")):
        message = rf"column `y` .* is inf or NaN in 1 row, the first is {shown} \(.*table.csv, line 122\). Correct"
        with pytest.raises(DataError, match=message):
            make_suggestion(tmp_path, {"y": [*NUMBERS, text], "x": [*NUMBERS, 1]}, target="y")


def test_a_target_of_few_whole_numbers_has_classes_in_any_spelling(tmp_path: Path) -> None:
    found = make_suggestion(tmp_path, {"y": repeat("0.0", "1.0"), "x": NUMBERS}, target="y")
    assert found["feature"]["target"]["_target_"] == "components.feature.Label"
    types = found["values"]["data"]["types"]
    assert types["y"] == "int"
    assert Csv(path=str(tmp_path / "table.csv"), types=types).table.values["y"][:3].tolist() == [0, 1, 0]


def test_columns_with_names_that_are_not_allowed_are_left_out(tmp_path: Path) -> None:
    data = {"y": NUMBERS, "a ${b}": repeat(1, 2), "???": repeat(1, 2), "_target_": repeat(1, 2), "c": NUMBERS}
    found = make_suggestion(tmp_path, data, target="y")
    assert found["feature"]["columns"].keys() == found["values"]["data"]["types"].keys() - {"y"} == {"c"}
    assert found["notes"][0] == "a ${b} is left out: its name is not allowed in a configuration. Rename it."
    with pytest.raises(
        DataError, match=r"column `a \$\{b\}` \(data.target\) of .* has a name that is not allowed in a configuration"
    ):
        make_suggestion(tmp_path, data, target="a ${b}")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([f"code {n % 40}" for n in range(60)], "left out: it has 40 different values in 60 rows. To use them as"),
        ([f"a film of the year {n}" for n in range(60)], "text: embedding of its words and pairs of words, 8 numbers"),
    ],
)
def test_many_different_texts_are_examined(tmp_path: Path, values: list[Any], expected: str) -> None:
    text, _ = plan_of(tmp_path, values)
    assert text.startswith(expected)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            [*NUMBERS[:-1], "1O"],
            "x: 1 of 120 values is not a number; the first is '1O' (line 121). "
            """To read them as missing, set 'data.nulls.x=["1O"]'; to read all values as text, set """
            "data.types.x=string; to skip these rows, set "
            "data.on_bad_row=skip.",
        ),
        (
            [*NUMBERS[:-5], *"abcde"],
            "x: 5 of 120 values are not numbers; the first is 'a' (line 117). "
            "To read all values as text, set data.types.x=string; to skip these rows, set "
            "data.on_bad_row=skip.",
        ),
        (
            [f'"{n},{n}"' for n in range(60)],
            "x: its numbers, such as '0,0', have a decimal comma. "
            "To read decimal commas, set data.decimal.x=comma; to read all values as text, set data.types.x=string.",
        ),
        (
            [f"{n % 12 + 1}/02/20{n:02}" for n in range(60)],
            "x: '1/02/2000' may be 2000-02-01 (the day first) or 2000-01-02 (the month first). To read the day first, "
            "set data.dates.x=day_first; to read the month first, set data.dates.x=month_first; to read all values as "
            "text, set data.types.x=string.",
        ),
    ],
)
def test_the_user_decides_how_an_odd_column_is_read(tmp_path: Path, values: list[Any], problem: str) -> None:
    columns = {"y": [n * 0.5 for n in range(len(values))], "x": values, "z": repeat(0.5, 1, rows=len(values))}
    with pytest.raises(DataError) as raised:
        make_suggestion(tmp_path, columns, target="y")
    assert str(raised.value) == f"{tmp_path / 'table.csv'}: decide how these columns are read.\n{problem}"


@pytest.mark.parametrize("ids", [range(119), [10**17 + 7 * n for n in range(119)], [f"${n}" for n in range(119)]])
def test_a_run_skips_the_rows_that_the_suggestion_has_skipped(tmp_path: Path, ids: Iterable[Any]) -> None:
    columns = {"id": [*ids, "Total"], "x": [*NUMBERS[:-1], ""], "y": repeat("a", "b")}
    source = Csv(path=write(tmp_path / "table.csv", rows_of(columns)).path, target="y", on_bad_row="skip")
    found = suggest(source)
    assert "x" in found["feature"]["columns"]
    assert "id" not in found["feature"]["columns"]
    declared = replace(source, **found["values"]["data"]).with_used_columns(["x", "y"])
    assert declared.sizes() == source.sizes() == {"all": 119}


def test_a_target_with_a_mark_is_a_number(tmp_path: Path) -> None:
    found = make_suggestion(tmp_path, {"y": repeat("$10", "$20", "$30"), "x": NUMBERS}, target="y")
    assert found["feature"]["target"]["_target_"] == "components.feature.Numeric"
    assert found["values"]["data"]["marks"] == {"y": "$"}


def test_prose_is_hashed_and_embedded(tmp_path: Path) -> None:
    found = make_suggestion(
        tmp_path, {"y": NUMBERS, "x": [f"some words on {n}" for n in range(len(NUMBERS))]}, target="y"
    )
    columns = found["feature"]["columns"]
    assert list(columns) == ["x", "x_ids", "x_embedding"]
    assert [part["key"] for part in columns.values()] == ["x", "x", "x_ids"]
    assert found["feature"]["inputs"] == {"columns": ["x_embedding"]}
    assert columns["x_ids"]["buckets"] == 2**14
    without = make_suggestion(tmp_path, {"y": NUMBERS, "x": NUMBERS[::-1]}, target="y")
    assert found["values"]["learning_rate"] < without["values"]["learning_rate"]


def test_declared_types_decide(tmp_path: Path) -> None:
    count = [n % 40 for n in range(120)]
    data: dict[str, list[Any]] = {"y": count, "x": [*NUMBERS[:90], *(["?"] * 30)], "z": repeat(0, 1)}
    number = make_suggestion(tmp_path, data, target="y")
    assert number["choices"]["loss"] == "mse"
    assert {row[0]: row[4] for row in number["table"]}["y"].endswith("; for classes, set data.types.y=string")
    types: Any = {"y": "string", "x": "string"}
    found = make_suggestion(tmp_path, data, target="y", types=types)
    assert found["choices"]["loss"] == "softmax_cross_entropy"
    assert found["feature"]["columns"]["x"]["_target_"].endswith("Hashed"), "91 values in 120 rows"
    assert {row[0]: row[4] for row in make_suggestion(tmp_path, data, target="z")["table"]}["z"] == (
        "target: one of 2 classes; for a number, set data.types.z=float"
    )
    assert make_suggestion(tmp_path, data, target="z", types={"z": "float"})["choices"]["loss"] == "mse"


def test_texts_of_missing_values_and_rare_classes_are_reported(tmp_path: Path) -> None:
    data: dict[str, list[Any]] = {"y": [*repeat("a", "b"), "c"], "x": [*repeat("NA", "US", "", "FR"), "US"]}
    found = make_suggestion(tmp_path, data, target="y")
    assert {row[0]: row[2] for row in found["table"]}["x"] == "60 (30 as NA)"
    assert "stratify" not in found["values"]["data"]
    assert found["notes"] == [
        "class 'c' of y has 1 row, too few for 3 splits, so a run may fail. Add rows of this class, or leave it out."
    ]
    with pytest.raises(
        DataError, match=r"Read as missing: 30 as NA. To keep these texts as values, set 'data.nulls=\[\"\"\]'"
    ):
        make_suggestion(tmp_path, {"y": repeat("NA", "US", "FR", "DE"), "x": NUMBERS}, target="y")
    data = {"y": [*NUMBERS[:-1], "later"], "x": NUMBERS}
    with pytest.raises(DataError, match=r"and leave these rows out, set data.on_missing_target=drop 'data.nulls.y="):
        make_suggestion(tmp_path, data, target="y")
    with pytest.raises(DataError, match=r"Read as missing: 1 as later. To leave these rows out"):
        make_suggestion(tmp_path, data, target="y", nulls={"y": ("later",)})


def test_paths_of_images_name_the_source_that_reads_them(tmp_path: Path) -> None:
    paths = [f"photos/{n}.JPG" for n in range(120)]
    columns = {"y": repeat("a", "b"), "x": NUMBERS, "photo": ["a.pdf", "", *paths[2:]]}
    columns["document"] = ["a.png", *(f"scan{n}.pdf" for n in range(119))]
    of_file, of_frame = (
        {note.partition(" is ")[0]: note for note in found["notes"]}
        for found in (make_suggestion(tmp_path, columns, target="y"), suggest(Frame(columns=columns, target="y")))
    )
    remedy = "To use the images, write data=image_table instead of data=csv"
    assert of_file["photo"] == f"photo is left out: it has paths of images. {remedy}"
    assert of_frame["photo"].endswith("write the table into a CSV file, and set data=image_table data.path=FILE")
    assert "different values" in of_file["document"]


def test_splits_in_the_order_of_the_rows_are_not_stratified(tmp_path: Path) -> None:
    found = make_suggestion(tmp_path, {"y": repeat("a", "b"), "x": NUMBERS}, target="y", seed=None)
    assert "stratify" not in found["values"]["data"]
    assert found["notes"] == ["data.seed=null holds out the last rows, so the splits aren't stratified."]


@pytest.mark.parametrize(("rows", "train"), [(4, 2), (7, 5), (10, 6)])
def test_a_batch_is_not_larger_than_the_training_split(tmp_path: Path, rows: int, train: int) -> None:
    found = make_suggestion(tmp_path, {"y": NUMBERS[:rows], "x": [n * n + 0.5 for n in range(rows)]}, target="y")
    assert found["values"]["training"]["batch_size"] == train


def test_names_are_shown_unchanged(tmp_path: Path) -> None:
    data = {"1": repeat(1, 2), " y": NUMBERS}
    with pytest.raises(DataError, match=r"""Did you mean ' y'\? Write 'data.target=" y"'\. Columns: ' y', 1\."""):
        make_suggestion(tmp_path, data, target="y")
    assert make_suggestion(tmp_path, data, target=1)["feature"]["target"]["key"] == "1"
    with pytest.raises(DataError, match=r"Most names .* the line with the names may be missing"):
        make_suggestion(tmp_path, {"0.5": NUMBERS, "7": NUMBERS, "a": NUMBERS}, target="y")


@pytest.mark.parametrize(
    ("data", "target", "message"),
    [
        (
            {"price": [1, 2], "x": [1, 2]},
            "prize",
            r"data.target=prize is not a column of .*\. Did you mean price\? Columns: price",
        ),
        ({"price": [1, 2], "x": [1, 2]}, None, r"data.target is missing\. .* Columns of .*: price, x\."),
        ({"price": [1, 2]}, "price", "has one column only: price"),
        ({"y": ["", ""], "x": [1, 2]}, "y", r"column `y` \(data.target\) of .* has no values"),
        ({"y": [3, 3], "x": [1, 2]}, "y", "has one value only, so there is nothing to predict"),
        (
            {"y": [3, 4, ""], "x": [1, 2, 3]},
            "y",
            "no value in 1 row, the first is .*, line 4. To leave these rows out, set data.on_missing_target=drop",
        ),
        (
            {"y": [3, 4], "x": [1, 1], "z": ["", ""]},
            "y",
            "no feature column for the target `y`: x: left out: it has one v",
        ),
        ({"y": ["2020-01-01", "2020-01-02"], "x": [1, 2]}, "y", "has times. It must have numbers or classes."),
        (
            {"y": [f"t{n}" for n in range(9)], "x": NUMBERS[:9]},
            "y",
            "9 different texts in 9 rows: too many for classes",
        ),
    ],
)
def test_a_target_that_can_t_be_predicted_is_an_error(
    tmp_path: Path, data: dict[str, list[Any]], target: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_suggestion(tmp_path, data, target=target)


@pytest.mark.skipif("TITRATE_DATA" not in os.environ, reason="TITRATE_DATA names no folder of real data")
def test_california_housing() -> None:
    source = Csv(path="california_housing/housing.csv", target="median_house_value")
    assert source.sizes() == {"all": 20_640}
    found = suggest(source)
    assert [row[0] for row in found["table"] if row[2] == "207"] == ["total_bedrooms"]
    assert found["feature"]["columns"]["ocean_proximity"]["_target_"] == "components.feature.Vocabulary"


def test_many_columns_of_numbers_are_one_feature_column_for_each_way_to_scale_them(tmp_path: Path) -> None:
    """The program has arrays for each feature column, and XLA takes long to compile many of them."""
    plain = {f"c {n}": [(n * 37 + row * row) % 101 - 0.5 for row in range(120)] for n in range(60)}
    gaps = {f"g{n}": ["", *plain["c 1"][1:]] for n in range(39)}
    skewed = {"skewed": [1.5 ** (row % 40) for row in range(120)]}
    few = {"y": NUMBERS, "where": repeat("a", "b"), **plain, **gaps}
    assert [*make_suggestion(tmp_path, few, target="y")["feature"]["columns"]][:2] == ["where", "c_0"]
    found = make_suggestion(tmp_path, {**few, **skewed}, target="y")
    assert found["feature"]["inputs"] == {"columns": ["where", "numbers", "numbers_2", "skewed"]}
    columns = {name: column["key"] for name, column in found["feature"]["columns"].items()}
    assert columns == {"where": "where", "numbers": [*plain], "numbers_2": [*gaps], "skewed": "skewed"}
    assert len(found["table"]) == 103, "the printed table has a row for each column"
    part = found["feature"]["columns"]["numbers"]
    assert (part["_target_"], part["normalize"]) == ("components.feature.Numeric", "z_score")


def test_a_table_with_too_many_columns_is_an_error(tmp_path: Path) -> None:
    names = [f"c {n}" for n in range(10_001)]
    path = write(tmp_path / "table.csv", "\n".join([",".join(names), *[",".join(["1"] * len(names))] * 3])).path
    with pytest.raises(DataError, match=r"has 10,001 columns, too many .* At most 10,000 .* Write a feature file"):
        suggest(Csv(path=path, target="c 1"))


def test_many_embeddings_take_long_to_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"t{n}": [f"v{(row + n) % 40}" for row in range(120)] for n in range(300)}
    found = make_suggestion(tmp_path, {"y": NUMBERS, **many}, target="y")
    assert any("300 embeddings of columns" in note and "takes about 21 s" in note for note in found["notes"])
    texts = {f"t{n}": repeat("a", "b", rows=20) for n in range(300)}
    found = make_suggestion(tmp_path, {"y": NUMBERS[:20], **texts}, target="y")
    assert not any("compiling" in note for note in found["notes"])
    monkeypatch.setattr("runner.suggest.suggest.MAX_FEATURE_COLUMNS", 299)
    with pytest.raises(DataError, match=r"gives 300 feature columns, .* At most 299 are allowed; .* by data\.drop="):
        make_suggestion(tmp_path, {"y": NUMBERS[:20], **texts}, target="y")


def test_the_sizes_depend_on_the_training_split(tmp_path: Path) -> None:
    data = {"y": NUMBERS[:3], "x": [0.25, 1, 4]}
    with pytest.raises(DataError, match=r"table.csv has 3 rows: .*. Add rows, or set data.valid=1 data.test=1$"):
        make_suggestion(tmp_path, data, target="y")
    with pytest.raises(DataError, match=r"table.csv has 2 rows: .*. Add rows$"):
        make_suggestion(tmp_path, {name: values[:2] for name, values in data.items()}, target="y")
    data = {name: values * 10 for name, values in data.items()}
    other = write(tmp_path / "other.csv", "y,x\n1,2\n").path
    with pytest.raises(DataError, match=r"table.csv has 30 rows: `valid` \(=30\) holds out 30 of 30 rows"):
        make_suggestion(tmp_path, data, target="y", valid=30, test=other)
    for sizes in ({"valid": 30}, {"valid": 0.9, "test": 0.9}):
        with pytest.raises(DataError, match=r"no row is left for the train split; choose smaller splits$"):
            make_suggestion(tmp_path, data, target="y", **sizes)
