"""Runs on two views of each row: their augmentation, loss, metric and resumption, and the tower that they train."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import runner
from components.examples import Views
from components.types import TargetSpec, UserError
from runner.__main__ import main
from runner.data.batches import gather_rows
from runner.errors import ConfigError
from runner.execution.execute import Result
from runner.inference.trained_model import TrainedModel

pytestmark = pytest.mark.optax

ROWS = 60
RUN = (
    "feature=image",
    "data.test=14",
    "data.valid=10",
    "training.batch_size=12",
    "tracking=none",
    "quiet=true",
    "training.epochs=2",
    "learning_rate=0.01",
)
VIEWS = (
    "feature.target=null",
    "examples=views",
    "architecture={option: siamese, tower: {option: mlp, widths: [6]}, projection: [5, 4]}",
    "loss={option: nt_xent, temperature: 0.5}",
    "metric=[contrastive_accuracy]",
    "augmentation=[gaussian_noise]",
    "augmentation.gaussian_noise.std=0.3",
)
IMAGES = np.random.default_rng(0).integers(0, 256, (ROWS, 4, 4, 1)).astype(np.uint8)
DATA = {"image": IMAGES, "label": np.arange(ROWS) % 3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("views"))
        return runner.run(*RUN, *VIEWS, data=DATA)


@pytest.fixture
def model(trained: Result) -> TrainedModel:
    return runner.load(trained.folder, data=DATA)


def make_views(model: TrainedModel, split: str) -> np.ndarray:
    """The views of a split in an evaluation: one batch of 14, with padding."""
    evaluator, weights, rows = model._evaluator_for(split), model.weights, model.data.splits[split]
    padded = np.resize(rows, 14)
    batch, _, _ = evaluator.program.forward(
        *(evaluator.parts, evaluator.program_inputs, {"params": weights.parameters, **weights.model_state}),
        gather_rows(model.data.encoded, padded),
        step=None,
        part=0,
        present=jnp.arange(len(padded)) < len(rows),
    )
    return np.asarray(batch.inputs["inputs"])[: len(rows)]


def compute_by_hand(model: TrainedModel, views: np.ndarray) -> tuple[float, float]:
    """The mean loss (Chen et al., 2020, equation 1) and the accuracy of views (N, 2, …), in float64."""
    layers = jax.tree.map(lambda array: np.asarray(array, np.float64), model.weights.parameters["architecture"])
    x = np.concatenate([views[:, 0], views[:, 1]]).reshape(2 * len(views), -1).astype(np.float64)
    for dense in (layers["tower"]["dense_0"], layers["projection_0"]):
        x = np.maximum(x @ dense["kernel"] + dense["bias"], 0)
    x = x @ layers["projection_1"]["kernel"] + layers["projection_1"]["bias"]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    similarities, partners = x @ x.T / 0.5, np.roll(np.arange(len(x)), len(views))
    np.fill_diagonal(similarities, -np.inf)
    losses = np.log(np.exp(similarities).sum(1)) - similarities[np.arange(len(x)), partners]
    return float(losses.mean()), float((similarities.argmax(1) == partners).mean())


def test_the_views_of_a_row_are_augmented_independently(model: TrainedModel) -> None:
    views, clean = make_views(model, "test"), IMAGES[model.data.splits["test"]] / 255
    assert views.shape == (14, 2, 4, 4, 1)
    noise = views - clean[:, None]
    assert noise.std() == pytest.approx(0.3, rel=0.15)
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.2


@pytest.mark.parametrize("split", ["test", "valid"])
def test_the_loss_and_the_accuracy_of_a_split_are_those_of_its_fixed_views(
    split: str, trained: Result, model: TrainedModel
) -> None:
    """A batch has the 14 examples of the test split, so 4 of that of the valid split are padding."""
    loss, accuracy = compute_by_hand(model, make_views(model, split))
    found = model.evaluate(split)
    assert found.keys() == {f"{split}/loss", f"{split}/contrastive_accuracy"}
    assert found[f"{split}/loss"] == pytest.approx(loss, rel=1e-5)
    assert found[f"{split}/contrastive_accuracy"] == pytest.approx(accuracy)
    prefix = "" if split == "test" else "best/"
    assert found == {name: trained.metrics[f"{prefix}{name}"] for name in found}


def test_a_target_is_optional(in_empty_folder: Path) -> None:
    """A loss of classes is added, whose head gets both views. The loss of the views is the same."""
    terms = "loss={option: weighted_sum, terms: {a: {loss: {option: nt_xent}}, b: {loss: softmax_cross_entropy}}}"
    words = (*VIEWS[1:3], *VIEWS[5:], terms, "metric=[contrastive_accuracy,accuracy]", "training.epochs=1")
    result = runner.run(*RUN, *words, data=DATA)
    assert {"test/accuracy", "test/contrastive_accuracy", "test/loss"} <= result.metrics.keys()
    model = runner.load(result.folder, data=DATA)
    assert model.predict({"image": IMAGES[:3]}).prediction.shape == (3,)


def test_the_tower_is_taken_in_a_network_for_single_rows(trained: Result, in_empty_folder: Path) -> None:
    words = ("architecture.widths=[6]", "metric=[accuracy]", "update=[freeze]", "training.epochs=1")
    weights = f"weights={{option: run, run: {trained.folder}, module: tower, skip: [head]}}"
    result = runner.run(*RUN, *words, weights, data=DATA)
    found, tower = (
        runner.load(folder, data=DATA).weights.parameters["architecture"] for folder in (result.folder, trained.folder)
    )
    assert (found["dense_0"]["kernel"] == tower["tower"]["dense_0"]["kernel"]).all()


@pytest.mark.slow
def test_an_extended_run_has_the_views_of_one_that_was_not_stopped(trained: Result, in_empty_folder: Path) -> None:
    first = runner.run(*RUN, *VIEWS, "training.epochs=1", data=DATA)
    extended = runner.run(*RUN, *VIEWS, "training.epochs=2", f"resume={first.folder}", data=DATA)
    assert extended.metrics["test/loss"] == trained.metrics["test/loss"]
    assert extended.records[-1]["train/loss"] == trained.records[-1]["train/loss"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=softmax_cross_entropy"], "loss: is set without a target. Set feature.target"),
        (["metric=[contrastive_accuracy,accuracy]"], "metric: is set without a target: accuracy. Set metric to"),
        (
            ["feature.target={_target_: components.feature.ImageTarget, key: image}", "metric=[]"],
            "feature.target: is an image, which belongs to neither of two views",
        ),
        (
            ["examples=pairs", "feature.target={_target_: components.feature.Label, key: label}"],
            "loss: would make the rows of all pairs alike, .* Set examples=views, or choose loss=contrastive",
        ),
    ],
)
def test_a_configuration_that_views_do_not_fit_is_an_error(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        runner.run(*RUN, *VIEWS, *words, data=DATA)


def test_without_views_the_error_names_them(in_empty_folder: Path) -> None:
    with pytest.raises(UserError, match=r"got \(12, 4, 4, 1\). Set examples=pairs or views"):
        runner.run(*RUN, *VIEWS, "examples=null", data=DATA)
    with pytest.raises(UserError, match=r"loss\.stage: the architecture returns no features first"):
        runner.run(*RUN, *VIEWS, "architecture={option: mlp, widths: [6]}", data=DATA)


def test_a_run_without_augmentation_prints_a_note(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("images.npz", **DATA)
    words = ["data=npz", "data.path=images.npz", *RUN, *VIEWS[:5], "quiet=false", "training.epochs=1"]
    assert main(words) == 0
    assert "note: there is no augmentation, so the views of a row are equal" in capsys.readouterr().out


def test_both_views_are_looked_at_side_by_side(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("images.npz", **DATA)
    assert main(["mode=look", "data=npz", "data.path=images.npz", *RUN[:-3], *VIEWS]) == 0
    (figures,) = Path("outputs").glob("*/figures")
    assert {"examples_image.png", "augmented_image.png"} <= {path.name for path in figures.iterdir()}


def test_a_target_of_pixels_has_no_views() -> None:
    spec = TargetSpec("classes", (4, 4), ("a", "b"), lambda logits: logits)
    with pytest.raises(UserError, match="belongs to neither"):
        Views().bind(spec)
