"""Runs on pairs: their rows, targets and predictions, a siamese network, and its tower in a network for single rows."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runner
from components.types import UserError
from runner.__main__ import main
from runner.config.check import check_config
from runner.config.compose import compose
from runner.config.recorded_config import read_run_config
from runner.config.settings import Training
from runner.data.training_order import TrainingOrder
from runner.errors import ConfigError
from runner.execution.execute import Result
from runner.execution.programs import make_program
from runner.modes.look.view import View, image_inputs
from runner.signature.schema import list_architectures

pytestmark = pytest.mark.optax

ROWS = 90
RUN = (
    "feature=image",
    "data.test=20",
    "data.valid=20",
    "training.batch_size=16",
    "tracking=none",
    "quiet=true",
    "intervals=null",
    "training.epochs=2",
)
PAIRS = (
    "examples={option: pairs, same: 0.4, draws: 3}",
    "architecture={option: siamese, tower: {option: mlp, widths: [6, 5], activation: elu}}",
    "loss=binary_cross_entropy",
    "metric=[accuracy,auc]",
)


def make_images() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    label = random.permutation(np.arange(ROWS) % 3)
    images = random.integers(0, 60, (ROWS, 4, 4, 1)).astype(np.uint8)
    images[np.arange(ROWS), label] += 150  # a bright row for each class
    return {"image": images, "label": label}


DATA = make_images()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("pairs"))
        return runner.run(*RUN, *PAIRS, data=DATA)


@pytest.fixture
def model(trained: Result) -> Any:
    return runner.load(trained.folder, data=DATA)


def find_pairs(model: Any, split: str) -> np.ndarray:
    return model.data.encoded["image"]["values"].find_rows(model.data.splits[split])


def test_an_example_has_both_images_and_whether_their_classes_agree(model: Any) -> None:
    view = View(model.data, model.features)
    for split, rows in model.data.splits.items():
        pairs, examples = find_pairs(model, split), view.examples(rows)
        assert np.isin(pairs, rows).all()
        assert pairs[:, 0].tolist() == rows.tolist()
        np.testing.assert_allclose(examples.inputs["image"], DATA["image"][pairs] / np.float32(255), rtol=1e-6)
        same = np.equal(*DATA["label"][pairs].T)
        assert examples.targets["target"].tolist() == same.tolist()
        assert same.sum() == 0.4 * len(rows)
    assert view.targets["target"].classes == ("different", "same")


def test_no_image_is_copied(model: Any) -> None:
    assert len(model.data.encoded["image"]["values"].base) == ROWS


def test_predictions_are_known_by_the_first_row(model: Any) -> None:
    pairs, predictions = find_pairs(model, "test"), model.predict("test")
    assert predictions.row.tolist() == pairs[:, 0].tolist()
    assert predictions.frame()["partner"].tolist() == pairs[:, 1].tolist()
    same = np.equal(*DATA["label"][pairs].T)
    assert predictions.target.tolist() == np.where(same, "same", "different").tolist()
    share = (predictions.prediction == predictions.target).mean()
    assert model.evaluate("test")["test/accuracy"] == pytest.approx(share)


def test_an_evaluation_of_new_rows_draws_their_pairs(model: Any) -> None:
    first, again = (model.evaluate({name: values[:30] for name, values in DATA.items()}) for _ in range(2))
    assert first == again
    assert 0 < first["new/auc"] <= 1


def test_new_rows_have_no_pairs(model: Any) -> None:
    with pytest.raises(UserError, match=r"new rows can't be predicted. Predict a split .*weights=run"):
        model.predict({"image": DATA["image"][:3]})


def test_each_epoch_has_the_partners_of_its_draw(trained: Result, model: Any) -> None:
    training = Training.from_config(read_run_config(trained.folder).values["training"])
    order = TrainingOrder(model.data, training, 0)
    seen = []
    for epoch in range(4):
        pairs = model.data.encoded["image"]["values"].find_rows(order.epoch(epoch)[:])
        assert sorted(pairs[:, 0]) == model.data.splits["train"].tolist()
        assert np.equal(*DATA["label"][pairs].T).sum() == 20
        seen.append(dict(pairs.tolist()))
    assert seen[0] == seen[3]
    assert seen[0] != seen[1] != seen[2] != seen[0]
    assert "another partner for each row in each of 3 epochs" in order.describe()


def test_the_tower_has_the_parameters_of_the_network_alone(model: Any) -> None:
    tower = model.weights.parameters["architecture"]["tower"]
    assert {name: each["kernel"].shape for name, each in tower.items()} == {"dense_0": (16, 6), "dense_1": (6, 5)}


@pytest.mark.slow
def test_an_extended_run_has_the_pairs_of_one_that_was_not_stopped(trained: Result, in_empty_folder: Path) -> None:
    first = runner.run(*RUN[:-1], *PAIRS, "training.epochs=1", data=DATA)
    extended = runner.run(*RUN[:-1], *PAIRS, "training.epochs=2", f"resume={first.folder}", data=DATA)
    assert extended.metrics["test/loss"] == trained.metrics["test/loss"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["feature.target={_target_: components.feature.Numeric, key: label}"], "feature.target has numbers"),
        (["feature.target=null", "loss=null", "metric=[]"], "feature has none"),
        (["feature.target.weight=balanced"], "feature.target.weight: weighs the classes of rows"),
        (["training.sampling=balanced"], "training.sampling: balanced draws pairs by the targets of the first epoch"),
        (["feature.weight=label"], "feature.weight: a pair has two rows"),
        (["examples.same=1"], "examples.same: 1 "),
        (["architecture.tower.outputs=3"], "architecture.tower.outputs: is set from the data"),
    ],
)
def test_a_configuration_that_pairs_do_not_fit_is_an_error(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runner.run(*RUN, *PAIRS, *words, data=DATA)


def test_a_siamese_network_needs_pairs(in_empty_folder: Path) -> None:
    with pytest.raises(UserError, match=r"needs pairs of rows \(B, 2, ...\), got \(16, 4, 4, 1\). Set examples=pairs"):
        runner.run(*RUN, *PAIRS[1:], "loss=softmax_cross_entropy", "metric=[accuracy]", data=DATA)


def test_a_split_of_one_class_is_an_error(in_empty_folder: Path) -> None:
    data = {"image": DATA["image"], "label": np.arange(ROWS) % 2 * (np.arange(ROWS) < 70)}
    with pytest.raises(UserError, match="examples: the test split has rows of one class only"):
        runner.run(*RUN, *PAIRS, "data.seed=null", data=data)


def test_the_tower_is_taken_and_frozen_in_a_network_for_single_rows(trained: Result, in_empty_folder: Path) -> None:
    words = (
        "architecture={widths: [6, 5], activation: elu}",
        "metric=[accuracy]",
        "training.epochs=1",
        "update=[freeze]",
    )
    weights = f"weights={{option: run, run: {trained.folder}, module: tower, skip: [head]}}"
    result = runner.run(*RUN, *words, weights, data=DATA)
    found, tower = (
        runner.load(folder, data=DATA).weights.parameters["architecture"] for folder in (result.folder, trained.folder)
    )
    for name, layer in tower["tower"].items():
        assert all((found[name][key] == array).all() for key, array in layer.items())
    assert found["head"]["kernel"].shape == (5, 3)
    assert runner.load(result.folder, data=DATA).predict({"image": DATA["image"][:3]}).prediction.shape == (3,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run: nowhere", "weights.run: nowhere: there is no such run"),
        ("run: last", "weights.run: last is another run after each command"),
    ],
)
def test_weights_of_no_run_are_an_error(words: str, message: str, in_empty_folder: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        runner.run(*RUN, f"weights={{option: run, {words}}}", data=DATA)


def test_both_rows_are_looked_at_side_by_side(
    trained: Result, in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("images.npz", **DATA)
    words = ["data=npz", "data.path=images.npz", *(word for word in RUN if word != "quiet=true"), *PAIRS]
    assert main(["mode=look", *words]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"train  inputs +2 +\d+ and \d+\n", printed)
    assert re.search(r"different +30 \(60.0%\)", printed)
    (figures,) = Path("outputs").glob("*/figures")
    assert {"examples_image.png", "classes_image.png"} <= {path.name for path in figures.iterdir()}
    images = image_inputs({"image": DATA["image"][[[0, 1], [2, 3]]]})["image"]
    assert (images == np.concatenate([DATA["image"][[0, 2]], DATA["image"][[1, 3]]], axis=2)).all()


PLAIN = """
import flax.linen as nn
import jax

