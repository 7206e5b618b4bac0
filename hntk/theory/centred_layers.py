r"""The centred network that a regression with an intercept takes any network for.

Behind an intercept a network of any architecture has $(a_l, e_l, d_l, q_l - c_l)$ of its expansions in the place of
$(\alpha_{l,1}, \alpha_{l,2}, \alpha_{l,3}, \tau_l^2)$ (:mod:`hntk.theory.expansion`). The recursion of Theorem 1 of Gu
et al. (2022), solved for the moments of a layer,

$$e_1^2 = \frac{a_l}{a_{l-1}},\quad e_2^2 = \frac{2(d_l - e_1^2d_{l-1})}{a_{l-1}^2},\quad
\alpha_{l-1,4}^2 = \frac{4(e_l - e_1^2e_{l-1})}{e_2^2},\quad s_2 = \frac{2\alpha_{l,4}}{\alpha_{l-1,4}},$$

gives a centred network without biases and with unit weights, whose conjugate kernel has these coefficients in every
layer. No difference is negative, because kernels are positive semidefinite. Without a linear part $a_{l-1}$, $e_1^2$ is
$d_l/d_{l-1}$, and $\alpha_{l-1,4}$ is r of the expansion. Only where inputs are normalised, so that layers do not see
norms, are $e_l$ not the original's; all else is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from hntk.activations import Moments
from hntk.theory.architecture import ArchitectureLike, as_architecture
from hntk.theory.coefficients import Coefficients, coefficients
from hntk.theory.expansion import Expansion, expansions

# a difference of two coefficients below this share of them is rounding
ROUNDING = 1e-13


def centred_coefficients(network: ArchitectureLike, tau0: float) -> Coefficients:
    """Return what a regression with an intercept sees of a network, in the form of the coefficients of a centred one.

    Parameters
    ----------
    network : Architecture or sequence of str or Activation
        The network.
    tau0 : float
        Root mean square norm of a sample.

    Returns
    -------
    Coefficients
        (a, e, d) of the expansions as α₁, α₂, α₃ and β₁, β₂, β₃ of every layer, and √(q − c) and q − c as τ and κ².
        Moments are those of a centred network with the same α₁, α₂, α₃ and τ, but for α₂ of a normalised network. Those
        of a plain network are the coefficients of Theorems 1 and 2, :func:`hntk.coefficients`.

    Raises
    ------
    ValueError
        As :func:`hntk.expansions`.

    Examples
    --------
    >>> import hntk
    >>> he = hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False)
    >>> hntk.centred_coefficients(he, tau0=1.0).alpha[-1, :3].round(4)
    array([0.2173, 0.1378, 0.1097])
    """
    net = as_architecture(network)
    if net.is_plain:
        return coefficients(net, tau0)
    both = expansions(net, tau0)
    known = [state if _is_linear(state, tau0) else state._replace(a=0.0) for state in both.ck]
    tau = np.sqrt([state.q - state.c for state in both.ck])
    alpha = np.array([(x.a, x.e, x.d, fourth) for x, fourth in zip(known, _fourths(known), strict=True)])
    beta = np.array([(x.a, x.e, x.d) for x in both.ntk])
    kappa_sq = np.array([x.q - x.c for x in both.ntk])
    moments = tuple(_moments(alpha[i], alpha[i + 1], tau[i : i + 2], kappa_sq[i : i + 2]) for i in range(net.depth))
    return Coefficients(tau, alpha, beta, kappa_sq, moments, both.centres)


def _is_linear(state: Expansion, tau0: float) -> bool:
    """Return whether a kernel's coefficient of the Gram matrix is more than rounding."""
    return state.a * tau0**2 > ROUNDING**2 * (state.q - state.c)


def _fourths(states: Sequence[Expansion]) -> list[float]:
    """Return α_{l,4} of every layer, with the sign of r; that of the last layer, which nothing depends on, is r."""
    fourths = [1.0]
    for before, after in pairwise(states[1:]):
        e1_sq, e2_sq = _squares(before, after)
        more = _difference(after.e, e1_sq * before.e)
        size = 2 * math.sqrt(more / e2_sq) if before.a > 0 and e2_sq > 0 else abs(before.r)
        fourths.append(math.copysign(size, before.r))
    return [*fourths, states[-1].r]


def _squares(before: Expansion, after: Expansion) -> tuple[float, float]:
    """Return e_1² and e_2² of a layer between two states; e_2² is NaN where its input has no linear part."""
    if before.a > 0:
        e1_sq = after.a / before.a
        return e1_sq, 2 * _difference(after.d, e1_sq * before.d) / before.a**2
    return (after.d / before.d if before.d > 0 else 0.0), math.nan


def _difference(larger: float, smaller: float) -> float:
    """Return a difference that is not negative; 0 where only rounding is left."""
    return larger - smaller if larger - smaller > ROUNDING * larger else 0.0


def _moments(before: np.ndarray, after: np.ndarray, tau: np.ndarray, kappa_sq: np.ndarray) -> Moments:
    """Return the moments of the layer between two rows of α."""
    a, e, d, fourth = before.tolist()
    first, second = Expansion(0, a, 0, d, e, 0, 0), Expansion(0, after[0], 0, after[2], after[1], 0, 0)
    e1_sq, e2_sq = _squares(first, second)
    if math.isnan(e2_sq):
        e2_sq = 4 * _difference(float(after[1]), e1_sq * e) / fourth**2 if fourth else 0.0
    return Moments(
        tau=float(tau[0]),
        mean=0.0,
        e1=math.sqrt(e1_sq),
        e2=math.sqrt(e2_sq),
        s2=2 * float(after[3]) / fourth if fourth else 0.0,
        variance=float(tau[1] ** 2),
        d=float((kappa_sq[1] - tau[1] ** 2) / kappa_sq[0]) if math.isfinite(kappa_sq[0]) else math.inf,
    )
