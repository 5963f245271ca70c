"""Columns as they come: without a name, with odd names, with gaps only beside one value, with tags, with stand-ins."""

import csv
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from components.data import Csv
from components.types import Constants, DataError
from runner.__main__ import main
from runner.config.compose import configure
from runner.data.load import Features, load_encoded
from runner.errors import ConfigError
from runner.signature.build import build
from runner.suggest.suggest import suggest
from runner.tracking import store

pytestmark = [
    pytest.mark.optax,
    pytest.mark.usefixtures("in_empty_folder"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
]

NUMBERS = [n * 0.5 for n in range(1, 61)]
QUICK = ("training.epochs=1", "architecture.widths=[4]", "quiet=true")


@pytest.fixture(autouse=True)
def own_cache(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))


def write(names: list[str], columns: list[list[Any]], path: str = "table.csv") -> str:
    with Path(path).open("w", newline="") as file:
        csv.writer(file).writerows([names, *zip(*columns, strict=True)])
    return path


def suggest_for(names: list[str], columns: list[list[Any]], **options: Any) -> dict[str, Any]:
    """The suggestion for columns beside the target `y`."""
    return suggest(Csv(path=write([*names, "y"], [*columns, NUMBERS]), **{"target": "y", **options}))


def encode(suggestion: dict[str, Any], **options: Any) -> dict[str, np.ndarray]:
    """The first array of each column that the suggestion inputs, for all rows."""
    source: Any = Csv(path="table.csv", types=suggestion["values"]["data"]["types"], valid=5, test=5, **options)
    features = Features.from_config(suggestion["feature"])
    encoded = load_encoded(source, features, identity="", cache=None).encoded
    return {name: np.asarray(next(iter(encoded[name].values()))) for name in features.inputs["columns"]}


def repeat(*values: Any) -> list[Any]:
    return (list(values) * len(NUMBERS))[: len(NUMBERS)]


# ------------------------------------------------------------------------------------------------ one value and gaps


@pytest.mark.parametrize("value", [1, 0, 0.5, "True", "2024-01-01", "SALE", "a few words here and there", 10**17])
def test_one_value_and_gaps_are_a_feature_of_any_type(value: Any) -> None:
    found = suggest_for(["x", "z"], [repeat(value, "", ""), repeat(1, 2)])
    assert found["feature"]["columns"]["x"] == {"_target_": "components.feature.MissingIndicator", "key": "x"}
    assert encode(found)["x"][:4].tolist() == [[0], [1], [1], [0]]
    assert ("x", "one value: whether it is missing") in {(row[0], row[4]) for row in found["table"]}
    without_gaps = suggest_for(["x", "z"], [repeat(value), repeat(1, 2)])
    assert without_gaps["notes"] == ["x is left out: it has one value only"]


# ------------------------------------------------------------------------------------------------ gaps and the word


@pytest.mark.parametrize("distinct", [2, 40])
def test_a_gap_and_the_word_missing_have_ids_of_their_own(distinct: int) -> None:
    words = ["missing", "", *(f"word {n}" for n in range(distinct))]
    rows = (words * 400)[: 40 * len(words)]
    write(["x", "y"], [rows, [n * 0.5 for n in range(len(rows))]])
    found = suggest(Csv(path="table.csv", target="y"))
    (ids,) = encode(found).values()
    ids = ids[: len(words)].tolist()
    assert len(set(ids)) == len(words)
    assert min(ids) == ids[1] == 0


def test_hashed_gaps_have_an_id_of_their_own() -> None:
    rows = [f"w {n}" for n in range(50)] + ["missing"] * 5 + [""] * 5
    found = suggest_for(["x"], [rows], types={"x": "string"})
    assert found["feature"]["columns"]["x"]["_target_"] == "components.feature.Hashed", "few words recur"
    (ids,) = encode(found).values()
    assert set(ids[55:]) == {0}
    assert (ids[:55] > 0).all()


# ------------------------------------------------------------------------------------------------ dates


