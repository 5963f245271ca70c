"""Signatures read from source are those that Python itself sees."""

import inspect
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml

from components.types import Range
from runner.config.catalog import find_options
from runner.signature.build import import_target
from runner.signature.parameters import (
    REST,
    UNKNOWN,
    Parameter,
    find_parameter,
    read_call_signature,
    read_settings_fields,
    read_signature,
)
from runner.signature.source import PartNotFoundError
from runner.signature.type_hints import (
    DurationHint,
    Kind,
    PartHint,
    Problem,
    ScalarHint,
    element_hint,
    find_problems,
    part_kinds,
    takes_scalar,
)
from runner.tree import iterate_parts

SHARE = Annotated[ScalarHint, Range(0, 1, "[)")]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the modules of a package `mine`, which is allowed."""
    monkeypatch.setenv("TITRATE_ALLOW", "mine")
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> None:
        (tmp_path / "mine").mkdir()
        for name, text in {"__init__": "", **modules}.items():
            (tmp_path / "mine" / f"{name}.py").write_text(text)

    return write


HEADER = """
import dataclasses, functools, math
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, KW_ONLY
from typing import Annotated, ClassVar, Literal, NamedTuple, Optional, TypeAlias, Union
import flax.linen as nn
from components.types import Range, Scalar
"""


@pytest.mark.parametrize("first", ["", "from __future__ import annotations"])
def test_annotations_become_hints(package: Any, first: str) -> None:
    annotations = {
        "int": int,
        "'float'": float,
        "bool | None": bool | None,
        "Optional[str]": str | None,
        "Union[int, str]": int | str,
        "Scalar": ScalarHint,
        "Annotated[Scalar, Range(0, 1, '[)')]": SHARE,
        "Annotated[Scalar, Range(high=-1.5)] | None": Annotated[ScalarHint, Range(high=-1.5)] | None,
        "Annotated[int, Range(0, 2**32 - 1)]": Annotated[int, Range(0, 2**32 - 1)],
        "Annotated[float, Range(0, math.inf, '()')]": Annotated[float, Range(0, math.inf, "()")],
        "Annotated[float, UNIT]": Annotated[float, Range(0, 1)],
        "Annotated[int, Range(1, 2 * TOP)]": Annotated[int, Range(1, 14)],
        "Annotated[int, Range(1, ENDLESS)]": Any,
        "Annotated[int, Range(1, UNKNOWN)]": Any,
        "Annotated[int, 'a note']": int,
        "Literal['a', 'b'] | None": Literal["a", "b"] | None,
        "t.Literal[1]": Literal[1],
        "Kind": Literal["x", "y"],
        "Size": int | tuple[int, int],
        "tuple[Scalar, ...]": tuple[ScalarHint, ...],
        "list[int]": tuple[int, ...],
        "Sequence[str]": tuple[str, ...],
        "dict[str, int]": dict[str, int],
        "Mapping[str, tuple[float, ...]]": dict[str, tuple[float, ...]],
        "Layer": Annotated[PartHint, Kind("mine.part.Layer")],
        "nn.Module": Annotated[PartHint, Kind("flax.linen.Module")],
        "Endless": tuple[Any, ...],
        "t.Callable[[int], int]": Annotated[PartHint, Kind("function")],
        "Literal['x'] | t.Callable[..., int] | None": Literal["x"] | Annotated[PartHint, Kind("function")] | None,
        "nn.initializers.Initializer": Any,
        "Nowhere": Any,
        "Literal[Layer.x]": Any,
        "'int |'": Any,
    }
    aliases = """
UNIT = Range(0, 1)
TOP = 7
ENDLESS = ENDLESS + 1
Kind: TypeAlias = Literal["x", "y"]
Size = "int | tuple[int, int]"
Endless = tuple["Endless", ...]
class Layer: pass
"""
    arguments = ", ".join(f"a{n}: {text}" for n, text in enumerate(annotations))
    package(part=f"{first}\n{HEADER}{aliases}\ndef f({arguments}): pass")
    found = read_signature("mine.part.f")
    assert found is not None
    assert dict(zip(annotations, (one.hint for one in found.values()), strict=True)) == annotations


def required(target: str) -> dict[str, bool] | None:
    found = read_signature(target)
    return None if found is None else {name: one.required for name, one in found.items()}


def test_the_parameters_of_functions_are_read(package: Any) -> None:
    package(
        part=f"""{HEADER}
def f(a, b=1, *, c, d=2): pass
half = functools.partial(f, 0, c=3)
quarter = functools.partial(half, b=2)
same = f
def anything(a, **others): pass
def unnamed(a, /, b): pass
try:
    from absent import g
