"""Orthogonal blocks in C: transforms in place give what explicit weights give, in numbers that cannot overflow."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.linalg import hadamard

import hntk
from experiments.shipping import toolchain
from hntk.deploy.c import to_c
from hntk.deploy.c_transforms import number_bytes, transform_tables
from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from tests.support.architectures import INPUTS, NORMALIZATION, raw_samples, whole_classifier
from tests.support.compiled import SANITIZED, run_all
from tests.support.random_blocks import explicit, random_block_sample, random_blocks

LAYOUTS = ("transform", "planes", "rice", "gaps", "indices", "indices16", "base3")


def check(seeds: Sequence[int], folder: Path, compiler: str, options: Sequence[str], turn: int = 0) -> None:
    """Compare the scores and classes of compiled programs with those of explicit weights."""
    if not toolchain.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    samples = [random_block_sample(seed) for seed in seeds]
    programs = []
    for seed, sample in zip(seeds, samples, strict=True):
        depth = len(sample.classifier.network.weights)
        # every third one in several layouts, so that each reads what each writes
        mixed = [LAYOUTS[(seed // 3 + number) % len(LAYOUTS)] for number in range(depth)] if seed % 3 == 0 else None
        programs.append(to_c(sample.classifier, f"net{seed}", layouts=mixed))  # type: ignore[arg-type]
    words = [(32, 64)[(seed + turn) % 2] for seed in seeds]
    given = run_all(
        programs, [s.classifier.classes for s in samples], [s.raw for s in samples], folder, compiler, options, words
    )
    for seed, sample, got in zip(seeds, samples, given, strict=True):
        np.testing.assert_array_equal(got.scores, sample.scores, err_msg=str(seed))
        np.testing.assert_array_equal(got.indices, np.argmax(sample.scores, axis=1), err_msg=str(seed))


def test_programs_give_the_scores_of_explicit_weights(tmp_path: Path) -> None:
    # 12 seeds go through all groups and orders
    check(range(12), tmp_path, "gcc", SANITIZED)


@pytest.mark.parametrize("seed", [1, 6, 8])
def test_python_gives_the_scores_of_explicit_weights(seed: int) -> None:
    sample = random_block_sample(seed)
    np.testing.assert_array_equal(sample.classifier.scores(sample.raw), sample.scores)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("first", range(12, 252, 24))
def test_many_programs_agree_with_python_in_every_build(tmp_path: Path, first: int) -> None:
    for number in range(first, first + 24):
        sample = random_block_sample(number)
        np.testing.assert_array_equal(sample.classifier.scores(sample.raw), sample.scores)
    builds = [("gcc", SANITIZED), ("clang", SANITIZED), ("gcc", toolchain.FAST), ("clang", toolchain.FAST)]
    for turn, (compiler, options) in enumerate(builds):
        folder = tmp_path / str(turn)
        folder.mkdir()
        check(range(first, first + 24), folder, compiler, options, turn)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("layers", ["last", "all"])
def test_all_test_images_have_the_classes_of_python(tmp_path: Path, compiler: str, layers: str) -> None:
    if not toolchain.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    try:
        data = hntk.load_dataset("mnist", n_train=3000)
    except FileNotFoundError:
        pytest.skip("MNIST is not here: name its folder in HNTK_DATA")
    net = hntk.compress(["relu"] * 3, [2048, 2048, 1024], data.x_train, levels=4, key=jax.random.key(0), alpha2=False)
    fitted = hntk.fit_ridge(net, data, ridge=0.1, layers=layers)  # type: ignore[arg-type]
    made = hntk.to_integers(fitted, pixels=True, level_bits=8)
    assert isinstance(made, hntk.IntegerClassifier)
    raw = data.raw(data.x_test)
    assert len(raw) == 10_000
    built = toolchain.compile_program(to_c(made), tmp_path, compiler)
    np.testing.assert_array_equal(made.classes[toolchain.run_program(built, raw)], made.predict(raw))
    assert made.accuracy(raw, data.y_test) > 0.88


def partial_sums(inputs: np.ndarray, folded: int) -> np.ndarray:
    """Return the largest magnitude of each number that a transform of the inputs stores."""
    sums = inputs.reshape(-1, folded).sum(axis=0)
    largest, stride = np.abs(sums), 1
    while stride < folded // 4:
        pairs = sums.reshape(-1, 2, stride)
        sums = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).ravel()
        largest, stride = np.maximum(largest, np.abs(sums)), 2 * stride
    return largest


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups"), [(64, 64, 1), (64, 9, 2), (40, 40, 1), (64, 2, 2), (9, 16, 4)]
)
def test_stored_numbers_reach_their_bound_and_do_not_pass_it(inputs: int, outputs: int, groups: int) -> None:
    matrix = random_blocks(np.random.default_rng(0), (outputs, inputs), groups, "none")
    folded = matrix.length if matrix.blocks > 1 else 1 << (matrix.last_rows[0] - 1).bit_length()
    bound = min(int(matrix.largest_row_sum), matrix.length // min(folded, 4))
    largest = 0
    places = np.arange(inputs)
    own = (places // matrix.length) ^ np.asarray(matrix.swaps, np.int64)[0, places % matrix.length]
    # inputs of the signs of a row make its sum as large as any
    for row in hadamard(matrix.length):
        for a in range(matrix.groups):
            taken = np.zeros(matrix.length, np.int64)
            taken[places[own == a] % matrix.length] = 1
            largest = max(largest, int(partial_sums(row * taken, folded).max()))
    assert largest <= bound <= np.abs(explicit(matrix)).sum(axis=1).max()
    assert largest == bound or inputs < matrix.size
    # the widest inputs that 2 bytes take, and one more
    most = (2**15 - 1) // bound
    assert [number_bytes(matrix, m) for m in (1, most, most + 1)] == [2, 2, 4]


def test_sums_beyond_32_bits_are_refused() -> None:
    matrix = random_blocks(np.random.default_rng(0), (4, 2048), 1, "none")
    assert number_bytes(matrix, 2**20 - 1) == 4
    with pytest.raises(ValueError, match="32 bits"):
        number_bytes(matrix, 2**20)
    with pytest.raises(ValueError, match="32 bits"):
        number_bytes(matrix, 2**20 - 1, 2**12)


@pytest.mark.parametrize("most", [4095, 4096])
def test_the_largest_numbers_of_two_bytes_are_exact(tmp_path: Path, most: int) -> None:
    rng = np.random.default_rng(0)
    first, second = (random_blocks(rng, (32, 32), 1, "none") for _ in range(2))
    # the first layer's levels are the signs of its sums
    steps = (
        Steps((0,), (-most, most)),
        Steps(tuple(range(-most, most, 401)), tuple(range(len(range(-most, most, 401)) + 1))),
    )
    network = IntegerNetwork(Pixels(1, np.full(32, 128, np.uint8)), (first, second), steps, None, 1.0, (0.0, 0.0))
    readout = rng.integers(-9, 9, (3, 32)).astype(np.int8)
    made = hntk.IntegerClassifier(network, readout, np.zeros(3, np.int32), np.arange(3), 1.0)
    # images for which the levels are the signs of each row of the second layer
    wanted = explicit(second)
    raw = np.clip(128 + wanted @ explicit(first), 0, 255).astype(np.uint8)
    levels = np.where((raw - 128.0) @ explicit(first).T >= 0, most, -most)
    np.testing.assert_array_equal(levels, most * wanted)
    program = to_c(made)
    assert ".number_bytes = 2" in program.source.split("layer2 = ")[1] if most == 4095 else "= 4" in program.source
    if not toolchain.has("gcc"):
        pytest.skip("gcc is not installed")
    sums = (levels @ wanted.T).astype(np.int64)
    last = np.searchsorted(steps[1].thresholds, sums, side="right")
    (given,) = run_all([program], [made.classes], [raw], tmp_path, "gcc", SANITIZED, [64])
    np.testing.assert_array_equal(given.scores, last @ readout.T.astype(np.int64))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86-64 assembly")
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compilers_make_vectors_of_transforms(tmp_path: Path, compiler: str) -> None:
    if not toolchain.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    sample = random_block_sample(1)
    _, source, _ = to_c(sample.classifier, "net", layouts="transform").write(tmp_path)
    assembly = tmp_path / "net.s"
    options = ("-std=c99", "-O3", "-march=x86-64-v3", "-S", "-o", str(assembly))
    subprocess.run([compiler, *options, str(source)], check=True)
    bodies = re.split(r"^(\w+):", assembly.read_text(), flags=re.M)
    found = dict(zip(bodies[1::2], bodies[2::2], strict=True))
    for name, suffix in (("transform16", "w"), ("transform32", "d")):
        if name in found:
            assert len(re.findall(rf"vpadd{suffix}\s.*ymm", found[name])) >= 4
            assert len(re.findall(rf"vpsub{suffix}\s.*ymm", found[name])) >= 4
    assert "transform16" in found or "transform32" in found


def test_tables_are_a_hundredth_of_two_bits_a_weight() -> None:
    rng = np.random.default_rng(0)
    sides = (784, 2048, 2048, 1024)
    orders = ("random", "none", "none")
    shapes = zip(sides[1:], sides[:-1], strict=True)
    weights = tuple(random_blocks(rng, shape, 2, order) for shape, order in zip(shapes, orders, strict=True))
    steps = (Steps((-100, 0, 100), (-90, -30, 30, 90)),) * 3
    network = IntegerNetwork(
        Pixels(1, rng.integers(0, 256, 784).astype(np.uint8)), weights, steps, None, 1.0, (0.0,) * 3
    )
    readout = rng.integers(-9, 9, (10, 1024)).astype(np.int16)
    program = to_c(hntk.IntegerClassifier(network, readout, np.zeros(10, np.int32), np.arange(10), 1.0))
    assert program.layouts == ("transform",) * 3
    # int8 weights of the readout, since they are small
    hidden = program.table_bytes - readout.size
    assert 100 * hidden <= 2 * sum(p * d for p, d in zip(sides[:-1], sides[1:], strict=True)) / 8
    # levels before and after a layer, a byte each, and the 1024 numbers of a transform
    assert program.scratch_bytes == 2048 + 2048 + 2 * 1024


def test_bits_lie_where_kernels_read_them() -> None:
    matrix = random_blocks(np.random.default_rng(3), (70, 100), 2, "random")
    tables, _ = transform_tables(1, matrix, 1, 0)
    flips, swaps = (t.values.reshape(-1, matrix.length // 16) for t in tables)
    words = matrix.length // 16
    for j in range(matrix.length):
        s = int(matrix.swaps[0, j])
        assert s == int(swaps[0, j % words]) >> (j // words) & 1
        for a in range(2):
            (taken,) = np.nonzero(np.asarray(matrix.places) == (a ^ s) * matrix.length + j) or ([],)
            negative = taken.size and matrix.signs[0, taken[0]] < 0
            assert int(negative) == int(flips[a, j % words]) >> (j // words) & 1


def test_pixels_are_centred_by_whole_numbers_before_orthogonal_blocks() -> None:
    made = whole_classifier(levels=4, widths=(64, 33), pixels=True, law="orthogonal")
    assert made.network.bias is None
    np.testing.assert_array_equal(made.network.inputs.centre, np.rint(NORMALIZATION.centre))
    raw = raw_samples(made)
    assert raw.dtype == np.uint8
    # beyond the bytes of a pixel there is no centre, and the bias remains
    outside = hntk.Normalization(np.full(INPUTS, 300.0, np.float32), 300.0)
    net = hntk.draw_network(["sign"], [8], INPUTS, tau0=1.0, law="orthogonal", key=jax.random.key(0))
    kept = hntk.to_integers(net, pixels=True, normalization=outside)
    assert kept.inputs.centre is None
    assert kept.bias is not None
