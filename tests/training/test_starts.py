"""Starting points: networks at epoch 0 do what their start says."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.training.dense_chains import DenseChain, DenseLayer
from hntk.training.few_level_layers import Parameters
from hntk.training.forward_pass import forward
from hntk.training.matched_start import WholeStaircase, matched_staircases, whole_staircase
from hntk.training.objective import Objective
from hntk.training.samples import training_data
from hntk.training.start_choice import Starts, starting_points
from hntk.training.starts import StartingPoint, StartProblem, uniform_thresholds
from hntk.training.ternarisation import fitted_steps, fitted_thresholds, ternarised
from tests.support.training_samples import images, rings

KEYS = jax.vmap(jax.random.key)(jnp.arange(1))
SCHEDULE = hntk.Schedule(epochs=4, batch=32, learning_rate=5e-3, patience=4, warmup=0.5)
OBJECTIVE = Objective((), True)


def problem(x: Any, y: Any, widths: tuple[int, ...] = (24, 24), levels: int = 4, epochs: int = 8) -> StartProblem:
    schedule = replace(SCHEDULE, epochs=epochs, patience=epochs)
    alike = (levels,) * len(widths), (None,) * len(widths)
    return StartProblem(training_data(x, y), widths, *alike, None, schedule)


def accuracy(point: StartingPoint, given: StartProblem) -> float:
    part = given.data.training
    scores, _ = forward(point.parameters, point.layers, jnp.asarray(part.whole, jnp.float32))
    return float(np.mean(np.argmax(scores, axis=1) == part.targets))


def start(which: Any, given: StartProblem) -> Starts:
    return starting_points(which, given, KEYS, OBJECTIVE)


def standardised(each: WholeStaircase | hntk.Staircase) -> hntk.Staircase:
    """Return a staircase of mean 0 and variance 1, so that the layer after it has sums of deviation 1."""
    moments = (each.staircase if isinstance(each, WholeStaircase) else each).moments(1.0)
    return hntk.staircase(each.thresholds, (np.asarray(each.levels) - moments.mean) / sqrt(moments.variance))


def distance(kernel: Any, original: Any) -> float:
    """Return the relative distance of centred kernels, at the factor at which it is least."""
    n = len(original)
    centring = np.eye(n) - 1 / n
    a, b = (centring @ np.asarray(k, np.float64) @ centring for k in (kernel, original))
    return float(np.linalg.norm(np.sum(a * b) / np.sum(a * a) * a - b, 2) / np.linalg.norm(b, 2))


@cache
def samples() -> np.ndarray:
    x = np.asarray(hntk.reference_mixture(n=40, p=60, key=jax.random.key(0)).x)
    return x / np.sqrt(np.mean(np.sum(x**2, axis=1)))


def test_a_match_keeps_the_kernels_of_the_original_better_than_uniform_levels() -> None:
    original = hntk.exact_kernels(samples(), ["relu"] * 2, tau0=1.0)
    uniform = hntk.staircase(uniform_thresholds(4), range(4))
    away = []
    for chosen in (matched_staircases((4, 4)), (uniform, uniform)):
        layers = [standardised(each) for each in chosen]
        slopes = list(hntk.calibrated_surrogates(layers, 1.0))
        made = hntk.exact_kernels(samples(), layers, tau0=1.0, surrogate=slopes)
        # the NTK of training with a surrogate is not symmetric, as the original's is
        ntk = (np.asarray(made.ntk) + np.asarray(made.ntk).T) / 2
        away.append((distance(made.ck, original.ck), distance(ntk, original.ntk)))
    (ck, ntk), (ck_uniform, ntk_uniform) = away
    assert ck < 0.75 * ck_uniform
    assert ntk < 0.75 * ntk_uniform


@pytest.mark.nightly
def test_the_network_of_a_match_has_its_kernel_as_it_widens() -> None:
    """Features of the untrained network, with its ternary weights and standardised sums; three draws a width."""
    x = np.asarray(hntk.reference_mixture(n=60, p=60, key=jax.random.key(3)).x, np.float32)
    y = np.arange(60) % 2
    original = hntk.exact_kernels(x - x.mean(axis=0), ["relu"] * 2).ck

    def away(which: str, width: int) -> float:
        given = problem(x, y, (width, width), levels=4)
        given = replace(given, data=training_data(x, y, validation=None))
        distances = []
        for seed in range(3):
            keys = jax.random.key(seed)[None]
            point = starting_points(which, given, keys, OBJECTIVE).points[0]
            q = levels_of(point, given)
            distances.append(distance(q @ q.T, original))
        return float(np.mean(distances))

    narrow, wide, uniform = away("match", 64), away("match", 1024), away("uniform", 1024)
    assert wide < 0.7 * narrow
    assert wide < uniform


def levels_of(point: StartingPoint, given: StartProblem) -> np.ndarray:
    """Return the last levels of the training samples: scores of an identity in place of the readout."""
    width = given.widths[-1]
    parameters: Parameters = point.parameters | {"readout": jnp.eye(width), "offset": jnp.zeros(width)}
    return np.asarray(forward(parameters, point.layers, jnp.asarray(given.data.training.whole, jnp.float32))[0])


def test_layers_of_a_match_carry_its_calibrated_slope_and_whole_levels() -> None:
    given = problem(*rings(60))
    point = start("match", given).points[0]
    for layer, part in zip(point.layers, point.parameters["layers"], strict=True):
        thresholds = np.asarray(part["thresholds"][0], np.float64)
        assert min(layer.levels) == 0
        assert len(layer.levels) == 4
        assert max(layer.levels) < 8
        assert layer.slope is not None
        moments = hntk.staircase(thresholds, layer.levels).moments(1.0)
        np.testing.assert_allclose(layer.slope.means(1.0), (moments.e1, moments.e2), rtol=1e-5)
    given = replace(given, surrogate=hntk.surrogate("triangle"))
    own = start("match", given).points[0].layers
    assert [layer.slope for layer in own] == [None, None]
    assert own[0].surrogate == given.surrogate


def test_the_rare_ends_of_a_match_are_left_out_and_even_functions_stay() -> None:
    falls = hntk.staircase([-3.0, 0.1, 0.9], [1.0, 2.0, 1.0, 0.0])
    assert whole_staircase(falls, 1.0).levels == (0, 1, 2)
    both = hntk.staircase([-1.4, 1.4], [1.0, 0.0, 1.0])
    assert whole_staircase(both, 1.0) == WholeStaircase((-1.4, 1.4), (1, 0, 1))
    assert whole_staircase(both, 2.0).thresholds == (-0.7, 0.7)


def test_another_original_has_other_staircases() -> None:
    assert start(["erf", "erf"], problem(*rings(60))).points[0].layers != start("match", problem(*rings(60))).points[0]
    (odd, _) = matched_staircases((4, 4), ["erf", "erf"])
    np.testing.assert_allclose(odd.thresholds, np.negative(odd.thresholds[::-1]), atol=1e-9)


def test_steps_and_thresholds_are_the_quantiser_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    sums = rng.normal(size=(4000, 2))
    values = np.maximum(sums * [1.0, 3.0], 0.0)
    steps = fitted_steps(values, 4)
    assert steps[1] == pytest.approx(3 * steps[0], rel=0.15)
    for step, column in zip(steps, values.T, strict=True):
        errors = [
            np.mean((column - s * np.clip(np.rint(column / s), 0, 3)) ** 2) for s in (step / 1.3, step, step * 1.3)
        ]
        assert errors[1] == min(errors)
    # where sums determine values, thresholds are the points at which rounded values change
    thresholds = fitted_thresholds(sums, values, 4)
    expected = steps[:, None] * (np.arange(3) + 0.5) / np.array([[1.0], [3.0]])
    np.testing.assert_allclose(thresholds, expected, atol=0.02)
    dead = fitted_thresholds(sums, np.zeros_like(values), 3)
    assert np.all(dead > sums.max(axis=0)[:, None])


def test_a_dense_network_made_ternary_is_far_above_a_drawn_one_and_chance() -> None:
    """A drawn ternary network is given the best readout of its levels in least squares; both on their samples."""
    x = np.random.default_rng(0).normal(size=(1500, 20)).astype(np.float32)
    given = problem(x, (x[:, 0] * x[:, 1] > 0).astype(int), epochs=48)
    begun = start("dense", given)
    assert (begun.name, begun.epochs, begun.schedule.epochs) == ("dense", 12, 36)
    q, y = levels_of(start("uniform", given).points[0], given), given.data.training.targets
    q = np.column_stack([q, np.ones(len(q))])
    drawn = np.mean(np.argmax(q @ np.linalg.lstsq(q, np.eye(2)[y], rcond=None)[0], axis=1) == y)
    assert accuracy(begun.points[0], given) > max(0.7, drawn + 0.1)


@pytest.mark.often("4")
@pytest.mark.parametrize("stop", [1, 4])
def test_an_interrupted_training_from_a_dense_network_goes_on_bit_for_bit(tmp_path: Path, stop: int) -> None:
    """Epochs 1 and 2 are the dense network's; it is interrupted there, or after two of the others."""
    x, y = images(120)
    settings: dict[str, Any] = {"start": "dense", "schedule": replace(SCHEDULE, epochs=8, patience=8), "key": KEYS[0]}
    seen: list[int] = []

    def interrupt(epoch: Any) -> None:
        seen.append(epoch.epoch)
        if len(seen) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hntk.train(x, y, (12,), checkpoint=tmp_path / "part", progress=interrupt, **settings)
    resumed = hntk.train(x, y, (12,), checkpoint=tmp_path / "part", progress=lambda e: seen.append(e.epoch), **settings)
    assert seen == [1, 2, 1, 2, 3, 4, 5, 6]
    whole = hntk.train(x, y, (12,), **settings)
    assert isinstance(whole, hntk.IntegerClassifier)
    for one, other in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.training is not None
    assert (whole.training.start, whole.training.epochs) == ("dense", 8)


