r"""Deterministic equivalents of the conjugate kernel and the NTK, as structured operators.

With samples as the rows of X,

$$\tilde K = \alpha_1 XX^\top + V A(\alpha_2, \alpha_3) V^\top + (\tau_L^2 - \tau_0^2\alpha_1) I,\qquad
\tilde\Theta = \beta_1 XX^\top + V A(\beta_2, \beta_3) V^\top + (\kappa_L^2 - \tau_0^2\beta_1) I,$$

$V = [J/\sqrt p, \psi]$, $\psi_i = \|x_i - \mu_a/\sqrt p\|^2 - \mathrm{tr} C_a/p$ and
$A(c_2, c_3) = [[c_2 tt^\top + c_3 T, c_2 t], [c_2 t^\top, c_2]]$. Errors in operator norm vanish as n, p → ∞ (Gu et
al., 2022, Theorems 1 and 2). ``identity="paper"`` is the identity coefficient of the authors' code, which is smaller
by $\tau_0^4$ times $\alpha_3$ (or $\beta_3$). Its error does not vanish.

Other architectures have the equivalents of :mod:`hntk.theory.expanded_kernel`, and so has any network with
``centre=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_choice, as_diagonal, as_instance, as_scale
from hntk._utils.arrays import check_result
from hntk._utils.labels import as_labels
from hntk._utils.rows import as_rows, rms_norm, row_blocks
from hntk.activations import SurrogateLike
from hntk.data.population import Population, estimate_population
from hntk.theory.architecture import Architecture, ArchitectureLike, as_architecture
from hntk.theory.coefficients import Coefficients, coefficients, kernel_weights
from hntk.theory.expanded_kernel import expanded_kernel, sample_directions
from hntk.theory.expansion import Expansions, expansions
from hntk.theory.low_rank_operator import StructuredKernel

Identity = Literal["default", "paper"]


class EquivalentKernels(NamedTuple):
    """Deterministic equivalents of both kernels.

    Attributes
    ----------
    ck : StructuredKernel
        Equivalent K̃_L of the conjugate kernel.
    ntk : StructuredKernel
        Equivalent Θ̃_L of the NTK.
    """

    ck: StructuredKernel
    ntk: StructuredKernel


def equivalent_kernels(
    x: object,
    labels: object,
    activations: ArchitectureLike,
    *,
    tau0: float | None = None,
    population: Population | None = None,
    kappa_sq: float | None = None,
    identity: Identity = "default",
    centre: bool = False,
    surrogate: SurrogateLike | Sequence[SurrogateLike | None] | None = None,
) -> EquivalentKernels:
    """Return the deterministic equivalents of a network's conjugate kernel and NTK on labelled data.

    For a list of activations they are those of Theorems 1 and 2 of Gu et al. (2022); for other architectures they have
    the coefficients of :func:`hntk.expansions`. See docs/theory.md, "From a network to its kernels" and "Networks as
    people have them".

    Parameters
    ----------
    x : array_like
        (n, p) samples with ‖x_i‖² ≈ τ_0². A memory map is never copied.
    labels : array_like
        (n,) class of each sample.
    activations : sequence of str or Activation, or Architecture
        One activation per layer, first layer first, or the description of any network.
    tau0 : float, optional
        Root mean square norm of a sample. By default that of the rows of ``x``.
    population : Population, optional
        Class means, traces and overlaps. By default they are estimated from the data.
    kappa_sq : float, optional
        The NTK's diagonal κ_L², to be declared when an activation jumps and has no surrogate. By default it is
        computed.
    identity : {"default", "paper"}
        Which coefficient the identity has. ``"paper"`` is that of the authors' code, whose error does not vanish. It is
        for the networks of the paper only.
    centre : bool
        Whether to return P K̃ P, P = I − 11ᵀ/n, which a regression with an intercept sees. What all samples have in
        common drops out: c, b and f. P acts on the identity too, so that the vector 1 has the eigenvalue 0.
    surrogate : str, Activation, Surrogate or sequence of them, optional
        What the backward pass has in the place of derivatives of staircases, see :func:`hntk.surrogate`. The NTK is
        then that of training with this straight-through estimator, whose diagonal is finite. For networks that are not
        plain it is symmetric with ``centre=True`` only.

    Returns
    -------
    EquivalentKernels
        Operators ``ck`` and ``ntk``, each of shape (n, n).

    Raises
    ------
    ValueError
        If data, labels or settings do not fit, or classes are too small to estimate their covariances.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=60, p=40, key=jax.random.key(0))
    >>> kernels = hntk.equivalent_kernels(data.x, data.labels, ["relu"])
    >>> kernels.ck.to_dense().shape
    (60, 60)
    """
    as_choice(identity, "identity", get_args(Identity))
    as_instance(centre, "centre", (bool, np.bool_), "True or False")
    declared = as_diagonal(kappa_sq)
    x = as_rows(x)
    # samples of one class are a mistake where their law is to be estimated, and not where it is known
    _, index = as_labels(labels, x.shape[0], least=2 if population is None else 1)
    scale = rms_norm(x) if tau0 is None else as_scale(tau0)
    net = as_architecture(activations)
    if identity == "paper" and not net.is_plain:
        raise ValueError(
            f"identity='paper' is for centred networks with unit weights and nothing else, not for {net!r}: leave "
            "identity out."
        )
    lowered = scale**4 if identity == "paper" else 0.0
    if net.is_plain and not centre:
        known = coefficients(net.layers, scale, surrogate=surrogate)
        return _of_theorems(x, index, _as_population(population, x, index), known, declared, lowered)
    both = expansions(net, scale, surrogate=surrogate)
    if not centre:
        _check_symmetric(both, net)
    ck, ntk = both.ck[-1], both.ntk[-1]
    if declared is not None:
        ntk = ntk._replace(q=declared)
    overlaps = _as_population(population, x, index).overlaps
    directions = sample_directions(x, index, scale, centre=bool(centre))
    return EquivalentKernels(
        *(expanded_kernel(x, k._replace(q=k.q - lowered * k.d), directions, overlaps, scale) for k in (ck, ntk))
    )


def _check_symmetric(known: Expansions, net: Architecture) -> None:
    """Refuse an NTK whose rows and columns have different coefficients, which no structured operator has."""
    rows, columns = known.ntk[-1], known.transposed[-1]
    if not np.allclose([rows.b, rows.f], [columns.b, columns.f], rtol=1e-10, atol=1e-12):
        raise ValueError(
            f"with a surrogate the NTK of {net!r} is not symmetric: centre=True gives the symmetric one that a "
            "regression with an intercept sees, hntk.expansions the coefficients, hntk.exact_kernels the kernel."
        )


def _of_theorems(
    x: np.ndarray,
    index: np.ndarray,
    population: Population,
    net: Coefficients,
    declared: float | None,
    lowered: float,
) -> EquivalentKernels:
    """Return the equivalents of Theorems 1 and 2, with identities lowered by a multiple of c_3."""
    tau0 = float(net.tau[0])
    v = _class_factor(x, index, population)
    check_result(v, "a sample's deviation from the norm of its class")

    def equivalent(kernel: str) -> StructuredKernel:
        (c1, c2, c3), level = kernel_weights(net, kernel, declared)
        return StructuredKernel(x, c1, v, _core(population, c2, c3), level - tau0**2 * c1 - lowered * c3)

    return EquivalentKernels(equivalent("ck"), equivalent("ntk"))


def _as_population(population: Population | None, x: np.ndarray, index: np.ndarray) -> Population:
    if population is None:
        return estimate_population(x, index)
    as_instance(population, "population", Population, "a hntk.Population, such as hntk.estimate_population gives")
    expected = (int(index.max()) + 1, x.shape[1])
    if population.means.shape != expected:
        raise ValueError(f"the population has means of shape {population.means.shape}, the data needs {expected}.")
    return population


def _class_factor(x: np.ndarray, index: np.ndarray, population: Population) -> Float[np.ndarray, "n K_plus_1"]:
    """Return V = [J/√p, ψ] for class labels J, where ψ_i = ‖x_i − μ_a/√p‖² − tr C_a/p."""
    p = x.shape[1]
    factor = np.zeros((len(x), len(population.means) + 1))
    factor[np.arange(len(x)), index] = 1 / np.sqrt(p)
    centres = population.means / np.sqrt(p)
    for part in row_blocks(x):
        own = index[part]
        factor[part, -1] = np.sum((x[part] - centres[own]) ** 2, axis=1) - population.traces[own]
    return factor


def _core(population: Population, c2: float, c3: float) -> Float[np.ndarray, "K_plus_1 K_plus_1"]:
    """Return A(c2, c3)."""
    extended = np.append(population.t, 1.0)
    core = c2 * np.outer(extended, extended)
    core[:-1, :-1] += c3 * population.overlaps
    return core
