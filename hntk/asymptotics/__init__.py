"""Spectra of kernels, and what is learned with them, from population quantities alone, in the limit and at a size."""

from hntk.asymptotics.density import LimitingDensity, limiting_density
from hntk.asymptotics.estimation import estimate_law
from hntk.asymptotics.finite_density import FiniteSizeDensity, finite_size_density
from hntk.asymptotics.finite_width import FiniteWidth, RandomFeatures
from hntk.asymptotics.kernel_parameters import KernelCoefficients, kernel_coefficients
from hntk.asymptotics.learning import Learned, ScoreLaw, gradient_flow, optimal_ridge, ridge_regression
from hntk.asymptotics.limiting_spikes import Spike, spikes
from hntk.asymptotics.mixture_law import MixtureLaw

__all__ = [
    "FiniteSizeDensity",
    "FiniteWidth",
    "KernelCoefficients",
    "Learned",
    "LimitingDensity",
    "MixtureLaw",
    "RandomFeatures",
    "ScoreLaw",
    "Spike",
    "estimate_law",
    "finite_size_density",
    "gradient_flow",
    "kernel_coefficients",
    "limiting_density",
    "optimal_ridge",
    "ridge_regression",
    "spikes",
]
