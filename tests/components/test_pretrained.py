"""Conversion of weights of other libraries: names, layouts and errors, with a network of a few layers."""

from __future__ import annotations

import io
import json
import pickle
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import variables
from safetensors.numpy import save_file

from components import pretrained
from components.architecture import (
    AlexNet,
    EfficientNetB0,
    EfficientNetB3,
    LeNet5,
    MobileNet,
    MobileNetV2,
    MobileStage,
    ResNet18,
    ResNet20,
    ResNet50,
    SENet154,
)
from components.layer import BatchNorm, Conv, Dense, Flatten
from components.pretrained import NamingScheme, Rule, Safetensors
from components.pretrained.detect import find_prefix
from components.types import DataError, Output, UserError


class Little(nn.Module):
    """Two convolutions, a normalization and two dense layers."""

    outputs: int = 3
    depth: int = 2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Output:
        x = image
        for n in range(self.depth):
            x = Conv(4, 3, groups=n + 1, name=f"conv_{n}")(x, train=train)
        x = Flatten()(BatchNorm(name="norm")(x, train=train), train=train)
        return Output(Dense(self.outputs, name="head")(Dense(5, name="dense")(x, train=train), train=train))


NAMING_SCHEMES = (
    NamingScheme(
        "torchvision",
        (
            Rule(r"conv_(\d)", "features.{0:+1}"),
            Rule(r"norm", "bn"),
            Rule(r"dense", "classifier.0", flattened_conv="conv_1"),
            Rule(r"head", "fc"),
        ),
    ),
    NamingScheme(
        "keras",
        (
            Rule(r"conv_(\d)", "conv2d_{0}"),
            Rule(r"norm", "bn"),
            Rule(r"dense", "fc1"),
            Rule(r"head", "predictions"),
        ),
        framework="keras",
        numbered_per_session=("conv2d",),
    ),
)
IMAGE = (4, 4, 2)
RANDOM = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


TORCH = {
    "features.1.weight": drawn(4, 2, 3, 3),
    "features.1.bias": drawn(4),
    "features.2.weight": drawn(4, 2, 3, 3),
    "features.2.bias": drawn(4),
    "bn.weight": drawn(4),
    "bn.bias": drawn(4),
    "bn.running_mean": drawn(4),
    "bn.running_var": drawn(4),
    "bn.num_batches_tracked": np.array(7),
    "classifier.0.weight": drawn(5, 64),
    "classifier.0.bias": drawn(5),
    "fc.weight": drawn(3, 5),
    "fc.bias": drawn(3),
}
KERAS = {
    "conv2d/kernel": drawn(3, 3, 2, 4),
    "conv2d/bias": drawn(4),
    "conv2d_1/kernel": drawn(3, 3, 2, 4),
    "conv2d_1/bias": drawn(4),
    "bn/gamma": drawn(4),
    "bn/beta": drawn(4),
    "bn/moving_mean": drawn(4),
    "bn/moving_variance": drawn(4),
    "fc1/kernel": drawn(64, 5),
    "fc1/bias": drawn(5),
    "predictions/kernel": drawn(5, 3),
    "predictions/bias": drawn(3),
}


def convert(tensors: dict[str, np.ndarray], module: Little = Little(), **options: Any) -> dict[str, Any]:  # noqa: B008
    tree = variables(module, *IMAGE)
    scheme = pretrained.detect_scheme(module, tensors, tree, options.pop("library", None))
    return pretrained.convert_weights(pretrained.plan_conversion(scheme, tree), tensors, **options)


