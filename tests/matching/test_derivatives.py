"""Moments, shares and mismatches as functions of the unknowns, and their derivatives."""

from __future__ import annotations

import numpy as np

import hntk
from hntk.matching.cell_pattern import CellPattern, StepNetwork
from hntk.matching.complex_step import jacobian
from hntk.matching.joint import _program
from hntk.matching.joint_target import JointTarget, ZeroMoments
from hntk.matching.kernel_mismatch import correlation_map, mismatch_from
from hntk.matching.library import library
from hntk.matching.newton import solve
from hntk.matching.starts import nearest_layers
from hntk.matching.units import to_staircase
from hntk.matching.variance_shares import final_by_name, final_shares, layer_shares


def test_shares_follow_the_coefficients_and_their_derivatives_are_right() -> None:
    net = hntk.coefficients(["relu", "tanh", "softplus"], 0.7)
    final = final_by_name(layer_shares(net.moments))
    unit = net.tau[-1] ** 2 / 0.7 ** np.array([2, 4, 4])
    np.testing.assert_allclose([final[f"alpha{i}"] for i in (1, 2, 3)] * unit, net.alpha[-1, :3], rtol=1e-13)
    np.testing.assert_allclose([final[f"beta{i}"] for i in (1, 2, 3)] * unit, net.beta[-1], rtol=1e-13)
    assert np.isclose(final["beta1"], 4 * final["alpha1"])
    layers = np.random.default_rng(0).uniform(0.1, 1, (4, 3))
    _, by = jacobian(final_shares, layers, 2)
    for index in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[index] = 1e-6
        slope = (final_shares(layers + step) - final_shares(layers - step)) / 2e-6
        np.testing.assert_allclose(by[:, index[0], index[1]], slope, atol=1e-8)


def test_layer_moments_are_the_activations_and_derivatives_are_right() -> None:
    pattern = CellPattern((2, 0, 1, 2, 1))
    z = np.array([-1.2, -0.3, 0.4, 1.9, -0.5, 0.7, 2.0])
    values, by_unknowns = pattern.moments(z)
    staircase = hntk.staircase(z[:4], z[4:][list(pattern.labels)])
    m = staircase.moments(1.0)
    np.testing.assert_allclose(values, [*m.unit_targets, m.variance], rtol=1e-13)
    order = 6
    c, c_by = pattern.hermite(z, order)
    assert np.isclose(c[0], m.e1)
    assert np.isclose(c[1], m.e2 / np.sqrt(2))
    for i in range(z.size):
        step = 1e-6 * np.eye(z.size)[i]
        slope = (pattern.moments(z + step)[0] - pattern.moments(z - step)[0]) / 2e-6
        np.testing.assert_allclose(by_unknowns[:, i], slope, atol=1e-8)
        slope = (pattern.hermite(z + step, order)[0] - pattern.hermite(z - step, order)[0]) / 2e-6
        np.testing.assert_allclose(c_by[:, i], slope, atol=1e-8)
        weights = np.array([0.3, -0.2, 0.7, 1.1])
        slope = weights @ (pattern.moments(z + step)[1] - pattern.moments(z - step)[1]) / 2e-6
        np.testing.assert_allclose(pattern.curvature(z, weights)[i], slope, atol=1e-8)


def test_the_mismatch_is_that_of_the_exact_maps() -> None:
    layers = tuple(hntk.activation(name) for name in ("relu", "relu"))
    net = hntk.coefficients(layers, 1.0)
    target = correlation_map(layers, net.tau[:-1].tolist())
    network = StepNetwork.of_normalised([library(4).functions[100], library(5).functions[80]])
    staircases = [to_staircase(f, 1.0, 1.0, "f") for f in network.functions()]
    own = correlation_map(staircases, [1.0, 1.0])
    residuals = mismatch_from(target, network)
    z = network.unknowns
    misses, by_unknowns = residuals(z)
    # the series is cut at order 40, which only correlations near ±1 notice
    assert np.isclose(np.sum(misses**2), np.mean((own - target) ** 2 * hntk_weights()), rtol=0.02)
    for i in range(0, z.size, 3):
        step = 1e-6 * np.eye(z.size)[i]
        slope = (residuals(z + step)[0] - residuals(z - step)[0]) / 2e-6
        np.testing.assert_allclose(by_unknowns[:, i], slope, atol=1e-7)


def hntk_weights() -> np.ndarray:
    """Gauss-Legendre weights on [−1, 1], times their number over two."""
    weights = np.polynomial.legendre.leggauss(24)[1]
    return weights * weights.size / 2


def test_a_complex_step_is_exact_where_differences_are_not() -> None:
    x = np.array([[0.3, 1.2], [2.0, -0.7]])

    def function(x: np.ndarray) -> np.ndarray:
        return np.stack([np.exp(x[..., 0, 0]) * x[..., 1, 1], np.log(x[..., 1, 0]) / x[..., 0, 1]], axis=-1)

    values, by = jacobian(function, np.stack([x, x + 0.1]), 2)
    assert by.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(values[0], [-0.7 * np.exp(0.3), np.log(2.0) / 1.2], rtol=1e-15)
    exact = [[[-0.7 * np.exp(0.3), 0], [0, np.exp(0.3)]], [[0, -np.log(2.0) / 1.44], [1 / 2.4, 0]]]
    np.testing.assert_allclose(by[0], exact, rtol=1e-14)


def test_the_series_of_a_staircase_sums_to_its_variance() -> None:
    pattern, z = CellPattern.of(hntk.staircase([-0.4, 0.8], [0.0, 1.0, 3.0]).step_function)
    variance = pattern.moments(z)[0][3]
    # squares of a jump's coefficients fall like k^(-3/2)
    missing = [1 - np.sum(pattern.hermite(z, order)[0] ** 2) / variance for order in (40, 160)]
    assert 0 < missing[1] < missing[0] < 0.1
    assert np.isclose(missing[0] / missing[1], 2, rtol=0.2)


def test_a_solution_meets_the_constraints_and_is_stationary_along_them() -> None:
    shares = layer_shares(hntk.coefficients(["relu", "tanh"], 1.0).moments)
    target = JointTarget(shares, ("alpha1", "alpha3"))
    program = _program(target, ZeroMoments.of(target))
    start = StepNetwork.of_normalised(nearest_layers(target, ZeroMoments.of(target), (4, 4), 0.0))
    solution = solve(program, start)
    assert solution is not None
    moments, by_unknowns = solution.moments(solution.unknowns)
    values, by_moments = jacobian(program, moments, 2)
    assert abs(values[1]) < 1e-12
    rows = np.concatenate([by_moments[:, i] @ by for i, by in enumerate(by_unknowns)], axis=1)
    normal = rows[1] / np.linalg.norm(rows[1])
    assert np.max(np.abs(rows[0] - (rows[0] @ normal) * normal)) < 1e-4
    assert values[0] <= program(start.moments(start.unknowns)[0])[0]
