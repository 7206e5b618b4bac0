"""What raw samples become before a network of whole numbers sees them.

Pixels stay as they are, or are averaged over cells of a coarser grid; other coordinates are rounded.
"""

from __future__ import annotations

from functools import partial
from math import gcd, prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int32, UInt8

from hntk._utils.devices import exact_product
from hntk._utils.pytree import array_dataclass, is_traced
from hntk._utils.rows import as_samples
from hntk.files.exact_arrays import to_integers_of
from hntk.files.reader import FieldReader
from hntk.networks.value_bounds import LARGEST, LARGEST_INPUT
from hntk.weights.bit_planes import Code

# Sums of whole numbers up to here are exact in float32 in any order.
EXACT = 2**24
SMALLEST = float(np.finfo(np.float32).tiny)


@jax.jit
def _are_pixels(samples: Float[Array, "n p"]) -> Array:
    return jnp.all((samples == jnp.round(samples)) & (samples >= 0) & (samples <= 255))


def _as_pixels(raw: object) -> Float[Array, "n p"]:
    """Return raw samples, refusing numbers that are no bytes."""
    samples = as_samples(raw)
    if not is_traced(samples) and not _are_pixels(samples):
        raise ValueError(
            "this network takes pixels as they are, whole numbers from 0 to 255: give the raw images, not "
            "normalised ones."
        )
    return samples


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
        samples = _as_pixels(raw)
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


