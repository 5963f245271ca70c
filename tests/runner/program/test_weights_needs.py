"""The values that a file of weights sets: fields of the architecture, and the preprocessing of images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pairs import RECORDED
from safetensors.numpy import save_file

import runner
from components.data import Arrays
from components.image_files import encode_png
from components.types import UserError
from runner import yaml_file
from runner.__main__ import main
from runner.config.compose import configure
from runner.config.provenance import find_origin
from runner.execution.execute import Result
from runner.execution.weights_needs import with_weights_needs

pytestmark = [pytest.mark.optax, pytest.mark.usefixtures("in_empty_folder")]

MINE = """
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.layer import Conv, Dense, GlobalAveragePool
from components.types import Output
from components.pretrained import NamingScheme, Rule

RULES = (Rule("conv", "conv1"), Rule("scale", "bn1"), Rule("head", "fc"))
NAMING_SCHEMES = (
    NamingScheme(
        "timm",
        RULES,
        required_fields=({"pool": "mean", "scaled": True}, {"pool": "max", "scaled": False}),
        image={"normalize": "unit", "mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3), "order": "rgb"},
        side=6,
    ),
    NamingScheme("keras", (Rule("conv", "conv"), Rule("head", "predictions")), "keras"),
)


class Mine(nn.Module):
    outputs: int
    pool: Literal["mean", "max"] = "max"
    scaled: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = Conv(4, 3, name="conv")(image, train=train)
        x = Dense(4, name="scale")(x, train=train) if self.scaled else x
        x = x.mean((1, 2)) if self.pool == "mean" else x.max((1, 2))
        return Output(Dense(self.outputs, name="head")(x, train=train))
"""
SHAPES = {"conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,), "bn1.weight": (4, 4), "bn1.bias": (4,)}
SHAPES |= {"fc.weight": (3, 4), "fc.bias": (3,)}
WORDS = ("architecture=mine", "weights=safetensors", "weights.path=mine.safetensors", "feature=image")
QUICK = (
    "training.epochs=1",
    "training.batch_size=8",
    "learning_rate=0",
    "optimizer=sgd",
    "tracking=none",
    "intervals=null",
)
IMAGE = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "size": [6, 6], "resize": "crop"}
BY_HAND = (
    "architecture.pool=mean",
    "architecture.scaled=true",
    *(f"feature.columns.image.{name}={value}".replace(" ", "") for name, value in IMAGE.items()),
)


@pytest.fixture(autouse=True)
def tensors(write_module: Callable[[str, str], None]) -> dict[str, np.ndarray]:
    """Writes an architecture with naming schemes, and a file of weights for it. Returns the tensors."""
    write_module("mine", MINE)
    Path("conf/architecture").mkdir(parents=True)
    Path("conf/architecture/mine.yaml").write_text("# Mine.\n_target_: mine.Mine\n")
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    save_file(tensors, "mine.safetensors")
    return tensors


def source(channels: int = 3) -> Arrays:
    images = np.random.default_rng(1).integers(0, 256, (40, 8, 8, channels), np.uint8)
    return Arrays(columns={"image": images, "label": np.arange(40) % 3}, valid=8, test=8, seed=0)


def train(*words: str, channels: int = 3) -> Result:
    return runner.run(*WORDS, *QUICK, *words, data=source(channels))


def read_config(result: Result) -> dict[str, Any]:
    config: dict[str, Any] = yaml_file.read(
        result.folder / "config.yaml", "config.yaml", yaml_file.CONFIGURATION_LIMITS
    )
    return config


def resolve(*words: str) -> tuple[dict[str, Any], list[str]]:
    """The configuration with the values that the file sets, and the lines that show them. No data is loaded."""
    notes: list[str] = []
    config = with_weights_needs(configure([*WORDS, "data=digits", *words]), notes.append)
    return config.values, notes


def test_a_run_with_the_values_of_the_file_is_that_with_the_same_values_set_by_hand() -> None:
    found, by_hand = train(), train(*BY_HAND, "fresh=true")
    assert found.metrics["test/loss"] == by_hand.metrics["test/loss"]
    assert read_config(found) == read_config(by_hand) | {"fresh": False}
    assert read_config(found)["feature"]["columns"]["image"].items() >= IMAGE.items()
    assert found.folder.name[-10:] == by_hand.folder.name[-10:]  # the digest


def test_a_line_shows_the_values_and_exact_false_sets_none() -> None:
    _, (line,) = resolve()
    assert line.startswith("weights: mine.safetensors (timm) sets architecture.pool=mean architecture.scaled=true ")
    assert "'feature.columns.image.mean=[0.4,0.5,0.6]'" in line
    assert resolve("quiet=true") == (resolve()[0] | {"quiet": True}, [])
    values, notes = resolve(*BY_HAND)
    assert (values, notes) == (resolve()[0], [])
    values, notes = resolve("weights.exact=false")
    assert (values["architecture"], notes) == ({"_target_": "mine.Mine"}, [])


@pytest.mark.slow
def test_the_runs_of_a_sweep_show_the_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    result = runner.multirun(*WORDS, *QUICK, "seed=1,2", data=source())
    assert result.status == "finished"
    assert capsys.readouterr().out.count("weights: mine.safetensors (timm) sets") == 1


def test_a_finished_run_and_a_resumed_one_need_no_file_of_weights() -> None:
    found = train()
    Path("mine.safetensors").unlink()
    rows = {"image": source().columns["image"][:5]}
    assert len(runner.load(found.folder, data=source()).predict(rows).prediction) == 5
    longer = train(f"resume={found.folder.name}", "training.epochs=2")
    assert read_config(longer)["architecture"] == read_config(found)["architecture"]
    assert read_config(longer)["feature"] == read_config(found)["feature"]
    with pytest.raises(UserError, match=r"weights\.path: there is no file"):
        train("seed=1")


def test_other_values_of_the_configuration_are_errors_that_name_both() -> None:
    with pytest.raises(UserError) as error:
        resolve("architecture.scaled=false", "architecture.pool=mean", "feature.columns.image.std=0.5")
    first, second = str(error.value).splitlines()
    assert first.startswith("architecture.scaled=false: the weights of mine.safetensors (timm) need scaled=true. ")
    assert "or set weights.exact=false. [set by the command line (architecture.scaled=false)]" in first
    assert second.startswith("feature.columns.image.std=0.5: ")
    assert "need std=[0.1,0.2,0.3]" in second


def test_of_several_alternatives_the_one_that_agrees_with_the_configuration_is_set() -> None:
    assert resolve("architecture.scaled=false")[0]["architecture"] == {"_target_": "mine.Mine", "scaled": False}


def test_a_size_of_the_configuration_stays() -> None:
    values, (line,) = resolve("feature.columns.image.size=[5,5]")
    assert values["feature"]["columns"]["image"]["size"] == [5, 5]
    assert line.endswith("; the published evaluation has size=[6,6]")


def test_what_is_inferred_from_the_data_is_no_choice() -> None:
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png", "b/2.png")):
        path = Path("pictures") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(np.zeros((9 + number, 10, 3), np.uint8)))
    words = [*WORDS[:3], "data=images", "data.path=pictures", "quiet=true"]
    inferred = configure(words)
    assert inferred.values["feature"]["columns"]["image"]["size"] == [8, 8]
    config = with_weights_needs(inferred, print)
    assert config.values["feature"]["columns"]["image"]["size"] == [6, 6]
    assert find_origin(config.origins, "feature.columns.image.size") == "the weights of mine.safetensors (timm)"


def test_targets_that_are_images_keep_the_size_of_their_images() -> None:
    values, _ = resolve(
        "feature.target={_target_: components.feature.ImageTarget, key: image}", "loss=mse", "metric=[]"
    )
    assert "size" not in values["feature"]["columns"]["image"]
    assert values["feature"]["columns"]["image"]["mean"] == IMAGE["mean"]


BODY = "{option: safetensors, path: mine.safetensors, skip: [head]}"
HEAD = "{option: safetensors, path: mine.safetensors, skip: [conv, scale]}"


def resolve_joined(body: str, head: str, *words: str) -> tuple[dict[str, Any], list[str]]:
    """The configuration with the values that two sources of joined weights set, and the lines that show them."""
    notes: list[str] = []
    joined = f"weights.sources={{body: {body}, head: {head}}}"
    words = ("architecture=mine", "feature=image", "data=digits", "weights=joined", joined, *words)
    return with_weights_needs(configure(words), notes.append).values, notes


def test_each_source_of_joined_weights_sets_its_values() -> None:
    alone, (line,) = resolve()
    values, notes = resolve_joined(BODY, HEAD)
    assert notes == [line]
    assert [values[key] for key in ("architecture", "feature")] == [alone[key] for key in ("architecture", "feature")]
    with pytest.raises(UserError) as error:
        resolve_joined(BODY, HEAD, "architecture.scaled=false", "architecture.pool=mean")
    assert str(error.value).startswith(
        "architecture.scaled=false: the weights of mine.safetensors (timm) need scaled=true. Leave it out, or set "
        "weights.sources.body.exact=false. [set by the command line (architecture.scaled=false)]"
    )
    inexact = [each.replace("skip", "exact: false, skip") for each in (BODY, HEAD)]
    assert resolve_joined(*inexact)[0]["architecture"] == {"_target_": "mine.Mine"}


OTHER = """
import flax.linen as nn
from components.pretrained import NamingScheme
from mine import RULES, Mine as Base

NAMING_SCHEMES = (
    NamingScheme("timm", RULES, required_fields=({"pool": "mean"},)),
    NamingScheme("torchvision", RULES, required_fields=({"pool": "max"},)),
)

class Mine(Base):
    pass
"""


@pytest.mark.parametrize("libraries", [("timm", "torchvision"), ("torchvision", "timm")])
def test_sources_of_joined_weights_that_need_different_values_are_an_error_that_names_both(
    libraries: tuple[str, str], write_module: Callable[[str, str], None]
) -> None:
    write_module("other", OTHER)
    Path("conf/architecture/other.yaml").write_text("# Other.\n_target_: other.Mine\n")
    body, head = (
        each.replace("skip", f"library: {library}, skip") for each, library in zip((BODY, HEAD), libraries, strict=True)
    )
    later = libraries.index("torchvision")  # which needs the default, so that the other one has set its value
    key = ("body", "head")[later]
    with pytest.raises(UserError) as error:
        resolve_joined(body, head, "architecture=other")
    assert str(error.value) == (
        "architecture.pool=mean: the weights of mine.safetensors (torchvision) need pool=max. Take both from networks "
        f"with one value, or set weights.sources.{key}.exact=false. [set by the weights of mine.safetensors (timm)]"
    )


def test_a_run_with_joined_weights_resumes_without_their_files(capsys: pytest.CaptureFixture[str]) -> None:
    joined = ("weights=joined", f"weights.sources={{body: {BODY}, head: {HEAD}}}", "architecture=mine", "feature=image")
    found = runner.run(*joined, *QUICK, data=source(1))
    assert capsys.readouterr().out.count("weights: conv1.weight (our conv/kernel) is summed") == 1
    assert read_config(found)["architecture"].items() >= {"pool": "mean", "scaled": True}.items()
    Path("mine.safetensors").unlink()
    longer = runner.run(*joined, *QUICK, f"resume={found.folder.name}", "training.epochs=2", data=source(1))
    assert read_config(longer)["feature"] == read_config(found)["feature"]


def test_a_published_source_of_joined_weights_names_the_command_that_fetches_it() -> None:
    published = "{option: imagenet, architecture: components.architecture.ResNet18, skip: [head]}"
    with pytest.raises(UserError, match=r"weights\.sources\.body: .*download weights=imagenet architecture=resnet18"):
        resolve_joined(published, HEAD, "architecture=resnet18")


def test_without_a_lone_column_of_images_a_note_says_what_the_weights_expect() -> None:
    values, (_, note) = resolve("feature.columns.other={_target_: components.feature.Image, key: image}")
    assert note.startswith("note: the weights of mine.safetensors (timm) expect images with normalize=unit mean=[0.4,")
    assert "has several columns of components.feature.Image, image, other, so this is not set" in note
    assert values["architecture"].items() >= {"pool": "mean"}.items()
    assert "mean" not in values["feature"]["columns"]["image"]


@pytest.mark.parametrize(("channels", "how"), [(1, "summed over its 3 channels"), (4, "repeated, and scaled by 3/4")])
def test_the_first_kernel_is_changed_for_other_numbers_of_channels(
    channels: int, how: str, tensors: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(channels=channels)
    plural = "s" if channels > 1 else ""
    line = f"weights: conv1.weight (our conv/kernel) is {how}, because the images have {channels} channel{plural}"
    assert line in capsys.readouterr().out
    model = runner.load(result.folder, data=source(channels))
    kernel = np.asarray(model.weights.parameters["architecture"]["conv"]["kernel"])
    theirs = tensors["conv1.weight"].transpose(2, 3, 1, 0)
    expected = theirs.sum(2, keepdims=True) if channels == 1 else theirs[:, :, [0, 1, 2, 0]] * 0.75
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


def test_a_dry_run_lists_the_values_with_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data=digits", "mode=dry_run", "feature.columns.image.size=[8,8]", "weights.skip=[head]"]
    assert main([*WORDS, *words, "training.limit_batches=1"]) == 0
    found = capsys.readouterr().out
    for value in ('architecture.pool="mean"', "feature.columns.image.mean.0=0.4"):
        assert re.search(rf"^ +{re.escape(value)} .*the weights of mine\.safetensors \(timm\)$", found, re.MULTILINE), (
            value
        )


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": [224, 224]}
SIGNED = {"mean": 0.5, "std": 0.5, "size": [224, 224]}
LARGE = SIGNED | {"size": [299, 299]}
CAFFE = {"normalize": None, "mean": [103.939, 116.779, 123.68], "order": "bgr", "size": [224, 224]}
TORCH = {"padding": "symmetric", "epsilon": 1e-5}
KERAS_V2 = {"version": "v2", "use_bias": True, "epsilon": 1.001e-5, "max_pool": "keras", "downsample": "last"}


@pytest.mark.parametrize(
    ("record", "architecture", "fields", "image"),
    [
        ("alexnet_thin_torchvision", "alexnet2014", {}, IMAGENET),
        ("convnext_thin_huggingface", "convnext_tiny", {}, IMAGENET),
        ("convnext_thin_torchvision", "convnext_tiny", {}, IMAGENET),
        ("densenet_thin_keras", "densenet121", {"epsilon": 1.001e-5}, IMAGENET),
        ("densenet_thin_torchvision", "densenet121", {}, IMAGENET),
        ("googlenet_thin_torchvision", "googlenet", {"layout": "torchvision", "batch_norm": True}, SIGNED),
        ("inception_resnet_v2_thin_timm", "inception_resnet_v2", {"use_scale": True}, LARGE),
        ("inception_v3_thin_keras", "inception_v3", {"use_scale": False}, LARGE),
        ("inception_v3_thin_torchvision", "inception_v3", {"count_include_pad": True}, LARGE),
        ("inception_v4_thin_timm", "inception_v4", {}, LARGE),
        ("mobilenet_v2_thin_keras", "mobilenet_v2", {}, SIGNED),
        ("mobilenet_v2_thin_torchvision", "mobilenet_v2", TORCH, IMAGENET),
        ("resnet_thin_keras", "resnet50", KERAS_V2, SIGNED),
        ("resnet_thin_timm", "senet154", {}, IMAGENET),
        ("resnet_thin_torchvision", "resnext50", {}, IMAGENET),
        ("vgg11_bn_thin_torchvision", "vgg11", {"batch_norm": True}, IMAGENET),
        ("vgg16_thin_keras", "vgg16", {}, CAFFE),
        ("xception_thin_keras", "xception", {}, LARGE),
    ],
)
def test_a_file_of_each_family_sets_its_fields_and_preprocessing(
    record: str, architecture: str, fields: dict[str, Any], image: dict[str, Any]
) -> None:
    shapes = json.loads((RECORDED / f"{record}.json").read_text())["shapes"]
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, "mine.safetensors")
    values, _ = resolve(f"architecture={architecture}")
    before = configure([*WORDS, "data=digits", f"architecture={architecture}"]).values
    assert values["architecture"] == before["architecture"] | fields
    assert values["feature"]["columns"]["image"] == before["feature"]["columns"]["image"] | image | {"resize": "crop"}
