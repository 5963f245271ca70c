"""The code that a configuration runs: the packages of its parts, a digest of their source files, and versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from runner.signature.source import find_definition, find_module
from runner.tree import iterate_parts

LIBRARIES = ("flax", "jax", "optax")  # a version identifies these, so their files are not read


def part_packages(tree: Any) -> set[str]:
    """The top-level packages, ours and the user's, that define the parts of a tree."""
    definitions = (find_definition(node["_target_"]) for _, node in iterate_parts(tree))
    return {one.module.name.partition(".")[0] for one in definitions if one is not None} - set(LIBRARIES)


def digest_code(names: Iterable[str]) -> str:
    """A digest of all source files of some packages."""
    content = hashlib.blake2b(digest_size=16)
    for name in sorted(names):
        module = find_module(name)
        for path in _source_files(module.path) if module else ():
            content.update(f"{name}/{path.name}".encode() + hashlib.blake2b(path.read_bytes()).digest())
    return content.hexdigest()


def package_version(package: str) -> str:
    """The installed version of a package. Titrate also runs from a clone, without an installation."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _source_files(path: Path) -> list[Path]:
    """All source files of a package, or the one file of a module."""
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
