"""Naming schemes: the names and the layout of the parameters of an architecture in another library."""

from __future__ import annotations

import functools
import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

Framework: TypeAlias = Literal["torch", "keras"]

IMAGENET: Mapping[str, Any] = {
    "normalize": "unit",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "order": "rgb",
}
SIGNED: Mapping[str, Any] = {"normalize": "unit", "mean": 0.5, "std": 0.5, "order": "rgb"}  # pixels from -1 to 1
CAFFE: Mapping[str, Any] = {"normalize": None, "mean": (103.939, 116.779, 123.68), "std": None, "order": "bgr"}
"""Parameters of a column of images, by the preprocessing of published weights."""

PUBLISHED_SIDE = 224  # pixels of the images of most published evaluations

PARAMETER_NAMES: Mapping[Framework, Mapping[str, str]] = {
    "torch": {"kernel": "weight", "scale": "weight", "mean": "running_mean", "variance": "running_var"},
    # Keras calls a bias `beta` in normalization only; see `name_parameter`.
    "keras": {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "variance": "moving_variance"},
}
"""{our name: name in the framework}. The framework has our name for a parameter that is not listed."""


class _Number(int):
    """A number in a name. The format `{0:+1}` adds 1."""

    def __format__(self, shift: str) -> str:
        return str(self + int(shift or 0))


@dataclass(frozen=True)
class Rule:
    """Translates the paths of one kind of our layers to names in a library.

    Attributes:
        ours: regular expression for the whole path of our module below the architecture, with names joined by `/`.
        theirs: name of the layer in the library. `{0}` stands for the first group of `ours`, `{0:+1}` for this number
            plus 1.
        flattened_conv: for a dense layer, the path of our convolution whose output is flattened before it, with groups
            as in `theirs`. It is needed because PyTorch flattens in another order. None: no output is flattened.
        leaves: (our name, their name) of parameters with names that differ from `PARAMETER_NAMES`.
    """

    ours: str
    theirs: str
    flattened_conv: str | None = None
    leaves: tuple[tuple[str, str], ...] = ()


class LayerName(NamedTuple):
    """The result of a rule for one of our layers.

    Attributes:
        rule: the rule.
        name: name of the layer in the library.
        flattened_conv: as in `Rule`, with the groups inserted.
    """

    rule: Rule
    name: str
    flattened_conv: str | None


@dataclass(frozen=True)
class NamingScheme:
    """The names of all parameters of an architecture in a library.

    Attributes:
        library: name of the library.
        rules: rules for the layers. The first matching rule applies.
        framework: framework that determines the layout of the arrays.
        ignored: regular expression for names in the file without a counterpart in our trees.
        numbered_per_session: kinds of layers that the library numbers through a whole session (`conv2d`, `conv2d_7`).
            Titrate renumbers them from 0.
        required_fields: values of fields that the architecture must have for these weights. One of these mappings must
            hold, and the first one that agrees with the configuration is set. Empty: any values.
        image: parameters of the column of images that prepare images for these weights. None: they are unknown.
        side: height and width of the images of the published evaluation, or a function of the architecture.
    """

    library: str
    rules: tuple[Rule, ...]
    framework: Framework = "torch"
    ignored: str = r".*\.num_batches_tracked"
    numbered_per_session: tuple[str, ...] = ()
    required_fields: tuple[Mapping[str, Any], ...] = ()
    image: Mapping[str, Any] | None = None
    side: int | Callable[[Any], int] = PUBLISHED_SIDE

    def name_layer(self, path: str) -> LayerName | None:
        """Returns what the library calls one of our layers, by its path. None: no rule matches the path."""
        for rule in self.rules:
            if match := re.fullmatch(rule.ours, path):
                groups = [_Number(group) if group and group.isdigit() else group for group in match.groups()]
                flattened_conv = rule.flattened_conv and rule.flattened_conv.format(*groups)
                return LayerName(rule, rule.theirs.format(*groups), flattened_conv)
        return None

    def name_parameter(self, rule: Rule, name: str, *, is_normalization: bool) -> str:
        """Returns what the library calls one of our parameters. Keras calls a bias `beta` in normalization only."""
        if name in (names := dict(rule.leaves)):
            return names[name]
        if self.framework == "keras" and name == "bias" and not is_normalization:
            return "bias"
        return PARAMETER_NAMES[self.framework].get(name, name)

    @property
    def separator(self) -> str:
        """The character between the name of a layer and the name of its parameter."""
        return "." if self.framework == "torch" else "/"

    def knows(self, name: str) -> bool:
        """Whether a name in a file may be that of a parameter, whatever the variant of the architecture."""
        layers, pattern = self._layers
        layer = name.rpartition(self.separator)[0]
        return layer in layers or pattern.fullmatch(layer) is not None

    @functools.cached_property
    def _layers(self) -> tuple[frozenset[str], re.Pattern[str]]:
        """The layers of the library that have one name, and a pattern for the names of the others."""
        return _read_layers(self.rules)

    def renumber(self, names: Iterable[str]) -> dict[str, str]:
        """Numbers layers from 0: `conv2d_12/kernel`, `conv2d_13/kernel` -> `conv2d_0/kernel`, `conv2d_1/kernel`.

        Keras numbers the layers of all models of a session together. The first layer, `conv2d`, has no number.

        Returns:
            The new name of each name.
        """
        if not self.numbered_per_session:
            return {name: name for name in names}
        names = list(names)
        kinds = "|".join(self.numbered_per_session)
        pattern = re.compile(rf"({kinds})(?:_(\d+))?(?=/)")  # groups of `conv2d_12/kernel`: conv2d, 12
        layers: defaultdict[str, set[tuple[int, str]]] = defaultdict(set)  # by kind: number and name of each layer
        for name in names:
            if match := pattern.match(name):
                layers[match[1]].add((int(match[2] or 0), match[0]))
        new_layers = {  # {"conv2d_12": "conv2d_0", …}
            layer: f"{kind}_{new_number}"
            for kind, numbered_layers in layers.items()
            for new_number, (_, layer) in enumerate(sorted(numbered_layers))
        }
        parts = {name: name.partition("/") for name in names}
        return {name: f"{new_layers.get(layer, layer)}{slash}{rest}" for name, (layer, slash, rest) in parts.items()}


def _read_layers(rules: Iterable[Rule]) -> tuple[frozenset[str], re.Pattern[str]]:
    layers, patterns = set(), []
    for rule in rules:
        pieces = list(string.Formatter().parse(rule.theirs))  # (text, number of the group, shift, …) or (text, None, …)
        if all(group is None for _, group, _, _ in pieces):
            layers.add(rule.theirs)
        else:
            groups = ("" if group is None else r"\d+" if shift else r"[^./]+" for _, group, shift, _ in pieces)
            texts = (re.escape(text) for text, _, _, _ in pieces)
            patterns.append("".join(text + group for text, group in zip(texts, groups, strict=True)))
    return frozenset(layers), re.compile("|".join(patterns) or r"(?!)")
