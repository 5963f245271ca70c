"""Initial weights of a finished run: which parameters get them, and the errors for those that don't fit."""

from typing import Any

import numpy as np
import pytest

from components.pretrained import Run
from components.types import UserError

LAYERS = {"dense_0": (4, 3), "dense_1": (3, 3)}


def make_tree(head: int, layers: dict[str, tuple[int, int]] = LAYERS) -> dict[str, Any]:
    random = np.random.default_rng(0)
    shapes = layers | {"head": (3, head)}
    return {name: {"kernel": random.normal(size=shape), "bias": np.ones(shape[1])} for name, shape in shapes.items()}


SIAMESE = {"tower": make_tree(2) | {"norm": {"scale": np.ones(3)}}, "head": make_tree(1)["head"]}
del SIAMESE["tower"]["head"]
OF_RUN = {"params": SIAMESE, "batch_stats": {"tower": {"norm": {"mean": np.zeros(3)}}}}


def take(shapes: Any, **options: Any) -> Any:
    return Run(run="x", **options).bind(OF_RUN)(None, shapes)


def test_a_module_of_the_run_becomes_the_network_but_for_what_is_skipped() -> None:
    own = {"params": make_tree(10) | {"norm": {"scale": np.zeros(3)}}, "batch_stats": {"norm": {"mean": np.zeros(3)}}}
    taken = take(own, module="tower", skip=("head",))
    assert taken == {
        "params": SIAMESE["tower"],
        "batch_stats": {"norm": {"mean": OF_RUN["batch_stats"]["tower"]["norm"]["mean"]}},
    }


def test_a_module_of_the_run_becomes_a_module_of_the_network() -> None:
    own = {"params": {"body": make_tree(3), "head": {"kernel": np.zeros((3, 3))}}}
    taken = take(own, module="tower", into="body", skip=("head", "norm"))
    assert taken == {"params": {"body": {name: SIAMESE["tower"][name] for name in LAYERS}}}


def test_parameters_that_the_run_or_the_network_lacks_and_other_shapes_are_listed() -> None:
    own = {"params": make_tree(10, {"dense_0": (5, 3), "dense_1": (3, 3), "dense_2": (3, 3)})}
    with pytest.raises(UserError) as raised:
        take(own, module="tower", skip=("norm",))
    assert str(raised.value) == (
        "the weights of the run don't fit the network. Missing in the run: dense_2/bias, dense_2/kernel, head/bias, "
        "head/kernel. Other shapes: dense_0/kernel (4, 3) in the run, (5, 3) in this network. `skip` leaves parameters "
        "out."
    )


def test_the_module_that_fits_best_and_a_new_head_are_suggested() -> None:
    with pytest.raises(UserError, match=r"With `module=tower`, 4 of 4 parameters fit\."):
        take({"params": {name: layer for name, layer in make_tree(2).items() if name != "head"}})
    siamese = SIAMESE | {"head": make_tree(4)["head"]}
    with pytest.raises(UserError, match=r"head/kernel \(3, 1\) in the run, .* set `skip=\[head\]`"):
        take({"params": siamese, "batch_stats": {"tower": {"norm": {"mean": np.zeros(3)}}}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module": "towe"}, "the run's network has no module towe. Did you mean tower"),
        ({"into": "body"}, "this network has no module body. Modules: dense_0, dense_1, head"),
        ({"skip": ("had",)}, "no parameter matches the pattern had. Did you mean head"),
        ({"module": "tower", "skip": ("**",)}, r"\*\* leaves out all parameters"),
    ],
)
def test_a_wrong_module_or_pattern_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        take({"params": make_tree(2)}, **options)


def test_other_weights_have_another_fingerprint() -> None:
    first, same = (Run(run=run).bind(OF_RUN).fingerprint() for run in ("x", "y"))
    other = OF_RUN | {"params": SIAMESE | {"head": make_tree(1)["dense_0"]}}
    assert first == same != Run(run="x").bind(other).fingerprint()
