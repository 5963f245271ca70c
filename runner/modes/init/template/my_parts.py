"""One small part of each kind, to edit and to copy from; `conf/` makes each of them a choice.

A signature is a schema: annotations say what may be set, and in which range, and are checked before a run.
A `Scalar` may be a traced number: compute with it, never branch on it; `None` is how a part is switched off.
`components.types` holds the protocols that parts follow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from components.data import Table
from components.layer import ActivationName, Dense, activate
from components.types import (
    Batch,
    Block,
    BoundTarget,
    Constants,
    DataError,
    Encoded,
    Output,
    Range,
    Scalar,
    Schedule,
    Statistic,
    UserError,
    Values,
)

# ------------------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True, kw_only=True)
class Rentals(Table):
    """Bicycles rented in an hour, made up: most by day and in mild weather, times log-normal noise.

    Columns: `hour`, 0 to 24; `temperature`, °C; `wind`, km/h; `rentals`, at least 1. What is held out, and folds,
    come from `Table`.
    """

    rows: Annotated[int, Range(10)] = 2000
    noise: Annotated[float, Range(0)] = 0.1  # standard deviation of the logarithm
    test: Annotated[float, Range(0, bounds="()")]

    def content_digest(self) -> str:
        """From the rows themselves, so that an edit of `read` counts."""
        content = hashlib.blake2b(digest_size=16)
        for name, values in self.columns_by_part["all"].items():
            content.update(name.encode() + np.asarray(values).tobytes())
        return content.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {"all": self.rows}

    def origin(self, part: str) -> str:
        return "rentals"

    def read(self) -> Mapping[str, Mapping[str, Encoded]]:
        generator = np.random.default_rng(0)
        hour = generator.uniform(0, 24, self.rows)
        temperature = generator.normal(14, 8, self.rows)
        wind = generator.gamma(4, 4, self.rows)
        day = 1.2 * np.cos((hour - 16) * 2 * np.pi / 24)
        weather = -np.square((temperature - 22) / 15) - wind / 30
        noise = self.noise * generator.normal(size=self.rows)
        rentals = np.maximum(np.exp(5 + day + weather + noise), 1)
        return {"all": {"hour": hour, "temperature": temperature, "wind": wind, "rentals": rentals}}


# --------------------------------------------------------------------------------------------------------- feature


@dataclass(frozen=True, kw_only=True)
class Cyclic:
    """A number that begins anew after a `period`, as a point on a circle: (B, 2), the sine and the cosine.

    The host half, `encode`, runs once and is kept; the device half, `layer`, is part of the compiled step. This
    column learns nothing of the data, so it asks for no statistics.
    """

    key: str
    period: Annotated[float, Range(0, bounds="()")]

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """`turns`: float32 (rows,), from 0 to 1."""
        return {"turns": (_numbers(block, self.key) / self.period % 1).astype(np.float32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        return _on_a_circle


def _on_a_circle(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    angle = 2 * jnp.pi * jnp.asarray(encoded["turns"])
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Logarithm:
    """A target of positive numbers, learned as log(value / unit): (B, 1). Metrics see values in their own unit."""

    key: str
    unit: Annotated[float, Range(0, bounds="()")] = 1.0

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        return Constants()

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """`values`: float32 (rows, 1); raises DataError for the first row that isn't positive."""
        values = _numbers(block, self.key)
        if not (values > 0).all():
            row = int(np.argmin(values > 0))
            raise DataError(f"{block.locate(row)}: column `{self.key}` is {values[row]}; positive numbers are needed")
        return {"values": np.log(values / self.unit).astype(np.float32)[:, None]}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        return lambda encoded, constants: jnp.asarray(encoded["values"])

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """No warnings; `results` are those of `statistics`, split by split."""
        return ()

    def bind(self, constants: Constants) -> BoundTarget:
        return BoundTarget(outputs=1, classes=None, decode=lambda logs: jnp.exp(logs) * self.unit)


