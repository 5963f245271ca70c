"""Names of earlier versions keep working: on the command line, in YAML files, and in run folders made before."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import runner
from components.types import UserError
from runner import npz
from runner.__main__ import main
from runner.config.compose import compose, configure
from runner.config.legacy import PARAMETERS, TARGETS, Renamed, move_keys, rename_targets
from runner.config.recorded_config import read_config
from runner.errors import ConfigError
from runner.signature.allowed_parts import is_allowed_part
from runner.signature.parameters import read_signature

OLD = Path(__file__).parents[1] / "old_run"
EXPECTED = json.loads((OLD / "expected.json").read_text())

pytestmark = pytest.mark.optax


@pytest.fixture
def old_run(in_empty_folder: Path) -> Path:
    """A run folder that Titrate 0.1.0 made, with the files that its words name, in the working folder."""
    shutil.copytree(OLD, in_empty_folder, dirs_exist_ok=True)
    (in_empty_folder / "outputs").mkdir()
    return (in_empty_folder / "run").rename(in_empty_folder / "outputs/2026-11-27_00-52-15_csv_wide_deep_8208ebf6a4")


@pytest.mark.parametrize("old", TARGETS)
def test_a_renamed_part_is_a_part_today(old: str) -> None:
    rename = TARGETS[old]
    assert is_allowed_part(rename.target)
    needed = {} if rename.condition is None else {rename.condition: 0.5}
    node, notes = rename_targets({"_target_": old, **needed}, "part")
    assert node["_target_"] == rename.target
    assert notes[0].note == f"part._target_={old} was renamed to {rename.target}"


@pytest.mark.parametrize("target", PARAMETERS)
def test_a_renamed_parameter_is_a_parameter_today(target: str) -> None:
    for old, new in PARAMETERS[target].items():
        assert new in (known := read_signature(target) or {})
        assert old not in known
        node, renamed = rename_targets([{"_target_": target, old: 0.5}], "parts")
        assert node == [{"_target_": target, new: 0.5}]
        assert renamed == ((f"parts.0.{old}", f"parts.0.{new}", f"parts.0.{old} was renamed to parts.0.{new}"),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("components.weights.files.Random", "components.pretrained.Random"),
        ("components.architecture.lenet5.LeNet5", "components.architecture.LeNet5"),
        ("components.layer.squash.Squash", "components.architecture.lenet.layers.ScaledTanh"),
    ],
)
def test_a_part_may_have_the_dotted_path_of_its_old_module(old: str, new: str) -> None:
    assert rename_targets({"_target_": old})[0] == {"_target_": new}
    assert is_allowed_part(new)


def test_a_value_is_renamed() -> None:
    layer = {"_target_": "components.layer.Dense", "features": 3}
    renamed, notes = rename_targets({"layers": [{**layer, "initializer": "he_normal_out"}]})
    assert renamed == {"layers": [{**layer, "initializer": "he_normal_fan_out"}]}
    assert [one.note for one in notes] == ["layers.0.initializer=he_normal_out was renamed to he_normal_fan_out"]


def test_a_part_is_renamed_only_if_the_parameter_has_a_value() -> None:
    old = {"_target_": "components.loss.SoftmaxCrossEntropy", "label_smoothing": 0.1}
    assert rename_targets({"loss": {**old, "rubbish": None}}) == ({"loss": old}, ())


def test_overrides_and_files_may_have_old_names(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_empty_folder / "conf/weights").mkdir(parents=True)
    (in_empty_folder / "conf/weights/mine.yaml").write_text("# Mine.\n_target_: components.weights.Random\n")
    words = ["weights=mine", "loss.rubbish=0.5", "training.epochs=1", "tracking=none", "quiet=true"]
    config = compose(words)
    assert config.values["weights"] == {"_target_": "components.pretrained.Random"}
    assert config.values["loss"]["garbage_penalty"] == 0.5
    assert main([*words, "mode=dry_run"]) == 0
    error = capsys.readouterr().err
    assert "warning: weights._target_=components.weights.Random was renamed to components.pretrained.Random" in error
    assert "warning: loss.rubbish was renamed to loss.garbage_penalty" in error


def test_the_origin_of_a_renamed_value_is_the_override_with_the_old_name() -> None:
    with pytest.raises(ConfigError) as raised:
        configure(["loss.rubbish=abc"])
    (problem,) = raised.value.problems
    assert problem.startswith("loss.garbage_penalty: ")
    assert problem.endswith("[set by the command line (loss.rubbish=abc)]")
    assert move_keys({"a.deviation.0": "x", "a.deviations": "y"}, [Renamed("a.deviation", "a.std", "")]) == {
        "a.std.0": "x",
        "a.deviations": "y",
    }


def test_a_run_of_an_earlier_version_is_loaded_and_predicts(old_run: Path) -> None:
    model = runner.load(old_run.name)
    assert model.evaluate("test") == pytest.approx(_of("test/", EXPECTED["finished"]), rel=1e-5)
    np.testing.assert_allclose(np.ravel(model.predict("test").prediction), EXPECTED["predictions"], rtol=1e-5)
    transform = runner.load_transform(old_run)
    texts = {"city": ["Bern"], "built": ["2001-05-11"], "note": ["quiet lake"], "kind": ["flat"]}
    encoded = transform({"rooms": [3], "area": [70], **texts})
    assert {*encoded, "target"} == set(transform.layouts)


def test_a_run_of_an_earlier_version_is_evaluated_and_extended(old_run: Path) -> None:
    assert main(["mode=evaluate", f"run={old_run.name}"]) == 0
    assert main(["mode=predict", f"run={old_run.name}", "output=predicted.csv", "quiet=true"]) == 0
    assert main([f"resume={old_run.name}", "training.epochs=3", "quiet=true"]) == 0
    summary = json.loads((old_run / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert {name: summary["metrics"][name] for name in EXPECTED["resumed"]} == pytest.approx(
        EXPECTED["resumed"], rel=1e-5
    )


def test_a_run_of_an_earlier_version_keeps_what_its_columns_read(old_run: Path) -> None:
    """`pair` reads `size`: before `normalize` in the version that trained the run, after it today."""
    read_meta = partial(npz.read_meta, old_run / "transform.npz")
    assert read_meta()["version"] == 2
    assert read_config(old_run)["feature"]["columns"]["size"]["read_as"] == "data"
    assert "read_as" not in read_config(old_run)["feature"]["columns"]["rooms"]  # no column reads it
    rows = {"rooms": [3], "area": [70], "city": ["Bern"], "built": ["2001-05-11"], "note": [""], "kind": ["flat"]}
    encoded = runner.load_transform(old_run)(rows)
    assert encoded["pair"]["values"].tolist() == [[7]]
    np.testing.assert_allclose(encoded["size"]["values"], [[np.log(7)]], rtol=1e-6)
    for epochs in (3, 4):  # the first time, the transform gets today's version
        assert main([f"resume={old_run.name}", f"training.epochs={epochs}", "quiet=true"]) == 0
        assert read_meta()["version"] == 3
        assert read_config(old_run)["feature"]["columns"]["size"]["read_as"] == "data"
    again = runner.load_transform(old_run)(rows)
    pair = again["pair"]["values"] + runner.load_transform(old_run).constants["pair"].host["shift"]
    np.testing.assert_allclose(pair, [[7]], rtol=1e-6)


@pytest.mark.parametrize(
    ("reader", "read"),
    [
        ({"_target_": "components.feature.Numeric", "key": "pair"}, "pair"),
        ({"_target_": "components.feature.Numeric", "expression": "2 * `pair`"}, "pair"),
        ({"_target_": "components.feature.Crossed", "keys": ["kind", "bag"], "buckets": 3}, "bag"),
    ],
)
def test_an_earlier_run_whose_columns_read_what_is_gone_is_an_error(
    old_run: Path, reader: dict[str, object], read: str
) -> None:
    meta, arrays, _ = npz.read(old_run / "transform.npz")
    meta["feature"]["columns"]["kind"] = reader
    npz.write(old_run / "transform.npz", arrays, meta)
    with pytest.raises(UserError, match=f"other columns read `{read}`, and got other values .* Train the run again"):
        runner.load_transform(old_run)


def _of(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith(prefix)}
