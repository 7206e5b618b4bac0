r"""What classifiers and regressors of whole numbers have in common: a network and a readout.

Score k is $\sum_l 2^{s_l} \sum_j R_{kj} q_{lj} + b_k$ over the layers l that are read and their neurons j, with levels
$q_l$, readout weights R and an offset b. A readout of the last layer has one part without a shift. One of all layers
has a part for each, from the first layer to the last; its shifts $s_l$ bring levels that are small numbers in one layer
and large ones in another to one size, so that one unit of the weights serves all. Every partial sum of a score fits
into 32 bits, in any order.
"""

from __future__ import annotations

from operator import index
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Int, Int32, Int64

from hntk._utils.pytree import is_traced
from hntk.files.exact_arrays import to_integers_of
from hntk.files.limits import shorten
from hntk.files.reader import FLOAT32, FieldReader
from hntk.networks.integer_network import LIMIT, NEURON_VERSION, IntegerNetwork
from hntk.networks.provenance import read_training
from hntk.networks.read_layers import ReadLayers, layers_to_metadata, read_layers, read_note, read_widths
from hntk.networks.saveable import SaveableReadout, check_version
from hntk.networks.summary_table import LayerSummary
from hntk.networks.training_record import TrainingRecord

OFFSET_BYTES = 4
# Levels of 16 bits need no larger shifts.
LARGEST_SHIFT = 15


