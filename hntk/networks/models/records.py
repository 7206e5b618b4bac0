"""Records of what a model computes: dense layers, affine maps of each neuron, functions of single numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import finite_array

# Points at which functions are compared: 241 even ones, some near to kinks at 0, and some far out.
FAR = np.outer([1.0, -1.0], [20.0, 50.0, 100.0, 300.0, 1000.0]).ravel()
POINTS = np.concatenate([np.linspace(-12.0, 12.0, 241), [-1e-2, -1e-3, 1e-3, 1e-2], FAR])
# Relative difference of functions that are computed in float32, up to which they are the same.
ROUNDING = 2e-6

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Dense:
    """A dense layer, h ↦ W h + b.

    Attributes
    ----------
    name : str
        What the model calls the layer.
    weights : (outputs, inputs) array
        The matrix W.
    bias : (outputs,) array
        The vector b.
    """

    name: str
    weights: Float[np.ndarray, "outputs inputs"]
    bias: Float[np.ndarray, " outputs"]


@dataclass(frozen=True)
class Affine:
    """A map of each neuron by itself, h ↦ scale h + shift, such as batch normalisation in inference.

    Attributes
    ----------
    name : str
        What the model calls the layer.
    scale, shift : (width,) array or float
        One number a neuron, or one for all.
    """

    name: str
    scale: Any
    shift: Any


@dataclass(frozen=True)
class Elementwise:
    """A function of single numbers, the same for all neurons.

    Attributes
    ----------
    name : str
        What the model calls it.
    function : callable
        The function, of arrays that the framework computes with, or of NumPy's.
    of_jax : bool
        Whether the function takes arrays of JAX, traced ones included.
    edges : tuple of float
        Points at which it may jump, ascending, where they are known.
    """

    name: str
    function: Function
    of_jax: bool = False
    edges: tuple[float, ...] = ()

    def values(self, points: np.ndarray = POINTS) -> np.ndarray:
        """Return the function's values at points, in float64."""
        with np.errstate(all="ignore"):
            return np.asarray(self.function(jnp.asarray(points) if self.of_jax else points), np.float64)


Record = Dense | Affine | Elementwise


def parameters(given: Any, name: str, what: str) -> np.ndarray:
    """Return finite parameters of a layer in float64.

    Raises
    ------
    ValueError
        If they are no finite numbers; the message names the layer.
    """
    try:
        return finite_array(given, what)
    except ValueError as error:
        return refuse(name, f"{error}".rstrip("."), "train it again, or load parameters that are finite")


def refuse(name: str, reason: str, remedy: str) -> NoReturn:
    """Raise the error about a layer that cannot be read.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(f"layer {name!r} of the model cannot be read: {reason}. Remedy: {remedy}.")
