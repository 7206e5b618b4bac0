"""Checkpoints of a training: its state after an epoch, and which training it belongs to."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.atomic_file import replacing
from hntk._utils.digest import array_digest, source_digest

PACKAGE = Path(__file__).parent
# The modules that a training's numbers are computed by: a checkpoint of other code is refused.
CODE = (PACKAGE / "training.py", PACKAGE / "softmax.py", PACKAGE / "checkpoints.py")


class Epoch(NamedTuple):
    """One line of a training's history.

    Attributes
    ----------
    epoch : int
        Its number, from 1.
    loss : float
        Mean loss of its batches.
    validation : float
        Validation accuracy at its end. Of a regression it is 1 less the mean squared error of standardised targets; it
        is NaN without validation samples.
    learning_rate : float
        Learning rate at its start.
    """

    epoch: int
    loss: float
    validation: float
    learning_rate: float


@dataclass(frozen=True, eq=False)
class TrainingState:
    """A training between two epochs.

    Attributes
    ----------
    parameters, optimizer, best : pytrees of arrays
        Parameters, the optimizer's state, and the parameters of the best validation accuracy.
    validation : float
        The best validation accuracy.
    history : tuple of Epoch
        The epochs so far.
    """

    parameters: Any
    optimizer: Any
    best: Any
    validation: float = -1.0
    history: tuple[Epoch, ...] = ()

    @property
    def trees(self) -> tuple[Any, Any, Any]:
        """The pytrees, whose leaves a checkpoint holds."""
        return self.parameters, self.optimizer, self.best

    @property
    def epochs_since_best(self) -> int:
        """Number of epochs after the best one."""
        best = max(self.history, key=lambda epoch: epoch.validation, default=None)
        return 0 if best is None else self.history[-1].epoch - best.epoch


def training_identity(
    parameters: Any,
    samples: Sequence[Array | np.ndarray],
    schedule: Any,
    key: Array,
    functions: Sequence[Callable | None],
    *,
    code: Sequence[Path] = CODE,
) -> dict[str, Any]:
    """Return what decides a training's numbers, each part under the name that messages give it.

    Parameters
    ----------
    parameters : pytree of arrays
        Parameters that it starts from.
    samples : sequence of array
        Training samples and labels, then held-out samples and labels.
    schedule : dataclass
        How long and how fast.
    key : jax.Array
        Random key, or an array of keys.
    functions : sequence of callable or None
        Functions that take part.
    code : sequence of Path
        Source files and folders of the code that computes the numbers.

    Returns
    -------
    dict
        The parts, which JSON can hold.
    """
    x, y, x_held, y_held = map(np.asarray, samples)
    leaves, structure = jax.tree.flatten(parameters)
    return {
        "training samples": array_digest(x),
        "training labels": array_digest(y),
        "held-out samples": array_digest(x_held),
        "held-out labels": array_digest(y_held),
        "start": [str(structure), array_digest(*map(np.asarray, leaves))],
        "schedule": asdict(schedule),
        "loss, scores or projection": list(map(function_identity, functions)),
        "key": [str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()],
        "precision": np.dtype(jnp.result_type(float)).name,
        "version of hntk's code": source_digest(*code),
    }


def function_identity(function: Callable | None) -> list[Any] | None:
    """Return a function's name, and digests of the arrays and numbers it carries with it, such as its fields."""
    if function is None:
        return None
    if is_dataclass(function):
        carried = [getattr(function, each.name) for each in fields(function)]
        return [type(function).__qualname__, _leaf_identities(carried)]
    if isinstance(function, functools.partial):
        return [function_identity(function.func), _leaf_identities((function.args, function.keywords))]
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return [name, _leaf_identities((cells, getattr(function, "__defaults__", None)))]


def _leaf_identities(carried: Any) -> list[str]:
    return list(map(_leaf_identity, jax.tree.leaves(carried)))


