r"""Polynomials, whose kernel maps are finite sums over derivatives.

With $D_k(x) = E[\sigma^{(k)}(\sqrt{x}\xi)]$ the Hermite expansion of a polynomial reads
$\mathrm{Cov}(\sigma(u), \sigma(v)) = \sum_{k \ge 1} D_k(\mathrm{var}_1) D_k(\mathrm{var}_2)\,\mathrm{cov}^k / k!$,
which divides by no scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk._utils.arrays import finite_array
from hntk.activations.base import ArrayLike, ClosedForm, Moments


@dataclass(frozen=True)
class Polynomial(ClosedForm):
    """The function σ(t) = c_0 + c_1 t + …, of any degree.

    Attributes
    ----------
    coefficients : tuple of float
        c_0, c_1, …, in ascending order.
    name : str
        What reports and files call it.

    Raises
    ------
    ValueError
        If the coefficients are not a non-empty list of finite numbers.
    """

    coefficients: tuple[float, ...]
    name: str = "polynomial"

    def __post_init__(self) -> None:
        values = finite_array(self.coefficients, "coefficients")
        if values.ndim != 1 or values.size == 0:
            raise ValueError(
                f"coefficients must be a non-empty list of finite numbers, ascending; got {self.coefficients!r}."
            )
        object.__setattr__(self, "coefficients", tuple(float(c) for c in values))

    def __call__(self, t: ArrayLike) -> Array:
        return jnp.polyval(jnp.asarray(self.coefficients[::-1], dtype=jnp.result_type(t, jnp.float32)), t)

    def bound(self, t: float) -> float:
        # for t >= 1 no step of Horner's rule exceeds Σ |c_k| t^k
        size, total = max(1.0, t), 0.0
        for c in reversed(self.coefficients):
            total = total * size + abs(c)
        return total

    def _moments(self, tau: float) -> Moments:
        x = tau * tau
        means = [float(np.polyval(p[::-1], x)) for p in self._derivative_means()] + [0.0, 0.0]
        orders = range(1, len(self.coefficients))
        variance = sum(means[k] ** 2 * x**k / factorial(k) for k in orders)
        d = sum(means[k] ** 2 * x ** (k - 1) / factorial(k - 1) for k in orders)
        # s2 = 2 d + 2 Cov(σ, σ'')
        curvature = sum(means[k] * means[k + 2] * x**k / factorial(k) for k in orders)
        return Moments(tau, means[0], e1=means[1], e2=means[2], s2=2 * (d + curvature), variance=variance, d=d)

    def mean_map(self, var: ArrayLike) -> Array:
        return jnp.polyval(jnp.asarray(self._derivative_means()[0][::-1]), jnp.asarray(var))

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return self._series(cov, var1, var2, shift=0)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return self._series(cov, var1, var2, shift=1)

    def _series(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike, shift: int) -> Array:
        """Sum D_k(var1) D_k(var2) cov^(k−shift)/(k−shift)! over k ≥ 1."""
        means = self._derivative_means()
        total = jnp.zeros(jnp.broadcast_shapes(jnp.shape(cov), jnp.shape(var1), jnp.shape(var2)))
        for k in range(1, len(means)):
            p = jnp.asarray(means[k][::-1])
            first, second = (jnp.polyval(p, jnp.asarray(var)) for var in (var1, var2))
            total += first * second * cov ** (k - shift) / factorial(k - shift)
        return total

    def _derivative_means(self) -> list[list[float]]:
        """Return D_k as a polynomial in the variance, in ascending order, for every k up to the degree."""
        means, p = [], np.asarray(self.coefficients)
        while p.size:
            # E[(√x ξ)^(2j)] = x^j (2j)!/(2^j j!); odd powers vanish
            means.append([float(c) * factorial(2 * j) / (2**j * factorial(j)) for j, c in enumerate(p[::2])])
            p = p[1:] * np.arange(1, p.size)
        return means
