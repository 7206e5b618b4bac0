"""Staircases: quantised activations with N − 1 ascending thresholds and N levels."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from hntk._utils.arrays import brief, real_array
from hntk.activations.base import ArrayLike, ClosedForm, Moments, PairMaps, Side
from hntk.activations.lookup import lookup
from hntk.activations.smoothing import fourth_of_step_square, smoothed_steps
from hntk.activations.step_function import StepFunction

# a repr shows so many thresholds in full
SHOWN = 8


@dataclass(frozen=True, repr=False)
class Staircase(ClosedForm):
    """The function σ(t) = levels[k] for thresholds[k−1] ≤ t < thresholds[k].

    Attributes
    ----------
    thresholds : tuple of float
        N − 1 ≥ 1 finite numbers, strictly ascending.
    levels : tuple of float
        N finite numbers, in the order of the cells; values may repeat.
    name : str
        What reports and files call it.

    Raises
    ------
    ValueError
        If the numbers are not finite, not ascending, or their counts do not fit.
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

    def __repr__(self) -> str:
        s, a = self.thresholds, self.levels
        if len(s) <= SHOWN:
            return f"Staircase(thresholds={s}, levels={a}, name={self.name!r})"
        return f"Staircase({len(s)} thresholds from {s[0]:.6g} to {s[-1]:.6g}, name={self.name!r})"

    @property
    def breakpoints(self) -> tuple[float, ...]:
        return self.thresholds

    @property
    def has_jumps(self) -> bool:
        return self.level_count > 1

    @property
    def jumps(self) -> tuple[float, ...]:
        """Height of the step at each threshold."""
        return tuple(high - low for low, high in zip(self.levels[:-1], self.levels[1:], strict=True))

    @property
    def level_count(self) -> int:
        """Number of different values, N; an activation of N values takes ⌈log2 N⌉ bits."""
        return len(set(self.levels))

    @property
    def table_size(self) -> int:
        return len(self.thresholds) + len(self.levels)

    def bound(self, t: float) -> float:
        return max(map(abs, self.levels))

    @property
    def step_function(self) -> StepFunction:
        """The same function as arrays: the levels above the first one, which is the offset."""
        levels = np.asarray(self.levels)
        return StepFunction(np.asarray(self.thresholds), levels - levels[0], levels[0])

    def __call__(self, t: ArrayLike) -> Array:
        t = jnp.asarray(t)
        return lookup(*self.table(jnp.result_type(t.dtype, jnp.float32)), t)

    def table(self, dtype: DTypeLike) -> tuple[np.ndarray, np.ndarray]:
        """Return thresholds and levels as arrays of a type."""
        return np.asarray(self.thresholds, dtype), np.asarray(self.levels, dtype)

    def _moments(self, tau: float) -> Moments:
        return self.step_function.moments(tau)

    def mean_map(self, var: ArrayLike) -> Array:
        return self.step_function.mean_map(var)

    def smoothed(self, z: Float[np.ndarray, " n"], spread: float, centre: float) -> Float[np.ndarray, "6 n"]:
        return smoothed_steps(*self.table(np.float64), centre, z, spread)

    def fourth_of_square(self, variance: float, centre: float) -> float:
        return fourth_of_step_square(*self.table(np.float64), centre, variance)

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


def staircase(thresholds: object, levels: object, name: str = "staircase") -> Staircase:
    """Make a quantised activation: ``levels[k]`` between ``thresholds[k-1]`` and ``thresholds[k]``.

    Parameters
    ----------
    thresholds : array_like, shape (N - 1,)
        Finite numbers, strictly ascending.
    levels : array_like, shape (N,)
        Finite numbers, in the order of the cells. Values may repeat: σ_T of Gu et al. (2022) has levels a, 0, a.
    name : str
        What reports and files call it.

    Returns
    -------
    Staircase
        The activation.

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
