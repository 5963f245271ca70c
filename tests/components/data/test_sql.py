"""Tables in databases: types, errors, and what is kept of a large result."""

import contextlib
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Frame, Sql, column_store
from components.data.sql import source as sql
from components.data.sql.values import ColumnBuilder
from components.read_once import reading_once
from components.types import DataError, Strings

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-(2**53), 2**53)
FLOATS = st.floats(allow_nan=False)
COLUMNS = [INTEGERS, FLOATS, SMALL | FLOATS, TEXTS, st.integers(0, 9).map(str), st.none()]


def write(path: Path, columns: dict[str, list[Any]]) -> str:
    """Writes a table `t` of SQLite, whose columns have no type, and returns its URI."""
    names = ", ".join(f'"{name}"' for name in columns)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"create table t ({names})")
        rows = list(zip(*columns.values(), strict=True))
        database.executemany(f"insert into t values ({', '.join('?' * len(columns))})", rows)
        database.commit()
    return f"sqlite:///{path}"


def read(source: Any) -> dict[str, Any]:
    """The types, the values and the masks of a table."""
    table = source.table
    values = {name: each.tolist() if isinstance(each, Strings) else [*each] for name, each in table.values.items()}
    values |= {name: [*table.values[name].iterate_bytes()] for name in source._files}
    return {"types": table.types, "values": values, "valid": {name: [*mask] for name, mask in table.valid.items()}}


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """The URI of a database of 20 orders."""
    return write(
        tmp_path / "shop.db",
        {
            "id": [*range(20)],
            "price": [n + 0.5 for n in range(20)],
            "mixed": [n if n < 7 else n / 2 if n < 9 else f"about {n}" for n in range(20)],
            "day": [f"2020-01-{n + 1:02}" for n in range(20)],
        },
    )


# ------------------------------------------------------------------------------------------------------------- types


@settings(max_examples=20, deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(1, 4))
def test_a_table_is_read_as_one_from_python(data: st.DataObject, rows: int, batch_rows: int) -> None:
    kinds = data.draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4))
    columns = {
        f"column {number}": data.draw(st.lists(kind | st.none(), min_size=rows, max_size=rows))
        for number, kind in enumerate(kinds)
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sql, "BATCH_ROWS", batch_rows)
        patched.setattr(column_store, "MAX_ARRAY_BYTES", data.draw(st.sampled_from([0, 1 << 28])))
        uri = write(Path(folder, "t.db"), columns)
        expected, found = (source(columns) for source in (lambda each: Frame(columns=each), lambda _: open_table(uri)))
        try:
            expected_table = read(expected)
        except DataError:  # texts that are read in no single way, for example
            with pytest.raises(DataError):
                read(found)
            return
        assert str(read(found)) == str(expected_table)  # NaN stands for missing floats


def open_table(uri: str, **options: Any) -> Sql:
    return Sql(uri=uri, query="t", **options)


def test_types_of_other_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path))
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(tmp_path / "t.duckdb") as database:
        database.execute(
            "create table t as select range::int as i, (range / 4)::decimal(9, 2) as money, range::hugeint as huge, "
            "range::decimal(20, 0) as whole, range > 1 as truth, date '2020-01-31' as day, "
            "timestamp '2020-01-31 10:30:00' as time, time '10:30:00' as hour, [range, 0.5] as list, "
            "'1234567890123456.78'::decimal(20, 2) as exact, "
            "uuid '00000000-0000-0000-0000-000000000001' as key, 'ab'::blob as bytes, null as gap from range(3)"
        )
    source = Sql(uri="duckdb:///t.duckdb", query="t", types={"exact": "string"})
    found = read(source)
    mode = read(Sql(uri=source.uri, query="select current_setting('access_mode') as mode"))["values"]["mode"]
    assert [each.lower() for each in mode] == ["read_only"]
    days, times = np.datetime64("2020-01-31"), np.datetime64("2020-01-31T10:30:00")
    lists, gap = (found["values"].pop(name) for name in ("list", "gap"))
    assert found["values"] == {
        "i": [0, 1, 2],
        "money": [0, 0.25, 0.5],
        "huge": [0, 1, 2],
        "whole": [0, 1, 2],
        "truth": [False, False, True],
        "day": [days] * 3,
        "time": [times] * 3,
        "hour": [37800.0] * 3,
        "exact": ["1234567890123456.78"] * 3,
        "key": ["00000000-0000-0000-0000-000000000001"] * 3,
        "bytes": [b"ab"] * 3,
    }
    assert (np.isnan(gap).all(), *found["valid"].values()) == (True, [False] * 3)
    assert [kind for name, kind in found["types"].items() if name in ("huge", "whole")] == ["int", "int"]
    assert len(lists) == 2  # the values and the offsets of `Ragged`
    with pytest.raises(DataError, match=r"has 1180591620717411303424 in row 0, which exceeds 64 bits; `cast` it in"):
        _ = Sql(uri=source.uri, query="select 1180591620717411303424::hugeint as x").table
    with pytest.raises(DataError, match=r"`x` has 10:30:00\+02:00 in row 0, a time of a day with a zone; `cast` it"):
        _ = Sql(uri=source.uri, query="select '10:30:00+02'::timetz as x").table
    with pytest.raises(DataError, match=r"column `x` has \{'a': 1\} in row 0; take a number, a text or a time from"):
        _ = Sql(uri=source.uri, query="select {'a': 1} as x").table


