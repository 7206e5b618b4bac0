"""Tests of sweeps on several processes and machines, through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.command_line import ROOT, done, rows, started, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra sweeps (make setup-sweeps)"),
]
# a Ray cluster of two nodes on this machine, each with the cores of one job; it ends with its standard input
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
cluster.add_node(num_cpus=2)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
QUICK = ("+exp=gmm", "+debug=tiny", "wandb=disabled", "experiment.finite_width=false")
# a long training, whose checkpoint shows that it has begun
LONG = (
    "+exp=memory", "+debug=tiny", "wandb=disabled", "seed=0", "compress.sparsity=0.5", "compress.objective=theory",
    "experiment.budget=20e3", "experiment.epochs=150", "experiment.max_trained_width=60",
)  # fmt: skip


def kept(folder: Path, *words: str) -> list[str]:
    return ["-m", *words, f"hydra.sweep.dir={folder / 'sweep'}", f"sweep.store={folder / 'jobs'}"]


def same(folder: Path, other: Path) -> bool:
    """Whether two sweeps measured the same except for times, up to the rounding of sums by other numbers of threads."""
    tables = [rows(place / "sweep" / "jobs.csv") for place in (folder, other)]
    assert len(tables[0]) == len(tables[1])
    pairs = [
        (row[name], twin[name])
        for row, twin in zip(*tables, strict=True)
        for name in row
        if not name.startswith(("seconds", "folder"))
    ]
    return all(a == b or (_number(a) and float(a) == pytest.approx(float(b), rel=1e-5)) for a, b in pairs)


def _number(text: str) -> bool:
    return text.lstrip("-").replace(".", "").replace("e-", "").isdigit()


def holder(job: Path) -> int:
    """Return the process that runs a job."""
    return json.loads((job / "running.json").read_text())["process"]


def parent(process: int) -> int:
    """Return the parent of a process; for a worker of Ray, its node."""
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def watched(process: subprocess.Popen[str], look: Callable[[], None], status: int = 0) -> str:
    """Wait for a sweep that must end with a status, calling ``look`` meanwhile; return its output."""
    while process.poll() is None:
        look()
        time.sleep(0.02)
    out, err = process.communicate()
    assert process.returncode == status, out[-3000:] + err[-3000:]
    return out


@contextmanager
def two_nodes() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=ROOT, env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert ":" in address
        yield address
    finally:
        process.communicate(timeout=60)


@pytest.mark.nightly
def test_two_nodes_of_ray_share_a_sweep_and_outlive_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*QUICK, "compress.levels=2,4", "seed=0,1")
    done(*kept(tmp_path / "one", *words))
    shared, nodes, killed = tmp_path / "shared", set(), []

    def look() -> None:
        for job in shared.glob("jobs/*"):
            if not (job / "running.json").exists():
                continue
            try:
                nodes.add(parent(holder(job)))
                if not killed and not (job / "state.json").exists():
                    os.kill(holder(job), signal.SIGKILL)
                    killed.append(job)
            except (OSError, ValueError):  # it has just ended
                continue

    with two_nodes() as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        process = started(*kept(shared, *words, "hydra/launcher=cluster"))
        watched(process, look)
    assert killed
    assert len(nodes) == 2
    assert len(rows(shared / "sweep" / "jobs.csv")) == 4
    assert same(shared, tmp_path / "one")


@pytest.mark.nightly
def test_the_job_of_a_killed_worker_is_run_again(tmp_path: Path, digits: Path) -> None:
    words = (*LONG, "arm=trained,dense")
    done(*kept(tmp_path / "one", *words), data=digits)
    lost, killed = tmp_path / "lost", []

    def look() -> None:
        for checkpoint in lost.glob("jobs/*/dense-*.npz"):
            if not killed:
                os.kill(holder(checkpoint.parent), signal.SIGKILL)
                killed.append(checkpoint.parent)

    printed = watched(started(*kept(lost, *words, "hydra/launcher=cores"), data=digits), look)
    assert killed
    assert "a worker was lost" in printed
    assert same(lost, tmp_path / "one")


@pytest.mark.nightly
def test_a_job_that_kills_every_worker_is_marked_and_the_others_end(tmp_path: Path, digits: Path) -> None:
    killed: list[int] = []

    def look() -> None:
        for checkpoint in tmp_path.glob("jobs/*/dense-*.npz"):
            try:
                if (process := holder(checkpoint.parent)) not in killed:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
            except OSError:  # it is no more
                continue

    words = kept(tmp_path, *LONG, "arm=trained,binary,dense", "hydra/launcher=cores")
    printed = watched(started(*words, data=digits), look, status=1)
    assert len(killed) == 3
    states = [row["state"] for row in rows(tmp_path / "sweep" / "jobs.csv")]
    assert sorted(states) == ["done", "done", "failed"]
    assert "its worker was lost 3 times" in printed
    assert "sweep.retry=true" in printed


@pytest.mark.nightly
def test_jobs_of_one_result_asked_for_at_once_run_once(tmp_path: Path, digits: Path) -> None:
    words = (*LONG, "arm=dense", "experiment.epochs=3", "compress.sparsity=0.5,0.9")
    printed = done(*kept(tmp_path, *words, "hydra/launcher=cores"), data=digits)
    assert len(list(tmp_path.glob("jobs/*"))) == 1
    assert printed.count("done before") == 1


@pytest.mark.nightly
def test_missing_data_is_said_once(tmp_path: Path) -> None:
    process = started(
        *kept(tmp_path, *LONG, "arm=dense,trained", "hydra/launcher=cores", f"data.folder={tmp_path / 'no'}")
    )
    out, err = process.communicate()
    assert process.returncode == 1
    assert out.count("HNTK_DATA") == 1
    assert "Traceback" not in out + err


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put stand-ins for Slurm's commands on the path; return the folder of their state."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("sbatch", "srun", "sacct", "scancel"):
        program = commands / name
        program.write_text(f"#!{sys.executable}\n" + (ROOT / "tests" / "support" / "slurm_stand_in.py").read_text())
        program.chmod(0o755)
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_STAND_IN", str(state))
    return state


def test_slurm_runs_a_sweep(tmp_path: Path, slurm: Path) -> None:
    done(*kept(tmp_path, *QUICK, "compress.levels=2,4", "hydra/launcher=slurm"))
    shifts = [float(row["relative_shift"]) for row in rows(tmp_path / "sweep" / "jobs.csv")]
    assert shifts[1] < shifts[0]
    (script,) = slurm.glob("*.sh")
    assert "--mem=16GB" in script.read_text()


def marked(folder: Path) -> list[int]:
    """Return the living processes that have a folder in their command or environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder).encode() in (place / "environ").read_bytes() + (place / "cmdline").read_bytes():
                found.append(int(place.name))
    return [process for process in found if process != os.getpid()]


