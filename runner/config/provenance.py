"""Who set each value of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.errors import ConfigError, PartError, PlacedError, as_part_error
from runner.tree import dotted, leaves, parts

if TYPE_CHECKING:
    from runner.config.config import Config


def find_origins(tree: Any, settings: Iterable[tuple[str, Any, str]]) -> dict[str, str]:
    """By dotted leaf of a composed tree: the origin of the last of the (key, value, origin) that set it."""
    marks: dict[str, str] = {}
    for key, value, origin in settings:
        prefix = (key,) if key else ()
        marks |= {dotted(place): origin for place, _ in leaves(value, prefix)}
    keys = [dotted(place) for place, _ in leaves(tree)]
    return {key: marks[key] for key in keys if key in marks}


def origin_of(origins: Mapping[str, str], key: str) -> str | None:
    """Who set a key or something in it; for a key that is missing, who chose the part that should have it."""
    inside = (origin for leaf, origin in origins.items() if f"{leaf}.".startswith(f"{key}."))
    if (origin := next(inside, None)) is not None:
        return origin
    owner = key.rpartition(".")[0]
    return origins.get(f"{owner}._target_") or origin_of(origins, owner) if owner else None


def format_problem(problem: str, origin: str | None) -> str:
    """A problem with who is to change something."""
    return f"{problem} [set by {origin}]" if origin else problem


@contextmanager
def with_origin(config: Config) -> Iterator[None]:
    """Names who set a part in what is found to be wrong with it as it is built, and in what the user's own raises."""
    try:
        yield
    except PlacedError as error:
        raise ConfigError(format_problem(str(error), origin_of(config.origins, error.key))) from error
    except (Exception, SystemExit) as error:  # sys.exit in a part ends no run as if it were well
        if (found := as_part_error(error)) is None:
            raise
        _locate(found, config)
        raise found from found.error


def _locate(error: PartError, config: Config) -> None:
    """Completes an error by the part that raised it: that of its class or function, else of its package."""
    inside = [(dotted(place), node["_target_"]) for place, node in parts(config.values)]
    inside = [(key, target) for key, target in inside if f"{key}.".startswith(f"{error.key}." if error.key else "")]
    names = [frame.name for frame in error.frames]
    exact = [one for one in inside if any(f"{name}.".startswith(f"{one[1]}.") for name in names)]
    packages = {name.partition(".")[0] for name in names}
    near = [one for one in inside if one[1].partition(".")[0] in packages]
    for key, target in (exact or (near if len(near) == 1 else []))[:1]:
        error.key, error.target, error.origin = key, target, origin_of(config.origins, key)
