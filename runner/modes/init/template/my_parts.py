"""One small part of each kind, to edit or to copy. Each has an option in `conf/`.

The signature declares the parameters of a part: their types and ranges are checked before a run. A parameter annotated
`Scalar` can be a traced array: use it in arithmetic, never in a Python `if`. `components.types` holds the protocols.
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
from components.layer import ActivationFunction, Dense, activate
from components.types import (
    Batch,
    Block,
    Clock,
    Constants,
    DataError,
    Duration,
    Encoded,
    Event,
    Output,
    Range,
    Scalar,
    Schedule,
    Statistic,
    TargetSpec,
    UserError,
    Values,
    Variables,
    bind_fields,
)

# ------------------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True, kw_only=True)
class Rentals(Table):
    """Simulated rentals of bicycles: most by day and in mild weather, times log-normal noise.

    The columns are `hour` (0 to 24), `temperature` (°C), `wind` (km/h) and `rentals` in that hour (at least 1). `Table`
    adds the splits and folds.

    Attributes:
        rows: the number of rows.
        noise: the standard deviation of the logarithm of the noise.
        test: the share of rows in the test split.
    """

    rows: Annotated[int, Range(10)] = 2000
    noise: Annotated[float, Range(0)] = 0.1
    test: Annotated[float, Range(0, bounds="()")]

    def content_digest(self) -> str:
        """A digest of the rows, which changes if `read` is edited."""
        digest = hashlib.blake2b(digest_size=16)
        for name, values in self.columns_by_part["all"].items():
            digest.update(name.encode() + np.asarray(values).tobytes())
        return digest.hexdigest()

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
    """Sine and cosine of a periodic number: (B, 2).

    `encode` runs once on the host, and its arrays are cached. `layer` is a part of the compiled step. This column fits
    nothing on the data, so it needs no statistics.

    Attributes:
        key: the raw column.
        period: the length of a period, in the unit of the column.
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
        """Returns `phase`, float32 (rows,), from 0 to 1."""
        return {"phase": (_numbers(block, self.key) / self.period % 1).astype(np.float32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        return _sine_and_cosine


def _sine_and_cosine(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    angle = 2 * jnp.pi * jnp.asarray(encoded["phase"])
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Logarithm:
    """A target of positive numbers. The model predicts log(value / unit), (B, 1); metrics compare the values.

    Attributes:
        key: the raw column.
        unit: a typical value.
    """

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
        """Returns `values`, float32 (rows, 1). Raises DataError for the first row that isn't positive."""
        values = _numbers(block, self.key)
        if not (values > 0).all():
            row = int(np.argmin(values > 0))
            raise DataError(f"{block.locate(row)}: column `{self.key}` is {values[row]}; positive numbers are needed")
        return {"values": np.log(values / self.unit).astype(np.float32)[:, None]}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        return lambda encoded, constants: jnp.asarray(encoded["values"])

    def validate_splits(self, results: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
        """Returns warnings about the results of `statistics`, given by split: none."""
        return ()

    def bind(self, constants: Constants) -> TargetSpec:
        return TargetSpec("real", shape=(1,), classes=None, decode=lambda logs: jnp.exp(logs) * self.unit)


def _numbers(block: Block, key: str) -> np.ndarray:
    """A raw column of numbers, float64 (rows,). Raises DataError unless all are finite."""
    if key not in block.columns:
        raise DataError(f"there is no column `{key}` in {block.origin}; columns: {', '.join(block.columns)}")
    values = np.asarray(block.columns[key], np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        raise DataError(f"{block.locate(int(np.argmin(finite)))}: column `{key}` is not a finite number")
    return values


# ------------------------------------------------------------------------------------------- layer, architecture


def squared_relu(x: jax.Array) -> jax.Array:
    """Squared ReLU, element by element: any shape -> the same shape.

    It needs no YAML file: write `activation: my_parts.squared_relu` where the name of an activation stands.

    References:
        So et al., 2021. Primer: searching for efficient transformers for language modeling.
    """
    return jax.nn.relu(x) ** 2


class Residual(nn.Module):
    """A dense layer with a residual connection, x + strength * dense(x): (B, D) -> (B, D).

    `conf/architecture/residual.yaml` uses it in a list of layers.

    Attributes:
        activation: the activation, by name or as a function.
        strength: the factor of the dense layer.

    References:
        He et al., 2016. Deep residual learning for image recognition.
    """

    activation: ActivationFunction = "relu"
    strength: Annotated[Scalar, Range(0)] = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        residual = Dense(x.shape[-1], activation=self.activation)(x, train=train)
        return x + jnp.asarray(self.strength, x.dtype) * residual


class Additive(nn.Module):
    """An additive model: the sum of one small network for each input, (B, D), (B, D) -> (B, outputs).

    The feature file names the inputs `calendar` and `weather` too.

    Attributes:
        outputs: the number of outputs, which the loss determines.
        width: the units of the hidden layer of each network.
        activation: the activation of the hidden layers.
        dtype: the dtype of the computation, from `training.precision`. The logits are float32.

    References:
        Hastie and Tibshirani, 1986. Generalized additive models.
    """

    outputs: int
    width: Annotated[int, Range(1)]
    activation: ActivationFunction = "tanh"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, calendar: jax.Array, weather: jax.Array, *, train: bool) -> Output:
        inputs = {"calendar": calendar, "weather": weather}
        features = {name: self._hidden(name, x.astype(self.dtype), train) for name, x in inputs.items()}
        terms = [Dense(self.outputs, name=f"{name}_head")(x, train=train) for name, x in features.items()]
        return Output((terms[0] + terms[1]).astype(jnp.float32), features=features)

    def _hidden(self, name: str, x: jax.Array, train: bool) -> jax.Array:
        return activate(self.activation, Dense(self.width, name=name)(x, train=train))


# --------------------------------------------------------------------------------------------------- loss, metric


@dataclass(frozen=True)
class QuantileLoss:
    """Loss whose minimum is a quantile of the target: (B, outputs), (B, outputs) -> (B,).

    With the error e = target - logit, the loss is quantile * e if e > 0, else (quantile - 1) * e.

    Attributes:
        quantile: the quantile to predict; 0.5 is the median.

    References:
        Koenker and Bassett, 1978. Regression quantiles.
    """

    quantile: Annotated[Scalar, Range(0, 1, "()")] = 0.5

    def outputs(self, target: TargetSpec) -> int:
        """The number of outputs that the architecture needs. Raises UserError for a target of classes."""
        if target.classes is not None:
            raise UserError("quantile_loss needs a real-valued target: choose loss=softmax_cross_entropy for classes")
        return target.outputs

    def __call__(self, logits: jax.Array, target: jax.Array) -> jax.Array:
        quantile = jnp.asarray(self.quantile, jnp.float32)
        error = target - logits.astype(jnp.float32)
        return jnp.maximum(quantile * error, (quantile - 1) * error).mean(1)


@dataclass(frozen=True)
class RelativeError:
    """Mean of |error| / |target| over examples and outputs, in the target's own unit.

    `measure` returns the sums of a batch, which are added over the batches of a split. `result` is computed from them.

    Attributes:
        decode: converts logits and encoded targets to the target's own unit. `bind` sets it, so it is no parameter.
    """

    decode: Callable[[jax.Array], jax.Array] = dataclasses.field(default=jnp.asarray, init=False)
    higher_is_better = False
    collects = False

    def bind(self, target: TargetSpec) -> RelativeError:
        """Returns a copy for a target. Raises UserError for a target of classes."""
        if target.classes is not None:
            raise UserError("relative_error needs a real-valued target: choose metric=[accuracy] for classes")
        return bind_fields(self, decode=target.decode)

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """The sum of the relative errors of a batch, and the number of its examples."""
        assert output.logits is not None
        target = self.decode(batch.target)
        errors = jnp.abs((self.decode(output.logits) - target) / target).mean(1)
        total = jnp.where(batch.mask, errors, jnp.zeros_like(errors)).sum()
        return {"error": total, "examples": jnp.sum(batch.mask, dtype=jnp.int32)}

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        return float(sums["error"] / sums["examples"])


# ------------------------------------------------------------------------ optimizer, step, schedule, regularizer


def sign_momentum(
    learning_rate: Annotated[Scalar, Range(0)], momentum: Annotated[Scalar, Range(0, 1, "[)")] = 0.9
) -> optax.GradientTransformation:
    """Signum: steps along the sign of the averaged gradient, all of the same size.

    Args:
        learning_rate: the step size, which the schedule sets at each step.
        momentum: the decay of the average.

    References:
        Bernstein et al., 2018. signSGD: compressed optimisation for non-convex problems.
    """
    return optax.chain(optax.trace(momentum), optax.scale_by_sign(), optax.scale_by_learning_rate(learning_rate))


class CentralizedGradient:
    """A step that subtracts the mean of each unit's gradient from the gradients of kernels.

    A step gets the objective, a function of the parameters, and returns its value with the other results, and the
    gradients. The program then updates the parameters.

    References:
        Yong et al., 2020. Gradient centralization.
    """

    def __call__(self, objective: Callable[[Any], tuple[jax.Array, Any]], parameters: Any) -> tuple[Any, Any]:
        result, gradients = jax.value_and_grad(objective, has_aux=True)(parameters)
        return result, jax.tree.map(_centralize, gradients)


def _centralize(gradient: jax.Array) -> jax.Array:
    axes = tuple(range(gradient.ndim - 1))  # all axes but the last, that of the units
    return gradient - gradient.mean(axes, keepdims=True) if axes else gradient


def triangle(learning_rate: Annotated[Scalar, Range(0)], peak: Duration = Duration(0.1)) -> Schedule:
    """A learning rate that rises linearly from 0 to `learning_rate` at `peak`, then falls linearly to 0.

    Args:
        learning_rate: the highest learning rate.
        peak: when it is reached, such as 0.1 (of the run), 2ep or 500st.
    """

    def values(clock: Clock) -> Mapping[str, jax.Array]:
        rising = clock.step / jnp.maximum(peak.steps(clock), 1.0)
        falling = (clock.total_steps - clock.step) / jnp.maximum(clock.total_steps - peak.steps(clock), 1.0)
        return {"learning_rate": jnp.asarray(learning_rate, jnp.float32) * jnp.minimum(rising, falling)}

    return Schedule(values)


@dataclass(frozen=True)
class GroupLasso:
    """Group lasso on the rows of kernels: strength times the sum of their Euclidean lengths.

    A row holds the weights of one input of a layer. They become zero together.

    Attributes:
        strength: the factor of the penalty.

    References:
        Yuan and Lin, 2006. Model selection and estimation in regression with grouped variables.
    """

    strength: Annotated[Scalar, Range(0)]

    def __call__(self, parameters: Any) -> jax.Array:
        leaves = jax.tree_util.tree_leaves_with_path(parameters)
        kernels = [leaf for path, leaf in leaves if jax.tree_util.keystr(path[-1:], simple=True) == "kernel"]
        # The tiny number in the root keeps the gradient finite at zero.
        lengths = [jnp.sqrt(jnp.square(kernel).sum(-1) + math.ulp(1.0)).sum() for kernel in kernels]
        return jnp.asarray(self.strength, jnp.float32) * sum(lengths, jnp.float32(0))


# ------------------------------------------------------------------------------------------------------- observer


@dataclass(frozen=True)
class ShortRows:
    """Writes the share of short rows of each kernel, `short_rows.csv`, from the best weights at the end of a run.

    Group lasso shortens rows: one near zero belongs to an input that its layer doesn't use.

    Attributes:
        length: rows of a smaller Euclidean length are short.
    """

    length: Annotated[float, Range(0)] = 0.1

    def __call__(self, event: Event, record: Mapping[str, float], variables: Variables) -> None:
        if event.name != "end":
            return
        lines = ["kernel,short_rows"]
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
            if (name := jax.tree_util.keystr(path, simple=True, separator="/")).endswith("/kernel"):
                lines.append(f"{name},{(np.linalg.norm(leaf, axis=-1) < self.length).mean():.3f}")
        (event.folder / "short_rows.csv").write_text("\n".join([*lines, ""]))
