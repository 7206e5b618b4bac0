"""Exact kernels by tiles: against neural-tangents, whatever the tile, the pairs and the size."""

from __future__ import annotations

import threading
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk._utils import memory as room
from hntk.activations import mehler
from hntk.kernels import tiling
from hntk.kernels._neural_tangents import load
from hntk.kernels.layer_runs import runs_of
from hntk.kernels.problem import KernelProblem
from hntk.kernels.recursion import tile_of
from hntk.spectra.comparison import off_diagonal
from tests.support.precision import precision
from tests.support.recursion import kernel_function
from tests.support.samples import spread

STAIRS = hntk.staircase([-0.4, 0.2, 1.1], [0.0, 0.4, 1.0, 2.2])
STACKS = {
    "relu": ["relu"] * 3,
    "stairs": [STAIRS] * 3,
    "mixed": ["erf", STAIRS, "tanh"],
    "clipped": [hntk.activation(lambda t: jnp.clip(t, -1, 1), breakpoints=[-1, 1], name="clipped"), "abs"],
}


def reference(x: np.ndarray, layers: list, tau0: float, x2: np.ndarray | None = None):
    """neural-tangents' recursion with the exact form of every map."""
    kernel_fn, widen = hntk.stax_kernel_fn(layers, tau0), np.sqrt(x.shape[1])
    compiled = jax.jit(lambda a, b: kernel_fn(a, b, ("nngp", "ntk")))
    return compiled(widen * x, None if x2 is None else widen * x2)


def close(found: object, expected: object, tolerance: float) -> None:
    a, b = np.asarray(found), np.asarray(expected)
    assert np.array_equal(np.isinf(a), np.isinf(b))
    kept = np.isfinite(b)
    assert np.max(np.abs(a[kept] - b[kept])) <= tolerance * np.max(np.abs(b[kept]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "erf"])
def test_neural_tangents_own_layers_give_the_same(name: str) -> None:
    stax = load().stax
    x = np.asarray(jax.random.normal(jax.random.key(0), (12, 30)))
    layer = {"relu": stax.Relu(), "erf": stax.Erf()}[name]
    theirs = jax.jit(stax.serial(*[stax.Dense(1, 1.0, None), layer] * 3, stax.Dense(1, 1.0, None))[2])(x)
    centred = hntk.exact_kernels(x / np.sqrt(30), [name] * 3, tau0=1.0)
    if name == "erf":  # its mean is 0
        close(centred.ck, theirs.nngp, 1e-12)
        close(centred.ntk, theirs.ntk, 1e-12)
    else:
        assert np.max(np.abs(np.asarray(centred.ck) - np.asarray(theirs.nngp))) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "relu" else [pytest.mark.nightly]) for name in STACKS]
)
def test_all_correlations_against_exact_forms(name: str) -> None:
    layers = STACKS[name]
    quick = name in ("relu", "stairs")
    x, other = spread(40 if quick else 5, 6), spread(23 if quick else 2, 6, seed=1)
    found, expected = hntk.exact_kernels(x, layers, tau0=1.0, tile=8), reference(x, layers, 1.0)
    # of nearly parallel samples a jump's derivative map turns a rounding into 1e-9
    tolerances = (1e-12, 1e-12 if name == "relu" else 1e-9)
    for mine, theirs, tolerance in zip(found, expected, tolerances, strict=True):
        close(mine, theirs, tolerance)
        assert np.array_equal(mine, mine.T)
    across = hntk.exact_kernels(x, layers, x2=other, tau0=1.0, tile=8)
    for mine, theirs, tolerance in zip(across, reference(x, layers, 1.0, other), tolerances, strict=True):
        assert mine.shape == (len(x), len(other))
        close(mine, theirs, tolerance)


