"""Regressors of whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float, Int, Int32

from hntk._utils.pytree import array_dataclass
from hntk._utils.targets import mean_squared_error, r2_score
from hntk.files.reader import FieldReader
from hntk.networks.integer_network import NEURON_VERSION, IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout, read_readout
from hntk.networks.provenance import DataStatistics, provenance_notes, provenance_to_metadata, read_statistics
from hntk.networks.read_layers import ReadLayers
from hntk.networks.summary_table import Summary
from hntk.networks.target_predictor import one_or_several, read_targets, targets_text
from hntk.networks.training_record import TrainingRecord
from hntk.weights.weight_matrix import Weights


@array_dataclass(static=("unit", "layers", "shifts", "training", "statistics", "rounding"))
class IntegerRegressor(IntegerReadout):
    """A regressor of whole numbers: it predicts the unit times ``readout @ levels + offset``.

    Units that :func:`hntk.to_integers` chooses are powers of two: scores are then fixed-point numbers, with −log₂ of
    the unit bits behind the point.

    A readout of all layers takes their levels side by side, those of layer l times 2^{s_l}.

    Regressors are pytrees: ``jax.jit`` and ``jax.vmap`` take them as arguments.

    Attributes
    ----------
    network : IntegerNetwork
        The network that gives the levels.
    readout : (K, d) array of int8 or int16
        Weights of the readout of K targets.
    offset : (K,) array of int32
        Scores at levels 0.
    unit : float or tuple of float
        A prediction is a whole score times this: one number for all targets, or one for each.
    layers : {"last", "all"}
        Whose levels the readout takes.
    shifts : tuple of int
        Shift s_l of each layer that is read, from 0 to 15; empty if all are 0, as those of the last layer alone are.
    training : TrainingRecord or None
        How the network was trained; None if it was not.
    statistics : DataStatistics or None
        Statistics of the data that the readout was fitted on; None if they are unknown.
    rounding : tuple of float
        Largest distance of each target's prediction from that of the readout in floats on the same levels, whatever the
        levels are; empty where no readout was rounded. Samples and levels that are rounded come on top of it.
    """

    network: IntegerNetwork
    readout: Int[np.ndarray, "K d"]
    offset: Int32[np.ndarray, " K"]
    unit: float | tuple[float, ...]
    layers: ReadLayers = field(default="last", kw_only=True)
    shifts: tuple[int, ...] = field(default=(), kw_only=True)
    training: TrainingRecord | None = field(default=None, kw_only=True)
    statistics: DataStatistics | None = field(default=None, kw_only=True)
    rounding: tuple[float, ...] = field(default=(), kw_only=True)
    # The decorator would write another one.
    __repr__ = IntegerReadout.__repr__

    @property
    def predicted(self) -> str:
        """What is predicted, for a representation."""
        return targets_text(self.readout.shape[0])

    @property
    def _kept_exactly(self) -> dict[str, object]:
        return {**super()._kept_exactly, "data statistics": self.statistics, "unit": self.unit}

    @property
    def version(self) -> int:
        """Version of the files."""
        return NEURON_VERSION

    def predict(self, raw: object) -> Float[np.ndarray | Array, " n *K"]:
        """Predict the targets of raw samples: the unit times their whole scores, and nothing else.

        Works under ``jax.jit`` and ``jax.vmap``, where it computes in JAX's default precision.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.

        Returns
        -------
        (n, K) array of float64, or (n,) for one target
            Predictions.

        Raises
        ------
        ValueError
            If the samples do not fit.
        """
        scores = self.scores(raw)
        # one rounding a number
        unit = np.asarray(self.unit, np.float64) if isinstance(self.unit, tuple) else self.unit
        return one_or_several(scores.astype(float) * unit)

    def r2(self, raw: object, targets: object) -> float:
        """Return the coefficient of determination R², averaged over the targets.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.
        targets : (n,) or (n, K) array
            True values, of finite numbers.

        Returns
        -------
        float
            1 for exact predictions, 0 for none better than the mean. A target that does not vary counts 1 if it is
            predicted exactly, and 0 otherwise.

        Raises
        ------
        ValueError
            If the samples do not fit, or the targets are no finite numbers or of another shape than the predictions.
        """
        return r2_score(np.asarray(self.predict(raw)), targets)

    def score(self, raw: object, targets: object) -> float:
        """Return R², as :meth:`r2` does, by the name that scikit-learn has for it.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.
        targets : (n,) or (n, K) array
            True values, of finite numbers.

        Returns
        -------
        float
            R².

        Raises
        ------
        ValueError
            As :meth:`r2` does.
        """
        return self.r2(raw, targets)

    def mean_squared_error(self, raw: object, targets: object) -> float:
        """Return the mean of the squared errors over samples and targets, in the targets' own units.

        Parameters
        ----------
        raw : (n, p) array
            Raw samples.
        targets : (n,) or (n, K) array
            True values, of finite numbers.

        Returns
        -------
        float
            The mean.

        Raises
        ------
        ValueError
            If the samples do not fit, or the targets are no finite numbers or of another shape than the predictions.
        """
        return mean_squared_error(np.asarray(self.predict(raw)), targets)

    def to_arrays(self, encoding: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file."""
        arrays, metadata = self._common_arrays(encoding)
        metadata |= {"targets": self.readout.shape[0], **provenance_to_metadata(None, self.statistics)}
        if self.rounding:
            metadata["readout_rounding"] = list(map(float, self.rounding))
        return arrays, metadata

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> IntegerRegressor:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        targets = read_targets(fields)
        parts, statistics = read_readout(fields, targets), read_statistics(fields)
        rounding = _read_rounding(fields, targets) if "readout_rounding" in fields else ()
        network = IntegerNetwork.from_arrays(fields, packed_from)
        regressor = IntegerRegressor(network, statistics=statistics, rounding=rounding, **parts)
        regressor._check_read(fields)
        return regressor

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        units = self.unit if isinstance(self.unit, tuple) else (self.unit,)
        unit = f"predictions: {self.predicted}, whole scores times {_brief_numbers(units)}"
        if self.rounding:
            unit += f"; rounding the readout moves them by at most {_brief_numbers(self.rounding)}"
        notes = (*self.network.input_notes(), unit, *self._read_note())
        notes += provenance_notes(self.network.origin, self.statistics, self.training)
        return Summary((*self.network.layer_summaries(encodings), self._readout_summary()), "whole numbers", notes)


def _brief_numbers(values: Sequence[float]) -> str:
    """Return a few numbers as text: all of up to four, or the least and the largest."""
    if len(values) > 4:
        return f"{min(values):.6g} to {max(values):.6g}"
    return ", ".join(f"{value:.6g}" for value in values)


def _read_rounding(fields: FieldReader, targets: int) -> tuple[float, ...]:
    """Return how far the predictions of each target of a file are moved by rounding."""
    numbers = fields.numbers("readout_rounding", targets)
    if len(numbers) != targets or min(numbers) < 0:
        raise ValueError(f"readout_rounding must be {targets:,} numbers that are not negative")
    return tuple(numbers)
