"""A transformer whose features are those of a compressed network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import validate_data

from hntk.activations import Activation
from hntk.data.scaling import Scaling
from hntk.matching import Levels, Match
from hntk.matching.options import Method
from hntk.networks.read_layers import ReadLayers, read_widths
from hntk.sklearn.answers import new_samples
from hntk.sklearn.network_parameters import NetworkParameters, draw_seed
from hntk.theory.architecture import ArchitectureLike


class TernaryFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NetworkParameters):
    """Features of a random network with weights in {0, ±1} that has the kernel of a dense one on the data.

    ``fit`` normalises the samples, solves for activations of few levels whose conjugate kernel is that of the dense
    network, and draws the ternary weights. ``transform`` gives what the layers' neurons say: the inner products of two
    samples' features approximate the kernel of the dense network, as those of random Fourier features do the Gaussian
    kernel's. Labels are not used.

    Parameters
    ----------
    widths : int or sequence of int, default=(512, 512)
        Number of neurons of each hidden layer.
    activations : str, Activation, sequence of these, Architecture or model, default="relu"
        The dense network whose kernel is kept: a name such as ``"relu"`` or ``"erf"`` for every layer, one for each, or
        anything that :func:`hntk.compress` takes.
    levels : int, "paper", sequence of these, or Match, default=4
        Number of values that each neuron takes, from 2 to 16; one for all layers or one each. Or a match made by
        :func:`hntk.match`.
    sparsity : float, default=0.5
        Share of zero weights, in [0, 1).
    weights : {"orthogonal", "iid"} or None, default=None
        Ternary weights in orthogonal blocks, which are nearer to their limit, or independent ones. None takes
        orthogonal ones where the sparsity is 1 − 2⁻ᵏ: 0, .5, .75, …
    method : {"joint", "layerwise"} or None, default=None
        Whether activations are solved for all together, for the kernel of the last layer, or layer by layer, for the
        kernels of all. None goes by ``layers``.
    alpha2 : bool, default=True
        Whether the kernel's dependence on the norms of samples is kept too. Fewer levels suffice without it.
    layers : {"last", "all"}, default="last"
        Whose features are returned: the last layer's, or those of all layers side by side.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, and
        False nothing.
    random_state : int, RandomState or None, default=None
        What the weights are drawn from; give an int for the same features in every call.

    Attributes
    ----------
    network_ : CompressedNetwork
        The network, with levels rounded to multiples of a unit.
    match_ : Match
        How its activations were found, with residuals and identity shift.
    normalization_ : Normalization
        What samples go through before the network.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    CompressedClassifier : The same network with a readout, which writes C programs.
    sklearn.kernel_approximation.Nystroem : Features for any kernel, from some of the samples.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from hntk.sklearn import TernaryFeatures
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(TernaryFeatures((128, 64), levels=3, random_state=0), LogisticRegression())
    >>> model.fit(X, y).score(X, y) > 0.9
    True
    >>> features = model[0].transform(X)
    >>> features.shape, features.dtype.name
    ((150, 64), 'float32')
    """

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
        super().__init__(
            widths, activations, levels=levels, sparsity=sparsity, weights=weights, method=method, alpha2=alpha2,
            layers=layers, normalize=normalize, random_state=random_state,
        )  # fmt: skip

    def fit(self, X: Any, y: object = None) -> TernaryFeatures:
        """Solve for the activations and draw the weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.
        y : None
            Ignored.

        Returns
        -------
        TernaryFeatures
            The transformer itself.

        Raises
        ------
        MatchError
            If so few levels cannot keep the kernel; the message says what can.
        ValueError
            If samples or parameters do not fit.
        """
        samples: Any = validate_data(self, X, ensure_min_samples=2)
        self._draw_network(samples, draw_seed(self.random_state))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of samples, h_L/√d_L or those of all layers side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Raw samples.

        Returns
        -------
        ndarray of float32 of shape (n_samples, n_features_out)
            Features.
        """
        samples = self.normalization_(new_samples(self, X))
        return np.asarray(self.network_.features(samples, layers=self.layers))

    @property
    def _n_features_out(self) -> int:
        return sum(read_widths(self.network_.widths, self.layers))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # features are float32 whatever the samples are
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
