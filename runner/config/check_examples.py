"""Checks that the examples of several rows fit the target, before JAX is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.closest import suggest_name
from runner.config.check_targets import has_classes, read_target_kinds, target_of
from runner.config.losses import inner_losses, losses_by_key
from runner.signature.type_hints import Problem

WINDOWS, PAIRS, VIEWS = (f"components.examples.{name}" for name in ("Windows", "Pairs", "Views"))
NT_XENT = "components.loss.NTXent"
NOT_CLASSES = {
    **dict.fromkeys(("numbers", "images"), "numbers"),
    "labels": "several classes",
    "pixels": "a class for each pixel",
}


def find_example_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds examples of several rows that don't fit the targets."""
    examples, feature = values.get("examples"), values.get("feature")
    if not isinstance(examples, Mapping) or not isinstance(feature, Mapping):
        return
    if target_of(examples) == WINDOWS:
        yield from _check_windows(examples, feature)
    elif target_of(examples) == VIEWS:
        yield from _check_views(feature)
    elif target_of(examples) == PAIRS:
        yield from _check_pairs(feature)
        yield from _check_loss_of_pairs(values.get("loss"))
        training, draws = values.get("training"), examples.get("draws")
        if isinstance(draws, int) and draws > 1 and isinstance(training, Mapping) and training.get("sampling"):
            text = f"{training['sampling']} draws pairs by the targets of the first epoch. Set examples.draws=1."
            yield Problem("training.sampling", text)


def _check_views(feature: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds targets that are images, which the augmentations would have to change as each of the views."""
    targets = feature.get("targets")
    nodes = {f"targets.{name}": node for name, node in targets.items()} if isinstance(targets, Mapping) else {}
    for name, node in {"target": feature.get("target"), **nodes}.items():
        if (kinds := read_target_kinds(node)) and {*kinds} <= {"pixels", "images"}:
            text = "is an image, which belongs to neither of two views of a row. Set it to null, or set examples=null."
            yield Problem(f"feature.{name}", text)


def _check_loss_of_pairs(loss: Any) -> Iterator[Problem]:
    """Finds a loss for views."""
    for key, node in losses_by_key(loss).items():
        for place, each in {key: node, **inner_losses(node, key)}.items():
            if target_of(each) == NT_XENT:
                text = (
                    "would make the rows of all pairs alike, also of different classes. Set examples=views, or choose"
                )
                yield Problem(place, f"{text} loss=contrastive.")


def has_forecasts(examples: Any) -> bool:
    """Whether the examples are windows whose targets follow the inputs."""
    return target_of(examples) == WINDOWS and examples.get("horizon") is not None


def _check_windows(examples: Mapping[str, Any], feature: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds windows with a horizon whose target has classes, and a gap or columns ahead without a horizon."""
    horizon, gap, ahead = (examples.get(name) for name in ("horizon", "gap", "known_ahead"))
    if horizon is None and isinstance(gap, int) and gap > 0:
        yield Problem("examples.gap", f"{gap} is before the rows of targets. Set examples.horizon, or leave it out.")
    if horizon is None and ahead:
        text = "columns are known up to the last row of targets. Set examples.horizon, or leave it out."
        yield Problem("examples.known_ahead", text)
    if isinstance(ahead, list):
        yield from _check_known_ahead(ahead, feature.get("inputs"))
    if horizon is None:
        return
    targets = feature.get("targets")
    nodes = {f"targets.{name}": node for name, node in targets.items()} if isinstance(targets, Mapping) else {}
    for name, node in {"target": feature.get("target"), **nodes}.items():
        if has_classes(node):
            yield Problem(
                "examples.horizon",
                f"{horizon} rows of targets need numbers, and feature.{name} has classes. Choose a target of numbers, "
                "or set examples.horizon=null: then the last row of a window has the target.",
            )


def _check_known_ahead(ahead: list[Any], inputs: Any) -> Iterator[Problem]:
    """Finds columns ahead that no input has."""
    if not isinstance(inputs, Mapping):  # they are found in the data
        return
    columns = {column for listed in inputs.values() if isinstance(listed, list) for column in listed}
    for name in ahead:
        if name not in columns:
            text = f"no input has a feature column {name}. {suggest_name(name, columns, title='Columns')}"
            yield Problem("examples.known_ahead", text)


def _check_pairs(feature: Mapping[str, Any]) -> Iterator[Problem]:
    """Finds pairs without a single target of classes, and weights, which a pair would have twice."""
    targets = feature.get("targets")
    count = len(targets) if isinstance(targets, Mapping) and targets else int(feature.get("target") is not None)
    what = NOT_CLASSES.get(next(iter(read_target_kinds(feature.get("target"))), ""))
    if count != 1 or what:
        found = f"feature.target has {what}" if what else f"feature has {count or 'none'}"
        yield Problem(
            "examples",
            f"pairs need one target, with a class for each row, and {found}. Choose a feature.target of the part "
            "components.feature.Label, or set examples=null.",
        )
    if not what and isinstance(target := feature.get("target"), Mapping) and target.get("weight") is not None:
        text = "weighs the classes of rows, and pairs have two others. Set it to null."
        yield Problem("feature.target.weight", text)
    if feature.get("weight") is not None:
        yield Problem("feature.weight", "a pair has two rows, so it has no weight. Set feature.weight=null.")
