"""Experiments in processes that begin with everything imported, which takes a process of its own seconds.

A server imports once what experiments import, but starts no backend of JAX, whose threads a fork would lose. For each
experiment it forks a process, which then goes on as ``python -m experiments.run`` does.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_forked(words: Sequence[str], environment: Mapping[str, str], seconds: float) -> tuple[int, str, str]:
    """Run an experiment to its end.

    Parameters
    ----------
    words : sequence of str
        The settings of its command line.
    environment : mapping
        Its environment variables. Those that JAX reads on import are the ones that this process has at the first call.
    seconds : float
        How long it may take.

    Returns
    -------
    int
        The exit status.
    str
        The standard output.
    str
        The standard error.

    Raises
    ------
    TimeoutError
        If it takes longer; the server and the experiment are then ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        request = {"words": list(words), "environment": dict(environment), "out": str(out), "err": str(err)}
        return _server().ask(request, seconds), out.read_text(), err.read_text()


class _Server:
    """The process that forks, started at the first call and ended with this process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        atexit.register(self._process.communicate)

    def ask(self, request: dict[str, Any], seconds: float) -> int:
        """Have an experiment run, and return its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            os.killpg(self._process.pid, 9)
            _server.cache_clear()
            raise TimeoutError(f"{' '.join(request['words'])} took more than {seconds} seconds")
        return int(self._process.stdout.readline())


@cache
def _server() -> _Server:
    return _Server()


def _import_everything() -> None:
    """Import what experiments import."""
    import jax  # noqa: F401
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot  # noqa: F401

    from experiments.runner import catalog, command_line, composition, launching, summary, task  # noqa: F401

    for experiment in catalog.EXPERIMENTS:
        experiment.load()


def _serve() -> dict[str, Any] | None:
    """Answer each request with the exit status; return the request in the process forked for it, None at the end."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def _become(request: dict[str, Any]) -> None:
    """Go on as the experiment; what it leaves for the interpreter's end is done there."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY), (1, request["out"], os.O_WRONLY | os.O_CREAT),
        (2, request["err"], os.O_WRONLY | os.O_CREAT),
    ):  # fmt: skip
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["words"]
    runpy.run_module("experiments.run", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    # what is run as a module finds modules in the working folder
    sys.path[0] = str(ROOT)
    _import_everything()
    # shared with the processes forked
    gc.freeze()
    wanted = _serve()
    if wanted is not None:
        _become(wanted)
