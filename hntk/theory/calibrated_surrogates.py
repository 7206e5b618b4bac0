r"""Surrogates whose means are those of the derivatives that they stand for.

In the recursion of β for training with surrogates (:mod:`hntk.theory.coefficients`), $e_1E[\varphi]$ and
$e_2E[\varphi']$ stand where the theorems have $e_1^2$ and $e_2^2$. With

$$\varphi(t) = A + B\,\mathrm{sign}(t),\qquad A = e_1 = E[\sigma'],\qquad B = \sqrt{\pi/2}\,\tau e_2,\qquad
E[\varphi'] = \sqrt{2/\pi}\,B/\tau = e_2,$$

in every layer, they are the same: β is that of the theorems, to which step functions are matched. Only κ² differs,
which the theorems do not have for step functions:
$\kappa_l^2 = \tau_l^2 + \kappa_{l-1}^2\sum_kc_kN(s_k; 0, \tau_{l-1}^2)\varphi(s_k)$.
"""

from __future__ import annotations

from math import pi, sqrt

from hntk.activations import Staircase, Surrogate, SurrogateLike, surrogate
from hntk.activations.rectifier import Rectifier
from hntk.theory.architecture import ArchitectureLike, as_architecture
from hntk.theory.expansion import input_scales


def calibrated_surrogates(
    network: ArchitectureLike, tau0: float, shape: SurrogateLike | None = None
) -> tuple[Surrogate | None, ...]:
    """Return surrogates of staircases with which training has the β that a match of the NTK is about.

    A network whose staircases match another one's β (``match(..., kernel="beta")`` or ``"both"``) then trains like it
    by small steps, as far as the equivalents tell. Its κ² is known too: ``coefficients(staircases, tau0,
    surrogate=calibrated_surrogates(staircases, tau0)).kappa_sq``. Where it is larger than the other's, the difference
    acts as a ridge of the NTK.

    Parameters
    ----------
    network : sequence of str or Activation, or Architecture
        The network with staircases.
    tau0 : float
        Root mean square norm of a sample.
    shape : str, Activation or Surrogate, optional
        Another function, whose height alone is chosen, so that E[φ] = E[σ']. In a plain network β_1 and β_2 are then
        those of the theorems; β_3 is another one unless E[φ'] = E[σ''] too.

    Returns
    -------
    tuple of Surrogate or None
        One function for every staircase; None for other layers. By default φ(t) = A + B sign(t), with E[φ] = E[σ']
        and E[φ'] = E[σ''] at the layer's scale, which is the derivative of a leaky ReLU. Where a staircase falls, φ is
        negative.

    Raises
    ------
    ValueError
        If ``tau0`` is not positive and finite, a layer's output is constant or beyond float64 at its scale, or the mean
        of the shape is 0.

    Examples
    --------
    >>> import hntk
    >>> steps = [hntk.staircase([0.2, 1.0, 1.8], [0.0, 0.6, 1.3, 2.6])] * 2
    >>> surrogates = hntk.calibrated_surrogates(steps, tau0=1.0)
    >>> both = [hntk.coefficients(steps, 1.0, surrogate=s) for s in (None, surrogates)]
    >>> [round(float(known.beta[-1, 2]), 6) for known in both]
    [0.13487, 0.13487]
    """
    net = as_architecture(network)
    scales = input_scales(net, tau0)
    return tuple(
        _calibrated(layer, tau, shape) if isinstance(layer, Staircase) else None
        for layer, tau in zip(net.layers, scales, strict=True)
    )


def _calibrated(layer: Staircase, tau: float, shape: SurrogateLike | None) -> Surrogate:
    m = layer.moments(tau)
    if shape is not None:
        chosen = surrogate(shape).at(tau)
        mean, _ = chosen.means(tau)
        if not mean:
            raise ValueError(f"the mean of the surrogate {chosen.shape.name!r} is 0: no height makes it that of σ'.")
        return surrogate(chosen, height=m.e1 / mean)
    return Surrogate(Rectifier(m.e1, sqrt(pi / 2) * m.e2 * tau, "calibrated"))
