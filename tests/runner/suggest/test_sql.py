"""One's own database in a line: a run, its continuation and predictions, of which no file has the password."""

import contextlib
import shlex
import sqlite3
from pathlib import Path

import pytest
import yaml
from pyarrow import csv

from components.uri_mask import mask_uri
from runner import credentials
from runner.__main__ import main
from runner.config.compose import compose
from runner.config.earlier_run import _names_other_database
from runner.config.overrides import parse_override
from runner.record.naming import data_name
from runner.signature.build import build

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

URI = "sqlite:///shop.db?password=zebraquagga"  # SQLite ignores the password
LINE = ["data=sql", "data.target=price"]
QUICK = ["training.epochs=1", "training.batch_size=14", "architecture.widths=[2]", "tracking=none"]


@pytest.fixture(autouse=True)
def shop(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of sixty orders."""
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    monkeypatch.setattr(credentials, "original_by_mask", {})
    with contextlib.closing(sqlite3.connect("shop.db")) as database:
        database.execute("create table orders (id integer primary key, area, where_, price, page)")
        rows = [
            (n, n * 37 % 101 + 0.5, ("North", "South")[n % 2], n % 7 + n % 2 / 2, "http://h/a:b@c") for n in range(60)
        ]
        database.executemany("insert into orders values (?, ?, ?, ?, ?)", rows)
        database.commit()


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    for path in [path for path in Path().rglob("*") if path.is_file()]:
        assert b"zebra" not in path.read_bytes(), path
    assert "zebra" not in captured.out + captured.err
    return code, captured.out + captured.err


@pytest.mark.slow
def test_a_run_on_a_database(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    query = "select area, where_, price, page from orders where page like 'http://%' and where_ <> 'x:y@z' order by id"
    code, printed = run(capsys, *LINE, *QUICK, f"data.uri={URI}", f"data.query={query}")
    assert code == 0, printed
    assert "inferred from the query of shop.db:" in printed
    (folder,) = [path for path in Path("outputs").iterdir() if path.is_dir() and path.name != "last"]
    recorded = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    assert (recorded["uri"], recorded["query"]) == ("sqlite:///shop.db?password=***", query)

    credentials.original_by_mask.clear()  # as in another process
    predict = ["mode=predict", f"run={folder}", "quiet=true"]
    code, printed = run(capsys, *predict, "output=a.csv")
    assert code == 2
    assert "the credentials in sqlite:///shop.db?password=*** are not saved. Give the whole URI instead" in printed
    new = "data.query=select where_, area from orders where id < 5"
    for name, words in {"a": [f"data.uri={URI}"], "b": [f"data.uri={URI}", new]}.items():
        credentials.original_by_mask.clear()
        assert run(capsys, *predict, f"output={name}.csv", *words) == (0, "")
    assert (csv.read_csv("a.csv").num_rows, csv.read_csv("b.csv").num_rows) == (9, 5)

    credentials.original_by_mask.clear()
    monkeypatch.setenv("TITRATE_DATA_URI", URI)
    assert run(capsys, *predict, "output=c.csv", new) == (0, "")
    assert Path("c.csv").read_bytes() == Path("b.csv").read_bytes()
    code, printed = run(capsys, "resume=last", "training.epochs=2")
    assert (code, "resuming from step" in printed) == (0, True)
    code, printed = run(capsys, *predict, "output=d.csv", "data.query=oders")
    assert (code, "data.query: shop.db has no table `oders`. Did you mean orders?" in printed) == (2, True)
    Path("other.db").write_bytes(Path("shop.db").read_bytes())
    assert run(capsys, *predict, "output=e.csv", "data.uri=sqlite:///other.db") == (0, "")
    assert csv.read_csv("e.csv").num_rows == 60  # all rows of the query, and not those of a split
    with contextlib.closing(sqlite3.connect("shop.db")) as database:
        database.execute("update orders set price = 3 where id = 7")
        database.commit()
    code, printed = run(capsys, "resume=last", "training.epochs=3")
    assert (code, "the data, or how it is split, has changed since that run" in printed) == (2, True), printed


def test_a_query_is_a_text() -> None:
    for query in ("orders", "select a, b from t where x > 'y'", 'select "a b" from t -- {x: [1', "select 1 = 1"):
        assert parse_override(f"data.query={query}").value() == query
    assert parse_override('data.query="select a, b from t"').value() == "select a, b from t"
    assert parse_override("data.query=null").value() is None


def test_init_writes_the_query(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*LINE, f"data.uri={URI}", "mode=init"]
    for name, query in {"orders": "orders", "query": "select * from orders where id > 3 order by id"}.items():
        assert data_name(compose([*words, f"data.query={query}"])) == ("orders" if name == "orders" else "sql")
        code, printed = run(capsys, *words, f"data.query={query}")
        assert code == 0, printed
        written = yaml.safe_load(Path(f"conf/data/{name}.yaml").read_text())
        assert (written["query"], written["uri"]) == (query, "sqlite:///shop.db?password=***")
        assert build(compose([f"data={name}"]).values["data"], {}).table.rows in (60, 56)
        assert shlex.split(printed)[-1] == f"experiment={name}"


@pytest.mark.parametrize(
    ("word", "is_other"),
    [
        (f"data.uri={URI}", False),  # the database of the run, with its password
        ("data.uri=sqlite:///shop.db", False),
        ("data.uri=sqlite:///other.db", True),
        ("data.query=t", False),
    ],
)
def test_another_database_has_new_rows(word: str, is_other: bool) -> None:
    of_run = {"data": {"uri": mask_uri(URI)}}
    assert _names_other_database([parse_override(word)], of_run) == is_other
