"""Training from raw samples to whole numbers: what it learns, members, checkpoints, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.training.members import MembersState, as_good, counting_epochs
from tests.support.training_samples import images, rings

KEY = jax.random.key(5)
SCHEDULE = hntk.Schedule(epochs=4, batch=32, learning_rate=5e-3, patience=4, warmup=0.5)


def train(x: Any = None, y: Any = None, widths: Any = (16,), **options: Any) -> Any:
    given = images() if x is None else (x, y)
    return hntk.train(*given, widths, **{"key": KEY, "schedule": SCHEDULE, "start": "uniform", **options})


def same(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.nightly
@pytest.mark.slow
def test_training_learns_what_a_drawn_network_and_its_readout_do_not() -> None:
    """Both have the same widths and levels; ridge regression chooses the drawn one's readout."""
    x, y = rings(n=900)
    x, y, x_test, y_test = x[:500], y[:500], x[500:], y[500:]
    trained = train(x, y, (24, 24), schedule=replace(SCHEDULE, epochs=30, patience=30)).accuracy(x_test, y_test)
    size = np.float32(np.linalg.norm(x, axis=1).mean())
    net = hntk.compress(["relu", "relu"], [24, 24], x / size, levels=4, key=KEY)
    drawn = hntk.fit_ridge(net, x / size, y).accuracy(x_test / size, y_test)
    assert trained > drawn + 0.05
    assert trained > 0.95


def test_images_become_a_classifier_of_whole_numbers(tmp_path: Path) -> None:
    x, y = images()
    seen: list[Any] = []
    long = replace(SCHEDULE, epochs=12, patience=12)
    made = train(x, y, (12, 8), levels=(3, 5), sparsity=(0.5, None), pool=(6, 3), progress=seen.append, schedule=long)
    assert isinstance(made, hntk.IntegerClassifier)
    assert made.accuracy(x, y) > 0.9
    assert made.classes.tolist() == ["a", "b", "c"]
    assert made.network.widths == (12, 8)
    assert [len(steps.levels) for steps in made.network.steps] == [3, 5]
    assert made.network.weights[0].shape == (12, 18)
    assert np.mean(np.asarray(made.network.weights[0].values) == 0) == 0.5
    assert made.readout.dtype == np.int8
    assert [epoch.epoch for epoch in seen] == list(range(1, 13))
    record, held = made.training, 25
    assert (record.start, record.epochs, record.samples, record.levels) == ("uniform", 12, 240 - held, (3, 5))
    assert record.sparsity[0] == 0.5
    # the program's accuracy on validation samples, which is near that of the network as it was trained
    assert round(held * record.validation) == pytest.approx(held * record.validation)
    assert abs(record.validation - seen[record.best_epoch - 1].validation) <= 0.1
    assert "uniform" in str(hntk.summarize(made))
    hntk.save(made, tmp_path / "trained.hntk")
    loaded = hntk.load(tmp_path / "trained.hntk")
    np.testing.assert_array_equal(loaded.scores(x), made.scores(x))
    assert loaded.training == record


def test_a_regressor_predicts_in_the_units_of_its_targets() -> None:
    x, _ = images()
    y = 300.0 + 5 * x[:, :6].mean(axis=1) - 2 * x[:, 12:18].mean(axis=1)
    made = train(x, y, (32,), schedule=replace(SCHEDULE, epochs=30, patience=30))
    error = np.asarray(made.predict(x)) - y
    assert isinstance(made, hntk.IntegerRegressor)
    assert np.sqrt(np.mean(np.square(error))) < 0.5 * y.std()
    assert abs(error.mean()) < 0.1 * y.std()
    # the error on the validation samples, in the units of the target
    assert 0.2 < made.training.validation / np.sqrt(np.mean(np.square(error))) < 5


@pytest.mark.slow
def test_members_are_what_they_would_be_alone() -> None:
    """Under vmap sums are rounded in another order, by which a weight near the cut can fall on its other side."""
    keys = jax.random.split(KEY, 2)
    together = train(key=keys)
    assert len(together) == 2
    for member, key in zip(together, keys, strict=True):
        alone = train(key=key)
        weights = [np.asarray(made.network.weights[0].values) for made in (member, alone)]
        assert np.mean(weights[0] != weights[1]) < 0.01
        np.testing.assert_allclose(member.readout * member.unit, alone.readout * alone.unit, atol=5 * alone.unit)
        x, y = images()
        assert abs(member.accuracy(x, y) - alone.accuracy(x, y)) < 0.02
    assert (
        np.mean(np.asarray(together[0].network.weights[0].values) != np.asarray(together[1].network.weights[0].values))
        > 0.2
    )


