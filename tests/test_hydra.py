"""Hydra's words work, or name Titrate's. The next version of Hydra, where it can be installed, gives equal results."""

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from hydra._internal.utils import get_args_parser
from hydra.conf import HydraConf

from runner.__main__ import _make_parser, main
from runner.config.hydra_words import FLAGS, SETTINGS

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


@pytest.mark.slow
def test_both_versions_compose_and_sweep_equally(next_hydra: Path) -> None:
    output, version = run_program()
    assert version == hydra.__version__
    next_output, next_version = run_program(next_hydra)
    assert next_version.startswith("1.4")
    assert next_output == output
    assert "optimizer: unknown option nadm. Did you mean nadam?" in output


HYDRA_FLAGS = [flag for action in get_args_parser()._actions for flag in action.option_strings]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("flag", HYDRA_FLAGS)
def test_each_flag_of_hydra_works_or_names_what_to_write(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    if flag in _make_parser()._option_string_actions:
        return
    for arguments in ([flag, "x"], [f"{flag}=x"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err == f"{arguments[0]}: {FLAGS[flag]}\n"


@pytest.mark.parametrize("word", ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"])
@pytest.mark.parametrize("flag", ["--info", "-i"])
def test_a_word_after_info_is_an_error(flag: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([flag, word]) == 2
    assert capsys.readouterr().err.startswith(f"{word}: Write --info alone.")


@pytest.mark.parametrize("key", [field.name for field in dataclasses.fields(HydraConf)])
def test_each_setting_of_hydra_is_an_error_that_names_titrates(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"hydra.{key}=x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hydra.{key}=x: Hydra's own settings have no effect. ")
    names_ours = {"defaults", "help", "hydra_help", "overrides", "job", "runtime"}.isdisjoint({key})
    assert ("See --help" in error) != names_ours


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hydra.run.dir=x"], "Write folder=PATH."),
        (["hydra.sweep.dir=x"], "Write folder=PATH."),
        (["hydra/launcher=submitit_slurm"], "A sweep takes no launcher"),
        (["hydra/sweeper=optuna"], "Write -m and lists of values"),
        (["+hydra.job.chdir=true"], "Titrate stays in the working folder."),
        (["+optimizer=adam"], "+ is not allowed for a group. Write optimizer=adam\n"),
        (["+metric=top_k"], "Write metric=[…], the list of all options\n"),
        (["optimizer@architecture=adam"], "@ is not allowed. Write optimizer=…\n"),
        (["seed=1,2"], "several values need a sweep. Write -m before the overrides"),
        (["~optimizer"], "a group can't be deleted. Write optimizer=OPTION.\n"),
        (["folder=${oc.env:HOME}"], "let the shell insert it, as in folder="),
        (["folder=${oc.env:HOME}/runs"], "let the shell insert it, as in folder="),
        (["folder=${now:%Y}"], "calls the function now,"),
        (["folder=${hydra:runtime.cwd}"], "calls the function hydra,"),
        (["--cfg", "hydra"], "invalid choice: 'hydra' (choose from "),
        (["--resolve"], "Write --cfg job --resolve\n"),
    ],
)
def test_a_word_of_hydra_that_titrate_lacks_names_what_to_write(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["--cfg", "job", "+seed=3"], "seed: 3\n"),
        (["--cfg", "job", "++training.epochs=3"], "  epochs: 3\n"),
        (["--cfg", "job", "~metric.accuracy"], "metric: {}\n"),
        (["--cfg", "job", "optimizer=sgd", "+optimizer.momentum=0.9"], "  momentum: 0.9\n"),
        (["--cfg", "job", "learning_rate=0.5", "schedule=cosine"], "  learning_rate: ${learning_rate}\n"),
        (["--cfg", "job", "--resolve", "learning_rate=0.5", "schedule=cosine"], "  learning_rate: 0.5\n"),
        (["--cfg", "job", "training.steps=${training.batch_size}", "--resolve"], "  steps: 32\n"),
        (["-i", "seed=3"], "seed=3 "),
    ],
)
def test_words_of_hydra_that_work(arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert printed in capsys.readouterr().out


def test_the_readme_has_a_row_for_each_word_of_hydra_that_differs() -> None:
    table = README[README.index("### From Hydra") :].partition("\n\n### ")[0]
    words = set(re.findall(r"`([^`]+)`", table))
    flags = {flag for flag in FLAGS if flag.startswith("--") and " " not in flag}
    settings = {start.split(".")[1] for start in SETTINGS}
    listed = " ".join(words)
    assert all(flag in listed for flag in flags - {"--hydra-help", "--package", "--run"}), flags
    assert all(re.search(rf"hydra[./]{name}", listed) for name in settings), settings