@array_dataclass(static=("shape", "pooled"))
class PooledPixels:
    """Input that is an image of bytes, averaged over the cells of a coarser grid and rounded to whole numbers.

    A cell covers H/h rows and W/w columns of pixels; a pixel on the border of two cells counts in each for the part of
    its area that lies there. With the areas in units that make all of them whole, a cell of area A with the sum S of
    area times pixel becomes ⌊(2 S + A) / (2 A)⌋, its mean with halves rounded up.

    Attributes
    ----------
    shape : (int, int)
        Rows H and columns W of an image; raw samples are its rows one after the other.
    pooled : (int, int)
        Rows h ≤ H and columns w ≤ W of the grid.
    """

    shape: tuple[int, int]
    pooled: tuple[int, int]

    @property
    def least(self) -> int:
        """Smallest value of a coordinate."""
        return 0

    @property
    def most(self) -> int:
        """Largest value of a coordinate."""
        return 255

    @property
    def code(self) -> Code:
        """The values as bit planes."""
        return Code.of_range(self.least, self.most)

    @property
    def raw_size(self) -> int:
        """Number of pixels of an image."""
        return prod(self.shape)

    @property
    def area(self) -> int:
        """Area A of a cell, in the units that make all areas whole."""
        return prod(size // gcd(size, cells) for size, cells in zip(self.shape, self.pooled, strict=True))

    @property
    def overlaps(self) -> tuple[Int32[np.ndarray, "h H"], Int32[np.ndarray, "w W"]]:
        """The part of each cell that each row of pixels takes, and each column.

        The area that a pixel has in a cell is the product of both.
        """
        rows, columns = (_overlaps(*pair) for pair in zip(self.shape, self.pooled, strict=True))
        return rows, columns

    @property
    def defect(self) -> str | None:
        """What is wrong with the shapes; None if nothing is."""
        sizes = (self.shape, self.pooled)
        if not all(isinstance(s, tuple) and len(s) == 2 and all(type(n) is int and n > 0 for n in s) for s in sizes):
            return f"shapes must be pairs of positive whole numbers, not {self.shape!r:.40} and {self.pooled!r:.40}"
        if any(cells > size for size, cells in zip(self.shape, self.pooled, strict=True)):
            return f"an image of {self.shape} pixels has no {self.pooled} cells: pool to as many pixels or fewer"
        if self.most * self.area >= EXACT:
            return (
                f"cells that {self.area:,} parts of pixels make up could sum up to 2**24 or more: pool to another size"
            )
        return None

    def __call__(self, raw: object) -> Float[Array, "n cells"]:
        """Return raw samples as (n, h·w) whole numbers in float32, the same ones in all ways of computing them.

        Raises
        ------
        ValueError
            If they are not whole numbers from 0 to 255, are not images of H·W pixels, or the shapes do not fit each
            other.
        """
        if self.defect:
            raise ValueError(f"{self.defect}.")
        samples = _as_pixels(raw)
        check_coordinates(samples, self.raw_size)
        return _pooled(samples, *self.overlaps, self.area)

    @property
    def note(self) -> str:
        """A line of a summary."""
        (rows, columns), (h, w) = self.shape, self.pooled
        return f"input: pixels, 0 to 255, of {rows} x {columns} images averaged over {h} x {w} cells"

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and the table of metadata for a file.

        Raises
        ------
        ValueError
            If the shapes do not fit each other.
        """
        if self.defect:
            raise ValueError(self.defect)
        return {}, {"type": "pooled_pixels", "shape": list(self.shape), "pooled": list(self.pooled)}

    @classmethod
    def from_fields(cls, fields: FieldReader, size: int) -> PooledPixels:
        """Read the table of a file whose network takes so many coordinates."""
        made = cls(fields.shape("shape"), fields.shape("pooled"))
        if made.defect:
            raise ValueError(made.defect)
        if prod(made.pooled) != size:
            raise ValueError(f"pixels are averaged over {made.pooled} cells, but the network takes {size} coordinates")
        return made


def _overlaps(size: int, cells: int) -> Int32[np.ndarray, "cells size"]:
    """Return the length that each of ``size`` pixels has in each of ``cells`` cells, in parts that make it whole."""
    pixel, cell = cells // gcd(size, cells), size // gcd(size, cells)
    begins, ends = np.arange(cells)[:, None] * cell, np.arange(1, cells + 1)[:, None] * cell
    places = np.arange(size) * pixel
    return np.maximum(0, np.minimum(ends, places + pixel) - np.maximum(begins, places)).astype(np.int32)


@partial(jax.jit, static_argnames="area")
def _pooled(
    samples: Float[Array, "n p"], rows: Int32[Array, "h H"], columns: Int32[Array, "w W"], area: int
) -> Float[Array, "n cells"]:
    """Return the rounded means of cells."""
    n, (height, width) = samples.shape[0], (rows.shape[1], columns.shape[1])
    images = samples.astype(jnp.float32).reshape(n * height, width)
    # Sums stay below 2²⁴, so that products in float32 are exact in any order; GPUs round factors to 10 bits by default.
    across = exact_product(images, columns.T.astype(jnp.float32))
    across = across.reshape(n, height, -1)
    sums = exact_product(rows.astype(jnp.float32), across).astype(jnp.int32)
    rounded = jax.lax.div(2 * sums + area, jnp.full_like(sums, 2 * area))
    return rounded.reshape(n, -1).astype(jnp.float32)


@array_dataclass(static=("factor", "most"))
class Rounded:
    """Input in multiples of a unit: round((raw − centre) · factor), limited to magnitudes of at most ``most``.

    Attributes
    ----------
    centre : (p,) array of float32
        What is subtracted.
    factor : float, or (p,) array of float32
        One over the unit; a float32 number, or one for each coordinate.
    most : int
        Largest magnitude of a coordinate, such as 127 or 32767.
    """

    centre: Float[np.ndarray, " p"]
    factor: float | Float[np.ndarray, " p"]
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
        scaled = (xp.asarray(samples, xp.float32) - self.centre) * np.asarray(self.factor, np.float32)
        return jnp.asarray(xp.clip(xp.rint(scaled), -self.most, self.most))

    @property
    def note(self) -> str:
        """A line of a summary."""
        units = ", each coordinate in a unit of its own" if np.ndim(self.factor) else ""
        return f"input: rounded to whole numbers of at most {self.most}{units}"

    def after(self, mean: object, deviation: object) -> Rounded:
        """Return the same of raw samples, where these inputs are (raw − mean)/deviation.

        Parameters
        ----------
        mean, deviation : (p,) arrays
            What each coordinate was standardised by before it was rounded.

        Returns
        -------
        Rounded
            Takes raw samples, with a factor for each coordinate. Both agree but for numbers that lie halfway between
            two whole ones up to the rounding errors of float32.

        Raises
        ------
        ValueError
            If these are not finite numbers for each coordinate, deviations are not positive, or a factor leaves
            float32's range.

        Examples
        --------
        >>> import numpy as np
        >>> from hntk.networks.integer_inputs import Rounded
        >>> standard = Rounded(np.zeros(2, np.float32), 50.0, 127)
        >>> standard.after([10.0, 1000.0], [1.0, 100.0])([[11.0, 1200.0]]).tolist()
        [[50.0, 100.0]]
        """
        size = np.shape(self.centre)
        shifts, widths = (np.asarray(numbers, np.float64) for numbers in (mean, deviation))
        if shifts.shape != size or widths.shape != size or not np.all(np.isfinite(shifts) & (widths > 0)):
            raise ValueError(f"mean and deviation must be {size[0]} finite numbers each, and deviations positive.")
        centre, factors = shifts + widths * self.centre, self.factor / widths
        if float(np.max((np.abs(centre) + LARGEST_INPUT) * factors)) > LARGEST or factors.min() < SMALLEST:
            raise ValueError("mean and deviation leave float32's range: rescale the samples.")
        return Rounded(centre.astype(np.float32), factors.astype(np.float32), self.most)

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and the table of metadata for a file."""
        arrays = {"input.centre": np.asarray(self.centre, np.float32)}
        if not np.ndim(self.factor):
            return arrays, {"type": "rounded", "factor": self.factor, "most": self.most}
        # A type of its own, because readers that know one factor alone must refuse the file.
        arrays["input.factor"] = np.asarray(self.factor, np.float32)
        return arrays, {"type": "rounded_each", "most": self.most}

    @classmethod
    def from_fields(cls, fields: FieldReader, size: int) -> Rounded:
        """Read the table of a file whose samples have so many coordinates."""
        most = fields.number("most", positive=True)
        if most not in range(1, 2**15):
            raise ValueError(f"most must be a whole number below 2**15, not {most}")
        centre = fields.array("input.centre", np.float32, size)
        factor = (
            _read_factors(fields, size)
            if fields.text("type") == "rounded_each"
            else fields.number("factor", positive=True)
        )
        largest = float(np.max((np.abs(centre.astype(np.float64)) + LARGEST_INPUT) * factor))
        if largest > LARGEST:
            raise ValueError(f"samples times the factor {np.max(factor):.3g} would overflow float32: rescale them")
        return cls(centre, factor, int(most))


def _read_factors(fields: FieldReader, size: int) -> Float[np.ndarray, " p"]:
    factors = fields.array("input.factor", np.float32, size)
    if not np.all(factors >= SMALLEST):
        raise ValueError("factors of the input must be positive, and not below float32's range")
    return factors


def check_coordinates(samples: Float[Array, "n p"], size: int) -> None:
    """Refuse samples of another number of coordinates than the network takes."""
    if samples.shape[1] != size:
        raise ValueError(f"samples have {samples.shape[1]} coordinates but the network takes {size}.")


def read_inputs(fields: FieldReader, size: int) -> Pixels | PooledPixels | Rounded:
    """Read the input of a network of whole numbers that takes so many coordinates.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a file describes none.
    """
    table = fields.subtable("input")
    kinds = {"pixels": Pixels, "centred_pixels": Pixels, "pooled_pixels": PooledPixels}
    kinds |= {"rounded": Rounded, "rounded_each": Rounded}
    return kinds[table.text("type", kinds)].from_fields(table, size)
