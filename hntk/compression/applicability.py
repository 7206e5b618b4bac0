r"""Check whether the theory applies to given data.

The equivalents expand the kernels to second order in two small quantities: the correlations
$\rho_{ij} = x_i^\top x_j/\tau_0^2$ of different samples, and the deviations $\|x_i\|^2/\tau_0^2 - 1$ of the norms. The
theory's scaling makes both $O(1/\sqrt p)$. The first term left out is of third order, smaller than the linear term by a
factor ρ²: a correlation or deviation of .1 leaves out about one per cent, one of .3 about ten.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from hntk._utils.arguments import as_count
from hntk._utils.float64 import float64
from hntk._utils.rows import as_samples, rms_norm
from hntk.data.population import estimate_population
from hntk.kernels import exact_kernels
from hntk.readouts.answers import Answers
from hntk.spectra.comparison import centred_kernel, operator_norm
from hntk.theory.architecture import Architecture, ArchitectureLike, as_architecture
from hntk.theory.equivalents import equivalent_kernels

# limit of quantities in which the kernels are expanded, and of ratios of n, p and class sizes
SMALL, LARGE = 0.1, 100.0
EXPANSION = "expanding to second order leaves out about its square: 1 % at .1"


@dataclass(frozen=True)
class Finding:
    """One assumption of the theory, measured on data.

    Attributes
    ----------
    name : str
        The assumption.
    value : float
        The measured value.
    limit : float
        The largest value for which the assumption holds.
    reason : str
        Why there is a limit.
    remedy : str
        What to do if the assumption does not hold.
    low : float
        The smallest value for which the assumption holds.
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
    """Findings of :func:`check`; ``str`` gives a table.

    Attributes
    ----------
    findings : tuple of Finding
        One per assumption.
    """

    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        violated = [finding.name for finding in self.findings if not finding.holds]
        return f"Applicability({len(self.findings)} findings, violated: {', '.join(violated) or 'none'})"

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


def check(
    x: object,
    labels: object,
    activations: ArchitectureLike | None = None,
    *,
    rows: int = 5000,
    kernel_rows: int = 600,
) -> Applicability:
    """Check whether data lies in the theory's regime, assumption by assumption.

    Parameters
    ----------
    x : (n, p) array
        Samples as the network will see them.
    labels : (n,) array
        Their classes; or targets of a regression, which are floating-point numbers, for samples of one class.
    activations : sequence of str or Activation, or Architecture, optional
        A network, whose exact kernel is then compared with its equivalent; both are those behind an intercept, P K P,
        for a network that is not given by its activations alone.
    rows : int
        Largest number of samples that statistics are computed on.
    kernel_rows : int
        Largest number of samples that kernels are compared on.

    Returns
    -------
    Applicability
        Findings on n/p, the smallest class, the mean, norms, class means, class traces and correlations, and on the
        kernels if activations are given.

    Raises
    ------
    ValueError
        If samples, labels, activations or a number of rows do not fit, samples do not vary within their classes, or a
        class has fewer than 3 of the samples that statistics are computed on.

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
    answers = Answers.of(labels, len(samples), "labels")
    index = np.zeros(len(samples), int) if answers.index is None else answers.index
    most, most_in_kernels = as_count(rows, "rows"), as_count(kernel_rows, "kernel_rows")
    network = None if activations is None else as_architecture(activations)
    chosen = np.random.default_rng(0).permutation(len(samples))[:most]
    part, part_index = samples[chosen].astype(np.float64), index[chosen]
    findings = [
        *_size_findings(samples.shape, int(np.bincount(index).min())),
        *_sample_findings(part),
        *_class_findings(part, part_index),
    ]
    if network is not None:
        findings.append(_kernel_finding(part[:most_in_kernels], part_index[:most_in_kernels], network))
    return Applicability(tuple(findings))


def _size_findings(shape: tuple[int, ...], smallest_class: int) -> list[Finding]:
    """Return the findings on the numbers of samples and of dimensions."""
    n, p = shape
    return [
        Finding(
            "samples over dimensions, n/p", n / p, LARGE,
            "n and p grow together: errors fall like n^-1/2 at a fixed n/p, with a constant that grows with n/p",
            "project to fewer or lift to more dimensions, or expect the kernels' own error below", low=1 / LARGE,
        ),
        Finding(
            "dimensions over samples of the smallest class", p / smallest_class, LARGE,
            "class means and covariances must be estimable", "merge or drop rare classes",
        ),
    ]  # fmt: skip


def _sample_findings(x: np.ndarray) -> list[Finding]:
    """Return the findings on the mean and on the norms of all samples."""
    square = rms_norm(x) ** 2
    return [
        Finding(
            "mean: ‖x̄‖²/τ_0²", float(np.sum(x.mean(axis=0) ** 2) / square), SMALL,
            "a common mean is a correlation between all samples; " + EXPANSION, "centre: subtract the training mean",
        ),
        Finding(
            "norms: standard deviation of ‖x‖²/τ_0²", float(np.std(np.sum(x**2, axis=1)) / square), SMALL,
            "norms concentrate; " + EXPANSION, "scale every sample to unit norm, or use objective='data'",
        ),
    ]  # fmt: skip


def _class_findings(x: np.ndarray, index: np.ndarray) -> list[Finding]:
    """Return the findings on the estimated means and covariances of the classes."""
    population, square = estimate_population(x, index), rms_norm(x) ** 2
    shares, traces = population.proportions, population.traces
    if not traces.max() > 0:
        raise ValueError(
            "samples of x do not vary within their classes, and the theory describes how they vary: check how they "
            "were made or selected."
        )
    mean, p = shares @ population.means, x.shape[1]
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


def _kernel_finding(x: np.ndarray, index: np.ndarray, network: Architecture) -> Finding:
    """Return the finding on the distance between the exact conjugate kernel and its equivalent."""
    with float64():
        exact = np.asarray(exact_kernels(x, network).ck)
        known = estimate_population(x, index)
        theory = equivalent_kernels(jnp.asarray(x), index, network, population=known, centre=not network.is_plain)
        exact = exact if network.is_plain else centred_kernel(exact)
        distance = operator_norm(exact - theory.ck.to_dense()) / operator_norm(exact)
    between = "‖K − K̃‖/‖K‖" if network.is_plain else "‖P(K − K̃)P‖/‖PKP‖"
    return Finding(
        f"kernels: {between} on {len(x)} samples", float(distance), SMALL,
        "what the assumptions are for: the exact conjugate kernel against its equivalent, in operator norm",
        "normalise the data until this is small (whitening did best on MNIST), or use objective='data'",
    )  # fmt: skip
