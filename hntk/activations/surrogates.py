r"""Surrogates: what a backward pass has in the place of the derivative of a step function.

A step function σ has the derivative 0 almost everywhere. Networks with such activations are trained with a
straight-through estimator: their backward pass multiplies by a function φ instead of σ' (Bengio et al., 2013). It is
given as the derivative of an activation $s$, scaled:

$$\varphi(t) = h\,s'(t/w) = \tilde\sigma'(t),\qquad \tilde\sigma(t) = h\,w\,s(t/w) .$$
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_finite, as_instance, as_positive
from hntk._utils.arrays import brief
from hntk.activations.base import Activation, ArrayLike
from hntk.activations.elementary import Erf
from hntk.activations.piecewise import PiecewiseSlope
from hntk.activations.registry import activation
from hntk.activations.smoothing import ORDER
from hntk.activations.staircases import Staircase

# width and height with which the derivative of erf, 2/√π exp(−t²), becomes exp(−t²/2)
ERF_WIDTH, ERF_HEIGHT = np.sqrt(2.0), np.sqrt(np.pi) / 2
# widths from here to its reciprocal have powers that float64 holds
LEAST_WIDTH = 1e-60


@dataclass(frozen=True)
class Surrogate:
    """The function φ(t) = h s'(t/w) of a backward pass; :func:`surrogate` makes the usual ones.

    Attributes
    ----------
    shape : Activation
        The function s. It is continuous.
    width, height : float
        w and h.
    relative : bool
        Whether the width is in units of the scale τ of the layer's input, as for pre-activations that are normalised.
    """

    shape: Activation
    width: float = 1.0
    height: float = 1.0
    relative: bool = False

    def __post_init__(self) -> None:
        as_instance(self.shape, "shape", Activation, "a hntk.Activation; hntk.surrogate takes names")
        if self.shape.has_jumps:
            raise ValueError(
                f"the surrogate {self.shape.name!r} jumps, and its derivative has delta functions: give a continuous "
                "function, such as 'straight_through' or 'clipped'."
            )
        as_instance(self.relative, "relative", (bool, np.bool_), "True or False")
        object.__setattr__(self, "width", as_positive(self.width, "width"))
        if not LEAST_WIDTH <= self.width <= 1 / LEAST_WIDTH:
            raise ValueError(f"width = {self.width:.3g} is out of scale: powers of it leave float64. Give one about 1.")
        object.__setattr__(self, "height", as_finite(self.height, "height"))

    def __call__(self, t: ArrayLike) -> Array:
        """Return φ(t) elementwise, for a width that is not relative."""
        t = jnp.asarray(t)
        return self.height * jax.jvp(self.shape, (t / self.width,), (jnp.ones_like(t),))[1]

    def at(self, tau: float) -> Surrogate:
        """Return the surrogate of a layer whose input has the scale τ: its width is not relative."""
        return replace(self, width=self.width * tau, relative=False) if self.relative else self

    def means(self, tau: float) -> tuple[float, float]:
        """Return E[φ(τξ)] and E[φ'(τξ)] at a scale, for a width that is not relative.

        Raises
        ------
        ValueError
            If the scale in units of the width is beyond float64.
        """
        m = self.shape.moments(tau / self.width)
        return self.height * m.e1, self.height * m.e2 / self.width

    def smoothed(self, z: Float[np.ndarray, " n"], spread: float) -> Float[np.ndarray, "6 n"]:
        """Return E[σ̃(z + √spread ξ)] and its first five derivatives by z."""
        units = self.height * self.width ** (1.0 - np.arange(ORDER + 1))
        return units[:, None] * self.shape.smoothed(z / self.width, spread / self.width**2, 0.0)


SurrogateLike = str | Activation | Surrogate


def _hard_tanh(t: Array) -> Array:
    return jnp.clip(t, -1.0, 1.0)


def _triangle_integral(t: Array) -> Array:
    inside = jnp.clip(t, -1.0, 1.0)
    return inside - inside * jnp.abs(inside) / 2


@cache
def _clipped() -> Activation:
    return PiecewiseSlope(_hard_tanh, (-1.0, 1.0), "clipped", jumps=((-1.0, 1.0), (1.0, -1.0)), bends=())


@cache
def _triangle() -> Activation:
    bends = ((-1.0, 1.0), (0.0, -2.0), (1.0, 1.0))
    return PiecewiseSlope(_triangle_integral, (-1.0, 0.0, 1.0), "triangle", jumps=(), bends=bends)


# s, w and h of the functions φ that are known by their own names; each is 1 at 0
_SHAPES: dict[str, tuple[Callable[[], Activation], float, float]] = {
    "straight_through": (lambda: activation("linear"), 1.0, 1.0),
    "clipped": (_clipped, 1.0, 1.0),
    "triangle": (_triangle, 1.0, 1.0),
    "gaussian": (Erf, float(ERF_WIDTH), float(ERF_HEIGHT)),
}


def surrogate(
    which: str | Activation | Surrogate, *, width: float = 1.0, height: float = 1.0, relative: bool = False
) -> Surrogate:
    """Return a function for the backward pass of step functions, to stand in the place of their derivative.

    Parameters
    ----------
    which : str or Activation
        ``"straight_through"``, φ = 1; ``"clipped"``, 1 on [−1, 1] and 0 elsewhere, the derivative of the hard tanh;
        ``"triangle"``, 1 − abs(t) on [−1, 1]; or ``"gaussian"``, exp(−t²/2). Other names of activations, such as
        ``"tanh"``, ``"sigmoid"`` or ``"relu"``, and activations stand for their derivatives. A surrogate is returned
        with its width and height multiplied.
    width : float
        Factor w that stretches the function: φ(t) becomes φ(t/w).
    height : float
        Factor h that multiplies it; negative for a staircase that falls.
    relative : bool
        Whether the width is in units of τ, the root mean square of the layer's input, instead of absolute.

    Returns
    -------
    Surrogate
        The function φ.

    Raises
    ------
    ValueError
        If the name is unknown, the activation jumps, or a number is not finite, or a width not positive.

    Examples
    --------
    >>> import hntk
    >>> [float(v) for v in hntk.surrogate("clipped", width=1.5)([-2.0, 0.0, 1.0])]
    [0.0, 1.0, 1.0]
    >>> float(hntk.surrogate("tanh")(0.0))
    1.0
    """
    width, height = as_positive(width, "width"), as_finite(height, "height")
    if isinstance(which, Surrogate):
        return Surrogate(which.shape, which.width * width, which.height * height, which.relative or relative)
    if isinstance(which, str) and which in _SHAPES:
        shape, own_width, own_height = _SHAPES[which]
        return Surrogate(shape(), own_width * width, own_height * height, relative)
    if not isinstance(which, str | Activation):
        raise ValueError(
            f"a surrogate must be {', '.join(map(repr, _SHAPES))}, the name of an activation, a hntk.Activation or a "
            f"hntk.surrogate, got {brief(which)}."
        )
    return Surrogate(activation(which), width, height, relative)


def as_surrogates(given: Any, layers: Sequence[Activation]) -> tuple[Surrogate | None, ...]:
    """Return one surrogate per layer; None for layers that are differentiated as they are.

    Parameters
    ----------
    given : object
        One surrogate, which stands for the derivative of every layer that jumps; a list of one per layer, None for
        layers that keep their own derivative; or None.
    layers : sequence of Activation
        The activations.

    Returns
    -------
    tuple of Surrogate or None
        The surrogates.

    Raises
    ------
    ValueError
        If there are not as many as layers, a layer that has one is no staircase, or no layer has one.
    """
    if given is None:
        return (None,) * len(layers)
    if isinstance(given, list | tuple):
        if len(given) != len(layers):
            raise ValueError(
                f"surrogate must be one, or {len(layers)}, one per layer; got {len(given)} of them. A layer that keeps "
                "its own derivative has None."
            )
        chosen = [None if one is None else surrogate(one) for one in given]
    else:
        one = surrogate(given)
        chosen = [one if layer.has_jumps else None for layer in layers]
    for depth, (layer, each) in enumerate(zip(layers, chosen, strict=True), start=1):
        if each is not None and not isinstance(layer, Staircase):
            raise ValueError(
                f"layer {depth} ({layer.name}) is no staircase: surrogates stand for derivatives of staircases alone. "
                + ("Write it as hntk.staircase(thresholds, levels)." if layer.has_jumps else "Give it None.")
            )
    if not any(chosen):
        raise ValueError("no layer jumps, so that a surrogate has no derivative to stand for: leave surrogate out.")
    return tuple(chosen)
