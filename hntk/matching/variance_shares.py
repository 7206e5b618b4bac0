r"""Shares of variance: how a network's coefficients follow from its layers, free of every scale.

A layer whose input is $\tau\xi$ carries the shares $p = (e_1\tau)^2/v$ (linear) and $q = (e_2\tau^2)^2/2v$ (quadratic)
of its output variance v, and answers a change of its input's norm with $r = s_2\tau^2/v$. In units of the output's
variance, $A_i = \alpha_i\tau_0^{k_i}/\tau_L^2$ with $k = (2, 4, 4, 2)$ and $B_i$ alike, the recursions are

$$A_1' = pA_1,\quad A_2' = pA_2 + \tfrac12 qA_4^2,\quad A_3' = pA_3 + qA_1^2,\quad A_4' = \tfrac12 rA_4,$$
$$B_1' = A_1' + pB_1,\quad B_2' = A_2' + pB_2,\quad B_3' = A_3' + pB_3 + 2qA_1B_1.$$

Two networks whose asked $A_i$ are proportional have the same kernel up to a multiple of the identity once the last
layer's amplitude is set; the factor of proportion is $\tau_L^2/\hat\tau_L^2$. $B_1 = (L + 1)A_1$ always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hntk.activations import Moments

NAMES = ("alpha1", "alpha2", "alpha3", "beta1", "beta2", "beta3")


@dataclass(frozen=True)
class Shares:
    """Layer shares (p, q, r), rows of ``layers`` (L, 3)."""

    layers: Float[np.ndarray, "L 3"]

    @classmethod
    def of(cls, moments: Sequence[Moments]) -> Shares:
        """The shares of a network's layers."""
        units = np.array([m.unit_targets for m in moments])
        variance = np.array([m.variance for m in moments])
        return cls(np.column_stack([units[:, 0] ** 2, units[:, 1] ** 2 / 2, units[:, 2]]) / variance[:, None])

    def final(self) -> dict[str, float]:
        """(A_1, A_2, A_3, B_1, B_2, B_3) of the whole network by coefficient name."""
        return dict(zip(NAMES, final_shares(self.layers)[0].tolist(), strict=True))


def final_shares(layers: Float[np.ndarray, "L 3"]) -> tuple[Float[np.ndarray, " 6"], Float[np.ndarray, "6 L 3"]]:
    """Final (A_1, A_2, A_3, B_1, B_2, B_3) and their derivatives by the layers' (p, q, r)."""
    # the state is (A_1, A_2, A_3, B_1, B_2, B_3, A_4)
    state, derivatives = np.array([1.0, 0, 0, 1, 0, 0, 1]), np.zeros((7, 3 * len(layers)))
    for position, (p, q, r) in enumerate(layers.tolist()):
        a1, a2, a3, b1, b2, b3, a4 = state.tolist()
        fresh = (p * a1, p * a2 + q * a4 * a4 / 2, p * a3 + q * a1 * a1)
        state = np.array(
            [*fresh, fresh[0] + p * b1, fresh[1] + p * b2, fresh[2] + p * b3 + 2 * q * a1 * b1, r * a4 / 2]
        )
        by_state = np.array([
            [p, 0, 0, 0, 0, 0, 0],
            [0, p, 0, 0, 0, 0, q * a4],
            [2 * q * a1, 0, p, 0, 0, 0, 0],
            [p, 0, 0, p, 0, 0, 0],
            [0, p, 0, 0, p, 0, q * a4],
            [2 * q * (a1 + b1), 0, p, 2 * q * a1, 0, p, 0],
            [0, 0, 0, 0, 0, 0, r / 2],
        ])  # fmt: skip
        derivatives = by_state @ derivatives
        derivatives[:, 3 * position : 3 * position + 3] = [
            [a1, 0, 0],
            [a2, a4 * a4 / 2, 0],
            [a3, a1 * a1, 0],
            [a1 + b1, 0, 0],
            [a2 + b2, a4 * a4 / 2, 0],
            [a3 + b3, a1 * a1 + 2 * a1 * b1, 0],
            [0, 0, a4 / 2],
        ]
    return state[:6], derivatives[:6].reshape(6, len(layers), 3)