def dense_model(x: np.ndarray, y: np.ndarray, widths: tuple[int, int] = (24, 24)) -> hntk.Classifier:
    """Return a dense network with a readout, which takes samples less a centre and over a scale."""
    centre = x.mean(axis=0).astype(np.float32)
    scale = float(np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1))))
    normalization = hntk.Normalization(centre, scale)
    network = hntk.dense(["relu", "relu"], list(widths), normalization(x), key=jax.random.key(1))
    return hntk.fit_ridge(network, normalization(x), y, ridge=1e-3, normalization=normalization)


@pytest.mark.nightly
def test_a_model_is_a_start_whose_scores_are_near_the_models() -> None:
    x, y = images(900)
    model, given = dense_model(x.astype(float), y), problem(x, y)
    begun = start(model, given)
    agreed = {}
    for levels in (2, 4, 8):
        point = start(model, replace(given, levels=(levels, levels))).points[0]
        part = given.data.training
        scores, _ = forward(point.parameters, point.layers, jnp.asarray(part.whole, jnp.float32))
        own = model.scores(part.raw.astype(np.float32), raw=True)
        agreed[levels] = np.corrcoef(np.asarray(scores).ravel(), own.ravel())[0, 1]
    assert agreed[2] < agreed[4] < agreed[8]
    assert agreed[8] > 0.9
    assert begun.name == "a model"
    assert hntk.train(x, y, (24, 24), start=model, schedule=SCHEDULE, key=KEYS[0]).accuracy(x, y) > 0.8


