r"""What a prediction costs in arithmetic and in memory for activations.

The rule: multiplying a $b_w$-bit weight by a $b_a$-bit value and adding the product counts $b_wb_a$ bit operations, and
weights that are 0 are skipped, in every network alike. float32 has 32 bits; a ternary weight that is not 0 is a sign,
1 bit, an addition or subtraction; an activation of N levels has $\lceil\log_2 N\rceil$. Thresholds, which are
compared once a neuron, and positions of weights are left out. The readout is float32.

Bit planes, as processors without sparse instructions work them off, cannot skip zeros: they are counted beside it, two
planes for a ternary matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import numpy as np

from hntk._utils.arguments import as_count, as_instance
from hntk.activations import Activation, Staircase
from hntk.networks.network import Network
from hntk.weights.laws import Kind, WeightMatrix

WEIGHT_BITS: dict[Kind, int] = {"float32": 32, "int8": 8, "ternary": 1, "sign": 1}
PLANES: dict[Kind, int] = {**WEIGHT_BITS, "ternary": 2}
FLOAT_BITS = 32


@dataclass(frozen=True)
class Arithmetic:
    """Cost of one prediction.

    Attributes
    ----------
    multiply_accumulates : weights that are not 0, readout included.
    bit_operations : by the rule above.
    plane_operations : the same on bit planes, zeros of ternary, sign and int8 matrices included.
    activation_bytes : the largest memory that the values on both sides of one layer take together.
    """

    multiply_accumulates: int
    bit_operations: int
    plane_operations: int
    activation_bytes: int


def arithmetic(network: Network, classes: int, input_bits: int = FLOAT_BITS) -> Arithmetic:
    """Cost of one prediction, with a float32 readout for so many classes.

    Parameters
    ----------
    input_bits : of one coordinate of a sample: 8 for the pixels of an image, whose normalisation can be moved past the
        first layer's sums.

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
    readout = network.widths[-1] * classes * FLOAT_BITS * bits[-1]
    rows = list(zip(network.weights, nonzero, bits[:-1], strict=True))
    widths = (network.inputs, *network.widths)
    held = [a * b for a, b in zip(widths, bits, strict=True)]
    return Arithmetic(
        sum(nonzero) + network.widths[-1] * classes,
        sum(n * WEIGHT_BITS[w.kind] * b for w, n, b in rows) + readout,
        sum(_on_planes(w, n) * PLANES[w.kind] * b for w, n, b in rows) + readout,
        max(ceil((before + after) / 8) for before, after in zip(held[:-1], held[1:], strict=True)),
    )


def activation_bits(activation: Activation) -> int:
    """Bits one value of an activation takes."""
    return max(1, ceil(log2(activation.level_count))) if isinstance(activation, Staircase) else FLOAT_BITS


def _on_planes(matrix: WeightMatrix, nonzero: int) -> int:
    return nonzero if matrix.kind == "float32" else matrix.shape[0] * matrix.shape[1]
