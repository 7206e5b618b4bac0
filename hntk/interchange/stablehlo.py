"""Forward passes as StableHLO, for every program that runs JAX's exports, with weights packed inside.

Orthogonal blocks stay signs and permutations where the network runs them as transforms. All else but ternary and ±1
weights (:mod:`hntk.interchange.packed_pass`) is as large as in the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk._utils.arguments import as_choice, as_count, as_instance
from hntk.data.normalization import prepare_samples
from hntk.interchange.checks import as_words
from hntk.interchange.forward_program import jax_export
from hntk.interchange.packed_pass import packed_pass
from hntk.networks.integer_inputs import Pixels, PooledPixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout
from hntk.networks.read_layers import ReadLayers, read_widths
from hntk.networks.saveable import Saveable

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export_forward(network: Saveable, *, batch: int | None = None, platforms: Sequence[str] | None = None) -> bytes:
    """Return the forward pass of a network as a serialised StableHLO program, which runs without hntk.

    ``jax.export.deserialize(data).call(x)`` runs it, and so does :func:`import_forward`, which checks x. It takes an
    (n, p) array: raw samples of uint8 for a network of whole numbers that takes pixels, and of float32 otherwise;
    normalised ones for a float network, or for a float classifier that does not know its normalisation. It gives
    features of a network, levels of a network of whole numbers, or scores: of float32, or of int32 for whole numbers.
    The label is ``classes[argmax(scores)]``, and a regressor's prediction its unit times the score.

    Whole numbers are the same bits everywhere. Floats are those of the network to the rounding of float32.

    Parameters
    ----------
    network : Network, Classifier, IntegerNetwork, IntegerClassifier or IntegerRegressor
        What to export.
    batch : int, optional
        The number of samples in a call; by default any.
    platforms : sequence of {"cpu", "cuda", "rocm", "tpu"}, optional
        Where the program can run; by default the kind of device that JAX uses here.

    Returns
    -------
    bytes
        The program. JAX promises to read it for six months at least.

    Raises
    ------
    ImportError
        If flatbuffers is not installed.
    ValueError
        If this is no network or classifier, the batch is no positive number, or a platform is unknown.

    Examples
    --------
    >>> import jax, hntk
    >>> from hntk.interchange import export_forward, import_forward
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.compress(["relu"] * 2, [256, 128], data.x, levels=4, key=jax.random.key(1))
    >>> made = hntk.to_integers(hntk.fit_ridge(net, data.x, data.labels), x=data.x)
    >>> program = import_forward(export_forward(made))
    >>> bool((program(data.x) == made.scores(data.x)).all())
    True
    """
    saved = as_instance(network, "network", Saveable, "a network or a classifier, in floats or in integers")
    rows = None if batch is None else as_count(batch, "batch")
    wanted = _checked_platforms(platforms)
    export = jax_export()
    function, sample = _function(saved)
    size = rows if rows is not None else export.symbolic_shape("n")[0]
    taken = jax.ShapeDtypeStruct((size, *sample.shape), sample.dtype)
    return bytes(export.export(jax.jit(function), platforms=wanted)(taken).serialize())


def _checked_platforms(platforms: Any) -> list[str] | None:
    """Return the names of platforms; None for JAX's own choice."""
    if platforms is None:
        return None
    names = as_words(platforms, "platforms", empty=False)
    return [as_choice(name, "every platform", PLATFORMS) for name in names]


def _function(saved: Saveable) -> tuple[Callable[[Array], Array], jax.ShapeDtypeStruct]:
    """Return the function to export, and the form of one sample."""
    network: Any = getattr(saved, "network", saved)
    layers: ReadLayers = getattr(saved, "layers", "last")
    run = packed_pass(network.layer_steps, layers)
    if isinstance(network, IntegerNetwork):
        pixels = isinstance(network.inputs, Pixels | PooledPixels)
        sample = jax.ShapeDtypeStruct((network.raw_size,), np.uint8 if pixels else np.float32)
        if isinstance(saved, IntegerReadout):
            return lambda raw: saved.scores_of(run(network.inputs(raw))), sample
        return lambda raw: run(network.inputs(raw)), sample
    read = read_widths(network.widths, layers)
    sizes = np.sqrt(np.repeat(read, read)).astype(np.float32)
    sample = jax.ShapeDtypeStruct((network.inputs,), np.float32)
    if saved is network:
        return lambda x: run(x) / sizes, sample
    readout: Any = saved
    normalization = readout.normalization
    raw = normalization is not None

    def scores(x: Array) -> Array:
        samples: Any = prepare_samples(x, normalization, None, raw=raw)
        return jnp.asarray(readout.scores_of(run(samples) / sizes), jnp.float32)

    return scores, sample
