"""Data frames of pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.types import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas


def make_frame(
    data: Mapping[str, Any] | Sequence[Mapping[str, Any]], like: Any = None, rows: np.ndarray | None = None
) -> pandas.DataFrame:
    """Makes a data frame from columns by name, or from rows.

    Args:
        data: the columns or the rows.
        like: an object whose index the frame gets if it is a data frame of pandas too.
        rows: the rows of `like` that the frame has. None: all.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise UserError("a data frame needs pandas, which is not installed. Install it: pip install pandas") from error
    index = like.index if isinstance(like, pandas.DataFrame) else None
    if index is not None and rows is not None and rows.tolist() != [*range(len(index))]:
        index = index[rows]
    return pandas.DataFrame(data if isinstance(data, Mapping) else list(data), index)