class IntegerReadout(SaveableReadout):
    """A network of whole numbers with a readout; K is the number of scores.

    Attributes
    ----------
    network : IntegerNetwork
        The network that gives the levels.
    readout : (K, d) array of int8 or int16
        Weights of the readout.
    offset : (K,) array of int32
        Scores at levels 0.
    unit : float or tuple of float
        What a whole score is multiplied with; a regressor may have one number for each target.
    layers : {"last", "all"}
        Whose levels the readout takes.
    shifts : tuple of int
        Shift s_l of each layer that is read; empty if all are 0.
    training : TrainingRecord or None
        How the network was trained.
    """

    network: IntegerNetwork
    readout: Int[np.ndarray, "K d"]
    offset: Int32[np.ndarray, " K"]
    unit: Any
    layers: ReadLayers
    shifts: tuple[int, ...]
    training: TrainingRecord | None
    form: ClassVar[str] = "integer"
    versions: ClassVar[tuple[int, ...]] = IntegerNetwork.versions

    @property
    def largest_score(self) -> int:
        """A bound of |score|."""
        levels = [steps.most for steps in self.network.steps[-len(self.read_widths) :]]
        sums = np.abs(np.asarray(self.readout, np.int64)) @ (self.factors * np.repeat(levels, self.read_widths))
        return int((sums + np.abs(np.asarray(self.offset, np.int64))).max())

    @property
    def read_widths(self) -> tuple[int, ...]:
        """Widths of the layers that are read; the columns of ``readout`` are in this order."""
        return read_widths(self.network.widths, self.layers)

    @property
    def factors(self) -> Int64[np.ndarray, " d"]:
        """Return 2^{s_l} for every column of ``readout``."""
        shifts = self.shifts or (0,) * len(self.read_widths)
        return np.left_shift(np.int64(1), np.repeat(np.asarray(shifts, np.int64), self.read_widths))

    @property
    def _kept_exactly(self) -> dict[str, object]:
        return {**super()._kept_exactly, "record of the training": self.training}

    @property
    def version(self) -> int:
        """Version of the files."""
        return self.network.version if self.training is None else NEURON_VERSION

    def scores(self, raw: object) -> Int[np.ndarray | Array, "n K"]:
        """Compute whole scores of raw samples.

        Works under ``jax.jit`` and ``jax.vmap``, where the values of samples are not checked and the result is an array
        of JAX.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.

        Returns
        -------
        (n, K) array of int64, or of int32 under a transformation
            Scores.

        Raises
        ------
        ValueError
            If the samples do not fit.
        """
        parts = list(self.network.feature_batches(raw, layers=self.layers))
        if is_traced(parts, self.readout, self.offset):
            # No partial sum of a score leaves 32 bits.
            weights = (jnp.asarray(self.readout).astype(jnp.int32) * self.factors.astype(np.int32)).T
            return jnp.concatenate([levels.astype(jnp.int32) @ weights for levels in parts]) + jnp.asarray(self.offset)
        # BLAS in float64 is exact up to 2⁵³.
        readout = (self.readout * self.factors).T.astype(np.float64)
        scores = np.concatenate([np.asarray(levels, np.float64) @ readout for levels in parts])
        return scores.astype(np.int64) + self.offset

    def _common_arrays(self, encoding: str | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file, without what is predicted."""
        arrays, metadata = self.network.to_arrays(encoding)
        metadata |= {"version": self.version, "score_unit": _plain(self.unit), **layers_to_metadata(self.layers)}
        if self.training is not None:
            metadata["training"] = self.training.to_metadata()
        if self.shifts:
            metadata["readout_shifts"] = list(map(index, self.shifts))
        dtype = np.int8 if np.asarray(self.readout).dtype == np.int8 else np.int16
        arrays["readout.weights"] = to_integers_of(self.readout, dtype, "readout")
        arrays["readout.offset"] = to_integers_of(self.offset, np.int32, "offset")
        return arrays, metadata

    def _readout_summary(self) -> LayerSummary:
        """Return the readout's row of a summary."""
        size = self.readout.itemsize
        return LayerSummary.readout(self.readout, kind=f"int{8 * size}", weight_bytes=size, offset_bytes=OFFSET_BYTES)

    def _check_read(self, fields: FieldReader) -> None:
        """Refuse what was read of a file of too early a version, or whose scores leave 32 bits."""
        check_version(fields, self.version)
        if self.largest_score > LIMIT:
            raise ValueError("scores could leave 32 bits")

    def _read_note(self) -> tuple[str, ...]:
        """Return a line of a summary for a readout of every layer."""
        return read_note(self.network.widths, self.layers)


def read_readout(fields: FieldReader, count: int) -> dict[str, Any]:
    """Return the parts of a readout with so many scores, by their names, without the network.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a file describes none.
    """
    layers = read_layers(fields)
    widths = read_widths([layer.shape("shape")[0] for layer in fields.subtables("layers")], layers)
    return {
        "readout": fields.array_of_types("readout.weights", (np.int8, np.int16), count, sum(widths)),
        "offset": fields.array("readout.offset", np.int32, count),
        "unit": _read_unit(fields, count),
        "layers": layers,
        "shifts": _read_shifts(fields, len(widths)) if "readout_shifts" in fields else (),
        "training": read_training(fields),
    }


def _plain(unit: float | tuple[float, ...]) -> float | list[float]:
    """Return a unit as JSON has it."""
    return list(map(float, unit)) if isinstance(unit, tuple) else unit


def _read_unit(fields: FieldReader, count: int) -> float | tuple[float, ...]:
    """Return the unit of a file's scores, or those of each target of a regressor."""
    if "targets" not in fields or not isinstance(fields.table["score_unit"], list):
        return fields.number("score_unit", positive=True)
    units = fields.numbers("score_unit", count)
    if len(units) != count or min(units) < FLOAT32.tiny:
        raise ValueError(
            f"score_unit must be {count:,} positive numbers, not below float32's range, not {shorten(units)}"
        )
    return tuple(units)


def _read_shifts(fields: FieldReader, layers: int) -> tuple[int, ...]:
    """Return the shifts of a file, one for each layer that is read."""
    shifts = fields.table["readout_shifts"]
    whole = isinstance(shifts, list) and all(type(shift) is int and 0 <= shift <= LARGEST_SHIFT for shift in shifts)
    if not whole or len(shifts) != layers:
        raise ValueError(
            f"readout_shifts must be {layers} whole numbers from 0 to {LARGEST_SHIFT}, not {shorten(shifts)}"
        )
    return tuple(shifts)
