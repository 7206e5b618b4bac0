r"""Float networks rounded to networks of whole numbers.

Levels, input coordinates and readout weights become multiples of units, one unit for each layer, for the input and for
the readout; thresholds become whole numbers that give the same levels. See :mod:`hntk.networks.integer_network`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil, log2, sqrt
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from hntk.activations import Staircase
from hntk.data.normalization import Normalization, check_normalization
from hntk.deploy.checks import check_affine, check_bits, check_readout, check_staircases, check_whole_weights
from hntk.deploy.input_rounding import pixel_inputs, rounded_inputs
from hntk.networks.classifier import Classifier
from hntk.networks.float_readout import FloatReadout
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import EXACT, LIMIT, IntegerNetwork, NotIntegerError
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.integer_steps import Steps
from hntk.networks.network import Network
from hntk.networks.read_layers import read_widths
from hntk.networks.regressor import Regressor
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

LEVEL_BITS, READOUT_BITS, INPUT_BITS = 12, 16, 8
# largest number of 16 bits
SHORT = 2**15 - 1
# relative rounding errors of levels that are multiples of a unit, in float64 and in float32
GRID_ERRORS = (1e-12, 1e-7)
# largest number of rounding errors computed in one array
MOST_ERRORS = 2**22
AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def on_grid(network: AnyNetwork, level_bits: int | None = None) -> AnyNetwork:
    """Round the centred levels a_k − m of a network to whole multiples of a power of 2.

    Do this before a readout is fitted: :func:`to_integers` then changes nothing but the input, and the readout is
    fitted on the features that whole numbers give. After the first layer, float32 computes such a network exactly.

    Parameters
    ----------
    network : Network
        A network whose activations are staircases.
    level_bits : int, optional
        Bits of the largest level, sign included, from 2 to 16; by default as in :func:`to_integers`.

    Returns
    -------
    Network
        The network with rounded levels, whose centres are 0.

    Raises
    ------
    NotIntegerError
        If an activation is not a staircase, or layers have biases, residual branches or a normalisation.
    TypeError
        If this is no network.
    ValueError
        If ``level_bits`` is out of range.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=100, p=40, key=jax.random.key(0)).x
    >>> net = hntk.compress(["relu"] * 2, [64, 32], x, levels=2, key=jax.random.key(1))
    >>> grid = hntk.on_grid(net, level_bits=5)
    >>> grid.activations[0].levels, hntk.to_integers(grid, x=x).rounding
    ((-0.25, 1.875, -0.25), (0.0, 0.0))
    """
    wanted = None if level_bits is None else check_bits(level_bits=level_bits)[0]
    check_staircases(network)
    staircases = tuple(_grid_staircases(network, wanted or default_level_bits(network.weights)))
    return replace(network, activations=staircases, centres=(0.0,) * len(network.centres))


def _grid_staircases(network: Network, bits: int) -> Iterator[Staircase]:
    """Yield the staircases with centred levels on a grid."""
    most = 2 ** (bits - 1) - 1
    for layer in network.layers():
        sigma = layer.activation
        assert isinstance(sigma, Staircase)
        levels = np.asarray(sigma.levels) - layer.centre
        unit = 2.0 ** ceil(log2(float(np.abs(levels).max()) / most or 1.0))
        yield replace(sigma, levels=tuple((np.rint(levels / unit) * unit).tolist()))


def to_integers(
    network: Network | Classifier | Regressor,
    *,
    x: object = None,
    pixels: bool = False,
    normalization: Normalization | None = None,
    level_bits: int | None = None,
    readout_bits: int = READOUT_BITS,
    input_bits: int = INPUT_BITS,
) -> IntegerNetwork | IntegerClassifier | IntegerRegressor:
    """Convert a network, a classifier or a regressor to whole numbers.

    Activations must be staircases and weights ternary, ±1 or int8. Levels are rounded to multiples of a unit unless
    they are multiples already, as after :func:`on_grid`; ``rounding`` of the resulting network says by how much.

    Predictions of a regressor become fixed-point numbers: whole scores times a power of two for each target, its unit.
    ``unit`` and ``rounding`` of the result say which, and how far rounding the readout can move a prediction.

    Parameters
    ----------
    network : Network, Classifier or Regressor
        The network, or a classifier or regressor on its features.
    x : (n, p) array, optional
        Samples as the network takes them, such as those of training. Their largest coordinate sets the unit of the
        input. Not needed for pixels.
    pixels : bool
        Whether raw samples are bytes from 0 to 255, which the result takes as they are.
    normalization : Normalization, optional
        How raw samples are normalised; by default as the classifier or regressor says.
    level_bits : int, optional
        Bits of a level, sign included, from 2 to 16; by default 12, or as many as keep sums below 2²⁴. Before
        orthogonal blocks the default is from 8 to 12, as many as let a C program transform numbers of 2 bytes; levels
        that are multiples of a unit in 12 bits stay as they are.
    readout_bits : int
        Bits of a readout weight, from 2 to 16, stored as int8 or int16. Fewer are used if sums would leave 32 bits.
    input_bits : int
        Bits of a rounded coordinate, from 2 to 16, if the input is not pixels.

    Returns
    -------
    IntegerNetwork, IntegerClassifier or IntegerRegressor
        The network, classifier or regressor of whole numbers.

    Raises
    ------
    NotIntegerError
        If an activation is not a staircase, weights are float32, layers have biases, residual branches or a
        normalisation, or sums could pass 2²⁴.
    TypeError
        If this is no network or classifier, ``normalization`` is no normalisation, or ``pixels`` is no bool.
    ValueError
        If bits are out of range, pixels come without a normalisation or other samples without x, the normalisation or
        the readout does not fit the network, or numbers are not finite.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.compress(["relu"] * 2, [256, 128], data.x, levels=4, key=jax.random.key(1))
    >>> classifier = hntk.fit_ridge(net, data.x, data.labels)
    >>> whole = hntk.to_integers(classifier, x=data.x)
    >>> bool((whole.predict(data.x) == classifier.predict(data.x)).mean() > 0.95), whole.readout.dtype.name
    (True, 'int16')
    >>> regressor = hntk.to_integers(hntk.fit_ridge(net, data.x, data.x[:, 0]), x=data.x)
    >>> regressor.unit == 2.0**-22, max(regressor.rounding) < 1e-4
    (True, True)
    """
    wanted = LEVEL_BITS if level_bits is None else level_bits
    levels, readout, coordinate = check_bits(level_bits=wanted, readout_bits=readout_bits, input_bits=input_bits)
    made = network if isinstance(network, FloatReadout) else None
    if made is not None:
        normalization = made.normalization if normalization is None else normalization
    net = network.network if isinstance(network, FloatReadout) else network
    check_staircases(net)
    check_whole_weights(net)
    check_normalization(normalization, net.inputs)
    check_affine(normalization)
    if not isinstance(pixels, bool | np.bool_):
        raise TypeError(f"pixels must be True or False, not {pixels!r:.60}.")
    if pixels:
        inputs, unit, bias = pixel_inputs(net, normalization)
    else:
        (inputs, unit), bias = rounded_inputs(net, x, normalization, coordinate), None
    most_bits = _most_level_bits(net.weights) if level_bits is None else levels
    hidden, units = _hidden(net, inputs, unit, bias, most_bits)
    if level_bits is None and max(hidden.rounding) > GRID_ERRORS[0]:
        hidden, units = _hidden(net, inputs, unit, bias, default_level_bits(net.weights))
    return hidden if made is None else _whole_readout(made, hidden, units, readout)


def round_levels(levels: Float[np.ndarray, " N"], most: int) -> tuple[float, tuple[int, ...], float]:
    """Round levels to multiples of one unit.

    Parameters
    ----------
    levels : (N,) array
        Levels.
    most : int
        Largest magnitude of a multiple.

    Returns
    -------
    unit : float
        The unit with the smallest error; if several units have no error, the largest of these.
    multiples : tuple of int
        Multiples of the unit, one for each level.
    error : float
        Largest rounding error, relative to the largest level.

    Examples
    --------
    >>> import numpy as np
    >>> from hntk.deploy.rounding import round_levels
    >>> round_levels(np.array([-0.5, 0.25, 1.0]), 127)
    (0.25, (-2, 1, 4), 0.0)
    """
    top = float(np.abs(levels).max()) or 1.0
    units, distinct = top / np.arange(1, most + 1), np.unique(levels)
    each = max(1, MOST_ERRORS // distinct.size)
    errors = np.concatenate(
        [_rounding_errors(distinct, units[i : i + each, None]) / top for i in range(0, units.size, each)]
    )
    tolerance = next((e for e in GRID_ERRORS if errors.min() < e), float(errors.min()))
    best = int(np.argmax(errors <= tolerance))
    return float(units[best]), tuple(np.rint(levels / units[best]).astype(int).tolist()), float(errors[best])


def _rounding_errors(
    levels: Float[np.ndarray, " N"], units: Float[np.ndarray, "units 1"]
) -> Float[np.ndarray, " units"]:
    """Return the largest distance of a level from a multiple of each unit."""
    return np.abs(np.rint(levels / units) * units - levels).max(axis=1)


def _hidden(
    network: Network, inputs: Pixels | Rounded, unit: float, bias: np.ndarray | None, bits: int
) -> tuple[IntegerNetwork, list[float]]:
    """Return the hidden layers in whole numbers, and the unit of every layer's levels; ``unit`` is the input's."""
    steps, rounding, units = [], [], []
    for layer in network.layers():
        sigma = layer.activation
        assert isinstance(sigma, Staircase)
        thresholds = np.ceil(np.asarray(sigma.thresholds, float) / (layer.sums_factor * unit))
        unit, levels, error = round_levels(np.asarray(sigma.levels) - layer.centre, 2 ** (bits - 1) - 1)
        # sums stay below LIMIT: they never, or always, reach a threshold that is clipped
        steps.append(Steps(tuple(int(t) for t in np.clip(thresholds, -LIMIT, LIMIT)), levels))
        rounding.append(error)
        units.append(unit)
    weights = tuple(w.unscaled for w in network.weights)
    integers = IntegerNetwork(
        inputs, weights, tuple(steps), bias, unit / sqrt(network.widths[-1]), tuple(rounding), origin=network.origin
    )
    if max(integers.largest_sums) > EXACT:
        raise NotIntegerError(
            f"sums could reach {max(integers.largest_sums):,}, above 2**24, and not be exact in float32: use fewer "
            "level_bits or input_bits."
        )
    return integers, units


def _whole_readout(
    made: FloatReadout, hidden: IntegerNetwork, units: Sequence[float], bits: int
) -> IntegerClassifier | IntegerRegressor:
    """Return the classifier or regressor in whole numbers, with readout weights of at most ``bits`` bits.

    ``units`` are those of every layer's levels. Levels of all layers are shifted to the size of the largest, up to a
    factor of 2, so that rounding the weights to multiples of one unit costs each layer as much. A classifier's scores
    are compared, and share one unit. Each target of a regressor has its own, a power of two.
    """
    check_readout(made)
    read = read_widths(hidden.widths, made.layers)
    most = [max(1, steps.most) for steps in hidden.steps[-len(read) :]]
    shifts = [(max(most) // m).bit_length() - 1 for m in most]
    factors = [unit / sqrt(d) / 2**shift for unit, d, shift in zip(units[-len(read) :], read, shifts, strict=True)]
    weights, offset = np.asarray(made.weights).T * np.repeat(factors, read), np.asarray(made.offset)
    levels = np.repeat(np.left_shift(most, shifts), read)
    # the largest score must fit into 32 bits, offset and rounding included
    room = LIMIT - int(levels.sum()) - 1
    largest = np.abs(weights) @ levels + np.abs(offset)
    least = np.maximum(np.abs(weights).max(axis=1) / (2 ** (bits - 1) - 1), largest / room)
    common: dict[str, Any] = {
        "statistics": made.statistics,
        "layers": made.layers,
        "shifts": tuple(shifts) if any(shifts) else (),
    }
    if isinstance(made, Classifier):
        unit = float(least.max()) or 1.0
        whole = _rounded_readout(weights, offset, np.full(len(offset), unit), bits)
        return IntegerClassifier(hidden, *whole, made.classes, unit, **common)
    powers = np.exp2(np.ceil(np.log2(np.where(least > 0, least, 1.0))))
    readout, base = _rounded_readout(weights, offset, powers, bits)
    missed = np.abs(readout * powers[:, None] - weights) @ levels + np.abs(base * powers - offset)
    chosen = float(powers[0]) if len(powers) == 1 else tuple(powers.tolist())
    return IntegerRegressor(hidden, readout, base, chosen, rounding=tuple(missed.tolist()), **common)


def _rounded_readout(
    weights: Float[np.ndarray, "K d"], offset: Float[np.ndarray, " K"], units: Float[np.ndarray, " K"], bits: int
) -> tuple[Int[np.ndarray, "K d"], Int[np.ndarray, " K"]]:
    """Return weights and offset as multiples of each score's unit."""
    dtype = np.int8 if bits <= 8 else np.int16
    return np.rint(weights / units[:, None]).astype(dtype), np.rint(offset / units).astype(np.int32)


def default_level_bits(weights: Sequence[Weights]) -> int:
    """Return how many bits levels are rounded to unless the caller says.

    They are as many as keep all sums below 2²⁴, at most ``LEVEL_BITS``. Before orthogonal blocks they are at most as
    many as let transforms work on numbers of 2 bytes, which after all but two of their steps are sums of h/4 levels for
    a transform of length h; but 8 at least, since levels of fewer bits lose accuracy before they save anything else.
    """
    lengths = [w.length for w in weights[1:] if isinstance(w, OrthogonalMatrix)]
    bits = _most_level_bits(weights)
    if not lengths:
        return bits
    return min(bits, max(8, 1 + (SHORT // max(1, max(lengths) // 4)).bit_length()))


def _most_level_bits(weights: Sequence[Weights]) -> int:
    """Return as many bits of a level as keep all sums below 2²⁴, at most ``LEVEL_BITS``."""
    heaviest = max((int(w.largest_row_sum) for w in weights[1:]), default=1)
    return max(2, min(LEVEL_BITS, (EXACT // max(1, heaviest)).bit_length()))
