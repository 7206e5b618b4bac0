"""Inputs of networks of whole numbers: pixels as they are, or coordinates rounded to multiples of a unit."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from hntk.data.normalization import Normalization
from hntk.deploy.checks import LARGEST_FLOAT, SMALLEST_FLOAT
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import EXACT, NotIntegerError
from hntk.networks.network import Network
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

# largest number of parts that a pixel's unit is divided into, so that the bias is rounded finely
MOST_PARTS = 16


def pixel_inputs(
    network: Network, normalization: Normalization | None
) -> tuple[Pixels, float, Int32[np.ndarray, " d"] | None]:
    """Return pixels as the input, the normalised coordinate that the whole number 1 stands for, and the bias.

    A bias takes 4 bytes a neuron, which for orthogonal blocks is more than all of their weights. Their pixels are
    centred instead, by whole numbers, and there is no bias.

    Raises
    ------
    ValueError
        If there is no normalisation.
    NotIntegerError
        If the bias could pass 2²⁴.
    """
    if normalization is None:
        raise ValueError("pixels need the normalization= of raw images that the network was made for.")
    centre = np.rint(np.asarray(normalization.centre, np.float64))
    if isinstance(network.weights[0], OrthogonalMatrix) and centre.min() >= 0 and centre.max() <= 255:
        return Pixels(1, centre.astype(np.uint8)), 1.0 / normalization.scale, None
    # sums of pixels and bias stay below twice the largest sum of pixels
    room = EXACT // (2 * 255 * max(1, int(network.weights[0].largest_row_sum)))
    parts = min(MOST_PARTS, 2 ** max(0, room.bit_length() - 1))
    return Pixels(parts), 1.0 / (normalization.scale * parts), _bias(network.weights[0], normalization, parts)


def rounded_inputs(
    network: Network, x: object, normalization: Normalization | None, bits: int
) -> tuple[Rounded, float]:
    """Return rounded coordinates as the input, and the normalised coordinate that the whole number 1 stands for.

    Raises
    ------
    ValueError
        If there are no samples x to set the unit, or they are too small or too large for float32.
    """
    if x is None:
        raise ValueError(
            "give x=, samples as the network takes them, whose largest coordinate sets the unit of the input; or "
            "pixels=True where raw samples are bytes."
        )
    most = 2 ** (bits - 1) - 1
    largest = float(jnp.max(jnp.abs(network.check_inputs(x))))
    unit = largest / most or 1.0
    centre = np.zeros(network.inputs) if normalization is None else normalization.centre
    scale = 1.0 if normalization is None else float(normalization.scale)
    if not 1 / LARGEST_FLOAT <= unit * scale <= 1 / SMALLEST_FLOAT:
        raise ValueError(
            f"x has coordinates of up to {largest:.3g}, for which float32 has no factor: scale the samples to norms "
            "of about 1, as the network was made for."
        )
    return Rounded(np.asarray(centre, np.float32), float(np.float32(1 / (unit * scale))), most), unit


def _bias(weights: Weights, normalization: Normalization, parts: int) -> Int32[np.ndarray, " d"]:
    """Return −W centre, which centring the pixels would add to the sums, in parts of a pixel's unit."""
    centre = np.asarray(normalization.centre, np.float64) * parts
    added = np.rint(np.asarray(weights.values, np.float64) @ centre)
    if np.abs(added).max() > EXACT:
        raise NotIntegerError(
            f"centring the pixels would add up to {np.abs(added).max():,.0f} to sums, above 2**24: give the "
            "normalization of pixels from 0 to 255."
        )
    return -added.astype(np.int32)
