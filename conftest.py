"""Tests and documented examples compute in float64; where processes share the cores out, each has one of its own."""

import os


def _keep_to_one_core() -> None:
    """Of pytest-xdist's processes; threads of all of them on all cores would wait for each other most of the time."""
    worker, count = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker is None or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if count >= len(cores):
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


# before anything starts threads
_keep_to_one_core()

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)
