"""Initial weights of several sources, such as the body of one run and the head of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.closest import join_names
from components.paths import ARCHITECTURE, leaves_with_paths, make_tree
from components.pretrained.run import Run
from components.types import FieldError, FitsBatch, ModelWeights, Weights, bind_fields, error_field


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Weights of several sources, each of which gives some of the parameters.

    A parameter gets its weight from one source, or stays random where a source skips it.

    Attributes:
        sources: options of `weights` with their fields, by name. `into`, `paths` and `skip` choose what each gives.

    Raises:
        UserError: no source gives a parameter, or two do, or the weights of one don't fit.
    """

    sources: dict[str, Weights]

    def __post_init__(self) -> None:
        if not self.sources:
            raise FieldError("sources", "is empty. List sources by name, such as {body: {option: run, run: RUN}}.")
        for name, source in self.sources.items():
            if isinstance(source, FitsBatch):
                raise FieldError(
                    f"sources.{name}",
                    f"{type(source).__name__} computes weights from a batch, for the whole network. Choose run or "
                    "safetensors.",
                )

    def bind(self, load: Callable[[str], Mapping[str, Any]]) -> Joined:
        """A copy with the weights of all runs."""
        bound: dict[str, Weights] = {}
        for name, source in self.sources.items():
            with error_field(f"sources.{name}"):
                bound[name] = source.bind(load) if isinstance(source, ModelWeights) else source
        return bind_fields(self, sources=bound)

    def fingerprint(self) -> str:
        content = hashlib.blake2b(digest_size=16)
        for name, source in self.sources.items():
            with error_field(f"sources.{name}"):
                content.update(f"{name} {source.fingerprint()} ".encode())
        return content.hexdigest()

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        given: dict[str, tuple[str, Any]] = {}  # by path: the name of the source, and the array
        for name, source in self.sources.items():
            with error_field(f"sources.{name}"):
                arrays = dict(leaves_with_paths(_take(source, architecture, shapes)))
            if repeated := [path for path in arrays if path in given]:
                first, names = given[repeated[0]][0], join_names(path.partition("/")[2] for path in repeated)
                raise FieldError(
                    "sources", f"{first} and {name} both give {names}. Leave these out of one, by its `skip`."
                )
            given |= {path: (name, array) for path, array in arrays.items()}
        self._check_complete(given, shapes)
        return make_tree({path: array for path, (_, array) in given.items()})

    def _check_complete(self, given: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
        """Raises FieldError for a parameter that no source gives or skips."""

        def is_random(path: str) -> bool:
            return any(not isinstance(each, Run) or each.leaves_random(path) for each in self.sources.values())

        paths = [path for path, _ in leaves_with_paths(shapes)]
        if missing := [path.partition("/")[2] for path in paths if path not in given and not is_random(path)]:
            raise FieldError(
                "sources",
                f"none gives {join_names(missing)}. Add a source for them. A source without `into` and `paths` leaves "
                "what it skips random.",
            )


def _take(source: Weights, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arrays that a source gives, in the variables of the model."""
    if isinstance(source, ModelWeights):
        return source(architecture, shapes)
    of_architecture = {name: tree[ARCHITECTURE] for name, tree in shapes.items() if ARCHITECTURE in tree}
    return {name: {ARCHITECTURE: tree} for name, tree in source(architecture, of_architecture).items()}
