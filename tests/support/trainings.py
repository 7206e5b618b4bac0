"""A small training of a linear classifier, for tests."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hntk.readouts.softmax import cross_entropy
from hntk.readouts.training import Samples, Schedule, Trained, train


def blobs(n: int = 600, d: int = 5, seed: int = 0) -> Samples:
    """Two classes that overlap, so that cross-entropy has a finite minimum."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = (rng.normal(size=(n, d)) + 0.7 * y[:, None] * np.eye(d)[0]).astype(np.float32)
    cut = n * 4 // 5
    return Samples(*(jnp.asarray(part) for part in (x[:cut], y[:cut], x[cut:], y[cut:])))


def scores(parameters: dict[str, Any], x: jax.Array) -> jax.Array:
    return x @ parameters["w"] + parameters["b"]


def loss(parameters: dict[str, Any], x: jax.Array, y: jax.Array) -> jax.Array:
    return cross_entropy(scores(parameters, x), y)


def start(d: int = 5) -> dict[str, jax.Array]:
    return {"w": jnp.zeros((d, 2), jnp.float32), "b": jnp.zeros(2, jnp.float32)}


SCHEDULE = Schedule(epochs=12, batch=32, learning_rate=1e-2, patience=12)


def run(samples: Samples, schedule: Schedule = SCHEDULE, parameters: Any = None, **options: Any) -> Trained:
    begin = start() if parameters is None else parameters
    return train(loss, scores, begin, samples, schedule, jax.random.key(3), **options)
