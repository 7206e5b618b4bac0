"""Activations: functions that know their Gaussian moments and kernel maps."""

from hntk.activations.base import Activation, Moments
from hntk.activations.registry import activation, activation_names, register_activation
from hntk.activations.staircases import Staircase, staircase
from hntk.activations.surrogates import Surrogate, SurrogateLike, surrogate

__all__ = [
    "Activation",
    "Moments",
    "Staircase",
    "Surrogate",
    "SurrogateLike",
    "activation",
    "activation_names",
    "register_activation",
    "staircase",
    "surrogate",
]
