"""The NTK of networks trained with surrogates: exact kernels, estimates at finite width, and simulated steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

import hntk
from tests.support.precision import precision
from tests.support.samples import two_classes
from tests.support.straight_through_steps import STEPS, TAU0, X, finite_step_diagonal, simulated

CLIPPED = hntk.surrogate("clipped", width=1.4)
SAMPLES, _ = two_classes(9, 5)


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


def written_out(depth: int) -> np.ndarray:
    """Return Θ of the two samples for the clipped surrogate, by the recursion and SciPy's normal distribution."""
    ck = ntk = X @ X.T
    for m in hntk.coefficients([STEPS] * depth, TAU0).centres:
        slope = np.empty((2, 2))
        for i, j in np.ndindex(2, 2):
            root = np.sqrt(max(ck[j, j] - ck[i, j] ** 2 / ck[i, i], 1e-30))
            mean = np.array(STEPS.thresholds) * ck[i, j] / ck[i, i]
            inside = ndtr((1.4 - mean) / root) - ndtr((-1.4 - mean) / root)
            slope[i, j] = np.sum(STEPS.jumps * norm.pdf(STEPS.thresholds, 0, np.sqrt(ck[i, i])) * inside)
        var = np.diag(ck)
        ck = np.asarray(STEPS.kernel_map(jnp.asarray(ck), var[:, None], var[None, :], m))
        ntk = ck + ntk * slope
    return ntk


def test_exact_kernels_against_the_recursion_written_out() -> None:
    expected = written_out(2)
    kernels = hntk.exact_kernels(X, [STEPS] * 2, tau0=TAU0, surrogate=CLIPPED)
    np.testing.assert_allclose(kernels.ntk, expected, rtol=1e-13)
    assert abs(expected[0, 1] - expected[1, 0]) > 0.05
    np.testing.assert_allclose(kernels.ck, hntk.exact_kernels(X, [STEPS] * 2, tau0=TAU0).ck, rtol=1e-14)
    traced = jax.jit(lambda x: hntk.exact_kernels(x, [STEPS] * 2, tau0=TAU0, surrogate=CLIPPED).ntk)(X)
    np.testing.assert_allclose(traced, expected, rtol=1e-13)


@pytest.mark.nightly
def test_tiles_two_sets_and_files_give_the_same(tmp_path: Path) -> None:
    net, surrogates = ["relu", STEPS], [None, hntk.surrogate("tanh", width=1.3, relative=True)]
    whole = hntk.exact_kernels(SAMPLES, net, tau0=1.0, surrogate=surrogates).ntk
    tiled = hntk.exact_kernels(SAMPLES, net, tau0=1.0, surrogate=surrogates, tile=4).ntk
    rows = hntk.exact_kernels(SAMPLES[:4], net, x2=SAMPLES, tau0=1.0, surrogate=surrogates).ntk
    stored = hntk.store_kernels(tmp_path, SAMPLES, net, tau0=1.0, surrogate=surrogates, tile=4).ntk
    np.testing.assert_allclose(tiled, whole, rtol=1e-12)
    np.testing.assert_allclose(rows, whole[:4], rtol=1e-12)
    np.testing.assert_allclose(stored, tiled, rtol=1e-12)
    declared = hntk.exact_kernels(SAMPLES, net, tau0=1.0, surrogate=surrogates, kappa_sq=3.0, tile=4).ntk
    np.testing.assert_array_equal(np.diag(declared), 3.0)
    with pytest.raises(ValueError, match="holds kernels of something else|other"):
        hntk.store_kernels(tmp_path, SAMPLES, net, tau0=1.0, surrogate=[None, CLIPPED], tile=4)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no surrogates"):
        hntk.exact_kernels(X, [STEPS], surrogate=CLIPPED, engine="neural_tangents")
    with pytest.raises(ValueError, match="tau0="):
        jax.jit(lambda x: hntk.exact_kernels(x, [STEPS], surrogate=hntk.surrogate("tanh", relative=True)).ntk)(X)


@pytest.mark.nightly
@pytest.mark.parametrize(("depth", "width", "draws"), [(1, 500, 250), (2, 400, 60)])
def test_simulated_steps(depth: int, width: int, draws: int) -> None:
    check_steps(depth, width, draws, eta=1.0 if depth == 1 else 0.4)


@pytest.mark.nightly
@pytest.mark.parametrize("width", [1000, 2000])
@pytest.mark.parametrize("depth", [2, 3])
def test_simulated_steps_of_wider_networks(depth: int, width: int) -> None:
    check_steps(depth, width, draws=200, eta=0.4)


