"""Activations recognised by their values.

What a framework calls an activation, and what its parameters mean, differs from one to the next: some GELUs are
approximations by tanh, and slopes below 0 have four default values. Values do not lie: a function is taken for the
activation whose values it has at 255 points, most of them in [−12, 12] and some up to 1,000.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from hntk.activations import Activation, activation, staircase
from hntk.activations.quadrature import QuadratureActivation
from hntk.activations.rectifier import Rectifier
from hntk.networks.models import functions
from hntk.networks.models.records import POINTS, ROUNDING, Elementwise, refuse

EDGE = 12.0
LARGEST = 3e38
# places of the two points that are farthest out below 0, and above it
OUTER = np.argsort(POINTS)[[0, 1, -2, -1]]
# Activations without parameters by the values they have, and how each is made; SciPy's are loaded at the first call.
NAMED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": lambda t: scipy.special.expit(t),
    "gelu": lambda t: t * scipy.special.ndtr(t),
    "silu": lambda t: t * scipy.special.expit(t),
    "erf": lambda t: scipy.special.erf(t),
    "sin": np.sin,
    "cos": np.cos,
    "sign": np.sign,
    "quadratic": np.square,
    "gaussian": lambda t: np.exp(-np.square(t) / 2),
}
OTHERS: dict[str, tuple[Callable, tuple[float, ...]]] = {
    "gelu_tanh": (functions.gelu_tanh, ()),
    "quick_gelu": (functions.quick_gelu, ()),
    "mish": (functions.mish, ()),
    "hard_swish": (functions.hard_swish, (-3.0, 3.0)),
    "softsign": (functions.softsign, (0.0,)),
    "log_sigmoid": (functions.log_sigmoid, ()),
    "tanhshrink": (functions.tanhshrink, ()),
    "exp": (jnp.exp, ()),
}


def recognise(record: Elementwise, given: Mapping[str, object]) -> Activation:
    """Return the activation that a model's function is.

    Parameters
    ----------
    record : Elementwise
        The function.
    given : mapping of str to activation
        Activations by the names of a model's functions, for those that hntk does not know.

    Returns
    -------
    Activation
        The activation, whose values are the function's to float32 rounding.

    Raises
    ------
    ValueError
        If it is none that is known, or the one that is given for it has other values.
    """
    values = record.values()
    if values.shape != POINTS.shape:
        refuse(record.name, "it is no function of single numbers", "leave it out, or apply it to the scores yourself")
    if record.name in given:
        sigma = activation(given[record.name])  # type: ignore[arg-type]
        if not _equal(np.asarray(sigma(jnp.asarray(POINTS)), np.float64), values):
            refuse(
                record.name, f"the activation given for it, {sigma.name!r}, has other values than it", "give another"
            )
        return sigma
    found = _known(values) or _staircase(record, values)
    if found is not None:
        return found
    if record.of_jax:
        try:
            return QuadratureActivation(record.function, (), record.name)
        except ValueError as error:
            refuse(record.name, f"its function is none that hntk knows, and not smooth ({error})", _remedy(record.name))
    return refuse(record.name, "its function is none that hntk knows", _remedy(record.name))


def _known(values: np.ndarray) -> Activation | None:
    with np.errstate(all="ignore"):
        for candidate in (_rays, _named, _other, _elu, _celu, _ramp, _softplus, _softshrink):
            found = candidate(values)
            if found is not None:
                return found
    return None


def is_sigmoid(record: Elementwise) -> bool:
    """Return whether a function is the logistic sigmoid."""
    values = record.values()
    return values.shape == POINTS.shape and _equal(scipy.special.expit(POINTS), values)


def _remedy(name: str) -> str:
    return f"give it, as activations={{{name!r}: hntk.activation(function, breakpoints=[...])}}"


def _equal(expected: np.ndarray, values: np.ndarray) -> bool:
    # what float32 cannot hold is as large in both
    one, other = (np.clip(part, -LARGEST, LARGEST) for part in (expected, values))
    return bool(np.all(np.abs(one - other) <= ROUNDING * (1 + np.abs(other))))


def _short(value: Any) -> float:
    """Return the shortest decimal number that float32 rounds to the value, which a framework may have rounded."""
    return float(str(np.float32(value)))


def _rays(values: np.ndarray) -> Activation | None:
    """Two rays that meet at 0: linear, ReLU, leaky ReLU, the absolute value."""
    above, below = _short(values[240] / EDGE), _short(values[0] / -EDGE)
    if not _equal(np.where(POINTS > 0, above, below) * POINTS, values) or above == below == 0:
        return None
    names = {0.0: "relu", 1.0: "linear", -1.0: "abs"}
    if above == 1:
        return activation(names[below]) if below in names else activation("leaky_relu", slope=below)
    return Rectifier((above + below) / 2, (above - below) / 2, f"rectifier({above:g}, {below:g})")


def _named(values: np.ndarray) -> Activation | None:
    return next((activation(name) for name, function in NAMED.items() if _equal(function(POINTS), values)), None)


def _other(values: np.ndarray) -> Activation | None:
    for name, (function, breakpoints) in OTHERS.items():
        if _equal(_values(function), values):
            return _made(function, breakpoints, name)
    return None


def _elu(values: np.ndarray) -> Activation | None:
    scale = _short(values[240] / EDGE)
    if not scale > 0:
        return None
    alpha = _short(values[0] / (scale * np.expm1(-EDGE)))
    elu = functions.Elu(alpha, scale)
    if not _equal(_values(elu), values):
        return None
    if abs(alpha - 1.6732632) < 1e-6 and abs(scale - 1.050701) < 1e-6:
        return _made(functions.Elu(1.6732632423543772, 1.0507009873554805), (0.0,), "selu")
    name = "elu" if (alpha, scale) == (1, 1) else f"elu({alpha:g})" if scale == 1 else f"elu({alpha:g}, {scale:g})"
    return _made(elu, (0.0,), name)


def _celu(values: np.ndarray) -> Activation | None:
    alpha = -values[0]
    for _ in range(50 if alpha > 0 else 0):
        # α (1 − exp(−12/α)) is the value at −12
        alpha = values[0] / np.expm1(-EDGE / alpha)
    if not alpha > 0:
        return None
    celu = functions.Celu(_short(alpha))
    return _made(celu, (0.0,), f"celu({celu.alpha:g})") if _equal(_values(celu), values) else None


def _ramp(values: np.ndarray) -> Activation | None:
    low, low_too, high_too, high = (_short(value) for value in values[OUTER])
    if low != low_too or high != high_too:
        return None
    inside = np.flatnonzero((values[:241] > low + 1e-6) & (values[:241] < high - 1e-6))
    if len(inside) < 2:
        return None
    first, last = inside[[0, -1]]
    slope = _short((values[last] - values[first]) / (POINTS[last] - POINTS[first]))
    ramp = functions.Ramp(slope, _short(np.round(values[first] - slope * POINTS[first], 6)), low, high)
    if not _equal(_values(ramp), values):
        return None
    named: dict[tuple[float, ...], str] = {(1, 0, -1, 1): "hard_tanh", (1, 0, 0, 6): "relu6"}
    numbers = (ramp.slope, ramp.offset, low, high)
    name = named.get(numbers, f"ramp({', '.join(f'{number:g}' for number in numbers)})")
    return _made(ramp, ramp.breakpoints, name)


def _softplus(values: np.ndarray) -> Activation | None:
    if not values[120] > 0:
        return None
    beta = _short(np.log(2) / values[120])
    if abs(beta - 1) < 1e-6:
        return activation("softplus") if _equal(np.logaddexp(POINTS, 0), values) else None
    softplus = functions.SoftPlus(beta)
    return _made(softplus, (), f"softplus({beta:g})") if _equal(_values(softplus), values) else None


def _softshrink(values: np.ndarray) -> Activation | None:
    size = _short(EDGE - values[240])
    shrink = functions.SoftShrink(size)
    if not 0 < size < EDGE or not _equal(_values(shrink), values):
        return None
    return _made(shrink, (-size, size), f"softshrink({size:g})")


def _staircase(record: Elementwise, values: np.ndarray) -> Activation | None:
    """A staircase, whose edges are known: it is constant between them, and has the upper level on each."""
    edges = np.asarray(record.edges)
    if not edges.size:
        return None
    inside = np.concatenate([edges[:1] - 1, (edges[:-1] + edges[1:]) / 2, edges[-1:] + 1])
    levels = record.values(inside)
    # a reader that knows edges computes in float32
    cells = np.searchsorted(edges, np.float32(POINTS), side="right")
    if not np.array_equal(record.values(edges), levels[1:]) or not _equal(levels[cells], values):
        return None
    return staircase(edges.tolist(), levels.tolist()) if np.all(np.isfinite([*edges, *levels])) else None


def _values(function: Callable) -> np.ndarray:
    return np.asarray(function(jnp.asarray(POINTS)), np.float64)


@lru_cache(maxsize=64)
def _made(function: Callable, breakpoints: tuple[float, ...], name: str) -> Activation:
    # cached, because the checks of a function take a tenth of a second
    return QuadratureActivation(function, breakpoints, name)
