"""The cache of a run: the fitted values of its columns, and its encoded data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from components.types import Encoded
from runner.data.cache import load_tree, save_tree
from runner.data.cache_entries import entries_folder, remove_least_used
from runner.data.encode import join_pieces
from runner.log import LOG
from runner.platform import encoded_cache_bytes


class EncodedCache:
    """The entries that a run reads and writes.

    Attributes:
        warnings: sentences about entries that could not be saved.
    """

    def __init__(self, cache: Path | None, describe: Callable[[], str]) -> None:
        """Opens the cache.

        Args:
            cache: the folder of all caches. None: nothing is saved.
            describe: returns what the run's data is. It is called if an entry is saved.

        Raises:
            UserError: the environment variable with the cache's size has another value than a size.
        """
        self.warnings: list[str] = []
        self._folder = None if cache is None else entries_folder(cache)
        self._max_bytes = encoded_cache_bytes()
        self._describe = describe
        self._names: list[str] = []
        self._has_saved = False

    def load_or_fit(self, name: str, fit: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Loads an entry that is used whole, or computes and saves it. A damaged entry counts as missing."""
        if self._folder is None:
            return fit()
        fitted: dict[str, Any] | None = self._load(name, whole=True)
        if fitted is None:
            fitted = fit()
            self._save(name, [fitted], "splits and fitted values")
        return fitted

    def load_or_encode(
        self, name: str, encode: Callable[[], Iterable[dict[str, dict[str, Encoded]]]]
    ) -> Mapping[str, Mapping[str, Encoded]]:
        """Opens an entry of encoded data, or encodes and saves it piece by piece, so that memory holds few pieces.

        If the entry can't be saved, all pieces are encoded again and kept in memory.
        """
        if self._folder is None:
            return join_pieces(encode())
        encoded = self._load(name)
        if encoded is None and self._save(name, encode(), "encoded rows"):
            encoded = self._load(name)
        return join_pieces(encode()) if encoded is None else encoded

    def remove_least_used(self) -> None:
        """Removes entries of other runs beyond the cache's size, those that were not used for the longest time."""
        if self._folder is not None and self._has_saved:
            for entry in remove_least_used(self._folder, self._max_bytes, self._names):
                LOG.info(f"removed {entry.path} from the cache ({entry.size / 1e9:.2f} GB: {entry.about})")

    def _load(self, name: str, *, whole: bool = False) -> Any:
        assert self._folder is not None
        self._names.append(name)
        return load_tree(self._folder / name, whole=whole)

    def _save(self, name: str, pieces: Iterable[Mapping[str, Any]], what: str) -> bool:
        """Saves an entry, or adds a warning. Returns whether it is saved."""
        assert self._folder is not None
        try:
            save_tree(self._folder / name, pieces, f"{what} of {self._describe()}")
        except OSError as error:
            self.warnings.append(f"the encoded data could not be saved in {self._folder}: {error}")
            return False
        self._has_saved = True
        return True
