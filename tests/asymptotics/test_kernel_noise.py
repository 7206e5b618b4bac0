"""Errors of drawn kernels, against drawn networks; their limit; and the noise that orthogonal blocks leave."""

from __future__ import annotations

import os
from functools import cache

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics import kernel_error
from hntk.weights.quadratic_noise import quadratic_noise

ORTHOGONAL = hntk.WeightLaw("orthogonal", sparsity=0.5)
INDEPENDENT = hntk.WeightLaw("ternary", sparsity=0.5)
HAAR = hntk.WeightLaw("orthogonal_gaussian")
GAUSSIAN = hntk.WeightLaw("gaussian")
SEEDS = 20


@cache
def mixture() -> np.ndarray:
    return np.asarray(hntk.reference_mixture(60, 128, key=jax.random.key(0)).x)


def activations(levels: int | None, depth: int) -> list:
    if levels is None:
        return ["relu"] * depth
    return list(
        hntk.match(["relu"] * depth, float(np.sqrt(np.mean(np.sum(mixture() ** 2, axis=1)))), levels).activations
    )


def measured(net: list, width: int, law: hntk.WeightLaw, x: np.ndarray, seeds: int = SEEDS) -> float:
    """Root mean square of the relative errors in Frobenius norm."""
    exact = np.asarray(hntk.exact_kernels(x, net).ck)

    def square(seed: int) -> float:
        features = np.asarray(hntk.dense(net, width, x, law=law, key=jax.random.key(seed)).features(x), np.float64)
        return float(np.sum((features @ features.T - exact) ** 2) / np.sum(exact**2))

    return float(np.sqrt(np.mean([square(seed) for seed in range(seeds)])))


@pytest.mark.often("2-4-192")
@pytest.mark.parametrize(
    ("depth", "levels", "width"),
    [
        (1, None, 256),
        (2, 4, 192),
        *(
            pytest.param(depth, levels, width, marks=pytest.mark.nightly)
            for depth in (1, 3)
            for levels in (None, 2, 3, 8)
            for width in (256, 1024)
        ),
    ],
)
def test_errors_of_drawn_kernels_are_predicted(depth: int, levels: int | None, width: int) -> None:
    net = activations(levels, depth)
    predicted = {law: kernel_error(net, width, mixture(), weights=law) for law in (ORTHOGONAL, INDEPENDENT)}
    for law, error in predicted.items():
        assert measured(net, width, law, mixture()) == pytest.approx(error, rel=0.05)
    # negative control: the prediction for independent rows is not that for orthogonal ones
    assert predicted[ORTHOGONAL] < 0.9 * predicted[INDEPENDENT]


@pytest.mark.nightly
@pytest.mark.parametrize("law", [HAAR, GAUSSIAN])
def test_errors_of_dense_networks_are_predicted(law: hntk.WeightLaw) -> None:
    for depth, width in ((1, 300), (3, 512)):
        net = activations(4, depth)
        error = kernel_error(net, width, mixture(), weights=law)
        assert measured(net, width, law, mixture()) == pytest.approx(error, rel=0.04)


@pytest.mark.parametrize("rows", [3, 12, 16, 22, 32])
def test_the_noise_of_quadratic_functions_is_that_of_orthogonal_matrices(rows: int) -> None:
    rng, m = np.random.default_rng(rows), 16
    x, y = rng.standard_normal((2, m))

    def block(count: int) -> np.ndarray:
        return np.sqrt(m) * np.linalg.qr(rng.standard_normal((m, m)))[0][:count]

    def mean(rows_of_weights: np.ndarray) -> float:
        return float(np.mean((rows_of_weights @ x) * (rows_of_weights @ y)))

    counts = [min(m, rows - start) for start in range(0, rows, m)]
    drawn = [mean(np.concatenate([block(count) for count in counts])) for _ in range(3000)]
    # fixed norms of rows: m/(m + 2) of the noise of Gaussian rows
    independent = (x @ x * (y @ y) + (x @ y) ** 2 - 2 / m * (x @ y) ** 2) / rows * m / (m + 2)
    assert np.var(drawn) == pytest.approx(quadratic_noise(HAAR, rows, m) * independent, rel=0.12, abs=1e-20)


def test_blocks_of_a_law() -> None:
    assert quadratic_noise(INDEPENDENT, 64, 50) == 1.0
    assert quadratic_noise(ORTHOGONAL, 64, 50) == quadratic_noise(ORTHOGONAL, 128, 50) == 0.0
    assert quadratic_noise(ORTHOGONAL, 50, 50) == pytest.approx(14 / 63)
    assert quadratic_noise(HAAR, 50, 50) == 0.0
    assert quadratic_noise(ORTHOGONAL, np.inf, 50) == 0.0
    assert quadratic_noise(ORTHOGONAL, 50, np.inf) == 1.0


def falls_like_a_root(x: np.ndarray, widths: tuple[int, ...], seeds: int) -> float:
    """Slope of the logarithm of the measured error by that of the width."""
    errors = [measured(["relu"], width, ORTHOGONAL, x, seeds) for width in widths]
    return float(np.polyfit(np.log(widths), np.log(errors), 1)[0])


def test_orthogonal_blocks_have_the_limit_of_independent_rows() -> None:
    """Errors fall like 1/√d, and the mean of many drawn kernels is the exact kernel of Gaussian weights."""
    x = mixture()
    assert falls_like_a_root(x, (128, 512, 2048), 4) == pytest.approx(-0.5, abs=0.05)
    exact, total = np.asarray(hntk.exact_kernels(x, ["relu"]).ck), 0.0
    for seed in range(40):
        features = np.asarray(
            hntk.dense(["relu"], 2048, x, law=ORTHOGONAL, key=jax.random.key(seed)).features(x), float
        )
        total = total + features @ features.T / 40
    assert np.linalg.norm(total - exact) < 0.04 * np.linalg.norm(exact)


@pytest.mark.nightly
@pytest.mark.skipif("HNTK_DATA" not in os.environ, reason="no folder of data")
def test_errors_on_images_fall_like_a_root_and_are_predicted() -> None:
    x = np.asarray(hntk.load_dataset("mnist").x_train[:200], np.float64)
    assert falls_like_a_root(x, (1024, 4096, 16384), 6) == pytest.approx(-0.5, abs=0.06)
    for depth in (1, 3):
        net = ["relu"] * depth
        for law in (ORTHOGONAL, INDEPENDENT):
            assert measured(net, 1024, law, x) == pytest.approx(kernel_error(net, 1024, x, weights=law), rel=0.1)


def test_what_cannot_be_predicted() -> None:
    with pytest.raises(ValueError, match="a sample of zeros"):
        kernel_error(["relu"], 10, np.zeros((3, 4)), tau0=1.0)
    with pytest.raises(ValueError, match="sparsity of 1 - 1/g"):
        kernel_error(["relu"], 10, mixture(), weights=hntk.weight_law("orthogonal", sparsity=0.3))
