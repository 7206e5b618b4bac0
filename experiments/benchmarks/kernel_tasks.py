"""Tasks with kernels of infinitely wide networks: the exact kernels, and regressions with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hntk
from hntk.kernels._neural_tangents import load
from hntk.readouts.kernel_ridge import solve_ridge

RIDGE = 1e-3
Once = Callable[[], Sequence[Any]]


def samples(n: int, p: int, seed: int = 0) -> np.ndarray:
    """Return (n, p) float32 samples of norm about 1."""
    drawn = np.random.default_rng(seed).standard_normal((n, p), dtype=np.float32)
    return drawn / np.float32(np.sqrt(p))


def exact(n: int, p: int, depth: int, activation: str, levels: int | None = None) -> Once:
    """Compute hntk's exact kernels, all layers with one activation, or with a staircase of ``levels`` levels."""
    net: list[Any] = [activation] * depth
    if levels is not None:
        net = [hntk.staircase(np.linspace(-1.5, 1.5, levels - 1), np.linspace(-1.0, 1.0, levels))] * depth
    x, kappa_sq = jnp.asarray(samples(n, p)), 1.0 if levels else None
    return lambda: hntk.exact_kernels(x, net, tau0=1.0, kappa_sq=kappa_sq)


def neural_tangents(n: int, p: int, depth: int, activation: str, batch: int) -> Once:
    """Compute neural-tangents' exact kernels, as a whole (batch 0) or with nt.batch."""
    nt: Any = load()
    layer = {
        "relu": nt.stax.Relu,
        "erf": nt.stax.Erf,
        "tanh": lambda: nt.stax.ElementwiseNumerical(jnp.tanh, deg=25),
    }[activation]
    stack: list[Any] = []
    for _ in range(depth):
        stack += [nt.stax.Dense(1, W_std=1.0, b_std=None), layer()]
    kernel = nt.stax.serial(*stack, nt.stax.Dense(1, W_std=1.0, b_std=None))[2]
    x = jnp.asarray(samples(n, p) * np.float32(np.sqrt(p)))
    if batch:
        batched = nt.batch(kernel, batch_size=batch)
        return lambda: batched(x, None, ("nngp", "ntk"))
    whole = jax.jit(lambda x: kernel(x, None, ("nngp", "ntk")))
    return lambda: whole(x)


def _labelled(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples of two classes a = 0, 1 of mean 3 e_a, and their labels."""
    x, labels = samples(n, p, seed), np.arange(n) % 2
    x[np.arange(n), labels] += np.float32(3 / np.sqrt(p))
    return x, labels


def equivalent_regression(n: int, p: int, depth: int, new: int) -> Once:
    """Fit and use hntk's regression with the equivalent NTK of ReLU, its ridge chosen."""
    (x, labels), (x_new, _) = _labelled(n, p, 0), _labelled(new, p, 1)
    return lambda: (hntk.fit_equivalent(x, labels, ["relu"] * depth).predict(x_new),)


def exact_regression(n: int, p: int, depth: int, new: int) -> Once:
    """Fit and use a regression with hntk's exact NTK and SciPy's Cholesky factors."""
    (x, labels), (x_new, _) = _labelled(n, p, 0), _labelled(new, p, 1)
    targets, net = np.eye(2, dtype=np.float32)[labels], ["relu"] * depth

    def once() -> Sequence[Any]:
        kernel = np.array(hntk.exact_kernels(x, net, tau0=1.0).ntk)
        dual = solve_ridge(kernel, targets, RIDGE, overwrite=True)
        across = np.asarray(hntk.exact_kernels(x_new, net, x2=x, tau0=1.0).ntk)
        return (np.argmax(across @ dual, axis=1),)

    return once


def scikit_learn(n: int, p: int, depth: int, new: int) -> Once:
    """Fit and use scikit-learn's kernel ridge regression with a Gaussian kernel, which has no depth."""
    from sklearn.kernel_ridge import KernelRidge

    (x, labels), (x_new, _) = _labelled(n, p, 0), _labelled(new, p, 1)
    targets = np.eye(2, dtype=np.float32)[labels]
    model = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=0.5)  # type: ignore[arg-type]
    return lambda: (np.argmax(model.fit(x, targets).predict(x_new), axis=1),)
