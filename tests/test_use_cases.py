"""What people do with a training core, each as an experiment whose result is computed a second time, by hand.

Runs with the learning rate 0 keep their initial parameters, with which the losses and metrics are computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import runner
from components.data import Arrays
from components.types import UserError
from runner.data.order import epoch_order
from runner.execution import programs

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

ROWS, HELD_OUT = 32, 8  # the last rows are the test split, and those before them the validation split
TRAIN = slice(0, ROWS - 2 * HELD_OUT)
VALID, TEST = slice(TRAIN.stop, ROWS - HELD_OUT), slice(ROWS - HELD_OUT, ROWS)
RUN = (
    *("tracking=none", "quiet=true", "training.epochs=null", "training.batch_size=16", "training.keep_checkpoints=99"),
    "training.evaluate_steps=1",
)
CLASSES = ("feature=image", "architecture=mlp", "architecture.widths=[4]", "optimizer=sgd", "learning_rate=0.5")
IMAGES = np.random.default_rng(0).integers(0, 256, (ROWS, 4, 4, 1), np.uint8)
LABELS = np.arange(ROWS) % 3

Tree = dict[str, Any]


def run(*words: str, valid: int = HELD_OUT, test: int = HELD_OUT, **columns: np.ndarray) -> runner.Result:
    """Runs an experiment on columns, by default images of three classes. Each epoch is one step of all rows."""
    columns = columns or {"image": IMAGES, "label": LABELS}
    return runner.run(*RUN, *words, source=Arrays(columns=columns, valid=valid, test=test, seed=None))


def parameters(folder: Path, step: int, of: str = "parameters") -> Tree:
    """The parameters of the network after a step, or its average, by module and name."""
    prefix = {"parameters": "leaf.parameters", "average": "leaf.update_state['ema']['params']"}[of] + "['architecture']"
    with np.load(folder / "checkpoints" / f"step_{step:010d}.npz") as archive:
        names = [name for name in archive.files if name.startswith(prefix)]
        flat = {tuple(name[len(prefix) + 2 : -2].split("']['")): archive[name] for name in names}
    return dict(flax.traverse_util.unflatten_dict(flat))


def initial_parameters(*words: str) -> Tree:
    """The parameters before the first step."""
    return parameters(run(*words, "learning_rate=0", "training.steps=1").folder, 1)


def objective(values: Tree, rows: slice | np.ndarray = TRAIN) -> jax.Array:
    """The cross-entropy of the network on the training split or other rows."""
    images = jnp.asarray(IMAGES[rows].reshape(-1, 16), jnp.float32) / 255
    hidden = jax.nn.relu(images @ values["dense_0"]["kernel"] + values["dense_0"]["bias"][None])
    logits = hidden @ values["head"]["kernel"] + values["head"]["bias"][None]
    return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(LABELS[rows])).mean()


def train_by_hand(values: Tree, optimizer: Any, steps: int, gradient: Callable[[Tree], Tree] | None = None) -> list:
    """The parameters after each step of an optimizer of Optax."""

    @jax.jit
    def step(values: Tree, state: Any) -> tuple[Tree, Any]:
        value, slope = jax.value_and_grad(objective)(values)
        slope = slope if gradient is None else gradient(values)
        line_search = {"value": value, "grad": slope, "value_fn": objective}
        updates, state = optax.with_extra_args_support(optimizer).update(slope, state, values, **line_search)
        return optax.apply_updates(values, updates), state

    state, found = optimizer.init(values), []
    for _ in range(steps):
        values, state = step(values, state)
        found.append(jax.device_get(values))
    return found


def assert_close(found: Tree, expected: Tree, **tolerance: float) -> None:
    def check(left: Any, right: Any) -> None:
        np.testing.assert_allclose(left, right, **{"rtol": 1e-5, "atol": 1e-6} | tolerance)

    jax.tree.map(check, found, jax.device_get(expected))


def write_option(name: str, text: str) -> None:
    path = Path("conf", f"{name}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(probabilities[np.arange(len(labels)), labels])


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


EXAMPLE_WEIGHTS = np.arange(ROWS) % 4
ORDERS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "shuffled": ((), {}),
    "in the data's order": (("training.shuffle=false",), {"shuffle": False}),
    "in windows": (("training.shuffle=5",), {"shuffle": 5}),
    "drawn by weight": (
        ("training.sampling=weighted", "feature.weight=w"),
        {"cumulative": np.cumsum(EXAMPLE_WEIGHTS[TRAIN], dtype=float)},
    ),
    "drawn by class": (
        ("training.sampling=balanced",),
        {"cumulative": np.cumsum(1 / np.bincount(LABELS[TRAIN])[LABELS[TRAIN]])},
    ),
}


@pytest.mark.parametrize(("words", "options"), ORDERS.values(), ids=ORDERS)
def test_each_step_sees_the_examples_of_its_position(words: tuple[str, ...], options: dict[str, Any]) -> None:
    """Also in the second epoch. Examples that are drawn by weight have the same weight in the training objective."""
    columns = {"image": IMAGES, "label": LABELS, "w": EXAMPLE_WEIGHTS}
    result = run(*CLASSES, *words, "learning_rate=0", "training.steps=6", "training.batch_size=4", **columns)
    values = parameters(result.folder, 6)
    for step, record in enumerate(result.records):
        epoch, first = divmod(4 * step, TRAIN.stop)
        rows = epoch_order(np.arange(TRAIN.stop), 0, epoch, **options)[first : first + 4]
        assert record["train/loss"] == pytest.approx(float(objective(values, rows)), rel=1e-5)
    assert len(result.records) == 6
    assert ("valid/weighted/loss" in result.records[0]) == ("feature.weight=w" in words)


def test_balanced_sampling_needs_classes() -> None:
    words = ("data=diabetes", "feature=diabetes", "loss=mse", "metric=[rmse]", "training.sampling=balanced")
    with pytest.raises(UserError, match=r"training\.sampling: balanced needs a single target with one class for each"):
        runner.run(*words, "tracking=none", "quiet=true")


def test_fine_tuning_with_groups_and_an_average() -> None:
    """The body learns slowly, the head with an optimizer of its own; evaluations use the average."""
    Path("experiments").mkdir()
    Path("experiments/fine_tuning.yaml").write_text(
        "defaults:\n  - override /update: [groups, ema]\n"
        "update:\n"
        "  groups:\n"
        "    body: {paths: [architecture/dense_0], rate: 0.1}\n"
        "    head: {paths: [architecture/head], optimizer: {_target_: optax.adam, b1: 0.8}}\n"
        "  ema: {decay: 0.6, warm_up: false}\n"
    )
    words = ("experiment=fine_tuning", *CLASSES)
    result = run(*words, "training.steps=3")
    optimizer = optax.multi_transform(
        {"body": optax.sgd(0.05), "head": optax.adam(0.5, b1=0.8)}, {"dense_0": "body", "head": "head"}
    )
    steps = train_by_hand(initial_parameters(*words), optimizer, 3)
    average = steps[0]
    for values in steps[1:]:
        average = jax.tree.map(lambda old, new: 0.6 * old + 0.4 * new, average, values)
    assert_close(parameters(result.folder, 3), steps[-1])
    assert_close(parameters(result.folder, 3, of="average"), average)
    assert result.records[-1]["valid/loss"] == pytest.approx(float(objective(average, VALID)), rel=1e-5)
    assert float(objective(average, VALID)) != pytest.approx(float(objective(steps[-1], VALID)), rel=1e-3)


MIXED = """
import flax.linen as nn
import jax
import jax.numpy as jnp
from components.types import Output