def test_dates_of_one_year_have_no_constant_feature() -> None:
    days = [f"2024-{1 + n % 12:02}-{1 + n % 28:02}" for n in range(60)]
    found = suggest_for(["x"], [days])
    assert found["feature"]["columns"]["x"]["parts"] == ["elapsed", "month", "weekday"]
    values = encode(found)["x"]
    assert (values.std(axis=0) > 0.1).all()
    two = suggest_for(["x"], [repeat("2024-01-01", "2024-01-08", "")])["feature"]["columns"]["x"]
    assert "encoding" not in two, "no part with a period differs"
    assert encode(suggest_for(["x"], [repeat("2024-01-01", "2024-01-08", "")]))["x"].shape == (60, 2)


@pytest.mark.slow
def test_dates_of_new_rows_are_encoded_as_in_training() -> None:
    days = [
        "" if n % 7 == 3 else f"{2019 + n % 5}-{1 + n % 12:02}-{1 + n % 28:02} {n % 24:02}:30:00" for n in range(60)
    ]
    write(["when", "given", "y"], [days, repeat("", "yes", "yes"), NUMBERS])
    fitted = runner.load(runner.run("data=csv", "data.path=table.csv", "data.target=y", *QUICK, "tracking=none").folder)
    assert {type(column).__name__ for column in fitted.features.columns.values()} == {"Time", "MissingIndicator"}
    predictions, test = fitted.predict(Csv(path="table.csv")).prediction, fitted.predict("test")
    np.testing.assert_allclose(np.asarray(predictions)[test.row], test.prediction, rtol=1e-4)
    later = fitted.predict({"when": ["2031-01-01", None], "given": ["no", ""]}).prediction
    assert np.isfinite(later).all()


# ------------------------------------------------------------------------------------------------ no name


def test_nameless_columns_without_a_value_are_left_out_with_a_word() -> None:
    Path("table.csv").write_text("x,,y,,\n" + "".join(f"{n % 7},,{n / 2},,\n" for n in range(60)))
    source = Csv(path="table.csv", target="y")
    assert list(source.table.values) == ["x", "y"]
    assert suggest(source)["notes"] == ["3 columns (2, 4, 5) have no name and no value, and are left out"]
    assert main(["data=csv", "data.path=table.csv", "data.target=y", "tracking=none", *QUICK]) == 0
    found = suggest_for(["x", " "], [repeat(1, 2), repeat("")])
    assert found["notes"] == ["column 2 has no name and no value, and is left out"]


def test_an_index_of_pandas_is_left_out() -> None:
    found = suggest_for(["", "x"], [list(range(60)), repeat(1, 2)])
    assert found["notes"] == ["'' is left out: it numbers the rows"]
    with pytest.raises(DataError, match="has no feature column for the target `y`: '': left out"):
        suggest_for(["", "x"], [list(range(60)), repeat(1)])


def test_a_table_of_targets_only_has_no_feature_column() -> None:
    message = "has no feature column for the targets `x`, `y`: all columns are targets; leave one out$"
    with pytest.raises(DataError, match=message):
        suggest_for(["x"], [repeat(1, 2)], target=("x", "y"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["x", ""],
            r"column 2 of table.csv has no name, but values: the first is 'b' \(table.csv, line 4\). Name it in",
        ),
        (["x", "  "], r"column 2 of table.csv has the blank name '  ', but values: .* list its name, '  ', in `drop`"),
        (["", ""], r"column 1 of table.csv has no name, but values: the first is '1' \(table.csv, line 2\)"),
    ],
)
def test_nameless_columns_with_values_are_an_error_where_features_are_inferred(names: list[str], message: str) -> None:
    columns = [repeat(1, 2), ["", "", *["b"] * 58]]
    with pytest.raises(DataError, match=message):
        suggest_for(names, columns)
    source = Csv(path="table.csv", target="y", drop=tuple({name for name in names if not name.strip()}))
    assert list(source.profile().columns)[-1].name == "y"
    values = Csv(path="table.csv").table.values
    assert list(values) == ([*names, "y"] if len(set(names)) == 2 else ["y"]), "a feature file names what it reads"


def test_names_that_differ_by_case_or_blanks_are_names_of_their_own() -> None:
    found = suggest_for(["x", "X", " x", "x "], [[n + place / 4 for n in NUMBERS] for place in range(4)])
    assert [part["key"] for part in found["feature"]["columns"].values()] == ["x", "X", " x", "x "]
    values = encode(found)
    assert [array[0, 0] for array in values.values()] == [0.5, 0.75, 1.0, 1.25]


