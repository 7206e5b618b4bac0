"""Kernels on disk: whole after kills, on full and read-only disks, with two writers; or an error, never zeros."""

from __future__ import annotations

import ast
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.activations.base import Activation
from hntk.activations.fingerprint import fingerprint
from hntk.kernels import kernel_identity, stored
from tests.support.samples import two_classes

X, _ = two_classes(40, 20)
NET = ["relu", "erf"]
# a process that stores kernels, as many times as it is asked for and said slowly enough to be killed in between
CHILD = """
import resource, sys, time
import numpy as np, jax
jax.config.update("jax_enable_x64", True)
import hntk
from hntk.kernels import journal, stored
folder, x, slowly, most = sys.argv[1], np.load(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
write = journal.Journal.write
def slow(self):
    time.sleep(slowly)
    write(self)
    time.sleep(slowly)
journal.Journal.write = slow
print("ready", flush=True)
for line in sys.stdin:
    try:
        hntk.store_kernels(line.strip() or folder, x, ["relu", "erf"], tile=8)
        print("done", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""


@contextmanager
def child(folder: Path, samples: Path, slowly: float = 0.0, most: int = 0) -> Iterator[subprocess.Popen]:
    """Such a process; ``most`` limits the bytes of a file."""
    command = [sys.executable, "-c", CHILD, str(folder), str(samples), str(slowly), str(most)]
    root = Path(hntk.__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield started


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, X)
    return path


@pytest.mark.parametrize("tile", [-1, 0, 2.5, float("nan"), True, None, "8", -(10**12)])
def test_a_tile_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, tile: object) -> None:
    for call in (
        lambda: hntk.store_kernels(tmp_path / "s", X, NET, tile=tile),  # type: ignore[arg-type]
        lambda: hntk.exact_kernels(X, NET, tile=tile),  # type: ignore[arg-type]
        lambda: hntk.sharded_kernels(X, NET, tile=tile),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match="tile must be a positive whole number"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tile", [1, 40, 10**12])
def test_every_tile_gives_the_same(tmp_path: Path, tile: int) -> None:
    expected = hntk.exact_kernels(X, NET)
    np.testing.assert_allclose(hntk.store_kernels(tmp_path, X, NET, tile=tile).ntk, expected.ntk, rtol=1e-12)


@pytest.mark.parametrize(("done", "said"), [
    ([0, 8, 16, 24, 32, 40], "do not have"), ([0, 4], "do not have"), ([0, 0], "counts them twice"),
    ([-8], "do not have"), ([0.5], "do not have"), ([True], "do not have"), (["0"], "do not have"),
    ({}, "cannot be read"), (None, "cannot be read"),
])  # fmt: skip
def test_a_journal_must_fit_its_kernels(tmp_path: Path, done: object, said: str) -> None:
    hntk.store_kernels(tmp_path, X, NET, tile=8)
    path = tmp_path / "progress.json"
    told = json.loads(path.read_text())
    assert told["done"] == [0, 8, 16, 24, 32]
    path.write_text(json.dumps(told | {"done": done}))
    with pytest.raises(ValueError, match=said):
        hntk.store_kernels(tmp_path, X, NET, tile=8)


def test_a_journal_that_misses_rows_is_completed(tmp_path: Path) -> None:
    """Such as one of zeros that an earlier version left, with nothing done in it."""
    expected = np.array(hntk.store_kernels(tmp_path, X, NET, tile=8).ntk)
    path = tmp_path / "progress.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": []}))
    np.lib.format.open_memmap(tmp_path / "ntk.npy", "r+")[:] = 0
    assert np.array_equal(hntk.store_kernels(tmp_path, X, NET, tile=8).ntk, expected)


def test_kernels_of_other_code_are_taken_on_demand_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.array(hntk.store_kernels(tmp_path, X, NET, tile=8).ntk)
    path = tmp_path / "progress.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"done": [0, 8]}))
    monkeypatch.setattr(kernel_identity, "source_digest", lambda *places: "another")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"another version of hntk's code.*older_code=True"):
            hntk.store_kernels(tmp_path, X, NET, tile=8)
        # what it goes on with stays the other version's
        with pytest.warns(UserWarning, match="another version of hntk's code"):
            assert np.array_equal(hntk.store_kernels(tmp_path, X, NET, tile=8, older_code=True).ntk, expected)
    # a version that told nothing of its code
    del told["kernels"]["code"]
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="older_code=True"):
        hntk.store_kernels(tmp_path, X, NET, tile=8)


def test_the_code_is_that_of_kernels_activations_and_coefficients(tmp_path: Path) -> None:
    known = kernel_identity.source_digest(*kernel_identity.CODE)
    copies = []
    for place in kernel_identity.CODE:
        copy = tmp_path / place.name
        copies.append(copy)
        if place.is_file():
            copy.write_bytes(place.read_bytes())
            continue
        for path in place.glob("*.py"):
            copy.mkdir(exist_ok=True)
            (copy / path.name).write_bytes(path.read_bytes())
    assert kernel_identity.source_digest(*copies) == known
    for name in ("kernels/recursion.py", "activations/step_function.py", "coefficients.py", "float64.py"):
        kernel_identity.source_digest.cache_clear()
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "\n")
        assert kernel_identity.source_digest(*copies) != known, name
        (tmp_path / name).write_text(before)
    kernel_identity.source_digest.cache_clear()


def test_an_activation_of_ones_own_class_is_known_by_what_it_computes() -> None:
    class Own(Activation):
        """One of the user's own, whose repr tells nothing."""

        name = "own"

        def __init__(self, factor: float) -> None:
            self.factor, self.inner = factor, hntk.activation("polynomial", coefficients=[0.0, factor])

        def __repr__(self) -> str:
            return "<Own object at 0x7f00>"

        def __call__(self, t):
            return self.factor * jnp.asarray(t)

        def _moments(self, tau):
            return self.inner.moments(tau)

        def mean_map(self, var):
            return self.inner.mean_map(var)

        def covariance_map(self, cov, var1, var2):
            return self.inner.covariance_map(cov, var1, var2)

        def derivative_map(self, cov, var1, var2):
            return self.inner.derivative_map(cov, var1, var2)

    assert fingerprint(Own(1.0)) == fingerprint(Own(1.0)) != fingerprint(Own(2.0))


