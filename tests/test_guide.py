"""The guide to feature columns is current: its files, commands and code run, and its table lists all columns."""

import contextlib
import inspect
import json
import re
import shlex
import sqlite3
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from guides import read_guide
from pyarrow import csv, parquet
from sample_files import write_housing

import components.feature
from runner.__main__ import main
from runner.config.check import check_config
from runner.config.compose import compose

GUIDE = read_guide("features.md")
QUICK_RUN = ("training.epochs=1", "training.batch_size=16", "tracking=none")
PROGRAM = next(
    block for block in re.findall(r"```python\n(.*?)```", GUIDE.text, re.DOTALL) if "load_transform" in block
)


@pytest.fixture
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files and the tables that it mentions."""
    monkeypatch.setenv("TITRATE_DATA", str(in_empty_folder / "data"))
    monkeypatch.syspath_prepend(str(in_empty_folder))
    write_housing(in_empty_folder / "data/california_housing/housing.csv")
    GUIDE.write_files(in_empty_folder)
    write_houses(in_empty_folder / "houses.csv", price=True)
    write_houses(in_empty_folder / "new.csv", price=False)
    (in_empty_folder / "shards").mkdir()
    for number in range(2):
        write_houses(in_empty_folder / f"shards/{number}.csv", price=True)
    parquet.write_table(csv.read_csv(in_empty_folder / "houses.csv"), in_empty_folder / "houses.parquet")
    write_photos(in_empty_folder)
    write_shop(in_empty_folder / "shop.db")
    write_sessions(in_empty_folder / "sessions.jsonl")
    (in_empty_folder / "poems").mkdir()
    for name, line in {
        "sea": "the ships went down to the sea\n",
        "fire": "a spear of fire in the dark night\n",
    }.items():
        (in_empty_folder / f"poems/{name}.txt").write_text(line * 20)
    return in_empty_folder


def write_houses(path: Path, *, price: bool) -> None:
    """Writes a table with the columns size, city and, if `price`, price."""
    random = np.random.default_rng(0)
    cities = ("Oslo", "Rome", "Kyiv")
    rows = [(random.uniform(40, 200), cities[row % 3], random.uniform(1e5, 1e6)) for row in range(60)]
    lines = [f"{size:.1f},{city}" + f",{cost:.0f}" * price for size, city, cost in rows]
    path.write_text("\n".join(["size,city" + ",price" * price, *lines]))


def write_photos(folder: Path) -> None:
    """Writes a table of photos with the columns photo, mask and price."""
    rows = ["photo,mask,price"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"photo_{number}.png")
        PIL.Image.fromarray(pixels[..., 0] // 128).save(folder / f"mask_{number}.png")
        rows.append(f"photo_{number}.png,mask_{number}.png,{number + 0.5}")
    (folder / "photos.csv").write_text("\n".join(rows))


def write_sessions(path: Path) -> None:
    """Writes a table of sessions, whose baskets have items."""
    baskets = [[["milk", "bread"], [], ["milk"]], [], [["tea"]]]
    rows = [{"baskets": baskets[number % 3], "bought": number % 2} for number in range(60)]
    path.write_text("\n".join(map(json.dumps, rows)))


def write_shop(path: Path) -> None:
    """Writes a database with the table orders, of the columns id, kind and price."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table orders (id integer primary key, kind, price)")
        rows = [(number, ("book", "pen", "test")[number % 3], number * 37 % 11 + 0.5) for number in range(60)]
        database.executemany("insert into orders values (?, ?, ?)", rows)
        database.commit()


@pytest.mark.optax
def test_its_files_and_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(GUIDE.commands) == 13
    for command in GUIDE.commands:
        arguments = shlex.split(command)
        if {"data=image_table", "data=sql"} & {*arguments}:  # other tests run such commands
            check_config(compose(arguments))
            continue
        if {"data=csv", "data=table"} & {*arguments} and "data.path=shards/*.csv" not in arguments:
            arguments += QUICK_RUN
        elif not {"mode=predict", "mode=convert"} & {*arguments}:
            arguments += ["mode=look", "tracking=none"]
        assert main(arguments) == 0, (command, capsys.readouterr().err)
    assert len((folder / "prices.csv").read_text().splitlines()) == 61


def test_the_file_that_no_command_uses_passes_the_check(folder: Path) -> None:
    check_config(compose(["data=imdb", "feature=reviews"]))


@pytest.mark.optax
def test_its_program_runs(folder: Path) -> None:
    values: dict[str, object] = {}
    exec(
        PROGRAM.replace('"training.epochs=2"', ", ".join(f'"{override}"' for override in (*QUICK_RUN, "quiet=true"))),
        values,
    )
    assert np.shape(values["prices"]) == (2,)


def test_its_table_lists_every_column() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", GUIDE.text, re.MULTILINE))
    classes = dict(inspect.getmembers(components.feature, inspect.isclass))
    columns = {name for name, cls in classes.items() if hasattr(cls, "encode") and hasattr(cls, "layer")}
    statistics = {name for name, cls in classes.items() if hasattr(cls, "summarize")}
    assert rows == columns
    assert statistics <= set(re.findall(r"`(\w+)`", GUIDE.text))
