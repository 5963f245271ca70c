"""Runs that start from the weights of other runs: of networks, of feature columns, and of several runs at once."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import runner
from components.types import UserError
from runner.errors import ConfigError
from runner.execution.execute import Result

pytestmark = pytest.mark.optax

COLUMNS = """# Cities and areas.
target: {_target_: components.feature.Numeric, key: price}
columns:
  area: {_target_: components.feature.Numeric, key: area}
  unused: {_target_: components.feature.Numeric, key: area}
  town: {_target_: components.feature.Vocabulary, key: town, oov: 1}
  town_vector: {_target_: components.feature.Embedding, key: town, dimension: 2}
  size: {_target_: components.feature.Bucketized, key: area, boundaries: [2.0, 4.0]}
  size_vector: {_target_: components.feature.Embedding, key: size, dimension: 2}
inputs: {inputs: [area, town_vector, size_vector]}
"""
WORDS = (
    *("feature=rooms", "architecture={option: mlp, widths: [3]}", "loss=mse", "metric=[]", "intervals=null"),
    *("training.epochs=1", "training.batch_size=8", "data.valid=4", "data.test=4", "tracking=none", "quiet=true"),
)


def make_rows(towns: str) -> dict[str, Any]:
    """48 rows, with more of a town the earlier it comes, so that the vocabulary has the order of the names."""
    random = np.random.default_rng(0)
    a, b, c = towns
    return {"town": [a, b, a, c, a, b] * 8, "area": random.uniform(1, 5, 48), "price": random.normal(size=48)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the columns and the finished run `first`."""
    path = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(path)
        (path / "conf/feature").mkdir(parents=True)
        (path / "conf/feature/rooms.yaml").write_text(COLUMNS)
        result = runner.run(*WORDS, data=make_rows("abc"))
        result.folder.rename(path / "outputs/first")
    return path


