"""Scalar outputs of a network whose kernels are wanted: its readout at initialisation, or the classes of a classifier.

The NTK belongs to a parameterization. ``"ntk"`` differentiates by the parameters of variance 1, ``"standard"`` by the
products that the network multiplies with, as frameworks store them:

| | ``"ntk"`` | ``"standard"`` |
|---|---|---|
| first layer, which is not normalised | W | σ_w W |
| other weights | W | σ_w W/√d |
| biases | b | σ_b b |
| outer weights of a residual branch | W₂ | ρ W₂/√d |
| readout | w | w/√d |
| offset of a classifier | none: the theory's readout has no bias | the offset |
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_choice, as_instance
from hntk._utils.arrays import brief
from hntk._utils.labels import brief_list
from hntk.networks.classifier import Classifier
from hntk.networks.network import Network
from hntk.networks.read_layers import ReadLayers, read_widths

Parameterization = Literal["ntk", "standard"]


class Output(NamedTuple):
    """A scalar output of a network: the product of a readout and the features of the layers that it reads.

    Attributes
    ----------
    network : Network
        The network.
    readout : Array
        Weights w of the readout.
    layers : {"last", "all"}
        Which layers it reads.
    has_offset : bool
        Whether an offset is added to the product.
    parameterization : {"ntk", "standard"}
        By which parameters the output is differentiated.
    """

    network: Network
    readout: Float[Array, " width"]
    layers: ReadLayers
    has_offset: bool
    parameterization: Parameterization

    def added(self, layer: int, dtype: jnp.dtype) -> Float[Array, "1 width"] | None:
        """Return w_l/√d_l of a layer, counted from 1; None if it is not read."""
        widths = self.network.widths
        if layer < len(widths) and self.layers == "last":
            return None
        end = sum(read_widths(widths[:layer], self.layers))
        return self.readout[end - widths[layer - 1] : end].astype(dtype)[None, :] / sqrt(widths[layer - 1])

    @property
    def standard(self) -> bool:
        """Whether gradients are by the products that frameworks store."""
        return self.parameterization == "standard"


def outputs_of(model: Network | Classifier, output: object = None, parameterization: object = "ntk") -> list[Output]:
    """Return the outputs of a model whose kernels are wanted.

    Parameters
    ----------
    model : Network or Classifier
        Network, whose output is its readout at initialisation; or a classifier, which has one output per class.
    output : object
        The class of a classifier, or None for all of them.
    parameterization : {"ntk", "standard"}
        By which parameters outputs are differentiated.

    Returns
    -------
    list of Output
        The outputs.

    Raises
    ------
    ValueError
        If there is no such output or parameterization.
    """
    as_instance(model, "network", (Network, Classifier), "a network, such as hntk.dense gives, or a classifier")
    by = as_choice(parameterization, "parameterization", get_args(Parameterization))
    if isinstance(model, Classifier):
        chosen = [k for k, known in enumerate(model.classes.tolist()) if output is None or _same(known, output)]
        if not chosen:
            raise ValueError(f"output must be one of the classes {brief_list(model.classes)}, got {brief(output)}.")
        return [Output(model.network, jnp.asarray(model.weights[:, k]), model.layers, True, by) for k in chosen]
    if output is not None:
        raise ValueError("output= chooses a class of a classifier; this network has one output.")
    if model.readout is None:
        raise ValueError(
            "the NTK needs the readout at initialisation, which this network does not carry: use the network as drawn, "
            "dataclasses.replace(network, readout=...) with d_L standard Gaussian numbers, or a classifier."
        )
    return [Output(model, model.readout, "last", False, by)]


def samples_of(network: Network, x: object) -> Float[Array, "n p"]:
    """Return samples as an array that fits a network, in their own precision; whole numbers in JAX's.

    Raises
    ------
    ValueError
        If they are not finite or do not fit the network.
    """
    samples = network.check_inputs(x)
    return samples if jnp.issubdtype(samples.dtype, jnp.floating) else samples.astype(jnp.result_type(float))


def read_features(features: Sequence[Array], layers: ReadLayers) -> Array:
    """Return, of A_1 … A_L, what a readout reads."""
    return jnp.concatenate(features, axis=1) if layers == "all" else features[-1]


def _same(known: object, output: object) -> bool:
    plain = isinstance(output, bool | int | float | str | np.generic)
    return plain and isinstance(output, bool | np.bool_) == isinstance(known, bool) and known == output
