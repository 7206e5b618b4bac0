"""Parameters that all estimators with a compressed network share, and how it is drawn for samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax import Array
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from hntk._utils.float64 import float64
from hntk.activations import Activation
from hntk.compression.compressed_network import CompressedNetwork, compress
from hntk.data.normalization import Normalization
from hntk.data.scaling import Scaling
from hntk.deploy.rounding import on_grid
from hntk.matching import Levels, Match
from hntk.matching.options import Method
from hntk.networks.read_layers import ReadLayers, as_read_layers
from hntk.theory.architecture import ArchitectureLike


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Return a seed: ``random_state`` where that is a number, or drawn from it."""
    if isinstance(random_state, int | np.integer):
        check_random_state(random_state)  # refuses what scikit-learn does not take
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def random_key(seed: int) -> Array:
    """Return a random key of which all bits of the seed count, whatever precision JAX is set to."""
    with float64():
        return jax.random.key(seed)


class NetworkParameters(BaseEstimator):
    """What estimators with a compressed network take, and the drawing of that network.

    Parameters
    ----------
    widths : int or sequence of int
        Number of neurons of each hidden layer.
    activations : str, Activation, sequence of these, Architecture or model
        The dense network whose kernel is kept, as :func:`hntk.compress` takes it; one activation is that of every
        layer.
    levels : int, "paper", sequence of these, or Match
        Number of levels of the staircases, for all layers or one each, or a match made by :func:`hntk.match`.
    sparsity : float
        Share of zero weights, in [0, 1).
    weights : {"orthogonal", "iid"} or None
        Ternary weights in orthogonal blocks, or independent ones; None takes orthogonal ones where the sparsity is
        1 − 2⁻ᵏ.
    method : {"joint", "layerwise"} or None
        How activations are matched; None matches layer by layer where all layers are read.
    alpha2 : bool
        Whether α_2 is matched too.
    layers : {"last", "all"}
        Whose features are taken: the last layer's, or those of all layers side by side.
    normalize : bool or {"scale", "unit_norm", "whiten"}
        What samples go through first, see :meth:`hntk.Normalization.of`.
    random_state : int, RandomState or None
        What the weights are drawn from.
    """

    normalize: bool | Scaling
    layers: ReadLayers
    method: Method | None
    weights: Literal["orthogonal", "iid"] | None
    levels: Any
    widths: Any
    activations: Any
    n_features_in_: int

    def __init__(
        self,
        widths: int | Sequence[int] = (512, 512),
        activations: ArchitectureLike | str | Activation | Any = "relu",
        *,
        levels: Levels | Sequence[Levels] | Match = 4,
        sparsity: float = 0.5,
        weights: Literal["orthogonal", "iid"] | None = None,
        method: Method | None = None,
        alpha2: bool = True,
        layers: ReadLayers = "last",
        normalize: bool | Scaling = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.widths = widths
        self.activations = activations
        self.levels = levels
        self.sparsity = sparsity
        self.weights = weights
        self.method = method
        self.alpha2 = alpha2
        self.layers = layers
        self.normalize = normalize
        self.random_state = random_state

    def _draw_network(self, X: np.ndarray, seed: int) -> np.ndarray:
        """Set the normalisation and the network for raw samples, and return the normalised samples."""
        as_read_layers(self.layers)
        self.normalization_ = Normalization.of(X, self.normalize)
        samples = np.asarray(self.normalization_(X))
        network = compress(
            self._original(), self.widths, samples, self.levels, self.sparsity, key=random_key(seed),
            weights=self.weights, method=self._method(), alpha2=self.alpha2,
        )  # fmt: skip
        # a readout is fitted on the features that whole numbers give, and after the first layer sums are exact
        self.network_: CompressedNetwork = on_grid(network)
        self.match_ = network.match
        return samples

    def _original(self) -> Any:
        """Return the dense network, with one activation for each of the widths where only one was given."""
        if not isinstance(self.activations, str | Activation):
            return self.activations
        return [self.activations] * (len(self.widths) if isinstance(self.widths, Sequence | np.ndarray) else 1)

    def _method(self) -> Method | None:
        if self.method is None and self.layers == "all" and not isinstance(self.levels, Match):
            return "layerwise"
        return self.method
