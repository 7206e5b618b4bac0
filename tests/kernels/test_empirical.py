"""Kernels of networks with weights: against Jacobians and neural-tangents, in matrices, products, diagonals, parts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.kernels import backpropagation as layers
from hntk.kernels import gradient_products
from hntk.kernels._neural_tangents import load
from tests.support.samples import two_classes

X, _ = two_classes(23, 12)
X2 = two_classes(9, 12)[0] + 0.1


@cache
def drawn() -> hntk.Network:
    return hntk.dense(["relu", "erf", "tanh"], [20, 15, 31], X, key=jax.random.key(1))


def jacobian(net: hntk.Network, readout: np.ndarray, x: np.ndarray, every: bool = False) -> list[np.ndarray]:
    """Gradients of the output, which may read every layer, by every layer's weights; samples as rows."""

    def output(parameters: list, row: jax.Array) -> jax.Array:
        h, read = row, []
        for (_, fan_in, sigma, m, *_), w in zip(net.layers(), parameters[:-1], strict=True):
            h = sigma(fan_in * w @ h) - m
            read.append(h / np.sqrt(h.size))
        return parameters[-1] @ (jnp.concatenate(read) if every else read[-1])

    parameters = [w.dense(jnp.float64) for w in net.weights] + [jnp.asarray(readout, jnp.float64)]
    found = jax.jit(jax.vmap(jax.grad(output), (None, 0)))(parameters, jnp.asarray(x))
    return [np.asarray(part).reshape(len(x), -1) for part in found]


def products(first: list[np.ndarray], second: list[np.ndarray]) -> list[np.ndarray]:
    return [a @ b.T for a, b in zip(first, second, strict=True)]


