"""The numbers an equivalent kernel is made of, and how the exact kernel depends on norms."""

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
from hntk.theory.coefficients import Coefficients, as_activations, coefficients

Kind = Literal["ck", "ntk"]
# the largest correlation of two samples: at 1 the NTK of a network with jumps is infinite
NEAREST = 0.95
# norms at which a function of them is found, from which it is interpolated
NODES = 12
# values of kernels that are kept
REMEMBERED = 4096


@dataclass(frozen=True)
class NormDependence:
    """How a kernel depends on ‖x‖²: its activations are centred for one norm and see others.

    Attributes
    ----------
    layers : the activations.
    centres : what is subtracted from each.
    ntk : whether the kernel is the NTK.
    level : the diagonal, where it is declared.
    """

    layers: tuple[Activation, ...]
    centres: tuple[float, ...]
    ntk: bool
    level: float | None = None

    def at(self, square: float) -> tuple[float, float]:
        """(diagonal, coefficient of x_iᵀx_j) for ‖x_i‖² = ‖x_j‖² = square."""
        net = coefficients(self.layers, float(np.sqrt(square)), centres=self.centres)
        variance, gram = float(net.tau[-1] ** 2), float(net.alpha[-1, 0])
        diagonal, gram_ntk = float(net.kappa_sq[-1]), float(net.beta[-1, 0])
        level, found = (diagonal, gram_ntk) if self.ntk else (variance, gram)
        return (level if self.level is None else self.level), found

    def orthogonal(self, square: float, scale: float) -> float:
        """φ: the root of the kernel of two orthogonal samples of this norm², of the sign of its excess over τ_0²."""
        found = _exact(self, square, (0.0,), scale)[0]
        return float(np.sign(square - scale) * np.sqrt(max(found, 0.0)))

    def across(self, scale: float, products: Float[np.ndarray, ...], square: float) -> Float[np.ndarray, ...]:
        """The kernel of samples of one norm² and of these inner products, those that nearly coincide moved apart."""
        r = np.clip(products.ravel() / square, -NEAREST, NEAREST)
        return _exact(self, square, tuple(map(float, r)), scale).reshape(products.shape)


@lru_cache(maxsize=REMEMBERED)
def _exact(
    seen: NormDependence, square: float, correlations: tuple[float, ...], scale: float
) -> Float[np.ndarray, " m"]:
    """By the exact kernels: what theory asks for again at every ridge and n."""
    r, root = np.array(correlations), np.sqrt(square)
    others = root * np.stack([r, np.sqrt(1 - r**2)], axis=1)
    with float64():
        found = exact_kernels(
            root * np.eye(1, 2), seen.layers, x2=others, tau0=float(np.sqrt(scale)), kappa_sq=seen.level
        )
        return np.asarray(found.ntk if seen.ntk else found.ck, dtype=float)[0]


@dataclass(frozen=True)
class KernelCoefficients:
    """Of c1·XXᵀ + V A(c2, c3) Vᵀ + shift·I.

    Attributes
    ----------
    gram, norms, quadratic : c1, c2, c3.
    shift : γ.
    scale : τ_0², the squared norm they are made for.
    norms_seen : how the kernel depends on other norms, for finite sizes; None where activations were not given.
    """

    gram: float
    norms: float
    quadratic: float
    shift: float
    scale: float = 1.0
    norms_seen: NormDependence | None = None

    def __post_init__(self) -> None:
        for name in ("gram", "norms", "quadratic", "shift"):
            object.__setattr__(self, name, as_finite(getattr(self, name), name))
        object.__setattr__(self, "scale", as_positive(self.scale, "scale"))

    @property
    def seen(self) -> NormDependence:
        """How the kernel depends on norms.

        Raises
        ------
        ValueError
            If the coefficients were made without the activations.
        """
        if self.norms_seen is None:
            raise ValueError(
                "finite sizes are about the kernel itself, which coefficients do not tell: give the activations, or "
                "kernel_coefficients of them."
            )
        return self.norms_seen


def by_norm(
    squares: Float[np.ndarray, " q"], find: Callable[[float], Float[np.ndarray, " m"]]
) -> Float[np.ndarray, "m q"]:
    """A smooth function of norms²; where there are many, interpolated in their logarithms."""
    low, high = np.log([squares.min(), squares.max()])
    if squares.size <= NODES or high - low < 1e-9:
        return np.array([find(float(s)) for s in squares]).T
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    return barycentric_interpolate(nodes, np.array([find(float(s)) for s in np.exp(nodes)]), np.log(squares)).T


Net = Sequence[str | Activation] | Coefficients | KernelCoefficients


def kernel_coefficients(
    net: Net, tau0: float, *, kernel: Kind = "ck", kappa_sq: float | None = None
) -> KernelCoefficients:
    """Of a network's equivalent CK or NTK.

    Parameters
    ----------
    net : one activation per layer; or coefficients, as of a compressed network, which are at their own scale.
    tau0 : data scale.
    kernel : ``"ck"`` or ``"ntk"``.
    kappa_sq : the NTK's diagonal κ_L², to be declared when an activation jumps.

    Raises
    ------
    ValueError
        If the NTK's diagonal is infinite, or the kernel unknown.

    Examples
    --------
    >>> kernel_coefficients(["relu"], 1.0).gram
    0.25
    """
    as_choice(kernel, "kernel", ("ck", "ntk"))
    declared = None if kernel == "ck" else as_diagonal(kappa_sq)
    if isinstance(net, KernelCoefficients):
        return net
    found = net if isinstance(net, Coefficients) else coefficients(net, tau0)
    rows, levels = (found.alpha, found.tau**2) if kernel == "ck" else (found.beta, found.kappa_sq)
    level = float(levels[-1]) if declared is None else declared
    if not np.isfinite(level):
        raise ValueError("the NTK of a network with jumps has an infinite diagonal: declare one with kappa_sq=.")
    c1, c2, c3 = map(float, rows[-1][:3])
    scale, seen = float(found.tau[0]) ** 2, None
    if not isinstance(net, Coefficients):
        seen = NormDependence(as_activations(net), found.centres, kernel == "ntk", declared)
    return KernelCoefficients(c1, c2, c3, level - scale * c1, scale, seen)
