"""Derivatives of the kernel map of every activation, against automatic differentiation and other closed forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.activations.rectifier import Rectifier
from hntk.activations.smoothing import PairDerivatives, smoothed_function
from tests.support.precision import precision

NAMES = [name for name in hntk.activation_names() if name not in ("polynomial", "staircase")]
STEPS = hntk.staircase([-0.5, 0.3, 1.2], [-1.0, 0.0, 0.5, 2.0])
OTHERS: dict[str, Callable[[], hntk.Activation]] = {
    "identity": lambda: Rectifier(1.0, 0.0),
    "polynomial": lambda: hntk.activation("polynomial", coefficients=[0.3, -1.0, 0.5, 0.2]),
    "steps": lambda: STEPS,
    "clip": lambda: hntk.activation(lambda t: jnp.clip(t, -1, 1), breakpoints=[-1, 1], name="clip"),
    "hard shrink": lambda: hntk.activation(lambda t: jnp.where(t > 0.5, t, 0.0), breakpoints=[0.5], name="hard"),
}
# name: how often it differentiates by (q1, q2, c)
FIELDS = {
    "k": (0, 0, 0), "k_c": (0, 0, 1), "k_1": (1, 0, 0), "k_cc": (0, 0, 2), "k_1c": (1, 0, 1), "k_11": (2, 0, 0),
    "k_12": (1, 1, 0), "k_ccc": (0, 0, 3), "k_1cc": (1, 0, 2), "k_11c": (2, 0, 1), "k_12c": (1, 1, 1),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


@cache
def made(name: str) -> hntk.Activation:
    return OTHERS[name]() if name in OTHERS else hntk.activation(name)


def automatic(function: Callable, at: tuple[float, float]) -> PairDerivatives:
    """Return the derivatives of k(q1, q2, c) at (Q, Q, C), in the same form without the diagonal."""
    point = jnp.array([at[0], *at])
    orders = [lambda v: function(v[2], v[0], v[1])]
    for _ in range(3):
        orders.append(jax.jacfwd(orders[-1]))
    tensors = [np.asarray(jax.jit(order)(point)) for order in orders]
    axes = {name: np.repeat(range(3), counts) for name, counts in FIELDS.items()}
    return PairDerivatives(
        **{name: float(tensors[len(i)][tuple(i)]) for name, i in axes.items()}, g=0, dg=0, ddg=0, h=0
    )


def check(derivatives: PairDerivatives, expected: PairDerivatives, q: float, rtol: float) -> None:
    """Compare in units of the map's size and the variance, in which all derivatives are of order 1."""
    for name, counts in FIELDS.items():
        unit = expected.k / q ** sum(counts)
        np.testing.assert_allclose(
            getattr(derivatives, name) / unit, getattr(expected, name) / unit, rtol=rtol, atol=rtol, err_msg=name
        )


@pytest.mark.often("relu", "erf")
@pytest.mark.parametrize("name", ["relu", "erf", "cos", "sin", "gaussian"])
def test_against_automatic_differentiation_of_the_closed_form(name: str) -> None:
    act, mean = made(name), 0.1

    def function(*given: jax.Array) -> jax.Array:
        return act.kernel_map(*given, mean)

    for q, c in [(1.3, 0.4), (1.3, 1.2)]:
        check(act.pair_derivatives(q, c, mean), automatic(function, (q, c)), q, 1e-11)


def test_steps_against_the_bivariate_normal_density() -> None:
    s, jumps, q, c = *map(np.array, (STEPS.thresholds, STEPS.jumps)), 1.3, 0.8

    def slope(v: jax.Array) -> jax.Array:
        """Return E[σ'σ'] at (q1, q2, c)."""
        gap = v[0] * v[1] - v[2] ** 2
        square = (v[1] * s[:, None] ** 2 + v[0] * s**2 - 2 * v[2] * np.outer(s, s)) / gap
        return jumps @ (jnp.exp(-square / 2) / (2 * jnp.pi * jnp.sqrt(gap))) @ jumps

    point = jnp.array([q, q, c])
    value, first, second = slope(point), jax.jacfwd(slope)(point), jax.jacfwd(jax.jacfwd(slope))(point)
    own = STEPS.pair_derivatives(q, c, 0.2)
    np.testing.assert_allclose(own.k, STEPS.kernel_map(*map(jnp.asarray, (c, q, q)), 0.2), rtol=1e-12)
    np.testing.assert_allclose([own.k_c, own.k_1c, own.k_cc], [value, first[0], first[2]], rtol=1e-12)
    np.testing.assert_allclose([own.k_ccc, own.k_1cc], second[2, [2, 0]], rtol=1e-12)
    np.testing.assert_allclose([own.k_11c, own.k_12c], second[0, :2], rtol=1e-12)
    assert own.h == np.inf


@pytest.mark.parametrize("tau", [1e-3, 1.0, 1e3])
def test_scales_of_a_homogeneous_function_and_of_a_wave(tau: float) -> None:
    relu, one = made("relu"), made("relu").pair_derivatives(1.0, 0.4, 0.1)
    at = relu.pair_derivatives(tau**2, 0.4 * tau**2, 0.1 * tau)
    for name, counts in FIELDS.items():
        assert getattr(at, name) == pytest.approx(getattr(one, name) * tau ** (2 - 2 * sum(counts)), rel=1e-12)
    c = 0.4 * tau**2
    wave = made("sin").pair_derivatives(tau**2, c)
    np.testing.assert_allclose(wave.k, np.exp(c - tau**2) * -np.expm1(-2 * c) / 2, rtol=1e-12)
    line = made("identity").pair_derivatives(tau**2, c)
    np.testing.assert_allclose([line.k / c, line.k_c, line.g / tau**2, line.dg, line.h], 1, rtol=1e-13)
    assert [line.k_1, line.k_cc, line.k_1c, line.k_11, line.k_ccc, line.k_11c] == [0] * 6


