"""Programs that predict on one core: dense float32 and int8 networks, and packed ones in JAX, ONNX and C."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import hntk
from experiments.benchmarks.workers import Timing, task_command
from experiments.runner.console import stage
from experiments.shipping import toolchain
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.c_batch import BLOCK
from hntk.deploy.c_values import readers
from hntk.deploy.onnx import ProductForm, write_onnx
from hntk.deploy.onnx_weights import BlockForm
from hntk.weights.bit_planes import word_planes
from hntk.weights.orthogonal import OrthogonalMatrix

NATIVE = Path(__file__).parent / "native"
REFERENCE = "dense float32, onnxruntime"
DENSE8 = "dense int8, onnxruntime"
# Size of a buffer in bytes that stays in the core's nearest cache while its ones are counted.
NEAR = 16384


@dataclass(frozen=True)
class Work:
    """The least work of a prediction.

    Attributes
    ----------
    read : int or None
        Bytes of weights; None where it is not known.
    counts : int
        Words of 64 bits whose ones are counted.
    multiplies : int
        Multiply-adds of float32.
    shared_by : int or None
        Images that weights are read for once; None for a whole batch.
    adds : bool
        Whether most of the work is additions, at a rate that is not measured; there is no limit then.
    """

    read: int | None = None
    counts: int = 0
    multiplies: int = 0
    shared_by: int | None = None
    adds: bool = False

    def limit(self, rates: Mapping[tuple[str, int], float], batch: int) -> tuple[float | None, str | None]:
        """Return the least seconds for an image, and what sets that limit; None where it is not known.

        Parameters
        ----------
        rates : mapping
            By (kind, size), units a second that the core reached.
        batch : int
            Images of a prediction.
        """
        bounds = {}
        if self.read:
            sharing = batch if self.shared_by is None else min(batch, self.shared_by)
            bounds["memory"] = self.read / rates["read", self.read] / sharing
        if self.counts:
            bounds["popcount"] = self.counts / rates["count", NEAR]
        if self.multiplies:
            bounds["multiply-add"] = self.multiplies / rates["multiply", 0]
        if not bounds or self.adds or (batch > 1 and not (self.counts or self.multiplies)):
            return None, None
        name = max(bounds, key=lambda key: bounds[key])
        return bounds[name], name


@dataclass
class Program:
    """One program that predicts.

    Attributes
    ----------
    name : str
        Its name in tables.
    command : sequence of str
        The command that starts it as a worker.
    file : int
        Bytes of the file that is shipped.
    work : Work
        The least work of a prediction.
    timings : dict
        By batch, the seconds of a prediction.
    """

    name: str
    command: Sequence[str]
    file: int
    work: Work
    timings: dict[int, Timing] = field(default_factory=dict)


def build_programs(
    original: hntk.Classifier,
    whole: hntk.IntegerClassifier,
    raw: np.ndarray,
    x: np.ndarray,
    folder: Path,
    compilers: Sequence[str] = toolchain.COMPILERS,
) -> list[Program]:
    """Write every program that can be built here into the folder.

    Parameters
    ----------
    original : Classifier
        The dense network, for normalised samples.
    whole : IntegerClassifier
        The compressed network in whole numbers, for raw samples.
    raw, x : (n, p) array
        The same samples, raw and normalised.
    folder : Path
        Where files go.
    compilers : sequence of str
        Compilers of the C programs, of which those that are installed are used.
    """
    files = {"x": x, "raw": raw, "raw32": raw.astype(np.float32)}
    samples = {name: folder / f"{name}.npy" for name in files}
    for name, array in files.items():
        np.save(samples[name], array)
    n = sum(w.values.size for w in original.network.weights) + original.weights.size
    words = sum(plane.nbytes for w in whole.network.weights for plane in word_planes(w))
    transforms = any(isinstance(w, OrthogonalMatrix) for w in whole.network.weights)
    packed_work = Work() if transforms else Work(words + 8 * whole.readout.size, popcounts(whole))
    dense, packed = folder / "dense.safetensors", folder / "net.safetensors"
    with stage("writing files"):
        original.save(dense)
        whole.save(packed)
    return [
        _python_program("dense float32, JAX", "network_tasks", dense, samples["x"], Work(4 * n, 0, n)),
        *_onnx_programs(original, whole, n, samples, folder),
        _python_program("hntk, JAX", "network_tasks", packed, samples["raw"], packed_work),
        *_c_programs(whole, raw, folder, compilers),
    ]


def last_core() -> int:
    """Return the last core that this process may use, which systems use least."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def popcounts(whole: hntk.IntegerClassifier) -> int:
    """Return how many words of 64 bits one prediction counts the ones of, where all layers work on bit planes."""
    *layers, _ = readers(whole.network)
    return sum(
        layer.weights.shape[0] * -(-layer.count // 64) * len(layer.values("planes").code.jumps)
        for layer in layers
        if layer.weights is not None
    )


def _python_program(name: str, module: str, path: Path, samples: Path, work: Work) -> Program:
    command = task_command(f"{module}.predictions", {"path": str(path), "data": str(samples)}, last_core())
    return Program(name, command, path.stat().st_size, work)


def _onnx_programs(
    original: hntk.Classifier, whole: hntk.IntegerClassifier, n: int, samples: Mapping[str, Path], folder: Path
) -> Iterator[Program]:
    try:
        import onnxruntime  # noqa: F401
        from onnxruntime.quantization import quantize_dynamic
    except ImportError:
        raise ImportError("the peer to compare with is onnxruntime: make setup.") from None
    dense, quantised = folder / "dense.onnx", folder / "dense8.onnx"
    with stage("writing ONNX files"):
        write_onnx(original, dense)
        # onnxruntime advises a preprocessing pass, which a network of three products does not need.
        logging.disable(logging.WARNING)
        quantize_dynamic(dense, quantised)
        logging.disable(logging.NOTSET)
    yield _python_program(REFERENCE, "onnxruntime_tasks", dense, samples["raw32"], Work(4 * n, 0, n))
    yield _python_program(DENSE8, "onnxruntime_tasks", quantised, samples["raw32"], Work(n))
    # the readout is multiplied in float64
    explicit = sum(w.shape[0] * w.shape[1] for w in whole.network.weights) + 8 * whole.readout.size
    forms: dict[str, tuple[BlockForm, ProductForm, Work]] = {
        "hntk in int8, onnxruntime": ("explicit", "fastest", Work(explicit)),
        "hntk in float32, onnxruntime": ("explicit", "portable", Work()),
    }
    if any(isinstance(w, OrthogonalMatrix) for w in whole.network.weights):
        forms["hntk in transforms, onnxruntime"] = ("transform", "fastest", Work())
    for name, (blocks, form, work) in forms.items():
        path = folder / f"net.{form}.{blocks}.onnx"
        with stage(f"checking {name}"):
            write_onnx(whole, path, "int8", blocks=blocks, form=form)
            _check_onnx(path, whole, np.load(samples["raw"]))
        yield _python_program(name, "onnxruntime_tasks", path, samples["raw"], work)


def _check_onnx(path: Path, whole: hntk.IntegerClassifier, raw: np.ndarray) -> None:
    """Raise an error if onnxruntime computes other scores or classes than the network."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    scores, labels = map(np.asarray, session.run(["scores", "label"], {"input": raw}))
    if not (np.array_equal(scores, whole.scores(raw)) and np.array_equal(labels, whole.predict(raw))):
        raise toolchain.ToolError(f"onnxruntime computes other scores than the network from {path}.")


def c_programs(whole: hntk.IntegerClassifier) -> dict[str, CProgram]:
    """Return the C programs by name: as exported by default, and on bit planes throughout where that differs."""
    programs = {"hntk, C99": to_c(whole)}
    if set(programs["hntk, C99"].layouts) != {"planes"}:
        programs["hntk, C99 on bit planes"] = to_c(whole, layouts="planes")
    return programs


def _c_programs(
    whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path, compilers: Sequence[str]
) -> Iterator[Program]:
    samples = folder / "raw.bin"
    samples.write_bytes(raw.tobytes())
    sample_type = "uint8_t" if raw.dtype == np.uint8 else "float"
    options = (*toolchain.FAST, f"-DSAMPLE_TYPE={sample_type}", "-DHNTK_NET_BATCH")
    for number, (name, program) in enumerate(c_programs(whole).items()):
        adds = set(program.layouts) != {"planes"}
        work = Work(program.table_bytes, 0 if adds else popcounts(whole), 0, 1 if adds else BLOCK, adds)
        for compiler in toolchain.installed(*compilers):
            target = folder / f"{compiler}{number or ''}"
            target.mkdir(exist_ok=True)
            with stage(f"compiling with {compiler}"):
                _check_predictions(program, whole, raw, target, compiler)
                built = toolchain.compile_program(program, target, compiler, options, NATIVE / "bench.c")
            command = [str(built), str(samples), str(len(raw))]
            yield Program(f"{name} with {compiler}", command, program.table_bytes, work)


def _check_predictions(
    program: CProgram, whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path, compiler: str
) -> None:
    """Raise an error if the compiled program predicts other classes than the network."""
    predicted = whole.classes[toolchain.run_program(toolchain.compile_program(program, folder, compiler), raw)]
    if not np.array_equal(predicted, whole.predict(raw)):
        raise toolchain.ToolError(f"{compiler} made a program that predicts other classes; it is in {folder}.")
