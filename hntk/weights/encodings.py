r"""Encodings of weight matrices as bytes, in which a network is stored.

| encoding | what is stored | bits a weight, at a share ε of zeros |
|---|---|---|
| float32, int8, signs | every value; a sign takes one bit | 32, 8, 1 |
| bits2 | two bits a weight: 0 as 0, +1 as 1, −1 as 3, the lowest bits of a byte first | 2 |
| base3 | five trits a byte, $\sum_i (w_i + 1) 3^i$ | 1.6 |
| mask+… | one bit a weight, 0 where the weight is 0, and the values of the other weights | $1 + (1-\varepsilon)v$ |
| gaps+… | a byte for the zeros before each weight that is not 0, and these weights | $\approx (1-\varepsilon)(8 + v)$ |
| hadamard | signs and permutations of orthogonal blocks (:mod:`hntk.weights.orthogonal_bytes`) | about 1.5/m to 12/m |

The values of mask+… and gaps+… are signs (v = 1) or float32 (v = 32). A gap of 255 or more zeros takes several bytes:
255 means 255 zeros and that the next byte goes on. For a ternary matrix, mask+signs reaches the entropy at ε = ½, and
signs alone reaches it at ε = 0.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hntk._utils.pytree import array_dataclass
from hntk.weights.laws import Kind, WeightMatrix, Weights
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.orthogonal_bytes import check_orthogonal_bytes, orthogonal_from_bytes, orthogonal_to_bytes

ESCAPE = 255
HADAMARD = "hadamard"
POWERS = 3 ** np.arange(5, dtype=np.uint8)
ENCODINGS: dict[Kind, tuple[str, ...]] = {
    "float32": ("float32", "mask+float32", "gaps+float32"),
    "int8": ("int8",),
    "ternary": ("bits2", "base3", "mask+signs", "gaps+signs", "signs", "hadamard"),
    "sign": ("signs",),
}
VALUE_BITS = {"float32": 32.0, "int8": 8.0, "bits2": 2.0, "base3": 1.6, "signs": 1.0}
RANGES = {"int8": "whole numbers from -127 to 127", "ternary": "0, +1 or -1", "sign": "+1 or -1"}
BYTES = np.arange(256, dtype=np.uint8)
# the four or five values that each byte stands for
FROM_TWO_BITS = np.array([0, 1, 0, -1], np.int8)[(BYTES[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3]
FROM_TRITS = ((BYTES[:, None] // POWERS) % 3).astype(np.int8) - np.int8(1)
# number of bits that are 1 in each byte
BIT_COUNTS = np.unpackbits(BYTES[:, None], axis=1).sum(axis=1, dtype=np.uint8)


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
        count = self.shape[0] * self.shape[1]
        position_code, value_code = _parts(self.encoding)
        values = _decode(value_code, self.values, _stored_values(self))
        if self.positions is not None:
            flat = np.zeros(count, values.dtype)
            flat[_places(position_code, self.positions, count)] = values
            values = flat
        return WeightMatrix(jnp.asarray(values.reshape(self.shape)), self.scale, self.kind)


def expected_bits(encoding: str, zeros: float) -> float:
    """Return the expected bits a weight if a share ``zeros`` of the weights, at random places, is 0.

    The result is inf if the encoding cannot store zeros and there are some, or only stores orthogonal blocks.
    """
    if encoding == HADAMARD:
        return inf
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
    ('gaps+signs', 2500)
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
    encoding = smallest_encoding(matrix.kind, zeros) if encoding is None else encoding
    possible = [e for e in ENCODINGS[matrix.kind] if expected_bits(e, zeros) < inf]
    if encoding not in possible:
        raise ValueError(
            f"a {matrix.kind} matrix with a share {zeros:.3g} of zeros cannot be stored as {encoding!r}: use one of "
            f"{', '.join(possible)}."
        )
    position_code, value_code = _parts(encoding)
    positions = None
    if position_code:
        places = np.flatnonzero(flat)
        positions = np.packbits(flat != 0, bitorder="little") if position_code == "mask" else _gaps(places, flat.size)
        flat = flat[places]
    outputs, inputs = matrix.shape
    values = _encode(value_code, flat)
    return PackedMatrix(encoding, matrix.kind, (outputs, inputs), float(matrix.scale), values, positions)


def check_bytes(packed: PackedMatrix) -> None:
    """Check that there are as many bytes as the shape takes, before an array of that shape is allocated.

    A byte stands for at most 255 weights, so that a small file cannot claim a huge matrix; or for 8 signs of orthogonal
    blocks, which stay as small in memory.

    Raises
    ------
    ValueError
        If there are more or fewer bytes.
    """
    if packed.encoding == HADAMARD:
        check_orthogonal_bytes(packed.values, packed.shape)
        return
    count, (position_code, value_code) = packed.shape[0] * packed.shape[1], _parts(packed.encoding)
    if packed.positions is not None:
        _check_positions(position_code, packed.positions, count)
    stored = _stored_values(packed)
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


def _check_positions(position_code: str, positions: np.ndarray, count: int) -> None:
    if position_code == "mask":
        if positions.size != -(-count // 8):
            raise ValueError(f"a mask of {count} weights takes {-(-count // 8)} bytes, not {positions.size}.")
        return
    end = int(positions.sum(dtype=np.int64)) + int(np.count_nonzero(positions != ESCAPE))
    if not end <= count < end + ESCAPE:
        raise ValueError(f"gaps end at {end:,}, and do not fill a matrix of {count:,}: the file is damaged.")


def _stored_values(packed: PackedMatrix) -> int:
    """Return the number of stored values: all weights, or those that have a position."""
    count, positions = packed.shape[0] * packed.shape[1], packed.positions
    if positions is None:
        return count
    if packed.encoding.startswith("gaps"):
        return int(np.count_nonzero(positions != ESCAPE))
    # bits beyond the last weight do not count
    beyond = int(BIT_COUNTS[positions[-1] >> (count % 8)]) if count % 8 and positions.size else 0
    return int(BIT_COUNTS[positions].sum(dtype=np.int64)) - beyond


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


def _encode(value_code: str, values: np.ndarray) -> np.ndarray:
    if value_code == "float32":
        return np.ascontiguousarray(values, dtype="<f4").view(np.uint8)
    if value_code == "int8":
        return values.astype(np.int8).view(np.uint8)
    if value_code == "signs":
        return np.packbits(values < 0, bitorder="little")
    if value_code == "bits2":
        codes = _padded((values & 3).astype(np.uint8), 4).reshape(-1, 4)
        return np.bitwise_or.reduce(codes << np.array([0, 2, 4, 6], np.uint8), axis=1)
    trits = _padded((values + 1).astype(np.uint8), 5).reshape(-1, 5)
    return (trits * POWERS).sum(axis=1, dtype=np.uint8)


def _decode(value_code: str, stored: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` values from their bytes."""
    if value_code == "float32":
        values = stored.view("<f4").astype(np.float32, copy=False)
        if not np.all(np.isfinite(values)):
            raise ValueError("weights are not all finite: the file is damaged.")
        return values
    if value_code == "int8":
        if np.any(stored == 128):
            raise ValueError("a weight stored in 8 bits is -128, beyond -127 to 127: the file is damaged.")
        return stored.view(np.int8)
    if value_code == "signs":
        return 1 - 2 * np.unpackbits(stored, count=count, bitorder="little").view(np.int8)
    if value_code == "bits2":
        if np.any((stored >> 1) & ~stored & 0b01_01_01_01):
            raise ValueError("a weight stored in two bits is neither 0, +1 nor −1: the file is damaged.")
        return np.take(FROM_TWO_BITS, stored, axis=0).ravel()[:count]
    if stored.size and stored.max() >= 3**5:
        raise ValueError("a byte of five trits is 243 or more: the file is damaged.")
    return np.take(FROM_TRITS, stored, axis=0).ravel()[:count]


def _padded(values: np.ndarray, group: int) -> np.ndarray:
    return np.pad(values, (0, -values.size % group))


def _gaps(places: np.ndarray, count: int) -> np.ndarray:
    """Return the number of zeros before each place as bytes, 255 standing for 255 zeros without a weight behind."""
    gaps = np.diff(places, prepend=-1) - 1
    escapes, rest = np.divmod(gaps, ESCAPE)
    out = np.full(places.size + int(escapes.sum()), ESCAPE, np.uint8)
    out[np.cumsum(escapes + 1) - 1] = rest
    after = count - (int(places[-1]) + 1 if places.size else 0)
    return np.concatenate([out, np.full(after // ESCAPE, ESCAPE, np.uint8)])


def _places(position_code: str, positions: np.ndarray, count: int) -> np.ndarray:
    """Return an index of the stored weights: a mask, or their places."""
    if position_code == "mask":
        return np.unpackbits(positions, count=count, bitorder="little").view(bool)
    ends = np.cumsum(positions.astype(np.int64) + (positions != ESCAPE))
    return ends[positions != ESCAPE] - 1
