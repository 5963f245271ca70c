"""The command line: its output, errors, exit codes and imports."""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import hypothesis
import pytest
import yaml
from hypothesis import given, seed
from hypothesis import strategies as st

import runner.__main__
import runner.execution.execute
import runner.modes.train
import runner.tracking
from components.types import UserError
from runner.__main__ import main
from runner.config.catalog import find_options
from runner.config.compose import compose
from runner.config.modes import MODES
from runner.modes.completion import list_completions
from runner.signature.parameters import read_settings_fields
from runner.tree import iterate_leaves, join_path

HEAVY = {"jax", "jaxlib", "flax", "optax", "mlflow", "numpy", "pandas", "sklearn", "rich", "pyarrow"}
PRINT_IMPORTS = (
    "import sys, runner.__main__; code = runner.__main__.main(sys.argv[1:]);"
    "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
)


def titrate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a new process. As for the installed script, the working folder is not on its import path."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "runner", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture(autouse=True)
def restored_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands change the import path; it is restored after each test."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["--info"], 0),
        (["--version"], 0),
        (["--cfg", "job"], 0),
        (["optimizer=nadm", "optimizer.b3=1", "training.epochs=abc", "experiment=digits_cnn"], 2),
        (["architecture=sequential", "architecture.layers.0.features=0", "loss._target_=optax.sdg"], 2),
    ],
)
def test_help_and_errors_import_no_heavy_package(in_empty_folder: Path, words: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, "-c", PRINT_IMPORTS, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    *_, imported = done.stdout.splitlines()
    assert imported.startswith("IMPORTED")
    assert HEAVY.isdisjoint(imported.split())


def test_an_error_in_an_operation_comes_with_the_others_and_imports_numpy_only(in_empty_folder: Path) -> None:
    words = ['operations=[{option: filter, where: "price <"}]', "learning_rate=-1"]
    done = subprocess.run([sys.executable, "-P", "-c", PRINT_IMPORTS, *words], capture_output=True, text=True)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["learning_rate", "operations.0.where"]
    assert HEAVY & {*done.stdout.split()} == {"numpy"}


def test_a_plain_run_imports_only_what_it_needs(in_empty_folder: Path) -> None:
    Path("rows.csv").write_text("x,y\n" + "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(60)))
    words = ["data=csv", "data.path=rows.csv", "data.target=y", "training.steps=1", "tracking=none", "quiet=true"]
    done = subprocess.run([sys.executable, "-P", "-c", PRINT_IMPORTS, *words], capture_output=True, text=True)
    assert done.returncode == 0
    assert {"mlflow", "pandas", "sklearn", "scipy", "matplotlib"}.isdisjoint(done.stdout.split())


def test_errors_go_to_standard_error_without_a_traceback(in_empty_folder: Path) -> None:
    done = titrate(
        "optimizer=nadm", "trainning.epochs=3", "training.epochs=abc", "training.batch_size=0", "seed=-1", "x"
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 6
    assert "Traceback" not in done.stderr


def test_a_module_in_the_working_folder_can_be_allowed(in_empty_folder: Path) -> None:
    Path("mine.py").write_text("def loss(size: int): ...\n")
    Path("components").mkdir()  # the user's package must not replace ours
    Path("components/__init__.py").write_text("raise SystemExit('not ours')\n")
    words = ["loss={_target_: mine.loss, size: x}", "tracking=none"]
    assert "loss._target_: mine.loss is not in an allowed package" in titrate(*words).stderr
    for done in (titrate("--allow", "mine", *words), titrate(*words, TITRATE_ALLOW="mine")):
        assert done.returncode == 2
        assert done.stderr.startswith('loss.size: "x" is not a whole number')


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"titrate {metadata.version('titrate')}\n"


def test_help_lists_all_options_modes_and_keys(capsys: pytest.CaptureFixture[str], in_empty_folder: Path) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text("# Question:  is it mine?\nseed: 1\n")
    Path("experiments/bare.yaml").write_text("seed: 1\n")
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    words = text.split()
    assert all(group in words and option in words for group, found in find_options().files.items() for option in found)
    assert re.search(r"^  \* nadam +Adam with Nesterov momentum \(Dozat, 2016\)\.$", text, re.MULTILINE)
    assert any(line.split() == ["mine", "is", "it", "mine?"] for line in text.splitlines())
    assert any(line.split() == ["bare"] for line in text.splitlines())
    assert "--version" in words
    assert any(line.startswith("    epochs: 10 ") for line in text.splitlines())
    assert set(MODES) == set(get_args(read_settings_fields("Settings")["mode"].hint)) <= set(words)


def test_cfg_prints_the_composed_yaml(capsys: pytest.CaptureFixture[str], in_empty_folder: Path) -> None:
    assert main(["--cfg", "job", "experiment=digits_cnn", "seed=3"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seed"] == 3
    assert printed["schedule"]["learning_rate"] == "${learning_rate}"


def test_info_prints_the_origin_of_each_value(capsys: pytest.CaptureFixture[str], in_empty_folder: Path) -> None:
    assert main(["seed=3", "--info"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "seed=3 the command line (seed=3)" in lines
    assert 'optimizer._target_="optax.nadam" conf/optimizer/nadam.yaml' in lines
    assert any(line.startswith("jax 0.") for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hlep"], "--hlep: unknown flag. Did you mean --help?"),
        (["seed=1", "-x"], "-x: unknown flag. Allowed: --allow, --cfg, --help,"),
        (["--seed=3"], "--seed=3: unknown flag. Write seed=3\n"),
        (["--training.epochs", "3"], "--training.epochs: unknown flag. Write training.epochs=VALUE\n"),
        (
            ["-sc", "--cfg", "job"],
            "-sc: unknown action. Write -sc install=SHELL, where SHELL is one of bash, zsh, fish.\n",
        ),
        (["-sc", "install=csh"], "-sc: unknown action. Write -sc install=SHELL"),
        (["-sc", "query=bash", "x"], "-sc: unknown action. Write -sc install=SHELL"),
        (["--cfg", "hydra"], "argument --cfg/-c: invalid choice: 'hydra'"),
        (["--cfg"], "argument --cfg/-c: expected one argument"),
        (["--allow", "nothere", "--help"], "--allow nothere: there is no package nothere\n"),
        (["--allow", "components.lay"], "--allow components.lay: there is no module components.lay. Did you mean lay"),
        ([""], "an override is empty. Write group=option or key=value.\n"),
        (["=3"], "=3: the key before = is missing. Write group=option or key=value.\n"),
    ],
)
def test_a_wrong_flag_is_an_error(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.out == ""


def test_the_script_for_completion_is_that_of_hydra() -> None:
    assert "complete -o nospace -o default -F hydra_bash_completion titrate" in titrate("-sc", "install=bash").stdout
    query = titrate("-sc", "query=bash", COMP_LINE="titrate optimizer=adam")
    assert query.stdout == "optimizer=adam optimizer=adamax optimizer=adamw\n"
    assert (
        titrate("-sc", "query=fish", COMP_LINE="titrate optimizer=adam").stdout
        == "optimizer=adam\noptimizer=adamax\noptimizer=adamw\n"
    )


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("experiment=min", ["experiment=mine"]),
        ("mode=pre", ["mode=predict"]),
        ("optimizer.", ["b1", "b2", "eps", "eps_root", "mu_dtype", "nesterov"]),
        ("optimizer=sgd optimizer.mo", ["optimizer.momentum="]),
        ("experiment=mine optimizer.mo", ["optimizer.momentum="]),
        ("optim", ["optimizer.", "optimizer="]),
        ("data=csv data.pa", ["data.path="]),
        ("data=csv data.path=hou data.path=hou", ["data.path=houses/", "data.path=housing.csv"]),
        ("data.path=houses/", ["data.path=houses/a.csv"]),
        ("output=", ["output=experiments/", "output=houses/", "output=housing.csv", "output=outputs/"]),
        ("output.", ["output.columns=", "output.overwrite=", "output.path="]),
        ("metric=[accuracy,a", ["metric=[accuracy,auc", "metric=[accuracy,average_precision"]),
        ("quiet=", ["quiet=false", "quiet=true"]),
        ("mode=predict data.on_missing=", ["data.on_missing=error", "data.on_missing=fill"]),
        ("training.on", ["training.on_nan="]),
        ("~training.on", ["~training.on_nan="]),
        ("~optim", ["~optimizer."]),
        ("run=", ["run=2026-01-01_00-00-00_x", "run=last"]),
        ("folder=~/outputs run=", ["run=2026-01-01_00-00-00_x", "run=last"]),
        ("run=outputs/2026-01-01", ["run=outputs/2026-01-01_00-00-00_x/"]),
        ("optimizer=nonsense see", ["seed="]),
        ("seed=", []),
        ("nothing.", []),
    ],
)
def test_keys_and_values_are_completed(
    in_empty_folder: Path, line: str, completions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path().absolute()))
    kinds = {"run": "outputs/2026-01-01_00-00-00_x", "look": "outputs/2026-01-02_00-00-00_y", "sweep": "outputs/z"}
    for folder in ("experiments", "houses", *kinds.values()):
        Path(folder).mkdir(parents=True)
    Path("experiments/mine.yaml").write_text("defaults: [override /optimizer: sgd]\n")
    for file in ("housing.csv", "houses/a.csv", ".hidden"):
        Path(file).write_text("")
    for kind, folder in kinds.items():
        Path(folder, "record.json").write_text(json.dumps({"kind": kind}))
    prefix = f"{line}" if line == "optimizer." else ""
    suffix = "=" if line == "optimizer." else ""
    assert list_completions(line.split(" ")) == [f"{prefix}{each}{suffix}" for each in completions]


def test_completion_imports_no_plugin_of_the_working_folder(in_empty_folder: Path) -> None:
    Path("hydra_plugins/theirs").mkdir(parents=True)
    Path("hydra_plugins/theirs/__init__.py").write_text("open('ran', 'w')")
    command = [sys.executable, "-m", "runner", "--allow", "mine", "-sc", "query=bash"]
    environment = os.environ | {"COMP_LINE": "titrate seed", "PYTHONPATH": str(Path(runner.__file__).parents[1])}
    subprocess.run(command, check=True, env=environment)
    assert not Path("ran").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_descriptor_of_a_closed_stream(in_empty_folder: Path, closed: str) -> None:
    """Otherwise the next file that is opened would get the output that is meant for the terminal."""
    program = (
        "import os, runner.__main__ as command\n"
        "command._run_command = lambda arguments: open('out', 'w').fileno()\n"
        "command.sys.exit(command.main([]))"
    )
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program], check=False)
    assert done.returncode > 2
    assert Path("out").read_text() == ""


def test_characters_that_the_terminal_lacks_are_escaped(in_empty_folder: Path) -> None:
    done = titrate("experiment=日", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr.startswith(r"experiment: unknown option \u65e5. ")


def test_a_deleted_working_folder_is_an_error(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    assert main(["seed=1"]) == 2
    assert capsys.readouterr().err == "the working folder was deleted. Change into an existing folder.\n"


def list_keys(*overrides: str) -> list[str]:
    """All keys of a configuration, and some that it lacks."""
    paths = [path for path, _ in iterate_leaves(compose(overrides).values)]
    keys = {join_path(path[:length]) for path in paths for length in range(1, len(path) + 1)}
    return [
        *sorted(keys),
        "",
        ".",
        "a..b",
        "a/b",
        "data@x",
        "hydra.x",
        "defaults",
        "metric.top_k",
        "architecture.layers.x",
    ]


VALUES = (
    *("", "[]", "{}", "null", "[[]]", "[[a]]", "{a: {b: [c]}}", "[null]", "{1: 2}", "true", "-1", "0", "1.5", "???"),
    *("9" * 400, "9" * 5000, "1e39", "1e-50", "inf", "nan", "''", "' '", "ä\U0001f600", "it's", 'a"', "x" * 300),
    *(
        "${seed}",
        "${a.b}",
        "${",
        "$",
        "\\",
        "~",
        "~nobody/x",
        "a,b",
        "range(3)",
        "glob(*)",
        "interval(0,1)",
        "[1,",
        "}",
    ),
    *(
        "\n",
        "\0",
        "\ud800",
        "/dev/null",
        "..",
        "a/b",
        "int(x)",
        "{_target_: os.system}",
        "{_target_: [1]}",
        "{_target_: ''}",
    ),
    *("{_target_: optax.adam}", "[{_target_: components.layer.Conv}]", "{_target_: ..}", "{_target_: components.loss}"),
)
FLAGS = ("--help", "--info", "--cfg", "job", "-m", "--allow", "-sc", "install=bash", "--", "-", "--seed=3", "=", "-x")
KEYS = {
    words: list_keys(*words) for words in ((), ("experiment=digits_cnn",), ("experiment=california_housing_wide_deep",))
}


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """A command with values of any kind for existing keys, and with flags."""
    words = draw(st.sampled_from([*KEYS]))
    prefixes, keys = st.sampled_from(("", "", "+", "++", "~")), st.sampled_from(KEYS[words])
    settings = draw(st.lists(st.tuples(prefixes, keys, st.sampled_from(VALUES)), min_size=1, max_size=3))
    flags = draw(st.lists(st.sampled_from(FLAGS), max_size=2))
    return draw(st.permutations([*words, *flags, *(f"{before}{key}={value}" for before, key, value in settings)]))


@seed(0)
@given(words=commands())
@hypothesis.settings(max_examples=30, suppress_health_check=[*hypothesis.HealthCheck])
def test_no_command_ends_in_a_traceback(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    nothing = SimpleNamespace(command=lambda config: 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "path", [*sys.path])
        patched.setattr(runner.__main__, "_sweep", lambda plan: 0)
        patched.setattr(runner.__main__, "importlib", SimpleNamespace(import_module=lambda name: nothing))
        assert main(words) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


def make_execute(result: Any) -> Any:
    def execute(config: Any) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    return execute


@pytest.mark.optax
@pytest.mark.parametrize(
    ("owner", "name", "message"),
    [
        (
            runner.execution.execute,
            "_train_and_evaluate",
            "ended before its first checkpoint; resume={} starts the run",
        ),
        (runner.tracking.NoDelivery, "close", "folder      outputs/{}"),
    ],
)
def test_a_second_ctrl_c_leaves_the_name_of_the_folder(
    in_empty_folder: Path,
    owner: Any,
    name: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupt)
    assert main(["tracking=none", "training.epochs=1", "training.limit_batches=1", "intervals=null"]) == 130
    (folder,) = Path("outputs").glob("*/")
    printed = capsys.readouterr()
    assert message.format(folder.name) in printed.out + printed.err


@pytest.mark.parametrize(
    ("result", "code", "message"),
    [
        (SimpleNamespace(status="finished"), 0, ""),
        (SimpleNamespace(status="diverged"), 1, ""),
        (SimpleNamespace(status="interrupted", signal=15), 143, ""),
        (SimpleNamespace(status="interrupted", signal=2), 130, ""),
        (UserError("fix this"), 2, "fix this\n"),
        (RuntimeError("a fault"), 1, "Traceback"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (KeyboardInterrupt("interrupted: nothing is kept"), 130, "interrupted: nothing is kept\n"),
    ],
)
def test_the_exit_code_tells_how_a_run_ended(
    result: Any, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner.modes.train, "execute", make_execute(result))
    assert main([]) == code
    assert capsys.readouterr().err.startswith(message)