def _leaf_identity(leaf: Any) -> str:
    """Return the digest of a number or an array, and the type's name of others, which are new objects every time."""
    if callable(leaf):
        return getattr(leaf, "__qualname__", type(leaf).__qualname__)
    number = isinstance(leaf, bool | int | float | str | np.generic | np.ndarray | jax.Array)
    if number and not jnp.issubdtype(getattr(leaf, "dtype", np.float64), jax.dtypes.prng_key):
        return array_digest(np.asarray(leaf))
    return type(leaf).__qualname__


class Checkpointed(Protocol):
    """The state of a training, as far as a checkpoint knows it."""

    @property
    def trees(self) -> Any:
        """Pytrees of arrays."""

    @property
    def history(self) -> Any:
        """Numbers of every epoch."""

    @property
    def validation(self) -> Any:
        """Best validation accuracy, or several."""


def save_checkpoint(path: Path, state: Checkpointed, identity: dict[str, Any]) -> None:
    """Replace the file by one of this state."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            identity=np.array(json.dumps(identity)),
            history=np.array(state.history, np.float64),
            validation=np.array(state.validation),
            **{f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state.trees))},
        )


def load_checkpoint(path: Path, start: TrainingState, identity: dict[str, Any]) -> TrainingState:
    """Return the state in a checkpoint, whose pytrees have the form of the start.

    Raises
    ------
    ValueError
        If the file is damaged, no checkpoint, or of another training; the message says what differs.
    """
    (parameters, optimizer, best), history, validation = load_parts(path, start.trees, identity, (4,))
    epochs = (Epoch(int(number), *numbers) for number, *numbers in history.tolist())
    return TrainingState(parameters, optimizer, best, float(validation), tuple(epochs))


def load_parts(
    path: Path, trees: Any, identity: dict[str, Any], epoch: tuple[int, ...]
) -> tuple[Any, Float[np.ndarray, "epochs ..."], np.ndarray]:
    """Return the pytrees, the history and the best validation of a checkpoint.

    Parameters
    ----------
    path : Path
        The file.
    trees : pytree of arrays
        Pytrees of the form of those in the file.
    identity : dict
        The training that it must belong to, see :func:`training_identity`.
    epoch : tuple of int
        Shape of an epoch's numbers.

    Returns
    -------
    trees : pytree of arrays
        The pytrees in the file.
    history : (epochs, *epoch) array
        Numbers of every epoch.
    validation : array
        Best validation accuracies.

    Raises
    ------
    ValueError
        If the file is damaged, no checkpoint, or of another training; the message says what differs.
    """
    stored = _read_arrays(path)
    stored_identity = _read_identity(path, stored)
    different = [part for part in identity if stored_identity.get(part) != json.loads(json.dumps(identity[part]))]
    if different:
        raise ValueError(
            f"{path} is the checkpoint of another training (other {', '.join(different)}): delete it, or name another "
            "file."
        )
    leaves, structure = jax.tree.flatten(trees)
    stored_leaves = [stored.get(f"leaf{i}") for i in range(len(leaves))]
    history, validation = stored.get("history"), stored.get("validation")
    whole = all(map(_fits, stored_leaves, leaves))
    if not whole or validation is None or history is None or not history.ndim or history.shape[1:] != epoch:
        raise ValueError(f"{path} is damaged (parts of it are missing): delete it to train from the start.")
    return jax.tree.unflatten(structure, list(map(jnp.asarray, stored_leaves))), history, validation


def _fits(stored: np.ndarray | None, leaf: Any) -> bool:
    return stored is not None and stored.shape == np.shape(leaf) and stored.dtype == jnp.result_type(leaf)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # A damaged archive raises one of a dozen kinds.
        raise ValueError(f"{path} is damaged ({error}): delete it to train from the start.") from error


def _read_identity(path: Path, stored: dict[str, np.ndarray]) -> dict[str, Any]:
    try:
        identity = json.loads(str(stored["identity"]))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is no checkpoint of a training ({error}): name another file, or delete it."
        ) from error
    # Earlier versions stored a list, which differs in every part.
    return identity if isinstance(identity, dict) else {}
