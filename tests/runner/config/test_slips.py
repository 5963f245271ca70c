"""A common slip on the command line gets an error that says what to write."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from components.layer.activation import ActivationName
from components.layer.initializer import INITIALIZERS
from components.other_names import OTHER_NAMES
from runner.__main__ import main
from runner.config.catalog import find_options
from runner.config.check import DATA_KEYS, check_config, find_config_problems
from runner.config.compose import compose
from runner.config.modes import MODES
from runner.config.option_parts import find_options_with, list_parameters
from runner.config.settings import SECTIONS
from runner.config.slips import EXPLANATIONS, NAMES_FOR_FINISHED_RUNS, OTHER_KEYS, OTHER_TABLES
from runner.errors import ConfigError
from runner.signature.parameters import read_settings_fields
from runner.tree import iterate_leaves, join_path

KEYS = {join_path(path[:length]) for path, _ in iterate_leaves(compose([]).values) for length in range(1, 4)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("epochs=3", "epochs: unknown key. Write training.epochs=3 [set by the command line (epochs=3)]"),
        ("batch_size=7", "batch_size: unknown key. Write training.batch_size=7"),
        ("lr=1e-2", "lr: unknown key. Write learning_rate=0.01"),
        ("optimizer.lr=0.1", "optimizer.lr: unknown parameter of optax.nadam. Write learning_rate=0.1"),
        ("optimizer.learning_rate=0.1", "optimizer.learning_rate: is set by the schedule. Set learning_rate instead."),
        ("device=gpu", "device: unknown key. JAX uses a GPU or TPU once its packages are installed: uv sync --inexact"),
        ("device=gpu", "To choose the platform, write JAX_PLATFORMS=cpu (or cuda, tpu) before titrate."),
        ("platform=gpu", "write JAX_PLATFORMS=cpu (or cuda, tpu) before titrate."),
        ("data=churn.csv", "unknown option churn.csv. Write data=csv data.path=churn.csv data.target=COLUMN [set by"),
        ("data=my/churn", "unknown option my/churn. Write data=csv data.path=my/churn data.target=COLUMN"),
        ("data=t.parquet", "unknown option t.parquet. Write data=table data.path=t.parquet data.target=COLUMN"),
        ("data=t.XLSX", "TFRecord. Save it as CSV or Parquet. Write data=csv data.path=t.csv data.target=COLUMN"),
        ("mode=delete run=last", "Did you mean clean?"),
        ("mode=ls", "Did you mean runs?"),
        ("mode=test", "Did you mean evaluate?"),
        ("data=digit", "data: unknown option digit. Did you mean digits?"),
        ("data.path=churn.csv", "Write data=csv data.path=churn.csv data.target=COLUMN"),
        ("data.target=churn", "Write data=csv data.path=FILE data.target=churn"),
        (
            "data.path=a.csv data.target=b",
            "data.target: unknown parameter of components.data.ScikitLearn. Write data=csv",
        ),
        (
            "data=csv data.path=a.csv data.target=b lr=2 optimizer.lr=0.1 architecture.widht=[3]",
            "optimizer.lr: no option of optimizer has this parameter. Write learning_rate=0.1 [set by",
        ),
        (
            "data=csv data.path=a.csv data.target=b lr=2 optimizer.lr=0.1 architecture.widht=[3]",
            "architecture.widht: no option of architecture has this parameter. Did you mean width or widths? [set",
        ),
        ("'metric=[f2,rms,mae]'", "metric: unknown option rms. Did you mean rmse?"),
        ("'metric=[f2,rms,mae]'", "metric: unknown option f2. "),
        ("data=generator data.path=a.csv", "Its rows come from data.function. To read a file, choose another source"),
        ("data=generator data.target=y", "feature file: write conf/feature/NAME.yaml, and choose it by feature=NAME."),
        ("data.delimiter=,", "data.delimiter=,: not a valid override. Write data.delimiter=comma\n"),
        ("data.quote='\"'", "not a valid override. Write data.quote=double_quote\n"),
        ("model=mlp", "model: unknown key. Write architecture=mlp"),
        ("model.dropout=0.5", "model: unknown key. Write architecture.dropout=0.5"),
        ("model.units=[3,4]", "model: unknown key. Did you mean mode? [set by"),  # no network has it
        ("trainer.accelerator=gpu", "trainer: unknown key. Did you mean training? [set by"),
        ("scheduler.lr=2", "scheduler: unknown key. Write learning_rate=2"),
        ("trainer.max_epochs=3", "trainer: unknown key. Write training.epochs=3"),
        ("'train={epochs: 3, patience: 2}'", "train: unknown key. Write training.epochs=3 training.patience=2"),
        ("'widths=[3,4]'", "widths: unknown key. Write 'architecture.widths=[3, 4]'"),
        ("dropout=0.5", "dropout: unknown key. Write architecture.dropout=0.5"),
        ("weight_decay=0.1", "weight_decay: unknown key. Options of optimizer that have it: adadelta, adamw, lamb,"),
        ("optimizer.centered=true", "of optax.nadam. Options of optimizer that have it: rmsprop."),
        ("loss.delta=1", "Options of loss that have it: huber."),
        ("optimizer.b3=1", "Allowed: b1, b2,"),
        ("optimizer.betas=[0.9,0.99]", "Did you mean b1 or b2? Allowed: b1, b2,"),
        ("architecture.hidden=64", "unknown parameter of components.architecture.MLP. Did you mean widths?"),
        ("architecture.activation=ReLU", "Did you mean relu?"),
        ("architecture.initializer=kaiming_normal", "Did you mean he_normal?"),
        ("architecture=resnet", "Did you mean resnet101, resnet152, resnet18, resnet20, resnet32, resnet34, resnet50,"),
        ("architecture=dense", "Did you mean mlp?"),
        ("loss=categorical_crossentropy", "Did you mean softmax_cross_entropy?"),
        ("'metric=[roc_auc_score]'", "Did you mean auc?"),
        ("training.lr=0.1", "training.lr: unknown key. Write learning_rate=0.1"),
        ("model.lr=0.1", "model: unknown key. Write learning_rate=0.1"),
        ("data.train=0.1", "unknown parameter of components.data.ScikitLearn. Options of data that have it:"),
        ("validation_split=0.2", "validation_split: unknown key. Write data.valid=0.2"),
        ("data.target=asking price", "data.target=asking price: a value with spaces needs quotes. Write 'data.target="),
        ("metric=[rmse, mae]", "metric=[rmse, mae]: a value with spaces needs quotes. Write 'metric=[rmse, mae]'\n"),
        ("update.groups={a: {b: [c, d]}, e: {}} f", "Write 'update.groups={a: {b: [c, d]}, e: {}}'\n"),
        ("-m learning_rate=1e-3, 1e-2", "a value with spaces needs quotes. Write 'learning_rate=1e-3, 1e-2'\n"),
        ("data.path=a[b note=[1, 2]", "data.path=a[b: not a valid override. Write 'data.path=\"a[b\"'"),
        ("note=a predict run=last", "predict: not a valid override. Write mode=predict\n"),
        ("seed=1 seed =3", "seed =3: spaces around = are not allowed. Write seed=3\n"),
        (
            "data=csv data.path=t.csv data.target = asking price",
            "data.target = asking price: spaces around = are not allowed. Write 'data.target=asking price'\n",
        ),
        ("runs.where=seed == 3", "needs quotes. Write 'runs.where=\"seed == 3\"'\n"),
        (f"note={9999 * 'x'} y sed=3", "the override is longer than 10,000 characters. Write it into an experiment.\n"),
        (f"note={9999 * 'x'} y sed=3", "sed: unknown key. Did you mean seed?"),
        ("help optimizer", "help: not a valid override. Write --help\n"),
        ("seed=1 digits_cnn", "digits_cnn: not a valid override. Write experiment=digits_cnn\n"),
        ("experiments/digits_cnn.yaml", "Write experiment=digits_cnn\n"),
        (
            "experiment=experiments/digits_cnn.yaml",
            "experiment: unknown option experiments/digits_cnn.yaml. Write digits_cnn, the ",
        ),
        ("--allow a/my_loss.py", "--allow a/my_loss.py: is a file, and a module is needed. Write --allow a.my_loss\n"),
        ("optimizer=yogi", "optimizer: unknown option yogi. Write optimizer._target_=optax.yogi [set"),
        ("optimizer=optax.yogi", "Write optimizer._target_=optax.yogi [set"),
        ("optimizer=optax.lion", "Write optimizer=lion [set"),
        ("optimizer=optax.sgd", "optimizer: unknown option optax.sgd. Write optimizer=sgd [set"),
        ("optimizer=optax..adam", "optimizer: unknown option optax..adam. Allowed: adabound,"),
        (
            "data.random_state=3",
            "data.random_state: unknown parameter of components.data.ScikitLearn. Write data.seed=3",
        ),
        ("dataset.random_state=3", "dataset: unknown key. Write data.seed=3 [set"),
        ("architecture.input=3", "architecture.input: unknown parameter of components.architecture.MLP. Allowed:"),
        ("model.input=3", "model: unknown key. Did you mean mode?"),
        ("metric=components.metric.MAE", "metric: unknown option components.metric.MAE. Write mae [set"),
        ("metric=[top_k,auc.yaml]", "metric: unknown option auc.yaml. Write auc, the name of the option [set"),
        ("training.learning_rate=0.1", "training.learning_rate: unknown key. Write learning_rate=0.1 [set"),
        ("image_size=16", "image_size: unknown key. Write feature.columns.image.size=16 [set"),
        ("experiment=digits_cnn dropout=0.3", "Write architecture.layers.4.rate=0.3 or architecture.layers.6.rate=0.3"),
        ("experiment=digits_cnn architecture.dropout=0.3", "Sequential. Write architecture.layers.4.rate=0.3 arch"),
        ("--lr=0.1", "--lr=0.1: unknown flag. Write learning_rate=0.1\n"),
        ("data.on_missing=drop", "It is for new rows: mode=predict and mode=evaluate."),
        ("data=images data.path=a data.target=label", "The source names its target itself: leave this out."),
        ("data.valid=0", "Every run has this split: set a share, such as 0.1, or a number of rows"),
        ("runs.columns=a,b", "several values must be a list. Write 'runs.columns=[a,b]'\n"),
        ("runs.sort=a,b", "runs.sort=a,b: takes one value, and no sweep is over it. Choose one.\n"),
        ("'data.types.area (m2)=float'", "Write 'data.types.\"area (m2)\"=float'"),
        ("early_stopping=5", "write training.patience=5"),
        ("training.verbose=1", "training.verbose: unknown key. To print warnings and errors only, write quiet=true"),
        ("trainig.epochs=3", "trainig: unknown key. Did you mean training?"),
    ],
)
def test_a_slip_gets_the_right_hint(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(words) if "'" in words else words.split(" ")) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize(
    ("file", "word", "message"),
    [
        ("pets/cat/1.JPG", "data=pets", "data: unknown option pets. Write data=images data.path=pets [set by"),
        ("pets/train/cat/1.png", "data=./pets/", "Write data=images data.path=./pets/ [set by"),
        ("pets/1.png", "data=pets", "Write data=images data.path=pets [set by"),
        ("pets/1.csv", "data=pets", "data: unknown option pets. Allowed: "),
        ("pets/1.csv", "data=pets/1.csv", "Write data=csv data.path=pets/1.csv data.target=COLUMN [set by"),
    ],
)
def test_a_folder_of_images_is_no_option(
    file: str, word: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).parent.mkdir(parents=True)
    Path(file).touch()
    assert main([word]) == 2
    assert message in capsys.readouterr().err


NO_RUN = "run: is missing from the command line."
NO_OUTPUT = "output: is missing from the command line."


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        ("mode=predict", [NO_RUN, NO_OUTPUT]),
        (
            "mode=predict data=digits",
            [
                "data=digits: not allowed for a finished run, which mode=predict reads. Leave this out.",
                NO_RUN,
                NO_OUTPUT,
            ],
        ),
        ("mode=predict stray", ["stray: not a valid override.", NO_RUN, NO_OUTPUT]),
        ("mode=predict path=n.csv", ["path=n.csv: unknown key. Write data.path=n.csv", NO_RUN, NO_OUTPUT]),
        ("mode=evaluate model=last", ["model=last: unknown key. Write run=last", NO_RUN]),
        (
            "mode=evaluate data=n.csv",
            ["data=n.csv: the source is that of the finished run. Write data.path=n.csv", NO_RUN],
        ),
        ("mode=evaluate ruun=last", ["ruun=last: unknown key. Did you mean run?", NO_RUN]),
        (
            "mode=evaluate epochs=2 gpu=1",
            ["epochs=2, gpu=1: not allowed for a finished run, which mode=evaluate reads. Leave these out.", NO_RUN],
        ),
        ("mode=evaluate data.labels=false", [NO_RUN]),  # the source of the run may have it
        ("mode=eval run=last data.path=n.csv", ['mode: "eval" is not an allowed value. Did you mean evaluate?']),
        ("run=last data.path=n.csv", ["run: is allowed for mode=evaluate, predict, look only."]),
        ("evaluate run=last", ["evaluate: not a valid override. Write mode=evaluate"]),
        ("predict output=a.csv", ["predict: not a valid override. Write mode=predict"]),
        ("mode=evaluate,predict run=last", ["mode=evaluate,predict: takes one value."]),
        ("mode=evaluate run=[a]", ["run=a: there is no such run below outputs"]),
        ("mode=evaluate run=[1]", ["run.0: 1 is not text [set by"]),
        ("-m mode=runs runs.last=1,2", ["mode=runs: this mode takes one run, not a sweep; leave out -m"]),
        ("data=csv data.path=n.csv data.target=[price,kind] loss.price=huber bogus=1", ["bogus: unknown key."]),
        ("data=csv data.path=n.csv data.target=price loss.option=huber bogus=1", ["bogus: unknown key."]),
        ("data=csv data.path=n.csv data.target=y loss={_target_:optax.a} loss.x=1 a=1", ["a: unknown key."]),
        ("data=csv data.path=n.csv data.target=y optimizer._target_=optax.lars optimizer.x=1 a=1", ["a: unknown key."]),
        (
            "mode=evaluate run=no data.path=a,b data.nulls=x,y",
            [
                "run=no: there is no such run below outputs.",
                "data.path=a,b: several files must be a list. Write 'data.path=[a,b]', or 'data.path=\"a,b\"' for a",
                "data.nulls=x,y: several values must be a list. Write 'data.nulls=[x,y]'",
            ],
        ),
    ],
)
def test_a_slip_adds_no_errors_that_follow_from_it(
    words: str, messages: list[str], capsys: pytest.CaptureFixture[str], in_empty_folder: Path
) -> None:
    assert main(words.split()) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("data.path: there is no ")]
    assert len(lines) == len(messages)
    assert [line for line, message in zip(lines, messages, strict=True) if not line.startswith(message)] == []


@pytest.mark.parametrize("meant", NAMES_FOR_FINISHED_RUNS.values())
def test_the_names_for_finished_runs_stand_for_keys_of_ours(meant: str) -> None:
    assert meant in {*KEYS, "data.path", *(f"data.{key}" for key in DATA_KEYS)}


@pytest.mark.parametrize(("name", "meant"), OTHER_KEYS.items())
def test_each_other_name_stands_for_a_key_of_ours(name: str, meant: str) -> None:
    parameters = {f"data.{parameter}" for parameter in list_parameters("data")}
    assert meant in KEYS | parameters | {"feature.columns.image.size", "feature.target.weight"}
    assert name not in KEYS


def test_each_name_that_another_name_stands_for_is_ours() -> None:
    groups = find_options().files
    options = {name for files in groups.values() for name in files}
    parameters = {name for group in groups if group != "experiment" for name in list_parameters(group)}
    values = {*get_args(ActivationName), *INITIALIZERS, *MODES, "train", "valid", "test"}
    known = options | parameters | values
    assert not [(name, meant) for name, ours in OTHER_NAMES.items() for meant in ours if meant not in known]


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_no_explained_key_exists(name: str) -> None:
    assert name not in KEYS


@pytest.mark.parametrize(
    ("section", "name"),
    [(section, name) for section, fields in SECTIONS.items() for name in read_settings_fields(fields)],
)
def test_a_key_without_its_section_names_it(section: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(compose([f"{name}=1"]))
    assert re.search(rf"^{name}: unknown key\. Write .*{section}\.{name}=1\b", str(caught.value), re.MULTILINE)


@pytest.mark.parametrize("suffix", OTHER_TABLES)
def test_a_path_of_another_format_names_the_option_for_tables(
    suffix: str, capsys: pytest.CaptureFixture[str], in_empty_folder: Path
) -> None:
    assert main([f"data=table{suffix}"]) == 2
    assert "Write data=csv data.path=table.csv data.target=COLUMN" in capsys.readouterr().err


def test_options_with_a_parameter_are_found() -> None:
    assert list(find_options_with("optimizer", "centered")) == ["rmsprop"]
    assert find_options_with("metric", "k").keys() == {"top_k", "top_k_error"}
    assert not find_options_with("feature", "columns")


FUNCTIONS = """
from components.loss import MSE

def mse(logits, target): ...
def tensorflow(y_true, y_pred): ...
def correct(output, batch): ...
def penalty(params): ...
def factory(target) -> MSE: ...
def other(scale): ...
"""


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("loss", "mse", "mine.mse is a function of (logits, target). A loss is a class with `__call__` and `outputs`."),
        ("loss", "tensorflow", "mine.tensorflow is a function of (y_true, y_pred). A loss is a class with"),
        ("metric.mine", "correct", "mine.correct is a function of (output, batch). A metric is a class with `bind`"),
        ("regularizer.mine", "penalty", "mine.penalty is a function of (params). A regularizer is a class with"),
        ("loss", "factory", "is missing, and has no default"),
        ("loss", "other", "is missing, and has no default"),
    ],
)
def test_a_function_that_takes_what_a_part_takes_is_explained(
    in_empty_folder: Path, write_module: Callable[[str, str], None], key: str, name: str, message: str
) -> None:
    write_module("mine", FUNCTIONS)
    (problem,) = find_config_problems(compose([f"{key}={{_target_: mine.{name}}}"]))
    assert message in problem
    if "a function" in message:
        assert f"Run: titrate --help components.types.{key.partition('.')[0].capitalize()}" in problem
