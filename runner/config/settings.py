"""The keys at the root of a configuration, with their types and ranges. `conf/run.yaml` holds their defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from components.types import Duration, Range, Scalar

AUTO = "auto"  # the text of a batch size that the run chooses
MIN_STEPS = 50  # of an epoch, if the data has enough examples and the batch size is chosen
SECTIONS = {
    "training": "TrainingSettings",
    "output": "Output",
    "convert": "Convert",
    "find_lr": "FindLr",
    "runs": "Runs",
}
"""Mappings at the root, and the dataclasses with their fields."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long a run trains, in which batches, and when it stops or saves. `conf/run.yaml` describes each key."""

    epochs: Annotated[int, Range(0)] | None
    steps: Annotated[int, Range(1)] | None
    max_minutes: Annotated[float, Range(0, math.inf, "()")] | None
    schedule_length: Annotated[Duration, Range(0, math.inf, "()")] | None
    evaluate_steps: Annotated[int, Range(1)] | None
    log_steps: Annotated[int, Range(1)] | None
    batch_size: Annotated[int, Range(1)] | Literal["auto"]
    reference_batch_size: Annotated[int, Range(1)] | None
    microbatches: Annotated[int, Range(1)]
    evaluation_batch_size: Annotated[int, Range(1)]
    drop_remainder: bool
    shuffle: bool | Annotated[int, Range(2)]
    reshuffle: bool
    interleave: Annotated[int, Range(1)] | None
    interleave_block: Annotated[int, Range(1)]
    bucket_by_length: str | None
    bucket_batches: Annotated[int, Range(2)]
    sampling: Literal["balanced", "weighted"] | None
    source_weights: dict[str, Annotated[float, Range(0)]]
    monitor: str
    patience: Annotated[int, Range(1)] | Annotated[Duration, Range(0, math.inf, "()")] | None
    min_delta: Annotated[float, Range(0)]
    checkpoint_minutes: Annotated[float, Range(0)]
    on_nan: Literal["stop", "continue"]
    precision: Literal["float32", "bfloat16"]
    limit_batches: Annotated[int, Range(1)] | None
    keep_checkpoints: Annotated[int, Range(1)]
    check_memory: bool
    compile: bool
    profile: bool


@dataclass(frozen=True, kw_only=True)
class Training(TrainingSettings):
    """The same settings of a run whose batch size is chosen."""

    batch_size: int

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Training:
        """Reads the values below `training`. A batch size of `auto` counts as 1 until it is chosen."""
        patience, length = values["patience"], values["schedule_length"]
        is_count = patience is None or isinstance(patience, int)
        durations = {
            "patience": patience if is_count else Duration.parse(patience),
            "schedule_length": None if length is None else Duration.parse(length),
        }
        size = 1 if values["batch_size"] == AUTO else values["batch_size"]
        return cls(**{**values, **durations, "batch_size": size})

    def steps_per_epoch(self, rows: int) -> int:
        """The number of steps of an epoch of so many examples."""
        return rows // self.batch_size if self.drop_remainder else -(-rows // self.batch_size)

    @property
    def rate_factor(self) -> float:
        """The factor of the learning rate, which `reference_batch_size` makes proportional to the batch size."""
        return 1.0 if self.reference_batch_size is None else self.batch_size / self.reference_batch_size

    def total_steps(self, rows: int) -> int:
        """The number of steps of the whole run: that of `epochs` or `steps`, whichever is smaller."""
        limits = [self.epochs and self.epochs * self.steps_per_epoch(rows), self.steps]
        return min(limit for limit in limits if limit is not None)


@dataclass(frozen=True, kw_only=True)
class Output:
    """The file that mode=predict or mode=convert writes."""

    path: str | None
    columns: tuple[str, ...] | None
    overwrite: bool


@dataclass(frozen=True, kw_only=True)
class Convert:
    """What mode=convert writes into `output`."""

    format: Literal["csv", "parquet", "tfrecord", "images"] | None
    shards: Annotated[int, Range(1, 99_999)] | None
    split: Literal["train", "valid", "test"] | tuple[Literal["train", "valid", "test"], ...] | None
    shuffle: bool
    compression: Literal["none", "gzip", "zlib", "zstd", "snappy"] | None
    float64: Literal["round", "text"] | None
    tensors: bool
    records: Literal["example", "raw"]


@dataclass(frozen=True, kw_only=True)
class FindLr:
    """The learning rates that mode=find_lr tries."""

    min_rate: Annotated[float, Range(0, 1e6, "()")]
    max_rate: Annotated[float, Range(0, 1e6, "()")]
    steps: Annotated[int, Range(20, 100_000)] | None
    decay: Annotated[float, Range(0, 1, "[)")]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which runs below `folder` are listed or cleaned."""

    where: str | None
    sort: str
    last: Annotated[int, Range(1)] | None
    columns: tuple[str, ...] | None
    delete: Literal["checkpoints", "folders", "cache"]
    confirm: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys at the root that are not groups."""

    mode: Literal[
        "train",
        "dry_run",
        "look",
        "find_lr",
        "evaluate",
        "predict",
        "runs",
        "clean",
        "init",
        "download",
        "convert",
        "deliver",
    ]
    seed: Annotated[int, Range(0, 2**32 - 1)]
    folds: Annotated[int, Range(2)] | None
    fold: Annotated[int, Range(0)] | None
    operations: tuple[Any, ...]
    learning_rate: Annotated[Scalar, Range(0)]
    loss_weights: dict[str, Annotated[Scalar, Range(0)]]
    training: TrainingSettings
    folder: str
    fresh: bool
    resume: str | None
    run: str | tuple[str, ...] | None
    ensemble: Annotated[int, Range(2)] | None
    output: Output
    convert: Convert
    find_lr: FindLr
    runs: Runs
    calibrate: Literal["temperature"] | None
    metric_slices: tuple[str, ...]
    intervals: Annotated[int, Range(100, 1_000_000)] | None
    mc_samples: Annotated[int, Range(2, 100_000)] | None
    note: str | None
    quiet: bool
