"""The compiled program without a trainer: steps, evaluation, streamed data, and what causes a compilation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import runner
from components.augmentation import Flip
from components.data import Arrays
from components.feature import Image, Label, Numeric
from components.loss import SoftmaxCrossEntropy
from components.types import Batch, UserError
from runner.config.catalog import read_default_options
from runner.data.batches import Batches
from runner.data.load import Data, Features, load_encoded
from runner.execution.programs import get_program
from runner.log import buffer_log
from runner.program.dispatch import ORDERED_OPERATIONS, training_options
from runner.program.metric_sums import add_sums, compute_metrics
from runner.program.objective import augment
from runner.program.parts import BatchAugmentation, ProgramInputs, numbers_to_arrays
from runner.program.program import Program
from runner.program.state import RateInputs
from runner.signature.build import ScalarSlot

CLASSES = 3


@pytest.fixture(autouse=True)
def users_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "helpers"))
    monkeypatch.setenv("TITRATE_ALLOW", "parts")


def static(architecture: Mapping[str, Any], **groups: Any) -> dict[str, Any]:
    """The static configuration of an experiment: an architecture, and simple parts of all other groups."""
    return {
        "architecture": architecture,
        "loss": {"_target_": "components.loss.SoftmaxCrossEntropy"},
        "metric": {"accuracy": {"_target_": "components.metric.Accuracy"}},
        "optimizer": {"_target_": "optax.sgd"},
        "schedule": {"_target_": "components.schedule.constant", "learning_rate": ScalarSlot("learning_rate")},
        "loss_weights": {},
        "regularizer": {},
        "update": {},
        "step": {"_target_": "components.step.Supervised"},
        "constraint": {},
        "augmentation": {},
        **groups,
    }


def columns(rows: int = 24) -> dict[str, Any]:
    """A few examples of every kind of column."""
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (rows, 8, 8, 1), np.uint8),
        "x": random.random(rows),
        "y": random.random(rows),
        "text": np.array(["ab" * (row % 7) for row in range(rows)]),
        "label": np.arange(rows) % CLASSES,
        "sign": np.arange(rows) % 2,
        "rare": np.arange(rows) % 4 // 3,
    }


def prepared(features: Features, rows: int = 24) -> Data:
    return load_encoded(Arrays(columns=columns(rows), valid=6, test=6, seed=None), features, identity="", cache=None)


def images(**target: Any) -> Features:
    label = Label(**{"key": "label", **target})
    return Features({"target": label}, {"image": Image(key="image")}, {"image": ("image",)})


MLP = {"_target_": "components.architecture.MLP", "widths": (4,)}


class Session:
    """A program with its data and its training state."""

    def __init__(self, static: dict[str, Any], features: Features, data: Data, **numbers: float) -> None:
        self.data, self.program = data, Program(static, features, data.constants)
        self.program_inputs = ProgramInputs(
            numbers_to_arrays({"learning_rate": 0.1, **numbers}, seed=0),
            {name: dict(constant.device) for name, constant in data.constants.items()},
        )
        self.batches = Batches(data)
        chunk = next(iter(self.batches.chunks(data.splits["train"][:4], 4, 1)))
        self.state = self.program.init(self.program_inputs, chunk.data, chunk.rows[0])

    def change(self, **numbers: float) -> None:
        """Changes numbers of the program."""
        changed = {name: np.float32(value) for name, value in numbers.items()}
        self.program_inputs = self.program_inputs._replace(numbers={**self.program_inputs.numbers, **changed})

    def train(self, *, rows: np.ndarray | None = None, steps: int = 1, batch: int = 4) -> list[Any]:
        """Trains an epoch. Returns the metric sums of each dispatch."""
        all_sums = []
        for chunk in self.batches.chunks(self.data.splits["train"] if rows is None else rows, batch, steps):
            self.state, sums = self.program.train(
                self.program_inputs,
                self.state,
                chunk.data,
                chunk.rows,
                np.int32(chunk.steps),
                RateInputs(np.int32(9), np.int32(3), np.float32(1)),
            )
            all_sums.append(jax.device_get(sums))
        return all_sums

    def evaluate(self, split: str, batch: int = 4) -> dict[str, float]:
        """The metrics of a split."""
        metrics = self.program.build_parts(self.program_inputs).metrics
        weights = self.state.parameters, self.state.model_state
        sums = [
            self.program.evaluate(self.program_inputs, *weights, chunk.data, chunk.rows[0], chunk.mask)[0]
            for chunk in self.batches.chunks(self.data.splits[split], batch, 1, pad=True)
        ]
        return compute_metrics(add_sums({}, sums, metrics), metrics, split, {})


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_a_training_step_equals_one_written_by_hand() -> None:
    features = images()
    session = Session(static(MLP), features, prepared(features))
    before = jax.device_get(session.state.parameters)
    rows = session.data.splits["train"][:4]
    image = session.data.encoded["image"]["values"][rows].astype(np.float32) / 255
    label = session.data.encoded["target"]["ids"][rows]

    def loss(parameters: Any) -> jax.Array:
        hidden = jax.nn.relu(
            image.reshape(4, -1) @ parameters["dense_0"]["kernel"] + parameters["dense_0"]["bias"][None]
        )
        logits = hidden @ parameters["head"]["kernel"] + parameters["head"]["bias"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    value, gradients = jax.value_and_grad(loss)(before["architecture"])
    (sums,) = session.train(rows=rows)
    expected = jax.tree.map(lambda p, g: p - 0.1 * np.asarray(g), before["architecture"], gradients)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        session.state.parameters["architecture"],
        expected,
    )
    assert sums["loss"]["sum"] / 4 == pytest.approx(float(value), rel=1e-5)
    assert "objective" not in sums  # without other terms it equals the loss


def test_another_number_changes_the_result_without_a_compilation() -> None:
    features = images()
    architecture = MLP | {"dropout": ScalarSlot("architecture.dropout")}
    session = Session(static(architecture), features, prepared(features), **{"architecture.dropout": 0.0})
    session.train()
    traces = session.program.train._cache_size()
    before = leaves(session.state.parameters)
    session.change(learning_rate=1, **{"architecture.dropout": 0.5})
    session.train()
    assert session.program.train._cache_size() == traces
    assert any((a != b).any() for a, b in zip(before, leaves(session.state.parameters), strict=True))


def test_many_steps_in_one_dispatch_equal_single_steps() -> None:
    features = images()
    single, many = (Session(static(MLP), features, prepared(features)) for _ in range(2))
    step_sums, all_sums = single.train(steps=1), many.train(steps=64)
    assert len(all_sums) == 1
    for a, b in zip(leaves(single.state), leaves(many.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert all_sums[0]["accuracy"]["examples"] == sum(sums["accuracy"]["examples"] for sums in step_sums) == 12
    assert all_sums[0]["loss"]["sum"] == pytest.approx(sum(sums["loss"]["sum"] for sums in step_sums), rel=1e-5)


def test_the_options_of_the_compiler_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    features = images()
    ordered = Session(static(MLP), features, prepared(features))
    assert training_options() == ORDERED_OPERATIONS
    monkeypatch.setattr("runner.program.program.training_options", dict)
    plain = Session(static(MLP), features, prepared(features))
    for session in (ordered, plain):
        session.train(steps=64)
    assert all((a == b).all() for a, b in zip(leaves(ordered.state), leaves(plain.state), strict=True))


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.program.dispatch.ORDERED_OPERATIONS", {"xla_cpu_no_such_option": True})
    with buffer_log() as log:
        assert training_options.__wrapped__() == {}
        assert "xla_cpu_no_such_option" in log.buffer[0].getMessage()


def test_a_dispatch_of_many_steps_traces_one(monkeypatch: pytest.MonkeyPatch) -> None:
    features, traces, step = images(), list[int](), Program._step

    def count(*arguments: Any, **options: Any) -> Any:
        traces.append(1)
        return step(*arguments, **options)

    monkeypatch.setattr(Program, "_step", count)
    Session(static(MLP), features, prepared(features)).train(steps=2)
    assert len(traces) == 1


def test_padding_does_not_change_the_metrics_of_an_evaluation() -> None:
    features = images()
    session = Session(static(MLP), features, prepared(features))
    whole, padded = session.evaluate("valid", batch=6), session.evaluate("valid", batch=4)
    assert whole == pytest.approx(padded, rel=1e-6)
    assert set(whole) == {"valid/loss", "valid/accuracy"}


def test_the_first_step_with_an_infinite_objective_is_recorded() -> None:
    features = images()
    session = Session(static(MLP), features, prepared(features))
    session.change(learning_rate=float("inf"))
    assert [sums["last"]["first_bad"].item() for sums in session.train()] == [-1, 1, 1]


def test_class_weights_change_the_loss_but_not_the_metrics() -> None:
    features = images(key="rare", weight="balanced")
    data = prepared(features)
    weights = data.constants["target"].device["weight"]
    session = Session(static(MLP), features, data)
    session.change(learning_rate=0)
    assert weights.tolist() == pytest.approx([2 / 3, 2])
    unweighted_session = Session(static(MLP), images(key="rare"), prepared(images(key="rare")))
    unweighted_session.change(learning_rate=0)
    rows = np.flatnonzero(data.encoded["target"]["ids"] == 1)[:2]
    (weighted,) = session.train(rows=rows, batch=2)
    (unweighted,) = unweighted_session.train(rows=rows, batch=2)
    assert weighted["loss"]["sum"] == pytest.approx(unweighted["loss"]["sum"] * weights[1], rel=1e-5)
    assert weighted["accuracy"] == unweighted["accuracy"]
    assert weighted["loss"]["count"] == 2  # the objective is divided by the number of examples, not by their weights


def test_a_table_with_a_cross_of_columns_feeds_two_inputs() -> None:
    from parts import Bucket, Cross  # type: ignore[import-not-found]

    features = Features(
        {"target": Label(key="label")},
        {
            "x": Numeric(key="x", normalize="z_score"),
            "a": Bucket(key="x", buckets=3),
            "b": Bucket(key="y", buckets=4),
            "a_x_b": Cross(of=("a", "b"), buckets=5),
        },
        {"wide": ("a_x_b", "b"), "deep": ("x", "a")},
    )
    session = Session(static({"_target_": "parts.WideDeep"}), features, prepared(features))
    kernels = {leaf.shape for leaf in leaves(session.state.parameters) if leaf.ndim == 2}
    assert kernels == {(4, 8), (8, CLASSES), (9, CLASSES)}
    session.train()
    assert 0 <= session.evaluate("test")["test/accuracy"] <= 1


def test_texts_are_padded_to_the_longest_of_the_batch_and_masked() -> None:
    from parts import Tokens

    features = Features({"target": Label(key="label")}, {"text": Tokens(key="text")}, {"text": ("text",)})
    session = Session(static({"_target_": "parts.MeanEmbedding"}), features, prepared(features))
    assert session.batches.device_data is None
    session.train()
    losses = [session.evaluate("valid", batch=batch)["valid/loss"] for batch in (1, 6)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    widths = {chunk.data["text"]["ids"].values.shape[1] for chunk in session.batches.chunks(np.arange(24), 1, 1)}
    assert widths == {8, 12}


def test_the_objective_adds_auxiliary_and_internal_losses_and_penalties_to_the_loss() -> None:
    features = images()
    penalty = {"l2": {"_target_": "components.regularizer.L2", "strength": ScalarSlot("regularizer.l2.strength")}}
    session = Session(
        static({"_target_": "parts.TwoHeads", "weight": 0.5}, regularizer=penalty),
        features,
        prepared(features),
        **{"regularizer.l2.strength": 0.1},
    )
    parameters = jax.device_get(session.state.parameters)
    parts = session.program.build_parts(session.program_inputs)
    rows = session.data.splits["train"][:4]
    encoded = {"image": {"values": session.data.encoded["image"]["values"][rows]}}
    _, output = parts.model.apply({"params": parameters}, encoded, session.program_inputs.constants, train=True)
    loss = SoftmaxCrossEntropy()
    label = session.data.encoded["target"]["ids"][rows]
    expected = (
        loss(output.logits, label).mean()
        + 0.5 * loss(output.auxiliary[0][1]["target"], label).mean()
        + output.losses["activity"].mean()
        + parts.regularizers["l2"](parameters)
    )
    (sums,) = session.train(rows=rows)
    assert sums["objective"]["sum"] / 4 == pytest.approx(float(expected), rel=1e-5)
    assert sums["loss"]["sum"] / 4 == pytest.approx(float(loss(output.logits, label).mean()), rel=1e-5)


def test_augmentations_change_every_training_batch_but_no_evaluation() -> None:
    features = images()
    crop = {"_target_": "components.augmentation.Crop", "padding": 1, "fill": ScalarSlot("augmentation.crop.fill")}
    flip = {"_target_": "components.augmentation.Flip", "probability": 0.5}

    def losses(**augmentation: Any) -> tuple[list[float], float]:
        session = Session(
            static(MLP, augmentation=augmentation),
            features,
            prepared(features),
            **{"augmentation.crop.fill": 0.0, "learning_rate": 0.0},
        )
        step_sums = [session.train(rows=session.data.splits["train"][:4])[0] for _ in range(3)]
        return [float(sums["loss"]["sum"]) for sums in step_sums], session.evaluate("valid")["valid/loss"]

    (plain, plain_evaluation), (augmented, evaluation) = losses(), losses(crop=crop, flip=flip)
    assert len(set(plain)) == 1
    assert len(set(augmented)) == 3
    assert evaluation == plain_evaluation


def test_the_learning_rate_of_a_step_is_that_of_the_schedule_at_the_step_counted_from_0() -> None:
    halving = {"_target_": "components.schedule.exponential", "decay_rate": 0.5, "decay_steps": "1st"}
    features = images()
    session = Session(
        static(MLP, schedule=halving | {"learning_rate": ScalarSlot("learning_rate")}), features, prepared(features)
    )
    dispatches = session.train(steps=2)  # steps 0 and 1, then step 2
    assert [sums["last"]["learning_rate"].item() for sums in dispatches] == pytest.approx([0.05, 0.025])


def test_dropout_depends_on_seed_and_step_and_is_off_in_evaluation() -> None:
    features = images()
    session = Session(static(MLP | {"dropout": 0.5}), features, prepared(features), learning_rate=0)
    evaluated = set()

    def losses(seed: int) -> list[float]:
        """The losses of three steps on the same examples with the same parameters."""
        session.program_inputs = session.program_inputs._replace(
            numbers={**session.program_inputs.numbers, "seed": np.uint32(seed)}
        )
        session.state = session.state._replace(step=jax.numpy.int32(0))
        evaluated.add(session.evaluate("valid")["valid/loss"])
        return [session.train(rows=session.data.splits["train"][:4])[0]["loss"]["sum"].item() for _ in range(3)]

    first, other = losses(seed=0), losses(seed=1)
    assert len({*first, *other}) == 6
    assert losses(seed=0) == first
    assert len(evaluated) == 1


def test_a_metric_that_collects_is_computed_in_evaluation_only() -> None:
    features = Features({"target": Label(key="sign")}, {"x": Numeric(key="x")}, {"x": ("x",)})
    session = Session(
        static(
            MLP,
            loss={"_target_": "components.loss.BinaryCrossEntropy"},
            metric={"area": {"_target_": "parts.AreaUnderCurve"}},
        ),
        features,
        prepared(features),
    )
    assert "area" not in session.train()[0]
    area = session.evaluate("test", batch=4)["test/area"]
    assert 0 <= area <= 1
    assert area == session.evaluate("test", batch=6)["test/area"]


def test_the_constants_of_five_folds_share_one_compilation() -> None:
    features = Features({"target": Label(key="label")}, {"x": Numeric(key="x", normalize="z_score")}, {"x": ("x",)})
    data = prepared(features, rows=25)
    session = Session(static(MLP), features, data)
    session.train(rows=np.arange(20), batch=5)
    traces = session.program.train._cache_size()
    for fold in range(5):
        rows = np.setdiff1d(np.arange(25), np.arange(fold * 5, fold * 5 + 5))
        values = data.encoded["x"]["values"][rows]
        constants = {"x": {"offset": values.mean(0), "divisor": values.std(0)}}
        session.program_inputs = session.program_inputs._replace(
            constants={**session.program_inputs.constants, **constants}
        )
        session.train(rows=rows, batch=5)
    assert session.program.train._cache_size() == traces


def test_streamed_chunks_equal_those_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(images())
    on_device = Batches(data)
    monkeypatch.setattr("runner.data.batches.MAX_DEVICE_BYTES", 0)
    streamed = Batches(data)
    assert streamed.device_data is None
    rows = data.splits["train"]
    for start in range(4):
        pairs = zip(on_device.chunks(rows, 4, 2, start=start), streamed.chunks(rows, 4, 2, start=start), strict=True)
        for a, b in pairs:
            assert (a.steps, a.mask.tolist()) == (b.steps, b.mask.tolist())
            for step in range(a.steps):
                np.testing.assert_array_equal(
                    np.asarray(a.data["image"]["values"])[a.rows[step]],
                    b.data["image"]["values"][b.rows[step]],
                )


@pytest.mark.parametrize("streamed", [False, True])
def test_an_epoch_that_starts_at_a_step_has_the_rest_of_the_examples(
    monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    if streamed:
        monkeypatch.setattr("runner.data.batches.MAX_DEVICE_BYTES", 0)
    batches = Batches(prepared(images()))
    labels = batches.encoded["target"]["ids"]
    for start in range(5):
        seen = []
        for chunk in batches.chunks(np.arange(14), 4, 2, start=start):
            taken = np.asarray(chunk.data["target"]["ids"])[chunk.rows[: chunk.steps]]
            seen += taken[:, chunk.mask].reshape(-1).tolist()
        assert seen == labels[4 * start : 14].tolist()


def test_data_with_another_identity_replaces_the_data_on_the_device() -> None:
    data = prepared(images())
    reversed_rows = {name: {key: array[::-1] for key, array in arrays.items()} for name, arrays in data.encoded.items()}
    for current in (data, replace(data, encoded=reversed_rows)):
        device_data = Batches(replace(current, encoding_id=f"{id(current)}")).device_data
        np.testing.assert_array_equal(device_data["target"]["ids"], current.encoded["target"]["ids"])


def test_each_augmentation_has_its_own_random_key() -> None:
    mirrored = jax.random.uniform(jax.random.key(0), (32, 4, 4, 1))
    batch = Batch({"image": mirrored}, {"target": jnp.zeros(32, int)}, {}, None, jnp.ones(32, bool))
    flip = BatchAugmentation(Flip(), evaluates=False, adds_inputs=False, keeps_targets=False)
    inputs = augment({"one": flip, "two": flip}, jax.random.key(1), batch).inputs
    changed = (np.asarray(inputs["image"]) != np.asarray(mirrored)).any((1, 2, 3))
    assert 0 < changed.sum() < 32, "the second flip would undo the first if both had one key"


def test_configurations_that_differ_only_in_numbers_share_one_program() -> None:
    features = images()
    constants = prepared(features).constants
    base = static(MLP, feature={}, training={"microbatches": 1})
    program = get_program(base, features, constants)
    assert get_program(static(MLP, feature={}, training={"microbatches": 1}), features, constants) is program
    outside = {"data", "weights", "teacher", "observer", "tracking", "sweep", "experiment"}
    for group in read_default_options().keys() - outside:
        assert get_program(base | {group: {"other": 1}}, features, constants) is not program, group
    assert get_program(base | {"training": {"microbatches": 2}}, features, constants) is not program
    assert get_program(base, features, constants, program) is not program  # as the program of its teacher
    other_classes = constants["target"]._replace(static={"classes": ("a", "b")})
    assert get_program(base, features, {**constants, "target": other_classes}) is not program


@pytest.mark.usefixtures("in_empty_folder")
def test_the_error_for_an_array_that_no_machine_holds_names_the_parameter() -> None:
    with pytest.raises(
        UserError, match=r"`.*kernel` would have the shape \(1000000000, 1000000000\), too large for any machine"
    ):
        runner.run(
            "experiment=digits_mlp", "architecture.widths=[1000000000,1000000000]", "tracking=none", "quiet=true"
        )


@pytest.mark.usefixtures("in_empty_folder")
def test_the_error_for_a_size_that_jax_cannot_count_names_its_key() -> None:
    with pytest.raises(UserError, match=rf"architecture: widths\.1: {2**63} is too large\. Sizes are smaller than"):
        runner.run("experiment=digits_mlp", f"architecture.widths=[8,{2**63}]", "tracking=none", "quiet=true")
