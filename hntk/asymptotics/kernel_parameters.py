r"""The parameters of an equivalent kernel, and how the exact kernel depends on the norms of the samples.

The equivalent of a plain network's conjugate kernel (CK) or neural tangent kernel (NTK) has four parameters (Theorems 1
and 2 of Gu et al., 2022; docs/theory.md, "Data, kernels, and the regime"): the three coefficients of
:class:`KernelCoefficients` and a multiple of the identity.

The equivalent of any other network is, with the expansion of :mod:`hntk.theory.expansion` and
$\varepsilon_i = \|x_i\|^2 - \tau_0^2$,

$$\tilde K + 1h^\top + h1^\top,\qquad h_i = \tfrac c2 + b\varepsilon_i + f\varepsilon_i^2,$$

where $\tilde K$ has the form of the theorems with (a, e, d, q − c) for $(\alpha_1, \alpha_2, \alpha_3, \tau_L^2)$.
A regression with an intercept sees $PKP = P\tilde KP$, $P = I - 11^\top/n$, whatever h is. The exact kernel is
split in the same way (:mod:`hntk.asymptotics.norm_dependence`; docs/theory.md, "Networks with a constant direction").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hntk._utils.arguments import as_choice, as_diagonal, as_finite, as_instance, as_positive
from hntk.activations import Activation
from hntk.asymptotics.norm_dependence import NormDependence, last_expansion
from hntk.theory.architecture import Architecture, as_architecture
from hntk.theory.coefficients import Coefficients, coefficients, kernel_weights
from hntk.theory.expansion import expansions

KernelName = Literal["ck", "ntk"]


@dataclass(frozen=True)
class KernelCoefficients:
    """Parameters of the equivalent kernel c1·XXᵀ + V A(c2, c3) Vᵀ + γ·I, and of what all samples have in common.

    They follow Gu et al. (2022), Theorems 1 and 2, where V = [J/√p, ψ] has the class indicators J and the deviations ψ
    of the squared norms as columns. Networks that are not plain add 1hᵀ + h1ᵀ with h = c/2 + bε + fε² for the deviation
    ε of a sample's squared norm from τ_0².

    Attributes
    ----------
    gram : float
        The coefficient c1 of the Gram matrix: α_1 of the CK, β_1 of the NTK; a of an expansion.
    norms : float
        The coefficient c2 of the products of deviations of squared norms: α_2 or β_2; e of an expansion.
    quadratic : float
        The coefficient c3 of the traces tr(C_a C_b)/p: α_3 or β_3; d of an expansion.
    shift : float
        The multiple γ of the identity.
    scale : float
        The squared norm τ_0² of the samples that the kernel is made for.
    norm_dependence : NormDependence or None
        The exact kernel's dependence on norms, which predictions at finite size need. None if the coefficients were not
        made from activations.
    constant : float
        The number c that all pairs of samples have in common; 0 for a plain network.
    norm_slope : float
        The coefficient b of ε_i + ε_j; 0 for a plain network.
    norm_curvature : float
        The coefficient f of ε_i² + ε_j²; 0 for a plain network.
    centred : bool
        Whether the kernel is P K P with P = I − 11ᵀ/n, which a regression with an intercept sees.
    """

    gram: float
    norms: float
    quadratic: float
    shift: float
    scale: float = 1.0
    norm_dependence: NormDependence | None = None
    constant: float = 0.0
    norm_slope: float = 0.0
    norm_curvature: float = 0.0
    centred: bool = False

    def __post_init__(self) -> None:
        for name in ("gram", "norms", "quadratic", "shift", "constant", "norm_slope", "norm_curvature"):
            object.__setattr__(self, name, as_finite(getattr(self, name), name))
        object.__setattr__(self, "scale", as_positive(self.scale, "scale"))
        as_instance(self.centred, "centred", (bool, np.bool_), "True or False")

    def __repr__(self) -> str:
        common = f", constant={self.constant:.6g}" if self.has_common_part else ""
        centred = ", centred" if self.centred else ""
        exact = "" if self.norm_dependence is None else f", of {self.norm_dependence.network.depth} layers"
        return (
            f"KernelCoefficients(gram={self.gram:.6g}, norms={self.norms:.6g}, quadratic={self.quadratic:.6g}, "
            f"shift={self.shift:.6g}, scale={self.scale:.6g}{common}{centred}{exact})"
        )

    @property
    def has_common_part(self) -> bool:
        """Whether the kernel has 1hᵀ + h1ᵀ: the network is not plain, and the kernel is not centred."""
        return not self.centred and any((self.constant, self.norm_slope, self.norm_curvature))

    def exact_dependence(self) -> NormDependence:
        """Return the exact kernel's dependence on norms.

        Returns
        -------
        NormDependence
            The attribute ``norm_dependence``.

        Raises
        ------
        ValueError
            If the coefficients were made without the activations.
        """
        if self.norm_dependence is None:
            raise ValueError(
                "predictions at finite size are about the exact kernel, which coefficients alone do not determine: "
                "give the activations, or kernel_coefficients of them."
            )
        return self.norm_dependence


# A network: its activations or description, or coefficients made from them.
Net = Sequence[str | Activation] | Architecture | Coefficients | KernelCoefficients


def kernel_coefficients(
    net: Net,
    tau0: float,
    *,
    kernel: KernelName = "ck",
    kappa_sq: float | None = None,
    centre: bool | None = None,
) -> KernelCoefficients:
    """Return the parameters of a network's equivalent CK or NTK.

    Those of a plain network follow Gu et al. (2022), Theorems 1 and 2; those of others :func:`hntk.expansions`.

    Parameters
    ----------
    net : sequence of str or Activation, Architecture, Coefficients, or KernelCoefficients
        One activation per layer, or the description of any network; or the coefficients of a plain network, such as a
        compressed one, which have a scale of their own.
    tau0 : float
        The data scale τ_0, the root mean square norm of a sample.
    kernel : {"ck", "ntk"}
        The conjugate kernel or the neural tangent kernel.
    kappa_sq : float, optional
        The NTK's diagonal κ_L². It must be declared if an activation jumps, as the diagonal is then infinite.
    centre : bool, optional
        Whether the kernel is P K P, which a regression with an intercept sees. By default it is for a network that is
        not plain, and not for a plain one; coefficients that are made already stay as they are.

    Returns
    -------
    KernelCoefficients
        The parameters.

    Raises
    ------
    ValueError
        If the NTK's diagonal is infinite and not declared, the kernel is unknown, or a number does not fit.

    Examples
    --------
    >>> kernel_coefficients(["relu"], 1.0).gram
    0.25

    The network of He et al. with biases, behind an intercept and without one:

    >>> import hntk
    >>> he = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.3, centred=False)
    >>> print(kernel_coefficients(he, 1.0))
    KernelCoefficients(gram=0.31837, norms=0.115331, quadratic=0.135906, shift=0.200763, scale=1, centred, of 2 layers)
    >>> kernel_coefficients(he, 1.0, centre=False).constant
    0.5
    """
    as_choice(kernel, "kernel", ("ck", "ntk"))
    declared = None if kernel == "ck" else as_diagonal(kappa_sq)
    if centre is not None:
        as_instance(centre, "centre", (bool, np.bool_), "True, False or None")
    if isinstance(net, KernelCoefficients):
        return net if centre is None else replace(net, centred=bool(centre))
    if isinstance(net, Coefficients):
        return _of_layers(net, kernel, declared, None, bool(centre))
    network = as_architecture(net)
    if network.is_plain:
        return _of_layers(coefficients(network.layers, tau0), kernel, declared, network, bool(centre))
    seen = expansions(network, tau0)
    last = last_expansion(network, float(tau0), kernel, declared, seen.centres)
    gram, norms, quadratic, level = last.centred
    scale = float(tau0) ** 2
    dependence = NormDependence(network, seen.centres, kernel == "ntk", declared)
    shift = _as_known(level) - scale * gram
    return KernelCoefficients(
        gram, norms, quadratic, shift, scale, dependence, last.c, last.b, last.f, centre is None or bool(centre)
    )


def _of_layers(
    of_layers: Coefficients, kernel: KernelName, declared: float | None, network: Architecture | None, centre: bool
) -> KernelCoefficients:
    """Return the parameters of a plain network; without its activations the exact kernel is not known."""
    (c1, c2, c3), diagonal = kernel_weights(of_layers, kernel, declared)
    scale, dependence = float(of_layers.tau[0]) ** 2, None
    if network is not None:
        dependence = NormDependence(network, of_layers.centres, kernel == "ntk", declared)
    return KernelCoefficients(c1, c2, c3, _as_known(diagonal) - scale * c1, scale, dependence, centred=centre)


def _as_known(diagonal: float) -> float:
    """Return a kernel's diagonal, or refuse one that is infinite."""
    if not np.isfinite(diagonal):
        raise ValueError("the NTK of a network with jumps has an infinite diagonal: declare one with kappa_sq=.")
    return diagonal
