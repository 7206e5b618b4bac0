"""Matches that follow the data: the distance between kernels, its derivatives, and what it reaches."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk._utils.float64 import float64
from hntk.activations.step_function import StepFunction
from hntk.matching.cell_pattern import StepNetwork
from hntk.matching.data_objective import Sample, _cost, distance, refine
from hntk.matching.units import to_staircase, to_units

RELU = [hntk.activation("relu")] * 2


def correlated(n: int, p: int = 30, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Few effective dimensions, far class means, norms that vary: all that the theory excludes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    spectrum = 1 / np.arange(1, p + 1)
    x = rng.normal(size=(classes, p))[y] * spectrum + rng.normal(size=(n, p)) * spectrum
    x = x * rng.lognormal(0, 0.3, (n, 1))
    x -= x.mean(axis=0)
    return x / np.sqrt(np.mean(np.sum(x**2, axis=1))), y


def sample_and_match(levels: int = 3) -> tuple[Sample, list]:
    x, _ = correlated(200)
    sample = Sample.of(x, RELU, 1.0, 120)
    found = hntk.match(RELU, 1.0, levels, alpha2=False)
    return sample, to_units(found.activations, found.coefficients.tau)


@pytest.mark.slow
def test_the_distance_is_that_of_the_exact_kernels() -> None:
    x, _ = correlated(200)
    sample, functions = sample_and_match()
    rows = np.sort(np.random.default_rng(0).choice(200, 120, replace=False))
    part = np.random.default_rng(1).permutation(x[rows])
    original = np.asarray(hntk.exact_kernels(part, RELU, tau0=1.0).ck)
    np.testing.assert_allclose(sample.original, original, rtol=1e-9, atol=1e-12)
    own = [to_staircase(f, 1.0, 1.0, "unit") for f in functions]
    kernel = np.asarray(hntk.exact_kernels(part, own, tau0=1.0).ck)
    best = min(regression_error(kernel, sample.leading, ridge) for ridge in np.logspace(-3, 1, 17))
    # the sample's series are cut at order 32
    assert np.isclose(distance(sample, functions)[0], best, atol=2e-3)
    assert regression_error(original, sample.leading, 1e-2) < best


def regression_error(kernel: np.ndarray, leading: np.ndarray, ridge: float) -> float:
    """By simulation's exact mean: functions with covariance ``leading`` seen on one half, predicted on the other."""
    half = len(kernel) // 2
    a, b = slice(0, half), slice(half, None)
    centred = kernel - kernel[a].mean(axis=0)[None]
    centred = centred - centred[:, a].mean(axis=1)[:, None]
    aa = centred[a, a]
    smoother = centred[b, a] @ np.linalg.inv(aa + ridge * np.trace(aa) / half * np.eye(half))
    values, vectors = np.linalg.eigh(leading)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    return float(np.sum((root[b] - smoother @ root[a]) ** 2) / np.sum(root[b] ** 2))


@pytest.mark.slow
def test_the_gradient_is_the_difference_quotient() -> None:
    sample, functions = sample_and_match()
    network = StepNetwork.of(functions)
    z = np.concatenate([[-3.0], network.unknowns])
    with float64():
        inputs = sample.inputs
        _, gradient = _cost(network, z, inputs)
        for i in range(z.size):
            shift = 1e-6 * np.eye(z.size)[i]
            slope = (_cost(network, z + shift, inputs)[0] - _cost(network, z - shift, inputs)[0]) / 2e-6
            assert np.isclose(gradient[i], slope, rtol=1e-4, atol=1e-7)


def test_thresholds_that_meet_and_kernels_that_are_not_finite_are_not_followed() -> None:
    rng = np.random.default_rng(0)
    gram = rng.normal(size=(40, 60))
    sample = Sample(gram @ gram.T / 60, gram @ gram.T / 60)
    network = StepNetwork.of([StepFunction(np.array([0.0, 0.5]), np.array([0.0, 1.0, 2.0]))])
    met = np.array([-1.0, 0.3, 0.3001, 0.0, 1.0, 2.0])
    with float64():
        for z in (met, np.array([np.nan, 0.0, 0.5, 0.0, 1.0, 2.0])):
            value, slope = _cost(network, z, sample.inputs)
            assert value == 1e3
            assert not np.any(slope)


@pytest.mark.slow
def test_refining_lowers_the_distance_and_keeps_the_levels() -> None:
    sample, functions = sample_and_match()
    before = distance(sample, functions)[0]
    after, refined = refine(sample, functions, 30)
    assert after < before
    assert np.isclose(distance(sample, refined)[0], after, rtol=0.02)
    assert all(f.level_count <= 3 for f in refined)


@pytest.mark.slow
@pytest.mark.parametrize(
    "original", ["relu", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("tanh", "abs"))]
)
def test_the_data_objective_is_nearer_to_the_original_than_theory(original: str) -> None:
    x, y = correlated(300)
    found = hntk.match([original] * 2, 1.0, 3, objective="data", x=x, alpha2=original == "abs")
    assert found.objective == "data"
    assert found.fit is not None
    assert found.fit.data < found.fit.theory
    assert found.level_counts == (3, 3)
    assert "follows 300 samples" in found.report()
    with pytest.raises(ValueError, match="validation data"):
        found.ridge_for(10.0)
    net = hntk.compress([original] * 2, [64, 64], x, levels=found, key=jax.random.key(0))
    assert hntk.fit_ridge(net, x, y).accuracy(x, y) > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "labels"}, "objective must be 'theory' or 'data'"),
        ({"objective": "data"}, "needs x="),
        ({"objective": "data", "x": np.ones((10, 3))}, "too few"),
        ({"objective": "data", "x": np.full((60, 3), np.nan)}, "NaN"),
        ({"objective": "data", "x": np.eye(60), "max_shift": 0.0}, "max_shift"),
        ({"objective": "data", "x": np.eye(60), "method": "layerwise"}, "method="),
    ],
)
def test_bad_requests(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.match(["relu"] * 2, 1.0, 4, **arguments)


@pytest.mark.slow
def test_a_match_tells_how_far_it_has_come() -> None:
    x = hntk.reference_mixture(n=80, p=20, key=jax.random.key(0)).x
    lines: list[str] = []
    hntk.compress(["relu"], [8], x, 3, key=jax.random.key(1), objective="data", progress=lines.append)
    assert lines[0].startswith("matching coefficients: start 1 of")
    assert any("following the data: step 1 of at most 80, distance 0." in line for line in lines)
