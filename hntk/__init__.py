"""hntk: high-dimensional neural tangent kernels, and ternary networks with the same spectrum."""

from hntk.activations import Activation, Moments, Staircase, activation, activation_names, register_activation, staircase
from hntk.coefficients import Coefficients, coefficients
from hntk.equivalents import EquivalentKernels, StructuredKernel, equivalent_kernels
from hntk.kernels import Kernels, empirical_kernels, exact_kernels
from hntk.mixture import Mixture, gaussian_mixture, reference_mixture
from hntk.network import Network, dense, draw_network
from hntk.population import Population, estimate_population
from hntk.weights import WeightLaw, WeightMatrix
