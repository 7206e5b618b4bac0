"""Whether kernels fit, before they are computed."""

from __future__ import annotations

import numpy as np

from hntk._utils.memory import available_memory, check_disk, gigabytes

__all__ = ["available_memory", "check_disk", "check_memory", "gigabytes", "kernel_bytes"]

# of two results in memory, what tiles, threads and the allocator take beyond
SLACK = 1.1


def kernel_bytes(shape: tuple[int, int], dtype: np.dtype) -> int:
    """Of the two results."""
    return 2 * shape[0] * shape[1] * dtype.itemsize


def check_memory(shape: tuple[int, int], dtype: np.dtype, sides: int = 0) -> None:
    """Refuse kernels that do not fit into memory.

    Parameters
    ----------
    shape : (n, m).
    dtype : of the kernels.
    sides : bytes beside them.

    Raises
    ------
    MemoryError
        With what would do instead.
    """
    needed, there = SLACK * kernel_bytes(shape, dtype) + sides, available_memory()
    if there is not None and needed > there:
        raise MemoryError(
            f"two kernels of shape {shape} take {gigabytes(needed)} and {gigabytes(there)} of memory are free. "
            "hntk.store_kernels(folder, x, activations) writes them to disk tile by tile; hntk.equivalent_kernels(...) "
            "are operators that take O(np) memory; fewer samples take quadratically less"
            + (", float32 half." if dtype == np.float64 else ".")
        )
