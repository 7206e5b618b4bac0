"""Limits of the equivalent kernels' spectra, and of learning with them, from population quantities alone."""

from hntk.asymptotics.density import LimitingDensity, limiting_density
from hntk.asymptotics.estimation import estimate_law
from hntk.asymptotics.kernel import KernelCoefficients, kernel_coefficients
from hntk.asymptotics.law import MixtureLaw
from hntk.asymptotics.learning import Learned, ScoreLaw, gradient_flow, optimal_ridge, ridge_regression
from hntk.asymptotics.spikes import Spike, spikes
from hntk.asymptotics.widths import FiniteWidth, RandomFeatures

__all__ = [
    "FiniteWidth",
    "KernelCoefficients",
    "Learned",
    "LimitingDensity",
    "MixtureLaw",
    "RandomFeatures",
    "ScoreLaw",
    "Spike",
    "estimate_law",
    "gradient_flow",
    "kernel_coefficients",
    "limiting_density",
    "optimal_ridge",
    "ridge_regression",
    "spikes",
]
