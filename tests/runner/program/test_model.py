"""The model: columns are joined into inputs, and errors name the column, the input or the target at fault."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import runner
from components.types import MultiHot, Output, Padded, UserError
from runner.program.join_columns import MAX_DENSE_SIZE, as_dense, join_columns
from runner.program.model import sparse_inputs
from runner.program.returns import check_output


def multi_hot(ids: list[list[int]], size: int, weights: Any = 1.0) -> MultiHot:
    array = jnp.array(ids, jnp.int32)
    return MultiHot(array, jnp.broadcast_to(jnp.asarray(weights, jnp.float32), array.shape), size)


def padded(lengths: list[int], longest: int, width: int, value: float) -> Padded:
    mask = jnp.arange(longest)[None] < jnp.array(lengths)[:, None]
    return Padded(jnp.full((len(lengths), longest, width), value), mask)


def test_ids_out_of_range_count_for_nothing_and_the_weights_of_equal_ids_are_added() -> None:
    dense = as_dense(multi_hot([[0, 2, 2], [-1, 3, 1]], 3, [1.0, 2.0, 0.5]))
    np.testing.assert_array_equal(dense, [[1, 0, 2.5], [0, 0.5, 0]])
    np.testing.assert_array_equal(as_dense(multi_hot([[1], [-5], [3]], 3)), [[0, 1, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("size", [4, MAX_DENSE_SIZE + 1])
def test_joining_sparse_and_dense_columns_equals_joining_dense_ones(size: int) -> None:
    parts = [jnp.arange(4.0).reshape(2, 2), multi_hot([[3, 0], [1, -1]], size), multi_hot([[size], [2]], 3)]
    joined = join_columns(parts)
    assert isinstance(joined, MultiHot) == (size > MAX_DENSE_SIZE)
    np.testing.assert_array_equal(as_dense(joined), np.concatenate([as_dense(part) for part in parts], axis=1))


def test_joined_sparse_columns_stay_sparse() -> None:
    parts = [multi_hot([[3, 0], [1, -1]], 4), multi_hot([[3], [2]], 3)]
    joined = join_columns(parts)
    assert isinstance(joined, MultiHot)
    np.testing.assert_array_equal(as_dense(joined), np.concatenate([as_dense(part) for part in parts], axis=1))


def test_joined_sequences_are_padded_to_the_longest() -> None:
    joined = join_columns([padded([3, 0], 4, 1, 7.0), padded([5, 1], 6, 2, 9.0)])
    assert joined.values.shape == (2, 6, 3)
    assert joined.mask.sum(axis=1).tolist() == [5, 1]
    assert joined.values.sum(axis=(0, 1)).tolist() == [21, 54, 54]


@pytest.mark.parametrize(
    ("arrays", "shape"),
    [
        ([jnp.zeros((2, 3)), jnp.zeros((2, 3, 4, 1))], r"\(2, 3, 4, 1\)"),
        ([multi_hot([[1]], 3), padded([1], 4, 2, 0.0)], r"\(1, 4, 2\)"),
        ([jnp.zeros(2), jnp.zeros((2, 3))], r"\(2,\)"),
    ],
)
def test_columns_of_other_shapes_cannot_be_joined(arrays: list[Any], shape: str) -> None:
    with pytest.raises(UserError, match=f"^column `second` has the shape {shape}" if "4" in shape else shape):
        join_columns(arrays, ["first", "second"])


def test_an_input_annotated_with_multi_hot_is_sparse() -> None:
    class Mine(nn.Module):
        def __call__(self, a: jax.Array, b: "jax.Array | MultiHot", c: "MultiHotel", *, train: bool) -> None: ...  # noqa: F821

    assert sparse_inputs(Mine()) == {"b"}


class Network:
    """The type of an architecture, whose name a message has."""


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (5, 16, 12, 2),
            r"has 16 x 12 pixels, but the target 24 x 24\. .*set feature\.target\.size=\[16,12\], or .*24,24",
        ),
        ((5, 24, 12, 2), "24 x 12 pixels"),
        ((5, 24, 24, 3), r"returns float32 \(5, 24, 24, 3\)\. It must return"),
        ((5, 16, 12, 3), "It must return `outputs` numbers"),
        ((5, 2), "It must return `outputs` numbers"),
    ],
)
def test_logits_of_another_height_or_width_than_the_masks_name_the_sizes_to_set(
    shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_output(Output(jnp.zeros(shape)), Network(), {"target": (24, 24, 2)}, 5)
    check_output(Output(jnp.zeros((5, 24, 24, 2))), Network(), {"target": (24, 24, 2)}, 5)


BROKEN = """
from dataclasses import dataclass
from components.feature import Numeric
from components.types import UserError

@dataclass(frozen=True, kw_only=True)
class Broken(Numeric):
    def layer(self, static):
        def fail(encoded, constants):
            raise UserError("no numbers at all")
        return fail
"""
IMAGE = "components.feature.Image, key: image"
NUMBER = "components.feature.Numeric, key: x"
CONV = "{_target_: components.layer.Conv, features: 2, kernel: 1}"
LABEL = "components.feature.Label, key: mask"


@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize(
    ("target", "columns", "words", "message"),
    [
        (
            LABEL,
            {"image": f"{IMAGE}, size: [8, 6]", "x": NUMBER},
            [],
            "feature.inputs.inputs: column `image` has the shape (16, 8, 6, 3). Columns that share an input must be",
        ),
        (
            LABEL,
            {"image": f"{IMAGE}, size: [8, 6]"},
            ["architecture=sequential", f"architecture.layers=[{CONV}]", "architecture.head=conv"],
            "feature.target: Sequential: `logits` has 8 x 6 pixels, but the target 4 x 4. If the network keeps the "
            "size of images, set feature.target.size=[8,6], or",
        ),
        (NUMBER, {"x": "own.Broken, key: x"}, [], "feature.columns.x: no numbers at all"),
    ],
)
def test_errors_in_the_model_have_the_origin_of_their_column_or_target(
    target: str, columns: dict[str, str], words: list[str], message: str, write_module: Callable[[str, str], None]
) -> None:
    write_module("own", BROKEN)
    listed = "".join(f"  {name}: {{_target_: {text}}}\n" for name, text in columns.items())
    inputs = f"inputs: {{inputs: [{', '.join(columns)}]}}"
    Path("conf/feature").mkdir(parents=True)
    Path("conf/feature/own.yaml").write_text(f"# Own.\ntarget: {{_target_: {target}}}\ncolumns:\n{listed}{inputs}\n")
    arrays = {"image": np.zeros((40, 4, 4, 3), np.uint8), "mask": np.indices((40, 4, 4)).sum(axis=0) % 2}
    loss = ["loss=mse", "metric=[rmse]"] if target == NUMBER else []
    quick = ["tracking=none", "quiet=true", "training.batch_size=16", *loss]
    with pytest.raises(UserError) as caught:
        runner.run("feature=own", "architecture=mlp", *words, *quick, data=arrays | {"x": np.arange(40.0)})
    assert str(caught.value).startswith(message)