@pytest.mark.nightly
def test_exact_kernels_against_the_recursion_and_between_two_sets() -> None:
    data = hntk.reference_mixture(n=16, p=40, key=jax.random.key(1))
    layers = ["relu", hntk.staircase([0.1, 0.9], [0.0, 0.5, 1.5]), "tanh"]
    tau0 = 1.0
    gram = data.x @ data.x.T
    v = jnp.diag(gram)
    ck, ntk = kernel_function(layers, tau0)(gram, v[:, None], v[None, :])
    found = hntk.exact_kernels(data.x, layers, tau0=tau0)
    np.testing.assert_allclose(found.ck, ck, atol=1e-10)
    np.testing.assert_allclose(off_diagonal(found.ntk), off_diagonal(ntk), atol=1e-10)
    assert np.all(np.isinf(np.diag(found.ntk)))
    declared = hntk.exact_kernels(data.x, layers, tau0=tau0, kappa_sq=2.5)
    assert np.all(np.diag(declared.ntk) == 2.5)
    block = hntk.exact_kernels(data.x[:10], layers, x2=data.x[10:], tau0=tau0)
    np.testing.assert_allclose(block.ck, found.ck[:10, 10:], atol=1e-12)


@pytest.mark.often("relu")
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("relu", "mixed") else [pytest.mark.nightly]) for name in STACKS]
)
def test_the_tile_changes_nothing_but_rounding(name: str) -> None:
    x = spread(101, 30)
    whole = hntk.exact_kernels(x, STACKS[name], tau0=1.0, tile=101)
    for tile in (1, 10, 64, 100, 500) if name == "relu" else (64,):
        for mine, theirs in zip(hntk.exact_kernels(x, STACKS[name], tau0=1.0, tile=tile), whole, strict=True):
            close(mine, theirs, 1e-13)
    wrong = hntk.exact_kernels(x * 1.001, STACKS[name], tau0=1.0)
    assert np.max(np.abs(np.asarray(wrong.ck) - np.asarray(whole.ck))) > 1e-6


@pytest.mark.slow
def test_equal_opposite_and_empty_samples() -> None:
    x = spread(9, 5)
    x[4], x[5], x[6] = x[0], -x[0], 0.0
    for layers in (["relu", "erf"], [STAIRS] * 2):
        found, expected = hntk.exact_kernels(x, layers, tau0=1.0), reference(x, layers, 1.0)
        for mine, theirs in zip(found, expected, strict=True):
            kept = np.isfinite(np.asarray(theirs))
            close(np.where(kept, mine, 0), np.where(kept, theirs, 0), 1e-12)
        assert found.ck[0, 4] == pytest.approx(float(found.ck[0, 0]), rel=1e-12)
    assert np.all(np.isinf(np.diag(found.ntk)[:6]))


@pytest.mark.slow
def test_a_series_is_used_where_it_is_certified_and_no_further() -> None:
    """Of nearly orthogonal samples no pair is left over; of parallel ones all are, and none is wrong."""
    side = STAIRS.side(jnp.full(64, 0.7))
    left, right = (jax.tree.map(lambda a, axis=axis: jnp.expand_dims(a, axis), side) for axis in (-1, -2))
    rho = jnp.asarray(np.random.default_rng(0).uniform(-0.2, 0.2, (64, 64)))
    for scale, share in ((1.0, 1.0), (5.0, 0.9), (0.0, 1.0)):
        maps = STAIRS.pairs(left, right, 0.7 * scale * rho)
        assert maps.certain is not None
        assert float(jnp.mean(maps.certain)) >= share - 0.1
        kept = np.asarray(maps.certain)
        for mine, exact in (
            (maps.covariance, STAIRS.covariance_map(0.7 * scale * rho, 0.7, 0.7)),
            (maps.derivative, STAIRS.derivative_map(0.7 * scale * rho, 0.7, 0.7)),
        ):
            np.testing.assert_allclose(np.asarray(mine)[kept], np.asarray(exact)[kept], atol=2e-13)
    beyond = STAIRS.pairs(left, right, jnp.full((64, 64), 0.7 * 0.99))
    assert not np.any(np.asarray(beyond.certain))
    # what the bound forbids is indeed wrong
    assert np.max(np.abs(beyond.covariance - STAIRS.covariance_map(jnp.asarray(0.7 * 0.99), 0.7, 0.7))) > 1e-6


