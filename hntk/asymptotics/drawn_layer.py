r"""The resolvent of the kernel of one drawn layer: a deterministic equivalent, and fluctuations around it.

Given the layer before, with kernel $\hat K$, a layer of d neurons has features $F = e_1\hat K^{1/2}O + \sqrt\gamma G$:
its linear part, where O is what the rows of weights do to the inputs, and the rest, nearly Gaussian noise of variance
γ. With $L = e_1^2\hat K$, E over F of $(FF^\top/d + \lambda)^{-1}$ is c P in the limit, where $P = (L + \nu)^{-1}$,

$$c = \mu/w,\quad w = 1 - \tfrac{\gamma\mu}d\mathrm{tr}P,\quad b = 1 - \tfrac1d\mathrm{tr}LP,\quad
  \nu = c\lambda + \gamma\mu b.$$

The noise gives w and b, as for a matrix of known mean plus a Gaussian one (Hachem, Loubaton and Najim 2007). The law of
the weights gives μ, as a random matrix $OO^\top/d$ of mean I does to a ridge:

* rows are independent: $\mu = 1/(1 - \mathrm{tr}LP/d)$. All this is then
  $\kappa = \lambda + \frac\kappa d\mathrm{tr}\,K(K + \kappa)^{-1}$ with $K = L + \gamma$, $\kappa = \nu - \gamma$.
* full orthogonal blocks: $OO^\top/d = I$, and μ = 1.
* d = k m + r rows of orthogonal blocks of m: $OO^\top/d$ has the eigenvalue (k + 1)m/d on a random subspace of
  dimension r and km/d on the rest, and μ is the S-transform of this law at $-\mathrm{tr}LP/m$. For r rows of one block,
  $\mu = (1 - \mathrm{tr}LP/m)/(1 - \mathrm{tr}LP/r)$ (LeJeune et al. 2022, Asymptotics of the sketched pseudoinverse).

A bilinear form has the variance $\mathrm{Var}(u^\top Qv) = -\partial_tE\,u^\top(FF^\top/d + \lambda + tvv^\top)^{-1}u
- (E u^\top Qv)^2$ at t = 0, which differentiating the equations gives. A new sample's score is $-Q_{xv}/Q_{xx}$ in the
resolvent of all samples, the new one included.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Numbers = Float[np.ndarray, " q"]


class ResolventForms(NamedTuple):
    """Traces, diagonal entries and forms of a resolvent and of its square, at q ridges.

    Attributes
    ----------
    trace, trace_sq : (q,) array
        tr P and tr P².
    diagonal, diagonal_sq : (q, K) array
        Entries of P and P² on the diagonal, by class.
    energy, energy_sq : (q, m, m) array
        yᵀPy and yᵀP²y.
    """

    trace: Numbers
    trace_sq: Numbers
    diagonal: Float[np.ndarray, "q K"]
    diagonal_sq: Float[np.ndarray, "q K"]
    energy: Float[np.ndarray, "q m m"]
    energy_sq: Float[np.ndarray, "q m m"]

    def at(self, index: np.ndarray) -> ResolventForms:
        """Return the forms at some of the ridges."""
        return ResolventForms(*(part[index] for part in self))


class RidgePath(NamedTuple):
    """Ridges on a layer's linear part, as functions of effective ridges κ on a kernel whose resolvent R is known.

    Attributes
    ----------
    ridge, ridge_slope : (q,) array
        ν, and its derivative by κ.
    factor, factor_slope : (q,) array
        C in P = C R, and its derivative by κ.
    """

    ridge: Numbers
    ridge_slope: Numbers
    factor: Numbers
    factor_slope: Numbers

    def forms(self, known: ResolventForms) -> ResolventForms:
        """Return the forms of P, where P² = −∂P/∂ν."""
        pairs = zip(known[::2], known[1::2], strict=True)
        return ResolventForms(*(form for pair in pairs for form in self._both(*pair)))

    def _both(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        factor, change, slope = (
            part.reshape(-1, *(1,) * (first.ndim - 1)) for part in (self.factor, self.factor_slope, self.ridge_slope)
        )
        return factor * first, (factor * second - change * first) / slope

    def scaled(self, gain: float) -> RidgePath:
        """Return ridges on the kernel times a factor."""
        return RidgePath(self.ridge * gain, self.ridge_slope * gain, self.factor / gain, self.factor_slope / gain)

    def at(self, index: np.ndarray) -> RidgePath:
        """Return some of the ridges."""
        return RidgePath(*(part[index] for part in self))


class DrawnLayer(NamedTuple):
    """What a layer of finite width makes of ridges on its linear part.

    Attributes
    ----------
    path : RidgePath
        λ on the layer's own kernel in place of ν, and c P in place of P.
    covariance : (q, K, m, m) array
        Covariances of a new sample's scores over draws of the layer, by class.
    possible : (q,) array of bool
        Where there is a ridge λ > 0.
    """

    path: RidgePath
    covariance: Float[np.ndarray, "q K m m"]
    possible: np.ndarray


def draw_layer(
    path: RidgePath,
    known: ResolventForms,
    quadratic: Float[np.ndarray, "q m m"],
    samples: int,
    noise: float,
    width: float,
    block: float,
) -> DrawnLayer:
    """Return what a layer does to ridges on its linear part, and to scores.

    Parameters
    ----------
    path : RidgePath
        Ridges ν on the linear part.
    known : ResolventForms
        Forms of the known resolvent R.
    quadratic : (q, m, m) array
        Forms yᵀRSRy for the part S of finite rank that the layer adds to its linear part.
    samples : int
        Number n of samples.
    noise : float
        Variance γ of the part that is not linear.
    width : float
        Number d of neurons, finite.
    block : float
        Rows m of a full orthogonal block; infinite for independent rows.

    Returns
    -------
    DrawnLayer
        Ridges, covariances and where they are possible.
    """
    p, nu = path.forms(known), path.ridge
    linear, linear_sq = samples - nu * p.trace, p.trace - nu * p.trace_sq
    with np.errstate(all="ignore"):
        mu, mu_slope = ridge_growth(linear, width, block)
        b, w = 1 - linear / width, 1 - noise * mu * p.trace / width
        c = mu / w
        ridge = (nu - noise * mu * b) / c
        # derivatives by tr LP and by γ tr P
        c_linear, c_trace = mu_slope / w**2, c**2 / width
        nu_linear = ridge * c_linear + noise * (mu_slope * b - mu / width)
        nu_trace = ridge * c_trace
        response = 1 + nu_linear * linear_sq + nu_trace * noise * p.trace_sq
        c_total = c_linear * linear_sq + c_trace * noise * p.trace_sq
        slope = path.ridge_slope * response / c
        following = RidgePath(
            ridge, slope, c * path.factor, c * path.factor_slope - path.ridge_slope * c_total * path.factor
        )
        possible = np.isfinite(slope) & (w > 0) & (mu > 0) & (ridge > 0) & (slope > 0)

        in_noise = noise * p.energy_sq + path.factor[:, None, None] ** 2 * quadratic
        in_linear = p.energy - nu[:, None, None] * p.energy_sq - (in_noise - noise * p.energy_sq)

        def by_target(with_linear: Numbers, with_trace: Numbers) -> np.ndarray:
            return with_linear[:, None, None] * in_linear + with_trace[:, None, None] * in_noise

        # −ε/c and −ċ/c² as matrices, where vvᵀ stands for the targets
        moved = by_target(nu_linear / response, nu_trace / response)
        turned = (by_target(c_linear, c_trace) - c_total[:, None, None] * moved) / c[:, None, None]
        distance = p.diagonal_sq / p.diagonal**2
        covariance = turned[:, None] / p.diagonal[:, :, None, None] - distance[:, :, None, None] * moved[:, None]
    return DrawnLayer(following, covariance, possible)


def ridge_growth(linear: Numbers, width: float, block: float) -> tuple[Numbers, Numbers]:
    """Return μ and its derivative by tr LP, or numbers that are not positive and finite where there is no μ."""
    if not np.isfinite(block):
        mu = 1 / (1 - linear / width)
        return mu, mu**2 / width
    share = linear / block
    full, rest = divmod(width, block)
    low, high = full * block / width, (full + 1) * block / width
    if rest == 0:
        return np.ones_like(linear), np.zeros_like(linear)
    # The S-transform of two atoms solves a quadratic equation.
    total, product = low + high, low * high
    b = 1 - share * total
    root = np.sqrt(b**2 + 4 * product * (1 - share) * share)
    root_slope = (-total * b + 2 * product * (1 - 2 * share)) / root
    mu = 2 * (1 - share) / (b + root)
    slope = -mu / (1 - share) - mu * (root_slope - total) / (b + root)
    return mu, slope / block
