"""Composing: overrides and files become plain values with origins, and problems are reported."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from options import options

import components.metric
from components.types import UserError
from runner import yaml_file
from runner.config.catalog import EXPERIMENT, find_options, list_groups
from runner.config.check import check_config
from runner.config.choices import load_yaml
from runner.config.compose import compose, configure
from runner.config.overrides import parse_override
from runner.errors import ConfigError
from runner.modes.completion import VERSION_BASE
from runner.override_text import quote_text
from runner.signature.parameters import UNKNOWN, read_signature
from runner.signature.schema import find_list
from runner.signature.type_hints import read_duration, takes_scalar
from runner.tree import iterate_leaves, iterate_parts, join_path

HOUSE = Path(__file__).parents[3]
FILES = sorted((HOUSE / "conf").glob("*/*.yaml")) + sorted((HOUSE / "experiments").glob("*.yaml"))

GROUPS_WITH_TARGET_NAMES = (
    "architecture",
    "augmentation",
    "constraint",
    "loss",
    "metric",
    "observer",
    "optimizer",
    "regularizer",
    "schedule",
    "weights",
)

NUMBERS = ["data=diabetes", "feature=diabetes"]
OF_NUMBERS = ["loss=mse", "metric=[rmse]"]


def needs_numbers(node: Mapping[str, Any]) -> bool:
    """Whether a metric is for a target of numbers only."""
    kinds = getattr(getattr(components.metric, node["_target_"].rpartition(".")[2]), "target_kinds", ["classes"])
    return "classes" not in kinds


REQUIRED_OVERRIDES = {  # that an option needs in addition to its choice
    "examples=windows": ["examples.size=24"],
    "data=csv": ["feature=image", "data.path=table.csv"],
    "data=features": ["feature=features", "data.run=outputs/teacher"],
    "data=mixed": ["feature=image", "data.sources={a: digits}"],
    "data=generator": ["feature=image", "data.function=jax.nn.relu"],
    "data=images": ["feature=image", "data.path=images"],
    "data=image_table": ["feature=image", "data.path=table.csv"],
    "data=table": ["feature=image", "data.path=table.csv"],
    "data=sql": ["feature=image", "data.query=orders"],
    "data=parsed_files": ["feature=image", "data.path=folder", "data.function=jax.nn.relu"],
    "data=text_lines": ["feature=image", "data.path=poems"],
    "data=npz": ["feature=image", "data.path=arrays.npz"],
    "data=adult": ["feature=image"],
    "data=california_housing": ["feature=image"],
    "data=flowers": ["feature=image"],
    "data=movielens_100k": ["feature=image"],
    "update=decay": ["optimizer=adamw"],
    "loss=distillation": ["teacher=run", "teacher.run=outputs/teacher"],
    "teacher=run": ["loss=distillation", "teacher.run=outputs/teacher"],
    "weights=run": ["weights.run=outputs/teacher"],
    "weights=joined": ["weights.sources={body: {option: run, run: outputs/teacher}}"],
    **{
        f"experiment={name}": ["weights.run=outputs/teacher"]
        for name in ("fashion_mnist_from_pairs", "pretraining", "transfer_digits_reuse")
    },
    "experiment=transfer_digits_cached": ["data.run=outputs/teacher"],
    "weights=safetensors": ["weights.path=resnet18.safetensors"],
    "architecture=image_columns": ["feature.inputs.columns=[image]"],
    "architecture=wide_deep": ["feature=california_housing_wide_deep", *OF_NUMBERS],
    "feature=california_housing_wide_deep": ["architecture=wide_deep", *OF_NUMBERS],
    **{f"feature={name}": OF_NUMBERS for name in ("california_housing", "diabetes", "electric_load")},
    **{
        f"loss={name}": [*NUMBERS, OF_NUMBERS[1]]
        for name in ("cosine_similarity", "huber", "log_cosh", "mae", "mse", "pinball")
    },
    **{
        f"loss={name}": [*NUMBERS, OF_NUMBERS[1], "feature.target.normalize=null"]
        for name in ("mape", "msle", "poisson")
    },
    **{f"loss={name}": ["metric=[]"] for name in ("contrastive", "nt_xent", "supervised_contrastive", "triplet")},
    "loss=weighted_sum": ["loss.terms={all: {loss: focal}}"],
    **{f"metric={name}": [*NUMBERS, OF_NUMBERS[0]] for name, node in options("metric").items() if needs_numbers(node)},
    "architecture=wide_text_cnn": ["feature=imdb_text_cnn"],
    "feature=imdb_text_cnn": ["architecture=wide_text_cnn"],
    "architecture=wide_sequential": ["feature=electric_load", *OF_NUMBERS],
    "feature=electric_load": ["architecture=wide_sequential", *OF_NUMBERS],
}
FIELDS_OF_OPERATIONS = {  # that have no default
    "aggregate": 'by: label, columns: {rows: "count()"}',
    "derive": 'columns: {a: "label + 1"}',
    "explode": "columns: image",
    "filter": 'where: "label < 5"',
    "function": "function: jax.nn.relu",
    "rename": "columns: {label: kind}",
    "shard": "count: 2, index: 0",
    "skip": "count: 1",
    "sort": "by: [label]",
    "take": "count: 5",
    "join": "other: {option: csv, path: more.csv}, by: label, columns: size",
    "zip": "other: {option: csv, path: more.csv}, columns: size",
}


def name(path: Path) -> str:
    """`conf/optimizer/nadam.yaml` as `optimizer=nadam`."""
    if key := find_list(path.parent.name):
        fields = FIELDS_OF_OPERATIONS.get(path.stem)
        return f"{key}=[{{option: {path.stem}{f', {fields}' if fields else ''}}}]"
    return f"{'experiment' if path.parent.name == 'experiments' else path.parent.name}={path.stem}"


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def find_problems(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        compose(words)
    return caught.value.problems


# ------------------------------------------------------------------------------------------ what we ship in conf/


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_composes_and_is_valid(path: Path, in_empty_folder: Path) -> None:
    write("outputs/teacher/record.json", "{}")
    write("outputs/teacher/config.yaml", yaml_file.dump(compose([]).values))
    check_config(compose([name(path), *REQUIRED_OVERRIDES.get(name(path), [])]))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_is_short_and_starts_with_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith("# ")
    assert ("defaults:" in lines) <= (path.parent.name == "experiments")


OTHER_NAMES = {  # options that are not named after their target
    "momentum": "sgd",
    "nesterov": "sgd",
    "performance": "reduce_on_plateau",
    "text_cnn": "sequential",
    "wide_text_cnn": "wide_sequential",
}


@pytest.mark.parametrize("group", GROUPS_WITH_TARGET_NAMES)
def test_a_file_has_the_name_of_its_target(group: str) -> None:
    for option, path in find_options().files[group].items():
        content = yaml.safe_load(path.read_text())
        target = content["_target_"] if "_target_" in content else content[option]["_target_"]
        assert target.rpartition(".")[2].lower().replace("_", "") == OTHER_NAMES.get(option, option).replace("_", "")


def test_every_folder_of_conf_is_a_group() -> None:
    assert set(list_groups()) - {EXPERIMENT} == {path.name for path in (HOUSE / "conf").iterdir() if path.is_dir()}


# -------------------------------------------------------------------------------------------------- values and origins


OWN_VALUES = ("architecture", "data", "feature")  # an option of these is a set of values that its part doesn't have


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name != "experiments"], ids=name)
def test_an_option_states_no_other_default_than_its_signature(path: Path) -> None:
    """An option may repeat a `Scalar`: a number in a file is an argument of the compiled step, one of a signature a
    constant in it."""
    for keys, node in iterate_parts({path.stem: yaml.safe_load(path.read_text())}):
        for key, value in node.items():
            parameter = (read_signature(node["_target_"]) or {}).get(key)
            if parameter is None or parameter.default is UNKNOWN:
                continue
            value = float(value) if isinstance(parameter.default, float) and isinstance(value, str) else value
            if not takes_scalar(parameter.hint) and read_duration(parameter.default, parameter.hint) is None:
                assert value != parameter.default, f"{join_path(keys)}.{key}: leave it out, it is the default"
            elif path.parent.name not in OWN_VALUES and path.stem not in OTHER_NAMES:
                assert value == parameter.default, f"{join_path(keys)}.{key}: the signature has {parameter.default}"


def test_values_are_plain_and_resolved() -> None:
    config = compose(["learning_rate=1e-2"])
    assert config.values["schedule"]["learning_rate"] == 0.01
    assert config.raw["schedule"]["learning_rate"] == "${learning_rate}"
    assert type(config.values) is type(config.values["training"]) is dict
    assert type(config.values["architecture"]["widths"]) is list
    assert config.values["experiment"] is None
    assert all(config.values[group] == {} for group in ("regularizer", "constraint", "update", "observer"))
    assert config.overrides == ("learning_rate=1e-2",)


def test_the_command_line_overrides_the_experiment_which_overrides_the_options(in_empty_folder: Path) -> None:
    write(
        "experiments/mine.yaml",
        "defaults:\n  - override /optimizer: sgd\n  - override /metric: [accuracy, top_k]\n"
        "optimizer: {momentum: 0.9, nesterov: true}\nseed: 3\n",
    )
    config = compose(["experiment=mine", "optimizer.momentum=0.8", "loss=mse"])
    assert config.values["optimizer"] == {"_target_": "optax.sgd", "momentum": 0.8, "nesterov": True}
    assert config.values["seed"] == 3
    assert config.values["experiment"] == "mine"
    assert config.choices["metric"] == ["accuracy", "top_k"]
    assert (config.choices["optimizer"], config.choices["loss"], config.choices["data"]) == ("sgd", "mse", "digits")
    assert config.origins["optimizer._target_"] == "conf/optimizer/sgd.yaml"
    assert config.origins["optimizer.nesterov"] == "experiments/mine.yaml"
    assert config.origins["optimizer.momentum"] == "the command line (optimizer.momentum=0.8)"
    assert config.origins["training.epochs"] == "conf/run.yaml"
    assert config.origins["experiment"] == "the command line (experiment=mine)"
    assert config.origins["loss._target_"] == "conf/loss/mse.yaml, chosen by loss=mse"
    adam = compose(["experiment=mine", "optimizer=adam", "~optimizer.momentum", "~optimizer.nesterov"])
    assert adam.values["optimizer"] == {"_target_": "optax.adam"}


def test_every_leaf_has_an_origin() -> None:
    config = compose(["experiment=digits_cnn", "architecture.layers.4.rate=0.1", "optimizer.b1=0.8"])
    assert config.origins["architecture.layers.3._target_"] == "conf/architecture/sequential.yaml"
    assert config.origins["architecture.layers.4.rate"] == "the command line (architecture.layers.4.rate=0.1)"
    assert config.origins["optimizer.b1"] == "the command line (optimizer.b1=0.8)"
    assert config.values["architecture"]["layers"][4]["rate"] == 0.1
    assert set(config.origins) == {join_path(place) for place, _ in iterate_leaves(config.values)}


def test_an_override_may_add_a_key_and_delete_a_key() -> None:
    words = ["optimizer.b1=0.8", "+optimizer.b2=0.9", "++seed=1", "architecture=fashion_cnn", "~architecture.dropout"]
    config = compose(words)
    assert config.values["optimizer"] == {"_target_": "optax.nadam", "b1": 0.8, "b2": 0.9}
    assert config.values["seed"] == 1
    assert "dropout" not in config.values["architecture"]
    assert compose(["architecture={widths: [3]}"]).values["architecture"]["widths"] == [3]


@pytest.mark.parametrize("words", [["metric=[]"], ["metric=accuracy"], ["metric=[accuracy,top_k]"]])
def test_some_groups_allow_several_options(words: list[str]) -> None:
    config = compose(words)
    chosen = config.choices["metric"]
    assert list(config.values["metric"]) == ([chosen] if isinstance(chosen, str) else chosen)


def test_an_element_of_a_list_may_be_deleted() -> None:
    before = compose(["experiment=digits_cnn"]).values["architecture"]["layers"]
    words = ["experiment=digits_cnn", "~architecture.layers.0", "architecture.layers.0.features=8"]
    after = compose(words).values["architecture"]["layers"]
    assert after == [before[1] | {"features": 8}, *before[2:]]


def test_an_experiment_s_settings_of_a_metric_that_is_not_chosen_are_dropped(in_empty_folder: Path) -> None:
    write(
        "experiments/mine.yaml",
        "defaults:\n  - override /metric: [accuracy, top_k]\nmetric: {top_k: {k: 3}, own: {_target_: my.Metric}}\n",
    )
    assert list(compose(["experiment=mine", "metric=accuracy"]).values["metric"]) == ["accuracy", "own"]
    assert compose(["experiment=mine", "metric=[top_k]"]).values["metric"]["top_k"]["k"] == 3
    assert compose(["experiment=mine"]).values["metric"]["top_k"]["k"] == 3


def test_paths_may_start_with_a_tilde(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    words = ["folder=~/runs", "mode=predict", "run=~/runs/one", "output=~/out.csv"]
    with pytest.raises(UserError, match=r"run=/home/ada/runs/one: there is no such run below /home/ada/runs\."):
        configure(words)
    assert configure(["folder=~"]).values["folder"] == "/home/ada"


def test_hydra_s_global_state_is_not_changed(in_empty_folder: Path) -> None:
    write("theirs/app.yaml", "x: 1\n")
    with hydra.initialize_config_dir(str(Path("theirs").absolute()), **VERSION_BASE):
        before = GlobalHydra.instance().hydra
        compose(["experiment=digits_cnn"])
        assert GlobalHydra.instance().hydra is before
        assert hydra.compose("app") == {"x": 1}
    compose(["experiment=digits_cnn"])
    assert not GlobalHydra.instance().is_initialized()


def test_a_configuration_is_the_same_after_writing_and_reading_yaml() -> None:
    values = compose(["experiment=digits_cnn", "learning_rate=1e-5", "folder='1e-3'"]).values
    assert yaml_file.parse(yaml_file.dump(values)) == values


CHARACTERS = st.sampled_from("a1:-#'\"\\ \n\t\r\x00\x85\u2028\ufeff\U0001f600")
TEXT = st.text(CHARACTERS) | st.sampled_from(["null", "1e3", "on", "=", "k" * 2000])
NUMBER_TEXT = st.from_regex(r"[-+]?[0-9_.]{1,3}([eE][-+]?[0-9]{1,2})?", fullmatch=True)
VALUE = st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | TEXT | NUMBER_TEXT | st.lists(TEXT)


@given(st.lists(TEXT) | st.dictionaries(TEXT, VALUE))
def test_any_text_is_the_same_after_writing_and_reading_yaml(values: Any) -> None:
    assert yaml_file.parse(yaml_file.dump(values)) == values


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example replaces the file
@given(values=st.dictionaries(TEXT | NUMBER_TEXT, VALUE | st.dictionaries(TEXT | NUMBER_TEXT, VALUE), min_size=1))
def test_any_entry_is_the_same_in_a_file_of_an_option(in_empty_folder: Path, values: Any) -> None:
    path = in_empty_folder / "option.yaml"
    path.write_text("\n".join(yaml_file.dump_entry(key, value) for key, value in values.items()), encoding="utf-8")
    assert load_yaml(path) == values


def test_a_path_that_is_not_utf8_is_written_and_read(tmp_path: Path) -> None:
    values = {"path": os.fsdecode(b"caf\xe9.csv"), "again": [shared := ["\x85\u2028\U0001f600"], shared]}
    (tmp_path / "config.yaml").write_text(yaml_file.dump(values), encoding="utf-8")
    assert yaml_file.read(tmp_path / "config.yaml", "config.yaml", yaml_file.CONFIGURATION_LIMITS) == values


# -------------------------------------------------------------------------------------------- the user's own folder


def test_the_working_folder_adds_options_and_experiments(in_empty_folder: Path) -> None:
    write("conf/optimizer/slow.yaml", "_target_: optax.sgd\nmomentum: 0.5\n")
    write("experiments/2024.yaml", "defaults:\n  - override /optimizer: slow\n")
    config = compose(["experiment=2024"])
    assert config.values["optimizer"] == {"_target_": "optax.sgd", "momentum": 0.5}
    assert config.values["experiment"] == "2024"
    assert config.origins["optimizer.momentum"] == "conf/optimizer/slow.yaml"
    write("conf/optimizer/slow.yaml", "_target_: optax.adam\n")
    assert compose(["experiment=2024"]).values["optimizer"] == {"_target_": "optax.adam"}, "the file is read again"


def test_the_working_folder_replaces_nothing(in_empty_folder: Path) -> None:
    write("conf/optimizer/adam.yaml", "_target_: optax.sgd\n")
    write("conf/run.yaml", "seed: 5\n")
    write("experiments/digits_cnn.yaml", "seed: 5\n")
    write("conf/optimizer/sgd.yaml", (HOUSE / "conf/optimizer/sgd.yaml").read_text())  # a copy does no harm
    assert find_problems() == tuple(
        f"{file}: Titrate has a file of that name. Rename your file."
        for file in ("conf/optimizer/adam.yaml", "experiments/digits_cnn.yaml", "conf/run.yaml")
    )


@pytest.mark.parametrize(
    "name", ["my exp", "-x", "null", "1e3", "a.b", "a@b:c", """it's "so\\""", "[a]", "日本", "x" * 230]
)
def test_an_experiment_may_have_any_name(in_empty_folder: Path, name: str) -> None:
    write(f"experiments/{name}.yaml", "seed: 7\n")
    config = compose([f"experiment={quote_text(name)}"])
    assert (config.values["experiment"], config.values["seed"]) == (name, 7)


