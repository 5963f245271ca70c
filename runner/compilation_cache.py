"""JAX's cache of compiled programs, with a digest in each entry.

JAX checks little of an entry: one of another program ends a run, and one that a kill cut short stays for ever, with a
warning at each start. Here every entry starts with a digest of its key and content. An entry that does not match is
removed, and its program is compiled again. Errors of the cache itself, such as a full disk, are logged.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path

import jax
from jax._src import compilation_cache  # JAX has no public way to replace its cache
from jax._src.lru_cache import _CACHE_SUFFIX, LRUCache

from runner.log import LOG

DIGEST_BYTES = 32
UNBOUNDED = -1
SHORTEST_COMPILATION = 0.1  # seconds: a program that compiles faster gets no entry


def use_compilation_cache(folder: Path) -> None:
    """Makes JAX keep compiled programs in a folder from now on."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_COMPILATION)
    # XLA's own cache of the fastest algorithms has no digests and ignores the flags: where deterministic operations
    # are requested, it returns other algorithms.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    compilation_cache.get_file_cache = _open_cache
    compilation_cache.reset_cache()  # other code in this process may have opened a cache


class VerifiedCache(LRUCache):
    """JAX's cache folder, with a digest in front of each entry."""

    def get(self, key: str) -> bytes | None:
        try:
            entry = super().get(key)
        except OSError:
            entry = b""
        if entry is None:
            return None
        digest, content = entry[:DIGEST_BYTES], entry[DIGEST_BYTES:]
        if digest == _digest(key, content):
            return content
        LOG.info("the compiled program %s is damaged, and compiled again", key)
        self._remove(key)
        return None

    def put(self, key: str, value: bytes) -> None:
        try:
            super().put(key, _digest(key, value) + value)
        except OSError as error:
            LOG.info("a compiled program can't be kept in %s: %s", self.path, error.strerror or error)
            self._remove(key)

    def _remove(self, key: str) -> None:
        path = Path(str(self.path)) / f"{key}{_CACHE_SUFFIX}"
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _open_cache(path: str) -> tuple[VerifiedCache, str] | None:
    try:
        return VerifiedCache(path, max_size=UNBOUNDED), path
    except OSError as error:
        LOG.info("compiled programs can't be kept in %s: %s", path, error.strerror or error)
        return None


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + content).digest()
