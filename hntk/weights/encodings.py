r"""Encodings of weight matrices as bytes, in which a network is stored.

| encoding | what is stored | bits a weight, at a share ε of zeros |
|---|---|---|
| float32, int8, signs | every value; a sign takes one bit | 32, 8, 1 |
| bits2 | two bits a weight: 0 as 0, +1 as 1, −1 as 3, the lowest bits of a byte first | 2 |
| base3 | five trits a byte, $\sum_i (w_i + 1) 3^i$ | 1.6 |
| mask+… | one bit a weight, 0 where the weight is 0, and the values of the other weights | $1 + (1-\varepsilon)v$ |
| gaps+… | a byte for the zeros before each weight that is not 0, and these weights | $\approx (1-\varepsilon)(8 + v)$ |
| rice | Golomb–Rice codes of these zeros and signs (:mod:`hntk.weights.rice_codes`) | 1 to 1.022 times the entropy |
| hadamard | signs and permutations of orthogonal blocks (:mod:`hntk.weights.orthogonal_bytes`) | about 1.5/m to 12/m |

The values of mask+… and gaps+… are signs (v = 1) or float32 (v = 32). A gap of 255 or more zeros takes several bytes:
255 means 255 zeros and that the next byte goes on. For a ternary matrix, mask+signs reaches the entropy at ε = ½, and
signs alone reaches it at ε = 0; for rice the table is about ε from .5 to .97.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hntk._utils.pytree import array_dataclass
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.orthogonal_bytes import check_orthogonal_bytes, orthogonal_from_bytes, orthogonal_to_bytes
from hntk.weights.position_codes import ESCAPE, check_positions, decode_positions, encode_positions, stored_values
from hntk.weights.rice_codes import check_rice, decode_rice, encode_rice, expected_rice_bits
from hntk.weights.value_codes import VALUE_BITS, decode_values, encode_values
from hntk.weights.weight_matrix import Kind, WeightMatrix, Weights

HADAMARD, RICE = "hadamard", "rice"
ENCODINGS: dict[Kind, tuple[str, ...]] = {
    "float32": ("float32", "mask+float32", "gaps+float32"),
    "int8": ("int8",),
    "ternary": ("bits2", "base3", "mask+signs", "gaps+signs", "rice", "signs", "hadamard"),
    "sign": ("signs",),
}
# Of encodings whose expected size is so many times the smallest expected one at most, the smallest is found by trying.
NEARLY_SMALLEST = 1.1
RANGES = {"int8": "whole numbers from -127 to 127", "ternary": "0, +1 or -1", "sign": "+1 or -1"}


@array_dataclass(static=("encoding", "kind", "shape", "scale"))
class PackedMatrix:
    """A weight matrix as bytes.

    Attributes
    ----------
    encoding : str
        One of the encodings above.
    kind : str
        Kind of the values, see :class:`hntk.WeightMatrix`.
    shape : (int, int)
        Outputs and inputs.
    scale : float
        The factor that makes the variance 1.
    values : (bytes,) array of uint8
        The values, row after row.
    positions : array of uint8 or None
        Mask or gaps of the weights that have a value; None if every weight has one.
    """

    encoding: str
    kind: Kind
    shape: tuple[int, int]
    scale: float
    values: UInt8[np.ndarray, " bytes"]
    positions: UInt8[np.ndarray, " more"] | None = None

    def __repr__(self) -> str:
        return f"PackedMatrix({self.encoding}, {self.kind}, shape {self.shape}, {self.nbytes:,} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes of the values and the positions."""
        return self.values.nbytes + (0 if self.positions is None else self.positions.nbytes)

    @property
    def _count(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]

    @property
    def _stored(self) -> int:
        """Number of weights whose value is stored: all, or those that have a position."""
        if self.positions is None:
            return self._count
        return stored_values(_parts(self.encoding)[0], self.positions, self._count)

    def unpack(self) -> Weights:
        """Return the matrix that was packed.

        Returns
        -------
        WeightMatrix or OrthogonalMatrix
            The matrix.

        Raises
        ------
        ValueError
            If the bytes do not make a matrix of this shape and kind.
        """
        check_bytes(self)
        if self.encoding == HADAMARD:
            return replace(orthogonal_from_bytes(self.values, self.shape), scale=self.scale)
        count, (position_code, value_code) = self._count, _parts(self.encoding)
        if self.encoding == RICE:
            values = decode_rice(self.values, count)
            return WeightMatrix(jnp.asarray(values.reshape(self.shape), values.dtype), self.scale, self.kind)
        values = decode_values(value_code, self.values, self._stored)
        if self.positions is not None:
            flat = np.zeros(count, values.dtype)
            flat[decode_positions(position_code, self.positions, count)] = values
            values = flat
        # with a type, nothing is compiled
        return WeightMatrix(jnp.asarray(values.reshape(self.shape), values.dtype), self.scale, self.kind)


def expected_bits(encoding: str, zeros: float) -> float:
    """Return the expected bits a weight if a share ``zeros`` of the weights, at random places, is 0.

    The result is inf if the encoding cannot store zeros and there are some, or only stores orthogonal blocks.
    """
    if encoding == HADAMARD:
        return inf
    if encoding == RICE:
        return expected_rice_bits(zeros)
    position_code, value_code = _parts(encoding)
    kept, bits = 1.0 - zeros, VALUE_BITS[value_code]
    if position_code == "":
        return inf if encoding == "signs" and zeros > 0 else bits
    if position_code == "mask":
        return 1.0 + kept * bits
    longer_runs = zeros**ESCAPE
    return kept * (8.0 / (1.0 - longer_runs) + bits) if kept > 0 else 0.0


