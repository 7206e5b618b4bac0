"""Programs of networks whose neurons have their own thresholds and whose pixels are averaged over cells."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import hntk
from experiments.shipping import toolchain
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.c_pooling import reciprocal
from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import NeuronSteps
from hntk.weights.weight_matrix import WeightMatrix
from tests.support.compiled import SANITIZED, run_all
from tests.support.neuron_classifiers import neuron_sample
from tests.support.random_classifiers import Sample

EXPLICIT = ("planes", "gaps", "indices", "indices16", "rice", "base3")


def check(samples: list[Sample], programs: list[CProgram], folder: Path, compiler: str) -> None:
    """Compare the scores and classes of compiled programs with those of the samples."""
    if not toolchain.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    words = [(32, 64)[number % 2] for number in range(len(programs))]
    labels, raw = [s.classifier.classes for s in samples], [s.raw for s in samples]
    given = run_all(programs, labels, raw, folder, compiler, SANITIZED, words)
    for sample, program, got in zip(samples, programs, given, strict=True):
        what = f"{program.name} {program.layouts}"
        np.testing.assert_array_equal(got.scores, sample.scores, err_msg=what)
        np.testing.assert_array_equal(got.indices, np.argmax(sample.scores, axis=1), err_msg=what)


def programs_of(seeds: range, orthogonal: bool) -> tuple[list[Sample], list[CProgram]]:
    """Return the classifiers of seeds in two choices of layouts each."""
    samples, programs = [], []
    for seed in seeds:
        sample = neuron_sample(seed, orthogonal=orthogonal)
        np.testing.assert_array_equal(sample.classifier.scores(sample.raw), sample.scores)
        known = (*EXPLICIT, "transform") if orthogonal else EXPLICIT
        depth = len(sample.classifier.network.weights)
        mixed = [known[(seed + number) % len(known)] for number in range(depth)]
        for number, layouts in enumerate((mixed, ("smallest", "fastest")[seed % 2])):
            samples.append(sample)
            programs.append(to_c(sample.classifier, f"net{seed}{'ab'[number]}", layouts=layouts))  # type: ignore[arg-type]
    return samples, programs


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", pytest.param("clang", marks=pytest.mark.nightly)])
def test_programs_give_scores_that_were_computed_directly(tmp_path: Path, compiler: str) -> None:
    # the nightly tests take more of them
    samples, programs = programs_of(range(1, 3), orthogonal=False)
    more, others = programs_of(range(100, 101), orthogonal=True)
    check([*samples, *more], [*programs, *others], tmp_path, compiler)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 90, 10))
@pytest.mark.parametrize("orthogonal", [False, True])
def test_many_programs_give_scores_that_were_computed_directly(tmp_path: Path, first: int, orthogonal: bool) -> None:
    check(*programs_of(range(first, first + 10), orthogonal), tmp_path, "gcc")


def test_thresholds_take_few_bytes() -> None:
    """A first threshold of 16 bits and gaps of 8, whatever a bias adds, and whatever no sum reaches."""
    rng = np.random.default_rng(0)
    weights = WeightMatrix(rng.integers(-1, 2, (50, 64)).astype(np.int8), 1.0, "ternary")  # type: ignore[arg-type]
    lowest = rng.integers(-3000, 3000, 50)
    thresholds = np.stack([lowest, lowest + 250, lowest + 255, lowest + 300], axis=1).astype(np.int32)
    thresholds[7, 3] = 2**31 - 1

    def size(thresholds: np.ndarray, bias: np.ndarray | None, layouts: str) -> int:
        steps = NeuronSteps(thresholds, tuple(range(thresholds.shape[1] + 1)))
        network = IntegerNetwork(Pixels(), (weights,), (steps,), bias, 1.0, (0.0,))
        made = hntk.IntegerClassifier(network, np.ones((2, 50), np.int8), np.zeros(2, np.int32), np.arange(2), 1.0)
        return to_c(made, layouts=layouts).table_bytes  # type: ignore[arg-type]

    one, three = size(thresholds[:, :1], None, "rice"), size(thresholds[:, :3], None, "rice")
    assert three - one == 2 * 50 + 2
    for layouts in EXPLICIT:
        without, bias = size(thresholds[:, :3], None, layouts), rng.integers(-99, 99, 50).astype(np.int32)
        assert size(thresholds[:, :3], bias, layouts) == without
    # the gaps of multiples of 4 have 8 bits, until one neuron has others; thresholds below all sums are no others
    coarse = (4 * np.stack([lowest // 12, lowest // 12 + 100, lowest // 12 + 200], axis=1)).astype(np.int32)
    coarse[9] = 1 - 2**31
    fine = coarse + (np.arange(50, dtype=np.int32) == 8)[:, None]
    assert size(fine, None, "rice") - size(coarse, None, "rice") == 2 * 50
    # a threshold beyond all sums becomes the neuron's largest sum and 1: gaps of 16 bits, and not of 32
    assert size(thresholds, None, "rice") - three == 50 * (3 * 2 - 2) + 1


def test_division_by_an_area_is_exact_for_every_sum() -> None:
    areas = [*range(1, 129), 196, 256, 361, 4096]
    for area in areas:
        factor, shift = reciprocal(area)
        sums = np.arange(255 * area + 1, dtype=np.uint64)
        exact = (2 * sums + area) // (2 * area)
        rounded = sums + np.uint64(area // 2)
        np.testing.assert_array_equal(rounded // np.uint64(area), exact)
        if area <= 128:
            assert factor
        if factor:
            products = rounded * np.uint64(factor)
            assert products.max() < 2**32
            np.testing.assert_array_equal(products >> np.uint64(shift), exact)
    # some large ones have no factor of 32 bits, and are divided by
    assert [area for area in areas if reciprocal(area) == (0, 0)] == [361]


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("targets", [1, 3])
def test_programs_of_regressors_print_predictions(tmp_path: Path, seed: int, targets: int) -> None:
    if not toolchain.has("gcc"):
        pytest.skip("gcc is not installed")
    sample = neuron_sample(seed)
    made = sample.classifier
    regressor = hntk.IntegerRegressor(made.network, made.readout[:targets], made.offset[:targets], 0.1 / 3)
    program = to_c(regressor)
    assert "predict(" not in program.header
    assert "labels" not in program.header + program.source
    assert f"#define HNTK_NET_TARGETS {targets}\n" in program.header
    built = toolchain.compile_program(program, tmp_path, "gcc", SANITIZED)
    printed = subprocess.run([built], input=sample.raw.tobytes(), capture_output=True, check=True).stdout
    numbers = np.array(printed.split(), float).reshape(len(sample.raw), -1)
    np.testing.assert_array_equal(numbers, 0.1 / 3 * sample.scores[:, :targets])
    np.testing.assert_array_equal(numbers.squeeze(), regressor.predict(sample.raw))


def test_regressors_of_all_layers_add_up_scores(tmp_path: Path) -> None:
    if not toolchain.has("gcc"):
        pytest.skip("gcc is not installed")
    sample = neuron_sample(1)
    network, rng = sample.classifier.network, np.random.default_rng(0)
    readout = rng.integers(-9, 10, (2, sum(network.widths))).astype(np.int8)
    regressor = hntk.IntegerRegressor(network, readout, np.array([5, -7], np.int32), 0.5, layers="all")
    built = toolchain.compile_program(to_c(regressor), tmp_path, "gcc", SANITIZED)
    printed = subprocess.run([built], input=sample.raw.tobytes(), capture_output=True, check=True).stdout
    np.testing.assert_array_equal(np.array(printed.split(), float).reshape(-1, 2), regressor.predict(sample.raw))


def pixels_classifier(inputs: int, ones: int) -> Sample:
    """Return a classifier of so many pixels, of which each neuron reads a few."""
    rng = np.random.default_rng(inputs)
    values = np.zeros((6, inputs), np.int8)
    for row in values:
        row[rng.choice(inputs, ones, replace=False)] = rng.choice([-1, 1], ones)
    values[:, -1] = 1
    thresholds = np.sort(rng.integers(-200, 201, (6, 3)), axis=1).astype(np.int32)
    weights = WeightMatrix(values, 1.0, "ternary")  # type: ignore[arg-type]
    steps = NeuronSteps(thresholds, (0, 1, 2, 3))
    network = IntegerNetwork(Pixels(), (weights,), (steps,), None, 1.0, (0.0,))
    readout, offset = rng.integers(-99, 100, (3, 6)).astype(np.int8), np.zeros(3, np.int32)
    classifier = hntk.IntegerClassifier(network, readout, offset, np.arange(3), 1.0)
    raw = rng.integers(0, 256, (5, inputs)).astype(np.uint8)
    sums = raw.astype(np.int64) @ values.T.astype(np.int64)
    levels = np.sum(sums[..., None] >= thresholds, axis=-1)
    return Sample(classifier, raw, levels @ readout.T.astype(np.int64))


@pytest.mark.often("257-indices16")
@pytest.mark.parametrize(("inputs", "fastest"), [(256, "indices"), (257, "indices16"), (66_000, "indices16")])
def test_columns_are_told_apart_however_many_there_are(tmp_path: Path, inputs: int, fastest: str) -> None:
    sample = pixels_classifier(inputs, ones=9)
    programs = [
        to_c(sample.classifier, name, layouts=layouts)
        for name, layouts in (("bytes", "indices"), ("pairs", "indices16"), ("fast", "fastest"))
    ]
    # the fastest one is one of the others
    assert programs[2].layouts == (fastest,)
    check([sample] * 2, programs[:2], tmp_path, "gcc")
