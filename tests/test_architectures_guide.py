"""The files and commands of the guide to networks run, and its table lists every network."""

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from guides import read_guide
from networks import facts, variables
from options import built
from safetensors.numpy import save_file

from components.pretrained import plan_conversion
from components.pretrained.detect import find_schemes
from runner.__main__ import main
from runner.config.catalog import find_options
from runner.config.check import check_config
from runner.config.compose import compose

GUIDE = read_guide("architectures.md")
OTHER_NETWORKS = {
    "mlp",
    "reconstructing_regressor",
    "wide_deep",
    "image_columns",
    "sequential",
    "text_cnn",
    "wide_sequential",
    "wide_text_cnn",
    "fashion_cnn",
    "siamese",
}  # architectures that other texts describe


@pytest.mark.optax
@pytest.mark.slow
def test_files_and_commands_of_the_guide_run(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    GUIDE.write_files(in_empty_folder)
    assert len(GUIDE.commands) >= 5
    for command in GUIDE.commands:
        arguments = [
            *shlex.split(command),
            "training.epochs=1",
            "training.limit_batches=1",
            "tracking=none",
            "quiet=true",
        ]
        if "small_resnet" in command:  # takes long to compile; `fashion_mnist_resnet` is similar
            check_config(compose(arguments))
        else:
            assert main(arguments) == 0, (command, capsys.readouterr().err)


@pytest.mark.optax
def test_the_file_of_another_library_is_loaded_into_a_network_of_the_guide(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    GUIDE.write_files(in_empty_folder, monkeypatch)
    (command,) = re.findall(r"^    \$ titrate (--allow own_network .*)$", GUIDE.text, re.MULTILINE)
    random = np.random.default_rng(0)
    shapes = {"features.1": (4, 1, 3, 3), "features.2": (4, 4, 3, 3), "classifier": (10, 4)}
    arrays = {f"{name}.weight": random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": np.zeros(shape[0], np.float32) for name, shape in shapes.items()}
    save_file(arrays, "small.safetensors")
    quick = ["training.epochs=1", "training.limit_batches=1", "tracking=none", "quiet=true"]
    assert main([*shlex.split(command), *quick]) == 0, capsys.readouterr().err
    save_file({name: array for name, array in arrays.items() if name != "classifier.bias"}, "small.safetensors")
    assert main([*shlex.split(command), *quick, "seed=1"]) == 2
    assert "classifier.bias" in capsys.readouterr().err


class Row(NamedTuple):
    """A row of the table of networks; `name` is without quotes, `image` (height, width, channels)."""

    name: str
    description: str
    image: tuple[int, ...]
    parameters: int
    multiply_adds: str
    libraries: list[str]


def read_rows() -> list[Row]:
    cells = (line.strip("| ").split(" | ") for line in GUIDE.text.splitlines() if re.match(r"\| `\w+` \| .* x ", line))
    return [
        Row(
            name.strip("`"),
            description,
            tuple(map(int, image.split(" x "))),
            int(parameters.replace(",", "")),
            multiply_adds.strip("| "),
            [library.lower().replace(" ", "") for library in ", ".join(libraries).split(", ") if library],
        )
        for name, description, image, parameters, multiply_adds, *libraries in cells
    ]


ROWS = read_rows()
LONG_TO_TRACE = {  # most of those that take more than 0.4 seconds, but for one of each family
    *("convnext_base", "convnext_small", "efficientnet_b2", "resnext101", "se_inception", "se_resnet34"),
    *("se_resnext50", "se_resnext101"),
    *("densenet121", "densenet169", "densenet201", "efficientnet_b1", "efficientnet_b3", "efficientnet_b4"),
    *("inception_resnet_v1", "inception_resnet_v2", "inception_v3", "inception_v4", "mobilenet_v3"),
    *("mobilenet_v3_small", "resnet101", "resnet152", "se_inception_v3", "se_resnet101", "se_resnet152", "senet154"),
}


def test_the_table_of_the_guide_lists_every_network() -> None:
    assert {row.name for row in ROWS} == set(find_options().files["architecture"]) - OTHER_NETWORKS


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[pytest.mark.slow] * (row.name in LONG_TO_TRACE), id=row.name) for row in ROWS],
)
def test_a_row_of_the_table_is_true(row: Row) -> None:
    file = find_options().files["architecture"][row.name]
    assert file.read_text().partition("\n")[0] == f"# {row.description}."
    for size in re.findall(r"images of (\d+ x \d+)", row.description):
        assert size == " x ".join(map(str, row.image[:2]))
    network = built("architecture", row.name, outputs=10 if row.image[0] == 32 else 1000)
    if getattr(network, "auxiliary", None) is not None:
        network = network.clone(auxiliary=None)
    found = facts(network, *row.image)
    assert found.parameters == row.parameters
    assert format_count(found.multiply_adds, row.multiply_adds) == row.multiply_adds
    for library in row.libraries:
        assert takes_weights(network, library, found.variables), library


def format_count(count: int, example: str) -> str:
    """A number as the table has it: 415,680, 56.5 M or 1.58 G."""
    if example.endswith("G"):
        return f"{count / 1e9:.2f} G"
    return f"{count / 1e6:.1f} M" if example.endswith("M") else f"{count:,}"


def takes_weights(network: Any, library: str, known: Any) -> bool:
    """Whether a naming scheme of a library names all parameters of a network, or of one with the required fields."""
    schemes = [scheme for scheme in find_schemes(network) if scheme.library == library]
    if any(not plan_conversion(scheme, known).unmapped for scheme in schemes):
        return True
    changed = ((scheme, network.clone(**fields)) for scheme in schemes for fields in scheme.required_fields)
    return any(not plan_conversion(scheme, variables(other, 224, 224, 3)).unmapped for scheme, other in changed)
