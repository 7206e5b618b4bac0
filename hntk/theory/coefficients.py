r"""Layer-by-layer coefficients of the deterministic equivalents.

With $e_1, e_2, s_2$ of layer l at the scale $\tau_{l-1}$ and $\tau_l^2 = v_l$,

$$\alpha_{l,1} = e_1^2\alpha_{l-1,1},\quad \alpha_{l,2} = e_1^2\alpha_{l-1,2} + \tfrac14 e_2^2\alpha_{l-1,4}^2,\quad
\alpha_{l,3} = e_1^2\alpha_{l-1,3} + \tfrac12 e_2^2\alpha_{l-1,1}^2,\quad \alpha_{l,4} = \tfrac12 s_2\alpha_{l-1,4},$$
$$\beta_{l,1} = \alpha_{l,1} + e_1^2\beta_{l-1,1},\quad \beta_{l,2} = \alpha_{l,2} + e_1^2\beta_{l-1,2},\quad
\beta_{l,3} = \alpha_{l,3} + e_1^2\beta_{l-1,3} + e_2^2\alpha_{l-1,1}\beta_{l-1,1},\quad
\kappa_l^2 = \tau_l^2 + \kappa_{l-1}^2 d.$$

Source: theorems 1 and 2 of Gu et al. (2022), with $\kappa_0^2 = \tau_0^2$ and d at $\tau_{l-1}$.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_scale
from hntk._utils.arrays import brief, check_result
from hntk.activations import Activation, Moments, activation

# scales from here to one over it have powers that float64 holds
LEAST = 1e-60


@dataclass(frozen=True)
class Coefficients:
    """Everything the theory knows of a network of depth L at the data scale τ_0; arrays are float64.

    Attributes
    ----------
    tau : (L + 1,) scales τ_0 … τ_L.
    alpha : (L + 1, 4) conjugate-kernel coefficients α_{l,1} … α_{l,4}.
    beta : (L + 1, 3) NTK coefficients β_{l,1} … β_{l,3}.
    kappa_sq : (L + 1,) NTK diagonal κ_l²; infinite from the first layer whose activation jumps.
    moments : the L activations' moments, layer l's at τ_{l-1}.
    """

    tau: Float[np.ndarray, " depth_plus_1"]
    alpha: Float[np.ndarray, "depth_plus_1 4"]
    beta: Float[np.ndarray, "depth_plus_1 3"]
    kappa_sq: Float[np.ndarray, " depth_plus_1"]
    moments: tuple[Moments, ...]

    @property
    def centres(self) -> tuple[float, ...]:
        """The constant subtracted from each activation: its mean at τ_{l-1}."""
        return tuple(m.mean for m in self.moments)


def as_activations(activations: str | Activation | Iterable) -> tuple[Activation, ...]:
    """A network's activations, first layer first; names are looked up.

    Raises
    ------
    ValueError
        If there are none, or one is unknown or no activation.
    """
    if isinstance(activations, str | Activation):
        raise ValueError(
            f"give one activation per layer as a list, for example [{getattr(activations, 'name', activations)!r}] * 3."
        )
    if isinstance(activations, bytes | dict) or not isinstance(activations, Iterable):
        raise ValueError(f"activations must be a list, one name or activation per layer; got {brief(activations)}.")
    layers = tuple(activation(a) for a in activations)
    if not layers:
        raise ValueError("a network needs at least one layer: activations is empty.")
    return layers


def coefficients(activations: Sequence[str | Activation], tau0: float) -> Coefficients:
    """Coefficients (τ, α, β, κ²) of every layer.

    Parameters
    ----------
    activations : one per layer, names or activations.
    tau0 : root mean square norm of a sample, τ_0 = √(tr C°/p).

    Raises
    ------
    ValueError
        If ``tau0`` is not positive and finite, or a layer's output is constant or beyond float64 at its scale.

    Examples
    --------
    >>> import hntk
    >>> hntk.coefficients(["relu"] * 3, tau0=1.0).alpha[-1, 0]
    np.float64(0.015625)
    """
    layers = as_activations(activations)
    scale = as_scale(tau0)
    if not LEAST <= scale <= 1 / LEAST:
        raise ValueError(
            f"tau0 = {scale:.3g} is out of scale: powers of it leave float64. Rescale the data to norms about 1."
        )
    tau, alpha, beta, kappa_sq = [scale], [(1.0, 0.0, 0.0, 1.0)], [(1.0, 0.0, 0.0)], [scale**2]
    moments = []
    for depth, layer in enumerate(layers, start=1):
        m = _moments(layer, tau[-1], depth)
        alpha.append(_next_alpha(m, alpha[-1]))
        beta.append(_next_beta(m, alpha[-1], alpha[-2], beta[-1]))
        tau.append(math.sqrt(m.variance))
        kappa_sq.append(m.variance + kappa_sq[-1] * m.d)
        moments.append(m)
    found = Coefficients(np.array(tau), np.array(alpha), np.array(beta), np.array(kappa_sq), tuple(moments))
    check_result(np.concatenate([found.tau**2, found.alpha.ravel(), found.beta.ravel()]), "a coefficient of a layer")
    return found


def _moments(layer: Activation, tau: float, depth: int) -> Moments:
    try:
        m = layer.moments(tau)
    except ValueError as error:
        raise ValueError(f"layer {depth} ({layer.name}): {error}") from error
    _check_layer(m, layer, depth)
    return m


def _next_alpha(m: Moments, a: tuple[float, ...]) -> tuple[float, float, float, float]:
    e1_sq, e2_sq = m.e1**2, m.e2**2
    return (
        e1_sq * a[0],
        e1_sq * a[1] + e2_sq * a[3] ** 2 / 4,
        e1_sq * a[2] + e2_sq * a[0] ** 2 / 2,
        m.s2 * a[3] / 2,
    )


def _next_beta(m: Moments, a: tuple[float, ...], before: tuple[float, ...], b: tuple[float, ...]) -> tuple:
    e1_sq, e2_sq = m.e1**2, m.e2**2
    return a[0] + e1_sq * b[0], a[1] + e1_sq * b[1], a[2] + e1_sq * b[2] + e2_sq * before[0] * b[0]


def _check_layer(m: Moments, layer: Activation, depth: int) -> None:
    if not (math.isfinite(m.variance) and m.variance > 0):
        raise ValueError(
            f"layer {depth} ({layer.name}) has output variance {m.variance} at the input scale {m.tau:.3g}: its output "
            "is constant or overflows there. Rescale the data (its root mean square norm is tau0), or change the "
            "activation."
        )
