"""Exact kernels on the devices of several processes: two local ones, of two devices each."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from tests.support.shared_kernels import SUPPORT, free_address, run_together

PAGE = Path(__file__).parents[2] / "docs/how_to/large_kernels.md"
BEGIN = (
    SUPPORT
    + """
import sys, warnings
import jax, numpy as np, hntk
from functools import partial
from jax.experimental.multihost_utils import process_allgather
me = int(sys.argv[2])
jax.config.update("jax_enable_x64", True)
jax.distributed.initialize(sys.argv[1], 2, me)
assert jax.device_count() == 4 and jax.local_device_count() == 2
def say(*words):
    print("told:", *words, flush=True)
"""
)
END = "\njax.distributed.shutdown()\n"
# network, number of samples, and of devices
CASES = [("relu", 64, 4), ("full", 61, 4)]
MORE_CASES = [("full", 64, 4), ("relu", 61, 4), ("stairs", 61, 3), ("stairs", 30, 3)]
SAME = """
for name, n, count in {cases}:
    for kernel in compare(name, n, count, partial(process_allgather, tiled=True)):
        places = kernel.sharding.devices_indices_map(kernel.shape)
        say(*sorted({places[d][0].indices(n)[:2] for d in jax.local_devices() if d in places}))
x = mixed_samples()[me:]
alone = hntk.sharded_kernels(x, ["relu"], jax.local_devices()[:1]).ntk
assert alone.is_fully_addressable and alone.shape == (64 - me, 64 - me)
"""
OTHER = """
x = mixed_samples()
def tell(x, net=["relu"], devices=None, **options):
    try:
        hntk.sharded_kernels(x, net, devices, **options)
    except Exception as error:
        say(type(error).__name__, error)
tell(x + 1e-9 * me)
tell(x.astype(np.float32) if me else x)
tell(x, ["relu"] * (1 + me))
tell(x, kappa_sq=1.0 + me)
tell(x, devices=jax.devices()[::1 - 2 * me])
tell(np.where(me, np.nan, x))
tell(jax.make_array_from_callback(x.shape, jax.sharding.NamedSharding(
    jax.sharding.Mesh(jax.devices(), "rows"), jax.sharding.PartitionSpec("rows")), x.__getitem__))
tell(x, devices=jax.devices()[:2]) if me else None
import hntk._utils.memory as memory
memory.SMALL, memory.available_memory = 0, lambda: 10**3 if me else None
tell(np.ones((400, 3)))
"""
SAMPLES = "ValueError the processes do not compute the same: process 1 differs from process 0 in its samples. "
ELSEWHERE = "RuntimeError nothing is computed, as process 1 raised an error: "


def in_two_processes(code: str) -> list[list[str]]:
    address = free_address()
    told = run_together([["-c", BEGIN + code + END, address, str(me)] for me in (0, 1)], devices=2)
    # Gloo tells of connections in pieces, between which other lines may come
    return [re.findall(r"told: (.*)", out) for out in told]


@pytest.mark.slow
@pytest.mark.parametrize("cases", [CASES, pytest.param(MORE_CASES, marks=pytest.mark.nightly)], ids=["a few", "more"])
def test_two_processes_give_what_one_gives(cases: list[tuple[str, int, int]]) -> None:
    rows = in_two_processes(SAME.replace("{cases}", repr(cases)))
    for number, told in enumerate(rows):
        for (_, n, count), line in zip(np.repeat(np.array(cases, object), 2, axis=0), told, strict=True):
            share = n // count
            held = [(k * share, (k + 1) * share) for k in range(2 * number, min(2 * number + 2, count))]
            assert line == " ".join(map(str, held if n % count == 0 else [(0, n)])), (n, count, number)


@pytest.mark.slow
def test_both_processes_are_told_where_they_do_not_fit_together() -> None:
    first, second = in_two_processes(OTHER)
    wanted = [SAMPLES, SAMPLES, "network", "settings", "settings", ELSEWHERE, "x lies on", ELSEWHERE]
    ours = [SAMPLES, SAMPLES, "network", "settings", "settings", "ValueError x has NaN", "x lies on", "no device is of"]
    # of the two devices of a process: 100 rows each, two blocks on their way, and what is known of the samples
    ours.append("MemoryError what this process holds of two kernels of shape (400, 400) would take 2.2 MB")
    for told, expected in ((first, wanted), (second, ours)):
        assert len(told) == len(expected), told
        assert all(part in line for part, line in zip(expected, told, strict=True)), told


@pytest.mark.slow
def test_the_script_of_the_documentation_writes_all_rows(tmp_path: Path) -> None:
    fences = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (script,) = (fence for fence in fences if "jax.distributed" in fence)
    (lines,) = (fence for fence in fences if fence.startswith("python rows.py"))
    (tmp_path / "rows.py").write_text(script, encoding="utf-8")
    x = np.asarray(hntk.reference_mixture(n=12, p=5, key=jax.random.key(0)).x)
    np.save(tmp_path / "samples.npy", x)
    address = free_address()
    words = [line.rstrip("& ").replace("localhost:8476", address).split()[1:] for line in lines.splitlines()]
    assert words == [["rows.py", address, "2", "0"], ["rows.py", address, "2", "1"]]
    run_together(words, devices=2, cwd=tmp_path)
    files = sorted(tmp_path.glob("ntk_*.npy"))
    assert [np.load(file).shape for file in files] == [(3, 12)] * 4
    expected = hntk.exact_kernels(x, ["relu"] * 3).ntk
    np.testing.assert_allclose(np.concatenate([np.load(file) for file in files]), expected, rtol=1e-12)
