"""Trainings of several members between two epochs: what is kept of each, when it stops, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from hntk.readouts.checkpoints import Epoch
from hntk.readouts.training import ADAM, Schedule, Trained
from hntk.training.few_level_layers import Parameters


@dataclass(frozen=True, eq=False)
class MembersState:
    """A training of S members between two epochs.

    Attributes
    ----------
    parameters, optimizer, kept : pytrees of arrays
        Parameters, the optimizer's state and the parameters that are kept, each with a first axis of length S.
    validation : (S,) array
        Validation of those that are kept.
    history : (epochs, S, 4) array
        An :class:`Epoch` of each member, for every epoch.
    """

    parameters: Any
    optimizer: Any
    kept: Any
    validation: Float[np.ndarray, " S"]
    history: Float[np.ndarray, "epochs S 4"]

    @staticmethod
    def start(parameters: Parameters) -> MembersState:
        """Return the state before the first epoch."""
        members = parameters["offset"].shape[0]
        optimizer = jax.vmap(ADAM.init)(parameters)
        return MembersState(parameters, optimizer, parameters, np.full(members, -np.inf), np.empty((0, members, 4)))

    @property
    def trees(self) -> tuple[Any, Any, Any]:
        """The pytrees, whose leaves a checkpoint holds."""
        return self.parameters, self.optimizer, self.kept

    def lengths(self, patience: int) -> Int[np.ndarray, " S"]:
        """Return how many epochs of each member count: those up to the one after which it would stop alone."""
        return np.array([counting_epochs(validations, patience) for validations in self.history[:, :, 2].T])

    def running(self, schedule: Schedule) -> np.ndarray:
        """Return which members would go on if they were alone."""
        done = len(self.history)
        if done >= schedule.epochs:
            return np.zeros(self.validation.size, bool)
        # Another epoch without a better accuracy would not count for one that has stopped.
        longer = np.concatenate([self.history[:, :, 2], np.full((1, self.validation.size), -np.inf)])
        return np.array([counting_epochs(validations, schedule.patience) > done for validations in longer.T])


def counting_epochs(validations: Float[np.ndarray, " epochs"], patience: int) -> int:
    """Return the number of epochs until so many in a row were not better than the best; without validation all are."""
    best, at = -np.inf, 0
    for number, value in enumerate(validations):
        if not value <= best:
            best, at = value, number
        if number - at >= patience:
            return number + 1
    return len(validations)


def as_good(
    values: Float[np.ndarray, " S"], history: Float[np.ndarray, "epochs S"], samples: int | None
) -> Bool[np.ndarray, " S"]:
    r"""Return which members are to be kept after an epoch: those at most a standard error worse than at their best.

    Accuracies p of n samples that differ by less than their standard error :math:`\sqrt{p(1 - p)/n}` can hardly be told
    apart, and of such epochs the last one has the lowest learning rate. The epoch of the best of many such numbers is
    that of the luckiest.

    Parameters
    ----------
    values : (S,) array
        Validation after the epoch; NaN is as good as any.
    history : (epochs, S) array
        Validation after the epochs before.
    samples : int or None
        Number n of validation samples; None if values are no accuracies, which must be as good as the best then.

    Returns
    -------
    (S,) array of bool
        Which members are kept.
    """
    best = np.fmax.reduce(np.concatenate([history, values[None]]))
    margin = 0.0 if samples is None else np.sqrt(best * (1 - best) / max(samples, 1))
    return ~(values < best - margin)


def where_kept(chosen: Array, new: Array, old: Array) -> Array:
    """Return a leaf of the new parameters for members that are chosen, and of the old ones for others."""
    return jnp.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def epoch_line(numbers: Float[np.ndarray, " 4"]) -> Epoch:
    """Return the numbers of an epoch of a history by name."""
    number, loss, validation, rate = numbers.tolist()
    return Epoch(int(number), loss, validation, rate)


def present_members(state: MembersState) -> tuple[Trained, ...]:
    """Return the members as they are after the last epoch, whether or not they were better before."""
    return tuple(
        Trained(
            jax.tree.map(lambda leaf, m=member: leaf[m], state.parameters),
            float(state.history[-1, member, 2]),
            tuple(map(epoch_line, state.history[:, member])),
        )
        for member in range(state.validation.size)
    )


def kept_members(state: MembersState, schedule: Schedule) -> tuple[Trained, ...]:
    """Return the members after the epochs that are kept, with the histories that they would have alone."""
    lengths = state.lengths(schedule.patience)
    return tuple(
        Trained(
            jax.tree.map(lambda leaf, m=member: leaf[m], state.kept),
            float(state.validation[member]),
            tuple(epoch_line(numbers) for numbers in state.history[:length, member]),
        )
        for member, length in enumerate(lengths)
    )
