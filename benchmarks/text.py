"""How many film reviews a second become tokens, and ids of hashed pairs of words.

    TITRATE_DATA=folder python benchmarks/text.py [rounds]
    smallest: 1

The 25,000 training reviews of imdb/aclImdb_labelled.tar.gz, 33 MB, read beforehand. Prints the best and the median of
the rounds, after one that isn't counted, in reviews a second of processor time; the last lines are of the whole pass
over the source by one thread and by two, in reviews a second of wall time. All take turns, so that a busy machine
slows all alike.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from components.data import TextFolders
from components.feature import Hashed, Tokens
from components.feature.statistic.counts import Counts
from components.types import Block, Column, Constants
from runner.data.encode import encode_source

NOTHING = Constants()
WORDS, PAIRS = Tokens(key="text", remove=("<br />",)), Tokens(key="text", remove=("<br />",), ngrams=2)
IDS = Hashed(key="words", buckets=1 << 20)


class Train(TextFolders):
    """The training reviews alone."""

    def sizes(self) -> Mapping[str, int]:
        return {"train": super().sizes()["train"]}


def hashed(block: Block) -> Any:
    return IDS.encode(block, {"words": PAIRS.encode(block, {}, NOTHING)}, NOTHING)


def counted(block: Block) -> Any:
    return Counts("words").summarize(Block({"words": WORDS.encode(block, {}, NOTHING)["tokens"]}))


def whole(source: Train, workers: int) -> None:
    columns: dict[str, Column] = {"words": PAIRS, "ids": IDS}
    encode_source(source, columns, dict.fromkeys(columns, NOTHING), ["ids"], workers=workers)


def main(rounds: int = 5) -> None:
    source = Train(path="imdb/aclImdb_labelled.tar.gz", valid=1, classes=("neg", "pos"))
    blocks = list(source.blocks("train"))
    each: dict[str, Callable[[Block], Any]] = {
        "words": lambda block: WORDS.encode(block, {}, NOTHING),
        "words and pairs": lambda block: PAIRS.encode(block, {}, NOTHING),
        "words and pairs, hashed": hashed,
        "words, counted": counted,
    }
    calls: dict[str, tuple[Callable[[], Any], Callable[[], float]]] = {
        name: (lambda work=work: [work(block) for block in blocks], time.process_time) for name, work in each.items()
    }
    for workers in (1, 2):
        name = f"the whole pass, {workers} {'thread' if workers == 1 else 'threads'}"
        calls[name] = (lambda workers=workers: whole(source, workers)), time.perf_counter
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, (call, clock) in calls.items():
            begun = clock()
            call()
            if number:
                rates[name].append(source.sizes()["train"] / (clock() - begun))
    for name, found in rates.items():
        print(f"{name:28} best {max(found):8,.0f}  median {statistics.median(found):8,.0f}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:2]))
