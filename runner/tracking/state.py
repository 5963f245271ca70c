"""How much of a folder's record is delivered, as its `delivered.json` holds it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from runner.files import read_json, write_atomically

KEY_BY_FIELD = {"files_checksum": "files", "ended_digest": "ended", "drawn_digest": "drawn"}
FIELD_BY_KEY = {key: name for name, key in KEY_BY_FIELD.items()}


@dataclass(frozen=True, kw_only=True)
class DeliveryState:
    """The part of a folder's record that MLflow has.

    It is saved after each step of the delivery. A kill between a step and the save repeats the step, which is harmless.

    Attributes:
        run_id: the MLflow run; None: MLflow has no run of the folder yet.
        experiment_id: the MLflow experiment of the run.
        offset: bytes of `points.jsonl` that are delivered.
        checksum: CRC-32 of these bytes.
        files_checksum: CRC-32 of the configuration files that are delivered.
        ended_digest: digest of the summary that is delivered; None: the run is RUNNING in MLflow.
        drawn_digest: digest of the summary with which the figures were drawn.
        named: the name in the record that the delivery compared last with that of the MLflow run.
        described: the last description that the delivery gave the MLflow run.
        refused: the items that the store refused, and why.
        links: files that are not sent, because they are links or no regular files.
        error: why the last delivery failed; None: it succeeded.
    """

    run_id: str | None = None
    experiment_id: str | None = None
    offset: int = 0
    checksum: int = 0
    files_checksum: int | None = None
    ended_digest: str | None = None
    drawn_digest: str | None = None
    named: str = ""
    described: str = ""
    refused: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def load(cls, folder: Path) -> DeliveryState:
        """Reads the state of a folder; the empty state if the file is missing or damaged."""
        try:
            values = read_json(folder / "delivered.json")
            state = {FIELD_BY_KEY.get(key, key): value for key, value in values.items()}
            return cls(**state | {name: tuple(state.get(name, ())) for name in ("refused", "links")})
        except (ValueError, TypeError):  # then everything is delivered again, which is harmless
            return cls()

    def save(self, folder: Path) -> None:
        """Writes the state into a folder."""
        values = {KEY_BY_FIELD.get(name, name): value for name, value in dataclasses.asdict(self).items()}
        write_atomically(folder / "delivered.json", json.dumps(values))


def describe_unsent(state: DeliveryState) -> str | None:
    """A line about the items of a delivered record that MLflow never gets, and why; None: there are none."""
    links = [f"{name}: it is a link or no regular file, and isn't sent" for name in state.links]
    unsent = [*state.refused, *links]
    if not unsent:
        return None
    more = f" (and {len(unsent) - 1} more)" if len(unsent) > 1 else ""
    return f"MLflow lacks {unsent[0]}{more}"