from components.types import Output


class Plain(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> Output:
        return Output(None, features={"inputs": inputs})
"""


def test_the_precision_is_that_of_the_tower_too(model: Any, write_module: Callable[[str, str], None]) -> None:
    write_module("plain", PLAIN)
    words = [*PAIRS, "feature=image", "training.precision=bfloat16"]
    config = compose(words)
    check_config(config)
    program, _ = make_program(config, model.features, model.data.constants)
    architectures = list_architectures(program.static_config["architecture"])
    assert [node["dtype"] for node in architectures] == ["bfloat16", "bfloat16"]
    with pytest.raises(ConfigError, match=r"training.precision: plain.Plain supports float32 only"):
        check_config(compose([*words, "architecture={tower: {_target_: plain.Plain}}"]))


def augment_first_batch(model: Any, *words: str) -> tuple[np.ndarray, np.ndarray]:
    """The images of the first pairs before and after augmentations, (B, 2, H, W, C)."""
    config = compose([*RUN, *PAIRS, f"data.path={model.folder}", *words])
    view, rows = View(model.data, model.features), model.data.splits["train"][:16]
    inputs, targets = view.augment(config, rows)
    examples = view.examples(rows, (config.values["seed"], 0, 0))
    np.testing.assert_array_equal(targets["target"], examples.targets["target"])
    return examples.inputs["image"], inputs["image"]


def test_each_image_of_a_pair_is_augmented_by_itself(model: Any) -> None:
    before, after = augment_first_batch(model, "augmentation=[flip]")
    is_flipped = (after == before[..., ::-1, :]).all((2, 3, 4))
    is_kept = (after == before).all((2, 3, 4))
    assert (is_flipped | is_kept).all()
    assert (is_flipped[:, 0] != is_flipped[:, 1]).any()
    assert (is_flipped[:, 0] == is_flipped[:, 1]).any()


def test_colors_of_a_pair_change_between_black_and_white(model: Any) -> None:
    before, after = augment_first_batch(model, "augmentation=[invert]", "augmentation.invert.probability=1")
    np.testing.assert_allclose(after, 1 - before, atol=1e-6)


def test_a_run_learns_from_augmented_and_mixed_pairs(tmp_path: Path) -> None:
    words = ("augmentation=[crop,mixup]", f"folder={tmp_path}", "training.epochs=1")
    assert runner.run(*RUN, *PAIRS, *words, data=DATA).metrics["test/loss"] > 0
