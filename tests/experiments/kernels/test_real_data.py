"""Data outside the theory's regime: the report on assumptions, and normalisations."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk

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
