"""Gradient training: optimum, early stopping, resuming, and what stops it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

import hntk
from hntk.readouts.softmax import cross_entropy
from hntk.readouts.training import Epoch, Samples, Schedule, Trained, TrainingError, train


def blobs(n: int = 600, d: int = 5, seed: int = 0) -> Samples:
    """Two classes that overlap, so that cross-entropy has a finite minimum."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = (rng.normal(size=(n, d)) + 0.7 * y[:, None] * np.eye(d)[0]).astype(np.float32)
    cut = n * 4 // 5
    return Samples(*(jnp.asarray(part) for part in (x[:cut], y[:cut], x[cut:], y[cut:])))


def scores(parameters: dict[str, Any], x: jax.Array) -> jax.Array:
    return x @ parameters["w"] + parameters["b"]


def loss(parameters: dict[str, Any], x: jax.Array, y: jax.Array) -> jax.Array:
    return cross_entropy(scores(parameters, x), y)


def start(d: int = 5) -> dict[str, jax.Array]:
    return {"w": jnp.zeros((d, 2), jnp.float32), "b": jnp.zeros(2, jnp.float32)}


SCHEDULE = Schedule(epochs=12, batch=32, learning_rate=1e-2, patience=12)


def run(samples: Samples, schedule: Schedule = SCHEDULE, parameters: Any = None, **options: Any) -> Trained:
    begin = start() if parameters is None else parameters
    return train(loss, scores, begin, samples, schedule, jax.random.key(3), **options)


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


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = run(blobs())

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 5:
            raise KeyboardInterrupt

    path = tmp_path / "training.npz"
    with pytest.raises(KeyboardInterrupt):
        run(blobs(), checkpoint=path, progress=stop)
    seen: list[Epoch] = []
    resumed = run(blobs(), checkpoint=path, progress=seen.append)
    assert seen[0].epoch == 6
    assert resumed.history == whole.history
    for a, b in zip(jax.tree.leaves(resumed.parameters), jax.tree.leaves(whole.parameters), strict=True):
        np.testing.assert_array_equal(a, b)
    # what is finished is not trained again
    assert run(blobs(), checkpoint=path, progress=lambda _: pytest.fail("trained again")).history == whole.history
    assert not list(tmp_path.glob(".*"))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.npz"
    run(blobs(), checkpoint=path)
    for samples, schedule in ((blobs(), replace(SCHEDULE, learning_rate=2e-2)), (blobs(n=700), SCHEDULE)):
        with pytest.raises(ValueError, match="another training"):
            run(samples, schedule, checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="delete it"):
        run(blobs(), checkpoint=path)


def other_scores(parameters: dict[str, Any], x: jax.Array) -> jax.Array:
    return -scores(parameters, x)


OTHERS: dict[str, dict[str, Any]] = {
    "training samples": {"x": lambda x: x.at[0, 0].add(1e-3)},
    "training labels": {"y": lambda y: y.at[0].set(1 - y[0])},
    "held-out samples": {"x_held": lambda x: -x},
    "held-out labels": {"y_held": lambda y: 1 - y},
}


