r"""Weight matrices as bytes: the encodings in which a network is stored and can be used in place.

| encoding | what is stored | bits a weight, ε zeros |
|---|---|---|
| float32, int8, signs | every value; a sign takes one bit | 32, 8, 1 |
| bits2 | two bits each, 0 → 0, +1 → 1, −1 → 3, the lowest bits of a byte first | 2 |
| base3 | five trits a byte, $\sum_i (w_i + 1) 3^i$ | 1.6 |
| mask+… | a bit that says whether the weight is 0, and the others' values | $1 + (1-\varepsilon)v$ |
| gaps+… | a byte for the zeros before each other weight (255: go on), and values | $\approx (1-\varepsilon)(8 + v)$ |

The values of the last two are signs (v = 1) or float32 (v = 32). Of a ternary matrix, mask+signs takes the entropy at
ε = ½, and without zeros signs alone do.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from hntk.weights.laws import Kind, WeightMatrix

ESCAPE = 255
POWERS = 3 ** np.arange(5, dtype=np.uint8)
ENCODINGS: dict[Kind, tuple[str, ...]] = {
    "float32": ("float32", "mask+float32", "gaps+float32"),
    "int8": ("int8",),
    "ternary": ("bits2", "base3", "mask+signs", "gaps+signs", "signs"),
    "sign": ("signs",),
}
VALUE_BITS = {"float32": 32.0, "int8": 8.0, "bits2": 2.0, "base3": 1.6, "signs": 1.0}
RANGES = {"int8": "whole numbers from -127 to 127", "ternary": "0, +1 or -1", "sign": "+1 or -1"}
# the values that every byte stands for
BYTES = np.arange(256, dtype=np.uint8)
OF_TWO_BITS = np.array([0, 1, 0, -1], np.int8)[(BYTES[:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3]
OF_TRITS = ((BYTES[:, None] // POWERS) % 3).astype(np.int8) - np.int8(1)
# bits that are set in every byte
ONES = np.unpackbits(BYTES[:, None], axis=1).sum(axis=1, dtype=np.uint8)


@dataclass(frozen=True)
class PackedMatrix:
    """A weight matrix as bytes.

    Attributes
    ----------
    encoding : one of those above.
    kind : of the values.
    shape : (outputs, inputs).
    scale : the factor that makes the variance 1.
    values : bytes of the values, row after row.
    positions : bytes that say where they are; None where every weight has its value.
    """

    encoding: str
    kind: Kind
    shape: tuple[int, int]
    scale: float
    values: UInt8[np.ndarray, " bytes"]
    positions: UInt8[np.ndarray, " more"] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return self.values.nbytes + (0 if self.positions is None else self.positions.nbytes)

    def unpack(self) -> WeightMatrix:
        """Return the matrix again, every value as it was.

        Raises
        ------
        ValueError
            If the bytes do not make a matrix of this shape and kind.
        """
        check_bytes(self)
        count = self.shape[0] * self.shape[1]
        where, _, what = self.encoding.rpartition("+")
        values = _decode(what, self.values, _stored_values(self))
        if self.positions is not None:
            flat = np.zeros(count, values.dtype)
            flat[_places(where, self.positions, count)] = values
            values = flat
        return WeightMatrix(jnp.asarray(values.reshape(self.shape)), self.scale, self.kind)


def expected_bits(encoding: str, zeros: float) -> float:
    """Bits a weight takes on average where a share ``zeros`` of them, at random places, is 0; inf where it cannot."""
    where, _, what = encoding.rpartition("+")
    kept, bits = 1.0 - zeros, VALUE_BITS[what]
    if where == "":
        return inf if encoding == "signs" and zeros > 0 else bits
    if where == "mask":
        return 1.0 + kept * bits
    run = zeros**ESCAPE
    return kept * (8.0 / (1.0 - run) + bits) if kept > 0 else 0.0


def smallest_encoding(kind: Kind, zeros: float) -> str:
    """The encoding of fewest expected bits."""
    return min(ENCODINGS[kind], key=lambda encoding: expected_bits(encoding, zeros))


def pack(matrix: WeightMatrix, encoding: str | None = None) -> PackedMatrix:
    """A matrix as bytes, in the smallest encoding by default.

    Raises
    ------
    ValueError
        If the encoding does not suit the matrix.

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
    flat = _whole_or_finite(matrix)
    zeros = 1.0 - np.count_nonzero(flat) / flat.size
    encoding = smallest_encoding(matrix.kind, zeros) if encoding is None else encoding
    possible = [e for e in ENCODINGS[matrix.kind] if expected_bits(e, zeros) < inf]
    if encoding not in possible:
        raise ValueError(
            f"a {matrix.kind} matrix with a share {zeros:.3g} of zeros cannot be stored as {encoding!r}: use one of "
            f"{', '.join(possible)}."
        )
    where, _, what = encoding.rpartition("+")
    positions = None
    if where:
        places = np.flatnonzero(flat)
        positions = np.packbits(flat != 0, bitorder="little") if where == "mask" else _gaps(places, flat.size)
        flat = flat[places]
    outputs, inputs = matrix.shape
    return PackedMatrix(encoding, matrix.kind, (outputs, inputs), float(matrix.scale), _encode(what, flat), positions)


