"""Kernels on disk: those in memory, whole after any interruption, and never another problem's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.activations.fingerprint import fingerprint
from hntk.kernels import tiling
from tests.support.samples import two_classes

X, _ = two_classes(101, 30)
STAIRS = hntk.staircase([-0.4, 0.2, 1.1], [0.0, 0.4, 1.0, 2.2])


class StopError(Exception):
    """A power cut."""


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch, tiles: int, **options: object) -> None:
    """The call that stops after so many tiles."""
    left, write = [tiles], tiling.write_tile

    def stop(*arguments: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StopError
        write(*arguments)

    monkeypatch.setattr(tiling, "write_tile", stop)
    with pytest.raises(StopError):
        hntk.store_kernels(folder, X, ["relu", STAIRS], tile=16, **options)
    monkeypatch.setattr(tiling, "write_tile", write)


@pytest.mark.slow
def test_they_are_the_kernels_in_memory(tmp_path: Path) -> None:
    told: list[int] = []
    found = hntk.store_kernels(tmp_path, X, ["relu", STAIRS], kappa_sq=2.5, tile=16, progress=told.append)
    expected = hntk.exact_kernels(X, ["relu", STAIRS], kappa_sq=2.5, tile=16)
    for mine, theirs, name in zip(found, expected, ("ck", "ntk"), strict=True):
        assert isinstance(mine, np.memmap)
        assert np.array_equal(mine, theirs)
        assert np.array_equal(np.load(tmp_path / f"{name}.npy"), mine)
    assert sum(told) == X.shape[0] ** 2
    again: list[int] = []
    assert np.array_equal(hntk.store_kernels(tmp_path, X, ["relu", STAIRS], kappa_sq=2.5, tile=16,
                                             progress=again.append).ck, found.ck)  # fmt: skip
    assert again == [X.shape[0] ** 2]  # nothing was computed


@pytest.mark.parametrize("tiles", [0, 9, 20])
def test_an_interrupted_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiles: int) -> None:
    interrupted(tmp_path, monkeypatch, tiles)
    done = json.loads((tmp_path / "progress.json").read_text())["done"]
    assert len(done) < 7
    computed: list[int] = []
    fill = tiling.fill
    monkeypatch.setattr("hntk.kernels.problem.fill", lambda *a: (computed.extend(a[4]), fill(*a))[1])
    found = hntk.store_kernels(tmp_path, X, ["relu", STAIRS], tile=16)
    assert sorted(computed + done) == list(range(0, 101, 16))
    expected = hntk.exact_kernels(X, ["relu", STAIRS], tile=16)
    assert np.array_equal(found.ck, expected.ck)
    assert np.array_equal(found.ntk, expected.ntk)


def test_kernels_of_something_else_are_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path, monkeypatch, 9)
    for x, layers, options, said in (
        (X + 1e-9, ["relu", STAIRS], {}, "other x"),
        (X, ["relu", "erf"], {}, "activations"),
        (X, ["relu", STAIRS], {"kappa_sq": 1.0}, "kappa_sq"),
        (X, ["relu", STAIRS], {"x2": X[:5]}, "other x2"),
    ):
        with pytest.raises(ValueError, match=said):
            hntk.store_kernels(tmp_path, x, layers, **{"tile": 16, **options})


def test_damaged_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # late enough that a row of tiles is done for certain: with none, files are begun anew
    interrupted(tmp_path, monkeypatch, 20)
    assert json.loads((tmp_path / "progress.json").read_text())["done"]
    whole = (tmp_path / "ck.npy").read_bytes()
    (tmp_path / "ck.npy").write_bytes(whole[:1000])
    with pytest.raises(ValueError, match="ck.npy cannot be read"):
        hntk.store_kernels(tmp_path, X, ["relu", STAIRS], tile=16)
    # without one of the files nothing is done
    (tmp_path / "ck.npy").unlink()
    found = hntk.store_kernels(tmp_path, X, ["relu", STAIRS], tile=16)
    assert np.array_equal(found.ck, hntk.exact_kernels(X, ["relu", STAIRS], tile=16).ck)
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(ValueError, match="progress.json cannot be read"):
        hntk.store_kernels(tmp_path, X, ["relu", STAIRS], tile=16)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"take 0\.2 MB in .* where 0\.0 MB are free"):
        hntk.store_kernels(tmp_path, X, ["relu"])
    assert not list(tmp_path.iterdir())


def test_functions_are_known_by_their_values() -> None:
    first, second = (hntk.activation(lambda t, a=a: a * t**2, name="own") for a in (1.0, 1.01))
    same = hntk.activation(lambda t: t * t, name="own")
    assert fingerprint(first) == fingerprint(same) != fingerprint(second)
    near, far = (hntk.staircase([s], [-1.0, 1.0]) for s in (50.0, 50.0 + 1e-9))
    assert fingerprint(near) != fingerprint(far)
    late = hntk.activation(lambda t: jnp.where(t > 30, 30.0, t), breakpoints=[30], name="own")
    assert fingerprint(late) != fingerprint(hntk.activation(lambda t: 1.0 * t, name="own"))
