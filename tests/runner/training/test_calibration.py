"""Temperature scaling: the temperature that is fitted, and a run that keeps it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import runner
from components.data import Arrays
from components.types import UserError
from runner.display.numbers import format_number
from runner.errors import ConfigError
from runner.execution.execute import Result
from runner.run_folder import read_summary
from runner.training.calibration import BOUNDS, fit_temperature

pytestmark = pytest.mark.optax

RUN = (
    "feature=breast_cancer",
    "architecture.widths=[5]",
    "training.epochs=2",
    "tracking=none",
    "quiet=true",
    "intervals=null",
)
CALIBRATED = (*RUN, "calibrate=temperature")


def cross_entropy(logits: np.ndarray, target: np.ndarray, temperature: float) -> float:
    """The mean cross-entropy of class ids, or of labels, by its definition."""
    z = logits.astype(np.float64) / temperature
    if target.ndim == 2:
        return float(np.mean(np.logaddexp(0, -np.where(target == 1, z, -z))))
    return float(np.mean(np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), target]))


@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(0.2, 5), st.booleans())
def test_the_temperature_has_the_lowest_cross_entropy(seed: int, classes: int, scale: float, has_labels: bool) -> None:
    random = np.random.default_rng(seed)
    logits = (scale * random.normal(size=(40, classes))).astype(np.float32)
    noisy = logits + scale * random.gumbel(size=logits.shape)
    target = (noisy > 0).astype(np.int32) if has_labels else noisy.argmax(1)
    found = fit_temperature(logits, target)
    lowest = cross_entropy(logits, target, found)
    others = [found * 1.02, found / 1.02, *BOUNDS]
    assert all(lowest <= cross_entropy(logits, target, other) for other in others if BOUNDS[0] <= other <= BOUNDS[1])


def test_one_logit_is_that_of_the_second_class() -> None:
    random = np.random.default_rng(0)
    logit = random.normal(size=(50, 1)).astype(np.float32)
    target = (random.random(50) < 1 / (1 + np.exp(-logit[:, 0] / 3))).astype(int)
    both = np.concatenate([np.zeros_like(logit), logit], axis=1)
    assert fit_temperature(logit, target) == pytest.approx(fit_temperature(both, target))


def test_classes_that_the_logits_separate_have_the_lowest_temperature() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert fit_temperature(logits, np.array([0, 1])) == BOUNDS[0]
    assert fit_temperature(logits, np.array([1, 0])) == BOUNDS[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Result]:
    """A run without and with a temperature."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("calibration"))
        words = ("data=breast_cancer", "loss=binary_cross_entropy", "metric=[accuracy,auc]")
        return runner.run(*RUN, *words), runner.run(*CALIBRATED, *words)


def test_the_metrics_before_are_those_of_a_run_without_it(results: tuple[Result, Result]) -> None:
    plain, calibrated = (result.metrics for result in results)
    for name in ("loss", "accuracy", "auc"):
        assert calibrated[f"uncalibrated/test/{name}"] == plain[f"test/{name}"]
        assert calibrated[f"uncalibrated/valid/{name}"] == plain[f"best/valid/{name}"]
    assert calibrated["best/valid/loss"] < plain["best/valid/loss"]
    assert calibrated["test/auc"] == pytest.approx(plain["test/auc"])


def test_the_model_keeps_the_temperature(results: tuple[Result, Result]) -> None:
    plain, calibrated = (runner.load(result.folder) for result in results)
    temperature = results[1].metrics["temperature"]
    assert temperature != pytest.approx(1, rel=1e-3)
    assert calibrated.evaluate("valid")["valid/loss"] == results[1].metrics["best/valid/loss"]
    logit, scaled = (
        np.log(p / (1 - p)) for p in (each.predict("test").probabilities[:, 1] for each in (plain, calibrated))
    )
    np.testing.assert_allclose(scaled, logit / temperature, rtol=1e-3, atol=1e-3)


def test_the_note_has_the_losses_before_and_after(results: tuple[Result, Result]) -> None:
    plain, calibrated = results
    assert read_summary(plain.folder)["notes"] == []
    (note,) = read_summary(calibrated.folder)["notes"]
    before, after = (format_number(each.metrics["test/loss"]) for each in results)
    assert note.startswith("temperature ")
    assert note.endswith(f"test/loss {before} -> {after}")


def test_a_target_of_numbers_has_no_temperature() -> None:
    with pytest.raises(ConfigError, match=r"calibrate: a temperature needs a target of classes or labels"):
        runner.run("experiment=diabetes_mlp", "calibrate=temperature")


class WithoutValidation(Arrays):
    def splits(self) -> Mapping[str, np.ndarray]:
        return {"train": np.arange(15), "test": np.arange(15, 20)}


@pytest.mark.parametrize(
    "words", [("calibrate=temperature", "training.monitor=train/loss"), ("training.monitor=valid/loss",)]
)
def test_a_run_without_a_validation_split_can_not_use_it(words: tuple[str, ...], tmp_path: Path) -> None:
    source = WithoutValidation(columns={"image": np.zeros((20, 2, 2, 1), np.uint8), "label": np.arange(20) % 2})
    with pytest.raises(UserError, match=rf"{words[0]}: the data has no split valid, only train, test. .*=0.1, or set"):
        runner.run(*words, "training.batch_size=5", "tracking=none", "quiet=true", f"folder={tmp_path}", data=source)