def check_steps(depth: int, width: int, draws: int, eta: float) -> None:
    """Hold simulated steps to the kernel, within three standard errors of each of four entries."""
    measured, error = simulated(depth, width, CLIPPED, eta, draws)
    limit = written_out(depth)
    finite = np.where(np.eye(2, dtype=bool), finite_step_diagonal(depth, width, CLIPPED, eta), limit)
    assert np.all(np.abs(measured - finite) < 3 * error)
    # the kernel of surrogates on both sides, and the one whose rows and columns change places, are ruled out
    both = surrogates_alone(depth)
    assert np.all(np.abs(np.diag(measured - both)) > 5 * np.diag(error))
    if depth == 2:
        assert np.abs(measured - limit).sum() < np.abs(measured - limit.T).sum()


def surrogates_alone(depth: int) -> np.ndarray:
    """Return the kernel with E[φφ] in the place of E[σ'φ], on its diagonal; 0 elsewhere."""
    q = np.diag(X @ X.T)
    total = q
    for m in hntk.coefficients([STEPS] * depth, TAU0).centres:
        inside = 2 * ndtr(1.4 / np.sqrt(q)) - 1
        q = np.asarray(STEPS.kernel_map(jnp.asarray(q), q, q, m))
        total = q + total * inside
    return np.diag(total)


@pytest.mark.nightly
def test_the_expected_diagonal_tends_to_the_limit() -> None:
    gaps = [np.diag(written_out(2)) - finite_step_diagonal(2, width, CLIPPED, 0.4) for width in (10**3, 10**9)]
    assert np.all(gaps[0] > 0.03)
    assert np.all(np.abs(gaps[1]) < 0.002)


@pytest.mark.nightly
def test_estimates_at_finite_width_approach_the_kernel() -> None:
    net = [STEPS] * 2
    exact = hntk.exact_kernels(SAMPLES, net, surrogate=CLIPPED)
    errors = []
    for width in (100, 2000):
        drawn = hntk.dense(net, [width] * 2, SAMPLES, key=jax.random.key(0))
        kernels = hntk.empirical_kernels(drawn, SAMPLES, surrogate=CLIPPED)
        errors.append(np.linalg.norm(kernels.ntk - exact.ntk) / np.linalg.norm(exact.ntk))
    np.testing.assert_allclose(kernels.ck, hntk.empirical_kernels(drawn, SAMPLES).ck, rtol=1e-6)
    assert errors[1] < errors[0] / 2
    assert errors[1] < 0.1


def test_estimates_are_products_of_gradients() -> None:
    """One layer, written out: σ' smoothed over the bandwidth, times φ."""
    drawn = hntk.dense([STEPS], [40], SAMPLES, key=jax.random.key(1))
    u = SAMPLES @ np.asarray(drawn.weights[0].dense(jnp.float64)).T
    h = 0.3 * np.sqrt(np.mean(np.sum(SAMPLES**2, axis=1)))
    true = sum(c * norm.pdf(u, s, h) for s, c in zip(STEPS.thresholds, STEPS.jumps, strict=True))
    w = np.asarray(drawn.readout, np.float64)
    hidden = SAMPLES @ SAMPLES.T * ((true * w) @ ((np.abs(u) <= 1.4) * w).T) / 40
    kernels = hntk.empirical_kernels(drawn, SAMPLES, surrogate=CLIPPED, bandwidth=0.3)
    np.testing.assert_allclose(kernels.ntk - kernels.ck, hidden, rtol=1e-5, atol=1e-7)
    rows = hntk.empirical_kernels(drawn, SAMPLES[:3], x2=SAMPLES, surrogate=CLIPPED, bandwidth=0.3)
    np.testing.assert_allclose(rows.ntk, kernels.ntk[:3], rtol=1e-2)


def test_refusals_at_finite_width() -> None:
    drawn = hntk.dense([STEPS], [10], SAMPLES, key=jax.random.key(0))
    with pytest.raises(ValueError, match="surrogate="):
        hntk.empirical_kernels(drawn, SAMPLES, bandwidth=0.3)
    with pytest.raises(ValueError, match="bandwidth"):
        hntk.empirical_kernels(drawn, SAMPLES, surrogate=CLIPPED, bandwidth=0.0)
    with pytest.raises(ValueError, match="no surrogates"):
        hntk.empirical_kernels(drawn, SAMPLES, surrogate=CLIPPED, engine="neural_tangents")
