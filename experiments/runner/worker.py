"""A process of its own that predicts on one core, so that its time and its memory are nobody else's.

``python -m experiments.runner.worker CORE KIND FILE SAMPLES`` writes a line with its memory before the network is
there, then answers every line "BATCH REPEATS" by the seconds of so many predictions, so often.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np

from experiments.runner.child_process import pin, status_bytes


def main(core: int, kind: str, path: str, samples: str) -> None:
    """Serve until the standard input ends."""
    pin(os.getpid(), core)
    x = np.load(samples)
    predict = {"jax": _jax, "onnxruntime": _onnxruntime}[kind](path)
    print(predict.before, flush=True)
    at = 0
    for line in sys.stdin:
        batch, repeats = map(int, line.split())
        seconds = []
        for _ in range(repeats):
            rows = np.arange(at, at + batch) % len(x)
            part, at = x[rows], (at + batch) % len(x)
            start = time.perf_counter()
            predict.run(part)
            seconds.append(time.perf_counter() - start)
        print(*seconds, flush=True)


class _Ready:
    """Something that predicts, and the process's memory before it was there."""

    def __init__(self, before: int | None, run: Callable[[np.ndarray], object]) -> None:
        self.before, self.run = before, run


def _jax(path: str) -> _Ready:
    import jax
    import jax.numpy as jnp

    import hntk

    jnp.zeros(1).block_until_ready()
    before = status_bytes(os.getpid(), "VmRSS")
    found = hntk.load(path)
    assert isinstance(found, hntk.Classifier | hntk.IntegerClassifier)
    assert jax.default_backend() == "cpu"
    return _Ready(before, found.predict)


def _onnxruntime(path: str) -> _Ready:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    before = status_bytes(os.getpid(), "VmRSS")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return _Ready(before, lambda x: session.run(["label"], {"input": x}))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