def test_values_that_databases_return() -> None:
    noon = datetime(2020, 1, 31, 12)
    columns = [
        ([1, Decimal("2"), None, Decimal("NaN")], pyarrow.int64(), [1, 2, None, None]),
        ([1, Decimal("2.5"), Decimal("Infinity")], pyarrow.float64(), [1.0, 2.5, np.inf]),
        ([noon.date(), noon], pyarrow.timestamp("us"), [datetime(2020, 1, 31), noon]),
        (
            [noon.replace(tzinfo=timezone(timedelta(hours=2)))],
            pyarrow.timestamp("us", "UTC"),
            [datetime(2020, 1, 31, 10, tzinfo=UTC)],
        ),
        ([memoryview(b"ab"), bytearray(b"c")], pyarrow.large_binary(), [b"ab", b"c"]),
        ([timedelta(days=1)], pyarrow.duration("us"), [timedelta(days=1)]),
    ]
    for values, kind, expected in columns:
        array = ColumnBuilder("t", "x", False).convert(values, 0)
        assert (array.type, array.to_pylist()) == (kind, expected)
    mixed = [1, 1.0, 0.5, Decimal("1.10"), True, "a", None, 2**70, date(2020, 1, 31), noon]
    array = ColumnBuilder("t", "x", True).convert(mixed, 0)
    texts = ["1", "1", "0.5", "1.1", "true", "a", None, str(2**70), "2020-01-31", "2020-01-31 12:00:00"]
    assert array.to_pylist() == texts
    for other in (b"a", noon.replace(tzinfo=UTC), "a", True, [1]):
        builder = ColumnBuilder("t", "x", False)
        builder.convert([None, noon], 0)
        assert builder.convert([None, other], 2).null_count == 2
        fault = f"t: column `x` has datetime.datetime(2020, 1, 31, 12, 0) in row 1, but {repr(other)[:59]}"
        assert str(builder.error).startswith(fault)


