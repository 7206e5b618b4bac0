r"""Drawn networks: random hidden layers, kept as what has to be stored.

$h_l = \sigma_l(W_l h_{l-1}/\sqrt{d_{l-1}}) - m_l$ with $h_0 = x$, the first layer seeing $W_1x$; the output is
$f(x) = w^\top h_L/\sqrt{d_L}$. Hidden weights are random and fixed; a readout is fitted on the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod, sqrt

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.activations import Activation
from hntk.checks import as_samples, norm_scale
from hntk.coefficients import as_activations, coefficients
from hntk.forward import BATCH, Forward, Step
from hntk.origin import MatchRecord
from hntk.storable import Storable
from hntk.weights import WeightLaw, WeightMatrix, weight_law


@dataclass(frozen=True)
class Network(Storable):
    """A fully-connected network with random hidden weights.

    Attributes
    ----------
    weights : L matrices, (d_l, d_{l-1}) each, d_0 = p.
    activations : L activations.
    centres : L constants m_l subtracted from the activations.
    readout : (d_L,) Gaussian readout w at initialisation, which only the NTK sees; None where it is not kept.
    law : the law the weights were drawn from; None for weights that were trained.
    origin : how the activations were found, of a compressed network; a file keeps it.
    """

    weights: tuple[WeightMatrix, ...]
    activations: tuple[Activation, ...]
    centres: tuple[float, ...]
    readout: Float[Array, " width"] | None
    law: WeightLaw | None
    origin: MatchRecord | None = field(default=None, kw_only=True)

    @property
    def widths(self) -> tuple[int, ...]:
        """(d_1, …, d_L)."""
        return tuple(w.shape[0] for w in self.weights)

    @property
    def inputs(self) -> int:
        """Dimension p of a sample."""
        return self.weights[0].shape[1]

    def features(self, x: object, batch: int = BATCH) -> Float[Array, "n width"]:
        """h_L(x)/√d_L in float32, so that features @ features.T estimates the conjugate kernel.

        Parameters
        ----------
        x : (n, p) samples.
        batch : rows computed at a time; memory beyond the result is O(batch · width).

        Raises
        ------
        ValueError
            If x is not finite or its columns are not the network's inputs.
        """
        return jnp.concatenate(list(self.feature_batches(x, batch)))

    def feature_batches(self, x: object, batch: int = BATCH) -> Iterator[Float[Array, "batch width"]]:
        """The rows of :meth:`features`, a batch at a time."""
        size = jnp.float32(sqrt(self.widths[-1]))
        for features in self._forward.batches(self.check_inputs(x), batch):
            yield features / size

    @cached_property
    def _forward(self) -> Forward:
        return Forward([Step(w, w.scale * factor, _Centred(sigma, m)) for w, factor, sigma, m in self.layers()])

    def check_inputs(self, x: object) -> Float[Array, "n p"]:
        """Samples that fit this network.

        Raises
        ------
        ValueError
            If they do not.
        """
        samples = as_samples(x)
        if samples.shape[1] != self.inputs:
            raise ValueError(
                f"x has {samples.shape[1]} columns but the network was drawn for {self.inputs}: "
                "use data of the same dimension, or draw a network for this x."
            )
        return samples

    def layers(self) -> Iterator[tuple[WeightMatrix, float, Activation, float]]:
        """(W_l, 1/√d_{l-1}, σ_l, m_l) of each layer, the first factor being 1."""
        fan_in = (1, *self.widths[:-1])
        for w, d, sigma, m in zip(self.weights, fan_in, self.activations, self.centres, strict=True):
            yield w, 1 / sqrt(d), sigma, m

    @property
    def hidden_weights(self) -> int:
        """Number of hidden weights."""
        return sum(prod(w.shape) for w in self.weights)


@dataclass(frozen=True)
class _Centred:
    sigma: Activation
    m: float

    def __call__(self, z: Array) -> Array:
        """σ(z) − m."""
        return self.sigma(z) - self.m


def draw_network(
    activations: Sequence[str | Activation],
    widths: Sequence[int],
    inputs: int,
    *,
    tau0: float,
    law: str | WeightLaw = "gaussian",
    key: Array,
) -> Network:
    """Draw a network of a given weight law.

    Parameters
    ----------
    activations, widths : one per layer.
    inputs : p.
    tau0 : data scale at which the activations are centred.
    law : a weight law or its name.
    key : JAX random key.

    Raises
    ------
    ValueError
        If counts do not fit or a width is not positive.
    """
    layers = as_activations(activations)
    shape = tuple(int(d) for d in widths)
    if len(shape) != len(layers) or any(d < 1 for d in shape):
        raise ValueError(f"widths must be {len(layers)} positive integers, one per activation, got {list(widths)!r}.")
    law = weight_law(law)
    *keys, readout = jax.random.split(key, len(layers) + 1)
    fan_in = (inputs, *shape[:-1])
    weights = tuple(law.draw(k, (d, before)) for k, d, before in zip(keys, shape, fan_in, strict=True))
    return Network(
        weights,
        layers,
        coefficients(layers, tau0).centres,
        jax.random.normal(readout, (shape[-1],), dtype=jnp.float32),
        law,
    )


def dense(
    activations: Sequence[str | Activation],
    widths: Sequence[int],
    x: object,
    *,
    key: Array,
    law: str | WeightLaw = "gaussian",
    tau0: float | None = None,
) -> Network:
    """Draw the original network for the data x: (n, p), which gives p and the scale τ_0.

    Raises
    ------
    ValueError
        If the data, the widths or the law do not fit.

    Examples
    --------
    >>> import jax, hntk
    >>> x = jax.random.normal(jax.random.key(0), (8, 20)) / 20**0.5
    >>> hntk.dense(["relu"] * 2, [64, 32], x, key=jax.random.key(1)).features(x).shape
    (8, 32)
    """
    samples = as_samples(x)
    scale = norm_scale(samples) if tau0 is None else tau0
    return draw_network(activations, widths, samples.shape[1], tau0=scale, law=law, key=key)
