r"""Matching a whole network, layer by layer.

Two networks with equal $(e_1^2, e_2^2, s_2^2)$ in every layer have equal $\alpha_{1..3}$ and $\beta_{1..3}$, hence
equal equivalent kernels up to a multiple of the identity. $s_2$ enters $\alpha_2$ of deeper layers only, and only
through their $e_2$: it is asked for where a deeper layer bends. A compressed layer has its own scale
$\hat\tau_{l-1}$, so every layer is solved in units of τ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from hntk.activations import Activation, Moments, Staircase
from hntk.coefficients import Coefficients, as_activations, coefficients
from hntk.matching.optimal import optimal_staircase
from hntk.matching.sigma_t import sigma_t
from hntk.matching.targets import NEGLIGIBLE, TOLERANCE, MatchError, Target

Levels = int | Literal["paper"]
MOST_LEVELS = 16


@dataclass(frozen=True)
class Match:
    """A compressed network's activations, and how well they do.

    Attributes
    ----------
    original : the L activations to be replaced.
    activations : the L staircases.
    tau0 : data scale.
    residuals : (L, 3) relative misses of (e1, e2, s2) in each layer; nan for an equation that was not asked for.
    original_coefficients, coefficients : the theory's coefficients before and after.
    """

    original: tuple[Activation, ...]
    activations: tuple[Staircase, ...]
    tau0: float
    residuals: Float[np.ndarray, "L 3"]
    original_coefficients: Coefficients
    coefficients: Coefficients

    @property
    def identity_shift(self) -> float:
        """δ = τ̂_L² − τ_L²: the ridge that compression adds to the conjugate kernel."""
        return float(self.coefficients.tau[-1] ** 2 - self.original_coefficients.tau[-1] ** 2)

    @property
    def relative_shift(self) -> float:
        """δ/τ_L²."""
        return self.identity_shift / float(self.original_coefficients.tau[-1] ** 2)

    @property
    def converged(self) -> bool:
        """Whether every equation asked for holds to 1e-9."""
        return bool(np.nanmax(self.residuals) <= TOLERANCE)


def match(
    activations: Sequence[str | Activation],
    tau0: float,
    levels: Levels | Sequence[Levels] = 4,
    *,
    match_s2: bool | None = None,
) -> Match:
    """Staircases with the original's kernel coefficients, of least variance in every layer.

    Parameters
    ----------
    activations : the original network's, one per layer.
    tau0 : data scale: the root mean square norm of a sample. The match is free of scale.
    levels : number of levels, one for all layers or one per layer; ``"paper"`` for the paper's σ_T.
    match_s2 : whether to match s2: in every layer (True), in none (False: α_2 is then not matched, which is
        immaterial where all samples have nearly the same norm), or where theory needs it (None).

    Raises
    ------
    MatchError
        If a layer's target cannot be reached with that many levels: the message says what would do.
    ValueError
        For activations, a scale or numbers of levels that make no sense.

    Examples
    --------
    >>> import hntk
    >>> found = hntk.match(["relu"] * 3, tau0=1.0, levels=4)
    >>> found.converged, round(found.relative_shift, 3)
    (True, 0.354)
    """
    layers = as_activations(activations)
    counts = _levels_per_layer(levels, len(layers))
    original = coefficients(layers, tau0)
    asked = _equations(original.moments, match_s2, counts)
    staircases, residuals, tau = [], [], original.tau[0]
    for depth, (moments, count, with_s2) in enumerate(zip(original.moments, counts, asked, strict=True), start=1):
        target = Target.of(moments, tau, with_s2=with_s2)
        found = _match_layer(target, count, tau, f"layer {depth} ({layers[depth - 1].name})")
        reached = found.moments(tau)
        residuals.append(target.residuals(reached))
        staircases.append(found)
        tau = sqrt(reached.variance)
    matched = Match(
        layers, tuple(staircases), float(tau0), np.array(residuals), original, coefficients(staircases, tau0)
    )
    if not matched.converged:
        raise MatchError(
            f"the match lost precision: relative residuals per layer (e1, e2, s2) are {matched.residuals.tolist()}. "
            "This is a defect of the solver for these activations; please report it with this message."
        )
    return matched


def _levels_per_layer(levels: Levels | Sequence[Levels], depth: int) -> tuple[Levels, ...]:
    given: tuple[Any, ...] = (
        tuple(levels) if isinstance(levels, Sequence) and not isinstance(levels, str) else (levels,) * depth
    )
    if len(given) != depth:
        raise ValueError(f"levels has {len(given)} entries for {depth} layers: give one number, or one per layer.")
    for count in given:
        if count != "paper" and (
            isinstance(count, bool) or not isinstance(count, int | np.integer) or not 2 <= count <= MOST_LEVELS
        ):
            raise ValueError(f"levels must be whole numbers from 2 to {MOST_LEVELS}, or 'paper'; got {count!r}.")
    return tuple(c if c == "paper" else int(c) for c in given)


def _equations(moments: tuple[Moments, ...], match_s2: bool | None, counts: tuple[Levels, ...]) -> list[bool]:
    """Which layers must match s2: those below a layer with e2 ≠ 0; σ_T is defined by all three equations."""
    if match_s2 is not None:
        return [match_s2] * len(moments)
    bends = [abs(m.unit_targets[1]) > NEGLIGIBLE * sqrt(m.variance) for m in moments]
    return [any(bends[depth + 1 :]) or (count == "paper" and bends[depth]) for depth, count in enumerate(counts)]


def _match_layer(target: Target, count: Levels, tau: float, where: str) -> Staircase:
    """Solve one layer at the compressed network's scale.

    Raises
    ------
    MatchError
        If the target is out of reach.
    """
    unit = _solve(target, count)
    if unit is None:
        raise MatchError(_unreachable(target, count, where))
    name = "sigma_T" if count == "paper" else f"staircase{count}"
    return unit.at(tau, target, name)


def _solve(target: Target, count: Levels):
    for candidate in dict.fromkeys([target.canonical(), target.flipped().canonical()]):
        found = sigma_t(candidate) if count == "paper" else optimal_staircase(candidate, count)
        if found is not None:
            return found
    return None


def _unreachable(target: Target, count: Levels, where: str) -> str:
    """What was asked, what can be had, and what to try."""
    asked = f"e1·τ = {target.e1:.4g}, e2·τ² = {target.e2:.4g}"
    asked += "" if target.s2 is None else f", s2·τ² = {target.s2:.4g}"
    what = "the paper's two-level σ_T" if count == "paper" else f"{count} levels with {count - 1} thresholds"
    start = 3 if count == "paper" else int(count) + 1
    enough = next((n for n in range(start, start + 4) if _solve(target, n) is not None), None)
    remedies = [] if enough is None else [f"levels={enough} reaches all of them"]
    if target.s2 is not None and _solve(Target(target.e1, target.e2, None), count) is not None:
        remedies.append(
            "match_s2=False reaches e1 and e2 with this number (α_2 is then not matched, which is immaterial where "
            "all samples have nearly the same norm)"
        )
    advice = "; ".join(remedies) if remedies else "try more levels, or another original activation"
    return f"{where}: {what} cannot reach {asked}. Try: {advice}."
