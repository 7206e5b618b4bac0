"""Features and levels of all layers, side by side, in every way of running them; and classifiers that read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.files import container
from hntk.networks import layers as compiled
from hntk.networks.forward import Forward
from hntk.networks.integer_inputs import Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.laws import weight_law
from tests.support.architectures import classifier, raw_samples, whole_classifier


def side_by_side(net: hntk.Network, x: np.ndarray) -> np.ndarray:
    """Return (h_1/√d_1, …, h_L/√d_L), computed layer by layer in float64."""
    h, parts = np.asarray(x, np.float64), []
    for w, fan_in, sigma, m, *_ in net.layers():
        h = np.asarray(sigma(jnp.asarray(h @ np.asarray(w.dense(jnp.float64)).T * fan_in))) - m
        parts.append(h / h.shape[1] ** 0.5)
    return np.concatenate(parts, axis=1)


@pytest.mark.often("gaussian-widths0", "ternary-widths2")
@pytest.mark.parametrize(
    ("law", "widths"), [("gaussian", (9, 20, 6)), ("orthogonal", (600, 7)), ("ternary", (12, *(8,) * 6, 5))]
)
def test_features_of_all_layers_stand_side_by_side(law: str, widths: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(10, 11)) / 11**0.5
    net = hntk.draw_network(["tanh", "relu", *["erf"] * 6][: len(widths)], widths, 11, tau0=1.0, law=law,
                            key=jax.random.key(0))  # fmt: skip
    expected = side_by_side(net, x)
    assert expected.shape == (10, sum(widths))
    found = net.features(x, batch=4, layers="all")
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
    last = net.features(x, batch=4)
    np.testing.assert_allclose(found[:, -widths[-1] :], last, atol=1e-7)
    np.testing.assert_allclose(net.features(x, layers="last"), last, atol=1e-7)
    if law == "gaussian":
        np.testing.assert_allclose(jax.jit(lambda x: net.features(x, layers="all"))(x), expected, atol=2e-6)


@pytest.mark.parametrize("way", ["dense", "planes", "sparse"])
def test_levels_of_all_layers_are_exact_in_every_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five equal layers run as one scan, between others."""
    rng = np.random.default_rng(0)
    widths = [33, *[40] * 6, 9, 12]
    weights = [weight_law("ternary").draw(jax.random.key(i), (widths[i + 1], widths[i])) for i in range(8)]
    steps = [Steps(tuple(np.sort(rng.integers(-12, 12, 3)).tolist()), (-7, 1, 5, 6)) for _ in weights]
    inputs = Rounded(np.zeros(33, np.float32), 9.0, 20)
    network = IntegerNetwork(inputs, tuple(weights), tuple(steps), None, 1.0, (0.0,) * 8)
    raw = rng.normal(size=(30, 33)).astype(np.float32)
    values, expected = np.asarray(inputs(raw), np.int64), []
    for w, s in zip(weights, steps, strict=True):
        sums = values @ np.asarray(w.values, np.int64).T
        values = np.asarray(s.levels)[np.searchsorted(s.thresholds, sums, side="right")]
        expected.append(values)
    assert all(len(np.unique(part, axis=0)) > 1 for part in expected)
    monkeypatch.setattr(Forward, "way", lambda self, rows: way)
    found = np.concatenate(list(network.feature_batches(raw, batch=20, layers="all")))
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))
    np.testing.assert_array_equal(next(network.feature_batches(raw)), expected[-1])
    counts = network._forward._dense.counts
    assert way != "dense" or max(counts) >= compiled.SCANNED


