"""Layers of a network, with all that they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.pytree import is_traced
from hntk.activations import Activation
from hntk.networks.layers import BranchStep, Step
from hntk.networks.summary_table import OtherOperations
from hntk.theory.architecture import Normalize
from hntk.weights.weight_matrix import Weights


class HiddenLayer(NamedTuple):
    """One hidden layer: f = activation(factor · W n(h') + bias) − centre, and h = f or h = h' + ρ W₂ f/√d.

    Attributes
    ----------
    weights : WeightMatrix or OrthogonalMatrix
        The matrix W, whose own scale is in it.
    factor : float
        σ_w/√d with d the layer's inputs. In the first layer, which sees x = h_0/√p, it is σ_w.
    activation : Activation
        The function σ.
    centre : float
        The constant m that is subtracted.
    bias : (d_l,) array or None
        What is added to the pre-activations, σ_b b.
    bias_std : float
        Scale σ_b of the standard biases b.
    branch : WeightMatrix, OrthogonalMatrix or None
        The outer matrix W₂ of a residual branch, whose own scale is in it.
    residual : float
        Factor ρ of the branch.
    normalize : {"rms", "layer"} or None
        The normalisation n of this layer's input. It is "rms" where "layer" was asked for as long as the state carries
        the data, whose features count as centred.
    carried : float
        The state h' over what the layer is given: √p in the first layer, which is given x, and 1 in others.
    """

    weights: Weights
    factor: float
    activation: Activation
    centre: float
    bias: Float[np.ndarray | Array, " width"] | None = None
    bias_std: float = 0.0
    branch: Weights | None = None
    residual: float = 0.0
    normalize: Normalize | None = None
    carried: float = 1.0

    @property
    def sums_factor(self) -> float:
        """What turns sums over the matrix's values, of given or of normalised rows of norm 1, into pre-activations."""
        rows = sqrt(self.weights.shape[1]) / self.carried if self.normalize else 1.0
        return self.weights.scale * self.factor * rows

    @property
    def branch_factor(self) -> float:
        """What turns sums over the values of W₂ into what is added to the state; 0 without a branch."""
        return 0.0 if self.branch is None else self.residual * self.branch.scale / sqrt(self.branch.shape[1])

    @property
    def step(self) -> Step:
        """The layer as a forward pass takes it."""
        factor, function = self.sums_factor, Centred(self.activation, self.centre)
        branch = None if self.branch is None else BranchStep(self.branch, self.branch_factor, self.carried)
        return Step(self.weights, factor, function, shift=self.bias, branch=branch, normalize=self.normalize)

    @property
    def other_operations(self) -> OtherOperations:
        """Operations of one sample besides those of the product with W and of the branch.

        A normalisation squares and scales every value; ``"layer"`` adds them up and subtracts their mean before.
        """
        outputs, inputs = self.weights.shape
        moved = 2 * inputs if self.normalize == "layer" else 0
        return OtherOperations(2 * inputs if self.normalize else 0, moved + (0 if self.bias is None else outputs))

    @property
    def largest_bias(self) -> float:
        """Largest |σ_b b|; 0 without biases."""
        return 0.0 if self.bias is None else float(np.abs(np.asarray(self.bias)).max())


def scaled(bias: Array | np.ndarray, factor: float) -> Array | np.ndarray:
    """Return biases times a factor; known numbers on the host, so that what is kept of them holds no tracer."""
    if is_traced(bias):
        return bias * np.float32(factor)
    # what overflows is refused with the other bounds, where files are read
    with np.errstate(over="ignore"):
        return np.asarray(bias) * np.float32(factor)


@dataclass(frozen=True)
class Centred:
    """The function σ(z) − m; hashable, so that what is compiled for it is kept."""

    sigma: Activation
    m: float

    def __call__(self, z: Array) -> Array:
        """Apply it elementwise."""
        return self.sigma(z) - self.m
