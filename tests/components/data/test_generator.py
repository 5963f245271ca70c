"""Rows from a generator function: types, blocks, passes, and every way in which a function can be wrong."""

import importlib
import linecache
import os
import subprocess
import sys
from abc import ABC
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import KEEP, Flag
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import jax
import numpy as np
import pandas
import pyarrow
import pytest

from components.data import Generator, generator
from components.types import CountsRows, DataError, Strings


def make_rows(count: int = 5, **columns: Callable[[int], Any]) -> Callable[[], Iterator[Any]]:
    """A function that yields rows whose values are functions of the row's number."""

    def rows() -> Iterator[Any]:
        for number in range(count):
            yield {name: value(number) for name, value in columns.items()}

    return rows


def reuse_array() -> Iterator[Any]:
    array = np.zeros(2)
    for number in range(3):
        array[:] = number
        yield {"x": array}


def list_column(source: Generator, name: str) -> list[Any]:
    return [value for block in source.blocks("all") for value in block.columns[name].tolist()]


@pytest.mark.parametrize("block_rows", [2, 100])
def test_rows_become_columns_of_one_type(monkeypatch: pytest.MonkeyPatch, block_rows: int) -> None:
    monkeypatch.setattr(generator, "BLOCK_ROWS", block_rows)
    values: dict[str, Callable[[int], Any]] = {
        "flag": lambda n: n > 2,
        "whole": lambda n: np.int32(n),
        "number": lambda n: 0 if n == 3 else n / 2,
        "text": lambda n: "é" * n,
        "when": lambda n: datetime(2020, 1, 1 + n),
        "pixels": lambda n: np.full((2, 2), n, np.uint8),
    }
    source = Generator(function=make_rows(**values))
    assert isinstance(source, CountsRows)
    assert source.sizes() == {"all": 5}
    for name, value in values.items():
        expected = [np.asarray(value(number)).tolist() for number in range(5)]
        assert list_column(source, name) == expected
    dtypes = [str(getattr(column, "dtype", "")) for column in next(source.blocks("all")).columns.values()]
    assert dtypes == ["bool", "int64", "float64", "", "datetime64[us]", "uint8"]
    assert [block.first_row for block in source.blocks("all")] == ([0, 2, 4] if block_rows == 2 else [0])


def test_none_is_missing() -> None:
    source = Generator(function=make_rows(x=lambda n: n if n % 2 else None, t=lambda n: None if n else "a"))
    (block,) = source.blocks("all")
    assert block.valid["x"].tolist() == [False, True, False, True, False]
    assert block.valid["t"].tolist() == [True, False, False, False, False]


def test_an_array_may_be_yielded_again_with_other_numbers() -> None:
    assert list_column(Generator(function=reuse_array), "x") == [[0, 0], [1, 1], [2, 2]]


def test_bytes_are_files() -> None:
    (block,) = Generator(function=make_rows(image=lambda n: b"\xff\0" * n)).blocks("all")
    image = block.columns["image"]
    assert isinstance(image, Strings)
    assert block.files == {"image"}
    assert [*image.iterate_bytes()][2] == b"\xff\0\xff\0"


def test_blocks_are_yielded_too() -> None:
    def blocks() -> Iterator[Any]:
        for count in (3, 2, 4):
            yield {"x": np.arange(count), "t": ["a"] * count}

    source = Generator(function=blocks, yields="blocks")
    assert source.sizes() == {"all": 9}
    assert list_column(source, "x") == [0, 1, 2, 0, 1, 0, 1, 2, 3]
    assert Generator(function=blocks, yields="blocks", limit=4).sizes() == {"all": 4}


def test_an_infinite_generator_is_limited_and_closed() -> None:
    closed = []

    def rows() -> Iterator[Any]:
        try:
            while True:
                yield {"x": 1}
        finally:
            closed.append(True)

    source = Generator(function=rows, limit=7)
    assert source.sizes() == {"all": 7}
    assert closed == [True]
    assert len(list_column(source, "x")) == 7


