"""The steps of the optimizers of `conf/optimizer`, written by hand in NumPy from their papers.

A formula is called as `formula(t, w, g, s, **parameters)`, and returns the next value of an array.

    t: the step, from 1
    w: the array
    g: its gradient
    s: its state: numbers and arrays by name, 0 before the first step
    parameters: those of the option, by Optax's names, and `rate`
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

Formula: TypeAlias = Callable[..., np.ndarray]
HESSIAN = "hessian"  # the key of the state that holds the diagonal of the Hessian


class State(defaultdict[str, Any]):
    """The state of an array, whose values are 0 before the first step.

    Attributes:
        path: the path of the array.
    """

    def __init__(self, path: str, hessian: np.ndarray) -> None:
        super().__init__(float, {HESSIAN: hessian})
        self.path = path


def sgd(t: int, w: Any, g: Any, s: State, *, rate: float, momentum: float | None, nesterov: bool, **_: Any) -> Any:
    if momentum is None:
        return w - rate * g
    s["v"] = momentum * s["v"] + g
    return w - rate * (g + momentum * s["v"] if nesterov else s["v"])


def adagrad(
    t: int, w: Any, g: Any, s: State, *, rate: float, initial_accumulator_value: float, eps: float, **_: Any
) -> Any:
    s["n"] = (initial_accumulator_value if t == 1 else s["n"]) + g**2
    return w - rate * g / np.sqrt(s["n"] + eps)


def adadelta(
    t: int, w: Any, g: Any, s: State, *, rate: float, rho: float, eps: float, weight_decay: float, **_: Any
) -> Any:
    g = g + weight_decay * w
    s["n"] = rho * s["n"] + (1 - rho) * g**2
    change = np.sqrt(s["d"] + eps) / np.sqrt(s["n"] + eps) * g
    s["d"] = rho * s["d"] + (1 - rho) * change**2
    return w - rate * change


def rmsprop(
    t: int, w: Any, g: Any, s: State, *, rate: float, decay: float, eps: float, centered: bool, momentum: Any, **_: Any
) -> Any:
    s["n"] = decay * s["n"] + (1 - decay) * g**2
    s["m"] = decay * s["m"] + (1 - decay) * g
    scaled = rate * g / np.sqrt(s["n"] - (s["m"] ** 2 if centered else 0) + eps)
    s["v"] = (momentum or 0) * s["v"] + scaled
    return w - s["v"]


def moments(g: Any, s: State, b1: float, b2: float) -> None:
    s["m"], s["v"] = b1 * s["m"] + (1 - b1) * g, b2 * s["v"] + (1 - b2) * g**2


def adam_direction(t: int, g: Any, s: State, b1: float, b2: float, eps: float, *, nesterov: bool = False) -> Any:
    """The step of Adam with the rate 1. Nesterov: as in the paper of NAdam, with a constant b1."""
    moments(g, s, b1, b2)
    mean = s["m"] / (1 - b1**t)
    if nesterov:
        mean = b1 * s["m"] / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    return mean / (np.sqrt(s["v"] / (1 - b2**t)) + eps)


def adamw(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    b1: float,
    b2: float,
    eps: float,
    nesterov: bool,
    weight_decay: float = 0.0,
    **_: Any,
) -> Any:
    return w - rate * (adam_direction(t, g, s, b1, b2, eps, nesterov=nesterov) + weight_decay * w)


def amsgrad(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    b1: float,
    b2: float,
    eps: float,
    bias_correction_mu: bool,
    **_: Any,
) -> Any:
    """With the corrections of the bias as in Adam, before the maximum is taken; the paper has none."""
    moments(g, s, b1, b2)
    corrections = (1 - b1**t, 1 - b2**t) if bias_correction_mu else (1, 1)
    s["max"] = np.maximum(s["max"], s["v"] / corrections[1])
    return w - rate * s["m"] / corrections[0] / (np.sqrt(s["max"]) + eps)


def adamax(t: int, w: Any, g: Any, s: State, *, rate: float, b1: float, b2: float, eps: float, **_: Any) -> Any:
    s["m"], s["u"] = b1 * s["m"] + (1 - b1) * g, np.maximum(b2 * s["u"], np.abs(g) + eps)
    return w - rate / (1 - b1**t) * s["m"] / s["u"]


def adabound(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    b1: float,
    b2: float,
    eps: float,
    final_factor: float,
    gamma: float,
    amsbound: bool,
    **_: Any,
) -> Any:
    """As in the authors' code, `adabound.py`."""
    moments(g, s, b1, b2)
    s["max"] = np.maximum(s["max"], s["v"])
    step_size = rate * np.sqrt(1 - b2**t) / (1 - b1**t)
    final_lr = final_factor * rate
    lower_bound = final_lr * (1 - 1 / (gamma * t + 1))
    upper_bound = final_lr * (1 + 1 / (gamma * t))
    return w - np.clip(step_size / (np.sqrt(s["max" if amsbound else "v"]) + eps), lower_bound, upper_bound) * s["m"]


