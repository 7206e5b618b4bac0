"""A regressor that is a compressed network with a readout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from hntk.activations import Activation
from hntk.data.scaling import Scaling
from hntk.matching import Levels, Match
from hntk.matching.options import Method
from hntk.networks.read_layers import ReadLayers
from hntk.readouts.ridge import fit_ridge
from hntk.sklearn.answers import TargetEstimator
from hntk.sklearn.network_parameters import draw_seed
from hntk.sklearn.readout_parameters import ReadoutEstimator
from hntk.theory.architecture import ArchitectureLike


class CompressedRegressor(TargetEstimator, ReadoutEstimator):
    """Regressor by a random network with weights in {0, ±1} and a fitted readout.

    The hidden weights are drawn and stay as they are, with activations of few levels that are solved for so that the
    network has the kernel of a dense one on the data. Only the readout is fitted, by ridge regression on one target or
    several. The result runs in whole numbers: ``to_c`` writes it as a C program that takes raw samples.

    Parameters
    ----------
    widths : int, sequence of int or None, default=(512, 512)
        Number of neurons of each hidden layer. None takes those of a network or model that is given as activations.
    activations : str, Activation, sequence of these, Architecture or model, default="relu"
        The dense network whose kernel is kept: a name such as ``"relu"`` or ``"erf"`` for every layer, one for each, or
        anything that :func:`hntk.compress` takes.
    levels : int, "paper", sequence of these, or Match, default=4
        Number of values that each neuron takes, from 2 to 16; one for all layers or one each. Or a match made by
        :func:`hntk.match`. Too few for a kernel are refused by a ``MatchError`` that says how many would do.
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
        Whose features the readout takes: the last layer's, or those of all layers side by side.
    ridge : float or None, default=None
        Ridge λ > 0, beside features whose inner products are the kernel; all targets share it. None chooses it by R² on
        a part of the training samples, and refits on all of them.
    validation_share : float, default=0.1
        Share of the samples by which the ridge is chosen.
    normalize : bool or {"scale", "unit_norm", "whiten"}, default=True
        What samples go through first. True subtracts the mean sample and divides all coordinates by one number, so that
        samples have norms of about 1. ``"unit_norm"`` and ``"whiten"`` do more, see :meth:`hntk.Normalization.of`, but
        are not for C. False does nothing.
    random_state : int, RandomState or None, default=None
        What the weights and the validation samples are drawn from; give an int for the same result in every call.

    Attributes
    ----------
    model_ : RidgeRegressor
        The network with its readout, for ``hntk.summarize`` and other functions of hntk. It takes raw samples with
        ``raw=True``.
    network_ : CompressedNetwork
        The network, with levels rounded to multiples of a unit.
    match_ : Match
        How its activations were found, with residuals and identity shift.
    normalization_ : Normalization
        What samples go through before the network.
    n_features_in_ : int
        Number of coordinates of a sample.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where ``fit`` was given a data frame with names that are text.

    See Also
    --------
    TernaryFeatures : The network without a readout, before any other estimator.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from hntk.sklearn import CompressedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = CompressedRegressor(256, random_state=0).fit(X[:300], y[:300])
    >>> model.score(X[300:], y[300:]) > 0.45
    True
    """

    def __init__(
        self,
        widths: int | Sequence[int] | None = (512, 512),
        activations: ArchitectureLike | str | Activation | Any = "relu",
        *,
        levels: Levels | Sequence[Levels] | Match = 4,
        sparsity: float = 0.5,
        weights: Literal["orthogonal", "iid"] | None = None,
        method: Method | None = None,
        alpha2: bool = True,
        layers: ReadLayers = "last",
        ridge: float | None = None,
        validation_share: float = 0.1,
        normalize: bool | Scaling = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            widths, activations, levels=levels, sparsity=sparsity, weights=weights, method=method, alpha2=alpha2,
            layers=layers, normalize=normalize, random_state=random_state,
        )  # fmt: skip
        self.ridge = ridge
        self.validation_share = validation_share

    def _fit_model(self, X: np.ndarray, answers: np.ndarray) -> None:
        seed = draw_seed(self.random_state)
        samples = self._draw_network(X, seed)
        self.model_ = fit_ridge(self.network_, samples, answers, self.ridge, **self._readout_options(seed))