def test_a_missing_option_is_reported_with_the_file_that_looks_like_it(in_empty_folder: Path) -> None:
    write("experiments/old.yml", "seed: 1\n")
    write("experiments/inner/deep.yaml", "seed: 1\n")
    os.symlink("nowhere", "experiments/gone.yaml")
    os.symlink("ada@host.1234:1", "experiments/.#open.yaml")
    os.mkfifo("experiments/pipe.yaml")
    assert not {"old", "deep", "gone", "open", ".#open", "pipe"} & {*find_options().files["experiment"]}
    for word, hint in {
        "old": "unknown option old. Rename experiments/old.yml to old.yaml. [",
        "deep": "unknown option deep. Subfolders are not searched. "
        "Move experiments/inner/deep.yaml to experiments/deep.yaml. [",
        "gone": "unknown option gone. experiments/gone.yaml is a link to a file that does not exist. [",
        "x" * 300: f"unknown option {'x' * 300}. Allowed: ",
    }.items():
        assert find_problems(f"experiment={word}")[0].startswith(f"experiment: {hint}")


# ------------------------------------------------------------------------------------------------------- problems


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "optimizer=nadm",
            "optimizer: unknown option nadm. Did you mean nadam? [set by",
        ),
        ("optimizer=null", "optimizer: unknown option null. Allowed: adabound, adadelta,"),
        ("optimizer=[adam,sgd]", "optimizer: a list of options is not allowed. Choose one option."),
        ("metric=[accuracy,topk]", "metric: unknown option topk. Did you mean top_k?"),
        ("experiment=digit_cnn", "experiment: unknown option digit_cnn. Did you mean digits_cnn?"),
        ("+experiment=digits_cnn", "+experiment=digits_cnn: + is not allowed for a group. Write experiment=digits_cnn"),
        ("experiment.seed=3", "experiment.seed=3: an experiment must be one name. Write experiment=NAME."),
        ("~optimizer", "~optimizer: a group can't be deleted. Write optimizer=OPTION."),
        ("optimizer@other=adam", "optimizer@other=adam: @ is not allowed. Write optimizer=…"),
        ("hydra.run.dir=here", "hydra.run.dir=here: Hydra's own settings have no effect."),
        ("hydra/launcher=basic", "hydra/launcher=basic: Hydra's own settings"),
        ("learning_rate=1e-3,1e-2", "learning_rate=1e-3,1e-2: several values need a sweep"),
        ("seed=range(3)", "seed=range(3): several values"),
        ("optimiser=adam", "optimiser: unknown key. Did you mean optimizer?"),
        ("a/b.csv", "a/b.csv: not a valid override. Write data=csv data.path=a/b.csv data.target=COLUMN"),
        ("nadam", "nadam: not a valid override. Write optimizer=nadam"),
        ("data.path=[a.csv,b[1].csv]", "data.path=[a.csv,b[1].csv]: not a valid override. A text with brackets"),
        ("a=[1,", "a=[1,: not a valid override. Write group=option or key=value"),
        ("", "an override is empty. Write group=option or key=value."),
        ("~training.patiense", "~training.patiense: there is no training.patiense to delete"),
        (
            "architecture.widths.9=3",
            "architecture.widths.9=3: architecture.widths is a list of 2, got the key 9. Write "
            "architecture.widths=[…], or set an element by its number, such as architecture.widths.0.",
        ),
        ("architecture.widths.a=3", "architecture.widths.a=3: architecture.widths is a list of 2, got the key a."),
        (
            "architecture.widths={0:1}",
            'architecture.widths={0:1}: architecture.widths is a list of 2, got the mapping {"0": 1}.',
        ),
        ("~architecture.widths.a", "~architecture.widths.a: there is no architecture.widths.a to delete"),
        (
            "training=[1]",
            "training=[1]: training is a mapping, got the list [1]. Set its values by keys such as training.epochs.",
        ),
        ("seed=${sed}", "seed: there is no key sed. Did you mean seed?"),
        ("seed=${seed}", "seed: ${seed} refers to itself"),
        ("training.epochs=${training}", "training.epochs: ${training} refers to itself"),
        ("loss=${architecture}", "loss: unknown option ${architecture}."),
        ("folder=a${seed}", "folder: a${seed} is not a valid reference: `${` starts a reference, which must be"),
        ("folder='a ${b c}'", "folder: a ${b c} is not a valid reference: `${` starts a reference, which must be"),
        ("folder=${oc.env:HOME}", "folder: ${oc.env:HOME} calls the function oc.env, which a configuration can't do"),
        ("a=" + 1000 * "[", "a=" + 198 * "[" + "…: the override is nested more than 50 brackets deep"),
        ("folder=" + 20_000 * "x", "folder=" + 193 * "x" + "…: the override is longer than 10,000 characters"),
        ("optimizer._target_=optax..adam", "optimizer._target_: optax..adam is not a dotted name, such as module.Name"),
        ("optimizer._target_=adam", "optimizer._target_: adam is not a dotted name, such as module.Name"),
        ("optimizer._target_=optax.nope", "optimizer._target_: optax has no nope."),
        ("~loss._target_.a", "~loss._target_.a: there is no loss._target_.a to delete"),
        ("~architecture.widths.9", "~architecture.widths.9: there is no architecture.widths.9 to delete"),
        ("operations.0=unique", "the command line (operations.0=unique): operations is a list of 0, got the key 0."),
        ("architecture.widths.5={option: relu}", "architecture.widths.5={option: relu}: architecture.widths is a list"),
        ("architecture.widths.a=3", "architecture.widths.a=3: "),
    ],
)
def test_a_wrong_override_is_reported(in_empty_folder: Path, word: str, message: str) -> None:
    is_composed = word != "optimiser=adam" and not word.startswith("optimizer._target_=")
    problems = find_problems(word) if is_composed else check_problems(word, "experiment=digits_mlp")
    assert len(problems) == 1
    assert problems[0].startswith(message)


