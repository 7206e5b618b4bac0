r"""Layer-by-layer coefficients of the deterministic equivalents: the recursion of Theorems 1 and 2.

With $e_1, e_2, s_2$ and d the Gaussian moments of layer l's activation at the scale $\tau_{l-1}$, and
$\tau_l^2 = E[(\sigma_l - m_l)^2]$,

$$\alpha_{l,1} = e_1^2\alpha_{l-1,1},\quad \alpha_{l,2} = e_1^2\alpha_{l-1,2} + \tfrac14 e_2^2\alpha_{l-1,4}^2,\quad
\alpha_{l,3} = e_1^2\alpha_{l-1,3} + \tfrac12 e_2^2\alpha_{l-1,1}^2,\quad \alpha_{l,4} = \tfrac12 s_2\alpha_{l-1,4},$$
$$\beta_{l,1} = \alpha_{l,1} + e_1^2\beta_{l-1,1},\quad \beta_{l,2} = \alpha_{l,2} + e_1^2\beta_{l-1,2},\quad
\beta_{l,3} = \alpha_{l,3} + e_1^2\beta_{l-1,3} + e_2^2\alpha_{l-1,1}\beta_{l-1,1},\quad
\kappa_l^2 = \tau_l^2 + \kappa_{l-1}^2 d$$

(Gu et al., 2022, Theorems 1 and 2, with $\kappa_0^2 = \tau_0^2$ and d at $\tau_{l-1}$).

What each symbol is:

* α₁ and β₁ multiply the Gram matrix of the samples; α₂ and β₂ multiply the class traces t and the norms ψ, where
  ψ_i = ‖x_i − μ_a/√p‖² − tr C_a/p; α₃ and β₃ multiply the covariance overlaps T (:mod:`hntk.theory.equivalents`);
* τ² is the diagonal of the conjugate kernel and κ² that of the NTK;
* δ is how much larger τ_L² is in one of two networks with equal α₁, α₂ and α₃, such as a compressed one. Its kernel is
  the other's plus δI, so that kernel ridge regression with a ridge λ ≥ δ on the other equals regression with the ridge
  λ − δ on this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import check_result
from hntk._utils.pytree import array_dataclass
from hntk.activations import Moments
from hntk.theory.architecture import Architecture, ArchitectureLike, plain_activations
from hntk.theory.expansion import as_data_scale, centres_of, layer_moments


@array_dataclass(static=("moments", "centres"))
class Coefficients:
    """Coefficients of the equivalent kernels of a network of depth L at the data scale τ_0, layer by layer.

    Attributes
    ----------
    tau : ndarray
        (L + 1,) scales τ_0 … τ_L.
    alpha : ndarray
        (L + 1, 4) coefficients α_{l,1} … α_{l,4} of the conjugate kernel.
    beta : ndarray
        (L + 1, 3) coefficients β_{l,1} … β_{l,3} of the NTK.
    kappa_sq : ndarray
        (L + 1,) diagonal κ_l² of the NTK. It is infinite from the first layer whose activation jumps.
    moments : tuple of Moments
        Gaussian moments of the L activations, layer l's at τ_{l-1}.
    centres : tuple of float
        Constants that are subtracted from the activations.
    """

    tau: Float[np.ndarray, " depth_plus_1"]
    alpha: Float[np.ndarray, "depth_plus_1 4"]
    beta: Float[np.ndarray, "depth_plus_1 3"]
    kappa_sq: Float[np.ndarray, " depth_plus_1"]
    moments: tuple[Moments, ...]
    centres: tuple[float, ...]

    def __repr__(self) -> str:
        a, b = (np.array2string(np.asarray(rows[-1]), precision=4) for rows in (self.alpha, self.beta))
        return (
            f"Coefficients(depth={len(self.moments)}, tau={float(self.tau[0]):.4g} … {float(self.tau[-1]):.4g}, "
            f"last alpha={a}, last beta={b}, last kappa_sq={float(self.kappa_sq[-1]):.4g})"
        )


def kernel_weights(net: Coefficients, kernel: str, declared: float | None) -> tuple[tuple[float, float, float], float]:
    """Return (c_1, c_2, c_3) of the last layer and the kernel's diagonal, which may be declared for the NTK."""
    last_row = net.alpha[-1] if kernel == "ck" else net.beta[-1]
    c1, c2, c3 = map(float, last_row[:3])
    if kernel == "ck":
        return (c1, c2, c3), float(net.tau[-1] ** 2)
    return (c1, c2, c3), float(net.kappa_sq[-1]) if declared is None else declared


