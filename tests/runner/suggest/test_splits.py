"""The options of splits on the command line: what excludes what, what is suggested, and what new rows need."""

import json
from pathlib import Path
from typing import Any

import pytest

import runner
from components.data import Csv
from components.types.splits import EXCLUSIVE, SplitConflict
from runner.__main__ import main
from runner.config.check import find_config_problems
from runner.config.compose import compose
from runner.run_folder import read_record
from runner.suggest.suggest import suggest

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

LINE = ("data=csv", "data.path=t.csv", "data.target=y")
QUICK = ("training.epochs=1", "architecture.widths=[4]", "tracking=none")
HEAD = "id,patient,when,part,x,y\n"
PARTS = ("train", "train", "train", "val", "test")
ROWS = [
    f"{n * 3},p{n // 2},2020-{1 + n // 10:02}-03,{PARTS[n % 5]},{n % 7 + n / 100},{'ab'[n % 2]}" for n in range(100)
]
VALUES = {"seed": "null", "valid_from": "test", "test": "0.2"}


@pytest.fixture(autouse=True)
def table(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    Path("t.csv").write_text(HEAD + "\n".join(ROWS[:90]))


@pytest.mark.parametrize("conflict", EXCLUSIVE, ids=lambda conflict: f"{conflict.option}-{conflict.other}")
def test_options_that_exclude_each_other_are_found_without_the_data(conflict: SplitConflict) -> None:
    first, second = (f"data.{name}={VALUES.get(name, 'x')}" for name in (conflict.option, conflict.other))
    (problem,) = find_config_problems(compose(["data=digits", "~data.stratify", "~data.test", first, second]))
    value = first.partition("=")[2]
    assert f"data.{conflict.option}: {value} and {second} exclude each other: {conflict.reason}" in problem


def suggested(**options: Any) -> dict[str, Any]:
    return suggest(Csv(path="t.csv", target="y", **options))


def test_a_random_split_of_rows_with_a_date_is_pointed_out_in_one_line() -> None:
    hint = "when has dates, and the rows are split at random. To test on the latest rows, set data.split_by=when"
    assert suggested()["notes"].count(hint) == 1
    for options in ({"split_by": "when"}, {"split_column": "part"}, {"seed": None}, {"test": "t.csv"}):
        assert hint not in suggested(**options)["notes"]
    Path("t.csv").write_text(HEAD + "\n".join([*ROWS, "1,p1,,train,1,a"]))
    assert hint not in suggested()["notes"]  # a date with gaps can't split the rows


@pytest.mark.parametrize(("option", "name"), [("group", "patient"), ("split_hash", "id"), ("split_column", "part")])
def test_a_key_of_splits_is_no_feature_and_nothing_is_stratified(option: str, name: str) -> None:
    found = suggested(**{option: name})
    assert name not in found["feature"]["columns"]
    assert f"{name} is left out: data.{option} names it" in found["notes"]
    assert f"data.{option}={name} decides where rows go, so the splits aren't stratified." in found["notes"]
    assert "stratify" not in found["values"]["data"]
    assert "when" in suggested(split_by="when")["feature"]["columns"]


def test_an_error_of_an_option_has_no_other_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*LINE, "data.group=patients"]) == 2
    assert capsys.readouterr().err == (
        "`group` (=patients) is no column. Did you mean patient? Allowed: id, part, patient, when, x, y.\n"
    )


@pytest.mark.slow
def test_new_rows_need_no_column_of_the_splits(capsys: pytest.CaptureFixture[str]) -> None:
    Path("test.csv").write_text(HEAD + "\n".join([*ROWS[90:], "9,q9,,,,a"]))
    options = ("data.test=test.csv", "data.group=patient", "data.per_class=20", "data.classes=[a,b]")
    assert main([*LINE, *QUICK, *options]) == 0
    printed = capsys.readouterr().out
    assert "the given test split: column `x` has no value in 1 of 11 rows" in printed
    (folder,) = Path("outputs").iterdir()
    record = read_record(folder)
    assert {dataset["split"]: dataset["rows"] for dataset in record["datasets"]} == {
        "train": 40,
        "valid": 14,
        "test": 11,
    }
    assert record["tags"]["left_out"] == "36 of 101 rows are in no split"
    Path("new.csv").write_text("x,when,id,part\n1.5,2020-02-02,1,val\n2.5,2020-03-03,2,new\n")
    words = ("mode=predict", "run=last", "output=p.json")
    assert main([*words, "data.path=new.csv"]) == 0
    assert len(json.loads(Path("p.json").read_text())) == 2
    assert main([*words, "output.overwrite=true", "data.split=test", "output.columns=[id,row]"]) == 0
    copied = json.loads(Path("p.json").read_text())
    assert [row["id"] for row in copied] == [*range(270, 300, 3), 9]
    assert [row["row"] for row in copied] == [*range(90, 101)]
    assert main(["mode=evaluate", "run=last", "data.path=t.csv"]) == 0
    assert "t.csv" in capsys.readouterr().out
    assert set(runner.load(folder).evaluate("test")) >= {"test/loss", "test/accuracy"}
