"""Kernels of networks with biases, scales, branches and normalisation: against Jacobians, neural-tangents, limits."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.kernels import backpropagation, gradient_products, network_function
from hntk.kernels._neural_tangents import load
from hntk.theory.architecture import Architecture
from tests.support.network_functions import gradients, ntk
from tests.support.samples import two_classes

NIGHTLY = pytest.mark.nightly
X, _ = two_classes(23, 12)
X2 = two_classes(9, 12)[0] + 0.1
LABELS = np.arange(23) % 3
# networks of three layers, and their widths; the samples have 12 coordinates
NETS = {
    "biases": (Architecture(["erf", "relu", "tanh"], 2**0.5, 0.3, False), [20, 15, 31]),
    "some biases": (Architecture(["erf", "relu", "tanh"], [1.5, 0.7, 1.0], [0.3, 0, 0.5]), [20, 15, 31]),
    "residual": (Architecture(["erf", "relu", "erf"], 1.3, [0.3, 0, 0.2], False, [0.5, 0, 0.7]), [12, 15, 15]),
    "rms": (Architecture(["erf", "relu", "erf"], 1.3, [0, 0.4, 0], False, normalize="rms"), [20, 15, 31]),
    "layer": (Architecture(["erf", "relu", "erf"], 1.3, 0.4, False, normalize="layer"), [20, 15, 31]),
    "everything": (
        Architecture(["erf", "relu", "erf"], 1.3, [0.6, 0, 0.5], False, [0.5, 0, 0.7], "layer"),
        [12, 15, 15],
    ),
}


def cases(*often: str) -> list:
    """Return all networks with both parameterizations; what is not named is for the nightly run."""
    both = [(name, by) for name in NETS for by in ("ntk", "standard")]
    marks = {case: () if f"{case[0]}, {case[1]}" in often else NIGHTLY for case in both}
    return [pytest.param(*case, marks=marks[case], id=", ".join(case)) for case in both]


@cache
def drawn(name: str) -> hntk.Network:
    net, widths = NETS[name]
    return hntk.dense(net, widths, X, key=jax.random.key(1))


@cache
def known(name: str, by: str = "ntk") -> dict[str, list[np.ndarray]]:
    return gradients(drawn(name), X, standard=by == "standard")


@cache
def classifier(name: str, layers: str) -> hntk.Classifier:
    return hntk.fit_ridge(drawn(name), X, LABELS, ridge=0.1, layers=layers)  # type: ignore[arg-type]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and tiles that do not divide anything."""
    monkeypatch.setattr(backpropagation, "BATCH", 8)
    monkeypatch.setattr(gradient_products, "TILE", 7)


def gap(found: object, expected: object) -> float:
    """Return the largest difference, relative to the largest entry."""
    a, b = np.asarray(found), np.asarray(expected)
    assert a.shape == b.shape
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def check_all(name: str, by: Any) -> None:
    """Compare matrices, parts, products and the diagonal with the Jacobian's."""
    net, found = drawn(name), known(name, by)
    expected, features = ntk(found), known(name)["readout"][0]
    kernels = hntk.empirical_kernels(net, X, parameterization=by)
    assert gap(kernels.ck, features @ features.T) < 1e-12
    assert gap(kernels.ntk, expected) < 1e-12
    parts = hntk.empirical_parts(net, X, parameterization=by)
    assert len(parts) == 4
    assert gap(sum(parts), expected) < 1e-12
    for part, w, scales in zip(parts, found["weights"], NETS[name][0].scales, strict=False):
        # with neither biases nor a branch a layer's part is that of its weights
        if not scales.bias_std and not scales.residual:
            assert gap(part, w @ w.T) < 1e-12
    operator = hntk.EmpiricalNTK(net, X, parameterization=by)
    v = np.random.default_rng(0).standard_normal((23, 3))
    assert gap(operator.matvec(v), expected @ v) < 1e-12
    assert gap(operator.diagonal(), np.diag(expected)) < 1e-12
    np.testing.assert_array_equal(operator.to_dense(), kernels.ntk)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "by"), cases("everything, ntk"))
def test_matrices_parts_and_operator_against_the_jacobian(name: str, by: str) -> None:
    check_all(name, by)


