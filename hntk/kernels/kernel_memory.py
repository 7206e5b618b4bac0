"""Whether two kernels fit into memory, asked before they are computed."""

from __future__ import annotations

import numpy as np

from hntk._utils.memory import check_room

# factor for what tiles, threads and the allocator take beside the kernels
OVERHEAD = 1.1


def kernel_bytes(shape: tuple[int, int], dtype: np.dtype) -> int:
    """Return the bytes that a conjugate kernel and an NTK of one shape take together."""
    return 2 * shape[0] * shape[1] * dtype.itemsize


def check_memory(shape: tuple[int, int], dtype: np.dtype, sides: int = 0) -> None:
    """Refuse kernels that do not fit into memory, ``sides`` further bytes included.

    Raises
    ------
    MemoryError
        If they do not fit. The message names the alternatives.
    """
    needed = OVERHEAD * kernel_bytes(shape, dtype) + sides
    check_room(needed, f"two kernels of shape {shape}", _alternatives(dtype))


def check_part(shape: tuple[int, int], dtype: np.dtype, needed: int, remedy: str = "") -> None:
    """Refuse two kernels a part of which, with what it takes to compute it, does not fit into this process's memory.

    Raises
    ------
    MemoryError
        If it does not fit. The message names the alternatives, after ``remedy``.
    """
    what = f"what this process holds of two kernels of shape {shape}"
    check_room(OVERHEAD * needed, what, remedy + _alternatives(dtype))


def _alternatives(dtype: np.dtype) -> str:
    """Return what else there is, as the beginning of a sentence."""
    return (
        "hntk.store_kernels(folder, x, activations) writes them to disk tile by tile; hntk.equivalent_kernels(...) "
        "are operators that take O(np) memory; fewer samples take quadratically less"
        + (", float32 half." if dtype == np.float64 else ".")
    )
