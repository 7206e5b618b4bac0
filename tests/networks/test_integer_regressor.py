"""Regressors of whole numbers against sums in int64, and their R² against scikit-learn's."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from tests.support.random_classifiers import Sample, random_sample


def regressor(seed: int, targets: int, **changes: float) -> tuple[hntk.IntegerRegressor, Sample]:
    """Return the regressor of a random classifier's first scores."""
    sample = random_sample(seed, own=True)
    made = sample.classifier
    made = hntk.IntegerRegressor(made.network, made.readout[:targets], made.offset[:targets], 0.37, **changes)  # type: ignore[arg-type]
    return made, replace(sample, scores=sample.scores[:, :targets])


@pytest.mark.parametrize("targets", [1, 3])
def test_predictions_are_the_unit_times_whole_scores(targets: int) -> None:
    made, sample = regressor(0, targets)
    assert len(made.offset) == targets
    np.testing.assert_array_equal(made.scores(sample.raw), sample.scores)
    predictions = made.predict(sample.raw)
    assert predictions.dtype == np.float64
    assert predictions.shape == ((20,) if targets == 1 else (20, targets))
    np.testing.assert_array_equal(predictions.reshape(20, -1), 0.37 * sample.scores)
    compiled = jax.jit(lambda made, raw: made.predict(raw))(made, jnp.asarray(sample.raw))
    np.testing.assert_allclose(compiled, predictions, rtol=1e-6)
    assert repr(made).endswith(f"{targets} target{'s' if targets > 1 else ''})")


def test_the_score_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for targets in (1, 3):
        made, sample = regressor(0, targets)
        predictions = made.predict(sample.raw)
        y = predictions + rng.normal(size=predictions.shape) * predictions.std()
        assert made.score(sample.raw, y) == pytest.approx(metrics.r2_score(y, predictions), abs=1e-12)
        assert made.score(sample.raw, predictions) == 1.0
        y[..., :1] = 5.0
        assert made.score(sample.raw, y) == pytest.approx(metrics.r2_score(y, predictions), abs=1e-12)


@pytest.mark.parametrize("targets", [np.zeros((20, 2)), np.zeros(19), np.full((20, 3), np.nan), [["a"] * 3] * 20])
def test_targets_that_do_not_fit_are_refused(targets: object) -> None:
    made, sample = regressor(0, 3)
    with pytest.raises(ValueError, match="targets"):
        made.score(sample.raw, targets)


def test_metrics_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for targets in (1, 3):
        made, sample = regressor(0, targets)
        y = made.predict(sample.raw) + np.random.default_rng(0).normal(size=made.predict(sample.raw).shape)
        expected = metrics.mean_squared_error(y, made.predict(sample.raw))
        assert made.mean_squared_error(sample.raw, y) == pytest.approx(expected, rel=1e-12)
        assert made.r2(sample.raw, y) == made.score(sample.raw, y)
    one, sample = regressor(0, 1)
    assert one.r2(sample.raw, one.predict(sample.raw)[:, None]) == 1.0


def test_each_target_may_have_a_unit_of_its_own() -> None:
    made, sample = regressor(0, 3)
    apart = replace(made, unit=(0.5, 2.0, 0.1))
    np.testing.assert_array_equal(apart.predict(sample.raw), np.array([0.5, 2.0, 0.1]) * sample.scores)
    compiled = jax.jit(lambda made, raw: made.predict(raw))(apart, jnp.asarray(sample.raw))
    np.testing.assert_allclose(compiled, apart.predict(sample.raw), rtol=1e-6)