class Brightness(nn.Module):
    '''Classes of bright and dark images. The brightness of the first and second image of a batch is recorded.'''

    outputs: int

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        scale = self.param("scale", nn.initializers.ones, ())
        share = image.mean((1, 2, 3)) * scale
        own = jnp.eye(len(share))[:, :2] * len(share) * share[:, None]
        return Output(jnp.stack([0.3 - share, 2 * share], 1), {"first": own[:, 0], "second": own[:, 1]})
"""


def test_mixup_with_label_smoothing_and_accuracy(write_module: Callable[[str, str], None]) -> None:
    """A black and a white image: the brightness of a mixed image is the probability of the class `white`."""
    write_module("own", MIXED)
    write_option("architecture/brightness", "# Bright or dark.\n_target_: own.Brightness\n")
    label = np.arange(6) % 2
    image = np.broadcast_to(label[:, None, None, None] * np.uint8(255), (6, 2, 2, 1)).astype(np.uint8)
    words = ("feature=image", "architecture=brightness", "augmentation=[mixup]", "augmentation.mixup.alpha=0.7")
    words = (*words, "loss.label_smoothing=0.1", "training.batch_size=2", "training.steps=16", "learning_rate=0")
    history = run(*words, valid=2, test=2, image=image, label=label).records
    shares = np.array([[record["train/first"], record["train/second"]] for record in history])
    logits = np.stack([0.3 - shares, 2 * shares], -1)
    smooth = 0.9 * np.stack([1 - shares, shares], -1) + 0.05
    losses = -(smooth * np.log(softmax(logits))).sum(-1).mean(1)
    hits = (logits.argmax(-1) == (shares > 0.5)).mean(1)
    assert [record["train/loss"] for record in history] == pytest.approx(losses.tolist(), rel=1e-5)
    assert [record["train/accuracy"] for record in history] == pytest.approx(hits.tolist())
    assert {0, 0.5, 1} >= {*hits.tolist()} > {1}
    mixed = shares[(shares > 0) & (shares < 1)]
    assert len(mixed) > 8
    assert len(np.unique(mixed)) == len(mixed), "each example and step has a share of its own"
    for record in history:  # held-out images and classes are not mixed
        assert (record["valid/first"], record["valid/second"], record["valid/accuracy"]) == (0, 1, 1)


TWO_TARGETS = """
# A class and a number, both with gaps, and weights of examples.
target: null
targets:
  kind: {_target_: components.feature.Label, key: kind, missing: mask}
  size: {_target_: components.feature.Numeric, key: size, normalize: z_score, missing: mask}
