"""Statistics of layers: random networks as a control, planted deviations, and training."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import hntk
from tests.support.onnx_chains import onnx_model

N, P = 40, 30
X = np.asarray(hntk.reference_mixture(n=N, p=P, key=jax.random.key(0)).x)
TAU0 = float(np.sqrt(np.mean(np.sum(X**2, axis=1))))
HE = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.3, centred=False)


def drawn(network: hntk.Architecture, width: int, seed: int = 1) -> hntk.Network:
    return hntk.draw_network(network, [width] * network.depth, P, tau0=TAU0, key=jax.random.key(seed))


def test_a_random_network_is_as_far_as_its_width_makes_it() -> None:
    distances = []
    for width in (144, 576):
        for seed in (1, 2, 3):
            found = hntk.training_statistics(drawn(HE, width, seed), X, seed=seed + 10)
            assert all(layer.spikes == 0 for layer in found.layers)
            assert all(abs(layer.excess) < 4 / np.sqrt(width) for layer in found.layers)
            distances.append([[layer.centred_distance for layer in part] for part in (found.layers, found.drawn)])
    narrow, wide = np.reshape(distances, (2, 3, 2, 2)).mean(axis=1)
    # noise falls like one over the root of the width, of the network and of the one drawn beside it
    assert np.all((narrow / wide > 1.4) & (narrow / wide < 3))
    np.testing.assert_allclose(wide[0], wide[1], rtol=0.4)


def test_a_model_at_its_initialisation_has_the_exact_kernel_of_its_measured_scales() -> None:
    rng, width, size = np.random.default_rng(2), 1200, 5.0
    # He initialisation on raw samples, whose norms are not 1
    constants = {
        "W1": rng.normal(size=(P, width)) * np.sqrt(2 / P), "b1": 0.4 * rng.normal(size=width),
        "W2": rng.normal(size=(width, width)) * np.sqrt(2 / width), "b2": 0.1 * rng.normal(size=width),
        "W3": rng.normal(size=(width, 3)) / np.sqrt(width),
    }  # fmt: skip
    nodes = [("Gemm", ["x", "W1", "b1"], "u"), ("Relu", ["u"], "h"), ("Gemm", ["h", "W2", "b2"], "v")]
    nodes += [("Relu", ["v"], "k"), ("MatMul", ["k", "W3"], "y")]
    network = hntk.from_model(onnx_model(nodes, constants, inputs=P)).network
    measured = network.architecture
    np.testing.assert_allclose(measured.weight_std, [np.sqrt(2 / P), np.sqrt(2)], rtol=0.02)
    np.testing.assert_allclose(measured.bias_std, [0.4, 0.1], rtol=0.05)
    assert not measured.centred
    features = np.asarray(network.features(size * X))
    exact = np.asarray(hntk.exact_kernels(size * X, network).ck)
    assert hntk.operator_norm(features @ features.T - exact) < 0.2 * hntk.operator_norm(exact)
    # with other scales it is not: the control
    plain = np.asarray(hntk.exact_kernels(size * X, replace(measured, bias_std=0.0, weight_std=1.0)).ck)
    assert hntk.operator_norm(features @ features.T - plain) > 0.5 * hntk.operator_norm(plain)


def test_numbers_of_a_layer_are_what_they_are_called() -> None:
    network = drawn(HE, 50)
    first, second = hntk.training_statistics(network, X).layers
    weights, biases = [np.asarray(w.values) for w in network.weights], [np.asarray(b) for b in network.biases or ()]
    u = np.sqrt(2) * X @ weights[0].T + 0.3 * biases[0]
    v = np.sqrt(2) * np.maximum(u, 0) @ weights[1].T / np.sqrt(50) + 0.3 * biases[1]
    for layer, values in ((first, u), (second, v)):
        expected = np.mean(np.mean(values**4, axis=1) / np.mean(values**2, axis=1) ** 2) - 3
        assert layer.excess == pytest.approx(expected, rel=1e-4)
        assert (layer.weight_std, layer.bias_std) == pytest.approx((np.sqrt(2), 0.3))
    squares = np.linalg.svd(weights[1], compute_uv=False)
    assert second.edge_ratio == pytest.approx(squares[0] / (2 * np.sqrt(50)), rel=1e-5)


@pytest.mark.nightly
def test_normalised_and_residual_networks() -> None:
    network = drawn(hntk.Architecture(["erf"] * 2, 1.5, 0.8, centred=False, normalize="layer"), 300)
    weights, biases = [np.asarray(w.values) for w in network.weights], [np.asarray(b) for b in network.biases or ()]
    first, second = hntk.training_statistics(network, X).layers
    u = 1.5 * X / np.linalg.norm(X, axis=1, keepdims=True) @ weights[0].T + 0.8 * biases[0]
    h = special.erf(u) - special.erf(u).mean(axis=1, keepdims=True)
    v = 1.5 * h / np.linalg.norm(h, axis=1, keepdims=True) @ weights[1].T + 0.8 * biases[1]
    for layer, values in ((first, u), (second, v)):
        assert layer.excess == pytest.approx(np.mean(stats.kurtosis(values, axis=1, fisher=True)), abs=0.05)
        assert layer.kernel_distance < 0.4
    branched = drawn(hntk.Architecture(["relu"] * 2, 1.0, 0.2, residual=[0.0, 0.7]), 300)
    assert all(layer.kernel_distance < 0.5 for layer in hntk.training_statistics(branched, X).layers)


def test_heavy_neurons_and_a_planted_direction_are_seen() -> None:
    network = drawn(HE, 200)
    first, second = network.weights
    planted = jnp.outer(jnp.sign(jnp.arange(200) - 99.5), jnp.ones(200))
    changed = replace(network, weights=(first, replace(second, values=second.values + 0.3 * planted)))
    found, control = hntk.training_statistics(changed, X), hntk.training_statistics(network, X)
    assert (found.layers[1].spikes, control.layers[1].spikes) == (1, 0)
    assert found.layers[1].edge_ratio > 1.5
    assert found.layers[1].centred_distance > 3 * control.layers[1].centred_distance
    # a scale of each neuron's own makes pre-activations a mixture of Gaussians
    sizes = jnp.asarray(stats.t(df=5).rvs(200, random_state=0))[:, None]
    heavy = replace(network, weights=(replace(first, values=first.values * sizes), second))
    assert hntk.training_statistics(heavy, X).layers[0].excess > 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_training_moves_a_network_away() -> None:
    perceptrons = pytest.importorskip("sklearn.neural_network")
    labels = np.arange(N) % 2
    rows = []
    for steps in (1, 150):
        model = perceptrons.MLPClassifier((64,), max_iter=steps, learning_rate_init=1e-2 if steps > 1 else 1e-9)
        model.set_params(random_state=0)
        rows.append(hntk.training_statistics(hntk.from_model(model.fit(X, labels)), X).layers[0])
    untrained, trained = rows
    assert trained.centred_distance > 3 * untrained.centred_distance
    assert trained.edge_ratio > untrained.edge_ratio
    assert trained.spectrum_distance > untrained.spectrum_distance


def test_the_table_and_its_rows() -> None:
    found = hntk.training_statistics(drawn(HE, 20), X, rows=10, seed=3)
    lines = repr(found).splitlines()
    assert len(lines) == 1 + HE.depth + 1
    assert [line.split()[0] for line in lines[:3]] == ["layer", "1", "2"]
    assert "10 samples" in lines[-1]
    with pytest.raises(ValueError, match=r"hntk\.from_model"):
        hntk.training_statistics("model", X)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="columns"):
        hntk.training_statistics(drawn(HE, 20), X[:, 1:])
