"""`mode=clean runs.delete=cache`: lists and removes the entries of the cache: encoded data and fetched files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from components.fetched_files import FetchedEntry
from runner.data.cache_entries import CacheEntry, entries_folder, list_all_entries, remove
from runner.display.tables import Section, print_tables
from runner.platform import cache_folder
from runner.terminal import write_line

Entry = CacheEntry | FetchedEntry
TIME_FORMAT = "%Y-%m-%d %H:%M"


def clean_cache(*, confirmed: bool) -> int:
    """Lists this user's entries and what killed processes left, the last used first, and removes them if `confirmed`.

    A running process keeps the entries that it has opened, the one that it is writing, and the files that it fetched.

    Returns:
        The exit code. 1: an entry could not be removed.
    """
    folder = entries_folder(cache_folder())
    entries = list_all_entries(folder)[::-1]
    if not entries:
        write_line(f"nothing to remove: the cache, {folder.parent}, is empty")
        return 0
    print_tables([Section("", [["last use", "size", "content"], *_rows(entries)], right_columns=(1,))])
    removable = [entry for entry in entries if not entry.is_busy]
    if not confirmed:
        write_line(f"would remove {_describe(removable)}; add runs.confirm=true to remove them")
        return 0
    kept = [entry for entry in removable if not remove(entry)]
    for entry in kept:
        write_line(f"kept {entry.path}: it can't be removed; {entry.path.parent} may be read-only")
    write_line(f"removed {_describe([entry for entry in removable if entry not in kept])}")
    return 1 if kept else 0


def _describe(entries: Sequence[Entry]) -> str:
    folders = " and ".join(sorted({str(entry.path.parent) for entry in entries}))
    place = f" of {folders}" if folders else ""
    word = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries)} {word}{place}, {_megabytes(sum(entry.size for entry in entries))}"


def _rows(entries: Sequence[Entry]) -> Iterator[list[str]]:
    """A row for each content. Several entries may have the same, such as one data set with several feature files."""
    by_content: dict[str, list[Entry]] = {}
    for entry in entries:
        about = f"{entry.about} (in use)" if isinstance(entry, FetchedEntry) and entry.is_busy else entry.about
        by_content.setdefault(about, []).append(entry)
    for about, same in by_content.items():
        used = time.strftime(TIME_FORMAT, time.localtime(max(entry.used for entry in same)))
        count = f"{len(same)} × " if len(same) > 1 else ""
        yield [used, _megabytes(sum(entry.size for entry in same)), f"{count}{about}"]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.2f} MB"
