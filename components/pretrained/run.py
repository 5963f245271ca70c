"""Initial weights from a finished run: of its model, or of a module of it, such as the tower of a siamese network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.closest import join_names, suggest_name
from components.paths import ARCHITECTURE, check_patterns, leaves_with_paths, make_tree, matches_any
from components.pretrained.convert import HEAD
from components.types import FieldError, ParameterRows, UnusableArray, UserError, bind_fields, error_field

MISFIT = "the weights of the run don't fit the network."


@dataclass(frozen=True, kw_only=True)
class Run:
    """Weights of a finished run: of its network, or of a module of it, and of its feature columns.

    Each parameter that gets a weight needs one of the same path and shape in the run, and the reverse. The best weights
    of the run are taken, and the averages of BatchNorm with them. The embedding of a vocabulary that was learned from
    other rows gets the vectors of the values that both have; those of its other values stay random. The update `freeze`
    keeps what was taken unchanged.

    Attributes:
        run: a run folder, its name below `folder`, or an MLflow run id.
        module: module of the run's network whose weights are taken, such as `tower`. None: the whole network.
        into: module of this network that gets them; nothing else does. None: the whole network, and the columns.
        paths: patterns of the parameters of this network and its columns that get weights, as in `update.freeze.paths`:
            `architecture/dense_*`, `columns_city`. The others stay random. None: all.
        skip: patterns of parameters that stay random, and that are ignored in the run: as in `paths`, or relative to
            these modules, such as `head` or `dense_*`.

    Raises:
        UserError: there is no such run or module, or the weights don't fit.
    """

    run: str
    module: str | None = None
    into: str | None = None
    paths: tuple[str, ...] | None = None
    skip: tuple[str, ...] = ()
    weights: Mapping[str, Any] = field(default_factory=dict, init=False)  # by path, with the collection; set by `bind`

    def bind(self, load: Callable[[str], Mapping[str, Any]]) -> Run:
        """A copy with the weights of the run."""
        with error_field("run"):
            return bind_fields(self, weights=dict(leaves_with_paths(load(self.run))))

    def fingerprint(self) -> str:
        content = hashlib.blake2b(digest_size=16)
        for path, leaf in sorted(self.weights.items()):
            content.update(path.encode() + b"".join(_as_bytes(leaf)))
        return content.hexdigest()

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        all_own, all_taken = dict(leaves_with_paths(shapes)), self.weights
        own = _select_module("into", self.into, all_own, with_columns=self.into is None)
        taken = _select_module("module", self._module, all_taken, with_columns=self.into is None)
        taken = _move_to_collections(taken, own)
        self._check_patterns(own, taken)
        own, taken = ({path: leaf for path, leaf in each.items() if self._takes(path)} for each in (own, taken))
        if not own:
            raise FieldError(
                "skip", f"{join_names(self.skip)} leaves out all parameters. Skip fewer, or choose others."
            )
        self._check_usable(taken)
        differences = {
            "Missing in the run": [_shorten(path) for path in own if path not in taken],
            "Missing in this network": [_shorten(path) for path in taken if path not in own],
            "Other shapes": [
                f"{_shorten(path)} {taken[path].shape} in the run, {own[path].shape} in this network"
                for path in own
                if path in taken and taken[path].shape != own[path].shape
            ],
        }
        if any(differences.values()):
            raise UserError(self._describe(differences, own))
        _check_finite(taken)
        return make_tree({self._add_module(path): array for path, array in taken.items()})

    def leaves_random(self, path: str) -> bool:
        """Whether a parameter of this network, with its collection, is one that `skip` leaves random."""
        prefix = f"{ARCHITECTURE}/" if self.into is None else f"{ARCHITECTURE}/{self.into}/"
        is_part = self.into is None or _name(path).startswith(prefix)
        relative = path.replace(prefix, f"{ARCHITECTURE}/", 1)
        return is_part and self._is_chosen(relative) and not self._takes(relative)

    @property
    def _module(self) -> str | None:
        """The module of the run. A network that is nothing but a head fits into a module `head`."""
        names = [_shorten(path) for path in self.weights if _name(path).startswith(f"{ARCHITECTURE}/")]
        is_whole = self.into is not None and names and all(name.startswith(f"{self.into}/") for name in names)
        return self.into if self.module is None and is_whole else self.module

    def _takes(self, path: str) -> bool:
        return self._is_chosen(path) and not any(matches_any(self.skip, name) for name in self._list_names(path))

    def _is_chosen(self, path: str) -> bool:
        return self.paths is None or matches_any(self.paths, _name(self._add_module(path)))

    def _list_names(self, path: str) -> tuple[str, str]:
        """The names by which `skip` knows a parameter: relative to the modules, and with the whole path."""
        return _shorten(path), _name(self._add_module(path))

    def _check_patterns(self, own: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
        """Raises FieldError for a pattern that matches no parameter."""
        if self.paths is not None:
            check_patterns(self.paths, [_name(self._add_module(path)) for path in own], "paths")
        for pattern in self.skip:
            names = [self._list_names(path) for path in {**own, **taken}]
            is_whole = pattern.startswith(f"{ARCHITECTURE}/")
            if not any(matches_any([pattern], name) for both in names for name in both):
                check_patterns([pattern], [both[is_whole] for both in names], "skip")

    def _check_usable(self, taken: Mapping[str, Any]) -> None:
        """Raises UserError for parameters whose rows mean something else in the run."""
        unusable = {path: leaf for path, leaf in taken.items() if isinstance(leaf, UnusableArray)}
        if unusable:
            reasons = dict.fromkeys(f"{_shorten(path)}: {leaf.reason}" for path, leaf in unusable.items())
            modules = dict.fromkeys(_name(path).partition("/")[0] for path in unusable)
            raise UserError(f"{MISFIT} {' '.join(reasons)} Set `skip=[{','.join(modules)}]` to leave them random.")

    def _add_module(self, path: str) -> str:
        """The path in this network of a path relative to the module `into`."""
        collection, _, name = path.partition("/")
        if self.into is None or not name.startswith(f"{ARCHITECTURE}/"):
            return path
        return f"{collection}/{ARCHITECTURE}/{self.into}/{name.removeprefix(f'{ARCHITECTURE}/')}"

    def _describe(self, differences: Mapping[str, list[str]], own: Mapping[str, Any]) -> str:
        """The error for weights that don't fit, with the module of the run that fits best."""
        texts = [f"{title}: {join_names(names)}." for title, names in differences.items() if names]
        if all(name.startswith(f"{HEAD}/") for names in differences.values() for name in names):
            return " ".join([MISFIT, *texts, f"To train a new head, set `skip=[{HEAD}]`."])
        counts = {module: self._count_fitting(module, own) for module in (None, *_list_modules(self.weights))}
        best = max(counts, key=lambda module: counts[module])
        if counts[best] > counts.get(self._module, 0):
            setting = "`module=null`" if best is None else f"`module={best}`"
            texts.append(f"With {setting}, {counts[best]} of {len(own)} parameters fit.")
        return " ".join([MISFIT, *texts, "`skip` leaves parameters out."])

    def _count_fitting(self, module: str | None, own: Mapping[str, Any]) -> int:
        """The number of parameters with the same path and shape in a module of the run."""
        found = _select_module("module", module, self.weights, with_columns=self.into is None)
        return sum(getattr(found.get(path), "shape", None) == leaf.shape for path, leaf in own.items())


