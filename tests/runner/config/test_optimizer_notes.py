"""Notes about optimizers whose steps will be bad in a run."""

import pytest

from runner.config.compose import compose
from runner.config.optimizer_notes import RATES, find_optimizer_notes
from runner.signature.allowed_parts import is_allowed_part

ROWS = 1257
RATE = "{name} is made for a learning rate of about {best}, but it is {rate}. Set learning_rate={best}"
CHANGES = "L-BFGS compares the gradients of successive steps, which must be those of one function. Here it changes: "
BATCH = "a step sees 32 of 1,257 examples (set training.batch_size=1257)"
LBFGS = ["optimizer=lbfgs", "learning_rate=1"]


@pytest.mark.parametrize(
    ("words", "notes"),
    [
        (["optimizer=adam"], []),
        (["optimizer=prodigy"], [RATE.format(name="prodigy", best=1, rate=0.001)]),
        (["optimizer=prodigy", "learning_rate=0.2"], []),
        (["optimizer=muon", "schedule=cosine"], [RATE.format(name="muon", best=0.02, rate=0.001)]),
        ([*LBFGS, f"training.batch_size={ROWS}"], []),
        (LBFGS, [CHANGES + BATCH]),
        (
            ["update=[groups]", "update.groups.a={paths: ['**/bias'], optimizer: lbfgs}"],
            [CHANGES + BATCH],
        ),
        (
            [*LBFGS, "experiment=digits_cnn", "training.batch_size=2000", "augmentation=[flip,crop]"],
            [
                f"{CHANGES}augmentation (crop, flip) changes the examples (set augmentation=[]); dropout "
                "(architecture.layers.4, architecture.layers.6) drops other values in each step (leave it out)"
            ],
        ),
        (
            [*LBFGS, "architecture=fashion_cnn", "training.batch_size=2000"],  # has dropout by default
            [f"{CHANGES}dropout (architecture.dropout) drops other values in each step (leave it out)"],
        ),
        ([*LBFGS, "architecture=fashion_cnn", "architecture.dropout=null", "training.batch_size=2000"], []),
    ],
)
def test_the_notes_of_an_optimizer(words: list[str], notes: list[str]) -> None:
    assert list(find_optimizer_notes(compose(words).values, ROWS)) == notes


@pytest.mark.parametrize("target", RATES)
def test_the_optimizers_with_a_rate_exist(target: str) -> None:
    assert is_allowed_part(target, ["optimizer"])
