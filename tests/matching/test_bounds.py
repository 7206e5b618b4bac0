"""Bounds on what functions of N levels can reach, and the quantisers they come from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hntk
from hntk.activations.step_function import StepFunction
from hntk.matching.quantiser import gaussian_grid, optimal_function, quantise
from hntk.matching.variance_shares import layer_shares


def test_the_bounds_are_lloyd_and_maxs() -> None:
    # Max (1960): distortions of the optimal quantisers of a Gaussian
    for levels, distortion in (
        (2, 0.3634),
        (3, 0.1902),
        (4, 0.1175),
        (5, 0.07994),
        (6, 0.05798),
        (8, 0.03454),
        (16, 0.009497),
    ):
        assert np.isclose(1 - hntk.share_bound(levels), distortion, atol=2e-4)


def test_no_function_beats_the_share_bound() -> None:
    rng = np.random.default_rng(0)
    best = 0.0
    for _ in range(2000):
        levels = int(rng.integers(2, 5))
        cells = int(rng.integers(levels, 2 * levels))
        function = StepFunction(
            np.sort(rng.normal(size=cells - 1)), rng.normal(size=levels)[rng.integers(0, levels, cells)]
        )
        if function.variance < 1e-3:
            continue
        p, q, _ = layer_shares([function.moments()])[0]
        direction = float(rng.choice([0.0, 0.4, 0.8, 1.2, np.pi / 2]))
        reached = (np.cos(direction) * np.sqrt(p) + np.sin(direction) * np.sqrt(q)) ** 2
        best = max(best, reached / hntk.share_bound(levels, direction))
    assert 0.9 < best <= 1.0


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("mu", [0.0, -0.6, 0.04])
def test_the_dynamic_programme_finds_the_best_partition(levels: int, mu: float) -> None:
    grid = gaussian_grid(60, 3.0)
    e1, e2 = 0.9, 0.3
    found = quantise(grid, levels, e1, e2, mu)
    assert found is not None
    score = e1 * grid.cells.first + e2 * grid.cells.second
    weight = grid.cells.probability - mu * grid.cells.second
    order = np.argsort(score / weight)
    s, w = np.concatenate([[0], np.cumsum(score[order])]), np.concatenate([[0], np.cumsum(weight[order])])
    if levels <= 3:
        cuts = itertools.combinations(range(1, 60), levels - 1)
        best = max(sum((s[b] - s[a]) ** 2 / (w[b] - w[a]) for a, b in itertools.pairwise((0, *c, 60))) for c in cuts)
        assert np.isclose(found.gain, best, rtol=1e-12)
    labels = np.random.default_rng(1).integers(0, levels, (500, 60))
    gains = [
        sum(score[row == k].sum() ** 2 / weight[row == k].sum() for k in range(levels) if np.any(row == k))
        for row in labels
    ]
    assert max(gains) < found.gain


def test_a_quantisers_function_has_the_gain_that_was_found() -> None:
    grid = gaussian_grid(200, 4.0)
    best, function = quantise(grid, 3, 0.8, 0.4), optimal_function(grid, 3, 0.8, 0.4, 0.0)
    assert best is not None
    assert function is not None
    moments = function.moments()
    # 2 E[gs] − E[g²] at the best levels is the gain
    gain = 2 * (0.8 * moments.e1 + 0.4 * moments.e2) - moments.variance - moments.mean**2
    assert np.isclose(gain, best.gain, rtol=1e-10)
    assert optimal_function(grid, 3, 0.8, 0.4, 2.0) is None


@pytest.mark.parametrize(("levels", "direction"), [(1, 0.0), (2000, 0.0), (3, 2.0), (3, -0.1), (2.5, 0.0)])
def test_share_bounds_out_of_range_are_refused(levels: object, direction: float) -> None:
    with pytest.raises(ValueError, match="levels|direction"):
        hntk.share_bound(levels, direction)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha2", [True, False])
@pytest.mark.parametrize("names", [["cos", "relu"], ["relu", "cos"], ["relu", "abs", "tanh"]])
def test_one_even_layer_has_a_bound_if_alpha2_is_not_asked(names: list, alpha2: bool) -> None:
    certificate = hntk.match(names, 0.9, 3, alpha2=alpha2).certificate
    assert 0 <= certificate.bound <= certificate.ratio + 1e-9
    assert (certificate.bound > 0) == (not alpha2)


def test_two_even_layers_have_no_bound() -> None:
    assert hntk.match(["cos", "cos"], 0.9, 4).certificate.bound == 0.0
