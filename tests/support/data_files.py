"""Data sets on disk for tests: IDX files and archives, written from their definitions, whole and damaged."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TYPE_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


HYPHENS = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


DOTS = {key: name.replace("-idx", ".idx") for key, name in HYPHENS.items()}
TEST_PREFIX = {key: name.replace("t10k", "test") for key, name in HYPHENS.items()}


def idx_bytes(array):
    """The IDX format, written from its definition."""
    array = np.asarray(array)
    magic = bytes([0, 0, TYPE_CODES[array.dtype.str[1:]], array.ndim])
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def image_arrays(n=12, m=6):
    rng = np.random.default_rng(7)
    return {
        "x_train": rng.integers(0, 256, (n, 4, 3), dtype=np.uint8),
        "y_train": (np.arange(n) % 3 + 4).astype(np.uint8),
        "x_test": rng.integers(0, 256, (m, 4, 3), dtype=np.uint8),
        "y_test": (np.arange(m) % 3 + 4).astype(np.uint8),
    }


def row_arrays(n=40, m=15, p=5, classes=4):
    rng = np.random.default_rng(8)
    return {
        "x_train": 3.0 + 2.0 * rng.normal(size=(n, p)),
        "y_train": rng.permutation(np.arange(n) % classes),
        "x_test": 5.0 + rng.normal(size=(m, p)),
        "y_test": rng.permutation(np.arange(m) % classes),
    }


def write_idx(folder, arrays, names=HYPHENS, zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        content = idx_bytes(array)
        path = folder / (names[key] + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def write_npz(path, arrays, **changed):
    kept = {key: value for key, value in {**arrays, **changed}.items() if value is not None}
    np.savez(path, **kept)
    return path


def correlated(n, p=30, classes=3, seed=0):
    """Few effective dimensions, far class means, norms that vary: all that the theory excludes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    spectrum = 1 / np.arange(1, p + 1)
    x = rng.normal(size=(classes, p))[y] * spectrum + rng.normal(size=(n, p)) * spectrum
    x = x * rng.lognormal(0, 0.3, (n, 1))
    x -= x.mean(axis=0)
    return x / np.sqrt(np.mean(np.sum(x**2, axis=1))), y


def write_skewed(folder):
    """An archive of correlated samples, 400 to train on and 100 to test with, in another scale and place."""
    x, y = correlated(500)
    x = 5 + 3 * x
    arrays = {"x_train": x[:400], "y_train": y[:400], "x_test": x[400:], "y_test": y[400:]}
    return write_npz(folder / "skewed.npz", arrays)


def peak_memory(read):
    """What ``read`` returns, or None for a ValueError, and the most bytes it held."""
    tracemalloc.start()
    try:
        return read(), tracemalloc.get_traced_memory()[1]
    except ValueError:
        return None, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


EDITS = st.lists(st.tuples(st.one_of(st.integers(0, 20), st.integers(0, 2000)), st.integers(0, 255)), max_size=6)
NOT_CUT = 1 << 20


def damaged(content, edits, cut, tail):
    content = bytearray(content)
    for place, value in edits:
        content[place % len(content)] = value
    return bytes(content[:cut]) + tail


LARGE = 1 << 24


def raised_peak(read, kind=ValueError):
    """The error of ``read`` and the most bytes it held."""
    tracemalloc.start()
    try:
        with pytest.raises(kind) as caught:
            read()
        return str(caught.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
