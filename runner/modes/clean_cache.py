"""`mode=clean runs.delete=cache`: lists and removes the entries of the cache: encoded data and fetched files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence

from components.remote import list_entries as list_fetched
from runner.data.cache_entries import CacheEntry, entries_folder, list_entries, remove_entry
from runner.display.tables import Section, print_tables
from runner.platform import cache_folder
from runner.terminal import write_line

TIME_FORMAT = "%Y-%m-%d %H:%M"


def clean_cache(*, confirmed: bool) -> int:
    """Lists this user's entries and what killed processes left, the last used first, and removes them if `confirmed`.

    A running process keeps the entries that it has opened, and the one that it is writing.

    Returns:
        The exit code. 1: an entry could not be removed.
    """
    folder = entries_folder(cache_folder())
    fetched = [CacheEntry(path, size, used, name) for path, used, size, name in list_fetched()]
    entries = sorted([*list_entries(folder), *fetched], key=lambda entry: entry.used, reverse=True)
    if not entries:
        write_line(f"nothing to remove: the cache, {folder.parent}, is empty")
        return 0
    print_tables([Section("", [["last use", "size", "content"], *_rows(entries)], right_columns=(1,))])
    removable = [entry for entry in entries if not entry.is_busy]
    if not confirmed:
        write_line(f"would remove {_describe(removable)}; add runs.confirm=true to remove them")
        return 0
    for entry in fetched:
        shutil.rmtree(entry.path, ignore_errors=True)
    kept = [entry for entry in removable if not remove_entry(entry.path)]
    for entry in kept:
        write_line(f"kept {entry.path}: it can't be removed; {entry.path.parent} may be read-only")
    write_line(f"removed {_describe([entry for entry in removable if entry not in kept])}")
    return 1 if kept else 0


def _describe(entries: Sequence[CacheEntry]) -> str:
    folders = " and ".join(sorted({str(entry.path.parent) for entry in entries}))
    place = f" of {folders}" if folders else ""
    word = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries)} {word}{place}, {_megabytes(sum(entry.size for entry in entries))}"


def _rows(entries: Sequence[CacheEntry]) -> Iterator[list[str]]:
    """A row for each content. Several entries may have the same, such as one data set with several feature files."""
    by_content: dict[str, list[CacheEntry]] = {}
    for entry in entries:
        by_content.setdefault(entry.about, []).append(entry)
    for about, same in by_content.items():
        used = time.strftime(TIME_FORMAT, time.localtime(max(entry.used for entry in same)))
        count = f"{len(same)} × " if len(same) > 1 else ""
        yield [used, _megabytes(sum(entry.size for entry in same)), f"{count}{about}"]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"
