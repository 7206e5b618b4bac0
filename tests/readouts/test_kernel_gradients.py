"""Kernel regression by conjugate gradients: the direct solver's, with every preconditioner and after interruptions."""

from __future__ import annotations

import dataclasses
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.kernels import kernel_plan
from hntk.kernels.held_kernel import HeldKernel
from hntk.kernels.problem import KernelProblem
from hntk.readouts import gradient_state, kernel_regression, kernel_system, preconditioners
from hntk.readouts.kernel_system import GradientSolver
from hntk.readouts.preconditioners import Preconditioners
from hntk.solvers.low_rank import LowRank

RELU3, N = ["relu"] * 3, 600
HE = hntk.Architecture(["relu"], weight_std=2**0.5, bias_std=0.3, centred=False)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    jax.config.update("jax_enable_x64", True)
    monkeypatch.setattr(kernel_plan, "SIDE", 256)


@lru_cache
def samples() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training samples and labels, and new ones."""
    data = hntk.reference_mixture(n=2 * N, p=60, key=jax.random.key(0))
    order = np.random.default_rng(0).permutation(2 * N)
    x, labels = np.asarray(data.x)[order], data.labels[order]
    return x[:N], labels[:N], x[N:], labels[N:]


def by_gradients(**options: Any) -> hntk.ConjugateGradients:
    return hntk.ConjugateGradients(**{"log": None, "pivots": 60} | options)


@pytest.mark.parametrize(
    ("name", "net"),
    [
        pytest.param("auto", RELU3, id="plain, auto"),
        pytest.param("auto", HE, id="biases, auto"),
        *(pytest.param(name, RELU3, id=f"plain, {name}") for name in ("equivalent", "none")),
        *(
            pytest.param(name, net, id=f"{label}, {name}", marks=pytest.mark.nightly)
            for name in ("combined", "cholesky")
            for label, net in (("plain", RELU3), ("biases", HE))
        ),
    ],
)
def test_every_preconditioner_gives_the_direct_solution(name: Any, net: Any) -> None:
    x, labels, new, _ = samples()
    direct = hntk.fit_kernel(x, labels, net, "ntk", 1e-2)
    fitted = hntk.fit_kernel(x, labels, net, "ntk", 1e-2, solver=by_gradients(preconditioner=name, tolerance=1e-9))
    np.testing.assert_allclose(fitted.scores(new), direct.scores(new), atol=1e-8)
    np.testing.assert_allclose(fitted.offset, direct.offset, atol=1e-8)
    told = fitted.convergence
    assert told is not None
    assert max(told.residual, told.sampled_residual) <= 2e-9
    assert told.residual <= told.tolerance == 1e-9
    assert told.race == ()
    # a system so small repays no preconditioner
    assert told.preconditioner == ("none" if name == "auto" else name)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preconditioners that cost nothing but their operations."""
    monkeypatch.setattr(preconditioners, "MADE", 0.0)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("net", [RELU3, HE], ids=["plain", "biases"])
def test_a_preconditioner_that_is_tried_goes_on_from_the_solution_so_far(net: Any) -> None:
    x, labels, new, _ = samples()
    lines: list[str] = []
    direct = hntk.fit_kernel(x, labels, net, "ntk", 1e-2)
    fitted = hntk.fit_kernel(x, labels, net, "ntk", 1e-2, solver=by_gradients(tolerance=1e-9, log=lines.append))
    np.testing.assert_allclose(fitted.scores(new), direct.scores(new), atol=1e-8)
    told = fitted.convergence
    assert told is not None
    before, tried = told.race[:2]
    assert (before.preconditioner, before.rank) == ("none", 0)
    assert tried.preconditioner == told.preconditioner != "none"
    # it begins where the other one stopped, and its steps count
    assert tried.residual < before.residual * before.reduction**kernel_system.RACE
    assert tried.reduction < before.reduction
    assert told.products <= told.iterations + 2
    assert any("is tried, with" in line for line in lines)


@pytest.mark.usefixtures("cheap")
def test_the_choice_is_the_same_each_time_and_follows_ridge_and_tolerance() -> None:
    x, labels, *_ = samples()
    free = hntk.ConjugateGradients(log=None)

    def race(ridge: float, tolerance: float) -> Any:
        solver = dataclasses.replace(free, tolerance=tolerance)
        told = hntk.fit_kernel(x, labels, HE, "ck", ridge, solver=solver).convergence
        assert told is not None
        return told.race

    assert race(1e-3, 1e-8) == race(1e-3, 1e-8) != ()
    assert race(1e-3, 1e-1) == ()
    assert race(100.0, 1e-4) == ()


