"""From a float network to whole numbers: levels, thresholds, input and readout, rounded to multiples of units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, log2, sqrt
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from hntk.activations import Staircase
from hntk.data.normalization import Normalization, check_normalization
from hntk.deploy.checks import check_affine, check_bits, check_readout, check_staircases, check_whole_weights
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import EXACT, LIMIT, IntegerNetwork, NotIntegerError, row_weight
from hntk.networks.integer_steps import Steps
from hntk.networks.network import Network
from hntk.weights.laws import WeightMatrix

LEVEL_BITS, READOUT_BITS, INPUT_BITS = 12, 16, 8
# levels on a grid, in float64 and in float32
EXACTLY, NEARLY = 1e-12, 1e-7
# levels times units that are looked at in one piece
ROUNDED = 2**22
# parts of a pixel's unit
FINE = 16
SMALLEST, LARGEST = (float(v) for v in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))
N = TypeVar("N", bound=Network)


def on_grid(network: N, level_bits: int = LEVEL_BITS) -> N:
    """The network with centred levels a_k − m that are whole multiples of a power of 2, to fit a readout on.

    In whole numbers it is the same network then: what it computes after the first layer in float32 is exact, and what
    rounding does to its features is seen by the readout.

    Parameters
    ----------
    network : of staircases; its centres become 0.
    level_bits : of the largest level, sign included, 2 to 16.

    Raises
    ------
    NotIntegerError
        If an activation is not a staircase.
    TypeError
        If this is no network.
    ValueError
        If bits are out of range.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=100, p=40, key=jax.random.key(0)).x
    >>> net = hntk.compress(["relu"] * 2, [64, 32], x, levels=2, key=jax.random.key(1))
    >>> grid = hntk.on_grid(net, level_bits=5)
    >>> grid.activations[0].levels, hntk.to_integers(grid, x=x).rounding
    ((-0.25, 1.875, -0.25), (0.0, 0.0))
    """
    (level_bits,) = check_bits(level_bits=level_bits)
    check_staircases(network)
    return replace(network, activations=tuple(_on_grid(network, level_bits)), centres=(0.0,) * len(network.centres))


def _on_grid(network: Network, bits: int) -> Iterator[Staircase]:
    most = 2 ** (bits - 1) - 1
    for _, _, sigma, m in network.layers():
        assert isinstance(sigma, Staircase)
        levels = np.asarray(sigma.levels) - m
        unit = 2.0 ** ceil(log2(float(np.abs(levels).max()) / most or 1.0))
        yield replace(sigma, levels=tuple((np.rint(levels / unit) * unit).tolist()))


def to_integers(
    what: Network | Classifier,
    *,
    x: object = None,
    pixels: bool = False,
    normalization: Normalization | None = None,
    level_bits: int | None = None,
    readout_bits: int = READOUT_BITS,
    input_bits: int = INPUT_BITS,
) -> IntegerNetwork | IntegerClassifier:
    """A network or classifier of staircases and ternary, ±1 or int8 weights, in whole numbers.

    Parameters
    ----------
    what : its levels are rounded to multiples of a unit, where they are none yet (:func:`on_grid` makes them so
        before a readout is fitted); ``rounding`` of the result says how far.
    x : (n, p) samples as the network takes them, such as those of training: their largest coordinate sets the input's
        unit. Not needed for pixels.
    pixels : whether raw samples are bytes from 0 to 255, which are taken as they are.
    normalization : of raw samples, by default the classifier's.
    level_bits : of a level, sign included, 2 to 16; by default 12, or as many as sums below 2²⁴ leave.
    readout_bits : of a readout weight, 2 to 16, kept in 8 bits or in 16; fewer are used where sums would leave 32 bits.
    input_bits : of a rounded coordinate, 2 to 16, where the input is not pixels.

    Raises
    ------
    NotIntegerError
        If an activation is not a staircase, weights are float32, or sums could pass 2²⁴.
    TypeError
        If this is no network or classifier, the normalisation is none, or ``pixels`` is neither True nor False.
    ValueError
        If bits are out of range, pixels have no normalisation, or other samples no x; if the normalisation or the
        readout does not fit the network, or numbers are not finite.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.compress(["relu"] * 2, [256, 128], data.x, levels=4, key=jax.random.key(1))
    >>> classifier = hntk.fit_ridge(net, data.x, data.labels)
    >>> whole = hntk.to_integers(classifier, x=data.x)
    >>> bool((whole.predict(data.x) == classifier.predict(data.x)).mean() > 0.95), whole.readout.dtype.name
    (True, 'int16')
    """
    given = LEVEL_BITS if level_bits is None else level_bits
    levels, readout, coordinate = check_bits(level_bits=given, readout_bits=readout_bits, input_bits=input_bits)
    network = what.network if isinstance(what, Classifier) else what
    known = what.normalization if isinstance(what, Classifier) and normalization is None else normalization
    check_staircases(network)
    check_whole_weights(network)
    check_normalization(known, network.inputs)
    check_affine(known)
    if not isinstance(pixels, bool | np.bool_):
        raise TypeError(f"pixels must be True or False, not {pixels!r:.60}.")
    inputs, unit = _pixels(network, known) if pixels else _rounded(network, x, known, coordinate)
    bias = _bias(network.weights[0], known, inputs.fine) if isinstance(inputs, Pixels) and known is not None else None
    hidden = _hidden(network, inputs, unit, bias, _level_bits(network) if level_bits is None else levels)
    return hidden if not isinstance(what, Classifier) else _classifier(what, hidden, readout)


def round_levels(levels: Float[np.ndarray, " N"], most: int) -> tuple[float, tuple[int, ...], float]:
    """(unit, whole numbers, error): the multiples of one unit, ``most`` at most, that are nearest to levels.

    The error is the largest, relative to the largest level. Of units that leave none the largest is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from hntk.deploy.rounding import round_levels
    >>> round_levels(np.array([-0.5, 0.25, 1.0]), 127)
    (0.25, (-2, 1, 4), 0.0)
    """
    top = float(np.abs(levels).max()) or 1.0
    units, distinct = top / np.arange(1, most + 1), np.unique(levels)
    each = max(1, ROUNDED // distinct.size)
    errors = np.concatenate(
        [_rounding_errors(distinct, units[i : i + each, None]) / top for i in range(0, units.size, each)]
    )
    within = next((e for e in (EXACTLY, NEARLY) if errors.min() < e), float(errors.min()))
    best = int(np.argmax(errors <= within))
    return float(units[best]), tuple(np.rint(levels / units[best]).astype(int).tolist()), float(errors[best])


def _rounding_errors(
    levels: Float[np.ndarray, " N"], units: Float[np.ndarray, "units 1"]
) -> Float[np.ndarray, " units"]:
    """Largest distance of levels from multiples of each unit."""
    return np.abs(np.rint(levels / units) * units - levels).max(axis=1)


def _pixels(network: Network, normalization: Normalization | None) -> tuple[Pixels, float]:
    """Input as it is, and the normalised coordinate that a whole 1 is."""
    if normalization is None:
        raise ValueError("pixels need the normalization= of raw images that the network was made for.")
    # pixels and bias together stay below twice the pixels' largest sum
    room = EXACT // (2 * 255 * max(1, row_weight(network.weights[0])))
    fine = min(FINE, 2 ** max(0, room.bit_length() - 1))
    return Pixels(fine), 1.0 / (normalization.scale * fine)


def _rounded(network: Network, x: object, normalization: Normalization | None, bits: int) -> tuple[Rounded, float]:
    """The same for input that is rounded."""
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
    if not 1 / LARGEST <= unit * scale <= 1 / SMALLEST:
        raise ValueError(
            f"x has coordinates of up to {largest:.3g}, for which float32 has no factor: scale the samples to norms "
            "of about 1, as the network was made for."
        )
    return Rounded(np.asarray(centre, np.float32), float(np.float32(1 / (unit * scale))), most), unit


def _bias(weights: WeightMatrix, normalization: Normalization, fine: int) -> Int32[np.ndarray, " d"]:
    """−W centre: what centring the pixels would add to the sums."""
    centre = np.asarray(normalization.centre, np.float64) * fine
    added = np.rint(np.asarray(weights.values, np.float64) @ centre)
    if np.abs(added).max() > EXACT:
        raise NotIntegerError(
            f"centring the pixels would add up to {np.abs(added).max():,.0f} to sums, above 2**24: give the "
            "normalization of pixels from 0 to 255."
        )
    return -added.astype(np.int32)


def _hidden(
    network: Network, inputs: Pixels | Rounded, unit: float, bias: np.ndarray | None, bits: int
) -> IntegerNetwork:
    steps, rounding = [], []
    for w, factor, sigma, m in network.layers():
        assert isinstance(sigma, Staircase)
        thresholds = np.ceil(np.asarray(sigma.thresholds, float) / (w.scale * factor * unit))
        unit, levels, error = round_levels(np.asarray(sigma.levels) - m, 2 ** (bits - 1) - 1)
        # no sum is so large: such a threshold is never, or always, reached
        steps.append(Steps(tuple(int(t) for t in np.clip(thresholds, -LIMIT, LIMIT)), levels))
        rounding.append(error)
    weights = tuple(WeightMatrix(w.values, 1.0, w.kind) for w in network.weights)
    found = IntegerNetwork(
        inputs, weights, tuple(steps), bias, unit / sqrt(network.widths[-1]), tuple(rounding), origin=network.origin
    )
    if max(found.largest_sums) > EXACT:
        raise NotIntegerError(
            f"sums could reach {max(found.largest_sums):,}, above 2**24, and not be exact in float32: use fewer "
            "level_bits or input_bits."
        )
    return found


def _classifier(classifier: Classifier, hidden: IntegerNetwork, bits: int) -> IntegerClassifier:
    check_readout(classifier)
    weights, offset = np.asarray(classifier.weights).T * hidden.unit, np.asarray(classifier.offset)
    # the largest score in whole numbers must fit, offsets and rounding included
    largest = float((np.abs(weights).sum(axis=1) * hidden.steps[-1].most + np.abs(offset)).max())
    room = LIMIT - weights.shape[1] * hidden.steps[-1].most - 1
    unit = max(float(np.abs(weights).max()) / (2 ** (bits - 1) - 1), largest / room) or 1.0
    return IntegerClassifier(
        hidden,
        np.rint(weights / unit).astype(np.int8 if bits <= 8 else np.int16),
        np.rint(offset / unit).astype(np.int32),
        classifier.classes,
        unit,
        statistics=classifier.statistics,
    )


def _level_bits(network: Network) -> int:
    """As many as the widest sums of levels leave."""
    heaviest = max((row_weight(w) for w in network.weights[1:]), default=1)
    return max(2, min(LEVEL_BITS, (EXACT // max(1, heaviest)).bit_length()))