@pytest.mark.slow
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("name", "by"), cases())
def test_they_do_not_depend_on_batches_and_tiles(name: str, by: str) -> None:
    check_all(name, by)
    across = hntk.empirical_kernels(drawn(name), X[:9], x2=X[9:], parameterization=by)  # type: ignore[arg-type]
    assert gap(across.ntk, ntk(known(name, by))[:9, 9:]) < 1e-12


@pytest.mark.slow
def test_a_missing_gradient_is_noticed() -> None:
    """Without the biases, without the outer weights, or with a normalisation that does not turn with its state."""
    found = known("everything")
    for left_out in ("biases", "branches"):
        less = ntk({part: each for part, each in found.items() if part != left_out})
        assert gap(less, ntk(found)) > 1e-2
    assert gap(ntk(gradients(drawn("everything"), X, rigid=True)), ntk(found)) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "by"), [
    pytest.param("all", "ntk", marks=NIGHTLY), ("all", "standard"),
    pytest.param("last", "ntk", marks=NIGHTLY),
    pytest.param("last", "standard", marks=NIGHTLY),
])  # fmt: skip
def test_of_classifiers_each_output_and_their_mean(layers: str, by: Any) -> None:
    model = classifier("everything", layers)
    each = [ntk(gradients(model, X, k, by == "standard")) for k in range(3)]
    mean = np.mean(each, axis=0)
    assert gap(hntk.empirical_kernels(model, X, parameterization=by).ntk, mean) < 1e-12
    one = hntk.empirical_kernels(model, X, output=1, parameterization=by)
    assert gap(one.ntk, each[1]) < 1e-12
    assert gap(each[0], each[1]) > 0.01
    features = gradients(model, X, 1)["readout"][0]
    assert gap(one.ck, features @ features.T) < 1e-12
    operator = hntk.EmpiricalNTK(model, X, parameterization=by)
    assert gap(operator.matvec(np.ones(23)), mean.sum(axis=1)) < 1e-12
    assert gap(operator.diagonal(), mean.diagonal()) < 1e-12
    assert gap(sum(hntk.empirical_parts(model, X, output=2, parameterization=by)), each[2]) < 1e-12


@pytest.mark.slow
@pytest.mark.nightly
def test_the_offset_is_a_parameter_of_frameworks_alone() -> None:
    model = classifier("everything", "last")
    found = gradients(model, X, 0, standard=True)
    assert np.array_equal(found.pop("offset")[0], np.ones((23, 1)))
    standard = hntk.empirical_kernels(model, X, output=0, parameterization="standard")
    assert gap(standard.ntk - 1, ntk(found)) < 1e-12
    # the same weights without an offset
    net = replace(drawn("everything"), readout=jnp.asarray(model.weights[:, 0]))
    assert gap(hntk.empirical_kernels(net, X, parameterization="standard").ntk, ntk(found)) < 1e-12


def both_engines(model: hntk.Network | hntk.Classifier, x: np.ndarray, **options: Any) -> list[tuple]:
    engines = ("native", "neural_tangents")
    return list(zip(*(hntk.empirical_kernels(model, x, engine=e, **options) for e in engines), strict=True))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "by"), cases())
def test_neural_tangents_as_an_engine(name: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # some samples at a time, which do not divide their number
    monkeypatch.setattr(network_function, "JACOBIAN", 2**16)
    for mine, theirs in [
        *both_engines(drawn(name), X, parameterization=by), *both_engines(drawn(name), X, x2=X2, parameterization=by),
    ]:  # fmt: skip
        assert mine.dtype == theirs.dtype == np.float64
        assert gap(mine, theirs) < 1e-12
    for mine, theirs in both_engines(drawn(name), X.astype(np.float32), parameterization=by):
        assert mine.dtype == theirs.dtype == np.float32
        assert gap(mine, theirs) < 1e-6


@pytest.mark.nightly
@pytest.mark.slow
def test_neural_tangents_has_plain_networks_and_every_classifier() -> None:
    plain = hntk.dense(["relu"] * 2, 15, X, key=jax.random.key(1))
    for model, options in (
        (plain, {}), (classifier("everything", "all"), {"output": 1, "parameterization": "standard"}),
        (classifier("everything", "last"), {}),
    ):  # fmt: skip
        for mine, theirs in both_engines(model, X, **options):
            assert gap(mine, theirs) < 1e-12


def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = drawn("biases")
    for call in (hntk.empirical_kernels, hntk.empirical_parts, lambda *a, **b: hntk.EmpiricalNTK(*a, **b).diagonal()):
        with pytest.raises(ValueError, match="parameterization must be 'ntk' or 'standard', got 'mup'"):
            call(net, X, parameterization="mup")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine must be 'native' or 'neural_tangents', got 'torch'"):
        hntk.empirical_kernels(net, X, engine="torch")  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "neural_tangents", None)
    load.cache_clear()
    with pytest.raises(ImportError, match=r"engine='neural_tangents', needs .*pip install 'hntk\[neural-tangents\]'"):
        hntk.empirical_kernels(net, X, engine="neural_tangents")
    load.cache_clear()


