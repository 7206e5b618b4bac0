"""Labels, names and paths of any kind reach C, ONNX and the shell as what they are, and as nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import hntk
from experiments.shipping import toolchain
from hntk.__main__ import main
from hntk.deploy.c import to_c
from hntk.deploy.onnx import to_onnx
from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.weight_matrix import WeightMatrix
from tests.support.architectures import NORMALIZATION, classifier
from tests.support.compiled import run_all

TRIGRAPHS = ["??=", "??/", "??'", "??(", "??)", "??!", "??<", "??>", "??-"]
INJECTION = '??/", 0};\n__attribute__((constructor)) static void evil(void) { puts("evil"); }\nchar *const x[] = {"'
HOSTILE = [
    "", " ", '"', '""', '"";', "\\", "\\\\", "\\\"", "\\n", "\\0", "\\x41", "\\u00e9", "'", "''", "'\\''", INJECTION,
    *TRIGRAPHS, "??/" * 3, "???", "a??/b", "??/\n", "?\\?/", "*/", "/*", "//", "*/ int x; /*", "#include <x>", "\n",
    "\r", "\r\n", "\t", "\a\b\f\v", "%s", "%n%n", "%d%%", "<:", ":>", "<%", "%>", "%:", "%:%:", "R\"(", "L\"", "u8\"",
    "\x01", "\x011", "\x7f", "\x801", "\x85", "\x9f", "\xa0", "\x1b[31m", "é1", "ß7", "\u00e97", "\u202e", "\u2066x",
    "\u200b", "\ufeff", "\u2028", "\u4e2d\u6587", "\U0001f600", "\U0001f1e9\U0001f1ea", "e\u0301", "\U0010ffff",
    "\ud7ff", "\ufffe", "7\U0001f6007", "@name@", "@labels@", "$(touch x)", "`x`", "a" * 4095, "b" * 4096,
    "?" * 5000, "\u4e2d" * 3000,
]  # fmt: skip
STRICTEST = ("-O1", "-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-trigraphs", "-Wtrigraphs")


def labelled(classes: object, pixels: int = 3) -> hntk.IntegerClassifier:
    """A classifier of these classes, of which pixel 0 chooses one of the first four."""
    names = np.asarray(classes)
    count = names.size
    weights = WeightMatrix(np.eye(1, pixels, dtype=np.int8), 1.0, "ternary")  # type: ignore[arg-type]
    steps = Steps((1, 2, 3), (0, 1, 2, 3))
    network = IntegerNetwork(Pixels(), (weights,), (steps,), np.zeros(1, np.int32), 1.0, (0.0,))
    # the largest of 2 c v - c² is at c = v
    index = np.minimum(np.arange(count), 4)
    offset = np.where(np.arange(count) < 4, -(index**2), -1000)
    return hntk.IntegerClassifier(network, 2 * index[:, None].astype(np.int8), offset.astype(np.int32), names, 1.0)


RAW = np.array([[0, 9, 9], [1, 0, 0], [2, 5, 5], [3, 255, 1]], np.uint8)


def given(folder: Path, compiler: str, labels: np.ndarray, options: Sequence[str] = STRICTEST) -> list:
    if not toolchain.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    made = labelled(labels)
    (found,) = run_all([to_c(made)], [made.classes], [RAW], folder, compiler, options, [64])
    np.testing.assert_array_equal(found.scores, made.scores(RAW))
    return found.labels


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_labels_of_any_text_are_its_utf8_bytes_in_c(tmp_path: Path, compiler: str) -> None:
    assert given(tmp_path, compiler, np.array(HOSTILE)) == [label.encode() for label in HOSTILE]
    (tmp_path / "one").mkdir()
    assert given(tmp_path / "one", compiler, np.array(["only"])) == [b"only"]


def test_labels_before_and_after_every_character_stay_apart(tmp_path: Path) -> None:
    letters = [chr(c) for c in [*range(1, 0x180), 0x200B, 0x2029, 0xE000, 0xFFFF, 0x10000]]
    labels = [f"{a}{b}" for a in letters for b in ("", "0", "7", "a", "?")]
    assert given(tmp_path, "gcc", np.array(labels)) == [label.encode() for label in labels]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([False, True]),
        np.array([7], np.int8),
        np.array([-(2**31), 2**31 - 1]),
        np.array([2**31, -5]),
        np.array([-(2**63), 2**63 - 1, 0]),
        np.array([2**64 - 1, 2**63, 1], np.uint64),
        np.array([3, 2**31], np.uint32),
        np.array([0.1, -0.0, 5e-324, 1.7976931348623157e308, -1 / 3]),
        np.array([0.1, 1e-45, 3.4e38], np.float32),
        np.array([0.1, 6e-8], np.float16),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_labels_of_every_type_are_exact_in_c_and_in_onnx(tmp_path: Path, labels: np.ndarray) -> None:
    wanted = labels.astype({"f": float, "b": int}.get(labels.dtype.kind, labels.dtype)).tolist()
    # 0.0 equals -0.0 but does not read the same
    assert list(map(repr, given(tmp_path, "gcc", labels))) == list(map(repr, wanted))
    onnxruntime = pytest.importorskip("onnxruntime")
    made = labelled(labels)
    session = onnxruntime.InferenceSession(to_onnx(made).SerializeToString())
    scores, predicted = session.run(None, {"input": RAW})
    np.testing.assert_array_equal(scores, made.scores(RAW))
    np.testing.assert_array_equal(predicted, made.predict(RAW))
    assert predicted.dtype.kind == labels.dtype.kind or (labels.max() < 2**63 and predicted.dtype == np.int64)


def test_labels_of_any_text_are_the_same_in_onnx() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    labels = [*HOSTILE[:4], "a\0b", "\0c", *HOSTILE[4:]]
    for first in range(0, len(labels), 4):
        made = labelled(np.array(labels[first : first + 4]))
        session = onnxruntime.InferenceSession(to_onnx(made).SerializeToString())
        _, predicted = session.run(None, {"input": RAW})
        assert predicted.tolist() == made.predict(RAW).tolist()
        assert len(set(predicted)) == made.classes.size


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (np.array(["a\0b", "c"]), "NUL"),
        (np.array(["\ud800", "c"]), "surrogate"),
        (np.array(["c", "a\udfff"], object), "surrogate"),
        (np.array([1.0, np.nan]), "NaN"),
        (np.array([b"a", b"b"]), "decode"),
        (np.array(["2020-01-01"], "M8[D]"), "astype"),
        (np.array([1 + 2j]), "astype"),
        (np.array([], str), "no classes"),
        (np.array([["a", "b"]]), "shape"),
        (np.array([None, "a"], object), "missing"),
    ],
    ids=str,
)
def test_labels_that_cannot_be_are_refused_with_a_remedy(labels: np.ndarray, why: str) -> None:
    made = labelled(["a", "b"])
    count = labels.size
    made = hntk.IntegerClassifier(made.network, np.ones((count, 1), np.int8), np.zeros(count, np.int32), labels, 1.0)
    with pytest.raises(ValueError, match=why):
        to_c(made)
    if why != "NUL":
        pytest.importorskip("onnx")
        with pytest.raises(ValueError, match=why):
            to_onnx(made)
        floats = classifier(widths=(5,))
        wrong = hntk.Classifier(floats.network, labels, np.ones((5, count)), np.zeros(count))
        with pytest.raises(ValueError, match=why):
            to_onnx(wrong)


@pytest.mark.parametrize(
    "name",
    [
        "int", "main", "class", "stdint", "string", "uint8_t", "int_fast16_t", "size_t", "intptr_t", "uintmax_t", "_x",
        "x_", "a__b", "features", "", "7a", "A", "a-b", "a b", "a\n", "a.b", "../a", "é",
        "a" * 64, "a*/", "x;y", 5, None, b"net",
    ],
)  # fmt: skip
def test_names_that_c_keeps_are_refused_with_a_remedy(name: object) -> None:
    with pytest.raises(ValueError, match="name"):
        to_c(labelled(["a"]), name)  # type: ignore[arg-type]


def test_names_like_those_in_a_program_and_in_libraries_do_no_harm(tmp_path: Path) -> None:
    """All of them in one program, the names of whose functions have each other's as prefixes too."""
    names = [
        "printf", "errno_net", "put", "put16", "get_wide", "layer1", "word", "w2", "label0", "popcount", "scores",
        "predict", "take_input", "uint64", "net", "net_word", "net_net", "a" * 63, "hntk", "hntk_kernels",
    ]  # fmt: skip
    made = labelled(["b" * 5000, "c", "a"])
    programs = [to_c(made, name, layouts=("planes", "gaps")[i % 2 :][:1]) for i, name in enumerate(names)]
    count = len(names)
    words = [32 + 32 * (i % 2) for i in range(count)]
    found = run_all(programs, [made.classes] * count, [RAW] * count, tmp_path, "gcc", STRICTEST, words)
    for one in found:
        np.testing.assert_array_equal(one.scores, made.scores(RAW))


