"""Kernels of networks that are not plain: identities behind an intercept, and simulations with exact kernels."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

import hntk
from experiments.asymptotics.spectrum_theory import kolmogorov_distance
from hntk.asymptotics import LimitingKernel, MixtureLaw, kernel_coefficients, ridge_regression
from hntk.asymptotics.learning import ScoreLaw
from tests.asymptotics.laws import LINEAR, NET, SHARES, three_class_law

HE = hntk.Architecture(["relu"], weight_std=2**0.5, bias_std=0.3, centred=False)
NETWORKS = {
    "he": hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False),
    "one layer": HE,
    "erf": hntk.Architecture(["erf"] * 2, weight_std=1.2, bias_std=0.3, centred=False),
    "rms": hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.3, centred=False, normalize="rms"),
    "residual": hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.3, centred=False, residual=0.7),
}
N, RIDGE = 90, 0.2


def gap(a: ScoreLaw, b: ScoreLaw) -> float:
    return float(max(np.max(np.abs(a.means - b.means)), np.max(np.abs(a.covariances - b.covariances))))


@pytest.mark.parametrize("method", ["ridge_regression", "gradient_flow"])
def test_a_large_constant_is_an_intercept(method: str) -> None:
    """The kernel K + s 11ᵀ, in which nothing is centred, tends to the centred one like 1/s."""
    law = three_class_law(60)
    plain = kernel_coefficients(NET, law.tau0)
    centred = getattr(LimitingKernel.of(law, N, plain, centre=True), method)(RIDGE)
    gaps = []
    for constant in (1e1, 1e3):
        finite = getattr(LimitingKernel.of(law, N, replace(plain, constant=constant)), method)(RIDGE)
        gaps.append([gap(finite.test, centred.test), gap(finite.training, centred.training)])
    np.testing.assert_array_less(gaps[1], 0.02 * np.array(gaps[0]))
    assert gap(getattr(LimitingKernel.of(law, N, plain), method)(RIDGE).test, centred.test) > 100 * max(gaps[1])


def test_spikes_of_a_large_constant_are_those_behind_an_intercept() -> None:
    law = three_class_law(100)
    plain = kernel_coefficients(NET, law.tau0)
    centred = LimitingKernel.of(law, 300, plain, centre=True).spikes()
    top, *others = LimitingKernel.of(law, 300, replace(plain, constant=1e3)).spikes()
    assert top.value == pytest.approx(300 * 1e3, rel=1e-3)
    assert top.total == pytest.approx(1, abs=1e-3)
    above, beside = ([s for s in spikes if not np.isnan(s.strength)] for spikes in (centred, others))
    for part in ("value", "strength", "alignment"):
        np.testing.assert_allclose([getattr(s, part) for s in beside], [getattr(s, part) for s in above], rtol=1e-3)
    # eigenvectors are orthogonal to 1: their sums over classes have the shares of the classes as weights
    for spike in centred:
        roots = np.sqrt(spike.alignment * SHARES)
        assert min(abs(roots @ signs) for signs in ((1, 1, -1), (1, -1, 1), (1, -1, -1), (1, 1, 1))) < 1e-6


@pytest.mark.parametrize("finite_size", [False, True])
def test_an_intercept_takes_up_constants(finite_size: bool) -> None:
    law, targets = three_class_law(60), np.eye(3)
    settings = {"net": HE, "ridge": RIDGE, "kernel": "ck", "finite_size": finite_size}
    one, other = (ridge_regression(law, N, targets=targets + c, **settings) for c in (0.0, 5.0))
    np.testing.assert_allclose(one.test.means + 5, other.test.means, rtol=1e-9)
    np.testing.assert_allclose(one.test.covariances, other.test.covariances, atol=1e-9)
    # residuals sum to 0
    np.testing.assert_allclose(SHARES @ (one.training.means - targets), 0, atol=1e-9 if not finite_size else 1e-6)
    without = ridge_regression(law, N, targets=targets, centre=False, **settings)
    assert np.max(np.abs(SHARES @ (without.training.means - targets))) > 1e-4


@pytest.mark.parametrize("kernel", ["ck", "ntk"])
def test_coefficients_are_those_of_the_expansion(kernel: str) -> None:
    last = getattr(hntk.expansions(HE, 1.1), kernel)[-1]
    seen = kernel_coefficients(HE, 1.1, kernel=kernel)
    parts = (seen.gram, seen.norms, seen.quadratic, seen.shift + 1.21 * seen.gram)
    np.testing.assert_allclose(parts, last.centred, rtol=1e-12)
    assert seen.centred
    assert not seen.has_common_part
    free = kernel_coefficients(HE, 1.1, kernel=kernel, centre=False)
    assert (free.constant, free.norm_slope, free.norm_curvature) == (last.c, last.b, last.f)
    assert free.has_common_part
    # a plain description is the list
    assert kernel_coefficients(hntk.Architecture(NET), 1.1) == kernel_coefficients(NET, 1.1)


@pytest.mark.parametrize("kernel", ["ck", "ntk"])
def test_dependence_on_norms_is_the_exact_kernels(kernel: str) -> None:
    scale, seen = 1.2, kernel_coefficients(HE, np.sqrt(1.2), kernel=kernel).exact_dependence()
    squares = np.array([0.9, 1.2, 1.6])
    rows = np.sqrt(squares)[:, None] * np.eye(3)
    exact = np.asarray(getattr(hntk.exact_kernels(rows, HE, tau0=np.sqrt(scale)), kernel))
    typical = np.asarray(getattr(hntk.exact_kernels(np.sqrt(scale) * np.eye(2), HE, tau0=np.sqrt(scale)), kernel))[0, 1]
    for i in (0, 2):
        common = exact[i, 1] - typical / 2
        assert seen.common(squares[i], scale) == pytest.approx(common, rel=1e-9)
        assert seen.at(squares[i])[0] == pytest.approx(exact[i, i], rel=1e-9)
    # behind an intercept the kernel of orthogonal samples is nearly φφ'
    centred = exact[0, 2] - seen.common(squares[0], scale) - seen.common(squares[2], scale)
    assert seen.orthogonal(squares[0], scale) * seen.orthogonal(squares[2], scale) == pytest.approx(centred, rel=0.05)
    assert seen.across(scale, np.zeros(1), scale) == pytest.approx(0, abs=1e-12)


def mixture(p: int) -> tuple[np.ndarray, list]:
    """Classes whose mean is not 0, and whose mean trace differs from that of every class."""
    means = np.zeros((3, p))
    means[0, 0], means[1, 1], means[2, :3] = 3.0, 2.5, (1.0, 1.0, 1.5)
    return means, [1.0, 1 + 3 / np.sqrt(p), 1 - 1 / np.sqrt(p)]


def behind_intercept(kernel: np.ndarray, y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Dual weights and intercept of ridge regression."""
    n = len(kernel)
    system = np.block([[kernel + ridge * np.eye(n), np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    solution = np.linalg.solve(system, np.vstack([y, np.zeros((1, y.shape[1]))]))
    return solution[:n], solution[n]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("one layer", "ck"),
        *(pytest.param(name, kernel, marks=pytest.mark.nightly)
          for name in ("he", "erf", "rms", "residual") for kernel in ("ck", "ntk")),
    ],
)  # fmt: skip
def test_exact_kernels_behind_an_intercept(name: str, kernel: str) -> None:
    p, n, draws, net = 120, 180, 4, NETWORKS[name]
    means, covariances = mixture(p)
    law = MixtureLaw.of(means, covariances, SHARES)
    theory = LimitingKernel.of(law, n, net, kernel=kernel)
    ridge = 0.1 * (theory.coefficients.shift + theory.coefficients.gram * law.tau0**2)
    distances, spikes, largest, errors = [], [], [], []
    for draw in range(draws):
        train, test = (
            hntk.gaussian_mixture(means, covariances, size, key=jax.random.key(key), proportions=SHARES)
            for size, key in ((n, draw), (600, 1000 + draw))
        )
        matrix = np.asarray(getattr(hntk.exact_kernels(train.x, net, tau0=law.tau0), kernel))
        across = np.asarray(getattr(hntk.exact_kernels(test.x, net, x2=train.x, tau0=law.tau0), kernel))
        centred = matrix - matrix.mean(axis=0) - matrix.mean(axis=1)[:, None] + matrix.mean()
        values = np.linalg.eigvalsh(centred)
        values = np.delete(values, np.argmin(np.abs(values)))
        distances.append(kolmogorov_distance(theory.finite_size_density(), values) if draw == 0 else distances[0])
        spikes.append(values[-1])
        largest.append(np.linalg.eigvalsh(matrix)[-1])
        beta, intercept = behind_intercept(matrix, np.eye(3)[train.labels] - SHARES, ridge)
        wrong = across @ beta + intercept - np.eye(3)[test.labels] + SHARES
        errors.append(np.mean(np.sum(wrong**2, axis=1)))
        if draw == 0:
            plain = LimitingKernel.of(law, n, list(net.layers), kernel=kernel)
            assert kolmogorov_distance(plain.density(), values) > 10 * distances[0]
    assert distances[0] < 0.04
    error = np.std(errors, ddof=1) / np.sqrt(draws)
    assert theory.ridge_regression(ridge, finite_size=True).test.squared_error == pytest.approx(
        np.mean(errors), abs=3 * error
    )
    assert theory.spikes(finite_size=True)[0].value == pytest.approx(np.mean(spikes), rel=0.06)
    free = LimitingKernel.of(law, n, net, kernel=kernel, centre=False)
    assert free.spikes()[0].value == pytest.approx(np.mean(largest), rel=0.01)


def test_settings_are_checked() -> None:
    law = three_class_law(30)
    with pytest.raises(ValueError, match="at least 2"):
        LimitingKernel.of(law, 1, HE)
    assert LimitingKernel.of(law, 1, HE, centre=False).n == 1
    with pytest.raises(ValueError, match="centre must be"):
        LimitingKernel.of(law, 10, HE, centre="yes")  # type: ignore[arg-type]
    steps = hntk.Architecture([hntk.staircase([0.0], [-1.0, 1.0])], bias_std=0.3, centred=False)
    with pytest.raises(ValueError, match="declare one"):
        kernel_coefficients(steps, 1.0, kernel="ntk")
    assert kernel_coefficients(steps, 1.0, kernel="ntk", kappa_sq=3.0).centred
    assert "centred" in repr(replace(LINEAR, centred=True))
    assert "constant" in repr(replace(LINEAR, constant=0.5))