@NIGHTLY
def test_ternary_and_orthogonal_branches() -> None:
    net = Architecture(["erf", "relu"], 1.3, 0.2, False, [0.0, 0.7])
    for law in ("ternary", "orthogonal"):
        model = hntk.dense(net, 16, X, key=jax.random.key(4), law=law)
        assert gap(hntk.empirical_kernels(model, X).ntk, ntk(gradients(model, X))) < 1e-12


def test_a_state_without_size_stays() -> None:
    """A dead layer of ReLUs, behind a normalisation: its gradients are 0, and none is NaN."""
    net = Architecture(["relu"] * 3, 1.0, 0.3, False, normalize="rms")
    drawn = hntk.dense(net, 9, X, key=jax.random.key(5))
    dead = replace(drawn, biases=(drawn.biases[0] - 100, *drawn.biases[1:]))  # type: ignore[index, operator]
    parts = hntk.empirical_parts(dead, X)
    assert not np.any(parts[0])
    assert np.all(np.isfinite(sum(parts)))
    assert np.min(np.diag(parts[1])) > 0


def test_whole_numbers_are_samples_too() -> None:
    x = np.arange(24).reshape(2, 12) % 5
    expected = hntk.empirical_kernels(drawn("biases"), x.astype(float))
    for given in (x, jnp.asarray(x)):
        assert np.array_equal(hntk.empirical_kernels(drawn("biases"), given).ntk, expected.ntk)
        assert np.array_equal(hntk.EmpiricalNTK(drawn("biases"), given).to_dense(), expected.ntk)
        assert gap(hntk.EmpiricalNTK(drawn("biases"), given).diagonal(), np.diag(expected.ntk)) < 1e-12


@pytest.mark.often("biases")
@pytest.mark.slow
@pytest.mark.parametrize("net", [
    pytest.param(Architecture(["relu", "erf"], 2**0.5, 0.3, False), id="biases"),
    pytest.param(Architecture(["relu", "relu"], 2**0.5, 0.3, False, [0, 0.7]), id="residual"),
    pytest.param(Architecture(["relu", "relu"], 2**0.5, 0.3, False, normalize="layer"), id="layer", marks=NIGHTLY),
    pytest.param(Architecture(["relu", "erf"], 1.3, 0.3, True, [0, 0.7], "rms"), id="rms", marks=NIGHTLY),
])  # fmt: skip
def test_wide_networks_reach_the_exact_kernels(net: Architecture) -> None:
    """The mean error over four draws falls like the root of the width."""
    x, _ = two_classes(12, 40)
    exact, errors = hntk.exact_kernels(x, net), []
    for width in (64, 1024):
        drawn = [hntk.dense(net, width, x, key=jax.random.key(seed)) for seed in range(4)]
        found = [hntk.empirical_kernels(one, x.astype(np.float32)) for one in drawn]
        errors.append([[np.abs(mine - theirs).mean() for mine, theirs in zip(f, exact, strict=True)] for f in found])
    ratio = np.divide(*np.mean(errors, axis=1))
    assert np.all(ratio > 2.5), ratio  # √16 = 4 expected
    assert np.all(np.mean(errors[1], axis=0) < 0.05 * np.abs(exact.ntk).max())