@pytest.mark.parametrize("launcher", [pytest.param(each, marks=pytest.mark.nightly) for each in ("cores", "slurm")])
def test_a_terminated_sweep_terminates_its_workers(
    tmp_path: Path, digits: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setenv("OF_THIS_SWEEP", str(tmp_path / "mark"))
    words = kept(tmp_path, *LONG, "arm=trained,trained_ternary", "experiment.epochs=3000", f"hydra/launcher={launcher}")
    process = started(*words, data=digits)
    wait_for(lambda: list(tmp_path.glob("jobs/*/*.npz")))
    assert len(marked(tmp_path / "mark")) > 1
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert out.count("stopped by SIGTERM; the same command goes on from here") == 1
    assert "Traceback" not in out + err
    wait_for(lambda: not marked(tmp_path / "mark"), 20)
    assert marked(tmp_path / "mark") == []


@pytest.mark.nightly
def test_optuna_finds_small_and_accurate_networks(tmp_path: Path, digits: Path) -> None:
    words = (
        "+exp=frontier", "+debug=tiny", "wandb=disabled", "compress.objective=theory", "experiment.epochs=2",
        "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.population_size=2",
        "experiment.width=tag(log, int(interval(10, 100)))",
    )  # fmt: skip
    done(*kept(tmp_path, *words)[1:], data=digits)
    front = rows(tmp_path / "sweep" / "front.csv")
    sizes, validation = ([float(row[name]) for row in front] for name in ("file (bytes)", "validation"))
    assert sizes == sorted(sizes)
    assert validation == sorted(validation)
    found = (tmp_path / "sweep" / "optimization_results.yaml").read_text()
    assert found.count("values:") >= len(front)
    # the repeated search asks for the same networks, and no network is made twice
    assert done(*kept(tmp_path, *words)[1:], data=digits).count("done before") == 4
