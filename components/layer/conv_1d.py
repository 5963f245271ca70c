"""Convolution along sequences."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from components.layer.activation import ActivationFunction, activate
from components.layer.initializer import Initializer, get_initializer
from components.layer.shape import Pair, broadcast_like
from components.types import Padded, Range, UserError, padded_shape


class Conv1D(nn.Module):
    """Convolution along sequences, with bias and activation: Padded or an array, (B, T, D) -> (B, t, features).

    What is beyond the ends of a sequence counts as zero, so how far a batch is padded never changes a result. A mask
    tells which steps of the output have a window within the padding that `padding` allows.

    Attributes:
        features: number of channels of the output.
        kernel: number of steps of the window.
        padding: SAME: t is T, and the window is centered; if `kernel` is even, it has one more step after the center.
            CAUSAL: t is T, and the window ends at the step, so no step depends on later ones. VALID: windows within
            the sequence only, so t is T - (kernel - 1) * dilation, and a sequence shorter than the window has no steps.
        dilation: distance between two elements of the kernel in steps (van den Oord et al., 2016).
        activation: activation function, by name or as a function; None: no activation.
        use_bias: whether each feature has a bias.
        initializer: distribution of the kernel (kernel, D, features).

    Raises:
        UserError: the input has another rank, or is nested; or the window is longer than sequences of equal length.
    """

    features: Annotated[int, Range(1)]
    kernel: Annotated[int, Range(1)]
    padding: Literal["SAME", "CAUSAL", "VALID"] = "SAME"
    dilation: Annotated[int, Range(1)] = 1
    activation: ActivationFunction | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"

    @nn.compact
    def __call__(self, x: jax.Array | Padded, *, train: bool) -> Any:
        del train
        self._check(x)
        if not isinstance(x, Padded):
            return self._convolve(x)
        mask = jnp.asarray(x.mask)
        return Padded(self._convolve(jnp.where(mask[..., None], x.values, 0)), self._find_windows(mask))

    @property
    def _span(self) -> int:
        """The number of steps from the first to the last element of the window, without the first."""
        return (self.kernel - 1) * self.dilation

    @property
    def _pads(self) -> Pair:
        """Steps of zeros before and after the sequence."""
        before = {"SAME": self._span // 2, "CAUSAL": self._span, "VALID": 0}[self.padding]
        return before, 0 if self.padding == "VALID" else self._span - before

    def _convolve(self, x: jax.Array) -> jax.Array:
        kernel = self.param(
            "kernel", get_initializer(self.initializer), (self.kernel, x.shape[-1], self.features), jnp.float32
        )
        if x.shape[1] <= self._span and self.padding == "VALID":
            y = jnp.zeros((len(x), 0, self.features), x.dtype)
        else:
            # On the CPU it is up to six times as fast, with its gradients, as shifted matrix products or one product
            # of the windows (benchmarks/layers.py).
            y = lax.conv_general_dilated(
                x,
                kernel.astype(x.dtype),
                (1,),
                (self._pads,),
                rhs_dilation=(self.dilation,),
                dimension_numbers=("NWC", "WIO", "NWC"),
            )
        if self.use_bias:
            y = y + broadcast_like(self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32), y)
        return activate(self.activation, y)

    def _find_windows(self, mask: jax.Array) -> jax.Array:
        """The mask of the output: True where all steps of a VALID window are True; otherwise the mask of the input."""
        if self.padding != "VALID":
            return mask
        steps = max(mask.shape[1] - self._span, 0)
        windows = [mask[:, start : start + steps] for start in range(0, self._span + 1, self.dilation)]
        return jnp.stack(windows).all(0)

    def _check(self, x: jax.Array | Padded) -> None:
        shape = padded_shape(x) if isinstance(x, Padded) else x.shape
        if len(shape) != 3:
            raise UserError(f"a convolution along sequences needs them as (B, T, D), got {shape}")
        if not isinstance(x, Padded) and self.padding == "VALID" and shape[1] <= self._span:
            raise UserError(
                f"a window of {self._span + 1} steps does not fit into sequences of {shape[1]}. Choose a smaller "
                "kernel or dilation, or padding SAME or CAUSAL."
            )
