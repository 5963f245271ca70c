"""`mode=download`, from a server on the loopback interface: files, bad answers, and connections that break off."""

import hashlib
import io
import os
import resource
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from sample_files import write_images

from components import architecture
from components.data import Idx
from components.input_files import candidate_paths, find_path
from components.pretrained import ImageNet
from components.pretrained.detect import find_schemes
from components.pretrained.imagenet import MODELS
from components.types import MissingFileError, PublishedFile, UserError
from runner.__main__ import main
from runner.config.catalog import find_options
from runner.display import work
from runner.modes.download import fetch_data, fetching
from runner.modes.download.fetching import DownloadError, describe_hub_file, fetch
from runner.public_data import PUBLIC_DATA, DataSet, PublicFile, download_suggested
from runner.signature.build import build_source

CONTENT = bytes(range(256)) * 1000
PAGE = b"<html>log in</html>"


class Handler(BaseHTTPRequestHandler):
    """Answers each path by the function in `answers`, and notes what is requested."""

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))  # type: ignore[attr-defined]
        ANSWERS[self.path.lstrip("/")](self)

    def do_HEAD(self) -> None:
        """Answers as the Hugging Face Hub, which states the checksum, and redirects to the server of the file."""
        HEADS[self.path.lstrip("/")](self)

    def log_message(self, *arguments: object) -> None: ...

    def start(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def send(handler: Handler, content: bytes = CONTENT) -> None:
    """Sends a file, or the rest of it, as a server that can go on does."""
    requested = handler.headers["Range"]
    start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
    if requested and start >= len(content):
        handler.start(416, Content_Length=0)
        return
    handler.start(206 if requested else 200, Content_Length=len(content) - start, Content_Type="application/x-gzip")
    handler.wfile.write(content[start:])


def send_all(handler: Handler) -> None:
    """Sends the whole file whatever part is requested."""
    handler.start(200, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT)


def send_page(handler: Handler) -> None:
    handler.start(200, Content_Length=len(PAGE), Content_Type="text/html; charset=utf-8")
    handler.wfile.write(PAGE)


def send_page_without_length(handler: Handler) -> None:
    handler.start(200, Content_Type="text/html")
    handler.wfile.write(PAGE)


def redirect(handler: Handler) -> None:
    handler.start(302, Location="/page", Content_Length=0)


def redirect_to_file(handler: Handler) -> None:
    handler.start(302, Location="/good", Content_Length=0)


def break_off(handler: Handler) -> None:
    handler.start(200, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:1000])


