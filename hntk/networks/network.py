r"""Networks with random hidden weights, kept as what has to be stored.

Hidden layers are $h_l = \sigma_l(W_l h_{l-1}/\sqrt{d_{l-1}}) - m_l$ with $h_0 = \sqrt p\,x$, so that the first layer
sees $W_1x$. The output is $f(x) = w^\top h_L/\sqrt{d_L}$. Hidden weights are random and fixed; a readout is fitted on
the features of the last layer, or on those of all layers side by side.

Layers may have more (:mod:`hntk.theory.architecture`): scales of weights, biases, residual branches, whose outer
matrices are $W_{2,l}$, and a normalisation n of what the weights multiply:

$$f_l = \sigma_l(\sigma_wW_l n(h_{l-1})/\sqrt{d_{l-1}} + \sigma_bb_l) - m_l,\qquad
h_l = f_l \;\text{ or }\; h_l = h_{l-1} + \rho\,W_{2,l}f_l/\sqrt{d_l}.$$

A branch of the first layer gives $h_1 = \sqrt p\,x + \rho W_{2,1}f_1/\sqrt p$, and a normalised first layer sees
$W_1x/\|x\|$. Data counts as centred: as long as the state carries it, ``"layer"`` is ``"rms"``. The features of wide
networks then have the kernels of :func:`hntk.exact_kernels` for all data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import prod, sqrt
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_count
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass, is_traced
from hntk._utils.rows import as_samples
from hntk.activations import Activation
from hntk.files.exact_arrays import to_float32
from hntk.files.matrices import check_layers, matrices_from_fields, matrices_to_arrays
from hntk.files.reader import FieldReader
from hntk.networks.activation_records import activation_to_record, read_activations
from hntk.networks.forward import BATCH, Forward
from hntk.networks.layer_parts import UNIT, as_layer_parts, part_names
from hntk.networks.layers import BranchStep, Step
from hntk.networks.provenance import MatchRecord, provenance_notes, provenance_to_metadata, read_origin
from hntk.networks.read_layers import ReadLayers, as_read_layers, read_widths
from hntk.networks.saveable import VERSION, SaveableNetwork
from hntk.networks.summary_table import FLOAT_BYTES, LayerSummary, Summary, pack_all
from hntk.networks.value_bounds import HiddenLayer, Readout, check_finite
from hntk.theory.architecture import Architecture, LayerScales, Normalize
from hntk.weights.laws import WeightLaw
from hntk.weights.weight_matrix import Weights

# Mean of an activation at scale 1 below which it has none.
ODD = 1e-12


@array_dataclass(static=("activations", "centres", "law", "origin", "scales", "normalize"))
class Network(SaveableNetwork):
    """A fully-connected network with random hidden weights.

    Networks are pytrees: ``jax.jit``, ``jax.vmap`` and ``jax.grad`` take them as arguments.

    Attributes
    ----------
    weights : tuple of WeightMatrix or OrthogonalMatrix
        L matrices of shapes (d_l, d_{l-1}), with d_0 = p.
    activations : tuple of Activation
        L activations.
    centres : tuple of float
        L constants m_l that are subtracted from the activations.
    readout : (d_L,) array or None
        Gaussian readout w at initialisation, which only the NTK needs; None if it was not kept.
    law : WeightLaw or None
        The law that the weights were drawn from; None if it is unknown.
    origin : MatchRecord or None
        How the activations of a compressed network were found; files keep it.
    biases : tuple of (d_l,) array or None, or None
        Standard biases b_l, one entry a layer; None without any.
    branches : tuple of WeightMatrix, OrthogonalMatrix or None, or None
        Outer matrices W_{2,l} of shapes (d_l, d_l) of residual branches, one entry a layer; None without any.
    scales : tuple of LayerScales or None
        Scales σ_w, σ_b and ρ of each layer. By default they are 1 where there is a part that they belong to.
    normalize : {"rms", "layer"} or None
        Normalisation n of what the weights multiply.

    Raises
    ------
    ValueError
        If biases, branches, scales or the normalisation do not fit the weights or each other.
    """

    weights: tuple[Weights, ...]
    activations: tuple[Activation, ...]
    centres: tuple[float, ...]
    readout: Float[Array, " width"] | None
    law: WeightLaw | None
    origin: MatchRecord | None = field(default=None, kw_only=True)
    biases: tuple[Float[Array, " width"] | None, ...] | None = field(default=None, kw_only=True)
    branches: tuple[Weights | None, ...] | None = field(default=None, kw_only=True)
    scales: tuple[LayerScales, ...] | None = field(default=None, kw_only=True)
    normalize: Normalize | None = field(default=None, kw_only=True)
    form: ClassVar[str] = "float"

    def __post_init__(self) -> None:
        given = (self.biases, self.branches, self.scales, self.normalize)
        if any(part is not None for part in given):
            for name, part in as_layer_parts(self.weights, *given)._asdict().items():
                object.__setattr__(self, name, part)

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(matrix.kind for matrix in self.weights))
        names = ", ".join(dict.fromkeys(sigma.name for sigma in self.activations))
        parts = [_arrows((self.inputs, *self.widths)), f"{kinds} weights", f"activations {names}"]
        return f"{type(self).__name__}({', '.join([*parts, *part_names(self.scales, self.normalize)])})"

    @property
    def inputs(self) -> int:
        """Dimension p of a sample."""
        return self.weights[0].shape[1]

    @property
    def hidden_weights(self) -> int:
        """Number of hidden weights."""
        return sum(prod(w.shape) for w in self.weights)

    @property
    def architecture(self) -> Architecture:
        """What the network is a draw of: its activations, scales, branches and normalisation.

        It is centred if a constant is subtracted from an activation, or if no activation has a mean to subtract and the
        network is plain.
        """
        scales = self.scales or (UNIT,) * len(self.weights)
        weight_std, bias_std, residual = zip(*scales, strict=True)
        odd = self.scales is None and all(abs(sigma.moments(1.0).mean) < ODD for sigma in self.activations)
        return Architecture(
            self.activations,
            weight_std=weight_std,
            bias_std=bias_std,
            centred=any(self.centres) or odd,
            residual=residual,
            normalize=self.normalize,
        )

    def features(self, x: object, batch: int = BATCH, *, layers: ReadLayers = "last") -> Float[Array, "n width"]:
        """Compute h_L(x)/√d_L in float32, so that ``features @ features.T`` estimates the conjugate kernel.

        With ``layers="all"`` it estimates the sum of the conjugate kernels after 1, …, L layers.

        Works under ``jax.jit``, ``jax.vmap`` and ``jax.grad``, where the values of x are not checked.

        Parameters
        ----------
        x : (n, p) array
            Samples.
        batch : int
            Rows computed at a time. Memory beyond the result is O(batch · width).
        layers : {"last", "all"}
            Whose features: the last layer's, or (h_1/√d_1, …, h_L/√d_L) side by side.

        Returns
        -------
        (n, d_L) array of float32, or (n, d_1 + … + d_L)
            Features.

        Raises
        ------
        ValueError
            If x is not finite or does not have p columns, or ``layers`` is unknown.
        MemoryError
            If the features do not fit into memory; :meth:`feature_batches` gives some rows of them at a time.
        """
        samples, width = self.check_inputs(x), sum(read_widths(self.widths, as_read_layers(layers)))
        check_room(
            2 * FLOAT_BYTES * samples.shape[0] * width,
            f"features of {samples.shape[0]:,} samples and width {width:,}",
            "network.feature_batches(x) gives some rows of them at a time.",
        )
        return jnp.concatenate(list(self.feature_batches(samples, batch, layers=layers)))

    def feature_batches(
        self, x: object, batch: int = BATCH, *, layers: ReadLayers = "last"
    ) -> Iterator[Float[Array, "batch width"]]:
        """Compute the rows of :meth:`features`, a batch at a time.

        Parameters
        ----------
        x : (n, p) array
            Samples.
        batch : int
            Rows computed at a time.
        layers : {"last", "all"}
            Whose features, as in :meth:`features`.

        Returns
        -------
        iterator of (batch, d_L) or (batch, d_1 + … + d_L) arrays of float32
            Features; the last batch may have fewer rows.

        Raises
        ------
        ValueError
            If x is not finite or does not have p columns, or ``layers`` is unknown; raised at once.
        MemoryError
            If a batch does not fit into memory.
        """
        samples, rows = self.check_inputs(x), as_count(batch, "batch")
        rows, read = min(rows, samples.shape[0]), read_widths(self.widths, as_read_layers(layers))
        sides = (self.inputs, *self.widths)
        kept = 2 * sum(read) if layers == "all" else 0
        check_room(
            FLOAT_BYTES * rows * (kept + max(before + after for before, after in pairwise(sides))),
            f"{rows:,} samples between layers of widths {sides}",
            "Give a smaller batch=.",
        )
        sizes = np.sqrt(np.repeat(read, read)).astype(np.float32)
        size = sizes if layers == "all" else sizes[0]
        return (features / size for features in self._forward.batches(samples, rows, layers))

    @cached_property
    def _forward(self) -> Forward:
        return Forward([_step(layer, number == 0) for number, layer in enumerate(self.layers())])

    def check_inputs(self, x: object) -> Float[Array, "n p"]:
        """Return samples as an array that fits this network.

        Parameters
        ----------
        x : (n, p) array
            Samples.

        Returns
        -------
        (n, p) array
            The samples on JAX's device.

        Raises
        ------
        ValueError
            If they are not finite or do not have p columns.
        """
        # Features are computed in float32, whatever the type of x.
        samples = as_samples(x, dtype=jnp.float32)
        if samples.shape[1] != self.inputs:
            raise ValueError(
                f"x has {samples.shape[1]} columns but the network was drawn for {self.inputs}: "
                "use data of the same dimension, or draw a network for this x."
            )
        return samples

    def layers(self) -> Iterator[HiddenLayer]:
        """Yield what each layer consists of, the first layer first.

        Yields
        ------
        HiddenLayer
            One hidden layer.
        """
        depth, fan_in = len(self.weights), (1, *self.widths[:-1])
        biases, branches = self.biases or (None,) * depth, self.branches or (None,) * depth
        parts = zip(biases, branches, self.scales or (UNIT,) * depth, strict=True)
        plain = zip(self.weights, fan_in, self.activations, self.centres, strict=True)
        carries_data = True
        for (w, d, sigma, m), (b, branch, scale) in zip(plain, parts, strict=True):
            bias = None if b is None else _scaled(b, scale.bias_std)
            kind = "rms" if self.normalize and carries_data else self.normalize
            more = (bias, scale.bias_std, branch, scale.residual, kind)
            yield HiddenLayer(w, scale.weight_std / sqrt(d), sigma, m, *more)
            carries_data = carries_data and branch is not None

    def to_arrays(self, encoding: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return the arrays and the metadata of a file."""
        arrays, metadata = self.hidden_to_arrays(encoding)
        if self.readout is not None:
            arrays["readout.initial"] = to_float32(self.readout, "the readout at initialisation")
        return arrays, metadata

    def hidden_to_arrays(self, encoding: str | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return what :meth:`to_arrays` does, without the readout at initialisation."""
        check_layers(self.weights, activations=self.activations, centres=self.centres)
        arrays, tables = matrices_to_arrays(self.weights, encoding)
        for number, (table, sigma, centre) in enumerate(zip(tables, self.activations, self.centres, strict=True), 1):
            table["activation"], steps = activation_to_record(sigma, f"layer{number}")
            table["centre"] = centre
            arrays |= steps
        metadata = {"version": VERSION, "form": self.form, "layers": tables, **provenance_to_metadata(self.origin)}
        return arrays, metadata

    @staticmethod
    def from_arrays(fields: FieldReader, packed_from: Sequence[Weights] | None = None) -> Network:
        """Read the contents of a file; what is small is checked before matrices are unpacked."""
        return Network.hidden_from_arrays(fields, packed_from, None)

    @staticmethod
    def hidden_from_arrays(
        fields: FieldReader, packed_from: Sequence[Weights] | None, readout: Readout | None
    ) -> Network:
        """Read the hidden layers, whose predictions through the readout must be finite."""
        layers = fields.subtables("layers")
        activations = read_activations(layers)
        centres = tuple(layer.number("centre") for layer in layers)
        initial = None
        if "readout.initial" in fields.arrays:
            initial = jnp.asarray(fields.array("readout.initial", np.float32, layers[-1].shape("shape")[0]))
        origin = read_origin(fields)
        weights = matrices_from_fields(layers, packed_from)
        network = Network(weights, activations, centres, initial, None, origin=origin)
        check_finite(list(network.layers()), 1.0 if origin is None else origin.tau0, readout)
        return network

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        return Summary(self.layer_summaries(encodings), "float32", provenance_notes(self.origin))

    def layer_summaries(self, encodings: Sequence[str] | None) -> tuple[LayerSummary, ...]:
        """Return one row a hidden layer for a summary."""
        packed = pack_all(self.weights, encodings)
        return tuple(
            LayerSummary.hidden(
                number,
                matrix,
                activation=sigma.name,
                levels=sigma.level_count,
                other_bytes=FLOAT_BYTES * sigma.table_size,
            )
            for number, (matrix, sigma) in enumerate(zip(packed, self.activations, strict=True), 1)
        )


def _step(layer: HiddenLayer, first: bool) -> Step:
    """Return a layer as a forward pass takes it."""
    w, inputs = layer.weights, layer.weights.shape[1]
    # normalised rows have norm 1, and what the first layer sees is h_0/√p already
    factor = w.scale * layer.factor * (sqrt(inputs) if layer.normalize and not first else 1.0)
    branch = None
    if layer.branch is not None:
        branch = BranchStep(layer.branch, layer.branch_factor, sqrt(inputs) if first else 1.0)
    bias = None if layer.bias is None else _scaled(layer.bias, 1 / factor)
    function = _Centred(layer.activation, layer.centre)
    return Step(w, factor, function, bias, branch=branch, normalize=layer.normalize)


def _scaled(bias: Array | np.ndarray, factor: float) -> Array | np.ndarray:
    """Return biases times a factor; known numbers on the host, so that what is kept of them holds no tracer."""
    return (bias if is_traced(bias) else np.asarray(bias)) * np.float32(factor)


@dataclass(frozen=True)
class _Centred:
    """The function σ(z) − m; hashable, so that what is compiled for it is kept."""

    sigma: Activation
    m: float

    def __call__(self, z: Array) -> Array:
        """Apply it elementwise."""
        return self.sigma(z) - self.m


def _arrows(widths: Sequence[int]) -> str:
    """Return widths with arrows between; of a deep network the first and the last."""
    shown = [f"{width:,}" for width in widths]
    return " -> ".join(shown if len(shown) <= 6 else [*shown[:3], "…", *shown[-2:]])
