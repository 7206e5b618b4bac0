"""Matching: activations of a few levels with the kernel coefficients of the original's."""

from hntk.matching.layerwise import Match, match
from hntk.matching.targets import MatchError

__all__ = ["Match", "MatchError", "match"]
