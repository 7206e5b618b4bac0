"""Random classifiers give the same in Python, in C and in ONNX: every label, score and class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hntk
from experiments.shipping import toolchain
from hntk.deploy.c import to_c
from hntk.deploy.onnx import to_onnx
from hntk.networks.forward import Forward
from tests.support.compiled import SANITIZED, run_all
from tests.support.random_classifiers import Sample, random_sample

# classifiers a binary: compilers take their time for each call
TOGETHER = 10
COMPILERS = ("gcc", "clang")
EXPLICIT = ("planes", "gaps", "indices", "indices16", "rice", "base3")
WAYS = ("dense", "planes", "sparse")


def exported(samples: list[Sample], first: int) -> list:
    """Programs in the layouts that seeds draw."""
    made = []
    for number, sample in enumerate(samples, first):
        rng = np.random.default_rng([number, 1])
        mixed = [str(v) for v in rng.choice(EXPLICIT, len(sample.classifier.network.weights))]
        layouts = [None, "fastest", mixed, *EXPLICIT][rng.integers(3 + len(EXPLICIT))]
        made.append(to_c(sample.classifier, f"net{number}", layouts=layouts))
    return made


def check_python(sample: Sample, way: str) -> None:
    # what the way would be depends on how fast this machine is
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Forward, "way", lambda self, rows: way)
        np.testing.assert_array_equal(sample.classifier.scores(sample.raw), sample.scores)


def check_c(samples: list[Sample], first: int, folder: Path, compiler: str, words: list[int]) -> None:
    programs, labels = exported(samples, first), [s.classifier.classes for s in samples]
    given = run_all(programs, labels, [s.raw for s in samples], folder, compiler, SANITIZED, words)
    for number, (sample, names, got) in enumerate(zip(samples, labels, given, strict=True), first):
        wanted = [text.encode() for text in names.tolist()] if names.dtype.kind == "U" else names.tolist()
        assert got.labels == wanted, number
        np.testing.assert_array_equal(got.scores, sample.scores, err_msg=str(number))
        np.testing.assert_array_equal(got.indices, np.argmax(sample.scores, axis=1), err_msg=str(number))


def onnx_results(model: Any, raw: np.ndarray) -> list[Any]:
    import onnxruntime

    return list(onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": raw}))


def check_onnx(sample: Sample, weights: str) -> None:
    scores, labels = onnx_results(to_onnx(sample.classifier, weights), sample.raw)  # type: ignore[arg-type]
    np.testing.assert_array_equal(scores, sample.scores)
    assert labels.tolist() == sample.labels.tolist()
    kind = sample.labels.dtype.kind
    assert labels.dtype.kind == {"U": "O"}.get(kind, kind) or labels.dtype.kind + kind == "iu"


def check_own(first: int, count: int, folder: Path) -> None:
    """Check classifiers with thresholds of each neuron, each in one way, in C and in ONNX, and there as regressors."""
    pytest.importorskip("onnxruntime")
    samples = [random_sample(seed, own=True) for seed in range(first, first + count)]
    if toolchain.has("gcc"):
        check_c(samples, first, folder, "gcc", [(32, 64)[number % 2] for number in range(count)])
    for number, sample in enumerate(samples, first):
        check_python(sample, WAYS[number % 3])
        check_onnx(sample, ("int2", "int8")[number % 2])
        made, unit = sample.classifier, float(np.random.default_rng(number).lognormal(sigma=9))
        regressor = hntk.IntegerRegressor(made.network, made.readout, made.offset, unit)
        wanted = unit * (sample.scores[:, 0] if len(made.classes) == 1 else sample.scores)
        scores, predictions = onnx_results(to_onnx(regressor), sample.raw)
        np.testing.assert_array_equal(scores, sample.scores)
        np.testing.assert_array_equal(predictions, wanted)


def check_all(first: int, count: int, folder: Path, everywhere: bool) -> None:
    pytest.importorskip("onnxruntime")
    samples = [random_sample(seed) for seed in range(first, first + count)]
    for number, sample in enumerate(samples, first):
        for way in WAYS if everywhere else (WAYS[number % 3],):
            check_python(sample, way)
        for weights in ("int2", "int8") if everywhere else (("int2", "int8")[number % 2],):
            check_onnx(sample, weights)
    for turn, compiler in enumerate(COMPILERS):
        if not toolchain.has(compiler):
            pytest.skip(f"{compiler} is not installed")
        for other in (0, 1) if everywhere else (0,):
            # every program with words of 32 bits in one of them, and of 64 in the other
            words = [(32, 64)[(number + turn + other) % 2] for number in range(count)]
            made = folder / f"{compiler}{other}"
            made.mkdir()
            # clang takes three times as long as gcc
            some = count if everywhere or compiler == "gcc" else 1
            check_c(samples[:some], first, made, compiler, words[:some])


@pytest.mark.slow
@pytest.mark.parametrize(("first", "count"), [(0, 4), pytest.param(4, 6, marks=pytest.mark.nightly)])
def test_random_classifiers_agree_in_python_c_and_onnx(tmp_path: Path, first: int, count: int) -> None:
    check_all(first, count, tmp_path, everywhere=False)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("first", range(10, 300, TOGETHER))
def test_many_random_classifiers_agree_everywhere(tmp_path: Path, first: int) -> None:
    check_all(first, TOGETHER, tmp_path, everywhere=True)


@pytest.mark.slow
def test_classifiers_with_thresholds_of_each_neuron_agree(tmp_path: Path) -> None:
    check_own(0, 4, tmp_path)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("first", range(4, 84, 20))
def test_many_classifiers_with_thresholds_of_each_neuron_agree(tmp_path: Path, first: int) -> None:
    check_own(first, 20, tmp_path)
