"""One's own table in a line: what is inferred and by whom it says so, written down, and asked about new rows."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from csv import writer
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from pyarrow import csv

import runner
from components.data.csv.source import Csv
from runner.__main__ import main
from runner.config.compose import compose, configure
from runner.config.config import Config
from runner.errors import ConfigError
from runner.override_text import format_override, quote_text
from runner.signature.build import build
from runner.suggest.suggestions import can_suggest
from runner.sweep.plan import make_plan
from runner.tree import dotted_leaves

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

LINE = ("data=csv", "data.path=houses.csv", "data.target=price")
QUICK = ("training.epochs=1", "architecture.widths=[4]", "tracking=none")
HEADER = "id,rooms,area,where,price"
ROWS = [
    f"{n},{n % 7 or ''},{(n * 37) % 101 + 0.5},{('North', 'South')[n % 2]},{n % 7 + (n % 2) / 2}" for n in range(1, 81)
]


@pytest.fixture(autouse=True)
def houses(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of eighty houses in the working folder, which nobody has looked at yet."""
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    Path("houses.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """That of a run on the houses."""
    here = tmp_path_factory.mktemp("houses")
    with pytest.MonkeyPatch.context() as patched, jax.numpy_dtype_promotion("standard"):
        patched.chdir(here)
        Path("houses.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
        yield str(here / runner.run(*LINE, *QUICK, "data.stratify=price", "quiet=true").folder)


def find_problems(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        compose(words)
    return caught.value.problems


# ---------------------------------------------------------------------------------------------------- what is inferred


def test_a_suggestion_fills_the_open_choices_and_is_their_origin() -> None:
    config = compose(LINE)
    assert {group: config.choices[group] for group in ("data", "feature", "loss", "metric", "architecture")} == {
        "data": "csv",
        "feature": "inferred",
        "loss": "mse",
        "metric": ["rmse", "mae", "r2"],
        "architecture": "mlp",
    }
    assert config.values["feature"]["columns"].keys() == {"rooms", "area", "where"}
    assert config.values["feature"]["target"]["key"] == "price"
    assert config.values["feature"]["inputs"] == {"columns": ["rooms", "area", "where"]}
    for key in ("feature.columns.rooms.missing", "loss._target_", "training.batch_size", "data.types.area"):
        assert config.origins[key].startswith(("inferred from houses.csv", "conf/loss/mse.yaml"))
    assert config.origins["data.path"] == "the command line (data.path=houses.csv)"
    assert config.origins["training.monitor"] == "conf/run.yaml"


def test_the_command_line_overrides_the_suggestion() -> None:
    words = ("loss=mae", "architecture=mlp", "training.batch_size=7", "data.types.rooms=int", "data.seed=5")
    config = compose([*LINE, *words, "feature.columns.area.normalize=min_max", "~feature.columns.where"])
    assert config.choices["loss"] == "mae"
    assert config.values["architecture"]["widths"] == [64, 64], "that of the option, as it was chosen"
    assert config.values["training"]["batch_size"] == 7
    assert config.values["data"]["types"]["rooms"] == "int"
    assert config.values["feature"]["columns"]["area"]["normalize"] == "min_max"
    assert "where" not in config.values["feature"]["columns"]


@pytest.mark.parametrize("words", [["feature=diabetes", "experiment=diabetes_mlp"], ["mode=runs"]])
def test_there_is_no_suggestion_if_more_is_chosen_or_no_run_starts(words: list[str]) -> None:
    Path("houses.csv").unlink()
    assert compose([*LINE, *words]).suggestion is None
    assert compose(["data.seed=3"]).suggestion is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data.target=prize"],
            "data.target=prize is not a column of houses.csv. Did you mean price? Columns: area, id, price",
        ),
        (
            ["data.target=null"],
            "data.target is missing. Set it to the column to predict. Columns of houses.csv: area, id",
        ),
        (["data.path=house.csv"], "there is no file"),
        (["data.types={rooms: int, ares: float}"], "houses.csv has no column `ares`, which `types` lists. Did you"),
        (["data.delimiter=';;'"], "`delimiter` (=';;') must be one ASCII character"),
    ],
)
def test_problems_of_the_table_are_reported(words: list[str], message: str) -> None:
    (found,) = find_problems(*LINE, *words)
    assert message in found


def test_all_options_that_name_no_column_are_reported_at_once() -> None:
    words = ["data.drop=[areas,x]", "data.types={ares: float}", "data.stratify=wher"]
    (found,) = find_problems(*LINE, *words)
    starts = [
        "houses.csv has no columns `areas` (area?), `x`, which `drop` lists. Columns: area",
        "houses.csv has no column `ares`, which `types` lists. Did you mean area?",
        "`stratify` (=wher) is no column. Did you mean where?",
    ]
    assert [line.startswith(start) for line, start in zip(found.splitlines(), starts, strict=True)] == [True] * 3, found


def test_no_file_is_read_before_the_rest_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Csv, "profile", lambda self: pytest.fail("asked"))
    words = ["loss=msee", "optimizr=adam", "training.epoch=3", "seed=x", "tracking.urii=a", "metric=[rmse]"]
    found = find_problems(*LINE, *words, "feature.columns.area.normalize=min_max", "architecture.widths=[4]")
    assert [word for word in words if any(line.startswith(word.partition("=")[0]) for line in found)] == words[:-1]
    assert len(found) == len(words) - 1


def test_problems_of_the_source_are_reported_before_a_file_is_read() -> None:
    with pytest.raises(ConfigError) as caught:
        configure(["data=csv", "data.target=price", "data.sed=3"])
    assert {line.partition(":")[0] for line in caught.value.problems} == {"data.path", "data.sed"}


def test_a_problem_is_reported_without_importing_jax() -> None:
    code = (
        "import sys, runner.__main__; code = runner.__main__.main(sys.argv[1:]);"
        "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *LINE[:2]], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "data.target is missing" in done.stderr
    assert {"jax", "mlflow", "pandas"}.isdisjoint(done.stdout.split())


def test_a_sweep_reads_the_table_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read = []
    original = Csv.profile
    monkeypatch.setattr(Csv, "profile", lambda self: read.append(self.path) or original(self))
    make_plan([*LINE, "optimizer=adam,adamw,sgd", "seed=1,2"], multirun=True)
    assert capsys.readouterr().out.count("inferred from houses.csv:") == 1
    assert read == ["houses.csv"]


def test_a_resumed_run_does_not_print_again_what_was_inferred(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"resume={folder}", "learning_rate=0.1", "quiet=false"]) == 2
    printed = capsys.readouterr()
    assert "learning_rate" in printed.err
    assert printed.out == ""


def test_the_batch_size_fits_into_the_training_rows_of_each_fold() -> None:
    Path("few.csv").write_text("\n".join([HEADER, *ROWS[:54]]) + "\n")
    line = ("data=csv", "data.path=few.csv", "data.target=price")
    assert configure([*line]).values["training"]["batch_size"] == 32
    rows = min(len(Csv(path="few.csv").folds(3, fold)["train"]) for fold in range(3))
    assert rows < 32
    plan = make_plan([*line, *QUICK, "folds=3"], multirun=True)
    assert {run.config.values["training"]["batch_size"] for run in plan.runs} == {rows}


def test_a_sweep_reads_a_table_without_a_suggestion_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = Csv.profile
    monkeypatch.setattr(Csv, "profile", lambda self: asked.append(self.path) or original(self))
    with pytest.raises(ConfigError, match=r"data\.target=prize is not a column"):
        make_plan([*LINE, "data.target=prize", "seed=1,2,3"], multirun=True)
    assert asked == ["houses.csv"]


def test_a_source_may_inherit_profile(write_module: Callable[[str, str], None]) -> None:
    write_module(
        "my_tables",
        "from components import data\n\nPlain = data.Csv\n\n\nclass Mine(Plain):\n    pass\n\n\n"
        "class Other(data.Table):\n    pass\n",
    )
    known = {name: can_suggest(f"my_tables.{name}") for name in ("Plain", "Mine", "Other", "Nothing")}
    assert known == {"Plain": True, "Mine": True, "Other": False, "Nothing": False}
    assert compose([*LINE, "data._target_=my_tables.Mine"]).choices["feature"] == "inferred"


NAMES = [
    "a.b",
    "a b",
    "A b",
    " a b",
    "1",
    "9th",
    "__",
    "é" * 300,
    "😀",
    "example.weight",
    "null",
    "ä/€",
    "it's",
    '""q""',
    "{x: 1}",
    "[y]",
    "~z",
    "#",
    "\\",
    "- k",
    "target",
    "a=b",
    "1e3",
    "+1.E2",
    "first line\nsecond line",
    "k" * 1100,
    "\x07\x85",
]


def test_a_column_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[n * 0.5 + place for place, _ in enumerate(NAMES)] for n in range(40)]
    header = ",".join(f'"{name}"' for name in [*NAMES, "far off", "price"])
    seconds = 1_700_000_000
    lines = [",".join(map(str, [*row, seconds + n % 9, n % 7 + 0.5])) for n, row in enumerate(rows)]
    Path("houses.csv").write_text("\n".join([header, *lines]) + "\n")
    config = configure(LINE)
    plain_names = [name.replace('""', '"') for name in NAMES]
    assert list(config.values["data"]["types"]) == [*plain_names, "far off", "price"]
    columns = config.values["feature"]["columns"].values()
    assert [part.get("key") for part in columns] == [*plain_names, "far off"]
    block = next(build(config.values["data"], {}).blocks("all"))
    for part in build(config.values["feature"]["columns"], {}).values():
        (statistic,) = {*part.statistics().values()}
        constants = part.fit(dict.fromkeys(part.statistics(), statistic.result(statistic.summarize(block))), {})
        assert part.encode(block, {}, constants)["values"].shape == (40, 1)
    assert main(["mode=init", *LINE, "quiet=true"]) == 0
    assert plain(configure(["experiment=houses"])) == plain(configure([*LINE, "quiet=true"]))


def test_the_overrides_that_are_printed_work_for_a_column_of_any_name() -> None:
    names = [
        name.replace('""', '"') for name in (*NAMES, "2020", "true", "a\\b", """'"both""", "x${y") if name.isprintable()
    ]
    with Path("houses.csv").open("w", newline="") as file:
        rows = [[f"{(n * 7 + place) % 9} kg" for place, _ in enumerate(names)] for n in range(40)]
        writer(file).writerows([[*names, "price"], *([*row, n % 7 + 0.5] for n, row in enumerate(rows))])
    suggestion = configure(LINE).suggestion
    assert suggestion is not None
    notes = [note.partition(" To keep the text, set ")[2] for note in suggestion.notes if "read as numbers" in note]
    (note,) = (note for note in notes if "NAME" in note)
    assert note == "data.types.NAME=string after you rename the column to NAME in the first line of the file"
    words = [word for note in notes if "NAME" not in note for word in shlex.split(note)]
    types = configure([*LINE, *words]).values["data"]["types"]
    assert {name: kind for name, kind in types.items() if kind != "string"} == {"price": "float"}
    assert types.keys() == {*names, "price"} - {"x${y"}
    rest = configure([*LINE, *shlex.split(format_override("data.drop", names[1:-1]))])
    assert rest.values["data"]["types"].keys() == {names[0], "price"}


