"""The command line: what it prints, where, with which exit code, and what it doesn't import."""

import os
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
import runner.modes.train
from components.types import UserError
from runner.__main__ import main
from runner.config.catalog import find_options
from runner.config.compose import compose
from runner.config.modes import MODES
from runner.signature.parameters import read_settings_fields
from runner.tree import iterate_leaves, join_path

HEAVY = {"jax", "jaxlib", "flax", "optax", "mlflow", "numpy", "pandas", "sklearn", "rich", "pyarrow"}
REPORT = (
    "import sys, runner.__main__; code = runner.__main__.main(sys.argv[1:]);"
    "print('IMPORTED', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
)


def titrate(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; as for the installed script, the working folder isn't on its path."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "runner", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command does to the path of modules ends with the test."""
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
def test_answers_come_before_anything_heavy_is_imported(in_empty_folder: Path, words: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, "-c", REPORT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    *_, report = done.stdout.splitlines()
    assert report.startswith("IMPORTED")
    assert HEAVY.isdisjoint(report.split())


def test_mistakes_go_to_standard_error_without_a_traceback(in_empty_folder: Path) -> None:
    done = titrate(
        "optimizer=nadm", "trainning.epochs=3", "training.epochs=abc", "training.batch_size=0", "seed=-1", "x"
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 6
    assert "Traceback" not in done.stderr


def test_a_module_of_the_working_folder_may_be_allowed(in_empty_folder: Path) -> None:
    Path("mine.py").write_text("def loss(size: int): ...\n")
    Path("components").mkdir()  # one of the user's own doesn't take the place of ours
    Path("components/__init__.py").write_text("raise SystemExit('a stranger')\n")
    words = ["loss={_target_: mine.loss, size: x}", "tracking=none"]
    assert "loss._target_: mine.loss is not in an allowed package" in titrate(*words).stderr
    for done in (titrate("--allow", "mine", *words), titrate(*words, TITRATE_ALLOW="mine")):
        assert done.returncode == 2
        assert done.stderr.startswith('loss.size: "x" is not a whole number')


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"titrate {metadata.version('titrate')}\n"


def test_help_lists_all_there_is_to_choose(capsys: pytest.CaptureFixture[str], in_empty_folder: Path) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text("# Question:  is it mine?\nseed: 1\n")
    Path("experiments/bare.yaml").write_text("seed: 1\n")
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    words = text.split()
    assert all(group in words and option in words for group, found in find_options().files.items() for option in found)
    assert "  * nadam    Adam with Nesterov momentum (Dozat, 2016)." in text.splitlines()
    assert any(line.split() == ["mine", "is", "it", "mine?"] for line in text.splitlines())
    assert any(line.split() == ["bare"] for line in text.splitlines())
    assert "--version" in words
    assert "    epochs: 10" in text.splitlines()
    assert set(MODES) == set(get_args(read_settings_fields("Settings")["mode"].hint)) <= set(words)


def test_cfg_prints_the_composed_yaml(capsys: pytest.CaptureFixture[str], in_empty_folder: Path) -> None:
    assert main(["--cfg", "job", "experiment=digits_cnn", "seed=3"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seed"] == 3
    assert printed["schedule"]["learning_rate"] == "${learning_rate}"


def test_info_names_who_set_each_value(capsys: pytest.CaptureFixture[str], in_empty_folder: Path) -> None:
    assert main(["seed=3", "--info"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "seed=3 the command line (seed=3)" in lines
    assert 'optimizer._target_="optax.nadam" conf/optimizer/nadam.yaml' in lines
    assert any(line.startswith("jax 0.") for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hlep"], "--hlep: unknown flag; did you mean --help?"),
        (["seed=1", "-x"], "-x: unknown flag; allowed: --allow, --cfg, --help,"),
        (["--seed=3"], "--seed=3: unknown flag; write seed=3\n"),
        (["--training.epochs", "3"], "--training.epochs: unknown flag; write training.epochs=VALUE\n"),
        (["-sc", "--cfg", "job"], "-sc: write -sc install=SHELL, where SHELL is one of bash, zsh, fish\n"),
        (["-sc", "install=csh"], "-sc: write -sc install=SHELL"),
        (["-sc", "query=bash", "x"], "-sc: write -sc install=SHELL"),
        (["--cfg", "hydra"], "argument --cfg/-c: invalid choice: 'hydra'"),
        (["--cfg"], "argument --cfg/-c: expected one argument"),
        (["--allow", "nothere", "--help"], "--allow nothere: there is no package nothere\n"),
        (["--allow", "components.lay"], "--allow components.lay: there is no module components.lay. Did you mean lay"),
        ([""], "one of the words is empty; write group=option or key=value\n"),
        (["=3"], "=3: a key is missing before the =; write group=option or key=value\n"),
    ],
)
def test_unknown_options(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.out == ""


def test_completion_is_hydra_s(in_empty_folder: Path) -> None:
    assert "complete -o nospace -o default -F hydra_bash_completion titrate" in titrate("-sc", "install=bash").stdout
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text("seed: 1\n")
    assert titrate("-sc", "query=bash", COMP_LINE="titrate optimizer=ad").stdout.split() == [
        "optimizer=adam",
        "optimizer=adamw",
    ]
    offered = titrate("-sc", "query=bash", COMP_LINE="titrate experiment=").stdout.split()
    assert {"experiment=mine", "experiment=digits_cnn"} <= set(offered)


def test_completion_imports_no_plugin_of_the_working_folder(in_empty_folder: Path) -> None:
    Path("hydra_plugins/theirs").mkdir(parents=True)
    Path("hydra_plugins/theirs/__init__.py").write_text("open('ran', 'w')")
    command = [sys.executable, "-m", "runner", "--allow", "mine", "-sc", "query=bash"]
    environment = os.environ | {"COMP_LINE": "titrate seed", "PYTHONPATH": str(Path(runner.__file__).parents[1])}
    subprocess.run(command, check=True, env=environment)
    assert not Path("ran").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_file_of_ours(in_empty_folder: Path, closed: str) -> None:
    """The next file would be opened in its place, and be written what is meant for the terminal."""
    program = (
        "import os, runner.__main__ as command\n"
        "command._run_command = lambda arguments: open('out', 'w').fileno()\n"
        "command.sys.exit(command.main([]))"
    )
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program], check=False)
    assert done.returncode > 2
    assert Path("out").read_text() == ""


def test_characters_that_the_terminal_lacks_are_told_by_their_number(in_empty_folder: Path) -> None:
    done = titrate("experiment=日", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr.startswith(r"experiment: there is no \u65e5; ")


def test_a_working_folder_that_is_gone(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    assert main(["seed=1"]) == 2
    assert capsys.readouterr().err == "the working folder was deleted; cd into an existing folder\n"


def keys_of(*words: str) -> list[str]:
    """The places of a configuration, and some that are none."""
    places = [place for place, _ in iterate_leaves(compose(words).values)]
    found = {join_path(place[:length]) for place in places for length in range(1, len(place) + 1)}
    return [
        *sorted(found),
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
    words: keys_of(*words) for words in ((), ("experiment=digits_cnn",), ("experiment=california_housing_wide_deep",))
}


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """A command with values of any kind for keys that there are, and flags among them."""
    words = draw(st.sampled_from([*KEYS]))
    prefixes, keys = st.sampled_from(("", "", "+", "++", "~")), st.sampled_from(KEYS[words])
    read_settings_fields = draw(st.lists(st.tuples(prefixes, keys, st.sampled_from(VALUES)), min_size=1, max_size=3))
    flags = draw(st.lists(st.sampled_from(FLAGS), max_size=2))
    return draw(
        st.permutations([*words, *flags, *(f"{before}{key}={value}" for before, key, value in read_settings_fields)])
    )


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


def execution(result: Any) -> Any:
    def execute(config: Any) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result

    return execute


@pytest.mark.parametrize(
    ("result", "code", "said"),
    [
        (SimpleNamespace(status="finished"), 0, ""),
        (SimpleNamespace(status="diverged"), 1, ""),
        (SimpleNamespace(status="interrupted", signal=15), 143, ""),
        (SimpleNamespace(status="interrupted", signal=2), 130, ""),
        (UserError("mend this"), 2, "mend this\n"),
        (RuntimeError("a fault"), 1, "Traceback"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_how_a_run_ended_is_the_exit_code(
    result: Any, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner.modes.train, "execute", execution(result))
    assert main([]) == code
    assert capsys.readouterr().err.startswith(said)