columns: {x: {_target_: components.feature.Numeric, key: x}}
inputs: {inputs: [x]}
weight: weight
"""


def test_a_class_and_a_number_with_weights_and_gaps() -> None:
    write_option("feature/both", TWO_TARGETS)
    random = np.random.default_rng(0)
    columns = {
        "x": random.normal(size=(ROWS, 3)),
        "kind": np.array([None if row % 5 == 1 else "abc"[row % 3] for row in range(ROWS)], object),
        "size": np.where(np.arange(ROWS) % 4 == 2, np.nan, 50 + 9 * random.normal(size=ROWS)),
        "weight": 0.5 + np.arange(ROWS) % 7,
    }
    words = ("feature=both", "architecture.widths=[4]", "loss={kind: softmax_cross_entropy, size: {option: huber}}")
    words = (*words, "metric={kind: [accuracy], size: [rmse]}", "loss_weights={size: 0.3}", "training.steps=1")
    result = run(*words, "learning_rate=0", **columns)
    source = Arrays(columns=columns, valid=HELD_OUT, test=HELD_OUT, seed=None)
    predicted = runner.load(result.folder, source=source).predict({"x": columns["x"]})
    has_kind, has_size = columns["kind"] != None, ~np.isnan(columns["size"])  # noqa: E711
    labels = np.array(["abc".index(kind or "a") for kind in columns["kind"]])
    costs = cross_entropy(predicted["kind"].probabilities, labels)
    errors = predicted["size"].prediction.reshape(-1) - columns["size"]
    scaled = np.abs(errors) / np.nanstd(columns["size"][TRAIN])
    hubers = np.where(scaled < 1, scaled**2 / 2, scaled - 0.5)
    hits = predicted["kind"].prediction == columns["kind"]

    weight = columns["weight"]

    def mean(values: np.ndarray, counts: np.ndarray, rows: slice, weights: np.ndarray) -> float:
        return float(np.average(values[rows][counts[rows]], weights=weights[rows][counts[rows]]))

    kind, size = ((weight * values)[TRAIN] for values in (costs, hubers))
    kind, size = kind[has_kind[TRAIN]].mean(), size[has_size[TRAIN]].mean()
    expected = {"train/kind/loss": kind, "train/size/loss": size, "train/loss": kind + 0.3 * size}
    for split, rows in (("valid", VALID), ("test", TEST)):
        for name, weights in ((split, np.ones(ROWS)), (f"{split}/weighted", weight)):
            kind, size = mean(costs, has_kind, rows, weights), mean(hubers, has_size, rows, weights)
            expected |= {f"{name}/kind/loss": kind, f"{name}/size/loss": size, f"{name}/loss": kind + 0.3 * size}
            expected[f"{name}/kind/accuracy"] = mean(hits, has_kind, rows, weights)
            expected[f"{name}/size/rmse"] = mean(errors**2, has_size, rows, weights) ** 0.5
    record = result.records[0] | result.metrics
    assert {name: record[name] for name in expected} == pytest.approx(expected, rel=1e-4)


SEGMENTATION = """
# The class of each pixel.
target: {_target_: components.feature.Label, key: pixels, ignore: 255}
columns: {image: {_target_: components.feature.Image, key: image}}
inputs: {image: [image]}
"""


def test_segmentation_with_pixels_that_are_ignored() -> None:
    """Without layers before the head, the logits of a pixel are a linear function of its value."""
    write_option("feature/pixels", SEGMENTATION)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 3, (ROWS, 4, 4))
    pixels = np.where(random.random(pixels.shape) < 0.3, 255, pixels)
    words = ("feature=pixels", "architecture=sequential", "architecture.layers=[]", "architecture.head=conv")
    words = (*words, "metric=[accuracy,mean_iou]", "learning_rate=0", "training.steps=1")
    result = run(*words, image=IMAGES, pixels=pixels)
    head = parameters(result.folder, 1)["head"]
    shares = softmax(IMAGES / 255 * head["kernel"].reshape(1, 3) + head["bias"])
    for split, rows in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        counts = pixels[rows] != 255
        true, found = pixels[rows][counts], shares[rows][counts]
        pairs = [(found.argmax(-1) == name, true == name) for name in range(3)]
        expected = {
            f"{split}/loss": cross_entropy(found, true).mean(),
            f"{split}/accuracy": (found.argmax(-1) == true).mean(),
            f"{split}/mean_iou": np.mean([(one & two).sum() / (one | two).sum() for one, two in pairs]),
        }
        record = result.metrics | result.records[0]
        assert {name: record[name] for name in expected} == pytest.approx(expected, rel=1e-5)


CONTRASTIVE = """
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from components.types import Output

