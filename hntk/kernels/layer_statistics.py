r"""How far the layers of a network are from those of a random one.

At infinite width a random network of the same scales has Gaussian pre-activations, weights whose singular values follow
the law of Marchenko and Pastur, and exact conjugate kernels K_l. Training moves a network away from all three. Width
does so too: a drawn network of the same widths shows by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import jax
import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_instance, as_seed
from hntk._utils.float64 import float64
from hntk._utils.rows import as_samples, rms_norm
from hntk.kernels.exact import exact_kernels
from hntk.networks.drawing import draw_network
from hntk.networks.float_readout import FloatReadout
from hntk.networks.network import Network
from hntk.networks.row_normalization import unit_columns_on_host
from hntk.spectra.comparison import centred_kernel, operator_norm
from hntk.spectra.marchenko_pastur import compare_with_independent
from hntk.theory.architecture import Architecture

COLUMNS = {
    "weight_std": "weights",
    "bias_std": "biases",
    "excess": "excess",
    "edge_ratio": "largest/edge",
    "spikes": "spikes",
    "spectrum_distance": "spectrum",
    "kernel_distance": "kernel",
    "centred_distance": "centred kernel",
}


@dataclass(frozen=True)
class LayerStatistics:
    """What a layer has that a random one has not.

    Attributes
    ----------
    outputs, inputs : int
        Shape of the layer's matrix.
    activation : str
        The activation's name.
    weight_std : float
        Scale σ_w of the weights.
    bias_std : float
        Scale σ_b of the biases.
    excess : float
        Excess kurtosis of the pre-activations of a sample over the neurons, E u⁴/(E u²)² − 3, the mean over samples;
        0 for Gaussian ones.
    edge_ratio : float
        Largest singular value of the weights over the edge of independent ones.
    spikes : int
        Number of singular values beyond the edge and its fluctuations.
    spectrum_distance : float
        Largest difference of the distributions of squared singular values and of the law of Marchenko and Pastur.
    kernel_distance : float
        ‖K_l − K‖/‖K‖ in operator norm: K_l is the kernel of the layer's values on the samples, K the exact conjugate
        kernel of the random network.
    centred_distance : float
        The same for PKP, P = I − 11ᵀ/n, the kernel that a readout with an intercept sees.
    """

    outputs: int
    inputs: int
    activation: str
    weight_std: float
    bias_std: float
    excess: float
    edge_ratio: float
    spikes: int
    spectrum_distance: float
    kernel_distance: float
    centred_distance: float


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of all layers, and those of a random network drawn with the same scales and widths.

    Attributes
    ----------
    layers : tuple of LayerStatistics
        The network's layers, first layer first.
    drawn : tuple of LayerStatistics
        Those of the drawn network: what width alone does.
    samples : int
        Number of samples that pre-activations and kernels were computed on.
    """

    layers: tuple[LayerStatistics, ...]
    drawn: tuple[LayerStatistics, ...]
    samples: int

    def __repr__(self) -> str:
        head = ["layer", "shape", "activation", *COLUMNS.values()]
        rows = [head, *(_cells(*pair) for pair in enumerate(zip(self.layers, self.drawn, strict=True), 1))]
        sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.ljust(s) for c, s in zip(row, sizes, strict=True)).rstrip() for row in rows]
        note = f"{self.samples:,} samples; in brackets a drawn network of the same scales and widths"
        return "\n".join([*lines, note])


def training_statistics(
    network: Network | FloatReadout, x: object, *, rows: int = 500, seed: int = 0
) -> TrainingStatistics:
    """Compare each layer of a network with the random network of its scales, which training started from.

    Parameters
    ----------
    network : Network, Classifier or Regressor
        The network, such as :func:`hntk.from_model` gives.
    x : (n, p) array
        Samples, normalised as the network takes them. The constants of a centred network are taken to be those at
        their scale.
    rows : int
        Largest number of samples that are taken, the first ones.
    seed : int
        Seed of the random network that is drawn for comparison.

    Returns
    -------
    TrainingStatistics
        One row a layer; ``print`` it for a table.

    Raises
    ------
    ValueError
        If it is no network of hntk, or samples or numbers do not fit.
    MemoryError
        If the kernels of so many samples do not fit into memory.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=40, p=50, key=jax.random.key(0)).x
    >>> he = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, centred=False)
    >>> net = hntk.draw_network(he, 400, 50, tau0=1.0, key=jax.random.key(1))
    >>> layers = hntk.training_statistics(net, x).layers
    >>> [layer.spikes for layer in layers], all(layer.kernel_distance < 0.2 for layer in layers)
    ([0, 0], True)
    """
    kinds = (Network, FloatReadout)
    given = as_instance(
        network, "network", kinds, "a network or classifier of hntk; hntk.from_model reads other models"
    )
    net = given.network if isinstance(given, FloatReadout) else given
    samples = np.asarray(net.check_inputs(as_samples(x)))[: as_count(rows, "rows", 2)]
    kernels = _exact_kernels(samples, net.architecture)
    drawn = draw_network(
        net.architecture, net.widths, net.inputs, tau0=rms_norm(samples), key=jax.random.key(as_seed(seed))
    )
    return TrainingStatistics(_layers(net, samples, kernels), _layers(drawn, samples, kernels), len(samples))


