"""Columns with equal layers are computed as one: with the parameters and results that each has by itself."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from components.data import Arrays
from components.feature import Embedding, Identity, Indicator, Label, Numeric, Vocabulary
from components.feature.normalizer import ZScore
from components.types import MultiHot, Output, UserError
from runner.data.batches import Batches, gather_rows
from runner.data.encode import is_input_column
from runner.data.load import Data, Features, load_encoded
from runner.data.stacked_columns import StackedColumns, stack_columns
from runner.program import join_columns as join_columns_module
from runner.program.column_groups import find_kinds, list_numbers, separate_columns
from runner.program.model import Model, sparse_inputs

ROWS = 6
KINDS: Mapping[str, Any] = {
    "numbers": lambda key: {key: Numeric(key=key, normalize=ZScore())},
    "gaps": lambda key: {key: Numeric(key=f"{key}_gaps", normalize=ZScore(), missing="mean", indicate_missing=True)},
    "ids": lambda key: {key: Identity(key=f"{key}_id", buckets=4)},
    "other ids": lambda key: {key: Vocabulary(key=f"{key}_id", values=(0, 2, 3), oov=2)},
    "many ids": lambda key: {key: Identity(key=f"{key}_ids", buckets=3)},
    "large ids": lambda key: {key: Identity(key=f"{key}_id", buckets=5000)},
    "embedding": lambda key: {
        f"{key}_": Identity(key=f"{key}_id", buckets=4),
        key: Embedding(key=f"{key}_", dimension=2),
    },
    "fixed": lambda key: {
        f"{key}_": Identity(key=f"{key}_ids", buckets=3),
        key: Embedding(key=f"{key}_", dimension=3, trainable=False, max_norm=0.5, combiner="sqrtn"),
    },
    "sequences": lambda key: {
        f"{key}_": Identity(key=f"{key}_ids", buckets=3),
        key: Indicator(key=f"{key}_", sequence=True),
    },
}


class Dense(nn.Module):
    """A network that returns its input as features."""

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array | None = None, *, train: bool) -> Output:
        return Output(None, features={"x": x} | ({} if y is None else {"y": y}))


class Sparse(nn.Module):
    """The same for sparse inputs."""

    @nn.compact
    def __call__(self, x: "jax.Array | MultiHot", y: "jax.Array | MultiHot | None" = None, *, train: bool) -> Output:
        return Output(None, features={"x": x} | ({} if y is None else {"y": y}))


def load(kinds: list[str], *inputs: list[int]) -> tuple[Features, Data]:
    """A feature column of each kind, in inputs that list their numbers, and the encoded rows."""
    random, raw, columns = np.random.default_rng(0), {"label": np.arange(ROWS) % 2}, {}
    for number, kind in enumerate(kinds):
        key = f"c{number}"
        raw |= {key: random.normal(size=ROWS), f"{key}_gaps": random.normal(size=ROWS)}
        raw[f"{key}_gaps"][number % ROWS] = np.nan
        raw |= {f"{key}_id": random.integers(0, 4, ROWS), f"{key}_ids": random.integers(-1, 3, (ROWS, 2))}
        columns |= KINDS[kind](key)
    names = {name: tuple(f"c{number}" for number in listed) for name, listed in zip("xy", inputs, strict=False)}
    features = Features({"target": Label(key="label")}, columns, names)
    source = Arrays(columns=raw, valid=1, test=1, seed=None)
    return features, load_encoded(source, features, identity="", cache=None)


def run_model(features: Features, data: Data, *, stacked: bool, architecture: nn.Module) -> Any:
    """The initial variables of a model, what its architecture gets, and the gradient of the sum of the squares."""
    names = [name for name in data.encoded if is_input_column(name)]
    layers = {name: features.columns[name].layer(data.constants[name].static) for name in names}
    model = Model(layers, features.inputs, sparse_inputs(architecture), {}, architecture)
    encoded: Any = gather_rows({name: data.encoded[name] for name in names}, np.arange(ROWS))
    constants: Any = {name: dict(data.constants[name].device) for name in names}
    if stacked:
        kinds = find_kinds(layers)
        encoded, constants = stack_columns(encoded, 1, kinds), stack_columns(constants, 0, kinds, list_numbers(layers))

    @jax.jit
    def initialize(seed: Any, encoded: Any, constants: Any) -> Any:
        return model.init({"params": jax.random.key(seed)}, encoded, constants, train=True)

    @jax.jit
    def run(variables: Any, encoded: Any, constants: Any) -> Any:
        def objective(parameters: Any) -> Any:
            applied = model.apply({**variables, "params": parameters}, encoded, constants, train=True)
            inputs: Any = applied[0].inputs
            leaves = [leaf for leaf in jax.tree.leaves(inputs) if leaf.dtype == jnp.float32]
            return sum(jnp.square(leaf).sum() for leaf in leaves), inputs

        parameters = variables.get("params", {})
        gradients, inputs = jax.grad(objective, has_aux=True)(parameters)
        first = dict([*parameters.items()][:1])  # the others are frozen
        alone, _ = jax.grad(lambda free: objective({**parameters, **free}), has_aux=True)(first)
        return variables, inputs, (gradients, alone)

    return run(initialize(np.uint32(3), encoded, constants), encoded, constants)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
@settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    st.lists(st.sampled_from([kind for kind in KINDS if kind != "sequences"]), min_size=2, max_size=7),
    st.booleans(),
    st.data(),
)
@pytest.mark.slow
def test_columns_computed_as_one_equal_columns_computed_by_themselves(
    kinds: list[str], sparse: bool, data: st.DataObject
) -> None:
    numbers = st.lists(st.sampled_from(range(len(kinds))), min_size=1)
    inputs = [data.draw(st.permutations(range(len(kinds)))), data.draw(numbers)]
    features, loaded = load(kinds, *inputs)
    architecture: nn.Module = Sparse() if sparse else Dense()
    with separate_columns():
        variables, expected, gradients = run_model(features, loaded, stacked=False, architecture=architecture)
    for stacked in (False, True):
        found = run_model(features, loaded, stacked=stacked, architecture=architecture)
        jax.tree.map(np.testing.assert_array_equal, found[0], variables)
        assert jax.tree.structure(found[1]) == jax.tree.structure(expected)
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, 1e-6, 1e-7), found[1:], (expected, gradients)
        )


def test_a_wide_table_has_the_program_of_a_narrow_one() -> None:
    def count(kind: str, columns: int) -> tuple[int, int]:
        features, data = load([kind] * columns, [*range(columns)])
        names = [name for name in data.encoded if is_input_column(name)]
        layers = {name: features.columns[name].layer(data.constants[name].static) for name in names}
        model = Model(layers, features.inputs, frozenset(), {}, Dense())
        kinds = find_kinds(layers)
        encoded = stack_columns(gather_rows({name: data.encoded[name] for name in names}, np.arange(ROWS)), 1, kinds)
        constants = stack_columns({name: dict(data.constants[name].device) for name in names}, 0, kinds)
        jaxpr = jax.make_jaxpr(lambda *each: model.apply({}, *each, train=False))(encoded, constants).jaxpr
        return len(jaxpr.eqns), len(jaxpr.invars)

    for kind in ("numbers", "gaps", "ids", "many ids", "large ids"):
        assert count(kind, 3) == count(kind, 7)


def test_large_embeddings_are_computed_by_themselves() -> None:
    layers = {
        name: Embedding(key=name, dimension=16).layer({"buckets": buckets})
        for name, buckets in {"a": 4096, "b": 4096, "c": 4097, "d": 4097}.items()
    }
    assert sorted(find_kinds(layers)) == ["a", "b"]
    assert list_numbers(layers) == (0, 1)
    assert list_numbers({name: layers[name] for name in "acd"}) == ()


def test_streamed_batches_are_stacked_as_those_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["numbers", "numbers", "many ids", "numbers", "many ids", "ids"]
    features, data = load(kinds, [*range(len(kinds))])
    found = find_kinds(
        {name: features.columns[name].layer(data.constants[name].static) for name in features.inputs["x"]}
    )
    chunks = []
    for size in (2**31, 0):
        monkeypatch.setattr("runner.data.batches.MAX_DEVICE_BYTES", size)
        chunk = next(iter(Batches(data, found).chunks(np.array([4, 0, 1, 5]), 2, 2)))
        chunks.append(jax.tree.map(lambda leaf, rows=chunk.rows: np.asarray(leaf)[rows], chunk.data))
    assert sorted(map(len, chunks[0].stacks)) == [1, 1, 2, 3]
    assert jax.tree.structure(chunks[0]) == jax.tree.structure(chunks[1])
    jax.tree.map(np.testing.assert_array_equal, *chunks)


def test_sequences_of_equal_layers_stay_columns_of_their_own() -> None:
    features, data = load(["sequences", "sequences"], [1, 0])
    with separate_columns():
        expected = run_model(features, data, stacked=False, architecture=Dense())
    found = run_model(features, data, stacked=True, architecture=Dense())
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    features, data = load(["sequences", "sequences", "ids"], [0, 1, 2])
    with pytest.raises(UserError, match="column `c0` has the shape"):
        run_model(features, data, stacked=True, architecture=Dense())


def test_stacked_columns_are_a_mapping_of_columns() -> None:
    columns = {
        "a": {"ids": np.arange(3)},
        "b": {"ids": np.arange(3) + 10},
        "c": {"ids": np.arange(6).reshape(3, 2)},
        "d": {"ids": np.arange(3) + 20},
        "e": {"ids": np.arange(3) + 30},
    }
    columns["f"] = columns["a"]
    stacked = stack_columns(columns, 1, {**dict.fromkeys("abcd", "one"), "f": "another"})
    assert list(stacked.stacks) == [("a", "b", "d"), ("c",), ("e",), ("f",)]
    jax.tree.map(np.testing.assert_array_equal, dict(stacked), {name: columns[name] for name in stacked})
    assert sorted(stacked) == [*columns]
    for names in (["d", "a"], ["a", "d"], ["b"], ["b", "d"]):
        arrays = stacked.stack(names)
        assert arrays is not None
        np.testing.assert_array_equal(arrays["ids"], np.stack([columns[name]["ids"] for name in names], 1))
    assert stacked.stack(["a", "c"]) is None
    again = jax.tree.map(lambda array: array, stacked)
    assert isinstance(again, StackedColumns)
    assert [*again] == [*stacked]
    assert [*stacked.select(lambda name: name in "abd")] == ["a", "b", "d"]
    shapes = jax.eval_shape(lambda each: each, stacked)
    assert shapes["b"]["ids"].shape == (3,)


@pytest.mark.parametrize("count", [3, 200])
def test_the_order_of_columns_is_restored_under_every_transformation(count: int) -> None:
    keys = [f"{kind}{number}" for number in range(count) for kind in "ab"]
    widths = {f"{kind}{number}": 1 for kind in "ab" for number in range(count)}
    joined = jnp.arange(4.0 * count).reshape(2, -1)
    expected = joined[:, [[*widths].index(key) for key in keys]]

    def arrange(joined: jax.Array) -> jax.Array:
        return join_columns_module._arrange(joined, widths, keys)

    np.testing.assert_array_equal(arrange(joined), expected)
    np.testing.assert_array_equal(jax.vmap(arrange)(joined[None]), expected[None])
    np.testing.assert_array_equal(jax.jvp(arrange, (joined,), (joined,))[1], expected)
    gradient = jax.vmap(jax.grad(lambda joined: (arrange(joined) * expected).sum()))(joined[None])
    np.testing.assert_array_equal(gradient, joined[None])


@pytest.mark.slow
def test_equal_embeddings_have_derivatives_of_every_kind() -> None:
    features, data = load(["embedding"] * 3, [2, 0, 1])
    names = features.inputs["x"]
    layers = {name: features.columns[name].layer(data.constants[name].static) for name in names}
    model, kinds = Model(layers, features.inputs, frozenset(), {}, Dense()), find_kinds(layers)
    encoded = stack_columns(gather_rows({name: data.encoded[name] for name in names}, np.arange(ROWS)), 1, kinds)
    constants: Any = stack_columns({name: {} for name in names}, 0, kinds, list_numbers(layers))
    assert len(constants.numbers) == len(names)
    parameters = jax.jit(model.init, static_argnames="train")(
        {"params": jax.random.key(0)}, encoded, constants, train=True
    )["params"]
    tangent = jax.tree.map(jnp.cos, parameters)

    def derive(numbers: Any) -> Any:
        """All derivatives, with the numbers as inputs of the program."""
        own = StackedColumns(constants.stacks, constants.axis, numbers)

        def objective(parameters: Any) -> Any:
            applied: Any = model.apply({"params": parameters}, encoded, own, train=True)
            return (applied[0].inputs["x"] ** 3).sum()

        def along(direction: Any) -> Any:
            return jax.jvp(objective, (parameters,), (direction,))

        first = next(iter(parameters))
        only_first = {**jax.tree.map(jnp.zeros_like, tangent), first: tangent[first]}
        lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), tangent)
        return {
            "jvp": (along(tangent), along(only_first)),
            "vjp": jax.vjp(objective, parameters)[1](2.0),
            "vmap": (jax.vmap(along)(lanes), jax.vmap(jax.grad(objective))(lanes)),
            "one batched": jax.vmap(lambda own: jax.grad(objective)({**parameters, first: own}))(lanes[first]),
            "hessian-vector products": (
                jax.jvp(jax.grad(objective), (parameters,), (tangent,))[1],
                jax.grad(lambda each: jax.jvp(objective, (each,), (tangent,))[1])(parameters),
            ),
        }

    found = jax.jit(derive)(constants.numbers)
    with separate_columns():
        expected = derive(())
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, 1e-5, 1e-6), found, expected)
    batched_numbers = jax.tree.map(lambda number: np.stack([number, number]), constants.numbers)
    lanes = jax.jit(jax.vmap(derive))(batched_numbers)["vjp"]
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one[1], other, 1e-5, 1e-6), lanes, expected["vjp"])
