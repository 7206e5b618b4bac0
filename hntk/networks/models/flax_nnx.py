"""Flax NNX: modules that hold their parameters."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from hntk._utils.extras import import_extra
from hntk.networks.models.jax_tracing import read_program, sample_dtype, sample_shapes
from hntk.networks.models.source import Options, Source, refuse_options


def read(model: Any, options: Options) -> Source:
    """Read an NNX module.

    Parameters
    ----------
    model : flax.nnx.Module
        The module, in inference (``model.eval()``).
    options : Options
        Samples, where the shape of one is not that of the first matrix.

    Returns
    -------
    Source
        The model.

    Raises
    ------
    ValueError
        If the model is no chain of dense layers, or variables are given.
    """
    nnx = import_extra("flax.nnx", "models", "Reading a Flax model")
    refuse_options(options, "an NNX module", arguments=True)
    graph, state = nnx.split(model)
    params = nnx.to_pure_dict(state)
    shapes = sample_shapes(nnx.to_pure_dict(nnx.state(model, nnx.Param)), 0, options.x)
    dtype = sample_dtype(params)
    chain = read_program(lambda parts, x: nnx.merge(graph, parts)(x, **options.arguments), params, shapes, batched=True)
    return Source(chain, lambda x: np.asarray(model(jnp.asarray(x, dtype), **options.arguments)))
