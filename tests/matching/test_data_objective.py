"""Matches that follow the data: the error of a regression, its derivatives, and what it reaches."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import hntk
from hntk._utils.float64 import float64
from hntk.activations.step_function import StepFunction
from hntk.matching import data_objective
from hntk.matching.cell_pattern import StepNetwork
from hntk.matching.data_objective import Sample, _cost, held_out_error, refine
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


def sample_and_match(levels: int = 3, *, labelled: bool = False) -> tuple[Sample, list]:
    x, y = correlated(200)
    sample = Sample.of(x, RELU, 1.0, 120, classes=y if labelled else None)
    found = hntk.match(RELU, 1.0, levels, alpha2=False)
    return sample, to_units(found.activations, found.coefficients.tau)


@pytest.mark.often("labels")
@pytest.mark.slow
@pytest.mark.parametrize("labelled", [False, True], ids=["leading functions", "labels"])
def test_the_error_is_that_of_regression_with_the_exact_kernels(labelled: bool) -> None:
    x, y = correlated(200)
    sample, functions = sample_and_match(labelled=labelled)
    rows = np.sort(np.random.default_rng(0).choice(200, 120, replace=False))
    part = np.random.default_rng(1).permutation(x[rows])
    original = np.asarray(hntk.exact_kernels(part, RELU, tau0=1.0).ck)
    if labelled:
        y = np.random.default_rng(1).permutation(y[rows])
        indicators = np.eye(3)[y] - np.eye(3)[y[:60]].mean(axis=0)
        np.testing.assert_allclose(sample.covariance, indicators @ indicators.T * (120 / np.sum(indicators**2)))
    own = [to_staircase(f, 1.0, 1.0, "unit") for f in functions]
    kernel = np.asarray(hntk.exact_kernels(part, own, tau0=1.0).ck)
    best = min(regression_error(kernel, sample.covariance, ridge) for ridge in np.logspace(-3, 1, 17))
    # the sample's series are cut at order 32
    assert np.isclose(held_out_error(sample, functions)[0], best, atol=2e-3)
    if not labelled:
        assert regression_error(original, sample.covariance, 1e-2) < best


def regression_error(kernel: np.ndarray, covariance: np.ndarray, ridge: float) -> float:
    """By simulation's exact mean: functions with that covariance seen on one half, predicted on the other."""
    half = len(kernel) // 2
    a, b = slice(0, half), slice(half, None)
    centred = kernel - kernel[a].mean(axis=0)[None]
    centred = centred - centred[:, a].mean(axis=1)[:, None]
    aa = centred[a, a]
    smoother = centred[b, a] @ np.linalg.inv(aa + ridge * np.trace(aa) / half * np.eye(half))
    values, vectors = np.linalg.eigh(covariance)
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
    sample = Sample(gram @ gram.T / 60, gram)
    network = StepNetwork.of([StepFunction(np.array([0.0, 0.5]), np.array([0.0, 1.0, 2.0]))])
    met = np.array([-1.0, 0.3, 0.3001, 0.0, 1.0, 2.0])
    with float64():
        for z in (met, np.array([np.nan, 0.0, 0.5, 0.0, 1.0, 2.0])):
            value, slope = _cost(network, z, sample.inputs)
            assert value == 1e3
            assert not np.any(slope)


@pytest.mark.slow
def test_refining_lowers_the_error_and_keeps_the_levels() -> None:
    sample, functions = sample_and_match()
    before = held_out_error(sample, functions)[0]
    after, refined = refine(sample, functions, 30)
    assert after < before
    assert np.isclose(held_out_error(sample, refined)[0], after, rtol=0.02)
    assert all(f.level_count <= 3 for f in refined)


@pytest.mark.slow
def test_a_search_ends_when_steps_gain_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, functions = sample_and_match()
    ended: dict[float, float] = {}
    lines: dict[float, list[str]] = {}
    for least in (0.1, 1e-4):
        monkeypatch.setattr(data_objective, "LEAST_GAIN", least)
        lines[least] = []
        ended[least] = refine(sample, functions, 200, lines[least].append)[0]
    assert data_objective.PATIENCE < len(lines[0.1]) < len(lines[1e-4]) < 200
    assert "at most 200" in lines[1e-4][-1]
    assert 0 < ended[0.1] - ended[1e-4] < 0.1 * ended[0.1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "original", ["relu", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("tanh", "abs"))]
)
@pytest.mark.nightly
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


