"""Checkpoints of a training: what is gone on with, and of which training it is."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.atomic_file import replacing
from hntk._utils.digest import array_digest, source_digest

PACKAGE = Path(__file__).parent
# what a training is computed by
CODE = (PACKAGE / "training.py", PACKAGE / "softmax.py", PACKAGE / "checkpoints.py")


@dataclass(frozen=True)
class Kept:
    """What a training goes on from.

    Attributes
    ----------
    trees : parameters, the optimizer's state, and the best parameters.
    validation : the best validation accuracy.
    history : (epochs, 4), a row each.
    """

    trees: tuple[Any, Any, Any]
    validation: float
    history: Float[np.ndarray, "epochs 4"]


def described(
    parameters: Any, samples: Sequence[Array], schedule: Any, key: Array, functions: Sequence[Callable | None]
) -> dict[str, Any]:
    """What decides a training's numbers, part by part, as what a message may call them."""
    x, y, x_held, y_held = map(np.asarray, samples)
    leaves, structure = jax.tree.flatten(parameters)
    return {
        "training samples": array_digest(x),
        "training labels": array_digest(y),
        "held-out samples": array_digest(x_held),
        "held-out labels": array_digest(y_held),
        "start": [str(structure), array_digest(*map(np.asarray, leaves))],
        "schedule": asdict(schedule),
        "loss, scores or projection": list(map(_named, functions)),
        "key": [str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()],
        "precision": np.dtype(jnp.result_type(float)).name,
        "version of hntk's code": source_digest(*CODE),
    }


def _named(function: Callable | None) -> list[Any] | None:
    """A function by its name, and by the arrays and numbers it carries with it."""
    if function is None:
        return None
    if isinstance(function, functools.partial):
        return [_named(function.func), _values((function.args, function.keywords))]
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return [name, _values((cells, getattr(function, "__defaults__", None)))]


def _values(carried: Any) -> list[str]:
    """Numbers and arrays by their bytes; of other things the type alone, as they are another object each time."""
    told = []
    for leaf in jax.tree.leaves(carried):
        if callable(leaf):
            told.append(getattr(leaf, "__qualname__", type(leaf).__qualname__))
            continue
        number = isinstance(leaf, bool | int | float | str | np.generic | np.ndarray | jax.Array)
        plain = number and not jnp.issubdtype(getattr(leaf, "dtype", np.float64), jax.dtypes.prng_key)
        told.append(array_digest(np.asarray(leaf)) if plain else type(leaf).__qualname__)
    return told


def saved(path: Path, kept: Kept, identity: dict[str, Any]) -> None:
    """Replace the file."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            identity=np.array(json.dumps(identity)),
            history=kept.history,
            validation=np.array(kept.validation),
            **{f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(kept.trees))},
        )


def restored(path: Path, start: tuple[Any, Any, Any], identity: dict[str, Any]) -> Kept:
    """What a checkpoint holds, in the form of the start.

    Raises
    ------
    ValueError
        If it is damaged, no checkpoint, or of another training, with what differs.
    """
    stored = _read(path)
    known = _identity(path, stored)
    other = [part for part in identity if known.get(part) != json.loads(json.dumps(identity[part]))]
    if other:
        raise ValueError(
            f"{path} is the checkpoint of another training (other {', '.join(other)}): delete it, or name another file."
        )
    leaves, structure = jax.tree.flatten(start)
    found = [stored.get(f"leaf{i}") for i in range(len(leaves))]
    history, validation = stored.get("history"), stored.get("validation")
    whole = all(
        mine is not None and mine.shape == np.shape(leaf) and mine.dtype == jnp.result_type(leaf)
        for mine, leaf in zip(found, leaves, strict=True)
    )
    if not whole or validation is None or history is None or history.ndim != 2 or history.shape[1:] != (4,):
        raise ValueError(f"{path} is damaged (parts of it are missing): delete it to train from the start.")
    return Kept(jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in found]), float(validation), history)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return {name: kept[name] for name in kept.files}
    except Exception as error:  # a damaged archive raises one of a dozen kinds
        raise ValueError(f"{path} is damaged ({error}): delete it to train from the start.") from error


def _identity(path: Path, stored: dict[str, np.ndarray]) -> dict[str, Any]:
    try:
        known = json.loads(str(stored["identity"]))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is no checkpoint of a training ({error}): name another file, or delete it."
        ) from error
    # a list is of a version that told less
    return known if isinstance(known, dict) else {}
