"""How many film reviews per second become words, and ids of hashed pairs of words.

    TITRATE_DATA=folder python benchmarks/text.py [rounds]
    smallest: 1

The texts are the 25,000 training reviews (33 MB) of imdb/aclImdb_labelled.tar.gz, which are read beforehand.

Prints the best and the median of N rounds after one warm-up round. The first lines are thousand reviews per second of
processor time for each kind of work. The last lines are thousand reviews per second of wall time for the whole pass
over the source. The variants of each group alternate, so that a busy machine slows all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.timing import format_rates, parse_arguments, time_variants
from components.data import TextFolders
from components.feature import Hashed, Tokens
from components.feature.statistic.counts import Counts
from components.types import Block, Column, Constants
from runner.data.encode import encode_source
from runner.data.workers import Workers

NO_CONSTANTS = Constants()
WORDS, PAIRS = Tokens(key="text", remove=("<br />",)), Tokens(key="text", remove=("<br />",), ngrams=2)
IDS = Hashed(key="words", buckets=1 << 20)


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


def main(rounds: int = 5) -> None:
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


if __name__ == "__main__":
    main(*parse_arguments(int))