def test_other_layers_than_there_are_are_refused() -> None:
    made, x = classifier(), raw_samples(whole_classifier())
    whole: Any = whole_classifier()
    for value in ("first", "ALL", "", None, 1, ["all"], True, np.array(["all", "last"])):
        for call in (
            made.network.features,
            made.network.feature_batches,
            whole.network.feature_batches,
            lambda x, layers: replace(made, layers=layers).scores(x),
            lambda x, layers: replace(whole, layers=layers).scores(x),
            lambda x, layers: hntk.fit_ridge(made.network, np.eye(45), [0, 1, 2] * 15, layers=layers),
            lambda x, layers: hntk.fit_softmax(made.network, np.eye(45), [0, 1, 2] * 15, layers=layers),
            lambda x, layers: hntk.storage(made.network, 2, layers),
            lambda x, layers: hntk.arithmetic(made.network, 2, layers=layers),
        ):
            with pytest.raises(ValueError, match="layers must be 'last' or 'all', got"):
                call(x, layers=value)


@pytest.mark.parametrize("shifts", [(), (0, 3, 1)])
def test_scores_of_whole_numbers_add_every_layer(shifts: tuple[int, ...]) -> None:
    made = replace(whole_classifier(widths=(33, 20, 31), layers="all", bits=4), shifts=shifts)
    raw = raw_samples(made)
    levels = np.concatenate(list(made.network.feature_batches(raw, layers="all"))).astype(np.int64)
    parts = np.split(levels, np.cumsum([33, 20]), axis=1)
    weights = np.split(made.readout.astype(np.int64), np.cumsum([33, 20]), axis=1)
    expected = made.offset + sum(
        (part @ w.T) << shift for part, w, shift in zip(parts, weights, shifts or (0, 0, 0), strict=True)
    )
    np.testing.assert_array_equal(made.scores(raw), expected)
    np.testing.assert_array_equal(jax.jit(lambda made, raw: made.scores(raw))(made, raw), expected)
    # the bound is reached by the worst levels, in the worst class
    most = np.repeat([s.most << shift for s, shift in zip(made.network.steps, shifts or (0,) * 3, strict=True)],
                     made.network.widths)  # fmt: skip
    assert made.largest_score == (np.abs(made.readout.astype(np.int64)) @ most + np.abs(made.offset)).max()
    assert np.abs(expected).max() <= made.largest_score


