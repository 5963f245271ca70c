"""The checksums of the files that a source reads one by one, which the cache keeps for later runs."""

from __future__ import annotations

import hashlib

import numpy as np

from components.types import ChecksFiles, FileChecksums, Source
from runner.data.encoded_cache import CHECKSUMS, EncodedCache

NO_FILES = FileChecksums(np.zeros(0, np.uint64), np.zeros(0, np.int64))


class KnownFiles:
    """The files that earlier runs read."""

    def __init__(self, source: Source, entries: EncodedCache) -> None:
        """Adds the checksums in the cache to a source that compares the files that it reads with them."""
        self._source = source if isinstance(source, ChecksFiles) else None
        self._entries = entries
        self._before = dict[str, FileChecksums]()
        if self._source is None:
            return
        for place in dict(self._source.file_checksums()):
            found = entries.load(_entry_name(place))
            self._before[place] = NO_FILES if found is None else FileChecksums(**found)
        self._source.add_file_checksums(self._before)

    def save(self) -> None:
        """Adds the checksums of the files that were read since then to the cache."""
        for place, before in self._before.items():
            assert self._source is not None
            lists = [before, *(own for other, own in self._source.file_checksums() if other == place)]
            files, checksums = (np.concatenate(arrays) for arrays in zip(*lists, strict=True))
            files, checksums = files[checksums >= 0], checksums[checksums >= 0]
            files, rows = np.unique(files, return_index=True)
            if len(files) > len(before.files):
                known = FileChecksums(files, checksums[rows])
                self._entries.replace(_entry_name(place), known._asdict(), CHECKSUMS)


def _entry_name(place: str) -> str:
    return hashlib.blake2b(f"checksums of {place}".encode(errors="surrogateescape"), digest_size=16).hexdigest()
