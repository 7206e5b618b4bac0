r"""Forward passes as StableHLO, for every program that runs JAX's exports, with weights packed inside.

Ternary weights are stored as two bits each, those of ±1 as one bit, and unpacked where they are multiplied: a weight w
is $b_0 - 2 b_1$ for its two bits, the encoding ``bits2`` of :mod:`hntk.weights.encodings`. Orthogonal blocks stay signs
and permutations where the network runs them as transforms. Everything else is as large as in the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Num, UInt8

from hntk._utils.arguments import as_choice, as_count, as_instance
from hntk._utils.arrays import brief, real_array
from hntk._utils.extras import import_extra
from hntk._utils.rows import check_shape
from hntk.data.normalization import prepare_samples
from hntk.interchange.checks import as_words
from hntk.networks.classifier import Classifier
from hntk.networks.integer_inputs import Pixels, PooledPixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout
from hntk.networks.layers import Layer, Pass, Step
from hntk.networks.read_layers import ReadLayers, read_widths
from hntk.networks.saveable import Saveable
from hntk.weights.encodings import pack
from hntk.weights.weight_matrix import WeightMatrix, Weights

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
PURPOSE = "A serialised StableHLO program"
# Bits of a stored weight, by its kind; all others are stored as they are.
BITS = {"ternary": ("bits2", 2), "sign": ("signs", 1)}


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
        The program. JAX promises to read it for six months of releases.

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
    import_extra("flatbuffers", "export", PURPOSE)
    function, sample = _function(saved)
    export = _export()
    size = rows if rows is not None else export.symbolic_shape("n")[0]
    taken = jax.ShapeDtypeStruct((size, *sample.shape), sample.dtype)
    return bytes(export.export(jax.jit(function), platforms=wanted)(taken).serialize())


@dataclass(frozen=True)
class ForwardProgram:
    """A forward pass that was read from a serialised StableHLO program; call it on samples.

    Attributes
    ----------
    exported : jax.export.Exported
        The program as JAX has it.
    """

    exported: Any

    @property
    def inputs(self) -> int:
        """Number of coordinates of a sample."""
        return self.exported.in_avals[0].shape[1]

    @property
    def outputs(self) -> int:
        """Number of values of a sample: features, levels or scores."""
        return self.exported.out_avals[0].shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Type of the samples."""
        return np.dtype(self.exported.in_avals[0].dtype)

    @property
    def batch(self) -> int | None:
        """The number of samples in a call; None if it is any."""
        size = self.exported.in_avals[0].shape[0]
        return size if isinstance(size, int) else None

    @property
    def platforms(self) -> tuple[str, ...]:
        """Where it can run."""
        return tuple(self.exported.platforms)

    def __repr__(self) -> str:
        size, where = "n" if self.batch is None else self.batch, "/".join(self.platforms)
        return f"ForwardProgram(({size}, {self.inputs}) {self.dtype} -> ({size}, {self.outputs}), {where})"

    def __call__(self, x: object) -> Num[np.ndarray, "n outputs"]:
        """Run the program.

        Parameters
        ----------
        x : (n, inputs) array
            Samples, as :func:`export_forward` says.

        Returns
        -------
        (n, outputs) array
            Features, levels or scores.

        Raises
        ------
        ValueError
            If x does not fit, its numbers are not finite or no bytes where bytes are taken, or the program is for other
            devices than JAX uses here.
        """
        array = np.asarray(real_array(x, "x"))
        check_shape(array, "x")
        if array.shape[1] != self.inputs or self.batch not in (None, len(array)):
            size = "n" if self.batch is None else self.batch
            raise ValueError(f"x must have shape ({size}, {self.inputs}), got {array.shape}: export another program.")
        with np.errstate(over="ignore", invalid="ignore"):
            given = array.astype(self.dtype)
        if self.dtype == np.uint8 and not np.array_equal(given, array):
            raise ValueError("x must be pixels, whole numbers from 0 to 255: give the raw images, not normalised ones.")
        if not np.all(np.isfinite(given)):
            raise ValueError("x has values that are not finite in float32: clean, drop or rescale them.")
        here = _export().default_export_platform()
        if here not in self.platforms:
            raise ValueError(
                f"the program is for {', '.join(self.platforms)}, and JAX runs on {here} here: export it with "
                f"platforms=[{here!r}]."
            )
        return np.asarray(jax.jit(self.exported.call)(given))


