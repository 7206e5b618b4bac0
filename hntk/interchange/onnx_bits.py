"""Orthogonal blocks from the bits of an ONNX model's transforms, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from hntk._utils.arguments import brief
from hntk.deploy.onnx_transform import hadamard_sizes, parts_of, taken_columns
from hntk.weights.orthogonal import MOST_GROUPS, OrthogonalMatrix
from hntk.weights.orthogonal_layout import BlockLayout


def read_transforms(
    layouts: object, bits: UInt8[np.ndarray, "bytes 1"], counts: Int[np.ndarray, " parts"]
) -> dict[int, OrthogonalMatrix]:
    """Return the blocks of every layer that is a transform, by its number.

    Parameters
    ----------
    layouts : dict
        By the number of a layer as text: outputs, inputs, groups, and whether its inputs have an order.
    bits : (bytes, 1) array of uint8
        The bits of all transforms.
    counts : (parts,) array
        How many belong together, in the order of writing.

    Returns
    -------
    dict
        The matrices.

    Raises
    ------
    ValueError, TypeError
        If the bits do not make matrices of these layouts.
    """
    flat = np.unpackbits(np.asarray(bits).ravel(), bitorder="little")
    reader, known = _Reader(iter(np.split(flat, np.cumsum(counts)[:-1]))), layouts if isinstance(layouts, dict) else {}
    made = {}
    for number, layout in known.items():
        _check_layout(layout, flat.size)
        made[int(number)] = reader.matrix(*layout)
    return made


def _check_layout(layout: Any, bits: int) -> None:
    """Refuse what is no layout, or one of more signs than there are bits, before arrays of its size are made."""
    whole = isinstance(layout, list) and [type(part) for part in layout] == [int, int, int, bool]
    if not whole or min(layout[:3]) < 1 or layout[2] > MOST_GROUPS or layout[2].bit_count() != 1:
        raise ValueError(f"it has a transform of the layout {brief(layout)}")
    sizes = BlockLayout((layout[0], layout[1]), layout[2])
    if sizes.blocks * sizes.size > bits:
        raise ValueError(f"it has fewer bits than the signs of a transform of the layout {layout}")


class _Reader:
    """Takes parts one after the other."""

    def __init__(self, parts: Iterator[np.ndarray]) -> None:
        self._parts = parts
        self._known: set[int] = set()

    def matrix(self, outputs: int, inputs: int, groups: int, ordered: int) -> OrthogonalMatrix:
        """Return the next matrix."""
        layout = BlockLayout((outputs, inputs), groups)
        places = self._places(inputs, layout.size) if ordered else None
        signs = np.ones((layout.blocks, inputs), np.int8)
        swaps = np.zeros((layout.blocks, layout.length), np.uint8)
        made = OrthogonalMatrix(signs, swaps, places, (outputs, inputs), groups, sqrt(groups))  # type: ignore[arg-type]
        for blocks, rows in parts_of(made):
            count = len(swaps[blocks])
            if groups > 1:
                swaps[blocks] = self._numbers(groups.bit_length() - 1).reshape(count, -1)
            # as in each place of a block; those of places without an input are +1
            columns, negative = taken_columns(made)[blocks].reshape(count, -1), self._numbers(1).reshape(count, -1)
            taken = np.zeros((count, max(layout.size, inputs + 1)), np.int8)
            np.put_along_axis(taken, columns, negative.astype(np.int8), axis=1)
            signs[blocks] = 1 - 2 * taken[:, :inputs]
            for size in hadamard_sizes(rows):
                if size not in self._known:
                    self._known.add(size)
                    self._numbers(1)
        arrays = (jnp.asarray(signs), jnp.asarray(swaps), None if places is None else jnp.asarray(places))
        read = OrthogonalMatrix(*arrays, (outputs, inputs), groups, sqrt(groups))
        read.check()
        return read

    def _numbers(self, width: int) -> Int[np.ndarray, " numbers"]:
        """Return the numbers of the next part, of a width in bits, the lowest first."""
        part = next(self._parts, None)
        if part is None:
            raise ValueError("it has too few bits")
        return part.reshape(-1, width).astype(np.int64) @ (1 << np.arange(width))

    def _places(self, inputs: int, size: int) -> Int[np.ndarray, " inputs"]:
        """Return the place of each input from the input at each place."""
        most = inputs if size > inputs else inputs - 1
        columns = self._numbers(most.bit_length())
        places = np.full(inputs, -1)
        where = np.flatnonzero(columns < inputs)
        places[columns[where]] = where
        return places.astype(np.int32)
