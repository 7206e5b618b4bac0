r"""The start that keeps an original network's kernel: staircases of a match, in whole numbers.

A layer's sums are standardised, so that its staircase is that of a match at the scale τ = 1 in every layer: thresholds
$s_k/\tau_{l-1}$. The sums after it do not see a factor or a constant of its levels, and see its sign as they see that
of random weights; so levels are whole numbers from 0 on, and rise where most sums are. By docs/theory.md, "Matching",
the untrained network then has the original's conjugate kernel up to a factor and a ridge. With the surrogate φ of
:func:`hntk.calibrated_surrogates`, E[φ] = E[σ'] and E[φ'] = E[σ''], as a derivative it has the original's NTK likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from jax import Array

from hntk.activations import Staircase, Surrogate, staircase
from hntk.deploy.rounding import round_levels
from hntk.matching import MatchError, match
from hntk.matching.options import MOST_LEVELS
from hntk.theory.architecture import ArchitectureLike, as_architecture
from hntk.theory.calibrated_surrogates import calibrated_surrogates
from hntk.training.few_level_layers import FewLevelLayer
from hntk.training.starts import StartingPoint, StartProblem, drawn_parameters

# the original of start="match", which is as deep as the network
ORIGINAL = "relu"
# the largest whole level of up to 4 levels, in 3 bits; that of N more is 4N - 1
LEVEL_MOST = 7
# cells at an end are dropped where the staircase turns back, if so few sums reach them
RARE = 0.05
# means of slopes that are 0 but for rounding, in units of the largest difference of levels
EVEN = 1e-9


@dataclass(frozen=True)
class WholeStaircase:
    """A staircase on standardised sums with levels in whole numbers.

    Attributes
    ----------
    thresholds : tuple of float
        Thresholds in deviations of the sums, ascending.
    levels : tuple of int
        Levels, the least of which is 0.
    """

    thresholds: tuple[float, ...]
    levels: tuple[int, ...]

    @property
    def staircase(self) -> Staircase:
        """The same function as an activation."""
        return staircase(self.thresholds, self.levels)

    @property
    def windows(self) -> tuple[float, ...]:
        """Widths of windows at the thresholds: the mean of the distances to both neighbours, or the one there is."""
        gaps = np.diff(self.thresholds)
        if not gaps.size:
            return (2.0,)
        return tuple(((np.append(gaps[:1], gaps) + np.append(gaps, gaps[-1:])) / 2).tolist())

    @property
    def slope(self) -> Surrogate:
        """The calibrated surrogate."""
        (slope,) = calibrated_surrogates([self.staircase], 1.0)
        assert slope is not None
        return slope


def matched_start(problem: StartProblem, key: Array, original: ArchitectureLike | None = None) -> StartingPoint:
    """Return the staircases of a match with an original network, and random weights.

    Every layer is matched with the original's own layer (``method="layerwise"``), for samples of norm 1: unlike those
    of a joint match, all of its staircases are alike, which leaves more of a kernel on data outside of the theory.

    Parameters
    ----------
    problem : StartProblem
        Samples, widths, levels and settings. Where it has no surrogate, the calibrated one is the derivative of every
        layer.
    key : jax.Array
        Random key of the weights.
    original : Architecture or sequence of str or Activation, optional
        The original network, by default ReLU layers, as many as the network has.

    Returns
    -------
    StartingPoint
        The layers, and their parameters.

    Raises
    ------
    ValueError
        If the original has another number of layers, a layer is to have more than 16 levels, or no staircases of so few
        levels have the original's coefficients.
    """
    steps = matched_staircases(problem.levels, original)
    layers = tuple(
        FewLevelLayer(each.levels, each.windows, share, problem.surrogate, None if problem.surrogate else each.slope)
        for each, share in zip(steps, problem.sparsity, strict=True)
    )
    return StartingPoint(layers, drawn_parameters(problem, [each.thresholds for each in steps], key))


def matched_staircases(levels: tuple[int, ...], original: ArchitectureLike | None = None) -> tuple[WholeStaircase, ...]:
    """Return staircases of so many levels that keep an original's kernel, for sums of deviation 1.

    Parameters
    ----------
    levels : tuple of int
        Number of levels of each layer.
    original : Architecture or sequence of str or Activation, optional
        The original network.

    Returns
    -------
    tuple of WholeStaircase
        One staircase a layer.

    Raises
    ------
    ValueError
        As :func:`matched_start` says.
    """
    network = as_architecture([ORIGINAL] * len(levels) if original is None else original)
    if network.depth != len(levels):
        raise ValueError(
            f"the original network to start from has {network.depth} layers, but widths= asks for {len(levels)}: give "
            "one activation for each hidden layer."
        )
    if max(levels) > MOST_LEVELS:
        raise ValueError(
            f"theory's staircases have at most {MOST_LEVELS} levels, not {max(levels)}: use start='uniform' or 'dense'."
        )
    try:
        found = match(network, 1.0, list(levels), method="layerwise")
    except MatchError as error:
        raise ValueError(f"{error} Or use start='uniform' or 'dense'.") from error
    scales = np.asarray(found.coefficients.tau).tolist()
    return tuple(whole_staircase(each, tau) for each, tau in zip(found.activations, scales, strict=False))


def whole_staircase(function: Staircase, tau: float) -> WholeStaircase:
    """Return a staircase at a scale τ as one on standardised sums, with levels in whole numbers.

    Parameters
    ----------
    function : Staircase
        The staircase.
    tau : float
        Scale of its input.

    Returns
    -------
    WholeStaircase
        The staircase without cells at its ends that it turns back in and that fewer than 5 % of normal sums reach: a
        match has them in order to have a coefficient exactly, and a threshold costs each neuron bytes.
    """
    thresholds, levels = np.asarray(function.thresholds) / tau, np.asarray(function.levels)
    thresholds, levels = _without_rare_ends(thresholds, levels)
    falling = staircase(thresholds, levels).moments(1.0).e1 < -EVEN * np.ptp(levels)
    levels = levels.max() - levels if falling else levels - levels.min()
    count = len(np.unique(levels))
    most = LEVEL_MOST if count <= 4 else 4 * count - 1
    return WholeStaircase(tuple(thresholds.tolist()), round_levels(levels, most)[1])


def _without_rare_ends(thresholds: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop the thresholds up to the first turn from below, and from the last turn on, where hardly a sum is beyond."""
    turns = np.flatnonzero(np.diff(np.sign(np.diff(levels)))) + 1
    first = int(turns[0]) if turns.size and scipy.special.ndtr(thresholds[turns[0] - 1]) < RARE else 0
    last = int(turns[-1]) if turns.size and scipy.special.ndtr(-thresholds[turns[-1]]) < RARE else len(thresholds)
    return thresholds[first:last], levels[first : last + 1]
