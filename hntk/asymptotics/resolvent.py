r"""The resolvent of a Gram matrix whose columns have class covariances, on and off its spectrum, in the limit.

Let Z (p × n) have $n_a$ columns $N(0, C_a)$, and $Y_k$, for a few k, ($D_k$ × n) independent columns of covariance
$\gamma_{ka}I$. Let W, $W_k$, H be diagonal, with entries $w_i, w_{ki}, h_i$ of the law of i's class. In forms and on
the diagonal

$$\tilde Q(z) = \Big(\tfrac1pW^{1/2}Z^\top ZW^{1/2} + \tfrac1p\sum_kW_k^{1/2}Y_k^\top Y_kW_k^{1/2} + H - z\Big)^{-1},$$
$$\tilde Q_{ii} \to r_i = \frac1{h_i - z + w_i\Delta_a + \sum_kw_{ki}\Delta^k_a},$$
$$\bar E(z) = \Big(I + \sum_a\frac{n_a}p\mathrm E_a[wr]\,C_a\Big)^{-1},\qquad
e_k = \Big(1 + \sum_a\frac{n_a}p\mathrm E_a[w_kr]\,\gamma_{ka}\Big)^{-1},$$
$$\Delta_a = \frac1p\mathrm{tr}\,C_a\bar E,\qquad \Delta^k_a = \frac{D_k}p\gamma_{ka}e_k,$$

and $W^{1/2}Z^\top$ on both sides of $\tilde Q/p$ gives $I - \bar E$. An equivalent kernel has w = 1, h = 0 and no Y.
Then $\bar E = -z\lim(ZZ^\top/p - z)^{-1}$ and $\Delta = -z\delta$ in the notation of the sources, Couillet and Debbah
(2011), Benaych-Georges and Couillet (2016). Y are the coordinates that stand for what of a kernel acts like noise,
:class:`Noise`. What a finite sample adds is in :mod:`hntk.asymptotics.sample_norms`.

The self-energies $u = (\Delta, \Delta^1, \dots)$ solve a fixed point whose map has the Jacobian
$J_{ca,db} = P^c_{ab}\frac{n_b}p\mathrm E_b[f_cf_dr^2]$, $f = (w, w_1, \dots)$,
$P^0_{ab} = \mathrm{tr}(C_a\bar EC_b\bar E)/p$, $P^k_{ab} = \frac{D_k}p\gamma_{ka}\gamma_{kb}e_k^2$. A solution is the
right one if and only if $\mathrm{Im}\,u \le 0$ (z in the upper half plane, or real and inside the spectrum), or z and
u are real and J has spectral radius below 1 (outside). In the half plane the map takes $\{\mathrm{Im}\,u \le 0\}$ into
its inside and so, by Earle and Hamilton, has one fixed point there. So Newton's method may start anywhere: what it
finds is checked, and where the check fails it goes on from a solution further up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Complex, Float

from hntk._utils.copies import Copyable
from hntk.asymptotics.covariances import Element
from hntk.asymptotics.mixture_law import MixtureLaw

# real or complex, of any shape
Numbers = np.ndarray
# of the fixed point, relative to |u|
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
class Diagonal:
    """W and H: their law in every class, on q points.

    Attributes
    ----------
    shares : (K, q) probabilities.
    weights, shifts : (K, q) w and h.
    """

    shares: Float[np.ndarray, "K q"]
    weights: Float[np.ndarray, "K q"]
    shifts: Float[np.ndarray, "K q"]

    @staticmethod
    def plain(classes: int) -> Diagonal:
        """W = 1, h = 0."""
        return Diagonal(np.ones((classes, 1)), np.ones((classes, 1)), np.zeros((classes, 1)))


@dataclass(frozen=True)
class Noise:
    """B Gram matrices of many coordinates without means, which act on a kernel's other parts like noise.

    Attributes
    ----------
    counts : (B,) D_k/p.
    variances : (B, K) γ_ka.
    weights : (B, K, q) w_k, on the points of the diagonal's law.
    """

    counts: Float[np.ndarray, " B"]
    variances: Float[np.ndarray, "B K"]
    weights: Float[np.ndarray, "B K q"]

    @property
    def diagonal(self) -> Float[np.ndarray, "K q"]:
        """What it has on a kernel's diagonal: Σ_k w_k γ_ka D_k/p."""
        return np.einsum("b,bk,bkq->kq", self.counts, self.variances, self.weights)

    @property
    def bound(self) -> float:
        """Of the eigenvalues at n = p, but for a factor that grows like n/p."""
        return float(
            np.sum(self.variances.max(axis=1) * self.weights.max(axis=(1, 2)) * (1 + np.sqrt(self.counts)) ** 2)
        )


