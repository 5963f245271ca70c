"""Every experiment takes two steps on a few rows in the shape of its data, and is resumed. Its header is complete."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_files import ROWS, write_data
from two_steps import WORDS, take_two_steps

import runner
from components.data import Arrays
from runner.config.catalog import find_options
from runner.config.check import check_config
from runner.config.compose import compose
from runner.signature.build import build

FILES = find_options().files
EXPERIMENTS = sorted(FILES["experiment"])
SERIES = 800  # rows of a time series, from which windows of a week and a day are taken
# The starts of the names of large networks, of variants of other experiments, and of comparisons that are alike:
SLOW = (
    *("cifar10", "fashion_mnist", "mixup", "imdb", "mnist", "onecycle_cifar", "two_rates"),
    *("california_housing_dnn", "diabetes_absolute", "diabetes_robust", "digits_lenet5", "digits_mlp"),
    *("default_networks", "l2_dropout", "max_norm", "mc_dropout", "optimizers", "schedules", "selu_alpha_dropout"),
    *("transfer_digits", "wide_deep_two_optimizers"),
)

STARTS_FROM = {  # experiments that need a run of another one, and the keys by which the user names it
    "fashion_mnist_from_pairs": ("fashion_mnist_pairs", "weights.run"),
    "pretraining": ("pretraining_autoencoder", "weights.run"),
    "transfer_digits_cached": ("transfer_digits", "data.run"),
    "transfer_digits_reuse": ("transfer_digits", "weights.run"),
}


def mark_slow(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name.startswith(SLOW) else name for name in names]


@pytest.fixture
def few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes files with a few examples, in place of all files that `conf/data` names."""
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path / "cache"))
    write_data(tmp_path / "data")


def few_rows(data: dict[str, Any], *, has_windows: bool) -> Arrays | None:
    """Returns some rows of a source without files. None: the source reads files, which have few rows already."""
    if data.get("path") is not None or "rows" in data:
        return None
    source = build(data, {})
    blocks = list(source.blocks("all"))
    columns = {name: np.concatenate([block.columns[name] for block in blocks]) for name in blocks[0].columns}
    if has_windows:
        return Arrays(
            columns={name: values[:SERIES] for name, values in columns.items()}, valid=240, test=240, seed=None
        )
    rows = np.linspace(0, len(next(iter(columns.values()))) - 1, ROWS).astype(int)
    return Arrays(
        columns={name: values[rows] for name, values in columns.items()},
        valid=20,
        test=20,
        stratify="label" if "label" in columns else None,
    )


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder", "few_files")
@pytest.mark.parametrize("name", mark_slow(EXPERIMENTS))
def test_every_experiment_takes_two_steps_and_is_resumed(name: str) -> None:
    overrides = [f"experiment={name}", "training.batch_size=20", "tracking=none", "sweep.over=null"]
    config = compose(overrides)
    examples = config.values["examples"]
    has_windows = examples is not None and examples["_target_"].endswith(".Windows")
    source = few_rows(config.values["data"], has_windows=has_windows)
    if name in STARTS_FROM:
        other, key = STARTS_FROM[name]
        earlier = runner.run(f"experiment={other}", "data.valid=20", *overrides[1:], *WORDS)
        overrides.append(f"{key}={earlier.folder}")
    valid = f"data.{'rows.' if 'rows' in config.values['data'] else ''}valid=20"
    result = take_two_steps(*overrides, *([valid] if source is None else []), source=source)
    assert {f"test/{metric}" for metric in ("loss", *config.values["metric"])} <= set(result.metrics)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_a_question_a_result_a_time_and_a_command(name: str, in_empty_folder: Path) -> None:
    lines = FILES["experiment"][name].read_text().splitlines()
    header = {line[2:].partition(":")[0]: line.partition(":")[2].strip() for line in lines if line.startswith("# ")}
    assert list(header)[:4] == ["Question", "Result", "Time", "Command"]
    assert f"experiment={name}" in header["Command"]
    seeds = re.search(r"seeds 0, 1, 2: ([\d.]+), ([\d.]+), ([\d.]+)", header["Result"])
    assert seeds is None or (len(set(seeds.groups())) > 1 and all(map(float, seeds.groups())))
    assert any(map(float, re.findall(r"\d+\.\d+", header["Result"])))
    assert re.search(r"\d", header["Time"])
    words = [f"experiment={name}"]
    if name in STARTS_FROM:
        _, key = STARTS_FROM[name]
        assert f"{key}=" in header["Command"]
        Path("outputs/earlier").mkdir(parents=True)
        Path("outputs/earlier/record.json").write_text("{}")
        words.append(f"{key}=outputs/earlier")
    check_config(compose(words))
