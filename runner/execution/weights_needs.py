"""Sets what pretrained weights need: fields of the architecture, and the preprocessing of the column of images."""

from __future__ import annotations

import copy
import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from components.closest import join_names
from components.input_files import find_path
from components.types import IsPublished, JoinsWeights, MissingFileError, NeedsFields, UserError, Weights, WeightsNeeds
from runner.config.config import Config
from runner.config.option_parts import list_options_of
from runner.config.provenance import errors_with_origin, find_origin, format_problem
from runner.config.python_words import format_override
from runner.config.recorded_config import read_config
from runner.errors import ConfigError, error_location
from runner.override_text import quote_name
from runner.run_folder import find_run
from runner.signature.build import build
from runner.signature.parameters import read_signature
from runner.signature.schema import COLUMN, SCHEMA
from runner.tree import iterate_leaves, join_path

IMAGE = "components.feature.Image"
ORIGIN = "the weights of "  # the start of the origin of values that weights have set

Place: TypeAlias = tuple[str, ...]
"""The names on the way to a part of a configuration."""

Values: TypeAlias = dict[str, Any]
"""Values by the name of the parameter."""


def with_weights_needs(config: Config, note: Callable[[str], None]) -> Config:
    """The configuration with the values that its pretrained weights need. A line for each source shows them.

    A resumed run has those of its folder, so that it doesn't need the file of the weights.

    Args:
        config: a checked configuration.
        note: prints a line.

    Raises:
        ConfigError: the configuration sets other values.
        UserError: the file can't be read, or its weights suit no such architecture.
    """
    with errors_with_origin(config), error_location("weights"):
        weights = build(config.values["weights"], {}, SCHEMA["weights"])
    sources = dict(iterate_sources(weights))
    needing = {key: each for key, each in sources.items() if isinstance(each, NeedsFields) and each.exact}
    if config.values["resume"]:
        return _with_recorded_needs(config) if needing else config
    for key, source in sources.items():
        if isinstance(source, IsPublished):
            with errors_with_origin(config), error_location(key):
                _check_fetched(source.published.path, key, config)
    for key, source in needing.items():
        config = _apply(_find_needs(source, key, config), key, config, note)
    for key, source in needing.items():  # another one may have changed what was right by default
        _find_wanted(_find_needs(source, key, config), key, config)
    return config


def iterate_sources(weights: Weights, key: str = "weights") -> Iterator[tuple[str, Weights]]:
    """Yields weights with their key in the configuration, or, of joined ones, those of each source."""
    if not isinstance(weights, JoinsWeights):
        yield key, weights
        return
    for name, source in weights.sources.items():
        yield from iterate_sources(source, f"{key}.sources.{name}")


def _check_fetched(path: str, key: str, config: Config) -> None:
    """Raises UserError, with the command that fetches it, if a published file doesn't exist."""
    try:
        find_path(path, file=True)
    except MissingFileError as error:
        *names, name = key.split(".")
        target = _get(config.values, (*names, name))["_target_"]
        option = config.choices["weights"] if not names else next(iter(list_options_of("weights", target)), "OPTION")
        words = f"weights={option} architecture={config.choices['architecture']}"
        raise UserError(f"{error}. Fetch the weights with titrate mode=download {words}") from error


def _find_needs(source: NeedsFields, key: str, config: Config) -> WeightsNeeds:
    """What a source of weights needs, given the architecture of a configuration."""
    with errors_with_origin(config):
        with error_location("architecture"):
            architecture = build(config.values["architecture"], {}, SCHEMA["architecture"])
        with error_location(key):
            return source.find_needs(architecture, config.values["architecture"].keys() - {"_target_"})


def _apply(needs: WeightsNeeds, key: str, config: Config, note: Callable[[str], None]) -> Config:
    """Sets the values that weights need, and shows them in a line."""
    columns, wanted = _list_images(config), _find_wanted(needs, key, config)
    words = [_format_setting(place, name, value) for place, values in wanted.items() for name, value in values.items()]
    if words and not config.values["quiet"]:
        note(f"weights: {needs.origin} sets {' '.join(words)}{_describe_size(needs, config, columns)}")
    if needs.image is not None and len(columns) != 1:
        note(f"note: {_describe_images(needs, columns)}")
    for place, values in wanted.items():
        config = _with_values(config, place, values, f"{ORIGIN}{needs.origin}")
    return config


def _find_wanted(needs: WeightsNeeds, key: str, config: Config) -> dict[Place, Values]:
    """The values that weights need and that the configuration doesn't have. Raises ConfigError if it sets others."""
    columns = _list_images(config)
    wanted: dict[Place, Values] = {("architecture",): dict(needs.fields)}
    if needs.image is not None and len(columns) == 1:
        place: Place = ("feature", "columns", columns[0])
        wanted[place] = _find_image_differences(needs, config, place)
    found = (_find_conflicts(needs, key, config, place, values) for place, values in wanted.items())
    if problems := [text for each in found for text in each]:
        raise ConfigError(*problems)
    return wanted


def _describe_size(needs: WeightsNeeds, config: Config, columns: list[str]) -> str:
    """The end of the line if the configuration sets another size of the images than the published evaluation has."""
    place, size = ("feature", "columns", *columns), [needs.side, needs.side]
    if needs.image is None or len(columns) != 1 or not _is_chosen(config, place, "size"):
        return ""
    own = _get(config.values, place)["size"]
    return "" if own == size else f"; the published evaluation has {format_override('size', size)}"


