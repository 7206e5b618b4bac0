"""Random matching problems, and how well a solver's activations solve them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import hntk

# The named activations that problems are made of.
POOL = (
    "relu", "leaky_relu", "abs", "erf", "tanh", "sigmoid", "gelu", "silu", "softplus", "sign", "linear", "sin", "cos",
)  # fmt: skip
# An original is void if α_1 and α_3 make up less than this share of its output.
VOID = 1e-6


@dataclass(frozen=True)
class MatchingProblem:
    """An original network and the number of levels to match it with.

    Attributes
    ----------
    kind : str
        ``planted``: the original is itself a network with this number of levels. ``named``: it has named activations,
        and is matched without α_2, which two levels can always reach. ``impossible``: the match has to be lossless,
        which the bound on Hermite shares rules out.
    layers : tuple of Activation
        The original.
    tau0 : float
        Its input scale.
    levels : int
        Levels of every layer of the match.
    """

    kind: str
    layers: tuple[hntk.Activation, ...]
    tau0: float
    levels: int

    @property
    def alpha2(self) -> bool:
        """Whether α_2 is to be matched too."""
        return self.kind == "planted"

    @property
    def feasible(self) -> bool:
        """Whether a match exists."""
        return self.kind != "impossible"


@dataclass(frozen=True)
class Attempt:
    """The result of a solver on one problem.

    Attributes
    ----------
    miss : float
        Largest relative miss of the α to be matched; infinite if the solver gave up.
    seconds : float
        Time taken.
    shift : float
        δ/τ_L² of the match.
    refused : bool
        Whether the solver reported that no match exists.
    """

    miss: float
    seconds: float
    shift: float = float("nan")
    refused: bool = False


def random_problems(rng: np.random.Generator, count: int) -> list[MatchingProblem]:
    """Return problems of every kind in turn: of five, two planted, two named, one impossible; half have depth 3."""
    problems: list[MatchingProblem] = []
    while len(problems) < count:
        kind = ("planted", "named", "planted", "named", "impossible")[len(problems) % 5]
        depth = 3 if rng.random() < 0.5 else int(rng.integers(1, 7))
        levels = int(rng.integers(2, 9))
        tau0 = float(10 ** rng.uniform(-3, 3))
        problem = _random_problem(rng, kind, depth, levels, tau0)
        if problem is not None:
            problems.append(problem)
    return problems


def _random_problem(
    rng: np.random.Generator, kind: str, depth: int, levels: int, tau0: float
) -> MatchingProblem | None:
    """Return a problem, or None if the original is void at its scale or the impossible would be possible."""
    if kind == "planted":
        layers = _planted_layers(rng, depth, levels, tau0)
    else:
        layers = [hntk.activation(str(name)) for name in rng.choice(POOL, depth)]
    try:
        net = hntk.coefficients(layers, tau0)
    except ValueError:
        return None
    shares = net.alpha[-1, [0, 2]] * np.array([tau0**2, tau0**4]) / net.tau[-1] ** 2
    if np.max(shares) < VOID:
        return None
    if kind == "impossible" and shares[0] <= hntk.share_bound(levels) ** depth + 1e-3:
        return None
    return MatchingProblem(kind, tuple(layers), tau0, levels)


def _planted_layers(rng: np.random.Generator, depth: int, levels: int, scale: float) -> list[hntk.Activation]:
    """Return random staircases whose thresholds follow the scale of their inputs."""
    layers: list[hntk.Activation] = []
    for _ in range(depth):
        thresholds = scale * np.sort(rng.uniform(-1.8, 1.8, levels - 1))
        layer = hntk.staircase(thresholds, rng.uniform(-1, 1, levels), "planted")
        layers.append(layer)
        scale = float(np.sqrt(layer.moments(scale).variance))
    return layers


def timed(problem: MatchingProblem, solver: Callable[[MatchingProblem], Sequence[hntk.Activation] | None]) -> Attempt:
    """Solve a problem and judge the result; a solver gives up with None and refuses with ``MatchError``."""
    start = time.perf_counter()
    try:
        layers = solver(problem)
    except hntk.MatchError:
        return Attempt(float("inf"), time.perf_counter() - start, refused=True)
    seconds = time.perf_counter() - start
    if layers is None:
        return Attempt(float("inf"), seconds)
    miss, shift = _judge(problem, layers)
    return Attempt(miss, seconds, shift)


def _judge(problem: MatchingProblem, layers: Sequence[hntk.Activation]) -> tuple[float, float]:
    """Return the largest relative miss of the α to be matched, and δ/τ².

    Where the original's α is 0, the miss is the share of the match's α in its output.
    """
    try:
        wanted, reached = (hntk.coefficients(net, problem.tau0) for net in (problem.layers, layers))
    except ValueError:
        return float("inf"), float("nan")
    unit = np.array([problem.tau0**2, problem.tau0**4, problem.tau0**4]) / wanted.tau[-1] ** 2
    a, b = wanted.alpha[-1, :3] * unit, reached.alpha[-1, :3] * unit
    matched = [0, 1, 2] if problem.alpha2 else [0, 2]
    misses = np.where(a > 1e-13, np.abs(b / np.where(a > 0, a, 1.0) - 1), np.abs(b))
    return float(np.max(misses[matched])), float((reached.tau[-1] / wanted.tau[-1]) ** 2 - 1)
