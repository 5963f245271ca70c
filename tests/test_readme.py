"""The README is current: its commands and code run, and its table lists all options."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from runner.__main__ import main
from runner.config.catalog import find_options, list_groups
from runner.config.compose import compose
from runner.modes.help import options_table, update_readme
from runner.sweep.plan import make_plan
from runner.tracking import NoDelivery

README = (Path(__file__).parent.parent / "README.md").read_text()
COMMANDS = [line.strip() for line in README.splitlines() if re.match(r"    (TITRATE_DATA=\S+ )?titrate ", line)]
EXAMPLE_FILES = dict(re.findall(r"```\w+\n# ((?:my_loss|conf|experiments)\S+)\n(.*?)```", README, re.DOTALL))
ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("runner/**/*.md")]
SHELL_LINE = re.compile(r"^ +(?:\$ )?((?:\w+=\S+ )*(?:uv run .*?)?titrate .*)$", re.MULTILINE)
PRINT_ARGUMENTS = 'titrate() { printf \'%s\\n\' "$@"; }; uv() { shift; "$@"; }; '  # instead of running the commands
FIRST_HOUR = README[README.index("## The first hour") : README.index("### Before a run")]


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--" not in command])
def test_a_command_composes(command: str) -> None:
    arguments = [argument for argument in shlex.split(command) if not argument.startswith("TITRATE_DATA=")]
    assert arguments.pop(0) == "titrate"
    is_multirun = arguments[0] == "-m"
    arguments = [
        argument for argument in arguments if not argument.startswith(("run=", "resume=", "output=", "data.split="))
    ]
    arguments = [re.sub("=(evaluate|predict)$", "=train", argument) for argument in arguments]
    assert make_plan(arguments[is_multirun:], multirun=is_multirun)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_commands_can_be_pasted_into_a_shell(page: Path, shell: str, in_empty_folder: Path) -> None:
    """A bracket without quotes is a pattern in zsh, which ends with an error where no file matches."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    commands = [command.partition("$(")[0] for command in SHELL_LINE.findall(page.read_text())]
    assert commands or page.name in ("CONTRIBUTING.md", "CHANGELOG.md")
    for command in commands:
        done = subprocess.run([shell, "-c", f"{PRINT_ARGUMENTS}{command}"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command
        words = [word for word in shlex.split(command) if word not in ("uv", "run", "titrate")]
        assert done.stdout.splitlines()[-len(words) :] == [word for word in words if "TITRATE_DATA" not in word], (
            command
        )
        assert not set("#!") & set(command), "an interactive shell reads these characters in another way"


def test_no_page_names_an_option_that_does_not_exist() -> None:
    files = find_options().files
    for page in (ROOT / "README.md", ROOT / "docs" / "architectures.md"):
        examples = page.read_text()
        defined = set(re.findall(r"^# (?:conf|experiments)/(?:\w+/)?(\w+)\.yaml$", examples, re.MULTILINE))
        for command in SHELL_LINE.findall(examples):
            for group, name in re.findall(r"(?<=\s)(\w+)=(\w+)(?=\s|$)", command):
                if group in files and name != "NAME":
                    assert name in {*files[group], *defined}, f"{page.name}: {group}={name}"


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if re.match(r"titrate [^-]*$", command) and command not in FIRST_HOUR]
)
def test_a_command_runs(command: str) -> None:
    assert main([*shlex.split(command)[1:], "training.epochs=1", "tracking=none", "quiet=true"]) == 0


@pytest.mark.slow
@pytest.mark.optax
def test_the_commands_of_the_first_hour_run_in_one_folder(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [command for command in COMMANDS if command in FIRST_HOUR]
    assert len(commands) > 10
    for command in commands:
        arguments = [re.sub(r"(training\.epochs)=\d+", r"\1=2", argument) for argument in shlex.split(command)[1:]]
        if any(argument.startswith(("experiment=", "-m")) for argument in arguments):
            arguments += ["tracking=none", "training.batch_size=8"]
            if not any("training.limit" in argument for argument in arguments):
                arguments.append("training.limit_batches=1")
            if not any("training.epochs" in argument for argument in arguments):
                arguments.append("training.epochs=1")
        assert main(arguments) == 0, (command, capsys.readouterr().err)
    assert Path("predictions.parquet").exists()
    assert "would remove" not in capsys.readouterr().out


def test_the_errors_in_the_readme_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    command, messages = re.search(r"^    \$ titrate (.*)\n((?:    .*\[set by .*\n)+)", README, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert main(shlex.split(command)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(messages.splitlines())
    for text in messages.splitlines():
        start = text.strip().partition("…")[0]
        assert any(line.startswith(start) for line in lines), start


def test_the_first_commands_run_in_ci() -> None:
    ci = (Path(__file__).parent.parent / ".ci" / "run").read_text()
    start, test = re.findall(r"^    (?:pip install uv && )?(uv run .*)$", README, re.MULTILINE)[:2]
    assert re.search(rf"^{re.escape(start)}( |$)", ci, re.MULTILINE)
    assert re.search(rf"^{re.escape(test)}$", ci, re.MULTILINE)


def test_the_script_of_a_fresh_system_prints_why_it_is_skipped() -> None:
    script = Path(__file__).parent.parent / ".ci" / "fresh"
    path = {"PATH": "/usr/bin:/bin"}  # without sbin, where debootstrap is
    process = subprocess.run([script], env=path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert re.fullmatch(r"skipped: (debootstrap is not installed|only root can build a system)\n", process.stdout)


def test_its_pictures_exist() -> None:
    assert "CAPTURE" not in README
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parent.parent / path).is_file()


def test_the_table_lists_every_option() -> None:
    files = find_options().files
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README, re.MULTILINE))
    assert set(rows) == set(list_groups())
    for group, text in rows.items():
        names = set(re.findall(r"`(\w+)`", text))
        assert set(files[group]) <= names, group


def test_the_table_of_options_is_current(in_empty_folder: Path) -> None:
    Path("conf/loss").mkdir(parents=True)
    Path("conf/loss/user_option.yaml").write_text("_target_: optax.adam\n")  # the table lists only our own options
    assert options_table() in README, "run: uv run python -m runner.modes.help README.md"
    assert update_readme(README) == README
    assert update_readme(README.replace("`nadam`", "`adadam`", 1)) == README


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_the_example_in_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("runner.tracking.MLflow.start", lambda self, folder: NoDelivery(folder))
    (example,) = re.findall(r"```python\n(import .*?)```", README, re.DOTALL)
    exec(example, {})
    assert "outputs/" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("error", [0.0, 1e-3, 1.0, 88.0, 100.0, 1e4, -1e4])
def test_the_example_loss_is_exact_for_large_errors(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("my_loss")
    monkeypatch.setitem(sys.modules, "my_loss", module)
    exec(EXAMPLE_FILES["my_loss.py"], vars(module))
    loss = module.ScaledLogCosh(scale=1.0)
    value, slope = jax.value_and_grad(lambda x: loss(jnp.full((1, 1), x), jnp.zeros((1, 1)))[0])(error)
    exact = np.logaddexp(np.float64(error), -error) - np.log(2)
    np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(slope, np.tanh(error), rtol=1e-5, atol=1e-7)


def test_options_inside_options_are_the_same_in_a_file_and_on_the_command_line(in_empty_folder: Path) -> None:
    name = "experiments/digits_top_3.yaml"
    Path("experiments").mkdir()
    Path(name).write_text(EXAMPLE_FILES[name])
    (command,) = [command for command in COMMANDS if "option:" in command]
    from_file, from_command = compose(["experiment=digits_top_3"]), compose(shlex.split(command)[1:])
    assert from_file.values == {**from_command.values, "experiment": "digits_top_3"}
    assert from_file.values["metric"]["top_k"]["k"] == 3


@pytest.mark.optax
def test_the_example_folder_runs(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TITRATE_ALLOW", "")
    for path, text in EXAMPLE_FILES.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    (command,) = [command for command in COMMANDS if "--allow" in command]
    arguments = shlex.split(command)[1:]
    assert main([argument for argument in arguments if argument not in ("--allow", "my_loss")]) == 2
    assert "my_loss.ScaledLogCosh is not in an allowed package" in capsys.readouterr().err
    assert main([*arguments, "loss.scale=1000"]) == 2
    assert "loss.scale: 1000 is not a number in (0, 100)" in capsys.readouterr().err
    assert main([*arguments, "tracking=none"]) == 0
    assert "test" in capsys.readouterr().out