except ImportError:
    def g(a): pass
"""
    )
    assert required("mine.part.f") == {"a": True, "b": False, "c": True, "d": False}
    assert required("mine.part.half") == {"b": False, "c": False, "d": False}
    assert required("mine.part.quarter") == {"b": False, "c": False, "d": False}
    assert required("mine.part.same") == required("mine.part.f")
    assert required("mine.part.anything") is None
    assert required("mine.part.unnamed") is None


def test_the_parameters_of_classes_are_read(package: Any) -> None:
    package(
        part=f"""{HEADER}
class Plain:
    def __init__(self, a, b=1): pass
class Child(Plain):
    c: int
@dataclass(frozen=True)
class Record:
    a: int
    _: KW_ONLY
    shared: ClassVar[int] = 1
    made: list = field(init=False)
    c: list = field(default_factory=list)
    b: int = 2
@dataclasses.dataclass
class More(Record):
    d: int = field(kw_only=True)
    a: int = 0
    b: str
class Undecorated(Record):
    e: int
class Pair(NamedTuple):
    a: int
    b: int = 0
class Layer(nn.Module):
    a: int
    b: int = 0
class Deep(Layer):
    c: int = 0
    @nn.compact
    def __call__(self, x, y=None, *, train): pass
class Deeper(Deep): pass
class Strange(Exception):
    a: int
""",
    )
    assert required("mine.part.Plain") == required("mine.part.Child") == {"a": True, "b": False}
    assert required("mine.part.Record") == {"a": True, "c": False, "b": False}
    assert required("mine.part.More") == {"a": False, "c": False, "b": False, "d": True}
    assert required("mine.part.Undecorated") == required("mine.part.Record")
    assert required("mine.part.Pair") == required("mine.part.Layer") == {"a": True, "b": False}
    assert required("mine.part.Deep") == {"a": True, "b": False, "c": False}
    assert required("mine.part.Strange") is None
    taken = read_call_signature("mine.part.Deeper")
    assert taken is not None
    assert {name: one.required for name, one in taken.items()} == {"x": True, "y": False, "train": True}


def test_a_typed_dict_is_a_mapping_with_fixed_keys(package: Any) -> None:
    package(
        part="""
from typing import Annotated, NotRequired, Required, TypedDict
from components.types import Optimizer, Range, Scalar
class Group(TypedDict, total=False):
    paths: Required[tuple[str, ...]]
    rate: Annotated[Scalar, Range(0)]
    optimizer: Optimizer | None
class Whole(TypedDict):
    a: int
    b: NotRequired[int]
def f(group: Group | None = None, **groups: Group): pass
def g(whole: Whole, **rest): pass
"""
    )
    known = read_signature("mine.part.f")
    assert known is not None
    assert not known[REST].required
    for parameter in (known["group"], find_parameter(known, "any"), known[REST]):
        assert parameter is not None
        assert find_problems({"paths": ["a"], "rate": 2}, parameter.hint, "k") == []
        assert takes_scalar(element_hint(parameter.hint, "rate"))
        assert part_kinds(element_hint(parameter.hint, "optimizer")) == ("optimizer",)
        assert find_problems({"rate": -1, "path": []}, parameter.hint, "k") == [
            Problem("k.paths", "is missing, and has no default"),
            Problem("k.rate", "-1 is not a number in [0, inf)"),
            Problem("k.path", "unknown key. Did you mean paths? Allowed: optimizer, paths, rate."),
        ]
    assert find_problems([1], known[REST].hint, "k") == [Problem("k", "[1] is not a mapping")]
    assert read_signature("mine.part.g") is None  # any keyword, of which nothing is known


def test_imports_are_followed(package: Any) -> None:
    package(
        __init__="from mine.other import f as g\nfrom .stars import *\nfrom . import other\n",
        other="from .deep import f\nimport os\nfrom os import system\nimport mine.deep as deep\n",
        deep="def f(a): pass\n",
        stars="def star(b): pass\n",
    )
    assert read_signature("mine.g") == {"a": Parameter(Any, True)}
    assert read_signature("mine.star") == {"b": Parameter(Any, True)}
    assert read_signature("mine.other.f") == read_signature("mine.g")


@pytest.mark.parametrize("chain", ["components.types", "mine.base"])
def test_a_star_import_binds_names(package: Any, chain: str) -> None:
    """`base` and `part` import from each other; `broken` isn't valid Python; the last import counts."""
    package(
        base="from .part import *\nfrom components.types import *\nclass float: pass\n",
        first="Scalar = int\n",
        broken="def f(:\n",
        part=(
            "from .first import *\nfrom dataclasses import *\nfrom typing import *\n"
            f"from {chain} import *\nfrom .broken import *\n"
            "@dataclass\nclass Part:\n"
            "    a: Scalar\n    b: Annotated[Scalar, Range(0, 1, '[)')]\n    c: Loss\n    d: Duration = Duration(0.1)\n"
            "    e: Literal['x'] | float = field(default='x')\n    f: Unknown = 1\n"
        ),
    )
    assert read_signature("mine.part.Part") == {
        "a": Parameter(ScalarHint, True),
        "b": Parameter(SHARE, True),
        "c": Parameter(Annotated[PartHint, Kind("components.types.training.Loss")], True),
        "d": Parameter(DurationHint, False, 0.1),
        "e": Parameter(Literal["x"] | float, False, UNKNOWN),
        "f": Parameter(Any, False, 1),
    }


