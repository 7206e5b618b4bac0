"""Forward passes that are read from serialised StableHLO programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Num

from hntk._utils.arguments import as_instance
from hntk._utils.arrays import brief, real_array
from hntk._utils.extras import import_extra
from hntk._utils.rows import check_shape

PURPOSE = "A serialised StableHLO program"


@dataclass(frozen=True)
class ForwardProgram:
    """A forward pass that was read from a serialised StableHLO program; call it on samples.

    Attributes
    ----------
    exported : jax.export.Exported
        The program as JAX has it.
    """

    exported: Any

    @property
    def inputs(self) -> int:
        """Number of coordinates of a sample."""
        return self.exported.in_avals[0].shape[1]

    @property
    def outputs(self) -> int:
        """Number of values of a sample: features, levels or scores."""
        return self.exported.out_avals[0].shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Type of the samples."""
        return np.dtype(self.exported.in_avals[0].dtype)

    @property
    def batch(self) -> int | None:
        """The number of samples in a call; None if it is any."""
        size = self.exported.in_avals[0].shape[0]
        return size if isinstance(size, int) else None

    @property
    def platforms(self) -> tuple[str, ...]:
        """Where it can run."""
        return tuple(self.exported.platforms)

    def __repr__(self) -> str:
        size, where = "n" if self.batch is None else self.batch, "/".join(self.platforms)
        return f"ForwardProgram(({size}, {self.inputs}) {self.dtype} -> ({size}, {self.outputs}), {where})"

    def __call__(self, x: object) -> Num[np.ndarray, "n outputs"]:
        """Run the program.

        Parameters
        ----------
        x : (n, inputs) array
            Samples, as :func:`export_forward` says.

        Returns
        -------
        (n, outputs) array
            Features, levels or scores.

        Raises
        ------
        ValueError
            If x does not fit, its numbers are not finite or no bytes where bytes are taken, or the program is for other
            devices than JAX uses here.
        """
        array = np.asarray(real_array(x, "x"))
        check_shape(array, "x")
        if array.shape[1] != self.inputs or self.batch not in (None, len(array)):
            size = "n" if self.batch is None else self.batch
            raise ValueError(f"x must have shape ({size}, {self.inputs}), got {array.shape}: export another program.")
        with np.errstate(over="ignore", invalid="ignore"):
            given = array.astype(self.dtype)
        if self.dtype == np.uint8 and not np.array_equal(given, array):
            raise ValueError("x must be pixels, whole numbers from 0 to 255: give the raw images, not normalised ones.")
        if not np.all(np.isfinite(given)):
            raise ValueError("x has values that are not finite in float32: clean, drop or rescale them.")
        here = jax_export().default_export_platform()
        if here not in self.platforms:
            raise ValueError(
                f"the program is for {', '.join(self.platforms)}, and JAX runs on {here} here: export it with "
                f"platforms=[{here!r}]."
            )
        return np.asarray(jax.jit(self.exported.call)(given))


def import_forward(data: bytes) -> ForwardProgram:
    """Read a program that :func:`export_forward` returned.

    A program is code that JAX runs: read those alone that you trust, as you would run a program.

    Parameters
    ----------
    data : bytes
        The program.

    Returns
    -------
    ForwardProgram
        The program; call it on samples.

    Raises
    ------
    ImportError
        If flatbuffers is not installed.
    ValueError
        If the bytes are no such program, or one that this version of JAX does not read.
    """
    as_instance(data, "data", (bytes, bytearray), "the bytes that export_forward returned")
    export = jax_export()
    try:
        exported = export.deserialize(bytearray(data))
        fits = len(exported.in_avals) == len(exported.out_avals) == 1
        if not fits or not exported.in_avals[0].ndim == exported.out_avals[0].ndim == 2:
            raise ValueError("it takes or gives something else than one matrix")
    except Exception as error:  # flatbuffers raises what Python's own types raise
        raise ValueError(
            f"data is no program of export_forward that this JAX {jax.__version__} reads ({brief(str(error))}): give "
            "the bytes of the network exported again."
        ) from error
    return ForwardProgram(exported)


def jax_export() -> Any:
    """Return the module jax.export, with what it serialises by."""
    import_extra("flatbuffers", "export", PURPOSE)
    # jax.export is a module that import jax does not load
    from jax import export

    return export
