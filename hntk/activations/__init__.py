"""Activations: functions that know their Gaussian moments and kernel maps."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from functools import cache

import jax
import numpy as np
from jax import Array

from hntk._utils.arguments import as_finite
from hntk._utils.arrays import brief, finite_array
from hntk.activations.base import Activation, Moments
from hntk.activations.elementary import Cosine, Erf, GaussianBump, Sine
from hntk.activations.polynomial import Polynomial
from hntk.activations.quadrature import QuadratureActivation
from hntk.activations.rectifier import Rectifier
from hntk.activations.staircase import Staircase, staircase

__all__ = ["Activation", "Moments", "Staircase", "activation", "activation_names", "register_activation", "staircase"]


def _smooth(name: str, function: Callable[[Array], Array]) -> Callable[[], Activation]:
    # examining a function takes a tenth of a second
    return cache(lambda: QuadratureActivation(function, (), name))


def _leaky_relu(slope: float = 0.01) -> Activation:
    slope = as_finite(slope, "slope")
    return Rectifier((1 + slope) / 2, (1 - slope) / 2, f"leaky_relu({slope:g})")


def _quadratic(coefficients: Iterable[float] = (0.0, 0.0, 1.0)) -> Activation:
    return Polynomial(tuple(coefficients), "quadratic")


def _polynomial(coefficients: Iterable[float]) -> Activation:
    return Polynomial(tuple(coefficients))


_REGISTRY: dict[str, Callable[..., Activation]] = {
    "linear": lambda: Rectifier(1.0, 0.0, "linear"),
    "relu": lambda: Rectifier(0.5, 0.5, "relu"),
    "leaky_relu": _leaky_relu,
    "abs": lambda: Rectifier(0.0, 1.0, "abs"),
    "sign": lambda: staircase([0.0], [-1.0, 1.0], "sign"),
    "step": lambda: staircase([0.0], [0.0, 1.0], "step"),
    "staircase": staircase,
    "quadratic": _quadratic,
    "polynomial": _polynomial,
    "cos": Cosine,
    "sin": Sine,
    "erf": Erf,
    "gaussian": GaussianBump,
    "sigmoid": _smooth("sigmoid", jax.nn.sigmoid),
    "tanh": _smooth("tanh", jax.numpy.tanh),
    "gelu": _smooth("gelu", lambda t: jax.nn.gelu(t, approximate=False)),
    "silu": _smooth("silu", jax.nn.silu),
    "softplus": _smooth("softplus", jax.nn.softplus),
}


def activation_names() -> list[str]:
    """Names that :func:`activation` knows."""
    return sorted(_REGISTRY)


def activation(
    which: str | Activation | Callable[[Array], Array], *, breakpoints: Iterable[float] = (), **parameters: object
) -> Activation:
    """An activation by name, with its parameters; or one of the user's own from a function.

    Parameters
    ----------
    which : a name (see :func:`activation_names`), an elementwise function made of jax.numpy operations, or an
        activation, which is returned as it is.
    breakpoints : for a function: the points where it has kinks or jumps.
    parameters : for a name: ``slope`` of leaky_relu; ``coefficients`` (ascending) of polynomial and quadratic;
        ``thresholds`` and ``levels`` of staircase.

    Raises
    ------
    ValueError
        For an unknown name (the known ones are listed), parameters that do not fit, or a function with undeclared
        kinks.

    Examples
    --------
    >>> import hntk, jax.numpy as jnp
    >>> round(hntk.activation("leaky_relu", slope=0.1).moments(2.0).e1, 12)
    0.55
    >>> clipped = hntk.activation(lambda t: jnp.clip(t, 0, 1), breakpoints=[0, 1])
    >>> round(clipped.moments(1.0).e1, 6)  # Φ(1) − Φ(0)
    0.341345
    """
    if isinstance(which, Activation):
        return which
    if callable(which):
        name = str(parameters.pop("name", getattr(which, "__name__", "custom")))
        _no_parameters(name, parameters)
        return QuadratureActivation(which, _as_points(breakpoints), name)
    if not isinstance(which, str):
        raise ValueError(f"an activation must be a name, a function or a hntk.Activation, got {brief(which)}.")
    if which not in _REGISTRY:
        close = difflib.get_close_matches(str(which), _REGISTRY, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown activation {which!r}; known are {', '.join(activation_names())}.{hint}")
    if _as_points(breakpoints):
        raise ValueError(f"breakpoints are for functions; the activation {which!r} knows its own.")
    try:
        return _REGISTRY[which](**parameters)
    except TypeError as error:
        raise ValueError(f"parameters {parameters} do not fit the activation {which!r}: {error}.") from error


def register_activation(name: str, function: Callable[[Array], Array], breakpoints: Iterable[float] = ()) -> Activation:
    """Make a function known by name, so that configurations can use it.

    Raises
    ------
    ValueError
        If the name is taken or the function is not a valid activation.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be text, got {brief(name)}.")
    if not callable(function):
        raise ValueError(f"function must map a jax array to one of its shape, got {brief(function)}.")
    if name in _REGISTRY:
        raise ValueError(f"an activation named {name!r} exists already; choose another name.")
    made = QuadratureActivation(function, _as_points(breakpoints), name)
    _REGISTRY[name] = lambda: made
    return made


def _as_points(breakpoints: object) -> tuple:
    plain = isinstance(breakpoints, Iterable) and not isinstance(breakpoints, str | bytes | dict | np.ndarray)
    found = finite_array(list(breakpoints) if plain else breakpoints, "breakpoints")  # type: ignore[call-overload]
    if found.ndim != 1:
        raise ValueError(f"breakpoints must be a list of numbers, got {brief(breakpoints)}.")
    return tuple(found.tolist())


def _no_parameters(name: str, parameters: dict) -> None:
    if parameters:
        raise ValueError(f"the activation {name!r} is a function and takes no parameters, got {sorted(parameters)}.")
