r"""Descriptions of networks: activations, scales, centring, residual branches, normalisation, repeated layers.

Layer l takes $h_{l-1}$ of width d to $h_l$, with $h_0 = \sqrt{p}\,x$ and entries of W and b of mean 0 and variance 1:

$$u = \sigma_w W n(h_{l-1})/\sqrt{d} + \sigma_b b,\qquad f = \sigma_l(u) - m_l,\qquad
h_l = f \;\text{ or, with a residual branch, }\; h_l = h_{l-1} + \rho\,W_2 f/\sqrt{d}.$$

m_l is the mean of the activation at the layer's scale where the network is centred, and 0 otherwise. n is the
identity, or a normalisation of what the weights multiply, the data included; the branch is added to a state that is not
normalised. With K the kernel of the state,

* ``"rms"`` divides by the root mean square over the width: $K_{ij} \to K_{ij}/\sqrt{K_{ii}K_{jj}}$;
* ``"layer"`` subtracts the mean over the width before that: $K_{ij} \to (K_{ij} - \mu^2)/\sqrt{(K_{ii} - \mu^2)(K_{jj}
  - \mu^2)}$. At infinite width μ is one number, $E[\sigma_l(u)] - m_l$ behind a layer without a residual branch. A
  branch does not change it, and it is 0 for the data, whose features count as centred.

All pre-activations of a normalised network have the variance $\sigma_w^2 + \sigma_b^2$, whatever the sample's norm. In
a centred one μ is 0, so that both normalisations are the same.

An implicit network, or deep equilibrium model (Bai et al., 2019), has one layer that takes in its own output and the
data. Its output is the state that does not change any more,

$$z = \sigma(u) - m,\qquad u = \sigma_w A z/\sqrt{d} + \sigma_x B h_0/\sqrt{p} + \sigma_b b,$$

with entries of A, B and b of mean 0 and variance 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from hntk._utils.arguments import as_choice, as_instance, as_nonnegative, as_positive
from hntk._utils.arrays import brief
from hntk.activations import Activation, activation

Normalize = Literal["rms", "layer"]


class LayerScales(NamedTuple):
    """Scales of one layer.

    Attributes
    ----------
    weight_std : float
        Standard deviation σ_w of the weights, before the factor 1/√d.
    bias_std : float
        Standard deviation σ_b of the biases.
    residual : float
        Factor ρ of the residual branch; 0 for a layer without one.
    """

    weight_std: float
    bias_std: float
    residual: float


@dataclass(frozen=True, repr=False)
class Architecture:
    """A network of fully-connected layers: all that its kernels at infinite width depend on.

    Numbers and names are checked and kept as tuples, which ``layers`` and ``scales`` give.

    Attributes
    ----------
    activations : sequence of str or Activation
        One activation per layer, first layer first.
    weight_std : float or sequence of float
        Standard deviation σ_w of the weights, positive: one for all layers or one for each.
    bias_std : float or sequence of float
        Standard deviation σ_b of the biases; 0 means that there are none.
    centred : bool
        Whether each activation's Gaussian mean at the layer's scale is subtracted from it.
    residual : float or sequence of float
        Factor ρ of the residual branch, h_l = h_{l−1} + ρ W₂ σ(W₁ h_{l−1}); 0 for a layer without one. A
        branch needs equal widths before and behind it, the data's for the first layer.
    normalize : {"rms", "layer"}, optional
        Normalisation of what each layer's weights multiply, the data included. ``"rms"`` divides by the root mean
        square over the width, ``"layer"`` subtracts the mean over the width before that. By default there is none.
    implicit : bool
        Whether the network is a deep equilibrium model: one layer, which is repeated with the same weights until its
        output z does not change, z = σ(σ_w A z/√d + σ_x B x + σ_b b). It has one activation without jumps, and no
        residual branch and no normalisation. The iteration must contract: σ_w² E[σ'(u)²] < 1, which functions check
        that know the scale of the data.
    input_std : float
        Standard deviation σ_x of the weights B that an implicit network gives to the data, positive.

    Raises
    ------
    ValueError
        If there is no layer, a number is out of range, there are not as many of them as layers, or an implicit network
        has what it cannot have.

    Examples
    --------
    The network that neural-tangents builds from ``Dense(512, W_std=2**0.5, b_std=0.1)`` and ``Relu()``, three times:

    >>> from hntk.theory.architecture import Architecture
    >>> net = Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.1, centred=False)
    >>> net.depth, net.is_plain
    (3, False)
    >>> net.scales[0].bias_std
    0.1

    A deep equilibrium model:

    >>> Architecture(["tanh"], weight_std=0.8, implicit=True, input_std=1.2).depth
    1
    """

    activations: Sequence[str | Activation]
    weight_std: float | Sequence[float] = 1.0
    bias_std: float | Sequence[float] = 0.0
    centred: bool = True
    residual: float | Sequence[float] = 0.0
    normalize: Normalize | None = None
    implicit: bool = False
    input_std: float = 1.0

    def __post_init__(self) -> None:
        layers = as_activations(self.activations)
        checks = {"weight_std": as_positive, "bias_std": as_nonnegative, "residual": as_nonnegative}
        numbers = {name: _per_layer(getattr(self, name), name, len(layers), check) for name, check in checks.items()}
        as_instance(self.centred, "centred", (bool, np.bool_), "True or False")
        if self.normalize is not None:
            as_choice(self.normalize, "normalize", get_args(Normalize))
        as_instance(self.implicit, "implicit", (bool, np.bool_), "True or False")
        flags = {"centred": bool(self.centred), "implicit": bool(self.implicit)}
        data = {"input_std": as_positive(self.input_std, "input_std")}
        for name, value in {"activations": layers, **flags, **numbers, **data}.items():
            object.__setattr__(self, name, value)
        _check_implicit(self)

    def __repr__(self) -> str:
        names = str([layer.name for layer in self.layers])
        return f"Architecture({', '.join([names, *self._settings])})"

    @property
    def settings(self) -> str:
        """What sets the network apart from the plain one with its activations, in words; empty for a plain one."""
        return ", ".join(self._settings).replace("centred=False", "un-centred")

    @property
    def _settings(self) -> list[str]:
        """Every field but the activations that does not have its default, as ``name=value``."""
        parts = []
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            numbers = {value} if not isinstance(value, tuple) else set(value)
            if numbers != {field.default}:
                shown = brief_numbers(value) if isinstance(value, tuple) else repr(value)
                parts.append(f"{field.name}={shown}")
        return parts

    @property
    def layers(self) -> tuple[Activation, ...]:
        """The activations, first layer first."""
        return tuple(self.activations)  # type: ignore[arg-type]

    @property
    def depth(self) -> int:
        """Number L of layers."""
        return len(self.activations)

    @property
    def scales(self) -> tuple[LayerScales, ...]:
        """Scales of each layer."""
        return tuple(map(LayerScales, self.weight_std, self.bias_std, self.residual))  # type: ignore[arg-type]

    @property
    def is_plain(self) -> bool:
        """Whether this is the network of a list of activations: centred, unit weights and nothing else."""
        return self == Architecture(self.activations)


class Described(Protocol):
    """What has an architecture, such as a network that is drawn or read from a model."""

    @property
    def architecture(self) -> Architecture:
        """Return what it is a draw of."""
        ...


# what functions take as a network: its description, what has one, or one activation per layer
ArchitectureLike = Architecture | Described | Sequence[str | Activation]


def as_architecture(network: Any) -> Architecture:
    """Return a network's description.

    Parameters
    ----------
    network : Architecture, Network, Classifier or sequence of str or Activation
        The description itself, a network that has one, or one activation per layer. A list stands for the centred
        network with weights of variance 1 and without biases, branches or normalisation.

    Returns
    -------
    Architecture
        The description.

    Raises
    ------
    ValueError
        If it is neither, or the list is empty or has an unknown activation.

    Examples
    --------
    >>> from hntk.theory.architecture import as_architecture
    >>> as_architecture(["relu", "erf"]).is_plain
    True
    """
    described = getattr(network, "architecture", network)
    return described if isinstance(described, Architecture) else Architecture(network)


def plain_activations(network: Any, remedy: str) -> tuple[Activation, ...]:
    """Return the activations of a plain network, the only kind that Theorems 1 and 2 are about.

    Raises
    ------
    ValueError
        If it is another architecture, with the remedy; or as :func:`as_activations`.
    """
    network = getattr(network, "architecture", network)
    if not isinstance(network, Architecture):
        return as_activations(network)
    if not network.is_plain:
        raise ValueError(
            f"{network!r} is not plain: centred, with unit weights and without biases, branches and normalisation, and "
            f"not implicit. {remedy}"
        )
    return network.layers


def refuse_implicit(network: Architecture, what: str, remedy: str) -> None:
    """Refuse an implicit network where layers that follow each other are needed.

    Parameters
    ----------
    network : Architecture
        The network.
    what : str
        Subject and verb of what cannot be done, such as "neural-tangents has".
    remedy : str
        What to do, as a sentence.

    Raises
    ------
    ValueError
        If the network is implicit.
    """
    if network.implicit:
        raise ValueError(f"{what} no implicit networks, such as {network!r}: their layer is repeated. {remedy}")


def as_activations(activations: str | Activation | Iterable) -> tuple[Activation, ...]:
    """Return a network's activations, first layer first; names are looked up.

    Raises
    ------
    ValueError
        If there are none, or one is unknown or no activation.
    """
    if isinstance(activations, str | Activation):
        raise ValueError(
            f"give one activation per layer as a list, for example [{getattr(activations, 'name', activations)!r}] * 3."
        )
    if isinstance(activations, bytes | dict) or not isinstance(activations, Iterable):
        raise ValueError(f"activations must be a list, one name or activation per layer; got {brief(activations)}.")
    layers = tuple(activation(a) for a in activations)
    if not layers:
        raise ValueError("a network needs at least one layer: activations is empty.")
    return layers


def _check_implicit(net: Architecture) -> None:
    """Refuse settings that do not go with a repeated layer, or go with it alone."""
    if not net.implicit:
        if net.input_std != 1:
            raise ValueError(
                f"input_std = {net.input_std:.6g} is for implicit=True; the first number of weight_std is the scale of "
                "the weights on the data in other networks."
            )
        return
    if net.depth != 1:
        raise ValueError(
            f"an implicit network repeats one layer, got {net.depth} activations: give one, or implicit=False for "
            "layers that follow each other."
        )
    if net.normalize or net.scales[0].residual:
        raise ValueError(
            "an implicit network has no residual branch and no normalisation, as its layer takes in its own output: "
            "leave residual and normalize out, or give implicit=False."
        )
    if net.layers[0].has_jumps:
        raise ValueError(
            f"an implicit network with {net.layers[0].name} does not settle: at a jump any change of its state grows. "
            "Give an activation without jumps, such as 'relu' or 'tanh'; networks of few levels are explicit."
        )


def _per_layer(given: Any, name: str, depth: int, check: Callable[[object, str], float]) -> tuple[float, ...]:
    """Return one checked number per layer; one that stands alone is that of every layer."""
    if not isinstance(given, list | tuple) and np.ndim(given) != 1:
        return (check(given, name),) * depth
    if len(given) != depth:
        raise ValueError(f"{name} must be one number, or {depth} numbers, one per layer; got {len(given)} of them.")
    return tuple(check(value, f"every number of {name}") for value in given)


def brief_numbers(values: Sequence[float]) -> str:
    """Return the numbers of all layers with six digits; those that are equal once."""
    numbers = [f"{number:.6g}" for number in values]
    return numbers[0] if len(set(values)) == 1 else f"[{', '.join(numbers)}]"
