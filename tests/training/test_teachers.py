"""Teachers: what a network is told is what they say, in the order of its classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import hntk
from hntk.readouts.kernel_ridge import DenseKernel
from hntk.training import kernel_teacher
from hntk.training.samples import TrainingData, training_data
from hntk.training.teachers import calibrated_factor, teacher_signal
from tests.support.training_samples import images, rings

RNG = np.random.default_rng(0)


class Estimator:
    """What scikit-learn's classifiers offer: one score for two classes, in the order of ``classes_``."""

    classes_ = np.array([1, 0])

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x @ self.weights


class Probable(Estimator):
    """One that gives probabilities too."""

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        share = 1 / (1 + np.exp(-self.decision_function(x)))
        return np.stack([1 - share, share], axis=1)


class Predicting:
    """A regression of two targets."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.stack([x[:, 0], 2 * x[:, 1] + 7], axis=1)


def told(teacher: Any, data: TrainingData, *, augmented: bool = False) -> np.ndarray:
    signal = teacher_signal(teacher, data, augmented=augmented)
    assert signal.logits is not None
    assert signal.logits.dtype == np.float32
    return signal.logits


@pytest.fixture(name="data")
def some_data() -> TrainingData:
    return training_data(*rings(80))


def test_arrays_and_functions_are_logits_of_the_samples_that_are_kept(data: TrainingData) -> None:
    x, _ = rings(80)
    given = RNG.normal(size=(80, 2))
    np.testing.assert_array_equal(told(given, data), given[data.kept].astype(np.float32))
    np.testing.assert_allclose(told(lambda raw: raw[:, :2] * 3, data), 3 * x[data.kept, :2], rtol=1e-6)


def test_scores_of_classifiers_are_in_the_order_of_the_classes_and_calibrated(data: TrainingData) -> None:
    x, _ = rings(80)
    weights = RNG.normal(size=10)
    scores = x[data.kept] @ weights
    logits = told(Estimator(weights), data)
    # the estimator's second class, which its score is for, is the first of the training
    np.testing.assert_array_equal(logits[:, 1], 0)
    factor = logits[0, 0] / scores[0]
    np.testing.assert_allclose(logits[:, 0], factor * scores, rtol=1e-4)
    assert factor > 0
    probable = told(Probable(weights), data)
    np.testing.assert_allclose(probable[:, 0] - probable[:, 1], scores, rtol=1e-3, atol=1e-4)


def test_the_factor_of_scores_has_the_least_cross_entropy() -> None:
    targets = RNG.integers(0, 3, 400)
    logits = 2 * np.eye(3)[targets] + RNG.normal(size=(400, 3))

    def entropy(factor: float) -> float:
        return -float(np.mean(log_softmax(factor * logits, axis=1)[np.arange(400), targets]))

    factor = calibrated_factor(logits, targets)
    assert entropy(factor) < min(entropy(0.97 * factor), entropy(1.03 * factor))
    # another unit changes nothing
    assert calibrated_factor(1e4 * logits, targets) * 1e4 == pytest.approx(factor, rel=1e-3)


def test_a_classifier_of_hntk_is_given_raw_samples_and_shown_augmented_ones() -> None:
    x, y = images(90)
    normalization = hntk.Normalization(x.mean(axis=0).astype(np.float32), 300.0)
    network = hntk.dense(["relu"], [16], normalization(x), key=jax.random.key(1))
    model = hntk.fit_ridge(network, normalization(x), y, ridge=1e-2, normalization=normalization)
    data = training_data(x, y)
    logits, scores = told(model, data), model.scores(data.training.raw, raw=True)
    np.testing.assert_allclose(logits, logits[0, 0] / scores[0, 0] * scores, rtol=1e-3, atol=1e-4)
    live = teacher_signal(model, data, augmented=True)
    assert live.logits is None
    assert live.live is not None
    shown = jax.jit(live.live)(jnp.asarray(data.training.raw, jnp.float32))
    np.testing.assert_allclose(shown, logits, rtol=1e-3, atol=1e-3)

    def by_numpy(raw: Any) -> np.ndarray:
        return np.asarray(raw, np.float64)[:, :3]

    # what JAX cannot trace is asked once, for the samples themselves
    known = told(by_numpy, data, augmented=True)
    np.testing.assert_array_equal(known, data.training.raw[:, :3])


def test_outputs_of_a_regression_are_standardised_like_its_targets() -> None:
    x = RNG.normal(size=(60, 4)).astype(np.float32)
    y = np.stack([x[:, 0], 2 * x[:, 1] + 7], axis=1).astype(np.float64)
    data = training_data(x, y)
    np.testing.assert_allclose(told(Predicting(), data), data.training.targets, atol=1e-5)
    np.testing.assert_allclose(told(y, data), data.training.targets, atol=1e-5)


def test_the_kernel_teacher_predicts_each_sample_without_having_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that are fitted on are left out one at a time, by a solve for each; the others are new ones."""
    data = training_data(*rings(60))
    monkeypatch.setattr(kernel_teacher, "FITTED", 30)
    outputs = kernel_teacher.kernel_outputs(data)
    n, y = len(data.training.targets), np.eye(2)[data.training.targets]
    raw = data.training.raw - data.training.raw.mean(axis=0, dtype=np.float64)
    x = raw / np.sqrt(np.mean(np.sum(raw**2, axis=1)))
    rows = np.sort(np.random.default_rng(0).permutation(n)[:30])
    kernel = np.asarray(hntk.exact_kernels(x, ["relu"] * 3, tau0=1.0).ntk, np.float64)
    grid = np.multiply(kernel_teacher.RIDGES, DenseKernel.of(kernel[np.ix_(rows, rows)], centred=True).mean_eigenvalue)

    def predicted(sample: int, known: np.ndarray, ridge: float) -> np.ndarray:
        """Solve the regression with an intercept."""
        system = np.block(
            [[kernel[np.ix_(known, known)] + ridge * np.eye(len(known)), np.ones((len(known), 1))],
             [np.ones((1, len(known))), np.zeros((1, 1))]]
        )  # fmt: skip
        solved = np.linalg.solve(system, np.vstack([y[known], np.zeros((1, 2))]))
        return kernel[sample, known] @ solved[:-1] + solved[-1]

    others = np.setdiff1d(np.arange(n), rows)
    best = min(grid, key=lambda ridge: np.abs(predicted(others[0], rows, ridge) - outputs.training[others[0]]).max())
    for sample in (*rows[:4], *others[:4]):
        expected = predicted(sample, np.setdiff1d(rows, sample), best)
        np.testing.assert_allclose(outputs.training[sample], expected, atol=2e-4)
    assert np.mean(np.argmax(outputs.held, axis=1) == data.held.targets) >= 0.5
    assert told("kernel", data).shape == (n, 2)


