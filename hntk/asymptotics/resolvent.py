r"""The limit of the resolvent of a Gram matrix whose columns have class covariances, on and off its spectrum.

For Z (p × n) with $n_a$ columns $N(0, C_a)$, $Q(z) = (ZZ^\top/p - z)^{-1}$ and $\tilde Q(z) = (Z^\top Z/p - z)^{-1}$,

$$\bar Q(z) = \Big(\sum_a \frac{n_a}{p}\frac{C_a}{1+\delta_a(z)} - z\Big)^{-1},\qquad
\delta_a(z) = \frac1p\mathrm{tr}\,C_a\bar Q(z),\qquad \tilde Q_{ii} \to g_a(z) = -\frac1{z(1+\delta_a(z))}.$$

Source: Couillet and Debbah (2011); Benaych-Georges and Couillet (2016). With
$J_{ab} = \frac{n_b}{p}\frac{\mathrm{tr} C_a\bar QC_b\bar Q/p}{(1+\delta_b)^2}$ the Jacobian of the fixed point, a
solution is the right one if and only if $\mathrm{Im}\,\delta_a > 0$ for all a (z in the upper half plane, or real and
inside the spectrum), or z and δ are real and J has spectral radius below 1 (outside): two such solutions would differ
by a fixed point of a map that, by Cauchy and Schwarz, contracts. So Newton's method may start anywhere: what it finds
is checked, and where the check fails it goes on from a solution further up in the half plane. Its unknowns are
$h_a = z(1+\delta_a) = -1/g_a$, $h_a = z + \mathrm{tr}\,C_a(\sum_c\frac{n_c}{ph_c}C_c - I)^{-1}/p$: at z = 0, they are
finite where n < p, unlike δ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from hntk.asymptotics.algebra import Element
from hntk.asymptotics.law import MixtureLaw

# real or complex, of any shape
Numbers = np.ndarray
# of the fixed point, relative to |h|
RESIDUAL = 1e-11
# of a step after which the next one is rounding: beside an edge, a small residual is not a small error
SETTLED = 1e-9
# steps of Newton's method, and of the plain iteration that helps it off a bad start
STEPS, PLAIN = 30, 200
# the way down from the upper half plane: each height is this part of the one before
DESCENT, HEIGHTS = 0.25, 20
# complex numbers in one batch of resolvents
BATCH = 4_000_000


@dataclass(frozen=True)
class Resolvent:
    """Q̄ and δ at points z; arrays have the shape of z first.

    Attributes
    ----------
    bulk : whose resolvent it is.
    z : points.
    delta : (..., K) δ_a(z).
    element : Q̄(z), an element of the law's algebra.
    """

    bulk: Bulk
    z: Numbers
    delta: Numbers
    element: Element

    @property
    def g(self) -> Numbers:
        """(..., K) the limit of Q̃_ii for i in class a."""
        return -1 / (self.z[..., None] * (1 + self.delta))

    @property
    def stieltjes(self) -> Numbers:
        """m(z) = tr Q̃/n."""
        return self.g @ (self.bulk.ratios / self.bulk.ratios.sum())

    @property
    def slope(self) -> Numbers:
        """(..., K) δ'(z)."""
        algebra = self.bulk.law.algebra
        jacobian = self.bulk.jacobian(self.element, self.delta)
        right = algebra.traces(algebra.sandwich(self.element, algebra.one, self.element))
        return np.linalg.solve(np.eye(len(self.bulk.ratios)) - jacobian, right[..., None])[..., 0]


