r"""Cost of a prediction: arithmetic, and memory for activations.

Multiplying a $b_w$-bit weight by a $b_a$-bit value and adding the product counts as $b_wb_a$ bit operations, and
weights that are 0 are skipped, in every network alike. float32 has 32 bits. A ternary weight that is not 0 is a sign
and has 1, for an addition or subtraction. An activation of N levels has $\lceil\log_2 N\rceil$. Thresholds, which are
compared once a neuron, and positions of weights are left out. The readout is float32.

States behind a residual branch and normalised values are float32. Biases and states before a branch are added in
float32, 32 bit operations each. A normalisation squares and scales each of its values, which are $2 \cdot 32^2$ bit
operations, and ``"layer"`` adds each and subtracts the mean from it before.

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
from hntk.networks.summary_table import OtherOperations
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
        Weights that are not 0, or additions of a transform, with the readout's; and all operations of biases, branches
        and normalisations, which are not products with weights.
    bit_operations : int
        Products of bits of weights that are not 0 and of bits of what they are multiplied with.
    plane_operations : int
        Bit operations on bit planes, where zeros of ternary, ±1 and int8 matrices count too; of transforms as before.
    activation_bytes : int
        Largest memory that the values on both sides of one layer take together. A readout of all layers adds to the
        scores layer by layer, and keeps nothing. A branch adds to the state in place.
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
    costs, bits, memory, given = [], [], 0, input_bits
    for layer in network.layers():
        values, inputs = activation_bits(layer.activation), layer.weights.shape[1]
        behind = values if layer.branch is None else FLOAT_BITS
        costs += [_cost(layer.weights, FLOAT_BITS if layer.normalize else given), _other_cost(layer.other_operations)]
        if layer.branch is not None:
            width = layer.branch.shape[0]
            costs += [_cost(layer.branch, values), _other_cost(OtherOperations(0, width))]
        # the state that a branch adds to is kept in float32
        kept = given if layer.branch is None else FLOAT_BITS
        memory = max(memory, ceil((inputs * kept + layer.weights.shape[0] * values) / 8))
        bits.append(behind)
        given = behind
    read = read_widths(network.widths, as_read_layers(layers))
    readout = classes * FLOAT_BITS * sum(map(mul, read, bits[-len(read) :]))
    whole = [sum(column) for column in zip(*costs, strict=True)]
    return Arithmetic(whole[0] + sum(read) * classes, whole[1] + readout, whole[2] + readout, memory)


class _Cost(NamedTuple):
    additions: int
    bit_operations: int
    plane_operations: int


def _other_cost(others: OtherOperations) -> _Cost:
    """Return the cost of operations in float32 that are not products with weights."""
    operations = others.multiplications * FLOAT_BITS**2 + others.additions * FLOAT_BITS
    return _Cost(sum(others), operations, operations)


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
