"""Forward passes as StableHLO programs, against the networks that they are of."""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
import pytest
from jax import export as jax_export

import hntk
from hntk.interchange import export_forward, import_forward
from tests.support.neuron_classifiers import neuron_sample
from tests.support.precision import precision
from tests.support.random_classifiers import Sample, random_sample

X = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
LABELS = np.arange(30) % 3


def network(**options: Any) -> hntk.Network:
    """Return a network with ternary weights and staircases."""
    return hntk.compress(["relu"] * 2, [48, 32], X, levels=4, key=jax.random.key(0), **options)


@pytest.mark.parametrize(
    "sample",
    [
        neuron_sample(0),
        neuron_sample(4, orthogonal=True),
        neuron_sample(3),
        random_sample(2, own=True),
        random_sample(5),
    ],
    ids=["pixels", "pooled and orthogonal", "rounded", "spaced steps", "shared steps"],
)
def test_whole_numbers_are_the_same_for_any_number_of_samples(sample: Sample) -> None:
    program = import_forward(export_forward(sample.classifier))
    assert program.batch is None
    assert (program.inputs, program.outputs) == (sample.raw.shape[1], sample.scores.shape[1])
    for rows in (len(sample.raw), 1):
        scores = program(sample.raw[:rows])
        assert scores.dtype == np.int32
        np.testing.assert_array_equal(scores, sample.scores[:rows])


def assert_close(found: np.ndarray, expected: Any) -> None:
    """Expect values that differ by float32's rounding of a few operations."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_programs_are_written_in_one_precision_and_run_in_the_other() -> None:
    sample, classifier = neuron_sample(1), hntk.fit_ridge(network(), X, LABELS, 0.1, layers="all")
    expected = classifier.scores(X)
    for written in (True, False):
        with precision(written):
            whole, real = (import_forward(export_forward(made)) for made in (sample.classifier, classifier))
        with precision(not written):
            np.testing.assert_array_equal(whole(sample.raw), sample.scores)
            scores = real(X)
        assert scores.dtype == np.float32
        assert_close(scores, expected)


@pytest.mark.parametrize("law", ["ternary", "orthogonal", "int8_gaussian", "gaussian"])
def test_features_are_those_of_the_network(law: str) -> None:
    net = hntk.draw_network(["tanh", "sign"], [48, 32], 20, tau0=1.0, law=law, key=jax.random.key(0))
    program = import_forward(export_forward(net))
    assert_close(program(X), net.features(X))


def test_residual_branches_and_normalised_raw_samples() -> None:
    branched = hntk.Architecture(["relu"] * 2, residual=0.5, normalize="layer", bias_std=0.1)
    net = hntk.draw_network(branched, [20] * 2, 20, tau0=1.0, law="ternary", key=jax.random.key(0))
    assert_close(import_forward(export_forward(net))(X), net.features(X))
    given = hntk.Normalization(X.mean(axis=0), float(X.std()), unit_norm=True)
    classifier = hntk.fit_ridge(network(), given(X), LABELS, 0.1, normalization=given)
    assert_close(import_forward(export_forward(classifier))(X), classifier.scores(X, raw=True))


def test_levels_of_a_network_and_scores_of_a_regressor() -> None:
    sample = neuron_sample(1)
    net = sample.classifier.network
    levels = np.concatenate([np.asarray(part) for part in net.feature_batches(sample.raw)])
    np.testing.assert_array_equal(import_forward(export_forward(net))(sample.raw), levels)
    regressor = hntk.IntegerRegressor(net, sample.classifier.readout, sample.classifier.offset, 0.25)
    scores = import_forward(export_forward(regressor))(sample.raw)
    np.testing.assert_array_equal(scores * regressor.unit, regressor.predict(sample.raw))


def test_ternary_weights_take_two_bits_each() -> None:
    sizes = []
    for width in (300, 900):
        made = hntk.draw_network(["sign"], [width], 400, tau0=1.0, law="ternary", key=jax.random.key(0))
        sizes.append(len(export_forward(made)))
    assert sizes[1] - sizes[0] == pytest.approx(600 * 400 / 4, rel=0.01)


def test_jax_alone_runs_a_program_of_a_stated_batch() -> None:
    sample = neuron_sample(0)
    data = export_forward(sample.classifier, batch=5, platforms=["cpu", "tpu"])
    assert isinstance(data, bytes)
    np.testing.assert_array_equal(jax_export.deserialize(bytearray(data)).call(sample.raw[:5]), sample.scores[:5])
    program = import_forward(data)
    assert (program.batch, program.platforms) == (5, ("cpu", "tpu"))
    assert repr(program) == "ForwardProgram((5, 64) uint8 -> (5, 3), cpu/tpu)"
    np.testing.assert_array_equal(program(sample.raw[:5]), sample.scores[:5])
    with pytest.raises(ValueError, match=r"shape \(5, 64\)"):
        program(sample.raw[:4])


def test_samples_that_do_not_fit_are_refused() -> None:
    program, floats = (
        import_forward(export_forward(neuron_sample(0).classifier)),
        import_forward(export_forward(network())),
    )
    for wrong, words in (
        (np.zeros((2, 63)), r"shape \(n, 64\)"),
        (np.zeros(64), r"shape \(n, p\)"),
        (np.full((2, 64), 0.5), "whole numbers from 0 to 255"),
        (np.full((2, 64), 256), "whole numbers from 0 to 255"),
        (np.full((2, 64), np.nan), "whole numbers from 0 to 255"),
    ):
        with pytest.raises(ValueError, match=words):
            program(wrong)
    with pytest.raises(ValueError, match="not finite in float32"):
        floats(np.full((2, 20), 1e300))


def test_what_cannot_be_exported_or_read_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    made = neuron_sample(1).classifier
    for wrong, words in (
        ({"batch": 0}, "batch must be a positive whole number"),
        ({"platforms": ["gpu"]}, "every platform must be 'cpu' or 'cuda'"),
        ({"platforms": []}, "platforms is empty"),
        ({"network": 3}, "network must be a network or a classifier"),
    ):
        with pytest.raises(ValueError, match=words):
            export_forward(**{"network": made, **wrong})  # type: ignore[arg-type]
    data = export_forward(made)
    for damaged in (b"", b"hello", data[:100], data[: len(data) // 2]):
        with pytest.raises(ValueError, match="exported again"):
            import_forward(damaged)
    with pytest.raises(ValueError, match="data must be the bytes"):
        import_forward("net.bin")  # type: ignore[arg-type]
    two = jax_export.export(jax.jit(lambda a, b: a + b))(*[jax.ShapeDtypeStruct((2, 2), np.float32)] * 2).serialize()
    with pytest.raises(ValueError, match="something else than one matrix"):
        import_forward(bytes(two))
    elsewhere = import_forward(export_forward(made, platforms=["tpu"]))
    with pytest.raises(ValueError, match=r"for tpu, and JAX runs on cpu here.*platforms="):
        elsewhere(neuron_sample(1).raw)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ImportError, match=r"hntk\[export\]"):
        export_forward(made)