@dataclass(frozen=True)
class Bulk:
    """ZᵀZ/p: what of a kernel has full rank.

    Attributes
    ----------
    law : of the columns of Z.
    ratios : (K,) n_a/p.
    """

    law: MixtureLaw
    ratios: Float[np.ndarray, " K"]

    @property
    def bound(self) -> float:
        """No eigenvalue of the limit is above it: max‖C_a‖ (1 + √(n/p))²."""
        return self.law.algebra.norm * (1 + np.sqrt(self.ratios.sum())) ** 2

    def jacobian(self, element: Element, delta: Numbers) -> Numbers:
        """(..., K, K) of the fixed point's map by δ."""
        return self.law.algebra.pair_traces(element, element) * (self.ratios / (1 + delta) ** 2)[..., None, :]

    def element(self, delta: Numbers, z: Numbers) -> Element:
        """Q̄ for given δ (..., K) at z (...)."""
        return self.law.algebra.inverse(self.ratios / (1 + delta), z)

    def at(self, z: object, start: Numbers | None = None) -> Resolvent:
        """The resolvent at points z, real or complex, other than 0.

        On the real axis inside the spectrum it is the limit from above; outside of it everything is real.

        Parameters
        ----------
        z : points of any shape.
        start : (..., K) δ to try first.

        Raises
        ------
        ArithmeticError
            At 0, and where the fixed point is not found, as at an edge of the spectrum.
        """
        points = np.asarray(z)
        points = points.astype(np.result_type(points, float))
        flat = points.reshape(-1)
        if np.any(flat == 0):
            raise ArithmeticError("z = 0 may be an eigenvalue, where there is no resolvent: move z off it.")
        first = None if start is None else np.broadcast_to(start, (*points.shape, self.law.classes))
        lower = np.imag(flat) < 0
        upper = np.where(lower, np.conj(flat), flat)
        found = self._solved(upper, None if first is None else first.reshape(flat.size, -1))
        found = np.where(lower[:, None], np.conj(found), found)
        if not np.any(np.imag(points)) and not np.any(np.imag(found)):
            found = np.real(found)
        delta = found.reshape(*points.shape, -1)
        return Resolvent(self, points, delta, self.element(delta, points))

    def _solved(self, z: Numbers, start: Numbers | None) -> Complex[np.ndarray, "Z K"]:
        size = self.law.algebra.one.size * self.law.classes
        width = max(1, BATCH // size)
        delta = np.zeros((len(z), self.law.classes), complex)
        before = None
        for low in range(0, len(z), width):
            part = slice(low, low + width)
            first = start[part] if start is not None else before
            delta[part] = _solve(self, z[part], first)
            before = delta[part] if width == 1 else None  # neighbours help where one point fills a batch
        return delta


def _solve(bulk: Bulk, z: Numbers, start: Numbers | None) -> Complex[np.ndarray, "Z K"]:
    """δ, by Newton's method at z itself, from points ever nearer to it."""
    z = z.astype(complex)
    scale = bulk.bound
    above = (z + 1j * scale)[:, None] - bulk.law.traces
    found, left = above.copy(), np.arange(len(z))
    if start is not None:
        found, good = _newton(bulk, z, z[:, None] * (1 + start))
        left = left[~good]
    for k in range(HEIGHTS):
        if left.size == 0:
            return found / z[:, None] - 1
        above[left] = _certain(bulk, z[left] + 1j * scale * DESCENT**k, above[left])
        found[left], good = _newton(bulk, z[left], above[left])
        left = left[~good]
    if left.size:
        raise ArithmeticError(
            f"the fixed point of the resolvent is not found at z = {z[left[0]]:.6g}, as at an edge of the spectrum: "
            "move z off it."
        )
    return found / z[:, None] - 1


def _map(bulk: Bulk, z: Numbers, h: Numbers) -> tuple[Numbers, Element]:
    """The fixed point's map of h, and zQ̄."""
    element = bulk.law.algebra.inverse(bulk.ratios / h, np.ones(len(z)))
    return z[:, None] + bulk.law.algebra.traces(element), element


def _certain(bulk: Bulk, z: Numbers, h: Numbers) -> Numbers:
    """In the upper half plane, where the plain iteration converges, if slowly."""
    found, good = _newton(bulk, z, h)
    bad = ~good
    if np.any(bad):
        rough, points = h[bad], z[bad]
        for _ in range(PLAIN):
            rough = 0.5 * (rough + _map(bulk, points, rough)[0])
        found[bad], _ = _newton(bulk, points, rough)
        lost = ~np.all(np.isfinite(found), axis=1)
        found[lost] = h[lost]
    return found


def _newton(bulk: Bulk, z: Numbers, h: Numbers) -> tuple[Numbers, np.ndarray]:
    """(h, whether it is the right solution)."""
    algebra, one = bulk.law.algebra, np.eye(bulk.law.classes)
    found, good = h.astype(complex), np.zeros(len(z), bool)
    left = np.arange(len(z))
    with np.errstate(all="ignore"):
        for k in range(STEPS):
            current, points = found[left], z[left]
            image, element = _map(bulk, points, current)
            gap = current - image
            jacobian = algebra.pair_traces(element, element) * (bulk.ratios / current**2)[:, None, :]
            step = _corrections(one - jacobian, gap)
            found[left] = current = current - step
            small = np.all(np.abs(gap) <= RESIDUAL * np.abs(current), axis=1)
            done = small & ((k + 1 == STEPS) | np.all(np.abs(step) <= SETTLED * np.abs(current), axis=1))
            found[left[done]], good[left[done]] = _verdict(points[done], current[done], jacobian[done])
            left = left[~done & np.all(np.isfinite(current), axis=1)]
            if left.size == 0:
                break
    return found, good


def _corrections(matrices: Numbers, gaps: Numbers) -> Numbers:
    fine = np.all(np.isfinite(matrices), axis=(1, 2))
    steps = np.full_like(gaps, np.nan)
    try:
        steps[fine] = np.linalg.solve(matrices[fine], gaps[fine][..., None])[..., 0]
    except np.linalg.LinAlgError:
        steps[fine] = np.einsum("zij,zj->zi", np.linalg.pinv(matrices[fine]), gaps[fine])
    return steps


def _verdict(z: Numbers, h: Numbers, jacobian: Numbers) -> tuple[Numbers, np.ndarray]:
    """Real h where only rounding makes them complex, and whether each is the right solution."""
    delta = h / z[:, None] - 1
    flat = np.all(np.abs(np.imag(delta)) <= 1e-9 * np.abs(delta), axis=1) & (np.imag(z) == 0)
    radius = np.max(np.abs(np.linalg.eigvals(np.where(flat[:, None, None], jacobian, 0.0))), axis=1)
    right = np.where(flat, radius < 1 + 1e-6, np.all(np.imag(delta) >= 0, axis=1))
    return np.where(flat[:, None], np.real(h), h), right
