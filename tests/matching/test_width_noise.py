"""The noise of drawn features in the data objective, against networks that are drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk._utils.float64 import float64
from hntk.activations.step_function import StepFunction, padded_alike
from hntk.files.reader import FieldReader
from hntk.matching.data_objective import Sample, _error
from hntk.matching.width_noise import DrawnWidths
from hntk.networks.provenance import MatchRecord
from hntk.weights.laws import WeightLaw
from hntk.weights.quadratic_noise import quadratic_noise

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


def drawn_error(x: np.ndarray, covariance: np.ndarray, law: WeightLaw, seed: int) -> float:
    """The error of a regression on features that are drawn, at the same ridge, by NumPy alone."""
    h, half = x, len(x) // 2
    for key, width in zip(jax.random.split(jax.random.key(seed), len(WIDTHS)), WIDTHS, strict=True):
        u = h @ np.asarray(law.draw(key, (width, h.shape[1])).dense(), np.float64).T
        h = np.asarray(STEPS.levels)[np.searchsorted(np.asarray(STEPS.thresholds), u)] / np.sqrt(width)
    h = h - h[:half].mean(axis=0)
    aa, ba = h[:half] @ h[:half].T, h[half:] @ h[:half].T
    smoother = ba @ np.linalg.inv(aa + RELATIVE_RIDGE * np.trace(aa) / half * np.eye(half))
    cross = smoother @ covariance[:half, half:]
    missed = covariance[half:, half:] - cross - cross.T + smoother @ covariance[:half, :half] @ smoother.T
    return float(np.trace(missed) / np.trace(covariance[half:, half:]))


@pytest.mark.often("orthogonal")
@pytest.mark.parametrize("law", [TERNARY, ORTHOGONAL], ids=["independent", "orthogonal"])
def test_the_noise_is_that_of_drawn_networks(law: WeightLaw) -> None:
    x = part()
    exact = predicted(x, None)[1]
    sample, with_noise = predicted(x, DrawnWidths(WIDTHS, law))
    errors = np.array([drawn_error(x, sample.covariance, law, seed) for seed in range(20)])
    sigma = errors.std(ddof=1) / np.sqrt(len(errors))
    # to first order in 1/d, with constant gains between layers
    assert abs(with_noise - errors.mean()) < 3 * sigma + 0.15 * (with_noise - exact)
    assert with_noise - exact > 6 * sigma


def test_wider_networks_have_less_noise_and_orthogonal_rows_less_than_independent_ones() -> None:
    x = part()
    exact = predicted(x, None)[1]
    added = {
        law.name: [predicted(x, DrawnWidths((width,) * 2, law))[1] - exact for width in (64, 512, 2**30)]
        for law in (TERNARY, ORTHOGONAL)
    }
    for law in added.values():
        # the noise is 1/d at these widths, which are whole blocks, and leaves nothing at infinity
        assert np.isclose(law[0], 8 * law[1], rtol=1e-6)
        assert 0 < law[2] < 1e-6
    assert added["orthogonal"][0] < 0.9 * added["ternary"][0]


@pytest.mark.parametrize(
    ("law", "shape", "share"),
    [
        (TERNARY, (1024, 1024), 0.0),
        (WeightLaw("orthogonal_gaussian"), (60, 30), 1.0),
        # a third block of which 10 of 30 rows are drawn, without replacement
        (WeightLaw("orthogonal_gaussian"), (70, 30), 1 - 10 / 70 * 20 / 29),
        (ORTHOGONAL, (1024, 784), 1.0),
        (ORTHOGONAL, (1, 1024), 0.0),
        (WeightLaw("orthogonal_gaussian"), (5, 1), 1.0),
    ],
)
def test_the_share_of_quadratic_noise_that_orthogonal_rows_are_spared(
    law: WeightLaw, shape: tuple[int, int], share: float
) -> None:
    assert np.isclose(1 - quadratic_noise(law, *shape), share)


@pytest.mark.nightly
@pytest.mark.slow
def test_narrow_networks_get_more_linear_activations_and_wide_ones_those_of_infinite_width() -> None:
    rng = np.random.default_rng(0)
    x = part(200) * rng.lognormal(0, 0.2, (200, 1))
    tau0 = float(np.sqrt(np.mean(np.sum(x**2, axis=1))))
    options = {"alpha2": False, "objective": "data", "x": x, "samples": 120, "steps": 15}
    drawn = {width: {"widths": width, "law": TERNARY} for width in (50, 10**9)} | {None: {}}
    found = {width: hntk.match(["relu"] * 2, tau0, 3, **of, **options) for width, of in drawn.items()}
    linear = {width: linear_share(match) for width, match in found.items()}
    assert linear[50] > linear[None] + 0.01
    assert np.isclose(linear[10**9], linear[None], atol=1e-3)
    fits = {width: match.fit for width, match in found.items() if match.fit is not None}
    assert fits[None].drawn is None
    assert fits[50].data > fits[None].data + 0.01
    assert "at widths 50-50 with ternary (sparsity 0.5) weights" in found[50].report()
    assert "at widths" not in found[None].report()


def linear_share(match: hntk.Match) -> float:
    """The share of the last layer's variance that is linear in the input."""
    shares = [m.e1**2 * m.tau**2 / m.variance for m in match.coefficients.moments]
    return float(np.prod(shares))


