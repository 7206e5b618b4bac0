"""Networks of whole numbers against direct sums in int64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import hntk
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import EXACT
from hntk.networks.integer_steps import Steps
from tests.support.architectures import architectures, raw_samples, whole_classifier


def direct(made: hntk.IntegerClassifier, raw: np.ndarray) -> np.ndarray:
    """Compute scores in int64."""
    network = made.network
    v = np.asarray(network.inputs(raw)).astype(np.int64)
    for number, (w, steps) in enumerate(zip(network.weights, network.steps, strict=True)):
        sums = v @ np.asarray(w.values, np.int64).T
        if number == 0 and network.bias is not None:
            sums = sums + network.bias
        v = np.asarray(steps.levels)[np.searchsorted(steps.thresholds, sums, side="right")]
    return v @ made.readout.T.astype(np.int64) + made.offset


@pytest.mark.parametrize(
    "shape",
    [
        {"levels": 2, "widths": (33,), "pixels": True},
        {"levels": 8, "widths": (7, 64, 31), "sparsity": 0.9, "readout_bits": 5},
        {"levels": 3, "widths": (65, 1), "law": "bernoulli", "bits": 12},
    ],
    ids=str,
)
def test_scores_of_some_classifiers_are_exact(shape: dict) -> None:
    made = whole_classifier(**shape)
    raw = raw_samples(made)
    scores = made.scores(raw)
    np.testing.assert_array_equal(scores, direct(made, raw))
    assert max(made.network.largest_sums) <= EXACT
    assert np.abs(scores).max() <= made.largest_score < 2**31
    labels = made.classes[np.argmax(scores, axis=1)]
    assert made.predict(raw).tolist() == labels.tolist()
    assert made.accuracy(raw, labels) == 1.0


@pytest.mark.nightly
@settings(max_examples=20, deadline=None, derandomize=True)
@given(architectures())
def test_scores_are_exact(shape: dict) -> None:
    made = whole_classifier(**shape)
    raw = raw_samples(made)
    np.testing.assert_array_equal(made.scores(raw), direct(made, raw))
    assert max(made.network.largest_sums) <= EXACT
    assert np.abs(made.scores(raw)).max() <= made.largest_score < 2**31


def test_steps_reach_a_level_at_its_threshold() -> None:
    steps = Steps((-3, 2, 2), (5, 1, 7, 6))
    assert steps(jnp.array([-4.0, -3.0, 1.0, 2.0, 3.0])).tolist() == [5, 1, 1, 6, 6]
    assert steps.most == 7


def test_inputs_are_rounded_to_even_and_cut_off() -> None:
    rounded = Rounded(np.ones(6, np.float32), 2.0, 127)
    raw = np.array([[1.25, 1.75, 0.75, 1e9, -1e9, 1.3]])
    assert np.asarray(rounded(raw)).tolist() == [[0, 2, 0, 127, -127, 1]]


def test_pixels_are_whole_numbers_of_a_byte() -> None:
    pixels = Pixels(4)
    assert np.asarray(pixels(np.array([[0, 3, 255]], np.uint8))).tolist() == [[0, 12, 1020]]
    assert (pixels.least, pixels.most) == (0, 1020)
    for wrong in (-1, 256, 0.5):
        with pytest.raises(ValueError, match="raw images"):
            pixels(np.array([[0.0, wrong]]))


@pytest.mark.parametrize("pixels", [False, True])
def test_samples_of_another_dimension_are_refused(pixels: bool) -> None:
    made = whole_classifier(widths=(9,), pixels=pixels)
    for size in (44, 46):
        with pytest.raises(ValueError, match=f"samples have {size} coordinates but the network takes 45"):
            made.scores(np.zeros((2, size)))
