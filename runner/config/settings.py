"""The keys at the root of a configuration, with their types and ranges. `conf/run.yaml` holds their defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from components.types import Range, Scalar


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long a run trains, in which batches, and when it stops or saves. `conf/run.yaml` describes each key."""

    epochs: Annotated[int, Range(1)]
    batch_size: Annotated[int, Range(1)]
    evaluation_batch_size: Annotated[int, Range(1)]
    drop_remainder: bool
    monitor: str
    patience: Annotated[int, Range(1)] | None
    min_delta: Annotated[float, Range(0)]
    checkpoint_minutes: Annotated[float, Range(0)]
    on_nan: Literal["stop", "continue"]
    precision: Literal["float32", "bfloat16"]
    limit_batches: Annotated[int, Range(1)] | None
    keep_checkpoints: Annotated[int, Range(1)]
    check_memory: bool
    profile: bool


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which runs below `folder` are listed or cleaned."""

    where: str | None
    sort: str
    last: Annotated[int, Range(1)] | None
    delete: Literal["checkpoints", "folders"]
    confirm: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys at the root that are not groups."""

    mode: Literal["train", "dry_run", "look", "evaluate", "predict", "runs", "clean", "init", "deliver"]
    seed: Annotated[int, Range(0, 2**32 - 1)]
    folds: Annotated[int, Range(2)] | None
    fold: Annotated[int, Range(0)] | None
    learning_rate: Annotated[Scalar, Range(0)]
    loss_weights: dict[str, Annotated[Scalar, Range(0)]]
    training: Training
    folder: str
    fresh: bool
    resume: str | None
    run: str | None
    output: str | None
    runs: Runs
    quiet: bool
