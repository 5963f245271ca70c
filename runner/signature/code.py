"""The code that a configuration runs: digests, which tell what is edited from what is not, and versions of packages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from runner.signature.source import find_definition, find_module
from runner.tree import parts

THIRD_PARTIES = ("flax", "jax", "optax")  # known by their versions


def packages(tree: Any) -> set[str]:
    """The top-level packages, ours and the user's, that the parts of a tree are defined in."""
    found = (find_definition(node["_target_"]) for _, node in parts(tree))
    names = {definition.module.name.partition(".")[0] for definition in found if definition is not None}
    return names - set(THIRD_PARTIES)


def digest(names: Iterable[str]) -> str:
    """Changes when a source file of one of the packages does."""
    content = hashlib.blake2b(digest_size=16)
    for name in sorted(names):
        module = find_module(name)
        for path in _files(module.path) if module else ():
            content.update(f"{name}/{path.name}".encode() + hashlib.blake2b(path.read_bytes()).digest())
    return content.hexdigest()


def version(package: str) -> str:
    """The version of a package; Titrate itself runs from a clone too, without being installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _files(path: Path) -> list[Path]:
    """The files of a package, or the one of a module."""
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
