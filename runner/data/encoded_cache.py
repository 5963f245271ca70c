"""The cache of a run: the fitted values of its columns, and its encoded data."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from components.fetched_files import has_added_entries
from components.types import Encoded
from runner.data.cache import load_tree, save_tree
from runner.data.cache_entries import entries_folder, remove_entry, remove_least_used
from runner.data.encode import join_pieces
from runner.log import LOG
from runner.platform import encoded_cache_bytes

FITTED, ENCODED, CHECKSUMS = "splits and fitted values", "encoded rows", "checksums of the files"
WITHOUT = {  # the consequence if an entry can't be saved; others are computed again by the next run
    ENCODED: "The encoded rows are kept in memory",
    CHECKSUMS: "Later runs don't notice a file that changes without a new size or time of modification",
}


class EncodedCache:
    """The entries that a run reads and writes."""

    def __init__(self, cache: Path | None, describe: Callable[[], str]) -> None:
        """Opens the cache.

        Args:
            cache: the folder of all caches. None: nothing is saved.
            describe: returns what the run's data is. It is called if an entry is saved.

        Raises:
            UserError: the environment variable with the cache's size has another value than a size.
        """
        self._unsaved: dict[str, str] = {}  # why, by what the entry is
        self._folder = None if cache is None else entries_folder(cache)
        self._max_bytes = encoded_cache_bytes()
        self._describe = describe
        self._names: list[str] = []
        self._has_saved = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence about entries that could not be saved, if there are some."""
        if not self._unsaved:
            return ()
        consequences = dict.fromkeys(WITHOUT.get(what, "The next run computes them again") for what in self._unsaved)
        return (
            f"{', '.join(self._unsaved)} could not be saved in {self._folder}: {next(iter(self._unsaved.values()))}. "
            f"{'. '.join(consequences)}. Free some space there, or set TITRATE_CACHE to another folder.",
        )

    def load_or_fit(self, name: str, fit: Callable[[], dict[str, Any]], what: str = FITTED) -> dict[str, Any]:
        """Loads an entry that is used whole, or computes and saves it. A damaged entry counts as missing."""
        fitted = self.load(name)
        if fitted is None:
            fitted = computed = fit()
            if self._folder is not None:
                self._save(name, lambda: [computed], what)
        return fitted

    def load(self, name: str) -> dict[str, Any] | None:
        """Loads an entry that is used whole. None: it is missing or damaged."""
        found: dict[str, Any] | None = None if self._folder is None else self._load(name, whole=True)
        return found

    def replace(self, name: str, tree: dict[str, Any], what: str) -> None:
        """Saves an entry in place of an earlier one."""
        if self._folder is not None:
            remove_entry(self._folder / name)
            self._save(name, lambda: [tree], what)

    def load_or_encode(
        self, name: str, encode: Callable[[], Iterable[dict[str, dict[str, Encoded]]]], rows: int
    ) -> Mapping[str, Mapping[str, Encoded]]:
        """Opens an entry of encoded data, or encodes and saves it piece by piece, so that memory holds few pieces.

        If the entry can't be saved, all pieces are encoded again and kept in memory.

        Args:
            name: the name of the entry.
            encode: encodes the rows, some at a time.
            rows: the number of all rows.
        """
        if self._folder is None:
            return join_pieces(encode(), rows)
        encoded = self._load(name)
        if encoded is None and self._save(name, encode, ENCODED):
            encoded = self._load(name)
        return join_pieces(encode(), rows) if encoded is None else encoded

    def remove_least_used(self) -> None:
        """Removes entries of other runs beyond the cache's size, those that were not used for the longest time.

        Fetched files count, too.
        """
        if self._has_saved or (self._folder is not None and has_added_entries()):
            self._remove_entries(self._max_bytes)

    def _remove_entries(self, max_bytes: float) -> bool:
        """Removes entries of other runs until the cache has at most `max_bytes`. Returns whether there were some."""
        assert self._folder is not None
        removed = remove_least_used(self._folder, max_bytes, self._names)
        for entry in removed:
            LOG.info(f"removed {entry.path} from the cache ({entry.size / 1e9:.2f} GB: {entry.about})")
        return bool(removed)

    def _load(self, name: str, *, whole: bool = False) -> Any:
        assert self._folder is not None
        self._names.append(name)
        return load_tree(self._folder / name, whole=whole)

    def _save(self, name: str, make_pieces: Callable[[], Iterable[Mapping[str, Any]]], what: str) -> bool:
        """Saves an entry, or adds a warning. Returns whether it is saved. Entries of other runs make room for it."""
        assert self._folder is not None
        while True:
            try:
                save_tree(self._folder / name, make_pieces(), f"{what} of {self._describe()}")
            except OSError as error:
                if error.errno == errno.ENOSPC and self._remove_entries(max_bytes=0):
                    continue
                self._unsaved.setdefault(what, error.strerror or str(error))
                return False
            self._has_saved = True
            return True
