"""Bounds of the numbers in a network are never exceeded, and infinite only where there is none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hntk
from hntk import LayerScales
from hntk.networks.value_bounds import LARGEST_INPUT, Readout, _largest_number, check_finite

BOUNDED = ["cos", "sin", "erf", "gaussian", "sign", "step", hntk.staircase([-1.0, 2.0], [3.0, -7.0, 0.5])]
UNBOUNDED = ["relu", "abs", "linear", hntk.activation("polynomial", coefficients=[0.3, -1.0, 0.0, 2.0]), "quadratic"]


@pytest.mark.parametrize("which", [*BOUNDED, *UNBOUNDED, "tanh", "gelu", "softplus"], ids=str)
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 20.0])
def test_no_value_exceeds_the_bound_of_an_activation(which: object, t: float) -> None:
    sigma = hntk.activation(which)  # type: ignore[arg-type]
    largest = float(np.abs(np.asarray(sigma(jnp.linspace(-t, t, 4001)))).max())
    # functions that are known by their values are evaluated at fewer points
    assert largest <= sigma.bound(t) * 1.01 + 1e-6
    assert math.isfinite(sigma.bound(t))


def test_infinite_bounds_tell_which_activations_are_bounded() -> None:
    assert all(math.isfinite(hntk.activation(which).bound(math.inf)) for which in BOUNDED)  # type: ignore[arg-type]
    for which in [*UNBOUNDED, "tanh"]:
        assert not math.isfinite(hntk.activation(which).bound(math.inf))  # type: ignore[arg-type]


def test_levels_and_tables_are_counted() -> None:
    stairs = hntk.staircase([-1.0, 0.0, 1.0], [2.0, 0.0, 0.0, 2.0])
    assert (stairs.level_count, stairs.table_size) == (2, 7)
    assert (hntk.activation("relu").level_count, hntk.activation("relu").table_size) == (None, 0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_no_number_of_a_network_exceeds_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [["relu", "erf", "cos", "sign"][i] for i in rng.integers(0, 4, 2)]
    widths: list[int] = [6, 4]
    parts: dict[str, Any] = {}
    if seed % 3:
        widths, normalize = [5, 4], (None, "rms", "layer")[seed // 3 % 3]
        parts = {"weight_std": 1.5, "bias_std": [200.0, 0.0], "residual": [0.7, 0.0], "normalize": normalize}
    described = hntk.Architecture(names, **parts)
    net = hntk.draw_network(described, widths, 5, tau0=1.0, law="ternary", key=jax.random.key(seed))
    layers, rows = ("last", 4) if seed % 2 else ("all", sum(widths))
    readout = Readout(rng.normal(size=(rows, 3)), rng.normal(size=3), layers)
    bound = _largest_number(list(net.layers()), readout)
    # the worst samples are at the corners
    x = rng.choice([-LARGEST_INPUT, LARGEST_INPUT], (50, 5)).astype(np.float32)
    features = np.asarray(net.features(x, layers=layers))
    scores = features @ readout.weights + readout.offset
    assert np.abs(scores).max() <= bound
    assert np.abs(features).max() * 2 <= bound
    values = [part * part.shape[1] ** 0.5 for part in np.split(features, widths[:1] if layers == "all" else [], axis=1)]
    np.testing.assert_allclose(readout.scores(values), scores, rtol=1e-4, atol=1e-3)


def test_row_sums_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(-127, 128, (50, 31)).astype(np.int8)
    expected = int(np.abs(values.astype(int)).sum(axis=1).max())
    matrix = hntk.WeightMatrix(values, 0.5, "int8")  # type: ignore[arg-type]
    assert matrix.largest_row_sum == expected
    monkeypatch.setattr("hntk.weights.weight_matrix.ROW_BLOCK", 40)
    assert matrix.largest_row_sum == expected


def test_unbounded_networks_are_evaluated_at_their_scale() -> None:
    cubic = hntk.activation("polynomial", coefficients=[0.0, 1.0, 0.0, 1.0])
    square = hntk.WeightMatrix(jnp.eye(8, dtype=jnp.float32))
    layers = list(hntk.Network((square,) * 3, (cubic,) * 3, (0.0,) * 3, None, None).layers())
    # the bound from samples of 1000 leaves float32, and samples of norm 1 give small numbers
    assert _largest_number(layers, None) == math.inf
    check_finite(layers, 1.0, None)
    with pytest.raises(ValueError, match="rescale"):
        check_finite(layers, 1e3, None)


def test_bounds_know_biases_branches_and_normalisation() -> None:
    square, sigma = hntk.WeightMatrix(jnp.full((4, 4), 0.5, jnp.float32)), hntk.activation("linear")
    plain = hntk.Network((square,) * 2, (sigma,) * 2, (0.0,) * 2, None, None)
    first = LARGEST_INPUT * 2
    assert _largest_number(list(plain.layers()), None) == first * 2
    biases = (jnp.full(4, -3e5, jnp.float32), None)
    assert _largest_number(list(replace(plain, biases=biases).layers()), None) == (first + 3e5) * 2
    # √4 times the data and the branch's sums over √4
    branched = replace(plain, branches=(square, None))
    assert _largest_number(list(branched.layers()), None) == (2 * LARGEST_INPUT + first * 2 / 2) * 2
    # rows of norm 1, times √4/√4: the bound no longer grows with depth
    deep = hntk.Network((square,) * 400, (sigma,) * 400, (0.0,) * 400, None, None)
    steep = [LayerScales(1e3, 0.0, 0.0)] * 400
    assert _largest_number(list(replace(deep, scales=steep).layers()), None) == math.inf  # type: ignore[arg-type]
    assert _largest_number(list(replace(deep, scales=steep, normalize="rms").layers()), None) == 2e3  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rescale"):
        check_finite(list(replace(deep, scales=steep).layers()), 1.0, None)  # type: ignore[arg-type]