@pytest.fixture
def start(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs with the weights of `first`, without training."""
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")

    def start_run(*words: str, towns: str = "abc", weights: str = "weights={option: run, run: first}") -> Result:
        return runner.run(*WORDS, "optimizer=sgd", "learning_rate=0", weights, *words, data=make_rows(towns))

    return start_run


def parameters(run: Any, towns: str = "abc") -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(runner.load(run).weights.parameters)
    return {jax.tree_util.keystr(keys, simple=True, separator="/"): np.asarray(leaf) for keys, leaf in leaves}


def test_all_parameters_are_those_of_the_run(start: Callable[..., Result]) -> None:
    found, first = parameters(start().folder), parameters("outputs/first")
    assert {"columns_town_vector/embedding", "columns_size_vector/embedding", "architecture/head/bias"} < first.keys()
    for path, array in first.items():
        np.testing.assert_array_equal(found[path], array)


def test_vectors_are_taken_by_value_where_the_vocabulary_differs(
    start: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    found = parameters(start("quiet=false", towns="cdb").folder)["columns_town_vector/embedding"]
    printed = " ".join(capsys.readouterr().out.split())
    first = parameters("outputs/first")["columns_town_vector/embedding"]
    np.testing.assert_array_equal(found[[0, 2, 3]], first[[2, 1, 3]])  # c, b, and the id of unknown towns
    assert not np.isin(found[1], first).any()
    assert "columns_town_vector/embedding: 3 of 4 rows are of the run" in printed
    assert "inputs than there" not in printed


def test_vectors_may_be_fixed_that_the_run_trained(start: Callable[..., Result]) -> None:
    result = start("feature.columns.size_vector.trainable=false")
    frozen = runner.load(result.folder).weights.model_state["frozen"]["columns_size_vector"]["embedding"]
    np.testing.assert_array_equal(frozen, parameters("outputs/first")["columns_size_vector/embedding"])


def test_vectors_of_a_column_that_is_defined_otherwise_are_an_error(
    start: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    other = "feature.columns.size.boundaries=[2.0, 3.0]"
    message = (
        r"weights: .* columns_size_vector/embedding: the column size is defined otherwise in the run, .*"
        r"weights.skip=\[columns_size_vector\]"
    )
    with pytest.raises(UserError, match=message):
        start(other)
    missing = "feature.columns.area.missing=0"
    found = parameters(start(other, missing, "weights.skip=[columns_size_vector]", "quiet=false").folder)
    printed = " ".join(capsys.readouterr().out.split())
    assert "note: first encodes area in another way, because" in printed
    first = parameters("outputs/first")
    np.testing.assert_array_equal(found["columns_town_vector/embedding"], first["columns_town_vector/embedding"])
    assert not np.isin(found["columns_size_vector/embedding"], first["columns_size_vector/embedding"]).any()


def test_paths_choose_what_is_taken(start: Callable[..., Result]) -> None:
    found, first = parameters(start("weights.paths=[columns_*, '**/dense_*']").folder), parameters("outputs/first")
    random = parameters(start(weights="weights=random").folder)
    for path in first:
        expected = random if path.startswith("architecture/head") else first
        np.testing.assert_array_equal(found[path], expected[path])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["weights.paths=[architecture/dens]"],
            r"weights.paths: .*/dens\. Did you mean architecture/dense_0",
        ),
        (["weights.skip=[columns_twn_vector]"], r"weights.skip: .* Did you mean columns_town_vector"),
        (["weights.run=none"], r"weights.run: none: there is no"),
        (["architecture.widths=[4]"], r"Other shapes: dense_0/bias \(3,\) in the run, \(4,\) in this network"),
    ],
)
def test_what_does_not_fit_is_an_error(start: Callable[..., Result], words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        start(*words)
    assert {path.name for path in Path("outputs").iterdir()} == {"first"}


def test_weights_of_several_runs_are_joined(start: Callable[..., Result]) -> None:
    start("seed=1", weights="weights=random").folder.rename("outputs/second")
    joined = "weights={option: joined, sources: {body: {option: run, run: first, skip: [head]}, head: %s}}"
    found = parameters(start(weights=joined % "{option: run, run: second, module: head, into: head}").folder)
    first, second = parameters("outputs/first"), parameters("outputs/second")
    for path in first:
        np.testing.assert_array_equal(found[path], (second if "/head/" in path else first)[path])
    with pytest.raises(ConfigError, match=r"weights.sources.head.run: none: there is no"):
        start(weights=joined % "{option: run, run: none, into: head}")
    with pytest.raises(UserError, match=r"weights.sources.head.into: this network has no module hed"):
        start(weights=joined % "{option: run, run: second, into: hed}")


def test_a_warning_counts_the_held_out_rows_that_the_run_was_trained_on(
    start: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    words, rows = ("data.seed=1", "training.epochs=0", "quiet=false"), make_rows("abc")
    folders = "outputs/first", start(*words).folder
    printed = " ".join(capsys.readouterr().out.split())
    first, own = (runner.load(folder, data=rows).data for folder in folders)
    learned = {split: len({*first.number_rows("train")} & {*own.number_rows(split)}) for split in ("valid", "test")}
    assert all(learned.values())
    described = " and ".join(f"{count} of the 4 rows of the {split} split" for split, count in learned.items())
    assert f"warning: first was trained on {described}, so these can't show" in printed
    assert f"set data.seed={runner.load(folders[0], data=rows).run.config.values['data'].get('seed', 0)}" in printed
    start(*words, towns="cab")
    assert "was trained on" not in capsys.readouterr().out
    limited = start("training.limit_batches=1", "training.batch_size=1", weights="weights=random").folder.name
    start(*words, weights=f"weights={{option: run, run: {limited}}}")
    counts = re.findall(r"(\d) of the 4 rows", " ".join(capsys.readouterr().out.split()))
    assert counts in ([], ["1"])


def test_a_run_that_is_resumed_reads_no_weights(start: Callable[..., Result]) -> None:
    shutil.copytree("outputs/first", "outputs/source")
    result = start(weights="weights={option: run, run: source}")
    shutil.rmtree("outputs/source")
    words = ("training.epochs=2", f"resume={result.folder.name}")
    extended = start(*words, weights="weights={option: run, run: source}")
    assert [record["epoch"] for record in extended.records] == [1, 2]
    for checkpoint in result.folder.glob("checkpoints/step_*.npz"):
        checkpoint.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"weights.run: source: there is no such run"):
        start("training.epochs=3", words[1], weights="weights={option: run, run: source}")


def test_other_weights_make_another_run(start: Callable[..., Result]) -> None:
    names = [start("fresh=true").folder.name.rpartition("_")[2] for _ in range(2)]
    shutil.rmtree("outputs/first")
    start("seed=1", weights="weights=random").folder.rename("outputs/first")
    names.append(start("fresh=true").folder.name.rpartition("_")[2])
    assert names[0] == names[1] != names[2]


def test_weights_of_a_run_that_diverged_come_with_a_warning(
    start: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    start("quiet=false")
    assert "warning: the run first" not in capsys.readouterr().out
    summary = Path("outputs/first/summary.json")
    summary.write_text(summary.read_text().replace('"finished"', '"diverged"'))
    start("quiet=false", "fresh=true")
    text = "warning: the run first is diverged; its best weights so far, of epoch 1, are taken"
    assert text in " ".join(capsys.readouterr().out.split())


def test_a_run_without_checkpoints_has_no_weights(start: Callable[..., Result]) -> None:
    shutil.rmtree("outputs/first/checkpoints")
    with pytest.raises(UserError, match=r"weights.run: .*the run has no checkpoint that can be read"):
        start()
