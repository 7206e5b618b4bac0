"""Blocks of a kernel in memory, on disk and nowhere: the exact kernel's products, whole after any interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.kernels import kernel_plan
from hntk.kernels.disk_blocks import DiskBlocks
from hntk.kernels.held_kernel import HeldKernel, MemoryBlocks, NoBlocks
from hntk.kernels.kernel_identity import kernel_identity
from hntk.kernels.kernel_plan import KernelPlan, plan_kernel
from hntk.kernels.problem import KernelProblem
from tests.support.samples import two_classes

N = 300  # two blocks on a side, of which the second is not whole
X, _ = two_classes(N, 20)
V = np.random.default_rng(0).normal(size=(N, 3))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    jax.config.update("jax_enable_x64", True)
    monkeypatch.setattr(kernel_plan, "SIDE", 256)
    monkeypatch.setattr(kernel_plan, "DEVICE_SIDE", 256)


def problem(net: Any = ("relu", "erf")) -> KernelProblem:
    return KernelProblem.of(X, list(net), None, None, 3.0)


def exact(kernel: str = "ntk") -> np.ndarray:
    return np.asarray(getattr(hntk.exact_kernels(X, ["relu", "erf"], kappa_sq=3.0), kernel))


@pytest.mark.parametrize("kernel", ["ck", "ntk"])
@pytest.mark.parametrize("place", ["device", "memory", "nowhere"])
def test_products_are_those_of_the_kernel(kernel: Any, place: Any) -> None:
    blocks = {"device": MemoryBlocks, "memory": MemoryBlocks, "nowhere": NoBlocks}[place]()
    held = HeldKernel(problem(), kernel, plan_kernel(N, keep=place), blocks)
    told: list[int] = []
    held.compute(told.append)
    assert sum(told) == (0 if place == "nowhere" else N * N)
    np.testing.assert_allclose(held.product(V), exact(kernel) @ V, rtol=1e-12, atol=1e-12)
    index = np.array([299, 3, 256])
    np.testing.assert_allclose(held.columns(index), exact(kernel)[:, index], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(held.computed_columns(index)[index, [0, 1, 2]], exact(kernel).diagonal()[index])
    np.testing.assert_array_equal(held.diagonal(), exact(kernel).diagonal())


@pytest.mark.parametrize("columns", [1, 40, 700])  # in one go, a few rows at a time, and too many for that
def test_products_are_the_same_whatever_rows_are_taken_at_a_time(columns: int) -> None:
    held = HeldKernel(problem(), "ntk", plan_kernel(N), MemoryBlocks())
    held.compute()
    v = np.random.default_rng(0).normal(size=(N, columns))
    np.testing.assert_allclose(held.product(v), exact() @ v, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("precision", "computed"), [("float64", 0), ("float32", 1)])
def test_columns_come_from_blocks_that_were_not_rounded(
    monkeypatch: pytest.MonkeyPatch, precision: Any, computed: int
) -> None:
    held = HeldKernel(problem(), "ntk", plan_kernel(N, precision=precision), MemoryBlocks())
    held.compute()
    calls: list[int] = []
    anew = HeldKernel.computed_columns

    def counted(self: HeldKernel, index: np.ndarray) -> np.ndarray:
        calls.append(1)
        return anew(self, index)

    monkeypatch.setattr(HeldKernel, "computed_columns", counted)
    np.testing.assert_allclose(held.columns(np.array([299, 3])), exact()[:, [299, 3]], rtol=1e-12, atol=1e-12)
    assert len(calls) == computed


def test_products_of_float32_blocks_are_exact_products_of_rounded_entries() -> None:
    held = HeldKernel(problem(), "ntk", plan_kernel(N, precision="float32"), MemoryBlocks())
    held.compute()
    rounded = exact().astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(held.product(V), rounded @ V, rtol=1e-12, atol=1e-12)


def test_blocks_on_disk_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, identity = plan_kernel(N, keep="disk", folder=tmp_path), kernel_identity(problem())
    first = HeldKernel(problem(), "ntk", plan, DiskBlocks.open(tmp_path, plan, identity))
    block, left = HeldKernel._block, [2]

    def stops(self: HeldKernel, corner: tuple[int, int]) -> np.ndarray:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return block(self, corner)

    monkeypatch.setattr(HeldKernel, "_block", stops)
    with pytest.raises(KeyboardInterrupt):
        first.compute()
    left[0] = 1  # one block is missing
    again = HeldKernel(problem(), "ntk", plan, DiskBlocks.open(tmp_path, plan, identity))
    again.compute()
    np.testing.assert_allclose(again.product(V), exact() @ V, rtol=1e-12, atol=1e-12)


def test_blocks_of_something_else_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    plan, identity = plan_kernel(N, keep="disk", folder=tmp_path), kernel_identity(problem())
    HeldKernel(problem(), "ntk", plan, DiskBlocks.open(tmp_path, plan, identity)).compute()
    with pytest.raises(ValueError, match="something else .other kernel.*choose another folder"):
        DiskBlocks.open(tmp_path, plan, identity | {"kernel": "ck"})
    journal = json.loads((tmp_path / "blocks.json").read_text())
    (tmp_path / "blocks.json").write_text(json.dumps(journal | {"done": [7]}))
    with pytest.raises(ValueError, match="blocks that these kernels do not have.*begin anew"):
        DiskBlocks.open(tmp_path, plan, identity)
    (tmp_path / "blocks.json").write_text(json.dumps(journal))
    with (tmp_path / "blocks.bin").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match="not as long as its journal says"):
        DiskBlocks.open(tmp_path, plan, identity)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blocks.bin", "blocks.bin without a blocks.json .* remove it, or choose another folder"),
        ("blocks.json", "blocks.json cannot be read .* choose another folder"),
    ],
)
def test_files_of_others_are_not_overwritten(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(ValueError, match=message):
        DiskBlocks.open(tmp_path, plan_kernel(N, keep="disk", folder=tmp_path), {})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, '{"mine": 1}')]


def test_a_journal_whose_blocks_were_removed_begins_anew(tmp_path: Path) -> None:
    plan = plan_kernel(N, keep="disk", folder=tmp_path)
    DiskBlocks.open(tmp_path, plan, {}).put((0, 0), np.ones((256, 256)))
    (tmp_path / "blocks.bin").unlink()
    assert not DiskBlocks.open(tmp_path, plan, {"kernel": "ck"}).done


def test_a_disk_without_room_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hntk.kernels.disk_blocks.reserve", full)
    with pytest.raises(OSError, match="no room for blocks of .* free some there"):
        DiskBlocks.open(tmp_path, plan_kernel(N, keep="disk", folder=tmp_path), {})
    assert not list(tmp_path.iterdir())


def test_the_plan_takes_what_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [plan_kernel(n).side for n in (200, 2000, 100_000)] == [200, 256, 256]
    size = plan_kernel(N).size
    assert size == 3 * 256**2 * 8
    assert plan_kernel(N, memory=size).place == "memory"
    assert plan_kernel(N, memory=size - 1).place == "nowhere"
    assert plan_kernel(N, memory=size - 1, folder=tmp_path).place == "disk"
    assert plan_kernel(N, memory=size, beside=1, folder=tmp_path).place == "disk"
    with pytest.raises(MemoryError, match="keep='disk'"):
        plan_kernel(N, keep="memory", memory=size - 1)
    with pytest.raises(ValueError, match="give folder="):
        plan_kernel(N, keep="disk")
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 10})())
    assert plan_kernel(N, memory=1, folder=tmp_path).place == "nowhere"
    with pytest.raises(OSError, match="another disk"):
        plan_kernel(N, keep="disk", folder=tmp_path)
    monkeypatch.setattr(kernel_plan, "device_memory", lambda: 2 * size)
    assert plan_kernel(N, memory=1).place == "device"
    monkeypatch.setattr(kernel_plan, "device_memory", lambda: size)
    monkeypatch.setattr(kernel_plan, "DOUBLE", size - 1)
    assert plan_kernel(N, memory=size).dtype == "float32"
    said = str(KernelPlan(60_000, "memory", "float32", 2048))
    assert said == "kernel of 60,000 samples: 465 blocks of the upper triangle in float32, 7.8 GB in memory"
