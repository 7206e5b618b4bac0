"""hntk: high-dimensional neural tangent kernels, and ternary networks with the same spectrum."""

from hntk import asymptotics
from hntk.activations import (
    Activation,
    Moments,
    Staircase,
    Surrogate,
    activation,
    activation_names,
    register_activation,
    staircase,
    surrogate,
)
from hntk.compression.applicability import Applicability, Finding, check
from hntk.compression.compressed_network import CompressedNetwork, compress
from hntk.compression.design import Design
from hntk.compression.error_budget import LossAccount
from hntk.compression.planning import plan
from hntk.data import Dataset, RowFiles, load_dataset, open_rows
from hntk.data.mixture import Mixture, gaussian_mixture, reference_mixture
from hntk.data.normalization import Normalization
from hntk.data.population import Population, estimate_population
from hntk.deploy.rounding import on_grid, to_integers
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
from hntk.kernels.layer_statistics import LayerStatistics, TrainingStatistics, training_statistics
from hntk.matching import Certificate, DataFit, Match, MatchError, match, share_bound
from hntk.networks.classifier import Classifier
from hntk.networks.drawing import dense, draw_network
from hntk.networks.formula_bytes import Storage, storage
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, PooledPixels, Rounded
from hntk.networks.integer_network import IntegerNetwork, NotIntegerError
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.integer_steps import NeuronSteps, Steps
from hntk.networks.models.reading import from_model
from hntk.networks.network import Network
from hntk.networks.operation_counts import Arithmetic, arithmetic
from hntk.networks.provenance import DataStatistics, MatchRecord
from hntk.networks.regressor import Regressor
from hntk.networks.saving import FileError, load, save
from hntk.networks.spaced_steps import SpacedSteps
from hntk.networks.summary import summarize
from hntk.networks.summary_table import Summary
from hntk.networks.training_record import TrainingRecord
from hntk.readouts.equivalent_ridge import (
    EquivalentClassifier,
    EquivalentRegression,
    EquivalentRegressor,
    fit_equivalent,
)
from hntk.readouts.gradient_options import ConjugateGradients, Convergence
from hntk.readouts.held_out import TaskAccuracy
from hntk.readouts.kernel_regression import KernelClassifier, KernelRegression, KernelRegressor, fit_kernel
from hntk.readouts.quadratic_forms import QuadraticForms
from hntk.readouts.ridge import RidgeClassifier, RidgeRegressor, fit_ridge
from hntk.readouts.softmax import SoftmaxClassifier, fit_softmax
from hntk.readouts.training import Schedule, TrainingError
from hntk.solvers.conjugate_gradients import ConvergenceError
from hntk.spectra.comparison import KernelComparison, Spectrum, compare_kernels, operator_norm, spectrum
from hntk.spectra.density import SpectralDensity, spectral_density
from hntk.spectra.eigenpairs import Eigenpairs, leading_eigenpairs
from hntk.theory.architecture import Architecture, LayerScales
from hntk.theory.calibrated_surrogates import calibrated_surrogates
from hntk.theory.centred_layers import centred_coefficients
from hntk.theory.coefficients import Coefficients, coefficients
from hntk.theory.equivalents import EquivalentKernels, equivalent_kernels
from hntk.theory.expansion import Expansion, Expansions, expansions
from hntk.theory.low_rank_operator import StructuredKernel
from hntk.training.augmentation import Augmentation
from hntk.training.few_level_training import train
from hntk.weights.laws import WeightLaw, weight_law
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import WeightMatrix

__version__ = "0.2.0"
__all__ = [
    "Activation",
    "Applicability",
    "Architecture",
    "Arithmetic",
    "Augmentation",
    "Certificate",
    "Classifier",
    "Coefficients",
    "CompressedNetwork",
    "ConjugateGradients",
    "Convergence",
    "ConvergenceError",
    "DataFit",
    "DataStatistics",
    "Dataset",
    "Design",
    "Eigenpairs",
    "EmpiricalNTK",
    "EquivalentClassifier",
    "EquivalentKernels",
    "EquivalentRegression",
    "EquivalentRegressor",
    "Expansion",
    "Expansions",
    "FileError",
    "Finding",
    "IntegerClassifier",
    "IntegerNetwork",
    "IntegerRegressor",
    "KernelClassifier",
    "KernelComparison",
    "KernelRegression",
    "KernelRegressor",
    "Kernels",
    "LayerScales",
    "LayerStatistics",
    "LossAccount",
    "Match",
    "MatchError",
    "MatchRecord",
    "Mixture",
    "Moments",
    "Network",
    "NeuronSteps",
    "Normalization",
    "NotIntegerError",
    "OrthogonalMatrix",
    "Pixels",
    "PooledPixels",
    "Population",
    "QuadraticForms",
    "Regressor",
    "RidgeClassifier",
    "RidgeRegressor",
    "Rounded",
    "RowFiles",
    "Schedule",
    "SoftmaxClassifier",
    "SpacedSteps",
    "SpectralDensity",
    "Spectrum",
    "Staircase",
    "Steps",
    "Storage",
    "StructuredKernel",
    "Summary",
    "Surrogate",
    "TaskAccuracy",
    "TrainingError",
    "TrainingRecord",
    "TrainingStatistics",
    "WeightLaw",
    "WeightMatrix",
    "activation",
    "activation_names",
    "arithmetic",
    "asymptotics",
    "calibrated_surrogates",
    "centred_coefficients",
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
    "expansions",
    "fit_equivalent",
    "fit_kernel",
    "fit_ridge",
    "fit_softmax",
    "from_model",
    "gaussian_mixture",
    "leading_eigenpairs",
    "load",
    "load_dataset",
    "match",
    "on_grid",
    "open_rows",
    "operator_norm",
    "plan",
    "reference_mixture",
    "register_activation",
    "save",
    "sharded_kernels",
    "share_bound",
    "spectral_density",
    "spectrum",
    "staircase",
    "stax_kernel_fn",
    "storage",
    "store_kernels",
    "summarize",
    "surrogate",
    "to_integers",
    "train",
    "training_statistics",
    "weight_law",
]