def test_a_kill_between_the_files_and_the_journal_leaves_nothing_called_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished store loses a file; the call that makes it anew is killed as soon as its files are there, of zeros."""
    expected = np.array(hntk.store_kernels(tmp_path, X, NET, tile=8).ck)
    (tmp_path / "ntk.npy").unlink()
    made, make = [], np.lib.format.open_memmap

    def killed(path: Path, *arguments: object, **options: object) -> np.memmap:
        found = make(path, *arguments, **options)  # type: ignore[arg-type]
        made.append(path)
        if len(made) == 2:
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patched:
        patched.setattr(np.lib.format, "open_memmap", killed)
        with pytest.raises(KeyboardInterrupt):
            hntk.store_kernels(tmp_path, X, NET, tile=8)
    assert np.array_equal(hntk.store_kernels(tmp_path, X, NET, tile=8).ck, expected)


@pytest.mark.parametrize("cut", [0, 60, 1000])
def test_files_that_were_cut_before_anything_was_done_are_made_anew(tmp_path: Path, cut: int) -> None:
    expected = np.array(hntk.store_kernels(tmp_path, X, NET, tile=8).ck)
    path = tmp_path / "progress.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"done": []}))
    (tmp_path / "ck.npy").write_bytes((tmp_path / "ck.npy").read_bytes()[:cut])
    assert np.array_equal(hntk.store_kernels(tmp_path, X, NET, tile=8).ck, expected)


def test_a_finished_store_is_opened_without_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that is mounted to be read."""
    expected = hntk.store_kernels(tmp_path, X, NET, tile=8)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(stored, "FileLock", refused)
    monkeypatch.setattr(stored, "reserve", refused)
    told: list[int] = []
    found = hntk.store_kernels(tmp_path, X, NET, tile=8, progress=told.append)
    assert np.array_equal(found.ntk, expected.ntk)
    assert told == [len(X) ** 2]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    with pytest.raises(OSError, match="cannot be written to .*choose another folder"):
        hntk.store_kernels(tmp_path / "more", X, NET, tile=8)


