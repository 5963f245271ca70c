"""The order of the examples of a run: files in turns, the same order in each epoch, batches of similar lengths."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from killing import killed_after

import runner
from components.data import Arrays
from components.types import UserError
from runner import run_folder
from runner.config.compose import configure
from runner.display.progress import QuietProgress
from runner.errors import ConfigError
from runner.execution.prepare import make_trainer
from runner.training.signals import Signals
from runner.training.trainer import Trainer

pytestmark = [pytest.mark.optax]

RUN = ("tracking=none", "quiet=true", "architecture.widths=[4]", "training.batch_size=4", "learning_rate=0.01")
SHARDS = ("data=table", "data.path=shards", "data.target=y", "data.on_missing_target=drop", "data.split_column=part")
KILLED = ("training.steps=20", "training.epochs=null", "training.log_steps=3", "training.checkpoint_minutes=1e-9")
SIZES = [9, 4, 14, 1, 6]
PARTS = ("valid", "train", "train", "test", "train", "train")  # of every six rows
WORDS = ("feature=words", "loss=binary_cross_entropy", "training.bucket_by_length=review", "training.bucket_batches=3")
FEATURE = """\
# The mean embedding of words.
target: {_target_: components.feature.Label, key: label}
columns:
  words: {_target_: components.feature.Tokens, key: text}
  ids: {_target_: components.feature.Hashed, key: words, buckets: 20}
  review: {_target_: components.feature.Embedding, key: ids, dimension: 2}
  size: {_target_: components.feature.Numeric, key: size}
inputs: {inputs: [review, size]}
"""


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a feature file, and a table in files of several sizes. Each third row is held out, and row 10 has
    no target."""
    monkeypatch.setattr(run_folder, "ABANDONED_SECONDS", -1)
    Path("shards").mkdir()
    starts = np.cumsum([0, *SIZES])
    for file, size in enumerate(SIZES):
        numbers = range(starts[file], starts[file] + size)
        rows = [f"{row},{'' if row == 10 else row * 7 % 5},{PARTS[row % 6]}" for row in numbers]
        (in_empty_folder / f"shards/{file}.csv").write_text("\n".join(["x,y,part", *rows]))
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/words.yaml").write_text(FEATURE)
    return in_empty_folder


