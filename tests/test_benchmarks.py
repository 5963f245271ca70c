"""Every benchmark runs with the arguments in the line `smallest: …` of its docstring.

The data are a few random rows in the formats of the files in
$TITRATE_DATA. A benchmark prints "… is missing" for each package of its `--with …` that is not installed.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sample_files import write_housing, write_reviews

ROOT = Path(__file__).parents[1]
SHARED = {ROOT / "benchmarks" / name for name in ("timing.py", "housing.py")}  # imported by several benchmarks
FILES = {*ROOT.glob("benchmarks/*.py"), *ROOT.glob("benchmarks/*.sh"), *ROOT.glob("benchmarks/*/__main__.py")}
SMALLEST = re.compile(r"^[ #]*smallest: (?P<arguments>.+)$", re.MULTILINE)


def list_benchmarks() -> list[object]:
    """Returns the files as parameters of a test."""
    return [
        pytest.param(path, id=str(path.relative_to(ROOT / "benchmarks").with_suffix("")))
        for path in sorted(FILES - SHARED)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("path", list_benchmarks())
def test_a_benchmark_runs_with_its_smallest_arguments(
    path: Path, in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = SMALLEST.search(path.read_text())
    assert line, f"{path.relative_to(ROOT)} has no line `smallest: ARGUMENTS` with arguments that take seconds"
    arguments = line["arguments"].split()
    monkeypatch.setenv("TITRATE_DATA", str(in_empty_folder))
    write_housing(in_empty_folder / "california_housing/housing.csv")
    write_reviews(in_empty_folder / "imdb/aclImdb_labelled.tar.gz", {"classes": ["neg", "pos"]})
    subprocess.run(["bash" if path.suffix == ".sh" else sys.executable, path, *arguments], check=True)
    output = capfd.readouterr().out
    assert output
    for package in re.findall(r"--with ([\w-]+)", path.read_text()):
        assert _is_installed(package) or "is missing" in output


def _is_installed(distribution: str) -> bool:
    return bool(list(importlib.metadata.distributions(name=distribution)))


@pytest.mark.slow
def test_every_check_of_the_gpu_script_passes_on_the_cpu() -> None:
    environment = os.environ | {"PYTHON": sys.executable, "JAX_PLATFORMS": "cpu"}
    command = [ROOT / "benchmarks/gpu.sh", "--smallest"]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    table = process.stdout.rpartition("\n\n")[2]
    for check in ("equal digits_mlp", "equal digits_cnn", "equal california_housing_wide_deep", "kill digits_cnn"):
        assert f"{check} " in table
    assert "resnet titrate" in table
    assert "FAILED" not in table
