"""The order of the training examples in each epoch, as the settings of `training` say."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from components.closest import suggest_name
from components.types import Encoded, Ragged
from runner.config.settings import Training
from runner.data.load import Data
from runner.data.order import EpochOrder, bucket_by_length, epoch_order, interleave, shuffle_rows
from runner.errors import LocatedError


def limit_batches(data: Data, training: Training) -> Data:
    """The data with at most `training.limit_batches` batches of rows in each split. They are the same for any seed."""
    if training.limit_batches is None:
        return data
    count = training.limit_batches * training.batch_size
    splits = {split: np.sort(epoch_order(rows, 0, 0)[:count]) for split, rows in data.splits.items()}
    return replace(data, splits=splits)


class TrainingOrder:
    """The order of the training examples: a pure function of the seed, the epoch and the position.

    Args:
        data: the data.
        training: the settings.
        seed: the seed of the run.
        cumulative: the cumulative weights with which the training rows are drawn, float64. None: each comes once.

    Raises:
        LocatedError: a setting doesn't fit the data.
    """

    def __init__(self, data: Data, training: Training, seed: int, cumulative: np.ndarray | None = None) -> None:
        self._rows, self._training, self._seed, self._cumulative = data.splits["train"], training, seed, cumulative
        column = training.bucket_by_length
        self._draws, self._examples = data.draws, 0
        if data.draws > 1:  # of each row; all arrays have the examples of all draws
            self._examples = len(next(iter(next(iter(data.encoded.values())).values()))) // data.draws
        self._lengths = None if column is None else _measure_lengths(data, column)
        self._file_sizes = None if training.interleave is None else _count_training_rows(data)
        self.epoch = functools.lru_cache(maxsize=1)(self._order_epoch)  # (epoch, from 0) -> its order

    def _order_epoch(self, epoch: int) -> EpochOrder:
        if not self._training.reshuffle:
            epoch = 0
        rows = self._rows if self._file_sizes is None else self._interleave(self._file_sizes, epoch)
        if self._draws > 1:
            rows = np.asarray(rows) + np.int64(self._examples * (epoch % self._draws))
        training, cumulative = self._training, self._cumulative
        order = epoch_order(rows, self._seed, epoch, shuffle=training.shuffle, cumulative=cumulative)
        if self._lengths is None:
            return order
        seed = None if training.shuffle is False and cumulative is None else (self._seed, epoch)
        return bucket_by_length(order, self._lengths, training.batch_size, training.bucket_batches, seed)

    def _interleave(self, sizes: np.ndarray, epoch: int) -> np.ndarray:
        """The training rows, interleaved by file. If they are shuffled, the order of the files is random, too."""
        cycle, block = self._training.interleave, self._training.interleave_block
        assert cycle is not None
        files = np.arange(len(sizes))
        if self._training.shuffle is not False:
            files = shuffle_rows(files, self._seed, epoch, 0, 2)  # another order than that of a window
        by_file = np.split(np.asarray(self._rows), np.cumsum(sizes)[:-1])
        return np.concatenate([by_file[file] for file in files.tolist()])[interleave(sizes[files], cycle, block)]

    def describe(self) -> Iterator[str]:
        """Sentences about the order of the examples of an epoch, for the user."""
        training = self._training
        if self._file_sizes is not None:
            cycle, block, files = training.interleave, training.interleave_block, len(self._file_sizes)
            turns = f"{block:,} row{'' if block == 1 else 's'} of each of {cycle:,} files in turns, of {files:,} files"
            yield turns if training.shuffle is False else f"{turns} in a random order"
        if self._cumulative is not None:
            by = "source_weights" if training.source_weights else f"sampling={training.sampling}"
            yield f"drawn with replacement (training.{by})"
        elif training.shuffle is True:
            yield "random"
        elif training.shuffle is not False:
            yield f"windows of {training.shuffle:,} rows, each in a random order"
        elif self._file_sizes is None:
            yield "that of the data"
        if training.bucket_by_length is not None:
            count, column = training.bucket_batches, training.bucket_by_length
            yield f"every {count:,} batches sorted by the length of {column}, in batches of similar lengths"
        if self._draws > 1 and training.reshuffle:
            yield f"another partner for each row in each of {self._draws:,} epochs"
        if not training.reshuffle:
            yield "the same in each epoch"


def _measure_lengths(data: Data, column: str) -> np.ndarray:
    """The number of elements of the list that a column has in each row, int64.

    Raises:
        LocatedError: the rows of the column aren't lists.
    """
    lists = {name: offsets for name, arrays in data.encoded.items() if (offsets := _find_offsets(arrays)) is not None}
    if column not in lists:
        hint = suggest_name(column, lists, title="Columns with lists") if lists else "No column has. Leave it out."
        raise LocatedError("training.bucket_by_length", f"{column} has no lists. {hint}")
    return np.diff(lists[column])


def _find_offsets(arrays: Mapping[str, Encoded]) -> np.ndarray | None:
    """The offsets of the lists of a column. None: it has no lists."""
    return next((np.asarray(array.offsets) for array in arrays.values() if isinstance(array, Ragged)), None)


def _count_training_rows(data: Data) -> np.ndarray:
    """The number of training rows of each file that has some.

    Raises:
        LocatedError: the source doesn't consist of several files.
    """
    remedy = "Set training.interleave=null."
    if data.file_sizes is None:
        text = f"the rows of this data don't come from files whose rows can come in turns. {remedy}"
        raise LocatedError("training.interleave", text)
    files = np.searchsorted(np.cumsum(data.file_sizes), data.number_rows("train"), side="right")
    sizes = np.bincount(files)
    sizes = sizes[sizes > 0]
    if len(sizes) == 1:
        raise LocatedError("training.interleave", f"all training rows are in one file. {remedy}")
    return sizes
