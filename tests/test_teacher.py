"""`teacher=run`: a run learns from the logits of a finished run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from slow import slow_but
from two_steps import interrupted_once

import runner
from components.data import Arrays
from components.types import Batch, Output, TargetSpec, UserError
from runner import npz
from runner.__main__ import main
from runner.execution import programs
from runner.execution.execute import Result
from runner.inference.predictions import Predictions

QUIET = ("tracking=none", "quiet=true")
SMALL = ("experiment=digits_mlp", "architecture.widths=[8]", "optimizer=sgd", *QUIET)
ONE_EPOCH = "training.epochs=1"


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("teacher")
    return runner.run(*SMALL, ONE_EPOCH, "learning_rate=0.5", f"folder={folder}").folder


@pytest.fixture(autouse=True)
def _in_folder(in_empty_folder: Path) -> None:
    pass


def distill(teacher: Path, *words: str, source: Arrays | None = None) -> Result:
    chosen = ("loss=distillation", "teacher=run", f"teacher.run={teacher}")
    return runner.run(*SMALL, ONE_EPOCH, *chosen, *words, source=source)


def log_probabilities(run: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The logarithms of the predicted probabilities, and the true classes."""
    predictions = runner.load(run).predict(split)
    assert isinstance(predictions, Predictions)
    assert predictions.probabilities is not None
    assert predictions.target is not None
    return np.log(np.asarray(predictions.probabilities, np.float64)), np.asarray(predictions.target)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.mark.parametrize(("share", "temperature"), slow_but([(0.3, 4.0)], [(1.0, 1.0), (0.3, 4.0)]))
