"""Damaged files of every kind are refused, or read as what they hold; benchmarks/mutations.py tries many more."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "mutations.py"
MUTATIONS = 100
READERS = (
    ("idx", "idx.gz", "idx_in_gz", "safetensors", "tar", "tar_sealed", "tar.gz"),
    ("csv", "csv.gz", "csv.bz2", "csv.xz", "yaml"),
    ("vocabulary", "vectors", "npy", "npz", "npy_in_npz", "checkpoint", "transform"),
)


@pytest.mark.parametrize("readers", READERS)
def test_a_damaged_file_is_refused_or_read_as_what_it_holds(readers: tuple[str, ...]) -> None:
    command = [sys.executable, str(SCRIPT), str(MUTATIONS), *readers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"{MUTATIONS} mutations") == len(readers)
