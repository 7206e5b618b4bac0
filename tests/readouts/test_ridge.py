"""Readout by ridge regression: against kernel regression, and what it refuses."""

from __future__ import annotations

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk import Schedule
from hntk._utils import memory


@pytest.mark.slow
def test_ridge_is_kernel_regression_on_centred_features() -> None:
    data = hntk.reference_mixture(n=60, p=30, key=jax.random.key(1))
    net = hntk.dense(["relu"], [200], data.x, key=jax.random.key(2))
    labels = np.where(data.labels == 0, "left", "right")
    found = hntk.fit_ridge(net, data.x, labels, ridge=0.05)
    f = np.asarray(net.features(data.x), np.float64)
    f = f - f.mean(axis=0)
    y = np.eye(2)[data.labels]
    kernel = f @ f.T
    dual = kernel @ np.linalg.solve(kernel + 0.05 * np.eye(60), y - y.mean(axis=0)) + y.mean(axis=0)
    np.testing.assert_allclose(found.scores(data.x), dual, atol=1e-4)
    assert set(found.predict(data.x)) == {"left", "right"}
    # below the rounding errors of FᵀF, of rank 59 at most, no Cholesky factor exists: the samples are interpolated
    assert hntk.fit_ridge(net, data.x, labels, ridge=1e-14).accuracy(data.x, labels) == 1.0
    chosen = hntk.fit_ridge(net, data.x, labels)
    assert dict(chosen.validation)[chosen.ridge] == max(score for _, score in chosen.validation)
    for ridge in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="ridge"):
            hntk.fit_ridge(net, data.x, labels, ridge=ridge)


def test_features_of_all_layers_have_the_sum_of_their_kernels() -> None:
    data = hntk.reference_mixture(n=60, p=30, key=jax.random.key(1))
    net = hntk.dense(["relu"] * 2, [100, 40], data.x, key=jax.random.key(2))
    new = hntk.reference_mixture(n=20, p=30, key=jax.random.key(3)).x
    found = hntk.fit_ridge(net, data.x, data.labels, ridge=0.05, layers="all")
    assert (found.layers, found.weights.shape) == ("all", (140, 2))
    # The conjugate kernels of two networks: one of the first layer alone, and both layers.
    first = hntk.Network(net.weights[:1], net.activations[:1], net.centres[:1], None, None)
    both = jnp.concatenate([data.x, new])
    kernels = [(f := np.asarray(each.features(both), np.float64)) @ f.T for each in (first, net)]
    y = np.eye(2)[data.labels]

    def scores(kernel: np.ndarray) -> np.ndarray:
        """Kernel ridge regression with an intercept, which a constant feature without a ridge is."""
        system = np.ones((61, 61))
        system[:60, :60], system[60, 60] = kernel[:60, :60] + 0.05 * np.eye(60), 0
        dual = np.linalg.solve(system, np.concatenate([y, np.zeros((1, 2))]))
        return kernel[60:, :60] @ dual[:60] + dual[60]

    np.testing.assert_allclose(found.scores(new), scores(kernels[0] + kernels[1]), atol=1e-4)
    assert all(np.abs(found.scores(new) - scores(kernel)).max() > 0.01 for kernel in kernels)
    given = hntk.fit_ridge(net, data.x, data.labels, layers="all", features=net.features(data.x, layers="all"))
    np.testing.assert_allclose(given.weights, hntk.fit_ridge(net, data.x, data.labels, layers="all").weights, atol=1e-9)
    with pytest.raises(ValueError, match=r"\(60, 140\), as network.features\(x, layers=\"all\"\)"):
        hntk.fit_ridge(net, data.x, data.labels, layers="all", features=net.features(data.x))


def test_a_layerwise_match_keeps_the_kernels_of_all_layers_and_the_joint_one_the_last() -> None:
    def deviations(method: Literal["joint", "layerwise"]) -> list[float]:
        """Return the largest difference of α_1, α_2, α_3 of K_1, …, K_3 from ReLU's."""
        layers = hntk.match(["relu"] * 3, 1.0, 4, method=method).activations
        original, compressed = (hntk.coefficients(acts, 1.0).alpha for acts in (["relu"] * 3, layers))
        return np.abs(original - compressed)[1:, :3].max(axis=1).tolist()

    assert max(deviations("layerwise")) < 1e-8
    first, second, last = deviations("joint")
    assert last < 1e-8
    assert min(first, second) > 1e-3