# --------------------------------------------------------------------------------------------------- several targets


SEVERAL = ("data=csv", "data.path=houses.csv", "data.target=[price,sold]", "data.drop=[id]")


@pytest.fixture
def sold() -> None:
    """A table with a second target, one tenth of whose rows are of a class, and fewer of none, and prices with gaps."""
    rows = [f"{row.rpartition(',')[0]},{'' if n % 8 == 3 else row.rpartition(',')[2]}" for n, row in enumerate(ROWS)]
    lines = [f"{row},{'' if n % 20 == 1 else 'no' if n % 10 else 'yes'}" for n, row in enumerate(rows)]
    Path("houses.csv").write_text("\n".join([f"{HEADER},sold", *lines]) + "\n")


@pytest.mark.usefixtures("sold")
def test_several_targets_are_inferred_each_with_its_loss_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    config = configure([*SEVERAL, "mode=init", "metric.sold.f1.positive=yes"])
    feature, loss, metric = (config.values[group] for group in ("feature", "loss", "metric"))
    assert feature["target"] is None
    assert feature["targets"] == {
        "price": {"_target_": "components.feature.Numeric", "key": "price", "normalize": "z_score", "missing": "mask"},
        "sold": {"_target_": "components.feature.Label", "key": "sold", "missing": "mask"},
    }
    assert feature["inputs"] == {"columns": ["rooms", "area", "where"]}
    assert {name: part["_target_"] for name, part in loss.items()} == {
        "price": "components.loss.MSE",
        "sold": "components.loss.BinaryCrossEntropy",
    }
    assert {name: [*parts] for name, parts in metric.items()} == {
        "price": ["rmse", "mae", "r2"],
        "sold": ["accuracy", "auc", "average_precision", "f1"],
    }
    assert metric["sold"]["f1"]["positive"] == "yes"
    assert config.values["data"]["stratify"] == "sold"
    assert config.suggestion is not None
    assert "sold has no value in 4 rows, which don't count for this target" in config.suggestion.notes
    assert "price has no value in 10 rows, which don't count for this target" in config.suggestion.notes
    printed = capsys.readouterr().out
    assert "loss.price=mse 'metric.price=[rmse,mae,r2]' loss.sold=binary_cross_entropy 'metric.sold=[acc" in printed
    first, *lines = Path("houses.csv").read_text().splitlines()
    lines[2:] = [f"{line}no" if line.endswith(",") else line for line in lines[2:]]
    Path("houses.csv").write_text("\n".join([first, *lines]))
    few = configure([*SEVERAL])
    assert "stratify" not in few.values["data"], "one row can't be in three splits"
    assert few.suggestion is not None
    assert "the splits aren't stratified by sold, because 1 row has no value" in few.suggestion.notes


