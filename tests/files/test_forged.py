"""Thousands of forged files: each gives a FileError or a usable network, at little cost."""

from __future__ import annotations

import os
import time
import tracemalloc
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.networks.integer_inputs import Pixels, PooledPixels
from hntk.networks.saving import encodings, load_packed
from tests.support.forgeries import forge, originals

# The environment variables HNTK_FORGED_FIRST and HNTK_FORGED_FILES choose other files.
SAMPLE, WHOLE = 25, 20_000
MEMORY, SECONDS = 100e6, 2.0
UNIFORM = np.random.default_rng(0).random((3, 1000))


@dataclass
class Tally:
    """How many files were loaded and refused, and the largest cost of one."""

    count: Counter[str] = field(default_factory=Counter)
    memory: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        counted = ", ".join(f"{number:,} {what}" for what, number in self.count.items())
        return f"{counted}; at most {self.memory / 1e6:.1f} MB and {self.seconds:.2f} s a file"


def predictions(made: Any) -> np.ndarray:
    network = getattr(made, "network", made)
    pixels = isinstance(getattr(network, "inputs", None), Pixels | PooledPixels)
    # The file says how many coordinates a sample has. Samples are bytes, or have norms of about 1.
    whole = isinstance(network, hntk.IntegerNetwork)
    u = np.resize(UNIFORM, (3, network.raw_size if whole else network.weights[0].shape[1]))
    x = np.floor(256 * u) if pixels else (u - 0.5) * (12 / u.shape[1]) ** 0.5
    with warnings.catch_warnings():
        # The file may claim that its readout was fitted on samples of any scale.
        warnings.filterwarnings("ignore", "samples have the root mean square norm")
        read = "predict" if isinstance(made, hntk.IntegerRegressor) else "scores"
        found = getattr(made, read)(x) if hasattr(made, read) else next(network.feature_batches(x))
    return np.asarray(found)


def tried(path: Path, tally: Tally) -> None:
    """Load a file; predict with its network, summarize it, save it and load it again."""
    tracemalloc.start()
    start = time.process_time()
    try:
        made, packed = load_packed(path)
    except hntk.FileError:
        made = None
    seconds, memory = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tally.seconds, tally.memory = max(seconds, tally.seconds), max(memory, tally.memory)
    assert memory < MEMORY, f"{memory / 1e6:.0f} MB"
    assert seconds < SECONDS, f"{seconds:.1f} s"
    tally.count["loaded" if made is not None else "refused"] += 1
    if made is None:
        try:
            encodings(path)
        except hntk.FileError:
            return
        return
    expected = predictions(made)
    assert np.all(np.isfinite(expected)), expected
    assert str(hntk.summarize(made, packed))
    hntk.save(made, path)
    again = hntk.load(path)
    np.testing.assert_array_equal(predictions(again), expected)
    assert str(again.summary())


def run(path: Path, first: int, files: int) -> Tally:
    tally = Tally()
    first = int(os.environ.get("HNTK_FORGED_FIRST", first))
    # With compilation, every new staircase would be compiled.
    with jax.disable_jit():
        for number in range(first, first + int(os.environ.get("HNTK_FORGED_FILES", files))):
            done = forge(number, path)
            try:
                tried(path, tally)
            except Exception as error:
                raise AssertionError(
                    f"file {number} ({'; '.join(done)}): {type(error).__name__} {error}\nOnce more: HNTK_FORGED_FIRST="
                    f"{number} HNTK_FORGED_FILES=1 python -m pytest {__file__} -k sample"
                ) from error
    print(f"\n{tally}")
    return tally


@pytest.mark.nightly
@pytest.mark.slow
def test_originals_are_well(tmp_path: Path) -> None:
    from hntk.files import container

    for arrays, metadata in originals():
        container.write(tmp_path / "net", arrays, metadata)
        with jax.disable_jit():
            tally = Tally()
            tried(tmp_path / "net", tally)
        assert tally.count == {"loaded": 1}


@pytest.mark.slow
def test_a_sample_of_forged_files(tmp_path: Path) -> None:
    tally = run(tmp_path / "net", 0, SAMPLE)
    # Forgeries that are always refused, or never, would test little.
    if sum(tally.count.values()) == SAMPLE:
        assert SAMPLE / 10 < tally.count["loaded"] < SAMPLE / 2


@pytest.mark.nightly
def test_all_forged_files(tmp_path: Path) -> None:
    tally = run(tmp_path / "net", SAMPLE, WHOLE - SAMPLE)
    assert tally.count["refused"] > tally.count["loaded"] > 0 or "HNTK_FORGED_FILES" in os.environ
