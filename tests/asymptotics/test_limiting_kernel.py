"""LimitingKernel: one object answers what the functions do, and is a pytree that copies, pickles and prints briefly."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk import asymptotics
from hntk.asymptotics import LimitingKernel, MixtureLaw
from tests.asymptotics.laws import NET, law_of, three_class_law

N = 40


@pytest.fixture(scope="module")
def kernel() -> LimitingKernel:
    return LimitingKernel.of(three_class_law(60), N, NET, kernel="ntk")


def same(first: Any, second: Any) -> None:
    """Equal in structure, and to rounding in every number: sums of BLAS depend on where arrays lie in memory."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_methods_and_functions_agree(kernel: LimitingKernel) -> None:
    of = {"law": kernel.law, "n": N, "net": NET, "kernel": "ntk"}
    same(kernel.density(), asymptotics.limiting_density(**of))
    same(kernel.spikes(), asymptotics.spikes(**of))
    np.testing.assert_array_equal(kernel.support(), kernel.density().edges)
    own = {"targets": np.eye(3), "offset": np.ones(3)}
    same(kernel.ridge_regression(0.1, **own), asymptotics.ridge_regression(**of, ridge=0.1, **own))
    same(kernel.gradient_flow(2.0, **own), asymptotics.gradient_flow(**of, time=2.0, **own))
    best = {"criterion": "classification", "rounds": 1}
    same(kernel.optimal_ridge(**best), asymptotics.optimal_ridge(**of, **best))


@pytest.mark.slow
def test_methods_and_functions_agree_at_finite_size() -> None:
    law = law_of("scaled", 60)
    kernel, of = LimitingKernel.of(law, N, ["erf"]), {"law": law, "n": N, "net": ["erf"], "kernel": "ck"}
    same(kernel.finite_size_density(), asymptotics.finite_size_density(**of))
    sized = kernel.ridge_regression(0.1, finite_size=True)
    same(sized, asymptotics.ridge_regression(**of, ridge=0.1, finite_size=True))
    assert sized.test.squared_error != kernel.ridge_regression(0.1).test.squared_error


def test_settings_are_checked_when_it_is_made() -> None:
    law = law_of("scaled", 20)
    with pytest.raises(ValueError, match="must be a MixtureLaw"):
        LimitingKernel.of(np.eye(2), N, NET)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n must be a whole number from 1"):
        LimitingKernel.of(law, 0, NET)
    coefficients = LimitingKernel.of(law, N, hntk.coefficients(NET, law.tau0))
    with pytest.raises(ValueError, match="give the activations"):
        coefficients.ridge_regression(0.1, finite_size=True)
    with pytest.raises(ValueError, match="give the activations"):
        coefficients.finite_size_density()


def test_transformations_take_it(kernel: LimitingKernel) -> None:
    through = jax.tree.map(np.asarray, jax.jit(lambda k: jax.tree.map(lambda leaf: 1 * leaf, k))(kernel))
    assert type(through) is LimitingKernel
    assert (through.n, through.coefficients) == (N, kernel.coefficients)
    same(through.ridge_regression(0.1), kernel.ridge_regression(0.1))
    # results of several settings stack to one result of arrays
    several = [kernel.ridge_regression(ridge) for ridge in (0.01, 0.1, 1.0)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    assert stacked.test.means.shape == (3, 3, 3)
    best = jax.vmap(lambda learned: learned.test.squared_error - learned.training.squared_error)(stacked)
    gaps = [one.test.squared_error - one.training.squared_error for one in several]
    np.testing.assert_allclose(best, gaps)


def test_copies_and_pickles_leave_out_what_is_kept(kernel: LimitingKernel) -> None:
    expected = kernel.ridge_regression(0.1)
    for again in (pickle.loads(pickle.dumps(kernel)), copy.copy(kernel), copy.deepcopy(kernel)):
        assert set(vars(again)) == {"law", "n", "coefficients"}
        same(again.ridge_regression(0.1), expected)
    assert kernel == kernel
    assert kernel != copy.copy(kernel)
    assert len({kernel, kernel}) == 1


@pytest.mark.parametrize("classes", [2, 12])
def test_reprs_are_brief(classes: int) -> None:
    p = 120
    law = MixtureLaw.of(np.eye(classes, p), [np.linspace(0.5, 1.5, p)] * classes)
    kernel = LimitingKernel.of(law, 300, NET)
    learned = kernel.ridge_regression(0.1)
    features = asymptotics.RandomFeatures(law, 300, hntk.coefficients(NET, law.tau0))
    finite = asymptotics.FiniteSizeDensity(np.linspace(0, 1, 500), np.ones(500), np.linspace(0, 1, 500))
    made = [law, kernel, kernel.density(), kernel.spikes()[0], learned, learned.test, features, finite]
    for one in [*made, kernel.coefficients, asymptotics.FiniteWidth(0.1, 0.2, learned.test)]:
        assert type(one).__name__ in repr(one)
        assert len(repr(one)) < 500
        assert repr(one).count("\n") < 8
    assert f"{classes} classes" in repr(law)
    assert "weights gaussian" in repr(features)
    # a law given as an object is named, not printed
    blocks = asymptotics.RandomFeatures(law, 300, hntk.coefficients(NET, law.tau0), hntk.weight_law("orthogonal"))
    assert "weights orthogonal" in repr(blocks)
    assert "WeightLaw" not in repr(blocks)
    assert "p = 120" in repr(kernel)
