"""Flax linen: a module and its variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hntk.networks.models.jaxprs import read_program, sample_shapes
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
    chain = read_program(model.apply, variables, shapes, batched=True, unnamed=1)
    return Source(chain, lambda x: np.asarray(model.apply(variables, jnp.asarray(x, jnp.float32))))
