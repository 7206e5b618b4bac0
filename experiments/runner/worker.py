"""A separate process that predicts on one core, so that its time and memory can be measured.

``python -m experiments.runner.worker CORE KIND FILE SAMPLES`` prints its memory before it loads the network.
Then it answers every line "BATCH REPEATS" with the seconds of each of REPEATS predictions of BATCH samples.
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


class _Loaded:
    """A loaded network, and the process's memory before it was loaded."""

    def __init__(self, before: int | None, run: Callable[[np.ndarray], object]) -> None:
        self.before, self.run = before, run


def _jax(path: str) -> _Loaded:
    """Load a packed network."""
    import jax
    import jax.numpy as jnp

    import hntk

    jnp.zeros(1).block_until_ready()
    before = status_bytes(os.getpid(), "VmRSS")
    network = hntk.load(path)
    assert isinstance(network, hntk.Classifier | hntk.IntegerClassifier)
    assert jax.default_backend() == "cpu"
    return _Loaded(before, network.predict)


def _onnxruntime(path: str) -> _Loaded:
    """Load an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    before = status_bytes(os.getpid(), "VmRSS")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return _Loaded(before, lambda x: session.run(["label"], {"input": x}))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