def test_a_member_stops_where_it_would_alone() -> None:
    """Epochs after that do not count, better ones neither."""
    never, early = [0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.2, 0.3, 0.9, 0.9]
    assert counting_epochs(np.array(never), 2) == 5
    assert counting_epochs(np.array(early), 2) == 3
    # without validation samples every epoch counts
    assert counting_epochs(np.full(5, np.nan), 1) == 5
    history = np.zeros((3, 2, 4))
    history[:, :, 2] = np.array([never[:3], early[:3]]).T
    state = MembersState({}, {}, {}, np.array([0.3, 0.3]), history)
    assert state.running(replace(SCHEDULE, epochs=9, patience=2)).tolist() == [True, False]
    assert state.running(replace(SCHEDULE, epochs=3, patience=2)).tolist() == [False, False]


def test_an_epoch_within_a_standard_error_of_the_best_is_kept() -> None:
    """Of 400 samples .9 is known to .015. Errors of regressors have none, and without validation any epoch will do."""
    before = np.array([[0.8, 0.9, 0.9, np.nan], [0.9, 0.7, 0.8, np.nan]])
    values = np.array([0.886, 0.884, 0.9, np.nan])
    assert as_good(values, before, 400).tolist() == [True, False, True, True]
    assert as_good(values, before, 40000).tolist() == [False, False, True, True]
    assert as_good(values, before, None).tolist() == [False, False, True, True]
    assert as_good(np.array([0.1, 1.0]), np.empty((0, 2)), 10).all()
    # a perfect one is known exactly
    assert not as_good(np.array([0.99]), np.array([[1.0]]), 100).any()


def test_the_last_of_epochs_that_cannot_be_told_apart_is_what_is_returned() -> None:
    seen: list[Any] = []
    record = train(schedule=replace(SCHEDULE, epochs=12, patience=12), progress=seen.append).training
    assert record is not None
    values, n = np.array([epoch.validation for epoch in seen]), len(images()[0]) - record.samples
    best = np.maximum.accumulate(values)
    chosen = np.flatnonzero(values >= best - np.sqrt(best * (1 - best) / n))
    assert record.best_epoch == chosen[-1] + 1
    # the first of the best would be another
    assert record.best_epoch != np.argmax(values) + 1


def test_members_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    keys, path = jax.random.split(KEY, 2), tmp_path / "training.npz"

    def stop(epochs: Any) -> None:
        assert len(epochs) == 2
        if epochs[0].epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(key=keys, checkpoint=path, progress=stop)
    assert same(train(key=keys, checkpoint=path), train(key=keys))
    with pytest.raises(ValueError, match=r"another training \(other .*key"):
        train(key=keys[0], checkpoint=path)


def test_validation_samples_can_be_given_or_none() -> None:
    x, y = images()
    few = replace(SCHEDULE, epochs=3, patience=1)
    seen: list[Any] = []
    train(x, y, validation=(x[:50], y[:50]), schedule=few, progress=seen.append)
    assert all(round(50 * epoch.validation) == pytest.approx(50 * epoch.validation) for epoch in seen)
    seen.clear()
    train(x, y, validation=None, schedule=few, progress=seen.append)
    assert [np.isnan(epoch.validation) for epoch in seen] == [True] * 3


def test_the_same_key_gives_the_same_and_another_key_another() -> None:
    first = train()
    assert same(first, train())
    assert not same(first, train(key=jax.random.key(6)))


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    def stop(epoch: Any) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    path, whole = tmp_path / "training.npz", train(augment=shifted)
    with pytest.raises(KeyboardInterrupt):
        train(augment=shifted, checkpoint=path, progress=stop)
    seen: list[Any] = []
    assert same(train(augment=shifted, checkpoint=path, progress=seen.append), whole)
    assert [epoch.epoch for epoch in seen] == [3, 4]


