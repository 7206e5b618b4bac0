"""The sparsity of layers that are trained for a number of bytes.

The positions of trained weights cluster, and take more bytes than those of random ones. So a sparsity that fills a
limit with untrained weights is too dense at the end of a training, and by how much is not known before. Here the shares
of weights that are kept follow the bytes instead: after every epoch, or some fifty times in a longer training, they are
scaled, all by one factor, so that the program of the present weights just fills the limit, and cuts are set
accordingly. So validation is that of the program's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from hntk.training.few_level_layers import FewLevelLayer, Parameters
from hntk.training.samples import TrainingData
from hntk.training.sparse_weights import DENSEST, DENSITY_SCALE, density, exact_cut, own_layers
from hntk.training.table_size import network_bytes

# Tables of more than the first of these shares of the limit are left alone, others brought to the second.
LEAST, WANTED = 0.99, 0.995
# Power of the bytes' relative change by which densities change: not all bytes are weights, and sparser ones take more
# bits each.
POWER = 1.3
# What a scale of densities is multiplied by at most after an epoch that is not the first: weights that are turned on
# have not been trained since they were turned off, and thresholds can need another type for a few epochs only.
RISE = 1.02
# What a size is taken to change by at most, so that numbers stay finite.
LARGEST_CHANGE = 1e6
# How often a program is measured at most.
TRIES = 10


@dataclass(frozen=True, eq=False)
class ByteLimit:
    """A limit of bytes that trainings fill.

    Attributes
    ----------
    limit : float
        Largest number of bytes of the tables.
    layers : tuple of FewLevelLayer
        What is fixed about each layer. Densities stay in the ratio that their sparsities have.
    data : TrainingData
        Some of the training samples, whose sums tell how many bytes thresholds take.
    """

    limit: float
    layers: tuple[FewLevelLayer, ...]
    data: TrainingData

    def follow(self, parameters: Parameters, running: Bool[np.ndarray, " S"], rise: float = RISE) -> Parameters:
        """Return parameters between two epochs, of densities that fill the limit, with the cuts of these.

        Parameters
        ----------
        parameters : pytree of arrays
            Parameters with a scale of densities, with a first axis of length S.
        running : (S,) array of bool
            Members that are still trained. Others stay as they are.
        rise : float
            What scales are multiplied by at most.

        Returns
        -------
        pytree of arrays
            The parameters to validate and to go on from.
        """
        host = jax.tree.map(np.asarray, parameters)
        scales, cuts = host[DENSITY_SCALE].copy(), [part["cut"].copy() for part in host["layers"]]
        for member in np.flatnonzero(running):
            own = jax.tree.map(lambda leaf, m=member: leaf[m], host)
            scales[member] = self.filling(own, scales[member], rise)
            layers = own_layers(own | {DENSITY_SCALE: scales[member]}, self.layers)
            for cut, layer, part in zip(cuts, layers, own["layers"], strict=True):
                assert layer.sparsity is not None
                cut[member] = exact_cut(part["weights"], layer.sparsity)
        parts = [part | {"cut": jnp.asarray(cut)} for part, cut in zip(parameters["layers"], cuts, strict=True)]
        return parameters | {DENSITY_SCALE: jnp.asarray(scales), "layers": parts}

    def filling(self, own: Parameters, scale: np.float32, rise: float) -> np.float32:
        """Return the scale of densities with which a member's program fills the limit, from the present one."""
        usual = [density(layer, part["weights"].size) for layer, part in zip(self.layers, own["layers"], strict=True)]
        most = min(rise * float(scale), max(1.0, DENSEST / min(usual)))
        return filling_scale(partial(self.size, own), scale, self.limit, most)

    def size(self, own: Parameters, scale: np.float32) -> int:
        """Return the bytes of a member's program with a scale of densities."""
        return network_bytes(own, own_layers(own | {DENSITY_SCALE: scale}, self.layers), self.data)


def filling_scale(size: Callable[[np.float32], int], scale: np.float32, limit: float, most: float) -> np.float32:
    """Return a scale of densities at which a size just fills a limit.

    Parameters
    ----------
    size : callable
        Bytes with a scale, which grow with it.
    scale : np.float32
        Scale to start from, which is returned if it fills the limit.
    limit : float
        Largest size.
    most : float
        Largest scale to return, if it is above the first one.

    Returns
    -------
    np.float32
        A scale with a size of at least .99 of the limit. If sizes jump over that, or the largest scale is below it, the
        last one that is within the limit; if none is, the smallest that was tried.
    """
    fits, exceeds, most = 0.0, float("inf"), float(np.float32(most))
    for _ in range(TRIES):
        now = size(scale)
        if LEAST * limit <= now <= limit or (now < limit and scale >= most):
            return scale
        fits, exceeds = (float(scale), exceeds) if now < limit else (fits, float(scale))
        following = min(float(scale) * min(WANTED * limit / now, LARGEST_CHANGE) ** POWER, most)
        scale = np.float32(following if fits < following < exceeds else sqrt(fits * exceeds))
    return np.float32(fits or exceeds)
