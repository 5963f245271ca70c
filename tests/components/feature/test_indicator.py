"""Indicators: counts, presence and tf-idf as in TensorFlow, Keras and TensorFlow Transform; one-hot sequences."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.feature import Numeric
from components.feature.crossed import Crossed
from components.feature.hashed import Hashed
from components.feature.identity import Identity
from components.feature.indicator import Indicator
from components.feature.text.string_ops import to_strings
from components.feature.tokens import Tokens
from components.feature.vocabulary import Vocabulary
from components.feature.weighted import Weighted
from components.types import Block, Constants, Padded, Ragged, UserError
from runner.data.batches import gather_rows
from runner.program.join_columns import as_dense as dense
from runner.program.join_columns import join_columns as side_by_side

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "embedding.json").read_text())

as_dense, join = jax.jit(dense), jax.jit(side_by_side)


def ragged(rows: list[list[Any]], dtype: Any = np.int64) -> Ragged:
    return Ragged(np.array([value for row in rows for value in row], dtype), np.cumsum([0, *map(len, rows)]))


def answers(columns: Mapping[str, Any], **data: Any) -> dict[str, Any]:
    """What columns, parents first, learn from some rows and then give of them on the device; those that can."""
    constants: dict[str, Constants] = {}
    encoded: dict[str, Any] = {}
    found = {}
    for name, column in columns.items():
        parents = {key: next(iter(encoded[key].values())) for key in column.keys if key in encoded}
        seen = Block({**data, **parents})
        results = {key: one.result(one.summarize(seen)) for key, one in column.statistics().items()}
        constants[name] = column.fit(results, constants)
        encoded[name] = column.encode(replace(seen, columns=data), encoded, constants[name])
        if not isinstance(column, Tokens):
            first = next(iter(encoded[name].values()))
            rows = np.arange(len(first.offsets) - 1 if isinstance(first, Ragged) else len(first))
            arrays = gather_rows({name: encoded[name]}, rows)[name]
            found[name] = jax.jit(column.layer(constants[name].static))(arrays, constants[name].device)
    return found


def indicated(ids: Any, weights: Any = None, *, buckets: int = 4, **options: Any) -> Any:
    columns: dict[str, Any] = {"id": Identity(key="raw", buckets=buckets, check=False)}
    if weights is not None:
        columns["weighted"] = Weighted(key="id", weight="weight")
    column = Indicator(key=list(columns)[-1], **options)
    return answers({**columns, "it": column}, raw=ids, weight=weights)["it"]


@pytest.mark.parametrize("form", [np.array, ragged])
def test_counts_and_presence_equal_those_of_keras(form: Any) -> None:
    golden, ids = GOLDEN["keras_category_encoding"], form([[0, 1, 1], [3, 3, 3]])
    np.testing.assert_array_equal(as_dense(indicated(ids)), golden["count"])
    np.testing.assert_array_equal(as_dense(indicated(ids, mode="multi_hot")), golden["multi_hot"])
    weights = np.array([[0.1, 0.2, 0.3], [1, 2, 3]])
    weighted = indicated(ids, weights if form is np.array else ragged(weights.tolist(), np.float64))
    np.testing.assert_allclose(as_dense(weighted), golden["count_weights"], rtol=1e-6)


def test_ids_out_of_range_are_ignored() -> None:
    found = indicated(np.array([[0, 5]]), buckets=3, mode="multi_hot")
    np.testing.assert_array_equal(as_dense(found), GOLDEN["keras_category_encoding"]["out_of_range"]["value"])


def test_weights_are_summed_the_negative_too() -> None:
    golden = GOLDEN["fc_embedding"]
    found = indicated(ragged(golden["ids"]), ragged(golden["weights"], np.float64))
    np.testing.assert_array_equal(as_dense(found), golden["indicator_weighted"])
    np.testing.assert_array_equal(
        as_dense(indicated(np.array([2, -1]), np.array([-3.0, 1.0]))), [[0, 0, -3, 0], [0] * 4]
    )


def test_each_id_occurs_once_per_row() -> None:
    found = indicated(ragged([[3, 1, 3, 3], [], [0]]))
    np.testing.assert_array_equal(found.ids[0, :2], [1, 3])
    np.testing.assert_array_equal(found.weights[0], [1, 3, 0, 0, 0, 0, 0, 0])


def test_a_sequence_has_a_vector_for_each_cell() -> None:
    one_hot = indicated(np.array([[0, 1, 1], [3, 3, 3]]), sequence=True)
    np.testing.assert_array_equal(one_hot.values, GOLDEN["keras_category_encoding"]["one_hot"])
    golden = GOLDEN["fc_sequence"]
    found = indicated(ragged([[0, 1], [2]]), buckets=3, sequence=True)
    assert isinstance(found, Padded)
    np.testing.assert_array_equal(np.asarray(found.values)[:, :2], np.array(golden["dense"])[:, :, :3])
    np.testing.assert_array_equal(found.mask.sum(1), golden["lengths"])
    unknown = indicated(np.array([[0, 7, -1], [-5, 1, 1]]), buckets=2, sequence=True)
    np.testing.assert_array_equal(unknown.mask, [[True, True, False], [True] * 3])  # a gap alone has no place
    np.testing.assert_array_equal(unknown.values.sum(-1), [[1, 0, 0], [0, 1, 1]])


def test_tf_idf_is_that_of_keras() -> None:
    """The fifth text is not among those that were learned from: its weight on unknown words is the mean."""
    keras = GOLDEN["keras_text"]
    columns = {
        "tokens": Tokens(key="text"),
        "words": Vocabulary(key="tokens", oov=1, oov_first=True),
        "it": Indicator(key="words", mode="tf_idf"),
    }
    learned = to_strings(keras["docs"])
    np.testing.assert_allclose(as_dense(answers(columns, text=learned)["it"]), keras["tf_idf"]["out"][:4], rtol=1e-6)
    mean = keras["tf_idf"]["out"][4][0]
    vocabulary = columns["words"]
    counts = vocabulary.statistics()["counts"]
    tokens = columns["tokens"].encode(Block({"text": learned}), {}, Constants())["tokens"]
    parent = vocabulary.fit({"counts": counts.result(counts.summarize(Block({"tokens": tokens})))}, {})
    assert columns["it"].fit({}, {"words": parent}).device["idf"][0] == pytest.approx(mean, rel=1e-6)


def test_counts_and_presence_of_texts_equal_those_of_keras() -> None:
    keras = GOLDEN["keras_text"]
    columns = {"tokens": Tokens(key="text"), "words": Vocabulary(key="tokens", oov=1, oov_first=True)}
    modes = {mode: Indicator(key="words", mode=mode) for mode in ("count", "multi_hot")}
    found = answers({**columns, **modes}, text=to_strings(keras["docs"]))
    for mode in modes:
        np.testing.assert_array_equal(as_dense(found[mode]), keras[mode]["out"][:4])


def test_tf_idf_is_that_of_tensorflow_transform() -> None:
    """The example of tft.tfidf: two texts, and words that are counted, not learned."""
    columns = {
        "tokens": Tokens(key="text", standardize=None),
        "words": Vocabulary(key="tokens", values=("I", "like", "pie", "yum")),
        "it": Indicator(key="words", mode="tf_idf", formula="tft", documents="counted"),
    }
    found = as_dense(answers(columns, text=to_strings(["I like pie pie pie", "yum yum pie"]))["it"])
    expected = [[0.28109303, 0.28109303, 0.6, 0], [0, 0, 0.33333334, 0.9369768]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_empty_cells_count_for_nothing_in_the_tf_idf_of_tensorflow_transform() -> None:
    """What is counted is divided by the cells of the row that hold a value, an unknown one too."""
    columns = {
        "id": Identity(key="raw", buckets=3, check=False),
        "it": Indicator(key="id", mode="tf_idf", formula="tft", documents="counted"),
    }
    found = as_dense(answers(columns, raw=np.array([[2, 2, -1, -1], [2, 1, 9, -1]]))["it"])
    rare = 1 + np.log(3 / 2)
    np.testing.assert_allclose(found, [[0, 0, 1], [0, rare / 3, 1 / 3]], rtol=1e-6)


def test_a_mask_weighs_nothing() -> None:
    columns = {"words": Vocabulary(key="word", mask="pad"), "it": Indicator(key="words", mode="tf_idf")}
    found = as_dense(answers(columns, word=np.array(["pad", "a", "b", "a"]))["it"])
    np.testing.assert_allclose(
        found, [[0] * 3, [0, np.log(7 / 3), 0], [0, 0, np.log(3)], [0, np.log(7 / 3), 0]], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("column", "parents", "message"),
    [
        (Indicator(key="raw"), {}, "indicator of `raw`: `raw` is a raw column; use the name of a feature column"),
        (
            Indicator(key="h", mode="tf_idf"),
            {"h": Constants(static={"buckets": 3})},
            "tf_idf of `h`: it has no document frequencies, .*; set `documents=counted`",
        ),
    ],
)
def test_unsuitable_columns_raise_an_error(column: Indicator, parents: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        column.fit({}, parents)


def test_a_sequence_has_no_tf_idf() -> None:
    with pytest.raises(UserError, match="can't be combined with `sequence`; leave `sequence` out"):
        Indicator(key="id", mode="tf_idf", sequence=True)


def test_columns_side_by_side_are_the_matrix_of_feature_space() -> None:
    golden = GOLDEN["keras_featurespace"]
    columns = {
        "color": Vocabulary(key="raw_color", oov=1, oov_first=True),
        "h": Hashed(key="raw_h", buckets=4),
        "n": Vocabulary(key="raw_n"),
        "zf": Numeric(key="raw_zf", normalize="z_score"),
        "color_X_h": Crossed(keys=("color", "h"), buckets=8),
    }
    found = answers(columns, **{f"raw_{key}": np.array(values) for key, values in golden["data"].items()})
    np.testing.assert_allclose(join([found[name] for name in golden["order"]]), golden["out"], rtol=1e-5)


def test_an_input_has_its_columns_in_the_order_listed() -> None:
    """TensorFlow sorts them by name; so listed, they give what its DenseFeatures does."""
    golden = GOLDEN["fc_order"]
    arrays = {
        "z": jnp.array([[9.0]]),
        "a": jnp.array([[1.0, 2.0]]),
        "M": jnp.array([[5.0]]),
        "b_indicator": indicated(np.array([1]), buckets=2),
        "a2_bucketized": indicated(np.array([1]), buckets=2),
    }
    np.testing.assert_array_equal(join([arrays[name] for name in golden["sorted_names"]]), golden["dense"])
    np.testing.assert_array_equal(join([arrays[name] for name in golden["names"]]), [[9, 1, 2, 5, 0, 1, 0, 1]])
