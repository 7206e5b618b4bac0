"""Tests of sweeps by default, of the launchers' names, and of signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_class

from experiments.runner import command_line, launching, stopping
from tests.support.command_line import ROOT

LAUNCHERS = sorted((ROOT / "conf" / "hydra" / "launcher").glob("*.yaml"))


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
def test_launchers_are_named_by_what_can_be_imported(path: Path) -> None:
    target = yaml.safe_load(path.read_text())["hydra"]["launcher"]["_target_"]
    assert get_class(target) is launching.Surviving
    assert target == launching.TARGET


def test_no_configuration_group_says_that_a_run_is_a_sweep() -> None:
    """Hydra 1.4 reads the mode from the command line and the primary configuration only."""
    for path in (ROOT / "conf").rglob("*.yaml"):
        content = yaml.safe_load(path.read_text()) or {}
        assert "mode" not in (content.get("hydra") or {}), path


@pytest.mark.parametrize(
    ("words", "sweep"),
    [
        (["+exp=memory", "data=mnist"], True), (["+exp=frontier"], True), (["+exp=gmm"], False),
        (["-m", "+exp=memory"], False), (["+exp=memory", "hydra.mode=RUN"], False), (["exp=memory"], True),
        (["+exp=memory_of_mine"], False), ([], False),
    ],
)  # fmt: skip
def test_experiments_with_a_plan_are_sweeps_by_default(words: list[str], sweep: bool) -> None:
    found = command_line.as_sweep(words)
    assert ("hydra.mode=MULTIRUN" in found) == sweep
    assert [word for word in found if word != "hydra.mode=MULTIRUN"] == words


def test_settings_stay_together_where_options_follow() -> None:
    assert command_line.as_sweep(["+exp=memory", "--cfg", "job"]) == [
        "+exp=memory",
        "hydra.mode=MULTIRUN",
        "--cfg",
        "job",
    ]


def test_the_command_line_imports_no_jax() -> None:
    code = "import sys, experiments.runner.task; print({'jax', 'hntk', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# waits for a signal in a sleep, or in a destructor, where Python drops exceptions; then reports its clean-up
WAIT = """
import signal, sys, time
from experiments.runner import stopping
# as when started from a terminal: a child would inherit the signals that this process ignores
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
stopping.listen()

class Dropping:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(20)

try:
    if sys.argv[1] == "dropped":
        Dropping()
    else:
        print("ready", flush=True)
    time.sleep(20)
finally:
    print("cleaned up")
"""

# the signal comes within a write to the standard output, whose buffer then refuses another
WITHIN = """
import io, os, signal, sys
from experiments.runner import stopping
signal.signal(signal.SIGTERM, signal.SIG_DFL)
stopping.listen()

class Signalling(io.FileIO):
    written = False
    def write(self, data):
        if not self.written:
            self.written = True
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(data)

sys.stdout = io.TextIOWrapper(io.BufferedWriter(Signalling(1, "w")))
print("ready", flush=True)
"""


def test_a_signal_within_a_write_ends_a_sweep_too() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHIN], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 143, ended.stderr
    assert "the same command goes on from here" in ended.stdout


@pytest.mark.parametrize("kind", ["plain", "dropped"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, -2)])
def test_a_signal_ends_a_sweep_by_way_of_its_clean_up(kind: str, number: int, status: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAIT, kind], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        out, _ = process.communicate(timeout=60)
    # after KeyboardInterrupt, Python ends by the signal itself
    assert process.returncode == status
    assert "cleaned up" in out
    assert ("the same command goes on from here" in out) == (number != signal.SIGINT)


def test_jobs_in_a_queue_are_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, **_: called.append(words))
    for name in ("17_0", "17_1", "23_4", "notes"):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / "23_4", (1000, 1000))
    stopping.cancel_queued(tmp_path, since=2000.0)
    assert called == [["scancel", "17"]]
    stopping.cancel_queued(tmp_path / "nothing", since=0.0)
    assert len(called) == 1
