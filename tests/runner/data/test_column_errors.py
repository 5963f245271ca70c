"""Errors of feature columns name the key to change, whatever finds them, and which column of a name is read."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from components.types import UserError
from runner.config.compose import compose
from runner.display.progress import make_progress
from runner.execution.run_data import load_data

pytestmark = pytest.mark.usefixtures("in_empty_folder")
QUICK = ("quiet=true", "tracking=none", "architecture=mlp", "loss=mse", "metric=[rmse]")
NUMBER = "target: {_target_: components.feature.Numeric, key: price}"


def load(*words: str) -> None:
    load_data(compose([*words, *QUICK]), None, make_progress(quiet=True))


def find_error(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        load(*words)
    return str(caught.value)


def write_feature(**columns: str) -> None:
    Path("conf/feature").mkdir(parents=True, exist_ok=True)
    listed = "\n".join(f"  {name}: {{_target_: components.feature.{text}}}" for name, text in columns.items())
    text = f"# A price.\n{NUMBER}\ncolumns:\n{listed}\ninputs: {{inputs: [{', '.join(columns)}]}}\n"
    Path("conf/feature/own.yaml").write_text(text)


@pytest.fixture
def prices(in_empty_folder: Path) -> tuple[str, ...]:
    """The words of the command for a table of times and prices."""
    lines = [f"2024-01-{n % 28 + 1:02}T{n % 24:02}:00:00,202401{n % 28 + 1:02},{n},{n % 5}" for n in range(40)]
    Path("prices.csv").write_text("\n".join(["hour,day,x,price", *lines]) + "\n")
    return ("data=csv", "data.path=prices.csv", "feature=own")


@pytest.mark.parametrize(
    "columns",
    [
        {"hour": "Time, key: hour, parts: [hour]", "part": "Time, key: hour, parts: [weekday]"},
        {"hour": "Numeric, key: x", "trend": "Time, key: hour, parts: [elapsed], normalize: z_score"},
    ],
)
def test_a_feature_column_in_place_of_a_raw_one_of_its_name_is_named(
    prices: tuple[str, ...], columns: dict[str, str]
) -> None:
    write_feature(**columns)
    message = find_error(*prices)
    assert "`hour` is the feature column of this name; to read the raw column `hour`, rename the feature" in message
    assert "format" not in message
    write_feature(**{name.replace("hour", "other"): text for name, text in columns.items()})
    load(*prices)


def test_a_column_that_reads_the_raw_one_of_its_own_name_needs_no_other_name(prices: tuple[str, ...]) -> None:
    write_feature(day="Time, key: day, parts: [weekday]")
    message = find_error(*prices)
    assert "feature column" not in message
    assert message.endswith("; for the times of a table, set data.types.day=timestamp"), "no `format` reads numbers"
    load(*prices, "data.types.day=timestamp")


def test_an_error_of_statistics_that_are_merged_has_the_remedy_of_the_column() -> None:
    for name, mode in {"a": "L", "b": "RGB"}.items():
        Path("images", name).mkdir(parents=True)
        for number in range(64):  # the rows of a block
            PIL.Image.new(mode, (4, 4)).save(f"images/{name}/{number}.png")
    node = "_target_: components.feature.Image, key: image, normalize: standardize"
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/own.yaml").write_text(
        "# A class.\ntarget: {_target_: components.feature.Label, key: label}\n"
        f"columns: {{image: {{{node}}}}}\ninputs: {{image: [image]}}\n"
    )
    message = find_error("data=images", "data.path=images", "feature=own")
    assert message == (
        "column `image` has grey images and others; set feature.columns.image.channels=3 or "
        "feature.columns.image.channels=1"
    )
