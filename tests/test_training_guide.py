"""The guide to training is current: its files and commands run, and its tables list all members and optimizers.

`PYTHONPATH=tests/helpers uv run python tests/test_training_guide.py` updates the table of optimizers.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jax
import optax
import pytest
import yaml
from guides import read_guide
from optimizers import list_numbers, list_optimizers
from options import options
from slow import slow_but

import runner
from runner.__main__ import main
from runner.config.catalog import find_options
from runner.config.check_update import can_limit_decay
from runner.signature.build import build
from runner.signature.parameters import read_signature

PATH = Path(__file__).parent.parent / "docs/training.md"
WHOLE = PATH.read_text()
GUIDE = read_guide("training.md", end="How long")  # other tests run the other sections
EXAMPLES = re.findall(r"^\| `(\w+)` \| .* \| `(\{.*\})` \|$", WHOLE, re.MULTILINE)
TABLE = re.compile(r"(<!-- optimizers.*? -->\n).*?(<!-- end of optimizers -->)", re.DOTALL)
QUICK = ("training.limit_batches=1", "tracking=none", "quiet=true")


def optimizer_table() -> str:
    lines = ["| optimizer | numbers | decays |", "|---|---|---|"]
    for target, signature in list_optimizers().items():
        numbers = ", ".join(f"`{name}`" for name in list_numbers(signature)) or "none"
        limited = {can_limit_decay(target, name) for name in list_numbers(signature) if "weight_decay" in name}
        decays = "" if not limited else "kernels, embeddings" if all(limited) else "not supported"
        lines.append(f"| `{target}` | {numbers} | {decays} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_optimizers_is_current() -> None:
    assert TABLE.sub(lambda match: f"{match[1]}{optimizer_table()}{match[2]}", WHOLE) == WHOLE


@pytest.mark.optax
@pytest.mark.parametrize("target", list_optimizers())
def test_the_numbers_of_an_optimizer_may_be_traced(target: str) -> None:
    """All at once, with their defaults; 0.1 if there is none."""
    signature = list_optimizers()[target]
    defaults = {name: signature[name].default for name in list_numbers(signature)}
    numbers = {name: default if isinstance(default, float | list) else 0.1 for name, default in defaults.items()}
    parameters = {"layer": {"kernel": jax.numpy.ones((3, 4)), "bias": jax.numpy.ones(4)}}

    def objective(values: Any) -> jax.Array:
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(values))

    def step(traced: dict[str, Any]) -> Any:
        optimizer = optax.with_extra_args_support(build({"_target_": target}, {}, **traced))
        value, gradients = jax.value_and_grad(objective)(parameters)
        extra = {"value": value, "grad": gradients, "value_fn": objective}
        return optimizer.update(gradients, optimizer.init(parameters), parameters, **extra)[0]

    arrays = jax.tree.map(jax.numpy.float32, {**numbers, "learning_rate": 0.1})
    shapes = jax.eval_shape(step, arrays)
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == jax.tree.map(lambda leaf: leaf.shape, parameters)


def test_the_table_of_options_lists_all_with_their_fields() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|.*\| ((?:`\w+`(?:, )?)+) \|$", WHOLE, re.MULTILINE)
    fields = {name: row[1] for row in rows for name in re.findall(r"\w+", row[0]) if name in options("optimizer")}
    assert {*fields} == {*options("optimizer")}
    for name, listed in fields.items():
        signature = read_signature(options("optimizer")[name]["_target_"]) or {}
        assert {*re.findall(r"\w+", listed)} <= {*signature}, name


def test_the_table_of_members_lists_all() -> None:
    assert {name for name, _ in EXAMPLES} == {*find_options().files["update"]}


@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
@pytest.mark.parametrize(("name", "example"), slow_but(EXAMPLES[::3], EXAMPLES))
def test_the_example_of_a_member_runs(name: str, example: str) -> None:
    values = {key: re.sub(r"\"(\w+)\":", r"\1:", json.dumps(value)) for key, value in yaml.safe_load(example).items()}
    words = [f"update.{name}.{key}={value}" for key, value in values.items()]
    run = ["experiment=digits_mlp", "architecture.widths=[4]", "training.epochs=2", f"update=[{name}]"]
    assert main([*run, *words, *QUICK]) == 0


@pytest.mark.slow
@pytest.mark.optax
def test_its_files_and_commands_run(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GUIDE.write_files(in_empty_folder, monkeypatch)
    assert len(GUIDE.commands) == 16
    earlier = runner.run("experiment=digits_mlp", "training.epochs=1", *QUICK).folder
    for command in GUIDE.commands:
        epochs = () if "fine_tuned" in command or "in_turns" in command else ("training.epochs=1",)
        words = [word.replace("=RUN", f"={earlier}") for word in shlex.split(command)]
        assert main([*words, *epochs, *QUICK]) == 0, command


if __name__ == "__main__":
    PATH.write_text(TABLE.sub(lambda match: f"{match[1]}{optimizer_table()}{match[2]}", WHOLE))
