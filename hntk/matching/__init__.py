"""Matching: activations of a few levels that give the original's kernel coefficients."""

from hntk.matching.bounds import Certificate, LayerBound, share_bound
from hntk.matching.layerwise import Levels
from hntk.matching.moment_matching import match
from hntk.matching.result import DataFit, Match, Objective
from hntk.matching.targets import MatchError

__all__ = ["Certificate", "DataFit", "LayerBound", "Levels", "Match", "MatchError", "Objective", "match", "share_bound"]
