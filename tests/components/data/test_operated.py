"""Sources whose rows pass through operations: splits, locations, what is kept, and errors."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, Csv, OperatedSource, block_store
from components.operation import Derive, Filter
from components.tracked_block import TrackedBlock
from components.types import Block, DataError, LazyColumns, Ragged, Strings, row_count
from tests.helpers.operations import Rows, list_rows, operate, rows_of_a_part


@dataclass(frozen=True)
class Spy:
    """Counts its calls, and keeps all rows, or those whose `number` is among some."""

    calls: list[int] = field(default_factory=list)
    kept: tuple[int, ...] | None = None
    applies_to_new_rows: ClassVar[bool] = True
    columns_read: ClassVar[tuple[str, ...]] = ("number",)
    columns_computed: ClassVar[tuple[str, ...]] = ()

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        for block in blocks:
            self.calls.append(block.rows)
            numbers: Any = block.columns["number"]
            rows = np.arange(block.rows) if self.kept is None else np.flatnonzero(np.isin(numbers, self.kept))
            yield block.take(rows)


def rows(numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [{"number": number, "text": str(number)} for number in numbers]


@settings(max_examples=40)
@given(st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part}), st.integers(1, 7))
def test_rows_keep_their_split_and_their_location(parts: Any, block_rows: int) -> None:
    source = OperatedSource(source=Rows(parts, block_rows), operations=(Filter(where="number >= 0"),))
    positions = {part: _find_positive(rows) for part, rows in parts.items()}
    kept = {part: [rows[position] for position in positions[part]] for part, rows in parts.items()}
    sizes = {part: len(rows) for part, rows in kept.items()}
    assert {part: list_rows(source.blocks(part)) for part in parts} == kept
    assert source.sizes() == sizes
    locations = [f"row {position} of {part}" for part in parts for position in positions[part]]
    assert [source.locate_row(row) for row in range(len(locations))] == locations
    blocks: list[Any] = [block for part in parts for block in source.blocks(part)]
    assert [block.locate(row) for block in blocks for row in range(block.rows)] == locations
    if all(sizes[part] or not parts[part] for part in parts):
        assert {split: len(rows) for split, rows in source.splits().items()} == sizes


def _find_positive(rows: Sequence[dict[str, Any]]) -> list[int]:
    return [position for position, row in enumerate(rows) if row["number"] is not None and row["number"] >= 0]


def test_a_split_is_that_of_the_source() -> None:
    given = {"train": [0, 3, 5], "valid": [1, 4], "test": [2]}
    source = OperatedSource(source=Rows({"all": rows(range(7))}, 3, given), operations=(Spy(kept=(1, 2, 3, 5, 6)),))
    assert {split: rows.tolist() for split, rows in source.splits().items()} == {
        "train": [2, 3],
        "valid": [0],
        "test": [1],
    }
    assert source.row_numbers().tolist() == [1, 2, 3, 5, 6]


def test_a_split_without_a_row_is_an_error_that_names_the_operation() -> None:
    given = {"train": [0, 3, 5], "valid": [1, 4, 6]}
    operations = (Filter(where="number != 1"), Filter(where="number < 4"), Filter(where="number < 3"))
    source = OperatedSource(source=Rows({"all": rows(range(7))}, 3, given), operations=operations)
    message = (
        r"^the valid split has 3 rows \(operations\.0 \(filter\) leaves 2\), and operations\.1 \(filter\) "
        "leaves none of them"
    )
    with pytest.raises(DataError, match=message):
        source.splits()


def test_the_operations_run_once() -> None:
    spy = Spy()
    source = OperatedSource(source=Rows({"all": rows(range(7))}, 3), operations=(spy,))
    for _ in range(3):
        assert len(source.splits()["all"]) == source.sizes()["all"] == len(list_rows(source.blocks("all"))) == 7
    assert spy.calls == [3, 3, 1]


def test_only_columns_that_are_used_are_kept() -> None:
    derived = Derive(columns={"double": "number * 2", "third": "double + number"})
    source = OperatedSource(source=Rows({"all": rows(range(3))}), operations=(derived, Filter(where="number > 0")))
    used = source.with_used_columns(["third"])
    assert next(used.blocks("all")).columns.keys() == {"third"}
    assert list_rows(used.blocks("all")) == [{"third": 3}, {"third": 6}]
    every = next(source.with_used_columns(["absent"]).blocks("all")).columns.keys()
    assert every == {"number", "text", "double", "third"}


def test_columns_that_are_read_when_they_are_used_stay_unread() -> None:
    """Each pass reads those of its rows, which the filter has kept."""
    read: list[list[int]] = []

    def read_image(rows: np.ndarray) -> Strings:
        read.append(rows.tolist())
        return Strings.from_bytes([b"image %d" % row for row in rows])

    @dataclass(frozen=True)
    class Images(Rows):
        def blocks(self, part: str) -> Iterator[Block]:
            for block in super().blocks(part):
                rows = block.first_row + np.arange(row_count(block.columns["number"]))
                lazy = LazyColumns(block.columns, {"image": read_image}, rows)
                yield Block(lazy, block.valid, "files", block.first_row, files=frozenset(["image"]))

    images = Images({"all": rows(range(6))}, 4)
    source = OperatedSource(source=images, operations=(Filter(where="number in [1, 4, 5]"),))
    blocks = [*source.blocks("all")]
    assert not read
    assert [block.files for block in blocks] == [{"image"}] * 2
    for passes in (1, 2):
        contents: list[Any] = [block.columns["image"] for block in source.blocks("all")]
        assert [each.tolist() for each in contents] == [["image 1"], ["image 4", "image 5"]]
        assert read == [[1], [4, 5]] * passes


@settings(max_examples=30)
@given(rows_of_a_part, st.integers(1, 7))
def test_rows_in_temporary_files_are_the_same(rows: Any, block_rows: int) -> None:
    operations = (Filter(where="is_null(number) or number != 1"), Derive(columns={"sum": "number + float"}))
    expected = operate(operations, {"all": rows}, block_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_store, "MAX_ARRAY_BYTES", 100)
        patch.setattr(block_store, "SPOOLED_BYTES", 150)
        assert operate(operations, {"all": rows}, block_rows) == expected


def test_texts_of_rows_that_are_left_out_need_no_memory() -> None:
    texts = Strings.from_bytes([b"x" * 1000, b"ab", b"c", b"y" * 1000])
    (block,) = OperatedSource(
        source=Arrays(columns={"text": texts, "number": np.arange(4)}), operations=(Filter(where="number in [1, 2]"),)
    ).blocks("all")
    kept: Any = block.columns["text"]
    assert kept.tolist() == ["ab", "c"]
    assert len(kept.data) == 3


def test_an_error_names_the_operation_once_and_the_row_of_the_source(tmp_path: Any) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n4,0\n3,0\n")
    source = Csv(path=str(tmp_path / "a.csv"))
    operations = (Filter(where="x < 4"), Derive(columns={"z": "x // y"}), Filter(where="z > 0"))
    message = r"^operations\.1 \(derive\): .*a\.csv, line 4: `x // y` divides by 0, where x is 3"
    with pytest.raises(DataError, match=message):
        OperatedSource(source=source, operations=operations).sizes()


def test_a_missing_column_is_an_error_with_all_columns_of_the_source() -> None:
    source = OperatedSource(source=Rows({"all": rows(range(3))}), operations=(Filter(where="numbr > 0"),))
    message = r"^operations\.0 \(filter\): there is no column `numbr` in all\. Did you mean number\?"
    with pytest.raises(DataError, match=message):
        source.with_used_columns(["text"]).sizes()


FLOATS, WHOLE = r"`number` as single floats \(float64\)", r"`number` as single whole numbers \(int64\)"


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (
            {"number": np.array([1.5])},
            f"the rows from row 3 of all have {FLOATS}, and those from row 0 of all .* {WHOLE}",
        ),
        ({"other": np.array([1])}, f"`number` as the source has it, and those .* {WHOLE}"),
    ],
)
def test_columns_are_equal_in_all_blocks(late: Any, message: str) -> None:
    class Changing(Spy):
        def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
            for block in blocks:
                yield block.with_columns({"number": np.array([1, 2, 3])} if block.rows == 3 else late)

    with pytest.raises(DataError, match=message):
        OperatedSource(source=Rows({"all": rows(range(4))}, 3), operations=(Changing(),)).sizes()


def test_what_an_operation_does_is_reported() -> None:
    table = [{"number": 1, "float": None}, {"number": 2, "float": 1.0}, {"number": None, "float": 2.0}]
    operations = (Derive(columns={"number": "number + 1", "new": "float * 2"}), Filter(where="number > 2"))
    source = OperatedSource(source=Rows({"all": table}), operations=operations)
    first, second = source.result.reports
    assert (first.added, first.replaced, first.dropped) == (("new",), ("number",), ())
    assert (first.rows_before, first.rows_after, second.rows_before, second.rows_after) == (3, 3, 3, 1)
    (sentence,) = source.notes()
    reason = "1 row: the condition has no value, because one is missing in it"
    assert sentence == f"operations.1 (filter) leaves out 2 of 3 rows; {reason}"
    assert 0 <= first.seconds < 1


def test_the_fingerprint_changes_with_rows_and_operations() -> None:
    one, two = Rows({"all": rows(range(3))}), Rows({"all": rows(range(4))})
    less, more = Filter(where="number < 2"), Filter(where="number > 2")
    sources = [(one, (less,)), (two, (less,)), (one, (more,)), (one, (less, more)), (one, (more, less))]
    assert len({OperatedSource(source=source, operations=each).fingerprint() for source, each in sources}) == 5


def test_the_summary_has_the_rows_of_each_split_and_the_first_rows() -> None:
    given = {"train": [0, 3, 5], "valid": [1, 4], "test": [2, 6]}
    derived = Derive(columns={"double": "number * 2"})
    operations = (Filter(where="number != 3"), derived, Filter(where="double > 0 and double < 12"))
    source = OperatedSource(source=Rows({"all": rows(range(7))}, 3, given), operations=operations)
    source.splits()
    first, second, third = source.summarize_operations().operations
    assert first.by_split == {"train": (3, 2), "valid": (2, 2), "test": (2, 2)}
    assert second.by_split == {split: (after, after) for split, (_, after) in first.by_split.items()}
    assert third.by_split == {"train": (2, 1), "valid": (2, 2), "test": (2, 1)}
    summary = source.summarize_operations()
    assert summary.memory_bytes > 0 == summary.disk_bytes
    assert summary.before == ((0, 1, 2, 3, 4), (("number", (0, 1, 2, 3, 4)),))
    assert summary.after == ((1, 2, 4, 5), (("number", (1, 2, 4, 5)), ("double", (2, 4, 8, 10))))


@settings(max_examples=20)
@given(rows_of_a_part.filter(len), st.integers(1, 7))
def test_rows_that_occur_several_times_are_counted(table: Any, block_rows: int) -> None:
    """The counts are those of an operation that repeats rows 300 times, more than a byte counts."""

    class Repeat(Spy):
        applies_to_new_rows: ClassVar[bool] = False

        def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
            yield from (block.take(np.repeat(np.arange(block.rows), 300)) for block in blocks)

    splits = {"train": range(len(table) // 2), "test": range(len(table) // 2, len(table))}
    source = OperatedSource(source=Rows({"all": table}, block_rows, splits), operations=(Repeat(),))
    source.splits()
    (repeated,) = source.summarize_operations().operations
    assert repeated.by_split == {split: (len(rows), 300 * len(rows)) for split, rows in splits.items()}


def test_first_rows_are_plain_and_short() -> None:
    texts = Strings.from_bytes([b"x" * 1000, b"a"])
    lists = Ragged(np.arange(5.0), np.array([0, 4, 5]))

    class Take(Spy):
        columns_read: ClassVar[tuple[str, ...]] = ()

        def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
            return blocks

    columns = {
        "text": texts,
        "list": lists,
        "texts": Ragged(Strings.from_bytes([b"a", b"b"]), np.array([0, 2, 2])),
        "nested": Ragged(lists, np.array([0, 2, 2])),
        "image": np.zeros((2, 28, 28)),
        "time": np.array(["2024-01-01", "NaT"], "M8[s]"),
    }
    source = OperatedSource(source=Arrays(columns=columns), operations=(Take(),))
    assert dict(source.summarize_operations().before.columns) == {
        "text": ("x" * 99 + "…", "a"),
        "list": ("[0.0, 1.0, 2.0, …]", "[4.0]"),
        "texts": ("[a, b]", "[]"),
        "nested": ("2 lists", "0 lists"),
        "image": ("28 x 28",) * 2,
        "time": ("2024-01-01T00:00:00", None),
    }
