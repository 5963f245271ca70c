"""Every experiment, two steps of it on a little data of its own shape; and every option is named by one of them."""

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sample_files import ROWS, write_housing, write_reviews

import runner
from components.data import Arrays, write_idx
from runner.config.catalog import catalog, defaults
from runner.config.check import check_config
from runner.config.compose import compose
from runner.run_folder import RESULT_NEUTRAL_KEYS
from runner.signature.build import build

FILES = catalog().files
EXPERIMENTS = sorted(FILES["experiment"])
IDX_SHAPES = {"fashion_mnist": (28, 28), "mnist": (28, 28)}
OF_NETWORKS = Path(__file__).parent / "components/architecture"


@pytest.fixture
def few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with a few examples, in place of all that `conf/data` names."""
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TITRATE_CACHE", str(tmp_path / "cache"))
    write_housing(tmp_path / "data/california_housing/housing.csv")
    write_reviews(tmp_path / "data/imdb/aclImdb_labelled.tar.gz")
    for name, shape in IDX_SHAPES.items():
        content = yaml.safe_load(FILES["data"][name].read_text())
        folder = tmp_path / "data" / content["path"]
        folder.mkdir(parents=True)
        for images, labels in (content["train"], content["test"]):
            write_idx(folder / images, np.random.default_rng(0).integers(0, 256, (ROWS, *shape), np.uint8))
            write_idx(folder / labels, (np.arange(ROWS) % 10).astype(np.uint8))


def few_rows(data: dict[str, Any]) -> Arrays | None:
    """Some rows of a source that needs no file; None for one that has its few rows in files."""
    if data.get("path") is not None:
        return None
    source = build(data, {})
    blocks = list(source.blocks("all"))
    columns = {name: np.concatenate([block.columns[name] for block in blocks]) for name in blocks[0].columns}
    rows = np.linspace(0, len(next(iter(columns.values()))) - 1, ROWS).astype(int)
    return Arrays(
        columns={name: values[rows] for name, values in columns.items()},
        valid=20,
        test=20,
        stratify="label" if "label" in columns else None,
    )


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder", "few_files")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_takes_two_steps(name: str) -> None:
    overrides = [f"experiment={name}", "training.epochs=1", "training.batch_size=20", "tracking=none", "quiet=true"]
    config = compose(overrides)
    source = few_rows(config.values["data"])
    result = runner.run(*overrides, *(["data.valid=40"] if source is None else []), source=source)
    assert result.status == "finished"
    assert result.history[0]["step"] == 2
    assert all(np.isfinite(value) for value in result.metrics.values())
    assert {f"test/{metric}" for metric in ("loss", *config.values["metric"])} <= set(result.metrics)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_asks_and_what_came_of_it(name: str) -> None:
    lines = FILES["experiment"][name].read_text().splitlines()
    header = {line[2:].partition(":")[0]: line.partition(":")[2].strip() for line in lines if line.startswith("# ")}
    assert list(header)[:4] == ["Question", "Result", "Time", "Command"]
    assert f"experiment={name}" in header["Command"]
    seeds = re.search(r"seeds 0, 1, 2: ([\d.]+), ([\d.]+), ([\d.]+)", header["Result"])
    assert seeds is None or (len(set(seeds.groups())) > 1 and all(map(float, seeds.groups())))
    assert any(map(float, re.findall(r"\d+\.\d+", header["Result"])))
    assert re.search(r"\d", header["Time"])
    check_config(compose([f"experiment={name}"]))


@pytest.mark.parametrize("group", [group for group in defaults() if group not in ("experiment", *RESULT_NEUTRAL_KEYS)])
def test_every_option_is_named_by_an_experiment(group: str) -> None:
    chosen = [choices()[name][group] for name in EXPERIMENTS]
    named = {option for choice in chosen for option in (choice if isinstance(choice, list) else [choice])}
    own = {option for option, file in FILES[group].items() if "???" not in file.read_text()}  # not for one's own file
    assert named | (tabled() if group == "architecture" else set()) == own


def tabled() -> set[str]:
    """The networks whose parameters, multiply-adds and stages stand in a table of the tests."""
    texts = "\n".join(path.read_text() for path in OF_NETWORKS.glob("test_*.py"))
    targets = {option: yaml.safe_load(file.read_text())["_target_"] for option, file in FILES["architecture"].items()}
    return {option for option, target in targets.items() if re.search(rf"\b{target.rpartition('.')[2]}\b", texts)}


@functools.cache
def choices() -> dict[str, dict[str, Any]]:
    return {name: compose([f"experiment={name}"]).choices for name in EXPERIMENTS}
