"""Activations by name: the table of the known ones, and how users add their own."""

from __future__ import annotations

import copyreg
import difflib
import pickle
from collections.abc import Callable, Iterable
from functools import cache

import jax
import numpy as np
from jax import Array

from hntk._utils.arguments import as_finite
from hntk._utils.arrays import brief, finite_array
from hntk.activations.base import Activation
from hntk.activations.elementary import Cosine, Erf, GaussianBump, Sine
from hntk.activations.polynomial import Polynomial
from hntk.activations.quadrature import QuadratureActivation
from hntk.activations.rectifier import Rectifier
from hntk.activations.staircases import staircase


def _smooth(name: str, function: Callable[[Array], Array]) -> Callable[[], Activation]:
    # cached, because the checks of a function take a tenth of a second
    return cache(lambda: QuadratureActivation(function, (), name))


def _leaky_relu(slope: float = 0.01) -> Activation:
    slope = as_finite(slope, "slope")
    return Rectifier((1 + slope) / 2, (1 - slope) / 2, f"leaky_relu({slope:g})")


def _quadratic(coefficients: Iterable[float] = (0.0, 0.0, 1.0)) -> Activation:
    return Polynomial(tuple(coefficients), "quadratic")


def _polynomial(coefficients: Iterable[float]) -> Activation:
    return Polynomial(tuple(coefficients))


_BUILDERS: dict[str, Callable[..., Activation]] = {
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
    """Return the names that :func:`activation` knows, sorted.

    Returns
    -------
    list of str
        Names of the built-in activations and of those added by :func:`register_activation`.
    """
    return sorted(_BUILDERS)


def activation(
    which: str | Activation | Callable[[Array], Array], *, breakpoints: Iterable[float] = (), **parameters: object
) -> Activation:
    """Return an activation: one known by name, or one made from a function.

    Parameters
    ----------
    which : str, callable or Activation
        A name (see :func:`activation_names`), or an elementwise function made of jax.numpy operations. An activation
        is returned unchanged.
    breakpoints : iterable of float
        For a function: the points where it has kinks or jumps.
    **parameters : object
        For a name: ``slope`` of leaky_relu; ``coefficients`` (ascending) of polynomial and quadratic; ``thresholds``
        and ``levels`` of staircase. For a function: ``name``, which reports and files call it by.

    Returns
    -------
    Activation
        The activation with its Gaussian moments and kernel maps.

    Raises
    ------
    ValueError
        If the name is unknown (the message lists the known ones), the parameters do not fit, or a function has kinks
        that were not declared as breakpoints.

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
    points = _as_points(breakpoints)
    if callable(which):
        return _from_function(which, points, parameters)
    if not isinstance(which, str):
        raise ValueError(f"an activation must be a name, a function or a hntk.Activation, got {brief(which)}.")
    builder = _builder(which)
    if points:
        raise ValueError(f"breakpoints are for functions; the activation {which!r} knows its own.")
    try:
        return builder(**parameters)
    except TypeError as error:
        raise ValueError(f"parameters {parameters} do not fit the activation {which!r}: {error}.") from error


def register_activation(name: str, function: Callable[[Array], Array], breakpoints: Iterable[float] = ()) -> Activation:
    """Make a function known by name, so that configurations and files can refer to it.

    Parameters
    ----------
    name : str
        A name that is not taken yet.
    function : callable
        An elementwise function made of jax.numpy operations.
    breakpoints : iterable of float
        The points where the function has kinks or jumps.

    Returns
    -------
    Activation
        The activation; :func:`activation` returns it for ``name`` from now on.

    Raises
    ------
    ValueError
        If the name is taken or the function is not a valid activation.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be text, got {brief(name)}.")
    if not callable(function):
        raise ValueError(f"function must map a jax array to one of its shape, got {brief(function)}.")
    if name in _BUILDERS:
        raise ValueError(f"an activation named {name!r} exists already; choose another name.")
    made = QuadratureActivation(function, _as_points(breakpoints), name)
    _BUILDERS[name] = lambda: made
    return made


def _builder(name: str) -> Callable[..., Activation]:
    if name not in _BUILDERS:
        close = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(activation_names())}.{hint}")
    return _BUILDERS[name]


def _from_function(function: Callable[[Array], Array], points: tuple[float, ...], parameters: dict) -> Activation:
    name = str(parameters.pop("name", getattr(function, "__name__", "custom")))
    if parameters:
        raise ValueError(f"the activation {name!r} is a function and takes no parameters, got {sorted(parameters)}.")
    return QuadratureActivation(function, points, name)


def _as_points(breakpoints: object) -> tuple[float, ...]:
    """Check a list of breakpoints."""
    listed = isinstance(breakpoints, Iterable) and not isinstance(breakpoints, str | bytes | dict | np.ndarray)
    points = finite_array(list(breakpoints) if listed else breakpoints, "breakpoints")  # type: ignore[call-overload]
    if points.ndim != 1:
        raise ValueError(f"breakpoints must be a list of numbers, got {brief(breakpoints)}.")
    return tuple(points.tolist())


def _reduce(sigma: QuadratureActivation) -> str | tuple:
    """Pickle an activation by its name where its function cannot be pickled."""
    if not _can_be_pickled(sigma.function) and sigma.name in _BUILDERS and activation(sigma.name) == sigma:
        return activation, (sigma.name,)
    return object.__reduce_ex__(sigma, pickle.DEFAULT_PROTOCOL)


def _can_be_pickled(function: Callable) -> bool:
    try:
        pickle.dumps(function)
    except Exception:  # pickle, and the objects that a function holds, raise many kinds
        return False
    return True


# here and not in the class, which stands below the table of names
copyreg.pickle(QuadratureActivation, _reduce)  # type: ignore[arg-type]