@pytest.mark.usefixtures("sold")
def test_what_is_inferred_for_one_of_several_targets_is_overridden(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["loss.price=huber", "loss.price.delta=0.5", "metric.sold=[accuracy]", "feature.targets.price.missing=mask"]
    config = configure([*SEVERAL, *words])
    assert config.values["loss"]["price"] == {"_target_": "components.loss.Huber", "delta": 0.5}
    assert [*config.values["metric"]["sold"]] == ["accuracy"]
    assert config.values["loss"]["sold"]["_target_"] == "components.loss.BinaryCrossEntropy"
    printed = capsys.readouterr().out
    assert "loss.sold=binary_cross_entropy" in printed
    assert "loss.price=" not in printed
    assert "metric.sold=" not in printed
    words = [*words, "data.seed=null", "quiet=true"]
    assert main(["mode=init", *SEVERAL, *words]) == 0
    assert plain(configure(["experiment=houses"])) == plain(configure([*SEVERAL, *words]))
    assert "so the splits aren't stratified.\n" in Path("conf/feature/houses.yaml").read_text()
    assert "how well do the other columns predict price and sold" in Path("experiments/houses.yaml").read_text().lower()


@pytest.mark.slow
@pytest.mark.usefixtures("sold")
def test_several_targets_are_learned_and_predicted_in_one_line() -> None:
    result = runner.run(*SEVERAL, *QUICK, "quiet=true")
    assert {"test/loss", "test/price/rmse", "test/sold/auc"} <= result.metrics.keys()
    Path("new.csv").write_text("rooms,area,where\n3,40.5,North\n")
    assert main(["mode=predict", f"run={result.folder}", "data.path=new.csv", "output=p.csv", "quiet=true"]) == 0
    assert {"price.prediction", "sold.prediction"} <= {*csv.read_csv("p.csv").column_names}


@pytest.mark.parametrize("names", [("a b", "a_b"), ("loss", "target"), ("x.y", "1e3"), ("épaisseur", "weighted")])
def test_several_targets_may_have_any_names(names: tuple[str, str]) -> None:
    lines = [f"{n % 7},{n * 3 % 11 + 0.5},{n * 5 % 13 + 0.25}" for n in range(60)]
    Path("houses.csv").write_text("\n".join([",".join(["rooms", *names]), *lines]) + "\n")
    words = ["data=csv", "data.path=houses.csv", *shlex.split(format_override("data.target", names)), "quiet=true"]
    targets = configure(words).values["feature"]["targets"]
    assert [part["key"] for part in targets.values()] == [*names]
    assert main(["mode=init", *words]) == 0
    assert plain(configure(["experiment=houses"])) == plain(configure(words))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("[price,aera]", "data.target=aera is not a column of houses.csv. Did you mean area?"),
        ("[price,area,price]", "data.target=[price,area,price] lists price twice. Leave one out."),
        ("[]", "data.target is missing. Set it to the column to predict."),
    ],
)
def test_a_wrong_one_of_several_targets_is_an_error(target: str, message: str) -> None:
    (found,) = find_problems(*LINE[:2], f"data.target={target}")
    assert message in found


