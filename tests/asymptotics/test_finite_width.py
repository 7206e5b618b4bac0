"""Ridges and covariances of random features: against integrals over the spectrum, and derivatives by differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

import hntk
from hntk.asymptotics.density import density_in_the_limit
from hntk.asymptotics.filters import LabelFilter
from hntk.asymptotics.finite_width import RandomFeatures
from hntk.asymptotics.kernel_parameters import kernel_coefficients
from hntk.asymptotics.learning import ClassTargets
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.scores import FilteredLabels
from hntk.asymptotics.spiked_kernel import SpikedKernel
from tests.asymptotics.laws import NET, three_class_law

WIDTH = 90.0


@pytest.mark.parametrize("n", [50, 300])
def test_ridges_are_integrals_over_the_spectrum(n: int) -> None:
    """λ = κ(1 − tr KR/d), with the trace by quadrature over the density and its atom."""
    law = MixtureLaw.of(np.zeros((1, 100)), [1.0])
    features = RandomFeatures(law, n, hntk.coefficients(["tanh"], law.tau0), weights="gaussian")
    ridges, index, _ = features._through_layers(np.array([WIDTH]))
    kappa, density = features._effective_ridges[index], density_in_the_limit(features._kernel)
    assert len(kappa) > 10
    for ridge, one in list(zip(ridges, kappa, strict=True))[::5]:
        ((a, b),) = density.edges
        trace = quad(lambda x, k=one: float(density.density(x)) * x / (x + k), a, b, limit=200)[0]
        trace += sum(mass * place / (place + one) for place, mass in density.atoms)
        assert ridge == pytest.approx(one * (1 - n * trace / WIDTH), rel=1e-6)


def test_slopes_of_energies_are_derivatives() -> None:
    law = three_class_law(60)
    kernel = SpikedKernel(law, 80, kernel_coefficients(NET, law.tau0))
    targets, nodes, step = ClassTargets.of(law).targets, np.array([-0.3, -2.0]), 1e-5

    def labels(moved: np.ndarray) -> FilteredLabels:
        return FilteredLabels(kernel, LabelFilter(moved, np.ones(2), -moved), targets)

    slopes = (labels(nodes + step).energies - labels(nodes - step).energies) / (2 * step)
    np.testing.assert_allclose(labels(nodes).energy_slopes, slopes, rtol=1e-6, atol=1e-6 * np.abs(slopes).max())


def test_covariances_have_the_derivatives_of_ridges(monkeypatch: pytest.MonkeyPatch) -> None:
    """∂κ/∂λ · yᵀRKRy/d · (1/g + κ∂_κg/g²), with every derivative by differences."""
    law, step, net = three_class_law(60), 1e-5, NET[:1]
    monkeypatch.setattr("hntk.asymptotics.finite_width.EFFECTIVE_RIDGES", np.array([1 - step, 1.0, 1 + step]))
    features = RandomFeatures(law, 80, hntk.coefficients(net, law.tau0), weights="gaussian")
    kernel, targets, near = features._kernel, features._targets, features._effective_ridges
    ridges, _, covariances = features._through_layers(np.array([WIDTH]))
    g = kernel.resolvent(-near - kernel.coefficients.shift).class_means
    energy = FilteredLabels(kernel, LabelFilter(-near, np.ones(3), near), targets.targets).energies
    response = (near[2] - near[0]) / (ridges[2] - ridges[0])
    rkr = (near[2] * energy[2] - near[0] * energy[0]) / (near[2] - near[0])
    distance = 1 / g[1] + (g[2] - g[0]) / (2 * step) / g[1] ** 2
    expected = response / WIDTH * distance[:, None, None] * rkr
    np.testing.assert_allclose(covariances[1], expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


def test_infinite_width_is_ridge_regression_and_narrow_nets_learn_nothing() -> None:
    law = three_class_law(60)
    features = RandomFeatures(law, 80, hntk.coefficients(NET, law.tau0))
    wide = features.best([np.inf, np.inf])
    assert wide is not None
    assert wide.ridge == pytest.approx(wide.effective_ridge)
    best = hntk.asymptotics.optimal_ridge(law, 80, NET, kernel="ck", criterion="classification")
    assert best.test.classification_error - 1e-9 <= 1 - wide.accuracy < best.test.classification_error + 0.01
    assert features.best([0.01, 0.01]) is None
    for widths in ([10], [0, 10], [[1, 2]], "ab"):
        with pytest.raises(ValueError, match="widths must be"):
            features.best(widths)  # type: ignore[arg-type]
