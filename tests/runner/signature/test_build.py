"""Building parts from plain values: the arguments of calls, and targets that are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax
import pytest

from components.loss import Huber
from components.types import UserError
from runner.config.config import Config
from runner.execution.execute import execute
from runner.signature.build import ScalarSlot, build, import_target


@pytest.fixture
def my_parts(write_module: Callable[[str, str], None]) -> None:
    """An allowed module of the user with unreadable signatures and with functions of other packages."""
    write_module(
        "opaque_parts",
        "import functools, os\n"
        "from os import system as run\n"
        "from components.data import write_idx\n"
        "listing = functools.partial(os.system, 'ls')\n"
        "class Ones:\n"
        "    def __call__(self, key, shape, dtype=None): return 1\n"
        "def anything(**given):\n"
        "    raise TypeError(f'no {given}')\n"
        "class Plain: pass\n"
        "class Narrow:\n"
        "    def __init__(self, *, width): self.width = width\n",
    )


def test_numbers_lists_and_nested_parts_are_built() -> None:
    node = {"_target_": "components.loss.Huber", "delta": ScalarSlot("loss.delta")}
    assert build({"losses": [node, None, "a"]}, {"loss.delta": 2.5}) == {"losses": (Huber(2.5), None, "a")}


def test_arguments_of_the_runner_override_the_tree() -> None:
    node = {"_target_": "components.loss.Huber", "delta": 1.0}
    assert build(node, {}, delta=3.0) == Huber(3.0)


@pytest.mark.parametrize("target", ["optax.nadam", "jax.nn.relu", "components.loss.Huber", "runner.tracking.MLflow"])
def test_parts_may_be_defined_in_private_modules_of_their_package(target: str) -> None:
    assert callable(import_target(target))
    assert import_target("optax.nadam") is optax.nadam
    assert import_target("jax.nn.relu") is jax.nn.relu


@pytest.mark.usefixtures("my_parts")
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("os.system", "not in an allowed package"),
        ("builtins.eval", "not in an allowed package"),
        ("components.data.os.system", "can't be imported"),
        ("components.data.scikit_learn.version", "is not a part: it is defined in `importlib.metadata`"),
        ("opaque_parts.run", "is not a part: it is defined in `posix`"),
        ("opaque_parts.listing", "is not a part: it is defined in `posix`"),
        ("opaque_parts.nothing", "can't be imported"),
        ("runner.execution.execute.execute", "not in an allowed package"),
    ],
)
def test_objects_of_other_packages_are_errors(target: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        import_target(target)


@pytest.mark.usefixtures("my_parts")
def test_a_failed_call_names_the_target_and_its_arguments() -> None:
    with pytest.raises(UserError, match=r"`opaque_parts.Narrow` has no parameter widht. Did you mean width\?"):
        build({"_target_": "opaque_parts.Narrow", "widht": 3}, {})
    with pytest.raises(TypeError, match=r"no \{'a': 1\}"):  # an error inside the part is the part's own
        build({"_target_": "opaque_parts.anything", "a": 1}, {})


@pytest.mark.usefixtures("my_parts")
def test_the_user_s_part_in_another_part_needs_the_methods_of_the_annotated_class() -> None:
    def dense(name: str) -> Any:
        return build({"_target_": "components.layer.Dense", "features": 3, "initializer": {"_target_": name}}, {})

    assert dense("opaque_parts.Ones").initializer("key", (2, 3)) == 1
    with pytest.raises(UserError, match=r"^initializer: `opaque_parts.Narrow` can't be called with no arguments"):
        dense("opaque_parts.Narrow")
    with pytest.raises(
        UserError, match=r"^initializer: `opaque_parts.Plain` has no `__call__`. To be a Normal, it needs"
    ):
        dense("opaque_parts.Plain")


@pytest.mark.usefixtures("my_parts")
def test_a_function_that_a_module_of_the_user_imports_is_not_a_part() -> None:
    with pytest.raises(UserError, match=r"^opaque_parts.write_idx is not a part"):
        build({"_target_": "opaque_parts.write_idx", "path": "here", "array": 1}, {})


@pytest.mark.usefixtures("my_parts", "in_empty_folder")
def test_a_problem_found_while_building_has_a_key_and_an_origin(compose_and_check: Config) -> None:
    with pytest.raises(
        UserError,
        match=r"^loss: hinge needs .* \[set by conf/loss/hinge\.yaml, chosen by loss=hinge\]$",
    ):
        execute(compose_and_check)
    assert not Path("outputs").exists()


@pytest.fixture
def compose_and_check() -> Config:
    """A configuration that passes the check, though the loss needs another target."""
    from runner.config.check import check_config
    from runner.config.compose import compose

    config = compose(["loss=hinge", "tracking=none", "quiet=true"])
    check_config(config)
    return config
