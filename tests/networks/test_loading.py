"""Packed weights, files, and what is counted about them."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

import hntk
from hntk.files import container
from hntk.networks.formula_bytes import ternary_entropy
from hntk.weights.encodings import ENCODINGS, PackedMatrix, expected_bits, pack, smallest_encoding

LAWS = ["gaussian", "int8_gaussian", "sparse_gaussian", "pruned_gaussian", "student_t", "bernoulli", "ternary"]
# of a file besides its arrays, as the memory experiment reckons it
HEADER = 2048


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.999])
def test_every_encoding_gives_the_matrix_back_at_its_expected_size(law: str, sparsity: float) -> None:
    drawn = hntk.weight_law(law, sparsity=sparsity)
    matrix = drawn.draw(jax.random.key(0), (113, 127))
    count = 113 * 127
    for encoding in ENCODINGS[matrix.kind]:
        bits = expected_bits(encoding, drawn.zeros)
        if not np.isfinite(bits):
            continue
        packed = pack(matrix, encoding)
        again = packed.unpack()
        np.testing.assert_array_equal(again.values, matrix.values)
        assert (again.kind, again.scale, again.values.dtype) == (matrix.kind, matrix.scale, matrix.values.dtype)
        # five standard deviations of the number of zeros, 40 bits each at most, and a byte of rounding for each part
        spread = 5 * np.sqrt(count * drawn.zeros * (1 - drawn.zeros)) * 41 / 8 + 10
        assert abs(packed.nbytes - count * bits / 8) <= spread
    assert pack(matrix).nbytes <= min(pack(matrix, e).nbytes for e in ENCODINGS[matrix.kind] if _suits(e, drawn)) + 99


def _suits(encoding: str, law: hntk.WeightLaw) -> bool:
    return bool(np.isfinite(expected_bits(encoding, law.zeros)))


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    arrays.arrays(np.int8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([-1, 0, 0, 1]))
)
def test_any_ternary_matrix_comes_back(values: np.ndarray) -> None:
    for encoding in ("bits2", "base3", "mask+signs", "gaps+signs"):
        packed = pack(hntk.WeightMatrix(jnp.asarray(values), 1.0, "ternary"), encoding)
        np.testing.assert_array_equal(packed.unpack().values, values)


def _bytes(values: list[int], encoding: str) -> tuple[list[int], list[int] | None]:
    packed = pack(hntk.WeightMatrix(jnp.asarray([values], jnp.int8), 1.0, "ternary"), encoding)
    return packed.values.tolist(), None if packed.positions is None else packed.positions.tolist()


def test_bytes_are_laid_out_as_documented() -> None:
    assert _bytes([0, 1, -1, 0, 1], "bits2") == ([0b00_11_01_00, 0b01], None)
    assert _bytes([1, 0, -1, 0, 0], "base3") == ([2 + 3 * 1 + 9 * 0 + 27 * 1 + 81 * 1], None)
    assert _bytes([0, 1, -1, 0], "mask+signs") == ([0b10], [0b0110])
    assert _bytes([0] * 300 + [1], "gaps+signs") == ([0], [255, 45])
    assert _bytes([0] * 255 + [-1], "gaps+signs") == ([1], [255, 0])
    assert _bytes([0] * 510 + [1, 0, 1], "gaps+signs") == ([0], [255, 255, 0, 1])


def test_the_sparser_the_matrix_the_smaller_its_encoding() -> None:
    chosen = [smallest_encoding("ternary", zeros) for zeros in (0.0, 0.2, 0.5, 0.9, 0.99)]
    assert chosen == ["signs", "base3", "mask+signs", "gaps+signs", "gaps+signs"]
    assert expected_bits("mask+signs", 0.5) == pytest.approx(ternary_entropy(0.5))


def test_damaged_bytes_are_noticed() -> None:
    matrix = hntk.weight_law("ternary", sparsity=0.5).draw(jax.random.key(0), (10, 10))

    def damaged(encoding: str, **change: np.ndarray) -> PackedMatrix:
        good = pack(matrix, encoding)
        parts = {"values": good.values, "positions": good.positions} | change
        return PackedMatrix(good.encoding, good.kind, good.shape, good.scale, **parts)

    everywhere = np.full(25, 0b10_10_10_10, np.uint8)
    with pytest.raises(ValueError, match="neither 0"):
        damaged("bits2", values=everywhere).unpack()
    with pytest.raises(ValueError, match="243"):
        damaged("base3", values=np.full(20, 250, np.uint8)).unpack()
    with pytest.raises(ValueError, match="25 bytes"):
        damaged("bits2", values=everywhere[:-1]).unpack()
    with pytest.raises(ValueError, match="mask"):
        damaged("mask+signs", positions=np.zeros(5, np.uint8)).unpack()
    with pytest.raises(ValueError, match="do not fill"):
        damaged("gaps+signs", positions=np.full(50, 200, np.uint8)).unpack()
    with pytest.raises(ValueError, match="use one of"):
        pack(matrix, "float32")
    with pytest.raises(ValueError, match="use one of"):
        pack(matrix, "signs")


def classifier(
    law: str = "ternary", layers: object = None, sparsity: float = 0.5
) -> tuple[hntk.Classifier, np.ndarray]:
    data = hntk.reference_mixture(n=120, p=30, key=jax.random.key(0))
    acts = hntk.match(["relu"] * 2, 1.0, 4).activations if layers is None else layers
    net = hntk.draw_network(
        acts, [50, 40], 30, tau0=1.0, law=hntk.weight_law(law, sparsity=sparsity), key=jax.random.key(1)
    )  # type: ignore[arg-type]
    labels = np.where(data.labels == 0, "left", "right")
    return hntk.fit_ridge(net, data.x, labels, ridge=0.1), np.asarray(data.x)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_a_loaded_classifier_scores_as_the_saved_one(law: str, tmp_path: Path) -> None:
    made, x = classifier(law)
    size = hntk.save(made, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    assert isinstance(again, hntk.Classifier)
    np.testing.assert_array_equal(again.scores(x), made.scores(x))
    assert again.predict(x).tolist() == made.predict(x).tolist()
    formula = hntk.storage(made.network, 2).smallest
    assert size == (tmp_path / "net.safetensors").stat().st_size
    assert formula < size < formula + HEADER


@pytest.mark.parametrize(
    "layers",
    [
        ["relu", "abs"],
        ["erf", "cos"],
        ["sin", "gaussian"],
        ["tanh", "gelu"],
        [hntk.activation("leaky_relu", slope=0.2), hntk.activation("polynomial", coefficients=[0.1, 1.0, 0.5])],
        ["sign", "step"],
    ],
    ids=lambda layers: "-".join(getattr(a, "name", a) for a in layers),
)
def test_every_activation_of_the_library_can_be_saved(layers: list, tmp_path: Path) -> None:
    made, x = classifier("gaussian", layers)
    hntk.save(made, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again.scores(x), made.scores(x))  # type: ignore[union-attr]


def test_a_network_without_readout_keeps_the_one_its_ntk_sees(tmp_path: Path) -> None:
    made, x = classifier("gaussian", ["relu", "relu"])
    hntk.save(made.network, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    assert isinstance(again, hntk.Network)
    np.testing.assert_array_equal(hntk.empirical_kernels(again, x).ntk, hntk.empirical_kernels(made.network, x).ntk)
    hntk.save(made, tmp_path / "net.safetensors")
    with_readout = hntk.load(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="readout at initialisation"):
        hntk.empirical_kernels(with_readout.network, x)  # type: ignore[union-attr]


def test_the_normalisation_of_the_input_is_kept(tmp_path: Path) -> None:
    made, x = classifier()
    raw = 5.0 * x + 3.0
    normalization = hntk.Normalization(np.full(30, 3.0, np.float32), 5.0)
    known = hntk.Classifier(made.network, made.classes, made.weights, made.offset, normalization=normalization)
    hntk.save(known, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    assert isinstance(again, hntk.Classifier)
    assert again.normalization is not None
    np.testing.assert_allclose(again.scores(again.normalization(raw)), made.scores(x), atol=1e-5)


@pytest.mark.slow
def test_where_a_network_comes_from_is_kept(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=90, p=30, key=jax.random.key(0))
    x, labels = np.asarray(data.x), np.repeat(["a", "b", "c"], [20, 30, 40])
    net = hntk.compress(["relu", "abs"], [50, 40], x, levels=3, key=jax.random.key(1))
    fitted = hntk.fit_ridge(net, x, labels, ridge=0.1)
    statistics = fitted.statistics
    assert statistics is not None
    squares = np.sum(x.astype(np.float64) ** 2, axis=1)
    assert (statistics.n, statistics.p, statistics.class_counts) == (90, 30, (20, 30, 40))
    assert statistics.tau0**2 == pytest.approx(squares.mean())
    assert statistics.norm_deviation == pytest.approx(squares.std() / squares.mean())
    for made in (fitted, hntk.to_integers(fitted, x=x)):
        assert isinstance(made, hntk.Classifier | hntk.IntegerClassifier)
        for _ in range(2):
            made.save(tmp_path / "net.safetensors")
            made = hntk.load(tmp_path / "net.safetensors")
            assert isinstance(made, hntk.Classifier | hntk.IntegerClassifier)
            assert made.network.origin == net.match.record
            assert made.statistics == statistics
        shown = str(made.summary())
        assert "for relu, abs at tau_0" in shown
        assert "fitted on 90 samples of dimension 30, 20 to 40 a class" in shown
    softmax = hntk.fit_softmax(net, x, labels, schedule=hntk.Schedule(epochs=1, batch=30))
    assert softmax.statistics == statistics
    assert hntk.dense(["relu"], [20], x, key=jax.random.key(0)).origin is None


def test_a_function_of_the_users_own_cannot_be_saved(tmp_path: Path) -> None:
    made, _ = classifier("gaussian", [hntk.activation(jnp.tanh, name="mine"), "relu"])
    with pytest.raises(ValueError, match="register_activation"):
        hntk.save(made, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = classifier()
    path = tmp_path / "net.safetensors"
    hntk.save(made, path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            hntk.save(made, path)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    np.testing.assert_array_equal(hntk.load(path).scores(x), made.scores(x))  # type: ignore[union-attr]


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    made, _ = classifier()
    path = tmp_path / "net.safetensors"
    hntk.save(made, path)
    whole = path.read_bytes()
    with pytest.raises(FileNotFoundError):
        hntk.load(tmp_path / "none.safetensors")
    for damaged in (whole[: len(whole) // 2], whole[:5], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(hntk.FileError, match="hntk.save"):
            hntk.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(hntk.FileError, match="hntk.save"):
        hntk.load(path)
    container.write(path, {"a": np.zeros(3)}, {"version": 99})
    with pytest.raises(hntk.FileError, match="version 99"):
        hntk.load(path)
    container.write(path, {"a": np.zeros(3)}, {"version": 1, "form": "float", "layers": [{}]})
    with pytest.raises(hntk.FileError, match="damaged"):
        hntk.load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(hntk.FileError, match="checksum"):
        hntk.load(path)


@pytest.mark.slow
def test_operations_and_memory_follow_the_rule() -> None:
    def cost(law: str, acts: list, sparsity: float = 0.5, bits: int = 32) -> hntk.Arithmetic:
        drawn = hntk.weight_law(law, sparsity=sparsity)
        net = hntk.draw_network(acts, [40, 20], 30, tau0=1.0, law=drawn, key=jax.random.key(0))
        return hntk.arithmetic(net, 10, bits)

    first, second, last = 30 * 40, 40 * 20, 20 * 10
    dense = cost("gaussian", ["relu", "relu"])
    assert dense.bit_operations == (first + second + last) * 32 * 32
    assert dense.multiply_accumulates == first + second + last
    assert dense.activation_bytes == (30 + 40) * 4
    four = hntk.match(["relu"] * 2, 1.0, 4).activations
    binary = cost("bernoulli", list(four), bits=8)
    assert binary.bit_operations == binary.plane_operations == first * 8 + second * 2 + last * 32 * 2
    assert binary.activation_bytes == (30 * 8 + 40 * 2) // 8
    ternary = cost("ternary", list(four), bits=8)
    assert ternary.plane_operations == 2 * first * 8 + 2 * second * 2 + last * 32 * 2
    # the same matrices with half of the weights 0
    assert 0.4 < (ternary.bit_operations - last * 64) / (binary.bit_operations - last * 64) < 0.6
    sparse = cost("sparse_gaussian", ["relu", "relu"], 0.9)
    assert sparse.bit_operations == sparse.multiply_accumulates * 1024
    assert sparse.multiply_accumulates < 0.3 * dense.multiply_accumulates


def test_formulas_agree_with_the_drawn_matrices() -> None:
    for law in LAWS:
        drawn = hntk.weight_law(law, sparsity=0.9)
        net = hntk.draw_network(["relu"], [400], 500, tau0=1.0, law=drawn, key=jax.random.key(0))
        formula = hntk.storage(net, 10)
        assert formula.hidden_smallest == pytest.approx(pack(net.weights[0]).nbytes, rel=0.02)
        assert formula.smallest - formula.hidden_smallest == formula.total - formula.hidden
