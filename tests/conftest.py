"""A strict JAX for every test, and folders of its own for whatever a test writes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest


@pytest.fixture(autouse=True)
def strict_jax(request: pytest.FixtureRequest) -> Iterator[None]:
    """No dtype or rank is promoted silently; marked `optax`, a test lets Optax mix dtypes, as it does by design."""
    dtypes = "standard" if request.node.get_closest_marker("optax") else "strict"
    with jax.numpy_dtype_promotion(dtypes), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder is an empty one, and what the command does to the path of modules ends with the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path
