"""The checksums of the files that a source reads one by one, which the cache keeps for later runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from components.types import ChecksFiles, Source
from runner.data.encoded_cache import EncodedCache


class KnownFiles:
    """The files that earlier runs read."""

    def __init__(self, source: Source, entries: EncodedCache) -> None:
        """Adds the checksums in the cache to a source that compares the files that it reads with them."""
        self._entries = entries
        self._checksums: Mapping[str, np.ndarray] = {}
        if isinstance(source, ChecksFiles):
            self._checksums = source.file_checksums()
            found = {id: known for id in self._checksums if (known := entries.load(_entry_name(id))) is not None}
            source.add_file_checksums({id: known["checksums"] for id, known in found.items()})
        self._counts = {id: _count_read(checksums) for id, checksums in self._checksums.items()}

    def save(self) -> None:
        """Adds the checksums of the files that were read since then to the cache."""
        for id, checksums in self._checksums.items():
            if _count_read(checksums) > self._counts[id]:
                self._entries.replace(_entry_name(id), {"checksums": checksums}, "checksums of the files")


def _count_read(checksums: np.ndarray) -> int:
    return int((checksums >= 0).sum())


def _entry_name(id: str) -> str:
    return hashlib.blake2b(f"checksums {id}".encode(), digest_size=16).hexdigest()
