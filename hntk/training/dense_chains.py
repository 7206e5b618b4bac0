"""Dense networks as chains of layers on some of the training samples: trained for a start, or given by a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from hntk._utils.arrays import brief
from hntk.data.normalization import Normalization
from hntk.networks.classifier import Classifier
from hntk.networks.hidden_layer import HiddenLayer
from hntk.networks.models.reading import from_model, is_model
from hntk.training.model_outputs import class_columns
from hntk.training.samples import TrainingData
from hntk.training.starts import StartProblem

# samples that thresholds and readouts are fitted on
FITTED = 8192
# functions that are steps from one end to the other have at least this share of their variance in the linear part
LEAST_LINEAR = 0.25
SEED = 0


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A layer σ(W h + b).

    Attributes
    ----------
    weights : (d, d_before) array
        W.
    bias : (d,) array
        b.
    function : callable
        σ, which rises on the whole.
    """

    weights: Float[np.ndarray, "d p"]
    bias: Float[np.ndarray, " d"]
    function: Callable[[np.ndarray], np.ndarray]

    def __call__(self, h: Float[np.ndarray, "n p"]) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
        """Return pre-activations and activations."""
        sums = h @ self.weights.T + self.bias
        return sums, self.function(sums)


@dataclass(frozen=True, eq=False)
class DenseChain:
    """A dense network, and what it makes of some training samples.

    Attributes
    ----------
    inputs : (n, p) array
        The samples as its first layer takes them, which are whole numbers up to a factor and a constant for all
        coordinates alike.
    layers : tuple of DenseLayer
        Hidden layers.
    scores : (n, K) array
        Its scores, or standardised targets, of the samples.
    """

    inputs: Float[np.ndarray, "n p"]
    layers: tuple[DenseLayer, ...]
    scores: Float[np.ndarray, "n K"]


def fitted_rows(data: TrainingData) -> Int[np.ndarray, " n"]:
    """Return which training samples thresholds are fitted on, at most `FITTED` of them."""
    order = np.random.default_rng(SEED).permutation(len(data.training.targets))
    return np.sort(order[:FITTED])


def chain_of_model(model: Any, problem: StartProblem) -> DenseChain:
    """Return the chain of a dense classifier of hntk, or of a model that :func:`hntk.from_model` reads.

    Parameters
    ----------
    model : Classifier or model
        The model. It is given raw samples, which go through its normalisation if it has one; where samples are pooled
        and it takes as many coordinates as pooled pixels, those.
    problem : StartProblem
        Samples and widths.

    Returns
    -------
    DenseChain
        The model on some training samples, with biases and normalisation in its weights.

    Raises
    ------
    ValueError
        If it has other widths, inputs or classes, residual branches, a normalisation inside, activations that do not
        rise on the whole, or classifies the samples no better than chance.
    """
    classifier = model if isinstance(model, Classifier) else _read(model)
    network, data = classifier.network, problem.data
    if tuple(network.widths) != problem.widths:
        raise ValueError(
            f"the model to start from has hidden layers of {_listed(network.widths)} neurons, but widths= asks for "
            f"{_listed(problem.widths)}: give widths={tuple(network.widths)}."
        )
    layers = list(network.layers())
    for number, layer in enumerate(layers, 1):
        _check_layer(layer, number)
    part = data.training
    samples = part.raw if network.inputs == part.raw.shape[1] else part.whole
    if samples.shape[1] != network.inputs or (part.raw.shape[1] != part.whole.shape[1] and samples is part.raw):
        raise ValueError(
            f"the model to start from takes {network.inputs} coordinates, but the trained network would see "
            f"{data.inputs_width}: give a model of those, or samples and pool= that agree with it."
        )
    rows = fitted_rows(data)
    raw = np.asarray(samples[rows], np.float32)
    scores = np.asarray(classifier.scores(raw, raw=classifier.normalization is not None), np.float64)
    scores = scores[:, class_columns(classifier.classes, data, "the model to start from")]
    _check_scores(scores, data, rows)
    if data.centre is not None and data.spread is not None:
        scores = (scores - data.centre) / data.spread
    inputs, whitening = _normalised(raw.astype(np.float64), classifier.normalization)
    return DenseChain(inputs, tuple(_dense_layer(layer, i, whitening) for i, layer in enumerate(layers)), scores)


def _read(model: Any) -> Classifier:
    if is_model(model):
        return from_model(model)
    raise ValueError(
        "start must be 'match', 'uniform', 'dense', a list of activations of an original network to match, a dense "
        f"hntk.Classifier, or a model that hntk.from_model reads; got {brief(model)}."
    )


def _check_layer(layer: HiddenLayer, number: int) -> None:
    if layer.branch is not None or layer.normalize is not None:
        raise ValueError(
            f"layer {number} of the model to start from has a residual branch or a normalisation, which ternary layers "
            "do not have: give a plain chain of dense layers."
        )
    moments = layer.activation.moments(1.0)
    if not (moments.e1 > 0 and moments.e1**2 >= LEAST_LINEAR * moments.variance):
        raise ValueError(
            f"layer {number} of the model to start from has the activation {layer.activation.name!r}, which does not "
            "rise on the whole as ReLU does: its values are no levels from few thresholds. Use start='uniform'."
        )


def _function(layer: HiddenLayer) -> Callable[[np.ndarray], np.ndarray]:
    return lambda t: np.asarray(layer.activation(jnp.asarray(t, jnp.float32)), np.float64) - layer.centre


def _check_scores(scores: Float[np.ndarray, "n K"], data: TrainingData, rows: Int[np.ndarray, " n"]) -> None:
    if data.classes is None:
        return
    targets = data.training.targets[rows]
    right, chance = np.mean(np.argmax(scores, axis=1) == targets), np.bincount(targets).max() / targets.size
    if right <= chance:
        raise ValueError(
            f"the model to start from classifies {right:.3f} of the samples right, which chance does too: it may take "
            "samples of another scale. Give a hntk.Classifier whose normalization= is what raw samples go through, "
            "such as dataclasses.replace(hntk.from_model(model), normalization=hntk.Normalization(centre, scale))."
        )


def _normalised(
    raw: Float[np.ndarray, "n p"], normalization: Normalization | None
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "p p"] | None]:
    """Return samples as a model takes them, but for the whitening, which belongs to the weights that are ternarised."""
    if normalization is None:
        return raw, None
    rows, whitening = (raw - normalization.centre) / normalization.scale, normalization.whitening
    if normalization.unit_norm:
        rows /= np.linalg.norm(rows if whitening is None else rows @ whitening, axis=1, keepdims=True)
    return rows, whitening


def _dense_layer(layer: HiddenLayer, number: int, whitening: Float[np.ndarray, "p p"] | None) -> DenseLayer:
    weights = np.asarray(layer.weights.values, np.float64) * layer.sums_factor
    bias = np.zeros(len(weights)) if layer.bias is None else np.asarray(layer.bias, np.float64)
    if number == 0 and whitening is not None:
        weights = weights @ np.asarray(whitening, np.float64).T
    return DenseLayer(weights, bias, _function(layer))


def _listed(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))
