"""The `record.json` of a run at its start."""

import json
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import runner
from components.data import Arrays
from runner.config.compose import Composer, compose, configure
from runner.modes.help import value_origins
from runner.record.description import code_versions, describe_changes, list_changes, run_parameters
from runner.tree import dotted_leaves

DIFF_SETTINGS = ("diff.external", "diff.theirs.textconv", "diff.theirs.command")


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_the_record_has_tags_parameters_and_data_sets() -> None:
    columns = {"image": np.zeros((60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    overrides = ["optimizer=sgd", "optimizer.momentum=0.5", "metric=[accuracy,top_k]", "metric.top_k.k=2", "seed=4"]
    result = runner.run(
        *overrides,
        "training.epochs=1",
        "tracking=none",
        "quiet=true",
        source=Arrays(columns=columns, valid=12, test=12),
    )
    record = json.loads((result.folder / "record.json").read_text())
    assert record["name"] == "Arrays_mlp"
    assert result.folder.name.endswith(record["digest"])
    assert record["tags"].items() >= {"seed": "4", "digest": record["digest"]}.items()
    assert {"jax", "titrate", "python", "device", "host", "overrides"} <= set(record["tags"])
    parameters = record["parameters"]
    assert parameters["optimizer"] == "sgd"
    assert parameters["optimizer.momentum"] == 0.5
    assert parameters["optimizer.nesterov"] is False  # the default of its signature
    assert parameters["metric"] == "accuracy,top_k"
    assert parameters["architecture.widths"] == [64, 64]
    assert parameters["training.epochs"] == 1
    assert not [key for key in parameters if "_target_" in key or key in ("folder", "quiet", "mode")]
    rows = {dataset["split"]: dataset["rows"] for dataset in record["datasets"]}
    assert rows == {"train": 36, "valid": 12, "test": 12}
    assert len({dataset["digest"] for dataset in record["datasets"]}) == 1


@pytest.mark.usefixtures("in_empty_folder")
def test_defaults_of_signatures_are_parameters_with_their_origin(write_module: Callable[[str, str], None]) -> None:
    write_module("mine", "class Focal:\n    def __init__(self, gamma: float = 2.0, other=None, name=str): ...\n")
    words = ["loss={_target_: mine.Focal}", "architecture=sequential", "update=[ema]", "metric=[top_k]"]
    config = compose(words)
    origins = value_origins(config)
    for value in ("loss.gamma=2.0", "loss.other=null"):
        assert origins[value] == "the signature of mine.Focal"
    keys = {"data.seed", "feature.columns.image.normalize", "architecture.layers.0.stride", "tracking.diff"}
    assert keys <= {value.partition("=")[0] for value in origins}
    parameters = dict(run_parameters(config))
    expected = {"loss.gamma": 2.0, "update.ema.decay": 0.999, "metric.top_k.k": 5, "optimizer.b1": 0.9}
    assert parameters.items() >= expected.items()
    unlisted = {"loss.other", "loss.name", "architecture.outputs", "optimizer.learning_rate"}
    assert not parameters.keys() & unlisted
    same = dict(run_parameters(compose([*words, "loss.gamma=2.0", "metric.top_k.k=5"])))
    assert same == parameters


SEVERAL = """
target: null
targets:
  PRICE: {_target_: components.feature.Numeric, key: median_house_value, scale: 1e-5}
  AGE: {_target_: components.feature.Numeric, key: housing_median_age, missing: mask}
columns: {income: {_target_: components.feature.Numeric, key: median_income}}
inputs: {numbers: [income]}
"""


@pytest.mark.usefixtures("in_empty_folder")
def test_the_parameter_metric_names_the_metrics_of_each_target() -> None:
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/several.yaml").write_text(SEVERAL)
    words = ["data=california_housing", "feature=several", "loss={PRICE: mse, AGE: huber}"]
    metrics = "metric={PRICE: [rmse, mae], AGE: {error: {option: mae}}}"
    parameters = dict(run_parameters(configure([*words, metrics], Composer())))
    assert parameters["metric"] == "rmse,mae,error"
    assert parameters["loss"] == "mse,huber"
    assert dict(run_parameters(configure(words, Composer())))["metric"] == ""


@pytest.mark.slow
@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_titrate_runs_without_being_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_version = metadata.version

    def version(package: str) -> str:
        if package == "titrate":
            raise metadata.PackageNotFoundError(package)
        return installed_version(package)

    monkeypatch.setattr(metadata, "version", version)
    source = Arrays(columns={"image": np.zeros((60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}, valid=12, test=12)
    result = runner.run("experiment=digits_mlp", "training.epochs=1", "tracking=none", "quiet=true", source=source)
    assert json.loads((result.folder / "record.json").read_text())["tags"]["titrate"] == "not installed"


def test_the_commit_of_a_repository_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    import runner.record.description

    monkeypatch.chdir(Path(__file__).parent)
    tags = runner.record.description._git_tags()
    if not tags:
        pytest.skip("the tests run outside a repository")
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["git.dirty"] in ("true", "false")


@pytest.mark.parametrize("setting", ["core.fsmonitor", "filter.theirs.clean", "filter.theirs.process", *DIFF_SETTINGS])
def test_an_untrusted_repository_runs_nothing(in_empty_folder: Path, setting: str) -> None:
    import runner.record.description

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], check=True)

    git("init", "--quiet")
    Path("file.txt").write_text("one")
    Path(".gitattributes").write_text("*.txt filter=theirs diff=theirs")
    git("add", ".")
    git("commit", "--quiet", "--message=first")
    git("config", setting, f"touch {in_empty_folder}/ran; cat")
    Path("file.txt").write_text("two")
    subprocess.run(["git", "diff"], check=False, capture_output=True)
    assert (in_empty_folder / "ran").exists()  # a plain `git diff` runs it
    (in_empty_folder / "ran").unlink()
    tags, changes = runner.record.description._git_tags(), describe_changes()
    assert not (in_empty_folder / "ran").exists()
    has_filters = setting.startswith("filter")
    assert tags.get("git.dirty") == (None if has_filters else "true")
    assert (changes is None) == has_filters


def test_uncommitted_changes_are_recorded_without_secrets_up_to_a_limit(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert describe_changes() is None  # no repository
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert describe_changes() is None  # no commit
    path = in_empty_folder / "my part.py"
    path.write_bytes(b"one\n")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "first"], check=True)
    assert describe_changes() is None  # no changes
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "zebraquagga")
    path.write_bytes(b"two zebraquagga \xff\n")
    changes = describe_changes()
    assert changes is not None
    assert "-one" in changes
    (in_empty_folder / "ends with blank lines.py").write_text("a\nb\n\n\nc\n")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "second"], check=True)
    for setting in ("color.ui=always", "diff.noprefix=true", "diff.relative=true"):
        subprocess.run(["git", "config", *setting.split("=")], check=True)
    (in_empty_folder / "ends with blank lines.py").write_text("A\nb\n\n\nc\n")
    patch = describe_changes()
    assert patch is not None
    subprocess.run(["git", "stash", "--quiet"], check=True)
    subprocess.run(["git", "apply", "--check"], input=patch, text=True, check=True)
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "stash", "pop", "--quiet"], check=True)
    assert "+two" in changes
    assert "zebraquagga" not in changes
    path.write_text("x" * 1_100_000)
    assert describe_changes() is None


