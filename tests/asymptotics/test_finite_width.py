"""Ridges and covariances of random features: against integrals over the spectrum, differences, and drawn matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

import hntk
from hntk.asymptotics.density import density_in_the_limit
from hntk.asymptotics.drawn_layer import DrawnLayer, ResolventForms, RidgePath, draw_layer
from hntk.asymptotics.filters import LabelFilter
from hntk.asymptotics.finite_width import RandomFeatures
from hntk.asymptotics.kernel_parameters import KernelCoefficients, kernel_coefficients
from hntk.asymptotics.learning import ClassTargets
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.scores import FilteredLabels
from hntk.asymptotics.spiked_kernel import SpikedKernel
from tests.asymptotics.laws import NET, three_class_law

WIDTH = 90.0


def forms_of(kernel: SpikedKernel, kappa: np.ndarray, targets: np.ndarray) -> ResolventForms:
    """The forms of (K + κ)⁻¹, with squares by differences in κ."""

    def at(shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        moved = kappa * (1 + shift)
        g = kernel.resolvent(-moved - kernel.coefficients.shift).class_means
        labels = FilteredLabels(kernel, LabelFilter(-moved, np.ones(len(moved)), moved), targets)
        return kernel.n * g @ kernel.law.proportions, g, labels.energies

    pairs = []
    for first, low, high in zip(at(0.0), at(-1e-5), at(1e-5), strict=True):
        pairs += [first, (low - high) / (2e-5 * kappa.reshape(-1, *(1,) * (first.ndim - 1)))]
    return ResolventForms(*pairs)


def drawn_layer(
    forms: ResolventForms, ridge: np.ndarray, n: int, noise: float, width: float, block: float
) -> DrawnLayer:
    """A layer whose linear part has a known resolvent."""
    one = np.ones_like(ridge)
    return draw_layer(RidgePath(ridge, one, one, 0 * one), forms, 0 * forms.energy, n, noise, width, block)


@pytest.mark.parametrize("n", [50, 300])
def test_ridges_are_integrals_over_the_spectrum(n: int) -> None:
    """λ = κ(1 − tr KR/d) for independent rows, with the trace by quadrature over the density and its atom."""
    law, kappa = MixtureLaw.of(np.zeros((1, 100)), [1.0]), np.array([0.05, 0.4, 3.0])
    kernel = SpikedKernel(law, n, KernelCoefficients(1.0, 0.0, 0.0, shift=0.25))
    ridges = drawn_layer(forms_of(kernel, kappa, np.ones((1, 1))), kappa + 0.25, n, 0.25, WIDTH, np.inf).path.ridge
    density = density_in_the_limit(kernel)
    for ridge, one in zip(ridges, kappa, strict=True):
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


def test_covariances_of_independent_rows_have_the_derivatives_of_ridges() -> None:
    """∂κ/∂λ · yᵀRKRy/d · (1/g + κ∂_κg/g²), with every derivative by differences, whatever part counts as noise."""
    law, kappa, step = three_class_law(60), 0.6, 1e-5
    kernel, targets = SpikedKernel(law, 80, kernel_coefficients(NET, law.tau0)), ClassTargets.of(law).targets
    near = kappa * np.array([1 - step, 1.0, 1 + step])
    forms, noise = forms_of(kernel, near, targets), kernel.coefficients.shift
    layers = [drawn_layer(forms, near + by, 80, by, WIDTH, np.inf) for by in (noise, noise / 3)]
    ridges, g, energy = layers[0].path.ridge, forms.diagonal, forms.energy
    response = (near[2] - near[0]) / (ridges[2] - ridges[0])
    rkr = (near[2] * energy[2] - near[0] * energy[0]) / (near[2] - near[0])
    distance = 1 / g[1] + (g[2] - g[0]) / (2 * step) / g[1] ** 2
    expected = response / WIDTH * distance[:, None, None] * rkr
    for layer in layers:
        np.testing.assert_allclose(layer.path.ridge_slope[1], 1 / response, rtol=1e-5)
        np.testing.assert_allclose(layer.covariance[1], expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def simulated(x: np.ndarray, y: np.ndarray, noise: float, ridge: float, shape: tuple[int, int], draws: int) -> tuple:
    """Scores of the first row of x by regression on the others, and traces of resolvents, with orthogonal blocks."""
    rng, (width, block), n = np.random.default_rng(1), shape, len(y)
    scores, traces = [], []
    for _ in range(draws):
        count = -(-width // block)
        blocks = [np.linalg.qr(rng.standard_normal((block, block))) for _ in range(count)]
        weights = np.concatenate([(q * np.sign(np.diag(r))).T for q, r in blocks])[:width, : x.shape[1]]
        features = x @ weights.T * np.sqrt(block) + np.sqrt(noise) * rng.standard_normal((n + 1, width))
        gram = features @ features.T / width
        inverse = np.linalg.inv(gram[1:, 1:] + ridge * np.eye(n))
        scores.append(gram[0, 1:] @ inverse @ y)
        traces.append(np.trace(inverse))
    return np.array(scores), float(np.mean(traces))


@pytest.mark.often("96-48", "40-48", "100-64")
@pytest.mark.parametrize(("width", "block"), [(48, 48), (96, 48), (40, 48), (64, 48), (100, 64)])
def test_resolvents_of_orthogonal_blocks_are_those_of_drawn_matrices(width: int, block: int) -> None:
    rng, n, noise, ridge = np.random.default_rng(0), 50, 0.3, np.array([0.7])
    x = np.sqrt(0.6 / 44) * rng.standard_normal((n + 1, 44))
    y = x[1:, 0] * np.sqrt(44) + 0.1 * rng.standard_normal(n)
    linear = x @ x.T
    known = np.linalg.inv(linear[1:, 1:] + ridge * np.eye(n))
    own = np.linalg.inv(linear + ridge * np.eye(n + 1))
    numbers = np.trace(known), np.trace(known @ known), own[:1, 0], (own @ own)[:1, 0]
    forms = ResolventForms(
        *(np.array([number]) for number in numbers), *(np.reshape(y @ m @ y, (1, 1, 1)) for m in (known, known @ known))
    )
    layer, independent = (drawn_layer(forms, ridge, n, noise, float(width), m) for m in (float(block), np.inf))
    assert layer.possible.all()
    draws = 1500
    scores, trace = simulated(x, y, noise, float(layer.path.ridge[0]), (width, block), draws)
    assert trace == pytest.approx(float(layer.path.factor[0]) * numbers[0], rel=0.01)
    assert np.mean(scores) == pytest.approx(linear[0, 1:] @ known @ y, abs=4 * np.std(scores) / np.sqrt(draws) + 0.01)
    assert np.var(scores) == pytest.approx(float(layer.covariance[0, 0, 0, 0]), rel=0.2)
    # negative control: independent rows have another ridge
    assert abs(independent.path.ridge[0] - layer.path.ridge[0]) > 0.1 * layer.path.ridge[0]


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


def test_orthogonal_weights_lose_less() -> None:
    law = three_class_law(64)
    net = hntk.coefficients(NET, law.tau0)
    laws = ("gaussian", "ternary", hntk.weight_law("orthogonal", sparsity=0.5), "orthogonal_gaussian")
    best = [RandomFeatures(law, 80, net, weights).best([64, 128]) for weights in laws]
    independent, ternary, orthogonal, dense = (one.accuracy for one in best if one is not None)
    assert independent == ternary
    assert orthogonal == pytest.approx(dense, abs=1e-12)
    assert orthogonal > independent + 0.02
    with pytest.raises(ValueError, match="unknown weight law"):
        RandomFeatures(law, 80, net, "orthogonalish")


def test_quadratic_energies_are_derivatives_by_the_quadratic_part() -> None:
    """yᵀRSRy is minus the derivative of yᵀ(K + tS + κ)⁻¹y by t."""
    law, step = three_class_law(60), 1e-5
    features = RandomFeatures(law, 80, hntk.coefficients(["relu"], law.tau0))
    known, kappa = kernel_coefficients(features.net, law.tau0), features._effective_ridges

    def energies(factor: float) -> np.ndarray:
        changed = KernelCoefficients(known.gram, factor * known.norms, factor * known.quadratic, shift=known.shift)
        nodes = LabelFilter(-kappa, np.ones(kappa.size), kappa)
        return FilteredLabels(SpikedKernel(law, 80, changed), nodes, ClassTargets.of(law).targets).energies

    slopes = (energies(1 - step) - energies(1 + step)) / (2 * step)
    np.testing.assert_allclose(features._quadratic_energies(1), slopes, rtol=1e-4, atol=1e-6 * np.abs(slopes).max())