@pytest.mark.parametrize("batch_rows", [1, 4, 100])
def test_a_column_of_numbers_and_texts(shop: str, batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", batch_rows)
    with pytest.raises(DataError) as caught:
        _ = open_table(shop).table
    assert str(caught.value) == (
        f"t of {shop.removeprefix('sqlite:///')}: column `mixed` has 0 in row 0, but 'about 9' in row 9; `cast` it in "
        "the query; for text, set `types.mixed=string`"
    )
    values = read(open_table(shop, types={"mixed": "string"}))["values"]["mixed"]
    assert values[5:11] == ["5", "6", "3.5", "4", "about 9", "about 10"]
    numbers = read(Sql(uri=shop, query="select mixed from t where id < 9"))
    assert numbers["values"]["mixed"] == [0, 1, 2, 3, 4, 5, 6, 3.5, 4]
    for large, row in (("{whole} as x union all select 0.5", 0), ("0.5 as x union all select {whole}", 1)):
        query = f"select {large.format(whole=2**53 + 1)}"
        with pytest.raises(DataError, match=rf"row {row}.* a float can't hold|row {row}: .* can't hold exactly"):
            read(Sql(uri=shop, query=query))
        assert str(2**53 + 1) in read(Sql(uri=shop, query=query, types={"x": "string"}))["values"]["x"]


# ----------------------------------------------------------------------------------------------------- the statement


@pytest.mark.parametrize(
    "query",
    [
        "select * from t where day like '2020%' and day <> ' :a'",
        "  -- all of them\n/* really */ SELECT * FROM t ",
        "with u as (select * from t) select * from u;",
        "main.t",
    ],
)
def test_queries_and_tables(query: str, shop: str) -> None:
    assert Sql(uri=shop, query=query, drop=("mixed",)).table.rows == 20


def test_rows_of_a_table_have_the_order_of_its_key(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "t.db")) as database:
        database.execute('create table "order" ("a b" text primary key, y)')
        database.executemany('insert into "order" values (?, ?)', [("c", 1), ("a", 2), ("b", 3)])
        database.commit()
    assert read(Sql(uri=f"sqlite:///{tmp_path}/t.db", query="order"))["values"]["y"] == [2, 3, 1]


def test_a_changed_table_has_another_fingerprint(shop: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"query": "select id, price from t order by id", "target": "price"}
    first = Sql(uri=shop, **options).fingerprint()
    shutil.copy(tmp_path / "shop.db", tmp_path / "copy.db")
    copied = f"sqlite:///{tmp_path}/copy.db?password=zebra"  # which SQLite ignores
    assert Sql(uri=copied, **options).fingerprint() == first
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as database:
        database.execute("update t set price = 3 where id = 7")
        database.commit()
    assert Sql(uri=copied, **options).fingerprint() != first
    assert Sql(uri=shop, **options | {"types": {"id": "string"}}).fingerprint() != first


