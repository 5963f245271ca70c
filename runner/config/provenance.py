"""The origin of each value of a configuration: the file, or the override of the command line, that set it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from components.types import UserError
from runner.errors import ConfigError, LocatedError, PartError, as_part_error
from runner.signature.parameters import REST, UNKNOWN, read_signature
from runner.signature.schema import FILLED_IN
from runner.signature.source import PartNotFoundError
from runner.tree import iterate_leaves, iterate_parts, join_path

if TYPE_CHECKING:
    from runner.config.config import Config


FILLED_IN_KEYS = {f"{group}.{name}" for group, names in FILLED_IN.items() for name in names}


def find_origins(tree: Any, settings: Iterable[tuple[str, Any, str]]) -> dict[str, str]:
    """The origin of each leaf of a composed tree, by dotted key.

    Args:
        tree: the composed tree.
        settings: (key, value, origin) in the order of merging. The last one that sets a leaf counts.
    """
    origins: dict[str, str] = {}
    for key, value, origin in settings:
        prefix = (key,) if key else ()
        origins |= {join_path(path): origin for path, _ in iterate_leaves(value, prefix)}
    keys = [join_path(path) for path, _ in iterate_leaves(tree)]
    return {key: origins[key] for key in keys if key in origins}


def signature_defaults(values: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The parameters that have the default of their part's signature, by key, with the default and its origin.

    Defaults that are no plain values, such as functions, are left out.
    """
    defaults: dict[str, tuple[Any, str]] = {}
    for path, node in iterate_parts(values):
        with suppress(PartNotFoundError):
            for name, parameter in (read_signature(node["_target_"]) or {}).items():
                if name not in (*node, REST) and not parameter.required and parameter.default is not UNKNOWN:
                    key = join_path((*path, name))
                    defaults[key] = parameter.default, f"the signature of {node['_target_']}"
    return {key: default for key, default in defaults.items() if key not in FILLED_IN_KEYS}


def find_origin(origins: Mapping[str, str], key: str) -> str | None:
    """The origin of a key, or of a leaf below it; for a missing key, the origin of the part or mapping above it."""
    for leaf, origin in origins.items():
        if f"{leaf}.".startswith(f"{key}."):
            return origin
    owner = key.rpartition(".")[0]
    return origins.get(f"{owner}._target_") or find_origin(origins, owner) if owner else None


def format_problem(problem: str, origin: str | None) -> str:
    """Adds the origin of the wrong value to a problem."""
    if not origin:
        return problem
    return f"{problem} [{origin}]" if origin.startswith("inferred ") else f"{problem} [set by {origin}]"


@contextmanager
def errors_with_origin(config: Config) -> Iterator[None]:
    """Adds the origin of the part to errors raised inside: problems of a part, and exceptions in the user's code."""
    try:
        yield
    except LocatedError as error:
        raise ConfigError(format_problem(str(error), find_origin(config.origins, error.key))) from error
    except (Exception, SystemExit) as error:  # SystemExit: sys.exit in a part must not end a run with success
        if (part_error := as_part_error(error)) is None:
            raise
        _add_part(part_error, config)
        raise part_error from part_error.error


class Problems:
    """The errors of several checks, which are raised together.

    Args:
        config: the configuration, for the origins of values.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._texts: list[str] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keeps an error of the user that is raised inside, with its origin."""
        try:
            with errors_with_origin(self._config):
                yield
        except UserError as error:
            self._texts += error.problems if isinstance(error, ConfigError) else [str(error)]

    def raise_all(self) -> None:
        """Raises ConfigError with all errors; does nothing if there are none."""
        if self._texts:
            raise ConfigError(*self._texts)


def _add_part(error: PartError, config: Config) -> None:
    """Adds the key, target and origin of the part that raised an error, if it can be found by the names of the frames.

    It is the first part whose target contains a frame, or else the only part in the package of a frame.
    """
    prefix = f"{error.key}." if error.key else ""
    parts = [(join_path(path), node["_target_"]) for path, node in iterate_parts(config.values)]
    candidates = [(key, target) for key, target in parts if f"{key}.".startswith(prefix)]
    names = [frame.name for frame in error.frames]
    packages = {name.partition(".")[0] for name in names}
    exact = [(key, target) for key, target in candidates if any(f"{name}.".startswith(f"{target}.") for name in names)]
    same_package = [(key, target) for key, target in candidates if target.partition(".")[0] in packages]
    if not exact and len(same_package) != 1:
        return
    key, target = (exact or same_package)[0]
    error.key, error.target, error.origin = key, target, find_origin(config.origins, key)
