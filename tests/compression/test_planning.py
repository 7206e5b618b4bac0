"""Predicted losses against drawn networks, and plans that keep what they promise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.compression.compressed_network import ternary_law
from hntk.compression.error_budget import Terms
from hntk.compression.planning import plan

RELU = ["relu"] * 3
SEEDS = 20
# the account is an upper estimate: never below what is measured, and within this factor of it
FACTOR = 2.3


def loss(design_or_match, widths, sparsity, x: np.ndarray, seed: int) -> float:
    exact = np.asarray(hntk.exact_kernels(x, RELU).ck)
    net = hntk.compress(RELU, widths, x, design_or_match, sparsity, key=jax.random.key(seed))
    features = np.asarray(net.features(x), np.float64)
    return hntk.operator_norm(features @ features.T - exact) / hntk.operator_norm(exact)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "p", "levels", "widths", "sparsity"),
    [
        (200, 100, 4, (1024, 1024, 1024), 0.5),
        pytest.param(150, 150, 8, (3000, 3000, 3000), 0.0, marks=pytest.mark.nightly),
        pytest.param(300, 60, 5, (2000, 1000, 500), 2 / 3, marks=pytest.mark.nightly),
        pytest.param(200, 100, 3, (4000, 500, 2000), 0.9, marks=pytest.mark.nightly),
    ],
)
def test_the_account_is_honest_over_seeds(n: int, p: int, levels: int, widths: tuple, sparsity: float) -> None:
    data = hntk.reference_mixture(n, p, key=jax.random.key(n + p))
    x = np.asarray(data.x)
    found = hntk.match(RELU, float(np.sqrt(np.mean(np.sum(x**2, axis=1)))), levels)
    account = Terms.of(found, x).account(np.array(widths, float), ternary_law(sparsity))
    measured = [loss(found, widths, sparsity, x, seed) for seed in range(SEEDS)]
    assert max(measured) <= account.total <= FACTOR * float(np.mean(measured))
    # negative control: without its width part the account is not
    assert account.total - account.finite_width < max(measured)


@pytest.mark.slow
@pytest.mark.parametrize("cases", [[1], pytest.param([0, 2, 3], marks=pytest.mark.nightly)])
def test_plans_meet_their_targets_in_all_cases(cases: list[int]) -> None:
    met = 0
    for case in cases:
        n, p, error = [(120, 60, 0.8), (100, 100, 0.7)][case % 2]
        data = hntk.reference_mixture(n, p, key=jax.random.key(case))
        # the choice of levels, which takes longest, in every fifth
        levels = [4] if case % 5 else [4, 8]
        design = plan(RELU, data.x, data.labels, error=error, levels=levels, sparsities=[0.5, 2 / 3])
        assert design.account.total <= error
        met += loss(design.match, design.widths, design.sparsity, np.asarray(data.x), 100 + case) <= error
    assert met == len(cases)


def small() -> tuple[np.ndarray, np.ndarray]:
    data = hntk.reference_mixture(80, 40, key=jax.random.key(0))
    return np.asarray(data.x), np.asarray(data.labels)


@pytest.mark.nightly
def test_the_cheapest_widths_are_a_minimum() -> None:
    x, y = small()
    design = plan(["relu"] * 2, x, y, error=0.5, levels=[4], sparsities=[0.5])
    terms = Terms.of(design.match, x)
    for change in ((1.1, 1.0), (0.9, 1.0), (1.0, 1.1), (1.0, 0.9), (1.1, 0.9), (0.9, 1.1)):
        widths = np.round(np.array(design.widths) * change)
        account = terms.account(widths, design.sparsity)
        size = hntk.storage(
            hntk.compress(["relu"] * 2, widths.astype(int), x, design.match, 0.5, key=jax.random.key(0)), 2
        ).total
        assert account.total > 0.5 or size > 0.995 * design.bytes
    drawn = design.draw(x, key=jax.random.key(0))
    assert hntk.storage(drawn, 2).total == design.bytes


def test_a_memory_is_kept_and_used() -> None:
    x, y = small()
    tight, wide = (plan(["relu"] * 2, x, y, memory=m, levels=[4], weights="iid") for m in (5_000, 50_000))
    assert 0.95 * 5_000 < tight.bytes <= 5_000
    assert 0.95 * 50_000 < wide.bytes <= 50_000
    assert wide.account.total < tight.account.total
    assert "bytes" in str(wide)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either error"),
        ({"error": 0.1, "memory": 1000}, "either error"),
        ({"error": -1.0}, "positive"),
        ({"memory": 10}, "allow more"),
        ({"error": 1e-4}, "at infinite width"),
    ],
)
def test_what_cannot_be_planned(arguments: dict, message: str) -> None:
    x, y = small()
    with pytest.raises(ValueError, match=message):
        plan(["relu"], x, y, levels=[3], sparsities=[0.5], **arguments)


@pytest.mark.nightly
def test_the_fourth_moment_moves_the_kernel_as_predicted_and_not_at_two_thirds() -> None:
    x = np.random.default_rng(0).normal(size=(80, 160)) / np.sqrt(160)
    m = hntk.activation("relu").moments(1.0)
    exact = hntk.exact_kernels(x, ["relu"], tau0=1.0).ck
    one = np.ones(len(x)) / np.sqrt(len(x))
    found, predicted = [], []
    for sparsity in (0.0, 2 / 3, 0.9):
        law = hntk.WeightLaw("ternary", sparsity=sparsity)
        total = jnp.zeros_like(exact)
        for seed in range(4):
            net = hntk.draw_network(["relu"], [100_000], 160, tau0=1.0, law=law, key=jax.random.key(seed))
            features = net.features(x)
            total += jnp.asarray(features @ features.T, float) / 4
        found.append(float(one @ np.asarray(total - exact) @ one))
        predicted.append(m.e2**2 / 4 * (law.fourth_moment - 3) * float(one @ (x**2 @ (x**2).T) @ one))
    # 400 000 neurons: the standard error is about .0015
    np.testing.assert_allclose(found, predicted, rtol=0.25, atol=0.006)
    assert found[0] < -0.02 < found[1] < 0.02 < found[2]
