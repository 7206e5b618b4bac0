"""The parameters of an equivalent kernel, and how the exact kernel depends on the norms of the samples.

The equivalent of a conjugate kernel (CK) or neural tangent kernel (NTK) has four parameters (Theorems 1 and 2 of Gu et
al., 2022; docs/theory.md, "Data, kernels, and the regime"): the three coefficients of :class:`KernelCoefficients` and a
multiple of the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.interpolate import barycentric_interpolate

from hntk._utils.arguments import as_choice, as_diagonal, as_finite, as_positive
from hntk._utils.float64 import float64
from hntk.activations import Activation
from hntk.kernels.exact import exact_kernels
from hntk.theory.architecture import as_activations
from hntk.theory.coefficients import Coefficients, coefficients, kernel_weights

KernelName = Literal["ck", "ntk"]
# Correlations of samples are clipped to this: at 1 the NTK of a network with jumps is infinite.
LARGEST_CORRELATION = 0.95
# Chebyshev nodes from which functions of the norm are interpolated.
NORM_NODES = 12


@dataclass(frozen=True)
class NormDependence:
    """The dependence of an exact kernel on ‖x‖², where its activations are centred for samples of norm τ_0.

    Attributes
    ----------
    layers : tuple of Activation
        The activations, first layer first.
    centres : tuple of float
        The constant that is subtracted from each activation.
    ntk : bool
        Whether the kernel is the NTK rather than the CK.
    declared_diagonal : float or None
        The NTK's diagonal κ_L² where the user declared one, else None.
    """

    layers: tuple[Activation, ...]
    centres: tuple[float, ...]
    ntk: bool
    declared_diagonal: float | None = None

    def at(self, square: float) -> tuple[float, float]:
        """Return the diagonal, and the coefficient of x_iᵀx_j, for samples with ‖x_i‖² = ‖x_j‖² = ``square``."""
        net = coefficients(self.layers, float(np.sqrt(square)), centres=self.centres)
        (gram, _, _), level = kernel_weights(net, "ntk" if self.ntk else "ck", self.declared_diagonal)
        return level, gram

    def orthogonal(self, square: float, scale: float) -> float:
        """Return φ for this norm²: φ² is the kernel of two orthogonal samples, and its sign that of norm² − τ_0²."""
        value = _exact_kernel(self, square, (0.0,), scale)[0]
        return float(np.sign(square - scale) * np.sqrt(max(value, 0.0)))

    def across(self, scale: float, products: Float[np.ndarray, ...], square: float) -> Float[np.ndarray, ...]:
        """Return the kernel of two samples with one norm² and these inner products; correlations are clipped to .95."""
        correlations = np.clip(products.ravel() / square, -LARGEST_CORRELATION, LARGEST_CORRELATION)
        return _exact_kernel(self, square, tuple(map(float, correlations)), scale).reshape(products.shape)


# Theory asks for the same values at every ridge and every n.
@lru_cache(maxsize=4096)
def _exact_kernel(
    dependence: NormDependence, square: float, correlations: tuple[float, ...], scale: float
) -> Float[np.ndarray, " m"]:
    """Return the exact kernel of a sample with others of the same norm² and these correlations with it."""
    r, norm = np.array(correlations), np.sqrt(square)
    others = norm * np.stack([r, np.sqrt(1 - r**2)], axis=1)
    with float64():
        kernels = exact_kernels(
            norm * np.eye(1, 2),
            dependence.layers,
            x2=others,
            tau0=float(np.sqrt(scale)),
            kappa_sq=dependence.declared_diagonal,
        )
        return np.asarray(kernels.ntk if dependence.ntk else kernels.ck, dtype=float)[0]


@dataclass(frozen=True)
class KernelCoefficients:
    """Parameters of the equivalent kernel c1·XXᵀ + V A(c2, c3) Vᵀ + γ·I.

    They follow Gu et al. (2022), Theorems 1 and 2, where V = [J/√p, ψ] has the class indicators J and the deviations ψ
    of the squared norms as columns.

    Attributes
    ----------
    gram : float
        The coefficient c1 of the Gram matrix: α_1 of the CK, β_1 of the NTK.
    norms : float
        The coefficient c2 of the products of deviations of squared norms: α_2 or β_2.
    quadratic : float
        The coefficient c3 of the traces tr(C_a C_b)/p: α_3 or β_3.
    shift : float
        The multiple γ of the identity.
    scale : float
        The squared norm τ_0² of the samples that the kernel is made for.
    norm_dependence : NormDependence or None
        The exact kernel's dependence on norms, which predictions at finite size need. None if the coefficients were not
        made from activations.
    """

    gram: float
    norms: float
    quadratic: float
    shift: float
    scale: float = 1.0
    norm_dependence: NormDependence | None = None

    def __post_init__(self) -> None:
        for name in ("gram", "norms", "quadratic", "shift"):
            object.__setattr__(self, name, as_finite(getattr(self, name), name))
        object.__setattr__(self, "scale", as_positive(self.scale, "scale"))

    def __repr__(self) -> str:
        exact = "" if self.norm_dependence is None else f", of {len(self.norm_dependence.layers)} layers"
        return (
            f"KernelCoefficients(gram={self.gram:.6g}, norms={self.norms:.6g}, quadratic={self.quadratic:.6g}, "
            f"shift={self.shift:.6g}, scale={self.scale:.6g}{exact})"
        )

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


# A network: its activations, or coefficients made from them.
Net = Sequence[str | Activation] | Coefficients | KernelCoefficients


def kernel_coefficients(
    net: Net, tau0: float, *, kernel: KernelName = "ck", kappa_sq: float | None = None
) -> KernelCoefficients:
    """Return the parameters of a network's equivalent CK or NTK (Gu et al., 2022, Theorems 1 and 2).

    Parameters
    ----------
    net : sequence of str or Activation, Coefficients, or KernelCoefficients
        One activation per layer; or the coefficients of a network, such as a compressed one, which have a scale of
        their own.
    tau0 : float
        The data scale τ_0, the root mean square norm of a sample.
    kernel : {"ck", "ntk"}
        The conjugate kernel or the neural tangent kernel.
    kappa_sq : float, optional
        The NTK's diagonal κ_L². It must be declared if an activation jumps, as the diagonal is then infinite.

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
    """
    as_choice(kernel, "kernel", ("ck", "ntk"))
    declared = None if kernel == "ck" else as_diagonal(kappa_sq)
    if isinstance(net, KernelCoefficients):
        return net
    of_layers = net if isinstance(net, Coefficients) else coefficients(net, tau0)
    (c1, c2, c3), diagonal = kernel_weights(of_layers, kernel, declared)
    if not np.isfinite(diagonal):
        raise ValueError("the NTK of a network with jumps has an infinite diagonal: declare one with kappa_sq=.")
    scale, dependence = float(of_layers.tau[0]) ** 2, None
    if not isinstance(net, Coefficients):
        dependence = NormDependence(as_activations(net), of_layers.centres, kernel == "ntk", declared)
    return KernelCoefficients(c1, c2, c3, diagonal - scale * c1, scale, dependence)


def interpolated_over_norms(
    squares: Float[np.ndarray, " q"], function: Callable[[float], Float[np.ndarray, " m"]]
) -> Float[np.ndarray, "m q"]:
    """Return a smooth function of norm² at every point; where there are many, interpolated in the logarithm."""
    low, high = np.log([squares.min(), squares.max()])
    if squares.size <= NORM_NODES or high - low < 1e-9:
        return np.array([function(float(s)) for s in squares]).T
    angles = np.pi * (np.arange(NORM_NODES) + 0.5) / NORM_NODES
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    return barycentric_interpolate(nodes, np.array([function(float(s)) for s in np.exp(nodes)]), np.log(squares)).T