def shifted(key: jax.Array, x: jax.Array) -> jax.Array:
    """Move images by a pixel to the right, some of them."""
    return jnp.where(jax.random.bernoulli(key, 0.5, (len(x), 1, 1)), jnp.roll(x, 1, axis=2), x) + 0.3


X, Y = images()
CHANGES: dict[str, dict[str, Any]] = {
    "training samples": {"x": np.where(np.arange(36) == 3, 1, X).astype(np.uint8)},
    "layers": {"levels": 4, "surrogate": "triangle"},
    "schedule": {"schedule": replace(SCHEDULE, learning_rate=1e-3)},
    "key": {"key": jax.random.key(6)},
    "augmentation": {"augment": shifted},
    "teacher": {"teacher": np.zeros((len(X), 3))},
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, part: str) -> None:
    path, few = tmp_path / "training.npz", replace(SCHEDULE, epochs=1)
    train(X, Y, schedule=few, checkpoint=path)
    changed = {"x": X, "y": Y, "schedule": few, **CHANGES[part]}
    with pytest.raises(ValueError, match=f"another training \\(other .*{part}"):
        train(changed.pop("x"), changed.pop("y"), checkpoint=path, **changed)


def broken(key: jax.Array, x: jax.Array) -> jax.Array:
    """Return pixels that are no numbers, one time in twenty."""
    return jnp.where(jax.random.bernoulli(key, 0.05), jnp.nan, x)


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    path, seen = tmp_path / "training.npz", []
    wild = replace(SCHEDULE, epochs=30, patience=30)
    message = r"the loss became nan in epoch (\d+) at learning rate 0\.005: lower the learning rate"
    with pytest.raises(hntk.TrainingError, match=message):
        train(X, Y, schedule=wild, augment=broken, checkpoint=path, progress=seen.append)
    assert 1 <= len(seen) < 30
    kept = path.read_bytes()
    with pytest.raises(hntk.TrainingError, match=f"in epoch {len(seen) + 1} at"):
        train(X, Y, schedule=wild, augment=broken, checkpoint=path, progress=lambda _: pytest.fail("trained again"))
    assert path.read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [None, *Y[1:]]}, "missing"),
        ({"y": np.full(len(X), np.nan)}, "drop those samples"),
        ({"y": ["a"] * len(X)}, "only one class"),
        ({"y": ["z", *Y[1:]]}, "at least 2 samples of every class: give validation=None"),
        ({"y": Y[:-1]}, "one per row of x"),
        ({"y": np.linspace(0, 1, len(X) - 1)}, "one row per row of x"),
        ({"y": np.ones(len(X))}, "same for all samples"),
        ({"x": np.where(X > 3, np.nan, X)}, "NaN or infinite"),
        ({"x": X[:, :35], "pool": (3, 3)}, "no square images: give shape="),
        ({"shape": (5, 5)}, "give theirs"),
        ({"pool": (7, 6)}, "pool to as many pixels or fewer"),
        ({"pool": 3}, "must be a pair"),
        ({"x": X.astype(float), "pool": (3, 3)}, "raw bytes"),
        ({"widths": []}, "widths must be"),
        ({"widths": [0]}, "widths must be"),
        ({"widths": None}, "give widths="),
        ({"widths": 2.5}, "widths must be"),
        ({"levels": 1}, "levels must be"),
        ({"levels": (3, 4)}, "one for each of the 1 layers"),
        ({"sparsity": 1.0}, "sparsity must lie"),
        ({"weights": "binary"}, "weights must be"),
        ({"start": "nowhere"}, "start must be"),
        ({"schedule": replace(SCHEDULE, batch=10_000)}, "make the batch smaller"),
        ({"validation": 1.5}, "validation must lie"),
        ({"validation": (X, ["d"] * len(X))}, "that y does not have"),
        ({"validation": (X[:, :9], Y)}, "must be like x"),
        ({"teacher": np.zeros((len(X), 4))}, "3 columns"),
        ({"teacher": np.zeros((5, 3))}, "one row for each row"),
        ({"distill": (2.0, 1.0)}, "at most 1"),
        ({"augment": 3}, "augment must be a function"),
        ({"key": 3}, "key"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(change: dict[str, Any], message: str) -> None:
    given = {"x": X, "y": Y, "widths": (4,), **change}
    with pytest.raises(ValueError, match=message):
        train(given.pop("x"), given.pop("y"), given.pop("widths"), **given)
