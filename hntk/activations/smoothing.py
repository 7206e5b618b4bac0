r"""Derivatives of the kernel map of any activation, by smoothing it.

A Gaussian pair with variances Q and covariance $0 \le C < Q$ is $u = z + \sqrt{s}\,\xi$, $v = z + \sqrt{s}\,\eta$ with
$z \sim N(0, C)$ and $s = Q - C$. Given z, both values are independent, and have the mean $S_0(z)$, an entire function
whatever σ is. Its derivatives follow from Stein's identity with Hermite polynomials,

$$S_j(z) = E[\sigma(z + \sqrt{s}\,\xi)\,\mathrm{He}_j(\xi)]/s^{j/2},$$

and with Price's theorem they give every derivative of $k(q_1, q_2, c) = E[\sigma(u)\sigma(v)]$ at (Q, Q, C): one by c
differentiates both factors once, one by a variance differentiates its own factor twice and counts one half. So
$k_c = E_z[S_1^2]$, $k_1 = \frac12 E_z[S_2S_0]$, $k_{cc} = E_z[S_2^2]$, $k_{11} = \frac14 E_z[S_4S_0]$, and so on. At
equal variances $k_{12} = \frac14 k_{cc}$ and $k_{12c} = \frac14 k_{ccc}$.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.float64 import float64
from hntk.activations.gaussian_cells import density
from hntk.activations.gaussian_rules import GRADED, REACH, gaussian_panels, gaussian_rule

# highest derivative of the smoothed activation
ORDER = 5
# panel edges in standard deviations
SIGMAS = np.linspace(-REACH, REACH, 17)
# panel edges about a breakpoint in units of √s, the scale on which S_j varies there
NEAR = np.concatenate([-(2.0 ** np.arange(-1, 40)), [0.0], 2.0 ** np.arange(-1, 40)])
# C/s below which z is 0 to rounding
NEGLIGIBLE = 1e-30
# nodes computed at a time, which bounds the memory
BLOCK = 1 << 15


class PairDerivatives(NamedTuple):
    """The kernel map k(q₁, q₂, c) = E[σ(u)σ(v)] and its derivatives at (Q, Q, C), and those of its diagonal at Q.

    Attributes
    ----------
    k : float
        The value E[σ(u)σ(v)].
    k_c, k_1 : float
        First derivatives, by the covariance and by one variance.
    k_cc, k_1c, k_11, k_12 : float
        Second derivatives.
    k_ccc, k_1cc, k_11c, k_12c : float
        Third derivatives with at least one by the covariance: the second ones of E[σ'(u)σ'(v)].
    g, dg, ddg : float
        Value E[σ(u)²] on the diagonal, g(q) = k(q, q, q), and its derivatives by q.
    h : float
        E[σ'(u)²]; infinite for an activation with a jump.
    """

    k: float
    k_c: float
    k_1: float
    k_cc: float
    k_1c: float
    k_11: float
    k_12: float
    k_ccc: float
    k_1cc: float
    k_11c: float
    k_12c: float
    g: float
    dg: float
    ddg: float
    h: float


def pair_derivatives(means: Float[np.ndarray, "6 6"], diagonal: tuple[float, float, float, float]) -> PairDerivatives:
    """Return the derivatives from E[σ^(i)(u) σ^(j)(v)], i and j up to 5, and (g, g', g'', h)."""
    m, (g, dg, ddg, h) = means.tolist(), diagonal
    return PairDerivatives(
        k=m[0][0],
        k_c=m[1][1],
        k_1=m[2][0] / 2,
        k_cc=m[2][2],
        k_1c=m[3][1] / 2,
        k_11=m[4][0] / 4,
        k_12=m[2][2] / 4,
        k_ccc=m[3][3],
        k_1cc=m[4][2] / 2,
        k_11c=m[5][1] / 4,
        k_12c=m[3][3] / 4,
        g=g,
        dg=dg,
        ddg=ddg,
        h=h,
    )


def common_rule(
    covariance: float, spread: float, points: tuple[float, ...]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return nodes and weights of E over z ~ N(0, C), for functions that are smooth on the scale √s at breakpoints."""
    if covariance <= NEGLIGIBLE * spread:
        return np.zeros(1), np.ones(1)
    scale = math.sqrt(covariance)
    near = np.add.outer(points, math.sqrt(spread) * NEAR).reshape(-1)
    moving = np.clip(np.concatenate([GRADED, near]) / scale, -REACH, REACH)
    y, weight = gaussian_panels(np.unique(np.concatenate([SIGMAS, moving])), np)
    return scale * y, weight


def smoothed_function(
    function: Callable, points: tuple[float, ...], z: Float[np.ndarray, " n"], spread: float, centre: float
) -> Float[np.ndarray, "6 n"]:
    """Return S_0 … S_5 of σ − centre at the nodes z.

    A function without breakpoints is differentiated twice, which keeps digits where it bends little within √s.
    """
    count = max(1, BLOCK // (len(SIGMAS) * 40))
    parts = np.array_split(z, -(-len(z) // count))
    return np.concatenate([_smoothed_part(function, points, part, spread, centre) for part in parts], axis=1)


def _smoothed_part(function: Callable, points: tuple[float, ...], z: np.ndarray, spread: float, centre: float):
    root, given = math.sqrt(spread), 0 if points else 2
    xi, weight = _inner_rule(z, root, points)
    values = _sampled(function, given, z[:, None] + root * xi)
    # a constant has no derivatives: without it fewer digits cancel
    last = weight * (values[given] - _sampled(function, given, z)[given][:, None])
    values[0] -= centre
    out = np.empty((ORDER + 1, len(z)))
    out[: given + 1] = np.sum(weight * values, axis=-1)
    before, hermite = np.ones_like(xi), xi
    for k in range(1, ORDER + 1 - given):
        out[given + k] = np.sum(last * hermite, axis=-1) / root**k
        before, hermite = hermite, xi * hermite - k * before
    return out


def _inner_rule(z: np.ndarray, root: float, points: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of E over ξ for each z, split where z + √s ξ meets a breakpoint."""
    reach = np.max(np.abs(z)) + REACH * root
    moving = np.concatenate([GRADED[np.abs(GRADED) < reach], points])
    edges = np.empty((len(z), len(SIGMAS) + len(moving)))
    edges[:, : len(SIGMAS)] = SIGMAS
    edges[:, len(SIGMAS) :] = np.clip((moving - z[:, None]) / root, -REACH, REACH)
    return gaussian_panels(np.sort(edges, axis=1), np)


def fourth_of_square(function: Callable, points: tuple[float, ...], variance: float, centre: float) -> float:
    """Return the mean of the fourth derivative of (σ − centre)² at a variance, 4 g″."""
    tau = math.sqrt(variance)
    xi, weight = gaussian_rule(tau, points, np)
    sigma, *derivatives = _sampled(function, 0 if points else 2, tau * xi)
    if derivatives:
        slope, bend = derivatives
        return float(weight * (xi**2 - 1) @ (slope**2 + (sigma - centre) * bend)) * 2 / variance
    return float(weight * (xi**4 - 6 * xi**2 + 3) @ (sigma - centre) ** 2) / variance**2


def _sampled(function: Callable, derivatives: int, t: np.ndarray) -> np.ndarray:
    """Return σ and its first derivatives at t in float64, a block at a time so that one shape is compiled."""
    flat = np.zeros(-(-t.size // BLOCK) * BLOCK)
    flat[: t.size] = t.reshape(-1)
    with float64():
        program = _compiled(function, derivatives)
        blocks = [np.asarray(program(jnp.asarray(block, jnp.float64))) for block in flat.reshape(-1, BLOCK)]
    return np.concatenate(blocks, axis=1)[:, : t.size].reshape(-1, *t.shape)


@functools.lru_cache(maxsize=64)
def _compiled(function: Callable, derivatives: int) -> Callable:
    functions = [lambda t: jnp.asarray(function(t), jnp.float64)]
    for _ in range(derivatives):
        functions.append(jax.grad(functions[-1]))
    return jax.jit(lambda block: jnp.stack([jax.vmap(each)(block) for each in functions]))


def smoothed_steps(
    thresholds: Float[np.ndarray, " m"],
    levels: Float[np.ndarray, " m+1"],
    centre: float,
    z: Float[np.ndarray, " n"],
    spread: float,
) -> Float[np.ndarray, "6 n"]:
    """Return S_0 … S_5 of a step function: a sum of jumps times Φ, the Gaussian density and its derivatives."""
    root, jumps = math.sqrt(spread), np.diff(levels)
    y = (z - thresholds[:, None]) / root
    out = np.empty((ORDER + 1, len(z)))
    out[0] = levels[0] - centre + jumps @ scipy.special.ndtr(y)
    before, term = np.zeros_like(y), density(y) / root
    for j in range(1, ORDER + 1):
        out[j] = jumps @ term
        # derivatives of φ: φ^(j) = −y φ^(j−1) − (j − 1) φ^(j−2), here in units of √s
        before, term = term, -(y * term + (j - 1) * before / root) / root
    return out


def fourth_of_step_square(
    thresholds: Float[np.ndarray, " m"], levels: Float[np.ndarray, " m+1"], centre: float, variance: float
) -> float:
    """Return the mean of the fourth derivative of (σ − centre)² at a variance, for a step function σ."""
    u = thresholds / math.sqrt(variance)
    return float(np.diff((levels - centre) ** 2) @ ((u**3 - 3 * u) * density(u))) / variance**2
