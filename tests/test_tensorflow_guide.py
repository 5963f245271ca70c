"""The guide for users of TensorFlow is complete, and each of its lines runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from guides import read_guide
from slow import slow_but

from runner.__main__ import main
from runner.config.check import check_config
from runner.config.compose import compose

PAGE = "from_tensorflow.md"
GUIDE = read_guide(PAGE)
TABLE = ["data=table", "data.path=shards/*.csv", "data.target=price"]
METHODS = """
apply as_numpy_iterator batch bucket_by_sequence_length cache cardinality choose_from_datasets concatenate counter
element_spec enumerate filter fingerprint flat_map from_generator from_tensor_slices from_tensors get_single_element
group_by_window ignore_errors interleave list_files load map options padded_batch prefetch ragged_batch random range
rebatch reduce rejection_resample repeat sample_from_datasets save scan shard shuffle skip snapshot sparse_batch take
take_while unbatch unique window with_options zip
"""
LAYERS = """
AugMix AutoContrast CategoryEncoding CenterCrop CutMix Discretization Equalization HashedCrossing Hashing IntegerLookup
MaxNumBoundingBoxes MelSpectrogram MixUp Normalization Pipeline RandAugment RandomBrightness RandomColorDegeneration
RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
RandomSharpness RandomShear RandomTranslation RandomZoom Rescaling Resizing STFTSpectrogram Solarization StringLookup
TextVectorization
"""
ALWAYS = {"options", "with_options", "prefetch", "fingerprint"}  # there is nothing to say


def read_rows(start: str, end: str) -> list[tuple[list[str], list[str]]]:
    """The code of both cells of each row of the tables of a section."""
    lines = [line for line in read_guide(PAGE, start, end).text.splitlines() if line.startswith("| `")]
    cells = [line.strip("| ").split(" | ", 1) for line in lines]
    return [(re.findall(r"`([^`]+)`", first), re.findall(r"`([^`]+)`", second)) for first, second in cells]


def list_cases() -> list[tuple[str, tuple[str, ...]]]:
    """A method, and the words of a command for each operation of the table of methods, or for other words there."""
    cases = []
    for methods, codes in read_rows("tf.data", "Preprocessing"):
        operations = [code for code in codes if code.startswith("{")]
        words = [shlex.split(code) for code in codes if re.match(r"--allow|[a-z_.]+=|'", code)]
        settings = [word for each in words for word in each] if operations else []
        words = [[*shlex.split(f"'operations=[{each}]'"), *settings] for each in operations] or words  # as in a shell
        cases += [(methods[0], tuple(each)) for each in words]
    return cases


CASES = list_cases()


@pytest.fixture
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files and tables."""
    GUIDE.write_files(in_empty_folder, monkeypatch)
    exec(GUIDE.files["make_tables.py"], {})
    return in_empty_folder


def test_all_methods_and_layers_are_named() -> None:
    methods = {method for row, _ in read_rows("tf.data", "Preprocessing") for method in row}
    assert methods == {*METHODS.split()}
    assert {*LAYERS.split()} <= set(re.findall(r"`(\w+)`", read_guide(PAGE, "Preprocessing", "Feature columns").text))
    silent = {method for row, codes in read_rows("tf.data", "Preprocessing") for method in row if not codes}
    assert silent == ALWAYS
    assert len(CASES) >= 40


@pytest.mark.optax
@pytest.mark.parametrize(("method", "words"), slow_but(CASES[7:9], CASES))
def test_the_words_of_a_method_run(
    method: str, words: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mode = [] if any(word.startswith("mode=") for word in words) else ["mode=dry_run"]
    given = [] if any(word.startswith(("runs.delete", "data=")) for word in words) else TABLE
    assert main([*mode, *given, *words, "quiet=true"]) == 0, capsys.readouterr()


@pytest.mark.optax
def test_the_pipeline_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = GUIDE.commands
    assert main([*shlex.split(command), "tracking=none", "quiet=true"]) == 0, capsys.readouterr()


@pytest.mark.optax
@pytest.mark.parametrize(("start", "end"), [("Preprocessing", "Feature columns"), ("Feature columns", "")])
def test_the_columns_are_encoded(start: str, end: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns: dict[str, Any] = {}
    for _, codes in read_rows(start, end):
        for code in codes:
            if "_target_" in code:
                columns |= yaml.safe_load(code)
    read = {
        key for node in columns.values() for key in [node.get("key"), *node.get("keys", [])] if isinstance(key, str)
    }
    inputs = [name for name, node in columns.items() if not node["_target_"].endswith("Tokens") and name not in read]
    assert len(columns) >= 10
    target = {"_target_": "components.feature.Numeric", "key": "price"}
    Path("conf/feature/all.yaml").write_text(
        "# All.\n" + yaml.safe_dump({"target": target, "columns": columns, "inputs": {"inputs": inputs}})
    )
    assert main(["mode=dry_run", *TABLE[:2], "feature=all", "loss=mse", "metric=[rmse]", "quiet=true"]) == 0, (
        capsys.readouterr()
    )


@pytest.mark.parametrize("row", list(read_rows("Preprocessing", "Feature columns")), ids=lambda row: row[0][0])
def test_the_words_of_an_image_layer_are_checked(row: tuple[list[str], list[str]]) -> None:
    for code in row[1]:
        if "=" in code:
            config = compose(["experiment=digits_cnn", *shlex.split(code)])
            check_config(config)
