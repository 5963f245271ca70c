"""The keys at the root of a configuration, with their types and ranges; their values stand in `conf/run.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from components.types import Range, Scalar


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long, in what batches, and when to stop or save."""

    epochs: Annotated[int, Range(1)]
    batch_size: Annotated[int, Range(1)]
    evaluation_batch_size: Annotated[int, Range(1)]
    drop_remainder: bool
    monitor: str
    patience: Annotated[int, Range(1)] | None
    min_delta: Annotated[float, Range(0)]
    checkpoint_minutes: Annotated[float, Range(0)]
    on_nan: Literal["stop", "continue"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What stands at the root beside the groups."""

    mode: Literal["train", "deliver"]
    seed: Annotated[int, Range(0, 2**32 - 1)]
    learning_rate: Annotated[Scalar, Range(0)]
    training: Training
    folder: str
    fresh: bool
    resume: str | None
    quiet: bool
