"""Matches with their bounds, and the bytes and operations of layers."""

from __future__ import annotations

from functools import cache

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

import hntk
import hntk.plot


@cache
def matched(**options: object) -> hntk.Match:
    return hntk.match(["relu"], 1.2, 3, **options)  # type: ignore[arg-type]


def lengths(axes: Axes) -> dict[str, list[float]]:
    """Return the lengths of horizontal bars by the label of their container."""
    return {str(bars.get_label()): [bar.get_width() for bar in bars] for bars in axes.containers}


def test_coefficients_are_those_of_both_networks() -> None:
    result = matched(kernel="both", alpha2=False)
    axes, _ = hntk.plot.match(result)
    before, after, tau = result.original_coefficients, result.coefficients, float(result.original_coefficients.tau[-1])
    unit = np.array([1.2**2, 1.2**4, 1.2**4]) / tau**2
    own = np.concatenate([before.alpha[-1, :3] * unit, before.beta[-1] * unit])
    reached = np.concatenate([after.alpha[-1, :3] * unit, after.beta[-1] * unit])
    drawn = lengths(axes)
    np.testing.assert_allclose(drawn["original"], own)
    np.testing.assert_allclose(drawn["compressed"], reached)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["α₁", "α₂", "α₃", "β₁", "β₂", "β₃"]
    hatched = [bool(bar.get_hatch()) for bar in axes.containers[1]]
    names = [f"{kernel}{k}" for kernel in ("alpha", "beta") for k in (1, 2, 3)]
    assert hatched == [name not in result.asked for name in names]
    for name, one, other in zip(names, own, reached, strict=True):
        assert result.final_shares(name) == pytest.approx((one, other))


def test_variances_and_bounds_are_the_certificate_s() -> None:
    certificate = matched().certificate
    _, both = hntk.plot.match(matched())
    (alone,) = hntk.plot.match(certificate)
    for axes in (both, alone):
        bound, reached = (
            next(line for line in axes.lines if line.get_label() == name) for name in ("bound", "reached")
        )
        np.testing.assert_allclose(reached.get_xdata(), [certificate.ratio, certificate.layers[0].variance])
        np.testing.assert_allclose(bound.get_xdata(), [max(1, certificate.bound), certificate.layers[0].bound])
        assert f"{matched().relative_shift:.2%}" in axes.get_title()
        assert f"{certificate.gap:.2%}" in axes.get_title()


def test_bounds_are_left_out_where_they_are_not_wanted() -> None:
    result = hntk.match(["tanh"], 0.9, 2)
    (axes,) = hntk.plot.match(result, bound=False)
    assert "certificate" not in vars(result), "bounds were computed"
    assert len(lengths(axes)["compressed"]) == 3


def test_layers_have_their_bytes_and_operations() -> None:
    x = np.random.default_rng(0).standard_normal((40, 24))
    network = hntk.compress(["relu"] * 2, [32, 16], x, hntk.match(["relu"] * 2, 1.0, 2, alpha2=False),
                            key=jax.random.key(0))  # fmt: skip
    classifier = hntk.fit_ridge(network, x, np.arange(40) % 2, 0.1)
    summary = hntk.summarize(classifier)
    for what in (summary, classifier):
        sizes, operations = hntk.plot.layers(what)
        expected = {"in float32": "float_bytes", "packed": "bytes"}
        for label, field in expected.items():
            assert lengths(sizes)[label] == [getattr(layer, field) for layer in summary.layers]
        assert lengths(operations)["additions"] == [layer.additions for layer in summary.layers]
        counts = [layer.multiply_accumulates for layer in summary.layers]
        assert lengths(operations)["multiply-accumulates"] == counts
        rows = [text.get_text().split("\n")[0] for text in sizes.get_yticklabels()]
        assert rows == [layer.name for layer in summary.layers]
        assert sizes.get_xscale() == operations.get_xscale() == "log"
        assert operations.get_ylim()[0] > operations.get_ylim()[1], "the first layer is at the top"


def test_given_axes_are_used() -> None:
    figure, given = plt.subplots(1, 2)
    assert [*hntk.plot.match(matched(), ax=given)] == [*given]
    assert figure.axes == [*given]
    figure, given = plt.subplots()
    assert hntk.plot.match(matched().certificate, ax=given)[0] is given


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: hntk.plot.match("relu"), "result must be a hntk.Match"),  # type: ignore[arg-type]
        (lambda: hntk.plot.match(matched(), bound=1), "bound must be True or False"),  # type: ignore[arg-type]
        (lambda: hntk.plot.match(matched(), ax=plt.figure().subplots()), "ax must be 2 matplotlib Axes"),
        (lambda: hntk.plot.layers(np.ones(3)), "summary must be"),  # type: ignore[arg-type]
        (lambda: matched().final_shares("gamma1"), "name must be 'alpha1'"),
    ],
)
def test_what_does_not_fit_is_refused(draw, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
