"""Matches of networks that are trained with a straight-through estimator: β and κ² of the compressed network."""

from __future__ import annotations

from dataclasses import replace

from hntk.activations import SurrogateLike
from hntk.matching.result import Match
from hntk.matching.targets import MatchError
from hntk.theory.calibrated_surrogates import calibrated_surrogates
from hntk.theory.coefficients import coefficients

CALIBRATED = "calibrated"


def with_surrogates(found: Match, which: SurrogateLike) -> Match:
    """Return a match whose compressed network has surrogates, and the β and κ² of training with them.

    Parameters
    ----------
    found : Match
        The match.
    which : str, Activation or Surrogate
        ``"calibrated"`` for surrogates that leave β as it is, or a shape whose height is chosen in every layer.

    Returns
    -------
    Match
        The match, whose staircases are the same.

    Raises
    ------
    MatchError
        If coefficients of the NTK were matched, and training with that shape has others.
    ValueError
        If there is no such surrogate.
    """
    shape = None if isinstance(which, str) and which == CALIBRATED else which
    surrogates = calibrated_surrogates(found.activations, found.tau0, shape)
    known = coefficients(found.activations, found.tau0, surrogate=surrogates)
    result = replace(found, coefficients=known, surrogates=surrogates)
    if found.fit is None and not result.converged:
        missed = [name for name, miss in result.residuals.items() if miss > found.residuals[name]]
        raise MatchError(
            f"training with this surrogate has another {', '.join(missed)} than the original's NTK, as its slope is "
            f"not that of the staircases: use surrogate={CALIBRATED!r}, whose mean and slope both are, or match "
            "kernel='alpha'."
        )
    return result
