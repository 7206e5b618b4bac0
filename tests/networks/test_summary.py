"""Summaries of networks and classifiers count what files hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import hntk
from tests.support.architectures import INPUTS, LABELS, classifier, whole_classifier


def test_summaries_count_what_is_in_the_file(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(300, 130), sparsity=0.5)
    found = made.summary()
    assert found == hntk.summarize(made)
    size = made.save(tmp_path / "net.safetensors")
    assert size == (tmp_path / "net.safetensors").stat().st_size
    assert found.bytes < size < found.bytes + 3000
    first = found.layers[0]
    values = np.asarray(made.network.weights[0].values)
    assert first.additions == np.count_nonzero(values)
    assert first.multiply_accumulates == 0
    assert first.float_bytes == 4 * values.size
    assert found.layers[-1].multiply_accumulates == 130 * len(LABELS)
    shown = str(found)
    for text in ("layer 1", "300 x", "readout", "4 levels", "total"):
        assert text in shown
    assert found.to_dict()["bytes"] == found.bytes


def test_notes_tell_labels_input_and_origin() -> None:
    made = classifier(widths=(20, 9))
    known = dataclasses.replace(made, normalization=hntk.Normalization(np.ones(INPUTS, np.float32), 2.0))
    shown = str(hntk.summarize(known))
    assert shown.startswith("a network in float32\nlayer")
    assert "classes: left, right\ninput: (raw - centre) / 2\nreadout: fitted on 120 samples" in shown
    whole = whole_classifier(widths=(20, 9), pixels=True)
    assert whole.summary().notes[0] == "input: pixels, 0 to 255"
    # a transform needs whole numbers, so its samples are centred before it
    blocks = whole_classifier(widths=(20, 9), pixels=True, law="orthogonal")
    assert blocks.summary().notes[0] == "input: pixels, 0 to 255, less a centre rounded to whole numbers"
    assert whole.summary().layers[0].bytes == whole.network.summary().layers[0].bytes
    record = hntk.MatchRecord(("relu", "relu"), 1.0, "joint", "theory", {"e1": 0.1}, 0.0, 0.02)
    noted = dataclasses.replace(made.network, origin=record).summary().notes
    assert noted == (f"activations: {record}",)
    assert "for relu at tau_0 = 1, joint match by theory: largest residual 1.0e-01" in noted[0]
    loose = dataclasses.replace(record, objective="data")
    assert "coefficients within 10%" in str(loose)


@pytest.mark.parametrize("what", [None, "net", np.ones(3), hntk.activation("relu")], ids=repr)
def test_other_things_are_not_summarized(what: object) -> None:
    with pytest.raises(ValueError, match="a network or a classifier"):
        hntk.summarize(what)  # type: ignore[arg-type]


def test_chosen_encodings_are_counted() -> None:
    net = classifier(widths=(20, 9)).network
    small, plain = net.summary(), hntk.summarize(net, ["bits2", "bits2"])
    assert [layer.encoding for layer in plain.layers] == ["bits2", "bits2"]
    assert plain.layers[0].bits == pytest.approx(2, abs=0.01)
    assert small.bytes <= plain.bytes
    with pytest.raises(ValueError, match="use one of"):
        net.summary(["signs", "bits2"])