def test_layers_whose_levels_differ_in_size_are_read_as_well_as_alone() -> None:
    """Two levels are ±1, eight reach 2047: with one unit and no shifts, int8 would leave nothing of the last layer."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, 30)) / 30**0.5).astype(np.float32)
    eight = hntk.staircase(np.linspace(-1.5, 1.5, 7), np.sort(rng.normal(size=8)))
    net = hntk.draw_network(["sign", eight], (64, 64), 30, tau0=1.0, law="ternary", key=jax.random.key(1))
    made = hntk.Classifier(net, np.arange(3), rng.normal(size=(128, 3)), np.zeros(3), layers="all")
    whole: Any = hntk.to_integers(made, x=x, readout_bits=8, input_bits=16)
    first, last = (steps.most for steps in whole.network.steps)
    assert first == 1
    assert last > 500
    assert whole.shifts == (int(np.log2(last)), 0)
    # What rounding to int8 alone may cost: an error of variance 1/12 in each weight, which meets the levels.
    squares = 64 * (2 ** (2 * whole.shifts[0]) + last**2) / 12
    error = whole.scores(x) * whole.unit - made.scores(x)
    assert 0 < np.sqrt(np.mean(error**2)) < whole.unit * squares**0.5
    assert np.sqrt(np.mean(error**2)) < 0.03 * np.std(made.scores(x))


def test_files_give_back_classifiers_of_all_layers(tmp_path: Path) -> None:
    made = classifier(widths=(50, 40), layers="all")
    x = raw_samples(whole_classifier())
    hntk.save(made, tmp_path / "net")
    again: Any = hntk.load(tmp_path / "net")
    assert (again.layers, again.weights.shape) == ("all", (90, 2))
    np.testing.assert_array_equal(again.scores(x), made.scores(x))
    assert "readout: of every layer's features, 50 + 40" in str(hntk.summarize(again))
    assert hntk.summarize(again).layers[-1].inputs == 90
    assert "every layer" in repr(again)
    assert "every layer" not in repr(classifier())
    whole = replace(whole_classifier(widths=(50, 40), layers="all", bits=4), shifts=(0, 2))
    hntk.save(whole, tmp_path / "net")
    again = hntk.load(tmp_path / "net")
    assert (again.layers, again.shifts) == ("all", (0, 2))
    np.testing.assert_array_equal(again.scores(x), whole.scores(x))
    assert "readout: of every layer's features, 50 + 40" in str(hntk.summarize(again))


FORGED = [
    ({"readout_layers": "first"}, "readout_layers cannot be 'first'"),
    ({"readout_layers": ["all"]}, "readout_layers cannot be"),
    ({"readout_layers": None}, "readout_layers cannot be"),
    ({"readout_layers": "last"}, "readout.weights must be .* of shape"),
]
FORGED_WHOLE = [
    ({"readout_shifts": [0]}, "readout_shifts must be 2 whole numbers"),
    ({"readout_shifts": [0, 16]}, "readout_shifts must be 2 whole numbers"),
    ({"readout_shifts": [0, -1]}, "readout_shifts must be 2 whole numbers"),
    ({"readout_shifts": [0, True]}, "readout_shifts must be 2 whole numbers"),
    ({"readout_shifts": [0, 1.0]}, "readout_shifts must be 2 whole numbers"),
    ({"readout_shifts": "11"}, "readout_shifts must be 2 whole numbers"),
    ({"readout_shifts": [15, 15]}, "32 bits"),
]


@pytest.mark.parametrize(("change", "why"), FORGED, ids=str)
def test_files_of_other_layers_are_refused(change: dict, why: str, tmp_path: Path) -> None:
    for made in (classifier(layers="all"), whole_classifier(layers="all")):
        refused(replace(made, **({} if made.form == "float" else {"shifts": ()})), change, why, tmp_path / "net")


@pytest.mark.parametrize(("change", "why"), FORGED_WHOLE, ids=str)
def test_files_of_other_shifts_are_refused(change: dict, why: str, tmp_path: Path) -> None:
    refused(replace(whole_classifier(layers="all"), shifts=()), change, why, tmp_path / "net")


def refused(made: Any, change: dict, why: str, path: Path) -> None:
    hntk.save(made, path)
    arrays, metadata = container.read(path)
    container.write(path, arrays, metadata | change)
    with pytest.raises(hntk.FileError, match=why):
        hntk.load(path)


def test_a_readout_with_the_rows_of_one_layer_is_refused(tmp_path: Path) -> None:
    made = classifier(layers="all")
    short = replace(made, weights=made.weights[-40:])
    with pytest.raises(ValueError, match="must be float32 of shape"):
        hntk.save(short, tmp_path / "net")
    with pytest.raises(ValueError, match=r"shape \(40, 2\).* do not fit 90 features"):
        hntk.to_integers(short, pixels=True, normalization=hntk.Normalization(np.zeros(45, np.float32), 1.0))
    with pytest.raises(ValueError, match=r"shape \(n, 40\)"):
        short.scores(raw_samples(whole_classifier()))


def test_costs_count_what_is_read() -> None:
    made = classifier(levels=4, widths=(50, 40), layers="all")
    net = made.network
    assert hntk.storage(net, 10, "all").readout - hntk.storage(net, 10).readout == 50 * 10 * 4
    last, every = hntk.arithmetic(net, 10), hntk.arithmetic(net, 10, layers="all")
    assert every.multiply_accumulates - last.multiply_accumulates == 50 * 10
    # 4 levels are 2 bits, and readout weights 32
    assert every.bit_operations - last.bit_operations == 50 * 10 * 2 * 32
    assert every.plane_operations - last.plane_operations == 50 * 10 * 2 * 32
    assert every.activation_bytes == last.activation_bytes
