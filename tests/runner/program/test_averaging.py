"""`update=[swa]`: the mean equals that of a plain loop, and changed numbers compile nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from step_session import STEPS, Session, images

from components.types import Clock, UserError
from components.update import SWA

EVERY = ("update.swa.every=3st", "update.swa.start=0.3")  # after step 6 of 20
TAKEN = (9, 12, 15, 18)


def mean(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.mean(np.stack(leaves).astype(np.float64), 0), *trees)


def evaluated(session: Session) -> Any:
    return jax.device_get(session.trainer.program.evaluated_weights(session.inputs, session.state)[0])


def assert_close(found: Any, expected: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), found, expected)


def test_the_mean_is_that_of_the_weights_taken_and_the_plain_weights_before() -> None:
    session, without = Session("optimizer=sgd", "update=[swa]", *EVERY), Session("optimizer=sgd")
    plain = [without.step().parameters for _ in range(STEPS)]
    for step in range(1, STEPS + 1):
        state = session.step()
        jax.tree.map(np.testing.assert_array_equal, state.parameters, plain[step - 1])  # training doesn't see the mean
        taken = [plain[each - 1] for each in TAKEN if each <= step]
        if len(taken) > 1:
            assert_close(evaluated(session), mean(taken))
        else:
            jax.tree.map(np.testing.assert_array_equal, evaluated(session), (taken or [plain[step - 1]])[0])
        assert session.sums[-1]["last"]["averaged_weights"] == len(taken)


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (("update.swa.last=6st", "update.swa.every=2st"), (16, 18, 20)),
        (("update.swa.last=50st", "update.swa.every=0.25"), (5, 10, 15, 20)),  # the whole run
        (("update.swa.start=0", "update.swa.every=8st"), (8, 16)),
        (("update.swa.start=0.5", "update.swa.every=0.125"), (12, 15, 18, 20)),  # nearest to 12.5, 15, 17.5 and 20
        (("update.swa.start=7st", "update.swa.every=4st"), (8, 12, 16, 20)),
        (("update.swa.every=0.01",), (16, 17, 18, 19, 20)),  # a step at least; the start is 0.75
    ],
)
def test_weights_are_taken_after_the_start_at_multiples(words: tuple[str, ...], taken: tuple[int, ...]) -> None:
    session = Session("optimizer=sgd", "update=[swa]", *words)
    plain = [session.step().parameters for _ in range(STEPS)]
    assert_close(evaluated(session), mean([plain[step - 1] for step in taken]))


def test_a_changed_start_compiles_nothing_and_has_an_effect() -> None:
    session = Session("optimizer=sgd", "update=[swa]", *EVERY)
    counts = []
    for name, value in (("start", 0.3), ("start", 0.5), ("every", 2.0)):
        session.change(f"update.swa.{name}", value)
        session.restart()
        session.step(STEPS)
        counts.append(int(session.sums[-1]["last"]["averaged_weights"]))
    assert counts == [len(TAKEN), 3, 5]
    assert session.trainer.program.train._cache_size() == 1


def test_frozen_parameters_constraints_and_lookahead_go_with_the_mean() -> None:
    """A mean of columns of norm 1 has a smaller norm, so the constraint applies where the mean is evaluated."""
    words = ("optimizer=sgd", "constraint=[unit_norm]", *EVERY)
    plain = Session("update=[freeze,lookahead]", *words[:2])
    trees = [plain.step().parameters for _ in range(STEPS)]
    session = Session("update=[freeze,lookahead,swa]", *words)
    start = jax.device_get(session.state.parameters)["architecture"]
    kept = session.step(STEPS).update_state["swa"]["params"]
    expected = mean([trees[step - 1] for step in TAKEN])
    assert_close(kept, expected)
    kernel = expected["architecture"]["head"]["kernel"]
    norm = np.linalg.norm(kernel, axis=0)
    assert norm.max() < 1 - 1e-5
    found = evaluated(session)["architecture"]
    np.testing.assert_allclose(found["head"]["kernel"], kernel / norm, rtol=1e-5)
    np.testing.assert_array_equal(found["dense_0"]["kernel"], start["dense_0"]["kernel"])


def test_a_skipped_step_adds_no_weights() -> None:
    """The number of a step counts skipped ones, so that weights are still taken at the ends of epochs."""
    skipping = Session("optimizer=sgd", "update=[swa,skip_nonfinite]", "regularizer=[l2]", *EVERY)
    skipping.step(8)
    skipping.change("regularizer.l2.strength", np.nan)  # the objective of the step after which weights would be taken
    skipped = skipping.step()
    assert skipped.update_state["skip_nonfinite"]["total"] == 1
    assert skipped.update_state["swa"]["average"]["count"] == 0
    skipping.change("regularizer.l2.strength", 0.0)
    later = [skipping.step().parameters for _ in range(9, STEPS)]
    assert skipping.sums[-1]["last"]["averaged_weights"] == len(TAKEN) - 1
    assert_close(evaluated(skipping), mean([later[step - 10] for step in TAKEN[1:]]))


def test_a_run_that_is_extended_averages_again_from_its_new_start() -> None:
    member = SWA()
    variables: Any = {"params": {"w": jnp.zeros(2)}, "batch_stats": {"mean": jnp.zeros(2)}}
    averaged = member.init(variables)
    lengths = [8] * 8 + [16] * 8
    for step, total in enumerate(lengths):
        variables = jax.tree.map(lambda leaf: leaf + 1, variables)
        clock = jax.tree.map(jnp.int32, Clock(step, total, 1))
        _, averaged = member.after(variables, averaged, jnp.int32(step), clock)
        begun = [number for number in range(1, step + 2) if (number > 12 if step >= 8 else number > 6)]
        expected = np.mean(begun) if begun else step + 1
        np.testing.assert_allclose(averaged["params"]["w"], expected, rtol=1e-6)
        assert member.count(averaged) == len(begun)
    np.testing.assert_array_equal(averaged["batch_stats"]["mean"], [16, 16])


LATE = """
import jax
import jax.numpy as jnp
class Late:
    def after(self, variables, averaged, step, clock):
        share = (clock.step + 1) / clock.total_steps
        return variables, jax.tree.map(lambda leaf: jnp.full_like(leaf, share), averaged)
"""


def test_a_member_of_the_user_may_take_the_clock(write_module: Callable[[str, str], None]) -> None:
    write_module("late", LATE)
    Path("conf/update").mkdir(parents=True)
    Path("conf/update/late.yaml").write_text("# The share of the run.\nlate: {_target_: late.Late}\n")
    state = Session("optimizer=sgd", "update=[late]").step(2)
    np.testing.assert_allclose(state.update_state["late"]["params"]["architecture"]["head"]["bias"], 2 / STEPS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("update=[swa,ema]",), r"update: ema and swa exclude each other\. Choose one of them\."),
        (
            ("update=[swa]", "update.swa.start=0.5", "update.swa.last=2ep"),
            r"update\.swa\.last: `start` is set too, and both say when the averaging starts\. Leave one out\.",
        ),
        (("update=[swa]", "optimizer=schedule_free_adamw"), r"update\.swa: the optimizer is schedule-free"),
    ],
)
def test_what_excludes_the_mean_is_an_error(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Session(*words, source=images())
