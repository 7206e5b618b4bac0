r"""Isolated eigenvalues of a kernel, and the alignment of their eigenvectors with the classes.

An eigenvalue λ + γ, with λ outside the bulk, solves $\det N(\lambda) = 0$ with $N = B^{-1} + D$
(:mod:`hntk.asymptotics.spiked_kernel`). As $D' = \lim U^\top\tilde Q^2U \succ 0$, the ordered eigenvalues of N rise on
every interval that the bulk leaves free, and each spike is the one zero of one of them. With $Nx = 0$ and
$x^\top D'x = 1$, the unit eigenvector u has $U^\top u = -Dx$, so $|j_a^\top u|^2/n_a = \frac p{n_a}(Dx)_a^2$ for the
indicator $j_a$ of class a.

Above the bulk, $E = -D$ is positive definite and falls in λ, and so do the eigenvalues of $E^{1/2}BE^{1/2}$. Each of
them that exceeds 1 at the edge makes a spike. One between 0 and 1 is the strength of a direction below its phase
transition. A centred kernel has E on the complement of the vector 1. Sources: Benaych-Georges and Nadakuditi (2011)
for the method, Benaych-Georges and Couillet (2016) for mixtures; docs/theory.md, "Spikes".

At finite size the bulk and D are those of :mod:`hntk.asymptotics.sample_norms`, with the norms on a few points, so that
the bulk ends somewhere. There only spikes above the bulk are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.spiked_kernel import SpikedKernel
from hntk.asymptotics.support import Edge, Interval, right_edge, support_intervals

# Eigenvalues of N, and strengths, that count as zero, relative to the largest.
NULL = 1e-12
# How near a search comes to an end that is not a polished edge, relative to the interval's width.
MARGIN = 1e-7
# Spikes as near as this, relative to their size, are one eigenvalue of higher multiplicity.
COINCIDENCE = 1e-8


@array_dataclass()
class Spike:
    """An eigenvalue that stands off the bulk, or the direction of one that does not.

    Attributes
    ----------
    value : float
        The eigenvalue, with γ; the bulk's right edge for a direction below its phase transition.
    alignment : array, shape (K,)
        The squared cosine of the eigenvector with each class' indicator vector.
    above : bool
        Whether it has passed the phase transition.
    strength : float
        The eigenvalue of E^{1/2} B E^{1/2} at the bulk's right edge, which is 1 at the transition; NaN for a spike in a
        gap of the bulk.
    """

    value: float
    alignment: Float[np.ndarray, " K"]
    above: bool
    strength: float

    @property
    def total(self) -> float:
        """The squared cosine of the eigenvector with the span of the class indicators."""
        return float(np.sum(self.alignment))

    def __repr__(self) -> str:
        return (
            f"Spike(value={self.value:.6g}, total={self.total:.4g}, above={self.above}, strength={self.strength:.4g})"
        )

    def __str__(self) -> str:
        if not self.above:
            return (
                f"no spike: strength {self.strength:.3f} of the 1 that takes it out of the bulk, which ends at "
                f"{self.value:.4g}; its direction is not seen in any eigenvector"
            )
        classes = ", ".join(f"{a:.3f}" for a in self.alignment)
        place = "in a gap of the bulk" if np.isnan(self.strength) else f"strength {self.strength:.3f}"
        return f"spike at {self.value:.4g} ({place}): alignment {self.total:.3f} with the classes ({classes})"


def find_spikes(kernel: SpikedKernel) -> tuple[Spike, ...]:
    """Return a kernel's spikes, largest first, and after them the directions below their phase transition."""
    if kernel.quadrature is None:
        support = support_intervals(kernel.bulk)
        gaps, right = tuple(_gaps(support)), support[-1].right if support else Edge(0.0, None)
    else:
        similar = None if kernel.products.pairwise is None else kernel.with_slope_products().bulk
        right = right_edge(kernel.bulk, similar)
        gaps = ((right, None),)
    eigenvalues = [spike for gap in gaps for spike in _spikes_in_gap(kernel, *gap)]
    eigenvalues.sort(key=lambda spike: -spike.value)
    edge = kernel.coefficients.shift + right.location
    above_bulk = [spike for spike in eigenvalues if spike.value > edge]
    strengths = _strengths(kernel, right)
    with_strength = [replace(s, strength=float(h)) for s, h in zip(above_bulk, strengths, strict=False)]
    below = [Spike(edge, np.zeros(kernel.law.classes), False, float(h)) for h in strengths[len(above_bulk) :] if h <= 1]
    return (*with_strength, *eigenvalues[len(above_bulk) :], *below)


