r"""Functions whose derivative is piecewise linear, which has Gaussian means in closed form.

The derivative is a sum of jumps and of ramps,
$\varphi(t) = \sum_j c_j 1\{t > a_j\} + \sum_k b_k (t - r_k)_+$, and with $z = \mu + \sqrt{s}\,\xi$

$$E[\varphi(z)] = \sum_j c_j\Phi\Big(\frac{\mu - a_j}{\sqrt s}\Big) + \sum_k b_k\Big[(\mu - r_k)
\Phi\Big(\frac{\mu - r_k}{\sqrt s}\Big) + \sqrt s\,\varphi_1\Big(\frac{\mu - r_k}{\sqrt s}\Big)\Big],$$

$\varphi_1$ the standard Gaussian density.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm

from hntk.activations.base import ArrayLike
from hntk.activations.quadrature import QuadratureActivation


@dataclass(frozen=True)
class PiecewiseSlope(QuadratureActivation):
    """A continuous function whose derivative is 0 on the far left, and piecewise linear.

    Attributes
    ----------
    jumps, bends : tuple of (float, float)
        Points where the derivative jumps or bends, and by how much.
    """

    jumps: tuple[tuple[float, float], ...] = ()
    bends: tuple[tuple[float, float], ...] = ()

    def smoothed_slope(self, mean: ArrayLike, spread: ArrayLike) -> Array:
        mean = jnp.asarray(mean)
        root = jnp.sqrt(jnp.maximum(spread, jnp.finfo(mean.dtype).tiny))
        total = jnp.zeros(jnp.broadcast_shapes(mean.shape, root.shape), mean.dtype)
        for place, height in self.jumps:
            total = total + height * norm.cdf((mean - place) / root)
        for place, bend in self.bends:
            y = (mean - place) / root
            total = total + bend * ((mean - place) * norm.cdf(y) + root * norm.pdf(y))
        return total
