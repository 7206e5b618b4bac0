"""Drawing networks, by every kind of key and in every precision, and their features against a direct computation."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.networks.forward import is_sparse
from tests.support.precision import precision

GOOD = np.random.default_rng(0).normal(size=(12, 5))


def test_bad_networks_are_refused() -> None:
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="widths"):
        hntk.dense(["relu"] * 2, [8], GOOD, key=key)
    with pytest.raises(ValueError, match="columns"):
        hntk.dense(["relu"], [8], GOOD, key=key).features(GOOD[:, :4])
    with pytest.raises(ValueError, match="sparsity"):
        hntk.compress(["relu"], [8], GOOD, sparsity=1.0, key=key)
    with pytest.raises(ValueError, match="known are"):
        hntk.dense(["relu"], [8], GOOD, key=key, law="cauchy")
    with pytest.raises(ValueError, match="4 degrees"):
        hntk.weight_law("student_t", degrees=4.0)


@pytest.mark.often("ternary")
@pytest.mark.slow
@pytest.mark.parametrize("law", ["ternary", "sparse_gaussian", "pruned_gaussian"])
def test_sparse_networks_have_the_features_of_their_dense_matrices(law: str) -> None:
    data = hntk.reference_mixture(n=300, p=70, key=jax.random.key(0))
    four = hntk.match(["relu"] * 2, 1.0, 4).activations
    for layers in (["relu", "erf"], list(four)):
        net = hntk.draw_network(
            layers, [400, 90], 70, tau0=1.0, law=hntk.weight_law(law, sparsity=0.97), key=jax.random.key(1)
        )
        assert is_sparse(net.weights)
        h, fan_in = np.asarray(data.x, np.float32), 1
        for w, _, sigma, m, *_ in net.layers():
            h = np.asarray(sigma(h @ np.asarray(w.dense()).T / np.float32(np.sqrt(fan_in)))) - np.float32(m)
            fan_in = w.shape[0]
        expected = h / np.sqrt(fan_in)
        found = np.asarray(net.features(data.x, batch=130))
        assert found.dtype == np.float32
        # A sum in another order may cross a threshold.
        assert np.mean(np.abs(found - expected) > 1e-4 * np.abs(expected).max()) < 1e-3
        np.testing.assert_array_equal(found[-1], np.asarray(net.features(data.x[-1:]))[0])
    assert not is_sparse(hntk.draw_network(["relu"], [40], 70, tau0=1.0, law="ternary", key=jax.random.key(1)).weights)


@pytest.mark.slow
def test_a_network_is_one_of_its_key_alone() -> None:
    drawn = []
    for double in (True, False):
        with precision(double):
            x = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
            key = jax.random.key(5)
            net = hntk.dense(["relu", "erf"], [16, 8], x, key=key, law=hntk.WeightLaw("ternary", sparsity=0.6))
            drawn.append([np.asarray(w.values) for w in net.weights] + [np.asarray(net.readout), net.features(x)])
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6)


@pytest.mark.usefixtures("double")
def test_older_keys_draw_what_they_always_drew() -> None:
    expected = np.asarray(hntk.weight_law("ternary").draw(jax.random.key(3), (7, 5)).values)
    for key in (jax.random.PRNGKey(3), np.asarray(jax.random.PRNGKey(3))):
        assert np.array_equal(hntk.weight_law("ternary").draw(key, (7, 5)).values, expected)
        assert hntk.draw_network(["relu"], 4, 3, tau0=1.0, key=key).widths == (4,)


def test_one_width_is_the_width_of_every_layer() -> None:
    net = hntk.draw_network(["relu", "erf"], 5, 3, tau0=1.0, key=jax.random.key(0))
    assert net.widths == (5, 5)


def test_features_that_cannot_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones((100, 3))
    net = hntk.dense(["relu"], [50], x, key=jax.random.key(0))
    monkeypatch.setattr("hntk._utils.memory.SMALL", 0)
    monkeypatch.setattr("hntk._utils.memory.available_memory", lambda: 30_000)
    with pytest.raises(MemoryError, match="feature_batches"):
        net.features(x)
    with pytest.raises(MemoryError, match=r"batch=\."):
        net.feature_batches(np.ones((1000, 3)))
    assert sum(len(part) for part in net.feature_batches(x, batch=10)) == 100
    with pytest.raises(MemoryError, match="empirical_kernels keeps their sum"):
        hntk.empirical_parts(net, x)
