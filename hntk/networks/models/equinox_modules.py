"""Equinox: modules that take one sample at a time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hntk._utils.extras import import_extra
from hntk.networks.models.jax_tracing import path_name, read_program, sample_dtype, sample_shapes
from hntk.networks.models.records import refuse
from hntk.networks.models.source import Options, Source


def read(model: Any, options: Options) -> Source:
    """Read an Equinox module.

    Parameters
    ----------
    model : equinox.Module
        The module, in inference (``equinox.nn.inference_mode(model)``).
    options : Options
        The state of a module with batch normalisation, as variables.

    Returns
    -------
    Source
        The model.

    Raises
    ------
    ValueError
        If the model is no chain of dense layers.
    """
    equinox = import_extra("equinox", "models", "Reading an Equinox model")
    _refuse_training(equinox, model)
    arrays, rest = equinox.partition(model, equinox.is_array)
    state = options.variables

    def one(parts: Any, x: Any) -> Any:
        whole = equinox.combine(parts, rest)
        return whole(x, **options.arguments) if state is None else whole(x, state, **options.arguments)[0]

    dtype = sample_dtype(arrays)
    chain = read_program(one, arrays, sample_shapes(arrays, 1, options.x), batched=False)
    return Source(chain, lambda x: np.asarray(jax.vmap(lambda row: one(arrays, row))(jnp.asarray(x, dtype))))


def _refuse_training(equinox: Any, model: Any) -> None:
    """Refuse layers that are in training, by their names."""
    kinds = (equinox.nn.Dropout, equinox.nn.BatchNorm)
    layers, _ = jax.tree_util.tree_flatten_with_path(model, is_leaf=lambda part: isinstance(part, kinds))
    for path, layer in layers:
        if isinstance(layer, kinds) and not layer.inference and getattr(layer, "p", 1) > 0:
            refuse(path_name(path), f"{type(layer).__name__} is in training", "give eqx.nn.inference_mode(model)")