@pytest.mark.usefixtures("cheap")
def test_a_preconditioner_that_is_worse_for_its_cost_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels, new, _ = samples()
    take = Preconditioners.take

    def useless(self: Preconditioners, name: Any, pivots: int) -> None:
        take(self, name, pivots)
        if name != "none":
            self.part = LowRank(np.zeros((N, 1)), np.linspace(1e-3, 1e3, N))

    monkeypatch.setattr(Preconditioners, "take", useless)
    fitted = hntk.fit_kernel(x, labels, RELU3, "ntk", 1e-2, solver=by_gradients(tolerance=1e-9))
    alone = hntk.fit_kernel(x, labels, RELU3, "ntk", 1e-2, solver=by_gradients(tolerance=1e-9, preconditioner="none"))
    told, expected = fitted.convergence, alone.convergence
    assert told is not None
    assert expected is not None
    assert told.preconditioner == "none"
    trials = len(told.race) // 2
    assert trials > 0
    # its own iteration goes on where it was left
    assert told.iterations == expected.iterations + trials * kernel_system.RACE
    np.testing.assert_allclose(fitted.scores(new), alone.scores(new), atol=1e-9)


@pytest.mark.parametrize("ridge", [1e-2, None])
def test_samples_are_not_copied_for_an_order_longer_than_it_takes(
    ridge: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, labels, _, _ = samples()
    given: list[weakref.ref] = []
    of, compute = KernelProblem.of.__func__, HeldKernel.compute

    def noted(cls: Any, samples: np.ndarray, *more: Any) -> KernelProblem:
        given.append(weakref.ref(samples))
        return of(cls, samples, *more)

    def computed(self: HeldKernel, progress: Any) -> None:
        (made,) = given
        assert made() is (x if ridge is not None else None)
        given.append(made)
        compute(self, progress)

    with monkeypatch.context() as patch:
        patch.setattr(KernelProblem, "of", classmethod(noted))
        patch.setattr(HeldKernel, "compute", computed)
        hntk.fit_kernel(x, labels, ["relu"], "ntk", ridge, ridges=[1e-2], solver=by_gradients())
    assert len(given) == 2


def test_targets_of_a_regression() -> None:
    x, _, new, _ = samples()
    y = x[:, :2] * [1e3, 1.0] + [5e3, 0.0]
    direct = hntk.fit_kernel(x, y, RELU3, ridge=1e-2)
    fitted = hntk.fit_kernel(x, y, RELU3, ridge=1e-2, solver=by_gradients(tolerance=1e-9))
    np.testing.assert_allclose(fitted.predict(new), direct.predict(new), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("ridge", [pytest.param(1e-1, marks=pytest.mark.nightly), 1e-4])
def test_the_combined_preconditioner_needs_few_iterations_on_mixtures(ridge: float) -> None:
    data = hntk.reference_mixture(n=1000, p=100, key=jax.random.key(1))
    level = ridge * 0.385  # in units of the NTK's diagonal
    steps = {
        name: hntk.fit_kernel(
            data.x, data.labels, RELU3, ridge=level, solver=by_gradients(preconditioner=name, pivots=100)
        ).convergence
        for name in ("combined", "none")
    }
    assert steps["combined"].iterations <= 8 < steps["none"].iterations  # type: ignore[union-attr]


def test_the_ridge_has_the_least_error_on_samples_that_are_held_out() -> None:
    x, labels, new, truth = samples()
    solver = by_gradients(tolerance=1e-6)
    fitted = hntk.fit_kernel(x, labels, RELU3, "ck", solver=solver)
    ridges, errors = [trial.ridge for trial in fitted.tried], [trial.squared_error for trial in fitted.tried]
    assert ridges == sorted(ridges, reverse=True)
    assert fitted.ridge == ridges[int(np.argmin(errors))]
    # the error at that ridge is that of a regression on the others
    order = np.random.default_rng(0).permutation(N)
    kept, held = order[: N - N // 10], order[N - N // 10 :]
    tau0 = float(np.sqrt(np.mean(np.sum(x**2, axis=1))))
    alone = hntk.fit_kernel(x[kept], labels[kept], RELU3, "ck", fitted.ridge, tau0=tau0)
    share = np.mean(alone.predict(x[held]) == labels[held])
    assert abs(share - fitted.tried[int(np.argmin(errors))].accuracy) <= 1 / len(held) + 1e-12  # type: ignore[operator]
    assert fitted.accuracy(new, truth) > 0.9
    again = hntk.fit_kernel(x, labels, RELU3, "ck", fitted.ridge, solver=solver)
    np.testing.assert_allclose(again.scores(new), fitted.scores(new), atol=1e-5)


@pytest.mark.often("None-auto")
@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("name", ["none", "auto"])
@pytest.mark.parametrize("ridge", [1e-3, None])
def test_an_interrupted_regression_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ridge: Any, name: Any
) -> None:
    x, labels, new, _ = samples()
    lines: list[str] = []
    options = by_gradients(folder=tmp_path, keep="disk", preconditioner=name, tolerance=1e-8, log=lines.append)
    # costs depend on where blocks are kept
    whole = dataclasses.replace(options, folder=tmp_path / "whole", log=None)
    expected = hntk.fit_kernel(x, labels, HE, ridge=ridge, solver=whole)
    monkeypatch.setattr(gradient_state, "PAUSE", 0.0)
    step, left = GradientSolver._step, [12]

    def stops(self: GradientSolver) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(GradientSolver, "_step", stops)
    with pytest.raises(KeyboardInterrupt):
        hntk.fit_kernel(x, labels, HE, ridge=ridge, solver=options)
    left[0] = 10_000
    fitted = hntk.fit_kernel(x, labels, HE, ridge=ridge, solver=options)
    assert any("of an earlier run" in line for line in lines)
    assert fitted.ridge == expected.ridge
    np.testing.assert_allclose(fitted.scores(new), expected.scores(new), atol=1e-7)
    told, other = fitted.convergence, expected.convergence
    assert told is not None
    assert other is not None
    assert told.plan.place == "disk"
    assert (told.preconditioner, told.rank, told.iterations) == (other.preconditioner, other.rank, other.iterations)
    assert not (tmp_path / gradient_state.FILE).exists()


def test_a_checkpoint_of_another_regression_or_a_damaged_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, labels, *_ = samples()
    options = by_gradients(folder=tmp_path, preconditioner="none", steps=3)
    monkeypatch.setattr(gradient_state, "PAUSE", 0.0)
    with pytest.raises(hntk.ConvergenceError):
        hntk.fit_kernel(x, labels, RELU3, ridge=1e-3, solver=options)
    with pytest.raises(ValueError, match="another regression .other targets.*begin anew"):
        hntk.fit_kernel(x, labels[::-1], RELU3, ridge=1e-3, solver=options)
    (tmp_path / gradient_state.FILE).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read.*begin anew"):
        hntk.fit_kernel(x, labels, RELU3, ridge=1e-3, solver=options)


def test_a_residual_that_is_not_reached_is_an_error() -> None:
    x, labels, *_ = samples()
    with pytest.raises(hntk.ConvergenceError, match=r"residual of .*e-.* after 3 iterations.*steps=3.*larger ridge"):
        hntk.fit_kernel(x, labels, RELU3, ridge=1e-3, solver=by_gradients(steps=3, preconditioner="none"))
    twice = np.concatenate([x[:100], x[:100]])
    mixed = np.concatenate([labels[:100], labels[1:101]])
    with pytest.raises(hntk.ConvergenceError, match="Samples that occur twice make a kernel singular"):
        hntk.fit_kernel(twice, mixed, RELU3, ridge=0.0, solver=by_gradients(preconditioner="cholesky"))
    with pytest.raises(ValueError, match="drop samples that occur twice"):
        hntk.fit_kernel(twice, mixed, ["sign"], ridge=0.1, kappa_sq=3.0, solver=by_gradients())
    with pytest.raises(hntk.ConvergenceError, match="what rounding leaves"):
        hntk.fit_kernel(x, labels, RELU3, ridge=1e-3, solver=by_gradients(tolerance=1e-19))


@pytest.mark.often("2", "12")
@pytest.mark.parametrize("n", [2, 3, 12])
def test_few_samples(n: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float16)
    labels, direct = np.arange(n) % 2, hntk.fit_kernel(x, np.arange(n) % 2, ["relu"], ridge=0.1)
    fitted = hntk.fit_kernel(x, labels, ["relu"], ridge=0.1, solver=hntk.ConjugateGradients(log=None, tolerance=1e-9))
    np.testing.assert_allclose(fitted.dual, direct.dual, atol=1e-7)
    assert hntk.fit_kernel(x, labels, ["relu"], solver=hntk.ConjugateGradients(log=None)).ridge > 0


@pytest.mark.parametrize("net", [RELU3, HE], ids=["plain", "biases"])
def test_variances_are_those_of_the_gaussian_process(net: Any) -> None:
    x, labels, new, _ = samples()
    x, labels, new = x[:120], labels[:120], new[:9]
    fitted = hntk.fit_kernel(x, labels, net, "ck", 0.05)
    both = np.concatenate([x, new])
    whole = np.asarray(hntk.exact_kernels(both, net, tau0=fitted.tau0).ck)
    noisy, across = whole[:120, :120] + 0.05 * np.eye(120), whole[:120, 120:]
    if fitted.intercept:  # a constant of a variance so large that the data decide
        noisy, across, whole = noisy + 1e6, across + 1e6, whole + 1e6
    expected = whole.diagonal()[120:] - np.einsum("ij,ij->j", across, np.linalg.solve(noisy, across))
    tolerance = {"rtol": 1e-3} if fitted.intercept else {"rtol": 1e-8}
    np.testing.assert_allclose(fitted.variance(new), expected, **tolerance)
    np.testing.assert_allclose(fitted.variance(new, solver=by_gradients(tolerance=1e-10)), expected, **tolerance)


def test_many_samples_are_solved_by_conjugate_gradients(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x, labels, *_ = samples()
    monkeypatch.setattr(kernel_regression, "DIRECT", 500)
    monkeypatch.setattr(kernel_system, "PAUSE", 0.0)
    fitted = hntk.fit_kernel(x, labels, RELU3, ridge=0.1)
    assert fitted.convergence is not None
    said = capsys.readouterr().out
    assert "kernel of 600 samples: 6 blocks of the upper triangle in float64" in said
    assert "iteration 1: residual" in said
    assert hntk.fit_kernel(x, labels, RELU3, ridge=0.1, solver="direct").convergence is None
    with pytest.raises(ValueError, match="'auto', 'direct'"):
        hntk.fit_kernel(x, labels, RELU3, solver=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"tolerance": 0}, "tolerance"),
        ({"preconditioner": "ilu"}, "preconditioner"),
        ({"keep": "cloud"}, "keep"),
        ({"precision": "float16"}, "precision"),
        ({"pivots": 0}, "pivots"),
        ({"steps": 2.5}, "steps"),
        ({"held_out": 1.0}, "held_out"),
        ({"seed": -1}, "seed"),
        ({"folder": ""}, "folder"),
        ({"log": "stdout"}, "log"),
        ({"memory": -5}, "memory"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.ConjugateGradients(**setting)


STEPS = [hntk.staircase([-0.5, 0.5], [-1.0, 0.0, 1.0])]
INDEFINITE = "not positive definite with the ridge .* Give a ridge well above .* a larger kappa_sq, or kernel='ck'"


def close_pairs(distance: float, *pairs: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Samples of which some pairs are close, so that a staircase's NTK is larger between them than the diagonal."""
    x, labels, *_ = samples()
    x, labels = x[:200].copy(), labels[:200].copy()
    for i, j in pairs:
        x[j], labels[j] = (
            x[i] + distance / np.sqrt(x.shape[1]) * np.random.default_rng(i).normal(size=x.shape[1]),
            labels[i],
        )
    return x, labels


def test_a_kernel_that_is_not_positive_definite_is_an_error_and_not_a_wrong_solution() -> None:
    x, labels = close_pairs(1e-3, *((k, k + 1) for k in range(0, 200, 2)))
    for ridge in (0.1, None):
        with pytest.raises(hntk.ConvergenceError, match=INDEFINITE):
            hntk.fit_kernel(x, labels, STEPS, "ntk", ridge, kappa_sq=1.0, solver=by_gradients())
        # eigenvectors know the negative directions
        with pytest.warns(
            UserWarning, match="not positive definite: its negative eigenvalues, from -.*are taken for 0"
        ):
            hntk.fit_kernel(x, labels, STEPS, "ntk", ridge, kappa_sq=1.0, solver="direct")
    # every remedy is one
    for kernel, ridge, kappa_sq in (("ck", 0.1, None), ("ntk", 0.1, 1e4), ("ntk", 1e4, 1.0)):
        options = {"solver": by_gradients(tolerance=1e-9), "kappa_sq": kappa_sq}
        fitted = hntk.fit_kernel(x, labels, STEPS, kernel, ridge, **options)  # type: ignore[arg-type]
        direct = hntk.fit_kernel(x, labels, STEPS, kernel, ridge, kappa_sq=kappa_sq, solver="direct")  # type: ignore[arg-type]
        np.testing.assert_allclose(fitted.dual, direct.dual, atol=1e-7 * np.abs(direct.dual).max())


def test_a_choice_of_the_ridge_ends_where_the_kernel_is_not_positive_definite(tmp_path: Path) -> None:
    x, labels = close_pairs(0.1, *((k, k + 1) for k in range(0, 200, 2)))
    with pytest.warns(UserWarning, match="ridges of .* and less are not tried: the kernel is not positive definite"):
        fitted = hntk.fit_kernel(x, labels, STEPS, "ntk", kappa_sq=1.0, solver=by_gradients(folder=tmp_path))
    tried = [trial.ridge for trial in fitted.tried]
    assert fitted.ridge in tried
    assert 1 <= len(tried) < 4
    lines: list[str] = []
    again = hntk.fit_kernel(x, labels, STEPS, "ntk", kappa_sq=1.0, solver=by_gradients(log=lines.append))
    assert again.ridge == fitted.ridge
    assert sum("are not tried: the kernel is not positive definite" in line for line in lines) == 1
    given = hntk.fit_kernel(x, labels, STEPS, "ntk", fitted.ridge, kappa_sq=1.0, solver="direct")
    np.testing.assert_allclose(fitted.dual, given.dual, atol=1e-5 * np.abs(given.dual).max())
    assert not (tmp_path / gradient_state.FILE).exists()


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_ridge_that_is_too_small_for_all_samples_makes_way_for_a_larger_one(
    interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = np.random.default_rng(0).permutation(200)
    # only one of the two is among the samples that ridges are tried on
    x, labels = close_pairs(0.05, (order[0], order[-1]))
    options = by_gradients(folder=tmp_path, seed=0)
    if interrupted:
        monkeypatch.setattr(gradient_state, "PAUSE", 0.0)
        solve = kernel_system.GradientSolver.solve
        refused: list[float] = []

        def stops(self: GradientSolver, saved: Any = None) -> Any:
            if refused:
                raise KeyboardInterrupt
            try:
                return solve(self, saved)
            except hntk.ConvergenceError:
                refused.append(self.ridge)
                raise

        monkeypatch.setattr(kernel_system.GradientSolver, "solve", stops)
        with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="too small for all samples"):
            hntk.fit_kernel(x, labels, STEPS, "ntk", kappa_sq=1.0, solver=options)
        monkeypatch.setattr(kernel_system.GradientSolver, "solve", solve)
        fitted = hntk.fit_kernel(x, labels, STEPS, "ntk", kappa_sq=1.0, solver=options)
    else:
        with pytest.warns(UserWarning, match="too small for all samples"):
            fitted = hntk.fit_kernel(x, labels, STEPS, "ntk", kappa_sq=1.0, solver=options)
    best = min(fitted.tried, key=lambda trial: trial.squared_error)
    assert best.ridge < fitted.ridge
    assert fitted.convergence is not None
    assert fitted.convergence.residual <= 1e-6
    x, labels = close_pairs(1e-4, (order[0], order[-1]))
    with pytest.raises(hntk.ConvergenceError, match=INDEFINITE):
        hntk.fit_kernel(x, labels, STEPS, "ntk", kappa_sq=1.0, solver=by_gradients(seed=0))


def test_training_samples_are_predicted_with_the_declared_diagonal() -> None:
    x, labels, *_ = samples()
    fitted = hntk.fit_kernel(
        x[:100], labels[:100], STEPS, "ntk", 5.0, kappa_sq=2.0, solver=by_gradients(tolerance=1e-10)
    )
    assert isinstance(fitted, hntk.KernelClassifier)
    target = np.eye(2)[labels[:100]]
    # (K + λI)A = Y, where Y is less its mean
    np.testing.assert_allclose(fitted.scores(x[:100]), target - 5.0 * fitted.dual, atol=1e-8)
    assert np.all(np.isfinite(fitted.variance(x[:100])))
    assert fitted.variance(x[:1])[0] < fitted.variance(samples()[2][:100]).mean()