def _exact_kernels(x: Float[np.ndarray, "n p"], network: Architecture) -> list[Float[np.ndarray, "n n"]]:
    """Return the exact conjugate kernels after 1, …, L layers, in float64."""
    kernels, weight_std, bias_std, residual = [], *zip(*network.scales, strict=True)
    for depth in range(1, network.depth + 1):
        first = Architecture(
            network.layers[:depth],
            weight_std=weight_std[:depth],
            bias_std=bias_std[:depth],
            centred=network.centred,
            residual=residual[:depth],
            normalize=network.normalize,
        )
        with float64():
            kernels.append(np.asarray(exact_kernels(x, first).ck, np.float64))
    return kernels


def _layers(
    network: Network, x: Float[np.ndarray, "n p"], kernels: Sequence[Float[np.ndarray, "n n"]]
) -> tuple[LayerStatistics, ...]:
    features = np.split(np.asarray(network.features(x, layers="all")), np.cumsum(network.widths)[:-1], axis=1)
    rows, scales = [], network.architecture.scales
    for number, (layer, scale, before, after, exact) in enumerate(
        zip(network.layers(), scales, [x, *features[:-1]], features, kernels, strict=True)
    ):
        matrix = np.asarray(layer.weights.values, np.float64) * layer.weights.scale
        spectrum = compare_with_independent(matrix)
        kernel = after.astype(np.float64) @ after.T.astype(np.float64)
        rows.append(
            LayerStatistics(
                *matrix.shape,
                activation=layer.activation.name,
                weight_std=scale.weight_std,
                bias_std=scale.bias_std,
                excess=_excess(_preactivations(layer, matrix, before, first=number == 0)),
                edge_ratio=spectrum.edge_ratio,
                spikes=spectrum.spikes,
                spectrum_distance=spectrum.distance,
                kernel_distance=_distance(kernel, exact),
                centred_distance=_distance(centred_kernel(kernel), centred_kernel(exact)),
            )
        )
    return tuple(rows)


def _preactivations(layer, matrix: np.ndarray, before: np.ndarray, *, first: bool) -> Float[np.ndarray, "n d"]:
    """Return u = σ_w W n(h)/√d + σ_b b, given x or the features h/√d."""
    if layer.normalize:
        before = unit_columns_on_host(before.T, layer.normalize).T
    # the layer's factor has the 1/√d that features have
    sums = before @ matrix.T * (layer.factor * (1.0 if first else sqrt(matrix.shape[1])))
    return sums if layer.bias is None else sums + np.asarray(layer.bias)


def _excess(u: Float[np.ndarray, "n d"]) -> float:
    squares = np.mean(u**2, axis=1)
    seen = squares > 0
    return float(np.mean(np.mean(u[seen] ** 4, axis=1) / squares[seen] ** 2) - 3) if np.any(seen) else float("nan")


def _distance(kernel: Float[np.ndarray, "n n"], exact: Float[np.ndarray, "n n"]) -> float:
    size = operator_norm(exact)
    return operator_norm(kernel - exact) / size if size else float("nan")


def _cells(number: int, pair: tuple[LayerStatistics, LayerStatistics]) -> list[str]:
    layer, drawn = pair
    cells = [str(number), f"{layer.outputs} x {layer.inputs}", layer.activation]
    for name in COLUMNS:
        value, other = getattr(layer, name), getattr(drawn, name)
        text = f"{value:.3g}"
        cells.append(text if name in ("weight_std", "bias_std") else f"{text} ({other:.3g})")
    return cells
