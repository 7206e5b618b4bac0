"""The noise of drawn features in the data objective, against networks that are drawn."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from hntk._utils.float64 import float64
from hntk.activations.step_function import StepFunction, padded_alike
from hntk.matching.data_objective import Sample, _error
from hntk.matching.width_noise import DrawnWidths
from hntk.weights.laws import WeightLaw

ORTHOGONAL = WeightLaw("orthogonal", sparsity=0.5)
TERNARY = WeightLaw("ternary", sparsity=0.5)
WIDTHS = (512, 512)
RELATIVE_RIDGE = 0.3
# three levels, of mean 0 and variance 1
STEPS = StepFunction(np.array([0.3, 1.4]), np.array([0.0, 1.0, 2.4])).normalised()


def part(n: int = 80, p: int = 32) -> np.ndarray:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.5
    return x / np.sqrt(np.mean(np.sum(x**2, axis=1)))


def predicted(x: np.ndarray, drawn: DrawnWidths | None) -> tuple[Sample, float]:
    """The error at one ridge, as the objective has it."""
    gram = x @ x.T
    sample = Sample(gram, gram**2 + gram, None if drawn is None else drawn.noise(x.shape[1]))
    with float64():
        value, _ = _error(np.log(RELATIVE_RIDGE), padded_alike([STEPS] * len(WIDTHS)), *sample.inputs)
    return sample, float(value)


def drawn_error(x: np.ndarray, leading: np.ndarray, law: WeightLaw, seed: int) -> float:
    """The error of a regression on features that are drawn, at the same ridge, by NumPy alone."""
    h, half = x, len(x) // 2
    for key, width in zip(jax.random.split(jax.random.key(seed), len(WIDTHS)), WIDTHS, strict=True):
        u = h @ np.asarray(law.draw(key, (width, h.shape[1])).dense(), np.float64).T
        h = np.asarray(STEPS.levels)[np.searchsorted(np.asarray(STEPS.thresholds), u)] / np.sqrt(width)
    h = h - h[:half].mean(axis=0)
    aa, ba = h[:half] @ h[:half].T, h[half:] @ h[:half].T
    smoother = ba @ np.linalg.inv(aa + RELATIVE_RIDGE * np.trace(aa) / half * np.eye(half))
    cross = smoother @ leading[:half, half:]
    missed = leading[half:, half:] - cross - cross.T + smoother @ leading[:half, :half] @ smoother.T
    return float(np.trace(missed) / np.trace(leading[half:, half:]))


@pytest.mark.parametrize("law", [TERNARY, ORTHOGONAL], ids=["independent", "orthogonal"])
def test_the_noise_is_that_of_drawn_networks(law: WeightLaw) -> None:
    x = part()
    exact = predicted(x, None)[1]
    sample, with_noise = predicted(x, DrawnWidths(WIDTHS, law))
    errors = np.array([drawn_error(x, sample.leading, law, seed) for seed in range(20)])
    sigma = errors.std(ddof=1) / np.sqrt(len(errors))
    print(law.name, exact, with_noise, errors.mean(), sigma)
    # to first order in 1/d, with constant gains between layers
    assert abs(with_noise - errors.mean()) < 3 * sigma + 0.15 * (with_noise - exact)
    assert with_noise - exact > 6 * sigma
