"""Composition and sweeps give the same result with the next version of Hydra, where it can be installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

NEXT_VERSIONS = ("hydra-core==1.4.0rc3", "omegaconf==2.4.1rc1")
ROOT = Path(__file__).parent.parent
PROGRAM = """
import hydra, sys
from runner import yaml_file
from runner.config.compose import configure
from runner.errors import ConfigError
from runner.sweep.plan import make_plan
print(yaml_file.dump(configure(["experiment=digits_cnn", "metric=[accuracy,top_k]", "optimizer.b1=0.8"]).values))
for overrides in ("optimizer=glob(ad*) seed=range(2)", "learning_rate=1e-3,1e-2 folds=2", "metric=[accuracy],[top_k]"):
    print([run.overrides for run in make_plan(overrides.split(), multirun=True).runs])
try:
    configure(["optimizer=nadm", "trainig.epochs=3", "seed=1,2", "optimizer.b1=2"])
except ConfigError as error:
    print(error)
print(hydra.__version__, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def next_hydra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installs the next versions of Hydra and OmegaConf into a folder. Skips the test where they are not available."""
    folder = tmp_path_factory.mktemp("hydra")
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv, which installs the next Hydra, is missing")
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        sys.executable,
        "--target",
        str(folder),
        *NEXT_VERSIONS,
    ]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("the next Hydra could not be installed within a minute")
    if process.returncode:
        pytest.skip(f"the next Hydra can't be installed here: {process.stderr.strip().splitlines()[-1]}")
    return folder


def run_program(*folders: Path) -> tuple[str, str]:
    """Runs PROGRAM with the modules of these folders. Returns its output and the version of Hydra."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*folders, ROOT]))}
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return process.stdout, process.stderr.strip()


def test_both_versions_compose_and_sweep_equally(next_hydra: Path) -> None:
    output, version = run_program()
    assert version == hydra.__version__
    next_output, next_version = run_program(next_hydra)
    assert next_version.startswith("1.4")
    assert next_output == output
    assert "optimizer: unknown option nadm. Did you mean nadam?" in output
