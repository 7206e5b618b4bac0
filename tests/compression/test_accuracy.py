"""Accuracy at finite width against simulation, and designs for an accuracy on samples that the plan never saw."""

from __future__ import annotations

from functools import cache

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics import MixtureLaw, RandomFeatures
from hntk.readouts.held_out import held_out_accuracy, held_out_parts

N, P, NEW = 500, 200, 2000


@cache
def sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = hntk.reference_mixture(n, P, key=jax.random.key(seed))
    return np.asarray(drawn.x), drawn.labels


@cache
def planned(tolerance: float, seed: int, depth: int = 1) -> hntk.Design:
    x, y = sample(N, seed)
    return hntk.plan(["relu"] * depth, x, y, accuracy=tolerance, key=jax.random.key(seed), levels=[4])


def right(net: hntk.Network, ridge: float, seed: int) -> np.ndarray:
    new, labels = sample(NEW, seed + 1000)
    return hntk.fit_ridge(net, *sample(N, seed), ridge=ridge).predict(new) == labels


@cache
def right_original(depth: int, seed: int) -> np.ndarray:
    """By kernel regression at the ridge theory finds the best."""
    (x, y), (new, labels) = sample(N, seed), sample(NEW, seed + 1000)
    law = MixtureLaw.of(3 * np.eye(2, P), [1.0, 1 + 3 / np.sqrt(P)])
    ridge = hntk.asymptotics.optimal_ridge(law, N, ["relu"] * depth, kernel="ck", criterion="classification").ridge
    kernel, cross = (hntk.exact_kernels(x, ["relu"] * depth, x2=x2, tau0=law.tau0).ck for x2 in (None, new))
    dual = np.linalg.solve(np.asarray(kernel) + ridge * np.eye(N), np.eye(2)[y] - 0.5)
    return np.argmax(np.asarray(cross).T @ dual, axis=1) == labels


def reference_law() -> MixtureLaw:
    return MixtureLaw.of(3 * np.eye(2, P), [1.0, 1 + 3 / np.sqrt(P)])


