"""JAX's cache of compiled programs, with a digest in each entry.

JAX does not verify entries: a wrong entry ends a run, and an incomplete entry of a killed process gives a warning at
each start. Here each entry starts with a digest of its key and content. An entry that does not match its digest is
removed, and its program is compiled again. Errors of the cache, such as a full disk, are logged.
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
UNLIMITED = -1  # JAX's value for a cache without a maximum size
MIN_COMPILE_SECONDS = 0.1  # programs that compile faster are not cached


def use_compilation_cache(folder: Path) -> None:
    """Sets the folder where JAX caches compiled programs."""
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    # XLA has a cache of the fastest algorithms, too. It has no digests and ignores XLA's flags, so it may return
    # nondeterministic algorithms where deterministic ones are requested.
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
        LOG.info("the cached program %s is damaged, so it is compiled again", key)
        self._remove(key)
        return None

    def put(self, key: str, value: bytes) -> None:
        try:
            super().put(key, _digest(key, value) + value)
        except OSError as error:
            LOG.info("a compiled program can't be cached in %s: %s", self.path, error.strerror or error)
            self._remove(key)

    def _remove(self, key: str) -> None:
        path = Path(str(self.path)) / f"{key}{_CACHE_SUFFIX}"
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _open_cache(path: str) -> tuple[VerifiedCache, str] | None:
    try:
        return VerifiedCache(path, max_size=UNLIMITED), path
    except OSError as error:
        LOG.info("compiled programs can't be cached in %s: %s", path, error.strerror or error)
        return None


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + content).digest()