# ---------------------------------------------------------------------------------------------------- written down


def plain(config: Config) -> dict[str, object]:
    return {key: value for key, value in config.values.items() if key not in ("experiment", "mode", "quiet")}


def test_a_suggestion_is_cached_for_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compose(LINE).values
    profile, asked = Csv.profile, []
    monkeypatch.setattr(Csv, "profile", lambda self: asked.append(self) or profile(self))
    assert compose(LINE).values == first
    assert asked == []
    with Path("houses.csv").open("a") as file:
        file.write("81,3,4.5,West,9.5\n")
    compose(LINE)
    assert len(asked) == 1


def test_init_writes_files_with_the_same_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["optimizer=sgd", "optimizer.momentum=0.5", "seed=3", "data.valid=9"]
    words += ["feature.columns.area.key=[area,rooms]", "feature.columns.area.missing=0"]
    assert main(["mode=init", *LINE, *words]) == 0
    printed = capsys.readouterr().out
    assert "rooms" in printed
    assert "id is left out: it numbers the rows. To keep it, set data.types.id=float" in printed
    assert "titrate experiment=houses" in printed
    files = ["conf/data/houses.yaml", "conf/feature/houses.yaml", "experiments/houses.yaml"]
    assert all(file in printed and Path(file).exists() for file in files)
    assert plain(configure(["experiment=houses"])) == plain(configure([*LINE, *words, "quiet=true"]))
    assert "where" in Path(files[1]).read_text()
    assert "# id is left out: it numbers the rows. To keep it, set data.types.id=float." in Path(files[1]).read_text()
    header = Path(files[2]).read_text().splitlines()[:4]
    assert [line.split()[1] for line in header] == ["Question:", "Result:", "Time:", "Command:"]
    suggestion, written = configure([*LINE, *words]).suggestion, yaml.safe_load(Path(files[2]).read_text())
    assert suggestion is not None
    chosen = {key.removeprefix("override /") for each in written["defaults"] for key in each}
    assert chosen == {*suggestion.choices, "optimizer", "data", "feature"}  # also those that are the default
    inferred = {key: value for key, value in suggestion.values.items() if key != "data"}
    assert {*dict(dotted_leaves(inferred))} <= {*dict(dotted_leaves(written))}


