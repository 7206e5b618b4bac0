"""What cannot fit into memory is refused before any of it is made."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk._utils import memory
from hntk.kernels import kernel_plan


def test_what_cannot_fit_is_refused_before_it_is_drawn() -> None:
    x = np.ones((4, 3))
    key = jax.random.key(0)
    calls = (
        lambda: hntk.draw_network(["relu"], [10**12], 3, tau0=1.0, key=key),
        lambda: hntk.draw_network(["relu"], [3], 10**12, tau0=1.0, key=key),
        lambda: hntk.dense(["relu"] * 2, [10**6, 10**6], x, key=key, law="ternary"),
        lambda: hntk.compress(["relu"], [10**12], x, levels=3, key=key),
        lambda: hntk.weight_law("gaussian").draw(key, (10**6, 10**6)),
        lambda: hntk.reference_mixture(n=10**12, p=3, key=key),
        lambda: hntk.reference_mixture(n=10, p=10**12, key=key),
        lambda: hntk.spectral_density(np.eye(70), probes=10**12),
        lambda: hntk.StructuredKernel(
            np.broadcast_to(1.0, (10**6, 2)), 1.0, np.broadcast_to(1.0, (10**6, 1)), np.eye(1), 1.0
        ).to_dense(),
    )
    for call in calls:
        with pytest.raises(MemoryError, match=r"would take [\d,.]+ GB and [\d,.]+ GB of memory are free"):
            call()


def test_freed_memory_counts_as_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process keeps of freed arrays is given back before anything is refused, or planned for lack of room."""
    free = [10**9]
    monkeypatch.setattr(memory, "available_memory", lambda: free[0])
    monkeypatch.setattr(memory, "give_back_memory", lambda: free.__setitem__(0, 3 * 10**9))
    memory.check_room(9e8, "it", "no")
    assert free == [10**9]  # not asked for while there is room
    memory.check_room(2e9, "it", "no")
    assert free == [3 * 10**9]
    free[0] = 10**9
    assert kernel_plan.plan_kernel(20_000).place == "memory"
    assert free == [3 * 10**9]
    with pytest.raises(MemoryError, match=r"4\.0 GB and 3\.0 GB"):
        memory.check_room(4e9, "it", "no")
