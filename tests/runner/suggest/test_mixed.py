"""Several tables in one line: what is inferred for all, and new rows that are read like them."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import runner
from runner.__main__ import main
from runner.config.compose import configure

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

SOURCES = "data.sources={a: {option: table, path: a.csv}, b: {option: table, path: b.csv}}"
LINE = ("data=mixed", SOURCES, "data.target=y")
QUICK = ("training.epochs=1", "architecture.widths=[4]", "tracking=none", "quiet=true")


@pytest.fixture(autouse=True)
def tables(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    rows = [f"{n % 8},{'' if n % 9 else '?'}{n % 5},{1 + n % 9}/{1 + n % 7}/2020,{n % 3}\n" for n in range(30)]
    Path("a.csv").write_text("x,code,when,y\n" + "".join(rows).replace("?", ""))
    Path("b.csv").write_text("x,code,when,y\n" + "0.5,7,30/1/2020,1\n" * 10 + "".join(rows[:20]).replace("?", ""))


def test_what_is_inferred_holds_for_all_tables() -> None:
    config = configure(LINE)
    data = config.values["data"]
    assert data["types"] == {"x": "float", "code": "float", "when": "timestamp", "y": "int"}
    assert data["dates"] == {"when": "day_first"}
    assert data["stratify"] == "y"
    assert "types" not in data["sources"]["a"]
    assert config.values["feature"]["target"]["_target_"].endswith("Label")
    assert "stratify" not in configure((*LINE, "data.sources.a.test=10")).values["data"]
    assert "stratify" not in configure((*LINE, "data.sources.b.seed=null")).values["data"]


def test_sources_without_a_profile_are_no_question() -> None:
    sources = "data.sources={a: {option: digits}, b: {option: digits}}"
    assert configure(("data=mixed", sources)).values["feature"]["target"] is not None


def test_the_files_of_an_experiment_are_written() -> None:
    assert main([*LINE, "mode=init"]) == 0
    written = Path("conf/data/mixed_data.yaml").read_text()
    assert written.startswith("# The tables, and the types of their columns, inferred from a.csv, b.csv.")
    assert [*yaml.safe_load(written)["sources"]] == ["a", "b"]
    assert configure(("experiment=mixed_data",)).values["data"]["dates"] == {"when": "day_first"}


def test_new_rows_are_read_like_the_tables() -> None:
    run = runner.run(*LINE, *QUICK)
    Path("new.csv").write_text("x,code,when\n1,2,3/4/2020\n")
    command = (f"run={run.folder}", "mode=predict", "data.path=new.csv", "output=new_predictions.csv", "quiet=true")
    assert main([*command]) == 0
    assert len(Path("new_predictions.csv").read_text().splitlines()) == 2
    texts = {"x": ["1"], "code": ["2"], "when": ["3/4/2020"]}
    numbers = {"x": [1.0], "code": [2], "when": np.array(["2020-04-03"], "M8[us]")}
    model = runner.load(run.folder)
    assert np.array_equal(model.predict(texts).probabilities, model.predict(numbers).probabilities)


def test_new_rows_of_different_sources_need_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.csv").write_text(Path("b.csv").read_text().replace(",", ";"))
    run = runner.run(*LINE, *QUICK, "data.sources.b.delimiter=semicolon")
    command = (f"run={run.folder}", "mode=predict", "data.path=b.csv", "output=p.csv", "quiet=true")
    assert main([*command]) == 2
    expected = "data.delimiter: the sources of the run have different values (a: default, b: semicolon). Set"
    assert expected in capsys.readouterr().err
    assert main([*command, "data.delimiter=semicolon"]) == 0
    assert len(Path("p.csv").read_text().splitlines()) == 31
