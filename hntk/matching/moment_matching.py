"""Matching a network: activations of a few levels that give the original's kernel coefficients."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jax import Array

from hntk._utils.arguments import as_count, as_nonnegative
from hntk.activations import SurrogateLike
from hntk.activations.step_function import StepFunction
from hntk.matching.bounds import ratio_bound
from hntk.matching.data_objective import FEWEST_SAMPLES, Sample, held_out_error, refine
from hntk.matching.joint import solve_joint
from hntk.matching.joint_target import ZERO, JointTarget
from hntk.matching.layerwise import Levels, solve_layerwise
from hntk.matching.options import (
    MOST_LEVELS,
    Kernel,
    Method,
    as_depth,
    as_method,
    asked_coefficients,
    drawn_widths,
    levels_from_bits,
    levels_per_layer,
    samples_of,
)
from hntk.matching.original_target import OriginalNetwork
from hntk.matching.progress import ProgressCallback, no_progress
from hntk.matching.result import DataFit, Match, Objective
from hntk.matching.straight_through import with_surrogates
from hntk.matching.targets import TOLERANCE, MatchError
from hntk.matching.units import at_scales, to_units
from hntk.matching.variance_shares import NAMES
from hntk.matching.width_noise import DrawnWidths
from hntk.theory.architecture import ArchitectureLike, as_architecture
from hntk.theory.centred_layers import centred_coefficients
from hntk.theory.coefficients import coefficients
from hntk.weights.laws import WeightLaw

# starts of the data objective: matches of networks with the original's quadratic shares times these
CURVATURES = (0.7, 1.0, 1.5, 2.2)
# numbers of levels that are tried for an advice, beyond those that failed
TRIED_FOR_ADVICE = 5


def match(
    activations: ArchitectureLike,
    tau0: float,
    levels: Levels | Sequence[Levels] | None = None,
    *,
    bits: int | None = None,
    depth: int | None = None,
    kernel: Kernel = "alpha",
    alpha2: bool = True,
    method: Method | None = None,
    max_shift: float | None = None,
    objective: Objective = "theory",
    x: object = None,
    labels: object = None,
    widths: int | Sequence[int] | None = None,
    law: str | WeightLaw | None = None,
    samples: int = 1200,
    steps: int = 80,
    surrogate: SurrogateLike | None = None,
    progress: Callable[[str], None] | None = None,
) -> Match:
    """Find staircases with which a network has the original's kernel coefficients, at the least identity shift.

    Two networks with equal α_1, α_2, α_3 have conjugate kernels that differ, at large n and p, by δI alone (Theorem 1
    of Gu et al., 2022; docs/theory.md, "Matching"). Here δ = τ̂_L² − τ_L² is the identity shift.

    A network with biases, other weights, branches or normalisation, or one that is not centred, is matched as a
    regression with an intercept sees it: its a, e, d and q − c (:func:`hntk.expansions`) take the places of α_1, α_2,
    α_3 and τ_L². The compressed network is centred, with unit weights and without biases in any case.

    Parameters
    ----------
    activations : sequence of str or Activation, or Architecture
        The original network; a list of one activation per layer is centred, with unit weights and without biases.
    tau0 : float
        Data scale: the root mean square norm of a sample.
    levels : int, "paper", or sequence of these
        Number of levels from 2 to 16, one for all layers or one per layer (default 4); ``"paper"`` for the paper's σ_T.
    bits : int, optional
        In place of levels: a total of bits to spread over the layers. An activation of N levels takes ⌈log2 N⌉.
    depth : int, optional
        Number of layers of the compressed network, at most 100; by default the original's.
    kernel : {"alpha", "beta", "both"}
        Which coefficients are matched: those of the conjugate kernel, of the NTK, or both. A centred network has β_1 =
        (L + 1) α_1; for an original where that is not so, both are matched up to a factor of the NTK,
        :attr:`Match.ntk_factor`.
    alpha2 : bool
        Whether α_2 (β_2) is matched too. Without it δ is smaller, and the match assumes that norms concentrate and
        that class traces agree. An original that normalises its inputs has α_2 = 0, which is expensive to match: scale
        samples to unit norm and leave it out.
    method : {"joint", "layerwise"}, optional
        All layers at once (the default), or each layer with its original's own moments (the default for σ_T, whose
        definition it is). Layer by layer, the kernels of all layers are matched and not the last one's alone.
    max_shift : float, optional
        The largest δ/τ_L² to accept; 0 asks for a lossless match.
    objective : {"theory", "data"}
        With ``"data"``, thresholds and levels then move from the theory's match, or one near it, to where regression
        with the compressed network's exact kernel has the least error on held-out samples of ``x``. This is for data
        outside the theory's regime. With 4 levels and 1200 samples it takes 10 to 20 s on 2 cores.
    x : array_like, shape (n, p), optional
        Samples for the data objective.
    labels : array_like, shape (n,), optional
        Their classes, which the regression of the data objective then predicts. Without labels it predicts what the
        original's kernel can learn, which says less of the task.
    widths : int or sequence of int, optional
        Widths of the network that is to be drawn, for the data objective. Its error then includes what the noise of
        drawn features adds at these widths. By default they are infinite and there is none.
    law : str or WeightLaw, optional
        Law of the weights that are to be drawn with these ``widths``, by default Gaussian: orthogonal rows have less
        noise.
    samples : int
        Most samples of ``x`` that the data objective uses; time grows with the cube.
    steps : int
        Most steps of the data objective.
    surrogate : str, Activation or Surrogate, optional
        What training with a straight-through estimator has in the place of the staircases' derivatives. The NTK of the
        compressed network is then that of this training, whose κ² is finite: see ``Match.surrogates`` and
        :attr:`Match.ntk_shift`. ``"calibrated"`` surrogates keep the β that was matched
        (:func:`hntk.calibrated_surrogates`). Of a shape such as ``"clipped"`` only the height is chosen; it usually
        changes β_3, and is refused where β was asked for.
    progress : callable, optional
        Called again and again with a line that says how far the match has come.

    Returns
    -------
    Match
        The staircases, with residuals, identity shift and certificate.

    Raises
    ------
    MatchError
        If the target cannot be reached with so many levels, or with this surrogate; the message says what can.
    ValueError
        If the network, the scale or an option make no sense.

    Examples
    --------
    >>> import hntk
    >>> lossless = hntk.match(["relu"] * 3, tau0=1.0, levels=5)
    >>> lossless.converged, round(abs(lossless.relative_shift), 12)
    (True, 0.0)
    >>> round(hntk.match(["relu"] * 3, tau0=1.0, levels=3).relative_shift, 3)
    0.429

    A network that trains like the original by small steps, but for the ridge that its NTK lacks:

    >>> trained = hntk.match(["relu"] * 3, tau0=1.0, levels=4, kernel="beta", surrogate="calibrated")
    >>> trained.converged, round(trained.ntk_shift, 3)
    (True, -0.138)
    """
    max_shift = None if max_shift is None else as_nonnegative(max_shift, "max_shift")
    network = as_architecture(activations)
    depth, known = as_depth(depth, network.depth), centred_coefficients(network, tau0)
    original = OriginalNetwork(network, known, asked_coefficients(kernel, alpha2=alpha2), depth)
    _check_target(original)
    counts = levels_per_layer(levels, depth) if bits is None else levels_from_bits(original.target, levels, bits)
    method = as_method(method, counts, original, kernel)
    drawn = drawn_widths(objective, widths, law, depth)
    data = samples_of(objective, x, labels, method, max_shift)
    limits = as_count(samples, "samples", FEWEST_SAMPLES), as_count(steps, "steps", 1)
    report = no_progress if progress is None else progress
    if method == "layerwise":
        result = _match_layerwise(original, counts, alpha2=alpha2)
    else:
        result = _match_jointly(original, tuple(int(n) for n in counts), max_shift, report)
    _check_match(result, max_shift)
    if data is not None:
        result = _follow_data((*data, drawn), result, original, limits, report)
    return result if surrogate is None else with_surrogates(result, surrogate)


def _match_layerwise(original: OriginalNetwork, counts: Sequence[Levels], *, alpha2: bool) -> Match:
    known = original.coefficients
    staircases = solve_layerwise(original.architecture.layers, known, counts, alpha2=alpha2)
    # only in plain networks does every coefficient follow from the layers' own moments
    names = NAMES if original.is_like_compressed else NAMES[:3]
    names = names if alpha2 else tuple(n for n in names if not n.endswith("2"))
    tau0 = float(known.tau[0])
    return Match(
        original.architecture, tuple(staircases), tau0, "layerwise", names, known, coefficients(staircases, tau0)
    )


def _match_jointly(
    original: OriginalNetwork, counts: tuple[int, ...], max_shift: float | None, progress: ProgressCallback
) -> Match:
    target = original.target
    if max_shift is not None:
        _check_bound(target, counts, max_shift)
    functions = _solve(original, counts, progress)
    if functions is None:
        progress("not reachable: looking for the number of levels that is")
        raise MatchError(_unreachable(original, counts))
    staircases = tuple(at_scales(functions, target, original.scales))
    known, tau0 = original.coefficients, float(original.coefficients.tau[0])
    return Match(original.architecture, staircases, tau0, "joint", target.asked, known, coefficients(staircases, tau0))


def _follow_data(
    data: tuple[Array, np.ndarray | None, DrawnWidths | None],
    theory: Match,
    original: OriginalNetwork,
    limits: tuple[int, int],
    progress: ProgressCallback,
) -> Match:
    """Minimise the data objective from the theory's match, or from a match of more or less curvature if nearer."""
    (x, classes, drawn), (samples, steps), target = data, limits, original.target
    progress("following the data: kernels on a sample")
    sample = Sample.of(np.asarray(x), theory.architecture, theory.tau0, samples, drawn, classes)
    starts = [to_units(theory.activations, theory.coefficients.tau)]
    for factor in CURVATURES:
        shares = target.shares * np.array([1.0, factor, 1.0])
        functions = solve_joint(JointTarget(shares, target.asked, hold=False), theory.level_counts)
        starts += [] if functions is None else [functions]
    errors = []
    for number, functions in enumerate(starts, 1):
        progress(f"following the data: start {number} of {len(starts)}")
        errors.append(held_out_error(sample, functions)[0])
    reached, functions = refine(sample, starts[int(np.argmin(errors))], steps, progress)
    fit = DataFit(len(sample.gram), errors[0], reached, drawn, classes is not None)
    staircases = tuple(at_scales(functions, target, original.scales))
    return replace(theory, activations=staircases, coefficients=coefficients(staircases, theory.tau0), fit=fit)


