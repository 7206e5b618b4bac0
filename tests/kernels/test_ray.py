"""Kernels on a Ray cluster of two machines: the numbers of one machine, with workers that die, and what it costs.

The cluster is a real one: two of Ray's nodes on this machine, with one processor each.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk._utils import rows as row_module
from hntk.data.row_files import open_rows
from hntk.kernels.block_holder import BlockHolder
from hntk.kernels.cluster_cost import ClusterCost, block_side, pieces, reached, shares
from hntk.kernels.held_kernel import HeldKernel, NoBlocks
from hntk.kernels.kernel_plan import KernelPlan
from hntk.kernels.problem import KernelProblem
from hntk.kernels.ray_kernel import RayKernel
from hntk.kernels.ray_samples import RaySamples
from hntk.kernels.ray_workers import RayWorkers, machines

ray = pytest.importorskip("ray")

# nodes that are added to a cluster are processes of this one, in which JAX has threads already
pytestmark = pytest.mark.filterwarnings("ignore:os.fork\\(\\) was called:RuntimeWarning")
NET = ["relu"]
N, P = 900, 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 160 * 2**20}
    two = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    two.add_node(**small)
    ray.init(address=two.address, log_to_driver=False)
    yield two
    ray.shutdown()
    two.shutdown()


@cache
def data(n: int = N, p: int = P) -> tuple[np.ndarray, np.ndarray]:
    mixture = hntk.reference_mixture(n=n, p=p, key=jax.random.key(0))
    order = np.random.default_rng(0).permutation(n)
    return np.asarray(mixture.x)[order], mixture.labels[order]


def problem(x: np.ndarray) -> KernelProblem:
    return KernelProblem.of(x, NET, None, None, None)


def on_driver(x: np.ndarray) -> HeldKernel:
    return HeldKernel(problem(x), "ntk", KernelPlan(len(x), "nowhere", "float64", len(x)), NoBlocks())


def settings(**more: Any) -> hntk.ConjugateGradients:
    return hntk.ConjugateGradients(**({"preconditioner": "equivalent", "log": None} | more))


def kill(held: RayKernel, k: int) -> None:
    """End a worker's process as the system does with one that takes too much memory."""
    os.kill(held.workers.call("where")[k][1], signal.SIGKILL)


def holders(x: Any, plan: KernelPlan, workers: int, tile: int = 256) -> list[BlockHolder]:
    """Return what the workers of a cluster hold, in this process."""
    return [BlockHolder(problem(np.asarray(x)), "ntk", plan, s, x, tile=tile) for s in shares(plan, workers)]


# --- on a cluster --------------------------------------------------------------------------------------------------


