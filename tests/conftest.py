"""Data and settings that several tests share."""

from __future__ import annotations

import ctypes
import gc
import gzip
import os
import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.support.precision import precision
from tests.support.shared_contexts import share_contexts

# Bytes by which a test process may grow before the programs it compiled are dropped.
GROWTH = 700_000_000

# as for everything that makes compilation for tests shorter, see the Makefile: `make test-all` runs what users run
if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS"):
    share_contexts()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as nightly the cases of tests that are not among those that run often."""
    cases: dict[tuple[str, tuple[str, ...]], dict[str, pytest.Item]] = defaultdict(dict)
    for item in items:
        marker = item.get_closest_marker("often")
        if marker is not None:
            name, _, case = item.nodeid.removesuffix("]").partition("[")
            cases[name, marker.args][case] = item
    for (name, often), found in cases.items():
        # fewer cases are collected where some were asked for by their ids
        if len(found) > len(often) and not found.keys() >= set(often):
            raise pytest.UsageError(f"{name} has no case {sorted(set(often) - found.keys())}, but {list(found)}")
        for case, item in found.items():
            if case not in often:
                item.add_marker("nightly")


def pytest_collection_finish() -> None:
    """Leave what was collected out of garbage collections, and collect less often: they take a part in twenty."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 8 x 8 images that differ in where they are bright, as IDX files."""
    folder = tmp_path_factory.mktemp("data") / "mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 600), ("t10k", 200)):
        labels = np.arange(n) % 3
        images = rng.integers(0, 120, (n, 8, 8))
        images[np.arange(n), 2 * labels] += 100
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))
    return folder.parent


@pytest.fixture(params=[True, False], ids=["float64", "float32"])
def double(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether JAX computes in float64, once with each setting."""
    with precision(request.param):
        yield request.param


_kept_bytes = {"after the last drop": 300_000_000}


@pytest.fixture(autouse=True)
def _compiled_programs_are_dropped() -> Iterator[None]:
    """Drop what tests compiled once the process holds much: kept to the end, it grows by several GB."""
    yield
    if _resident_bytes() > _kept_bytes["after the last drop"] + GROWTH:
        jax.clear_caches()
        gc.collect()
        _return_freed_memory()
        _kept_bytes["after the last drop"] = _resident_bytes()


def _resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _return_freed_memory() -> None:
    """Give the system back what compilers have freed, which glibc keeps otherwise."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
