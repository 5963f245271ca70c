"""Every benchmark runs, as small as it can: with the words that a line `smallest: …` at its beginning says.

`smallest, slow: …` says that this takes long. Files of data lie below $TITRATE_DATA with a few rows; where a peer is
missing that the command would bring along (`--with …`), a line says so.
"""

import importlib.metadata
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from sample_files import write_housing, write_reviews

ROOT = Path(__file__).parents[1]
SHARED = {ROOT / "benchmarks" / name for name in ("timing.py", "housing.py")}  # imported by several benchmarks
SCRIPTS = (*ROOT.glob("benchmarks/*.py"), *ROOT.glob("benchmarks/*.sh"), *ROOT.glob("benchmarks/*/__main__.py"))
FILES = sorted(set(SCRIPTS) - SHARED)
SMALLEST = re.compile(r"^[ #]*smallest(?P<slow>, slow)?: (?P<words>.+)$", re.MULTILINE)


def smallest(path: Path) -> re.Match[str]:
    """The line of a file that says how it runs small."""
    found = SMALLEST.search(path.read_text())
    assert found, f"{path.relative_to(ROOT)} says nowhere `smallest: WORDS`, with which it takes seconds"
    return found


def cases() -> list[object]:
    """The benchmarks, slow ones marked."""
    slow = {path for path in FILES if (found := SMALLEST.search(path.read_text())) and found["slow"]}
    names = {path: str(path.relative_to(ROOT / "benchmarks").with_suffix("")) for path in FILES}
    return [pytest.param(p, id=names[p], marks=[pytest.mark.slow] if p in slow else []) for p in FILES]


@pytest.mark.optax
@pytest.mark.parametrize("path", cases())
def test_a_benchmark_runs_with_its_smallest_sizes(
    path: Path, in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = smallest(path)
    words = found["words"].split()
    monkeypatch.setenv("TITRATE_DATA", str(in_empty_folder))
    write_housing(in_empty_folder / "california_housing/housing.csv")
    write_reviews(in_empty_folder / "imdb/aclImdb_labelled.tar.gz", {"classes": ["neg", "pos"]})
    if path.suffix == ".sh" or found["slow"]:  # in a process of its own, which importing JAX makes slower
        subprocess.run(["bash" if path.suffix == ".sh" else sys.executable, path, *words], check=True)
    else:
        monkeypatch.setattr(sys, "argv", [str(path), *words])
        with jax.numpy_rank_promotion("allow"):
            runpy.run_path(str(path), run_name="__main__")
    told = capfd.readouterr().out
    assert told
    for peer in re.findall(r"--with ([\w-]+)", path.read_text()):
        assert _is_installed(peer) or "is missing" in told


def _is_installed(distribution: str) -> bool:
    return bool(list(importlib.metadata.distributions(name=distribution)))
