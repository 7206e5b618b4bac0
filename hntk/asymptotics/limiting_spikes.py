r"""Isolated eigenvalues of an equivalent kernel, and how far their eigenvectors tell the classes.

An eigenvalue λ + γ with λ outside the bulk solves $\det(B^{-1} + D(\lambda)) = 0$
(:mod:`hntk.asymptotics.limiting_kernel`). As $D' = \lim U^\top\tilde Q^2U \succ 0$, the ordered eigenvalues of $N =
B^{-1} + D$ rise on every interval that the spectrum leaves free, and every spike is the one zero of one of them. With
$Nx = 0$ and $x^\top D'x = 1$ the unit eigenvector u has $U^\top u = -Dx$, so $|j_a^\top u|^2/n_a = \frac
p{n_a}(Dx)_a^2$ for the indicator $j_a$ of class a.

Above the bulk $E = -D$ is positive definite and falls in λ, and so do the eigenvalues of $E^{1/2}BE^{1/2}$: each that
exceeds 1 at the edge makes a spike, and one between 0 and 1 is a direction below its phase transition, of this
strength. Source: Benaych-Georges and Nadakuditi (2011) for the method, Couillet and Benaych-Georges (2016) for
mixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from hntk.asymptotics.kernel_parameters import Kind, Net
from hntk.asymptotics.limiting_kernel import LimitingKernel, limiting_kernel
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.support import Edge, Interval, support

# eigenvalues of B and N that count as zero, and positive strengths that do, relative to the largest
NULL = 1e-12
# how near, relative to its width, an interval free of the bulk is searched to an end that is not a polished edge
MARGIN = 1e-7
# spikes this near, relative to their size, are one of multiplicity
SAME = 1e-8


@dataclass(frozen=True)
class Spike:
    """An eigenvalue that stands off the bulk, or the direction of one that does not.

    Attributes
    ----------
    value : the eigenvalue, γ included; the bulk's edge for a direction below its transition.
    alignment : (K,) squared cosine of the eigenvector with each class's indicator vector.
    above : whether it has passed the phase transition.
    strength : eigenvalue of E^{1/2}BE^{1/2} at the bulk's right edge, 1 at the transition; NaN for spikes in gaps.
    """

    value: float
    alignment: Float[np.ndarray, " K"]
    above: bool
    strength: float

    @property
    def total(self) -> float:
        """Squared cosine with the span of the class indicators."""
        return float(np.sum(self.alignment))

    def __str__(self) -> str:
        if not self.above:
            return (
                f"no spike: strength {self.strength:.3f} of the 1 that takes it out of the bulk, which ends at "
                f"{self.value:.4g}; its direction is not seen in any eigenvector"
            )
        classes = ", ".join(f"{a:.3f}" for a in self.alignment)
        where = "in a gap of the bulk" if np.isnan(self.strength) else f"strength {self.strength:.3f}"
        return f"spike at {self.value:.4g} ({where}): alignment {self.total:.3f} with the classes ({classes})"


def spikes(
    law: MixtureLaw, n: int, net: Net, *, kernel: Kind = "ck", kappa_sq: float | None = None
) -> tuple[Spike, ...]:
    """Of the equivalent CK or NTK of n samples, largest first; then directions below their transition.

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

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> print(spikes(law, 800, ["relu"])[0])
    spike at 3.275 (strength 3.803): alignment 0.816 with the classes (0.408, 0.408)
    """
    return spikes_of(limiting_kernel(law, n, net, kernel=kernel, kappa_sq=kappa_sq))


def spikes_of(kernel: LimitingKernel) -> tuple[Spike, ...]:
    """See :func:`spikes`."""
    bulk = support(kernel.bulk)
    found = [spike for free in _free(bulk, kernel) for spike in _search(kernel, *free)]
    strengths = _strengths(kernel, bulk)
    found.sort(key=lambda spike: -spike.value)
    edge = kernel.coefficients.shift + (bulk[-1].right.place if bulk else 0.0)
    outer = [spike for spike in found if spike.value > edge]
    named = [
        Spike(spike.value, spike.alignment, True, float(h)) for spike, h in zip(outer, strengths, strict=False)
    ] + found[len(outer) :]
    none = np.zeros(kernel.law.classes)
    below = [Spike(edge, none, False, float(h)) for h in strengths[len(outer) :] if h <= 1]
    return (*named, *below)


def _heights(kernel: LimitingKernel, at: Resolvent) -> Float[np.ndarray, " r"]:
    """Eigenvalues of N at a real point, ascending."""
    return np.linalg.eigvalsh(np.real(kernel.secular(at)))


def _free(bulk: tuple[Interval, ...], kernel: LimitingKernel) -> Iterator[tuple[Edge, Edge | None]]:
    """What lies between 0 and infinity and outside the bulk."""
    before = Edge(0.0, None)
    for interval in bulk:
        if interval.left.place > 0:
            yield before, interval.left
        before = interval.right
    yield before, None


def _search(kernel: LimitingKernel, left: Edge, right: Edge | None) -> Iterator[Spike]:
    start = _beside(kernel, left, right, +1)
    at_start = _heights(kernel, start)
    end = _far(kernel, start) if right is None else _beside(kernel, right, left, -1)
    # beside 0, directions of the means that carry no spike have eigenvalues that are 0 up to rounding
    rising = np.flatnonzero((at_start < -NULL * np.max(np.abs(at_start))) & (_heights(kernel, end) > 0))
    low, high = float(start.z), float(end.z)

    # at the ends themselves Δ is known, which the fixed point does not give; brentq asks for them first
    ends = {low: at_start, high: _heights(kernel, end)}

    def height(x: float, j: int) -> float:
        return float(ends[x][j] if x in ends else _heights(kernel, kernel.bulk.at(x))[j])

    roots = [brentq(height, low, high, args=(j,), xtol=1e-14 * high) for j in rising]
    yield from _spikes_at(kernel, np.sort(np.array(roots, dtype=float)))


def _beside(kernel: LimitingKernel, edge: Edge, other: Edge | None, side: int) -> Resolvent:
    """At a polished edge, or a little off an end that is not one, where the bulk has no Δ."""
    if edge.self_energy is not None:
        return kernel.bulk.resolvent(np.asarray(edge.place), edge.self_energy)
    width = abs(other.place - edge.place) if other is not None else max(kernel.bulk.bound, kernel.reach)
    return kernel.bulk.at(edge.place + side * MARGIN * width)


def _far(kernel: LimitingKernel, start: Resolvent) -> Resolvent:
    """Where every eigenvalue of N that becomes positive is so."""
    positive = np.sum(kernel.active[1] > 0)
    x = 2 * max(float(start.z), kernel.bulk.bound)
    x = x if x > 0 else kernel.reach
    while True:
        at = kernel.bulk.at(x)
        if np.sum(_heights(kernel, at) > 0) >= positive:
            return at
        x *= 4


def _spikes_at(kernel: LimitingKernel, roots: Float[np.ndarray, " s"]) -> Iterator[Spike]:
    """Roots that coincide share a null space, in which alignments are those of a basis."""
    groups = np.split(roots, np.flatnonzero(np.diff(roots) > SAME * roots[1:]) + 1) if roots.size else []
    for group in groups:
        at = kernel.bulk.at(float(group.mean()))
        values, vectors = np.linalg.eigh(np.real(kernel.secular(at)))
        null = kernel.active[0] @ vectors[:, np.argsort(np.abs(values))[: len(group)]]
        lengths, turn = np.linalg.eigh(null.T @ np.real(kernel.overlap_slope(at)) @ null)
        inner = -np.real(kernel.overlap(at)) @ null @ (turn / np.sqrt(lengths))
        alignments = inner[kernel.labels] ** 2 / kernel.ratios[:, None]
        for alignment in alignments.T:
            yield Spike(float(at.z) + kernel.coefficients.shift, alignment, True, np.nan)


def _strengths(kernel: LimitingKernel, bulk: tuple[Interval, ...]) -> Float[np.ndarray, " r"]:
    """Positive eigenvalues of E^{1/2}BE^{1/2} at the right edge, descending."""
    last = bulk[-1].right if bulk else Edge(0.0, None)
    values, vectors = np.linalg.eigh(-np.real(kernel.overlap(_beside(kernel, last, None, +1))))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    found = np.linalg.eigvalsh(root.T @ kernel.core @ root)[::-1]
    return found[found > NULL * np.max(np.abs(found), initial=0.0)]
