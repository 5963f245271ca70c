"""Runs whose operations make other rows: predictions name the new row that each row is made of."""

from pathlib import Path

import jax
import numpy as np
import pytest

import runner
from runner.inference.trained_model import TrainedModel

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

QUICK = ("training.epochs=1", "training.batch_size=8", "tracking=none", "quiet=true", "architecture.widths=[4]")
FEATURE = """# The price of a thing.
target: {{_target_: components.feature.Numeric, key: price}}
columns:
  size: {{_target_: components.feature.Numeric, key: {key}}}
inputs: {{columns: [size]}}
"""
ORDERS = {
    "customer": [number % 20 for number in range(60)],
    "things": [[number % 3, (number + 1) % 3][: 1 + number % 2] for number in range(60)],
    "price": [float(number % 7) for number in range(60)],
}
EXPLODE = (
    "operations=[{{option: explode, columns: things}}, "
    '{{option: join, other: {{option: csv, path: "{}"}}, by: {{things: id}}, columns: size}}]'
)
AGGREGATE = 'operations=[{option: aggregate, by: customer, columns: {price: "sum(price)", orders: "count()"}}]'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("orders")
    (here / "things.csv").write_text("id,size\n0,1.5\n1,2.5\n2,4.5\n")
    (here / "conf/feature").mkdir(parents=True)
    for key in ("size", "orders"):
        (here / f"conf/feature/{key}.yaml").write_text(FEATURE.format(key=key))
    return here


def train(folder: Path, feature: str, operations: str, *words: str) -> TrainedModel:
    with pytest.MonkeyPatch.context() as patched, jax.numpy_dtype_promotion("standard"):
        patched.chdir(folder)
        run = runner.run(*QUICK, f"feature={feature}", "loss=mse", "metric=[]", operations, *words, data=ORDERS)
        return runner.load(run.folder, data=ORDERS)


@pytest.fixture(scope="module")
def exploded(folder: Path) -> TrainedModel:
    return train(folder, "size", EXPLODE.format(folder / "things.csv"))


def test_each_element_is_predicted_with_the_row_of_its_list(exploded: TrainedModel) -> None:
    notes: list[str] = []
    new = exploded.predict({"things": [[0, 1], [2, 0], [1, 1]]}, on_warning=notes.append)
    assert new.row.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(new.prediction[[0, 1, 1]], new.prediction[[3, 4, 5]])
    assert len({*new.prediction.tolist()}) == 3
    assert notes == []
    frame = exploded.predict({"things": [[0, 1], [], [2]]}, on_warning=notes.append).frame(["row"])
    assert frame["row"].tolist() == [0, 0, 2]
    assert notes == ["operations.0 (explode): 1 row: the list of `things` is empty or missing"]
    assert exploded.evaluate({"things": [[0, 1]], "price": [2.0]})["new/loss"] > 0


def test_the_pieces_of_a_row_are_found_by_its_number(exploded: TrainedModel) -> None:
    data, rows = exploded.data, exploded.data.splits["train"]
    numbers = data.number_rows("train")
    assert len({*numbers.tolist()}) < len(numbers)
    np.testing.assert_array_equal(data.find_rows(numbers), rows)
    assert set(exploded.predict("train").row) == {*numbers.tolist()}


def test_another_table_that_has_changed_is_noted(folder: Path, exploded: TrainedModel) -> None:
    (folder / "things.csv").write_text("id,size\n0,1.5\n1,2.5\n2,4.5\n3,10.5\n")
    notes: list[str] = []
    new = runner.load(exploded.folder, data=ORDERS).predict({"things": [[0, 3]]}, on_warning=notes.append)
    assert len(new.row) == 2
    assert notes == ["operations.1.other has changed since the training"]


@pytest.mark.slow
def test_each_group_is_predicted_with_its_first_row(folder: Path) -> None:
    model = train(folder, "orders", AGGREGATE, "data.group=customer")
    rows = {"customer": [7, 8, 7, 7], "price": [1.0, 2.0, 3.0, 4.0]}
    new = model.predict(rows)
    assert new.row.tolist() == [0, 1]
    assert new.frame(["customer"])["customer"].tolist() == [7, 8]
    assert {split: len(model.predict(split).row) for split in model.splits} == {**model.splits}
    assert sum(model.splits.values()) == 20
