"""Matches of networks with biases, other weights, branches and normalisation, and of another depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

import hntk
from hntk.files.reader import FieldReader
from hntk.matching.kernel_mismatch import CORRELATIONS, correlation_map
from hntk.matching.original_target import OriginalNetwork
from hntk.matching.share_allocation import shares_reaching
from hntk.matching.variance_shares import NAMES, final_by_name
from hntk.networks.provenance import MatchRecord
from hntk.spectra.comparison import centred_kernel, operator_norm
from tests.support.architecture_kernels import mixture
from tests.support.precision import precision

TAU0 = 0.9
HE = hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False)
HE2 = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.1, centred=False)
RESIDUAL = hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.1, centred=False, residual=0.5)
RMS = hntk.Architecture(["relu"] * 3, bias_std=0.1, centred=False, normalize="rms")
EVEN = hntk.Architecture(["cos", "relu"], centred=False)
ONE = hntk.Architecture(["relu"], bias_std=0.3, centred=False)
RELU3 = hntk.Architecture(["relu"] * 3)


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


def test_a_plain_architecture_is_its_list() -> None:
    listed, described = hntk.match(["relu"] * 3, TAU0, 3), hntk.match(RELU3, TAU0, 3)
    assert repr(listed) == repr(described)
    assert listed.activations == described.activations
    assert listed.architecture == RELU3
    assert (listed.ck_factor, listed.ntk_factor) == (1.0, 1.0)
    assert listed.record == described.record
    assert "un-centred" not in listed.report()


CASES = [
    (HE2, {}),
    (HE2, {"kernel": "beta", "alpha2": False}),
    (RESIDUAL, {"depth": 2}),
    pytest.param(HE, {}, marks=pytest.mark.nightly),
    pytest.param(HE, {"kernel": "beta", "alpha2": False}, marks=pytest.mark.nightly),
    pytest.param(HE2, {"kernel": "both", "alpha2": False, "depth": 3}, marks=pytest.mark.nightly),
    pytest.param(RMS, {"levels": 4}, marks=pytest.mark.nightly),
    pytest.param(EVEN, {}, marks=pytest.mark.nightly),
    pytest.param(EVEN, {"depth": 3}, marks=pytest.mark.nightly),
    pytest.param(EVEN, {"kernel": "beta"}, marks=pytest.mark.nightly),
    pytest.param(HE, {"kernel": "beta"}, marks=pytest.mark.nightly),
    pytest.param(HE, {"kernel": "both", "alpha2": False, "levels": 4}, marks=pytest.mark.nightly),
    pytest.param(RESIDUAL, {}, marks=pytest.mark.nightly),
    pytest.param(RESIDUAL, {"kernel": "beta"}, marks=pytest.mark.nightly),
    pytest.param(ONE, {"depth": 2, "kernel": "beta"}, marks=pytest.mark.nightly),
    pytest.param(RELU3, {"depth": 2}, marks=pytest.mark.nightly),
    pytest.param(RELU3, {"depth": 5, "kernel": "both", "levels": 4}, marks=pytest.mark.nightly),
]


@pytest.mark.parametrize(("net", "options"), CASES, ids=str)
def test_the_compressed_network_has_the_originals_coefficients(net: hntk.Architecture, options: dict) -> None:
    found = hntk.match(net, TAU0, **{"levels": 3, **options})
    both, reached = hntk.expansions(net, TAU0), hntk.coefficients(found.activations, TAU0)
    wanted = dict(zip(NAMES, [*both.ck[-1].centred[:3], *both.ntk[-1].centred[:3]], strict=True))
    own = np.concatenate([found.ck_factor * reached.alpha[-1, :3], found.ntk_factor * reached.beta[-1]])
    for name, value in zip(NAMES, own, strict=True):
        if name in found.asked:
            assert value == pytest.approx(wanted[name], rel=1e-9, abs=1e-12), name
    assert found.converged
    assert len(found.activations) == options.get("depth", net.depth)
    shift = found.ck_factor * reached.tau[-1] ** 2 - both.ck[-1].centred[3]
    assert found.identity_shift == pytest.approx(shift, rel=1e-9, abs=1e-12)
    certificate = found.certificate
    assert 0 <= certificate.bound <= certificate.ratio + 1e-9
    if options.get("kernel") != "beta":
        assert found.ck_factor == 1


@pytest.mark.parametrize("kernel", ["alpha", "beta"])
def test_bounds_hold_for_both_kernels_of_a_plain_network(kernel: str) -> None:
    found = hntk.match(["relu"] * 2, 1.0, 3, kernel=kernel, alpha2=False, max_shift=0.3)  # type: ignore[arg-type]
    assert 1.15 < found.certificate.bound <= found.certificate.ratio + 1e-9 < 1.3
    if kernel == "alpha":
        assert found.certificate.gap < 1e-3


def test_the_bound_of_an_ntk_is_tight() -> None:
    """A start with all curvature in the last layer, where it weighs most in β₃, leads to the global optimum."""
    found = hntk.match(HE2, TAU0, 3, kernel="beta", alpha2=False)
    assert -1e-9 < found.certificate.gap < 1e-3


def test_a_homogeneous_network_is_matched_up_to_its_last_scale() -> None:
    """ReLU without biases: weights σ_w times as large make kernels σ_w² times as large, and nothing else."""
    one = hntk.match(hntk.Architecture(["relu"] * 2, centred=False), TAU0, 3, alpha2=False)
    other = hntk.match(hntk.Architecture(["relu"] * 2, weight_std=[3.0, 0.5], centred=False), TAU0, 3, alpha2=False)
    assert other.relative_shift == pytest.approx(one.relative_shift, rel=1e-6)
    np.testing.assert_allclose(other.coefficients.alpha[-1, :3], 2.25 * one.coefficients.alpha[-1, :3], rtol=1e-6)
    assert other.coefficients.tau[-1] == pytest.approx(1.5 * one.coefficients.tau[-1], rel=1e-6)


def distance(net: hntk.Architecture, found: hntk.Match, p: int) -> float:
    """Return ‖P(K̂ − δI − K)P‖/‖PKP‖ of exact kernels on a mixture."""
    x, _, tau0, _ = mixture(p)
    x = x / tau0
    original = centred_kernel(np.asarray(hntk.exact_kernels(x, net, tau0=1.0).ck))
    compressed = np.asarray(hntk.exact_kernels(x, found.activations, tau0=1.0).ck)
    return operator_norm(centred_kernel(compressed - found.identity_shift * np.eye(len(x))) - original) / operator_norm(
        original
    )


@pytest.mark.slow
def test_centred_exact_kernels_approach_each_other() -> None:
    net = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.3, centred=False)
    found = hntk.match(net, 1.0, 3)
    small, large = (distance(net, found, p) for p in (50, 200))
    assert large < small / 1.8
    # the control has the original's a alone, at any size
    linear = hntk.Architecture(["linear"] * 2, weight_std=[1.0, found.original_coefficients.alpha[-1, 0] ** 0.5])
    control = hntk.match(linear, 1.0, 3)
    shift = control.coefficients.tau[-1] ** 2 - found.original_coefficients.tau[-1] ** 2
    control = replace(control, original_coefficients=found.original_coefficients)
    assert control.identity_shift == pytest.approx(shift)
    flat_small, flat_large = (distance(net, control, p) for p in (50, 200))
    assert flat_large > 0.9 * flat_small
    assert flat_large > 5 * large


def test_layer_by_layer_all_layers_have_the_originals_kernels() -> None:
    found = hntk.match(HE2, TAU0, 3, method="layerwise")
    wanted = [state.centred[:3] for state in hntk.expansions(HE2, TAU0).ck]
    np.testing.assert_allclose(hntk.coefficients(found.activations, TAU0).alpha[:, :3], wanted, rtol=1e-9, atol=1e-12)
    assert found.asked == ("alpha1", "alpha2", "alpha3")
    plain_too = hntk.match(RMS, TAU0, 3, method="layerwise", alpha2=False)
    assert plain_too.converged


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [(ONE, {"kernel": "beta"}, r"no centred network of 1 layers.*Try alpha2=False.* or depth=2"),
     (RESIDUAL, {"kernel": "both"}, r"kernel='alpha' or kernel='beta'"),
     (HE, {"method": "layerwise", "kernel": "beta"}, "Leave kernel= out"),
     (HE, {"method": "layerwise", "depth": 2}, "matched by one of 3, not 2"),
     (RMS, {"method": "layerwise"}, "does not see norms.*alpha2=False"),
     (HE, {"depth": 0}, "depth must be a whole number from 1 to 100"),
     (HE, {"depth": 2, "levels": [4, 4, 4]}, "3 entries for 2 layers"),
     (HE, {"levels": "paper", "depth": 2}, "layer by layer"),
     (hntk.Architecture(["cos", "cos"], weight_std=1.5), {"alpha2": False}, "alpha2.*not asked for")],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_matched_is_refused_with_a_remedy(net: hntk.Architecture, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.match(net, TAU0, **{"levels": 4, **options})


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
@pytest.mark.parametrize("asked", [NAMES[:3], NAMES[3:], NAMES, ("alpha1", "alpha3"), ("beta1", "beta3")], ids=len)
def test_allocated_shares_reach_what_they_are_allocated_for(depth: int, asked: tuple) -> None:
    rng = np.random.default_rng(depth)
    for scale in (1.0, 3.0):
        final = final_by_name(rng.uniform(0.1, 0.7, (depth, 3)))
        # the NTK of the original may have another unit
        final |= {name: scale * final[name] for name in NAMES[3:]}
        shares = shares_reaching(final, asked, depth)
        assert shares is not None
        reached = final_by_name(shares)
        assert reached["beta1"] == pytest.approx((depth + 1) * reached["alpha1"])
        for name in asked:
            unit = scale if name.startswith("beta") else 1.0
            assert reached[name] == pytest.approx(final[name] / unit, rel=1e-9), name
    # β₃ lies between L + 2 and 2L + 1 times α₃, and a single layer has α₂ = α₃/2
    assert shares_reaching({**final, "beta3": 7 * scale * depth * final["alpha3"]}, NAMES, depth) is None
    if depth == 1:
        assert shares_reaching({**final, "alpha2": final["alpha3"]}, NAMES[:3], 1) is None


def test_even_layers_are_allocated() -> None:
    final = {"alpha1": 0.0, "alpha2": 0.2, "alpha3": 0.3, "beta1": 0.0, "beta2": 0.5, "beta3": 1.4}
    assert shares_reaching(final, NAMES[:3], 1) is None
    shares = shares_reaching(final, NAMES[:3], 3)
    assert shares is not None
    assert [final_by_name(shares)[name] for name in NAMES[:3]] == pytest.approx([0, 0.2, 0.3])
    shares = shares_reaching(final, NAMES[3:], 2)
    assert shares is not None
    reached = final_by_name(shares)
    assert reached["beta2"] / reached["beta3"] == pytest.approx(0.5 / 1.4)
    assert shares_reaching({**final, "alpha3": 0.0}, NAMES[:3], 2) is None


def test_the_correlation_map_is_that_of_the_exact_kernel() -> None:
    """Of a network that is plain but for the flag, and of ReLU, whose map is the arc-cosine kernel."""
    plain = ["erf", "sin"]
    other = hntk.Architecture(plain, bias_std=1e-160)
    target = OriginalNetwork(other, hntk.centred_coefficients(other, TAU0), NAMES[:3], 2)
    scales = hntk.coefficients(plain, TAU0).tau[:-1].tolist()
    expected = correlation_map([hntk.activation(name) for name in plain], scales)
    np.testing.assert_allclose(target.correlation_map(), expected, atol=1e-7)
    relu = hntk.Architecture(["relu"], bias_std=0.0, centred=False)
    own = OriginalNetwork(relu, hntk.centred_coefficients(relu, TAU0), NAMES[:3], 1).correlation_map()
    angle = np.arccos(CORRELATIONS)
    arc_cosine = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
    np.testing.assert_allclose(own, (arc_cosine - 1 / np.pi) / (1 - 1 / np.pi), atol=1e-9)


def test_reports_and_records_say_what_the_original_was() -> None:
    found = hntk.match(HE2, TAU0, 3, alpha2=False, depth=1)
    text = "weight_std=1.41421, bias_std=0.1, un-centred"
    assert f"original of 2 layers: relu; {text}; behind an intercept" in found.report()
    assert text in repr(found)
    assert found.record.settings == text
    assert f"relu ({text}; behind an intercept), 2 layers in 1" in str(found.record)
    assert found.original == HE2.layers
    record = replace(found.record, widths=(8,), law="gaussian")
    table = json.loads(json.dumps(record.to_metadata()))
    assert MatchRecord.from_fields(FieldReader(table, {})) == record
    with pytest.raises(ValueError, match="2 widths for 1 layers"):
        MatchRecord.from_fields(FieldReader({**table, "widths": [8, 8]}, {}))
    # those of plain networks are written as before
    assert not {"settings", "depth"} & set(hntk.match(["relu"], TAU0, 3).record.to_metadata())


def test_the_ridge_of_an_ntk_match_is_refused() -> None:
    found = hntk.match(HE2, TAU0, 3, kernel="beta", alpha2=False)
    assert found.ck_factor != 1
    with pytest.raises(ValueError, match="kernel='alpha' or 'both'"):
        found.ridge_for(1.0)
    alpha = hntk.match(HE2, TAU0, 3, alpha2=False)
    assert alpha.ridge_for(alpha.identity_shift + 0.5) == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.nightly
def test_the_data_objective_follows_an_uncentred_network() -> None:
    data = hntk.reference_mixture(n=120, p=30, key=jax.random.key(0))
    found = hntk.match(HE2, TAU0, 3, depth=1, alpha2=False, objective="data", x=data.x, samples=80, steps=3)
    assert found.fit is not None
    assert found.fit.data <= found.fit.theory
    assert len(found.activations) == 1
