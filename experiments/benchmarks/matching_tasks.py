"""Tasks that match activations.

Every run has another input scale, so that no run can reuse an earlier result.
"""

from __future__ import annotations

from itertools import count

import hntk
from experiments.benchmarks.kernel_tasks import Once
from experiments.kernels.least_squares import restarted
from experiments.kernels.matching_problems import MatchingProblem


def match(activation: str, depth: int, levels: int, method: str) -> Once:
    """Match by hntk's solver."""
    scales = (1.0 + 0.013 * i for i in count())
    return lambda: (hntk.match([activation] * depth, next(scales), levels, method=method).relative_shift,)  # type: ignore[arg-type]


def least_squares(activation: str, depth: int, levels: int, restarts: int) -> Once:
    """Match by restarted least squares, as in the authors' code but in units of τ and with exact gradients."""
    scales, layer = (1.0 + 0.013 * i for i in count()), hntk.activation(activation)

    def once() -> tuple[float, float]:
        problem = MatchingProblem("planted", (layer,) * depth, next(scales), levels)
        attempt = restarted(problem, restarts, 0, scaled=True)
        return attempt.shift, attempt.miss

    return once
