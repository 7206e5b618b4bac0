"""Bytes by formula, and counted operations of networks."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.stats import entropy

import hntk
from hntk.networks.formula_bytes import storage_of
from hntk.weights.encodings import pack

LAWS = ["gaussian", "int8_gaussian", "sparse_gaussian", "pruned_gaussian", "student_t", "bernoulli", "ternary"]


@pytest.mark.slow
def test_operations_and_memory_follow_the_rule() -> None:
    def cost(law: str, acts: list, sparsity: float = 0.5, bits: int = 32) -> hntk.Arithmetic:
        drawn = hntk.weight_law(law, sparsity=sparsity)
        net = hntk.draw_network(acts, [40, 20], 30, tau0=1.0, law=drawn, key=jax.random.key(0))
        return hntk.arithmetic(net, 10, bits)

    first, second, last = 30 * 40, 40 * 20, 20 * 10
    dense = cost("gaussian", ["relu", "relu"])
    assert dense.bit_operations == (first + second + last) * 32 * 32
    assert dense.multiply_accumulates == first + second + last
    assert dense.activation_bytes == (30 + 40) * 4
    four = hntk.match(["relu"] * 2, 1.0, 4).activations
    binary = cost("bernoulli", list(four), bits=8)
    assert binary.bit_operations == binary.plane_operations == first * 8 + second * 2 + last * 32 * 2
    assert binary.activation_bytes == (30 * 8 + 40 * 2) // 8
    ternary = cost("ternary", list(four), bits=8)
    assert ternary.plane_operations == 2 * first * 8 + 2 * second * 2 + last * 32 * 2
    # Half of the ternary weights are zero.
    assert 0.4 < (ternary.bit_operations - last * 64) / (binary.bit_operations - last * 64) < 0.6
    sparse = cost("sparse_gaussian", ["relu", "relu"], 0.9)
    assert sparse.bit_operations == sparse.multiply_accumulates * 1024
    assert sparse.multiply_accumulates < 0.3 * dense.multiply_accumulates


def test_formulas_agree_with_the_drawn_matrices() -> None:
    for law in LAWS:
        drawn = hntk.weight_law(law, sparsity=0.9)
        net = hntk.draw_network(["relu"], [400], 500, tau0=1.0, law=drawn, key=jax.random.key(0))
        formula = hntk.storage(net, 10)
        assert formula.hidden_smallest == pytest.approx(pack(net.weights[0]).nbytes, rel=0.02)
        assert formula.smallest - formula.hidden_smallest == formula.total - formula.hidden


def test_storage_by_hand() -> None:
    net = hntk.draw_network(
        [hntk.staircase([0.0, 1.0], [0.0, 1.0, 2.0])] * 2, [40, 25], 64, tau0=1.0,
        law=hntk.weight_law("ternary", sparsity=0.5), key=jax.random.key(0),
    )  # fmt: skip
    found = hntk.storage(net, classes=10)
    weights = 64 * 40 + 40 * 25
    assert (found.hidden, found.hidden_base3) == (weights // 4, weights // 5)
    shares = [(w.values.size, float(np.mean(w.values == 0))) for w in net.weights]
    assert found.hidden_entropy == np.ceil(
        sum(n * entropy([z, (1 - z) / 2, (1 - z) / 2], base=2) for n, z in shares) / 8
    )
    law = hntk.weight_law("ternary", sparsity=0.5)
    assert storage_of(net.activations, net.widths, 64, law, 10).hidden_entropy == round(weights * 1.5 / 8)
    assert found.readout == 26 * 10 * 4
    assert found.activations == 2 * (2 + 3 + 1) * 4
    assert found.total == found.hidden + found.readout + found.activations


def test_biases_branches_and_normalisation_are_counted() -> None:
    """By hand, of layers 12 → 12 → 12 → 5 with a branch in the first and staircases in the others."""
    stairs = [hntk.staircase([0.0, 1.0], [0.0, 1.0, 2.0])] * 3
    net = hntk.draw_network(
        hntk.Architecture(stairs, bias_std=[0.1, 0.0, 0.2], residual=[0.7, 0.0, 0.0], normalize="layer"),
        [12, 12, 5], 12, tau0=1.0, law="bernoulli", key=jax.random.key(0),
    )  # fmt: skip
    plain = hntk.Network(net.weights, net.activations, net.centres, None, None)
    square, last, classes = 144, 60, 10
    assert net.hidden_weights == 3 * square + last
    bytes_of, without = hntk.storage(net, classes), hntk.storage(plain, classes)
    assert bytes_of.biases == 4 * (12 + 5)
    assert bytes_of.hidden == -(-(3 * square + last) // 8)
    assert bytes_of.total == without.total + bytes_of.biases + square // 8
    assert without.biases == 0
    # biases, the state before the branch, squares and scalings; behind the first layer means and their subtraction
    additions = 12 + 5 + 12 + 2 * (12 + 12)
    products = 2 * (12 + 12 + 12)
    # the first layer's normalisation takes no mean, and the second sees the data too
    additions -= 2 * 12
    cost, before = hntk.arithmetic(net, classes, 8), hntk.arithmetic(plain, classes, 8)
    weights = 3 * square + last + 5 * classes
    assert cost.multiply_accumulates == weights + additions + products
    # normalised values have 32 bits, those of a staircase 2; the branch sees those
    product_bits = 32 * (2 * square + last) + 2 * square + 2 * 32 * 5 * classes
    assert cost.bit_operations == product_bits + 32 * additions + 32**2 * products
    assert before.multiply_accumulates == weights - square
    assert cost.activation_bytes == 12 * (32 + 2) // 8
    assert before.activation_bytes == 12 * (8 + 2) // 8
    rows = net.summary().layers
    assert [row.name for row in rows] == ["layer 1", "branch 1", "layer 2", "layer 3"]
    assert [row.multiply_accumulates for row in rows] == [24, 0, 24, 24]
    assert [row.additions for row in rows] == [square + 12, square + 12, square, last + 5 + 24]
    assert rows[0].bytes - rows[1].bytes == 4 * (2 + 3 + 12)
