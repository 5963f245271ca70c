"""One table in every format gives the same parameters, to the bit."""

import contextlib
import sqlite3
import zipfile
from pathlib import Path

import pandas
import pytest
from sample_files import write_housing

import runner
from runner.__main__ import main

RUN = ("feature=california_housing", "architecture=mlp", "loss=mse", "metric=[rmse]")
QUICK = ("training.epochs=2", "training.batch_size=16", "tracking=none", "quiet=true")
FORMATS = {
    "csv": ("data=csv", "data.path=housing.csv"),
    "parquet": ("data=table", "data.path=housing.parquet"),
    "shards": ("data=table", "data.path=shards"),
    "tfrecord": ("data=table", "data.path=records"),
    "sql": ("data=sql", "data.uri=sqlite:///housing.db", "data.query=housing"),
}
CONVERTED = {
    "output=housing.parquet": (),
    "output=shards/": ("convert.format=parquet", "convert.shards=3"),
    "output=records/": (
        "convert.format=tfrecord",
        "convert.shards=2",
        "convert.compression=gzip",
        "convert.float64=text",
    ),
}


def read_parameters(folder: str) -> dict[str, bytes]:
    with zipfile.ZipFile(max(Path(folder, "checkpoints").iterdir())) as archive:
        return {name: archive.read(name) for name in archive.namelist() if "parameters" in name}


@pytest.mark.slow
@pytest.mark.optax
def test_a_table_in_every_format_gives_the_same_parameters(in_empty_folder: Path) -> None:
    write_housing(Path("housing.csv"))
    for output, options in CONVERTED.items():
        assert main(["mode=convert", *FORMATS["csv"], output, *options]) == 0
    frame = pandas.read_csv("housing.csv")
    with contextlib.closing(sqlite3.connect("housing.db")) as database:
        frame.to_sql("housing", database, index=False)
    target = "data.target=median_house_value"
    found = {
        name: read_parameters(runner.run(*words, target, *RUN, *QUICK, f"folder={name}").folder)
        for name, words in FORMATS.items()
    }
    found["frame"] = read_parameters(runner.run(*RUN, *QUICK, "folder=frame", data=frame, target=target[12:]).folder)
    assert all(found["csv"].values())
    for name, parameters in found.items():
        assert parameters == found["csv"], name
