"""Columns are inferred from the rows after `operations`: a derived column is an input or the target."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from components.read_once import reading_once, take_over
from components.types import UserError
from runner.__main__ import main
from runner.config.compose import configure
from runner.config.config import Config
from runner.data.load import Data
from runner.display.progress import make_progress
from runner.errors import ConfigError
from runner.execution.run_data import load_data
from runner.suggest.suggestions import ROWS as ROWS_AFTER

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

OPERATIONS = (
    'operations=[{option: filter, where: "area < 90"}, {option: derive, columns: {each: area / rooms, '
    'size: "area // 30", gap: "rooms if rooms > 2 else null", rooms: rooms + 1, late: when}}]'
)
ROWS = [
    f"{n},{n % 7 + 1},{n * 37 % 101},{('North', 'South')[n % 2]},2024-01-{n % 28 + 1:02},{'' if n % 9 else n}"
    for n in range(1, 121)
]
KEPT = [n for n in range(1, 121) if n * 37 % 101 < 90]
QUICK = ("training.epochs=1", "training.batch_size=8", "tracking=none", "quiet=true", "architecture.widths=[4]")


@pytest.fixture(autouse=True)
def houses(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    Path("houses.csv").write_text("\n".join(["id,rooms,area,where,when,sold", *ROWS]) + "\n")


def infer(*words: str, operations: str = OPERATIONS) -> Config:
    return configure(["data=csv", "data.path=houses.csv", operations, "mode=init", "quiet=true", *words])


def find_error(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        infer(*words)
    return str(caught.value).splitlines()[0]


def list_plans(config: Config) -> dict[str, tuple[str, ...]]:
    assert config.suggestion is not None
    return {name: tuple(cells) for name, *cells in config.suggestion.table[1:]}


def test_computed_columns_are_inputs_and_columns_keep_their_reading() -> None:
    config = infer("data.target=each")
    plans = list_plans(config)
    assert plans["id"][-1] == "left out", "it numbers the rows, with gaps where the filter left some out"
    assert plans["rooms"][0] == plans["size"][0] == "int"
    assert plans["gap"][1] == str(sum(n % 7 + 1 <= 2 for n in KEPT))
    assert plans["area"] == ("int", "", str(len({n * 37 % 101 for n in KEPT})), "z-score")
    assert plans["sold"][1] == str(sum(n % 9 > 0 for n in KEPT))
    assert plans["when"] == plans["late"] == ("timestamp", "", "", "trend, z-score; weekday, cyclic")
    assert plans["each"][-1] == "target: a number, z-score"
    assert config.suggestion is not None
    assert config.suggestion.origin == "inferred from houses.csv after the operations"
    # Whole numbers that operations read stay whole, and options of the source name none of the computed columns.
    assert config.values["data"]["types"] == {"where": "string", "when": "timestamp", "sold": "float"}
    assert {"gap", "late", "size"} <= config.values["feature"]["columns"].keys()


def test_classes_that_an_operation_computes_are_not_stratified() -> None:
    config = infer("data.target=size")
    assert "stratify" not in config.values["data"]
    assert config.suggestion is not None
    expected = "the rows are split before an operation computes size, so the splits aren't stratified"
    assert expected in config.suggestion.notes
    assert list_plans(config)["size"][-1].startswith("target: one of 3 classes")
    assert infer("data.target=where").values["data"]["stratify"] == "where"


def test_types_and_drop_name_computed_columns() -> None:
    config = infer("data.target=each", "data.types.size=string", "data.drop=[area,gap,sold]")
    plans = list_plans(config)
    assert plans["size"] == ("string", "", "3", "one of 3 values")
    assert not {"area", "gap", "sold"} & plans.keys(), "operations read area"
    assert config.suggestion is not None
    assert {"left out by `drop`: area, gap", "left out by `drop`: sold"} <= {*config.suggestion.notes}
    number = list_plans(infer("data.target=size", "data.types.size=float"))["size"]
    assert number[0] == "float"
    assert number[-1].startswith("target: a number")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data.target=sizes"],
            "data.target=sizes is not a column of houses.csv after the operations. Did you mean size?",
        ),
        (["data.target=each", "data.drop=[gpa]"], "Did you mean `gap`, which an operation computes?"),
        (["data.target=each", "data.types.ech=string"], "Did you mean `each`, which an operation computes?"),
        (
            ["data.target=each", "data.stratify=size"],
            "An operation computes it, after the rows are read and split.",
        ),
        (
            ["data.target=each", "data.types.size=timestamp"],
            "`types` (=timestamp): the operations compute `size` as int. Declare string, or float for numbers, or "
            "change the operation",
        ),
        (
            ["data.target=gap"],
            'To leave these rows out, add the operation {option: filter, where: "not is_null(gap)"}',
        ),
        (
            ["data.target=gap", "data.on_missing_target=drop"],
            "data.on_missing_target: drop leaves rows out as they are read, before an operation computes the target "
            'gap. Add the operation {option: filter, where: "not is_null(gap)"} instead',
        ),
    ],
)
def test_a_wrong_name_or_type_is_an_error_that_knows_computed_columns(words: list[str], message: str) -> None:
    assert message in find_error(*words)


SOURCES = "data.sources={a: {option: csv, path: houses.csv}, b: {option: csv, path: houses.csv}}"


def mix(*words: str) -> Config:
    return configure(["data=mixed", SOURCES, "data.target=each", OPERATIONS, "mode=init", "quiet=true", *words])


def test_each_of_several_sources_may_name_computed_columns() -> None:
    plans = list_plans(mix("data.sources.a.types={size: string, id: string}", "data.sources.b.types.id=string"))
    assert plans["size"] == ("string", "", "3", "one of 3 values")
    assert plans["id"][0] == "string"
    everywhere = [f"data.sources.{name}.drop=[area,gap,sold]" for name in "ab"]
    shared = ["data.drop=[area,gap]", "data.sources.b.drop=[gap,area]"]
    for words, has_sold in ((everywhere, False), (shared, True)):
        names = list_plans(mix(*words)).keys()
        assert not {"area", "gap"} & names, "operations read area"
        assert ("sold" in names) == has_sold


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data.sources.a.types.size=string", "data.types.size=float"],
            "data: `sources.a.types.size` is string, and `types.size` float. An operation computes the column of all "
            "sources, so it has one type",
        ),
        (["data.sources.b.types.ech=string"], "Did you mean `each`, which an operation computes?"),
        (
            ["data.sources.a.on_missing_target=drop"],
            "data.sources.a.on_missing_target: drop leaves rows out as they are read, before an operation computes",
        ),
        (["data.sources.a.drop=[area]"], "the source a has no column `area`, which the source b has."),
    ],
)
def test_an_error_of_one_of_several_sources_knows_computed_columns(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        mix(*words)
    assert message in str(caught.value)


@pytest.mark.parametrize("word", ["data.types.size=string", "data.stratify=size", "data.nulls.size=[0]"])
def test_an_option_that_names_a_column_that_a_function_may_compute(
    word: str, write_module: Callable[[str, str], None]
) -> None:
    write_module("own", "def size(columns): return {'size': columns['area'] // 30}")
    operations = "operations=[{option: take, count: 99}, {option: function, function: own.size, columns: [area]}]"
    message = "If operations.1 (Function) computes it, leave the option out: rows are read and split before, and the"
    with pytest.raises(UserError) as caught:
        infer("data.target=rooms", word, operations=operations)
    assert message in str(caught.value)
    with pytest.raises(UserError) as caught:
        infer("data.target=rooms", "data.types.where=int", operations=operations)
    assert "operations.1" not in str(caught.value), "the source has the column"
    convert = ["data=csv", "data.path=houses.csv", "mode=convert", "output=out.csv", operations, word]
    assert main(["titrate", *convert]) == 2


def test_the_problems_of_operations_come_with_the_others_and_before_the_file_is_read() -> None:
    operations = (
        'operations=[{option: filter, where: "area <"}, {option: derive, columns: {a: area + 1, b: "lower(2)"}}, '
        '{option: filter, where: "1 + area"}, {option: filter, wher: area}]'
    )
    with pytest.raises(ConfigError) as caught:
        infer("data.path=absent.csv", "data.target=a", "learning_rate=-1", operations=operations)
    problems = [line.partition(" [set by")[0] for line in caught.value.problems]
    assert problems[0].startswith("learning_rate: -1 is not a number")
    assert [line.partition(": ")[0] for line in problems[1:]] == [
        "operations.3.where",
        "operations.3.wher",
        "operations.0.where",
        "operations.1.columns.b",
        "operations.2.where",
        "data.path",
    ]
    assert problems[-2].endswith("gives numbers, not true or false. Write a condition, such as `price < 5`")


def test_a_run_trains_on_the_inferred_columns_and_predicts_new_rows() -> None:
    words = ["data=csv", "data.path=houses.csv", OPERATIONS, "data.target=size", *QUICK]
    result = runner.run(*words)
    model = runner.load(result.folder)
    known = model.predict("test")
    raw: dict[str, Any] = {"rooms": [n % 7 + 1 for n in range(1, 121)], "area": [n * 37 % 101 for n in range(1, 121)]}
    raw["where"] = [("North", "South")[n % 2] for n in range(1, 121)]
    raw["when"] = np.array([f"2024-01-{n % 28 + 1:02}" for n in range(1, 121)], "M8[D]")
    raw["sold"] = [np.nan if n % 9 else n for n in range(1, 121)]
    new = model.predict(raw)
    assert [*new.row] == [*range(120)]
    assert [new.prediction[row] for row in known.row] == [*known.prediction]


def test_init_writes_an_experiment_with_the_operations() -> None:
    words = ["data=csv", "data.path=houses.csv", OPERATIONS, "data.target=each", "mode=init", "quiet=true"]
    assert main(words) == 0
    lines = Path("experiments/houses.yaml").read_text().splitlines()
    start = lines.index("operations:")
    assert lines[start + 1] == "  - {_target_: components.operation.Filter, where: area < 90}"
    assert lines[start + 2].startswith("  - {_target_: components.operation.Derive, columns: {each: area / rooms,")
    config = configure(["experiment=houses"])
    inferred = infer("data.target=each")
    for key in ("feature", "operations", "data"):
        assert config.values[key] == inferred.values[key]


OWN = """
from dataclasses import dataclass

