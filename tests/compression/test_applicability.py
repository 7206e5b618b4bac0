"""Assumptions of the theory, on data that keeps them and on data that breaks one each."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk


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