def test_kernels_of_pytorch_are_transposed_and_flattened_maps_reordered() -> None:
    ours = convert(TORCH)
    params = ours["params"]
    np.testing.assert_array_equal(params["conv_1"]["kernel"], TORCH["features.2.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(params["head"]["kernel"], TORCH["fc.weight"].T)
    np.testing.assert_array_equal(ours["batch_stats"]["norm"]["variance"], TORCH["bn.running_var"])
    maps = drawn(1, 4, 4, 4)  # (B, H, W, C)
    flat = maps.transpose(0, 3, 1, 2).reshape(1, -1)
    theirs = flat @ TORCH["classifier.0.weight"].T
    np.testing.assert_allclose(maps.reshape(1, -1) @ params["dense"]["kernel"], theirs, rtol=1e-4)


def test_kernels_of_keras_are_unchanged_and_biases_of_normalization_are_called_beta() -> None:
    ours = convert(KERAS)
    np.testing.assert_array_equal(ours["params"]["dense"]["kernel"], KERAS["fc1/kernel"])
    np.testing.assert_array_equal(ours["params"]["conv_0"]["bias"], KERAS["conv2d/bias"])
    np.testing.assert_array_equal(ours["params"]["norm"]["bias"], KERAS["bn/beta"])
    np.testing.assert_array_equal(ours["batch_stats"]["norm"]["mean"], KERAS["bn/moving_mean"])


def test_numbers_of_a_later_model_of_keras_are_renumbered_from_0() -> None:
    later_model = {
        name.replace("conv2d_1/", "conv2d_13/").replace("conv2d/", "conv2d_12/"): one for name, one in KERAS.items()
    }
    jax.tree.map(np.testing.assert_array_equal, convert(later_model), convert(KERAS))


def test_all_arrays_of_the_network_are_converted_to_their_shapes() -> None:
    arrays = variables(Little(), *IMAGE)
    for tensors in (TORCH, KERAS):
        assert jax.tree.map(np.shape, convert(tensors)) == jax.tree.map(np.shape, arrays)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("haed", "Did you mean head?"), ("conv_9*", ""), ("fc.wieght", "Did you mean fc.weight?"), ("", "")],
)
def test_a_pattern_that_skips_nothing_raises(pattern: str, hint: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"matches the pattern {pattern}. {hint}")):
        convert(TORCH, skip=["head", pattern])


def test_skipped_layers_are_left_out() -> None:
    for skip in ("head", "fc", "fc.*", "he*"):
        assert "head" not in convert(TORCH, skip=[skip])["params"]
    assert "head" not in convert(TORCH, Little(outputs=7), skip=["head"])["params"]
    assert convert(TORCH, skip=["*1.weight"])["params"]["conv_0"].keys() == {"bias"}  # `*` crosses names
    extra = TORCH | {"aux.fc.weight": drawn(1)}
    assert convert(extra, skip=["aux"])["params"].keys() == convert(TORCH)["params"].keys()


