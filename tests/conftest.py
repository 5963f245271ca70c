"""A strict JAX for every test, and folders of its own for whatever a test writes."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest

hypothesis.settings.register_profile("shared", deadline=None)  # a machine that others use too has slow moments
hypothesis.settings.load_profile("shared")

MAKE_STORE = """
import sqlite3, sys
from runner.tracking import store
store.connect(f"sqlite:///{sys.argv[1]}")
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs, which take the longest, come first, so that all processes end at about the same time."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that earlier code encoded is taken for what this code does; processes that tests start inherit it."""
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent  # which all processes share: each program is compiled once
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TITRATE_CACHE", str(folder / "cache"))
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):  # each process would compile all of JAX and MLflow: 4 s
            patched.delenv("PYTHONDONTWRITEBYTECODE")
            patched.setenv("PYTHONPYCACHEPREFIX", str(folder / "bytecode"))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_compiler() -> Iterator[None]:
    """Compiling takes most of the time of tiny runs, so XLA optimizes little, unless JAX's own variable says more."""
    with pytest.MonkeyPatch.context() as patched:
        if "JAX_DISABLE_MOST_OPTIMIZATIONS" not in os.environ:
            patched.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # for processes that tests start
            jax.config.update("jax_disable_most_optimizations", True)
        yield


@pytest.fixture(scope="session", autouse=True)
def rare_garbage_collection() -> Iterator[None]:
    """Tracing makes millions of objects that live on, so Python looks for cycles among them less often."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    yield
    gc.set_threshold(*before)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C interrupts what tests start, though a shell that runs them in the background ignores it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def strict_jax(request: pytest.FixtureRequest) -> Iterator[None]:
    """No dtype or rank is promoted silently; marked `optax`, a test lets Optax mix dtypes, as it does by design."""
    dtypes = "standard" if request.node.get_closest_marker("optax") else "strict"
    with jax.numpy_dtype_promotion(dtypes), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def no_drawing_in_background(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs with tracking=none start no process that draws figures, which takes seconds, unless a test wants it."""
    if "draws_in_background" not in request.fixturenames:
        monkeypatch.setattr("runner.tracking.draw_in_background", lambda folder: None)


@pytest.fixture
def draws_in_background() -> None:
    """Runs with tracking=none draw their figures as they do outside the tests."""


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder is an empty one; what a command does to the path of modules, and modules from it, end here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name, module in [*sys.modules.items()]:
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables made, which takes seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    subprocess.run([sys.executable, "-c", MAKE_STORE, str(path)], check=True)
    return path


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Path:
    """A store of the test's own, where a run in its folder looks for one."""
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))
