"""Targets, losses, metrics and augmentations that don't fit together are found before JAX is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.config.compose import configure
from runner.errors import ConfigError

BASE = ["data=california_housing", "feature=several", "architecture=mlp"]
GOOD = [*BASE, "loss={PRICE: mse, KIND: softmax_cross_entropy}"]

PART = "components.feature."
FEATURE = (
    f"target: null\ntargets:\n  PRICE: {{_target_: {PART}Numeric, key: p}}\n"
    f"  KIND: {{_target_: {PART}Label, key: k}}\n"
    f"columns:\n  x: {{_target_: {PART}Numeric, key: x}}\ninputs:\n  inputs: [x]\n"
)


@pytest.fixture(autouse=True)
def users_feature_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "feature"
    folder.mkdir(parents=True)
    (folder / "several.yaml").write_text(FEATURE)


def problems(*words: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        configure(list(words))
    return list(raised.value.problems)


def test_losses_and_metrics_are_given_by_target() -> None:
    config = configure([*GOOD, "metric={PRICE: [rmse, mae], KIND: [accuracy]}", "loss_weights.PRICE=0.5"])
    assert {name: list(parts) for name, parts in config.values["metric"].items()} == {
        "PRICE": ["rmse", "mae"],
        "KIND": ["accuracy"],
    }
    assert config.values["loss"]["KIND"]["_target_"] == "components.loss.SoftmaxCrossEntropy"
    assert "_target_" not in config.values["loss"]
    assert config.values["loss_weights"] == {"PRICE": 0.5}


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "{option: softmax_cross_entropy, label_smoothing: 0.1}"])
def test_a_file_may_choose_the_default_loss_and_metrics_for_a_target(loss: str) -> None:
    Path("experiments").mkdir()
    Path("experiments/both.yaml").write_text(
        f"loss: {{KIND: {loss}, PRICE: mse}}\nmetric: {{KIND: [accuracy], PRICE: [rmse]}}\n"
    )
    config = configure(["experiment=both", *BASE])
    assert config.values["loss"]["KIND"]["_target_"] == "components.loss.SoftmaxCrossEntropy"
    assert list(config.values["loss"]) == ["KIND", "PRICE"]
    assert {name: list(parts) for name, parts in config.values["metric"].items()} == {
        "KIND": ["accuracy"],
        "PRICE": ["rmse"],
    }


def test_the_default_loss_and_metrics_are_for_a_single_target() -> None:
    assert configure(GOOD).values["metric"] == {}
    (problem,) = problems(*BASE)
    assert problem.startswith("loss: is missing for 2 targets by name. Set a loss for each: loss: {PRICE: …, KIND: …}.")


def test_a_target_without_a_share_beside_internal_losses_is_allowed() -> None:
    words = ("data=diabetes", "feature=diabetes", "loss=mse", "metric=[rmse]", "loss_weights.target=0")
    assert configure([*words, "architecture=reconstructing_regressor"]).values["loss_weights"] == {"target": 0}
    with pytest.raises(ConfigError, match="loss_weights: is 0 for each target, so nothing is learned"):
        configure([*words, "architecture=mlp"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["loss=mse"], "loss: is one loss for 2 targets by name. Set a loss for each: loss: {PRICE: …, KIND: …}."),
        (["loss={PRICE: mse}"], "loss.KIND: is missing. Each target needs a loss."),
        (
            ["loss={PRICE: mse, KIND: softmax_cross_entropy}", "loss_weights={PRICE: 0, KIND: 0}"],
            "loss_weights: is 0 for each target, so nothing is learned. Choose a number above 0.",
        ),
        (
            [*GOOD[3:], "feature.weight=w", "training.monitor=train/weighted/PRICE/loss"],
            "training.monitor: there is no metric train/weighted/PRICE/loss. Did you mean valid/weighted/PRICE/loss",
        ),
        (
            ["loss={PRICE: mse, KIND: softmax_cross_entropy, SIZE: mse}"],
            "loss.SIZE: there is no target SIZE. Allowed: KIND, PRICE.",
        ),
        ([GOOD[-1], "loss_weights.PRIZE=2"], "loss_weights.PRIZE: there is no target PRIZE. Did you mean PRICE?"),
        ([GOOD[-1], "loss_weights.PRICE=-1"], "loss_weights.PRICE: -1 is not a number in [0, inf)"),
        (
            [GOOD[-1], "metric=[rmse]"],
            "metric.rmse: belongs to no target. Write it below its target: metric.PRICE.",
        ),
        (["loss.PRICE=[mse]"], 'loss.PRICE: ["mse"] is a list. Choose one option: mse. [set by'),
        ([GOOD[-1], "loss.PRICE=[mse]"], 'loss.PRICE: ["mse"] is a list. Choose one option: mse. [set by'),
        ([GOOD[-1], "loss.PRICE=[]"], "loss.PRICE=[]: loss.PRICE is one part, got the list []. Write the name of one"),
        ([GOOD[-1], "metric={SIZE: [rmse]}"], "metric.SIZE: there is no target SIZE."),
        ([GOOD[-1], "training.monitor=valid/PRICE/rmse"], "training.monitor: there is no metric valid/PRICE/rmse."),
        ([GOOD[-1], "feature.target=${feature.targets.PRICE}"], "feature.targets: is set beside feature.target."),
        ([GOOD[-1], "feature.columns.x.missing=mask"], "feature.columns.x.missing: mask is for targets only."),
    ],
)
def test_parts_that_do_not_fit_the_targets_are_problems(words: list[str], expected: str) -> None:
    found = problems(*BASE, *words)
    assert any(problem.startswith(expected) for problem in found), found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("target", "the name is that of a single target, feature.target. Rename it; `key` names its column."),
        ("weighted", "the name is taken: weighted/… are the losses and metrics of weighted examples. Rename it;"),
        ("weighted/B", "the name is taken: weighted/… are the losses and metrics of weighted examples. Rename it;"),
    ],
)
def test_a_target_whose_figures_would_have_taken_names_is_a_problem(name: str, expected: str) -> None:
    (problem,) = problems(*rename_price(name))
    assert problem.startswith(f"feature.targets.{name}: {expected}")


@pytest.mark.parametrize("name", ["weighted_B", "loss", "last", "km/h"])
def test_a_target_may_have_any_other_name(name: str) -> None:
    configure(rename_price(name))


def rename_price(name: str) -> list[str]:
    """The words of an experiment in which the target PRICE has another name."""
    Path("conf/feature/several.yaml").write_text(FEATURE.replace("PRICE:", f"{name}:"))
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text(f"loss: {{{name}: mse, KIND: softmax_cross_entropy}}\n")
    return ["experiment=mine", *BASE]


@pytest.mark.parametrize("name", ["loss", "objective", "learning_rate", "epoch", "step", "last", "a/b"])
def test_a_metric_with_a_taken_name_is_a_problem(name: str) -> None:
    is_taken_with_several = name in ("loss", "a/b")
    problem = "a metric's name can't have a /, which follows the name of a target. Write a_b."
    problem = problem if name == "a/b" else "the name is taken. Rename the metric. Taken: "
    metric = f"{{{name}: {{option: reconstruction_error}}}}"
    (found,) = problems(f"metric={metric}")
    assert found.startswith(f"metric.{name}: {problem}")
    if is_taken_with_several:
        (found,) = problems(*GOOD, f"metric.PRICE={metric}")
        assert found.startswith(f"metric.PRICE.{name}: {problem}")
    else:
        configure([*GOOD, f"metric.PRICE={metric}"])


def test_a_metric_may_be_called_weighted() -> None:
    configure([*GOOD, "feature.weight=w", "metric.PRICE={weighted: {option: mae}}"])


def test_a_monitor_may_be_the_metric_of_a_target() -> None:
    for name in ("PRICE/loss", "PRICE/rmse", "loss"):
        configure([*GOOD, "metric={PRICE: [rmse]}", f"training.monitor=valid/{name}"])
    configure([*GOOD, "feature.weight=w", "training.monitor=valid/weighted/PRICE/loss"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["feature.target=null"], "feature.target: is null, and components.architecture.MLP has no internal loss"),
        (["feature.target=null", "loss=mse"], "loss: is set without a target."),
        (["feature.target=null", "metric=[accuracy]"], "metric: is set without a target: accuracy. Set metric to []."),
        (["loss=null"], "loss: is null, but there is a target. Choose a loss."),
        (["loss_weights.price=2"], "loss_weights.price: there is no target price."),
        (
            ["data.seed=null"],
            "data.seed: null and data.stratify=label exclude each other: without a seed the last rows",
        ),
        (["training.microbatches=5"], "training.microbatches: 5 does not divide training.batch_size=32."),
        (
            ["training.sampling=weighted"],
            "training.sampling: weighted draws by the weights of the examples.",
        ),
        (
            ["training.sampling=balanced", "training.shuffle=100"],
            "training.shuffle: 100 has no effect, because training.sampling=balanced draws examples at random. Leave",
        ),
        (
            ["training.sampling=balanced", "+feature.target.weight=balanced"],
            "training.sampling: balanced draws each class equally often, and feature.target.weight=balanced would",
        ),
        (
            [
                *("training.sampling=balanced", "feature.target=null"),
                "+feature.targets.kind={_target_: components.feature.Label, key: label, weight: balanced}",
            ],
            "training.sampling: balanced draws each class equally often, and feature.targets.kind.weight=balanced",
        ),
        (["training.shuffle=1"], "training.shuffle: 1 is not"),
        (
            ["augmentation=[mixup]", "training.batch_size=4", "training.microbatches=4"],
            "training.microbatches: 4 leaves one example in each part, which augmentation=mixup can mix with no other.",
        ),
        (["training.microbatches=0"], "training.microbatches: 0 is not a whole number in [1, inf)"),
    ],
)
def test_parts_that_do_not_fit_a_single_target_are_problems(words: list[str], expected: str) -> None:
    found = problems("data=digits", "feature=image", "architecture=mlp", *words)
    assert any(problem.startswith(expected) for problem in found), found


@pytest.mark.parametrize("augmentation", ["mixup", "cutmix"])
def test_mixed_classes_need_a_loss_that_takes_probabilities(
    augmentation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITRATE_ALLOW", "hard")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "hard.py").write_text(
        "class Hard:\n    def outputs(self, target): return 10\n"
        "    def __call__(self, logits, target): return logits[:, 0]\n"
    )
    (tmp_path / "conf" / "loss").mkdir()
    (tmp_path / "conf" / "loss" / "hard.yaml").write_text("_target_: hard.Hard\n")
    base = ["data=digits", "feature=image", "architecture=mlp", f"augmentation=[{augmentation}]"]
    configure(base)
    configure(["data=california_housing", "feature=california_housing", "architecture=mlp", "loss=mse", "metric=[mae]"])
    (problem,) = problems(*base, "loss=hard")
    assert problem.startswith(f"augmentation.{augmentation}: mixes classes, and hard.Hard doesn't take their prob")
    assert "Losses that do: binary_cross_entropy, binary_focal, categorical_hinge, coral, focal, " in problem
    labels = ["feature.target={_target_: components.feature.Labels, key: tags}", "loss=hard"]
    (of_labels,) = problems(*base, *labels)
    assert "do: binary_cross_entropy, binary_focal, hinge, squared_hinge, weighted_sum. [" in of_labels
    (of_embedding,) = problems(*base, "loss=triplet", "metric=[]")
    assert of_embedding.startswith(f"augmentation.{augmentation}: mixes classes, and components.loss.Triplet")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["metric=[accuracy,rmse]"],
            "metric.rmse: needs a real-valued target, and feature.target (label) is a target of classes. Metrics that "
            "suit it: "
            "accuracy, auc, average_precision,",
        ),
        (
            ["data=diabetes", "feature=diabetes", "loss=mse", "metric=[rmse,top_k]"],
            "metric.top_k: needs a target of classes, and feature.target (progression) is a real-valued target. "
            "Metrics that suit it: "
            "log_cosh, mae, mape, poisson_deviance, quantile_loss, r2, rmse, spearman",
        ),
        (
            [*GOOD, "metric={PRICE: [rmse], KIND: [r2]}"],
            "metric.KIND.r2: needs a real-valued target, and feature.targets.KIND (k) is a target of classes. "
            "Metrics that suit it:",
        ),
    ],
)
def test_a_metric_that_does_not_suit_its_target_names_those_that_do(words: list[str], expected: str) -> None:
    assert any(problem.startswith(expected) for problem in problems(*words))


def test_a_metric_of_a_user_may_name_no_kinds(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text(
        "class Mine:\n    target_kinds = tuple(['numbers'])\n\n    def bind(self, target): ...\n"
    )
    Path("conf/metric").mkdir()
    Path("conf/metric/mine.yaml").write_text("mine: {_target_: parts.Mine}\n")
    assert not [line for line in problems("metric=[mine]", "training.monitor=x") if "needs a target" in line]
