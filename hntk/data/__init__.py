"""Labelled samples: data sets read from disk, Gaussian mixtures, and what the theory takes of either."""

from hntk.data.dataset import Dataset, load_dataset
from hntk.data.mixture import Mixture, gaussian_mixture, reference_mixture
from hntk.data.normalization import Normalization
from hntk.data.population import Population, estimate_population
from hntk.data.row_files import RowFiles, open_rows

__all__ = [
    "Dataset",
    "Mixture",
    "Normalization",
    "Population",
    "RowFiles",
    "estimate_population",
    "gaussian_mixture",
    "load_dataset",
    "open_rows",
    "reference_mixture",
]
