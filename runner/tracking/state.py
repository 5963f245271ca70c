"""How far a folder's delivery has come, as noted in its `delivered.json`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from runner.files import read_json, write_atomically


@dataclass(frozen=True, kw_only=True)
class DeliveryState:
    """The part of a folder's record that MLflow has.

    A kill before the state is saved costs a second delivery, which is harmless.

    Attributes:
        run_id: the MLflow run; None: MLflow has no run of the folder yet.
        offset: bytes of `points.jsonl` that are delivered.
        checksum: CRC-32 of these bytes.
        files: CRC-32 of the configuration files that are delivered.
        ended: digest of the end that is delivered; None: the run is RUNNING in MLflow.
        drawn: digest of the end whose figures the folder holds.
        described: the description that the MLflow run was given.
        refused: the items that the store refused, and why.
        links: files that are not sent, because they are links or no regular files.
        error: why the last delivery failed; None: it succeeded.
    """

    run_id: str | None = None
    offset: int = 0
    checksum: int = 0
    files: int | None = None
    ended: str | None = None
    drawn: str | None = None
    described: str = ""
    refused: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def load(cls, folder: Path) -> DeliveryState:
        """Reads the state of a folder; the empty state where the file is missing or damaged."""
        try:
            values = read_json(folder / "delivered.json")
            return cls(**values | {key: tuple(values.get(key, ())) for key in ("refused", "links")})
        except (ValueError, TypeError):  # delivering again does no harm
            return cls()

    def save(self, folder: Path) -> None:
        """Writes the state into a folder."""
        write_atomically(folder / "delivered.json", json.dumps(dataclasses.asdict(self)))


def describe_missing(state: DeliveryState) -> str | None:
    """A line about the part of a delivered record that MLflow lacks, and why; None: it has all."""
    found = [*state.refused, *(f"{name}: it is a link or no regular file, and isn't sent" for name in state.links)]
    if not found:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"MLflow lacks {found[0]}{more}"
