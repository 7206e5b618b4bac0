"""The form of every layer's weights in ONNX, and its product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Literal

import numpy as np

from hntk.deploy.onnx_graph import Graph, WeightType
from hntk.deploy.onnx_transform import add_transform, layout_of
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

BlockForm = Literal["smaller", "transform", "explicit"]
BLOCK_FORMS = ("smaller", "transform", "explicit")
# bytes of weights: protobuf holds 2 GiB, of which the rest of the model needs a part
MOST_WEIGHT_BYTES = 2**31 - 2**24
# Bytes of the nodes that unpack the bits of all transforms, once a model.
UNPACKING_BYTES = 270


@dataclass(frozen=True)
class WeightForms:
    """How the weights of every layer are written.

    Attributes
    ----------
    matrices : tuple of WeightMatrix or OrthogonalMatrix
        The weights.
    kind : {"int2", "int8"}
        The type of explicit whole weights.
    transforms : tuple of bool
        Whether a layer becomes a transform.
    nbytes : tuple of int
        Bytes of each layer's weights.
    """

    matrices: tuple[Weights, ...]
    kind: WeightType
    transforms: tuple[bool, ...]
    nbytes: tuple[int, ...]

    @classmethod
    def of(cls, matrices: Sequence[Weights], kind: WeightType, blocks: BlockForm) -> WeightForms:
        """Choose the forms of orthogonal blocks."""
        explicit = [
            -(-prod(w.shape) * (32 if w.kind == "float32" else int(kind.removeprefix("int"))) // 8) for w in matrices
        ]
        possible = [isinstance(w, OrthogonalMatrix) and blocks != "explicit" for w in matrices]
        sizes = [_transform_bytes(w) if may else inf for w, may in zip(matrices, possible, strict=True)]
        saved = [size - other for size, other in zip(explicit, sizes, strict=True)]
        chosen = [s > 0 for s in saved] if blocks == "smaller" else possible
        if blocks == "smaller" and sum(s for s in saved if s > 0) <= UNPACKING_BYTES:
            chosen = [False] * len(matrices)
        nbytes = [int(other) if c else size for size, other, c in zip(explicit, sizes, chosen, strict=True)]
        return cls(tuple(matrices), kind, tuple(chosen), tuple(nbytes))

    @property
    def typed(self) -> bool:
        """Whether there are explicit weights of the type."""
        return any(w.kind != "float32" and not t for w, t in zip(self.matrices, self.transforms, strict=True))

    @property
    def layouts(self) -> dict[int, list[int | bool]]:
        """What a reader has to know of every transform, by the number of its layer."""
        numbered = zip(self.matrices, self.transforms, strict=True)
        return {k: layout_of(w) for k, (w, t) in enumerate(numbered, 1) if t and isinstance(w, OrthogonalMatrix)}

    def check_size(self) -> None:
        """Check that the weights fit into one ONNX file."""
        if sum(self.nbytes) > MOST_WEIGHT_BYTES:
            raise ValueError(
                f"the weights take {sum(self.nbytes):,} bytes, and an ONNX file holds 2 GB: use weights='int2' and "
                "blocks='smaller', or write C or hntk.save's own files."
            )

    def add(self, graph: Graph, h: str, number: int, *, alpha: float = 1.0, bias: np.ndarray | None = None) -> str:
        """Add alpha · (h Wᵀ) + bias for the weights of layer ``number``, from 1 on."""
        w = self.matrices[number - 1]
        if not self.transforms[number - 1]:
            return graph.product(h, number, w, self.kind, alpha=alpha, bias=bias)
        assert isinstance(w, OrthogonalMatrix)
        sums = add_transform(graph, h, w)
        sums = sums if alpha == 1.0 else graph.node("Mul", [sums, graph.number(alpha)])
        if bias is None:
            return sums
        return graph.node("Add", [sums, graph.constant(f"bias{number}", np.asarray(bias, np.float32))])


def _transform_bytes(matrix: Weights) -> int:
    """Return the bytes of a transform."""
    assert isinstance(matrix, OrthogonalMatrix)
    alone = Graph()
    add_transform(alone, "input", matrix)
    return alone.nbytes