def check_bytes(packed: PackedMatrix) -> None:
    """Refuse bytes that are not as many as the shape takes, before anything of its size is made.

    A byte stands for 255 weights at most, so that no matrix is larger than its bytes allow.

    Raises
    ------
    ValueError
        If they are not.
    """
    count, where = packed.shape[0] * packed.shape[1], packed.encoding.rpartition("+")[0]
    if packed.positions is not None:
        _check_positions(where, packed.positions, count)
    stored, what = _stored_values(packed), packed.encoding.rpartition("+")[2]
    # in tenths of a bit, which are whole numbers
    needed = -(-stored * round(10 * VALUE_BITS[what]) // 80)
    if packed.values.size != needed:
        raise ValueError(
            f"{stored} values stored as {what} take {needed} bytes, not {packed.values.size}: the file is damaged."
        )


def _check_positions(where: str, positions: np.ndarray, count: int) -> None:
    if where == "mask":
        if positions.size != -(-count // 8):
            raise ValueError(f"a mask of {count} weights takes {-(-count // 8)} bytes, not {positions.size}.")
        return
    reached = int(positions.sum(dtype=np.int64)) + int(np.count_nonzero(positions != ESCAPE))
    if not reached <= count < reached + ESCAPE:
        raise ValueError(f"gaps end at {reached:,}, and do not fill a matrix of {count:,}: the file is damaged.")


def _stored_values(packed: PackedMatrix) -> int:
    """Return how many values are stored: all, or those that have a position."""
    count, positions = packed.shape[0] * packed.shape[1], packed.positions
    if positions is None:
        return count
    if packed.encoding.startswith("gaps"):
        return int(np.count_nonzero(positions != ESCAPE))
    # bits beyond the last weight do not count
    beyond = int(ONES[positions[-1] >> (count % 8)]) if count % 8 and positions.size else 0
    return int(ONES[positions].sum(dtype=np.int64)) - beyond


def _whole_or_finite(matrix: WeightMatrix) -> np.ndarray:
    """Return the values in one row, in the type that their kind is stored in.

    Raises
    ------
    ValueError
        If they are not what the kind says, or no matrix.
    """
    given, kind = np.asarray(matrix.values), matrix.kind
    if kind not in ENCODINGS:
        raise ValueError(f"{kind!r} is no kind of weights: use one of {', '.join(ENCODINGS)}.")
    if given.ndim != 2 or given.size == 0:
        raise ValueError(f"values must be a matrix of (outputs, inputs), none empty; got shape {given.shape}.")
    flat = given.ravel()
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


def _encode(what: str, values: np.ndarray) -> np.ndarray:
    if what == "float32":
        return np.ascontiguousarray(values, dtype="<f4").view(np.uint8)
    if what == "int8":
        return values.astype(np.int8).view(np.uint8)
    if what == "signs":
        return np.packbits(values < 0, bitorder="little")
    if what == "bits2":
        codes = _padded((values & 3).astype(np.uint8), 4).reshape(-1, 4)
        return np.bitwise_or.reduce(codes << np.array([0, 2, 4, 6], np.uint8), axis=1)
    trits = _padded((values + 1).astype(np.uint8), 5).reshape(-1, 5)
    return (trits * POWERS).sum(axis=1, dtype=np.uint8)


def _decode(what: str, stored: np.ndarray, count: int) -> np.ndarray:
    """Return as many values, of bytes that are as many as they take."""
    if what == "float32":
        values = stored.view("<f4").astype(np.float32, copy=False)
        if not np.all(np.isfinite(values)):
            raise ValueError("weights are not all finite: the file is damaged.")
        return values
    if what == "int8":
        if np.any(stored == 128):
            raise ValueError("a weight stored in 8 bits is -128, beyond -127 to 127: the file is damaged.")
        return stored.view(np.int8)
    if what == "signs":
        return 1 - 2 * np.unpackbits(stored, count=count, bitorder="little").view(np.int8)
    if what == "bits2":
        if np.any((stored >> 1) & ~stored & 0b01_01_01_01):
            raise ValueError("a weight stored in two bits is neither 0, +1 nor −1: the file is damaged.")
        return np.take(OF_TWO_BITS, stored, axis=0).ravel()[:count]
    if stored.size and stored.max() >= 3**5:
        raise ValueError("a byte of five trits is 243 or more: the file is damaged.")
    return np.take(OF_TRITS, stored, axis=0).ravel()[:count]


def _padded(values: np.ndarray, group: int) -> np.ndarray:
    return np.pad(values, (0, -values.size % group))


def _gaps(places: np.ndarray, count: int) -> np.ndarray:
    """Zeros before each place, as bytes; a run of 255 or more spends an escape for each 255, the last one too."""
    gaps = np.diff(places, prepend=-1) - 1
    escapes, rest = np.divmod(gaps, ESCAPE)
    out = np.full(places.size + int(escapes.sum()), ESCAPE, np.uint8)
    out[np.cumsum(escapes + 1) - 1] = rest
    after = count - (int(places[-1]) + 1 if places.size else 0)
    return np.concatenate([out, np.full(after // ESCAPE, ESCAPE, np.uint8)])


def _places(where: str, positions: np.ndarray, count: int) -> np.ndarray:
    """Return what picks the weights that are stored: a mask, or their places."""
    if where == "mask":
        return np.unpackbits(positions, count=count, bitorder="little").view(bool)
    ends = np.cumsum(positions.astype(np.int64) + (positions != ESCAPE))
    return ends[positions != ESCAPE] - 1
