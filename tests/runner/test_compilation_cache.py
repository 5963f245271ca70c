"""The cache of compiled programs: a damaged entry is compiled again."""

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax._src import compilation_cache as jax_cache
from jax._src.compiler import get_compile_options
from jax._src.lru_cache import LRUCache

from runner import compilation_cache

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda entry: b"",
    "cut short": lambda entry: entry[: len(entry) // 2],
    "one bit": lambda entry: entry[:500] + bytes([entry[500] ^ 1]) + entry[501:],
    "garbage": lambda entry: os.urandom(len(entry)),
    "compressed garbage": lambda entry: zlib.compress(os.urandom(5000)),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache."""
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setattr(compilation_cache, "MIN_COMPILE_SECONDS", 0.0)
    begin(tmp_path / "cache")
    yield tmp_path / "cache"
    monkeypatch.undo()
    begin(Path(before)) if before else jax_cache.reset_cache()


def begin(folder: Path) -> None:
    """Forgets all compiled programs, as in a new process."""
    jax_cache.reset_cache()
    compilation_cache.use_compilation_cache(folder)


def double(x: jax.Array) -> jax.Array:
    return x * 2


def triple(x: jax.Array) -> jax.Array:
    return x * 3


def computed(folder: Path) -> tuple[float, float]:
    """What the two programs give in a new process."""
    begin(folder)
    jax.clear_caches()
    return float(jax.jit(double)(jnp.float32(1))), float(jax.jit(triple)(jnp.float32(1)))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("jit_*le-*-cache"))


def test_a_program_is_kept_and_taken(folder: Path) -> None:
    assert computed(folder) == (2, 3)
    kept = [path.stat().st_mtime_ns for path in entries(folder)]
    assert len(kept) == 2
    assert computed(folder) == (2, 3)
    assert [path.stat().st_mtime_ns for path in entries(folder)] == kept


@pytest.mark.parametrize("how", [*DAMAGE, "swapped", "a folder"])
def test_a_damaged_entry_is_made_again(folder: Path, how: str) -> None:
    assert computed(folder) == (2, 3)
    paths = entries(folder)
    kept = [path.read_bytes() for path in paths]
    for path, own, other in zip(paths, kept, reversed(kept), strict=True):
        if how == "a folder":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(other if how == "swapped" else DAMAGE[how](own))
    assert computed(folder) == (2, 3)
    assert all(path.is_file() for path in entries(folder))
    begin(folder)
    for path in entries(folder):
        assert jax_cache._get_cache(jax.devices()[0].client).get(path.name.removesuffix("-cache")) is not None


@pytest.mark.parametrize("place", ["", "cache"])
def test_a_file_in_place_of_a_folder_only_keeps_nothing(folder: Path, place: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("")
    assert computed(folder / place) == (2, 3)


def test_a_full_disk_only_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LRUCache, key: str, value: bytes) -> None:
        (folder / f"{key}-cache").write_bytes(value[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LRUCache, "put", full)
        assert computed(folder) == (2, 3)
    assert not entries(folder)


def test_xla_keeps_no_algorithms_beside_it(folder: Path) -> None:
    """Those have no digests, and a run that asks for deterministic operations would get the fastest ones of another."""
    options = get_compile_options(1, 1)  # which owns the next two
    build = options.executable_build_options
    assert build.debug_options.xla_gpu_per_fusion_autotune_cache_dir == ""
