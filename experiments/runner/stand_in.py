"""A small data set made on the spot, to try out experiments where no data is at hand."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import hntk
from experiments.runner.command_line import STAND_IN

CLASSES, SIDE = 10, 8
# pixels of a class that are brighter than noise
BRIGHT_PIXELS = 12
N_TRAIN, N_TEST = 1000, 300


def arrays(n_train: int = N_TRAIN, n_test: int = N_TEST, seed: int = 0) -> dict[str, np.ndarray]:
    """Return images of 8 x 8 bytes with labels, by their names in an .npz.

    Each class has twelve pixels that are brighter than noise.
    """
    rng = np.random.default_rng(seed)
    patterns = np.stack([rng.permutation(SIDE**2)[:BRIGHT_PIXELS] for _ in range(CLASSES)])
    result: dict[str, np.ndarray] = {}
    for part, n in (("train", n_train), ("test", n_test)):
        labels = np.arange(n) % CLASSES
        images = rng.integers(0, 150, (n, SIDE**2))
        images[np.arange(n)[:, None], patterns[labels]] += 80
        result[f"x_{part}"] = images.reshape(n, SIDE, SIDE).astype(np.uint8)
        result[f"y_{part}"] = labels.astype(np.uint8)
    return result


def dataset(n_train: int | None, n_test: int | None, **options: Any) -> hntk.Dataset:
    """Return the data set, read as one that lies on disk is.

    Parameters
    ----------
    n_train, n_test : int or None
        Samples to keep; all by default.
    **options : Any
        Further options of `hntk.load_dataset`.

    Returns
    -------
    hntk.Dataset
        The data set, with more samples than the usual 1000 and 300 where more are asked for.
    """
    made = arrays(max(N_TRAIN, n_train or 0), max(N_TEST, n_test or 0))
    with tempfile.TemporaryDirectory(prefix="hntk-") as folder:
        path = Path(folder) / f"{STAND_IN}.npz"
        np.savez(path, **made)  # type: ignore[arg-type]
        return hntk.load_dataset(STAND_IN, folder=path, n_train=n_train, n_test=n_test, **options)