def _gaps(support: tuple[Interval, ...]) -> Iterator[tuple[Edge, Edge | None]]:
    """Yield the edges of every interval between 0 and infinity that the bulk leaves free; None for infinity."""
    left = Edge(0.0, None)
    for interval in support:
        if interval.left.location > 0:
            yield left, interval.left
        left = interval.right
    yield left, None


def _spikes_in_gap(kernel: SpikedKernel, left: Edge, right: Edge | None) -> Iterator[Spike]:
    """Yield the spikes between two edges: each is the zero of one ordered eigenvalue of N that changes its sign."""
    start = _resolvent_beside(kernel, left, right, +1)
    end = _resolvent_far_out(kernel, start) if right is None else _resolvent_beside(kernel, right, left, -1)
    low, high = float(start.z), float(end.z)
    # At the ends Δ is known, though the fixed point may not give it there.
    at_ends = {low: _ordered_eigenvalues(kernel, start), high: _ordered_eigenvalues(kernel, end)}
    # Beside 0, directions of the means that carry no spike have eigenvalues that are 0 up to rounding.
    negative = at_ends[low] < -NULL * np.max(np.abs(at_ends[low]))

    def eigenvalue(x: float, j: int) -> float:
        values = at_ends[x] if x in at_ends else _ordered_eigenvalues(kernel, kernel.resolvent(x))
        return float(values[j])

    rising = np.flatnonzero(negative & (at_ends[high] > 0))
    roots = [scipy.optimize.brentq(eigenvalue, low, high, args=(j,), xtol=1e-14 * high) for j in rising]
    yield from _spikes_at(kernel, np.sort(np.array(roots, dtype=float)))


def _ordered_eigenvalues(kernel: SpikedKernel, at: Resolvent) -> Float[np.ndarray, " r"]:
    """Return the eigenvalues of N at a real point, ascending."""
    return np.linalg.eigvalsh(np.real(kernel.secular(at)))


def _resolvent_beside(kernel: SpikedKernel, edge: Edge, other: Edge | None, side: int) -> Resolvent:
    """Return the resolvent at a polished edge, or a little beside an end where Δ is not known."""
    if edge.self_energy is not None:
        return Resolvent.from_self_energy(kernel.bulk, np.asarray(edge.location), edge.self_energy)
    width = abs(other.location - edge.location) if other is not None else max(kernel.bulk.gram_bound, kernel.reach)
    return kernel.resolvent(edge.location + side * MARGIN * width)


def _resolvent_far_out(kernel: SpikedKernel, start: Resolvent) -> Resolvent:
    """Return the resolvent at a point beyond the largest spike: as many eigenvalues of N are positive as of B."""
    positive = np.sum((kernel.active[1] > 0) & np.isfinite(kernel.active[1]))
    x = 2 * max(float(start.z), kernel.bulk.gram_bound)
    x = x if x > 0 else kernel.reach
    while True:
        at = kernel.resolvent(x)
        if np.sum(_ordered_eigenvalues(kernel, at) > 0) >= positive:
            return at
        x *= 4


def _spikes_at(kernel: SpikedKernel, roots: Float[np.ndarray, " s"]) -> Iterator[Spike]:
    """Yield the spikes at ascending roots; roots that coincide share a null space, of which a basis is taken."""
    groups = np.split(roots, np.flatnonzero(np.diff(roots) > COINCIDENCE * roots[1:]) + 1) if roots.size else []
    for group in groups:
        at = kernel.resolvent(float(group.mean()))
        values, vectors = np.linalg.eigh(np.real(kernel.secular(at)))
        null = kernel.active[0] @ vectors[:, np.argsort(np.abs(values))[: len(group)]]
        lengths, rotation = np.linalg.eigh(null.T @ np.real(kernel.overlap_slope(at)) @ null)
        products = -np.real(kernel.overlap(at)) @ null @ (rotation / np.sqrt(lengths))
        alignments = products[kernel.labels] ** 2 / kernel.ratios[:, None]
        for alignment in alignments.T:
            yield Spike(float(at.z) + kernel.coefficients.shift, alignment, True, np.nan)


def _strengths(kernel: SpikedKernel, edge: Edge) -> Float[np.ndarray, " r"]:
    """Return the positive eigenvalues of E^{1/2} B E^{1/2} at the bulk's right edge, descending."""
    overlap, constant = np.real(kernel.overlap(_resolvent_beside(kernel, edge, None, +1))), kernel.constant_direction
    if constant is not None:
        # the overlap on the complement of the vector 1
        image = overlap @ constant
        overlap = overlap - np.outer(image, image) / (constant @ image)
    values, vectors = np.linalg.eigh(-overlap)
    if constant is not None:
        values[values < NULL * values[-1]] = 0.0
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    strengths = np.linalg.eigvalsh(root.T @ kernel.core @ root)[::-1]
    return strengths[strengths > NULL * np.max(np.abs(strengths), initial=0.0)]