@pytest.mark.slow
def test_a_smooth_function_needs_no_exact_forms_at_high_correlations() -> None:
    """As those of networks that are not centred: what rounding leaves of the variance is no tail of the series."""
    sigmoid = hntk.activation("sigmoid")
    var = jnp.asarray(np.random.default_rng(0).uniform(0.5, 0.6, 200))
    left, right = (jax.tree.map(lambda a, axis=axis: jnp.expand_dims(a, axis), sigmoid.side(var)) for axis in (-1, -2))
    rho = 0.998 * jnp.sqrt(var[:, None] * var[None, :])
    maps = sigmoid.pairs(left, right, rho)
    assert np.all(np.asarray(maps.certain))
    few = slice(0, 3)  # that the exact form divides by 1 − ρ costs it digits
    for mine, exact in zip(maps, (sigmoid.covariance_map, sigmoid.derivative_map), strict=False):
        expected = exact(rho[few, few], var[few, None], var[None, few])
        np.testing.assert_allclose(mine[few, few], expected, rtol=1e-11)


@pytest.mark.slow
def test_interpolated_expansions_are_the_direct_ones() -> None:
    tanh = hntk.activation("tanh")
    var = jnp.asarray(np.random.default_rng(0).uniform(0.2, 2.0, 300))
    many = tanh.side(var)
    few = [tanh.side(var[k : k + 60]) for k in range(0, 300, 60)]
    for name in ("coefficients", "variance"):
        direct = np.concatenate([np.asarray(getattr(part, name)) for part in few], axis=-1)
        np.testing.assert_allclose(getattr(many, name), direct, atol=1e-14)
    # a variance of 0 cannot be interpolated from
    assert np.all(np.isfinite(tanh.side(jnp.append(var, 0.0)).coefficients))
    assert mehler.BLOCK * many.beyond.shape[0] == many.coefficients.shape[0] - 1


@pytest.mark.parametrize(
    ("name", "m"), [("relu", None), ("relu", 23), pytest.param("stairs", None, marks=pytest.mark.nightly)]
)
def test_one_kernel_alone_is_that_of_both(name: str, m: int | None) -> None:
    problem = KernelProblem.of(spread(30, 6), STACKS[name], None if m is None else spread(m, 6, 1), 1.0, None)

    def filled(*wanted: bool) -> list[np.ndarray]:
        arrays = [np.full(problem.shape, np.nan, np.float32) if one else None for one in wanted]
        target = tiling.Target(*arrays, symmetric=problem.symmetric, tile=16, same=problem.same)
        problem.fill(target, target.bands, None)
        return target.arrays

    both = filled(True, True)
    for whole, (alone,) in zip(both, (filled(True, False), filled(False, True)), strict=True):
        close(alone, whole, 1e-7)
    with pytest.raises(ValueError, match="at least one"):
        filled(False, False)


@pytest.mark.slow
def test_many_layers_are_those_of_the_recursion() -> None:
    """Layers of one kind are compiled once and gone through in a loop."""
    x, layers = spread(12, 6), [*["relu"] * 9, *["erf"] * 2, "abs"]
    gram = jnp.asarray(x @ x.T)
    v = jnp.diag(gram)
    expected = kernel_function(layers, 1.0)(gram, v[:, None], v[None, :])
    found = hntk.exact_kernels(x, layers, tau0=1.0)
    for mine, theirs in zip(found, expected, strict=True):
        close(off_diagonal(mine), off_diagonal(theirs), 1e-11)


@pytest.mark.parametrize("name", ["relu", "stairs", pytest.param("tanh", marks=pytest.mark.nightly)])
def test_what_is_compiled_does_not_grow_with_equal_layers(name: str) -> None:
    def operations(depth: int) -> int:
        layers = [STAIRS if name == "stairs" else name] * depth
        problem = KernelProblem.of(spread(8, 6), layers, None, 1.0, None)
        known = jax.eval_shape(problem.recursion.samples, problem.x)
        program = jax.jit(partial(tile_of, problem.recursion.form)).lower(problem.recursion.numbers, known, known)
        # numbers of all layers are stacked first
        return sum(" stablehlo." in line and "reshape" not in line for line in program.as_text().splitlines())

    assert operations(12) < 1.2 * operations(3)


