"""Layer-sequential unit variance: random weights that are scaled by a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from components.closest import join_names
from components.paths import check_patterns, leaves_with_paths, map_matching, matches_any
from components.types import Padded, Range, UserError

NETWORK, KERNEL = "architecture", "kernel"  # the names of the network in the model, and of the weights of a layer


@dataclass(frozen=True, kw_only=True)
class LSUV:
    """Random weights, scaled so that the outputs of each layer have variance 1 on the first training batch.

    The layers are the modules of the network with a kernel, such as `Dense` and `Conv`, in the order in which they are
    called. Their outputs count before the activation. A kernel of zeros stays as it is.

    Attributes:
        orthogonal: whether the random kernels are made orthonormal first, as in the paper: the columns of a matrix with
            a column for each output, or its rows if it has fewer rows than columns.
        tolerance: largest difference of a variance from 1; 0.1 in the paper.
        max_iterations: number of times that a kernel is scaled at most; 10 in the paper.
        skip: patterns over paths within the network, such as `head` or `stage_1*`. Matching layers keep their weights.

    Raises:
        UserError: the outputs of a layer have another variance after these iterations.

    References:
        Mishkin and Matas, 2016: All you need is a good init.
    """

    orthogonal: bool = True
    tolerance: Annotated[float, Range(0, 1, "()")] = 0.1
    max_iterations: Annotated[int, Range(1, 1000)] = 10
    skip: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        return ""

    def __call__(self, architecture: Any, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        paths = [path for path, _ in leaves_with_paths(shapes["params"])]
        if self.skip:
            check_patterns(self.skip, paths, "skip")
        if not any(path.rpartition("/")[2] == KERNEL and not matches_any(self.skip, path) for path in paths):
            raise UserError(f"LSUV: no layer has a kernel to scale. Parameters: {join_names(paths)}.")
        return {}

    def fit(self, forward: Callable[[Any, Any], Any], parameters: Any, inputs: Any) -> Any:
        """The scaled parameters. The arguments are those of `FitsBatch.fit`."""
        if self.orthogonal:
            parameters = jax.jit(self._orthogonalize)(parameters)
        paths: list[str] = []  # in the order of the calls, which JAX's dictionaries don't keep
        scale = jax.jit(partial(self._scale, forward, paths))
        for _ in range(self.max_iterations + 1):  # the last pass only measures
            scaled, variances = scale(parameters, inputs)
            if not (wrong := [path for path in paths if not abs(variances[path] - 1) <= self.tolerance]):
                return parameters
            parameters = scaled
        raise UserError(
            f"LSUV: the outputs of {wrong[0]} have the variance {variances[wrong[0]]:.4g} after {self.max_iterations} "
            f"iterations, not within {self.tolerance:g} of 1. Leave it out: `skip=[{','.join(wrong)}]`, or raise "
            "`max_iterations`."
        )

    def _orthogonalize(self, parameters: Any) -> Any:
        """The parameters of the model with orthonormal kernels in the network."""

        def change(path: str, leaf: jax.Array) -> jax.Array:
            is_skipped = matches_any(self.skip, path.partition("/")[2])
            return leaf if is_skipped else _make_orthonormal(leaf)

        return map_matching(change, parameters, None, default=[f"{NETWORK}/**/{KERNEL}"])

    def _scale(
        self, forward: Callable[[Any, Any], Any], paths: list[str], parameters: Any, inputs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """The parameters, with each kernel scaled once, and the variances of the layers before that, by path.

        `paths` becomes the list of the paths, in the order of the calls.
        """
        variances: dict[str, jax.Array] = {}

        def call(function: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
            module, path = context.module, "/".join(context.module.path[1:])
            is_first = context.method_name == "__call__" and path not in variances
            if is_first and _is_layer(module) and not matches_any(self.skip, path):
                kernel: jax.Array = module.get_variable("params", KERNEL)
                variance = jnp.where(kernel.any(), _measure_variance(_call_linear(module, *args, **kwargs)), 1)
                is_kept = (jnp.abs(variance - 1) <= self.tolerance) | (variance == 0)
                module.put_variable("params", KERNEL, kernel * jnp.where(is_kept, 1, jax.lax.rsqrt(variance)))
                variances[path] = variance
            return function(*args, **kwargs)

        with nn.intercept_methods(call):
            scaled = forward(parameters, inputs)
        paths[:] = variances
        return scaled, variances


def _is_layer(module: nn.Module) -> bool:
    """Whether a module of the network has a kernel. A teacher has one, too, but its parameters can't change."""
    is_own = module.path[:1] == (NETWORK,) and module.is_mutable_collection("params")
    return is_own and module.has_variable("params", KERNEL) and jnp.ndim(module.get_variable("params", KERNEL)) > 1


def _call_linear(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The outputs of a layer before its activation."""
    options: dict[str, Any] = {"activation": None} if hasattr(module, "activation") else {}
    return module.clone(parent=None, name=None, **options).apply(module.variables, *args, **kwargs)


def _measure_variance(output: Any) -> jax.Array:
    """The variance of all outputs of a layer, without padding."""
    values, mask = (output.values, output.mask[..., None]) if isinstance(output, Padded) else (output, None)
    return jnp.var(values.astype(jnp.float32), where=mask)


def _make_orthonormal(kernel: jax.Array) -> jax.Array:
    """The kernel (…, outputs) as a matrix with orthonormal columns, or rows if it has fewer of these. Zeros stay.

    It is the matrix Q of a QR decomposition with positive diagonal of R, so a normal kernel has a uniform one.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    is_wide = matrix.shape[0] < matrix.shape[1]
    q, r = jnp.linalg.qr(matrix.T if is_wide else matrix)
    q = q * jnp.where(jnp.diagonal(r) < 0, -1, 1)[None, :]
    return jnp.where(kernel.any(), (q.T if is_wide else q).reshape(kernel.shape), kernel)
