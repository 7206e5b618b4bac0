r"""Models as chains of dense layers, elementwise affine maps and elementwise functions.

Every reader follows what a model computes and tells a :class:`Chain` of it, operation by operation. A chain has one
value at a time, a function $f(a)$ of the argument a that the last layer gave. Operations with numbers that are the same
for all neurons become a part of f, so that an activation that a framework writes as several operations is one function
in the end. A product with a matrix, and operations with one number for each neuron, end f and begin the next argument.
Values of an earlier argument cannot be used any more: a model that does so is no chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hntk.networks.models.records import (
    POINTS,
    ROUNDING,
    Affine,
    Dense,
    Elementwise,
    Function,
    Record,
    parameters,
    refuse,
)


@dataclass(frozen=True, eq=False)
class Value:
    """What a model has computed of its input: a function of the chain's argument.

    Attributes
    ----------
    argument : int
        Number of the argument.
    function : callable
        The function.
    name : str
        Name of the last operation in it.
    """

    argument: int
    function: Function
    name: str = ""


def unchanged(t: Any) -> Any:
    """Return t."""
    return t


class Chain:
    """Records of what a model computes, in its order.

    Parameters
    ----------
    of_jax : bool
        Whether functions take arrays of JAX.

    Attributes
    ----------
    records : list of Dense, Affine or Elementwise
        What was read so far.
    link : str or None
        Softmax or its logarithm at the end.
    edges : list of float
        Numbers that the present argument is compared with, where a reader knows them.
    """

    def __init__(self, of_jax: bool = False) -> None:
        self.records: list[Record] = []
        self.edges: list[float] = []
        self.link: str | None = None
        self._of_jax, self._argument, self._width = of_jax, 0, 0

    @property
    def input(self) -> Value:
        """The model's input."""
        return Value(0, unchanged)

    @property
    def width(self) -> int:
        """Number of neurons of the last dense layer; 0 before the first."""
        return self._width

    def dense(self, value: Value, name: str, weights: Any, bias: Any = None) -> Value:
        """Return W h + b.

        Parameters
        ----------
        value : Value
            What h is.
        name : str
            Name of the layer.
        weights : (outputs, inputs) array
            The matrix W.
        bias : (outputs,) array, optional
            The vector b.

        Returns
        -------
        Value
            The next argument.

        Raises
        ------
        ValueError
            If parameters are not finite or their shapes do not fit, or the model is no chain.
        """
        matrix = parameters(weights, name, "weights")
        if matrix.ndim != 2 or 0 in matrix.shape:
            refuse(name, f"its weights have shape {matrix.shape}", "a dense layer has a matrix of (outputs, inputs)")
        shift = np.zeros(len(matrix)) if bias is None else parameters(bias, name, "bias").reshape(-1)
        if len(shift) != len(matrix):
            refuse(name, f"its bias has {len(shift)} numbers for {len(matrix)} outputs", "give one for each output")
        self._end(value, name)
        if self._width and matrix.shape[1] != self._width:
            refuse(
                name,
                f"it takes {matrix.shape[1]} inputs but the layer before has {self._width} outputs",
                "layers must follow each other as they are given",
            )
        self._width = len(matrix)
        self.records.append(Dense(name, matrix, shift))
        return self._next()

    def affine(self, value: Value, name: str, scale: Any = 1.0, shift: Any = 0.0) -> Value:
        """Return scale h + shift, with one number a neuron.

        Parameters
        ----------
        value : Value
            What h is.
        name : str
            Name of the layer.
        scale, shift : (width,) array or float
            One number a neuron, or one for all.

        Returns
        -------
        Value
            The next argument; the same value where nothing is changed.

        Raises
        ------
        ValueError
            If numbers are not finite or not as many as neurons, or the model is no chain.
        """
        scale, shift = (parameters(part, name, "parameters") for part in (scale, shift))
        for part in (scale, shift):
            if part.ndim > 1 or (self._width and part.size not in (1, self._width)):
                refuse(name, f"it has numbers of shape {part.shape} for {self._width} neurons", "give one for each")
        if np.all(scale == 1) and np.all(shift == 0):
            return value
        self._end(value, name)
        self.records.append(Affine(name, scale, shift))
        return self._next()

    def arithmetic(self, value: Value, name: str, operation: str, vector: Any, *, behind: bool) -> Value:
        """Return a sum, difference, product or quotient with one number a neuron.

        Parameters
        ----------
        value : Value
            What h is.
        name : str
            Name of the layer.
        operation : str
            ``"add"``, ``"sub"``, ``"mul"`` or ``"div"``.
        vector : (width,) array
            The numbers.
        behind : bool
            Whether h is the second operand.

        Returns
        -------
        Value
            The next argument; the same value where nothing is changed.

        Raises
        ------
        ValueError
            As for :meth:`affine`, or if numbers are divided by h.
        """
        if operation == "div" and behind:
            refuse(name, "it divides parameters by a function of the input", "only dense layers can be read")
        numbers = parameters(vector, name, "parameters")
        with np.errstate(divide="ignore"):
            scales = {"mul": numbers, "div": 1 / numbers, "sub": -1.0 if behind else 1.0}
        shifts = {"add": numbers, "sub": numbers if behind else -numbers}
        return self.affine(value, name, scales.get(operation, 1.0), shifts.get(operation, 0.0))

    def apply(self, name: str, function: Callable[..., Any], *values: Value) -> Value:
        """Return a function of one value or several, element by element.

        Parameters
        ----------
        name : str
            Name of the operation.
        function : callable
            A function of as many arrays.
        *values : Value
            Functions of the same argument.

        Returns
        -------
        Value
            The function of the argument.

        Raises
        ------
        ValueError
            If values have different arguments, as where a residual branch is added.
        """
        for value in values:
            self._check(value, name)
        inner = [value.function for value in values]
        return Value(self._argument, lambda t: function(*(part(t) for part in inner)), name)

    def last(self, value: Value, name: str, link: str) -> Value:
        """Record a softmax at the end of the model, which is no part of the scores.

        Parameters
        ----------
        value : Value
            The scores.
        name : str
            Name of the operation.
        link : str
            The function at the end: ``"softmax"`` or ``"log_softmax"``.

        Returns
        -------
        Value
            The model's output.

        Raises
        ------
        ValueError
            If the model is no chain.
        """
        self._end(value, name)
        self.link = link
        return self._next()

    def close(self, value: Value) -> Chain:
        """End the chain with the model's output, and return it.

        Parameters
        ----------
        value : Value
            The output.

        Returns
        -------
        Chain
            The chain itself.

        Raises
        ------
        ValueError
            If the output is not what was computed last.
        """
        self._end(value, "the output")
        return self

    def _check(self, value: Value, name: str) -> None:
        if self.link is not None and value.function is not unchanged:
            refuse(name, f"it follows the {self.link} that ends the model", "give the model without it")
        if value.argument != self._argument:
            refuse(
                name,
                "it uses what an earlier layer gave once more, as a residual connection does",
                "only chains can be read, in which each layer takes what the one before it gives",
            )

    def _next(self) -> Value:
        self._argument, self.edges = self._argument + 1, []
        return Value(self._argument, unchanged)

    def _end(self, value: Value, name: str) -> None:
        """Record the function that a value is of its argument."""
        self._check(value, name)
        if self.link is not None and name != "the output":
            refuse(name, f"it follows the {self.link} that ends the model", "give the model without it")
        if value.function is unchanged:
            return
        made = Elementwise(value.name, value.function, self._of_jax, tuple(sorted(set(self.edges))))
        try:
            line = _line(made.values())
        except Exception as error:  # a framework's function may raise anything
            refuse(made.name, f"its function cannot be evaluated on numbers ({error})", "leave it out of the model")
        if line is None:
            self.records.append(made)
        elif line != (1.0, 0.0):
            self.records.append(Affine(value.name, *line))


