"""The suggestion for a table with many columns is printed as a summary with the unusual columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runner.__main__ import main
from runner.config.compose import configure
from runner.display.tables import MAX_ROWS

ROWS = 60
LINE = ("data=csv", "data.path=wide.csv", "data.target=y")
SUMMARY = "{} columns: the target, {} numbers, 2 categories (3 to 5 values), 1 time, 1 missing indicator, 2 left out."


def write_table(numbers: int, gaps: int = 1) -> None:
    """Writes a table with 8 other columns. So many of the numbers have gaps."""
    rng = np.random.default_rng(0)
    columns = {f"x{number}": [f"{value:.6f}" for value in rng.normal(size=ROWS)] for number in range(numbers)}
    for number in range(gaps):
        columns[f"x{number}"][3] = ""
    columns |= {
        "three": [f"v{row % 3}" for row in range(ROWS)],
        "five": [f"v{row % 5}" for row in range(ROWS)],
        "day": [f"2024-{1 + row % 12:02}-{1 + row % 27:02}" for row in range(ROWS)],
        "sometimes": ["yes" if row % 2 else "" for row in range(ROWS)],
        "constant": ["1"] * ROWS,
        "row": [str(row) for row in range(ROWS)],
        "price": [f"${row % 7}.50" for row in range(ROWS)],
        "y": [f"c{row % 2}" for row in range(ROWS)],
    }
    lines = [",".join(columns), *map(",".join, zip(*columns.values(), strict=True))]
    Path("wide.csv").write_text("\n".join(lines) + "\n")


def print_suggestion(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    configure([*LINE, *words])
    return capsys.readouterr().out.splitlines()


def test_many_columns_are_summarized_with_the_unusual_ones(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(numbers=500)
    first, heading, *rows = print_suggestion(capsys)
    assert first == f"inferred from wide.csv: {SUMMARY.format(508, 501)} Of these:"
    assert heading.split() == ["column", "type", "missing", "distinct", "becomes"]
    shown = rows[: rows.index("")]
    assert [row.split()[0] for row in shown] == ["x0", "sometimes", "constant", "row", "price", "y"]
    assert rows[-3] == "All columns are in columns.txt of the run's folder. mode=look and mode=init print them."
    assert rows[-2] == "also inferred (to change one, set it on the command line):"
    loss, sizes = "loss=binary_cross_entropy 'metric=[accuracy]'", "training.batch_size=32 training.patience=10"
    rest = "optimizer=adamw schedule=cosine learning_rate=0.003 'architecture.widths=[32,32]' training.epochs=60"
    assert rows[-1] == f"  {loss} architecture=mlp {rest} {sizes}"
    *_, last = print_suggestion(capsys, "learning_rate=0.1", "optimizer=sgd", "training={epochs: 5, patience: 10}")
    sizes = "training.batch_size=32"
    assert last == f"  {loss} architecture=mlp schedule=cosine 'architecture.widths=[32,32]' {sizes}"
    *_, last = print_suggestion(capsys, "optimizer._target_=optax.lion", "learning_rate=0.003")
    assert "optimizer=" not in last
    assert "learning_rate" not in last


def test_many_unusual_columns_are_cut(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(numbers=50, gaps=50)
    _, _, *rows = print_suggestion(capsys)
    shown = rows[: rows.index("")]
    assert len(shown) == MAX_ROWS + 1
    assert shown[-1].strip() == "… 25 more"


@pytest.mark.parametrize("mode", ["look", "dry_run", "init"])
def test_modes_without_a_run_print_all_columns(
    mode: str, in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(numbers=40)
    first, _, *rows = print_suggestion(capsys, f"mode={mode}")
    assert first == "inferred from wide.csv:"
    assert rows.index("") == 48


def test_few_columns_are_all_printed(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(numbers=MAX_ROWS - 8)
    first, _, *rows = print_suggestion(capsys)
    assert first == "inferred from wide.csv:"
    assert rows.index("") == MAX_ROWS


def test_a_dry_run_counts_the_values_of_many_columns(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.modes.dry_run.report.print_dry_run", lambda config: config)
    write_table(numbers=120)
    assert main([*LINE, "mode=dry_run"]) == 0
    _, _, values = capsys.readouterr().out.partition("\nvalues\n")
    lines = [" ".join(line.split()) for line in values.splitlines()]
    assert "data.types: 126 values, which --info lists inferred from wide.csv" in lines
    assert "feature.columns: 142 values, which --info lists inferred from wide.csv" in lines
    assert sum(line.endswith("inferred from wide.csv") for line in lines) < 20
    assert "feature.columns.day.format=null the signature of components.feature.Time" in lines
    assert 'data.target="y" the command line (data.target=y)' in lines
    assert len(lines) < 200
    assert main([*LINE, "--info"]) == 0
    assert "  data.types.x119=" in capsys.readouterr().out