def break_off_chunked(handler: Handler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.start(200, Transfer_Encoding="chunked")
    handler.wfile.write(b"3e8\r\n" + CONTENT[:1000] + b"\r\n")
    handler.close_connection = True


def stall(handler: Handler) -> None:
    break_off(handler)
    handler.wfile.flush()
    time.sleep(1)


def stall_before_answer(handler: Handler) -> None:
    time.sleep(1)


def send_without_end(handler: Handler) -> None:
    handler.start(200)
    try:
        while True:
            handler.wfile.write(CONTENT)
    except OSError:
        pass


def send_nothing(handler: Handler) -> None:
    handler.close_connection = True


ANSWERS: dict[str, Callable[[Handler], None]] = {
    "good": send,
    "all": send_all,
    "page": send_page,
    "page_without_length": send_page_without_length,
    "redirect": redirect,
    "redirect_to_file": redirect_to_file,
    "broken": break_off,
    "broken_chunked": break_off_chunked,
    "stalled": stall,
    "silent": stall_before_answer,
    "endless": send_without_end,
    "nothing": send_nothing,
    "missing": lambda handler: handler.start(404, Content_Length=0),
    "failing": lambda handler: handler.start(503, Content_Length=0),
    "other": lambda handler: send(handler, CONTENT[::-1]),
}


DIGEST = hashlib.sha256(CONTENT).hexdigest()
HEADS: dict[str, Callable[[Handler], None]] = {
    "good": lambda handler: handler.start(
        302, Location="/page", X_Linked_Size=len(CONTENT), X_Linked_Etag=f'"{DIGEST}"', Content_Length=0
    ),
    "unlinked": lambda handler: handler.start(200, ETag='"1"', Content_Length=0),
    "missing": lambda handler: handler.start(404, Content_Length=0),
    "silent": stall_before_answer,
}
HEADS["redirect_to_file"] = HEADS["other"] = HEADS["good"]


class Server(ThreadingHTTPServer):
    requests: list[tuple[str, str | None]]
    daemon_threads = True
    block_on_close = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without TITRATE_DATA."""
    monkeypatch.delenv("TITRATE_DATA", raising=False)
    return in_empty_folder


def make_file(server: Server, answer: str, path: str = "set/file", content: bytes = CONTENT) -> PublicFile:
    return PublicFile(path, f"{server.url}/{answer}", len(content), hashlib.sha256(content).hexdigest())


def offer(monkeypatch: pytest.MonkeyPatch, name: str, *files: PublicFile) -> None:
    """Replaces the files of a public data set."""
    monkeypatch.setitem(PUBLIC_DATA, name, DataSet("MIT", "https://example.org/page", files))


def list_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------------------------------------------- the command


def test_a_data_set_is_fetched_and_then_read_by_its_option(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"train": ("train-images.gz", "train-labels"), "test": ("t10k-images.gz", "t10k-labels")}
    write_images(folder / "published", names)
    contents = list_files(folder / "published")
    for name, content in contents.items():
        monkeypatch.setitem(ANSWERS, name, lambda handler, content=content: send(handler, content))
    offer(monkeypatch, "mnist", *(make_file(server, name, f"mnist/{name}", each) for name, each in contents.items()))
    shutil.rmtree(folder / "published")
    source = Idx(path="mnist", train=names["train"], test=names["test"], valid=10)
    with (
        pytest.raises(
            MissingFileError, match=r"; set TITRATE_DATA.*\. Fetch the data with titrate mode=download data=mn"
        ),
        download_suggested(),
    ):
        source.sizes()
    assert main(["mode=download", "data=mnist"]) == 0
    out = capsys.readouterr().out
    assert f"{folder}/data/mnist/train-labels: fetched, 88 B" in out
    assert out.endswith("Licence: MIT. Source: https://example.org/page\nUse it with data=mnist\n")
    assert source.sizes() == {"train": 80, "test": 80}
    assert len(server.requests) == 4
    assert main(["mode=download", "data=mnist", "quiet=true"]) == 0
    capsys.readouterr()
    assert main(["mode=download", "data=mnist"]) == 0
    assert capsys.readouterr().out.count("is there already") == 4
    assert len(server.requests) == 4, "nothing is fetched again"


WEIGHTS = ["mode=download", "weights=imagenet", "architecture=resnet18"]
WEIGHTS_FILE = "data/imagenet/resnet18.a1_in1k.safetensors"


def publish(monkeypatch: pytest.MonkeyPatch, server: Server, answer: str) -> None:
    """Replaces the address of published weights."""
    monkeypatch.setattr(
        ImageNet,
        "published",
        PublishedFile("imagenet/resnet18.a1_in1k.safetensors", f"{server.url}/{answer}", "MIT", "https://example.org"),
    )


def test_weights_are_fetched_and_the_first_download_records_their_checksum(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(monkeypatch, server, "redirect_to_file")
    assert main(WEIGHTS) == 0
    first, *others = capsys.readouterr().out.splitlines()
    record = f"{Path(WEIGHTS_FILE).name}.sha256"
    assert first == f"{folder}/{WEIGHTS_FILE}: fetched, 256 kB; its SHA-256 is recorded in {record}"
    assert others == ["Licence: MIT. Source: https://example.org", "Use it with weights=imagenet architecture=resnet18"]
    assert (folder / WEIGHTS_FILE).read_bytes() == CONTENT
    publish(monkeypatch, server, "missing")  # the hub isn't needed any more
    assert main(WEIGHTS) == 0
    assert capsys.readouterr().out.startswith(f"{folder}/{WEIGHTS_FILE}: is there already\n")
    (folder / WEIGHTS_FILE).write_bytes(CONTENT[1:])
    assert main(WEIGHTS) == 2
    assert "isn't the published file" in capsys.readouterr().err
    (folder / WEIGHTS_FILE).unlink()
    Path(f"{folder}/{WEIGHTS_FILE}.sha256").write_text("0" * 64)
    publish(monkeypatch, server, "good")
    assert main(WEIGHTS) == 2
    assert f"has changed: its SHA-256 was {'0' * 64}, and is {DIGEST} now." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("other", f"has the SHA-256 {hashlib.sha256(CONTENT[::-1]).hexdigest()}, but the published file has {DIGEST}"),
        ("missing", "answers 404 Not Found."),
        ("unlinked", "the server states no size and no SHA-256."),
        ("silent", "can't be reached: timed out."),
    ],
)
def test_weights_that_cant_be_fetched_leave_no_file(
    server: Server,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    message: str,
) -> None:
    monkeypatch.setattr(describe_hub_file, "__defaults__", (0.2,))
    publish(monkeypatch, server, answer)
    assert main(WEIGHTS) == 1
    assert message in capsys.readouterr().err
    assert list_files(folder) == {}


@pytest.mark.parametrize("words", [[], ["weights.exact=false"], ["mode=dry_run"]])
def test_a_run_without_the_published_file_names_the_command_that_fetches_it(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["data=digits", "feature=image", *WEIGHTS[1:], "tracking=none", *words]) == 2
    found = capsys.readouterr().err
    assert found.startswith("weights: there is no file ")
    assert "imagenet/resnet18.a1_in1k.safetensors" in found
    assert f"Fetch the weights with titrate {' '.join(WEIGHTS)}" in found
    assert not list_files(folder)


def test_every_published_file_is_of_an_architecture_with_a_naming_scheme_of_timm() -> None:
    for name in MODELS:
        network = getattr(architecture, name)(10)
        assert {scheme.library for scheme in find_schemes(network)} >= {"timm"}, name
        file = ImageNet(architecture=f"components.architecture.{name}").published
        assert file.url == f"{file.page}/resolve/main/model.safetensors"


def test_files_go_to_the_folder_of_the_data(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_file(server, "good")
    fetch_data("set", DataSet("", "", (file,)), quiet=True)
    assert find_path("set/file") == folder / "data/set/file"
    monkeypatch.setenv("TITRATE_DATA", str(folder / "shared"))
    fetch_data("set", DataSet("", "", (file,)), quiet=True)
    assert find_path("set/file") == folder / "shared/set/file"
    (folder / "set").mkdir()
    (folder / "shared/set/file").rename(folder / "set/file")
    fetch_data("set", DataSet("", "", (file,)), quiet=True)
    assert [path for path, _ in server.requests] == ["/good"] * 2, "it is found below the working folder, too"


def test_without_a_name_the_data_sets_are_listed(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, "mnist", make_file(server, "good", "mnist/a"), make_file(server, "good", "mnist/b"))
    assert main(["mode=download"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == sorted(PUBLIC_DATA)
    (row,) = (line for line in lines if line.startswith("mnist "))
    assert row.split() == ["mnist", "512", "kB", "no", "MIT", "https://example.org/page"]
    assert lines[-1] == f"titrate mode=download data=NAME fetches one into {folder}/data"
    for expected in ("1 of 2 files", "yes"):
        path = folder / "data/mnist" / ("b" if expected == "yes" else "a")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        main(["mode=download"])
        assert expected in capsys.readouterr().out
    assert not server.requests


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=digits"], "data=digits is no data set to fetch. Allowed: "),
        (["data=mnst"], "data: unknown option mnst. Did you mean mnist?"),
        (["data=mnist", "data.path=x"], "mode=download: data.path=x would have no effect."),
        (["optimizer=sgd"], "mode=download: optimizer=sgd would have no effect."),
        (["architecture=resnet18"], "mode=download: architecture is for published weights. Add weights=imagenet."),
        (["weights=random"], "weights: random has no published file. Choose weights=imagenet."),
        (
            ["weights=imagenet", "architecture=vgg11"],
            "weights.architecture: no published weights of components.architecture.VGG11 are known. ",
        ),
    ],
)
def test_a_wrong_name_or_word_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["mode=download", *words]) == 2
    assert capsys.readouterr().err.startswith(message)


def test_an_experiment_names_its_data(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, "fashion_mnist", make_file(server, "good"))
    assert main(["mode=download", "experiment=fashion_mnist_cnn"]) == 0
    assert "data/set/file: fetched, 256 kB" in capsys.readouterr().out


def test_members_of_an_archive_are_unpacked_beside_it(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inner/table", "1\t2\n")
        archive.writestr("inner/other", "")
    monkeypatch.setitem(ANSWERS, "zip", lambda handler: send(handler, packed.getvalue()))
    file = make_file(server, "zip", "set/a.zip", packed.getvalue())._replace(members=("inner/table",))
    for outcome in ("unpacked", "is there already"):
        fetch_data("set", DataSet("", "", (file,)))
        assert f"data/set/table: {outcome}" in capsys.readouterr().out
    assert set(list_files(folder)) == {"data/set/a.zip", "data/set/table"}
    (folder / "data/set/table").write_text("1\t3\n")
    with pytest.raises(UserError, match=r"set/table isn't the published file, inner/table of .*set/a.zip.\nRename or"):
        fetch_data("set", DataSet("", "", (file,)))


def test_every_data_set_is_an_option_whose_files_it_has() -> None:
    options = find_options().files["data"]
    assert set(PUBLIC_DATA) <= set(options)
    for name, data_set in PUBLIC_DATA.items():
        assert all(file.path.startswith(f"{name}/") for file in data_set.files)
        text = options[name].read_text()
        assert f"titrate mode=download data={name}" in text, "its help says how to get it"
        paths = [path for file in data_set.files for path in (file.member_paths or (file.path,))]
        assert all(path in text or path.rpartition("/")[2].removesuffix(".gz") in text for path in paths)
        assert all(len(file.sha256) == 64 and file.url.startswith("http") for file in data_set.files)


@pytest.mark.skipif("TITRATE_DATA" not in os.environ, reason="TITRATE_DATA names no folder of real data")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("adult", {"train": 32_561, "test": 16_281}),
        ("california_housing", {"all": 20_640}),
        ("cifar10", {"train": 50_000, "test": 10_000}),
        ("fashion_mnist", {"train": 60_000, "test": 10_000}),
        ("flowers", {"all": 3_670}),
        ("mnist", {"train": 60_000, "test": 10_000}),
        ("movielens_100k", {"all": 100_000}),
    ],
)
def test_real_files_have_the_checksums_and_are_read(name: str, sizes: dict[str, int]) -> None:
    files = PUBLIC_DATA[name].files
    paths = [next((path for path in candidate_paths(file.path) if path.exists()), None) for file in files]
    if None in paths:
        pytest.skip(f"there is no {name}")
    assert all(fetching.is_fetched(path, file) for path, file in zip(paths, files, strict=True) if path)
    assert build_source(yaml.safe_load(find_options().files["data"][name].read_text())).sizes() == sizes


# ---------------------------------------------------------------------------------------------------------- bad answers


@pytest.mark.parametrize(
    ("answer", "message", "kept"),
    [
        ("missing", r"/missing answers 404 Not Found\.", 0),
        ("failing", r"/failing answers 503 Service Unavailable\.", 0),
        ("page", r"/page answers with 19 bytes of text/html, and 256,000 bytes are needed\.", 0),
        ("page_without_length", r"answers with 19 bytes of text/html, and 256,000 bytes are needed\.", 0),
        ("redirect", r"/redirect, which leads to http://127.0.0.1:\d+/page, answers with 19 bytes of text/html", 0),
        ("endless", r"/endless answers with more than 256,000 bytes of text/plain, and 256,000 bytes are needed", 0),
        ("other", r"/other has the SHA-256 [0-9a-f]{64}, but the published file has [0-9a-f]{64}\.", 0),
        ("broken", r"/broken broke off after 1,000 of 256,000 bytes: the connection was closed\.", 1000),
        ("broken_chunked", r"/broken_chunked answers with 1,000 bytes of text/plain, and 256,000 bytes are", 0),
        ("stalled", r"/stalled broke off after 1,000 of 256,000 bytes: timed out\.", 1000),
        ("silent", r"/silent can't be reached: timed out\.", 0),
        ("nothing", r"/nothing can't be reached: Remote end closed connection without response\.", 0),
    ],
)
def test_a_bad_answer_is_an_error_of_two_lines(
    server: Server, tmp_path: Path, answer: str, message: str, kept: int
) -> None:
    with pytest.raises(DownloadError, match=message) as caught:
        fetch(tmp_path / "set/file", make_file(server, answer), lambda done: None, timeout=0.3)
    assert len(str(caught.value).splitlines()) == 2
    assert list_files(tmp_path) == ({"set/file.part": CONTENT[:kept]} if kept else {})


def test_a_failure_ends_the_command_with_1(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, "mnist", make_file(server, "missing"))
    assert main(["mode=download", "data=mnist"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_an_address_without_a_server_is_an_error(server: Server, tmp_path: Path) -> None:
    server.server_close()
    with pytest.raises(DownloadError, match=r"can't be reached: .*\nCheck the connection"):
        fetch(tmp_path / "file", make_file(server, "good"), lambda done: None)
    assert not list_files(tmp_path)


@pytest.mark.parametrize(
    ("answer", "kept", "requests"),
    [
        ("good", CONTENT[:100], ["bytes=100-"]),
        ("good", CONTENT, []),
        ("good", b"x" * 100, ["bytes=100-", None]),  # the start of another file
        ("good", b"x" * len(CONTENT), [None]),
        ("good", b"x" * (len(CONTENT) + 1), [None]),
        ("all", CONTENT[:100], ["bytes=100-"]),  # a server that starts again
        ("redirect_to_file", CONTENT[:100], ["bytes=100-", "bytes=100-"]),
    ],
)
def test_a_transfer_goes_on_from_what_was_kept(
    server: Server, tmp_path: Path, answer: str, kept: bytes, requests: list[str | None]
) -> None:
    (tmp_path / "file.part").write_bytes(kept)
    reports: list[int] = []
    fetch(tmp_path / "file", make_file(server, answer), reports.append)
    assert list_files(tmp_path) == {"file": CONTENT}
    assert [requested for _, requested in server.requests] == requests
    assert not requests or reports[-1] == len(CONTENT)


def test_a_start_that_the_server_has_not_is_fetched_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was shorter once: the server refuses the range."""
    monkeypatch.setitem(ANSWERS, "short", lambda handler: send(handler, CONTENT[:50]))
    (tmp_path / "file.part").write_bytes(CONTENT[:100])
    with pytest.raises(DownloadError, match="answers with 50 bytes of application/x-gzip, and 256,000 bytes are"):
        fetch(tmp_path / "file", make_file(server, "short"), lambda done: None)
    assert not list_files(tmp_path)


def test_ctrl_c_keeps_what_has_arrived(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        if done:
            raise KeyboardInterrupt

    file = make_file(server, "good")
    with pytest.raises(KeyboardInterrupt, match="what has arrived of file is kept, and the same command continues"):
        fetch(tmp_path / "file", file, interrupt)
    (kept,) = list_files(tmp_path).values()
    assert kept
    assert CONTENT.startswith(kept)
    fetch(tmp_path / "file", file, lambda done: None)
    assert list_files(tmp_path) == {"file": CONTENT}


def test_what_was_kept_survives_a_server_that_cannot_be_reached(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:100])
    with pytest.raises(DownloadError, match="can't be reached"):
        fetch(tmp_path / "file", make_file(server, "nothing"), lambda done: None)
    assert list_files(tmp_path) == {"file.part": CONTENT[:100]}


# ------------------------------------------------------------------------------------------------------------- the disk


def test_another_file_at_the_path_is_kept_and_an_error(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "data/set/file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    offer(monkeypatch, "mnist", file := make_file(server, "good"))
    assert main(["mode=download", "data=mnist"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{path} isn't the published file: its SHA-256 is {hashlib.sha256(b'mine').hexdigest()}")
    assert f"that of {file.url} is {file.sha256}.\n" in error
    assert path.read_bytes() == b"mine"
    assert not server.requests


def test_a_full_disk_is_an_error_before_and_while_fetching(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(DownloadError, match=r"has 1 kB free, and 256 kB of http.* are to be stored\.\nFree some"):
            fetch(tmp_path / "file", make_file(server, "good"), lambda done: None)
    assert not server.requests

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DownloadError, match=rf"{tmp_path}: File too large\.\nFree some space"):
            fetch(tmp_path / "file", make_file(server, "good"), lambda done: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list_files(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"set can't be written: File exists\.\nChoose another folder with TITRATE_DATA"
    ):
        fetch(tmp_path / "set/file", make_file(server, "good"), lambda done: None)
    (tmp_path / "file.part").symlink_to("set")
    with pytest.raises(UserError, match="is a link or not a regular file"):
        fetch(tmp_path / "file", make_file(server, "good"), lambda done: None)


def test_two_commands_do_not_fetch_one_file_at_once(server: Server, tmp_path: Path) -> None:
    path, file = tmp_path / "file", make_file(server, "good")

    def fetch_again(done: int) -> None:
        with pytest.raises(UserError, match=r"file.part is written by another command"):
            fetch(path, file, lambda done: None)

    fetch(path, file, fetch_again)
    assert list_files(tmp_path) == {"file": CONTENT}


# --------------------------------------------------------------------------------------------------------- the progress


def test_the_progress_is_a_line_now_and_then(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(fetching, "CHUNK_BYTES", 100_000)
    fetch_data("set", DataSet("MIT", "https://example.org", (make_file(server, "good"),)))
    lines = capsys.readouterr().out.splitlines()
    assert {"file: 0 B of 256 kB", "file: 256 kB of 256 kB", f"{folder}/data/set/file: fetched, 256 kB"} <= set(lines)
    fetch_data("set", DataSet("", "", (make_file(server, "good", "set/b"),)), quiet=True)
    assert not capsys.readouterr().out


def test_on_a_terminal_the_progress_is_a_live_line(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(work, "on_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    fetch_data("set", DataSet("MIT", "https://example.org", (make_file(server, "good"),)))
    assert "256.0/256.0 kB" in capsys.readouterr().out
