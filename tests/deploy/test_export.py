"""What is exported predicts what the classifier predicts, on every sample."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from experiments.shipping import toolchain
from hntk.__main__ import main
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.onnx import to_onnx, write_onnx
from hntk.networks.integer_steps import Steps
from hntk.weights.bit_planes import row_constants, word_planes
from tests.support.architectures import INPUTS, NORMALIZATION, classifier, raw_samples, whole_classifier
from tests.support.compiled import SANITIZED

BUILDS = {
    "gcc": ("gcc", "-O3", "-march=native"),
    "gcc-32": ("gcc", "-O2", "-DHNTK_NET_WORD_BITS=32"),
    "gcc-sanitized": ("gcc", *SANITIZED),
    "gcc-sanitized-32": ("gcc", *SANITIZED, "-DHNTK_NET_WORD_BITS=32"),
    "clang": ("clang", "-O3", "-march=native"),
    "clang-sanitized": ("clang", *SANITIZED),
}


def printed(program: CProgram, folder: Path, build: tuple[str, ...], raw: np.ndarray) -> np.ndarray:
    """The classes that the program prints."""
    compiler, *options = build
    if not toolchain.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    return toolchain.run_program(toolchain.compile_program(program, folder, compiler, options), raw)


@pytest.mark.often("False-gcc", "True-gcc-sanitized", "False-gcc-sanitized-32", "False-clang")
@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("pixels", [False, True])
def test_every_build_predicts_the_same(tmp_path: Path, build: str, pixels: bool) -> None:
    made = whole_classifier(levels=4, widths=(100, 65, 33), pixels=pixels)
    program = to_c(made, layouts=["planes", "gaps", "planes"])
    raw = raw_samples(made)
    indices = printed(program, tmp_path, BUILDS[build], raw)
    np.testing.assert_array_equal(made.classes[indices], made.predict(raw))
    # not all of one class
    assert len(set(indices.tolist())) == 2


def test_c_uses_no_float_for_pixels_and_states_its_memory(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(100, 65, 33), pixels=True)
    program = to_c(made, "my_net")
    _, source, _ = program.write(tmp_path)
    if toolchain.has("gcc"):
        compiled = subprocess.run(["gcc", "-E", source], check=True, capture_output=True, text=True).stdout
        assert "best_class" in compiled
        assert not re.search(r"\b(float|malloc)\b", compiled)
    assert "MY_NET_SCRATCH_BYTES" in program.header
    # planes of the pixels, then of 100 neurons of 4 levels; 65 neurons more, or 33 numbers
    assert to_c(made, layouts="planes").scratch_bytes == max(8 * 8, 3 * 16) + max(3 * 16, 40)
    with pytest.raises(ValueError, match="identifier"):
        to_c(made, "My net")
    with pytest.raises(ValueError, match="layouts"):
        to_c(made, layouts=["planes"])


def test_planes_of_a_ternary_matrix() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 2, (5, 70)).astype(np.int8)
    matrix = hntk.WeightMatrix(values, 1.0, "ternary")  # type: ignore[arg-type]
    mask, signs = word_planes(matrix)
    assert mask.shape == (5, 4)
    code = Steps((0, 5, 9), (4, -2, 7, 4)).code
    assert (code.base, code.jumps) == (-2, (6, 3))
    v = np.array([-2, 4, 7])[rng.integers(0, 3, 70)]
    sums = row_constants(matrix, code)
    for level, jump in zip((4, 7), code.jumps, strict=True):
        b = np.packbits(np.pad(v >= level, (0, 58)), bitorder="little").view("<u4")
        sums = sums - jump * np.array([sum(int(w).bit_count() for w in row) for row in mask & (signs ^ b)])
    np.testing.assert_array_equal(sums, values.astype(int) @ v)


@pytest.mark.slow
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(
    "activation",
    ["relu", "abs", "sign", "erf", "cos", "sin", "gaussian", "quadratic", "tanh", "sigmoid", "softplus", "silu"],
)
def test_onnx_of_floats_scores_the_same(activation: str, normalized: bool) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    data = hntk.reference_mixture(n=120, p=INPUTS, key=jax.random.key(0))
    x, law = np.asarray(data.x, np.float32), "gaussian" if normalized else "ternary"
    net = hntk.draw_network([activation] * 2, [70, 33], INPUTS, tau0=1.0, law=law, key=jax.random.key(1))
    made = hntk.fit_ridge(net, x, data.labels, ridge=0.1)
    if normalized:
        made = hntk.Classifier(made.network, made.classes, made.weights, made.offset, normalization=NORMALIZATION)
    session = onnxruntime.InferenceSession(to_onnx(made).SerializeToString())
    raw = (x * 300 + NORMALIZATION.centre).astype(np.float32) if normalized else x
    scores, labels = session.run(None, {"input": raw})
    np.testing.assert_allclose(scores, made.scores(x), atol=5e-3 if activation == "sign" else 2e-4)
    assert np.mean(labels == made.predict(x)) > 0.98


def test_onnx_has_no_functions_of_the_users_own() -> None:
    pytest.importorskip("onnx")
    mine = hntk.activation(lambda t: jnp.tanh(2 * t), name="tanh")
    net = hntk.draw_network([mine], [20], INPUTS, tau0=1.0, key=jax.random.key(1))
    made = hntk.Classifier(net, np.arange(2), np.ones((20, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="no function"):
        to_onnx(made)


def test_onnx_files_hold_two_bits_a_weight(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    made = whole_classifier(levels=4, widths=(600, 500))
    weights = sum(w.values.size for w in made.network.weights)
    sizes = {kind: write_onnx(made, tmp_path / f"{kind}.onnx", kind) for kind in ("int2", "int8")}  # type: ignore[arg-type]
    assert sizes["int2"] == (tmp_path / "int2.onnx").stat().st_size < weights / 4 + 8000
    assert weights < sizes["int8"] < weights + 8000
    with pytest.raises(ValueError, match="weights must"):
        to_onnx(made, "int4")  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_command_line_inspects_and_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def hntk_command(*words: object) -> tuple[int, str, str]:
        status = main(list(map(str, words)))
        return status, *capsys.readouterr()

    made = classifier(levels=4, widths=(100, 65))
    path = tmp_path / "net.safetensors"
    hntk.save(made, path)
    status, out, err = hntk_command("export", path, "--to", "c")
    assert (status, out) == (1, "")
    assert "--pixels" in err
    known = hntk.Classifier(made.network, made.classes, made.weights, made.offset, normalization=NORMALIZATION)
    size = hntk.save(known, path)
    _, shown, _ = hntk_command("inspect", path)
    assert f"{size:,} bytes" in shown
    assert "layer 2" in shown
    told = json.loads(hntk_command("inspect", path, "--json")[1])
    assert told["file_bytes"] == size
    assert told["layers"][0]["inputs"] == INPUTS
    assert {layer["encoding"] for layer in told["layers"][:-1]} == {"mask+signs"}
    hntk.save(known, tmp_path / "base3.safetensors", encoding="base3")
    packed = json.loads(hntk_command("inspect", tmp_path / "base3.safetensors", "--json")[1])["layers"]
    assert [layer["encoding"] for layer in packed] == ["base3", "base3", "float32"]
    assert packed[0]["bits"] == pytest.approx(1.6, abs=0.01)
    assert max(map(len, shown.splitlines()[1:6])) <= 120
    status, _, err = hntk_command("export", path, "--to", "c", "--pixels", "--name", "mine", "--out", tmp_path / "made")
    assert status == 0, err
    assert {p.name for p in (tmp_path / "made").iterdir()} == {"mine.h", "mine.c", "mine_main.c"}
    path.write_bytes(path.read_bytes()[:-1])
    # in a process of its own, as a user runs it
    damaged = subprocess.run(
        [sys.executable, "-m", "hntk", "inspect", path], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert (damaged.returncode, damaged.stdout) == (1, "")
    assert "damaged" in damaged.stderr
    assert "Traceback" not in damaged.stderr
