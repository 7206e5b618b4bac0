"""Spectra of kernels and errors of learning, predicted from the law of the data alone.

:class:`LimitingKernel` is a network's kernel on n samples of a :class:`MixtureLaw`. Its methods give the density of its
eigenvalues, its spikes, and the errors of ridge regression and gradient flow: in the limit of large n and p, or at the
given size. The functions do the same in one call. Formulas and derivations are in docs/theory.md.
"""

from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.estimation import estimate_law
from hntk.asymptotics.finite_density import FiniteSizeDensity
from hntk.asymptotics.finite_width import FiniteWidth, RandomFeatures
from hntk.asymptotics.kernel_noise import kernel_error
from hntk.asymptotics.kernel_parameters import KernelCoefficients, kernel_coefficients
from hntk.asymptotics.learning import Learned, ScoreLaw
from hntk.asymptotics.limiting_kernel import LimitingKernel
from hntk.asymptotics.limiting_spikes import Spike
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import (
    finite_size_density,
    gradient_flow,
    limiting_density,
    optimal_ridge,
    ridge_regression,
    spikes,
)

__all__ = [
    "FiniteSizeDensity",
    "FiniteWidth",
    "KernelCoefficients",
    "Learned",
    "LimitingDensity",
    "LimitingKernel",
    "MixtureLaw",
    "RandomFeatures",
    "ScoreLaw",
    "Spike",
    "estimate_law",
    "finite_size_density",
    "gradient_flow",
    "kernel_coefficients",
    "kernel_error",
    "limiting_density",
    "optimal_ridge",
    "ridge_regression",
    "spikes",
]
