"""Readout by gradient training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk import Schedule


def test_softmax_does_not_take_up_the_checkpoint_of_other_data(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=200, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [32], data.x, key=jax.random.key(1))
    schedule, path = Schedule(epochs=3, batch=50), tmp_path / "a.npz"
    other = np.random.default_rng(0).permutation(data.labels)
    hntk.fit_softmax(net, data.x, other, schedule=schedule, rates=[0.03], checkpoint=path)
    with pytest.raises(ValueError, match="training samples, training labels"):
        hntk.fit_softmax(net, data.x, data.labels, schedule=schedule, rates=[0.03], checkpoint=path)


@pytest.mark.slow
def test_the_softmax_readout_classifies_and_keeps_the_better_rate(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=500, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [128], data.x, key=jax.random.key(1))
    labels = np.where(data.labels == 0, "left", "right")
    schedule = Schedule(epochs=10, batch=50)
    found = hntk.fit_softmax(net, data.x, labels, schedule=schedule, rates=(1e-6, 3e-2))
    assert found.learning_rate == 3e-2
    assert found.accuracy(data.x, labels) > 0.9
    assert set(found.predict(data.x)) == {"left", "right"}
    assert found.validation_accuracy == max(e.validation for e in found.history)
    features = net.features(data.x)
    given = hntk.fit_softmax(net, data.x, labels, schedule=schedule, rates=(1e-6, 3e-2), features=features)
    np.testing.assert_array_equal(given.weights, found.weights)
    kept = hntk.fit_softmax(net, data.x, labels, schedule=schedule, rates=(3e-2,), checkpoint=tmp_path / "a.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["a-0.03.npz"]
    np.testing.assert_array_equal(kept.weights, found.weights)


@pytest.mark.slow
def test_the_softmax_readout_of_every_layer(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=200, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"] * 2, [64, 32], data.x, key=jax.random.key(1))
    fit = partial(hntk.fit_softmax, net, data.x, data.labels, schedule=Schedule(epochs=5, batch=20), rates=[3e-2])
    found, features = fit(layers="all"), net.features(data.x, layers="all")
    assert (found.layers, found.weights.shape) == ("all", (96, 2))
    assert found.accuracy(data.x, data.labels) > 0.9
    # Every layer counts.
    assert all(np.abs(part).max() > 0.01 * np.abs(found.weights).max() for part in np.split(found.weights, [64]))
    np.testing.assert_allclose(found.scores(data.x), np.asarray(features) @ found.weights + found.offset, atol=1e-4)
    np.testing.assert_array_equal(fit(layers="all", features=features).weights, found.weights)
    with pytest.raises(ValueError, match=r"\(200, 96\)"):
        fit(layers="all", features=net.features(data.x))
    fit(checkpoint=tmp_path / "a.npz")
    with pytest.raises(ValueError, match="another training"):
        fit(layers="all", checkpoint=tmp_path / "a.npz")


@pytest.mark.slow
def test_the_softmax_readout_does_not_depend_on_the_features_scale() -> None:
    data = hntk.reference_mixture(n=300, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [64], data.x, key=jax.random.key(1))
    features = np.asarray(net.features(data.x))
    schedule = Schedule(epochs=4, batch=50)
    plain, moved = (
        hntk.fit_softmax(net, data.x, data.labels, schedule=schedule, features=f)
        for f in (features, 1024 * features + 3)
    )
    np.testing.assert_allclose(moved.scores_of(1024 * features + 3), plain.scores_of(features), atol=2e-2)
