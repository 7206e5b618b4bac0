r"""Layer-by-layer matching: every layer reaches the original's own moments.

Two networks with equal $(e_1^2, e_2^2, s_2^2)$ in every layer have equal $\alpha_{1..3}$ and $\beta_{1..3}$, hence
equal equivalent kernels up to a multiple of the identity. $s_2$ enters $\alpha_2$ of deeper layers only, and only
through their $e_2$, so it is asked for where a deeper layer has $e_2 \ne 0$. A compressed layer has its own scale
$\hat\tau_{l-1}$, so every layer is solved in units of τ.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal

from hntk.activations import Activation, Moments, Staircase
from hntk.activations.step_function import StepFunction
from hntk.matching.layer import optimal_layer
from hntk.matching.sigma_t import sigma_t
from hntk.matching.targets import NEGLIGIBLE, MatchError, Target
from hntk.matching.units import to_staircase
from hntk.theory.coefficients import Coefficients

Levels = int | Literal["paper"]
# numbers of levels that are tried for an advice, beyond those that failed
TRIED_FOR_ADVICE = 4


def solve_layerwise(
    layers: tuple[Activation, ...], original: Coefficients, levels: Sequence[Levels], *, alpha2: bool
) -> list[Staircase]:
    """Return one staircase per layer, each with the moments of the layer it replaces.

    Parameters
    ----------
    layers, original : tuple of Activation, Coefficients
        The original network and its coefficients.
    levels : sequence of int or "paper"
        N or ``"paper"`` for every layer.
    alpha2 : bool
        Whether s2 is matched where α_2 needs it.

    Raises
    ------
    MatchError
        If a layer cannot be matched; the message says what can.
    """
    asked = _with_s2(original.moments, levels, alpha2=alpha2)
    staircases, tau = [], float(original.tau[0])
    for depth, (moments, count, with_s2) in enumerate(zip(original.moments, levels, asked, strict=True), start=1):
        target = Target.of(moments, tau, with_s2=with_s2)
        function = _solve(target, count)
        if function is None:
            raise MatchError(_unreachable(target, count, f"layer {depth} ({layers[depth - 1].name})"))
        staircases.append(to_staircase(function, tau, 1.0, "sigma_T" if count == "paper" else f"staircase{count}"))
        tau = sqrt(function.variance)
    return staircases


def _with_s2(moments: tuple[Moments, ...], levels: Sequence[Levels], *, alpha2: bool) -> list[bool]:
    """Return which layers must match s2: those below a layer with e2 ≠ 0, and σ_T with e2 ≠ 0 by its definition."""
    has_e2 = [abs(m.unit_targets[1]) > NEGLIGIBLE * sqrt(m.variance) for m in moments]
    return [
        (alpha2 and any(has_e2[depth + 1 :])) or (count == "paper" and has_e2[depth])
        for depth, count in enumerate(levels)
    ]


def _solve(target: Target, count: Levels) -> StepFunction | None:
    """Return the function of least variance over both signs of s2, of which only the square reaches the kernel."""
    functions = []
    for signed in dict.fromkeys([target, target.flipped()]):
        canonical = signed.canonical()
        solution = sigma_t(canonical) if count == "paper" else optimal_layer(canonical, count)
        if solution is not None:
            functions.append(signed.restore(solution))
    return min(functions, key=lambda function: function.variance, default=None)


def _unreachable(target: Target, count: Levels, where: str) -> str:
    """Return the message on a layer that cannot be matched: what was asked for, and what to try."""
    asked = f"e1·τ = {target.e1:.4g}, e2·τ² = {target.e2:.4g}"
    asked += "" if target.s2 is None else f", s2·τ² = {target.s2:.4g}"
    tried = "the paper's two-level σ_T" if count == "paper" else f"{count} levels"
    start = 3 if count == "paper" else int(count) + 1
    enough = next((n for n in range(start, start + TRIED_FOR_ADVICE) if _solve(target, n) is not None), None)
    remedies = [] if enough is None else [f"levels={enough} reaches all of them"]
    if target.s2 is not None and count != "paper":
        remedies.append("alpha2=False does without s2 (immaterial where all samples have nearly the same norm)")
    remedies.append("method='joint' asks for the network's final coefficients only")
    return f"{where}: {tried} cannot reach {asked}. Try: {'; '.join(remedies)}."
