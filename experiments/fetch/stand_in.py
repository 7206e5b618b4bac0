"""A small data set made on the spot, for trying out experiments where no data is at hand."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

import hntk
from experiments.fetch.sources import NAMES, Source
from experiments.runner.tiny import STAND_IN as NAME

CLASSES, SIDE, BRIGHT = 10, 8, 12
N_TRAIN, N_TEST = 1000, 300


def arrays(n_train: int = N_TRAIN, n_test: int = N_TEST, seed: int = 0) -> dict[str, np.ndarray]:
    """Images of 8 x 8 bytes whose class says which twelve pixels are brighter than noise; by name as in an .npz."""
    rng = np.random.default_rng(seed)
    patterns = np.stack([rng.permutation(SIDE**2)[:BRIGHT] for _ in range(CLASSES)])
    found: dict[str, np.ndarray] = {}
    for part, n in (("train", n_train), ("test", n_test)):
        labels = np.arange(n) % CLASSES
        images = rng.integers(0, 150, (n, SIDE**2))
        images[np.arange(n)[:, None], patterns[labels]] += 80
        found[f"x_{part}"] = images.reshape(n, SIDE, SIDE).astype(np.uint8)
        found[f"y_{part}"] = labels.astype(np.uint8)
    return found


def dataset(n_train: int | None, n_test: int | None, **options: Any) -> hntk.Dataset:
    """The data set, with at least so many samples, read as one that lies on disk is.

    Parameters
    ----------
    n_train, n_test : samples to keep; all by default.
    options : of `hntk.load_dataset`.
    """
    made = arrays(max(N_TRAIN, n_train or 0), max(N_TEST, n_test or 0))
    with tempfile.TemporaryDirectory(prefix="hntk-") as folder:
        path = Path(folder) / f"{NAME}.npz"
        np.savez(path, **made)  # type: ignore[arg-type]
        return hntk.load_dataset(NAME, folder=path, n_train=n_train, n_test=n_test, **options)


@contextmanager
def served() -> Iterator[Source]:
    """Have the data set served by this process on the loopback address, as files that can be fetched."""
    contents = {key: _idx(array) for key, array in arrays().items()}
    with tempfile.TemporaryDirectory(prefix="hntk-") as folder:
        zipped = {key: gzip.compress(content, mtime=0) for key, content in contents.items()}
        for key, content in zipped.items():
            (Path(folder) / NAMES[key]).write_bytes(content)
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield Source(
                    mirrors=(f"http://127.0.0.1:{server.server_port}/",),
                    sha256={key: hashlib.sha256(content).hexdigest() for key, content in contents.items()},
                    kilobytes=round(sum(map(len, zipped.values())) / 1000),
                )
            finally:
                server.shutdown()
                thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of every file."""


def _idx(array: np.ndarray) -> bytes:
    """Bytes in the form of MNIST's files."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
