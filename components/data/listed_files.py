"""The files that a table lists by their paths, in a folder or in a tar or zip archive."""

from __future__ import annotations

import errno
import itertools
import os
import posixpath
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.closest import closest_name, find_other_form, join_names
from components.data.files import Entry, FileReader, Files, Version, join_files, make_version, open_files
from components.data.packed import PackedFile

MISSING = "there is no such file"
MISSING_ERRORS = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
MAX_COMPARED = 5000  # names in a folder that are compared with a wrong one, and folders that are searched


@dataclass(frozen=True, eq=False)
class ListedFiles:
    """The files of a list of paths.

    Attributes:
        root: the folder or archive that paths are relative to.
        files: the files, each once.
        numbers: the position of a file among `files`, by its path in the list.
        faults: what is wrong with each other path, by path.
    """

    root: PackedFile
    files: Files
    numbers: Mapping[str, int]
    faults: Mapping[str, str]

    def explain_path(self, path: str) -> str:
        """What is unusual about a missing path, or a question with the same one in another case; "" if neither."""
        if path != path.strip():
            return " It starts or ends with a space."
        if path.startswith("~") or "://" in path:
            return " It is read as it is: URLs aren't downloaded, and ~ is no folder."
        found = self._find_alike(path, _find_other_case)
        return f" Did you mean {found}?" if found else ""

    def suggest_path(self, path: str) -> str:
        """As `explain_path`, or a question with a similar path."""
        if explanation := self.explain_path(path):
            return explanation
        path = path.replace("\\", "/")
        if self.root.path.is_dir():
            parent, name = os.path.split(path)
            nearest = closest_name(name, _list_names(self.root.path / parent))
            found = nearest and os.path.join(parent, nearest)
        else:
            found = closest_name(path, itertools.islice(_list_archive(self.root), MAX_COMPARED))
        return f" Did you mean {found}?" if found else ""

    def find_other_form(self, path: str) -> str | None:
        """The path of the file that a missing path is in another normal form of Unicode. None: there is none."""
        return self._find_alike(path, find_other_form)

    def _find_alike(self, path: str, find: Callable[[str, Iterable[str]], str | None]) -> str | None:
        """The path of a file that a missing path is like, by its folders and its name. None: there is none.

        Args:
            path: the missing path.
            find: (a name, other names) -> the one that is like it, or None.
        """
        path = path.replace("\\", "/")
        if not self.root.path.is_dir():
            names = _list_archive(self.root)
            return find(path, names) or find(path, map(_leave_out_folder, names))
        found, is_other = "/" if path.startswith("/") else "", False
        for name in path.split("/"):
            other: str | None = name
            if not os.path.lexists(self.root.path / found / name):
                other, is_other = find(name, _list_names(self.root.path / found, None)), True
            if other is None:
                return None
            found = os.path.join(found, other)
        return found if is_other else None

    def suggest_root(self, path: str) -> str:
        """A question with another folder in which there is a file of a path, or the names in the archive."""
        root = self.root.path
        if not root.is_dir():
            return f" Its files are {join_names(_list_archive(self.root)) or 'none'}."
        folders = [root.parent, *(root / name for name in _list_names(root))]
        found = next((folder for folder in folders if os.path.isfile(folder / path.replace("\\", "/"))), None)
        return f" Did you mean {found}?" if found else ""


def find_listed_files(root: PackedFile, paths: Collection[str]) -> ListedFiles:
    """Finds the files of a list of paths. In a path, a backslash is a slash.

    Args:
        root: the folder or archive that they are relative to. In a folder, a path may also be absolute. In an archive,
            the one folder around all others may be left out.
        paths: the paths.

    Raises:
        DataError: the archive is damaged.
    """
    find = _find_in_folder if root.path.is_dir() else _find_in_archive
    return find(root, list(dict.fromkeys(paths)))


def _find_in_folder(root: PackedFile, paths: list[str]) -> ListedFiles:
    files = list[tuple[Entry, Version]]()
    numbers, faults = dict[str, int](), dict[str, str]()
    for path in paths:
        place = os.path.join(root.path, path.replace("\\", "/"))
        try:
            status = os.stat(place)
        except ValueError:  # a path with NUL
            faults[path] = MISSING
        except OSError as error:
            faults[path] = MISSING if error.errno in MISSING_ERRORS else f"it can't be read: {error.strerror}"
        else:
            if not stat.S_ISREG(status.st_mode):
                faults[path] = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
                continue
            numbers[path] = len(files)
            files.append((Entry(path, status.st_size, FileReader(Path(place))), make_version(path, status)))
    return ListedFiles(root, join_files(root.path, files, []), numbers, faults)


def _find_in_archive(root: PackedFile, paths: list[str]) -> ListedFiles:
    names = {path: posixpath.normpath(path.replace("\\", "/")) for path in paths}
    wanted = set(names.values())
    files = open_files(root, lambda name: name in wanted or _leave_out_folder(name) in wanted)
    number_of_name = {name: number for number, name in enumerate(files.names)}
    if len({folder.split("/")[0] for folder in files.folders}) == 1:
        number_of_name = {_leave_out_folder(name): number for name, number in number_of_name.items()} | number_of_name
    numbers, faults = dict[str, int](), dict[str, str]()
    for path, name in names.items():
        if name.startswith("/") or name.split("/")[0] == "..":
            faults[path] = "it lies outside of the archive"
        elif name in number_of_name:
            numbers[path] = number_of_name[name]
        else:
            faults[path] = MISSING
    return ListedFiles(root, files, numbers, faults)


def _leave_out_folder(name: str) -> str:
    """A path within the outermost folder of a path: `a/b.png` for `data/a/b.png`."""
    return name.partition("/")[2]


def _list_archive(root: PackedFile) -> list[str]:
    """The paths of all files in an archive."""
    names: list[str] = []

    def collect(name: str) -> bool:
        names.append(name)
        return False  # so that no file is read

    open_files(root, collect)
    return sorted(names)


def _find_other_case(name: str, names: Iterable[str]) -> str | None:
    """The name that differs from a name in the case of its letters only. None: there is none."""
    return next((other for other in names if other.casefold() == name.casefold()), None)


def _list_names(folder: Path, count: int | None = MAX_COMPARED) -> list[str]:
    """The sorted names in a folder, at most `count`; none if it can't be read."""
    try:
        return sorted(child.name for child in itertools.islice(os.scandir(folder), count))
    except (OSError, ValueError):
        return []
