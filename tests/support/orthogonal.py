"""Orthogonal ternary matrices of random parts, and their explicit values from products of the documented factors."""

from __future__ import annotations

import numpy as np
from scipy.linalg import hadamard

from hntk.weights.orthogonal import GeneratedOrder, OrthogonalMatrix


def random_blocks(seed: int, shape: tuple[int, int], groups: int, order: str = "none") -> OrthogonalMatrix:
    """Return a matrix of parts that NumPy draws, so that nothing is compiled."""
    rng, (outputs, inputs) = np.random.default_rng(seed), shape
    size = groups
    while size < inputs:
        size *= 2
    blocks = -(-outputs // size)
    places, generator = None, None
    if order == "random":
        places = rng.permutation(size)[:inputs].astype(np.int32)
    if order == "generated":
        odd = 2 * rng.integers(0, max(1, size // 2), 2) + 1
        generator = GeneratedOrder((int(odd[0]), int(odd[1])), (int(rng.integers(size)), int(rng.integers(size))))
        places = np.array([place_by_hand(generator, t, size) for t in range(inputs)], np.int32)
    return OrthogonalMatrix(
        rng.choice(np.array([-1, 1], np.int8), (blocks, inputs)),  # type: ignore[arg-type]
        rng.integers(0, groups, (blocks, size // groups)).astype(np.uint8),  # type: ignore[arg-type]
        places,  # type: ignore[arg-type]
        shape,
        groups,
        groups**0.5,
        generator,
    )


def place_by_hand(generator: GeneratedOrder, t: int, size: int) -> int:
    """Return the place of input t by two rounds of a multiplication, an addition and a shift."""
    bits = len(f"{size - 1:b}") if size > 1 else 0
    for a, b in zip(generator.factors, generator.offsets, strict=True):
        u = (a * t + b) % size
        t = u ^ (u >> max(1, (bits + 1) // 2))
    return t


def explicit_values(matrix: OrthogonalMatrix) -> np.ndarray:
    """Return the values in int64: the first rows of (I ⊗ H) S Π D of each block."""
    outputs, inputs = matrix.shape
    groups, signs, swaps = matrix.groups, np.asarray(matrix.signs), np.asarray(matrix.swaps)
    length = swaps.shape[1]
    size = groups * length
    put = np.zeros((size, inputs), np.int64)
    put[np.arange(inputs) if matrix.places is None else np.asarray(matrix.places), np.arange(inputs)] = 1
    rows = []
    for block in range(len(signs)):
        swap = np.zeros((size, size), np.int64)
        for a in range(groups):
            for j in range(length):
                swap[a * length + j, (a ^ int(swaps[block, j])) * length + j] = 1
        whole = np.kron(np.eye(groups, dtype=np.int64), hadamard(length)) @ swap @ put @ np.diag(signs[block])
        wanted = min(size, outputs - block * size)
        counts = [len(range(a, wanted, groups)) for a in range(groups)]
        rows += [whole[a * length : a * length + count] for a, count in enumerate(counts)]
    return np.concatenate(rows)
