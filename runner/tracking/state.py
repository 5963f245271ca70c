"""How far a folder's delivery has come, as noted in its `delivered.json`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from runner.files import read_json, write_atomically


@dataclass(frozen=True, kw_only=True)
class DeliveryState:
    """What MLflow has of a folder's record; a note that a kill prevents costs a second, harmless delivery."""

    run_id: str | None = None
    offset: int = 0  # bytes of points
    checksum: int = 0  # CRC-32 of those bytes
    files: int | None = None  # CRC-32 of the configuration
    ended: str | None = None  # the digest of the end that it has; None: the run goes on there
    drawn: str | None = None  # the digest of the end whose figures the folder has
    described: str = ""  # as what
    refused: tuple[str, ...] = ()  # what the store took everything but, and why
    links: tuple[str, ...] = ()  # what isn't sent, because it is a link or no regular file
    error: str | None = None  # why the last delivery broke off

    @classmethod
    def load(cls, folder: Path) -> DeliveryState:
        """The state of a folder; that of nothing delivered where there is none yet, or a damaged one."""
        try:
            values = read_json(folder / "delivered.json")
            return cls(**values | {key: tuple(values.get(key, ())) for key in ("refused", "links")})
        except (ValueError, TypeError):  # delivering again does no harm
            return cls()

    def save(self, folder: Path) -> None:
        """Notes the state."""
        write_atomically(folder / "delivered.json", json.dumps(dataclasses.asdict(self)))


def describe_missing(state: DeliveryState) -> str | None:
    """What MLflow lacks of a record that was delivered, and why, in a line; None where it has all."""
    found = [*state.refused, *(f"{name}: it is a link or no regular file, and isn't sent" for name in state.links)]
    if not found:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"MLflow lacks {found[0]}{more}"
