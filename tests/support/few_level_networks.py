"""Parameters of networks of few levels, for tests."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def parameters(widths: tuple[int, ...], inputs: int, classes: int = 3, steps: int = 3) -> dict[str, Any]:
    """Random parameters, with thresholds in no order."""
    rng, sizes = np.random.default_rng(1), (inputs, *widths)
    layers = [
        {
            "weights": jnp.asarray(rng.normal(size=(d, before)), jnp.float32),
            "thresholds": jnp.asarray(rng.normal(size=(d, steps)), jnp.float32),
        }
        for before, d in zip(sizes, widths, strict=False)
    ]
    readout = jnp.asarray(rng.normal(size=(classes, widths[-1])), jnp.float32)
    return {"layers": layers, "readout": readout, "offset": jnp.asarray(rng.normal(size=classes), jnp.float32)}