class Contrastive(nn.Module):
    '''NT-Xent (Chen et al., 2020): the two views of an example are nearer than all others of the batch.'''

    outputs: int
    temperature: float = 0.5

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array, *, train: bool) -> Output:
        encode = nn.Dense(3, use_bias=False, name="encode")
        views = jnp.concatenate([encode(first), encode(second)])
        views = views / jnp.linalg.norm(views, axis=1, keepdims=True)
        count = len(first)
        logits = views @ views.T / self.temperature - 1e9 * jnp.eye(2 * count)
        partners = (jnp.arange(2 * count) + count) % (2 * count)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, partners)
        return Output(None, {"nt_xent": (losses[:count] + losses[count:]) / 2})
"""
PAIRS = """
# Two views of the same thing, and no target.
target: null
columns:
  one: {_target_: components.feature.Numeric, key: one}
  two: {_target_: components.feature.Numeric, key: two}
inputs: {first: [one], second: [two]}
"""


def contrastive_loss(views: np.ndarray) -> float:
    """The mean loss of pairs, whose first views are in the first half."""
    views = views / np.linalg.norm(views, axis=1, keepdims=True)
    logits = views @ views.T / 0.5
    np.fill_diagonal(logits, -np.inf)
    partners = np.roll(np.arange(len(views)), len(views) // 2)
    return float(cross_entropy(softmax(logits), partners).mean())


def test_contrastive_pairs_without_a_target(write_module: Callable[[str, str], None]) -> None:
    write_module("own", CONTRASTIVE)
    write_option("architecture/contrastive", "# Pairs of views.\n_target_: own.Contrastive\n")
    write_option("feature/pairs", PAIRS)
    random = np.random.default_rng(0)
    hidden = random.normal(size=(ROWS, 3))
    one, two = (hidden @ random.normal(size=(3, 5)) + 0.1 * random.normal(size=(ROWS, 5)) for _ in range(2))
    words = ("feature=pairs", "architecture=contrastive", "optimizer=adam", "learning_rate=0.03")
    words = (*words, f"training.evaluation_batch_size={HELD_OUT}", "training.evaluate_steps=30", "training.steps=60")
    result = run(*words, one=one, two=two)

    def loss(kernel: np.ndarray, rows: slice) -> float:
        return contrastive_loss(np.concatenate([one[rows], two[rows]]) @ kernel)

    for record in result.records:
        kernel = parameters(result.folder, int(record["step"]))["encode"]["kernel"]
        assert record["valid/loss"] == record["valid/nt_xent"] == pytest.approx(loss(kernel, VALID), rel=1e-4)
    assert not any("accuracy" in name for name in result.metrics)
    last = loss(kernel, TRAIN)
    assert last < 0.85 * loss(initial_kernel(*words, one=one, two=two), TRAIN)


VIEWS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Reversed:
    '''Adds the reversed input as a second view.'''

    adds_inputs = True
    evaluates: bool = True

    def __call__(self, key, batch):
        return batch._replace(inputs={**batch.inputs, "second": batch.inputs["first"][:, ::-1]})
"""


