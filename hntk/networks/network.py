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
from dataclasses import field
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
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import as_samples
from hntk.activations import Activation
from hntk.files.exact_arrays import to_float32
from hntk.files.matrices import BRANCH, check_layers, matrices_from_fields, matrices_to_arrays
from hntk.files.reader import FieldReader
from hntk.networks.activation_records import activation_to_record, read_activations
from hntk.networks.forward import BATCH, Forward
from hntk.networks.hidden_layer import HiddenLayer, scaled
from hntk.networks.layer_part_records import PARTS_VERSION, PLAIN_VERSION, parts_to_arrays, read_parts
from hntk.networks.layer_parts import UNIT, LayerParts, as_layer_parts, part_names
from hntk.networks.provenance import MatchRecord, provenance_notes, provenance_to_metadata, read_origin
from hntk.networks.read_layers import ReadLayers, as_read_layers, read_widths
from hntk.networks.saveable import SaveableNetwork
from hntk.networks.summary_table import FLOAT_BYTES, LayerSummary, OtherOperations, Summary, pack_all
from hntk.networks.value_bounds import Readout, check_finite
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
    versions: ClassVar[tuple[int, ...]] = (PLAIN_VERSION, PARTS_VERSION)

    def __post_init__(self) -> None:
        if any(part is not None for part in self._parts):
            for name, part in as_layer_parts(self.weights, *self._parts)._asdict().items():
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
    def _parts(self) -> LayerParts:
        return LayerParts(self.biases, self.branches, self.scales, self.normalize)

    @property
    def _kept_exactly(self) -> dict[str, object]:
        return {**super()._kept_exactly, "scales": self.scales, "normalize": self.normalize}

    @property
    def matrices(self) -> tuple[Weights, ...]:
        """The matrices of all layers, and then the outer ones of the residual branches that there are."""
        return (*self.weights, *(branch for branch in self.branches or () if branch is not None))

    @property
    def hidden_weights(self) -> int:
        """Number of hidden weights, those of residual branches included."""
        return sum(prod(w.shape) for w in self.matrices)

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
        # a layer's values are there beside the states on both sides of a branch
        branch = max(self.widths) if self.branches else 0
        check_room(
            FLOAT_BYTES * rows * (kept + max(before + after for before, after in pairwise(sides)) + branch),
            f"{rows:,} samples between layers of widths {sides}",
            "Give a smaller batch=.",
        )
        sizes = np.sqrt(np.repeat(read, read)).astype(np.float32)
        size = sizes if layers == "all" else sizes[0]
        return (features / size for features in self._forward.batches(samples, rows, layers))

    @cached_property
    def _forward(self) -> Forward:
        return Forward([layer.step for layer in self.layers()])

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
        carries_data, carried = True, sqrt(self.inputs)
        for (w, d, sigma, m), (b, branch, scale) in zip(plain, parts, strict=True):
            bias = None if b is None else scaled(b, scale.bias_std)
            kind = "rms" if self.normalize and carries_data else self.normalize
            more = (bias, scale.bias_std, branch, scale.residual, kind, carried)
            yield HiddenLayer(w, scale.weight_std / sqrt(d), sigma, m, *more)
            carries_data, carried = carries_data and branch is not None, 1.0

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
        more_arrays, more_metadata = parts_to_arrays(self._parts, tables, encoding)
        arrays |= more_arrays
        for number, (table, sigma, centre) in enumerate(zip(tables, self.activations, self.centres, strict=True), 1):
            table["activation"], steps = activation_to_record(sigma, f"layer{number}")
            table["centre"] = centre
            arrays |= steps
        metadata = {**more_metadata, "form": self.form, "layers": tables, **provenance_to_metadata(self.origin)}
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
        origin, parts = read_origin(fields), read_parts(fields, layers)
        matrices = matrices_from_fields(layers, packed_from, branches=parts.scales is not None)
        weights, outer = matrices[: len(layers)], iter(matrices[len(layers) :])
        branches = tuple(next(outer) if BRANCH in layer else None for layer in layers)
        network = Network(
            weights, activations, centres, initial, None, origin=origin, branches=branches, **parts._asdict()
        )
        check_finite(list(network.layers()), 1.0 if origin is None else origin.tau0, readout)
        return network

    def summary(self, encodings: Sequence[str] | None = None) -> Summary:
        """Return bits, bytes and arithmetic of every layer; :func:`hntk.summarize` says more."""
        return Summary(self.layer_summaries(encodings), "float32", (*self.notes, *provenance_notes(self.origin)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines of a summary about scales, biases, residual branches and normalisation."""
        names = part_names(self.scales, self.normalize)
        return (f"layers: {', '.join(names)}",) if names else ()

    def layer_summaries(self, encodings: Sequence[str] | None) -> tuple[LayerSummary, ...]:
        """Return one row a hidden layer for a summary, and one behind it for a residual branch."""
        packed = pack_all(self.matrices, encodings)
        rows, outer = [], iter(packed[len(self.weights) :])
        for number, (matrix, layer) in enumerate(zip(packed[: len(self.weights)], self.layers(), strict=True), 1):
            sigma, biases = layer.activation, 0 if layer.bias is None else layer.weights.shape[0]
            rows.append(
                LayerSummary.hidden(
                    f"layer {number}",
                    matrix,
                    activation=sigma.name,
                    levels=sigma.level_count,
                    other_bytes=FLOAT_BYTES * (sigma.table_size + biases),
                    others=layer.other_operations,
                )
            )
            if layer.branch is not None:
                added = OtherOperations(0, layer.branch.shape[0])
                rows.append(
                    LayerSummary.hidden(
                        f"branch {number}", next(outer), activation="", levels=None, other_bytes=0, others=added
                    )
                )
        return tuple(rows)


def _arrows(widths: Sequence[int]) -> str:
    """Return widths with arrows between; of a deep network the first and the last."""
    shown = [f"{width:,}" for width in widths]
    return " -> ".join(shown if len(shown) <= 6 else [*shown[:3], "…", *shown[-2:]])