def test_a_disk_that_fills_up_is_said_and_nothing_is_left(tmp_path: Path, samples: Path) -> None:
    """Free space that another process takes between the look at it and the write: here, a limit on files."""
    with child(tmp_path / "s", samples, most=8000) as process:
        answer, _ = process.communicate("\n", timeout=300)
    assert process.returncode == 0, "killed by a signal"
    assert "OSError" in answer
    assert "has no room for kernels of 0.0 MB" in answer
    assert not list((tmp_path / "s").glob("*.npy"))


def test_a_disk_that_another_process_fills_does_not_kill_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the free space and the write through the map, which would be a bus error."""
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by the administrator alone")
    look = stored.check_disk

    def taken(place: Path, needed: int) -> None:
        look(place, needed)
        (tmp_path / "other").write_bytes(bytes(700_000))

    monkeypatch.setattr(stored, "check_disk", taken)
    x = np.random.default_rng(0).normal(size=(280, 10)) / 10**0.5
    try:
        with pytest.raises(OSError, match=r"has no room for kernels of 1\.3 MB .*No space left"):
            hntk.store_kernels(tmp_path / "s", x, ["relu"], tile=32)
        assert not list((tmp_path / "s").glob("*.npy"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.slow
def test_kills_at_any_moment_end_as_no_kill(tmp_path: Path, samples: Path) -> None:
    """SIGKILL after random times, again and again, until the store is finished: bit for bit the uninterrupted one."""
    whole = hntk.store_kernels(tmp_path / "whole", X, NET, tile=8)
    rng, folder = random.Random(0), tmp_path / "killed"
    left = []
    for _ in range(3):
        with child(folder, samples, slowly=0.5) as process:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(rng.uniform(0.1, 0.9))
            process.send_signal(signal.SIGKILL)
        path = folder / "progress.json"
        left.append(len(json.loads(path.read_text())["done"]) if path.exists() else 0)
    # progress is kept, and the last kill was not too late
    assert left == sorted(left)
    assert left[-1] < 5
    found = hntk.store_kernels(folder, X, NET, tile=8)
    for mine, theirs in zip(found, whole, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.slow
def test_two_processes_may_fill_one_store(tmp_path: Path, samples: Path) -> None:
    folder = tmp_path / "shared"
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        processes = [stack.enter_context(child(folder, samples, slowly=0.02)) for _ in range(2)]
        answers = list(pool.map(lambda process: process.communicate("\n", timeout=300)[0], processes))
    assert answers == ["done\n", "done\n"]
    found = hntk.store_kernels(folder, X, NET, tile=8)
    expected = hntk.exact_kernels(X, NET, tile=8)
    assert np.array_equal(found.ck, expected.ck)
    assert np.array_equal(found.ntk, expected.ntk)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written to"):
        hntk.store_kernels(tmp_path / "file" / "s", X, NET)
    with pytest.raises(OSError, match="cannot be written to"):
        hntk.store_kernels(tmp_path / "file", X, NET)
    assert os.listdir(tmp_path) == ["file"]


#: Modules that the kernels' code imports and that check, hash, write or hold numbers, but do not decide them.
CHECKS_AND_FILES = {
    f"hntk._utils.{name}"
    for name in ("arguments", "arrays", "atomic_file", "checks", "copies", "digest", "extras", "labels", "memory",
                 "pytree", "rows")
}  # fmt: skip


def test_the_code_lists_every_module_that_decides_numbers() -> None:
    """Whatever stored kernels import, step by step, is in the list or among the modules that decide no number."""
    root = Path(hntk.__file__).parent
    waiting, seen = ["hntk.kernels.exact", "hntk.kernels.problem"], set()
    while waiting:
        name = waiting.pop()
        path = root.parent / (name.replace(".", "/") + ".py")
        path = path if path.exists() else root.parent / name.replace(".", "/") / "__init__.py"
        if name in seen or not path.exists():
            continue
        seen.add(name)
        listed = any(place == path or place in path.parents for place in kernel_identity.CODE)
        assert listed or name in CHECKS_AND_FILES, f"{name} may decide numbers: list it in CODE"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hntk."):
                waiting.append(node.module)
    assert {"hntk.activations.step_function", "hntk.theory.coefficients", "hntk._utils.float64"} <= seen