def test_the_loss_is_that_of_the_paper(teacher_folder: Path, share: float, temperature: float) -> None:
    result = distill(teacher_folder, f"loss.share={share}", f"loss.temperature={temperature}")
    teacher, _ = log_probabilities(teacher_folder, "valid")
    student, labels = log_probabilities(result.folder, "valid")
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    divergence = (p * (np.log(p) - np.log(q))).sum(-1)
    of_labels = -student[np.arange(len(labels)), labels]
    expected = ((1 - share) * of_labels + share * temperature**2 * divergence).mean()
    assert result.records[-1]["valid/loss"] == pytest.approx(expected, rel=1e-4)
    assert runner.load(result.folder).evaluate("valid")["valid/loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_share_of_zero_is_training_without_a_teacher(teacher_folder: Path) -> None:
    plain, distilled = runner.run(*SMALL, ONE_EPOCH), distill(teacher_folder, "loss.share=0")
    assert distilled.records == plain.records


def test_a_changed_number_compiles_nothing(teacher_folder: Path) -> None:
    programs._PROGRAMS.clear()
    first = distill(teacher_folder, "loss.share=0.2", "loss.temperature=3")
    student = list(programs._PROGRAMS.values())[-1]
    compiled = student.train._cache_size()
    second = distill(teacher_folder, "loss.share=0.9", "loss.temperature=2")
    assert first.records != second.records
    assert len(programs._PROGRAMS) == 2  # the teacher's and the student's
    assert student.train._cache_size() == compiled


@pytest.mark.slow
def test_the_teacher_is_not_saved_with_the_student_and_a_resumed_run_is_the_same(teacher_folder: Path) -> None:
    whole = distill(teacher_folder, "training.epochs=2", "fresh=true")
    with interrupted_once():
        interrupted = distill(teacher_folder, "training.epochs=2", "fresh=true")
    resumed = distill(teacher_folder, "training.epochs=2")
    assert (interrupted.status, resumed.folder) == ("interrupted", interrupted.folder)
    assert resumed.records == whole.records
    (path,) = (whole.folder / "checkpoints").glob("step_*4.npz")
    assert not [name for name in npz.read(path).arrays if "teacher" in name]


@pytest.mark.slow
def test_another_teacher_is_another_run(teacher_folder: Path, tmp_path: Path) -> None:
    other = runner.run(*SMALL, ONE_EPOCH, "learning_rate=0.01", f"folder={tmp_path / 'other'}").folder
    copy = tmp_path / "teacher"
    shutil.copytree(teacher_folder, copy)
    with interrupted_once():
        first = distill(copy)
    shutil.rmtree(copy)
    shutil.copytree(other, copy)
    second = distill(copy)
    assert (first.status, second.status) == ("interrupted", "finished")
    assert second.folder != first.folder


def test_a_student_predicts_without_its_teacher(teacher_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "teacher"
    shutil.copytree(teacher_folder, copy)
    student = runner.load(distill(copy).folder)
    rows = {"image": np.zeros((2, 8, 8, 1), np.uint8)}
    before = student.predict(rows)
    shutil.rmtree(copy)
    assert isinstance(before, Predictions)
    after = runner.load(student.folder).predict(rows)
    assert isinstance(after, Predictions)
    np.testing.assert_array_equal(after.probabilities, before.probabilities)
    with pytest.raises(UserError, match=r"teacher.run=.*there is no such run"):
        runner.load(student.folder).evaluate("valid")


class MeanPixel(nn.Module):
    """Two logits: the mean of an image, and 0. Its only parameter is 1 at first."""

    outputs: int

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        scale = self.param("scale", nn.initializers.ones, ())
        mean = scale * image.mean((1, 2, 3))
        return Output(jnp.stack([mean, 0 * mean], axis=-1))


class DistanceOfInputs:
    """The difference of the teacher's logits and the mean of the pixels that the student gets."""

    def outputs(self, target: TargetSpec) -> int:
        return target.outputs

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        assert output.logits is not None
        teacher = batch.teacher["target"]
        return jnp.abs(teacher[:, 0] - batch.inputs["image"].mean((1, 2, 3))) + 0 * output.logits.sum(-1)


class TwoNumbers(nn.Module):
    """Two logits: the first input and three times the second, times a parameter that is 1 at first, and 0."""

    outputs: int

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array, *, train: bool) -> Output:
        total = self.param("scale", nn.initializers.ones, ()) * (first + 3 * second)[:, 0]
        return Output(jnp.stack([total, 0 * total], axis=-1))


class DistanceOfNumbers(DistanceOfInputs):
    """The difference of the teacher's logits and those of the student's inputs, which have the names of each other."""

    def __call__(self, output: Output, batch: Batch) -> jax.Array:
        assert output.logits is not None
        student = (batch.inputs["second"] + 3 * batch.inputs["first"])[:, 0]
        return jnp.abs(batch.teacher["target"][:, 0] - student) + 0 * output.logits.sum(-1)


FEATURE = """
target: {_target_: components.feature.Label, key: label}
columns:
  a: {_target_: components.feature.Numeric, key: a}
  b: {_target_: components.feature.Numeric, key: b}
inputs: {INPUTS}
"""


@pytest.mark.usefixtures("_own_parts")
@pytest.mark.slow
def test_the_teacher_gets_the_same_noise_whatever_the_names_of_its_inputs() -> None:
    Path("conf/feature").mkdir()
    inputs = {"forth": "first: [a], second: [b]", "swapped": "first: [b], second: [a]", "joined": "x: [b, a]"}
    for name, listed in inputs.items():
        Path(f"conf/feature/{name}.yaml").write_text(FEATURE.replace("INPUTS", listed))
    columns = {name: np.arange(24.0) for name in "ab"} | {"label": np.arange(24) % 2}
    source = Arrays(columns=columns, valid=8, test=8, seed=None)
    words = ("architecture=two_numbers", "metric=[]", "optimizer=sgd", "learning_rate=0", "training.batch_size=8")
    words = (*words, ONE_EPOCH, *QUIET)
    teacher = runner.run(*words, "feature=swapped", source=source).folder
    student = ("loss=distance_of_numbers", "teacher=run", "augmentation=[gaussian_noise]")
    result = runner.run(*words, "feature=forth", *student, f"teacher.run={teacher}", source=source)
    assert result.records[-1]["train/loss"] < 1e-5
    words = ("architecture=mlp", "architecture.widths=[2]", *words[1:], "feature=joined")
    joined = runner.run(*words, source=source).folder
    with pytest.raises(UserError, match=r"it has the inputs inputs \[b, a\], and this run inputs \[a, b\], which"):
        runner.run(
            *words, "feature.inputs.x=[a,b]", *student[1:], f"teacher.run={joined}", "loss=distillation", source=source
        )


def two_classes() -> Arrays:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(40) % 2}, valid=8, test=8)


OWN = ("architecture=mean", "metric=[]", "optimizer=sgd", "learning_rate=0", "training.batch_size=8", ONE_EPOCH)


@pytest.fixture
def _own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    module = __name__
    parts = {
        "architecture": {"mean": "MeanPixel", "two_numbers": "TwoNumbers"},
        "loss": {"distance": "DistanceOfInputs", "distance_of_numbers": "DistanceOfNumbers"},
    }
    for group, name, part in ((group, *item) for group, own in parts.items() for item in own.items()):
        Path("conf", group).mkdir(parents=True, exist_ok=True)
        Path("conf", group, f"{name}.yaml").write_text(f"_target_: {module}.{part}\n")
    monkeypatch.setenv("TITRATE_ALLOW", module)


@pytest.mark.slow
@pytest.mark.usefixtures("_own_parts")
@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize("mixing", ["", ",mixup"])
def test_the_teacher_gets_the_augmented_inputs(microbatches: int, mixing: str) -> None:
    teacher = runner.run(*OWN, *QUIET, source=two_classes())
    result = runner.run(
        *OWN,
        *QUIET,
        "loss=distance",
        "teacher=run",
        f"teacher.run={teacher.folder.name}",
        f"augmentation=[gaussian_noise{mixing}]",
        f"training.microbatches={microbatches}",
        source=two_classes(),
    )
    assert result.records[-1]["train/loss"] < 1e-6
    assert result.records[-1]["valid/loss"] < 1e-6


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*SMALL, ONE_EPOCH, *words]) == 2
    return capsys.readouterr().err


