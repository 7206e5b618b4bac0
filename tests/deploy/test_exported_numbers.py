"""Programs of unusual sizes and numbers, and what is refused before a program is made of it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hntk
from experiments.shipping import toolchain
from hntk.deploy.c import to_c
from hntk.deploy.onnx import to_onnx, write_onnx
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.weights.weight_matrix import WeightMatrix
from tests.support.architectures import NORMALIZATION, classifier, raw_samples, whole_classifier
from tests.support.compiled import SANITIZED, run_all

INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def matrix(values: np.ndarray) -> WeightMatrix:
    return WeightMatrix(values.astype(np.int8), 1.0, "ternary")  # type: ignore[arg-type]


def made_of(
    steps: list[Steps], inputs: int = 40, width: int = 9, classes: int = 3, seed: int = 0, zeros: bool = False
) -> hntk.IntegerClassifier:
    """A network of these staircases on pixels, of random weights."""
    rng = np.random.default_rng(seed)
    shapes = [(width, inputs if i == 0 else width) for i in range(len(steps))]
    weights = tuple(matrix(np.zeros(s) if zeros else rng.integers(-1, 2, s)) for s in shapes)
    network = IntegerNetwork(Pixels(), weights, tuple(steps), np.zeros(width, np.int32), 1.0, (0.0,) * len(steps))
    readout = rng.integers(-100, 100, (classes, width)).astype(np.int16)
    return hntk.IntegerClassifier(
        network, readout, rng.integers(-9, 9, classes).astype(np.int32), np.arange(classes), 1.0
    )


def direct(made: hntk.IntegerClassifier, raw: np.ndarray) -> np.ndarray:
    v = raw.astype(np.int64)
    for number, (w, s) in enumerate(zip(made.network.weights, made.network.steps, strict=True)):
        sums = v @ np.asarray(w.values, np.int64).T + (made.network.bias if number == 0 else 0)
        v = np.asarray(s.levels)[np.searchsorted(s.thresholds, sums, side="right")]
    return v @ made.readout.T.astype(np.int64) + made.offset


def check_everywhere(made: list[hntk.IntegerClassifier], folder: Path) -> list[np.ndarray]:
    """Scores of random pixels in Python, in C of both layouts and in ONNX."""
    rng = np.random.default_rng(1)
    raw = [rng.integers(0, 256, (20, one.network.weights[0].shape[1])).astype(np.uint8) for one in made]
    wanted = [direct(one, x) for one, x in zip(made, raw, strict=True)]
    for one, x, scores in zip(made, raw, wanted, strict=True):
        np.testing.assert_array_equal(one.scores(x), scores)
    check_onnx(made, raw, wanted)
    if not toolchain.has("gcc"):
        pytest.skip("gcc is not installed")
    programs = [to_c(one, f"{how}{i}", layouts=how) for how in ("planes", "gaps") for i, one in enumerate(made)]  # type: ignore[arg-type]
    words = [(32, 64)[i % 2] for i in range(len(programs))]
    given = run_all(programs, [one.classes for one in made] * 2, raw * 2, folder, "gcc", SANITIZED, words)
    for got, scores in zip(given, wanted * 2, strict=True):
        np.testing.assert_array_equal(got.scores, scores)
        np.testing.assert_array_equal(got.indices, np.argmax(scores, axis=1))
    return wanted


def check_onnx(made: list[hntk.IntegerClassifier], raw: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    for one, x, scores in zip(made, raw, wanted, strict=True):
        session = onnxruntime.InferenceSession(to_onnx(one).SerializeToString())
        np.testing.assert_array_equal(session.run(None, {"input": x})[0], scores)


@pytest.mark.nightly
@pytest.mark.slow
def test_any_number_of_layers_of_levels_of_two_bytes(tmp_path: Path) -> None:
    steps = [Steps((-150, 0, 150), (-900, -300, 300, 900)), *[Steps((-900, 0, 900), (-900, -300, 300, 900))] * 19]
    (scores,) = check_everywhere([made_of(steps, width=30)], tmp_path)
    assert len(np.unique(scores, axis=0)) > 1


@pytest.mark.slow
def test_more_levels_than_a_byte_counts_on_planes(tmp_path: Path) -> None:
    made = []
    for levels, even in ((17, False), (256, True), (257, False), (700, True)):
        rng = np.random.default_rng(levels)
        thresholds = np.sort(rng.choice(np.arange(-1500, 1500), levels - 1, replace=False))
        values = np.arange(levels) * 3 - levels if even else rng.choice(np.arange(-2000, 2000), levels, replace=False)
        steps = Steps(tuple(thresholds.tolist()), tuple(values.tolist()))
        # the bits of a number, and not one plane a level
        assert len(steps.code.jumps) <= 13
        made.append(made_of([steps, Steps((-500, 0, 500), (-3, -1, 1, 3))]))
    for scores in check_everywhere(made, tmp_path):
        assert len(np.unique(scores, axis=0)) > 5


@pytest.mark.slow
@pytest.mark.nightly
def test_staircases_of_one_level_or_with_thresholds_at_the_ends(tmp_path: Path) -> None:
    odd = [
        Steps((), (5,)),
        Steps((), (0,)),
        Steps((3,), (4, 4)),
        Steps((0, 0, 0), (1, 9, 9, -2)),
        Steps((-5, -5, 7, 7), (1, 2, 3, 4, 5)),
        Steps((INT_MIN, INT_MAX), (-3, 1, 8)),
        Steps((INT_MIN, INT_MIN, 0, INT_MAX), (7, -3, 1, 8, 2)),
        Steps((INT_MIN,), (3, 4)),
        Steps((INT_MAX, INT_MAX), (3, 4, 5)),
        Steps((-(2**24) - 1, 2**24 + 1), (1, 2, 3)),
        Steps((10,), (-32767, 32767)),
    ]
    usual = Steps((-20, 0, 25), (-2, 0, 1, 3))
    nets = [net for steps in odd for net in ([steps], [steps, usual], [usual, steps, usual])]
    check_everywhere([made_of(net, width=7) for net in nets], tmp_path)


@pytest.mark.slow
def test_widths_and_classes_of_one_and_matrices_of_zeros(tmp_path: Path) -> None:
    steps = [Steps((-20, 0, 25), (-2, 0, 1, 3)), Steps((0,), (-1, 1))]
    sizes = [(1, 1, 1), (1, 1, 2), (64, 1, 1), (1, 65, 3), (65, 64, 1)]
    made = [made_of(steps, *size) for size in sizes]
    check_everywhere([*made, made_of(steps, 5, zeros=True), made_of(steps, 300, zeros=True)], tmp_path)


def test_cells_that_no_sum_reaches_are_left_out() -> None:
    steps = Steps((-90, -9, -9, 0, 5, 12, 80), (1, 2, 3, 4, 4, 5, 6, 7))
    assert steps.within(12) == Steps((-9, 5, 12), (2, 4, 5, 6))
    assert steps.within(11) == Steps((-9, 5), (2, 4, 5))
    for most in (0, 1, 5, 9, 12, 100):
        sums = np.arange(-most, most + 1)
        left = steps.within(most)
        cells = [np.searchsorted(s.thresholds, sums, side="right") for s in (steps, left)]
        np.testing.assert_array_equal(np.asarray(left.levels)[cells[1]], np.asarray(steps.levels)[cells[0]])


def test_programs_of_many_classes_need_no_stack(tmp_path: Path) -> None:
    if not toolchain.has("gcc"):
        pytest.skip("gcc is not installed")
    made = made_of([Steps((0,), (0, 1))], 2, 1, classes=60_000)
    built = toolchain.compile_program(to_c(made), tmp_path, "gcc", ("-O0",))
    raw = np.zeros((1, 2), np.uint8)
    limited = ["sh", "-c", f'ulimit -s 128 && exec "{built}"']
    told = subprocess.run(limited, input=raw.tobytes(), check=True, capture_output=True).stdout
    assert int(told) == np.argmax(made.scores(raw))


def test_wide_and_nearly_empty_matrices_leave_runs_of_zeros_longer_than_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((300, 1000), np.int8)
    values[rng.integers(0, 300, 40), rng.integers(0, 1000, 40)] = rng.choice([-1, 1], 40)
    network = IntegerNetwork(
        Pixels(), (matrix(values),), (Steps((-100, 1, 100), (-2, 0, 1, 3)),), np.zeros(300, np.int32), 1.0, (0.0,)
    )  # fmt: skip
    readout = rng.integers(-9, 9, (2, 300)).astype(np.int8)
    made = hntk.IntegerClassifier(network, readout, np.zeros(2, np.int32), np.arange(2), 1.0)
    (scores,) = check_everywhere([made], tmp_path)
    assert len(np.unique(scores, axis=0)) > 1


def changed(made: hntk.IntegerClassifier, **changes: object) -> hntk.IntegerClassifier:
    own = {k: v for k, v in changes.items() if hasattr(made, k)}
    inner = {k: v for k, v in changes.items() if k not in own}
    return replace(made, network=replace(made.network, **inner), **own)  # type: ignore[arg-type]


STEPS = Steps((0,), (-1, 1))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"steps": (Steps((0, -1), (1, 2, 3)),)}, "ascend"),
        ({"steps": (Steps((0,), (1, 2, 3)),)}, "levels of"),
        ({"steps": (Steps((0.5,), (1, 2)),)}, "not whole"),  # type: ignore[arg-type]
        ({"steps": (Steps((float("nan"),), (1, 2)),)}, "not whole"),  # type: ignore[arg-type]
        ({"steps": (Steps((0,), (1, 40_000)),)}, "16 bits"),
        ({"steps": (Steps(("0); evil(",), (1, 2)),)}, "not whole"),  # type: ignore[arg-type]
        ({"steps": ()}, "0 staircases"),
        ({"steps": (STEPS, STEPS)}, "2 staircases"),
        ({"weights": (), "steps": ()}, "0 weight"),
        ({"weights": (matrix(np.full((9, 40), 2)),)}, "no ternary"),
        ({"weights": (matrix(np.ones((9, 0))),)}, "shape"),
        ({"weights": (WeightMatrix(np.ones((9, 40)), 1.0, "float32"),)}, "not whole"),  # type: ignore[arg-type]
        ({"weights": (WeightMatrix(np.ones((9, 40)), 1.0, "*/ evil"),)}, "not whole"),  # type: ignore[arg-type]
        ({"weights": (matrix(np.ones((9, 70_000))),)}, "2\\*\\*24"),
        ({"inputs": Pixels(3)}, "1, 2, 4"),
        ({"inputs": Pixels("1; evil")}, "1, 2, 4"),  # type: ignore[arg-type]
        ({"inputs": Pixels(1, np.zeros(39, np.uint8))}, "pixels' centre"),
        ({"inputs": Pixels(1, np.full(40, 256))}, "pixels' centre"),
        ({"inputs": Pixels(1, np.full(40, -1))}, "pixels' centre"),
        ({"inputs": Pixels(1, np.zeros(40))}, "pixels' centre"),
        ({"inputs": Rounded(np.zeros(40, np.float32), 1.0, 40_000)}, "32767"),
        ({"inputs": Rounded(np.zeros(40, np.float32), 1.0, 0)}, "32767"),
        ({"inputs": Rounded(np.zeros(40, np.float32), float("nan"), 9)}, "factor"),
        ({"inputs": Rounded(np.zeros(40, np.float32), 1e300, 9)}, "factor"),
        ({"inputs": Rounded(np.zeros(40, np.float32), -1.0, 9)}, "factor"),
        ({"inputs": Rounded(np.full(40, np.inf, np.float32), 1.0, 9)}, "centre"),
        ({"inputs": Rounded(np.zeros(39, np.float32), 1.0, 9)}, "centre"),
        ({"inputs": None}, "pixels or rounded"),
        ({"bias": np.zeros(8, np.int32)}, "bias"),
        ({"bias": np.full(9, 2**31 - 1)}, "bias"),
        ({"bias": np.full(9, 0.5)}, "bias"),
        ({"readout": np.zeros((2, 9), np.int8)}, "do not fit"),
        ({"readout": np.zeros((3, 9))}, "int8 or int16"),
        ({"readout": np.full((3, 9), np.nan)}, "int8 or int16"),
        ({"offset": np.array([0, 0, 2**31])}, "32 bits"),
        ({"offset": np.full(3, 2**31 - 1)}, "scores could reach"),
        ({"offset": np.zeros(2, np.int32)}, "do not fit"),
        ({"classes": np.array([], int)}, "do not fit"),
    ],
    ids=lambda v: str(v)[:60] if isinstance(v, str) else next(iter(v)),
)
def test_what_programs_could_not_compute_is_refused_with_a_remedy(changes: dict, why: str) -> None:
    made = changed(made_of([STEPS]), **changes)
    for export in (to_c, to_onnx):
        with pytest.raises(ValueError, match=f"{why}.*hntk.to_integers"):
            export(made)


def test_what_is_no_classifier_is_refused_with_a_remedy() -> None:
    floats = classifier(widths=(5,))
    for wrong in (None, 5, floats.network, made_of([STEPS]).network, floats):
        with pytest.raises(TypeError, match="hntk.to_integers"):
            to_c(wrong)  # type: ignore[arg-type]
    pytest.importorskip("onnx")
    for wrong in (None, 5, floats.network, made_of([STEPS]).network):
        with pytest.raises(TypeError, match="hntk.fit_ridge"):
            to_onnx(wrong)  # type: ignore[arg-type]
    for changes in ({"weights": np.ones((4, 2))}, {"offset": np.ones(3)}):
        with pytest.raises(ValueError, match="fit the readout"):
            to_onnx(replace(floats, **changes))  # type: ignore[arg-type]
    for bad in (np.nan, np.inf, 1e300):
        with pytest.raises(ValueError, match="larger ridge"):
            to_onnx(replace(floats, weights=np.full((5, 2), bad)))
    with pytest.raises(ValueError, match="coordinates"):
        to_onnx(replace(floats, normalization=hntk.Normalization(NORMALIZATION.centre[1:], 1.0)))
    for weights in (None, 2, "int4", ["int2"]):
        with pytest.raises(ValueError, match="weights must be one of int2, int8"):
            to_onnx(floats, weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "layouts",
    [
        5,
        "",
        "plane",
        ["planes"] * 3,
        [],
        ["planes", 5],
        ["planes", None],
        ["planes", "*/"],
        {"planes": 1},
        float("nan"),
    ],
    ids=str,
)
def test_layouts_that_are_none_are_refused_with_a_remedy(layouts: object) -> None:
    with pytest.raises(ValueError, match="layouts must be 'planes', .* or 'base3'.*'smallest' or 'fastest'"):
        to_c(made_of([STEPS, STEPS]), layouts=layouts)  # type: ignore[arg-type]


def test_weights_that_are_no_blocks_have_no_transform() -> None:
    with pytest.raises(ValueError, match=r"layer 2.*no orthogonal blocks: use 'smallest'"):
        to_c(made_of([STEPS, STEPS]), layouts=["planes", "transform"])


def test_folders_that_cannot_be_written_to_are_refused_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    program, made = to_c(made_of([STEPS])), made_of([STEPS])
    file = tmp_path / "file"
    file.write_text("")
    for folder, error, why in (
        (tmp_path / "none", FileNotFoundError, "mkdir"),
        (file, NotADirectoryError, "not a folder"),
    ):
        with pytest.raises(error, match=why):
            program.write(folder)
        with pytest.raises(error, match=why):
            write_onnx(made, folder / "net.onnx")
    for wrong in (None, 5, b"folder"):
        with pytest.raises(TypeError, match=r"pathlib\.Path"):
            program.write(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"pathlib\.Path"):
            write_onnx(made, wrong)  # type: ignore[arg-type]
    # the rights of root have no end: tell it so
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="permissions"):
        program.write(tmp_path)
    with pytest.raises(PermissionError, match="permissions"):
        write_onnx(made, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == [file]


def test_models_beyond_what_a_file_of_onnx_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr("hntk.deploy.onnx_weights.MOST_WEIGHT_BYTES", 3000)
    made = whole_classifier(levels=2, widths=(100,))
    to_onnx(made, "int2")
    with pytest.raises(ValueError, match="weights='int2'"):
        to_onnx(made, "int8")
    assert raw_samples(made).shape[1] * 100 > 3000