def test_a_regression_whose_worker_is_killed_has_the_same_numbers(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (x, y), lines, opened = data(), [], []
    product = RayKernel.product

    def killing(self: RayKernel, v: np.ndarray) -> np.ndarray:
        before = product(self, v)
        if self.multiplied > 6 and not opened:
            opened.append(self)
            kill(self, 1)
            np.testing.assert_array_equal(product(self, v), before)
        return before

    monkeypatch.setattr(RayKernel, "product", killing)
    options = settings(tolerance=1e-12, log=lines.append)
    there = hntk.fit_kernel(x, y, NET, ridge=3.0, solver=options, engine="ray")
    direct = hntk.fit_kernel(x, y, NET, ridge=3.0, solver="direct")
    assert [line for line in lines if "worker 2 of 2 died" in line]
    assert opened[0].moved == opened[0].cost.moved * opened[0].multiplied / 2
    assert there.convergence is not None
    assert there.convergence.residual < 1e-12
    np.testing.assert_allclose(there.dual, direct.dual, rtol=0, atol=1e-11 * np.abs(direct.dual).max())


def test_passes_over_samples_are_those_of_one_machine(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    x, y = data()
    monkeypatch.setattr(row_module, "BLOCK", 200 * 8 * P)  # five blocks
    there = hntk.fit_equivalent(x, y, NET, engine="ray")
    local = hntk.fit_equivalent(x, y, NET)
    assert there.ridge == local.ridge
    np.testing.assert_array_equal(there.linear, local.linear)
    np.testing.assert_array_equal(there.quadratic, local.quadratic)
    assert "900 samples on 2 machines" in capsys.readouterr().out


def test_stores_are_those_of_one_machine_and_go_on_there(cluster: Any, tmp_path: Path) -> None:
    x, _ = data()
    for name in "ab":
        (tmp_path / name).mkdir()
    np.save(tmp_path / "x.npy", x[:500])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    bands: list[int] = []

    def stop(entries: int) -> None:
        bands.append(entries)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        hntk.store_kernels(tmp_path / "a", mapped, ["relu", "erf"], tile=128, engine="ray", progress=stop)
    bands.clear()
    there = hntk.store_kernels(tmp_path / "a", x[:500], ["relu", "erf"], tile=128, engine="ray", progress=bands.append)
    here = hntk.store_kernels(tmp_path / "b", x[:500], ["relu", "erf"], tile=128)
    assert sum(bands) == 500**2
    for one, other in zip(there, here, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


def test_a_worker_out_of_memory_gets_smaller_tiles_once(cluster: Any) -> None:
    class Hungry:
        def __init__(self, needed: int, smaller: bool) -> None:
            self.needed = needed // 2 if smaller else needed

        def compute(self) -> int:
            if self.needed > 4:
                raise MemoryError("none left")
            return self.needed

    lines: list[str] = []
    workers = RayWorkers(lambda *given: given, Hungry, [12], machines(lines.append), lines.append)
    with pytest.raises(MemoryError, match="worker 1 of 1 has too little memory, with smaller tiles too: add machines"):
        workers.call("compute")
    told = [line for line in lines if "waiting" not in line]
    assert told == ["worker 1 of 1 ran out of memory and gets smaller tiles: its share is computed again"]
    workers.shares[0] = 6
    workers._replace(0, "died")
    assert workers.call("compute") == [3]
    workers.close()


@pytest.mark.nightly
def test_a_pass_whose_worker_is_killed_is_the_same(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    x, _ = data()
    monkeypatch.setattr(row_module, "BLOCK", 200 * 8 * P)
    np.save(tmp_path / "x.npy", x)
    samples, flag = RaySamples(x, open_rows(tmp_path / "x.npy"), lambda line: None), tmp_path / "killed"

    def sums(part: np.ndarray, index: np.ndarray) -> np.ndarray:
        if index[0] > 500 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part.sum(axis=0) * index[-1]

    there = [part for _, part in samples.each(sums, np.arange(N))]
    flag.touch()
    here = [part for _, part in row_module.each_block(x, sums, np.arange(N))]
    np.testing.assert_array_equal(there, here)
    assert samples.moved == 8 * N + 8 * P * len(here)


@pytest.mark.nightly
@pytest.mark.parametrize("n", [4000, 8000, 16000])
def test_the_model_of_cost_is_what_is_measured(cluster: Any, n: int) -> None:
    x, _ = data(n, 50)
    lines: list[str] = []
    held = RayKernel.open(on_driver(x), 10, precision="float64", tell=lines.append)
    begin = time.perf_counter()
    held.compute()
    computed, v = time.perf_counter() - begin, np.random.default_rng(0).normal(size=(n, 10))
    begin, first = time.perf_counter(), held.product(v)
    for _ in range(3):
        np.testing.assert_array_equal(held.product(v), first)
    seconds = (time.perf_counter() - begin) / 4
    memory, moved = max(held.memory()), held.moved / 4
    print(f"\n{lines[-1]}\nmeasured: {memory / 1e6:.1f} MB a worker (model {held.cost.memory / 1e6:.1f}) beside")
    print(f"{min(held._base) / 1e6:.0f} MB of libraries, {moved / 1e6:.2f} MB a product (model", end=" ")
    print(f"{held.cost.moved / 1e6:.2f}), {computed:.1f} s for all blocks, {seconds:.2f} s a product")
    held.close()
    assert moved == pytest.approx(held.cost.moved, rel=0.3)
    assert memory == pytest.approx(held.cost.memory, rel=0.3)


@pytest.mark.nightly
def test_a_worker_that_is_killed_while_blocks_are_computed_is_replaced_once(cluster: Any) -> None:
    x, _ = data(3000)
    held, done = RayKernel.open(on_driver(x), 2, tell=lambda line: None), []

    def progress(entries: int) -> None:
        if not done:
            kill(held, 0)
        done.append(entries)

    held.compute(progress)
    v = np.random.default_rng(0).normal(size=(3000, 2))
    np.testing.assert_allclose(held.product(v), np.asarray(hntk.exact_kernels(x, NET).ntk) @ v, rtol=1e-10, atol=1e-10)
    assert held.workers.replaced == 1
    assert sum(done) == 3000**2
    held.close()


@pytest.mark.nightly
def test_a_machine_that_is_lost_leaves_its_share_to_another(cluster: Any) -> None:
    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    third = cluster.add_node(**small)
    (x, _), lines = data(), []
    held = RayKernel.open(on_driver(x), 2, tell=lines.append)
    v = np.random.default_rng(0).normal(size=(N, 2))
    before = held.product(v)
    assert len(held.workers.nodes) == 3
    cluster.remove_node(third)
    np.testing.assert_array_equal(held.product(v), before)
    assert [line for line in lines if "died, its machine too" in line]
    held.close()


# --- what needs no cluster -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["memory", "nowhere"])
def test_shares_add_up_to_the_kernel(place: Any, tmp_path: Path) -> None:
    x, _ = data()
    kernel = np.asarray(hntk.exact_kernels(x, NET).ntk)
    for k, part in enumerate(np.array_split(x, 3)):
        np.save(tmp_path / f"{k}.npy", part)
    plan = KernelPlan(N, place, "float64", 256)
    parts = holders(open_rows(str(tmp_path / "*.npy")), plan, 3)
    v = np.random.default_rng(0).normal(size=(N, 2))
    np.testing.assert_allclose(
        sum(part.product([slice(N)], v)[0] for part in parts), kernel @ v, rtol=1e-12, atol=1e-12
    )
    index = np.array([3, 899, 400])
    off = np.arange(N)[:, None] != index
    np.testing.assert_allclose(parts[0].columns(0, N, index)[off], kernel[:, index][off], rtol=1e-12)
    smaller = holders(x, plan, 3, tile=128)
    np.testing.assert_allclose(
        sum(part.product([slice(N)], v)[0] for part in smaller), kernel @ v, rtol=1e-12, atol=1e-12
    )


def test_an_order_of_the_samples_is_that_of_the_kernel() -> None:
    x, _ = data()
    order = np.random.default_rng(1).permutation(N)
    plan = KernelPlan(N, "memory", "float64", 512)
    there = BlockHolder(problem(x[order]), "ntk", plan, plan.corners, x, order)
    here = BlockHolder(problem(x[order]), "ntk", plan, plan.corners, x[order])
    v = np.random.default_rng(0).normal(size=(N, 1))
    np.testing.assert_array_equal(there.product([slice(N)], v), here.product([slice(N)], v))
    np.testing.assert_array_equal(there.columns(0, N, np.arange(3)), here.columns(0, N, np.arange(3)))


@pytest.mark.parametrize(("n", "workers"), [(1000, 2), (60_000, 7), (300, 5), (1, 3)])
def test_shares_are_alike_and_hold_every_block_once(n: int, workers: int) -> None:
    plan = KernelPlan(n, "memory", "float32", block_side(n, workers))
    parts = shares(plan, workers)
    assert sorted(corner for part in parts for corner in part) == plan.corners
    side = plan.side

    def size(corner: tuple[int, int]) -> int:
        return int(np.prod([min(side, n - k * side) for k in corner]))

    rows = pieces(plan)
    assert [k for part in rows for k in range(part.start, part.stop)] == list(range(n))
    for share in parts:
        own = [k for piece in reached(plan, share) for k in range(rows[piece].start, rows[piece].stop)]
        assert {k for corner in share for k in corner} <= {k // side for k in own}
    sizes = [sum(map(size, part)) for part in parts]
    assert max(sizes) <= sum(sizes) / workers + side**2
    cost = ClusterCost(n, 5, 1, workers, side)
    assert cost.kept == 4 * sum(sizes)
    assert cost.blocks == len(plan.corners)


def test_the_cost_grows_as_it_must() -> None:
    cost = ClusterCost(10**6, 784, 10, 100).measured(1e8, 1e9, 1e9)
    double = ClusterCost(2 * 10**6, 784, 10, 100).measured(1e8, 1e9, 1e9)
    assert double.kept == pytest.approx(4 * cost.kept, rel=0.01)
    assert double.moved == pytest.approx(2 * cost.moved, rel=0.05)
    assert double.entries / cost.entries == pytest.approx(4, rel=1e-5)
    assert cost.compute_seconds == pytest.approx(cost.entries / 1e10)
    # shares are about squares: four times the workers halve their sides
    assert ClusterCost(10**6, 784, 10, 400).moved == pytest.approx(2 * cost.moved, rel=0.15)
    assert cost.moved < 0.3 * 2 * 8 * 100 * 10**6 * 10
    assert "100 workers" in str(cost)
    with pytest.raises(ValueError, match="workers must be"):
        ClusterCost(10, 1, 1, 0)


def test_what_an_engine_refuses(tmp_path: Path) -> None:
    x, y = data()
    with pytest.raises(ValueError, match="engine must be"):
        hntk.fit_kernel(x, y, NET, engine="dask")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine must be"):
        hntk.fit_equivalent(x, y, NET, engine="dask")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="engine must be"):
        hntk.store_kernels(tmp_path, x, NET, engine="dask")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="solver='direct' is for one machine"):
        hntk.fit_kernel(x, y, NET, engine="ray", solver="direct")
    with pytest.raises(ValueError, match="in the memory of its workers"):
        RayKernel.open(on_driver(x), 2, keep="disk")
