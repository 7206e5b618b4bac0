"""Ternary networks whose kernels have the same high-dimensional equivalents as those of a dense network.

The hidden layers of both networks are random and fixed. Compression does not quantise trained weights: it draws a
ternary network whose kernels on the given data have the spectrum of the original's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from jax import Array

from hntk._utils.arguments import as_choice, as_key, as_scale, as_widths
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import as_samples, rms_norm
from hntk.matching import Levels, Match, Objective, match
from hntk.matching.options import Method, as_depth
from hntk.networks.classifier import Classifier
from hntk.networks.drawing import draw_network
from hntk.networks.models.reading import from_model, is_model
from hntk.networks.network import Network
from hntk.theory.architecture import ArchitectureLike, as_architecture
from hntk.weights.laws import WeightLaw, is_orthogonal_sparsity


@array_dataclass(static=("match",))
class CompressedNetwork(Network):
    """A network with ternary weights and staircase activations.

    Attributes
    ----------
    match : Match
        How the activations were found, with residuals and identity shift.
    """

    match: Match


def ternary_law(sparsity: float, weights: str | None = None) -> WeightLaw:
    """Return the law of ternary weights, orthogonal by default where ε allows.

    Raises
    ------
    ValueError
        If there are no such weights, or none of this sparsity.
    """
    if weights is not None:
        as_choice(weights, "weights", ("orthogonal", "iid"))
    independent = WeightLaw("ternary", sparsity=sparsity)
    if weights == "iid" or (weights is None and not is_orthogonal_sparsity(independent.sparsity)):
        return independent
    return WeightLaw("orthogonal", sparsity=sparsity)


def compress(
    activations: ArchitectureLike | Any,
    widths: Sequence[int] | None = None,
    x: object = None,
    levels: Levels | Sequence[Levels] | Match = 4,
    sparsity: float = 0.5,
    *,
    key: Array,
    weights: Literal["orthogonal", "iid"] | None = None,
    tau0: float | None = None,
    depth: int | None = None,
    alpha2: bool = True,
    method: Method | None = None,
    objective: Objective = "theory",
    labels: object = None,
    progress: Callable[[str], None] | None = None,
) -> CompressedNetwork:
    """Draw a ternary network that is spectrally equivalent to a dense network on the data x.

    Its kernels have the same high-dimensional equivalents as the dense network's, up to a multiple of the identity. For
    a dense network that is not centred, or has biases or other weights, those are equal behind an intercept, as
    :func:`hntk.fit_ridge` has one.

    Parameters
    ----------
    activations : sequence of str or Activation, Architecture, Network, Classifier or model
        The dense network; a list of one activation per layer is centred, with unit weights and without biases. Of a
        network, a classifier, or a model that :func:`hntk.from_model` reads, the scales of weights and biases are
        taken, and not the weights: what is matched is the random network of these scales.
    widths : int or sequence of int, optional
        Widths of the layers; one number is the width of all. By default those of the network or model.
    x : (n, p) array
        Samples, which give the dimension p and the scale τ_0.
    levels : int, "paper", sequence of these, or Match
        Number of levels of the staircases, for all layers or one each; ``"paper"`` for the published staircase σ_T; or
        a match made by :func:`hntk.match`.
    sparsity : float
        Share ε of zero weights, in [0, 1).
    key : jax.Array
        JAX random key.
    weights : {"orthogonal", "iid"}, optional
        Ternary weights in orthogonal blocks, or independent ones; by default orthogonal if ε is 1 − 2⁻ᵏ. Both have the
        same limit, and orthogonal weights stray less from it: see :mod:`hntk.weights.orthogonal`.
    tau0 : float, optional
        Data scale; by default the root mean square norm of x.
    depth : int, optional
        Number of layers of the ternary network; by default the dense one's.
    alpha2, method, objective, labels, progress : bool, str, str, array of shape (n,), callable
        See :func:`hntk.match`; the data objective is told the widths and the law of the weights. Only it takes labels.
        For its other options, call it first and pass the match as ``levels``.

    Returns
    -------
    CompressedNetwork
        The network, with its match.

    Raises
    ------
    MatchError
        If the activations cannot be matched with that many levels.
    ValueError
        If data, widths, sparsity or the key do not fit, or a match is given beside labels, an objective, a depth, a
        method or alpha2.
    MemoryError
        If the weights do not fit into memory; nothing is computed then.

    Examples
    --------
    >>> import jax, hntk
    >>> x = hntk.reference_mixture(n=20, p=30, key=jax.random.key(0)).x
    >>> net = hntk.compress(["relu"] * 2, [64, 32], x, levels=3, key=jax.random.key(1))
    >>> net.features(x).shape, net.match.converged
    ((20, 32), True)
    """
    samples = as_samples(x)
    scale = rms_norm(samples) if tau0 is None else as_scale(tau0)
    law, key = ternary_law(sparsity, weights), as_key(key)
    activations, widths = _original(activations, widths)
    # checked before the match, which takes longest
    shape = as_widths(widths, _depth(activations, levels, depth))
    law.check_room(list(zip(shape, (samples.shape[1], *shape[:-1]), strict=True)))
    if isinstance(levels, Match):
        options = {"labels": labels, "depth": depth, "method": method}
        _refuse(options | {"objective": objective != "theory", "alpha2": not alpha2})
        matched = levels
    else:
        # the theory's match is the same at all widths
        as_choice(objective, "objective", get_args(Objective))
        drawn = {"widths": shape, "law": law} if objective == "data" else {}
        matched = match(
            activations, scale, levels, depth=depth, alpha2=alpha2, method=method, objective=objective, x=samples,
            labels=labels, progress=progress, **drawn,
        )  # fmt: skip
    net = draw_network(matched.activations, shape, samples.shape[1], tau0=scale, law=law, key=key)
    return CompressedNetwork(
        net.weights, net.activations, net.centres, net.readout, net.law, match=matched, origin=matched.record
    )


def _original(given: Any, widths: Any) -> tuple[ArchitectureLike, Any]:
    """Return the dense network and the widths, by default its own."""
    given = from_model(given) if is_model(given) else given
    network = given.network if isinstance(given, Classifier) else given
    if widths is None and isinstance(network, Network):
        widths = network.widths
    return network, widths


def _depth(activations: ArchitectureLike, levels: object, depth: int | None) -> int:
    """Return the number of layers of the network to draw."""
    original = as_architecture(activations).depth
    return len(levels.activations) if isinstance(levels, Match) else as_depth(depth, original)


def _refuse(options: Mapping[str, object]) -> None:
    """Refuse options of a match, where they are given, beside one that is made already."""
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        raise ValueError(f"{given[0]}= has no effect on a match that is made already: give it to hntk.match.")
