r"""Shares of variance: how a network's coefficients follow from its layers, free of every scale.

A layer whose input is $\tau\xi$ carries the shares $p = (e_1\tau)^2/v$ (linear) and $q = (e_2\tau^2)^2/2v$ (quadratic)
of its output variance v, and answers a change of its input's norm with $r = s_2\tau^2/v$. In units of the output's
variance, $A_i = \alpha_i\tau_0^{k_i}/\tau_L^2$ with $k = (2, 4, 4, 2)$ and $B_i$ alike, the recursions of Theorem 1 of
Gu et al. (2022) are

$$A_1' = pA_1,\quad A_2' = pA_2 + \tfrac12 qA_4^2,\quad A_3' = pA_3 + qA_1^2,\quad A_4' = \tfrac12 rA_4,$$
$$B_1' = A_1' + pB_1,\quad B_2' = A_2' + pB_2,\quad B_3' = A_3' + pB_3 + 2qA_1B_1.$$

Two networks whose asked $A_i$ are proportional have the same kernel up to a multiple of the identity once the last
layer's amplitude is set; the factor of proportion is $\tau_L^2/\hat\tau_L^2$. $B_1 = (L + 1)A_1$ always.

All functions take real arrays, and complex ones for derivatives (:mod:`hntk.matching.complex_step`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from hntk.activations import Moments

NAMES = ("alpha1", "alpha2", "alpha3", "beta1", "beta2", "beta3")


def layer_shares(moments: Iterable[Moments]) -> Float[np.ndarray, "L 3"]:
    """Return the shares (p, q, r) of every layer."""
    return unit_shares(np.array([[*m.unit_targets, m.variance] for m in moments]))


def unit_shares(moments: np.ndarray) -> np.ndarray:
    """Return (p, q, r) from (E_1, E_2, S_2, v), the moments in units of τ, along the last axis."""
    e1, e2, s2, v = np.moveaxis(moments, -1, 0)
    return np.stack([e1**2 / v, e2**2 / 2 / v, s2 / v], axis=-1)


def final_shares(layers: np.ndarray) -> np.ndarray:
    """Return (A_1, A_2, A_3, B_1, B_2, B_3) of the whole network, shape (..., 6), from shares of shape (..., L, 3)."""
    a1, a2, a3, a4, b1, b2, b3 = 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0
    for p, q, r in np.moveaxis(layers, (-2, -1), (0, 1)):
        b3 = p * (a3 + b3) + q * a1 * (a1 + 2 * b1)
        a2, a3 = p * a2 + q * a4 * a4 / 2, p * a3 + q * a1 * a1
        a1, a4 = p * a1, r * a4 / 2
        b1, b2 = a1 + p * b1, a2 + p * b2
    return np.stack(np.broadcast_arrays(a1, a2, a3, b1, b2, b3), axis=-1)


def final_by_name(layers: Float[np.ndarray, "L 3"]) -> dict[str, float]:
    """Return the whole network's A_i and B_i by the names of the coefficients."""
    return dict(zip(NAMES, final_shares(layers).tolist(), strict=True))
