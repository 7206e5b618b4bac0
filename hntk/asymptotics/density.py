r"""The limiting distribution of the eigenvalues of an equivalent kernel.

On an interval [a, b] of the support, with $x = a(b/a)^s$, or $x = bs$ where a = 0, and $s = (1-\cos\theta)/2$, the
density times $dx/d\theta$ is a smooth even function of θ about 0 and π, whether the edges are square roots or, at 0,
the inverse of one. A cosine series through the midpoints of a uniform grid therefore converges exponentially, and its
integral is the distribution. The geometric scale is for eigenvalues of many magnitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.fft import dct

from hntk._utils.arguments import as_count
from hntk._utils.arrays import brief, check_result, finite_array, point_array
from hntk.asymptotics.covariances import Spectral
from hntk.asymptotics.kernel_parameters import Kind, Net
from hntk.asymptotics.limiting_kernel import LimitingKernel, limiting_kernel
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Bulk
from hntk.asymptotics.support import Interval, support

# nodes an interval to begin with and at most; half of that where each inverts a matrix
FEWEST, MOST = 64, 4096
# the last eighth of a series that has converged, relative to its first coefficient
TAIL = 1e-9
# by which the total mass may differ from 1
MASS = 1e-6
LOOKS = 4


class _Gap(Exception):
    """Points that were thought to be inside the spectrum and are not."""


@dataclass(frozen=True)
class Piece:
    """One interval of the spectrum, with the cosine series by θ of its density times dx/dθ.

    Attributes
    ----------
    ends : of the interval in the Gram part's spectrum; the kernel's eigenvalues are these plus ``shift``.
    shift : γ.
    series : coefficients of cos kθ.
    """

    ends: tuple[float, float]
    shift: float
    series: Float[np.ndarray, " k"]

    @property
    def mass(self) -> float:
        """Share of the eigenvalues."""
        return float(np.pi * self.series[0])

    def density(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Zero outside."""
        own = x - self.shift
        inside = (own > self.ends[0]) & (own < self.ends[1])
        theta = _angle(self.ends, np.where(inside, own, np.mean(self.ends)))
        slope = _place(self.ends, theta)[1]
        return np.where(inside, np.cos(np.outer(theta, np.arange(len(self.series)))) @ self.series / slope, 0.0)

    def cdf(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Mass to the left."""
        orders = np.arange(1, len(self.series))
        theta = _angle(self.ends, x - self.shift)
        return theta * self.series[0] + np.sin(np.outer(theta, orders)) @ (self.series[1:] / orders)

    def moment(self, k: int) -> float:
        """∫ xᵏ: the midpoint rule."""
        theta = _midpoints(2 * len(self.series))
        weights = np.cos(np.outer(theta, np.arange(len(self.series)))) @ self.series * np.pi / len(theta)
        return float(weights @ (_place(self.ends, theta)[0] + self.shift) ** k)


def _midpoints(count: int) -> Float[np.ndarray, " count"]:
    return (np.arange(count) + 0.5) * np.pi / count


def _place(ends: tuple[float, float], theta: Float[np.ndarray, " j"]) -> tuple[np.ndarray, np.ndarray]:
    """x(θ) and dx/dθ."""
    left, right = ends
    share, slope = (1 - np.cos(theta)) / 2, np.sin(theta) / 2
    if left == 0:
        return right * share, right * slope
    x = left * (right / left) ** share
    return x, np.log(right / left) * slope * x


def _angle(ends: tuple[float, float], x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
    """θ(x), 0 and π beyond the ends."""
    left, right = ends
    within = np.clip(x, left, right)
    share = within / right if left == 0 else np.log(within / left) / np.log(right / left)
    return np.arccos(1 - 2 * np.clip(share, 0.0, 1.0))


@dataclass(frozen=True)
class LimitingDensity:
    """A limiting spectral distribution.

    Attributes
    ----------
    pieces : its continuous part, interval by interval, ascending.
    atoms : (location, mass) of eigenvalues that a share of all have.
    """

    pieces: tuple[Piece, ...]
    atoms: tuple[tuple[float, float], ...]

    @property
    def edges(self) -> Float[np.ndarray, "i 2"]:
        """Ends of the intervals."""
        return np.array([np.add(piece.ends, piece.shift) for piece in self.pieces]).reshape(-1, 2)

    def density(self, x: object) -> Float[np.ndarray, ...]:
        """Of the continuous part."""
        given = point_array(x, "x")
        flat = given.reshape(-1)
        return sum((piece.density(flat) for piece in self.pieces), np.zeros(flat.shape)).reshape(given.shape)

    def cdf(self, x: object) -> Float[np.ndarray, ...]:
        """Share of the eigenvalues that are at most x, atoms included."""
        given = point_array(x, "x")
        flat = given.reshape(-1)
        below = sum((mass * (flat >= place) for place, mass in self.atoms), np.zeros(flat.shape))
        return sum((piece.cdf(flat) for piece in self.pieces), below).reshape(given.shape)

    def moments(self, k: int) -> float:
        """The limit of tr(K̃ᵏ)/n, spikes apart.

        Raises
        ------
        ValueError
            If k is not a whole number of at least 0, or the moment overflows.
        """
        k = as_count(k, "k", least=0)
        with np.errstate(all="ignore"):
            each = [piece.moment(k) for piece in self.pieces] + [
                mass * np.power(place, k) for place, mass in self.atoms
            ]
        check_result(np.array(each), f"the moment of order {k}")
        return float(sum(each))

    def quantiles(self, shares: object) -> Float[np.ndarray, ...]:
        """The smallest x with cdf(x) ≥ share, for shares in (0, 1), by bisection.

        Raises
        ------
        ValueError
            If a share does not lie in it.
        """
        wanted = as_quantiles(shares)
        ends = [*self.edges.ravel(), *(place for place, _ in self.atoms)]
        low, high = np.full(wanted.shape, min(ends)), np.full(wanted.shape, max(ends))
        for _ in range(60):
            middle = (low + high) / 2
            enough = self.cdf(middle) >= wanted
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high


def as_quantiles(shares: object) -> Float[np.ndarray, ...]:
    """Shares in (0, 1).

    Raises
    ------
    ValueError
        If one is not.
    """
    wanted = finite_array(shares, "shares")
    if np.any(wanted <= 0) or np.any(wanted >= 1):
        raise ValueError(f"shares must lie strictly between 0 and 1, got {brief(shares)}.")
    return wanted


def limiting_density(
    law: MixtureLaw, n: int, net: Net, *, kernel: Kind = "ck", kappa_sq: float | None = None
) -> LimitingDensity:
    """Of the eigenvalues of the equivalent CK or NTK of n samples.

    Parameters
    ----------
    law : of the data.
    n : number of samples.
    net : one activation per layer, or coefficients.
    kernel : ``"ck"`` or ``"ntk"``.
    kappa_sq : the NTK's diagonal κ_L², to be declared when an activation jumps.

    Raises
    ------
    ValueError
        If n or the net does not fit.
    ArithmeticError
        If the total mass is not 1 within 1e-6.

    Examples
    --------
    The Marchenko-Pastur law, between (1 ± √(n/p))²:

    >>> import numpy as np
    >>> from hntk.asymptotics.limiting_kernel import KernelCoefficients
    >>> linear = KernelCoefficients(1.0, 0.0, 0.0, shift=0.0)
    >>> limiting_density(MixtureLaw.of(np.zeros((1, 400)), [1.0]), 100, linear).edges
    array([[0.25, 2.25]])
    """
    return density_of(limiting_kernel(law, n, net, kernel=kernel, kappa_sq=kappa_sq))


def density_of(kernel: LimitingKernel) -> LimitingDensity:
    """See :func:`limiting_density`."""
    bulk, shift = kernel.bulk, kernel.coefficients.shift
    if bulk.bound == 0:
        return LimitingDensity((), ((shift, 1.0),))
    atom = max(0.0, 1 - bulk.law.algebra.support / kernel.ratios.sum())
    mass = np.nan
    beside = np.zeros(0)
    for fineness in range(LOOKS):
        try:
            pieces = tuple(_piece(bulk, part, shift) for part in support(bulk, 2**fineness, beside))
        except _Gap as gap:
            beside = np.append(beside, gap.args[0])
            continue
        mass = atom + sum(piece.mass for piece in pieces)
        if abs(mass - 1) <= MASS:
            return LimitingDensity(pieces, ((shift, float(atom)),) if atom > 0 else ())
    raise ArithmeticError(
        f"the limiting density has mass {mass:.9g}, not 1: it has parts too narrow to find, or a class covariance is "
        "singular and spans fewer dimensions than its class has samples; add a small multiple of the identity to it."
    )


def _piece(bulk: Bulk, interval: Interval, shift: float) -> Piece:
    cheap = isinstance(bulk.law.algebra, Spectral)
    ends = (interval.left.place, interval.right.place)
    count, most = (FEWEST, MOST) if cheap else (FEWEST // 2, MOST // 8)
    while True:
        x, slope = _place(ends, _midpoints(count))
        at = bulk.at(x)
        free = np.all(np.imag(at.self_energy) == 0, axis=(1, 2))
        free[[0, -1]] = False  # next to an edge, rounding decides
        if np.any(free):
            raise _Gap(x[free])
        values = np.imag(at.stieltjes) / np.pi * slope
        series = np.asarray(dct(values, type=2)) / count
        series[0] /= 2
        tail = np.max(np.abs(series[-count // 8 :]))
        if tail <= TAIL * abs(series[0]) or 2 * count > most:
            return Piece(ends, shift, series)
        count *= 2