def test_an_augmentation_adds_the_second_view_of_contrastive_pairs(write_module: Callable[[str, str], None]) -> None:
    write_module("own", CONTRASTIVE + VIEWS)
    write_option("architecture/contrastive", "# Pairs of views.\n_target_: own.Contrastive\n")
    write_option("augmentation/reversed", "# A second view.\nreversed: {_target_: own.Reversed}\n")
    write_option("feature/single", PAIRS.replace("{first: [one], second: [two]}", "{first: [one]}"))
    one = np.random.default_rng(0).normal(size=(ROWS, 5))
    words = ("feature=single", "architecture=contrastive", "augmentation=[reversed]", "optimizer=adam")
    words = (*words, f"training.evaluation_batch_size={HELD_OUT}", "training.steps=2")
    result = run(*words, one=one, two=one)
    for record in result.records:
        kernel = parameters(result.folder, int(record["step"]))["encode"]["kernel"]
        expected = contrastive_loss(np.concatenate([one[VALID], one[VALID][:, ::-1]]) @ kernel)
        assert record["valid/loss"] == pytest.approx(expected, rel=1e-4)
    source = Arrays(columns={"one": one, "two": one}, valid=HELD_OUT, test=HELD_OUT, seed=None)
    evaluated = runner.load(result.folder, source=source).evaluate("valid")["valid/loss"]
    assert evaluated == pytest.approx(min(record["valid/loss"] for record in result.records), rel=1e-6)
    with pytest.raises(UserError, match=r"Contrastive needs an input second.* the attribute `evaluates = True`"):
        run(*words, "augmentation.reversed.evaluates=false", one=one, two=one)


