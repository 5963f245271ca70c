"""What operations did is shown by `mode=look` and `mode=dry_run`, also of rows from the cache."""

import re
from pathlib import Path

import pytest

from components.types import FirstRows, OperationsSummary, OperationSummary
from runner import memory
from runner.__main__ import main
from runner.display import tables
from runner.modes.look.operations import operations_tables

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

FEATURE = """# One number.
target: {_target_: components.feature.Numeric, key: y}
columns:
  half: {_target_: components.feature.Numeric, key: half}
inputs: {columns: [half]}
"""
OPERATIONS = (
    'operations=[{option: filter, where: "x > 1"}, {option: derive, columns: {half: x / 2}}, '
    '{option: filter, where: "half < 100"}]'
)
WORDS = ("data=csv", "data.path=x.csv", "data.seed=null", "feature=half", "loss=mse", "metric=[]")


@pytest.fixture
def command(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    monkeypatch.setattr(memory, "measure_free_memory", lambda: memory.FreeMemory(-(10**9), "in this test"))
    rows = ["x,y", "0,1", ",2", *(f"{number},{number % 5}" for number in range(2, 48))]
    Path("x.csv").write_text("\n".join(rows) + "\n")
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/half.yaml").write_text(FEATURE)
    return [*WORDS, OPERATIONS, "architecture=mlp", "optimizer=adam", "training.batch_size=8"]


def read_section(text: str, title: str) -> list[list[str]]:
    """The cells of the lines below a title."""
    (section,) = [each for each in text.split("\n\n") if each.startswith(title) or f"\n{title}" in each]
    lines = section[section.index(title) :].splitlines()[1:]
    return [re.split(" {2,}", line.strip()) for line in lines]


def test_both_modes_show_the_rows_and_columns_of_each_operation(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mode=look", *command]) == 0
    printed = capsys.readouterr().out
    heading, *lines = read_section(printed, "rows after each operation")
    assert heading == ["operation", "rows", "train", "valid", "test", "columns", "left out"]
    reason = "1 row: the condition has no value, because one is missing in it"
    assert lines == [
        ["before", "48", "34", "7", "7"],
        ["operations.0 (filter)", "46", "32", "7", "7", f"2 rows; {reason}"],
        ["operations.1 (derive)", "46", "32", "7", "7", "adds half"],
        ["operations.2 (filter)", "46", "32", "7", "7"],
    ]
    before = read_section(printed, "the first rows before the operations")
    assert before == [["row", "x"], ["0", "0"], ["1", "missing"], *([str(n), str(n)] for n in (2, 3, 4))]
    after = read_section(printed, "the first rows after the operations")
    assert after == [["row", "x", "half"], *([str(n), str(n), f"{n / 2:g}"] for n in (2, 3, 4, 5, 6))]
    assert main(["mode=dry_run", *command]) == 1, "there is no memory, and the rows come from the cache"
    heading, *lines = read_section(capsys.readouterr().out, "operations on rows")
    assert heading == ["operation", "rows", "time", "columns"]
    times = [line.pop(2) for line in lines[1:4]]
    assert all(re.fullmatch(r"[\d.]+ (µs|ms|s)", time) for time in times)
    assert lines[1:3] == [["operations.0 (filter)", "46"], ["operations.1 (derive)", "46", "adds half"]]
    assert lines[-1] == ["kept", "46", "1.1 kB in memory"]


def test_the_tables_fit_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    operation = OperationSummary(
        name="operations.0 (function)",
        rows_before=10_000,
        rows_after=1_000,
        by_split={"train": (8000, 800), "valid": (1000, 100), "test": (1000, 100)},
        reads_all=False,
        makes_rows=False,
        added=("rooms_of_each_household",),
        replaced=("median_house_value",),
        dropped=("longitude", "latitude"),
        counts={"the condition has no value, because one is missing in it": 7},
        seconds=1.0,
    )
    rows = FirstRows((0, 9999), (("median_house_value", (1e5, None)), ("city", ("x" * 90, "y"))))
    summary = OperationsSummary((operation,), 0, 0, rows, rows)
    for width in (80, 140):
        monkeypatch.setattr(tables, "terminal_width", lambda width=width: width)
        tables.write_tables(operations_tables(summary))
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        words = " ".join(lines).split()
        assert {"1,000", "800", "100", "drops", "all", "100000", "missing"} <= {*words}
        assert "median_house_value" in " ".join(lines)
