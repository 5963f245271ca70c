"""Naming schemes: the names and the layout of the parameters of an architecture in another library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

Framework: TypeAlias = Literal["torch", "keras"]

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
        required_fields: values of fields that the architecture must have for these weights, because shapes don't
            depend on them. One of these mappings must hold. Empty: any values.
    """

    library: str
    rules: tuple[Rule, ...]
    framework: Framework = "torch"
    ignored: str = r".*\.num_batches_tracked"
    numbered_per_session: tuple[str, ...] = ()
    required_fields: tuple[Mapping[str, Any], ...] = ()

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