@dataclass(frozen=True)
class Resolvent(Copyable):
    """Limits at points z; arrays have the shape of z first.

    Attributes
    ----------
    bulk : whose resolvent it is.
    z : points.
    self_energy : (..., c, K) Δ_a(z), and Δ^k_a(z) where there is noise.
    element : Ē(z), an element of the law's algebra.
    """

    bulk: Bulk
    z: Numbers
    self_energy: Numbers
    element: Element

    @cached_property
    def responses(self) -> Numbers:
        """(..., K, q) r, the limit of Q̃_ii, by class and point of the diagonal's law."""
        return self.bulk.responses(self.self_energy, self.z)

    @cached_property
    def noise_element(self) -> Numbers:
        """(..., B) e."""
        return self.bulk.noise_element(self.responses)

    @property
    def g(self) -> Numbers:
        """(..., K) the mean of Q̃_ii by class."""
        return np.sum(self.responses * self.bulk.diagonal.shares, axis=-1)

    @property
    def stieltjes(self) -> Numbers:
        """m(z) = tr Q̃/n."""
        return self.g @ (self.bulk.ratios / self.bulk.ratios.sum())

    @property
    def self_energy_slope(self) -> Numbers:
        """(..., c, K) du/dz."""
        bulk = self.bulk
        coupling = bulk.coupling(bulk.law.algebra.pair_traces(self.element, self.element), self.noise_element**2)
        source = np.einsum("kq,ckq,...kq->...ck", bulk.diagonal.shares, bulk.features, self.responses**2)
        right = np.einsum("...cab,...cb->...ca", coupling, -bulk.ratios * source)
        jacobian = bulk.transfer(coupling, self.responses**2)
        solved = np.linalg.solve(np.eye(jacobian.shape[-1]) - jacobian, right.reshape(*right.shape[:-2], -1, 1))
        return solved.reshape(right.shape)

    @property
    def response_slope(self) -> Numbers:
        """(..., K, q) dr/dz."""
        change = np.einsum("ckq,...ck->...kq", self.bulk.features, self.self_energy_slope)
        return -(self.responses**2) * (change - 1)