def _solve(
    original: OriginalNetwork, counts: tuple[int, ...], progress: ProgressCallback = no_progress
) -> list[StepFunction] | None:
    """Solve the joint problem, with the layer-by-layer solution as the last start."""

    def layerwise() -> list[StepFunction] | None:
        if original.layer_shares is None:
            return None
        known = original.coefficients
        try:
            alpha2 = any(name.endswith("2") for name in original.asked)
            staircases = solve_layerwise(original.architecture.layers, known, counts, alpha2=alpha2)
        except MatchError:
            return None
        return to_units(staircases, coefficients(staircases, float(known.tau[0])).tau)

    return solve_joint(original.target, counts, layerwise, progress)


def _check_target(original: OriginalNetwork) -> None:
    """Refuse a target all of whose coefficients are 0, or that no network has."""
    target = original.target
    if target.nonzero:
        return
    others = [name for name in NAMES if original.final[name] > ZERO]
    hint = f" It has {', '.join(others)}, which were not asked for: change kernel= or alpha2=." if others else ""
    scales = ", ".join(f"{t:.3g}" for t in original.coefficients.tau[:-1])
    raise MatchError(
        f"at this scale (layer inputs {scales}) the network's equivalent kernel has no {', '.join(target.asked)}: it "
        f"is a multiple of the identity in them.{hint} Otherwise rescale the data, or change the activations."
    )


