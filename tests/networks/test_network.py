"""Drawing networks, and their features against a direct computation."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk.networks.forward import is_sparse

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
        for w, _, sigma, m in net.layers():
            h = np.asarray(sigma(h @ np.asarray(w.dense()).T / np.float32(np.sqrt(fan_in)))) - np.float32(m)
            fan_in = w.shape[0]
        expected = h / np.sqrt(fan_in)
        found = np.asarray(net.features(data.x, batch=130))
        assert found.dtype == np.float32
        # A sum in another order may cross a threshold.
        assert np.mean(np.abs(found - expected) > 1e-4 * np.abs(expected).max()) < 1e-3
        np.testing.assert_array_equal(found[-1], np.asarray(net.features(data.x[-1:]))[0])
    assert not is_sparse(hntk.draw_network(["relu"], [40], 70, tau0=1.0, law="ternary", key=jax.random.key(1)).weights)
