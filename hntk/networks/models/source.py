"""What a reader gives of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
    arguments : dict
        Further arguments of the model's forward function.
    """

    variables: Any = None
    x: np.ndarray | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


def refuse_options(options: Options, what: str, *, arguments: bool = False) -> None:
    """Refuse variables beside a model that holds its own, and arguments where its forward function takes none.

    Parameters
    ----------
    options : Options
        What was given.
    what : str
        The kind of the model.
    arguments : bool
        Whether arguments are taken.

    Raises
    ------
    ValueError
        If there are any.
    """
    if options.variables is not None:
        raise ValueError(f"{what} holds its parameters itself: leave variables= out.")
    if options.arguments and not arguments:
        raise ValueError(f"arguments= is for Flax and Equinox, not for {what}: leave it out.")


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())
