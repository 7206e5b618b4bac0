"""Tasks with drawn networks: their NTKs, and predictions of a classifier in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hntk
from experiments.benchmarks.kernel_tasks import Once, samples
from experiments.benchmarks.serve import SampleCycle
from hntk.kernels._neural_tangents import load
from hntk.networks.layers import Layer, Pass, Step


def _drawn(p: int, width: int, depth: int) -> Any:
    return hntk.draw_network(["relu"] * depth, [width] * depth, p, tau0=1.0, key=jax.random.key(1))


def empirical(n: int, p: int, width: int, depth: int) -> Once:
    """Compute the NTK of a drawn ReLU network, layer by layer."""
    net, x = _drawn(p, width, depth), samples(n, p)
    return lambda: (hntk.empirical_kernels(net, x).ntk,)


def empirical_products(n: int, p: int, width: int, depth: int) -> Once:
    """Multiply that NTK with one vector, without forming the matrix."""
    net, x = _drawn(p, width, depth), jnp.asarray(samples(n, p))
    ntk, v = hntk.EmpiricalNTK(net, x), jnp.ones(n, jnp.float32)
    return lambda: (ntk.matvec(v),)


def empirical_neural_tangents(n: int, p: int, width: int, depth: int, implementation: str) -> Once:
    """Compute that NTK by one of neural-tangents' implementations, compiled."""
    nt: Any = load()
    net, x = _drawn(p, width, depth), jnp.asarray(samples(n, p))
    parameters = [*(w.dense() for w in net.weights), net.readout]
    root = np.float32(np.sqrt(width))

    def apply(parameters: list, x: Any) -> Any:
        h = x
        for (_, fan_in, sigma, m, *_), w in zip(net.layers(), parameters[:-1], strict=True):
            h = (sigma(h @ w.T * fan_in) - m).astype(jnp.float32)
        return (h @ parameters[-1] / root)[:, None]

    kernel = jax.jit(
        nt.empirical_ntk_fn(apply, implementation=nt.NtkImplementation[implementation], vmap_axes=0),
        static_argnums=1,
    )
    return lambda: (kernel(x, None, parameters),)


def _orthogonal(samples: int, width: int, sparsity: float) -> tuple[hntk.OrthogonalMatrix, jax.Array]:
    matrix = hntk.weight_law("orthogonal", sparsity=sparsity).draw(jax.random.key(0), (width, width))
    assert isinstance(matrix, hntk.OrthogonalMatrix)
    return matrix, jax.random.randint(jax.random.key(1), (samples, width), -8, 9).astype(jnp.float32)


def transformed(samples: int, width: int, sparsity: float) -> Once:
    """Multiply whole numbers by an orthogonal ternary matrix, by transform."""
    matrix, h = _orthogonal(samples, width, sparsity)
    product = jax.jit(lambda matrix, h: matrix.product(h))
    return lambda: (product(matrix, h),)


def multiplied(samples: int, width: int, sparsity: float) -> Once:
    """Multiply whole numbers by the explicit matrix, as layers do it; it is prepared at first use."""
    matrix, h = _orthogonal(samples, width, sparsity)

    @cache
    def prepared() -> Pass:
        step = Step(hntk.WeightMatrix(matrix.values, 1.0, "ternary"), 1.0, _unchanged)
        return Pass.of([Layer.of(step, None)])

    return lambda: (prepared()(h),)


def _unchanged(z: jax.Array) -> jax.Array:
    return z


def predictions(path: str, data: str) -> tuple[Callable[..., tuple], Callable[[np.ndarray], Sequence[Any]]]:
    """Predict batches with a classifier from a file, by hntk in JAX."""
    assert jax.default_backend() == "cpu"
    classifier = hntk.load(path)
    assert isinstance(classifier, hntk.Classifier | hntk.IntegerClassifier)
    return SampleCycle(np.load(data)).batch, lambda x: (classifier.predict(x),)
