"""Lists that are cut to a maximum length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from components.feature.base import raw
from components.feature.base.column import Stateless
from components.feature.base.values import first_array, get_column
from components.ragged import describe_values, layout_of, truncate
from components.types import Block, Constants, DataError, Ragged, Range, Remedy, UserError, Values, check_ranges

Length = Annotated[int, Range(1)]


@dataclass(frozen=True, kw_only=True)
class Truncated(Stateless):
    """The lists of a column, cut to a maximum length. Vocabulary, Hashed, Identity or Numeric reads them.

    A batch pads all lists to its longest ones, so a few long lists may need more memory than there is.

    Attributes:
        key: the raw column with lists in its rows, or a column of Tokens.
        max_length: the maximum number of elements of a list. For lists of lists, one maximum for each level, the
            outermost first, such as [50, 20]; null doesn't cut the lists of a level.
        keep: which elements stay: the `first` or the `last` ones of a list.
        missing: `empty`: a missing list has no elements. None: it is an error.
    """

    key: str
    max_length: Length | tuple[Length | None, ...]
    keep: Literal["first", "last"] = "first"
    missing: Literal["empty"] | None = None

    def __post_init__(self) -> None:
        check_ranges(self)

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`lists`: Ragged with the values of the raw column; or an array, if its rows are arrays."""
        arrays = parents.get(self.key)
        if arrays is not None and "ids" in arrays:
            raise UserError(f"truncated lists of `{self.key}`: `{self.key}` has ids; truncate the column that it reads")
        values = first_array(arrays) if arrays else get_column(block, self.key)
        valid = None if arrays else block.valid.get(self.key)
        if self.missing is None and valid is not None and not valid.all():
            remedy = Remedy("set `missing=empty`", "gaps")
            raise raw.make_gap_error(block, self.key, int(valid.argmin()), remedy)
        self._check_depth(block, values)
        return {"lists": truncate(values, self._max_lengths, last=self.keep == "last")}

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        raise UserError(
            f"the truncated lists of `{self.key}` are raw values; list a column that reads them, such as Vocabulary or "
            "Numeric"
        )

    @property
    def _max_lengths(self) -> tuple[int | None, ...]:
        return (self.max_length,) if isinstance(self.max_length, int) else self.max_length

    def _check_depth(self, block: Block, values: Values) -> None:
        """Raises DataError unless there is a maximum for each level of lists."""
        layout = layout_of(values)
        depth = len(layout.levels) if isinstance(values, Ragged) else len(layout.shape) - 1
        if depth == len(self._max_lengths):
            return
        wanted = "1 maximum" if depth == 1 else f"{depth} maxima, one for each level"
        fix = "leave this column out" if depth == 0 else f"write {wanted}"
        raise DataError(
            f"column `{self.key}` of {block.origin} has {describe_values(values)} in its rows, but `max_length` has "
            f"{len(self._max_lengths)}",
            Remedy(fix, "columns"),
        )