def _numbers(block: Block, key: str) -> np.ndarray:
    """A raw column of finite numbers, (rows,), float64."""
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}, but {', '.join(block.columns)}")
    values = np.asarray(block.columns[key], np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{block.locate(int(np.argmin(np.isfinite(values))))}: column `{key}` is no finite number")
    return values


# ------------------------------------------------------------------------------------------- layer, architecture


class Residual(nn.Module):
    """A dense layer whose output, times `strength`, is added to its input (He et al., 2016): (B, D) -> (B, D).

    It may stand in any list of layers, as in `conf/architecture/residual.yaml`.
    """

    activation: ActivationName = "relu"
    strength: Annotated[Scalar, Range(0)] = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        change = Dense(x.shape[-1], activation=self.activation)(x, train=train)
        return x + jnp.asarray(self.strength, x.dtype) * change


class Additive(nn.Module):
    """A sum of one small network for each kind of input (after Hastie and Tibshirani, 1986): -> (B, outputs).

    The names of its inputs, `calendar` and `weather`, are those in `inputs` of the feature file. `outputs` comes from
    the loss, `dtype` from training.precision; logits are float32.
    """

    outputs: int
    width: Annotated[int, Range(1)]
    activation: ActivationName = "tanh"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, calendar: jax.Array, weather: jax.Array, *, train: bool) -> Output:
        parts = {"calendar": calendar, "weather": weather}
        features = {name: self._hidden(name, x.astype(self.dtype), train) for name, x in parts.items()}
        answers = [Dense(self.outputs, name=f"{name}_head")(x, train=train) for name, x in features.items()]
        return Output((answers[0] + answers[1]).astype(jnp.float32), features=features)

    def _hidden(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        return activate(self.activation, Dense(self.width, name=name)(x, train=train))


# --------------------------------------------------------------------------------------------------- loss, metric


@dataclass(frozen=True)
class Pinball:
    """Learns a quantile: an answer too low costs `quantile` of the error, one too high the rest.

    (B, outputs), (B, outputs) -> (B,) (Koenker and Bassett, 1978).
    """

    quantile: Annotated[Scalar, Range(0, 1, "()")] = 0.5

    def outputs(self, target: BoundTarget) -> int:
        """The numbers of an example; raises UserError for a target of classes."""
        if target.classes is not None:
            raise UserError("pinball needs a real-valued target: choose loss=softmax_cross_entropy for classes")
        return target.outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        quantile = jnp.asarray(self.quantile, jnp.float32)
        error = target - logits.astype(jnp.float32)
        return jnp.maximum(quantile * error, (quantile - 1) * error).mean(1)


@dataclass(frozen=True)
class RelativeError:
    """Mean of |error| / |target| over examples and outputs, in the target's own unit.

    `measure` gives sums that batches add up to, `result` the figure of the whole split.
    """

    decode: Callable[[jax.Array], jax.Array] = jnp.asarray  # the target's, from `bind`
    higher_is_better = False
    needs_rows = False

    def bind(self, target: BoundTarget) -> RelativeError:
        """A copy that undoes the scaling of the target; raises UserError for a target of classes."""
        if target.classes is not None:
            raise UserError("relative_error needs a real-valued target: choose metric=[accuracy] for classes")
        return dataclasses.replace(self, decode=target.decode)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """The examples of the batch, and the sum of their relative errors."""
        assert output.logits is not None
        target = self.decode(batch.target)
        errors = jnp.abs((self.decode(output.logits) - target) / target).mean(1)
        total = jnp.where(batch.mask, errors, jnp.zeros_like(errors)).sum()
        return {"error": total, "examples": jnp.sum(batch.mask, dtype=jnp.int32)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        return float(sums["error"] / sums["examples"])


# ------------------------------------------------------------------------------ optimizer, schedule, regularizer


def sign_momentum(
    learning_rate: Annotated[Scalar, Range(0)], momentum: Annotated[Scalar, Range(0, 1, "[)")] = 0.9
) -> optax.GradientTransformation:
    """Steps of one size each along the sign of the averaged gradient (Bernstein et al., 2018).

    The rate comes from the schedule, step by step.
    """
    return optax.chain(optax.trace(momentum), optax.scale_by_sign(), optax.scale_by_learning_rate(learning_rate))


def triangle(
    learning_rate: Annotated[Scalar, Range(0)],
    peak: Annotated[Scalar, Range(0, 1, "()")] = 0.1,
    final: Annotated[Scalar, Range(0, 1)] = 0.0,
) -> Schedule:
    """Rises from 0 in a line until `peak`, a share of the run, then falls in a line to `final`, a share of the rate."""

    def values(step: jax.Array, total_steps: jax.Array) -> Mapping[str, jax.Array]:
        rate, top, end = (jnp.asarray(number, jnp.float32) for number in (learning_rate, peak, final))
        done = jnp.asarray(step, jnp.float32) / jnp.asarray(total_steps, jnp.float32)
        falling = 1 - (1 - end) * (done - top) / (1 - top)
        return {"learning_rate": rate * jnp.where(done < top, done / top, falling)}

    return Schedule(values)


@dataclass(frozen=True)
class GroupLasso:
    """`strength` times the summed lengths of the rows of kernels: what an input says is kept whole or given up.

    Reference: Yuan and Lin, 2006. A tiny number inside the root keeps the gradient finite at zero.
    """

    strength: Annotated[Scalar, Range(0)]

    def __call__(self, parameters: Any) -> jax.Array:
        leaves = jax.tree_util.tree_leaves_with_path(parameters)
        kernels = [leaf for path, leaf in leaves if jax.tree_util.keystr(path[-1:], simple=True) == "kernel"]
        rows = [jnp.sqrt(jnp.square(kernel).sum(-1) + math.ulp(1.0)).sum() for kernel in kernels]
        return jnp.asarray(self.strength, jnp.float32) * sum(rows, jnp.float32(0))