def test_columns_decide_about_splits() -> None:
    values = {"group": lambda n: n // 4, "kind": lambda n: "ab"[n % 2]}
    source = Generator(function=make_rows(20, **values), group="group", valid=0.2, test=0.2)
    splits = source.splits()
    groups = [{row // 4 for row in rows} for rows in splits.values()]
    assert sum(map(len, groups)) == 5
    source = Generator(function=make_rows(20, **values), classes=("a",), stratify="kind", valid=2, test=2)
    assert sorted(np.concatenate([*source.splits().values()])) == [*range(0, 20, 2)]
    with pytest.raises(DataError, match=r"`stratify` \(=knd\) is no column. Did you mean `?kind"):
        Generator(function=make_rows(20, **values), stratify="knd").splits()


def test_the_number_of_rows_is_counted_once() -> None:
    calls = []

    def rows() -> Iterator[Any]:
        calls.append(1)
        yield from make_rows(9, x=float)()

    source = Generator(function=rows)
    assert (source.sizes(), source.sizes(), len(calls)) == ({"all": 9}, {"all": 9}, 1)
    again = source.with_sizes({"all": 9})
    assert (again.sizes(), len(calls)) == ({"all": 9}, 1)
    with pytest.raises(DataError, match=r"yielded 9 rows, and 8 before. The same rows must come each time"):
        list_column(source.with_sizes({"all": 8}), "x")


def raise_error(number: int) -> float:
    return 1.0 if number < 9_999 else 1 / 0


WRONG: dict[str, tuple[Any, str]] = {
    "an error": (
        make_rows(20_000, x=raise_error),
        r"row 9999 of .* raised ZeroDivisionError: division by zero, at test_generator.py:\d+: return 1.0 if number",
    ),
    "no row": (make_rows(0), "make_rows.<locals>.rows yielded no row"),
    "no mapping": (lambda: iter([{"x": 1}, 3]), r"row 1 of .* is 3 \(int\). A mapping is needed, such as {"),
    "an empty mapping": (lambda: iter([{}]), r"row 0 of .* is {} \(dict\). A mapping is needed"),
    "no iterator": (lambda: None, r"returned None \(NoneType\). It must yield rows"),
    "other columns": (lambda: iter([{"x": 1}, {"y": 1}]), "row 1 of .* has the columns y, those before it x. All rows"),
    "a name": (lambda: iter([{1: 1}]), "row 0 of .* has the column 1. Names of columns are texts"),
    "a text": (make_rows(x=lambda n: n if n < 3 else "3"), r"row 3 of .*: `x` is '3' \(str\), .*convert it by int"),
    "a float": (make_rows(x=lambda n: n if n < 3 else n / 2), r"row 3 .* is 1.5 \(float\), .* all of them by float"),
    "another shape": (make_rows(x=lambda n: np.ones(1 + n // 3)), r"row 3 .* of the type array float64 \(2,\), "),
    "a list": (make_rows(x=lambda n: [1, 2]), r"row 0 of .*: `x` is \[1, 2\] \(list\). Allowed are bool, int"),
    "only None": (make_rows(x=lambda n: None), "only None as `x` in the first 5 rows, so its type isn't known"),
    "a large number": (make_rows(x=lambda n: 10 ** (n * 10)), r"row 2 of .* is 10000.* \(int\), which 64 bits can't"),
    "a large number of NumPy": (
        make_rows(x=lambda n: np.uint64(2**63 if n == 2 else n)),
        r"row 2 .* is .*922.* \(uint64\), which 64 bits can't",
    ),
    "a large year": (
        make_rows(x=lambda n: np.datetime64(f"{n}00000")),
        r"row 3 .* \(datetime64\), which 64 bits can't",
    ),
    "no Unicode": (
        make_rows(x=lambda n: "a\ud800" * n),
        r"row 1 .* isn't Unicode: it has a lone surrogate at character 1",
    ),
    "a duration": (make_rows(x=lambda n: np.timedelta64(n, "s")), r"row 0 .* \(timedelta64\). Allowed are bool, int"),
    "a zone": (
        make_rows(x=lambda n: datetime(2020, 1, 1, tzinfo=UTC if n else None)),
        r"row 1 .* \(datetime\). Allowed are .* dates and times without a zone",
    ),
    "a mask": (
        make_rows(x=lambda n: np.ma.array([1, 2], mask=[False, True])),
        r"(?s)row 0 .* \(MaskedArray\). Allowed are .*arrays of numbers without a mask",
    ),
    "no array": (make_rows(x=lambda n: None if n == 2 else np.ones(2)), "row 2 .* is None, which an array can't be"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_is_an_error(name: str) -> None:
    function, message = WRONG[name]
    source = Generator(function=function)
    with pytest.raises(DataError, match=message):
        source.sizes()


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (1, np.uint64(2**63)),
        ("a", "\ud800"),
        (np.datetime64("2020"), np.datetime64("300000")),
        (datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)),
        (np.ones(1), np.ma.array([1.0], mask=[True])),
    ],
)
def test_a_row_with_a_wrong_value_is_skipped(good: Any, bad: Any) -> None:
    source = Generator(function=lambda: iter([{"x": good}, {"x": bad}, {"x": good}]), on_bad_row="skip")
    assert source.sizes() == {"all": 2}
    assert source.bad_rows.rows.tolist() == [1]
    assert len(list_column(source, "x")) == 2


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (
            [{"x": [1]}, {"x": [1.5]}],
            r"from row 1 of .* has `x` as single floats \(float64\), and the first block as single whole",
        ),
        (
            [{"x": [1]}, {"x": [1], "y": [2]}],
            r"has `y` as single whole numbers \(int64\), and the first block as no column. All blocks",
        ),
        ([{"x": [1], "y": [1, 2]}], "from row 0 of .* same number of rows, got x 1, y 2"),
        (
            [{"x": 1}],
            r"from row 0 of .*: column `x` is 1, not an array of rows.*\[1\]. For single rows, set `yields=rows`",
        ),
    ],
)
def test_a_wrong_block_is_an_error(blocks: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Generator(function=lambda: iter(blocks), yields="blocks").sizes()


def test_the_fingerprint_follows_the_code_and_the_arguments(
    in_empty_folder: Path, write_module: Callable[[str, str], None]
) -> None:
    def fingerprint(code: str, **options: Any) -> str:
        write_module("my_rows", code)
        module = importlib.import_module("my_rows")
        importlib.reload(module)
        arguments = options.pop("arguments", {})
        return Generator(
            function=partial(module.rows, **arguments) if arguments else module.rows, **options
        ).fingerprint()

    code = "def rows(n=3):\n    for x in range(n):\n        yield {'x': x}\n"
    options: list[dict[str, Any]] = [{}, {"limit": 2}, {"yields": "blocks"}, {"seed": 1}, {"arguments": {"n": 4}}]
    assert len({fingerprint(code, **one) for one in options}) == len(options)
    arrays = [np.arange(2000), np.where(np.arange(2000) == 1000, 0, np.arange(2000))]
    assert len({fingerprint(code, arguments={"n": [{"x": array}]}) for array in arrays}) == 2
    assert len({fingerprint(code, arguments={"n": array.copy()}) for array in [*arrays, *arrays]}) == 2
    assert fingerprint(code) != fingerprint(f"{code}# changed")
    assert fingerprint(code, version="1") == fingerprint(f"{code}# changed", version="1")
    assert fingerprint(code, version="1") != fingerprint(code, version="2")
    linecache.cache["<ipython-input-1>"] = (len(code), None, code.splitlines(True), "<ipython-input-1>")
    exec(compile(code, "<ipython-input-1>", "exec"), cell := {"__name__": "__main__"})
    with pytest.raises(DataError, match=r"has no source file. Set `version`"):
        Generator(function=cell["rows"]).fingerprint()
    with pytest.raises(DataError, match=r"has no source file. Set `version` to a text that identifies its rows"):
        Generator(function=partial(map, str)).fingerprint()


@dataclass
class Settings:
    """A test's own argument."""

    values: Any
    name: str = "a"


class Plain:
    """A test's own argument, of which only the address is shown."""

    def rows(self) -> Iterator[Any]:
        yield {"x": 1}


class Zone(tzinfo):
    """A test's own time zone, of which only the address is shown."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1)


class Colors(Flag, boundary=KEEP):
    """A test's own flags."""

    RED = 1
    BLUE = 2


class Shown(Plain):
    """A test's own argument that doesn't show all of its content."""

    def __repr__(self) -> str:
        return "Shown()"


def hold(value: Any) -> Callable[[], Iterator[Any]]:
    """A function that holds a value."""

    def rows() -> Iterator[Any]:
        yield {"x": value}

    return rows


def add_default(value: Any) -> Callable[[], Iterator[Any]]:
    def rows(x: Any = value) -> Iterator[Any]:
        yield {"x": x}

    return rows


@dataclass
class Rows:
    """A test's own function: an object with fields."""

    value: Any

    def __call__(self) -> Iterator[Any]:
        yield {"x": self.value}

    def method(self) -> Iterator[Any]:
        yield {"x": self.value}


@dataclass
class Reader:
    """A test's own function: an object with attributes that are no fields."""

    path: str = "a"
    table: ClassVar[Any] = None

    def rows(self) -> Iterator[Any]:
        yield {"x": self.total}

    @cached_property
    def total(self) -> Any:
        return getattr(self, "values", None)

    @classmethod
    def class_rows(cls) -> Iterator[Any]:
        yield {"x": cls.table}


def set_attribute(value: Any) -> Callable[[], Iterator[Any]]:
    reader = Reader()
    reader.values = value  # type: ignore[attr-defined]
    return reader.rows


def derive(place: str) -> Callable[[Any], Callable[[], Iterator[Any]]]:
    """Returns a function that holds a value as an attribute of its own class, in a list, as methods aren't content."""

    def make(value: Any) -> Callable[[], Iterator[Any]]:
        kind = type("Own", (Reader, ABC), {"table": [value]})
        rows: Callable[[], Iterator[Any]] = getattr(kind if place == "class_rows" else kind(), place)
        return rows

    return make


def set_function_attribute(value: Any) -> Callable[[], Iterator[Any]]:
    def rows() -> Iterator[Any]:
        yield {"x": 1}

    rows.table = value  # type: ignore[attr-defined]
    return rows


def rows_of(value: Any) -> Iterator[Any]:
    yield {"x": value}


PLACES: list[Callable[[Any], Any]] = [
    lambda value: partial(rows_of, value),
    hold,
    add_default,
    Rows,
    lambda value: Rows(value).method,
    set_attribute,
    derive("class_rows"),
    derive("rows"),
    set_function_attribute,
]
LONG = np.arange(2000.0)
NEAR = np.where(LONG == 1000, 1000 + 1e-10, LONG)
DECIMALS = [[Decimal(f"1.0000000000000000000{last}")] for last in (1, 2)]
ZONES = ("UTC", "Asia/Tokyo")
CONTENTS: dict[str, Callable[[], list[Any]]] = {
    "plain values": lambda: [None, 1, 1.0, True, "1", b"1", 1j, date(2020, 1, 1), Path("1"), np.float32(1), np.int8(1)],
    "arrays": lambda: [LONG.copy(), NEAR.copy(), LONG.astype("f4"), LONG.reshape(2, 1000), LONG.astype(object)],
    "masked arrays": lambda: [LONG[:3].copy(), np.ma.array(LONG[:3], mask=[0, 1, 0]), np.ma.array(LONG[:3])],
    "objects in arrays": lambda: [np.array([None, LONG], object), np.array([None, NEAR], object), np.array([{1}, {2}])],
    "other arrays": lambda: [*map(np.array, ("a", "b", ["a"], [b"a"])), *map(np.datetime64, ("2020", "2021"))],
    "pandas": lambda: [
        pandas.DataFrame({"x": LONG}),
        pandas.DataFrame({"x": NEAR}),
        pandas.DataFrame({"y": LONG}),
        pandas.DataFrame({"x": LONG}, index=LONG + 1),
        pandas.Series(LONG),
        pandas.Series(NEAR),
        pandas.DataFrame({"x": ["a", None]}),
        pandas.DataFrame({"x": ["a", ""]}),
        pandas.DataFrame({1: LONG}),
        pandas.DataFrame({"1": LONG}),
        pandas.Series(LONG, name="x"),
        pandas.Series(LONG, index=pandas.Index(range(2000), name="i")),
        pandas.Series(LONG, index=pandas.MultiIndex.from_product([range(2), range(1000)])),
        *(pandas.Series(pandas.Categorical(["a"], own)) for own in (["a", "b"], ["b", "a"])),
        *(pandas.Series(pandas.to_datetime(["2020-01-01"], utc=True)).dt.tz_convert(zone) for zone in ZONES),
        *(pandas.Series(each, dtype=object) for each in (*DECIMALS, [1], [True], ["1"], [None], [pandas.NA])),
    ],
    "Arrow": lambda: [pyarrow.table({"x": values}) for values in (["a", "b"], ["a", "c"], [1, 2], *DECIMALS)],
    "flags": lambda: [Colors.RED, Colors.RED | Colors.BLUE, Colors(8), Colors(16)],
    "structured scalars": lambda: [np.array((own,), [("x", "f8", LONG.shape)])[()] for own in (LONG, NEAR)],
    "times": lambda: [datetime(2020, 1, 1, tzinfo=zone) for zone in (None, *map(ZoneInfo, ZONES))],
    "jax": lambda: [jax.numpy.arange(3), jax.numpy.arange(4)],
    "containers": lambda: [[1, [2]], [[1], 2], {"a": 1}, {"b": 1}, {1: "a"}, {1}, {"a": LONG}, {"a": NEAR}],
    "other containers": lambda: [deque([1]), defaultdict(int), defaultdict(list), defaultdict(int, a=1)],
    "sets": lambda: [{0, 8}, {0, 16}, frozenset({0, 8}), {("a", 1), ("b", 2)}],
    "dataclasses": lambda: [Settings(LONG), Settings(NEAR), Settings({1}), Settings({1}, "b"), Settings],
    "functions": lambda: [
        hold(1), hold(2), hold({1}), lambda: 1, lambda: 2, partial(hold, 1), partial(hold, 2), Rows(1).method,
        Rows(2).method, len, max, np.sin, np.mean, np.max, str.upper, pandas, np.random,
    ],
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", CONTENTS)
def test_the_fingerprint_follows_the_content_of_what_a_function_is_given_or_holds(
    kind: str, place: Callable[[Any], Any]
) -> None:
    first, second = ([Generator(function=place(value)).fingerprint() for value in CONTENTS[kind]()] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)
    assert Generator(function=place({8, 0})).fingerprint() == Generator(function=place({0, 8})).fingerprint()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (partial(rows_of, object()), "argument 1 of .*rows_of is <object object .*"),
        (partial(rows_of, value=[{"a": Shown()}]), r"the argument `value` of .*rows_of has Shown\(\) \(Shown\)"),
        (partial(rows_of, np.random.default_rng(0)), "argument 1 of .*rows_of is Generator"),
        (partial(rows_of, jax.random.key(0)), "argument 1 of .*rows_of is Array"),
        (partial(rows_of, iter([])), "argument 1 of .*rows_of is <list_iterator"),
        (hold(Plain()), "the variable `value` in the closure of .*rows is <.*Plain object"),
        (add_default(Plain()), "the default of the parameter `x` of .*rows is <.*Plain object"),
        (hold(np.frompyfunc(lambda x: x, 1, 1)), "the variable `value` in the closure of .*rows is <ufunc"),
        (hold([datetime(2020, 1, 1, tzinfo=Zone())]), "the variable `value` in the closure of .*rows has <.*Zone"),
        (Plain().rows, "the object of .*Plain.rows is <.*Plain object"),
        (Shown().rows, r"the object of .*Plain.rows is Shown\(\)"),
        (Rows(Plain()), "the object of .*Rows has <.*Plain object"),
        (set_attribute(Plain()), "the object of .*Reader.rows has <.*Plain object"),
        (derive("class_rows")(Plain()), "the attribute `table` of the class of .*class_rows has <.*Plain object"),
        (set_function_attribute(Plain()), "the attribute `table` of .*rows is <.*Plain object"),
    ],
)
def test_an_object_of_unknown_content_needs_a_version(function: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}.*, whose content isn't compared. Set `version` to a text"):
        Generator(function=function).fingerprint()
    assert Generator(function=function, version="1").fingerprint()


def test_a_cached_property_is_no_content() -> None:
    reader = Reader()
    before = Generator(function=reader.rows).fingerprint()
    assert list(reader.rows()) == [{"x": None}]
    assert Generator(function=reader.rows).fingerprint() == before


def test_a_version_stands_for_the_code_and_what_it_holds_but_not_for_arguments() -> None:
    def fingerprints(place: Callable[[Any], Any]) -> set[str]:
        return {Generator(function=place(value), version="1").fingerprint() for value in (1, 2)}

    assert len(fingerprints(hold)) == len(fingerprints(Rows)) == 1
    assert len(fingerprints(lambda value: partial(rows_of, value))) == 2


def test_functions_and_values_may_hold_themselves() -> None:
    values: list[Any] = [1]
    values.append(values)

    def rows() -> Iterator[Any]:
        yield {"x": rows, "y": values}

    assert Generator(function=rows).fingerprint() == Generator(function=rows).fingerprint()


def test_the_fingerprint_is_the_same_in_every_process(in_empty_folder: Path) -> None:
    """The order of sets differs between processes."""
    Path("my_rows.py").write_text(
        "from components.data import Generator\n"
        "words = {*'abcdefgh'}\n"
        "def hold(values):\n"
        "    def rows(is_vowel=lambda word: word in {'a', 'e', 'i', 'o', 'u'}):\n"
        "        yield {'x': len(values)}\n"
        "    return rows\n"
        "print(Generator(function=hold([words])).fingerprint())\n"
    )
    root = str(Path(generator.__file__).parents[2])
    found = {
        subprocess.run(
            [sys.executable, "my_rows.py"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(found) == 1
