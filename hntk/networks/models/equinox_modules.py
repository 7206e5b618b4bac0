"""Equinox: modules that take one sample at a time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hntk._utils.extras import import_extra
from hntk.networks.models.jaxprs import read_program, sample_shapes
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
    arrays, rest = equinox.partition(model, equinox.is_array)
    state = options.variables

    def one(parts: Any, x: Any) -> Any:
        whole = equinox.combine(parts, rest)
        return whole(x) if state is None else whole(x, state)[0]

    chain = read_program(one, arrays, sample_shapes(arrays, 1, options.x), batched=False)
    return Source(chain, lambda x: np.asarray(jax.vmap(lambda row: one(arrays, row))(jnp.asarray(x, jnp.float32))))
