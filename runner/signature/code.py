"""Identifies the code that a configuration runs: the packages of its parts, their digest and their versions."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runner.signature.source import find_definition, find_module
from runner.tree import iterate_parts
from runner.user_code import OUR_PACKAGES

LIBRARIES = ("flax", "jax", "optax")  # identified by their versions, so their files are not digested


def part_packages(tree: Any) -> set[str]:
    """The top-level packages of the parts of a tree, without libraries."""
    definitions = (find_definition(node["_target_"]) for _, node in iterate_parts(tree))
    packages = {definition.module.name.partition(".")[0] for definition in definitions if definition is not None}
    return packages - set(LIBRARIES)


def digest_code(names: Iterable[str]) -> str:
    """A digest of all source files of some packages. Titrate's own are read once per process, like their imports."""
    content = hashlib.blake2b(digest_size=16)
    for name in sorted(names):
        content.update(_digest_own_package(name) if name in OUR_PACKAGES else _digest_package(name))
    return content.hexdigest()


def digest_files(names: Iterable[str]) -> dict[str, str]:
    """The digest of each source file of the user's packages, and of each package of Titrate, by its name."""
    digests = {}
    for name in sorted(names):
        module = find_module(name)
        if name in OUR_PACKAGES or module is None:
            digests[name] = _digest_own_package(name).hex()[:16]
            continue
        for path in _source_files(module.path):
            is_package = module.path.name == "__init__.py"
            file = path.relative_to(module.path.parent.parent if is_package else module.path.parent).as_posix()
            digests[file] = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    return digests


def package_version(package: str) -> str:
    """The installed version of a package; `not installed` for Titrate itself if it runs from a clone."""
    from importlib import metadata  # takes 15 ms, and most error messages need no version

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _digest_package(name: str) -> bytes:
    content, module = hashlib.blake2b(), find_module(name)
    for path in _source_files(module.path) if module else ():
        content.update(f"{name}/{path.name}".encode() + hashlib.blake2b(path.read_bytes()).digest())
    return content.digest()


_digest_own_package = functools.cache(_digest_package)


def _source_files(path: Path) -> list[Path]:
    """All source files of a package, or the file of a module."""
    return sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
