"""Initial weights from a finished run: of its network, or of a module of it, such as the tower of a siamese network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.closest import join_names, suggest_name
from components.paths import check_patterns, leaves_with_paths, matches_any
from components.pretrained.convert import HEAD
from components.types import FieldError, UserError, bind_fields

MISFIT = "the weights of the run don't fit the network."


@dataclass(frozen=True, kw_only=True)
class Run:
    """Weights of a finished run: of its network, or of a module of it.

    Each parameter that gets a weight needs one of the same path and shape in the run, and the reverse. The best weights
    of the run are taken, and the averages of BatchNorm with them. Parameters of feature columns, such as embeddings,
    stay random. The update `freeze` keeps what was taken unchanged.

    Attributes:
        run: a run folder, its name below `folder`, or an MLflow run id.
        module: module of the run's network whose weights are taken, such as `tower`. None: the whole network.
        into: module of this network that gets them. None: the whole network.
        skip: patterns over paths within these modules, such as `head` or `dense_*`. Matching parameters of this network
            keep their random weights, and matching ones of the run are ignored.

    Raises:
        UserError: there is no such run or module, or the weights don't fit.
    """

    run: str
    module: str | None = None
    into: str | None = None
    skip: tuple[str, ...] = ()
    weights: Mapping[str, Any] = field(default_factory=dict, init=False)  # by path, with the collection; set by `bind`

    def bind(self, variables: Mapping[str, Any]) -> Run:
        """A copy with the weights of the run, {"params": …, "batch_stats": …}."""
        return bind_fields(self, weights=dict(leaves_with_paths(variables)))

    def fingerprint(self) -> str:
        content = hashlib.blake2b(digest_size=16)
        for path, array in sorted(self.weights.items()):
            content.update(path.encode() + array.tobytes())
        return content.hexdigest()

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        all_own = dict(leaves_with_paths(shapes))
        own, taken = _select_module("into", self.into, all_own), _select_module("module", self.module, self.weights)
        if self.skip:
            check_patterns(self.skip, [_name(path) for path in {**own, **taken}], "skip")
        own, taken = ({path: leaf for path, leaf in each.items() if not self._skips(path)} for each in (own, taken))
        differences = {
            "Missing in the run": [_name(path) for path in own if path not in taken],
            "Missing in this network": [_name(path) for path in taken if path not in own],
            "Other shapes": [
                f"{_name(path)} {taken[path].shape} in the run, {own[path].shape} in this network"
                for path in own
                if path in taken and taken[path].shape != own[path].shape
            ],
        }
        if any(differences.values()):
            raise UserError(self._describe(differences, own))
        if not own:
            raise FieldError(
                "skip", f"{join_names(self.skip)} leaves out all parameters. Skip fewer, or choose others."
            )
        return _make_tree({_add_module(self.into, path): array for path, array in taken.items()})

    def _skips(self, path: str) -> bool:
        return matches_any(self.skip, _name(path))

    def _describe(self, differences: Mapping[str, list[str]], own: Mapping[str, Any]) -> str:
        """The error for weights that don't fit, with the module of the run that fits best."""
        texts = [f"{title}: {join_names(names)}." for title, names in differences.items() if names]
        if all(name.startswith(f"{HEAD}/") for names in differences.values() for name in names):
            return " ".join([MISFIT, *texts, f"To train a new head, set `skip=[{HEAD}]`."])
        counts = {
            module: sum(_has_same(self.weights, _add_module(module, path), leaf) for path, leaf in own.items())
            for module in (None, *_list_modules(self.weights))
        }
        best = max(counts, key=lambda module: counts[module])
        if counts[best] > counts.get(self.module, 0):
            setting = "`module=null`" if best is None else f"`module={best}`"
            texts.append(f"With {setting}, {counts[best]} of {len(own)} parameters fit.")
        return " ".join([MISFIT, *texts, "`skip` leaves parameters out."])


def _select_module(field_name: str, module: str | None, leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a module, by their collection and their path within it. Raises FieldError if there is none."""
    if module is None:
        return dict(leaves)
    found = {}
    for path, leaf in leaves.items():
        collection, _, name = path.partition("/")
        if name.startswith(f"{module}/"):
            found[f"{collection}/{name.removeprefix(f'{module}/')}"] = leaf
    if not found:
        owner = "this network" if field_name == "into" else "the run's network"
        hint = suggest_name(module, _list_modules(leaves), title="Modules")
        raise FieldError(field_name, f"{owner} has no module {module}. {hint}")
    return found


def _list_modules(leaves: Mapping[str, Any]) -> list[str]:
    """The paths of all modules."""
    names = [_name(path).split("/")[:-1] for path in leaves]
    return list(dict.fromkeys("/".join(name[:depth]) for name in names for depth in range(1, len(name) + 1)))


def _name(path: str) -> str:
    """The path of a leaf without its collection."""
    return path.partition("/")[2]


def _add_module(module: str | None, path: str) -> str:
    collection, _, name = path.partition("/")
    return path if module is None else f"{collection}/{module}/{name}"


def _has_same(leaves: Mapping[str, Any], path: str, leaf: Any) -> bool:
    return path in leaves and leaves[path].shape == leaf.shape


def _make_tree(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """{"params/head/bias": b} -> {"params": {"head": {"bias": b}}}."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *modules, parameter = path.split("/")
        branch = tree
        for module in modules:
            branch = branch.setdefault(module, {})
        branch[parameter] = leaf
    return tree
