"""Between staircases at a network's scales and step functions in units of τ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hntk.activations import Staircase, staircase
from hntk.activations.step_function import StepFunction
from hntk.matching.joint_target import JointTarget
from hntk.matching.variance_shares import final_by_name, layer_shares


def to_staircase(function: StepFunction, tau: float, amplitude: float, name: str) -> Staircase:
    """Return the staircase for an input of scale ``tau``, its values times ``amplitude``, the lowest at 0."""
    levels = np.asarray(function.levels)
    return staircase(tau * np.asarray(function.thresholds), amplitude * (levels - levels.min()), name)


def to_units(staircases: Sequence[Staircase], tau: Float[np.ndarray, " L+1"]) -> list[StepFunction]:
    """Return staircases in units of their input's and output's scales, τ_0 … τ_L."""
    return [
        StepFunction(np.array(layer.thresholds) / before, np.array(layer.levels) / after)
        for layer, before, after in zip(staircases, tau[:-1], tau[1:], strict=True)
    ]


def at_scales(
    functions: Sequence[StepFunction], target: JointTarget, tau: Float[np.ndarray, " L+1"]
) -> list[Staircase]:
    """Return staircases at the original's scales τ_0 … τ_L.

    The last layer takes the amplitude at which the reference coefficient is the original's.
    """
    name = target.nonzero[0]
    reached = final_by_name(layer_shares(f.moments() for f in functions))[name]
    scales = np.array(tau)
    scales[-1] *= np.sqrt(target.final[name] / reached)
    return [
        to_staircase(f, float(before), float(after), f"staircase{f.level_count}")
        for f, before, after in zip(functions, scales[:-1], scales[1:], strict=True)
    ]