def test_a_list_for_a_mapping_inside_a_list_is_reported(in_empty_folder: Path) -> None:
    layers = "architecture.layers=[{_target_:components.layer.Dense,features:{a:1}}]"
    problem, *_ = find_problems("architecture=sequential", layers, "architecture.layers.0.features=[]")
    assert problem.startswith("architecture.layers.0.features=[]: architecture.layers.0.features is a mapping, got the")


def test_an_option_that_is_listed_twice_is_an_error(in_empty_folder: Path) -> None:
    expected = "metric: accuracy is listed twice. Leave one out. [set by the command line (metric=[accuracy,accuracy])]"
    assert find_problems("metric=[accuracy,accuracy]") == (expected,)


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        (
            ["optimizer=sgd", "optimizer=adam"],
            "warning: optimizer is set more than once (optimizer=sgd optimizer=adam). "
            "The last one counts: optimizer=adam",
        ),
        (
            ["seed=1", "seed=2", "seed=1"],
            "warning: seed is set more than once (seed=2 seed=1). The last one counts: seed=1",
        ),
        (
            ["seed=1", "+seed=2", "seed=3"],
            "warning: seed is set more than once (seed=1 +seed=2 seed=3). The last one counts: seed=3",
        ),
        (["seed=1", "seed=1"], ""),
        (['tracking.experiment="optimizer=adam seed=3"'], ""),
        (["training={epochs: 3}", "training={patience: 2}", "training.epochs=4"], ""),
        (["optimizer=sgd", "optimizer={momentum: 0.5}", "~learning_rate", "learning_rate=0.5"], ""),
    ],
)
def test_repeated_overrides_give_a_warning(
    in_empty_folder: Path, words: list[str], warning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure([*words, "quiet=true"])
    assert capsys.readouterr().err.strip() == warning
    assert str(config.values["seed"]) in warning or "seed" not in warning


def check_problems(*words: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        check_config(compose(words))
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\ntraining: [1, 2\nfolder: x\n", "experiments/mine.yaml, line 3: not valid YAML: "),
        ("seed: 1\nseed: 2\n", "experiments/mine.yaml, line 2: not valid YAML: found duplicate key seed"),
        ("- seed\n", "experiments/mine.yaml: the file is not a mapping. Write"),
        ("seed: ${\n", "experiments/mine.yaml: can't be read: "),
        (
            "defaults: [optimizer: sgd]\n",
            "experiments/mine.yaml: wrong entry in defaults, optimizer. Write `- override /",
        ),
        ("defaults: [_self_]\n", "experiments/mine.yaml: wrong entry in defaults, _self_. Write `- override /"),
        ("defaults: [override /optimiser: sgd]\n", "experiments/mine.yaml: unknown group optimiser. Did you mean"),
        ("defaults: [override /optimizer: sdg]\n", "optimizer: unknown option sdg. Did you mean sgd?"),
        (
            "defaults: [override /loss: {price: huber, age: mse}]\n",
            "experiments/mine.yaml: `override /loss` in `defaults` takes the name of an option, got a mapping. Write "
            "`loss: {price: …, age: …}` outside `defaults`.",
        ),
        ("experiment: digits_cnn\n", "experiments/mine.yaml: an experiment can't choose another experiment. Copy"),
        (
            "architecture: [1]\n",
            "experiments/mine.yaml: architecture is one part, got the list [1]. Write the name of one option.",
        ),
        (
            "training: [1]\n",
            "experiments/mine.yaml: training is a mapping, got the list [1]. Set its values by keys such",
        ),
    ],
)
def test_a_wrong_experiment_is_reported(in_empty_folder: Path, text: str, message: str) -> None:
    write("experiments/mine.yaml", text)
    problems = find_problems("experiment=mine")
    assert len(problems) == 1
    assert problems[0].startswith(message)


NESTED_ALIASES = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{level}: &a{level} [{', '.join(9 * [f'*a{level - 1}'])}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: " + 1000 * b"[", "too many nested lists and mappings. At most 50 levels are allowed."),
        (b"a: " + 60 * b"[" + 60 * b"]", "too many nested lists and mappings. At most 50 levels are allowed."),
        (NESTED_ALIASES.encode(), "its aliases expand to too many values. At most 100,000 are allowed."),
        (b"a: &a [*a]\n", "its aliases expand to too many values. At most 100,000 are allowed."),
        (yaml_file.OPTION_LIMITS.size * b"#" + b"\n", "the file is too large. At most 1,048,576 bytes are allowed."),
        ("folder: ä".encode("latin-1"), "byte 8 is not UTF-8. Save the file in UTF-8."),
        (b"training:\n\tepochs: 1\n", r"not valid YAML: found character '\t' that cannot start any token"),
        (b"seed: !!python/object/apply:os.getpid []\n", "not valid YAML: could not determine a constructor"),
        (b"seed: " + 5000 * b"9", "can't be read: Exceeds the limit"),
        (b"seed: !!bool perhaps\n", "can't be read: 'perhaps'"),
        (b"seed: !!timestamp soon\n", "can't be read: "),
        (b"seed: !!float ''\n", "can't be read: "),
        (b"3: 4\n", "the key 3 is not text. Put it in quotes."),
        (b"defaults: ???\n", "wrong entry in defaults, ???. Write `- override /group: option`."),
    ],
    ids=range(14),
)
def test_a_file_that_is_not_a_configuration_is_reported(in_empty_folder: Path, text: bytes, message: str) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_bytes(text)
    problems = find_problems("experiment=mine")
    assert len(problems) == 1
    assert problems[0].startswith("experiments/mine.yaml")
    assert message in problems[0]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("seed = 3", 3),
        ("seed= 3", 3),
        ("architecture.widths=[64,32,]", [64, 32]),
        ("architecture={a: [1,],}", {"a": [1]}),
        ("folder=a (b", "a (b"),
        ("folder='", "'"),
        ("folder=it's \\\"so\\", "it's \\\"so\\"),
    ],
)
def test_the_suggested_spelling_is_valid(word: str, value: Any) -> None:
    if word == "seed= 3":  # Hydra reads that
        assert parse_override(word).value() == value
        return
    with pytest.raises(UserError, match=r"not a valid override\. Write ") as caught:
        parse_override(word)
    (hint,) = shlex.split(str(caught.value).rpartition(". Write ")[2])
    assert parse_override(hint).value() == value


