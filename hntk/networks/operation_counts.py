r"""Cost of a prediction: arithmetic, and memory for activations.

Multiplying a $b_w$-bit weight by a $b_a$-bit value and adding the product counts as $b_wb_a$ bit operations, and
weights that are 0 are skipped, in every network alike. float32 has 32 bits. A ternary weight that is not 0 is a sign
and has 1, for an addition or subtraction. An activation of N levels has $\lceil\log_2 N\rceil$. Thresholds, which are
compared once a neuron, and positions of weights are left out. The readout is float32.

Orthogonal blocks are multiplied with by Walsh–Hadamard transforms. An addition of b-bit numbers counts as b bit
operations, and the numbers of each step have one bit more than those before.

Bit planes, which suit processors without sparse instructions, cannot skip zeros. They are counted as well, with two
planes for a ternary matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2, prod
from operator import mul
from typing import NamedTuple

from hntk._utils.arguments import as_count, as_instance
from hntk.activations import Activation
from hntk.networks.network import Network
from hntk.networks.read_layers import ReadLayers, as_read_layers, read_widths
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Kind, Weights

WEIGHT_BITS: dict[Kind, int] = {"float32": 32, "int8": 8, "ternary": 1, "sign": 1}
PLANES: dict[Kind, int] = {**WEIGHT_BITS, "ternary": 2}
FLOAT_BITS = 32


@dataclass(frozen=True)
class Arithmetic:
    """Cost of one prediction.

    Attributes
    ----------
    multiply_accumulates : int
        Weights that are not 0, or additions of a transform, with the readout's.
    bit_operations : int
        Products of bits of weights that are not 0 and of bits of what they are multiplied with.
    plane_operations : int
        Bit operations on bit planes, where zeros of ternary, ±1 and int8 matrices count too; of transforms as before.
    activation_bytes : int
        Largest memory that the values on both sides of one layer take together. A readout of all layers adds to the
        scores layer by layer, and keeps nothing.
    """

    multiply_accumulates: int
    bit_operations: int
    plane_operations: int
    activation_bytes: int


def arithmetic(network: Network, classes: int, input_bits: int = FLOAT_BITS, layers: ReadLayers = "last") -> Arithmetic:
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
    layers : {"last", "all"}
        Whose features the readout takes.

    Returns
    -------
    Arithmetic
        Operations and memory.

    Raises
    ------
    ValueError
        If it is no network, a number is not whole and positive, or ``layers`` is unknown.

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
    costs = [_cost(w, b) for w, b in zip(network.weights, bits, strict=False)]
    read = read_widths(network.widths, as_read_layers(layers))
    readout = classes * FLOAT_BITS * sum(map(mul, read, bits[-len(read) :]))
    layer_bits = [width * b for width, b in zip((network.inputs, *network.widths), bits, strict=True)]
    return Arithmetic(
        sum(cost.additions for cost in costs) + sum(read) * classes,
        sum(cost.bit_operations for cost in costs) + readout,
        sum(cost.plane_operations for cost in costs) + readout,
        max(ceil((before + after) / 8) for before, after in zip(layer_bits[:-1], layer_bits[1:], strict=True)),
    )


class _Cost(NamedTuple):
    additions: int
    bit_operations: int
    plane_operations: int


def _cost(w: Weights, bits: int) -> _Cost:
    """Return the cost of a product with values of so many bits."""
    if isinstance(w, OrthogonalMatrix):
        operations = sum(count * (bits + step) for step, count in enumerate(w.additions))
        return _Cost(sum(w.additions), operations, operations)
    nonzero = w.nonzero
    on_planes = nonzero if w.kind == "float32" else prod(w.shape)
    return _Cost(nonzero, nonzero * WEIGHT_BITS[w.kind] * bits, on_planes * PLANES[w.kind] * bits)


def activation_bits(activation: Activation) -> int:
    """Return the bits of one value of an activation."""
    levels = activation.level_count
    return FLOAT_BITS if levels is None else max(1, ceil(log2(levels)))