@pytest.mark.parametrize("part", [*OTHERS, "start", "loss, scores or projection", "key", "precision", "version of"])
def test_a_checkpoint_of_the_same_shapes_and_another_training_is_refused(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was once taken up again, with the result of other data."""
    path, few = tmp_path / "training.npz", replace(SCHEDULE, epochs=2)
    run(blobs(), few, checkpoint=path)
    samples = blobs()
    changes = {name: change(getattr(samples, name)) for name, change in OTHERS.get(part, {}).items()}
    key, begin, told = jax.random.key(3), start(), scores
    if part == "start":
        # the same sum of sizes
        begin = begin | {"w": begin["w"].at[0, 0].set(1e-3), "b": begin["b"]}
        run(blobs(), few, checkpoint=tmp_path / "moved.npz", parameters=begin)
        path, begin = tmp_path / "moved.npz", start() | {"w": start()["w"].at[0, 0].set(-1e-3)}
    if part.startswith("loss"):
        told = other_scores
    if part == "key":
        key = jax.random.key(3, impl="rbg")
    if part.startswith("version"):
        monkeypatch.setattr("hntk.readouts.checkpoints.source_digest", lambda *places: "another")
    jax.config.update("jax_enable_x64", part != "precision")
    try:
        with pytest.raises(ValueError, match=rf"another training \(other .*{part}"):
            train(loss, told, begin, samples._replace(**changes), few, key, checkpoint=path)
    finally:
        jax.config.update("jax_enable_x64", True)


def test_a_projection_and_what_a_loss_carries_belong_to_a_checkpoint(tmp_path: Path) -> None:
    few = replace(SCHEDULE, epochs=1)

    def carrying(weight: float) -> Any:
        return lambda parameters, x, y: weight * loss(parameters, x, y)

    path = tmp_path / "carrying.npz"
    train(carrying(1.0), scores, start(), blobs(), few, jax.random.key(3), checkpoint=path)
    train(carrying(1.0), scores, start(), blobs(), few, jax.random.key(3), checkpoint=path)
    for other, project in ((carrying(2.0), None), (carrying(1.0), lambda p: p)):
        with pytest.raises(ValueError, match="other loss, scores or projection"):
            train(other, scores, start(), blobs(), few, jax.random.key(3), project=project, checkpoint=path)


def test_softmax_does_not_take_up_the_checkpoint_of_other_data(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=200, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [32], data.x, key=jax.random.key(1))
    schedule, path = Schedule(epochs=3, batch=50), tmp_path / "a.npz"
    other = np.random.default_rng(0).permutation(data.labels)
    hntk.fit_softmax(net, data.x, other, schedule=schedule, rates=[0.03], checkpoint=path)
    with pytest.raises(ValueError, match="training samples, training labels"):
        hntk.fit_softmax(net, data.x, data.labels, schedule=schedule, rates=[0.03], checkpoint=path)


def test_files_that_are_no_checkpoint_are_said(tmp_path: Path) -> None:
    path, few = tmp_path / "training.npz", replace(SCHEDULE, epochs=1)
    run(blobs(), few, checkpoint=path)
    whole = path.read_bytes()
    with np.load(path) as kept:
        parts = {name: kept[name] for name in kept.files}
    foreign = tmp_path / "foreign.npz"
    for content in (b"", whole[:-1], whole[: len(whole) // 2], b"text", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="delete it"):
            run(blobs(), few, checkpoint=path)
    for name in ("identity", "history", "validation", "leaf0"):
        np.savez(foreign, **{kept: part for kept, part in parts.items() if kept != name})
        with pytest.raises(ValueError, match="delete it|no checkpoint"):
            run(blobs(), few, checkpoint=foreign)
    for change in ({"leaf0": np.zeros((7, 7))}, {"history": np.zeros(3)}, {"identity": np.array("{")}):
        np.savez(foreign, **{**parts, **change})
        with pytest.raises(ValueError, match="delete it|no checkpoint"):
            run(blobs(), few, checkpoint=foreign)
    with pytest.raises(ValueError, match="delete it"):
        run(blobs(), few, checkpoint=tmp_path)


def test_integer_features_and_rates_that_are_none() -> None:
    data = hntk.reference_mixture(n=100, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [8], data.x, key=jax.random.key(1))
    whole = np.random.default_rng(0).integers(-127, 128, (100, 8)).astype(np.int8)
    schedule = Schedule(epochs=2, batch=20)
    for fit in (partial(hntk.fit_ridge, ridge=0.1), partial(hntk.fit_softmax, schedule=schedule)):
        mine = fit(net, data.x, data.labels, features=whole)
        theirs = fit(net, data.x, data.labels, features=whole.astype(np.float32))
        np.testing.assert_array_equal(mine.weights, theirs.weights)
    bad = whole.astype(float)
    bad[3, 4] = np.nan
    for fit in (hntk.fit_ridge, hntk.fit_softmax):
        with pytest.raises(ValueError, match="features has NaN or infinite values in 1 of its 100 rows"):
            fit(net, data.x, data.labels, features=bad)
    for rates in ([], [0.1, np.nan], [-1.0], 0.1, None):
        with pytest.raises(ValueError, match="rates"):
            hntk.fit_softmax(net, data.x, data.labels, rates=rates, schedule=schedule)


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


def test_schedules_that_make_no_sense_are_refused() -> None:
    for change in ({"epochs": 0}, {"batch": 0}, {"patience": 0}, {"learning_rate": 0.0}, {"weight_decay": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
            replace(SCHEDULE, **change)
    with pytest.raises(ValueError, match="make the batch smaller"):
        run(blobs(n=20))


@pytest.mark.slow
def test_the_softmax_readout_classifies_and_keeps_the_better_rate(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=500, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [128], data.x, key=jax.random.key(1))
    labels = np.where(data.labels == 0, "left", "right")
    schedule = Schedule(epochs=10, batch=50)
    found = hntk.fit_softmax(net, data.x, labels, schedule=schedule, rates=(1e-6, 3e-2))
    assert found.learning_rate == 3e-2
    assert found.accuracy(data.x, labels) > 0.9
    assert set(found.predict(data.x)) == {"left", "right"}
    assert found.validation_accuracy == max(e.validation for e in found.history)
    features = net.features(data.x)
    given = hntk.fit_softmax(net, data.x, labels, schedule=schedule, rates=(1e-6, 3e-2), features=features)
    np.testing.assert_array_equal(given.weights, found.weights)
    kept = hntk.fit_softmax(net, data.x, labels, schedule=schedule, rates=(3e-2,), checkpoint=tmp_path / "a.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["a-0.03.npz"]
    np.testing.assert_array_equal(kept.weights, found.weights)


@pytest.mark.slow
def test_the_softmax_readout_does_not_depend_on_the_features_scale() -> None:
    data = hntk.reference_mixture(n=300, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [64], data.x, key=jax.random.key(1))
    features = np.asarray(net.features(data.x))
    schedule = Schedule(epochs=4, batch=50)
    plain, moved = (
        hntk.fit_softmax(net, data.x, data.labels, schedule=schedule, features=f)
        for f in (features, 1024 * features + 3)
    )
    np.testing.assert_allclose(moved.scores_of(1024 * features + 3), plain.scores_of(features), atol=2e-2)


@pytest.mark.slow
def test_features_given_to_a_readout_must_fit() -> None:
    data = hntk.reference_mixture(n=100, p=40, key=jax.random.key(0))
    net = hntk.dense(["relu"], [64], data.x, key=jax.random.key(1))
    for fit in (hntk.fit_ridge, hntk.fit_softmax):
        with pytest.raises(ValueError, match=r"\(100, 64\)"):
            fit(net, data.x, data.labels, features=np.zeros((100, 63)))
    given = hntk.fit_ridge(net, data.x, data.labels, features=net.features(data.x))
    np.testing.assert_allclose(given.weights, hntk.fit_ridge(net, data.x, data.labels).weights, atol=1e-9)
    assert given.validation_accuracy == max(accuracy for _, accuracy in given.validation)
