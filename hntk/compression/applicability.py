r"""Whether the theory applies to given data.

The equivalents expand the kernels in the correlations $\rho_{ij} = x_i^\top x_j/\tau_0^2$ of different samples and in
the deviations $\|x_i\|^2/\tau_0^2 - 1$, to second order. The theory's scaling makes both $O(1/\sqrt p)$. What is left
out is of third order: against the linear term it is of relative size ρ², so that a correlation or deviation of .1
leaves out about one per cent, one of .3 about ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from hntk._utils.float64 import float64
from hntk._utils.labels import as_labels
from hntk._utils.rows import as_samples, rms_norm
from hntk.activations import Activation
from hntk.data.population import Population, estimate_population
from hntk.kernels import exact_kernels
from hntk.spectra.comparison import operator_norm
from hntk.theory.coefficients import as_activations
from hntk.theory.equivalents import equivalent_kernels

MOST_ROWS = 5000
KERNEL_ROWS = 600
SMALL = 0.1
EXPANSION = "expanding to second order leaves out about its square: 1 % at .1"


@dataclass(frozen=True)
class Finding:
    """One assumption of the theory.

    Attributes
    ----------
    name : of the assumption.
    value : what was measured.
    limit : up to where it may be; ``low`` is from where on, for the ratio n/p.
    reason : why the limit is there.
    remedy : what to do.
    low : lower limit.
    """

    name: str
    value: float
    limit: float
    reason: str
    remedy: str
    low: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the value lies within its limits."""
        return bool(self.low <= self.value <= self.limit)


@dataclass(frozen=True)
class Applicability:
    """What :func:`check` found; ``str`` gives a table.

    Attributes
    ----------
    findings : one per assumption.
    """

    findings: tuple[Finding, ...]

    @property
    def applies(self) -> bool:
        """Whether every assumption holds."""
        return all(finding.holds for finding in self.findings)

    def __str__(self) -> str:
        width = max(len(finding.name) for finding in self.findings)
        lines = []
        for f in self.findings:
            span = f"{f.low:g} to {f.limit:g}" if f.low else f"at most {f.limit:g}"
            verdict = "holds" if f.holds else "VIOLATED"
            lines.append(f"{f.name:<{width}}  {f.value:>8.3g}  ({span})  {verdict}")
            if not f.holds:
                lines += [f"    why: {f.reason}", f"    do:  {f.remedy}"]
        return "\n".join(lines)


def check(x: object, labels: object, activations: Sequence[str | Activation] | None = None) -> Applicability:
    """Whether data lies in the theory's regime, assumption by assumption.

    Parameters
    ----------
    x : (n, p) samples as the network will see them; statistics are taken on at most 5000 rows.
    labels : (n,) their classes.
    activations : of a network: then its exact kernel is also compared with the equivalent, on at most 600 rows.

    Returns
    -------
    Applicability : n/p, smallest class, mean, norms, class means, class traces, correlations, and the kernels' gap.

    Raises
    ------
    ValueError
        If samples, labels or activations do not fit, samples do not vary within their classes, or a class has fewer
        than 3 samples among those looked at.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=800, p=400, key=jax.random.key(0))
    >>> report = hntk.check(data.x, data.labels)
    >>> report.applies, len(report.findings)
    (True, 7)
    >>> hntk.check(data.x + 1.0, data.labels).findings[2].holds
    False
    """
    samples = np.asarray(as_samples(x))
    n, p = samples.shape
    classes, index = as_labels(labels, n)
    activations = None if activations is None else as_activations(activations)
    rows = np.random.default_rng(0).permutation(n)[:MOST_ROWS]
    part, own = samples[rows].astype(np.float64), index[rows]
    population = estimate_population(part, own)
    square = rms_norm(part) ** 2
    if not population.traces.max() > 0:
        raise ValueError(
            "samples of x do not vary within their classes, and theory is about how they do: look for how they were "
            "made or subset."
        )
    findings = [
        Finding(
            "samples over dimensions, n/p", n / p, 100.0,
            "n and p grow together: errors fall like n^-1/2 at a fixed n/p, with a constant that grows with n/p",
            "project to fewer or lift to more dimensions, or expect the kernels' own error below", low=0.01,
        ),
        Finding(
            "dimensions over samples of the smallest class", p / int(np.bincount(index, minlength=classes.size).min()),
            100.0, "class means and covariances must be estimable", "merge or drop rare classes",
        ),
        Finding(
            "mean: ‖x̄‖²/τ_0²", float(np.sum(part.mean(axis=0) ** 2) / square), SMALL,
            "a common mean is a correlation between all samples; " + EXPANSION, "centre: subtract the training mean",
        ),
        Finding(
            "norms: standard deviation of ‖x‖²/τ_0²", float(np.std(np.sum(part**2, axis=1)) / square), SMALL,
            "norms concentrate; " + EXPANSION, "scale every sample to unit norm, or use objective='data'",
        ),
        *_of_population(population, square),
    ]  # fmt: skip
    if activations is not None:
        findings.append(_kernel_gap(part[:KERNEL_ROWS], own[:KERNEL_ROWS], activations))
    return Applicability(tuple(findings))


def _of_population(population: Population, square: float) -> list[Finding]:
    shares, traces = population.proportions, population.traces
    mean = shares @ population.means
    p = population.means.shape[1]
    between = np.sum((population.means - mean) ** 2, axis=1) / p / square
    overlap = shares @ population.overlaps @ shares / (shares @ traces) ** 2
    return [
        Finding(
            "class means: largest ‖μ_a − μ‖²/(p τ_0²)", float(between.max()), SMALL,
            "samples of a class are correlated by this; " + EXPANSION, "whiten: it shrinks leading directions",
        ),
        Finding(
            "class traces: largest |tr C_a/tr C° − 1|", float(np.max(np.abs(traces / (shares @ traces) - 1))), SMALL,
            "norms of a class deviate by this; " + EXPANSION, "scale every sample to unit norm",
        ),
        Finding(
            "covariances: √tr(C°²)/tr C°", float(np.sqrt(overlap / p)), SMALL,
            "typical correlation of samples about their class means, one over the root of the effective dimension; "
            + EXPANSION, "whiten: it raises the effective dimension",
        ),
    ]  # fmt: skip


def _kernel_gap(x: np.ndarray, index: np.ndarray, activations: Sequence[str | Activation]) -> Finding:
    with float64():
        exact = np.asarray(exact_kernels(x, activations).ck)
        theory = np.asarray(equivalent_kernels(jnp.asarray(x), index, activations).ck.to_dense())
        gap = operator_norm(exact - theory) / operator_norm(exact)
    return Finding(
        f"kernels: ‖K − K̃‖/‖K‖ on {len(x)} samples", float(gap), SMALL,
        "what the assumptions are for: the exact conjugate kernel against its equivalent, in operator norm",
        "normalise the data until this is small (whitening did best on MNIST), or use objective='data'",
    )  # fmt: skip
