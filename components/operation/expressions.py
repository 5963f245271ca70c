"""Expressions that are parameters of operations."""

from __future__ import annotations

from components.expression.expression import Expression
from components.expression.operands import Kind
from components.types import FieldError, UserError


def find_type(field: str, text: str) -> Kind:
    """The type of an expression, as far as it is known without the rows. Raises FieldError if it isn't valid."""
    try:
        return Expression(text).find_type({})
    except UserError as error:
        raise FieldError(field, str(error)) from error