@pytest.mark.slow
def test_compress_tells_the_match_its_widths_and_weights_and_the_file_keeps_them(tmp_path: Path) -> None:
    x = part(60, 16)
    lines: list[str] = []
    options = {"objective": "data", "progress": lines.append, "alpha2": False}
    net = hntk.compress(["relu"], [32], x, 3, key=jax.random.key(1), **options)
    assert net.match.fit is not None
    assert net.origin is not None
    assert net.match.fit.drawn == DrawnWidths((32,), ORTHOGONAL)
    assert net.origin.widths == (32,)
    assert net.origin.law == "orthogonal (sparsity 0.5)"
    assert any("following the data: step 1 of at most 80, held-out error 0." in line for line in lines)
    net.save(tmp_path / "net.hntk")
    loaded = hntk.load(tmp_path / "net.hntk")
    assert isinstance(loaded, hntk.Network)
    assert loaded.origin == net.origin
    assert "at widths 32, orthogonal (sparsity 0.5) weights" in str(net.origin)


def test_records_with_and_without_widths_are_read_as_they_were_written() -> None:
    record = hntk.MatchRecord(("relu", "relu"), 1.0, "joint", "data", {"alpha1": 0.1}, 0.0, 0.0)
    assert not {"widths", "law", "labels"} & record.to_metadata().keys()
    drawn = replace(record, widths=(64, 32), law="ternary (sparsity 0.5)")
    for each in (record, drawn, replace(record, labels=True)):
        table = json.loads(json.dumps(each.to_metadata()))
        assert MatchRecord.from_fields(FieldReader(table, {})) == each
    table = json.loads(json.dumps(replace(drawn, widths=(64,)).to_metadata()))
    with pytest.raises(ValueError, match="1 widths for 2 layers"):
        MatchRecord.from_fields(FieldReader(table, {}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": 100}, "widths= belongs to objective='data'"),
        ({"objective": "data", "x": np.eye(60), "widths": [10]}, "widths must be 2 positive integers"),
        ({"objective": "data", "x": np.eye(60), "widths": 0}, "widths must be 2 positive integers"),
        ({"objective": "data", "x": np.eye(60), "widths": np.inf}, "widths must be 2 positive integers"),
        ({"law": "orthonormal"}, "unknown weight law"),
    ],
)
def test_bad_widths_and_laws(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.match(["relu"] * 2, 1.0, 4, **arguments)