@pytest.mark.parametrize(
    ("tensors", "module", "options", "message"),
    [
        (
            TORCH,
            Little(outputs=7),
            {},
            r"Wrong shape: fc.* our head/kernel \(5, 7\)\. To train a new head .*add head to `skip`",
        ),
        (
            TORCH,
            Little(depth=1),
            {},
            r"Missing: our dense/\w+, our dense/\w+\. Unexpected: .*, features.2.bias, features.2.weight",
        ),
        ({n: one for n, one in TORCH.items() if n[:2] != "bn"}, Little(), {}, r"Missing: bn.* \(our norm/\w+\)"),
        (
            TORCH,
            Little(),
            {"library": "timm"},
            "Little: no naming scheme is known for the library timm. Known libraries: keras, torchvision",
        ),
        ({"x": drawn(1)}, Little(), {}, "Little: no name in the file belongs to keras, torchvision, got x"),
        (
            KERAS,
            Little(),
            {"library": "torchvision"},
            r"Little: no name in the file belongs to torchvision, got bn/beta.* names of keras: set `library=keras`\.",
        ),
    ],
)
def test_a_file_of_another_variant_raises_with_the_differences(
    tensors: Any, module: Little, options: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        convert(tensors, module, **options)


def test_an_architecture_without_naming_schemes_raises() -> None:
    with pytest.raises(UserError, match=r"Dense: no naming scheme is known\. Define NAMING_SCHEMES"):
        pretrained.detect_scheme(Dense(3), TORCH, {}, None)


@pytest.mark.parametrize("name", ["resnet", "networks.resnet", "naming", "mine"])
def test_the_schemes_of_a_module_that_is_called_like_one_of_ours_count(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = ModuleType(name)
    module.Network = type("Network", (nn.Module,), {"__module__": name})
    module.NAMING_SCHEMES = NAMING_SCHEMES[:1]
    monkeypatch.setitem(sys.modules, name, module)
    shapes = variables(Little(), *IMAGE)
    assert pretrained.detect_scheme(module.Network(), TORCH, shapes, None) is NAMING_SCHEMES[0]


def test_a_class_without_schemes_has_those_of_its_base_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "derived", ModuleType("derived"))
    network = type("Network", (Little,), {"__module__": "derived"})()
    assert pretrained.detect_scheme(network, TORCH, variables(Little(), *IMAGE), None) is NAMING_SCHEMES[0]
    network = type("Network", (LeNet5,), {"__module__": "derived"})(3)
    with pytest.raises(UserError, match="Network: no naming scheme is known"):
        pretrained.detect_scheme(network, TORCH, {}, None)
    network = type("Network", (AlexNet,), {"__module__": "derived"})(3)
    with pytest.raises(UserError, match="Network: no name in the file belongs to torchvision"):
        pretrained.detect_scheme(network, {"x": 1}, {"params": {}}, None)


def test_a_file_is_read_and_its_fingerprint_depends_on_its_content(tmp_path: Path) -> None:
    path = tmp_path / "little.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in TORCH.items()}, path)
    part = Safetensors(path=str(path))
    assert part.fingerprint() == Safetensors(path=str(path), skip=("head",)).fingerprint()
    jax.tree.map(np.testing.assert_array_equal, part(Little(), variables(Little(), *IMAGE)), convert(TORCH))
    before = part.fingerprint()
    save_file({name: np.ascontiguousarray(array + 1) for name, array in TORCH.items()}, path)
    assert part.fingerprint() != before
    with pytest.raises(UserError, match=r"little\.safetensors: the weights don't fit the architecture\. Wrong shape: "):
        part(Little(7), variables(Little(7), *IMAGE))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.module."])
def test_prefixes_of_wrappers_are_dropped_if_all_names_have_them(tmp_path: Path, prefix: str) -> None:
    path, tree = tmp_path / "little.safetensors", variables(Little(), *IMAGE)
    tensors = {f"{prefix}{name}": np.ascontiguousarray(array) for name, array in TORCH.items()}
    save_file(tensors, path)
    jax.tree.map(np.testing.assert_array_equal, Safetensors(path=str(path))(Little(), tree), convert(TORCH))
    save_file(tensors | {"x": drawn(1)}, path)
    with pytest.raises(UserError, match="Little: no name in the file belongs to"):
        Safetensors(path=str(path))(Little(), tree)


def test_a_prefix_of_the_schemes_own_names_stays() -> None:
    scheme = NamingScheme("mine", (Rule("conv", "model.conv"),))
    assert find_prefix(["model.conv.weight"], [scheme]) == ""
    assert find_prefix(["module.model.conv.weight"], [scheme]) == "module."
    assert find_prefix([], [scheme]) == ""


def test_fields_that_the_weights_need_are_those_that_differ() -> None:
    def choose(architecture: Any, names: list[str], *chosen: str) -> Any:
        return pretrained.choose_fields(
            pretrained.detect_scheme_by_names(architecture, names, None), architecture, chosen
        )

    torch, legacy, keras = ["conv1.weight", "layer1.0.conv1.weight"], ["layer0.conv1.weight"], ["conv1_conv/kernel"]
    assert choose(ResNet50(3), torch) == {}
    assert choose(ResNet20(3), torch) == {}  # without max-pooling, as the architecture
    assert choose(ResNet50(3), legacy) == {"version": "v1", "max_pool": "caffe"}
    assert choose(ResNet50(3), [*keras, "conv1_bn/gamma"]) == {"version": "v1", "use_bias": True, "epsilon": 1.001e-5}
    assert choose(ResNet50(3), [*keras, "post_bn/gamma"])["version"] == "v2"
    assert choose(SENet154(3), ["conv1.0.weight", "conv1.3.weight"]) == {"max_pool": "torch"}
    with pytest.raises(UserError, match=r"timm need block=bottleneck, but ResNet has basic\. Choose another arch"):
        choose(ResNet18(3), legacy)
    timm = ["conv_stem.weight", "blocks.1.0.conv_pwl.weight", "conv_head.weight", "bn2.weight"]
    assert choose(MobileNetV2(3), timm) == {"padding": "symmetric", "epsilon": 1e-5}
    assert choose(MobileNetV2(3, padding="SAME", epsilon=1e-5), timm, "padding") == {"epsilon": 1e-3}  # tf_… of timm


def test_the_side_of_images_is_that_of_the_variant() -> None:
    names = ["stem_conv/kernel", "block1a_dwconv/kernel"]
    sides = {}
    for network in (EfficientNetB0(3), EfficientNetB3(3)):
        scheme = pretrained.detect_scheme_by_names(network, names, None)
        assert callable(scheme.side)
        sides[network.depth] = scheme.side(network)
    assert sides == {1.0: 224, 1.4: 300}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_floats_of_another_precision_are_converted_to_float32(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "little.safetensors"
    save_file({name: np.ascontiguousarray(array.astype(jnp.dtype(dtype))) for name, array in TORCH.items()}, path)
    found = Safetensors(path=str(path))(Little(), variables(Little(), *IMAGE))["params"]["norm"]["scale"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, TORCH["bn.weight"].astype(jnp.dtype(dtype)).astype(np.float32))


def test_a_missing_file_raises_with_the_nearest_name(tmp_path: Path) -> None:
    save_file({"x": drawn(100)}, tmp_path / "little.safetensors")
    with pytest.raises(UserError, match=r"there is no file .*; did you mean .*little\.safetensors\?"):
        Safetensors(path=str(tmp_path / "litle.safetensors")).fingerprint()


def build_file(entries: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Returns the bytes of a file; `entries` are (dtype, shape, start, end) by name, or the bytes of the header."""
    if isinstance(entries, dict):
        keys = ("dtype", "shape", "data_offsets")
        described = {
            name: dict(zip(keys, (entry[0], entry[1], entry[2:]), strict=True)) for name, entry in entries.items()
        }
        entries = json.dumps(described).encode()
    return (len(entries) if length is None else length).to_bytes(8, "little") + entries + data


ONE = {"x": ("F32", [2], 0, 8)}
ENTRY = b'{"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'
PICKLED, ZIPPED = io.BytesIO(), io.BytesIO()
pickle.dump({"x": np.zeros(3)}, PICKLED)
np.savez(ZIPPED, x=np.zeros(3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the header must have 2 to 16,777,216 bytes, got 0"),
        (build_file(ONE, bytes(7)), r"array 'x', F32 \(2\), must be at bytes 0 to 8, got bytes 0 to 8 of 7"),
        (build_file(ONE, bytes(9)), "there are 1 bytes after the last array"),
        (build_file(ONE)[:-5], "the file ends 5 bytes before the end of its header"),
        (build_file(ONE, length=2**63), "the header must have .* bytes, got 9,223,372,036,854,775,808"),
        (build_file(b"{}", length=10**8), "the header must have 2 to 16,777,216 bytes, got 100,000,000"),
        (PICKLED.getvalue(), r"the header must have .* bytes, got [\d,]+"),
        (ZIPPED.getvalue(), r"the header must have .* bytes, got [\d,]+"),
        (
            build_file({"x": ("F8_E4M3", [8], 0, 8)}, bytes(8)),
            r"array 'x' has the unknown dtype F8_E4M3\. Known: F64, .*",
        ),
        (build_file({"x": ("F8_E5M2", [8], 0, 8)}, bytes(8)), "array 'x' has the unknown dtype F8_E5M2"),
        (build_file({"x": ("F4", [8], 0, 4)}, bytes(4)), "array 'x' has the unknown dtype F4"),
        (build_file({"x": ("C64", [1], 0, 8)}, bytes(8)), "array 'x' has the unknown dtype C64"),
        (build_file({"x": (["F32"], [2], 0, 8)}, bytes(8)), r"array 'x' has the unknown dtype \['F32'\]"),
        (build_file({"x": ("F32", [1] * 100, 0, 4)}, bytes(4)), r"array 'x' has the impossible shape \(1, 1, .*…\)"),
        (
            build_file({"x": ("F32", [0, 2**62], 0, 0)}),
            r"array 'x' .* impossible shape \(0, 4611686018427387904\)",
        ),
        (build_file({"x": ("F32", [2**62, 4], 0, 4)}, bytes(4)), "array 'x' has the impossible shape .*"),
        (build_file({"x": ("F32", [-2], 0, 8)}, bytes(8)), "shape of array 'x' must be a list of whole numbers"),
        (build_file({"x": ("F32", [2.0], 0, 8)}, bytes(8)), "shape of array 'x' must be a list of whole numbers"),
        (build_file({"x": ("F32", [True, 2], 0, 8)}, bytes(8)), "shape of array 'x' must be a list of whole numbers"),
        (build_file({"x": ("F32", [2], 0, 4, 8)}, bytes(8)), "array 'x' must have 2 data_offsets, got 3"),
        (
            build_file(ONE | {"y": ("F32", [2], 4, 12)}, bytes(12)),
            "array 'y', .* at bytes 8 to 16, got bytes 4 to 12 of 12",
        ),
        (
            build_file(ONE | {"y": ("F32", [1], 12, 16)}, bytes(16)),
            "array 'y', .* at bytes 8 to 12, got bytes 12 to 16 of 16",
        ),
        (
            build_file({"x": ("F32", [2], 8, 16)}, bytes(8)),
            "array 'x', .* at bytes 0 to 8, got bytes 8 to 16 of 8",
        ),
        (
            build_file(b'{"x": ' + ENTRY + b', "x": ' + ENTRY + b"}", bytes(8)),
            ".*not valid JSON: the name 'x' occurs twice",
        ),
        (build_file(b'{"x": {"dtype": "F32"}}'), "array 'x' must have the fields data_offsets, dtype, shape"),
        (build_file(b"[1]"), "the header must be a mapping, got list"),
        (build_file(b'{"__metadata__": [1]}'), "__metadata__ must be a mapping of strings"),
        (build_file(b'{"__metadata__": {"a": 1}}'), "__metadata__ must be a mapping of strings"),
        (
            build_file(b'{"__metadata__": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
            "the header is not valid JSON: maximum recursion",
        ),
        (build_file(b'{"x": NaN}'), "the header is not valid JSON: NaN is not allowed"),
        (build_file(b'{"x": ' + b"9" * 5000 + b"}"), "the header is not valid JSON: Exceeds the limit"),
        (build_file(b"\xff\xff"), "the header is not valid JSON: 'utf-8' codec"),
    ],
)
def test_a_damaged_or_malicious_file_raises_with_the_problem(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "little.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=rf"little\.safetensors(?: can't be read as safetensors)?: {message}"):
        Safetensors(path=str(tmp_path / "little.safetensors"))(Little(), {})


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "fc.weight",
            np.where(np.eye(3, 5) == 1, np.nan, 1.0),
            r"fc\.weight \(our head/kernel\) has 3 values",
        ),
        ("bn.weight", np.full(4, np.inf), r"bn\.weight \(our norm/scale\) has 4 values that are not finite"),
        (
            "bn.bias",
            np.full(4, 1e300),
            r"bn\.bias \(our norm/bias\) has 4 values that are not finite in float32",
        ),
        ("fc.bias", np.zeros(3, np.int64), r"fc\.bias \(our head/bias\) must be an array of floats, got int64"),
        ("fc.bias", np.zeros(3, bool), r"fc\.bias \(our head/bias\) must be an array of floats, got bool"),
    ],
)
def test_weights_that_are_not_finite_floats_raise_with_their_names(
    tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    path = tmp_path / "little.safetensors"
    tensors = TORCH | {name: array}
    save_file({key: np.ascontiguousarray(values) for key, values in tensors.items()}, path)
    with pytest.raises(UserError, match=rf"little\.safetensors: {message}"):
        Safetensors(path=str(path))(Little(), variables(Little(), *IMAGE))
    layer = message.split("our ")[1].split("/")[0]
    assert layer not in Safetensors(path=str(path), skip=(layer,))(Little(), variables(Little(), *IMAGE))["params"]


def test_fields_must_have_the_values_that_the_weights_need() -> None:
    fields = ({"padding": "symmetric", "epsilon": 1e-5, "scale": None}, {"padding": "SAME", "epsilon": 1e-3})
    names = NamingScheme("timm", (), required_fields=fields)
    exact = [SimpleNamespace(padding="symmetric", epsilon=jnp.float32(1e-5), scale=None)]
    exact.append(SimpleNamespace(padding="SAME", epsilon=1e-3, scale=2))
    for architecture in exact:
        pretrained.check_fields(names, architecture)
    with pytest.raises(
        UserError,
        match=r"timm need epsilon=1e-05 scale=null, or padding=SAME epsilon=0.001\. Set .* or set `exact=false`",
    ):
        pretrained.check_fields(names, SimpleNamespace(padding="symmetric", epsilon=1.001e-5, scale=2))


def test_a_file_for_other_fields_raises_unless_exact_is_false(tmp_path: Path) -> None:
    network = MobileNet(outputs=3, stages=(MobileStage(8, (1,)),), stem=8, top=8)
    tree = variables(network, 4, 4, 3)
    scheme = pretrained.detect_scheme(network, {"features.0.0.weight": 0}, tree, "torchvision")
    arrays = {}
    for mapping in pretrained.plan_conversion(scheme, tree).mappings:
        axes = (3, 2, 0, 1) if len(mapping.shape) == 4 else range(len(mapping.shape))[::-1]  # the layout of PyTorch
        arrays[mapping.their_name] = drawn(*(mapping.shape[axis] for axis in axes))
    path = tmp_path / "network.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    with pytest.raises(UserError, match=r"torchvision need padding=symmetric epsilon=1e-05"):
        Safetensors(path=str(path))(network, tree)
    assert Safetensors(path=str(path), exact=False)(network, tree)["params"].keys() == tree["params"].keys()
    Safetensors(path=str(path))(network.clone(padding="symmetric", epsilon=1e-5), tree)
