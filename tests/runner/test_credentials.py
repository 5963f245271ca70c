"""Credentials in URIs, in any spelling, are in no file, no output, no tag and no artifact."""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import pytest
from delivery import InProcessChild, serve_store

from components import data
from components.feature import Vocabulary
from components.pretrained import Safetensors
from components.types import UserError
from components.uri_mask import MASK, mask_uri
from runner import credentials
from runner.__main__ import main
from runner.credentials import mask_arguments, mask_values, reveal, scrub
from runner.signature.build import build
from runner.tracking import store

pytestmark = [
    pytest.mark.optax,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),  # MLflow's own
]

SECRETS = ("zebra", "quagga")  # whatever of them stands somewhere is a leak
SPELLINGS = {
    "password": "http://me:zebraquagga@127.0.0.1:9",
    "user alone": "http://zebraquagga@127.0.0.1:9/path",
    "user with an empty password": "http://zebraquagga:@127.0.0.1:9",
    "@ in it": "http://me:zebra@quagga@127.0.0.1:9",
    "/ in it": "http://me:zebra/quagga@127.0.0.1:9",
    "@ encoded": "http://me:zebra%40quagga@127.0.0.1:9/path",
    "the last @ encoded": "http://me:zebra%40quagga:9",
    ": in it": "http://me:zebra:quagga@127.0.0.1:9",
    "? in it": "http://me:zebra?quagga@127.0.0.1:9",
    "# in it": "http://me:zebra#quagga@127.0.0.1:9",
    "line break in it": "http://me:zebra\nquagga@127.0.0.1:9",
    "query": "http://127.0.0.1:9/?user=zebra&password=quagga",
    "query with semicolons": "http://127.0.0.1:9/?timeout=1;password=zebra;x=quagga",
    "path with semicolons": "http://127.0.0.1:9/a;token=zebraquagga/b",
    "query with @": "http://127.0.0.1:9/?password=zebra@quagga",
    "query encoded": "http://127.0.0.1:9?token=zebra%2Fquagga",
    "fragment": "http://127.0.0.1:9/#zebraquagga",
    "database": "postgresql+psycopg2://me:zebraquagga@127.0.0.1:9/db",
    "no scheme": "me:zebraquagga@127.0.0.1",
    "no slashes": "postgresql:me:zebraquagga",
    "no host": "http:///me:zebraquagga@127.0.0.1",
    "no store": "ftp://me:zebraquagga@127.0.0.1",
}
REFUSED = {
    *("/ in it", "the last @ encoded", "? in it", "# in it", "line break in it"),
    *("no scheme", "no slashes", "no host", "no store"),
}


