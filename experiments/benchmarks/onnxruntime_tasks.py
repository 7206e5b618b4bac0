"""Predictions by onnxruntime, in a process that does not import JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime

from experiments.benchmarks.serve import SampleCycle


def predictions(path: str, data: str) -> tuple[Callable[..., tuple], Callable[[np.ndarray], Sequence[Any]]]:
    """Predict batches with an ONNX file, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return SampleCycle(np.load(data)).batch, lambda x: session.run(["label"], {"input": x})