@dataclass(frozen=True)
class Bulk(Copyable):
    """What of a kernel has full rank, γI apart.

    Attributes
    ----------
    law : of the columns of Z.
    ratios : (K,) n_a/p.
    diagonal : the law of W and H; by default w = 1, h = 0.
    noise : Y; None without.
    """

    law: MixtureLaw
    ratios: Float[np.ndarray, " K"]
    diagonal: Diagonal = None  # type: ignore[assignment]
    noise: Noise | None = None

    def __post_init__(self) -> None:
        """Fill in the plain diagonal."""
        if self.diagonal is None:
            object.__setattr__(self, "diagonal", Diagonal.plain(self.law.classes))

    @property
    def bound(self) -> float:
        """No eigenvalue of the limit of ZᵀZ/p is above it: max‖C_a‖ (1 + √(n/p))²."""
        return self.law.algebra.norm * (1 + np.sqrt(self.ratios.sum())) ** 2

    @property
    def scale(self) -> float:
        """No eigenvalue is far above it."""
        noise = 0.0 if self.noise is None else self.noise.bound * (1 + float(self.ratios.sum()))
        return self.bound * float(np.max(self.diagonal.weights)) + float(np.max(np.abs(self.diagonal.shifts))) + noise

    @cached_property
    def features(self) -> Float[np.ndarray, "c K q"]:
        """f: what each self-energy is multiplied by."""
        weights = self.diagonal.weights
        return weights[None] if self.noise is None else np.concatenate([weights[None], self.noise.weights])

    @cached_property
    def _squares(self) -> Float[np.ndarray, "c c K q"]:
        """f_c f_d times shares and ratios."""
        products = self.features[:, None] * self.features
        return products * self.diagonal.shares * self.ratios[:, None]

    def responses(self, self_energy: Numbers, z: Numbers) -> Numbers:
        """(..., K, q) r for given u (..., c, K) at z (...)."""
        energies = np.einsum("ckq,...ck->...kq", self.features, self_energy)
        return 1 / (self.diagonal.shifts - np.asarray(z)[..., None, None] + energies)

    def element(self, responses: Numbers) -> Element:
        """Ē for given r (..., K, q)."""
        scales = self.ratios * np.sum(self.diagonal.weights * self.diagonal.shares * responses, axis=-1)
        return self.law.algebra.inverse(scales, np.full(scales.shape[:-1], -1.0))

    def noise_element(self, responses: Numbers) -> Numbers:
        """(..., B) e for given r (..., K, q)."""
        if self.noise is None:
            return np.zeros((*responses.shape[:-2], 0))
        weights = self.noise.weights * self.diagonal.shares * (self.ratios * self.noise.variances)[..., None]
        return 1 / (1 + np.einsum("bkq,...kq->...b", weights, responses))

    def image(self, element: Element, noise_element: Numbers) -> Numbers:
        """(..., c, K) u by its equation."""
        gram = self.law.algebra.traces(element)[..., None, :]
        if self.noise is None:
            return gram
        return np.concatenate([gram, (self.noise.counts * noise_element)[..., None] * self.noise.variances], axis=-2)

    def image_and_jacobian(self, self_energy: Numbers, z: Numbers) -> tuple[Numbers, Numbers]:
        """(..., c, K) the fixed point's map of u (..., c, K) at z (...), and its derivative (..., cK, cK)."""
        responses = self.responses(self_energy, z)
        element, noise_element = self.element(responses), self.noise_element(responses)
        coupling = self.coupling(self.law.algebra.pair_traces(element, element), noise_element**2)
        return self.image(element, noise_element), self.transfer(coupling, responses**2)

    def coupling(self, pair_traces: Numbers, noise_pairs: Numbers) -> Numbers:
        """(..., c, K, K) P of P⁰ (..., K, K) and e² (..., B), or of e times another e."""
        gram = pair_traces[..., None, :, :]
        if self.noise is None:
            return gram
        variances = self.noise.variances[:, :, None] * self.noise.variances[:, None]
        return np.concatenate([gram, (self.noise.counts * noise_pairs)[..., None, None] * variances], axis=-3)

    def transfer(self, coupling: Numbers, products: Numbers) -> Numbers:
        """(..., cK, cK) J of P (..., c, K, K) and r² (..., K, q), or of r times another r."""
        inner = np.einsum("cdkq,...kq->...cdk", self._squares, products)
        blocks = np.einsum("...cab,...cdb->...cadb", coupling, inner)
        size = len(self.features) * self.law.classes
        return blocks.reshape(*blocks.shape[:-4], size, size)

    def resolvent(self, z: Numbers, self_energy: Numbers) -> Resolvent:
        """Of u that is known."""
        return Resolvent(self, z, self_energy, self.element(self.responses(self_energy, z)))

    def at(self, z: object) -> Resolvent:
        """The resolvent at points z, real or complex, other than 0.

        On the real axis inside the spectrum it is the limit from above; outside of it everything is real.

        Parameters
        ----------
        z : points of any shape.

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
        lower = np.imag(flat) < 0
        found = self._solved(np.where(lower, np.conj(flat), flat))
        found = np.where(lower[:, None], np.conj(found), found)
        if not np.any(np.imag(points)) and not np.any(np.imag(found)):
            found = np.real(found)
        return self.resolvent(points, found.reshape(*points.shape, len(self.features), self.law.classes))

    def _solved(self, z: Numbers) -> Complex[np.ndarray, "Z u"]:
        unknowns = len(self.features) * self.law.classes
        size = max(self.law.algebra.one.size * self.law.classes, self._squares.size)
        width = max(1, BATCH // size)
        found = np.zeros((len(z), unknowns), complex)
        before = None
        for low in range(0, len(z), width):
            part = slice(low, low + width)
            found[part] = _solve(self, z[part], before)
            before = found[part] if width == 1 else None  # neighbours help where one point fills a batch
        return found


def _solve(bulk: Bulk, z: Numbers, start: Numbers | None) -> Complex[np.ndarray, "Z u"]:
    """Self-energies, by Newton's method at z itself, from points ever nearer to it."""
    z, scale = z.astype(complex), bulk.scale
    above = np.zeros((len(z), len(bulk.features) * bulk.law.classes), complex)
    above[:] = bulk.image(bulk.law.algebra.one, np.ones(0 if bulk.noise is None else len(bulk.noise.counts))).ravel()
    found, left = above.copy(), np.arange(len(z))
    if start is not None:
        found, good = _newton(bulk, z, start)
        left = left[~good]
    for k in range(HEIGHTS):
        if left.size == 0:
            return found
        above[left] = _certain(bulk, z[left] + 1j * scale * DESCENT**k, above[left])
        found[left], good = _newton(bulk, z[left], above[left])
        left = left[~good]
    if left.size:
        raise ArithmeticError(
            f"the fixed point of the resolvent is not found at z = {z[left[0]]:.6g}, as at an edge of the spectrum: "
            "move z off it."
        )
    return found


