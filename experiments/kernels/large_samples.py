"""Sources of up to millions of training samples: a mixture drawn into a file, or a data set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.console import stage
from experiments.runner.from_config import LabelledSamples, dataset, keys
from hntk._utils.memory import check_disk

# The file in the run's folder that holds a mixture's training samples, while they are needed.
SAMPLES = "samples.npy"


class LargeMixture:
    """Samples of the reference mixture, drawn into a file that is read block by block."""

    def __init__(self, cfg: Config, folder: Path) -> None:
        self.cfg, self.path, self.p = cfg, folder / SAMPLES, cfg.data.p
        self.key = keys(cfg.seed, "training", "test")

    def sizes(self, wanted: list[int]) -> list[int]:
        """Return the sizes to fit at, smallest first."""
        return sorted(set(wanted))

    @contextmanager
    def samples(self, n: int) -> Iterator[LabelledSamples]:
        """Give n training samples and new ones; the file is removed afterwards.

        Yields
        ------
        LabelledSamples
            The samples.
        """
        data, folder = self.cfg.data, self.path.parent
        check_disk(folder, 4 * n * data.p, f"{n:,} samples take")
        try:
            with stage(f"drawing {n:,} samples"):
                x = np.lib.format.open_memmap(self.path, "w+", np.float32, (n, data.p))
                drawn = self._drawn(n, jax.random.fold_in(self.key["training"], n), x)
            new = self._drawn(self.cfg.experiment.n_test, self.key["test"], None)
            yield LabelledSamples(x, drawn.labels, np.asarray(new.x, np.float32), new.labels)
        finally:
            self.path.unlink(missing_ok=True)

    def _drawn(self, n: int, key: jax.Array, out: np.ndarray | None) -> hntk.Mixture:
        data = self.cfg.data
        return hntk.reference_mixture(n, data.p, key=key, separation=data.separation, spread=data.spread, out=out)


class LargeDataset:
    """Samples of a data set: all of them, or the first in a random order."""

    def __init__(self, cfg: Config) -> None:
        with stage(f"loading {cfg.data.name}"):
            self.data = dataset(cfg.data, cfg.seed)
        self.p = self.data.x_train.shape[1]
        self.order = np.random.default_rng(cfg.seed).permutation(len(self.data.y_train))

    def sizes(self, wanted: list[int]) -> list[int]:
        """Return those sizes that the data set has, and all of its samples, smallest first."""
        most = len(self.order)
        return sorted({n for n in wanted if n < most} | {most})

    @contextmanager
    def samples(self, n: int) -> Iterator[LabelledSamples]:
        """Give n training samples and the test set.

        Yields
        ------
        LabelledSamples
            The samples.
        """
        data, rows = self.data, np.sort(self.order[:n])
        yield LabelledSamples(data.x_train[rows], data.y_train[rows], data.x_test, data.y_test)