calls = []

@dataclass(frozen=True)
class Double:
    applies_to_new_rows = True
    columns_read = ("area",)
    columns_computed = ("double",)

    def apply(self, blocks, counts):
        for block in blocks:
            calls.append(block.rows)
            yield block.with_columns({"double": block.columns["area"] * 2})
"""


def load(words: list[str]) -> Data:
    return load_data(configure(words), None, make_progress(quiet=True))[0]


def list_arrays(data: Data) -> dict[str, Any]:
    return {f"{name}.{key}": np.asarray(each) for name, arrays in data.encoded.items() for key, each in arrays.items()}


def test_operations_run_once_for_the_suggestion_and_the_run(
    write_module: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("own", OWN)
    import own  # type: ignore[import-not-found]

    counts = [str(n) if n % 3 else "" for n in range(60)]
    lines = [f"{n * 7 % 50},{counts[n]},{n % 2 + 1}.0" for n in range(60)]
    Path("t.csv").write_text("\n".join(["area,count,kind", *lines]) + "\n")
    operations = "operations=[{_target_: own.Double}]"
    words = ["data=csv", "data.path=t.csv", "data.target=kind", operations, "quiet=true"]
    with reading_once():
        config = configure(words)
        assert config.values["data"]["types"] == {"count": "float", "kind": "int"}, "they are int and float in the file"
        assert own.calls == [60]
        data, _ = load_data(config, None, make_progress(quiet=True))
        assert own.calls == [60], "the rows of the suggestion are used"
        assert take_over(ROWS_AFTER) is None, "and kept no longer"
        assert data.operations is not None
        assert data.operations.operations[0].added == ("double",)
        assert data.source is not None
        assert next(data.source.blocks("all")).locate(3) == "t.csv, line 5"
        again = load([*words, "data.seed=1"])
        assert own.calls == [60, 60]
    monkeypatch.setenv("TITRATE_CACHE", "other")
    expected = load(words)
    assert own.calls == [60, 60, 60, 60], "nothing is kept"
    for one, two in ((data, expected), (again, expected)):
        arrays = list_arrays(one)
        assert arrays.keys() == list_arrays(two).keys() >= {"double.values"}
    for name, array in list_arrays(expected).items():
        np.testing.assert_array_equal(list_arrays(data)[name], array)


def test_rows_of_a_file_that_changed_meanwhile_are_read_again() -> None:
    with reading_once():
        config = configure(["data=csv", "data.path=houses.csv", OPERATIONS, "data.target=each", "quiet=true"])
        Path("houses.csv").write_text("\n".join(["id,rooms,area,where,when,sold", *reversed(ROWS)]) + "\n")
        data, _ = load_data(config, None, make_progress(quiet=True))
    assert data.operations is not None
    assert dict(data.operations.before.columns)["area"] == tuple(n * 37 % 101 for n in range(120, 115, -1))