# ------------------------------------------------------------------------------------------------ odd names

ODD = [
    "a.b",
    "a/b",
    "x[0]",
    "a=b",
    "rate % 😀",
    "n" * 300,
    "target",
    "__",
    "1st",
    "größe",
    "..",
    "../x",
    "%s",
    "{z}",
    "a\nb",
]


def write_odd_table() -> list[str]:
    """Writes a table of columns with odd names, the last of which is the target. Returns the names."""
    names = [*ODD, "price [€/m²]"]
    write(names, [[n % (place + 3) + 0.25 for n in range(60)] for place in range(len(names))])
    return names


def test_a_run_on_odd_names_is_trained_and_predicts() -> None:
    names = write_odd_table()
    words = ["data=csv", "data.path=table.csv", f'data.target="{names[-1]}"', *QUICK, "tracking=none"]
    fitted = runner.load(runner.run(*words).folder)
    predictions, test = fitted.predict(Csv(path="table.csv")).prediction, fitted.predict("test")
    np.testing.assert_allclose(np.asarray(predictions)[test.row], test.prediction, rtol=1e-4)
    assert {key for column in fitted.features.columns.values() for key in column.keys} == {*ODD}


@pytest.mark.slow
def test_a_run_on_odd_names_is_recorded(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = write_odd_table()
    features = [name for name in ODD[1:] if name != "target"]  # only a target has this name
    numeric = "{_target_: components.feature.Numeric, normalize: z_score, key: "
    lines = [
        f"  {json.dumps(name, ensure_ascii=False)}: {numeric}{json.dumps(name, ensure_ascii=False)}}}"
        for name in features
    ]
    for folder in ("conf/feature", "experiments"):
        Path(folder).mkdir(parents=True)
    Path("conf/feature/odd.yaml").write_text(
        f'targets:\n  "price [€]": {numeric}"{names[-1]}"}}\n  a/loss: {numeric}"a.b"}}\n'
        "columns:\n" + "\n".join(lines) + f"\ninputs: {{columns: {json.dumps(features, ensure_ascii=False)}}}\n"
    )
    Path("experiments/odd.yaml").write_text(
        "defaults: [override /data: csv, override /feature: odd]\ndata: {path: table.csv}\n"
        'loss: {"price [€]": mse, a/loss: mse}\nmetric: {}\n'
    )
    shutil.copy(empty_store, "mlflow.db")
    monkeypatch.setattr("runner.execution.execute.DELIVERY_SECONDS", 60)
    result = runner.run("experiment=odd", *QUICK, "tracking=mlflow")
    client = store.connect("sqlite:///mlflow.db")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {*run.data.params.values()} >= {"a.b", names[-1]}
    for target, recorded in (("price [€]", "price _x005B__x20AC__x005D_"), ("a/loss", "a_loss")):
        assert run.data.metrics[f"test_{recorded}_loss"] == pytest.approx(result.metrics[f"test/{target}/loss"])


def test_what_is_set_for_a_column_is_printed_beside_what_is_inferred(capsys: pytest.CaptureFixture[str]) -> None:
    write(["x", "y"], [NUMBERS, repeat("a", "b")])
    words = ["data=csv", "data.path=table.csv", "data.target=y"]
    title = "set, and not shown in the table:\n"
    for override in ("feature.columns.x.normalize=min_max", "feature.target.missing=mask"):
        configure([*words, override])
        assert f"{title}  {override}\n" in capsys.readouterr().out
    configure([*words, "data.types.x=string", "training.epochs=3"])
    printed = capsys.readouterr().out
    assert "x       string" in printed
    assert title not in printed


def test_a_long_name_is_cut_in_the_printed_table(capsys: pytest.CaptureFixture[str]) -> None:
    write(["n" * 300, "y"], [repeat(1, 2), NUMBERS])
    assert main(["mode=init", "data=csv", "data.path=table.csv", "data.target=y"]) == 0
    table, _, _ = capsys.readouterr().out.partition("also inferred")
    assert max(map(len, table.splitlines())) < 100
    assert configure(["experiment=table_data"]).values["feature"]["columns"].keys() == {"n" * 300}


# ------------------------------------------------------------------------------------------------ stand-ins and tags


def test_a_value_that_may_stand_for_missing_ones_is_pointed_out() -> None:
    ages: list[Any] = [n % 50 + 20 if n % 10 else -999 for n in range(60)]
    spelled = ["NA" if n == 1 else f"{age}.0" for n, age in enumerate(ages)]
    found = suggest_for(["age", "the age"], [ages, spelled])
    text = "in 6 rows, far from its other values. If that stands for a missing value, set"
    assert found["notes"] == [
        f"""age is -999 {text} 'data.nulls.age=["","-999"]'""",
        f"""the age is -999.0 {text} 'data.nulls."the age"=["",NA,"-999.0"]'""",
    ]
    words = ["data=csv", "data.path=table.csv", "data.target=y"]
    override = found["notes"][1].rpartition("set ")[2].strip("'")
    suggested = configure([*words, override]).suggestion
    assert suggested is not None
    assert len(suggested.notes) == 1
    assert {row[0]: row[2] for row in suggested.table}["the age"] in ("1 as NA, 6 as -999.0", "6 as -999.0, 1 as NA")
    write(["y", "x"], [ages, NUMBERS])
    assert suggest(Csv(path="table.csv", target="y"))["notes"][-1].startswith(f"y is -999 {text}"), "also of the target"


@pytest.mark.parametrize(
    ("texts", "separator"),
    [
        (repeat("a;b", "b", "c;a", "b;c"), ";"),
        (repeat("a", "b", "b | a"), "|"),
        ([f"{'abcdefgh'[n % 8]}, {'ABCDEFGH'[n // 8]}" for n in range(60)], ","),  # as many as rows
    ],
)
def test_a_target_of_tags_has_any_number_of_labels(texts: list[str], separator: str) -> None:
    write(["t", "x"], [texts, NUMBERS])
    found = suggest(Csv(path="table.csv", target="t"))
    labels = {"_target_": "components.feature.Labels", "key": "t", "separator": separator}
    assert found["feature"]["target"] == labels
    assert (found["choices"]["loss"], found["choices"]["metric"]) == ("binary_cross_entropy", ["accuracy", "f1"])


def test_rows_without_tags_are_an_error_unless_one_override_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    write(["t", "x", "y"], [repeat("a;b", "b", "c;a", "b;c", ""), NUMBERS, repeat(1, 2, 3)])
    words = ["data=csv", "data.path=table.csv", "data.target=t"]
    with pytest.raises(ConfigError, match=r"on_missing_target=drop\. To .*, set feature\.target\.missing=empty$"):
        configure(words)
    part = "{_target_: components.feature.Labels, key: t, missing: empty}"
    for override in ("feature.target.missing=empty", f"feature.target={part}"):
        config = configure([*words, override])
        assert config.values["feature"]["target"]["missing"] == "empty"
        assert config.suggestion is not None
        assert "t has no value in 12 rows, which are examples without labels" in config.suggestion.notes
    config = configure([*words[:2], "data.target=[t,y]", "feature.targets.t.missing=empty"])
    assert config.values["feature"]["targets"]["t"]["missing"] == "empty"
    assert config.suggestion is not None
    assert "t has no value in 12 rows, which are examples without labels" in config.suggestion.notes
    with pytest.raises(ConfigError, match=r'feature\.target\.missing: "none" is not an allowed value'):
        configure([*words, "feature.target.missing=none"])


def test_texts_like_tags_are_classes_if_their_type_is_declared() -> None:
    write(["t", "x"], [repeat("a;b", "b", "c;a", "b;c"), NUMBERS])
    found = suggest(Csv(path="table.csv", target="t", types={"t": "string"}))
    assert found["feature"]["target"] == {"_target_": "components.feature.Label", "key": "t"}


@pytest.mark.parametrize(
    ("texts", "example"),
    [
        (repeat("a", "b", "c", "d", "e", "a;b"), ("a;b", ";")),  # few lists: they are no tags
        (repeat("a|b", "c|d", "e", "a"), ("a|b", "|")),  # few recur
        (repeat("x;y", "z;w", "e"), None),  # none recurs
        (repeat("a b c d; e", "e", "f"), None),  # a sentence
        (repeat("a, b", "a", "b", "c", "d"), None),
    ],
)
def test_texts_that_may_be_tags_are_pointed_out(texts: list[str], example: tuple[str, str] | None) -> None:
    write(["t", "x"], [texts, NUMBERS])
    found = [suggest(Csv(path="table.csv", target=target))["notes"] for target in ("t", "x")]
    for notes, name in zip(found, ("Labels", "Tokens"), strict=True):
        expected = (
            f"t has texts such as {example[0]!r}, each of which is read as one value. If it is a list, write a feature "
            f"file with components.feature.{name}, whose separator is {example[1]!r}"
            if example
            else None
        )
        assert [note for note in notes if "each of which" in note] == ([expected] if expected else [])
    declared = suggest(Csv(path="table.csv", target="t", types={"t": "string"}))
    assert not any("each of which" in note for note in declared["notes"])


def test_tags_of_an_input_are_pointed_out() -> None:
    (note,) = suggest_for(["t"], [repeat("a, b", "b", "c, a", "b, c")])["notes"]
    assert note.startswith("t has texts such as 'a, b', each of which is read as one value. If it is a list, write")


def test_an_unknown_key_of_a_declared_type_is_kept() -> None:
    whole = suggest_for(["x"], [repeat(3, 4, 5)], types={"x": "int"})
    assert whole["values"]["data"]["types"]["x"] == "int"
    large = suggest_for(["x"], [[10**17 + 10**15 * n for n in range(60)]], types={"x": "int"})
    assert large["feature"]["columns"]["x"]["_target_"] == "components.feature.Numeric"
    names = suggest_for(["x"], [[f"name {n}" for n in range(60)]], types={"x": "string"})
    (first, *_) = build(names["feature"]["columns"], {}).values()
    block = next(iter(Csv(path="table.csv").blocks("all")))
    assert len(set(first.encode(block, {}, Constants(static={"buckets": 20_000}))["ids"].tolist())) == 60


# ---------------------------------------------------------------------------------------------------- likely dates

DAYS = [np.datetime64("2014-01-30") + np.timedelta64(11 * n, "D") for n in range(60)]
SECONDS = [int(day.astype("M8[s]").astype(int)) + 1000 * n for n, day in enumerate(DAYS)]


def format_days(format: str) -> list[str]:
    return [day.item().strftime(format) for day in DAYS]


@pytest.mark.parametrize(
    ("values", "dates", "first"),
    [
        (format_days("%Y%m%d"), "yyyymmdd", "2014-01-30"),
        ([*format_days("%Y%m%d")[:59], "99991231"], "yyyymmdd", "2014-01-30"),
        (format_days("%Y%m"), '"%Y%m"', "2014-01-01"),
        (format_days("%Y%m%d1730"), '"%Y%m%d%H%M"', "2014-01-30T17:30"),
        (format_days("%Y%m%d173059"), '"%Y%m%d%H%M%S"', "2014-01-30T17:30:59"),
        (SECONDS, "seconds", "2014-01-30"),
        ([*SECONDS[:50], *repeat("")[:10]], "seconds", "2014-01-30"),
        ([f"{each}.5" for each in SECONDS], "seconds", "2014-01-30T00:00:00.5"),
        ([f"{each}123" for each in SECONDS], "milliseconds", "2014-01-30T00:00:00.123"),
        ([f"{each}000123" for each in SECONDS], "microseconds", "2014-01-30T00:00:00.000123"),
        ([f"{1 + n // 5}:{n} AM" for n in range(10, 60)] + repeat("1:30 PM")[:10], '"%I:%M %p"', "1900-01-01T03:10"),
        (repeat("9AM", "10AM", "12PM"), '"%I%p"', "1900-01-01T09:00"),
        (format_days("%a %b %d 10:30:00 +0200 %Y"), '"%a %b %d %H:%M:%S %z %Y"', "2014-01-30T08:30"),
        (format_days("%d/%b/%Y:10:30:00 -0100"), '"%d/%b/%Y:%H:%M:%S %z"', "2014-01-30T11:30"),
        (format_days("%Y%m%d_103000"), '"%Y%m%d_%H%M%S"', "2014-01-30T10:30"),
        (format_days("%m/%Y"), '"%m/%Y"', "2014-01-01"),
        (format_days("%m%d%Y"), '"%m%d%Y"', "2014-01-30"),
        (format_days("%Y\u5e74%m\u6708%d\u65e5"), '"%Y\u5e74%m\u6708%d\u65e5"', "2014-01-30"),
    ],
)
def test_likely_dates_are_pointed_out_with_what_reads_them(values: list[Any], dates: str, first: str) -> None:
    override = f"data.dates.when={dates}"
    found = suggest_for(["when", "z"], [values, repeat(1, 2)])
    shown = override if dates.isalpha() else f"'{override}'"
    text = f"looks like dates or times. To read it as such, set {shown}"
    assert [note for note in found["notes"] if note.startswith("when ") and note.endswith(text)], found["notes"]
    assert shlex.split(shown) == [override]
    if "99991231" not in values:
        source = Csv(path="table.csv", target="y", dates={"when": dates.strip('"')})
        assert source.table.values["when"][0] == np.datetime64(first)
        is_date = first[:4] != "1900" and "" not in values
        assert any("data.split_by" in note for note in suggest(source)["notes"]) == is_date
    declared = suggest_for(["when", "z"], [values, repeat(1, 2)], types={"when": "string"})
    assert not [note for note in declared["notes"] if "dates" in note]


@pytest.mark.parametrize(
    "values",
    [
        [20_140_000 + 17 * n for n in range(60)],
        [200_000 + 17 * n for n in range(60)],
        [*format_days("%Y%m%d")[:50], *range(2014111, 2014121)],
        [10**9 + 10**8 * n for n in range(60)],
        [round(1e6 * 1.1**n) for n in range(60)],
        repeat(20140101, 20150101),
        [f"{n} AM" for n in range(60)],
        [f"01010{n:03}" for n in range(60)],
    ],
)
def test_other_numbers_and_texts_do_not_look_like_dates(values: list[Any]) -> None:
    assert not [note for note in suggest_for(["x", "z"], [values, repeat(1, 2)])["notes"] if "looks like dates" in note]


@pytest.mark.parametrize(
    ("values", "reason", "remedy"),
    [
        (
            [*range(1000, 1059), "0123"],
            "since '0123' (line 61) has a leading zero",
            "For numbers, set data.types.x=float",
        ),
        (
            [*[f"+1617555{n}" for n in range(1000, 1050)], *[f"1617555{n}" for n in range(1050, 1060)]],
            "since '+16175551000' (line 2) starts with `+`, as telephone numbers do",
            "For numbers, set data.types.x=float",
        ),
        (
            repeat("2020-01-02", "2020-01-03", "soon or later"),
            "since 20 of 60 values are not times; the first is 'soon or later' (line 4)",
            """To read them as missing, set 'data.nulls.x=["soon or later"]'""",
        ),
    ],
)
def test_the_reason_why_a_column_is_text_names_a_setting_that_works(
    values: list[Any], reason: str, remedy: str
) -> None:
    found = suggest_for(["x", "z"], [values, repeat(1, 2)])
    assert f"x is read as text, {reason}. {remedy}" in found["notes"]
    (override,) = shlex.split(remedy.partition("set ")[2])
    types = configure(["data=csv", "data.path=table.csv", "data.target=y", override]).values["data"]["types"]
    assert types["x"] in ("float", "timestamp")


@pytest.mark.parametrize(
    ("examples", "inputs"),
    [("{option: windows, size: 3, horizon: 2}", ["x", "y"]), ("{option: windows, size: 3}", ["x"]), ("null", ["x"])],
)
def test_the_past_of_the_target_of_a_forecast_is_an_input(
    examples: str, inputs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(["x", "y"], [[n % 7 for n in range(60)], NUMBERS])
    words = ("data=csv", f"data.path={path}", "data.target=y", "data.seed=null", f"examples={examples}")
    config = configure([*words, "mode=dry_run"])
    assert config.values["feature"]["inputs"] == {"columns": inputs}
    assert ("; its past is an input" in capsys.readouterr().out) == ("y" in inputs)
