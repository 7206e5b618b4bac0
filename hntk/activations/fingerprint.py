"""Texts that are equal for activations that compute the same numbers, in any process."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from hntk._utils.digest import array_digest
from hntk.activations.base import Activation

# number of points at which the values of two functions are compared
PROBES = 1001


def fingerprint(layer: Activation) -> str:
    """Return a text that tells activations apart by what they compute.

    The library's closed forms are described by their parameters. Functions are described by their values, rounded to
    ten digits, because a Python function is another object in every process. A class of the user's own adds its
    moments, because its kernel may use more than the function's values.

    Examples
    --------
    >>> import hntk
    >>> from hntk.activations.fingerprint import fingerprint
    >>> slopes = [hntk.activation("leaky_relu", slope=s) for s in (0.1, 0.1, 0.1000000001)]
    >>> [fingerprint(layer) == fingerprint(slopes[0]) for layer in slopes]
    [True, True, False]
    """
    own = type(layer)
    is_ours = own.__module__.startswith("hntk.")
    if is_ours and layer.parameters is not None:
        return f"{own.__qualname__}({', '.join(f'{name}={value!r}' for name, value in layer.parameters.items())})"
    values = np.asarray(layer(jnp.sinh(jnp.linspace(-8.0, 8.0, PROBES))), np.float64)
    digest = array_digest(np.array([f"{value:.9e}" for value in values]))
    function = f"{layer.name}, {layer.breakpoints}, {digest}"
    if is_ours:
        return function
    moments = [layer.moments(scale) for scale in (0.5, 1.0, 2.0)]
    return f"{own.__module__}.{own.__qualname__}, {function}, {moments}"