def _check_bound(target: JointTarget, counts: tuple[int, ...], max_shift: float) -> None:
    """Refuse, before any search, a shift below the bound."""
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


def _check_match(result: Match, max_shift: float | None) -> None:
    """Refuse a match that lost precision, or whose shift is too large."""
    if not result.converged:
        raise MatchError(
            f"the match lost precision: relative residuals are {result.residuals}. The original's coefficients are too "
            "small to be matched in float64 at this scale, or this is a defect of the solver: try another tau0."
        )
    if max_shift is not None and result.relative_shift > max_shift + TOLERANCE:
        raise MatchError(
            f"δ/τ_L² = {result.relative_shift:.4g} is the least that was found, above max_shift = {max_shift:.4g}, "
            "though the bound does not exclude it: use more levels, or alpha2=False."
        )


def _unreachable(original: OriginalNetwork, counts: tuple[int, ...]) -> str:
    """Return the message on a target that no start led to: what was asked for, and what to try."""
    target = original.target
    start = max(counts) + 1
    more = range(start, min(start + TRIED_FOR_ADVICE, MOST_LEVELS + 1))
    enough = next((n for n in more if _solve(original, (n,) * len(counts)) is not None), None)
    remedies = [f"levels={enough}"] if enough else []
    if any(name.endswith("2") for name in target.nonzero[1:]):
        remedies.append("alpha2=False (which assumes that norms concentrate)")
    advice = " or ".join(remedies) if remedies else "more levels, or another original activation"
    return (
        f"no activations of {'-'.join(map(str, counts))} levels with the original's {', '.join(target.nonzero)} were "
        f"found. Try {advice}."
    )
