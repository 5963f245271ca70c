"""`--help` describes every option with its parameters, and every key; a word that names nothing is an error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.types import UserError
from runner.__main__ import main
from runner.config.catalog import INSTALL_FOLDER, find_options, read_default_options
from runner.config.check import DATA_KEYS
from runner.config.modes import MODES
from runner.config.option_parts import read_part
from runner.modes.describe import describe, read_settings
from runner.modes.help import help_text
from runner.signature.docstring import read_documentation
from runner.signature.parameters import REST, read_signature
from runner.signature.schema import FILLED_IN

OPTIONS = [(group, name, path) for group, files in find_options().files.items() for name, path in files.items()]
WIDTH = 80


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def join_lines(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize(("group", "name", "path"), OPTIONS, ids=[f"{group}={name}" for group, name, _ in OPTIONS])
def test_each_option_is_described_with_its_parameters(group: str, name: str, path: Path) -> None:
    text = describe([f"{group}={name}"])
    assert str(path) in text
    part = read_part(group, name, path)
    if part is None:
        assert path.read_text().strip() in text
        return
    parameters = read_signature(part["_target_"])
    assert parameters is not None
    described = {line.strip().partition(":")[0] for line in text.splitlines() if line.startswith("  ")}
    assert {"NAME" if parameter == REST else parameter for parameter in parameters} <= described
    meanings = read_documentation(part["_target_"]).meanings
    assert {*parameters} - {REST} <= meanings.keys(), "a parameter has no meaning"
    filled_in = FILLED_IN.get(group, {})
    assert all(join_lines(meanings[parameter]) in join_lines(text) for parameter in {*parameters} - {REST, *filled_in})
    assert all(len(line) <= WIDTH or len(line.split()) <= 2 for line in text.splitlines())


def test_keys_of_data_for_finished_runs_are_described() -> None:
    for word in ("data.on_missing", "data"):
        assert "data.on_missing: error or fill for mode=evaluate and mode=predict only" in join_lines(describe([word]))
    assert "data.split: text split of the run's data" in join_lines(describe(["data.split"]))


def test_the_help_of_a_data_set_says_where_its_files_come_from() -> None:
    text = join_lines(describe(["data=california_housing"]))
    assert "missing values: datasets/housing/housing.csv of https://github.com/ageron/handson-ml2." in text


def test_the_name_of_an_option_leads_to_its_help() -> None:
    with pytest.raises(UserError, match=r"^--help sam: there is no sam\. See titrate --help step=sam$"):
        describe(["sam"])


def test_the_default_of_the_option_is_shown_before_that_of_the_signature(in_empty_folder: Path) -> None:
    assert "\n  delta: a number in (0, inf). Default: 1.0\n" in describe(["loss=huber"])
    Path("conf/loss").mkdir(parents=True)
    Path("conf/loss/wide.yaml").write_text("# Wide.\n_target_: components.loss.Huber\ndelta: 5.0\n")
    text = describe(["loss=wide"])
    assert "\n  delta: a number in (0, inf). Default: 5.0\n" in text
    assert str(in_empty_folder / "conf/loss/wide.yaml") in text


@pytest.mark.parametrize("key", read_settings())
def test_each_key_is_described(key: str) -> None:
    setting = read_settings()[key]
    assert setting.meaning, f"{key} has no comment in conf/run.yaml"
    text = join_lines(describe([key if key == "mode" else f"{key}=1"]))
    assert join_lines(setting.meaning) in text
    if not isinstance(setting.default, dict | float):
        value = setting.default if isinstance(setting.default, str) else json.dumps(setting.default)
        assert f"Default: {value}" in text


@pytest.mark.parametrize("group", read_default_options())
def test_each_group_is_described(group: str) -> None:
    words = describe([group]).split()
    assert all(f"{group}={name}" in words for name in find_options().files[group])


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("optax.adam", "b1: a number in [0, 1). Default: 0.9"),
        ("components.loss.Huber", "delta: a number in (0, inf). Default: 1.0"),
        ("components.feature", "components.feature.Vocabulary The position of a value in a list, as an id."),
        ("components.feature.Vocabulary", "oov: a whole number in [0, inf). Default: 0"),
        ("optimizer.momentum", "of optimizer=rmsprop, optimizer=sgd"),
        ("data.max_unpacked_gb", "Default: 2.0"),
        ("metric=[accuracy,top_k]", "metric.top_k.NAME=VALUE"),
        ("components.types", "components.types.Metric A number that describes a whole split, computed from sums over"),
        ("components.types.Metric", "measure(output: Output, batch: Batch) -> Mapping[str, jax.Array] The counts and"),
        ("components.types.Output", "losses: internal losses by name, (B,) each. They are added to the objective."),
        ("components.types.AfterUpdate", "after("),
        ("components.feature.statistic.Moments", "Mean and population standard deviation."),
        ("components.pretrained.Rule", "theirs: name of the layer in the library."),
        ("feature.weight", "the key of a column of the data, such as population"),
        ("feature.inputs", "such as {numbers: [age, income]}"),
        ("mode", "mode=look shows the data as the model gets it"),
        ("mode=predict", "output.columns: a list (each text) or null. Default: null"),
        ("mode=evaluate", "data.on_missing: error or fill"),
        ("mode=init", "mode=init creates a project"),
        ("teacher=null", "teacher=run"),
        ("seed", "a whole number in [0, 4294967295]. Default: 0"),
        ("update=groups", "NAME: a mapping with the keys paths (a list (each text)), rate (a number in [0, inf), not"),
        ("schedule=cosine", "learning_rate: a number in [0, inf). Default: ${learning_rate}"),
    ],
)
def test_any_part_and_key_can_be_named(word: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help", word]) == 0
    assert shown in join_lines(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimizer=adm", "unknown option adm of optimizer. Did you mean adam?"),
        ("optimzer=adam", "there is no optimzer. Did you mean optimizer?"),
        ("optimizer.momentun", "no option of optimizer has the parameter momentun. Did you mean momentum?"),
        ("lr", "there is no lr. See titrate --help learning_rate"),
        ("epochs", "there is no epochs. See titrate --help training.epochs"),
        ("gpus", "there is no gpus. JAX uses a GPU or TPU once its packages are installed"),
        ("centered", "there is no centered. Options of optimizer that have it: "),
        ("training.epoch", "there is no training.epoch. Did you mean training.epochs?"),
        ("components.loss.Hubr", "components.loss has no Hubr. Did you mean Huber?"),
        ("feature.colums", "no option of feature has the parameter colums. Did you mean columns?"),
        ("components.types.Metrc", "components.types has no Metrc. Did you mean Metric?"),
        ("os.system", "os.system is not in an allowed package. Allowed: components, "),
        ("jax.nn.nothing", "jax.nn has no nothing."),
        ("optax.apply_updates", "optax.apply_updates is not a part. Did you mean"),
        ("mode=pred", "there is no mode pred. Did you mean predict?"),
        ("augmentation.crop", "crop is an option of augmentation. See titrate --help augmentation=crop"),
        ("update.ema.foo", "no option of update has the parameter foo."),
        ("MSELoss", "there is no MSELoss. See titrate --help loss=mse"),
        ("architecture=resnet", "unknown option resnet of architecture. Did you mean resnet"),
    ],
)
def test_a_word_that_names_nothing_is_an_error(word: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seed", "--help", word, "nothing"]) == 2
    printed = capsys.readouterr()
    first, second = printed.err.splitlines()
    assert first.startswith(f"--help {word}: {message}")
    assert second.startswith("--help nothing: there is no nothing. Allowed: ")
    assert printed.out == ""


@pytest.mark.parametrize("columns", ["60", "80", "140"])
def test_no_line_is_wider_than_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _, _, options = help_text().partition("Options, ")
    assert max(map(len, options.splitlines())) <= int(columns)


def test_a_title_is_shown_to_the_end_of_its_sentence(in_empty_folder: Path) -> None:
    words = [f"word{number}" for number in range(100)]
    Path("conf/loss").mkdir(parents=True)
    lines = f"# {' '.join(words[:60])}\n# {' '.join(words[60:])}.\n# More.\n"
    Path("conf/loss/mine.yaml").write_text(f"{lines}_target_: components.loss.MSE\n")
    shown = join_lines(help_text())
    assert f"mine {' '.join(words)}. mse" in shown
    shutil.rmtree("conf")


def test_the_help_names_titrates_own_folder() -> None:
    assert str(INSTALL_FOLDER) in describe(["optimizer"]) + describe(["optimizer=adam"])


def test_a_part_of_the_user_is_described(
    in_empty_folder: Path, write_module: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    source = 'class Mine:\n    """A loss.\n\n    Args:\n        size: how large.\n    """\n'
    write_module("help_parts", f"{source}    def __init__(self, size: int = 3, other=None): ...\n")
    Path("conf/loss").mkdir(parents=True)
    Path("conf/loss/mine.yaml").write_text("# Mine.\n_target_: help_parts.Mine\nsize: 4\n")
    Path("conf/optimizer").mkdir(parents=True)
    Path("conf/optimizer/own.yaml").write_text("# Own.\n_target_: help_parts.own\n")
    assert main(["--help", "loss=mine", "help_parts.Mine"]) == 0
    of_option, of_part = capsys.readouterr().out.split("\n\npart    help_parts.Mine\n")
    assert "part    help_parts.Mine, a loss\n" in of_option
    assert "  size: a whole number. Default: 4\n      how large.\n  other: any value. Default: null" in of_option
    assert "  size: a whole number. Default: 3\n      how large." in of_part
    assert main(["--help", "optimizer=own"]) == 2
    assert "--help optimizer=own: help_parts has no own." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("update.ema.decay", "of update=ema:\n  decay: a number in [0, 1). Default: 0.999"),
        ("metric.top_k.k", "of metric=top_k:\n  k: a whole number in [1, inf). Default: 5"),
    ],
)
def test_a_key_that_help_prints_is_described(word: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help", word]) == 0
    assert text in capsys.readouterr().out


def test_a_group_whose_options_have_no_parameters_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help", "experiment.columns"]) == 2
    assert "the options of experiment have no parameters of their own" in capsys.readouterr().err


def test_the_keys_of_each_mode_exist() -> None:
    known = {*read_settings(), *(f"data.{name}" for name in DATA_KEYS)}
    assert {key for mode in MODES.values() for key in mode.keys} <= known