@pytest.fixture
def table(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small table. Runs deliver in this process, which has no secrets yet."""
    rows = [f"{number % 7},{number % 5 / 4}" for number in range(60)]
    Path("t.csv").write_text("\n".join(["size,y", *rows]))
    monkeypatch.setattr("runner.tracking._start_child", InProcessChild)
    monkeypatch.setattr("runner.tracking.sqlite_store.LOCK_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(credentials, "original_by_mask", {})
    return in_empty_folder


WORDS = ["data=csv", "data.path=t.csv", "data.target=y", "architecture.widths=[2]"]
WORDS += ["training.epochs=1", "training.batch_size=42"]  # of 42 rows: a step is compiled once


def assert_secret(folder: Path, *texts: str) -> None:
    """Checks that neither a file below a folder nor any of the texts contains a part of a secret."""
    found = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found |= {Path(f"text {number}"): text.encode() for number, text in enumerate(texts)}
    leaks = [f"{path}: {secret}" for path, data in found.items() for secret in SECRETS if secret.encode() in data]
    assert not leaks, "\n".join(leaks)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


# --------------------------------------------------------------------------------------------------- one function


BUCKETS = (
    "s3://me:zebraquagga@bucket/t.csv?*",
    "s3://me:zebra/quagga@bucket/t.csv",
    "S3A://me:zebra/quagga",
    "gs://bucket/t.csv?X-Goog-Signature=zebra&token=quagga",
)


@pytest.mark.parametrize("uri", [*SPELLINGS.values(), *BUCKETS], ids=[*SPELLINGS, *BUCKETS])
def test_a_mask_has_no_part_of_a_secret(uri: str) -> None:
    masked = mask_uri(uri)
    assert_secret(Path("nowhere"), masked)
    assert masked != uri
    assert mask_uri(masked) == masked


def connect(token: str, address: str) -> None:
    """A function of a generator."""


SECRET_URI = "s3://me:zebra@bucket/t?token=quagga"
FIELDS: Any = {"x": {"dtype": "uint8"}}


@pytest.mark.parametrize(
    "part",
    [
        *(cls(path=SECRET_URI, valid=SECRET_URI) for cls in (data.Csv, data.TableFile)),
        *(cls(path=SECRET_URI) for cls in (data.ImageFolders, data.TextFolders, data.TextLines, data.NumpyFiles)),
        data.NumpyFiles(path={"x": SECRET_URI}),
        data.ImageTable(path=SECRET_URI, images="x", root=SECRET_URI),
        data.FixedLengthRecords(path=SECRET_URI, fields=FIELDS),
        data.Sql(uri="postgresql://me:zebra@host/shop", query="t"),
        data.Generator(function=functools.partial(connect, "x", token="zebra", address=SECRET_URI)),
        Vocabulary(key="x", path=SECRET_URI),
        Safetensors(path=SECRET_URI),
    ],
    ids=lambda part: type(part).__name__,
)
def test_the_representation_of_a_part_has_no_secret(part: Any) -> None:
    assert_secret(Path("nowhere"), repr(part), str(part), repr([part]))
    assert repr(part).startswith(f"{type(part).__name__}(")


def test_representations_are_those_of_dataclasses() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
    class Mine(data.Csv):
        number: float = 0.5
        own: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=lambda: {"token": (1,), "a": (2,)})

    assert repr(Mine(path="a.csv")).endswith(f"number=0.5, own={{'token': ('{MASK}',), 'a': (2,)}})")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000/path",
        "https://[::1]:5000",
        "sqlite:////tmp/a@b:c/x.db?timeout=30",
        "sqlite:///mlflow.db",
        "postgresql://host/db?connect_timeout=3",
        "postgresql:///db?host=/var/run/postgresql&port=5433",
        "databricks",
        "databricks://profile",
        "file:///tmp/mlruns",
        "s3://bucket/a@b/year=2020/part-?#.parquet",
        "abfs://container@account.dfs.core.windows.net/t.csv",
        "some/path",
    ],
)
def test_a_uri_without_secrets_is_not_changed(uri: str) -> None:
    assert mask_uri(uri) == uri


@pytest.mark.parametrize(
    ("word", "masked"),
    [
        ("tracking.uri=http://me:zebra@h/x", "tracking.uri=http://***@h/x"),
        ("++tracking.uri='http://me:zebra@h'", "++tracking.uri='http://***@h'"),
        ('tracking.uri="http://h/?token=zebra"', 'tracking.uri="http://h/?token=***"'),
        ("tracking.uri='http://me:zeb'ra@h'", "tracking.uri='http://***@h'"),
        ("tracking.uri=me:zebra@h", "tracking.uri=***@h"),
        ("tracking={uri: 'http://me:zebra@h', experiment: x}", "tracking={uri: 'http://***@h', experiment: x}"),
        ("tracking={uri: http://me:zebra@h, experiment: x}", "tracking={uri: http://***@h, experiment: x}"),
        ("tracking.artifact_uri=s3:zebra@h", "tracking.artifact_uri=***@h"),
        ("--tracking.uri=http://zebra@h", "--tracking.uri=http://***@h"),
        ("http://zebra@h", "http://***@h"),
        ("data.path=a@b.csv", "data.path=a@b.csv"),
        ("tracking.uri='", "tracking.uri='"),
        ("tracking=me:zebra@h", "tracking=***@h"),
        ("tracking.uri = me:zebra@h", "tracking.uri =***@h"),
        ("Tracking.URI=me:zebra@h", "Tracking.URI=***@h"),
        ("traking.server=me:zebra@h", "traking.server=***@h"),
        ("MLFLOW_TRACKING_URI=me:zebra@h", "MLFLOW_TRACKING_URI=***@h"),
        ("MLFLOW_TRACKING_TOKEN=zebra", "MLFLOW_TRACKING_TOKEN=***MLFLOW_TRACKING_TOKEN"),
        ("--tracking.token='zebra quagga'", "--tracking.token='***tracking.token'"),
        ("tracking.key=zebra", "tracking.key=***tracking.key"),
        ("loss.API_key=17", "loss.API_key=***loss.API_key"),
        ("tracking={uri: me:zebra@h, password: 'a, b'}", "tracking={uri: ***@h, password: '***tracking.password'}"),
        ('tracking={"uri": "me:zeb,ra@h"}', 'tracking={"uri": "***@h"}'),
        ("server=me:zebra@h", "server=***@h"),
        ("loss={server: [me:zebra@h, me:quagga@i]}", "loss={server: [***@h, ***@i]}"),
        ("me:zebra@h", "***@h"),
        ("tracking=mlflow", "tracking=mlflow"),
        ("tracking.experiment='cnn: deep'", "tracking.experiment='cnn: deep'"),
        ("tracking.token=null", "tracking.token=null"),
        ("training.epochs=3", "training.epochs=3"),
        ("feature.columns.age.key=age", "feature.columns.age.key=age"),
        ("runs.where=started > 10:30", "runs.where=started > 10:30"),
    ],
)
def test_a_uri_is_masked_anywhere_in_an_argument(word: str, masked: str) -> None:
    assert mask_arguments([word]) == [masked]
    assert mask_arguments([masked]) == [masked]


def test_a_part_gets_the_uri_of_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "original_by_mask", {})
    tree = mask_values({"store": {"hosts": ["http://me:zebra@h"], "uri": "me:zebra@h", "name": "a@b"}})
    assert tree == {"store": {"hosts": ["http://***@h"], "uri": "***@h", "name": "a@b"}}
    assert build(tree, {})["store"] == {"hosts": ("http://me:zebra@h",), "uri": "me:zebra@h", "name": "a@b"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://quagga@i")
    assert reveal("http://***@i") == "http://quagga@i"
    assert reveal("http://***@j") == "http://***@j"
    with pytest.raises(
        UserError, match=r"the credentials in http://\*\*\*@j are not saved\. Give the whole URI instead"
    ):
        build({"store": ["http://***@j"]}, {})
    with pytest.raises(UserError, match=r"in sqlite:///x\.db\?a=\*\*\*&timeout=3 are not saved\. Give the whole URI"):
        build({"store": "sqlite:///x.db?a=***&timeout=3"}, {})
    monkeypatch.setenv("TITRATE_DATA_URI", "sqlite:///x.db?a=zebra&timeout=3")
    assert build({"store": "sqlite:///x.db?a=***&timeout=3"}, {}) == {"store": "sqlite:///x.db?a=zebra&timeout=3"}
    assert mask_values({"a": [{"token": "zebra"}, {"token": 17}, {"token": None}]}) == (
        secrets := {"a": [{"token": "***a.0.token"}, {"token": "***a.1.token"}, {"token": None}]}
    )
    assert build(secrets, {})["a"] == ({"token": "zebra"}, {"token": "17"}, {"token": None})
    with pytest.raises(UserError, match=r"in \*\*\*b.token are not saved\. Give the whole secret instead"):
        build({"b": {"token": "***b.token"}}, {})


@pytest.mark.parametrize("text", ["zebra quagga", "p=zebra%20quagga", "p=zebra+quagga", "('zebra quagga',)"])
def test_texts_of_libraries_are_scrubbed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "original_by_mask", {"http://***@h": "http://me:zebra%20quagga@h"})
    assert_secret(Path("nowhere"), scrub(text), scrub("no route to postgresql://me:quagga@unknown/db."))
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "dodo")
    assert scrub("Basic dodo: a dodos' day") == "Basic ***: a dodos' day"


def test_a_user_name_is_masked_in_uris_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "original_by_mask", {})
    mask_arguments(["tracking.uri=http://a:zebra@h", "loss.token=quagga"])
    assert scrub("a run of a: a:zebra, http://a:b@i, quagga") == "a run of a: ***, http://***@i, ***"


# ----------------------------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_run_writes_and_prints_no_secret(spelling: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    word = f'tracking.uri="{SPELLINGS[spelling]}"'
    code, printed = run(capsys, *WORDS, word)
    assert code == (2 if spelling in REFUSED else 0), printed
    assert ("MLflow lacks" in printed) == (code == 0)
    for words in ([word, "--cfg", "job"], [f"--{word}"], [word[:-1]]):
        printed += run(capsys, *words)[1]
    assert printed.count("***") >= 3
    assert_secret(table, printed)


@pytest.mark.parametrize(
    "word",
    [
        *("tracking.ur=me:zebra@127.0.0.1", "Tracking.URI=me:zebra@h", "tracking=me:zebra@h", "trackng.url=me:zebra@h"),
        *("tracking.token=zebra", "tracking.password=zebra", "MLFLOW_TRACKING_TOKEN=zebra", "passwrd=me:zebra@h"),
        *("MLFLOW_TRACKING_URI=me:zebra@h", "tracking={uri: 'me:zebra@h'}", "tracking={token: zebra, uri: me:zebra@h}"),
        *(
            "tracking={uri: ['me:zebra@h']}",
            "loss={password: zebra}",
            "trainig.secret=zebra",
            "tracking.uri:me:zebra@h",
        ),
    ],
)
def test_a_wrong_override_is_reported_without_its_secret(
    word: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ([word], [word, "--info"], [word, "--cfg", "job"], [f"--{word}"]):
        printed = run(capsys, *WORDS, *words)[1]
        assert "***" in printed
        assert_secret(table, printed)


@pytest.mark.parametrize(
    "text", ["tracking: me:zebra@127.0.0.1", "tracking: {uri: [me:zebra@h], token: zebra}", "trackin: {ur: me:zebra@h}"]
)
def test_a_wrong_file_is_reported_without_its_secret(
    text: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text(text)
    for words in ([], ["--info"], ["--cfg", "job"]):
        assert "zebra" not in run(capsys, "experiment=mine", *words)[1]


@pytest.mark.parametrize("verb", ["train", "dry_run", "look", "sweep", "info"])
def test_no_mode_prints_the_secret_of_a_file(verb: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"sweep": ["-m", "seed=1,2"], "info": ["--info"]}.get(verb, [f"mode={verb}"])
    Path("conf/tracking").mkdir(parents=True)
    source = Path("conf/tracking/mine.yaml")
    source.write_text(f"_target_: runner.tracking.MLflow\nuri: '{SPELLINGS['@ in it']}'\n")
    code, printed = run(capsys, *WORDS, "tracking=mine", *words)
    source.unlink()
    assert code == 0, printed
    assert_secret(table, printed)


@pytest.mark.slow
def test_a_store_gets_the_record_without_the_secret(
    table: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///file:{database}?uri=true&password=zebraquagga"  # which SQLite takes, and cares nothing about
    code, printed = run(capsys, *WORDS, f"tracking.uri='{uri}'")
    assert code == 0
    assert "MLflow lacks" not in printed
    client = store.connect(f"sqlite:///{database}")
    (found,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {path.path for path in client.list_artifacts(found.info.run_id)} >= {"config.yaml", "overrides.yaml"}
    assert "password=***" in found.data.tags["overrides"]
    assert_secret(table, printed)


def test_a_resumed_run_needs_the_whole_uri_again(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = SPELLINGS["password"]
    assert run(capsys, *WORDS, f"tracking.uri={uri}")[0] == 0
    more = ["resume=last", "training.epochs=2"]
    credentials.original_by_mask.clear()  # as in another process
    code, printed = run(capsys, *more)
    assert (code, "Its credentials are not saved. Give the whole URI" in printed) == (2, True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    code, again = run(capsys, *more)
    assert (code, "resuming from step" in again) == (0, True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    asked: list[str] = []

    def connect(uri: str) -> Any:
        asked.append(uri)
        raise ConnectionError("nobody there")

    monkeypatch.setattr(store, "connect", connect)
    for words in ([], [f"tracking.uri={uri}"]):
        assert run(capsys, "mode=deliver", *words)[0] == 2
    assert asked == [uri]
    assert_secret(table, printed, again)


PART = """
from components.loss import MSE


class Remote(MSE):
    def __init__(self, uri: str) -> None:
        self.uri = uri

    def __call__(self, logits, target):
        raise RuntimeError(f"no route to {self.uri}, password {self.uri[10:21]}")
"""


def test_a_secret_in_the_message_of_a_failure_is_masked(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("remote_part.py").write_text(PART)
    Path("conf/loss").mkdir(parents=True)
    Path("conf/loss/remote.yaml").write_text(f"_target_: remote_part.Remote\nuri: '{SPELLINGS['password']}'\n")
    sources = [Path("conf/loss/remote.yaml"), Path("remote_part.py")]
    try:
        code, printed = run(capsys, "--allow", "remote_part", *WORDS, "loss=remote", "tracking=none")
    finally:
        sys.modules.pop("remote_part", None)
    for path in sources:
        path.unlink()
    assert code == 1

    def fit(*given: Any) -> None:
        raise RuntimeError(f"no route to {SPELLINGS['@ encoded']}, nor for zebra%40quagga")

    monkeypatch.setattr("runner.training.trainer.Trainer.fit", fit)
    code, failed = run(capsys, *WORDS, f"tracking.uri={SPELLINGS['@ encoded']}")
    (log,) = Path("outputs").glob("*/log.txt")
    line = "RuntimeError: no route to http://***@127.0.0.1:9/path, nor for ***"
    assert (code, line in failed, line in log.read_text()) == (1, True, True)
    assert "RuntimeError: no route to http://***@127.0.0.1:9, password ***" in printed
    assert_secret(table, printed, failed)


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "zebraquagga"}, "Basic bWU6emVicmFxdWFnZ2E="),
        ({"MLFLOW_TRACKING_TOKEN": "zebraquagga"}, "Bearer zebraquagga"),
        ({}, "Basic bWU6emVicmFxdWFnZ2E="),  # of the URI
    ],
)
def test_only_the_server_gets_the_credentials(
    variables: dict[str, str],
    header: str,
    table: Path,
    database: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with serve_store(database) as server:
        uri = server.uri if variables else server.uri.replace("://", "://me:zebraquagga@")
        code, printed = run(capsys, *WORDS, f"tracking.uri={uri}")
    assert (code, "MLflow lacks" in printed) == (0, False), printed
    assert server.authorizations == {header}
    (found,) = store.connect(f"sqlite:///{database}").search_runs(["1"])
    assert found.info.status == "FINISHED"
    assert_secret(table, printed)