def coefficients(activations: ArchitectureLike, tau0: float, *, centres: Sequence[float] | None = None) -> Coefficients:
    """Return the coefficients τ, α, β and κ² of every layer, by the recursion of Theorems 1 and 2 of Gu et al. (2022).

    Parameters
    ----------
    activations : sequence of str or Activation, or Architecture
        One activation per layer, first layer first. An architecture must be the plain one of such a list: those with
        biases, other weights, branches or normalisation, or not centred, have the coefficients of
        :func:`hntk.expansions`.
    tau0 : float
        Root mean square norm of a sample, τ_0 = √(tr C°/p).
    centres : sequence of float, optional
        Constant that is subtracted from each activation. By default its mean at τ_{l-1}, which Theorem 1 assumes. With
        other constants, such as those of another data scale, diagonals are exact, and the part that all entries of a
        layer's kernel then have in common is neglected.

    Returns
    -------
    Coefficients
        Coefficients of all layers, in float64.

    Raises
    ------
    ValueError
        If ``tau0`` is not positive and finite, a layer's output is constant or beyond float64 at its scale, or the
        architecture is not plain.

    Examples
    --------
    >>> import hntk
    >>> hntk.coefficients(["relu"] * 3, tau0=1.0).alpha[-1, 0]
    np.float64(0.015625)
    """
    layers = plain_activations(activations, "hntk.expansions(network, tau0) gives the coefficients of any network.")
    scale = as_data_scale(tau0)
    if centres is not None and len(centres) != len(layers):
        raise ValueError(f"{len(layers)} layers need as many centres, got {len(centres)}.")
    tau, alpha, beta, kappa_sq = [scale], [(1.0, 0.0, 0.0, 1.0)], [(1.0, 0.0, 0.0)], [scale**2]
    moments = []
    for depth, layer in enumerate(layers, start=1):
        m = layer_moments(layer, tau[-1], depth, None if centres is None else float(centres[depth - 1]))
        alpha.append(_next_alpha(m, alpha[-1]))
        beta.append(_next_beta(m, alpha[-1], alpha[-2], beta[-1]))
        tau.append(math.sqrt(m.variance))
        kappa_sq.append(m.variance + kappa_sq[-1] * m.d)
        moments.append(m)
    check_result(np.concatenate([np.square(tau), np.ravel(alpha), np.ravel(beta)]), "a coefficient of a layer")
    used = (m.mean for m in moments) if centres is None else map(float, centres)
    return Coefficients(np.array(tau), np.array(alpha), np.array(beta), np.array(kappa_sq), tuple(moments), tuple(used))


def _next_alpha(m: Moments, a: tuple[float, ...]) -> tuple[float, float, float, float]:
    """Return α_l from α_{l−1}."""
    e1_sq, e2_sq = m.e1**2, m.e2**2
    return (
        e1_sq * a[0],
        e1_sq * a[1] + e2_sq * a[3] ** 2 / 4,
        e1_sq * a[2] + e2_sq * a[0] ** 2 / 2,
        m.s2 * a[3] / 2,
    )


def _next_beta(m: Moments, a: tuple[float, ...], before: tuple[float, ...], b: tuple[float, ...]) -> tuple:
    """Return β_l from α_l, α_{l−1} and β_{l−1}."""
    e1_sq, e2_sq = m.e1**2, m.e2**2
    return a[0] + e1_sq * b[0], a[1] + e1_sq * b[1], a[2] + e1_sq * b[2] + e2_sq * before[0] * b[0]


def centres_at(network: Architecture, tau0: float) -> tuple[float, ...]:
    """Return what is subtracted from each activation: for plain networks the theorems' numbers, which stores keep."""
    return coefficients(network.layers, tau0).centres if network.is_plain else centres_of(network, tau0)