def smallest_encoding(kind: Kind, zeros: float) -> str:
    """Return the encoding with the fewest expected bits a weight."""
    return min(ENCODINGS[kind], key=lambda encoding: expected_bits(encoding, zeros))


def pack(matrix: Weights, encoding: str | None = None) -> PackedMatrix:
    """Encode a matrix as bytes.

    Parameters
    ----------
    matrix : WeightMatrix or OrthogonalMatrix
        The matrix. One of orthogonal blocks can also be stored as its explicit values.
    encoding : str, optional
        The encoding; by default the smallest one.

    Returns
    -------
    PackedMatrix
        The bytes.

    Raises
    ------
    ValueError
        If the encoding cannot store the matrix.

    Examples
    --------
    >>> import jax, hntk
    >>> from hntk.weights.encodings import pack
    >>> matrix = hntk.weight_law("ternary", sparsity=0.9).draw(jax.random.key(0), (100, 100))
    >>> pack(matrix).encoding, pack(matrix, "bits2").nbytes
    ('rice', 2500)
    >>> bool((pack(matrix).unpack().values == matrix.values).all())
    True
    """
    if isinstance(matrix, OrthogonalMatrix):
        if encoding in (None, HADAMARD):
            stored = orthogonal_to_bytes(matrix)
            return PackedMatrix(HADAMARD, matrix.kind, matrix.shape, float(matrix.scale), stored)
        matrix = WeightMatrix(matrix.values, matrix.scale, matrix.kind)
    flat = _whole_or_finite(matrix)
    zeros = 1.0 - np.count_nonzero(flat) / flat.size
    possible = {e: bits for e in ENCODINGS[matrix.kind] if (bits := expected_bits(e, zeros)) < inf}
    if encoding is None:
        least = min(possible.values())
        packed = [_pack_as(e, matrix, flat) for e, bits in possible.items() if bits <= NEARLY_SMALLEST * least]
        return min(packed, key=lambda p: p.nbytes)
    if encoding not in possible:
        raise ValueError(
            f"a {matrix.kind} matrix with a share {zeros:.3g} of zeros cannot be stored as {encoding!r}: use one of "
            f"{', '.join(possible)}."
        )
    return _pack_as(encoding, matrix, flat)


def _pack_as(encoding: str, matrix: WeightMatrix, flat: np.ndarray) -> PackedMatrix:
    """Encode the values of a matrix, as a vector, in an encoding that can store them."""
    position_code, value_code = _parts(encoding)
    positions = None
    if position_code:
        used = flat != 0
        positions = encode_positions(position_code, used)
        flat = flat[used]
    outputs, inputs = matrix.shape
    values = encode_rice(flat) if encoding == RICE else encode_values(value_code, flat)
    return PackedMatrix(encoding, matrix.kind, (outputs, inputs), float(matrix.scale), values, positions)


def check_bytes(packed: PackedMatrix) -> None:
    """Check that there are as many bytes as the shape takes, before an array of that shape is allocated.

    A byte stands for at most 256 weights, so that a small file cannot claim a huge matrix; or for 8 signs of orthogonal
    blocks, which stay as small in memory.

    Raises
    ------
    ValueError
        If there are more or fewer bytes.
    """
    if packed.encoding == HADAMARD:
        check_orthogonal_bytes(packed.values, packed.shape)
        return
    if packed.encoding == RICE:
        check_rice(packed.values, packed._count)
        return
    position_code, value_code = _parts(packed.encoding)
    if packed.positions is not None:
        check_positions(position_code, packed.positions, packed._count)
    stored = packed._stored
    # tenths of a bit are whole numbers
    needed = -(-stored * round(10 * VALUE_BITS[value_code]) // 80)
    if packed.values.size != needed:
        raise ValueError(
            f"{stored} values stored as {value_code} take {needed} bytes, not {packed.values.size}: the file is "
            "damaged."
        )


def _parts(encoding: str) -> tuple[str, str]:
    """Return how positions and how values are stored; positions are "" if every value is stored."""
    position_code, _, value_code = encoding.rpartition("+")
    return position_code, value_code


def _whole_or_finite(matrix: WeightMatrix) -> np.ndarray:
    """Return the values as a vector, in the type that their kind is stored in.

    Raises
    ------
    ValueError
        If they are no matrix, or values that the kind does not have.
    """
    values, kind = np.asarray(matrix.values), matrix.kind
    if kind not in ENCODINGS:
        raise ValueError(f"{kind!r} is no kind of weights: use one of {', '.join(ENCODINGS)}.")
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"values must be a matrix of (outputs, inputs), none empty; got shape {values.shape}.")
    flat = values.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        stored = flat.astype(np.float32 if kind == "float32" else np.int8, copy=False)
    if kind == "float32":
        if not (np.isfinite(stored.min()) and np.isfinite(stored.max())):
            raise ValueError("values are not all finite in float32: rescale them, or clean what made them.")
        return stored
    most = 127 if kind == "int8" else 1
    exact = stored is flat or stored.dtype == flat.dtype or bool(np.all(stored == flat))
    if not exact or stored.max() > most or stored.min() < -most or (kind == "sign" and not stored.all()):
        raise ValueError(f"{kind} values must be {RANGES[kind]}: round them, or use the kind float32.")
    return stored
