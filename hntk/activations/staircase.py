r"""Staircases: quantised activations with thresholds $s_1 < \dots < s_{N-1}$ and N levels.

Moments are closed forms in $\Phi$ and $\varphi$; kernel maps are those of :mod:`hntk.activations.jumps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float
from scipy.special import ndtr

from hntk._utils.arrays import brief, real_array
from hntk.activations.base import Activation, ArrayLike, Moments, PairMaps, Side
from hntk.activations.jumps import Jumps
from hntk.activations.lookup import lookup


class Cells(NamedTuple):
    """Gaussian integrals over the cells between thresholds ``u`` (in units of τ), each of shape (N,).

    Attributes
    ----------
    probability : P(ξ in cell).
    first : E[ξ; cell] = φ(u_k) − φ(u_{k+1}).
    second : E[ξ² − 1; cell] = u_k φ(u_k) − u_{k+1} φ(u_{k+1}).
    """

    probability: np.ndarray
    first: np.ndarray
    second: np.ndarray


def gaussian_cells(u: Float[np.ndarray, " thresholds"]) -> Cells:
    """Cell integrals of N(0, 1); a tail's probability keeps its relative precision."""
    edges = np.concatenate([[-np.inf], u, [np.inf]])
    density = np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    slope = np.where(np.isfinite(edges), edges, 0.0) * density
    low, high = edges[:-1], edges[1:]
    probability = np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
    return Cells(probability, -np.diff(density), -np.diff(slope))


@dataclass(frozen=True)
class Staircase(Activation):
    """σ(t) = levels[k] for thresholds[k−1] ≤ t < thresholds[k].

    Raises
    ------
    ValueError
        As :func:`staircase`.
    """

    thresholds: tuple[float, ...]
    levels: tuple[float, ...]
    name: str = "staircase"

    def __post_init__(self) -> None:
        s, a = (np.asarray(real_array(getattr(self, n), n), dtype=float) for n in ("thresholds", "levels"))
        if s.ndim != 1 or a.ndim != 1 or a.size != s.size + 1 or s.size == 0:
            raise ValueError(
                f"a staircase needs N - 1 >= 1 thresholds and N levels, got shapes {s.shape} and {a.shape}; "
                "for example staircase([0.0], [-1.0, 1.0])."
            )
        if not (np.all(np.isfinite(s)) and np.all(np.isfinite(a))):
            raise ValueError(f"thresholds and levels must be finite, got {brief(s.tolist())} and {brief(a.tolist())}.")
        if np.any(np.diff(s) <= 0):
            raise ValueError(
                f"thresholds must be strictly ascending, got {brief(s.tolist())}; sort them and merge equal ones."
            )
        if not isinstance(self.name, str):
            raise ValueError(f"name must be text, got {self.name!r}.")
        object.__setattr__(self, "thresholds", tuple(s.tolist()))
        object.__setattr__(self, "levels", tuple(a.tolist()))

    @property
    def breakpoints(self) -> tuple[float, ...]:
        return self.thresholds

    @property
    def has_jumps(self) -> bool:
        return any(self.jumps)

    @property
    def jumps(self) -> tuple[float, ...]:
        """Height of the step at each threshold."""
        return tuple(high - low for low, high in zip(self.levels[:-1], self.levels[1:], strict=True))

    @property
    def level_count(self) -> int:
        """Number of different values, which is what an activation costs: ⌈log2⌉ of it in bits."""
        return len(set(self.levels))

    @property
    def table_size(self) -> int:
        return len(self.thresholds) + len(self.levels)

    def bound(self, t: float) -> float:
        return max(map(abs, self.levels))

    def __call__(self, t: ArrayLike) -> Array:
        t = jnp.asarray(t)
        return lookup(*self.table(jnp.result_type(t.dtype, jnp.float32)), t)

    def table(self, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
        """Thresholds and levels in a type."""
        return np.asarray(self.thresholds, dtype), np.asarray(self.levels, dtype)

    def _moments(self, tau: float) -> Moments:
        cells = gaussian_cells(np.asarray(self.thresholds) / tau)
        levels = np.asarray(self.levels)
        m = float(levels @ cells.probability)
        squares = (levels - m) ** 2
        return Moments(
            tau,
            mean=m,
            e1=float((levels - m) @ cells.first) / tau,
            e2=float((levels - m) @ cells.second) / tau**2,
            s2=float(squares @ cells.second) / tau**2,
            variance=float(squares @ cells.probability),
            d=float("inf") if self.has_jumps else 0.0,
        )

    def mean_map(self, var: ArrayLike) -> Array:
        return self.step_function.mean_map(var)

    def side(self, var: Float[Array, " n"]) -> Side:
        return self.step_function.side(var)

    def pairs(self, left: Side, right: Side, cov: Float[Array, "a b"]) -> PairMaps:
        return self.step_function.pairs(left, right, cov)

    def variance_map(self, var: ArrayLike) -> Array:
        return self.step_function.variance_map(var)

    def slope_map(self, var: ArrayLike) -> Array:
        return self.step_function.slope_map(var)

    def covariance_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return self.step_function.covariance_map(cov, var1, var2)

    def derivative_map(self, cov: ArrayLike, var1: ArrayLike, var2: ArrayLike) -> Array:
        return self.step_function.derivative_map(cov, var1, var2)

    @property
    def step_function(self) -> Jumps:
        """The same function as arrays, in JAX's precision."""
        dtype = jnp.result_type(float)
        return Jumps(self.levels[0], jnp.asarray(self.thresholds, dtype), jnp.asarray(self.jumps, dtype))


def staircase(thresholds: object, levels: object, name: str = "staircase") -> Staircase:
    """A quantised activation: ``levels[k]`` between ``thresholds[k-1]`` and ``thresholds[k]``.

    Parameters
    ----------
    thresholds : N − 1 finite numbers, strictly ascending.
    levels : N finite numbers, in the order of the cells; values may repeat (σ_T of the paper has levels a, 0, a).

    Raises
    ------
    ValueError
        If the numbers are not finite, not ascending, or their counts do not fit.

    Examples
    --------
    >>> import hntk
    >>> float(hntk.staircase([0.0], [-1.0, 1.0]).moments(1.0).variance)
    1.0
    """
    return Staircase(thresholds, levels, name)  # type: ignore[arg-type]
