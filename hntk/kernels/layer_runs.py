"""Layers of a network as its compiled programs take them: runs of layers of one kind, of which one is compiled.

Layers of one run differ in numbers alone, which are stacked. A program goes through them in a loop, so that its time to
compile does not grow with the depth. On CPUs the loop is also the faster form: one pass over the pairs through several
layers needs more registers than there are. The first layer stands before the loop: it reads inner products in place of
two kernels. GPUs take few layers in closed form in one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from hntk.activations import Activation
from hntk.activations.base import ClosedForm
from hntk.activations.step_function import StepFunction
from hntk.activations.straight_through import StraightThroughStep
from hntk.kernels.layer_scales import Squares
from hntk.theory.architecture import Normalize

Layer = Activation | StepFunction | StraightThroughStep
State = TypeVar("State")
# on GPUs, so many consecutive layers in closed form are a run each
CLOSED_FORMS = 8


class Form(NamedTuple):
    """What the compiled programs of a network depend on, beside shapes and which scales there are.

    Attributes
    ----------
    kinds : tuple
        Activations, with None in the place of staircases.
    normalize : {"rms", "layer"} or None
        Normalisation of what the weights multiply.
    surrogates : tuple
        Shapes of the surrogates of staircases, with None in the place of layers that have none.
    implicit : bool
        Whether the one layer is repeated.
    """

    kinds: tuple[Activation | None, ...]
    normalize: Normalize | None
    surrogates: tuple[Activation | None, ...]
    implicit: bool


class Numbers(NamedTuple):
    """What distinguishes networks that share compiled programs: their arguments.

    Attributes
    ----------
    steps : list of StepFunction or None
        Staircases as arrays, with None in the place of other activations.
    centres : Array
        (L,) constants that are subtracted from the activations.
    squares : list of Squares
        Squared scales of each layer.
    stretches : list of tuple or None
        Width and height of the surrogates of staircases.
    """

    steps: list[StepFunction | None]
    centres: Float[Array, " depth"]
    squares: list[Squares]
    stretches: list[tuple[Float[Array, ""], Float[Array, ""]] | None]


class Given(NamedTuple):
    """The numbers of one layer, or those of a run of layers along their first axis."""

    step: StepFunction | None
    stretch: tuple[Float[Array, ""], Float[Array, ""]] | None
    centre: Float[Array, ""]
    squares: Squares


class Run(NamedTuple):
    """Consecutive layers of one kind, of which one is compiled.

    Attributes
    ----------
    kind, surrogate : Activation or None
        Their entries in :class:`Form`.
    length : int
        Number of layers.
    given : Given
        Their numbers, stacked.
    """

    kind: Activation | None
    surrogate: Activation | None
    length: int
    given: Given

    def layer(self, given: Given) -> Layer:
        """Return the layer of these numbers."""
        if self.kind is not None:
            return self.kind
        assert given.step is not None
        if self.surrogate is None or given.stretch is None:
            return given.step
        return StraightThroughStep(given.step, self.surrogate, *given.stretch)

    def through(
        self, step: Callable[[State, Any], tuple[State, Any]], state: State, more: Any = None
    ) -> tuple[State, Any]:
        """Take a state through all layers.

        Parameters
        ----------
        step : callable
            Function of the state before a layer and a pair of the layer's :class:`Given` and its part of ``more``.
            It returns the state behind the layer, and what is to be kept.
        state : pytree
            The state before the first layer.
        more : pytree
            Further arrays, stacked alike.

        Returns
        -------
        state : pytree
            The state behind the last layer.
        kept : pytree
            What was kept of all layers, stacked.
        """
        stacked = (self.given, more)
        if self.length > 1:
            return jax.lax.scan(step, state, stacked)
        state, kept = step(state, jax.tree.map(lambda a: a[0], stacked))
        return state, _stacked([kept])


def runs_of(form: Form, numbers: Numbers) -> list[Run]:
    """Return the runs of a network's layers, first layer first."""
    given = [
        Given(*each) for each in zip(numbers.steps, numbers.stretches, numbers.centres, numbers.squares, strict=True)
    ]
    # a normalisation subtracts the mean, which layers behind a residual branch may not have
    means = [form.normalize == "layer" and any(g.squares.branch is None for g in given[:k]) for k in range(len(given))]
    layers = list(zip(form.kinds, form.surrogates, means, given, strict=True))
    runs: list[Run] = []
    for (kind, surrogate, _, _), group in groupby(layers, lambda each: (*each[:3], jax.tree.structure(each[3]))):
        parts = _divided(kind, [each for *_, each in group], first=not runs)
        runs += [Run(kind, surrogate, len(part), _stacked(part)) for part in parts]
    return runs


def _divided(kind: Activation | None, members: list[Given], *, first: bool) -> list[list[Given]]:
    """Return the layers of each run, from consecutive layers of one kind; ``first`` ones begin the network."""
    if not isinstance(kind, ClosedForm):
        return [members]
    if jax.default_backend() != "cpu":
        return [[each] for each in members] if len(members) <= CLOSED_FORMS else [members]
    # of two layers in one pass XLA would compute the first one several times
    return [members[:1], members[1:]] if first and len(members) > 2 else [members]


def _stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