def test_a_relative_path_is_looked_up_below_the_data(
    shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path))
    assert Sql(uri="sqlite:///shop.db", query="select id from t").table.rows == 20
    monkeypatch.setenv("TITRATE_DATA_URI", "sqlite:///shop.db")
    source = Sql(query="select id from t")
    assert source.table.rows == 20
    assert source.locate_row(3) == "the query of shop.db, row 3"
    monkeypatch.delenv("TITRATE_DATA_URI")
    with pytest.raises(DataError, match=r"no database is named; set `uri=sqlite:///shop\.db`, or the variable T"):
        _ = Sql(query="t").table


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("T", "has no table `T`. Did you mean t? Allowed: t."),
        ("(select 1)", "fails: near "),
        ("select * from u", "fails: no such table: u. Tables: t."),
        ("select prise from t", "fails: no such column: prise."),
        ("selec * from t", "`query` (=selec * from t…) isn't a statement that only reads. It must start with select, "),
        ("delete from t", "`query` (=delete from t…) isn't a statement that only reads."),
        ("with u as (select 1) delete from t", "fails: attempt to write a readonly database."),
        ("select 1; delete from t", "fails: You can only execute one statement at a time."),
        ("select id, price as id from t", "has two columns `id`. Rename one by `as`, or leave it out."),
        ("select id from t where id < 0", "has no rows"),
        ("select abs(case id when 15 then -9223372036854775808 else id end) from t", "after 12 rows: integer overflow"),
        ("select 'postgresql://me:zebra@h' as x", "`query` has a password, which would be recorded. Leave it out;"),
        ("select cast(x'ff' as text) as x", "Could not decode to UTF-8 column 'x'"),
        ("select 'a' || char(0) as x", "has a text with a NUL character"),
    ],
)
def test_wrong_queries(query: str, message: str, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BATCH_ROWS", 4)
    with pytest.raises(DataError) as caught:
        _ = Sql(uri=shop, query=query).table
    assert message in str(caught.value)
    for text in ("zebra", "sqlite3", "sqlalche", "Background"):
        assert text not in str(caught.value)
    with contextlib.closing(sqlite3.connect(shop.removeprefix("sqlite:///"))) as database:
        assert database.execute("select count(*) from t").fetchone() == (20,)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///{folder}/shp.db", "there is no file {folder}/shp.db; did you mean {folder}/shop.db?"),
        ("sqlite:///{folder}/text.db", "{folder}/text.db can't be read: file is not a database."),
        ("duckdb:///{folder}/text.db", "{folder}/text.db can't be opened: "),
        ("sqlite:///{folder}", "{folder} is a folder; a regular file is needed"),
        ("sqlite://shop.db", "`uri`: the name of a file follows three slashes. Write sqlite:///shop.db"),
        ("sqlite://", "a database in memory has no table `t`."),
        ("shop.db", "`uri` can't be read. Write it as sqlite:///shop.db or postgresql://host/shop, with user"),
        ("postgresql://me:zebra@host:port/shop", "`uri` can't be read."),
        ("sqlit:///shop.db", "no driver for a database of `sqlit`. Did you mean sqlite? Allowed: duckdb, mariadb,"),
        ("sqlite+x:///{folder}/shop.db", "`uri`: there is no driver for a database of `sqlite+x`."),
        (
            "mysql://me:zebra@localhost/shop",
            "needs the package pymysql. Install it: uv sync --inexact --extra mysql, or pip install 'pymysql'",
        ),
        ("postgres://me:zebra@127.0.0.1:1/shop", "127.0.0.1/shop can't be opened: connection failed: connection to"),
    ],
)
def test_wrong_databases(uri: str, message: str, shop: str, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("id,price\n" * 200)
    files = sorted(tmp_path.iterdir())
    with pytest.raises(DataError) as caught:
        _ = open_table(uri.format(folder=tmp_path)).table
    assert message.format(folder=tmp_path) in str(caught.value)
    for text in ("zebra", "sqlite3.", "sqlalche.me", "Background"):
        assert text not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == files


def test_a_locked_database(shop: str) -> None:
    with contextlib.closing(sqlite3.connect(shop.removeprefix("sqlite:///"), isolation_level=None)) as database:
        database.execute("begin exclusive")
        with pytest.raises(DataError, match=r"is locked. Another program uses it: wait until .* `\?timeout=60`"):
            _ = open_table(f"{shop}?timeout=0.01").table


def test_a_full_disk(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", 0)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda: Path("/dev/full").open("wb"))  # noqa: SIM115
    with pytest.raises(DataError, match=r"can't be written to a temporary file in .*: No space left on device. Free"):
        _ = open_table(shop, drop=("mixed",), types={"mixed": "string"}).table


# ------------------------------------------------------------------------------------------------------ what is kept


def test_the_query_runs_once(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    read_batches = sql.QueryResult.read_batches
    monkeypatch.setattr(sql.QueryResult, "read_batches", lambda self: runs.append(self.query) or read_batches(self))
    source = Sql(uri=shop, query="select id, price, day from t", target="price")
    source.fingerprint()
    source.profile()
    used = source.with_used_columns(["id"])
    assert [*used.table.values] == ["id", "price"]
    days = next(used.blocks("all")).columns["day"]  # read although it isn't used
    assert isinstance(days, Strings)
    assert days.tolist()[3] == "2020-01-04"
    assert len(runs) == 1
    with reading_once():  # as the suggestion and the training of one run
        tables = [Sql(uri=shop, query=source.query, target=target).table for target in ("price", "day")]
        assert tables[0].values["id"].tolist() == tables[1].values["id"].tolist()
        assert len(runs) == 2
        _ = Sql(uri=shop, query=source.query, types={"day": "string"}).table
        assert len(runs) == 3
    with reading_once():
        _ = Sql(uri=shop, query=source.query).table
    assert len(runs) == 4


def test_a_column_that_is_not_used_may_have_numbers_and_texts(shop: str) -> None:
    source = open_table(shop, target="price").with_used_columns(["id"])
    assert source.table.rows == 20
    assert source.fingerprint() != Sql(uri=shop, query="select id, price from t").fingerprint()
    with pytest.raises(DataError, match="column `mixed` has 0 in row 0, but 'about 9' in row 9"):
        _ = next(source.blocks("all")).columns["mixed"]


@pytest.mark.slow
def test_a_large_result_is_kept_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", 1 << 22)
    uri = write(tmp_path / "t.db", {"x": [0]})
    numbers = "with recursive n(i) as (select 0 union all select i + 1 from n where i < 999999)"
    source = Sql(uri=uri, query=f"{numbers} select i, i / 2.0 as half, 'text ' || i as text from n")
    before = pyarrow.total_allocated_bytes()
    assert source._store.rows == 1_000_000
    assert pyarrow.total_allocated_bytes() - before < 3 << 22
    values, _ = source._store.convert("half")
    assert not values.flags.owndata  # it is mapped
    source._store.release()
    np.testing.assert_array_equal(values, np.arange(1_000_000) / 2)
    assert source._store.read("text")[999_999].as_py() == "text 999999"


# -------------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URI of a PostgreSQL server of this test."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *filter(None, [shutil.which("initdb")])]
    if not found:
        pytest.skip("PostgreSQL isn't installed")
    programs = max(map(Path, found))
    programs = programs if programs.is_dir() else programs.parent
    user = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            user = {"user": pwd.getpwnam("postgres").pw_uid}
        except KeyError:
            pytest.skip("PostgreSQL doesn't run as root, and there is no user `postgres`")
    folder = Path(tempfile.mkdtemp())
    if user:
        os.chown(folder, user["user"], -1)
    (folder / "password").write_text("zebraquagga")
    (folder / "password").chmod(0o644)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"

    def call(*words: str) -> None:
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

    call(f"{programs}/initdb", "-D", "data", "-U", "me", "-A", "scram-sha-256", "--pwfile=password", "-E", "UTF8")
    call(f"{programs}/pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")
    try:
        yield f"postgresql://me:zebraquagga@127.0.0.1:{port}/postgres"
    finally:
        call(f"{programs}/pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.mark.slow
def test_postgresql(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    monkeypatch.setattr(sql, "BATCH_ROWS", 1000)
    with psycopg.connect(server, autocommit=True) as database:
        database.execute(
            "create table orders as select i as id, i / 4.0 as price, 'a%' || i as name, now() as time, "
            "date '2020-01-31' as day, i % 2 = 0 as even, array[i, 2] as list, '\\x00ff'::bytea as bytes, "
            "nullif(i, 3)::float8 as gap, 'NaN'::numeric as nothing from generate_series(0, 49999) i"
        )
        database.execute("alter table orders add primary key (id)")
        database.execute("create sequence numbers")
        source = Sql(uri=server, query="orders", target="price")
        kinds = ["int", "float", "string", "timestamp", "timestamp", "bool", "float", "float"]
        assert [*source.table.types.values()] == kinds
        assert source.table.rows == 50_000
        assert float(np.asarray(source.table.values["price"]).sum()) == sum(range(50_000)) / 4
        assert source.table.valid["gap"].sum() == 49_999
        text = "select name from orders where name like 'a%9' and name <> ':x'"
        assert Sql(uri=server, query=text).table.rows == 5_000
        wrong = {
            "with x as (delete from orders returning id) select * from x": "must not contain data-modifying statements",
            "select * from oders": 'fails: relation "oders" does not exist. Tables: orders.',
            "oders": r"has no table `oders`. Did you mean orders\?",
            "select id / 0 from orders": "division by zero",
            "select nextval('numbers')": r"cannot execute nextval\(\) in a read-only transaction",
            "select from orders": "returns no columns",
            "select price as a, name as a from orders": "has two columns `a`",
            "select to_json(orders) as x from orders": "take a number, a text or a time from it in the query",
            "select 10::numeric ^ 30 as x": "which exceeds 64 bits",
        }
        for query, message in wrong.items():
            with pytest.raises(DataError, match=message) as caught:
                _ = Sql(uri=server, query=query).table
            assert "zebra" not in str(caught.value)
        with pytest.raises(DataError, match="password authentication failed") as caught:
            _ = Sql(uri=server.replace("zebraquagga", "zebradodo"), query="orders").table
        assert "zebra" not in str(caught.value)
        monkeypatch.setenv("PGPASSWORD", "zebraquagga")  # which the driver reads
        assert Sql(uri=server.replace(":zebraquagga", ""), query="select 1 as x").table.rows == 1

        batches = sql.QueryResult(server, "orders", "orders of the server", ()).read_batches()
        next(batches)
        database.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        with pytest.raises(DataError, match=r"orders of the server stops after 1,000 rows: .*terminating connection"):
            next(batches)
