"""Finds the source of a command for which the runner suggests what the command doesn't choose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hydra.core.override_parser.types import Override

from components.types import UserError
from runner.config.catalog import EXPERIMENT, MIXED, Catalog
from runner.config.check import are_complete_operations, is_complete_part
from runner.config.check_examples import has_forecasts
from runner.config.choices import load_yaml
from runner.config.options import OptionReader
from runner.config.overrides import apply_override
from runner.suggest.suggestions import SUGGESTING_MODES, Question, can_suggest


def find_source_to_profile(
    catalog: Catalog, choices: Sequence[Override], settings: Sequence[Override]
) -> Question | None:
    """Finds the source that the command line chooses, if it should be profiled for a suggestion.

    Args:
        catalog: the options that exist.
        choices: the overrides that choose options.
        settings: the overrides that set values.

    Returns:
        The question; None if the mode needs no suggestion, or if the command line chooses an experiment or features, or
        no complete source.
    """
    values = {setting.key_or_group: setting.value() for setting in settings}
    chosen = _read_chosen_source(catalog, choices, settings)
    if values.get("mode", "train") not in SUGGESTING_MODES or values.get("run") or chosen is None:
        return None
    node, operations, examples = chosen
    if not is_complete_part("data", node) or not _can_suggest(node) or not are_complete_operations(operations):
        return None
    folds = values.get("folds")
    return Question(
        node,
        tuple(sorted(choice.key_or_group for choice in choices)),
        folds if isinstance(folds, int) else None,
        tuple(sorted(_read_missing(settings).items())),
        tuple(operations),
        has_forecasts(examples),
    )


def _can_suggest(node: Mapping[str, Any]) -> bool:
    """Whether a source, or each source of several ones, has a profile."""
    sources = node["sources"].values() if node["_target_"] == MIXED else ()
    return can_suggest(node["_target_"]) and all(can_suggest(source["_target_"]) for source in sources)


def _read_missing(settings: Iterable[Override]) -> dict[str, str]:
    """`missing` of the targets where the command line sets it, by name; that of the only target is `target`."""
    tree: dict[str, Any] = {"feature": {"target": {}, "targets": {}}}
    for setting in settings:
        if setting.key_or_group.startswith("feature.target"):
            with suppress(UserError):  # reported with the other problems of the command
                tree = apply_override(tree, setting)
    feature = tree["feature"]
    parts = {"target": feature["target"], **(feature["targets"] or {})}
    missing = {name: part.get("missing") for name, part in parts.items() if isinstance(part, dict)}
    return {name: value for name, value in missing.items() if isinstance(value, str)}


def _read_chosen_source(
    catalog: Catalog, choices: Iterable[Override], settings: Iterable[Override]
) -> tuple[dict[str, Any], list[Any], Any] | None:
    """The source that the command line chooses, its operations and the examples, as plain values.

    None as for `find_source_to_profile`.
    """
    on_command_line = {choice.key_or_group: choice.value() for choice in choices}
    path = catalog.files["data"].get(str(on_command_line.get("data")))
    if path is None or {"feature", EXPERIMENT} & on_command_line.keys():
        return None
    try:
        examples = catalog.files["examples"].get(str(on_command_line.get("examples")))
        examples_node = None if examples is None else load_yaml(examples)
        values: dict[str, Any] = {"data": load_yaml(path), "operations": [], "examples": examples_node}
        for setting in settings:
            if setting.key_or_group.partition(".")[0] in ("data", "operations", "examples"):
                values = apply_override(values, setting)
    except UserError:
        return None
    read = OptionReader(catalog).read(values, {}, "").values
    return read["data"], read["operations"], read["examples"]
