"""Assumptions of the theory, on data that keeps them and on data that breaks one each."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from tests.support.data_files import correlated, write_skewed
from tests.support.precision import precision

RELU = [hntk.activation("relu")] * 2


def reference() -> tuple[np.ndarray, np.ndarray]:
    data = hntk.reference_mixture(n=200, p=400, key=jax.random.key(0))
    return np.asarray(data.x), np.asarray(data.labels)


def violated(report: hntk.Applicability) -> set[str]:
    return {finding.name.split(":")[0] for finding in report.findings if not finding.holds}


def test_each_broken_assumption_is_named_with_its_remedy() -> None:
    x, y = reference()
    report = hntk.check(x, y, ["relu"])
    assert report.applies
    assert len(report.findings) == 8
    moved = hntk.check(x + 0.05, y)
    assert "mean" in violated(moved)
    assert "centre: subtract the training mean" in str(moved)
    assert "violated: mean" in repr(moved)
    scaled = hntk.check(x * np.random.default_rng(0).lognormal(0, 0.3, (len(x), 1)), y)
    assert "norms" in violated(scaled)


def test_numbers_of_rows_are_kept() -> None:
    x, y = reference()
    report = hntk.check(x, y, ["relu"], rows=100, kernel_rows=40)
    assert report.findings[-1].name.endswith("on 40 samples")
    assert report.findings[0].value == 0.5
    assert report.findings[3].value != hntk.check(x, y).findings[3].value
    with pytest.raises(ValueError, match="rows must be"):
        hntk.check(x, y, rows=0)


def test_samples_that_do_not_vary_within_their_classes_are_refused() -> None:
    x, y = reference()
    # means of these are exact
    x = np.rint(64 * x) / 64
    with pytest.raises(ValueError, match="do not vary"):
        hntk.check(np.where(y[:, None] == 0, x[:1], x[1:2]), y)


def test_a_large_mixture_is_in_the_regime_and_each_defect_is_named() -> None:
    data = hntk.reference_mixture(n=800, p=800, key=jax.random.key(0))
    x, y = np.asarray(data.x), data.labels
    assert hntk.check(x, y, RELU).applies
    assert violated(hntk.check(x + 0.02, y)) >= {"mean"}
    rng = np.random.default_rng(0)
    assert violated(hntk.check(x * rng.lognormal(0, 0.3, (800, 1)), y)) == {"norms"}
    apart = x + 0.5 * np.eye(800)[y] - 0.25 * (np.eye(800)[0] + np.eye(800)[1])
    assert violated(hntk.check(apart, y)) == {"class means"}
    wider = x * np.where(y == 1, 1.3, 1.0)[:, None]
    assert violated(hntk.check(wider, y)) >= {"class traces"}
    few = x * np.where(np.arange(800) < 20, 1.0, 0.05)
    assert "covariances" in violated(hntk.check(few, y))


def test_the_report_reads_as_a_table_and_says_what_to_do() -> None:
    x, y = correlated(200)
    text = str(hntk.check(x, y, RELU))
    assert "VIOLATED" in text
    assert "whiten" in text
    assert text.count("holds") + text.count("VIOLATED") == len(hntk.check(x, y, RELU).findings)
    with pytest.raises(ValueError, match="one per row of x"):
        hntk.check(x, y[:-1])


def test_whitening_brings_kernel_and_equivalent_together(tmp_path: Path) -> None:
    write_skewed(tmp_path)
    gap = {}
    for kind in ("scale", "whiten"):
        data = hntk.load_dataset("skewed", folder=tmp_path, normalize=kind)  # type: ignore[arg-type]
        gap[kind] = hntk.check(data.x_train, data.y_train, RELU).findings[-1].value
    assert gap["whiten"] < 0.7 * gap["scale"]


def test_kernels_of_other_networks_are_compared_behind_an_intercept() -> None:
    x, y = reference()
    x = x[:120]
    net = hntk.Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=0.3, centred=False)
    finding = hntk.check(x, y[:120], net).findings[-1]
    assert finding.name == "kernels: ‖P(K − K̃)P‖/‖PKP‖ on 120 samples"
    centre = np.eye(120) - 1 / 120
    with precision(True):
        exact = centre @ np.asarray(hntk.exact_kernels(x.astype(np.float64), net).ck) @ centre
    chosen = np.random.default_rng(0).permutation(120)
    theory = hntk.equivalent_kernels(x[chosen].astype(np.float64), y[:120][chosen], net, centre=True).ck.to_dense()
    distance = np.linalg.norm(exact[np.ix_(chosen, chosen)] - theory, 2) / np.linalg.norm(exact, 2)
    assert finding.value == pytest.approx(distance, rel=1e-6)
    assert finding.holds
    # what all samples have in common is no part of it
    assert np.linalg.norm(exact, 2) < 0.2 * hntk.operator_norm(np.asarray(hntk.exact_kernels(x, net).ck))