@pytest.mark.parametrize("m", [None, 70])
def test_progress_counts_every_entry_once(m: int | None) -> None:
    x, told, threads = spread(101, 5), [], set()
    x2 = None if m is None else spread(m, 5)

    def tell(entries: int) -> None:
        told.append(entries)
        threads.add(threading.get_ident())

    hntk.exact_kernels(x, ["relu"], x2=x2, tile=16, progress=tell)
    assert sum(told) == 101 * (m or 101)
    assert len(told) == 7
    # callers need no locks of their own
    assert threads == {threading.get_ident()}


@pytest.mark.often("37")
@pytest.mark.parametrize("n", [15, 16, 37])
def test_symmetric_kernels_are_so_to_the_bit(n: int) -> None:
    x = spread(n, 5)
    for kernel in hntk.exact_kernels(x, STACKS["mixed"], tile=16):
        np.testing.assert_array_equal(kernel, np.asarray(kernel).T)
    # the diagonal is each sample's own, which no tile's rounding changes
    ck = np.diagonal(hntk.exact_kernels(x, ["relu"] * 3, tau0=1.0, tile=16).ck)
    alone = [hntk.exact_kernels(x[k : k + 1], ["relu"] * 3, tau0=1.0).ck[0, 0] for k in range(3)]
    np.testing.assert_allclose(ck[:3], alone, rtol=1e-14)


@pytest.mark.parametrize(
    ("layers", "lengths"),
    [
        (["relu"], [1]),
        (["relu"] * 2, [2]),
        (["relu"] * 3, [1, 2]),
        (["relu"] * 16 + ["erf"] * 3, [1, 15, 3]),
        ([STAIRS] * 3, [3]),
    ],
)
def test_the_first_of_many_layers_stands_before_their_loop(layers: list, lengths: list[int]) -> None:
    recursion = KernelProblem.of(spread(4, 6), layers, None, 1.0, None).recursion
    if jax.default_backend() == "cpu":
        assert [run.length for run in runs_of(recursion.form, recursion.numbers)] == lengths


def test_what_does_not_fit_is_refused_with_the_alternative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "SMALL", 0)
    monkeypatch.setattr(room, "available_memory", lambda: 10_000_000)
    x = spread(900, 3)
    with pytest.raises(MemoryError, match=r"\(900, 900\) would take 14.* 10\.0 MB .*store_kernels.*equivalent_k"):
        hntk.exact_kernels(x, ["relu"])
    assert hntk.exact_kernels(x[:500], ["relu"]).ck.shape == (500, 500)


def test_a_tile_that_fails_ends_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no more")

    monkeypatch.setattr(tiling, "write_tile", broken)
    with pytest.raises(RuntimeError, match="no more"):
        hntk.exact_kernels(spread(60, 3), ["relu"], tile=4)


def test_other_tiles_are_left_when_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def broken(target: tiling.Target, corner: tuple[int, int], *_: object) -> None:
        written.append(corner)
        if corner == (0, 0):
            raise RuntimeError("no more")
        time.sleep(0.02)

    monkeypatch.setattr(tiling, "write_tile", broken)
    with pytest.raises(RuntimeError, match="no more"):
        hntk.exact_kernels(spread(200, 3), ["relu"], tile=4)
    # of 1275 tiles, each of which takes 20 ms
    assert len(written) < 300


@pytest.mark.nightly
def test_kernels_in_float32_are_those_in_float64() -> None:
    x = np.asarray(hntk.reference_mixture(n=80, p=60, key=jax.random.key(0)).x)
    for layers in (["relu"] * 2, [STAIRS] * 2, ["tanh"] * 2):
        exact = hntk.exact_kernels(x, layers, tau0=1.0, kappa_sq=1.0)
        with precision(False), pytest.warns(UserWarning, match="float32"):
            rough = hntk.exact_kernels(x.astype(np.float32), layers, tau0=1.0, kappa_sq=1.0)
        assert rough.ck.dtype == jnp.float32
        close(rough.ck, exact.ck, 1e-4)
        close(rough.ntk, exact.ntk, 1e-3)
