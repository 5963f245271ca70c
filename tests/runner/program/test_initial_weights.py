"""Runs that start from the weights of a safetensors file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import runner
from components.data import Arrays
from components.types import UserError
from runner.__main__ import main
from runner.execution.execute import Result

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

MINE = """
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer import BatchNorm, Dense, Flatten
from components.types import Output
from components.pretrained import NamingScheme, Rule

NAMING_SCHEMES = (NamingScheme("timm", (Rule("hidden", "fc1"), Rule("norm", "bn"), Rule("head", "fc2"))),)


class Mine(nn.Module):
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = Dense(4, name="hidden")(Flatten()(image, train=train), train=train)
        return Output(Dense(self.outputs, name="head")(BatchNorm(name="norm")(x, train=train), train=train))
"""
WORDS = ("architecture=mine", "weights=safetensors", "weights.path=mine.safetensors")
QUICK = ("training.epochs=1", "optimizer=sgd", "learning_rate=0", "tracking=none", "quiet=true")


@pytest.fixture(autouse=True)
def mine(write_module: Callable[[str, str], None]) -> dict[str, np.ndarray]:
    """Writes a user's own architecture with a naming scheme, and a file of weights for it. Returns the tensors."""
    write_module("mine", MINE)
    Path("conf/architecture").mkdir(parents=True)
    Path("conf/architecture/mine.yaml").write_text("# Mine.\n_target_: mine.Mine\n")
    random = np.random.default_rng(0)
    shapes = {"fc1.weight": (4, 64), "fc1.bias": (4,), "fc2.weight": (3, 4), "fc2.bias": (3,)}
    shapes |= {f"bn.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")}
    tensors = {name: random.uniform(0.5, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, "mine.safetensors")
    return tensors


def source() -> Arrays:
    images = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 1), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(60) % 3}, valid=12, test=12, seed=0)


def train(*words: str) -> Result:
    return runner.run(*WORDS, *QUICK, *words, source=source())


def parameters(result: Result) -> Any:
    return jax.tree.map(np.asarray, runner.load(result.folder, source=source()).weights.parameters["architecture"])


def test_training_starts_from_the_weights_of_the_file(mine: dict[str, np.ndarray]) -> None:
    found = parameters(train())
    np.testing.assert_array_equal(found["hidden"]["kernel"], mine["fc1.weight"].T)
    np.testing.assert_array_equal(found["norm"]["scale"], mine["bn.weight"])
    np.testing.assert_array_equal(found["head"]["bias"], mine["fc2.bias"])


def test_skipped_layers_get_the_random_weights_of_a_run_without_a_file(mine: dict[str, np.ndarray]) -> None:
    found = parameters(train("weights.skip=[head]"))
    random_weights = parameters(train("weights=random", "~weights.path"))
    np.testing.assert_array_equal(found["hidden"]["kernel"], mine["fc1.weight"].T)
    np.testing.assert_array_equal(found["head"]["kernel"], random_weights["head"]["kernel"])


def test_a_changed_file_makes_another_run(mine: dict[str, np.ndarray]) -> None:
    first, again = train(), train("fresh=true")
    save_file({name: tensor + 1 for name, tensor in mine.items()}, "mine.safetensors")
    changed = train("fresh=true")
    digests = [result.folder.name.rpartition("_")[2] for result in (first, again, changed)]
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_does_not_fit_leaves_no_folder_and_is_named_with_its_key(
    mine: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(mine | {"fc1.weight": mine["fc1.weight"][:, :9]}, "mine.safetensors")
    shapes = r"fc1\.weight is \(4, 9\) \(\(9, 4\) in our layout\), our hidden/kernel \(64, 4\)"
    message = rf"weights: .*mine\.safetensors: .* Wrong shape: {shapes}"
    with pytest.raises(UserError, match=message):
        train()
    assert not Path("outputs").exists()
    words = ["data=digits", "feature=image", "weights=safetensors"]
    assert main([*words, "weights.path=mine.safetensors", "architecture=mlp"]) == 2
    assert "MLP: no naming scheme is known" in capsys.readouterr().err
    assert main([*words, "architecture=mine"]) == 2
    assert "weights.path: has no value yet. Set it." in capsys.readouterr().err
    assert main([*words, "architecture=mine", "weights.path=other.safetensors"]) == 2
    found = capsys.readouterr().err
    assert found.startswith("weights.path: there is no file")
    assert "[set by the command line (weights.path=other.safetensors)]" in found
