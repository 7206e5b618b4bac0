r"""Matching a network: activations of a few levels with the original's kernel coefficients."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from jax import Array

from hntk._utils.arguments import as_nonnegative
from hntk._utils.arrays import brief
from hntk._utils.copies import Copyable
from hntk._utils.rows import as_samples
from hntk.activations import Activation, Staircase
from hntk.matching.bit_budget import spread_bits
from hntk.matching.bounds import Certificate, layer_bounds, ratio_bound
from hntk.matching.data_objective import Sample, distance, refine
from hntk.matching.joint import JointTarget, Tell, quiet, solve_joint
from hntk.matching.kernel_mismatch import correlation_map
from hntk.matching.layerwise import Levels, solve_layerwise
from hntk.matching.step_functions import UnitStaircase
from hntk.matching.targets import TOLERANCE, MatchError
from hntk.matching.variance_shares import NAMES, Shares
from hntk.networks.provenance import MatchRecord
from hntk.theory.coefficients import Coefficients, as_activations, coefficients

Method = Literal["joint", "layerwise"]
Kernel = Literal["alpha", "beta", "both"]
Objective = Literal["theory", "data"]
MOST_LEVELS = 16
MOST_BITS = 4
# the data objective: size of its sample, steps, and where it starts: the original's quadratic shares times these
SAMPLE_SIZE = 1200
DATA_STEPS = 80
CURVATURES = (0.7, 1.0, 1.5, 2.2)
NORMS = (
    "α_2 (β_2) is not matched: it weighs products of deviations of norms, t and ‖x_i‖² − τ_0², so the match assumes "
    "that class traces agree and norms concentrate on this data"
)


@dataclass(frozen=True)
class DataFit:
    """What the data objective reached.

    Attributes
    ----------
    samples : number of samples the kernels were compared on.
    theory, data : distance of theory's match and of this one from the original's kernel on them, in [0, 1]: the share
        of what the original's leading functions vary that a regression with the compressed kernel does not predict.
    """

    samples: int
    theory: float
    data: float


@dataclass(frozen=True)
class Match(Copyable):
    """A compressed network's activations, and how well they do.

    Attributes
    ----------
    original : the L activations to be replaced.
    activations : the L staircases.
    tau0 : data scale.
    method : ``"joint"`` or ``"layerwise"``.
    asked : names of the coefficients that were matched.
    original_coefficients, coefficients : the theory's coefficients before and after.
    fit : what the data objective reached; None for theory's. The coefficients were its start and are not matched.
    """

    original: tuple[Activation, ...]
    activations: tuple[Staircase, ...]
    tau0: float
    method: str
    asked: tuple[str, ...]
    original_coefficients: Coefficients
    coefficients: Coefficients
    fit: DataFit | None = None

    @property
    def objective(self) -> Objective:
        """What was minimised."""
        return "theory" if self.fit is None else "data"

    @property
    def residuals(self) -> dict[str, float]:
        """Relative miss of every coefficient asked for; where the original's is 0, the share that should not be."""
        misses = {}
        for name in self.asked:
            wanted, reached = self._shares(name)
            misses[name] = float(abs(reached / wanted - 1) if wanted > TINY_SHARE else abs(reached))
        return misses

    def _shares(self, name: str) -> tuple[float, float]:
        """A coefficient of both networks in units of the original's τ_L² and powers of τ_0."""
        before, after = self.original_coefficients, self.coefficients
        column = int(name[-1]) - 1
        unit = self.tau0 ** (2 if column == 0 else 4) / before.tau[-1] ** 2
        table = "alpha" if name.startswith("alpha") else "beta"
        return getattr(before, table)[-1, column] * unit, getattr(after, table)[-1, column] * unit

    @property
    def converged(self) -> bool:
        """Whether every coefficient asked for is reached to 1e-9."""
        return bool(max(self.residuals.values()) <= TOLERANCE)

    @property
    def identity_shift(self) -> float:
        """δ = τ̂_L² − τ_L²: the ridge that compression adds to the conjugate kernel."""
        return float(self.coefficients.tau[-1] ** 2 - self.original_coefficients.tau[-1] ** 2)

    @property
    def relative_shift(self) -> float:
        """δ/τ_L²."""
        return self.identity_shift / float(self.original_coefficients.tau[-1] ** 2)

    @property
    def record(self) -> MatchRecord:
        """What files keep of it."""
        return MatchRecord(
            tuple(a.name for a in self.original),
            self.tau0,
            self.method,
            self.objective,
            self.residuals,
            self.identity_shift,
            self.relative_shift,
        )

    @property
    def level_counts(self) -> tuple[int, ...]:
        """Different values of each activation."""
        return tuple(a.level_count for a in self.activations)

    def ridge_for(self, ridge: float) -> float:
        r"""The compressed network's ridge $\lambda - \delta$ that makes its kernel regression the original's with λ.

        Both are ridges of the conjugate kernel itself: $(K + \lambda I)^{-1}$ and $(\hat K + (\lambda - \delta)
        I)^{-1}$, with $\hat K = K + \delta I$.

        Parameters
        ----------
        ridge : λ ≥ 0 of the original.

        Raises
        ------
        ValueError
            If the match follows the data, so that the kernels differ by more than δI; or if λ < δ: the compressed
            kernel already has a larger ridge built in.

        Examples
        --------
        >>> import hntk
        >>> found = hntk.match(["relu"], tau0=1.0, levels=4)
        >>> round(found.ridge_for(0.1) + found.identity_shift, 12)
        0.1
        """
        if self.fit is not None:
            raise ValueError(
                "a match made with objective='data' has another kernel than the original, not one shifted by δ: choose "
                "its ridge on validation data, as fit_ridge does, or use objective='theory'."
            )
        ridge = as_nonnegative(ridge, "ridge")
        # a lossless match has δ = 0 up to rounding, of either sign
        rounding = 1e-12 * float(self.original_coefficients.tau[-1] ** 2)
        shift = 0.0 if abs(self.identity_shift) < rounding else self.identity_shift
        if shift > ridge:
            raise ValueError(
                f"the compressed kernel has the identity shift δ = {shift:.4g} built in, more than the ridge "
                f"{ridge:.4g}: no ridge makes it the original's. Use a ridge of at least δ, or more levels: with "
                "enough of them δ = 0."
            )
        return float(ridge - shift)

    @cached_property
    def certificate(self) -> Certificate:
        """How far from the best possible this match is; computed when first asked for (seconds).

        Of a match that follows the data: how far its τ̂_L² is from the least of a match of the coefficients.
        """
        shares = Shares.of(self.original_coefficients.moments).layers
        target = JointTarget(shares, self.asked)
        return Certificate(
            1 + self.relative_shift,
            ratio_bound(target, self.level_counts),
            layer_bounds(_units(self.activations, self.coefficients.tau)),
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold of the data beyond the theory's own regime."""
        return () if any(name.endswith("2") for name in self.asked) else (NORMS,)

    def report(self) -> str:
        """A few lines for people."""
        counts = "-".join(map(str, self.level_counts))
        lines = [
            f"{self.method} match of {', '.join(self.asked)} with {counts} levels at tau0 = {self.tau0:.4g}",
            f"largest relative residual {max(self.residuals.values()):.1e}; identity shift δ = "
            f"{self.identity_shift:.4g}, {self.relative_shift:.2%} of τ_L²"
            + (" (lossless)" if abs(self.relative_shift) < TOLERANCE else ""),
        ]
        if self.fit is not None:
            lines[1:] = [
                f"follows {self.fit.samples} samples: distance from the original's kernel {self.fit.data:.4f}, "
                f"theory's match {self.fit.theory:.4f}; coefficients were its start only (largest residual "
                f"{max(self.residuals.values()):.2g})"
            ]
            return "\n".join(lines)
        return "\n".join([*lines, *(f"assumes: {text}" for text in self.assumptions)])


TINY_SHARE = 1e-13


def match(
    activations: Sequence[str | Activation],
    tau0: float,
    levels: Levels | Sequence[Levels] | None = None,
    *,
    bits: int | None = None,
    kernel: Kernel = "alpha",
    alpha2: bool = True,
    method: Method | None = None,
    max_shift: float | None = None,
    objective: Objective = "theory",
    x: object = None,
    progress: Callable[[str], None] | None = None,
) -> Match:
    """Staircases with which a network has the original's kernel coefficients, at the least identity shift.

    Parameters
    ----------
    activations : the original network's, one per layer.
    tau0 : data scale: the root mean square norm of a sample.
    levels : number of levels, one for all layers or one per layer (default 4); ``"paper"`` for the paper's σ_T.
    bits : in place of levels, a total of bits to spread over the layers, an activation of N levels taking ⌈log2 N⌉.
    kernel : which coefficients: ``"alpha"`` (conjugate kernel), ``"beta"`` (NTK), or ``"both"``.
    alpha2 : whether α_2 (β_2) is matched too. Without it δ is smaller, and the match assumes that norms concentrate
        and that class traces agree.
    method : ``"joint"`` (all layers at once, the default), or ``"layerwise"`` (each layer reaches its original's own
        moments; the default for σ_T, whose definition it is).
    max_shift : the largest δ/τ_L² to accept; 0 asks for a lossless match.
    objective : ``"theory"``, or ``"data"``: from theory's match and its neighbours on, thresholds and levels are moved
        to where the compressed network's exact kernel predicts on ``x`` as the original's can. For data outside the
        theory's regime. With 4 levels and 1200 samples it takes about 10 s on 2 cores, twice that where all 80 steps
        are taken.
    x : (n, p) samples for it, without labels; at most 1200 of them are used.
    progress : called with a line that says how far the match has come, again and again.

    Raises
    ------
    MatchError
        If the target cannot be reached with that many levels: the message says what would do.
    ValueError
        For activations, a scale or numbers of levels that make no sense.

    Examples
    --------
    >>> import hntk
    >>> found = hntk.match(["relu"] * 3, tau0=1.0, levels=5)
    >>> found.converged, round(abs(found.relative_shift), 12)
    (True, 0.0)
    >>> round(hntk.match(["relu"] * 3, tau0=1.0, levels=3).relative_shift, 3)
    0.429
    """
    max_shift = None if max_shift is None else as_nonnegative(max_shift, "max_shift")
    layers = as_activations(activations)
    original = coefficients(layers, tau0)
    asked = _asked(kernel, alpha2=alpha2)
    target = JointTarget(
        Shares.of(original.moments).layers, asked, lambda: correlation_map(layers, original.tau[:-1].tolist())
    )
    _check_target(target, original)
    counts = _levels_per_layer(levels, len(layers)) if bits is None else _from_bits(target, levels, bits)
    method = _method(method, counts)
    samples = _samples(objective, x, method, max_shift)
    tell = quiet if progress is None else progress
    if method == "layerwise":
        staircases = solve_layerwise(layers, original, counts, alpha2=alpha2)
        names = NAMES if alpha2 else tuple(n for n in NAMES if not n.endswith("2"))
        found = Match(layers, tuple(staircases), float(tau0), method, names, original, coefficients(staircases, tau0))
    else:
        whole = tuple(int(n) for n in counts)
        _check_bound(target, whole, max_shift)
        functions = _solve(layers, original, target, whole, tell)
        if functions is None:
            tell("not reachable: looking for the number of levels that is")
            raise MatchError(_unreachable(layers, original, target, whole))
        staircases = _at_scales(functions, target, original)
        found = Match(layers, tuple(staircases), float(tau0), method, asked, original, coefficients(staircases, tau0))
    _check_match(found, max_shift)
    return found if samples is None else _follow(samples, found, target, layers, tell)


def _samples(objective: Objective, x: object, method: Method, max_shift: float | None) -> Array | None:
    """The samples of the data objective; None for theory's."""
    if not isinstance(objective, str) or objective not in get_args(Objective):
        raise ValueError(f"objective must be one of {', '.join(get_args(Objective))}, got {brief(objective)}.")
    if objective == "theory":
        return None
    if x is None:
        raise ValueError("objective='data' needs x=, the samples to compare kernels on (labels are not used).")
    if method != "joint" or max_shift is not None:
        raise ValueError(
            "objective='data' starts from a joint match and does not hold coefficients: leave out method= and "
            "max_shift=."
        )
    return as_samples(x)


def _follow(x: Array, found: Match, target: JointTarget, layers: tuple[Activation, ...], tell: Tell) -> Match:
    """The data objective, from theory's match and from matches of more and less curvature."""
    original = found.original_coefficients
    tell("following the data: the original's kernel on a sample")
    sample = Sample.of(np.asarray(x), layers, found.tau0, SAMPLE_SIZE)
    starts = [_units(found.activations, found.coefficients.tau)]
    for factor in CURVATURES:
        shares = target.shares * np.array([1.0, factor, 1.0])
        functions = solve_joint(JointTarget(shares, target.asked, hold=False), found.level_counts)
        starts += [] if functions is None else [functions]
    distances = []
    for number, functions in enumerate(starts, 1):
        tell(f"following the data: start {number} of {len(starts)}")
        distances.append(distance(sample, functions)[0])
    reached, functions = refine(sample, starts[int(np.argmin(distances))], DATA_STEPS, tell)
    fit = DataFit(len(sample.gram), distances[0], reached)
    staircases = _at_scales(functions, target, original)
    return replace(found, activations=tuple(staircases), coefficients=coefficients(staircases, found.tau0), fit=fit)


def _asked(kernel: Kernel, *, alpha2: bool) -> tuple[str, ...]:
    if not isinstance(kernel, str) or kernel not in get_args(Kernel):
        raise ValueError(f"kernel must be one of {', '.join(get_args(Kernel))}, got {brief(kernel)}.")
    names = NAMES if kernel == "both" else tuple(name for name in NAMES if name.startswith(kernel))
    return names if alpha2 else tuple(name for name in names if not name.endswith("2"))


def _method(method: Method | None, counts: Sequence[Levels]) -> Method:
    paper = "paper" in counts
    chosen = ("layerwise" if paper else "joint") if method is None else method
    if not isinstance(chosen, str) or chosen not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {brief(method)}.")
    if paper and chosen == "joint":
        raise ValueError("the paper's σ_T is defined layer by layer: use method='layerwise', or a number of levels.")
    return chosen


def _levels_per_layer(levels: Levels | Sequence[Levels] | None, depth: int) -> tuple[Levels, ...]:
    levels = 4 if levels is None else levels.tolist() if isinstance(levels, np.ndarray) else levels
    given: tuple[Any, ...] = (
        tuple(levels) if isinstance(levels, Sequence) and not isinstance(levels, str) else (levels,) * depth
    )
    if len(given) != depth:
        raise ValueError(f"levels has {len(given)} entries for {depth} layers: give one number, or one per layer.")
    for count in given:
        if not (isinstance(count, str) and count == "paper") and (
            isinstance(count, bool) or not isinstance(count, int | np.integer) or not 2 <= count <= MOST_LEVELS
        ):
            raise ValueError(f"levels must be whole numbers from 2 to {MOST_LEVELS}, or 'paper'; got {brief(count)}.")
    return tuple(c if c == "paper" else int(c) for c in given)


def _from_bits(target: JointTarget, levels: object, bits: int) -> tuple[int, ...]:
    depth = len(target.shares)
    if levels is not None:
        raise ValueError("give either levels or bits, not both.")
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not depth <= bits <= MOST_BITS * depth:
        raise ValueError(
            f"bits must be a whole number from {depth} (one for each of the {depth} layers) to {MOST_BITS * depth}, "
            f"got {brief(bits)}."
        )
    return spread_bits(target, int(bits), MOST_BITS)


def _check_target(target: JointTarget, original: Coefficients) -> None:
    """Something must be left to match."""
    if target.nonzero:
        return
    others = [name for name in NAMES if target.final[name] > TINY_SHARE]
    what = f" It has {', '.join(others)}, which were not asked for: change kernel= or alpha2=." if others else ""
    scales = ", ".join(f"{t:.3g}" for t in original.tau[:-1])
    raise MatchError(
        f"at this scale (layer inputs {scales}) the network's equivalent kernel has no {', '.join(target.asked)}: it "
        f"is a multiple of the identity in them.{what} Otherwise rescale the data, or change the activations."
    )


def _check_bound(target: JointTarget, counts: tuple[int, ...], max_shift: float | None) -> None:
    """Say beforehand what no search could find."""
    if max_shift is None:
        return
    bound = ratio_bound(target, counts)
    if bound <= 1 + max_shift:
        return
    more = range(2, MOST_LEVELS + 1)
    # the bound falls with every level: bisect
    first = bisect_left(more, True, key=lambda n: ratio_bound(target, [n] * len(counts)) <= 1 + max_shift)
    enough = more[first] if first < len(more) else None
    advice = f"the bound allows it from levels={enough} on" if enough else f"not even {MOST_LEVELS} levels are enough"
    raise MatchError(
        f"no network with {'-'.join(map(str, counts))} levels has these coefficients and δ/τ_L² ≤ {max_shift:.4g}: the "
        f"Hermite shares of functions of so few levels bound it from below by {bound - 1:.4g}; {advice}. Or "
        "allow a larger max_shift."
    )


def _check_match(found: Match, max_shift: float | None) -> None:
    if not found.converged:
        raise MatchError(
            f"the match lost precision: relative residuals are {found.residuals}. The original's coefficients are too "
            "small to be matched in float64 at this scale, or this is a defect of the solver: try another tau0."
        )
    if max_shift is not None and found.relative_shift > max_shift + TOLERANCE:
        raise MatchError(
            f"δ/τ_L² = {found.relative_shift:.4g} is the least that was found, above max_shift = {max_shift:.4g}, "
            "though the bound does not exclude it: use more levels, or alpha2=False."
        )


def _solve(
    layers: tuple[Activation, ...],
    original: Coefficients,
    target: JointTarget,
    counts: tuple[int, ...],
    tell: Tell = quiet,
) -> list[UnitStaircase] | None:
    """The joint problem, with the layer-by-layer solution to fall back on."""

    def layerwise() -> list[UnitStaircase] | None:
        try:
            alpha2 = any(name.endswith("2") for name in target.asked)
            staircases = solve_layerwise(layers, original, counts, alpha2=alpha2)
        except MatchError:
            return None
        return _units(staircases, coefficients(staircases, float(original.tau[0])).tau)

    return solve_joint(target, counts, layerwise, tell)


def _units(staircases: Sequence[Staircase], tau: np.ndarray) -> list[UnitStaircase]:
    """Staircases in units of their input's and output's scales, τ_0 … τ_L."""
    return [
        UnitStaircase(np.array(a.thresholds) / before, np.array(a.levels) / after)
        for a, before, after in zip(staircases, tau[:-1], tau[1:], strict=True)
    ]


def _unreachable(
    layers: tuple[Activation, ...], original: Coefficients, target: JointTarget, counts: tuple[int, ...]
) -> str:
    """What was asked, and the smallest number of levels that would do."""
    names = ", ".join(target.nonzero)
    start = max(counts) + 1
    more = range(start, min(start + 5, MOST_LEVELS + 1))
    enough = next((n for n in more if _solve(layers, original, target, (n,) * len(counts)) is not None), None)
    remedies = [f"levels={enough}"] if enough else []
    if any(name.endswith("2") for name in target.nonzero[1:]):
        remedies.append("alpha2=False (which assumes that norms concentrate)")
    advice = " or ".join(remedies) if remedies else "more levels, or another original activation"
    return (
        f"no activations of {'-'.join(map(str, counts))} levels with the original's {names} were found. Try {advice}."
    )


def _at_scales(functions: list[UnitStaircase], target: JointTarget, original: Coefficients) -> list[Staircase]:
    """Hidden layers take the original's scales; the last one the amplitude at which the coefficients are equal."""
    shares = Shares(np.array([f.shares for f in functions])).final()
    name = target.nonzero[0]
    scales = original.tau.copy()
    scales[-1] *= np.sqrt(target.final[name] / shares[name])
    return [
        f.at(float(before), float(after), f"staircase{len(set(f.levels.tolist()))}")
        for f, before, after in zip(functions, scales[:-1], scales[1:], strict=True)
    ]
