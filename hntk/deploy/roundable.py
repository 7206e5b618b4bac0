"""What a network must be for whole numbers to stand for it; every message says what to do."""

from __future__ import annotations

from operator import index

import numpy as np

from hntk.activations import Staircase
from hntk.data.normalization import Normalization
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_network import IntegerNetwork, NotIntegerError
from hntk.networks.network import Network

WHOLE = ("ternary", "sign", "int8")
LARGEST = float(np.finfo(np.float32).max)


def check_bits(**given: object) -> tuple[int, ...]:
    """Return numbers of bits.

    Raises
    ------
    ValueError
        If one is no whole number from 2 to 16.
    """
    found = []
    for name, bits in given.items():
        try:
            found.append(index(bits))  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError(f"{name} must be a whole number from 2 to 16, got {bits!r:.60}.") from error
        if not 2 <= found[-1] <= 16:
            raise ValueError(f"{name} must be from 2 to 16, got {bits!r:.60}.")
    return tuple(found)


def check_network(network: object) -> None:
    """Refuse what is no network of staircases.

    Raises
    ------
    TypeError
        If it is no network.
    NotIntegerError
        If an activation is not a staircase of finite numbers.
    """
    if isinstance(network, IntegerNetwork | IntegerClassifier):
        raise TypeError("this is of whole numbers already: use it as it is.")
    if not isinstance(network, Network):
        raise TypeError(
            f"a network or a classifier is needed, not {type(network).__name__}: hntk.compress and hntk.fit_ridge "
            "make them."
        )
    for number, (sigma, m) in enumerate(zip(network.activations, network.centres, strict=True), 1):
        if not isinstance(sigma, Staircase):
            raise NotIntegerError(
                f"layer {number} has the activation {sigma.name!r}, which is not a staircase: hntk.compress finds one "
                "of a few levels for it."
            )
        if not np.all(np.isfinite([*sigma.thresholds, *sigma.levels, m])):
            raise NotIntegerError(f"layer {number} has numbers that are not finite: make it with hntk.staircase.")


def check_weights(network: Network) -> None:
    """Refuse weights that are not whole.

    Raises
    ------
    NotIntegerError
        If they are in float32, or their scale is no positive number.
    """
    for number, w in enumerate(network.weights, 1):
        if w.kind not in WHOLE:
            raise NotIntegerError(
                f"layer {number} has float32 weights: draw the network with the law 'ternary', 'bernoulli' or "
                "'int8_gaussian'."
            )
        if not 0 < w.scale < np.inf:
            raise NotIntegerError(f"layer {number} has weights of the scale {w.scale!r}: it must be positive.")


def check_affine(normalization: Normalization | None) -> None:
    """Refuse a normalisation that whole numbers cannot stand for.

    Raises
    ------
    NotIntegerError
        If samples are whitened or brought to unit norms as well.
    """
    if normalization is not None and not normalization.is_affine:
        raise NotIntegerError(
            "a network of whole numbers takes raw samples less a centre, over a scale: whitening and unit norms it "
            "cannot. Fit the classifier on data loaded with normalize='scale'."
        )


def check_readout(classifier: Classifier) -> None:
    """Refuse a readout that does not fit the network.

    Raises
    ------
    ValueError
        If it is of another shape, or not finite.
    """
    shape = (classifier.network.widths[-1], *np.shape(classifier.classes))
    weights, offset = np.asarray(classifier.weights), np.asarray(classifier.offset)
    if len(shape) != 2 or 0 in shape or weights.shape != shape or offset.shape != shape[1:]:
        raise ValueError(
            f"a readout of shape {weights.shape} and an offset of {offset.shape} do not fit {shape[0]} features and "
            f"classes of shape {shape[1:]}: fit the readout on features of this network."
        )
    if not all(np.abs(values).max() <= LARGEST for values in (weights, offset)):
        raise ValueError("the readout has values that are not finite in float32: fit it again, with a larger ridge.")
