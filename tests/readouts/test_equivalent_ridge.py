"""Kernel regression with the equivalents: as a function of two samples, against matrices and the exact kernels."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk._utils import rows

RELU2 = ["relu"] * 2
HE2 = hntk.Architecture(RELU2, weight_std=2**0.5, bias_std=0.3, centred=False)


@pytest.fixture(autouse=True)
def precise() -> None:
    jax.config.update("jax_enable_x64", True)


def three_classes(n: int, p: int, seed: int = 0) -> hntk.Mixture:
    """Of identity, scaled and structured covariances, so that second moments differ."""
    means = 2 * np.eye(3, p)
    covariances = [1.0, 1 + 2 / np.sqrt(p), np.linspace(0.5, 1.5, p)]
    drawn = hntk.gaussian_mixture(means, covariances, n, key=jax.random.key(seed))
    order = np.random.default_rng(seed).permutation(n)
    return hntk.Mixture(np.asarray(drawn.x)[order], drawn.labels[order], drawn.population)


def test_a_training_sample_is_left_out_of_its_own_moment() -> None:
    data = three_classes(60, 7)
    forms = hntk.QuadraticForms.of(data.x, data.labels, 1.0)
    found = forms(data.x, data.labels)
    for i in (0, 17, 59):
        x, label = data.x[i], data.labels[i]
        others = (np.arange(60) != i)[:, None] & (data.labels[:, None] == np.arange(3))
        q = [np.mean((data.x[others[:, b]] @ x) ** 2) for b in range(3)]
        np.testing.assert_allclose(found[i, :-1], q @ forms.mixing, rtol=1e-10)
        assert found[i, -1] == pytest.approx(x @ x - 1)
        # to a new sample all of them count
        q[label] = np.mean((data.x[data.labels == label] @ x) ** 2)
        np.testing.assert_allclose(forms(x[None])[0, :-1], q @ forms.mixing, rtol=1e-10)


@pytest.mark.slow
def test_class_averages_of_the_projection_are_those_of_squared_inner_products() -> None:
    """An identity where no direction is left out: the mean over pairs i ≠ j of (x_i·x_j)², class by class."""
    data = three_classes(6000, 5)
    forms = hntk.QuadraticForms.of(data.x, data.labels, 1.0)
    assert forms.mixing.shape == (3, 3)
    centres = [forms(data.x, data.labels)[data.labels == a, :-1].mean(axis=0) for a in range(3)]
    squares = (data.x @ data.x.T) ** 2
    np.fill_diagonal(squares, 0.0)
    for a in range(3):
        for b in range(3):
            own = np.ix_(data.labels == a, data.labels == b)
            pairs = squares[own].size - (np.sum(data.labels == a) if a == b else 0)
            assert centres[a] @ centres[b] == pytest.approx(np.sum(squares[own]) / pairs, rel=1e-9)


def largest(symmetric: np.ndarray) -> float:
    return float(np.abs(np.linalg.eigvalsh(symmetric)).max())


@pytest.mark.often("ntk")
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["ck", "ntk"])
def test_it_becomes_the_equivalent_kernel_and_the_exact_one(kernel: str) -> None:
    """In operator norm, relative; √2 for each doubling would be n^-1/2."""
    between, beyond = [], []
    sizes = (150, 300, 600, 1200)
    for n in sizes:
        data = three_classes(n, n // 2)
        own = hntk.fit_equivalent(data.x, data.labels, RELU2, kernel=kernel, ridge=0.1).kernel.to_dense()  # type: ignore[arg-type]
        paper = getattr(hntk.equivalent_kernels(data.x, data.labels, RELU2), kernel).to_dense()
        exact = np.asarray(getattr(hntk.exact_kernels(data.x, RELU2), kernel))
        size = largest(exact)
        between.append(largest(own - paper) / size)
        beyond.append(largest(own - exact) / largest(paper - exact))
    assert np.polyfit(np.log(sizes), np.log(between), 1)[0] < -0.4
    # as near to the exact kernel as the one that knows the classes
    assert max(beyond) < 1.1


def test_scores_are_those_of_the_kernel_as_a_function() -> None:
    data, new = three_classes(90, 20), three_classes(30, 20, seed=1)
    fitted = hntk.fit_equivalent(data.x, data.labels, RELU2, ridge=0.05)
    kernel = fitted.kernel
    targets = np.eye(3)[data.labels] - 1 / 3
    dual = np.linalg.solve(kernel.to_dense() + 0.05 * np.eye(90), targets)
    across = kernel.weight * new.x @ data.x.T + fitted.forms(new.x) @ kernel.core @ kernel.factor.T
    np.testing.assert_allclose(fitted.scores(new.x), across @ dual + 1 / 3, atol=1e-10)
    assert fitted.tried == ()


@pytest.mark.nightly
@pytest.mark.slow
def test_predictions_agree_with_the_exact_ntk_more_and_more() -> None:
    differences = []
    for n in (200, 600, 1800):
        data, new = three_classes(n, n // 2), three_classes(600, n // 2, seed=1)
        fitted = hntk.fit_equivalent(data.x, data.labels, RELU2, ridge=0.05)
        tau0 = fitted.forms.tau0
        kernel = np.asarray(hntk.exact_kernels(data.x, RELU2, tau0=tau0).ntk)
        across = np.asarray(hntk.exact_kernels(new.x, RELU2, x2=data.x, tau0=tau0).ntk)
        targets = np.eye(3)[data.labels] - 1 / 3
        scores = across @ np.linalg.solve(kernel + 0.05 * np.eye(n), targets) + 1 / 3
        differences.append(np.sqrt(np.mean((fitted.scores(new.x) - scores) ** 2) / np.var(scores)))
        # the negative control: predicting without the quadratic part
        blind = new.x @ fitted.linear + fitted.offset
        assert np.sqrt(np.mean((blind - scores) ** 2) / np.var(scores)) > 1.5 * differences[-1]
    assert differences[0] > 1.3 * differences[1] > 1.3**2 * differences[2]


@pytest.mark.parametrize(("n", "p"), [(90, 20), (40, 60)])
def test_the_ridge_of_least_leave_one_out_error(n: int, p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BLOCK", 5000)
    data, done = three_classes(n, p), []
    fitted = hntk.fit_equivalent(data.x, data.labels, RELU2, progress=done.append)
    assert sum(done) == n
    targets = np.eye(3)[data.labels] - np.bincount(data.labels) / n
    for ridge, square, right in fitted.tried[::7]:
        errors = fitted.kernel.leave_one_out(targets, ridge)
        assert square == pytest.approx(np.sum(errors**2) / n, rel=1e-9)
        predicted = np.argmax(targets + np.bincount(data.labels) / n - errors, axis=1)
        assert right == pytest.approx(np.mean(predicted == data.labels))
    assert fitted.ridge == min(fitted.tried, key=lambda found: found[1])[0]
    one = fitted.kernel.leave_one_out_grid(targets[:, 0], [0.1])
    found = np.concatenate([errors[0] for _, errors in one])
    np.testing.assert_allclose(found, fitted.kernel.leave_one_out(targets[:, 0], 0.1), rtol=1e-9)


@pytest.mark.slow
def test_float32_on_disk_and_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, new = three_classes(400, 30), three_classes(300, 30, seed=1)
    whole = hntk.fit_equivalent(data.x, data.labels, RELU2)
    monkeypatch.setattr(rows, "BLOCK", 4000)
    np.save(tmp_path / "x.npy", data.x.astype(np.float32))
    fitted = hntk.fit_equivalent(np.load(tmp_path / "x.npy", mmap_mode="r"), data.labels, RELU2)
    assert isinstance(fitted.kernel.x, np.memmap)
    np.testing.assert_allclose(fitted.scores(new.x), whole.scores(new.x), atol=1e-5)
    names = np.array(["ash", "beech", "cedar"])
    named = hntk.fit_equivalent(data.x, names[data.labels], RELU2)
    assert named.accuracy(new.x, names[new.labels]) == whole.accuracy(new.x, new.labels) > 0.6


def test_what_does_not_fit_is_said() -> None:
    data = three_classes(60, 10)
    fitted = hntk.fit_equivalent(data.x, data.labels, RELU2, ridge=0.1)
    bad = data.x.copy()
    bad[3, 4] = np.nan
    for call, message in (
        (lambda: fitted.scores(data.x[:, :5]), "treat both alike"),
        (lambda: fitted.scores(bad), "NaN or infinite values in 1"),
        (lambda: fitted.accuracy(data.x, data.labels[:5]), "one per row"),
        (lambda: hntk.fit_equivalent(bad, data.labels, RELU2), "clean or drop"),
        (lambda: hntk.fit_equivalent(data.x, data.labels, RELU2, kernel="nngp"), "'ck' or 'ntk'"),  # type: ignore[arg-type]
        (lambda: hntk.fit_equivalent(data.x, [0] * 59 + [1], RELU2), "at least 2 samples"),
        (lambda: hntk.fit_equivalent(data.x, data.labels, ["sign"]), "kappa_sq"),
        (lambda: hntk.fit_equivalent(np.array([["a"]]), [0], RELU2), "real numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    declared = hntk.fit_equivalent(data.x, data.labels, ["sign"], kappa_sq=2.0)
    assert declared.accuracy(data.x, data.labels) > 0.6


def with_intercept(kernel: np.ndarray, across: np.ndarray, targets: np.ndarray, ridge: float) -> np.ndarray:
    """Return scores of new samples by regression with an intercept: the mean of features is taken from all samples."""
    means = kernel.mean(axis=0)
    centred = kernel - means - means[:, None] + means.mean()
    dual = np.linalg.solve(centred + ridge * np.eye(len(kernel)), targets - targets.mean(axis=0))
    return (across - means) @ (dual - dual.mean(axis=0)) + targets.mean(axis=0)


def as_function(fitted: hntk.EquivalentRegression, x: np.ndarray, index: np.ndarray, new: np.ndarray) -> tuple:
    """Return the kernel between training samples, before it is centred, and that of new samples with them."""
    forms, core = fitted.forms(x, index), fitted.kernel.core[:-2, :-2]
    kernel = fitted.kernel.weight * x @ x.T + forms @ core @ forms.T + fitted.kernel.shift * np.eye(len(x))
    return kernel, fitted.kernel.weight * new @ x.T + fitted.forms(new) @ core @ forms.T


@pytest.mark.parametrize("kernel", ["ck", "ntk"])
def test_other_networks_are_fitted_with_an_intercept(kernel: str) -> None:
    data, new = three_classes(60, 15), three_classes(30, 15, seed=1)
    fitted = hntk.fit_equivalent(data.x, data.labels, HE2, kernel=kernel)  # type: ignore[arg-type]
    expansion = getattr(hntk.expansions(HE2, fitted.forms.tau0), kernel)[-1]
    assert fitted.kernel.weight == expansion.a
    np.testing.assert_allclose(
        np.diag(fitted.kernel.core)[:-2], [expansion.d] * (len(fitted.quadratic) - 1) + [expansion.e]
    )
    assert fitted.kernel.shift == pytest.approx(expansion.q - expansion.c - expansion.a * fitted.forms.tau0**2)
    targets = np.eye(3)[data.labels]
    own, across = as_function(fitted, data.x, data.labels, new.x)
    expected = with_intercept(own, across, targets, fitted.ridge)
    np.testing.assert_allclose(fitted.scores(new.x), expected, atol=1e-10)
    # leave-one-out by leaving one out
    trial, squares = fitted.tried[12], 0.0
    for i in range(60):
        rest = np.arange(60) != i
        predicted = with_intercept(own[np.ix_(rest, rest)], own[i, rest], targets[rest], trial.ridge)
        squares += np.sum((targets[i] - predicted) ** 2)
    assert trial.squared_error == pytest.approx(squares / 60)


@pytest.mark.slow
def test_predictions_agree_with_the_exact_kernel_of_other_networks_more_and_more() -> None:
    differences = []
    for n in (100, 400):
        data, new = three_classes(n, n // 2), three_classes(300, n // 2, seed=1)
        fitted = hntk.fit_equivalent(data.x, data.labels, HE2, kernel="ck", ridge=0.2)
        tau0 = fitted.forms.tau0
        kernel = np.asarray(hntk.exact_kernels(data.x, HE2, tau0=tau0).ck)
        across = np.asarray(hntk.exact_kernels(new.x, HE2, x2=data.x, tau0=tau0).ck)
        scores = with_intercept(kernel, across, np.eye(3)[data.labels], 0.2)
        differences.append(np.sqrt(np.mean((fitted.scores(new.x) - scores) ** 2) / np.var(scores)))
        # the negative control: predicting without the quadratic part
        blind = new.x @ fitted.linear
        blind += np.mean(scores - blind, axis=0)
        assert np.sqrt(np.mean((blind - scores) ** 2) / np.var(scores)) > 1.5 * differences[-1]
    assert differences[0] > 1.6 * differences[1]


def test_a_declared_diagonal_is_that_of_the_kernel_before_it_is_centred() -> None:
    data = three_classes(60, 10)
    net = hntk.Architecture(["sign"], bias_std=0.3, centred=False)
    with pytest.raises(ValueError, match="kappa_sq"):
        hntk.fit_equivalent(data.x, data.labels, net)
    fitted = hntk.fit_equivalent(data.x, data.labels, net, kappa_sq=4.0, ridge=0.1)
    known = hntk.expansions(net, fitted.forms.tau0).ntk[-1]
    assert fitted.kernel.shift == pytest.approx(4.0 - known.c - known.a * fitted.forms.tau0**2)
    assert fitted.accuracy(data.x, data.labels) > 0.6