def _select_module(
    field_name: str, module: str | None, leaves: Mapping[str, Any], *, with_columns: bool
) -> dict[str, Any]:
    """The leaves of a module of the architecture, by paths as if it were the architecture.

    Args:
        field_name: the parameter with the name of the module.
        module: the module. None: the whole architecture.
        leaves: all leaves by path, with the collection.
        with_columns: whether what isn't in the architecture is among the leaves.

    Raises:
        FieldError: there is no such module.
    """
    prefix, found, others = f"{ARCHITECTURE}/{module}/" if module else f"{ARCHITECTURE}/", {}, {}
    for path, leaf in leaves.items():
        collection, _, name = path.partition("/")
        if name.startswith(prefix):
            found[f"{collection}/{ARCHITECTURE}/{name.removeprefix(prefix)}"] = leaf
        elif with_columns and not name.startswith(f"{ARCHITECTURE}/"):
            others[path] = leaf
    if module and not found:
        owner = "this network" if field_name == "into" else "the run's network"
        hint = suggest_name(module, _list_modules(leaves), title="Modules")
        raise FieldError(field_name, f"{owner} has no module {module}. {hint}")
    return found | others


def _move_to_collections(leaves: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves in the collections of this network. A vector that the run trained may be fixed here."""
    collections = {_name(path): path for path in own}
    return {path if path in own else collections.get(_name(path), path): leaf for path, leaf in leaves.items()}


def _list_modules(leaves: Iterable[str]) -> list[str]:
    """The paths of all modules of the architecture."""
    names = [_shorten(path).split("/")[:-1] for path in leaves if _name(path).startswith(f"{ARCHITECTURE}/")]
    return list(dict.fromkeys("/".join(name[:depth]) for name in names for depth in range(1, len(name) + 1)))


def _name(path: str) -> str:
    """The path of a leaf without its collection."""
    return path.partition("/")[2]


def _shorten(path: str) -> str:
    """The path of a leaf without its collection; in the architecture, relative to it."""
    return _name(path).removeprefix(f"{ARCHITECTURE}/")


def _check_finite(leaves: Mapping[str, Any]) -> None:
    """Raises UserError for weights that are NaN or infinite."""
    wrong = [path for path, leaf in leaves.items() if not np.isfinite(_values(leaf)).all()]
    if wrong:
        text = f"{join_names([_shorten(path) for path in wrong])} in the run has NaN or infinite values."
        raise FieldError("run", f"{text} Choose another run, or leave it out by `skip`.")


def _values(leaf: Any) -> Any:
    return leaf.values if isinstance(leaf, ParameterRows) else leaf


def _as_bytes(leaf: Any) -> tuple[bytes, ...]:
    """What a fingerprint depends on."""
    if isinstance(leaf, UnusableArray):
        return (leaf.reason.encode(),)
    rows = (leaf.rows.tobytes(),) if isinstance(leaf, ParameterRows) else ()
    return (*rows, np.asarray(_values(leaf)).tobytes())
