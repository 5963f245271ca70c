"""`mode=init` overwrites nothing, and everything in the project that it writes works."""

import errno
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import runner.modes.init
from runner.__main__ import main
from runner.config.catalog import INSTALL_FOLDER, find_options, read_default_options
from runner.config.compose import compose

TEMPLATE = Path(runner.modes.init.__file__).parent / "template"
FILES = sorted(
    str(path.relative_to(TEMPLATE)) for path in TEMPLATE.rglob("*") if path.suffix in (".py", ".yaml", ".md")
)
OPTIONS = [Path(file).parts[1:] for file in FILES if file.startswith("conf/")]  # (group, NAME.yaml)
EXPERIMENTS = sorted(path.stem for path in (TEMPLATE / "experiments").glob("*.yaml"))
README = (TEMPLATE / "README.md").read_text()
COMMANDS = re.findall(r"^    (titrate .*)$", README, re.MULTILINE)
SHORT = ("tracking=none", "quiet=true", "training.epochs=1", "data.rows=200")
PRINT_IMPORTS = (
    "import sys, runner.__main__; code = runner.__main__.main(sys.argv[1:]);"
    "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
)


@pytest.fixture
def project(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder after `mode=init`. Its module is allowed; Python forgets it after the test."""
    monkeypatch.setenv("TITRATE_ALLOW", "my_parts")
    sys.modules.pop("my_parts", None)
    assert main(["mode=init"]) == 0
    yield in_empty_folder
    sys.modules.pop("my_parts", None)


def test_init_writes_the_template_and_lists_its_files(in_empty_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_IMPORTS, "mode=init"], capture_output=True, text=True, check=True
    )
    assert sorted(str(path.relative_to(in_empty_folder)) for path in in_empty_folder.rglob("*.*")) == FILES
    *lines, imported = done.stdout.splitlines()
    assert {line.strip() for line in lines} >= {*FILES, "titrate experiment=rentals_residual"}
    assert {"jax", "numpy", "mlflow"}.isdisjoint(imported.split())


def test_init_overwrites_nothing(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_parts.py").write_text("mine")
    Path("conf").write_text("a file")
    assert main(["mode=init"]) == 2
    problem = f"mode=init: {in_empty_folder} has conf, my_parts.py already. Nothing was written"
    assert problem in capsys.readouterr().err
    assert sorted(path.name for path in in_empty_folder.iterdir()) == ["conf", "my_parts.py"]
    assert Path("my_parts.py").read_text() == "mine"


def test_init_leaves_nothing_on_a_full_disk(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, written = Path.write_bytes, list[Path]()

    def fill(path: Path, content: bytes) -> int:
        written.append(path)
        write(path, content[:9])
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return 9

    monkeypatch.setattr(Path, "write_bytes", fill)
    (in_empty_folder / "conf").mkdir()  # it is the user's
    assert main(["mode=init"]) == 2
    assert "can't be written: No space left on device. Choose another folder" in capsys.readouterr().err
    assert [*in_empty_folder.iterdir()] == [in_empty_folder / "conf"]
    assert not [*(in_empty_folder / "conf").iterdir()]


@pytest.mark.parametrize("name", ["README.md", "README", "readme.rst", "Readme.txt"])
def test_init_leaves_a_readme_as_it_is(in_empty_folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_text("mine")
    assert main(["mode=init"]) == 0
    assert Path(name).read_text() == "mine"
    assert Path("TITRATE.md").read_text() == README
    printed = capsys.readouterr().out
    assert "  TITRATE.md\n" in printed
    assert "Next, as TITRATE.md says:" in printed
    assert {path.name for path in in_empty_folder.iterdir()} == {
        name,
        "TITRATE.md",
        "conf",
        "experiments",
        "my_parts.py",
    }


def test_init_raises_if_the_project_exists(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=init"]) == 2
    assert "my_parts.py already" in capsys.readouterr().err


def test_words_that_init_would_ignore_are_an_error(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mode=init", "experiment=digits_cnn", "learning_rate=0.1", "quiet=true"]) == 2
    problem = "mode=init: experiment=digits_cnn, learning_rate=0.1 would have no effect on the template. Leave this out"
    assert capsys.readouterr().err.startswith(problem)
    assert not [*in_empty_folder.iterdir()]


def test_its_options_have_other_names_than_ours(project: Path) -> None:
    found = find_options()
    assert found.clashes == ()
    assert all(
        path.is_relative_to(project) for group, name in OPTIONS for path in [found.files[group][Path(name).stem]]
    )


def test_the_template_has_a_part_of_each_kind(project: Path) -> None:
    groups = {group for group, _ in OPTIONS}
    not_in_template = {"tracking", "sweep", "experiment", "augmentation", "weights", "constraint", "update", "teacher"}
    not_in_template |= {"examples"}
    assert groups == set(read_default_options()) - not_in_template
    texts = "".join(Path(file).read_text() for file in FILES if file.endswith(".yaml"))
    defined = re.findall(r"^(?:class|def) ([A-Za-z]\w*)", Path("my_parts.py").read_text(), re.MULTILINE)
    assert all(f"my_parts.{name}" in texts for name in defined)


def test_every_option_is_used_in_an_experiment(project: Path) -> None:
    chosen = [compose([f"experiment={name}"]).choices for name in EXPERIMENTS]
    for group, file in OPTIONS:
        options = [
            option for one in chosen for option in (one[group] if isinstance(one[group], list) else [one[group]])
        ]
        assert Path(file).stem in options


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_header_of_an_experiment_has_question_result_time_and_command(name: str) -> None:
    lines = (TEMPLATE / "experiments" / f"{name}.yaml").read_text().splitlines()
    header = {line[2:].partition(":")[0]: line.partition(":")[2].strip() for line in lines if line.startswith("# ")}
    assert list(header)[:4] == ["Question", "Result", "Time", "Command"]
    assert header["Command"] == f"titrate --allow my_parts experiment={name}"
    assert re.search(r"\d\.\d", header["Result"])


@pytest.mark.optax
@pytest.mark.parametrize("folds", [[], pytest.param(["folds=2"], marks=pytest.mark.slow)], ids=["", "folds=2"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_runs(project: Path, name: str, folds: list[str]) -> None:
    assert main([f"experiment={name}", *SHORT, *folds]) == 0


@pytest.mark.optax
@pytest.mark.parametrize(
    "words", ["loss.quantile=0.9 training.precision=bfloat16", "optimizer.momentum=0 schedule.peak=0.5"]
)
def test_parameters_of_its_parts_can_be_set(project: Path, words: str) -> None:
    assert main(["experiment=rentals_additive", *SHORT, *words.split()]) == 0


@pytest.mark.optax
def test_its_parts_work_with_ours(project: Path) -> None:
    words = "data=rentals feature=rentals architecture=mlp loss=mse metric=[rmse,relative_error] optimizer=adam"
    assert main([*words.split(), "schedule=triangle", "regularizer=[l2,group_lasso]", *SHORT]) == 0


@pytest.mark.optax
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_its_readme_runs(project: Path, command: str) -> None:
    words = shlex.split(command)[1:]
    if "mode=runs" in words:
        assert main(["experiment=rentals_residual", *SHORT]) == 0
    assert main([*words, *(SHORT if "experiment" in command else [])]) == 0


@pytest.mark.optax
@pytest.mark.parametrize("choice", ["loss=quantile_loss", "metric=[relative_error]"])
def test_the_command_that_checks_a_part_runs(project: Path, choice: str, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = re.findall(r"`titrate (.* GROUP=NAME mode=dry_run)`", README)
    assert main([*command.replace("GROUP=NAME", choice).split(), "data.rows=200", "quiet=true"]) == 0


def test_the_error_in_its_readme_is_current(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, message = re.search(r"^ *\$ titrate (.*)\n *(.*)$", README, re.MULTILINE).groups()  # type: ignore[union-attr]
    capsys.readouterr()
    assert main(shlex.split(command)) == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.optax
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("loss=quantile_loss", "quantile_loss needs a real-valued target"),
        ("metric=[relative_error]", "relative_error needs a real-valued target"),
        ("data=rentals feature=rentals feature.target.key=hours", "there is no column `hours` in rentals"),
        ("experiment=rentals_residual feature.target.key=temperature", "positive numbers are needed"),
        ("experiment=rentals_residual architecture=additive", "my_parts.Additive needs an input calendar"),
    ],
)
def test_its_parts_raise_errors(
    project: Path, capsys: pytest.CaptureFixture[str], overrides: str, message: str
) -> None:
    assert main([*overrides.split(), "tracking=none", "quiet=true"]) == 2
    assert message in capsys.readouterr().err


def test_its_files_are_short_and_in_the_package() -> None:
    for file in FILES:
        if file.endswith(".yaml"):
            text = (TEMPLATE / file).read_text()
            assert text.startswith("# ")
            assert len(text.splitlines()) <= 25
            assert yaml.safe_load(text)
    ignored = (INSTALL_FOLDER / ".gitignore").read_text().split()
    assert not [file for file in FILES if any(part in ignored for part in Path(file).parts)]