def initial_kernel(*words: str, **columns: np.ndarray) -> np.ndarray:
    words = (*words, "learning_rate=0", "training.steps=1", "training.evaluate_steps=1")
    return np.asarray(parameters(run(*words, **columns).folder, 1)["encode"]["kernel"])


AUTOENCODER = """
# The image is its own target.
target: {_target_: components.feature.ImageTarget, key: image}
columns: {image: {_target_: components.feature.Image, key: image}}
inputs: {image: [image]}
"""


def test_a_denoising_autoencoder() -> None:
    """Of all linear functions of a pixel with noise, the one with the least error to the clean pixel is learned."""
    write_option("feature/clean", AUTOENCODER)
    words = ("feature=clean", "architecture=sequential", "architecture.layers=[]", "architecture.head=conv")
    words = (
        *words,
        "loss=mse",
        "metric=[rmse]",
        "augmentation=[gaussian_noise]",
        "augmentation.gaussian_noise.std=0.2",
    )
    words = (*words, "optimizer=adam", "learning_rate=0.05", "schedule=cosine", "training.steps=400")
    result = run(*words, "training.evaluate_steps=400", image=IMAGES)
    head = parameters(result.folder, 400)["head"]
    slope, offset = head["kernel"].item(), head["bias"].item()
    clean = IMAGES[TRAIN] / 255
    best = clean.var() / (clean.var() + 0.2**2)
    assert (slope, offset) == pytest.approx((best, (1 - best) * clean.mean()), abs=0.03)
    error = np.square(slope * IMAGES[VALID] / 255 + offset - IMAGES[VALID] / 255).mean()
    (record,) = result.records
    assert (record["valid/loss"], record["valid/rmse"]) == pytest.approx((error, error**0.5), rel=1e-4)
    assert record["train/loss"] > 2 * error, "the inputs of the training are noisy"


def test_sharpness_aware_minimization() -> None:
    def gradient(values: Tree) -> Tree:
        gradients = jax.grad(objective)(values)
        scale = 0.5 / optax.tree.norm(gradients)
        return jax.grad(objective)(jax.tree.map(lambda value, slope: value + scale * slope, values, gradients))

    result = run(*CLASSES, "step=sam", "step.rho=0.5", "training.steps=3")
    *_, expected = train_by_hand(initial_parameters(*CLASSES), optax.sgd(0.5), 3, gradient)
    *_, plain = train_by_hand(initial_parameters(*CLASSES), optax.sgd(0.5), 3)
    assert_close(parameters(result.folder, 3), expected)
    assert np.abs(parameters(result.folder, 3)["head"]["kernel"] - plain["head"]["kernel"]).max() > 1e-3