@pytest.mark.often("2-widths3-law3")
@pytest.mark.often("1-widths0-law0", "2-widths3-law3")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "widths", "law"),
    [
        (1, (150, 600), hntk.WeightLaw("ternary", sparsity=2 / 3)),
        (2, (300,), hntk.WeightLaw("ternary", sparsity=2 / 3)),
        (1, (256,), hntk.WeightLaw("orthogonal", sparsity=0.5)),
        (2, (200,), hntk.WeightLaw("orthogonal", sparsity=0.5)),
    ],
)
def test_the_prediction_at_finite_width_holds_in_simulation(
    depth: int, widths: tuple[int, ...], law: hntk.WeightLaw
) -> None:
    mixture = reference_law()
    found = hntk.match(["relu"] * depth, mixture.tau0, 4)
    features = RandomFeatures(mixture, N, found.coefficients, law)
    weights = "orthogonal" if law.orthogonal else "iid"
    wide = features.best([np.inf] * depth)
    assert wide is not None
    for width in widths:
        predicted = features.best([width] * depth)
        assert predicted is not None
        measured = []
        for seed in range(4):
            key = jax.random.key(50 + seed)
            x = sample(N, seed)[0]
            net = hntk.compress(["relu"] * depth, [width] * depth, x, found, law.sparsity, key=key, weights=weights)
            measured.append(np.mean(right(net, predicted.ridge, seed)))
        error = np.std(measured, ddof=1) / np.sqrt(len(measured))
        assert abs(np.mean(measured) - predicted.accuracy) < 0.01 + 2 * error
        # negative control: the infinitely wide network's is not it
        assert wide.accuracy - np.mean(measured) > 0.01 + 2 * error
        # nor is that of independent weights one of orthogonal weights
        if law.orthogonal:
            independent = RandomFeatures(mixture, N, found.coefficients).best([width] * depth)
            assert independent is not None
            assert np.mean(measured) - independent.accuracy > 0.01 + 2 * error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tolerance", "depth", "seeds"), [(0.01, 1, 1), pytest.param(0.08, 2, 2, marks=pytest.mark.nightly)]
)
def test_designs_keep_their_accuracy_on_fresh_samples(tolerance: float, depth: int, seeds: int) -> None:
    for seed in range(seeds):
        design = planned(tolerance, seed, depth)
        assert design.accuracy is not None
        net = design.draw(sample(N, seed)[0], key=jax.random.key(seed))
        drawn, dense = right(net, design.accuracy.ridge, seed), right_original(depth, seed)
        difference = dense.astype(float) - drawn
        assert np.mean(difference) <= tolerance + 2 * np.std(difference) / np.sqrt(NEW)
        # negative control: a tenth of the width is measurably worse than what is allowed
        narrow = hntk.compress(
            ["relu"] * depth,
            [d // 10 for d in design.widths],
            sample(N, seed)[0],
            design.match,
            design.sparsity,
            key=jax.random.key(seed),
            weights=design.weights,
        )
        worse = dense.astype(float) - right(narrow, design.accuracy.ridge, seed)
        assert np.mean(worse) > tolerance + 2 * np.std(worse) / np.sqrt(NEW)


def test_a_layer_that_passes_nothing_linear_hides_those_before() -> None:
    law = MixtureLaw.of(3 * np.eye(2, P), [1.0, 1 + 3 / np.sqrt(P)])
    features = RandomFeatures(law, N, hntk.coefficients(["relu", "cos"], law.tau0))
    narrow, wide, last = (features.best(widths) for widths in ([100, 1000], [np.inf, 1000], [np.inf, 100]))
    assert narrow is not None
    assert wide is not None
    assert last is not None
    assert narrow.accuracy == wide.accuracy > last.accuracy


@pytest.mark.nightly
@pytest.mark.parametrize(("seed", "tolerances"), [(0, (0.01, 0.03, 0.05, 0.08)), (1, (0.01, 0.08))])
def test_a_tighter_tolerance_is_never_cheaper(seed: int, tolerances: tuple[float, ...]) -> None:
    sizes = [planned(tolerance, seed).bytes for tolerance in tolerances]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[-1]


def test_a_design_tells_what_was_predicted_and_measured() -> None:
    design = planned(0.05, 0)
    found = design.accuracy
    assert found is not None
    assert found.predicted >= found.predicted_original - 0.05
    assert found.loss <= 0.05 + found.standard_error
    assert found.samples == N
    for number in (found.predicted, found.predicted_original, found.measured, found.measured_original):
        assert f"{number:.3f}" in str(design)
    x, y = sample(N, 0)
    assert hntk.plan(["relu"], x, y, error=1.0, levels=[4]).accuracy is None


@pytest.mark.slow
def test_held_out_samples_are_predicted_as_a_readout_predicts_them() -> None:
    x, y = sample(N, 0)
    net = hntk.dense(["relu"], [300], x, key=jax.random.key(0))
    features = np.asarray(net.features(x), np.float64)
    parts = held_out_parts(y)
    assert np.ptp([np.sum((parts == part) & (y == a)) for part in range(4) for a in range(2)]) <= 1
    found = held_out_accuracy(features @ features.T, y, parts)
    for part, ridge in enumerate(found.ridges):
        held = parts == part
        fitted = hntk.fit_ridge(net, x[~held], y[~held], ridge=ridge)
        assert np.mean((fitted.predict(x[held]) == y[held]) == found.right[held]) > 0.99


def test_labels_of_chance_are_not_recognised_when_held_out() -> None:
    x, _ = sample(N, 0)
    y = np.random.default_rng(0).integers(2, size=N)
    found = held_out_accuracy(x @ x.T, y, held_out_parts(y))
    assert abs(found.accuracy - 0.5) < 4 * 0.5 / np.sqrt(N)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accuracy": 0.01, "error": 0.1}, "got 2 of them"),
        ({"accuracy": 0.0}, "between 0 and 1"),
        ({"accuracy": 1.5}, "between 0 and 1"),
        ({"accuracy": 0.1, "key": None}, "give key="),
        ({"accuracy": 0.1, "sparsities": []}, "sparsities is empty"),
        ({"accuracy": 1e-9}, "neurons a layer reach 0.9"),
    ],
)
def test_what_cannot_be_planned(arguments: dict, message: str) -> None:
    x, y = sample(N, 0)
    with pytest.raises(ValueError, match=message):
        hntk.plan(["relu"], x, y, levels=[3], **{"key": jax.random.key(0), **arguments})


def test_too_few_samples_to_hold_out() -> None:
    x, y = sample(N, 0)
    rows = np.concatenate([np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:7]])
    with pytest.raises(ValueError, match="at least 8 of every class"):
        hntk.plan(["relu"], x[rows], y[rows], accuracy=0.1, key=jax.random.key(0), levels=[3])
