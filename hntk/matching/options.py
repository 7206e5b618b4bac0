"""Checks of the options of a match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jax import Array
from jaxtyping import Int

from hntk._utils.arguments import as_choice, as_count, as_widths
from hntk._utils.arrays import brief
from hntk._utils.labels import as_labels
from hntk._utils.rows import as_samples
from hntk.matching.bit_budget import spread_bits
from hntk.matching.joint_target import JointTarget
from hntk.matching.layerwise import Levels
from hntk.matching.original_target import OriginalNetwork
from hntk.matching.result import Objective
from hntk.matching.variance_shares import NAMES
from hntk.matching.width_noise import DrawnWidths
from hntk.weights.laws import WeightLaw, weight_law

Method = Literal["joint", "layerwise"]
Kernel = Literal["alpha", "beta", "both"]
MOST_LEVELS = 16
MOST_BITS = 4
MOST_LAYERS = 100


def asked_coefficients(kernel: Kernel, *, alpha2: bool) -> tuple[str, ...]:
    """Return the names of the coefficients that a kernel asks for."""
    kernel = as_choice(kernel, "kernel", get_args(Kernel))
    return tuple(
        name for name in NAMES if (kernel == "both" or name.startswith(kernel)) and (alpha2 or not name.endswith("2"))
    )


def as_depth(depth: object, original: int) -> int:
    """Return the number of layers of the compressed network, by default the original's."""
    return original if depth is None else as_count(depth, "depth", 1, MOST_LAYERS)


def as_method(method: Method | None, counts: Sequence[Levels], original: OriginalNetwork, kernel: Kernel) -> Method:
    """Return the method, by default the joint one where σ_T is not asked for."""
    paper = "paper" in counts
    chosen = as_choice(("layerwise" if paper else "joint") if method is None else method, "method", get_args(Method))
    if paper and chosen == "joint":
        raise ValueError("the paper's σ_T is defined layer by layer: use method='layerwise', or a number of levels.")
    if chosen == "layerwise":
        _check_layers(original, kernel)
    return chosen


def _check_layers(original: OriginalNetwork, kernel: Kernel) -> None:
    """Refuse a match layer by layer of what the layers' own moments do not give."""
    layers, joint = original.architecture.depth, "Use method='joint', with a number of levels."
    if original.depth != layers:
        raise ValueError(
            f"layer by layer, a network of {layers} layers is matched by one of {layers}, not {original.depth}. {joint}"
        )
    if original.is_like_compressed:
        return
    if kernel != "alpha":
        raise ValueError(
            f"layer by layer, only the conjugate kernel of {original.architecture!r} is matched: the compressed "
            f"network's NTK then has another β_1/α_1. Leave kernel= out. {joint}"
        )
    if original.layer_shares is None:
        raise ValueError(
            f"layer 1 of {original.architecture!r} does not see norms, as its input is normalised: no centred layer "
            f"has its α_2 = 0 and its α_3. Use alpha2=False, which assumes that norms concentrate. {joint}"
        )


def levels_per_layer(levels: Levels | Sequence[Levels] | None, depth: int) -> tuple[Levels, ...]:
    """Return the number of levels of every layer, 4 by default."""
    levels = 4 if levels is None else levels.tolist() if isinstance(levels, np.ndarray) else levels
    counts: tuple[Any, ...] = (
        tuple(levels) if isinstance(levels, Sequence) and not isinstance(levels, str) else (levels,) * depth
    )
    if len(counts) != depth:
        raise ValueError(f"levels has {len(counts)} entries for {depth} layers: give one number, or one per layer.")
    for count in counts:
        if not (isinstance(count, str) and count == "paper") and (
            isinstance(count, bool) or not isinstance(count, int | np.integer) or not 2 <= count <= MOST_LEVELS
        ):
            raise ValueError(f"levels must be whole numbers from 2 to {MOST_LEVELS}, or 'paper'; got {brief(count)}.")
    return tuple(c if c == "paper" else int(c) for c in counts)


def levels_from_bits(target: JointTarget, levels: object, bits: int) -> tuple[int, ...]:
    """Return the levels of every layer for a total of bits."""
    depth = len(target.shares)
    if levels is not None:
        raise ValueError("give either levels or bits, not both.")
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not depth <= bits <= MOST_BITS * depth:
        raise ValueError(
            f"bits must be a whole number from {depth} (one for each of the {depth} layers) to {MOST_BITS * depth}, "
            f"got {brief(bits)}."
        )
    return spread_bits(target, int(bits), MOST_BITS)


def samples_of(
    objective: Objective, x: object, labels: object, method: Method, max_shift: float | None
) -> tuple[Array, Int[np.ndarray, " n"] | None] | None:
    """Return the samples of the data objective and, where labels are given, their classes; None for the theory's."""
    if as_choice(objective, "objective", get_args(Objective)) == "theory":
        if labels is not None:
            raise ValueError(
                "labels= belong to objective='data': the theory's match is the same for all labels. Leave labels= out, "
                "or use objective='data' with x=."
            )
        return None
    if x is None:
        raise ValueError("objective='data' needs x=, the samples to compare kernels on, and labels= if there are any.")
    if method != "joint" or max_shift is not None:
        raise ValueError(
            "objective='data' starts from a joint match and does not hold coefficients: leave out method= and "
            "max_shift=."
        )
    samples = as_samples(x)
    return samples, None if labels is None else as_labels(labels, len(samples))[1]


def drawn_widths(objective: Objective, widths: Any, law: str | WeightLaw | None, depth: int) -> DrawnWidths | None:
    """Return the widths and the law of the network that is to be drawn; None for infinite widths."""
    checked = weight_law("gaussian" if law is None else law)
    if widths is None:
        if law is not None:
            raise ValueError("law= has an effect together with widths= alone: give widths= too, or leave law= out.")
        return None
    if objective == "theory":
        raise ValueError(
            "widths= belongs to objective='data': the theory's match is the same at all widths. Leave widths= out, or "
            "use objective='data' with x=."
        )
    return DrawnWidths(as_widths(widths, depth), checked)
