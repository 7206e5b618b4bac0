"""Data outside the theory's regime: the report on assumptions, normalisations, and matches that follow the data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk._utils.float64 import float64
from hntk.matching.data_objective import Sample, _by_unknowns, _error, _known, _steps, _unknowns, distance, refine
from hntk.matching.moment_matching import _units

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


def names_of(report: hntk.Applicability, *, holds: bool) -> set[str]:
    return {f.name.split(":")[0] for f in report.findings if f.holds is holds}


def test_a_large_mixture_is_in_the_regime_and_each_defect_is_named() -> None:
    data = hntk.reference_mixture(n=800, p=800, key=jax.random.key(0))
    x, y = np.asarray(data.x), data.labels
    assert hntk.check(x, y, RELU).applies
    assert names_of(hntk.check(x + 0.02, y), holds=False) >= {"mean"}
    rng = np.random.default_rng(0)
    assert names_of(hntk.check(x * rng.lognormal(0, 0.3, (800, 1)), y), holds=False) == {"norms"}
    apart = x + 0.5 * np.eye(800)[y] - 0.25 * (np.eye(800)[0] + np.eye(800)[1])
    assert names_of(hntk.check(apart, y), holds=False) == {"class means"}
    wider = x * np.where(y == 1, 1.3, 1.0)[:, None]
    assert names_of(hntk.check(wider, y), holds=False) >= {"class traces"}
    few = x * np.where(np.arange(800) < 20, 1.0, 0.05)
    assert "covariances" in names_of(hntk.check(few, y), holds=False)


def test_the_report_reads_as_a_table_and_says_what_to_do() -> None:
    x, y = correlated(200)
    text = str(hntk.check(x, y, RELU))
    assert "VIOLATED" in text
    assert "whiten" in text
    assert text.count("holds") + text.count("VIOLATED") == len(hntk.check(x, y, RELU).findings)
    with pytest.raises(ValueError, match="one per row of x"):
        hntk.check(x, y[:-1])


@pytest.fixture
def skewed(tmp_path) -> tuple[str, np.ndarray]:
    x, y = correlated(500)
    np.savez(tmp_path / "skewed.npz", x_train=5 + 3 * x[:400], y_train=y[:400], x_test=5 + 3 * x[400:], y_test=y[400:])
    return str(tmp_path), y


def test_normalisations_do_what_they_say(skewed: tuple) -> None:
    folder, _ = skewed
    plain, unit, white = (
        hntk.load_dataset("skewed", folder=folder, normalize=k) for k in ("scale", "unit_norm", "whiten")
    )
    np.testing.assert_allclose(np.linalg.norm(unit.x_test, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        unit.x_test, plain.x_test / np.linalg.norm(plain.x_test, axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )
    assert np.isclose(white.tau0, 1, atol=1e-5)
    assert white.whitening is not None
    np.testing.assert_allclose(white.x_test, plain.x_test @ white.whitening, rtol=1e-3, atol=1e-5)
    # directions of large variance come out nearly alike, those of little are not blown up
    before, after = (np.linalg.eigvalsh(np.cov(d.x_train.T))[::-1] for d in (plain, white))
    assert after[0] / after[4] < 1.5 < before[0] / before[4]
    assert after[-1] < after[0]
    with pytest.raises(ValueError, match="normalize must be"):
        hntk.load_dataset("skewed", folder=folder, normalize="sphere")  # type: ignore[arg-type]


def test_whitening_brings_kernel_and_equivalent_together(skewed: tuple) -> None:
    folder, _ = skewed
    gap = {}
    for kind in ("scale", "whiten"):
        data = hntk.load_dataset("skewed", folder=folder, normalize=kind)  # type: ignore[arg-type]
        gap[kind] = hntk.check(data.x_train, data.y_train, RELU).findings[-1].value
    assert gap["whiten"] < 0.7 * gap["scale"]


def sample_and_match(levels: int = 3) -> tuple[Sample, list]:
    x, _ = correlated(200)
    sample = Sample.of(x, RELU, 1.0, 120)
    found = hntk.match(RELU, 1.0, levels, alpha2=False)
    return sample, _units(found.activations, found.coefficients.tau)


@pytest.mark.slow
def test_the_distance_is_that_of_the_exact_kernels() -> None:
    x, _ = correlated(200)
    sample, functions = sample_and_match()
    rows = np.sort(np.random.default_rng(0).choice(200, 120, replace=False))
    part = np.random.default_rng(1).permutation(x[rows])
    original = np.asarray(hntk.exact_kernels(part, RELU, tau0=1.0).ck)
    np.testing.assert_allclose(sample.original, original, rtol=1e-9, atol=1e-12)
    own = [f.at(1.0, 1.0, "unit") for f in functions]
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
    forms, z = _unknowns(functions)
    with float64():
        known = _known(sample)

        def value(at: np.ndarray) -> float:
            return float(_error(jnp.asarray(-3.0), _steps(forms, at), *known)[0])

        steps = _error(jnp.asarray(-3.0), _steps(forms, z), *known)[1][1]
        gradient = np.concatenate([_by_unknowns(f, g) for f, g in zip(forms, steps, strict=True)])
        for i in range(z.size):
            shift = 1e-6 * np.eye(z.size)[i]
            assert np.isclose(gradient[i], (value(z + shift) - value(z - shift)) / 2e-6, rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_refining_lowers_the_distance_and_keeps_the_levels() -> None:
    sample, functions = sample_and_match()
    before = distance(sample, functions)[0]
    after, refined = refine(sample, functions, 30)
    assert after < before
    assert np.isclose(distance(sample, refined)[0], after, rtol=0.02)
    assert all(len(set(f.levels.tolist())) <= 3 for f in refined)


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
        ({"objective": "labels"}, "objective must be one of"),
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
