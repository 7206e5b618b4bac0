"""Every function that draws, against values that nobody should hand in: an error that helps, or a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import hntk
import hntk.plot
from hntk.asymptotics import LimitingKernel, MixtureLaw
from tests.support.hostile import KERNEL, LABELS, VALUES, N, verdict

VECTORS = np.linalg.qr(np.random.default_rng(0).normal(size=(N, 3)))[0]
POINTS = np.linspace(1, 2, N)
STEPS = hntk.staircase([-0.5, 0.5], [-1.0, 0.0, 1.0])


@cache
def matched() -> hntk.Match:
    return hntk.match(["relu"], 1.0, 3)


@cache
def kernel() -> LimitingKernel:
    return LimitingKernel.of(MixtureLaw.of(3 * np.eye(2, 20), [1.0, 1.0]), 10, ["relu"])


# By function: valid arguments, and the kind of hostile values of each.
CASES: dict[Callable[..., Any], Mapping[str, tuple[Any, str]]] = {
    hntk.plot.spectrum: {
        "kernel": (KERNEL, "kernel"), "spikes": (2, "count"), "bins": (5, "bound"), "ax": (None, "object"),
    },
    hntk.plot.eigenvectors: {
        "pairs": (VECTORS, "features"), "labels": (LABELS, "labels"), "count": (1, "count"), "near": (0.1, "real"),
        "ax": (None, "object"),
    },
    hntk.plot.activation: {
        "staircase": (STEPS, "object"), "original": ("tanh", "choice"), "tau": (1.0, "real"),
        "original_tau": (1.0, "real"), "ax": (None, "object"),
    },
    hntk.plot.match: {"result": (None, "object"), "bound": (False, "choice"), "ax": (None, "object")},
    hntk.plot.convergence: {
        "sizes": (POINTS, "columns"), "errors": (POINTS, "columns"), "across": ("n", "text"), "ax": (None, "object"),
    },
    hntk.plot.learning_curve: {
        "sizes": (POINTS, "columns"), "predicted": (POINTS, "points"), "measured": (POINTS, "columns"),
        "measured_sizes": (POINTS, "columns"), "error": ("squared", "choice"), "scale": ("log", "choice"),
        "ax": (None, "object"),
    },
    hntk.plot.density: {
        "of": (None, "object"), "values": (KERNEL, "kernel"), "spikes": (None, "object"), "bins": (5, "bound"),
        "ax": (None, "object"),
    },
    hntk.plot.layers: {"summary": (None, "object"), "ax": (None, "object")},
}  # fmt: skip
# made when they are first needed
LATE = {"result": matched, "of": kernel}


def drawn(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Call a function, and draw its figure, where errors may hide."""
    axes = np.ravel(function(**arguments))
    axes[0].figure.canvas.draw()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("function", "argument"),
    [(f, a) for f, kinds in CASES.items() for a in kinds],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_a_hostile_value_is_refused_with_a_remedy_or_drawn(function: Callable[..., Any], argument: str) -> None:
    if function is hntk.plot.layers and argument == "ax":
        pytest.skip("its axes are checked by the function that match uses")
    kinds = CASES[function]
    valid = {name: LATE[name]() if name in LATE else value for name, (value, _) in kinds.items()}
    wrong = []
    for value in VALUES[kinds[argument][1]]:
        found = verdict(
            lambda value=value: drawn(function, {**valid, argument: value}), argument, lambda array: array == array
        )
        plt.close("all")
        wrong += [] if found is None else [f"{argument}={value!r:.60}: {found}"]
    assert not wrong, "\n".join(wrong)


def test_every_function_is_tried() -> None:
    assert {function.__name__ for function in CASES} == set(hntk.plot.__all__)