def ftrl(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    l1: float,
    l2: float,
    l2_shrinkage: float,
    beta: float,
    initial_accumulator: float,
    learning_rate_power: float,
    **_: Any,
) -> Any:
    """As in the description of TensorFlow's `Ftrl`."""
    old = initial_accumulator if t == 1 else s["n"]
    s["n"] = old + g**2
    sigma = (s["n"] ** -learning_rate_power - old**-learning_rate_power) / rate
    s["z"] = s["z"] + g + 2 * l2_shrinkage * w - sigma * w
    quadratic = (s["n"] ** -learning_rate_power + beta) / rate + 2 * l2
    return np.where(np.abs(s["z"]) > l1, (np.sign(s["z"]) * l1 - s["z"]) / quadratic, 0.0)


def lion(t: int, w: Any, g: Any, s: State, *, rate: float, b1: float, b2: float, weight_decay: float, **_: Any) -> Any:
    sign = np.sign(b1 * s["m"] + (1 - b1) * g)
    s["m"] = b2 * s["m"] + (1 - b2) * g
    return w - rate * (sign + weight_decay * w)


def muon(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    beta: float,
    eps: float,
    weight_decay: float,
    consistent_rms: float | None,
    adam_factor: float,
    adam_b1: float,
    adam_b2: float,
    ns_steps: int,
    nesterov: bool,
    **_: Any,
) -> Any:
    """A kernel, except that of the head, is a matrix (outputs, inputs), as in the author's code."""
    decay = rate * weight_decay * w
    if s.path.endswith("bias") or "head" in s.path:
        return w - adam_factor * rate * adam_direction(t, g, s, adam_b1, adam_b2, eps, nesterov=nesterov) - decay
    s["m"] = beta * s["m"] + (1 - beta) * g
    mean = s["m"] / (1 - beta**t)
    if nesterov:
        mean = beta * s["m"] / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t)
    x = mean.reshape(-1, w.shape[-1]).T
    scale = np.sqrt(max(1, x.shape[0] / x.shape[1]))
    if consistent_rms is not None:
        scale = consistent_rms * np.sqrt(max(x.shape))
    x = x / (np.linalg.norm(x) + eps)
    for _step in range(ns_steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return w - rate * scale * x.T.reshape(w.shape) - decay


def trust_ratio(w: Any, change: Any, eps: float = 0.0) -> float:
    norms = float(np.linalg.norm(w)), float(np.linalg.norm(change))
    return norms[0] / (norms[1] + eps) if all(norms) else 1.0


def lamb(
    t: int, w: Any, g: Any, s: State, *, rate: float, b1: float, b2: float, eps: float, weight_decay: float, **_: Any
) -> Any:
    change = adam_direction(t, g, s, b1, b2, eps) + weight_decay * w
    return w - rate * trust_ratio(w, change) * change


def lars(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    weight_decay: float,
    trust_coefficient: float,
    eps: float,
    momentum: float,
    nesterov: bool,
    **_: Any,
) -> Any:
    change = g + weight_decay * w
    if not s.path.endswith("bias"):
        change = trust_coefficient * trust_ratio(w, change, eps) * change
    change = rate * change
    s["v"] = momentum * s["v"] + change
    return w - (change + momentum * s["v"] if nesterov else s["v"])


def adafactor(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    min_dim_size_to_factor: int,
    decay_rate: float,
    clipping_threshold: float,
    momentum: float | None,
    weight_decay_rate: float | None,
    eps: float,
    multiply_by_parameter_scale: bool,
    **_: Any,
) -> Any:
    decay, square = 1 - t**-decay_rate, g**2 + eps
    if w.ndim == 2 and min(w.shape) >= min_dim_size_to_factor:
        s["row"] = decay * s["row"] + (1 - decay) * square.mean(1, keepdims=True)
        s["column"] = decay * s["column"] + (1 - decay) * square.mean(0, keepdims=True)
        square = s["row"] * s["column"] / s["row"].mean()
    else:
        square = s["v"] = decay * s["v"] + (1 - decay) * square
    change = g / np.sqrt(square)
    change = rate * change / max(1.0, np.sqrt(np.mean(change**2)) / clipping_threshold)
    if multiply_by_parameter_scale:
        change = change * max(1e-3, np.sqrt(np.mean(w**2)))
    if momentum is not None:
        change = s["m"] = momentum * s["m"] + (1 - momentum) * change
    return w - change - (weight_decay_rate or 0.0) * w


def schedule_free_adamw(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    weight_lr_power: float,
    **_: Any,
) -> Any:
    """The gradients are those at y, which is the parameter. The average x is kept in the state as `x`."""
    z, x = (w, w) if t == 1 else (s["z"], s["x"])
    s["v"] = b2 * s["v"] + (1 - b2) * g**2
    s["z"] = z - rate * (g / (np.sqrt(s["v"] / (1 - b2**t)) + eps) + weight_decay * w)
    s["sum"] += rate**weight_lr_power
    share = rate**weight_lr_power / s["sum"]
    s["x"] = (1 - share) * x + share * s["z"]
    return (1 - b1) * s["z"] + b1 * s["x"]


def prodigy(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    betas: tuple[float, float],
    beta3: float | None,
    eps: float,
    estim_lr0: float,
    estim_lr_coef: float,
    weight_decay: float,
    safeguard_warmup: bool,
    **_: Any,
) -> Any:
    """Algorithm 4 of the paper, with the bias correction of the authors' code; w has all parameters."""
    b1, b2 = betas
    b3 = np.sqrt(b2) if beta3 is None else beta3
    start, d = (w, estim_lr0) if t == 1 else (s["start"], s["d"])
    step = d * rate * np.sqrt(1 - b2**t) / (1 - b1**t)
    s["m"], s["v"] = b1 * s["m"] + (1 - b1) * d * g, b2 * s["v"] + (1 - b2) * d**2 * g**2
    s["r"] = b3 * s["r"] + d / estim_lr0 * step * (g * (start - w)).sum()
    s["s"] = b3 * s["s"] + d / estim_lr0 * (d if safeguard_warmup else step) * g
    s["start"], s["d"] = start, max(d, estim_lr_coef * s["r"] / np.abs(s["s"]).sum())
    return w - step * s["m"] / (np.sqrt(s["v"]) + s["d"] * eps) - step * weight_decay * w


def sophia(
    t: int,
    w: Any,
    g: Any,
    s: State,
    *,
    rate: float,
    b1: float,
    b2: float,
    eps: float,
    gamma: float,
    clip_threshold: float,
    weight_decay: float,
    update_interval: int,
    **_: Any,
) -> Any:
    """Algorithm 3 of the paper. The Hessian of the tests is diagonal, so Hutchinson's estimate of it is exact."""
    s["m"] = b1 * s["m"] + (1 - b1) * g
    change = np.clip(s["m"] / (1 - b1**t) / np.maximum(gamma * s["h"], eps), -clip_threshold, clip_threshold)
    if (t - 1) % update_interval == 0:
        s["h"] = b2 * s["h"] + (1 - b2) * s[HESSIAN]
    return w - rate * (change + weight_decay * w)


def lbfgs(t: int, w: Any, g: Any, s: State, *, rate: float, memory_size: int, **_: Any) -> Any:
    """Algorithm 7.4 of Nocedal and Wright as a matrix, with the step size `rate`; w has all parameters."""
    pairs = s["pairs"] or []
    if t > 1:
        pairs = [*pairs, (w - s["w"], g - s["g"])][-memory_size:]
    s["pairs"], s["w"], s["g"] = pairs, w, g
    scale = pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1]) if pairs else min(1.0, 1 / np.linalg.norm(g))
    inverse = scale * np.eye(w.size)
    for dw, dg in pairs:
        v = np.eye(w.size) - np.outer(dg, dw) / (dg @ dw)
        inverse = v.T @ inverse @ v + np.outer(dw, dw) / (dg @ dw)
    return w - rate * inverse @ g


FORMULAS: Mapping[str, Formula] = {
    "adabound": adabound,
    "adadelta": adadelta,
    "adafactor": adafactor,
    "adagrad": adagrad,
    "adam": adamw,
    "adamax": adamax,
    "adamw": adamw,
    "amsgrad": amsgrad,
    "ftrl": ftrl,
    "lamb": lamb,
    "lars": lars,
    "lbfgs": lbfgs,
    "lion": lion,
    "momentum": sgd,
    "muon": muon,
    "nadam": adamw,
    "nadamw": adamw,
    "nesterov": sgd,
    "prodigy": prodigy,
    "rmsprop": rmsprop,
    "schedule_free_adamw": schedule_free_adamw,
    "sgd": sgd,
    "sophia": sophia,
}
JOINT = ("lbfgs", "prodigy")  # whose formulas take all parameters as one vector