@pytest.mark.nightly
@pytest.mark.slow
def test_a_match_that_follows_labels_predicts_those_of_new_samples_better() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(800, 6))
    y = np.where(x[:, 0] * x[:, 1] > 0, "same", "other")
    tau0 = float(np.sqrt(np.mean(np.sum(x**2, axis=1))))
    options = {"alpha2": False, "objective": "data", "x": x[:400], "samples": 400, "steps": 20}
    by_kernel, by_labels = (hntk.match(["relu"], tau0, 3, labels=given, **options) for given in (None, y[:400]))
    covariance = np.where(y[:, None] == y, 1.0, -1.0)[400:, 400:]
    missed = []
    for found in (by_kernel, by_labels):
        kernel = np.asarray(hntk.exact_kernels(x[400:], found.activations, tau0=tau0).ck)
        missed.append(min(regression_error(kernel, covariance, ridge) for ridge in np.logspace(-3, 1, 17)))
    assert missed[1] < missed[0] - 0.01
    assert by_kernel.fit is not None
    assert by_labels.fit is not None
    assert (by_kernel.fit.labels, by_labels.fit.labels) == (False, True)
    assert "of the leading functions of the original's kernel" in by_kernel.report()
    assert "of their labels" in by_labels.report()
    assert "match by data and labels" in str(by_labels.record)
    assert "match by data:" in str(by_kernel.record)


def test_a_search_that_leaves_where_errors_exist_returns_its_last_step_there(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, functions = sample_and_match()
    network = StepNetwork.of(functions)
    calls: list[np.ndarray] = []

    def lost(_: object, z: np.ndarray, __: object) -> tuple[float, np.ndarray]:
        calls.append(np.array(z))
        usable = np.array_equal(z, calls[0])
        return (1.0, np.ones_like(z)) if usable else (data_objective.UNUSABLE, np.zeros_like(z))

    monkeypatch.setattr(data_objective, "_cost", lost)
    monkeypatch.setattr("scipy.optimize.minimize", lambda cost, start, **_: went_astray(cost, start))
    reached, found = refine(sample, functions, 5)
    assert reached == 1.0
    for function, before in zip(found, network.functions(), strict=True):
        np.testing.assert_array_equal(np.asarray(function.thresholds), np.asarray(before.thresholds))


def went_astray(cost: Callable, start: np.ndarray) -> OptimizeResult:
    """A minimiser that ends where the error cannot be computed."""
    cost(start)
    return OptimizeResult(fun=cost(start + 1.0)[0], x=start + 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "labels"}, "objective must be 'theory' or 'data'"),
        ({"objective": "data"}, "needs x="),
        ({"objective": "data", "x": np.ones((10, 3))}, "too few"),
        ({"objective": "data", "x": np.full((60, 3), np.nan)}, "NaN"),
        ({"objective": "data", "x": np.eye(60), "max_shift": 0.0}, "max_shift"),
        ({"objective": "data", "x": np.eye(60), "method": "layerwise"}, "method="),
        ({"objective": "data", "x": np.eye(60), "law": "orthogonal"}, "law= has an effect together with widths="),
        ({"labels": np.arange(60) % 2}, "labels= belong to objective='data'"),
        ({"objective": "data", "x": np.eye(60), "labels": np.arange(59) % 2}, r"shape \(60,\)"),
        ({"objective": "data", "x": np.eye(60), "labels": np.zeros(60)}, "only one class"),
        ({"objective": "data", "x": np.eye(60), "labels": np.arange(60) == 3}, "holds one class only"),
    ],
)
def test_bad_requests(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.match(["relu"] * 2, 1.0, 4, **arguments)


@pytest.mark.parametrize("options", [{"labels": correlated(60)[1]}, {"objective": "data"}, {"alpha2": False}])
def test_options_of_a_match_beside_one_that_is_made_already_are_refused(options: dict) -> None:
    made = hntk.match(RELU, 1.0, 3)
    with pytest.raises(ValueError, match="give it to hntk.match"):
        hntk.compress(RELU, [8, 8], correlated(60)[0], made, key=jax.random.key(0), **options)


@pytest.mark.slow
def test_a_match_tells_how_far_it_has_come() -> None:
    x = hntk.reference_mixture(n=80, p=20, key=jax.random.key(0)).x
    lines: list[str] = []
    hntk.compress(["relu"], [8], x, 3, key=jax.random.key(1), objective="data", progress=lines.append)
    assert lines[0].startswith("matching coefficients: start 1 of")
    assert any("following the data: step 1 of at most 80, held-out error 0." in line for line in lines)
