"""The titles of runs and sweeps, the names of data, and the experiments of MLflow."""

import json
from pathlib import Path
from typing import Any

import pytest

import runner
from runner.config.compose import configure
from runner.record.naming import data_name, default_experiment, title_member, title_run, title_sweep
from runner.sweep.plan import Plan, make_plan

TABLE = "\n".join(["x,y", *(f"{number},{number % 5}.5" for number in range(60))])


@pytest.fixture
def table(in_empty_folder: Path) -> Path:
    path = in_empty_folder / "data" / "prices.csv"
    path.parent.mkdir()
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("words", "title", "experiment"),
    [
        ("experiment=digits_cnn", "digits · sequential", "digits_cnn"),
        ("optimizer=sgd seed=3", "optimizer sgd · seed 3 · digits · mlp", "digits"),
        (
            "experiment=digits_mlp learning_rate=3e-3 training.batch_size=8",
            "lr 3e-3 · batch 8 · digits · mlp",
            "digits_mlp",
        ),
        (
            "data=csv data.path=data/prices.csv data.target=y seed=2",
            "seed 2 · prices.csv · mlp · target y",
            "prices.csv",
        ),
        ("experiment=digits_mlp folder=a quiet=true tracking=none tracking.x=1 note=b", "digits · mlp", "digits_mlp"),
        ("experiment=digits_mlp folds=5 fold=2", "fold 2 · digits · mlp", "digits_mlp"),
        (
            "data=csv data.path=data/prices.csv data.target='y' data.nulls.x=['-'] architecture.widths=[4]",
            "nulls.x ['-'] · widths [4] · prices.csv · mlp · target y",
            "prices.csv",
        ),
        (
            "optimizer={_target_:optax.sgd,momentum:0.9}",
            "optimizer {sgd,momentum:0.9} · digits · mlp",
            "digits",
        ),
        ("~optimizer.eps", "no eps · digits · mlp", "digits"),
        ("architecture.widths=[100,100,100,100,100,100]", "widths [100,100,100,100,100,10… · digits · mlp", "digits"),
        (
            "seed=1 training.epochs=2 training.steps=3 training.patience=4 training.min_delta=5 training.profile=true "
            "training.max_minutes=7 training.microbatches=8",
            "seed 1 · epochs 2 · steps 3 · patience 4 · min_delta 5 · profile true · 2 more · digits · mlp",
            "digits",
        ),
    ],
)
@pytest.mark.usefixtures("table")
def test_a_title_shows_what_the_command_changes_the_data_and_the_architecture(
    words: str, title: str, experiment: str
) -> None:
    overrides = [word for word in words.split() if word not in ("~optimizer.eps", "tracking.x=1")]
    config = configure(overrides)
    object.__setattr__(config, "overrides", tuple(words.split()))
    assert title_run(config) == title
    assert default_experiment(config) == experiment


def plan(*words: str) -> Plan:
    made = make_plan(words, multirun=not any(word.startswith("folds") for word in words))
    assert isinstance(made, Plan)
    return made


