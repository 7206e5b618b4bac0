"""Exact kernels on several devices: four made of one processor, in a process of their own."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from tests.support.shared_kernels import SUPPORT, run_together

# (network, samples, devices): a part that no tile divides, fewer samples than a tile has, and jumps of any architecture
CASES = [("relu", 5, 4), ("full", 61, 3)]
MORE_CASES = [("relu", 61, 3), ("full", 61, 4), ("relu", 64, 4), ("relu", 61, 1), ("stairs", 61, 4)]
FOUR = (
    SUPPORT
    + """
import jax, numpy as np, hntk
jax.config.update("jax_enable_x64", True)
assert len(jax.devices()) == 4
for name, n, count in {cases}:
    compare(name, n, count, np.asarray)
x = mixed_samples()
shared = hntk.sharded_kernels(x, ["relu"], kappa_sq=7.0, tile=7).ntk
assert shared.sharding.spec[0] == "rows", shared.sharding
assert [s.data.shape for s in shared.addressable_shards] == [(16, 64)] * 4
assert np.all(np.diag(shared) == 7.0)
import hntk._utils.memory as memory
memory.SMALL, memory.available_memory = 0, lambda: 2**20
for n in (400, 401):
    try:
        hntk.sharded_kernels(np.ones((n, 3)), ["relu"])
    except MemoryError as error:
        print(error)
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("cases", [CASES, pytest.param(MORE_CASES, marks=pytest.mark.nightly)], ids=["a few", "more"])
def test_four_devices_give_what_one_gives(cases: list[tuple[str, int, int]]) -> None:
    (told,) = run_together([["-c", FOUR.replace("{cases}", repr(cases))]], devices=4)
    even, uneven = told.splitlines()
    # of each device: 100 rows, two blocks on their way, and what is known of the samples
    assert "two kernels of shape (400, 400) would take 4.4 MB and 1.0 MB of memory are free. hntk.store" in even
    assert "(401, 401) would take 20.0 MB" in uneven
    assert "A number of devices that divides the number of samples leaves the rows where they are" in uneven


def test_more_devices_than_samples_are_refused() -> None:
    x = np.asarray(hntk.reference_mixture(n=6, p=5, key=jax.random.key(0)).x)
    with pytest.raises(ValueError, match="6 samples cannot be shared out over 7 devices"):
        hntk.sharded_kernels(x, ["relu"], jax.devices()[:1] * 7)
