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
    earlier_folder = jax.config.jax_compilation_cache_dir
    monkeypatch.setattr(compilation_cache, "MIN_COMPILE_SECONDS", 0.0)
    forget_compiled_programs(tmp_path / "cache")
    yield tmp_path / "cache"
    monkeypatch.undo()
    forget_compiled_programs(Path(earlier_folder)) if earlier_folder else jax_cache.reset_cache()


def forget_compiled_programs(folder: Path) -> None:
    """Forgets all compiled programs, as in a new process."""
    jax_cache.reset_cache()
    compilation_cache.use_compilation_cache(folder)


def double(x: jax.Array) -> jax.Array:
    return x * 2


def triple(x: jax.Array) -> jax.Array:
    return x * 3


def compute_in_new_process(folder: Path) -> tuple[float, float]:
    """The results of the two programs, with no program in memory, as in a new process."""
    forget_compiled_programs(folder)
    jax.clear_caches()
    return float(jax.jit(double)(jnp.float32(1))), float(jax.jit(triple)(jnp.float32(1)))


def list_entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("jit_*le-*-cache"))


def test_a_program_is_cached_and_reused(folder: Path) -> None:
    assert compute_in_new_process(folder) == (2, 3)
    before = [path.stat().st_mtime_ns for path in list_entries(folder)]
    assert len(before) == 2
    assert compute_in_new_process(folder) == (2, 3)
    assert [path.stat().st_mtime_ns for path in list_entries(folder)] == before


@pytest.mark.parametrize("damage", [*DAMAGE, "swapped", "a folder"])
def test_a_damaged_entry_is_compiled_again(folder: Path, damage: str) -> None:
    assert compute_in_new_process(folder) == (2, 3)
    paths = list_entries(folder)
    before = [path.read_bytes() for path in paths]
    for path, own, other in zip(paths, before, reversed(before), strict=True):
        if damage == "a folder":
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(other if damage == "swapped" else DAMAGE[damage](own))
    assert compute_in_new_process(folder) == (2, 3)
    assert all(path.is_file() for path in list_entries(folder))
    forget_compiled_programs(folder)
    for path in list_entries(folder):
        assert jax_cache._get_cache(jax.devices()[0].client).get(path.name.removesuffix("-cache")) is not None


@pytest.mark.parametrize("subfolder", ["", "cache"])
def test_a_file_in_place_of_the_folder_only_disables_the_cache(folder: Path, subfolder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("")
    assert compute_in_new_process(folder / subfolder) == (2, 3)


def test_a_full_disk_only_disables_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_disk_full(self: LRUCache, key: str, value: bytes) -> None:
        (folder / f"{key}-cache").write_bytes(value[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LRUCache, "put", raise_disk_full)
        assert compute_in_new_process(folder) == (2, 3)
    assert not list_entries(folder)


def test_xla_s_own_cache_of_algorithms_is_off(folder: Path) -> None:
    """It has no digests, and would give nondeterministic algorithms to a run that asks for deterministic ones."""
    options = get_compile_options(1, 1)  # it must outlive the objects below
    build = options.executable_build_options
    assert build.debug_options.xla_gpu_per_fusion_autotune_cache_dir == ""
