"""What raw samples become before a network of whole numbers sees them: pixels as they are, or rounded coordinates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, UInt8

from hntk._utils.pytree import array_dataclass, is_traced
from hntk._utils.rows import as_samples
from hntk.files.exact_arrays import to_integers_of
from hntk.files.reader import FieldReader
from hntk.networks.value_bounds import LARGEST, LARGEST_INPUT
from hntk.weights.bit_planes import Code


@jax.jit
def _are_pixels(samples: Float[Array, "n p"]) -> Array:
    return jnp.all((samples == jnp.round(samples)) & (samples >= 0) & (samples <= 255))


@array_dataclass(static=("fine",))
class Pixels:
    """Input that is whole already: bytes from 0 to 255, less a whole centre, times ``fine``.

    Attributes
    ----------
    fine : int
        A power of 2. What centring the pixels adds to the sums is rounded to 1/fine of a pixel's unit.
    centre : (p,) array of uint8 or None
        What is subtracted of each pixel; None if the first layer's bias does that.
    """

    fine: int = 1
    centre: UInt8[np.ndarray, " p"] | None = None

    @property
    def least(self) -> int:
        """Smallest value of a coordinate."""
        return 0 if self.centre is None else -self.most

    @property
    def most(self) -> int:
        """Largest value of a coordinate."""
        return 255 * self.fine

    @property
    def code(self) -> Code:
        """The values as bit planes."""
        return Code.of_range(self.least, self.most, self.fine)

    def __call__(self, raw: object) -> Float[Array, "n p"]:
        """Return raw samples as whole numbers in float32.

        Raises
        ------
        ValueError
            If they are not whole numbers from 0 to 255, or do not have p coordinates.
        """
        samples = as_samples(raw)
        if not is_traced(samples) and not _are_pixels(samples):
            raise ValueError(
                "this network takes pixels as they are, whole numbers from 0 to 255: give the raw images, not "
                "normalised ones."
            )
        whole = samples.astype(jnp.float32)
        if self.centre is not None:
            check_coordinates(samples, self.centre.shape[0])
            whole = whole - jnp.asarray(self.centre, jnp.float32)
        return whole * self.fine

    @property
    def note(self) -> str:
        """A line of a summary."""
        return "input: pixels, 0 to 255" + ("" if self.centre is None else ", less a centre rounded to whole numbers")

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and the table of metadata for a file.

        Raises
        ------
        ValueError
            If the centre is not whole, or leaves the 8 bits of a pixel.
        """
        if self.centre is None:
            return {}, {"type": "pixels", "fine": self.fine}
        # A type of its own, because readers that know no centre would leave it out.
        table = {"type": "centred_pixels", "fine": self.fine}
        return {"input.centre": to_integers_of(self.centre, np.uint8, "centre")}, table

    @classmethod
    def from_fields(cls, fields: FieldReader, size: int) -> Pixels:
        """Read the table of a file whose samples have so many coordinates."""
        fine = fields.number("fine", positive=True)
        if fine not in (1, 2, 4, 8, 16):
            raise ValueError(f"fine must be a power of 2 of at most 16, not {fine}")
        centred = fields.text("type") == "centred_pixels"
        centre = fields.array("input.centre", np.uint8, size) if centred else None
        return cls(int(fine), centre)


@array_dataclass(static=("factor", "most"))
class Rounded:
    """Input in multiples of a unit: round((raw − centre) · factor), limited to magnitudes of at most ``most``.

    Attributes
    ----------
    centre : (p,) array of float32
        What is subtracted.
    factor : float
        One over the unit; a float32 number.
    most : int
        Largest magnitude of a coordinate, such as 127 or 32767.
    """

    centre: Float[np.ndarray, " p"]
    factor: float
    most: int

    @property
    def least(self) -> int:
        """Smallest value of a coordinate."""
        return -self.most

    @property
    def code(self) -> Code:
        """The values as bit planes."""
        return Code.of_range(self.least, self.most)

    def __call__(self, raw: object) -> Float[Array, "n p"]:
        """Return raw samples as whole numbers in float32; halves are rounded to even, as by C's ``rintf``.

        Raises
        ------
        ValueError
            If they do not have p coordinates.
        """
        samples = as_samples(raw)
        check_coordinates(samples, self.centre.shape[0])
        # Outside JAX's transformations NumPy computes, which compiles nothing for a new shape.
        xp = jnp if is_traced(samples, self.centre) else np
        scaled = (xp.asarray(samples, xp.float32) - self.centre) * np.float32(self.factor)
        return jnp.asarray(xp.clip(xp.rint(scaled), -self.most, self.most))

    @property
    def note(self) -> str:
        """A line of a summary."""
        return f"input: rounded to whole numbers of at most {self.most}"

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and the table of metadata for a file."""
        centre = np.asarray(self.centre, np.float32)
        return {"input.centre": centre}, {"type": "rounded", "factor": self.factor, "most": self.most}

    @classmethod
    def from_fields(cls, fields: FieldReader, size: int) -> Rounded:
        """Read the table of a file whose samples have so many coordinates."""
        most = fields.number("most", positive=True)
        if most not in range(1, 2**15):
            raise ValueError(f"most must be a whole number below 2**15, not {most}")
        centre, factor = fields.array("input.centre", np.float32, size), fields.number("factor", positive=True)
        if (float(np.abs(centre).max()) + LARGEST_INPUT) * factor > LARGEST:
            raise ValueError(f"samples times the factor {factor:.3g} would overflow float32: rescale them")
        return cls(centre, factor, int(most))


def check_coordinates(samples: Float[Array, "n p"], size: int) -> None:
    """Refuse samples of another number of coordinates than the network takes."""
    if samples.shape[1] != size:
        raise ValueError(f"samples have {samples.shape[1]} coordinates but the network takes {size}.")


def read_inputs(fields: FieldReader, size: int) -> Pixels | Rounded:
    """Read the input of a network of whole numbers whose samples have so many coordinates.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a file describes none.
    """
    table = fields.subtable("input")
    if table.text("type", ("pixels", "centred_pixels", "rounded")) != "rounded":
        return Pixels.from_fields(table, size)
    return Rounded.from_fields(table, size)