@pytest.fixture(params=[1024, 8])
def small_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, or in batches and tiles that do not divide anything."""
    monkeypatch.setattr(layers, "BATCH", request.param)
    monkeypatch.setattr(gradient_products, "TILE", request.param - 1)


@pytest.mark.often("8")
@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
def test_matrices_parts_and_operator_against_the_jacobian() -> None:
    gradients = jacobian(drawn(), np.asarray(drawn().readout), X)
    parts = products(gradients, gradients)
    kernels = hntk.empirical_kernels(drawn(), X)
    np.testing.assert_allclose(kernels.ck, parts[-1], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(kernels.ntk, sum(parts), rtol=1e-11)
    for mine, theirs in zip(hntk.empirical_parts(drawn(), X), parts, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-13)
    ntk = hntk.EmpiricalNTK(drawn(), X)
    v = np.random.default_rng(0).standard_normal((23, 3))
    assert ntk.shape == (23, 23)
    np.testing.assert_allclose(ntk.matvec(v), sum(parts) @ v, rtol=1e-10)
    np.testing.assert_allclose(ntk.matvec(v[:, 0]), sum(parts) @ v[:, 0], rtol=1e-10)
    np.testing.assert_allclose(ntk.diagonal(), np.diag(sum(parts)), rtol=1e-11)
    np.testing.assert_array_equal(ntk.to_dense(), kernels.ntk)
    # another draw has other kernels
    other = hntk.dense(["relu", "erf", "tanh"], [20, 15, 31], X, key=jax.random.key(2))
    assert np.max(np.abs(hntk.empirical_kernels(other, X).ntk - kernels.ntk)) > 0.01


@pytest.mark.nightly
@pytest.mark.slow
def test_empirical_ntk_against_jacobians() -> None:
    x = jax.random.normal(jax.random.key(3), (5, 7)) / np.sqrt(7)
    net = hntk.dense(["tanh", "relu"], [11, 9], x, key=jax.random.key(4))

    def output(parameters: list, x: jax.Array) -> jax.Array:
        h, fan_in = x, 1
        for w, act, m in zip(parameters[:-1], net.activations, net.centres, strict=True):
            h = act(w @ h / np.sqrt(fan_in)) - m
            fan_in = w.shape[0]
        return parameters[-1] @ h / np.sqrt(fan_in)

    parameters = [w.dense(jnp.float64) for w in net.weights] + [net.readout.astype(jnp.float64)]
    rows = [jnp.concatenate([g.ravel() for g in jax.grad(output)(parameters, row)]) for row in x]
    gradients = jnp.stack(rows)
    np.testing.assert_allclose(hntk.empirical_kernels(net, x).ntk, gradients @ gradients.T, rtol=1e-5)


@pytest.mark.often("8")
@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
def test_between_two_sets() -> None:
    first, second = (jacobian(drawn(), np.asarray(drawn().readout), x) for x in (X, X2))
    parts = products(first, second)
    kernels = hntk.empirical_kernels(drawn(), X, x2=X2)
    np.testing.assert_allclose(kernels.ck, parts[-1], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(kernels.ntk, sum(parts), rtol=1e-10, atol=1e-13)
    for mine, theirs in zip(hntk.empirical_parts(drawn(), X, x2=X2), parts, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-13)


def test_of_a_classifier_each_output_and_their_mean() -> None:
    labels = np.arange(23) % 3 + 10
    classifier = hntk.fit_ridge(drawn(), X, labels, ridge=0.1)
    each = []
    for k, name in enumerate(classifier.classes):
        gradients = jacobian(drawn(), classifier.weights[:, k], X)
        each.append(sum(products(gradients, gradients)))
        np.testing.assert_allclose(hntk.empirical_kernels(classifier, X, output=name).ntk, each[-1], rtol=1e-10)
    np.testing.assert_allclose(hntk.empirical_kernels(classifier, X).ntk, np.mean(each, axis=0), rtol=1e-10)
    mean = hntk.EmpiricalNTK(classifier, X)
    np.testing.assert_allclose(mean.matvec(np.ones(23)), np.mean(each, axis=0).sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(mean.diagonal(), np.mean(each, axis=0).diagonal(), rtol=1e-10)
    assert np.max(np.abs(each[0] - each[1])) > 0.01 * np.max(np.abs(each[0]))
    with pytest.raises(ValueError, match=r"classes \[10, 11, 12\], got 13"):
        hntk.empirical_kernels(classifier, X, output=13)
    with pytest.raises(ValueError, match="one output"):
        hntk.empirical_kernels(drawn(), X, output=10)


@pytest.mark.often("8")
@pytest.mark.usefixtures("small_pieces")
def test_of_a_classifier_that_reads_every_layer() -> None:
    classifier = hntk.fit_ridge(drawn(), X, np.arange(23) % 3, ridge=0.1, layers="all")
    parts = [np.asarray(part) for part in jacobian(drawn(), classifier.weights[:, 1], X, every=True)]
    ntk = sum(products(parts, parts))
    found = hntk.empirical_kernels(classifier, X, output=1)
    np.testing.assert_allclose(found.ck, parts[-1] @ parts[-1].T, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.ntk, ntk, rtol=1e-10)
    operator = hntk.EmpiricalNTK(classifier, X, output=1)
    np.testing.assert_allclose(operator.matvec(np.ones(23)), ntk.sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(operator.diagonal(), ntk.diagonal(), rtol=1e-10)


@pytest.mark.slow
def test_weights_need_not_be_random_nor_float() -> None:
    """Ternary ones, and ones that a training could have made."""
    ternary = hntk.dense(["relu", "relu"], [16, 16], X, key=jax.random.key(3), law="ternary")
    values = np.asarray(drawn().weights[0].values) * np.linspace(0, 2, 20)[:, None]
    trained = replace(drawn(), weights=(hntk.WeightMatrix(jnp.asarray(values)), *drawn().weights[1:]), law=None)
    for net in (ternary, trained):
        gradients = jacobian(net, np.asarray(net.readout), X)
        np.testing.assert_allclose(
            hntk.empirical_kernels(net, X).ntk, sum(products(gradients, gradients)), rtol=1e-10, atol=1e-13
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:size requires ndarray:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:shape requires ndarray:DeprecationWarning")
def test_neural_tangents_gives_the_same_in_float32() -> None:
    nt, x = load(), jnp.asarray(X, jnp.float32)
    net = hntk.dense(["relu"] * 3, [64] * 3, X, key=jax.random.key(1))
    parameters = [w.dense() for w in net.weights] + [net.readout]

    def apply_fn(parameters: list, x: jax.Array) -> jax.Array:
        h = x
        for (_, fan_in, sigma, m, *_), w in zip(net.layers(), parameters[:-1], strict=True):
            h = (sigma(h @ w.T * fan_in) - m).astype(jnp.float32)
        return (h @ parameters[-1] / np.float32(8))[:, None]

    kernel_fn = nt.empirical_ntk_fn(apply_fn, implementation=nt.NtkImplementation.NTK_VECTOR_PRODUCTS, vmap_axes=0)
    theirs = np.asarray(jax.jit(lambda x: kernel_fn(x, None, parameters))(x))
    mine = np.asarray(hntk.empirical_kernels(net, x).ntk)
    assert mine.dtype == np.float32
    assert np.max(np.abs(mine - theirs)) < 1e-5 * np.max(np.abs(theirs))


@pytest.mark.slow
@pytest.mark.parametrize(
    "law",
    [pytest.param(law, marks=pytest.mark.nightly) for law in ("ternary", "gaussian", "student_t", "bernoulli")],
)
def test_wide_networks_reach_the_exact_kernels_whatever_the_weights(law: str) -> None:
    data = hntk.reference_mixture(n=30, p=200, key=jax.random.key(2))
    exact = hntk.exact_kernels(data.x, ["relu", "erf"])
    errors = []
    for width in (256, 4096):
        gaps = []
        for seed in range(4):
            net = hntk.dense(["relu", "erf"], [width, width], data.x, key=jax.random.key(seed), law=law)
            drawn = hntk.empirical_kernels(net, data.x)
            features = net.features(data.x)
            np.testing.assert_allclose(features @ features.T, drawn.ck, atol=1e-4)
            gaps.append([np.abs(drawn.ck - exact.ck).mean(), np.abs(drawn.ntk - exact.ntk).mean()])
        errors.append(np.mean(gaps, axis=0))
    ratio = errors[0] / errors[1]
    assert np.all(ratio > 2.5), ratio  # √16 = 4 expected
    assert np.all(errors[1] < 0.02)


def test_bad_input_is_said() -> None:
    with pytest.raises(ValueError, match="12"):
        hntk.empirical_kernels(drawn(), X[:, :5])
    with pytest.raises(ValueError, match=r"v must have shape \(23,\)"):
        hntk.EmpiricalNTK(drawn(), X).matvec(np.ones(5))
    with pytest.raises(ValueError, match="or a classifier"):
        hntk.EmpiricalNTK(replace(drawn(), readout=None), X).diagonal()
