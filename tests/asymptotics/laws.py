"""Mixtures, networks and kernels that several tests of the asymptotics share."""

from __future__ import annotations

import jax
import numpy as np

import hntk
from hntk.asymptotics.kernel_parameters import KernelCoefficients
from hntk.asymptotics.mixture_law import MixtureLaw

LINEAR = KernelCoefficients(1.0, 0.0, 0.0, shift=0.25)
NET = ["relu", "erf"]
SHARES = [0.5, 0.3, 0.2]


def graded(p: int) -> np.ndarray:
    """A diagonal covariance of trace p, from .43 to 3.1."""
    values = np.exp(np.linspace(-1, 1, p))
    return values / values.mean()


def mixtures(p: int) -> dict[str, tuple[np.ndarray, list]]:
    """Means and covariances by what makes them hard."""
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((p, p)))[0]
    turned = (rotation * graded(p)) @ rotation.T
    two = np.repeat([0.2, 1.8], [p // 2, p - p // 2])
    return {
        "one class": (2.0 * np.eye(1, p), [1.0]),
        "scaled": (3.0 * np.eye(2, p), [1.0, 1 + 3 / np.sqrt(p)]),
        "three classes": (
            np.diag([3.0, 2.5, 2.0]) @ np.eye(3, p),
            [graded(p), graded(p)[::-1], (1 + 2 / p**0.5) * graded(p)],
        ),
        "two bulks": (2.0 * np.eye(2, p), [two, two]),
        "no common basis": (2.5 * np.eye(2, p), [graded(p), turned]),
    }


def law_of(name: str, p: int) -> MixtureLaw:
    return MixtureLaw.of(*mixtures(p)[name])


def three_classes(p: int) -> tuple[np.ndarray, list]:
    """Three classes that differ in means and covariances, and means that lie where the covariance is large."""
    means = np.diag([3.0, 2.0, 2.5]) @ np.eye(3, p)[:, ::-1]
    return means, [graded(p), graded(p) * (1 + 4 / p**0.5), graded(p) * (1 - 2 / p**0.5)]


def three_class_law(p: int) -> MixtureLaw:
    return MixtureLaw.of(*three_classes(p), SHARES)


def simulated(name: str, n: int, p: int, seed: int, kernel: str = "ck") -> tuple[hntk.Mixture, hntk.StructuredKernel]:
    """A mixture of this name, and its equivalent kernel."""
    means, covariances = mixtures(p)[name]
    data = hntk.gaussian_mixture(means, covariances, n, key=jax.random.key(seed))
    kernels = hntk.equivalent_kernels(data.x, data.labels, NET, tau0=law_of(name, p).tau0, population=data.population)
    return data, getattr(kernels, kernel)
