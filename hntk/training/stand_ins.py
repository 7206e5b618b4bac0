"""Stand-ins of whole-number types until those of hntk.networks are merged."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

import jax.numpy as jnp
import numpy as np

from hntk._utils.pytree import array_dataclass
from hntk.weights.bit_planes import Code


def _overlaps(size: int, pooled: int) -> np.ndarray:
    g = gcd(size, pooled)
    fine, per = pooled // g, size // g
    owner = np.arange(pooled * per) // per
    pixel = np.arange(size * fine) // fine
    out = np.zeros((pooled, size))
    np.add.at(out, (owner, pixel), 1)
    return out


@dataclass(frozen=True)
class PooledPixels:
    """Pooled pixels."""

    shape: tuple[int, int]
    pooled: tuple[int, int]
    least: int = 0
    most: int = 255
    note: str = "input: pooled pixels"

    @property
    def code(self) -> Code:
        """The values as bit planes."""
        return Code.of_range(0, 255)

    def __call__(self, raw: Any) -> Any:
        """Pool."""
        rows, columns = (_overlaps(*pair).astype(np.float32) for pair in zip(self.shape, self.pooled, strict=True))
        images = jnp.asarray(raw, jnp.float32).reshape(-1, *self.shape)
        sums = jnp.einsum("nhw,rh,cw->nrc", images, rows, columns)
        area = float(rows[0].sum() * columns[0].sum())
        return jnp.floor((2 * sums + area) / (2 * area)).reshape(len(raw), -1)


@array_dataclass(static=("levels",))
class NeuronSteps:
    """Staircases of neurons."""

    thresholds: np.ndarray
    levels: tuple[int, ...]

    def __call__(self, sums: Any) -> Any:
        """Return levels."""
        level = jnp.full(sums.shape, self.levels[0], jnp.float32)
        for k, (a, b) in enumerate(zip(self.levels, self.levels[1:], strict=False)):
            level += jnp.where(sums >= self.thresholds[:, k], b - a, 0)
        return level

    def within(self, bound: int) -> NeuronSteps:
        """Return itself."""
        return self

    @property
    def most(self) -> int:
        """Largest."""
        return max(map(abs, self.levels))

    @property
    def code(self) -> None:
        """None: no planes."""
        return

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return 4 * self.thresholds.size + 2 * len(self.levels)


@dataclass(frozen=True)
class TrainingRecord:
    """Record."""

    start: str
    epochs: int
    best_epoch: int
    validation: float | None
    samples: int
    sparsity: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class IntegerRegressor:
    """Regressor."""

    network: Any
    readout: np.ndarray
    offset: np.ndarray
    unit: float

    def predict(self, raw: Any) -> np.ndarray:
        """Predict."""
        levels = np.concatenate([np.asarray(b, np.float64) for b in self.network.feature_batches(raw)])
        return self.unit * (levels @ self.readout.T.astype(np.float64) + self.offset)
