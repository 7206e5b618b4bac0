r"""Kernels of training with surrogates, of one network with its weights.

Gradients $\tilde g_j$ by the straight-through estimator have the backward features $\tilde B$ of a network whose
staircases have the surrogate φ for their derivative. A small step on sample j changes the output of sample i by
$-\eta\,g_i^\top\tilde g_j$, where $g_i$ has the true derivative $\sum_kc_k\delta(u - s_k)$. That is no number for one
neuron. For many it is a mean, estimated as densities are: by a Gaussian of width h in the place of δ, with an error of
order $h^2$ and a variance of order $1/dh$ at width d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import pi, sqrt

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_positive
from hntk.activations import Staircase, Surrogate
from hntk.activations.base import ArrayLike
from hntk.activations.surrogates import as_surrogates
from hntk.kernels.backpropagation import forward, walk
from hntk.kernels.gradient_products import Gradient, add_products
from hntk.kernels.layer_passes import hidden_passes
from hntk.kernels.network_outputs import Output
from hntk.networks.network import Network

# the normal rule for densities: 1.06 standard deviations over the fifth root of the number of samples
RULE = 1.06


@dataclass(frozen=True)
class SmoothedSteps:
    """The derivative of a staircase with Gaussians of width h in the place of delta functions.

    Attributes
    ----------
    steps : Staircase
        The staircase.
    width : float
        h.
    """

    steps: Staircase
    width: float

    def __call__(self, t: Array) -> Array:
        """Return Σ_k c_k N(t − s_k; 0, h²) elementwise."""
        total = jnp.zeros_like(t)
        for place, jump in zip(self.steps.thresholds, self.steps.jumps, strict=True):
            total = total + jump * jnp.exp(-(((t - place) / self.width) ** 2) / 2)
        return total / (self.width * sqrt(2 * pi))


@dataclass(frozen=True, repr=False)
class SubstitutedSlope(Staircase):
    """A staircase that JAX differentiates to another function.

    Attributes
    ----------
    slope : SmoothedSteps or Surrogate
        What its derivative is.
    """

    slope: SmoothedSteps | Surrogate | None = None

    def __call__(self, t: ArrayLike) -> Array:
        """Apply the staircase elementwise."""
        return _substituted(self)(jnp.asarray(t))


def _substituted(layer: SubstitutedSlope) -> Callable[[Array], Array]:
    steps = Staircase(layer.thresholds, layer.levels)

    @jax.custom_jvp
    def function(t: Array) -> Array:
        return steps(t)

    @function.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        assert layer.slope is not None
        value = steps(primals[0])
        return value, (layer.slope(primals[0]) * tangents[0]).astype(value.dtype)

    return function


def surrogate_gradients_kernel(
    outputs: Sequence[Output],
    rows: Float[Array, "n p"],
    columns: Float[Array, "m p"],
    surrogate: object,
    bandwidth: float | None,
) -> Float[Array, "n m"]:
    """Return the NTK of training with surrogates, as a mean over outputs.

    Parameters
    ----------
    outputs : sequence of Output
        Outputs of one network.
    rows : (n, p) array
        Samples whose outputs change.
    columns : (m, p) array
        Samples that steps are taken on.
    surrogate : object
        What stands for derivatives of staircases in the backward pass.
    bandwidth : float or None
        Width h of the smoothed derivatives in units of the root mean square of a layer's pre-activations. By default
        that of the normal rule for densities at the layer's width.

    Returns
    -------
    (n, m) array
        The kernel.

    Raises
    ------
    ValueError
        If a surrogate does not fit its layer, or the bandwidth is not positive.
    """
    network = outputs[0].network
    surrogates = as_surrogates(surrogate, network.activations)
    scales = _input_scales(network, columns)
    relative = None if bandwidth is None else as_positive(bandwidth, "bandwidth")
    widths = [RULE * d**-0.2 if relative is None else relative for d in network.widths]
    smoothed = [
        None if each is None else SmoothedSteps(_steps(layer), tau * width)
        for each, layer, tau, width in zip(surrogates, network.activations, scales, widths, strict=True)
    ]
    backward = [None if each is None else each.at(tau) for each, tau in zip(surrogates, scales, strict=True)]
    total = jnp.zeros((len(rows), len(columns)), rows.dtype)
    for one in outputs:
        true = _gradients(one, _with_slopes(network, smoothed), rows)
        estimated = _gradients(one, _with_slopes(network, backward), columns)
        for first, second in zip(true, estimated, strict=True):
            total = add_products(total, _stacked(first, second), len(rows), 1 / len(outputs))
    return total


def _steps(layer: object) -> Staircase:
    assert isinstance(layer, Staircase)
    return layer


def _input_scales(network: Network, x: Float[Array, "n p"]) -> list[float]:
    """Return the root mean square of every layer's pre-activations over samples and neurons."""
    scales = []
    for depth, layer in enumerate(hidden_passes(network)):
        norm = 1.0 if layer.normalize else float(jnp.mean(jnp.sum(forward(network, x, depth) ** 2, axis=1)))
        weight_std, bias_std, _ = layer.scales
        scales.append(sqrt(weight_std**2 * norm + (0.0 if layer.bias is None else bias_std**2)))
    return scales


def _with_slopes(network: Network, slopes: Sequence[SmoothedSteps | Surrogate | None]) -> Network:
    layers = [
        layer if slope is None else SubstitutedSlope(_steps(layer).thresholds, _steps(layer).levels, layer.name, slope)
        for layer, slope in zip(network.activations, slopes, strict=True)
    ]
    return replace(network, activations=tuple(layers))


def _gradients(output: Output, network: Network, x: Float[Array, "n p"]) -> list[Gradient]:
    gradients: list[Gradient] = []
    walk(output._replace(network=network), x, lambda _, gradient: gradients.append(gradient))
    return gradients


def _stacked(first: Gradient, second: Gradient) -> Gradient:
    """Return the gradients of both sets of samples, one below the other."""
    b = None if first.b is None or second.b is None else jnp.concatenate([first.b, second.b])
    return Gradient(jnp.concatenate([first.a, second.a]), b, first.weight, first.offset)
