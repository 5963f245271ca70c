"""Which values become numbers of the program and which stay static."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.config.compose import compose
from runner.config.scalars import split_scalars
from runner.signature.build import ScalarSlot

PART = """
from typing import Annotated
from components.types import Range, Scalar

def part(
    rate: Annotated[Scalar, Range(0)] | None = None,
    shares: tuple[Scalar, ...] = (),
    table: dict[str, Scalar] | None = None,
    either: int | Scalar = 0,
    static: float = 0.0,
    inner=None,
): pass
"""


@pytest.fixture
def loss(write_module: Callable[[str, str], None]) -> Any:
    """Collects the numbers of a loss of the working folder's own."""
    write_module("mine", PART)
    Path("conf/loss").mkdir(parents=True)
    Path("conf/loss/mine.yaml").write_text("_target_: mine.part")

    def collected(*settings: str) -> tuple[dict[str, Any], dict[str, float]]:
        static, numbers = split_scalars(compose(["loss=mine", *settings]))
        return static["loss"], numbers

    return collected


def test_the_annotation_decides_and_not_the_spelling(loss: Any) -> None:
    static, numbers = loss("loss.rate=1", "loss.static=0.5", "loss.either=3")
    assert static["rate"] == ScalarSlot("loss.rate")
    assert static["either"] == ScalarSlot("loss.either")
    assert static["static"] == 0.5
    assert numbers["loss.rate"] == 1.0
    assert isinstance(numbers["loss.rate"], float)
    assert "loss.static" not in numbers


def test_null_is_static(loss: Any) -> None:
    static, numbers = loss("loss.rate=null")
    assert static["rate"] is None
    assert "loss.rate" not in numbers


def test_elements_of_lists_and_mappings_have_their_own_names(loss: Any) -> None:
    static, numbers = loss("loss.shares=[0.5,1]", "loss.table={a: 2}", "loss.inner={_target_: mine.part, rate: 3}")
    assert static["shares"] == [ScalarSlot("loss.shares.0"), ScalarSlot("loss.shares.1")]
    assert static["table"] == {"a": ScalarSlot("loss.table.a")}
    assert static["inner"]["rate"] == ScalarSlot("loss.inner.rate")
    assert {k: v for k, v in numbers.items() if k.startswith("loss.")} == {
        "loss.shares.0": 0.5,
        "loss.shares.1": 1.0,
        "loss.table.a": 2.0,
        "loss.inner.rate": 3.0,
    }


def test_references_share_one_number(loss: Any) -> None:
    static, numbers = loss("loss.rate=${learning_rate}", "loss.shares=[0.5,'${loss.rate}']", "learning_rate=0.25")
    assert static["rate"] == ScalarSlot("learning_rate")
    assert static["shares"] == [ScalarSlot("loss.shares.0"), ScalarSlot("learning_rate")]
    assert numbers == {"learning_rate": 0.25, "loss.shares.0": 0.5}


def test_names_go_through_references_to_whole_parts(loss: Any) -> None:
    static, _ = loss("loss.rate=1", "loss.inner=${loss.table}", "loss.table={a: 2}")
    assert static["inner"] == {"a": 2}, "nothing says that `inner` takes numbers"
    static, _ = loss("loss.table=${loss.inner}", "loss.inner={a: 2}")
    assert static["table"] == {"a": ScalarSlot("loss.inner.a")}


def test_the_seed_is_not_a_scalar(loss: Any) -> None:
    static, numbers = loss("loss.rate=${seed}", "seed=7")
    assert static["rate"] == 7
    assert "seed" not in numbers


def test_the_scalars_of_a_default_run() -> None:
    static, numbers = split_scalars(compose(["experiment=digits_cnn", "optimizer.b1=0.8"]))
    assert static["learning_rate"] == static["schedule"]["learning_rate"] == ScalarSlot("learning_rate")
    assert static["architecture"]["layers"][4]["rate"] == ScalarSlot("architecture.layers.4.rate")
    assert static["optimizer"] == {"_target_": "optax.nadam", "b1": ScalarSlot("optimizer.b1")}
    assert static["seed"] == 0
    assert numbers["optimizer.b1"] == 0.8
