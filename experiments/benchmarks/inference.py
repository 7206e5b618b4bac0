"""Time and memory of predictions on one core: dense float32 and int8, against packed ones in JAX, ONNX and C.

Each is a process of its own, pinned to the same core; they take turns, round after round, so that what else the
machine does falls on all of them. Limits are measured on that core in the same rounds.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import hntk
from experiments.figures import style as figures
from experiments.runner.child_process import working
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, show_table, stage
from experiments.runner.record import Record
from experiments.runner.setting import raw_dataset
from experiments.shipping import shipping, toolchain
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.onnx import write_onnx
from hntk.weights.bit_planes import word_planes

NATIVE = Path(__file__).parent / "native"
COMPILERS = ("gcc", "clang")
REFERENCE = "dense float32, onnxruntime"
# words that stay next to the core while their ones are counted
NEAR = 16384
FEWEST, MOST = 3, 2000
# processors that valgrind knows
BUILDS = {"portable": (), "x86-64-v3": ("-march=x86-64-v3",)}
MEMORY = ["program", "file", "dense/file", "reads an image", "peak MB", "of it network, MB"]
SPEED = ["program", "µs an image", "from", "to", "images/s", "times onnxruntime", "limit, µs", "set by", "limit/time"]


@dataclass(frozen=True)
class Work:
    """What a prediction must do at least.

    Attributes
    ----------
    read : bytes of weights; None where it is not known.
    counts : words of 64 bits whose ones are counted.
    multiplies : multiply-adds of float32.
    passes : whether weights are read for every image anew, not once a batch.
    """

    read: int | None = None
    counts: int = 0
    multiplies: int = 0
    passes: bool = False


@dataclass
class Contender:
    """One program.

    Attributes
    ----------
    name : in tables.
    command : that starts it.
    file : bytes of what is shipped.
    work : what a prediction takes.
    seconds : by batch, the median of every round.
    """

    name: str
    command: Sequence[str]
    file: int
    work: Work
    seconds: dict[int, list[float]] = field(default_factory=dict)


def run(cfg: Config, record: Record) -> None:
    """Make both networks, build every program, and measure them in turns."""
    with stage(f"loading {cfg.data.name}"):
        data = raw_dataset(cfg.data, cfg.seed)
    original, whole = shipping.dense(cfg, data), shipping.compressed(cfg, data).whole
    raw = data.raw(data.x_test[: cfg.experiment.samples])
    contenders = _contenders(original, whole, raw, data.x_test[: len(raw)], record.folder)
    limits, memory = _measure(cfg, contenders, record.folder)
    _report_memory(record, contenders, memory)
    for batch in cfg.experiment.batches:
        _report_speed(record, contenders, limits, int(batch))
    _count_instructions(record, whole, raw)
    panels = {f"batch {b}": _bars(contenders, limits, int(b)) for b in cfg.experiment.batches}
    widths = "-".join(map(str, cfg.net.widths))
    record.add_figure("inference", figures.inference_figure(panels, f"{cfg.data.name}, widths {widths}, one core"))


def _contenders(
    original: hntk.Classifier, whole: hntk.IntegerClassifier, raw: np.ndarray, x: np.ndarray, folder: Path
) -> list[Contender]:
    """Every program that can be built here, its file in the folder."""
    normalised, plain, floats = folder / "x.npy", folder / "raw.npy", folder / "raw32.npy"
    for path, samples in ((normalised, x), (plain, raw), (floats, raw.astype(np.float32))):
        np.save(path, samples)
    n = sum(w.values.size for w in original.network.weights) + original.weights.size
    words = sum(plane.nbytes for w in whole.network.weights for plane in word_planes(w))
    counts = _counts(whole)
    python = [sys.executable, "-m", "experiments.runner.worker", str(_core())]
    dense, packed = folder / "dense.safetensors", folder / "net.safetensors"
    with stage("writing files"):
        sizes = {path: what.save(path) for path, what in ((dense, original), (packed, whole))}
    return [
        Contender("dense float32, JAX", [*python, "jax", str(dense), str(normalised)], sizes[dense], Work(4 * n, 0, n)),
        *_onnx(original, whole, n, python, {"float": floats, "whole": plain}, folder),
        Contender(
            "hntk, JAX", [*python, "jax", str(packed), str(plain)], sizes[packed],
            Work(words + 8 * whole.readout.size, counts),
        ),
        *_compiled(whole, raw, counts, folder),
    ]  # fmt: skip


def _core() -> int:
    """The last one, which systems use least."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _counts(whole: hntk.IntegerClassifier) -> int:
    """Words of 64 bits whose ones one prediction counts where all layers work on planes."""
    values = [whole.network.inputs, *whole.network.steps]
    return sum(
        w.shape[0] * -(-w.shape[1] // 64) * len(v.code.jumps)
        for w, v in zip(whole.network.weights, values, strict=False)
    )


def _onnx(
    original: hntk.Classifier,
    whole: hntk.IntegerClassifier,
    n: int,
    python: Sequence[str],
    samples: Mapping[str, Path],
    folder: Path,
) -> Iterator[Contender]:
    try:
        import onnxruntime  # noqa: F401
        from onnxruntime.quantization import quantize_dynamic
    except ImportError:
        raise ImportError("the peer to compare with is onnxruntime: make setup-export.") from None
    paths = {name: folder / f"{name}.onnx" for name in ("dense", "dense8", "net8")}
    with stage("writing ONNX files"):
        sizes = {"dense": write_onnx(original, paths["dense"]), "net8": write_onnx(whole, paths["net8"], "int8")}
        # it advises a pass that a network of three products does not need
        logging.disable(logging.WARNING)
        quantize_dynamic(paths["dense"], paths["dense8"])
        logging.disable(logging.NOTSET)
        sizes["dense8"] = paths["dense8"].stat().st_size

    def made(name: str, what: str, data: str, work: Work) -> Contender:
        return Contender(name, [*python, "onnxruntime", str(paths[what]), str(samples[data])], sizes[what], work)

    yield made(REFERENCE, "dense", "float", Work(4 * n, 0, n))
    yield made("dense int8, onnxruntime", "dense8", "float", Work(n))
    yield made("hntk in int8, onnxruntime", "net8", "whole", Work())


def _compiled(whole: hntk.IntegerClassifier, raw: np.ndarray, counts: int, folder: Path) -> Iterator[Contender]:
    program, samples = to_c(whole), folder / "raw.bin"
    samples.write_bytes(raw.tobytes())
    # a net of other layouts adds numbers up, at a rate that is not measured
    work = Work(program.table_bytes, counts if set(program.layouts) == {"planes"} else 0, 0, passes=True)
    options = (*toolchain.FAST, f"-DSAMPLE_TYPE={_sample_type(raw)}")
    for compiler in COMPILERS:
        if not toolchain.has(compiler):
            CONSOLE.print(f"  [yellow]left out[/] {compiler}, which is not installed (make setup-tools)")
            continue
        target = folder / compiler
        target.mkdir(exist_ok=True)
        with stage(f"compiling with {compiler}"):
            _check(program, whole, raw, target, compiler)
            built = toolchain.compile_program(program, target, compiler, options, NATIVE / "bench.c")
        command = [str(built), str(samples), str(len(raw))]
        yield Contender(f"hntk, C99 with {compiler}", command, program.table_bytes, work)


def _sample_type(raw: np.ndarray) -> str:
    return "uint8_t" if raw.dtype == np.uint8 else "float"


def _check(program: CProgram, whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path, compiler: str) -> None:
    """What is fast must be right."""
    found = whole.classes[toolchain.run_program(toolchain.compile_program(program, folder, compiler), raw)]
    if not np.array_equal(found, whole.predict(raw)):
        raise toolchain.ToolError(f"{compiler} made a program that predicts other classes; it is in {folder}.")


def _measure(
    cfg: Config, contenders: list[Contender], folder: Path
) -> tuple[dict[tuple[str, int], float], dict[str, tuple[int | None, int | None]]]:
    """Rates of the core, and (memory before, most memory) of every contender; their seconds are noted with them."""
    settings, core, sizes = cfg.experiment, _core(), sorted({c.work.read for c in contenders if c.work.read})
    asked = [("read", size) for size in sizes] + [("count", NEAR), ("multiply", 0)]
    rates: dict[tuple[str, int], list[float]] = {question: [] for question in asked}
    toolchain.compile_files([NATIVE / "limits.c"], folder / "limits")
    with ExitStack() as stack:
        limits = stack.enter_context(working([str(folder / "limits")], core, folder / "limits.log"))
        with stage("starting"):
            workers = [
                stack.enter_context(working(c.command, core, folder / f"worker{i}.log"))
                for i, c in enumerate(contenders)
            ]
        repeats = {}
        with progress("warming up", len(workers) * len(settings.batches)) as advance:
            for contender, worker in zip(contenders, workers, strict=True):
                for batch in settings.batches:
                    worker.ask(batch, FEWEST)
                    once = float(np.median(worker.ask(batch, FEWEST)))
                    repeats[contender.name, batch] = int(np.clip(settings.seconds / once, FEWEST, MOST))
                    advance()
        with progress("rounds", settings.rounds * len(workers)) as advance:
            for _ in range(settings.rounds):
                for question in asked:
                    rates[question] += limits.ask(*question)
                for contender, worker in zip(contenders, workers, strict=True):
                    for batch in settings.batches:
                        seconds = worker.ask(batch, repeats[contender.name, batch])
                        contender.seconds.setdefault(int(batch), []).append(float(np.median(seconds)))
                    advance()
        memory = {c.name: (w.before, w.peak) for c, w in zip(contenders, workers, strict=True)}
    # what was reached once can be reached
    return {question: max(found) for question, found in rates.items()}, memory


def _limit(work: Work, limits: Mapping[tuple[str, int], float], batch: int) -> tuple[float | None, str | None]:
    """Seconds an image that cannot be undercut, and by what."""
    bounds = {}
    if work.read:
        bounds["memory"] = work.read / limits["read", work.read] / (1 if work.passes else batch)
    if work.counts:
        bounds["popcount"] = work.counts / limits["count", NEAR]
    if work.multiplies:
        bounds["multiply-add"] = work.multiplies / limits["multiply", 0]
    if not bounds or (batch > 1 and not (work.counts or work.multiplies)):
        return None, None
    name = max(bounds, key=lambda key: bounds[key])
    return bounds[name], name


def _report_memory(
    record: Record, contenders: list[Contender], memory: Mapping[str, tuple[int | None, int | None]]
) -> None:
    dense, rows = contenders[0].file, []
    for contender in contenders:
        before, peak = memory[contender.name]
        beyond = None if peak is None else (peak - (before or 0)) / 1e6
        rows.append([contender.name, contender.file, dense / contender.file, contender.work.read,
                     None if peak is None else peak / 1e6, beyond])  # fmt: skip
        record.add_metrics(
            **{f"bytes/{contender.name}": contender.file, f"peak/{contender.name}": peak,
               f"peak_beyond_start/{contender.name}": beyond}
        )  # fmt: skip
    record.add_table("memory", MEMORY, rows)
    show_table("bytes of what is shipped (of C its tables), and memory of the process", MEMORY, rows)


def _report_speed(
    record: Record, contenders: list[Contender], limits: Mapping[tuple[str, int], float], batch: int
) -> None:
    reference = next(c for c in contenders if c.name == REFERENCE).seconds[batch]
    rows: list[list[Any]] = []
    for contender in contenders:
        each = np.array(contender.seconds[batch]) / batch
        low, middle, high = np.quantile(each, (0.25, 0.5, 0.75))
        # the two of one round saw the same machine
        ratio = float(np.median(np.array(reference) / contender.seconds[batch]))
        limit, by = _limit(contender.work, limits, batch)
        bound = [None] * 3 if limit is None else [1e6 * limit, by, limit / middle]
        rows.append([contender.name, 1e6 * middle, 1e6 * low, 1e6 * high, round(1 / middle), ratio, *bound])
        key = f"{batch}/{contender.name}"
        record.add_metrics(**{f"seconds/{key}": float(middle), f"speed/{key}": ratio, f"limit/{key}": limit})
    record.add_table(f"batch{batch}", SPEED, rows)
    record.add_chart(f"batch {batch}", "bar", f"batch{batch}", "program", "µs an image")
    rounds = len(reference)
    title = f"batch {batch}, one core: median of {rounds} rounds, and the middle half of them; limits are the fastest's"
    show_table(title, SPEED, rows)


def _count_instructions(record: Record, whole: hntk.IntegerClassifier, raw: np.ndarray) -> None:
    """Instructions an image, which do not depend on the machine's speed."""
    if not toolchain.has("valgrind", "gcc"):
        CONSOLE.print("  [yellow]left out[/] instruction counts: valgrind is not installed (make setup-tools)")
        return
    program, rows = to_c(whole), []
    for name, march in BUILDS.items():
        if march and platform.machine() != "x86_64":
            continue
        folder = record.folder / name
        folder.mkdir(exist_ok=True)
        with stage(f"counting instructions, {name}"):
            built = toolchain.compile_program(program, folder, "gcc", ("-O3", *march))
            few, more = (toolchain.instructions(built, raw[:k]) for k in (1, 5))
        rows.append([f"gcc -O3, {name}", round((more - few) / 4)])
        record.add_metrics(**{f"instructions/{name}": rows[-1][1]})
    record.add_table("instructions", ["build", "instructions an image"], rows)
    show_table("instructions of the C program, by callgrind", ["build", "instructions an image"], rows)


def _bars(
    contenders: list[Contender], limits: Mapping[tuple[str, int], float], batch: int
) -> list[tuple[str, float, float | None]]:
    """(name, µs an image, limit) for the figure."""
    found = []
    for contender in contenders:
        limit, _ = _limit(contender.work, limits, batch)
        middle = float(np.median(contender.seconds[batch])) / batch
        found.append((contender.name, 1e6 * middle, None if limit is None else 1e6 * limit))
    return found
