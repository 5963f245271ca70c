"""Remote files are fetched once, whole, and without credentials in any message."""

import base64
import errno
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import numpy as np
import pyarrow
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import parquet

from components import remote
from components.data import Csv, FixedLengthRecords, TableFile
from components.fetched_files import list_entries
from components.input_files import find_path, find_paths
from components.read_once import reading_once
from components.types import DataError, MissingFileError

TABLE = b"x,y\n1,2\n3,4\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and no file in memory."""
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are fetched from memory."""
    paths: list[str] = []
    original = MemoryFileSystem.get_file
    monkeypatch.setattr(
        MemoryFileSystem,
        "get_file",
        lambda self, path, *rest, **more: paths.append(path) or original(self, path, *rest, **more),
    )
    return paths


def write(files: dict[str, bytes]) -> None:
    for path, content in files.items():
        fsspec.filesystem("memory").pipe_file(path, content)


def read(source: Any, name: str = "x") -> list[Any]:
    return list(np.asarray(source.table.values[name]).tolist())


def test_a_file_is_fetched_once_until_it_changes(fetched: list[str]) -> None:
    write({"/b/t.csv": TABLE})
    for _ in range(2):
        assert read(Csv(path="memory://b/t.csv")) == [1, 3]
    assert fetched == ["/b/t.csv"]
    with reading_once():
        before = Csv(path="memory://b/t.csv").fingerprint()
        write({"/b/t.csv": b"x,y\n5,6\n7,8\n"})
        assert read(Csv(path="memory://b/t.csv")) == [1, 3]  # within a run, a file stays the same
    assert read(Csv(path="memory://b/t.csv")) == [5, 7]
    assert Csv(path="memory://b/t.csv").fingerprint() != before
    assert Csv(path="memory://b/t.csv").label == "memory://b/t.csv"
    assert len(fetched) == 2


def test_folders_patterns_and_lists_are_fetched(tmp_path: Path) -> None:
    for year in (2020, 2021):
        parquet.write_table(pyarrow.table({"x": [year]}), tmp_path / "t")
        write({f"/b/year={year}/0.parquet": (tmp_path / "t").read_bytes(), "/b/notes.txt": b"-"})
    uris: list[Any] = [
        "memory://b/*/*.parquet",
        "memory://b/**/[0].parquet",
        ["memory://b/year=2020", "memory://b/year=2021"],
    ]
    for path in uris:
        source = TableFile(path=path).open()
        assert (read(source), read(source, "year")) == ([2020, 2021], [2020, 2021])
    with pytest.raises(DataError, match=r"^`path` \(=memory://b\) is a folder with .*0.parquet \(Parquet\), notes.txt"):
        TableFile(path="memory://b").open()
    with pytest.raises(MissingFileError, match=r"no file matches memory://b/\*\.orc; correct the pattern"):
        find_paths("memory://b/*.orc")
    with pytest.raises(MissingFileError, match=r"^there is no file memory://b/x.csv; correct the path"):
        find_paths("memory://b/x.csv")
    # A later file doesn't appear in the folder that was fetched before, nor does an earlier one stay in a later folder.
    write({"/c/1.csv": TABLE, "/c/2.csv": TABLE})
    assert read(Csv(path="memory://c")) == [1, 3, 1, 3]
    fsspec.filesystem("memory").rm_file("/c/1.csv")
    assert read(Csv(path="memory://c")) == [1, 3]


def test_all_sources_read_uris_and_local_ones_need_no_copy(tmp_path: Path, cache: Path) -> None:
    write({"/records.bin": bytes(range(12))})
    assert find_path("memory://no.bin", "memory://records.bin", file=True).read_bytes() == bytes(range(12))
    source = FixedLengthRecords(
        path="memory://records.bin", fields={"label": {"dtype": "uint8"}, "x": {"dtype": "uint8", "shape": (2,)}}
    )
    assert source.sizes() == {"all": 4}
    (tmp_path / "a.csv").write_bytes(TABLE)
    assert find_paths(f"file://{tmp_path}/*.csv") == [tmp_path / "a.csv"]
    assert find_paths(f"file://localhost{tmp_path}/a.csv") == [tmp_path / "a.csv"]
    message = (
        r"two slashes, a is the name of a host. Write file:///folder/name with .* path of the file, or only a/b.csv"
    )
    with pytest.raises(DataError, match=message):
        find_paths("file://a/b.csv")


def test_a_file_that_breaks_off_or_changes_is_an_error(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    write({"/t.csv": TABLE})
    original = MemoryFileSystem.get_file

    def cut(self: Any, path: str, local: str, **options: Any) -> None:
        Path(local).write_bytes(TABLE[:5])

    def change(self: Any, path: str, local: str, **options: Any) -> None:
        original(self, path, local, **options)
        write({"/t.csv": TABLE})

    def fail(self: Any, path: str, local: str, **options: Any) -> None:
        raise PermissionError("Forbidden")

    def name_twice(self: Any, path: str, local: str, **options: Any) -> None:
        raise OSError("Bucket 'memory://t.csv' is locked.")

    def name_file(self: Any, path: str, local: str, **options: Any) -> None:
        raise IsADirectoryError(errno.EISDIR, "Is a directory", path)

    for broken, message in (
        (cut, "memory://t.csv broke off after 5 of 12 bytes. Run the command again"),
        (change, "memory://t.csv changed while it was fetched. Run the command again"),
        (fail, "memory://t.csv can't be read without permission: Forbidden"),
        (name_twice, "memory://t.csv can't be fetched: Bucket is locked. Try again"),
        (name_file, "memory://t.csv can't be fetched: Is a directory. Try again"),
    ):
        monkeypatch.setattr(MemoryFileSystem, "get_file", broken)
        with pytest.raises(DataError, match=re.escape(message)):
            find_paths("memory://t.csv")
        assert not [path for path in cache.rglob("*") if path.is_file()]

    def interrupt(self: Any, path: str, local: str, **options: Any) -> None:
        Path(local).write_bytes(TABLE[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(MemoryFileSystem, "get_file", interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"interrupted: nothing of memory://t.csv is kept, and the same"):
        find_paths("memory://t.csv")
    assert not [path for path in cache.rglob("*") if path.is_file()]
    monkeypatch.undo()
    monkeypatch.setenv("TITRATE_CACHE", str(cache))
    assert find_paths("memory://t.csv")[0].read_bytes() == TABLE


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s4://b/t.csv", r"s4://b/t.csv: s4:// is no kind of file system. Allowed: abfs://, file"),
        ("s3://b/t.csv", "s3:// needs the package s3fs. Install it: uv pip install s3fs"),
        ("gs://b/t.csv", "gs:// needs the package gcsfs. Install it: uv pip install gcsfs"),
        ("memory://b/../../t.csv", "memory://b/../../t.csv has a file whose path isn't allowed"),
    ],
)
def test_uris_that_cant_be_read_are_errors(uri: str, message: str) -> None:
    write({"/b/../../t.csv": TABLE})
    with pytest.raises(DataError, match=message):
        find_paths(uri)


def test_without_fsspec_the_extra_is_named(tmp_path: Path) -> None:
    code = "import sys; sys.modules['fsspec'] = None; from components.input_files import find_paths; find_paths('s3://b/x')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "s3://b/x needs the package fsspec. Install it: uv sync --inexact --extra remote" in found.stderr


@contextmanager
def serve(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A server of this machine. Yields its host with the port, and the requests that it gets."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            requests.append(f"{self.command} {self.path}")
            answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(
    request: BaseHTTPRequestHandler,
    status: int = 200,
    length: int | None = None,
    content: bytes = TABLE,
    **headers: str,
) -> None:
    content = content if status == 200 else b"no"
    request.send_response(status)
    request.send_header("Content-Length", str(length or len(content)))
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Connection", "close")
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(content)
    request.close_connection = True


def test_http_files_with_a_password_or_a_signature_are_fetched_once(cache: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        login = f"Basic {base64.b64encode(b'me:secret').decode()}"
        is_allowed = request.headers.get("Authorization") == login or "X-Amz-Signature" in request.path
        send(request, 200 if is_allowed else 403, ETag='"1"')

    with serve(answer) as (host, requests):
        source = Csv(path=f"http://me:secret@{host}/t.csv")
        assert read(source) == [1, 3]
        assert source.label == f"http://***@{host}/t.csv"
        for signature in ("sign1", "sign2"):
            uri = f"http://{host}/u.csv?X-Amz-Signature={signature}"
            assert find_paths(uri)[0].name == "u.csv"
        for bad in (f"http://me:wrong@{host}/t.csv", f"http://{host}/t.csv?password=wrong"):
            with pytest.raises(DataError, match=r"can't be read without permission: .*403") as caught:
                find_paths(bad)
            assert "wrong" not in "".join(traceback.format_exception(caught.value))
    assert sum(line.startswith("GET") for line in requests if "t.csv" in line and "password" not in line) >= 1
    assert sum(line.startswith("GET") for line in requests if "u.csv" in line) == 1
    assert not [path for path in cache.rglob("*") if "secret" in str(path) or "sign1" in str(path)]


def test_folders_of_http_have_the_names_that_their_pages_quote() -> None:
    links = {
        "/t": ["?C=N;O=D", "/", "year%3D2020/", "year%3D2021%C3%A9/", "note.txt"],
        "/t/year=2020": ["?C=N;O=D", "/t/", "a%252Fb.csv"],
        "/t/year=2021é": ["/t/", "a.csv"],
        "/twice": ["a.csv?v=1", "a.csv?v=2"],
    }

    def answer(request: BaseHTTPRequestHandler) -> None:
        names = links.get(unquote(request.path.split("?")[0]).rstrip("/"))
        page = None if names is None else "".join(f'<a href="{name}">x</a>' for name in names).encode()
        send(request, content=page or TABLE, ETag='"1"')

    with serve(answer) as (host, _):
        values = TableFile(path=f"http://{host}/t/*/*.csv").open().table.values
        assert np.asarray(values["x"]).tolist() == [1, 3, 1, 3]
        assert values["year"].tolist() == ["2020", "2020", "2021é", "2021é"]
        folder = find_paths(f"http://{host}/t/")[0]
        files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        assert files == ["note.txt", "year=2020/a%2Fb.csv", "year=2021é/a.csv"]
        with pytest.raises(DataError, match=f"{host}/twice/a.csv twice, with other parameters. List the files to read"):
            find_paths(f"http://{host}/twice/")


def test_a_server_without_times_is_asked_each_time_and_earlier_copies_stay() -> None:
    contents = iter([b"x\n1\n", b"x\n1\n", b"x\n2\n", b"x\n3\n"])  # of one size

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/t/":
            send(request, content=b'<a href="a.csv">a</a>')
        else:
            send(request, content=next(contents) if request.command == "GET" else b"x\n1\n")

    with serve(answer) as (host, _):
        copies = [find_paths(f"http://{host}/t/a.csv")[0] for _ in range(3)]
        assert copies[0] == copies[1]
        assert [copy.read_bytes() for copy in copies] == [b"x\n1\n", b"x\n1\n", b"x\n2\n"]
        assert (find_paths(f"http://{host}/t/")[0] / "a.csv").read_bytes() == b"x\n3\n"


def test_a_page_is_no_file_of_data() -> None:
    page = b"<!DOCTYPE html>\n<html><body>a, b</body></html>"

    def answer(request: BaseHTTPRequestHandler) -> None:
        send(request, content=page, ETag='"1"')

    with serve(answer) as (host, _):
        for _ in range(2):  # also from the cache
            message = f"^http://{host}/t is the address of a page of HTML.* add a slash: http://{host}/t/. Otherwise"
            with pytest.raises(DataError, match=message):
                find_paths(f"http://{host}/t")
        with pytest.raises(
            DataError, match=rf"^http://{host}/t.csv\?key=\*\*\* is the address of .* may ask you to log"
        ):
            find_paths(f"http://{host}/t.csv?key=secret")
        assert find_paths(f"http://{host}/index.html")[0].read_bytes() == page


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", TABLE + b"1,2,3\n", ", line 4: the number of fields is 3"),
        ("t.csv.gz", b"\x1f\x8b\x08\0", " is damaged gzip"),
        ("t.jsonl", b'{"x": 1}\n{\n', ", line 2: it is no JSON object"),
        ("t.parquet", b"PAR1\0\0\0\0PAR1", " is damaged, or no Parquet file"),
        ("t.arrow", b"ARROW1\0\0", " is damaged, or no Arrow file"),
        ("t.orc", b"ORC\0", " is damaged, or no ORC file"),
        ("t.bin", b"12345", " has 5 bytes, no whole number of records"),
    ],
)
def test_errors_name_the_address_and_not_the_copy(name: str, content: bytes, message: str) -> None:
    write({f"/b/{name}": content, f"/b/other/{name}": content})
    fields: Any = {"x": {"dtype": "uint8", "shape": (2,)}}
    for path in (f"memory://b/{name}", *([f"memory://b/other/*{name[1:]}"] if name != "t.bin" else [])):
        with pytest.raises(DataError) as caught:
            (FixedLengthRecords(path=path, fields=fields) if name == "t.bin" else TableFile(path=path).open()).sizes()
        address = path if "*" not in path else f"memory://b/other/{name}"
        assert f"{address}{message}" in str(caught.value) or f"{path}, line" in str(caught.value)
        assert "cache" not in str(caught.value)


def test_a_row_of_several_addresses_is_located_below_what_they_share() -> None:
    write({"/b/1.csv": TABLE, "/b/2.csv": TABLE + b"a,1\n"})
    source = Csv(path=("memory://b/1.csv", "memory://b/2.csv"), types={"x": "int"})
    with pytest.raises(DataError, match=r"memory://b/2.csv, line 4 of 2.csv: column `x` is 'a'"):
        source.table  # noqa: B018


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_profile_names_remote_and_local_files_alike(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = TABLE if kind == "csv" else b'{"x": 1, "y": 2}\n'
    write({f"/b/{name}.{kind}": content for name in ("1", "2")})
    for name in ("1", "2"):
        Path("b").mkdir(exist_ok=True)
        Path("b", f"{name}.{kind}").write_bytes(content)
    for root in ("memory://b", "b"):
        for path, origin in (
            (root, f"{root} (2 files)"),
            (f"{root}/*.{kind}", f"{root}/*.{kind} (2 files)"),
            ((f"{root}/1.{kind}", f"{root}/2.{kind}"), f"{root}/1.{kind}, {root}/2.{kind} (2 files)"),
            (f"{root}/1.{kind}", f"{root}/1.{kind}"),
        ):
            assert TableFile(path=path).open().profile().origin == origin


def test_http_errors_are_explained() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        status = {"/cut.csv": 200, "/broken.csv": 500}.get(request.path, 404)
        send(request, status, length=50 if status == 200 else None, ETag='"1"')

    with serve(answer) as (host, _):
        with pytest.raises(MissingFileError, match=f"there is no file http://{host}/t.csv; correct the path"):
            find_paths(f"http://{host}/t.csv")
        with pytest.raises(DataError, match=f"http://{host}/cut.csv can't be fetched: .*12"):
            find_paths(f"http://{host}/cut.csv")
        with pytest.raises(DataError, match=f"http://{host}/broken.csv can't be fetched: 500"):
            find_paths(f"http://{host}/broken.csv")
    with pytest.raises(DataError, match=f"http://{host}/t.csv can't be fetched: Cannot connect"):
        find_paths(f"http://{host}/t.csv")


def test_progress_is_shown_and_entries_are_listed(cache: Path) -> None:
    write({"/b/t.csv": TABLE, "/b/u.csv": TABLE})
    shown: list[Any] = []

    @contextmanager
    def show(name: str, size: int) -> Iterator[Callable[[int], None]]:
        yield lambda done: shown.append((name, size, done))

    token = remote.show_fetching.set(show)
    try:
        find_paths("memory://b")
    finally:
        remote.show_fetching.reset(token)
    assert shown[-1] == ("fetching memory://b/u.csv", 12, 12)
    entries = list_entries(cache)
    assert sorted(entry.about for entry in entries) == ["memory://b", "memory://b/t.csv", "memory://b/u.csv"]
    assert sum(entry.size for entry in entries) == 24
    assert all(entry.is_busy for entry in entries)
