"""Chains read from programs of JAX: what a model computes, whatever its class and its own forward function.

The program of a model (its jaxpr) lists the operations on parameters and samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hntk.networks.models.chain import Chain, Value
from hntk.networks.models.jax_program import BATCH, Known, Program, is_real


def read_program(
    model: Callable[[Any, Any], Any],
    params: Any,
    shapes: Sequence[tuple[int, ...]],
    *,
    batched: bool,
    unnamed: int = 0,
) -> Chain:
    """Return the chain of a function of parameters and samples.

    Parameters
    ----------
    model : callable
        Function of ``params`` and samples.
    params : pytree
        Parameters, and whatever else the model keeps.
    shapes : sequence of tuple of int
        Shapes that one sample may have; the first that the model takes is taken.
    batched : bool
        Whether the function takes several samples at a time, or one.
    unnamed : int
        Number of keys at the beginning of a parameter's path that are no part of its layer's name.

    Returns
    -------
    Chain
        The chain.

    Raises
    ------
    ValueError
        If the model is no chain of dense layers, with the name of the layer, or fails on samples of all shapes.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)

    def run(*arrays: Any) -> Any:
        return model(jax.tree_util.tree_unflatten(structure, arrays[:-1]), arrays[-1])

    program = _traced(run, [leaf for _, leaf in leaves], shapes, batched, sample_dtype(params))
    known = [Known(leaf, path_name(path[unnamed:])) for path, leaf in leaves]
    reading = Program(batched)
    outputs = reading.run(program.jaxpr, [Known(c) for c in program.consts], [*known, reading.chain.input])
    found = next((value for value in outputs if not isinstance(value, Known)), None)
    if found is None:
        raise ValueError("the model's output does not depend on its input: give the model that maps samples to scores.")
    return reading.chain.close(found if isinstance(found, Value) else reading.softmax(found))


def sample_shapes(params: Any, axis: int, x: np.ndarray | None) -> list[tuple[int, ...]]:
    """Return shapes that one sample may have: that of given ones, or the numbers of inputs of the model's matrices."""
    if x is not None:
        return [x.shape[1:]]
    return [(n,) for n in dict.fromkeys(leaf.shape[axis] for leaf in jax.tree.leaves(params) if np.ndim(leaf) == 2)]


def path_name(path: Sequence[Any]) -> str:
    """Return the path of a leaf in a tree as names with dots between."""
    parts = (next(getattr(key, name) for name in ("key", "idx", "name") if hasattr(key, name)) for key in path)
    return ".".join(map(str, parts))


def sample_dtype(params: Any) -> Any:
    """Return the type of a model's parameters, which its samples have too."""
    return next((leaf.dtype for leaf in jax.tree.leaves(params) if is_real(leaf)), np.dtype(np.float32))


def _traced(run: Callable, arrays: Sequence[Any], shapes: Sequence[tuple[int, ...]], batched: bool, dtype: Any) -> Any:
    """Return the program of a model for samples of the first shape that it takes."""
    first: Exception | None = None
    for shape in shapes:
        sample = jnp.zeros((BATCH, *shape) if batched else shape, dtype)
        try:
            return jax.make_jaxpr(run)(*arrays, sample)
        except Exception as error:  # a model's own forward may raise anything
            first = first or error
    raise ValueError(
        f"the model fails on samples of shape {shapes[0] if shapes else '()'}: {first}. Give x=, some samples of the "
        "shape that it takes, and put it in inference: model.eval(), use_running_average=True, deterministic=True, "
        "eqx.nn.inference_mode(model)."
    ) from first
