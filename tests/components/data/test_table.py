"""Rows of every kind in blocks: none is lost, and none of the blocks is too large."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from components.data.table import BLOCK_BYTES, Table
from components.types import DataError, Ragged, Strings, Values

BLOCK_ROWS = 1 << 12  # as conftest.py sets it
ROWS = BLOCK_ROWS + 7
WORDS = Strings(np.frombuffer(b"_abbccc", np.uint8)[1:], np.array([0, 1, 3, 6]))


def columns(rows: int) -> dict[str, Values]:
    """The number of the row in columns of many kinds."""
    offsets = np.arange(rows + 1)
    digits = Strings((offsets[:-1] % 10 + ord("0")).astype(np.uint8), offsets)
    return {
        "array": offsets[:-1].astype(np.int32),
        "strings": digits,
        "dictionary": WORDS._replace(indices=offsets[:-1] % 3),
        "ragged": Ragged(offsets[:-1] % 7, np.append(offsets[:-1] // 2, rows // 2 + 1)),
        "tokens": Ragged(digits, offsets - (offsets > 5)),
    }


@dataclass(frozen=True, kw_only=True)
class Some(Table):
    """Columns of two parts, or of one."""

    columns: Any

    def content_digest(self) -> str:
        return ""

    def sizes(self) -> Mapping[str, int]:
        return {part: len(columns["array"]) for part, columns in self.columns.items()}

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return self.columns

    def origin(self, part: str) -> str:
        return part


def rows_of(values: Any) -> list[Any]:
    if not isinstance(values, Ragged):
        return values.tolist()
    flat = values.values.tolist()
    return [flat[a:b] for a, b in zip(values.offsets[:-1].tolist(), values.offsets[1:].tolist(), strict=True)]


def test_blocks_are_all_rows_in_their_order() -> None:
    given = columns(ROWS)
    blocks = list(Some(columns={"all": given}, valid=1, test=1).blocks("all"))
    assert [block.first_row for block in blocks] == [0, BLOCK_ROWS]
    for name, values in given.items():
        assert [row for block in blocks for row in rows_of(block.columns[name])] == rows_of(values)


def test_blocks_of_large_rows_have_fewer_of_them() -> None:
    images = np.zeros((70, 1 << 8, 1 << 8), np.uint8)
    tokens = Ragged(np.zeros(1 << 21, np.int32), np.linspace(0, 1 << 21, 71).astype(np.int64))
    for column in (images, tokens):
        given = {"array": np.zeros(70, np.int8), "large": column}
        blocks = list(Some(columns={"all": given}, valid=1, test=1).blocks("all"))
        assert sum(len(block.columns["array"]) for block in blocks) == 70
        sizes = [getattr(block.columns["large"], "values", block.columns["large"]).nbytes for block in blocks]
        assert BLOCK_BYTES // 2 < max(sizes) <= BLOCK_BYTES


def test_texts_that_differ_in_a_nul_are_different_classes() -> None:
    texts = Strings.from_bytes([b"a", b"a\0", b"a", b"a\0"] * 3)
    splits = Some(columns={"all": {"array": np.zeros(12), "y": texts}}, valid=4, test=4, stratify="y").splits()
    assert [[texts.tolist()[row] for row in rows].count("a") for rows in splits.values()] == [2, 2, 2]


@pytest.mark.parametrize("name", ["strings", "dictionary"])
def test_strings_are_classes_to_stratify_by(name: str) -> None:
    classes = np.array(rows_of(columns(60)[name]))
    splits = Some(columns={"all": columns(60)}, valid=0.5, test=1 / 6, stratify=name).splits()
    for rows in splits.values():
        assert np.ptp(np.unique(classes[rows], return_counts=True)[1]) <= 1
    with pytest.raises(DataError, match=r"`seed` \(=null\) and `stratify` \(=strings\) exclude each other"):
        Some(columns={"all": columns(60)}, valid=10, test=10, stratify="strings", seed=None).splits()
    with pytest.raises(DataError, match="must be a column with one value in each row"):
        Some(columns={"all": columns(60)}, valid=10, test=10, stratify="tokens").splits()


@pytest.mark.parametrize(("count", "rows"), [(10, 12), (100, 8)])
def test_blocks_of_wide_tables_have_enough_rows_for_each_column(
    monkeypatch: pytest.MonkeyPatch, count: int, rows: int
) -> None:
    monkeypatch.setattr("components.data.table.BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr("components.data.table.COLUMN_BYTES", 1 << 6)  # 8 numbers
    given = {"array": np.arange(20.0)} | {f"x{number}": np.arange(20.0) for number in range(count - 1)}
    sizes = [len(block.columns["array"]) for block in Some(columns={"all": given}, valid=1, test=1).blocks("all")]
    assert sizes[0] == rows
    assert sum(sizes) == 20
