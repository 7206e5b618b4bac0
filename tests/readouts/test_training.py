"""Gradient training: optimum, early stopping, resuming, and what stops it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from hntk.readouts.training import Epoch, Schedule, TrainingError, learning_rates
from tests.support.trainings import SCHEDULE, blobs, run, scores


def test_training_reaches_the_optimum_that_scipy_finds() -> None:
    samples = blobs()
    x, y = np.asarray(samples.x, float), np.asarray(samples.y)

    def objective(v: np.ndarray) -> float:
        return -float(np.mean(log_softmax(x @ v[:10].reshape(5, 2) + v[10:], axis=1)[np.arange(len(y)), y]))

    least = minimize(objective, np.zeros(12)).fun
    last: list[Epoch] = []
    trained = run(samples, replace(SCHEDULE, epochs=60, patience=60), progress=last.append)
    assert len(trained.history) == 60 == len(last)
    assert least < trained.history[-1].loss < least + 0.002
    assert trained.history[0].loss > least + 0.02
    rates = [epoch.learning_rate for epoch in trained.history]
    assert rates[0] == pytest.approx(1e-2)
    assert all(np.diff(rates) < 0)


def test_the_parameters_kept_are_those_of_the_best_validation() -> None:
    samples = blobs(n=60, d=5)
    trained = run(samples, replace(SCHEDULE, batch=8, epochs=40, learning_rate=0.3, patience=6))
    accuracies = [epoch.validation for epoch in trained.history]
    assert trained.validation == max(accuracies)
    # stopped because nothing better came for so many epochs
    assert len(accuracies) == 1 + accuracies.index(max(accuracies)) + 6 < 40
    right = jnp.argmax(scores(trained.parameters, samples.x_held), axis=1) == samples.y_held
    assert float(np.mean(right)) == pytest.approx(trained.validation)


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.5, True, None, "3", -1])
@pytest.mark.parametrize("name", ["epochs", "batch", "patience"])
def test_numbers_of_a_schedule_are_whole(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive whole number"):
        Schedule(**{name: value})


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    samples = blobs()
    with pytest.raises(TrainingError, match=r"epoch 1 at learning rate 0\.01: lower the learning rate"):
        run(samples._replace(x=samples.x.at[7, 2].set(jnp.nan)))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        run(samples._replace(x=samples.x * 1e20), replace(SCHEDULE, learning_rate=1e25))


def test_a_projection_holds_after_every_step() -> None:
    mask = jnp.asarray([[1], [0], [1], [0], [1]], jnp.float32)
    trained = run(blobs(), project=lambda p: p | {"w": p["w"] * mask})
    w = np.asarray(trained.parameters["w"])
    assert np.all(w[[1, 3]] == 0)
    assert np.all(w[[0, 2, 4]] != 0)
    assert np.all(np.asarray(run(blobs()).parameters["w"]) != 0)


def test_weight_decay_keeps_from_the_optimum() -> None:
    free, held = (run(blobs(), replace(SCHEDULE, weight_decay=d)).history[-1].loss for d in (0.0, 20.0))
    # the loss of all weights zero is log 2
    assert free + 0.02 < held < np.log(2)


def test_a_warm_up_rises_to_the_cosine_and_then_is_it() -> None:
    plain, warm = (
        np.concatenate([learning_rates(replace(SCHEDULE, warmup=w), epoch, 10) for epoch in range(SCHEDULE.epochs)])
        for w in (0.0, 1.5)
    )
    np.testing.assert_allclose(warm[:15], plain[:15] * np.arange(1, 16) / 15, rtol=1e-6)
    np.testing.assert_array_equal(warm[15:], plain[15:])


def test_schedules_that_make_no_sense_are_refused() -> None:
    for change in (
        {"epochs": 0},
        {"batch": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"weight_decay": -1.0},
        {"warmup": -1.0},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
            replace(SCHEDULE, **change)
    with pytest.raises(ValueError, match="make the batch smaller"):
        run(blobs(n=20))
