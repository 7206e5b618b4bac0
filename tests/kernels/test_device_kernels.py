"""Kernels on a device: blocks of one program, beside the tiles that processors compute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk._utils import rows
from hntk.kernels import device_kernels, exact, held_kernel, kernel_plan
from hntk.kernels.held_kernel import HeldKernel, MemoryBlocks, NoBlocks
from hntk.kernels.problem import KernelProblem
from hntk.readouts import kernel_gradients
from hntk.solvers import low_rank
from tests.support.samples import spread, two_classes

STAIRS = hntk.staircase([-1.0, 0.0, 1.0], [-1.0, 0.0, 0.5, 1.0])
SIDE = 24


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    jax.config.update("jax_enable_x64", True)
    for name, value in (("SIDE", SIDE), ("BAND", 11 * SIDE), ("PAIRS", 16), ("ROWS", 8)):
        monkeypatch.setattr(device_kernels, name, value)
    device_kernels._program.cache_clear()  # programs know the size of their blocks
    yield
    device_kernels._program.cache_clear()


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the ways that are taken where JAX has another device than this machine's processor."""
    take_them(monkeypatch)


def take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (exact, held_kernel, low_rank, rows):
        monkeypatch.setattr(module, "accelerated", lambda: True)


def crowded(n: int) -> np.ndarray:
    """Return samples of which two are equal and two are nearly so."""
    x = spread(n, 5)
    x[-1], x[1] = x[0], x[2] * (1 + 1e-7)
    return x


# fewer than a block has, one block, one with a row left, two without, and three of which the last overlaps
@pytest.mark.parametrize("n", [7, SIDE, SIDE + 1, 2 * SIDE, 2 * SIDE + 11])
@pytest.mark.parametrize("net", [["relu"] * 3, ["tanh", "relu"], [STAIRS, STAIRS]], ids=["relu", "tanh", "stairs"])
def test_blocks_are_the_tiles_of_a_processor(as_on_a_gpu: None, n: int, net: Any) -> None:
    x, told = crowded(n), []
    kernels = hntk.exact_kernels(x, net, kappa_sq=3.0, progress=told.append)
    assert sum(told) == n * n
    problem = KernelProblem.of(x, net, None, None, 3.0)
    every = problem.samples(problem.x)
    i, j = np.indices((n, n))
    apart = i != j
    pairs = problem.recursion.pairs(every, every, i[apart], j[apart]).kernels
    for found, own, single in zip(kernels, (every.ck, every.ntk), pairs, strict=True):
        assert isinstance(found, jax.Array)
        # inner products of a few samples are rounded by two ways on a processor
        np.testing.assert_allclose(found, found.T, rtol=0.0 if n > 7 else 1e-15)
        np.testing.assert_array_equal(np.diagonal(found), own)
        # the exact form of every pair by itself
        np.testing.assert_allclose(np.asarray(found)[apart], single, rtol=2e-7, atol=1e-9)


CLOSED = ["relu", "leaky_relu", "abs", "erf", "sin", "cos", "gaussian", "quadratic", "linear"]


@pytest.mark.parametrize("normalize", [None, "layer"])
@pytest.mark.parametrize("layer", CLOSED, ids=str)
def test_maps_in_closed_form_give_both_halves_the_same_numbers(as_on_a_gpu: None, layer: Any, normalize: Any) -> None:
    net = hntk.Architecture([layer] * 3, bias_std=0.3, normalize=normalize, residual=0.5)
    kernels = hntk.exact_kernels(crowded(2 * SIDE + 11), net)
    for found in kernels:
        np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("net", [["relu", "tanh"], ["relu", "erf"], [STAIRS]], ids=["smooth", "closed", "stairs"])
