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

from hntk._utils.arguments import as_count, as_key, as_scale, as_widths
from hntk._utils.memory import check_room
from hntk._utils.rows import as_samples, rms_norm
from hntk.activations import Activation
from hntk.networks.forward import BATCH, Forward, Step
from hntk.networks.provenance import MatchRecord
from hntk.networks.storable import Storable
from hntk.theory.coefficients import as_activations, coefficients
from hntk.weights.laws import WeightLaw, WeightMatrix, weight_law

FLOAT_BYTES = 4


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
        MemoryError
            If the features do not fit into memory; :meth:`feature_batches` gives some rows of them at a time.
        """
        samples = self.check_inputs(x)
        check_room(
            2 * FLOAT_BYTES * samples.shape[0] * self.widths[-1],
            f"features of {samples.shape[0]:,} samples and width {self.widths[-1]:,}",
            "network.feature_batches(x) gives some rows of them at a time.",
        )
        return jnp.concatenate(list(self.feature_batches(samples, batch)))

    def feature_batches(self, x: object, batch: int = BATCH) -> Iterator[Float[Array, "batch width"]]:
        """The rows of :meth:`features`, a batch at a time.

        Raises
        ------
        ValueError
            As :meth:`features`, at once.
        MemoryError
            If a batch does not fit into memory.
        """
        samples, rows = self.check_inputs(x), as_count(batch, "batch")
        rows = min(rows, samples.shape[0])
        sides = (self.inputs, *self.widths)
        check_room(
            FLOAT_BYTES * rows * max(before + after for before, after in zip(sides[:-1], sides[1:], strict=True)),
            f"{rows:,} samples between layers of widths {sides}",
            "Give a smaller batch=.",
        )
        size = jnp.float32(sqrt(self.widths[-1]))
        return (features / size for features in self._forward.batches(samples, rows))

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
        # features are computed in float32, whatever x is kept in
        samples = as_samples(x, dtype=jnp.float32)
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
    activations, widths : one per layer; one number is the width of all.
    inputs : p.
    tau0 : data scale at which the activations are centred.
    law : a weight law or its name.
    key : JAX random key.

    Raises
    ------
    ValueError
        If counts do not fit, a width is not a positive whole number, or the key is no random key.
    MemoryError
        If the weights do not fit into memory, before they are drawn.
    """
    layers = as_activations(activations)
    shape = as_widths(widths, len(layers))
    law = weight_law(law)
    fan_in = (as_count(inputs, "inputs"), *shape[:-1])
    sizes = list(zip(shape, fan_in, strict=True))
    law.check_room(sizes)
    centres = coefficients(layers, tau0).centres
    *keys, readout = jax.random.split(as_key(key), len(layers) + 1)
    weights = tuple(law.draw(k, size) for k, size in zip(keys, sizes, strict=True))
    return Network(
        weights,
        layers,
        centres,
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
    scale = rms_norm(samples) if tau0 is None else as_scale(tau0)
    return draw_network(activations, widths, samples.shape[1], tau0=scale, law=law, key=key)
