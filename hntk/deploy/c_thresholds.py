"""Tables of thresholds in a C program: the layer's, or of every neuron its own."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from hntk.deploy.c_arrays import Table, reference, smallest_type, smallest_unsigned_type
from hntk.deploy.c_values import Reader, common_unit
from hntk.networks.integer_steps import NeuronSteps
from hntk.networks.spaced_steps import SpacedSteps


def threshold_tables(layer: Reader, start: Int64[np.ndarray, " d"]) -> tuple[list[Table], dict[str, object]]:
    """Return the thresholds of a layer and what its sums start from, and the fields of the struct ``layer``.

    Of thresholds that are spaced equally, multipliers and offsets are stored. Of a neuron that has its own thresholds,
    the lowest one is stored and how far each other one is above that before it, in the smallest types that hold them;
    the start of the neuron's sum is subtracted from its thresholds. Where all are
    multiples of a power of two, they are stored as such.
    """
    assert layer.steps is not None
    if isinstance(layer.steps, SpacedSteps):
        return _spaced_tables(layer.number, layer.steps, start)
    number, thresholds = layer.number, np.asarray(layer.steps.thresholds, np.int64)
    if isinstance(layer.steps, NeuronSteps) and thresholds.size:
        thresholds = thresholds - start[:, None]
        unit, count = common_unit(thresholds), thresholds.shape[1]
        thresholds = thresholds // unit
        lowest = Table(f"lowest{number}", smallest_type(thresholds[:, 0]))
        fields: dict[str, object] = {"threshold_count": count, "threshold_unit": unit, "lowest": reference(lowest)}
        if thresholds.shape[1] == 1:
            return [lowest], fields
        rises = Table(f"rises{number}", smallest_unsigned_type(np.diff(thresholds, axis=1).ravel()))
        return [lowest, rises], {**fields, "rises": reference(rises)}
    tables, fields = [], {}
    if start.any():
        tables.append(Table(f"start{number}", smallest_type(start)))
        fields["start"] = reference(tables[-1])
    if thresholds.size:
        tables.append(Table(f"thresholds{number}", thresholds.astype(np.int32)))
        fields |= {"thresholds": tables[-1].name, "threshold_count": thresholds.size}
    return tables, fields


def _spaced_tables(
    number: int, steps: SpacedSteps, start: Int64[np.ndarray, " d"]
) -> tuple[list[Table], dict[str, object]]:
    """Return the tables of equally spaced thresholds, and what sums start from."""
    multipliers = Table(f"multipliers{number}", smallest_unsigned_type(np.asarray(steps.multipliers)))
    offsets = Table(f"offsets{number}", smallest_type(np.asarray(steps.offsets)))
    fields: dict[str, object] = {
        "threshold_count": len(steps.levels) - 1,
        "multipliers": reference(multipliers),
        "offsets": reference(offsets),
        "unit": 1 << steps.offset_shift,
        "shift": steps.shift,
    }
    if not start.any():
        return [multipliers, offsets], fields
    starts = Table(f"start{number}", smallest_type(start))
    return [starts, multipliers, offsets], {"start": reference(starts), **fields}
