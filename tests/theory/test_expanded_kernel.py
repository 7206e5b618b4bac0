"""Equivalents of any architecture, un-centred and centred, against their formula and the exact kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest

import hntk
from hntk._utils import rows as blocks
from hntk.theory.expansion import Expansion
from tests.support.architecture_kernels import mixture
from tests.support.precision import precision

STEPS = hntk.staircase([-0.3, 0.9], [-1.0, 0.0, 1.5])
HE = hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False)
NETS = {
    "he": HE,
    "plain": hntk.Architecture(["relu"] * 3),
    "large biases": hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=1.0, centred=False),
    "gelu": hntk.Architecture(["gelu"] * 2, bias_std=0.3, centred=False),
    "steps": hntk.Architecture(["erf", STEPS], bias_std=0.3, centred=False),
    "residual": hntk.Architecture(["relu"] * 3, bias_std=0.3, centred=False, residual=[0, 0.7, 0.7]),
    "layer": hntk.Architecture(["relu"] * 3, weight_std=2**0.5, centred=False, normalize="layer"),
}


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


@cache
def data(n: int, p: int) -> hntk.Mixture:
    return hntk.reference_mixture(n=n, p=p, key=jax.random.key(3))


def centred(matrix: object) -> np.ndarray:
    """Return P times a matrix times P."""
    array = np.asarray(matrix)
    return array - array.mean(axis=0) - array.mean(axis=1)[:, None] + array.mean()


def both_kernels(
    sample: hntk.Mixture, net: hntk.Architecture | list[str], *, centre: bool = False
) -> tuple[hntk.StructuredKernel, ...]:
    tau0, population = sample.population.tau0, sample.population
    return hntk.equivalent_kernels(
        sample.x, sample.labels, net, tau0=tau0, population=population, centre=centre, kappa_sq=3.0
    )


def written_out(known: Expansion, sample: hntk.Mixture) -> np.ndarray:
    """Return K̃ by its formula."""
    x, labels = np.asarray(sample.x), np.asarray(sample.labels)
    (n, p), one = x.shape, np.ones(len(x))
    scale = sample.population.tau0**2
    delta = np.sum(x**2, axis=1) - scale
    c, a, b, d, e, f, q = known[:7]
    kernel = a * x @ x.T + (q - c - a * scale) * np.eye(n) + c
    kernel += b * (np.outer(delta, one) + np.outer(one, delta)) + f * (
        np.outer(delta**2, one) + np.outer(one, delta**2)
    )
    return kernel + d / p * sample.population.overlaps[np.ix_(labels, labels)] + e * np.outer(delta, delta)


@pytest.mark.parametrize("name", [name for name in NETS if name != "plain"])
def test_un_centred_equivalents_are_the_formula(name: str) -> None:
    sample = data(40, 30)
    known = hntk.expansions(NETS[name], sample.population.tau0)
    ck, ntk = both_kernels(sample, NETS[name])
    np.testing.assert_allclose(ck.to_dense(), written_out(known.ck[-1], sample), atol=1e-12)
    np.testing.assert_allclose(ntk.to_dense(), written_out(known.ntk[-1]._replace(q=3.0), sample), atol=1e-11)


@pytest.mark.parametrize(("n", "p"), [(40, 15), (30, 45)])
@pytest.mark.parametrize("name", ["he", "steps", "layer"])
def test_everything_against_the_matrix(name: str, n: int, p: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # samples are read a few rows at a time
    monkeypatch.setattr(blocks, "BLOCK", 2000)
    y, ridge = np.random.default_rng(0).standard_normal((n, 2)), 5.0
    for whole, kernel in zip(
        both_kernels(data(n, p), NETS[name]), both_kernels(data(n, p), NETS[name], centre=True), strict=True
    ):
        expected = centred(whole.to_dense())
        for operator, dense in ((whole, whole.to_dense()), (kernel, expected)):
            size = float(np.linalg.norm(dense, 2))
            inside = dense + ridge * np.eye(n)
            np.testing.assert_allclose(operator.to_dense(), dense, atol=1e-13 * size)
            np.testing.assert_allclose(operator.matvec(y), dense @ y, atol=1e-12 * size)
            np.testing.assert_allclose(operator.eigvalsh(), np.linalg.eigvalsh(dense)[::-1], atol=1e-13 * size)
            np.testing.assert_allclose(operator.solve(y, ridge), np.linalg.solve(inside, y), atol=1e-11)
            np.testing.assert_allclose(operator.inverse_diagonal(ridge), np.diag(np.linalg.inv(inside)), atol=1e-11)
        np.testing.assert_allclose(kernel.matvec(np.ones(n)), 0.0, atol=1e-12)
        with pytest.raises(ValueError, match="use a larger ridge"):
            kernel.solve(y, 0.0)
        with pytest.raises(ValueError, match="use a larger ridge"):
            kernel.log_determinant()


def test_a_plain_network_has_the_equivalents_of_the_theorems() -> None:
    for kernel, same in zip(
        both_kernels(data(40, 30), ["relu"] * 3),
        both_kernels(data(40, 30), NETS["plain"]),
        strict=True,
    ):
        np.testing.assert_array_equal(kernel.core, same.core)
        np.testing.assert_array_equal(kernel.factor, same.factor)
        assert kernel.shift == same.shift
    # δ stands for ψ + J t/√p behind an intercept, whose difference vanishes
    gaps = []
    for p in (50, 200, 800):
        sample = data(2 * p, p)
        gap = [
            hntk.operator_norm(centred(theorem.to_dense()) - general.to_dense())
            for theorem, general in zip(
                both_kernels(sample, NETS["plain"]), both_kernels(sample, NETS["plain"], centre=True), strict=True
            )
        ]
        gaps.append(gap)
    slopes = np.polyfit(np.log([50, 200, 800]), np.log(gaps), 1)[0]
    assert np.all(slopes < -0.4), (slopes, gaps)


def test_the_authors_identity_is_lower_by_one_number() -> None:
    sample = data(40, 30)
    tau0 = sample.population.tau0
    ours, paper = (
        hntk.equivalent_kernels(sample.x, sample.labels, ["relu"], tau0=tau0, identity=identity, centre=True).ck
        for identity in ("default", "paper")
    )
    lowered = hntk.coefficients(["relu"], tau0).alpha[-1, 2] * tau0**4
    np.testing.assert_allclose(ours.to_dense() - paper.to_dense(), lowered * centred(np.eye(40)), atol=1e-13)


def errors(net: hntk.Architecture, p: int, *, centre: bool, without: str = "") -> list[float]:
    """Return errors of both equivalents in operator norm, without some of the terms; overlaps are estimated."""
    sample = mixture(p)
    jumps = any(layer.has_jumps for layer in net.layers)
    declared = 1.0 if jumps else None
    exact = _exact(net, p, declared)
    kernels = hntk.equivalent_kernels(sample.x, sample.labels, net, tau0=sample.tau0, centre=centre, kappa_sq=declared)
    made = []
    for kernel, matrix in zip(kernels, exact, strict=True):
        core = kernel.core.copy()
        if "e" in without:
            core[2, 2] = 0.0
        if "f" in without:
            core[:2, 3] = core[3, :2] = 0.0
        dense = replace(kernel, core=core).to_dense()
        made.append(hntk.operator_norm((centred(matrix) if centre else matrix) - dense))
    return made


@cache
def _exact(net: hntk.Architecture, p: int, declared: float | None) -> tuple[np.ndarray, np.ndarray]:
    kernels = hntk.exact_kernels(mixture(p).x, net, tau0=mixture(p).tau0, kappa_sq=declared)
    return np.asarray(kernels.ck), np.asarray(kernels.ntk)


def slopes(net: hntk.Architecture, sizes: list[int], *, centre: bool, without: str = "") -> np.ndarray:
    measured = np.log([errors(net, p, centre=centre, without=without) for p in sizes])
    return np.polyfit(np.log(sizes), measured, 1)[0]


def test_errors_fall_and_need_every_term() -> None:
    sizes = [50, 200]
    for centre, terms in ((False, "ef"), (True, "e")):
        assert np.all(slopes(HE, sizes, centre=centre) < (-0.4 if centre else -0.3))
        for term in terms:
            assert np.all(slopes(HE, sizes, centre=centre, without=term) > -0.15)


@pytest.mark.often("residual", "layer")
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "plain",
        pytest.param("large biases", marks=pytest.mark.nightly),
        pytest.param("gelu", marks=pytest.mark.nightly),
        "steps",
        "residual",
        "layer",
    ],
)
def test_errors_of_other_networks_fall(name: str) -> None:
    for centre in (False, True):
        found = slopes(NETS[name], [75, 300], centre=centre)
        assert np.all(found < -0.35), found


def test_bad_input_is_refused_with_the_remedy() -> None:
    sample = data(40, 30)
    with pytest.raises(ValueError, match="centre must be True or False"):
        hntk.equivalent_kernels(sample.x, sample.labels, HE, centre="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="identity='paper' is for.*leave identity out"):
        hntk.equivalent_kernels(sample.x, sample.labels, HE, identity="paper")
    with pytest.raises(ValueError, match="square of a sample.*overflowed"):
        hntk.equivalent_kernels(1e100 * np.asarray(sample.x), sample.labels, HE, tau0=1.0, population=sample.population)
    for centre in (False, True):
        kernels = hntk.equivalent_kernels(sample.x, sample.labels, NETS["steps"], centre=centre)
        assert np.all(np.isfinite(kernels.ck.to_dense()))
        with pytest.raises(ValueError, match="kappa_sq"):
            kernels.ntk.to_dense()
