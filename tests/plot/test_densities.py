"""Densities with edges, atoms and spikes: curves and marks are at the numbers of the objects."""

from __future__ import annotations

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

import hntk
import hntk.plot
from hntk.asymptotics import LimitingKernel, MixtureLaw
from tests.support.spiked_matrix import MATRIX, VALUES

LAW = MixtureLaw.of(3 * np.eye(2, 100), [1.0, 1.0])


@cache
def kernel(n: int) -> LimitingKernel:
    return LimitingKernel.of(LAW, n, ["relu"])


def curve(axes: Axes, name: str) -> Line2D:
    (line,) = (line for line in axes.lines if line.get_label() == name)
    return line


def marks(axes: Axes) -> list[float]:
    return [float(x) for line in axes.lines if line.get_marker() == "v" for x in np.asarray(line.get_xdata())]


def edges(axes: Axes) -> list[float]:
    return sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_linestyle() == ":")


def test_a_kernel_is_drawn_with_its_density_edges_atom_and_spikes() -> None:
    axes = hntk.plot.density(kernel(200))
    limit = kernel(200).density()
    line = curve(axes, "limit")
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    inside = np.isfinite(x)
    np.testing.assert_allclose(y[inside], limit.density(x[inside]))
    np.testing.assert_allclose(np.trapezoid(y[inside], x[inside]), 1 - limit.atoms[0][1], rtol=0.01)
    np.testing.assert_allclose(edges(axes), np.sort(limit.edges.ravel()))
    assert marks(axes) == [spike.value for spike in kernel(200).spikes() if spike.above]
    (place, mass), *_ = limit.atoms
    assert f"{100 * mass:.0f} % at {place:.3g}" in [text.get_text() for text in axes.texts]
    low, high = axes.get_xlim()
    assert low < place
    assert high > max(marks(axes))


def test_directions_below_their_transition_are_no_spikes() -> None:
    weak = LimitingKernel.of(MixtureLaw.of(0.3 * np.eye(2, 100), [1.0, 1.0]), 50, ["relu"])
    assert weak.spikes()
    assert not any(spike.above for spike in weak.spikes())
    axes = hntk.plot.density(weak)
    assert not marks(axes)
    assert marks(hntk.plot.density(weak.density(), spikes=kernel(50).spikes()))


def test_eigenvalues_are_drawn_as_shares_per_unit_and_the_rest_is_told() -> None:
    rng = np.random.default_rng(0)
    limit = kernel(50).density()
    values = np.append(limit.quantiles(rng.uniform(size=400)), [50.0, 60.0])
    axes = hntk.plot.density({"limit": limit}, values, bins=20)
    (drawn,) = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    heights, bins, _ = drawn.get_data()
    np.testing.assert_allclose(np.sum(heights * np.diff(bins)), 400 / 402)
    assert f"{2 / 402:.2%} beyond →" in [text.get_text() for text in axes.texts]
    centres = (bins[1:] + bins[:-1]) / 2
    np.testing.assert_allclose(heights, limit.density(centres), atol=0.35 * heights.max())


def test_finite_sizes_and_gauss_rules_are_drawn_beside_each_other() -> None:
    sized, rule = kernel(50).finite_size_density(), hntk.spectral_density(MATRIX, probes=4, degree=30)
    line = curve(hntk.plot.density({"sized": sized, "limit": kernel(50).density()}), "sized")
    np.testing.assert_allclose(line.get_ydata(), sized.density(line.get_xdata()))
    axes = hntk.plot.density({"rule": rule}, VALUES)
    line, width = curve(axes, "rule"), (rule.nodes.max() - rule.nodes.min()) / 30
    np.testing.assert_allclose(line.get_ydata(), rule.density(line.get_xdata(), width))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["eigenvalues", "rule"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("eigenvalue", "share of eigenvalues per unit")


def test_an_atom_alone_and_given_axes() -> None:
    constant = LimitingKernel.of(LAW, 200, hntk.asymptotics.KernelCoefficients(0.0, 0.0, 0.0, shift=0.5)).density()
    assert constant.atoms == ((0.5, 1.0),)
    _, given = plt.subplots()
    axes = hntk.plot.density(constant, ax=given)
    assert axes is given
    assert "100 % at 0.5" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("density",), {}, "of must be a LimitingKernel"),
        (({"a": np.ones(3)},), {}, "of must be a LimitingKernel"),
        (({},), {}, "of is empty"),
        ((None, [1.0, np.inf]), {}, "finite"),
        ((None,), {"spikes": [2.0]}, "spikes must be a list of Spike"),
        ((None,), {"bins": 2.5}, "bins must be"),
        ((None,), {"ax": 3}, "ax must be"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple, options: dict, message: str) -> None:
    first, *others = arguments
    with pytest.raises(ValueError, match=message):
        hntk.plot.density(kernel(50) if first is None else first, *others, **options)
    assert not plt.get_fignums()
