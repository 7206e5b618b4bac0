r"""Step functions that are differentiated by a surrogate: the kernel maps of straight-through training.

Training with a surrogate φ of σ' (:mod:`hntk.activations.surrogates`) takes a small step on a sample j. What the step
is follows from φ, by the backward pass. How it changes the output of a sample i follows from σ itself: its derivative
is a sum of delta functions, whose mean over neurons is finite. With jumps $c_k$ at $s_k$, the map that stands in the
place of $E[\sigma'\sigma']$ is

$$E[\sigma'(u)\varphi(v)] = \sum_k c_k N(s_k; 0, q_1)\,E[\varphi(v) \mid u = s_k],\qquad
v \mid u = s_k \sim N\Big(\frac{c\,s_k}{q_1}, q_2 - \frac{c^2}{q_1}\Big),$$

It is finite for u = v too, where it is $\sum_k c_k N(s_k; 0, q)\varphi(s_k)$. It is not symmetric: u belongs to the
sample whose output changes, v to the one that the step is taken on.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.stats import norm
from jaxtyping import Float

from hntk._utils.arrays import check_result
from hntk._utils.float64 import float64
from hntk._utils.pytree import array_dataclass, known_numbers
from hntk.activations.base import Activation, ArrayLike, PairMaps
from hntk.activations.correlation import matched_pairs
from hntk.activations.mehler import HermiteSide, mehler_maps
from hntk.activations.quadrature import SERIES_ORDER, QuadratureActivation
from hntk.activations.smoothing import common_rule
from hntk.activations.staircases import Staircase
from hntk.activations.step_function import StepFunction
from hntk.activations.surrogates import Surrogate

# time of a conditional mean by quadrature, in terms of the series
MEAN_COST = 2e4


class StraightThroughSide(NamedTuple):
    """What the maps need to know of one side; samples are the last axis.

    Attributes
    ----------
    var : array
        Variances.
    forward : HermiteSide
        Expansion of the step function.
    slope, backward : HermiteSide or None
        Expansions of the step function and of the surrogate's integral, of one length; None where the conditional means
        have a closed form.
    """

    var: Array
    forward: HermiteSide
    slope: HermiteSide | None = None
    backward: HermiteSide | None = None


@array_dataclass(static=("shape",))
class StraightThroughStep:
    """A step function with the derivative of a surrogate, as a layer of the recursion of exact kernels.

    Attributes
    ----------
    step : StepFunction
        The function σ.
    shape : Activation
        The function s of the surrogate φ(t) = h s'(t/w).
    width, height : array or float
        w, absolute, and h.
    """

    step: StepFunction
    shape: Activation
    width: ArrayLike = 1.0
    height: ArrayLike = 1.0

    @classmethod
    def of(cls, step: StepFunction, surrogate: Surrogate) -> StraightThroughStep:
        """Return a step function with a surrogate, whose width is not relative."""
        return cls(step, surrogate.shape, surrogate.width, surrogate.height)

    def mean_map(self, var: ArrayLike) -> Array:
        """Return E[σ(u)]."""
        return self.step.mean_map(var)

    def variance_map(self, var: ArrayLike) -> Array:
        """Return Var σ(u)."""
        return self.step.variance_map(var)

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return Cov(σ(u), σ(v))."""
        return self.step.covariance_map(cov, var1, var2)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        """Return E[σ'(u) φ(v)]."""
        rho, _ = matched_pairs(cov, var1, var2)
        tau2 = jnp.sqrt(jnp.asarray(var2))
        us, weights = self._densities(var1)
        spread = (1 - rho) * (1 + rho) * var2

        def add_term(k: int, total: Array) -> Array:
            mean = rho * us[k] * tau2
            return jax.lax.cond(
                self.step.jumps[k] != 0, lambda: total + weights[k] * self._mean_slope(mean, spread), lambda: total
            )

        return jax.lax.fori_loop(0, weights.shape[0], add_term, jnp.zeros_like(rho))

    def slope_map(self, var: ArrayLike) -> Array:
        """Return E[σ'(u) φ(u)]."""
        _, weights = self._densities(var)
        thresholds = jnp.asarray(self.step.thresholds, weights.dtype)
        slopes = self._mean_slope(thresholds, jnp.zeros_like(thresholds))
        return jnp.tensordot(slopes, weights, axes=1)

    def side(self, var: Float[Array, " n"]) -> StraightThroughSide:
        """Return the per-sample quantities that :meth:`pairs` needs."""
        forward = self.step.side(var)
        if type(self.shape) is not QuadratureActivation:
            return StraightThroughSide(var, forward)
        known = self.shape.side(var / self.width**2)
        backward = known._replace(scale=forward.scale)
        cut = forward._replace(coefficients=forward.coefficients[: SERIES_ORDER + 1])
        return StraightThroughSide(var, forward, cut.with_remainders(), backward)

    def pairs(self, left: StraightThroughSide, right: StraightThroughSide, cov: Float[Array, "a b"]) -> PairMaps:
        """Return both maps of all pairs, and for which of them they are accurate."""
        maps = self.step.pairs(left.forward, right.forward, cov)
        if left.slope is None or right.backward is None:
            return maps._replace(derivative=self.derivative_map(cov, left.var, right.var))
        cost = MEAN_COST * jnp.sum(self.step.jumps != 0)
        cross = mehler_maps(left.slope, right.backward, cov, cost)
        certain = [each for each in (maps.certain, cross.certain) if each is not None]
        return PairMaps(
            maps.covariance, self.height * self.width * cross.derivative, functools.reduce(jnp.logical_and, certain)
        )

    def _densities(self, var: ArrayLike) -> tuple[Array, Array]:
        """Return the thresholds in units of the scale, and c_k N(s_k; 0, var)."""
        var = jnp.asarray(var)
        us = self.step.scaled(var)
        tau = jnp.maximum(jnp.sqrt(var), jnp.finfo(var.dtype).tiny)
        jumps = self.step.jumps.reshape((-1,) + (1,) * var.ndim)
        return us, jumps * norm.pdf(us) / tau

    def _mean_slope(self, mean: Array, spread: Array) -> Array:
        """Return E[φ(mean + √spread ξ)]."""
        return self.height * self.shape.smoothed_slope(mean / self.width, spread / self.width**2)


def own_slope(layer: Activation, surrogate: Surrogate, tau: float) -> float:
    """Return E[σ'(τξ) φ(τξ)] of a staircase in float64, for a surrogate whose width is not relative."""
    assert isinstance(layer, Staircase)
    with known_numbers(), float64():
        step = StraightThroughStep.of(layer.step_function, surrogate)
        return float(step.slope_map(jnp.asarray(tau * tau, jnp.float64)))


def cross_means(
    layer: Activation, surrogate: Surrogate, variance: float, covariance: float
) -> Float[np.ndarray, "6 6"]:
    """Return E[σ^(i)(u) σ̃^(j)(v)], i and j up to 5, where φ = σ̃' and both variances are equal.

    Raises
    ------
    ValueError
        If a mean overflows.
    """
    spread = variance - covariance
    points = sorted({*layer.breakpoints, *(surrogate.width * point for point in surrogate.shape.breakpoints)})
    with np.errstate(all="ignore"):
        z, weight = common_rule(covariance, spread, tuple(points))
        means = layer.smoothed(z, spread, 0.0) * weight @ surrogate.smoothed(z, spread).T
    check_result(means, "a Gaussian mean")
    return means
