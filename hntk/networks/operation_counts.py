r"""Cost of a prediction: arithmetic, and memory for activations.

Multiplying a $b_w$-bit weight by a $b_a$-bit value and adding the product counts as $b_wb_a$ bit operations, and
weights that are 0 are skipped, in every network alike. float32 has 32 bits. A ternary weight that is not 0 is a sign
and has 1, for an addition or subtraction. An activation of N levels has $\lceil\log_2 N\rceil$. Thresholds, which are
compared once a neuron, and positions of weights are left out. The readout is float32.

Bit planes, which suit processors without sparse instructions, cannot skip zeros. They are counted as well, with two
planes for a ternary matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2, prod

import numpy as np

from hntk._utils.arguments import as_count, as_instance
from hntk.activations import Activation
from hntk.networks.network import Network
from hntk.weights.laws import Kind

WEIGHT_BITS: dict[Kind, int] = {"float32": 32, "int8": 8, "ternary": 1, "sign": 1}
PLANES: dict[Kind, int] = {**WEIGHT_BITS, "ternary": 2}
FLOAT_BITS = 32


@dataclass(frozen=True)
class Arithmetic:
    """Cost of one prediction.

    Attributes
    ----------
    multiply_accumulates : int
        Weights that are not 0, with the readout's.
    bit_operations : int
        Products of bits of weights that are not 0 and of bits of what they are multiplied with.
    plane_operations : int
        Bit operations on bit planes, where zeros of ternary, ±1 and int8 matrices count too.
    activation_bytes : int
        Largest memory that the values on both sides of one layer take together.
    """

    multiply_accumulates: int
    bit_operations: int
    plane_operations: int
    activation_bytes: int


def arithmetic(network: Network, classes: int, input_bits: int = FLOAT_BITS) -> Arithmetic:
    """Count the operations of one prediction with a float32 readout.

    Parameters
    ----------
    network : Network
        The network.
    classes : int
        Number of classes of the readout.
    input_bits : int
        Bits of one coordinate of a sample: 8 for pixels of an image, whose normalisation can be moved past the first
        layer's sums.

    Returns
    -------
    Arithmetic
        Operations and memory.

    Raises
    ------
    ValueError
        If it is no network, or a number is not whole and positive.

    Examples
    --------
    >>> import jax, hntk
    >>> net = hntk.draw_network(["sign"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> cost = hntk.arithmetic(net, classes=10)
    >>> cost.plane_operations == 100 * 80 * 2 * 32 + 100 * 10 * 32 * 1
    True
    """
    as_instance(network, "network", Network, "a network, such as of hntk.dense")
    classes, input_bits = as_count(classes, "classes"), as_count(input_bits, "input_bits")
    bits = [input_bits, *(activation_bits(a) for a in network.activations)]
    nonzero = [int(np.count_nonzero(np.asarray(w.values))) for w in network.weights]
    on_planes = [n if w.kind == "float32" else prod(w.shape) for n, w in zip(nonzero, network.weights, strict=True)]
    kinds: list[Kind] = [w.kind for w in network.weights]
    readout = network.widths[-1] * classes * FLOAT_BITS * bits[-1]
    layer_bits = [width * b for width, b in zip((network.inputs, *network.widths), bits, strict=True)]
    return Arithmetic(
        sum(nonzero) + network.widths[-1] * classes,
        sum(n * WEIGHT_BITS[kind] * b for n, kind, b in zip(nonzero, kinds, bits[:-1], strict=True)) + readout,
        sum(n * PLANES[kind] * b for n, kind, b in zip(on_planes, kinds, bits[:-1], strict=True)) + readout,
        max(ceil((before + after) / 8) for before, after in zip(layer_bits[:-1], layer_bits[1:], strict=True)),
    )


def activation_bits(activation: Activation) -> int:
    """Return the bits of one value of an activation."""
    levels = activation.level_count
    return FLOAT_BITS if levels is None else max(1, ceil(log2(levels)))
