"""An own feature file, without a suggestion: how a file is read is printed, and recorded for new rows."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import runner
from components.data import Csv
from components.types import DataError
from runner.__main__ import main
from runner.data.transform import read_source_options

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

LINE = ("data=csv", "data.path=train.csv", "feature=mine", "loss=mse", "metric=[rmse]", "architecture=mlp")
QUICK = ("training.epochs=1", "training.batch_size=8", "architecture.widths=[4]", "optimizer=adam", "tracking=none")
FEATURE = """
target: {_target_: components.feature.Numeric, key: y}
columns:
  n: {_target_: components.feature.Numeric, key: n, missing: 0, normalize: z_score}
  zip: {_target_: components.feature.Vocabulary, key: zip}
  zip_vector: {_target_: components.feature.Embedding, key: zip, dimension: 2}
  both: {_target_: components.feature.Numeric, key: code, missing: 0, normalize: z_score}
  hashed: {_target_: components.feature.Hashed, key: code, buckets: 7}
  big: {_target_: components.feature.Numeric, key: big, normalize: z_score}
  code_id: {_target_: components.feature.Identity, key: code, buckets: 4}
inputs: {columns: [n, zip_vector, both, hashed, code_id, big]}
"""
HEADER = "n,zip,code,big,y"


@pytest.fixture(autouse=True)
def files(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    rows = [f"{n % 9},{10001 + n % 3},{n % 4},{2**53 + n % 5},{n % 7 + 0.5}" for n in range(60)]
    Path("train.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/mine.yaml").write_text(FEATURE)


@pytest.fixture
def folder(files: None) -> Path:
    return Path(runner.run(*LINE, *QUICK, "quiet=true").folder)


def predict(folder: Path, rows: str) -> list[float]:
    Path("new.csv").write_text(rows)
    assert main(["mode=predict", f"run={folder}", "data.path=new.csv", "output=found.csv", "quiet=true"]) == 0
    found = [float(line.split(",")[1]) for line in Path("found.csv").read_text().splitlines()[1:]]
    Path("found.csv").unlink()
    return found


def test_whole_numbers_of_new_rows_are_read_as_in_training(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    types = read_source_options(folder)["types"]
    assert types == {"n": "float", "zip": "int", "code": "int", "y": "float"}, "`big` isn't exact as float"
    header = HEADER.removesuffix(",y")
    expected = predict(folder, f"{header}\n5,10001,3,7\n,10002,2,7\n2,77777,1,7\n4,10003,1,7\n")
    rows = "05,10001.0,3.0,7\n?,10002.0,02,7\n2.0,01001,1.0,7\n4,10003,1,7\n"
    assert predict(folder, f"{header}\n{rows}") == pytest.approx(expected, rel=1e-6)
    Path("new.csv").write_text(f"{header}\n1,10001.5,3,7\n")
    assert main(["mode=predict", f"run={folder}", "data.path=new.csv", "output=found.csv"]) == 2
    printed = capsys.readouterr().err
    assert "column `zip` is 10001.5, not of type int; correct the value\n" in printed
    assert "are fixed. Correct new.csv" in printed
    assert "train another run" not in printed


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ("n,zip,big\n1,10001,7\n", (), "new.csv has no column `code`, which the run reads. Allowed: big, n, zip"),
        ("n,code,big\n1,3,7\n", (), "new.csv has no column `zip`, which the run reads."),
        (
            "n,zip,code,big\n1,1,1,1\n",
            ("data.types.cod=int",),
            "no column `cod`, which `types` lists. Did you mean code?",
        ),
        ("n,zip,code,big\n1,1,9,1\n", (), "column `code` is 9, but its ids are 0 to 3; correct it\n"),
        (
            "n,zip,code,big\n1,1,1,1\n1,1,1,\n",
            (),
            "`big` has no value; fill it in, remove the row, or set data.on_missing=fill\n",
        ),
        ("n,zip,code,big\n1,1,1 kg,1\n", (), "not of type int; correct the value, or set data.marks.code=kg\n"),
        ("n,zip,code,big\nx,1,1,1\n", (), "column `n` is 'x', not of type float; correct the value\n"),
    ],
)
def test_errors_in_new_rows_have_remedies_that_can_be_followed(
    folder: Path, capsys: pytest.CaptureFixture[str], rows: str, words: tuple[str, ...], message: str
) -> None:
    Path("new.csv").write_text(rows)
    assert main(["mode=predict", f"run={folder}", "data.path=new.csv", "output=found.csv", *words]) == 2
    assert message in capsys.readouterr().err


def test_an_order_of_dates_is_said_also_if_the_type_is_declared() -> None:
    Path("days.csv").write_text("day,n\n13/02/2024,3\n14/02/2024,4\n")
    source = Csv(path="days.csv", types={"day": "timestamp", "n": "int"})
    assert source.reading_notes(["day", "n"], declared=False) == ("days.csv: column `day`: read as times, day first",)
    decided = Csv(path="days.csv", types={"day": "timestamp", "n": "int"}, dates={"day": "day_first"})
    assert decided.reading_notes(["day", "n"], declared=False) == ()


@pytest.mark.parametrize("option", ["types", "dates"])
def test_an_order_of_dates_is_said_once(capsys: pytest.CaptureFixture[str], option: str) -> None:
    table = Path("train.csv").read_text().splitlines()
    rows = [f"{n % 28 + 1}/02/2024,{row}" for n, row in enumerate(table[1:])]
    Path("train.csv").write_text("\n".join([f"day,{table[0]}", *rows]))
    suggested = ("data=csv", "data.path=train.csv", "data.target=y", "training.epochs=1", "tracking=none")
    assert main([*suggested, "architecture.widths=[4]"]) == 0
    assert capsys.readouterr().out.count("day first") == 1
    time = "  day: {_target_: components.feature.Time, key: day, parts: [month, day]}\n"
    feature = FEATURE.replace("columns:\n", f"columns:\n{time}", 1).replace("[n,", "[day, n,")
    Path("conf/feature/mine.yaml").write_text(feature)
    word = "data.types.day=timestamp" if option == "types" else "data.dates.day=day_first"
    assert main([*LINE, *QUICK, word]) == 0
    assert capsys.readouterr().out.count("day first") == (1 if option == "types" else 0)


def test_new_rows_need_the_columns_that_the_run_reads_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    days = [f"2024-01-{n % 28 + 1:02},0{n % 9 + 1}/02/2024" for n in range(60)]
    rows = [f"{10**9 + 1000 * n},{day},{n % 5},{n % 3 + 1},x,{n % 7}.5" for n, day in enumerate(days)]
    Path("train.csv").write_text("\n".join(["epoch,day,when,size,weight,note,y", *rows]))
    time = "components.feature.Time, parts: [day]"
    times = "".join(f"  {key}: {{_target_: {time}, key: {key}}}\n" for key in ("epoch", "day", "when"))
    total = (
        "  note: {_target_: components.feature.Numeric, expression: size + 1}\n"
        "  total: {_target_: components.feature.Numeric, key: note, normalize: z_score}\n"
    )
    target = "target: {_target_: components.feature.Numeric, key: y}\nweight: weight\n"
    inputs = "inputs: {columns: [epoch, day, when, total]}\n"
    Path("conf/feature/mine.yaml").write_text(f"{target}columns:\n{times}{total}{inputs}")
    types = ("data.types.epoch=timestamp", "data.types.note=string", "data.types.weight=float", 'data.nulls.note=[""]')
    folder = Path(runner.run(*LINE, *QUICK, *types, "data.dates=month_first", "quiet=true").folder)
    header = "epoch,day,when,size\n"
    assert len(predict(folder, f"{header}1000000000,2024-01-02,03/02/2024,4\n")) == 1
    assert len(predict(folder, f"{header}50000000,2024-01-02,03/02/2024,4\n")) == 1, "seconds, whatever their size"
    words = ["mode=predict", f"run={folder}", "data.path=new.csv", "output=found.csv", "quiet=true"]
    for text, more, message in (
        (f"{header}1,2024-01-02T10:00Z,03/02/2024,4\n", (), "1 of 1 times have a time zone, although `dates` is"),
        (f"{header}1,2024-01-02,13/02/2024,4\n", (), "column `when` is '13/02/2024', not of type timestamp"),
        (f"{header}1,2024-01-02,03/02/2024,4\n", ("data.types.dai=timestamp",), "Did you mean day?"),
        ("epoch,when,size\n1,03/02/2024,4\n", (), "new.csv has no column `day`, which the run reads"),
        ("epoch,day,when\n1,2024-01-02,03/02/2024\n", (), "new.csv has no column `size`"),
    ):
        Path("new.csv").write_text(text)
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    Path("new.csv").write_text(f"{header}1,2024-01-02,13/02/2024,4\n")
    assert main([*words, "data.dates=day_first"]) == 0
    model, day = runner.load(folder), datetime(2024, 1, 2)
    columns = {"epoch": [1_000_000_000], "when": ["03/02/2024"], "size": [4]}
    assert len(model.predict({**columns, "day": [day]}).prediction) == 1
    with pytest.raises(DataError, match="1 of 1 times have a time zone"):
        model.predict({**columns, "day": [day.replace(tzinfo=UTC)]})
