"""How many film reviews per second become words, and ids of hashed pairs; and what batches of similar lengths save.

    TITRATE_DATA=folder python benchmarks/text.py [rounds] [override ...]
    smallest: 1 data.valid=40 training.batch_size=4

The texts are the 25,000 training reviews (33 MB) of imdb/aclImdb_labelled.tar.gz, which are read beforehand.

Prints the best and the median of N rounds after one warm-up round. The first lines are thousand reviews per second of
processor time for each kind of work. The last lines are thousand reviews per second of wall time for the whole pass
over the source. The variants of each group alternate, so that a busy machine slows all of them.

At last, it trains `experiment=imdb_mean_embedding`, with the overrides, for one epoch in each round, with and without
`training.bucket_by_length`. It prints the elements of the padded lists of an epoch, how many of them are padding, and
the best and the median seconds of training an epoch, without evaluation and compilation.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

import runner
from benchmarks.timing import format_rates, parse_arguments, time_variants
from components.data import TextFolders
from components.feature import Hashed, Tokens
from components.feature.statistic.counts import Counts
from components.types import Block, Column, Constants, Padded
from runner.config.compose import configure
from runner.data.encode import encode_source
from runner.data.workers import Workers
from runner.display.progress import QuietProgress
from runner.execution.prepare import make_trainer
from runner.training.signals import Signals
from runner.training.trainer import Trainer

NO_CONSTANTS = Constants()
WORDS, PAIRS = Tokens(key="text", remove=("<br />",)), Tokens(key="text", remove=("<br />",), ngrams=2)
IDS = Hashed(key="words", buckets=1 << 20)
TRAINING = ("experiment=imdb_mean_embedding", "tracking=none", "quiet=true", "intervals=null", "fresh=true")


class TrainingReviews(TextFolders):
    """The source without its test part."""

    def sizes(self) -> Mapping[str, int]:
        return {"train": super().sizes()["train"]}


def split_words(block: Block) -> Any:
    return WORDS.encode(block, {}, NO_CONSTANTS)


def split_pairs(block: Block) -> Any:
    return PAIRS.encode(block, {}, NO_CONSTANTS)


def hash_pairs(block: Block) -> Any:
    return IDS.encode(block, {"words": split_pairs(block)}, NO_CONSTANTS)


def count_words(block: Block) -> Any:
    return Counts("words").summarize(Block({"words": split_words(block)["tokens"]}))


def map_blocks(function: Callable[[Block], Any], blocks: Sequence[Block]) -> None:
    for block in blocks:
        function(block)


def prepare_training(*words: str) -> Trainer:
    return make_trainer(configure([*TRAINING, *words]), None, QuietProgress(), Signals())


def count_elements(trainer: Trainer) -> tuple[int, int]:
    """The elements of the padded lists of an epoch, and how many of them aren't padding."""
    chunks = trainer.batches.chunks(trainer.order.epoch(0), trainer.training.batch_size, trainer.steps_per_dispatch)
    counts = [
        (leaf.mask.size, np.count_nonzero(leaf.mask))
        for chunk in chunks
        for leaf in jax.tree.leaves(chunk.data, is_leaf=lambda leaf: isinstance(leaf, Padded))
        if isinstance(leaf, Padded)
    ]
    total, used = np.sum(counts, axis=0).tolist()
    return total, used


def time_epoch(trainer: Trainer, *words: str) -> float:
    """The seconds of training an epoch, without its evaluation and compilation."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result = runner.run(*TRAINING, "training.epochs=1", f"folder={folder}", *words)
    return trainer.plan.steps_per_epoch / result.metrics["steps_per_second"]


def measure_padding(rounds: int, overrides: tuple[str, ...]) -> None:
    variants = {"as they come": overrides, "of similar lengths": (*overrides, "training.bucket_by_length=review")}
    trainers = {name: prepare_training(*words) for name, words in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, words in variants.items():
            seconds[name].append(time_epoch(trainers[name], *words))
    for name, trainer in trainers.items():
        total, used = count_elements(trainer)
        durations = f"best {min(seconds[name]):5.1f}  median {statistics.median(seconds[name]):5.1f} seconds"
        print(f"batches {name:20} {total / 1e6:5.1f} M elements, {1 - used / total:4.0%} padding, {durations}")


def main(rounds: int = 5, *overrides: str) -> None:
    source = TrainingReviews(path="imdb/aclImdb_labelled.tar.gz", valid=1, classes=("neg", "pos"))
    reviews = source.sizes()["train"]
    blocks = list(source.blocks("train"))
    functions = {
        "words": split_words,
        "words and pairs": split_pairs,
        "words and pairs, hashed": hash_pairs,
        "words, counted": count_words,
    }
    work = {name: partial(map_blocks, function, blocks) for name, function in functions.items()}
    columns: dict[str, Column] = {"words": PAIRS, "ids": IDS}
    encode = partial(encode_source, source, columns, dict.fromkeys(columns, NO_CONSTANTS), ["ids"])
    passes = {
        f"the whole pass, threads: {workers}": partial(encode, workers=Workers(workers, start_seconds=math.inf))
        for workers in (1, 2)
    }
    seconds = time_variants(work, rounds, time.process_time) | time_variants(passes, rounds)
    for name, durations in seconds.items():
        print(f"{name:28} {format_rates(reviews, durations, unit=1e3)}")
    measure_padding(rounds, overrides)


if __name__ == "__main__":
    main(*parse_arguments(int))