def normalised(parameters_of: Sequence[Any], epsilon: float) -> tuple[Any, Any]:
    """Return scale and shift of a batch normalisation with fixed statistics.

    Parameters
    ----------
    parameters_of : sequence of (width,) array or None
        Its factor, its offset, and the mean and variance; None for no factor or offset.
    epsilon : float
        What is added to the variance.

    Returns
    -------
    tuple of array
        Scale and shift, one number a neuron each.
    """
    gamma, beta, mean, variance = (None if part is None else np.asarray(part, np.float64) for part in parameters_of)
    assert mean is not None
    assert variance is not None
    scale = (1.0 if gamma is None else gamma) / np.sqrt(variance + epsilon)
    return scale, (0.0 if beta is None else beta) - mean * scale


def _line(values: np.ndarray) -> tuple[float, float] | None:
    """Return slope and intercept of values at the points, or None if they lie on no line."""
    if values.shape != POINTS.shape or not np.all(np.isfinite(values)):
        return None
    slope = (values[240] - values[0]) / 24.0
    intercept = values[120]
    size = np.max(np.abs(values)) + 1e-300
    if np.max(np.abs(values - (slope * POINTS + intercept))) > ROUNDING / 4 * size or slope == 0:
        return None
    return float(slope), float(intercept)
