"""Every option of `conf/` works: it takes two steps, is saved and resumed; every network is traced.

A new option is tested without a change here. Options that must fit together are tried in the combinations of the
experiments. The data sets, features and networks of an experiment take their two steps in `test_experiments.py`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from itertools import chain, product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import yaml
from delivery import InProcessChild
from sample_files import write_data
from two_steps import WORDS, interrupted_once, take_two_steps

import runner
from components.data import Arrays
from components.types import UserError
from runner.config.catalog import EXPERIMENT, find_options, read_default_options
from runner.config.check_targets import has_member
from runner.config.compose import compose, configure
from runner.display.progress import make_progress
from runner.execution.prepare import make_trainer
from runner.signature.parameters import read_signature
from runner.signature.source import find_definition
from runner.training.signals import Signals
from runner.training.trainer import Trainer

FILES = find_options().files
NETWORKS = FILES["architecture"]
COMBINED = ("data", "feature", "architecture", "loss")  # the groups whose choices must fit together
INPUTS = {  # of networks that take more than images, or less than the features of an experiment
    "image_columns": ["feature.inputs.columns=[image]"],
    "siamese": ["examples=pairs"],
    "text_cnn": ["~feature.inputs.wide"],
}
VIEWS = ["examples=views", "architecture=siamese", "feature.target=null", "loss=nt_xent"]
NEEDED = {  # by losses and metrics, beside their choice
    "poisson_deviance": ["loss=poisson", "feature.target.normalize=null"],  # needs predictions above 0
    "contrastive": ["examples=pairs", "architecture=siamese"],
    "contrastive_accuracy": VIEWS,
    "nt_xent": VIEWS,
    "views": VIEWS,
    "cosine_similarity": ["feature.target.key=[progression,bmi]"],
}
SIZES = (32, 80, 299)  # sides of images; some networks need larger ones
GUIDE = (Path(__file__).parent.parent / "docs/architectures.md").read_text()
PARAMETERS = {
    name: int(number.replace(",", ""))
    for name, number in re.findall(r"^\| `(\w+)` \| .* \| ([\d,]+) \| ", GUIDE, re.MULTILINE)
}
LONG_TO_TRACE = {  # more than 1.5 seconds each, 90 in all; the fast tests of their modules trace them in inference
    "convnext_base",
    "convnext_small",
    "convnext_tiny",
    "densenet121",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "googlenet",
    "mobilenet_v3_small",
    "xception",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "inception_resnet_v1",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3",
    "resnet101",
    "resnet152",
    "resnet50",
    "resnet56",
    "resnext101",
    "resnext50",
    "se_inception",
    "se_inception_v3",
    "se_resnet101",
    "se_resnet152",
    "se_resnet34",
    "se_resnet50",
    "se_resnext101",
    "se_resnext50",
    "senet154",
    "wide_resnet50",
}


@functools.cache
def list_combinations() -> list[dict[str, str]]:
    """What `conf/run.yaml` and the experiments with a loss choose together."""
    chosen = [compose(words).choices for words in ([], *([f"experiment={name}"] for name in FILES[EXPERIMENT]))]
    return [{group: choice[group] for group in COMBINED} for choice in chosen if choice["loss"] is not None]


def list_options(group: str) -> set[str]:
    """The options that an experiment names."""
    return {combination[group] for combination in list_combinations()[1:]}


def target(network: str) -> str:
    return str(yaml.safe_load(NETWORKS[network].read_text())["_target_"])


def group_by_family() -> dict[str, list[str]]:
    """The networks by the module that defines them."""
    found: dict[str, list[str]] = {}
    for name in NETWORKS:
        definition = find_definition(target(name))
        assert definition is not None
        found.setdefault(definition.module.name, []).append(name)
    return found


PUBLISHED = "imagenet"  # weights whose file is published
SLOW = "mlflow"  # to import
FIRST_OF_GROUP = {group: min(set(options) - {SLOW, PUBLISHED}) for group, options in FILES.items()}
PARTS = [  # of each group one is run here, and all others by `pytest -m slow`
    pytest.param(
        *(group, option),
        id=f"{group}={option}",
        marks=[] if option == FIRST_OF_GROUP[group] else pytest.mark.slow,
    )
    for group in read_default_options()
    if group not in ("architecture", EXPERIMENT)
    for option, path in FILES[group].items()
    if "???" not in path.read_text() and option != PUBLISHED  # needs no file of the user's, and no published one
    if group not in ("data", "feature") or option not in list_options(group)
]
FAMILIES = [names for names in group_by_family().values() if not list_options("architecture") & set(names)]
SMALLEST = [min(names, key=lambda name: PARAMETERS.get(name, 0)) for names in FAMILIES]


def mark_slow(names: Iterable[str], slow: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


@pytest.fixture(scope="module", autouse=True)
def few_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A few rows of every data set that has its files below $TITRATE_DATA."""
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TITRATE_DATA", str(folder))
        yield


