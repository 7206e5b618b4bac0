"""Exact kernels on several devices: four made of one processor, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import hntk

# (layers, samples, devices): a part that no tile divides, fewer samples than a tile has, and jumps of any architecture
CASES = "(relu, 5, 4), (full, 61, 3)"
MORE_CASES = "(relu, 61, 3), (full, 61, 4), (relu, 64, 4), (relu, 61, 1), ([stairs] * 2, 61, 4)"
FOUR = """
import jax, numpy as np, hntk
jax.config.update("jax_enable_x64", True)
assert len(jax.devices()) == 4
stairs = hntk.staircase([-0.4, 0.2, 1.1], [0.0, 0.4, 1.0, 2.2])
x = np.array(hntk.reference_mixture(n=64, p=30, key=jax.random.key(0)).x)
x[3], x[40] = x[17], -x[5]  # pairs that no series is certified for
relu, full = ["relu"] * 3, hntk.Architecture(["relu", stairs], 1.3, 0.3, False, [0, 0.7], "layer")
cases = {cases}
for layers, n, count in cases:
    expected = hntk.exact_kernels(x[:n], layers)
    found = hntk.sharded_kernels(x[:n], layers, jax.devices()[:count], tile=7)
    for mine, theirs in zip(found, expected):
        assert mine.shape == (n, n)
        both = np.isfinite(theirs)
        assert np.array_equal(np.isfinite(mine), both)
        gap = np.abs(np.where(both, mine, 0) - np.where(both, theirs, 0)).max()
        assert gap < 1e-12 * np.abs(theirs[both]).max(), (layers, n, count, gap)
shared = hntk.sharded_kernels(x, ["relu"], kappa_sq=7.0).ntk
assert shared.sharding.spec[0] == "rows", shared.sharding
assert [s.data.shape for s in shared.addressable_shards] == [(16, 64)] * 4
assert np.all(np.diag(shared) == 7.0)
print("all the same")
"""


@pytest.mark.slow
@pytest.mark.parametrize("cases", [CASES, pytest.param(MORE_CASES, marks=pytest.mark.nightly)], ids=["a few", "more"])
def test_four_devices_give_what_one_gives(cases: str) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    code = FOUR.replace("{cases}", cases)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "all the same" in result.stdout


def test_more_devices_than_samples_are_refused() -> None:
    x = np.asarray(hntk.reference_mixture(n=6, p=5, key=jax.random.key(0)).x)
    with pytest.raises(ValueError, match="6 samples cannot be shared out over 7 devices"):
        hntk.sharded_kernels(x, ["relu"], jax.devices()[:1] * 7)
