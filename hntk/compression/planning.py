"""Plans: the cheapest design for a kernel error or an accuracy, or the best design for a memory.

The widths of a design are found by :mod:`hntk.compression.width_problem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jax import Array
from jaxtyping import Int

from hntk._utils.arguments import as_count, as_key, as_positive, as_reals, as_share
from hntk._utils.rows import as_samples, rms_norm
from hntk.compression.accuracy import cheapest_accurate
from hntk.compression.compressed_network import ternary_law
from hntk.compression.design import Design
from hntk.compression.error_budget import Terms
from hntk.compression.width_problem import NARROWEST, WidthProblem
from hntk.matching import Match, MatchError, match
from hntk.matching.options import MOST_LEVELS
from hntk.readouts.answers import Answers
from hntk.readouts.held_out import held_out_parts
from hntk.theory.architecture import ArchitectureLike
from hntk.weights.laws import WeightLaw, is_orthogonal_sparsity

# shares of zero weights that are tried by default
SPARSITIES = (0.0, 0.5, 2 / 3, 0.75, 0.8, 0.875, 0.9)


def plan(
    activations: ArchitectureLike,
    x: object,
    labels: object,
    *,
    error: float | None = None,
    memory: int | None = None,
    accuracy: float | None = None,
    key: Array | None = None,
    levels: Sequence[int] = (2, 3, 4, 5, 8),
    sparsities: Sequence[float] | None = None,
    weights: Literal["orthogonal", "iid"] | None = None,
    depth: int | None = None,
    alpha2: bool = True,
) -> Design:
    """Return the cheapest design for a target, or the best one for a memory.

    Give exactly one of ``error``, ``memory`` and ``accuracy``. Of designs with equal bytes the sparser one is returned,
    then the one with fewer levels.

    For an accuracy, all layers have the same width, and weights are as sparse as moves the kernel no more than the
    width does. Designs that are predicted to qualify are drawn and measured beside the original on held-out samples,
    from the cheapest on, until the loss of one is within ``accuracy`` plus a standard error. The measurement decides:
    predictions are not reliable if the data is no Gaussian mixture, or its norms do not concentrate. Predictions and
    measurements are for at most 4000 samples; with more samples a network has to be wider to keep up.

    Parameters
    ----------
    activations : sequence of str or Activation, or Architecture
        The original; a list of one activation per layer is centred, with unit weights and without biases.
    x : (n, p) array
        Samples.
    labels : (n,) array
        Their classes, or targets of a regression, which are floating-point numbers and may be (n, K). For an error or a
        memory they only give the size of the readout.
    error : float, optional
        Largest ‖K̂ − K‖/‖K‖: relative distance, in operator norm, of the drawn network's conjugate kernel on x from the
        original's exact one. For an original that is not such a list, both are those behind an intercept, P K P.
    memory : int, optional
        Largest number of bytes of the whole network by formula, with 2 bits a weight.
    accuracy : float, optional
        Largest share of new samples that the dense original at infinite width may recognise and the drawn network not.
    key : jax.Array, optional
        JAX random key, needed for an accuracy. Drawn with it, the design is the network that was measured.
    levels : sequence of int
        Numbers of levels to choose from.
    sparsities : sequence of float, optional
        Shares of zero weights to choose from; by default 0, 1/2, 2/3, 3/4, .8, 7/8 and .9, of which orthogonal weights
        can have 0, 1/2, 3/4 and 7/8.
    weights : {"orthogonal", "iid"}, optional
        Ternary weights in orthogonal blocks, or independent ones; by default orthogonal at every sparsity that allows,
        as in :func:`hntk.compress`.
    depth : int, optional
        Number of layers of the network that is planned; by default the original's.
    alpha2 : bool
        See :func:`hntk.match`.

    Returns
    -------
    Design
        The design.

    Raises
    ------
    ValueError
        If not exactly one target is given or it is out of range; if no width reaches the error or the accuracy, with
        the least that can be reached; if not even the narrowest network fits the memory; for an accuracy, if there is
        no key or a class has fewer than 8 samples.
    MatchError
        If no number of levels can match the original.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=60, p=40, key=jax.random.key(0))
    >>> design = hntk.plan(["relu"], data.x, data.labels, error=0.5, levels=[4])
    >>> design.account.total <= 0.5, design.levels
    (True, (4,))

    A design that recognises at most 2 % fewer samples than the dense network:

    >>> design = hntk.plan(["relu"], data.x, data.labels, accuracy=0.02, key=jax.random.key(1), levels=[4])
    >>> design.accuracy.loss <= 0.02 + design.accuracy.standard_error
    True
    """
    target, key = _target(error, memory, accuracy), None if key is None else as_key(key)
    levels, laws = _levels(levels), _laws(sparsities, weights)
    samples = as_samples(x)
    answers = Answers.of(labels, samples.shape[0], "labels")
    inputs, scale = samples.shape[1], rms_norm(samples)
    if accuracy is not None:
        if key is None:
            raise ValueError("accuracy= draws networks and measures them: give key=, for example jax.random.key(0).")
        held_out_parts(_class_index(answers))
        matches = _matches(activations, scale, levels, depth, alpha2=alpha2)
        return cheapest_accurate(matches, np.asarray(samples), answers.values, accuracy, laws, key)
    designs, floors = [], []
    for matched in _matches(activations, scale, levels, depth, alpha2=alpha2):
        terms = Terms.of(matched, samples)
        for law in laws:
            problem = WidthProblem(matched, terms, law, inputs, answers.outputs)
            widths = problem.cheapest(target) if memory is None else problem.best(target)
            floors.append(problem.floor)
            if widths is not None:
                designs.append(problem.design(widths))
    if not designs:
        raise ValueError(_nothing_fits(error, memory, min(floors)))
    if memory is None:
        return min(designs, key=lambda d: (round(np.log(d.bytes), 2), -d.sparsity, sum(d.levels)))
    return min(designs, key=lambda d: (round(d.account.total, 3), -d.sparsity, sum(d.levels)))


def _class_index(answers: Answers) -> Int[np.ndarray, " n"]:
    """Return the class of every sample, or refuse targets of a regression."""
    if answers.index is None:
        raise ValueError(
            "accuracy= is of classes, and labels are floating-point numbers, targets of a regression: plan for "
            "error= or memory=, or give labels.astype(int) for classes."
        )
    return answers.index


def _target(error: float | None, memory: int | None, accuracy: float | None) -> float:
    """Return the only target that is not None, within its range."""
    targets = [target for target in (error, memory, accuracy) if target is not None]
    if len(targets) != 1:
        raise ValueError(
            f"give either error= (of the kernel, relative), memory= (in bytes) or accuracy= (how much of it may be "
            f"lost); got {len(targets)} of them."
        )
    if accuracy is not None:
        return as_share(accuracy, "accuracy", "it is how much accuracy may be lost, .01 for one sample in a hundred")
    if error is not None:
        return as_positive(error, "error", ".3 is a loose target, .05 a tight one")
    return as_positive(memory, "memory", "in bytes")


def _levels(levels: object) -> tuple[int, ...]:
    """Return the numbers of levels to choose from, or refuse none and those out of range."""
    return tuple(map(int, as_reals(levels, "levels", lambda count, name: as_count(count, name, 2, MOST_LEVELS))))


def _laws(sparsities: object, weights: str | None) -> tuple[WeightLaw, ...]:
    """Return the laws of weights to choose from.

    Raises
    ------
    ValueError
        If there are no sparsities, one is out of range, or there are no such weights of one.
    """
    if sparsities is None:
        sparsities = [s for s in SPARSITIES if weights != "orthogonal" or is_orthogonal_sparsity(s)]
    shares = as_reals(sparsities, "sparsities", lambda share, _: WeightLaw("ternary", sparsity=share).sparsity)  # type: ignore[arg-type]
    return tuple(ternary_law(share, weights) for share in shares)


def _matches(
    activations: ArchitectureLike, tau0: float, levels: Sequence[int], depth: int | None, *, alpha2: bool
) -> list[Match]:
    """Return the match of each number of levels that can match the original.

    Raises
    ------
    MatchError
        If none can.
    """
    matches, last_error = [], None
    for count in levels:
        try:
            matches.append(match(activations, tau0, count, depth=depth, alpha2=alpha2))
        except MatchError as error:
            last_error = error
    if not matches:
        assert last_error is not None
        raise last_error
    return matches


def _nothing_fits(error: float | None, memory: int | None, floor: float) -> str:
    """Return the message for when no design reaches the error or fits the memory."""
    if error is None:
        return f"not even a network of {NARROWEST} neurons a layer fits {memory:,} bytes: allow more memory=."
    return (
        f"no width reaches an error of {error:g}: at infinite width, identity shift, finite n and p, and sparsity "
        f"leave at least {floor:.3g}. Ask for more than that, allow more levels, or use more data."
    )
