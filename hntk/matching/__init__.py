"""Matching: activations of a few levels with the kernel coefficients of the original's."""

from hntk.matching.bounds import Certificate, LayerBound, share_bound
from hntk.matching.layerwise import Levels
from hntk.matching.moment_matching import DataFit, Match, Objective, match
from hntk.matching.targets import MatchError

__all__ = ["Certificate", "DataFit", "LayerBound", "Levels", "Match", "MatchError", "Objective", "match", "share_bound"]