def texts(count: int = 47) -> Arrays:
    """Texts of 1 to 40 words."""
    lengths = np.random.default_rng(0).integers(1, 41, count)
    columns = {"text": np.array(["a b " * (length // 2) + "c" for length in lengths]), "label": np.arange(count) % 2}
    return Arrays(columns=columns | {"size": lengths}, valid=8, test=8, seed=0)


def trainer(*words: str, source: Arrays | None = None) -> Trainer:
    return make_trainer(configure([*RUN, *words]), source, QuietProgress(), Signals())


def test_the_files_of_a_table_come_in_turns() -> None:
    """Rows that are held out or left out are in no turn, and a file without training rows has none."""
    made = trainer(*SHARDS, "training.interleave=2", "training.interleave_block=2", "training.shuffle=false")
    assert made.data.row_numbers is not None
    found = made.data.row_numbers[made.order.epoch(0)[:]].tolist()
    rounds = [[1, 2, 11], [4, 5, 13, 14], [7, 8, 16, 17], [19, 20], [28, 29, 22, 23], [31, 32, 25, 26]]
    assert found == [row for turn in rounds for row in turn]
    assert list(made.order.describe()) == ["2 rows of each of 2 files in turns, of 4 files"]


def test_the_files_come_in_another_order_in_each_epoch_if_rows_are_shuffled() -> None:
    words = (*SHARDS, "training.interleave=1", "training.shuffle=2")
    made = trainer(*words)
    orders = [made.order.epoch(epoch)[:].tolist() for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    assert len({order[0] // 3 for order in orders}) > 1, "the first rows are of several files"
    assert all(sorted(order) == made.data.splits["train"].tolist() for order in orders)
    same = trainer(*words, "training.reshuffle=false")
    assert {tuple(same.order.epoch(epoch)[:].tolist()) for epoch in range(4)} == {tuple(orders[0])}
    assert [*same.order.describe()][-1] == "the same in each epoch"


def arrays(run: Path) -> dict[str, bytes]:
    """The arrays of the last checkpoint."""
    with np.load(max((run / "checkpoints").glob("step_*.npz"))) as archive:
        return {name: archive[name].tobytes() for name in archive.files if name != "meta"}


@pytest.mark.parametrize(
    ("words", "stop"),
    [
        ((*SHARDS, "training.interleave=3", "training.interleave_block=2", "training.shuffle=5"), 9),
        ((*WORDS, "training.drop_remainder=true"), 9),
    ],
    ids=["files in turns", "similar lengths"],
)
def test_a_killed_run_goes_on_at_the_same_example(words: tuple[str, ...], stop: int) -> None:
    source = texts() if words[0] == WORDS[0] else None

    def run() -> runner.Result:
        return runner.run(*RUN, *KILLED, *words, source=source)

    expected = run()
    values, history = arrays(expected.folder), json.loads((expected.folder / "summary.json").read_text())["history"]
    shutil.rmtree("outputs")
    with killed_after(stop):
        run()
    resumed = run()
    assert f"resuming from step {stop} " in (resumed.folder / "log.txt").read_text()
    assert arrays(resumed.folder) == values
    assert json.loads((resumed.folder / "summary.json").read_text())["history"] == history


def test_batches_of_similar_lengths_have_less_padding() -> None:
    words = (*WORDS, "training.bucket_batches=12")
    made, plain = (trainer(*each, source=texts(200)) for each in (words, WORDS[:2]))

    def count_padding(one: Trainer) -> int:
        """The elements of the padded lists of an epoch."""
        chunks = one.batches.chunks(one.order.epoch(1), 4, one.steps_per_dispatch)
        return sum(max(leaf.size for leaf in jax.tree.leaves(chunk.data)) for chunk in chunks)

    assert made.steps_per_dispatch == 4
    assert count_padding(made) < 0.8 * count_padding(plain)
    (_, sentence) = made.order.describe()
    assert sentence == "every 12 batches sorted by the length of review, in batches of similar lengths"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("training.interleave=2",), "interleave: 2 has no effect, because training.shuffle=true shuffles all rows"),
        (("training.interleave=2", "training.sampling=balanced"), "interleave: 2 has no effect, because training.samp"),
        (("training.interleave=0", "training.shuffle=false"), "interleave: 0 is not"),
        (("training.interleave_block=2",), "interleave_block: 2 has no effect without training.interleave"),
        (("training.reshuffle=false", "training.shuffle=false"), "reshuffle: false has no effect, because training.sh"),
        (("training.bucket_by_length=revue",), r"bucket_by_length: revue is no column of the inputs. .*mean review\?"),
        (("training.bucket_batches=3",), "bucket_batches: 3 has no effect without training.bucket_by_length"),
        (("training.bucket_batches=1", "training.bucket_by_length=review"), "bucket_batches: 1 is not"),
    ],
)
def test_an_order_without_effect_is_an_error(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{message}"):
        configure(["feature=words", *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("training.bucket_by_length=size",), r"bucket_by_length: size has no lists\. .*lists: review\."),
        (("training.interleave=2", "training.shuffle=9"), "interleave: the rows of this data don't come from files"),
    ],
)
def test_an_order_that_the_data_lacks_is_an_error(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=rf"training\.{message}"):
        trainer(*WORDS[:2], *words, source=texts())


def test_a_table_in_one_file_has_no_turns() -> None:
    with pytest.raises(UserError, match=r"training\.interleave: all training rows are in one file\."):
        trainer(*SHARDS, "data.path=shards/0.csv", "training.interleave=2", "training.shuffle=false")


MIXED = (
    "data=mixed",
    "data.sources={a: {option: table, path: shards/0.csv}, b: {option: table, path: shards/2.csv}}",
    *("data.source_column=place", "feature=mixed", "loss=mse", "metric=[mae]"),
)


@pytest.fixture
def mixed_feature() -> None:
    Path("conf/feature/mixed.yaml").write_text(
        "target: {_target_: components.feature.Numeric, key: y}\n"
        "columns:\n"
        "  x: {_target_: components.feature.Numeric, key: x}\n"
        "  name: {_target_: components.feature.Vocabulary, key: place}\n"
        "  source: {_target_: components.feature.Indicator, key: name}\n"
        "inputs: {inputs: [x, source]}\n"
    )


@pytest.mark.usefixtures("mixed_feature")
def test_sources_are_drawn_in_proportion_to_their_weights() -> None:
    """Each row of a source is drawn equally often, and a source with the weight 0 never."""
    made = trainer(*MIXED, "training.source_weights={a: 3, b: 1}")
    rows = np.concatenate([made.order.epoch(epoch)[:] for epoch in range(300)])
    counts = np.bincount(rows, minlength=SIZES[0] + SIZES[2])
    train = made.data.splits["train"]
    assert {*np.flatnonzero(counts).tolist()} == {*train.tolist()}
    assert 2.6 < counts[: SIZES[0]].sum() / counts[SIZES[0] :].sum() < 3.5
    for source in (train[train < SIZES[0]], train[train >= SIZES[0]]):
        assert counts[source].max() < 2 * counts[source].min()
    assert [*made.order.describe()] == ["drawn with replacement (training.source_weights)"]
    only = trainer(*MIXED, "training.source_weights={a: 0, b: 0.1}")
    assert only.order.epoch(0)[:].min() >= SIZES[0]
    assert len(only.order.epoch(0)) == len(train)


@pytest.mark.usefixtures("mixed_feature")
def test_sources_come_in_turns() -> None:
    made = trainer(*MIXED, "training.interleave=2", "training.shuffle=false")
    train = made.data.splits["train"].tolist()
    one, two = ([row for row in train if (row < SIZES[0]) == first] for first in (True, False))
    turns = [row for pair in zip(one, two, strict=False) for row in pair]
    assert made.order.epoch(0)[:].tolist() == turns + two[len(one) :]


@pytest.mark.usefixtures("mixed_feature")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("training.source_weights={a: 1, c: 1}",), r"source_weights\.c: there is no source c\. .*Sources: a, b\."),
        (("training.source_weights={a: 1}",), r"source_weights: there is no weight of b\. Set one, which may be 0\."),
        (("training.source_weights={a: 0, b: 0}",), "source_weights: all weights are 0, so nothing is drawn"),
        (("training.source_weights={a: -1, b: 1}",), r"source_weights\.a: -1 is not a number in \[0, inf\)"),
        (
            ("training.source_weights={a: 1, b: 1}", "training.shuffle=9"),
            "shuffle: 9 has no effect, because training.source_weights draws examples at random",
        ),
        (
            ("training.source_weights={a: 1, b: 1}", "training.sampling=balanced"),
            "sampling: balanced and training.source_weights both decide how often a row is drawn",
        ),
        (("data=digits", "training.source_weights={a: 1, b: 1}"), "source_weights: is for data=mixed, which has"),
    ],
)
def test_wrong_weights_of_sources_are_an_error(words: tuple[str, ...], message: str) -> None:
    choice = MIXED if words[0] != "data=digits" else MIXED[3:4]
    with pytest.raises(ConfigError, match=rf"training\.{message}"):
        configure([*choice, *words])