@pytest.mark.parametrize("q", [0.01, 1.0])
def test_a_function_is_smoothed_like_the_closed_form_of_it(q: float) -> None:
    def steps(t: jax.Array) -> jax.Array:
        return sum(jump * (t >= s) for jump, s in zip(STEPS.jumps, STEPS.thresholds, strict=True)) - 1.0

    pairs = [(jnp.cos, (), made("cos")), (jax.nn.relu, (0.0,), made("relu")), (steps, STEPS.thresholds, STEPS)]
    for function, breakpoints, exact in pairs:
        act = hntk.activation(function, breakpoints=breakpoints, name="own")
        for c in (0.0, 0.3 * q, 0.999 * q):
            own, expected = act.pair_derivatives(q, c, 0.1), exact.pair_derivatives(q, c, 0.1)
            check(own, expected, q, 1e-10)
            np.testing.assert_allclose(own[-4:], expected[-4:], rtol=1e-10, atol=1e-13)


def test_a_smooth_function_against_gauss_hermite() -> None:
    q, c = 1.2, 0.5
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    u, v = np.sqrt(q) * nodes[:, None], c / np.sqrt(q) * nodes[:, None] + np.sqrt(q - c**2 / q) * nodes
    joint = np.outer(weights, weights) / (2 * np.pi)
    orders = [lambda t: jax.nn.gelu(t, approximate=False)]
    for _ in range(5):
        orders.append(jax.grad(orders[-1]))
    first, second = ([np.asarray(jax.jit(jax.vmap(f))(t.reshape(-1))).reshape(t.shape) for f in orders] for t in (u, v))
    gelu = made("gelu")
    means = [[np.sum(joint * a * b) for b in second] for a in first]
    np.testing.assert_allclose(gelu.derivative_means(q, c, 0.0), means, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_uncorrelated_pairs_have_the_moments(name: str) -> None:
    act, q = made(name), 0.7
    m = act.moments(np.sqrt(q))
    own = act.pair_derivatives(q, 0.0, m.mean - 0.2)
    np.testing.assert_allclose([own.k, own.k_c, own.k_1, own.k_cc], [0.04, m.e1**2, 0.1 * m.e2, m.e2**2], atol=1e-12)
    np.testing.assert_allclose([own.g, own.dg], [m.variance + 0.04, m.s2 / 2 + 0.2 * m.e2], atol=1e-12)
    assert own.h == m.d


@pytest.mark.parametrize("name", ["relu", "tanh", "polynomial", "clip", "hard shrink", "steps"])
def test_every_derivative_is_that_of_the_one_before(name: str) -> None:
    act, q, c, mean, h = made(name), 0.9, 0.35, 0.1, 4e-3
    own = act.pair_derivatives(q, c, mean)

    def slope(dq: float, dc: float) -> dict[str, float]:
        at = [np.array(act.pair_derivatives(q + i * h * dq, c + i * h * dc, mean)[:-1]) for i in (-2, -1, 1, 2)]
        return dict(zip(PairDerivatives._fields, (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * h), strict=False))

    by_c, by_q = slope(0, 1), slope(1, 0)
    pairs = [
        *((by_c[name], getattr(own, name + ("c" if "_" in name else "_c"))) for name in ("k", "k_c", "k_1", "k_cc")),
        *((by_c[name], getattr(own, name + "c")) for name in ("k_1c", "k_11", "k_12")),
        *((by_q[name], 2 * getattr(own, other)) for name, other in [("k", "k_1"), ("k_c", "k_1c"), ("k_cc", "k_1cc")]),
        (by_q["k_1"], own.k_11 + own.k_12),
        (by_q["k_1c"], own.k_11c + own.k_12c),
        (by_q["g"], own.dg),
        (by_q["dg"], own.ddg),
    ]
    np.testing.assert_allclose(*zip(*pairs, strict=True), rtol=1e-6, atol=1e-7)


def test_a_kink_in_the_wrong_place_is_not_smoothed_exactly() -> None:
    def kinked(t: jax.Array) -> jax.Array:
        return jnp.abs(t - 0.3)

    z = np.linspace(-1, 1, 5)
    right, wrong = (smoothed_function(kinked, points, z, 0.5, 0.0) for points in ((0.3,), (0.9,)))
    exact = 2 * np.exp(-((z - 0.3) ** 2)) / np.sqrt(np.pi)
    np.testing.assert_allclose(right[2], exact, rtol=1e-12)
    assert np.max(np.abs(wrong[2] - exact)) > 1e-6


@pytest.mark.parametrize(
    ("q", "c", "centre", "message"),
    [
        (1.0, -1e-3, 0.0, "at least 0"),
        (1.0, 1.0, 0.0, "give different samples"),
        (0.0, 0.0, 0.0, "variance must be a positive"),
        (np.inf, 0.0, 0.0, "variance must be a positive"),
        (1.0, np.nan, 0.0, "covariance must be a finite"),
        (1.0, 0.5, np.inf, "centre must be a finite"),
        (1e200, 0.5, 0.0, "rescale the data"),
        (1e-300, 0.0, 0.0, "rescale the data"),
    ],
)
def test_numbers_out_of_range_are_refused(q: float, c: float, centre: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made("polynomial").pair_derivatives(q, c, centre)
