"""The type hints of the parameters of Optax, which annotates neither ranges nor which numbers may be traced."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from components.types import Range
from runner.signature.type_hints import ScalarHint, alternatives

SHARE = Annotated[ScalarHint, Range(0, 1, "[)")]
POSITIVE = Annotated[ScalarHint, Range(0)]
ABOVE_0 = Annotated[ScalarHint, Range(0, math.inf, "()")]
COUNT = Annotated[int, Range(1, 2**31 - 1)]
DTYPE = Literal["bfloat16", "float16", "float32"]

HINTS: dict[str, Any] = {
    "accumulator_dtype": DTYPE,
    "adam_b1": SHARE,
    "adam_b2": SHARE,
    "adam_eps_root": POSITIVE,
    "adam_learning_rate": POSITIVE,
    "adam_weight_decay": POSITIVE,
    "b1": SHARE,
    "b2": SHARE,
    "b3": SHARE,
    "beta": SHARE,
    "beta3": SHARE,
    "betas": tuple[SHARE, SHARE],
    "clipping_threshold": Annotated[ScalarHint, Range(1)],
    "consistent_rms": ABOVE_0,
    "decay": SHARE,
    "decay_offset": Annotated[int, Range(0, 2**31 - 1)],
    "decay_rate": POSITIVE,
    "dtype_momentum": DTYPE,
    "eps": POSITIVE,
    "eps_root": POSITIVE,
    "estim_lr0": ABOVE_0,
    "estim_lr_coef": ABOVE_0,
    "eta_minus": Annotated[ScalarHint, Range(0, 1, "()")],
    "eta_plus": Annotated[ScalarHint, Range(1)],
    "initial_accumulator_value": POSITIVE,
    "initial_scale": POSITIVE,
    "max_step_size": ABOVE_0,
    "memory_size": COUNT,
    "min_dim_size_to_factor": COUNT,
    "min_norm": POSITIVE,
    "min_step_size": POSITIVE,
    "momentum": SHARE,
    "mu_dtype": DTYPE,
    "ns_steps": COUNT,
    "rho": SHARE,
    "state_dtype": DTYPE,
    "threshold": POSITIVE,
    "trust_coefficient": ABOVE_0,
    "warmup_steps": COUNT,
    "weight_decay": POSITIVE,
    "weight_decay_rate": POSITIVE,
    "weight_lr_power": POSITIVE,
    "schedule_free_adamw.b1": Annotated[ScalarHint, Range(0, 1, "()")],  # it divides by b1
    "schedule_free_sgd.b1": Annotated[ScalarHint, Range(0, 1, "()")],
}
"""Hints by the name of a parameter, or by `function.parameter` where the function's differs from others."""


def hint_of_optax(target: str, name: str, hint: Any, default: Any) -> Any:
    """The hint of a parameter of Optax. A number that the table lacks may be traced if its default is a float.

    Args:
        target: the target, such as `optax.adam`.
        name: the name of the parameter.
        hint: the hint of its annotation, which says whether null is allowed.
        default: its default.
    """
    function = target.rpartition(".")[2]
    found = HINTS.get(f"{function}.{name}", HINTS.get(name, ScalarHint if isinstance(default, float) else None))
    if found is None:
        return hint
    allows_null = type(None) in [member for member, _ in alternatives(hint)]
    return found | None if allows_null else found
