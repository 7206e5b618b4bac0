"""Chains, and how affine maps are folded: against products of random matrices."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hntk.networks.models.chain import Chain, normalised
from hntk.networks.models.folding import fold
from hntk.networks.models.records import Elementwise

RNG = np.random.default_rng(0)
X = RNG.normal(size=(9, 4))


def outputs(chain: Chain, x: np.ndarray) -> np.ndarray:
    """Return what the folded model computes, in float64."""
    folded = fold(chain.records)
    for dense, function in folded.layers:
        x = function.values(x @ dense.weights.T + dense.bias)
    return x @ folded.weights + folded.offset


@pytest.mark.parametrize("where", [*product([False, True], repeat=4)])
def test_normalisation_is_folded_exactly_wherever_it_stands(where: tuple[bool, ...]) -> None:
    chain, expected = Chain(), X
    value = chain.input

    def normalise(value, expected, name):
        width = expected.shape[1]
        parts = [RNG.normal(size=width), RNG.normal(size=width), RNG.normal(size=width), RNG.uniform(1, 2, width)]
        gamma, beta, mean, variance = parts
        moved = gamma * (expected - mean) / np.sqrt(variance + 1e-3) + beta
        return chain.affine(value, name, *normalised(parts, 1e-3)), moved

    before, behind_dense, behind_function, last = where
    if before:
        value, expected = normalise(value, expected, "input")
    for number in range(2):
        weights, bias = RNG.normal(size=(6, expected.shape[1])), RNG.normal(size=6)
        value, expected = chain.dense(value, f"dense {number}", weights, bias), expected @ weights.T + bias
        if behind_dense:
            value, expected = normalise(value, expected, "behind a dense layer")
        value, expected = chain.apply("tanh", np.tanh, value), np.tanh(expected)
        if behind_function:
            value, expected = normalise(value, expected, "behind a function")
    weights = RNG.normal(size=(3, 6))
    value, expected = chain.dense(value, "readout", weights), expected @ weights.T
    if last:
        value, expected = normalise(value, expected, "the end")
    np.testing.assert_allclose(outputs(chain.close(value), X), expected, rtol=1e-12, atol=1e-12)


def test_operations_on_all_neurons_alike_are_one_function() -> None:
    chain = Chain()
    u = chain.dense(chain.input, "dense", RNG.normal(size=(6, 4)))
    half = chain.apply("half", lambda t: t / 2, u)
    swish = chain.apply("product", np.multiply, u, chain.apply("tanh", np.tanh, half))
    chain.close(chain.dense(swish, "readout", RNG.normal(size=(2, 6))))
    _, function, _ = chain.records
    assert isinstance(function, Elementwise)
    np.testing.assert_allclose(function.values(X), X * np.tanh(X / 2))


def test_a_line_is_no_function() -> None:
    chain = Chain()
    u = chain.dense(chain.input, "first", RNG.normal(size=(6, 4)))
    moved = chain.apply("shift", lambda t: 3 * t - 1, chain.apply("double", lambda t: 2 * t, u))
    matrix = RNG.normal(size=(2, 6))
    chain.close(chain.dense(moved, "second", matrix))
    first = chain.records[0].weights  # type: ignore[union-attr]
    np.testing.assert_allclose(outputs(chain, X), (6 * X @ first.T - 1) @ matrix.T, rtol=1e-12)
    assert len(fold(chain.records).layers) == 1


def test_values_of_an_earlier_layer_are_refused() -> None:
    chain = Chain()
    first = chain.apply("relu", np.abs, chain.dense(chain.input, "first", np.eye(4)))
    second = chain.dense(first, "second", np.eye(4))
    with pytest.raises(ValueError, match="'the sum'.*residual"):
        chain.apply("the sum", np.add, first, second)
    with pytest.raises(ValueError, match="'a branch'.*residual"):
        chain.dense(first, "a branch", np.eye(4))


@pytest.mark.parametrize(
    ("weights", "bias", "words"),
    [
        (np.ones((2, 3)), None, "takes 3 inputs but the layer before has 4 outputs"),
        (np.ones(4), None, "shape"),
        (np.ones((2, 4)), np.ones(3), "bias has 3 numbers for 2 outputs"),
        (np.full((2, 4), np.inf), None, "finite"),
        (np.ones((2, 4)), np.full(2, np.nan), "finite"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(weights: np.ndarray, bias: object, words: str) -> None:
    chain = Chain()
    value = chain.dense(chain.input, "first", np.eye(4))
    with pytest.raises(ValueError, match=f"'second'.*{words}.*Remedy"):
        chain.dense(value, "second", weights, bias)


def test_chains_without_hidden_layers_are_refused() -> None:
    chain = Chain()
    with pytest.raises(ValueError, match="no hidden one"):
        fold(chain.close(chain.dense(chain.input, "one", np.eye(4))).records)
    chain = Chain()
    with pytest.raises(ValueError, match="no dense layer"):
        fold(chain.records)
    chain.dense(chain.apply("early", np.abs, chain.input), "one", np.eye(4))
    with pytest.raises(ValueError, match="'early'.*applied to the input"):
        fold(chain.records)
