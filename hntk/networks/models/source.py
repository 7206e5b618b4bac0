"""What a reader gives of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hntk.networks.models.chain import Chain


@dataclass(frozen=True)
class Source:
    """A model as it was read.

    Attributes
    ----------
    chain : Chain
        Its layers.
    run : callable
        The model itself: outputs of samples, both arrays of NumPy.
    classes : array or None
        Labels that the model knows.
    """

    chain: Chain
    run: Callable[[np.ndarray], np.ndarray]
    classes: Any = None


@dataclass(frozen=True)
class Options:
    """What a user says beside the model.

    Attributes
    ----------
    variables : pytree or None
        Parameters that the model does not hold itself.
    x : array or None
        Samples of the shape that the model takes.
    """

    variables: Any = None
    x: np.ndarray | None = None


def refuse_variables(options: Options, what: str) -> None:
    """Refuse variables beside a model that holds its own.

    Raises
    ------
    ValueError
        If there are any.
    """
    if options.variables is not None:
        raise ValueError(f"{what} holds its parameters itself: leave variables= out.")
