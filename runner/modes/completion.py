"""Tab completion of groups, options, keys and values. The scripts for bash, zsh and fish are those of Hydra."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import hydra

from components.types import UserError
from runner.config.catalog import INSTALL_FOLDER, find_options
from runner.config.check import DATA_KEYS
from runner.config.compose import compose
from runner.modes.describe import read_settings
from runner.run_folder import LAST_RUN, list_runs, read_kind
from runner.signature.parameters import REST, read_signature
from runner.signature.schema import FILLED_IN
from runner.signature.type_hints import alternatives
from runner.tree import iterate_parts, join_path

SHELLS = ("bash", "zsh", "fish")
# Hydra 1.3 warns without this argument, and Hydra 1.4 with it.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}
PATH_KEYS = ("folder", "output", "output.path", "data.path", "data.valid", "data.test", "tracking.uri", "weights.path")
RUN_KEYS = ("run", "resume", "data.run", "teacher.run", "weights.run")


def complete(actions: Sequence[str]) -> None:
    """Prints what a shell needs for tab completion.

    Args:
        actions: one action. `install=SHELL` prints a script to evaluate, `uninstall=SHELL` the script that undoes it,
            and `query=SHELL`, which the script calls, the completions of the line in the variable COMP_LINE.
    """
    action, _, shell = actions[0].partition("=") if len(actions) == 1 else ("", "", "")
    if action not in ("install", "uninstall", "query") or shell not in SHELLS:
        raise UserError(f"-sc: unknown action. Write -sc install=SHELL, where SHELL is one of {', '.join(SHELLS)}.")
    if action == "query":
        words = os.environ.get("COMP_LINE", "").split(" ")[1:] or [""]
        print(("\n" if shell == "fish" else " ").join(list_completions(words)))
        return
    sys.argv = ["titrate", "-sc", actions[0]]
    # Hydra imports every plugin on the path, also those of somebody else in the working folder.
    working_folder = os.getcwd()
    sys.path[:] = [path for path in sys.path if path and os.path.abspath(path) != working_folder]
    hydra.main(config_path=str(INSTALL_FOLDER / "conf"), config_name="run", **VERSION_BASE)(lambda config: None)()


def list_completions(words: Sequence[str]) -> list[str]:
    """The completions of the last word of a command, in alphabetical order.

    Args:
        words: the words after the name of the program. The last one is completed; it may be empty.
    """
    *earlier, last = words
    sign = last[:1] if last[:1] in ("+", "~") else ""
    word = last.removeprefix(sign)
    key, equals, value = word.partition("=")
    # A word that names a file would have the file read. The columns of a table have no keys that could be completed.
    earlier = [each for each in earlier if "=" in each and not each.startswith(("-", "data."))]
    if not equals:
        groups = () if sign == "~" else find_options().files  # a group can't be deleted
        candidates = {*(f"{group}=" for group in groups), *(f"{name}=" for name in _find_hints(earlier))}
        found = {_cut(name, len(word)) for name in candidates if name.startswith(word)}
        return sorted(f"{sign}{name}" for name in found)
    head = value[: max(value.rfind("["), value.rfind(",")) + 1]  # the earlier elements of a list
    start, listed = value.removeprefix(head), head.strip("[,").split(",")
    values = [each for each in _list_values(key, start, earlier) if each.startswith(start) and each not in listed]
    return sorted(f"{sign}{key}={head}{each}" for each in values)


def _cut(key: str, start: int) -> str:
    """A key to the end of the name that `start` is in."""
    end = key.find(".", start)
    return key if end < 0 else key[: end + 1]


def _list_values(key: str, start: str, earlier: Sequence[str]) -> list[str]:
    """The values that a key may have, or the files that start with the value so far."""
    if key in find_options().files:
        return list(find_options().files[key])
    if key in RUN_KEYS and "/" not in start:
        root = next((word.partition("=")[2] for word in reversed(earlier) if word.startswith("folder=")), "outputs")
        folders = list_runs(Path(os.path.expanduser(root)))
        return [LAST_RUN, *(path.name for path in folders if read_kind(path) == "run")]
    if key in (*PATH_KEYS, *RUN_KEYS):
        return list(_list_files(start))
    members = [member for member, _ in alternatives(_find_hints(earlier).get(key, Any))]
    values = [str(value) for member in members if get_origin(member) is Literal for value in get_args(member)]
    return [*values, "true", "false"] if bool in members else values


def _list_files(start: str) -> Iterator[str]:
    """The files and folders whose path starts with a text. Hidden ones are left out, unless the text names one."""
    name = start.rpartition("/")[2]
    prefix = start.removesuffix(name)
    try:
        with os.scandir(os.path.expanduser(prefix) or ".") as entries:
            for entry in entries:
                if name.startswith(".") or not entry.name.startswith("."):
                    yield f"{prefix}{entry.name}{'/' if entry.is_dir() else ''}"
    except OSError:
        return


def _find_hints(words: Sequence[str]) -> dict[str, Any]:
    """The type hints of all keys of the configuration that some overrides choose, by dotted key."""
    try:
        values: Mapping[str, Any] = compose(words).values
    except UserError:
        values = compose([]).values
    settings = read_settings()
    sections = {key.partition(".")[0] for key in settings if "." in key}
    hints = {key: setting.hint for key, setting in settings.items() if key not in sections}
    hints |= {f"data.{name}": parameter.hint for name, parameter in DATA_KEYS.items()}
    filled_in = {f"{group}.{name}" for group, names in FILLED_IN.items() for name in names}
    for path, node in iterate_parts(values):
        try:
            parameters = read_signature(node["_target_"]) or {}
        except UserError:
            continue
        hints |= {join_path((*path, name)): each.hint for name, each in parameters.items() if name != REST}
    return {key: hint for key, hint in hints.items() if key not in filled_in}
