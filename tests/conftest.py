"""Fixtures of all tests: strict type promotion in JAX, a cache and a working folder per test run, and MLflow stores."""

import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bytecode  # first, as it decides where the modules below are compiled to
import hypothesis
import jax
import pytest
from jax._src.interpreters import mlir

from runner.credentials import original_by_mask

gc.disable()  # until all tests are collected: little of what modules create is garbage

hypothesis.settings.register_profile("shared", deadline=None)  # a busy machine has slow moments
hypothesis.settings.load_profile("shared")

# Of XLA's two code generators for the CPU the quicker one, which compiles tiny programs in a quarter of the time.
QUICK_COMPILER = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

PROGRAMS_OF_CONTEXT = 200
SHARE_OF_EXAMPLES = 3  # of a property, all but the slow tests take one of as many examples

CREATE_STORE = """
import sqlite3, sys
from runner.tracking import store
store.connect(f"sqlite:///{sys.argv[1]}")
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
"""


def pytest_configure() -> None:
    """Turns off most of XLA's optimizations, as compiling takes most of the time of tiny runs.

    The environment variables also hold for processes that tests start. JAX_DISABLE_MOST_OPTIMIZATIONS=0 keeps the
    optimizations.
    """
    if "JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ:
        return
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    if jax.__version_info__ < (0, 11):  # later versions have no other code generator, and abort at an unknown flag
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_COMPILER}".strip()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the other processes of xdist have ended
        bytecode.forget_temporary_modules()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the tests of whole runs first. They take the longest, and xdist's processes should end at the same time.

    `pytest -m slow` also runs the tests of properties, with all of their examples. Other calls take a share of them.
    """
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)
    properties = [item for item in items if hypothesis.is_hypothesis_test(getattr(item, "function", None))]
    if config.option.markexpr == "slow":
        for item in properties:
            item.add_marker(pytest.mark.slow)
        return
    for function in {item.function for item in properties}:  # type: ignore[attr-defined]
        usual = function._hypothesis_internal_use_settings
        function._hypothesis_internal_use_settings = hypothesis.settings(
            usual, max_examples=max(1, usual.max_examples // SHARE_OF_EXAMPLES)
        )


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder that all processes of xdist share, so that each program is compiled once."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder


@pytest.fixture(scope="session", autouse=True)
def temporary_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sets an empty cache folder, so that no test reads what an earlier version of the code has cached.

    Processes that tests start inherit it.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TITRATE_CACHE", str(shared_folder(tmp_path_factory) / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waits_for_the_disk() -> Iterator[None]:
    """Lets files be written without a wait until the disk has them. Tests kill processes, but not the machine."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_compiler_context() -> Iterator[None]:
    """Lets programs share a context of MLIR. JAX creates one for each, which takes a fifth of compiling a tiny program.

    A context keeps the types and constants of its programs, so there is a new one from time to time.
    """
    create, kept = mlir.make_ir_context, threading.local()

    def share() -> Any:
        kept.programs = getattr(kept, "programs", -1) + 1
        if kept.programs % PROGRAMS_OF_CONTEXT == 0:
            kept.context = create()
        return kept.context

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mlir, "make_ir_context", share)
        yield


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    """Forgets the credentials of a test after it. The logs of others would mask them: a token 17 in `17.5 GB`."""
    yield
    original_by_mask.clear()


@pytest.fixture(scope="session", autouse=True)
def rare_garbage_collection() -> Iterator[None]:
    """Makes Python's garbage collection rare, as it would visit millions of objects of JAX's traces each time.

    It never visits those of the modules that the tests have imported.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    gc.collect()
    gc.freeze()
    gc.enable()
    yield
    gc.set_threshold(*before)
    gc.collect()  # finalizers that fail, fail in the last test
    gc.freeze()  # pytest collects twice more, and Python at its end


@pytest.fixture(scope="session", autouse=True)
def many_programs() -> Iterator[None]:
    """Keeps more programs than a sweep. They are tiny, and JAX forgets all that it has compiled with them."""
    with pytest.MonkeyPatch.context() as patched:
        if programs := sys.modules.get("runner.execution.programs"):  # the tests of a single file may not need it
            patched.setattr(programs, "MAX_PROGRAMS", 32)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Lets SIGINT interrupt the processes of tests. A shell that runs the tests in the background ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def strict_jax(request: pytest.FixtureRequest) -> Iterator[None]:
    """Makes implicit promotion of dtypes or ranks an error. The mark `optax` of a test allows promotion of dtypes."""
    dtypes = "standard" if request.node.get_closest_marker("optax") else "strict"
    with jax.numpy_dtype_promotion(dtypes), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def no_drawing_in_background(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps runs with tracking=none from starting a process that draws figures, which takes seconds.

    A test with the fixture `draws_in_background` gets the process.
    """
    if "draws_in_background" not in request.fixturenames:
        monkeypatch.setattr("runner.tracking.draw_in_background", lambda folder: None)


@pytest.fixture
def draws_in_background() -> None:
    """Lets runs with tracking=none draw figures, as outside of tests."""


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Changes the working folder to an empty one.

    At the end, restores `sys.path` and removes modules that were imported from the folder.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield tmp_path
    prefix = f"{tmp_path}/"
    for name in sys.modules.keys() - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(prefix):
            del sys.modules[name]


@pytest.fixture
def write_module(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Returns a function (name, text) that writes a module of the user's own parts into the working folder.

    The module can be imported, and it is allowed.
    """

    def write(name: str, text: str) -> None:
        Path(f"{name}.py").write_text(text)
        monkeypatch.setenv("TITRATE_ALLOW", name)
        monkeypatch.syspath_prepend(in_empty_folder)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creates the tables of an MLflow store, which takes seconds, once for all tests of all processes."""
    path = shared_folder(tmp_path_factory) / "store.db"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            subprocess.run([sys.executable, "-c", CREATE_STORE, str(unfinished)], check=True)
            unfinished.rename(path)
    return path


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Path:
    """Copies the empty store into the folder of the test, where a run finds it."""
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))
