"""Each option of `conf/operation` runs on a table, so that a new option is tested by being there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.data import Arrays
from components.types import MakesRows, RowOperation
from runner.config.catalog import find_options
from runner.config.compose import compose
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
