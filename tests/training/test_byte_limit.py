"""Densities that follow the bytes of the program: what is filled, with what weights, and what is kept by checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.deploy import to_c
from hntk.training import few_level_training
from hntk.training.byte_limit import ByteLimit, filling_scale
from hntk.training.few_level_layers import (
    DENSITY_SCALE,
    FewLevelLayer,
    cut_of,
    density,
    exact_cut,
    own_layers,
    ternary_values,
    with_cuts,
    with_followed_cuts,
)
from tests.support.training_samples import images

KEYS = jax.random.split(jax.random.key(4), 2)
SCHEDULE = hntk.Schedule(epochs=8, batch=32, learning_rate=8e-3, patience=8, warmup=1.0)
LIMIT = 1000


def train(kilobytes: float | None = LIMIT / 1000, **options: Any) -> Any:
    x, y = images(400, 12)
    given = {"levels": 4, "thresholds": "spaced", "sparsity": (0.9, 0.8), "pool": (12, 12), "key": KEYS} | options
    return hntk.train(x, y, (48, 24), kilobytes=kilobytes, schedule=SCHEDULE, **given)


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.fixture(scope="module")
def followed() -> Any:
    """A training of two members, its snapshots, and the bytes before anything was left out at the end."""
    before, epochs, taken = [], [], []
    patch = pytest.MonkeyPatch()
    inner = few_level_training.folded_within

    def watched(*arguments: Any) -> Any:
        made = inner(*arguments)
        before.append(made[1])
        return made

    patch.setattr(few_level_training, "folded_within", watched)
    made = train(progress=epochs.append, snapshot=lambda snapshot: taken.append(snapshot.members))
    patch.undo()
    return made, before, epochs, taken


def test_x(followed) -> None:
    made, before, epochs, taken = followed
    print(before, [to_c(m).table_bytes for m in made])
    for t in taken:
        print([float(m.parameters[DENSITY_SCALE]) for m in t])
    for m in made:
        print(m.training, m.accuracy(*images(400, 12)))
    for m, e in zip(made, zip(*epochs)):
        print([v.validation for v in e])