@pytest.mark.parametrize("name", ["first line\nsecond line", "1e3", "\x07", "a: b # c"])
def test_init_writes_files_for_a_target_of_any_name(name: str) -> None:
    Path("houses.csv").write_text("\n".join([HEADER.replace("price", f'"{name}"'), *ROWS]))
    words = ["data=csv", "data.path=houses.csv", f"data.target={quote_text(name)}", "quiet=true"]
    assert main(["mode=init", *words]) == 0
    assert plain(configure(["experiment=houses"])) == plain(configure(words))


def test_init_overwrites_no_file_and_uses_no_name_of_titrate(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["mode=init", *LINE, "quiet=true"]
    Path("experiments").mkdir()
    Path("experiments/houses.yaml").write_text("seed: 1\n")
    assert main(words) == 2
    assert "has experiments/houses.yaml already. Nothing was written" in capsys.readouterr().err
    assert not Path("conf").exists()
    Path("houses.csv").rename("digits.csv")
    assert main([*words, "data.path=digits.csv"]) == 0
    assert Path("experiments/digits_data.yaml").exists()
    assert configure(["experiment=digits_data"]).values["data"]["path"] == "digits.csv"


# ------------------------------------------------------------------------------------------------------------ new rows


def predict(folder: str, output: str = "found.csv") -> list[float]:
    assert main(["mode=predict", f"run={folder}", "data.path=new.csv", f"output={output}", "quiet=true"]) == 0
    found = csv.read_csv(output)
    assert [name for name in found.column_names if name != "target"] == ["row", "prediction"]
    assert found["row"].to_pylist() == list(range(found.num_rows))
    return found["prediction"].to_pylist()


def fail_to_predict(folder: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["mode=predict", f"run={folder}", "data.path=new.csv", "output=found.csv"]) == 2
    assert not Path("found.csv").exists()
    return capsys.readouterr().err


def test_new_rows_need_no_target_and_give_the_same_predictions_as_a_split(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = [row.rpartition(",")[0] for row in (HEADER, *ROWS)]
    Path("new.csv").write_text("\n".join([f"more,{without[0]}", *(f"x,{row}" for row in without[1:]), "x,,,5,West"]))
    found = predict(folder)
    fitted = runner.load(folder)
    np.testing.assert_allclose(found, fitted.predict(Csv(path="new.csv")).prediction, rtol=1e-6)
    lone = fitted.predict({"where": ["North"], "area": [(2 * 37) % 101 + 0.5], "rooms": [2.0]})
    np.testing.assert_allclose(found[1], lone.prediction[0], rtol=1e-5)
    monkeypatch.chdir(Path(folder).parents[1])
    test = fitted.predict("test")
    np.testing.assert_allclose(np.array(found)[test.row], test.prediction, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rooms,area,where\n1,2,North\n\n2,x2,South\n",
            "new.csv, line 4: column `area` is 'x2', not of type",
        ),
        ('rooms,area,where\n1,2,"a\nb"\n2,,South\n', "new.csv, line 4: column `area` has no value"),
        ("rooms,aria,where\n1,2,North\n", "new.csv has no column `area`, which the run reads. Did you mean aria?"),
        ("rooms\n1\n", "new.csv has no columns `area`, `where`, which the run reads. Columns: rooms"),
        ("rooms,area,where\n1,x,North\n", "are fixed. Correct new.csv"),
        ("rooms,area,where\n", "has no rows below the names of its columns"),
        ("rooms,area,where\n1,2\n", "new.csv, line 2: the number of fields is 2, not 3"),
    ],
)
def test_wrong_new_rows_are_reported(folder: str, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    Path("new.csv").write_text(text)
    assert message in fail_to_predict(folder, capsys)


def test_predictions_do_not_depend_on_the_target(folder: str) -> None:
    Path("new.csv").write_text(f"{HEADER}\n1,2,3.5,North,\n2,3,4.5,South,dear\n")
    assert len(predict(folder)) == 2
    assert csv.read_csv("found.csv")["target"].to_pylist() == ["", "dear"], "it is copied, whatever it is"


def test_values_that_training_did_not_have_give_a_warning(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.csv").write_text("rooms,area,where\n1,2,North\n2,3,West\n3,4,\n")
    words = ["mode=predict", f"run={folder}", "data.path=new.csv", "output=found.csv"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    unknown = "1 of 2 values of column `where` aren't in its vocabulary, the first in new.csv, line 3: 'West'\n"
    assert unknown in printed
    assert "column `where` has 1 missing value, the first in new.csv, line 4; in training it had none\n" in printed


def test_a_run_is_evaluated_on_all_rows_of_a_file(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    fitted = runner.load(folder)
    source = Csv(path=str(Path(folder).parents[1] / "houses.csv"))
    prices = np.array([float(row.rpartition(",")[2]) for row in ROWS])
    error = np.abs(np.asarray(fitted.predict(source).prediction) - prices).mean()
    assert fitted.evaluate(source)["new/mae"] == pytest.approx(error, rel=1e-4)
    Path("new.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    assert main(["mode=evaluate", f"run={folder}", "data.path=new.csv", "quiet=true"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed[:7] == ["rows", "of", "loss", "rmse", "mae", "r2", "new.csv"]
    assert float(printed[9]) == pytest.approx(error, rel=1e-3)
    Path("new.csv").write_text("rooms,area,where\n1,2,North\n")
    assert main(["mode=evaluate", f"run={folder}", "data.path=new.csv"]) == 2
    error = capsys.readouterr().err
    assert "there is no column `price` in new.csv, and an evaluation needs the target. Columns: area, rooms," in error
    assert "To predict rows without it, use predict (mode=predict)." in error


def test_the_path_of_a_table_of_another_folder_is_whole(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path_factory.mktemp("data of others")
    (data / "t.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    monkeypatch.setenv("TITRATE_DATA", str(data))
    suggestion = compose(["data=csv", "data.path=t.csv", "data.target=price"]).suggestion
    assert suggestion is not None
    assert suggestion.origin == f"inferred from {data / 't.csv'}"
