"""Notes about an optimizer whose steps will be bad: its learning rate has another size, or its objective changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.closest import join_names
from runner.config.provenance import signature_defaults
from runner.tree import iterate_leaves, iterate_parts, join_path

RATES = {
    "components.optimizer.lars": 1.0,
    "components.optimizer.muon": 0.02,
    "optax.adadelta": 1.0,
    "optax.contrib.cocob": 1.0,
    "optax.contrib.dadapt_adamw": 1.0,
    "optax.contrib.momo": 1.0,
    "optax.contrib.prodigy": 1.0,
    "optax.lars": 1.0,
    "optax.lbfgs": 1.0,
}
"""The learning rates that optimizers are made for, where these are far above Adam's."""

SMALL = 0.1  # a note is shown for a learning rate below this share of the one that an optimizer is made for
FULL_BATCH = ("optax.lbfgs",)


def find_optimizer_notes(values: Mapping[str, Any], rows: int) -> Iterator[str]:
    """Finds what makes an optimizer slow or its steps wrong.

    Args:
        values: the values of the configuration.
        rows: the number of training examples.
    """
    target = str(values["optimizer"]["_target_"])
    rate, best = values["schedule"].get("learning_rate", values["learning_rate"]), RATES.get(target)
    if best is not None and isinstance(rate, int | float) and rate < SMALL * best:
        yield (
            f"{target.rpartition('.')[2]} is made for a learning rate of about {best:g}, but it is {rate:g}. "
            f"Set learning_rate={best:g}"
        )
    is_full_batch = any(
        node["_target_"] in FULL_BATCH for path, node in iterate_parts(values) if path[-1] == "optimizer"
    )
    if is_full_batch and (changes := [*_find_changes(values, rows)]):
        yield (
            "L-BFGS compares the gradients of successive steps, which must be those of one function. Here it changes: "
            f"{'; '.join(changes)}"
        )


def _find_changes(values: Mapping[str, Any], rows: int) -> Iterator[str]:
    """What makes the objective of a step another function than that of the step before, and the remedy."""
    batch_size = values["training"]["batch_size"]
    if batch_size < rows:
        yield f"a step sees {batch_size:,} of {rows:,} examples (set training.batch_size={rows})"
    if values["augmentation"]:
        yield f"augmentation ({join_names(values['augmentation'])}) changes the examples (set augmentation=[])"
    if dropout := [*_find_dropout(values)]:
        yield f"dropout ({join_names(dropout)}) drops other values in each step (leave it out)"


def _find_dropout(values: Mapping[str, Any]) -> Iterator[str]:
    """The keys in an architecture of what drops values: rates such as `dropout`, and layers such as Dropout."""
    architecture = {"architecture": values["architecture"]}
    leaves = {join_path(path): value for path, value in iterate_leaves(architecture)}
    leaves |= {key: value for key, (value, _) in signature_defaults(architecture).items()}
    for key, value in leaves.items():
        is_rate = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if is_rate and "drop" in key.rpartition(".")[2]:
            yield key
    for path, node in iterate_parts(architecture):
        if "drop" in str(node["_target_"]).rpartition(".")[2].lower():
            yield join_path(path)
