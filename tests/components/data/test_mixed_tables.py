"""Several tables as one: their columns are read alike, options are set once, and rows are split together."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from components.data import Arrays, Csv, ImageFolders, Mixed, TableFile
from components.data.mixed import MixedTables
from components.data.profile import Profile
from components.types import DataError, TableProfile
from runner.data.encode import blocks_with_offsets

Mix = Callable[..., MixedTables]


@pytest.fixture
def mix(tmp_path: Path) -> Mix:
    """Writes tables of texts or columns, and mixes them."""

    def write(tables: dict[str, Any], own: dict[str, Any] | None = None, **options: Any) -> MixedTables:
        sources: dict[str, Any] = {}
        for name, table in tables.items():
            path = tmp_path / f"{name}.table"
            if isinstance(table, str):
                path.write_text(table)
            else:
                parquet.write_table(pyarrow.table(table), path)
            sources[name] = TableFile(path=str(path), **(own or {}).get(name, {}))
        mixed = Mixed(sources=sources, **options).open()
        assert isinstance(mixed, MixedTables)
        return mixed

    return write


def read(source: Any, name: str) -> list[Any]:
    return [value for _, block in blocks_with_offsets(source) for value in block.columns[name].tolist()]


def column(profile: TableProfile, name: str) -> Profile:
    (found,) = (each for each in profile.columns if each.name == name)
    assert isinstance(found, Profile)
    return found


@pytest.mark.parametrize(
    ("one", "two", "kind", "values"),
    [
        ("1\n2", "0.5\n3", "float", [1, 2, 0.5, 3]),
        ("1\n2", '""\n""', "int", [1, 2, 0, 0]),
        ('""\n""', "u\nv", "string", ["", "", "u", "v"]),
        ("02/03/2020\n04/05/2020", "13/03/2020\n14/03/2020", "timestamp", None),
        ("2020-03-13T00:00\n2020-03-14T00:00", "13/03/2020\n14/03/2020", "timestamp", None),
        ("$1\n$2", "3\n4", "int", [1, 2, 3, 4]),
        ("true\nfalse", "TRUE\ntrue", "bool", [True, False, True, True]),
    ],
)
def test_a_column_of_texts_is_read_alike_in_all_tables(
    mix: Mix, one: str, two: str, kind: str, values: list[Any] | None
) -> None:
    for texts in ((one, two), (two, one)):
        mixed = mix({"a": f"x\n{texts[0]}\n", "b": f"x\n{texts[1]}\n"})
        assert column(mixed.profile(), "x").kind == kind
        if values is not None:
            assert read(mixed, "x") == (values if texts[0] == one else [*values[2:], *values[:2]])
    if kind == "timestamp":
        days = [np.datetime64(f"2020-{text}", "us").item() for text in ("03-13", "03-14")]
        assert read(mixed, "x")[:2] == days
        assert mixed.inferred_options({"x": None})["dates"] == {"x": "day_first"}


def test_whole_numbers_that_are_stored_are_floats_beside_those_of_another_table(mix: Mix) -> None:
    mixed = mix({"a": {"x": [1, 2], "y": [True, False]}, "b": "x,y\n0.5,true\n2,false\n"}, types={"x": "float"})
    assert read(mixed, "x") == [1.0, 2.0, 0.5, 2.0]
    assert {type(value) for value in read(mixed, "x")} == {float}
    assert {type(value) for value in read(mixed, "y")} == {bool}
    assert column(mixed.profile(), "x").kind == "float"
    assert mixed.inferred_options({"x": None})["types"] == {"x": "float"}
    assert mixed.inferred_options({"y": None})["types"] == {"y": "bool"}


@pytest.mark.parametrize(
    ("one", "two", "message"),
    [
        ("1\n2", "u\nv", r"column `x` is string in the source b, but int in the source a\. Write it with one type in"),
        ("1\n2", "2020-01-01\n2020-01-02", r"is timestamp in the source b.* set `types\.x=string`"),
        ("13/01/2020\n14/01/2020", "01/13/2020\n01/14/2020", r"`dates` \(=month_first\) in the source b, but with"),
        (
            "$1\n$2",
            "3 kg\n4 kg",
            r"`marks` \(=kg\) in the source b, but with `marks` \(=\$\) in the source a",
        ),
        ("2020-01-01T00:00Z\n", "2020-01-01T00:00\n", r"read with `dates` \(=no_zone\) in the source b"),
    ],
)
def test_texts_that_differ_are_an_error(mix: Mix, one: str, two: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mix({"a": f"x\n{one}\n", "b": f"x\n{two}\n"}).profile()


def test_what_the_user_declares_for_one_table_stays(mix: Mix) -> None:
    tables = {"a": "x\n01/13/2020\n", "b": "x\n13/01/2020\n"}
    mixed = mix(tables, {"a": {"dates": {"x": "month_first"}}, "b": {"dates": {"x": "day_first"}}})
    assert len({*read(mixed, "x")}) == 1
    assert "dates" not in mixed.inferred_options({"x": None})
    with pytest.raises(DataError, match="column `x` is float in the source b, but int in the source a"):
        mix({"a": "x\n1\n", "b": "x\n0.5\n"}, {"a": {"types": {"x": "int"}}}).profile()


def test_the_profile_is_that_of_all_rows(mix: Mix) -> None:
    tables = {"a": "id,x,y\n1,NA,u\n2,5,u\n3,6,v\n", "b": "id,x,y\n1,-,u\n2,5,w\n"}
    profile = mix(tables, target="y").profile()
    assert profile.target == "y"
    x, y = column(profile, "x"), column(profile, "y")
    assert (x.rows, x.missing_count, x.distinct_count, y.distinct_count) == (5, 2, 2, 3)
    assert re.fullmatch("a: .*, line 2", x.first_missing_location)
    assert re.fullmatch("b: .*, line 2", x.locate(3))
    assert x.missing_spellings == {"NA": 1, "-": 1}
    assert x.list_spellings is not None
    assert x.list_spellings(np.array([1, 4])) == ("5",)
    assert y.rarest_value[1] == 1
    assert column(profile, "id").counts_rows
    assert not x.counts_rows
    with pytest.raises(DataError, match=r"the target is missing in the source b, but y in the source a\. Set `target`"):
        mix(tables, {"a": {"target": "y"}}).profile()


def test_options_are_set_for_all_tables_or_for_one(mix: Mix) -> None:
    tables = {"a": "x,y\n1,u\n?,u\n", "b": "x,y\n3,\n9,v\n"}
    own = {"b": {"nulls": {"x": (9,)}}}
    mixed = mix(tables, own, types={"x": "float"}, target="y", on_missing_target="drop", nulls={"x": ("?",)})
    assert read(mixed, "y") == ["u", "u", "v"]
    assert [count for _, block in blocks_with_offsets(mixed) for count in block.valid["x"].tolist()] == [1, 0, 0]
    assert read(mix(tables, drop=("x",)), "y") == ["u", "u", "", "v"]
    with pytest.raises(DataError, match=r"`target` \(=y\) is for tables, and the source a \(Arrays\) is none"):
        Mixed(sources={"a": Arrays(columns={"y": np.arange(3)})}, target="y")


def patients(*groups: int) -> str:
    return "when,patient,y\n" + "".join(f"{index * 2 + groups[0]},p{group},u\n" for index, group in enumerate(groups))


def test_rows_are_split_together_by_options_of_all(mix: Mix) -> None:
    tables = {"a": patients(0, 0, 1, 2, 3, 4), "b": patients(1, 0, 5, 2, 3, 6, 7, 0)}
    together = mix(tables, group="patient", valid=0.2, test=0.2)
    names = read(together, "patient")
    for splits in (together.splits(), together.folds(2, 0)):
        sets = [{names[row] for row in rows} for rows in splits.values()]
        assert sum(map(len, sets)) == len({*names})
        assert sum(map(len, splits.values())) == len(names)
    latest = mix(tables, split_by="when", valid=3, test=3)
    times = np.array(read(latest, "when"))
    splits = latest.splits()
    assert sorted(times[splits["test"]]) == sorted(times)[-3:]
    assert sorted(times[splits["valid"]]) == sorted(times)[-6:-3]
    used = latest.with_used_columns({"y"})
    assert [*used.splits()["test"]] == [*splits["test"]]
    assert mix(tables).fingerprint() != mix(tables, seed=1).fingerprint()
    assert len(mix(tables, test=5).splits()["test"]) == 5


def test_the_parts_of_all_sources_stay_parts(tmp_path: Path) -> None:
    for name in ("a", "b", "ta", "tb"):
        (tmp_path / f"{name}.csv").write_text(patients(*range(5)))
    sources: dict[str, Any] = {
        name: Csv(path=str(tmp_path / f"{name}.csv"), test=str(tmp_path / f"t{name}.csv")) for name in ("a", "b")
    }
    splits = Mixed(sources=sources, valid=2).open().splits()
    assert [*splits["test"]] == [*range(5, 10), *range(15, 20)]
    assert len(splits["valid"]) == 2
    sources["b"] = Csv(path=str(tmp_path / "b.csv"))
    with pytest.raises(DataError, match=r"`valid` \(=2\) splits the rows of all .* source b has the parts all, and a"):
        Mixed(sources=sources, valid=2).open().splits()
    with pytest.raises(DataError, match=r"`group` \(=y\) splits .*, but the source b has `seed` \(=3\)\. Leave one"):
        Mixed(sources={**sources, "b": Csv(path="b.csv", seed=3)}, group="y")


def test_images_of_several_folders_have_one_profile(tmp_path: Path) -> None:
    from PIL import Image

    for folder, kind in (("a", "cat"), ("a", "dog"), ("b", "dog")):
        (tmp_path / folder / kind).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / folder / kind / "x.png")
    mixed = Mixed(sources={name: ImageFolders(path=str(tmp_path / name)) for name in ("a", "b")}).open()
    profile = mixed.profile()
    assert not isinstance(mixed, MixedTables)
    assert column(profile, "label").distinct_count == 2
    assert profile.images[0].shapes == {(4, 4, 3): 3}
    with pytest.raises(DataError, match=r"nothing is inferred for the source a \(Arrays\)\. Write a feature file"):
        Mixed(sources={"a": Arrays(columns={"y": np.arange(3)})}).profile()
