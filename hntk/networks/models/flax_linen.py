"""Flax linen: a module and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from hntk.networks.models.jax_tracing import read_program, sample_dtype, sample_shapes
from hntk.networks.models.source import Options, Source


def read(model: Any, options: Options) -> Source:
    """Read a linen module.

    Parameters
    ----------
    model : flax.linen.Module
        The module.
    options : Options
        Its variables, or its parameters alone.

    Returns
    -------
    Source
        The model.

    Raises
    ------
    ValueError
        If there are no variables, or the model is no chain of dense layers.
    """
    given = options.variables
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            "a Flax linen module does not hold its parameters: give variables=, those that model.init returned and "
            "training changed."
        )
    variables = dict(given) if "params" in given else {"params": given}
    shapes = sample_shapes(variables["params"], 0, options.x)

    def apply(parts: Any, x: Any) -> Any:
        return model.apply(parts, x, **options.arguments)

    dtype = sample_dtype(variables)
    chain = read_program(apply, variables, shapes, batched=True, unnamed=1)
    return Source(chain, lambda x: np.asarray(apply(variables, jnp.asarray(x, dtype))))
