from __future__ import annotations

import jax
import jax.numpy as jnp

from components.architecture import FashionCNN
from components.types import Output, Scalar


def initialize(side: int, dropout: Scalar | None, streams: str = "params dropout") -> Output:
    keys = {stream: jax.random.key(0) for stream in streams.split()}
    module = FashionCNN(3, dropout=dropout)
    return module.init_with_output(keys, jnp.zeros((2, side, side, 1)), train=True)[0]


def test_stages_have_the_shapes_of_the_book() -> None:
    features = jax.eval_shape(lambda: initialize(28, 0.5).features)
    assert {stage: feature.shape[1:] for stage, feature in features.items()} == {
        "stage_0": (14, 14, 64),
        "stage_1": (7, 7, 128),
        "stage_2": (3, 3, 256),
        "dense_0": (128,),
        "dense_1": (64,),
    }


def test_the_dropout_rate_may_be_traced() -> None:
    assert jax.eval_shape(lambda rate: initialize(8, rate).logits, jnp.float32(0.5)).shape == (2, 3)


def test_without_dropout_no_key_is_consumed() -> None:
    assert jax.eval_shape(lambda: initialize(8, None, "params").logits).shape == (2, 3)