def test_whitening_belongs_to_the_weights_that_are_made_ternary() -> None:
    x, y = images(300)
    rng = np.random.default_rng(0)
    plain = dense_model(x.astype(float), y)
    mixing = np.linalg.qr(rng.normal(size=(36, 36)))[0].astype(np.float32)
    assert plain.normalization is not None
    turned = replace(plain.network.weights[0], values=plain.network.weights[0].values @ mixing)
    network = replace(plain.network, weights=(turned, *plain.network.weights[1:]))
    whitened = replace(plain, network=network, normalization=replace(plain.normalization, whitening=mixing))
    given = problem(x, y)
    one, other = (start(model, given).points[0].parameters["layers"][0] for model in (plain, whitened))
    np.testing.assert_allclose(one["weights"], other["weights"], atol=1e-4)


def test_a_chain_of_ternary_layers_is_found_again() -> None:
    """With ternary weights, and values that are levels already, nothing is lost but at the edges of cells."""
    x, y = images(200)
    given = problem(x, y, (12,))
    whole = given.data.training.whole.astype(np.float64)
    weights = np.random.default_rng(2).choice([-1.0, 0.0, 1.0], (12, 36), p=[0.3, 0.4, 0.3])
    sums = whole @ weights.T
    layer = DenseLayer(weights / 100, -np.median(sums, axis=0) / 100, lambda t: np.clip(np.rint(t), 0, 3))
    levels = layer(whole)[1]
    readout = np.random.default_rng(3).normal(size=(3, 12))
    chain = DenseChain(whole, (layer,), levels @ readout.T)
    point = ternarised(chain, given)
    scores, _ = forward(point.parameters, point.layers, jnp.asarray(whole, jnp.float32))
    assert np.corrcoef(np.asarray(scores).ravel(), chain.scores.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("which", "levels", "words"),
    [
        ("matched", 4, "start must be"),
        (3, 4, "start must be"),
        (["relu"], 4, "has 1 layers, but widths= asks for 2"),
        ("match", 17, "at most 16 levels"),
    ],
)
def test_starts_that_do_not_fit_are_refused(which: Any, levels: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        start(which, problem(*rings(60), levels=levels))


def test_models_that_do_not_fit_are_refused() -> None:
    x, y = images(120)
    model = dense_model(x.astype(float), y)
    with pytest.raises(ValueError, match=r"hidden layers of 24-24 neurons, but widths= asks for 24-16"):
        start(model, problem(x, y, (24, 16)))
    with pytest.raises(ValueError, match="takes 36 coordinates"):
        start(model, problem(np.tile(x, 2), y))
    with pytest.raises(ValueError, match=r"does not know the classes \['d'\]"):
        start(model, problem(np.concatenate([x, x[:20]]), np.concatenate([y, ["d"] * 20])))
    flat = replace(model, network=replace(model.network, activations=(hntk.activation("abs"),) * 2))
    with pytest.raises(ValueError, match="does not rise on the whole"):
        start(flat, problem(x, y))
    far = replace(model, weights=-model.weights, offset=-model.offset)
    with pytest.raises(ValueError, match="no|chance"):
        start(far, problem(x, y))
    with pytest.raises(ValueError, match="at least 2 epochs"):
        start("dense", problem(x, y, epochs=1))
