"""Who may import whom, read from the source: the walls of the house."""

import ast
import graphlib
import re
from collections.abc import Container
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("components", "runner", "experiments", "benchmarks", "tests")
FRAMEWORKS = ("hydra", "omegaconf", "mlflow")
ROOMS = (
    "display",
    "signature",
    "suggest",
    "config",
    "data",
    "record",
    "program",
    "training",
    "figures",
    "tracking",
    "execution",
    "inference",
    "sweep",
    "modes",
)
"""The ladder of `runner/`: a room imports only rooms above it in this list, and the files beside them, its ground.

`runner/__init__.py` and `runner/__main__.py` stand above all and import any of them.
"""
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in ("components", "runner")
    for path in (ROOT / folder).rglob("*.py")
    if "template" not in path.parts  # a user's own module to begin with
)


def find_imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def group(path: Path) -> str:
    """The group that a file belongs to: `data` of components/data/idx.py, `constraint` of components/constraint.py."""
    return path.parts[1].removesuffix(".py")


def top_package(name: str) -> str:
    return name.partition(".")[0]


def is_writer(path: Path, name: str) -> bool:
    """Whether `mode=convert` imports what writes tables, which no configuration names."""
    return path.is_relative_to("runner/modes/convert") and name.startswith("components.data.writing.")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_each_module_imports_only_allowed_modules(path: Path) -> None:
    names = find_imports(path)
    assert not {name for name in names if top_package(name) in ("experiments", "benchmarks", "tests")}
    assert not {name for name in names if top_package(name) == "mlflow"} or path.is_relative_to("runner/tracking")
    if path.parts[0] == "components":
        assert not {name for name in names if top_package(name) in ("runner", *FRAMEWORKS)}
        layers = {"layer"} if group(path) in ("architecture", "feature") else set()
        shared = {"types", "closest", "paths", "input_files", "image_files", "arrow", "columns", "hashing", "remote"}
        shared |= {"cache_folder", "fetched_files", "remote_errors", "uri_mask", "read_once", "file_formats"}
        shared |= {"ragged", "sequences", "hugging_face", "tracked_block", "user_function"}
        shared |= {"other_names"} if path.name == "closest.py" else set()
        allowed = shared | {"expression", "time_format", "times", group(path)} | layers
        assert {name.split(".")[1] for name in names if top_package(name) == "components"} <= allowed
        if group(path) == "types":
            ours = {name for name in names if top_package(name) in OURS}
            assert not {name for name in ours if not name.startswith(("components.types.", "components.cache_folder."))}
    else:
        ours = {name.split(".")[1] for name in names if top_package(name) == "components" and not is_writer(path, name)}
        shared = {"types", "closest", "columns", "hashing", "input_files", "remote"}
        shared |= {"cache_folder", "fetched_files", "uri_mask", "read_once", "file_formats", "ragged", "sequences"}
        shared |= {"expression"}
        assert ours <= shared


@pytest.mark.parametrize("room", ["layer/lowering", "architecture/block"])
def test_a_room_that_others_share_imports_none_of_them(room: str) -> None:
    inside = [path for path in MODULES if path.is_relative_to(f"components/{room}")]
    used = {name for path in inside for name in find_imports(path) if top_package(name) == "components"}
    shared = f"components.{room.replace('/', '.')}."
    ground = ("components.types.", "components.layer.shape.") if room == "layer/lowering" else ("components.types.",)
    layers = ("components.layer.",) if room == "architecture/block" else ()
    assert inside
    assert {name for name in used if not name.startswith((shared, *ground, *layers))} == set()


FEATURE = ("text", "base", "statistic", "normalizer", "number", "pixels")  # each may import those before it, and itself


@pytest.mark.parametrize("path", [path for path in MODULES if path.is_relative_to("components/feature")], ids=str)
def test_the_building_blocks_of_columns_are_in_rooms_of_their_own(path: Path) -> None:
    used = {name.split(".")[2] for name in find_imports(path) if name.startswith("components.feature.")}
    room = path.parts[2].removesuffix(".py")
    if room in FEATURE:
        assert used <= set(FEATURE[: FEATURE.index(room) + 1])
    elif room != "__init__":  # a column's own file, which `components.feature` exports
        exported = find_imports(Path("components/feature/__init__.py"))
        assert f"components.feature.{room}" in {name.rpartition(".")[0] for name in exported}


WORDS = re.compile(r"\btitrate\b|\bmode=|\b(data|feature|training|architecture|weights)\.[a-z_]+=|\bconf/")
COLUMNS = (("components", "data"), ("components", "feature"))


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[:2] in COLUMNS], ids=str)
def test_sources_and_columns_have_no_keys_of_the_command_line(path: Path) -> None:
    texts = [node.value for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Constant)]
    assert not [text for text in texts if isinstance(text, str) and WORDS.search(text)]


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "runner"], ids=str)
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    if path.name in ("__init__.py", "__main__.py") and len(path.parts) == 2:
        return
    own = find_level(path.parts[1])
    assert not {
        name for name in find_imports(path) if top_package(name) == "runner" and find_level(name.split(".")[1]) > own
    }


def find_level(room: str) -> int:
    """The rung of the ladder on which a room or a file of `runner/` stands; 0: the ground."""
    if (ROOT / "runner" / room).is_dir():
        return ROOMS.index(room) + 1
    return 0


def test_there_is_no_import_cycle() -> None:
    names = {module(path): path for path in MODULES}
    graph = {
        name: {found for one in find_imports(path) if (found := find_longest_prefix(one, names))}
        for name, path in names.items()
    }
    order = graphlib.TopologicalSorter({name: found - {name} for name, found in graph.items()})
    order.prepare()  # raises CycleError, which names the circle


def module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def find_longest_prefix(name: str, known: Container[str]) -> str | None:
    """The module that an import of a name loads, or None where it is none of ours."""
    return next((one for one in (name, name.rpartition(".")[0]) if one in known), None)


def test_hydra_is_imported_only_where_overrides_are_parsed() -> None:
    users = {
        path.stem for path in MODULES if {top_package(name) for name in find_imports(path)} & {"hydra", "omegaconf"}
    }
    parsing = {"choices", "completion", "compose", "earlier_run", "grid", "merge", "overrides"}
    assert users == {*parsing, "profiled_source"}


@pytest.mark.parametrize("path", [path for path in MODULES if group(path) == "types"], ids=str)
def test_the_vocabulary_imports_no_framework(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    at_import = {top_package(name.name) for node in tree.body if isinstance(node, ast.Import) for name in node.names}
    at_import |= {top_package(node.module or "") for node in tree.body if isinstance(node, ast.ImportFrom)}
    standard = {"__future__", "collections", "contextlib", "dataclasses", "functools", "inspect", "itertools", "math"}
    standard |= {"numbers", "re", "types", "typing"}
    assert at_import <= standard | {"components"}