def test_leaves_have_dotted_keys() -> None:
    tree = {"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 3}], "f": {}}
    assert dict(dotted_leaves(tree)) == {"a.b": 1, "a.c": [1, 2], "d.0.e": 3, "f": {}}


def test_only_code_and_versions_count_as_changed() -> None:
    before, now = {"jax": "1", "seed": "0", "code": "a"}, {"jax": "2", "code": "a"}
    assert list_changes({"tags": before}, compose([]), now) == ["jax was 1, is 2"]
    assert list_changes({"tags": before}, compose([]), {"code": "b"}) == ["code was a, is b"]


@pytest.mark.optax
def test_the_files_whose_code_has_changed_are_named(write_module: Callable[[str, str], None]) -> None:
    source = "class Squares:\n    def outputs(self, target): return 3\n"
    source += "    def __call__(self, logits, target): return (logits**2).mean(1)\n"
    write_module("squares", source)
    images = {"image": np.zeros((60, 8, 8, 1), np.uint8), "label": np.arange(60) % 3}
    words = ["loss={_target_: squares.Squares}", "training.epochs=1", "tracking=none", "quiet=true"]
    result = runner.run(*words, source=Arrays(columns=images, valid=12, test=12))
    record = json.loads((result.folder / "record.json").read_text())
    assert record["code"].keys() == {"components", "runner", "squares.py"}
    config = compose(words[:1])
    assert not list_changes(record, config, code_versions(config))
    write_module("squares", source.replace("mean", "sum"))
    assert list_changes(record, config, code_versions(config)) == ["the code of squares.py has changed"]