def images(side: int) -> Arrays:
    """A few images (side, side, 3) of ten classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, side, side, 3), np.uint8)
    return Arrays(columns={"image": pixels, "label": np.arange(30) % 10}, valid=10, test=10, stratify="label")


def iterate_candidates(group: str, option: str) -> Iterator[dict[str, str]]:
    """The combinations in which an option may fit: first those that name it; for data and features all pairs, too."""
    small = [combination | {"architecture": "mlp"} for combination in list_combinations()]
    known = sorted(small + list_combinations(), key=lambda combination: combination.get(group) != option)
    pairs: Iterable[tuple[str, ...]] = ()
    if group in ("data", "feature"):
        losses = dict.fromkeys(combination["loss"] for combination in known)
        pairs = product(FILES["data"], FILES["feature"], ["mlp"], losses)
    if group == "data":  # the columns and the network are suggested
        known = [{"data": option}, *known]
    seen = []
    for combination in chain(known, (dict(zip(COMBINED, pair, strict=True)) for pair in pairs)):
        changed = combination | ({group: option} if group in COMBINED else {})
        if changed not in seen:
            seen.append(changed)
            yield changed


def list_overrides(group: str, option: str, combination: dict[str, str]) -> list[str]:
    """The words of a small run with an option, which is the only one of its group."""
    chosen = {"optimizer": "sgd", "metric": "[]", "tracking": "none"} | combination
    if group == "update" and has_member(yaml.safe_load(FILES[group][option].read_text())[option], "decays"):
        chosen["optimizer"] = "adamw"  # it needs a weight decay
    chosen[group] = f"[{option}]" if isinstance(read_default_options()[group], list) else option
    words = [*(f"{group}={option}" for group, option in chosen.items()), "training.batch_size=10", *WORDS]
    words += ["architecture.widths=[4]"] if chosen.get("architecture") == "mlp" else []
    return words + (["data.valid=20"] if "valid:" in FILES["data"][chosen["data"]].read_text() else [])


def find_teacher(words: list[str]) -> list[str]:
    """Trains the teacher that the loss of a run needs, on the same data. Returns the words that name it."""
    loss = next((word.removeprefix("loss=") for word in words if word.startswith("loss=")), None)
    if loss is None or not has_member(yaml.safe_load(FILES["loss"][loss].read_text()), "needs_teacher"):
        return []
    plain = [word for word in words if not word.startswith("loss=")]
    return ["teacher=run", f"teacher.run={runner.run(*plain, 'loss=softmax_cross_entropy').folder}"]


class Fit(NamedTuple):
    """A run that an option fits in; its first step is traced."""

    words: list[str]
    source: Arrays | None
    trainer: Trainer


def fit(group: str, option: str, sides: Iterable[int] = (), more: Iterable[str] = ()) -> Fit:
    """Finds the first run that an option fits in: on images of one of the sizes, or in one of the list_combinations."""
    problems: dict[str, str] = {}
    pictures = [(list_combinations()[0] | {group: option}, images(side)) for side in sides]
    for combination, source in chain(pictures, ((found, None) for found in iterate_candidates(group, option))):
        words = [*list_overrides(group, option, combination), *more]
        if source is not None:
            words = [word for word in words if not word.startswith("data.")]
        try:
            words += find_teacher(words)
            with Signals() as signals:
                trainer = make_trainer(configure(words), source, make_progress(quiet=True), signals)
        except UserError as error:
            problems.setdefault(str(error), " ".join(f"{key}={value}" for key, value in combination.items()))
        else:
            return Fit(words, source, trainer)
    pytest.fail(f"{group}={option} fits nowhere:\n" + "\n".join(f"{words}: {why}" for why, words in problems.items()))


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own
@pytest.mark.parametrize(("group", "option"), PARTS)
def test_an_option_takes_two_steps_and_is_resumed(
    group: str, option: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    words = fit(group, option, more=NEEDED.get(option, []) if group in ("loss", "metric") else []).words
    if group == "tracking" and option != "none":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{request.getfixturevalue('database')}")
        monkeypatch.setattr("runner.tracking._start_child", InProcessChild)  # a process imports MLflow slowly
    if group == "sweep":
        check_sweep(words)
    else:
        history = take_two_steps(*words).records
        assert group == "tracking" or history == runner.run(*words, "fresh=true").records


def check_sweep(words: list[str]) -> None:
    with interrupted_once():
        interrupted, resumed = (runner.multirun(*words, "learning_rate=1e-3,1e-2") for _ in range(2))
    assert interrupted.status == "interrupted"
    assert (resumed.status, resumed.folder) == ("finished", interrupted.folder)
    assert [run.status for run in resumed.runs] == ["finished", "finished"]


@pytest.mark.slow
@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize("option", SMALLEST)
def test_the_smallest_network_of_a_family_takes_two_steps_and_is_resumed(option: str) -> None:
    narrow = ["architecture.width=0.25"] if "width" in (read_signature(target(option)) or {}) else []
    found = fit("architecture", option, SIZES, [*narrow, *INPUTS.get(option, [])])
    take_two_steps(*found.words, source=found.source)


@pytest.mark.optax
@pytest.mark.parametrize("option", mark_slow(NETWORKS, LONG_TO_TRACE))
def test_a_training_step_of_a_network_is_traced(option: str) -> None:
    trainer = fit("architecture", option, SIZES[-1:], INPUTS.get(option, [])).trainer
    assert sum(leaf.size for leaf in jax.tree.leaves(trainer.state_shapes.parameters)) > 0


@pytest.mark.parametrize("group", [group for group in FILES if group != EXPERIMENT])
def test_the_file_of_an_option_starts_with_a_description(group: str) -> None:
    titles = {option: path.read_text().partition("\n")[0] for option, path in FILES[group].items()}
    wrong = [option for option, title in titles.items() if not re.fullmatch(r"# [A-Z\d].{8,}\.", title)]
    assert not wrong, f"{group}: start these files with a comment, one sentence on one line"
    assert len(set(titles.values())) == len(titles)
