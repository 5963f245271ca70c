"""Naming schemes: how a library names and lays out the parameters of an architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Framework: TypeAlias = Literal["torch", "keras"]

LEAVES: Mapping[Framework, Mapping[str, str]] = {
    "torch": {"kernel": "weight", "scale": "weight", "mean": "running_mean", "variance": "running_var"},
    "keras": {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "variance": "moving_variance"},
}
"""Names of parameters, ours and those of the framework; a parameter that is not listed has the same name."""


class _Number(int):
    """A number in a name: `{0:+1}` formats it as one more."""

    def __format__(self, shift: str) -> str:
        return str(self + int(shift or 0))


@dataclass(frozen=True)
class Rule:
    """How a library names one kind of layer.

    Attributes:
        ours: regular expression for the whole path of one of our modules below the architecture, names joined by `/`;
            its groups are numbers or words.
        theirs: the name of that layer in the library, where `{0}` is the first group; `{0:+1}` is a number plus one.
        flattened: for a dense layer on flattened maps, the path of the layer whose kernel has their channels, with
            groups as in `theirs`: PyTorch flattens channels before places. None: the layer flattens nothing.
        leaves: (ours, theirs) of parameters whose names differ from those of the framework.
    """

    ours: str
    theirs: str
    flattened: str | None = None
    leaves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NamingScheme:
    """The names of all parameters of an architecture in one library.

    Attributes:
        library: name of the library.
        rules: the first rule that matches a module counts.
        framework: the framework that lays out the arrays.
        ignored: regular expression for names of the file that have no counterpart in our trees.
        renumbered: words that the library numbers through a session (`conv2d`, `conv2d_7`); their numbers are made to
            start at 0, in their order.
        fields: values that the fields of the architecture need for such weights, as alternatives; shapes do not show
            them. Empty: any.
    """

    library: str
    rules: tuple[Rule, ...]
    framework: Framework = "torch"
    ignored: str = r".*\.num_batches_tracked"
    renumbered: tuple[str, ...] = ()
    fields: tuple[Mapping[str, Any], ...] = ()

    def find(self, module: str) -> tuple[Rule, str, str | None] | None:
        """Returns the rule for one of our modules, the layer's name in the library, and what it flattens."""
        for rule in self.rules:
            if match := re.fullmatch(rule.ours, module):
                groups = [_Number(one) if one and one.isdigit() else one for one in match.groups()]
                return rule, rule.theirs.format(*groups), rule.flattened and rule.flattened.format(*groups)
        return None

    def leaf(self, rule: Rule, name: str, *, normalization: bool) -> str:
        """Returns the library's name of a parameter; Keras names biases of normalization layers differently."""
        if name in (own := dict(rule.leaves)):
            return own[name]
        if self.framework == "keras" and name == "bias" and not normalization:
            return "bias"
        return LEAVES[self.framework].get(name, name)

    @property
    def separator(self) -> str:
        """The character between the name of a layer and that of its parameter."""
        return "." if self.framework == "torch" else "/"