def test_two_sets_of_samples(monkeypatch: pytest.MonkeyPatch, net: Any) -> None:
    x = crowded(2 * SIDE + 5)
    few = x[: SIDE + 3]
    want = hntk.exact_kernels(few, net, x2=x, tau0=1.0, kappa_sq=3.0)
    take_them(monkeypatch)
    found = hntk.exact_kernels(few, net, x2=x, tau0=1.0, kappa_sq=3.0)
    for one, other in zip(found, want, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_a_kernel_with_surrogates_is_not_symmetric_and_has_its_own_diagonal(monkeypatch: pytest.MonkeyPatch) -> None:
    x, options = spread(SIDE + 9, 4), {"tau0": 1.0, "surrogate": "gaussian"}
    want = hntk.exact_kernels(x, [STAIRS, STAIRS], **options)  # type: ignore[arg-type]
    take_them(monkeypatch)
    found = hntk.exact_kernels(x, [STAIRS, STAIRS], **options)  # type: ignore[arg-type]
    assert not np.array_equal(want.ntk, want.ntk.T)
    np.testing.assert_allclose(found.ntk, want.ntk, rtol=1e-10, atol=1e-12)


def test_an_implicit_network(monkeypatch: pytest.MonkeyPatch) -> None:
    x = spread(SIDE + 9, 4)
    net = hntk.Architecture(["erf"], weight_std=0.5, implicit=True)
    want = hntk.exact_kernels(x, net)
    take_them(monkeypatch)
    np.testing.assert_allclose(hntk.exact_kernels(x, net).ntk, want.ntk, rtol=1e-10, atol=1e-12)


def test_kernels_that_a_device_has_no_room_for_are_refused(as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_kernels, "device_memory", lambda: 100_000)
    with pytest.raises(MemoryError, match=r"take 0\.\d MB and 0\.1 MB of the device's memory are free.*fit_kernel"):
        hntk.exact_kernels(spread(150, 4), ["relu"])


@pytest.mark.parametrize("place", ["device", "nowhere", "memory"])
def test_a_kernel_that_is_held_is_computed_and_multiplied_there(
    as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    monkeypatch.setattr(kernel_plan, "SIDE", 40)
    monkeypatch.setattr(kernel_plan, "DEVICE_SIDE", 40)
    x, v = spread(90, 5), np.random.default_rng(0).normal(size=(90, 3))
    problem = KernelProblem.of(x, ["relu", "erf"], None, None, None)
    blocks = NoBlocks() if place == "nowhere" else MemoryBlocks()
    held = HeldKernel(problem, "ntk", kernel_plan.plan_kernel(90, keep=place), blocks)
    held.compute()
    whole = np.asarray(hntk.exact_kernels(x, ["relu", "erf"]).ntk)
    np.testing.assert_allclose(held.product(v), whole @ v, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(held.columns(np.array([89, 3])), whole[:, [89, 3]], rtol=1e-12)
    if isinstance(blocks, MemoryBlocks):
        assert all(isinstance(block, jax.Array) == (place == "device") for block in blocks.kept.values())


@pytest.mark.parametrize("solver", ["direct", "gradients"])
def test_a_regression_is_that_of_a_processor(monkeypatch: pytest.MonkeyPatch, solver: str) -> None:
    x, labels = two_classes(70, 6)
    how: Any = "direct" if solver == "direct" else hntk.ConjugateGradients(tolerance=1e-9, log=None)
    want = hntk.fit_kernel(x[:60], labels[:60], ["relu", "relu"], ridge=0.1, solver=how)
    take_them(monkeypatch)
    for module in (kernel_plan, low_rank):
        monkeypatch.setattr(module, "device_memory", lambda: 10**9)
    opened: list[str] = []
    plan = kernel_gradients.plan_kernel

    def told(*arguments: Any, **options: Any) -> Any:
        chosen = plan(*arguments, **options)
        opened.append(chosen.place)
        return chosen

    monkeypatch.setattr(kernel_gradients, "plan_kernel", told)
    found = hntk.fit_kernel(x[:60], labels[:60], ["relu", "relu"], ridge=0.1, solver=how)
    assert opened == ([] if solver == "direct" else ["device"])
    np.testing.assert_allclose(found.scores(x[60:]), want.scores(x[60:]), rtol=1e-6, atol=1e-8)


def test_a_preconditioner_is_applied_there(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    factor, block = rng.normal(size=(60, 4)), rng.normal(size=(60, 2))
    part = low_rank.LowRank(factor, rng.uniform(0, 1, 60))
    want = part.leading(50).inverse(0.1)(block[:50])
    whole = factor[:50] @ factor[:50].T + np.diag(part.diagonal[:50] + 0.1)
    np.testing.assert_allclose(whole @ want, block[:50], rtol=1e-10, atol=1e-10)
    take_them(monkeypatch)
    monkeypatch.setattr(low_rank, "device_memory", lambda: 10**6)
    np.testing.assert_allclose(part.leading(50).inverse(0.1)(block[:50]), want, rtol=1e-11)
    assert "_on_device" in part.leading(50).__dict__  # one copy for all ridges
    monkeypatch.setattr(low_rank, "device_memory", lambda: 10)
    fresh = low_rank.LowRank(factor, part.diagonal)
    fresh.inverse(0.1)
    assert "_on_device" not in fresh.__dict__


def test_samples_on_a_device_are_checked_there(as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x = jax.numpy.asarray(spread(9, 4))
    checked: list[int] = []
    monkeypatch.setattr(rows, "check_rows", lambda *_: checked.append(1))
    assert rows.as_samples(x) is x
    assert not checked
    rows.as_samples(x.at[3, 1].set(np.nan))
    assert checked


@pytest.mark.parametrize("x64", [False, True])
def test_samples_stay_on_their_device_when_their_scale_is_measured(x64: bool, as_on_a_gpu: None) -> None:
    jax.config.update("jax_enable_x64", x64)
    x = spread(40, 5).astype(np.float32)
    on_device, expected = jnp.asarray(x), rows.rms_norm(x)
    # 200 numbers that are rounded to float32 first would be 1e-8 off
    assert rows.rms_norm(on_device) == pytest.approx(expected, rel=1e-14)
    if x64:
        with pytest.raises(ValueError, match="underflows"):
            rows.rms_norm(jnp.full((3, 2), 1e-200))
    with pytest.raises(ValueError, match="all rows of x are zero"):
        rows.rms_norm(jnp.zeros((3, 2)))
