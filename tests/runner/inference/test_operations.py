"""A run with row operations: new rows get what its rows got, and nothing is computed twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from pyarrow import csv

import runner
from components.data import Csv
from components.operation import Derive, Filter
from components.types import DataError
from runner.__main__ import main
from runner.inference.trained_model import TrainedModel

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK = ("training.epochs=1", "training.batch_size=8", "tracking=none", "quiet=true", "architecture.widths=[4]")
FEATURE = """# The rooms of a household.
target: {_target_: components.feature.Numeric, key: price}
columns:
  rooms_each: {_target_: components.feature.Numeric, key: rooms_each}
  rooms: {_target_: components.feature.Numeric, key: rooms}
inputs: {columns: [rooms_each, rooms]}
"""
OPERATIONS = (
    "operations=["
    '{option: filter, where: "price < 130"}, '
    "{option: derive, columns: {price: price + 0, rooms: rooms + 1, rooms_each: rooms / households}}]"
)
COLUMNS: dict[str, Any] = {
    "id": [f"a{number}" for number in range(60)],
    "rooms": [number % 7 + 1.5 for number in range(60)],
    "households": [number % 5 + 1.0 for number in range(60)],
    "price": [number * 37 % 60 * 2.5 for number in range(60)],
}
KEPT = [row for row in range(60) if COLUMNS["price"][row] < 130]
NEW = {name: COLUMNS[name] for name in ("rooms", "households")}  # without the column of the target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    here = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patched, jax.numpy_dtype_promotion("standard"):
        patched.chdir(here)
        lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
        Path("homes.csv").write_text("\n".join(lines) + "\n")
        Path("conf/feature").mkdir(parents=True)
        Path("conf/feature/homes.yaml").write_text(FEATURE)
        words = ["data=csv", f"data.path={here}/homes.csv", "feature=homes", "loss=mse", "metric=[]", OPERATIONS]
        yield runner.run(*QUICK, *words).folder


@pytest.fixture(scope="module")
def model(folder: Path) -> TrainedModel:
    return runner.load(folder)


def test_new_rows_get_the_columns_and_all_are_kept(model: TrainedModel) -> None:
    notes: list[str] = []
    new = model.predict(NEW, on_warning=notes.append)
    assert [*new.row] == [*range(60)]
    assert notes == ["operations.0 is for the data of the run: all new rows are kept, in their order"]
    known = model.predict("test")
    assert set(known.row) < set(KEPT)
    np.testing.assert_allclose(new.prediction[known.row], known.prediction, rtol=1e-5)
    assert known.target is not None
    np.testing.assert_allclose(known.target, np.array(COLUMNS["price"])[known.row], rtol=1e-5)


def test_new_rows_with_a_target_are_evaluated(model: TrainedModel) -> None:
    rows = model.predict("test").row
    taken = {name: np.array(COLUMNS[name])[rows] for name in ("rooms", "households", "price")}
    assert model.evaluate(taken)["new/loss"] == pytest.approx(model.evaluate("test")["test/loss"], rel=1e-4)


def test_an_error_in_new_rows_names_the_row_and_the_operation(model: TrainedModel) -> None:
    rows = {"rooms": [1.0, 2.0], "households": [1.0, 0.0]}
    with pytest.raises(DataError, match=r"^operations\.1 \(derive\): row 1 of the new rows: `rooms / households` .* 0"):
        model.predict(rows)
    with pytest.raises(DataError, match=r"^operations\.1 \(derive\): there is no column `households` in the new rows"):
        model.predict({"rooms": [1.0]})


def test_nothing_is_computed_again_from_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("an operation runs again")

    for operation in (Filter, Derive):
        monkeypatch.setattr(operation, "apply", fail)
    data = runner.load(folder).data
    of_source = Csv(path=str(folder.parents[1] / "homes.csv")).splits()
    expected = {split: sorted({*rows.tolist()} & {*KEPT}) for split, rows in of_source.items()}
    assert {split: data.number_rows(split).tolist() for split in data.splits} == expected
    (sentence,) = data.notes
    assert sentence == "operations.0 (filter) leaves out 8 of 60 rows"
    assert f"note: {sentence}" in data.messages
    assert sentence not in data.warnings


@pytest.mark.parametrize("words", [["data.split=test"], ["data.path=new.csv"]], ids=["split", "new rows"])
def test_columns_of_the_data_are_copied_beside_predictions(
    folder: Path, model: TrainedModel, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (folder.parents[1] / "homes.csv").read_text().splitlines()
    Path("new.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))  # without the price
    command = ["mode=predict", f"run={folder}", "output=found.csv", "output.columns=[row,id]", *words]
    assert main(command) == 0, capsys.readouterr().err
    table = csv.read_csv("found.csv")
    rows = table["row"].to_pylist()
    assert table["id"].to_pylist() == [f"a{row}" for row in rows]
    assert rows == ([*range(60)] if "data.path=new.csv" in words else model.predict("test").row.tolist())
    predicted = model.predict(NEW, on_warning=lambda note: None).prediction[rows]
    np.testing.assert_allclose(table["prediction"].to_numpy(), predicted, rtol=1e-5)