def test_training_follows_its_teacher() -> None:
    """Labels are noise here; with the teacher's share 1 they have no part in the loss."""
    x, y = rings(300)
    truth = 8 * np.eye(2)[y]
    noise = np.random.default_rng(1).integers(0, 2, 300)
    schedule = hntk.Schedule(epochs=20, batch=32, learning_rate=5e-3, patience=20)
    settings: dict[str, Any] = {"schedule": schedule, "validation": None, "key": jax.random.key(5)}
    followed = hntk.train(x, noise, (24, 24), start="uniform", teacher=truth, distill=(1.0, 2.0), **settings)
    assert followed.accuracy(x, y) > 0.9


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("cernel", "teacher must be"),
        (3, "teacher must be"),
        (np.zeros((80, 3)), "2 columns"),
        (np.zeros((10, 2)), "one row for each row of x"),
        (np.full((80, 2), np.nan), "teacher"),
        (lambda raw: raw, "gives outputs of shape"),
        (lambda raw: raw @ np.zeros((3, 2)), "fails on samples"),
        (lambda raw: raw[:, :2] * np.nan, "outputs of the teacher"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(data: TrainingData, teacher: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        teacher_signal(teacher, data, augmented=False)


def test_teachers_of_other_classes_are_refused(data: TrainingData) -> None:
    other = Estimator(np.ones(10))
    other.classes_ = np.array([1, 2])
    with pytest.raises(ValueError, match=r"does not know the classes \[0\]"):
        teacher_signal(other, data, augmented=False)
    few = replace(data, training=replace(data.training, targets=data.training.targets[:2]))
    with pytest.raises(ValueError, match="at least 3"):
        teacher_signal("kernel", few, augmented=False)