@pytest.mark.slow
def test_microbatches_with_a_schedule_and_patience_in_steps() -> None:
    words = (*CLASSES, "training.steps=40", "training.evaluate_steps=2", "schedule=cosine", "schedule.warmup=4st")
    words = (*words, "training.patience=6st", "training.min_delta=100", "training.batch_size=8")
    parts, whole = (run(*words, f"training.microbatches={count}") for count in (4, 1))
    assert [record["step"] for record in parts.records] == [2, 4, 6, 8], "six steps without an improvement"
    progress = np.array([1, 3, 5, 7])  # the last step of each interval, counted from 0
    rates = np.where(progress < 4, (progress + 1) / 4, (1 + np.cos(np.pi * (progress - 4) / 36)) / 2)
    assert [record["learning_rate"] for record in parts.records] == pytest.approx((0.5 * rates).tolist(), rel=1e-5)
    assert_close(parameters(parts.folder, 8), parameters(whole.folder, 8), rtol=1e-4, atol=1e-5)
    for one, other in zip(parts.records, whole.records, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_dropout_rate_and_decay_are_swept_by_one_program() -> None:
    programs._PROGRAMS.clear()
    words = (*RUN, *CLASSES, "optimizer=adamw", "training.steps=3")
    grid = {"architecture.dropout": (0.1, 0.6), "learning_rate": (0.01, 0.1), "optimizer.weight_decay": (0.01, 1)}
    axes = [f"{key}={','.join(map(str, values))}" for key, values in grid.items()]
    source = Arrays(columns={"image": IMAGES, "label": LABELS}, valid=HELD_OUT, test=HELD_OUT, seed=None)
    sweep = runner.multirun(*words, *axes, source=source)
    (program,) = programs._PROGRAMS.values()
    counts = (program.init._cache_size(), program.train._cache_size(), program.evaluate._cache_size())
    assert counts == (1, 1, 1)
    kernels = {}
    for one in sweep.runs:
        kernels[tuple(one.overrides)] = parameters(sweep.folder / one.folder, 3)["head"]["kernel"].tobytes()
    assert len({*kernels.values()}) == len(kernels) == 8
    for overrides, kernel in [*kernels.items()][::5]:
        alone = run(*CLASSES, "optimizer=adamw", "training.steps=3", *overrides)
        assert parameters(alone.folder, 3)["head"]["kernel"].tobytes() == kernel, "the same bits, alone or in a sweep"
    assert program.train._cache_size() == 1


def test_folds_with_fitted_statistics_beside_an_update_and_a_constraint() -> None:
    write_option(
        "feature/scaled",
        "# A scaled number.\ntarget: {_target_: components.feature.Numeric, key: y, normalize: z_score}\n"
        "columns: {x: {_target_: components.feature.Numeric, key: x, normalize: z_score}}\ninputs: {inputs: [x]}\n",
    )
    random = np.random.default_rng(0)
    x = random.normal(size=ROWS) + np.arange(ROWS)  # so that each fold has other statistics
    columns = {"x": x, "y": 3 * x + random.normal(size=ROWS)}
    words = ("feature=scaled", "architecture.widths=[4]", "loss=mse", "metric=[rmse]", "update=[ema,clip_norm]")
    words = (*words, "constraint=[max_norm]", "constraint.max_norm.limit=0.5", "training.steps=2", "folds=3")
    sweep = runner.multirun(*RUN, *words, source=Arrays(columns=columns, test=HELD_OUT, valid=HELD_OUT, seed=None))
    blocks = np.array_split(np.arange(ROWS - HELD_OUT), 3)
    for fold, one in enumerate(sweep.runs):
        folder = sweep.folder / one.folder
        rows = np.concatenate([block for number, block in enumerate(blocks) if number != fold])
        for name, key in (("x", "x"), ("target", "y")):
            with np.load(folder / "transform.npz") as archive:
                found = [archive[f"{name}/device/{number}"] for number in ("offset", "divisor")]
            assert_close(found, [columns[key][rows].mean(keepdims=True), columns[key][rows].std(keepdims=True)])
        weights = parameters(folder, 2)
        norms = np.linalg.norm(weights["dense_0"]["kernel"], axis=0)
        assert norms.max() <= 0.5 + 1e-6
    assert sweep.candidates[0].metrics["best/valid/loss"].deviation > 0


@pytest.mark.slow
def test_lbfgs_equals_optax_and_is_compiled_once() -> None:
    programs._PROGRAMS.clear()
    words = (*CLASSES, "optimizer=lbfgs", "training.steps=3")
    result = run(*words)
    (program,) = programs._PROGRAMS.values()
    assert program.train._cache_size() == 1
    *_, expected = train_by_hand(initial_parameters(*CLASSES), optax.lbfgs(0.5), 3)
    assert_close(parameters(result.folder, 3), expected, atol=1e-4)