@pytest.mark.parametrize("text", ["~/data", "ä.csv", "a#b;c", "b=c", "9" * 5000, "x && y"])
def test_text_without_structure_needs_no_quotes(text: str) -> None:
    assert parse_override(f"folder={text}").value() == text


@given(st.text("\\\"' ,[]{}$~%\n=:ä1", max_size=8))
def test_quotes_keep_any_text(text: str) -> None:
    assert parse_override(f"folder={quote_text(text)}").value() == text


def test_a_defaults_list_in_an_option_is_a_problem(in_empty_folder: Path) -> None:
    write("conf/loss/mine.yaml", "defaults: [mse]\n")
    assert find_problems("loss=mine") == (
        "conf/loss/mine.yaml: a defaults list is allowed in experiments only. Leave it out.",
    )


@pytest.mark.parametrize("group", ["metric", "regularizer", "update", "constraint", "augmentation", "observer"])
def test_a_part_at_the_root_of_the_file_of_a_group_with_several_options_is_a_problem(
    in_empty_folder: Path, group: str
) -> None:
    write(f"conf/{group}/within.yaml", "# Mine.\n_target_: parts.Within\n")
    problem = f"conf/{group}/within.yaml needs one key, its own name. Write `within: {{_target_: …}}`."
    assert problem in find_problems(f"{group}=[within]")
    assert any(problem in text for text in check_problems(f"{group}={{mine: {{option: within}}}}"))


def test_settings_of_a_group_with_an_unknown_option_are_not_reported(in_empty_folder: Path) -> None:
    problems: Any = find_problems("optimizer=nadm", "optimizer.b9=1", "architecture.width=[1]")
    assert [line.partition(":")[0] for line in problems] == ["optimizer", "architecture.width"]
    problems = find_problems("experiment=digit_cnn", "architecture.foo=1", "loss=mse", "loss.foo=1")
    assert [line.partition(":")[0] for line in problems] == ["experiment", "loss.foo"]


@pytest.mark.parametrize("name", ["TITRATE_WORKERS", "TITRATE_CACHE_GB"])
def test_wrong_environment_variables_are_found_with_the_configuration(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "two")
    with pytest.raises(UserError, match=f"{name}: is not a .*, got two"):
        configure(["experiment=digits_cnn"])