def _certain(bulk: Bulk, z: Numbers, u: Numbers) -> Numbers:
    """In the upper half plane, where the plain iteration converges, if slowly."""
    found, good = _newton(bulk, z, u)
    bad = ~good
    if np.any(bad):
        rough, points = u[bad], z[bad]
        for _ in range(PLAIN):
            responses = bulk.responses(rough.reshape(len(rough), len(bulk.features), -1), points)
            image = bulk.image(bulk.element(responses), bulk.noise_element(responses))
            rough = 0.5 * (rough + image.reshape(rough.shape))
        found[bad], _ = _newton(bulk, points, rough)
        lost = ~np.all(np.isfinite(found), axis=1)
        found[lost] = u[lost]
    return found


def _newton(bulk: Bulk, z: Numbers, u: Numbers) -> tuple[Numbers, np.ndarray]:
    """(u, whether it is the right solution)."""
    one = np.eye(u.shape[1])
    found, good = u.astype(complex), np.zeros(len(z), bool)
    left = np.arange(len(z))
    with np.errstate(all="ignore"):
        for k in range(STEPS):
            current, points = found[left], z[left]
            shape = (len(current), len(bulk.features), bulk.law.classes)
            image, jacobian = bulk.image_and_jacobian(current.reshape(shape), points)
            gap = current - image.reshape(current.shape)
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


def _verdict(z: Numbers, u: Numbers, jacobian: Numbers) -> tuple[Numbers, np.ndarray]:
    """Real u where only rounding makes them complex, and whether each is the right solution."""
    flat = np.all(np.abs(np.imag(u)) <= 1e-9 * np.abs(u), axis=1) & (np.imag(z) == 0)
    radius = np.max(np.abs(np.linalg.eigvals(np.where(flat[:, None, None], jacobian, 0.0))), axis=1)
    right = np.where(flat, radius < 1 + 1e-6, np.all(np.imag(u) <= 0, axis=1))
    return np.where(flat[:, None], np.real(u), u), right
