import json
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import InitializerName, initializer
from components.layer.initializer import INITIALIZERS
from components.types import UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())["initializers"]
SPREAD = next(iter(GOLDEN.values()))
SHAPES = {"dense": (200, 300), "conv": (3, 3, 64, 128)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", get_args(InitializerName))
def test_every_initializer_spreads_as_keras_does(name: InitializerName, shape: str) -> None:
    deviation, largest = SPREAD[name.title().replace("_", "")][shape]
    kernel = np.asarray(initializer(name)(jax.random.key(0), SHAPES[shape], jnp.float32))
    assert kernel.std() == pytest.approx(deviation, rel=0.01)
    assert np.abs(kernel).max() == pytest.approx(largest, rel=0.02)
    assert abs(kernel.mean()) < 0.01 * deviation + 3 * deviation / kernel.size**0.5


def test_the_names_are_the_table() -> None:
    assert get_args(InitializerName) == tuple(INITIALIZERS)


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'he_normal'"):
        initializer("he_norma")  # type: ignore[arg-type]
