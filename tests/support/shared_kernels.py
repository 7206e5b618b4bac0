"""Kernels whose rows devices share, compared with those of one device, in processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import hntk

ROOT = Path(__file__).parents[2]
# what a process begins with, to have this module's names
SUPPORT = f"import runpy; globals().update(runpy.run_path({__file__!r}, run_name='support'))"
STAIRS = hntk.staircase([-0.4, 0.2, 1.1], [0.0, 0.4, 1.0, 2.2])
NETWORKS: dict[str, Any] = {
    "relu": ["relu"] * 3,
    "stairs": [STAIRS] * 2,
    "full": hntk.Architecture(["relu", STAIRS], 1.3, 0.3, False, [0, 0.7], "layer"),
}


def mixed_samples() -> np.ndarray:
    """Return samples some of which are a pair that no series is certified for."""
    x = np.array(hntk.reference_mixture(n=64, p=30, key=jax.random.key(0)).x)
    x[3], x[40] = x[17], -x[5]
    return x


def compare(name: str, n: int, count: int, whole: Callable[[jax.Array], Any]) -> hntk.kernels.problem.Kernels:
    """Compare the kernels of devices with those of one; ``whole`` brings their rows together. Return the former."""
    x, layers = mixed_samples()[:n], NETWORKS[name]
    found = hntk.sharded_kernels(x, layers, jax.devices()[:count], tile=7)
    for mine, theirs in zip(map(whole, found), hntk.exact_kernels(x, layers), strict=True):
        assert mine.shape == (n, n)
        both = np.isfinite(theirs)
        assert np.array_equal(np.isfinite(mine), both)
        gap = np.abs(np.where(both, mine, 0) - np.where(both, theirs, 0)).max()
        assert gap < 1e-12 * np.abs(theirs[both]).max(), (name, n, count, gap)
    return found


def run_together(commands: Sequence[Sequence[str]], devices: int, seconds: float = 300, **options: Any) -> list[str]:
    """Run processes of several devices side by side, and return what they print once all have ended well.

    Parameters
    ----------
    commands : sequence of sequence of str
        Python's arguments for each process.
    devices : int
        Devices that each makes of its processor.
    seconds : float
        How long all may take, after which they are ended and that is an error.
    **options : object
        Options of ``subprocess.Popen``.

    Returns
    -------
    list of str
        The standard output of each.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    started = [
        subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment, **options,
        )
        for words in commands
    ]  # fmt: skip
    try:
        told = [process.communicate(timeout=seconds) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    for process, (_, errors) in zip(started, told, strict=True):
        assert process.returncode == 0, "\n\n".join(errors[-3000:] for _, errors in told)
    return [out for out, _ in told]


def free_address() -> str:
    """Return an address of this machine at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"
