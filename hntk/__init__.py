"""hntk: high-dimensional neural tangent kernels, and ternary networks with the same spectrum."""

from hntk import asymptotics
from hntk.account import LossAccount
from hntk.activations import (
    Activation,
    Moments,
    Staircase,
    activation,
    activation_names,
    register_activation,
    staircase,
)
from hntk.applicability import Applicability, Finding, check
from hntk.classifier import Classifier
from hntk.coefficients import Coefficients, coefficients
from hntk.comparison import KernelComparison, Spectrum, compare_kernels, operator_norm, spectrum
from hntk.compression import CompressedNetwork, compress
from hntk.counting import Arithmetic, arithmetic
from hntk.datasets import Dataset, load_dataset
from hntk.design import Design
from hntk.equivalents import EquivalentKernels, equivalent_kernels
from hntk.files import FileError, load, save
from hntk.integers import IntegerClassifier, IntegerNetwork, NotIntegerError
from hntk.kernels import (
    EmpiricalNTK,
    Kernels,
    empirical_kernels,
    empirical_parts,
    exact_kernels,
    sharded_kernels,
    stax_kernel_fn,
    store_kernels,
)
from hntk.matching import Certificate, DataFit, Match, MatchError, match, share_bound
from hntk.mixture import Mixture, gaussian_mixture, reference_mixture
from hntk.network import Network, dense, draw_network
from hntk.normalization import Normalization
from hntk.origin import DataStatistics, MatchRecord
from hntk.planning import plan
from hntk.population import Population, estimate_population
from hntk.regression import EquivalentRegression, QuadraticForms, fit_equivalent
from hntk.ridge import RidgeClassifier, fit_ridge
from hntk.rounding import on_grid, to_integers
from hntk.softmax import SoftmaxClassifier, fit_softmax
from hntk.spectra import Eigenpairs, SpectralDensity, leading_eigenpairs, spectral_density
from hntk.storage import Storage, storage
from hntk.structured import StructuredKernel
from hntk.summary import Summary, summarize
from hntk.task import TaskAccuracy
from hntk.training import Schedule, TrainingError
from hntk.weights import WeightLaw, WeightMatrix, weight_law

__version__ = "0.1.0"
__all__ = [
    "Activation",
    "Applicability",
    "Arithmetic",
    "Certificate",
    "Classifier",
    "Coefficients",
    "CompressedNetwork",
    "DataFit",
    "DataStatistics",
    "Dataset",
    "Design",
    "Eigenpairs",
    "EmpiricalNTK",
    "EquivalentKernels",
    "EquivalentRegression",
    "FileError",
    "Finding",
    "KernelComparison",
    "IntegerClassifier",
    "IntegerNetwork",
    "Kernels",
    "LossAccount",
    "Match",
    "MatchError",
    "MatchRecord",
    "Mixture",
    "Moments",
    "Network",
    "Normalization",
    "NotIntegerError",
    "Population",
    "QuadraticForms",
    "RidgeClassifier",
    "Schedule",
    "SoftmaxClassifier",
    "SpectralDensity",
    "Spectrum",
    "Staircase",
    "Storage",
    "StructuredKernel",
    "Summary",
    "TaskAccuracy",
    "TrainingError",
    "WeightLaw",
    "WeightMatrix",
    "activation",
    "activation_names",
    "arithmetic",
    "asymptotics",
    "check",
    "coefficients",
    "compare_kernels",
    "compress",
    "dense",
    "draw_network",
    "empirical_kernels",
    "empirical_parts",
    "equivalent_kernels",
    "estimate_population",
    "exact_kernels",
    "fit_equivalent",
    "fit_ridge",
    "fit_softmax",
    "gaussian_mixture",
    "leading_eigenpairs",
    "load",
    "load_dataset",
    "match",
    "on_grid",
    "operator_norm",
    "plan",
    "reference_mixture",
    "register_activation",
    "save",
    "share_bound",
    "sharded_kernels",
    "spectral_density",
    "spectrum",
    "staircase",
    "stax_kernel_fn",
    "storage",
    "store_kernels",
    "summarize",
    "to_integers",
    "weight_law",
]