def test_a_class_may_inherit_from_a_name_of_a_star_import(package: Any) -> None:
    package(
        base="import flax.linen as nn\nfrom flax.linen import *\n",
        part="from .base import *\nclass Net(nn.Module):\n    a: int\nclass Other(Module):\n    b: int\n",
    )
    for name, parameter in (("Net", "a"), ("Other", "b")):
        signature = read_signature(f"mine.part.{name}")
        assert signature is not None
        assert signature[parameter] == Parameter(int, True)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.system", "os.system is not in an allowed package"),
        ("adam", "adam is not a dotted name"),
        ("runner.signature.build.build", "not in an allowed package"),
        ("components.data.os.system", "there is no module components.data.os"),
        ("components.optimizer.math", "components.optimizer.math is a module, not a part"),
        ("components.optimiser.adam", "there is no module components.optimiser"),
        ("components.layer", "components.layer is a module, not a part"),
        ("components.lay.Dense", "Did you mean layer?"),
        ("optax.nadm", "optax has no nadm. Did you mean nadam?"),
        (
            "components.loss.X",
            "has no X. Allowed: BinaryCrossEntropy, BinaryFocal, CORAL, CategoricalHinge, ",
        ),
        ("flax.linen.tanh", "jax.numpy.tanh is not in an allowed package"),
        ("mine.f", "there is no package mine"),
        ("components.data.idx.Path", "pathlib.Path is not in an allowed package"),
    ],
)
def test_a_target_that_does_not_exist_or_is_not_allowed_is_an_error(
    target: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITRATE_ALLOW", "mine")
    with pytest.raises(PartNotFoundError, match=message):
        read_signature(target)


def test_a_syntax_error_in_a_module_is_reported_with_its_line(package: Any) -> None:
    package(part="x = 1\ndef f(:\n")
    with pytest.raises(PartNotFoundError, match=r"part\.py, line 2"):
        read_signature("mine.part.f")


def targets() -> list[str]:
    files = [path for options in find_options().files.values() for path in options.values()]
    trees = [yaml.safe_load(path.read_text()) for path in files]
    return sorted({node["_target_"] for tree in trees for _, node in iterate_parts(tree)})


@pytest.mark.parametrize("target", [*targets(), "flax.linen.Dense", "flax.linen.BatchNorm", "optax.lion"])
def test_signatures_of_all_targets_in_conf_match_those_of_python(target: str) -> None:
    found = read_signature(target)
    seen = dict(inspect.signature(import_target(target)).parameters)
    for flax in ("parent", "name") if "parent" in seen else ():
        del seen[flax]
    assert found is not None
    rest = {name for name, one in seen.items() if one.kind is inspect.Parameter.VAR_KEYWORD}
    assert {name: one.required for name, one in found.items()} == {
        REST if name in rest else name: one.default is inspect.Parameter.empty and name not in rest
        for name, one in seen.items()
    }


def test_the_fields_of_the_settings_are_read() -> None:
    assert read_settings_fields("Settings")["learning_rate"].hint == Annotated[ScalarHint, Range(0)]
    assert read_settings_fields("TrainingSettings")["on_nan"].hint == Literal["stop", "continue"]


@pytest.mark.parametrize(
    ("target", "name", "default"),
    [
        ("components.layer.Dense", "features", UNKNOWN),
        ("components.architecture.SEResNet18", "depths", [2, 2, 2, 2]),
        ("components.data.Csv", "delimiter", ","),
        ("components.data.Idx", "max_unpacked_gb", 2.0),  # a constant of another module
        ("components.architecture.MobileNetV1", "stages", UNKNOWN),
        ("components.loss.SoftmaxCrossEntropy", "label_smoothing", None),
        ("optax.adam", "b1", 0.9),
    ],
)
def test_a_default_is_read_if_it_is_a_literal(target: str, name: str, default: object) -> None:
    assert (read_signature(target) or {})[name].default == default
