r"""Finite steps of straight-through training, simulated, and what theory expects of them.

Networks of two samples and L layers of staircases are drawn, all parameters take one step of length η on one sample by
its surrogate gradient, and −Δf/η is measured: (f(θ − ηg̃_j) − f(θ + ηg̃_j)) / 2η, which has the errors of even order in
η removed. A step of size η makes pre-activations of lower layers cross thresholds, which scatters those of the layers
above. At width d the new and the old state of one sample then have a covariance that is lower by D/2,
$D_1 = \eta K_0\sqrt{2G_1/\pi d}\sum_k c_k^2N(s_k)|\varphi(s_k)|$ in the first layer, where $G_l/d$ is the variance of
the gradients that reach layer l. The kernel's diagonal is the recursion's with these covariances, and the limit's as
η/√d → 0. Off the diagonal the covariance with another sample's old state does not change to this order.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

import hntk
from hntk.activations.straight_through import StraightThroughStep

# four levels of variance 1 at scale 1, with the first two moments of ReLU in proportion
STEPS = hntk.staircase([0.192, 0.992, 1.821], (np.array([0, 0.560, 1.324, 2.567]) / np.sqrt(0.36764)).tolist())
QUANTILES = norm.ppf((np.arange(20000) + 0.5) / 20000)
X = np.array([[1.05, 0.0, 0.0], [0.45, 0.7, 0.35]])
TAU0 = 1.0


def simulated(
    depth: int, width: int, surrogate: hntk.Surrogate, eta: float, draws: int, readouts: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Return means of −Δf_i/η of steps on sample j, (2, 2), and their standard errors over draws of hidden weights."""
    rng, centres = np.random.default_rng(1000 * depth + width), hntk.coefficients([STEPS] * depth, TAU0).centres
    made = [_one_draw(rng, width, centres, surrogate, eta, readouts) for _ in range(draws)]
    return np.mean(made, axis=0), np.std(made, axis=0, ddof=1) / np.sqrt(draws)


def _slope(surrogate: hntk.Surrogate, u: np.ndarray) -> np.ndarray:
    return np.asarray(surrogate(jnp.asarray(u)))


def _one_draw(
    rng: np.random.Generator,
    d: int,
    centres: tuple[float, ...],
    surrogate: hntk.Surrogate,
    eta: float,
    readouts: int,
) -> np.ndarray:
    """Return −Δf/η for one draw of hidden weights, as a mean over readouts."""
    x, depth = X.astype(np.float32), len(centres)
    s, levels = (table.astype(np.float32) for table in STEPS.table(np.float32))

    def act(u: np.ndarray, m: float) -> np.ndarray:
        return levels[np.searchsorted(s, u, side="right")] - np.float32(m)

    root = np.float32(1 / np.sqrt(d))
    weights = [rng.standard_normal((d, x.shape[1]), dtype=np.float32)]
    weights += [root * rng.standard_normal((d, d), dtype=np.float32) for _ in range(depth - 1)]
    us, hs = [weights[0] @ x.T], []
    for layer, m in enumerate(centres):
        hs.append(act(us[layer], m))
        if layer + 1 < depth:
            us.append(weights[layer + 1] @ hs[layer])
    w = rng.standard_normal((d, readouts), dtype=np.float32)
    # gradients by pre-activations: neurons, samples j, readouts
    back = [_slope(surrogate, us[-1])[:, :, None] * w[:, None, :] * root]
    for layer in reversed(range(depth - 1)):
        reached = (weights[layer + 1].T @ back[0].reshape(d, -1)).reshape(back[0].shape)
        back.insert(0, _slope(surrogate, us[layer])[:, :, None] * reached)
    # axes: neurons, samples i, samples j, sign of the step, readouts
    step = np.array([-eta, eta], np.float32)[:, None]
    change = (x @ x.T)[None, :, :, None, None] * back[0][:, None, :, None, :] * step
    for layer, m in enumerate(centres):
        new = act(us[layer][:, :, None, None, None] + change, m)
        moved = new - hs[layer][:, :, None, None, None]
        inner = np.einsum("dj,dijsr->ijsr", hs[layer], new) / d
        if layer + 1 < depth:
            change = (weights[layer + 1] @ moved.reshape(d, -1)).reshape(moved.shape)
            change += inner[None] * back[layer + 1][:, None, :, None, :] * step
    f = np.einsum("dr,dijsr->ijsr", w, moved) * root + inner * step
    return (f[:, :, 1] - f[:, :, 0]).mean(axis=-1) / (2 * eta)


def finite_step_diagonal(depth: int, width: int, surrogate: hntk.Surrogate, eta: float) -> np.ndarray:
    """Return the diagonal of the kernel that steps of finite size at finite width follow, (2,)."""
    layer, made = StraightThroughStep.of(STEPS.step_function, surrogate), []
    centres, slopes = hntk.coefficients([STEPS] * depth, TAU0).centres, _slope(surrogate, np.array(STEPS.thresholds))
    for row in X:
        q = [float(row @ row)]
        for m in centres:
            q.append(float(STEPS.kernel_map(q[-1], q[-1], q[-1], m)))
        squares = [np.mean(_slope(surrogate, np.sqrt(v) * QUANTILES) ** 2) for v in q]
        # variances of the gradients that reach each layer, times the width
        reached = np.append(np.cumprod(squares[1:-1][::-1])[::-1], 1.0)
        densities = np.array(STEPS.jumps) * norm.pdf(STEPS.thresholds, 0, np.sqrt(q[0]))
        moved = eta * q[0] * np.sqrt(2 * reached[0] / (np.pi * width))
        lowered = moved * np.sum(densities * np.array(STEPS.jumps) * np.abs(slopes))
        kernel = q[1] - lowered / 2 + q[0] * np.sum(densities * slopes)
        for level in range(1, depth):
            own = eta**2 * q[level] ** 2 * reached[level] * squares[level] / width
            c = q[level] - (lowered + own) / 2
            value = float(STEPS.kernel_map(c, q[level], q[level], centres[level]))
            kernel = value + kernel * float(layer.derivative_map(jnp.asarray(c), q[level], q[level]))
            lowered = 2 * (q[level + 1] - value)
        made.append(kernel)
    return np.array(made)
