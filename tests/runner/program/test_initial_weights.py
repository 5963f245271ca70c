"""A run that begins with the weights of a file."""

from __future__ import annotations

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
def mine(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """An architecture of the user's own, with the names that a library gives it, and such a file."""
    monkeypatch.setenv("TITRATE_ALLOW", "mine")
    monkeypatch.syspath_prepend(str(in_empty_folder))
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    Path("mine.py").write_text(MINE)
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
    return jax.tree.map(np.asarray, runner.load(result.folder, source=source()).weights[0]["architecture"])


def test_training_begins_with_them(mine: dict[str, np.ndarray]) -> None:
    found = parameters(train())
    np.testing.assert_array_equal(found["hidden"]["kernel"], mine["fc1.weight"].T)
    np.testing.assert_array_equal(found["norm"]["scale"], mine["bn.weight"])
    np.testing.assert_array_equal(found["head"]["bias"], mine["fc2.bias"])


def test_layers_that_are_skipped_are_drawn_as_if_there_were_no_file(mine: dict[str, np.ndarray]) -> None:
    found, drawn = parameters(train("weights.skip=[head]")), parameters(train("weights=random", "~weights.path"))
    np.testing.assert_array_equal(found["hidden"]["kernel"], mine["fc1.weight"].T)
    np.testing.assert_array_equal(found["head"]["kernel"], drawn["head"]["kernel"])


def test_another_content_of_the_file_makes_another_run(mine: dict[str, np.ndarray]) -> None:
    first, again = train(), train("fresh=true")
    save_file({name: one + 1 for name, one in mine.items()}, "mine.safetensors")
    marks = [one.folder.name.rpartition("_")[2] for one in (first, again, train("fresh=true"))]
    assert marks[0] == marks[1] != marks[2]


def test_a_file_that_does_not_fit_leaves_no_folder_and_says_who_named_it(
    mine: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(mine | {"fc1.weight": mine["fc1.weight"][:, :9]}, "mine.safetensors")
    message = r"weights: .*mine\.safetensors: .* Wrong shape: fc1\.weight is \(4, 9\), our hidden/kernel \(64, 4\)"
    with pytest.raises(UserError, match=message):
        train()
    assert not Path("outputs").exists()
    words = ["data=digits", "feature=image", "weights=safetensors"]
    assert main([*words, "weights.path=mine.safetensors", "architecture=mlp"]) == 2
    assert "MLP: no naming scheme is known" in capsys.readouterr().err
    assert main([*words, "architecture=mine"]) == 2
    assert "weights.path: has no value yet. Set it." in capsys.readouterr().err
    assert main([*words, "architecture=mine", "weights.path=other.safetensors"]) == 2
    assert "there is no file" in capsys.readouterr().err