@pytest.mark.slow
@pytest.mark.nightly
def test_the_sum_of_kernels_is_nearer_to_its_limit_than_the_last() -> None:
    x = hntk.reference_mixture(n=60, p=60, key=jax.random.key(1)).x
    layers = hntk.match(["relu"] * 3, 1.0, 4).activations
    exact = [np.asarray(hntk.exact_kernels(x, layers[:depth], tau0=1.0).ck) for depth in (1, 2, 3)]
    errors = []
    for seed in range(3):
        net = hntk.draw_network(layers, [200] * 3, 60, tau0=1.0, law="orthogonal", key=jax.random.key(seed))
        last, every = (np.asarray(net.features(x, layers=read), np.float64) for read in ("last", "all"))
        drawn, limits = (last @ last.T, every @ every.T), (exact[-1], sum(exact))
        errors.append([np.linalg.norm(k - e) / np.linalg.norm(e) for k, e in zip(drawn, limits, strict=True)])
    last, every = np.mean(errors, axis=0)
    assert every < 0.85 * last
    # and that it is the sum that is drawn: it is no limit of the last layer's
    assert np.linalg.norm(sum(exact) - exact[-1]) > 2 * np.linalg.norm(exact[-1])


def test_more_features_than_memory_has_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = hntk.reference_mixture(n=20, p=30, key=jax.random.key(1))
    net = hntk.dense(["relu"] * 2, [3000, 3000], data.x, key=jax.random.key(2))
    monkeypatch.setattr(memory, "available_memory", lambda: 3e8)
    with pytest.raises(MemoryError, match="Gram matrix of 6,000 features.*layers='last'.*fit_softmax"):
        hntk.fit_ridge(net, data.x, data.labels, layers="all")


@pytest.mark.slow
def test_accuracy_is_learnt_and_shuffled_labels_are_not() -> None:
    train, test = (hntk.reference_mixture(n=600, p=60, key=jax.random.key(s), separation=4.0) for s in (0, 1))
    shuffled = np.random.default_rng(0).permutation(train.labels)
    for net in (
        hntk.dense(["relu"] * 2, [1024, 512], train.x, key=jax.random.key(2)),
        hntk.compress(["relu"] * 2, [1024, 512], train.x, levels=4, key=jax.random.key(2)),
    ):
        assert hntk.fit_ridge(net, train.x, train.labels).accuracy(test.x, test.labels) > 0.95
        # 600 fair coins: 5 standard deviations
        assert abs(hntk.fit_ridge(net, train.x, shuffled, ridge=1.0).accuracy(test.x, test.labels) - 0.5) < 0.35


def test_integer_features_and_rates_that_are_none() -> None:
    data = hntk.reference_mixture(n=100, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [8], data.x, key=jax.random.key(1))
    whole = np.random.default_rng(0).integers(-127, 128, (100, 8)).astype(np.int8)
    schedule = Schedule(epochs=2, batch=20)
    for fit in (partial(hntk.fit_ridge, ridge=0.1), partial(hntk.fit_softmax, schedule=schedule)):
        mine = fit(net, data.x, data.labels, features=whole)
        theirs = fit(net, data.x, data.labels, features=whole.astype(np.float32))
        np.testing.assert_array_equal(mine.weights, theirs.weights)
    bad = whole.astype(float)
    bad[3, 4] = np.nan
    for fit in (hntk.fit_ridge, hntk.fit_softmax):
        with pytest.raises(ValueError, match="features has NaN or infinite values in 1 of its 100 rows"):
            fit(net, data.x, data.labels, features=bad)
    for rates in ([], [0.1, np.nan], [-1.0], 0.1, None):
        with pytest.raises(ValueError, match="rates"):
            hntk.fit_softmax(net, data.x, data.labels, rates=rates, schedule=schedule)


@pytest.mark.slow
def test_features_given_to_a_readout_must_fit() -> None:
    data = hntk.reference_mixture(n=100, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [64], data.x, key=jax.random.key(1))
    for fit in (hntk.fit_ridge, hntk.fit_softmax):
        with pytest.raises(ValueError, match=r"\(100, 64\)"):
            fit(net, data.x, data.labels, features=np.zeros((100, 63)))
    given = hntk.fit_ridge(net, data.x, data.labels, features=net.features(data.x))
    np.testing.assert_allclose(given.weights, hntk.fit_ridge(net, data.x, data.labels).weights, atol=1e-9)
    assert given.validation_accuracy == max(accuracy for _, accuracy in given.validation)
