"""Initial weights of a finished run: which parameters get them, and the errors for those that don't fit."""

from typing import Any

import numpy as np
import pytest

from components.pretrained import LSUV, Joined, Random, Run
from components.types import ParameterRows, UserError

LAYERS = {"dense_0": (4, 3), "dense_1": (3, 3)}


def make_tree(head: int, layers: dict[str, tuple[int, int]] = LAYERS) -> dict[str, Any]:
    random = np.random.default_rng(0)
    shapes = layers | {"head": (3, head)}
    return {name: {"kernel": random.normal(size=shape), "bias": np.ones(shape[1])} for name, shape in shapes.items()}


SIAMESE = {"tower": make_tree(2) | {"norm": {"scale": np.ones(3)}}, "head": make_tree(1)["head"]}
del SIAMESE["tower"]["head"]
OF_RUN = {"params": SIAMESE, "batch_stats": {"tower": {"norm": {"mean": np.zeros(3)}}}}


def in_model(variables: dict[str, Any], **columns: Any) -> dict[str, Any]:
    """The variables of a model with an architecture and columns."""
    tree = {name: {"architecture": tree} for name, tree in variables.items()}
    return tree | {"params": tree["params"] | columns}


def load(run: str) -> dict[str, Any]:
    return in_model(OF_RUN)


def take(shapes: Any, **options: Any) -> Any:
    taken = Run(run="x", **options).bind(load)(None, in_model(shapes))
    return {name: tree["architecture"] for name, tree in taken.items()}


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


@pytest.mark.parametrize(("into", "takes"), [(None, {"architecture", "columns_town"}), ("body", {"architecture"})])
def test_columns_come_with_a_network_but_not_with_a_module_of_it(into: str | None, takes: set[str]) -> None:
    town = {"embedding": np.ones((3, 2))}
    body = {"dense_0": make_tree(2)["dense_0"]}
    run = Run(run="x", into=into).bind(lambda run: in_model({"params": body}, columns_town=town))
    own = {"params": {"body": body, "head": {"bias": np.zeros(2)}} if into else body}
    assert run(None, in_model(own, columns_town=town))["params"].keys() == takes


def test_rows_of_another_shape_and_weights_that_are_not_finite_are_errors() -> None:
    own = {"params": {"dense_0": make_tree(2)["dense_0"]}}
    rows = ParameterRows(np.array([1]), np.ones((1, 4)), 3)
    run = Run(run="x").bind(lambda run: in_model(own, columns_town={"embedding": rows}))
    message = r"Other shapes: columns_town/embedding \(3, 4\) in the run, \(3, 2\) in this network"
    with pytest.raises(UserError, match=message):
        run(None, in_model(own, columns_town={"embedding": np.ones((3, 2))}))
    broken = {"params": {"dense_0": {"kernel": np.full((4, 3), np.nan), "bias": np.array([1, np.inf, 1])}}}
    run = Run(run="x").bind(lambda run: in_model(broken))
    message = "run: dense_0/bias, dense_0/kernel in the run has NaN or infinite values"
    with pytest.raises(UserError, match=message):
        run(None, in_model(own))


def test_other_weights_have_another_fingerprint() -> None:
    first, same = (Run(run=run).bind(load).fingerprint() for run in ("x", "y"))
    other = OF_RUN | {"params": SIAMESE | {"head": make_tree(1)["dense_0"]}}
    assert first == same != Run(run="x").bind(lambda run: in_model(other)).fingerprint()


BODY, NEW_HEAD = make_tree(2), make_tree(2, {})
RUNS = {"body": BODY, "head": NEW_HEAD, "deep head": make_tree(2, {"dense_0": (3, 3)})}


def join(**sources: Any) -> Any:
    joined = Joined(sources=sources).bind(lambda run: in_model({"params": RUNS[run]}))
    return joined(None, in_model({"params": make_tree(2)}))["params"]["architecture"]


def test_a_body_and_a_head_of_two_runs_are_joined() -> None:
    joined = join(body=Run(run="body", skip=("head",)), head=Run(run="head", into="head"))
    assert joined == BODY | {"head": NEW_HEAD["head"]}
    assert join(body=Run(run="body", paths=("architecture/dense_*",)), other=Random()).keys() == LAYERS.keys()
    assert join(body=Run(run="body", skip=("head",))).keys() == LAYERS.keys()


class Table:
    """Weights of the architecture alone, as from a file."""

    def fingerprint(self) -> str:
        return "table"

    def __call__(self, architecture: Any, shapes: Any) -> Any:
        return {
            "params": {"dense_0": {name: np.zeros(leaf.shape) for name, leaf in shapes["params"]["dense_0"].items()}}
        }


def test_a_file_gives_weights_of_the_architecture() -> None:
    joined = join(file=Table(), body=Run(run="body", skip=("dense_0",)))
    assert joined == BODY | {"dense_0": {"kernel": pytest.approx(np.zeros((4, 3))), "bias": pytest.approx(np.zeros(3))}}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({}, "sources: is empty"),
        ({"all": LSUV()}, "sources.all: LSUV computes weights from a batch"),
        (
            {"a": Run(run="body"), "b": Run(run="head", into="head")},
            "sources: a and b both give architecture/head/bias, architecture/head/kernel",
        ),
        ({"b": Run(run="head", into="head")}, "sources: none gives architecture/dense_0/bias, .*dense_1/kernel. Add"),
        ({"b": Run(run="deep head", into="head")}, "sources.b: .* Missing in the run: bias, kernel"),
        ({"b": Run(run="head", into="hed")}, "sources.b.into: this network has no module hed. Did you mean head"),
    ],
)
def test_sources_that_cannot_be_joined_are_an_error(sources: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        join(**sources)