def import_forward(data: bytes) -> ForwardProgram:
    """Read a program that :func:`export_forward` returned.

    A program is code that JAX runs: read those alone that you trust, as you would run a program.

    Parameters
    ----------
    data : bytes
        The program.

    Returns
    -------
    ForwardProgram
        The program; call it on samples.

    Raises
    ------
    ImportError
        If flatbuffers is not installed.
    ValueError
        If the bytes are no such program, or one that this version of JAX does not read.
    """
    as_instance(data, "data", (bytes, bytearray), "the bytes that export_forward returned")
    import_extra("flatbuffers", "export", PURPOSE)
    try:
        exported = _export().deserialize(bytearray(data))
        fits = len(exported.in_avals) == len(exported.out_avals) == 1
        if not fits or not exported.in_avals[0].ndim == exported.out_avals[0].ndim == 2:
            raise ValueError("it takes or gives something else than one matrix")
    except Exception as error:  # flatbuffers raises what Python's own types raise
        raise ValueError(
            f"data is no program of export_forward that this JAX {jax.__version__} reads ({brief(str(error))}): give "
            "the bytes of the network exported again."
        ) from error
    return ForwardProgram(exported)


def _export() -> Any:
    # jax.export is a module that import jax does not load
    from jax import export

    return export


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
    run = _packed_pass(network.layer_steps, layers)
    if isinstance(network, IntegerNetwork):
        pixels = isinstance(network.inputs, Pixels | PooledPixels)
        sample = jax.ShapeDtypeStruct((network.raw_size,), np.uint8 if pixels else np.float32)
        if isinstance(saved, IntegerReadout):
            return lambda raw: saved.scores_of(run(network.inputs(raw))), sample
        return lambda raw: run(network.inputs(raw)), sample
    read = read_widths(network.widths, layers)
    sizes = np.sqrt(np.repeat(read, read)).astype(np.float32)
    sample = jax.ShapeDtypeStruct((network.inputs,), np.float32)
    if not isinstance(saved, Classifier):
        return lambda x: run(x) / sizes, sample
    raw, normalization = saved.normalization is not None, saved.normalization

    def scores(x: Array) -> Array:
        samples: Any = prepare_samples(x, normalization, None, raw=raw)
        return jnp.asarray(saved.scores_of(run(samples) / sizes), jnp.float32)

    return scores, sample


def _packed_pass(steps: Sequence[Step], layers: ReadLayers) -> Callable[[Array], Float[Array, "n width"]]:
    """Return the pass through layers whose weights are unpacked where they are used."""
    made = [_packed_layer(step) for step in steps]

    def run(h: Array) -> Array:
        unpacked = Pass(tuple(unpack() for unpack in made), (1,) * len(made))
        return (unpacked.every_layer if layers == "all" else unpacked)(h.astype(jnp.float32))

    return run


def _packed_layer(step: Step) -> Callable[[], Layer]:
    """Return what gives a layer whose explicit weights are traced operations on packed ones."""
    layer = Layer.of(step, None)
    explicit = _packed(step.weights) if isinstance(layer.weights, jax.Array) else None
    branch, outer = layer.branch, None
    if branch is not None and step.branch is not None and isinstance(branch.weights, jax.Array):
        outer = _packed(step.branch.weights)

    def unpack() -> Layer:
        made = layer if explicit is None else replace(layer, weights=explicit())
        return made if branch is None or outer is None else replace(made, branch=replace(branch, weights=outer()))

    return unpack


def _packed(matrix: Weights) -> Callable[[], Float[Array, "d p"]]:
    """Return what gives a matrix in float32 as traced operations on its packed values."""
    values = np.asarray(matrix.values)
    if matrix.kind not in BITS:
        stored = values.astype(np.int8 if matrix.kind == "int8" else np.float32)
        return lambda: _as_stored(stored).astype(jnp.float32)
    encoding, bits = BITS[matrix.kind]
    packed = pack(WeightMatrix(values, 1.0, matrix.kind), encoding).values  # type: ignore[arg-type]

    def unpack() -> Array:
        codes = _codes(_as_stored(packed), bits, values.size)
        # 0, 1 and 3 stand for 0, +1 and −1; of one bit 1 stands for −1
        signs = (codes & 1) - (codes & 2) if bits == 2 else 1 - 2 * codes
        return signs.reshape(values.shape).astype(jnp.float32)

    return unpack


def _as_stored(values: np.ndarray) -> Array:
    """Return known numbers that a compiler does not compute with beforehand, so that it keeps them packed."""
    return jax.lax.optimization_barrier(jnp.asarray(values, values.dtype))


def _codes(packed: UInt8[Array, " bytes"], bits: int, count: int) -> Num[Array, " count"]:
    """Return groups of bits as whole numbers, the lowest bits of a byte first."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed[:, None] >> places) & np.uint8(2**bits - 1)
    return codes.reshape(-1)[:count].astype(jnp.int8)
