"""What is kept in memory belongs to what it was computed from: equal names and other settings never share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk import asymptotics
from tests.support.samples import two_classes

X, _ = two_classes(12, 20)
LAW = asymptotics.MixtureLaw.of(np.eye(2, 20), [1.0, 1.0])


def own(factor: float, **options: Any) -> hntk.Activation:
    return hntk.activation(lambda t: jnp.tanh(factor * t), name="own", **options)


# pairs of one name and another content
PAIRS: dict[str, Callable[[], tuple]] = {
    "functions": lambda: (own(1.0), own(2.0)),
    "breakpoints": lambda: tuple(
        hntk.activation(lambda t: jnp.where(t < 1, t, 1.0), breakpoints=points, name="own")
        for points in ([1.0], [0.5, 1.0])
    ),
    "coefficients": lambda: tuple(hntk.activation("polynomial", coefficients=[0.0, c, 0.2]) for c in (1.0, 2.0)),
    "slopes": lambda: tuple(hntk.activations.rectifier.Rectifier(0.5, even, "own") for even in (0.5, 0.2)),
    "levels": lambda: tuple(hntk.staircase([-0.5, 0.5], [-1.0, 0.0, top], name="own") for top in (1.0, 2.0)),
    "thresholds": lambda: tuple(hntk.staircase([-0.5, top], [-1.0, 0.0, 1.0], name="own") for top in (0.5, 0.6)),
}  # fmt: skip
COMPUTED: dict[str, Callable[[hntk.Activation], np.ndarray]] = {
    "exact": lambda a: np.asarray(hntk.exact_kernels(X, [a]).ck),
    "sharded": lambda a: np.asarray(hntk.sharded_kernels(X, [a]).ck),
    "features": lambda a: np.asarray(hntk.dense([a], [8], X, key=jax.random.key(1)).features(X)),
    "empirical": lambda a: np.asarray(hntk.empirical_kernels(hntk.dense([a], [8], X, key=jax.random.key(1)), X).ck),
    "limits": lambda a: asymptotics.kernel_coefficients([a], 1.0).exact_dependence().across(1.0, np.array([0.3]), 1.0),
}


# programs of functions take seconds to compile
SLOW = {("functions", "exact"), ("breakpoints", "exact"), ("functions", "limits"), ("breakpoints", "limits")}
# a function of other breakpoints has the same kernels, and another program; levels are known as thresholds are
REPEATED = {("breakpoints", "exact"), ("breakpoints", "limits"), ("levels", "exact"), ("levels", "sharded")}
TRIED = [
    pytest.param(
        pair,
        computed,
        marks=[pytest.mark.slow] * ((pair, computed) in SLOW) + [pytest.mark.nightly] * ((pair, computed) in REPEATED),
    )
    for pair in PAIRS
    for computed in COMPUTED
    if computed != "sharded" or pair in ("coefficients", "levels")
]


@pytest.mark.slow
@pytest.mark.parametrize(("pair", "computed"), TRIED)
def test_activations_of_one_name_do_not_share_what_is_kept(pair: str, computed: str) -> None:
    first, second = PAIRS[pair]()
    compute = COMPUTED[computed]
    before, other, after = compute(first), compute(second), compute(first)
    assert np.array_equal(before, after)
    if pair != "breakpoints":
        assert not np.allclose(before, other, rtol=1e-3)


@pytest.mark.slow
def test_what_is_kept_of_one_precision_is_not_given_in_another() -> None:
    net = hntk.dense(["erf"], [8], X, key=jax.random.key(1))
    kept = []
    for double in (True, False, True, False):
        jax.config.update("jax_enable_x64", double)
        try:
            with pytest.warns(UserWarning, match="float32") if not double else np.errstate():
                kernels = hntk.exact_kernels(X.astype(np.float32), ["erf", "relu"])
            empirical = hntk.empirical_kernels(net, X)
            kept.append([np.asarray(k) for k in (*kernels, *empirical, net.features(X))])
        finally:
            jax.config.update("jax_enable_x64", True)
    assert [part.dtype.name for part in kept[0]] == ["float64"] * 4 + ["float32"]
    assert [part.dtype.name for part in kept[1]] == ["float32"] * 5
    for first, again in zip(kept[:2], kept[2:], strict=True):
        for mine, theirs in zip(first, again, strict=True):
            assert np.array_equal(mine, theirs)


def test_what_is_kept_of_limits_cannot_be_written_to() -> None:
    seen = asymptotics.kernel_coefficients(["relu"], 1.0).exact_dependence()
    products = np.array([0.1, 0.2])
    kept = seen.across(1.0, products, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 7.0
    assert seen.across(1.0, products, 1.0)[0] != 7.0
