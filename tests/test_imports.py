"""Who may import whom, read from the source: the walls of the house."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("components", "runner", "experiments", "benchmarks", "tests")
FRAMEWORKS = ("hydra", "omegaconf", "mlflow")
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in ("components", "runner")
    for path in (ROOT / folder).rglob("*.py")
    if "template" not in path.parts  # a user's own module to begin with
)


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def group(path: Path) -> str:
    """The group that a file belongs to: `data` of components/data/idx.py, `loss` of components/loss.py."""
    return path.parts[1].removesuffix(".py")


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_each_module_imports_only_what_it_may(path: Path) -> None:
    names = imported(path)
    assert not {name for name in names if top(name) in ("experiments", "benchmarks", "tests")}
    assert not {name for name in names if top(name) == "mlflow"} or path.is_relative_to("runner/tracking")
    if path.parts[0] == "components":
        assert not {name for name in names if top(name) in ("runner", *FRAMEWORKS)}
        layers = {"layer"} if group(path) in ("architecture", "feature") else set()
        allowed = {"types", "closest", "place", "paths", "arrow", "columns", group(path)} | layers
        assert {name.split(".")[1] for name in names if top(name) == "components"} <= allowed
        if group(path) == "types":
            assert not {name for name in names if top(name) in OURS and not name.startswith("components.types.")}
    else:
        ours = {name.split(".")[1] for name in names if top(name) == "components"}
        assert ours <= {"types", "closest", "columns", "place"}


def test_hydra_is_touched_where_words_become_plain_values_alone() -> None:
    users = {path.stem for path in MODULES if {top(name) for name in imported(path)} & {"hydra", "omegaconf"}}
    assert users == {"choices", "completion", "compose", "grid", "overrides"}


@pytest.mark.parametrize("path", [path for path in MODULES if group(path) == "types"], ids=str)
def test_the_vocabulary_imports_no_framework(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    at_import = {top(name.name) for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    at_import |= {top(node.module or "") for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert at_import <= {"__future__", "collections", "components", "dataclasses", "functools", "itertools", "math"} | {
        "typing"
    }
