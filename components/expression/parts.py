"""Parts of an expression: what the compiler knows of them, their conversion, and the errors about their kinds."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeAlias

from components.expression import operators
from components.expression.functions import Show
from components.expression.operands import KINDS, NUMERIC, Kind, Operand, describe_kinds
from components.expression.parser import Parsed, make_error
from components.types import UserError

Evaluate: TypeAlias = Callable[[Mapping[str, Operand]], Operand]

BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
OPERATORS: Mapping[type, str] = {
    **{kind: f"`{symbol}`" for kind, symbol in BINARY.items()},
    ast.Not: "`not`",
    ast.And: "`and`",
    ast.Or: "`or`",
    ast.USub: "`-`",
    ast.UAdd: "`+`",
}
COMPARE = "a comparison"


class Part(NamedTuple):
    """A part of an expression.

    Attributes:
        node: its tree.
        kind: the kind of its values.
        evaluate: computes its values from those of the columns.
        may_overflow: whether its numbers may be infinite or NaN by a computation.
    """

    node: ast.expr
    kind: Kind
    evaluate: Evaluate
    may_overflow: bool = False


@dataclass(frozen=True)
class Context:
    """The expression that is compiled.

    Attributes:
        text: the expression.
        parsed: its tree.
        exact: whether arithmetic with whole numbers is exact, in int64.
    """

    text: str
    parsed: Parsed
    exact: bool

    def find_number_kind(self, parts: Iterable[Part]) -> Kind:
        """The kind in which numbers are computed."""
        is_whole = all(part.kind in ("integer", "boolean") for part in parts)
        return "integer" if self.exact and is_whole else "number"

    def take(self, node: ast.expr, part: Part, accepted: Collection[Kind], kind: Kind) -> Evaluate:
        """A function that computes a part in a kind. Raises UserError if it is of a kind that isn't accepted."""
        if part.kind not in accepted and part.kind != "unknown":
            hint = ". Compare it, as in `x != 0`" if kind == "boolean" and part.kind in NUMERIC else ""
            name = OPERATORS.get(type(getattr(node, "op", None)), "`if`")
            self.fail(node, name, (part,), f"It needs {describe_kinds(accepted)}{hint}")
        return self.convert(part, kind)

    def convert(self, part: Part, kind: Kind, *, checks: bool = False) -> Evaluate:
        evaluate, own = (self.check(part) if checks else part.evaluate), part.kind
        if own == kind or "unknown" in (own, kind):
            return evaluate
        return lambda operands: operators.convert(evaluate(operands), own, kind)

    def check(self, part: Part) -> Evaluate:
        """A function that computes a part where what isn't finite would be lost, as in comparisons."""
        if not part.may_overflow or part.kind != "number":
            return part.evaluate
        show = self.show(part.node)
        return lambda operands: operators.check_finite(part.evaluate(operands), show)

    def check_null(self, node: ast.expr, part: Part) -> None:
        """Raises UserError for a comparison with null."""
        if part.kind == "missing":
            fault = f"compares with null in {self.parsed.show(node)}, which is always missing; write is_null(x)"
            raise make_error(self.text, fault)

    def unify(self, node: ast.expr, name: str, parts: Sequence[Part]) -> Kind:
        """The common kind of parts. Raises UserError if they have none."""
        kinds = {part.kind for part in parts} - {"unknown", "missing"}
        if len(kinds) > 1 and not kinds <= NUMERIC:
            self.fail(node, name, parts, _suggest_conversion(parts, self.parsed))
        if not kinds:
            return "unknown" if any(part.kind == "unknown" for part in parts) else "missing"
        if len(kinds) == 1:
            return next(iter(kinds))
        return "number" if "number" in kinds else "integer"

    def fail(self, node: ast.expr, name: str, parts: Sequence[Part], hint: str) -> NoReturn:
        """Raises the error about the kinds of the parts to which an operator or a function, `name`, is applied."""
        listed = [f"{KINDS.get(part.kind, 'values')} ({self.parsed.show(part.node)})" for part in parts]
        fault = f"compares {' with '.join(listed)}" if name == COMPARE else f"applies {name} to {' and '.join(listed)}"
        place = "" if node is self.parsed.tree else f", in {self.parsed.show(node)}"
        raise UserError(f"{make_error(self.text, fault)}{place}. {hint}.")

    def show(self, node: ast.expr) -> Show:
        return functools.partial(self.parsed.show, node)


def _suggest_conversion(parts: Sequence[Part], parsed: Parsed) -> str:
    text = next((part for part in parts if part.kind == "text"), None)
    if text is None:
        return "They must be of one type"
    if any(part.kind == "time" for part in parts):
        return f"to_time({parsed.read(text.node)}) is the time in a text"
    return f"to_number({parsed.read(text.node)}) is the number in a text"