def test_headers_are_c_plus_plus_too(tmp_path: Path) -> None:
    if not toolchain.has("g++"):
        pytest.skip("g++ is not installed")
    for labels in (HOSTILE, [1, 2**40], [0.5, 1.5], [True, False]):
        program = to_c(labelled(labels))
        program.write(tmp_path)
        (tmp_path / "uses.cpp").write_text(
            '#include "hntk_net.h"\nint main() {\n    static hntk_net_word scratch[HNTK_NET_SCRATCH_BYTES];\n'
            "    static uint8_t input[HNTK_NET_INPUTS];\n    return hntk_net_predict(input, scratch);\n}\n"
        )
        toolchain.compile_files([tmp_path / "hntk_net.c"], tmp_path / "net.o", "gcc", ("-c", f"-I{tmp_path}"))
        command = ["g++", "-std=c++11", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "uses.cpp", "net.o"]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert subprocess.run([tmp_path / "a.out"]).returncode == 0


@pytest.mark.parametrize("folder", ['it\'s "odd"; touch evil', "$(touch evil)", "two\nlines", "-o", "`touch evil`"])
def test_the_command_that_is_printed_compiles_whatever_the_folder(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = classifier(widths=(5,))
    known = hntk.Classifier(made.network, made.classes, made.weights, made.offset, normalization=NORMALIZATION)
    hntk.save(known, tmp_path / "net.safetensors")
    assert main(["export", "net.safetensors", "--to", "c", "--pixels", f"--out={folder}"]) == 0
    printed = capsys.readouterr().out
    command = printed[printed.index("cc -std=c99") :]
    subprocess.run(["sh", "-c", command.replace("cc ", "gcc ", 1)], check=True, capture_output=True)
    assert (tmp_path / "hntk_net").exists()
    assert not (tmp_path / "evil").exists()
