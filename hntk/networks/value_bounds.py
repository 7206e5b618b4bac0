r"""Networks whose predictions are finite in float32.

Of a layer $h = \sigma(f\,W h') - m$ with $|h'_j| \le B$, no sum exceeds $S B$ in whatever order it is taken, $S$
being the largest $\sum_j |W_{ij}|$ of a row, and $|h| \le g(f S B) + |m|$ with g the activation's growth. From samples
of at most `LARGEST_INPUT` this bounds every number of a network whose activations are bounded. Of others it grows by
√d a layer where the numbers do not: there the network is tried on samples of the theory's scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, sqrt

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk.activations import Activation, Staircase
from hntk.activations.elementary import Cosine, Erf, GaussianBump, Sine
from hntk.activations.polynomial import Polynomial
from hntk.activations.rectifier import Rectifier
from hntk.networks.network import Network
from hntk.weights.laws import WeightMatrix

# coordinates of samples for which predictions are finite, whatever the sample
LARGEST_INPUT = 1000.0
# half of what float32 has, so that rounding does not matter
LARGEST = float(np.finfo(np.float32).max) / 2
# weights at a time
BLOCK = 2**22
ROWS = 4
Readout = tuple[Float[np.ndarray, "d K"], Float[np.ndarray, " K"]]

GROWTH: dict[type, Callable[..., float]] = {
    Staircase: lambda sigma, t: max(map(abs, sigma.levels)),
    Cosine: lambda sigma, t: 1.0,
    Sine: lambda sigma, t: 1.0,
    Erf: lambda sigma, t: 1.0,
    GaussianBump: lambda sigma, t: 1.0,
    Rectifier: lambda sigma, t: (abs(sigma.odd) + abs(sigma.even)) * t,
    Polynomial: lambda sigma, t: _horner(sigma.coefficients, max(1.0, t)),
}
BOUNDED = (Staircase, Cosine, Sine, Erf, GaussianBump)


def check_finite(network: Network, readout: Readout | None) -> None:
    """Refuse a network whose predictions overflow.

    Parameters
    ----------
    network : in float32.
    readout : weights and offset, where there is one.

    Raises
    ------
    ValueError
        If its numbers leave float32's range on samples of at most `LARGEST_INPUT`, or, where activations are not
        bounded and this cannot be told, come within that factor of it on samples of norm 1 and τ_0.
    """
    if _largest_number(network, readout) <= LARGEST:
        return
    if all(isinstance(sigma, BOUNDED) for sigma in network.activations) or not _stays_small(network, readout):
        raise ValueError(
            "predictions would overflow float32: rescale weights, levels or the readout, so that no layer's sums pass "
            f"{LARGEST:.1e}"
        )


def largest_row_sum(matrix: WeightMatrix) -> float:
    """Return the largest Σ_j |W_ij| of the values, some rows at a time."""
    blocks = _row_blocks(matrix)
    return max(float(np.abs(block).sum(axis=1, dtype=np.float64).max()) for block in blocks)


def _largest_number(network: Network, readout: Readout | None) -> float:
    """Return what no number on the way to a prediction exceeds; infinite where the bound itself overflows."""
    bound, most = LARGEST_INPUT, 0.0
    for w, factor, sigma, m in network.layers():
        sums = largest_row_sum(w) * bound
        z = sums * max(w.scale * factor, 0.0)
        bound = _growth(sigma, z) + abs(m)
        most = max(most, sums, z, bound)
        if not most <= LARGEST:
            return inf
    if readout is None:
        return most
    weights, offset = readout
    scores = np.abs(weights).sum(axis=0) * (bound / sqrt(network.widths[-1]))
    return max(most, float(np.max(scores + np.abs(offset))), float(np.max(np.abs(offset))))


def _growth(sigma: Activation, t: float) -> float:
    """Return a bound of |σ| on [−t, t]; of a function that is only known by its values, the largest of many."""
    if t > LARGEST:
        return inf
    known = GROWTH.get(type(sigma))
    if known is not None:
        return known(sigma, t)
    sizes = np.concatenate([[0.0], np.geomspace(1e-3, max(t, 1e-2), 64)])
    found = np.abs(np.asarray(sigma(jnp.asarray(np.concatenate([sizes, -sizes]), jnp.float32)), np.float64))
    return float(found.max()) if np.all(np.isfinite(found)) else inf


def _horner(coefficients: tuple[float, ...], t: float) -> float:
    """Return Σ |c_k| t^k, which for t ≥ 1 no step of Horner's rule exceeds."""
    total = 0.0
    for c in reversed(coefficients):
        total = total * t + abs(c)
        if total > LARGEST:
            return inf
    return total


def _stays_small(network: Network, readout: Readout | None) -> bool:
    """Whether a few random samples of the theory's scale leave room for larger ones; in float32, without compiling."""
    x = np.random.default_rng(0).normal(size=(ROWS, network.inputs))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scale = 1.0 if network.origin is None else max(1.0, network.origin.tau0)
    h, most = np.concatenate([x, scale * x]).astype(np.float32), 0.0
    with np.errstate(all="ignore"):
        for w, factor, sigma, m in network.layers():
            sums = np.concatenate([h @ np.asarray(rows, np.float32).T for rows in _row_blocks(w)], axis=1)
            z = sums * np.float32(w.scale * factor)
            h = np.asarray(sigma(jnp.asarray(z)) - m, np.float32)
            most = np.max([most, *(np.abs(part).max() for part in (sums, z, h))])
        scores = h if readout is None else h @ readout[0].astype(np.float32) / sqrt(h.shape[1]) + readout[1]
    largest = np.max([most, np.abs(scores).max()])
    # false for NaN, which np.max keeps
    return bool(largest <= LARGEST / LARGEST_INPUT)


def _row_blocks(matrix: WeightMatrix) -> Iterator[np.ndarray]:
    values = np.asarray(matrix.values)
    step = max(1, BLOCK // values.shape[1])
    return (values[start : start + step] for start in range(0, values.shape[0], step))
