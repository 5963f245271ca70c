"""Each option of `conf/operation` runs on a table, and none hides a column."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest

from components.data import Arrays
from components.operation import Rename
from components.types import MakesRows, RowOperation, SkipsRows, UserError
from runner.config.catalog import find_options
from runner.config.compose import compose
from runner.data.load import Data
from runner.data.operations import operate_new_rows
from runner.display.progress import make_progress
from runner.execution.run_data import load_data
from runner.signature.operations import build_operations, operate
from tests.helpers.operations import list_rows
from tests.runner.config.test_compose import FIELDS_OF_OPERATIONS

MODULE = """
def double(columns):
    return {"double": columns["label"] * 2}
"""


@pytest.mark.parametrize("name", sorted(find_options().files["operation"]))
@pytest.mark.usefixtures("in_empty_folder")
def test_each_option_runs_on_a_table(name: str, write_module: Callable[[str, str], None]) -> None:
    write_module("my_rows", MODULE)
    fields = (FIELDS_OF_OPERATIONS | {"function": "function: my_rows.double"}).get(name)
    word = f"operations=[{{option: {name}{f', {fields}' if fields else ''}}}]"
    operations: tuple[RowOperation, ...] = build_operations(compose([word]).values["operations"])
    Path("more.csv").write_text("label,size\n" + "".join(f"{row},{row / 2}\n" for row in range(10)))
    columns = {"label": np.arange(10) % 4, "text": np.array([*"abcabcabca"]), "image": np.zeros((10, 2))}
    given = Arrays(columns=columns)
    source = operate(given, operations)
    rows = list_rows(source.blocks("all"))
    assert 0 < len(rows) == source.sizes()["all"]
    (operation,) = operations
    if operation.applies_to_new_rows and not isinstance(operation, MakesRows):
        assert len(rows) == 10


OTHER = "other: {option: csv, path: more.csv}, columns: {big: other}"
USE_OTHER = "{option: derive, columns: {big: other * 2}}"


def load(format: str, *operations: str) -> Data:
    """Loads a table with the columns `label`, `size` and `other`, for a run that reads `label` and `big`."""
    Path("more.csv").write_text("label,big\n" + "".join(f"{row},{row / 2}\n" for row in range(20)))
    table = pyarrow.table({"label": range(20), "size": [0.5] * 20, "other": ["a", "b"] * 10})
    write = pyarrow.csv.write_csv if format == "csv" else pyarrow.parquet.write_table
    write(table, f"rows.{format}")
    Path("conf/feature").mkdir(parents=True, exist_ok=True)
    target, big = (f"{{_target_: components.feature.Numeric, key: {name}}}" for name in ("label", "big"))
    text = f"# Own.\ntarget: {target}\ncolumns: {{big: {big}}}\ninputs: {{inputs: [big]}}\n"
    Path("conf/feature/own.yaml").write_text(text)
    words = ["data=table", f"data.path=rows.{format}", "feature=own", "loss=mse", "metric=[rmse]", "quiet=true"]
    config = compose([*words, f"operations=[{', '.join(operations)}]"])
    return load_data(config, None, make_progress(quiet=True))[0]


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize("format", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("{option: rename, columns: {size: other}}", "`size` can't be renamed to `other`, which is there"),
        (
            f"{{option: join, {OTHER}, by: label}}",
            "rows.* has a column `other`, too. Give that of more.csv another name",
        ),
        (f"{{option: zip, {OTHER}}}", "rows.* has a column `other`, too. Give that of more.csv another name"),
    ],
)
def test_no_operation_hides_a_column_that_is_not_read(operation: str, message: str, format: str) -> None:
    with pytest.raises(UserError, match=rf"operations\.0 .*{message}"):
        load(format, operation, USE_OTHER)


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_name_that_is_no_longer_in_use_is_free(format: str) -> None:
    derive, rename = "{option: derive, columns: {other: size, big: size}}", "{option: rename, columns: {other: same}}"
    data = load(format, derive, rename, f"{{option: zip, {OTHER}}}", USE_OTHER)
    assert data.operations is not None
    derived, renamed, zipped, _ = data.operations.operations
    assert (derived.added, derived.replaced) == (("big",), ("other",)), "nothing reads `other`, but it is there"
    assert (renamed.added, zipped.added) == (("same",), ("other",))
    aggregate = '{option: aggregate, by: label, columns: {big: "sum(size)"}}'
    load(format, aggregate, f"{{option: zip, {OTHER}}}", USE_OTHER)


def test_columns_of_new_rows_that_are_not_read_do_not_matter() -> None:
    columns = {"size": np.arange(3.0), "other": np.ones(3)}
    source, _ = operate_new_rows(Arrays(columns=columns), [Rename(columns={"size": "other"})], ["other"])
    assert isinstance(source, SkipsRows)
    assert [row["other"] for row in list_rows(source.with_used_columns(["other"]).blocks("all"))] == [0, 1, 2]