DISTILLED = ["loss=distillation", "teacher=run"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=distillation"], r"loss: components.loss.Distillation needs a teacher. Add teacher=run teacher.run=RUN"),
        (["teacher=run", "teacher.run=TEACHER"], r"teacher: no loss reads it. Choose loss=distillation"),
        (DISTILLED, r"teacher.run: has no value yet"),
        ([*DISTILLED, "teacher.run=last"], r"teacher.run: last is another run after each command. Name the run"),
        ([*DISTILLED, "teacher.run=nothing"], r"teacher.run: nothing: there is no such run below outputs"),
        (
            [*DISTILLED, "teacher.run=TEACHER", "feature=normalized"],
            r"teacher.run: .* encodes the column image in another way. .* 'key': 'image'",
        ),
        ([*DISTILLED, "teacher.run=TEACHER", "loss.temperature=0"], r"loss.temperature: .*0"),
        ([*DISTILLED, "teacher.run=TEACHER", "loss.share=1.5"], r"loss.share: .*1.5"),
    ],
    ids=["no teacher", "no loss", "no value", "last", "unknown", "columns", "temperature", "share"],
)
def test_a_wrong_teacher_is_an_error_before_jax(
    words: list[str],
    message: str,
    teacher_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/normalized.yaml").write_text(
        "target: {_target_: components.feature.Label, key: label}\n"
        "columns: {image: {_target_: components.feature.Image, key: image, mean: [0.5], std: [0.5]}}\n"
        "inputs: {image: [image]}\n"
    )
    monkeypatch.setattr("runner.execution.prepare.load_data", lambda *_: pytest.fail("the data is loaded"))
    found = error_of([word.replace("TEACHER", str(teacher_folder)) for word in words], capsys)
    assert re.search(message, found), found


def test_a_teacher_of_other_classes_is_an_error() -> None:
    columns = two_classes().columns
    words = [*QUIET, ONE_EPOCH, "architecture.widths=[4]", "optimizer=sgd", "training.batch_size=8"]
    teacher = runner.run(*words, source=two_classes())
    three = Arrays(columns={**columns, "label": np.arange(40) % 3}, valid=8, test=8)
    words += ["loss=distillation", "teacher=run", f"teacher.run={teacher.folder}"]
    with pytest.raises(UserError, match=r"teacher.run: its target is 0, 1, and that of this run 0, 1, 2"):
        runner.run(*words, source=three)


@pytest.mark.parametrize("words", [["data.seed=5"], ["data.valid=0.3"], ["folds=3", "fold=0"]], ids=" ".join)
def test_a_teacher_of_another_split_is_an_error(words: list[str], teacher_folder: Path) -> None:
    with pytest.raises(UserError, match=r"teacher.run: it was trained on other data, or on another split, so it may"):
        distill(teacher_folder, *words)


@pytest.mark.slow
def test_a_student_is_evaluated_on_new_rows() -> None:
    words = [*QUIET, ONE_EPOCH, "architecture.widths=[4]", "optimizer=sgd", "training.batch_size=8"]
    teacher = runner.run(*words, source=two_classes())
    words += ["loss=distillation", "teacher=run", f"teacher.run={teacher.folder}"]
    student = runner.run(*words, source=two_classes())
    rows = {name: values[:6] for name, values in two_classes().columns.items()}
    assert runner.load(student.folder).evaluate(rows)["new/loss"] > 0


def test_a_teacher_of_labels_is_none_of_classes() -> None:
    words = [*QUIET, ONE_EPOCH, "architecture.widths=[4]", "optimizer=sgd", "training.batch_size=8"]
    labels = ["feature.target._target_=components.feature.Labels", "loss=binary_cross_entropy"]
    teacher = runner.run(*words, *labels, source=two_classes())
    words += ["loss=distillation", "teacher=run", f"teacher.run={teacher.folder}"]
    with pytest.raises(UserError, match="its target has the kind multilabel, and that of this run classes"):
        runner.run(*words, source=two_classes())


def test_a_teacher_whose_loss_has_other_logits_is_an_error_before_there_is_a_folder() -> None:
    """Uncompiled, since a compiled run traces the loss first, which finds the difference too."""
    columns = {**two_classes().columns, "label": np.arange(40) % 3}
    source = Arrays(columns=columns, valid=8, test=8)
    words = [*QUIET, ONE_EPOCH, "architecture.widths=[4]", "optimizer=sgd", "training.batch_size=8"]
    teacher = runner.run(*words, "loss=coral", source=source)
    words += ["loss=distillation", "teacher=run", f"teacher.run={teacher.folder}", "training.compile=false"]
    message = (
        "teacher.run: for target, the network of its loss coral has 1 logit, and that of this run's distillation "
        "3 logits. Choose a teacher that was trained with a loss of as many logits, such as softmax_cross_entropy."
    )
    with pytest.raises(UserError, match=re.escape(message)):
        runner.run(*words, source=source)
    assert [folder.name for folder in Path("outputs").iterdir()] == [teacher.folder.name]
