"""Composition and sweeps on the line of Hydra that comes next, where it can be installed beside the one in use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

NEXT = ("hydra-core==1.4.0rc3", "omegaconf==2.4.1rc1")
HOUSE = Path(__file__).parent.parent
PROGRAM = """
import hydra, sys
from runner import yaml_file
from runner.config.compose import configure
from runner.errors import ConfigError
from runner.sweep.plan import make_plan
print(yaml_file.dump(configure(["experiment=digits_cnn", "metric=[accuracy,top_k]", "optimizer.b1=0.8"]).values))
for words in ("optimizer=glob(ad*) seed=range(2)", "learning_rate=1e-3,1e-2 folds=2", "metric=[accuracy],[top_k]"):
    print([run.overrides for run in make_plan(words.split(), multirun=True).runs])
try:
    configure(["optimizer=nadm", "trainig.epochs=3", "seed=1,2", "optimizer.b1=2"])
except ConfigError as error:
    print(error)
print(hydra.__version__, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def next_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the next Hydra and its OmegaConf; skips where the registry, or its cache, has none."""
    folder = tmp_path_factory.mktemp("hydra")
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to install the next Hydra with")
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", str(folder), *NEXT]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("the next Hydra could not be had within a minute")
    if found.returncode:
        pytest.skip(f"the next Hydra can't be installed here: {found.stderr.strip().splitlines()[-1]}")
    return folder


def composed(path: list[Path]) -> tuple[str, str]:
    """What composes, and by which version."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, HOUSE]))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr.strip()


def test_both_lines_compose_and_sweep_alike(next_line: Path) -> None:
    now, version = composed([])
    assert version == hydra.__version__
    later, other = composed([next_line])
    assert other.startswith("1.4")
    assert later == now
    assert "optimizer: unknown option nadm. Did you mean nadam?" in now