@pytest.mark.parametrize(
    ("words", "title", "member", "experiment"),
    [
        (
            "learning_rate=1e-3,1e-2 seed=1,2 optimizer=sgd",
            "4 runs over lr, seed · optimizer sgd · digits · mlp",
            "lr 0.001 · seed 1 · optimizer sgd · digits · mlp",
            "digits",
        ),
        ("experiment=digits_mlp seed=3", "1 run · seed 3 · digits · mlp", "seed 3 · digits · mlp", "digits_mlp"),
        ("experiment=digits_mlp folds=3", "3 folds · digits · mlp", "fold 0 · digits · mlp", "digits_mlp"),
        ("architecture=mlp,lenet5", "2 runs over architecture · digits", "architecture mlp · digits", "digits"),
        (
            "data.path=data/prices.csv,data/other.csv data=csv data.target=y",
            "2 runs over path · mlp · target y",
            "path data/prices.csv · mlp · target y",
            "titrate",
        ),
        ("experiment=digits_mlp,digits_cnn", "2 runs over experiment", "experiment digits_mlp", "titrate"),
    ],
)
def test_a_title_in_a_sweep_shows_what_differs_first(
    table: Path, words: str, title: str, member: str, experiment: str
) -> None:
    table.with_name("other.csv").write_text(TABLE)
    sweep = plan(*words.split())
    first = sweep.runs[0]
    assert title_sweep(first.config, sweep.common, sweep.varied_keys(), len(sweep.runs)) == title
    assert title_member(first.config, first.overrides) == member
    assert default_experiment(first.config, sweep.varied_keys()) == experiment


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("data=diabetes feature=diabetes loss=mse metric=[]", "diabetes"),
        ("experiment=imdb_mean_embedding", "imdb"),
        ("experiment=imdb_mean_embedding data.path=own/reviews.tar", "reviews.tar"),
        ("data=my_houses feature=diabetes loss=mse metric=[]", "my_houses"),
    ],
)
def test_data_with_a_path_of_its_own_has_the_name_of_its_option(in_empty_folder: Path, words: str, name: str) -> None:
    option = in_empty_folder / "conf" / "data" / "my_houses.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("_target_: components.data.Csv\npath: data/prices.csv\n")
    assert data_name(configure(words.split())) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/t.csv", "t.csv"),
        ("data/shards/*.csv", "shards"),
        ("data/**/*.csv", "data"),
        ("*.csv", "csv"),
        ("[data/a.csv,data/b.csv]", "data"),
        ("[a.csv,b.csv]", "a.csv"),
    ],
)
def test_data_in_files_has_the_name_of_the_file_or_the_folder(path: str, name: str) -> None:
    assert data_name(configure(["data=csv", f"data.path={path}", "feature=diabetes", "loss=mse", "metric=[]"])) == name


def read_record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "record.json").read_text())


@pytest.mark.slow
@pytest.mark.optax
def test_the_record_of_a_run_has_title_description_and_tags(table: Path) -> None:
    words = ["data=csv", f"data.path={table}", "data.target=y", "training.epochs=1", "quiet=true", "tracking=mlflow"]
    own = ["tracking.tags={team: blue, round: 3}", "note=a first try", "tracking.diff=false"]
    record = read_record(runner.run(*words, *own).folder)
    assert record["title"] == "epochs 1 · prices.csv · mlp · target y"
    assert record["experiment"] == record["tracking"]["experiment"] == "prices.csv"
    assert "learning_rate" in record["parameters"]
    assert "schedule.learning_rate" not in record["parameters"], "it follows learning_rate"
    note, command = record["description"].split("\n\n")
    assert note == "a first try"
    assert command.startswith(f"```\ntitrate data=csv data.path={table} ")
    assert "note" not in command
    assert record["tags"].items() >= {"team": "blue", "round": "3", "data": "prices.csv", "mode": "train"}.items()
    assert record["tags"]["architecture"] == "mlp"
    assert {"mlflow.source.name", "mlflow.source.type", "mlflow.user"} <= set(record["tags"])
    assert [dataset["name"] for dataset in record["datasets"]] == ["prices.csv"] * 3


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_the_description_has_the_question_of_the_experiment_and_the_runs_of_a_sweep_are_in_its_experiment() -> None:
    words = ("experiment=digits_mlp", "training.limit_batches=1", "training.epochs=1", "tracking=none", "quiet=true")
    result = runner.multirun(*words, "seed=1,2")
    sweep = read_record(result.folder)
    question, command = sweep["description"].split("\n\n")
    assert question.endswith("?")
    assert command.startswith("```\ntitrate -m experiment=digits_mlp ")
    for run in result.runs:
        record = read_record(result.folder / str(run.folder))
        assert record["experiment"] == sweep["experiment"] == "digits_mlp"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("note=[1]", "note"),
        ("tracking.tags=3", "tracking.tags"),
        ("tracking.diff=perhaps", "tracking.diff"),
        ("tracking.system_metrics=5", "tracking.system_metrics"),
    ],
)
def test_a_wrong_value_is_named(word: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        configure([word])
