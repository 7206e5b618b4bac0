"""Coefficients, expansions and equivalents of training with surrogates."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest

import hntk
from hntk.theory.architecture import Architecture
from tests.support.architecture_kernels import mixture
from tests.support.precision import precision

STEPS = hntk.staircase([-0.3, 0.2, 1.1], [0.0, 0.5, 1.1, 2.0])
CLIPPED = hntk.surrogate("clipped", width=1.3)


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


def test_one_layer_written_out() -> None:
    """β₁ = e₁² + e₁ E φ, β₃ = e₂²/2 + e₂ E φ' and κ² = τ₁² + τ₀² E σ'φ at τ₀ = 1, for φ the derivative of ReLU."""
    m, known = STEPS.moments(1.0), hntk.coefficients([STEPS], 1.0, surrogate="relu")
    density = 1 / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(known.beta[-1, 0], m.e1**2 + m.e1 / 2, rtol=1e-13)
    np.testing.assert_allclose(known.beta[-1, 2], m.e2**2 / 2 + m.e2 * density, rtol=1e-13)
    positive = sum(c * np.exp(-(s**2) / 2) for s, c in zip(STEPS.thresholds, STEPS.jumps, strict=True) if s > 0)
    np.testing.assert_allclose(known.kappa_sq[-1], m.variance + positive * density, rtol=1e-13)
    assert np.isinf(hntk.coefficients([STEPS], 1.0).kappa_sq[-1])


def test_layers_may_keep_their_derivative() -> None:
    net = ["relu", STEPS, "erf"]
    known = hntk.coefficients(net, 0.9, surrogate=[None, CLIPPED, None])
    assert known.beta.tolist() == hntk.coefficients(net, 0.9, surrogate=CLIPPED).beta.tolist()
    np.testing.assert_array_equal(known.alpha, hntk.coefficients(net, 0.9).alpha)
    np.testing.assert_array_equal(known.beta[:2], hntk.coefficients(net, 0.9).beta[:2])
    assert np.all(np.isfinite(known.kappa_sq))


def test_expansions_of_plain_networks_have_these_coefficients() -> None:
    known = hntk.coefficients([STEPS, "relu", STEPS], 0.9, surrogate=["gelu", None, CLIPPED])
    own = hntk.expansions([STEPS, "relu", STEPS], 0.9, surrogate=["gelu", None, CLIPPED])
    expected = np.column_stack([known.beta, known.kappa_sq])
    np.testing.assert_allclose([state.centred for state in own.ntk], expected, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose([state.centred for state in own.transposed], expected, rtol=1e-11, atol=1e-14)


def taylor(at: np.ndarray, h: float) -> tuple[float, float, float]:
    """Return value, slope and half the second derivative from values at −2h, −h, 0, h and 2h."""
    first = (8 * (at[3] - at[1]) - (at[4] - at[0])) / (12 * h)
    return at[2], first, (16 * (at[3] + at[1]) - (at[4] + at[0]) - 30 * at[2]) / (24 * h**2)


@pytest.mark.parametrize(
    ("settings", "surrogate"),
    [
        ({"weight_std": 1.4, "bias_std": 0.3, "residual": [0, 0.7]}, "relu"),
        pytest.param({"bias_std": 0.3, "normalize": "rms"}, CLIPPED, marks=pytest.mark.nightly),
        pytest.param({"bias_std": 0.3, "normalize": "layer"}, "gelu", marks=pytest.mark.nightly),
        pytest.param({"weight_std": 1.4, "bias_std": 0.3}, CLIPPED, marks=pytest.mark.nightly),
    ],
)
def test_rows_and_columns_against_differences_of_the_exact_kernel(settings: dict, surrogate: str) -> None:
    net, tau0, h = Architecture([STEPS, STEPS], centred=False, **settings), 0.9, 4e-3
    steps = h * np.arange(-2, 3)
    norms = tau0**2 + steps
    left = np.stack([np.sqrt(norms), np.zeros(5)], axis=1)
    right = [[g / np.sqrt(q1), np.sqrt(q2 - g * g / q1)] for q1 in norms for q2 in norms for g in steps]
    kernel = np.asarray(hntk.exact_kernels(left, net, x2=np.array(right), tau0=tau0, surrogate=surrogate).ntk)
    # by the norm of the row's sample, that of the column's, and the inner product
    at = kernel.reshape(5, 5, 5, 5)[np.arange(5), np.arange(5)]
    (c, a, d), (_, b_rows, f_rows), (_, b_columns, f_columns) = (
        taylor(line, h) for line in (at[2, 2], at[:, 2, 2], at[2, :, 2])
    )
    e = taylor(np.array([taylor(row, h)[1] for row in at[:, :, 2]]), h)[1]
    known = hntk.expansions(net, tau0, surrogate=surrogate)
    np.testing.assert_allclose(known.ntk[-1][:6], [c, a, b_rows, d, e, f_rows], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(known.transposed[-1][:6], [c, a, b_columns, d, e, f_columns], rtol=1e-6, atol=1e-9)
    own = hntk.exact_kernels(left[2:3], net, tau0=tau0, surrogate=surrogate).ntk
    np.testing.assert_allclose(known.ntk[-1].q, own[0, 0], rtol=1e-12)
    if not settings.get("normalize"):
        assert abs(b_rows - b_columns) > 1e-4


@pytest.mark.parametrize("name", [pytest.param(each, marks=pytest.mark.nightly) for each in ("plain", "un-centred")])
def test_equivalents_approach_the_exact_kernel(name: str) -> None:
    net = Architecture([STEPS] * 2) if name == "plain" else Architecture([STEPS] * 2, 1.2, 0.3, centred=False)
    errors, controls = [], []
    for p in (60, 240):
        data = mixture(p)
        exact = np.asarray(hntk.exact_kernels(data.x, net, tau0=data.tau0, surrogate="straight_through").ntk)
        centring = np.eye(len(exact)) - (0 if net.is_plain else 1 / len(exact))
        for made, surrogate, declared in (
            (errors, "straight_through", None),
            (controls, None, float(np.trace(exact)) / len(exact)),
        ):
            known = hntk.equivalent_kernels(
                data.x,
                data.labels,
                net,
                tau0=data.tau0,
                centre=not net.is_plain,
                kappa_sq=declared,
                surrogate=surrogate,
            )
            gap = centring @ (exact - known.ntk.to_dense()) @ centring
            made.append(np.linalg.norm(gap, 2) / np.linalg.norm(centring @ exact @ centring, 2))
    assert errors[1] < 0.75 * errors[0]
    assert controls[1] > 0.85 * controls[0]


def test_kernels_that_are_not_symmetric_have_no_structured_operator() -> None:
    data = hntk.reference_mixture(n=20, p=10, key=jax.random.key(0))
    net = Architecture([STEPS], bias_std=0.3, centred=False)
    with pytest.raises(ValueError, match="centre=True"):
        hntk.equivalent_kernels(data.x, data.labels, net, surrogate="relu")
    centred = hntk.equivalent_kernels(data.x, data.labels, net, surrogate="relu", centre=True).ntk
    np.testing.assert_allclose(centred.to_dense() @ np.ones(20), 0, atol=1e-12)


def test_calibrated_surrogates_have_the_coefficients_of_a_match() -> None:
    match = hntk.match(["relu"] * 2, 0.9, levels=4, method="layerwise")
    original = match.original_coefficients
    calibrated = hntk.calibrated_surrogates(match.activations, 0.9)
    known = hntk.coefficients(match.activations, 0.9, surrogate=calibrated)
    np.testing.assert_allclose(known.beta, original.beta, rtol=1e-9, atol=1e-12)
    assert np.all(np.isfinite(known.kappa_sq))
    even = hntk.calibrated_surrogates(match.activations, 0.9, hntk.surrogate("clipped", width=1.5, relative=True))
    other = hntk.coefficients(match.activations, 0.9, surrogate=even)
    np.testing.assert_allclose(other.beta[:, :2], original.beta[:, :2], rtol=1e-9, atol=1e-12)
    assert other.beta[-1, 2] < 0.9 * original.beta[-1, 2]
    plain = hntk.coefficients(match.activations, 0.9, surrogate="straight_through")
    assert abs(plain.beta[-1, 0] / original.beta[-1, 0] - 1) > 0.5


def test_a_shape_of_mean_zero_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="no height"):
        hntk.calibrated_surrogates([STEPS], 1.0, "abs")