def _list_images(config: Config) -> list[str]:
    """The names of the columns of images."""
    columns = _get(config.values, ("feature", "columns"))
    return [name for name, node in columns.items() if node["_target_"] == IMAGE]


def _find_image_differences(needs: WeightsNeeds, config: Config, place: Place) -> Values:
    """The parameters that the column of images must change for the weights, with their values.

    Images get the size of the published evaluation, unless the configuration sets a size, or the target is an image
    too, which has the same size.
    """
    node = _get(config.values, place)
    with errors_with_origin(config), error_location(join_path(place)):
        image = build(node, {}, COLUMN)
    wanted = {name: value for name, value in (needs.image or {}).items() if not _is_same(getattr(image, name), value)}
    targets = [config.values["feature"].get("target"), *(config.values["feature"].get("targets") or {}).values()]
    has_image_target = any("size" in (read_signature(target["_target_"]) or {}) for target in targets if target)
    if not has_image_target and not _is_chosen(config, place, "size"):
        sized = {"size": [needs.side, needs.side]} | ({} if _is_chosen(config, place, "resize") else {"resize": "crop"})
        wanted |= {name: value for name, value in sized.items() if not _is_same(getattr(image, name), value)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in wanted.items()}


def _find_conflicts(needs: WeightsNeeds, key: str, config: Config, place: Place, values: Values) -> Iterator[str]:
    """The problems of values that the configuration sets to others than the weights need."""
    for name, value in values.items():
        if _is_chosen(config, place, name):
            own = _get(config.values, place)[name]
            origin = find_origin(config.origins, join_path((*place, name)))
            remedy = "Take both from networks with one value" if (origin or "").startswith(ORIGIN) else "Leave it out"
            problem = (
                f"{_format_setting(place, name, own)}: the weights of {needs.origin} need "
                f"{format_override(name, value)}. {remedy}, or set {key}.exact=false."
            )
            yield format_problem(problem, origin)


def _is_chosen(config: Config, place: Place, name: str) -> bool:
    """Whether the configuration sets a parameter, and not only because it was inferred from the data."""
    if name not in _get(config.values, place):
        return False
    origin = find_origin(config.origins, join_path((*place, name)))
    return config.suggestion is None or origin != config.suggestion.origin


def _describe_images(needs: WeightsNeeds, columns: list[str]) -> str:
    """Why the preprocessing of images is not set, and what it should be."""
    image = {**(needs.image or {}), "size": [needs.side, needs.side]}
    found = f"has several columns of {IMAGE}, {join_names(columns)}" if columns else f"has no column of {IMAGE}"
    words = " ".join(format_override(name, value) for name, value in image.items())
    return f"the weights of {needs.origin} expect images with {words}. The feature file {found}, so this is not set"


def _format_setting(place: Place, name: str, value: Any) -> str:
    """An override that sets a parameter, as a word for a shell."""
    return shlex.quote(format_override(".".join([*(quote_name(each) or each for each in place), name]), value))


def _with_recorded_needs(config: Config) -> Config:
    """The configuration with the values that the weights have set in the run that `resume` names."""
    folder = find_run(Path(config.values["folder"]), config.values["resume"], "resume")
    recorded = read_config(folder)
    for place in [("architecture",), *(("feature", "columns", name) for name in _list_images(config))]:
        own, earlier = _get(config.values, place), _get(recorded, place)
        if own["_target_"] == earlier.get("_target_"):
            added = {name: value for name, value in earlier.items() if not _is_chosen(config, place, name)}
            config = _with_values(config, place, added, f"{ORIGIN}{folder}")
    return config


def _with_values(config: Config, place: Place, values: Mapping[str, Any], origin: str) -> Config:
    """The configuration with other values of a part."""
    trees = [copy.deepcopy(tree) for tree in (config.values, config.raw)]
    for tree in trees:
        _get(tree, place).update(copy.deepcopy(dict(values)))
    replaced = tuple(f"{join_path((*place, name))}." for name in values)
    origins = {key: each for key, each in config.origins.items() if not f"{key}.".startswith(replaced)}
    origins |= {join_path(path): origin for path, _ in iterate_leaves(dict(values), place)}
    return replace(config, values=trees[0], raw=trees[1], origins=origins)


def _get(tree: Mapping[str, Any], place: Place) -> Any:
    """The part at a place. An empty mapping: there is none."""
    for name in place:
        tree = tree.get(name) or {}
    return tree


def _is_same(value: Any, needed: Any) -> bool:
    """Whether a parameter has a value. One number stands for equal ones."""
    if isinstance(value, int | float | tuple | list) and isinstance(needed, int | float | tuple | list):
        numbers, others = (list(each) if isinstance(each, tuple | list) else [each] for each in (value, needed))
        length = max(len(numbers), len(others))
        numbers, others = (each * length if len(each) == 1 else each for each in (numbers, others))
        return len(numbers) == len(others) and all(map(_is_close, numbers, others))
    return bool(value == needed)


def _is_close(value: float, needed: float) -> bool:
    return math.isclose(value, needed, rel_tol=1e-5)
