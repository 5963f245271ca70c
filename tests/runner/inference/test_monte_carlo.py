"""Monte Carlo dropout: the mean of samples equals that of a plain loop, and the metrics are those of the mean."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

import runner
from components.data import Arrays
from components.types import UserError
from runner.__main__ import main
from runner.execution.execute import Result
from runner.inference.predict_fn import check_mc_samples
from runner.inference.predictions import Predictions
from runner.inference.trained_model import TrainedModel
from runner.program.forward import random_key
from runner.program.monte_carlo import make_streams
from runner.training.evaluator import Evaluator

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

ROWS, HELD_OUT, SAMPLES = 48, 12, 7
QUICK = ("training.epochs=1", "training.batch_size=24", "tracking=none", "quiet=true", "intervals=null")
NETWORK = ("architecture=mlp", "architecture.widths=[8]", "architecture.dropout=0.4")
RANDOM = np.random.default_rng(0)
COLUMNS: dict[str, Any] = {
    "x": RANDOM.normal(5, 3, ROWS),
    "z": RANDOM.normal(size=ROWS),
    "kind": np.array(["cat", "dog", "eel"])[np.arange(ROWS) % 3],
    "sick": np.arange(ROWS) % 2 == 0,
    "tags": np.array(["new", "new old", "old", "old far"])[np.arange(ROWS) % 4],
    "price": np.exp(RANDOM.normal(size=ROWS)),
}
SPREAD = {"std", "entropy", "mutual_information"}


def source() -> Arrays:
    return Arrays(columns=COLUMNS, valid=HELD_OUT, test=HELD_OUT, seed=0)


def train(
    folder: Path, target: str, loss: str, *words: str, metric: str, network: Sequence[str] = NETWORK
) -> TrainedModel:
    """A network with dropout, which predicts a column of the table from `x` and `z`."""
    file = folder / "conf/feature/own.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    number = "{_target_: components.feature.Numeric, key: %s}"
    columns = "\n".join(f"  {name}: {number % name}" for name in "xz")
    file.write_text(f"columns:\n{columns}\ninputs: {{x: [x, z]}}\ntarget: {target}\n")
    chosen = ("feature=own", f"loss={loss}", f"metric=[{metric}]", "optimizer=sgd", *network)
    result: Result = runner.run(*chosen, *QUICK, *words, source=source())
    return runner.load(result.folder, data=source())


def draw_logits(model: TrainedModel, split: str) -> np.ndarray:
    """The logits of each sample, (samples, N, outputs), by a plain loop over all rows of a split as one batch."""
    evaluator = model._evaluator_for(split)
    inputs, weights = evaluator.program_inputs, model.weights
    parts, key = evaluator.program.build_parts(inputs), random_key(inputs, "mc", 0)
    rows = evaluator.data.splits[split]
    encoded = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], dict(evaluator.data.encoded))
    variables = {"params": weights.parameters, **weights.model_state}

    def apply(number: int) -> Any:
        streams = make_streams(jax.random.fold_in(key, number))
        only_inputs = {name: each for name, each in encoded.items() if name in parts.model.columns}
        applied: Any = parts.model.apply(variables, only_inputs, inputs.constants, train=False, rngs=streams)
        return applied[1].outputs["target"]

    return np.stack([apply(number) for number in range(SAMPLES)]).astype(np.float64)


CLASS = "{_target_: components.feature.Label, key: %s}"
LABELS = "{_target_: components.feature.Labels, key: tags, separator: ' '}"
PRICE = "{_target_: components.feature.Numeric, key: price, normalize: [log, z_score]}"


def check_classes(predictions: Predictions, probabilities: np.ndarray) -> None:
    """Compares predictions with probabilities of samples, (samples, N, classes)."""
    mean = probabilities.mean(0)
    np.testing.assert_allclose(predictions.probabilities, mean, rtol=2e-5)
    np.testing.assert_allclose(predictions.spread["std"], probabilities.std(0), rtol=1e-3, atol=1e-6)
    entropy = scipy.stats.entropy(mean, axis=-1)
    np.testing.assert_allclose(predictions.spread["entropy"], entropy, rtol=1e-5)
    information = entropy - scipy.stats.entropy(probabilities, axis=-1).mean(0)
    np.testing.assert_allclose(predictions.spread["mutual_information"], information, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("key", "loss"), [("kind", "softmax_cross_entropy"), ("sick", "binary_cross_entropy")])
def test_samples_of_classes_are_those_of_a_plain_loop(key: str, loss: str, in_empty_folder: Path) -> None:
    model = train(in_empty_folder, CLASS % key, loss, metric="accuracy")
    logits = draw_logits(model, "test")
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    probabilities = scipy.special.softmax(logits, axis=-1)
    predictions = model.predict("test", mc_samples=SAMPLES)
    assert isinstance(predictions, Predictions)
    check_classes(predictions, probabilities)
    assert predictions.classes is not None
    assert predictions.target is not None
    index = [predictions.classes.index(value) for value in predictions.target.tolist()]
    own = probabilities.mean(0)[np.arange(HELD_OUT), index]
    metrics = model.evaluate("test", mc_samples=SAMPLES)
    assert metrics["test/loss"] == pytest.approx(-np.log(own).mean(), rel=1e-5)
    assert metrics["test/accuracy"] == pytest.approx(np.mean(predictions.prediction == predictions.target))


def test_samples_of_labels_are_those_of_a_plain_loop(in_empty_folder: Path) -> None:
    model = train(in_empty_folder, LABELS, "binary_cross_entropy", metric="accuracy")
    probabilities = scipy.special.expit(draw_logits(model, "test"))
    predictions = model.predict("test", mc_samples=SAMPLES)
    np.testing.assert_allclose(predictions.probabilities, probabilities.mean(0), rtol=2e-5)
    np.testing.assert_allclose(predictions.spread["std"], probabilities.std(0), rtol=1e-3, atol=1e-6)

    def entropy(values: np.ndarray) -> np.ndarray:
        return scipy.stats.entropy(np.stack([values, 1 - values]), axis=0).sum(-1)

    np.testing.assert_allclose(predictions.spread["entropy"], entropy(probabilities.mean(0)), rtol=1e-5)
    information = entropy(probabilities.mean(0)) - np.mean([entropy(each) for each in probabilities], axis=0)
    np.testing.assert_allclose(predictions.spread["mutual_information"], information, rtol=1e-3, atol=1e-6)


def test_samples_of_numbers_are_those_of_a_plain_loop_in_the_unit_of_the_data(in_empty_folder: Path) -> None:
    model = train(in_empty_folder, PRICE, "mse", metric="rmse")
    logits = draw_logits(model, "test")
    decode = model.targets["target"].decode
    predictions = model.predict("test", mc_samples=SAMPLES)
    np.testing.assert_allclose(predictions.prediction, decode(logits.mean(0))[:, 0], rtol=1e-5)
    np.testing.assert_allclose(predictions.spread["std"], decode(logits).std(0)[:, 0], rtol=1e-3)
    assert predictions.spread.keys() == {"std"}
    error = np.sqrt(np.mean((predictions.prediction - predictions.target) ** 2))
    assert model.evaluate("test", mc_samples=SAMPLES)["test/rmse"] == pytest.approx(error, rel=1e-5)


def test_new_rows_and_files_have_the_columns_of_the_spread(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = train(in_empty_folder, CLASS % "kind", "softmax_cross_entropy", metric="accuracy")
    rows = {name: COLUMNS[name] for name in "xz"}
    predictions = model.predict(rows, mc_samples=200)
    assert list(predictions.columns())[-5:] == ["std_cat", "std_dog", "std_eel", "entropy", "mutual_information"]
    again = model.predict(rows, mc_samples=200)
    np.testing.assert_array_equal(predictions.probabilities, again.probabilities)  # the seed is that of the run
    # Other batches have other random numbers, and nearly the same mean.
    monkeypatch.setattr(model._predict_fn, "max_batch_size", 16)
    batches = [*model.predict_in_batches(rows, mc_samples=200)]
    joined = np.concatenate([each.probabilities for each in batches])
    assert (joined != predictions.probabilities).any()
    np.testing.assert_allclose(joined, predictions.probabilities, atol=0.08)
    assert {*predictions.spread} == SPREAD
    assert model.predict(rows).spread == {}


LAYERS = (
    "[{_target_: components.layer.Dense, features: 8}, {_target_: components.layer.BatchNorm}, "
    "{_target_: components.layer.AlphaDropout, rate: 0.2}, {_target_: flax.linen.Dropout, rate: 0.5}]"
)


def test_alpha_dropout_alone_draws_too(in_empty_folder: Path) -> None:
    layers = "[{_target_: components.layer.AlphaDropout, rate: 0.4}]"
    words = ("architecture=sequential", f"architecture.layers={layers}")
    model = train(in_empty_folder, CLASS % "kind", "softmax_cross_entropy", metric="accuracy", network=words)
    predictions = model.predict({name: COLUMNS[name] for name in "xz"}, mc_samples=SAMPLES)
    assert (predictions.spread["std"] > 0).all()
    assert (predictions.spread["mutual_information"] > 0).any()


def test_layers_of_flax_drop_too_and_batch_normalization_stays_in_inference(in_empty_folder: Path) -> None:
    words = ("architecture=sequential", f"architecture.layers={LAYERS}")
    model = train(in_empty_folder, CLASS % "kind", "softmax_cross_entropy", metric="accuracy", network=words)
    plain, sampled = model.predict("test"), model.predict("test", mc_samples=SAMPLES)
    assert (sampled.spread["std"] > 0).all()
    # Were batch normalization in training, each example would depend on the others, and its state would change.
    check_classes(sampled, scipy.special.softmax(draw_logits(model, "test"), axis=-1))
    np.testing.assert_array_equal(model.predict("test").probabilities, plain.probabilities)


def test_a_network_without_dropout_is_an_error(in_empty_folder: Path) -> None:
    words = ("architecture.dropout=null",)
    model = train(in_empty_folder, CLASS % "kind", "softmax_cross_entropy", *words, metric="accuracy")
    rows = {"x": [1.0], "z": [1.0]}
    for run in (partial(model.predict, "test"), partial(model.evaluate, "test"), partial(model.predict, rows)):
        with pytest.raises(UserError, match=r"architecture.*draws no random numbers, so all samples would be equal"):
            run(mc_samples=3)


def test_an_evaluation_shows_how_samples_change_the_calibration(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
    Path("table.csv").write_text("\n".join(lines))
    data = ("data=csv", "data.path=table.csv", "data.target=kind", "data.test=12", "data.drop=[sick,tags,price]")
    result: Result = runner.run(*data, *NETWORK, *QUICK)
    assert main(["mode=evaluate", "run=last", "mc_samples=3", "intervals=null", "tracking=none"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    heading, plain, mean = rows[[row[0] for row in rows].index("split") :][:3]
    assert heading[-1] == "expected_calibration_error"
    predictions = runner.load(result.folder).predict("test")
    assert isinstance(predictions, Predictions)
    confidence = np.asarray(predictions.probabilities).max(1)
    bins = np.ceil(confidence * 15)
    is_right = predictions.prediction == predictions.target
    gaps = [abs((is_right[bins == each] - confidence[bins == each]).sum()) for each in np.unique(bins)]
    assert float(plain[-1]) == pytest.approx(sum(gaps) / 12, rel=1e-4)
    assert plain[-1] != mean[-1]
    assert (result.folder / "figures/calibration_mc_dropout_test.png").read_bytes()[:4] == b"\x89PNG"


def test_metrics_of_samples_need_no_evaluation_without_them(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = train(in_empty_folder, CLASS % "kind", "softmax_cross_entropy", metric="accuracy")
    given = []
    evaluate = Evaluator.evaluate_means

    def count(self: Evaluator, *arguments: Any, **options: Any) -> Any:
        given.append(arguments[3])
        return evaluate(self, *arguments, **options)

    monkeypatch.setattr(Evaluator, "evaluate_means", count)
    model.evaluate("test", mc_samples=2)
    assert len(given) == 1
    assert given[0] is not None


@pytest.mark.parametrize("number", [0, 1, -3, True, 2.5])
def test_a_number_of_samples_that_makes_no_sense_is_an_error(number: Any) -> None:
    with pytest.raises(UserError, match=r"mc_samples is .*whole number, 2 or more"):
        check_mc_samples(number)


@pytest.mark.parametrize("number", [0, 1])
def test_a_command_with_too_few_samples_names_the_range(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=evaluate", "run=last", f"mc_samples={number}"]) == 2
    assert f"mc_samples: {number} is not a whole number in [2, 100000] or null" in capsys.readouterr().err


def test_samples_are_for_finished_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=digits_mlp", "mc_samples=10"]) == 2
    assert "mc_samples: is allowed for mode=evaluate and mode=predict only" in capsys.readouterr().err
