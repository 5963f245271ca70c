"""`benchmarks/gpu.sh` runs as it would on a machine with a GPU, on the CPU with its smallest sizes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks/gpu.sh"


@pytest.mark.slow
def test_every_check_passes_on_the_cpu() -> None:
    environment = os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"}
    found = subprocess.run([SCRIPT, "--smallest"], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    table = found.stdout.rpartition("\n\n")[2]
    for check in ("equal digits_mlp", "equal digits_cnn", "equal california_housing_wide_deep", "kill digits_cnn"):
        assert f"{check} " in table
    assert "resnet titrate" in table
    assert "FAILED" not in table
