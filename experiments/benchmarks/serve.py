"""The process behind a worker: it prepares one task, then runs it on demand.

``python -m experiments.benchmarks.serve MODULE.FUNCTION OPTIONS [CORE]`` calls a function of this package with options
in JSON. The function returns either a function that runs the task once, or a pair ``(prepare, once)``: ``prepare``
returns the arguments of ``once`` for the sizes in a question, and its time is not measured. The process runs the task
once, which compiles it. Then it writes the memory that it took before the task was loaded, and answers these lines:

- ``run REPEATS [SIZE ...]``: the seconds of each run;
- ``restart``: its memory now;
- ``peak``: the most memory since then, beyond that;
- ``save PATH``: 1, once the last result is written as npy.

Times and bytes are those of the accelerator where JAX finds one.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from experiments.benchmarks.workers import pin
from experiments.runner.process_memory import restart_peak, status_bytes
from hntk._utils.memory import give_back_memory


class SampleCycle:
    """Samples in turn, from the first one again after the last one."""

    def __init__(self, samples: np.ndarray) -> None:
        self.samples, self.next = samples, 0

    def batch(self, size: int = 1) -> tuple[np.ndarray]:
        """Return the next samples, as the only argument of a prediction."""
        rows = np.arange(self.next, self.next + size) % len(self.samples)
        self.next = (self.next + size) % len(self.samples)
        return (self.samples[rows],)


class Server:
    """A task that is ready to run.

    Parameters
    ----------
    once : callable
        Runs the task and returns a sequence of results.
    prepare : callable
        Returns the arguments of one run, given the sizes in the question.
    """

    def __init__(self, once: Callable[..., Sequence[Any]], prepare: Callable[..., tuple] = lambda *_: ()) -> None:
        self.once, self.prepare = once, prepare
        self.result: Sequence[Any] = ()
        self.memory: int | None = None

    def answer(self, word: str, *rest: str) -> list[object]:
        """Return the numbers that answer a question."""
        if word == "run":
            repeats, *sizes = map(int, rest)
            return [self.seconds(*sizes) for _ in range(repeats)]
        if word == "restart":
            self.result = ()
            gc.collect()
            give_back_memory()
            self.memory, _ = memory()
            restart_peak()
            return [self.memory or 0]
        if word == "peak":
            _, peak = memory()
            return [0 if peak is None or self.memory is None else peak - self.memory]
        np.save(" ".join(rest), np.stack([np.asarray(r) for r in self.result]))
        return [1]

    def seconds(self, *sizes: int) -> float:
        """Run the task once and return how long it took."""
        arguments, self.result = self.prepare(*sizes), ()
        start = time.perf_counter()
        self.result = self.once(*arguments)
        for r in self.result:
            # JAX returns before it has computed.
            if hasattr(r, "block_until_ready"):
                r.block_until_ready()
        return time.perf_counter() - start


def main(task: str, options: str, core: str | None = None) -> None:
    """Serve until the standard input ends."""
    if core is not None:
        pin(os.getpid(), int(core))
    module, _, name = task.partition(".")
    make = getattr(import_module(f"experiments.benchmarks.{module}"), name)
    if "jax" in sys.modules:
        # What JAX takes to start belongs to no task.
        sys.modules["jax"].numpy.zeros(1).block_until_ready()
    before, _ = memory()
    made = make(**json.loads(options))
    server = Server(made[1], made[0]) if isinstance(made, tuple) else Server(made)
    server.seconds()
    print(before, flush=True)
    for line in sys.stdin:
        print(*server.answer(*line.split()), flush=True)


def memory() -> tuple[int | None, int | None]:
    """Return the bytes in use now and at most: of the accelerator, or of this process."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.default_backend() != "cpu":
        stats = jax.local_devices()[0].memory_stats()
        if stats:
            return stats["bytes_in_use"], stats["peak_bytes_in_use"]
    return status_bytes(os.getpid(), "VmRSS"), status_bytes(os.getpid(), "VmHWM")


if __name__ == "__main__":
    main(*sys.argv[1:])
