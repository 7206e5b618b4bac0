"""Activations: functions that know their Gaussian moments and kernel maps."""

from hntk.activations.base import Activation, Moments
from hntk.activations.registry import activation, activation_names, register_activation
from hntk.activations.staircases import Staircase, staircase

__all__ = ["Activation", "Moments", "Staircase", "activation", "activation_names", "register_activation", "staircase"]
