"""How frameworks name and lay out the parameters of an architecture."""

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
"""The parameters of a layer: ours, theirs; one that isn't listed has the same name."""


class _Number(int):
    """A number in a name: `{0:+1}` writes it one higher."""

    def __format__(self, shift: str) -> str:
        return str(self + int(shift or 0))


@dataclass(frozen=True)
class Rule:
    """How one kind of layer is called.

    Attributes:
        ours: a regular expression for the whole path of one of our modules below the architecture, parts joined by
            `/`; its groups are numbers or words.
        theirs: their name of that layer, in which `{0}` is the first group; `{0:+1}` is a number one higher.
        flattened: of a dense layer on flattened maps, the path of the layer whose kernel made their channels (their
            groups are filled in too): PyTorch has channels before places. None: nothing was flattened.
        leaves: parameters that they call otherwise than the framework does.
    """

    ours: str
    theirs: str
    flattened: str | None = None
    leaves: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Names:
    """The names of a whole architecture in one library; of several rules for a module the first counts.

    Attributes:
        library: who names them so.
        rules: module by module.
        framework: whose layout the arrays have.
        ignored: a regular expression for names that stand for nothing that we have.
        ranked: words that the library numbers as it goes (`conv2d`, `conv2d_7`): their numbers are made to begin
            at 0, in their order.
        fields: what fields of the architecture such weights are for, one mapping or another; shapes don't tell.
    """

    library: str
    rules: tuple[Rule, ...]
    framework: Framework = "torch"
    ignored: str = r".*\.num_batches_tracked"
    ranked: tuple[str, ...] = ()
    fields: tuple[Mapping[str, Any], ...] = ()

    def find(self, module: str) -> tuple[Rule, str, str | None] | None:
        """The rule for one of our modules, their name of it, and what was flattened before it."""
        for rule in self.rules:
            if match := re.fullmatch(rule.ours, module):
                groups = [_Number(one) if one and one.isdigit() else one for one in match.groups()]
                return rule, rule.theirs.format(*groups), rule.flattened and rule.flattened.format(*groups)
        return None

    def leaf(self, rule: Rule, name: str, *, normalization: bool) -> str:
        """Their name of a parameter; in Keras that of a bias depends on whether it belongs to a normalization."""
        if name in (own := dict(rule.leaves)):
            return own[name]
        if self.framework == "keras" and name == "bias" and not normalization:
            return "bias"
        return LEAVES[self.framework].get(name, name)

    @property
    def joint(self) -> str:
        """What stands between a layer and its parameter."""
        return "." if self.framework == "torch" else "/"
